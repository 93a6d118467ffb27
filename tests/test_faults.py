"""Full disks, killed writers, interrupts, damaged files: the old file or the new one, and a sentence."""

import errno
import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastcca
import fastcca.cli
from fastcca import CCA
from fastcca._models.atomic_write import replacing
from fastcca.datasets import make_two_views
from fuzz import files as fuzz_files
from reference import model_file

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits and signals")
VIEWS = make_two_views(20_000, (8, 4), (0.9, 0.6), random_state=0)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    np.save(folder / "X.npy", VIEWS.X)
    np.save(folder / "Y.npy", VIEWS.y)
    np.save(folder / "few.npy", VIEWS.y[:50])
    CCA(reg=0.1).fit(VIEWS.X, VIEWS.y).save(folder / "m.safetensors")
    return folder


@pytest.fixture
def files(originals, tmp_path):
    for path in originals.iterdir():
        os.link(path, tmp_path / path.name)
    return tmp_path


WRITERS = {
    "Z.npy": ["transform", "m.safetensors", "X.npy", "-o", "Z.npy"],
    "Z.npz": ["transform", "m.safetensors", "X.npy", "-o", "Z.npz"],
    "Z.csv": ["transform", "m.safetensors", "X.npy", "-o", "Z.csv"],
    "S.csv": ["search", "m.safetensors", "few.npy", "X.npy", "-k", "1", "-o", "S.csv"],
    "model.safetensors": ["fit", "X.npy", "Y.npy", "-o", "model.safetensors"],
}


# of programs that run into limits of their memory, in the indentation of those below
LIMITS = """
        size = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        unlimited = resource.getrlimit(resource.RLIMIT_AS)

        def relieve():
            while True:  # Python itself may lack the memory for this
                try:
                    return resource.setrlimit(resource.RLIMIT_AS, unlimited)
                except MemoryError:
                    continue
"""


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
    path = tmp_path / "model.safetensors"
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
        (left,) = {entry.name for entry in tmp_path.iterdir()} - {"model.safetensors"}
        # as long as it lives, its file is left alone
        with replacing(tmp_path / "other") as temporary:
            temporary.write_bytes(b"other")
        assert listing(tmp_path) == sorted([left, "model.safetensors", "other"])
    finally:
        writer.kill()
        writer.communicate()
    assert path.read_bytes() == b"old"
    assert left in listing(tmp_path)
    (tmp_path / ".another.tmp").write_bytes(b"not ours")
    with replacing(tmp_path / "other") as temporary:
        temporary.write_bytes(b"again")
    assert listing(tmp_path) == [".another.tmp", "model.safetensors", "other"]


@posix
def test_every_writer_is_killed_and_its_disk_filled():
    """Once each; ``python tests/fuzz/writers.py`` does it as often as it is asked to."""
    script = Path(fuzz_files.__file__).with_name("writers.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, "--times", "1"],  # Python 3.12 warns of forks beside threads
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "FASTCCA_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 wrong"), done
    for name in (
        "model.safetensors",
        "fit.safetensors",
        "Z.npy",
        "Z.npz",
        "Z.csv",
        "Z.tsv",
        "S.npz",
        "S.csv",
    ):
        assert f"\n{name} " in done.stdout


# ---- where results go ------------------------------------------------------------------------------------


@posix
def test_links_stay_and_modes_are_kept(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.safetensors", tmp_path / "link.safetensors"
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
    CCA().fit(VIEWS.X, VIEWS.y).save(tmp_path / "m.safetensors")
    assert events[:2] == ["fsync", "replace"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["transform", "m.safetensors", "X.npy", "-o", "X.npy"],
        ["transform", "m.npz", "X.npy", "-o", "m.npz"],
        ["transform", "m.safetensors", "X.npy", "-o", "link.npy"],
        ["transform", "m.safetensors", "link.npy", "-o", "X.npy"],
        ["search", "m.npz", "Y.npy", "X.npy", "-o", "m.npz"],
        ["transform", "m.safetensors", "tables.npz:X", "-o", "tables.npz"],
    ],
)
def test_an_output_that_is_an_input_is_refused(files, arguments, monkeypatch, capfd):
    monkeypatch.chdir(files)
    np.savez("tables.npz", X=VIEWS.X[:50], Y=VIEWS.y[:50])
    os.symlink("X.npy", "link.npy")
    os.link("m.safetensors", "m.npz")  # a model's name may be any
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
    done = python(finder, *WRITERS["model.safetensors"], cwd=files)
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
        """
        + LIMITS
        + """

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
        """
        + LIMITS
        + """

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
        # the heaps of threads that have ended would serve for what the limit refuses
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "FASTCCA_NUM_THREADS": "2", "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done
    assert int(done.stdout) >= 20


# ---- damaged model files ---------------------------------------------------------------------------------


def test_flipped_bits_and_truncations_are_refused_or_harmless(tmp_path):
    """A few of each class; ``python tests/fuzz/files.py`` does as many as it is asked for."""
    for path in sorted(fuzz_files.MODELS.glob("*.safetensors")):
        found = fuzz_files.damage(path, tmp_path / "m.safetensors", flips=40, cuts=10, seed=0)
        assert found["changed"] == 0, path
        assert found["refused"] + found["harmless"] == 50
        assert found["refused"] > 40


class TestDeep:
    """Networks, which are built before their weights are put in."""

    @pytest.fixture
    def path(self, tmp_path):
        deep = pytest.importorskip("fastcca.deep")
        X, Y = VIEWS.X[:80, :3], VIEWS.y[:80, :2]
        model = deep.DeepCCA(1, hidden=(4,), n_epochs=1, random_state=0).fit(X, Y)
        model.save(tmp_path / "m.safetensors")
        return tmp_path / "m.safetensors"

    def test_every_key_of_a_header_is_missed(self, path):
        header, arrays = model_file.read(path)
        assert len(header["model"]) == 6
        for section in (None, "networks", "fitted", "parameters"):
            for key in header["model"] if section is None else header["model"][section]:

                def change(h, a, section=section, key=key):
                    (h["model"] if section is None else h["model"][section]).pop(key)

                model_file.write(path, header, arrays)
                model_file.rewrite(path, change)
                if key in (
                    "score_covariance",
                    "x_variance",
                    "y_variance",
                ):  # not every model of two views has it
                    assert not hasattr(fastcca.load(path), f"_{key}")
                    continue
                with pytest.raises(ValueError, match=r"m\.safetensors'"):
                    fastcca.load(path)

    @pytest.mark.parametrize("other", [None, -1, "x", [], {}, {"array": "x"}, {"same_as": "y"}])
    def test_every_value_of_its_networks_is_another(self, path, other):
        header, arrays = model_file.read(path)

        def places(h):
            networks = h["model"]["networks"]
            parts = [(h["model"], "own"), (h["model"], "networks"), *((networks, part) for part in networks)]
            parts += [(networks[part], "tensors") for part in networks]
            return parts + [(networks[p]["tensors"], key) for p in networks for key in networks[p]["tensors"]]

        for i in range(len(places(header))):
            changed = json.loads(json.dumps(header))
            node, key = places(changed)[i]
            if node[key] == other:
                continue
            node[key] = other
            model_file.write(path, changed, arrays)
            with pytest.raises(ValueError, match=r"m\.safetensors'"):
                fastcca.load(path)

    def test_a_network_larger_than_its_weights_is_not_built(self, path):
        def change(header, arrays):
            header["model"]["parameters"]["hidden"] = {"tuple": [200_000, 200_000]}

        model_file.rewrite(path, change)
        # 160 GB, which would not be had
        with pytest.raises(ValueError, match=r"is damaged: .* has shape .* expected \(200000, 3\)"):
            fastcca.load(path)
