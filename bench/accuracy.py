"""Errors of canonical correlations against arithmetic of many digits: ``python -m bench.accuracy``.

Every solver in float64 and float32 beside NumPy's QR and other libraries, at condition numbers from 1 to
1e15 and scales from 1e-100 to 1e100, with ridges, of wide views and of 2000 rows. Writes docs/accuracy.md,
and fails where a correlation of ours is off by more than ten times what NumPy's QR in the same precision is,
without a warning.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import mpmath
import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.harness import agree
from fastcca import CCA, Moments

Array = NDArray[Any]


class Setting(NamedTuple):
    """Data sets of a row of a table."""

    label: str
    condition: float = 10.0
    scale: float = 1.0
    rows: int = 200
    width: int = 6
    ridge: tuple[float, float] = (0.0, 0.0)  # in units of the views' mean variances


Data = tuple[Array, Array, tuple[float, float]]
Contender = Callable[[Array, Array, tuple[float, float]], Any]

CORRELATIONS = (0.95, 0.9, 0.7, 0.4, 0.1)
SEEDS = range(3)
ALLOWED = 10.0  # times the error of NumPy's QR
FROM_MOMENTS = ("partial_fit", "fit_moments")
NOTHING = 1e-6  # pairs that a ridge has shrunk to less may be missing
FROM_COVARIANCES = ("covariance", *FROM_MOMENTS)
MOMENTS_ALONE = 1e-8  # what these may be off without a word …
SILENT = 1e-3  # … and anything, however far off NumPy's QR is
PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"


def views(seed: int, of: Setting, dtype: DTypeLike) -> tuple[Array, Array, tuple[float, float]]:
    """Views of this condition number, the second in units of 1 / scale, and their ridges."""
    rng = np.random.default_rng(seed)
    q = len(CORRELATIONS)
    A, B = rng.normal(size=(of.rows, of.width)), rng.normal(size=(of.rows, q))
    rho = np.array(CORRELATIONS)
    B = rho * A[:, :q] + np.sqrt(1 - rho**2) * B

    def stretched(Z: Array) -> Array:
        d = Z.shape[1]
        left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
        return np.asarray(Z @ (left * np.geomspace(1, 1 / of.condition, d)) @ right)

    X, Y = (stretched(A) * of.scale).astype(dtype), (stretched(B) / of.scale).astype(dtype)
    return X, Y, (_ridge(X, of.ridge[0]), _ridge(Y, of.ridge[1]))


def _ridge(Z: Array, r: float) -> float:
    return float(r * np.mean(np.var(Z.astype(np.float64), axis=0))) if r else 0.0


def exact(X: Array, Y: Array, ridge: tuple[float, float]) -> NDArray[np.float64]:
    """The singular values of T for the numbers as they are, from their covariances in 80 digits.

    A wide first view, which has a ridge, takes part by the inner products K of its rows:
    S12' (S11 + r I)^-1 S12 = Y' K (K + (n - 1) r I)^-1 Y / (n - 1).
    """
    with mpmath.workdps(80):
        x, y = _columns(X, ridge[0]), _columns(Y, ridge[1])
        n = len(X)
        if len(x) >= n:  # K, and then the eigenvalues of the second view's half
            K = mpmath.matrix(n, n)
            for i in range(n):
                row = [column[i] for column in x]
                for j in range(i + 1):
                    K[i, j] = K[j, i] = mpmath.fdot(row, [column[j] for column in x])
            penalty = (n - 1) * mpmath.mpf(ridge[0])
            solved = [mpmath.lu_solve(K + penalty * mpmath.eye(n), mpmath.matrix(column)) for column in y]
            hit = [K * of for of in solved]
            inner = mpmath.matrix(len(y), len(y))
            for i in range(len(y)):
                for j in range(len(y)):
                    inner[i, j] = mpmath.fdot(y[i], list(hit[j]))
            L = mpmath.cholesky(_products(y, y) + (n - 1) * mpmath.mpf(ridge[1]) * mpmath.eye(len(y)))
            left = mpmath.inverse(L)
            G = left * inner * left.T
            values = mpmath.eigsy((G + G.T) / 2, eigvals_only=True)
        else:
            L1, L2 = (
                mpmath.cholesky(_products(of, of) + (n - 1) * mpmath.mpf(r) * mpmath.eye(len(of)))
                for of, r in ((x, ridge[0]), (y, ridge[1]))
            )
            T = mpmath.inverse(L1) * _products(x, y) * mpmath.inverse(L2).T
            values = mpmath.eigsy(T.T * T, eigvals_only=True)
        return np.array(sorted((float(mpmath.sqrt(abs(v))) for v in values), reverse=True))


def _columns(Z: Array, ridge: float) -> list[list[Any]]:
    """Centred columns; without a ridge of length 1, which spares digits and changes nothing."""
    out = []
    for column in Z.T:
        numbers = [mpmath.mpf(float(v)) for v in column]
        mean = mpmath.fsum(numbers) / len(numbers)
        numbers = [v - mean for v in numbers]
        norm = 1 if ridge else mpmath.sqrt(mpmath.fdot(numbers, numbers))
        out.append([v / norm for v in numbers])
    return out


def _products(x: list[list[Any]], y: list[list[Any]]) -> Any:
    S = mpmath.matrix(len(x), len(y))
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            S[i, j] = mpmath.fdot(a, b)
    return S


def numpy_qr(X: Array, Y: Array, ridge: tuple[float, float]) -> Array:
    """Of the centred views; a ridge as rows of √((n - 1) r) I below, which take no part in the products."""
    n = len(X)
    orthogonal = []
    for Z, r in ((X, ridge[0]), (Y, ridge[1])):
        centred = Z - Z.mean(axis=0)
        if r:
            below = np.sqrt((n - 1) * r) * np.eye(Z.shape[1])
            centred = np.vstack([centred, below]).astype(Z.dtype)
        orthogonal.append(np.linalg.qr(centred)[0][:n])
    return np.asarray(np.linalg.svd(orthogonal[0].T @ orthogonal[1], compute_uv=False))


def ours(solver: Literal["auto", "covariance", "qr", "gram"]) -> Contender:
    return lambda X, Y, r: CCA(reg=r, solver=solver).fit(X, Y).singular_values_


def ours_in_chunks(X: Array, Y: Array, ridge: tuple[float, float]) -> Array:
    half = len(X) // 2
    cca = CCA(reg=ridge).partial_fit(X[:half], Y[:half]).partial_fit(X[half:], Y[half:])
    return cca.singular_values_


def ours_by_moments(X: Array, Y: Array, ridge: tuple[float, float]) -> Array:
    return CCA(reg=ridge).fit_moments(Moments().update(X, Y)).singular_values_


def scikit_learn(X: Array, Y: Array, ridge: tuple[float, float]) -> Array:
    from sklearn.cross_decomposition import CCA as Other

    zx, zy = Other(n_components=Y.shape[1], max_iter=2000).fit_transform(X, Y)
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)])


def statsmodels(X: Array, Y: Array, ridge: tuple[float, float]) -> Array:
    from statsmodels.multivariate.cancorr import CanCorr

    return np.asarray(CanCorr(Y, X).cancorr)


def cca_zoo(X: Array, Y: Array, ridge: tuple[float, float]) -> Array:
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
WITH_RIDGE: dict[str, Contender] = {"NumPy QR": numpy_qr}  # the others have no ridge, or another


class Cell:
    """The largest error over the data sets, and what else happened."""

    def __init__(self) -> None:
        self.error = 0.0
        self.warned = True  # in every data set that is off
        self.note = ""

    def add(self, contender: Contender, data: Data, truth: Array, fine: float, nothing: float = 0.0) -> None:
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            try:
                found = np.asarray(contender(*data), dtype=np.float64)
            except ImportError:
                self.note = "not installed"
                return
            except Exception as failure:
                self.note = type(failure).__name__
                return
        # what is not found has a correlation of 0 here
        if nothing:
            truth = truth[: max(len(found), int(np.sum(truth > nothing)))]
        distance = np.abs(np.pad(found, (0, len(truth) - len(found))) - truth).max()
        error = float(distance) if np.isfinite(distance) else 1.0
        self.error = max(self.error, error)
        if error > fine:
            self.warned = self.warned and bool(caught)

    def text(self, fine: float) -> str:
        if self.note:
            return self.note
        return f"{self.error:.0e}" + (" *" if self.error > fine and self.warned else "")


Known = dict[tuple[Setting, str], list[tuple[Data, NDArray[np.float64]]]]


def left_of_rounding(of: Setting, dtype: DTypeLike, name: str) -> float:
    """What a ridge leaves of a direction that rounding may have made, of the data or of their products."""
    eps = float(np.finfo(dtype).eps)
    of_data = np.sqrt(of.width) * eps
    noise = np.sqrt(of.width * eps) if name in FROM_COVARIANCES else of_data
    ridge = min(of.ridge)
    return max(NOTHING, float(4 * noise / np.sqrt(noise**2 + ridge))) if ridge else 0.0


def measured(
    settings: Sequence[Setting], dtype: DTypeLike, contenders: dict[str, Contender], known: Known
) -> tuple[list[str], list[str]]:
    """The table's lines, and the complaints; ``known`` keeps data sets and their true values."""
    lines = ["| | " + " | ".join(contenders) + " |", "|---|" + "---:|" * len(contenders)]
    complaints = []
    for of in settings:
        cells = {name: Cell() for name in contenders}
        limit = 0.0
        name = np.dtype(dtype).name
        if (of, name) not in known:
            sets = [views(seed, of, dtype) for seed in SEEDS]
            known[of, name] = [(data, exact(*data)) for data in sets]
        for data, truth in known[of, name]:
            base = Cell()
            base.add(numpy_qr, data, truth, 0.0)
            limit = max(limit, ALLOWED * base.error if not base.note else 0.0)
        fine = 64 * float(np.finfo(dtype).eps)
        limit = max(limit, fine)
        squared = FROM_MOMENTS if max(of.ridge) == 0 else [other for other in contenders if other != "qr"]
        limits = {other: max(limit, MOMENTS_ALONE) if other in squared else limit for other in contenders}
        for name, contender in contenders.items():
            for data, truth in known[of, np.dtype(dtype).name]:
                nothing = left_of_rounding(of, dtype, name)
                cells[name].add(contender, data, truth, fine, nothing)
            cell = cells[name]
            silent = cell.error > min(limits[name], SILENT) and not cell.warned
            if name in OURS and (silent or cell.note not in ("", "NumericalError")):
                complaints.append(
                    f"{np.dtype(dtype)}, {of.label}: {name} {cell.error:.1e} {cell.note} > {limit:.1e}"
                )
        lines.append(f"| {of.label} | " + " | ".join(cell.text(fine) for cell in cells.values()) + " |")
        print(lines[-1], flush=True)
    return lines, complaints


TEXT = """# How accurate it is

<!-- written by `python -m bench.accuracy` -->

Largest error of five canonical correlations (.95, .9, .7, .4, .1) over {seeds} data sets of 200 rows and
6 + 5 columns, where nothing else is said, against the same numbers in arithmetic of 80 digits. "auto",
"covariance", "qr" and "gram" are `CCA(solver=...).fit`, "partial_fit" takes two chunks, "fit_moments" one
`Moments().update`.

A star: an error above 64 machine epsilons came with a warning that estimates it or names the directions left
out; a correlation that was left out counts as 0. Without a star nothing of ours is further off than ten times
what NumPy's QR in the same precision is, or 1e-8 from moments alone and with a ridge (but for "qr"), and
nothing by more than 1e-3: the command fails where something is. A NumericalError refuses data whose squares
overflow or underflow.

{sections}
Both views are stretched to the condition number given, along random directions. Scales multiply the first
view and divide the second; their condition number is 10. Ridges are in units of the mean variance of each
view's columns; with them it is the singular values of T that are compared. A pair may then be missing within
directions that rounding may have made: of d columns, whose products are known to δ = √(d ε) in "covariance",
"partial_fit" and "fit_moments", and which are themselves known to δ = √d ε, the ridge r leaves δ / √(δ² + r).
A pair below four times that, or 1e-6, is not missed.

From moments alone (`partial_fit`, `fit_moments`) the condition number is squared: the warning says what to
do. `Moments().update(..., dtype=numpy.float64)` takes float32 data with products in double, as `partial_fit`
does.

{versions}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write the page")
    parser.add_argument("--small", action="store_true", help="a few settings, for a test")
    args = parser.parse_args()

    exponents = (0, 2, 8) if args.small else range(16)
    conditions = [Setting(f"cond 1e{e}", 10.0**e) for e in exponents]
    single = [of for of in conditions if of.condition <= 1e8]
    powers = (-100, 100) if args.small else (-100, -50, -20, -5, 0, 5, 20, 50, 100)
    scales = [Setting(f"scale 1e{e}", scale=10.0**e) for e in powers]
    single_powers = (-30, 30) if args.small else (-30, -15, 0, 15, 30)
    single_scales = [Setting(f"scale 1e{e}", scale=10.0**e) for e in single_powers]
    some = (2, 8) if args.small else (0, 2, 4, 6, 8, 10, 12, 14)
    few = [e for e in some if e <= 8]
    strengths = (1e-3,) if args.small else (1e-9, 1e-6, 1e-3, 1.0)

    def with_ridges(exponents: Sequence[int]) -> list[Setting]:
        return [
            Setting(f"cond 1e{e}, ridge {r:g}", 10.0**e, ridge=(r, r)) for e in exponents for r in strengths
        ]

    def wide(exponents: Sequence[int]) -> list[Setting]:
        return [
            Setting(f"cond 1e{e}, ridge {r:g}", 10.0**e, rows=30, width=60, ridge=(r, r))
            for e in exponents
            for r in strengths
        ]

    def long(exponents: Sequence[int]) -> list[Setting]:
        return [Setting(f"2000 rows, cond 1e{e}", 10.0**e, rows=2000) for e in exponents]

    sections, complaints = [], []
    known: Known = {}
    for title, settings, dtype, others in (
        ("Condition numbers, float64", conditions, np.float64, OTHERS),
        ("Condition numbers, float32", single, np.float32, OTHERS),
        ("Scales, float64", scales, np.float64, OTHERS),
        ("Scales, float32", single_scales, np.float32, OTHERS),
        ("2000 rows, float64", long(some), np.float64, OTHERS),
        ("2000 rows, float32", long(few), np.float32, OTHERS),
        ("Ridges, float64", with_ridges(some), np.float64, WITH_RIDGE),
        ("Ridges, float32", with_ridges(few), np.float32, WITH_RIDGE),
        ("30 rows and 60 + 5 columns, float64", wide(some), np.float64, WITH_RIDGE),
        ("30 rows and 60 + 5 columns, float32", wide(few), np.float32, WITH_RIDGE),
    ):
        print(title)
        together = others is WITH_RIDGE
        parts = [("", OURS | others)] if together else [("", OURS), ("Others:", others)]
        for heading, contenders in parts:
            lines, wrong = measured(settings, dtype, contenders, known)
            complaints += wrong
            sections += [f"## {title}\n" if not heading else heading + "\n", "\n".join(lines) + "\n"]
    text = TEXT.format(seeds=len(SEEDS), sections="\n".join(sections), versions=versions())
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
