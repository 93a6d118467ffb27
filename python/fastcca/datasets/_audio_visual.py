"""Sounds and images of the same digits, paired by class."""

import os
from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state

from fastcca._arguments.parameters import integer
from fastcca.datasets._mnist import load_mnist_halves
from fastcca.datasets._speech import Features, add_noise, check_snr, load_spoken_digits, speech_features

__all__ = ["make_audio_visual_digits", "make_incongruent_pairs"]


def make_audio_visual_digits(
    n_train: int = 6000,
    n_validation: int = 1000,
    n_test: int = 2000,
    *,
    test_speakers: str | Sequence[str] = ("nicolas", "theo"),
    validation_speakers: str | Sequence[str] = ("lucas",),
    snr: float | None = None,
    features: Features = "log-mel",
    dynamic_range: float = 30.0,
    data_home: str | os.PathLike[str] | None = None,
    random_state: Any = None,
) -> Bunch:
    """Spoken digits, each with a handwritten one of the same class: two modalities that share nothing else.

    The recordings of :func:`load_spoken_digits` are split by speaker, so that no voice is in two splits.
    Each is paired with images of MNIST of its digit drawn at random: training and validation images are
    different ones of MNIST's training set, test images are of its test set, which other people wrote. No
    image is used twice in a split; a recording is where there are more pairs than recordings.

    Parameters
    ----------
    n_train, n_validation, n_test : int
        Numbers of pairs, as many of each digit as of any other, give or take one. 0: the split is left out.
    test_speakers, validation_speakers : str or sequence of str
        Whose recordings are for those splits; those of the others are for training.
    snr : float, optional
        Also give the features of the same recordings with noise at this signal-to-noise ratio in decibels,
        added to the waveform, see :func:`add_noise`.
    features : {"log-mel", "mfcc"}, default="log-mel"
        Kind of :func:`speech_features`.
    dynamic_range : float, default=30.0
        Of those, in decibels.
    data_home : path or None
        The data home, with the folders ``fsdd`` and ``mnist``.
    random_state : int, numpy.random.RandomState or None
        Of the pairing, the order and the noise.

    Returns
    -------
    sklearn.utils.Bunch
        For each split, train, validation and test: ``audio_<split>``: (n, 640) float32; ``image_<split>``:
        (n, 784) float32 in [0, 1]; ``target_<split>``: (n,) the digit; ``speaker_<split>``: (n,) names;
        ``noisy_<split>``: as ``audio_<split>``, with ``snr``.

    Raises
    ------
    FileNotFoundError, ValueError
        As of the two loaders; for arguments out of range, a speaker who is not there or is in two splits, a
        split or the training without a digit, or more pairs than images.

    Examples
    --------
    >>> from fastcca.datasets import make_audio_visual_digits
    >>> digits = make_audio_visual_digits(random_state=0)  # doctest: +SKIP
    >>> digits.audio_train.shape, digits.image_train.shape  # doctest: +SKIP
    ((6000, 640), (6000, 784))
    """
    for name, n in (("n_train", n_train), ("n_validation", n_validation), ("n_test", n_test)):
        integer(0)(name, n)
    if snr is not None:
        check_snr(snr)
    speakers = {
        "test": _names("test_speakers", test_speakers),
        "validation": _names("validation_speakers", validation_speakers),
    }
    rng = check_random_state(random_state)
    spoken = load_spoken_digits(data_home, features=None)
    halves = load_mnist_halves(data_home, download_if_missing=False)
    images = {split: _whole(halves, split) for split in ("train", "test")}
    held_out = speakers["test"] + speakers["validation"]
    unknown = sorted(set(held_out) - set(spoken.speaker))
    if unknown:
        raise ValueError(f"there is no speaker {unknown[0]!r}, only {', '.join(sorted(set(spoken.speaker)))}")
    if len(set(held_out)) < len(held_out):
        raise ValueError("a speaker is in both test_speakers and validation_speakers, or twice in one")
    speakers["train"] = sorted(set(spoken.speaker) - set(held_out))
    clean, noisy = _features(spoken, spoken.waveforms, features, dynamic_range), None
    if snr is not None:
        waveforms = add_noise(spoken.waveforms, snr, random_state=rng)
        noisy = _features(spoken, waveforms, features, dynamic_range)

    bunch, used = Bunch(), np.zeros(len(halves.target_train), dtype=bool)
    for split, n in (("train", n_train), ("validation", n_validation), ("test", n_test)):
        if n == 0:
            continue
        source = "test" if split == "test" else "train"
        target = np.sort(np.arange(n) % 10)
        candidates = np.isin(spoken.speaker, speakers[split])
        sounds = _draw(rng, target, spoken.target, candidates, f"recordings for {split}", repeat=True)
        free = np.ones(len(halves.target_test), dtype=bool) if source == "test" else ~used
        pictures = _draw(rng, target, halves[f"target_{source}"], free, f"images for {split}", repeat=False)
        if source == "train":
            used[pictures] = True
        order = rng.permutation(n)
        sounds, pictures = sounds[order], pictures[order]
        bunch[f"audio_{split}"] = clean[sounds]
        bunch[f"image_{split}"] = images[source][pictures]
        bunch[f"target_{split}"] = target[order]
        bunch[f"speaker_{split}"] = spoken.speaker[sounds]
        if noisy is not None:
            bunch[f"noisy_{split}"] = noisy[sounds]
    return bunch


def _names(argument: str, given: Any) -> list[str]:
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{argument} must be a name or a sequence of names, got {given!r}")
    return names


def _features(spoken: Bunch, waveforms: Any, kind: Features, dynamic_range: float) -> NDArray[np.float32]:
    return speech_features(waveforms, spoken.sample_rate, kind=kind, dynamic_range=dynamic_range)


def _whole(halves: Bunch, split: str) -> NDArray[np.float32]:
    sides = [halves[f"{side}_{split}"].reshape(-1, 28, 14) for side in ("left", "right")]
    return np.concatenate(sides, axis=2).reshape(-1, 784)


def _draw(
    rng: Any,
    wanted: NDArray[Any],
    classes: NDArray[Any],
    candidates: NDArray[np.bool_],
    what: str,
    *,
    repeat: bool,
) -> NDArray[np.intp]:
    """For each wanted class a row of that class; none twice, or (``repeat``) all about equally often."""
    rows = np.empty(len(wanted), dtype=np.intp)
    for digit in np.unique(wanted):
        places = np.flatnonzero(wanted == digit)
        pool = np.flatnonzero(candidates & (classes == digit))
        if not len(pool) or (not repeat and len(pool) < len(places)):
            raise ValueError(f"there are {len(pool)} {what} of the digit {digit}, {len(places)} are needed")
        rounds = -(-len(places) // len(pool))
        drawn = np.concatenate([rng.permutation(pool) for _ in range(rounds)])
        rows[places] = drawn[: len(places)]
    return rows


def make_incongruent_pairs(
    audio_target: ArrayLike,
    image_target: ArrayLike,
    pairs: Sequence[tuple[Any, Any]] | None = None,
    *,
    n_pairs: int = 100,
    random_state: Any = None,
) -> Bunch:
    """Rows to hear one class and see another, as in the experiment of McGurk and MacDonald.

    Parameters
    ----------
    audio_target, image_target : array_like of shape (n,) and (m,)
        Classes of the rows of both modalities; they need not be paired.
    pairs : sequence of (audio class, image class), optional
        Which combinations; those of equal classes are allowed, for comparison. Default: all of different
        classes that both modalities have.
    n_pairs : int, default=100
        Rows for each combination, drawn with replacement.
    random_state : int, numpy.random.RandomState or None
        Seed or generator, as in scikit-learn.

    Returns
    -------
    sklearn.utils.Bunch
        ``audio``, ``image``: (len(pairs) · n_pairs,) indices of rows; ``audio_target``, ``image_target``:
        their classes; combination after combination.

    Raises
    ------
    ValueError
        For a class that a modality does not have, targets that are not 1-d or, without ``pairs``, have fewer
        than two classes in common, ``pairs`` of anything but two classes, ``n_pairs`` below 1 or not whole.

    References
    ----------
    H. McGurk and J. MacDonald, "Hearing lips and seeing voices", Nature, 1976.

    Examples
    --------
    >>> from fastcca.datasets import make_incongruent_pairs
    >>> rows = make_incongruent_pairs([3, 3, 5], [5, 3], [(3, 5)], n_pairs=4, random_state=0)
    >>> rows.audio.tolist(), rows.image.tolist()
    ([0, 1, 1, 0], [0, 0, 0, 0])
    """
    heard, seen = np.asarray(audio_target), np.asarray(image_target)
    for name, classes in (("audio_target", heard), ("image_target", seen)):
        if classes.ndim != 1:
            raise ValueError(f"{name} must be 1-d, got shape {classes.shape}")
    integer(1)("n_pairs", n_pairs)
    if pairs is None:
        common = np.intersect1d(heard, seen)
        if len(common) < 2:
            raise ValueError(
                "audio_target and image_target must have at least 2 classes in common, or pairs be given; "
                f"they have {len(common)}"
            )
        pairs = [(a, b) for a in common for b in common if a != b]
    for combination in pairs:
        if isinstance(combination, str) or not isinstance(combination, Sized) or len(combination) != 2:
            raise ValueError(f"pairs must hold combinations of two classes, got {combination!r}")
    rng = check_random_state(random_state)
    audio: list[NDArray[np.intp]] = []
    image: list[NDArray[np.intp]] = []
    for a, b in pairs:
        for name, classes, wanted, rows in (("audio", heard, a, audio), ("image", seen, b, image)):
            pool = np.flatnonzero(classes == wanted)
            if not len(pool):
                raise ValueError(f"{name}_target has no row of class {wanted!r}")
            rows.append(rng.choice(pool, n_pairs))
    if not audio:
        raise ValueError("pairs must hold at least one combination, got none")
    sounds, pictures = np.concatenate(audio), np.concatenate(image)
    return Bunch(audio=sounds, image=pictures, audio_target=heard[sounds], image_target=seen[pictures])
