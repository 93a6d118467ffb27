"""Joint embedding of pairs: the objective, retrieval, what the negatives are for, bad input."""

import numpy as np
import pandas as pd
import pytest

import fastcca
from fastcca import CCA
from fastcca.datasets import load_wikipedia
from fastcca.embedding import JointEmbedding
from fastcca.metrics import median_rank, recall_at_k
from reference import embedding as reference


@pytest.fixture
def views(rng):
    meaning = rng.normal(size=(120, 3))
    return (
        meaning @ rng.normal(size=(3, 7)) + 0.2 * rng.normal(size=(120, 7)),
        meaning @ rng.normal(size=(3, 5)) + 0.2 * rng.normal(size=(120, 5)),
    )


@pytest.mark.parametrize("loss", ["hinge", "hardest", "softmax"])
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_objective_is_what_the_reference_says(views, loss, similarity):
    X, Y = views
    model = JointEmbedding(3, loss=loss, similarity=similarity, margin=0.5, reg=0.01).fit(X, Y)
    zx, zy = model.transform_views(X, Y)
    value = reference.pair_objective(zx, zy, 0.5, loss, similarity)
    value += 0.01 * ((model.x_weights_**2).sum() + (model.y_weights_**2).sum())
    assert model.loss_curve_[-1] == pytest.approx(value, rel=1e-3)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_components_are_turned_to_covary_in_order(views):
    X, Y = views
    model = JointEmbedding(3).fit(X, Y)
    zx, zy = model.transform_views(X, Y)
    cross = (zx - zx.mean(axis=0)).T @ (zy - zy.mean(axis=0)) / 119
    np.testing.assert_allclose(0.5 * (cross + cross.T), np.diag(model.singular_values_), atol=1e-9)
    assert (np.diff(model.singular_values_) <= 0).all()
    assert (model.x_weights_[np.abs(model.x_weights_).argmax(axis=0), range(3)] > 0).all()
    pearson = [np.corrcoef(zx[:, i], zy[:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(model.canonical_correlations_, pearson, atol=1e-9)
    assert not hasattr(model, "total_correlation_")  # its singular values are covariances


def test_partners_are_found(views):
    X, Y = views
    model = JointEmbedding(3, random_state=0).fit(X[:80], Y[:80])
    zx, zy = model.transform_views(X[80:], Y[80:])
    both = [recall_at_k(a, b, 1, similarity="euclidean") for a, b in ((zx, zy), (zy, zx))]
    assert model.score(X[80:], Y[80:]) == pytest.approx(sum(both) / 2)
    assert model.score(X[80:], Y[80:]) > 0.5  # chance is 1/40
    # reconstruction of one view from the other: regression on its scores
    residual = ((model.predict(X[80:]) - Y[80:]) ** 2).sum() / ((Y[80:] - Y[:80].mean(axis=0)) ** 2).sum()
    assert residual < 0.2


def test_batches_depend_on_the_seed_alone(views):
    X, Y = views
    fits = [JointEmbedding(2, batch_size=32, random_state=seed).fit(X, Y).transform(X) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_units_and_origins_change_nothing(views):
    X, Y = views
    plain = JointEmbedding(3).fit(X, Y).transform(X)
    scaled = JointEmbedding(3).fit(1e3 * (X + 1.0), 1e-3 * Y).transform(1e3 * (X + 1.0))
    np.testing.assert_allclose(scaled, plain, atol=1e-3 * np.abs(plain).max())


def test_save_and_load(views, tmp_path):
    X, Y = views
    frame = pd.DataFrame(Y, columns=list("abcde"))
    model = JointEmbedding(2).fit(X, frame)
    model.save(tmp_path / "joint.npz")
    loaded = fastcca.load(tmp_path / "joint.npz")
    assert loaded.y_feature_names_in_.tolist() == list("abcde")
    np.testing.assert_array_equal(loaded.transform_y(frame), model.transform_y(frame))
    assert loaded.score(X, frame) == model.score(X, frame)


def test_float32(views):
    X, Y = (view.astype(np.float32) for view in views)
    model = JointEmbedding(3).fit(X, Y)
    assert model.transform(X).dtype == model.x_weights_.dtype == np.float32
    plain = JointEmbedding(3).fit(*views).transform(views[0])
    np.testing.assert_allclose(model.transform(X), plain, atol=1e-2 * np.abs(plain).max())


def test_rank_leaves_fewer_components(rng):
    thin = rng.normal(size=(30, 1))
    Y = np.hstack([thin, -thin, rng.normal(size=(30, 1))])
    with pytest.warns(UserWarning, match="n_components=3 is more than the rank of the data: 2 components"):
        model = JointEmbedding(3, whitening_exponent=0.0, normalize=False).fit(rng.normal(size=(30, 4)), Y)
    assert model.transform_y(Y).shape == (30, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "warp"}, "loss must be one of 'hinge', 'hardest', 'softmax', got 'warp'"),
        ({"similarity": "dot"}, "similarity must be one of 'euclidean', 'cosine', got 'dot'"),
        ({"margin": 0}, "margin must be a finite number > 0, got 0"),
        ({"reg": -1.0}, "reg must be a finite number >= 0 or None, got -1.0"),
        ({"init_reg": 0.0}, "init_reg must be a finite number > 0, got 0.0"),
        ({"batch_size": 1}, "batch_size must be an integer >= 2, got 1"),
        ({"n_components": 6}, "n_components=6 is more than min"),
    ],
)
def test_parameters_out_of_range(views, parameters, message):
    with pytest.raises(ValueError, match=message):
        JointEmbedding(**parameters).fit(*views)


def test_views_that_do_not_do(views):
    X, Y = views
    bad = Y.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="Input y contains NaN: the first is at row 3, column 1"):
        JointEmbedding().fit(X, bad)
    with pytest.raises(ValueError, match="every column of y is constant"):
        JointEmbedding().fit(X, np.ones((120, 2)))
    with pytest.raises(ValueError, match="sample_weight must be None"):
        JointEmbedding().fit(X, Y).score(X, Y, sample_weight=np.ones(120))


def test_beside_cca_on_wikipedia(data_home):
    try:
        wiki = load_wikipedia()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    ranks = {}
    for name, model in (
        ("cca", CCA(reg=0.1, scale=True)),
        ("joint", JointEmbedding(random_state=0)),
    ):
        model.fit(wiki.image_train, wiki.text_train)
        zx, zy = model.transform_views(wiki.image_test, wiki.text_test)
        ranks[name] = median_rank(zx, zy), median_rank(zy, zx)
    # of 693 documents; 347 is chance
    assert max(ranks["joint"]) < min(ranks["cca"]) < 200
