"""A label in words: its parent and the attributes that it adds."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Explanation"]


@dataclass(frozen=True)
class Explanation:
    """What :meth:`fastcca.embedding.UnifiedSemanticEmbedding.explain` returns.

    Parameters
    ----------
    label : label
        What is explained.
    parent : label or None
        The node above it; ``None`` for the root, whose embedding is 0.
    attributes : tuple of (str, float)
        Names and coefficients of the attributes, the largest first, those of 0 left out.
    rest : float
        The part of u that parent and attributes leave open: the length of what is left over that of u.

    Examples
    --------
    >>> from fastcca.embedding import Explanation
    >>> print(Explanation("tiger", "big_cat", (("stripes", 0.41), ("orange", 0.2)), 0.35))
    tiger = big_cat + 0.41 stripes + 0.2 orange (what is left: 35% of its length)
    """

    label: Any
    parent: Any
    attributes: tuple[tuple[str, float], ...]
    rest: float

    def __str__(self) -> str:
        start = [] if self.parent is None else [str(self.parent)]
        parts = start + [f"{weight:.2g} {name}" for name, weight in self.attributes]
        return f"{self.label} = {' + '.join(parts) or '0'} (what is left: {self.rest:.0%} of its length)"
