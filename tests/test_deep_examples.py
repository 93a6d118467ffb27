"""The documentation's loops around CorrelationLoss run and learn."""

import contextlib
import io
import runpy
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not beside the tests"),
]


def printed(name):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and loggers
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return float(text.getvalue().split()[-1])


def test_plain_loop():
    assert 0.6 < printed("deep_torch_loop.py") <= 1


def test_images_from_a_loader():
    assert 0.7 < printed("deep_cca_images.py") <= 1


def test_lightning_module():
    pytest.importorskip("lightning", reason="lightning is not installed")
    assert 6 < printed("deep_lightning.py") <= 10
