"""Are the correlations of a CCA real, and how well are they known?

Wilks's test (Gaussian data, no ridge), a permutation test (any data, any ridge, kernels), the bootstrap, the
stability of components in halves of the data, and how many rows it takes (power).
"""

from fastcca.inference._bootstrap import BootstrapResult, bootstrap
from fastcca.inference._permutation import PermutationTest, permutation_test
from fastcca.inference._power import PowerAnalysis, power, sample_size
from fastcca.inference._stability import Stability, stability
from fastcca.inference._wilks import WilksTest, wilks_test

__all__ = [
    "BootstrapResult",
    "PermutationTest",
    "PowerAnalysis",
    "Stability",
    "WilksTest",
    "bootstrap",
    "permutation_test",
    "power",
    "sample_size",
    "stability",
    "wilks_test",
]
