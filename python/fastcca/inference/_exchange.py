"""Which rows are exchanged for which: shuffles, within blocks or of blocks, circular shifts, one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["EXCHANGES", "Orders"]

EXCHANGES = ("within", "whole", "shift")

Order = NDArray[np.intp]


class Orders:
    """The permutations of a test, the same each time that one goes through them."""

    def __init__(
        self,
        n: int,
        count: int,
        rng: np.random.RandomState,
        *,
        blocks: ArrayLike | None = None,
        exchange: str = "within",
        own: Any = None,
    ) -> None:
        if exchange not in EXCHANGES:
            raise ValueError(f"exchange must be one of {', '.join(map(repr, EXCHANGES))}, got {exchange!r}")
        self.n, self.count, self.rng = n, count, rng
        self.state = rng.get_state()
        self.own: list[Order] | None = None
        if own is not None:
            if blocks is not None or exchange != "within":
                raise ValueError("give permutations of your own, or blocks and exchange, not both")
            self.own = _checked(own, n)
            self.count = len(self.own)
            return
        members = None if blocks is None else _members(blocks, n)
        if exchange == "shift" and members is None:
            self.count = min(count, n - 1)
        self.draw = _draw(n, members, exchange)

    def __iter__(self) -> Iterator[Order]:
        if self.own is not None:
            yield from self.own
            return
        self.rng.set_state(self.state)
        if isinstance(self.draw, _Shifts):
            yield from self.draw.distinct(self.rng, self.count)
            return
        for _ in range(self.count):
            yield self.draw(self.rng)

    def blocks(self, size: int) -> Iterator[tuple[int, list[Order]]]:
        """Lists of ``size`` of them, each with its length."""
        held: list[Order] = []
        for order in self:
            held.append(order)
            if len(held) == size:
                yield size, held
                held = []
        if held:
            yield len(held), held


class _Shifts:
    """Circular shifts of all rows."""

    def __init__(self, n: int) -> None:
        self.n = n

    def distinct(self, rng: np.random.RandomState, count: int) -> Iterator[Order]:
        """As many different ones, none of them 0."""
        for shift in rng.permutation(self.n - 1)[:count] + 1:
            yield np.roll(np.arange(self.n), shift)


def _draw(
    n: int, members: list[Order] | None, exchange: str
) -> _Shifts | Callable[[np.random.RandomState], Order]:
    if members is None:
        if exchange == "whole":
            raise ValueError("exchange='whole' takes blocks")
        return _Shifts(n) if exchange == "shift" else lambda rng: rng.permutation(n)
    if exchange == "whole":
        return _whole(n, members)
    if max(map(len, members)) < 2:
        raise ValueError("blocks leaves nothing to exchange: every row has a label of its own")

    def within(rng: np.random.RandomState) -> Order:
        order = np.arange(n)
        for rows in members:
            if exchange == "shift":
                order[rows] = np.roll(rows, rng.randint(len(rows)))
            else:
                order[rows] = rng.permutation(rows)
        return order

    return within


def _whole(n: int, members: list[Order]) -> Callable[[np.random.RandomState], Order]:
    """Blocks of equal length change places; their rows stay in order."""
    sizes = np.array([len(rows) for rows in members])
    equal = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    if max(map(len, equal)) < 2:
        raise ValueError("blocks leaves nothing to exchange: no two blocks have the same number of rows")

    def whole(rng: np.random.RandomState) -> Order:
        order = np.arange(n)
        for alike in equal:
            for place, other in zip(alike, rng.permutation(alike), strict=True):
                order[members[place]] = members[other]
        return order

    return whole


def _members(blocks: ArrayLike, n: int) -> list[Order]:
    """The rows of each block."""
    labels = np.asarray(blocks)
    if labels.shape != (n,):
        raise ValueError(f"blocks must have shape ({n},), one label a row, got {labels.shape}")
    _, codes = np.unique(labels, return_inverse=True)
    return [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]


def _checked(own: Any, n: int) -> list[Order]:
    """Permutations of one's own: an array, or anything that gives one after the other."""
    if not isinstance(own, Iterable) or isinstance(own, str):
        raise ValueError(f"permutations must be an array or an iterable of permutations, got {own!r}")
    orders = []
    everything = np.arange(n)
    for i, given in enumerate(own):
        order = np.asarray(given)
        if order.shape != (n,) or order.dtype.kind not in "iu" or (np.sort(order) != everything).any():
            raise ValueError(
                f"permutations[{i}] must hold each of the row numbers 0 to {n - 1} once, got {given!r}"
            )
        orders.append(order.astype(np.intp))
    if not orders:
        raise ValueError("permutations is empty: give at least one")
    return orders
