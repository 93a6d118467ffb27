"""Documentation, docstrings and messages use the terms of the field.

Each entry of REFUSED is a word or a phrase that readers of this literature would stumble over, with the
standard term for it. ``python tests/test_vocabulary.py`` lists every place where one of them stands.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

REFUSED = {
    r"\broads?\b": "method, solver, algorithm",
    r"\brooms?\b": "module, component",
    r"\bfloors\b|\bfloor (?:\d|above|below)": "layer (of the architecture)",
    r"\bfalling order\b": "descending order",
    r"\b(?:a|the|its|same|small|large) shares?\b(?! (?:a|the|one|no|its)\b)": "fraction, proportion",
    r"\bshares? of\b": "fraction of, relative to",
    r"\btells\b|\btold\b": "says; see; is reported",
    r"\b(?:is|are|was) cut to\b": "is reduced to",
    r"\bspeaks? of \w+ nodes?": "refers to",
    r"\bwhole numbers?\b": "integer",
    r"\bdefeats? the arithmetic\b": "numerical breakdown, ill-conditioned input",
    r"\bwill not do\b": "is not accurate enough",
    r"\bcured\b": "well-conditioned after regularisation",
    r"\bcounted with the ridge\b": "regularised",
    r"\btheir partners\b|\bthe partners of\b": "the paired samples",
    r"\btowards? one length\b": "shrink row norms towards a common norm",
    r"\bdivided by to be read\b": "softmax temperature",
    r"\bweighs? (?:all|every)\b": "penalises equally",
    r"\balike\b": "equally",
    r"\bbeside\b": "next to, compared with",
    r"\bso many\b": "this many, the given number of",
    r"\bspread\b": "standard deviation, scale",
    r"\bthe middle of\b": "mean, centroid",
    r"\bviolators?\b": "margin violation, violating class",
    r"\b\d+ hops?\b|\bhops between\b|\bnumber of hops\b": "path length, tree distance",
    r"\bby turns\b": "alternating minimisation",
    r"\bnatural penalty\b": "default penalty",
    r"\bof the same make\b": "with the same architecture",
    r"\bto be had\b": "available",
    r"\bway back\b": "decoder, back-transformation",
    r"\bmeetings? of the threads\b": "barrier",
    r"\bin step\b": "synchronised",
    r"\bcoins?\b": "Bernoulli variables",
    r"\bof before\b": "earlier, legacy",
}
PATTERNS = {re.compile(pattern, re.IGNORECASE): term for pattern, term in REFUSED.items()}

# Files whose words are still to be changed. Take a file out when it is clean; add none.
PENDING: set[str] = {
    "docs/explanation/limits.md",
}


def pages() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md"))
    yield from (ROOT / "examples").glob("*.*")
    for pattern in ("*.md", "*.rst"):
        yield from (
            path
            for path in (ROOT / "docs").rglob(pattern)
            if not {"_build", "generated", "gallery"} & set(path.relative_to(ROOT / "docs").parts)
        )


def page_texts(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        yield number, re.sub(r"`[^`]*`", "", line)  # names, also those that are no more, are not words


def source_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings of what is public, and the text of errors and warnings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))

    def docstrings(node: ast.AST, public: bool) -> Iterator[tuple[int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                named = not child.name.startswith("_") or child.name == "__init__"
                if public and named:
                    yield from lines(child)
                yield from docstrings(child, public and named)

    def lines(
        node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    ) -> Iterator[tuple[int, str]]:
        if ast.get_docstring(node) is not None:
            assert isinstance(node.body[0], ast.Expr)
            start = node.body[0].lineno
            for offset, line in enumerate(ast.get_docstring(node, clean=False).splitlines()):
                yield start + offset, line

    private = any(part.startswith("_") for part in path.relative_to(ROOT / "python" / "fastcca").parts[:-1])
    if not private and (not path.name.startswith("_") or path.name == "__init__.py"):
        yield from lines(tree)
    yield from docstrings(tree, True)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in {"warn", "echo", "warn_user"}
        ):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def sources() -> Iterator[Path]:
    yield from (ROOT / "python" / "fastcca").rglob("*.py")


def found(path: Path) -> list[str]:
    texts = page_texts(path) if path in set(pages()) else source_texts(path)
    return sorted(
        {
            f"{path.relative_to(ROOT).as_posix()}:{number}: {match[0]!r}; say: {term}"
            for number, text in texts
            for pattern, term in PATTERNS.items()
            for match in pattern.finditer(text)
        }
    )


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the sources are not beside the tests")
def test_the_words_are_those_of_the_field() -> None:
    hits = [
        hit
        for path in [*pages(), *sources()]
        if path.relative_to(ROOT).as_posix() not in PENDING
        for hit in found(path)
    ]
    assert hits == []


@pytest.mark.parametrize(
    ("text", "term"),
    [("three roads", "method"), ("2 whole numbers", "integer"), ("in falling order", "descending")],
)
def test_a_refused_word_is_found(text: str, term: str) -> None:
    assert any(pattern.search(text) and term in say for pattern, say in PATTERNS.items())


if __name__ == "__main__":
    for file in [*pages(), *sources()]:
        print(*found(file), sep="\n", end="\n" if found(file) else "")
