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

# Layers of the Python package from the bottom, by the first part of a module's name below fastcca. A module
# imports from its own layer or from those below it.
LAYERS = (
    {"errors", "_core", "_docstrings"},
    {"_arguments"},
    {"_config", "functional"},
    {"taxonomy", "metrics"},
    {"_models"},
    {"cca", "embedding", "fusion", "similarity"},
    {"deep"},
    {"synchrony", "datasets", "distributed", "streaming", "singlecell"},
    {"inference", "retrieval", "plotting"},
    {"reporting"},
    {"_load"},
    {"cli"},
    {"__init__", "__main__"},  # the front doors open on every layer
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}

# Only `functional` opens the core, and who asks for the build itself.
CORE_USERS = {"_core", "_config", "functional"}

# Packages that only these modules may import at module level: `import fastcca` reaches none of them.
HEAVY = {"torch": {"deep"}, "safetensors": set(), "matplotlib": {"plotting"}, "dask": {"distributed"}}
HEAVY |= {"distributed": {"distributed"}, "pandas": set(), "polars": set(), "pyarrow": set()}

# Components of the C++ core, from the bottom.
CPP_LAYERS = [
    "base",
    "linalg",
    "moments",
    "solver",
    "kernels",
    "correlation",
    "hinge",
    "contrastive",
    "warp",
    "retrieval",
    "level",
]

MODULES = sorted(PACKAGE.rglob("*.py"))


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(path: Path) -> str:
    parts = ["fastcca", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(package: str) -> int:
    return LAYER[package]


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
            # `from fastcca import x` names the package x, or something that the front door offers.
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
    layer = layer_of(package_of(name_of(path)))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # Imports inside a function count too: nothing below may reach upwards even late.
    for name in imported(list(ast.walk(tree)), path):
        if name == "fastcca" or name.startswith("fastcca."):
            package = package_of(name)
            if not (PACKAGE / f"{package}.py").exists() and not (PACKAGE / package).is_dir():
                package = "__init__"
            assert layer_of(package) <= layer, (
                f"{name_of(path)} (layer {layer}) imports {name} ({layer_of(package)})"
            )


def test_python_imports_make_no_circle() -> None:
    graph = {}
    for path in MODULES:
        names = imported(list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))), path)
        graph[name_of(path)] = names - {name_of(path)}
    done: set[str] = set()
    while True:  # leave out, again and again, what imports nothing that is left
        free = {name for name, names in graph.items() if name not in done and not (names & set(graph)) - done}
        if not free:
            break
        done |= free
    circle = {name for name in set(graph) - done if name != "fastcca" and not name.startswith("fastcca.cli")}
    assert not circle, sorted(circle)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_core_is_used_through_functional(path: Path) -> None:
    names = imported(list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))), path)
    if package_of(name_of(path)) not in CORE_USERS:
        assert not any(name.startswith("fastcca._core") for name in names), path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_packages_stay_in_their_modules(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = package_of(name_of(path))
    for name in imported(at_import_time(tree), path):
        allowed = HEAVY.get(name.split(".")[0])
        assert allowed is None or package in allowed, f"{name_of(path)} imports {name}"


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
    components = [folder.name for folder in (CPP / "fastcca").iterdir() if list(folder.glob("*.?pp"))]
    assert set(components) <= set(CPP_LAYERS)
    for path in sorted((CPP / "fastcca").rglob("*.?pp")):
        package = path.parent.name
        for name in includes(path):
            assert not name.startswith(("pybind11", "Python.h", "bindings/", "iostream", "fstream", "cstdio"))
            assert "Eigen::internal" not in path.read_text(encoding="utf-8") or path.name == "packet.hpp"
            if name.startswith("fastcca/"):
                target = name.split("/")[1]
                assert CPP_LAYERS.index(target) <= CPP_LAYERS.index(package), f"{path.name} includes {name}"


@pytest.mark.skipif(not CPP.is_dir(), reason="the C++ sources are not beside the tests")
def test_every_binding_is_registered() -> None:
    declared = (CPP / "bindings" / "bindings.hpp").read_text(encoding="utf-8")
    module = (CPP / "bindings" / "module.cpp").read_text(encoding="utf-8")
    for path in (CPP / "bindings").glob("bind_*.cpp"):
        register = f"register_{path.stem.removeprefix('bind_')}("
        assert register in declared
        assert register in module


@pytest.mark.skipif(not CPP.is_dir(), reason="the C++ sources are not beside the tests")
@pytest.mark.parametrize("component", [name for name in CPP_LAYERS if name not in ("base", "level")])
def test_a_component_keeps_its_name(component: str) -> None:
    assert (CPP / "fastcca" / component).is_dir()
    for path in (
        CPP / "bindings" / f"bind_{component}.cpp",
        PACKAGE / "functional" / f"{component}.py",
        ROOT / "tests" / f"test_{component}.py",
        ROOT / "tests" / "reference" / f"{component}.py",
        ROOT / "bench" / "cpp" / f"bench_{component}.cpp",
    ):
        assert path.exists(), path
    assert list((CPP / "tests").glob(f"test_{component}*.cpp"))
