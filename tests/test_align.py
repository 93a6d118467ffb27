"""Data frames taken together: rows that do not match are refused, and aligned where that is asked for."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.model_selection import GroupKFold, cross_val_score

import fastcca
from fastcca import CCA, CCACV, KernelCCA, KernelCCACV, Moments, metrics
from fastcca.embedding import JointEmbedding, NearestClassMean, UnifiedSemanticEmbedding
from fastcca.functional import (
    correlation_loss,
    hinge_embedding_loss,
    median_gamma,
    solve_gram,
    solve_qr,
)
from fastcca.fusion import EarlyFusion
from fastcca.inference import bootstrap, permutation_test
from fastcca.synchrony import SynchronyDetector

RNG = np.random.default_rng(0)
NAMES = [f"person{i}" for i in range(40)]
X = pd.DataFrame(RNG.normal(size=(40, 3)), index=NAMES, columns=["height", "weight", "age"])
Y = pd.DataFrame(X.to_numpy()[:, :2] + RNG.normal(size=(40, 2)), index=NAMES, columns=["u", "v"])
LABELS = pd.Series(np.repeat(["cat", "dog"], 20), index=NAMES)
NUMBERS = pd.Series(np.repeat([0, 1], 20), index=NAMES)
ONES = pd.Series(np.ones(40), index=NAMES)
TWICE = pd.Series(np.repeat(np.arange(20), 2), index=NAMES)


def mixed(table):
    return table.iloc[::-1]


def renamed(table):
    return table.reset_index(drop=True)


CALLS = {
    "CCA y": lambda f: CCA().fit(X, f(Y)),
    "CCA weights": lambda f: CCA().fit(X, Y, f(ONES)),
    "CCA weights alone": lambda f: CCA().fit(X, Y.to_numpy(), f(ONES)),
    "partial_fit": lambda f: CCA().partial_fit(X, f(Y)),
    "score": lambda f: CCA().fit(X, Y).score(X, f(Y)),
    "fit_transform": lambda f: CCA().fit_transform(X, f(Y)),
    "CCACV": lambda f: CCACV(regs=[0.1]).fit(X, f(Y)),
    "CCACV groups": lambda f: CCACV(regs=[0.1], cv=GroupKFold(4)).fit(X, Y, groups=f(TWICE)),
    "KernelCCA": lambda f: KernelCCA(2, rank=5).fit(X, f(Y)),
    "KernelCCACV groups": lambda f: KernelCCACV(1, rank=5, regs=[0.1], cv=GroupKFold(4)).fit(
        X, Y, groups=f(TWICE)
    ),
    "JointEmbedding": lambda f: JointEmbedding(1, n_epochs=1).fit(X, f(Y)),
    "labels": lambda f: NearestClassMean().fit(X, f(LABELS)),
    "label weights": lambda f: NearestClassMean().fit(X, LABELS, f(ONES)),
    "label score": lambda f: NearestClassMean().fit(X, LABELS).score(X, f(LABELS)),
    "attributes": lambda f: UnifiedSemanticEmbedding(n_epochs=1, n_rounds=1).fit(
        X, LABELS, sample_attributes=f(Y)
    ),
    "Moments": lambda f: Moments().update(X, f(Y)),
    "Moments weights": lambda f: Moments().update(X, Y, sample_weight=f(ONES)),
    "solve_qr": lambda f: solve_qr(X, f(Y)),
    "solve_gram": lambda f: solve_gram(X, Y, sample_weight=f(ONES)),
    "correlation_loss": lambda f: correlation_loss(X, f(Y)),
    "hinge": lambda f: hinge_embedding_loss(X, np.eye(3), f(NUMBERS)),
    "median_gamma": lambda f: median_gamma(X, sample_weight=f(ONES)),
    "fusion": lambda f: EarlyFusion().fit({"x": X, "y": f(Y)}),
    "permutation_test": lambda f: permutation_test(CCA(), X, f(Y), n_permutations=1),
    "confounds": lambda f: permutation_test(CCA(), X, Y, n_permutations=1, confounds=f(ONES * 0 + NUMBERS)),
    "permutation blocks": lambda f: permutation_test(CCA(), X, Y, n_permutations=1, blocks=f(NUMBERS)),
    "bootstrap": lambda f: bootstrap(CCA(), X, f(Y), n_bootstrap=2),
    "detector": lambda f: SynchronyDetector(max_lag=1).fit(X, f(Y)),
    "total_correlation": lambda f: metrics.total_correlation(Y, f(Y)),
    "correlations": lambda f: metrics.column_correlations(Y, Y, sample_weight=f(ONES)),
    "recall": lambda f: metrics.recall_at_k(Y, f(Y)),
    "ids": lambda f: metrics.recall_at_k(Y, Y, ids_x=f(NUMBERS), ids_y=NUMBERS),
    "precision": lambda f: metrics.mean_average_precision(Y, Y, LABELS, f(LABELS)),
    "hits": lambda f: metrics.hit_at_k(NUMBERS, f(Y), classes=[0, 1]),
    "zero-shot": lambda f: metrics.generalised_zero_shot(LABELS, f(LABELS), unseen=["dog"]),
}


@pytest.mark.filterwarnings("ignore:a CCA")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_rows_that_do_not_match_are_refused(call):
    call(lambda table: table)
    call(lambda table: table.to_numpy()[::-1] if table.ndim == 2 else table.to_numpy())
    with pytest.raises(ValueError, match=r"the same row labels in another order: row 0 is 'person0' in"):
        call(mixed)
    with pytest.raises(ValueError, match=r"different row labels: row 0 is 'person0' in .* and 0 in"):
        call(renamed)


def test_deep_models_refuse_them_too():
    pytest.importorskip("torch")
    from fastcca.deep import DeepCCA

    with pytest.raises(ValueError, match="X and y have the same row labels in another order"):
        DeepCCA(1).fit(X, mixed(Y))


def test_parts_of_frames_and_tables_without_labels_go_together():
    assert np.isfinite(cross_val_score(CCA(1), X, Y, cv=3)).all()
    CCA().fit(pl.DataFrame(X.to_dict("list")), Y)
    CCA().fit(X.iloc[5:20], Y.iloc[5:20])
    numbered = pd.DataFrame(X.to_numpy(), index=np.arange(40).astype(float))
    CCA().fit(numbered, pd.DataFrame(Y.to_numpy()))  # 0.0, 1.0, … are 0, 1, …


def test_align_puts_rows_in_the_order_of_the_first():
    a, b, c = fastcca.align(X, mixed(Y), mixed(ONES) * 2)
    pd.testing.assert_frame_equal(a, X)
    pd.testing.assert_frame_equal(b, Y)
    assert c.index.tolist() == NAMES
    expected = CCA().fit(X, Y).canonical_correlations_
    shuffled = fastcca.align(X.sample(frac=1, random_state=0), Y.sample(frac=1, random_state=1))
    np.testing.assert_allclose(CCA().fit(*shuffled).canonical_correlations_, expected, rtol=1e-12)
    some = fastcca.align(X.iloc[:30], mixed(Y).iloc[:25], how="inner")
    assert [part.index.tolist() for part in some] == [NAMES[15:30]] * 2


@pytest.mark.parametrize(
    ("tables", "how", "error", "message"),
    [
        ((X, Y.iloc[:30]), "exact", ValueError, "10 labels only in table 0, 0 only in table 1, the first"),
        ((X.iloc[:30], Y), "exact", ValueError, "0 labels only in table 0, 10 only in table 1"),
        ((X, renamed(Y)), "inner", ValueError, "no row label in common"),
        ((X, pd.concat([Y, Y.iloc[:1]])), "inner", ValueError, "'person0' occurs more than once in table 1"),
        ((X, Y.to_numpy()), "exact", TypeError, "table 1 has no row labels to align by: it is a ndarray"),
        ((X, [1, 2]), "exact", TypeError, "it is a list"),
        ((X,), "exact", ValueError, "two tables or more, got 1"),
        ((X, Y), "outer", ValueError, "how must be 'exact' or 'inner', got 'outer'"),
    ],
)  # fmt: skip
def test_what_cannot_be_aligned(tables, how, error, message):
    with pytest.raises(error, match=message):
        fastcca.align(*tables, how=how)


def with_hole(table, row, column, value=np.nan):
    table = table.copy()
    table.iloc[row, column] = value
    return table


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: CCA().fit(bad, Y),
        lambda bad: CCA(solver="qr").fit(bad, Y),
        lambda bad: CCA().fit(X, Y).transform(bad),
        lambda bad: CCA().fit(X, Y).predict(bad),
        lambda bad: KernelCCA(1, rank=5).fit(bad, Y),
        lambda bad: NearestClassMean().fit(bad, LABELS),
        lambda bad: NearestClassMean().fit(X, LABELS).predict(bad),
        lambda bad: Moments().update(bad, Y),
        lambda bad: permutation_test(CCA(), bad, Y),
        lambda bad: bootstrap(CCA(), bad, Y),
    ],
)
def test_messages_name_rows_and_columns(call):
    where = r"X contains (NaN|infinity): the first is at row 7 \('person7'\), column 1 \('weight'\)"
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=where):
            call(with_hole(X, 7, 1, value))


def test_names_of_other_tables():
    with pytest.raises(
        ValueError, match=r"y contains NaN: the first is at row 2 \('person2'\), column 0 \('u'\)"
    ):
        CCA().fit(X, with_hole(Y, 2, 0))
    plain = pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, None, 2.0]})
    with pytest.raises(ValueError, match=r"X contains NaN: the first is at row 1, column 1 \('b'\)$"):
        CCA().fit(plain, np.arange(3.0))
    with pytest.raises(ValueError, match=r"X contains NaN: the first is at row 3, column 0 \('height'\)$"):
        CCA().fit(with_hole(renamed(X), 3, 0), Y.to_numpy())
    with pytest.raises(
        ValueError, match=r"x contains NaN: the first is at row 3 \('person3'\), column 0 \('height'\);"
    ):
        EarlyFusion().fit({"x": with_hole(X, 3, 0), "y": Y})
    dated = pd.DataFrame(X.to_numpy(), index=pd.date_range("2001-01-01", periods=40))
    with pytest.raises(ValueError, match=r"at row 3 \(2001-01-04 00:00:00\), column 0$"):
        CCA().fit(with_hole(dated, 3, 0), Y.to_numpy())
    text = X.assign(town="Bern")
    for call in (lambda: CCA().fit(text, Y), lambda: Moments().update(text, Y)):
        with pytest.raises(
            ValueError, match=r"X must hold .*numbers.*: column 3 \('town'\) holds (object|str)"
        ):
            call()
    with pytest.raises(ValueError, match=r"X must hold numbers.*: column 1 \('town'\) holds String"):
        CCA().fit(pl.DataFrame({"a": [1.0, 2.0], "town": ["Bern", "Basel"]}), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"the first is at row 7, column 1$"):
        CCA().fit(with_hole(X, 7, 1).to_numpy(), Y)
