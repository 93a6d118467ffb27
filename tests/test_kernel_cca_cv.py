"""Kernel CCA with widths and regularisation chosen by cross-validation: the choice of a plain search."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, ShuffleSplit

import fastcca
from fastcca import KernelCCA, KernelCCACV
from fastcca.functional import median_gamma

Array = NDArray[Any]
GAMMAS = [0.05, (0.5, 0.2), "median"]
REGS = [1e-3, 1e-1]


@pytest.fixture
def views(rng: np.random.Generator) -> tuple[Array, Array]:
    t = rng.normal(size=(90, 1))
    X = np.hstack([t, rng.normal(size=(90, 2))])
    return X, np.hstack([t**2, rng.normal(size=(90, 1))]) + 0.2 * rng.normal(size=(90, 2))


def plain_scores(
    X: Array, Y: Array, splits: Any, penalty: Any, weights: Array | None = None
) -> NDArray[np.float64]:
    """Each fold, width and regularisation fitted and scored on its own, with landmarks from all rows."""
    scores = []
    for train, test in splits:
        w = (None, None) if weights is None else (weights[train], weights[test])
        row = []
        for gamma in GAMMAS:
            whole = KernelCCA(2, gamma=gamma).fit(X, Y, sample_weight=weights, landmarks=(None, None))
            widths = whole.x_gamma_, whole.y_gamma_
            points = whole.x_landmarks_, whole.y_landmarks_
            for reg in REGS:
                model = KernelCCA(2, gamma=widths, reg=reg, penalty=penalty)
                model.fit(X[train], Y[train], sample_weight=w[0], landmarks=points)
                row.append(model.score(X[test], Y[test], sample_weight=w[1]))
        scores.append(row)
    return np.array(scores)


@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
@pytest.mark.parametrize(
    "cv", [3, KFold(4, shuffle=True, random_state=0), ShuffleSplit(2, test_size=0.3, random_state=0)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_separate_fits(
    penalty: Any, cv: Any, weighted: bool, views: Any, rng: np.random.Generator
) -> None:
    X, Y = views
    weights = rng.integers(1, 4, size=90).astype(float) if weighted else None
    search = KernelCCACV(2, gammas=GAMMAS, regs=REGS, cv=cv, penalty=penalty)
    search.fit(X, Y, sample_weight=weights)
    splits = list((KFold(cv) if isinstance(cv, int) else cv).split(X))
    expected = plain_scores(X, Y, splits, penalty, weights)
    got = np.array([search.cv_results_[f"split{i}_test_score"] for i in range(search.n_splits_)])
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert search.best_index_ == expected.mean(axis=0).argmax()
    assert search.best_score_ == pytest.approx(expected.mean(axis=0).max(), abs=1e-6)
    assert search.cv_results_["params"][search.best_index_] == {"gamma": search.gamma_, "reg": search.reg_}
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1


def test_the_refit_is_a_fit_to_all_rows(views: Any, tmp_path: Any) -> None:
    X, Y = views
    search = KernelCCACV(2, gammas=GAMMAS, regs=REGS, cv=3).fit(X, Y)
    model = KernelCCA(2, gamma=search.gamma_, reg=search.reg_).fit(X, Y)
    np.testing.assert_allclose(search.singular_values_, model.singular_values_, atol=1e-9)
    np.testing.assert_allclose(search.transform(X), model.transform(X), atol=1e-6)
    np.testing.assert_allclose(search.predict(X), model.predict(X), atol=1e-6)
    np.testing.assert_array_equal(search.best_estimator_.transform(X), search.transform(X))
    assert search.best_estimator_.get_params() == model.get_params()
    search.save(tmp_path / "search.npz")
    loaded = fastcca.load(tmp_path / "search.npz")
    np.testing.assert_array_equal(loaded.transform(X), search.transform(X))
    np.testing.assert_array_equal(
        loaded.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


@pytest.mark.filterwarnings("ignore:the best ridge")
def test_it_chooses_as_grid_search_does(rng: np.random.Generator) -> None:
    # Landmarks of each training part here, of all rows there: at full rank of smooth kernels, the same space.
    X = rng.uniform(-1, 1, size=(80, 1))
    Y = np.cos(3 * X) + 0.3 * rng.normal(size=(80, 1))
    gammas, regs = [0.1, 1.0, 10.0], [1e-4, 1e-2, 1.0]
    plain = GridSearchCV(KernelCCA(1), {"gamma": gammas, "reg": regs}, cv=5).fit(X, Y)
    search = KernelCCACV(1, gammas=gammas, regs=regs).fit(X, Y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], atol=1e-3
    )
    assert search.gamma_[0] == plain.best_params_["gamma"]
    assert search.reg_ == plain.best_params_["reg"]


def test_default_grids(views: Any) -> None:
    X, Y = views
    search = KernelCCACV(1, cv=2).fit(X, Y)
    medians = median_gamma(X), median_gamma(Y)
    widths = [params["gamma"] for params in search.cv_results_["params"][::7]]
    np.testing.assert_allclose(widths, [[f * m for m in medians] for f in (0.25, 0.5, 1, 2, 4)])
    assert [params["reg"] for params in search.cv_results_["params"][:7]] == pytest.approx(
        np.logspace(-6, 0, 7)
    )
    assert len(KernelCCACV(1, kernel="linear", cv=2).fit(X, Y).cv_results_["params"]) == 7


def test_noise_asks_for_more_regularisation(rng: np.random.Generator) -> None:
    t = rng.normal(size=(200, 1))
    X = np.hstack([t + rng.normal(size=(200, 1)), rng.normal(size=(200, 3))])
    Y = np.hstack([t**2 + rng.normal(size=(200, 1)), rng.normal(size=(200, 3))])
    search = KernelCCACV(1, gammas=["median"], regs=[1e-8, 1e-2]).fit(X, Y)
    assert search.reg_ == 1e-2


def test_grids_of_each_view(views: Any) -> None:
    search = KernelCCACV(1, gammas=np.array([[0.1, 0.2], [1.0, 2.0]]), regs=([1e-3, 1e-2], [1e-1]), cv=2)
    search.fit(*views)
    assert [tuple(params.values()) for params in search.cv_results_["params"]] == [
        ((0.1, 0.2), (1e-3, 1e-1)),
        ((0.1, 0.2), (1e-2, 1e-1)),
        ((1.0, 2.0), (1e-3, 1e-1)),
        ((1.0, 2.0), (1e-2, 1e-1)),
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gammas": []}, "gammas must be a sequence of widths or of pairs of them, got []"),
        ({"gammas": 0.1}, "gammas must be a sequence of widths or of pairs of them, got 0.1"),
        ({"gammas": "median"}, "gammas must be a sequence of widths or of pairs of them, got 'median'"),
        ({"gammas": [0.0]}, "gamma must be a finite number > 0 or 'median', got 0.0"),
        ({"regs": [-1.0]}, "regs must be a finite number >= 0 or a pair of them (x, y), got -1.0"),
        ({"regs": []}, "regs must be a sequence"),
        ({"rank": 0}, "rank must be an integer >= 1, got 0"),
        ({"penalty": "none"}, "penalty must be one of"),
        ({"cv": [(range(80), [85])]}, "the splits have 1 test row in all, at least 2 are needed"),
    ],
)
def test_parameters_out_of_range(parameters: Any, message: str, views: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        KernelCCACV(**parameters).fit(*views)


@pytest.mark.parametrize("penalty", ["ridge", "bach-jordan"])
@pytest.mark.parametrize(
    "cv", [LeaveOneOut(), ShuffleSplit(8, test_size=3, random_state=0)], ids=["one", "some"]
)
def test_tiny_test_parts_are_pooled(penalty: Any, cv: Any, rng: np.random.Generator) -> None:
    X = rng.normal(size=(24, 2))
    Y = X**2 + 0.3 * rng.normal(size=(24, 2))
    search = KernelCCACV(2, gammas=[0.3], regs=REGS, cv=cv, penalty=penalty).fit(X, Y)
    whole = KernelCCA(2, gamma=0.3).fit(X, Y, landmarks=(None, None))
    points = whole.x_landmarks_, whole.y_landmarks_
    expected = []
    for reg in REGS:
        zx, zy = [], []
        for train, test in cv.split(X):
            model = KernelCCA(2, gamma=0.3, reg=reg, penalty=penalty)
            model.fit(X[train], Y[train], landmarks=points)
            zx.append(model.transform(X[test]) - model.transform(X[train]).mean(axis=0))
            zy.append(model.transform_y(Y[test]) - model.transform_y(Y[train]).mean(axis=0))
        a, b = np.vstack(zx), np.vstack(zy)
        expected.append(np.mean((a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, atol=1e-6)
    assert "std_test_score" not in search.cv_results_


def test_units_make_no_difference_to_the_linear_kernel(views: Any) -> None:
    X, Y = views
    one = KernelCCACV(1, kernel="linear").fit(X, Y)
    other = KernelCCACV(1, kernel="linear").fit(1e3 * X, 1e-2 * Y)
    assert other.best_index_ == one.best_index_
    np.testing.assert_allclose(
        other.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"], atol=1e-6
    )


def test_the_best_regularisation_at_an_end_of_the_grid_is_told(rng: np.random.Generator) -> None:
    t = rng.normal(size=(100, 1))
    X = np.hstack([t + rng.normal(size=(100, 1)), rng.normal(size=(100, 3))])
    Y = np.hstack([t**2 + rng.normal(size=(100, 1)), rng.normal(size=(100, 3))])
    with pytest.warns(UserWarning, match="the best ridge, 1e-08, is the smallest of the grid"):
        KernelCCACV(1, gammas=["median"], regs=[1e-8, 1e-7, 1e-6]).fit(X, Y)
