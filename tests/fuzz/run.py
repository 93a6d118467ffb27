"""Run random calls for a time: ``python tests/fuzz/run.py --seconds 600 --seed 0``.

The calls run in a process of their own, which says which it begins and how it ended: one that crashes or
hangs ends that process alone, and the next begins with the case after it. Every failure is printed with its
seed, and at the end what became of the calls. Exit status 1 if there is any failure.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from fuzz.draw import Draw
from fuzz.targets import TARGETS

ALLOWED = (ValueError, TypeError, MemoryError)  # NumericalError is a ValueError
# Whose tame calls are in order, whatever the seed.
ORDINARY = {
    "inverse_sqrt",
    "kernel_matrix",
    "median_gamma",
    "moments",
    "polar",
    "solve_agrees",
    "stack_frames",
}
ORDINARY |= {"cross_view_search", "top_k", "truncated_svd"}
READERS = {"single_cells"}  # which take texts for names of files
HANGS = 60  # processor seconds, or ten times as many of any, after which a call counts as hanging
RETURNED = "returned"
# The kinds of failures.
CRASH, HANG, EXCEPTION, NUMBERS, REFUSAL = "crash", "hang", "exception", "NaN or infinity", "refusal"


def bad_numbers(value, where="result"):
    """Where a result holds NaN or infinity."""
    if isinstance(value, (tuple, list)):
        return next((found for i, v in enumerate(value) if (found := bad_numbers(v, f"{where}[{i}]"))), None)
    if isinstance(value, (float, np.ndarray, np.floating)):
        a = np.asarray(value)
        if a.dtype.kind == "f" and not np.isfinite(a).all():
            return f"{where} holds {'NaN' if np.isnan(a).any() else 'infinity'}"
    return None


def outcome_of(name, seed):
    """(RETURNED or the name of the exception, None) if all is well, else (kind of failure, what is wrong)."""
    draw = Draw([seed, zlib.crc32(name.encode())])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        try:
            result = TARGETS[name](draw)
        except ALLOWED as error:
            text = str(error)
            if "incompatible function arguments" in text or "incompatible constructor arguments" in text:
                return EXCEPTION, f"the overloads of the bindings: {text[:200]}"
            if draw.tame and (name in ORDINARY or isinstance(error, TypeError)):
                what = "".join(traceback.format_exception_only(error)).strip()
                return REFUSAL, "refused an ordinary call: " + what
            return type(error).__name__, None
        except Exception as error:
            if name in READERS and isinstance(error, FileNotFoundError):
                return type(error).__name__, None
            return EXCEPTION, traceback.format_exc(limit=-4)
    wrong = bad_numbers(result)
    return (NUMBERS, wrong) if wrong else (RETURNED, None)


def run_case(name, seed):
    """None, or what is wrong."""
    return outcome_of(name, seed)[1]


def work(seed, first, only, most):
    """Run cases from target ``first`` of ``seed`` on, one line before each and one after it."""
    names = [name for name in sorted(TARGETS) if only is None or name in only]
    for i in range(seed, seed + most):
        for name in names:
            if i == seed and first is not None and name < first:
                continue
            print("case", name, i, flush=True)
            kind, wrong = outcome_of(name, i)
            print("done", json.dumps([kind, wrong]), flush=True)


class Watch:
    """What became of the calls so far."""

    def __init__(self):
        self.targets, self.outcomes, self.failures = Counter(), Counter(), []

    def begun(self, name):
        self.targets[name] += 1

    def ended(self, case, kind, wrong):
        self.outcomes[kind] += 1
        if wrong is not None:
            self.failures.append({"target": case[0], "seed": case[1], "kind": kind, "what": wrong})
            print(f"{case[0]} {case[1]}: {kind}: {wrong}", flush=True)

    def summary(self, seconds):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        kinds = Counter(failure["kind"] for failure in self.failures)
        return {
            "calls": sum(self.targets.values()),
            "seconds": round(seconds),
            "processor_seconds": round(children.ru_utime + children.ru_stime),
            "peak_megabytes": children.ru_maxrss // 1024,
            "outcomes": dict(self.outcomes.most_common()),
            "failures_by_kind": {k: kinds[k] for k in (CRASH, HANG, EXCEPTION, NUMBERS, REFUSAL)},
            "failures": self.failures,
            "calls_by_target": dict(sorted(self.targets.items())),
        }


def watch(seconds, seed, only):
    """Keep a worker at work until the time is over."""
    start, seen = time.monotonic(), Watch()
    end, first, names = start + seconds, None, sorted(TARGETS)
    while time.monotonic() < end:
        command = [sys.executable, __file__, "--work", "--seed", str(seed), "--most", "1000000"]
        command += [f"--only={','.join(only)}"] if only else []
        command += [f"--first={first}"] if first else []
        with tempfile.TemporaryFile() as errors:
            case, status = follow(command, errors, end, seen)
            if status is None:  # the time is over
                break
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            if len(said) > 8000:  # a sanitizer says first what it is, and the last call comes last
                said = f"{said[:6000]}\n…\n{said[-2000:]}"
        if case is None:
            raise RuntimeError(f"the worker does not start: exit status {status}\n{said}")
        if status == HANG:
            seen.ended(case, HANG, f"no answer within {HANGS} s of a processor")
        else:
            what = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            seen.ended(case, CRASH, f"{what}\n{said}")
        seed, after = case[1], names.index(case[0]) + 1
        first = names[after] if after < len(names) else None
        seed += first is None
    return seen.summary(time.monotonic() - start)


def processor_seconds(pid):
    """What a process has used; where the system does not say, the time that has passed."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return time.monotonic()


def follow(command, errors, end, seen):
    """The last case of one worker, and its exit status, ``HANG``, or None at the end of the time."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        os.set_blocking(process.stdout.fileno(), False)
        case, running, since, buffer, spent = None, False, time.monotonic(), "", 0.0
        while True:
            ended = process.poll() is not None  # before the last read
            buffer += (process.stdout.read() or b"").decode()
            *lines, buffer = buffer.split("\n")
            for line in lines:
                kind, _, rest = line.partition(" ")
                if kind == "case":
                    name, _, at = rest.partition(" ")
                    case, running, since = (name, int(at)), True, time.monotonic()
                    spent = processor_seconds(process.pid)
                    seen.begun(name)
                elif kind == "done" and case is not None:
                    running = False
                    seen.ended(case, *json.loads(rest))
            if ended:
                return case, process.returncode
            now = time.monotonic()
            busy = processor_seconds(process.pid) - spent > HANGS  # where others have the machine it waits
            hangs = running and (now - since > 10 * HANGS or (now - since > HANGS and busy))
            if now > end or hangs:
                process.kill()
                process.wait()
                return case, HANG if hangs else None
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="names of targets, separated by commas")
    parser.add_argument("--json", type=Path, help="file for the summary")
    parser.add_argument("--case", nargs=2, metavar=("TARGET", "SEED"), help="repeat one case")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first", help=argparse.SUPPRESS)
    parser.add_argument("--most", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    only = options.only.split(",") if options.only else None
    if options.case:
        print(run_case(options.case[0], int(options.case[1])))
        return
    if options.work:
        work(options.seed, options.first, only, options.most)
        return
    found = watch(options.seconds, options.seed, only)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(", ".join(f"{count} {kind}" for kind, count in found["outcomes"].items()))
    print(f"{found['seconds']} s, {found['processor_seconds']} s of processors, {found['peak_megabytes']} MB")
    print(f"{found['calls']} calls, {len(found['failures'])} failures")
    sys.exit(1 if found["failures"] else 0)


if __name__ == "__main__":
    main()
