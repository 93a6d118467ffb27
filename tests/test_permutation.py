"""Permutation tests: confounds, statistics, what is exchanged, threads."""

import time

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.model_selection import KFold

from fastcca import CCA, CCACV, PLSSVD, KernelCCA
from fastcca.datasets import make_two_views
from fastcca.inference import permutation_test
from fastcca.inference._exchange import Orders
from fastcca.inference._nuisance import confound_basis, huh_jhun, theil
from fastcca.inference._parallel import in_threads
from fastcca.metrics import column_correlations


def residual_former(Z):
    design = np.column_stack([np.ones(len(Z)), Z])
    return np.eye(len(Z)) - design @ np.linalg.pinv(design)


def rotation(method, Z):
    """Q' of a method, (n - 1 - c, n), from its effect on the unit vectors, and the rows kept."""
    basis = confound_basis(Z, len(Z))
    reduced, kept = (huh_jhun(basis), None) if method == "huh-jhun" else theil(basis)
    return reduced(np.eye(len(Z))), kept


@pytest.mark.parametrize("method", ["huh-jhun", "theil"])
def test_rows_without_confounds_are_uncorrelated(method, rng):
    Z = np.column_stack([rng.standard_normal((30, 4)), rng.integers(0, 2, 30)])
    Q, kept = rotation(method, Z)
    assert Q.shape == (30 - 6, 30)
    R = residual_former(Z)
    np.testing.assert_allclose(Q @ Q.T, np.eye(24), atol=1e-12)
    np.testing.assert_allclose(Q.T @ Q, R, atol=1e-12)
    if method == "theil":  # (S R S')^(-1/2) S R, by eigenvalues
        values, vectors = np.linalg.eigh(R[np.ix_(kept, kept)])
        np.testing.assert_allclose(Q, (vectors / np.sqrt(values)) @ vectors.T @ R[kept], atol=1e-9)


def largest_given(x, y, aside, wilks=False):
    """Canonical correlations of x and the residual of y given what is set aside; no mean is taken out."""
    left = y - aside @ np.linalg.lstsq(aside, y, rcond=None)[0] if aside.shape[1] else y
    basis = np.linalg.svd(left, full_matrices=False)[0]
    values = np.linalg.svd(x.T @ basis, compute_uv=False)
    return np.prod(1 - values**2) if wilks else values[0]


@pytest.mark.parametrize("method", ["huh-jhun", "theil", "freedman-lane"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4)])
def test_each_statistic_is_cca_of_exchanged_rows(method, shape, rng):
    n, (p, q) = 40, shape
    Z = rng.standard_normal((n, 3))
    X = rng.standard_normal((n, p)) + Z[:, :1]
    Y = rng.standard_normal((n, q)) + X[:, :1] - Z[:, 1:2]
    options = {"confounds": Z, "residuals": method, "n_permutations": 6, "random_state": 5}
    Q = residual_former(Z) if method == "freedman-lane" else rotation(method, Z)[0]
    ux, uy = (np.linalg.svd(Q @ a, full_matrices=False)[0][:, :d] for a, d in ((X, p), (Y, q)))
    U, values, Vt = np.linalg.svd(ux.T @ uy)
    zx, zy = ux @ U, uy @ Vt.T
    for statistic in ("correlation", "roy", "wilks"):
        test = permutation_test(CCA(), X, Y, statistic=statistic, **options)
        expected = {
            "correlation": values,
            "roy": values**2 / (1 - values**2),
            "wilks": np.cumprod((1 - values**2)[::-1])[::-1],
        }[statistic]
        np.testing.assert_allclose(test.statistic, expected, rtol=1e-9)
        shuffles = np.random.RandomState(5)
        reached = np.ones(3)
        for permuted in test.permuted:
            order = shuffles.permutation(len(Q))
            nuisance = residual_former(Z)
            nuisance = (
                np.linalg.svd(np.eye(n) - nuisance)[0][:, 1:4] if method == "freedman-lane" else zx[:, :0]
            )
            if method == "freedman-lane":  # the constant is no confound of centred scores
                centred = Z - Z.mean(axis=0)
                nuisance = np.linalg.svd(centred, full_matrices=False)[0]
            still, moved = (zx, zy[order]) if p >= q else (zy, zx[np.argsort(order)])
            for j in range(3):
                aside = np.hstack([nuisance, still[:, :j]])
                found = largest_given(still[:, j:], moved[:, j:], aside, wilks=statistic == "wilks")
                if statistic == "roy":
                    found = found**2 / (1 - found**2)
                assert permuted[j] == pytest.approx(found, rel=1e-8)
                extreme = found <= expected[j] if statistic == "wilks" else found >= expected[j]
                reached[j] += extreme
        np.testing.assert_allclose(test.p_value, np.maximum.accumulate(reached / 7))


def test_statistics_where_shuffles_correlate_perfectly(rng):
    # with p + q = n - 1 every shuffle has correlations at or near 1, where 1 / (1 - ρ²) is of no use
    X, Y = rng.standard_normal((12, 6)), rng.standard_normal((12, 5))
    for statistic in ("correlation", "wilks"):
        test = permutation_test(CCA(), X, Y, statistic=statistic, n_permutations=5, random_state=0)
        shuffles = np.random.RandomState(0)
        for permuted in test.permuted:
            rows = Y[shuffles.permutation(12)]
            ux, uy = (np.linalg.svd(a - a.mean(axis=0), full_matrices=False)[0] for a in (X, rows))
            values = np.minimum(np.linalg.svd(ux.T @ uy, compute_uv=False), 1)
            expected = np.prod(1 - values**2) if statistic == "wilks" else values[0]
            assert permuted[0] == pytest.approx(expected, abs=1e-8)


def test_many_columns_take_one_eigenvalue_at_a_time(rng):
    X, Y = rng.standard_normal((400, 90)), rng.standard_normal((400, 70))
    test = permutation_test(CCA(2), X, Y, n_permutations=2, random_state=0)
    shuffles = np.random.RandomState(0)
    for permuted in test.permuted:
        fitted = CCA(2).fit(X, Y[shuffles.permutation(400)])
        assert permuted[0] == pytest.approx(fitted.singular_values_[0], abs=1e-9)


@pytest.mark.parametrize("statistic", ["correlation", "wilks"])
@pytest.mark.parametrize("c", [0, 3, 8, 15])
def test_level_with_confounds(c, statistic):
    count, hits = 200, 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        Z = rng.standard_normal((40, c))
        X, Y = (rng.standard_normal((40, d)) + Z @ rng.standard_normal((c, d)) for d in (4, 3))
        options = {"n_permutations": 19, "random_state": seed, "statistic": statistic}
        hits += permutation_test(CCA(1), X, Y, confounds=Z if c else None, **options).p_value[0] <= 0.05
    assert binom.ppf(0.001, count, 0.05) <= hits <= binom.ppf(0.999, count, 0.05)


@pytest.mark.parametrize("residuals", ["auto", "freedman-lane"])
def test_level_of_kernels_with_confounds(residuals):
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        Z = rng.standard_normal((40, 5))
        X, Y = (rng.standard_normal((40, 3)) + Z @ rng.standard_normal((5, 3)) for _ in range(2))
        test = permutation_test(
            KernelCCA(1), X, Y, confounds=Z, residuals=residuals, n_permutations=19, random_state=seed
        )
        p_values.append(test.p_value[0])
    assert np.sum(np.array(p_values) <= 0.05) <= binom.ppf(0.999, 60, 0.05)
    assert 0.35 < np.mean(p_values) < 0.7


@pytest.mark.parametrize("statistic", ["correlation", "roy", "wilks"])
@pytest.mark.parametrize(
    "model", [CCA(2), CCA(2, reg=0.3), KernelCCA(2, rank=8), KernelCCA(1, reg=0.1)], ids=str
)
def test_the_data_are_one_of_their_permutations(model, statistic, rng):
    Z = rng.standard_normal((21, 3))
    X, Y = (rng.standard_normal((21, 4)) + Z @ rng.standard_normal((3, 4)) for _ in range(2))
    test = permutation_test(
        model,
        X,
        Y,
        confounds=Z,
        statistic=statistic,
        permutations=np.arange(21)[None],
        residuals="freedman-lane",
    )
    np.testing.assert_allclose(test.permuted[0], test.statistic, rtol=1e-6)
    assert np.isfinite(test.statistic).all()


def repeated(rng, n_blocks, rows, d):
    """Columns that hardly vary within blocks."""
    return np.repeat(rng.standard_normal((n_blocks, d)), rows, axis=0) + 0.3 * rng.standard_normal(
        (n_blocks * rows, d)
    )


def test_level_of_whole_blocks():
    count, whole, plain = 100, 0, 0
    blocks = np.repeat(np.arange(16), 4)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        X, Y = repeated(rng, 16, 4, 3), repeated(rng, 16, 4, 2)
        options = {"n_permutations": 19, "random_state": seed}
        test = permutation_test(CCA(1), X, Y, blocks=blocks, exchange="whole", **options)
        whole += test.p_value[0] <= 0.05
        plain += permutation_test(CCA(1), X, Y, **options).p_value[0] <= 0.05
    assert binom.ppf(0.001, count, 0.05) <= whole <= binom.ppf(0.999, count, 0.05)
    assert plain > count / 2


def test_level_within_blocks_with_confounds():
    # means of blocks correlate, and confounds; what is left is unrelated
    count, within, plain = 100, np.zeros(3), 0
    blocks = np.repeat(np.arange(8), 6)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        shared = np.repeat(2 * rng.standard_normal((8, 1)), 6, axis=0)
        Z = rng.standard_normal((48, 4))
        X, Y = (shared + rng.standard_normal((48, d)) + Z @ rng.standard_normal((4, d)) for d in (3, 2))
        options = {"n_permutations": 19, "random_state": seed, "confounds": Z}
        for i, residuals in enumerate(("theil", "huh-jhun", "freedman-lane")):
            test = permutation_test(CCA(1), X, Y, blocks=blocks, residuals=residuals, **options)
            within[i] += test.p_value[0] <= 0.05
        plain += permutation_test(CCA(1), X, Y, **options).p_value[0] <= 0.05
    assert np.all(within <= binom.ppf(0.999, count, 0.05))
    assert plain > count / 2


def test_level_of_shifted_series():
    count, shifted, plain = 60, 0, 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        series = rng.standard_normal((300, 4))
        for t in range(1, 300):
            series[t] += 0.9 * series[t - 1]
        X, Y = series[100:, :2], series[100:, 2:]
        options = {"n_permutations": 39, "random_state": seed}
        shifted += permutation_test(CCA(1), X, Y, exchange="shift", **options).p_value[0] <= 0.05
        plain += permutation_test(CCA(1), X, Y, **options).p_value[0] <= 0.05
    assert shifted <= binom.ppf(0.999, count, 0.05)
    assert plain > count / 2


def drawn(n, count=20, seed=0, **options):
    return list(Orders(n, count, np.random.RandomState(seed), **options))


def test_what_is_exchanged():
    blocks = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4])
    for order in drawn(11, blocks=blocks):
        assert sorted(order) == list(range(11))
        assert (blocks[order] == blocks).all()
    moved = set()
    for order in drawn(11, blocks=blocks, exchange="whole"):
        assert sorted(order) == list(range(11))
        for label in range(5):  # rows of a block come from one block of the same size, in order
            source = order[blocks == label]
            assert (np.diff(source) == 1).all()
            assert len(set(blocks[source])) == 1
            moved.add((label, blocks[source][0]))
    assert moved == {(0, 0), (0, 2), (2, 0), (2, 2), (1, 1), (1, 3), (3, 1), (3, 3), (4, 4)}
    shifts = drawn(7, exchange="shift")
    assert sorted(order[0] for order in shifts) == [1, 2, 3, 4, 5, 6]
    assert all(((np.diff(order) % 7) == 1).all() for order in shifts)
    for order in drawn(11, blocks=blocks, exchange="shift"):
        assert (blocks[order] == blocks).all()
        assert ((np.diff(order[:3]) % 3) == 1).all()
    again = Orders(30, 5, np.random.RandomState(1))
    assert [order.tolist() for order in again] == [order.tolist() for order in again]
    assert [count for count, _ in Orders(30, 7, np.random.RandomState(1)).blocks(3)] == [3, 3, 1]


def test_permutations_of_ones_own(rng):
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    orders = drawn(30, 9, seed=4)
    expected = permutation_test(CCA(), X, Y, n_permutations=9, random_state=4)
    for given in (np.array(orders), iter(orders)):
        found = permutation_test(CCA(), X, Y, permutations=given)
        assert found.permuted.tobytes() == expected.permuted.tobytes()
        assert found.p_value.tolist() == expected.p_value.tolist()
    for wrong in (np.zeros((2, 30), int), [np.arange(29)], [np.arange(30) / 2], np.ones(30)):
        with pytest.raises(
            ValueError, match=r"permutations\[0\] must hold each of the row numbers 0 to 29 once"
        ):
            permutation_test(CCA(), X, Y, permutations=wrong)
    for wrong in (5, "shift"):
        with pytest.raises(ValueError, match="permutations must be an array or an iterable"):
            permutation_test(CCA(), X, Y, permutations=wrong)
    with pytest.raises(ValueError, match="permutations is empty"):
        permutation_test(CCA(), X, Y, permutations=[])
    with pytest.raises(ValueError, match="not both"):
        permutation_test(CCA(), X, Y, permutations=orders, blocks=np.zeros(30))


@pytest.mark.parametrize("reg", [0.0, 0.4])
def test_held_out_correlations_are_those_of_fits_to_the_folds(reg, rng):
    X = rng.standard_normal((60, 4))
    Y = X[:, :3] + 2 * rng.standard_normal((60, 3))
    model = CCA(2, reg=reg)
    test = permutation_test(model, X, Y, statistic="held-out", n_permutations=3, cv=KFold(4), random_state=2)
    shuffles = np.random.RandomState(2)

    def by_hand(y):
        folds = []
        for train, held_out in KFold(4).split(X):
            scores = model.fit(X[train], y[train]).transform_views(X[held_out], y[held_out])
            folds.append(column_correlations(*scores))
        return np.mean(folds, axis=0)

    np.testing.assert_allclose(test.statistic, by_hand(Y), atol=1e-9)
    first = CCA(1, reg=reg).fit(X, Y)
    w, S = first.y_weights_[:, 0], np.cov(Y.T) + reg * np.eye(3)
    keep = np.outer(S @ w, w) / (w @ S @ w)  # what of Y the first variate holds, in the metric of the fit
    for found in test.permuted:
        order = shuffles.permutation(60)
        assert found[0] == pytest.approx(by_hand(Y[order])[0], abs=1e-9)
        centred = Y - Y.mean(axis=0)
        mixed = centred @ keep.T + centred[order] @ (np.eye(3) - keep.T)
        assert found[1] == pytest.approx(by_hand(mixed)[1], abs=1e-9)


def test_held_out_correlations_find_what_generalises():
    views = make_two_views(150, (10, 10), [0.7], random_state=1)
    test = permutation_test(CCA(2), views.X, views.y, statistic="held-out", n_permutations=99, random_state=0)
    assert test.p_value[0] == 0.01
    assert test.statistic[0] > 0.5 > test.statistic[1]
    assert abs(test.permuted[:, 0].mean()) < 0.05  # of held-out rows there is no bias
    kernel = permutation_test(
        KernelCCA(1, kernel="linear", reg=0.1),
        views.X,
        views.y,
        statistic="held-out",
        n_permutations=19,
        random_state=0,
    )
    assert kernel.p_value[0] == 0.05


def test_ridges_are_chosen_for_rows_without_confounds():
    count, hits = 30, 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        Z = rng.standard_normal((40, 10))
        X, Y = (rng.standard_normal((40, d)) + Z @ rng.standard_normal((10, d)) for d in (6, 5))
        search = CCACV(1, regs=[0.01, 1.0], cv=3)
        test = permutation_test(search, X, Y, confounds=Z, n_permutations=19, random_state=seed)
        hits += test.p_value[0] <= 0.05
    assert hits <= binom.ppf(0.999, count, 0.05)


@pytest.mark.parametrize("statistic", ["wilks", "held-out"])
def test_threads_change_no_bit(statistic, rng):
    X, Y = rng.standard_normal((80, 6)), rng.standard_normal((80, 5))
    tests = [
        permutation_test(
            CCA(n_threads=n), X, Y, statistic=statistic, n_permutations=700, cv=2, random_state=0
        )
        for n in (1, 2, 7)
    ]
    assert len({test.permuted.tobytes() for test in tests}) == 1


def test_progress_and_interrupts(rng, capsys):
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    permutation_test(CCA(), X, Y, n_permutations=9, verbose=True)
    assert "permutations: 100%" in capsys.readouterr().err
    permutation_test(CCA(), X, Y, n_permutations=9)
    assert capsys.readouterr().err == ""
    done = []

    def work(i):
        if i == 3:
            raise KeyboardInterrupt
        time.sleep(0.01)
        done.append(i)
        return i

    with pytest.raises(KeyboardInterrupt):
        list(in_threads(work, ((1, i) for i in range(1000)), 2, total=1000, label="", verbose=False))
    assert len(done) < 20


@pytest.mark.parametrize(
    ("model", "options", "match"),
    [
        (CCA(), {"statistic": "pillai"}, "statistic must be one of"),
        (CCA(), {"exchange": "rows"}, "exchange must be one of"),
        (CCA(), {"residuals": "none"}, "residuals must be one of"),
        (CCA(), {"exchange": "whole"}, "takes blocks"),
        (
            CCA(),
            {"exchange": "whole", "blocks": np.minimum(np.arange(30), 1)},
            "no two blocks have the same number",
        ),
        (
            CCA(),
            {"confounds": "Z", "residuals": "theil", "exchange": "whole", "blocks": np.arange(30) % 3},
            "leaves no whole blocks",
        ),
        (CCA(), {"confounds": "Z", "blocks": np.arange(30) // 2}, "leaves nothing to exchange"),
        (CCA(), {"confounds": "Z", "residuals": "theil", "exchange": "shift"}, "is not for circular shifts"),
        (
            CCA(),
            {"confounds": "Z", "statistic": "held-out", "residuals": "freedman-lane"},
            "takes residuals='huh-jhun' or 'theil'",
        ),
        (CCACV(1), {"statistic": "held-out"}, "takes a CCA with a given ridge"),
        (CCA(), {"statistic": "held-out", "cv": 20}, "at least two rows in each fold"),
    ],
)
def test_what_does_not_go_together(model, options, match, rng):
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    if options.get("confounds") == "Z":
        options = {**options, "confounds": rng.standard_normal(30)}
    with pytest.raises(ValueError, match=match):
        permutation_test(model, X, Y, **options)


def test_other_models_are_refused(rng):
    X = rng.standard_normal((30, 3))
    with pytest.raises(TypeError, match="got PLSSVD"):
        permutation_test(PLSSVD(1), X, X)
