"""The MAXVAR and the unified loss against the same in 300 digits, and gradients against its differences."""

import mpmath
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

from fastcca.deep import CorrelationLoss, UnifiedSemanticLoss  # noqa: E402
from fastcca.taxonomy import Taxonomy  # noqa: E402

exact = np.vectorize(mpmath.mpf, otypes=[object])
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def digits():  # squares of 1e-100, moved by 1e-25 of them, beside 1
    with mpmath.workdps(300):
        yield


def check(loss, precise, arrays, tolerance, gradient_tolerance):
    """Value, and the derivative along a direction of each array, which differences give to 30 digits."""
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    value = loss(*tensors)
    value.backward()
    known = [exact(a) for a in arrays]
    assert abs(value.item() - precise(*known)) <= tolerance * abs(precise(*known))
    for k, (a, tensor) in enumerate(zip(known, tensors, strict=True)):
        size = np.abs(arrays[k]).max()
        along = size * rng.standard_normal(a.shape)
        step = mpmath.mpf(10) ** -25 * exact(along)
        above, below = ([*known[:k], a + sign * step, *known[k + 1 :]] for sign in (1, -1))
        slope = (precise(*above) - precise(*below)) / (2 * mpmath.mpf(10) ** -25)
        terms = exact(tensor.grad.numpy()) * exact(along)
        norm = mpmath.sqrt((exact(tensor.grad.numpy()) ** 2).sum() * (exact(along) ** 2).sum())
        assert abs(terms.sum() - slope) <= gradient_tolerance * norm


# ---- MAXVAR


def maxvar(views, r, regs):
    """K r minus the r largest eigenvalues of the sum of the regularised projections."""
    n, total = len(views[0]), mpmath.matrix(len(views[0]), len(views[0]))
    for H, reg in zip(views, regs, strict=True):
        C = mpmath.matrix((H - H.sum(0) / n).tolist())
        total += C * mpmath.inverse(C.T * C + (n - 1) * reg * mpmath.eye(C.cols)) * C.T
    values = sorted(mpmath.eigsy((total + total.T) / 2, eigvals_only=True))
    return len(views) * r - mpmath.fsum(values[-r:])


def outputs(n, *widths):
    Z = rng.standard_normal((n, 2))
    return [Z @ rng.standard_normal((2, d)) + rng.standard_normal((n, d)) + 1 for d in widths]


@pytest.mark.parametrize(
    "scales", [(1, 1, 1), (1e-100, 1e-100, 1e-100), (1e100, 1e100, 1e100), (1e-100, 1, 1e100)]
)
def test_maxvar_at_every_scale(scales):
    views = [scale * H for scale, H in zip(scales, outputs(8, 2, 3, 2), strict=True)]
    regs = [0.1 * scale**2 for scale in scales]
    loss = CorrelationLoss(2, regs, "maxvar")
    check(lambda *H: loss(*H), lambda *H: maxvar(H, 2, exact(regs)), views, 1e-13, 1e-11)


@pytest.mark.parametrize("kind", ["copied outputs", "bottleneck", "few rows", "constant outputs"])
def test_maxvar_of_low_rank(kind):
    first, second, third = outputs(4 if kind == "few rows" else 8, 3, 3, 2)
    if kind == "copied outputs":
        first[:, 2] = first[:, 0]
    elif kind == "bottleneck":
        first = first[:, :1] @ rng.standard_normal((1, 3))
    elif kind == "constant outputs":
        first[:, 1:], second[:, 0] = 0.7, 0
    regs = [1e-4, 1e-6, 1e-6]
    loss = CorrelationLoss(1, regs, "maxvar")
    precise = lambda *H: maxvar(H, 1, exact(regs))  # noqa: E731
    check(lambda *H: loss(*H), precise, [first, second, third], 1e-7, 1e-6)


# ---- the unified loss: a and b below m, c beside m


def unified(Z, U, A, B, y, given, weights, form, kind, factors):
    """The objective, term by term."""

    def distance(z, u):
        return ((z - u) ** 2).sum()

    def against(z, own, others):
        gaps = [distance(z, U[own]) - distance(z, U[c]) for c in others]
        if form == "softmax":
            top = max(mpmath.mpf(0), *gaps)  # exp(1e200) takes its time
            return top + mpmath.log(mpmath.fsum(mpmath.exp(max(e - top, -1000)) for e in [0, *gaps]))
        return mpmath.fsum(max(mpmath.mpf(0), 1 + e) for e in gaps)

    L_C = L_S = L_A = mpmath.mpf(0)
    for z, label, w in zip(Z, y, weights / weights.sum(), strict=True):
        L_C += w * against(z, label, [c for c in range(3) if c != label])
        L_S += w * (against(z, 3, [2]) if label < 2 else 0)
        scores, target = A @ z, given[label]
        if kind == "squared":
            L_A += w * ((scores - target) ** 2).sum() / len(A)
        elif kind == "linear":
            L_A += w * (1 - (scores * target).sum())
        else:
            signs = exact(np.sign(target.astype(float)))
            hinges = [
                max(mpmath.mpf(0), 1 - s * x) * abs(t) for s, x, t in zip(signs, scores, target, strict=True)
            ]
            L_A += w * mpmath.fsum(hinges) / len(A)
    parents = {0: U[3], 1: U[3], 2: 0, 3: 0}
    R = mpmath.fsum(((U[i] - parents[i] - B[i] @ A) ** 2).sum() for i in range(4))
    pairs = [(0, 1), (1, 0), (0, 3), (1, 3), (2, 3), (3, 2)]
    R += factors["gamma2"] * mpmath.fsum(((B[i] + B[j]) ** 2).sum() for i, j in pairs)
    R += factors["gamma1"] * B.sum()
    mu1, mu2, lambda2 = (mpmath.mpf(factors[name]) for name in ("mu1", "mu2", "lambda2"))
    return L_C + mu1 * (L_S + L_A) + mu2 * R + lambda2 * (U**2).sum()


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize(("form", "kind"), [("softmax", "squared"), ("hinge", "hinge"), ("hinge", "linear")])
@pytest.mark.parametrize("copied", [False, True])
def test_the_unified_loss_at_every_scale(scale, form, kind, copied):
    factors = {"mu1": 0.3, "mu2": 0.2, "lambda2": 0.1, "gamma1": 0.5, "gamma2": 0.7}
    tree = Taxonomy.from_dict({"root": {"m": ["a", "b"], "c": None}})
    attributes = {"a": [0.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 0.0]}
    use = UnifiedSemanticLoss(
        tree, attributes, loss=form, attribute_loss=kind, n_components=3, dtype=torch.float64, **factors
    )
    assert use.nodes == ["a", "b", "c", "m"]
    Z, U = scale * rng.standard_normal((5, 3)), scale * rng.standard_normal((4, 3))
    if copied:  # outputs and, where there is no kink, labels
        Z[:, 1] = Z[:, 0]
        U[1] = U[0] if form == "softmax" else U[1]
    A, B = 0.4 * rng.standard_normal((2, 3)), rng.uniform(size=(4, 2))
    y, weights = np.array([0, 1, 2, 2, 0]), np.array([1.0, 0.5, 2.0, 1.5, 0.25])
    with torch.no_grad():
        use.B.copy_(torch.from_numpy(B))
    vectors = np.array(list(attributes.values()))
    counts = vectors - vectors.mean(0)
    given = vectors if kind == "linear" else counts / np.sqrt((counts**2).mean())

    def loss(Z, U, A):
        arguments = (Z, torch.from_numpy(y)), {"sample_weight": torch.from_numpy(weights)}
        return torch.func.functional_call(use, {"U": U, "A": A}, *arguments)

    def precise(Z, U, A):
        return unified(Z, U, A, exact(B), y, exact(given), exact(weights), form, kind, factors)

    check(loss, precise, [Z, U, A], 1e-13, 1e-11)
