"""Fashion-MNIST with a taxonomy and attributes of its classes."""

import csv
import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from fastcca.datasets._docs import documented
from fastcca.datasets._home import get_data_home
from fastcca.datasets._mnist import read_split
from fastcca.taxonomy import Taxonomy

__all__ = ["load_fashion"]

_WHAT = "Fashion-MNIST"
# What is known of the classes, where the folder has no files of it.
PARENTS = {
    "item": None,
    "garment": "item",
    "footwear": "item",
    "bag": "item",
    "upper body": "garment",
    "dress": "garment",
    "trouser": "garment",
    "light top": "upper body",
    "warm top": "upper body",
    "t-shirt": "light top",
    "shirt": "light top",
    "pullover": "warm top",
    "coat": "warm top",
    "closed shoe": "footwear",
    "sandal": "footwear",
    "sneaker": "closed shoe",
    "ankle boot": "closed shoe",
}
ATTRIBUTES = {
    "on torso": "t-shirt, pullover, dress, coat, shirt",
    "on legs": "trouser, dress",
    "on feet": "sandal, sneaker, ankle boot",
    "carried": "bag",
    "sleeves": "t-shirt, pullover, coat, shirt",
    "long sleeves": "pullover, coat, shirt",
    "buttons or zip": "trouser, coat, shirt, bag",
    "collar": "coat, shirt",
    "knitted": "t-shirt, pullover",
    "worn over": "pullover, coat",
    "split legs": "trouser",
    "skirt": "dress",
    "full length": "trouser, dress, coat",
    "sole": "sandal, sneaker, ankle boot",
    "open": "sandal",
    "laces": "sneaker",
    "covers ankle": "ankle boot",
    "handle": "bag",
    "paired": "sandal, sneaker, ankle boot",
    "heel": "sandal, ankle boot",
}
# In the order of the data set's integers.
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@documented
def load_fashion(data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """70000 images of ten kinds of clothing, with a taxonomy and attributes: Fashion-MNIST.

    Read from the folder ``fashion`` of the data home, see :func:`get_data_home`: the four IDX files (gzipped
    or not) as their authors distribute them, which :func:`fetch_fashion_mnist` downloads. A taxonomy and 20
    attributes come with the package; others in the folder take their places: ``taxonomy.tsv`` (a node and its
    parent a line), ``attributes.csv`` (a header of ``class`` and the attributes' names, then a class and its
    values a line).

    {data_home}

    Returns
    -------
    sklearn.utils.Bunch
        ``images_train``: (60000, 28, 28) uint8; ``target_train``: (60000,) the name of the class;
        ``images_test`` and ``target_test``: the same of the 10000 test images; ``target_names``: the ten
        names in the data set's order; ``taxonomy``: a :class:`fastcca.taxonomy.Taxonomy` above them;
        ``attributes``: a dict from class to a vector of float64; ``attribute_names``: their names.

    {raises_for_files}

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", 2017.

    Examples
    --------
    >>> from fastcca.datasets import load_fashion
    >>> fashion = load_fashion()  # doctest: +SKIP
    >>> fashion.taxonomy.ancestors("coat")  # doctest: +SKIP
    ('warm top', 'upper body', 'garment')
    """
    folder = get_data_home(data_home) / "fashion"
    own = folder / "taxonomy.tsv"
    taxonomy = Taxonomy.from_tsv(own) if own.is_file() else Taxonomy(PARENTS)
    missing = [name for name in CLASSES if name not in taxonomy]
    if missing:
        raise ValueError(f"{folder / 'taxonomy.tsv'}: there is no node {missing[0]!r}")
    own = folder / "attributes.csv"
    attributes, names = _read_attributes(own) if own.is_file() else _attributes()
    found = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = read_split(folder, prefix, _WHAT)
        if labels.size and labels.max() >= len(CLASSES):
            raise ValueError(f"{folder}: the {split} labels go up to {labels.max()}, expected 0 to 9")
        found[f"images_{split}"] = images
        found[f"target_{split}"] = np.array(CLASSES)[labels]
    return Bunch(
        **found,
        target_names=list(CLASSES),
        taxonomy=taxonomy,
        attributes=attributes,
        attribute_names=names,
    )


def _attributes() -> tuple[dict[str, np.ndarray], list[str]]:
    table = {
        name: np.array([float(name in some.split(", ")) for some in ATTRIBUTES.values()]) for name in CLASSES
    }
    return table, list(ATTRIBUTES)


def _read_attributes(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = [line for line in csv.reader(file) if line]
    found = {}
    for line in lines:
        if len(line) != len(header):
            raise ValueError(f"{path}: {line[0]!r} has {len(line) - 1} values, expected {len(header) - 1}")
        try:
            found[line[0]] = np.array([float(value) for value in line[1:]])
        except ValueError as error:
            raise ValueError(f"{path}: the attributes of {line[0]!r} are not numbers ({error})") from None
    missing = [name for name in CLASSES if name not in found]
    if missing:
        raise ValueError(f"{path}: there is no line for {missing[0]!r}")
    return {name: found[name] for name in CLASSES}, header[1:]
