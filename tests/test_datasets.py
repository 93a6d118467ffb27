"""The data sets: the generator's exact answer, the loaders on small files and on the real ones."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from sklearn.datasets import load_digits

from fastcca import datasets
from fastcca.datasets._idx import read_idx

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


@pytest.fixture
def small_mnist(tmp_path):
    """A data home with five training and three test images, half the files gzipped."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    data = {}
    for prefix, n in (("train", 5), ("t10k", 3)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, n, dtype=np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        data[prefix] = images, labels
    return tmp_path, data


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


# ---- load_fashion ------------------------------------------------------------------------------------


def write_fashion(folder, n=3):
    """Ten names of the data set below two nodes, two attributes, n images a part."""
    from fastcca.datasets._fashion import CLASSES

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = {part: rng.integers(0, 256, (n, 28, 28)).astype(np.uint8) for part in ("train", "t10k")}
    labels = {part: np.array([9, 0, 5][:n], dtype=np.uint8) for part in images}
    for part in images:
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images[part])))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels[part]))
    lines = [f"{name}\t{'shoe' if i in (5, 7, 9) else 'item'}" for i, name in enumerate(CLASSES)]
    (folder / "taxonomy.tsv").write_text("\n".join(["shoe\titem", *lines, ""]), encoding="utf-8")
    rows = [f"{name},{i % 2},{i // 5}" for i, name in enumerate(CLASSES)]
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
    with pytest.raises(FileNotFoundError, match=r"Fashion-MNIST: there is no file .*taxonomy\.tsv"):
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
