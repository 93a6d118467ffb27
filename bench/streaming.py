"""One pass over two files of 64 columns: against the disk, against the product, and what memory it takes.

``python -m bench.streaming --rows 10000000`` writes 5 GB into ``--folder``, and deletes them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bench.harness import agree, gemm, limit_threads, machine, peak_rss_anon, time_once

# Its sums stay in a file: that passes agree is looked at afterwards.
PASS = """
found = streaming.moments(streaming.read("X.npy", "Y.npy"), checkpoint={checkpoint!r})
np.savez("found.npz", n=found.n, row=found.scatter[0])
"""


def write(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    step = 100_000
    files = [open_table(folder / f"{name}.npy", rows) for name in "XY"]
    for start in range(0, rows, step):
        x = rng.standard_normal((min(step, rows - start), 64), dtype=np.float32)
        for file, block in zip(files, (x, x[:, ::-1] + x), strict=True):
            file.write(np.ascontiguousarray(block).data)
    for file in files:
        file.flush()
        os.fsync(file.fileno())
        file.close()


def open_table(path: Path, rows: int) -> BinaryIO:
    file = path.open("wb")
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 64)}
    np.lib.format.write_array_header_1_0(file, header)
    return file


def forget(folder: Path) -> None:
    """Nothing of the files is in memory when a pass begins."""
    for path in folder.glob("*.npy"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_alone(folder: Path) -> float:
    """Seconds to read the files by 8 MB, and nothing else."""
    start = time.perf_counter()
    piece = bytearray(2**23)
    for path in sorted(folder.glob("*.npy")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(piece):
                pass
    return time.perf_counter() - start


def one_pass(folder: Path, checkpoint: str | None) -> tuple[float, float, dict[str, Any]]:
    """Seconds, peak of anonymous memory in MB, and what was found."""
    setup = f"import os, numpy as np\nfrom fastcca import streaming\nos.chdir({str(folder)!r})"
    grown, seconds = peak_rss_anon(setup, PASS.format(checkpoint=checkpoint))
    with np.load(folder / "found.npz") as found:
        return seconds, grown / 1e6, dict(found)


def product_seconds(rows: int, threads: int) -> float:
    """What NumPy's product of this shape would take, at half its flops: symmetric ones need no more."""
    piece = 100_000
    with limit_threads(threads):
        call = gemm(128, 128, piece, np.float32)
        return min(time_once(call)[1] for _ in range(10)) / 2 * rows / piece


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", default=".", help="on the disk that is measured")
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    size = given.rows * 128 * 4
    threads = os.cpu_count() or 1
    print(machine(threads))
    product = product_seconds(given.rows, threads)
    print(f"{size / 1e9:.2f} GB; NumPy's product of n (p + q)^2 flops: {product:.2f} s")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write(folder, given.rows)
        for cold in (True, False):
            for _ in range(given.repeats):
                found: dict[str, dict[str, Any]] = {}
                for label, checkpoint in (("plain", None), ("checkpoint", "sums")):
                    if cold:
                        forget(folder)
                    disk = read_alone(folder)
                    if cold:
                        forget(folder)
                    seconds, peak, found[label] = one_pass(folder, checkpoint)
                    (folder / "sums").unlink(missing_ok=True)
                    agree("rows", bool(found[label]["n"] == given.rows))
                    slower = max(disk, product)
                    print(
                        f"{'cold' if cold else 'cached'} {label:10} {seconds:6.2f} s, "
                        f"disk alone {disk:6.2f} s: {slower / seconds:.0%} of the slower; "
                        f"{peak:.0f} MB more"
                    )
                agree("sums", np.array_equal(found["plain"]["row"], found["checkpoint"]["row"]))


if __name__ == "__main__":
    main()
