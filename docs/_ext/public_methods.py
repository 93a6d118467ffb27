"""Which methods of a class its page lists: the public ones, but those of torch and of tuples."""

import builtins
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _class(full_name: str) -> type | None:
    module, _, name = full_name.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    return value if isinstance(value, type) else None


def methods(cls: type) -> list[str]:
    """Names in the order of the alphabet; ``fit`` and what follows from it are found as quickly there."""
    found = []
    for name in dir(cls):
        if name.startswith("_"):
            continue
        owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
        foreign = owner.__module__.partition(".")[0] in {"torch", builtins.__name__}
        value: Any = getattr(cls, name, None)
        if callable(value) and not isinstance(value, type) and not foreign:
            found.append(name)
    return found


def properties(cls: type) -> list[str]:
    """Those with a docstring; what is described under Attributes alone has none."""
    return [
        name
        for name in dir(cls)
        if not name.startswith("_")
        and isinstance(getattr(cls, name, None), property)
        and getattr(cls, name).__doc__
        and any(name in vars(base) and base.__module__.startswith("fastcca") for base in cls.__mro__)
    ]


def of_page(api: Path, members: Callable[[type], list[str]] = methods) -> dict[str, list[str]]:
    """The methods, or other members, of every class that the page names."""
    names = re.findall(r"^ +(fastcca\.[\w.]+)$", api.read_text(encoding="utf-8"), re.MULTILINE)
    classes = {name: _class(name) for name in names}
    return {name: members(cls) for name, cls in classes.items() if cls is not None}


def named_in(examples: Path) -> list[str]:
    """The classes that the gallery's examples use, whose pages link to them."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in examples.glob("plot_*.py"))
    imported = re.findall(r"^from (fastcca[\w.]*) import (\([^)]*\)|.+)$", text, re.MULTILINE)
    names = {f"{module}.{name}" for module, several in imported for name in re.findall(r"\w+", several)}
    return sorted(name for name in names if _class(name) is not None)
