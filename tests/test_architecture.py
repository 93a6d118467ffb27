"""The layer rule: a file uses only what stands below it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastcca

ROOT = Path(__file__).parents[1]
PACKAGE = Path(fastcca.__file__).parent
CPP = ROOT / "cpp"

# Floors of the Python package, from the ground up, by the first part of the module's name below fastcca.
FLOORS = {
    "errors": 1,
    "_warn": 1,
    "_core": 2,
    "_build": 3,
    "functional": 3,
    "deep": 5,
    "inference": 6,
    "retrieval": 6,
    "synchrony": 6,
    "plotting": 6,
    "distributed": 6,
    "datasets": 6,
    "cli": 6,
    "_demo": 6,
    "__init__": 7,  # the front doors open on every floor
    "__main__": 7,
}
ESTIMATORS = 4  # every module that is not named above

# Packages that only these rooms may import at module level: `import fastcca` reaches none of them.
HEAVY = {"torch": {"deep"}, "safetensors": {"deep"}, "matplotlib": {"plotting"}, "dask": {"distributed"}}
HEAVY |= {"distributed": {"distributed"}, "pandas": set(), "polars": set(), "pyarrow": set()}

# Rooms of the C++ core, from the ground up.
CPP_ROOMS = ["base", "linalg", "moments", "solver", "kernels", "losses", "retrieval", "level"]

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(path: Path) -> str:
    parts = ["fastcca", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(room: str) -> int:
    return FLOORS.get(room, ESTIMATORS)


def imported(nodes: list[ast.AST], path: Path) -> set[str]:
    """Full names of everything that the nodes import."""
    base = name_of(path).split(".")
    if path.name != "__init__.py":
        base = base[:-1]
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = base[: len(base) - node.level + 1] if node.level else []
            stem = ".".join([*prefix, *([node.module] if node.module else [])])
            # `from fastcca import x` names the room x, or something that the front door offers.
            names |= {f"{stem}.{alias.name}" for alias in node.names} if stem == "fastcca" else {stem}
    return names


def at_import_time(tree: ast.Module) -> list[ast.AST]:
    """The nodes that run when the module is imported: no function bodies, no TYPE_CHECKING blocks."""
    found: list[ast.AST] = []
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        found.append(node)
        todo += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_python_imports_only_downwards(path: Path) -> None:
    floor = floor_of(room_of(name_of(path)))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # Imports inside a function count too, unless they go to the estimators' side rooms on purpose: the
    # command line and the plots are the top floor, so nothing below may reach for them even late.
    for name in imported(list(ast.walk(tree)), path):
        if name == "fastcca" or name.startswith("fastcca."):
            room = room_of(name)
            if not (PACKAGE / f"{room}.py").exists() and not (PACKAGE / room).is_dir():
                room = "__init__"
            assert floor_of(room) <= floor, (
                f"{name_of(path)} (floor {floor}) imports {name} ({floor_of(room)})"
            )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    room = room_of(name_of(path))
    for name in imported(at_import_time(tree), path):
        allowed = HEAVY.get(name.split(".")[0])
        assert allowed is None or room in allowed, f"{name_of(path)} imports {name}"


def test_import_fastcca_is_light() -> None:
    code = "import sys, fastcca, fastcca.functional; print(*sorted(m.split('.')[0] for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "fastcca" in loaded
    assert loaded.isdisjoint({"torch", "matplotlib", "dask", "pandas", "polars", "pyarrow"})


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+[<"]([^">]+)[">]', path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.skipif(not CPP.is_dir(), reason="the C++ sources are not beside the tests")
def test_cpp_includes_only_downwards() -> None:
    rooms = [folder.name for folder in (CPP / "fastcca").iterdir() if folder.is_dir()]
    assert set(rooms) <= set(CPP_ROOMS)
    for path in sorted((CPP / "fastcca").rglob("*.?pp")):
        room = path.parent.name
        for name in includes(path):
            assert not name.startswith(("pybind11", "Python.h", "bindings/", "iostream", "fstream", "cstdio"))
            if name.startswith("fastcca/"):
                target = name.split("/")[1]
                assert CPP_ROOMS.index(target) <= CPP_ROOMS.index(room), f"{path.name} includes {name}"


@pytest.mark.skipif(not CPP.is_dir(), reason="the C++ sources are not beside the tests")
def test_every_binding_is_registered() -> None:
    declared = (CPP / "bindings" / "bindings.hpp").read_text(encoding="utf-8")
    module = (CPP / "bindings" / "module.cpp").read_text(encoding="utf-8")
    for path in (CPP / "bindings").glob("bind_*.cpp"):
        register = f"register_{path.stem.removeprefix('bind_')}("
        assert register in declared
        assert register in module
