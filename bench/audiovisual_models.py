"""Hearing and seeing digits: the methods, and how the validation voice chooses between their settings."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.audiovisual_data import GIVEN, Array, Digits, Views, pick
from fastcca import CCA, KernelCCA
from fastcca.deep import DeepCCA, MultimodalAutoencoder
from fastcca.functional import median_gamma
from fastcca.fusion import EarlyFusion

__all__ = [
    "METHODS",
    "Encode",
    "Method",
    "accuracies",
    "autoencoder",
    "choose",
    "classifiers",
    "linear_classifier",
]

K = 20  # components of every CCA

# ---- the models: each makes of the given modalities one row of numbers

Encode = Callable[[Mapping[str, Array]], Array]


def from_pair(model: Any) -> Encode:
    """Of a model of two views: the scores of the one given, or those of both side by side."""

    def encode(views: Mapping[str, Array]) -> Array:
        scores = {"audio": model.transform, "image": model.transform_y}
        return np.hstack([scores[name](a) for name, a in views.items()])

    return encode


def raw(train: Views, seed: int, **_: Any) -> Encode:
    parts = {name: EarlyFusion().fit({name: a}) for name, a in train.items()}
    return lambda views: np.hstack([parts[name].transform({name: a}) for name, a in views.items()])


def early_fusion(train: Views, seed: int, weight: float) -> Encode:
    return EarlyFusion(weights={"audio": weight}).fit(train).transform


def cca(train: Views, seed: int, reg: float) -> Encode:
    # one ridge for both, relative to the mean variance of a column
    regs = tuple(float(reg * a.var(axis=0).mean()) for a in train.values())
    return from_pair(CCA(K, reg=(regs[0], regs[1])).fit(train["audio"], train["image"]))


def kernel_cca(train: Views, seed: int, reg: float, width: float) -> Encode:
    gammas = tuple(width * median_gamma(a) for a in train.values())
    model = KernelCCA(
        K, gamma=(gammas[0], gammas[1]), reg=reg, rank=1000, pivoting="uniform", random_state=seed
    )
    return from_pair(model.fit(train["audio"], train["image"]))


def deep_cca(train: Views, seed: int, input_noise: float) -> Encode:
    model = DeepCCA(
        K,
        hidden=(256, 256),
        input_noise=input_noise,
        n_epochs=30,
        batch_size=500,
        validation_fraction=0,
        random_state=seed,
    )
    return from_pair(model.fit(train["audio"], train["image"]))


FITTED: dict[Any, MultimodalAutoencoder] = {}  # the same one serves several rows of the tables


def autoencoder(train: Views, seed: int, **options: Any) -> MultimodalAutoencoder:
    key = *((name, id(a)) for name, a in train.items()), seed, repr(sorted(options.items(), key=str))
    if key not in FITTED:
        defaults: dict[str, Any] = {"n_components": 80, "hidden": (160,), "n_epochs": 20, "n_threads": 1}
        model = MultimodalAutoencoder(**{**defaults, **options}, validation_fraction=0, random_state=seed)
        FITTED[key] = model.fit(train)
    return FITTED[key]


def bimodal(train: Views, seed: int, **options: Any) -> Encode:
    return autoencoder(train, seed, **options).transform


def single(train: Views, seed: int, **options: Any) -> Encode:
    """An autoencoder of each modality by itself; both codes side by side where both are given."""
    models = {name: autoencoder({name: a}, seed, **options) for name, a in train.items()}
    return lambda views: np.hstack([models[name].transform({name: a}) for name, a in views.items()])


def single_then_cca(train: Views, seed: int, reg: float, **options: Any) -> Encode:
    """The published combination: a CCA of features that were learnt modality by modality."""
    code = single(train, seed, **options)
    codes = {name: code({name: a}) for name, a in train.items()}
    above = cca(codes, seed, reg)
    return lambda views: above({name: code({name: a}) for name, a in views.items()})


@dataclass(frozen=True)
class Method:
    """A row of the tables: what fits it, and the choices of which the validation speaker decides."""

    fit: Callable[..., Encode]
    grid: Sequence[Mapping[str, Any]] = ({},)


SHARED: dict[str, Any] = {"activation": "sigmoid", "inverted_dropout": True}  # most right as --tune finds
AUTOENCODERS: list[dict[str, Any]] = [
    {**SHARED},
    {**SHARED, "pretrain": "denoising"},
    {**SHARED, "pretrain": "rbm", "learning_rate": 3e-3},
]
METHODS = {
    "raw features": Method(raw),
    "early fusion": Method(early_fusion, [{"weight": w} for w in (0.5, 1.0, 2.0)]),
    "single-modality autoencoders": Method(single, AUTOENCODERS),
    "bimodal autoencoder": Method(bimodal, AUTOENCODERS),
    "CCA": Method(cca, [{"reg": r} for r in (0.1, 1.0, 10.0)]),
    "autoencoders, then CCA": Method(single_then_cca, [{"reg": r} for r in (0.1, 1.0, 10.0)]),
    "kernel CCA": Method(kernel_cca, [{"reg": r, "width": w} for r in (1e-4, 1e-3) for w in (0.5, 1.0)]),
    "Deep CCA": Method(deep_cca, [{"input_noise": s} for s in (0.5, 1.0)]),
}


# ---- classification


def linear_classifier() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))


def classifiers(encode: Encode, digits: Digits) -> dict[str, Any]:
    """A linear classifier of the codes from audio, from images and from both."""
    found = {}
    for given in GIVEN:
        codes = encode(pick(digits.train, given))
        found[given] = linear_classifier().fit(codes, digits.target)
    return found


def accuracies(encode: Encode, digits: Digits) -> dict[str, float]:
    """Per cent right by column; the last two where a code is as wide from either modality."""
    found = classifiers(encode, digits)
    codes = {given: encode(pick(digits.held_out, given)) for given in GIVEN}
    noisy = {given: encode(pick(digits.noisy, given)) for given in ("audio", "both")}
    y = digits.held_out_target
    out = {}
    for name, given, code in (
        ("audio", "audio", codes["audio"]),
        ("audio, noisy", "audio", noisy["audio"]),
        ("image", "image", codes["image"]),
        ("both", "both", codes["both"]),
        ("both, noisy", "both", noisy["both"]),
        ("hear, then see", "audio", codes["image"]),
        ("see, then hear", "image", codes["audio"]),
    ):
        if code.shape[1] == found[given].n_features_in_:
            out[name] = 100 * float(found[given].score(code, y))
    return out


def choose(method: Method, digits: Digits) -> Mapping[str, Any]:
    """By the mean of all accuracies on the validation speaker."""

    def mean(options: Mapping[str, Any]) -> float:
        return statistics.mean(accuracies(method.fit(digits.train, 0, **options), digits).values())

    return max(method.grid, key=mean) if len(method.grid) > 1 else method.grid[0]
