"""Canonical correlation analysis: linear, kernel, and with parameters chosen by cross-validation."""

from fastcca.cca.kernel import KernelCCA
from fastcca.cca.linear import CCA
from fastcca.cca.model_selection import CCACV, KernelCCACV

__all__ = ["CCA", "CCACV", "KernelCCA", "KernelCCACV"]
