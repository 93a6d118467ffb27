"""Errors of canonical correlations against arithmetic of many digits: ``python -m bench.accuracy``.

Every solver in float64 and float32 beside NumPy's QR and other libraries, at condition numbers from 1 to 1e15
and scales from 1e-100 to 1e100. Writes docs/accuracy.md, and fails where a correlation of ours is off by more
than ten times what NumPy's QR in the same precision is, without a warning.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import mpmath
import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.harness import agree
from fastcca import CCA, Moments

Array = NDArray[Any]
Contender = Callable[[Array, Array], Any]

CORRELATIONS = (0.95, 0.9, 0.7, 0.4, 0.1)
WIDTH = 6
ROWS = 200
SEEDS = range(3)
ALLOWED = 10.0  # times the error of NumPy's QR
FROM_MOMENTS = ("partial_fit", "fit_moments")
MOMENTS_ALONE = 1e-8  # what these may be off without a word …
SILENT = 1e-3  # … and anything, however far off NumPy's QR is
PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"


def views(seed: int, condition: float, dtype: DTypeLike, scale: float = 1.0) -> tuple[Array, Array]:
    """Views of these condition numbers, the second in units of 1 / scale."""
    rng = np.random.default_rng(seed)
    q = len(CORRELATIONS)
    A, B = rng.normal(size=(ROWS, WIDTH)), rng.normal(size=(ROWS, q))
    rho = np.array(CORRELATIONS)
    B = rho * A[:, :q] + np.sqrt(1 - rho**2) * B

    def stretched(Z: Array) -> Array:
        d = Z.shape[1]
        left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
        return np.asarray(Z @ (left * np.geomspace(1, 1 / condition, d)) @ right)

    return (stretched(A) * scale).astype(dtype), (stretched(B) / scale).astype(dtype)


def exact(X: Array, Y: Array) -> NDArray[np.float64]:
    """The correlations of the numbers as they are, from their covariances in 80 digits."""
    with mpmath.workdps(80):
        columns = [[mpmath.mpf(float(v)) for v in column] for column in np.hstack([X, Y]).T]
        for column in columns:
            mean = mpmath.fsum(column) / len(column)
            centred = [v - mean for v in column]
            norm = mpmath.sqrt(mpmath.fdot(centred, centred))
            column[:] = [v / norm for v in centred]
        p, d = X.shape[1], len(columns)
        S = mpmath.matrix(d, d)
        for i in range(d):
            for j in range(i + 1):
                S[i, j] = S[j, i] = mpmath.fdot(columns[i], columns[j])
        L1, L2 = mpmath.cholesky(S[:p, :p]), mpmath.cholesky(S[p:, p:])
        T = mpmath.inverse(L1) * S[:p, p:] * mpmath.inverse(L2).T
        values = mpmath.eigsy(T.T * T, eigvals_only=True)
        return np.array(sorted((float(mpmath.sqrt(abs(v))) for v in values), reverse=True))


def numpy_qr(X: Array, Y: Array) -> Array:
    q1, q2 = (np.linalg.qr(Z - Z.mean(axis=0))[0] for Z in (X, Y))
    return np.asarray(np.linalg.svd(q1.T @ q2, compute_uv=False))


def ours(solver: Literal["auto", "covariance", "qr", "gram"]) -> Contender:
    return lambda X, Y: CCA(solver=solver).fit(X, Y).canonical_correlations_


def ours_in_chunks(X: Array, Y: Array) -> Array:
    return CCA().partial_fit(X[:100], Y[:100]).partial_fit(X[100:], Y[100:]).canonical_correlations_


def ours_by_moments(X: Array, Y: Array) -> Array:
    return CCA().fit_moments(Moments().update(X, Y)).canonical_correlations_


def scikit_learn(X: Array, Y: Array) -> Array:
    from sklearn.cross_decomposition import CCA as Other

    zx, zy = Other(n_components=Y.shape[1], max_iter=2000).fit_transform(X, Y)
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)])


def statsmodels(X: Array, Y: Array) -> Array:
    from statsmodels.multivariate.cancorr import CanCorr

    return np.asarray(CanCorr(Y, X).cancorr)


def cca_zoo(X: Array, Y: Array) -> Array:
    from cca_zoo.linear import CCA as Other

    zx, zy = map(np.asarray, Other(n_components=Y.shape[1]).fit([X, Y]).transform([X, Y]))
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)])


OURS: dict[str, Contender] = {
    "auto": ours("auto"),
    "covariance": ours("covariance"),
    "qr": ours("qr"),
    "gram": ours("gram"),
    "partial_fit": ours_in_chunks,
    "fit_moments": ours_by_moments,
}
OTHERS: dict[str, Contender] = {
    "NumPy QR": numpy_qr,
    "scikit-learn": scikit_learn,
    "statsmodels": statsmodels,
    "cca-zoo": cca_zoo,
}


class Cell:
    """The largest error over the data sets, and what else happened."""

    def __init__(self) -> None:
        self.error = 0.0
        self.warned = True  # in every data set that is off
        self.note = ""

    def add(self, contender: Contender, X: Array, Y: Array, truth: Array, fine: float) -> None:
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            try:
                found = np.asarray(contender(X, Y), dtype=np.float64)
            except ImportError:
                self.note = "not installed"
                return
            except Exception as failure:
                self.note = type(failure).__name__
                return
        # what is not found has a correlation of 0 here
        distance = np.abs(np.pad(found, (0, len(truth) - len(found))) - truth).max()
        error = float(distance) if np.isfinite(distance) else 1.0
        self.error = max(self.error, error)
        if error > fine:
            self.warned = self.warned and bool(caught)

    def text(self, fine: float) -> str:
        if self.note:
            return self.note
        return f"{self.error:.0e}" + (" *" if self.error > fine and self.warned else "")


def measured(
    settings: Sequence[tuple[str, float, float]], dtype: DTypeLike, contenders: dict[str, Contender]
) -> tuple[list[str], list[str]]:
    """The table's lines, and the complaints."""
    lines = ["| | " + " | ".join(contenders) + " |", "|---|" + "---:|" * len(contenders)]
    complaints = []
    for label, condition, scale in settings:
        cells = {name: Cell() for name in contenders}
        limit = 0.0
        data = []
        for seed in SEEDS:
            X, Y = views(seed, condition, dtype, scale)
            truth = exact(X, Y)
            data.append((X, Y, truth))
            base = Cell()
            base.add(numpy_qr, X, Y, truth, 0.0)
            limit = max(limit, ALLOWED * base.error if not base.note else 0.0)
        fine = 64 * float(np.finfo(dtype).eps)
        limit = max(limit, fine)
        limits = {name: max(limit, MOMENTS_ALONE) if name in FROM_MOMENTS else limit for name in contenders}
        for name, contender in contenders.items():
            for X, Y, truth in data:
                cells[name].add(contender, X, Y, truth, fine)
            cell = cells[name]
            silent = cell.error > min(limits[name], SILENT) and not cell.warned
            if name in OURS and (silent or cell.note not in ("", "NumericalError")):
                complaints.append(
                    f"{np.dtype(dtype)}, {label}: {name} {cell.error:.1e} {cell.note} > {limit:.1e}"
                )
        lines.append(f"| {label} | " + " | ".join(cell.text(fine) for cell in cells.values()) + " |")
        print(lines[-1], flush=True)
    return lines, complaints


TEXT = """# How accurate it is

<!-- written by `python -m bench.accuracy` -->

Largest error of five canonical correlations (.95, .9, .7, .4, .1) over {seeds} data sets of {rows} rows and
{width} + 5 columns, against the same numbers in arithmetic of 80 digits. "auto", "covariance", "qr" and
"gram" are `CCA(solver=...).fit`, "partial_fit" takes two chunks, "fit_moments" one `Moments().update`.

A star: an error above 64 machine epsilons came with a warning that estimates it or names the directions left
out; a correlation that was left out counts as 0. Without a star nothing of ours is further off than ten times
what NumPy's QR in the same precision is, or, from moments alone, 1e-8, and nothing by more than 1e-3: the
command fails where something is. A NumericalError refuses data whose squares overflow or underflow.

{sections}
Both views are stretched to the condition number given, along random directions. Scales multiply the first
view and divide the second; their condition number is 10. From moments alone (`partial_fit`, `fit_moments`)
the condition number is squared: the warning says what to do. `Moments().update(..., dtype=numpy.float64)`
takes float32 data with products in double, as `partial_fit` does.

{versions}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write the page")
    parser.add_argument("--small", action="store_true", help="a few settings, for a test")
    args = parser.parse_args()

    exponents = (0, 2, 8) if args.small else range(16)
    conditions = [(f"cond 1e{e}", 10.0**e, 1.0) for e in exponents]
    powers = (-100, 100) if args.small else (-100, -50, -20, -5, 0, 5, 20, 50, 100)
    scales = [(f"scale 1e{e}", 10.0, 10.0**e) for e in powers]
    single_scales = [
        (f"scale 1e{e}", 10.0, 10.0**e) for e in ((-30, 30) if args.small else (-30, -15, 0, 15, 30))
    ]
    sections, complaints = [], []
    for title, settings, dtype in (
        ("Condition numbers, float64", conditions, np.float64),
        ("Condition numbers, float32", [c for c in conditions if c[1] <= 1e8], np.float32),
        ("Scales, float64", scales, np.float64),
        ("Scales, float32", single_scales, np.float32),
    ):
        print(title)
        for heading, contenders in (("", OURS), ("Others:", OTHERS)):
            lines, wrong = measured(settings, dtype, contenders)
            complaints += wrong
            sections += [f"## {title}\n" if not heading else heading + "\n", "\n".join(lines) + "\n"]
    text = TEXT.format(
        seeds=len(SEEDS), rows=ROWS, width=WIDTH, sections="\n".join(sections), versions=versions()
    )
    args.page.write_text(text, encoding="utf-8")
    agree("accuracy", not complaints, "\n" + "\n".join(complaints))


def versions() -> str:
    found = []
    for package in ("numpy", "scikit-learn", "statsmodels", "cca-zoo"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return "Versions: " + ", ".join(found) + "."


if __name__ == "__main__":
    main()
