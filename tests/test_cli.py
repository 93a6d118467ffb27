"""The command line: the same numbers as the Python interface, exit codes, one line an error."""

import errno
import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastcca
from command_line import run, run_well
from fastcca import CCA, CCACV, KernelCCA, KernelCCACV, cli
from fastcca.cli import _input
from fastcca.datasets import make_two_views
from fastcca.embedding import NearestClassMean
from fastcca.fusion import EarlyFusion
from fastcca.synchrony import SynchronyDetector


def program(*arguments, **options):
    """The program in a process of its own."""
    command = [sys.executable, "-m", "fastcca", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def loaded(path):
    with np.load(path) as archive:
        return archive["Z"]


@pytest.fixture(scope="module")
def views():
    return make_two_views(400, (6, 4), (0.9, 0.6, 0.3), random_state=0)


@pytest.fixture
def files(views, tmp_path):
    """The same two tables in several formats; the text ones have names."""
    np.save(tmp_path / "X.npy", views.X)
    np.save(tmp_path / "Y.npy", views.y)
    np.savez(tmp_path / "both.npz", X=views.X, Y=views.y)
    for name, table, columns in (("X", views.X, "abcdef"), ("Y", views.y, "wxyz")):
        for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
            np.savetxt(
                tmp_path / f"{name}{suffix}",
                table,
                "%.17g",
                delimiter,
                header=delimiter.join(columns),
                comments="",
            )
    return tmp_path


@pytest.fixture
def model(files):
    run_well(
        "fit", files / "X.npy", files / "Y.npy", "-k", 3, "--reg", "1e-3", "-o", files / "model.safetensors"
    )
    return files / "model.safetensors"


# ---- the same as in Python ---------------------------------------------------------------------------


def test_fit_equals_python(views, files, model):
    expected = CCA(n_components=3, reg=1e-3).fit(views.X, views.y)
    found = fastcca.load(model)
    assert type(found) is CCA
    assert found.get_params() == expected.get_params()
    np.testing.assert_array_equal(found.x_weights_, expected.x_weights_)
    np.testing.assert_array_equal(found.y_weights_, expected.y_weights_)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ([], {}),
        (["--reg-y", "0.5"], {"reg": (0.0, 0.5)}),
        (["--reg", "0.1", "--reg-y", "0.5", "--scale"], {"reg": (0.1, 0.5), "scale": True}),
        (["--solver", "qr", "-k", "2", "--threads", "1"], {"solver": "qr", "n_components": 2}),
    ],
)
def test_fit_options(views, files, options, parameters):
    run_well("fit", files / "X.npy", files / "Y.npy", *options, "-o", files / "m.safetensors")
    expected = CCA(**parameters).fit(views.X, views.y)
    np.testing.assert_array_equal(fastcca.load(files / "m.safetensors").x_weights_, expected.x_weights_)


def test_threads_are_put_back(files):
    before = fastcca.get_num_threads()
    run_well("fit", files / "X.npy", files / "Y.npy", "--threads", before + 1, "-o", files / "m.safetensors")
    assert fastcca.get_num_threads() == before


def test_fit_chooses_the_ridge(views, files):
    out = run_well("fit", files / "X.npy", files / "Y.npy", "-k", 2, "--cv", 3, "-o", files / "m.safetensors")
    expected = CCACV(n_components=2, cv=3).fit(views.X, views.y)
    found = fastcca.load(files / "m.safetensors")
    np.testing.assert_array_equal(found.x_weights_, expected.best_estimator_.x_weights_)
    assert found.get_params()["reg"] == expected.best_estimator_.reg
    assert "saved to" in out
    training = expected.canonical_correlations_.mean()
    assert f"{training:.4f} in training, {expected.best_score_:.4f} cross-validated (3 folds)" in out


def test_a_warning_is_told_once_in_a_sentence(files, monkeypatch):
    fit = CCA.fit

    def warns(self, *args, **options):
        for place in ("one", "two"):
            exec(f"import warnings; warnings.warn('a word of\\ncaution', stacklevel=1)  # {place}")
        return fit(self, *args, **options)

    monkeypatch.setattr(CCA, "fit", warns)
    code, _, err = run("fit", files / "X.npy", files / "Y.npy", "-o", files / "m.safetensors")
    assert code == 0
    assert err.strip() == "fastcca: warning: a word of caution"


def test_fit_of_kernel_cca(views, files):
    base = [
        "fit",
        files / "X.npy",
        files / "Y.npy",
        "--model",
        "kernel-cca",
        "-k",
        "2",
        "-o",
        files / "k.safetensors",
    ]
    out = run_well(*base, "--kernel", "laplacian", "--gamma", "0.2", "--rank", "40", "--reg", "1e-2")
    assert "landmarks     40 in X, 40 in Y" in out
    model = KernelCCA(2, kernel="laplacian", gamma=0.2, rank=40, reg=1e-2).fit(views.X, views.y)
    np.testing.assert_array_equal(
        fastcca.load(files / "k.safetensors").transform(views.X), model.transform(views.X)
    )
    run_well(*base, "--cv", "3", "--rank", "30")
    search = KernelCCACV(2, rank=30, cv=3).fit(views.X, views.y)
    found = fastcca.load(files / "k.safetensors")
    assert (found.x_gamma_, found.y_gamma_, found.reg) == (*search.gamma_, search.reg_)
    run_well("transform", files / "k.safetensors", files / "X.npy", "-o", files / "Z.npy")
    np.testing.assert_array_equal(np.load(files / "Z.npy"), found.transform(views.X))


def test_formats_agree_and_names_are_kept(views, files):
    for x, y in (
        (files / "X.csv", files / "Y.csv"),
        (files / "X.tsv", files / "Y.npy"),
        (f"{files / 'both.npz'}:X", f"{files / 'both.npz'}:Y"),
    ):
        run_well("fit", x, y, "-o", files / "m.safetensors")
        found = fastcca.load(files / "m.safetensors")
        np.testing.assert_array_equal(found.x_weights_, CCA().fit(views.X, views.y).x_weights_)
        names = list(getattr(found, "feature_names_in_", []))
        assert names == (list("abcdef") if str(x).endswith("sv") else [])
        names = list(getattr(found, "y_feature_names_in_", []))
        assert names == (list("wxyz") if str(y).endswith("sv") else [])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
@pytest.mark.parametrize("view", ["x", "y"])
def test_transform_equals_python(views, files, model, suffix, view):
    cca = fastcca.load(model)
    expected = cca.transform(views.X) if view == "x" else cca.transform_y(views.y)
    output = files / f"Z{suffix}"
    run_well("transform", model, files / f"{view.upper()}.npy", "--view", view, "-o", output)
    if suffix == ".csv":
        assert output.read_text().splitlines()[0] == ",".join(cca.get_feature_names_out())
        found = np.loadtxt(output, delimiter=",", skiprows=1)
    else:
        found = np.load(output) if suffix == ".npy" else loaded(output)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_score_equals_python(views, files, model):
    cca = fastcca.load(model)
    out = run_well("score", model, files / "X.npy", files / "Y.csv")
    u, v = cca.transform_views(views.X, views.y)
    lines = [line.split() for line in out.splitlines()[1:]]
    correlations = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)]
    expected = [*correlations, sum(correlations), cca.score(views.X, views.y)]
    assert [name for name, _ in lines] == ["1", "2", "3", "total", "mean"]
    np.testing.assert_allclose([float(value) for _, value in lines], expected, atol=5e-7)


def test_float32_is_kept(views, files):
    np.save(files / "X32.npy", views.X.astype(np.float32))
    np.save(files / "Y32.npy", views.y.astype(np.float32))
    run_well("fit", files / "X32.npy", files / "Y32.npy", "-o", files / "m.safetensors")
    run_well("transform", files / "m.safetensors", files / "X32.npy", "-o", files / "Z.npy")
    assert np.load(files / "Z.npy").dtype == np.float32


def test_names_must_be_those_of_the_fit(files):
    run_well("fit", files / "X.csv", files / "Y.csv", "-o", files / "m.safetensors")
    run_well("transform", files / "m.safetensors", files / "X.csv", "-o", files / "Z.csv")
    run_well("transform", files / "m.safetensors", files / "X.npy", "-o", files / "Z.csv")
    lines = (files / "X.csv").read_text().splitlines()
    (files / "swapped.csv").write_text("\n".join(["a,c,b,d,e,f", *lines[1:]]))
    code, _, err = run("transform", files / "m.safetensors", files / "swapped.csv", "-o", files / "Z2.csv")
    assert code == 2
    assert "column 2 is 'c', the model was fitted with 'b' there" in err
    code, _, err = run("transform", files / "m.safetensors", files / "Y.csv", "-o", files / "Z2.csv")
    assert code == 2
    assert "4 columns, the model was fitted with 6" in err
    assert not (files / "Z2.csv").exists()


# ---- files larger than memory ------------------------------------------------------------------------


def test_long_files_are_read_piece_by_piece(views, files, monkeypatch):
    """With small limits: no piece above the chunk, and the fit is that of the whole."""
    pieces = []
    update = fastcca.Moments.update

    def watched(self, *arrays, **options):
        pieces.append(sum(array.nbytes for array in arrays))
        return update(self, *arrays, **options)

    monkeypatch.setattr(fastcca.Moments, "update", watched)
    monkeypatch.setattr("fastcca.cli._fit.LONG", 1000)
    monkeypatch.setattr("fastcca.cli._input.CHUNK", 4000)
    run_well("fit", files / "X.npy", files / "Y.npy", "-k", 3, "-o", files / "m.safetensors")
    assert max(pieces) <= 4000
    assert sum(pieces) == views.X.nbytes + views.y.nbytes
    expected = CCA(n_components=3).fit(views.X, views.y)
    np.testing.assert_allclose(
        fastcca.load(files / "m.safetensors").x_weights_, expected.x_weights_, atol=1e-10
    )

    pieces.clear()
    run_well("score", files / "m.safetensors", files / "X.npy", files / "Y.npy")
    assert len(pieces) > 5
    broken = views.X.copy()
    broken[399, 2] = np.inf
    np.save(files / "broken.npy", broken)
    for arguments in (
        ["fit", files / "broken.npy", files / "Y.npy"],
        ["transform", files / "m.safetensors", files / "broken.npy"],
    ):
        code, _, err = run(
            *arguments, "-o", files / ("bad.safetensors" if arguments[0] == "fit" else "bad.npy")
        )
        assert code == 2
        if arguments[0] == "fit":
            assert "the first is at row 399, column 2 (row " in err
            continue
        place, start = (int(number) for number in re.search(r"(\d+).*counted from row (\d+)", err).groups())
        assert place + start == 399
    run_well("transform", files / "m.safetensors", files / "X.npy", "-o", files / "Z.npy")
    np.testing.assert_allclose(np.load(files / "Z.npy"), expected.transform(views.X), atol=1e-10)


def test_a_fit_goes_on_from_its_checkpoint(views, files, monkeypatch):
    monkeypatch.setattr("fastcca.cli._input.CHUNK", 4000)
    update, calls = fastcca.Moments.update, []

    def interrupted(self, *arrays, **options):
        calls.append(len(arrays[0]))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return update(self, *arrays, **options)

    arguments = ["fit", files / "X.npy", files / "Y.npy", "-k", 3, "--checkpoint", files / "sums"]
    with monkeypatch.context() as patched:
        patched.setattr(fastcca.Moments, "update", interrupted)
        code, _, err = run(*arguments, "-o", files / "m.safetensors")
    assert (code, err.strip()) == (130, "fastcca: error: interrupted")
    assert (files / "sums").exists()
    calls.clear()
    with monkeypatch.context() as patched:
        patched.setattr(fastcca.Moments, "update", lambda *a, **o: calls.append(len(a[1])) or update(*a, **o))
        run_well(*arguments, "-o", files / "m.safetensors")
    rows = max(calls)
    assert sum(calls) == len(views.X) - 3 * rows
    assert not (files / "sums").exists()
    run_well("fit", files / "X.npy", files / "Y.npy", "-k", 3, "-o", files / "whole.safetensors")
    got, want = (fastcca.load(files / f"{name}.safetensors") for name in ("m", "whole"))
    np.testing.assert_allclose(got.x_weights_, want.x_weights_, atol=1e-10)
    for extra in (["--cv", 3], ["--method", "pls"], ["--solver", "qr"]):
        code, _, err = run("fit", files / "X.npy", files / "Y.npy", "--checkpoint", files / "sums", *extra)
        assert code == 2
        assert "--checkpoint is for --method cca by moments" in err


def test_a_fit_by_dask(views, files):
    dask_distributed = pytest.importorskip(
        "distributed", reason="dask (the extra `distributed`) is not installed"
    )
    arguments = ["fit", files / "X.npy", files / "Y.npy", "-k", 3]
    run_well(*arguments, "--reg", 0.1, "-o", files / "whole.safetensors")
    want = fastcca.load(files / "whole.safetensors")
    cluster = dask_distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address=None, protocol="tcp"
    )
    with cluster:
        for scheduler in ("threads", cluster.scheduler_address):
            out = run_well(*arguments, "--reg", 0.1, "--scheduler", scheduler, "-o", files / "m.safetensors")
            assert f"{len(views.X)} rows" in out
            got = fastcca.load(files / "m.safetensors")
            np.testing.assert_allclose(got.x_weights_, want.x_weights_, atol=1e-10)
    run_well(*arguments, "--cv", 4, "-o", files / "whole.safetensors")
    run_well(*arguments, "--cv", 4, "--scheduler", "synchronous", "-o", files / "m.safetensors")
    got, want = (fastcca.load(files / f"{name}.safetensors") for name in ("m", "whole"))
    assert got.reg == pytest.approx(want.reg)
    for extra, message in (
        (["--scheduler", "cluster"], "--scheduler must be an address such as tcp://HOST:PORT, threads"),
        (["--scheduler", "threads", "--method", "pls"], "--scheduler is for --method cca by moments"),
        (
            ["--scheduler", "threads", "--checkpoint", files / "c"],
            "--scheduler is for --method cca by moments",
        ),
        (["--scheduler", "threads", "--cv", 3, "--reg", 1], "--cv chooses the ridge itself"),
    ):
        code, _, err = run(*arguments, *extra, "-o", files / "m.safetensors")
        assert (code, message in err) == (2, True), err


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_progress_is_shown_on_a_terminal_alone(monkeypatch, stream, shown):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr("fastcca.cli._input.CHUNK", 160)
    monkeypatch.setattr("fastcca.cli._input.PATIENCE", 0)
    table = np.zeros((25, 2))
    assert list(_input.by_chunks("reading", len, table)) == [10, 10, 5]
    assert ("reading" in sys.stderr.getvalue()) == shown


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_long_files_stay_out_of_memory(tmp_path):
    """160 MB of tables: what the process has of its own grows by far less."""
    block = np.random.default_rng(0).standard_normal((1000, 400), dtype=np.float32)
    for name, other in (("X.npy", block), ("Y.npy", block[:, ::-1] + np.roll(block, 1, axis=0))):
        table = np.lib.format.open_memmap(tmp_path / name, mode="w+", dtype=np.float32, shape=(50_000, 400))
        for i in range(50):
            table[1000 * i : 1000 * (i + 1)] = other
        del table
    code = """if True:
        import re, sys, threading, time
        from pathlib import Path
        import fastcca, tqdm
        from fastcca import cli
        cli._fit.LONG = 0
        fastcca.CCA, fastcca.load

        def own():
            return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

        def watch():
            global peak
            while True:
                peak = max(peak, own())
                time.sleep(0.005)

        before = peak = own()
        threading.Thread(target=watch, daemon=True).start()
        for arguments in sys.argv[1].split(";"):
            cli.main(arguments.split(), standalone_mode=False)
        print("peak", peak - before)
    """
    commands = "fit X.npy Y.npy -k 5 --reg 0.1 -o m.safetensors;transform m.safetensors X.npy -o Z.npy;"
    commands += "score m.safetensors X.npy Y.npy"
    done = subprocess.run(
        [sys.executable, "-c", code, commands], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert float(done.stdout.split("peak")[1]) < 100, done.stdout
    assert np.load(tmp_path / "Z.npy", mmap_mode="r").shape == (50_000, 5)


# ---- errors ------------------------------------------------------------------------------------------


def bad(name, message):
    return pytest.param(name, message, id=" ".join(map(str, name)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        bad(["fit"], "Missing argument 'X'. (see fastcca fit --help)"),
        bad(["fit", "X.npy", "Y.npy", "-k", "0"], "Invalid value for '-k'"),
        bad(["fit", "X.npy", "Y.npy", "--rank", "9"], "--rank are for --method kernel-cca"),
        bad(["fit", "X.npy", "Y.npy", "--model", "kernel-cca", "--scale"], "--solver and --scale are for"),
        bad(
            ["fit", "X.npy", "Y.npy", "--model", "kernel-cca", "--cv", "3", "--gamma", "1"],
            "--cv chooses itself",
        ),
        bad(
            ["fit", "X.npy", "Y.npy", "--model", "kernel-cca", "--gamma", "0"],
            "gamma must be a finite number > 0",
        ),
        bad(["fit", "X.npy", "Y.npy", "--solver", "magic"], "Invalid value for '--solver'"),
        bad(["fit", "X.npy", "Y.npy", "--cv", "3", "--reg", "1"], "--cv chooses the ridge itself"),
        bad(["fit", "X.npy", "Y.npy", "--reg", "-1"], "reg"),
        bad(["fit", "X.npy", "Y.npy", "-k", "5"], "n_components"),
        bad(["fit", "X.npy", "Y.npy", "-o", "m.pickle"], "m.pickle: cannot write this format"),
        bad(["fit", "X.npy", "Y.npy", "-o", "absent/m.safetensors"], "no folder absent"),
        bad(["fit", "absent.npy", "Y.npy"], "absent.npy: no such file"),
        bad(["fit", "X.npy", "short.npy"], "the same rows, got 400 in X.npy and 3 in short.npy"),
        bad(["fit", "both.npz", "Y.npy"], "say which: both.npz:NAME"),
        bad(["fit", "nan.npy", "Y.npy"], "NaN"),
        bad(["fit", "X.npy", "constant.npy"], "constant"),
        bad(["transform", "absent.safetensors", "X.npy", "-o", "Z.npy"], "absent.safetensors"),
        bad(["transform", "broken.safetensors", "X.npy", "-o", "Z.npy"], "broken.safetensors"),
        bad(["transform", "both.npz", "X.npy", "-o", "Z.npy"], "both.npz"),
        bad(["transform", "model.safetensors", "Y.npy", "-o", "Z.npy"], "features"),
        bad(["transform", "model.safetensors", "X.npy"], "Missing option '-o'"),
        bad(["transform", "model.safetensors", "X.npy", "-o", "Z.parquet"], "cannot write this format"),
        bad(["score", "model.safetensors", "Y.npy", "X.npy"], "features"),
        bad(["info", "X.npy"], "X.npy"),
        bad(["seek"], "No such command 'seek'"),
        bad(["demo", "-o", "picture.txt"], "cannot write this format"),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(files, model, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    np.save("short.npy", np.eye(3))
    np.save("constant.npy", np.ones((400, 2)))
    broken = np.load("X.npy")
    broken[3, 1] = np.nan
    np.save("nan.npy", broken)
    (files / "broken.safetensors").write_bytes(model.read_bytes()[:200])
    before = sorted(os.listdir())
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("fastcca: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(os.listdir()) == before


def test_a_folder_that_cannot_be_written_is_told_before_the_fit(files, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "something of its own")

    monkeypatch.setattr("fastcca.cli._tables.tempfile.TemporaryFile", refuse)
    # the tables are not even looked for
    code, out, err = run("fit", "absent.npy", "absent.npy", "-o", files / "m.safetensors")
    told = f"{files / 'm.safetensors'}: cannot write in its folder (Permission denied)"
    assert (code, out, err) == (2, "", f"fastcca: error: {told}\n")


def test_warnings_are_one_line(views, files):
    doubled = np.hstack([views.X, views.X[:, :1]])
    np.save(files / "doubled.npy", doubled)
    np.save(files / "wide.npy", np.hstack([views.y] * 2))
    code, _, err = run(
        "fit", files / "doubled.npy", files / "wide.npy", "-k", 7, "-o", files / "m.safetensors"
    )
    assert code == 0
    assert err.startswith("fastcca: warning: ")
    assert err.count("\n") == 1
    assert fastcca.load(files / "m.safetensors").n_components_ == 4


def test_unexpected_errors_are_not_the_users(monkeypatch):
    def broken():
        raise KeyError("a bug")

    monkeypatch.setattr("fastcca.cli._about.build_info", broken)
    with pytest.raises(KeyError):
        run("info")


def test_a_process_of_its_own(files, model):
    """Exit codes and streams as a shell sees them, through ``python -m fastcca``."""
    done = program("score", model, files / "X.npy", files / "Y.npy")
    assert (done.returncode, done.stderr) == (0, "")
    done = program("fit", "absent.npy", "absent.npy", cwd=files)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fastcca: error: absent.npy: no such file\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")
def test_interrupt_is_130(files, tmp_path):
    code = (
        "import time, fastcca.cli as cli, fastcca.cli._input\n"
        "def slow(*_, **__): print('started', flush=True); time.sleep(60)\n"
        "cli._input.read_table = slow\n"
        "cli.main(['fit', 'X.npy', 'Y.npy'], prog_name='fastcca')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "fastcca: error: interrupted"


# ---- help and info -----------------------------------------------------------------------------------


def test_help_and_version():
    assert "fit" in run_well()
    assert run_well() == run_well("--help")
    assert run_well("--version") == f"fastcca {fastcca.build_info()['version']}\n"
    for command in cli.main.commands:
        assert run_well(command, "--help").startswith("Usage: ")


def test_help_imports_no_heavy_package():
    code = (
        "import sys, fastcca.cli\n"
        "try: fastcca.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('loaded', *{name.split('.')[0] for name in sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names = set(out.split("loaded")[1].split())
    assert "click" in names
    assert names.isdisjoint({"sklearn", "scipy", "tqdm", "matplotlib", "torch"})


def test_info(model):
    lines = dict(line.split(None, 1) for line in run_well("info").splitlines())
    info = fastcca.build_info()
    assert lines["version"] == info["version"]
    assert lines["isa"] == info["isa"]
    assert lines["levels"] == ", ".join(info["levels"])
    out = run_well("info", model)
    cca = fastcca.load(model)
    assert (
        "CCA(missing='error', n_components=3, n_threads=None, reg=0.001, scale=False, shrinkage=None" in out
    )
    assert "6 in X, 4 in Y" in out
    assert " ".join(f"{value:.4f}" for value in cca.canonical_correlations_) in out


def test_models_without_a_second_view_say_so(files, tmp_path):
    NearestClassMean().fit(np.arange(6.0).reshape(6, 1), [0, 0, 0, 1, 1, 1]).save(
        tmp_path / "classes.safetensors"
    )
    x = tmp_path / "x.npy"
    np.save(x, np.arange(6.0).reshape(6, 1))
    for command in (
        ("transform", tmp_path / "classes.safetensors", x, "--view", "y", "-o", tmp_path / "Z.npy"),
        ("score", tmp_path / "classes.safetensors", x, x),
    ):
        code, _, err = run(*command)
        assert code == 2
        assert "a NearestClassMean has no second view" in err


@pytest.mark.parametrize("estimator", [None, KernelCCA(2, rank=20)])
def test_a_detector_is_described_and_projects_nothing(views, files, estimator):
    detector = SynchronyDetector(estimator, context=1, max_lag=12).fit(views.X, views.y)
    detector.save(files / "detector.safetensors")
    out = run_well("info", files / "detector.safetensors")
    assert re.search(
        r"^model +SynchronyDetector\(context=1, lengths='equal', max_lag=12, missing='raise'\)$",
        out,
        re.MULTILINE,
    )
    name = type(detector.estimator_).__name__
    assert re.search(
        rf"^estimator +{name}\(.*n_components={detector.estimator_.n_components}, ", out, re.MULTILINE
    )
    assert re.search(r"^columns +6 in X, 4 in Y$", out, re.MULTILINE)  # as in the tables, without neighbours
    assert f"{detector.estimator_.canonical_correlations_[0]:.4f}" in out
    for command in (
        ("transform", files / "detector.safetensors", files / "X.npy", "-o", files / "Z.npy"),
        ("score", files / "detector.safetensors", files / "X.npy", files / "Y.npy"),
    ):
        assert run(*command) == (2, "", "fastcca: error: a SynchronyDetector does not project rows\n")


def test_the_article_is_that_of_the_name(views, files):
    EarlyFusion().fit(views.X).save(files / "fusion.safetensors")
    code, _, err = run("score", files / "fusion.safetensors", files / "X.npy", files / "Y.npy")
    assert (code, err) == (2, "fastcca: error: an EarlyFusion has no second view\n")
    code, _, err = run("search", files / "fusion.safetensors", files / "X.npy", files / "Y.npy")
    assert code == 2
    assert "holds an EarlyFusion, which has neither a second view nor labels" in err


@pytest.mark.filterwarnings("ignore")
def test_report(files, views, tmp_path):
    model = tmp_path / "m.safetensors"
    run_well("fit", files / "X.csv", files / "Y.csv", "-o", model)
    fitted = fastcca.load(model)
    assert run_well("report", model) == f"{fitted.summary()}\n"
    expected = fastcca.report(fitted, views.X, views.y, permutations=9, bootstraps=20, random_state=3)
    out = run_well(
        "report",
        model,
        files / "X.csv",
        files / "Y.csv",
        "--permutations",
        9,
        "--bootstraps",
        20,
        "--seed",
        3,
    )
    assert out == f"{expected}\n"
    assert "Permutation test, 9 shuffles" in out
    page = tmp_path / "report.html"
    out = run_well("report", model, files / "X.csv", files / "Y.csv", "-o", page, "--names", "left", "right")
    assert out == f"saved to {page}\n"
    text = page.read_text(encoding="utf-8")
    assert "Correlations of left with its own variates" in text
    assert ("data:image/png;base64" in text) == (importlib.util.find_spec("matplotlib") is not None)
    assert "http" not in text
    for arguments, match in (
        ((model, files / "X.csv"), "both tables, or neither"),
        ((model, "--permutations", 9), "take the tables X and Y"),
        ((model, "-o", tmp_path / "report.pdf"), r"\.html"),
        ((model, files / "Y.csv", files / "X.csv"), "the model was fitted with"),
    ):
        code, _, err = run("report", *arguments)
        assert code == 2
        assert re.search(match, err)
        assert err.count("\n") == 1


def test_report_of_other_models(files, tmp_path):
    model = tmp_path / "views.safetensors"
    run_well("fit", files / "X.npy", files / "Y.npy", "--method", "mcca", "-k", 2, "-o", model)
    out = run_well("report", model)
    assert out.startswith("MCCA: 2 views")
    code, _, err = run("report", model, files / "X.npy", files / "Y.npy")
    assert (code, "takes no tables" in err) == (2, True)
    NearestClassMean().fit(np.eye(4), [0, 0, 1, 1]).save(tmp_path / "labels.safetensors")
    code, _, err = run("report", tmp_path / "labels.safetensors")
    assert (code, "a NearestClassMean has no report" in err) == (2, True)
