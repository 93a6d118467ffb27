"""Every way to call the estimators wrongly that we know of: a clear error that names the argument."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastcca import CCA, CCACV, KernelCCA, KernelCCACV, Moments, NumericalError, functional

both = pytest.mark.parametrize("model", [CCA(), CCACV(regs=[0.1])], ids=["CCA", "CCACV"])
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(40, 4)), RNG.normal(size=(40, 3))


def with_value(a, value, row=5, column=2):
    a = a.copy()
    a[row, column] = value
    return a


@both
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_with_their_position(model, value, dtype):
    x, y = X.astype(dtype), Y.astype(dtype)
    for views, name in (((with_value(x, value), y), "X"), ((x, with_value(y, value)), "y")):
        with pytest.raises(
            ValueError, match=rf"Input {name} contains (NaN|infinity): the first is at row 5, column 2"
        ):
            model.fit(*views)
    model.fit(x, y)
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity): the first is at row 5, column 2"):
        model.transform(with_value(x, value))
    with pytest.raises(ValueError, match=r"Input y contains (NaN|infinity): the first is at row 5, column 2"):
        model.transform_y(with_value(y, value))
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity): the first is at row 5, column 2"):
        model.score(with_value(x, value), y)


@pytest.mark.parametrize("solver", ["auto", "covariance", "qr", "gram"])
def test_nan_is_found_on_every_road(solver):
    wide = RNG.normal(size=(10, 30))
    for x, y in ((X, Y), (wide, Y[:10])):
        with pytest.raises(
            ValueError, match=r"Input X contains (NaN|infinity): the first is at row 5, column 2"
        ):
            CCA(solver=solver).fit(with_value(x, np.nan), y)
        with pytest.raises(
            ValueError, match=r"Input y contains (NaN|infinity): the first is at row 5, column 2"
        ):
            CCA(solver=solver).fit(x, with_value(y, np.nan))
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity): the first is at row 5, column 2"):
        CCACV(regs=[0.1], cv=2).fit(with_value(wide, np.nan), Y[:10])


@pytest.mark.parametrize("solver", ["covariance", "qr", "gram"])
def test_columns_out_of_the_range_of_the_arithmetic(solver):
    cca = CCA(solver=solver)
    with pytest.raises(NumericalError, match="every column of X is constant, or its square too small"):
        cca.fit(1e-160 * X, Y)
    with pytest.raises(NumericalError, match="overflow: scale the data down"):
        cca.fit(X, 1e160 * Y)
    expected = CCA(solver=solver).fit(X, Y).singular_values_
    np.testing.assert_allclose(cca.fit(1e-140 * X, 1e140 * Y).singular_values_, expected, atol=1e-12)


def test_scores_that_overflow():
    cca = CCA().fit(1e-15 * X.astype(np.float32), Y)
    with pytest.raises(NumericalError, match="scores of X overflow float32"):
        cca.transform(np.full((2, 4), 1e30, dtype=np.float32) * np.array([1, -1, 1, 1], np.float32))


def objects(a, value):
    a = a.astype(object)
    a[1, 1] = value
    return a


@both
@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X + 1j, Y, ValueError, "X: Complex data not supported"),
        (X, Y + 1j, ValueError, "y: Complex data not supported"),
        (objects(X, "cat"), Y, ValueError, "X must hold numbers, got dtype object with text"),
        (objects(X, "1.5"), Y, ValueError, "X must hold numbers, got dtype object with text"),
        (X, objects(Y, "cat"), ValueError, "y must hold numbers, got dtype object with text"),
        (objects(X, {}), Y, TypeError, "X: .*argument must be a string or a real number, not 'dict'"),
        (X, objects(Y, {}), TypeError, "y: .*argument must be a string or a real number, not 'dict'"),
        (X.astype(str), Y, ValueError, "X must hold numbers, got dtype <U"),
        (
            X,
            np.array(["2020-01-01"] * 40, dtype="M8[D]"),
            ValueError,
            r"y must hold numbers, got dtype datetime64\[D\]",
        ),
        (np.ma.masked_greater(X, 1.0), Y, ValueError, "X has masked values"),
        (X, None, ValueError, "requires y to be passed, but the target y is None"),
        (None, Y, ValueError, "X must be an array, got None"),
        (X, Y[:-1], ValueError, "X and y must have the same number of rows, got 40 and 39"),
        (X[:0], Y[:0], ValueError, "X has 0 samples"),
        (X[:1], Y[:1], ValueError, "X has 1 sample .* minimum of 2 is required"),
        (X, Y[:1], ValueError, "y has 1 sample .* minimum of 2 is required"),
        (X[:, :0], Y, ValueError, r"X has 0 feature\(s\) \(shape=\(40, 0\)\)"),
        (X, Y[:, :0], ValueError, r"y has 0 feature\(s\)"),
        (X[:, 0], Y, ValueError, "X: Expected 2D array, got 1D array"),
        (X[None], Y, ValueError, "X: Expected 2D array, got 3D array"),
        (X, Y[None], ValueError, "y: Expected 2D array, got 3D array"),
        ([[1.0, 2.0], [3.0]], [1.0, 2.0], ValueError, "X: .*inhomogeneous"),
        (
            np.ones((40, 4)) * [1.0, 0.1, 1e9, 0.0],
            Y,
            ValueError,
            "X .*every one of its columns is constant|every column of X is constant",
        ),
        (
            X,
            np.full(40, 0.1),
            ValueError,
            "y .*every one of its columns is constant|every column of y is constant",
        ),
    ],
)
def test_views_that_cannot_be_used(model, x, y, error, message):
    with pytest.raises(error, match=message) as raised:
        model.fit(x, y)
    assert "\n" not in str(raised.value)


def test_all_constant_view_is_found_on_every_road():
    for solver in ("auto", "covariance", "qr", "gram"):
        with pytest.raises(NumericalError, match="every column of y is constant"):
            CCA(solver=solver).fit(X, np.full((40, 2), 0.1))
    with pytest.raises(NumericalError, match="every column of X is constant"):
        CCA().fit(np.full((5, 9), 0.3), Y[:5])
    with pytest.raises(NumericalError, match="every column of X is constant"):
        CCA().fit_moments(Moments().update(np.full((5, 2), 0.3), Y[:5]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 4}, r"n_components=4 is more than min\(p, q\) = 3: X has 4 and y has 3 features"),
        ({"n_components": 0}, "n_components must be an integer >= 1 or None, got 0"),
        ({"n_components": 1.5}, "n_components must be an integer >= 1 or None, got 1.5"),
        ({"n_components": True}, "n_components must be an integer >= 1 or None, got True"),
        ({"reg": -0.1}, "regs? must be a finite number >= 0 or a pair .*, got -0.1"),
        ({"reg": (0.1, -1)}, r"regs? must be a finite number >= 0 or a pair .*, got \(0.1, -1\)"),
        ({"reg": np.nan}, "regs? must be a finite number >= 0 or a pair .*, got nan"),
        ({"reg": (1, 2, 3)}, r"reg must be a finite number >= 0 or a pair .* got \(1, 2, 3\)"),
        ({"reg": "ridge"}, "reg must be a finite number >= 0 or a pair .* got 'ridge'"),
        ({"reg": None}, "reg must be a finite number >= 0 or a pair .* got None"),
        ({"solver": "svd"}, "solver must be one of 'auto', .*'gram', 'iterative', got 'svd'"),
        ({"scale": "yes"}, "scale must be True or False, got 'yes'"),
        ({"n_threads": 0}, "n_threads must be an integer >= 1 or None, got 0"),
        ({"n_threads": 1.5}, r"n_threads must be an integer >= 1 or None, got 1\.5"),
        ({"n_threads": True}, "n_threads must be an integer >= 1 or None, got True"),
    ],
)
def test_parameters(parameters, message):
    model = CCA(**parameters)  # no complaint before fit
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    if "solver" not in parameters:
        with pytest.raises(ValueError, match=message):
            model.fit_moments(Moments().update(X, Y))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 4}, "n_components=4 is more than"),
        ({"regs": []}, "regs must be a sequence of numbers"),
        ({"regs": 0.1}, "regs must be a sequence of numbers"),
        ({"regs": "auto"}, "regs must be a sequence of numbers"),
        ({"regs": [[0.1], [0.2], [0.3]]}, "regs must be a sequence of numbers"),
        ({"regs": [0.1, -1.0]}, "regs? must be a finite number >= 0 or a pair .*, got -1.0"),
        ({"regs": ([0.1], [])}, "regs must be a sequence of numbers"),
        ({"scale": "yes"}, "scale must be True or False, got 'yes'"),
        ({"n_threads": 0}, "n_threads must be an integer >= 1 or None, got 0"),
        ({"cv": 1}, "n_splits=1"),
        ({"cv": [([0], [1, 2])]}, r"cv: split 0 has 1 train row\(s\)"),
        ({"cv": []}, "cv gave no split"),
        ({"cv": [(range(20), range(30, 50))]}, "cv: split 0 does not index the 40 rows: index 40"),
        ({"cv": [(range(20), np.arange(20.0))]}, "cv: split 0 does not index the 40 rows: .*integer"),
        ({"cv": [(np.ones(40, bool), np.ones(39, bool))]}, "cv: split 0 does not index the 40 rows: .*39"),
    ],
)
def test_parameters_of_the_search(parameters, message):
    with pytest.raises(ValueError, match=message):
        CCACV(**parameters).fit(X, Y)


@both
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(39), r"sample_weight.shape == \(39,\), expected \(40,\)"),
        (np.ones((40, 1)), r"sample_weight.shape == \(40, 1\), expected \(40,\)"),
        (-np.ones(40), "sample_weight must not be negative"),
        (np.full(40, np.nan), "sample_weight contains NaN"),
        (np.zeros(40), "sample_weight must contain at least one weight that is not zero"),
        (np.full(40, 1 / 40), "sample_weight must sum to more than 1, got 1: weights count as repetitions"),
        (["a"] * 40, "sample_weight must hold numbers, got dtype <U1"),
        (np.full(40, 1j), "sample_weight must hold numbers, got dtype complex128"),
    ],
)
def test_weights(model, weights, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, sample_weight=weights)


@pytest.mark.parametrize("search", [CCACV, KernelCCACV])
def test_weights_of_the_parts_of_a_split(search):
    weights = np.full(40, 1.02 / 40)
    with pytest.raises(ValueError, match=r"sample_weight sums to 0\.816 over the train rows of split 0, exp"):
        search().fit(X, Y, sample_weight=weights)
    weights = np.repeat([0.0, 1.0], [8, 32])
    with pytest.raises(ValueError, match="sample_weight sums to 0 over the test rows of split 0, expected"):
        search().fit(X, Y, sample_weight=weights)


def test_scores_that_are_not_finite_have_no_inverse():
    with pytest.raises(ValueError, match="Input Z contains NaN: the first is at row 1, column 0"):
        CCA().fit(X, Y).inverse_transform([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0]])


@both
@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.transform(X),
        lambda m: m.transform_y(Y),
        lambda m: m.transform_views(X, Y),
        lambda m: m.predict(X),
        lambda m: m.predict_x(Y),
        lambda m: m.inverse_transform(X),
        lambda m: m.score(X, Y),
    ],
)
def test_unfitted(model, call):
    fresh = type(model)()
    with pytest.raises(NotFittedError, match="instance is not fitted yet"):
        call(fresh)


@both
def test_wrong_number_of_features_after_the_fit(model):
    model.fit(X, Y)
    name = type(model).__name__
    for call in (model.transform, model.predict, lambda x: model.score(x, Y)):
        with pytest.raises(
            ValueError, match=f"X has 3 features, but {name} is expecting 4 features as input"
        ):
            call(X[:, :3])
    for call in (model.transform_y, model.predict_x, lambda y: model.score(X, y)):
        with pytest.raises(
            ValueError, match=f"y has 2 features, but {name} is expecting 3 features as input"
        ):
            call(Y[:, :2])
    with pytest.raises(ValueError, match="Z has 4 columns, but there are 3 components"):
        model.inverse_transform(X)
    with pytest.raises(ValueError, match="score needs at least 2 rows to correlate: X has 1 sample"):
        model.score(X[:1], Y[:1])
    with pytest.raises(ValueError, match="same number of rows, got 40 and 39"):
        model.score(X, Y[:-1])


def test_constant_held_out_view_scores_zero():
    assert CCA().fit(X, Y).score(np.ones((5, 4)), Y[:5]) == 0.0


@pytest.mark.parametrize("model", [CCA(), CCACV(regs=[0.1]), KernelCCA(rank=5), KernelCCACV(regs=[0.1])])
def test_a_refit_that_fails_changes_nothing(model):
    model = clone(model).fit(X, Y)
    before = model.transform(X)
    for x in (np.ones((40, 2)), with_value(X, np.nan)[:, :3]):
        with pytest.raises(ValueError):
            model.fit(x, Y[:, 0])
        assert np.array_equal(model.transform(X), before)
        assert model.predict(X).shape == Y.shape


def test_predictions_that_overflow():
    cca = CCA().fit(X, 1e150 * Y)
    with pytest.raises(NumericalError, match="predicted values overflow float64"):
        cca.predict(1e200 * X)
    assert np.isfinite(cca.predict(X.astype(np.float32))).all()
    with pytest.raises(NumericalError, match="predicted values overflow float64"):
        CCA().fit(X, Y).inverse_transform(np.full((1, 3), 1.7e308))


def test_columns_too_small_to_square_are_not_called_constant():
    for scale in (1e-160, 1e-200):
        with pytest.raises(NumericalError, match="or its square too small"):
            CCA().fit(scale * X, Y)
    with pytest.raises(NumericalError, match=r"X is constant$"):
        CCA().fit(np.ones_like(X), Y)


def test_moments_take_no_text_or_masks():
    masked = np.ma.masked_array(X, X > 2)
    for bad, message in (
        (masked, "X has masked values"),
        (X.astype(str), "X must hold numbers, got dtype <U"),
        (np.zeros((40, 4), "M8[s]"), "X must hold numbers, got dtype datetime64"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            Moments().update(bad, Y)
    with pytest.raises(ValueError, match="sample_weight has masked values"):
        CCA().fit(X, Y, sample_weight=np.ma.masked_array(np.ones(40), np.arange(40) < 9))


def test_moments_and_parts():
    with pytest.raises(TypeError, match=r"moments must be fastcca\.Moments, got tuple"):
        CCA().fit_moments((X, Y))
    with pytest.raises(ValueError, match="moments must be of two views, got 3"):
        CCA().fit_moments(Moments().update(X, Y, Y))
    with pytest.raises(ValueError, match="moments must be of two views, got 0"):
        CCA().fit_moments(Moments())
    with pytest.raises(ValueError, match="at least 2 rows, got n_samples = 1"):
        CCA().fit_moments(Moments().update(X[:1], Y[:1]))
    for solver in ("qr", "gram"):
        with pytest.raises(ValueError, match=f"solver='{solver}' needs the data, but fit_moments has"):
            CCA(solver=solver).fit_moments(Moments().update(X, Y))
        with pytest.raises(ValueError, match=f"solver='{solver}' needs the data, but partial_fit has"):
            CCA(solver=solver).partial_fit(X, Y)
    with pytest.raises(ValueError, match="X has 1 sample"):
        CCA().partial_fit(X[:1], Y[:1])
    grown = CCA().partial_fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 features, but CCA is expecting 4"):
        grown.partial_fit(X[:, :3], Y)
    with pytest.raises(ValueError, match="y has 2 features, but CCA is expecting 3"):
        grown.partial_fit(X, Y[:, :2])
    wide = CCA(reg=0.1).fit(RNG.normal(size=(10, 30)), Y[:10])
    with pytest.raises(ValueError, match="partial_fit cannot go on from this fit"):
        wide.partial_fit(RNG.normal(size=(10, 30)), Y[:10])


# ---- one rule for what holds no numbers -----------------------------------------------------------------

ENTRANCES = {
    "CCA": lambda a: CCA().fit(a, Y),
    "CCA, y": lambda a: CCA().fit(Y, a),
    "KernelCCA": lambda a: KernelCCA(1, rank=5).fit(a, Y),
    "Moments": lambda a: Moments().update(a, Y),
    "solve_qr": lambda a: functional.solve_qr(a, Y),
    "top_k": lambda a: functional.top_k(a, a, 1),
    "kernel_matrix": functional.kernel_matrix,
    "correlation_loss": lambda a: functional.correlation_loss(a, Y),
    "polar": functional.polar,
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("value", ["1.5", b"1.5", "cat"])
def test_text_among_objects_is_refused_everywhere(entrance, value):
    with pytest.raises(ValueError, match=r"must hold (real )?numbers, got dtype object with text"):
        ENTRANCES[entrance](objects(X, value))


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", ["date", "duration"])
def test_frames_of_dates_are_refused_everywhere(entrance, library, kind):
    frames = pytest.importorskip(library)
    days = np.arange(40).astype("M8[D]" if kind == "date" else "m8[ms]")
    frame = frames.DataFrame(
        {"a": X[:, 0], "when": days.astype(days.dtype if library == "polars" else f"{days.dtype.kind}8[ns]")}
    )
    with pytest.raises(ValueError, match=r"must hold numbers, got dates or times \(.*\) in column 'when'"):
        ENTRANCES[entrance](frame)
    with pytest.raises(ValueError, match=r"must hold (real )?numbers|Expected 2D array"):
        ENTRANCES[entrance](frame["when"])


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_tensors_with_gradients_are_taken_as_numbers(entrance):
    torch = pytest.importorskip("torch")
    for dtype in (torch.float64, torch.bfloat16):
        ENTRANCES[entrance](torch.tensor(X).to(dtype).requires_grad_())
