"""What estimators that choose their parameters by cross-validation share: grids, splits, results."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.model_selection import check_cv

from fastcca._folds import Split
from fastcca._statistics import Weights
from fastcca._warn import warn

__all__ = [
    "TIE",
    "adopt_features",
    "default_grid",
    "pools",
    "ridge_grid",
    "row_splits",
    "search_results",
    "warn_of_end",
]

Reg = float | tuple[float, float]

TIE = 12  # mean scores that agree to this many decimals are equal
FLAT = 1e-4  # a gain of the mean score that says nothing of what lies beyond a default grid
FEWEST = 5  # test rows that have a correlation of their own; of fewer the scores are pooled


def default_grid(factors: NDArray[np.float64], units: tuple[float, float]) -> list[Reg]:
    """Ridges that are the same multiples of the unit of each view."""
    if units[0] == units[1]:
        return [float(f * units[0]) for f in factors]
    return [(float(f * units[0]), float(f * units[1])) for f in factors]


def warn_of_end(
    pairs: list[tuple[float, float]], mean: NDArray[np.float64], best: int, default: bool
) -> None:
    """Say that the best ridge is an end of the grid of a view, beyond which a better one may lie.

    Not where an inner ridge is as good, where there are but two, where the end is 0; nor of a default grid,
    which spans nine powers of ten, where the score hardly changes there.
    """
    found = []
    for i, view in enumerate("Xy"):
        grid = sorted({pair[i] for pair in pairs})
        value = pairs[best][i]
        if len(grid) < 3 or value not in (grid[0], grid[-1]) or value == 0:
            continue
        inner = max(m for m, pair in zip(mean, pairs, strict=True) if grid[0] < pair[i] < grid[-1])
        if mean[best] - inner > (FLAT if default else 0.5 * 10.0**-TIE):
            end = "largest" if value == grid[-1] else "smallest"
            found.append((view, f"{value:.3g}, is the {end} of the grid ({grid[0]:.3g} to {grid[-1]:.3g})"))
    if found:
        both = len(found) == 2 and found[0][1] == found[1][1]
        views = " and ".join(f"of {view}, {what}" for view, what in found)
        said = f", {found[0][1]}" if both else f" {views}"
        warn(
            f"the best ridge{said}: a better one than its held-out correlation of {mean[best]:.3f} may lie "
            "beyond. Give regs that reach further"
        )


def pools(splits: list[Split]) -> bool:
    """Whether test parts are so small, single rows perhaps, that their scores are pooled."""
    return min(len(test) for _, test in splits) < FEWEST


def ridge_grid(regs: Any) -> list[Reg]:
    """The ridges to try, as ``reg`` takes them."""
    grids = [np.asarray(grid) for grid in regs] if np.iterable(regs) and not isinstance(regs, str) else []
    if len(grids) == 2 and all(grid.ndim == 1 and grid.size for grid in grids):
        return list(product(grids[0].tolist(), grids[1].tolist()))
    if not grids or any(grid.ndim for grid in grids):
        raise ValueError(
            f"regs must be a sequence of numbers >= 0 or a pair of them (regs_x, regs_y), got {regs!r}"
        )
    return [grid.item() for grid in grids]


def row_splits(cv: Any, X: NDArray[Any], y: Any, groups: Any, weights: Weights) -> list[Split]:
    """Training and test rows of each split, which must leave enough to correlate: alone, or pooled."""
    every = np.arange(len(X))
    splits = []
    for i, split in enumerate(check_cv(cv).split(X, y, groups)):
        try:  # masks and negative indices become plain ones
            train, test = (every[np.asarray(rows)].ravel() for rows in split)
        except IndexError as error:
            raise ValueError(f"cv: split {i} does not index the {len(X)} rows: {error}") from None
        for name, rows, fewest in (("train", train, 2), ("test", test, 1)):
            if len(rows) < fewest:
                raise ValueError(
                    f"cv: split {i} has {len(rows)} {name} row(s), at least {fewest} are needed to correlate"
                )
        splits.append((train, test))
    if not splits:
        raise ValueError("cv gave no split")
    parts = [(f"the train rows of split {i}", train, 1) for i, (train, _) in enumerate(splits)]
    if pools(splits):
        pooled = np.concatenate([test for _, test in splits])
        if len(pooled) < 2:
            raise ValueError("cv: the splits have 1 test row in all, at least 2 are needed to correlate")
        parts.append(("the test rows of all splits", pooled, 0))
    else:
        parts += [(f"the test rows of split {i}", test, 0) for i, (_, test) in enumerate(splits)]
    for what, rows, least in parts:
        if weights is not None and not weights[rows].sum() > least:
            raise ValueError(
                f"cv: sample_weight sums to {weights[rows].sum():g} over {what}, expected more than {least}"
            )
    return splits


def search_results(params: list[dict[str, Any]], scores: NDArray[np.float64]) -> dict[str, Any]:
    """``cv_results_`` of ``scores`` (splits, parameters) in the layout of GridSearchCV.

    Pooled scores (parameters,) have no parts of splits, and no deviation of these.
    """
    columns = {}
    for name in params[0]:
        plain = all(isinstance(each[name], (int, float)) for each in params)
        values = np.empty(len(params), dtype=np.float64 if plain else object)
        for i, each in enumerate(params):
            values[i] = each[name]
        columns[f"param_{name}"] = np.ma.MaskedArray(values)
    by_split = scores.ndim == 2
    mean = scores.mean(axis=0) if by_split else scores
    return {
        "params": params,
        **columns,
        **({f"split{i}_test_score": split for i, split in enumerate(scores)} if by_split else {}),
        "mean_test_score": mean,
        **({"std_test_score": scores.std(axis=0)} if by_split else {}),
        "rank_test_score": rankdata(-mean.round(TIE), method="min").astype(np.int32),
    }


def adopt_features(model: Any, search: Any) -> None:
    """What the search has noted of its views, for the model that it fits to them."""
    names = (
        "n_features_in_",
        "feature_names_in_",
        "n_y_features_in_",
        "y_feature_names_in_",
        "_y_is_vector",
    )
    vars(model).update({name: getattr(search, name) for name in names if hasattr(search, name)})
