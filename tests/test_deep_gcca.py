"""DeepGCCA: networks before any number of views, against linear algebra on their outputs."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import fastcca  # noqa: E402
from fastcca.deep import DeepCCA, DeepGCCA  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from reference import multiview as reference  # noqa: E402

WIDTHS = {"a": 5, "b": 4, "c": 6}
LINEAR = {
    "hidden": (),
    "optimizer": "lbfgs",
    "n_epochs": 60,
    "dtype": "float64",
    "validation_fraction": 0,
    "reg": 1e-9,
    "random_state": 0,
}
SMALL = {"hidden": (8,), "n_epochs": 4, "batch_size": 60, "random_state": 0, "n_threads": 1}


def views(n=180, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, 2))
    noise = {name: rng.standard_normal((n, width)) for name, width in WIDTHS.items()}
    return {
        name: (Z @ rng.standard_normal((2, width)) + 0.7 * noise[name] + 3).astype(dtype)
        for name, width in WIDTHS.items()
    }


def eigenvalues(outputs, regs, k):
    """Of the sum of the regularised projections, by their definition; and its leading eigenvectors."""
    total = 0
    for H, reg in zip(outputs, regs, strict=True):
        C = H - H.mean(0)
        total = total + C @ np.linalg.solve(C.T @ C + (len(C) - 1) * reg * np.eye(C.shape[1]), C.T)
    values, vectors = np.linalg.eigh(total)
    return values[::-1][:k], vectors[:, ::-1][:, :k]


def outputs_of(model, data):
    """Outputs of the fitted networks, the views scaled by their definition."""
    found = []
    for name, network in zip(model.views_, model.encoders_, strict=True):
        x = data[name].astype(np.float64)
        scale = np.sqrt(x.var(axis=0, ddof=1).mean())
        found.append(network(torch.from_numpy((x - x.mean(0)) / scale)).detach().numpy())
    return found


def nuclear(H1, H2, reg):
    """The total correlation of two views by the singular values of T."""
    H1, H2 = H1 - H1.mean(0), H2 - H2.mean(0)
    roots = []
    for H in (H1, H2):
        values, vectors = np.linalg.eigh(H.T @ H / (len(H) - 1) + reg * np.eye(H.shape[1]))
        roots.append(vectors / np.sqrt(values) @ vectors.T)
    return np.linalg.norm(roots[0] @ (H1.T @ H2 / (len(H1) - 1)) @ roots[1], "nuc")


# ---- what it finds


def test_linear_networks_find_the_linear_solution():
    data = views()
    model = DeepGCCA(2, **LINEAR).fit(data)
    values, G = eigenvalues(data.values(), [0, 0, 0], 2)
    np.testing.assert_allclose(model.eigenvalues_, values, rtol=1e-6)
    # K r - Σ λ, and the correlation that belongs to it
    assert model.history_[-1]["loss"] == pytest.approx(6 - values.sum(), abs=1e-5)
    assert model.history_[-1]["train_correlation"] == pytest.approx((values.sum() - 2) / 2, abs=1e-5)
    common = model.common_variate(data)
    G *= np.sqrt(len(G) - 1) * np.sign((G * common).sum(axis=0))
    np.testing.assert_allclose(common, G, atol=1e-2)
    linear = fastcca.GCCA(2).fit(data)
    assert model.score(data) == pytest.approx(linear.score(data), abs=1e-4)


def test_of_two_views_it_is_deep_cca():
    data = views()
    pair = {name: data[name] for name in "ac"}
    model, two = DeepGCCA(2, **LINEAR).fit(pair), DeepCCA(2, **LINEAR).fit(*pair.values())
    rho = np.linalg.svd(
        np.linalg.qr(data["a"] - data["a"].mean(0))[0].T @ np.linalg.qr(data["c"] - data["c"].mean(0))[0]
    )[1][:2]
    np.testing.assert_allclose(model.eigenvalues_, 1 + rho, rtol=1e-6)
    np.testing.assert_allclose(two.canonical_correlations_, rho, rtol=1e-6)
    for row in (model.history_[-1], two.history_[-1]):
        assert row["train_correlation"] == pytest.approx(rho.sum(), abs=1e-5)


@pytest.mark.parametrize("objective", ["maxvar", "trace_norm", "frobenius"])
def test_the_correlations_of_the_history(objective):
    data = views()
    options = {**SMALL, "objective": objective, "dtype": "float64", "reg": {"a": 0.1, "b": 0.02, "c": 0.1}}
    model = DeepGCCA(2, **options).fit(data, validation=data)
    H = outputs_of(model, data)
    found = model.history_[model.best_epoch_ - 1]["validation_correlation"]
    if objective == "maxvar":
        expected = (eigenvalues(H, [0.1, 0.02, 0.1], 2)[0].sum() - 2) / 2
        assert found == pytest.approx(expected, rel=1e-9)
    else:
        equal = DeepGCCA(2, **{**options, "reg": 0.1}).fit(data, validation=data)
        H = outputs_of(equal, data)
        expected = np.mean([nuclear(x, y, 0.1) for x, y in itertools.combinations(H, 2)])
        assert equal.history_[equal.best_epoch_ - 1]["validation_correlation"] == pytest.approx(
            expected, rel=1e-9
        )


def test_scores_and_statistics_are_those_of_the_outputs():
    data = views()
    model = DeepGCCA(2, **SMALL, dtype="float64").fit(data)
    H = outputs_of(model, data)
    values, G = eigenvalues(H, [0, 0, 0], 2)
    np.testing.assert_allclose(model.eigenvalues_, values, rtol=1e-6)
    scores = model.transform(data)
    for name, h in zip(WIDTHS, H, strict=True):  # the regression of the common variate on the outputs
        c = h - h.mean(0)
        expected = c @ np.linalg.lstsq(c, G * np.sqrt(len(G) - 1), rcond=None)[0]
        expected *= np.sign((expected * scores[name]).sum(axis=0))
        np.testing.assert_allclose(scores[name], expected, atol=1e-5)
        np.testing.assert_array_equal(model.transform_view(name, data[name]), scores[name])
        corr = np.corrcoef(data[name].T, scores[name].T)[:-2, -2:]
        np.testing.assert_allclose(model.loadings_[name], corr, atol=1e-10)
    r = reference.pairwise_correlations(list(scores.values()))
    np.testing.assert_allclose(model.pairwise_correlations_, r, atol=1e-10)
    assert model.score(data) == pytest.approx(r[np.triu_indices(3, 1)].mean(), abs=1e-10)
    # a view that is missing: regressions on the scores of the others
    rest = {name: data[name] for name in "ab"}
    z = np.hstack([scores["a"], scores["b"]])
    B = np.linalg.lstsq(z, data["c"] - data["c"].mean(0), rcond=None)[0]
    np.testing.assert_allclose(model.predict_views(rest)["c"], z @ B + data["c"].mean(0), atol=1e-8)
    common = sum(scores[name] / model.eigenvalues_ for name in WIDTHS)
    np.testing.assert_allclose(model.common_variate(data), common, atol=1e-10)
    out = np.empty_like(scores["b"])
    np.testing.assert_array_equal(model.transform_view("b", data["b"], out=out), scores["b"])
    assert "Correlations of the views' variates" in str(model.summary())


def test_pretraining_begins_with_the_linear_solution():
    data = views()
    best = eigenvalues(data.values(), [0, 0, 0], 2)[0].sum()
    model = DeepGCCA(2, **{**LINEAR, "n_epochs": 1}, pretrain="denoising").fit(data)
    assert model.history_[0]["train_correlation"] > 0.99 * (best - 2) / 2
    cold = DeepGCCA(2, **{**LINEAR, "n_epochs": 1}).fit(data)
    assert cold.history_[0]["train_correlation"] < 0.9 * (best - 2) / 2


def test_augment_and_reconstruction_see_all_views():
    seen = set()

    def augment(*inputs):
        seen.add(tuple(x.shape[1] for x in inputs))
        return tuple(-x for x in inputs)

    model = DeepGCCA(2, **SMALL, augment=augment, reconstruction=0.1, warm_start=True).fit(views())
    assert seen == {(5, 4, 6)}
    plain = DeepGCCA(2, **SMALL).fit(views())
    assert model.history_[0]["loss"] > plain.history_[0]["loss"] + 0.1
    first = model.history_[0]["train_correlation"]
    assert model.fit(views()).history_[0]["train_correlation"] > first  # it goes on
    with pytest.raises(ValueError, match="goes on with the networks of a, b, c, but the views are a, b"):
        model.fit({name: views()[name] for name in "ab"})


# ---- the machinery


def tensors(model):
    return model.encoders_.state_dict()


def same(a, b):
    assert a.history_ == b.history_
    for (name, x), y in zip(tensors(a).items(), tensors(b).values(), strict=True):
        assert torch.equal(x, y), name
    np.testing.assert_array_equal(a.eigenvalues_, b.eigenvalues_)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_training_that_was_stopped_goes_on_bit_by_bit(optimizer, tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch):
        if epoch.number == 3:
            raise Stop

    options = {**SMALL, "n_epochs": 6, "dropout": 0.1, "optimizer": optimizer}
    whole = DeepGCCA(2, **options).fit(views())
    with pytest.raises(Stop):
        DeepGCCA(2, **options, callbacks=[stop]).fit(views(), checkpoint=tmp_path / "run")
    epochs = []
    resumed = DeepGCCA(2, **options, callbacks=[lambda e: epochs.append(e.number)])
    same(resumed.fit(views(), checkpoint=tmp_path / "run"), whole)
    assert epochs[0] == 3
    with pytest.raises(ValueError, match="is of another fit"):
        DeepGCCA(2, **options, objective="trace_norm").fit(views(), checkpoint=tmp_path / "run")


def test_files_and_copies(tmp_path):
    data = views(dtype=np.float32)
    options = {**SMALL, "hidden": {"a": (6,), "b": (7, 3), "c": ()}}
    model = DeepGCCA(2, **options).fit(data)
    assert [len(network) for network in model.encoders_] == [4, 6, 2]  # with the noise, and activations
    model.save(tmp_path / "model.safetensors")
    loaded = fastcca.load(tmp_path / "model.safetensors")
    assert set(vars(loaded)) == set(vars(model))
    assert loaded.get_params() == model.get_params()
    for a, b in zip(loaded.transform(data).values(), model.transform(data).values(), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(loaded.common_variate(data), model.common_variate(data))
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        twin.transform(data)
    same(twin.fit(data), model)
    listed = DeepGCCA(2, **SMALL).fit(list(data.values()))
    assert listed.views_ == ("view0", "view1", "view2")


def networks():
    torch.manual_seed(1)
    return {name: torch.nn.Linear(width, 3) for name, width in WIDTHS.items()}


def test_views_in_batches(tmp_path):
    data = views(dtype=np.float32)
    x = {name: torch.from_numpy(v) for name, v in data.items()}
    parts = list(zip(*(v.split(60) for v in x.values()), strict=True))
    named = [dict(zip(WIDTHS, part, strict=True)) for part in parts]
    options = {"n_epochs": 8, "batch_size": 60, "random_state": 0, "learning_rate": 0.01}
    model = DeepGCCA(2, encoders=networks(), **options).fit(parts, validation=parts)
    same(DeepGCCA(2, encoders=networks(), **options).fit(named, validation=named), model)
    scores = model.transform(named)
    H = [
        network(x[name]).detach().double().numpy()
        for name, network in zip(WIDTHS, model.encoders_, strict=True)
    ]
    np.testing.assert_allclose(model.eigenvalues_, eigenvalues(H, [0, 0, 0], 2)[0], rtol=1e-6)
    common = sum(scores[name].astype(float) / model.eigenvalues_ for name in WIDTHS)
    np.testing.assert_allclose(model.common_variate(x), common, atol=1e-5)
    for name in WIDTHS:
        np.testing.assert_allclose(model.transform_view(name, x[name]), scores[name], atol=1e-6)
        np.testing.assert_allclose(model.transform_view(name, parts), scores[name], atol=1e-6)
        np.testing.assert_allclose(model.to_module(name)(x[name]).detach(), scores[name], atol=1e-5)
    assert model.score(parts) == pytest.approx(model.score(x), abs=1e-6)
    # the outputs of the networks stand for the views
    assert model.loadings_["c"].shape == (3, 2)
    np.testing.assert_allclose(model.predict_views(x, ["b"])["b"].mean(0), H[1].mean(0), atol=1e-5)
    model.save(tmp_path / "model")
    again = fastcca.load(tmp_path / "model", encoders=networks())
    np.testing.assert_array_equal(again.common_variate(x), model.common_variate(x))
    loader = DataLoader(
        TensorDataset(*x.values()), 60, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    listed = DeepGCCA(2, encoders=list(networks().values()), **options).fit(loader)
    assert listed.views_ == ("view0", "view1", "view2")
    assert listed.score(list(x.values())) > 0.5
    with pytest.raises(ValueError, match="view 'c' is missing in a batch of 'a', 'b'"):
        model.fit([{"a": x["a"], "b": x["b"]}])
    with pytest.raises(ValueError, match="views must name some of 'a', 'b', 'c', got an unknown view 'z'"):
        model.transform({"z": x["a"]})
    with pytest.raises(ValueError, match="must have the same number of rows, got 180 in 'a', 10 in 'b'"):
        model.transform({"a": x["a"], "b": x["b"][:10]})
    with pytest.raises(ValueError, match="data in batches are for encoders of your own"):
        DeepGCCA().fit(parts)


def test_one_network_for_two_views_stays_one():
    data = {name: views()["a"] + i for i, name in enumerate("pq")} | {"r": views()["b"]}
    shared = torch.nn.Linear(5, 2)
    model = DeepGCCA(2, encoders={"p": shared, "q": shared}, **SMALL).fit(data)
    assert model.encoders_[0] is model.encoders_[1]
    assert isinstance(model.encoders_[2], fastcca.deep.MLP)
    assert shared.weight is not model.encoders_[0].weight
    copied = clone(model).encoders
    assert copied["p"] is copied["q"]
    assert copied["p"] is not shared


def test_what_cannot_be_used_is_named():
    data = views(60)
    fitted = DeepGCCA(2, **SMALL).fit(data)
    before = dict(vars(fitted))
    hole = {**data, "b": data["b"].copy()}
    hole["b"][7] = np.nan
    for model, given, message in (
        (fitted, {"a": data["a"]}, "takes two views or more, got 1"),
        (fitted, hole, "row 7 lacks view 'b': the networks are trained on rows that have every view"),
        (fitted, {**data, "c": np.ones((60, 2))}, "every column of c is constant"),
        (DeepGCCA(reg={"z": 1.0}), data, "reg names an unknown modality 'z'"),
        (DeepGCCA(hidden={"z": (3,)}), data, "hidden names an unknown view 'z': there are a, b, c"),
        (DeepGCCA(hidden=(0,)), data, "hidden must be widths of layers, or a mapping of such, got"),
        (DeepGCCA(encoders={"z": torch.nn.Linear(5, 2)}), data, "encoders names an unknown view 'z'"),
        (DeepGCCA(encoders=[torch.nn.Linear(5, 2)]), data, "a network for each of 3 views, got 1"),
        (DeepGCCA(encoders=3), data, "encoders must map names to torch.nn.Module, or be a list"),
        (DeepGCCA(3, encoders={"b": torch.nn.Linear(4, 2)}), data, "the encoder of b returns 2 outputs"),
        (DeepGCCA(objective="sum"), data, "objective must be one of 'maxvar', 'trace_norm', 'frobenius'"),
        (DeepGCCA(batch_size=1), data, "batch_size must be at least 2"),
    ):
        with pytest.raises((ValueError, NumericalError), match=message):
            model.fit(given)
    assert vars(fitted) == before
    for held_out, message in (
        ({"a": data["a"]}, "validation must hold every view, it lacks 'b'"),
        ({name: v[:1] for name, v in data.items()}, "validation must have at least 2 rows"),
        (hole, "row 7 lacks view 'b'"),
    ):
        with pytest.raises(ValueError, match=message):
            DeepGCCA(2, **SMALL).fit(data, validation=held_out)
    with pytest.raises(ValueError, match="view must be one of 'a', 'b', 'c', got 'z'"):
        fitted.to_module("z")
