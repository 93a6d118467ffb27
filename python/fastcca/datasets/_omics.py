"""Views of few samples and many columns, in the shape of molecular data."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from fastcca._arguments.parameters import POSITIVE_INTEGER, integer

__all__ = ["make_omics"]


def make_omics(
    n_samples: int = 100,
    n_features: tuple[int, int] = (1000, 60),
    *,
    n_factors: int = 3,
    n_active: tuple[int, int] = (20, 5),
    n_modules: int = 10,
    strength: float = 0.8,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Draw two views as of genes and metabolites: far more columns than samples, few of them related.

    Each of ``n_factors`` latent variables drives ``n_active`` columns of both views,

    .. math:: x_j = s z_f + \sqrt{1 - s^2}\, \varepsilon_j ,

    with s the ``strength``; the other columns of X are divided into ``n_modules`` modules, whose columns
    correlate with each other in the same way through a variable that the second view does not have
    (co-expression), and the other columns of y are noise. All columns have variance 1 in the population.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows.
    n_features : (int, int), default=(1000, 60)
        Number of columns of the two views.
    n_factors : int, default=3
        Number of latent variables that the views share.
    n_active : (int, int), default=(20, 5)
        Columns of each view for each of them.
    n_modules : int, default=10
        Modules of the other columns of X; 0: noise.
    strength : float, default=0.8
        Correlation of an active column with its latent variable, in [0, 1].
    random_state : int, numpy.random.RandomState or None
        Seed or generator, as in scikit-learn.

    Returns
    -------
    sklearn.utils.Bunch
        ``X``: (n_samples, p) and ``y``: (n_samples, q), the two views; ``x_names`` and ``y_names``: their
        columns; ``factors``: (n_samples, n_factors), the latent variables; ``x_factor``: (p,) and
        ``y_factor``: (q,) the factor of each column, -1 of the others.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the active columns are more than there are.

    Examples
    --------
    >>> from fastcca.datasets import make_omics
    >>> omics = make_omics(random_state=0)
    >>> omics.X.shape, omics.y.shape, int((omics.x_factor >= 0).sum())
    ((100, 1000), (100, 60), 60)
    """
    n_samples, n_factors = POSITIVE_INTEGER("n_samples", n_samples), POSITIVE_INTEGER("n_factors", n_factors)
    n_modules = integer(0)("n_modules", n_modules)
    p, q = (POSITIVE_INTEGER(f"n_features of {view}", n) for view, n in zip("Xy", n_features, strict=True))
    of_x, of_y = (POSITIVE_INTEGER(f"n_active of {view}", n) for view, n in zip("Xy", n_active, strict=True))
    for view, columns, active in (("X", p, of_x), ("y", q, of_y)):
        if n_factors * active > columns:
            raise ValueError(
                f"n_factors={n_factors} times n_active={active} must be at most the {columns} columns "
                f"of {view}"
            )
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in [0, 1], got {strength!r}")
    rng = check_random_state(random_state)
    factors = rng.standard_normal((n_samples, n_factors))
    hidden = rng.standard_normal((n_samples, n_modules))
    x_factor, y_factor = _places(p, n_factors, of_x, rng), _places(q, n_factors, of_y, rng)
    X, y = rng.standard_normal((n_samples, p)), rng.standard_normal((n_samples, q))
    for view, of_column in ((X, x_factor), (y, y_factor)):
        driven = of_column >= 0
        view[:, driven] = _mixed(factors[:, of_column[driven]], view[:, driven], strength)
    if n_modules:
        others = np.flatnonzero(x_factor < 0)
        X[:, others] = _mixed(hidden[:, np.arange(len(others)) % n_modules], X[:, others], strength)
    return Bunch(
        X=X,
        y=y,
        x_names=np.array([f"gene {j + 1}" for j in range(p)], dtype=object),
        y_names=np.array([f"metabolite {j + 1}" for j in range(q)], dtype=object),
        factors=factors,
        x_factor=x_factor,
        y_factor=y_factor,
    )


def _places(columns: int, n_factors: int, active: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """The factor of each column, -1 for none; the active ones lie anywhere."""
    factor = np.full(columns, -1, dtype=np.int64)
    factor[rng.permutation(columns)[: n_factors * active]] = np.repeat(np.arange(n_factors), active)
    return factor


def _mixed(signal: NDArray[Any], noise: NDArray[Any], strength: float) -> NDArray[Any]:
    mixed: NDArray[Any] = strength * signal + np.sqrt(1 - strength**2) * noise
    return mixed
