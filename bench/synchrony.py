"""How well the confidence of a lag tells true from unrelated streams: ``python -m bench.synchrony``.

Speech of the Free Spoken Digit Dataset, spoken digits one after the other, as log-mel frames of 10 ms, two
recordings with noise of their own as loud as the speech (0 dB). The detector learns from four speakers; of
two others windows are taken that belong together, the second late by up to 20 frames, and windows that do
not. ``auc`` is the area under the ROC curve of :meth:`fastcca.synchrony.SynchronyDetector.detect`'s
confidence. Two cases: ``microphones``, both recordings over all 32 bands; ``bands``, the lower 16 bands of
one recording against the upper 16 of the other, which share no frequency. Needs ``FASTCCA_DATA``.
"""

from __future__ import annotations

import argparse
import os
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bench.harness import Report, limit_threads
from fastcca import CCA
from fastcca.datasets import add_noise, load_spoken_digits, speech_features
from fastcca.synchrony import SynchronyDetector

Floats = NDArray[np.float64]

HELD_OUT = ("nicolas", "theo")
BANDS = 32
CASES = {"microphones": (slice(0, 32), slice(0, 32)), "bands": (slice(0, 16), slice(16, 32))}
LATEST = 20  # frames
SNR = 0.0  # dB


def two_recordings(speaker: str) -> tuple[Floats, Floats]:
    """All digits of a speaker in random order, each as loud, with two noises: (frames, 32) each."""
    digits = load_spoken_digits(features=None)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(digits.speaker == speaker))
    spoken = np.concatenate([digits.waveforms[i] / np.abs(digits.waveforms[i]).max() for i in rows])
    n_frames = 100 * len(spoken) // digits.sample_rate
    first, second = (
        speech_features(
            add_noise([spoken], SNR, random_state=seed), digits.sample_rate, n_bands=BANDS, n_slices=n_frames
        )
        .reshape(n_frames, BANDS)
        .astype(np.float64)
        for seed in (1, 2)
    )
    return first, second


def measure(
    report: Report, case: str, seconds: float, n_components: int, streams: dict[str, tuple[Floats, Floats]]
) -> None:
    in_x, in_y = CASES[case]
    length = int(100 * seconds)
    detector = SynchronyDetector(
        CCA(n_components=n_components, reg=1e-3, scale=True), context=2, max_lag=LATEST + 5
    )
    learnt = [streams[name] for name in streams if name not in HELD_OUT]
    detector.fit(*(np.vstack([pair[i] for pair in learnt])[:, of] for i, of in enumerate((in_x, in_y))))
    confidence, related, right = [], [], []
    rng = np.random.default_rng(0)
    for name in HELD_OUT:
        x, y = streams[name][0][:, in_x], streams[name][1][:, in_y]
        starts = np.arange(LATEST, len(x) - length - LATEST, length)
        for start, other in zip(starts, np.roll(starts, len(starts) // 2), strict=True):
            late = int(rng.integers(-LATEST, LATEST + 1))
            for begin, truth in ((start - late, True), (other, False)):
                found = detector.detect(x[start : start + length], y[begin : begin + length])
                confidence.append(found.confidence)
                related.append(truth)
                if truth:
                    right.append(found.lag == late)
    sure, is_related = np.array(confidence) > 0.95, np.array(related)
    report.add(
        case,
        f"{seconds:g} s, {n_components} pairs of variates, {len(related)} pairs of windows",
        0.99,
        auc=float(roc_auc_score(is_related, confidence)),
        lag_found=float(np.mean(right)),
        sure_of_related=float(sure[is_related].mean()),
        sure_of_unrelated=float(sure[~is_related].mean()),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one; may be repeated")
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 5.0, 10.0], help="of a window")
    parser.add_argument("--components", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", "the correlation is largest at lag")
    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=True)
        speakers = np.unique(load_spoken_digits(features=None).speaker)
        streams = {str(name): two_recordings(str(name)) for name in speakers}
        for case in options.case or CASES:
            for seconds in options.seconds:
                for n_components in options.components:
                    measure(report, case, seconds, n_components, streams)
        report.save(options.json)


if __name__ == "__main__":
    main()
