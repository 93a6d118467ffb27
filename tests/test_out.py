"""Scores written into an array or a memory map of the caller's: bitwise those that are returned."""

import numpy as np
import pytest
import scipy.sparse

from fastcca import CCA, GCCA, MCCA, KernelCCA, KernelMCCA, PLSRegression, SparseCCA
from fastcca._models.statistics import rows_at_once


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(40_000, 2))
    return [common @ rng.normal(size=(2, d)) + rng.normal(size=(40_000, d)) for d in (300, 7)]


MODELS = [
    CCA(3, 0.1),
    CCA(3, 0.1, scale=True),
    PLSRegression(3),
    SparseCCA(2, 0.5),
    KernelCCA(2, rank=20, random_state=0),
    KernelCCA(2, kernel=lambda a, b: a @ b.T + 1, rank=5, random_state=0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", MODELS, ids=[f"{type(m).__name__}{i}" for i, m in enumerate(MODELS)])
def test_two_views(views, tmp_path, model, dtype):
    X, y = (view.astype(dtype) for view in views)
    assert len(X) > rows_at_once(X)  # several runs of rows
    model.fit(X[:500, :], y[:500])
    k = len(model.canonical_correlations_)
    for rows, transform, order in ((X, model.transform, "C"), (y, model.transform_y, "F")):
        expected = transform(rows)
        assert expected.dtype == dtype
        np.save(tmp_path / "rows.npy", rows)
        mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
        out = np.full((len(rows), k), np.nan, dtype=dtype, order=order)
        assert transform(rows, out=out) is out
        np.testing.assert_array_equal(out, expected)
        out = np.lib.format.open_memmap(tmp_path / "z.npy", "w+", dtype, (len(rows), k))
        transform(mapped, out=out)
        out.flush()
        np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), expected)
    some = np.empty((7, k), dtype=dtype)
    np.testing.assert_array_equal(model.transform(X[:7], out=some), model.transform(X[:7]))


@pytest.mark.parametrize(
    "model",
    [MCCA(3, 0.1), GCCA(3, 0.1), KernelMCCA(2, rank=20, random_state=0)],
    ids=["MCCA", "GCCA", "KernelMCCA"],
)
def test_many_views(views, model):
    given = {"a": views[0], "b": views[1], "c": views[0][:, :4] + views[1][:, :4]}
    model.fit({name: view[:500] for name, view in given.items()})
    for name, view in given.items():
        expected = model.transform_view(name, view)
        out = np.empty_like(expected)
        assert model.transform_view(name, view, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_confounds_and_sparse_rows(views):
    X, y = views
    Z = X[:, :2] + y[:, :2]
    model = CCA(2).fit(X, y, confounds=Z)
    out = np.empty((len(X), 2))
    np.testing.assert_array_equal(model.transform(X, confounds=Z, out=out), model.transform(X, confounds=Z))
    many = MCCA(2).fit([X, y], confounds=Z)
    np.testing.assert_array_equal(
        many.transform_view("view0", X, Z, out=out), many.transform_view("view0", X, Z)
    )
    sparse = scipy.sparse.csr_array(np.where(X > 1, X, 0))
    model = CCA(2, solver="covariance").fit(sparse, y)
    np.testing.assert_array_equal(model.transform(sparse, out=out), model.transform(sparse))


def test_what_is_refused(views):
    X, y = views
    model = CCA(2).fit(X, y)
    n = len(X)
    for out, message in (
        (np.empty((n, 3)), r"shape \(40000, 2\) and dtype float64, got \(40000, 3\)"),
        (np.empty((n, 2), dtype=np.float32), "got .*float32"),
        (np.broadcast_to(np.zeros(2), (n, 2)), "read-only"),
        (X[:, :2], "out must not share memory with X"),
    ):
        with pytest.raises(ValueError, match=message):
            model.transform(X, out=out)
    with pytest.raises(TypeError, match="NumPy array or memory map, got list"):
        model.transform(X, out=[[0.0, 0.0]])
    broken, out = X.copy(), np.zeros((n, 2))
    broken[39_000, 5] = np.nan
    with pytest.raises(ValueError, match=r"row 39000.* 5|39000"):
        model.transform(broken, out=out)
    with pytest.raises(ValueError, match="300 features"):
        model.transform(y, out=out)
