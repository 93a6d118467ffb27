"""Rows of several tables matched by their labels."""

from typing import Any, Literal

import numpy as np

from fastcca._arguments.arrays import index_of

__all__ = ["align"]


def align(*tables: Any, how: Literal["exact", "inner"] = "exact") -> tuple[Any, ...]:
    """The tables of pandas with their rows matched by the index, in the order of the first.

    Estimators, metrics and tests pair rows by their position, and refuse tables whose indexes say that these
    do not belong together. This puts them in order.

    Parameters
    ----------
    *tables : DataFrame or Series
        Views, labels, weights, groups: two or more, each with a different label in every row.
    how : {"exact", "inner"}, default="exact"
        "exact": all tables hold the same labels, in whatever order. "inner": rows whose label is missing in
        another table are left out.

    Returns
    -------
    tuple of DataFrame or Series
        The tables in the same order, each with the same index.

    Raises
    ------
    TypeError
        For anything without an index, such as an array.
    ValueError
        For labels that occur twice in one table; for different labels under "exact", or none in common.

    Examples
    --------
    >>> import pandas as pd
    >>> import fastcca
    >>> X = pd.DataFrame({"height": [1.6, 1.7, 1.8]}, index=["ann", "bob", "cem"])
    >>> weight = pd.Series([80.0, 60.0], index=["cem", "ann"])
    >>> X, weight = fastcca.align(X, weight, how="inner")
    >>> weight.to_dict(), X.index.tolist()
    ({'ann': 60.0, 'cem': 80.0}, ['ann', 'cem'])
    """
    if how not in ("exact", "inner"):
        raise ValueError(f"how must be 'exact' or 'inner', got {how!r}")
    if len(tables) < 2:
        raise ValueError(f"align takes two tables or more, got {len(tables)}")
    indexes = [index_of(table) for table in tables]
    for number, (table, index) in enumerate(zip(tables, indexes, strict=True)):
        if index is None:
            raise TypeError(f"table {number} has no row labels to align by: it is a {type(table).__name__}")
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise ValueError(f"the row label {twice!r} occurs more than once in table {number}")
    kept = np.ones(len(indexes[0]), dtype=bool)
    for number, index in enumerate(indexes):
        kept &= indexes[0].isin(index)
        missing = ~indexes[0].isin(index), ~index.isin(indexes[0])
        if how == "exact" and (missing[0].any() or missing[1].any()):
            here = (indexes[0][missing[0]] if missing[0].any() else index[missing[1]])[0]
            raise ValueError(
                f"tables 0 and {number} hold different rows: {missing[0].sum()} labels only in table 0, "
                f"{missing[1].sum()} only in table {number}, the first is {here!r}; "
                "how='inner' takes those that all tables have"
            )
    if not kept.any():
        raise ValueError("the tables have no row label in common")
    labels = indexes[0][kept]
    return tuple(table.iloc[index.get_indexer(labels)] for table, index in zip(tables, indexes, strict=True))
