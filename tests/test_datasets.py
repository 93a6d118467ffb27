"""The data sets: the generator's exact answer, the loaders on small files and on the real ones."""

import gzip
import hashlib
import http.server
import io
import struct
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from sklearn.datasets import load_digits

from fastcca import datasets
from fastcca.datasets import _fashion, _fetch
from fastcca.datasets._formats import read_idx
from fastcca.datasets._sources import RECORDINGS, SOURCES

# ---- the data home -----------------------------------------------------------------------------------


def test_data_home_is_the_argument_then_the_environment_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTCCA_DATA", str(tmp_path / "environment"))
    assert datasets.get_data_home(tmp_path / "argument") == tmp_path / "argument"
    assert datasets.get_data_home() == tmp_path / "environment"
    monkeypatch.delenv("FASTCCA_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.platform", "linux")
    assert datasets.get_data_home() == tmp_path / "cache" / "fastcca"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert datasets.get_data_home() == Path.home() / ".cache" / "fastcca"
    monkeypatch.setattr("sys.platform", "darwin")
    assert datasets.get_data_home() == Path.home() / "Library" / "Caches" / "fastcca"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert datasets.get_data_home() == tmp_path / "local" / "fastcca"


# ---- make_two_views ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [(5, 3), (3, 5), (1, 1), (17, 16), (40, 2)])
def test_population_correlations_and_weights_are_exact(n_features):
    p, q = n_features
    rho = np.linspace(0.95, 0.1, min(p, q))
    views = datasets.make_two_views(7, n_features, rho, condition=(100, 3), random_state=1)
    assert views.X.shape == (7, p)
    assert views.y.shape == (7, q)
    np.testing.assert_array_equal(views.correlations, rho)
    # The weights whiten the population covariance of each view.
    for weights, covariance, condition in (
        (views.x_weights, views.x_covariance, 100),
        (views.y_weights, views.y_covariance, 3),
    ):
        np.testing.assert_allclose(weights.T @ covariance @ weights, np.eye(len(rho)), atol=1e-9)
        if len(covariance) > 1:
            assert np.linalg.cond(covariance) == pytest.approx(condition**2, rel=1e-6)
    largest = np.abs(views.x_weights).argmax(axis=0)
    assert (views.x_weights[largest, np.arange(len(rho))] > 0).all()


def test_samples_follow_the_population():
    """Moments of a large sample against the population's, within five standard errors (about 1/√n)."""
    n = 200_000
    views = datasets.make_two_views(n, (6, 4), (0.9, 0.5, 0.2), mean=(3.0, -2.0), random_state=5)
    error = 5 / np.sqrt(n)
    np.testing.assert_allclose(views.X.mean(axis=0), 3.0, atol=error)
    np.testing.assert_allclose(views.y.mean(axis=0), -2.0, atol=error)
    np.testing.assert_allclose(np.cov(views.X.T), views.x_covariance, atol=2 * error)
    np.testing.assert_allclose(np.cov(views.y.T), views.y_covariance, atol=2 * error)
    cross = np.cov(views.X @ views.x_weights, views.y @ views.y_weights, rowvar=False)[:3, 3:]
    np.testing.assert_allclose(cross, np.diag([0.9, 0.5, 0.2]), atol=2 * error)
    # What the first pairs do not explain is uncorrelated: CCA of the sample finds nearly nothing more.
    qx, qy = (np.linalg.qr(view - view.mean(axis=0))[0] for view in (views.X, views.y))
    found = np.linalg.svd(qx.T @ qy, compute_uv=False)
    np.testing.assert_allclose(found, [0.9, 0.5, 0.2, 0.0], atol=3 * error)


def test_perfect_correlation():
    views = datasets.make_two_views(50, (4, 3), (1.0, 0.5), random_state=0)
    np.testing.assert_allclose(views.X @ views.x_weights[:, 0], views.y @ views.y_weights[:, 0], atol=1e-12)


def test_generator_is_reproducible_and_float32_is_its_rounding():
    first, second = (datasets.make_two_views(20, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.y, second.y)
    single = datasets.make_two_views(20, random_state=3, dtype=np.float32)
    assert single.X.dtype == single.y.dtype == np.float32
    np.testing.assert_array_equal(single.X, first.X.astype(np.float32))
    assert not np.array_equal(datasets.make_two_views(20, random_state=4).X, first.X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_features": (0, 3)}, "n_features"),
        ({"correlations": ()}, "correlations"),
        ({"correlations": (0.5,) * 9}, "1 to 8 numbers"),
        ({"correlations": (0.5, 0.7)}, "descending"),
        ({"correlations": (1.1,)}, r"\[0, 1\]"),
        ({"correlations": (0.5, -0.1)}, r"\[0, 1\]"),
        ({"correlations": (float("nan"),)}, r"\[0, 1\]"),
        ({"condition": 0.5}, "condition"),
        ({"condition": (2.0, float("inf"))}, "condition"),
        ({"dtype": np.int32}, "dtype"),
    ],
)
def test_generator_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.make_two_views(**arguments)


# ---- digits ------------------------------------------------------------------------------------------


def test_digit_halves_are_the_columns_of_the_images():
    halves, digits = datasets.load_digit_halves(), load_digits()
    for i in (0, 17, 1796):
        whole = np.hstack([halves.left[i].reshape(8, 4), halves.right[i].reshape(8, 4)])
        np.testing.assert_array_equal(whole * 16, digits.images[i])
    np.testing.assert_array_equal(halves.target, digits.target)
    row, column = map(int, halves.right_names[13].split("_")[1:])
    np.testing.assert_array_equal(halves.right[:, 13] * 16, digits.images[:, row, column])


def test_digit_attributes_describe_every_class():
    digits, images = datasets.load_digit_attributes(), load_digits()
    np.testing.assert_array_equal(digits.X * 16, images.data)
    assert list(digits.class_names[digits.y[:3]]) == ["zero", "one", "two"]
    assert set(digits.class_names) <= set(digits.taxonomy.nodes)
    assert digits.attributes.shape == (10, 11)
    assert (
        len({row.tobytes() for row in digits.attributes_binary}) == 10
    )  # no two classes are described alike
    assert 0 < digits.attributes.mean(axis=0).min() <= digits.attributes.mean(axis=0).max() < 1


# ---- omics -------------------------------------------------------------------------------------------


def test_omics_columns_follow_their_factors():
    omics = datasets.make_omics(4000, (60, 12), n_factors=2, n_active=(10, 3), n_modules=4, random_state=0)
    assert omics.X.shape == (4000, 60)
    assert [len(omics.x_names), len(omics.y_names)] == [60, 12]
    for view, factor, active in ((omics.X, omics.x_factor, 10), (omics.y, omics.y_factor, 3)):
        np.testing.assert_array_equal(np.bincount(factor + 1), [view.shape[1] - 2 * active, active, active])
        with_factors = np.corrcoef(view.T, omics.factors.T)[:-2, -2:]
        expected = np.where(factor[:, np.newaxis] == np.arange(2), 0.8, 0.0)
        np.testing.assert_allclose(with_factors, expected, atol=5 / np.sqrt(4000))
        np.testing.assert_allclose(view.std(axis=0), 1, atol=5 / np.sqrt(4000))
    others = np.flatnonzero(omics.x_factor < 0)
    within = np.corrcoef(omics.X[:, others].T)
    same = (np.arange(40) % 4)[:, np.newaxis] == np.arange(40) % 4
    expected = np.where(same, 0.64, 0.0) + 0.36 * np.eye(40)
    np.testing.assert_allclose(within, expected, atol=5 / np.sqrt(4000))
    noise = datasets.make_omics(4000, (20, 5), n_factors=1, n_active=(2, 2), n_modules=0, random_state=1)
    rest = noise.X[:, noise.x_factor < 0]
    np.testing.assert_allclose(np.corrcoef(rest.T), np.eye(18), atol=5 / np.sqrt(4000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_features": (0, 5)}, "n_features of X"),
        ({"n_active": (20, 0)}, "n_active of y"),
        ({"n_active": (20, 30)}, "n_factors=3 times n_active=30 must be at most the 60 columns of y"),
        ({"n_modules": -1}, "n_modules"),
        ({"strength": 1.5}, "strength"),
        ({"strength": float("nan")}, "strength"),
    ],
)
def test_omics_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.make_omics(**arguments)


# ---- IDX ---------------------------------------------------------------------------------------------


def idx_bytes(array):
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    header = bytes([0, 0, codes[array.dtype.str[1:]], array.ndim]) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_round_trip(tmp_path, dtype, compress):
    array = np.arange(-12, 12).astype(dtype).reshape(2, 3, 4)
    (tmp_path / "array").write_bytes(compress(idx_bytes(array)))
    found = read_idx(tmp_path / "array")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file.*missing"),
        (b"PK\x03\x04", "not an IDX file.*50 4b 03 04"),
        (b"\0\0\x07\x01\0\0\0\x00", "not an IDX file"),
        (GOOD[:9], "ends inside its header of 12"),
        (GOOD[:-1], r"17 bytes where the dimensions \(2, 3\) need 18"),
        (GOOD + b"\0", "19 bytes where"),
        (gzip.compress(GOOD)[:-9], "damaged gzip"),
        (gzip.compress(GOOD)[:10] + b"\xff" * 20, "damaged gzip"),
    ],
)
def test_damaged_idx_file_is_named(tmp_path, content, message):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


# ---- MNIST -------------------------------------------------------------------------------------------


def write_mnist(home, data):
    """Images and labels by the prefix of their files; the images' files are gzipped."""
    folder = home / "mnist"
    folder.mkdir()
    for prefix, (images, labels) in data.items():
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return home


@pytest.fixture
def small_mnist(tmp_path):
    """A data home with five training and three test images."""
    rng = np.random.default_rng(0)
    data = {}
    for prefix, n in (("train", 5), ("t10k", 3)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        data[prefix] = images, rng.integers(0, 10, n, dtype=np.uint8)
    return write_mnist(tmp_path, data), data


def test_mnist_halves_are_the_columns_of_the_images(small_mnist):
    home, data = small_mnist
    halves = datasets.load_mnist_halves(home)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = data[prefix]
        left, right = halves[f"left_{split}"], halves[f"right_{split}"]
        assert left.dtype == right.dtype == np.float32
        whole = np.concatenate([left.reshape(-1, 28, 14), right.reshape(-1, 28, 14)], axis=2)
        np.testing.assert_array_equal(whole, images.astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(halves[f"target_{split}"], labels)


def test_mnist_missing_and_damaged_files_are_named(small_mnist, tmp_path):
    home, _ = small_mnist
    labels = home / "mnist" / "t10k-labels-idx1-ubyte"
    content = labels.read_bytes()
    labels.write_bytes(idx_bytes(np.zeros(2, dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"t10k-labels.*expected 3 bytes"):
        datasets.load_mnist_halves(home)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        datasets.load_mnist_halves(home)
    labels.write_bytes(content)
    (home / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(
        idx_bytes(np.zeros((5, 8, 8), dtype=np.uint8))
    )
    with pytest.raises(ValueError, match=r"train-images.*28×28"):
        datasets.load_mnist_halves(home)
    with pytest.raises(FileNotFoundError, match="no folder"):
        datasets.load_mnist_halves(tmp_path / "nowhere", download_if_missing=False)


def test_mnist_falls_back_to_openml(monkeypatch, tmp_path):
    pixels = np.arange(60002 * 784, dtype=np.uint32).astype(np.uint8).reshape(60002, 784)
    digits = np.array([str(i % 10) for i in range(60002)], dtype=object)

    def fetch(name, *, version, return_X_y, **_):
        assert (name, version, return_X_y) == ("mnist_784", 1, True)
        return pixels, digits

    monkeypatch.setattr("fastcca.datasets._mnist.fetch_openml", fetch)
    halves = datasets.load_mnist_halves(tmp_path)
    assert len(halves.left_train) == 60000
    np.testing.assert_array_equal(halves.target_test, [0, 1])
    image = pixels[60001].reshape(28, 28) / np.float32(255)
    np.testing.assert_allclose(halves.right_test[1].reshape(28, 14), image[:, 14:], rtol=1e-7)

    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("fastcca.datasets._mnist.fetch_openml", fail)
    with pytest.raises(OSError, match=r"no route to host.*FASTCCA_DATA"):
        datasets.load_mnist_halves(tmp_path)


def test_real_mnist(data_home):
    if not (data_home / "mnist").is_dir():
        pytest.skip("no mnist in the data home")
    halves = datasets.load_mnist_halves()
    assert halves.left_train.shape == halves.right_train.shape == (60000, 392)
    assert halves.left_test.shape == (10000, 392)
    # The well-known mean of the training pixels, 0.1307, and the first labels.
    assert (halves.left_train.mean() + halves.right_train.mean()) / 2 == pytest.approx(0.1307, abs=5e-5)
    np.testing.assert_array_equal(halves.target_train[:8], [5, 0, 4, 1, 9, 2, 1, 3])
    np.testing.assert_array_equal(halves.target_test[:8], [7, 2, 1, 0, 4, 1, 4, 9])


@pytest.fixture
def flat_mnist(tmp_path):
    """A data home of images that show their number: eight to train, three to test, of two digits."""
    data = {}
    for prefix, shades in (("train", range(10, 18)), ("t10k", range(100, 103))):
        shade = np.array(shades, dtype=np.uint8)
        data[prefix] = np.tile(shade[:, None, None], (1, 28, 28)), shade % 2
    return write_mnist(tmp_path, data)


def test_noisy_mnist_pairs_images_of_a_digit_within_a_split(flat_mnist):
    digits = datasets.make_noisy_mnist(500, 2, 300, data_home=flat_mnist, random_state=3)
    assert (len(digits.target_train), len(digits.target_validation), len(digits.target_test)) == (500, 2, 300)
    for split, shades in (("train", range(10, 16)), ("validation", (16, 17)), ("test", (100, 101, 102))):
        rotated, noisy = digits[f"rotated_{split}"], digits[f"noisy_{split}"]
        assert rotated.dtype == noisy.dtype == np.float32
        # No rotation moves the middle of a flat image; the least of 784 noises in [0, 1] is about 1/784.
        first = np.rint(rotated.reshape(-1, 28, 28)[:, 14, 14] * 255).astype(int)
        np.testing.assert_array_equal(first, np.resize(shades, len(first)))
        second = noisy.min(axis=1) * 255 - 255 / 785
        pairs = np.array([min(shades, key=lambda shade: abs(shade - value)) for value in second])
        np.testing.assert_array_equal(digits[f"target_{split}"], first % 2)
        assert (np.abs(second - pairs) < 2).mean() > 0.95
        assert noisy.max() <= 1
        if split != "validation":
            assert set(pairs) == set(shades)
    # Uniform noise, cut off at 1: a pixel of value v is 1 with probability v.
    full = (digits.noisy_test == 1).mean(axis=1)
    assert np.abs(full.mean() - 101 / 255) < 0.02
    assert (digits.noisy_test.mean(axis=0) > 0.6).all()


def test_noisy_mnist_is_rotated_by_at_most_45_degrees(tmp_path):
    """A bar through the middle: where it points is the angle, uniform on either side."""
    bar = np.zeros((2, 28, 28), dtype=np.uint8)
    bar[:, 4:24, 13:15] = 255
    home = write_mnist(tmp_path, dict.fromkeys(("train", "t10k"), (bar, np.zeros(2, dtype=np.uint8))))
    digits = datasets.make_noisy_mnist(400, 0, 0, data_home=home, random_state=0)
    assert "rotated_test" not in digits
    x, y = np.meshgrid(np.arange(28) - 13.5, np.arange(28) - 13.5)
    images = digits.rotated_train.reshape(-1, 28, 28).astype(float)
    cross, vertical, horizontal = ((images * part).sum(axis=(1, 2)) for part in (x * y, y * y, x * x))
    angles = np.degrees(np.arctan2(2 * cross, vertical - horizontal) / 2)
    assert np.abs(angles).max() < 46
    assert np.abs(angles).max() > 43
    assert np.abs(angles.mean()) < 4
    assert np.abs(angles.std() - 45 / np.sqrt(3)) < 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_train": -1}, "n_train"),
        ({"n_test": 1.5}, "n_test"),
        ({"n_validation": 8}, "leaves no image of 8 for training"),
        ({"n_train": 0, "n_validation": 9}, "leaves no image of 8"),
    ],
)
def test_noisy_mnist_names_what_is_out_of_range(flat_mnist, given, message):
    with pytest.raises(ValueError, match=message):
        datasets.make_noisy_mnist(
            **{"n_train": 10, "n_validation": 2, "n_test": 2, **given}, data_home=flat_mnist
        )


# ---- Wikipedia ---------------------------------------------------------------------------------------


@pytest.fixture
def small_wikipedia(tmp_path):
    folder = tmp_path / "wikipedia"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {
        "I_tr": rng.random((4, 128)),
        "T_tr": rng.random((4, 10)),
        "I_te": rng.random((2, 128)),
        "T_te": rng.random((2, 10)),
    }
    scipy.io.savemat(folder / "raw_features.mat", arrays)
    (folder / "categories.list").write_text("art\nbiology\nmusic\n")
    (folder / "trainset_txt_img_cat.list").write_text("a\tb\t3\nc\td\t1\ne\tf\t2\ng\th\t3\n")
    (folder / "testset_txt_img_cat.list").write_text("i\tj\t2\nk\tl\t1\n")
    return tmp_path, arrays


def test_wikipedia_reads_its_files(small_wikipedia):
    home, arrays = small_wikipedia
    wikipedia = datasets.load_wikipedia(home)
    np.testing.assert_array_equal(wikipedia.image_train, arrays["I_tr"])
    np.testing.assert_array_equal(wikipedia.text_train, arrays["T_tr"])
    np.testing.assert_array_equal(wikipedia.image_test, arrays["I_te"])
    np.testing.assert_array_equal(wikipedia.text_test, arrays["T_te"])
    np.testing.assert_array_equal(wikipedia.target_train, [2, 0, 1, 2])
    assert list(wikipedia.target_names[wikipedia.target_test]) == ["biology", "art"]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("raw_features.mat", None, FileNotFoundError, "no file"),
        ("raw_features.mat", b"not a mat file", ValueError, "damaged MATLAB"),
        ("categories.list", None, FileNotFoundError, "no file"),
        ("testset_txt_img_cat.list", b"i\tj\t4\nk\tl\t1\n", ValueError, "line 1.*from 1 to 3"),
        ("testset_txt_img_cat.list", b"i\tj\t1\nk\tl\n", ValueError, "line 2"),
        ("testset_txt_img_cat.list", b"i\tj\t1\n", ValueError, "raw_features.*expected I_te"),
    ],
)
def test_wikipedia_missing_and_damaged_files_are_named(small_wikipedia, name, content, error, message):
    home, _ = small_wikipedia
    path = home / "wikipedia" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        datasets.load_wikipedia(home)
    assert str(home) in str(caught.value)


def test_real_wikipedia(data_home):
    if not (data_home / "wikipedia").is_dir():
        pytest.skip("no wikipedia in the data home")
    wikipedia = datasets.load_wikipedia()
    assert wikipedia.image_train.shape == (2173, 128)
    assert wikipedia.text_test.shape == (693, 10)
    for view in ("image_train", "image_test", "text_train", "text_test"):
        np.testing.assert_allclose(wikipedia[view].sum(axis=1), 1, atol=1e-6)
    assert wikipedia.target_names[9] == "warfare"
    assert set(wikipedia.target_train) == set(wikipedia.target_test) == set(range(10))


# ---- downloads ---------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder, and the address under which it is served on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{http_server.server_port}/"
        http_server.shutdown()
        thread.join()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def served(monkeypatch, folder, **changes):
    monkeypatch.setitem(SOURCES, folder, replace(SOURCES[folder], **changes))


def test_files_are_fetched_checked_and_kept(monkeypatch, server, tmp_path):
    pytest.importorskip("pooch")
    folder, url = server
    (folder / "a.gz").write_bytes(gzip.compress(b"content of a", mtime=1))
    (folder / "b").write_bytes(b"content of b")
    served(
        monkeypatch,
        "mnist",
        files={"a.gz": sha256(b"content of a"), "b": sha256(b"content of b")},
        # the first address does not answer
        urls={name: (f"{url}nowhere/{name}", f"{url}{name}") for name in ("a.gz", "b")},
    )
    home = tmp_path / "home"
    found = datasets.fetch_mnist(home, progressbar=False)
    assert found == home / "mnist"
    assert sorted(path.name for path in found.iterdir()) == ["a.gz", "b"]
    assert gzip.decompress((found / "a.gz").read_bytes()) == b"content of a"
    # What is there is not asked for again; what is not there is.
    (folder / "a.gz").unlink()
    (found / "b").unlink()
    assert datasets.fetch_mnist(home, progressbar=False) == found
    assert (found / "b").read_bytes() == b"content of b"
    (found / "a.gz").unlink()
    with pytest.raises(OSError, match=r"MNIST: no address answered: .*nowhere/a\.gz.*http://yann"):
        datasets.fetch_mnist(home, progressbar=False)
    (folder / "a.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match=r"MNIST: a\.gz is not the expected file"):
        datasets.fetch_mnist(home, progressbar=False)
    (folder / "a.gz").write_bytes(gzip.compress(b"content of a")[:-6])
    with pytest.raises(ValueError, match="damaged gzip file"):
        datasets.fetch_mnist(home, progressbar=False)
    assert sorted(path.name for path in found.iterdir()) == ["b"]  # no trace of what failed


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archives_give_the_named_files_only(monkeypatch, server, tmp_path, pack):
    pytest.importorskip("pooch")
    folder, url = server
    served(
        monkeypatch,
        "wikipedia",
        files={"x.list": sha256(b"x"), "y.list": sha256(b"y")},
        urls={"archive": (f"{url}all",)},
    )
    (folder / "all").write_bytes(pack({"../../evil": b"!", "deep/x.list": b"x", "y.list": b"y"}))
    found = datasets.fetch_wikipedia(tmp_path, progressbar=False)
    assert sorted(path.name for path in found.iterdir()) == ["x.list", "y.list"]
    assert not (tmp_path.parent / "evil").exists()
    for path in found.iterdir():
        path.unlink()
    for content, message in (
        (pack({"x.list": b"x"}), "the archive lacks y.list"),
        (pack({"x.list": b"x", "y.list": b"other"}), "y.list is not the expected file"),
        (b"PK or not", "damaged archive"),
    ):
        (folder / "all").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            datasets.fetch_wikipedia(tmp_path, progressbar=False)
        assert list(found.iterdir()) == []


def test_recordings_are_checked_together(monkeypatch, server, tmp_path):
    pytest.importorskip("pooch")
    folder, url = server
    digest = sha256(f"0_a_0.wav {sha256(b'one')}\n1_a_0.wav {sha256(b'two')}\n".encode())
    served(monkeypatch, "fsdd", files={RECORDINGS: digest}, urls={"archive": (f"{url}tar",)})
    recordings = {"v1/recordings/1_a_0.wav": b"two", "v1/README": b"?", "v1/recordings/0_a_0.wav": b"one"}
    (folder / "tar").write_bytes(tarred({**recordings, "v1/recordings/2_a_0.wav": b"three"}))
    with pytest.raises(ValueError, match="not the expected one: 3 recordings"):
        datasets.fetch_spoken_digits(tmp_path, progressbar=False)
    (folder / "tar").write_bytes(tarred(recordings))
    found = datasets.fetch_spoken_digits(tmp_path, progressbar=False)
    assert [path.name for path in found.iterdir()] == ["fsdd_recordings.tar.gz"]


def test_without_pooch_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"fetch_wordnet needs pooch: pip install 'fastcca\[data\]'"):
        datasets.fetch_wordnet(tmp_path)


@pytest.mark.parametrize(
    ("load", "folder"),
    [
        (datasets.load_awa, "awa1"),
        (datasets.load_wikipedia, "wikipedia"),
        (datasets.load_spoken_digits, "fsdd"),
        (partial(datasets.load_mnist_halves, download_if_missing=False), "mnist"),
        (lambda home: datasets.make_noisy_mnist(data_home=home, download_if_missing=False), "mnist"),
    ],
)
def test_what_is_not_there_is_said_with_its_address(tmp_path, load, folder):
    with pytest.raises(FileNotFoundError) as caught:
        load(tmp_path)
    assert SOURCES[folder].home in str(caught.value)
    assert f"datasets.{SOURCES[folder].fetch}()" in str(caught.value)
    assert callable(getattr(datasets, SOURCES[folder].fetch))


@pytest.mark.parametrize("folder", sorted(set(SOURCES) - {"wordnet"}))
def test_the_real_files_have_the_expected_content(data_home, folder):
    if not (data_home / folder).is_dir():
        pytest.skip(f"no {folder} in the data home")
    source = SOURCES[folder]
    if source.archive is None:
        assert {n: _fetch._content_hash(data_home / folder / n) for n in source.files} == source.files
    else:
        lines = sorted(
            f"{name} {sha256(content.read())}\n"
            for name, content in _fetch._members(source, data_home / folder / source.archive)
        )
        assert sha256("".join(lines).encode()) == source.files[RECORDINGS]


# ---- load_fashion ------------------------------------------------------------------------------------


def write_fashion(folder, n=3):
    """Ten names of the data set below two nodes, two attributes, n images a part."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = {part: rng.integers(0, 256, (n, 28, 28)).astype(np.uint8) for part in ("train", "t10k")}
    labels = {part: np.array([9, 0, 5][:n], dtype=np.uint8) for part in images}
    for part in images:
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images[part])))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels[part]))
    lines = [f"{name}\t{'shoe' if i in (5, 7, 9) else 'item'}" for i, name in enumerate(_fashion.CLASSES)]
    (folder / "taxonomy.tsv").write_text("\n".join(["shoe\titem", *lines, ""]), encoding="utf-8")
    rows = [f"{name},{i % 2},{i // 5}" for i, name in enumerate(_fashion.CLASSES)]
    (folder / "attributes.csv").write_text("\n".join(["class,odd,late", *rows, ""]), encoding="utf-8")
    return images


def test_fashion(tmp_path):
    images = write_fashion(tmp_path / "fashion")
    found = datasets.load_fashion(tmp_path)
    np.testing.assert_array_equal(found.images_train, images["train"])
    np.testing.assert_array_equal(found.images_test, images["t10k"])
    assert found.target_train.tolist() == ["ankle boot", "t-shirt", "sandal"]
    assert found.taxonomy.ancestors("sneaker") == ("shoe",)
    assert found.attribute_names == ["odd", "late"]
    assert found.attributes["ankle boot"].tolist() == [1.0, 1.0]
    assert list(found.attributes) == found.target_names


def test_fashion_without_files_of_its_classes(tmp_path):
    write_fashion(tmp_path / "fashion")
    for name in ("taxonomy.tsv", "attributes.csv"):
        (tmp_path / "fashion" / name).unlink()
    found = datasets.load_fashion(tmp_path)
    assert found.taxonomy.ancestors("coat") == ("warm top", "upper body", "garment")
    assert len(found.attribute_names) == 20
    assert found.attributes["bag"].sum() == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("taxonomy.tsv", "coat\titem\n", "there is no node 't-shirt'"),
        ("attributes.csv", "class,a\ncoat,1\n", "there is no line for 't-shirt'"),
        ("attributes.csv", "class,a,b\ncoat,1\n", "'coat' has 1 values, expected 2"),
        ("attributes.csv", "class,a\ncoat,yes\n", "the attributes of 'coat' are not numbers"),
    ],
)
def test_damaged_fashion_files_are_named(tmp_path, name, content, message):
    write_fashion(tmp_path / "fashion")
    (tmp_path / "fashion" / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        datasets.load_fashion(tmp_path)


def test_missing_and_mismatched_fashion_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Fashion-MNIST: there is no file .*fetch_fashion_mnist"):
        datasets.load_fashion(tmp_path)
    write_fashion(tmp_path / "fashion")
    labels = tmp_path / "fashion" / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.array([1, 2, 10], dtype=np.uint8)))
    with pytest.raises(ValueError, match="the train labels go up to 10, expected 0 to 9"):
        datasets.load_fashion(tmp_path)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="Fashion-MNIST: there is no file"):
        datasets.load_fashion(tmp_path)


def test_real_fashion(data_home):
    if not (data_home / "fashion").is_dir():
        pytest.skip(f"there is no folder {data_home / 'fashion'}")
    fashion = datasets.load_fashion(data_home)
    assert fashion.images_train.shape == (60000, 28, 28)
    assert fashion.images_test.shape == (10000, 28, 28)
    names, counts = np.unique(fashion.target_train, return_counts=True)
    assert set(names) == set(fashion.target_names)
    assert (counts == 6000).all()
    # sneakers lie nearer to ankle boots than to coats; the attributes say which cover feet
    assert fashion.taxonomy.distance("sneaker", "ankle boot") < fashion.taxonomy.distance("sneaker", "coat")
    on_feet = fashion.attribute_names.index("on feet")
    feet = {name for name, row in fashion.attributes.items() if row[on_feet] == 1}
    assert feet == {"sandal", "sneaker", "ankle boot"}
    # what comes with the package is what the files say
    assert {node: fashion.taxonomy.parent(node) for node in fashion.taxonomy.nodes} == _fashion.PARENTS
    for name, row in _fashion._attributes()[0].items():
        np.testing.assert_array_equal(row, fashion.attributes[name])
    assert fashion.attribute_names == list(_fashion.ATTRIBUTES)
