"""Hearing and seeing digits: the pairs, who is held out, what is told of several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from sklearn.utils import Bunch

from fastcca.datasets import make_audio_visual_digits

__all__ = ["GIVEN", "SPEAKERS", "Array", "Digits", "Spread", "Views", "load", "pick", "told"]

Array = NDArray[Any]
Views = dict[str, Array]
FEATURES: dict[str, Any] = {"features": "log-mel", "dynamic_range": 20.0}  # as --tune says
SPEAKERS = {"test": ("nicolas", "theo"), "validation": ("lucas",)}
GIVEN = {"audio": ("audio",), "image": ("image",), "both": ("audio", "image")}


def pick(views: Views, given: str) -> Views:
    return {name: views[name] for name in GIVEN[given]}


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
        **FEATURES,
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
