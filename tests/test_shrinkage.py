"""CCA with shrunk covariances, against the formula from the rows, scikit-learn's estimators and PLS."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.covariance import ledoit_wolf_shrinkage, oas

import fastcca
from fastcca import CCA, PLSSVD, Moments

pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore:n - 1 = ")]


def two_views(rng, n=70, p=6, q=4):
    t = rng.normal(size=(n, 2))
    X = t @ rng.normal(size=(2, p)) + rng.normal(size=(n, p)) * np.arange(1, p + 1) + 2.0
    return X, t @ rng.normal(size=(2, q)) + rng.normal(size=(n, q))


def direct(X, Y, taus, k, scale=False):
    """(1 - tau) S + tau mu I by its symmetric root, and the singular values of what is left."""
    X, Y = (A - A.mean(0) for A in (X, Y))
    ux, uy = (A.std(0, ddof=1) if scale else np.ones(A.shape[1]) for A in (X, Y))
    X, Y = X / ux, Y / uy
    roots = []
    for A, tau in ((X, taus[0]), (Y, taus[1])):
        S = A.T @ A / (len(A) - 1)
        shrunk = (1 - tau) * S + tau * np.trace(S) / len(S) * np.eye(len(S))
        roots.append(np.real(scipy.linalg.inv(scipy.linalg.sqrtm(shrunk))))
    U, d, Vt = np.linalg.svd(roots[0] @ X.T @ Y @ roots[1] / (len(X) - 1), full_matrices=False)
    wx, wy = roots[0] @ U[:, :k] / ux[:, None], roots[1] @ Vt[:k].T / uy[:, None]
    signs = np.sign(wx[np.abs(wx).argmax(0), np.arange(k)])
    return wx * signs, wy * signs, d[:k]


@pytest.mark.parametrize("taus", [(0.0, 0.0), (0.3, 0.3), (0.9, 0.1), (1.0, 1.0), (1.0, 0.2)])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", [(70, 6, 4), (12, 30, 3)])
def test_it_is_the_formula(rng, taus, scale, shape):
    X, Y = two_views(rng, *shape)
    if shape[0] < shape[1] and (1.0 in taus or 0.0 in taus):
        return
    model = CCA(2, shrinkage=taus, scale=scale).fit(X, Y)
    wx, wy, d = direct(X, Y, taus, 2, scale)
    np.testing.assert_allclose(model.singular_values_, d, rtol=1e-9)
    np.testing.assert_allclose(model.x_weights_, wx, atol=1e-9)
    np.testing.assert_allclose(model.y_weights_, wy, atol=1e-9)
    assert model.shrinkage_ == taus
    zx, zy = model.transform_views(X, Y)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(zx.T, zy.T, strict=True)]
    np.testing.assert_allclose(model.canonical_correlations_, r, atol=1e-10)
    design = np.column_stack([np.ones(len(X)), zx])
    expected = design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-8)
    assert model.total_correlation_ == pytest.approx(d.sum())


def test_its_ends_are_cca_and_pls(rng):
    X, Y = two_views(rng)
    zero, cca = CCA(3, shrinkage=0).fit(X, Y), CCA(3).fit(X, Y)
    np.testing.assert_allclose(zero.x_weights_, cca.x_weights_, atol=1e-10)
    one, pls = CCA(3, shrinkage=1).fit(X, Y), PLSSVD(3, scale=False).fit(X, Y)
    unit = one.x_weights_ / np.linalg.norm(one.x_weights_, axis=0)
    np.testing.assert_allclose(unit, pls.x_weights_, atol=1e-9)
    # and the ridge of the same directions
    half = CCA(2, shrinkage=0.5).fit(X, Y)
    ridge = CCA(2, reg=half.reg_).fit(X, Y)
    np.testing.assert_allclose(half.x_weights_, ridge.x_weights_ * np.sqrt(2), atol=1e-10)


@pytest.mark.parametrize("shape", [(70, 6, 4), (15, 40, 3)])
@pytest.mark.parametrize("scale", [False, True])
def test_estimates_are_scikit_learns(rng, shape, scale):
    X, Y = two_views(rng, *shape)
    sx, sy = ((A - A.mean(0)) / A.std(0, ddof=1) if scale else A for A in (X, Y))
    lw = CCA(1, shrinkage="ledoit-wolf", scale=scale).fit(X, Y)
    np.testing.assert_allclose(lw.shrinkage_, [ledoit_wolf_shrinkage(A) for A in (sx, sy)], rtol=1e-10)
    approximating = CCA(1, shrinkage="oas", scale=scale).fit(X, Y)
    np.testing.assert_allclose(approximating.shrinkage_, [oas(A)[1] for A in (sx, sy)], rtol=1e-10)
    wx, *_ = direct(X, Y, lw.shrinkage_, 1, scale)
    np.testing.assert_allclose(lw.x_weights_, wx, atol=1e-9)
    mixed = CCA(1, shrinkage=("ledoit-wolf", 0.25), scale=scale).fit(X, Y)
    assert mixed.shrinkage_ == (lw.shrinkage_[0], 0.25)


def test_streams_weights_confounds_and_files(rng, tmp_path):
    X, Y = two_views(rng)
    Z = rng.normal(size=(70, 2))
    X, Y = X + Z @ rng.normal(size=(2, 6)), Y + Z @ rng.normal(size=(2, 4))
    whole = CCA(2, shrinkage="oas").fit(X, Y)
    moments = Moments().update(X[:30], Y[:30]) + Moments().update(X[30:], Y[30:])
    grown = CCA(2, shrinkage="oas").partial_fit(X[:30], Y[:30]).partial_fit(X[30:], Y[30:])
    for other in (grown, CCA(2, shrinkage="oas").fit_moments(moments)):
        np.testing.assert_allclose(other.x_weights_, whole.x_weights_, atol=1e-11)
        np.testing.assert_allclose(other.shrinkage_, whole.shrinkage_, atol=1e-12)
    w = rng.integers(0, 3, 70)
    rows = np.repeat(np.arange(70), w)
    for rule in ("ledoit-wolf", "oas", 0.4):
        weighted = CCA(2, shrinkage=rule).fit(X, Y, sample_weight=w)
        np.testing.assert_allclose(
            weighted.x_weights_, CCA(2, shrinkage=rule).fit(X[rows], Y[rows]).x_weights_, atol=1e-10
        )
        partial = CCA(2, shrinkage=rule).fit(X, Y, confounds=Z)
        design = np.column_stack([np.ones(70), Z])
        rx, ry = (A - design @ np.linalg.lstsq(design, A, rcond=None)[0] for A in (X, Y))
        expected = CCA(2, shrinkage=rule).fit(rx, ry)
        np.testing.assert_allclose(partial.x_weights_, expected.x_weights_, atol=1e-9)
        np.testing.assert_allclose(partial.shrinkage_, expected.shrinkage_, atol=1e-10)
        weighted.save(tmp_path / "m.safetensors")
        loaded = fastcca.load(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(loaded.transform(X), weighted.transform(X))
    model = whole.set_params(shrinkage=None).fit(X, Y)
    assert not hasattr(model, "shrinkage_")
    assert not hasattr(model, "reg_")


def test_bad_shrinkage(rng):
    X, Y = two_views(rng)
    for bad in (-0.1, 1.1, "lw", (0.1,), (0.1, 0.2, 0.3), np.nan, True, [0.1, "x"]):
        with pytest.raises(ValueError, match=r"shrinkage must be a number in \[0, 1\]"):
            CCA(shrinkage=bad).fit(X, Y)
    with pytest.raises(ValueError, match="give reg or shrinkage, not both"):
        CCA(shrinkage=0.1, reg=0.1).fit(X, Y)
    with pytest.raises(ValueError, match="takes solver='auto' or 'covariance', got 'qr'"):
        CCA(shrinkage=0.1, solver="qr").fit(X, Y)
    with pytest.raises(ValueError, match="takes the rows, which moments do not hold"):
        CCA(shrinkage="ledoit-wolf").fit_moments(Moments().update(X, Y))
    with pytest.raises(ValueError, match="use PLSSVD"):
        CCA(1, shrinkage=1.0).fit(X[:5], Y[:5])
