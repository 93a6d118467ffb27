"""Spoken digits, sound features, noise, pairs: on small files and on the real ones."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import get_window

from fastcca import datasets
from fastcca.datasets import add_noise, make_audio_visual_digits, make_incongruent_pairs, speech_features

RATE = 8000
SPEAKERS = ("anna", "bert", "carl", "dora")


def tone(digit, speaker, number):
    """A word of its own frequency for each digit, length and loudness differ."""
    rng = np.random.default_rng([digit, SPEAKERS.index(speaker), number])
    time = np.arange(1200 + 200 * number) / RATE
    return (0.2 + 0.1 * number) * np.sin(2 * np.pi * (250 + 350 * digit) * time) + 0.01 * rng.normal(
        size=len(time)
    )


def wav_bytes(samples, rate=RATE):
    buffer = io.BytesIO()
    wavfile.write(buffer, rate, samples)
    return buffer.getvalue()


@pytest.fixture
def home(tmp_path):
    """A data home with 4 speakers × 10 digits × 2 recordings and 60 + 40 images whose pixels tell which."""
    names = [(d, s, n) for s in SPEAKERS for d in range(10) for n in range(2)]
    folder = tmp_path / "fsdd"
    folder.mkdir()
    with tarfile.open(folder / "fsdd_recordings.tar.gz", "w:gz") as tar:
        for d, s, n in reversed(names):
            content = wav_bytes((tone(d, s, n) * 32767).astype(np.int16))
            member = tarfile.TarInfo(f"recordings/{d}_{s}_{n}.wav")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        tar.addfile(tarfile.TarInfo("recordings/notes.txt"))
    mnist = tmp_path / "mnist"
    mnist.mkdir()
    for prefix, n in (("train", 60), ("t10k", 40)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = np.zeros((n, 28, 28), np.uint8)
        images[:, 0, 0] = np.arange(n)
        images[:, 27, 27] = labels
        for name, a in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape)
            (mnist / f"{name}.gz").write_bytes(gzip.compress(header + a.tobytes()))
    return tmp_path


def test_recordings_come_in_order_from_archive_and_folder(home):
    spoken = datasets.load_spoken_digits(home)
    assert spoken.sample_rate == RATE
    assert spoken.features.shape == (80, 640)
    assert spoken.features.dtype == np.float32
    keys = list(zip(spoken.target, spoken.speaker, spoken.number, strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == 80
    for i in (0, 13, 79):
        np.testing.assert_allclose(spoken.waveforms[i], tone(*keys[i]), atol=1e-4)
    # an unpacked folder, either way, reads the same
    with tarfile.open(home / "fsdd" / "fsdd_recordings.tar.gz") as tar:
        contents = {m.name.split("/")[1]: tar.extractfile(m).read() for m in tar if m.name.endswith(".wav")}
    for inside in ("fsdd", "fsdd/recordings"):
        other = home / inside.replace("/", "_") / "home"
        (other / inside).mkdir(parents=True)
        for name, content in contents.items():
            (other / inside / name).write_bytes(content)
        again = datasets.load_spoken_digits(other, features=None)
        assert "features" not in again
        np.testing.assert_array_equal(again.target, spoken.target)
        np.testing.assert_array_equal(again.waveforms[7], spoken.waveforms[7])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.uint8, 1e-2), (np.int16, 1e-4), (np.int32, 1e-7), (np.float32, 1e-7)]
)
def test_sample_formats_agree(home, dtype, tolerance):
    sound = tone(3, "anna", 1)
    if np.dtype(dtype).kind == "f":
        samples = sound.astype(dtype)
    elif dtype is np.uint8:
        samples = np.round(sound * 127 + 128).astype(np.uint8)
    else:
        samples = np.round(sound * np.iinfo(dtype).max).astype(dtype)
    (home / "fsdd" / "fsdd_recordings.tar.gz").unlink()
    (home / "fsdd" / "3_anna_1.wav").write_bytes(wav_bytes(samples))
    spoken = datasets.load_spoken_digits(home, features=None)
    np.testing.assert_allclose(spoken.waveforms[0], sound, atol=tolerance)


def test_missing_and_damaged_recordings_are_named(home, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Free Spoken Digit Dataset: neither .* FASTCCA_DATA"):
        datasets.load_spoken_digits(tmp_path / "nowhere")
    archive = home / "fsdd" / "fsdd_recordings.tar.gz"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"fsdd_recordings\.tar\.gz: damaged archive"):
        datasets.load_spoken_digits(home)
    archive.unlink()
    wav = home / "fsdd" / "4_bert_0.wav"
    wav.write_bytes(b"RIFF nothing")
    with pytest.raises(ValueError, match=r"4_bert_0\.wav: damaged wav file"):
        datasets.load_spoken_digits(home)
    wav.write_bytes(wav_bytes(np.zeros((50, 2), np.int16)))
    with pytest.raises(ValueError, match=r"expected one channel with sound, got .* \(50, 2\)"):
        datasets.load_spoken_digits(home)
    wav.write_bytes(wav_bytes(np.ones(50, np.int16)))
    (home / "fsdd" / "5_bert_0.wav").write_bytes(wav_bytes(np.ones(50, np.int16), 16000))
    with pytest.raises(ValueError, match=r"different sample rates: \[8000, 16000\]"):
        datasets.load_spoken_digits(home)


def test_a_lack_of_memory_is_not_called_damage(home, monkeypatch):
    def no_memory(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(wavfile, "read", no_memory)
    with pytest.raises(MemoryError):
        datasets.load_spoken_digits(home)


# ---- features ----------------------------------------------------------------------------------------


def reference_log_mel(signal, rate, n_bands, n_slices):
    """Frame by frame, band by band, and slices by sampling the frames' step function finely."""
    window, hop = round(0.025 * rate), round(0.01 * rate)
    size = 1
    while size < window:
        size *= 2
    padded = np.pad(signal, (0, max(0, window - len(signal))))

    def hertz(mel):
        return 700 * (10 ** (mel / 2595) - 1)

    top = 2595 * np.log10(1 + rate / 2 / 700)
    frames = []
    for start in range(0, len(padded) - window + 1, hop):
        block = padded[start : start + window] * get_window("hann", window, fftbins=False)
        power = np.abs(np.fft.rfft(block, size)) ** 2
        energies = []
        for band in range(n_bands):
            low, peak, high = (hertz(top * (band + i) / (n_bands + 1)) for i in range(3))
            f = np.arange(size // 2 + 1) * rate / size
            weight = np.interp(f, [low, peak, high], [0, 1, 0], left=0, right=0)
            if not weight.any():
                weight[np.abs(f - peak).argmin()] = 1
            energies.append(power @ weight)
        frames.append(energies)
    energy = np.array(frames)
    logs = np.log(np.maximum(energy, 1e-3 * energy.max()))
    fine = 5040
    places = (np.arange(n_slices * fine) + 0.5) * len(logs) / (n_slices * fine)
    steps = logs[places.astype(int)]
    slices = steps.reshape(n_slices, fine, n_bands).mean(axis=1)
    return slices - slices.mean(axis=0)


@pytest.mark.parametrize(
    ("length", "n_bands", "n_slices"), [(3000, 32, 20), (90, 32, 20), (5117, 7, 3), (801, 60, 1)]
)
def test_log_mel_against_the_obvious_way(length, n_bands, n_slices):
    signal = np.random.default_rng(length).normal(size=length).cumsum()
    found = speech_features([signal], RATE, n_bands=n_bands, n_slices=n_slices)[0].reshape(n_slices, n_bands)
    np.testing.assert_allclose(found, reference_log_mel(signal, RATE, n_bands, n_slices), atol=2e-3)
    doubled = speech_features([2 * signal], RATE, n_bands=n_bands, n_slices=n_slices)[0]
    np.testing.assert_allclose(doubled, found.ravel(), atol=1e-5)


def test_mfcc_is_the_cosine_transform_of_each_slice():
    signals = [tone(d, "carl", 1) for d in (1, 8)]
    logs = speech_features(signals, RATE, n_bands=12, n_slices=4).reshape(2, 4, 12).astype(float)
    k, j = np.arange(5)[:, None], np.arange(12)
    basis = np.cos(np.pi * k * (2 * j + 1) / 24) * np.sqrt(np.where(k == 0, 1, 2) / 12)
    found = speech_features(signals, RATE, kind="mfcc", n_bands=12, n_slices=4, n_coefficients=5)
    np.testing.assert_allclose(found.reshape(2, 4, 5), logs @ basis.T, atol=1e-4)


def test_bad_sound_is_named():
    with pytest.raises(ValueError, match="kind must be 'log-mel' or 'mfcc', got 'plp'"):
        speech_features([[1.0]], RATE, kind="plp")
    with pytest.raises(ValueError, match="must be positive"):
        speech_features([[1.0]], 0)
    for wrong in ({"dynamic_range": np.nan}, {"dynamic_range": np.inf}, {"sample_rate": np.nan}):
        with pytest.raises(ValueError, match="dynamic_range must be positive and finite"):
            speech_features([[1.0]], **{"sample_rate": RATE, **wrong})
    with pytest.raises(ValueError, match="n_coefficients=13 is more than n_bands=5"):
        speech_features([[1.0]], RATE, kind="mfcc", n_bands=5)
    for wrong in ([], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="waveform 1 must be 1-d, not empty and finite"):
            speech_features([[1.0, 2.0], wrong], RATE)
    silence = speech_features([np.zeros(100)], RATE)
    np.testing.assert_allclose(silence, np.zeros((1, 640)), atol=1e-9)


@pytest.mark.parametrize("snr", [-10.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(snr):
    waves = [tone(1, "anna", 0), 0.01 * tone(2, "bert", 1)]
    noisy = add_noise(waves, snr, random_state=3)
    for clean, both in zip(waves, noisy, strict=True):
        noise = both - clean
        assert 10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) == pytest.approx(snr, abs=1e-3)
        # white: as much below as above half the highest frequency
        power = np.abs(np.fft.rfft(noise)) ** 2
        half = len(power) // 2
        assert 0.7 < power[:half].sum() / power[half:].sum() < 1.4
    again = add_noise(waves, snr, random_state=3)
    np.testing.assert_array_equal(noisy[1], again[1])
    with pytest.raises(ValueError, match="snr must be finite, got nan"):
        add_noise(waves, np.nan)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e160, 1e300])
def test_features_do_not_depend_on_the_loudness(scale):
    wave = tone(4, "anna", 1)
    np.testing.assert_allclose(
        speech_features([scale * wave], RATE), speech_features([wave], RATE), atol=1e-5
    )


def test_noise_is_added_at_every_loudness_that_float32_holds():
    wave = tone(1, "anna", 0)
    expected = add_noise([wave], 3.0, random_state=0)[0]
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(
            add_noise([scale * wave], 3.0, random_state=0)[0], scale * expected, rtol=1e-5
        )
    np.testing.assert_array_equal(add_noise([np.zeros(5)], 0.0, random_state=0)[0], np.zeros(5))
    np.testing.assert_array_equal(add_noise([wave], 1e6, random_state=0)[0], wave.astype(np.float32))
    with pytest.raises(ValueError, match="waveform 1 with noise at snr=-1000 is beyond the range of float32"):
        add_noise([np.zeros(5), wave], -1000)
    with pytest.raises(ValueError, match="waveform 0 with noise at snr=-1000000"):
        add_noise([wave], -1_000_000)


# ---- pairs -------------------------------------------------------------------------------------------


def make(home, **options):
    return make_audio_visual_digits(
        40, 20, 20, test_speakers=["dora"], validation_speakers=["carl"], data_home=home, **options
    )


def test_pairs_are_of_one_class_and_the_splits_share_nothing(home):
    digits = make(home, random_state=0)
    which = {}
    for split, n in (("train", 40), ("validation", 20), ("test", 20)):
        target, image = digits[f"target_{split}"], digits[f"image_{split}"]
        assert digits[f"audio_{split}"].shape == (n, 640)
        np.testing.assert_array_equal(np.bincount(target), [n // 10] * 10)
        np.testing.assert_allclose(image[:, -1] * 255, target, atol=1e-4)  # the image's own label
        which[split] = np.round(image[:, 0] * 255).astype(int)
        assert len(set(which[split])) == n  # none twice
    assert set(which["train"]).isdisjoint(which["validation"])
    assert set(digits.speaker_train) == {"anna", "bert"}
    assert set(digits.speaker_validation) == {"carl"}
    assert set(digits.speaker_test) == {"dora"}
    spoken = datasets.load_spoken_digits(home)
    known = {
        row.tobytes(): (d, s)
        for row, d, s in zip(spoken.features, spoken.target, spoken.speaker, strict=True)
    }
    for split in ("train", "validation", "test"):
        found = [known[row.tobytes()] for row in digits[f"audio_{split}"]]
        assert found == list(zip(digits[f"target_{split}"], digits[f"speaker_{split}"], strict=True))
    # every recording of the training speakers serves once
    assert len({row.tobytes() for row in digits.audio_train}) == 40


def test_the_dynamic_range_is_that_of_the_features(home):
    wide, narrow = (make(home, random_state=0, snr=0.0, dynamic_range=d) for d in (30.0, 8.0))
    spoken = datasets.load_spoken_digits(home, features=None)
    features = speech_features(spoken.waveforms, RATE, dynamic_range=8.0)
    assert {row.tobytes() for row in narrow.audio_train} <= {row.tobytes() for row in features}
    for name in ("audio_test", "noisy_test"):
        assert np.ptp(narrow[name]) < np.ptp(wide[name])
    np.testing.assert_array_equal(make(home, random_state=0, snr=0.0).audio_train, wide.audio_train)


def test_the_seed_decides_and_noise_is_that_of_the_recordings(home):
    one, two, other = make(home, random_state=1), make(home, random_state=1), make(home, random_state=2)
    np.testing.assert_array_equal(one.image_train, two.image_train)
    assert not np.array_equal(one.image_train, other.image_train)
    assert "noisy_test" not in one
    faint, loud = make(home, random_state=1, snr=60.0), make(home, random_state=1, snr=0.0)
    np.testing.assert_array_equal(faint.audio_test.shape, faint.noisy_test.shape)
    distance = [np.abs(d.noisy_test - d.audio_test).mean() for d in (faint, loud)]
    assert 0 < distance[0] < 0.3 * distance[1]


def test_impossible_splits_are_named(home):
    options = {"data_home": home, "random_state": 0}
    with pytest.raises(ValueError, match=r"no speaker 'emil', only anna, bert, carl, dora"):
        make_audio_visual_digits(10, 10, 10, test_speakers=["emil"], validation_speakers=["carl"], **options)
    with pytest.raises(ValueError, match="in both test_speakers and validation_speakers"):
        make_audio_visual_digits(10, 10, 10, test_speakers=["carl"], validation_speakers=["carl"], **options)
    with pytest.raises(ValueError, match=r"there are 4 images for test of the digit 0, 5 are needed"):
        make_audio_visual_digits(10, 0, 50, test_speakers=["dora"], validation_speakers=["carl"], **options)
    with pytest.raises(ValueError, match=r"there are 0 recordings for train of the digit 0"):
        make_audio_visual_digits(10, 0, 10, test_speakers=SPEAKERS, validation_speakers=[], **options)


def test_arguments_of_the_pairing_are_named(home):
    def bad(match, **options):
        given = {"test_speakers": ["dora"], "validation_speakers": ["carl"], "data_home": home, **options}
        with pytest.raises(ValueError, match=match):
            make_audio_visual_digits(**{"n_train": 10, "n_validation": 0, "n_test": 10, **given})

    bad("n_train must be an integer >= 0, got -10", n_train=-10)
    bad(r"n_test must be an integer >= 0, got 2\.5", n_test=2.5)
    bad("n_validation must be an integer >= 0, got '5'", n_validation="5")
    bad("snr must be a number of decibels, got 'x'", snr="x")
    bad("snr must be finite, got inf", snr=np.inf)
    bad(r"test_speakers must be a name or a sequence of names, got \[1\]", test_speakers=[1])
    bad("validation_speakers must be a name or a sequence of names, got None", validation_speakers=None)
    bad("no speaker 'emil', only anna", test_speakers="emil")
    with pytest.raises(ValueError, match="snr must be a number of decibels, got None"):
        add_noise([[1.0, 2.0]], None)


def test_one_speaker_needs_no_list(home):
    digits = make_audio_visual_digits(
        10, 10, 10, test_speakers="dora", validation_speakers="carl", data_home=home, random_state=0
    )
    assert set(digits.speaker_test) == {"dora"}
    assert set(digits.speaker_validation) == {"carl"}
    assert set(digits.speaker_train) == {"anna", "bert"}


def test_incongruent_pairs():
    heard, seen = np.array([0, 1, 2, 0, 1, 2]), np.array([2, 2, 1, 0])
    rows = make_incongruent_pairs(heard, seen, n_pairs=50, random_state=0)
    combinations = list(zip(rows.audio_target, rows.image_target, strict=True))
    assert sorted(set(combinations)) == [(a, b) for a in range(3) for b in range(3) if a != b]
    assert len(combinations) == 6 * 50
    np.testing.assert_array_equal(heard[rows.audio], rows.audio_target)
    np.testing.assert_array_equal(seen[rows.image], rows.image_target)
    assert set(rows.audio[rows.audio_target == 0]) == {0, 3}  # all recordings of a class serve
    few = make_incongruent_pairs(heard, seen, [(1, 1), (2, 0)], n_pairs=3, random_state=0)
    assert few.audio_target.tolist() == [1, 1, 1, 2, 2, 2]
    assert few.image_target.tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="image_target has no row of class 7"):
        make_incongruent_pairs(heard, seen, [(1, 7)])
    for wrong in (0, 2.5, "3"):
        with pytest.raises(ValueError, match=f"n_pairs must be an integer >= 1, got {wrong!r}"):
            make_incongruent_pairs(heard, seen, n_pairs=wrong)
    for wrong in ((1, 2, 0), "12", 1):
        with pytest.raises(ValueError, match="pairs must hold combinations of two classes, got "):
            make_incongruent_pairs(heard, seen, [(0, 1), wrong])
    with pytest.raises(ValueError, match=r"audio_target must be 1-d, got shape \(6, 1\)"):
        make_incongruent_pairs(heard[:, np.newaxis], seen)
    with pytest.raises(ValueError, match=r"image_target must be 1-d, got shape \(\)"):
        make_incongruent_pairs(heard, 1)
    with pytest.raises(
        ValueError, match=r"audio_target and image_target must have at least 2 .* they have 1"
    ):
        make_incongruent_pairs(heard, [1, 7, 1])
    with pytest.raises(ValueError, match="at least one combination"):
        make_incongruent_pairs(heard, seen, [])


def test_the_real_spoken_digits(data_home):
    if not (data_home / "fsdd").is_dir():
        pytest.skip("no fsdd in the data home")
    spoken = datasets.load_spoken_digits(data_home)
    assert spoken.features.shape == (3000, 640)
    np.testing.assert_array_equal(np.bincount(spoken.target), [300] * 10)
    assert sorted(set(spoken.speaker)) == ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]
    # A nearest mean knows the digits of one voice from other recordings of it, well above chance.
    voice = spoken.speaker == "jackson"
    X, y, first = spoken.features[voice], spoken.target[voice], spoken.number[voice] < 25
    means = np.array([X[first & (y == d)].mean(0) for d in range(10)])
    guess = np.square(X[~first][:, None] - means).sum(-1).argmin(1)
    assert np.mean(guess == y[~first]) > 0.9


def test_noise_and_features_refuse_what_is_no_waveform():
    with pytest.raises(ValueError, match="waveforms must hold at least one"):
        speech_features([], 8000)
    for wrong in ([np.array([1.0, np.nan])], [[]], np.ones(5)):
        with pytest.raises(ValueError, match="waveform 0 must be 1-d, not empty and finite"):
            add_noise(wrong)
    assert speech_features([np.ones(30)], 20).shape == (1, 640)
