"""Animals with Attributes: the same small animals in three layouts, damaged files, the real data."""

import numpy as np
import pytest
import scipy.io

from fastcca import datasets
from fastcca.taxonomy import Taxonomy

CLASSES = ["antelope", "killer+whale", "dolphin", "tiger"]
PREDICATES = ["black", "swims"]
CONTINUOUS = np.array([[12.5, -1.0], [60.0, 90.0], [10.0, 80.0], [55.0, 0.0]])
BINARY = np.array([[False, False], [True, True], [False, True], [True, False]])  # above the mean, 38.3
TRAIN, TEST = ["antelope", "dolphin", "tiger"], ["killer+whale"]
X = np.arange(21.0).reshape(7, 3) / 8  # exact in half precision
Y = np.array([0, 0, 1, 2, 3, 3, 1])
TREE = "node\tparent\nmammal\t\nantelope\tmammal\ndolphin\tmammal\nkiller+whale\tdolphin\ntiger\tmammal\n"


def write_text_files(folder):
    folder.mkdir(parents=True)
    for name, lines in (("classes", CLASSES), ("predicates", PREDICATES)):
        content = "".join(f"{i:6d}\t{line}\n" for i, line in enumerate(lines, start=1))
        (folder / f"{name}.txt").write_text(content)
    np.savetxt(folder / "predicate-matrix-continuous.txt", CONTINUOUS, "%7.2f")
    np.savetxt(folder / "predicate-matrix-binary.txt", BINARY, "%d")
    (folder / "trainclasses.txt").write_text("\n".join(TRAIN) + "\n")
    (folder / "testclasses.txt").write_text("\n".join(TEST) + "\n\n")


def write_awa1(home):
    write_text_files(home / "awa1")
    np.savez(home / "awa1" / "features.npz", X=X.astype(np.float16), y=Y.astype(np.uint8))


def write_awa2(home):
    write_text_files(home / "Animals_with_Attributes2")
    folder = home / "Animals_with_Attributes2" / "Features" / "ResNet101"
    folder.mkdir(parents=True)
    np.savetxt(folder / "AwA2-features.txt", X, "%.6g")
    np.savetxt(folder / "AwA2-labels.txt", Y + 1, "%d")
    (folder / "AwA2-filenames.txt").write_text("a.jpg\n" * 7)


def mat_arrays():
    names = np.empty((4, 1), dtype=object)
    names[:, 0] = CLASSES
    features = {"features": X.T, "labels": (Y + 1)[:, None].astype(np.uint8)}
    splits = {
        "att": CONTINUOUS.T / 100,
        "original_att": CONTINUOUS.T,
        "allclasses_names": names,
        "trainval_loc": np.array([[1], [4], [5]]),
        "test_seen_loc": np.array([[2], [6]]),
        "test_unseen_loc": np.array([[3], [7]]),
    }
    return {"res101": features, "att_splits": splits}


def write_mat(home, version="AWA1", arrays=None):
    folder = home / "xlsa17" / "data" / version
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (arrays or mat_arrays()).items():
        scipy.io.savemat(folder / f"{name}.mat", content)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data home with a tree, and no WordNet on the machine."""
    monkeypatch.setattr("fastcca.datasets._awa._WORDNET", tmp_path / "no wordnet")
    (tmp_path / "wordnet").mkdir()
    (tmp_path / "wordnet" / "awa_taxonomy.tsv").write_text(TREE)
    return tmp_path


@pytest.mark.parametrize("write", [write_awa1, write_awa2, write_mat])
def test_three_layouts_give_the_same(home, write):
    write(home)
    awa = datasets.load_awa(home)
    np.testing.assert_array_equal(awa.X, X)
    np.testing.assert_array_equal(awa.y, Y)
    assert (awa.X.dtype, awa.y.dtype, awa.X.flags.c_contiguous) == (np.float32, np.int64, True)
    assert awa.class_names[awa.y].tolist() == [CLASSES[i] for i in Y]
    np.testing.assert_array_equal(awa.attributes, CONTINUOUS)
    np.testing.assert_array_equal(awa.attributes_binary, BINARY)
    assert awa.attributes_binary.dtype == bool
    assert (awa.train_classes.tolist(), awa.test_classes.tolist()) == (TRAIN, TEST)
    assert awa.taxonomy.parent("killer+whale") == "dolphin"
    if write is write_mat:
        assert {name: rows.tolist() for name, rows in awa.rows.items()} == {
            "trainval": [0, 3, 4],
            "test_seen": [1, 5],
            "test_unseen": [2, 6],
        }
        assert awa.attribute_names.tolist() == ["attribute 1", "attribute 2"]
    else:
        assert awa.rows == {}
        assert awa.attribute_names.tolist() == PREDICATES


def test_folders_are_tried_in_order_or_named(home):
    write_mat(home, "AWA2")
    assert datasets.load_awa(home).rows
    write_awa1(home)
    assert not datasets.load_awa(home).rows
    assert datasets.load_awa(home, folder="xlsa17/data/AWA2").rows
    with pytest.raises(FileNotFoundError, match=r"no folder .*AWA1.*FASTCCA_DATA"):
        datasets.load_awa(home, folder="xlsa17/data/AWA1")


def test_taxonomy_from_wordnet_or_none(home, monkeypatch):
    write_awa1(home)
    (home / "wordnet" / "awa_taxonomy.tsv").write_text(TREE.replace("tiger", "lion"))
    with pytest.raises(ValueError, match=r"awa_taxonomy\.tsv: it lacks the classes \['tiger'\]"):
        datasets.load_awa(home)
    (home / "wordnet" / "awa_taxonomy.tsv").unlink()
    assert datasets.load_awa(home).taxonomy is None
    asked = []

    def from_wordnet(labels, source, *, below):
        asked.append((labels, source, below))
        return Taxonomy.from_dict({"mammal": labels})

    monkeypatch.setattr(Taxonomy, "from_wordnet", from_wordnet)
    (home / "wordnet" / "data.noun").write_text("")
    assert datasets.load_awa(home).taxonomy.leaves == tuple(CLASSES)
    assert asked == [(CLASSES, home / "wordnet", "mammal")]


def test_nothing_there(home):
    with pytest.raises(FileNotFoundError, match=r"none of the folders awa1, Animals_.*FASTCCA_DATA"):
        datasets.load_awa(home)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("classes.txt", None, FileNotFoundError, "no file"),
        ("classes.txt", b"1 antelope\n3 dolphin\n", ValueError, "line 2 is '3 dolphin', expected 2"),
        ("predicates.txt", b"1 black\n2 swims far\n", ValueError, "line 2"),
        (
            "predicate-matrix-binary.txt",
            b"1 0\n0 1\n",
            ValueError,
            r"expected 4 rows.* 2 columns.*got \(2, 2\)",
        ),
        ("predicate-matrix-continuous.txt", b"1 x\n", ValueError, "damaged table"),
        ("testclasses.txt", b"", ValueError, r"all classes, once each: \['killer\+whale'\]"),
        ("testclasses.txt", b"killer+whale\ntiger\n", ValueError, "given twice"),
        ("features.npz", None, FileNotFoundError, "either one .npz .* it has 0"),
        ("features.npz", b"damaged", ValueError, "arrays X and y"),
    ],
)
def test_damaged_text_files_are_named(home, name, content, error, message):
    write_awa1(home)
    path = home / "awa1" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        datasets.load_awa(home)
    assert str(home) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "name", "value", "message"),
    [
        ("res101", "labels", Y[:-1], "rows from 1 to 6"),
        ("res101", "labels", Y + 2, "labels from 1 to 4 .*there are 4 classes"),
        ("res101", "features", X, r"features of shape \(3, 7\) and labels of shape \(7,\)"),
        ("res101", "features", None, "it has no features"),
        ("att_splits", "original_att", CONTINUOUS[:3].T, "attributes of 3 classes"),
        ("att_splits", "test_unseen_loc", np.array([[0]]), "test_unseen_loc must be rows from 1 to 7"),
    ],
)
def test_damaged_splits_are_named(home, file, name, value, message):
    arrays = mat_arrays()
    arrays[file][name] = value
    if value is None:
        del arrays[file][name]
    folder = write_mat(home, arrays=arrays)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load_awa(home)
    assert str(home) in str(caught.value)
    (folder / "res101.mat").write_bytes(b"not a mat file")
    with pytest.raises(ValueError, match=r"res101\.mat: damaged MATLAB"):
        datasets.load_awa(home)
    (folder / "att_splits.mat").unlink()
    write_mat(home, arrays={"res101": mat_arrays()["res101"]})
    with pytest.raises(FileNotFoundError, match=r"att_splits\.mat"):
        datasets.load_awa(home)


def test_released_labels_must_fit(home):
    write_awa2(home)
    labels = home / "Animals_with_Attributes2" / "Features" / "ResNet101" / "AwA2-labels.txt"
    np.savetxt(labels, Y, "%d")  # counted from 0 by mistake
    with pytest.raises(ValueError, match="labels from -1 to 2"):
        datasets.load_awa(home)


def test_real_animals(data_home):
    if not (data_home / "awa1").is_dir():
        pytest.skip("no awa1 in the data home")
    awa = datasets.load_awa()
    assert awa.X.shape == (30475, 300)
    assert (awa.attributes.shape, awa.attributes_binary.shape) == ((50, 85), (50, 85))
    assert (awa.attributes == -1).sum() == 4
    # the authors thresholded at the overall mean
    np.testing.assert_array_equal(awa.attributes_binary, awa.attributes > awa.attributes.mean())
    images = np.bincount(awa.y)
    assert (len(images), images.min(), images.max()) == (50, 92, 1168)
    assert (len(awa.train_classes), len(awa.test_classes)) == (40, 10)
    assert set(awa.class_names) <= set(awa.taxonomy)
    assert awa.attributes_binary[
        list(awa.class_names).index("tiger"), list(awa.attribute_names).index("stripes")
    ]


def test_a_lack_of_memory_is_not_called_damage(home, monkeypatch):
    def no_memory(*args, **kwargs):
        raise MemoryError

    write_awa1(home)
    monkeypatch.setattr(np, "load", no_memory)
    with pytest.raises(MemoryError):
        datasets.load_awa(home)
