"""The public names and their parameters are those of tests/public_api.txt: none goes or changes unnoticed.

``python tests/test_public_api.py`` writes the file anew; the difference belongs into CHANGELOG.md.
"""

import difflib
import enum
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastcca

LIST = Path(__file__).with_name("public_api.txt")
# What every class has from elsewhere, and is not ours to promise.
FOREIGN = ("sklearn", "torch", "builtins", "numpy", "abc", "typing", "enum")


def modules() -> Iterator[str]:
    """The public modules: a package lists its names itself, so that what lies within it is not looked at."""
    yield "fastcca"
    for found in pkgutil.iter_modules(fastcca.__path__, "fastcca."):
        if not found.name.rpartition(".")[2].startswith("_") and found.name != "fastcca.cli":
            yield found.name


def signature(value: Any) -> str:
    """Names, kinds and defaults of the parameters; annotations may get better."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in found.parameters.values()
        if not parameter.name.startswith("_")
    ]
    return str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def entries(full_name: str, value: Any) -> Iterator[str]:
    if inspect.ismodule(value):
        return
    if not isinstance(value, type):
        yield f"{full_name}{signature(value)}" if callable(value) else full_name
        return
    yield f"{full_name}{'' if issubclass(value, (enum.Enum, BaseException)) else signature(value)}"
    for name in sorted(set(dir(value))):
        owner = next((base for base in value.__mro__ if name in vars(base)), None)
        if name.startswith("_") or owner is None or owner.__module__.partition(".")[0] in FOREIGN:
            continue
        member = inspect.getattr_static(value, name)
        if isinstance(member, (staticmethod, classmethod)):
            yield f"{full_name}.{name}{signature(getattr(value, name))}"
        elif callable(member) and not isinstance(member, type):
            yield f"{full_name}.{name}{signature(member)}"
        else:
            yield f"{full_name}.{name}"


def public_api() -> list[str]:
    lines: set[str] = set()
    seen: set[int] = set()
    for name in modules():  # the package first: what it lists is not listed again
        module = importlib.import_module(name)
        for public in module.__all__:
            value = getattr(module, public)
            if id(value) not in seen:
                lines.update(entries(f"{name}.{public}", value))
                seen.add(id(value))
    return sorted(lines)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_the_public_api_is_the_listed_one() -> None:
    listed = LIST.read_text(encoding="utf-8").splitlines()
    change = [
        line
        for line in difflib.unified_diff(
            listed, public_api(), "public_api.txt", "the package", n=0, lineterm=""
        )
        if not line.startswith("@@")
    ]
    assert change == [], "python tests/test_public_api.py writes the list anew:\n" + "\n".join(change)


def test_a_missing_parameter_is_noticed() -> None:
    def now(a: int, *, b: float = 1.0) -> None: ...

    def before(a: int) -> None: ...

    assert list(entries("f", now)) == ["f(a, *, b=1.0)"]
    assert list(entries("f", now)) != list(entries("f", before))


if __name__ == "__main__":
    LIST.write_text("\n".join(public_api()) + "\n", encoding="utf-8")
