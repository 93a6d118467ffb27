"""Trees of labels, and how they are made."""

import difflib
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import integer
from fastcca._docstrings import with_paragraphs
from fastcca.taxonomy import _wordnet

__all__ = ["Taxonomy"]

SeveralParents = Literal["error", "first"]


@with_paragraphs(
    {
        "as_from_edges": """
            root, several_parents
                As for :meth:`from_edges`.

            Returns
            -------
            Taxonomy
            """
    }
)
class Taxonomy:
    """A tree of labels that does not change once it is made.

    Any node may be a class: leaves usually are, and an inner node may be one as well (among the Animals with
    Attributes *deer* is a class, and so is *moose* below it). Which nodes are classes is not the tree's
    business: whoever uses it says so by the labels that they ask about.

    Parameters
    ----------
    parents : mapping of node to node
        The parent of each node, ``None`` for the root. Nodes may be anything hashable, text as a rule.

    Attributes
    ----------
    nodes : tuple
        All nodes, each after its parent, depth first; children in the order in which they were given.
    root : node
        The one without a parent.
    leaves : tuple
        The nodes without children, in the order of ``nodes``.

    Raises
    ------
    ValueError
        For no node, several roots, a parent that is no node, or a cycle; the message names the nodes.

    See Also
    --------
    from_edges, from_dict, from_networkx, from_tsv, from_wordnet : other ways to make one.

    Examples
    --------
    >>> from fastcca.taxonomy import Taxonomy
    >>> animals = Taxonomy.from_dict({"animal": {"deer": ["moose"], "cat": ["tiger", "lion"]}})
    >>> animals.nodes
    ('animal', 'deer', 'moose', 'cat', 'tiger', 'lion')
    >>> animals.parent("moose"), animals.siblings("tiger"), animals.ancestors("lion")
    ('deer', ('lion',), ('cat',))
    >>> animals.distance("moose", "lion"), animals.lca("tiger", "lion")
    (4, 'cat')
    """

    __slots__ = ("_children", "_depth", "_leaves", "_nodes", "_parent", "_root")

    _nodes: tuple[Any, ...]
    _root: Any
    _leaves: tuple[Any, ...]

    def __init__(self, parents: Mapping[Any, Any]) -> None:
        given = {_plain(node): None if p is None else _plain(p) for node, p in parents.items()}
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
            Whether to include the root, which all nodes share.

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
        """Path length from the root to a node."""
        return self._depth[self._known(node)]

    def height(self, node: Any) -> int:
        """Path length from a node to the farthest leaf below it; 0 for a leaf."""
        below = self.descendants(node)
        return max((self._depth[other] for other in below), default=self.depth(node)) - self.depth(node)

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
        """Path length from one node to another, in edges."""
        return self._depth[self._known(a)] + self._depth[self._known(b)] - 2 * self._depth[self.lca(a, b)]

    def distances(self, labels: Iterable[Any] | None = None) -> NDArray[np.int64]:
        """Path lengths between all pairs of some nodes, in edges.

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

    def restrict(self, labels: Iterable[Any]) -> "Taxonomy":
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

    # ---- what becomes of it

    def to_text(self, max_depth: int | None = None) -> str:
        """The tree in lines, a node in each, as ``str`` gives it.

        Parameters
        ----------
        max_depth : int, optional
            Leave out what is deeper; the number of nodes below is written behind a node instead.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            If ``max_depth`` is no integer >= 0.

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> animals = Taxonomy.from_dict({"animal": {"deer": ["moose"], "cat": ["tiger", "lion"]}})
        >>> print(animals)
        animal
        ├── deer
        │   └── moose
        └── cat
            ├── tiger
            └── lion
        >>> print(animals.to_text(max_depth=1))
        animal
        ├── deer (1 below)
        └── cat (2 below)
        """
        if max_depth is not None:
            max_depth = integer(0)("max_depth", max_depth)
        lines = []
        stack = [(self.root, "", "")]  # node, what stands before it, and before those below
        while stack:
            node, before, below = stack.pop()
            children = self._children[node]
            if children and max_depth is not None and self._depth[node] >= max_depth:
                lines.append(f"{before}{node} ({len(self.descendants(node))} below)")
                continue
            lines.append(f"{before}{node}")
            for child in reversed(children):
                last = child == children[-1]
                stack.append(
                    (child, below + ("└── " if last else "├── "), below + ("    " if last else "│   "))
                )
        return "\n".join(lines)

    def to_dict(self) -> dict[Any, Any]:
        """Nested dicts, as :meth:`from_dict` takes them: a node without children has the value ``None``.

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> Taxonomy.from_edges([("tiger", "cat"), ("lion", "cat")]).to_dict()
        {'cat': {'tiger': None, 'lion': None}}
        """
        made: dict[Any, Any] = {}
        for node in reversed(self.nodes):  # children before their parents
            children = self._children[node]
            made[node] = {child: made.pop(child) for child in children} if children else None
        return made

    def to_networkx(self) -> Any:
        """A ``networkx.DiGraph``, as :meth:`from_networkx` takes it: its edges lead from parent to child.

        Raises
        ------
        ImportError
            If networkx is not installed.

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> sorted(Taxonomy.from_edges([("tiger", "cat"), ("lion", "cat")]).to_networkx().edges)
        [('cat', 'lion'), ('cat', 'tiger')]
        """
        try:
            networkx = import_module("networkx")
        except ImportError as error:
            raise ImportError("to_networkx needs the package networkx: pip install networkx") from error
        graph = networkx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from((parent, child) for child, parent in self.edges)
        return graph

    def _known(self, node: Any) -> Any:
        if not isinstance(node, Hashable) or node not in self._parent:
            near = difflib.get_close_matches(str(node), [n for n in self.nodes if isinstance(n, str)], n=3)
            raise ValueError(
                f"{node!r} is not a node of the taxonomy"
                + (f"; it has {' and '.join(map(repr, near))}" if near else "")
            )
        return _plain(node)

    # ---- how it is made

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[Any, Any]],
        *,
        root: Any = None,
        several_parents: SeveralParents = "error",
    ) -> "Taxonomy":
        """The taxonomy of (child, parent) pairs.

        Parameters
        ----------
        edges : iterable of (child, parent)
            A pair given twice counts once.
        root : node, optional
            Put above every node that has no parent. By default there must be exactly one such node, which
            is the root.
        several_parents : {"error", "first"}, default="error"
            What becomes of a node with more than one parent: an error that names it, or the first of them
            in the order of ``edges`` counts and the others are left out.

        Returns
        -------
        Taxonomy

        Raises
        ------
        ValueError
            For something other than pairs, several parents or roots, or a cycle.

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> Taxonomy.from_edges([("tiger", "cat"), ("lion", "cat"), ("dog", "canine")], root="animal").nodes
        ('animal', 'cat', 'tiger', 'lion', 'canine', 'dog')
        """
        return cls._from_pairs(_checked_pairs(edges), root, several_parents)

    @classmethod
    def _from_pairs(
        cls, pairs: Iterable[tuple[Any, Any]], root: Any, several_parents: SeveralParents
    ) -> "Taxonomy":
        """The taxonomy of (child, parent) pairs; the parent ``None`` says only that there is the child."""
        if several_parents not in ("error", "first"):
            raise ValueError(f"several_parents must be 'error' or 'first', got {several_parents!r}")
        if root is not None:
            root = _plain(root)
        parents: dict[Any, Any] = {} if root is None else {root: None}
        for child, parent in pairs:
            child = _plain(child)
            known = parents.setdefault(child, None)
            if parent is None:
                continue
            parent = _plain(parent)
            if known is None:
                parents[child] = parent
            elif known != parent and several_parents == "error":
                raise ValueError(
                    f"{child!r} has several parents, {known!r} and {parent!r}: leave all but one out, or set "
                    "several_parents='first'"
                )
            parents.setdefault(parent, None)
        if root is not None:
            if parents[root] is not None:
                raise ValueError(f"root={root!r} has a parent itself, {parents[root]!r}")
            parents |= {node: root for node, parent in parents.items() if parent is None and node != root}
        return cls(parents)

    @classmethod
    def from_dict(
        cls, tree: Mapping[Any, Any], *, root: Any = None, several_parents: SeveralParents = "error"
    ) -> "Taxonomy":
        """The taxonomy of nested dicts: each key is a node, its value holds the children.

        Parameters
        ----------
        tree : mapping
            Values are mappings again, or lists of nodes without children, or ``None`` for no children.
        {as_from_edges}

        Raises
        ------
        TypeError
            For a value that is none of these.
        ValueError
            As for :meth:`from_edges`.

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> Taxonomy.from_dict({"animal": {"cat": ["tiger", "lion"], "mole": None}}).leaves
        ('tiger', 'lion', 'mole')
        """
        if not isinstance(tree, Mapping):
            raise TypeError(f"tree must be a mapping of nodes to their children, got {type(tree).__name__}")
        pairs: list[tuple[Any, Any]] = []
        stack: list[tuple[Any, Any]] = [(None, tree)]
        seen = set()
        while stack:
            parent, below = stack.pop()
            if isinstance(below, str) or not isinstance(below, Iterable | None):
                raise TypeError(
                    f"the children of {parent!r} must be a mapping, a list or None, "
                    f"got {type(below).__name__}: {below!r}"
                )
            if below is None or (parent, id(below)) in seen:  # a dict may hold itself
                continue
            seen.add((parent, id(below)))
            items = below.items() if isinstance(below, Mapping) else [(node, None) for node in below]
            pairs += [(node, parent) for node, _ in items]
            stack += reversed(list(items))
        return cls._from_pairs(pairs, root, several_parents)

    @classmethod
    def from_networkx(
        cls, graph: Any, *, root: Any = None, several_parents: SeveralParents = "error"
    ) -> "Taxonomy":
        """The taxonomy of a directed graph of networkx, whose edges lead from parent to child.

        Parameters
        ----------
        graph : networkx.DiGraph
            Where the edges lead from child to parent, pass ``graph.reverse()``.
        {as_from_edges}

        Raises
        ------
        TypeError
            For something other than a directed graph.
        ValueError
            As for :meth:`from_edges`.

        Examples
        --------
        >>> import networkx as nx
        >>> from fastcca.taxonomy import Taxonomy
        >>> Taxonomy.from_networkx(nx.DiGraph([("cat", "tiger"), ("cat", "lion")])).root
        'cat'
        """
        if not callable(getattr(graph, "is_directed", None)) or not graph.is_directed():
            raise TypeError(
                "graph must be a networkx.DiGraph whose edges lead from parent to child, "
                f"got {type(graph).__name__}"
            )
        pairs = [(node, None) for node in graph.nodes()]
        pairs += [(child, parent) for parent, child, *_ in graph.edges()]
        return cls._from_pairs(pairs, root, several_parents)

    @classmethod
    def from_tsv(
        cls,
        path: str | os.PathLike[str],
        *,
        root: Any = None,
        several_parents: SeveralParents = "error",
    ) -> "Taxonomy":
        """The taxonomy in a text file with tabulators, one line a node: the node, then its parent.

        Parameters
        ----------
        path : path
            UTF-8. If one field of the first line is ``parent``, that line names the columns, and the node
            is in the column ``node`` or ``child`` or else in the first; otherwise the first two columns
            count. Further columns and empty lines are left out. The root's parent is empty, or the root has
            no line of its own.
        {as_from_edges}

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            For a line without a node, and as for :meth:`from_edges`; the message names the file.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from fastcca.taxonomy import Taxonomy
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "cats.tsv"
        >>> _ = path.write_text("tiger\\tcat\\nlion\\tcat\\n")
        >>> Taxonomy.from_tsv(path).children("cat")
        ('tiger', 'lion')
        """
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{os.fspath(path)}: not UTF-8 text ({error})") from None
        rows = [(i, [f.strip() for f in line.split("\t")]) for i, line in enumerate(lines, 1) if line.strip()]
        node_at, parent_at = 0, 1
        if rows and "parent" in rows[0][1]:
            header = rows.pop(0)[1]
            parent_at = header.index("parent")
            node_at = next((header.index(name) for name in ("node", "child") if name in header), 0)
        pairs = []
        for number, fields in rows:
            if node_at >= len(fields) or not fields[node_at]:
                raise ValueError(f"{os.fspath(path)}: line {number} has no node: {fields}")
            pairs.append((fields[node_at], (fields[parent_at] if parent_at < len(fields) else "") or None))
        try:
            return cls._from_pairs(pairs, root, several_parents)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def from_wordnet(
        cls,
        labels: Mapping[Any, Any] | Sequence[str],
        source: Any = "/usr/share/wordnet",
        *,
        below: str | None = None,
        compress: bool = True,
    ) -> "Taxonomy":
        """The tree of hypernyms that WordNet has above some nouns.

        Where WordNet gives a synset several hypernyms the first in its file counts, instance hypernyms
        after the others.

        Parameters
        ----------
        labels : mapping of label to noun, or sequence of nouns
            A noun is a lemma (``"polar bear"``; spaces, ``_`` and ``+`` are the same), a lemma with the
            number of its sense (``"seal.n.09"``) or the offset of a synset (``"02419796-n"``). A lemma
            alone stands for its first sense.
        source : path or nltk's WordNet reader
            The folder with WordNet's own files ``data.noun`` and ``index.noun`` (the latter only if a label
            is not an offset), as Debian's ``wordnet-base`` installs them, or ``nltk.corpus.wordnet``.
        below : noun, optional
            A lemma alone stands for its first sense below this one, for example ``"mammal"``.
        compress : bool, default=True
            Leave out inner nodes with one child, and the path from WordNet's own root to the nearest common
            ancestor of the labels.

        Returns
        -------
        Taxonomy
            Labels keep their names; other nodes have the first lemma of their synset, with the offset in
            brackets where that name is taken.

        Raises
        ------
        TypeError
            For labels that are one text.
        FileNotFoundError
            If a file is missing.
        ValueError
            For a noun that WordNet does not have, two labels with one synset, or a damaged file.

        References
        ----------
        G. A. Miller, "WordNet: a lexical database for English", Communications of the ACM, 1995.

        Examples
        --------
        >>> from fastcca.taxonomy import Taxonomy
        >>> Taxonomy.from_wordnet(["tiger", "lion", "wolf"], below="mammal").nodes  # doctest: +SKIP
        ('carnivore', 'big_cat', 'tiger', 'lion', 'wolf')
        """
        if isinstance(labels, str):
            raise TypeError(f"labels must be a sequence of nouns or a mapping to nouns, got text: {labels!r}")
        nouns = dict(labels) if isinstance(labels, Mapping) else {label: label for label in labels}
        if not nouns:
            raise ValueError("labels must hold at least one noun")
        parents = _wordnet.hypernym_tree({_plain(k): v for k, v in nouns.items()}, source, below)
        tree = cls(parents)
        return tree.restrict(nouns) if compress else tree

    # ---- Python's own

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Hashable) and node in self._parent

    def __iter__(self) -> Iterator[Any]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __eq__(self, other: object) -> bool:
        return self._parent == other._parent if isinstance(other, Taxonomy) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._parent.items()))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Taxonomy of {len(self)} nodes below {self.root!r}, {len(self.leaves)} of them leaves>"

    def __copy__(self) -> "Taxonomy":
        return self

    def __deepcopy__(self, memo: Any) -> "Taxonomy":
        return self  # it never changes: a cloned estimator may share it

    def __reduce__(self) -> Any:
        return type(self), (self._parent,)


def _plain(node: Any) -> Any:
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


def _checked_pairs(edges: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for place, edge in enumerate(edges):
        pair = () if isinstance(edge, str | Set) or not isinstance(edge, Iterable) else tuple(edge)
        if len(pair) != 2:
            raise ValueError(f"edges must be (child, parent) pairs, got {edge!r} at place {place}")
        yield pair[0], _plain(pair[1])
