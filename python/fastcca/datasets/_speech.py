"""Spoken digits, and sound as rows of features."""

import io
import os
import re
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct, rfft
from scipy.io import wavfile
from sklearn.utils import Bunch, check_random_state

from fastcca.datasets._docs import documented
from fastcca.datasets._home import HOME_HINT, get_data_home
from fastcca.datasets._sources import hint

__all__ = ["add_noise", "check_snr", "load_spoken_digits", "speech_features"]

_WHAT = "Free Spoken Digit Dataset"
_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")

Features = Literal["log-mel", "mfcc"]


@documented
def load_spoken_digits(
    data_home: str | os.PathLike[str] | None = None, *, features: Features | None = "log-mel"
) -> Bunch:
    """The Free Spoken Digit Dataset: 3000 recordings of the ten digits by six speakers, 50 of each.

    Read from the folder ``fsdd`` of the data home, see :func:`get_data_home`: the file
    ``fsdd_recordings.tar.gz``, else wav files named ``<digit>_<speaker>_<number>.wav`` in that folder or in
    its folder ``recordings``. Nothing is downloaded (:func:`fetch_spoken_digits` does that) and nothing is
    unpacked to the disk.

    {data_home}
    features : {"log-mel", "mfcc", None}, default="log-mel"
        Which :func:`speech_features` to compute; None for none.

    Returns
    -------
    sklearn.utils.Bunch
        ``waveforms``: list of 1-d float32 arrays in [-1, 1]; ``sample_rate``: in Hz; ``target``: (n,) the
        digit; ``speaker``: (n,) names; ``number``: (n,) of the recording of that digit by that speaker;
        ``features``: (n, 640) float32, unless left out. In the order of digit, speaker and number.

    Raises
    ------
    FileNotFoundError
        If there is neither the archive nor a recording.
    ValueError
        If the archive or a recording is damaged, or the sample rates differ.

    References
    ----------
    Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas and A. Thite, "Free spoken digit dataset",
    github.com/Jakobovski/free-spoken-digit-dataset, 2018.

    Examples
    --------
    >>> from fastcca.datasets import load_spoken_digits
    >>> load_spoken_digits().features.shape  # doctest: +SKIP
    (3000, 640)
    """
    folder = get_data_home(data_home) / "fsdd"
    found = {}
    for name, content in _recordings(folder):
        match = _NAME.fullmatch(name)
        if match:
            digit, speaker, number = match.groups()
            found[int(digit), speaker, int(number)] = _read_wav(folder / name, content)
    if not found:
        raise FileNotFoundError(
            f"{_WHAT}: neither fsdd_recordings.tar.gz nor recordings are in {folder} ({HOME_HINT})"
            f"{hint('fsdd')}"
        )
    rates = {rate for rate, _ in found.values()}
    if len(rates) > 1:
        raise ValueError(f"{folder}: the recordings have different sample rates: {sorted(rates)}")
    keys = sorted(found)
    digits, speakers, numbers = zip(*keys, strict=True)
    bunch = Bunch(
        waveforms=[found[key][1] for key in keys],
        sample_rate=rates.pop(),
        target=np.array(digits),
        speaker=np.array(speakers),
        number=np.array(numbers),
    )
    if features is not None:
        bunch.features = speech_features(bunch.waveforms, bunch.sample_rate, kind=features)
    return bunch


def _recordings(folder: Path) -> Iterator[tuple[str, bytes]]:
    """File names without folders, and contents."""
    archive = folder / "fsdd_recordings.tar.gz"
    if archive.is_file():
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.isfile() else None
                    if file is not None:
                        yield Path(member.name).name, file.read()
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{archive}: damaged archive ({error})") from error
        return
    for path in sorted([*folder.glob("*.wav"), *folder.glob("recordings/*.wav")]):
        yield path.name, path.read_bytes()


def _read_wav(path: Path, content: bytes) -> tuple[int, NDArray[np.float32]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            rate, samples = wavfile.read(io.BytesIO(content))
    except MemoryError:
        raise
    except Exception as error:  # scipy raises whatever the damaged bytes lead it to
        raise ValueError(f"{path}: damaged wav file ({error})") from error
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"{path}: expected one channel with sound, got an array of shape {samples.shape}")
    if samples.dtype.kind == "f":
        return rate, samples.astype(np.float32)
    zero = 128 if samples.dtype == np.uint8 else 0
    limit = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return rate, ((samples.astype(np.float64) - zero) / limit).astype(np.float32)


def speech_features(
    waveforms: Sequence[ArrayLike],
    sample_rate: float,
    *,
    kind: Features = "log-mel",
    n_bands: int = 32,
    n_slices: int = 20,
    n_coefficients: int = 13,
    dynamic_range: float = 30.0,
) -> NDArray[np.float32]:
    """Utterances of any length as rows of one length: their spectra in equal slices of time.

    Power spectra of windows of 25 ms, every 10 ms, are summed in ``n_bands`` triangular bands of equal
    width on the mel scale; the logarithms, averaged over ``n_slices`` slices of the utterance, make the row,
    slice after slice. The mean over time of each band is subtracted: it depends on the microphone and
    the voice rather than the word.

    Parameters
    ----------
    waveforms : sequence of 1-d array_like
        Sound pressures; their loudness does not matter.
    sample_rate : float
        Samples a second.
    kind : {"log-mel", "mfcc"}, default="log-mel"
        "mfcc": the first ``n_coefficients`` of the cosine transform of each slice's logarithms.
    n_bands, n_slices, n_coefficients : int
        See above.
    dynamic_range : float, default=30.0
        What is more than this many decibels below the loudest band of the utterance counts as that: the level
        of silence, and of noise, does not rule the features.

    Returns
    -------
    ndarray of shape (n, n_slices · n_bands), or (n, n_slices · n_coefficients) for "mfcc"
        float32.

    Raises
    ------
    ValueError
        For arguments out of range, an empty waveform, NaN or infinity.

    References
    ----------
    S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition in continuously spoken sentences", IEEE Transactions on Acoustics, Speech and Signal
    Processing, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.datasets import speech_features
    >>> time = np.arange(4000) / 8000
    >>> low_then_high = np.sin(2 * np.pi * np.where(time < 0.25, 300, 3000) * time)
    >>> bands = speech_features([low_then_high], 8000, n_slices=2)[0].reshape(2, 32)
    >>> int(bands[0].argmax()) < int(bands[1].argmax())
    True
    """
    # Short code over scipy.fft: librosa brings numba and a dozen packages for these forty lines, torchaudio
    # would tie reading data to PyTorch, and python_speech_features is no longer maintained.
    if kind not in ("log-mel", "mfcc"):
        raise ValueError(f"kind must be 'log-mel' or 'mfcc', got {kind!r}")
    positive = all(0 < value < np.inf for value in (sample_rate, dynamic_range))  # NaN is not
    if min(n_bands, n_slices, n_coefficients) < 1 or not positive:
        raise ValueError(
            "sample_rate, n_bands, n_slices, n_coefficients and dynamic_range must be positive and finite"
        )
    if kind == "mfcc" and n_coefficients > n_bands:
        raise ValueError(f"n_coefficients={n_coefficients} is more than n_bands={n_bands}")
    if len(waveforms) == 0:
        raise ValueError("waveforms must hold at least one waveform")
    window = max(2, round(0.025 * sample_rate))
    size = 2 ** int(np.ceil(np.log2(window)))
    bands = _mel_bands(n_bands, size, sample_rate)
    rows = []
    for i, waveform in enumerate(waveforms):
        signal = _in_unit_range(_signal(i, waveform))[0]
        hop = max(1, round(0.01 * sample_rate))
        slices = _slices(_log_mel(signal, window, hop, size, bands, dynamic_range), n_slices)
        if kind == "mfcc":
            slices = dct(slices, norm="ortho")[:, :n_coefficients]
        rows.append((slices - slices.mean(axis=0)).ravel())
    return np.array(rows, dtype=np.float32).reshape(len(rows), -1)


def _signal(i: int, waveform: ArrayLike) -> NDArray[np.float64]:
    signal = np.asarray(waveform, dtype=np.float64)
    if signal.ndim != 1 or not len(signal) or not np.isfinite(signal).all():
        raise ValueError(f"waveform {i} must be 1-d, not empty and finite, got shape {signal.shape}")
    return signal


def _in_unit_range(signal: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The waveform below 1, where no power overflows or vanishes, and the power of 2 it was divided by."""
    exponent = int(np.frexp(np.abs(signal).max())[1])
    return np.ldexp(signal, -exponent), exponent


def _log_mel(
    signal: NDArray[np.float64],
    window: int,
    hop: int,
    size: int,
    bands: NDArray[np.float64],
    dynamic_range: float,
) -> NDArray[np.float64]:
    signal = np.pad(signal, (0, max(0, window - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, window)[::hop] * np.hanning(window)
    power = np.abs(rfft(frames, size)) ** 2
    energy = power @ bands
    floor = max(energy.max() / 10 ** (dynamic_range / 10), np.finfo(float).tiny)
    logarithm: NDArray[np.float64] = np.log(np.maximum(energy, floor))
    return logarithm


def _mel_bands(n_bands: int, size: int, sample_rate: float) -> NDArray[np.float64]:
    """(size // 2 + 1, n_bands): triangles with equidistant corners in mel(f) = 2595 log10(1 + f / 700)."""
    highest = 2595 * np.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, n_bands + 2) / 2595) - 1)
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    f = np.linspace(0, sample_rate / 2, size // 2 + 1)[:, np.newaxis]
    triangles = np.minimum((f - low) / (peak - low), (high - f) / (high - peak)).clip(0)
    # Bands between two frequencies of the transform take the nearest of them.
    empty = triangles.sum(axis=0) == 0
    triangles[np.abs(f - peak[empty]).argmin(axis=0), empty] = 1.0
    return triangles


def _slices(frames: NDArray[np.float64], n_slices: int) -> NDArray[np.float64]:
    """Means over equal slices of time; a frame that lies in two counts in each by its share."""
    n = len(frames)
    edges = np.linspace(0, n, n_slices + 1)
    total = np.vstack([np.zeros(frames.shape[1]), np.cumsum(frames, axis=0)])
    whole = np.minimum(edges.astype(int), n - 1)
    # The integral of the step function of the frames up to each edge.
    integral = total[whole] + (edges - whole)[:, np.newaxis] * frames[whole]
    slices: NDArray[np.float64] = np.diff(integral, axis=0) / (n / n_slices)
    return slices


def add_noise(
    waveforms: Sequence[ArrayLike], snr: float = 0.0, *, random_state: Any = None
) -> list[NDArray[np.float32]]:
    """White Gaussian noise at a given signal-to-noise ratio, added to each waveform.

    Parameters
    ----------
    waveforms : sequence of 1-d array_like
        Sound pressures.
    snr : float, default=0.0
        Power of the waveform over that of the noise, in decibels: at 0 both are equal.
    random_state : int, numpy.random.RandomState or None
        Seed or generator, as in scikit-learn.

    Returns
    -------
    list of ndarray
        float32, as long as the waveforms.

    Raises
    ------
    ValueError
        For a ratio that is no finite number, one at which the noise is beyond float32, a waveform that is
        not 1-d, an empty one, NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.datasets import add_noise
    >>> tone = np.sin(np.arange(8000))
    >>> noise = add_noise([tone], snr=20, random_state=0)[0] - tone
    >>> round(float(10 * np.log10(np.mean(tone**2) / np.mean(noise**2))), 3)
    20.0
    """
    check_snr(snr)
    rng = check_random_state(random_state)
    noisy = []
    for i, waveform in enumerate(waveforms):
        signal = _signal(i, waveform)
        noise = rng.standard_normal(signal.shape)
        unit, exponent = _in_unit_range(signal)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            # exactly the ratio asked for, not on average: both powers are those of this very utterance
            noise *= np.sqrt(np.mean(unit**2) / np.mean(noise**2)) * np.float64(10) ** (-snr / 20)
            both = np.ldexp(unit + noise, exponent).astype(np.float32)
        if not np.isfinite(both).all():
            raise ValueError(f"waveform {i} with noise at snr={snr!r} is beyond the range of float32")
        noisy.append(both)
    return noisy


def check_snr(snr: Any) -> None:
    if not isinstance(snr, Real) or isinstance(snr, bool):
        raise ValueError(f"snr must be a number of decibels, got {snr!r}")
    if not np.isfinite(float(snr)):
        raise ValueError(f"snr must be finite, got {snr!r}")
