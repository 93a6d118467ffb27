"""Rotated digits, each with a noisy image of its class."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import rotate
from sklearn.utils import Bunch, check_random_state

from fastcca._arguments.parameters import integer
from fastcca.datasets._mnist import Split, read_mnist

__all__ = ["make_noisy_mnist"]

_MAX_ANGLE = 45.0  # degrees


def make_noisy_mnist(
    n_train: int = 50000,
    n_validation: int = 10000,
    n_test: int = 10000,
    *,
    data_home: str | os.PathLike[str] | None = None,
    random_state: Any = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Noisy MNIST: two views of handwritten digits that have only the class in common.

    The first view is an image rotated by an angle uniform in ±45 degrees; the second another image of the
    same digit, drawn at random, with noise uniform in [0, 1] added to each pixel and cut off at 1. What is
    correlated is the class, so that projections of the first view should separate the classes, without
    having seen a label.

    Images are read as :func:`load_mnist_halves` reads them. The last ``n_validation`` training images
    are for validation, the others for training, and test pairs are of test images alone. The first view
    takes the images in turn, with new angles and new partners each time round: ``n_train=450_000`` uses
    each of 50,000 nine times, as Michaeli et al. did.

    Parameters
    ----------
    n_train, n_validation, n_test : int
        Numbers of pairs. 0: the split is left out.
    data_home : path or None
        The data home.
    random_state : int, numpy.random.RandomState or None
        Of the angles, the partners and the noise.
    download_if_missing : bool, default=True
        ``False``: a missing folder is a ``FileNotFoundError``.

    Returns
    -------
    sklearn.utils.Bunch
        For each split, train, validation and test: ``rotated_<split>`` and ``noisy_<split>``: (n, 784)
        float32 in [0, 1], row by row; ``target_<split>``: (n,) the digit.

    Raises
    ------
    FileNotFoundError, OSError
        As of :func:`load_mnist_halves`.
    ValueError
        For negative numbers, damaged files, or where validation leaves no image for training.

    References
    ----------
    W. Wang, R. Arora, K. Livescu and J. Bilmes, "On deep multi-view representation learning", ICML 2015.
    T. Michaeli, W. Wang and K. Livescu, "Nonparametric canonical correlation analysis", ICML 2016.

    Examples
    --------
    >>> from fastcca.datasets import make_noisy_mnist
    >>> digits = make_noisy_mnist(random_state=0)  # doctest: +SKIP
    >>> digits.rotated_train.shape, digits.noisy_test.shape  # doctest: +SKIP
    ((50000, 784), (10000, 784))
    """
    for name, n in (("n_train", n_train), ("n_validation", n_validation), ("n_test", n_test)):
        integer(0)(name, n)
    rng = check_random_state(random_state)
    (images, labels), test = read_mnist(data_home, download_if_missing)
    first = len(images) - n_validation
    if first < (n_train > 0):
        raise ValueError(f"n_validation={n_validation} leaves no image of {len(images)} for training")
    splits = {
        "train": (n_train, (images[:first], labels[:first])),
        "validation": (n_validation, (images[first:], labels[first:])),
        "test": (n_test, test),
    }
    bunch = Bunch()
    for split, (n, source) in splits.items():
        if n:
            bunch[f"rotated_{split}"], bunch[f"noisy_{split}"], target = _pairs(source, n, rng)
            bunch[f"target_{split}"] = target
    return bunch


def _pairs(
    source: Split, n: int, rng: np.random.RandomState
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    images, labels = source
    rows = np.arange(n) % len(images)
    target = labels[rows].astype(np.int64)
    partners = np.empty(n, dtype=np.intp)
    for digit in np.unique(target):
        places = np.flatnonzero(target == digit)
        partners[places] = rng.choice(np.flatnonzero(labels == digit), len(places))

    rotated = np.empty((n, images[0].size), dtype=np.float32)
    noisy = np.empty_like(rotated)
    for row, angle in enumerate(rng.uniform(-_MAX_ANGLE, _MAX_ANGLE, n)):
        pixels = images[rows[row]] / np.float32(255)
        rotated[row] = rotate(pixels, angle, reshape=False, order=1, prefilter=False).ravel()
        noisy[row] = images[partners[row]].ravel() / np.float32(255)
        noisy[row] += rng.random_sample(noisy.shape[1])
    return rotated, np.minimum(noisy, 1, out=noisy), target
