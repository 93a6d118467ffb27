"""The restricted Boltzmann machine against the enumeration of all its states."""

import itertools

import numpy as np
import pytest
from scipy.special import expit, logsumexp

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from fastcca.deep import RBM  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402

N_VISIBLE, N_HIDDEN = 6, 4
HIDDEN_STATES = np.array(list(itertools.product([0.0, 1.0], repeat=N_HIDDEN)))
VISIBLE_STATES = np.array(list(itertools.product([0.0, 1.0], repeat=N_VISIBLE)))


def machine(visible, sigma=1.0):
    torch.manual_seed(3)
    model = RBM(N_VISIBLE, N_HIDDEN, visible, sigma).double()
    with torch.no_grad():
        model.weight.copy_(0.6 * torch.randn(N_HIDDEN, N_VISIBLE))
        model.visible_bias.copy_(0.3 * torch.randn(N_VISIBLE))
        model.hidden_bias.copy_(0.3 * torch.randn(N_HIDDEN))
    arrays = (p.detach().numpy().copy() for p in (model.weight, model.visible_bias, model.hidden_bias))
    return model, *arrays


def energy(v, h, W, c, b, sigma, gaussian):
    """The definition, one state at a time."""
    linear = (c @ v + b @ h + h @ W @ v) / sigma**2
    return v @ v / (2 * sigma**2) * gaussian - linear


def test_free_energy_is_the_sum_over_hidden_states():
    rng = np.random.default_rng(0)
    for visible, sigma in (("gaussian", 0.7), ("bernoulli", 1.0)):
        model, W, c, b = machine(visible, sigma)
        V = rng.normal(size=(9, N_VISIBLE)) if visible == "gaussian" else VISIBLE_STATES[::7]
        expected = [
            -logsumexp([-energy(v, h, W, c, b, sigma, visible == "gaussian") for h in HIDDEN_STATES])
            for v in V
        ]
        np.testing.assert_allclose(model.free_energy(torch.from_numpy(V)).detach(), expected, rtol=1e-12)


def test_conditionals_follow_from_the_energy():
    model, W, c, b = machine("gaussian", 0.7)
    v = np.random.default_rng(1).normal(size=N_VISIBLE)
    weights = np.exp([-energy(v, h, W, c, b, 0.7, True) for h in HIDDEN_STATES])
    expected = weights @ HIDDEN_STATES / weights.sum()
    np.testing.assert_allclose(model(torch.from_numpy(v[None])).detach()[0], expected, rtol=1e-12)
    model, W, c, b = machine("bernoulli")
    h = HIDDEN_STATES[11]
    weights = np.exp([-energy(v, h, W, c, b, 1.0, False) for v in VISIBLE_STATES])
    expected = weights @ VISIBLE_STATES / weights.sum()
    np.testing.assert_allclose(model.reconstruct(torch.from_numpy(h[None])).detach()[0], expected, rtol=1e-12)


def enumerated(W, c, b, sigma, gaussian):
    """All hidden states (all visible ones too, for binary units) with their exact probabilities.

    Returns E[h v'], E[v] and E[h] of the model.
    """
    if gaussian:
        # p(h) ∝ exp((b'h + ‖c + W'h‖² / 2) / s²), and v given h has the mean c + W'h
        means = c + HIDDEN_STATES @ W
        log_p = (HIDDEN_STATES @ b + 0.5 * np.square(means).sum(1)) / sigma**2
        p = np.exp(log_p - logsumexp(log_p))
        return np.einsum("s,sj,si->ji", p, HIDDEN_STATES, means), p @ means, p @ HIDDEN_STATES
    states = [(v, h) for v in VISIBLE_STATES for h in HIDDEN_STATES]
    log_p = np.array([-energy(v, h, W, c, b, sigma, False) for v, h in states])
    p = np.exp(log_p - logsumexp(log_p))
    V, H = (np.array(part) for part in zip(*states, strict=True))
    return np.einsum("s,sj,si->ji", p, H, V), p @ V, p @ H


def exact_gradient(data, W, c, b, sigma, gaussian):
    """d(-mean log p(v)) of W, c and b: expectations under the model minus those under the data, over s²."""
    on = expit((data @ W.T + b) / sigma**2)
    hv, v, h = enumerated(W, c, b, sigma, gaussian)
    n = len(data)
    return (hv - on.T @ data / n) / sigma**2, (v - data.mean(0)) / sigma**2, (h - on.mean(0)) / sigma**2


def log_likelihood(data, W, c, b):
    """Of binary data, by the sum over all 2⁶ · 2⁴ states."""
    log_z = logsumexp([-energy(v, h, W, c, b, 1.0, False) for v in VISIBLE_STATES for h in HIDDEN_STATES])
    return np.mean(
        [logsumexp([-energy(v, h, W, c, b, 1.0, False) for h in HIDDEN_STATES]) - log_z for v in data]
    )


def test_the_exact_gradient_is_the_slope_of_the_log_likelihood():
    """The reference itself, by differences."""
    _, W, c, b = machine("bernoulli")
    data = VISIBLE_STATES[[3, 10, 33, 60]]
    for which, gradient in enumerate(exact_gradient(data, W, c, b, 1.0, False)):
        place = (1,) * gradient.ndim
        values = []
        for step in (1e-5, -1e-5):
            moved = [W.copy(), c.copy(), b.copy()]
            moved[which][place] += step
            values.append(-log_likelihood(data, *moved))
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(gradient[place], rel=1e-6)


def test_the_gradient_is_exact_on_the_models_own_distribution():
    """Binary units: all 64 states, weighted by their enumerated probabilities, stand for the model."""
    model, W, c, b = machine("bernoulli")
    data = VISIBLE_STATES[[3, 10, 33, 60]]
    log_p = logsumexp(
        [[-energy(v, h, W, c, b, 1.0, False) for h in HIDDEN_STATES] for v in VISIBLE_STATES], axis=1
    )
    p = torch.from_numpy(np.exp(log_p - logsumexp(log_p)))
    free = model.free_energy(torch.from_numpy(VISIBLE_STATES))
    (model.free_energy(torch.from_numpy(data)).mean() - (p * free).sum()).backward()
    found = (model.weight.grad, model.visible_bias.grad, model.hidden_bias.grad)
    for gradient, expected in zip(found, exact_gradient(data, W, c, b, 1.0, False), strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


@pytest.mark.parametrize(("visible", "sigma"), [("bernoulli", 1.0), ("gaussian", 0.8)])
def test_long_chains_reach_the_log_likelihood_gradient(visible, sigma):
    """What `fit` follows, but with 60 rounds of Gibbs sampling for 100,000 chains."""
    model, W, c, b = machine(visible, sigma)
    rng = np.random.default_rng(4)
    data = VISIBLE_STATES[[3, 10, 33, 60]] if visible == "bernoulli" else rng.normal(size=(4, N_VISIBLE))
    v = torch.from_numpy(data)
    model.contrast(v, model.gibbs(v.repeat(25_000, 1), steps=60)).backward()
    found = (model.weight.grad, model.visible_bias.grad, model.hidden_bias.grad)
    exact = exact_gradient(data, W, c, b, sigma, visible == "gaussian")
    for gradient, expected in zip(found, exact, strict=True):
        # five standard errors of a mean of 100,000 draws of standard deviation around 1.5
        np.testing.assert_allclose(gradient, expected, atol=5 * 1.5 / np.sqrt(1e5))
        assert np.abs(expected).max() > 0.1


def test_training_raises_the_exact_log_likelihood():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    # three pairs of equal units
    data = np.repeat(rng.integers(0, 2, size=(400, 3)), 2, axis=1).astype(float)
    model = RBM(N_VISIBLE, N_HIDDEN, "bernoulli", sparsity_cost=0.0).double()
    arrays = [p.detach().numpy() for p in (model.weight, model.visible_bias, model.hidden_bias)]
    states = data[:20]
    before = log_likelihood(states, *arrays)
    errors = []
    model.fit(data, n_epochs=150, learning_rate=0.1, callback=lambda epoch, error: errors.append(error))
    assert before == pytest.approx(-6 * np.log(2), abs=0.01)
    assert log_likelihood(states, *arrays) > -3 * np.log(2) - 0.8
    assert errors[-1] < 0.3 * errors[0]


def test_gaussian_units_learn_clusters_and_sparsity_is_reached():
    torch.manual_seed(0)
    centres = 2 * torch.randn(3, 20)
    which = torch.arange(600) % 3
    X = centres[which] + 0.3 * torch.randn(600, 20)
    X = (X - X.mean(0)) / X.std()
    model = RBM(20, 12, sparsity=0.3, sparsity_cost=0.0).fit(X, n_epochs=60)
    error = (model.reconstruct(model(X)) - X).square().mean() / X.square().mean()
    assert error < 0.1
    dense = model(X).mean().item()
    sparse = RBM(20, 12, sparsity=0.05, sparsity_cost=20.0).fit(X, n_epochs=60)
    assert abs(sparse(X).mean().item() - 0.05) < 0.5 * abs(dense - 0.05)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="visible must be 'gaussian' or 'bernoulli', got 'poisson'"):
        RBM(3, 2, "poisson")
    for sizes in ((0, 2), (2.5, 2), ("3", 2)):
        with pytest.raises(ValueError, match=f"n_visible must be an integer >= 1, got {sizes[0]!r}"):
            RBM(*sizes)
    with pytest.raises(ValueError, match="n_hidden must be an integer >= 1, got -1"):
        RBM(2, -1)
    for options, message in (
        ({"sigma": 0.0}, "sigma must be a finite number > 0, got 0.0"),
        ({"sigma": "x"}, "sigma must be a finite number > 0, got 'x'"),
        ({"sparsity": 1.0}, "sparsity must be a finite number > 0 and < 1, got 1.0"),
        ({"sparsity_cost": -1.0}, "sparsity_cost must be a finite number >= 0"),
        ({"weight_decay": float("nan")}, "weight_decay must be a finite number >= 0, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            RBM(3, 2, **options)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 3\), got \(5, 2\)"):
        RBM(3, 2).fit(np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"X must be in \[0, 1\]"):
        RBM(3, 2, "bernoulli").fit(np.full((5, 3), 1.5))
    with pytest.raises(NumericalError, match="not finite after epoch"):
        RBM(3, 2).fit(np.full((5, 3), 1e20), n_epochs=5)
    for options in ({"n_epochs": 0}, {"n_epochs": 1.5}, {"batch_size": 0}, {"steps": 0}):
        (name,) = options
        with pytest.raises(ValueError, match=f"{name} must be an integer >= 1"):
            RBM(3, 2).fit(np.zeros((5, 3)), **options)
    for options in ({"learning_rate": 0.0}, {"learning_rate": "x"}):
        with pytest.raises(ValueError, match="learning_rate must be a finite number > 0"):
            RBM(3, 2).fit(np.zeros((5, 3)), **options)
    with pytest.raises(ValueError, match="momentum must be a finite number >= 0 and < 1, got 1"):
        RBM(3, 2).fit(np.zeros((5, 3)), momentum=1)
    for bad in (np.zeros((0, 3)), np.full((5, 3), np.nan), np.full((5, 3), np.inf), np.full((5, 3), 1e300)):
        with pytest.raises(
            ValueError, match=r"X has no rows|X contains NaN, infinity or numbers beyond float32"
        ):
            RBM(3, 2).fit(bad)
