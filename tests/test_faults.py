"""Full disks, killed writers, interrupts, damaged files: the old file or the new one, and a sentence."""

import errno
import json
import os
import stat
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastcca
import fastcca.cli
from fastcca import CCA
from fastcca._models.atomic_write import read_arrays, replacing, save_arrays
from fastcca.datasets import make_two_views

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits and signals")
VIEWS = make_two_views(20_000, (8, 4), (0.9, 0.6), random_state=0)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    np.save(folder / "X.npy", VIEWS.X)
    np.save(folder / "Y.npy", VIEWS.y)
    np.save(folder / "few.npy", VIEWS.y[:50])
    CCA(reg=0.1).fit(VIEWS.X, VIEWS.y).save(folder / "m.npz")
    return folder


@pytest.fixture
def files(originals, tmp_path):
    for path in originals.iterdir():
        os.link(path, tmp_path / path.name)
    return tmp_path


WRITERS = {
    "Z.npy": ["transform", "m.npz", "X.npy", "-o", "Z.npy"],
    "Z.npz": ["transform", "m.npz", "X.npy", "-o", "Z.npz"],
    "Z.csv": ["transform", "m.npz", "X.npy", "-o", "Z.csv"],
    "S.csv": ["search", "m.npz", "few.npy", "X.npy", "-k", "1", "-o", "S.csv"],
    "model.npz": ["fit", "X.npy", "Y.npy", "-o", "model.npz"],
}


def python(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


def listing(folder):
    return sorted(entry.name for entry in folder.iterdir())


# ---- full disks ----------------------------------------------------------------------------------------


@posix
def test_a_disk_that_fills_up_leaves_the_old_files_and_a_sentence(files):
    for output in WRITERS:
        (files / output).write_bytes(b"old")
    before = listing(files)
    done = python(
        """
        import json, resource, sys
        from fastcca.cli import main
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for arguments in json.loads(sys.argv[1]):
            try:
                main(arguments)
            except SystemExit as ended:
                print(ended.code)
        """,
        json.dumps(list(WRITERS.values())),
        cwd=files,
    )
    assert done.returncode == 0, done
    codes = [line for line in done.stdout.splitlines() if line.isdigit()]
    assert codes == ["2"] * len(WRITERS)
    errors = [f"fastcca: error: {output}: File too large (after 2,000 bytes)" for output in WRITERS]
    assert done.stderr.splitlines() == errors
    for output in WRITERS:
        assert (files / output).read_bytes() == b"old"
    assert listing(files) == before


@posix
def test_standard_output_that_is_full_or_closed(files):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    program = [sys.executable, "-m", "fastcca", "info"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"fastcca: error: standard output: {os.strerror(errno.ENOSPC)}\n",
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m fastcca info >&-"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- killed writers --------------------------------------------------------------------------------------


@posix
def test_what_a_killed_writer_left_goes_at_the_next_run(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(b"old")
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from fastcca._models.atomic_write import replacing\n"
            "with replacing(sys.argv[1]) as temporary:\n"
            "    temporary.write_bytes(b'half')\n"
            "    print('writing', flush=True)\n"
            "    time.sleep(60)\n",
            path,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout.readline() == "writing\n"
        (left,) = {entry.name for entry in tmp_path.iterdir()} - {"model.npz"}
        # as long as it lives, its file is left alone
        with replacing(tmp_path / "other") as temporary:
            temporary.write_bytes(b"other")
        assert listing(tmp_path) == sorted([left, "model.npz", "other"])
    finally:
        writer.kill()
        writer.communicate()
    assert path.read_bytes() == b"old"
    assert left in listing(tmp_path)
    (tmp_path / ".another.tmp").write_bytes(b"not ours")
    with replacing(tmp_path / "other") as temporary:
        temporary.write_bytes(b"again")
    assert listing(tmp_path) == [".another.tmp", "model.npz", "other"]


@posix
@pytest.mark.parametrize("output", ["Z.npy"])
def test_writers_killed_at_any_moment(files, output):
    (files / output).write_bytes(b"old")
    before = listing(files)
    for delay in (0.6,):
        process = subprocess.Popen(
            [sys.executable, "-m", "fastcca", *WRITERS[output]],
            cwd=files,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.kill()
        process.wait()
        content = (files / output).read_bytes()
        assert content == b"old" or len(content) > 2000  # the old file, or the whole new one
    done = subprocess.run(
        [sys.executable, "-m", "fastcca", *WRITERS[output]], cwd=files, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert listing(files) == before


# ---- where results go ------------------------------------------------------------------------------------


@posix
def test_links_stay_and_modes_are_kept(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.npz", tmp_path / "link.npz"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    with replacing(link) as temporary:
        assert temporary.parent == real.parent
        assert stat.S_IMODE(temporary.stat().st_mode) & 0o077 <= 0o040  # no wider than the file's own
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "there" / "fresh")
    with replacing(dangling) as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "there" / "fresh").read_bytes() == b"new"
    read_only = tmp_path / "read_only"
    read_only.write_bytes(b"old")
    read_only.chmod(0o400)
    with replacing(read_only) as temporary:
        temporary.write_bytes(b"new")
    assert (read_only.read_bytes(), stat.S_IMODE(read_only.stat().st_mode)) == (b"new", 0o400)
    umask = os.umask(0o027)
    try:
        with replacing(tmp_path / "new") as temporary:
            temporary.write_bytes(b"new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@posix
def test_devices_and_pipes_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OSError, match="is not a regular file") as raised, replacing(path):
            pass
        assert raised.value.filename == str(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        pass


def test_the_result_is_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b))[1])
    CCA().fit(VIEWS.X, VIEWS.y).save(tmp_path / "m.npz")
    assert events[:2] == ["fsync", "replace"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["transform", "m.npz", "X.npy", "-o", "X.npy"],
        ["transform", "m.npz", "X.npy", "-o", "m.npz"],
        ["transform", "m.npz", "X.npy", "-o", "link.npy"],
        ["transform", "m.npz", "link.npy", "-o", "X.npy"],
        ["search", "m.npz", "Y.npy", "X.npy", "-o", "m.npz"],
        ["fit", "tables.npz:X", "tables.npz:Y", "-o", "tables.npz"],
    ],
)
def test_an_output_that_is_an_input_is_refused(files, arguments, monkeypatch, capfd):
    monkeypatch.chdir(files)
    np.savez("tables.npz", X=VIEWS.X[:50], Y=VIEWS.y[:50])
    os.symlink("X.npy", "link.npy")
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    with pytest.raises(SystemExit) as ended:
        fastcca.cli.main(arguments)
    assert ended.value.code == 2
    assert f"{arguments[-1]}: is an input as well" in capfd.readouterr().err
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


# ---- interrupts ------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    "module", ["numpy", "click", "fastcca._core", "fastcca.functional.moments", "sklearn"]
)
def test_an_interrupt_during_the_imports_is_130(files, module):
    """The signal arrives when the module is imported: before the program has begun, or in a command."""
    finder = f"""
        import importlib.abc, os, runpy, signal, sys

        class Finder(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    os.kill(os.getpid(), signal.SIGINT)

        sys.meta_path.insert(0, Finder())
        sys.argv[0] = "-m"
        runpy.run_module("fastcca", run_name="__main__", alter_sys=True)
    """
    done = python(finder, *WRITERS["model.npz"], cwd=files)
    assert (done.returncode, done.stderr.strip()) == (130, "fastcca: error: interrupted")


@posix
def test_interrupts_of_a_fit_leave_the_estimator_as_it_was():
    done = python(
        """
        import os, signal, threading
        import numpy as np
        from fastcca import CCA

        rng = np.random.default_rng(0)
        X, Y = rng.normal(size=(60_000, 60)), rng.normal(size=(60_000, 50))
        model = CCA(reg=0.1).fit(X[:500], Y[:500])
        before = model.x_weights_.copy()
        caught = 0
        for delay in np.linspace(0.001, 0.15, 12):
            timer = threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGINT))
            try:
                timer.start()
                for _ in range(1000):
                    model.fit(X, Y)
                    before = model.x_weights_.copy()
            except KeyboardInterrupt:
                caught += 1
            timer.join()
            assert np.array_equal(model.x_weights_, before)
            model.transform(X[:5])
        print(caught)
        """
    )
    assert (done.returncode, done.stdout) == (0, "12\n"), done.stderr


# ---- memory ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_a_lack_of_memory_at_any_point_is_a_memory_error():
    """Less and less memory for a fit, a search and a loss: an error each time, and the process goes on."""
    done = python(
        """
        import re, resource
        from pathlib import Path
        import numpy as np
        from fastcca import CCA, Moments
        from fastcca.functional import correlation_loss, hinge_embedding_loss, incomplete_cholesky
        from fastcca.functional import polar, top_k

        rng = np.random.default_rng(0)
        X, Y = rng.normal(size=(3000, 300)), rng.normal(size=(3000, 200))
        G, labels = rng.normal(size=(3000, 40)), rng.integers(300, size=3000)
        CALLS = {
            "fit": lambda: CCA(reg=1.0).fit(X, Y),
            "qr": lambda: CCA(solver="qr").fit(X, Y),
            "moments": lambda: Moments().update(X, Y),
            "loss": lambda: correlation_loss(X, Y, reg=1.0),
            "cholesky": lambda: incomplete_cholesky(G, gamma=0.01, rank=500),
            "polar": lambda: polar(X),
            "hinge": lambda: hinge_embedding_loss(X, X[:300], labels),
            "top_k": lambda: top_k(G, G, 200),
        }
        for call in CALLS.values():  # threads and caches are there before
            call()
        size = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        unlimited = resource.getrlimit(resource.RLIMIT_AS)

        def relieve():
            while True:  # Python itself may lack the memory for this
                try:
                    return resource.setrlimit(resource.RLIMIT_AS, unlimited)
                except MemoryError:
                    continue

        spares = (0, 1 << 16, 1 << 18, 1 << 20, 7 << 20, 1 << 34)
        limits = [(size + spare, unlimited[1]) for spare in spares]
        for name, call in CALLS.items():
            outcomes = []
            for limit in limits:
                try:
                    resource.setrlimit(resource.RLIMIT_AS, limit)
                    call()
                    outcomes.append("done")
                except MemoryError:
                    outcomes.append("memory")
                finally:
                    relieve()
            assert outcomes[-1] == "done", (name, outcomes)
            print(name, outcomes.count("memory"))
        """,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "FASTCCA_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done
    assert [line.split()[0] for line in done.stdout.splitlines()][-1] == "top_k"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_a_lack_of_memory_in_any_estimator_is_a_memory_error():
    done = python(
        """
        import re, resource, warnings
        from pathlib import Path
        import numpy as np
        from fastcca import CCA, CCACV, KernelCCA, KernelCCACV, embedding as e
        from fastcca.fusion import EarlyFusion
        from fastcca.inference import bootstrap, permutation_test
        from fastcca.retrieval import SearchIndex
        from fastcca.synchrony import SynchronyDetector
        from fastcca.taxonomy import Taxonomy

        warnings.simplefilter("ignore")
        rng = np.random.default_rng(0)
        n = 1500
        X, Y, y = rng.normal(size=(n, 200)), rng.normal(size=(n, 100)), np.arange(n) % 100
        groups = {1000 + i: "root" for i in range(10)} | {"root": None}
        tree = Taxonomy({c: 1000 + c % 10 for c in range(100)} | groups)
        vectors = {c: rng.normal(size=50) for c in range(100)}
        short = {"n_epochs": 1, "temperature": 1.0}
        few = X[:300], y[:300]
        frames = X[:, :20], Y[:, :20]
        ridge = CCA(1, reg=1.0)
        CALLS = {
            "CCA": lambda: CCA(reg=1.0).fit(X, Y).predict(X),
            "CCACV": lambda: CCACV(regs=[0.1, 1.0], cv=2).fit(X, Y),
            "KernelCCA": lambda: KernelCCA(2, rank=300).fit(X, Y).transform(X),
            "KernelCCACV": lambda: KernelCCACV(2, rank=100, regs=[0.1], cv=2).fit(X, Y),
            "joint": lambda: e.JointEmbedding(2, n_epochs=1, random_state=0).fit(X, Y),
            "means": lambda: e.NearestClassMean().fit(X, y).predict(X),
            "learned": lambda: e.NearestClassMean("learned", 3, **short).fit(X, y),
            "ridge": lambda: e.RidgeEmbedding().fit(X, y),
            "margin": lambda: e.LargeMarginEmbedding(3, **short).fit(X, y),
            "warp": lambda: e.WARPEmbedding(3, random_state=0, **short).fit(X, y),
            "taxonomy": lambda: e.LargeMarginTaxonomyEmbedding(tree, max_iter=1, temperature=1.0).fit(*few),
            "attributes": lambda: e.AttributeLabelEmbedding(vectors, **short).fit(X, y),
            "hierarchy": lambda: e.HierarchyLabelEmbedding(tree, **short).fit(X, y),
            "both": lambda: e.AttributeHierarchyLabelEmbedding(tree, vectors, **short).fit(X, y),
            "unified": lambda: e.UnifiedSemanticEmbedding(tree, vectors, n_rounds=1, **short).fit(X, y),
            "search": lambda: SearchIndex().fit(X).search(X, 20),
            "synchrony": lambda: SynchronyDetector(context=1, max_lag=3).fit(*frames).lag(*frames),
            "fusion": lambda: EarlyFusion().fit_transform([X, Y]),
            "permutations": lambda: permutation_test(ridge, X, Y, n_permutations=9, random_state=0),
            "bootstrap": lambda: bootstrap(ridge, X, Y, n_bootstrap=9, random_state=0),
        }
        for call in CALLS.values():  # threads, caches and imports are there before
            call()
        size = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        unlimited = resource.getrlimit(resource.RLIMIT_AS)

        def relieve():
            while True:  # Python itself may lack the memory for this
                try:
                    return resource.setrlimit(resource.RLIMIT_AS, unlimited)
                except MemoryError:
                    continue

        failed = 0
        for name, call in CALLS.items():
            for spare in (0, 1 << 16, 1 << 18, 1 << 20, 3 << 20, 7 << 20, 1 << 34):
                ended = "done"
                try:
                    resource.setrlimit(resource.RLIMIT_AS, (size + spare, unlimited[1]))
                    call()
                except MemoryError:
                    ended = "memory"
                finally:
                    relieve()
                failed += ended == "memory"
            assert ended == "done", name
        print(failed)
        """,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "FASTCCA_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done
    assert int(done.stdout) >= 20


# ---- damaged and lying model files -----------------------------------------------------------------------


def rewrite(path, change):
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["fastcca.json"]))
    change(header, arrays)
    np.savez(path, **(arrays | {"fastcca.json": np.array(json.dumps(header))}))


def numbers_of(node, found):
    """Every number of a header, as a pair of its container and its key."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((node, key))
        numbers_of(value, found)
    return found


@pytest.fixture
def small_model(tmp_path):
    path = tmp_path / "m.npz"
    CCA(reg=0.1).fit(VIEWS.X[:60], VIEWS.y[:60]).save(path)
    return path


def test_every_key_of_a_header_is_missed(small_model):
    content = small_model.read_bytes()
    with np.load(small_model) as archive:
        header = json.loads(str(archive["fastcca.json"]))
    keys = list(header)
    for key in keys:
        small_model.write_bytes(content)
        rewrite(small_model, lambda h, a, key=key: h.pop(key))
        with pytest.raises(ValueError, match=r"m\.npz'"):
            fastcca.load(small_model)
    n_attributes = len(header["model"]["state"]["dict"])
    assert n_attributes > 15
    for i in range(n_attributes):
        small_model.write_bytes(content)
        rewrite(small_model, lambda h, a, i=i: h["model"]["state"]["dict"].pop(i))
        with pytest.raises(ValueError, match=r"m\.npz' is damaged"):
            fastcca.load(small_model)


def test_every_number_of_a_header_is_checked(small_model):
    content = small_model.read_bytes()
    with np.load(small_model) as archive:
        count = len(numbers_of(json.loads(str(archive["fastcca.json"]))["model"], []))
    for i in range(count):
        small_model.write_bytes(content)

        def change(header, arrays, i=i):
            node, key = numbers_of(header["model"], [])[i]
            node[key] += 1

        rewrite(small_model, change)
        with pytest.raises(ValueError, match=r"m\.npz' is damaged"):
            fastcca.load(small_model)


def test_arrays_that_were_changed_are_refused(small_model):
    def change(header, arrays):
        name = next(n for n in arrays if n.endswith("x_weights_"))
        arrays[name] = arrays[name] * (1 + 1e-15)

    rewrite(small_model, change)
    with pytest.raises(ValueError, match="is damaged: its contents are not those that were written"):
        fastcca.load(small_model)


def test_flipped_bits_and_truncations_are_refused_or_harmless(small_model):
    content = small_model.read_bytes()
    X = VIEWS.X[:10]
    expected = fastcca.load(small_model).transform(X)
    rng = np.random.default_rng(0)
    for position in rng.integers(8 * len(content), size=400):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << (position % 8)
        small_model.write_bytes(damaged)
        try:
            found = fastcca.load(small_model)
        except ValueError:
            continue
        np.testing.assert_array_equal(found.transform(X), expected)
    for length in rng.integers(len(content), size=60):
        small_model.write_bytes(content[:length])
        with pytest.raises(ValueError, match="damaged or not a fastcca model"):
            fastcca.load(small_model)


def test_an_archive_that_inflates_is_refused_before_it_does(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fastcca.json.npy", b"\0" * 200_000_000)
    assert path.stat().st_size < 300_000
    with pytest.raises(ValueError, match="damaged or not a fastcca model"):
        fastcca.load(path)


@pytest.mark.parametrize("shape", [(10**15,), (10**6, 10**6), (3,), (1, 1), (-1,)])
def test_an_array_that_claims_another_size_is_refused_before_memory_is_taken(tmp_path, shape):
    path = tmp_path / "liar.npz"
    save_arrays(path, a=np.arange(4.0))
    content = path.read_bytes()
    claim = str(shape).encode()
    old = b"'shape': (4,), }" + b" " * len(claim)
    with zipfile.ZipFile(path) as archive:
        member = archive.read("a.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member.replace(old, b"'shape': " + claim + b", }" + b" " * 4))
    assert path.read_bytes() != content
    with path.open("rb") as file, pytest.raises(ValueError):
        read_arrays(file)


def test_arrays_of_any_kind_are_read_back(tmp_path):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.array(3, dtype=">i4"),
        "text": np.array(["one", "three"]),
        "empty": np.zeros((0, 3), dtype=np.float32),
        "none": np.array(["", ""]),
        "flags": np.array([True, False]),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
    }
    save_arrays(tmp_path / "all.npz", **arrays)
    with (tmp_path / "all.npz").open("rb") as file:
        found = read_arrays(file)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)


class TestDeep:
    """The same of safetensors, which have no check sums of their own."""

    @pytest.fixture
    def path(self, tmp_path):
        deep = pytest.importorskip("fastcca.deep")
        X, Y = VIEWS.X[:80, :3], VIEWS.y[:80, :2]
        model = deep.DeepCCA(1, hidden=(4,), epochs=1, random_state=0).fit(X, Y)
        model.save(tmp_path / "m.safetensors")
        return tmp_path / "m.safetensors"

    @staticmethod
    def rewrite(path, change):
        from safetensors import safe_open
        from safetensors.torch import save_file

        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = json.loads(file.metadata()["fastcca"])
        change(header, tensors)
        save_file(tensors, path, metadata={"fastcca": json.dumps(header)})

    def test_flipped_bits_and_truncations(self, path):
        content = path.read_bytes()
        X = VIEWS.X[:10, :3]
        expected = fastcca.load(path).transform(X)
        rng = np.random.default_rng(0)
        for position in rng.integers(8 * len(content), size=300):
            damaged = bytearray(content)
            damaged[position // 8] ^= 1 << (position % 8)
            path.write_bytes(damaged)
            try:
                found = fastcca.load(path)
            except ValueError:
                continue
            np.testing.assert_array_equal(found.transform(X), expected)
        for length in rng.integers(len(content), size=40):
            path.write_bytes(content[:length])
            with pytest.raises(ValueError):
                fastcca.load(path)

    def test_every_key_of_a_header_is_missed(self, path):
        content = path.read_bytes()
        found = {}
        self.rewrite(path, lambda header, tensors: found.update(header))
        for key in found:
            path.write_bytes(content)
            self.rewrite(path, lambda header, tensors, key=key: header.pop(key))
            with pytest.raises(ValueError, match=r"m\.safetensors'"):
                fastcca.load(path)
        for i in range(len(found["state"]["dict"])):
            path.write_bytes(content)
            self.rewrite(path, lambda header, tensors, i=i: header["state"]["dict"].pop(i))
            with pytest.raises(ValueError, match=r"m\.safetensors' is damaged"):
                fastcca.load(path)

    def test_a_network_larger_than_its_weights_is_not_built(self, path):
        from fastcca._models import files
        from fastcca.deep import _files as deep_files

        def change(header, tensors):
            for entry in header["state"]["dict"]:
                if entry[0] == "hidden":
                    entry[1] = {"tuple": [200_000, 200_000]}
            header["digest"] = files.digest_of(header, deep_files._bytes(tensors))

        self.rewrite(path, change)
        # 160 GB, which would not be had
        with pytest.raises(ValueError, match=r"is damaged: .* has shape .* expected \(200000, 3\)"):
            fastcca.load(path)

    def test_a_full_disk_is_named(self, path):
        if os.name != "posix":
            pytest.skip("needs POSIX limits")
        before = path.read_bytes()
        done = python(
            """
            import resource, sys
            import fastcca
            model = fastcca.load(sys.argv[1])
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            try:
                model.save(sys.argv[1])
            except OSError as error:
                print(error.filename == sys.argv[1], error.strerror)
            """,
            path,
        )
        assert done.stdout.startswith("True File too large"), done
        assert path.read_bytes() == before
        assert listing(path.parent) == [path.name]
