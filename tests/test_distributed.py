"""Moments of dask arrays: any chunks and schedulers, what is refused."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.base import clone

import fastcca
from fastcca import streaming

pytest.importorskip("dask", reason="dask (the extra `distributed`) is not installed")
import dask
import dask.array as da

from fastcca import distributed
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
    want = fastcca.Moments().update(X, Y)
    assert (got.n, got.dims) == (1000, (5, 3))
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-13)
    np.testing.assert_allclose(got.scatter, want.scatter, rtol=0, atol=1e-9)
    fitted = fastcca.CCA().fit_moments(got)
    np.testing.assert_allclose(
        fitted.canonical_correlations_, fastcca.CCA().fit(X, Y).canonical_correlations_, atol=1e-12
    )


def test_weights_and_float32(views, rng):
    X, Y = (view.astype(np.float32) for view in views)
    weight = rng.integers(0, 4, 1000).astype(float)
    for given in (weight, da.from_array(weight, chunks=90)):
        got = moments(
            da.from_array(X, chunks=(250, 5)), da.from_array(Y, chunks=(250, 3)), sample_weight=given
        )
        want = fastcca.Moments().update(X, Y, sample_weight=weight)
        assert got.n == weight.sum()
        assert np.array_equal(got.eps, want.eps)
        np.testing.assert_allclose(got.scatter, want.scatter, rtol=1e-4, atol=1e-2)


def test_a_cluster(views):
    dask_distributed = pytest.importorskip("distributed")
    X, Y = views
    cluster = dask_distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None)
    with cluster, dask_distributed.Client(cluster):
        got = moments(da.from_array(X, chunks=(100, 5)), da.from_array(Y, chunks=(100, 3)))
    np.testing.assert_allclose(got.scatter, fastcca.Moments().update(X, Y).scatter, rtol=0, atol=1e-9)


def test_bad_input(views):
    X, Y = (da.from_array(view, chunks=(100, 5)) for view in views)
    with pytest.raises(TypeError, match=r"views\[1\] must be a dask array, .* got ndarray"):
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


# ---- estimators


def test_bitwise_for_equal_chunks_whatever_computes_them(views):
    X, Y = (da.from_array(view, chunks=(37, view.shape[1])) for view in views)
    found = []
    for scheduler in ("synchronous", "threads", "processes"):
        with dask.config.set(scheduler=scheduler):
            found.append(distributed.fit(fastcca.CCA(2), X, Y))
    for other in found[1:]:
        assert np.array_equal(found[0].x_weights_, other.x_weights_)
        assert np.array_equal(found[0].moments_.scatter, other.moments_.scatter)


MODELS = [
    fastcca.CCA(2, reg=0.1),
    fastcca.PLSRegression(2),
    fastcca.PLSCanonical(2),
    fastcca.PLSSVD(2),
    fastcca.CCACV(2),
    fastcca.CCACV(2, scale=True, cv=3),
]
MODELS.append(fastcca.SparseCCA(2, penalty=0.01))


def frames(*arrays):
    dd = pytest.importorskip("dask.dataframe", reason="dask.dataframe is not installed")
    pd = pytest.importorskip("pandas")
    return [
        dd.from_pandas(pd.DataFrame(a, columns=[f"c{i}" for i in range(a.shape[1])]), npartitions=7)
        for a in arrays
    ]


def arrays_of(*arrays):
    return [da.from_array(a, chunks=(130, 2)) for a in arrays]


def delayed_chunks(*arrays):
    return [[dask.delayed(a[i : i + 130]) for i in range(0, len(a), 130)] for a in arrays]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("source", [arrays_of, frames, delayed_chunks])
def test_fits_are_those_of_all_rows(views, model, source):
    got = distributed.fit(clone(model), *source(*views))
    want = clone(model).fit(*views)
    np.testing.assert_allclose(got.x_weights_, want.x_weights_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(got.canonical_correlations_, want.canonical_correlations_, atol=1e-12)
    if isinstance(model, fastcca.CCACV):
        assert got.reg_ == pytest.approx(want.reg_)
        np.testing.assert_allclose(
            got.cv_results_["mean_test_score"], want.cv_results_["mean_test_score"], atol=1e-9
        )
        assert got.n_splits_ == want.n_splits_


@pytest.mark.parametrize("kind", [fastcca.MCCA, fastcca.GCCA])
def test_many_views(views, kind):
    X, Y = views
    three = {"a": X, "b": Y, "c": X[:, 3:] + Y[:, :2]}
    lazy = dict(zip(three, arrays_of(*three.values()), strict=True))
    want = kind(2, reg=0.1).fit(three)
    for got in (
        distributed.fit(kind(2, reg=0.1), lazy),
        distributed.fit(kind(2, reg=0.1), *lazy.values(), names=list("abc")),
    ):
        assert got.views_ == ("a", "b", "c")
        for name in three:
            np.testing.assert_allclose(got.weights_[name], want.weights_[name], rtol=0, atol=1e-10)


def test_confounds_and_weights(views, rng):
    X, Y = views
    Z, weight = rng.standard_normal((1000, 2)), rng.integers(1, 4, 1000).astype(float)
    x, y, z = arrays_of(X, Y, Z)
    got = distributed.fit(fastcca.CCA(2), x, y, confounds=z, sample_weight=weight)
    want = fastcca.CCA(2).fit(X, Y, sample_weight=weight, confounds=Z)
    np.testing.assert_allclose(got.x_weights_, want.x_weights_, rtol=0, atol=1e-10)
    chunks = delayed_chunks(X, Y, weight)
    got = distributed.fit(fastcca.CCA(2), *chunks[:2], sample_weight=chunks[2])
    np.testing.assert_allclose(
        got.x_weights_, fastcca.CCA(2).fit(X, Y, sample_weight=weight).x_weights_, rtol=0, atol=1e-10
    )


def test_files_that_workers_read(views, tmp_path):
    X, Y = views
    np.save(tmp_path / "X.npy", X)
    np.savez(tmp_path / "Y.npz", Y)
    chunks = streaming.read(tmp_path / "X.npy", tmp_path / "Y.npz", rows=130)
    with dask.config.set(scheduler="processes"):
        got = moments(chunks)
    np.testing.assert_allclose(got.scatter, fastcca.Moments().update(X, Y).scatter, rtol=0, atol=1e-9)
    search = distributed.fit(fastcca.CCACV(2), chunks)
    assert search.reg_ == pytest.approx(fastcca.CCACV(2).fit(X, Y).reg_)


def test_scores_chunk_by_chunk(views):
    X, Y = views
    cca = fastcca.CCA(2).fit(X, Y)
    x, y = arrays_of(X, Y)
    np.testing.assert_allclose(distributed.transform(cca, x).compute(), cca.transform(X), atol=1e-12)
    np.testing.assert_allclose(distributed.transform(cca, y, "y").compute(), cca.transform_y(Y), atol=1e-12)
    assert distributed.transform(cca, x.astype(np.float32)).compute().dtype == np.float32
    (frame,) = frames(X)
    np.testing.assert_allclose(distributed.transform(cca, frame).compute(), cca.transform(X), atol=1e-12)
    with pytest.raises(ValueError, match="the view has 3 columns, but the model takes 5"):
        distributed.transform(cca, y)
    with pytest.raises(TypeError, match="two-dimensional dask array, got ndarray"):
        distributed.transform(cca, X)
    with pytest.raises(ValueError, match="which must be one of"):
        distributed.transform(cca, x, "z")


KERNEL = {"n_components": 2, "rank": 40, "reg": 1e-3}


@pytest.mark.parametrize("source", [arrays_of, frames, delayed_chunks])
@pytest.mark.parametrize("kernel", ["rbf", "polynomial"])
def test_kernel_cca(views, source, kernel):
    views = views[0] - 100, views[1] - 100
    model = fastcca.KernelCCA(kernel=kernel, **KERNEL)
    got, want = distributed.fit(clone(model), *source(*views)), clone(model).fit(*views)
    assert (got.x_rank_, got.x_gamma_) == (want.x_rank_, want.x_gamma_)
    np.testing.assert_allclose(got.singular_values_, want.singular_values_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(got.x_loadings_, want.x_loadings_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(got.transform(views[0]), want.transform(views[0]), rtol=0, atol=1e-8)
    (x,) = arrays_of(views[0])
    np.testing.assert_allclose(distributed.transform(got, x).compute(), got.transform(views[0]), atol=1e-10)


def test_kernel_cca_with_landmarks_of_a_sample(views, rng, monkeypatch):
    monkeypatch.setattr(distributed, "SAMPLE", 100)
    monkeypatch.setattr(distributed, "SAMPLE_EACH", 3)
    X, Y = views[0].astype(np.float32), views[1]
    weight = rng.integers(0, 4, 1000).astype(float)
    x, y = arrays_of(X, Y)
    got = distributed.fit(fastcca.KernelCCA(**KERNEL), x, y, sample_weight=weight)
    assert got.x_landmark_indices_ is None
    rows = {row.tobytes() for row in X[weight > 0]}
    assert all(row.tobytes() in rows for row in got.x_landmarks_)
    options = {**KERNEL, "gamma": (got.x_gamma_, got.y_gamma_)}
    landmarks = got.x_landmarks_, got.y_landmarks_
    want = fastcca.KernelCCA(**options).fit(X, Y, sample_weight=weight, landmarks=landmarks)
    np.testing.assert_allclose(got.singular_values_, want.singular_values_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.transform(X), want.transform(X), rtol=0, atol=1e-3)
    again = distributed.fit(fastcca.KernelCCA(**KERNEL), x, y, sample_weight=weight)
    assert np.array_equal(again.x_weights_, got.x_weights_)


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(views, tmp_path):
    cluster_of = pytest.importorskip("distributed")
    X, Y = views

    def slow(number, rows, folder):  # within the test: workers do not know its module
        import os
        import time

        time.sleep(0.05)
        with open(os.path.join(folder, f"{number}-{os.getpid()}"), "w"):
            pass
        return rows

    want = distributed.fit(fastcca.CCA(2), *delayed_chunks_of(X, Y, rows=20))
    with (
        cluster_of.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        cluster_of.Client(cluster),
    ):
        again = distributed.fit(fastcca.CCA(2), *delayed_chunks_of(X, Y, rows=20))
        assert np.array_equal(again.x_weights_, want.x_weights_)
        chunks = [
            [dask.delayed(slow)(i, part, str(tmp_path)) for i, part in enumerate(view)]
            for view in delayed_chunks_of(X, Y, rows=20)
        ]
        killed = []

        def kill():
            while len(list(tmp_path.iterdir())) < 20:
                time.sleep(0.01)
            victim = int(next(iter(tmp_path.iterdir())).name.split("-")[1])
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

        thread = threading.Thread(target=kill)
        thread.start()
        got = distributed.fit(fastcca.CCA(2), *chunks)
        thread.join()
    assert killed
    assert np.array_equal(got.x_weights_, want.x_weights_)
    assert np.array_equal(got.moments_.scatter, want.moments_.scatter)


def delayed_chunks_of(*arrays, rows):
    return [[dask.delayed(a[i : i + rows]) for i in range(0, len(a), rows)] for a in arrays]


def test_bad_fits(views):
    X, Y = views
    x, y = arrays_of(X, Y)
    with pytest.raises(TypeError, match=r"estimator must be a CCA, .* got KernelCCACV"):
        distributed.fit(fastcca.KernelCCACV(), x, y)
    with pytest.raises(ValueError, match="a precomputed kernel has no values between rows of parts"):
        distributed.fit(fastcca.KernelCCA(kernel="precomputed"), x, y)
    with pytest.raises(ValueError, match="KernelCCA takes two views, got 3"):
        distributed.fit(fastcca.KernelCCA(), x, y, y)
    bad = X.copy()
    bad[300, 2] = np.nan
    with pytest.raises(ValueError, match="chunk 2: Input X contains NaN: the first is at row 40, column 2"):
        distributed.fit(fastcca.KernelCCA(), da.from_array(bad, chunks=(130, 2)), y)
    with pytest.raises(TypeError, match="names are for MCCA and GCCA"):
        distributed.fit(fastcca.CCA(), x, y, names=["a", "b"])
    with pytest.raises(TypeError, match="confounds are for CCA, got PLSSVD"):
        distributed.fit(fastcca.PLSSVD(), x, y, confounds=y)
    with pytest.raises(ValueError, match="CCACV takes no confounds"):
        distributed.fit(fastcca.CCACV(), x, y, confounds=y)
    with pytest.raises(ValueError, match="cv of distributed data must be a number of folds"):
        distributed.fit(fastcca.CCACV(cv=[1]), x, y)
    with pytest.raises(ValueError, match="cv=2000 is more than the 1000 rows"):
        distributed.fit(fastcca.CCACV(cv=2000), x, y)
    chunks = delayed_chunks(X, Y)
    with pytest.raises(ValueError, match="differ in their number of chunks: 8, 7"):
        moments(chunks[0], chunks[1][1:])
    with pytest.raises(TypeError, match=r"views\[1\] must be a dask array, .* got list next to dask arrays"):
        moments(x, chunks[1])
    chunks[1][3] = dask.delayed(Y[:7])
    with pytest.raises(ValueError, match=r"chunk 3: .*same number of rows, got 130 and 7"):
        moments(*chunks)
    chunks = delayed_chunks(X, Y)
    chunks[0][2] = dask.delayed(X[:130, :4])
    with pytest.raises(ValueError, match=r"views with \(.*\) and \(.*\) columns do not add up"):
        moments(*chunks)
    fold = fastcca.Moments().update(X, Y)
    for folds, error, message in [
        ([fold], ValueError, "two folds or more, got 1"),
        ([fold, X], TypeError, "folds must be fastcca.Moments, got ndarray"),
        ([fold, fastcca.Moments().update(Y, X)], ValueError, "the same two views"),
    ]:
        with pytest.raises(error, match=message):
            fastcca.CCACV().fit_moments(folds)
    singular = np.hstack([X, X[:, :1]])
    halves = [fastcca.Moments().update(singular[i::2], Y[i::2]) for i in range(2)]
    with pytest.raises(ValueError, match="every ridge of regs is too small for moments"):
        fastcca.CCACV(regs=[0.0]).fit_moments(halves)
    with pytest.warns(UserWarning, match="1 of 3 ridges are left out"):
        search = fastcca.CCACV(2, regs=[0.0, 1.0, 2.0]).fit_moments(halves)
    assert search.reg_ in (1.0, 2.0)


def test_without_dask_the_extra_is_named():
    code = "import sys; sys.modules['dask'] = None; import fastcca.distributed"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'fastcca[distributed]'" in done.stderr
