"""The built documentation lists every public method and shows its pictures; the pages' examples run."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = DOCS / "_build" / "html"
EXAMPLES = ROOT / "examples"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests"),
]
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if not {"_build", "gallery", "generated"} & set(path.relative_to(DOCS).parts)
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The HTML pages: those that lie there, else built now, without a network."""
    if (BUILT / "objects.inv").is_file():
        return BUILT
    pytest.importorskip("sphinx_gallery", reason="the packages of the extra `docs` are not installed")
    pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-b", "html", "-d", str(folder / "trees")]
    run = subprocess.run(
        [*command, str(DOCS), str(folder / "html")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return folder / "html"


# ---- the API reference -------------------------------------------------------------------------------


def documented_classes() -> list[tuple[str, type]]:
    names = re.findall(r"^ +(fastcca\.[\w.]+)$", (DOCS / "api.rst").read_text(encoding="utf-8"), re.MULTILINE)
    found = []
    for full_name in names:
        module, _, name = full_name.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        if isinstance(value, type):
            found.append((full_name, value))
    return found


def test_every_public_method_is_in_the_inventory(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", os.path.join)
    listed = {
        name.rpartition(".")[0].rpartition(".")[2] + "." + name.rpartition(".")[2]
        for name in inventory["py:method"]
    }
    missing = []
    for full_name, cls in documented_classes():
        for base in cls.__mro__:
            if base.__module__.partition(".")[0] in {"torch", "builtins"}:
                continue
            missing += [
                f"{full_name}.{name}"
                for name, value in vars(base).items()
                if not name.startswith("_")
                and not isinstance(value, (property, type))
                and callable(getattr(cls, name))
                and f"{cls.__name__}.{name}" not in listed
            ]
    assert missing == []
    assert len(inventory["py:method"]) > 300


# ---- the gallery -------------------------------------------------------------------------------------


def figures_of(path: Path) -> int:
    """How many figures a script makes: one for each block with a call that makes one."""
    blocks = re.split(r"^# ?%%.*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return sum(
        any(marker in block for marker in (".subplots(", ".figure("))
        or any(
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "plot"
            and "Display" in ast.unparse(call.func.value)
            for call in ast.walk(ast.parse(block))
        )
        for block in blocks
    )


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("plot_*.py")), ids=lambda path: path.stem)
def test_every_block_shows_its_figure(site: Path, script: Path) -> None:
    page = (site / "gallery" / f"{script.stem}.html").read_text(encoding="utf-8")
    shown = re.findall(rf'<img[^>]+src="[^"]*_images/(sphx_glr_{script.stem}_\d+\.png)"', page)
    assert len(set(shown)) == figures_of(script) >= 2
    for name in shown:
        assert (site / "_images" / name).stat().st_size > 4000  # an empty panel is smaller
    assert "&lt;matplotlib" not in page  # no representation of what a plotting call returns
    assert f"sphx_glr_{script.stem}_thumb.png" in (site / "gallery" / "index.html").read_text(
        encoding="utf-8"
    )


def test_the_parts_have_an_example_each() -> None:
    used = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES.glob("plot_*.py"))
    for name in (
        "permutation_test",
        "LoadingDisplay",
        "CrossViewSearch",
        "LargeMarginEmbedding",
        "explain(",
        "with_classes(",
        "reconstruct(",
        "make_incongruent_pairs",
        "SynchronyDetector",
        "partial_fit(",
        "DeepCCA",
        "KernelCCA",
    ):
        assert name in used, name


# ---- without a network -------------------------------------------------------------------------------


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    foreign = set()
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        foreign |= set(re.findall(r'<(?:script|img|iframe)[^>]+src="((?:https?:)?//[^"]+)"', text))
        foreign |= set(
            re.findall(r'<link[^>]+rel="(?:stylesheet|preload)"[^>]+href="((?:https?:)?//[^"]+)"', text)
        )
    assert foreign == set()
    assert (site / "_static" / "tex-svg-full.js").stat().st_size > 1_000_000
    assert "tex-svg-full.js" in (site / "explanation" / "one_solver.html").read_text(encoding="utf-8")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(
    "page", ["index", "explanation/one_solver", "api/generated/fastcca.embedding.UnifiedSemanticEmbedding"]
)
def test_a_browser_draws_the_formulas_and_has_nothing_to_complain_of(
    site: Path, tmp_path: Path, page: str
) -> None:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
    command += [
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path}",
        "--allow-file-access-from-files",
    ]
    command += ["--virtual-time-budget=20000", "--dump-dom", (site / f"{page}.html").as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    trouble = re.compile("CONSOLE.*(error|uncaught|failed|refused|invalid)", re.IGNORECASE)
    assert [line for line in run.stderr.splitlines() if trouble.search(line)] == []
    source = (site / f"{page}.html").read_text(encoding="utf-8")
    n_formulas = len(re.findall(r'class="math notranslate', source))
    assert run.stdout.count("<mjx-container") == n_formulas
    assert "data-mjx-error" not in run.stdout


# ---- the pages' examples -----------------------------------------------------------------------------


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def write_animals(home: Path) -> None:
    """A data set in the layout of Animals with Attributes: 50 classes, 85 attributes, random features."""
    rng = np.random.default_rng(0)
    folder = home / "awa1"
    folder.mkdir(parents=True)
    names = [f"animal{i}" for i in range(49)] + ["zebra"]
    predicates = [f"attribute{i}" for i in range(85)]
    continuous = rng.uniform(0, 100, (50, 85))
    (folder / "classes.txt").write_text("".join(f"{i + 1}\t{name}\n" for i, name in enumerate(names)))
    (folder / "predicates.txt").write_text("".join(f"{i + 1}\t{name}\n" for i, name in enumerate(predicates)))
    np.savetxt(folder / "predicate-matrix-continuous.txt", continuous)
    np.savetxt(folder / "predicate-matrix-binary.txt", continuous > continuous.mean(), fmt="%d")
    (folder / "trainclasses.txt").write_text("\n".join(names[:40]))
    (folder / "testclasses.txt").write_text("\n".join(names[40:]))
    y = np.repeat(np.arange(50), 30).astype(np.uint8)
    np.savez(folder / "features.npz", X=rng.normal(size=(50, 20))[y] + rng.normal(size=(1500, 20)), y=y)
    (home / "wordnet").mkdir()
    groups = [f"{name}\tgroup{i % 7}\n" for i, name in enumerate(names)]
    (home / "wordnet" / "awa_taxonomy.tsv").write_text(
        "".join(groups) + "".join(f"group{i}\tanimal\n" for i in range(7))
    )


# What a page says that it needs, and its block downloads or reads: simulated.
SIMULATED = {"results/awa.md": write_animals}


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if python_blocks(page)],
    ids=lambda page: page.relative_to(DOCS).as_posix(),
)
def test_the_first_block_of_a_page_runs(tmp_path: Path, page: Path) -> None:
    block = python_blocks(page)[0]
    if "deep" in block:
        pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")
    home = tmp_path / "home"
    simulate = SIMULATED.get(page.relative_to(DOCS).as_posix())
    if simulate is not None:
        simulate(home)
    if block.lstrip().startswith(">>>"):
        # As doctest would: the statements without their prompts, the output left out.
        block = "\n".join(line[4:] for line in block.splitlines() if line.startswith((">>> ", "... ")))
    env = {**os.environ, "FASTCCA_DATA": str(home), "MPLBACKEND": "Agg"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_readmes_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *PAGES]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http", "mailto", "gallery/", "../gallery/")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
