"""Early fusion: scales, weights, missing views, names, files; and how named modalities are checked."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import fastcca
from fastcca._arguments.modalities import check_modalities
from fastcca.errors import NumericalError
from fastcca.fusion import EarlyFusion


@pytest.fixture
def views(rng):
    return {
        "audio": 1000 + 50 * rng.normal(size=(40, 3)) * [1, 2, 3],
        "image": rng.normal(size=(40, 7)),
        "text": 1e-3 * rng.normal(size=(40, 1)),
    }


def reference(views, scale, weights):
    """Column by column, as the docstring says it."""
    parts = []
    for name, a in views.items():
        centred = a - np.nanmean(a, axis=0)
        if scale == "columns":
            centred = centred / np.nanstd(a, axis=0, ddof=1)
        if scale is not None:
            centred = centred / np.sqrt(np.nanvar(centred, axis=0, ddof=1).sum())
        parts.append(weights.get(name, 1.0) * np.nan_to_num(centred))
    return np.hstack(parts)


@pytest.mark.parametrize("scale", ["view", "columns", None])
@pytest.mark.parametrize("weights", [{}, {"image": 3.0}, {"audio": 0.5, "image": 0.0, "text": 2.0}])
def test_values(views, scale, weights):
    views["image"][[3, 5]] = np.nan
    model = EarlyFusion(scale, weights or None).fit(views)
    Z = model.transform(views)
    np.testing.assert_allclose(Z, reference(views, scale, weights), atol=1e-12)
    assert model.modalities_ == ("audio", "image", "text")
    assert model.n_features_in_ == Z.shape[1] == 11
    assert (Z[[3, 5], 3:10] == 0).all()


def test_weights_by_position_and_order_of_the_fit(views):
    by_name = EarlyFusion(weights={"audio": 1.0, "image": 2.0, "text": 3.0}).fit(views)
    by_position = EarlyFusion(weights=(1.0, 2.0, 3.0)).fit(list(views.values()))
    Z = by_name.transform(views)
    np.testing.assert_array_equal(by_position.transform(tuple(views.values())), Z)
    assert by_position.modalities_ == ("view0", "view1", "view2")
    # the order of the fit is that of the columns, whatever the order later
    np.testing.assert_array_equal(by_name.transform(dict(reversed(views.items()))), Z)


def test_a_view_that_is_left_out_counts_as_its_mean(views):
    model = EarlyFusion().fit(views)
    whole = model.transform(views)
    for absent in (
        {"audio": views["audio"], "text": views["text"]},
        {**views, "image": None},
        {**views, "image": np.full((40, 7), np.nan)},
        {**views, "image": [None] * 40},
    ):
        if isinstance(absent.get("image"), list):
            absent["image"][0] = [np.nan] * 7  # the width must be told by some row
        Z = model.transform(absent)
        assert (Z[:, 3:10] == 0).all()
        np.testing.assert_array_equal(np.delete(Z, range(3, 10), axis=1), np.delete(whole, range(3, 10), 1))


def test_rows_of_none_are_rows_of_nan(rng):
    a, b = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    with_nan = a.copy()
    with_nan[[1, 4]] = np.nan
    with_none = [None if i in (1, 4) else row.tolist() for i, row in enumerate(a)]
    expected = EarlyFusion().fit({"a": with_nan, "b": b})
    found = EarlyFusion().fit({"a": with_none, "b": b})
    np.testing.assert_array_equal(found.transform([None] * 0 or {"b": b}), expected.transform({"b": b}))
    np.testing.assert_array_equal(found.means_["a"], expected.means_["a"])
    np.testing.assert_array_equal(
        EarlyFusion().fit([with_none, b]).transform([with_none, b]),
        expected.transform({"a": with_nan, "b": b}),
    )


def test_constant_columns_and_views():
    model = EarlyFusion("columns").fit({"a": [[1.0, 5.0], [3.0, 5.0]], "b": [[2.0], [2.0]]})
    np.testing.assert_allclose(
        model.transform({"a": [[1.0, 5.0], [3.0, 6.0]], "b": [[2.0], [2.5]]}),
        [[-(0.5**0.5), 0, 0], [0.5**0.5, 1, 0.5]],
    )
    alone = EarlyFusion().fit({"a": [[1.0, 2.0], [np.nan, np.nan]], "b": [[0.0], [1.0]]})
    np.testing.assert_array_equal(alone.means_["a"], [1.0, 2.0])
    assert np.isfinite(alone.transform({"a": [[4.0, 2.0]]})).all()


@given(st.integers(0, 2**31 - 1), st.sampled_from(["view", "columns", None]), st.booleans())
def test_invariants(seed, scale, single):
    """The inverse undoes the transform; units and offsets of a view do not matter where it is scaled."""
    rng = np.random.default_rng(seed)
    dtype = np.float32 if single else np.float64
    views = [rng.normal(size=(9, width)).astype(dtype) for width in (1, 5, 2)]
    model = EarlyFusion(scale, [1.0, 0.5, 2.0]).fit(views)
    Z = model.transform(views)
    assert Z.dtype == dtype
    tolerance = 1e-4 if single else 1e-10
    for a, back in zip(views, model.inverse_transform(Z).values(), strict=True):
        assert back.dtype == dtype
        np.testing.assert_allclose(back, a, atol=tolerance)
    if scale is not None:
        moved = [views[0], (8 * views[1] + 4).astype(dtype), views[2]]
        np.testing.assert_allclose(clone(model).fit(moved).transform(moved), Z, atol=10 * tolerance)


def test_strided_read_only_and_integer_input(rng):
    a = rng.integers(0, 255, size=(30, 8)).astype(np.uint8)
    wide = rng.normal(size=(60, 12))
    view = wide[::2, ::3]
    view.flags.writeable = False
    expected = EarlyFusion().fit([a.astype(float), view.copy()]).transform([a.astype(float), view.copy()])
    np.testing.assert_allclose(EarlyFusion().fit([a, view]).transform([a, view]), expected, atol=1e-12)
    np.testing.assert_allclose(
        EarlyFusion().fit([np.asfortranarray(a), view]).transform([a, view]), expected, atol=1e-12
    )


def test_frames_names_and_output(views):
    frames = {
        name: pd.DataFrame(a, columns=[f"c{i}" for i in range(a.shape[1])]) for name, a in views.items()
    }
    model = EarlyFusion().fit(frames)
    names = model.get_feature_names_out().tolist()
    assert names[:4] == ["audio__c0", "audio__c1", "audio__c2", "image__c0"]
    assert EarlyFusion().fit(views).get_feature_names_out()[3] == "image__0"
    out = clone(model).set_output(transform="pandas").fit(frames).transform(frames)
    assert out.columns.tolist() == names
    np.testing.assert_array_equal(out.to_numpy(), model.transform(views))
    with pytest.raises(ValueError, match="feature names of audio should match"):
        model.transform({"audio": frames["audio"][["c1", "c0", "c2"]]})


def test_pipelines_and_files(views, tmp_path):
    target = views["audio"][:, 0] - 20 * views["image"][:, 0]
    piped = make_pipeline(EarlyFusion(), Ridge(1e-9)).fit(views, target)
    np.testing.assert_allclose(piped.predict(views), target, atol=1e-4)
    model = EarlyFusion(weights={"text": 0.1}).fit(views)
    model.save(tmp_path / "fusion.npz")
    loaded = fastcca.load(tmp_path / "fusion.npz")
    np.testing.assert_array_equal(loaded.transform(views), model.transform(views))
    assert loaded.get_params() == model.get_params()
    assert loaded.modalities_ == model.modalities_
    assert fastcca.fusion.EarlyFusion is EarlyFusion


def test_bad_input_is_named(views):
    model = EarlyFusion().fit(views)
    with pytest.raises(ValueError, match=r"unknown modality 'video': EarlyFusion was fitted to 'audio', "):
        model.transform({"video": views["audio"]})
    with pytest.raises(ValueError, match=r"same number of rows, got 40 in 'audio', 39 in 'image'"):
        EarlyFusion().fit({**views, "image": views["image"][1:]})
    with pytest.raises(ValueError, match=r"image has 6 features, but EarlyFusion is expecting 7"):
        model.transform({"image": views["image"][:, 1:]})
    empty = np.full((40, 7), np.nan)
    with pytest.raises(ValueError, match="every row of modality 'image' is missing"):
        EarlyFusion().fit({**views, "image": empty})
    with pytest.raises(ValueError, match="row 0 has no modality at all"):
        model.transform({"image": empty})
    holes = views["image"].copy()
    holes[7] = np.nan
    with pytest.raises(ValueError, match="row 7 has no modality at all"):
        model.transform({"image": holes})
    holes[9, 2] = np.nan
    with pytest.raises(ValueError, match=r"image contains NaN: the first is at row 9, column 2; a row that"):
        EarlyFusion().fit({**views, "image": holes})
    holes[9, 2] = -np.inf
    with pytest.raises(ValueError, match=r"image contains infinity: the first is at row 9, column 2$"):
        model.transform({"image": holes})
    with pytest.raises(ValueError, match="at least one modality, got none"):
        model.transform({"image": None})
    with pytest.raises(TypeError, match="names of modalities must be text, got 3"):
        EarlyFusion().fit({3: views["image"]})
    with pytest.raises(ValueError, match="scale must be one of 'view', 'columns', None, got 'rows'"):
        EarlyFusion("rows").fit(views)
    with pytest.raises(ValueError, match="weights names an unknown modality 'video'"):
        EarlyFusion(weights={"video": 1.0}).fit(views)
    with pytest.raises(ValueError, match="weights must be one number for each of audio, image, text"):
        EarlyFusion(weights=[1.0, 2.0]).fit(views)
    for wrong in (-1.0, np.nan, np.inf, "1"):
        with pytest.raises(ValueError, match="weights must be finite and not negative"):
            EarlyFusion(weights={"audio": wrong}).fit(views)
    with pytest.raises(ValueError, match="audio must hold numbers"):
        EarlyFusion().fit({"audio": [["a"], ["b"]]})
    with pytest.raises(NotFittedError):
        EarlyFusion().transform(views)


def test_the_first_bad_value_is_found_behind_many_rows():
    """Rows are looked at in blocks."""
    a = np.zeros((300, 8000), np.float32)
    a[250, 3:] = np.nan
    with pytest.raises(ValueError, match="the first is at row 250, column 3"):
        check_modalities({"a": a}, "model")
    a[250] = np.nan
    found = check_modalities({"a": a, "b": np.ones((300, 1))}, "model")
    assert np.flatnonzero(~found.present["a"]).tolist() == [250]
    assert found.data["a"] is a


def test_a_variance_that_overflows_is_told(rng):
    with pytest.raises(NumericalError, match="the variance of audio overflows"):
        EarlyFusion().fit({"audio": 1e200 * rng.standard_normal((20, 3)), "image": np.eye(20)})


def test_a_fit_that_fails_leaves_the_model_as_it_was(views, rng):
    model = EarlyFusion().fit(views)
    Z = model.transform(views)
    with pytest.raises(NumericalError, match="the variance of b overflows"):
        model.fit({"a": rng.standard_normal((20, 2)), "b": 1e200 * rng.standard_normal((20, 3))})
    assert model.modalities_ == ("audio", "image", "text")
    np.testing.assert_array_equal(model.transform(views), Z)
    new = EarlyFusion()
    with pytest.raises(NumericalError):
        new.fit(1e200 * rng.standard_normal((20, 3)))
    with pytest.raises(NotFittedError):
        new.transform(views)


def test_a_variance_that_underflows_is_told(rng):
    small = 1e-200 * rng.standard_normal((20, 3))
    mixed = np.column_stack([small[:, 0], rng.standard_normal(20), np.full(20, 1e-200)])
    for scale in ("view", "columns"):
        with pytest.raises(NumericalError, match="the variance of audio underflows: scale it up"):
            EarlyFusion(scale).fit({"audio": small, "image": np.eye(20)})
    np.testing.assert_array_equal(EarlyFusion(None).fit_transform(small), small - EarlyFusion(None).fit(small).means_["X"])  # fmt: skip # noqa: E501
    # beside a column that counts it does no harm, unless it has a scale of its own
    assert EarlyFusion().fit_transform(mixed).var(axis=0, ddof=1).sum() == pytest.approx(1)
    with pytest.raises(NumericalError, match="underflows"):
        EarlyFusion("columns").fit(mixed)
    assert (EarlyFusion("columns").fit_transform(np.full((5, 2), 1e-200)) == 0).all()


def test_a_vector_among_the_views_is_named(rng):
    with pytest.raises(ValueError, match="view1: Expected 2D array, got 1D array"):
        EarlyFusion().fit([rng.standard_normal((20, 3)), np.arange(20.0)])


def test_scaled_rows_that_overflow_are_refused(rng):
    fusion = EarlyFusion().fit((1e-10 * rng.standard_normal((20, 3))).astype(np.float32))
    with pytest.raises(NumericalError, match="the scaled rows of X overflow float32"):
        fusion.transform(np.full((2, 3), 3e38, dtype=np.float32))
