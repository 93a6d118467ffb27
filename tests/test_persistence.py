"""Models as files: round trips, what the file holds, what is refused."""

import contextlib
import copy
import json
import pickle
import pkgutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, ShuffleSplit

import fastcca
from fastcca import CCA, CCACV, KernelCCA
from fastcca._models.files import _MODULES, HEADER, SavedModel
from fastcca.embedding import InputScaling, NearestClassMean
from fastcca.synchrony import SynchronyDetector


@pytest.fixture
def views(rng):
    common = rng.normal(size=(60, 2))
    return common + 0.3 * rng.normal(size=(60, 2)), np.hstack([common, rng.normal(size=(60, 2))])


def assert_same(a, b, where="model"):
    """Equal in type, parameters and every fitted attribute, however deep."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        np.testing.assert_array_equal(a, b, err_msg=where)
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}.{i}")
    elif isinstance(a, fastcca.Moments):
        for slot in fastcca.Moments.__slots__:
            assert_same(getattr(a, slot), getattr(b, slot), f"{where}.{slot}")
    elif hasattr(a, "__dict__"):
        assert_same(vars(a), vars(b), where)
    else:
        assert a == b, where


@pytest.mark.parametrize(
    "model",
    [
        CCA(),
        CCA(n_components=1, reg=(0.1, 1e-300), scale=True, solver="qr", n_threads=2),
        CCACV(regs=np.array([0.1, 1.0]), cv=3),
        CCACV(n_components=1, regs=([0.1, 1.0], (0.5,)), cv=KFold(3, shuffle=True, random_state=0)),
        CCACV(regs=[0.1], cv=RepeatedKFold(n_splits=2, n_repeats=3, random_state=1)),
        CCACV(regs=[0.1], cv=ShuffleSplit(2, random_state=1)),
        CCACV(regs=[0.1], cv=[(np.arange(30), np.arange(30, 60))]),
    ],
    ids=lambda model: repr(model)[:40],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(model, dtype, views, tmp_path):
    X, Y = (view.astype(dtype) for view in views)
    model.fit(X, Y)
    model.save(tmp_path / "m.npz")
    loaded = fastcca.load(str(tmp_path / "m.npz"))
    if isinstance(getattr(model, "cv", None), (KFold, RepeatedKFold, ShuffleSplit)):
        assert repr(loaded.cv) == repr(model.cv)
        loaded.cv = model.cv
    assert_same(loaded, model)
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.score(X, Y) == model.score(X, Y)


def test_names_vector_y_and_growth_survive(views, tmp_path):
    pd = pytest.importorskip("pandas")
    X, Y = views
    xf, yf = pd.DataFrame(X, columns=["α", "b"]), pd.Series(Y[:, 0], name="ÿ")
    CCA().fit(xf, yf).save(tmp_path / "m.npz")
    loaded = fastcca.load(tmp_path / "m.npz")
    assert loaded.feature_names_in_.tolist() == ["α", "b"]
    assert loaded.y_feature_names_in_.tolist() == ["ÿ"]
    assert loaded.predict(xf).shape == (60,)
    assert loaded.get_feature_names_out().tolist() == ["cca0"]
    CCA().fit(X[:30], Y[:30]).save(tmp_path / "half.npz")
    grown = fastcca.load(tmp_path / "half.npz").partial_fit(X[30:], Y[30:])
    np.testing.assert_allclose(grown.singular_values_, CCA().fit(X, Y).singular_values_, atol=1e-12)


def test_more_features_than_samples(views, rng, tmp_path):
    X, Y = rng.normal(size=(10, 30)), views[1][:10]
    CCA(reg=0.1).fit(X, Y).save(tmp_path / "m.npz")
    loaded = fastcca.load(tmp_path / "m.npz")
    assert loaded.moments_ is None
    np.testing.assert_array_equal(loaded.transform(X), CCA(reg=0.1).fit(X, Y).transform(X))


def test_the_file_holds_arrays_and_json_alone(views, tmp_path):
    CCACV(regs=[0.1, 1.0]).fit(*views).save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)
        header = json.loads(str(archive[HEADER]))
    assert header["format"] == "fastcca model"
    assert header["format_version"] == 1
    assert header["fastcca"] == fastcca.build_info()["version"]
    assert header["model"]["class"] == "CCACV"
    # the best estimator's arrays, which the search shares, are there once
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        names = [name for name in archive.namelist() if "x_weights_" in name]
    assert len(names) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


def test_failed_save_leaves_the_old_file(views, tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    CCA().fit(*views).save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        CCA(reg=1.0).fit(*views).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.npz"]


def test_what_takes_pickle_is_refused(views, tmp_path):
    class Odd:
        def split(self, X, y=None, groups=None):
            yield np.arange(30), np.arange(30, 60)

        def get_n_splits(self, X=None, y=None, groups=None):
            return 1

    model = CCACV(regs=[0.1], cv=Odd()).fit(*views)
    with pytest.raises(TypeError, match=r"CCACV\.cv is a Odd, which cannot be stored without pickle"):
        model.save(tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []
    model.best_estimator_.save(tmp_path / "m.npz")
    model.set_params(cv=GroupKFold(3)).save(tmp_path / "m.npz")


def test_unfitted(tmp_path):
    with pytest.raises(ValueError, match="CCA instance is not fitted yet"):
        CCA().save(tmp_path / "m.npz")


# ---- files that are not what they should be


@pytest.fixture
def model_file(views, tmp_path):
    path = tmp_path / "model.npz"
    CCA().fit(*views).save(path)
    return path


def rewrite(path, change):
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays[HEADER]))
    change(header, arrays)
    if HEADER in arrays:
        arrays[HEADER] = np.array(json.dumps(header))
    np.savez(path, **arrays)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model file '.*nothing\.npz'"):
        fastcca.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_truncated_file(model_file, share):
    content = model_file.read_bytes()
    model_file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"model\.npz' is damaged or not a fastcca model") as raised:
        fastcca.load(model_file)
    assert "\n" not in str(raised.value)
    assert "pickle" not in str(raised.value)  # NumPy's advice for what it does not know


def test_flipped_bits(model_file):
    content = bytearray(model_file.read_bytes())
    for i in range(200, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[i] ^= 0xFF
        model_file.write_bytes(damaged)
        model = None
        # a byte that no array holds, padding or a time stamp, does no harm
        with contextlib.suppress(ValueError):
            model = fastcca.load(model_file)
        assert model is None or isinstance(model, CCA)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95", b"PK\x03\x04garbage"])
def test_foreign_bytes(model_file, content):
    model_file.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.npz' is damaged or not a fastcca model"):
        fastcca.load(model_file)


def test_foreign_npy_npz_and_pickled_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "b.npz", weights=np.arange(3))
    np.savez(tmp_path / "c.npz", **{HEADER: np.array({"a": 1}, dtype=object)})
    np.savez(tmp_path / "d.npz", **{HEADER: np.array("[1")})
    for name in ("a.npy", "b.npz", "c.npz", "d.npz"):
        with pytest.raises(ValueError, match=rf"{name}' is (damaged or )?not a fastcca model"):
            fastcca.load(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda h, a: h.update(format_version=2, fastcca="9.9"),
            "written by fastcca 9.9 in format 2; .*reads up to format 1",
        ),
        (lambda h, a: h.update(format="something"), "is not a fastcca model"),
        (lambda h, a: h.update(format_version="2"), "is not a fastcca model"),
        (lambda h, a: h.update(model=3), "is damaged: it holds no model"),
        (lambda h, a: h["model"].update({"class": "os.system"}), "is damaged: unknown class 'os.system'"),
        (lambda h, a: h.pop("model"), "is damaged: 'model'"),
        (lambda h, a: a.pop(next(n for n in a if n.endswith("x_weights_"))), "is damaged: .*x_weights_"),
    ],
)
def test_wrong_contents(model_file, change, message):
    rewrite(model_file, change)
    with pytest.raises(ValueError, match=message):
        fastcca.load(model_file)


def test_several_threads_save_to_one_path(tmp_path, rng):
    X = rng.standard_normal((50, 3))
    models = [fastcca.CCA(n_components=k).fit(X, X + 1) for k in (1, 2, 3)] * 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda model: model.save(tmp_path / "model.npz"), models))
    assert fastcca.load(tmp_path / "model.npz").n_components in (1, 2, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_a_users_class_of_the_same_name_takes_nothing_over(views, tmp_path):
    X, Y = views
    CCA().fit(X, Y).save(tmp_path / "ours.npz")

    def shifted(name, base):
        return type(name, (base,), {"transform": lambda self, X, y=None: np.zeros((len(X), 1))})

    theirs = shifted("CCA", CCA)
    shifted("InputScaling", InputScaling)
    assert type(fastcca.load(tmp_path / "ours.npz")) is CCA
    theirs().fit(X, Y).save(tmp_path / "theirs.npz")
    assert type(fastcca.load(tmp_path / "theirs.npz")) is theirs
    NearestClassMean().fit(X, np.arange(60) % 2).save(tmp_path / "means.npz")
    assert type(fastcca.load(tmp_path / "means.npz").scaling_) is InputScaling


def test_a_class_of_a_script_is_found_by_its_name_where_that_is_the_only_one(views, tmp_path):
    class Mine(CCA):
        pass

    Mine.__qualname__, Mine.__module__ = "Mine", "__main__"  # as it was in the script that saved
    Mine().fit(*views).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="unknown class 'Mine', import __main__ first"):
        fastcca.load(tmp_path / "model.npz")
    here = type("Mine", (CCA,), {})
    assert type(fastcca.load(tmp_path / "model.npz")) is here
    type("Mine", (CCA,), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match="unknown class"):
        fastcca.load(tmp_path / "model.npz")


def test_a_file_runs_no_module(views, tmp_path):
    path = tmp_path / "model.npz"
    CCA().fit(*views).save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays[HEADER]))
    header["model"] |= {"module": "fastcca.__main__", "class": "main"}
    np.savez(path, **{**arrays, HEADER: np.array(json.dumps(header))})
    with pytest.raises(ValueError, match="unknown class 'main'"):
        fastcca.load(path)


def test_every_class_with_a_file_is_known_by_name():
    def below(kind):
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    for info in pkgutil.walk_packages(fastcca.__path__, "fastcca."):
        if info.name.split(".")[1] not in ("_core", "__main__", "deep", "distributed", "plotting", "cli"):
            import_module(info.name)
    ours = {kind for kind in below(SavedModel) if kind.__module__.startswith("fastcca.")}
    leaves = {kind.__name__ for kind in ours if not {k for k in kind.__subclasses__() if k in ours}}
    assert leaves | {"DeepCCA"} == set(_MODULES)


def test_requests_of_metadata_survive(views, tmp_path):
    X, Y = views
    with config_context(enable_metadata_routing=True):
        model = CCA().set_fit_request(sample_weight=True).set_score_request(sample_weight="w").fit(X, Y)
        model.save(tmp_path / "model.npz")
        loaded = fastcca.load(tmp_path / "model.npz")
        assert str(loaded.get_metadata_routing()) == str(model.get_metadata_routing())
        assert loaded.get_metadata_routing().score.requests == {"sample_weight": "w"}
    assert np.array_equal(loaded.transform(X), model.transform(X))
    plain = CCA().fit(X, Y)
    plain.set_output(transform="pandas").save(tmp_path / "frames.npz")
    assert isinstance(fastcca.load(tmp_path / "frames.npz").transform(X), pd.DataFrame)


@pytest.mark.parametrize(
    "model", [CCA(2), CCACV(2, regs=[0.1]), KernelCCA(2, rank=30), SynchronyDetector(max_lag=2)]
)
def test_without_moments_everything_works_but_partial_fit(model, rng, tmp_path):
    X = rng.normal(size=(90, 40))
    Y = X[:, :30] + rng.normal(size=(90, 30))
    model = clone(model).fit(X, Y)
    whole, slim = tmp_path / "whole.npz", tmp_path / "slim.npz"
    model.save(whole)
    model.save(slim, moments=False)
    assert slim.stat().st_size < (0.8 if isinstance(model, KernelCCA) else 0.6) * whole.stat().st_size
    loaded = fastcca.load(slim)
    if isinstance(model, SynchronyDetector):
        assert np.array_equal(loaded.correlation(X, Y), model.correlation(X, Y))
        return
    for ours, theirs in zip(loaded.transform_views(X, Y), model.transform_views(X, Y), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert loaded.score(X, Y) == model.score(X, Y)
    if hasattr(model, "partial_fit"):
        fastcca.load(whole).partial_fit(X, Y)
        with pytest.raises(ValueError, match=r"partial_fit cannot go on .* saved without moments"):
            loaded.partial_fit(X, Y)


def test_a_large_model_without_moments_is_little_more_than_its_weights(rng, tmp_path):
    X = rng.normal(size=(600, 200))
    model = CCA(16).fit(X, X + rng.normal(size=(600, 200)))
    model.save(tmp_path / "slim.npz", moments=False)
    # weights, loadings, cross-loadings and regressions of 2 views: arrays of 200 × 16 doubles
    arrays = sum(a.nbytes for a in vars(model).values() if isinstance(a, np.ndarray))
    assert (tmp_path / "slim.npz").stat().st_size < 1.1 * arrays + 10_000


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_every_protocol(views, protocol):
    X, Y = views
    y = np.arange(60) % 3
    for model in (CCA(), CCACV(regs=[0.1]), KernelCCA(2, rank=20), SynchronyDetector(max_lag=2)):
        model.fit(X, Y)
        assert_same(pickle.loads(pickle.dumps(model, protocol)), model)
    means = NearestClassMean().fit(X, y)
    assert_same(pickle.loads(pickle.dumps(means, protocol)), means)
    assert_same(copy.deepcopy(model), model)
