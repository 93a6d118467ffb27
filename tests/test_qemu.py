"""The package on a CPU of 2008, which has no AVX: qemu emulates one."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

CODE = """
import sys
import numpy as np
import fastcca
rng = np.random.default_rng(0)
shared = rng.standard_normal((60, 2))
X = shared @ rng.standard_normal((2, 4)) + 0.5 * rng.standard_normal((60, 4))
Y = shared @ rng.standard_normal((2, 3)) + 0.5 * rng.standard_normal((60, 3))
cca = fastcca.CCA(n_components=2, reg=1e-3).fit(X, Y)
print(fastcca.build_info()["isa"])
print(*[value.hex() for value in np.r_[cca.x_weights_.ravel(), cca.canonical_correlations_].tolist()])
"""


def run(command: list[str], **environ: str) -> tuple[str, np.ndarray]:
    # OpenBLAS obeys these two and would take the emulated CPU for another one.
    unset = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "FASTCCA_ISA"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | environ
    command = [*command, sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    isa, values = done.stdout.splitlines()
    return isa, np.array([float.fromhex(value) for value in values.split()])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 (qemu-user) is not installed")
def test_fits_on_nehalem() -> None:
    from fastcca import _core

    if "v2" not in _core.levels_built:
        pytest.skip("the v2 module is not built here")
    isa, emulated = run(["qemu-x86_64", "-cpu", "Nehalem"])
    assert isa == "v2"
    _, here = run([], FASTCCA_ISA="v2")
    # The same instructions, whoever carries them out; only NumPy and SciPy choose others.
    np.testing.assert_allclose(emulated, here, rtol=1e-12, atol=1e-14)
