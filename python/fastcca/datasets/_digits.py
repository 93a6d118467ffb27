"""The 8×8 digits that come with scikit-learn, cut in half."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

__all__ = ["load_digit_halves"]


def load_digit_halves() -> Bunch:
    """The left and the right halves of 1797 handwritten digits of 8×8 pixels; nothing is downloaded.

    Returns
    -------
    sklearn.utils.Bunch
        ``left`` and ``right``: (1797, 32) float64 in [0, 1], columns 0–3 and 4–7 of each image, row by
        row; ``target``: (1797,) the digit; ``left_names`` and ``right_names``: the names of the pixels,
        ``pixel_<row>_<column>``. Some border pixels are constant.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
    Repository, 1998.

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
