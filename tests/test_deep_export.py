"""Fitted estimators as one module of PyTorch each, exported by torch.export and to ONNX."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra `deep`) is not installed")

torch.set_num_threads(1)  # tiny networks

from torch.utils.data import TensorDataset  # noqa: E402

from fastcca.deep import DeepCCA, DeepLabelEmbedding, MultimodalAutoencoder  # noqa: E402
from fastcca.taxonomy import Taxonomy  # noqa: E402

SHORT = {"n_epochs": 3, "batch_size": 60, "random_state": 0, "n_threads": 1}
# The sizes of batches that the program of an example of 5 rows is given
SIZES = (1, 5, 23)


def drawn(*shape, seed=0):
    """Far from 0: what is not centred in float64 has no six digits left."""
    return 100 + 5 * np.random.default_rng(seed).standard_normal(shape)


def convolutions():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten()
    )


def cca(view, **options):
    X, Y = drawn(120, 5), drawn(120, 4, seed=1)
    Y[:, :2] = X[:, :2] ** 2
    model = DeepCCA(2, **{**SHORT, "hidden": (8,), "dropout": 0.1, **options}).fit(X, Y)
    rows = X if view == "X" else Y
    answer = model.transform if view == "X" else model.transform_y
    return model.to_module(view), lambda n: (torch.tensor(rows[:n]), answer(rows[:n]))


def cca_of_batches():
    X = torch.randn(120, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(X, X.flip(3))
    model = DeepCCA(2, encoders=(convolutions(), convolutions()), **SHORT).fit(data)
    return model.to_module("y"), lambda n: (X[:n], model.transform_y(X[:n]))


def autoencoder(method, names, **options):
    views = {"x": drawn(120, 5), "y": drawn(120, 4, seed=1)}
    views["x"][3] = np.nan
    model = MultimodalAutoencoder(3, **{**SHORT, "hidden": (8,), **options}).fit(views)
    if len(names) == 1:
        views["x"][3] = 100.0

    def case(n):
        given = {name: views[name][:n] for name in names}
        return {name: torch.tensor(a) for name, a in given.items()}, getattr(model, method)(given)

    return model.to_module(method), case


def labels(method, classes=("cat", "cod", "dog"), extended=False, **options):
    y = np.repeat(classes, 30)
    X = drawn(len(y), 1, 6, 6)
    X[np.arange(len(y)), 0, 0, np.repeat(np.arange(len(classes)), 30)] += 10
    tree = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog", "elk"], "fish": ["cod", "eel"]}})
    vectors = {"cat": [0, 0, 1], "dog": [1, 0, 1], "elk": [1, 1, 1], "cod": [0, 1, 0], "eel": [1, 1, 0]}
    model = DeepLabelEmbedding(tree, vectors, convolutions(), **SHORT, **options).fit(X, y)
    if extended:  # labels without rows, and offsets of the decisions
        model = model.with_classes(["elk", "eel"], seen_calibration=0.3)
    mixed = X[np.random.default_rng(2).permutation(len(X))]
    return model.to_module(method), lambda n: (torch.tensor(mixed[:n]), getattr(model, method)(mixed[:n]))


KINDS = {
    "cca": lambda: cca("X", scale="columns"),
    "cca, y": lambda: cca("y", activation="nonsaturating"),
    "cca, float64": lambda: cca("X", dtype="float64"),
    "cca of images": cca_of_batches,
    "both modalities": lambda: autoencoder("reconstruct", "xy"),
    "one modality": lambda: autoencoder("reconstruct", "x", inverted_dropout=True),
    "one modality, indicator": lambda: autoencoder("reconstruct", "y", missing_indicator=True),
    "joint representation": lambda: autoencoder("transform", "xy", scale="columns"),
    "probabilities": lambda: labels("predict_proba"),
    "products": lambda: labels("decision_function", loss="softmax", scale="columns"),
    "distances": lambda: labels("decision_function", extended=True),
    "two labels": lambda: labels("decision_function", ("cat", "cod")),
    "embedding": lambda: labels("transform", scale=None),
}


def close(found, expected, tolerance=4e-6):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            close(found[name], expected[name], tolerance)
        return
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else found
    assert found.shape == expected.shape
    np.testing.assert_allclose(
        found, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max())
    )


def exported(module, example):
    """The program for any number of rows."""
    rows = {0: torch.export.Dim("rows")}
    shapes = dict.fromkeys(example, rows) if isinstance(example, dict) else rows
    return torch.export.export(module, (example,), dynamic_shapes=(shapes,))


@pytest.mark.parametrize("kind", KINDS)
def test_programs_compute_what_the_estimator_does(kind, tmp_path):
    module, case = KINDS[kind]()
    program = exported(module, case(5)[0])
    torch.export.save(program, tmp_path / "program.pt2")
    again = torch.export.load(tmp_path / "program.pt2").module()
    for n in SIZES:
        given, expected = case(n)
        close(module(given), expected)
        close(program.module()(given), expected)
        close(again(given), expected)


@pytest.mark.parametrize(
    "kind", ["cca", "cca, y", "cca of images", "both modalities", "one modality, indicator", "probabilities"]
)
def test_onnx_computes_what_the_estimator_does(kind, tmp_path):
    pytest.importorskip("onnxscript", reason="the exporter of PyTorch needs onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    module, case = KINDS[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter
        program = torch.onnx.export(exported(module, case(5)[0]), verbose=False)
    program.save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for n in SIZES:
        given, expected = case(n)
        tensors = list(given.values()) if isinstance(given, dict) else [given]
        inputs = {i.name: t.numpy() for i, t in zip(session.get_inputs(), tensors, strict=True)}
        outputs = session.run(None, inputs)
        found = dict(zip(expected, outputs, strict=True)) if isinstance(expected, dict) else outputs[0]
        close(found, expected, 1e-5)  # another library's products in float32


def test_modules_hold_copies_and_refuse_what_they_do_not_know():
    views = {"x": drawn(60, 3), "y": drawn(60, 2)}
    model = MultimodalAutoencoder(2, (4,), **{**SHORT, "n_epochs": 1}).fit(views)
    before = model.reconstruct(views)
    module = model.to_module()
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.zero_()
    np.testing.assert_array_equal(model.reconstruct(views)["y"], before["y"])
    with pytest.raises(ValueError, match="views must name some of x, y, got an unknown modality 'z'"):
        module({"z": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="views must name some of x, y, got none"):
        module({})
    with pytest.raises(ValueError, match="method must be one of 'reconstruct', 'transform', got 'predict'"):
        model.to_module("predict")
    X = drawn(60, 3)
    embedding = DeepLabelEmbedding(hidden=(), **{**SHORT, "n_epochs": 1}).fit(X, np.arange(60) % 3)
    with pytest.raises(ValueError, match="method must be one of 'predict_proba', 'decision_function'"):
        embedding.to_module("predict")
