"""The forms, groups, weights and reductions of HingeEmbeddingLoss and PairEmbeddingLoss."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny batches

from fastcca.datasets import load_digit_halves  # noqa: E402
from fastcca.deep import MLP, HingeEmbeddingLoss, PairEmbeddingLoss  # noqa: E402
from fastcca.functional import hinge_embedding_loss  # noqa: E402
from reference import hinge as ref  # noqa: E402


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(n, d, C, seed=0, spread=1.0):
    U = drawn(C, d, seed=seed) / d**0.5
    y = torch.randint(C, (n,), generator=torch.Generator().manual_seed(seed))
    Z = U[y] + spread * drawn(n, d, seed=seed + 1) / d**0.5
    return Z.requires_grad_(), U.requires_grad_(), y


def losses_and_gradients(Z, U, y, scales, margin, similarity, form, constraints=None):
    """Of the slow reference: each sample's loss times its scale, and the gradients of the sum."""
    values, grads = [], [0, 0]
    for i in range(len(Z)):
        alone = np.zeros(len(Z))
        alone[i] = scales[i]
        value, *parts, _ = ref.hinge_embedding_loss(Z, U, y, margin, similarity, form, constraints, alone)
        values.append(value)
        grads = [a + b for a, b in zip(grads, parts, strict=True)]
    return np.array(values), *grads


def one_way(groups):
    """Each row's constraints: its pair against the rows of other groups."""
    return [
        [(i, [j for j in range(len(groups)) if j != i and groups[j] != groups[i]])]
        for i in range(len(groups))
    ]


@pytest.mark.parametrize("form", ref.FORMS)
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_hinge_of_every_form(where, form, similarity, reduction, weighted):
    Z, U, y = problem(13, 4, 6)
    n_weight = torch.rand(13, generator=torch.Generator().manual_seed(5)).double() if weighted else None
    if weighted:
        n_weight[3] = 0
    class_weight = torch.arange(1.0, 7.0) if weighted else None
    loss = HingeEmbeddingLoss(0.7, similarity, reduction, class_weight=class_weight, **ref.FORMS[form])
    scales = np.ones(13) if not weighted else (n_weight * class_weight[y]).numpy()
    if reduction == "mean":
        scales = scales / scales.sum()
    upstream = drawn(13, seed=9).numpy() if reduction == "none" else np.ones(13)
    a, b = Z.detach().numpy(), U.detach().numpy()
    values = losses_and_gradients(a, b, y, scales, 0.7, similarity, form)[0]
    _, grad_Z, grad_U = losses_and_gradients(a, b, y, scales * upstream, 0.7, similarity, form)
    found = loss(Z, U, y, sample_weight=n_weight)
    expected = values if reduction == "none" else values.sum()
    np.testing.assert_allclose(found.detach(), expected, atol=1e-12)
    assert np.sum(values) > 0
    (found * torch.from_numpy(upstream) if reduction == "none" else found).sum().backward()
    np.testing.assert_allclose(Z.grad, grad_Z, atol=1e-12)
    np.testing.assert_allclose(U.grad, grad_U, atol=1e-12)


@pytest.mark.parametrize("form", ref.FORMS)
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("grouped", [False, True])
def test_pairs_of_every_form(where, form, similarity, reduction, grouped):
    n = 11
    Z1, Z2 = problem(n, 4, n)[0], (problem(n, 4, n)[0] + 0.3 * drawn(n, 4, seed=7)).detach().requires_grad_()
    groups = torch.tensor([5, -2, 5, 0, 1, 1, 1, 7, 8, 9, -2]) if grouped else None
    weight = torch.arange(n).double()
    constraints = one_way(groups.tolist() if grouped else range(n))
    scales = weight.numpy() / (weight.sum().item() if reduction == "mean" else 1)
    upstream = drawn(n, seed=9).numpy() if reduction == "none" else np.ones(n)
    a, b = Z1.detach().numpy(), Z2.detach().numpy()
    there = losses_and_gradients(a, b, range(n), scales * upstream, 0.7, similarity, form, constraints)
    back = losses_and_gradients(b, a, range(n), scales * upstream, 0.7, similarity, form, constraints)
    loss = PairEmbeddingLoss(0.7, similarity, reduction, **ref.FORMS[form])
    found = loss(Z1, Z2, groups=groups, sample_weight=weight)
    assert found.shape == ((n,) if reduction == "none" else ())
    total = (found * torch.from_numpy(upstream)).sum() if reduction == "none" else found
    assert total.item() == pytest.approx((there[0] + back[0]).sum(), rel=1e-12)
    if reduction == "none":
        np.testing.assert_allclose(found.detach().numpy() * upstream, there[0] + back[0], atol=1e-12)
    total.backward()
    np.testing.assert_allclose(Z1.grad, there[1] + back[2], atol=1e-12)
    np.testing.assert_allclose(Z2.grad, there[2] + back[1], atol=1e-12)


@pytest.mark.parametrize("form", ref.FORMS)
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradcheck(form, similarity, reduction):
    Z, U, y = problem(8, 4, 5, seed=3)
    weights = torch.rand(8, generator=torch.Generator().manual_seed(5)).double()
    loss = HingeEmbeddingLoss(
        0.7, similarity, reduction, class_weight=torch.arange(1.0, 6.0), **ref.FORMS[form]
    )
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, y, weights), (Z, U))
    pairs = PairEmbeddingLoss(0.7, similarity, reduction, **ref.FORMS[form])
    Z1, Z2 = problem(8, 4, 8, seed=4)[:2]
    assert torch.autograd.gradcheck(lambda a, b: pairs(a, b, torch.arange(8) // 2, weights), (Z1, Z2))


def test_semi_hard_by_hand():
    U = torch.tensor([[0.0], [1.0], [2.0], [-0.1]])
    loss = HingeEmbeddingLoss(negatives="semihard", reduction="none")
    # D = .16, .36, 2.56, .25: the nearest of the farther nodes is at .25
    found = loss(torch.tensor([[0.4], [0.4]]), U, torch.tensor([0, 2]))
    assert found[0].item() == pytest.approx(0.91)
    # D = .25, .01, .09: no node is farther than the own, and the farthest of all is at .09
    only_nearer = loss(torch.tensor([[0.5]]), torch.tensor([[1.0], [0.6], [0.2]]), torch.tensor([0]))
    assert only_nearer.item() == pytest.approx(1 + 0.25 - 0.09)
    value, *_ = hinge_embedding_loss([[0.4]], U.double().numpy(), [0], negatives="semihard")
    assert value == pytest.approx(0.91)


@pytest.mark.parametrize("form", ref.FORMS)
def test_costs_with_every_form(form):
    Z, U, y = problem(12, 4, 5)
    costs = drawn(5, 5, seed=8).abs()
    if form == "softmax":
        with pytest.raises(ValueError, match="loss='softmax' has no margin"):
            HingeEmbeddingLoss(costs, loss="softmax")
        return
    for reduction in ("sum", "none"):
        Z.grad = None
        found = HingeEmbeddingLoss(costs, reduction=reduction, **ref.FORMS[form])(Z, U, y).sum()
        found.backward()
        scales = np.ones(12)
        expected = ref.hinge_embedding_loss(
            Z.detach().numpy(),
            U.detach().numpy(),
            y.tolist(),
            costs.numpy(),
            "euclidean",
            form,
            None,
            scales,
        )
        assert found.item() == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(Z.grad, expected[1], atol=1e-12)


@pytest.mark.parametrize("form", ref.FORMS)
def test_one_item_alone_has_no_negatives(form):
    Z1, Z2 = drawn(6, 3), drawn(6, 3, seed=1)
    one_item = torch.zeros(6, dtype=torch.int32)
    for reduction in ("mean", "none"):
        a = Z1.clone().requires_grad_()
        value = PairEmbeddingLoss(reduction=reduction, **ref.FORMS[form])(a, Z2, one_item)
        assert not value.any()
        value.sum().backward()
        assert not a.grad.any()
    # captions of one picture, in the same place: no loss but from the others
    pictures = torch.eye(3).repeat_interleave(2, 0)
    loss = PairEmbeddingLoss(margin=1.0, **ref.FORMS[form])
    apart = loss(pictures, pictures, torch.arange(6) // 2)
    if form != "semihard":  # takes a node in the same place for none that is farther
        assert loss(pictures, pictures) > apart + 0.1
    if form != "softmax":
        assert apart == 0


# PyTorch's own, at the first forward-mode derivative.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(("form", "reduction"), [("semihard", "mean"), ("softmax", "none")])
def test_groups_and_weights_compile_and_transform(form, reduction):
    Z1, Z2 = drawn(10, 4), drawn(10, 4, seed=1)
    groups, weights = torch.arange(10) // 2, torch.arange(1.0, 11.0)
    pairs = PairEmbeddingLoss(reduction=reduction, **ref.FORMS[form])
    hinge = HingeEmbeddingLoss(reduction=reduction, class_weight=torch.arange(1.0, 11.0), **ref.FORMS[form])

    def total(a, b):
        return (pairs(a, b, groups, weights) + hinge(a, b, groups, weights)).sum()

    a = Z1.clone().requires_grad_()
    plain = total(a, Z2)
    plain.backward()
    torch.testing.assert_close(torch.func.grad(total)(Z1, Z2), a.grad)
    slope = torch.func.jvp(lambda z: total(z, Z2), (Z1,), (Z2,))[1]
    torch.testing.assert_close(slope, (a.grad * Z2).sum())
    twice = torch.func.vmap(torch.func.grad(total))(torch.stack([Z1, Z1]), torch.stack([Z2, Z2]))
    torch.testing.assert_close(twice[1], a.grad)
    expected, a.grad = a.grad, None
    value = torch.compile(total, fullgraph=True, backend="aot_eager")(a, Z2)
    torch.testing.assert_close(value, plain)
    value.backward()
    torch.testing.assert_close(a.grad, expected)


def test_half_precision_and_autocast_are_computed_in_float32():
    Z1, Z2 = drawn(10, 4).bfloat16(), drawn(10, 4, seed=1).bfloat16()
    for reduction in ("mean", "none"):
        loss = PairEmbeddingLoss(reduction=reduction, negatives="semihard")
        exact = loss(Z1.float(), Z2.float())
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(Z1, Z2)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact)


def test_a_zero_row_has_no_gradient():
    Z, U, y = problem(9, 3, 4)
    with torch.no_grad():
        Z[2] = U[1] = 0
    HingeEmbeddingLoss(similarity="cosine", reduction="none")(Z, U, y).sum().backward()
    assert torch.isfinite(Z.grad).all()
    assert not Z.grad[2].any()
    assert not U.grad[1].any()


def trained(epochs, **options):
    """Recall at 10 of pictures' halves that were not trained on, by chance .017."""
    halves = load_digit_halves()
    L, R = (torch.as_tensor((v - v.mean(0)) / v.std()).float() for v in (halves.left, halves.right))
    torch.manual_seed(0)
    f, g = (MLP(32, [128] * 4 + [16], input_noise=0.3) for _ in range(2))
    loss, adam = PairEmbeddingLoss(**options), torch.optim.Adam([*f.parameters(), *g.parameters()], 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(1200).split(128):
            value = loss(f(L[rows]), g(R[rows]))
            adam.zero_grad()
            value.backward()
            adam.step()
    f.eval(), g.eval()
    with torch.no_grad():
        near = torch.cdist(f(L[1200:]), g(R[1200:])).argsort(1)[:, :10]
    return (near == torch.arange(len(near))[:, None]).any(1).float().mean().item()


def test_the_hardest_collapse_and_say_so_where_others_train():
    with pytest.warns(UserWarning, match="about twice the margin in 50 batches in a row") as caught:
        assert trained(15, negatives="hardest") < 0.06
    assert [w.filename for w in caught] == [__file__]
    assert trained(5, negatives="semihard") > 0.15


def test_bad_input_is_named():
    Z, U, y = problem(12, 3, 5)
    pairs, hinge = PairEmbeddingLoss(), HingeEmbeddingLoss()
    for call, error, message in (
        (
            lambda: pairs(Z, Z, groups=torch.ones(12)),
            TypeError,
            "groups must be a tensor of integers, got torch.float32",
        ),
        (lambda: pairs(Z, Z, groups=y[1:]), ValueError, "groups must hold one item for each of the 12 pairs"),
        (
            lambda: hinge(Z, U, y, [1.0] * 12),
            TypeError,
            "sample_weight must be a tensor of numbers, got list",
        ),
        (
            lambda: hinge(Z, U, y, torch.ones(11)),
            ValueError,
            "sample_weight must hold one weight for each of the 12",
        ),
        (lambda: hinge(Z, U, y, -torch.ones(12)), ValueError, "sample_weight must hold finite numbers"),
        (
            lambda: pairs(Z, Z, None, torch.full((12,), torch.nan)),
            ValueError,
            "sample_weight must hold finite",
        ),
        (
            lambda: pairs(Z, Z, None, torch.zeros(12)),
            ValueError,
            "the weights of a mean must not all be zero",
        ),
        (lambda: pairs(Z, Z, None, Z[:, 0]), ValueError, "sample_weight is a constant of the loss"),
        (lambda: HingeEmbeddingLoss(class_weight=torch.ones(4))(Z, U, y), ValueError, "class_weight is of 4"),
        (lambda: HingeEmbeddingLoss(class_weight=torch.ones(2, 2)), ValueError, "class_weight must be 1-d"),
        (
            lambda: HingeEmbeddingLoss(reduction="none")(Z, U, y + 4),
            ValueError,
            r"classes from 0 to 4, got \d at row",
        ),
        (
            lambda: HingeEmbeddingLoss(loss="log"),
            ValueError,
            "loss must be one of 'hinge', 'softmax', got 'log'",
        ),
        (
            lambda: PairEmbeddingLoss(negatives="warp"),
            ValueError,
            "negatives must be one of 'sum', 'hardest', 'semihard', 'rank', got 'warp'",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
