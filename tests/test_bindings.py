"""The binding layer alone: sizes that do not fit are refused before anything is read, whoever calls."""

import numpy as np
import pytest

from fastcca import _core

RNG = np.random.default_rng(0)
N, P, Q, M = 12, 3, 2, 5  # rows, columns of both views, landmarks

X, Y = RNG.normal(size=(N, P)), RNG.normal(size=(N, Q))
POINTS, OTHERS = X[:M], Y[:M]
LABELS = np.arange(N) % M
RBF = ("rbf", 1.0, 3, 1.0)
GIVEN = ("given", 1.0, 3, 1.0)
MEAN, EPS, SCATTER = np.zeros(P + Q), np.full(P + Q, 2.0**-52), np.eye(P + Q) * N
MOMENTS = (float(N), MEAN, SCATTER, EPS, EPS)  # the last: the rounding of the scatter
# class_start, positives, negative_start, negatives: two classes with a pair each
TABLE = tuple(np.array(part) for part in ([0, 1, 2], [0, 1], [0, 2, 3], [2, 3, 4]))
F_OF_M = np.tril(np.ones((M, M)))


def cholesky(**changed):
    arguments = {"X": X, "kernel": RBF, "rank": 4, "tol": 0.0, "pivoting": "greedy", "block": 2}
    arguments |= {"seed": 0, "weights": None, "name": "X"}
    factor = _core.PivotedCholesky64(**(arguments | changed))
    while factor.step(1):
        pass
    return factor


def called_cholesky(columns=None, square=None, diagonal=None):
    K = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1))
    factor = _core.PivotedCholesky64(
        diagonal=np.ones(N) if diagonal is None else diagonal,
        columns=columns or (lambda pivots: K[pivots]),
        square=square or (lambda rows: K[np.ix_(rows, rows)]),
        rank=4,
        tol=0.0,
        pivoting="greedy",
        block=2,
        seed=0,
        weights=None,
        name="X",
    )
    while factor.step(1):
        pass
    return factor


def moments_stream(columns=P + Q, views=(X, Y), names=("X", "y")):
    stream = _core.MomentsStream64(columns)
    stream.add(list(views), list(names), 1)
    return stream.finish(1)


def feature_moments(x=(), y=(), names=("X", "y"), weights=None, **changed):
    maps = [(POINTS, F_OF_M, RBF, np.zeros(P), False), (OTHERS, F_OF_M, RBF, np.zeros(Q), False)]
    for view, name in enumerate(("x_map", "y_map")):
        maps[view] = changed.get(name, maps[view])
    sums = _core.FeatureMoments64(*maps, True, list(names))
    sums.add(x or (X, X, None, None), y or (Y, Y, None, None), weights, 1)
    return sums.finish(1)


# A call of each function that is in order, and what is wrong with the others.
CALLS = {
    "moments": (
        {"views": [X, Y], "names": ["X", "y"], "weights": np.ones(N), "in_double": False, "n_threads": 1},
        [
            {"views": []},
            {"views": [X, Y[:-1]]},
            {"views": [X[0], Y]},
            {"names": ["X"]},
            {"weights": np.ones(N - 1)},
            {"weights": np.ones((N, 1))},
        ],
    ),
    "inverse_sqrt": ({"S": np.eye(P), "floor": 0.0, "n_threads": 1}, [{"S": X}, {"S": X[0]}]),
    "polar": ({"T": X, "eps": 0.0, "n_threads": 1}, [{"T": X[0]}, {"T": X[None]}]),
    "truncated_svd": (
        {"A": X, "k": 2, "tol": 1e-9, "n_threads": 1},
        [{"k": P + 1}, {"k": -1}, {"A": X[:0], "k": 1}, {"A": X[0], "k": 1}],
    ),
    "largest_eigenvalues": (
        {"stack": np.eye(3).reshape(1, 9), "n": 3, "n_threads": 1},
        [{"n": 0}, {"n": -3}, {"n": 2}, {"stack": np.ones(9)}, {"stack": np.ones((2, 8))}],
    ),
    "product": ({"A": X, "B": Y.T[:, :P].T, "n_threads": 1}, [{"B": Y}, {"B": Y[0]}, {"A": X[0]}]),
    "add_sparse_products": (
        {
            "starts": np.array([0, 2, 3]),
            "columns": np.array([0, 2, 1], np.int32),
            "values": np.ones(3),
            "weights": np.ones(2),
            "out": np.zeros((3, 3)),
            "n_threads": 1,
        },
        [
            {"starts": np.zeros(0, np.int64)},
            {"starts": np.array([0, 2, 4])},
            {"starts": np.array([0, 4, 3])},
            {"starts": np.array([[0, 2, 3]])},
            {"columns": np.array([0, 3, 1], np.int32)},
            {"columns": np.array([2, 0, 1], np.int32)},
            {"columns": np.array([0, -1, 1], np.int32)},
            {"columns": np.array([0, 1], np.int32)},
            {"values": np.ones(6)[::2]},
            {"values": np.ones(2)},
            {"weights": np.ones(3)},
            {"out": np.zeros((3, 2))},
            {"out": np.zeros((2, 2))},
            {"out": np.zeros((3, 3), order="F")[:, ::-1]},
            {"out": np.zeros((6, 3))[::2]},
        ],
    ),
    "solve_positive": (
        {"A": np.eye(N), "B": X, "floor": 0.0, "n_threads": 1},
        [{"A": X}, {"B": X[:-1]}, {"A": np.eye(N + 1)}],
    ),
    "whiten_moments": (
        {"moments": MOMENTS, "start": 0, "width": P, "reg": 0.0, "name": "X", "n_threads": 1},
        [
            {"start": -1},
            {"start": P + Q},
            {"width": 0},
            {"width": P + Q + 1},
            {"reg": -1.0},
            {"reg": float("nan")},
            {"moments": (1.0, MEAN, SCATTER[:-1, :-1], EPS, EPS)},
        ],
    ),
    "solve_moments": (
        {"moments": MOMENTS, "p": P, "n_components": 2, "reg": (0.0, 0.0), "n_threads": 1},
        [
            {"p": 0},
            {"p": -1},
            {"p": P + Q},
            {"n_components": 0},
            {"n_components": -3},
            {"moments": (1.0, MEAN, SCATTER[:-1, :-1], EPS, EPS)},
            {"moments": (1.0, MEAN[:-1], SCATTER, EPS, EPS)},
            {"moments": (1.0, MEAN, SCATTER, EPS[:-1], EPS)},
            {"moments": (1.0, MEAN, SCATTER, EPS, EPS[:-1])},
            {"moments": (1.0, MEAN, SCATTER[0], EPS, EPS)},
            {"moments": (1.0, MEAN, np.ones((2 * P + 2 * Q, P + Q))[::2], EPS, EPS)},
        ],
    ),
    "solve_data": (
        {
            "X": X,
            "y": Y,
            "sample_weight": np.ones(N),
            "n_components": 2,
            "reg": (0.0, 0.0),
            "gram": False,
            "n_threads": 1,
        },
        [
            {"y": Y[:-1]},
            {"sample_weight": np.ones(N + 1)},
            {"X": X[:, :0]},
            {"y": Y[:, :0]},
            {"X": X[0]},
            {"n_components": 0},
            {"n_components": -1},
        ],
    ),
    "held_out_correlations": (
        {
            "folds": [(MOMENTS, MOMENTS)],
            "total_variation": np.full(P + Q, 2.0 * N),
            "p": P,
            "regs": [(0.1, 0.1)],
            "n_components": 2,
            "n_threads": 1,
        },
        [
            {"p": P + Q},
            {"p": 0},
            {"n_components": 0},
            {"total_variation": np.ones(P + Q - 1)},
            {"folds": [(MOMENTS, (1.0, MEAN[1:], SCATTER[1:, 1:], EPS[1:], EPS[1:]))]},
            {"folds": [((1.0, MEAN[1:], SCATTER[1:, 1:], EPS[1:], EPS[1:]), MOMENTS)]},
        ],
    ),
    "correlation_loss": (
        {
            "H1": X,
            "H2": Y,
            "k": 2,
            "reg1": 0.1,
            "reg2": 0.1,
            "squares": False,
            "gradient": True,
            "n_threads": 1,
        },
        [
            {"H2": Y[:-1]},
            {"H1": X[:-1], "gradient": False},
            {"H1": X[:, :0]},
            {"H1": X[:0], "H2": Y[:0]},
            {"H1": X[0]},
            {"k": 0},
            {"k": -1},
        ],
    ),
    "correlation_gradients": (
        {"H1": X, "H2": Y, "mean": MEAN, "A": SCATTER, "n_threads": 1},
        [
            {"H2": Y[:-1]},
            {"mean": MEAN[:-1]},
            {"mean": SCATTER},
            {"A": SCATTER[:-1]},
            {"A": SCATTER[:, :-1]},
            {"A": np.eye(P + Q + 1)},
            {"H1": X[:, :-1]},
        ],
    ),
    "correlation_factor": (
        {"H1": X, "H2": Y, "mean": MEAN, "n_threads": 1},
        [
            {"H2": Y[:-1]},
            {"H2": Y[:, :0]},
            {"mean": MEAN[:-1]},
            {"mean": SCATTER},
            {"H1": X[:, :-1]},
        ],
    ),
    "correlation_coefficients": (
        {
            "n": float(N),
            "mean": MEAN,
            "scatter": SCATTER,
            "d1": P,
            "k": 2,
            "reg1": 0.1,
            "reg2": 0.1,
            "squares": False,
            "eps": 0.0,
            "rounding": 0.0,
            "factor": None,
            "n_threads": 1,
        },
        [
            {"d1": 0},
            {"factor": np.ones((3, P + Q - 1))},
            {"factor": np.full((3, P + Q), np.nan)},
            {"factor": np.ones(P + Q)},
            {"d1": P + Q},
            {"d1": 999},
            {"d1": -1},
            {"k": 0},
            {"mean": MEAN[:-1]},
            {"mean": np.zeros(P + Q + 1)},
            {"scatter": SCATTER[:-1]},
            {"scatter": SCATTER[:, :-1]},
        ],
    ),
    "hinge_loss": (
        {
            "Z": X,
            "U": POINTS,
            "y": LABELS,
            "weights": np.ones(N),
            "weight": 1.0,
            "margin": 1.0,
            "costs": np.ones((M, M)),
            "table": None,
            "similarity": "euclidean",
            "loss": "sum",
            "seed": 0,
            "gradient": True,
            "n_threads": 1,
        },
        [
            {"U": POINTS[:, :-1]},
            {"Z": X[:, :0], "U": POINTS[:, :0]},
            {"Z": X[:0], "y": LABELS[:0], "weights": None},
            {"y": LABELS[:-1]},
            {"y": LABELS + 1},
            {"y": LABELS - 1},
            {"y": np.full(N, 2**62)},
            {"weights": np.ones(N - 1)},
            {"costs": np.ones((M, M - 1))},
            {"costs": np.ones((M - 1, M))},
            {"costs": np.ones((1, 1))},
            {"table": TABLE, "costs": None},  # classes 2, 3 and 4 are not in the table
            {"y": LABELS % 2, "table": TABLE},  # costs for five classes, where there are two
            *(
                {
                    "y": LABELS % 2,
                    "costs": None,
                    "table": (*TABLE[:i], np.array(part, np.int64), *TABLE[i + 1 :]),
                }
                for i, part in (
                    (0, []),
                    (0, [0, 2]),
                    (0, [0, 1, 3]),
                    (0, [0, 3, 2]),
                    (0, [1, 1, 2]),
                    (0, [[0, 1, 2]]),
                    (1, [0, 5]),
                    (1, [0, -1]),
                    (1, [0]),
                    (2, [0, 3]),
                    (2, [0, 4, 3]),
                    (2, [0, 2, 9]),
                    (3, [2, 3]),
                    (3, [2, 3, 5]),
                    (3, [2, 3, -1]),
                )
            ),
        ],
    ),
    "warp_epoch": (
        {
            "X": X,
            "y": LABELS,
            "order": np.arange(N),
            "W": np.ones((4, P)),
            "V": np.ones((M, 4)),
            "learning_rate": 0.1,
            "margin": 1.0,
            "max_norm": 1.0,
            "seed": 0,
            "positive_starts": np.arange(N + 1),
            "positives": LABELS,
        },
        [
            {"positive_starts": np.arange(N)},
            {"positive_starts": np.arange(1, N + 2)},
            {"positive_starts": np.r_[0, 2, 1, np.arange(3, N + 1)]},
            {"positives": LABELS[:-1]},
            {"positives": np.r_[LABELS[1:], 0]},
            {"positives": LABELS + M},
            {"positives": LABELS - M},
            {"y": LABELS[:-1]},
            {"y": LABELS + 1},
            {"y": LABELS - 1},
            {"y": LABELS[None]},
            {"order": np.arange(N) + 1},
            {"order": np.arange(N) - 1},
            {"order": np.arange(N)[None]},
            {"W": np.ones((4, P + 1))},
            {"W": np.ones((3, P))},
            {"W": np.ones(4 * P)},
            {"V": np.ones((M, 3))},
            {"V": np.ones(4 * M)},
            {"V": np.ones((M - 1, 4))},
        ],
    ),
    "kernel_matrix": (
        {"X": X, "Y": POINTS, "kernel": RBF, "n_threads": 1},
        [
            {"Y": Y},
            {"Y": POINTS[:0]},
            {"X": X[:0], "Y": None},
            {"X": X[:, :0], "Y": None},
            {"X": X[:, :0], "Y": POINTS[:, :0]},
            {"X": X[0]},
            {"kernel": ("polynomial", 1.0, 0, 1.0)},
            {"kernel": ("polynomial", 1.0, -2, 1.0)},
            {"kernel": ("unknown", 1.0, 3, 1.0)},
        ],
    ),
    "kernel_scores": (
        {
            "X": X,
            "landmarks": POINTS,
            "kernel": RBF,
            "coefficients": np.ones((M, 2)),
            "offset": np.zeros(2),
            "name": "X",
            "n_threads": 1,
        },
        [
            {"X": Y},
            {"landmarks": POINTS[:-1]},
            {"landmarks": POINTS[:0], "coefficients": np.ones((0, 2))},
            {"coefficients": np.ones((M + 1, 2))},
            {"coefficients": np.ones((M, 3))},
            {"offset": np.zeros(3)},
            {"offset": np.zeros((2, 1))},
            {"kernel": GIVEN},  # whose rows are kernel values of the landmarks
        ],
    ),
    "landmark_factor": (
        {"K": np.eye(M), "n_threads": 1},
        [{"K": X}, {"K": np.zeros((0, 0))}, {"K": X[0]}],
    ),
    "landmark_coefficients": (
        {"factor": F_OF_M, "weights": np.ones((M, 2)), "n_threads": 1},
        [{"factor": F_OF_M[:-1]}, {"weights": np.ones((M - 1, 2))}, {"weights": np.ones(M)}],
    ),
    "solve_dual": (
        {
            "Kx": np.eye(30) + 0.1,
            "Ky": np.eye(30) + 0.2,
            "bach_jordan": False,
            "shift": (1.0, 1.0),
            "components": 2,
            "tol": 1e-9,
            "n_threads": 1,
        },
        [
            {"Kx": np.ones((30, 29))},
            {"Ky": np.eye(29)},
            {"Kx": np.zeros((0, 0)), "Ky": np.zeros((0, 0))},
            {"components": 0},
            {"components": -10},
            {"components": -11},
        ],
    ),
    "contrastive_loss": (
        {
            "A": X[:M],
            "B": X,
            "shift": 2,
            "a_codes": LABELS[:M],
            "b_codes": LABELS,
            "codes": "groups",
            "a_weights": np.ones(M),
            "b_weights": None,
            "a_weight": 0.0,
            "b_weight": 0.0,
            "scale": 2.0,
            "bias": 0.0,
            "loss": "softmax",
            "similarity": "cosine",
            "gradient": True,
            "n_threads": 1,
        },
        [
            {"A": X[0]},
            {"B": Y},
            {"A": X[:0], "a_codes": LABELS[:0], "a_weights": np.ones(0)},
            {"A": X[:M, :0], "B": X[:, :0]},
            {"shift": -1},
            {"shift": N - M + 1},
            {"shift": 2**62},
            {"a_codes": LABELS[: M - 1]},
            {"b_codes": LABELS[:M]},
            {"b_codes": None},
            {"codes": "names"},
            {"a_weights": np.ones(M - 1)},
            {"b_weights": np.ones(N - 1)},
            {"loss": "hinge"},
            {"similarity": "dot"},
        ],
    ),
    "top_k": (
        {"gallery": X, "queries": POINTS, "similarity": "cosine", "k": 3, "n_threads": 1},
        [
            {"k": 0},
            {"k": -1},
            {"k": N + 1},
            {"k": 2**40},
            {"gallery": Y},
            {"gallery": X[:0], "k": 1},
            {"gallery": X[:, :0], "queries": POINTS[:, :0]},
            {"queries": X[0]},
            {"similarity": "dot"},
        ],
    ),
}

OTHERS_OF_CORE = {  # functions of no arrays, and the classes that the tests below call
    "num_threads",
    "set_num_threads",
    "level",
    "compiler",
    "cpu_supports",
    "use_level",
    "use_amx",
    "allow_amx",
    "PivotedCholesky32",
    "PivotedCholesky64",
    "FeatureMoments32",
    "FeatureMoments64",
    "MomentsStream32",
    "MomentsStream64",
}


def test_every_function_of_the_core_is_called_here():
    functions = {name for name in dir(_core) if callable(getattr(_core, name)) and not name.startswith("_")}
    modules = {"importlib", "os"}
    assert functions - modules == set(CALLS) | OTHERS_OF_CORE


def test_a_level_is_a_table_of_functions_and_nothing_else():
    level = _core.level()
    for wrong in (None, 3, "v3", b"v3", object(), np.zeros(100, dtype=np.int64)):
        with pytest.raises((TypeError, ValueError)):
            _core.use_level(wrong)
    assert _core.level() == level


@pytest.mark.parametrize("name", CALLS)
def test_the_call_in_order(name):
    arguments, _ = CALLS[name]
    getattr(_core, name)(**arguments)


def as_float32(value):
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(np.float32)
    return [as_float32(a) for a in value] if isinstance(value, list) else value


SINGLE = {  # functions that come in float32 as well, and which of their arguments are in it
    "moments": {"views"},
    "solve_data": {"X", "y"},
    "correlation_loss": {"H1", "H2"},
    "correlation_factor": {"H1", "H2"},
    "correlation_gradients": {"H1", "H2"},
    "hinge_loss": {"Z", "U", "costs"},
    "warp_epoch": {"X", "W", "V"},
    "kernel_matrix": {"X", "Y"},
    "kernel_scores": {"X", "landmarks"},
    "top_k": {"gallery", "queries"},
}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        pytest.param(name, changed, id=f"{name}-{i}")
        for name, (_, wrong) in CALLS.items()
        for i, changed in enumerate(wrong)
    ],
)
def test_sizes_that_do_not_fit_are_refused(name, changed):
    arguments = CALLS[name][0] | changed
    with pytest.raises(ValueError):
        getattr(_core, name)(**arguments)
    if name in SINGLE:
        single = {k: as_float32(v) if k in SINGLE[name] else v for k, v in arguments.items()}
        with pytest.raises(ValueError):
            getattr(_core, name)(**single)


@pytest.mark.parametrize(
    "changed",
    [
        {"X": X[:0]},
        {"X": X[:, :0]},
        {"X": X[0]},
        {"rank": 0},
        {"rank": -1},
        {"block": -1},
        {"weights": np.ones(N - 1)},
        {"kernel": ("polynomial", 1.0, -1, 1.0)},
        {"pivoting": "none"},
    ],
)
def test_a_factorisation_refuses_sizes(changed):
    with pytest.raises(ValueError):
        cholesky(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": lambda pivots: np.ones((len(pivots), N - 1))},
        {"columns": lambda pivots: np.ones((len(pivots) + 1, N))},
        {"columns": lambda pivots: np.ones(N)},
        {"square": lambda rows: np.ones((len(rows), len(rows) + 1))},
        {"square": lambda rows: np.ones((1, 1))[:, :0]},
        {"diagonal": np.ones(0)},
        {"diagonal": np.ones((N, 1))},
    ],
)
def test_a_kernel_that_returns_other_sizes_is_refused(changed):
    assert called_cholesky().rank == 4
    with pytest.raises(ValueError):
        called_cholesky(**changed)


def test_a_factorisation_that_has_ended_goes_no_further():
    factor = cholesky()
    assert factor.take_features().shape == (4, N)
    for go_on in (lambda: factor.step(1), factor.take_features):
        with pytest.raises(ValueError, match="has ended"):
            go_on()

    def wrong(pivots):
        raise KeyError("of the kernel's own")

    broken = _core.PivotedCholesky64(
        np.ones(N), wrong, lambda rows: np.eye(len(rows)), 4, 0.0, "greedy", 2, 0, None, "X"
    )
    with pytest.raises(KeyError, match="of the kernel's own"):
        broken.step(1)
    with pytest.raises(ValueError, match="has ended"):
        broken.step(1)


@pytest.mark.parametrize(
    "changed",
    [
        {"x": (Y, X, None, None)},
        {"x": (X, Y, None, None)},
        {"x": (X[:-1], X, None, None)},
        {"x": (X, X[:-1], None, None)},
        {"y": (Y[:-1], Y[:-1], None, None)},
        {"x": (X, X, np.ones(N - 1), None)},
        {"x": (X, X, None, np.ones((N - 1, len(POINTS))))},
        {"x": (X, X, None, np.ones((N, len(POINTS) + 1)))},
        {"x": (X, X, None, np.ones((N, len(POINTS)), order="F"))},
        {"weights": np.ones(N - 1)},
        {"names": ["X"]},
        {"names": []},
        {"x_map": (POINTS, F_OF_M[:-1], RBF, np.zeros(P), False)},
        {"x_map": (POINTS, F_OF_M, RBF, np.zeros(P + 1), False)},
        {"x_map": (POINTS[:0], F_OF_M[:0, :0], RBF, np.zeros(P), False)},
        {"y_map": (OTHERS, F_OF_M, RBF, np.zeros((Q, 1)), False)},
        {"x_map": (POINTS, F_OF_M[:-1], RBF, np.zeros(P), True)},
        {
            "x": (X, X, None, np.ones((N, len(POINTS)))),
            "x_map": (POINTS, F_OF_M, RBF, np.zeros(P), True),
        },
    ],
)
def test_feature_moments_refuse_sizes(changed):
    assert feature_moments()[0][0] == N
    with pytest.raises(ValueError):
        feature_moments(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": 0},
        {"columns": P},
        {"views": (X, Y[:-1])},
        {"views": (X[0], Y)},
        {"views": ()},
        {"names": ("X",)},
    ],
)
def test_a_stream_of_rows_refuses_sizes(changed):
    assert moments_stream()[0] == N
    with pytest.raises(ValueError):
        moments_stream(**changed)


def test_a_stream_of_rows_that_has_failed_goes_no_further():
    stream = _core.MomentsStream64(P)
    stream.add([X], ["X"], 1)
    with pytest.raises(ValueError, match="Input X contains NaN: the first is at row 0, column 0"):
        stream.add([np.full((2, P), np.nan)], ["X"], 1)
    for go_on in (lambda: stream.add([X], ["X"], 1), lambda: stream.finish(1)):
        with pytest.raises(ValueError, match="has ended by an error"):
            go_on()
