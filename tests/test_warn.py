"""Warnings name the line of the user's own code."""

import inspect

import numpy as np
import pytest

from fastcca import CCA, CCACV, KernelCCA, KernelCCACV

RNG = np.random.default_rng(0)
B = RNG.normal(size=(80, 1))
X = np.hstack([B, 2 * B, -B])
Y = np.hstack([B + 0.1 * RNG.normal(size=(80, 1)), RNG.normal(size=(80, 2))])


@pytest.mark.parametrize(
    "fit",
    [
        lambda: CCA(2).fit(X, Y),
        lambda: CCA(2).fit_transform(X, Y),
        lambda: CCA(2).partial_fit(X, Y),
        lambda: CCACV(2, regs=[0.0]).fit(X, Y),
        lambda: KernelCCA(2, kernel="linear").fit(X, Y),
        lambda: KernelCCACV(2, kernel="linear", regs=[0.1]).fit(X, Y),
    ],
)
def test_the_line_is_the_users(fit):
    with pytest.warns(UserWarning, match="n_components=2|ill-conditioned") as caught:
        fit()
    for warning in caught:
        assert warning.filename == __file__
        assert warning.lineno == inspect.getsourcelines(fit)[1]
