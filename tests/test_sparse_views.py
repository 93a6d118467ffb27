"""Sparse views: moments, the matrix-free solver and linear models against the same data as dense arrays."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from sklearn.base import clone

import fastcca
from fastcca.cca import linear, model_selection, stability_selection
from fastcca.functional import moments, solve_matrix_free, sparse_moments

FORMS = [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.csc_matrix, sp.coo_array, sp.lil_matrix]


def counts(rng, n, p, density, common=None):
    """Sparse values, of which some columns follow ``common``."""
    X = sp.random_array((n, p), density=density, rng=rng, format="csr")
    if common is not None:
        mix = sp.random_array((common.shape[1], p), density=0.1, rng=rng, format="csr")
        X = sp.csr_array(X + common @ mix)
    return X


@pytest.fixture
def views(rng):
    common = sp.random_array((600, 4), density=0.2, rng=rng, format="csr")
    return counts(rng, 600, 40, 0.1, common), counts(rng, 600, 25, 0.1, common)


def dense(*views):
    return tuple(view.toarray() for view in views)


def reference(X, Y, k, r1, r2, weights=None):
    """Singular values and weights of T by Cholesky factors of the dense covariances."""
    w = np.ones(len(X)) if weights is None else weights
    n = w.sum()
    X, Y = (a - w @ a / n for a in (X, Y))
    S11, S12, S22 = ((a * w[:, None]).T @ b / (n - 1) for a, b in ((X, X), (X, Y), (Y, Y)))
    L1 = np.linalg.cholesky(S11 + r1 * np.eye(len(S11)))
    L2 = np.linalg.cholesky(S22 + r2 * np.eye(len(S22)))
    T = scipy.linalg.solve_triangular(L1, S12, lower=True)
    T = scipy.linalg.solve_triangular(L2, T.T, lower=True).T
    U, s, Vt = np.linalg.svd(T, full_matrices=False)
    wx = scipy.linalg.solve_triangular(L1.T, U[:, :k])
    wy = scipy.linalg.solve_triangular(L2.T, Vt[:k].T)
    sign = np.sign(wx[np.abs(wx).argmax(axis=0), np.arange(k)])
    return s[:k], wx * sign, wy * sign


# ---- moments


@pytest.fixture(params=["entries", "rows"])
def way(request, monkeypatch):
    """Both ways to the moments, whatever the number of entries."""
    monkeypatch.setattr(moments, "sparse_pays", lambda views: request.param == "entries")
    return request.param


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_moments_are_those_of_dense_rows(views, form, dtype, way):
    X, Y = (form((5 * view).astype(dtype)) for view in views)
    got = fastcca.Moments().update(X, Y, dtype=np.float64)
    want = fastcca.Moments().update(X.toarray(), Y.toarray(), dtype=np.float64)
    assert (got.n, got.dims) == (want.n, want.dims)
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(got.scatter, want.scatter, rtol=0, atol=1e-10)
    assert np.array_equal(got.eps, want.eps)


@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_moments_of_blocks_weights_and_threads(views, n_threads, way, monkeypatch):
    monkeypatch.setattr(sparse_moments, "BLOCK_BYTES", 8 * 65 * 7)
    monkeypatch.setattr(moments, "_CONVERTED_BYTES", 1)
    X, Y = views
    weights = np.arange(600) % 3.0
    got = fastcca.Moments().update(X, Y, sample_weight=weights, n_threads=n_threads)
    want = fastcca.Moments().update(*dense(X, Y), sample_weight=weights)
    np.testing.assert_allclose(got.scatter, want.scatter, rtol=0, atol=1e-11)
    again = fastcca.Moments().update(X, Y, sample_weight=weights, n_threads=1)
    assert np.array_equal(got.scatter, again.scatter)
    parts = fastcca.Moments()
    for start in range(0, 600, 130):
        run = slice(start, start + 130)
        parts.update(X[run], Y[run], sample_weight=weights[run], n_threads=n_threads)
    np.testing.assert_allclose(parts.scatter, want.scatter, rtol=0, atol=1e-11)


def test_columns_with_a_large_mean_lose_no_digit(rng, way):
    """An intercept, a constant with rounding, a count that varies little: implicit centring would cancel."""
    n = 500
    X = counts(rng, n, 12, 0.1).toarray()
    X[:, 3] = 1.0
    X[:, 5] = 1e8 + rng.standard_normal(n)
    X[:, 7] = 1e3 + rng.standard_normal(n)
    X[:, 8] = 0.0
    weights = rng.integers(1, 3, n).astype(float)
    got = fastcca.Moments().update(sp.csr_array(X), sample_weight=weights)
    want = fastcca.Moments().update(X, sample_weight=weights)
    assert got.constant.tolist() == want.constant.tolist()
    assert got.constant.sum() == 2
    scale = np.sqrt(np.outer(want.scatter.diagonal(), want.scatter.diagonal()))
    np.testing.assert_array_less(np.abs(got.scatter - want.scatter), 1e-7 * scale + 1e-9)
    others = [0, 1, 2, 4, 6, 7, 9, 10, 11]  # that of mean 1e8 holds no more digits than its data
    np.testing.assert_allclose(
        got.scatter[np.ix_(others, others)], want.scatter[np.ix_(others, others)], atol=1e-9
    )


def test_which_way_is_taken(rng):
    assert sparse_moments.sparse_pays([counts(rng, 300, 2000, 0.001)])
    assert not sparse_moments.sparse_pays([counts(rng, 300, 50, 0.3)])


def test_mixed_and_empty_views(views, rng):
    X, Y = views
    Z = rng.standard_normal((600, 3)).astype(np.float32)
    got = fastcca.Moments().update(X, Z, Y)
    want = fastcca.Moments().update(X.toarray(), Z, Y.toarray())
    np.testing.assert_allclose(got.scatter, want.scatter, rtol=0, atol=1e-10)
    assert fastcca.Moments().update(X[:0], Y[:0]).n == 0
    empty = fastcca.Moments().update(sp.csr_array((10, 3)), sp.csr_array((10, 2)))
    assert (empty.n, bool(empty.constant.all())) == (10, True)


def test_duplicates_are_summed_and_nothing_is_changed(rng):
    rows = np.repeat(np.arange(50), 6)
    columns = rng.integers(0, 4, 300)
    values = rng.standard_normal(300)
    coo = sp.coo_array((values, (rows, columns)), shape=(50, 4))
    csr = sp.csr_array((values, columns, np.arange(0, 301, 6)), shape=(50, 4))
    assert not csr.has_canonical_format
    before = csr.data.copy(), csr.indices.copy()
    want = fastcca.Moments().update(coo.toarray())
    for given in (coo, csr, csr.tocsc()):
        np.testing.assert_allclose(fastcca.Moments().update(given).scatter, want.scatter, rtol=0, atol=1e-11)
    y = coo.toarray() @ [1.0, 2, 3, 4] + rng.standard_normal(50)
    for solver in ("auto", "iterative"):
        np.testing.assert_allclose(
            fastcca.CCA(1, solver=solver).fit(csr, y).x_weights_,
            fastcca.CCA(1).fit(coo.toarray(), y).x_weights_,
            rtol=0,
            atol=1e-7,
        )
    assert np.array_equal(csr.data, before[0])
    assert np.array_equal(csr.indices, before[1])


# ---- the matrix-free solver


@pytest.mark.parametrize("reg", [1e-3, (1e-2, 1e-4), 0.0])
@pytest.mark.parametrize(
    "kinds", [(sp.csr_array, sp.csc_array), (sp.csr_array, np.asarray), (np.asarray,) * 2]
)
def test_the_matrix_free_solution_is_the_dense_one(views, reg, kinds):
    X, Y = dense(*views)
    given = [kind(view) for kind, view in zip(kinds, (X, Y), strict=True)]
    r1, r2 = reg if isinstance(reg, tuple) else (reg, reg)
    s, wx, wy = reference(X, Y, 5, r1, r2)
    found = solve_matrix_free(*given, 5, reg, tol=1e-11)
    assert found.residuals.max() <= 1e-11
    np.testing.assert_allclose(found.singular_values, s, rtol=0, atol=1e-12)
    sign = np.sign((found.x_weights * wx).sum(axis=0))
    np.testing.assert_allclose(found.x_weights * sign, wx, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.y_weights * sign, wy, rtol=0, atol=1e-8)
    centred = X - X.mean(axis=0), Y - Y.mean(axis=0)
    scores = np.hstack([centred[0] @ found.x_weights, centred[1] @ found.y_weights])
    np.testing.assert_allclose(found.score_covariance, scores.T @ scores / 599, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.x_covariance, centred[0].T @ scores / 599, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.y_covariance, centred[1].T @ scores / 599, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.variances[0], X.var(axis=0, ddof=1), rtol=1e-12)


def test_the_default_tolerance_gives_eight_digits(rng):
    common = sp.random_array((2000, 12), density=0.1, rng=rng, format="csr")
    X, Y = counts(rng, 2000, 700, 0.01, common), counts(rng, 2000, 500, 0.01, common)
    s, wx, _ = reference(*dense(X, Y), 10, 1e-2, 1e-2)
    found = solve_matrix_free(X, Y, 10, 1e-2)
    np.testing.assert_allclose(found.singular_values, s, rtol=0, atol=1e-12)
    assert np.abs(np.abs(found.x_weights) - np.abs(wx)).max() < 1e-5 * np.abs(wx).max()


def test_more_columns_than_rows(rng):
    common = sp.random_array((120, 3), density=0.3, rng=rng, format="csr")
    X, Y = counts(rng, 120, 400, 0.05, common), counts(rng, 120, 300, 0.05, common)
    s, *_ = reference(*dense(X, Y), 4, 0.1, 0.1)
    found = solve_matrix_free(X, Y, 4, 0.1)
    np.testing.assert_allclose(found.singular_values, s, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"X has \d+ columns that vary and 120 rows: .* Give it a ridge"):
        solve_matrix_free(X, Y, 4, (0.0, 0.1))


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_weights_scales_and_threads(views, n_threads):
    X, Y = views
    weights = np.arange(600) % 3.0
    Xd, Yd = dense(X, Y)
    n = weights.sum()
    units = [np.sqrt(weights @ (a - weights @ a / n) ** 2 / (n - 1)) for a in (Xd, Yd)]
    s, wx, _ = reference(Xd / units[0], Yd / units[1], 3, 0.1, 0.1, weights)
    found = solve_matrix_free(X, Y, 3, 0.1, weights, scale=True, tol=1e-11, n_threads=n_threads)
    np.testing.assert_allclose(found.singular_values, s, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.abs(found.x_weights), np.abs(wx / units[0][:, None]), rtol=0, atol=1e-8)
    again = solve_matrix_free(X, Y, 3, 0.1, weights, scale=True, tol=1e-11, n_threads=1)
    assert np.array_equal(found.x_weights, again.x_weights)


def test_constant_columns_equal_values_and_small_ranks(views):
    X, Y = dense(*views)
    X[:, 3], X[:, 4] = 0.0, 7.0
    found = solve_matrix_free(sp.csr_array(X), sp.csr_array(Y), 25, 1e-3)
    assert not found.x_weights[[3, 4]].any()
    kept = np.delete(X, [3, 4], axis=1)
    np.testing.assert_allclose(
        found.singular_values, reference(kept, Y, 25, 1e-3, 1e-3)[0], rtol=0, atol=1e-11
    )
    thin = solve_matrix_free(sp.csr_array(X[:, :2]), sp.csr_array(Y), 2, 0.0)
    np.testing.assert_allclose(thin.singular_values, reference(X[:, :2], Y, 2, 0, 0)[0], rtol=0, atol=1e-12)
    same = solve_matrix_free(sp.csr_array(Y), sp.csr_array(2 * Y), 6, 0.0)  # repeated singular values
    np.testing.assert_allclose(same.singular_values, 1.0, atol=1e-12)


def test_it_never_makes_a_dense_copy(rng, monkeypatch):
    X, Y = counts(rng, 200, 9000, 0.005), counts(rng, 200, 4000, 0.005)

    def refuse(self, *args, **kwargs):
        raise AssertionError("a dense copy")

    for name in ("toarray", "todense"):
        monkeypatch.setattr(sp.csr_array, name, refuse)
        monkeypatch.setattr(sp.csc_array, name, refuse)
    cca = fastcca.CCA(2, reg=1.0).fit(X, Y)
    assert (cca.solver_, cca.moments_) == ("iterative", None)
    assert cca.transform(X).shape == (200, 2)


# ---- estimators


@pytest.mark.parametrize("small", [0, 2**26])
def test_cca_by_moments(views, small, monkeypatch):
    monkeypatch.setattr(linear, "SMALL", small)
    X, Y = views
    sparse, full = fastcca.CCA(4, reg=1e-3).fit(X, Y), fastcca.CCA(4, reg=1e-3).fit(*dense(X, Y))
    assert sparse.solver_ == "covariance"
    for name in (
        "singular_values_",
        "canonical_correlations_",
        "x_weights_",
        "x_loadings_",
        "y_cross_loadings_",
    ):
        np.testing.assert_allclose(getattr(sparse, name), getattr(full, name), rtol=0, atol=1e-9)
    for rows in (X[:7], sp.csc_array(X[:7])):
        np.testing.assert_allclose(sparse.transform(rows), full.transform(X[:7].toarray()), atol=1e-9)
    np.testing.assert_allclose(sparse.transform_y(Y[:7]), full.transform_y(Y[:7].toarray()), atol=1e-9)
    np.testing.assert_allclose(sparse.predict(X[:7]), full.predict(X[:7].toarray()), atol=1e-9)
    np.testing.assert_allclose(sparse.predict_x(Y[:7]), full.predict_x(Y[:7].toarray()), atol=1e-9)
    np.testing.assert_allclose(sparse.score(X, Y), full.score(*dense(X, Y)), atol=1e-9)
    np.testing.assert_allclose(
        sparse.transform_views(X, Y)[1], full.transform_views(*dense(X, Y))[1], atol=1e-9
    )
    grown = fastcca.CCA(4, reg=1e-3).partial_fit(X[:300], Y[:300]).partial_fit(X[300:], Y[300:])
    np.testing.assert_allclose(grown.x_weights_, full.x_weights_, atol=1e-9)
    weights = np.arange(600) % 2.0
    Z = np.arange(600.0)[:, np.newaxis] % 7
    for options, more in (
        ({"scale": True, "reg": 0.1}, {"sample_weight": weights}),
        ({"shrinkage": 0.3}, {}),
        ({"shrinkage": "oas"}, {}),
        ({}, {"confounds": Z}),
    ):
        got = fastcca.CCA(2, **options).fit(X, Y, **more)
        want = fastcca.CCA(2, **options).fit(*dense(X, Y), **more)
        np.testing.assert_allclose(got.x_weights_, want.x_weights_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        got.transform(X, confounds=Z), want.transform(X.toarray(), confounds=Z), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cca_without_moments(views, dtype):
    X, Y = (view.astype(dtype) for view in views)
    sparse = fastcca.CCA(4, reg=1e-3, solver="iterative").fit(X, Y)
    full = fastcca.CCA(4, reg=1e-3).fit(*dense(X, Y))
    assert (sparse.solver_, sparse.moments_) == ("iterative", None)
    assert (sparse.x_rank_, sparse.y_rank_, sparse.n_samples_) == (40, 25, 600)
    digits = 1e-7 if dtype == np.float64 else 1e-4
    for name in (
        "singular_values_",
        "canonical_correlations_",
        "x_loadings_",
        "y_loadings_",
        "x_cross_loadings_",
        "y_cross_loadings_",
        "x_weights_",
        "y_weights_",
        "x_mean_",
        "total_correlation_",
    ):
        np.testing.assert_allclose(getattr(sparse, name), getattr(full, name), rtol=0, atol=digits)
    assert sparse.x_weights_.dtype == dtype
    np.testing.assert_allclose(sparse.predict(X[:9]), full.predict(X[:9].toarray()), rtol=0, atol=digits)
    dense_too = fastcca.CCA(4, reg=1e-3, solver="iterative").fit(*dense(X, Y))
    np.testing.assert_allclose(dense_too.x_weights_, full.x_weights_, rtol=0, atol=digits)
    scaled = fastcca.CCA(3, reg=0.1, scale=True, solver="iterative").fit(X, Y)
    np.testing.assert_allclose(
        scaled.x_weights_,
        fastcca.CCA(3, reg=0.1, scale=True).fit(*dense(X, Y)).x_weights_,
        rtol=0,
        atol=digits,
    )


def test_an_iteration_that_ends_early_says_so(views, monkeypatch):
    monkeypatch.setattr(linear, "MOST_ITERATIONS", 2)
    with pytest.warns(UserWarning, match=r"after 2 iterations .* residual of .* Raise reg"):
        fastcca.CCA(4, reg=1e-3, solver="iterative").fit(*views)


def test_numbers_too_large_are_one_error_and_no_warning():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(fastcca.NumericalError, match="the variances of X overflow: scale the data down"):
            solve_matrix_free(1e200 * X, Y, 2, 0.1)
        far = X + np.array([1e300, 0, 0, 0])  # constant, to the digits that it has
        found = solve_matrix_free(far, Y, 2, 0.1)
    rest = solve_matrix_free(X[:, 1:], Y, 2, 0.1)
    np.testing.assert_allclose(found.singular_values, rest.singular_values, rtol=1e-9)


@pytest.mark.parametrize(
    "model",
    [fastcca.PLSRegression(2), fastcca.PLSCanonical(2), fastcca.PLSSVD(2)],
    ids=lambda m: type(m).__name__,
)
def test_partial_least_squares(views, model):
    X, Y = views
    sparse = model.fit(X, Y)
    got = sparse.transform(X), sparse.predict(X[:5]), sparse.x_weights_, sparse.score(X, Y)
    full = model.fit(*dense(X, Y))
    want = (
        full.transform(X.toarray()),
        full.predict(X[:5].toarray()),
        full.x_weights_,
        full.score(*dense(X, Y)),
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", [fastcca.MCCA, fastcca.GCCA])
def test_many_views(views, rng, kind):
    X, Y = views
    Z = rng.standard_normal((600, 3))
    sparse = kind(2, reg=1e-2).fit({"a": X, "b": sp.csc_matrix(Y), "c": Z})
    full = kind(2, reg=1e-2).fit({"a": X.toarray(), "b": Y.toarray(), "c": Z})
    for name in "abc":
        np.testing.assert_allclose(sparse.weights_[name], full.weights_[name], rtol=0, atol=1e-9)
    got, want = (m.transform({"a": a, "b": b, "c": Z}) for m, a, b in ((sparse, X, Y), (full, *dense(X, Y))))
    for name in "abc":
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="Input a contains NaN: the first is at row 5, column 7"):
        sparse.fit({"a": with_entry(X, 5, 7, np.nan), "b": Y})


# ---- bad input


def with_entry(X, row, column, value):
    X = X.tolil()
    X[row, column] = value
    return X.tocsr()


@pytest.mark.parametrize("solver", ["auto", "iterative"])
def test_bad_input(views, solver):
    X, Y = views
    cca = fastcca.CCA(2, reg=0.1, solver=solver)
    for value, kind in ((np.nan, "NaN"), (-np.inf, "infinity")):
        with pytest.raises(ValueError, match=rf"Input X contains {kind}: the first is at row 5, column 7"):
            cca.fit(with_entry(X, 5, 7, value), Y)
    with pytest.raises(ValueError, match="Input y contains NaN: the first is at row 599, column 0"):
        cca.fit(X, with_entry(Y, 599, 0, np.nan))
    with pytest.raises(ValueError, match="same number of rows, got 600 and 599"):
        cca.fit(X, Y[1:])
    with pytest.raises(ValueError, match="X has 0 samples"):
        cca.fit(X[:0], Y[:0])
    with pytest.raises(ValueError, match="X: Complex data not supported"):
        cca.fit(X.astype(complex), Y)
    with pytest.raises(fastcca.NumericalError, match="every column of X is constant"):
        cca.fit(sp.csr_array((600, 5)), Y)
    with pytest.raises(fastcca.NumericalError, match="overflow"):
        cca.fit(X * 1e200, Y)
    cca.fit(X, Y)
    with pytest.raises(ValueError, match="X has 25 features, but CCA is expecting 40"):
        cca.transform(Y)
    with pytest.raises(ValueError, match="Input X contains NaN: the first is at row 5, column 7"):
        cca.transform(with_entry(X, 5, 7, np.nan))


def test_what_sparse_views_cannot_have(views):
    X, Y = views
    for solver in ("qr", "gram"):
        with pytest.raises(ValueError, match=rf"solver='{solver}' takes dense views"):
            fastcca.CCA(solver=solver).fit(X, Y)
    with pytest.raises(ValueError, match="give n_components"):
        fastcca.CCA(solver="iterative").fit(X, Y)
    with pytest.raises(ValueError, match="takes no shrinkage"):
        fastcca.CCA(2, solver="iterative", shrinkage=0.1).fit(X, Y)
    with pytest.raises(ValueError, match="takes no confounds"):
        fastcca.CCA(2, solver="iterative").fit(X, Y, confounds=np.arange(600.0))
    with pytest.raises(ValueError, match="solver='iterative' needs the data"):
        fastcca.CCA(2, solver="iterative").partial_fit(X, Y)
    for options, message in [
        ({"n_components": 26}, "n_components=26 is more than min"),
        ({"n_components": None}, "n_components must be an integer"),
        ({"tol": 0}, "tol must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"scale": 1}, "scale must be"),
        ({"reg": -1}, "reg must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            solve_matrix_free(X, Y, **{"n_components": 2, **options})


# ---- searches

ANY_RIDGE = pytest.mark.filterwarnings("ignore:the best ridge:UserWarning")


@ANY_RIDGE
@pytest.mark.parametrize("small", [0, 2**26])
@pytest.mark.parametrize(
    "options",
    [
        {"regs": [1e-3, 1e-1, 10.0]},
        {"regs": ([0.01, 1.0], [0.1, 1.0]), "n_components": 2},
        {"n_components": 3, "scale": True, "regs": [0.05, 0.5, 5.0]},
        {"n_components": 2, "cv": 3},
    ],
)
@pytest.mark.parametrize("more", [{}, {"sample_weight": "weights"}, {"confounds": "Z"}])
def test_cca_cv(views, small, options, more, monkeypatch):
    monkeypatch.setattr(linear, "SMALL", small)
    given = {"weights": np.arange(600) % 3 + 0.5, "Z": np.arange(600.0)[:, np.newaxis] % 7}
    more = {name: given[value] for name, value in more.items()}
    X, Y = views
    sparse = fastcca.CCACV(**options).fit(X, Y, **more)
    full = fastcca.CCACV(**options).fit(*dense(X, Y), **more)
    scores = [m.cv_results_["mean_test_score"] for m in (sparse, full)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-10)
    np.testing.assert_allclose(sparse.reg_, full.reg_, rtol=1e-12)
    np.testing.assert_allclose(sparse.x_weights_, full.x_weights_, rtol=0, atol=1e-9)
    confounds = {name: a for name, a in more.items() if name == "confounds"}
    np.testing.assert_allclose(
        sparse.transform(X, **confounds), full.transform(X.toarray(), **confounds), rtol=0, atol=1e-9
    )


@ANY_RIDGE
def test_cca_cv_of_few_rows_and_many_columns(rng, monkeypatch):
    """Training parts with fewer rows than columns, and single rows held out, from moments too."""
    monkeypatch.setattr(linear, "SMALL", 0)
    common = sp.random_array((40, 3), density=0.5, rng=rng, format="csr")
    X, Y = counts(rng, 40, 60, 0.2, common), counts(rng, 40, 12, 0.2, common)
    for cv in (4, 40, [(np.arange(20), np.arange(20, 40)), (np.arange(5, 40), np.arange(10))]):
        options = {"n_components": 2, "regs": [0.1, 1.0, 10.0], "cv": cv}
        sparse, full = fastcca.CCACV(**options).fit(X, Y), fastcca.CCACV(**options).fit(*dense(X, Y))
        scores = [m.cv_results_["mean_test_score"] for m in (sparse, full)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-10)
        np.testing.assert_allclose(sparse.singular_values_, full.singular_values_, rtol=0, atol=1e-10)


@ANY_RIDGE
def test_searches_never_make_a_dense_copy(views, monkeypatch):
    monkeypatch.setattr(linear, "SMALL", 0)
    monkeypatch.setattr(moments, "sparse_pays", lambda views: True)
    largest = []

    def watch(self, *args, **kwargs):
        out = sp.coo_array(self).toarray()
        largest.append(out.shape)
        return out

    X, Y = views
    for form in (sp.csr_array, sp.csc_array):
        monkeypatch.setattr(form, "toarray", watch)
    fastcca.CCACV(regs=[0.1, 1.0]).fit(X, Y)
    fastcca.SparseCCACV(penalties=[0.1, 0.2]).fit(X, Y)
    fastcca.PLSRegressionCV(3).fit(X, Y)
    fastcca.MCCACV(2, regs=[0.1, 1.0]).fit([X, Y])
    # of the few columns with a large mean alone, never rows
    assert all(rows <= 65 for rows, _ in largest)


def test_a_search_of_too_many_columns_says_what_to_do(views, monkeypatch):
    monkeypatch.setattr(linear, "SMALL", 0)
    monkeypatch.setattr(model_selection, "MOST_SPARSE", 64)
    with pytest.raises(ValueError, match=r"up to 64 columns in all, got 65: .* CCA\(solver='iterative'"):
        fastcca.CCACV().fit(*views)


@pytest.mark.parametrize(
    "model",
    [
        fastcca.PLSRegressionCV(4),
        fastcca.PLSRegressionCV(2, cv=600),
        fastcca.SparseCCA(2, penalty=0.1),
        fastcca.SparseCCA(2, method="pmd", penalty=0.5),
        fastcca.SparseCCACV(penalties=[0.05, 0.1]),
        fastcca.SparseCCACV(method="pmd", penalties=[0.3, 0.6]),
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_other_searches_of_two_views(views, model, weighted):
    X, Y = views
    weights = np.arange(600) % 3 + 0.5 if weighted else None
    sparse = clone(model).fit(X, Y, sample_weight=weights)
    full = clone(model).fit(*dense(X, Y), sample_weight=weights)
    if hasattr(full, "cv_results_"):
        scores = [m.cv_results_["mean_test_score"] for m in (sparse, full)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-10)
    np.testing.assert_allclose(sparse.x_weights_, full.x_weights_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(sparse.transform(X), full.transform(X.toarray()), rtol=0, atol=1e-10)
    np.testing.assert_allclose(sparse.transform_y(Y), full.transform_y(Y.toarray()), rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="Input X contains NaN: the first is at row 5, column 7"):
        sparse.fit(with_entry(X, 5, 7, np.nan), Y)


@ANY_RIDGE
@pytest.mark.parametrize("method", ["mcca", "gcca"])
@pytest.mark.parametrize("cv", [4, 300])
def test_many_views_by_cross_validation(views, rng, method, cv):
    X, Y = (view[:300] for view in views)
    Z = rng.standard_normal((300, 3))
    options = {"n_components": 2, "regs": [0.01, 0.1, 1.0], "method": method, "cv": cv}
    sparse = fastcca.MCCACV(**options).fit({"a": X, "b": sp.csc_matrix(Y), "c": Z})
    full = fastcca.MCCACV(**options).fit({"a": X.toarray(), "b": Y.toarray(), "c": Z})
    scores = [m.cv_results_["mean_test_score"] for m in (sparse, full)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-10)
    for name in "abc":
        np.testing.assert_allclose(sparse.weights_[name], full.weights_[name], rtol=0, atol=1e-9)


def test_stability_selection_of_sparse_views(views):
    X, Y = views
    model = fastcca.SparseCCA(penalty=0.1)
    got, want = (stability_selection(model, a, b, 5, 10, 0) for a, b in ((X, Y), dense(X, Y)))
    assert np.array_equal(got.x_frequency, want.x_frequency)


def test_kernel_cca_of_sparse_rows_by_their_kernels(views):
    """What the error recommends: kernels of sparse rows are small dense matrices."""
    X, Y = (view[:150] for view in views)
    with pytest.raises(TypeError, match=r"X is sparse, but dense data is required"):
        fastcca.KernelCCA(2).fit(X, Y)
    options = {"n_components": 2, "reg": 0.1}
    kernels = [np.asarray((view @ view.T).toarray()) for view in (X, Y)]
    got = fastcca.KernelCCA(kernel="precomputed", **options).fit(*kernels)
    want = fastcca.KernelCCA(kernel="linear", **options).fit(*dense(X, Y))
    np.testing.assert_allclose(got.singular_values_, want.singular_values_, rtol=0, atol=1e-8)
