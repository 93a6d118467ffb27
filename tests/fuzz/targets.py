"""The public callables, each called with what a :class:`Draw` gives it and, where that is tame, compared.

A target takes a draw and returns what it found, in which nothing may be NaN or infinite.
"""

import re
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import fastcca
from fastcca import (
    CCA,
    CCACV,
    KernelCCA,
    KernelCCACV,
    Moments,
    embedding,
    functional,
    inference,
    metrics,
    retrieval,
)
from fastcca import synchrony as sync
from fastcca.datasets import make_two_views
from fastcca.fusion import EarlyFusion
from fastcca.taxonomy import Taxonomy
from reference import correlation as correlation_reference
from reference import hinge as hinge_reference
from reference import kernels as kernel_reference
from reference import linalg as linalg_reference
from reference import retrieval as retrieval_reference
from reference import solver as solver_reference

TARGETS = {}


def target(f):
    TARGETS[f.__name__] = f
    return f


def close(found, expected, tolerance, what="value"):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    error = np.max(np.abs(found - expected), initial=0)
    allowed = tolerance * max(1.0, np.max(np.abs(expected), initial=0))
    assert error <= allowed, f"{what}: off by {error:.3g}, allowed {allowed:.3g}"


def eps_of(*arrays):
    return 1e-5 if any(np.asarray(a).dtype.itemsize < 8 for a in arrays) else 1e-10


def pair(d, low=2, high=30):
    """Two views with the same rows, seldom with others."""
    n, p, q = d.size(low, high), d.size(1, 6), d.size(1, 5)
    x = d.matrix(n, p)
    y = d.matrix(n + (d.odd(0.05) and d.pick(-1, 1, 5)), q)
    if d.tame:  # related
        with np.errstate(all="ignore"):
            y = (np.asarray(y, np.float64) + np.asarray(x, np.float64)[:, :1]).astype(np.asarray(y).dtype)
    return x, y


def reg(d):
    return (
        d.pick(0.0, 0.1, (0.1, 0.2), 1e-6)
        if not d.odd(0.1)
        else d.pick(-1, np.nan, (1,), "a", None, 1e308, 1e-320)
    )


# ---- functional


@target
def moments(d):
    views = [d.matrix(d_n, d.size(1, 20)) for d_n in [d.size(1, 60)] * int(d.rng.integers(1, 4))]
    weights = d.weights(len(views[0]) if hasattr(views[0], "__len__") else 1)
    m = Moments().update(*views, sample_weight=weights, n_threads=d.threads())
    if d.tame:
        n, _, mean, scatter = moments_reference_of(views, weights)
        close(m.n, n, 1e-12, "n")
        close(m.mean, mean, eps_of(*views), "mean")
        close(m.scatter, scatter, eps_of(*views), "scatter")
        half = len(views[0]) // 2
        if half > 0:
            w = (weights[:half], weights[half:]) if weights is not None else (None, None)
            parts = Moments().update(*(v[:half] for v in views), sample_weight=w[0])
            rest = Moments().update(*(v[half:] for v in views), sample_weight=w[1])
            close((parts + rest).scatter, scatter, eps_of(*views), "merged")
    return m.n, m.mean, m.scatter, (m + m).scatter


def moments_reference_of(views, weights):
    stacked = np.hstack([np.asarray(v, dtype=np.float64) for v in views])
    w = np.ones(len(stacked)) if weights is None else weights
    mean = w @ stacked / w.sum()
    centred = stacked - mean
    return w.sum(), None, mean, centred.T @ (centred * w[:, None])


@target
def covariance(d):
    x, y = pair(d)
    m = Moments().update(x, y)
    i, j = d.count(0, 1), d.count(0, 1)
    return m.covariance(i, j), m.scaled(d.rng.uniform(1, 2, sum(m.dims))).scatter


@target
def downdate(d):
    x, y = pair(d, 4)
    whole = Moments().update(x, y)
    part = Moments().update(np.asarray(x)[:2], np.asarray(y)[:2])
    return (whole - part).scatter


@target
def solve(d):
    x, y = pair(d)
    function = d.pick(functional.solve_qr, functional.solve_gram)
    r, weights = reg(d), d.weights(len(x))
    s = function(x, y, d.count(1, 4, none=True), r, sample_weight=weights, n_threads=d.threads())
    return s.x_weights, s.y_weights, s.singular_values


@target
def solve_agrees(d):
    n, p, q = int(d.rng.integers(20, 60)), int(d.rng.integers(1, 6)), int(d.rng.integers(1, 6))
    x, y = (d.laid_out(d.rng.normal(size=(n, k))) for k in (p, q))
    if not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" and a.ndim == 2 for a in (x, y)):
        return None
    if not (x.shape == (n, p) and y.shape == (n, q)) or x.dtype == np.float16 or y.dtype == np.float16:
        return None
    if d.odd_things or not d.tame:
        return None
    r = d.pick((0.0, 0.0), (0.1, 0.3))
    k = min(p, q)
    _, _, expected = solver_reference.cca(np.asarray(x, float), np.asarray(y, float), k, r)[:3]
    for found in (
        functional.solve_qr(x, y, reg=r),
        functional.solve_moments(Moments().update(x, y), reg=r),
        functional.solve_gram(x, y, reg=r),
    ):
        close(found.singular_values, expected[: len(found.singular_values)], 1e-9, "singular values")
    return found.x_weights


@target
def solve_moments(d):
    x, y = pair(d)
    s = functional.solve_moments(Moments().update(x, y), d.count(1, 4, none=True), reg(d), d.threads())
    return s.x_weights, s.y_weights, s.singular_values


@target
def held_out_correlations(d):
    x, y = pair(d, 12)
    whole = Moments().update(x, y)
    folds = [Moments().update(np.asarray(x)[i::3], np.asarray(y)[i::3]) for i in range(3)]
    if d.odd(0.1):
        folds = d.pick([], folds[:1], [Moments()], [whole], None, [folds[0], 3])
    functional.held_out_correlations(whole, folds, [reg(d), 0.1], d.count(1, 3, none=True))
    return  # NaN stands for a component that a fold does not have


@target
def correlation_loss(d):
    h1, h2 = pair(d, 8, 40)
    k, r = d.count(1, 3, none=True), d.pick(1e-3, 0.1, (0.1, 0.2)) if d.tame else reg(d)
    objective = d.word("trace_norm", "frobenius")
    value, g1, g2 = functional.correlation_loss(h1, h2, k, r, objective, n_threads=d.threads())
    if d.tame and k is None:
        both = r if isinstance(r, tuple) else (r, r)
        expected = correlation_reference.correlation_loss(
            np.asarray(h1, float), np.asarray(h2, float), None, both, objective
        )
        close(value, expected[0], eps_of(h1, h2), "loss")
    return value, g1, g2


@target
def correlation_coefficients(d):
    x, y = pair(d, 8)
    m = Moments().update(x, y)
    factor = functional.correlation_factor(x, y, m.mean) if d.chance(0.3) else None
    value, A = functional.correlation_coefficients(
        m, d.count(1, 3, none=True), reg(d), d.word("trace_norm", "frobenius"), factor=factor
    )
    mean = m.mean if not d.odd(0.1) else d.pick(m.mean[:-1], m.mean * np.nan, None, A)
    return value, A, functional.correlation_gradients(x, y, mean, A)


@target
def hinge_embedding_loss(d):
    n, c, width = d.size(1, 30), d.size(2, 9), d.size(1, 9)
    z, u, y = d.matrix(n, width), d.matrix(c, width), d.labels(n, max(c, 1))
    options = {
        "similarity": d.word("euclidean", "cosine"),
        "negatives": d.word("sum", "hardest", "rank", "warp"),
        "loss": d.word("hinge", "softmax"),
        "reduction": d.word("mean", "sum"),
        "margin": d.real(0.5, 1.0),
        "sample_weight": d.weights(n),
        "seed": d.count(0, 9, odd=0.02),
    }
    if d.chance(0.2) and c >= 4:
        options["table"] = functional.ConstraintTable.from_lists(
            [[(0, [1, 2])], [(3, [0])]] * (c // 2) + [[]] * (c % 2)
        )
    if d.chance(0.1) or d.odd(0.05):
        options["margin"] = d.matrix(c, c)
    value, gz, gu, violations = functional.hinge_embedding_loss(z, u, y, **options, n_threads=d.threads())
    plain = options["loss"] == "hinge" and "table" not in options and np.ndim(options["margin"]) == 0
    if d.tame and plain and options["sample_weight"] is None:
        scales = np.full(n, 1 / n if options["reduction"] == "mean" else 1.0)
        expected = hinge_reference.hinge_embedding_loss(
            np.asarray(z, float),
            np.asarray(u, float),
            y,
            options["margin"],
            options["similarity"],
            options["negatives"],
            scales=scales,
            seed=options["seed"],
        )
        if eps_of(z, u) < 1e-6:
            close(value, expected[0], 1e-9, "loss")
            close(gz, expected[1], 1e-8, "gradient of Z")
            close(gu, expected[2], 1e-8, "gradient of U")
            assert violations == expected[3], "violations"
    return value, gz, gu, violations


@target
def warp_epoch(d):
    n, p, c, width = d.size(1, 20), d.size(1, 5), d.size(2, 6), d.size(1, 5)
    x = d.matrix(n, p)
    dtype = getattr(x, "dtype", np.float64)
    W, V = (
        d.rng.normal(size=s).astype(dtype if dtype in (np.float32, np.float64) else np.float64)
        for s in ((width, p), (c, width))
    )
    if d.odd(0.1):
        W, V = d.pick((V, W), (W, W), (W.T, V), (W[:, ::-1], V), (W.astype(int), V), (W[:0], V))
    order = None if d.chance(0.7) else d.labels(n, max(n, 1))
    loss = functional.warp_epoch(
        x,
        d.labels(n, max(c, 1)),
        W,
        V,
        learning_rate=d.real(0.01, 0.1),
        margin=d.real(1.0),
        max_norm=d.real(1.0, 3.0),
        order=order,
        seed=d.count(0, 5),
    )
    return loss, W, V


@target
def constraint_table(d):
    parts = [np.array(p) for p in ([0, 1, 2], [0, 1], [0, 2, 3], [2, 3, 4])]
    i = int(d.rng.integers(4))
    if d.odd(0.9):
        parts[i] = d.pick(
            parts[i] - 1,
            parts[i][:-1],
            parts[i] * 2**40,
            parts[i].astype(float),
            parts[i][None],
            [],
            None,
            "a",
            parts[i][::-1],
        )
    table = functional.ConstraintTable(*parts)
    z, u = d.matrix(6, 3, lay_out=False), d.matrix(5, 3, lay_out=False)
    return functional.hinge_embedding_loss(z, u, d.labels(6, 2), table=table)[:3]


@target
def kernel_matrix(d):
    x = d.matrix(d.size(1, 30), width := d.size(1, 6))
    y = None if d.chance(0.5) else d.matrix(d.size(1, 9), width)
    options = kernel_options(d)
    K = functional.kernel_matrix(x, y, **options, n_threads=d.threads())
    if d.tame and isinstance(options["gamma"], float):
        a, b = np.asarray(x, float), np.asarray(x if y is None else y, float)
        expected = kernel_reference.kernel(a, b, *options.values())
        close(K, expected, 3e-5 if eps_of(x, *([] if y is None else [y])) > 1e-6 else 1e-10, "kernel")
    return K


def kernel_options(d):
    return {
        "kernel": d.word("rbf", "laplacian", "polynomial", "linear", "cosine"),
        "gamma": d.pick("median", 0.3, 1.0)
        if not d.odd(0.1)
        else d.pick(1e300, 1e-300, -1, np.nan, "a", 1e39, 5e-324),
        "degree": d.count(1, 4, odd=0.03),
        "coef0": d.real(0.0, 1.0, odd=0.03),
    }


@target
def median_gamma(d):
    x = d.matrix(d.size(1, 30), d.size(1, 6))
    gamma = functional.median_gamma(x, sample_weight=d.weights(len(x)))
    assert gamma > 0
    return gamma


@target
def incomplete_cholesky(d):
    x = d.matrix(n := d.size(1, 40), d.size(1, 5))
    options = kernel_options(d)
    found = functional.incomplete_cholesky(
        x,
        **options,
        rank=d.count(1, 50),
        tol=d.real(0.0, 1e-8, 0.1),
        pivoting=d.word("greedy", "random", "uniform"),
        block=d.count(1, 20, none=True),
        random_state=d.count(0, 5),
        n_threads=d.threads(),
    )
    assert found.features.shape == (
        n if isinstance(x, np.ndarray) and x.ndim == 2 else len(found.features),
        len(found.pivots),
    )
    assert np.all(np.diff(found.residual_trace) <= 1e-6 * max(1, abs(found.residual_trace[0])))
    return found.features, found.residual_trace


@target
def callable_kernels(d):
    """Kernels that are none: not symmetric, not positive, of another shape, with another diagonal."""
    x = d.matrix(d.size(2, 25), 2, lay_out=False)
    factor = d.pick(1.0, 1.0, 0.5, 2.0, -1.0, 1e300, np.nan, 0.0)

    class Kernel:
        def __call__(self, a, b):
            with np.errstate(all="ignore"):
                K = np.exp(-((a[:, None] - b[None]) ** 2).sum(-1))
            return (
                d.pick(
                    lambda: K,
                    lambda: K,
                    lambda: K,
                    lambda: K,
                    lambda: -K,
                    lambda: K[:-1],
                    lambda: K + d.rng.normal(size=K.shape),
                    lambda: K * np.nan,
                    lambda: K.astype(str),
                    lambda: [1],
                    lambda: np.full_like(K, 1e30),
                )()
                if not steady
                else K
            )

        def diag(self, a):
            return factor * np.ones(len(a))

    steady = d.chance(0.7)
    found = functional.incomplete_cholesky(
        x,
        kernel=Kernel(),
        pivoting=d.pick("greedy", "random", "uniform"),
        rank=d.count(1, 25, odd=0),
        tol=d.pick(0.0, 1e-8),
        block=d.pick(None, 1, 3, 100),
        random_state=0,
    )
    return found.features


@target
def inverse_sqrt(d):
    n = d.size(1, 40)
    x = d.matrix(n + 5, n, lay_out=False)
    with np.errstate(all="ignore"):
        s = x.T @ x / (n + 5) + (np.eye(n) if d.tame else 0)
    floor = None if d.chance(0.7) else d.real(1e-10, 1e-3)
    found = functional.inverse_sqrt(d.laid_out(s), floor, d.threads())
    if d.tame and floor is None:
        close(
            found @ np.asarray(s, float) @ found, np.eye(n), 1e-5 if s.dtype == np.float32 else 1e-9, "S^-1/2"
        )
    return found


@target
def polar(d):
    t = d.matrix(n := d.size(1, 40), q := d.size(1, 30))
    found = functional.polar(t, d.threads())
    if d.tame and min(n, q):
        close(
            found,
            linalg_reference.polar(np.asarray(t, float)),
            1e-4 if eps_of(t) > 1e-6 else 1e-7,
            "polar factor",
        )
    return found


@target
def truncated_svd(d):
    a = d.matrix(n := d.size(1, 40), q := d.size(1, 30))
    k = d.count(1, min(n, q))
    u, s, v = functional.truncated_svd(a, k, d.real(1e-12, 1e-6), d.threads())
    if d.tame and min(n, q):
        close(
            s,
            linalg_reference.singular_values(np.asarray(a, float))[: len(s)],
            1e-5 if eps_of(a) > 1e-6 else 1e-9,
            "values",
        )
    return u, s, v


@target
def top_k(d):
    width = d.size(1, 20)
    g, q = d.matrix(m := d.size(1, 60), width), d.matrix(d.size(0, 20), width)
    similarity = d.word("cosine", "inner_product", "euclidean")
    indices, scores = functional.top_k(q, g, k := d.count(1, m), similarity=similarity, n_threads=d.threads())
    assert indices.min(initial=0) >= 0
    assert indices.max(initial=0) < np.shape(g)[0]
    assert all(len(set(row)) == len(row) for row in indices.tolist())
    if d.tame and len(q):
        _expected, best = retrieval_reference.top_k(np.asarray(q), np.asarray(g), k, similarity)
        close(scores, best, 1e-5, "scores")
    return scores


@target
def contrastive_loss(d):
    n, width = d.size(2, 20), d.size(1, 6)
    z1, z2 = d.matrix(n, width), d.matrix(n, width)
    kind = d.pick(None, "labels", "groups")
    return functional.contrastive_loss(
        z1,
        z2,
        loss=d.word("softmax", "sigmoid"),
        temperature=d.real(0.07, 1.0),
        bias=d.real(0.0, -10.0),
        similarity=d.word("cosine", "inner_product"),
        reduction=d.word("mean", "sum"),
        sample_weight=d.weights(n),
        n_threads=d.threads(),
        **({} if kind is None else {kind: d.labels(n, 3)}),
    )


@target
def solve_matrix_free(d):
    x, y = pair(d, 12)
    if d.chance(0.6) and getattr(x, "ndim", 0) == 2 and getattr(x, "dtype", np.dtype("O")).kind == "f":
        x = d.pick(sparse.csr_array, sparse.csc_matrix)(np.where(np.abs(x) < 1, 0, x).astype(np.float64))
    s = functional.solve_matrix_free(
        x, y, d.count(1, 3), reg(d), d.weights(x.shape[0] if getattr(x, "ndim", 0) else 1), max_iter=50
    )
    return s.x_weights, s.y_weights, s.singular_values


@target
def em_moments(d):
    x, y = pair(d, 12)
    if d.chance(0.6) and getattr(x, "ndim", 0) == 2 and getattr(x, "dtype", np.dtype("O")).kind == "f":
        x = np.where(d.rng.uniform(size=x.shape) < 0.1, np.nan, x)
    found = functional.em_moments(x, y, max_iter=d.count(1, 30))
    return found.moments.mean, found.moments.scatter


@target
def hierarchies(d):
    tree = Taxonomy.from_edges([("a", "r"), ("b", "r"), ("c", "a"), ("d", "a"), ("e", "b")])
    leaves = np.array(["c", "d", "e"])
    n = d.size(1, 12)
    true, predicted = (leaves[np.asarray(d.rng.integers(3, size=n))] for _ in range(2))
    if d.odd(0.1):
        predicted = d.pick(predicted[:-1], None, predicted[:, None], np.array(["z"] * n))
    scores = metrics.hierarchical_scores(true, predicted, tree)
    curve = metrics.seen_unseen_curve(true, d.matrix(n, 3), d.pick(["e"], ["c", "e"]), classes=leaves)
    return [*scores, metrics.lca_height(true, predicted, tree), curve.area]


@target
def single_cells(d):
    genes = d.size(3, 12)
    x, y = (d.matrix(d.size(4, 20), genes) for _ in range(2))
    found = fastcca.singlecell.integrate(x, y, d.count(1, 3), n_threads=d.threads())
    zx, zy = found.transform(x), found.transform_y(y)
    anchors = fastcca.singlecell.find_anchors(zx, zy, d.count(1, 3))
    fastcca.singlecell.transfer_labels(zy, zx, d.labels(len(zx), 3), d.count(1, 3))
    return zx, zy, anchors.similarities


# ---- estimators of two views


def use_two_views(d, model, x, y, weights=None):
    model.fit(x, y, **({} if weights is None else {"sample_weight": weights}))
    new_x, new_y = (
        (x, y)
        if d.chance(0.6)
        else (d.matrix(d.size(1, 6), model.n_features_in_), d.matrix(d.size(1, 6), model.n_y_features_in_))
    )
    results = [model.transform(new_x), model.transform_y(new_y), model.canonical_correlations_]
    results += [model.predict(new_x), model.predict_x(new_y)]
    if d.chance(0.3):
        results.append(model.score(x, y))
    return results


@target
def cca(d):
    x, y = pair(d)
    model = CCA(
        d.count(1, 4, none=True),
        reg(d),
        d.word(True, False),
        d.word("auto", "covariance", "qr", "gram"),
        d.threads(),
    )
    return use_two_views(d, model, x, y, d.weights(len(x)))


@target
def cca_partial(d):
    x, y = pair(d, 6)
    model = (
        CCA(reg=reg(d)).partial_fit(x, y).partial_fit(*pair(d)) if d.chance(0.3) else CCA().partial_fit(x, y)
    )
    return model.transform(x), model.canonical_correlations_


@target
def cca_cv(d):
    x, y = pair(d, 12)
    regs = (
        None
        if d.chance(0.3)
        else [0.1, 1.0]
        if not d.odd(0.1)
        else d.pick([], [np.nan], 3, "a", [1e300, 1e-300])
    )
    return use_two_views(
        d, CCACV(d.count(1, 3, none=True), regs, cv=d.count(2, 4), scale=d.word(True, False)), x, y
    )


def kernel_parameters(d):
    options = kernel_options(d)
    return options | {
        "rank": d.count(1, 30),
        "pivoting": d.word("greedy", "random", "uniform"),
        "random_state": d.count(0, 3),
        "tol": d.real(0.0, 1e-8),
    }


@target
def kernel_cca(d):
    x, y = pair(d)
    r = d.pick(1e-3, (0.1, 0.2)) if d.tame else reg(d)
    model = KernelCCA(
        d.count(1, 3, none=True), reg=r, penalty=d.word("ridge", "bach-jordan"), **kernel_parameters(d)
    )
    return use_two_views(d, model, x, y, d.weights(len(x)))


@target
def kernel_cca_cv(d):
    x, y = pair(d, 12)
    options = kernel_parameters(d)
    del options["gamma"]
    return use_two_views(d, KernelCCACV(d.count(1, 2, none=True), regs=[0.1, 1.0], cv=2, **options), x, y)


@target
def many_views(d):
    n = d.size(8, 30)
    views = [d.matrix(n, d.size(1, 5)) for _ in range(int(d.rng.integers(2, 5)))]
    k, scale = d.count(1, 3, none=True), d.word(True, False)
    model = d.pick(
        lambda: fastcca.MCCA(k, reg(d), scale=scale),
        lambda: fastcca.GCCA(k, reg(d), scale=scale),
        lambda: fastcca.MCCACV(1, regs=[0.1, 1.0], cv=2),
        lambda: fastcca.KernelMCCA(1, reg=0.1, rank=d.count(1, 20, odd=0)),
    )()
    model.fit(views, sample_weight=d.weights(n))
    return list(model.transform(views).values())


@target
def other_linear_models(d):
    x, y = pair(d, 12)
    k, scale = d.count(1, 3), d.word(True, False)
    model = d.pick(
        lambda: fastcca.PLSSVD(k, scale),
        lambda: fastcca.PLSCanonical(k, scale),
        lambda: fastcca.PLSRegression(k, scale),
        lambda: fastcca.PLSRegressionCV(2, cv=2),
        lambda: fastcca.ProbabilisticCCA(k, reg=reg(d)),
        lambda: fastcca.SparseCCA(k, d.real(0.3, 0.6), d.word("pmd", "elastic-net"), max_iter=20),
        lambda: fastcca.SparseCCACV(1, [0.3, 0.6], cv=2, max_iter=20),
    )()
    model.fit(x, y)
    return [model.transform(x)]


@target
def moments_of_groups_and_windows(d):
    n = d.size(4, 30)
    x = d.matrix(n, d.size(1, 4))
    groups = functional.group_moments(x, labels=d.labels(n, 3), sample_weight=d.weights(n))
    assert isinstance(groups, functional.GroupMoments)
    windows = functional.rolling_moments(x, window=d.count(2, 6), step=d.count(1, 3))
    return [m.scatter for _, m in windows]


# ---- label embeddings


def taxonomy_of(n_classes):
    return Taxonomy(
        {
            0: "a",
            1: "a",
            **dict.fromkeys(range(2, max(n_classes, 3)), "b"),
            "a": "root",
            "b": "root",
            "root": None,
        }
    )


ATTRIBUTES = 4


def label_embedding(d):
    common = {"random_state": 0, "n_epochs": d.count(1, 3, odd=0)}  # an odd one may be 2**31: years
    attributes = lambda c: {label: d.rng.random(ATTRIBUTES) for label in range(c)}  # noqa: E731
    c = 4
    return d.pick(
        lambda: embedding.RidgeEmbedding(reg=d.pick(None, 0.1, d.real(1.0))),
        lambda: embedding.NearestClassMean(d.word("plain", "learned"), n_epochs=2),
        lambda: embedding.LargeMarginEmbedding(
            d.count(1, 3, none=True), d.word("hinge", "hardest", "rank", "softmax"), **common
        ),
        lambda: embedding.WARPEmbedding(d.count(1, 3, none=True), n_epochs=2, learning_rate=d.real(0.01)),
        lambda: embedding.JointEmbedding(
            d.count(1, 3, none=True), d.word("hinge", "hardest", "softmax"), **common
        ),
        lambda: embedding.LargeMarginTaxonomyEmbedding(taxonomy_of(c), max_iter=5),
        lambda: embedding.HierarchyLabelEmbedding(taxonomy_of(c), **common),
        lambda: embedding.AttributeLabelEmbedding(attributes(c), **common),
        lambda: embedding.AttributeHierarchyLabelEmbedding(taxonomy_of(c), attributes(c), **common),
        lambda: embedding.UnifiedSemanticEmbedding(taxonomy_of(c), attributes(c), **common),
    )()


@target
def label_embeddings(d):
    n, p = d.size(8, 30), d.size(1, 5)
    x, y = d.matrix(n, p), d.labels(n, 4)
    model = label_embedding(d)
    if isinstance(model, embedding.JointEmbedding):
        model.fit(x, d.matrix(n, 3))
        return [model.transform(x)]
    model.fit(x, y, sample_weight=d.weights(n))
    new = x if d.chance(0.6) else d.matrix(d.size(1, 5), p)
    results = [model.transform(new)]
    model.predict(new)
    if hasattr(model, "predict_proba"):
        p_of = model.predict_proba(new)
        close(p_of.sum(axis=1), np.ones(len(p_of)), 1e-5, "probabilities")
        results.append(p_of)
    return results


# ---- what people do with them


@target
def search_index(d):
    width = d.size(1, 6)
    g, q = d.matrix(d.size(1, 30), width), d.matrix(d.size(1, 5), width)
    found = (
        retrieval.SearchIndex(d.word("cosine", "euclidean", "inner_product")).fit(g).search(q, d.count(1, 5))
    )
    return found.scores


@target
def cross_view_search(d):
    x, y = d.rng.normal(size=(30, 4)), d.rng.normal(size=(30, 3))
    view = d.word("x", "y")
    index = retrieval.CrossViewSearch(
        CCA(2, reg=0.1).fit(x, y), gallery_view=view, correlation_power=d.real(0.0, 1.0)
    )
    p, q = (4, 3) if view == "x" else (3, 4)
    return index.fit(d.matrix(d.size(3, 20), p)).search(d.matrix(d.size(1, 5), q), d.count(1, 3)).scores


METRICS = (
    "column_correlations",
    "total_correlation",
    "partner_ranks",
    "median_rank",
    "recall_at_k",
    "mean_average_precision",
)


@target
def pair_metrics(d):
    n, width = d.size(2, 20), d.size(1, 4)
    zx, zy = d.matrix(n, width), d.matrix(n, width)
    name = d.pick(*METRICS)
    function = getattr(metrics, name)
    options = {"k": d.count(1, 5)} if name == "recall_at_k" else {}
    if name == "mean_average_precision":
        return function(zx, zy, d.labels(n, 3), d.labels(n, 3))
    return function(zx, zy, **options)


@target
def label_metrics(d):
    n, c = d.size(2, 20), 4
    y, scores = d.labels(n, c), d.matrix(n, c)
    tree = taxonomy_of(c)
    several = d.rng.integers(2, size=(n, c)) if not d.odd(0.1) else d.matrix(n, c)
    several = d.pick(lambda: several, lambda: sparse.csr_array(several))() if d.tame else several
    return d.pick(
        lambda: metrics.multilabel_precision_at_k(several, scores, d.count(1, 3)),
        lambda: metrics.multilabel_recall_at_k(several, scores, d.count(1, 3)),
        lambda: metrics.hit_at_k(y, scores, d.count(1, 3), classes=range(c)),
        lambda: metrics.hierarchical_precision_at_k(y, scores, d.count(1, 3), tree, classes=range(c)),
        lambda: metrics.superclass_confusion(y, d.labels(n, c), tree, normalise=d.word(True, False)),
        lambda: metrics.generalised_zero_shot(y, d.labels(n, c), [2, 3]),
    )()


def model_to_test(d, *, kernel):
    k, scale = d.count(1, 2, none=True), d.word(True, False)
    kind = d.pick("cca", "cca", "search", "kernel" if kernel else "cca")
    if kind == "search":
        return CCACV(1, regs=[0.1, 1.0], cv=2, scale=scale)
    if kind == "kernel":
        return KernelCCA(1, rank=d.count(1, 20, odd=0))
    solver = d.pick("auto", "auto", "covariance", "qr", "gram")
    return CCA(k, reg=d.pick(0.0, 0.1, (1e-3, 10.0)), scale=scale, solver=solver)


@target
def wilks(d):
    x, y = pair(d, 12)
    if d.chance(0.3):
        rho = d.pick([0.9, 0.1], [1.0, 0.0], [0.5], [0.1, 0.9], [np.nan, 0.1], [2.0, 0.1], None, "a")
        test = inference.wilks_test(rho, d.count(5, 50), d.count(2, 4), d.count(2, 3))
    else:
        test = inference.wilks_test(CCA(reg=d.pick(0.0, 0.0, 0.1)).fit(x, y))
    return test.p_value, test.statistic, test.chi2_p_value


@target
def permutation_tests(d):
    x, y = pair(d, 12)
    n = len(x) if hasattr(x, "__len__") else 1
    blocks = d.labels(n, 3) if d.chance(0.3) else None
    confounds = d.matrix(n, d.size(1, 3)) if d.chance(0.3) else None
    test = inference.permutation_test(
        model_to_test(d, kernel=True),
        x,
        y,
        n_permutations=d.count(1, 9),
        statistic=d.pick("correlation", "correlation", "roy", "wilks", "held-out"),
        blocks=blocks,
        exchange=d.pick("within", "within", "whole", "shift"),
        confounds=confounds,
        residuals=d.pick("auto", "auto", "huh-jhun", "theil", "freedman-lane"),
        cv=d.count(2, 4),
        random_state=0,
    )
    assert np.all((test.p_value > 0) & (test.p_value <= 1))
    return test.statistic, test.p_value, test.permuted


@target
def bootstraps(d):
    x, y = pair(d, 12)
    found = inference.bootstrap(
        model_to_test(d, kernel=False),
        x,
        y,
        n_bootstrap=d.count(2, 9),
        confidence=d.real(0.9),
        random_state=0,
    )
    name = d.word("canonical_correlations", "x_loadings", "y_loadings", "x_weights", "y_weights")
    found.standard_error(name)  # NaN stands for what fewer than two resamples have
    return found.interval(name, d.word("corrected", "basic", "percentile")) if d.tame else None


@target
def stability_of_halves(d):
    x, y = pair(d, 12)
    n = len(x) if hasattr(x, "__len__") else 1
    blocks = d.labels(n, 4) if d.chance(0.3) else None
    inference.stability(
        model_to_test(d, kernel=False), x, y, n_resamples=d.count(1, 4), blocks=blocks, random_state=0
    )  # NaN stands for what a half lacks


@target
def power_of_studies(d):
    rho = (
        d.pick([0.5], [0.6, 0.3], 0.4) if not d.odd(0.1) else d.pick([1.0], [np.nan], [], [-0.1], "a", [2.0])
    )
    options = {
        "test": d.word("wilks", "roy"),
        "alpha": d.real(0.05, 0.2),
        "n_confounds": d.count(0, 2),
        "n_simulations": d.count(2, 20),
        "random_state": 0,
    }
    if d.chance(0.7):
        found = inference.power(rho, d.count(12, 60), d.count(2, 4), d.count(2, 3), **options)
        assert np.all((np.asarray(found.power) >= 0) & (np.asarray(found.power) <= 1))
        return found.power
    return float(inference.sample_size(rho, d.count(2, 4), d.count(2, 3), power=d.real(0.5, 0.8), **options))


@target
def reports(d):
    x, y = pair(d, 12)
    model = d.pick(
        lambda: CCA(d.count(1, 3, none=True), reg(d), d.word(True, False)),
        lambda: CCACV(1, regs=[0.1, 1.0], cv=2),
        lambda: fastcca.PLSCanonical(1),
        lambda: fastcca.TwoViewPipeline(x=[StandardScaler()], model=CCA(1, reg=0.1)),
    )().fit(x, y)
    found = fastcca.report(model, x, y)
    assert str(found).strip()
    assert found.to_html().startswith("<")


@target
def pipelines(d):
    x, y = pair(d, 12)
    steps = {"x": [StandardScaler(), PCA(d.count(1, 2))], "y": d.pick(None, [StandardScaler()])}
    model = d.pick(CCA(1, reg=0.1), CCACV(1, regs=[0.1, 1.0], cv=2), KernelCCA(1, rank=10))
    fitted = fastcca.TwoViewPipeline(**steps, model=model).fit(x, y)
    return [*fitted.transform_views(x, y), fitted.score(x, y)]


@target
def lagged_correlation(d):
    n, width = d.size(10, 40), d.size(1, 3)
    sync.lagged_correlation(d.matrix(n, width), d.matrix(n, width), d.count(1, 5))
    return


@target
def stack_frames(d):
    x = d.matrix(d.size(1, 20), d.size(1, 3), lay_out=not d.tame)
    stacked = sync.stack_frames(x, d.count(0, 3), d.count(0, 3))
    assert isinstance(stacked, np.ndarray)


@target
def synchrony(d):
    x, y = pair(d, 40, 80)
    detector = sync.SynchronyDetector(context=d.count(0, 1), max_lag=d.count(1, 5)).fit(x, y)
    detector.lag(x, y)


@target
def early_fusion(d):
    views = [d.matrix(n, d.size(1, 4)) for n in [d.size(2, 20)] * 2]
    return EarlyFusion(d.word("view", "columns", None)).fit_transform(views)


@target
def taxonomy(d):
    parents = {0: "a", 1: "a", 2: "b", "a": "root", "b": "root", "root": None}
    if d.odd(0.8):
        parents |= d.pick(
            {"root": "a"}, {"x": "y"}, {0: 0}, {np.nan: "a"}, {(): "a"}, {"r2": None}, {0: None}
        )
    tree = Taxonomy(parents)
    node = d.pick(0, "a", "root", 7, None, np.int64(1))
    return [len(tree.ancestors(node)), len(tree.children(node))]


@target
def two_views(d):
    n = d.count(1, 50)
    if isinstance(n, (int, np.integer)) and n > 10**6:
        n = 10**6  # more are drawn, if there is the memory, which takes its time
    x = make_two_views(
        n,
        (d.count(1, 6), d.count(1, 6)),
        d.pick([0.9], [0.5, 0.1], [], [2.0], [np.nan], [-0.5]),
        random_state=d.count(0, 9),
    )
    return x.X, x.y


@target
def align(d):
    import pandas

    n = d.size(2, 10)

    def table():
        index = d.rng.permutation(n) if not d.odd(0.3) else d.rng.integers(n, size=n)
        return pandas.DataFrame(d.matrix(n, 2, lay_out=False), index=index)

    tables = [table(), d.pick(table(), None, [1, 2], 3) if d.odd(0.1) else table()]
    found = fastcca.align(*tables, how=d.word("exact", "inner"))
    assert all(list(t.index) == list(found[0].index) for t in found)


@target
def threads(d):
    n = d.count(1, 5, none=True, odd=0.5)
    try:
        fastcca.set_num_threads(n)
        assert 1 <= fastcca.get_num_threads() <= 4096
    finally:
        fastcca.set_num_threads(None)


@target
def torch_losses(d):
    torch = __import__("torch")
    deep = __import__("fastcca.deep", fromlist=["deep"])
    n, c, width = d.size(2, 30), d.size(2, 6), d.size(1, 5)

    def tensor(rows, columns):
        return torch.tensor(d.matrix(rows, columns, lay_out=False)).requires_grad_()

    kind = d.pick("correlation", "hinge", "pairs")
    if kind == "correlation":
        h1, h2 = tensor(n, width), tensor(n, d.size(1, 4))
        loss = deep.CorrelationLoss(d.count(1, 2, none=True), reg(d), d.word("trace_norm", "frobenius"))(
            h1, h2
        )
    elif kind == "hinge":
        h1, h2 = tensor(n, width), tensor(c, width)
        y = torch.tensor(np.asarray(d.rng.integers(max(c, 1), size=n)))
        loss = deep.HingeEmbeddingLoss(
            d.real(1.0), d.word("euclidean", "cosine"), negatives=d.word("sum", "hardest", "rank", "warp")
        )(h1, h2, y)
    else:
        h1, h2 = tensor(n, width), tensor(n, width)
        loss = deep.PairEmbeddingLoss(d.real(1.0), d.word("euclidean", "cosine"))(h1, h2)
    loss.backward()
    gradients = [h.grad.numpy() for h in (h1, h2)]
    if h1.dtype != h2.dtype:
        # PyTorch narrows the gradient of the narrower tensor, to infinity where it does not fit: its
        # GradScaler looks for that
        gradients = [np.nan_to_num(g, nan=np.nan, posinf=0, neginf=0) for g in gradients]
    return loss.detach().numpy(), *gradients


SOURCE = set(re.findall(r"\w+", Path(__file__).read_text(encoding="utf-8")))

# Public names that no target calls, and why.
LEFT_OUT = {
    "fastcca": {
        **dict.fromkeys(
            ("build_info", "load"), "read nothing from the user but a path: tests/test_faults.py"
        ),
        "NumericalError": "an exception",
        **dict.fromkeys(("datasets", "plotting"), "read files and draw figures"),
        "distributed": "takes arrays of dask: tests/test_distributed.py",
        "errors": "exceptions",
        **dict.fromkeys(("Report", "reporting"), "a result, and what formats it"),
        "streaming": "reads files: tests/test_streaming.py",
    },
    "embedding": {"Explanation": "a result", "InputScaling": "a fitted part of the estimators"},
    "functional": dict.fromkeys(("CompletedMoments", "MatrixFreeSolution", "Solution"), "a result"),
    "inference": dict.fromkeys(
        ("BootstrapResult", "PermutationTest", "PowerAnalysis", "Stability", "WilksTest"), "a result"
    ),
    "metrics": dict.fromkeys(("GeneralisedZeroShot", "HierarchicalScores", "SeenUnseenCurve"), "a result"),
    "retrieval": {"Found": "a result", "LabelSearch": "a SearchIndex of label_embeddings"},
    "synchrony": dict.fromkeys(("SynchronyLag", "SynchronyWindows"), "a result"),
}
