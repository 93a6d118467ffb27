"""KernelMCCA against KernelCCA, against dense kernels, and against MCCA of the rows."""

import numpy as np
import pytest
import scipy.linalg

from fastcca import MCCA, KernelCCA, KernelMCCA, NumericalError

pytestmark = pytest.mark.core


@pytest.fixture
def views(rng):
    t = rng.normal(size=(60, 1))
    return {
        "a": np.hstack([t, rng.normal(size=(60, 2))]),
        "b": t**2 + 0.3 * rng.normal(size=(60, 2)),
        "c": np.sin(t) + 0.3 * rng.normal(size=(60, 1)),
    }


def rbf(A, B, gamma):
    return np.exp(-gamma * ((A[:, None] - B[None]) ** 2).sum(axis=2))


def dense(kernels, k, reg):
    """The eigenproblem of the whole features of centred kernels."""
    n = len(kernels[0])
    H = np.eye(n) - 1 / n
    kernels = [H @ K @ H for K in kernels]
    roots = []
    for K in kernels:
        values, vectors = np.linalg.eigh(K)
        keep = values > 1e-10 * values[-1]
        roots.append(vectors[:, keep] * np.sqrt(values[keep]))  # features
    G = np.hstack(roots)
    A = G.T @ G / (n - 1) + reg * np.eye(G.shape[1])
    ends = np.cumsum([root.shape[1] for root in roots])
    B = scipy.linalg.block_diag(*(root.T @ root / (n - 1) + reg * np.eye(root.shape[1]) for root in roots))
    values, vectors = scipy.linalg.eigh(A, B)
    parts = np.split(vectors[:, ::-1][:, :k] * np.sqrt(len(roots)), ends[:-1])
    return values[::-1][:k], [root @ part for root, part in zip(roots, parts, strict=True)]


def aligned(z, expected):
    signs = np.sign((z * expected).sum(axis=0))
    return expected * signs


@pytest.mark.parametrize("reg", [1e-2, 0.5])
def test_it_is_the_eigenproblem_of_dense_kernels(views, reg):
    gammas = {"a": 0.2, "b": 0.1, "c": 0.5}
    model = KernelMCCA(2, gamma=gammas, reg=reg, tol=1e-13).fit(views)
    kernels = [rbf(views[n], views[n], gammas[n]) for n in "abc"]
    values, scores = dense(kernels, 2, reg)
    np.testing.assert_allclose(model.eigenvalues_, values, rtol=1e-7)
    for name, z in zip("abc", scores, strict=True):
        ours = model.transform_view(name, views[name])
        np.testing.assert_allclose(ours, aligned(ours, z), atol=1e-5)
    # the same kernels, precomputed
    given = dict(zip("abc", kernels, strict=True))
    again = KernelMCCA(2, kernel="precomputed", reg=reg, tol=1e-13).fit(given)
    np.testing.assert_allclose(again.eigenvalues_, values, rtol=1e-7)
    new = {n: views[n][:5] + 0.1 for n in views}
    of_new = {n: rbf(new[n], views[n], gammas[n]) for n in views}
    for name in views:
        z = model.transform_view(name, new[name])
        other = again.transform_view(name, of_new[name])
        np.testing.assert_allclose(other, aligned(other, z), atol=1e-5)
    z = model.common_variate(new)
    other = again.common_variate(of_new)
    np.testing.assert_allclose(other, aligned(other, z), atol=1e-5)
    with pytest.raises(ValueError, match="the kernel of 'b' is precomputed"):
        again.predict_views({"a": of_new["a"]}, ["b"])


def test_with_two_views_it_is_kernel_cca(views):
    X, Y = views["a"], views["b"]
    pair = KernelCCA(2, gamma=(0.2, 0.1), reg=1e-2).fit(X, Y)
    many = KernelMCCA(2, gamma={"view0": 0.2, "view1": 0.1}, reg=1e-2).fit([X, Y])
    np.testing.assert_allclose(many.eigenvalues_, 1 + pair.singular_values_, atol=1e-8)
    np.testing.assert_allclose(many.canonical_correlations_, pair.canonical_correlations_, atol=1e-7)
    np.testing.assert_allclose(np.abs(many.transform_view("view0", X)), np.abs(pair.transform(X)), atol=1e-6)
    np.testing.assert_allclose(many.predict_views([X, None])["view1"], pair.predict(X), atol=1e-6)


@pytest.mark.parametrize("method", ["mcca", "gcca"])
def test_linear_kernels_are_the_linear_methods(views, method):
    from fastcca import GCCA

    kernel = KernelMCCA(1, kernel="linear", reg=0.1, method=method).fit(views)
    linear = (MCCA if method == "mcca" else GCCA)(1, reg=0.1).fit(views)
    np.testing.assert_allclose(kernel.eigenvalues_, linear.eigenvalues_, rtol=1e-8)
    for name in views:
        z = kernel.transform_view(name, views[name])
        expected = linear.transform_view(name, views[name])
        np.testing.assert_allclose(z, aligned(z, expected), atol=1e-7)
        np.testing.assert_allclose(np.abs(kernel.loadings_[name]), np.abs(linear.loadings_[name]), atol=1e-7)


def test_functions_and_mixtures_of_kernels(views):
    mixed = KernelMCCA(
        1, kernel={"a": lambda A, B: rbf(A, B, 0.2), "c": "linear"}, gamma={"b": 0.1}, reg=1e-2
    )
    named = KernelMCCA(1, kernel={"c": "linear"}, gamma={"a": 0.2, "b": 0.1}, reg=1e-2)
    np.testing.assert_allclose(
        np.abs(mixed.fit(views).common_variate(views)),
        np.abs(named.fit(views).common_variate(views)),
        atol=1e-6,
    )


def test_bad_input(views, rng):
    K = {name: rbf(v, v, 0.1) for name, v in views.items()}
    skew = K["b"] + np.triu(np.full((60, 60), 0.1), 1)
    with pytest.raises(ValueError, match="the precomputed kernel of b must be symmetric"):
        KernelMCCA(1, kernel="precomputed").fit({**K, "b": skew})
    with pytest.raises(ValueError, match="the precomputed kernel of b must be square"):
        KernelMCCA(1, kernel="precomputed").fit({**K, "b": K["b"][:, :50]})
    negative = K["b"] - 2 * np.eye(60)
    with pytest.raises(NumericalError, match="the precomputed kernel of b is not positive semidefinite"):
        KernelMCCA(1, kernel="precomputed").fit({**K, "b": negative})
    with pytest.raises(ValueError, match="kernel names an unknown view 'z'"):
        KernelMCCA(1, kernel={"z": "rbf"}).fit(views)
    with pytest.raises(ValueError, match="takes two views or more"):
        KernelMCCA(1).fit([views["a"]])
    with pytest.raises(ValueError, match="method must be one of 'mcca', 'gcca'"):
        KernelMCCA(1, method="x").fit(views)
    with pytest.raises(NumericalError, match="every row of b is the same to its kernel"):
        KernelMCCA(1, gamma=0.1).fit({**views, "b": np.ones((60, 2))})
    holes = views["a"].copy()
    holes[3] = np.nan
    with pytest.raises(ValueError, match="row 3 lacks view 'a'"):
        KernelMCCA(1).fit({**views, "a": holes})
