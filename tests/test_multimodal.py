"""The multimodal autoencoder: filling in, missing modalities, schedules, pretraining, files, bad input."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import fastcca  # noqa: E402
from bad_parameters import BAD_PARAMETERS  # noqa: E402
from fastcca import deep  # noqa: E402
from fastcca.deep import MultimodalAutoencoder  # noqa: E402
from fastcca.deep._multimodal_network import MultimodalNetwork, pretrain, subset_sampling  # noqa: E402
from fastcca.deep._training import Source  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402

TINY = {
    "n_components": 16,
    "hidden": (48,),
    "n_epochs": 60,
    "learning_rate": 3e-3,
    "validation_fraction": 0.0,
    "random_state": 0,
    "n_threads": 1,
}


def scenes(n=500, seed=0):
    """A sound, an image and a text about the same angle, in units of their own."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, n)
    sound = 100 + 20 * np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(size=(n, 2))
    image = np.column_stack([np.cos(2 * angle), np.sin(2 * angle), angle, angle**2])
    text = 1e-3 * np.column_stack([np.sign(np.cos(angle)), angle, rng.normal(size=n)])
    return {"sound": sound, "image": image + 0.02 * rng.normal(size=image.shape), "text": text}


def pair(n=500, seed=0):
    views = scenes(n, seed)
    return {"sound": views["sound"], "image": views["image"]}


def take(views, rows):
    return {name: a[rows] for name, a in views.items()}


@pytest.fixture(scope="module")
def fitted():
    return MultimodalAutoencoder(**TINY).fit(take(pair(), slice(400)))


# ---- what it learns


def test_every_modality_from_every_other(fitted):
    test = take(pair(), slice(400, None))
    blind = clone(fitted).set_params(modality_dropout=None).fit(take(pair(), slice(400)))
    for given in (["sound"], ["image"], ["sound", "image"]):
        filled = fitted.reconstruct(take({name: test[name] for name in given}, slice(None)))
        for name, a in test.items():
            share = np.square(filled[name] - a).sum() / np.square(a - fitted.means_[name]).sum()
            assert share < 0.15, (given, name)
            assert filled[name].shape == a.shape
        assert fitted.score(test, given=given) > 0.85
    # trained on both alone, it does not know what to do with one
    assert blind.score(test) > 0.85
    assert blind.score(test, given="sound") < fitted.score(test, given="sound") - 0.1


def test_three_modalities_any_subset():
    views = scenes(600)
    model = MultimodalAutoencoder(**{**TINY, "n_epochs": 80}).fit(take(views, slice(500)))
    test = take(views, slice(500, None))
    assert model.modalities_ == ("sound", "image", "text")
    for given in (["sound"], ["image"], ["text"], ["sound", "text"], ["image", "text"], None):
        filled = model.score(
            {"sound": test["sound"], "image": test["image"], "text": test["text"]}, given=given
        )
        assert filled > 0.5, given
    codes = model.transform(test)
    assert codes.shape == (100, 16)
    # the code from one modality lies nearer to that from all of its row than to those of other rows
    alone = model.transform({"sound": test["sound"]})
    distances = np.square(alone[:, None] - codes).sum(-1)
    assert (distances.diagonal() < np.median(distances, axis=1)).mean() > 0.95


def test_score_is_the_share_explained(fitted):
    test = take(pair(), slice(400, None))
    shares = []
    filled = fitted.reconstruct({"sound": test["sound"]})
    for name, a in test.items():
        shares.append(1 - np.square(filled[name] - a).sum() / np.square(a - fitted.means_[name]).sum())
    assert fitted.score(test, given=("sound",)) == pytest.approx(np.mean(shares), rel=1e-9)
    assert fitted.score({"sound": test["sound"]}) == pytest.approx(shares[0], rel=1e-9)
    means = {name: np.tile(mean, (3, 1)) for name, mean in fitted.means_.items()}
    assert fitted.score(means) <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"pretrain": "denoising", "n_epochs": 30},
        {"pretrain": "rbm", "activation": "sigmoid", "learning_rate": 1e-2, "scale": "columns"},
        {"hidden": (), "n_epochs": 80},
        {"hidden": {"sound": (32, 24), "image": (40,)}, "optimizer": "adamw", "weight_decay": 1e-3},
        {"hidden": (32, 32), "pretrain": "denoising", "activation": "nonsaturating", "n_epochs": 30},
        {"inverted_dropout": True, "activation": "relu", "schedule": "constant", "scale": "columns"},
        {"input_noise": 0.1, "dropout": 0.05, "n_epochs": 100},
        {"modality_weights": {"image": 3.0}, "dtype": "float64", "batch_size": 50},
        {"modality_dropout": {("sound",): 0.5, ("sound", "image"): 0.5}},
        {"modality_subsets": "exhaustive", "n_epochs": 40},
        {"missing_indicator": True, "hidden": (32, 24), "pretrain": "denoising", "n_epochs": 40},
    ],
    ids=lambda o: "-".join(str(v) for v in o.values()),
)
def test_options_fill_in_the_image(options):
    views = pair()
    model = MultimodalAutoencoder(**{**TINY, **options}).fit(take(views, slice(400)))
    assert model.score(take(views, slice(400, None)), given="sound") > 0.5


# ---- missing modalities


def test_missing_rows_at_fit_teach_what_they_have():
    views = pair(600)
    train = take(views, slice(500))
    train["sound"] = train["sound"].copy()
    train["image"] = train["image"].copy()
    train["sound"][:150] = np.nan
    train["image"][150:300] = np.nan
    model = MultimodalAutoencoder(**TINY).fit(train)
    test = take(views, slice(500, None))
    assert model.score(test, given="sound") > 0.8
    assert model.score(test, given="image") > 0.8
    np.testing.assert_allclose(model.means_["sound"], train["sound"][150:].mean(0))
    none = {name: [None if np.isnan(r).any() else r.tolist() for r in a] for name, a in train.items()}
    again = MultimodalAutoencoder(**TINY).fit(none)
    np.testing.assert_array_equal(again.transform(test), model.transform(test))


def test_a_missing_row_is_a_modality_left_out(fitted):
    test = take(pair(), slice(400, 420))
    holes = {"sound": test["sound"].copy(), "image": test["image"].copy()}
    holes["sound"][:5] = np.nan
    holes["image"][5:10] = np.nan
    codes = fitted.transform(holes)
    np.testing.assert_allclose(codes[:5], fitted.transform({"image": test["image"][:5]}), atol=1e-5)
    np.testing.assert_allclose(codes[5:10], fitted.transform({"sound": test["sound"][5:10]}), atol=1e-5)
    np.testing.assert_allclose(codes[10:], fitted.transform(take(test, slice(10, None))), atol=1e-5)
    for absent in ({**test, "image": None}, {**test, "image": np.full((20, 4), np.nan)}):
        np.testing.assert_allclose(
            fitted.transform(absent), fitted.transform({"sound": test["sound"]}), atol=1e-5
        )


def test_modalities_that_no_row_has_together():
    """Only the shared layer's start needs complete rows; the rest goes on."""
    views = pair(200)
    views["sound"][:100] = np.nan
    views["image"][100:] = np.nan
    model = MultimodalAutoencoder(**{**TINY, "n_epochs": 2}, pretrain="denoising").fit(views)
    assert np.isfinite(model.transform(views)).all()


# ---- the network and its schedule


def test_the_joint_representation_by_hand():
    torch.manual_seed(0)
    encoders = [torch.nn.Linear(2, 3), torch.nn.Linear(4, 5), torch.nn.Linear(1, 2)]
    decoders = [torch.nn.Linear(6, w) for w in (2, 4, 1)]
    inputs = [torch.randn(4, 2), torch.randn(4, 4), torch.randn(4, 1)]
    given = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]])
    for inverted in (True, False):
        network = MultimodalNetwork(encoders, decoders, [3, 5, 2], 6, "tanh", inverted)
        z, outputs = network(inputs, given)
        for row in range(4):
            count = given[row].sum()
            parts = [given[row, m] * encoders[m](inputs[m][row]) for m in range(3)]
            joined = torch.cat(parts) * (3 / count if inverted else 1)
            expected = torch.tanh(network.shared(joined))
            torch.testing.assert_close(z[row], expected)
            torch.testing.assert_close(outputs[1][row], decoders[1](expected))
        torch.testing.assert_close(
            network.encode([None, None, inputs[2]], torch.tensor([[0.0, 0, 1]] * 4))[3], z[3]
        )


def sampled(names, distribution, present):
    ((weight, mask),) = subset_sampling(names, distribution).masks(present)
    assert weight == 1
    return mask


def test_each_subset_is_sampled_with_its_probability():
    torch.manual_seed(0)
    n = 30_000
    everything = torch.ones(n, 2)
    found = sampled(("a", "b"), "subsets", everything) @ torch.tensor([1.0, 2.0])
    for code in (1, 2, 3):  # a third each: only a, only b, both
        assert (found == code).float().mean().item() == pytest.approx(1 / 3, abs=0.02)
    three = sampled(("a", "b", "c"), "subsets", torch.ones(n, 3))
    codes = (three @ torch.tensor([1.0, 2.0, 4.0])).long()
    np.testing.assert_allclose(torch.bincount(codes, minlength=8).numpy() / n, [0] + [1 / 7] * 7, atol=0.01)
    own = sampled(("a", "b"), {("a",): 1, ("a", "b"): 3}, everything)
    assert (own[:, 0] == 1).all()
    assert own[:, 1].mean().item() == pytest.approx(0.75, abs=0.02)
    assert sampled(("a", "b"), {"a": 1.0}, everything)[:, 1].sum() == 0
    assert torch.equal(sampled(("a", "b"), None, everything), everything)
    # never nothing, never what is not there
    present = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(200, 1)
    for distribution in ("subsets", {"a": 1.0}, None):
        assert torch.equal(sampled(("a", "b"), distribution, present), present)


def test_numpy_numbers_are_weights():
    weights = {("a",): np.float32(1), ("a", "b"): np.int64(3)}
    assert subset_sampling(("a", "b"), weights).probabilities.tolist() == [1, 3]


def test_exhaustive_masks_are_the_subsets_with_their_probabilities():
    everything = torch.ones(2, 2)
    masks = subset_sampling(("a", "b"), "subsets", exhaustive=True).masks(everything)
    assert [weight for weight, _ in masks] == pytest.approx([1 / 3] * 3)
    assert [mask[1].tolist() for _, mask in masks] == [[1, 0], [0, 1], [1, 1]]
    # a row that lacks one is shown what it has in every mask; a weight of 0 is no mask
    present = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    own = subset_sampling(("a", "b"), {"a": 1, ("a", "b"): 3, "b": 0}, exhaustive=True).masks(present)
    assert [(weight, mask.tolist()) for weight, mask in own] == [(0.25, [[1, 0], [1, 0]]), (0.75, [[1, 0], [1, 1]])]  # fmt: skip # noqa: E501
    ((weight, mask),) = subset_sampling(("a", "b"), None, exhaustive=True).masks(present)
    assert weight == 1
    assert torch.equal(mask, present)
    with pytest.raises(ValueError, match="9 modalities have 511 subsets; name some of them"):
        subset_sampling("abcdefghi", "subsets", exhaustive=True)


def test_the_exhaustive_loss_is_the_weighted_sum_of_three_reconstructions():
    """The first epoch's loss of one batch, by NumPy from the starting weights."""
    rng = np.random.default_rng(0)
    views = {"sound": rng.normal(size=(7, 3)), "image": rng.normal(size=(7, 5))}
    views["image"][6] = np.nan
    weights, shares = {"sound": 2.0, "image": 0.5}, {"sound": 1.0, "image": 2.0, ("sound", "image"): 5.0}
    model = MultimodalAutoencoder(
        4,
        (6,),
        modality_dropout=shares,
        modality_subsets="exhaustive",
        missing_indicator=True,
        modality_weights=weights,
        dtype="float64",
        n_epochs=1,
        learning_rate=1e-300,
        random_state=0,
    ).fit(views)
    p = {name: t.numpy() for name, t in model.network_.state_dict().items()}
    p["missing"] = p["missing"] + 0
    x = {name: np.nan_to_num((a - model.means_[name]) / model.scales_[name]) for name, a in views.items()}
    has = {"sound": np.ones(7, bool), "image": np.arange(7) < 6}
    h = [np.tanh(x[n] @ p[f"encoders.{m}.0.0.weight"].T + p[f"encoders.{m}.0.0.bias"]) for m, n in enumerate(x)]  # fmt: skip # noqa: E501
    expected = 0.0
    for subset, share in shares.items():
        for row in range(7):
            given = [n in subset and has[n][row] for n in x] if not isinstance(subset, str) else [n == subset and has[n][row] for n in x]  # fmt: skip # noqa: E501
            given = given if any(given) else [has[n][row] for n in x]
            joined = np.concatenate([h[m][row] * given[m] for m in range(2)])
            if all(given):
                t = p["shared.weight"] @ joined
            else:
                t = p["partial.weight"] @ joined + p["missing"][given.index(False)]
            z = np.tanh(t + p["shared.bias"])
            for m, name in enumerate(x):
                first = np.tanh(p[f"decoders.{m}.0.weight"] @ z + p[f"decoders.{m}.0.bias"])
                last = [k for k in p if k.startswith(f"decoders.{m}.") and k.endswith("weight")][-1]
                out = p[last] @ first + p[last.replace("weight", "bias")]
                error = has[name][row] * np.square(out - x[name][row]).sum()
                expected += share / 8 * weights[name] * error / (has[name].sum() * x[name].shape[1])
    assert model.history_[0]["loss"] == pytest.approx(expected, rel=1e-10)


def test_what_is_missing_has_weights_of_its_own():
    torch.manual_seed(0)
    encoders, decoders = [torch.nn.Linear(2, 3), torch.nn.Linear(4, 5)], [torch.nn.Linear(6, w) for w in (2, 4)]  # fmt: skip # noqa: E501
    network = MultimodalNetwork(encoders, decoders, [3, 5], 6, "tanh", False, missing_indicator=True)
    inputs, given = [torch.randn(3, 2), torch.randn(3, 4)], torch.tensor([[1.0, 1], [1, 0], [0, 1]])
    plain = MultimodalNetwork(encoders, decoders, [3, 5], 6, "tanh", False)
    plain.shared.load_state_dict(network.shared.state_dict())
    torch.testing.assert_close(network.encode(inputs, given), plain.encode(inputs, given))  # its start
    with torch.no_grad():
        network.partial.weight.normal_()
        network.missing.normal_()
    z = network.encode(inputs, given)
    torch.testing.assert_close(z[0], plain.encode(inputs, given)[0])  # complete: as without
    for row, m in ((1, 0), (2, 1)):
        joined = torch.zeros(8)
        joined[slice(0, 3) if m == 0 else slice(3, 8)] = encoders[m](inputs[m][row])
        expected = torch.tanh(network.partial.weight @ joined + network.shared.bias + network.missing[1 - m])
        torch.testing.assert_close(z[row], expected)
    # complete rows teach neither, a row that lacks the image only the image's vector
    for rows, learns in (([0], [False, False]), ([1], [False, True]), ([2], [True, False])):
        network.zero_grad()
        network.encode([x[rows] for x in inputs], given[rows]).square().sum().backward()
        assert [bool(g.abs().sum() > 0) for g in network.missing.grad] == learns
        assert bool(network.partial.weight.grad.abs().sum() > 0) == any(learns)
        assert bool(network.shared.weight.grad.abs().sum() > 0) != any(learns)


@pytest.mark.parametrize("kind", ["denoising", "rbm"])
def test_pretraining_starts_the_network_near_an_autoencoder(kind):
    rng = np.random.default_rng(0)
    # wide views: a machine of unit variance sees only what many columns have in common
    views = {name: (a - a.mean(0)) @ rng.normal(size=(a.shape[1], 40)) for name, a in pair(400).items()}
    torch.manual_seed(0)
    activation = "sigmoid" if kind == "rbm" else "relu"
    sources, present = [], np.ones((400, 2), bool)
    for a in views.values():
        sources.append(Source(a, a.mean(0), a.std(0), torch.device("cpu"), torch.float32))
    model = MultimodalAutoencoder(16, (48,), activation, scale="columns")
    errors = {}
    for started in (False, True):
        built = clone(model).set_params(
            n_epochs=1, learning_rate=1e-12, batch_size=400, validation_fraction=0.0
        )
        network = built.fit(views).network_
        if started:
            pretrain(network, sources, present, np.arange(400), kind, activation)
            first, last = network.encoders[0][0][0], network.decoders[0][-1]
            assert torch.equal(first.weight.T, last.weight)
        with torch.no_grad():
            inputs = [s.rows(slice(None)) for s in sources]
            outputs = network(inputs, torch.ones(400, 2))[1]
        errors[started] = np.mean([(o - x).square().mean() for o, x in zip(outputs, inputs, strict=True)])
    assert errors[True] < 0.6 * errors[False]
    assert errors[True] < 0.8


# ---- the estimator


def test_same_seed_same_result_and_the_global_generator_is_left_alone():
    views = pair(200)
    options = {**TINY, "n_epochs": 3, "validation_fraction": 0.3}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = (MultimodalAutoencoder(**options).fit(views).transform(views) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(torch.rand(3), expected)
    other = MultimodalAutoencoder(**{**options, "random_state": 1}).fit(views).transform(views)
    assert not np.allclose(one, other)


def test_validation_chooses_the_best_epoch_and_patience_stops():
    options = {**TINY, "validation_fraction": 0.25, "n_epochs": 300, "learning_rate": 0.03}
    model = MultimodalAutoencoder(**options, patience=4, schedule="constant").fit(pair(400))
    losses = [h["validation_loss"] for h in model.history_]
    assert len(losses) < 300
    assert model.best_epoch_ == 1 + int(np.argmin(losses)) == len(losses) - 4
    assert losses[model.best_epoch_ - 1] < losses[0]


def test_callbacks_progress_and_interrupts(capsys):
    views = pair(200)
    seen = []

    def callback(epoch):
        seen.append((epoch.number, epoch.loss, epoch.model, epoch.validation_loss))
        return epoch.number == 3

    stopped = MultimodalAutoencoder(**TINY, callbacks=(callback,), verbose=True).fit(views)
    assert [s[0] for s in seen] == [1, 2, 3]
    assert seen[0][2] is stopped
    assert seen[2][1] < seen[0][1]
    assert "loss=" in capsys.readouterr().err

    def interrupt(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    model = MultimodalAutoencoder(**TINY, callbacks=(interrupt,))
    with pytest.raises(KeyboardInterrupt):
        model.fit(views)
    assert model.best_epoch_ == 3
    np.testing.assert_array_equal(model.transform(views), stopped.transform(views))


def test_networks_of_your_own():
    views = pair(300)
    torch.manual_seed(0)
    encoders = {"image": torch.nn.Sequential(torch.nn.Unflatten(1, (1, 4)), torch.nn.Conv1d(1, 8, 2), torch.nn.ReLU(), torch.nn.Flatten())}  # fmt: skip # noqa: E501
    decoders = {"sound": torch.nn.Linear(16, 2)}
    before = encoders["image"][1].weight.detach().clone()
    model = MultimodalAutoencoder(**TINY, encoders=encoders, decoders=decoders).fit(views)
    assert torch.equal(encoders["image"][1].weight, before)  # a copy is trained
    assert model.score(views, given="image") > 0.6
    assert model.network_.widths == [48, 24]


def test_sequences_matrices_frames_dtypes_and_pipelines():
    views = pair(200)
    options = {**TINY, "n_epochs": 3}
    named = MultimodalAutoencoder(**options).fit(views).transform(views)
    listed = MultimodalAutoencoder(**options).fit(list(views.values()))
    np.testing.assert_array_equal(listed.transform(tuple(views.values())), named)
    assert set(listed.reconstruct({"view1": views["image"]})) == {"view0", "view1"}
    frames = {
        name: pd.DataFrame(a, columns=[f"{name}{i}" for i in range(a.shape[1])]) for name, a in views.items()
    }
    framed = MultimodalAutoencoder(**options).set_output(transform="pandas").fit(frames)
    out = framed.transform(frames)
    assert list(out.columns[:2]) == ["multimodalautoencoder0", "multimodalautoencoder1"]
    np.testing.assert_array_equal(out.to_numpy(), named)
    with pytest.raises(ValueError, match="feature names of sound should match"):
        framed.transform({"sound": frames["sound"].iloc[:, ::-1]})
    single = {name: a.astype(np.float32) for name, a in views.items()}
    model = MultimodalAutoencoder(**options).fit(single)
    assert model.transform(single).dtype == np.float32
    assert {a.dtype for a in model.reconstruct(single).values()} == {np.dtype(np.float32)}
    piped = make_pipeline(MultimodalAutoencoder(**TINY), Ridge(1e-3)).fit(views, views["image"][:, 2])
    assert piped.score(views, views["image"][:, 2]) > 0.9


def test_save_and_load(fitted, tmp_path):
    views = pair(100, seed=1)
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    for loaded in (deep.load(path), fastcca.load(path)):
        assert isinstance(loaded, MultimodalAutoencoder)
        np.testing.assert_array_equal(loaded.transform(views), fitted.transform(views))
        filled, expected = (m.reconstruct({"sound": views["sound"]})["image"] for m in (loaded, fitted))
        np.testing.assert_array_equal(filled, expected)
        assert loaded.get_params() == fitted.get_params()
        assert loaded.history_ == fitted.history_
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match="damaged or not a fastcca model"):
        fastcca.load(path)
    with pytest.raises(NotFittedError):
        MultimodalAutoencoder().save(path)
    own = {"encoders": {"sound": torch.nn.Linear(2, 5)}, "decoders": {"image": torch.nn.Linear(16, 4)}}
    model = MultimodalAutoencoder(**{**TINY, "n_epochs": 2}, **own).fit(views)
    model.save(path)
    with pytest.raises(ValueError, match="pass modules of the same architecture as encoders"):
        fastcca.load(path)
    fresh = {"sound": torch.nn.Linear(2, 5)}, {"image": torch.nn.Linear(16, 4)}
    loaded = deep.load(path, *fresh)
    np.testing.assert_array_equal(loaded.transform(views), model.transform(views))
    with pytest.raises(ValueError, match="encoders and decoders do not fit it: network_"):
        deep.load(path, {"sound": torch.nn.Linear(2, 6)}, fresh[1])


def test_save_and_load_keep_the_tuples_of_a_schedule(tmp_path):
    views = pair(60)
    shares = {("sound",): 1, ("sound", "image"): 2}
    model = MultimodalAutoencoder(**{**TINY, "n_epochs": 1}, modality_dropout=shares).fit(views)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = fastcca.load(path)
    assert loaded.modality_dropout == shares
    np.testing.assert_array_equal(loaded.transform(views), model.transform(views))


def test_a_failed_refit_leaves_the_fitted_model():
    views = pair(60)
    model = MultimodalAutoencoder(**{**TINY, "n_epochs": 2}).fit(views)
    before = model.transform(views)

    def fail(epoch):
        raise ValueError("it smells")

    for options in (
        {"modality_weights": {"smell": 1.0}},
        {"modality_dropout": {("smell",): 1.0}},
        {"encoders": {"smell": torch.nn.Linear(2, 2)}},
        {"callbacks": (fail,)},
    ):
        failing = model.set_params(**options)
        with pytest.raises(ValueError, match="smell"):
            failing.fit({"sound": views["sound"] * 2 + 5, "image": views["image"][:, :3]})
        model.set_params(modality_weights=None, modality_dropout="subsets", encoders=None, callbacks=())
        np.testing.assert_array_equal(model.transform(views), before)
        assert len(model.history_) == 2


def test_a_large_mean_takes_no_digits():
    views = pair(300)
    far = {name: a + 1e8 for name, a in views.items()}
    models = [MultimodalAutoencoder(**{**TINY, "n_epochs": 20}).fit(v) for v in (views, far)]
    near, offset = (m.score(v, given="sound") for m, v in zip(models, (views, far), strict=True))
    assert near > 0.5
    assert abs(near - offset) < 0.02


# ---- bad input


def test_bad_rows_are_named(fitted):
    views = pair(60)
    empty = np.full((60, 4), np.nan)
    model = MultimodalAutoencoder(**{**TINY, "n_epochs": 1})
    with pytest.raises(ValueError, match=r"unknown modality 'smell': .* fitted to 'sound', 'image'"):
        fitted.transform({"smell": views["sound"]})
    with pytest.raises(ValueError, match=r"same number of rows, got 60 in 'sound', 59 in 'image'"):
        model.fit({"sound": views["sound"], "image": views["image"][1:]})
    with pytest.raises(ValueError, match="image has 3 features, but MultimodalAutoencoder is expecting 4"):
        fitted.reconstruct({"image": views["image"][:, :3]})
    for missing in (None, empty, [None] * 60):
        with pytest.raises(ValueError, match="every row of modality 'image' is missing"):
            model.fit({"sound": views["sound"], "image": missing})
    for method in (fitted.transform, fitted.reconstruct, fitted.score):
        with pytest.raises(ValueError, match="row 0 has no modality at all"):
            method({"image": empty})
    holes = {name: a.copy() for name, a in views.items()}
    for a in holes.values():
        a[17] = np.nan
    with pytest.raises(ValueError, match="row 17 has no modality at all"):
        model.fit(holes)
    holes["sound"][17] = 1.0
    holes["image"][20, 1] = np.nan
    for method in (model.fit, fitted.transform):
        with pytest.raises(
            ValueError, match=r"image contains NaN: the first is at row 20, column 1; a row that"
        ):
            method(holes)
    holes["image"][20, 1] = np.inf
    with pytest.raises(ValueError, match="image contains infinity: the first is at row 20, column 1"):
        fitted.score(holes)
    with pytest.raises(ValueError, match="at least one modality, got none"):
        fitted.transform({})
    with pytest.raises(ValueError, match="given must name some of sound, image, got 'smell'"):
        fitted.score(views, given="smell")
    with pytest.raises(ValueError, match="given must name some of"):
        fitted.score(views, given=())
    with pytest.raises(NotFittedError):
        model.transform(views)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components must be an integer >= 1, got 0"),
        ({"n_epochs": 1.5}, "epochs must be an integer >= 1"),
        ({"batch_size": None}, "batch_size must be an integer >= 1"),
        ({"optimizer": "lbfgs"}, "optimizer must be one of 'adam', 'adamw' or a callable, got 'lbfgs'"),
        ({"modality_subsets": "some"}, "modality_subsets must be one of 'sampled', 'exhaustive', got 'some'"),
        ({"pretrain": "gan"}, "pretrain must be one of None, 'denoising', 'rbm'"),
        ({"pretrain": "rbm"}, "needs activation='sigmoid', got 'tanh'"),
        ({"scale": "rows"}, "scale must be one of"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number > 0"),
        ({"dropout": 1.0}, "dropout must be a finite number >= 0 and < 1"),
        ({"input_noise": -1.0}, "input_noise must be a finite number >= 0"),
        ({"hidden": (0,)}, "hidden must be widths of layers"),
        ({"hidden": 5}, "hidden must be widths of layers"),
        ({"hidden": {"smell": (3,)}}, "hidden names an unknown modality 'smell': there are sound, image"),
        ({"activation": "none"}, "activation must be one of"),
        ({"modality_dropout": "third"}, "modality_dropout must be 'subsets', None or a mapping"),
        ({"modality_dropout": {}}, "modality_dropout must be 'subsets', None or a mapping"),
        ({"modality_dropout": {("smell",): 1.0}}, "modality_dropout names an unknown modality 'smell'"),
        ({"modality_dropout": {(): 1.0}}, "tuples of names, none empty"),
        ({"modality_dropout": {"sound": -1.0}}, "weights that are not negative, got -1.0 for 'sound'"),
        ({"modality_dropout": {"sound": 0.0}}, "must not all be zero"),
        ({"modality_weights": {"smell": 1.0}}, "modality_weights names an unknown modality 'smell'"),
        ({"modality_weights": [0, 0]}, "modality_weights must not all be zero"),
        *BAD_PARAMETERS,
        ({"encoders": 3}, r"encoders must map names to torch\.nn\.Module"),
        ({"encoders": [torch.nn.Linear(2, 2)]}, r"encoders must map names to torch\.nn\.Module"),
        ({"encoders": {"smell": torch.nn.Linear(2, 2)}}, "encoders names an unknown modality 'smell'"),
        ({"encoders": {"sound": torch.nn.Flatten(0)}}, "an encoder must return one row of outputs per row"),
        (
            {"encoders": {"sound": torch.nn.Unflatten(1, (1, 2))}},
            r"encoder of sound must return a \(rows, out",
        ),
        ({"encoders": {"sound": torch.nn.Linear(3, 2)}}, "encoder of sound cannot take rows of 2 features"),
        (
            {"decoders": {"sound": torch.nn.Linear(15, 2)}},
            "decoder of sound cannot take rows of n_components=16",
        ),
        ({"decoders": {"sound": torch.nn.Linear(16, 3)}}, r"decoder of sound must return \(rows, 2\)"),
        (
            {"decoders": {"sound": torch.nn.Linear(16, 2)}, "pretrain": "denoising"},
            "pretrain works on the built-in networks",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MultimodalAutoencoder(**{**TINY, "n_epochs": 1, **options}).fit(pair(60))


class GoesWrong(torch.nn.Module):
    """Returns NaN from its third call in training on."""

    def __init__(self):
        super().__init__()
        self.map, self.left = torch.nn.Linear(16, 2), 2

    def forward(self, x):
        self.left -= self.training
        return self.map(x) * (torch.nan if self.left < 0 else 1)


def test_a_network_that_returns_nan_is_named_with_its_epoch():
    options = {**TINY, "batch_size": 60}
    with pytest.raises(NumericalError, match="reconstruction of sound is NaN or infinite in epoch 3"):
        MultimodalAutoencoder(**options, decoders={"sound": GoesWrong()}).fit(pair(60))


def test_constant_columns_and_few_rows_just_work():
    views = pair(5)
    views["sound"][:, 0] = 4.0
    views["image"][:] = 7.0
    model = MultimodalAutoencoder(**{**TINY, "n_epochs": 2}).fit(views)
    assert np.isfinite(model.transform(views)).all()
    filled = model.reconstruct({"sound": views["sound"]})
    assert filled["image"].shape == (5, 4)


@parametrize_with_checks(
    [MultimodalAutoencoder(3, hidden=(4,), n_epochs=2, dtype="float64", random_state=0, n_threads=1)]
)
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)
