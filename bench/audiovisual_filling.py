"""Hearing and seeing digits, experiment 3: filling in what is missing, with and without modality dropout."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.audiovisual_data import GIVEN, Array, Digits, Spread, pick, told
from bench.audiovisual_models import autoencoder
from bench.harness import Report, time_once
from fastcca.deep import MultimodalAutoencoder

__all__ = ["SETTINGS", "errors", "fill_in", "totals"]

# What both are tuned over. The activation is that of the least error that --tune finds.
SETTINGS: list[dict[str, Any]] = [
    {
        "activation": "nonsaturating",
        "pretrain": "denoising",
        "learning_rate": 3e-3,
        "input_noise": noise,
        "dropout": dropout,
    }
    for noise, dropout in ((0.0, 0.0), (0.5, 0.2), (1.0, 0.3))
]
WITH = "modality dropout"
WITHOUT = "without modality dropout"
FORMS: dict[str, list[dict[str, Any]]] = {
    WITH: [
        {
            "modality_subsets": "exhaustive",
            "modality_dropout": {("audio",): 1.0, ("image",): 1.0, ("audio", "image"): both},
        }
        for both in (8.0, 32.0, 128.0)
    ],
    WITHOUT: [{"modality_dropout": None}],
}
SIZES: dict[str, dict[str, Any]] = {
    "80 shared units": {},
    "160 shared units": {"n_components": 160, "hidden": (320,)},
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


def choose_by_error(digits: Digits, forms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By the validation speaker: the geometric mean of the errors from audio, from images and from both.

    The error from both is the smallest; the arithmetic mean would hardly see it.
    """

    def mean(options: dict[str, Any]) -> float:
        found = totals(errors(autoencoder(digits.train, 0, **options), digits))
        return statistics.geometric_mean(found.values())

    return min(({**settings, **form} for settings in SETTINGS for form in forms), key=mean)


def totals(found: Mapping[str, float]) -> dict[str, float]:
    """The mean error of both modalities from each that is given."""
    return {
        f"all from {given}": statistics.mean(found[f"{name} from {given}"] for name in GIVEN["both"])
        for given in GIVEN
    }


def fill_in(report: Report, tuning: Digits, seeds: Sequence[Digits], pictures: str | None) -> None:
    """Rows with and without modality dropout at two sizes, of as many steps over the same pairs.

    Each is tuned for itself, at the smaller size; where that gives other settings, the one without is also
    told with those of the one with. The default schedule of modality dropout is told with these as well.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for name, forms in FORMS.items():
        chosen[name], seconds = time_once(partial(choose_by_error, tuning, forms))
        report.add("chosen", name, **told(chosen[name]), seconds=seconds)
    settings = {key: chosen[WITH][key] for key in SETTINGS[0]}
    chosen[f"{WITH}, a third each, drawn"] = settings
    same = {**settings, "modality_dropout": None}
    if same != chosen[WITHOUT]:
        chosen[f"{WITHOUT}, settings of the one with"] = same
    for size, widths in SIZES.items():
        for name, options in chosen.items():
            spread, seconds = time_once(partial(over_seeds, seeds, {**options, **widths}))
            report.add("3", f"{name}, {size}", **spread.texts(3), seconds=seconds)
    if pictures:
        model = autoencoder(seeds[0].train, 0, **chosen[WITH])
        draw(model, seeds[0], Path(pictures) / "filled_in.png")


def over_seeds(seeds: Sequence[Digits], options: Mapping[str, Any]) -> Spread:
    spread = Spread()
    for seed, digits in enumerate(seeds):
        found = errors(autoencoder(digits.train, seed, **options), digits)
        spread.add({**found, **totals(found)})
    return spread


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
