"""Single-cell integration against the singular vectors of cells by cells, anchors and labels by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastcca import Moments, NumericalError, singlecell, streaming
from fastcca.singlecell import cell_moments, find_anchors, integrate, transfer_labels


def batch(rng, n, types, shift=0.0):
    """Logarithms of counts of cells of these types; what they are."""
    kind = rng.integers(len(types), size=n)
    depth = rng.gamma(5.0, 1.0, size=(n, 1))
    return np.log1p(rng.poisson(depth * types[kind] * np.exp(shift))), kind


@pytest.fixture
def cells(rng):
    types = rng.gamma(0.3, 2.0, size=(4, 60))
    shift = 0.5 * rng.standard_normal(60)
    return batch(rng, 150, types), batch(rng, 110, types, shift)


def standardised(X):
    X = X - X.mean(axis=1, keepdims=True)
    return X / X.std(axis=1, ddof=1, keepdims=True)


def direct(X, Y, k):
    """The singular vectors of the cells by cells matrix."""
    U, d, Vt = np.linalg.svd(standardised(X) @ standardised(Y).T, full_matrices=False)
    return U[:, :k], d[:k], Vt[:k].T


def assert_same(found, X, Y, k, digits=1e-10):
    U, d, V = direct(X, Y, k)
    np.testing.assert_allclose(found.singular_values, d, rtol=digits, atol=0)
    zx, zy = found.transform(X), found.transform_y(Y)
    sign = np.sign((zx * U).sum(axis=0))
    np.testing.assert_allclose(zx * sign, U, rtol=0, atol=digits)
    np.testing.assert_allclose(zy * sign, V, rtol=0, atol=digits)


class AnnData:
    """What integration takes of an AnnData: X, which may lie in a file, and the genes' names."""

    def __init__(self, X, genes):
        self.X, self.var_names = X, genes


class InFile:
    def __init__(self, X):
        self.matrix, self.shape, self.largest = X, X.shape, 0

    def __getitem__(self, rows):
        self.largest = max(self.largest, rows.stop - rows.start)
        return self.matrix[rows]


GENES = [f"g{i}" for i in range(60)]


@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, sp.csr_matrix, sp.csc_array, sp.coo_matrix])
def test_it_is_the_direct_decomposition(cells, form):
    (X, _), (Y, _) = cells
    found = integrate(form(X), form(Y), 10)
    assert_same(found, X, Y, 10)
    assert found.n_cells == (150, 110)
    weights = found.x_weights
    assert (weights[np.abs(weights).argmax(axis=0), np.arange(10)] > 0).all()


def test_more_cells_than_genes_or_fewer(rng):
    types = rng.gamma(0.3, 2.0, size=(3, 200))
    X, Y = batch(rng, 50, types)[0], batch(rng, 300, types)[0]
    assert_same(integrate(X, Y, 8), X, Y, 8, digits=1e-9)


@pytest.mark.parametrize("source", ["AnnData", "file", "npy", "chunks", "merged", "frame"])
def test_sources(cells, tmp_path, monkeypatch, source):
    (X, _), (Y, _) = cells
    monkeypatch.setattr(singlecell, "CHUNK", 60 * 8 * 16)
    if source == "AnnData":
        x, y = AnnData(sp.csr_matrix(X), GENES), AnnData(Y, GENES)
    elif source == "file":
        x, y = AnnData(InFile(sp.csr_matrix(X)), GENES), AnnData(InFile(Y), GENES)
    elif source == "npy":
        np.save(tmp_path / "X.npy", X)
        x, y = tmp_path / "X.npy", sp.csr_matrix(Y)
    elif source == "chunks":
        x = (sp.csr_matrix(X[i : i + 40]) for i in range(0, 150, 40))
        y = [Y[:50], Y[50:]]
    elif source == "merged":
        x = cell_moments(X[:70]) + cell_moments(sp.csr_matrix(X[70:]))
        y = cell_moments(Y)
    else:
        pd = pytest.importorskip("pandas")
        x, y = pd.DataFrame(X, columns=GENES), AnnData(Y, GENES)
    found = integrate(x, y, 6)
    assert_same(found, X, Y, 6)
    if source == "file":
        assert max(x.X.largest, y.X.largest) <= 16
        np.testing.assert_allclose(found.transform(x), found.transform(X), rtol=0, atol=1e-13)
    if source in ("AnnData", "frame"):
        assert found.genes.tolist() == GENES


def test_a_pass_over_cells_goes_on_from_a_checkpoint(cells):
    """Moments of cells are moments: streams of standardised cells have checkpoints as any others."""
    (X, _), _ = cells
    stream = streaming.moments([(standardised(X[:80]),), (standardised(X[80:]),)])
    np.testing.assert_allclose(cell_moments(X).scatter, stream.scatter, rtol=0, atol=1e-9)


def test_float32(cells):
    (X, _), (Y, _) = cells
    found = integrate(X.astype(np.float32), sp.csr_matrix(Y.astype(np.float32)), 5)
    _, d, _ = direct(X, Y, 5)
    np.testing.assert_allclose(found.singular_values, d, rtol=1e-5)


def test_several_sets_against_a_reference(cells, rng):
    (X, _), (Y, _) = cells
    found = integrate(X, {"day 1": Y, "day 2": Y[::-1]}, 4)
    assert list(found) == ["day 1", "day 2"]
    np.testing.assert_allclose(found["day 1"].singular_values, found["day 2"].singular_values, rtol=1e-10)
    assert_same(found["day 1"], X, Y, 4)


def test_new_cells_land_among_their_kind(rng):
    types = rng.gamma(0.3, 2.0, size=(4, 300))
    (X, kinds), (Y, others) = batch(rng, 300, types), batch(rng, 250, types, 0.4 * rng.standard_normal(300))
    found = integrate(X[:200], Y, 10)
    z, zy = found.transform(X[200:]), found.transform_y(Y)
    transfer = transfer_labels(z, zy, others, k=15)
    assert (transfer.labels == kinds[200:]).mean() > 0.95
    anchors = find_anchors(found.transform(X[:200]), zy)
    assert len(anchors) > 100
    assert (kinds[:200][anchors.x_cells] == others[anchors.y_cells]).mean() > 0.95


# ---- anchors and labels


@pytest.mark.parametrize("k", [1, 3, 7])
def test_anchors_are_mutual_nearest_neighbours(rng, k):
    zx, zy = rng.standard_normal((40, 5)), rng.standard_normal((30, 5))
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zx, zy)]
    cosine = unit[0] @ unit[1].T
    nearest = [set(np.argsort(-row)[:k].tolist()) for row in cosine]
    back = [set(np.argsort(-column)[:k].tolist()) for column in cosine.T]
    want = [(i, j) for i in range(40) for j in range(30) if j in nearest[i] and i in back[j]]
    found = find_anchors(zx, zy, k)
    assert list(zip(found.x_cells.tolist(), found.y_cells.tolist(), strict=True)) == want
    np.testing.assert_allclose(found.similarities, [cosine[pair] for pair in want], atol=1e-12)


def test_labels_by_hand(rng):
    z, reference = rng.standard_normal((20, 4)), rng.standard_normal((50, 4))
    labels = np.array(["a", "b", "c"])[rng.integers(3, size=50)]
    found = transfer_labels(z, reference, labels, k=9)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, reference)]
    distances = np.linalg.norm(unit[0][:, None] - unit[1][None], axis=2)
    for i in range(20):
        near = np.argsort(distances[i])[:9]
        weight = 1 - distances[i, near] / distances[i, near[-1]]
        sums = np.array([weight[labels[near] == c].sum() for c in "abc"])
        np.testing.assert_allclose(found.probabilities[i], sums / sums.sum(), atol=1e-9)
    assert found.classes.tolist() == ["a", "b", "c"]
    assert np.array_equal(found.labels, found.classes[found.probabilities.argmax(axis=1)])
    np.testing.assert_allclose(found.confidences, found.probabilities.max(axis=1))
    alone = transfer_labels(reference[:3], reference, labels, k=1)
    assert alone.labels.tolist() == labels[:3].tolist()
    assert alone.confidences.tolist() == [1, 1, 1]


# ---- bad input


def test_cells_that_cannot_be_standardised(cells):
    (X, _), (Y, _) = cells
    for value in (0.0, 3.5):
        bad = X.copy()
        bad[17] = value
        with pytest.raises(
            ValueError, match=rf"cell 17 of x has no counts: all of its 60 genes are {value:g}"
        ):
            integrate(bad, Y)
        with pytest.raises(ValueError, match="cell 17 of cells has no counts"):
            cell_moments(iter([bad[:10], sp.csr_matrix(bad[10:])]))
    bad = X.copy()
    bad[140, 3] = np.nan
    with pytest.raises(ValueError, match="Input x contains NaN: the first is at row 140, column 3"):
        integrate(bad, Y)
    with pytest.raises(
        ValueError, match=r"chunk 1 \(from cell 100\): Input y contains NaN: .* row 40, column 3"
    ):
        integrate(X, iter([sp.csr_matrix(bad[:100]), sp.csr_matrix(bad[100:])]))
    with pytest.raises(NumericalError, match="overflow"):
        integrate(X * 1e300, Y)


def test_bad_input(cells):
    (X, _), (Y, _) = cells
    found = integrate(AnnData(X, GENES), Y, 3)
    for message, call in [
        ("n_components must be an integer >= 1", lambda: integrate(X, Y, 0)),
        ("n_components=60 is more than the 59 directions", lambda: integrate(X, Y, 60)),
        ("same genes, got 60 and 59", lambda: integrate(X, Y[:, :59])),
        ("another order", lambda: integrate(AnnData(X, GENES), AnnData(Y, GENES[::-1]))),
        ("'g0' is missing", lambda: integrate(AnnData(X, GENES), AnnData(Y, ["x", *GENES[1:]]))),
        ("at least two cells, got 1", lambda: integrate(X[:1], Y)),
        ("of one view, got 2", lambda: integrate(Moments().update(X, X), Y)),
        ("there are no cells in cells", lambda: cell_moments(iter([]))),
        ("the cells have 59 genes, but the fit had 60", lambda: found.transform(X[:, :59])),
        ("another order", lambda: found.transform(AnnData(X, GENES[::-1]))),
        ("k must be an integer", lambda: find_anchors(X, Y, 0)),
        ("k=111 is more than the 110 cells", lambda: find_anchors(X, Y, 111)),
        ("k=4 is more than the 3 cells", lambda: transfer_labels(X, Y[:3], [1, 2, 3], k=4)),
        ("one entry for each of 110 cells", lambda: transfer_labels(X, Y, [1, 2])),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="must be cells by genes"):
        integrate(3, Y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_counts_by_their_products(rng, dtype, monkeypatch):
    """Of cells with few counts the entries are multiplied, and dense rows are never made."""
    dense = rng.random((400, 300)) * (rng.random((400, 300)) < 0.03)
    dense[:, 7] = 5.0  # a gene that every cell has, and one that none has
    dense[:, 8] = 0.0
    counts = sp.csr_array(dense.astype(dtype))
    dense = dense.astype(dtype).astype(float)
    rows = standardised(dense)
    means = rows.mean(axis=0)
    want = (rows - means).T @ (rows - means)
    monkeypatch.setattr(singlecell, "CHUNK", 2**14)  # a few runs of cells
    monkeypatch.setattr(sp.csr_array, "toarray", None)
    for threads in (1, 2):
        found = cell_moments(counts, n_threads=threads)
        assert found.n == 400
        np.testing.assert_allclose(found.mean, means, rtol=0, atol=1e-13)
        np.testing.assert_allclose(found.scatter, want, rtol=0, atol=1e-9)
        products = found.scatter + 400 * np.outer(found.mean, found.mean)  # which integrate takes
        np.testing.assert_allclose(products, rows.T @ rows, rtol=1e-13, atol=1e-11)
        assert (found.eps == np.finfo(dtype).eps).all()
    parts = cell_moments(iter([counts[:150], counts[150:]]))
    np.testing.assert_allclose(parts.scatter, want, rtol=0, atol=1e-9)


def test_chunks_of_several_types_and_kinds(rng):
    """Sparse and dense, in float32 and float64: each is standardised in its own way, to the same numbers."""
    counts = np.log1p(rng.poisson(0.5, size=(300, 40)).astype(float))
    counts[:, 0] += 1.0  # no cell without counts
    want = cell_moments(counts)
    kinds = [
        np.asarray,
        sp.csr_array,
        lambda a: a.astype(np.float32),
        lambda a: sp.csr_array(a.astype(np.float32)),
    ]
    for kind, tolerance in zip(kinds, (1e-10, 1e-10, 2e-3, 2e-3), strict=True):
        np.testing.assert_allclose(cell_moments(kind(counts)).scatter, want.scatter, rtol=0, atol=tolerance)
    mixed = cell_moments(kind(counts[i::4]) for i, kind in enumerate(kinds))
    assert mixed.n == 300
    np.testing.assert_allclose(mixed.scatter, want.scatter, rtol=0, atol=2e-3)
    with pytest.raises(ValueError, match=r"the views have \(39,\) columns, but earlier rows had \(40,\)"):
        cell_moments(iter([counts[:100], counts[100:, 1:]]))
