"""DeepCCA: what it learns, the estimator contract, files, interrupts, modules that misbehave."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import fastcca  # noqa: E402
from bad_parameters import BAD_PARAMETERS  # noqa: E402
from fastcca import deep  # noqa: E402
from fastcca.deep import MLP, DeepCCA  # noqa: E402
from fastcca.errors import NumericalError  # noqa: E402
from fastcca.metrics import total_correlation  # noqa: E402
from reference import correlation  # noqa: E402

TINY = {"hidden": (32,), "input_noise": 0.05, "random_state": 0, "n_threads": 1, "batch_size": 100}


def circles(n=600, seed=0):
    """Y turns at twice the angle of X: perfectly dependent, no linear correlation."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    X = np.column_stack([np.cos(angle), np.sin(angle), rng.normal(size=n)]) * 3 + 10
    Y = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)]) + 0.02 * rng.normal(size=(n, 2))
    return X, Y


@pytest.fixture(scope="module")
def fitted():
    X, Y = circles()
    return DeepCCA(2, n_epochs=60, **TINY).fit(X[:500], Y[:500])


@pytest.mark.parametrize(
    "options",
    [
        {"n_epochs": 80},
        {"n_epochs": 80, "optimizer": "adamw", "weight_decay": 1e-3, "schedule": "constant"},
        {"n_epochs": 25, "optimizer": "lbfgs", "weight_decay": 1e-6},
        {"n_epochs": 80, "reconstruction": 0.01},
        {"n_epochs": 60, "pretrain": "denoising"},
        {"n_epochs": 60, "optimizer": "lbfgs", "pretrain": "denoising", "activation": "nonsaturating"},
        {"n_epochs": 80, "objective": "frobenius", "scale": "columns", "autocast": "bfloat16"},
    ],
    ids=lambda o: "-".join(str(v) for v in o.values()),
)
def test_finds_what_linear_cca_cannot(options):
    X, Y = circles()
    assert fastcca.CCA().fit(X[:500], Y[:500]).score(X[500:], Y[500:]) < 0.2
    model = DeepCCA(2, **TINY, **options).fit(X[:500], Y[:500])
    assert model.score(X[500:], Y[500:]) > 0.85


def test_attributes_agree_with_one_another(fitted):
    X, Y = circles()
    zx, zy = fitted.transform_views(X[:500], Y[:500])
    assert zx.dtype == np.float64
    correlations = [np.corrcoef(zx[:, i], zy[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(fitted.canonical_correlations_, correlations, atol=1e-6)
    assert correlations[0] >= correlations[1] > 0.85
    np.testing.assert_allclose(np.corrcoef(zx.T), np.eye(2), atol=1e-5)
    assert fitted.total_correlation_ == pytest.approx(total_correlation(zx, zy), abs=1e-4)
    assert len(fitted.history_) == 60
    assert fitted.history_[-1]["train_correlation"] > fitted.history_[0]["train_correlation"] + 0.5
    np.testing.assert_allclose(fitted.x_mean_, X[:500].mean(0))
    expected = [np.corrcoef(X[:500, j], zx[:, 0])[0, 1] for j in range(3)]
    np.testing.assert_allclose(fitted.x_loadings_[:, 0], expected, atol=1e-6)
    # The second view as a regression on the scores of the first.
    residual = ((fitted.predict(X[500:]) - Y[500:]) ** 2).mean()
    assert residual < 0.35 * Y[500:].var()


@pytest.mark.parametrize("objective", ["trace_norm", "frobenius"])
@pytest.mark.parametrize("hidden", [(4,), ((16,), (3,))])
def test_outputs_behind_a_bottleneck(hidden, objective):
    """Ten outputs of rank 4 (and 3) at most: what ``history_`` has is their total correlation."""
    X, Y = circles(300)
    options = {**TINY, "hidden": hidden, "n_epochs": 4, "optimizer": "lbfgs", "dtype": "float64"}
    model = DeepCCA(10, objective=objective, reg=1e-3, validation_fraction=0.0, **options)
    with pytest.warns(UserWarning, match="n_components=10"):  # the linear CCA of the outputs
        model.fit(X, Y)
    outputs = [
        encoder(torch.as_tensor((data - mean) / scale)).detach().numpy()
        for encoder, data, mean, scale in (
            (model.encoder_x_, X, model.x_mean_, model.x_scale_),
            (model.encoder_y_, Y, model.y_mean_, model.y_scale_),
        )
    ]
    assert np.linalg.matrix_rank(outputs[1] - outputs[1].mean(0)) <= 4
    exact = -correlation.by_singular_values(*outputs, (1e-3, 1e-3))[0]
    assert model.history_[-1]["train_correlation"] == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("hidden", [(4,), (32,)])
def test_batches_of_no_more_rows_than_outputs(hidden):
    X, Y = circles(300)
    options = {**TINY, "hidden": hidden, "n_epochs": 3, "batch_size": 10}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = DeepCCA(10, **options).fit(X, Y)
    words = [str(w.message) for w in seen if "by counting" in str(w.message)]
    assert len(words) == 1
    assert words[0].startswith("batch_size=10 makes batches of 10 rows for networks with 10")
    assert {w.filename for w in seen} == {__file__}
    trained = [h["train_correlation"] for h in model.history_]
    assert np.isfinite(trained).all()
    assert max(trained) <= min(9, hidden[0])  # the ranks of a batch's outputs
    assert np.isfinite(model.transform(X)).all()


def test_same_seed_same_result_and_the_global_generator_is_left_alone():
    X, Y = circles(300)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = (DeepCCA(2, n_epochs=5, **TINY).fit(X, Y).transform(X) for _ in range(2))
    assert np.array_equal(one, two)
    assert torch.equal(torch.rand(3), expected)
    other = DeepCCA(2, n_epochs=5, **{**TINY, "random_state": 1}).fit(X, Y).transform(X)
    assert not np.allclose(one, other)


def test_float32_frames_pipelines_and_searches():
    pandas = pytest.importorskip("pandas")
    X, Y = circles(300)
    model = DeepCCA(2, n_epochs=3, **TINY)
    assert model.fit(X.astype(np.float32), Y).transform(X.astype(np.float32)).dtype == np.float32
    frame = clone(model).set_output(transform="pandas").fit(pandas.DataFrame(X, columns=list("abc")), Y)
    assert list(frame.feature_names_in_) == list("abc")
    assert list(frame.transform(pandas.DataFrame(X, columns=list("abc"))).columns) == ["deepcca0", "deepcca1"]
    piped = make_pipeline(StandardScaler(), clone(model)).fit(X, Y)
    assert np.isfinite(piped.transform(X)).all()
    search = GridSearchCV(DeepCCA(2, **TINY), {"n_epochs": [1, 40]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"n_epochs": 40}


def test_validation_chooses_the_best_epoch_and_patience_stops():
    X, Y = circles(1000)
    model = DeepCCA(
        2, n_epochs=200, validation_fraction=0.2, patience=5, learning_rate=0.02, schedule="constant", **TINY
    )
    model.fit(X, Y)
    scores = [h["validation_correlation"] for h in model.history_]
    assert len(scores) < 200
    assert model.best_epoch_ == 1 + int(np.argmax(scores)) == len(scores) - 5
    without = DeepCCA(2, n_epochs=4, validation_fraction=0.0, **TINY).fit(X, Y)
    assert [h["validation_correlation"] for h in without.history_] == [None] * 4
    assert without.best_epoch_ == 4


def test_callbacks_see_each_epoch_and_can_stop():
    X, Y = circles(300)
    seen = []

    def callback(epoch):
        seen.append((epoch.number, epoch.train_correlation, epoch.model))
        return epoch.number == 3

    model = DeepCCA(2, n_epochs=50, callbacks=(callback,), **TINY).fit(X, Y)
    assert [s[0] for s in seen] == [1, 2, 3]
    assert seen[0][2] is model
    assert [h["train_correlation"] for h in model.history_] == [s[1] for s in seen]


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_an_interrupt_keeps_the_best_state(optimizer):
    X, Y = circles(300)

    def interrupt(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    model = DeepCCA(2, n_epochs=50, optimizer=optimizer, callbacks=(interrupt,), **TINY)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    stopped = DeepCCA(2, n_epochs=50, optimizer=optimizer, callbacks=(lambda e: e.number == 3,), **TINY).fit(
        X, Y
    )
    assert model.best_epoch_ == 3
    assert np.array_equal(model.transform(X), stopped.transform(X))


def test_augment_changes_both_views_of_the_training_batches_alone():
    X, Y = circles(300)
    seen = []

    def augment(x, y):
        seen.append(len(x))
        return x * 0, y

    options = {**TINY, "input_noise": 0.0}
    model = DeepCCA(2, n_epochs=2, augment=augment, **options).fit(X, Y)
    assert seen == [100] * 6
    # Without any input the first view is never learnt: its network stays what it was but for the output bias.
    untrained = DeepCCA(2, n_epochs=2, learning_rate=1e-12, **options).fit(X, Y)
    weights = [m.encoder_x_.linear_layers()[0].weight for m in (model, untrained)]
    torch.testing.assert_close(*weights, atol=1e-6, rtol=0)


def test_warm_start_goes_on():
    X, Y = circles(300)
    model = DeepCCA(2, n_epochs=15, warm_start=True, **TINY).fit(X, Y)
    first = model.history_[-1]["train_correlation"]
    weight = model.encoder_x_.linear_layers()[0].weight.detach().clone()
    model.fit(X, Y)
    assert model.history_[0]["train_correlation"] > first - 0.3
    assert model.history_[-1]["train_correlation"] > first
    cold = clone(model).set_params(warm_start=False).fit(X, Y)
    assert torch.equal(cold.encoder_x_.linear_layers()[0].weight, weight)


def test_encoders_of_another_width_are_named():
    X, Y = circles(100)
    own = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    with pytest.raises(ValueError, match="the encoder of y cannot take rows of 2 features"):
        DeepCCA(2, encoders=own, n_epochs=1, **TINY).fit(X, Y)
    model = DeepCCA(2, n_epochs=1, warm_start=True, **TINY).fit(X, Y)
    with pytest.raises(ValueError, match="the encoder of X cannot take rows of 6 features"):
        model.fit(np.hstack([X, X]), Y)
    assert model.transform(X).shape == (100, 2)


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_failed_refit_leaves_the_fitted_model(warm_start):
    X, Y = circles(300)
    model = DeepCCA(2, n_epochs=3, warm_start=warm_start, **TINY).fit(X, Y)
    before = model.transform(X)

    def fail(epoch):
        raise RuntimeError("no more")

    model.set_params(callbacks=(fail,))
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(2 * X + 5, Y)
    np.testing.assert_array_equal(model.transform(X), before)
    assert len(model.history_) == 3
    with pytest.raises(ValueError, match="same number of rows"):
        model.fit(np.hstack([X, X]), Y[1:])
    np.testing.assert_array_equal(model.transform(X), before)
    fresh = clone(model)
    with pytest.raises(RuntimeError, match="no more"):
        fresh.fit(X, Y)
    with pytest.raises(NotFittedError):
        fresh.transform(X)


def test_a_large_mean_takes_no_digits():
    X, Y = circles(300)
    near = DeepCCA(2, n_epochs=20, **TINY).fit(X, Y)
    far = DeepCCA(2, n_epochs=20, **TINY).fit(X + 1e8, Y + 1e8)
    assert near.score(X, Y) > 0.3
    assert abs(near.score(X, Y) - far.score(X + 1e8, Y + 1e8)) < 0.02


def test_encoders_of_your_own_with_different_numbers_of_outputs():
    X, Y = circles(400)
    torch.manual_seed(0)
    f = torch.nn.Sequential(torch.nn.Linear(3, 24), torch.nn.Tanh(), torch.nn.Linear(24, 4))
    g = torch.nn.Sequential(
        torch.nn.Linear(2, 24), torch.nn.BatchNorm1d(24), torch.nn.ReLU(), torch.nn.Linear(24, 3)
    )
    before = f[0].weight.detach().clone()
    model = DeepCCA(2, encoders=(f, g), n_epochs=80, **TINY).fit(X, Y)
    assert torch.equal(f[0].weight, before)  # a copy is trained
    assert model.score(X, Y) > 0.85
    assert model.transform(X).shape == (400, 2)


def test_save_and_load(fitted, tmp_path):
    X, _Y = circles()
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    for loaded in (deep.load(path), fastcca.load(path)):
        assert np.array_equal(loaded.transform(X), fitted.transform(X))
        assert np.array_equal(loaded.predict(X), fitted.predict(X))
        assert loaded.get_params() == fitted.get_params()
        assert loaded.history_ == fitted.history_
    raw = path.read_bytes()
    assert json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["fastcca"]
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match="damaged or not a fastcca model"):
        deep.load(path)
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="not a fastcca model"):
        deep.load(path)
    with pytest.raises(FileNotFoundError, match="there is no model file"):
        deep.load(tmp_path / "absent")
    with pytest.raises(NotFittedError):
        DeepCCA().save(path)


def test_save_and_load_encoders_of_your_own(tmp_path):
    X, Y = circles(200)
    model = DeepCCA(1, encoders=(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)), n_epochs=2, **TINY).fit(X, Y)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="pass modules of the same architecture as encoders"):
        deep.load(tmp_path / "m")
    loaded = deep.load(tmp_path / "m", encoders=(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)))
    assert np.array_equal(loaded.transform(X), model.transform(X))
    with pytest.raises(
        ValueError, match="decoders were given, but it holds no weights of decoders of your own"
    ):
        fastcca.load(tmp_path / "m", (torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)), {})
    shared = torch.nn.Linear(3, 2)
    twins = DeepCCA(1, encoders=(shared, shared), n_epochs=2, **TINY).fit(X, X)
    twins.save(tmp_path / "twins")
    loaded = fastcca.load(tmp_path / "twins", (shared, shared))
    assert loaded.encoder_x_ is loaded.encoder_y_
    assert np.array_equal(loaded.transform(X), twins.transform(X))


def test_load_takes_no_random_numbers_and_puts_networks_on_a_device(fitted, tmp_path):
    X, _Y = circles()
    fitted.save(tmp_path / "m")
    state = torch.get_rng_state()
    loaded = fastcca.load(tmp_path / "m", device=torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.device == "cpu"
    assert np.array_equal(loaded.transform(X), fitted.transform(X))
    for wrong in ("nowhere", 3.5, "cuda:99"):
        with pytest.raises(ValueError, match="device must be one that PyTorch has here, got"):
            fastcca.load(tmp_path / "m", device=wrong)


def test_numbers_of_every_kind_of_your_own_networks_survive(tmp_path):
    """Buffers of integers, flags and 16 bits, and an empty one."""
    X, Y = circles(200)

    def encoder(width):
        module = torch.nn.Sequential(torch.nn.Linear(width, 2), torch.nn.BatchNorm1d(2))
        for dtype in (torch.int64, torch.bool, torch.bfloat16, torch.float16, torch.uint8):
            module.register_buffer(f"_{str(dtype)[6:]}", torch.arange(3).to(dtype))
        module.register_buffer("none", torch.zeros(0, 3))
        module.register_buffer("scalar", torch.tensor(7))
        return module

    model = DeepCCA(1, encoders=(encoder(3), encoder(2)), n_epochs=2, **TINY).fit(X, Y)
    model.save(tmp_path / "m")
    loaded = fastcca.load(tmp_path / "m", (encoder(3), encoder(2)))
    assert np.array_equal(loaded.transform(X), model.transform(X))
    for ours, theirs in ((loaded.encoder_x_, model.encoder_x_), (loaded.encoder_y_, model.encoder_y_)):
        theirs = theirs.state_dict()
        for name, tensor in ours.state_dict().items():
            assert tensor.dtype == theirs[name].dtype
            assert torch.equal(tensor, theirs[name])
    model.encoder_x_.register_buffer("complex", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"encoder_x_\.complex is torch\.complex64, which cannot be stored"):
        model.save(tmp_path / "m")

    with pytest.raises(ValueError, match=r"encoders do not fit it: encoder_x_\.weight has shape"):
        deep.load(tmp_path / "m", encoders=(torch.nn.Linear(3, 7), torch.nn.Linear(2, 2)))


class GoesWrong(torch.nn.Module):
    """A linear map that returns NaN from its `calls`-th call in training on."""

    def __init__(self, calls):
        super().__init__()
        self.map, self.left = torch.nn.Linear(2, 2), calls

    def forward(self, x):
        self.left -= self.training
        return self.map(x) * (torch.nan if self.left < 0 else 1)


def test_a_module_that_returns_nan_is_named_with_its_epoch():
    X, Y = circles(200)
    good = torch.nn.Linear(3, 2)
    with pytest.raises(NumericalError, match=r"encoder of y returned NaN or infinity in epoch 3"):
        DeepCCA(2, encoders=(good, GoesWrong(4)), n_epochs=9, **TINY).fit(X, Y)
    with pytest.raises(NumericalError, match=r"encoder of X returned NaN or infinity in epoch 1"):
        DeepCCA(2, encoders=(GoesWrong(0), good), n_epochs=9, **TINY).fit(Y, X)


def test_bad_input_is_named():
    X, Y = circles(50)
    for options, message in {
        ("n_components", 0): "n_components must be an integer >= 1, got 0",
        ("optimizer", "sgd"): "optimizer must be one of 'adam', 'adamw', 'lbfgs' or a callable, got 'sgd'",
        ("schedule", "step"): "schedule must be one of",
        ("pretrain", "rbm"): "pretrain must be one of",
        ("dtype", "float16"): "dtype must be one of",
        ("learning_rate", 0.0): "learning_rate must be a finite number > 0",
        ("dropout", 1.0): "dropout must be a finite number >= 0 and < 1",
        ("validation_fraction", -0.1): "validation_fraction must be a finite number >= 0 and < 1",
        ("input_noise", -1.0): "input_noise must be a finite number >= 0",
        ("n_epochs", 1.5): "epochs must be an integer >= 1",
        ("reg", -1.0): "reg",
        ("hidden", (0,)): "hidden must be widths",
        ("hidden", 5): "hidden must be widths",
        ("activation", "none"): "activation must be one of",
    }.items():
        with pytest.raises(ValueError, match=message):
            DeepCCA(**{**TINY, "n_components": 2, options[0]: options[1]}).fit(X, Y)
    with pytest.raises(ValueError, match="encoder of X returns 1 outputs, fewer than n_components=2"):
        DeepCCA(2, encoders=(torch.nn.Linear(3, 1), torch.nn.Linear(2, 2)), **TINY).fit(X, Y)
    with pytest.raises(ValueError, match="an encoder must return one row of outputs per row"):
        DeepCCA(2, encoders=(torch.nn.Linear(3, 2), torch.nn.Flatten(0)), **TINY).fit(X, Y)
    with pytest.raises(ValueError, match=r"pair of torch\.nn\.Module"):
        DeepCCA(2, encoders=(1, 2), **TINY).fit(X, Y)
    with pytest.raises(ValueError, match="pretrain works on the built-in networks"):
        DeepCCA(2, encoders=(MLP(3, [2]), MLP(2, [2])), pretrain="denoising", **TINY).fit(X, Y)
    with pytest.raises(NumericalError, match="every column of y is constant"):
        DeepCCA(2, **TINY).fit(X, Y * 0)
    with pytest.raises(ValueError, match="NaN"):
        DeepCCA(2, **TINY).fit(np.where(X > 12, np.nan, X), Y)
    with pytest.raises(ValueError, match="same number of rows"):
        DeepCCA(2, **TINY).fit(X, Y[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *BAD_PARAMETERS,
        ({"reconstruction": "x"}, "reconstruction must be a finite number >= 0"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"augment": 3}, "augment must be a callable or None, got 3"),
        ({"encoders": 3}, r"encoders must be a pair of torch\.nn\.Module, got 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_named(options, message):
    # before any look at the data
    with pytest.raises(ValueError, match=message):
        DeepCCA(**{**TINY, "n_components": 2, **options}).fit(None, None)


def test_constant_columns_and_few_rows_just_work():
    X, Y = circles(12)
    X[:, 1] = 4.0
    model = DeepCCA(2, n_epochs=3, **TINY).fit(X, Y)
    assert np.isfinite(model.transform(X)).all()


def test_without_torch_the_extra_is_named():
    code = "import sys; sys.modules['torch'] = None\nimport fastcca\nimport fastcca.deep"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "fastcca.deep needs PyTorch" in result.stderr
    assert "fastcca[deep]" in result.stderr


@parametrize_with_checks(
    [DeepCCA(1, hidden=(4,), n_epochs=2, dtype="float64", input_noise=0.0, random_state=0, n_threads=1)]
)
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_the_command_line_fits_and_reads_a_deep_model(tmp_path):
    from click.testing import CliRunner

    from fastcca.cli import main

    X, Y = circles(80)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "Y.npy", Y)
    x, y, model = (str(tmp_path / name) for name in ("X.npy", "Y.npy", "model.safetensors"))
    fit = ["fit", x, y, "--model", "deep-cca", "-k", "2", "--epochs", "1", "--seed", "3", "-o", model]
    result = CliRunner().invoke(main, fit)
    assert result.exit_code == 0, result.output
    assert "components    2" in result.output
    loaded = fastcca.load(model)
    assert (loaded.n_epochs, loaded.random_state, loaded.n_components) == (1, 3, 2)
    result = CliRunner().invoke(main, ["score", model, x, y])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, [*fit, "--solver", "qr"])
    assert result.exit_code == 2
    assert "--cv, --solver and --scale are for --method cca" in result.output
    result = CliRunner().invoke(main, ["fit", x, y, "--epochs", "1"])
    assert "--epochs is for --method deep-cca" in result.output
