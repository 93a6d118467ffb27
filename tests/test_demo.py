"""The demonstration: its numbers, its table and its picture."""

import sys

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold

from fastcca import CCA, CCACV, cli
from fastcca.cli import _demo
from fastcca.datasets import load_digit_halves


def demo(*arguments):
    result = CliRunner().invoke(cli.main, ["demo", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def row(output, name):
    (line,) = (line for line in output.splitlines() if line.startswith(name))
    return [float(field.rstrip("%")) for field in line.removeprefix(name).split()]


@pytest.fixture(autouse=True)
def empty_data_home(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTCCA_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_split_is_disjoint_and_paired():
    split = _demo.load("auto")
    digits = load_digit_halves()
    whole = {tuple(np.hstack(pair)) for pair in zip(digits.left, digits.right, strict=True)}
    train = {tuple(np.hstack(pair)) for pair in zip(split.left_train, split.right_train, strict=True)}
    test = {tuple(np.hstack(pair)) for pair in zip(split.left_test, split.right_test, strict=True)}
    assert train.isdisjoint(test)
    assert train | test == whole
    assert len(split.target_test) == len(split.left_test) == 540


def test_the_table_holds_what_a_user_would_compute(tmp_path):
    output = demo("-k", 8).stdout
    split = _demo.load("digits")
    model = _demo.METHODS["CCA, ridge by CV"](split.left_train, split.right_train, 8)
    assert isinstance(model, CCACV)
    u, v = model.transform_views(split.left_test, split.right_test)
    held_out = sum(np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(8))
    u_train, v_train = model.transform_views(split.left_train, split.right_train)
    train = sum(np.corrcoef(u_train[:, i], v_train[:, i])[0, 1] for i in range(8))
    # The obvious ranking: how many right halves are at least as near as the true one.
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (u, v))
    similar = u @ v.T
    ranks = (similar >= np.diag(similar)[:, None] - 1e-12).sum(axis=1)
    expected = [train, held_out, 100 * np.mean(ranks == 1), 100 * np.mean(ranks <= 5), np.median(ranks)]
    np.testing.assert_allclose(row(output, "CCA, ridge by CV")[:5], expected, atol=0.051)
    assert "540 held out, 8 pairs" in output


def test_it_finds_what_there_is_to_find():
    """Far above chance, and the ridge holds out better than none."""
    split = _demo.load("digits")
    found = _demo.evaluate(split, _demo.METHODS["CCA, ridge by CV"], 10)
    plain = _demo.evaluate(split, lambda left, right, k: CCA(n_components=k).fit(left, right), 10)
    assert found.test_correlations.sum() > plain.test_correlations.sum() > 4
    assert found.recall_at_5 > 10 * 5 / 540
    assert found.median_rank < 540 / 10


def test_the_missing_half_is_filled_in():
    pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")
    split = _demo.load("digits")
    autoencoder, regression, _ = _demo.fill_in(split)
    model = CCACV(n_components=10, cv=KFold(5, shuffle=True, random_state=0))
    model.fit(split.left_train, split.right_train)
    filled = model.predict(split.left_test)
    spread = np.square(split.right_test - split.right_train.mean(axis=0)).sum()
    assert regression == pytest.approx(1 - np.square(filled - split.right_test).sum() / spread)
    assert autoencoder > regression > 0.25
    told = [line for line in demo("-k", 2).stdout.splitlines() if "from the left half alone" in line]
    assert [f"{autoencoder:.1%}" in told[0], "regression" in told[1]] == [True, True]


def test_without_torch_there_is_no_missing_half(monkeypatch):
    monkeypatch.setattr(_demo, "find_spec", lambda name: None)
    assert "missing modality" not in demo("-k", 2).stdout


class Constant(BaseEstimator):
    """The worst of methods."""

    def transform_views(self, X, y):
        return np.zeros((len(X), 2)), np.zeros((len(y), 2))


def test_a_method_that_knows_nothing_finds_nothing(monkeypatch):
    split = _demo.load("digits")
    found = _demo.evaluate(split, lambda *_: Constant(), 2)
    assert found.recall_at_1 == found.recall_at_5 == 0
    assert found.median_rank == pytest.approx(540 / 2, abs=1)
    np.testing.assert_array_equal(found.test_correlations, [0, 0])


def test_a_method_is_one_entry(monkeypatch):
    monkeypatch.setitem(_demo.METHODS, "a second one", lambda left, right, k: CCA(k, 0.5).fit(left, right))
    output = demo().stdout
    assert row(output, "a second one")[1] > 3
    assert row(output, "CCA, ridge by CV")[1] > 3


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib import image

    assert "drawn in fastcca-demo.png" in demo("-k", 2).stdout
    pixels = image.imread(tmp_path / "fastcca-demo.png")
    assert pixels.shape[0] > 400
    assert pixels.std() > 0.05
    assert "drawn in other.svg" in demo("-k", 2, "-o", "other.svg").stdout
    assert "right half" in (tmp_path / "other.svg").read_text(encoding="utf-8")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fastcca-demo.png", "other.svg"]


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    output = demo("-k", 2).stdout
    assert "pip install 'fastcca[plot]'" in output
    assert list(tmp_path.iterdir()) == []


def test_mnist_when_asked_for_must_be_there(tmp_path):
    result = demo("--data", "mnist")
    assert result.exit_code == 2
    assert str(tmp_path / "mnist") in result.stderr
    assert result.stderr.count("\n") == 1


def test_mnist_where_the_data_home_has_it(data_home, monkeypatch):
    if not (data_home / "mnist").is_dir():
        pytest.skip("no mnist in the data home")
    monkeypatch.setenv("FASTCCA_DATA", str(data_home))
    split = _demo.load("auto")
    assert len(split.left_train) == 60000
    assert split.n_components == 50
