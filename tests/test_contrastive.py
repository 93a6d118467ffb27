"""Contrastive losses of the core against the formulas in extended precision."""

import numpy as np
import pytest

import fastcca
from fastcca.errors import NumericalError
from fastcca.functional import contrastive_loss
from reference import contrastive as ref

pytestmark = pytest.mark.core

FORMS = {
    "softmax": {"loss": "softmax", "temperature": 0.3},
    "sharp softmax": {"loss": "softmax", "temperature": 0.004},
    "sigmoid": {"loss": "sigmoid", "temperature": 0.2, "bias": -3.0},
}
CODES = ("none", "labels", "groups")


def problem(n, d, dtype=np.float64, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d))
    return (Z + noise * rng.standard_normal((n, d))).astype(dtype), (
        2 * Z + noise * rng.standard_normal((n, d))
    ).astype(dtype)


def codes_of(kind, n, seed=0):
    if kind == "none":
        return {}
    return {kind: np.random.default_rng(seed).integers(-2, max(1, n // 3), n)}


def check(found, expected, tolerance):
    value, grad1, grad2, of_temperature, of_bias = found
    assert value == pytest.approx(expected[0], rel=tolerance, abs=tolerance)
    for ours, exact in ((grad1, expected[1]), (grad2, expected[2])):
        assert np.linalg.norm(ours - exact) <= 10 * tolerance * max(np.linalg.norm(exact), 1e-2)
    assert of_temperature == pytest.approx(expected[3], rel=10 * tolerance, abs=10 * tolerance)
    assert of_bias == pytest.approx(expected[4], rel=10 * tolerance, abs=10 * tolerance)


# around the widths of vectors, panels, groups, tiles and blocks
SHAPES = [(1, 2), (2, 3), (7, 5), (24, 8), (25, 9), (97, 33), (129, 24), (140, 130)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(form, kind, shape):
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
        Z1, Z2 = problem(*shape, dtype)
        codes = codes_of(kind, shape[0])
        options = dict(FORMS[form])
        if dtype == np.float32 and form.startswith("sharp"):
            tolerance = 1e-3  # rounding of the scores, of some 250
        found = contrastive_loss(Z1, Z2, **options, **codes)
        assert found[1].dtype == found[2].dtype == dtype
        check(found, ref.contrastive_loss(Z1, Z2, **options, **codes), tolerance)
        alone = contrastive_loss(Z1, Z2, **options, **codes, gradient=False)
        assert alone == (pytest.approx(found[0], rel=1e-15), None, None, None, None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CODES)
def test_inner_products_weights_and_sums(form, kind):
    Z1, Z2 = problem(60, 11)
    weights = np.random.default_rng(1).random(60) * (np.arange(60) % 5 > 0)
    options = {**FORMS[form], **codes_of(kind, 60), "similarity": "inner_product"}
    found = contrastive_loss(Z1, Z2, **options, sample_weight=weights, reduction="sum")
    check(found, ref.contrastive_loss(Z1, Z2, **options, weights=weights), 1e-12)
    found = contrastive_loss(Z1, Z2, **options, sample_weight=weights)
    check(found, ref.contrastive_loss(Z1, Z2, **options, weights=weights / weights.sum()), 1e-12)
    found = contrastive_loss(Z1, Z2, **options, reduction="sum")
    check(found, ref.contrastive_loss(Z1, Z2, **options, weights=np.ones(60)), 1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CODES)
def test_any_number_of_threads_gives_the_same_bits(form, kind):
    for dtype in (np.float32, np.float64):
        Z1, Z2 = problem(700, 40, dtype)
        options = {**FORMS[form], **codes_of(kind, 700)}
        one = contrastive_loss(Z1, Z2, **options, n_threads=1)
        for n_threads in (2, 7):
            other = contrastive_loss(Z1, Z2, **options, n_threads=n_threads)
            assert other[0] == one[0]
            assert other[3:] == one[3:]
            for a, b in zip(other[1:3], one[1:3], strict=True):
                assert np.array_equal(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_strides_are_read_in_place(form):
    Z1, Z2 = problem(40, 12)
    expected = contrastive_loss(Z1, Z2, **FORMS[form])
    wide = np.zeros((80, 24))
    wide[::2, ::2] = Z1
    for a, b in ((wide[::2, ::2], Z2), (np.asfortranarray(Z1), np.asfortranarray(Z2)), (Z1[::-1][::-1], Z2)):
        found = contrastive_loss(a, b, **FORMS[form])
        assert found[0] == expected[0]
        assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("temperature", [1e-12, 1e-3, 1e-2, 1.0, 1e3, 1e12])
def test_extreme_temperatures(form, kind, temperature):
    # Scores of few digits, so that rounding does not decide which is the largest
    rng = np.random.default_rng(3)
    Z1, Z2 = rng.integers(-3, 4, (50, 6)).astype(float), rng.integers(-3, 4, (50, 6)).astype(float)
    options = {"loss": form, "temperature": temperature, "similarity": "inner_product", **codes_of(kind, 50)}
    found = contrastive_loss(Z1, Z2, **options)
    expected = ref.contrastive_loss(Z1, Z2, **options)
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    for ours, exact in zip(found[1:3], expected[1:3], strict=True):
        assert np.linalg.norm(ours - exact) <= 1e-10 * np.linalg.norm(exact)
    single = contrastive_loss(Z1.astype(np.float32), Z2.astype(np.float32), **options)
    assert single[0] == pytest.approx(expected[0], rel=1e-5)
    for ours, exact in zip(single[1:3], expected[1:3], strict=True):
        assert np.linalg.norm(ours - exact) <= 1e-3 * np.linalg.norm(exact)


def test_a_loss_next_to_zero_keeps_its_digits():
    Z1 = np.eye(30) + 1e-3
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 1e-4)):
        found = contrastive_loss(Z1.astype(dtype), Z1.astype(dtype), temperature=0.02)
        expected = ref.contrastive_loss(Z1.astype(dtype), Z1.astype(dtype), 0.02)
        assert 0 < expected[0] < 1e-18
        assert found[0] == pytest.approx(expected[0], rel=tolerance)
        assert np.linalg.norm(found[1] - expected[1]) <= tolerance * np.linalg.norm(expected[1])


@pytest.mark.parametrize("form", FORMS)
def test_low_rank_zero_and_subnormal_rows(form):
    rng = np.random.default_rng(0)
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 2e-3)):
        Z1 = np.outer(rng.standard_normal(40), rng.standard_normal(9)).astype(dtype)
        Z2 = np.tile(rng.standard_normal(9), (40, 1)).astype(dtype)
        Z1[3] = Z2[5] = 0
        Z1[7] *= dtype(1e-12)
        found = contrastive_loss(Z1, Z2, **FORMS[form])
        expected = ref.contrastive_loss(Z1, Z2, **FORMS[form])
        assert found[0] == pytest.approx(expected[0], rel=tolerance)
        assert not found[1][3].any()
        assert not found[2][5].any()
        for ours, exact in zip(found[1:3], expected[1:3], strict=True):
            assert np.isfinite(ours).all()
            assert np.linalg.norm(ours - exact) <= tolerance * np.linalg.norm(exact)
    # A row whose squares underflow has its direction; where the gradient leaves the numbers, it is said
    Z1, Z2 = problem(20, 5)
    tiny = Z1.copy()
    tiny[4] *= 1e-200
    found, expected = (f(tiny, Z2, **FORMS[form]) for f in (contrastive_loss, ref.contrastive_loss))
    assert found[0] == pytest.approx(contrastive_loss(Z1, Z2, **FORMS[form])[0], rel=1e-12)
    np.testing.assert_allclose(found[1][4], expected[1][4], rtol=1e-10)
    tiny[4] = Z1[4] * 1e-310
    with pytest.raises(NumericalError, match="gradient of the contrastive loss overflows"):
        contrastive_loss(tiny, Z2, **FORMS[form])
    assert np.isfinite(contrastive_loss(tiny, Z2, **FORMS[form], gradient=False)[0])


def test_memory_grows_with_the_rows_alone():
    Z1, Z2 = problem(6000, 8, np.float32)
    import tracemalloc  # NumPy's alone; the core keeps at most 64 MB and asks for less

    value, *_ = contrastive_loss(Z1, Z2, gradient=False)
    tracemalloc.start()
    again, *_ = contrastive_loss(Z1, Z2)
    assert tracemalloc.get_traced_memory()[1] < 4 * 6000 * 8 * 4
    tracemalloc.stop()
    assert again == value


def test_bad_input_is_named():
    Z1, Z2 = problem(6, 3)
    with pytest.raises(ValueError, match=r"same columns, at least one, got \(6, 3\) and \(6, 2\)"):
        contrastive_loss(Z1, Z2[:, :2])
    with pytest.raises(ValueError, match="must be paired, got 6 and 4 rows"):
        contrastive_loss(Z1, Z2[:4])
    for name, value in (("loss", "x"), ("similarity", "euclidean"), ("reduction", "none")):
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got '{value}'"):
            contrastive_loss(Z1, Z2, **{name: value})
    for temperature in (0.0, -1.0, np.nan, "x", True):
        with pytest.raises(ValueError, match="temperature must be positive and finite"):
            contrastive_loss(Z1, Z2, temperature=temperature)
    with pytest.raises(ValueError, match="bias must be a finite number"):
        contrastive_loss(Z1, Z2, bias=np.inf)
    with pytest.raises(ValueError, match="gradient must be True or False"):
        contrastive_loss(Z1, Z2, gradient=1)
    with pytest.raises(ValueError, match="labels and groups"):
        contrastive_loss(Z1, Z2, labels=np.arange(6), groups=np.arange(6))
    with pytest.raises(ValueError, match="labels must hold one integer for each of the 6 pairs"):
        contrastive_loss(Z1, Z2, labels=np.arange(6) / 2)
    with pytest.raises(ValueError, match="at least one weight that is not zero"):
        contrastive_loss(Z1, Z2, sample_weight=np.zeros(6))
    Z2[2, 1] = np.nan
    with pytest.raises(ValueError, match="Z2 contains NaN: the first is at row 2, column 1"):
        contrastive_loss(Z1, Z2)
    with pytest.raises(NumericalError, match="scores of the contrastive loss overflow"):
        contrastive_loss(1e200 * Z1, Z1, similarity="inner_product", temperature=1e-200)
    huge = np.full(6, 1e307)
    for loss in ("softmax", "sigmoid"):
        with pytest.raises(NumericalError, match="the contrastive loss overflows"):
            contrastive_loss(
                1e3 * Z1, Z1, loss=loss, similarity="inner_product", sample_weight=huge, reduction="sum"
            )


def test_the_core_checks_its_sizes():
    from fastcca import _core

    Z1, Z2 = problem(6, 3)
    whole = [Z1, Z2, 0, None, None, "groups", None, None, 0.5, 0.5, 1.0, 0.0, "softmax", "cosine", True, 0]

    def call(**changed):
        names = [
            "A",
            "B",
            "shift",
            "a_codes",
            "b_codes",
            "codes",
            "a_weights",
            "b_weights",
            "a_weight",
            "b_weight",
            "scale",
            "bias",
            "loss",
        ]
        names += ["similarity", "gradient", "n_threads"]
        return _core.contrastive_loss(*(changed.get(n, v) for n, v in zip(names, whole, strict=True)))

    assert np.isfinite(call()[0])
    with pytest.raises(ValueError, match="must have its pair in B"):
        call(shift=1)
    with pytest.raises(ValueError, match="must have its pair in A"):
        call(A=Z1[:3])
    with pytest.raises(ValueError, match="codes must be from 0"):
        call(a_codes=np.full(6, -1), b_codes=np.zeros(6, np.int64))
    with pytest.raises(ValueError, match="both views must have codes"):
        call(a_codes=np.zeros(6, np.int64))
    with pytest.raises(ValueError, match="weights must have one entry per row"):
        call(a_weights=np.ones(5))


def test_parts_of_a_batch_add_up():
    """A worker's rows against all rows: values and gradients are summed to those of the whole."""
    from fastcca.functional.contrastive import batch_contrastive_loss

    Z1, Z2 = problem(50, 7)
    half = np.full(50, 0.01)
    for form, kind in (
        ("softmax", "groups"),
        ("softmax", "labels"),
        ("sigmoid", "groups"),
        ("sigmoid", "labels"),
    ):
        codes = np.arange(50, dtype=np.int64) % 17
        options = (3.0, 0.5 if form == "sigmoid" else 0.0, form, "cosine", True)
        whole = batch_contrastive_loss(Z1, Z2, half, half, *options, codes=(codes, codes), kind=kind)
        total, G1, G2 = np.zeros(3), np.zeros_like(Z1), np.zeros_like(Z2)
        for rows in (slice(0, 20), slice(20, 50)):
            views = [(Z1, Z2, G1, G2)] if form == "sigmoid" else [(Z1, Z2, G1, G2), (Z2, Z1, G2, G1)]
            for A, B, GA, GB in views:
                found = batch_contrastive_loss(
                    A[rows], B, half[rows], half if form == "sigmoid" else 0.0, *options,
                    shift=rows.start, codes=(codes[rows], codes), kind=kind,
                )  # fmt: skip
                total += [found[0], *found[3:]]
                GA[rows] += found[1]
                GB += found[2]
        np.testing.assert_allclose(total, [whole[0], *whole[3:]], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(G1, whole[1], rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(G2, whole[2], rtol=1e-10, atol=1e-15)


def test_more_threads_than_the_machine_has():
    assert fastcca.get_num_threads() >= 1
    Z1, Z2 = problem(300, 20)
    assert contrastive_loss(Z1, Z2, n_threads=64)[0] == contrastive_loss(Z1, Z2, n_threads=1)[0]
