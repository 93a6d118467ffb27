"""Are the correlations of a CCA real, and how well are they known?

Wilks's test (Gaussian data, no ridge), a permutation test (any data, any ridge, kernels) and the bootstrap.
"""

from fastcca.inference._bootstrap import BootstrapResult, bootstrap
from fastcca.inference._permutation import PermutationTest, permutation_test
from fastcca.inference._wilks import WilksTest, wilks_test

__all__ = [
    "BootstrapResult",
    "PermutationTest",
    "WilksTest",
    "bootstrap",
    "permutation_test",
    "wilks_test",
]
