"""Hearing and seeing digits: ``python -m bench.audiovisual --json results.json --pictures docs/images``.

Spoken digits paired with handwritten ones by class; the test voices and images are of people whom no model
has met. Every choice is made with the voice of one more speaker, who joins the training afterwards. Four
experiments, after Ngiam et al. (2011): classification from sound, from images and from both, also with
noise; a classifier taught on one modality and tested on the other; filling in the missing modality; and what
is perceived where sound and image disagree, as McGurk and MacDonald asked.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from bench.harness import Report, limit_threads, time_once
from fastcca import CCA, KernelCCA
from fastcca.datasets import make_audio_visual_digits, make_incongruent_pairs
from fastcca.deep import DeepCCA, MultimodalAutoencoder
from fastcca.functional import median_gamma
from fastcca.fusion import EarlyFusion

Array = NDArray[Any]
Views = dict[str, Array]
K = 20  # components of every CCA
SPEAKERS = {"test": ("nicolas", "theo"), "validation": ("lucas",)}


@dataclass
class Digits:
    """Pairs to learn from and unseen ones, these also with noise."""

    train: Views
    target: Array
    held_out: Views
    noisy: Views
    held_out_target: Array


def load(n_train: int, n_test: int, seed: int, *, validation: bool) -> Digits:
    """With ``validation`` one speaker is held out, else two others, and that one is learnt from too."""
    which = "validation" if validation else "test"
    digits: Bunch = make_audio_visual_digits(
        n_train,
        n_test if validation else 0,
        0 if validation else n_test,
        test_speakers=SPEAKERS["test"],
        validation_speakers=SPEAKERS["validation"] if validation else (),
        snr=0.0,
        random_state=seed,
    )
    held_out = {name: digits[f"{name}_{which}"] for name in ("audio", "image")}
    return Digits(
        train={"audio": digits.audio_train, "image": digits.image_train},
        target=digits.target_train,
        held_out=held_out,
        noisy={**held_out, "audio": digits[f"noisy_{which}"]},
        held_out_target=digits[f"target_{which}"],
    )


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
        epochs=30,
        batch_size=500,
        validation_fraction=0,
        random_state=seed,
    )
    return from_pair(model.fit(train["audio"], train["image"]))


FITTED: dict[Any, MultimodalAutoencoder] = {}  # the same one serves several rows of the tables


def autoencoder(train: Views, seed: int, **options: Any) -> MultimodalAutoencoder:
    key = *((name, id(a)) for name, a in train.items()), seed, repr(sorted(options.items(), key=str))
    if key not in FITTED:
        defaults: dict[str, Any] = {"n_components": 80, "hidden": (160,), "epochs": 20, "n_threads": 1}
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


AUTOENCODERS: list[dict[str, Any]] = [
    {},
    {"pretrain": "denoising"},
    {"pretrain": "rbm", "activation": "sigmoid", "learning_rate": 3e-3},
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


# ---- experiments 1 and 2: classification

GIVEN = {"audio": ("audio",), "image": ("image",), "both": ("audio", "image")}


def pick(views: Views, given: str) -> Views:
    return {name: views[name] for name in GIVEN[given]}


def classifiers(encode: Encode, digits: Digits) -> dict[str, Any]:
    """A linear classifier of the codes from audio, from images and from both."""
    found = {}
    for given in GIVEN:
        codes = encode(pick(digits.train, given))
        found[given] = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        found[given].fit(codes, digits.target)
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


# ---- experiment 3: filling in


DROPOUTS: dict[str, dict[str, Any]] = {
    "modality dropout": {},
    "without modality dropout": {"modality_dropout": None},
}


def errors(model: MultimodalAutoencoder, digits: Digits) -> dict[str, float]:
    """Squared error of each modality from audio, image and both, over that of the training means."""
    out = {}
    for given in GIVEN:
        filled = model.reconstruct(pick(digits.held_out, given))
        for name, a in digits.held_out.items():
            error = np.square(filled[name] - a).sum() / np.square(a - model.means_[name]).sum()
            out[f"{name} from {given}"] = float(error)
    return out


def choose_by_error(digits: Digits, dropout: Mapping[str, Any]) -> dict[str, Any]:
    """By the mean error on the validation speaker, of both modalities from audio, image and both."""

    def mean(options: dict[str, Any]) -> float:
        model = autoencoder(digits.train, 0, **options, **dropout)
        return statistics.mean(errors(model, digits).values())

    best = min(AUTOENCODERS, key=mean)
    return {**best, **dropout}


# ---- experiment 4: sound and image that disagree


def perceived(encode: Encode, digits: Digits, pairs: Sequence[tuple[int, int]], seed: int) -> Array:
    """Shares of the ten answers, (pairs, 10), a classifier of both modalities being shown those pairs."""
    y = digits.held_out_target
    rows = make_incongruent_pairs(y, y, pairs, n_pairs=100, random_state=seed)
    codes = encode(
        {"audio": digits.held_out["audio"][rows.audio], "image": digits.held_out["image"][rows.image]}
    )
    answers = classifiers(encode, digits)["both"].predict(codes).reshape(len(pairs), -1)
    table: Array = (answers[:, :, np.newaxis] == np.arange(10)).mean(axis=1)
    return table


DISAGREE = [(a, b) for a in range(10) for b in range(10) if a != b]
AGREE = [(a, a) for a in range(10)]


def summary(table: Array) -> dict[str, float]:
    """Of the pairs that disagree: what was heard, what was seen, the third that most pairs were taken for."""
    heard = np.array([table[i, a] for i, (a, _) in enumerate(DISAGREE)])
    seen = np.array([table[i, b] for i, (_, b) in enumerate(DISAGREE)])
    return {
        "heard": 100 * float(heard.mean()),
        "seen": 100 * float(seen.mean()),
        "a third": 100 * float((1 - heard - seen).mean()),
    }


def strongest(table: Array) -> tuple[int, int, int]:
    """The pair, and the third digit, that is most often perceived where sound and image disagree."""
    thirds = [
        (table[i, c], (a, b, c)) for i, (a, b) in enumerate(DISAGREE) for c in range(10) if c not in (a, b)
    ]
    return max(thirds)[1]


# ---- the run


@dataclass
class Spread:
    """Values of the same things over the seeds."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            self.values.setdefault(name, []).append(value)

    def __iter__(self) -> Any:
        for name, values in self.values.items():
            yield name, statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0

    def texts(self, digits: int = 1) -> dict[str, Any]:
        return {name: f"{mean:.{digits}f} ± {sd:.{digits}f}" for name, mean, sd in self}


def told(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in options.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n-train", type=int, default=2400)
    parser.add_argument("--n-test", type=int, default=2000)
    parser.add_argument("--method", action="append", choices=list(METHODS), help="only this one; repeatable")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--allow-slow-numpy", action="store_true")
    parser.add_argument("--pictures", metavar="FOLDER", help="draw filled-in images there")
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=options.allow_slow_numpy)
        _, seconds = time_once(lambda: run(report, options))
        report.add("all", "seconds", seconds=seconds)
        report.save(options.json)


def run(report: Report, options: Any) -> None:
    tuning = load(options.n_train, options.n_test // 2, 0, validation=True)
    chosen: dict[str, Mapping[str, Any]] = {}
    for name in options.method or METHODS:
        if name == "autoencoders, then CCA" and "single-modality autoencoders" in chosen:
            # the autoencoders as they were chosen by themselves; here the ridge alone is
            learnt = chosen["single-modality autoencoders"]
            method = METHODS[name]
            METHODS[name] = Method(method.fit, [{**learnt, **grid} for grid in method.grid])
        chosen[name], seconds = time_once(lambda name=name: choose(METHODS[name], tuning))  # type: ignore[misc]
        report.add("chosen", name, **told(chosen[name]), seconds=seconds)
    seeds = [load(options.n_train, options.n_test, seed, validation=False) for seed in range(options.seeds)]
    if "bimodal autoencoder" in chosen:
        fill_in(report, tuning, seeds, options.pictures)
    for name, grid in chosen.items():
        found = Spread()
        models: list[Encode] = []

        def fit(name: str = name, grid: Any = grid, found: Spread = found, models: Any = models) -> None:
            for seed, digits in enumerate(seeds):
                models.append(METHODS[name].fit(digits.train, seed, **grid))
                found.add(accuracies(models[-1], digits))

        _, seconds = time_once(fit)
        report.add("1, 2", name, **found.texts(), seconds=seconds)
        if name in ("bimodal autoencoder", "early fusion"):
            mcgurk(report, name, models, seeds)


def mcgurk(report: Report, name: str, models: Sequence[Encode], seeds: Sequence[Digits]) -> None:
    tables = [
        perceived(model, digits, DISAGREE + AGREE, seed)
        for seed, (model, digits) in enumerate(zip(models, seeds, strict=True))
    ]
    spread = Spread()
    for table in tables:
        congruent = table[len(DISAGREE) :].diagonal().mean()
        spread.add({**summary(table[: len(DISAGREE)]), "right where they agree": 100 * float(congruent)})
    report.add("4", name, **spread.texts())
    mean = np.mean(tables, axis=0)
    heard, seen, third = strongest(mean[: len(DISAGREE)])
    for a, b in ((heard, heard), (seen, seen), (heard, seen)):
        row = mean[(DISAGREE + AGREE).index((a, b))]
        answers: dict[str, Any] = {f"answer {c}": f"{100 * row[c]:.1f}" for c in (heard, seen, third)}
        report.add("4", f"{name}: hears {a}, sees {b}", **answers)


def fill_in(report: Report, tuning: Digits, seeds: Sequence[Digits], pictures: str | None) -> None:
    for name, dropout in DROPOUTS.items():
        chosen, seconds = time_once(lambda dropout=dropout: choose_by_error(tuning, dropout))  # type: ignore[misc]
        report.add("chosen", name, **told(chosen), seconds=seconds)
        spread = Spread()
        for seed, digits in enumerate(seeds):
            model = autoencoder(digits.train, seed, **chosen)
            found = errors(model, digits)
            totals = {
                f"all from {given}": statistics.mean([found[f"{n} from {given}"] for n in digits.train])
                for given in GIVEN
            }
            spread.add({**found, **totals})
            if pictures and seed == 0 and not dropout:
                draw(model, digits, Path(pictures) / "filled_in.png")
        report.add("3", name, **spread.texts(3))


def draw(model: MultimodalAutoencoder, digits: Digits, path: Path) -> None:
    """Of each digit an image and what the network makes of sound, image and both; sounds likewise."""
    from matplotlib.figure import Figure

    y = digits.held_out_target
    rows = np.array([np.flatnonzero(y == digit)[0] for digit in range(10)])
    shown = {name: a[rows] for name, a in digits.held_out.items()}
    filled = {given: model.reconstruct(pick(shown, given)) for given in GIVEN}
    lines: list[tuple[str, str, Array]] = [("the image", "image", shown["image"])]
    lines += [(f"from {given}", "image", filled[given]["image"]) for given in GIVEN]
    lines += [("the sound", "audio", shown["audio"])]
    lines += [(f"from {given}", "audio", filled[given]["audio"]) for given in GIVEN]
    figure = Figure(figsize=(9, 7.6), layout="constrained")
    axes = figure.subplots(len(lines), 10)
    for line, (label, name, values) in zip(axes, lines, strict=True):
        for axis, value in zip(line, values, strict=True):
            # images as they are; sounds with time to the right and frequency upwards
            picture = value.reshape(28, 28) if name == "image" else value.reshape(20, 32).T[::-1]
            limits = (0, 1) if name == "image" else (-4, 4)
            axis.imshow(
                picture, cmap="gray_r" if name == "image" else "magma", vmin=limits[0], vmax=limits[1]
            )
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
