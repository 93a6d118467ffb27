"""Correlated representations and joint embeddings at the speed of matrix multiplication."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    from fastcca._config import build_info, get_num_threads, set_num_threads
    from fastcca.errors import NumericalError
    from fastcca.functional.moments import Moments
except KeyboardInterrupt:
    # The command line (python -m fastcca has no name yet) ends in one line, also before it has begun.
    if os.path.basename(sys.argv[0]) in ("fastcca", "fastcca.exe", "-m"):
        sys.stderr.write("fastcca: error: interrupted\n")
        sys.stderr.flush()
        os._exit(130)
    raise

if TYPE_CHECKING:
    from fastcca import (
        datasets,
        deep,
        distributed,
        embedding,
        errors,
        functional,
        fusion,
        inference,
        metrics,
        plotting,
        reporting,
        retrieval,
        similarity,
        singlecell,
        streaming,
        synchrony,
        taxonomy,
    )
    from fastcca._arguments.alignment import align
    from fastcca._load import load
    from fastcca.cca.kernel import KernelCCA
    from fastcca.cca.kernel_multiview import KernelMCCA
    from fastcca.cca.linear import CCA
    from fastcca.cca.model_selection import CCACV, KernelCCACV
    from fastcca.cca.multiview import GCCA, MCCA, MCCACV
    from fastcca.cca.pipeline import TwoViewPipeline
    from fastcca.cca.pls import PLSSVD, PLSCanonical, PLSRegression, PLSRegressionCV
    from fastcca.cca.probabilistic import ProbabilisticCCA
    from fastcca.cca.sparse import SparseCCA, SparseCCACV
    from fastcca.reporting import Report, report

    __version__: str

__all__ = [
    "CCA",
    "CCACV",
    "GCCA",
    "MCCA",
    "MCCACV",
    "PLSSVD",
    "KernelCCA",
    "KernelCCACV",
    "KernelMCCA",
    "Moments",
    "NumericalError",
    "PLSCanonical",
    "PLSRegression",
    "PLSRegressionCV",
    "ProbabilisticCCA",
    "Report",
    "SparseCCA",
    "SparseCCACV",
    "TwoViewPipeline",
    "align",
    "build_info",
    "datasets",
    "deep",
    "distributed",
    "embedding",
    "errors",
    "functional",
    "fusion",
    "get_num_threads",
    "inference",
    "load",
    "metrics",
    "plotting",
    "report",
    "reporting",
    "retrieval",
    "set_num_threads",
    "similarity",
    "singlecell",
    "streaming",
    "synchrony",
    "taxonomy",
]

# What needs scikit-learn is imported at its first use: `import fastcca` and the command line start at once.
_LAZY = {
    "CCA": "fastcca.cca",
    "CCACV": "fastcca.cca",
    "GCCA": "fastcca.cca",
    "KernelCCA": "fastcca.cca",
    "KernelCCACV": "fastcca.cca",
    "KernelMCCA": "fastcca.cca",
    "MCCA": "fastcca.cca",
    "MCCACV": "fastcca.cca",
    "PLSCanonical": "fastcca.cca",
    "PLSRegression": "fastcca.cca",
    "PLSRegressionCV": "fastcca.cca",
    "PLSSVD": "fastcca.cca",
    "ProbabilisticCCA": "fastcca.cca",
    "Report": "fastcca.reporting",
    "SparseCCA": "fastcca.cca",
    "SparseCCACV": "fastcca.cca",
    "TwoViewPipeline": "fastcca.cca",
    "align": "fastcca._arguments.alignment",
    "load": "fastcca._load",
    "report": "fastcca.reporting",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    elif name in __all__:  # a module
        value = import_module(f"fastcca.{name}")
    elif name == "__version__":
        value = build_info()["version"]
    else:
        raise AttributeError(f"module 'fastcca' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
