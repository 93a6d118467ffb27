"""What asv times: the calls whose speed the project promises, at sizes of a second at most.

Ratios to other libraries are bench.linear's and its siblings' business; here only versions are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Linear:
    """Fits of linear CCA, and the parts of one."""

    params = ((200, 1000), ("float64", "float32"))
    param_names = ("columns", "dtype")

    def setup(self, columns: int, dtype: str) -> None:
        from fastcca import CCA, Moments

        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((20000, columns)).astype(dtype)
        self.y = (0.5 * self.X + rng.standard_normal((20000, columns))).astype(dtype)
        self.moments = Moments().update(self.X, self.y)
        self.model = CCA(10)
        self.make = Moments

    def time_fit(self, *_: Any) -> None:
        self.model.fit(self.X, self.y)

    def time_moments(self, *_: Any) -> None:
        self.make().update(self.X, self.y)

    def time_solve(self, *_: Any) -> None:
        self.model.fit_moments(self.moments)

    def peakmem_fit(self, *_: Any) -> None:
        self.model.fit(self.X, self.y)


class Kernel:
    """Kernel CCA at a rank."""

    def setup(self) -> None:
        from fastcca import KernelCCA

        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((4000, 50))
        self.y = np.tanh(self.X[:, :30]) + rng.standard_normal((4000, 30))
        self.model = KernelCCA(10, reg=1e-3, rank=500, random_state=0)

    def time_fit(self) -> None:
        self.model.fit(self.X, self.y)


class Search:
    """The ten best of a hundred thousand."""

    params = (1, 100)
    param_names = ("queries",)

    def setup(self, queries: int) -> None:
        from fastcca.functional import top_k

        rng = np.random.default_rng(0)
        self.gallery = rng.standard_normal((100_000, 64)).astype(np.float32)
        self.queries = self.gallery[:queries] + np.float32(0.1)
        self.top_k = top_k

    def time_top_k(self, *_: Any) -> None:
        self.top_k(self.queries, self.gallery, 10)


class Import:
    """``import fastcca`` in a fresh interpreter."""

    def timeraw_import(self) -> str:
        return "import fastcca"

    def timeraw_first_estimator(self) -> str:
        return "from fastcca import CCA"
