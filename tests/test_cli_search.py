"""``fastcca search``: the same answers as the Python interface, in every form of output."""

import csv

import numpy as np
import pytest

import fastcca
from command_line import run, run_well
from fastcca import CCA
from fastcca.datasets import make_two_views
from fastcca.embedding import NearestClassMean
from fastcca.fusion import EarlyFusion
from fastcca.retrieval import CrossViewSearch, LabelSearch


@pytest.fixture
def views(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    views = make_two_views(300, (6, 4), (0.99, 0.9, 0.8), random_state=0)
    CCA(3).fit(views.X, views.y).save("cca.safetensors")
    np.save("X.npy", views.X[:20])
    np.save("Y.npy", views.y[:50])
    return views


@pytest.fixture
def clusters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) + np.repeat([[0, 0, 0], [9, 0, 0], [0, 9, 0]], 20, axis=0)
    np.save("X.npy", X)
    return X


def printed(text):
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["query", "rank", "row", "score"]
    return lines[1:]


def expected_rows(found, names=None):
    rows = []
    for q, (indices, scores) in enumerate(zip(found.indices, found.scores, strict=True)):
        name = str(q) if names is None else names[q]
        rows += [(name, r + 1, int(i), s) for r, (i, s) in enumerate(zip(indices, scores, strict=True))]
    return rows


@pytest.mark.parametrize("options", [{}, {"gallery_view": "x"}, {"correlation_power": 2.0}])
def test_across_views(views, options):
    search = CrossViewSearch(fastcca.load("cca.safetensors"), **options)
    of_x = options.get("gallery_view") == "x"
    gallery, queries = (views.X[:20], views.y[:50]) if of_x else (views.y[:50], views.X[:20])
    found = search.fit(gallery).search(queries, 4)
    files = ("X.npy", "Y.npy") if of_x else ("Y.npy", "X.npy")
    flags = [x for name, value in options.items() for x in (f"--{name.replace('_', '-')}", value)]
    command = ("search", "cca.safetensors", *files, "-k", 4, *flags)
    rows = printed(run_well(*command))
    assert [(q, int(r), int(i)) for q, r, i, _ in rows] == [row[:3] for row in expected_rows(found)]
    np.testing.assert_allclose([float(row[3]) for row in rows], found.scores.ravel(), rtol=1e-5)
    assert "4 rows for each of" in run_well(*command, "-o", "found.npz")
    with np.load("found.npz") as archive:
        np.testing.assert_array_equal(archive["indices"], found.indices)
        np.testing.assert_array_equal(archive["scores"], found.scores)
    for suffix, delimiter in (("csv", ","), ("tsv", "\t")):
        run_well(*command, "-o", f"found.{suffix}")
        with open(f"found.{suffix}", newline="") as file:
            header, *lines = csv.reader(file, delimiter=delimiter)
        assert header == ["query", "rank", "row", "score"]
        assert [(q, int(r), int(i), float(s)) for q, r, i, s in lines] == expected_rows(found)


def test_ten_rows_or_all_there_are(views):
    assert len(printed(run_well("search", "cca.safetensors", "Y.npy", "X.npy"))) == 200
    np.save("few.npy", views.y[:3])
    assert len(printed(run_well("search", "cca.safetensors", "few.npy", "X.npy"))) == 60
    code, _, err = run("search", "cca.safetensors", "few.npy", "X.npy", "-k", 4)
    assert code == 2
    assert "k=4 is more than the 3 rows of the gallery" in err


@pytest.mark.parametrize("numbers", [False, True])
def test_by_label_and_by_sample(clusters, numbers):
    labels = np.repeat([3, 5, 7] if numbers else ["cat", "dog", "mole"], 20)
    model = NearestClassMean().fit(clusters, labels)
    model.save("model.safetensors")
    search = LabelSearch(model).fit(clusters)
    wanted = list(dict.fromkeys(labels.tolist()))[1:]
    rows = printed(
        run_well("search", "model.safetensors", "X.npy", "--label", wanted[0], "--label", wanted[1], "-k", 3)
    )
    expected = expected_rows(search.search_labels(wanted, 3), [str(label) for label in wanted])
    assert [(q, int(r), int(i)) for q, r, i, _ in rows] == [row[:3] for row in expected]
    rows = printed(run_well("search", "model.safetensors", "X.npy", "X.npy", "-k", 2))
    expected = expected_rows(search.search(clusters, 2))
    assert [(q, int(r), int(i)) for q, r, i, _ in rows] == [row[:3] for row in expected]
    assert "classes  3: " in run_well("info", "model.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cca.safetensors", "Y.npy"], "give either QUERIES or --label"),
        (["cca.safetensors", "Y.npy", "X.npy", "--label", "cat"], "give either QUERIES or --label"),
        (
            ["cca.safetensors", "Y.npy", "--label", "cat"],
            "--label is for label embeddings, cca.safetensors holds a CCA",
        ),
        (["cca.safetensors", "Y.npy", "X.npy", "-o", "found.npy"], "expected one of .csv, .tsv, .npz"),
        (["cca.safetensors", "Y.npy", "Y.npy"], "4 features, but CCA is expecting 6"),
        (["cca.safetensors", "Y.npy", "absent.npy"], "absent.npy: no such file"),
        (["labels.safetensors", "X.npy", "--label", "cow"], "does not know the labels ['cow']"),
        (["labels.safetensors", "X.npy", "X.npy", "--gallery-view", "x"], "are for models of two views"),
        (["fusion.safetensors", "X.npy", "X.npy"], "EarlyFusion, which has neither a second view nor labels"),
    ],
)
def test_user_errors(views, arguments, message):
    NearestClassMean().fit(views.X, np.arange(300) % 3).save("labels.safetensors")
    EarlyFusion().fit([views.X, views.y]).save("fusion.safetensors")
    code, _, err = run("search", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
