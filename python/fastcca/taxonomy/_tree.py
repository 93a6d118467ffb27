"""The tree itself: who is whose parent, how far apart two nodes are."""

import difflib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Tree", "plain"]


class Tree:
    """Nodes and their parents, fixed once and for all; :class:`fastcca.taxonomy.Taxonomy` says the rest."""

    __slots__ = ("_children", "_depth", "_leaves", "_nodes", "_parent", "_root")

    _nodes: tuple[Any, ...]
    _root: Any
    _leaves: tuple[Any, ...]

    def __init__(self, parents: Mapping[Any, Any]) -> None:
        given = {plain(node): None if p is None else plain(p) for node, p in parents.items()}
        children: dict[Any, list[Any]] = {node: [] for node in given}
        roots = []
        for node, parent in given.items():
            if parent is None:
                roots.append(node)
            elif parent not in children:
                raise ValueError(f"the parent {parent!r} of {node!r} is not a node of the taxonomy")
            else:
                children[parent].append(node)
        if not given:
            raise ValueError("a taxonomy must have at least one node")
        if not roots:
            raise ValueError(_cycle(given, next(iter(given))))
        if len(roots) > 1:
            raise ValueError(
                f"the taxonomy has {len(roots)} nodes without a parent, {_some(roots)}: name a node to put "
                "above them (root= of from_edges and the others)"
            )
        self._root = roots[0]
        order, depth = [], {self._root: 0}
        stack = [self._root]
        while stack:
            node = stack.pop()
            order.append(node)
            for child in reversed(children[node]):
                depth[child] = depth[node] + 1
                stack.append(child)
        if len(order) < len(given):  # what the root does not reach goes round in a circle
            raise ValueError(_cycle(given, next(node for node in given if node not in depth)))
        self._nodes = tuple(order)
        self._leaves = tuple(node for node in order if not children[node])
        self._parent = {node: given[node] for node in order}
        self._children = {node: tuple(children[node]) for node in order}
        self._depth = depth

    @property
    def nodes(self) -> tuple[Any, ...]:
        """All nodes, each after its parent, depth first."""
        return self._nodes

    @property
    def root(self) -> Any:
        """The node without a parent."""
        return self._root

    @property
    def leaves(self) -> tuple[Any, ...]:
        """The nodes without children, in the order of ``nodes``."""
        return self._leaves

    @property
    def edges(self) -> tuple[tuple[Any, Any], ...]:
        """The (child, parent) pairs in the order of ``nodes``."""
        return tuple((node, self._parent[node]) for node in self.nodes[1:])

    def parent(self, node: Any) -> Any:
        """The parent of a node; ``None`` for the root."""
        return self._parent[self._known(node)]

    def children(self, node: Any) -> tuple[Any, ...]:
        """The children of a node, in the order in which they were given."""
        return self._children[self._known(node)]

    def siblings(self, node: Any) -> tuple[Any, ...]:
        """The other children of a node's parent; none for the root."""
        parent = self.parent(node)
        return () if parent is None else tuple(child for child in self._children[parent] if child != node)

    def ancestors(self, node: Any, *, root: bool = False) -> tuple[Any, ...]:
        """The nodes above a node, the nearest first.

        Parameters
        ----------
        node : node
            It is not an ancestor of itself.
        root : bool, default=False
            Whether the root counts: all nodes have it in common, so that it distinguishes none.

        Returns
        -------
        tuple
        """
        above = []
        parent = self.parent(node)
        while parent is not None and (root or parent != self.root):
            above.append(parent)
            parent = self._parent[parent]
        return tuple(above)

    def descendants(self, node: Any) -> tuple[Any, ...]:
        """The nodes below a node, in the order of ``nodes``."""
        below, stack = [], list(reversed(self.children(node)))
        while stack:
            below.append(stack.pop())
            stack += reversed(self._children[below[-1]])
        return tuple(below)

    def depth(self, node: Any) -> int:
        """Number of edges from the root to a node."""
        return self._depth[self._known(node)]

    def lca(self, a: Any, b: Any) -> Any:
        """The lowest common ancestor of two nodes, which may be one of the two."""
        a, b = self._known(a), self._known(b)
        while a != b:
            if self._depth[a] >= self._depth[b]:
                a = self._parent[a]
            else:
                b = self._parent[b]
        return a

    def distance(self, a: Any, b: Any) -> int:
        """Tree distance: the number of edges on the path from one node to the other."""
        return self._depth[self._known(a)] + self._depth[self._known(b)] - 2 * self._depth[self.lca(a, b)]

    def distances(self, labels: Iterable[Any] | None = None) -> NDArray[np.int64]:
        """Tree distances (numbers of edges) between all pairs of some nodes.

        Parameters
        ----------
        labels : iterable of nodes, optional
            All nodes by default.

        Returns
        -------
        ndarray of shape (n, n)
            int64, in the order of ``labels``.

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> Taxonomy.from_dict({"animal": {"cat": ["tiger", "lion"]}}).distances(["animal", "tiger", "lion"])
        array([[0, 2, 2],
               [2, 0, 2],
               [2, 2, 0]])
        """
        chosen = [self._known(label) for label in (self.nodes if labels is None else labels)]
        number = {node: i for i, node in enumerate(self.nodes)}
        depth = np.array([self._depth[node] for node in chosen], dtype=np.int64)
        # Row i: the path from the root to label i. Two paths that meet in some place are equal up to there,
        # so that the places in which they agree, less one, are the depth of the lowest common ancestor.
        paths = np.full((len(chosen), 1 + int(depth.max(initial=0))), -1)
        for row, node in zip(paths, chosen, strict=True):
            row[: self._depth[node] + 1] = [
                number[n] for n in reversed((node, *self.ancestors(node, root=True)))
            ]
        shared = np.zeros((len(chosen), len(chosen)), dtype=np.int64)
        for place in paths.T:
            shared += (place[:, None] == place) & (place >= 0)
        # |a − b| = depth(a) + depth(b) − 2 depth(lca)
        return depth[:, None] + depth - 2 * (shared - 1)

    def restrict(self, labels: Iterable[Any]) -> "Self":
        """The smallest tree over some labels: their nearest common ancestors and nothing else.

        Parameters
        ----------
        labels : iterable of nodes
            These stay. Of the others only those stay that have labels below two or more children.

        Returns
        -------
        Taxonomy

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> animals = Taxonomy.from_dict({"animal": {"feline": {"cat": ["tiger", "lion"]}, "dog": None}})
        >>> animals.restrict(["tiger", "lion", "dog"]).nodes
        ('animal', 'cat', 'tiger', 'lion', 'dog')
        """
        kept = {self._known(label) for label in labels}
        if not kept:
            raise ValueError("labels must hold at least one node")
        branches = dict.fromkeys(self.nodes, 0)  # children with a label at or below them
        for node in reversed(self.nodes):
            if (node in kept or branches[node] > 0) and node != self.root:
                branches[self._parent[node]] += 1
        parents: dict[Any, Any] = {}
        nearest: dict[Any, Any] = {None: None}  # for each node the nearest one at or above it that stays
        for node in self.nodes:
            above = nearest[self._parent[node]]
            stays = node in kept or branches[node] > 1
            nearest[node] = node if stays else above
            if stays:
                parents[node] = above
        return type(self)(parents)

    def _known(self, node: Any) -> Any:
        if not isinstance(node, Hashable) or node not in self._parent:
            near = difflib.get_close_matches(str(node), [n for n in self.nodes if isinstance(n, str)], n=3)
            raise ValueError(
                f"{node!r} is not a node of the taxonomy"
                + (f"; it has {' and '.join(map(repr, near))}" if near else "")
            )
        return plain(node)

    # ---- Python's own ------------------------------------------------------------------------------------

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Hashable) and node in self._parent

    def __iter__(self) -> Iterator[Any]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __eq__(self, other: object) -> bool:
        return self._parent == other._parent if isinstance(other, Tree) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._parent.items()))

    def __repr__(self) -> str:
        return f"<Taxonomy of {len(self)} nodes below {self.root!r}, {len(self.leaves)} of them leaves>"

    def __copy__(self) -> "Self":
        return self

    def __deepcopy__(self, memo: Any) -> "Self":
        return self  # it never changes: a cloned estimator may share it

    def __reduce__(self) -> Any:
        return type(self), (self._parent,)


def plain(node: Any) -> Any:
    """A node as Python's own type where it is NumPy's; ``None`` and what cannot be hashed are refused."""
    if isinstance(node, np.generic):
        node = node.item()
    if node is None or not isinstance(node, Hashable):
        raise ValueError(f"a node must be something hashable other than None, got {node!r}")
    return node


def _cycle(parents: Mapping[Any, Any], start: Any) -> str:
    """The message for the cycle that the way up from ``start`` runs into."""
    seen: dict[Any, None] = {}
    while start not in seen:
        seen[start] = None
        start = parents[start]
    ring = [*list(seen)[list(seen).index(start) :], start]
    return "the taxonomy has a cycle: " + " below ".join(map(repr, ring))


def _some(nodes: Sequence[Any]) -> str:
    return ", ".join(map(repr, nodes[:5])) + (" …" if len(nodes) > 5 else "")
