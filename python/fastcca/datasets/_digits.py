"""The 8×8 digits that come with scikit-learn: cut in half, and with attributes and a tree."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from fastcca.datasets._docs import documented
from fastcca.taxonomy import Taxonomy

__all__ = ["load_digit_attributes", "load_digit_halves"]

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# What the strokes of a digit are, as most people write it.
_ATTRIBUTES = {
    "loop": ("zero", "six", "eight", "nine"),
    "loop above": ("eight", "nine"),
    "loop below": ("six", "eight"),
    "opens to the left": ("two", "three", "five", "seven", "nine"),
    "opens to the right": ("two", "five", "six"),
    "opens upwards": ("four",),
    "vertical stroke": ("one", "four", "nine"),
    "diagonal stroke": ("two", "seven"),
    "horizontal stroke": ("two", "four", "five", "seven"),
    "sharp corner": ("two", "four", "five", "seven"),
    "curves only": ("zero", "three", "six", "eight"),
}
_TREE = {
    "digit": {
        "closed": ["zero", "six", "eight", "nine"],
        "open": {"curved": ["two", "three", "five"], "straight": ["one", "four", "seven"]},
    }
}


@documented
def load_digit_halves() -> Bunch:
    """The left and the right halves of 1797 handwritten digits of 8×8 pixels; nothing is downloaded.

    Returns
    -------
    sklearn.utils.Bunch
        ``left`` and ``right``: (1797, 32) float64 in [0, 1], columns 0–3 and 4–7 of each image, row by
        row; ``target``: (1797,) the digit; ``left_names`` and ``right_names``: the names of the pixels,
        ``pixel_<row>_<column>``. Some border pixels are constant.

    {alpaydin_kaynak}

    Examples
    --------
    >>> from fastcca.datasets import load_digit_halves
    >>> digits = load_digit_halves()
    >>> digits.left.shape, digits.right.shape
    ((1797, 32), (1797, 32))
    """
    digits = load_digits()
    images = digits.images / 16.0
    names = np.array([[f"pixel_{row}_{column}" for column in range(8)] for row in range(8)], dtype=object)
    return Bunch(
        left=images[:, :, :4].reshape(-1, 32),
        right=images[:, :, 4:].reshape(-1, 32),
        target=digits.target,
        left_names=names[:, :4].ravel(),
        right_names=names[:, 4:].ravel(),
    )


@documented
def load_digit_attributes() -> Bunch:
    """1797 handwritten digits of 8×8 pixels, with attributes and a tree of the classes.

    Nothing is downloaded: the images are scikit-learn's. Which strokes make a digit, and the tree, are a
    description made for examples of label embeddings. The keys are those of :func:`load_awa`.

    Returns
    -------
    sklearn.utils.Bunch
        ``X``: (1797, 64) float64 in [0, 1], the images row by row; ``y``: (1797,) int64, the digit;
        ``class_names``: (10,) text, "zero" to "nine", so that ``class_names[y]`` are labels; ``attributes``:
        (10, 11) float64, 1 where the digit has the attribute, else 0; ``attributes_binary``: the same as
        bool; ``attribute_names``: (11,) text; ``taxonomy``: the :class:`~fastcca.taxonomy.Taxonomy`.

    {alpaydin_kaynak}

    Examples
    --------
    >>> from fastcca.datasets import load_digit_attributes
    >>> digits = load_digit_attributes()
    >>> digits.taxonomy.ancestors("seven")
    ('straight', 'open')
    >>> [str(name) for name in digits.attribute_names[digits.attributes_binary[8]]]
    ['loop', 'loop above', 'loop below', 'curves only']
    """
    digits = load_digits()
    has = np.array([[name in having for having in _ATTRIBUTES.values()] for name in _NAMES])
    return Bunch(
        X=digits.data / 16.0,
        y=digits.target.astype(np.int64),
        class_names=np.array(_NAMES, dtype=object),
        attributes=has.astype(np.float64),
        attributes_binary=has,
        attribute_names=np.array(list(_ATTRIBUTES), dtype=object),
        taxonomy=Taxonomy.from_dict(_TREE),
    )
