"""Kernels given as matrices, against the same kernels computed from the rows."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

import fastcca
from fastcca import KernelCCA, KernelCCACV, KernelMCCA
from fastcca.cca import kernel as kernel_module
from fastcca.errors import NumericalError
from fastcca.inference import permutation_test
from reference import kernels as ref

pytestmark = pytest.mark.core

Array = NDArray[Any]
GAMMA = (0.1, 0.2)


@pytest.fixture
def views(rng: np.random.Generator) -> tuple[Array, Array]:
    t = rng.normal(size=(170, 2))
    X = np.hstack([t, rng.normal(size=(170, 3))]) + 0.1 * rng.normal(size=(170, 5))
    return X, np.hstack([t**2, rng.normal(size=(170, 2))]) + 0.1 * rng.normal(size=(170, 4))


def matrices(X: Array, Y: Array, n: int = 150) -> tuple[Array, Array, Array, Array]:
    """The kernels between the first n rows, and of the others with these."""
    return (
        *(ref.kernel(a[:n], a[:n], "rbf", g) for a, g in zip((X, Y), GAMMA, strict=True)),
        *(ref.kernel(a[n:], a[:n], "rbf", g) for a, g in zip((X, Y), GAMMA, strict=True)),
    )


def same(a: KernelCCA, b: KernelCCA, of_a: tuple[Array, Array], of_b: tuple[Array, Array]) -> None:
    np.testing.assert_allclose(a.singular_values_, b.singular_values_, atol=1e-10)
    np.testing.assert_allclose(a.canonical_correlations_, b.canonical_correlations_, atol=1e-10)
    for za, zb in zip(a.transform_views(*of_a), b.transform_views(*of_b), strict=True):
        np.testing.assert_allclose(za, zb, atol=1e-9)
    assert a.score(*of_a) == pytest.approx(b.score(*of_b), abs=1e-10)


@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
@pytest.mark.parametrize("pivoting", ["greedy", "random", "uniform"])
@pytest.mark.parametrize("road", ["low rank", "moments", "dual"])
def test_a_given_kernel_is_the_kernel(
    road: str, pivoting: Any, penalty: Any, views: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = views
    if road == "dual":
        monkeypatch.setattr(kernel_module, "DUAL_ROWS", range(2, 1000))
    options: dict[str, Any] = {
        "rank": 40 if road == "low rank" else 1000,
        "tol": 0,
        "reg": 1e-2,
        "penalty": penalty,
        "pivoting": pivoting,
        "random_state": 0,
    }
    computed = KernelCCA(3, gamma=GAMMA, **options).fit(X[:150], Y[:150])
    Kx, Ky, new_x, new_y = matrices(X, Y)
    given = KernelCCA(3, kernel="precomputed", **options).fit(Kx, Ky)
    assert given.solver_ == computed.solver_
    np.testing.assert_array_equal(given.x_landmark_indices_, computed.x_landmark_indices_)
    np.testing.assert_allclose(given.x_residual_, computed.x_residual_, atol=1e-10)
    same(given, computed, (new_x, new_y), (X[150:], Y[150:]))
    # one view of the two
    mixed = KernelCCA(3, kernel=("precomputed", "rbf"), gamma=GAMMA, **options).fit(Kx, Y[:150])
    same(mixed, computed, (new_x, Y[150:]), (X[150:], Y[150:]))
    np.testing.assert_allclose(mixed.predict(new_x), computed.predict(X[150:]), atol=1e-9)
    np.testing.assert_allclose(mixed.y_cross_loadings_, computed.y_cross_loadings_, atol=1e-9)
    assert mixed.x_loadings_.shape == (0, 3)
    for method, z in (("predict_x", Y[150:]), ("inverse_transform", mixed.transform(new_x))):
        with pytest.raises(ValueError, match="its columns are not known to predict"):
            getattr(mixed, method)(z)


def test_it_is_dense_kernel_cca(views: Any) -> None:
    Kx, Ky, _, _ = matrices(*views)
    model = KernelCCA(4, kernel="precomputed", reg=1e-2, tol=0).fit(Kx, Ky)
    d, zx, _ = ref.dense_kcca(Kx, Ky, 4, (1e-2, 1e-2), "ridge")
    np.testing.assert_allclose(model.singular_values_, d, atol=1e-9)
    z = model.transform(Kx)
    np.testing.assert_allclose(z * np.sign((z * zx).sum(axis=0)), zx, atol=1e-8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_types_orders_and_threads(order: Any, dtype: Any, views: Any) -> None:
    Kx, Ky, new, _ = matrices(*views)
    model = KernelCCA(2, kernel="precomputed", reg=1e-2, rank=50)
    expected = clone(model).fit(Kx, Ky)
    given = [np.asarray(K, dtype=dtype, order=order) for K in (Kx, Ky)]
    fits = [clone(model).set_params(n_threads=threads).fit(*given) for threads in (1, 2, 7)]
    for fitted in fits[1:]:
        assert fitted.x_weights_.tobytes() == fits[0].x_weights_.tobytes()
    z = fits[0].transform(new.astype(dtype))
    assert z.dtype == dtype
    tolerance = 1e-9 if dtype == np.float64 else 5e-3
    np.testing.assert_allclose(z, expected.transform(new), atol=tolerance)


def test_linear_kernels_with_a_large_mean_lose_no_direction(rng: np.random.Generator) -> None:
    X = rng.normal(size=(200, 4)) * [1, 1e-2, 1e-2, 1e-2]
    Y = X @ rng.normal(size=(4, 4)) + 1e-3 * rng.normal(size=(200, 4)) + 10
    X += 10
    computed = KernelCCA(4, kernel="linear", reg=1e-6, tol=1e-7).fit(X, Y)
    given = KernelCCA(4, kernel="precomputed", reg=1e-6, tol=1e-7).fit(X @ X.T, Y @ Y.T)
    assert given.x_rank_ == computed.x_rank_
    np.testing.assert_allclose(given.singular_values_, computed.singular_values_, atol=1e-6)


def test_weights_are_repetitions(views: Any, rng: np.random.Generator) -> None:
    Kx, Ky, new, _ = matrices(*views)
    w = rng.integers(0, 4, size=150)
    rows = np.repeat(np.arange(150), w)
    options: dict[str, Any] = {"kernel": "precomputed", "reg": 1e-2, "tol": 1e-13}
    weighted = KernelCCA(2, **options).fit(Kx, Ky, sample_weight=w)
    repeated = KernelCCA(2, **options).fit(Kx[np.ix_(rows, rows)], Ky[np.ix_(rows, rows)])
    np.testing.assert_allclose(weighted.singular_values_, repeated.singular_values_, atol=1e-8)
    np.testing.assert_allclose(
        np.abs(weighted.transform(new)), np.abs(repeated.transform(new[:, rows])), atol=1e-6
    )


def test_save_and_load(views: Any, tmp_path: Any) -> None:
    Kx, _, new, _ = matrices(*views)
    model = KernelCCA(2, kernel=("precomputed", "linear"), reg=1e-2).fit(Kx, views[1][:150])
    model.save(tmp_path / "model.safetensors")
    again = fastcca.load(tmp_path / "model.safetensors")
    assert again.x_landmarks_ is None
    np.testing.assert_array_equal(again.y_landmarks_, model.y_landmarks_)
    np.testing.assert_array_equal(again.transform(new), model.transform(new))
    np.testing.assert_array_equal(again.predict(new), model.predict(new))
    many = KernelMCCA(2, kernel={"a": "precomputed"}, reg=1e-2).fit({"a": Kx, "b": views[1][:150]})
    many.save(tmp_path / "many.safetensors")
    loaded = fastcca.load(tmp_path / "many.safetensors")
    np.testing.assert_array_equal(loaded.transform_view("a", new), many.transform_view("a", new))


# Cross-validation


@pytest.mark.filterwarnings("ignore:the best ridge")
@pytest.mark.parametrize("cv", [4, KFold(3, shuffle=True, random_state=0)])
@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
def test_a_search_is_that_of_the_rows(penalty: Any, cv: Any, views: Any) -> None:
    X, Y = views
    Kx, Ky, new_x, new_y = matrices(X, Y)
    options: dict[str, Any] = {"regs": [1e-3, 1e-2, 1e-1], "cv": cv, "penalty": penalty, "rank": 60, "tol": 0}
    computed = KernelCCACV(2, gammas=[GAMMA], **options).fit(X[:150], Y[:150])
    given = KernelCCACV(2, kernel="precomputed", **options).fit(Kx, Ky)
    assert given.reg_ == computed.reg_
    assert len(given.cv_results_["params"]) == 3
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(given.cv_results_[name], computed.cv_results_[name], atol=1e-10)
    same(given, computed, (new_x, new_y), (X[150:], Y[150:]))
    # a width to choose for the other view alone
    mixed = KernelCCACV(2, kernel=("precomputed", "rbf"), gammas=[GAMMA, (0.1, 0.4)], **options)
    mixed.fit(Kx, Y[:150])
    rows = KernelCCACV(2, gammas=[GAMMA, (0.1, 0.4)], **options).fit(X[:150], Y[:150])
    np.testing.assert_allclose(
        mixed.cv_results_["mean_test_score"], rows.cv_results_["mean_test_score"], atol=1e-10
    )


def test_the_default_grid_has_the_unit_of_the_kernel(views: Any) -> None:
    Kx, Ky, _, _ = matrices(*views)
    centring = np.eye(150) - 1 / 150
    of_x, of_y = (np.trace(centring @ K) / 149 for K in (Kx, Ky))
    once = KernelCCACV(1, kernel="precomputed").fit(Kx, Ky)
    np.testing.assert_allclose(once.cv_results_["params"][0]["reg"], (1e-6 * of_x, 1e-6 * of_y), rtol=1e-8)
    again = KernelCCACV(1, kernel="precomputed").fit(1e4 * Kx, 1e-4 * Ky)
    assert again.best_index_ == once.best_index_
    np.testing.assert_allclose(
        again.cv_results_["mean_test_score"], once.cv_results_["mean_test_score"], atol=1e-6
    )


def test_scikit_learn_slices_the_matrix_of_x(views: Any) -> None:
    X, Y = (a[:150] for a in views)
    Kx, Ky, _, _ = matrices(*views)
    options: dict[str, Any] = {"rank": 50, "tol": 0, "reg": 1e-2}
    given = KernelCCA(1, kernel=("precomputed", "rbf"), gamma=GAMMA, **options)
    computed = KernelCCA(1, gamma=GAMMA, **options)
    folds = KFold(3, shuffle=True, random_state=1)
    np.testing.assert_allclose(
        cross_val_score(given, Kx, Y, cv=folds), cross_val_score(computed, X, Y, cv=folds), atol=1e-9
    )
    grid = {"reg": [1e-3, 1e-1]}
    found = [GridSearchCV(m, grid, cv=folds).fit(a, Y) for m, a in ((given, Kx), (computed, X))]
    assert found[0].best_params_ == found[1].best_params_
    # of y it takes rows only
    both = KernelCCA(1, kernel="precomputed", reg=1e-2)
    with pytest.raises(ValueError, match="the precomputed kernel of y must be square"):
        cross_val_score(both, Kx, Ky, cv=folds, error_score="raise")


def test_permutations_are_those_of_the_rows(views: Any) -> None:
    X, Y = (a[:150] for a in views)
    Kx, Ky, _, _ = matrices(*views)
    options: dict[str, Any] = {"rank": 30, "tol": 0, "reg": 1e-2}
    tests = [
        permutation_test(model, *data, n_permutations=30, random_state=0)
        for model, data in (
            (KernelCCA(2, gamma=GAMMA, **options), (X, Y)),
            (KernelCCA(2, kernel="precomputed", **options), (Kx, Ky)),
        )
    ]
    np.testing.assert_allclose(tests[1].statistic, tests[0].statistic, atol=1e-9)
    np.testing.assert_allclose(tests[1].permuted, tests[0].permuted, atol=1e-9)
    with pytest.raises(ValueError, match="a precomputed kernel has none"):
        permutation_test(KernelCCA(2, kernel="precomputed"), Kx, Ky, confounds=X[:, 0], n_permutations=5)


# Bad input


def indefinite(K: Array) -> Array:
    """With one negative eigenvalue, and a diagonal that does not show it."""
    values, vectors = np.linalg.eigh(K)
    values[np.argmin(np.abs(values - 0.1 * values[-1]))] *= -1
    return (vectors * values) @ vectors.T


@pytest.mark.parametrize("estimator", [KernelCCA, KernelCCACV])
def test_matrices_that_are_no_kernels(estimator: Any, views: Any) -> None:
    Kx, Ky, new, _ = matrices(*views)
    model = estimator(1, kernel="precomputed", rank=5)
    for given, kind, message in (
        ((Kx[:, :140], Ky), ValueError, "the precomputed kernel of X must be square"),
        ((Kx, Ky[:, :140]), ValueError, "the precomputed kernel of y must be square"),
        ((Kx + np.triu(np.full((150, 150), 1e-3), 1), Ky), ValueError, "X must be symmetric: entries differ"),
        ((Kx, indefinite(Ky)), NumericalError, "kernel of y is not positive semidefinite: its eigenvalues"),
        ((-Kx, Ky), NumericalError, "the precomputed kernel of X is not positive semidefinite"),
        ((np.zeros((150, 150)), Ky), NumericalError, "trace 0"),
        ((np.ones((150, 150)), Ky), NumericalError, "every row of X is the same to|of X has rank 0"),
    ):
        with pytest.raises(kind, match=message):
            clone(model).fit(*given)
    holes = Kx.copy()
    holes[3, 4] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN: the first is at row 3, column 4"):
        clone(model).fit(holes, Ky)
    fitted = clone(model).set_params(rank=50).fit(Kx, Ky)
    with pytest.raises(ValueError, match=r"149 features, but \w+ is expecting 150"):
        fitted.transform(new[:, 1:])
    new[0, 7] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity: the first is at row 0, column 7"):
        fitted.transform(new)


def test_more_rows_than_are_looked_at(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastcca.cca import precomputed

    X = rng.normal(size=(300, 3))
    K = ref.kernel(X, X, "rbf", 0.1)
    monkeypatch.setattr(precomputed, "MOST_ROWS", 100)
    model = KernelCCA(1, kernel=("precomputed", "linear"), rank=20, reg=1e-2)
    model.fit(K, X)
    with pytest.raises(NumericalError, match=re.escape("the eigenvalues of 100 of its rows go from -")):
        model.fit(indefinite(K), X)


def test_what_takes_rows(views: Any) -> None:
    Kx, Ky, _, _ = matrices(*views)
    model = KernelCCA(1, kernel="precomputed", reg=1e-2)
    with pytest.raises(ValueError, match="partial_fit takes rows"):
        model.partial_fit(Kx, Ky)
    with pytest.raises(ValueError, match=re.escape("landmarks[0] cannot be given")):
        model.fit(Kx, Ky, landmarks=(Kx[:5], None))
    with pytest.raises(ValueError, match="'cosine', 'precomputed' or a callable"):
        KernelCCA(1, kernel="given").fit(Kx, Ky)
    with pytest.raises(ValueError, match="kernel must be"):
        fastcca.functional.kernel_matrix(Kx, kernel="precomputed")
