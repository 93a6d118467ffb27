"""The installed package: what its modules contain, which level runs, what the stub and the docs say."""

import ast
import ctypes
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import fastcca
from fastcca import _core
from fastcca._core import _bindings

ROOT = Path(__file__).parents[1]
CORE = Path(_core.__file__).parent
STUB = (CORE / "__init__.pyi").read_text(encoding="utf-8")
BUILT = _core.levels_built
ON_X86_64 = "generic" not in BUILT


def extension(name: str) -> Path:
    """The compiled module, wherever the installation keeps it."""
    spec = importlib.util.find_spec(f"fastcca._core.{name}")
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not built here (a development build of fewer levels)")
    return Path(spec.origin)


def python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# What the modules contain


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) is not installed")
@pytest.mark.skipif(not ON_X86_64, reason="the CPU levels are those of x86-64")
@pytest.mark.parametrize("name", ["_bindings", "_core_v2"])
def test_old_cpus_meet_no_avx_instruction(name: str) -> None:
    listing = output("objdump", "-d", "--no-show-raw-insn", str(extension(name)))
    instructions = re.findall(r"^\s+[0-9a-f]+:\t([a-z]\S*)(?:[ \t]+(.*))?$", listing, re.MULTILINE)
    assert len(instructions) > 1000
    # VEX and EVEX instructions begin with v (but verr and verw), and only they name the wide registers.
    wide = [
        f"{mnemonic} {operands}"
        for mnemonic, operands in instructions
        if (mnemonic.startswith("v") and mnemonic not in {"verr", "verw"})
        or re.search(r"%[yz]mm", operands or "")
    ]
    assert wide == []


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) is not installed")
@pytest.mark.skipif("v3" not in BUILT, reason="the v3 module is not built here")
def test_the_v3_module_does_use_avx() -> None:
    listing = output("objdump", "-d", str(extension("_core_v3")))
    assert "vfmadd" in listing
    assert "%zmm" not in listing


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm (binutils) is not installed")
@pytest.mark.parametrize("level", BUILT)
def test_only_the_init_function_is_exported(level: str) -> None:
    # Two modules that export the same inline templates would share them, and the older CPU would crash.
    listing = output("nm", "-D", "--defined-only", str(extension(f"_core_{level}")))
    names = {line.split()[-1] for line in listing.splitlines()}
    assert {name for name in names if "Eigen" in name or "fastcca" in name} == set()
    assert f"PyInit__core_{level}" in names


GIL_SLOT = re.compile(r"mod_gil_not_used\(\)|\{Py_mod_gil, Py_MOD_GIL_NOT_USED\}")


@pytest.mark.skipif(not (ROOT / "cpp").is_dir(), reason="the C++ sources are not beside the tests")
def test_every_module_declares_itself_safe_without_the_gil() -> None:
    # One module that does not would switch the GIL back on in a free-threaded interpreter.
    modules = [
        path
        for path in (ROOT / "cpp").rglob("*.cpp")
        if "PyInit_" in (text := path.read_text()) or "PYBIND11_MODULE(" in text
    ]
    assert {path.name for path in modules} == {"module.cpp", "level_module.cpp"}
    for path in modules:
        assert GIL_SLOT.search(path.read_text()), path.name


class ModuleDefinition(ctypes.Structure):
    """PyModuleDef up to its slots."""

    _fields_ = (
        ("base", ctypes.c_byte * (object.__basicsize__ + 3 * ctypes.sizeof(ctypes.c_void_p))),
        ("name", ctypes.c_char_p),
        ("doc", ctypes.c_char_p),
        ("size", ctypes.c_ssize_t),
        ("methods", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
    )


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the slot came with Python 3.13")
@pytest.mark.parametrize("name", ["_bindings", *(f"_core_{level}" for level in BUILT)])
def test_the_compiled_modules_say_so_too(name: str) -> None:
    init = getattr(ctypes.PyDLL(str(extension(name))), f"PyInit_{name}")
    init.restype = ctypes.POINTER(ModuleDefinition)
    slots = ctypes.cast(init().contents.slots, ctypes.POINTER(ctypes.c_void_p * 2))
    found = {}
    for i in range(16):
        number, value = slots[i]
        if not number:
            break
        found[number] = value
    assert found.get(4) == 1  # Py_mod_gil: Py_MOD_GIL_NOT_USED


@pytest.mark.skipif(
    getattr(sys, "_is_gil_enabled", lambda: True)(), reason="the interpreter is not free-threaded"
)
def test_importing_fastcca_leaves_the_gil_off() -> None:
    run = python("import sys, fastcca, fastcca.functional; print(sys._is_gil_enabled())")
    assert run.stdout.strip() == "False"


# Which level runs


@pytest.mark.parametrize("level", BUILT)
def test_a_level_can_be_forced(level: str) -> None:
    run = python("import fastcca; print(fastcca.build_info()['isa'])", FASTCCA_ISA=level)
    if _bindings.cpu_supports(level):
        assert run.stdout.strip() == level
    else:
        assert run.returncode != 0
        assert f"ImportError: FASTCCA_ISA='{level}': this CPU does not support that level" in run.stderr


def test_an_unknown_level_is_an_import_error() -> None:
    run = python("import fastcca", FASTCCA_ISA="v9")
    assert run.returncode != 0
    assert run.stderr.rstrip().endswith(f"ImportError: FASTCCA_ISA='v9': the levels built are {BUILT}")


def test_the_best_level_is_chosen() -> None:
    run = python("import fastcca; print(fastcca.build_info()['isa'])", FASTCCA_ISA="")
    assert run.stdout.strip() == next(
        level for level in _core.LEVELS if level in BUILT and _bindings.cpu_supports(level)
    )


def test_build_info() -> None:
    info = fastcca.build_info()
    assert set(info) == {"version", "isa", "amx", "levels", "compiler", "eigen", "threads"}
    assert info["isa"] in info["levels"]
    assert info["levels"] == sorted(BUILT)
    assert info["amx"] in ((True, False) if info["isa"] == "v4" else (False,))
    assert re.match(r"(gcc|clang|msvc) \d+", info["compiler"])
    assert info["eigen"].startswith("3.4")
    assert info["threads"] == fastcca.get_num_threads() >= 1


def test_no_matrix_unit_where_nobody_wants_it() -> None:
    run = python("import fastcca; print(fastcca.build_info()['amx'])", FASTCCA_AMX="0")
    assert run.stdout.strip() == "False"


def test_threads_from_the_environment() -> None:
    code = "import fastcca; print(fastcca.get_num_threads())"
    assert python(code, FASTCCA_NUM_THREADS="3", OMP_NUM_THREADS="5").stdout.strip() == "3"
    assert python(code, FASTCCA_NUM_THREADS="", OMP_NUM_THREADS="5").stdout.strip() == "5"


# The stub and the compiled module


def stub_functions() -> dict[str, list[list[str]]]:
    """Of each function in the stub the parameter names of each overload."""
    found: dict[str, list[list[str]]] = {}
    for node in ast.parse(STUB).body:
        if isinstance(node, ast.FunctionDef):
            args = node.args
            names = [a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs]]
            found.setdefault(node.name, []).append(names)
    return found


def compiled_functions() -> dict[str, list[list[str]]]:
    """The same, of the functions in the compiled module, read from the signatures in their docstrings."""
    found: dict[str, list[list[str]]] = {}
    for name, value in vars(_bindings).items():
        if name.startswith("_") or not callable(value) or isinstance(value, type):
            continue
        signatures = re.findall(rf"^(?:\d+\. )?({name}\(.*\)) -> ", value.__doc__, re.MULTILINE)
        assert signatures, f"{name} has no signature in its docstring"
        overloads = []
        for signature in signatures:
            # Only the names are wanted: a default value that Python cannot parse would not matter.
            tree = ast.parse(f"def {re.sub(r'= ?<.*?>', '= ...', signature)}: ...").body[0]
            assert isinstance(tree, ast.FunctionDef)
            args = tree.args
            overloads.append([a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs]])
        found[name] = overloads
    return found


def test_the_stub_names_what_the_module_offers() -> None:
    nodes = ast.parse(STUB).body
    named = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    named |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    named = {name for name in named if not name.startswith("_")}
    offered = {name for name in vars(_bindings) if not name.startswith("_")}
    assert named - {"levels_built", "LEVELS"} == offered


@pytest.mark.parametrize("name", sorted(compiled_functions()))
def test_the_stub_has_the_modules_signatures(name: str) -> None:
    stub = stub_functions()[name]
    compiled = compiled_functions()[name]
    # Overloads for float32 and float64 share their names; the stub may write them as one.
    assert {tuple(names) for names in stub} == {tuple(names) for names in compiled}


# Names and versions


def public_names() -> list[str]:
    """Every public name, by the module that offers it in __all__."""
    names = []
    for path in sorted(Path(fastcca.__file__).parent.rglob("*.py")):
        parts = path.relative_to(Path(fastcca.__file__).parent).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts) or parts[0] == "cli":
            continue
        if len(parts) > 1 and parts[-1] != "__init__":
            continue  # a package lists its names itself
        module = ".".join(["fastcca", *(part for part in parts if part != "__init__")])
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names += [f"{module}.{name}" for name in ast.literal_eval(node.value)]
    return names


def resolve(full_name: str) -> object:
    module, name = full_name.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def test_modules_are_reached_from_the_package_at_their_first_use() -> None:
    names = ["datasets", "embedding", "fusion", "inference", "metrics", "plotting", "retrieval", "synchrony"]
    names += ["taxonomy"]
    code = (
        "import sys, fastcca\n"
        f"for name in {names}:\n"
        "    assert getattr(fastcca, name) is sys.modules[f'fastcca.{name}'], name\n"
        "assert not {'torch', 'matplotlib', 'dask'} & set(sys.modules)\n"
        f"assert set({names}) <= set(dir(fastcca))"
    )
    run = python(code)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests")
def test_every_public_name_is_documented() -> None:
    entries = set(re.findall(r"^ +(fastcca\.[\w.]+)$", (ROOT / "docs" / "api.rst").read_text(), re.MULTILINE))
    documented = {entry.rsplit(".", 1)[-1] for entry in entries}
    missing = [name for name in public_names() if name.rsplit(".", 1)[-1] not in documented]
    assert [name for name in missing if not isinstance(resolve(name), ModuleType)] == []
    # And the page names nothing that does not exist.
    for entry in entries:
        assert resolve(entry).__doc__, entry


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="the sources are not beside the tests")
def test_one_version_everywhere() -> None:
    declared = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared
    assert version("fastcca") == fastcca.build_info()["version"] == fastcca.__version__ == declared[1]
    assert f"[{declared[1]}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="the sources are not beside the tests")
def test_readme_has_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n(.+)\n```", text))
    assert set(commands) == {"demo", "tests"}
    assert commands["demo"].endswith("fastcca demo")
    assert commands["tests"].endswith("pytest")


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="the sources are not beside the tests")
def test_readme_example_runs() -> None:
    (block,) = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    cca, X, Y = names["cca"], names["X"], names["Y"]
    # The population correlations are 0.9, 0.7 and 0.5; the sampling error at n = 1000 is about 0.02.
    assert abs(cca.score(X[1000:], Y[1000:]) - 0.7) < 0.06
    assert abs(cca.canonical_correlations_.sum() - 2.1) < 0.15
    assert names["Zx"].shape == names["Zy"].shape == (2000, 3)
