"""The command line: test, plot, embed, and how tables are read. The numbers of Python."""

import csv
import sys

import numpy as np
import pytest

import fastcca
from command_line import run, run_well
from fastcca import CCA, MCCA
from fastcca.datasets import make_two_views
from fastcca.embedding import AttributeLabelEmbedding, LargeMarginEmbedding, NearestClassMean
from fastcca.inference import permutation_test, wilks_test
from fastcca.taxonomy import Taxonomy


def refused(message, *arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def table(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t" if str(path).endswith("tsv") else ",")
    return header, rows


@pytest.fixture
def views(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_two_views(60, (4, 3), (0.8, 0.5), random_state=0)
    np.save("X.npy", made.X)
    np.save("Y.npy", made.y)
    return made


# ---- test ----------------------------------------------------------------------------------------------


def test_a_permutation_test(views):
    rng = np.random.default_rng(0)
    Z, blocks = rng.normal(size=(60, 2)), np.repeat(["a", "b", "c"], 20)
    np.save("Z.npy", Z)
    with open("blocks.csv", "w") as file:
        file.write("site,subject\n" + "".join(f"{i % 2},{block}\n" for i, block in enumerate(blocks)))
    np.save("blocks.npy", np.repeat([3, 1, 2], 20))
    CCA(2, 0.1).fit(views.X, views.y).save("model.safetensors")
    for files, options, model, given in (
        (["X.npy", "Y.npy"], [], CCA(), {}),
        (["X.npy", "Y.npy"], ["--confounds", "Z.npy", "--statistic", "wilks"], CCA(), {"confounds": Z}),
        (["X.npy", "Y.npy"], ["--blocks", "blocks.csv:subject", "-k", 1], CCA(1), {"blocks": blocks}),
        (["X.npy", "Y.npy"], ["--blocks", "blocks.npy", "--exchange", "whole"], CCA(), {"blocks": blocks}),
        (["X.npy", "Y.npy"], ["--reg", 0.2, "--reg-y", 0.3], CCA(reg=(0.2, 0.3)), {}),
        (["model.safetensors", "X.npy", "Y.npy"], ["--statistic", "roy"], CCA(2, 0.1), {}),
    ):
        run_well("test", *files, "--n-permutations", 49, "--random-state", 3, *options, "-o", "p.csv")
        if "--statistic" in options:
            given = {"statistic": options[options.index("--statistic") + 1], **given}
        if "--exchange" in options:
            given = {"exchange": "whole", **given}
        found = permutation_test(model, views.X, views.y, n_permutations=49, random_state=3, **given)
        header, rows = table("p.csv")
        assert header == ["pair", given.get("statistic", "correlation"), "p"]
        values = np.array(rows, dtype=float)
        np.testing.assert_array_equal(values[:, 0], np.arange(len(rows)) + 1)
        np.testing.assert_array_equal(values[:, 1], found.statistic)
        np.testing.assert_array_equal(values[:, 2], found.p_value)
    shown = run_well("test", "X.npy", "Y.npy", "--n-permutations", 49)
    found = permutation_test(CCA(), views.X, views.y, n_permutations=49, random_state=0)
    assert shown.splitlines()[1].split() == ["1", f"{found.statistic[0]:.6g}", f"{found.p_value[0]:.6g}"]


def test_wilks(views):
    Z = np.random.default_rng(0).normal(size=(60, 2))
    np.save("Z.npy", Z)
    for options, given in (([], {}), (["--confounds", "Z.npy"], {"confounds": Z})):
        run_well("test", "X.npy", "Y.npy", "--wilks", *options, "-o", "p.tsv")
        fitted = CCA().fit(views.X, views.y, **given)
        found = wilks_test(fitted)
        header, rows = table("p.tsv")
        assert header == ["pair", "correlation", "wilks", "F", "df1", "df2", "p"]
        expected = [fitted.canonical_correlations_, found.statistic, found.f, found.df1, found.df2]
        np.testing.assert_array_equal(
            np.array(rows, dtype=float)[:, 1:], np.column_stack([*expected, found.p_value])
        )


def test_what_test_refuses(views):
    NearestClassMean().fit(views.X, np.arange(60) % 2).save("ncm.safetensors")
    CCA().fit(views.X, views.y).save("model.safetensors")
    np.save("few.npy", np.arange(59))
    refused("test takes X and Y, or MODEL X Y; got 1 files", "test", "X.npy")
    refused("has no two views", "test", "ncm.safetensors", "X.npy", "Y.npy")
    refused("those of the model", "test", "model.safetensors", "X.npy", "Y.npy", "-k", 2)
    refused("for permutations", "test", "X.npy", "Y.npy", "--wilks", "--blocks", "few.npy")
    refused("59 labels, X.npy has 60 rows", "test", "X.npy", "Y.npy", "--blocks", "few.npy")
    refused("does not hold for correlations with a ridge", "test", "X.npy", "Y.npy", "--wilks", "--reg", 1)


# ---- plot ----------------------------------------------------------------------------------------------


def test_pictures(views, monkeypatch):
    pytest.importorskip("matplotlib")
    from fastcca import plotting

    drawn = []
    for name in ("CorrelationDisplay", "VariateDisplay", "LoadingDisplay", "SimilarityDisplay"):
        kind = getattr(plotting, name)
        plot = kind.plot
        monkeypatch.setattr(
            kind, "plot", lambda self, *a, _plot=plot, **k: drawn.append((self, k)) or _plot(self, *a, **k)
        )
    model = CCA(2).fit(views.X, views.y)
    model.save("model.safetensors")
    np.save("labels.npy", np.arange(60) % 3)

    run_well("plot", "model.safetensors", "X.npy", "Y.npy", "-o", "p.png")
    with open("p.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    for curve in drawn[-1][0].correlations.values():
        np.testing.assert_allclose(curve, model.canonical_correlations_, atol=1e-12)

    options = ["--which", "variates", "--component", 2, "--labels", "labels.npy"]
    run_well("plot", "model.safetensors", "X.npy", "Y.npy", *options, "-o", "p.pdf")
    with open("p.pdf", "rb") as file:
        assert file.read(5) == b"%PDF-"
    np.testing.assert_array_equal(drawn[-1][0].x_variate, model.transform(views.X)[:, 1])
    np.testing.assert_array_equal(drawn[-1][0].labels, np.arange(60) % 3)

    run_well("plot", "model.safetensors", "--which", "loadings", "--top", 2, "-o", "p.svg")
    with open("p.svg") as file:
        first = file.read()
    assert "<svg" in first
    np.testing.assert_array_equal(drawn[-1][0].x_loadings, model.x_loadings_[:, 0])
    assert drawn[-1][1] == {"top": 2}
    run_well("plot", "model.safetensors", "--which", "loadings", "--top", 2, "-o", "p.svg")
    with open("p.svg") as file:
        assert file.read() == first
    run_well("plot", "model.safetensors", "--which", "heliograph", "--size", 5, 5, "-o", "p.svg")
    assert drawn[-1][1] == {"top": 10, "kind": "helio"}

    many = MCCA(2).fit({"a": views.X, "b": views.y, "c": views.X[:, :2] + views.y[:, :2]})
    many.save("many.safetensors")
    run_well("plot", "many.safetensors", "--which", "similarity", "--component", 2, "-o", "p.png")
    np.testing.assert_array_equal(drawn[-1][0].values, many.pairwise_correlations_[:, :, 1])
    run_well("plot", "many.safetensors", "-o", "p.png")
    assert list(drawn[-1][0].correlations) == ["a, b", "a, c", "b, c"]


def test_what_plot_refuses(views, monkeypatch):
    CCA(2).fit(views.X, views.y).save("model.safetensors")
    model = "model.safetensors"
    refused("takes both tables", "plot", model, "X.npy", "-o", "p.png")
    refused("are drawn of the tables", "plot", model, "--which", "variates", "-o", "p.png")
    refused("--label goes with", "plot", model, "--which", "explanation", "-o", "p.png")
    refused("cannot write this format", "plot", model, "-o", "p.bmp")
    refused("above 0 and at most 100", "plot", model, "--size", -1, 2, "-o", "p.png")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        refused("plot needs matplotlib", "plot", model, "-o", "p.png")
    pytest.importorskip("matplotlib")
    refused("at most 2, got 3", "plot", model, "--which", "loadings", "--component", 3, "-o", "p.png")
    refused("no pairwise correlations", "plot", model, "--which", "similarity", "-o", "p.png")


# ---- embed ---------------------------------------------------------------------------------------------


@pytest.fixture
def animals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    y = np.repeat(["cat", "dog", "owl"], 20)
    X = rng.normal(size=(60, 4)) + 2 * np.eye(3, 4)[np.repeat([0, 1, 2], 20)]
    attributes = np.array([[1.0, 0, 1], [1, 0, 0], [0, 1, 1]])
    np.savetxt("X.csv", X, "%.17g", ",", header="a,b,c,d", comments="")
    with open("labels.csv", "w") as file:
        file.write("species\n" + "".join(f"{label}\n" for label in y))
    with open("plain.csv", "w") as file:
        file.write("".join(f"{label}\n" for label in y))
    with open("a.csv", "w") as file:
        file.write(",fur,wings,night\ncat,1,0,1\ndog,1,0,0\nowl,0,1,1\n")
    with open("tree.tsv", "w") as file:
        file.write("cat\tmammal\ndog\tmammal\nowl\tanimal\nmammal\tanimal\n")
    return X, y, attributes


def test_embed_fit_equals_python(animals):
    X, y, attributes = animals
    tree = Taxonomy.from_tsv("tree.tsv")
    vectors = dict(zip(("cat", "dog", "owl"), attributes, strict=True))
    for options, expected in (
        ([], LargeMarginEmbedding(random_state=0)),
        (
            ["--taxonomy", "tree.tsv", "-k", 2, "--epochs", 10, "--random-state", 5],
            LargeMarginEmbedding(2, taxonomy=tree, n_epochs=10, random_state=5),
        ),
        (["--method", "ncm"], NearestClassMean(random_state=0)),
        (["--method", "ale", "--attributes", "a.csv"], AttributeLabelEmbedding(vectors, random_state=0)),
    ):
        for labels in ("labels.csv", "plain.csv", "labels.csv:species"):
            out = run_well("embed", "fit", "X.csv", labels, *options, "-o", "m.safetensors")
        assert "3: cat, dog, owl" in out
        expected.fit(X, y)
        found = fastcca.load("m.safetensors")
        assert type(found) is type(expected)
        np.testing.assert_array_equal(found.label_embedding_, expected.label_embedding_)
        assert found.feature_names_in_.tolist() == list("abcd")
        del found.feature_names_in_  # which an array lacks
        np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_embed_predict_and_score(animals):
    X, y, _ = animals
    run_well("embed", "fit", "X.csv", "labels.csv", "--method", "ncm", "-o", "m.safetensors")
    model = NearestClassMean(random_state=0).fit(X, y)
    run_well("embed", "predict", "m.safetensors", "X.csv", "-k", 2, "-o", "p.csv")
    header, rows = table("p.csv")
    assert header == ["row", "rank", "label", "probability"]
    nearest, probability = model.predict_top_k(X, 2), model.predict_proba(X)
    assert [row[2] for row in rows] == nearest.ravel().tolist()
    place = np.searchsorted(model.classes_, nearest)
    np.testing.assert_allclose(
        [float(row[3]) for row in rows], np.take_along_axis(probability, place, axis=1).ravel(), rtol=1e-8
    )
    out = run_well("embed", "predict", "m.safetensors", "X.csv").splitlines()
    assert [line.split()[2] for line in out[1:]] == model.predict(X).tolist()
    out = run_well("embed", "score", "m.safetensors", "X.csv", "labels.csv")
    assert out.split() == [
        "hit@1",
        f"{model.score(X, y):.4f}",
        "hit@2",
        f"{np.mean((y == nearest.T).any(0)):.4f}",
    ]


def test_labels_that_are_numbers(animals):
    y = animals[1]
    numbers = np.searchsorted(["cat", "dog", "owl"], y) * 10
    np.savetxt("n.csv", numbers, "%d")
    np.save("n.npy", numbers)
    for labels in ("n.csv", "n.npy"):
        run_well("embed", "fit", "X.csv", labels, "--method", "ncm", "-o", "m.safetensors")
        assert fastcca.load("m.safetensors").classes_.tolist() == [0, 10, 20]
    assert run_well("embed", "score", "m.safetensors", "X.csv", "n.csv").startswith("hit@1")


def test_what_embed_refuses(animals):
    X = animals[0]
    CCA().fit(X, X[:, :2] + 1).save("cca.safetensors")
    with open("two.csv", "w") as file:
        file.write("a,b\n" + "x,y\n" * 60)
    with open("hole.csv", "w") as file:
        file.write("s,t\n" + "x,y\n" * 3 + "x,\n" + "x,y\n" * 56)
    refused(
        "takes no --taxonomy", "embed", "fit", "X.csv", "labels.csv", "--method", "ncm", "--taxonomy", "t"
    )
    refused("takes no --epochs", "embed", "fit", "X.csv", "labels.csv", "--method", "ridge", "--epochs", 3)
    refused("say which, two.csv:NAME", "embed", "fit", "X.csv", "two.csv")
    refused("no column 'c', only a, b", "embed", "fit", "X.csv", "two.csv:c")
    refused("row 4 has no label", "embed", "fit", "X.csv", "hole.csv:t")
    refused("absent.csv: no such file", "embed", "fit", "X.csv", "absent.csv")
    refused("not a label embedding", "embed", "predict", "cca.safetensors", "X.csv")


# ---- how tables are read -------------------------------------------------------------------------------


@pytest.fixture
def frames(views):
    """Both views in one file with semicolons, and the second in another order of the rows."""
    names = [f"s{i}" for i in range(60)]
    order = np.random.default_rng(2).permutation(60)
    with open("both.csv", "w") as file:
        file.write("who;sex;a;b;c;d;u;v;w\n")
        for name, x, y in zip(names, views.X, views.y, strict=True):
            file.write(";".join([name, "f", *map(repr, [*x.tolist(), *y.tolist()])]) + "\n")
    with open("y.csv", "w") as file:
        file.write("who;u;v;w\n")
        for i in order:
            file.write(";".join([names[i], *map(repr, views.y[i].tolist())]) + "\n")
    return views, order


def test_both_views_of_one_file(frames):
    views, _ = frames
    chosen = ["--separator", ";", "--columns", "a,b, c,d", "--columns", "u,v,w"]
    run_well("fit", "both.csv", "both.csv", *chosen, "-o", "m.safetensors")
    expected = CCA().fit(views.X, views.y)
    found = fastcca.load("m.safetensors")
    np.testing.assert_array_equal(found.x_weights_, expected.x_weights_)
    assert found.y_feature_names_in_.tolist() == ["u", "v", "w"]
    run_well(
        "transform", "m.safetensors", "both.csv", "--separator", ";", "--columns", "a,b,c,d", "-o", "z.npy"
    )
    np.testing.assert_array_equal(np.load("z.npy"), expected.transform(views.X))
    refused(
        "once for each of the 2 tables, got it 3 times",
        "fit",
        "both.csv",
        "both.csv",
        *chosen,
        "--columns",
        "a",
    )


def test_decimals_with_commas(frames):
    views, _ = frames
    for path, names, values in (("x.csv", "a;b;c;d", views.X), ("y.csv", "u;v;w", views.y)):
        with open(path, "w") as file:
            file.write(f"{names}\n")
            for row in values.tolist():
                file.write(";".join(repr(value).replace(".", ",") for value in row) + "\n")
    refused("decimals written with commas? (--decimal ,)", "fit", "y.csv", "y.csv", "--separator", ";")
    run_well("fit", "x.csv", "y.csv", "--decimal", ",", "-o", "m.safetensors")
    found = fastcca.load("m.safetensors")
    np.testing.assert_array_equal(found.x_weights_, CCA().fit(views.X, views.y).x_weights_)
    run_well("score", "m.safetensors", "x.csv", "y.csv", "--decimal", ",")


def test_rows_are_matched_by_their_names(frames):
    views, order = frames
    options = ["--separator", ";", "--index", "who", "--drop", "sex,u", "--drop", "v,w"]
    code, _, err = run("fit", "both.csv", "y.csv", *options, "-o", "m.safetensors")
    assert code == 2  # u, v and w are those of both tables
    assert "y.csv" in err
    np.save("ids.npy", views.X)
    options = ["--separator", ";", "--index", "who", "--columns", "a,b,c,d", "--columns", "u,v,w"]
    run_well("fit", "both.csv", "y.csv", *options, "-o", "m.safetensors")
    expected = CCA().fit(views.X, views.y)
    np.testing.assert_array_equal(fastcca.load("m.safetensors").y_weights_, expected.y_weights_)
    # labels and confounds of the rows, in another order
    with open("site.csv", "w") as file:
        file.write("who;site\n" + "".join(f"s{i};{i // 20}\n" for i in order))
    run_well(
        "test", "both.csv", "y.csv", *options, "--blocks", "site.csv", "--n-permutations", 19, "-o", "p.csv"
    )
    found = permutation_test(
        CCA(), views.X, views.y, blocks=np.arange(60) // 20, n_permutations=19, random_state=0
    )
    np.testing.assert_array_equal([float(row[1]) for row in table("p.csv")[1]], found.statistic)
    with open("y.csv") as file:
        lines = file.readlines()
    with open("short.csv", "w") as file:
        file.writelines(lines[:-1])
    gone = lines[-1].split(";")[0]
    refused(f"the row '{gone}' of both.csv is not in short.csv", "fit", "both.csv", "short.csv", *options)
    refused("no names", "fit", "both.csv", "Y.npy", "--separator", ";", "--index", "who", "--drop", "sex")


def test_columns_that_are_dropped_must_be_somewhere(frames):
    options = ["--separator", ";", "--index", "who"]
    refused(
        "there is no column 'age' in both.csv, y.csv",
        "fit",
        "both.csv",
        "y.csv",
        *options,
        "--drop",
        "sex,age",
    )
    refused("expected one character", "fit", "both.csv", "y.csv", "--separator", ";;")
    refused("reads files as they are", "fit", "X.npy", "Y.npy", "--scheduler", "threads", "--index", "who")


def test_values_that_say_missing(views):
    X = views.X.copy()
    X[3, 1] = X[7, 0] = -999
    np.save("gaps.npy", X)
    np.savetxt("gaps.csv", X, "%.17g", ",")
    with pytest.warns(UserWarning, match="2 of 60 rows"):
        expected = CCA(missing="drop").fit(np.where(X == -999, np.nan, X), views.y)
    for gaps in ("gaps.npy", "gaps.csv"):
        code, _, err = run("fit", gaps, "Y.npy", "--missing", "drop", "--na", "-999", "-o", "m.safetensors")
        assert code == 0
        assert "2 of 60 rows" in err
        np.testing.assert_array_equal(fastcca.load("m.safetensors").x_weights_, expected.x_weights_)
    refused("NaN", "fit", "gaps.npy", "Y.npy", "--na", "-999")
