"""WSABIE's descent: the steps, the balls, what is refused."""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse

from fastcca.errors import NumericalError
from fastcca.functional import warp_epoch
from reference import warp as ref

pytestmark = pytest.mark.core
Array = npt.NDArray[np.float64]


def problem(
    rng: np.random.Generator, n: int, p: int, d: int, C: int
) -> tuple[Array, npt.NDArray[np.int64], Array, Array]:
    y = rng.integers(C, size=n)
    X = rng.standard_normal((C, p))[y] + rng.standard_normal((n, p))
    return (
        X / np.sqrt(p),
        y,
        rng.standard_normal((d, p)) / np.sqrt(d),
        rng.standard_normal((C, d)) / np.sqrt(d),
    )


def test_a_step_by_hand() -> None:
    # f = (1, 0.5), so class 1 violates the margin of 1 by 1/2; of one other class it is found at the first
    # draw and weighs L(1) = 1: with rate 1/2, g = (1/2, 0) and z = (1, 0),
    X, W, V = np.array([[1.0]]), np.array([[1.0], [0.0]]), np.array([[1.0, 0.0], [0.5, 0.0]])
    result = warp_epoch(X, [0], W, V, learning_rate=0.5, max_norm=None)
    assert result == (0.5, 1, 1)
    np.testing.assert_array_equal(W, [[1.25], [0.0]])
    np.testing.assert_array_equal(V, [[1.5, 0.0], [0.0, 0.0]])
    # and next f = (1.875, 0): nothing violates.
    assert warp_epoch(X, [0], W, V, learning_rate=0.5, max_norm=None) == (0.0, 0, 1)


@pytest.mark.parametrize("max_norm", [None, 1.0, 0.4])
@pytest.mark.parametrize(
    ("n", "p", "d", "C"), [(1, 1, 1, 1), (5, 2, 1, 2), (30, 7, 5, 3), (40, 15, 17, 16), (30, 33, 31, 7)]
)
def test_equals_the_reference(
    rng: np.random.Generator, n: int, p: int, d: int, C: int, max_norm: float | None
) -> None:
    X, y, W, V = problem(rng, n, p, d, C)
    X[rng.random(X.shape) < 0.2] = 0
    order = rng.integers(n, size=2 * n)
    expected = ref.warp_epoch(X, y.tolist(), W, V, 0.05, 0.7, max_norm, order.tolist(), 9)
    single = W.astype(np.float32), V.astype(np.float32)
    result = warp_epoch(X, y, W, V, learning_rate=0.05, margin=0.7, max_norm=max_norm, order=order, seed=9)
    assert result == (pytest.approx(expected[0], rel=1e-11), expected[1], expected[2])
    np.testing.assert_allclose(W, expected[3], atol=1e-12)
    np.testing.assert_allclose(V, expected[4], atol=1e-12)
    warp_epoch(X, y, *single, learning_rate=0.05, margin=0.7, max_norm=max_norm, order=order, seed=9)
    np.testing.assert_allclose(single[0], W, atol=1e-4)


def test_samples_of_several_classes(rng: np.random.Generator) -> None:
    X, y, W, V = problem(rng, 40, 6, 5, 9)
    positives = rng.random((40, 9)) < 0.3
    positives[np.arange(40), y] = True
    positives[3] = True  # which leaves nothing to draw
    order = rng.integers(40, size=90)
    expected = ref.warp_epoch(X, y.tolist(), W, V, 0.05, 0.7, 1.0, order.tolist(), 9, positives)
    options = {"learning_rate": 0.05, "margin": 0.7, "order": order, "seed": 9}
    for form in (positives, scipy.sparse.coo_array(positives), scipy.sparse.csr_array(positives * 0.5)):
        w, v = W.copy(), V.copy()
        result = warp_epoch(X, y, w, v, positives=form, **options)
        assert result == (pytest.approx(expected[0], rel=1e-11), expected[1], expected[2])
        np.testing.assert_allclose(w, expected[3], atol=1e-12)
        np.testing.assert_allclose(v, expected[4], atol=1e-12)
    one, again = (W.copy(), V.copy()), (W.copy(), V.copy())
    alone = np.eye(9)[y]
    assert warp_epoch(X, y, *one, **options) == warp_epoch(X, y, *again, positives=alone, **options)
    np.testing.assert_array_equal(one[0], again[0])
    with pytest.raises(ValueError, match=r"positives must have shape .* = \(40, 9\), got \(40, 8\)"):
        warp_epoch(X, y, W, V, positives=positives[:, 1:], **options)
    positives[7, y[7]] = False
    with pytest.raises(ValueError, match=f"positives must have the class {y[7]} at row 7"):
        warp_epoch(X, y, W, V, positives=positives, **options)


def test_learns_to_rank(rng: np.random.Generator) -> None:
    X, y, W, V = problem(rng, 300, 20, 8, 10)
    for epoch in range(30):
        warp_epoch(
            X, y, W, V, learning_rate=0.1, max_norm=3.0, order=rng.permutation(300), seed=epoch, margin=0.5
        )
    assert ((X @ W.T @ V.T).argmax(1) == y).mean() > 0.9
    assert (np.linalg.norm(W, axis=0) <= 3 + 1e-12).all()
    assert (np.linalg.norm(V, axis=1) <= 3 + 1e-12).all()


def test_the_seed_and_the_layout_of_the_samples(rng: np.random.Generator) -> None:
    X, y, W, V = problem(rng, 60, 9, 5, 12)

    def run(data: Array, seed: int) -> tuple[tuple[float, int, int], Array, Array]:
        w, v = W.copy(), V.copy()
        return warp_epoch(data, y, w, v, learning_rate=0.1, seed=seed), w, v

    one, again, other = run(X, 3), run(np.asfortranarray(X), 3), run(X, 4)
    assert one[0] == again[0] != other[0]
    np.testing.assert_array_equal(one[1], again[1])
    np.testing.assert_array_equal(one[2], again[2])


def test_bad_input_is_named(rng: np.random.Generator) -> None:
    X, y, W, V = problem(rng, 20, 4, 3, 5)
    before = W.copy(), V.copy()

    def run(**changes: object) -> None:
        arguments = {"X": X, "y": y, "W": W, "V": V, "learning_rate": 0.1, **changes}
        warp_epoch(**arguments)  # type: ignore[arg-type]

    for name in ("W", "V"):
        array = W if name == "W" else V
        for bad in (array.tolist(), array.astype(int), np.asfortranarray(array)[::1], array.T.copy().T):
            if isinstance(bad, np.ndarray) and bad.flags.c_contiguous and bad.dtype == array.dtype:
                continue
            with pytest.raises(TypeError, match=f"{name} must be"):
                run(**{name: bad})
        with pytest.raises(ValueError, match=f"{name} contains NaN"):
            run(**{name: array * np.nan})
    with pytest.raises(TypeError, match="W and V must be of one dtype"):
        run(W=W.astype(np.float32))
    with pytest.raises(ValueError, match=r"W must have shape .* = \(3, 3\), got \(3, 4\)"):
        run(X=X[:, 1:])
    with pytest.raises(ValueError, match="one class for each of the 20 rows"):
        run(y=y[1:])
    with pytest.raises(ValueError, match=r"y must hold classes from 0 to 4, got \d+ at row 0"):
        run(y=y + 5)
    with pytest.raises(ValueError, match="y must hold integers"):
        run(y=y + 0.5)
    with pytest.raises(ValueError, match="order must hold rows from 0 to 19, got 20"):
        run(order=[0, 20])
    for name in ("learning_rate", "max_norm", "margin"):
        with pytest.raises(ValueError, match=f"{name} must be"):
            run(**{name: -1.0})
    with pytest.raises(ValueError, match="seed must be"):
        run(seed=-1)
    bad = X.copy()
    bad[7, 2] = np.inf
    with pytest.raises(ValueError, match="X contains infinity: the first is at row 7, column 2"):
        run(X=bad)
    with pytest.raises(NumericalError, match="diverge"):
        run(X=X * 1e150, learning_rate=1e300, max_norm=None)
    np.testing.assert_array_equal(W, before[0])
    np.testing.assert_array_equal(V, before[1])
