"""Trainings of one's own: checkpoints, optimisers, schedulers, clipping, compilation, batches, export."""

import copy
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from torch._dynamo.utils import counters  # noqa: E402
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset  # noqa: E402

import fastcca  # noqa: E402
from fastcca.deep import DeepCCA, DeepLabelEmbedding, MultimodalAutoencoder  # noqa: E402
from fastcca.deep._checkpoint import Checkpoint  # noqa: E402
from fastcca.deep._training import Best, Schedule, minibatches  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402


def pair(n=300, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, 2))
    X = np.hstack([Z, rng.standard_normal((n, 3))])
    Y = np.hstack([Z**3, rng.standard_normal((n, 2))])
    return X.astype(np.float32), Y.astype(np.float32)


SMALL = {
    "n_components": 2,
    "hidden": (8,),
    "n_epochs": 6,
    "batch_size": 60,
    "random_state": 0,
    "n_threads": 1,
}
KINDS = {
    "cca": lambda **k: DeepCCA(**{**SMALL, "dropout": 0.1, "validation_fraction": 0.4, **k}),
    "lbfgs": lambda **k: DeepCCA(**{**SMALL, "optimizer": "lbfgs", **k}),
    "own": lambda **k: DeepCCA(**{**SMALL, "optimizer": nesterov, "schedule": steps, "clip_norm": 1.0, **k}),
    "own networks": lambda **k: DeepCCA(**{**SMALL, "encoders": (network(5), network(4)), **k}),
    "autoencoder": lambda **k: MultimodalAutoencoder(
        **{**SMALL, "dropout": 0.1, "validation_fraction": 0.4, "schedule": steps, **k}
    ),
}


def network(width):
    """All of PyTorch's own: no code of ours for the compiler to begin with."""
    torch.manual_seed(width)
    return torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def nesterov(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True)


def steps(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.8)


def fitted(kind, **options):
    model = KINDS[kind](**options.pop("parameters", {}))
    X, Y = pair()
    if kind == "autoencoder":
        return model.fit({"x": X, "y": Y}, **options)
    return model.fit(X, Y, **options)


def tensors(model):
    networks = [getattr(model, name) for name in model._saved_networks]
    return {f"{i}.{k}": v for i, network in enumerate(networks) for k, v in network.state_dict().items()}


def same(a, b):
    assert a.history_ == b.history_
    assert a.best_epoch_ == b.best_epoch_
    for (name, x), y in zip(tensors(a).items(), tensors(b).values(), strict=True):
        assert torch.equal(x, y), name
    for name in ("x_loadings_", "singular_values_"):
        if hasattr(a, name):
            assert np.array_equal(getattr(a, name), getattr(b, name))


# ---- checkpoints


def killed_after(kind, path, epoch):
    """Run by a process of its own, which ends in mid-training as by kill -9."""

    def kill(done):
        # Within the epoch that follows, whose beginning is not saved
        if done.number == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    fitted(kind, checkpoint=path, parameters={"callbacks": [kill]})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_killed_training_goes_on_bit_by_bit(kind, tmp_path):
    path = str(tmp_path / "run.ckpt")
    whole = fitted(kind)
    code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_deep_training as t; "
    for epoch in (3, 5):  # twice
        call = code + f"t.killed_after({kind!r}, {path!r}, {epoch})"
        ended = subprocess.run([sys.executable, "-c", call], check=False, capture_output=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    epochs = []
    resumed = fitted(kind, checkpoint=path, parameters={"callbacks": [lambda e: epochs.append(e.number)]})
    assert epochs[0] == 5  # what was saved is the epoch before the one that was killed
    same(whole, resumed)
    # A training that has ended is not repeated
    epochs.clear()
    same(whole, fitted(kind, checkpoint=path, parameters={"callbacks": [lambda e: epochs.append(e.number)]}))
    assert not epochs


def test_an_interrupted_training_that_stops_early_goes_on(tmp_path):
    path = tmp_path / "run.ckpt"
    parameters = {"patience": 1, "n_epochs": 60, "learning_rate": 0.3}
    whole = fitted("cca", parameters=parameters)
    assert len(whole.history_) < 60

    class Stop(Exception):
        pass

    def stop(epoch):
        if epoch.number == 2:
            raise Stop

    with pytest.raises(Stop):
        fitted("cca", checkpoint=path, parameters={**parameters, "callbacks": [stop]})
    same(whole, fitted("cca", checkpoint=path, parameters=parameters))
    same(whole, fitted("cca", checkpoint=path, parameters=parameters))


def test_checkpoints_of_other_fits_are_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    fitted("cca", checkpoint=path)
    for parameters in ({"learning_rate": 1e-3}, {"random_state": 1}, {"hidden": (9,)}):
        with pytest.raises(ValueError, match="is of another fit"):
            fitted("cca", checkpoint=path, parameters=parameters)
    X, Y = pair(seed=1)
    with pytest.raises(ValueError, match="is of another fit"):
        KINDS["cca"]().fit(X, Y, checkpoint=path)
    with pytest.raises(ValueError, match="needs an integer random_state, got None"):
        fitted("cca", checkpoint=path, parameters={"random_state": None})
    with pytest.raises(TypeError, match="checkpoint must be a path or None, got int"):
        fitted("cca", checkpoint=3)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read: remove it to start anew"):
        fitted("cca", checkpoint=path)
    torch.save({"a": 1}, path)
    with pytest.raises(ValueError, match="is no checkpoint of a training"):
        fitted("cca", checkpoint=path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        fitted("cca", checkpoint=tmp_path / "none" / "run.ckpt")


# ---- optimisers, schedulers, clipping, compilation


def test_an_optimiser_and_a_scheduler_of_ones_own():
    seen = []

    def schedule(optimizer):
        seen.append(type(optimizer).__name__)
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=10**6)

    model = DeepCCA(**SMALL, optimizer=nesterov, schedule=schedule)
    model.fit(*pair())
    assert seen == ["SGD"]
    assert {row["learning_rate"] for row in model.history_} == {0.025}
    # a schedule of ours scales the optimiser's own rates
    model = DeepCCA(**SMALL, optimizer=nesterov, schedule="constant").fit(*pair())
    assert model.history_[-1]["learning_rate"] == pytest.approx(0.05)
    with pytest.raises(ValueError, match=r"optimizer must return a torch.optim.Optimizer, got list"):
        DeepCCA(**SMALL, optimizer=list).fit(*pair())
    with pytest.raises(ValueError, match=r"optimizer must be one of .* or a callable"):
        DeepCCA(**SMALL, optimizer="sgd").fit(*pair())
    with pytest.raises(ValueError, match=r"schedule must be one of .* or a callable"):
        MultimodalAutoencoder(schedule="x").fit(pair()[0])


def test_the_same_adam_gives_the_same_training():
    ours = DeepCCA(**SMALL, learning_rate=1e-2).fit(*pair())
    own = DeepCCA(**SMALL, learning_rate=1e-2, optimizer=lambda p: torch.optim.Adam(p, lr=1e-2)).fit(*pair())
    same(ours, own)


def test_clipping():
    plain = DeepCCA(**SMALL).fit(*pair())
    same(plain, DeepCCA(**SMALL, clip_norm=1e9).fit(*pair()))
    norms = []

    def sgd(parameters):
        optimizer = torch.optim.SGD(parameters, lr=1e-3)
        optimizer.register_step_pre_hook(
            lambda *_: norms.append(torch.stack([p.grad.norm() for p in parameters]).norm().item())
        )
        return optimizer

    DeepCCA(**SMALL, optimizer=sgd, clip_norm=1e-3).fit(*pair())
    assert max(norms) <= 1e-3 * (1 + 1e-4)
    with pytest.raises(ValueError, match="clip_norm must be"):
        DeepCCA(**SMALL, clip_norm=0.0).fit(*pair())


def test_own_parts_leave_the_file(tmp_path):
    model = DeepCCA(**SMALL, optimizer=nesterov, schedule=steps).fit(*pair())
    model.save(tmp_path / "model.safetensors")
    again = fastcca.load(tmp_path / "model.safetensors")
    assert (again.optimizer, again.schedule) == ("adam", "cosine")
    assert np.array_equal(again.transform(pair()[0]), model.transform(pair()[0]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # both of the compiler's own parts
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("kind", ["cca", "own networks", "autoencoder"])
def test_compiled_networks_learn_the_same(kind):
    # a compiler draws its dropout and noise in another order
    still = {"dropout": 0.0, "input_noise": 0.0}
    torch._dynamo.reset()
    counters.clear()
    plain = fitted(kind, parameters=still)
    assert counters["stats"]["unique_graphs"] == 0
    compiled = fitted(kind, parameters={"compile": True, **still})
    assert counters["stats"]["unique_graphs"] >= 2  # an encoder of each view
    for (name, a), b in zip(tensors(plain).items(), tensors(compiled).values(), strict=True):
        if kind == "autoencoder" or name not in ("0.2.bias", "1.2.bias"):  # outputs of Deep CCA are centred
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5, msg=name)
    X, Y = pair()
    new = {"x": X, "y": Y} if kind == "autoencoder" else X
    np.testing.assert_allclose(compiled.transform(new), plain.transform(new), rtol=0, atol=1e-4)
    copy.deepcopy(compiled)


# ---- pairs in batches


class Pictures(Dataset):
    """Images of one channel with a caption of numbers, of different lengths."""

    def __init__(self, n=240, seed=0):
        rng = np.random.default_rng(seed)
        self.angle = rng.uniform(0, 2 * np.pi, n)
        self.noise = rng.standard_normal((n, 6, 6)).astype(np.float32)
        self.lengths = rng.integers(1, 4, n)

    def __len__(self):
        return len(self.angle)

    def __getitem__(self, i):
        image = self.noise[i].copy()
        image[:3] += 3 * np.float32(np.cos(self.angle[i]))
        image[3:] += 3 * np.float32(np.sin(self.angle[i]))
        words = np.full(self.lengths[i], int(8 * self.angle[i] / (2 * np.pi)))
        return torch.from_numpy(image)[None], torch.from_numpy(words)


def collate(pairs):
    images, words = zip(*pairs, strict=True)
    return torch.stack(images), torch.nn.utils.rnn.pad_sequence(words, batch_first=True, padding_value=8)


class Words(torch.nn.Module):
    """The mean of embeddings of tokens; 8 is padding."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 4, padding_idx=8)

    def forward(self, tokens):
        counts = (tokens != 8).sum(1, keepdim=True)
        return self.embedding(tokens).sum(1) / counts


def encoders():
    torch.manual_seed(3)
    image = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 4)
    )
    return image, Words()


BATCHED = {"n_components": 2, "n_epochs": 25, "batch_size": 60, "learning_rate": 1e-2, "random_state": 0}


def test_a_loader_of_images_and_padded_tokens(tmp_path):
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(Pictures(), 60, shuffle=True, collate_fn=collate, generator=generator)
    held_out = DataLoader(Pictures(100, 1), 50, collate_fn=collate)
    model = DeepCCA(**BATCHED, encoders=encoders()).fit(loader, validation=held_out)
    assert model.score(held_out) > 0.8
    assert model.history_[-1]["validation_correlation"] > 1.6
    # one view, by its tensor or as a part of the batches
    images, words = collate([Pictures(100, 1)[i] for i in range(100)])
    zx, zy = model.transform_views(held_out)
    np.testing.assert_allclose(model.transform(images), zx, atol=1e-5)
    np.testing.assert_allclose(model.transform(images.numpy()), zx, atol=1e-5)
    np.testing.assert_allclose(model.transform_y(words), zy, atol=1e-5)
    np.testing.assert_allclose(model.transform_y(held_out), zy, atol=1e-5)
    # the outputs of the networks stand for the views
    assert model.x_loadings_.shape == (4, 2)
    assert model.predict(images).shape == (100, 4)
    module = model.to_module("y")
    np.testing.assert_allclose(module(words).detach(), zy, atol=1e-5)
    n, length = torch.export.Dim("n"), torch.export.Dim("length")
    program = torch.export.export(module, (words,), dynamic_shapes=({0: n, 1: length},))
    np.testing.assert_allclose(program.module()(words[:7]).detach(), zy[:7], atol=1e-5)
    model.save(tmp_path / "model.safetensors")
    again = fastcca.load(tmp_path / "model.safetensors", encoders=encoders())
    np.testing.assert_array_equal(again.transform(images), model.transform(images))
    assert again.score(held_out) == model.score(held_out)


def test_a_data_set_is_shuffled_and_split():
    X, Y = (torch.from_numpy(a) for a in pair(600))
    nets = (
        torch.nn.Linear(5, 3),
        torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)),
    )
    options = {**BATCHED, "n_epochs": 3, "validation_fraction": 0.25}
    model = DeepCCA(**options, encoders=nets).fit(TensorDataset(X, Y))
    assert model.history_[0]["validation_correlation"] is not None
    again = DeepCCA(**options, encoders=nets).fit(TensorDataset(X, Y))
    assert again.history_ == model.history_
    groups = np.arange(600) // 3
    assert (
        DeepCCA(**options, encoders=nets).fit(TensorDataset(X, Y), groups=groups).history_ != model.history_
    )
    # a list of tuples, an iterable that can be read again, NumPy arrays
    parts = list(zip(X.split(100), Y.split(100), strict=True))

    class Again:
        def __iter__(self):
            return ((x.numpy(), y.numpy()) for x, y in parts)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y, strict=True))

    options["batch_size"] = 100
    one = DeepCCA(**options, encoders=nets).fit(parts)
    for data in (Again(), Stream()):
        assert DeepCCA(**options, encoders=nets).fit(data).history_ == one.history_
    assert one.history_[0]["validation_correlation"] is None


def killed_loader(path, epoch):
    def kill(done):
        if done.number == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    fit_loader(path, [kill])


def fit_loader(path, callbacks=()):
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(Pictures(), 60, shuffle=True, collate_fn=collate, generator=generator)
    options = {**BATCHED, "n_epochs": 5, "n_threads": 1}
    model = DeepCCA(**options, encoders=encoders(), callbacks=list(callbacks))
    return model.fit(loader, checkpoint=path)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_training_on_a_loader_goes_on_bit_by_bit(tmp_path):
    path = str(tmp_path / "run.ckpt")
    code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_deep_training as t; "
    call = code + f"t.killed_loader({path!r}, 3)"
    ended = subprocess.run([sys.executable, "-c", call], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    epochs = []
    resumed = fit_loader(path, [lambda e: epochs.append(e.number)])
    assert epochs == [3, 4, 5]
    same(fit_loader(None), resumed)


def test_an_autoencoder_of_batches(tmp_path):
    X, Y = pair(400)
    X[::7] = np.nan  # missing
    mapping = {"x": torch.from_numpy(X), "y": torch.from_numpy(Y)}
    parts = [dict(zip(mapping, both, strict=True)) for both in
             zip(mapping["x"].split(50), mapping["y"].split(50), strict=True)]  # fmt: skip
    options = {**SMALL, "n_epochs": 20, "batch_size": 50, "learning_rate": 1e-2}
    whole = MultimodalAutoencoder(**options, validation_fraction=0).fit({"x": X, "y": Y})
    model = MultimodalAutoencoder(**options).fit(parts)
    for name in ("x", "y"):
        np.testing.assert_allclose(model.means_[name], whole.means_[name], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(model.scales_[name], whole.scales_[name], rtol=1e-6)
    assert model.score({"x": X, "y": Y}) == pytest.approx(whole.score({"x": X, "y": Y}), abs=0.1)
    np.testing.assert_allclose(model.transform(parts), model.transform({"x": X, "y": Y}), atol=1e-6)
    assert model.score(parts, given="y") == pytest.approx(model.score({"x": X, "y": Y}, given="y"), rel=1e-6)
    filled = model.reconstruct([{"y": part["y"]} for part in parts])
    np.testing.assert_allclose(filled["x"], model.reconstruct({"y": Y})["x"], atol=1e-5)
    # images, as tuples of a data set, some set aside, saved on the way
    images = torch.from_numpy(np.nan_to_num(X)).reshape(-1, 1, 5, 1)
    data = TensorDataset(images, mapping["y"])
    options["validation_fraction"] = 0.25
    model = MultimodalAutoencoder(**options).fit(data, checkpoint=tmp_path / "run.ckpt")
    assert model.modalities_ == ("view0", "view1")
    assert model.history_[0]["validation_loss"] is not None
    same(model, MultimodalAutoencoder(**options).fit(data))
    same(model, MultimodalAutoencoder(**options).fit(data, checkpoint=tmp_path / "run.ckpt"))
    with pytest.raises(ValueError, match="pretrain='denoising' takes arrays"):
        MultimodalAutoencoder(pretrain="denoising").fit(parts)
    with pytest.raises(ValueError, match="y has 3 features"):
        MultimodalAutoencoder(**options).fit([parts[0], {"x": parts[0]["x"], "y": parts[0]["y"][:, :3]}])


def test_an_autoencoder_of_a_loader_goes_on_bit_by_bit(tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch):
        if epoch.number == 3:
            raise Stop

    data, held_out = (tuple(map(torch.from_numpy, pair(120, seed))) for seed in (0, 1))

    def fit(path, callbacks=()):
        generator = torch.Generator().manual_seed(1)
        loader = DataLoader(TensorDataset(*data), 40, shuffle=True, generator=generator)
        options = {"optimizer": nesterov, "schedule": steps, "clip_norm": 1.0, "dropout": 0.1}
        model = MultimodalAutoencoder(**SMALL, **options, callbacks=callbacks)
        return model.fit(loader, validation=[held_out], checkpoint=path)

    with pytest.raises(Stop):
        fit(tmp_path / "run.ckpt", [stop])
    epochs = []
    resumed = fit(tmp_path / "run.ckpt", [lambda e: epochs.append(e.number)])
    assert epochs == [3, 4, 5, 6]
    same(fit(None), resumed)


def test_batches_that_cannot_be_used_are_named():
    X, Y = (torch.from_numpy(a) for a in pair(100))
    parts, nets = [(X, Y)], (torch.nn.Linear(5, 3), torch.nn.Linear(4, 3))
    model = DeepCCA(**{**BATCHED, "n_epochs": 1}, encoders=nets)
    with pytest.raises(ValueError, match="an iterator can be read once"):
        model.fit(iter(parts))
    with pytest.raises(ValueError, match="each batch must be a tuple of 2 inputs, got 1 of tuple"):
        model.fit([(X,)])
    with pytest.raises(ValueError, match="data in batches are for encoders of your own"):
        DeepCCA().fit(parts)
    with pytest.raises(ValueError, match="optimizer='lbfgs' takes arrays"):
        DeepCCA(encoders=nets, optimizer="lbfgs", n_components=2).fit(parts)
    with pytest.raises(ValueError, match="groups are of the rows of a Dataset"):
        model.fit(parts, groups=np.arange(100))
    with pytest.raises(ValueError, match="validation must be views in batches"):
        model.fit(parts, validation=(X.numpy(), Y.numpy()))
    with pytest.raises(ValueError, match="returns 3 outputs, fewer than n_components=4"):
        DeepCCA(4, encoders=nets).fit(parts)
    with pytest.raises(ValueError, match="the encoder of y cannot take the first batch"):
        model.fit([(X, X)])
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(X.numpy())
    model.fit(parts)
    with pytest.raises(ValueError, match="without y, X must be pairs in batches"):
        model.transform_views(X)


# ---- half precision


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["cca", "own networks", "autoencoder"])
def test_half_precision_trains_as_single_does(kind, precision):
    seen = []
    whole = fitted(kind)
    model = fitted(kind, parameters={"autocast": precision, "callbacks": [lambda e: seen.append(e.loss)]})
    assert all(p.dtype == torch.float32 for p in tensors(model).values())
    assert seen != [row["loss"] for row in whole.history_]
    # the first steps in float16 may be left out until the scale has come down
    np.testing.assert_allclose(seen, [row["loss"] for row in whole.history_], atol=0.05)


def test_half_precision_of_label_embeddings():
    X, _ = pair()
    options = {**SMALL, "n_components": None}
    models = [
        DeepLabelEmbedding(**options, autocast=kind).fit(X, np.sign(X[:, 0]))
        for kind in (None, "bfloat16", "float16")
    ]
    losses = [[row["loss"] for row in model.history_] for model in models]
    assert losses[0] != losses[1] != losses[2]
    np.testing.assert_allclose(losses[1:], losses[:1] * 2, atol=0.05)


def scaled_up(n_epochs, path):
    """One batch an epoch, of a loss whose gradient in float16 overflows where it is scaled by 2¹⁵ or more."""
    network, rates = torch.nn.Linear(1, 1, bias=False), []
    with torch.no_grad():
        network.weight.fill_(0.5)
    schedule = Schedule(
        optimizer=lambda p: torch.optim.SGD(p, lr=0.125),
        schedule=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5),
        n_epochs=n_epochs,
        batch_size=1,
        autocast=torch.float16,
    )

    def batch_loss(rows, where):
        with schedule.autocasting(torch.device("cpu")):
            out = network(torch.ones(len(rows), 1))
        assert out.dtype == torch.float16
        return 2 * out.float().sum()

    checkpoint, best = Checkpoint(path, "of this test", torch.device("cpu")), Best(network)
    checkpoint.resume(network, best, [])
    for number, _, rate in minibatches(network, schedule, np.arange(1), batch_loss, checkpoint):
        rates.append((rate, network.weight.item()))
        checkpoint.save(number, network, best, [], False)
    return rates


def test_steps_whose_gradients_overflow_are_left_out(tmp_path):
    # 2 · 2¹⁶ and 2 · 2¹⁵ are infinite in float16, 2 · 2¹⁴ is not.
    expected = [(0.125, 0.5), (0.125, 0.5), (0.125, 0.25), (0.0625, 0.125)]
    assert scaled_up(4, tmp_path / "whole.ckpt") == expected
    # the scale is part of a checkpoint: in the run that goes on the third step is taken at once
    assert scaled_up(2, tmp_path / "run.ckpt") == expected[:2]
    assert torch.load(tmp_path / "run.ckpt")["parts"]["scaler"]["scale"] == 2.0**14
    assert scaled_up(4, tmp_path / "run.ckpt") == expected[2:]


def test_half_precision_that_cannot_serve_is_named():
    X, Y = pair(120)

    class Broken(torch.nn.Linear):
        """A gradient that no scale makes finite."""

        def forward(self, x):
            out = super().forward(x)
            if out.requires_grad:
                out.register_hook(lambda g: g * torch.inf)
            return out

    options = {**SMALL, "autocast": "float16", "n_epochs": 30}
    with pytest.raises(NumericalError, match=r"gradients are NaN or infinity in epoch \d+, however small"):
        DeepCCA(**options, encoders=(Broken(5, 2), torch.nn.Linear(4, 2))).fit(X, Y)

    class Lacking(torch.nn.Linear):
        def forward(self, x):
            return torch.special.log_ndtr(super().forward(x))

    with pytest.raises(ValueError, match=r"autocast='float16': cpu cannot compute the networks so: .*Half"):
        DeepCCA(**options, encoders=(Lacking(5, 2), torch.nn.Linear(4, 2))).fit(X, Y)


def test_half_precision_goes_on_bit_by_bit(tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch):
        if epoch.number == 4:
            raise Stop

    for kind in ("cca", "autoencoder"):
        path, parameters = tmp_path / kind, {"autocast": "float16", "clip_norm": 1.0}
        with pytest.raises(Stop):
            fitted(kind, checkpoint=path, parameters={**parameters, "callbacks": [stop]})
        assert "scaler" in torch.load(path)["parts"]
        same(fitted(kind, parameters=parameters), fitted(kind, checkpoint=path, parameters=parameters))


# ---- export


@pytest.mark.parametrize("view", ["X", "y"])
def test_one_module_of_scaling_network_and_cca(view):
    X, Y = pair()
    X = X * 5 + 100
    model = DeepCCA(**SMALL, scale="columns").fit(X, Y)
    rows = torch.from_numpy(X if view == "X" else Y)
    expected = model.transform(X) if view == "X" else model.transform_y(Y)
    module = model.to_module(view)
    np.testing.assert_allclose(module(rows).detach(), expected, atol=1e-5)
    program = torch.export.export(module, (rows,), dynamic_shapes=({0: torch.export.Dim("n")},))
    np.testing.assert_allclose(program.module()(rows[:11]).detach(), expected[:11], atol=1e-5)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()  # copies
    np.testing.assert_array_equal(model.transform_views(X, Y)[int(view == "y")], expected)
    with pytest.raises(ValueError, match="view must be 'X' or 'y'"):
        model.to_module("Z")
