"""Moments of dask arrays: any chunks and schedulers, what is refused."""

import subprocess
import sys

import numpy as np
import pytest

from fastcca import CCA, Moments

pytest.importorskip("dask", reason="dask (the extra `distributed`) is not installed")
import dask
import dask.array as da

from fastcca.distributed import moments


@pytest.fixture
def views(rng):
    X = rng.standard_normal((1000, 5)) + 100
    return X, X[:, :3] + rng.standard_normal((1000, 3))


@pytest.mark.parametrize(
    ("scheduler", "chunks"),
    [
        ("synchronous", (7, 2)),
        ("synchronous", (1000, 5)),
        ("threads", (7, 2)),
        ("threads", ((300, 1, 699), 5)),
        ("processes", ((300, 1, 699), 5)),
    ],
)
def test_the_moments_of_all_rows(views, scheduler, chunks):
    X, Y = views
    with dask.config.set(scheduler=scheduler):
        got = moments(da.from_array(X, chunks=chunks), da.from_array(Y, chunks=(400, 3)))
    want = Moments().update(X, Y)
    assert (got.n, got.dims) == (1000, (5, 3))
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-13)
    np.testing.assert_allclose(got.scatter, want.scatter, rtol=0, atol=1e-9)
    fitted = CCA().fit_moments(got)
    np.testing.assert_allclose(
        fitted.canonical_correlations_, CCA().fit(X, Y).canonical_correlations_, atol=1e-12
    )


def test_weights_and_float32(views, rng):
    X, Y = (view.astype(np.float32) for view in views)
    weight = rng.integers(0, 4, 1000).astype(float)
    for given in (weight, da.from_array(weight, chunks=90)):
        got = moments(
            da.from_array(X, chunks=(250, 5)), da.from_array(Y, chunks=(250, 3)), sample_weight=given
        )
        want = Moments().update(X, Y, sample_weight=weight)
        assert got.n == weight.sum()
        assert np.array_equal(got.eps, want.eps)
        np.testing.assert_allclose(got.scatter, want.scatter, rtol=1e-4, atol=1e-2)


def test_a_cluster(views):
    distributed = pytest.importorskip("distributed")
    X, Y = views
    cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        got = moments(da.from_array(X, chunks=(100, 5)), da.from_array(Y, chunks=(100, 3)))
    np.testing.assert_allclose(got.scatter, Moments().update(X, Y).scatter, rtol=0, atol=1e-9)


def test_bad_input(views):
    X, Y = (da.from_array(view, chunks=(100, 5)) for view in views)
    with pytest.raises(TypeError, match=r"views\[1\] must be a dask array, got ndarray"):
        moments(X, views[1])
    with pytest.raises(ValueError, match="two dimensions"):
        moments(X, Y[:, 0])
    with pytest.raises(ValueError, match="number of rows: 1000, 999"):
        moments(X, Y[1:])
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        moments(X[X[:, 0] > 100], Y)
    with pytest.raises(ValueError, match="sample_weight"):
        moments(X, Y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="at least one view"):
        moments()
    with pytest.raises(ValueError, match="NaN"):
        moments(da.where(X > 103, np.nan, X), Y)


def test_without_dask_the_extra_is_named():
    code = "import sys; sys.modules['dask'] = None; import fastcca.distributed"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'fastcca[distributed]'" in done.stderr
