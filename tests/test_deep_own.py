"""What both deep estimators do with networks, validation rows and random numbers of the user's own."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from sklearn.base import clone  # noqa: E402
from torch import nn  # noqa: E402

from fastcca import deep  # noqa: E402
from fastcca.deep import MLP, DeepCCA, MultimodalAutoencoder  # noqa: E402
from fastcca.deep._training import Source, batches, split_rows  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from reference import correlation as ref  # noqa: E402

OPTIONS = {"n_epochs": 3, "batch_size": 100, "random_state": 0, "n_threads": 1}


def views(n=300, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    return np.c_[z, rng.normal(size=(n, 4))], np.c_[z**3, rng.normal(size=(n, 4))]


def named(n=300, seed=0):
    return dict(zip("ab", views(n, seed), strict=True))


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


# ---- modules that two views share


def test_one_network_for_both_views_stays_one(tmp_path):
    X, Y = views()
    net = MLP(6, [16, 2])
    before = weights(net).clone()
    model = DeepCCA(2, encoders=(net, net), warm_start=True, **OPTIONS).fit(X, Y)
    assert model.encoder_x_ is model.encoder_y_
    assert not torch.equal(weights(model.encoder_x_), before)
    assert torch.equal(weights(net), before)  # a copy is trained
    first = weights(model.encoder_x_).clone()
    model.fit(X, Y)
    assert model.encoder_x_ is model.encoder_y_
    assert not torch.equal(weights(model.encoder_x_), first)
    one, two = clone(model).encoders
    assert one is two is not net
    assert clone(model).fit(X, Y).encoder_x_ is not model.encoder_x_
    model.save(tmp_path / "m")
    for given in ((MLP(6, [16, 2]), MLP(6, [16, 2])), (net, net)):
        loaded = deep.load(tmp_path / "m", encoders=given)
        assert loaded.encoder_x_ is loaded.encoder_y_
        np.testing.assert_array_equal(loaded.transform_y(Y), model.transform_y(Y))
    assert torch.equal(weights(net), before)


def test_a_tied_network_trains_as_one_written_by_hand():
    """The gradient of a shared parameter is the sum of both views'."""
    X, Y = views(200)
    net = nn.Linear(6, 2, bias=False).double()
    kwargs = {"optimizer": "lbfgs", "dtype": "float64", "validation_fraction": 0.0, "reg": 1e-2}
    model = DeepCCA(2, encoders=(net, net), **{**OPTIONS, "n_epochs": 100, "batch_size": 33}, **kwargs).fit(
        X, Y
    )
    # W maximises the correlation of XW and YW: no step in any direction raises it
    W = model.encoder_x_.weight.detach().numpy().T
    A, B = (
        (v - m) / s for v, m, s in ((X, model.x_mean_, model.x_scale_), (Y, model.y_mean_, model.y_scale_))
    )

    def value(W):
        return -ref.correlation_loss(A @ W, B @ W, 2, (1e-2, 1e-2))[0]

    rng = np.random.default_rng(0)
    steps = [1e-3 * rng.normal(size=W.shape) for _ in range(20)]
    assert max(value(W + step) for step in steps) <= value(W) + 1e-7
    assert value(W) > 1


def test_a_trunk_that_two_encoders_share_stays_shared():
    X, Y = views()
    trunk = nn.Linear(6, 8)
    pair = nn.Sequential(trunk, nn.Tanh(), nn.Linear(8, 2)), nn.Sequential(trunk, nn.ReLU(), nn.Linear(8, 3))
    for model in (DeepCCA(2, encoders=pair, **OPTIONS), clone(DeepCCA(2, encoders=list(pair), **OPTIONS))):
        model.fit(X, Y)
        assert model.encoder_x_[0] is model.encoder_y_[0] is not trunk
        assert model.encoder_x_[2] is not model.encoder_y_[2]
    auto = MultimodalAutoencoder(4, encoders=dict(zip("ab", pair, strict=True)), **OPTIONS)
    for model in (auto, clone(auto)):
        one, two = model.fit(named()).network_.encoders
        assert one[0] is two[0] is not trunk


def test_clone_keeps_what_scikit_learn_keeps():
    net = MLP(6, [2])
    model = DeepCCA(2, encoders=(net, net), callbacks=[print], **OPTIONS).set_output(transform="pandas")
    twin = clone(model)
    assert twin.callbacks == [print]
    assert {**twin.get_params(), "encoders": None} == {**model.get_params(), "encoders": None}
    assert list(twin.fit(*views()).transform(views()[0]).columns) == ["deepcca0", "deepcca1"]


# ---- what is frozen


def backbone():
    torch.manual_seed(1)
    body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU()).requires_grad_(False).eval()
    return nn.Sequential(body, nn.Dropout(0.2), nn.Linear(16, 2))


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_frozen_parameters_and_modules_in_evaluation_mode_stay_so(optimizer, tmp_path):
    X, Y = views()
    net = backbone()
    options = {**OPTIONS, "optimizer": optimizer, "warm_start": True, "weight_decay": 0.1}
    model = DeepCCA(2, encoders=(net, MLP(6, [16, 2])), **options)
    head = net[2].weight.detach().clone()
    for _ in range(2):
        found = model.fit(X, Y).encoder_x_
        for name, tensor in net[0].state_dict().items():
            assert torch.equal(found[0].state_dict()[name], tensor), name
        assert [p.requires_grad for p in found.parameters()] == [False] * 4 + [True] * 2
        assert not torch.equal(found[2].weight, head)
        head = found[2].weight.detach().clone()
        assert not any(m.training for m in found.modules())
    assert net[1].training
    auto = MultimodalAutoencoder(4, encoders={"a": net}, **OPTIONS).fit(named())
    for name, tensor in net[0].state_dict().items():
        assert torch.equal(auto.network_.encoders[0][0].state_dict()[name], tensor), name
    assert not auto.network_.encoders[0][0][0].weight.requires_grad


def test_dropout_that_is_not_frozen_still_drops():
    modes = []

    class Noting(nn.Module):
        def forward(self, x):
            modes.append(self.training)
            return x

    X, Y = views()
    DeepCCA(2, encoders=(nn.Sequential(Noting(), nn.Linear(6, 2)), MLP(6, [2])), **OPTIONS).fit(X, Y)
    assert sum(modes) == 9  # three epochs of three batches
    modes.clear()
    DeepCCA(2, encoders=(nn.Sequential(Noting().eval(), nn.Linear(6, 2)), MLP(6, [2])), **OPTIONS).fit(X, Y)
    assert sum(modes) == 0


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_nothing_or_only_one_view_to_train(optimizer):
    X, Y = views()
    options = {**OPTIONS, "optimizer": optimizer}
    frozen = MLP(6, [2]).requires_grad_(False)
    with pytest.raises(ValueError, match="there is nothing to train: no parameter"):
        DeepCCA(2, encoders=(frozen, frozen), **options).fit(X, Y)
    model = DeepCCA(2, encoders=(frozen, MLP(6, [8, 2])), reconstruction=0.1, **options)
    assert torch.equal(weights(model.fit(X, Y).encoder_x_), weights(frozen))


def test_reconstruction_from_all_outputs_of_own_encoders():
    X, Y = views()
    wide = nn.Linear(6, 4), nn.Sequential(nn.Linear(6, 3))
    model = DeepCCA(2, encoders=wide, reconstruction=0.1, **OPTIONS).fit(X, Y)
    assert model.transform(X).shape == (300, 2)
    # the loss has the errors of both views, beside the correlation
    plain = DeepCCA(2, encoders=wide, **OPTIONS).fit(X, Y)
    assert plain.history_[0]["loss"] == pytest.approx(-plain.history_[0]["train_correlation"])
    assert model.history_[0]["loss"] + model.history_[0]["train_correlation"] > 0.1


# ---- callbacks


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_callbacks_get_the_model_of_their_epoch(optimizer, tmp_path):
    X, Y = views()
    options = {**OPTIONS, "hidden": (16,), "n_epochs": 4, "optimizer": optimizer}
    seen = []

    def callback(epoch):
        epoch.model.save(tmp_path / f"{epoch.number}")
        seen.append((epoch.model, epoch.model.score(X, Y), epoch.model.best_epoch_))

    X2 = X[:, ::-1].copy()
    model = DeepCCA(2, callbacks=[callback], **options).fit(X2, Y)
    assert [s[2] for s in seen] == [1, 2, 3, 4]
    assert all(s[0] is model for s in seen)
    plain = DeepCCA(2, **options).fit(X2, Y)
    np.testing.assert_array_equal(model.transform(X2), plain.transform(X2))  # looking changes nothing
    seen.clear()
    model.fit(X, Y)  # the second fit, to other data
    for number in (1, 3):
        stopped = DeepCCA(2, callbacks=[lambda e, n=number: e.number == n], **options).fit(X, Y)
        assert seen[number - 1][1] == stopped.score(X, Y)
        np.testing.assert_array_equal(deep.load(tmp_path / f"{number}").transform(X), stopped.transform(X))
        assert deep.load(tmp_path / f"{number}").history_ == stopped.history_


def test_callbacks_get_the_autoencoder_of_their_epoch(tmp_path):
    data = named()
    options = {**OPTIONS, "hidden": (16,), "n_epochs": 4}
    scores = []

    def callback(epoch):
        epoch.model.save(tmp_path / f"{epoch.number}")
        scores.append(epoch.model.score(data))

    model = MultimodalAutoencoder(4, callbacks=[callback], **options).fit(data)
    plain = MultimodalAutoencoder(4, **options).fit(data)
    np.testing.assert_array_equal(model.transform(data), plain.transform(data))
    for number in (1, 3):
        stopped = MultimodalAutoencoder(4, callbacks=[lambda e, n=number: e.number == n], **options).fit(data)
        assert scores[number - 1] == stopped.score(data)
        loaded = deep.load(tmp_path / f"{number}")
        np.testing.assert_array_equal(loaded.transform(data), stopped.transform(data))
        assert loaded.best_epoch_ == number


def test_a_failure_after_a_look_at_the_model_leaves_the_estimator():
    X, Y = views()

    def callback(epoch):
        epoch.model.score(X, Y)
        raise RuntimeError("enough")

    model = DeepCCA(2, hidden=(8,), **OPTIONS).fit(X, Y)
    before = model.transform(X)
    with pytest.raises(RuntimeError, match="enough"):
        model.set_params(callbacks=[callback]).fit(2 * Y, X)
    np.testing.assert_array_equal(model.transform(X), before)


# ---- which rows are validated on


@pytest.mark.parametrize("labels", [np.repeat(np.arange(50), 20), np.repeat(list("abcde"), 200), "uneven"])
@pytest.mark.parametrize("seed", range(5))
def test_rows_of_a_group_are_on_one_side(labels, seed):
    rng = np.random.RandomState(seed)
    if isinstance(labels, str):
        labels = np.repeat(np.arange(40), rng.randint(1, 80, 40)).astype(float)
    labels = rng.permutation(labels)
    train, aside = split_rows(len(labels), 0.2, 50, labels, rng)
    np.testing.assert_array_equal(np.sort(np.r_[train, aside]), np.arange(len(labels)))
    assert not set(labels[train]) & set(labels[aside])
    largest = max(np.unique(labels, return_counts=True)[1])
    assert 0.2 * len(labels) <= len(aside) < 0.2 * len(labels) + largest


def test_small_and_large_groups_and_bad_ones():
    random = np.random.RandomState(0)
    train, aside = split_rows(10, 0.1, 1, [0] * 6 + [1] * 4, random)
    np.testing.assert_array_equal(aside, np.arange(6, 10))
    np.testing.assert_array_equal(train, np.arange(6))
    assert split_rows(10, 0.0, 1, [0] * 6 + [1] * 4, random)[1] is None
    assert split_rows(10, 0.1, 2, [0] * 6 + [1] * 4, random)[1] is None
    X, Y = views(100)
    for model, data in (
        (DeepCCA(2, hidden=(4,), **OPTIONS), (X, Y)),
        (MultimodalAutoencoder(4, **OPTIONS), (X,)),
    ):
        for groups, message in {
            (1,) * 99: r"groups must have shape \(100,\), one label a row, got \(99,\)",
            (1,) * 100: "groups must hold at least two labels",
            (*range(99), np.nan): "groups contains NaN: the first is at row 99",
        }.items():
            with pytest.raises(ValueError, match=message):
                model.fit(*data, groups=groups)
        with pytest.raises(ValueError, match="validation and groups are two ways"):
            model.fit(*data, groups=range(100), validation=data)
    for wrong, message in (
        (X, r"validation must be a pair \(X, y\), got ndarray"),
        ((X[:, :3], Y), "X has 3 features"),
    ):
        with pytest.raises(ValueError, match=message):
            DeepCCA(2, **OPTIONS).fit(X, Y, validation=wrong)
    with pytest.raises(ValueError, match="at least 2 rows"):
        DeepCCA(2, **OPTIONS).fit(X, Y, validation=(X[:1], Y[:1]))
    with pytest.raises(ValueError, match="validation y contains NaN"):
        DeepCCA(2, **OPTIONS).fit(X, Y, validation=(X, Y * np.nan))
    with pytest.raises(ValueError, match="unknown modality 'c'"):
        MultimodalAutoencoder(4, **OPTIONS).fit({"a": X}, validation={"c": X})


def test_groups_keep_validation_honest():
    """Rows of a subject are nearly copies: among subjects there is nothing to find."""
    rng = np.random.default_rng(0)
    X, Y = (np.repeat(rng.normal(size=(60, p)), 20, 0) + 0.05 * rng.normal(size=(1200, p)) for p in (8, 4))
    options = {"hidden": (64,), "input_noise": 0.1, "validation_fraction": 0.2, **OPTIONS, "n_epochs": 30}
    by_row = DeepCCA(2, **options).fit(X, Y).history_[-1]["validation_correlation"] / 2
    seen = set()

    def augment(x, y):
        seen.update(x.round(decimals=4)[:, 0].tolist())
        return x, y

    model = DeepCCA(2, augment=augment, **options).fit(X, Y, groups=np.repeat(np.arange(60), 20))
    assert by_row > 0.8
    assert model.history_[-1]["validation_correlation"] / 2 < 0.6
    scaled = ((X[:, 0] - model.x_mean_[0]) / model.x_scale_[0]).reshape(60, 20)
    found = np.isclose(scaled[:, :, None], np.array(sorted(seen)), atol=1e-4).any(axis=2).mean(axis=1)
    assert np.sum(found == 1) == 48  # twelve whole subjects set aside


def test_validation_by_own_rows():
    X, Y = views(200)
    Xv, Yv = views(90, seed=1)
    rows, correlations = [], []

    def callback(epoch):
        A, B = (
            (v - m) / s
            for v, m, s in (
                (Xv, epoch.model.x_mean_, epoch.model.x_scale_),
                (Yv, epoch.model.y_mean_, epoch.model.y_scale_),
            )
        )
        with torch.no_grad():
            H1, H2 = epoch.model.encoder_x_(torch.tensor(A)), epoch.model.encoder_y_(torch.tensor(B))
        correlations.append(-ref.correlation_loss(H1.numpy(), H2.numpy(), 2, (1e-3, 1e-3))[0])

    def augment(x, y):
        rows.append(len(x))
        return x, y

    model = DeepCCA(
        2, hidden=(16,), dtype="float64", callbacks=[callback], augment=augment, **{**OPTIONS, "n_epochs": 8}
    )
    model.fit(X, Y, validation=(Xv, Yv))
    assert sum(rows) == 8 * 200
    found = [h["validation_correlation"] for h in model.history_]
    np.testing.assert_allclose(found, correlations, rtol=1e-9)
    assert model.best_epoch_ == 1 + np.argmax(found)


@pytest.mark.parametrize("left_out", [(), ("b",)])
def test_validation_of_an_autoencoder_by_own_rows(left_out):
    held_out = {name: a for name, a in named(70, seed=1).items() if name not in left_out}
    losses = []

    def callback(epoch):
        filled = epoch.model.reconstruct(held_out)
        scales = epoch.model.scales_
        losses.append(sum(np.mean(((filled[m] - a) / scales[m]) ** 2) for m, a in held_out.items()))

    options = {**OPTIONS, "n_epochs": 4, "batch_size": 16, "dtype": "float64", "modality_dropout": None}
    model = MultimodalAutoencoder(4, (16,), callbacks=[callback], **options).fit(named(), validation=held_out)
    found = [h["validation_loss"] for h in model.history_]
    np.testing.assert_allclose(found, losses, rtol=1e-9)
    assert model.best_epoch_ == 1 + np.argmin(found)


# ---- how many rows a network is given


class Spy(nn.Module):
    def __init__(self, n_inputs, n_outputs, sizes):
        super().__init__()
        self.layer, self.sizes = (
            nn.Sequential(nn.BatchNorm1d(n_inputs), nn.Linear(n_inputs, n_outputs)),
            sizes,
        )

    def forward(self, x):
        self.sizes.append(len(x))
        return self.layer(x)

    def __deepcopy__(self, memo):
        twin = Spy(self.layer[1].in_features, self.layer[1].out_features, self.sizes)
        twin.load_state_dict(self.state_dict())
        return twin.train(self.training)


@pytest.mark.filterwarnings("ignore:batch_size=2 makes batches of 2 rows for networks with 1")
@pytest.mark.parametrize("n", [7, 16, 17, 23, 24, 31, 33])
@pytest.mark.parametrize("options", [{}, {"optimizer": "lbfgs"}, {"batch_size": 2}])
def test_an_encoder_is_never_given_more_rows_than_a_batch(n, options):
    X, Y = views(n)
    sizes = []
    options = {**OPTIONS, "batch_size": 8, "n_epochs": 1, **options}
    with np.errstate(all="ignore"):
        model = DeepCCA(1, encoders=(Spy(6, 1, sizes), MLP(6, [1])), **options)
        model.fit(X, Y, validation=(X, Y)).transform(X)
    assert max(sizes) == min(options["batch_size"], n)


@pytest.mark.filterwarnings("ignore:batch_size=2 makes batches of 2 rows for networks with 1")
@pytest.mark.parametrize("n", [7, 16, 17, 23, 24, 31, 33])
@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_nor_are_the_networks_of_an_autoencoder(n, batch_size):
    sizes, data = [], named(n)
    options = {**OPTIONS, "batch_size": batch_size, "n_epochs": 1}
    model = MultimodalAutoencoder(
        3, encoders={"a": Spy(6, 2, sizes)}, decoders={"b": Spy(3, 6, sizes)}, **options
    )
    model.fit(data, validation=data).reconstruct(data)
    model.transform(data)
    assert max(sizes) == min(batch_size, n)


def test_batches_hold_all_rows_and_none_a_single_one():
    for n in range(2, 200):
        for batch_size in range(2, 40):
            n_rows, n_batches = batches(n, batch_size)
            sizes = [len(b) for b in np.array_split(np.arange(n_rows), n_batches)]
            assert n - n_rows in ((0, 1) if batch_size == 2 else (0,))
            assert 2 <= min(sizes) <= max(sizes) <= batch_size
    assert batches(5, 1) == (5, 5)


# ---- random numbers


@pytest.mark.parametrize("fails", [False, True])
def test_no_generator_but_those_of_the_fit_is_touched(monkeypatch, fails):
    X, Y = views()
    calls = []
    for module, name in (
        (torch, "manual_seed"),
        (torch.cuda, "manual_seed"),
        (torch.cuda, "manual_seed_all"),
    ):
        monkeypatch.setattr(module, name, lambda *seed: calls.append(seed))

    def stop(epoch):
        if fails:
            raise RuntimeError("enough")

    options = {**OPTIONS, "input_noise": 0.5, "dropout": 0.2, "callbacks": [stop], "validation_fraction": 0.5}
    before = torch.random.get_rng_state()
    for model, data in (
        (DeepCCA(2, hidden=(8,), pretrain="denoising", **options), (X, Y)),
        (MultimodalAutoencoder(4, (8,), pretrain="denoising", **options), ({"a": X, "b": Y},)),
    ):
        if fails:
            with pytest.raises(RuntimeError, match="enough"):
                model.fit(*data)
        else:
            found = model.fit(*data).transform(*data[:1])
            np.testing.assert_array_equal(clone(model).fit(*data).transform(*data[:1]), found)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert calls == []


# ---- scales


@pytest.mark.parametrize("scale", ["view", "columns"])
def test_scales_that_underflow_or_overflow_are_refused(scale):
    X, Y = views()
    for factor, word in ((1e-170, "underflows: scale it up"), (1e200, "overflows: scale it down")):
        with pytest.raises(NumericalError, match=f"the variance of b {word}"):
            MultimodalAutoencoder(4, scale=scale, **OPTIONS).fit({"a": X, "b": factor * Y})
        with pytest.raises(NumericalError, match=f"the variance of X {word}"):
            DeepCCA(2, scale=scale, **OPTIONS).fit(factor * X, Y)
    if scale == "columns":
        one = X.copy()
        one[:, 3] *= 1e-170
        with pytest.raises(NumericalError, match="the variance of X underflows"):
            DeepCCA(2, scale=scale, **OPTIONS).fit(one, Y)


@pytest.mark.parametrize("factor", [1e-140, 1e140])
def test_models_do_not_depend_on_the_units(factor):
    X, Y = views()
    for dtype in ("float32", "float64"):
        options = {**OPTIONS, "hidden": (8,), "dtype": dtype}
        near, far = (DeepCCA(2, **options).fit(f * X, Y).transform(f * X) for f in (1, factor))
        np.testing.assert_allclose(near, far, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-43, 1e-39, 1e35])
def test_float32_of_any_scale_is_brought_to_one(factor):
    a = (np.arange(-50, 50).reshape(50, 2) * np.float64(factor)).astype(np.float32)
    wide = a.astype(np.float64)
    source = Source(a, wide.mean(0), wide.std(0), torch.device("cpu"), torch.float32)
    np.testing.assert_allclose(
        source.rows(slice(None)), (wide - wide.mean(0)) / wide.std(0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["verbose", "warm_start", "inverted_dropout", "missing_indicator"])
@pytest.mark.parametrize("value", ["x", None, 2])
def test_switches_are_true_or_false(name, value):
    kind = DeepCCA if name == "warm_start" else MultimodalAutoencoder
    with pytest.raises(ValueError, match=f"{name} must be True or False, got {value!r}"):
        kind(**{name: value}).fit(*views()[: 2 if kind is DeepCCA else 1])
    if name == "verbose":
        with pytest.raises(ValueError, match="verbose must be True or False"):
            DeepCCA(verbose=value).fit(*views())


def test_deepcopy_of_a_model_in_a_callback_keeps_its_epoch():
    X, Y = views()
    kept = []
    options = {**OPTIONS, "hidden": (8,)}
    DeepCCA(2, callbacks=[lambda e: kept.append(copy.deepcopy(e.model))], **options).fit(X, Y)
    stopped = DeepCCA(2, callbacks=[lambda e: e.number == 2], **options).fit(X, Y)
    np.testing.assert_array_equal(kept[1].transform(X), stopped.transform(X))
