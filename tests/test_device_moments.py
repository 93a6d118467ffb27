"""Moments of tensors: what a GPU computes, run on the CPU, against NumPy and against the core."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fastcca import CCA, Moments, NumericalError
from fastcca.functional import device_moments
from reference import moments as reference


@pytest.fixture
def views(rng: np.random.Generator) -> list[np.ndarray]:
    X = rng.standard_normal((10_000, 17)) * np.linspace(0.1, 10, 17) + 1e3
    return [X, X[:, :8] + rng.standard_normal((10_000, 8))]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks of what a test can hold: 300 rows or so of 25 columns in float64."""
    monkeypatch.setattr(device_moments, "CHUNK", 60_000)
    monkeypatch.setattr(device_moments, "RUN", 128)


def off(m: Moments, views: list[np.ndarray], weights: Any = None) -> float:
    """The largest error of n, means and scatter, relative to deviations of the columns."""
    n, mean, scatter = reference.moments(views, weights)
    spread = np.sqrt(np.diag(scatter).astype(float))
    errors = [
        abs(m.n / float(n) - 1),
        np.abs((m.mean - mean.astype(float)) / (spread / np.sqrt(float(n)))).max(),
        np.abs((m.scatter - scatter.astype(float)) / np.outer(spread, spread)).max(),
    ]
    return float(max(errors))


def test_the_moments_of_tensors_are_those_of_numpy(views: Any, small_chunks: None) -> None:
    tensors = [torch.from_numpy(view) for view in views]
    found = Moments().update(*tensors, device="cpu")
    assert off(found, views) < 1e-12
    assert (found.n, found.dims) == (10_000, (17, 8))
    assert np.array_equal(found.scatter, found.scatter.T)
    core = Moments().update(*views)
    assert np.array_equal(found.eps, core.eps)
    assert np.array_equal(found.rounding, core.rounding)


def test_they_add_up_with_those_of_the_core(views: Any, small_chunks: None) -> None:
    found = Moments().update(*(v[:3000] for v in views), device="cpu")
    found.update(*(v[3000:9000] for v in views)).update(*(v[9000:] for v in views), device="cpu")
    assert off(found, views) < 1e-12
    fitted = CCA(3).fit_moments(found)
    expected = CCA(3).fit(*views)
    np.testing.assert_allclose(fitted.canonical_correlations_, expected.canonical_correlations_, atol=1e-12)


def test_weights_count_as_repetitions(rng: Any, views: Any, small_chunks: None) -> None:
    weights = rng.integers(0, 4, 10_000).astype(float)
    weights[2000:3000] = 0  # whole chunks
    weights[:500] = 0
    tensors = [torch.from_numpy(view) for view in views]
    found = Moments().update(*tensors, sample_weight=torch.from_numpy(weights), device="cpu")
    assert off(found, views, weights) < 1e-12
    repeated = [np.repeat(view, weights.astype(int), axis=0) for view in views]
    assert off(found, repeated) < 1e-12
    tiny = weights * 1e-200
    assert off(Moments().update(*tensors, sample_weight=tiny, device="cpu"), views, tiny) < 1e-12


def test_float32_is_multiplied_in_float32_and_summed_in_float64(views: Any, small_chunks: None) -> None:
    single = [(view - 1e3).astype(np.float32) for view in views]
    tensors = [torch.from_numpy(view) for view in single]
    found = Moments().update(*tensors, device="cpu")
    assert 1e-12 < off(found, single) < 2e-6
    assert (found.rounding == np.finfo(np.float32).eps).all()
    exact = Moments().update(*tensors, device="cpu", dtype=np.float64)
    assert off(exact, single) < 1e-12
    assert (exact.rounding == np.finfo(np.float64).eps).all()
    weights = np.linspace(0, 3, 10_000)
    assert off(Moments().update(*tensors, sample_weight=weights, device="cpu"), single, weights) < 2e-6


def test_products_in_fewer_bits_are_not_taken(views: Any) -> None:
    single = [(view - 1e3).astype(np.float32) for view in views]
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        found = Moments().update(*single, device="cpu")
    finally:
        torch.set_float32_matmul_precision(before)
    assert off(found, single) < 1e-12
    assert (found.eps == np.finfo(np.float32).eps).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.bool])
def test_other_types_are_converted(dtype: torch.dtype) -> None:
    x = torch.arange(200.0).reshape(50, 4).remainder(7).to(dtype)
    y = x[:, 0].double()
    found = Moments().update(x, y, device="cpu")
    rows = [x.double().numpy(), y.numpy()[:, None]]
    assert found.dims == (4, 1)
    assert off(found, rows) < 1e-12
    alone = Moments().update(x, device="cpu")
    half = dtype in (torch.float16, torch.bfloat16)
    assert (alone.eps == np.finfo(np.float32 if half else np.float64).eps).all()


def test_arrays_of_the_host_are_carried_over_in_chunks(views: Any, small_chunks: None, tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", views[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = Moments().update(mapped, views[1][:, ::-1], device="cpu")
    assert off(found, [views[0], views[1][:, ::-1]]) < 1e-12
    strided = torch.from_numpy(views[0]).T.contiguous().T
    assert off(Moments().update(strided, device="cpu"), views[:1]) < 1e-12
    leaf = torch.from_numpy(views[0]).requires_grad_()
    assert off(Moments().update(leaf, device="cpu"), views[:1]) < 1e-12


class Elsewhere:
    """An array that is reached by DLPack alone, and says that it lies on a GPU."""

    def __init__(self, a: np.ndarray) -> None:
        self.a, self.shape, self.dtype = a, a.shape, a.dtype

    def __len__(self) -> int:
        return len(self.a)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __dlpack__(self, **_: Any) -> Any:
        return self.a.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


def test_arrays_of_a_gpu_are_taken_by_dlpack(
    views: Any, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PyTorch would believe what it is told about the device; the values are the host's
    monkeypatch.setattr(torch, "from_dlpack", lambda value: torch.from_numpy(value.a))
    weights = np.linspace(1, 2, 10_000)
    found = Moments().update(*map(Elsewhere, views), sample_weight=Elsewhere(weights))
    assert off(found, views, weights) < 1e-12
    assert off(Moments().update(views[0], Elsewhere(views[1])), views) < 1e-12


def test_nan_and_infinity_are_named_with_their_place(views: Any, small_chunks: None) -> None:
    for value, kind in ((np.nan, "NaN"), (-np.inf, "infinity")):
        bad = [view.copy() for view in views]
        bad[1][7777, 5] = value
        found = Moments().update(*views, device="cpu")
        before = found.scatter.copy()
        with pytest.raises(ValueError, match=f"Input y contains {kind}: the first is at row 7777, column 5"):
            found.update(*map(torch.from_numpy, bad), device="cpu")
        with pytest.raises(ValueError, match=f"Input y contains {kind}: the first is at row 7777, column 5"):
            found.update(*bad, device="cpu", sample_weight=np.arange(10_000) < 7000)
        assert np.array_equal(found.scatter, before)
    with pytest.raises(NumericalError, match="overflow"):
        Moments().update(np.array([[1e200], [-1e200]]), device="cpu")


def test_bad_arguments(views: Any) -> None:
    x, y = map(torch.from_numpy, views)
    with pytest.raises(ValueError, match=r"the views have \(17,\) columns, but earlier rows had \(17, 8\)"):
        Moments().update(x, y, device="cpu").update(x, device="cpu")
    with pytest.raises(ValueError, match="same number of rows"):
        Moments().update(x, y[1:], device="cpu")
    with pytest.raises(ValueError, match="Expected 2D array, got 3D"):
        Moments().update(x[:, :, None], device="cpu")
    with pytest.raises(ValueError, match="Complex data not supported"):
        Moments().update(x.to(torch.complex128), device="cpu")
    with pytest.raises(TypeError, match="X is sparse"):
        Moments().update(x.to_sparse(), y, device="cpu")
    with pytest.raises(ValueError, match="device must be one that torch can use, got 'gpu'"):
        Moments().update(x, device="gpu")
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        Moments().update(x, device="cpu", sample_weight=-np.ones(10_000))


class Small(TorchDispatchMode):
    """A device with room for arrays of so many numbers, and no more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.refused = most, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        held = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        fresh = isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in held
        if fresh and out.numel() > self.most:
            self.refused += 1
            raise torch.OutOfMemoryError(f"out of memory. Tried to allocate {out.numel()} numbers")
        return out


def test_where_memory_is_short_chunks_become_smaller(views: Any) -> None:
    tensors = [torch.from_numpy(view) for view in views]
    with Small(25 * 1500) as device:
        found = Moments().update(*tensors, device="cpu")
    assert device.refused == 3  # 10,000 rows, 5000, 2500
    assert off(found, views) < 1e-12


@pytest.mark.parametrize("most", [25 * 100, 25 * 24])
def test_too_little_memory_is_an_error_that_says_so(views: Any, most: int) -> None:
    found = Moments().update(*views)
    before = found.scatter.copy()
    with (
        Small(most),
        pytest.raises(MemoryError, match="cpu has too little memory for the moments of 25"),
    ):
        found.update(*map(torch.from_numpy, views), device="cpu")
    assert np.array_equal(found.scatter, before)


def test_no_rows_change_nothing(views: Any) -> None:
    found = Moments().update(*views)
    empty = [torch.zeros((0, 17)), torch.zeros((0, 8))]
    again = found.copy().update(*empty, device="cpu")
    assert np.array_equal(again.scatter, found.scatter)
    assert again.n == found.n
    assert Moments().update(*empty, device="cpu").dims == (17, 8)


def test_torch_is_not_imported_without_need() -> None:
    code = (
        "import sys, numpy as np; from fastcca import Moments; Moments().update(np.eye(3), np.eye(3)); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(views: Any, small_chunks: None) -> None:
    tensors = [torch.from_numpy(view).cuda() for view in views]
    assert off(Moments().update(*tensors), views) < 1e-12
