"""The layer that checks arguments: each constraint's sentence, and that every parameter has one."""

import importlib.util
import inspect
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

import fastcca
from fastcca import CCA, CCACV, KernelCCA, KernelCCACV, Moments, embedding, functional, fusion, metrics
from fastcca._arguments import arrays, parameters
from fastcca._arguments.parameters import Constraint
from fastcca._models.atomic_fit import AtomicFit
from fastcca.synchrony import SynchronyDetector, lagged_correlation

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 3))


# ---- constraints


@pytest.mark.parametrize(
    ("constraint", "good", "bad", "expected"),
    [
        (
            parameters.integer(1),
            [1, np.int64(3), 2**70],
            [0, 1.0, True, "2", None, np.nan],
            "an integer >= 1",
        ),
        (parameters.integer(1, 9), [1, 9], [0, 10, 2**70], "an integer from 1 to 9"),
        (parameters.N_COMPONENTS, [1, None], [0, -1, 2.5, "2", False], "an integer >= 1 or None"),
        (parameters.N_THREADS, [1, None], [0, "x", 1.5], "an integer >= 1 or None"),
        (
            parameters.NUMBER,
            [-1, 0.5, Fraction(1, 2)],
            [np.nan, np.inf, "1", True, 10**400],
            "a finite number",
        ),
        (parameters.NOT_NEGATIVE, [0, 1e300], [-1e-300, np.nan, None], "a finite number >= 0"),
        (parameters.POSITIVE, [1e-300], [0, -1, np.inf], "a finite number > 0"),
        (parameters.FRACTION, [0, 0.999], [1, -0.1], "a finite number >= 0 and < 1"),
        (
            parameters.RIDGES,
            [0, 1.5, (0, 1), [1, 2], np.array([1.0, 2.0])],
            [-1, True, (1, 2, 3), (1, -1), "ridge", None, np.nan],
            "a finite number >= 0 or a pair of them (x, y)",
        ),
        (parameters.FLAG, [True, np.False_], [0, 1, None, "yes"], "True or False"),
        (parameters.choice("a", "b"), ["a", "b"], ["c", None, 1, ["a"]], "one of 'a', 'b'"),
        (parameters.choice("a", None), ["a", None], ["c"], "one of 'a', None"),
        (parameters.SEED, [0, 2**64 - 1], [-1, 2**64], f"an integer from 0 to {2**64 - 1}"),
        (parameters.CALLABLES, [(), [print]], [3, (3,), None], "a sequence of callables"),
        (
            parameters.RANDOM_STATE,
            [None, 0, np.random.RandomState(0)],
            [-1, 2**32, 1.5, "seed", True],
            "an integer from 0 to 2**32 - 1, a numpy.random.RandomState or None",
        ),
    ],
)
def test_constraints(constraint: Constraint, good: list, bad: list, expected: str) -> None:
    for value in good:
        constraint("name", value)
    for value in bad:
        with pytest.raises(ValueError) as raised:
            constraint("name", value)
        assert str(raised.value).startswith(f"name must be {expected}, got ")


def test_values_come_in_plain_types() -> None:
    assert type(parameters.POSITIVE_INTEGER("n", np.int32(3))) is int
    assert type(parameters.NUMBER("n", np.float32(0.5))) is float
    assert parameters.RIDGES("reg", np.array([1, 2])) == (1.0, 2.0)
    assert parameters.RIDGES("reg", 3) == (3.0, 3.0)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError) as raised:
        parameters.N_COMPONENTS("n_components", RNG.normal(size=(50, 50)))
    assert len(str(raised.value)) < 200
    assert "\n" not in str(raised.value)


# ---- one mistake, one answer


def estimators() -> list[type]:
    found, todo = [], [AtomicFit]
    while todo:
        for kind in todo.pop().__subclasses__():
            todo.append(kind)
            public = not kind.__name__.startswith("_") and kind.__module__.startswith("fastcca.")
            # a search checks what it is given when it is made
            if public and issubclass(kind, BaseEstimator) and "fit" in dir(kind) and "__init__" in vars(kind):
                found.append(kind)
    return sorted(set(found), key=lambda kind: kind.__name__)


def test_every_parameter_has_a_constraint() -> None:
    checked = set(estimators()) - {embedding.InputScaling}  # a fitted part of others
    assert {
        CCA,
        KernelCCACV,
        SynchronyDetector,
        embedding.RidgeEmbedding,
        fusion.EarlyFusion,
    } <= checked
    if importlib.util.find_spec("torch"):
        assert fastcca.deep.DeepCCA in set(estimators())
        checked = set(estimators()) - {embedding.InputScaling}
    for kind in checked:
        names = set(inspect.signature(kind).parameters)
        assert set(kind._constraints) == names, kind.__name__  # type: ignore[attr-defined]


moments = Moments().update(X, Y)
LEAST = "n_components must be an integer >= 1 or None, got "


@pytest.mark.parametrize("value", ["2", 0, 2.5, True])
def test_one_answer_to_a_number_of_components_that_is_none(value: object) -> None:
    for call in (
        lambda: CCA(value).fit(X, Y),
        lambda: CCA(value).partial_fit(X, Y),
        lambda: CCA(value).fit_moments(moments),
        lambda: CCACV(value).fit(X, Y),
        lambda: KernelCCA(value).fit(X, Y),
        lambda: KernelCCACV(value).fit(X, Y),
        lambda: functional.solve_moments(moments, value),
        lambda: functional.solve_qr(X, Y, value),
        lambda: functional.solve_gram(X, Y, value),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == f"{LEAST}{value!r}"


def test_one_answer_to_too_many_components() -> None:
    for call in (
        lambda: CCA(4).fit(X, Y),
        lambda: CCA(4).fit_moments(moments),
        lambda: CCACV(4).fit(X, Y),
        lambda: functional.solve_moments(moments, 4),
        lambda: functional.solve_qr(X, Y, 4),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        expected = "n_components=4 is more than min(p, q) = 3: X has 4 and y has 3 features"
        assert str(raised.value) == expected


@pytest.mark.parametrize("value", [True, -1, np.nan, "ridge", (1, 2, 3)])
def test_one_answer_to_a_ridge_that_is_none(value: object) -> None:
    for call in (
        lambda: CCA(reg=value).fit(X, Y),
        lambda: KernelCCA(reg=value).fit(X, Y),
        lambda: functional.solve_moments(moments, reg=value),
        lambda: functional.solve_qr(X, Y, reg=value),
        lambda: functional.correlation_loss(X, Y, reg=value),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == (
            f"reg must be a finite number >= 0 or a pair of them (x, y), got {value!r}"
        )


def damaged(value: float) -> np.ndarray:
    a = X.copy()
    a[3, 1] = value
    return a


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_one_answer_to_nan_and_infinity(value: float, kind: str) -> None:
    bad = damaged(value)
    for call in (
        lambda: CCA().fit(bad, Y),
        lambda: CCA(solver="qr").fit(bad, Y),
        lambda: CCA(solver="gram").fit(bad, Y),
        lambda: CCACV().fit(bad, Y),
        lambda: KernelCCA().fit(bad, Y),
        lambda: CCA().fit(X, Y).transform(bad),
        lambda: SynchronyDetector().fit(bad, Y),
        lambda: functional.kernel_matrix(bad),
        lambda: functional.incomplete_cholesky(bad),
        lambda: functional.top_k(X, bad, 1),
        lambda: functional.truncated_svd(bad, 1),
        lambda: functional.solve_gram(bad, Y),
        lambda: functional.solve_qr(bad, Y),
        lambda: functional.correlation_loss(bad, Y),
        lambda: functional.hinge_embedding_loss(bad, X[:3], np.zeros(30, int)),
        lambda: Moments().update(bad, Y),
        lambda: metrics.column_correlations(bad, X),
        lambda: metrics.recall_at_k(bad, X),
        lambda: lagged_correlation(bad, X, max_lag=2),
    ):
        with pytest.raises(ValueError, match=rf"Input \w+ contains {kind}: the first is at row 3, column 1"):
            call()


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (None, ValueError, "X must be an array, got None"),
        (X + 1j, ValueError, "X: Complex data not supported; stack the real and the imaginary parts"),
        (X.astype(str), ValueError, "X must hold numbers, got dtype <U32"),
        ([*X.astype(object).tolist()[:29], ["a"] * 4], ValueError, "X must hold numbers, got dtype"),
        (np.ma.masked_greater(X, 1), ValueError, "X has masked values: fill them or leave their rows out"),
        (X[None], ValueError, "X: Expected 2D array, got 3D array of shape"),
        (X[:, :0], ValueError, r"X has 0 feature\(s\) \(shape=\(30, 0\)\)"),
        (X[:-1], ValueError, "X and y must have the same number of rows, got 29 and 30"),
        ([[1.0, 2.0], [3.0]], ValueError, "X: setting an array element with a sequence"),
        (X.astype("M8[D]"), ValueError, "X must hold numbers, got dtype datetime64"),
    ],
)
def test_one_answer_to_data_that_are_none(bad: object, error: type, message: str) -> None:
    for call in (
        lambda: CCA().fit(bad, Y),
        lambda: CCACV().fit(bad, Y),
        lambda: KernelCCA().fit(bad, Y),
        lambda: functional.solve_qr(bad, Y),
    ):
        with pytest.raises(error, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)


def test_frames_of_extension_types_are_floats() -> None:
    frame = pd.DataFrame({"a": pd.array([1, 2, None], "Int64"), "b": pd.array([0.5, 1, 2], "Float32")})
    with pytest.raises(ValueError, match=r"Input X contains NaN: the first is at row 2, column 0 \('a'\)"):
        arrays.as_matrix("X", frame)
    a = arrays.as_matrix("X", frame, frames_finite=False)
    assert a.dtype == np.float64
    np.testing.assert_array_equal(a, [[1, 0.5], [2, 1], [np.nan, 2]])
    single = pd.DataFrame({"a": pd.array([1, 2], "Float32"), "b": pd.array([0.5, 1], "Float32")})
    assert arrays.as_matrix("X", single).dtype == np.float32


def test_matrices_are_read_in_place() -> None:
    for a in (X, np.asfortranarray(X), X[::2, ::-1], X.astype(np.float32)):
        assert arrays.as_matrix("X", a) is a
    for a, dtype in ((X.astype(np.float16), np.float32), (X.astype(int), np.float64), (X > 0, np.float64)):
        assert arrays.as_matrix("X", a).dtype == dtype
    swapped = X.astype(">f8")
    np.testing.assert_array_equal(arrays.as_matrix("X", swapped), X)
    assert arrays.as_matrix("X", swapped).dtype.isnative


def test_the_front_door_knows_the_public_modules() -> None:
    for name in ("deep", "distributed", "errors", "functional"):
        assert name in dir(fastcca)
        assert inspect.ismodule(getattr(fastcca, name))


@pytest.mark.parametrize(("name", "package"), [("deep", "torch"), ("distributed", "dask")])
def test_the_front_door_says_which_extra_is_missing(name: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\nimport fastcca\n"
        f"try:\n    fastcca.{name}\nexcept ImportError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith(f"pip install 'fastcca[{name}]'")
