"""Some seconds of ``tests/fuzz/run.py``: random calls of every public function, of fixed seeds."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastcca
from fastcca import embedding, functional, fusion, inference, metrics, retrieval, synchrony, taxonomy
from fuzz import run
from fuzz.run import bad_numbers, run_case
from fuzz.targets import LEFT_OUT, SOURCE, TARGETS

SEEDS = 15


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_random_calls(name):
    if name == "torch_losses":
        pytest.importorskip("torch")
    start = time.process_time()
    for seed in range(SEEDS):
        wrong = run_case(name, seed)
        assert wrong is None, f"python tests/fuzz/run.py --case {name} {seed}: {wrong}"
        if time.process_time() - start > 1:  # of the slow ones fewer
            break


def test_every_public_name_is_called_or_left_out_with_a_reason():
    for module in (
        fastcca,
        embedding,
        functional,
        fusion,
        inference,
        metrics,
        retrieval,
        synchrony,
        taxonomy,
    ):
        short = module.__name__.removeprefix("fastcca").lstrip(".") or "fastcca"
        for name in module.__all__:
            assert name in SOURCE or name in LEFT_OUT.get(short, {}), f"{module.__name__}.{name}"


def test_bad_numbers_are_seen():
    assert bad_numbers((1.0, [np.ones(3)], {"a": np.nan})) is None
    assert bad_numbers((1.0, [np.array([1, np.nan])])) == "result[1][0] holds NaN"
    assert bad_numbers([np.float32(np.inf)]) == "result[0] holds infinity"


@pytest.mark.slow
def test_the_command_runs():
    script = Path(__file__).parent / "fuzz" / "run.py"
    command = [sys.executable, script, "--seconds", "4", "--seed", "1", "--only", "top_k,moments"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("0 failures")


WORKERS = {
    "crash": "os.abort()",
    "hang": "time.sleep(60)",
    "exception": """print('done ["exception", "an error"]', flush=True); time.sleep(60)""",
    "returned": """print('done ["returned", null]', flush=True); time.sleep(60)""",
}


@pytest.mark.parametrize("kind", WORKERS)
def test_what_becomes_of_calls_is_counted(kind, monkeypatch):
    ends = kind in ("crash", "hang")  # the worker does, and another begins
    monkeypatch.setattr(run, "HANGS", 0.2)
    follow, started = run.follow, []

    def follow_another(command, errors, end, seen):
        started.append(command)
        code = f"import os, time; print('case top_k 3', flush=True); {WORKERS[kind]}"
        now = time.monotonic()
        end = now + (60 if ends and len(started) == 1 else 1 if not ends else 0)
        return follow([sys.executable, "-c", code], errors, end, seen)

    monkeypatch.setattr(run, "follow", follow_another)
    found = run.watch(60, 3, None)
    if kind == "returned":
        assert found["failures"] == []
    else:
        (failure,) = found["failures"]
        assert (failure["target"], failure["seed"], failure["kind"]) == ("top_k", 3, kind)
        assert failure["what"].startswith({"crash": "SIGABRT", "hang": "no answer"}.get(kind, "an error"))
        assert found["failures_by_kind"][kind] == 1
    assert found["outcomes"] == {kind: 1}
    if ends:
        assert "--first=torch_losses" in started[1]  # the case after it
