"""What estimators that choose their parameters by cross-validation share: grids, splits, results."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.model_selection import check_cv

from fastcca._folds import Split
from fastcca._statistics import Weights

__all__ = ["TIE", "adopt_features", "ridge_grid", "row_splits", "search_results"]

TIE = 12  # mean scores that agree to this many decimals are equal


def ridge_grid(regs: Any) -> list[float | tuple[float, float]]:
    """The ridges to try, as ``reg`` takes them."""
    if regs is None:
        return [float(r) for r in np.logspace(-6, 1, 20)]
    grids = [np.asarray(grid) for grid in regs] if np.iterable(regs) and not isinstance(regs, str) else []
    if len(grids) == 2 and all(grid.ndim == 1 and grid.size for grid in grids):
        return list(product(grids[0].tolist(), grids[1].tolist()))
    if not grids or any(grid.ndim for grid in grids):
        raise ValueError(
            f"regs must be a sequence of numbers >= 0 or a pair of them (regs_x, regs_y), got {regs!r}"
        )
    return [grid.item() for grid in grids]


def row_splits(cv: Any, X: NDArray[Any], y: Any, groups: Any, weights: Weights) -> list[Split]:
    """Training and test rows of each split, which must leave enough to correlate."""
    every = np.arange(len(X))
    splits = []
    for i, split in enumerate(check_cv(cv).split(X, y, groups)):
        try:  # masks and negative indices become plain ones
            train, test = (every[np.asarray(rows)].ravel() for rows in split)
        except IndexError as error:
            raise ValueError(f"cv: split {i} does not index the {len(X)} rows: {error}") from None
        for name, rows, least in (("train", train, 1), ("test", test, 0)):
            if len(rows) < 2:
                raise ValueError(
                    f"cv: split {i} has {len(rows)} {name} row(s), at least 2 are needed to correlate"
                )
            if weights is not None and not weights[rows].sum() > least:
                raise ValueError(
                    f"cv: sample_weight sums to {weights[rows].sum():g} over the {name} rows of split {i}, "
                    f"expected more than {least}"
                )
        splits.append((train, test))
    if not splits:
        raise ValueError("cv gave no split")
    return splits


def search_results(params: list[dict[str, Any]], scores: NDArray[np.float64]) -> dict[str, Any]:
    """``cv_results_`` of ``scores`` (splits, parameters) in the layout of GridSearchCV."""
    columns = {}
    for name in params[0]:
        plain = all(isinstance(each[name], (int, float)) for each in params)
        values = np.empty(len(params), dtype=np.float64 if plain else object)
        for i, each in enumerate(params):
            values[i] = each[name]
        columns[f"param_{name}"] = np.ma.MaskedArray(values)
    mean = scores.mean(axis=0)
    return {
        "params": params,
        **columns,
        **{f"split{i}_test_score": split for i, split in enumerate(scores)},
        "mean_test_score": mean,
        "std_test_score": scores.std(axis=0),
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
