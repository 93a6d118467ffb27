"""Kernel CCA against dense references, and everything that may be asked of it."""

import pickle
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import RBF

import fastcca
from fastcca import CCA, KernelCCA
from fastcca.cca import kernel as kernel_module
from fastcca.errors import NumericalError
from fastcca.functional import incomplete_cholesky, median_gamma
from reference import kernels as ref

Array = NDArray[Any]


@pytest.fixture
def views(rng: np.random.Generator) -> tuple[Array, Array]:
    """150 pairs of rows with a common, bent part."""
    t = rng.normal(size=(150, 2))
    X = np.hstack([t, rng.normal(size=(150, 3))]) + 0.1 * rng.normal(size=(150, 5))
    return X, np.hstack([t**2, rng.normal(size=(150, 2))]) + 0.1 * rng.normal(size=(150, 4))


def same_up_to_sign(got: Array, want: Array, atol: float) -> None:
    np.testing.assert_allclose(got * np.sign(np.sum(got * want, axis=0)), want, atol=atol)


# Against the dense reference


@pytest.mark.parametrize("road", ["moments", "dual"])
@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
@pytest.mark.parametrize("reg", [(1e-3, 1e-3), (1e-1, 1e-2)])
def test_full_rank_is_dense_kernel_cca(
    road: str, penalty: str, reg: Any, views: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = views
    if road == "dual":
        monkeypatch.setattr(kernel_module, "DUAL_ROWS", range(2, 1000))
    model = KernelCCA(4, gamma=(0.1, 0.2), reg=reg, penalty=penalty, tol=0).fit(X, Y)
    d, zx, zy = ref.dense_kcca(ref.kernel(X, X, "rbf", 0.1), ref.kernel(Y, Y, "rbf", 0.2), 4, reg, penalty)
    assert model.x_rank_ == model.y_rank_ == 150
    assert (model.x_landmark_indices_.tolist() == list(range(150))) == (road == "dual")
    np.testing.assert_allclose(model.singular_values_, d, atol=1e-8)
    got_x, got_y = model.transform_views(X, Y)
    same_up_to_sign(got_x, zx, 1e-8)
    same_up_to_sign(got_y, zy, 1e-8)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)]
    np.testing.assert_allclose(model.canonical_correlations_, expected, atol=1e-8)
    assert model.x_residual_ < 1e-12
    # the sign rule
    largest = np.abs(model.x_weights_).argmax(axis=0)
    assert np.all(model.x_weights_[largest, range(4)] > 0)


@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
def test_both_roads_agree_on_everything(penalty: str, views: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = views
    model = KernelCCA(3, reg=1e-2, penalty=penalty, tol=0)
    moments = model.fit(X, Y)
    state = dict(vars(moments))
    monkeypatch.setattr(kernel_module, "DUAL_ROWS", range(2, 1000))
    dual = KernelCCA(3, reg=1e-2, penalty=penalty, tol=0).fit(X, Y)
    assert dual.x_landmark_indices_.tolist() == list(range(150))
    assert set(vars(dual)) | {"_sums"} == set(state)
    for name in (
        "x_loadings_",
        "y_loadings_",
        "x_cross_loadings_",
        "y_cross_loadings_",
        "x_mean_",
        "y_mean_",
    ):
        np.testing.assert_allclose(getattr(dual, name), state[name], atol=1e-7)
    np.testing.assert_allclose(dual.predict(X), moments.predict(X), atol=1e-7)
    np.testing.assert_allclose(dual.predict_x(Y), moments.predict_x(Y), atol=1e-7)
    order = np.argsort(moments.x_landmark_indices_)
    np.testing.assert_allclose(dual.x_weights_, moments.x_weights_[order], atol=1e-6)


def test_the_dual_road_leaves_copies_to_the_other(views: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = (np.vstack([view, view[:20]]) for view in views)
    monkeypatch.setattr(kernel_module, "DUAL_ROWS", range(2, 1000))
    model = KernelCCA(2, tol=0).fit(X, Y)
    assert model.x_rank_ == model.y_rank_ == 150


def test_linear_kernel_is_ridge_cca(views: Any) -> None:
    X, Y = views
    model = KernelCCA(3, kernel="linear", reg=(0.1, 0.3)).fit(X, Y)
    linear = CCA(3, reg=(0.1, 0.3)).fit(X, Y)
    assert (model.x_rank_, model.y_rank_) == (5, 4)
    np.testing.assert_allclose(model.singular_values_, linear.singular_values_, atol=1e-10)
    np.testing.assert_allclose(model.canonical_correlations_, linear.canonical_correlations_, atol=1e-10)
    same_up_to_sign(model.transform(X), linear.transform(X), 1e-8)
    same_up_to_sign(model.x_loadings_, linear.x_loadings_, 1e-8)
    np.testing.assert_allclose(model.predict(X), linear.predict(X), atol=1e-8)
    np.testing.assert_allclose(model.predict_x(Y), linear.predict_x(Y), atol=1e-8)
    np.testing.assert_allclose(
        model.inverse_transform(model.transform(X)), linear.inverse_transform(linear.transform(X)), atol=1e-8
    )


def test_low_rank_is_cca_of_the_features(views: Any) -> None:
    X, Y = views
    model = KernelCCA(3, gamma=0.3, reg=1e-3, rank=20).fit(X, Y)
    gx, px, tx = incomplete_cholesky(X, gamma=0.3, rank=20)
    gy, py, _ = incomplete_cholesky(Y, gamma=0.3, rank=20)
    linear = CCA(3, reg=1e-3).fit(gx, gy)
    np.testing.assert_array_equal(model.x_landmark_indices_, px)
    np.testing.assert_array_equal(model.x_landmarks_, X[px])
    np.testing.assert_array_equal(model.y_landmarks_, Y[py])
    assert model.x_residual_ == pytest.approx(tx[-1] / 150)
    np.testing.assert_allclose(model.singular_values_, linear.singular_values_, atol=1e-9)
    same_up_to_sign(model.transform(X), linear.transform(gx), 1e-7)
    same_up_to_sign(model.transform_y(Y), linear.transform_y(gy), 1e-7)
    np.testing.assert_allclose(model.predict_x(Y), _regression(model.transform_y(Y), X), atol=1e-7)


def _regression(Z: Array, X: Array) -> Array:
    Z, centred = Z - Z.mean(axis=0), X - X.mean(axis=0)
    return X.mean(axis=0) + Z @ np.linalg.lstsq(Z, centred, rcond=None)[0]


def test_scores_and_loadings_are_what_they_say(views: Any) -> None:
    X, Y = views
    model = KernelCCA(3, reg=1e-2, rank=40).fit(X, Y)
    zx, zy = model.transform_views(X, Y)
    np.testing.assert_allclose(zx.mean(axis=0), 0, atol=1e-9)
    correlations = np.corrcoef(np.hstack([zx, zy, X, Y]).T)
    np.testing.assert_allclose(correlations[:3, 3:6].diagonal(), model.canonical_correlations_, atol=1e-9)
    np.testing.assert_allclose(correlations[6:11, :3], model.x_loadings_, atol=1e-9)
    np.testing.assert_allclose(correlations[6:11, 3:6], model.x_cross_loadings_, atol=1e-9)
    np.testing.assert_allclose(correlations[11:, 3:6], model.y_loadings_, atol=1e-9)
    np.testing.assert_allclose(correlations[11:, :3], model.y_cross_loadings_, atol=1e-9)
    np.testing.assert_allclose(model.x_mean_, X.mean(axis=0))
    assert model.score(X, Y) == pytest.approx(model.canonical_correlations_.mean(), abs=1e-9)
    assert model.total_correlation_ == pytest.approx(model.singular_values_.sum())


# Invariants


def test_weights_are_repetitions(views: Any, rng: np.random.Generator) -> None:
    X, Y = views[0][:40], views[1][:40]
    weights = rng.integers(0, 4, size=40)
    a = KernelCCA(3, reg=1e-2, tol=0).fit(X, Y, sample_weight=weights)
    b = KernelCCA(3, reg=1e-2, tol=0).fit(np.repeat(X, weights, axis=0), np.repeat(Y, weights, axis=0))
    assert a.x_gamma_ == pytest.approx(b.x_gamma_, rel=1e-12)
    assert a.x_rank_ == b.x_rank_ == np.count_nonzero(weights)
    np.testing.assert_allclose(a.singular_values_, b.singular_values_, atol=1e-8)
    np.testing.assert_allclose(a.transform(X), b.transform(X), atol=1e-6)
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-6)
    c = KernelCCA(2, reg=1e-2, penalty="bach-jordan").fit(X, Y, sample_weight=weights)
    d = KernelCCA(2, reg=1e-2, penalty="bach-jordan").fit(
        np.repeat(X, weights, axis=0), np.repeat(Y, weights, axis=0)
    )
    np.testing.assert_allclose(c.singular_values_, d.singular_values_, atol=1e-8)


def test_views_may_change_places(views: Any) -> None:
    X, Y = views
    a, b = (
        KernelCCA(3, reg=(1e-2, 1e-3), rank=50).fit(X, Y),
        KernelCCA(3, reg=(1e-3, 1e-2), rank=50).fit(Y, X),
    )
    np.testing.assert_allclose(a.singular_values_, b.singular_values_, atol=1e-9)
    same_up_to_sign(a.transform(X), b.transform_y(X), 1e-7)


def test_moves_and_turns_change_nothing(views: Any, rng: np.random.Generator) -> None:
    X, Y = views
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    a, b = KernelCCA(3, rank=50).fit(X, Y), KernelCCA(3, rank=50).fit(X @ turn + 1000, Y)
    np.testing.assert_allclose(a.singular_values_, b.singular_values_, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
@pytest.mark.parametrize("road", ["moments", "dual"])
def test_threads_give_the_same_bits(
    dtype: Any, pivoting: Any, road: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = rng.normal(size=(700, 4)).astype(dtype)
    Y = (X[:, :2] ** 2 + rng.normal(size=(700, 2))).astype(dtype)
    if road == "dual":
        X, Y = X[:450], Y[:450]
    rank = 450 if road == "dual" else 90
    models = [
        KernelCCA(
            3, gamma=0.5, reg=1e-2, rank=rank, pivoting=pivoting, random_state=0, n_threads=n, tol=1e-12
        ).fit(X, Y)
        for n in (1, 2, 7)
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.x_weights_, models[0].x_weights_)
        np.testing.assert_array_equal(model.y_weights_, models[0].y_weights_)
        np.testing.assert_array_equal(model.transform(X), models[0].transform(X))


# float32, callables, kernels of both views


@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
def test_float32_gives_float32_and_the_same_correlations(penalty: Any, rng: np.random.Generator) -> None:
    t = rng.normal(size=(1500, 3))
    X = np.hstack([t, rng.normal(size=(1500, 5))])
    Y = np.hstack([np.abs(t), rng.normal(size=(1500, 5))])
    model = KernelCCA(5, rank=300, reg=1e-4, penalty=penalty)
    wide = model.fit(X, Y).singular_values_.copy()
    held_out = model.score(X, Y)
    narrow = model.fit(X.astype(np.float32), Y.astype(np.float32))
    np.testing.assert_allclose(narrow.singular_values_, wide, atol=2e-4)
    assert narrow.score(X.astype(np.float32), Y.astype(np.float32)) == pytest.approx(held_out, abs=1e-3)
    for name in ("singular_values_", "canonical_correlations_", "x_landmarks_", "x_loadings_", "x_mean_"):
        assert getattr(narrow, name).dtype == np.float32, name
    for got in (narrow.transform(X.astype(np.float32)), narrow.predict(X.astype(np.float32))):
        assert got.dtype == np.float32
    assert narrow.transform(X).dtype == np.float64


def test_callables_and_a_kernel_for_each_view(views: Any) -> None:
    X, Y = views
    a = KernelCCA(3, kernel=("laplacian", "polynomial"), gamma=(0.2, 0.1), degree=2, coef0=0.5, rank=40).fit(
        X, Y
    )
    b = KernelCCA(
        3,
        kernel=(lambda u, v: ref.kernel(u, v, "laplacian", 0.2), lambda u, v: (0.1 * u @ v.T + 0.5) ** 2),
        rank=40,
    ).fit(X, Y)
    assert (a.x_gamma_, a.y_gamma_) == (0.2, 0.1)
    np.testing.assert_allclose(a.singular_values_, b.singular_values_, atol=1e-4)
    np.testing.assert_allclose(b.transform(X[:7]), b.transform(X)[:7], atol=1e-9)
    mixed = KernelCCA(3, kernel=(RBF(1.0), "rbf"), gamma=(1.0, 0.5), rank=30).fit(X, Y)
    built_in = KernelCCA(3, gamma=0.5, rank=30).fit(X, Y)
    np.testing.assert_allclose(mixed.singular_values_, built_in.singular_values_, atol=1e-3)
    zx, zy = mixed.transform_views(X, Y)
    got = [np.corrcoef(u, v)[0, 1] for u, v in zip(zx.T, zy.T, strict=True)]
    np.testing.assert_allclose(got, mixed.canonical_correlations_, atol=1e-8)


def test_median_widths_are_the_default(views: Any) -> None:
    X, Y = views
    model = KernelCCA(2).fit(X, Y)
    assert model.x_gamma_ == pytest.approx(median_gamma(X))
    assert model.y_gamma_ == pytest.approx(median_gamma(Y))


# partial_fit, landmarks, memory


@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fit_is_fit(penalty: Any, weighted: bool, views: Any, rng: np.random.Generator) -> None:
    X, Y = views
    w = rng.uniform(0.5, 2, size=150) if weighted else np.ones(150)
    model = KernelCCA(3, rank=30, reg=1e-3, penalty=penalty, gamma=0.2)
    parts = [slice(0, 60), slice(60, 63), slice(63, 150)]
    for part in parts:
        model.partial_fit(X[part], Y[part], sample_weight=w[part])
    whole = KernelCCA(3, rank=30, reg=1e-3, penalty=penalty, gamma=0.2).fit(
        X, Y, sample_weight=w, landmarks=(model.x_landmarks_, model.y_landmarks_)
    )
    assert np.all(model.x_landmark_indices_ < 60)
    assert whole.x_landmark_indices_ is None
    np.testing.assert_allclose(model.singular_values_, whole.singular_values_, atol=1e-9)
    np.testing.assert_allclose(model.transform(X), whole.transform(X), atol=1e-7)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), atol=1e-7)
    np.testing.assert_allclose(model.x_loadings_, whole.x_loadings_, atol=1e-9)
    assert model.x_residual_ == pytest.approx(whole.x_residual_, rel=1e-6)
    np.testing.assert_allclose(model.x_mean_, np.average(X, axis=0, weights=w))
    # also after a rest on disk
    early = KernelCCA(3, rank=30, reg=1e-3, penalty=penalty, gamma=0.2)
    early.partial_fit(X[:60], Y[:60], sample_weight=w[:60])
    later = pickle.loads(pickle.dumps(early)).partial_fit(X[60:], Y[60:], sample_weight=w[60:])
    np.testing.assert_allclose(later.transform(X), model.transform(X), atol=1e-7)


def test_the_features_of_the_selection_are_those_of_the_landmarks(views: Any) -> None:
    X, Y = views
    model = KernelCCA(2, rank=20, gamma=0.2)
    kernels = model._fitted_kernels(0.2, X, Y, None)
    (of_x, of_y), features = model._choose_views(kernels, X, Y, None, None)
    assert [f is not None and f.shape == (len(X), 20) for f in features] == [True, True]
    known, computed = (
        kernel_module.collect(of_x, of_y, X, Y, None, 1, False, f) for f in (features, (None, None))
    )
    np.testing.assert_allclose(known.moments.scatter, computed.moments.scatter, atol=1e-10)
    np.testing.assert_allclose(known.cross, computed.cross, atol=1e-9)
    np.testing.assert_allclose(known.residual, computed.residual, atol=1e-9)
    changed = kernel_module.collect(of_x, of_y, X, Y, None, 1, False, (2 * features[0], features[1]))
    assert not np.allclose(changed.moments.scatter, known.moments.scatter)  # they are used


def test_partial_fit_after_fit(views: Any, rng: np.random.Generator) -> None:
    X, Y = views
    model = KernelCCA(2, rank=20).fit(X[:80], Y[:80]).partial_fit(X[80:], Y[80:])
    want = KernelCCA(2, rank=20).partial_fit(X[:80], Y[:80]).partial_fit(X[80:], Y[80:])
    np.testing.assert_array_equal(model.transform(X), want.transform(X))
    large = KernelCCA(2, gamma=1e3).fit(rng.normal(size=(600, 2)), rng.normal(size=(600, 2)))
    with pytest.raises(ValueError, match="partial_fit cannot go on from a fit with this many landmarks"):
        large.partial_fit(X[:, :2], Y[:, :2])
    model = KernelCCA(2, rank=20).partial_fit(*views)
    with pytest.raises(ValueError, match="landmarks are fixed by the first call"):
        model.partial_fit(*views, landmarks=views)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sampled", [False, True], ids=["features known", "features computed"])
@pytest.mark.parametrize("kernel", ["rbf", ("rbf", RBF()), "polynomial"])
@pytest.mark.parametrize("columns", [0, 250], ids=["scores again", "one pass"])
def test_a_fit_that_keeps_no_moments_is_the_same(
    dtype: Any,
    weighted: bool,
    sampled: bool,
    kernel: Any,
    columns: int,
    views: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, Y = (view.astype(dtype) for view in views)
    weights = np.arange(150) % 3 + 0.5 if weighted else None
    if sampled:
        monkeypatch.setattr(kernel_module, "SELECTION_BYTES", 100 * 20 * X.itemsize)

    def fit() -> KernelCCA:
        return KernelCCA(3, kernel=kernel, rank=20, reg=1e-2, gamma=0.2).fit(X, Y, weights)

    with_moments = fit()
    monkeypatch.setattr(kernel_module, "KEPT_BYTES", 0)
    monkeypatch.setattr(kernel_module, "MOST_COLUMNS", columns)
    lean = fit()
    assert hasattr(with_moments, "_sums")
    assert not hasattr(lean, "_sums")
    # double, or what single precision leaves of covariances, times what the ridge lets through
    atol = 1e-9 if dtype == np.float64 else 2e-4
    for name in sorted(vars(with_moments)):
        value = getattr(with_moments, name)
        if name.endswith("_") and isinstance(value, (float, np.ndarray)):
            scale = max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(getattr(lean, name), value, atol=atol * scale, err_msg=name)
    np.testing.assert_allclose(lean.predict(X), with_moments.predict(X), atol=atol * 10)


@pytest.mark.parametrize("gamma", [1.0, 1e-5])
def test_moments_of_kernel_values_serve_where_the_ridge_covers_their_rounding(
    gamma: float, views: Any
) -> None:
    X, Y = views
    model = KernelCCA(2, rank=20, gamma=gamma, tol=0.0)
    (of_x, of_y), _ = model._choose_views(
        model._fitted_kernels(gamma, X, Y, None), X, Y, None, (X[:20], Y[:20])
    )
    exact = kernel_module.collect(of_x, of_y, X, Y, None, 1, False)
    late = kernel_module.collect(of_x, of_y, X, Y, None, 1, False, reg=1e-4)
    off = np.abs(late.moments.scatter - exact.moments.scatter).max() / (len(X) - 1)
    smallest = np.linalg.eigvalsh(of_x.factor @ of_x.factor.T)[0]
    assert of_x.may_wait(1e-4) == (gamma == 1.0)
    if gamma == 1.0:
        assert 0 < off < 1e-12  # another way, as good
        assert not of_x.may_wait(np.finfo(float).eps * 20 / smallest)
        np.testing.assert_allclose(late.cross, exact.cross, atol=1e-10)
        np.testing.assert_allclose(late.residual, exact.residual, atol=1e-10)
    else:
        assert off == 0  # each row's features


def test_given_landmarks(views: Any) -> None:
    X, Y = views
    points = np.vstack([X[:10], X[:5]])  # with copies, which are left out
    model = KernelCCA(2, reg=1e-2).fit(X, Y, landmarks=(points, None))
    assert model.x_rank_ == 10
    np.testing.assert_array_equal(np.unique(model.x_landmarks_, axis=0), np.unique(X[:10], axis=0))
    assert model.y_landmark_indices_ is not None
    with pytest.raises(ValueError, match=r"landmarks\[0\] has 2 features, X has 5"):
        KernelCCA().fit(X, Y, landmarks=(X[:, :2], None))
    with pytest.raises(ValueError, match="landmarks must be a pair"):
        KernelCCA().fit(X, Y, landmarks=X)
    with pytest.raises(ValueError, match=r"landmarks\[1\] contains NaN.*row 0, column 1"):
        KernelCCA().fit(X, Y, landmarks=(None, [[0, np.nan, 0, 0]]))


def test_files_are_read_in_place(tmp_path: Any, rng: np.random.Generator) -> None:
    X = rng.normal(size=(5000, 6)).astype(np.float32)
    Y = (X[:, :3] ** 2 + 0.5 * rng.normal(size=(5000, 3))).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.asfortranarray(Y))
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
    a = KernelCCA(3, rank=60).fit(*mapped)
    b = KernelCCA(3, rank=60).fit(X, Y)
    np.testing.assert_array_equal(a.x_weights_, b.x_weights_)
    np.testing.assert_array_equal(a.transform(mapped[0][::7]), b.transform(X[::7]))


def test_landmarks_come_from_a_sample_of_many_rows(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = rng.normal(size=(3000, 3)), rng.normal(size=(3000, 2))
    monkeypatch.setattr(kernel_module, "SELECTION_BYTES", 500 * 20 * 8)
    a, b = KernelCCA(2, rank=20).fit(X, Y), KernelCCA(2, rank=20).fit(X, Y)
    np.testing.assert_array_equal(a.x_landmark_indices_, b.x_landmark_indices_)
    np.testing.assert_array_equal(a.x_landmarks_, X[a.x_landmark_indices_])
    # over all rows: k(x, x) less what the landmarks explain
    K = ref.kernel(X, a.x_landmarks_, "rbf", a.x_gamma_)
    explained = np.einsum("ij,ij->i", K, np.linalg.solve(K[a.x_landmark_indices_], K.T).T)
    assert a.x_residual_ == pytest.approx(1 - explained.mean(), abs=1e-9)


def test_uniform_landmarks_of_copies_and_of_rows_without_weight(rng: np.random.Generator) -> None:
    # nine rows in ten are copies or do not count, so that a small sample holds too few landmarks
    distinct = rng.normal(size=(300, 3))
    X = np.repeat(distinct, 10, axis=0)
    model = KernelCCA(2, rank=200, tol=0, pivoting="uniform", random_state=1, gamma=5.0).fit(X, X[:, :2])
    assert model.x_rank_ == 200
    assert len(np.unique(model.x_landmarks_, axis=0)) == 200
    weights = np.zeros(3000)
    weights[::10] = 1.0
    X = rng.normal(size=(3000, 3))
    model = KernelCCA(2, rank=200, tol=0, pivoting="uniform", random_state=1, gamma=5.0)
    model.fit(X, X[:, :2], sample_weight=weights)
    assert model.x_rank_ == 200
    assert np.all(model.x_landmark_indices_ % 10 == 0)


def test_save_and_load(views: Any, tmp_path: Any) -> None:
    X, Y = views
    for model in (
        KernelCCA(3, rank=25).fit(X, Y),
        KernelCCA(3, rank=25, kernel=("rbf", "linear")).partial_fit(X, Y),
    ):
        model.save(tmp_path / "model.npz")
        loaded = fastcca.load(tmp_path / "model.npz")
        assert loaded.get_params() == model.get_params()
        np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    again = loaded.partial_fit(X, Y)
    assert again.n_components_ == 3
    with pytest.raises(TypeError, match=r"kernel is a .*cannot be stored without pickle"):
        KernelCCA(2, kernel=lambda a, b: a @ b.T).fit(X, Y).save(tmp_path / "function.npz")


def test_only_landmarks_are_kept(rng: np.random.Generator) -> None:
    X, Y = rng.normal(size=(4000, 10)), rng.normal(size=(4000, 10))
    model = KernelCCA(2, rank=30).fit(X, Y)
    assert len(pickle.dumps(model)) < 80_000


# Components, ranks


@pytest.mark.filterwarnings("ignore:the 4 landmarks")
def test_number_of_components(views: Any) -> None:
    X, Y = views
    assert KernelCCA().fit(X, Y).n_components_ == 10
    assert KernelCCA(rank=4).fit(X, Y).n_components_ == 4
    assert KernelCCA().fit(X, Y[:, 0]).n_components_ == 10
    with pytest.raises(ValueError, match="n_components=6 is more than rank = 4"):
        KernelCCA(6, rank=4).fit(X, Y)
    with pytest.warns(UserWarning, match="n_components=6 is reduced to 3"):
        assert KernelCCA(6).fit(X[:4], Y[:4]).n_components_ == 3
    assert KernelCCA(rank=10_000).fit(X[:9], Y[:9]).x_rank_ == 9


def test_duplicates_stop_early(views: Any) -> None:
    X, Y = (np.tile(view[:30], (5, 1)) for view in views)
    model = KernelCCA(3, reg=1e-3).fit(X, Y)
    assert model.x_rank_ == model.y_rank_ == 30
    once = KernelCCA(3, reg=1e-3).fit(views[0][:30], views[1][:30], sample_weight=np.full(30, 5))
    np.testing.assert_allclose(model.singular_values_, once.singular_values_, atol=1e-8)
    assert np.all(np.isfinite(model.transform(X)))


def test_no_regularisation_finds_everything(views: Any) -> None:
    X, Y = views
    model = KernelCCA(5, reg=0.0).fit(X, Y)
    np.testing.assert_allclose(model.canonical_correlations_, 1, atol=1e-6)


# Bad input


@pytest.mark.parametrize("constant", ["X", "y"])
@pytest.mark.parametrize("kernel", ["rbf", "polynomial", lambda a, b: np.exp(-np.abs(a[:, :1] - b[:, 0]))])
def test_a_single_distinct_row(constant: str, kernel: Any, views: Any) -> None:
    X, Y = (view.copy() for view in views)
    (X if constant == "X" else Y)[:] = 1.5
    with pytest.raises(NumericalError, match=f"every row of {constant} is the same"):
        KernelCCA(kernel=kernel).fit(X, Y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rank": 0}, "rank must be an integer >= 1, got 0"),
        ({"tol": 1.5}, "tol must be a finite number >= 0 and < 1, got 1.5"),
        ({"gamma": 0}, "gamma must be a finite number > 0 or 'median' or a pair of them (x, y), got 0"),
        (
            {"gamma": (1.0, -2.0)},
            "gamma must be a finite number > 0 or 'median' or a pair of them (x, y), got (1.0, -2.0)",
        ),
        (
            {"gamma": (1.0, 1.0, 1.0)},
            "gamma must be a finite number > 0 or 'median' or a pair of them (x, y), got (1.0, 1.0, 1.0)",
        ),
        ({"kernel": "gaussian"}, "kernel must be one of"),
        ({"kernel": ("rbf",)}, "'precomputed' or a callable or a pair of them (x, y), got ('rbf',)"),
        ({"reg": -1e-3}, "reg must be a finite number >= 0 or a pair of them (x, y), got -0.001"),
        ({"reg": (1e-3, np.inf)}, "reg must be a finite number >= 0 or a pair of them (x, y)"),
        ({"penalty": "lasso"}, "penalty must be one of 'ridge', 'bach-jordan', got 'lasso'"),
        ({"penalty": "bach-jordan", "reg": (0.0, 1e-3)}, "reg must be positive for both views"),
        ({"pivoting": "best"}, "pivoting must be one of"),
        ({"degree": 1.5, "kernel": "polynomial"}, "degree must be an integer from 1 to 2147483647, got 1.5"),
        ({"coef0": np.inf}, "coef0 must be a finite number, got inf"),
        ({"n_components": 0}, "n_components must be an integer >= 1 or None, got 0"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_parameters_out_of_range(parameters: Any, message: str, method: str, views: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(KernelCCA(**parameters), method)(*views)


def test_data_that_are_no_data(views: Any) -> None:
    X, Y = (view.copy() for view in views)
    model = KernelCCA(2, rank=20).fit(X, Y)
    bad_x, bad_y = X.copy(), Y.copy()
    bad_x[3, 2], bad_y[7, 1] = np.nan, np.inf
    for fit in (KernelCCA(rank=20).fit, KernelCCA(rank=20).partial_fit):
        with pytest.raises(ValueError, match=r"X contains NaN.*row 3, column 2"):
            fit(bad_x, Y)
        with pytest.raises(ValueError, match=r"y contains .*inf.*row 7, column 1"):
            fit(X, bad_y)
    with pytest.raises(ValueError, match=r"X contains NaN.*row 3, column 2"):
        model.transform(bad_x)
    with pytest.raises(ValueError, match=r"y contains .*inf.*row 7, column 1"):
        model.transform_y(bad_y)
    with pytest.raises(ValueError, match="X has 3 features, but KernelCCA is expecting 5"):
        model.transform(X[:, :3])
    with pytest.raises(ValueError, match="same number of rows"):
        KernelCCA().fit(X, Y[:-1])
    with pytest.raises(ValueError, match="1 sample"):
        KernelCCA().fit(X[:1], Y[:1])
    with pytest.raises(ValueError, match="requires y to be passed"):
        KernelCCA().fit(X, None)
    with pytest.raises(ValueError, match="Complex data not supported"):
        KernelCCA().fit(X + 1j, Y)


def test_callables_that_do_not_do(views: Any) -> None:
    with pytest.raises(ValueError, match=r"kernel: the callable returned shape \(\d+,\)"):
        KernelCCA(kernel=lambda a, b: np.ones(len(a))).fit(*views)
    with pytest.raises(ValueError, match="kernel: the callable returned nan"):
        KernelCCA(kernel=lambda a, b: np.full((len(a), len(b)), np.nan)).fit(*views)
    with pytest.raises(
        NumericalError, match=r"not positive semidefinite: after .* pivots the residual of row"
    ):
        KernelCCA(kernel=lambda a, b: np.tanh(a @ b.T - 1) + 1).fit(*views)


def test_progress_goes_to_stderr(views: Any, capsys: pytest.CaptureFixture[str]) -> None:
    KernelCCA(2, rank=20, verbose=True).fit(*views)
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("X: pivots", "y: pivots", "residual=", "moments: rows"):
        assert text in captured.err


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_the_median_width_depends_on_no_unit(kernel: str, rng: np.random.Generator) -> None:
    t = rng.uniform(0, 6.28, size=(300, 1))
    X = np.hstack([np.cos(t), np.sin(t)]) + 0.1 * rng.normal(size=(300, 2))
    Y = np.cos(2 * t) + 0.1 * rng.normal(size=(300, 1))
    fits = [KernelCCA(1, kernel=kernel, reg=1e-3).fit(X * unit, Y * unit) for unit in (1.0, 0.01, 100.0)]
    for model, unit in zip(fits[1:], (0.01, 100.0), strict=True):
        np.testing.assert_allclose(model.singular_values_, fits[0].singular_values_, rtol=1e-8)
        np.testing.assert_allclose(
            np.abs(model.transform(X * unit)), np.abs(fits[0].transform(X)), rtol=1e-5, atol=1e-6
        )
    if kernel == "laplacian":
        distances = np.abs(X[:, None] - X[None]).sum(axis=2)[np.triu_indices(300, 1)]
        assert fits[0].x_gamma_ == pytest.approx(1 / np.median(distances))


@pytest.mark.parametrize("kernel", ["linear", "polynomial"])
@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
def test_a_large_mean_costs_no_direction(kernel: str, mean: float, rng: np.random.Generator) -> None:
    A = rng.normal(size=(300, 3))
    Y = A[:, :2] + 0.5 * rng.normal(size=(300, 2))
    model = KernelCCA(2, kernel=kernel, degree=1, gamma=1.0, reg=1e-6).fit(A + mean, Y + mean)
    expected = CCA(2, reg=1e-6).fit(A, Y)
    np.testing.assert_allclose(model.singular_values_, expected.singular_values_, atol=1e-5)


def test_kernels_that_hardly_vary_and_landmarks_that_leave_much_out_warn(rng: np.random.Generator) -> None:
    A = rng.normal(size=(300, 3))
    with pytest.warns(UserWarning, match=r"X's linear kernel vary by \de-1\d of their size"):
        KernelCCA(1, kernel=("linear", "rbf"), reg=1e-3).fit(A + 3e5, A[:, :1])
    with pytest.warns(UserWarning, match=r"the 10 landmarks of X leave out 9\d% of its kernel's trace"):
        KernelCCA(1, kernel=("rbf", "linear"), gamma=100.0, rank=10, reg=1e-3).fit(A, A[:, :1])


def test_rows_of_a_narrower_type_than_the_landmarks(rng: np.random.Generator) -> None:
    X, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    model = KernelCCA(1, kernel="linear").fit(X * 1e100, y)
    rows = X[:5].astype(np.float32)
    found = model.transform(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.transform(rows.astype(float)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"landmarks\[0\] holds .*out of the range of float32"):
        KernelCCA(1).partial_fit(X.astype(np.float32), y, landmarks=(X * 1e100, y))
