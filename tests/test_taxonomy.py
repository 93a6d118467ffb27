"""Trees of labels: every way to make one, every question against networkx, every refusal."""

import copy
import json
import pickle
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcca._models import files
from fastcca.taxonomy import Taxonomy

ANIMALS = {"animal": {"deer": ["moose"], "cat": {"tiger": None, "lion": {}}, "mole": None}}
EDGES = [
    ("deer", "animal"),
    ("moose", "deer"),
    ("cat", "animal"),
    ("tiger", "cat"),
    ("lion", "cat"),
    ("mole", "animal"),
]


@pytest.fixture
def animals():
    return Taxonomy.from_dict(ANIMALS)


# ---- ways to make one --------------------------------------------------------------------------------


def test_every_source_gives_the_same_tree(tmp_path, animals):
    plain, named = tmp_path / "plain.tsv", tmp_path / "named.tsv"
    plain.write_text("".join(f"{child}\t{parent}\n" for child, parent in EDGES))
    rows = "".join(f"{parent}\tx\t{child}\n" for child, parent in EDGES)
    named.write_text(f"parent\tkind\tnode\n\tx\tanimal\n\n{rows}")
    made = [
        Taxonomy.from_edges(EDGES),
        Taxonomy.from_edges([*EDGES, EDGES[0]]),  # a pair given twice counts once
        Taxonomy.from_edges((e for e in EDGES if e[1] != "animal"), root="animal"),
        Taxonomy.from_networkx(nx.DiGraph([(parent, child) for child, parent in EDGES])),
        Taxonomy.from_tsv(plain),
        Taxonomy.from_tsv(named),
        Taxonomy(dict([("animal", None), *EDGES])),
    ]
    made[2] = Taxonomy.from_edges([*made[2].edges, ("mole", "animal")])
    for tree in made:
        assert tree == animals
        assert hash(tree) == hash(animals)
        assert set(tree.edges) == set(EDGES)
    assert made[0].nodes == animals.nodes == ("animal", "deer", "moose", "cat", "tiger", "lion", "mole")
    assert made[0].edges == animals.edges
    assert animals != Taxonomy.from_edges(EDGES[:-1])
    assert animals != "animal"


def test_nodes_without_edges_are_kept():
    forest = Taxonomy.from_dict({"cat": ["tiger"], "mole": None}, root="animal")
    assert forest.edges == (("cat", "animal"), ("tiger", "cat"), ("mole", "animal"))
    graph = nx.DiGraph([("cat", "tiger")])
    graph.add_node("mole")
    assert Taxonomy.from_networkx(graph, root="animal") == forest
    for single in (
        Taxonomy.from_dict({"mole": None}),
        Taxonomy.from_edges([], root="mole"),
        Taxonomy.from_networkx(nx.DiGraph([("mole", "x")]).subgraph(["mole"])),
    ):
        assert (single.nodes, single.root, single.leaves, single.edges) == (("mole",), "mole", ("mole",), ())
        assert single.siblings("mole") == single.ancestors("mole", root=True) == ()


def test_numpy_labels_are_pythons_own():
    tree = Taxonomy.from_edges(np.array([[1, 0], [2, 0]]))
    assert [type(node) for node in tree.nodes] == [int] * 3
    assert tree.siblings(np.int64(1)) == (2,)
    assert np.str_("cat") in Taxonomy.from_dict(ANIMALS)


def test_several_parents_are_refused_or_the_first_counts():
    edges = [*EDGES, ("tiger", "striped"), ("striped", "animal")]
    with pytest.raises(ValueError, match="'tiger' has several parents, 'cat' and 'striped'"):
        Taxonomy.from_edges(edges)
    tree = Taxonomy.from_edges(edges, several_parents="first")
    assert tree.parent("tiger") == "cat"
    assert tree.children("striped") == ()
    turned = Taxonomy.from_edges(edges[::-1], several_parents="first")
    assert turned.parent("tiger") == "striped"
    with pytest.raises(ValueError, match="several_parents must be 'error' or 'first', got 'last'"):
        Taxonomy.from_edges(EDGES, several_parents="last")


def cyclic_dict():
    tree = {}
    tree["a"] = tree
    return tree


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Taxonomy({}), ValueError, "at least one node"),
        (lambda: Taxonomy({"a": None, "b": None}), ValueError, "2 nodes without a parent, 'a', 'b'"),
        (lambda: Taxonomy({"a": None, "b": "c"}), ValueError, "parent 'c' of 'b' is not a node"),
        (lambda: Taxonomy({"a": "a"}), ValueError, "cycle: 'a' below 'a'"),
        (
            lambda: Taxonomy.from_edges([("a", "b"), ("b", "c"), ("c", "a")]),
            ValueError,
            "cycle: 'a' below 'b'",
        ),
        (
            lambda: Taxonomy.from_edges([("x", "r"), ("y", "a"), ("a", "b"), ("b", "a")]),
            ValueError,
            "cycle: 'a' below 'b' below 'a'",
        ),
        (lambda: Taxonomy.from_dict(cyclic_dict()), ValueError, "cycle: 'a' below 'a'"),
        (
            lambda: Taxonomy.from_edges([("a", "b", "c")]),
            ValueError,
            r"pairs, got \('a', 'b', 'c'\) at place 0",
        ),
        (lambda: Taxonomy.from_edges(["ab"]), ValueError, "pairs, got 'ab' at place 0"),
        (lambda: Taxonomy.from_edges([("a", None)]), ValueError, "other than None"),
        (lambda: Taxonomy.from_edges([(["a"], "b")]), ValueError, r"hashable other than None, got \['a'\]"),
        (
            lambda: Taxonomy.from_edges([("a", "b"), ("b", "c")], root="b"),
            ValueError,
            "root='b' has a parent",
        ),
        (lambda: Taxonomy.from_dict([("a", "b")]), TypeError, "tree must be a mapping"),
        (lambda: Taxonomy.from_dict({"a": "bc"}), TypeError, "children of 'a' .* got str: 'bc'"),
        (lambda: Taxonomy.from_networkx(nx.Graph([(0, 1)])), TypeError, "DiGraph .* got Graph"),
        (lambda: Taxonomy.from_networkx([(0, 1)]), TypeError, "DiGraph .* got list"),
        (
            lambda: Taxonomy.from_networkx(nx.DiGraph([("tiger", "cat"), ("lion", "cat")])),
            ValueError,
            "'cat' has several parents",
        ),
    ],
)
def test_what_is_no_tree_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\n\tb\n", "line 2 has no node"),
        ("a\tb\na\tc\n", "'a' has several parents"),
        ("a\nb\n", "2 nodes without a parent"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("", "at least one node"),
    ],
)
def test_damaged_tsv_is_named(tmp_path, content, message):
    path = tmp_path / "labels.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"labels\.tsv: .*{message}"):
        Taxonomy.from_tsv(path)
    with pytest.raises(FileNotFoundError):
        Taxonomy.from_tsv(tmp_path / "nothing.tsv")


# ---- questions ---------------------------------------------------------------------------------------


def test_questions(animals):
    assert animals.root == "animal"
    assert animals.leaves == ("moose", "tiger", "lion", "mole")
    assert animals.parent("moose") == "deer"
    assert animals.parent("animal") is None
    assert animals.children("animal") == ("deer", "cat", "mole")
    assert animals.siblings("deer") == ("cat", "mole")
    assert animals.ancestors("lion") == ("cat",)  # nearest first, without the root
    assert animals.ancestors("lion", root=True) == ("cat", "animal")
    assert animals.ancestors("animal", root=True) == ()
    assert animals.descendants("animal") == animals.nodes[1:]
    assert animals.descendants("cat") == ("tiger", "lion")
    assert [animals.depth(n) for n in ("animal", "cat", "lion")] == [0, 1, 2]
    # deer is a class and an inner node at once
    assert animals.lca("deer", "moose") == animals.lca("deer", "deer") == "deer"
    assert animals.distance("deer", "moose") == 1
    assert animals.distance("moose", "lion") == 4
    np.testing.assert_array_equal(
        animals.distances(["deer", "moose", "mole"]), [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
    )
    assert animals.distances([]).shape == (0, 0)
    assert "deer" in animals
    assert "fish" not in animals
    assert ["deer"] not in animals
    assert list(animals) == list(animals.nodes)
    assert len(animals) == 7
    assert repr(animals) == "<Taxonomy of 7 nodes below 'animal', 4 of them leaves>"


@pytest.mark.parametrize("ask", ["parent", "children", "siblings", "ancestors", "descendants", "depth"])
def test_unknown_labels_are_told_with_the_nearest_names(animals, ask):
    with pytest.raises(ValueError, match="'moos' is not a node of the taxonomy; it has 'moose'"):
        getattr(animals, ask)("moos")
    with pytest.raises(ValueError, match=r"17 is not a node of the taxonomy$"):
        animals.distance("deer", 17)
    with pytest.raises(ValueError, match="not a node"):
        animals.distances([["deer"]])


@given(st.lists(st.integers(0, 10**6), min_size=0, max_size=40), st.randoms())
def test_against_networkx(draws, random):
    # node i hangs on any earlier one; the edges in any order
    edges = [(i + 1, draw % (i + 1)) for i, draw in enumerate(draws)]
    graph = nx.DiGraph([(parent, child) for child, parent in edges])
    graph.add_node(0)
    random.shuffle(edges)
    tree = Taxonomy.from_edges(edges, root=0)
    assert sorted(tree.nodes) == sorted(graph)
    place = {node: i for i, node in enumerate(tree.nodes)}
    assert all(place[parent] < place[child] for child, parent in edges)
    hops = dict(nx.all_pairs_shortest_path_length(graph.to_undirected()))
    expected = [[hops[a][b] for b in tree.nodes] for a in tree.nodes]
    np.testing.assert_array_equal(tree.distances(), expected)
    for node in tree.nodes:
        assert set(tree.ancestors(node, root=True)) == nx.ancestors(graph, node)
        assert set(tree.descendants(node)) == nx.descendants(graph, node)
        assert set(tree.siblings(node)) == {
            c for p in graph.predecessors(node) for c in graph.successors(p)
        } - {node}
    for (a, b), lca in nx.all_pairs_lowest_common_ancestor(graph):
        assert tree.lca(a, b) == tree.lca(b, a) == lca
        assert tree.distance(a, b) == hops[a][b]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=25), st.sets(st.integers(0, 25), min_size=1))
def test_restriction_keeps_labels_and_their_common_ancestors(draws, chosen):
    tree = Taxonomy.from_edges([(i + 1, draw % (i + 1)) for i, draw in enumerate(draws)])
    labels = sorted(chosen & set(tree.nodes)) or [tree.root]
    small = tree.restrict(labels)
    assert set(small.nodes) == {tree.lca(a, b) for a in labels for b in labels}
    for a in small.nodes:
        above = [n for n in tree.ancestors(a, root=True) if n in small]
        assert list(small.ancestors(a, root=True)) == above


def test_a_deep_tree_does_not_run_out_of_stack():
    chain = Taxonomy.from_edges((i + 1, i) for i in range(5000))
    assert chain.distance(0, 5000) == 5000
    assert chain.descendants(0) == chain.nodes[1:]
    assert chain.restrict([0, 5000]).edges == ((5000, 0),)


@pytest.mark.parametrize("name", ["nodes", "root", "leaves"])
def test_a_tree_does_not_change(animals, name):
    with pytest.raises(AttributeError):
        setattr(animals, name, ())
    with pytest.raises(AttributeError):
        animals.colour = "brown"


def test_copies_pickles_and_models(animals):
    assert copy.deepcopy(animals) is copy.copy(animals) is animals
    again = pickle.loads(pickle.dumps(animals))
    assert again == animals
    assert again.nodes == animals.nodes
    for tree in (animals, Taxonomy.from_edges([(1, 0)]), Taxonomy.from_edges([(("a", 1), "r")])):
        stored = json.loads(json.dumps(files.Writer().encode(tree, "taxonomy")))
        again = files.Reader({}, lambda *_: None, {}).decode(stored)
        assert again == tree
        assert again.nodes == tree.nodes


# ---- WordNet -----------------------------------------------------------------------------------------

# name: (lemma, pointers as symbol and target); seal has two senses, and one synset has two hypernyms
SYNSETS = {
    "entity": ("entity", []),
    "mark": ("seal", [("@", "entity")]),
    "mammal": ("mammal", [("~", "carnivore"), ("@", "entity")]),
    "carnivore": ("carnivore", [("@", "mammal")]),
    "seal": ("seal", [("#m", "entity"), ("@", "carnivore"), ("@", "entity")]),
    "cat": ("cat", [("@", "carnivore")]),
    "polar bear": ("Polar_Bear", [("@", "carnivore")]),
    "Felix": ("Felix", [("@i", "cat")]),
}
INDEX = {
    "entity": ["entity"],
    "mammal": ["mammal"],
    "seal": ["mark", "seal"],
    "cat": ["cat"],
    "polar_bear": ["polar bear"],
    "felix": ["Felix"],
    "carnivore": ["carnivore"],
}


@pytest.fixture
def wordnet(tmp_path):
    """WordNet's two files for a handful of synsets, and their offsets."""

    def line(offset, lemma, pointers):
        targets = " ".join(f"{symbol} {to:08d} n 0000" for symbol, to in pointers)
        count = f"{len(pointers):03d}"
        words = f"02 {lemma} 0 other 0"
        return f"{offset:08d} 05 n {words} {count} {targets}{' ' * bool(targets)}| gloss | of it  \n"

    licence = "  1 This file is free.  \n"
    offsets, end = {}, len(licence)
    for name, (lemma, pointers) in SYNSETS.items():
        offsets[name] = end
        end += len(line(0, lemma, [(symbol, 0) for symbol, _ in pointers]))
    lines = [
        line(offsets[name], lemma, [(s, offsets[to]) for s, to in ps])
        for name, (lemma, ps) in SYNSETS.items()
    ]
    (tmp_path / "data.noun").write_text(licence + "".join(lines))
    index = [
        f"{lemma} n {len(names)} 2 @ ~ {len(names)} 1 {' '.join(f'{offsets[n]:08d}' for n in names)}  \n"
        for lemma, names in sorted(INDEX.items())
    ]
    (tmp_path / "index.noun").write_text(licence + "".join(index))
    return tmp_path, offsets


def test_wordnet_finds_senses_and_first_hypernyms(wordnet):
    folder, offsets = wordnet
    tree = Taxonomy.from_wordnet(["seal", "polar bear", "cat"], folder, below="mammal")
    assert tree.edges == (("seal", "carnivore"), ("polar bear", "carnivore"), ("cat", "carnivore"))
    # without compression everything up to WordNet's own root; the first sense, whatever it is
    whole = Taxonomy.from_wordnet(["seal", "polar+bear", "felix"], folder, compress=False)
    assert set(whole.edges) == {
        ("seal", "entity"),
        ("mammal", "entity"),
        ("carnivore", "mammal"),
        ("polar+bear", "carnivore"),
        ("cat", "carnivore"),
        ("felix", "cat"),  # an instance hypernym, where there is no other
    }
    # labels of one's own; a sense by its number; a synset by its offset, with or without -n
    labels = {"phoca": "seal.n.02", "cat": f"{offsets['polar bear']:08d}", "tom": f"{offsets['Felix']:08d}-n"}
    renamed = Taxonomy.from_wordnet(labels, folder, compress=False)
    taken = f"cat ({offsets['cat']:08d})"  # the name is a label's already
    assert renamed.ancestors("tom") == (taken, "carnivore", "mammal")
    assert renamed.parent("phoca") == "carnivore"
    # a class above another class stays between it and the rest
    assert Taxonomy.from_wordnet(["cat", "felix", "seal"], folder, below="entity").parent("felix") == "cat"


def test_wordnet_from_a_reader_like_nltks(wordnet):
    folder, _ = wordnet

    class Reader:
        def open(self, name):
            return (folder / name).open(encoding="utf-8")

    expected = Taxonomy.from_wordnet(["cat", "polar bear"], folder)
    assert Taxonomy.from_wordnet(["cat", "polar bear"], Reader()) == expected


def test_wordnet_offsets_do_without_the_index(wordnet):
    folder, offsets = wordnet
    (folder / "index.noun").unlink()
    labels = {name: f"{offsets[name]:08d}-n" for name in ("cat", "seal")}
    assert Taxonomy.from_wordnet(labels, folder).root == "carnivore"
    with pytest.raises(FileNotFoundError, match=r"index\.noun, which looking 'cat' up needs"):
        Taxonomy.from_wordnet(["cat"], folder)
    (folder / "data.noun").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*data\.noun"):
        Taxonomy.from_wordnet(labels, folder)


@pytest.mark.parametrize(
    ("labels", "below", "error", "message"),
    [
        (["unicorn"], None, ValueError, "WordNet has no noun 'unicorn'"),
        (["seal"], "cat", ValueError, "none of the 2 senses .* below 'cat'"),
        (["seal.n.03"], None, ValueError, "WordNet has 2 senses of the noun 'seal'"),
        ({"a": "cat", "b": "cat.n.01"}, None, ValueError, "'a' and 'b' are the same synset"),
        (["00000003-n"], None, ValueError, "no synset at byte 3"),
        (["99999999"], None, ValueError, "no synset at byte 99999999"),
        ([], None, ValueError, "at least one noun"),
    ],
)
def test_wordnet_refusals(wordnet, labels, below, error, message):
    with pytest.raises(error, match=message):
        Taxonomy.from_wordnet(labels, wordnet[0], below=below)


def test_wordnet_source_and_cycle(wordnet):
    with pytest.raises(TypeError, match="source must be a folder or nltk's WordNet reader, got int"):
        Taxonomy.from_wordnet(["cat"], 3)
    folder, offsets = wordnet
    path = folder / "data.noun"
    content = path.read_text()
    top = f"05 n 02 mammal 0 other 0 002 ~ {offsets['carnivore']:08d} n 0000 @ {offsets['entity']:08d}"
    assert top in content
    path.write_text(content.replace(top, f"{top[:-8]}{offsets['carnivore']:08d}"))
    with pytest.raises(ValueError, match="go round in a circle"):
        Taxonomy.from_wordnet(["cat"], folder)


# ---- the real trees ----------------------------------------------------------------------------------


def test_real_animals(data_home):
    path = data_home / "wordnet" / "awa_taxonomy.tsv"
    if not path.is_file():
        pytest.skip("no wordnet/awa_taxonomy.tsv in the data home")
    tree = Taxonomy.from_tsv(path)
    assert len(tree) == 76
    assert tree.root == "placental"
    assert max(map(tree.depth, tree.nodes)) == 6
    # two classes that are inner nodes as well
    assert tree.children("deer") == ("moose",)
    assert tree.children("dolphin") == ("killer+whale",)
    assert tree.siblings("tiger") == ("leopard", "lion")
    debian = Path("/usr/share/wordnet")
    if not (debian / "data.noun").is_file():
        pytest.skip("Debian's wordnet-base is not installed")
    synsets = json.loads((data_home / "wordnet" / "awa_synsets.json").read_text())
    assert Taxonomy.from_wordnet(synsets) == tree
    assert Taxonomy.from_wordnet(list(synsets), below="mammal") == tree


def test_pairs_have_an_order():
    with pytest.raises(ValueError, match="edges must be"):
        Taxonomy.from_edges([{"cat", "animal"}])


def test_only_line_feeds_end_a_line(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_bytes("one\u2028two\tboth\r\nthree\x0bfour\tboth\r\n".encode())
    assert Taxonomy.from_tsv(path).leaves == ("one\u2028two", "three\x0bfour")


def test_wordnet_labels_are_nouns_not_letters(wordnet):
    with pytest.raises(TypeError, match=r"labels must be a sequence of nouns .* got text: 'cat'"):
        Taxonomy.from_wordnet("cat", wordnet[0])
    with pytest.raises(ValueError, match="WordNet has no noun ''"):
        Taxonomy.from_wordnet(["cat", ""], wordnet[0])


# ---- what becomes of one ------------------------------------------------------------------------------


def test_text(animals):
    assert (
        str(animals)
        == animals.to_text()
        == ("animal\n├── deer\n│   └── moose\n├── cat\n│   ├── tiger\n│   └── lion\n└── mole")
    )
    assert animals.to_text(max_depth=1) == "animal\n├── deer (1 below)\n├── cat (2 below)\n└── mole"
    assert animals.to_text(0) == "animal (6 below)"
    assert str(Taxonomy({7: None})) == "7"
    with pytest.raises(ValueError, match="max_depth must be an integer >= 0"):
        animals.to_text(-1)
    deep = Taxonomy({i: i - 1 if i else None for i in range(5000)})  # deeper than Python recurses
    assert str(deep).count("\n") == deep.height(0) == 4999
    assert deep.to_dict()[0][1][2] is not None


def test_dicts_and_graphs_make_the_same_tree(animals):
    assert animals.to_dict() == {
        "animal": {"deer": {"moose": None}, "cat": {"tiger": None, "lion": None}, "mole": None}
    }
    for back in (Taxonomy.from_dict(animals.to_dict()), Taxonomy.from_networkx(animals.to_networkx())):
        assert back == animals
        assert back.nodes == animals.nodes
    single = Taxonomy({"a": None})
    assert single.to_dict() == {"a": None}
    assert Taxonomy.from_dict(single.to_dict()) == single
    assert list(single.to_networkx().nodes) == ["a"]


def test_height(animals):
    graph = animals.to_networkx()
    for node in animals:
        lengths = nx.single_source_shortest_path_length(graph, node)
        assert animals.height(node) == max(lengths.values())
    with pytest.raises(ValueError, match="is not a node"):
        animals.height("cow")
