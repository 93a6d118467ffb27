"""The thread pool as Python sees it: how many threads, interrupts, forks, several callers."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastcca
from fastcca.functional import polar

unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def run(code: str, **env: str) -> str:
    """What a fresh interpreter prints."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_number_of_threads_can_be_set_and_reset() -> None:
    before = fastcca.get_num_threads()
    try:
        fastcca.set_num_threads(3)
        assert fastcca.get_num_threads() == 3
        assert fastcca.build_info()["threads"] == 3
        for bad in (0, -2):
            with pytest.raises(ValueError, match=f"n must be an integer >= 1 or None, got {bad}"):
                fastcca.set_num_threads(bad)
        assert fastcca.get_num_threads() == 3
    finally:
        fastcca.set_num_threads(None)
    assert fastcca.get_num_threads() == before


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"FASTCCA_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "5"}, "5"),
        ({"FASTCCA_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, "3"),
        ({"FASTCCA_NUM_THREADS": "0", "OMP_NUM_THREADS": "5"}, "5"),
        ({"FASTCCA_NUM_THREADS": "many"}, None),
        ({}, None),
    ],
)
def test_the_environment_says_how_many(env: dict[str, str], expected: str | None) -> None:
    if expected is None:
        expected = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    assert run("import fastcca; print(fastcca.get_num_threads())", **env) == expected


def test_set_num_threads_comes_before_the_environment() -> None:
    code = """
        import fastcca
        fastcca.set_num_threads(2)
        print(fastcca.get_num_threads())
        fastcca.set_num_threads(None)
        print(fastcca.get_num_threads())
    """
    assert run(code, FASTCCA_NUM_THREADS="4").split() == ["2", "4"]


@pytest.mark.parametrize("call", ["polar(T, n_threads=2)", "top_k(Q, G, n_threads=2)"])
def test_a_long_call_stops_on_an_interrupt(call: str) -> None:
    # The call would take some ten seconds of CPU; from the signal on it may take one second of two threads.
    # CPU time is counted, which a busy machine does not stretch.
    code = f"""
        import os, signal, threading, time
        import numpy as np
        from fastcca.functional import polar, top_k

        T = np.eye(4000)
        T[0, 1:] = 0.001
        Q, G = np.ones((20_000, 64)), np.broadcast_to(np.ones(64), (2_000_000, 64))
        sent = []
        def interrupt():
            time.sleep(0.5)
            sent.append(time.process_time())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted" if time.process_time() - sent[0] < 2 else "late")
        else:
            print("finished")
    """
    assert run(code) == "interrupted"


@unix
def test_a_forked_child_can_compute() -> None:
    code = """
        import os
        import numpy as np
        from fastcca.functional import polar

        T = np.random.default_rng(0).standard_normal((400, 300))
        expected = polar(T, n_threads=2)
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(polar(T, n_threads=2), expected) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert np.array_equal(polar(T, n_threads=2), expected)
        print("same")
    """
    assert run(code) == "same"


@unix
def test_forked_pools_can_compute() -> None:
    code = """
        import multiprocessing
        import warnings
        import numpy as np
        from fastcca.functional import polar

        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own about forks beside threads

        def work(seed):
            return polar(np.random.default_rng(seed).standard_normal((400, 300)), n_threads=2)

        expected = [work(seed) for seed in range(4)]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all(map(np.array_equal, pool.map(work, range(4)), expected))
        print("same")
    """
    assert run(code) == "same"


def test_several_callers_at_once(rng: np.random.Generator) -> None:
    problems = [rng.standard_normal((300, 250)) for _ in range(6)]
    expected = [polar(T, n_threads=1) for T in problems]
    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(lambda T: polar(T, n_threads=2), problems))
    for result, one in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, one)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, "2"])
def test_wrong_numbers_of_threads_are_refused(wrong):
    A = np.eye(3)
    for call in (
        lambda: fastcca.Moments().update(A, n_threads=wrong),
        lambda: fastcca.functional.solve_qr(A, A, n_threads=wrong),
        lambda: fastcca.functional.inverse_sqrt(A, n_threads=wrong),
    ):
        with pytest.raises(ValueError, match="n_threads must be an integer >= 1 or None, got"):
            call()
    with pytest.raises(ValueError, match="n must be an integer >= 1 or None, got"):
        fastcca.set_num_threads(wrong)


def test_more_threads_than_any_machine_has_are_as_many_as_there_is_work():
    A = np.diag([3.0, 2.0, 1.0])
    np.testing.assert_array_equal(polar(A, n_threads=10**12), polar(A, n_threads=1))


EXITS = {  # what a daemon thread does when the interpreter ends
    "polar": "a = np.random.default_rng(0).random((300, 300))\nwork = lambda: polar(a)",
    "moments": "a = np.ones((100_000, 20))\nwork = lambda: fastcca.Moments().update(a, a)",
    "short": "a = np.eye(3)\nwork = lambda: polar(a)",
    "callable": "a = np.random.default_rng(0).random((400, 3))\n"
    "k = lambda x, y: np.exp(-((x[:, None] - y[None]) ** 2).sum(-1))\n"
    "work = lambda: incomplete_cholesky(a, kernel=k, rank=60, block=4)",
    "error": "a = np.full((2000, 20), np.nan)\n"
    "def work():\n"
    "    try: fastcca.Moments().update(a)\n"
    "    except ValueError: pass",
}


@unix
@pytest.mark.parametrize("work", EXITS)
def test_the_interpreter_may_end_while_daemon_threads_compute(work: str) -> None:
    code = """
        import threading, time
        import numpy as np
        import fastcca
        from fastcca.functional import incomplete_cholesky, polar
        WORK
        def forever():
            while True:
                work()
        for _ in range(3):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.3)
        print("leaving")
    """
    indent = "\n" + " " * 8
    assert run(code.replace("WORK", EXITS[work].replace("\n", indent))) == "leaving"


@unix
def test_an_interrupt_reaches_the_main_thread_while_another_computes() -> None:
    code = """
        import os, signal, threading, time
        import numpy as np
        from fastcca.functional import polar

        a = np.random.default_rng(0).random((200, 200))
        done = threading.Event()
        def work():
            while not done.is_set():
                polar(a)
        thread = threading.Thread(target=work)
        thread.start()
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted")
        done.set()
        thread.join()
    """
    assert run(code) == "interrupted"


@unix
def test_a_forked_child_can_be_interrupted() -> None:
    """The main thread of the child is the one that forked, whichever it was in the parent."""
    code = """
        import os, signal, threading
        import numpy as np
        from fastcca.functional import polar

        T = np.eye(3000)
        T[0, 1:] = 0.001
        def fork():
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
                try:
                    while True:
                        polar(T, n_threads=2)
                except KeyboardInterrupt:
                    os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    """
    assert run(code) == "7"


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads in /proc")
@pytest.mark.parametrize("setting", ["argument", "set_num_threads", "environment"])
def test_no_more_threads_than_could_help(setting: str) -> None:
    code = f"""
        import os
        import numpy as np
        import fastcca
        if {setting == "set_num_threads"}:
            fastcca.set_num_threads(10**6)
        before = len(os.listdir("/proc/self/task"))
        X = np.ones((400_000, 3))
        X[::2] = 0
        many = fastcca.Moments().update(X, n_threads={10**6 if setting == "argument" else None})
        few = fastcca.Moments().update(X, n_threads=1)
        assert np.array_equal(many.scatter, few.scatter)
        fastcca.functional.top_k(X[:20_000], X[:2000], n_threads={10**6 if setting == "argument" else None})
        print(len(os.listdir("/proc/self/task")) - before)
    """
    env = {"FASTCCA_NUM_THREADS": "1000000"} if setting == "environment" else {}
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(run(code, **env)) < max(8, cpus or 1)


@pytest.mark.parametrize("text", ["1e3", "4abc", "-2", "2.5", "0", "many", ""])
def test_a_number_of_threads_that_is_none_is_ignored_with_a_warning(text: str) -> None:
    code = """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import fastcca
        print(fastcca.get_num_threads(), *(str(w.message) for w in caught))
    """
    count, _, warning = run(code, FASTCCA_NUM_THREADS=text, OMP_NUM_THREADS="5").partition(" ")
    assert count == "5"
    expected = f"FASTCCA_NUM_THREADS={text!r} is ignored: expected a positive integer"
    assert warning == (expected if text else "")


@pytest.mark.parametrize("text", ["4,2", " 4", "4 "])
def test_lists_and_blanks_are_read(text: str) -> None:
    code = "import fastcca; print(fastcca.get_num_threads())"
    assert run(code, OMP_NUM_THREADS=text) == "4"
