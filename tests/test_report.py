"""Reports: the tables of SAS, statsmodels and R, what each model can say, and how it is written out."""

import html.parser
import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_linnerud, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

import fastcca
from fastcca.datasets import make_two_views
from fastcca.inference import bootstrap

# What SAS's CANCORR procedure prints (option ALL) of the fitness data, 20 men, in its documentation.
SAS = {
    "columns": (
        [178.600000, 35.400000, 56.100000, 9.450000, 145.550000, 70.300000],
        [24.690505, 3.201973, 7.210373, 5.286278, 62.566575, 51.277470],
    ),
    "x_correlations": ([1, 0.8702, -0.3658], [0.8702, 1, -0.3529], [-0.3658, -0.3529, 1]),
    "y_correlations": ([1, 0.6957, 0.4958], [0.6957, 1, 0.6692], [0.4958, 0.6692, 1]),
    "xy_correlations": ([-0.3897, -0.5522, 0.1506], [-0.4931, -0.6456, 0.2250], [-0.2263, -0.1915, 0.0349]),
    "correlations": (
        [0.795608, 0.200556, 0.072570],
        [0.754056, -0.076399, None],
        [0.084197, 0.220188, 0.228208],
        [0.632992, 0.040223, 0.005266],
    ),
    "eigenvalues": (
        [1.7247, 0.0419, 0.0053],
        [1.6828, 0.0366, None],
        [0.9734, 0.0237, 0.0030],
        [0.9734, 0.9970, 1.0000],
    ),
    "sequential": (
        [0.35039053, 0.95472266, 0.99473355],
        [2.05, 0.18, 0.08],
        [9, 4, 1],
        [34.223, 30, 16],
        [0.0635, 0.9491, 0.7748],
    ),
    "tests": (
        [0.35039053, 0.67848151, 1.77194146, 1.72473874],
        [2.05, 1.56, 2.64, 9.20],
        [9, 9, 9, 3],
        [34.223, 48, 19.053, 16],
        [0.0635, 0.1551, 0.0357, 0.0009],
    ),
    "x_coefficients": (
        [-0.031404688, 0.4932416756, -0.008199315],
        [-0.076319506, 0.3687229894, -0.032051994],
        [-0.007735047, 0.1580336471, 0.1457322421],
    ),
    "y_coefficients": (
        [-0.066113986, -0.016846231, 0.0139715689],
        [-0.071041211, 0.0019737454, 0.0207141063],
        [-0.245275347, 0.0197676373, -0.008167472],
    ),
    "x_standardised": ([-0.7754, 1.5793, -0.0591], [-1.8844, 1.1806, -0.2311], [-0.1910, 0.5060, 1.0508]),
    "y_standardised": ([-0.3495, -1.0540, 0.7164], [-0.3755, 0.1235, 1.0622], [-1.2966, 1.2368, -0.4188]),
    "x_loadings": ([0.6206, 0.9254, -0.3328], [-0.7724, -0.3777, 0.0415], [-0.1350, -0.0310, 0.9421]),
    "y_loadings": ([-0.7276, -0.8177, -0.1622], [0.2370, 0.5730, 0.9586], [-0.6438, 0.0544, -0.2339]),
    "x_cross_loadings": ([0.4938, 0.7363, -0.2648], [-0.1549, -0.0757, 0.0083], [-0.0098, -0.0022, 0.0684]),
    "y_cross_loadings": ([-0.5789, -0.6506, -0.1290], [0.0475, 0.1149, 0.1923], [-0.0467, 0.0040, -0.0170]),
    "x_raw_redundancy": (
        [0.3712, 0.5436, 0.0852],
        [0.3712, 0.9148, 1.0000],
        [0.6330, 0.0402, 0.0053],
        [0.2349, 0.0219, 0.0004],
        [0.2349, 0.2568, 0.2573],
    ),
    "y_raw_redundancy": (
        [0.4111, 0.5635, 0.0254],
        [0.4111, 0.9746, 1.0000],
        [0.6330, 0.0402, 0.0053],
        [0.2602, 0.0227, 0.0001],
        [0.2602, 0.2829, 0.2830],
    ),
    "x_redundancy": (
        [0.4508, 0.2470, 0.3022],
        [0.4508, 0.6978, 1.0000],
        [0.6330, 0.0402, 0.0053],
        [0.2854, 0.0099, 0.0016],
        [0.2854, 0.2953, 0.2969],
    ),
    "y_redundancy": (
        [0.4081, 0.4345, 0.1574],
        [0.4081, 0.8426, 1.0000],
        [0.6330, 0.0402, 0.0053],
        [0.2584, 0.0175, 0.0008],
        [0.2584, 0.2758, 0.2767],
    ),
    "x_multiple": ([0.2438, 0.5421, 0.0701], [0.2678, 0.5478, 0.0702], [0.2679, 0.5478, 0.0749]),
    "y_multiple": ([0.3351, 0.4233, 0.0167], [0.3374, 0.4365, 0.0536], [0.3396, 0.4365, 0.0539]),
}
# Decimals that it prints, where they are not four: by table and column.
DECIMALS = {
    "columns": (6, 6),
    "correlations": (6, 6, 6, 6),
    "sequential": (8, 2, 0, 3, 4),
    "tests": (8, 2, 0, 3, 4),
    "x_coefficients": (9, 9, 9),
    "y_coefficients": (9, 9, 9),
}


@pytest.fixture(scope="module")
def fitness():
    data = load_linnerud()
    return data.target, data.data


@pytest.mark.parametrize("name", SAS)
def test_sas_prints_the_same(fitness, name):
    table = fastcca.report(fastcca.CCA(), *fitness)[name]
    columns = [column for column in table.values() if column.dtype.kind == "f"]
    assert len(columns) == len(SAS[name])
    for i, (column, printed) in enumerate(zip(columns, SAS[name], strict=True)):
        decimals = DECIMALS[name][i] if name in DECIMALS else 4
        for value, expected in zip(column, printed, strict=True):
            if expected is None:
                assert np.isnan(value)
            else:  # half a unit of the last digit, which SAS rounds
                assert abs(value - expected) <= 0.5000001 * 10.0**-decimals, (name, i)


def test_sas_has_no_table_that_is_not_there(fitness):
    assert set(fastcca.report(fastcca.CCA(), *fitness)) == set(SAS)
    tests = fastcca.report(fastcca.CCA(), *fitness)["tests"]
    assert "(s = 3, m = -0.5, ν = 6)" in tests.title
    text = str(fastcca.report(fastcca.CCA(), *fitness))
    for printed in ("0.795608", "0.754056", "34.223", "19.053", "0.35039053", "1.72473874", "0.0009"):
        assert printed in text


DATA = {"iris": (load_iris, 2), "wine": (load_wine, 6), "diabetes": (load_diabetes, 4)}


@pytest.mark.parametrize("name", DATA)
def test_statsmodels_agrees(name):
    cancorr = pytest.importorskip("statsmodels.multivariate.cancorr")
    load, p = DATA[name]
    data = load().data
    X, Y = data[:, :p], data[:, p:]
    found = fastcca.report(fastcca.CCA(), X, Y)
    theirs = cancorr.CanCorr(Y, X)
    test = theirs.corr_test()
    np.testing.assert_allclose(found["correlations"]["Correlation"], theirs.cancorr, rtol=1e-9)
    expected = test.stats_mv[["Value", "F Value", "Num DF", "Den DF", "Pr > F"]].to_numpy(dtype=float)
    np.testing.assert_allclose(found["tests"].to_numpy(), expected, rtol=1e-8)
    np.testing.assert_allclose(
        found["sequential"]["Likelihood ratio"], test.stats["Wilks' lambda"].to_numpy(dtype=float), rtol=1e-9
    )
    if p == data.shape[1] - p:  # with unequal ranks its first sequential test is not its own test of all
        rows = test.stats[["F Value", "Num DF", "Den DF", "Pr > F"]].to_numpy(dtype=float)
        np.testing.assert_allclose(found["sequential"].to_numpy()[:, 1:], rows, rtol=1e-8)


def test_r_agrees():
    # R 4.2: cancor, and summary(manova(petal ~ sepal), test = …) of iris
    data = load_iris().data
    found = fastcca.report(fastcca.CCA(), data[:, :2], data[:, 2:])
    expected = [0.940968996975749, 0.123936881205404]
    np.testing.assert_allclose(found["correlations"]["Correlation"], expected, rtol=1e-12)
    statistics = [0.112817398522686, 0.900783003792471, 7.74332869399124, 7.72772872243710]
    np.testing.assert_allclose(found["tests"]["Value"], statistics, rtol=1e-11)
    f = [144.337576304913, 60.2315566509370, 567.988061099127]  # of the Hotelling-Lawley trace R has Pillai's
    np.testing.assert_allclose(found["tests"]["F"][[0, 1, 3]], f, rtol=1e-10)
    p = [6.52390277044073e-68, 4.12357248133034e-37, 6.97844947207541e-70]
    np.testing.assert_allclose(found["tests"]["p"][[0, 1, 3]], p, rtol=1e-9)


def test_r_agrees_on_ill_conditioned_columns():
    # R 4.2: cancor and manova of longley, GNP.deflator, GNP, Unemployed with the other columns
    datasets = pytest.importorskip("statsmodels.datasets")
    data = datasets.longley.load_pandas().data
    X = data[["GNPDEFL", "GNP", "UNEMP"]].to_numpy()
    Y = data[["ARMED", "POP", "YEAR", "TOTEMP"]].to_numpy()
    found = fastcca.report(fastcca.CCA(), X, Y)
    expected = [0.999743448209499, 0.968866549038402, 0.656776415805611]
    np.testing.assert_allclose(found["correlations"]["Correlation"], expected, rtol=1e-9)
    statistics = [1.78827333696910e-05, 2.36954461244187, 1964.24667605769, 1948.17425912001]
    np.testing.assert_allclose(found["tests"]["Value"], statistics, rtol=1e-5)  # 1 / (1 - ρ²) of a ρ of .9997
    np.testing.assert_allclose(found["tests"]["Den df"][[0, 1, 3]], [24.1032644217105, 33, 11], rtol=1e-12)


def test_the_trace_where_nu_is_one_and_none():
    # p = q = 3: nu = 1 at n = 10, 0 at n = 8; McKeon's is defined for nu > 0 alone, and continuous there
    from fastcca._models.correlation_tests import multivariate_tests

    rho = np.array([0.8, 0.4, 0.1])
    near = [multivariate_tests(rho, n, 3, 3) for n in (10 - 1e-7, 10.0, 10 + 1e-7)]
    assert near[1].df2[2] == 4
    assert near[0].f[2] == pytest.approx(near[1].f[2], rel=1e-6)
    assert near[2].f[2] == pytest.approx(near[1].f[2], rel=1e-6)
    least = multivariate_tests(rho, 8, 3, 3)
    trace = (rho**2 / (1 - rho**2)).sum()
    assert (least.df1[2], least.df2[2]) == (9, 2)
    assert least.f[2] == pytest.approx(2 * trace / 27, rel=1e-12)


def _residuals(A, Z):
    design = np.column_stack([np.ones(len(Z)), Z])
    return A - design @ np.linalg.lstsq(design, A, rcond=None)[0]


def test_confounds_take_their_degrees_of_freedom(rng):
    Z = rng.standard_normal((60, 4))
    X = rng.standard_normal((60, 3)) + Z[:, :3]
    Y = rng.standard_normal((60, 2)) + X[:, :2] - Z[:, :2]
    found = fastcca.report(fastcca.CCA(), X, Y, confounds=np.column_stack([Z, Z[:, 0]]))
    a, b = _residuals(X, Z), _residuals(Y, Z)
    qa, qb = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    rho = np.linalg.svd(qa.T @ qb, compute_uv=False)
    np.testing.assert_allclose(found["correlations"]["Correlation"], rho, rtol=1e-10)
    np.testing.assert_allclose(
        found["correlations"]["Standard error"], (1 - rho**2) / np.sqrt(55), rtol=1e-10
    )
    assert found["tests"]["Den df"][3] == 60 - 4 - 1 - 3
    np.testing.assert_allclose(found["columns"]["Std deviation"][:3], a.std(axis=0, ddof=1), rtol=1e-10)
    R = np.corrcoef(np.hstack([a, b]).T)
    np.testing.assert_allclose(found["xy_correlations"].to_numpy(), R[:3, 3:], atol=1e-10)
    assert found.facts["confounds"].startswith("rank 4")


def _reference_explained(A, scores):
    """Mean squared multiple correlation with the first scores, by least squares."""
    out = []
    for m in range(1, scores.shape[1] + 1):
        rest = _residuals(A, scores[:, :m])
        out.append(1 - rest.var(axis=0) / A.var(axis=0))
    return np.array(out).T


@pytest.mark.parametrize(
    "model",
    [
        fastcca.CCA(2, reg=3.0),
        fastcca.SparseCCA(2),
        fastcca.PLSSVD(2),
        fastcca.PLSCanonical(2),
        fastcca.PLSRegression(2),
        fastcca.CCACV(2),
        fastcca.KernelCCA(2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_variates_that_correlate_with_one_another(model, rng):
    views = make_two_views(200, (5, 4), correlations=[0.9, 0.6], random_state=0)
    X, Y = views.X @ rng.standard_normal((5, 5)), views.y @ rng.standard_normal((4, 4))
    found = fastcca.report(model, X, Y)
    fitted = model.fit(X, Y)
    zx, zy = fitted.transform_views(X, Y)
    for side, data, own, other in (("x", X, zx, zy), ("y", Y, zy, zx)):
        R = np.corrcoef(np.hstack([data, own, other]).T)
        p = data.shape[1]
        loadings, cross = R[:p, p : p + 2], R[:p, p + 2 :]
        np.testing.assert_allclose(found[f"{side}_loadings"].to_numpy(), loadings, atol=1e-7)
        np.testing.assert_allclose(found[f"{side}_cross_loadings"].to_numpy(), cross, atol=1e-7)
        table = found[f"{side}_redundancy"]
        np.testing.assert_allclose(table["Own"], (loadings**2).mean(axis=0), atol=1e-7)
        np.testing.assert_allclose(table["Opposite"], (cross**2).mean(axis=0), atol=1e-7)
        r2 = _reference_explained(data, own), _reference_explained(data, other)
        np.testing.assert_allclose(table["Own, cumulative"], r2[0].mean(axis=0), atol=1e-7)
        np.testing.assert_allclose(table["Opposite, cumulative"], r2[1].mean(axis=0), atol=1e-7)
        np.testing.assert_allclose(found[f"{side}_multiple"].to_numpy(), r2[1], atol=1e-7)
        weight = data.var(axis=0) / data.var(axis=0).sum()
        np.testing.assert_allclose(found[f"{side}_raw_redundancy"]["Own"], weight @ loadings**2, atol=1e-7)
    if f"{'x'}_coefficients" in found:
        centred = (X - X.mean(axis=0)) @ found["x_coefficients"].to_numpy()
        np.testing.assert_allclose(centred, zx, atol=1e-7)
        standardised = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1) @ found["x_standardised"].to_numpy()
        np.testing.assert_allclose(standardised, zx, atol=1e-7)
    assert any(note.startswith("Not tested") for note in found.notes)
    assert "tests" not in found


def test_what_is_not_tested_says_why(rng):
    X, Y = rng.standard_normal((14, 6)), rng.standard_normal((14, 6))
    few = fastcca.report(fastcca.CCA(2), X, Y)
    assert few.notes == [
        "Not tested: Wilks's test takes all min(rank of X, rank of y) = 6 correlations, but only 2 were "
        "computed: fit with n_components=None."
    ]
    with pytest.warns(UserWarning, match="too few"):
        none = fastcca.report(fastcca.CCA(), X[:12], Y[:12])
    assert "takes at least rank of X + rank of y + 1 = 13 rows" in none.notes[0]
    ridge = fastcca.report(fastcca.CCA(reg=0.1), X, Y)
    assert "does not hold for correlations with a ridge" in ridge.notes[0]
    assert ridge.facts["ridge"] == "0.1 and 0.1"
    assert "Standard error" not in ridge["correlations"]


def test_perfect_pairs_and_constant_columns(rng):
    X = np.column_stack([rng.standard_normal((30, 2)), np.full(30, 7.0)])
    found = fastcca.report(fastcca.CCA(), X, X[:, :2] @ [[1.0, 2.0], [0.0, 1.0]])
    assert np.isinf(found["eigenvalues"]["Eigenvalue"]).any() or found["eigenvalues"]["Eigenvalue"][0] > 1e12
    np.testing.assert_allclose(found["tests"]["p"], 0, atol=1e-12)
    np.testing.assert_allclose(found["x_redundancy"]["Own, cumulative"][-1], 1)  # of the columns that vary
    assert found["x_standardised"].to_numpy()[2].tolist() == [0, 0]
    assert found.facts["columns of X"] == "3, rank 2"
    assert "nan" not in str(found)


def test_rows_of_the_fit_and_others(rng):
    views = make_two_views(300, (4, 3), correlations=[0.8], random_state=1)
    X, Y = views.X, views.y
    cca = fastcca.CCA().fit(X[:200], Y[:200])
    assert "rows_given" not in fastcca.report(cca, X[:200], Y[:200])
    held_out = fastcca.report(cca, X[200:], Y[200:])["rows_given"]
    zx, zy = cca.transform_views(X[200:], Y[200:])
    expected = [np.corrcoef(zx[:, j], zy[:, j])[0, 1] for j in range(3)]
    np.testing.assert_allclose(held_out["Of these rows"], expected, atol=1e-12)
    assert str(fastcca.report(cca)) == str(cca.summary())
    weights = np.ones(200)
    weights[:10] = 0
    found = fastcca.report(fastcca.CCA(), X[:200], Y[:200], sample_weight=weights)
    assert found.facts["rows"] == "190"
    assert found.facts["rows left out"] == "10"
    np.testing.assert_allclose(
        found["tests"].to_numpy(),
        fastcca.report(fastcca.CCA(), X[10:200], Y[10:200])["tests"].to_numpy(),
        rtol=1e-9,
    )


def test_wide_views_take_the_rows(rng):
    X, Y = rng.standard_normal((20, 60)), rng.standard_normal((20, 3))
    found = fastcca.report(fastcca.CCA(reg=(5.0, 0.1)), X, Y)
    np.testing.assert_allclose(found["columns"]["Std deviation"][:60], X.std(axis=0, ddof=1), rtol=1e-12)
    zx, _ = fastcca.CCA(reg=(5.0, 0.1)).fit(X, Y).transform_views(X, Y)
    expected = _reference_explained(X, zx).mean(axis=0)
    np.testing.assert_allclose(found["x_redundancy"]["Own, cumulative"], expected, atol=1e-10)
    # without rows the numbers that they add are missing, the others the same
    alone = fastcca.CCA(reg=(5.0, 0.1)).fit(X, Y).summary()
    assert list(alone["x_redundancy"]) == ["Own", "R²", "Opposite"]
    np.testing.assert_array_equal(alone["x_loadings"].to_numpy(), found["x_loadings"].to_numpy())


@pytest.mark.parametrize("kind", [fastcca.MCCA, fastcca.GCCA])
def test_many_views(kind, rng):
    common = rng.standard_normal((150, 2))
    views = {
        name: common @ rng.standard_normal((2, p)) + rng.standard_normal((150, p))
        for name, p in (("a", 4), ("b", 3), ("c", 5))
    }
    found = fastcca.report(kind(2), views)
    fitted = kind(2).fit(views)
    scores = fitted.transform(views)
    correlations = found["correlations"]
    assert list(correlations) == ["Mean of pairs", "a, b", "a, c", "b, c", "Eigenvalue"]
    for j in range(2):
        expected = np.corrcoef(scores["a"][:, j], scores["c"][:, j])[0, 1]
        assert correlations["a, c"][j] == pytest.approx(expected, abs=1e-10)
    table = found["b_redundancy"]
    R = np.corrcoef(np.hstack([views["b"], scores["a"], scores["b"], scores["c"]]).T)
    np.testing.assert_allclose(table["Own"], (R[:3, 5:7] ** 2).mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(table["By a"], (R[:3, 3:5] ** 2).mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(table["By c"], (R[:3, 7:9] ** 2).mean(axis=0), atol=1e-10)
    own = _reference_explained(views["b"], scores["b"]).mean(axis=0)
    np.testing.assert_allclose(table["Own, cumulative"], own, atol=1e-10)
    expected = (views["a"] - views["a"].mean(axis=0)) / views["a"].std(axis=0, ddof=1)
    np.testing.assert_allclose(expected @ found["a_standardised"].to_numpy(), scores["a"], atol=1e-10)
    assert found.facts["columns of c"] == "5, rank 5"
    assert str(fitted.summary()) == str(found)
    with pytest.raises(TypeError, match="takes the views as X alone"):
        fastcca.report(kind(2), views, views["a"])


def test_confounds_of_many_views(rng):
    Z = rng.standard_normal((150, 2))
    common = rng.standard_normal((150, 1))
    views = {name: common + Z[:, :1] + rng.standard_normal((150, 3)) for name in "abc"}
    found = fastcca.report(fastcca.MCCA(2), views, confounds=Z)
    left = {name: _residuals(view, Z) for name, view in views.items()}
    expected = fastcca.report(fastcca.MCCA(2), left)
    assert found.facts["confounds"] == "rank 2"
    for name in ("correlations", "a_standardised", "b_loadings", "c_redundancy"):
        np.testing.assert_allclose(found[name].to_numpy(), expected[name].to_numpy(), rtol=1e-6, atol=1e-9)


def test_a_pipeline_is_reported_in_its_own_columns(rng):
    X, Y = rng.standard_normal((60, 8)), rng.standard_normal((60, 6))
    pipeline = fastcca.TwoViewPipeline(x=[StandardScaler(), PCA(3)], y=[PCA(2)], model=fastcca.CCA())
    a, b = PCA(3).fit_transform(StandardScaler().fit_transform(X)), PCA(2).fit_transform(Y)
    expected = fastcca.report(fastcca.CCA(), a, b, permutations=9, random_state=0)
    assert str(fastcca.report(pipeline, X, Y, permutations=9, random_state=0)["tests"]) == str(
        expected["tests"]
    )
    pipeline.fit(X, Y)
    assert str(fastcca.report(pipeline, X, Y)["x_loadings"]) == str(expected["x_loadings"])
    assert str(fastcca.report(pipeline)["y_loadings"]) == str(expected["y_loadings"])
    assert str(pipeline.summary()) == str(fastcca.report(pipeline))


def test_kernels_of_many_views_and_a_probabilistic_model(rng):
    views = {name: rng.standard_normal((60, 3)) for name in "ab"}
    kernels = fastcca.report(fastcca.KernelMCCA(2), views)
    assert "a_coefficients" not in kernels
    scores = fastcca.KernelMCCA(2).fit(views).transform(views)
    R = np.corrcoef(np.hstack([views["a"], scores["a"], scores["b"]]).T)
    np.testing.assert_allclose(kernels["a_redundancy"]["By b"], (R[:3, 5:] ** 2).mean(axis=0), atol=1e-7)
    same = fastcca.report(fastcca.ProbabilisticCCA(), views["a"], views["b"])
    assert str(same["tests"]) == str(fastcca.report(fastcca.CCA(), views["a"], views["b"])["tests"])


def test_names_come_from_data_frames():
    data = load_linnerud(as_frame=True)
    names = ("Physiological", "Exercises")
    found = fastcca.report(fastcca.CCA(), data.target, data.data, names=names)
    assert found["x_loadings"].index == ("Weight", "Waist", "Pulse")
    assert list(found["x_cross_loadings"]) == ["Exercises 1", "Exercises 2", "Exercises 3"]
    frame = found.to_frame("y_coefficients")
    assert frame.loc["Situps", "Exercises 1"] == found["y_coefficients"]["Exercises 1"][1]
    assert found.to_frame("sequential").index.name == "Pair"
    with pytest.raises(KeyError, match="no table 'loadings': there are 'columns'"):
        found.to_frame("loadings")
    with pytest.raises(KeyError, match="no column 'x'"):
        found["tests"]["x"]


def test_latex_and_html_escape(rng):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(rng.standard_normal((30, 2)), columns=["a_b & <c>", "50 %"])
    found = fastcca.report(fastcca.CCA(), X, rng.standard_normal((30, 2)))
    latex = found.to_latex("x_loadings")
    assert r"a\_b \& $<$c$>$" in latex
    assert r"50 \%" in latex
    assert latex.count(r"\\") == 3
    assert found.to_latex().count(r"\begin{table}") == len(found)
    page = found.to_html()
    assert "a_b &amp; &lt;c&gt;" in page
    assert "<c>" not in page
    assert found["x_loadings"]._repr_html_() in page


class Links(html.parser.HTMLParser):
    """Everything that a page would load, and what is not closed."""

    def __init__(self):
        super().__init__()
        self.loaded, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_pages_hold_everything(tmp_path, fitness):
    pytest.importorskip("matplotlib")
    found = fastcca.report(
        fastcca.CCA(), *fitness, permutations=19, bootstraps=20, random_state=0, pictures=True
    )
    assert {"permutation", "intervals", "x_loading_intervals", "y_loading_intervals"} < set(found)
    assert len(found.pictures) == 7  # correlations, and variates and loadings of three pairs
    assert all(png.startswith(b"\x89PNG") for png in found.pictures.values())
    found.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert not links.open
    assert len(links.loaded) == 8
    assert all(value.startswith("data:") for value in links.loaded)
    assert "http" not in page
    found.save(tmp_path / "report.txt")
    assert (tmp_path / "report.txt").read_text(encoding="utf-8") == f"{found}\n"
    found.save(str(tmp_path / "report.tex"))
    assert (tmp_path / "report.tex").read_text(encoding="utf-8").startswith(r"\begin{table}")
    with pytest.raises(ValueError, match=r"a file \.html, \.tex or \.txt, got"):
        found.save(tmp_path / "report.pdf")


def test_intervals_of_rows_with_confounds_and_weights(rng):
    X, Y, Z = rng.standard_normal((80, 3)), rng.standard_normal((80, 2)), rng.standard_normal(80)
    Y[:, 0] += X[:, 0] + Z
    given = {"sample_weight": rng.uniform(0.5, 2, 80), "confounds": Z}
    found = fastcca.report(fastcca.CCA(), X, Y, bootstraps=9, random_state=0, **given)
    resampled = bootstrap(fastcca.CCA(), X, Y, n_bootstrap=9, random_state=0, **given)
    low, high = resampled.interval()
    np.testing.assert_array_equal(found["intervals"]["Low"], low)
    np.testing.assert_array_equal(found["intervals"]["High"], high)
    low, high = resampled.interval("x_loadings")
    first = next(iter(found["x_loadings"]))
    np.testing.assert_array_equal(found["x_loading_intervals"][f"{first} low"], low[:, 0])


def test_long_tables_show_their_largest_rows(rng):
    X, Y = rng.standard_normal((400, 120)), rng.standard_normal((400, 12))
    found = fastcca.report(fastcca.CCA(), X, Y)
    text = str(found["x_loadings"])
    assert "The 30 rows of 120 with the largest numbers are shown. The first 8 columns of 12" in text
    values = np.abs(found["x_loadings"].to_numpy()[:, :8]).max(axis=1)
    shown = {line.split()[0] for line in text.splitlines() if line.startswith("x")}
    assert shown == {f"x{i}" for i in np.argsort(-values)[:30]}
    assert "x_correlations" not in found


def test_bad_calls(fitness, rng, monkeypatch):
    X, Y = fitness
    with pytest.raises(NotFittedError):
        fastcca.report(fastcca.CCA())
    with pytest.raises(ValueError, match="both X and Y"):
        fastcca.report(fastcca.CCA().fit(X, Y), X)
    with pytest.raises(ValueError, match="both X and Y"):
        fastcca.report(fastcca.CCA().fit(X, Y), permutations=9)
    with pytest.raises(TypeError, match="two views or more, got list"):
        fastcca.report([], X, Y)
    with pytest.raises(ValueError, match="permutations"):
        fastcca.report(fastcca.CCA(), X, Y, permutations=-1)
    with pytest.raises(ValueError, match="3 features"):
        fastcca.report(fastcca.CCA().fit(X, Y), X[:, :2], Y)
    with pytest.raises(ValueError, match="takes no sample weights"):
        fastcca.report(fastcca.CCA(), X, Y, sample_weight=np.ones(20), permutations=9)
    with pytest.raises(NotFittedError):
        fastcca.CCA().summary()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        fastcca.report(fastcca.CCA(), X, Y).to_frame("tests")


def test_a_report_outlives_a_file(tmp_path, fitness):
    cca = fastcca.CCA().fit(*fitness)
    cca.save(tmp_path / "model.safetensors")
    again = fastcca.load(tmp_path / "model.safetensors")
    assert isinstance(again.summary(), fastcca.Report)
    assert str(again.summary()) == str(cca.summary())


@pytest.mark.parametrize(("missing", "fact"), [("drop", "rows left out"), ("em", "rows with missing values")])
def test_rows_with_missing_values_are_counted(missing: str, fact: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    Y = X[:, :2] + rng.standard_normal((60, 2))
    X[[3, 7, 11], 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = fastcca.CCA(missing=missing).fit(X, Y)
    assert model.summary().facts[fact] == "3"
