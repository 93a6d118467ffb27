"""Kill writers and fill their disks: ``python tests/fuzz/writers.py --times 20``.

Every place that writes a file is killed (signal 9) at random moments of its writing, and is given disks
(RLIMIT_FSIZE, which fails a write as a full disk does) of random sizes. The old file must be there whole or
the new one; after the next run nothing else may be left in the folder; a full disk must be one sentence that
names the file, with exit status 2 of the command line and OSError of ``save``. What is otherwise is printed,
and the exit status is then 1. POSIX only.
"""

import argparse
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from fastcca import CCA
from fastcca.cli import _demo
from fastcca.cli import main as program
from fastcca.datasets import make_two_views

OLD = b"old" * 1000


def command(*arguments):
    """A call of the command line; its exit status and what it prints on stderr."""

    def run():
        errors = StringIO()
        try:
            with redirect_stdout(StringIO()), redirect_stderr(errors):
                program(list(arguments))
        except SystemExit as ended:
            return ended.code or 0, errors.getvalue()
        return 0, errors.getvalue()

    return run


def method(write, *arguments):
    """A call in Python: status 0, or 2 and the OSError's file and text as the command line prints them."""

    def run():
        try:
            write(*arguments)
        except OSError as error:
            return 2, f"fastcca: error: {error.filename}: {error.strerror}\n"
        return 0, ""

    return run


def writers():
    """Every writer by the name of its file in the working directory."""
    views = make_two_views(4000, (8, 4), (0.9, 0.6), random_state=0)
    np.save("X.npy", views.X)
    np.save("Y.npy", views.y)
    np.save("few.npy", views.y[:200])
    CCA(reg=0.1).fit(views.X, views.y).save("m.safetensors")
    wide = CCA(reg=0.1).fit(*np.random.default_rng(0).normal(size=(2, 500, 200)))
    found = {
        "model.safetensors": method(wide.save, "model.safetensors"),
        "fit.safetensors": command("fit", "X.npy", "Y.npy", "-o", "fit.safetensors"),
    }
    for suffix in ("npy", "npz", "csv", "tsv"):
        found[f"Z.{suffix}"] = command("transform", "m.safetensors", "X.npy", "-o", f"Z.{suffix}")
    for suffix in ("npz", "csv", "tsv"):
        search = ("search", "m.safetensors", "few.npy", "X.npy", "-k", "50")
        found[f"S.{suffix}"] = command(*search, "-o", f"S.{suffix}")
    try:
        from fastcca.deep import DeepCCA
    except ImportError:
        print("without PyTorch: deep models are left out")
    else:
        deep = DeepCCA(2, hidden=(100, 100), n_epochs=1, random_state=0).fit(views.X[:500], views.y[:500])
        found["deep.safetensors"] = method(deep.save, "deep.safetensors")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        print("without matplotlib: the demo's picture is left out")
    else:
        found["demo.png"] = method(picture(views), Path("demo.png"))
    return found


def picture(views):
    """What ``fastcca demo`` draws, of other data."""
    correlations = np.linspace(0.9, 0.1, 4)
    result = _demo.Result(*(None,) * len(_demo.Result._fields))._replace(
        train_correlations=correlations,
        test_correlations=correlations,
        first_variates=(views.X[:500, 0], views.y[:500, 0]),
    )
    split = _demo.Split(*(None,) * len(_demo.Split._fields))._replace(
        title="made", target_test=np.arange(500) % 10
    )
    return lambda path: _demo.draw(split, {"CCA": result}, path)


def child(work):
    """A forked process that does this; its id."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    return process


def kill(write, delay):
    """Kill a process that writes again and again, so long after it began."""
    ready, begin = os.pipe()

    def work():
        os.write(begin, b".")
        while True:
            write()

    process = child(work)
    os.read(ready, 1)
    os.close(ready)
    os.close(begin)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def fill(write, size):
    """Status and text of a writer whose files cannot be larger."""
    result, out = os.pipe()

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        code, text = write()
        os.write(out, f"{code} {text}".encode())

    process = child(work)
    os.close(out)
    os.waitpid(process, 0)
    with os.fdopen(result) as file:
        code, _, text = file.read().partition(" ")
    return code, text


def attack(name, write, times, rng):
    """What went wrong, and how many kills fell into the writing of the file: they left a part of one."""
    path, wrong, within = Path(name), [], 0
    path.write_bytes(OLD)
    others = sorted(os.listdir())
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        assert write() == (0, ""), write()
        durations.append(time.perf_counter() - start)
    new = path.read_bytes()
    for _ in range(times):
        path.write_bytes(OLD)
        delay = rng.uniform(0, 2 * statistics.median(durations))
        kill(write, delay)
        left = sorted(os.listdir())
        within += left != others
        if path.read_bytes() not in (OLD, new):
            size = path.stat().st_size
            wrong.append(f"killed after {delay:.4f} s: {size} bytes, neither the old nor the new file")
        if write() != (0, "") or path.read_bytes() != new or sorted(os.listdir()) != others:
            wrong.append(f"killed after {delay:.4f} s: the next run leaves {sorted(os.listdir())}")
    for _ in range(times):
        path.write_bytes(OLD)
        size = int(rng.integers(len(new)))
        code, text = fill(write, size)
        expected = f"fastcca: error: {name}: File too large (after "
        if code != "2" or not text.startswith(expected) or text.count("\n") != 1:
            wrong.append(f"a disk of {size} bytes: status {code}, {text!r}")
        if path.read_bytes() != OLD or sorted(os.listdir()) != others:
            wrong.append(f"a disk of {size} bytes: the old file changed, or {sorted(os.listdir())}")
    return wrong, within, len(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="kills, and full disks, of each writer")
    parser.add_argument("--seed", type=int, default=0)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    parser.add_argument(
        "--folder", default=memory, help="of the disk; by default memory, which does not wait"
    )
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    total = 0
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        os.chdir(folder)
        print(f"{'file':20} {'bytes':>9} {'kills':>6} {'within':>7} {'disks':>6} {'wrong':>6}")
        for name, write in writers().items():
            wrong, within, size = attack(name, write, given.times, rng)
            total += len(wrong)
            print(f"{name:20} {size:9} {given.times:6} {within:7} {given.times:6} {len(wrong):6}")
            for line in wrong:
                print(f"    {line}")
        os.chdir("/")
    print(f"{total} wrong")
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
