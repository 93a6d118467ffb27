"""Trees of labels, and where they come from."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal

from fastcca.taxonomy import _wordnet
from fastcca.taxonomy._tree import Tree, plain

__all__ = ["Taxonomy"]

SeveralParents = Literal["error", "first"]


class Taxonomy(Tree):
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

    __slots__ = ()

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
            root = plain(root)
        parents: dict[Any, Any] = {} if root is None else {root: None}
        for child, parent in pairs:
            child = plain(child)
            known = parents.setdefault(child, None)
            if parent is None:
                continue
            parent = plain(parent)
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
        root, several_parents
            As for :meth:`from_edges`.

        Returns
        -------
        Taxonomy

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
        root, several_parents
            As for :meth:`from_edges`.

        Returns
        -------
        Taxonomy

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
        root, several_parents
            As for :meth:`from_edges`.

        Returns
        -------
        Taxonomy

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
        parents = _wordnet.hypernym_tree({plain(k): v for k, v in nouns.items()}, source, below)
        tree = cls(parents)
        return tree.restrict(nouns) if compress else tree


def _checked_pairs(edges: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for place, edge in enumerate(edges):
        pair = () if isinstance(edge, str | Set) or not isinstance(edge, Iterable) else tuple(edge)
        if len(pair) != 2:
            raise ValueError(f"edges must be (child, parent) pairs, got {edge!r} at place {place}")
        yield pair[0], plain(pair[1])
