"""The one error class of our own: everything else is a ``ValueError`` or a ``TypeError``."""

import numpy as np

__all__ = ["NumericalError"]


class NumericalError(np.linalg.LinAlgError, ValueError):
    """The input is numerically degenerate or ill-conditioned: not positive definite, no
    convergence, rank zero.

    The message names the view, the estimated condition number where there is one, and what to try.
    Both a :class:`numpy.linalg.LinAlgError` and a ``ValueError``, also where the one is not yet the other.
    """
