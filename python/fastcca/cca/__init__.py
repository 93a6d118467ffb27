"""Canonical correlation analysis: linear, kernel, of many views, with cross-validated parameters."""

from fastcca._models.shared_part import Denoised, Disagreement
from fastcca.cca.kernel import KernelCCA
from fastcca.cca.kernel_multiview import KernelMCCA
from fastcca.cca.linear import CCA, Translation
from fastcca.cca.model_selection import CCACV, KernelCCACV
from fastcca.cca.multiview import GCCA, MCCA, MCCACV
from fastcca.cca.pipeline import TwoViewPipeline
from fastcca.cca.pls import PLSSVD, PLSCanonical, PLSRegression, PLSRegressionCV
from fastcca.cca.probabilistic import ProbabilisticCCA
from fastcca.cca.sparse import SparseCCA, SparseCCACV, StabilitySelection, stability_selection

__all__ = [
    "CCA",
    "CCACV",
    "GCCA",
    "MCCA",
    "MCCACV",
    "PLSSVD",
    "Denoised",
    "Disagreement",
    "KernelCCA",
    "KernelCCACV",
    "KernelMCCA",
    "PLSCanonical",
    "PLSRegression",
    "PLSRegressionCV",
    "ProbabilisticCCA",
    "SparseCCA",
    "SparseCCACV",
    "StabilitySelection",
    "Translation",
    "TwoViewPipeline",
    "stability_selection",
]
