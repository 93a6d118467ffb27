"""Power from Wishart matrices, and the stability of components in halves of the data."""

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import ks_2samp, kstest
from sklearn.decomposition import PCA

from fastcca import CCA, CCACV, PLSSVD, KernelCCA, TwoViewPipeline
from fastcca.datasets import make_two_views
from fastcca.inference import power, sample_size, stability, wilks_test


def sample(rng, rho, n, p, q):
    X, Y = rng.standard_normal((n, p)), rng.standard_normal((n, q))
    for i, r in enumerate(rho):
        Y[:, i] = r * X[:, i] + np.sqrt(1 - r * r) * Y[:, i]
    return X, Y


@pytest.mark.parametrize(("p", "q"), [(5, 3), (3, 5)])
def test_simulated_fits_are_those_of_data(p, q):
    rho, n, count = [0.7, 0.4], 40, 400
    found = power(rho, n, p, q, n_simulations=count, random_state=0)
    correlations, held_out, similar, significant = [], [], [], []
    for seed in range(count):
        X, Y = sample(np.random.default_rng(seed), rho, n, p, q)
        cca = CCA().fit(X, Y)
        correlations.append(cca.canonical_correlations_[:2])
        x = cca.x_weights_[:, :2] / np.linalg.norm(cca.x_weights_[:, :2], axis=0)
        y = cca.y_weights_[:, :2] / np.linalg.norm(cca.y_weights_[:, :2], axis=0)
        held_out.append((x[:2] * np.array(rho)[:, None] * y[:2]).sum(axis=0))
        similar.append([np.abs(x[[0, 1], [0, 1]]), np.abs(y[[0, 1], [0, 1]])])
        significant.append(np.logical_and.accumulate(wilks_test(cca).p_value[:2] <= 0.05))
    similar = np.array(similar)
    for mine, theirs in (
        (found.correlations, np.array(correlations)),
        (found.held_out, np.array(held_out)),
        (found.x_similarity, similar[:, 0]),
        (found.y_similarity, similar[:, 1]),
    ):
        for j in range(2):  # one distribution
            assert ks_2samp(mine[:, j], theirs[:, j]).pvalue > 1e-3
    # a binomial difference of two samples
    assert np.all(np.abs(found.power - np.mean(significant, axis=0)) < 4 * np.sqrt(0.5 / count))


def test_one_column_is_a_regression():
    # with q = 1 the squared correlation is an R²; without a correlation F is exact
    n, p = 30, 4
    found = power([1e-9], n, p, 1, n_simulations=2000, random_state=0)
    square = found.correlations[:, 0] ** 2
    f = square / (1 - square) * (n - 1 - p) / p
    assert kstest(f, f_distribution(p, n - 1 - p).cdf).pvalue > 1e-3
    assert found.power[0] == pytest.approx(0.05, abs=0.02)


def test_roys_root_has_its_level():
    for test in ("wilks", "roy"):
        found = power([1e-9], 40, 5, 4, test=test, n_simulations=4000, random_state=1)
        assert found.power[0] == pytest.approx(0.05, abs=0.015)
    # one strong pair: the largest root has more power than the product of all
    options = {"n_simulations": 4000, "random_state": 2}
    roy = power([0.5], 60, 10, 8, test="roy", **options).power[0]
    assert roy > power([0.5], 60, 10, 8, test="wilks", **options).power[0]


def test_confounds_cost_as_many_rows():
    one = power([0.4], 60, 4, 3, n_confounds=10, random_state=0)
    other = power([0.4], 50, 4, 3, random_state=0)
    assert one.power.tolist() == other.power.tolist()


def test_narrow_integers_do_not_overflow():
    narrow = {"n_confounds": np.int8(2), "n_simulations": np.int8(20), "random_state": 0}
    wide = {"n_confounds": 2, "n_simulations": 20, "random_state": 0}
    least = [sample_size(0.2, np.int8(4), np.int8(3), power=0.8, **options) for options in (narrow, wide)]
    assert least[0] == least[1] > 127
    found = [power(0.2, 300, np.int8(4), 3, **options).power for options in (narrow, wide)]
    np.testing.assert_array_equal(*found)


def test_sample_size_is_the_least(rng):
    options = {"n_simulations": 500, "random_state": 0}
    n = sample_size([0.5], 5, 4, **options)
    assert power([0.5], n, 5, 4, **options).power[0] >= 0.9
    assert power([0.5], n - 1, 5, 4, **options).power[0] < 0.9
    assert sample_size([0.5], 5, 4, n_confounds=7, **options) == n + 7
    alike = sample_size([0.5], 5, 4, power=None, similarity=0.9, **options)
    found = power([0.5], alike, 5, 4, **options)
    assert min(found.x_similarity.mean(), found.y_similarity.mean()) >= 0.9
    error = sample_size([0.5], 5, 4, power=None, correlation_error=0.1, **options)
    found = power([0.5], error, 5, 4, **options)
    assert np.abs(found.correlations / 0.5 - 1).mean() <= 0.1
    assert sample_size([0.5], 5, 4, similarity=0.9, correlation_error=0.1, **options) == max(n, alike, error)
    assert sample_size([0.99], 2, 2, **options) <= 7
    second = sample_size([0.8, 0.4], 5, 4, component=1, **options)
    assert second > sample_size([0.8, 0.4], 5, 4, component=0, **options)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: power([0.5], 9, 5, 4), "n_samples must be"),
        (lambda: power([0.5], 20, 5, 4, n_confounds=11), "n_samples must be"),
        (lambda: power([1.0], 50, 5, 4), "between 0 and 1"),
        (lambda: power([0.4, 0.5], 50, 5, 4), "descending order"),
        (lambda: power([0.5] * 5, 50, 5, 4), r"1 to min\(p, q\) = 4"),
        (lambda: power([0.5], 50, 0, 4), "n_features_x"),
        (lambda: power([0.5], 50, 5, 4, test="pillai"), "test must be one of"),
        (lambda: power([0.5], 50, 5, 4, alpha=0), "alpha must be a number between 0 and 1"),
        (lambda: power([0.5], 50, 5, 4, n_simulations=0), "n_simulations"),
        (lambda: sample_size([0.5], 5, 4, n_simulations=2**70), "n_simulations"),
        (lambda: sample_size([0.5], 5, 4, n_confounds=2**70), "more than 1000000000"),
        (lambda: sample_size([0.5], 5, 4, power=None), "give power, similarity or correlation_error"),
        (lambda: sample_size([0.5], 5, 4, power=1.0), "power must be a number between 0 and 1"),
        (lambda: sample_size([0.5], 5, 4, component=1), "component must be below 1"),
        (lambda: sample_size([0.5], 5, 4, random_state="a"), "random_state must be an integer or None"),
    ],
)
def test_bad_calls(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_halves_find_what_is_there():
    views = make_two_views(600, (6, 5), [0.9, 0.6], random_state=0)
    for model in (CCA(3), KernelCCA(3, kernel="linear", reg=0.01)):
        found = stability(model, views.X, views.y, n_resamples=5, random_state=0)
        for similarity in (found.x_similarity, found.y_similarity):
            assert similarity.shape == (5, 3)
            assert np.all(similarity[:, :2].mean(axis=0) > [0.95, 0.85])
            assert similarity[:, 2].mean() < 0.8
        np.testing.assert_allclose(found.held_out.mean(axis=0)[:2], [0.9, 0.6], atol=0.06)
        assert abs(found.held_out[:, 2].mean()) < 0.1
        assert found.same_place[0] == 1


def test_a_half_by_hand(rng):
    X = rng.standard_normal((40, 3))
    Y = X[:, :2] + rng.standard_normal((40, 2))
    found = stability(CCA(), X, Y, n_resamples=1, random_state=3)
    chosen = np.random.RandomState(3).permutation(40)[:20]
    first = np.isin(np.arange(40), chosen)
    whole = CCA().fit(X, Y)
    halves = [CCA().fit(X[rows], Y[rows]) for rows in (first, ~first)]
    for j in range(2):
        variates = []
        for half in halves:
            zx, zy = half.transform_views(X, Y)
            wx, wy = whole.transform_views(X, Y)
            near = [
                abs(np.corrcoef(wx[:, j], zx[:, i])[0, 1]) + abs(np.corrcoef(wy[:, j], zy[:, i])[0, 1])
                for i in range(2)
            ]
            best = int(np.argmax(near))
            variates.append((zx[:, best], zy[:, best]))
        expected = abs(np.corrcoef(variates[0][0], variates[1][0])[0, 1])
        assert found.x_similarity[0, j] == pytest.approx(expected, abs=1e-10)
        held_out = [
            np.corrcoef(variates[i][0][rows], variates[i][1][rows])[0, 1]
            for i, rows in ((0, ~first), (1, first))
        ]
        assert found.held_out[0, j] == pytest.approx(np.mean(held_out), abs=1e-10)


def test_the_number_of_threads_changes_nothing(rng):
    views = make_two_views(80, (6, 5), [0.8, 0.5], random_state=0)
    X, Y = views.X.astype(np.float32), views.y
    pipeline = TwoViewPipeline(x=[PCA(4, random_state=0)], y=[], model=CCACV(2, regs=[0.1, 1.0], cv=3))
    for model in (CCA(2), KernelCCA(2, reg=0.1, n_threads=3), PLSSVD(2), pipeline):
        one, two, usual = (
            stability(model, X, Y, n_resamples=3, random_state=0, n_threads=n) for n in (1, 2, None)
        )
        for name in ("x_similarity", "y_similarity", "held_out", "same_place"):
            for other in (two, usual):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    with pytest.raises(ValueError, match="n_threads must be"):
        stability(CCA(2), X, Y, n_threads=0)


def test_warnings_and_errors_of_halves_reach_the_caller(rng, capsys):
    class Failing(CCA):
        def transform_views(self, X, y):
            calls.append(0)
            if len(calls) > 5:
                raise KeyboardInterrupt
            return super().transform_views(X, y)

    calls = []
    X, Y = rng.standard_normal((30, 6)), rng.standard_normal((30, 5))
    with pytest.raises(KeyboardInterrupt):
        stability(Failing(2), X, Y, n_resamples=50, n_threads=2)
    assert len(calls) <= 12  # and no other split is begun
    X[:, 1] = X[:, 0]
    with pytest.warns(UserWarning, match="n_components=2 is reduced to 1") as caught:
        stability(CCA(2), X[:, :2], Y, n_resamples=8, n_threads=2, random_state=0, verbose=True)
    assert {one.filename for one in caught} == {__file__}
    assert 2 <= len(caught) <= 3  # of all rows, of the halves
    assert "halves: 100%" in capsys.readouterr().err


def test_blocks_stay_together(rng):
    # copies of rows in both halves would make held-out rows known ones
    X, Y = rng.standard_normal((20, 6)), rng.standard_normal((20, 5))
    X, Y, blocks = (np.repeat(a, 3, axis=0) for a in (X, Y, np.arange(20)))
    apart = stability(CCA(1, reg=0.1), X, Y, n_resamples=30, random_state=0).held_out
    together = stability(CCA(1, reg=0.1), X, Y, n_resamples=30, blocks=blocks, random_state=0).held_out
    assert apart.mean() > 0.4
    assert together.mean() < 0.3
    for wrong, match in ((blocks[:-1], "same number of rows|shape"), (np.zeros(60), "at least two labels")):
        with pytest.raises(ValueError, match=match):
            stability(CCA(1), X, Y, blocks=wrong)
    with pytest.raises(TypeError, match="a model of two views, got object"):
        stability(object(), X, Y)
    with pytest.raises(ValueError, match="n_resamples"):
        stability(PLSSVD(1), X, Y, n_resamples=0)
