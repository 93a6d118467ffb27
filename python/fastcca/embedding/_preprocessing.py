"""Inputs as every label embedding takes them: centred, scaled, rows drawn towards one length."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcca._models.files import SavedModel, Schema
from fastcca.errors import NumericalError

__all__ = ["InputScaling"]


class InputScaling(SavedModel):
    r"""Centred columns divided by a power of their deviation, then rows drawn towards length one.

    With :math:`z_j = (x_j - m_j) / (s_j^{power} g)`, g such that the mean of ‖z‖² is 1, the rows become

    .. math:: f = z \sqrt{2 / (1 + \lVert z \rVert^2)} - \text{mean}.

    Long rows are shortened to at most √2, which keeps outliers from leading a fit as rows of unit length do;
    unlike those the map is one to one, so that data of one or two columns keep what tells their classes
    apart. Power 1/2 is right for principal components, whose small variances are mostly noise, and a
    compromise between columns as they come (0) and columns of equal variance (1). A common factor of all
    columns cancels.

    Parameters
    ----------
    power : float
        0 leaves the columns as they are, 1 gives them equal variance.
    normalize : bool
        Whether to shorten the rows; else f = z.
    name : str
        What errors call the data.
    """

    mean_: NDArray[np.float64]
    factor_: NDArray[np.float64]
    center_: NDArray[np.float64]

    _schema = Schema("InputScaling", fields="mean_ factor_ center_")

    def __init__(self, power: float = 0.5, normalize: bool = True, name: str = "X") -> None:
        self.name = name
        self.power = power
        self.normalize = normalize

    def fit_transform(self, X: NDArray[Any], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take means and deviations of finite rows, weights counting as repetitions; the rows, in float64."""
        share = weight / weight.sum()
        x = X.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean_ = share @ x
            x -= self.mean_
        unit = np.abs(x).max(axis=0)
        if not np.isfinite(unit).all():
            raise NumericalError(f"the differences of the rows of {self.name} overflow: scale it down")
        # what rounding leaves of a constant column is none
        varies = unit > 16 * np.finfo(np.float64).eps * np.abs(self.mean_)
        if not varies.any():
            raise NumericalError(f"every column of {self.name} is constant: there is nothing to learn from")
        unit[~varies] = 1.0
        x /= unit  # squares then neither overflow nor vanish
        deviation = np.sqrt(share @ x**2)
        deviation[~varies] = 1.0
        # z = x / s^power with x in units of the column's largest entry
        largest_unit = unit[varies].max()
        scale = (unit / largest_unit) ** (1.0 - self.power) / deviation**self.power
        scale[~varies] = 0.0
        scale /= np.sqrt((share @ x**2) @ scale**2)
        x *= scale
        with np.errstate(over="ignore"):
            self.factor_ = scale / unit
        if not np.isfinite(self.factor_).all():
            column = int(np.argmin(np.isfinite(self.factor_)))
            raise NumericalError(
                f"column {column} of {self.name} is too small for float arithmetic, within "
                f"{unit[column]:.3g} of its mean: scale it up"
            )
        self.center_ = np.zeros(x.shape[1])
        if self.normalize:
            x *= np.sqrt(2.0 / (1.0 + np.einsum("ij,ij->i", x, x)))[:, np.newaxis]
            self.center_ = share @ x
            x -= self.center_
        return x

    def transform(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Finite rows, as float64: a square of float32 overflows at 1e20, a common fill value."""
        with np.errstate(over="ignore", invalid="ignore"):
            z: NDArray[np.float64] = X - self.mean_
            z *= self.factor_
            if self.normalize:
                # f = (z / u) √(2 / (u⁻² + ‖z / u‖²)), u = 1 but for rows whose squares would overflow
                largest = np.abs(z).max(axis=1, keepdims=True, initial=0.0)
                unit = np.where(largest > 1e100, largest, 1.0)
                if (unit != 1.0).any():
                    z /= unit
                squares = unit**-2.0 + np.einsum("ij,ij->i", z, z)[:, np.newaxis]
                z *= np.sqrt(2.0 / squares)
                z -= self.center_
        if not np.isfinite(z).all():
            raise NumericalError(f"the scaled rows of {self.name} overflow: scale the data down")
        return z
