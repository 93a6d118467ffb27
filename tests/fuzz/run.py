"""Run random calls for a time: ``python tests/fuzz/run.py --seconds 600 --seed 0``.

The calls run in a process of their own, which says which it begins: one that crashes or hangs ends that
process alone. Every failure is printed with the command that repeats it. Exit status 1 if there is any.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from fuzz.draw import Draw
from fuzz.targets import TARGETS

ALLOWED = (ValueError, TypeError, MemoryError, OverflowError)  # NumericalError is a ValueError
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
HANGS = 60  # seconds after which a call counts as hanging


def bad_numbers(value, where="result"):
    """Where a result holds NaN or infinity."""
    if isinstance(value, (tuple, list)):
        return next((found for i, v in enumerate(value) if (found := bad_numbers(v, f"{where}[{i}]"))), None)
    if isinstance(value, (float, np.ndarray, np.floating)):
        a = np.asarray(value)
        if a.dtype.kind == "f" and not np.isfinite(a).all():
            return f"{where} holds {'NaN' if np.isnan(a).any() else 'infinity'}"
    return None


def run_case(name, seed):
    """None, or what is wrong."""
    draw = Draw([seed, sorted(TARGETS).index(name)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        try:
            result = TARGETS[name](draw)
        except ALLOWED as error:
            text = str(error)
            if "incompatible function arguments" in text or "incompatible constructor arguments" in text:
                return f"the overloads of the bindings: {text[:200]}"
            if draw.tame and (name in ORDINARY or isinstance(error, TypeError)):
                return "refused an ordinary call: " + "".join(traceback.format_exception_only(error)).strip()
            return None
        except Exception:
            return traceback.format_exc(limit=-4)
    return bad_numbers(result)


def work(seed, only, most):
    """Run cases from ``seed`` on, one line before each and one after each that failed."""
    names = [name for name in sorted(TARGETS) if only is None or name in only]
    for i in range(seed, seed + most):
        for name in names:
            print("case", name, i, flush=True)
            wrong = run_case(name, i)
            if wrong:
                print("wrong", name, i, repr(wrong), flush=True)
    print("end", flush=True)


def watch(seconds, seed, only):
    end, count, failures = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        command = [sys.executable, __file__, "--work", "--seed", str(seed), "--most", "1000000"]
        command += [f"--only={','.join(only)}"] if only else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        os.set_blocking(process.stdout.fileno(), False)
        case, since, buffer = None, time.monotonic(), ""
        while True:
            buffer += (process.stdout.read() or b"").decode()
            *lines, buffer = buffer.split("\n")
            for line in lines:
                kind, _, rest = line.partition(" ")
                if kind == "case":
                    name, _, at = rest.partition(" ")
                    case, since, count = (name, int(at)), time.monotonic(), count + 1
                elif kind == "wrong":
                    failures.append(rest)
                    print(rest, flush=True)
            if process.poll() is not None and not lines:
                break
            now = time.monotonic()
            if now > end or now - since > HANGS:
                process.kill()
                process.wait()
                break
            time.sleep(0.05)
        if time.monotonic() > end or case is None:
            break
        what = "hangs" if process.returncode == -signal.SIGKILL else f"ends the process: {process.returncode}"
        failures.append(f"{case[0]} {case[1]} {what}")
        print(failures[-1], flush=True)
        seed = case[1] + 1
    print(f"{count} calls, {len(failures)} failures")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="names of targets, separated by commas")
    parser.add_argument("--case", nargs=2, metavar=("TARGET", "SEED"), help="repeat one case")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--most", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    only = options.only.split(",") if options.only else None
    if options.case:
        print(run_case(options.case[0], int(options.case[1])))
    elif options.work:
        work(options.seed, only, options.most)
    else:
        sys.exit(1 if watch(options.seconds, options.seed, only) else 0)


if __name__ == "__main__":
    main()
