"""Probabilistic CCA against SciPy's normal density, conditional formulas and the likelihood's own optimum."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.model_selection import KFold

import fastcca
from fastcca import CCA, Moments, NumericalError, ProbabilisticCCA

pytestmark = pytest.mark.core


@pytest.fixture
def data(rng):
    z = rng.normal(size=(300, 2))
    X = z @ rng.normal(size=(2, 4)) + rng.normal(size=(300, 4)) + 2.0
    return X, z @ rng.normal(size=(2, 3)) + rng.normal(size=(300, 3)) - 1.0


def joint(model):
    W = np.vstack([model.x_factors_, model.y_factors_])
    S = W @ W.T
    p = len(model.x_factors_)
    S[:p, :p] += model.x_noise_
    S[p:, p:] += model.y_noise_
    return np.concatenate([model.x_mean_, model.y_mean_]), S, W


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("reg", [0.0, (0.3, 0.1)])
def test_likelihood_and_posterior_are_those_of_the_gaussian(data, k, reg):
    X, Y = data
    model = ProbabilisticCCA(k, reg).fit(X, Y)
    mean, S, W = joint(model)
    both = np.hstack([X, Y])
    expected = multivariate_normal(mean, S).logpdf(both)
    np.testing.assert_allclose(model.log_density(X, Y), expected, atol=1e-9)
    assert model.log_likelihood(X, Y) == pytest.approx(expected.mean(), abs=1e-10)
    for given, part in (((X, Y), slice(0, 7)), ((X, None), slice(0, 4)), ((None, Y), slice(4, 7))):
        gain = np.linalg.solve(S[part, part], W[part]).T
        z, covariance = model.posterior(*given)
        np.testing.assert_allclose(z, (both[:, part] - mean[part]) @ gain.T, atol=1e-9)
        np.testing.assert_allclose(covariance, np.eye(k) - gain @ W[part], atol=1e-10)
    # Bach and Jordan: E[z | x] = P^1/2 A'(x − mu), in the units of CCA with the same ridge
    cca = CCA(k, reg=reg).fit(X, Y)
    z, _ = model.posterior(X)
    np.testing.assert_allclose(z, cca.transform(X) * np.sqrt(cca.singular_values_), atol=1e-9)
    np.testing.assert_allclose(model.transform(X), cca.transform(X), atol=1e-10)


def test_the_covariance_is_the_sample_s_and_its_best_approximation(data):
    X, Y = data
    S = np.cov(np.hstack([X, Y]).T)
    full = joint(ProbabilisticCCA().fit(X, Y))[1]
    np.testing.assert_allclose(full, S, atol=1e-10)
    one = joint(ProbabilisticCCA(1).fit(X, Y))[1]
    np.testing.assert_allclose(one[:4, :4], S[:4, :4], atol=1e-10)
    np.testing.assert_allclose(one[4:, 4:], S[4:, 4:], atol=1e-10)


def test_it_is_the_maximum_of_the_likelihood(data, rng):
    X, Y = data
    n = len(X)
    model = ProbabilisticCCA(1).fit(X, Y)
    mean, S, _ = joint(model)
    scale = (n - 1) / n  # the maximum divides by n
    S *= scale
    both = np.hstack([X, Y])

    def value(W1, W2, P1, P2):
        C = np.block([[W1 @ W1.T + P1, W1 @ W2.T], [W2 @ W1.T, W2 @ W2.T + P2]])
        return multivariate_normal(mean, C).logpdf(both).sum()

    parts = [
        np.sqrt(scale) * model.x_factors_,
        np.sqrt(scale) * model.y_factors_,
        scale * model.x_noise_,
        scale * model.y_noise_,
    ]
    best = value(*parts)
    for _ in range(50):
        moved = [part + 1e-3 * rng.normal(size=part.shape) for part in parts]
        moved[2], moved[3] = (moved[2] + moved[2].T) / 2, (moved[3] + moved[3].T) / 2
        assert value(*moved) < best


def test_samples_have_its_covariance(data):
    model = ProbabilisticCCA(1).fit(*data)
    mean, S, _ = joint(model)
    X, Y = model.sample(200_000, random_state=0)
    both = np.hstack([X, Y])
    np.testing.assert_allclose(both.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(both.T), S, atol=0.15)
    np.testing.assert_array_equal(model.sample(3, random_state=1)[0], model.sample(3, random_state=1)[0])


def test_the_number_of_components_by_held_out_likelihood(data, rng):
    X, Y = data
    model = ProbabilisticCCA(max_components=3, cv=4).fit(X, Y)
    sums = np.zeros(3)
    for train, test in KFold(4).split(X):
        for k in range(1, 4):
            sums[k - 1] += ProbabilisticCCA(k).fit(X[train], Y[train]).log_density(X[test], Y[test]).sum()
    np.testing.assert_allclose(model.held_out_, sums / len(X), atol=1e-9)
    assert model.n_components_ == int(np.argmax(sums)) + 1 == 2
    assert model.n_components is None


def test_streams_weights_and_files(data, rng, tmp_path):
    X, Y = data
    whole = ProbabilisticCCA(2).fit(X, Y)
    moments = Moments().update(X[:100], Y[:100]) + Moments().update(X[100:], Y[100:])
    merged = ProbabilisticCCA(2).fit_moments(moments)
    np.testing.assert_allclose(merged.x_noise_, whole.x_noise_, atol=1e-11)
    w = rng.integers(0, 3, 300)
    rows = np.repeat(np.arange(300), w)
    np.testing.assert_allclose(
        ProbabilisticCCA(2).fit(X, Y, sample_weight=w).log_density(X, Y),
        ProbabilisticCCA(2).fit(X[rows], Y[rows]).log_density(X, Y),
        atol=1e-9,
    )
    whole.save(tmp_path / "m.safetensors")
    loaded = fastcca.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.posterior(X, Y)[0], whole.posterior(X, Y)[0])
    for n_threads in (1, 2, 7):
        again = ProbabilisticCCA(2, n_threads=n_threads).fit(X, Y)
        np.testing.assert_array_equal(again.x_factors_, whole.x_factors_)


def test_bad_input(data):
    X, Y = data
    with pytest.raises(NumericalError, match="the covariance of X is singular: it has no density"):
        ProbabilisticCCA(1).fit(np.column_stack([X, X[:, 0]]), Y)
    ProbabilisticCCA(1, reg=0.1).fit(np.column_stack([X, X[:, 0]]), Y)
    with pytest.raises(ValueError, match="give n_components or max_components, not both"):
        ProbabilisticCCA(1, max_components=2).fit(X, Y)
    with pytest.raises(ValueError, match="max_components takes the rows"):
        ProbabilisticCCA(max_components=2).fit_moments(Moments().update(X, Y))
    model = ProbabilisticCCA(1).fit(X, Y)
    with pytest.raises(ValueError, match="got neither"):
        model.posterior()
    with pytest.raises(ValueError, match="NaN"):
        model.log_density(np.full((2, 4), np.nan), Y[:2])
