"""The Wikipedia documents of Rasiwasia et al.: images and their text."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from fastcca.datasets._docs import documented
from fastcca.datasets._formats import read_mat
from fastcca.datasets._home import get_data_home, require

__all__ = ["load_wikipedia"]

_WHAT = "Wikipedia"


@documented
def load_wikipedia(data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """2866 Wikipedia articles of ten categories, each an image and a text: cross-modal retrieval.

    Read from the folder ``wikipedia`` of the data home, see :func:`get_data_home`: the files
    ``raw_features.mat``, ``trainset_txt_img_cat.list``, ``testset_txt_img_cat.list`` and
    ``categories.list`` as the authors distribute them. Nothing is
    downloaded; :func:`fetch_wikipedia` does that.

    {data_home}

    Returns
    -------
    sklearn.utils.Bunch
        ``image_train``: (2173, 128) float64, a histogram of SIFT words; ``text_train``: (2173, 10)
        float64, the weights of ten LDA topics; ``target_train``: (2173,) the category, from 0;
        ``image_test``, ``text_test`` and ``target_test``: the same of the 693 test documents;
        ``target_names``: the ten names. The rows of both views add up to 1.

    {raises_for_files}

    References
    ----------
    N. Rasiwasia, J. Costa Pereira, E. Coviello, G. Doyle, G. Lanckriet, R. Levy and N. Vasconcelos,
    "A new approach to cross-modal multimedia retrieval", ACM Multimedia 2010.

    Examples
    --------
    >>> from fastcca.datasets import load_wikipedia
    >>> load_wikipedia().image_train.shape  # doctest: +SKIP
    (2173, 128)
    """
    folder = get_data_home(data_home) / "wikipedia"
    path = folder / "raw_features.mat"
    features = read_mat(path, _WHAT, "I_tr", "T_tr", "I_te", "T_te")
    names = _lines(folder / "categories.list")
    documents: dict[str, Any] = {"target_names": np.array(names, dtype=object)}
    for split, suffix in (("train", "tr"), ("test", "te")):
        target = _categories(folder / f"{split}set_txt_img_cat.list", len(names))
        documents[f"target_{split}"] = target
        for view, name, width in (("image", f"I_{suffix}", 128), ("text", f"T_{suffix}", 10)):
            values = features.get(name)
            if values is None or values.shape != (len(target), width):
                raise ValueError(
                    f"{path}: expected {name} of shape {(len(target), width)}, "
                    f"got {'nothing' if values is None else values.shape}"
                )
            documents[f"{view}_{split}"] = np.ascontiguousarray(values, dtype=np.float64)
    return Bunch(**documents)


def _lines(path: Path) -> list[str]:
    return require(path, _WHAT).read_text(encoding="utf-8").splitlines()


def _categories(path: Path, n_categories: int) -> NDArray[np.int64]:
    """The third column of a list (text, image, category from 1), counted from 0."""
    categories = []
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if len(fields) != 3 or not fields[2].isdecimal() or not 1 <= int(fields[2]) <= n_categories:
            raise ValueError(
                f"{path}: line {number} is {line!r}, "
                f"expected text, image and a category from 1 to {n_categories}"
            )
        categories.append(int(fields[2]) - 1)
    return np.array(categories, dtype=np.int64)
