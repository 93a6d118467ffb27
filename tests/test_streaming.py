"""Streams: the moments of all rows from any source, passes that are killed, errors that name the place."""

import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import reduce
from operator import add

import numpy as np
import pytest

from fastcca import CCA, Moments, NumericalError
from fastcca.streaming import Chunks, moments, prefetch, read

N, ROWS = 1000, 130


@pytest.fixture
def views(rng):
    X = rng.standard_normal((N, 5)) + 100
    return X, X[:, :3] + rng.standard_normal((N, 3))


def by_hand(*views, rows=ROWS, **options):
    """The sum over runs of rows, with nothing of the module under test."""
    starts = range(0, len(views[0]), rows)
    return reduce(add, (Moments().update(*(v[i : i + rows] for v in views), **options) for i in starts))


def assert_same(got, want):
    assert (got.n, got.dims) == (want.n, want.dims)
    for part in ("shift", "offset", "scatter", "eps", "rounding"):
        assert np.array_equal(getattr(got, part), getattr(want, part)), part


def npy(folder, X, Y):
    np.save(folder / "X.npy", X)
    np.save(folder / "Y.npy", Y)
    return folder / "X.npy", str(folder / "Y.npy")


def npy_by_columns(folder, X, Y):
    np.save(folder / "X.npy", np.asfortranarray(X))
    np.save(folder / "Y.npy", Y)
    return folder / "X.npy", folder / "Y.npy"


def npz(folder, X, Y):
    np.savez(folder / "both.npz", X=X, Y=Y)
    np.savez_compressed(folder / "one.npz", Y)
    return f"{folder}/both.npz:X", folder / "one.npz"


def npz_by_columns(folder, X, Y):
    np.savez(folder / "both.npz", X=np.asfortranarray(X), Y=Y)
    return f"{folder}/both.npz:X", f"{folder}/both.npz:Y"


def hdf5(folder, X, Y):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "both.h5", "w") as file:
        file["x"], file["group/y"] = X, Y
        file["group/text"] = "x and y"
    with h5py.File(folder / "one.hdf5", "w") as file:
        file.create_dataset("y", data=Y, chunks=(100, Y.shape[1]), compression="gzip")
    return f"{folder}/both.h5:x", folder / "one.hdf5"


def zarr(folder, X, Y):
    store = pytest.importorskip("zarr")
    store.save_array(str(folder / "x.zarr"), X)
    store.save_group(str(folder / "both.zarr"), x=X, y=Y)
    return folder / "x.zarr", f"{folder}/both.zarr:y"


def maps(folder, X, Y):
    paths = npy(folder, X, Y)
    return np.load(paths[0], mmap_mode="r")[::1], np.load(paths[1], mmap_mode="r")


def arrays(folder, X, Y):
    return X, np.asfortranarray(Y)


class Sliced:
    """What data sets of h5py and zarr offer."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.values[rows].copy()


def sliced(folder, X, Y):
    return Sliced(X), Sliced(Y)


SOURCES = [npy, npy_by_columns, npz, npz_by_columns, hdf5, zarr, maps, arrays, sliced]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f8"])
@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_files_and_arrays(tmp_path, views, source, dtype, ahead):
    X, Y = (view.astype(dtype) for view in views)
    chunks = read(*source(tmp_path, X, Y), rows=ROWS, ahead=ahead)
    assert (len(chunks), chunks.n_rows) == (8, N)
    native = X.astype(X.dtype.newbyteorder("=")), Y.astype(Y.dtype.newbyteorder("="))
    for _ in range(2):  # a second pass gives the same
        assert_same(moments(chunks), by_hand(*native))
    if dtype == np.float32:
        assert_same(moments(chunks, dtype=np.float64), by_hand(X, Y, dtype=np.float64))
    tail = list(chunks.starting_at(6))
    assert np.array_equal(np.concatenate([x for x, _ in tail]), X[6 * ROWS :])


def test_the_default_chunks_hold_some_megabytes():
    table = np.lib.stride_tricks.as_strided(np.zeros(1), (10**7, 64), (0, 0))
    assert len(read(table, table)) == -(-(10**7) // (2**24 // 1024))
    wide = np.lib.stride_tricks.as_strided(np.zeros(1), (10**4, 10**6), (0, 0))
    assert read(wide).rows == 1024
    wide = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (10**5, 8000), (0, 0))
    assert read(wide).rows == 4000


def test_parquet_and_arrow(tmp_path, views):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.dataset
    import pyarrow.feather
    import pyarrow.parquet

    X, Y = views
    table = pa.table({f"c{i}": column for i, column in enumerate(np.hstack([X, Y]).T)})
    table = table.append_column("name", pa.array(["x"] * N))
    names = [[f"c{i}" for i in range(5)], [f"c{i}" for i in range(5, 8)]]
    pyarrow.parquet.write_table(table, tmp_path / "all.parquet", row_group_size=77)
    pyarrow.feather.write_feather(table.select(names[0]), str(tmp_path / "X.feather"))
    pyarrow.dataset.write_dataset(
        table.select(names[1]),
        tmp_path / "Y",
        format="parquet",
        max_rows_per_file=300,
        max_rows_per_group=300,
    )
    want = by_hand(X, Y)
    dataset = pyarrow.dataset.dataset(tmp_path / "all.parquet")
    for source in (tmp_path / "all.parquet", dataset, table):
        assert_same(moments(read(source, columns=names, rows=ROWS)), want)
    assert_same(moments(read(tmp_path / "X.feather", tmp_path / "Y", rows=ROWS)), want)
    tail = list(read(dataset, columns=names, rows=ROWS).starting_at(7))
    assert np.array_equal(tail[0][1], Y[7 * ROWS :])
    with pytest.raises(ValueError, match=r"all\.parquet: column 'name' holds string, expected numbers"):
        read(tmp_path / "all.parquet")
    with pytest.raises(ValueError, match="there is no column 'z'"):
        read(table, columns=[["z"], ["c1"]])
    with pytest.raises(ValueError, match="a list of names for each view"):
        read(table, columns=["c1", "c2"])
    with pytest.raises(ValueError, match="columns are for Parquet and Arrow"):
        read(X, columns=[["c1"]])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" * 10)
    with pytest.raises(ValueError, match=r"bad\.parquet: not a data set of pyarrow, or damaged"):
        read(tmp_path / "bad.parquet")
    holes = pa.table({"a": pa.array([1.0, None, 3.0]), "b": pa.array([1, 2, 3])})
    with pytest.raises(ValueError, match="X contains NaN: the first is at row 1, column 0"):
        moments(read(holes, columns=[["a"], ["b"]]))


def test_iterators_of_tuples_lists_and_dicts(views):
    X, Y = views
    want = by_hand(X, Y)
    starts = range(0, N, ROWS)
    pairs = [(X[i : i + ROWS], Y[i : i + ROWS]) for i in starts]
    assert_same(moments(iter(pairs)), want)
    assert_same(moments(prefetch([list(pair) for pair in pairs], 2)), want)
    turned = [{"image": x, "text": y} if k % 2 else {"text": y, "image": x} for k, (x, y) in enumerate(pairs)]
    assert_same(moments(turned[1:] + turned[:1]), moments(pairs[1:] + pairs[:1]))
    assert_same(moments([pairs[0], (X[:0], Y[:0]), *pairs[1:]]), want)  # a chunk without rows
    three = moments((x, y, y[:, 0]) for x, y in pairs)
    assert three.dims == (5, 3, 1)
    weights = np.arange(N) % 4
    weighted = moments(
        ((*pair, weights[i : i + ROWS]) for pair, i in zip(pairs, starts, strict=True)), weighted=True
    )
    np.testing.assert_allclose(
        weighted.scatter, Moments().update(X, Y, sample_weight=weights).scatter, rtol=0, atol=1e-9
    )
    assert_same(weighted, moments(read(X, Y, weights, rows=ROWS), weighted=True))


def test_a_loader_of_pytorch(views):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.utils.data import DataLoader, TensorDataset

    X, Y = views
    loader = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=ROWS)
    assert_same(moments(loader), by_hand(X, Y))


def test_progress(capfd, views):
    moments(read(*views, rows=ROWS), progress=True)
    shown = capfd.readouterr().err
    assert "rows/s" in shown
    assert "1.00k/1.00k" in shown
    moments(read(*views, rows=ROWS))
    assert capfd.readouterr().err == ""


# ---- reading ahead -----------------------------------------------------------------------------------


def test_the_next_chunk_is_made_meanwhile():
    made = []

    def items():
        for i in range(10):
            made.append((i, threading.get_ident()))
            yield i

    ahead = prefetch(items(), depth=2)
    assert next(ahead) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert [i for i, _ in made] == [0, 1, 2, 3]  # one in use, two ready, one waiting
    assert {who for _, who in made} != {threading.get_ident()}
    assert list(ahead) == list(range(1, 10))


def test_errors_arrive_behind_the_items_before_and_the_thread_ends():
    closed = []

    def items():
        try:
            yield 1
            yield 2
            raise KeyError("three")
        finally:
            closed.append(True)

    before = threading.active_count()
    ahead = prefetch(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="three"):
        next(ahead)
    stopped = prefetch(iter(range(10**9)))
    next(stopped)
    stopped.close()
    half = prefetch(items())
    next(half)
    half.close()
    assert threading.active_count() == before
    assert closed == [True, True]
    with pytest.raises(ValueError, match="depth must be an integer >= 1"):
        prefetch([], depth=0)


# ---- checkpoints -------------------------------------------------------------------------------------


class Stop(Exception):
    pass


def stopping(chunks, after):
    for number, chunk in enumerate(chunks):
        if number == after:
            raise Stop
        yield chunk


@pytest.mark.parametrize("source", [npy, npy_by_columns, npz, arrays])
@pytest.mark.parametrize("every", [1, 3, 100])
@pytest.mark.parametrize("after", [1, 4, 8])
def test_a_stopped_pass_goes_on(tmp_path, views, source, every, after):
    """Also an error between checkpoints loses nothing."""
    X, Y = (view.astype(np.float32) for view in views)
    chunks, file = read(*source(tmp_path, X, Y), rows=ROWS), tmp_path / "sums"
    if after < len(chunks):
        with pytest.raises(Stop):
            moments(stopping(chunks, after), checkpoint=file, checkpoint_every=every)
    else:
        moments(chunks, checkpoint=file, checkpoint_every=every)
    taken = []

    def watched(chunks):
        for chunk in chunks:
            taken.append(len(chunk[0]))
            yield chunk

    assert_same(moments(watched(chunks), checkpoint=file), by_hand(X, Y))  # an iterator is run again
    assert sum(taken) == N
    file.unlink()
    with pytest.raises(Stop):
        moments(stopping(chunks, min(after, 7)), checkpoint=file)
    assert_same(moments(chunks, checkpoint=file), by_hand(X, Y))
    assert_same(moments(chunks, checkpoint=file), by_hand(X, Y))  # all done already
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_to_go_on_reads_little(tmp_path, views, monkeypatch):
    chunks = read(*npy(tmp_path, *views), rows=ROWS)
    with pytest.raises(Stop):
        moments(stopping(chunks, 6), checkpoint=tmp_path / "c")
    updates = []
    update = Moments.update

    def counted(self, *views, **options):
        updates.append(len(views[0]))
        return update(self, *views, **options)

    monkeypatch.setattr(Moments, "update", counted)
    moments(chunks, checkpoint=tmp_path / "c")
    assert updates == [ROWS, N - 7 * ROWS]


KILLED = """
import sys, time
import numpy as np
from fastcca import Moments, streaming

update = Moments.update

def slow(self, *views, **options):
    time.sleep(0.003)
    return update(self, *views, **options)

Moments.update = slow
X, Y = np.load("X.npy"), np.load("Y.npy")

def chunks():
    for number, start in enumerate(range(0, len(X), 10)):
        print(number, flush=True)
        yield X[start : start + 10], Y[start : start + 10]

source = chunks() if sys.argv[1] == "iterator" else streaming.read("X.npy", "Y.npy", rows=10)
sums = streaming.moments(source, checkpoint="sums.checkpoint")
np.savez("done.npz", n=sums.n, **{part: getattr(sums, part) for part in ("shift", "offset", "scatter")})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
@pytest.mark.parametrize("kind", ["iterator", "files"])
def test_killed_at_ten_random_moments(tmp_path, rng, kind):
    """At most one chunk is lost each time, and the result is bitwise that of a pass without a stop."""
    X = rng.standard_normal((4000, 6))
    Y = X[:, :4] + rng.standard_normal((4000, 4))
    npy(tmp_path, X, Y)
    file, known, kills = tmp_path / "sums.checkpoint", 0, 0
    while kills < 10:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, kind], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        asked = -1
        if kind == "iterator":
            skipped = known
            for _ in range(skipped + int(rng.integers(1, 25))):
                asked = int(child.stdout.readline())
        else:
            aim = known + int(rng.integers(1, 25))
            while _chunks_in(file) < aim and child.poll() is None:
                time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.006))
        assert child.poll() is None
        child.kill()
        rest = child.stdout.read().split()
        child.stdout.close()
        child.wait()
        kills += 1
        asked = int(rest[-1]) if rest else asked
        now = _chunks_in(file)
        # chunk number `asked` was being made: all before it are on the disk
        assert now >= asked if kind == "iterator" else now > known
        known = now
    assert 10 <= known < 400
    subprocess.run([sys.executable, "-c", KILLED, kind], cwd=tmp_path, check=True, capture_output=True)
    want = by_hand(X, Y, rows=10)
    with np.load(tmp_path / "done.npz") as got:
        for part in ("n", "shift", "offset", "scatter"):
            assert np.array_equal(got[part], getattr(want, part)), part


def _chunks_in(file):
    import json

    from fastcca._models.tensor_file import read_tensors

    if not file.exists():
        return 0
    with file.open("rb") as content:
        metadata, _ = read_tensors(content, alone=True)
    return json.loads(metadata["fastcca.checkpoint"])["chunks"]


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path, views):
    X, Y = views
    file = tmp_path / "c"
    moments(stopping_quietly(read(X, Y, rows=ROWS), 5), checkpoint=file)
    before = file.read_bytes()
    other = X.copy()
    other[4 * ROWS] += 1  # the first row of chunk 4
    cases = {
        "other data": [
            (read(other, Y, rows=ROWS), {}),
            (iter(read(other, Y, rows=ROWS)), {}),
            (read(X, Y, rows=ROWS + 1), {}),
            (read(X[: 3 * ROWS], Y[: 3 * ROWS], rows=ROWS), {}),
            (iter(read(X[: 3 * ROWS], Y[: 3 * ROWS], rows=ROWS)), {}),
            (read(X.astype(np.float32), Y, rows=ROWS), {}),
            (read(X, Y[:, :2], rows=ROWS), {}),
            (read(Y, X, rows=ROWS), {}),
        ],
        "other settings: dtype was None, now it is 'float64'": [
            (read(X, Y, rows=ROWS), {"dtype": np.float64})
        ],
        "other settings: weighted was False": [(read(X, Y, Y[:, 0], rows=ROWS), {"weighted": True})],
    }
    for message, sources in cases.items():
        for chunks, options in sources:
            with pytest.raises(ValueError, match=rf"c is a checkpoint of {message}"):
                moments(chunks, checkpoint=file, **options)
            assert file.read_bytes() == before
    for damaged in (b"", b"x" * 100, before[:-9], before[:-1] + b"x"):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"c: damaged, or not a checkpoint .*delete it to start anew"):
            moments(read(X, Y, rows=ROWS), checkpoint=file)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        moments(read(X, Y), checkpoint=tmp_path / "none" / "c")


def stopping_quietly(chunks, after):
    for number, chunk in enumerate(chunks):
        if number == after:
            return
        yield chunk


# ---- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [npy, npz, arrays])
@pytest.mark.parametrize(("view", "row"), [(0, 0), (0, 999), (1, 777)])
def test_nan_is_named_by_chunk_and_row(tmp_path, views, source, view, row):
    views[view][row, 1] = np.nan
    name = rf"{'Xy'[view]}( \(.*\))?"
    with pytest.raises(
        ValueError,
        match=rf"Input {name} contains NaN: the first is at row {row}, column 1 "
        rf"\(row {row % ROWS} of chunk {row // ROWS}\)",
    ):
        moments(read(*source(tmp_path, *views), rows=ROWS), checkpoint=tmp_path / "c")
    assert _chunks_in(tmp_path / "c") == row // ROWS  # what came before is not lost


def test_chunks_that_do_not_fit(views):
    X, Y = views
    first = (X[:10], Y[:10])
    for second, error, message in [
        (
            (X[:10, :4], Y[:10]),
            ValueError,
            r"chunk 1 \(from row 10\): its views have \(4, 3\) columns, .* \(5, 3\)",
        ),
        ((X[:10],), ValueError, r"chunk 1 \(from row 10\): its views have \(5,\) columns"),
        ((X[:10], Y[:9]), ValueError, r"chunk 1 .*same number of rows, got 10 and 9"),
        ((X[:10].astype(str), Y[:10]), ValueError, r"chunk 1 .*X must hold numbers, got dtype <U"),
        ((X[:10] * 1e200, Y[:10]), NumericalError, r"chunk 1 .*overflow"),
        ((), ValueError, "chunk 1 .*at least one view"),
        (X[:10], TypeError, r"chunk 1 .*expected a tuple, a list or a dict of views, got ndarray"),
        (None, TypeError, "chunk 1 .*got NoneType"),
        ((X[None, :10], Y[:10]), ValueError, "chunk 1 .*Expected 2D array"),
    ]:
        with pytest.raises(error, match=message):
            moments([first, second])
    mixed = moments([first, (X[10:20].astype(np.float32), Y[10:20])])  # is known to its columns
    assert mixed.eps.tolist() == [float(np.finfo(np.float32).eps)] * 5 + [float(np.finfo(np.float64).eps)] * 3
    with pytest.raises(ValueError, match=r"chunk 1 .*holds a, c, the first a, b"):
        moments([{"a": X[:5], "b": Y[:5]}, {"a": X[:5], "c": Y[:5]}])
    with pytest.raises(ValueError, match=r"chunk 0 .*sample_weight must not be negative"):
        moments([(X, Y, -np.ones(N))], weighted=True)
    with pytest.raises(ValueError, match="there are no chunks with rows"):
        moments([])
    for wrong in (X, "X.npy", {"X": X}, 3):
        with pytest.raises(TypeError, match="an iterable of tuples of views"):
            moments(wrong)
    for options, message in [
        ({"dtype": np.float32}, "dtype must be float64 or None"),
        ({"checkpoint_every": 0}, "checkpoint_every must be an integer >= 1"),
        ({"progress": 1}, "progress must be True or False"),
        ({"weighted": None}, "weighted must be True or False"),
        ({"n_threads": 0}, "n_threads must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            moments([first], **options)


def test_files_that_cannot_be_read(tmp_path, views):
    X, Y = views
    x_path, y_path = npy(tmp_path, X, Y)
    with pytest.raises(ValueError, match=r"same number of rows, got 1000 in .*X\.npy, 999 in"):
        read(x_path, Y[1:])
    with pytest.raises(FileNotFoundError, match=r"none\.npy: no such file"):
        read(tmp_path / "none.npy")
    with pytest.raises(ValueError, match="at least one view"):
        read()
    with pytest.raises(TypeError, match=r"views\[0\] must be a path, .*got list"):
        read([[1.0]])
    with pytest.raises(ValueError, match="one or two dimensions"):
        read(X[None])
    (tmp_path / "x.csv").write_text("1,2\n")
    with pytest.raises(ValueError, match=r"x\.csv: cannot tell its format"):
        read(tmp_path / "x.csv")
    np.save(tmp_path / "objects.npy", np.array([["a"]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="must hold numbers, got dtype object"):
        read(tmp_path / "objects.npy")
    np.savez(tmp_path / "two.npz", a=X, b=Y)
    with pytest.raises(ValueError, match=r"holds the arrays a, b; say which: two\.npz:NAME"):
        read(tmp_path / "two.npz")
    with pytest.raises(ValueError, match="there is none called 'c'"):
        read(f"{tmp_path}/two.npz:c")
    for options, message in [({"rows": 0}, "rows must be an integer >= 1"), ({"ahead": -1}, "ahead must be")]:
        with pytest.raises(ValueError, match=message):
            read(X, **options)
    # cut short before it is opened, and while it is read
    chunks = read(x_path, y_path, rows=ROWS)
    content = x_path.read_bytes()
    x_path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        OSError, match=r"chunk 3 \(rows 390 to 519\) of .*X\.npy cannot be read: .*ends within row"
    ):
        moments(chunks, checkpoint=tmp_path / "c")
    assert _chunks_in(tmp_path / "c") == 3
    with pytest.raises(ValueError, match=r"X\.npy: holds [\d,]+ bytes of data, its header says 40,000"):
        read(x_path)
    x_path.write_bytes(content)
    assert_same(moments(chunks, checkpoint=tmp_path / "c"), by_hand(X, Y))


def test_what_chunks_say_of_themselves(views):
    chunks = read(*views, rows=ROWS)
    assert isinstance(chunks, Chunks)
    assert repr(chunks) == "Chunks(views[0], views[1]: 1000 rows by 130)"
    assert np.array_equal(chunks.alone(7)[1], views[1][7 * ROWS :])
    with pytest.raises(ValueError, match="chunk must be an integer from 0 to 7, got 8"):
        chunks.alone(8)
    with pytest.raises(ValueError, match="chunk must be an integer >= 0"):
        chunks.starting_at(-1)
    cca = CCA(2).fit_moments(moments(chunks))
    np.testing.assert_allclose(cca.singular_values_, CCA(2).fit(*views).singular_values_, atol=1e-12)


def test_names_in_files_of_hdf5(tmp_path, views):
    x, _ = hdf5(tmp_path, *views)
    both = x.removesuffix(":x")
    assert_same(moments(read(x, f"{both}:group/y", rows=ROWS)), by_hand(*views))
    chunks = pickle.loads(pickle.dumps(read(x, f"{both}:group/y", rows=ROWS)))  # to another process
    assert_same(moments(chunks), by_hand(*views))
    assert_same(moments(read(both, rows=ROWS)), by_hand(views[0]))  # the only one that is not in a group
    with pytest.raises(ValueError, match=r"both\.h5: it holds the arrays x; there is none called 'z'"):
        read(f"{both}:z")
    with pytest.raises(ValueError, match=r"must hold numbers|one or two dimensions"):
        read(f"{both}:group/text")
    (tmp_path / "bad.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad\.h5: damaged, or not a file of h5py"):
        read(tmp_path / "bad.h5")


def test_names_in_files_of_zarr(tmp_path, views):
    x, y = zarr(tmp_path, *views)
    assert_same(moments(read(y.replace(":y", ":x"), y, rows=ROWS)), by_hand(*views))
    with pytest.raises(ValueError, match=r"both\.zarr: it holds the arrays .*; say which: both\.zarr:NAME"):
        read(tmp_path / "both.zarr")
    with pytest.raises(ValueError, match=r"x\.zarr: it holds .* there is none called 'a'"):
        read(f"{x}:a")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ValueError, match=r"empty\.zarr: damaged, or not a file of zarr"):
        read(tmp_path / "empty.zarr")


def test_files_whose_library_is_missing_say_which(tmp_path, monkeypatch):
    for name, library in (("x.h5", "h5py"), ("x.zarr", "zarr")):
        monkeypatch.setitem(sys.modules, library, None)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ImportError, match=rf"need {library} \(pip install {library}\)"):
            read(tmp_path / name)
