"""A report: named tables of numbers, as text, HTML and LaTeX."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._models.atomic_write import replacing

__all__ = ["Report", "Table", "components"]

_ROWS, _COLUMNS = 30, 8  # of a table in text; pages show more
_PAGE_ROWS, _PAGE_COLUMNS = 500, 30


@dataclass(frozen=True, eq=False, repr=False)
class Table(Mapping[str, NDArray[Any]]):
    """A table of a :class:`~fastcca.Report`: a mapping of the columns' headings to arrays.

    Attributes
    ----------
    title : str
        What it holds.
    index : tuple of str
        Names of the rows.
    columns : dict of str to ndarray
        The columns by their headings. NaN is what cannot be given, and is shown as a dot.
    note : str
        What to know of it, or "".

    Examples
    --------
    >>> import fastcca
    >>> from fastcca.datasets import make_two_views
    >>> views = make_two_views(100, (3, 2), correlations=[0.8], random_state=0)
    >>> table = fastcca.report(fastcca.CCA(), views.X, views.y)["sequential"]
    >>> list(table)
    ['Likelihood ratio', 'F', 'Num df', 'Den df', 'p']
    >>> (table["p"] < 0.05).tolist()
    [True, False]
    """

    title: str
    index: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    formats: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    heading: str = ""

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.columns:
            raise KeyError(f"no column {name!r}: there are {', '.join(map(repr, self.columns))}")
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def to_numpy(self) -> NDArray[Any]:
        """The columns next to each other, shape (rows, columns)."""
        return np.column_stack(list(self.columns.values()))

    def to_frame(self) -> Any:
        """As a ``pandas.DataFrame``.

        Raises
        ------
        ImportError
            Without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas") from error
        index = pandas.Index(list(self.index), name=self.heading or None)
        return pandas.DataFrame({name: np.asarray(c) for name, c in self.columns.items()}, index=index)

    def to_latex(self) -> str:
        """As a LaTeX ``tabular`` with the rules of booktabs."""
        head, rows, _ = self._cells(_PAGE_ROWS, _PAGE_COLUMNS)
        lines = [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
        lines += [" & ".join(map(_latex, head)) + r" \\", r"\midrule"]
        lines += [" & ".join(map(_latex, row)) + r" \\" for row in rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def _repr_html_(self) -> str:
        head, rows, left_out = self._cells(_PAGE_ROWS, _PAGE_COLUMNS)
        cells = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
        body = "".join(
            f'<tr><th scope="row">{html.escape(row[0])}</th>'
            + "".join(f"<td>{html.escape(value)}</td>" for value in row[1:])
            + "</tr>\n"
            for row in rows
        )
        notes = "".join(f"<p>{html.escape(text)}</p>\n" for text in (left_out, self.note) if text)
        return (
            f'<div style="overflow-x:auto"><table class="fastcca-report">'
            f'<caption style="text-align:left">{html.escape(self.title)}</caption>\n'
            f"<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n{notes}"
        )

    def __str__(self) -> str:
        head, rows, left_out = self._cells(_ROWS, _COLUMNS)
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [self.title, ""]
        for row in (head, *rows):
            cells = [f"{row[0]:<{widths[0]}}"]
            cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        lines += [text for text in (left_out, self.note) if text]
        return "\n".join(lines)

    __repr__ = __str__

    def _cells(self, most_rows: int, most_columns: int) -> tuple[list[str], list[list[str]], str]:
        """Heading and rows as text, and what was left out."""
        names = list(self.columns)[:most_columns]
        rows = np.arange(len(self.index))
        left_out = []
        if len(rows) > most_rows:
            numbers = [np.asarray(self.columns[n]) for n in names if self.columns[n].dtype.kind == "f"]
            size = np.max(np.nan_to_num(np.abs(numbers)), axis=0) if numbers else np.zeros(len(rows))
            rows = np.sort(np.argsort(-size, kind="stable")[:most_rows])
            left_out.append(f"The {most_rows} rows of {len(self.index)} with the largest numbers are shown.")
        if len(names) < len(self.columns):
            left_out.append(f"The first {len(names)} columns of {len(self.columns)} are shown.")
        shown = [[_formatted(v, self.formats.get(n, "")) for v in self.columns[n][rows]] for n in names]
        index = [self.index[i] for i in rows]
        table = [list(row) for row in zip(index, *shown, strict=True)]
        return [self.heading, *names], table, " ".join(left_out)


def _formatted(value: Any, how: str) -> str:
    if isinstance(value, str):
        return value
    value = float(value)
    if np.isnan(value):
        return "."
    if how == "p":
        return "<.0001" if value < 5e-5 else f"{value:.4f}"
    if how == "df":
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    return format(value, how or ".4f")


def _latex(text: str) -> str:
    out = text.replace("\\", r"\textbackslash ")
    for character in "&%$#_{}":
        out = out.replace(character, "\\" + character)
    out = out.replace("~", r"\textasciitilde{}").replace("^", r"\textasciicircum{}")
    for character, command in (
        ("<", "$<$"),
        (">", "$>$"),
        ("²", "$^2$"),
        ("ρ", r"$\rho$"),
        ("λ", r"$\lambda$"),
    ):
        out = out.replace(character, command)
    return f"${out}$" if out.startswith("-") and out[1:2].isdigit() else out


class Report(Mapping[str, Table]):
    """What a fit found, as named tables: a mapping of names to :class:`fastcca.reporting.Table`.

    :func:`fastcca.report` and ``summary`` of a fitted model make one. ``print`` shows it as text, a notebook
    as HTML.

    Attributes
    ----------
    title : str
        What was fitted.
    facts : dict of str to str
        Rows, columns, ranks, ridge.
    tables : dict of str to Table
        The tables by name.
    notes : list of str
        What is left out and why.
    pictures : dict of str to bytes
        PNG files by their titles, empty where none were asked for.

    Examples
    --------
    >>> from fastcca import CCA
    >>> from fastcca.datasets import make_two_views
    >>> views = make_two_views(100, (3, 2), correlations=[0.8], random_state=0)
    >>> report = CCA().fit(views.X, views.y).summary()
    >>> report["correlations"]["Correlation"].round(3)
    array([0.715, 0.136])
    >>> print(report.to_latex("x_loadings"))
    \\begin{tabular}{lrr}
    \\toprule
     & X1 & X2 \\\\
    \\midrule
    x0 & 0.6325 & $-0.6784$ \\\\
    x1 & 0.4524 & $-0.6958$ \\\\
    x2 & 0.7267 & 0.0978 \\\\
    \\bottomrule
    \\end{tabular}
    """

    def __init__(
        self,
        title: str,
        facts: Mapping[str, str],
        tables: Mapping[str, Table],
        notes: Sequence[str] = (),
        pictures: Mapping[str, bytes] | None = None,
    ) -> None:
        self.title, self.facts, self.tables = title, dict(facts), dict(tables)
        self.notes, self.pictures = list(notes), dict(pictures or {})

    def __getitem__(self, name: str) -> Table:
        if name not in self.tables:
            raise KeyError(f"no table {name!r}: there are {', '.join(map(repr, self.tables))}")
        return self.tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    def to_frame(self, name: str) -> Any:
        """The table of this name as a ``pandas.DataFrame``.

        Parameters
        ----------
        name : str
            Of the table.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        KeyError
            If there is no such table.
        ImportError
            Without pandas.
        """
        return self[name].to_frame()

    def to_latex(self, name: str | None = None) -> str:
        """One table as a LaTeX ``tabular`` (with the rules of booktabs), or all of them with their titles.

        Parameters
        ----------
        name : str, optional
            Of the table; by default all.

        Returns
        -------
        str

        Raises
        ------
        KeyError
            If there is no such table.
        """
        if name is not None:
            return self[name].to_latex()
        return "\n\n".join(
            f"\\begin{{table}}\n\\caption{{{_latex(table.title)}}}\n{table.to_latex()}\n\\end{{table}}"
            for table in self.tables.values()
        )

    def to_html(self) -> str:
        """The whole report as one self-contained page, with its pictures inside.

        Returns
        -------
        str
        """
        pictures = "".join(
            f"<figure><img alt={_quoted(name)} src={_quoted(_data(png))}>"
            f"<figcaption>{html.escape(name)}</figcaption></figure>\n"
            for name, png in self.pictures.items()
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<link rel="icon" href="data:,">\n'
            f"<title>{html.escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f"{self._repr_html_()}{pictures}</body>\n</html>\n"
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the report to a file, in the format that its name ends in.

        Parameters
        ----------
        path : str or path-like
            ``.html``: one self-contained page; ``.tex``: tables for LaTeX; ``.txt``: text.

        Raises
        ------
        ValueError
            For another ending.
        """
        path = Path(fspath(path)).expanduser()
        made = {".html": self.to_html, ".tex": self.to_latex, ".txt": self.__str__}.get(path.suffix.lower())
        if made is None:
            raise ValueError(f"a report goes to a file .html, .tex or .txt, got {str(path)!r}")
        with replacing(path) as temporary:
            Path(temporary).write_text(made() + "\n", encoding="utf-8")

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>\n"
            for name, value in self.facts.items()
        )
        notes = "".join(f"<p>{html.escape(note)}</p>\n" for note in self.notes)
        tables = "".join(table._repr_html_() for table in self.tables.values())
        return f"<h1>{html.escape(self.title)}</h1>\n<table>{facts}</table>\n{notes}{tables}"

    def __str__(self) -> str:
        width = max(map(len, self.facts), default=0)
        lines = [self.title, "=" * len(self.title), ""]
        lines += [f"{name:<{width}}  {value}" for name, value in self.facts.items()]
        parts = ["\n".join(lines), *map(str, self.tables.values()), *self.notes]
        return "\n\n".join(parts)

    __repr__ = __str__


def components(label: str, k: int, matrix: ArrayLike) -> dict[str, NDArray[Any]]:
    """The columns of a matrix by the names of the components."""
    columns = np.asarray(matrix, dtype=np.float64)
    return {f"{label}{j + 1}": columns[:, j] for j in range(k)}


def _data(png: bytes) -> str:
    import base64

    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _quoted(text: str) -> str:
    return f'"{html.escape(text)}"'


_STYLE = """
body { font-family: system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff; line-height: 1.4; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1.2rem 0 0.4rem; font-variant-numeric: tabular-nums; }
caption { font-weight: 600; padding-bottom: 0.3rem; white-space: nowrap; }
th, td { padding: 0.15rem 0.7rem; text-align: right; }
thead th { border-bottom: 1px solid #888; white-space: nowrap; }
thead th:first-child { text-align: left; }
th[scope="row"] { text-align: left; font-weight: 400; }
tbody tr:nth-child(even) { background: #f4f4f4; }
figure { margin: 1.5rem 0; }
img { width: 40rem; max-width: 100%; height: auto; }
figcaption { color: #444; }
"""
