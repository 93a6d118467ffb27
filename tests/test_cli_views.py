"""The command line with more than two tables, other methods, and similarities: the numbers of Python."""

import numpy as np
import pytest

import fastcca
from command_line import run
from fastcca import GCCA, MCCA, MCCACV, KernelCCA, PLSRegression, SparseCCA
from fastcca.similarity import compare


@pytest.fixture
def files(rng, tmp_path):
    common = rng.normal(size=(80, 2))
    views = {
        name: common @ rng.normal(size=(2, d)) + rng.normal(size=(80, d))
        for name, d in (("a", 4), ("b", 3), ("c", 5))
    }
    for name, view in views.items():
        np.save(tmp_path / f"{name}.npy", view)
    np.savez(tmp_path / "all.npz", **views)
    return views, [tmp_path / f"{name}.npy" for name in views], tmp_path


def test_three_tables_are_mcca(files):
    views, paths, folder = files
    output = folder / "model.safetensors"
    code, out, err = run("fit", *paths, "-k", 2, "-o", output)
    assert (code, err) == (0, "")
    assert "4 in a, 3 in b, 5 in c" in out
    model, expected = fastcca.load(output), MCCA(2).fit(views)
    for name in views:
        np.testing.assert_array_equal(model.weights_[name], expected.weights_[name])
    shown = " ".join(f"{value:.4f}" for value in expected.canonical_correlations_)
    assert shown in out

    run("fit", *paths, "--method", "gcca", "--reg", 0.5, "-o", output)
    np.testing.assert_array_equal(fastcca.load(output).weights_["b"], GCCA(reg=0.5).fit(views).weights_["b"])
    code, out, _ = run(
        "fit", f"{folder}/all.npz:a", f"{folder}/all.npz:c", "--method", "mcca", "--cv", 4, "-o", output
    )
    assert code == 0
    search = MCCACV(cv=4).fit({name: views[name] for name in "ac"})
    assert f"{search.best_score_:.4f} cross-validated (4 folds)" in out


def test_pls_and_sparse(files):
    views, (a, b, _), folder = files
    output = folder / "model.safetensors"
    code, _, err = run("fit", a, b, "--method", "pls", "-o", output)
    assert (code, err) == (0, "")
    expected = PLSRegression(2).fit(views["a"], views["b"])
    np.testing.assert_array_equal(fastcca.load(output).coef_, expected.coef_)
    code, out, _ = run("fit", a, b, "--method", "pls", "--cv", 4, "-k", 4, "-o", output)
    assert "R²" in out
    code, _, _ = run("fit", a, b, "--method", "sparse", "--penalty", 0.7, "-o", output)
    assert code == 0
    expected = SparseCCA(1, 0.7).fit(views["a"], views["b"])
    np.testing.assert_array_equal(fastcca.load(output).x_weights_, expected.x_weights_)


def test_similarity(files):
    views, paths, folder = files
    output = folder / "s.npz"
    code, out, err = run("similarity", *paths, "--method", "debiased_cka", "--groups", 8, "-o", output)
    assert (code, err) == (0, "")
    expected = compare(views, "debiased_cka", groups=8)
    with np.load(output) as saved:
        np.testing.assert_allclose(saved["values"], expected.values, atol=1e-12)
        np.testing.assert_allclose(saved["low"], expected.low, atol=1e-12)
        assert saved["names"].tolist() == ["a", "b", "c"]
    assert f"{expected.values[0, 1]:.4f} [{expected.low[0, 1]:.4f}, {expected.high[0, 1]:.4f}]" in out


def test_transform_and_score_of_many_views(files, rng):
    views, paths, folder = files
    model = MCCA(2, reg=0.1).fit(views)
    saved, output = folder / "model.safetensors", folder / "z.npy"
    model.save(saved)
    for arguments, name in (
        ((paths[1],), "b"),  # by what the table is called
        ((f"{folder}/all.npz:c",), "c"),
        ((folder / "all.npz:c", "--view", "c"), "c"),
    ):
        code, out, err = run("transform", saved, *arguments, "-o", output)
        assert (code, err) == (0, "")
        assert "80 rows, 2 variates" in out
        np.testing.assert_allclose(np.load(output), model.transform_view(name, views[name]), atol=1e-12)
    new = {name: view[:30] + 0.1 * rng.normal(size=(30, view.shape[1])) for name, view in views.items()}
    for name, view in new.items():
        np.save(folder / f"{name}_new.npy", view)
    of_new = [folder / f"{name}_new.npy" for name in new]
    code, out, err = run("score", saved, *of_new)  # in the order of the fit
    assert (code, err) == (0, "")
    assert f"     mean  {model.score(new):11.6f}" in out
    pair = model.score({"a": new["a"], "c": new["c"]})
    assert f"a and c: mean {pair:.6f}" in out
    code, out, _ = run("score", saved, paths[2], paths[0])  # by name
    assert code == 0
    assert f"     mean  {model.score({name: views[name] for name in 'ac'}):11.6f}" in out
    assert "c and a: mean" not in out
    for arguments, message in (
        (("transform", saved, of_new[0], "-o", output), "has the views a, b, c"),
        (("transform", saved, paths[0], "--view", "x", "-o", output), "a, b, c, got --view x"),
        (("score", saved, *of_new[:2]), "'a_new' is no view of the model"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert message in err
        assert err.count("\n") == 1


def test_precomputed_kernels(files):
    views, _, folder = files
    for name, view in views.items():
        np.save(folder / f"K{name}.npy", view @ view.T)
    saved, output = folder / "model.safetensors", folder / "z.npy"
    options = ("--method", "kernel-cca", "--kernel", "precomputed", "--reg", 0.1, "-k", 2, "-o", saved)
    code, _, err = run("fit", folder / "Ka.npy", folder / "Kb.npy", *options)
    assert (code, err) == (0, "")
    a, b = views["a"] @ views["a"].T, views["b"] @ views["b"].T
    expected = KernelCCA(2, kernel="precomputed", reg=0.1).fit(a, b)
    code, _, err = run("transform", saved, folder / "Ka.npy", "-o", output)
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(np.load(output), expected.transform(a))
    code, out, _ = run("score", saved, folder / "Ka.npy", folder / "Kb.npy")
    assert f"     mean  {expected.score(a, b):11.6f}" in out
    code, _, err = run("fit", folder / "Ka.npy", folder / "c.npy", *options)
    assert code == 2
    assert "the precomputed kernel of y must be square" in err


def test_errors_are_one_line(files):
    _, (a, b, c), folder = files
    np.save(folder / "short.npy", np.ones((5, 2)))
    SparseCCA(1).fit(np.load(a), np.load(b)).save(folder / "two.safetensors")
    for arguments, message in (
        (("fit", a, b, c, "--method", "pls"), "--method pls takes two tables, got 3"),
        (("fit", a, b, "--penalty", 0.3), "--penalty is for --method sparse"),
        (("fit", a, b, "--method", "sparse", "--reg", 1), "are not for --method sparse"),
        (("fit", a, b, c, "--solver", "qr"), "--solver and --reg-y are for --method cca"),
        (("fit", a, b, a), "two views are called 'a'"),
        (("score", folder / "two.safetensors", a, b, c), "has two views, got 3 tables"),
        (("transform", folder / "two.safetensors", a, "--view", "z", "-o", folder / "z.npy"), "x and y, got"),
        (("similarity", a), "takes two tables or more, got 1"),
        (("similarity", a, folder / "short.npy"), "same rows, got 80 in a, 5 in short"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert message in err
        assert err.count("\n") == 1
