"""Fixtures that every room shares."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20130616)


@pytest.fixture(scope="session")
def data_home() -> Path:
    """The folder with MNIST and the other real data sets; tests of absent data skip."""
    home = os.environ.get("FASTCCA_DATA")
    if not home:
        pytest.skip("FASTCCA_DATA is not set: it names the folder with the real data sets")
    if not Path(home).is_dir():
        pytest.skip(f"FASTCCA_DATA={home} is not a folder")
    return Path(home)


@pytest.fixture(params=["core", "other devices"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hinge loss by the compiled core, or by the formulas that other devices run, on the CPU."""
    from fastcca.deep.losses import hinge

    if request.param == "other devices":

        def elsewhere(*args: object) -> None:
            raise AssertionError("the core is not to be asked")

        monkeypatch.setattr(hinge, "batch_hinge_loss", elsewhere)
        monkeypatch.setattr(hinge, "_runs_in_core", lambda tensor: False)
    return str(request.param)
