"""Animals with Attributes, 1 and 2: images' features, attributes of the classes, their taxonomy."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from fastcca.datasets._docs import documented
from fastcca.datasets._formats import read_mat
from fastcca.datasets._home import HOME_HINT, get_data_home, require
from fastcca.datasets._sources import SOURCES, hint
from fastcca.taxonomy import Taxonomy

__all__ = ["load_awa"]

_WHAT = "Animals with Attributes"

# Where each layout lies below the data home, and a file by which it is known.
_FOLDERS = {
    "awa1": "predicates.txt",
    "Animals_with_Attributes2": "predicates.txt",
    "xlsa17/data/AWA1": "res101.mat",
    "xlsa17/data/AWA2": "res101.mat",
}
_RELEASED = Path("Features") / "ResNet101"
_WORDNET = Path("/usr/share/wordnet")


@documented
def load_awa(
    data_home: str | os.PathLike[str] | None = None, *, folder: str | os.PathLike[str] | None = None
) -> Bunch:
    """Images of 50 kinds of animals with 85 attributes of each kind, and the tree of the kinds.

    Read from the data home, see :func:`get_data_home`. Nothing is downloaded; :func:`fetch_awa`
    gets the tables. Three layouts of the files are
    known, each by its content:

    - text files and one ``.npz``, in ``awa1``: ``classes.txt``, ``predicates.txt``,
      ``predicate-matrix-continuous.txt``, ``predicate-matrix-binary.txt``, ``trainclasses.txt`` and
      ``testclasses.txt`` as the authors distribute them; the features in a file ``*.npz`` with arrays ``X``
      (n, d) and ``y`` (n,), the class counted from 0;
    - AwA2's own release, in ``Animals_with_Attributes2``: the same text files; the features in
      ``Features/ResNet101/AwA2-features.txt`` and ``AwA2-labels.txt``;
    - the common zero-shot splits, in ``xlsa17/data/AWA1`` or ``xlsa17/data/AWA2``: ``res101.mat`` and
      ``att_splits.mat``.

    {data_home}
    folder : path, optional
        Which folder, relative to the data home. By default the first of the four above that is there.

    Returns
    -------
    sklearn.utils.Bunch
        ``X``: (n, d) float32, the features; ``y``: (n,) int64, the class, counted from 0;
        ``class_names``: (50,) text, so that ``class_names[y]`` are labels; ``attributes``: (50, 85) float64,
        how strongly each class has each attribute, in per cent, -1 where that is not known;
        ``attributes_binary``: (50, 85) bool; ``attribute_names``: (85,) text (numbers in the layout of the
        zero-shot splits, which has no names); ``train_classes`` and ``test_classes``: (40,) and (10,) text,
        the classes of the zero-shot split; ``rows``: dict of int64 arrays, the rows ``trainval``,
        ``test_seen`` and ``test_unseen`` of the zero-shot splits, empty for the other layouts; ``taxonomy``:
        the WordNet tree of the classes, read from ``wordnet/awa_taxonomy.tsv`` in the data home, else made
        from WordNet's files in ``wordnet`` or ``/usr/share/wordnet``, ``None`` without either.

    Raises
    ------
    FileNotFoundError
        If none of the folders is there, or a file is missing.
    ValueError
        If a file is damaged or does not belong to the others.

    Notes
    -----
    The binary attributes of the authors are the continuous ones thresholded at their overall mean; where the
    files do not have them that is how they are made.

    References
    ----------
    C. H. Lampert, H. Nickisch and S. Harmeling, "Learning to detect unseen object classes by between-class
    attribute transfer", CVPR 2009. Y. Xian, C. H. Lampert, B. Schiele and Z. Akata, "Zero-shot learning: a
    comprehensive evaluation of the good, the bad and the ugly", IEEE TPAMI, 2019.

    Examples
    --------
    >>> from fastcca.datasets import load_awa
    >>> awa = load_awa()  # doctest: +SKIP
    >>> awa.X.shape, awa.class_names[awa.y[0]]  # doctest: +SKIP
    ((30475, 300), 'antelope')
    """
    home = get_data_home(data_home)
    chosen = _find(home) if folder is None else home / folder
    if not chosen.is_dir():
        raise FileNotFoundError(f"{_WHAT}: there is no folder {chosen} ({HOME_HINT}){hint('awa1')}")
    animals = _read_splits(chosen) if (chosen / "res101.mat").is_file() else _read_text(chosen)
    _check(animals, chosen)
    return Bunch(**animals, taxonomy=_taxonomy(home, animals["class_names"]))


def _find(home: Path) -> Path:
    for name, known_by in _FOLDERS.items():
        if (home / name / known_by).is_file():
            return home / name
    raise FileNotFoundError(
        f"{_WHAT}: none of the folders {', '.join(_FOLDERS)} is in the data home {home} ({HOME_HINT})"
        f"{hint('awa1')}"
    )


# ---- text files --------------------------------------------------------------------------------------


def _read_text(folder: Path) -> dict[str, Any]:
    """The authors' text files, with the features of an .npz or of AwA2's release."""
    classes, predicates = (_numbered(folder / f"{name}.txt") for name in ("classes", "predicates"))
    shape = len(classes), len(predicates)
    continuous = _matrix(folder / "predicate-matrix-continuous.txt", shape)
    binary = _matrix(folder / "predicate-matrix-binary.txt", shape)
    X, y = _read_released(folder) if (folder / _RELEASED).is_dir() else _read_npz(folder)
    return {
        "X": X,
        "y": y,
        "class_names": classes,
        "attributes": continuous,
        "attributes_binary": binary != 0,
        "attribute_names": predicates,
        "train_classes": _names(_lines(folder / "trainclasses.txt")),
        "test_classes": _names(_lines(folder / "testclasses.txt")),
        "rows": {},
    }


def _read_npz(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    found = sorted(folder.glob("*.npz"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{_WHAT}: {folder} must have either one .npz with the features or {_RELEASED}, it has "
            f"{len(found)} .npz; {SOURCES['awa1'].note} from {SOURCES['awa1'].home}"
        )
    try:
        with np.load(found[0], allow_pickle=False) as arrays:
            return arrays["X"].astype(np.float32), arrays["y"].astype(np.int64)
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib, KeyError, ValueError: whatever the damaged bytes lead to
        raise ValueError(f"{found[0]}: expected an .npz file with the arrays X and y ({error})") from error


def _read_released(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    features, labels = (folder / _RELEASED / f"AwA2-{name}.txt" for name in ("features", "labels"))
    # Their classes count from 1.
    return _table(features, np.float32), _table(labels, np.int64).reshape(-1) - 1


def _lines(path: Path) -> list[str]:
    return [
        line.strip() for line in require(path, _WHAT).read_text(encoding="utf-8").splitlines() if line.strip()
    ]


def _numbered(path: Path) -> NDArray[np.object_]:
    """The names in a file of lines "number name", the numbers from 1 on."""
    names = []
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if len(fields) != 2 or fields[0] != str(number):
            raise ValueError(f"{path}: line {number} is {line!r}, expected {number} and a name")
        names.append(fields[1])
    return _names(names)


def _names(names: list[str]) -> NDArray[np.object_]:
    return np.array(names, dtype=object)


def _matrix(path: Path, shape: tuple[int, int]) -> NDArray[np.float64]:
    matrix = _table(path, np.float64)
    if matrix.shape != shape:
        raise ValueError(
            f"{path}: expected {shape[0]} rows, one for each of classes.txt, and {shape[1]} columns, one for "
            f"each of predicates.txt, got {matrix.shape}"
        )
    return matrix


def _table(path: Path, dtype: type[np.generic]) -> NDArray[Any]:
    try:
        return np.loadtxt(require(path, _WHAT), dtype=dtype, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: damaged table ({error})") from error


# ---- the zero-shot splits ----------------------------------------------------------------------------


def _read_splits(folder: Path) -> dict[str, Any]:
    features = _mat(folder / "res101.mat", "features", "labels")
    splits = ("trainval", "test_seen", "test_unseen")
    about = _mat(
        folder / "att_splits.mat", "original_att", "allclasses_names", *(f"{split}_loc" for split in splits)
    )
    # Columns are samples and classes; everything counts from 1.
    y = features["labels"].reshape(-1).astype(np.int64) - 1
    rows = {split: about[f"{split}_loc"].reshape(-1).astype(np.int64) - 1 for split in splits}
    for split, chosen in rows.items():
        if len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= len(y):
            raise ValueError(
                f"{folder / 'att_splits.mat'}: {split}_loc must be rows from 1 to {len(y)}, the number of "
                "labels in res101.mat"
            )
    classes = _names([str(np.asarray(name).reshape(-1)[0]) for name in about["allclasses_names"].reshape(-1)])
    attributes = about["original_att"].T.astype(np.float64)
    unseen = np.isin(np.arange(len(classes)), y[rows["test_unseen"]])
    return {
        "X": np.ascontiguousarray(features["features"].T, dtype=np.float32),
        "y": y,
        "class_names": classes,
        "attributes": attributes,
        "attributes_binary": attributes > attributes.mean(),
        "attribute_names": _names([f"attribute {i + 1}" for i in range(attributes.shape[1])]),
        "train_classes": classes[~unseen],
        "test_classes": classes[unseen],
        "rows": rows,
    }


def _mat(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    arrays = read_mat(path, _WHAT, *names)
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"{path}: it has no {' and no '.join(missing)}")
    return arrays


# ---- all layouts -------------------------------------------------------------------------------------


def _check(animals: dict[str, Any], folder: Path) -> None:
    X, y, classes = animals["X"], animals["y"], animals["class_names"]
    if X.ndim != 2 or y.shape != (len(X),):
        raise ValueError(
            f"{folder}: features of shape {X.shape} and labels of shape {y.shape} do not belong together"
        )
    if len(y) and not (y.min() >= 0 and y.max() < len(classes)):
        raise ValueError(
            f"{folder}: labels from {y.min()} to {y.max()} (counted from 0), there are {len(classes)} classes"
        )
    if len(animals["attributes"]) != len(classes):
        raise ValueError(
            f"{folder}: attributes of {len(animals['attributes'])} classes, there are {len(classes)}"
        )
    split = [*animals["train_classes"], *animals["test_classes"]]
    if sorted(split) != sorted(classes):
        odd = sorted(set(split) ^ set(classes)) or "one is given twice"
        raise ValueError(f"{folder}: the train and the test classes must be all classes, once each: {odd}")


def _taxonomy(home: Path, classes: NDArray[np.object_]) -> Taxonomy | None:
    path = home / "wordnet" / "awa_taxonomy.tsv"
    if path.is_file():
        taxonomy = Taxonomy.from_tsv(path)
        if missing := [name for name in classes if name not in taxonomy]:
            raise ValueError(f"{path}: it lacks the classes {missing}")
        return taxonomy
    for folder in (home / "wordnet", _WORDNET):
        if (folder / "data.noun").is_file():
            # "seal", "mouse" and others have senses that are no animals.
            return Taxonomy.from_wordnet(list(classes), folder, below="mammal")
    return None
