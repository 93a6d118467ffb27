"""Rows with missing values: refused, left out, or taken into account by maximum likelihood."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.arrays import column_names, refuse_infinite
from fastcca._arguments.warn import warn
from fastcca._models.files import Schema
from fastcca._models.statistics import Weights
from fastcca.functional.missing import column_labels, completed
from fastcca.functional.moments import Moments

__all__ = ["MissingValues"]

Array = NDArray[Any]


class MissingValues:
    """What the estimators with a parameter ``missing`` share."""

    _schema: ClassVar[Schema] = Schema(optional="n_incomplete_ n_iter_")

    missing: str = "error"  # no parameter of all
    n_incomplete_: int
    n_iter_: int
    n_threads: int | None

    @property
    def _takes_missing(self) -> bool:
        return self.missing != "error"

    def _incomplete(self, views: Mapping[str, Array], tables: Mapping[str, Any]) -> NDArray[np.bool_] | None:
        """Which rows of checked views have missing values; None where there are none, or they are refused.

        Forgets what an earlier fit said of its rows.
        """
        for name in ("n_incomplete_", "n_iter_"):
            if hasattr(self, name):
                delattr(self, name)
        if not self._takes_missing:
            return None
        rows = np.zeros(len(next(iter(views.values()))), dtype=bool)
        for name, a in views.items():
            refuse_infinite(name, a, tables[name])
            rows |= np.isnan(a).any(axis=1)
        self.n_incomplete_ = int(rows.sum())
        return rows if rows.any() else None

    def _complete(
        self,
        rows: NDArray[np.bool_],
        views: Mapping[str, Array],
        tables: Mapping[str, Any],
        *,
        least: int = 2,
    ) -> NDArray[np.intp]:
        """Which rows have no missing values, after a warning of the others."""
        kept = np.flatnonzero(~rows)
        if len(kept) < least:
            raise ValueError(
                f"missing='drop' leaves {len(kept)} of {len(rows)} rows: {_most_missing(views, tables)}. "
                "Leave that column out, or take missing='em'"
            )
        warn(
            f"{len(rows) - len(kept)} of {len(rows)} rows have missing values and are left out: "
            f"{_most_missing(views, tables)}"
        )
        return kept

    def _em_moments(self, views: Mapping[str, Array], tables: Mapping[str, Any], weights: Weights) -> Moments:
        labels = column_labels({name: column_names(tables[name]) for name in views}, views)
        found = completed(views, weights, labels, n_threads=self.n_threads)
        self.n_iter_ = found.n_iter
        return found.moments

    def _refuse_em(self, method: str) -> None:
        if self.missing == "em":
            raise ValueError(
                f"missing='em' takes all rows at once, {method} has some of them: use missing='drop', or fit"
            )


def _most_missing(views: Mapping[str, Array], tables: Mapping[str, Any]) -> str:
    """Which column lacks most, in words."""
    found = []
    for name, a in views.items():
        counts = np.isnan(a).sum(axis=0)
        names, place = column_names(tables[name]), int(counts.argmax())
        label = place if names is None else f"{place} ({names[place]!r})"
        found.append((int(counts[place]), f"column {label} of {name} lacks {counts[place]}"))
    return "most are missing in one column, " + max(found, key=lambda pair: pair[0])[1]
