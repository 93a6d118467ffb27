"""Models as files: round trips, what the file holds, what is refused."""

import copy
import gzip
import io
import json
import pickle
import pkgutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, ShuffleSplit

import fastcca
import models
from fastcca._models import files
from fastcca._models.files import Reader, SavedModel, Schema, Writer, class_of, fields_of
from fastcca._models.two_view import LOADINGS, TwoViewTransformer
from fastcca.embedding import NearestClassMean
from fastcca.synchrony import SynchronyDetector
from reference import model_file


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
        assert_same(dict(sorted(vars(a).items())), dict(sorted(vars(b).items())), where)
    else:
        assert a == b, where


@pytest.mark.parametrize(
    "model",
    [
        fastcca.CCA(),
        fastcca.CCA(n_components=1, reg=(0.1, 1e-300), scale=True, solver="qr", n_threads=2),
        fastcca.CCACV(regs=np.array([0.1, 1.0]), cv=3),
        fastcca.CCACV(n_components=1, regs=([0.1, 1.0], (0.5,)), cv=KFold(3, shuffle=True, random_state=0)),
        fastcca.CCACV(regs=[0.1], cv=RepeatedKFold(n_splits=2, n_repeats=3, random_state=1)),
        fastcca.CCACV(regs=[0.1], cv=ShuffleSplit(2, random_state=1)),
        fastcca.CCACV(regs=[0.1], cv=[(np.arange(30), np.arange(30, 60))]),
    ],
    ids=lambda model: repr(model)[:40],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(model, dtype, views, tmp_path):
    X, Y = (view.astype(dtype) for view in views)
    model.fit(X, Y)
    model.save(tmp_path / "m.safetensors")
    loaded = fastcca.load(str(tmp_path / "m.safetensors"))
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
    fastcca.CCA().fit(xf, yf).save(tmp_path / "m.safetensors")
    loaded = fastcca.load(tmp_path / "m.safetensors")
    assert loaded.feature_names_in_.tolist() == ["α", "b"]
    assert loaded.y_feature_names_in_.tolist() == ["ÿ"]
    assert loaded.predict(xf).shape == (60,)
    assert loaded.get_feature_names_out().tolist() == ["cca0"]
    fastcca.CCA().fit(X[:30], Y[:30]).save(tmp_path / "half.safetensors")
    grown = fastcca.load(tmp_path / "half.safetensors").partial_fit(X[30:], Y[30:])
    np.testing.assert_allclose(grown.singular_values_, fastcca.CCA().fit(X, Y).singular_values_, atol=1e-12)


def test_more_features_than_samples(views, rng, tmp_path):
    X, Y = rng.normal(size=(10, 30)), views[1][:10]
    fastcca.CCA(reg=0.1).fit(X, Y).save(tmp_path / "m.safetensors")
    loaded = fastcca.load(tmp_path / "m.safetensors")
    assert loaded.moments_ is None
    np.testing.assert_array_equal(loaded.transform(X), fastcca.CCA(reg=0.1).fit(X, Y).transform(X))


def test_the_file_is_one_of_safetensors(views, tmp_path):
    path = tmp_path / "m.safetensors"
    model = fastcca.CCACV(regs=[0.1, 1.0]).fit(*views)
    model.save(path)
    header, arrays = model_file.read(path)
    assert header["format"] == "fastcca model"
    assert header["format_version"] == 1
    assert header["fastcca"] == fastcca.build_info()["version"]
    assert (header["model"]["model"], header["model"]["version"]) == ("CCACV", 1)
    # the best estimator's arrays, which the search shares, are there once
    (name,) = {name for name in arrays if "x_weights_" in name}
    stored = arrays[name].T if "order" in header["model"]["fitted"]["x_weights_"] else arrays[name]
    np.testing.assert_array_equal(stored, model.x_weights_)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    # the digest is what the format says it is
    before = path.read_bytes()
    model_file.write(path, header, arrays)
    assert fastcca.load(path).reg_ == model.reg_
    start = 8 + int.from_bytes(before[:8], "little")
    metadata = json.loads(before[8:start])["__metadata__"]
    assert metadata["sha256"] == model_file.digest(metadata["fastcca"], arrays)
    # who maps the file finds each array at a multiple of its element's size
    for name, entry in json.loads(before[8:start]).items():
        if name != "__metadata__":
            assert (start + entry["data_offsets"][0]) % arrays[name].dtype.itemsize == 0


def test_a_file_knows_no_module_and_no_private_attribute(views, tmp_path):
    def texts(node):
        if isinstance(node, dict):
            return [*node, *(text for item in node.values() for text in texts(item))]
        return [text for item in node for text in texts(item)] if isinstance(node, list) else [node]

    for model in (fastcca.CCACV(regs=[0.1]), fastcca.KernelCCA(2, rank=20), SynchronyDetector(max_lag=2)):
        model.fit(*views).save(tmp_path / "m.safetensors")
        header, arrays = model_file.read(tmp_path / "m.safetensors")
        names = [*(text for text in texts(header["model"]) if isinstance(text, str)), *arrays]
        assert not [name for name in names if "fastcca" in name or name.split(".")[-1].startswith("_")]


def test_failed_save_leaves_the_old_file(views, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    fastcca.CCA().fit(*views).save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(files, "write_tensors", full)
    with pytest.raises(OSError, match="no space"):
        fastcca.CCA(reg=1.0).fit(*views).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_what_takes_pickle_is_refused(views, tmp_path):
    class Odd:
        def split(self, X, y=None, groups=None):
            yield np.arange(30), np.arange(30, 60)

        def get_n_splits(self, X=None, y=None, groups=None):
            return 1

    model = fastcca.CCACV(regs=[0.1], cv=Odd()).fit(*views)
    with pytest.raises(TypeError, match=r"CCACV\.cv is a Odd, which cannot be stored without pickle"):
        model.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []
    model.best_estimator_.save(tmp_path / "m.safetensors")
    model.set_params(cv=GroupKFold(3)).save(tmp_path / "m.safetensors")


def test_unfitted(tmp_path):
    with pytest.raises(ValueError, match="CCA instance is not fitted yet"):
        fastcca.CCA().save(tmp_path / "m.safetensors")


# ---- where to and where from


def test_open_files_hold_one_model_after_the_other(views, tmp_path):
    X, Y = views
    models = fastcca.CCA(1).fit(X, Y), fastcca.CCACV(1, regs=[0.1]).fit(X, Y)
    memory = io.BytesIO()
    with open(tmp_path / "two", "w+b") as file, gzip.open(tmp_path / "two.gz", "wb") as packed:
        for where in (memory, file, packed):
            where.write(b"before")
            for model in models:
                model.save(where)
            where.write(b"behind")
        file.flush()
    with (
        open(tmp_path / "two", "rb") as file,
        open(tmp_path / "two", "rb", buffering=0) as raw,
        gzip.open(tmp_path / "two.gz", "rb") as packed,
    ):
        memory.seek(0)
        for where in (memory, file, raw, packed, _Stream(memory.getvalue())):
            assert where.read(6) == b"before"
            for model in models:
                assert_same(fastcca.load(where), model)
            assert where.read() == b"behind"


class _Stream:
    """What can be read from beginning to end, and nothing else."""

    def __init__(self, content):
        self.rest = content

    def read(self, size=-1):
        size = len(self.rest) if size < 0 else min(size, 100)  # as a pipe, which gives what it has
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece


def test_an_open_file_that_ends_early(views):
    memory = io.BytesIO()
    fastcca.CCA().fit(*views).save(memory)
    content = memory.getvalue()
    for length in (0, 5, 100, len(content) - 1):
        for where in (io.BytesIO(content[:length]), _Stream(content[:length])):
            with pytest.raises(ValueError, match="is damaged or not a fastcca model: "):
                fastcca.load(where)


def test_home_and_paths_of_every_kind(views, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    model = fastcca.CCA().fit(*views)
    model.save("~/m.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    for path in ("~/m.safetensors", Path("~/m.safetensors"), str(tmp_path / "m.safetensors").encode()):
        assert_same(fastcca.load(path), model)


def test_what_is_neither_a_path_nor_a_binary_file(views, tmp_path):
    model = fastcca.CCA().fit(*views)
    with open(tmp_path / "text", "w+") as text, tempfile.NamedTemporaryFile("w+") as other:
        for file in (text, other, io.StringIO()):
            for action in (model.save, fastcca.load):
                with pytest.raises(TypeError, match="path is a file open in text mode"):
                    action(file)
    for wrong in (3, None, [1], object()):
        with pytest.raises(
            TypeError, match="path must be a path or a file open in binary mode to write, got"
        ):
            model.save(wrong)
        with pytest.raises(TypeError, match="path must be a path or a file open in binary mode to read, got"):
            fastcca.load(wrong)


# ---- values


def encoded(value):
    writer = Writer()
    node = json.loads(json.dumps(writer.encode(value, "it"), allow_nan=False))
    return Reader(writer.tensors, lambda *_: None, {}).decode(node)


VALUES = {
    "numbers": [True, 3, -(10**40), 0.1, 5e-324],
    "not finite": [np.inf, -np.inf],
    "matrix": np.arange(6.0).reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "slice": np.arange(24.0).reshape(4, 6)[::2, 1::2],
    "scalar": np.array(3, dtype=">i4"),
    "text": np.array([["one", "three"], ["ÿ", ""]]),
    "bytes": np.array([b"one", b"three"]),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "nothing": np.array(["", ""]),
    "flags": np.array([True, False]),
    "dates": np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
    "complex": np.array([1 + 2j]),
    "half": np.arange(3, dtype=np.float16),
    "long": np.arange(3, dtype=np.longdouble),
    "records": np.array([(1, "a")], dtype=[("n", "<i4"), ("s", "<U2")]),
    "objects": np.array([["a", 1], [None, 2.5]], dtype=object),
    "tuples": {(1, "a"): (2.0, None), "b.c": [np.arange(2)], "b": {"c": np.arange(3)}},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_come_back_as_they_were(value):
    found = encoded(value)
    assert_same(found, value)
    if isinstance(value, np.ndarray):
        assert found.flags.writeable
        assert found.ndim < 2 or found.flags.f_contiguous == value.flags.f_contiguous


def test_labels_that_are_tuples_and_numbers_that_are_none():
    labels = np.empty(2, dtype=object)
    labels[:] = [(1, 2), (3, 4)]
    assert encoded(labels).tolist() == [(1, 2), (3, 4)]
    assert np.isnan(encoded(float("nan")))
    assert np.isnan(encoded({np.nan: 1}).popitem()[0])
    assert encoded(np.float32(0.1)) == float(np.float32(0.1))


@pytest.mark.parametrize(
    "value", [{1, 2}, b"x", 1j, np.datetime64("2020-01-01"), np.longdouble(1), open, object()]
)
def test_values_that_take_pickle_are_named(value):
    with pytest.raises(TypeError, match=r"it\.a is a .*, which cannot be stored without pickle"):
        Writer().encode({"a": value}, "it")


# ---- files that are not what they should be


@pytest.fixture
def path(views, tmp_path):
    path = tmp_path / "model.safetensors"
    fastcca.CCA().fit(*views).save(path)
    return path


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model file '.*nothing\.safetensors'"):
        fastcca.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.97])
def test_truncated_file(path, fraction):
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match=r"model\.safetensors' is damaged or not a fastcca model") as raised:
        fastcca.load(path)
    assert "\n" not in str(raised.value)
    path.write_bytes(content + b"more")
    with pytest.raises(ValueError, match=r"not a fastcca model: .* bytes follow the header"):
        fastcca.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x04\x95", b"PK\x03\x04garbage", b"\2" + 7 * b"\0" + b"{}"]
)
def test_foreign_bytes(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors' is (damaged or )?not a fastcca model"):
        fastcca.load(path)


@pytest.mark.parametrize(
    "metadata", [None, {"fastcca": "[1"}, {"fastcca": "[1]"}, {"fastcca": '{"format": "pt"}'}]
)
def test_foreign_safetensors(tmp_path, metadata):
    from safetensors.numpy import save_file

    save_file({"weights": np.arange(3)}, tmp_path / "b", metadata)
    with pytest.raises(ValueError, match="b' is not a fastcca model"):
        fastcca.load(tmp_path / "b")


def layout(entries, data=b"", metadata="{}"):
    text = json.dumps({"__metadata__": json.loads(metadata), **entries}).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F64", shape=(1,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "content",
    [
        (10**15).to_bytes(8, "little") + b"{}",  # a header of a petabyte
        layout({"a": entry(shape=[10**15], offsets=(0, 8 * 10**15))}),
        layout({"a": entry(shape=[2**62, 4], offsets=(0, 0))}),
        layout({"a": entry(shape=[2])}, bytes(8)),
        layout({"a": entry(shape=[-1])}, bytes(8)),
        layout({"a": entry(shape=[True])}, bytes(8)),
        layout({"a": entry(shape=[1.0])}, bytes(8)),
        layout({"a": entry(dtype="F7")}, bytes(8)),
        layout({"a": entry(offsets=(1, 9))}, bytes(9)),  # a gap
        layout({"a": entry(), "b": entry()}, bytes(8)),  # one on top of the other
        layout({"a": entry(), "b": entry(offsets=(16, 24))}, bytes(24)),
        layout({"a": entry()}, bytes(9)),
        layout({"a": entry()}, bytes(7)),
        layout({"a": {"dtype": "F64", "shape": [1]}}, bytes(8)),
        layout({"a": 3}),
        layout({}, metadata='{"fastcca": 3}'),
        layout({}, metadata='"fastcca"'),
        (4).to_bytes(8, "little") + b"[{}]",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
    ids=range(19),
)
def test_a_layout_that_lies_is_refused_before_memory_is_taken(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or not a fastcca model"):
        fastcca.load(path)
    with pytest.raises(ValueError, match="fastcca model"):
        fastcca.load(_Stream(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda h, a: h.update(format_version=2, fastcca="9.9"),
            "written by fastcca 9.9 in format 2; .*reads up to format 1",
        ),
        (lambda h, a: h.update(format="something"), "is not a fastcca model"),
        (lambda h, a: h.update(format_version="2"), "is not a fastcca model"),
        (lambda h, a: h.update(model=3), "is damaged: it holds no fitted model"),
        (lambda h, a: h["model"].update(fitted={}), "is damaged: it holds no fitted model"),
        (lambda h, a: h["model"].update(model="os.system"), "is damaged: unknown class 'os.system'"),
        (lambda h, a: h["model"].update(model=3), "is damaged: unknown class 3"),
        (lambda h, a: h["model"].update(version=2), "CCA of version 2, known are 1 to 1"),
        (lambda h, a: h["model"].update(version=True), "CCA of version True"),
        (lambda h, a: h["model"]["fitted"].update(save=3), "is damaged: CCA has no save"),
        (lambda h, a: h["model"]["parameters"].update(more=3), "is damaged: .* argument 'more'"),
        (
            lambda h, a: h["model"].update(subclass="Mine"),
            "it holds a 'Mine', a class derived from CCA: import",
        ),
        (lambda h, a: h.pop("model"), "is damaged: 'model'"),
        (lambda h, a: a.pop(next(n for n in a if n.endswith("x_weights_"))), "is damaged: .*x_weights_"),
    ],
)
def test_wrong_contents(path, change, message):
    model_file.rewrite(path, change)
    with pytest.raises(ValueError, match=message):
        fastcca.load(path)


OPTIONAL = ("score_covariance", "x_variance", "y_variance")  # what some files have


def test_every_key_of_a_header_is_missed(path):
    """Also where the digest is right: the file was made, not damaged."""
    header, arrays = model_file.read(path)
    sections = {None: header, "model": header["model"]}
    sections |= {name: header["model"][name] for name in ("parameters", "fitted")}
    for name, section in sections.items():
        assert len(section) >= 4
        for key in section:
            # who wrote it, for the errors; and what some files have
            if (name, key) in ((None, "fastcca"), *(("fitted", what) for what in OPTIONAL)):
                continue

            def change(h, a, name=name, key=key):
                at = h if name is None else h["model"] if name == "model" else h["model"][name]
                at.pop(key)

            model_file.write(path, header, arrays)
            model_file.rewrite(path, change)
            with pytest.raises(ValueError, match=r"model\.safetensors'"):
                fastcca.load(path)


def nodes_of(node, found):
    """Every value of a header, as a pair of its container and its key."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found.append((node, key))
        nodes_of(value, found)
    return found


@pytest.mark.parametrize("other", [None, -1, "x", [], {}, {"array": "x"}, {"model": "CCA"}, {"tuple": 3}])
def test_every_value_of_a_header_is_another(views, tmp_path, other):
    """With a right digest: a model, or a ValueError, and no other error."""
    path = tmp_path / "m.safetensors"
    NearestClassMean().fit(views[0], np.arange(60) % 2).save(path)
    header, arrays = model_file.read(path)
    for i in range(len(nodes_of(header["model"], []))):
        changed = copy.deepcopy(header)
        node, key = nodes_of(changed["model"], [])[i]
        node[key] = other
        model_file.write(path, changed, arrays)
        with suppress(ValueError):
            assert isinstance(fastcca.load(path), NearestClassMean)


def test_contents_that_were_changed_are_refused(path):
    header, arrays = model_file.read(path)
    digest = model_file.digest(json.dumps(header), arrays)

    def weights(h, a):
        name = next(n for n in a if n.endswith("x_weights_"))
        a[name] = a[name] * (1 + 1e-15)

    def number(h, a):
        h["model"]["fitted"]["total_correlation_"] += 1e-9

    def shape(h, a):
        name = next(n for n in a if n.endswith("x_weights_"))
        a[name] = a[name].reshape(-1)

    model_file.write(path, header, arrays, sha256=digest)
    fastcca.load(path)
    for change in (weights, number, shape):
        model_file.write(path, header, arrays)
        model_file.rewrite(path, change, sha256=digest)
        with pytest.raises(ValueError, match="is damaged: its contents are not those that were written"):
            fastcca.load(path)


def test_several_threads_save_to_one_path(tmp_path, rng):
    X = rng.standard_normal((50, 3))
    models = [fastcca.CCA(n_components=k).fit(X, X + 1) for k in (1, 2, 3)] * 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda model: model.save(tmp_path / "model.safetensors"), models))
    assert fastcca.load(tmp_path / "model.safetensors").n_components in (1, 2, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


# ---- classes


def derived(name, base, module="mine", **contents):
    return type(name, (base,), {"__module__": module, "__qualname__": name, **contents})


def test_a_users_class_of_the_same_name_takes_nothing_over(views, tmp_path):
    X, Y = views
    fastcca.CCA().fit(X, Y).save(tmp_path / "ours")

    def zeros(self, X, y=None):
        return np.zeros((len(X), 1))

    theirs = derived("CCA", fastcca.CCA, transform=zeros)
    derived("InputScaling", class_of("InputScaling") or object, transform=zeros)
    assert type(fastcca.load(tmp_path / "ours")) is fastcca.CCA
    theirs().fit(X, Y).save(tmp_path / "theirs")
    assert type(fastcca.load(tmp_path / "theirs")) is theirs
    NearestClassMean().fit(X, np.arange(60) % 2).save(tmp_path / "means")
    assert type(fastcca.load(tmp_path / "means").scaling_) is class_of("InputScaling")
    with pytest.raises(TypeError, match="'CCA' is the schema of CCA: a class of yours needs another name"):
        derived("Third", fastcca.CCA, _schema=Schema("CCA"))
    assert class_of("CCA") is fastcca.CCA


def test_a_users_class_keeps_its_parameters_and_what_it_learned(views, tmp_path):
    X, Y = views

    class Mine(fastcca.CCA):
        def __init__(self, n_components=None, power=2.0):
            super().__init__(n_components)
            self.power = power

        def fit(self, X, y, sample_weight=None):
            super().fit(X, y, sample_weight)
            self.largest_ = np.abs(X).max(axis=0)
            self._note = {"a": (1, 2)}
            return self

    model = Mine(1, power=3.0).fit(X, Y)
    model.save(tmp_path / "m")
    loaded = fastcca.load(tmp_path / "m")
    assert_same(loaded, model)
    assert loaded.power == 3.0
    del files._derived[Mine.__module__, Mine.__qualname__]  # as in a process that has not imported it
    with pytest.raises(ValueError, match=r"m': it holds a '.*Mine', a class derived from CCA: import"):
        fastcca.load(tmp_path / "m")


def test_a_class_of_a_script_is_found_by_its_name_where_that_is_the_only_one(views, tmp_path):
    derived("OfAScript", fastcca.CCA, "__main__")().fit(*views).save(tmp_path / "m")
    del files._derived["__main__", "OfAScript"]
    here = derived("OfAScript", fastcca.CCA, "library")
    derived("OfAScript", fastcca.CCACV, "of_another_class")
    assert type(fastcca.load(tmp_path / "m")) is here
    again = derived("OfAScript", fastcca.CCA, "library")  # a cell of a notebook, run twice
    assert type(fastcca.load(tmp_path / "m")) is again
    derived("OfAScript", fastcca.CCA, "elsewhere")
    with pytest.raises(ValueError, match="there is one in each of 'elsewhere' and 'library'"):
        fastcca.load(tmp_path / "m")


def below(kind):
    return {kind}.union(*(below(child) for child in kind.__subclasses__()))


def own_classes():
    for info in pkgutil.walk_packages(fastcca.__path__, "fastcca."):
        if info.name.split(".")[1] not in ("_core", "__main__", "distributed", "plotting", "cli"):
            import_module(info.name)
    return {kind for kind in below(SavedModel) if kind.__module__.split(".")[0] == "fastcca"}


def test_every_class_that_can_be_fitted_has_a_schema():
    ours = own_classes()
    leaves = {kind for kind in ours if not {k for k in kind.__subclasses__() if k in ours}}
    assert len(leaves) >= 19
    for kind in leaves:
        assert class_of(kind._schema.name) is kind
        keys = fields_of(kind)
        assert all(not key.startswith("_") for key in keys)
        assert len({about.attribute for about in keys.values()}) == len(keys)


def test_what_an_older_version_wrote_is_brought_up_to_date(views, tmp_path):
    """A class that renamed what it keeps and has a parameter more."""
    first = derived("Growing", fastcca.CCA, _schema=Schema("test/growing", fields="largest_"))
    model = first(1).fit(*views)
    model.largest_ = 3.0
    model.save(tmp_path / "m")
    del files._classes["test/growing"]

    def initialise(self, n_components=None, power=2.0):
        fastcca.CCA.__init__(self, n_components)
        self.power = power

    def upgrade(cls, written, parameters, fitted):
        assert written == 1
        fitted["peak_"] = fitted.pop("largest_")
        for name in ("reg", "scale", "solver", "shrinkage", "n_threads", "missing"):
            del parameters[name]

    schema = Schema("test/growing", 2, fields="peak_")
    second = derived(
        "Grown", fastcca.CCA, _schema=schema, __init__=initialise, _upgraded=classmethod(upgrade)
    )
    loaded = fastcca.load(tmp_path / "m")
    assert type(loaded) is second
    assert (loaded.peak_, loaded.power, hasattr(loaded, "largest_")) == (3.0, 2.0, False)
    np.testing.assert_array_equal(loaded.transform(views[0]), model.transform(views[0]))
    loaded.save(tmp_path / "new")
    del files._classes["test/growing"]
    derived("Growing", fastcca.CCA, _schema=Schema("test/growing", fields="largest_"))
    with pytest.raises(ValueError, match="Growing of version 2, known are 1 to 1"):
        fastcca.load(tmp_path / "new")
    del files._classes["test/growing"]


def test_the_front_door_imports_what_a_file_holds(views, tmp_path):
    """In a process that has imported nothing; PyTorch only for networks."""
    deep = pytest.importorskip("fastcca.deep")
    X, Y = views
    NearestClassMean().fit(X, np.arange(60) % 2).save(tmp_path / "means")
    SynchronyDetector(max_lag=2).fit(X, Y).save(tmp_path / "detector")
    deep.DeepCCA(1, hidden=(3,), n_epochs=1, random_state=0).fit(X, Y).save(tmp_path / "deep")
    code = (
        "import sys, fastcca\n"
        "for path in sys.argv[1:]:\n"
        "    print(type(fastcca.load(path)).__name__, 'torch' in sys.modules)\n"
        "import fastcca.deep\n"
        "assert fastcca.deep.load is fastcca.load"
    )
    arguments = [sys.executable, "-c", code, *(tmp_path / name for name in ("means", "detector", "deep"))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "NearestClassMean",
        "False",
        "SynchronyDetector",
        "False",
        "DeepCCA",
        "True",
    ]


def test_requests_of_metadata_survive(views, tmp_path):
    X, Y = views
    with config_context(enable_metadata_routing=True):
        model = (
            fastcca.CCA().set_fit_request(sample_weight=True).set_score_request(sample_weight="w").fit(X, Y)
        )
        model.save(tmp_path / "model.safetensors")
        loaded = fastcca.load(tmp_path / "model.safetensors")
        assert str(loaded.get_metadata_routing()) == str(model.get_metadata_routing())
        assert loaded.get_metadata_routing().score.requests == {"sample_weight": "w", "confounds": None}
    assert np.array_equal(loaded.transform(X), model.transform(X))
    plain = fastcca.CCA().fit(X, Y)
    plain.set_output(transform="pandas").save(tmp_path / "frames.safetensors")
    assert isinstance(fastcca.load(tmp_path / "frames.safetensors").transform(X), pd.DataFrame)


@pytest.mark.parametrize(
    "model",
    [
        fastcca.CCA(2),
        fastcca.CCACV(2, regs=[0.1]),
        fastcca.KernelCCA(2, rank=30),
        SynchronyDetector(max_lag=2),
    ],
)
def test_without_moments_everything_works_but_partial_fit(model, rng, tmp_path):
    X = rng.normal(size=(90, 40))
    Y = X[:, :30] + rng.normal(size=(90, 30))
    model = clone(model).fit(X, Y)
    whole, slim = tmp_path / "whole.safetensors", tmp_path / "slim.safetensors"
    model.save(whole)
    model.save(slim, moments=False)
    assert slim.stat().st_size < (0.8 if isinstance(model, fastcca.KernelCCA) else 0.6) * whole.stat().st_size
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


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        # weights of two views, and the regressions of both views on the scores of either
        (fastcca.CCA(16), 6 * 200 * 16),
        (fastcca.CCA(16, reg=2.0, scale=True, shrinkage=None), 6 * 200 * 16),
        (fastcca.CCACV(16, regs=[0.1, 1.0]), 6 * 200 * 16),
        (fastcca.CCA(16, shrinkage="ledoit-wolf"), 6 * 200 * 16),
        (fastcca.SparseCCA(4, 0.9), 6 * 200 * 4),
        (fastcca.PLSSVD(16), 6 * 200 * 16),
        # weights, rotations, regressions, loadings, and the coefficients of the predictions
        (fastcca.PLSRegression(8), 10 * 200 * 8 + 200 * 200),
        # landmarks, their weights, regressions
        (fastcca.KernelCCA(8, rank=20), 2 * 20 * 200 + 2 * 20 * 8 + 4 * 200 * 8),
        # weights, and the covariances of a view's columns with the scores of both
        (fastcca.MCCA(16, reg=0.1), 2 * 200 * 16 + 2 * 200 * 32),
        (fastcca.GCCA(16, reg=0.1), 2 * 200 * 16 + 2 * 200 * 32),
        (fastcca.MCCACV(16, regs=[0.1, 1.0], cv=3), 2 * 200 * 16 + 2 * 200 * 32),
        (fastcca.KernelMCCA(8, rank=20), 2 * 20 * 200 + 2 * 20 * 8 + 2 * 200 * 16),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SavedModel) else "",
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_large_model_without_moments_holds_what_predictions_take(model, numbers, dtype, rng, tmp_path):
    X = rng.normal(size=(600, 200))
    Y = (0.5 * X + rng.normal(size=(600, 200))).astype(dtype)
    X = X.astype(dtype)
    two = isinstance(model, TwoViewTransformer)
    data = (X, Y) if two else ({"a": X, "b": Y},)
    model = clone(model).fit(*data)
    model.save(tmp_path / "slim.safetensors", moments=False)
    size = (tmp_path / "slim.safetensors").stat().st_size
    small = model.n_components_ * 2  # the covariances of the scores, means, deviations; the header
    rest = 8 * small**2 + 8 * 6 * 400 + 8_000
    pls = (
        isinstance(model, (fastcca.PLSSVD, fastcca.PLSRegression)) and dtype == np.float32
    )  # whose maps are rounded once
    assert size < 1.02 * 8 * numbers + rest + pls * 8 * 400 * model.n_components_
    loaded = fastcca.load(tmp_path / "slim.safetensors")
    if two:
        for ours, theirs in zip(loaded.transform_views(X, Y), model.transform_views(X, Y), strict=True):
            assert np.array_equal(ours, theirs)
        assert np.array_equal(loaded.predict(X), model.predict(X))
        assert np.array_equal(loaded.predict_x(Y), model.predict_x(Y))
        z = model.transform(X)
        assert np.array_equal(loaded.inverse_transform(z), model.inverse_transform(z))
        assert np.array_equal(loaded.inverse_transform_y(z), model.inverse_transform_y(z))
    else:
        assert_same(loaded.predict_views({"a": X}), model.predict_views({"a": X}))
        assert_same(loaded.common_variate({"b": Y}), model.common_variate({"b": Y}))
        assert_same(loaded.loadings_, model.loadings_)
    # nothing is missing, and what was computed is right but for rounding
    nothing = {"moments_", "_parts", "_sums", "best_estimator_", "cv_results_", "_requests"}
    assert set(vars(loaded)) - nothing == set(vars(model)) - nothing
    for name, value in vars(model).items():
        if isinstance(value, np.ndarray):
            found = getattr(loaded, name)
            assert found.dtype == value.dtype, name
            assert found.flags.f_contiguous == value.flags.f_contiguous or "loadings" in name
            atol = (1e-13 if dtype == np.float64 else 1e-6) if name in LOADINGS else 0.0
            np.testing.assert_allclose(found, value, rtol=0, atol=atol, err_msg=name)
    # and again
    loaded.save(tmp_path / "again.safetensors", moments=False)
    assert fastcca.load(tmp_path / "again.safetensors").score(*data) == model.score(*data)


def test_what_follows_must_be_what_a_class_computes(tmp_path):
    model = fastcca.CCA(1).fit(np.eye(6)[:, :2], np.eye(6)[:, 1:4])
    writer = Writer(moments=False)
    node = writer.encode(model, "")
    assert node["left_out"] == sorted(LOADINGS, key=node["left_out"].index)
    for key in ("x_weights_", "nothing"):
        damaged = copy.deepcopy(node)
        damaged["fitted"].pop(key, None)
        damaged["left_out"].append(key)
        with pytest.raises((ValueError, KeyError), match=key):
            Reader(writer.tensors, lambda *_: None, {}).decode(damaged)


# ---- files that are kept

WITH_NETWORKS = ("DeepCCA", "DeepGCCA", "DeepLabelEmbedding", "MultimodalAutoencoder")
KEPT = sorted(models.FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_file_that_was_saved_once_opens_for_ever(path):
    if path.stem.split("-")[0] in WITH_NETWORKS:
        pytest.importorskip("torch")
    calls = models.calls_of(path)
    assert calls
    for steps, expected in calls:
        model = fastcca.load(path)
        assert type(model).__name__ == path.stem.split("-")[0]
        found = models.answer(model, steps)
        pairs = {**found} if isinstance(found, dict) else {"": found}
        expected = expected if isinstance(expected, dict) else {"": expected}
        assert pairs.keys() == expected.keys()
        for key, value in pairs.items():
            if np.asarray(value).dtype.kind == "f":
                assert np.asarray(value).dtype == np.float64
                np.testing.assert_allclose(
                    value, expected[key], rtol=1e-12, atol=1e-12, err_msg=str(steps[0][0])
                )
            else:
                np.testing.assert_array_equal(value, expected[key], err_msg=steps[0][0])


def test_every_class_that_is_saved_has_a_file_that_is_kept():
    ours = {name: kind for name, kind in files._classes.items() if kind in own_classes()}
    known = {f"{name}-{kind._schema.version}" for name, kind in ours.items() if hasattr(kind, "fit")}
    missing = known - {path.stem for path in KEPT}
    assert not missing, f"a line in RECIPES of tests/models/make.py, then run it: {missing}"
    assert {path.stem for path in KEPT} == {path.stem for path in models.FOLDER.glob("*.json")}
    assert sum(path.stat().st_size for path in models.FOLDER.iterdir() if path.is_file()) < 500_000


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_schema_names_all_that_fit_sets(path):
    """What it does not name would be stored under the attribute's own name, and last as long as that."""
    pytest.importorskip("torch")
    header, _ = model_file.read(path)

    def entries(node):
        if isinstance(node, dict) and "model" in node:
            yield node
        for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from entries(item)

    found = list(entries(header["model"]))
    assert found
    assert not [entry["extra"] for entry in found if "extra" in entry]


# ---- pickle and skops


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_pickle_of_every_protocol(path, protocol):
    if path.stem.split("-")[0] in WITH_NETWORKS:
        pytest.importorskip("torch")
    model = fastcca.load(path)
    twin = pickle.loads(pickle.dumps(model, protocol))
    again, copied = io.BytesIO(), io.BytesIO()
    model.save(again)
    twin.save(copied)  # which compares all that a file holds
    assert again.getvalue() == copied.getvalue()
    steps, _ = models.calls_of(path)[0]
    assert_same(models.answer(twin, steps), models.answer(model, steps))
    if protocol == 2:
        assert_same(models.answer(copy.deepcopy(model), steps), models.answer(model, steps))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_skops(path):
    skops = pytest.importorskip("skops.io")
    if path.stem.split("-")[0] in WITH_NETWORKS:
        pytest.importorskip("torch")
    model = fastcca.load(path)
    content = skops.dumps(model)
    twin = skops.loads(content, trusted=skops.get_untrusted_types(data=content))
    steps, _ = models.calls_of(path)[0]
    assert_same(models.answer(twin, steps), models.answer(model, steps))
