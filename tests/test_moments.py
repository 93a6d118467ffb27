"""Moments against extended precision, at awkward sizes and strides, merged, taken apart, weighted."""

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcca
from fastcca import Moments
from fastcca._arguments import arrays
from fastcca.functional import correlation_coefficients, hinge_embedding_loss, solve_moments
from reference import moments as reference

pytestmark = pytest.mark.core

# Around the widths of vectors, micro-tiles and panels, and across the change from row blocks to panels.
SIZES = [1, 2, 3, 5, 7, 8, 15, 16, 17, 23, 24, 25, 31, 33, 47, 48, 49, 95, 97]
Expected = tuple[float, npt.NDArray[Any], npt.NDArray[Any]]
TOLERANCE = {np.float64: 1e-14, np.float32: 1e-6}


def relative_error(got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Entrywise error of a scatter on the scale of its columns' deviations."""
    spread = np.sqrt(np.diag(expected).astype(float))
    scale = np.outer(spread, spread)
    error = np.abs(got - expected.astype(float))
    return float(np.max(np.divide(error, scale, out=error.copy(), where=scale > 0), initial=0.0))


def check(m: Moments, views: list[npt.NDArray[Any]], weights: npt.NDArray[Any] | None = None) -> None:
    check_against(m, views, reference.moments(views, weights))


def check_against(m: Moments, views: list[npt.NDArray[Any]], expected: Expected) -> None:
    n, mean, scatter = expected
    dtype = np.result_type(*views).type
    assert m.n == pytest.approx(n, rel=1e-15)
    assert m.dims == tuple(v.shape[1] for v in views)
    spread = np.sqrt(np.diag(scatter).astype(float) / n)
    assert np.all(
        np.abs(m.mean - mean.astype(float)) <= 1e-15 * np.abs(mean) + TOLERANCE[dtype] * spread + 1e-300
    )
    assert relative_error(m.scatter, scatter) < 20 * TOLERANCE[dtype]
    assert np.array_equal(m.scatter, m.scatter.T)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("p", SIZES)
def test_awkward_sizes(p: int, dtype: type) -> None:
    rng = np.random.default_rng(p)
    for n in (1, 2, 127, 129, 191, 193, 700):
        q = SIZES[(p + n) % len(SIZES)]
        X = (rng.standard_normal((n, p)) * 3 + 1).astype(dtype)
        Y = (rng.standard_normal((n, q)) - 2).astype(dtype)
        check(Moments().update(X, Y), [X, Y])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("columns", [(300, 340), (300, 341), (1, 700), (401, 500)])
def test_many_columns(columns: tuple[int, int], dtype: type) -> None:
    rng = np.random.default_rng(0)
    views = [rng.integers(-1000, 1000, (531, c)).astype(dtype) for c in columns]
    check_against(Moments().update(*views), views, reference.moments_of_integers(views))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_strides_are_read_in_place(dtype: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = rng.standard_normal((600, 80)).astype(dtype)
    np.save(tmp_path / "base.npy", base)
    read_only = base.copy()
    read_only.flags.writeable = False
    variants = [
        np.asfortranarray(base),
        np.repeat(base, 2, axis=1)[:, ::2],
        np.repeat(base, 2, axis=0)[::2],
        base[::-1, ::-1][::-1, ::-1],
        read_only,
        np.load(tmp_path / "base.npy", mmap_mode="r"),
        base.astype(base.dtype.newbyteorder()),
    ]
    expected = Moments().update(base, base[:, :3])
    for X in variants:
        got = Moments().update(X, X[:, :3])
        np.testing.assert_allclose(got.scatter, expected.scatter, rtol=0, atol=1e-12 * 600)
    check(Moments().update(base[::-2, ::-3], base[::2, 5::7]), [base[::-2, ::-3], base[::2, 5::7]])


def test_unaligned_and_integer_and_one_dimensional_input() -> None:
    record = np.zeros(50, dtype=[("tag", "u1"), ("x", "f8")])
    record["x"] = np.arange(50) ** 2
    m = Moments().update(record["x"], np.arange(50, dtype=np.int32))
    check(m, [(np.arange(50.0) ** 2)[:, None], np.arange(50.0)[:, None]])


def test_large_mean_costs_no_digits() -> None:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((5000, 4)) + 1e8
    Y = rng.standard_normal((5000, 3)) - 1e8
    m = Moments().update(X, Y)
    _, _, scatter = reference.moments([X, Y])
    assert relative_error(m.scatter, scatter) < 1e-13
    parts = Moments().update(X[:1234], Y[:1234]) + Moments().update(X[1234:], Y[1234:])
    assert relative_error(parts.scatter, scatter) < 1e-12


@pytest.mark.parametrize("threads", [2, 7])
@pytest.mark.parametrize(("n", "p"), [(1, 1), (3000, 37), (5000, 250), (1500, 400)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bitwise_equal_for_every_thread_count(n: int, p: int, threads: int, dtype: type) -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, p)).astype(dtype)
    Y = rng.standard_normal((n, p)).astype(dtype)
    w = rng.random(n)
    one = Moments().update(X, Y, sample_weight=w, n_threads=1)
    many = Moments().update(X, Y, sample_weight=w, n_threads=threads)
    assert np.array_equal(one.scatter, many.scatter)
    assert np.array_equal(one.offset, many.offset)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_any_partition_merges_to_the_whole(parts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = sum(parts)
    X = rng.standard_normal((n, 5)) * 10.0 ** rng.integers(-3, 4, 5) + 10.0 ** rng.integers(-3, 4, 5)
    Y = rng.standard_normal((n, 3))
    merged, updated, start = Moments(), Moments(), 0
    for count in parts:
        chunk = slice(start, start + count)
        merged = merged + Moments().update(X[chunk], Y[chunk])
        updated.update(X[chunk], Y[chunk])
        start += count
    whole = Moments().update(X, Y)
    for m in (merged, updated):
        assert m.n == n
        if n:
            assert relative_error(m.scatter, whole.scatter) < 1e-12
            np.testing.assert_allclose(m.mean, whole.mean, rtol=1e-12, atol=1e-12 * np.abs(whole.mean).max())


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_weights_are_repetitions(n: int, p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, p)), rng.standard_normal((n, 2))
    w = rng.integers(0, 4, n)
    w[0] = 1
    weighted = Moments().update(X, Y, sample_weight=w)
    repeated = Moments().update(np.repeat(X, w, axis=0), np.repeat(Y, w, axis=0))
    assert weighted.n == repeated.n
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=0, atol=1e-13)
    np.testing.assert_allclose(weighted.scatter, repeated.scatter, rtol=0, atol=1e-12 * w.sum())
    check(Moments().update(X, Y, sample_weight=w + 0.5), [X, Y], w + 0.5)


def test_taking_rows_out_again() -> None:
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((900, 6)) + 100, rng.standard_normal((900, 5))
    X[300:, 2] = 7.0  # constant in what stays
    total, part = Moments().update(X, Y), Moments().update(X[:300], Y[:300])
    rest = total - part
    expected = Moments().update(X[300:], Y[300:])
    assert rest.n == 600
    np.testing.assert_allclose(rest.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(rest.scatter, expected.scatter, rtol=0, atol=1e-10)
    assert np.all(rest.scatter[2] == 0)
    nothing = total - total
    assert nothing.n == 0
    assert np.all(nothing.scatter == 0)
    with pytest.raises(ValueError, match="cannot take n = 900 out of n = 300"):
        _ = part - total
    with pytest.raises(ValueError, match="not among those to be reduced: column 0"):
        _ = total - Moments().update(9 * X[:300], Y[:300])


def test_weights_of_any_size() -> None:
    rng = np.random.default_rng(8)
    X, w = rng.standard_normal((60, 3)), 1 + rng.random(60)
    expected = Moments().update(X, sample_weight=w)
    for size in (2.0**-600, 2.0**600):
        m = Moments().update(X[:20], sample_weight=size * w[:20])
        m += Moments().update(X[20:], sample_weight=size * w[20:])
        np.testing.assert_allclose(m.scatter / size, expected.scatter, rtol=1e-13, atol=1e-13)


def test_constant_columns_have_exactly_no_scatter() -> None:
    X = np.full((1000, 3), 0.1)
    m = Moments().update(X[:400], X[:400]) + Moments().update(X[400:], X[400:])
    assert np.all(m.scatter == 0)
    assert np.array_equal(m.mean, np.full(6, 0.1))


def test_pickle_and_views_and_covariance() -> None:
    rng = np.random.default_rng(5)
    views = [rng.standard_normal((40, c)) for c in (2, 3, 1)]
    m = Moments().update(*views)
    again = pickle.loads(pickle.dumps(m))
    assert (again.n, again.dims) == (m.n, m.dims)
    assert np.array_equal(again.scatter, m.scatter)
    assert np.array_equal(again.eps, m.eps)
    assert m.slices == (slice(0, 2), slice(2, 5), slice(5, 6))
    np.testing.assert_allclose(m.covariance(0, 1), np.cov(views[0].T, views[1].T)[:2, 2:], atol=1e-14)
    mixed = Moments().update(views[0].astype(np.float32), views[2])
    assert mixed.eps.tolist() == [np.finfo(np.float32).eps] * 2 + [np.finfo(np.float64).eps]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [20, 700])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_the_first_bad_value_is_named(
    value: float, word: str, columns: int, weighted: bool, order: str, dtype: type
) -> None:
    X = np.ones((900, 3), dtype)
    Y = np.array(np.ones((900, columns)), dtype=dtype, order="F" if order == "F" else "C")
    Y[417, columns - 2] = value
    Y[880, 1] = value
    with pytest.raises(
        ValueError, match=f"Input y contains {word}: the first is at row 417, column {columns - 2}$"
    ):
        Moments().update(X, Y, sample_weight=np.zeros(900) if weighted else None)


def test_bad_input_is_refused() -> None:
    X = np.ones((4, 2))
    with pytest.raises(ValueError, match="X and y must have the same number of rows, got 4 and 3"):
        Moments().update(X, X[:3])
    with pytest.raises(ValueError, match=r"the views have \(2, 1\) columns, but earlier rows had \(2, 2\)"):
        Moments().update(X, X).update(X, X[:, :1])
    with pytest.raises(ValueError, match="X: Complex data not supported"):
        Moments().update(X + 1j, X)
    with pytest.raises(ValueError, match="y must hold numbers"):
        Moments().update(X, np.array([["a", "b"]] * 4))
    with pytest.raises(ValueError, match="X: Expected 2D array, got 3D"):
        Moments().update(X[None], X)
    with pytest.raises(ValueError, match="sample_weight must not be negative, got a smallest value of -1"):
        Moments().update(X, X, sample_weight=[1, 1, 1, -1])
    with pytest.raises(ValueError, match="sample_weight"):
        Moments().update(X, X, sample_weight=[1, 1, np.nan, 1])
    with pytest.raises(ValueError, match="sample_weight"):
        Moments().update(X, X, sample_weight=[1, 1, 1])
    with pytest.raises(ValueError, match="at least one view"):
        Moments().update()
    with pytest.raises(ValueError, match="more than 1 sample"):
        Moments().update(X[:1], X[:1]).covariance(0, 0)
    with pytest.raises(ValueError, match="do not add up"):
        _ = Moments().update(X, X) + Moments().update(X, X[:, :1])


@pytest.mark.parametrize("far", [1e160, 1e308])
def test_merging_moments_far_apart_is_refused(far: float) -> None:
    x = np.array([[1.0], [2.0]])
    first, second = Moments().update(x - far), Moments().update(x + far)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(fastcca.NumericalError, match="merged moments overflow"):
            first + second
        with pytest.raises(fastcca.NumericalError, match="overflow"):
            first.update(x + far)
    assert first.n == 2


def test_overflow_is_an_error_not_an_infinity() -> None:
    X = np.array([[1e200], [-1e200], [3e199]])
    with pytest.raises(fastcca.NumericalError, match="overflow"):
        Moments().update(X, X)


def test_object_arrays_that_hold_numbers() -> None:
    X = np.array([[1, 2.5], [3, 4], [5, 7]], dtype=object)
    check(Moments().update(X, X[:, :1]), [X.astype(float), X[:, :1].astype(float)])


def test_views_of_different_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    X = rng.standard_normal((3000, 20)).astype(np.float32)
    Y = rng.standard_normal((3000, 1))
    expected = Moments().update(X.astype(float), Y)
    at_once = Moments().update(X, Y)
    monkeypatch.setattr("fastcca.functional.moments._CONVERTED_BYTES", 0)
    in_chunks = Moments().update(X, Y)
    assert np.array_equal(at_once.scatter, expected.scatter)
    np.testing.assert_allclose(in_chunks.scatter, expected.scatter, rtol=0, atol=1e-10)
    assert in_chunks.eps.tolist() == 20 * [np.finfo(np.float32).eps] + [np.finfo(np.float64).eps]
    X[2500, 3] = np.nan
    with pytest.raises(ValueError, match="first is at row 2500, column 3"):
        Moments().update(X, Y)


def test_a_refused_update_changes_nothing() -> None:
    X = np.arange(12.0).reshape(6, 2)
    m = Moments().update(X, X)
    before = m.copy()
    bad = X.copy()
    bad[3, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        m.update(bad, X)
    assert m.n == before.n
    assert np.array_equal(m.scatter, before.scatter)


def test_scaled_columns_and_constant_columns() -> None:
    rng = np.random.default_rng(7)
    X, Y = rng.standard_normal((50, 3)) + 1e8, rng.standard_normal((50, 2))
    X[:, 1] = 0.1
    factors = np.array([2.0, 3.0, 0.5, 1e-3, 10.0])
    m = Moments().update(X, Y)
    scaled, expected = m.scaled(factors), Moments().update(X * factors[:3], Y * factors[3:])
    assert relative_error(scaled.scatter, expected.scatter) < 1e-12
    np.testing.assert_allclose(scaled.mean, expected.mean, rtol=1e-15)
    assert m.constant.tolist() == [False, True, False, False, False]
    noise = np.full((50, 1), 1e8)
    noise[::2] += 3e-8  # two neighbouring doubles: nothing but rounding
    assert Moments().update(noise, Y).constant.tolist() == [True, False, False]
    with pytest.raises(ValueError, match=r"factors must have shape \(5,\), got \(2,\)"):
        m.scaled([1.0, 2.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [3, 700])  # row blocks, panels
def test_rows_without_weight_may_hold_anything(dtype: Any, columns: int) -> None:
    rng = np.random.default_rng(40)
    X = rng.normal(size=(300, columns)).astype(dtype)
    w = np.ones(300)
    w[::7] = 0
    expected = Moments().update(X[w > 0]).scatter
    X[::7] = 1e12
    m = Moments().update(X, sample_weight=w)
    assert relative_error(m.scatter, expected) < (1e-6 if dtype == np.float32 else 1e-13)
    tiny = np.where(w > 0, w, 1e-40)  # almost without
    assert relative_error(Moments().update(X, sample_weight=tiny).scatter, expected) < (
        1e-6 if dtype == np.float32 else 1e-13
    )


# ---- nonsense ------------------------------------------------------------------------------------------

NONSENSE = [
    ("dims", (9, 9)),
    ("dims", (2,)),
    ("dims", (-1, 6)),
    ("dims", (2.5, 2.5)),
    ("dims", 5),
    ("dims", None),
    ("n", -1.0),
    ("n", np.nan),
    ("n", np.inf),
    ("n", "many"),
    ("n", None),
    ("shift", np.zeros(4)),
    ("shift", np.zeros((5, 1))),
    ("offset", np.zeros(6)),
    ("offset", None),
    ("offset", np.array(["a"] * 5)),
    ("scatter", np.zeros((4, 4))),
    ("scatter", np.zeros(25)),
    ("scatter", np.zeros((5, 5), dtype=complex)),
    ("eps", np.zeros(1)),
    ("eps", 2.0**-52),
]


def some_moments():
    rng = np.random.default_rng(0)
    return Moments().update(rng.normal(size=(20, 2)), rng.normal(size=(20, 3)))


@pytest.mark.parametrize(("name", "value"), NONSENSE)
def test_attributes_take_no_nonsense(name, value):
    m = some_moments()
    before = {slot: getattr(m, slot) for slot in Moments.__slots__}
    with pytest.raises(ValueError, match=name):
        setattr(m, name, value)
    for slot, part in before.items():
        assert getattr(m, slot) is part
    with pytest.raises(AttributeError, match="no attribute 'variance'"):
        m.variance = 3


def test_attributes_take_what_fits():
    m = some_moments()
    m.scatter = np.asfortranarray(m.scatter.astype(np.float32))
    assert m.scatter.dtype == np.float64
    m.dims = (3, 2)
    assert m.slices == (slice(0, 3), slice(3, 5))
    m.n = 7
    assert m.covariance(0, 1).shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *NONSENSE,
        ("shift", np.full(5, np.nan)),
        ("scatter", np.full((5, 5), np.inf)),
        ("scatter", -np.eye(5)),
        ("eps", np.full(5, -1.0)),
    ],
)
def test_pickles_and_copies_of_nonsense_are_refused(name, value):
    state = some_moments().__getstate__() | {name: value}
    with pytest.raises(ValueError, match=r"moments"):
        Moments.__new__(Moments).__setstate__(state)
    with pytest.raises(ValueError, match=r"moments"):
        Moments.__new__(Moments).__setstate__((None, state))


@pytest.mark.parametrize("state", [None, 3, {}, {"n": 1.0}, (None, None), ["n"]])
def test_pickles_that_lack_parts_are_refused(state):
    with pytest.raises(
        ValueError, match="moments must consist of dims, eps, n, offset, rounding, scatter, shift"
    ):
        Moments.__new__(Moments).__setstate__(state)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_pickles(protocol):
    m = some_moments()
    for again in (pickle.loads(pickle.dumps(m, protocol)), copy.copy(m), copy.deepcopy(m)):
        assert (again.n, again.dims) == (m.n, m.dims)
        np.testing.assert_array_equal(again.scatter, m.scatter)


def test_an_array_changed_in_place_cannot_make_the_core_read_beyond_it():
    for part, shape in (("shift", 2), ("scatter", (2, 2)), ("eps", 3)):
        m = some_moments()
        setattr(m, part, getattr(m, part).copy())
        getattr(m, part).resize(shape, refcheck=False)
        for use in (solve_moments, correlation_coefficients):
            if part == "eps" and use is correlation_coefficients:
                continue  # of which it takes the largest alone
            with pytest.raises(ValueError):
                use(m)


@pytest.mark.parametrize("view", [2, -3, 2**70, 1.5, "0", None])
def test_covariances_of_views_that_there_are(view):
    m = some_moments()
    np.testing.assert_array_equal(m.covariance(-1, 0), m.covariance(1, 0))
    for pair in ((view, 0), (0, view)):
        with pytest.raises(ValueError, match="there are 2 views, counted from 0, got view"):
            m.covariance(*pair)


def test_arrays_at_odd_addresses_are_copied() -> None:
    rng = np.random.default_rng(0)

    # contiguous, so that ascontiguousarray returns them as they are; the core would read misaligned numbers
    def misaligned(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        raw = np.zeros(a.nbytes + 1, dtype=np.uint8)
        out = raw[1:].view(a.dtype).reshape(a.shape)
        out[...] = a
        assert not out.flags.aligned
        return out

    X, w = rng.normal(size=(9, 4)), rng.uniform(0.5, 2, size=9)
    for view in (misaligned(X), misaligned(X).T, misaligned(X)[:, ::2], misaligned(X.astype(np.float32))):
        read = arrays.as_matrix("X", view)
        assert read.flags.aligned
        np.testing.assert_array_equal(read, view)
    weights = arrays.as_weights(misaligned(w), 9)
    assert weights.flags.aligned
    np.testing.assert_array_equal(weights, w)
    labels = misaligned(np.arange(9) % 3)
    assert arrays.contiguous(labels, np.int64).flags.aligned
    found = hinge_embedding_loss(misaligned(X), misaligned(X[:3]), labels)
    expected = hinge_embedding_loss(X, X[:3], np.arange(9) % 3)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
