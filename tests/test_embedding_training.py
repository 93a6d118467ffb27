"""The training loop: steps by the formula, minima, batches, the schedule, divergence."""

import numpy as np
import pytest

from fastcca import NumericalError
from fastcca.embedding._training import Adam, Schedule, batch_rows, minimise


def test_adam_steps_equal_the_formula(rng):
    start = {"a": rng.normal(size=(3, 2)), "b": np.zeros(2)}
    gradients = [{"a": rng.normal(size=(3, 2)), "b": rng.normal(size=2)} for _ in range(4)]
    parameters = {name: value.copy() for name, value in start.items()}
    adam = Adam(parameters, betas=(0.8, 0.95))
    unit = np.sqrt((start["a"] ** 2).mean())
    expected = {name: value.copy() for name, value in start.items()}
    m = dict.fromkeys(start, 0.0)
    v = dict.fromkeys(start, 0.0)
    for t, g in enumerate(gradients, start=1):
        adam.step(parameters, g, rate=0.1)
        for name in start:
            m[name] = 0.8 * m[name] + 0.2 * g[name]
            v[name] = 0.95 * v[name] + 0.05 * g[name] ** 2
            m_hat, v_hat = m[name] / (1 - 0.8**t), v[name] / (1 - 0.95**t)
            # an array of zeros moves in the units of the others
            expected[name] = expected[name] - 0.1 * unit * m_hat / np.sqrt(v_hat)
            np.testing.assert_allclose(parameters[name], expected[name], rtol=1e-6)


def quadratic(target, curvature):
    def objective(parameters, rows):
        chosen = slice(None) if rows is None else rows
        difference = parameters["x"] - target[chosen]
        return float((curvature * difference**2).sum() / len(difference)), {
            "x": 2 * curvature * difference.mean(axis=0)
        }

    return objective


@pytest.mark.parametrize("batch_size", [None, 7])
def test_the_minimum_of_a_quadratic(rng, batch_size):
    target = 3.0 + 0.1 * rng.normal(size=(40, 3))
    curvature = np.array([1.0, 10.0, 100.0])
    minimum = minimise(
        quadratic(target, curvature),
        {"x": np.ones(3)},
        n_rows=40,
        schedule=Schedule(300, 0.1, batch_size),
        rng=np.random.default_rng(0),
    )
    np.testing.assert_allclose(
        minimum.parameters["x"], target.mean(axis=0), atol=1e-6 if batch_size is None else 0.02
    )
    assert minimum.loss_curve.shape == (300,)
    assert minimum.loss_curve[-1] < 0.01 * minimum.loss_curve[0]


def test_scale_of_the_parameters_cancels(rng):
    target = rng.normal(size=(10, 3))
    paths = []
    for scale in (1.0, 1e4):
        paths.append(
            minimise(
                quadratic(scale * target, 1.0),
                {"x": scale * np.ones(3)},
                n_rows=10,
                schedule=Schedule(20, 0.1, None),
                rng=rng,
            ).parameters["x"]
            / scale
        )
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-9)


def test_parameters_without_a_gradient_stay():
    def objective(parameters, rows):
        return float(((parameters["x"] - 1.0) ** 2).sum()), {"x": 2.0 * (parameters["x"] - 1.0)}

    start = {"x": np.array([0.6, 0.1]), "held": np.array([5.0])}
    minimum = minimise(objective, start, 1, Schedule(200, 0.1, None), np.random.default_rng(0))
    np.testing.assert_allclose(minimum.parameters["x"], 1.0, atol=1e-2)
    assert minimum.parameters["held"] == 5.0
    assert start["x"].tolist() == [0.6, 0.1]  # copied


def test_the_rate_falls_along_half_a_cosine():
    schedule = Schedule(3, 0.2, 4)
    assert schedule.n_steps(10) == 9  # three batches an epoch
    assert schedule.rate(0, 8) == 0.2
    assert schedule.rate(4, 8) == pytest.approx(0.1)
    assert schedule.rate(8, 8) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(10, 10, None), (10, None, None), (10, 4, [4, 3, 3]), (5, 1, [1] * 5)]
)
def test_batches_hold_every_row_once(n, size, sizes):
    batches = batch_rows(n, size, np.random.default_rng(0))
    if sizes is None:
        assert batches == [None]
    else:
        assert [len(rows) for rows in batches] == sizes
        assert sorted(np.concatenate(batches)) == list(range(n))


def test_divergence_is_said():
    def objective(parameters, rows):
        return np.inf, {"x": np.ones(1)}

    with pytest.raises(NumericalError, match="the objective became inf in epoch 1: a smaller learning_rate"):
        minimise(
            objective,
            {"x": np.ones(1)},
            n_rows=1,
            schedule=Schedule(2, 0.1, None),
            rng=np.random.default_rng(0),
        )
