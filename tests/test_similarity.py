"""Similarities of representations, against n × n kernels and orthogonal factors of the rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.linalg

from fastcca import Moments, NumericalError, similarity
from fastcca.similarity import (
    Activations,
    compare,
    linear_cka,
    mean_cca,
    procrustes,
    pwcca,
    rv_coefficient,
    svcca,
)
from reference import similarity as reference

pytestmark = pytest.mark.core


@pytest.fixture
def pair(rng):
    X = rng.normal(size=(60, 7)) * np.arange(1, 8) + 5.0
    return X, X[:, :3] @ rng.normal(size=(3, 4)) + rng.normal(size=(60, 4)) - 20.0


@pytest.fixture
def layers(rng, pair):
    X, Y = pair
    return {"x": X, "y": Y, "z": rng.normal(size=(60, 5)) + X[:, :1]}


def direct(method, X, Y):
    if method == "cka":
        return reference.cka(X, Y)
    if method == "debiased_cka":
        return reference.debiased_cka(X, Y)
    if method == "mean_cca":
        return reference.correlations(X, Y)[0].mean()
    if method == "svcca":
        return reference.correlations(reference.leading(X, 0.99), reference.leading(Y, 0.99))[0].mean()
    if method == "pwcca":
        return reference.pwcca(X, Y)
    A, B = (reference.centred(M) / np.linalg.norm(reference.centred(M)) for M in (X, Y))
    width = max(A.shape[1], B.shape[1])
    A, B = (np.pad(M, ((0, 0), (0, width - M.shape[1]))) for M in (A, B))
    return np.linalg.norm(A @ scipy.linalg.orthogonal_procrustes(A, B)[0] - B) ** 2


FUNCTIONS = {
    "cka": linear_cka,
    "debiased_cka": lambda X, Y: linear_cka(X, Y, debiased=True),
    "mean_cca": mean_cca,
    "svcca": svcca,
    "pwcca": pwcca,
    "procrustes": procrustes,
}


@pytest.mark.parametrize("method", FUNCTIONS)
def test_each_is_its_definition(pair, method):
    X, Y = pair
    for a, b in ((X, Y), (Y, X)):
        assert FUNCTIONS[method](a, b) == pytest.approx(direct(method, a, b), abs=1e-11)
        if method != "debiased_cka":
            moments = Moments().update(a, b)
            assert FUNCTIONS[method](moments, None) == pytest.approx(direct(method, a, b), abs=1e-11)


@pytest.mark.parametrize("method", FUNCTIONS)
def test_all_pairs_from_one_pass(layers, method):
    found = compare(layers, method)
    assert found.names == ("x", "y", "z")
    assert found.low is None
    expected = [[direct(method, a, b) for b in layers.values()] for a in layers.values()]
    np.testing.assert_allclose(found.values, expected, atol=1e-11)
    np.testing.assert_array_equal(found.between(["z"], ["x", "y"]), found.values[2:, :2])
    for n_threads in (1, 2, 7):
        np.testing.assert_array_equal(compare(layers, method, n_threads=n_threads).values, found.values)


@pytest.mark.parametrize("method", FUNCTIONS)
def test_streams_merge_and_give_jackknife_intervals(layers, method):
    activations, other = Activations(groups=4), Activations(groups=4)
    for i in range(8):  # batches in turn to groups, some of them on another machine
        rows = slice(i * 7, (i + 1) * 7 if i < 7 else 60)
        (activations if i < 4 else other).update({name: a[rows] for name, a in layers.items()})
    both = activations + other
    assert both.n == 60
    whole = compare(layers, method)
    np.testing.assert_allclose(compare(both, method).values, whole.values, atol=1e-11)

    found = compare(layers, method, groups=5, confidence=0.9)
    np.testing.assert_allclose(found.values, whole.values, atol=1e-11)
    groups = np.array_split(np.arange(60), 5)
    left_out = np.array(
        [
            [
                [direct(method, np.delete(a, g, axis=0), np.delete(b, g, axis=0)) for b in layers.values()]
                for a in layers.values()
            ]
            for g in groups
        ]
    )
    error = np.sqrt(4 / 5 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.standard_error, error, atol=1e-10)
    np.testing.assert_allclose(found.high - found.values, 2.131846786 * error, atol=1e-9)
    np.testing.assert_allclose(found.values - found.low, 2.131846786 * error, atol=1e-9)


def test_batches_of_any_size_and_type_are_the_whole(layers):
    """Also between copies, and where float32 comes among float64."""
    mixed = {name: a.astype(np.float32).astype(np.float64) for name, a in layers.items()}
    whole = Moments().update(*mixed.values())
    for method in ("cka", "debiased_cka"):
        activations = Activations()
        for i, rows in enumerate((slice(2), slice(2, 3), slice(3, 40), slice(40, 60))):
            kind = np.float32 if i == 2 else np.float64
            activations.update({name: a[rows].astype(kind) for name, a in mixed.items()})
            if i == 1:
                activations = pickle.loads(pickle.dumps(activations))
        assert activations.n == 60
        np.testing.assert_allclose(
            compare(activations, method).values, compare(mixed, method).values, atol=1e-6
        )
    np.testing.assert_allclose(activations.moments.mean, whole.mean, rtol=1e-7)
    np.testing.assert_allclose(
        activations.moments.scatter, whole.scatter, atol=1e-4 * np.abs(whole.scatter).max()
    )
    assert activations.moments.eps.max() == np.finfo(np.float32).eps
    for n_threads in (1, 2, 7):
        again = Activations(n_threads=n_threads)
        for start in range(0, 60, 13):
            again.update({name: a[start : start + 13] for name, a in layers.items()})
        if n_threads == 1:
            first = again.moments
            np.testing.assert_allclose(first.scatter, Moments().update(*layers.values()).scatter, rtol=1e-12)
        np.testing.assert_array_equal(again.moments.scatter, first.scatter)
    before = again.moments
    with pytest.raises(ValueError, match="'x'"):
        again.update({**layers, "x": np.full((60, 7), np.nan)})
    np.testing.assert_array_equal(again.moments.scatter, before.scatter)


def test_moments_serve_all_but_the_debiased(layers):
    moments = Moments().update(*layers.values())
    for method in FUNCTIONS:
        if method == "debiased_cka":
            with pytest.raises(ValueError, match=r"takes the rows, or Activations\(debiased=True\)"):
                compare(moments, method)
            continue
        found = compare(moments, method, names=["x", "y", "z"])
        np.testing.assert_allclose(found.values, compare(layers, method).values, atol=1e-12)


def test_debiased_is_zero_on_average_where_the_plain_one_is_not(rng):
    values = [
        [linear_cka(X, Y), linear_cka(X, Y, debiased=True)]
        for X, Y in ((rng.normal(size=(30, 40)), rng.normal(size=(30, 40))) for _ in range(200))
    ]
    plain, debiased = np.mean(values, axis=0)
    assert plain > 0.5
    assert abs(debiased) < 0.02


def test_options_and_equals(pair):
    X, Y = pair
    assert rv_coefficient(X, Y) == linear_cka(X, Y)
    A, B = reference.centred(X), reference.centred(Y)
    B = np.pad(B, ((0, 0), (0, 3)))
    raw = np.linalg.norm(A @ scipy.linalg.orthogonal_procrustes(A, B)[0] - B) ** 2 / 59
    assert procrustes(X, Y, normalize=False) == pytest.approx(raw, rel=1e-11)
    few = svcca(X, Y, variance=0.6)
    assert few == pytest.approx(
        reference.correlations(reference.leading(X, 0.6), reference.leading(Y, 0.6))[0].mean(), abs=1e-11
    )
    assert mean_cca(np.column_stack([X, X[:, 0], np.ones(60)]), Y) == pytest.approx(mean_cca(X, Y), abs=1e-9)
    single = [a.astype(np.float32) for a in pair]
    assert linear_cka(*single) == pytest.approx(linear_cka(X, Y), abs=1e-6)
    assert linear_cka(pd.DataFrame(X), pd.DataFrame(Y)) == linear_cka(X, Y)


def test_large_means_cost_no_digits(rng):
    X = rng.normal(size=(50, 4))
    Y = X[:, :2] + rng.normal(size=(50, 2))
    assert linear_cka(X + 1e6, Y - 1e6, debiased=True) == pytest.approx(
        reference.debiased_cka(X, Y), abs=1e-8
    )


def test_bad_input(pair, layers):
    X, Y = pair
    with pytest.raises(ValueError, match="y must be an array of the same rows"):
        linear_cka(X)
    with pytest.raises(ValueError, match="same number of rows, got 60 in 'X', 59 in 'y'"):
        mean_cca(X, Y[1:])
    with pytest.raises(NumericalError, match="every column of"):
        linear_cka(X, np.ones((60, 2)))
    with pytest.raises(ValueError, match="at least 4 rows, got 3"):
        linear_cka(X[:3], Y[:3], debiased=True)
    with pytest.raises(ValueError, match="contains NaN"):
        linear_cka(np.where(X[2, 2] == X, np.nan, X), Y)
    with pytest.raises(ValueError, match=r"variance must be in \(0, 1\], got 0"):
        svcca(X, Y, variance=0)
    with pytest.raises(ValueError, match="moments must be of two views, and alone, got 1"):
        linear_cka(Moments().update(X))
    with pytest.raises(ValueError, match="method must be one of 'cka'"):
        compare(layers, "rsa")
    with pytest.raises(ValueError, match="two layers or more, got 1"):
        compare({"x": X})
    with pytest.raises(ValueError, match="two layers or more, got 1"):
        compare(Moments().update(X))
    with pytest.raises(ValueError, match="none twice"):
        compare(Moments().update(X, Y), names=["a", "a"])
    with pytest.raises(ValueError, match="groups must be 0 or at least 2, got 1"):
        compare(layers, groups=1)
    with pytest.raises(ValueError, match="groups=61 is more than the 60 rows"):
        compare(layers, groups=61)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        compare(layers, groups=3, confidence=1.0)
    with pytest.raises(ValueError, match="call update first"):
        compare(Activations())
    activations = Activations().update(layers)
    with pytest.raises(ValueError, match="layer 'z' is missing from this batch"):
        activations.update({"x": X, "y": Y})
    with pytest.raises(ValueError, match="unknown modality 'w'"):
        activations.update({**layers, "w": X})
    with pytest.raises(ValueError, match="x has 6 features, but"):
        activations.update({**layers, "x": X[:, :6]})
    with pytest.raises(ValueError, match="do not add up"):
        activations + Activations().update({"x": X, "y": Y})
    with pytest.raises(ValueError, match="there is no layer 'w'"):
        compare(layers).between(["w"], ["x"])
    with pytest.raises(ValueError, match="intervals take at least 2 groups"):
        compare(Activations(groups=3).update(layers))
    assert activations.n == 60


def test_heat_map(layers):
    plt = pytest.importorskip("matplotlib.pyplot")
    from fastcca.plotting import SimilarityDisplay

    found = compare(layers)
    display = SimilarityDisplay.from_matrix(found, rows=["x", "y"]).plot()
    np.testing.assert_array_equal(np.asarray(display.image_.get_array()), found.values[:2])
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["x", "y"]
    assert len(display.ax_.texts) == 6
    assert display.ax_.texts[1].get_text() == f"{found.values[0, 1]:.2f}"
    with pytest.raises(ValueError, match=r"values must have shape \(2, 2\)"):
        SimilarityDisplay([[1.0]], ["a", "b"])
    plt.close("all")


def test_every_public_name_is_there():
    assert set(similarity.__all__) <= set(dir(similarity))


def test_layers_whose_squares_overflow_are_refused(rng):
    x = rng.standard_normal((30, 3))
    small = compare({"a": 1e70 * x, "b": 1e70 * x[:, :2]}, method="cka").values
    np.testing.assert_allclose(small, compare({"a": x, "b": x[:, :2]}, method="cka").values, rtol=1e-12)
    with pytest.raises(NumericalError, match="scale the layers down"):
        compare({"a": 1e80 * x, "b": x[:, :2]}, method="cka")
