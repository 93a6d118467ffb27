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
