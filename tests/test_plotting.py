"""The displays: what they draw is the data they hold."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from fastcca import CCA, plotting
from fastcca.datasets import make_two_views
from fastcca.embedding import UnifiedSemanticEmbedding

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def views():
    return make_two_views(300, (5, 4), (0.9, 0.6, 0.3), random_state=0)


@pytest.fixture(scope="module")
def cca(views):
    return CCA(n_components=3).fit(views.X[:200], views.y[:200])


def test_correlations_are_those_of_the_variates(views, cca):
    samples = {"train": (views.X[:200], views.y[:200]), "test": (views.X[200:], views.y[200:])}
    display = plotting.CorrelationDisplay.from_estimator(cca, samples).plot()
    assert [line.get_label() for line in display.lines_] == ["train", "test"]
    for line, (X, y) in zip(display.lines_, samples.values(), strict=True):
        u, v = cca.transform(X), cca.transform_y(y)
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        expected = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)]
        np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-12)
    np.testing.assert_allclose(display.lines_[0].get_ydata(), cca.canonical_correlations_, atol=1e-10)


def test_correlations_of_different_lengths_and_negative_ones():
    display = plotting.CorrelationDisplay({"a": [0.9], "b": np.array([0.5, -0.4, 0.1])}).plot(color="k")
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), [0.9])
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), [0.5, -0.4, 0.1])
    assert display.ax_.get_ylim()[0] <= -0.4
    assert all(line.get_color() == "k" for line in display.lines_)


def test_variates_are_the_scores(views, cca):
    labels = np.arange(300) % 3
    display = plotting.VariateDisplay.from_estimator(cca, views.X, views.y, labels=labels, component=1)
    u, v = cca.transform(views.X)[:, 1], cca.transform_y(views.y)[:, 1]
    assert display.correlation == pytest.approx(np.corrcoef(u, v)[0, 1], abs=1e-12)
    display.plot()
    assert len(display.points_) == 3
    for label, points in enumerate(display.points_):
        offsets = np.column_stack([u, v])[labels == label]
        np.testing.assert_allclose(points.get_offsets(), offsets, atol=1e-12)
    assert display.ax_.get_xlabel() == "X variate 2"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["0", "1", "2"]


def test_variates_without_labels_on_given_axes():
    _, ax = pyplot.subplots()
    display = plotting.VariateDisplay([1.0, 2.0, 4.0], [3.0, 2.0, 1.0]).plot(ax)
    assert display.ax_ is ax
    np.testing.assert_array_equal(display.points_[0].get_offsets(), [[1, 3], [2, 2], [4, 1]])
    assert ax.get_legend() is None


def test_numbers_are_a_quantity_with_a_colour_bar(views, cca):
    values = np.linspace(3.0, 7.0, 300)
    display = plotting.VariateDisplay.from_estimator(cca, views.X, views.y, labels=values).plot()
    (points,) = display.points_
    np.testing.assert_array_equal(points.get_array(), values)
    assert display.ax_.get_legend() is None
    assert (display.colorbar_.vmin, display.colorbar_.vmax) == (3.0, 7.0)
    assert plotting.VariateDisplay([1.0, 2.0], [1.0, 2.0], [0.5, 0.1]).plot().colorbar_ is not None
    assert plotting.VariateDisplay([1.0, 2.0], [1.0, 2.0], [5, 1]).plot().colorbar_ is None


def test_classes_differ_in_colour_or_shape():
    n = 35
    labels = np.array([f"class {i:02d}" for i in range(n)])
    display = plotting.VariateDisplay(np.arange(n), np.arange(n)[::-1], labels).plot()
    looks = {(tuple(p.get_facecolor()[0]), p.get_paths()[0].vertices.tobytes()) for p in display.points_}
    assert len(looks) == len(display.points_) == n
    assert display.ax_.get_legend() is None  # 35 names would cover the picture
    few = plotting.VariateDisplay(np.arange(n), np.arange(n)[::-1], labels[np.arange(n) % 30]).plot()
    assert len(few.ax_.get_legend().get_texts()) == 30


def test_colours_are_matplotlibs_for_any_vision():
    assert list(plotting.COLOURS) == [
        f"#{colour.lstrip('#')}"
        for colour in matplotlib.style.library["petroff10"]["axes.prop_cycle"].by_key()["color"]
    ]


def test_variates_are_of_a_model_of_two_views(views):
    with pytest.raises(TypeError, match="estimator must be a model of two views with transform_views, got 5"):
        plotting.VariateDisplay.from_estimator(5, views.X, views.y)


def test_loadings_as_bars(cca):
    display = plotting.LoadingDisplay.from_estimator(cca, component=2).plot()
    expected = np.concatenate([cca.x_loadings_[:, 2], cca.y_loadings_[:, 2]])
    np.testing.assert_allclose([bar.get_width() for bar in display.bars_], expected)
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == [
        *(f"x{i}" for i in range(5)),
        *(f"y{i}" for i in range(4)),
    ]
    colours = [bar.get_facecolor() for bar in display.bars_]
    assert len(set(colours[:5])) == len(set(colours[5:])) == 1
    assert colours[0] != colours[5]


def test_the_largest_loadings_are_drawn_in_the_order_of_the_columns():
    x, y = np.linspace(-0.5, 0.9, 1000), np.array([0.1, np.nan, -0.8])
    display = plotting.LoadingDisplay(x, y).plot(top=2)
    np.testing.assert_array_equal(display.shown_, [998, 999, 1000, 1002])
    np.testing.assert_array_equal([bar.get_width() for bar in display.bars_], [*x[-2:], 0.1, -0.8])
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["x998", "x999", "y0", "y2"]
    assert "largest 2 of 1000 (X) and 2 of 3 (Y)" in display.ax_.get_title()
    assert len(plotting.LoadingDisplay(x, y).plot().bars_) == 13
    assert len(plotting.LoadingDisplay(x[:30], y).plot(top=None).bars_) == 33


@pytest.mark.parametrize("kind", ["bar", "helio"])
def test_no_name_is_cut_off(kind):
    names = [f"a rather long name of a column {i}" for i in range(55)]
    display = plotting.LoadingDisplay(np.linspace(-1, 1, 55), [0.5], names, ["y"]).plot(kind=kind)
    figure = display.ax_.figure
    figure.canvas.draw()
    labels = display.ax_.get_yticklabels() if kind == "bar" else display.ax_.get_xticklabels()
    boxes = [label.get_window_extent() for label in labels]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    if kind == "bar":
        assert all(
            above.y0 >= below.y1 - 1 for above, below in itertools.pairwise(boxes)
        )  # no name is printed over the next


def test_loadings_as_heliograph():
    display = plotting.LoadingDisplay([0.5, -0.25], [1.0], ["a", "b"], ["c"]).plot(kind="helio")
    assert display.ax_.name == "polar"
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in display.bars_]
    # X on the right, clockwise from the top; y on the left. Lengths from the circle of radius 2.
    np.testing.assert_allclose(bars, [(np.pi / 4, 2, 0.5), (3 * np.pi / 4, 2, -0.25), (3 * np.pi / 2, 2, 1)])
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["a", "b", "c"]


def test_loadings_take_the_names_seen_in_fit(views):
    pandas = pytest.importorskip("pandas")
    X, y = pandas.DataFrame(views.X, columns=list("abcde")), pandas.DataFrame(views.y, columns=list("wxyz"))
    display = plotting.LoadingDisplay.from_estimator(CCA(n_components=1).fit(X, y))
    assert display.names == list("abcdewxyz")


def test_loadings_refuse():
    with pytest.raises(ValueError, match="x_names must be 2 names, got 1"):
        plotting.LoadingDisplay([0.5, 0.2], [1.0], ["a"])
    display = plotting.LoadingDisplay([0.5], [1.0])
    with pytest.raises(ValueError, match="'bar' or 'helio'"):
        display.plot(kind="pie")
    with pytest.raises(ValueError, match=r"top must be .* >= 1, got 0"):
        display.plot(top=0)
    with pytest.raises(ValueError, match="polar"):
        display.plot(pyplot.subplots()[1], kind="helio")


def test_explanation_as_bars():
    rng = np.random.default_rng(0)
    y = np.repeat(["cat", "dog", "eel"], 20)
    X = rng.normal(size=(60, 4)) + 2 * np.eye(3, 4)[np.repeat(np.arange(3), 20)]
    attributes = {"cat": [0, 1, 1], "dog": [0, 1, 0], "eel": [1, 0, 0]}
    model = UnifiedSemanticEmbedding(attributes=attributes, mu2=0.5, temperature=1.0).fit(X, y)
    why = model.explain("cat")
    assert why.attributes
    display = plotting.ExplanationDisplay.from_estimator(model, "cat").plot()
    assert [bar.get_width() for bar in display.bars_] == [weight for _, weight in why.attributes]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == [
        name for name, _ in why.attributes
    ]
    assert display.ax_.get_title() == "cat = …"
    assert plotting.ExplanationDisplay("cat", "feline", []).plot().ax_.get_title() == "cat = feline + …"


def test_without_matplotlib_the_extra_is_named():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from fastcca.plotting import CorrelationDisplay\n"
        "CorrelationDisplay({'a': [0.5]}).plot()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: fastcca.plotting needs matplotlib: pip install 'fastcca[plot]'" in run.stderr


def test_the_curve_of_lags():
    from fastcca.synchrony import SynchronyDetector

    rng = np.random.default_rng(0)
    common = rng.normal(size=(400, 2))
    x, y = (common @ rng.normal(size=(2, p)) + rng.normal(size=(400, p)) for p in (5, 4))
    detector = SynchronyDetector(max_lag=10).fit(x, y)
    found = detector.detect(x[3:], y[:-3])
    display = plotting.LagDisplay.from_estimator(detector, x[3:], y[:-3]).plot()
    np.testing.assert_array_equal(display.line_.get_xydata(), np.column_stack([found.lags, found.ranked]))
    np.testing.assert_array_equal(display.ax_.lines[1].get_ydata(), found.critical)
    assert display.lag == 3
    assert display.ax_.get_title() == f"lag 3, confidence {found.confidence:.3f}"
    alone = plotting.LagDisplay([0, 1], [0.5, 0.2]).plot()
    assert alone.ax_.get_title() == "lag 0"
    with pytest.raises(ValueError, match="lags and correlation must be as many"):
        plotting.LagDisplay([0, 1], [0.5])


def test_the_correlation_circle(views, cca):
    display = plotting.CorrelationCircleDisplay.from_estimator(cca, views.X, components=(0, 2)).plot(top=3)
    for points, loadings in zip(display.points_, (cca.x_loadings_, cca.y_loadings_), strict=True):
        np.testing.assert_allclose(points.get_offsets(), loadings[:, [0, 2]])
    length = np.linalg.norm(cca.x_loadings_[:, [0, 2]], axis=1)
    named = {name.get_text() for name in display.names_}
    assert {f"x{i}" for i in np.argsort(-length)[:3]} == {name for name in named if name[0] == "x"}
    assert len(named) == 6
    assert display.ax_.get_xlabel() == "correlation with variate 1"
    assert display.ax_.get_ylabel() == "with variate 3"
    both = plotting.CorrelationCircleDisplay.from_estimator(cca, views.X).plot(kind="biplot")
    rows = both.ax_.collections[0].get_offsets()
    scores = cca.transform(views.X)[:, :2]
    np.testing.assert_allclose(rows, scores / np.linalg.norm(scores, axis=1).max())
    with pytest.raises(ValueError, match="a biplot needs rows"):
        plotting.CorrelationCircleDisplay.from_estimator(cca).plot(kind="biplot")
    with pytest.raises(ValueError, match="kind must be 'circle' or 'biplot', got 'square'"):
        both.plot(kind="square")
    with pytest.raises(ValueError, match="two of the 3 of the model"):
        plotting.CorrelationCircleDisplay.from_estimator(cca, components=(0, 3))
    with pytest.raises(ValueError, match="y_loadings must have two columns"):
        plotting.CorrelationCircleDisplay([[0.1, 0.2]], [[0.1]])


@pytest.mark.parametrize("n", [6, 55, 1000])
def test_names_around_a_circle_are_whole_and_apart(n):
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(n, 2))
    loadings /= 1.1 * np.linalg.norm(loadings, axis=1).max()
    names = [f"a rather long name of a column {i}" for i in range(n)]
    display = plotting.CorrelationCircleDisplay(loadings, loadings[:3], names).plot()
    figure = display.ax_.figure
    figure.canvas.draw()
    boxes = [matplotlib.text.Text.get_window_extent(name) for name in display.names_]
    assert len(boxes) == min(n, 10) + 3
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_the_heat_map_holds_the_correlations_of_the_columns(views):
    cca = CCA().fit(views.X, views.y)
    display = plotting.HeatMapDisplay.from_estimator(cca)
    expected = np.corrcoef(views.X.T, views.y.T)[:5, 5:]
    np.testing.assert_allclose(display.values, expected, atol=1e-10)  # all four pairs: the whole of it
    first = plotting.HeatMapDisplay.from_estimator(cca, n_components=1).values
    rank_one = cca.canonical_correlations_[0] * np.outer(cca.x_loadings_[:, 0], cca.y_loadings_[:, 0])
    np.testing.assert_allclose(first, rank_one)
    display.plot(top=2)
    rows = np.sort(np.argsort(-np.abs(expected).max(axis=1))[:2])
    np.testing.assert_array_equal(display.shown_[0], rows)
    np.testing.assert_allclose(display.image_.get_array(), expected[np.ix_(*display.shown_)], atol=1e-10)
    low, high = display.image_.get_clim()
    assert low == -high  # white is 0
    with pytest.raises(ValueError, match="x_names must be 2 names, got 1"):
        plotting.HeatMapDisplay(np.eye(2), ["a"])


def test_individuals_with_ellipses(views, cca):
    labels = np.repeat(["a", "b"], 150)
    display = plotting.IndividualDisplay.from_estimator(
        cca, views.y, labels=labels, components=(1, 0), view="Y"
    ).plot(ellipse=0.9)
    scores = cca.transform_y(views.y)[:, [1, 0]]
    for label, points, ellipse in zip("ab", display.points_, display.ellipses_, strict=True):
        rows = scores[labels == label]
        np.testing.assert_allclose(points.get_offsets(), rows)
        # the boundary has the Mahalanobis distance whose chi-squared quantile is .9
        edge = ellipse.axes.transData.inverted().transform(ellipse.get_verts()) - rows.mean(axis=0)
        distance = np.einsum("ij,jk,ik->i", edge, np.linalg.inv(np.cov(rows.T)), edge)
        np.testing.assert_allclose(distance, 4.605170185988092, rtol=1e-3)  # chi2.ppf(.9, 2)
    assert display.ax_.get_xlabel() == "Y variate 2"
    for call, match in (
        (lambda: display.plot(ellipse=1.5), "ellipse must lie between 0 and 1"),
        (lambda: display.plot(kind="cloud"), "kind must be 'auto', 'scatter' or 'hexbin'"),
        (lambda: plotting.IndividualDisplay([1.0, 2.0]), "two columns"),
        (
            lambda: plotting.IndividualDisplay.from_estimator(cca, views.X, view="Z"),
            "view must be 'X' or 'Y'",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_many_rows_are_hexagons():
    z = np.random.default_rng(0).normal(size=(20_001, 2))
    display = plotting.IndividualDisplay(z).plot()
    assert display.points_[0].get_array().sum() == 20_001
    assert display.colorbar_ is not None
    assert plotting.VariateDisplay(*z.T).plot().points_[0].get_array().sum() == 20_001
    assert len(plotting.VariateDisplay(*z.T).plot(kind="scatter").points_[0].get_offsets()) == 20_001
    assert plotting.VariateDisplay(*z[:50].T).plot(kind="hexbin").points_[0].get_array().sum() == 50


@pytest.mark.filterwarnings("ignore:the best ridge")
def test_curves_and_surfaces_of_searches(views):
    from sklearn.model_selection import GridSearchCV

    from fastcca import CCACV

    search = CCACV(2, regs=[1.0, 0.01, 0.1]).fit(views.X, views.y)
    display = plotting.SelectionDisplay.from_estimator(search).plot()
    order = [1, 2, 0]
    np.testing.assert_array_equal(display.ax_.lines[0].get_xdata(), [0.01, 0.1, 1.0])
    np.testing.assert_array_equal(
        display.ax_.lines[0].get_ydata(), search.cv_results_["mean_test_score"][order]
    )
    assert display.ax_.lines[1].get_xdata() == [search.cv_results_["param_reg"][search.best_index_]]
    assert display.ax_.get_xscale() == "log"
    pairs = CCACV(2, regs=([0.01, 0.1], [0.1, 1.0, 10.0])).fit(views.X, views.y)
    surface = plotting.SelectionDisplay.from_estimator(pairs).plot()
    assert list(surface.parameters) == ["reg (X)", "reg (Y)"]
    mesh = surface.ax_.collections[0].get_array().reshape(3, 2)
    for params, score in zip(pairs.cv_results_["params"], pairs.cv_results_["mean_test_score"], strict=True):
        i, j = [0.01, 0.1].index(params["reg"][0]), [0.1, 1.0, 10.0].index(params["reg"][1])
        assert mesh[j, i] == score
    theirs = GridSearchCV(CCA(), {"n_components": [1, 2]}, cv=3).fit(views.X, views.y)
    assert plotting.SelectionDisplay.from_estimator(theirs).plot().ax_.get_xlabel() == "n_components"
    with pytest.raises(TypeError, match="fitted search"):
        plotting.SelectionDisplay.from_estimator(CCA())
    with pytest.raises(ValueError, match="one parameter or two, this grid has 0"):
        plotting.SelectionDisplay({"params": [{"reg": 1.0}], "mean_test_score": [0.5]}, 0)


def test_the_null_of_a_permutation_test(views):
    from fastcca.inference import permutation_test

    test = permutation_test(CCA(), views.X, views.y, n_permutations=99, random_state=0)
    display = plotting.PermutationDisplay.from_result(test, component=1).plot()
    heights = [bar.get_height() for bar in display.bars_]
    assert sum(heights) == 99
    edges = [bar.get_x() for bar in display.bars_]
    assert edges[0] == pytest.approx(test.permuted[:, 1].min())
    assert display.ax_.lines[0].get_xdata()[0] == test.statistic[1]
    assert display.ax_.get_title() == f"pair 2, p = {test.p_value[1]:.3g}"


def test_intervals_of_the_bootstrap(views):
    from fastcca.inference import bootstrap

    found = bootstrap(CCA(2), views.X, views.y, n_bootstrap=60, random_state=0)
    model = CCA(2).fit(views.X, views.y)
    np.testing.assert_allclose(found.estimate(), model.canonical_correlations_, atol=1e-10)
    np.testing.assert_allclose(found.estimate("y_loadings"), model.y_loadings_, atol=1e-10)
    with pytest.raises(ValueError, match="name must be one of"):
        found.estimate("loadings")
    display = plotting.BootstrapDisplay.from_result(found, "x_loadings", component=1).plot(top=3)
    low, high = found.interval("x_loadings")
    shown = display.shown_
    np.testing.assert_allclose([bar.get_width() for bar in display.bars_], model.x_loadings_[shown, 1])
    segments = display.ax_.collections[0].get_segments()
    np.testing.assert_allclose([s[0][0] for s in segments], low[shown, 1])
    np.testing.assert_allclose([s[1][0] for s in segments], high[shown, 1])
    grey = [bar.get_facecolor()[0] == bar.get_facecolor()[2] for bar in display.bars_]
    assert grey == [low[i, 1] <= 0 <= high[i, 1] for i in shown]
    whole = plotting.LoadingDisplay.from_result(found, x_names=list("abcde")).plot()
    segments = whole.ax_.collections[0].get_segments()
    y_low, y_high = found.interval("y_loadings")
    np.testing.assert_allclose([s[0][0] for s in segments], np.r_[low[:, 0], y_low[:, 0]])
    np.testing.assert_allclose([s[1][0] for s in segments], np.r_[high[:, 0], y_high[:, 0]])
    assert whole.names[:5] == list("abcde")
    with pytest.raises(ValueError, match="both x_interval and y_interval, or neither"):
        plotting.LoadingDisplay([0.5], [0.5], x_interval=([0.1], [0.9]))
    with pytest.raises(ValueError, match="must be as many"):
        plotting.BootstrapDisplay([0.5], [0.1, 0.2], [0.9])


def test_curves_of_a_training():
    history = [
        {"epoch": i, "loss": 1 / i, "train_correlation": 1.0 - 1 / i, "validation_correlation": None}
        for i in (1, 2, 3)
    ]

    class Model:
        history_ = history
        best_epoch_ = 2

    display = plotting.TrainingDisplay.from_estimator(Model()).plot()
    assert list(display.lines_) == ["train_correlation"]
    np.testing.assert_allclose(display.lines_["train_correlation"].get_ydata(), [0, 0.5, 2 / 3])
    np.testing.assert_array_equal(display.lines_["train_correlation"].get_xdata(), [1, 2, 3])
    assert display.ax_.lines[1].get_xdata()[0] == 2
    assert list(display.plot(names=["loss"]).lines_) == ["loss"]
    with pytest.raises(ValueError, match="names must be of 'loss', 'train_correlation', got 'val'"):
        display.plot(names=["val"])
    with pytest.raises(TypeError, match="history_"):
        plotting.TrainingDisplay.from_estimator(CCA())
    with pytest.raises(ValueError, match="at least one epoch"):
        plotting.TrainingDisplay([])


def test_recall_is_that_of_the_metric(views, cca):
    from fastcca.metrics import recall_at_k

    display = plotting.RecallDisplay.from_estimator({"all": cca, "again": cca}, views.X, views.y).plot()
    pair = cca.transform_views(views.X, views.y)
    for k, value in list(zip(*display.lines_[0].get_data(), strict=True))[::9]:
        assert value == pytest.approx(recall_at_k(*pair, int(k)))
    np.testing.assert_allclose(display.ax_.lines[2].get_ydata()[-1], 1.0)  # chance
    assert [line.get_label() for line in display.lines_] == ["all", "again"]
    assert plotting.RecallDisplay.from_estimator(cca, views.X, views.y).plot(max_k=10).lines_[
        0
    ].get_xdata().tolist() == list(range(1, 11))


def balanced(n):
    from fastcca.taxonomy import Taxonomy

    parents = {f"species {i}": f"genus {i // 4}" for i in range(n)}
    parents |= {f"genus {g}": "life" for g in range((n + 3) // 4)}
    return Taxonomy({**parents, "life": None})


@pytest.mark.parametrize("n", [6, 55])
def test_a_tree_has_all_of_its_names_and_none_is_cut_off(n):
    taxonomy = balanced(n)
    display = plotting.TaxonomyDisplay.from_taxonomy(taxonomy, {"species 1": 0.5, "life": 1.0}).plot()
    assert sorted(display.places) == sorted(taxonomy.nodes)
    assert sorted(y for node, (_, y) in display.places.items() if node in taxonomy.leaves) == list(range(n))
    for node, (x, _) in display.places.items():
        assert x == taxonomy.depth(node)
    for node in taxonomy.nodes:
        children = [display.places[child][1] for child in taxonomy.children(node)]
        if children:
            assert display.places[node][1] == (min(children) + max(children)) / 2
    figure = display.ax_.figure
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.texts]
    assert len(boxes) == len(taxonomy.nodes)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    np.testing.assert_array_equal(sorted(display.ax_.collections[-1].get_array()), [0.5, 1.0])


def test_large_trees_and_what_trees_refuse():
    display = plotting.TaxonomyDisplay(balanced(400)).plot()
    assert not any(text.get_text().startswith("species") for text in display.ax_.texts)
    assert display.ax_.figure.get_size_inches()[1] == 9
    with pytest.raises(ValueError, match="'cow', which is not in the taxonomy"):
        plotting.TaxonomyDisplay(balanced(6), {"cow": 1.0})
    with pytest.raises(TypeError, match="must have a taxonomy"):
        plotting.TaxonomyDisplay.from_estimator(CCA())


@pytest.mark.parametrize("n", [6, 55, 1000])
def test_names_of_a_map_do_not_cover_each_other(n):
    points = np.random.default_rng(0).normal(size=(n, 6))
    display = plotting.LabelMapDisplay(points, [f"label {i}" for i in range(n)]).plot()
    centred = points - points.mean(axis=0)
    _, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.linalg.norm(display.plane, axis=0), s[:2])
    boxes = [name.get_window_extent() for name in display.names_]
    assert len(boxes) >= (6 if n == 6 else 12)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= display.ax_.figure.bbox.width for box in boxes)


def test_the_map_of_an_embedding():
    from fastcca.taxonomy import Taxonomy

    rng = np.random.default_rng(0)
    y = np.repeat(["cat", "dog", "eel"], 20)
    X = rng.normal(size=(60, 4)) + 2 * np.eye(3, 4)[np.repeat(np.arange(3), 20)]
    taxonomy = Taxonomy({"cat": "pet", "dog": "pet", "eel": "animal", "pet": "animal", "animal": None})
    model = UnifiedSemanticEmbedding(taxonomy=taxonomy, random_state=0).fit(X, y)
    display = plotting.LabelMapDisplay.from_estimator(model)
    assert display.labels[:3] == ["cat", "dog", "eel"]
    assert display.parents["cat"] == display.parents["dog"] == "pet"
    assert display.groups == ["class"] * 3 + ["superclass"] * (len(display.labels) - 3)
    display.plot()
    tree = plotting.TaxonomyDisplay.from_estimator(model)
    assert tree.places["animal"][0] == 0
    with pytest.raises(TypeError, match="fitted label embedding"):
        plotting.LabelMapDisplay.from_estimator(CCA())
    with pytest.raises(ValueError, match="points must be"):
        plotting.LabelMapDisplay(np.eye(3), ["a"])
