"""Timing side by side: one process, one number of threads, answers compared before anything is timed."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike
from threadpoolctl import threadpool_info, threadpool_limits

import fastcca

__all__ = [
    "Report",
    "agree",
    "fastest",
    "gemm",
    "gemms",
    "limit_threads",
    "machine",
    "options_and_report",
    "peak_rss_anon",
    "time_once",
    "time_together",
    "use_processor_time",
]

Result = TypeVar("Result")
SLOWS_NUMPY = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
# seconds
SETTLE = 0.15
WARM = 0.03
TIMED = 0.01
_processor_time = False


def clock() -> float:
    """Seconds on the wall, or of the processor after :func:`use_processor_time`."""
    return time.process_time() if _processor_time else time.perf_counter()


def use_processor_time() -> None:
    """Time what this process computes, which other work on the machine hardly changes: for one thread."""
    global _processor_time
    _processor_time = True


def agree(what: str, ok: bool, detail: str = "") -> None:
    """Stop with a message unless the answers agree: a fast wrong answer is not worth a timing."""
    if not ok:
        raise SystemExit(f"{what}: the answers do not agree {detail}")


def time_once(call: Callable[[], Result]) -> tuple[Result, float]:
    """The result of one call and its seconds: for contenders too slow to be called twice."""
    start = clock()
    result = call()
    return result, clock() - start


def time_together(contenders: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each contender; they take turns, to meet the same noise.

    A turn is a pause, in which the threads of the one before stop spinning (OpenBLAS's do for some 25 ms and
    would take half of the cores from whoever comes next), calls that warm caches and clocks, and timed
    calls: one, or as many as fit into a few milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, call in contenders.items():
            time.sleep(SETTLE)
            if not seconds[name] or seconds[name][-1] < 1.0:
                calls_within(WARM, call)
            seconds[name] += calls_within(TIMED, call)
    return {name: statistics.median(values) for name, values in seconds.items()}


def calls_within(limit: float, call: Callable[[], object]) -> list[float]:
    """Seconds of each call of those that fill so many seconds, at least one."""
    seconds: list[float] = []
    while not seconds or sum(seconds) < limit:
        start = clock()
        call()
        seconds.append(clock() - start)
    return seconds


def gemm(m: int, n: int, k: int, dtype: DTypeLike) -> Callable[[], object]:
    """A call that multiplies a transposed k × m matrix by a k × n one: 2mnk flops."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m)).astype(dtype)
    b = rng.standard_normal((k, n)).astype(dtype)
    out = np.empty((m, n), dtype)
    return lambda: np.matmul(a.T, b, out=out)


def gemms(m: int, n: int, k: int, dtype: DTypeLike) -> dict[str, Callable[[], object]]:
    """The same product by NumPy, and by PyTorch where it is installed: their BLAS may differ by much."""
    calls = {"numpy": gemm(m, n, k, dtype)}
    with contextlib.suppress(ImportError):
        import torch

        rng = np.random.default_rng(0)
        a, b = (torch.from_numpy(rng.standard_normal((k, width)).astype(dtype)) for width in (m, n))
        out = torch.empty((m, n), dtype=a.dtype)
        calls["torch"] = partial(torch.mm, a.T, b, out=out)
    return calls


def fastest(seconds: Mapping[str, float], calls: Mapping[str, object]) -> float:
    """The seconds of the fastest of these calls."""
    return min(seconds[name] for name in calls)


@contextlib.contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """The same number of threads for us and for the BLAS of everybody else."""
    fastcca.set_num_threads(n)
    try:
        with threadpool_limits(limits=n):
            yield
    finally:
        fastcca.set_num_threads(None)


def cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def machine(threads: int) -> dict[str, Any]:
    """What the numbers were measured on."""
    versions = {}
    for package in ("fastcca", "numpy", "scipy", "scikit-learn", "cca-zoo", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    blas = [
        f"{lib['internal_api']} {lib.get('version')} {lib.get('architecture', '')}"
        for lib in threadpool_info()
    ]
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "versions": versions,
        "blas": sorted(set(blas)),
        "build": fastcca.build_info(),
        "slowed_numpy": [name for name in SLOWS_NUMPY if name in os.environ],
    }


@dataclass
class Report:
    """The rows of a run: printed as they come, stored as JSON at the end."""

    threads: int
    allow_slow_numpy: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.about = machine(self.threads)
        if self.about["slowed_numpy"] and not self.allow_slow_numpy:
            names = " and ".join(self.about["slowed_numpy"])
            raise SystemExit(
                f"{names} set, which slows NumPy: run under `env -u {' -u '.join(SLOWS_NUMPY)}`, "
                "or say --allow-slow-numpy"
            )
        about = self.about
        print(f"{about['cpu']}, {self.threads} threads, level {about['build']['isa']}")
        print(", ".join(f"{name} {number}" for name, number in about["versions"].items()))
        print(f"load average {about['load_average'][0]}" + (" (not a quiet machine)" if self.busy else ""))

    @property
    def busy(self) -> bool:
        return bool(self.about["load_average"][0] > 0.5)

    def add(self, case: str, what: str, /, target: float | None = None, **values: float | str) -> None:
        """Print and keep one row; ``target`` is what the row's first value is held against."""
        row: dict[str, Any] = {"case": case, "what": what, **values}
        text = "  ".join(f"{name} {_format(value)}" for name, value in values.items())
        if target is not None:
            row["target"] = target
            text += f"  (target {target:g})"
        self.rows.append(row)
        print(f"{case}  {what:<44} {text}", flush=True)

    def save(self, path: str | None) -> None:
        if path:
            Path(path).write_text(json.dumps({"machine": self.about, "rows": self.rows}, indent=2) + "\n")


def options_and_report(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Report]:
    """What the command line says, with the options that benchmarks share, and a report to fill."""
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    arguments = parser.parse_args()
    return arguments, Report(arguments.threads, arguments.allow_slow_numpy)


def _format(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


SAMPLER = """
import threading, time
def _rss_anon():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))
_peak, _stop = [0], threading.Event()
def _watch():
    while not _stop.is_set():
        _peak[0] = max(_peak[0], _rss_anon())
        time.sleep(0.002)
"""


def peak_rss_anon(setup: str, work: str) -> tuple[float, float]:
    """Peak anonymous bytes of ``work`` above those after ``setup``, in a process of its own; its seconds."""
    code = "\n".join(
        [
            SAMPLER,
            setup,
            "_before = _rss_anon()",
            "_watcher = threading.Thread(target=_watch, daemon=True)",
            "_watcher.start()",
            "_start = time.perf_counter()",
            work,
            "_seconds = time.perf_counter() - _start",
            "_stop.set(); _watcher.join()",
            "print(max(_peak[0], _rss_anon()) - _before, _seconds)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the measured process failed:\n{done.stderr}")
    grown, seconds = done.stdout.split()[-2:]
    return float(grown), float(seconds)
