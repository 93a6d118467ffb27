"""Hearing and seeing digits, ``--tune``: what all runs share, chosen on voices that teach.

The features of sound by every training voice in turn, held out from a linear classifier of the others; the
autoencoder's activation and the size of the shared layer's inputs by the validation voice. The recordings
of the test voices and the test images are not looked at.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from bench.audiovisual_data import SPEAKERS, Digits, told
from bench.audiovisual_filling import SETTINGS, errors, totals
from bench.audiovisual_models import accuracies, autoencoder, linear_classifier
from bench.harness import Report, time_once
from fastcca.datasets import add_noise, load_spoken_digits, speech_features

__all__ = ["tune"]

FEATURES: list[dict[str, Any]] = [
    *({"kind": "log-mel", "dynamic_range": decibels} for decibels in (20.0, 30.0, 40.0, 60.0, 100.0)),
    {"kind": "mfcc", "dynamic_range": 30.0},
]
NETWORKS: list[dict[str, Any]] = [
    {"activation": activation, "inverted_dropout": inverted}
    for activation in ("tanh", "relu", "sigmoid", "nonsaturating")
    for inverted in (False, True)
]
# How modality dropout is done, measured with the middle one of the settings of experiment 3.
FORMS: list[dict[str, Any]] = [
    {"modality_subsets": subsets, "missing_indicator": indicator}
    for subsets in ("sampled", "exhaustive")
    for indicator in (False, True)
]


def tune(report: Report, digits: Digits) -> None:
    """One row for each candidate, then the best; ``digits`` hold out the validation voice."""
    spoken = load_spoken_digits(features=None)
    known = ~np.isin(spoken.speaker, SPEAKERS["test"])
    rows = np.flatnonzero(known)
    sounds = [spoken.waveforms[i] for i in rows]
    noisy = add_noise(sounds, 0.0, random_state=0)
    right = []
    for options in FEATURES:
        values, seconds = time_once(partial(heard, spoken, rows, sounds, noisy, options))
        right.append(statistics.mean(values.values()))
        report.add("features", _name(options), **values, mean=right[-1], seconds=seconds)
    report.add("features", "chosen", **told(FEATURES[int(np.argmax(right))]))
    mean_right, mean_error = [], []
    for options in NETWORKS:
        model, seconds = time_once(partial(autoencoder, digits.train, 0, **options))
        mean_right.append(statistics.mean(accuracies(model.transform, digits).values()))
        mean_error.append(statistics.mean(errors(model, digits).values()))
        report.add("network", _name(options), right=mean_right[-1], error=mean_error[-1], seconds=seconds)
    report.add("network", "most right", **told(NETWORKS[int(np.argmax(mean_right))]))
    report.add("network", "least error", **told(NETWORKS[int(np.argmin(mean_error))]))
    for options in FORMS:
        model, seconds = time_once(partial(autoencoder, digits.train, 0, **SETTINGS[1], **options))
        report.add("forms", _name(options), **totals(errors(model, digits)), seconds=seconds)


def heard(spoken: Bunch, rows: Any, sounds: Any, noisy: Any, options: dict[str, Any]) -> dict[str, float]:
    """Per cent right of the clean and the noisy recordings of a voice that the classifier has not met."""
    found: dict[str, list[float]] = {"clean": [], "noisy": []}
    clean = speech_features(sounds, spoken.sample_rate, **options)
    loud = speech_features(noisy, spoken.sample_rate, **options)
    y, speaker = spoken.target[rows], spoken.speaker[rows]
    for voice in np.unique(speaker):
        out = speaker == voice
        model = linear_classifier().fit(clean[~out], y[~out])
        for name, features in (("clean", clean), ("noisy", loud)):
            found[name].append(100 * float(model.score(features[out], y[out])))
    return {name: statistics.mean(values) for name, values in found.items()}


def _name(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items())
