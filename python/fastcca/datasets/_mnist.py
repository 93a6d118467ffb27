"""The 28×28 digits of MNIST, cut in half."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml
from sklearn.utils import Bunch

from fastcca.datasets._docs import documented
from fastcca.datasets._formats import read_idx
from fastcca.datasets._home import HOME_HINT, get_data_home, require
from fastcca.datasets._sources import hint

__all__ = ["load_mnist_halves", "read_mnist", "read_split"]

_N_TRAIN = 60000

Split = tuple[NDArray[Any], NDArray[Any]]  # images (n, 28, 28) and labels (n,)


@documented
def load_mnist_halves(
    data_home: str | os.PathLike[str] | None = None, *, download_if_missing: bool = True
) -> Bunch:
    """The left and the right halves of the MNIST digits: the two views of Andrew et al. (2013).

    Read from the four IDX files (gzipped or not) in the folder ``mnist`` of the data home, see
    :func:`get_data_home`. Where that folder is not there, scikit-learn's
    :func:`sklearn.datasets.fetch_openml` fetches the same images and keeps them in its own data home.

    {data_home}
    download_if_missing : bool, default=True
        ``False``: a missing folder is a ``FileNotFoundError``.

    Returns
    -------
    sklearn.utils.Bunch
        ``left_train`` and ``right_train``: (60000, 392) float32 in [0, 1], columns 0–13 and 14–27 of
        each image, row by row; ``target_train``: (60000,) the digit; ``left_test``, ``right_test`` and
        ``target_test``: the same of the 10000 test images. Many border pixels are constant.

    Raises
    ------
    FileNotFoundError
        If one of the four files is missing.
    ValueError
        If one of them is damaged or does not belong to the others.
    OSError
        If the download fails.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE, 1998. G. Andrew, R. Arora, J. Bilmes and K. Livescu, "Deep
    canonical correlation analysis", ICML 2013.

    Examples
    --------
    >>> from fastcca.datasets import load_mnist_halves
    >>> mnist = load_mnist_halves()  # doctest: +SKIP
    >>> mnist.left_train.shape  # doctest: +SKIP
    (60000, 392)
    """
    train, test = read_mnist(data_home, download_if_missing)
    halves = {}
    for split, (images, labels) in (("train", train), ("test", test)):
        for side, columns in (("left", slice(0, 14)), ("right", slice(14, 28))):
            half = images[:, :, columns].reshape(len(images), -1)
            halves[f"{side}_{split}"] = np.divide(half, 255, dtype=np.float32)
        halves[f"target_{split}"] = labels.astype(np.int64)
    return Bunch(**halves)


def read_mnist(data_home: str | os.PathLike[str] | None, download_if_missing: bool) -> tuple[Split, Split]:
    """Training and test images of the data home, or of OpenML."""
    folder = get_data_home(data_home) / "mnist"
    if folder.is_dir():
        return read_split(folder, "train"), read_split(folder, "t10k")
    if download_if_missing:
        return _download(folder)
    raise FileNotFoundError(f"MNIST: there is no folder {folder} ({HOME_HINT}){hint('mnist')}")


def read_split(folder: Path, prefix: str, what: str = "MNIST") -> Split:
    """Images (n, 28, 28) and labels (n,), bytes, of a data set in the files of MNIST."""
    images_path = _find(folder, f"{prefix}-images-idx3-ubyte", what)
    labels_path = _find(folder, f"{prefix}-labels-idx1-ubyte", what)
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(
            f"{images_path}: expected images of 28×28 bytes, got {images.dtype} of shape {images.shape}"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{labels_path}: expected {len(images)} bytes, one for each image in {images_path.name}, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    return images, labels


def _find(folder: Path, name: str, what: str) -> Path:
    compressed = folder / f"{name}.gz"
    return compressed if compressed.is_file() else require(folder / name, what)


def _download(folder: Path) -> tuple[Split, Split]:
    try:
        images, labels = fetch_openml(
            "mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff"
        )
    except OSError as error:
        raise OSError(
            f"MNIST: there is no folder {folder}, and OpenML could not be reached ({error}); "
            f"put the four IDX files there or set FASTCCA_DATA{hint('mnist')}"
        ) from error
    images, labels = images.reshape(-1, 28, 28), labels.astype(np.int64)
    # OpenML keeps the original order: the training images first.
    return (images[:_N_TRAIN], labels[:_N_TRAIN]), (images[_N_TRAIN:], labels[_N_TRAIN:])
