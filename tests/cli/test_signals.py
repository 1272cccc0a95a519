"""Ctrl-C, SIGTERM, closed pipes and terminals."""

import os
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import fastgmm
from fastgmm.cli.application import run
from fastgmm.cli.fit_with_progress import FitProgress, passes_left
from fastgmm.cli.interruption import Interrupted, Interruption
from tests.cli_process import COMMAND, TIMEOUT

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    rows = np.random.default_rng(0).standard_normal((200_000, 4))
    np.save(folder / "data.npy", rows)
    fastgmm.GaussianMixture(1, covariance_type="diag").fit(rows[:100]).save(folder / "model.fgm")
    return folder


def start(folder, *arguments, **streams):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **streams},
    )


def line_of_first_pass(process):
    """Return the first line of progress that is not about reading, which a busy machine shows."""
    while (line := process.stderr.readline()).startswith("reading:"):
        pass
    return line


ENDLESS = ("fit", "data.npy", "-k", 8, "--tol", 0, "--max-iter", 10**9)


@posix_only
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_what_has_been_reached(folder, tmp_path, number, status):
    path = tmp_path / "reached.fgm"
    with start(folder, *ENDLESS, "-o", path) as process:
        assert line_of_first_pass(process).startswith("pass 1:")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status
    assert "interrupted after" in stdout
    assert "ending after this pass" in stderr
    assert f"the parameters reached are in {str(path)!r}" in stderr
    assert "Traceback" not in stderr
    model = fastgmm.load(path)
    assert not model.converged_
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(model.trace_))
    assert list(tmp_path.iterdir()) == [path]


@posix_only
def test_signal_without_an_output_says_that_nothing_is_kept(folder):
    with start(folder, *ENDLESS) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert stderr.splitlines()[-1].endswith("nothing was saved")


@posix_only
def test_signal_ends_commands_that_keep_nothing(folder, tmp_path):
    path = tmp_path / "kept.fgm"
    path.write_bytes(b"as it was")
    with start(folder, "detect", *ENDLESS[1:], "-o", path, "--force") as process:
        assert process.stderr.readline().startswith("reading: ")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted: nothing was saved"
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


@posix_only
def test_signal_leaves_the_image_reached(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    path = tmp_path / "reached.png"
    options = ("-k", 8, "--tol", 0, "--max-iter", 10**9, "-o", path)
    with start(folder, "segment", "noise.png", *options) as process:
        assert line_of_first_pass(process).startswith("pass 1:")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "interrupted after" in stdout
    assert f"the result so far is in {str(path)!r}" in stderr
    with Image.open(path) as opened:
        assert opened.size == (800, 600)


@posix_only
def test_closed_pipe_ends_quietly(folder):
    with start(folder, "predict", "data.npy", "-m", "model.fgm", "-q") as process:
        assert process.stdout.readline() == "component\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait(timeout=TIMEOUT)
    assert process.returncode == 0


@posix_only
def test_terminal_gets_a_progress_bar(folder):
    import pty
    import termios

    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (24, 120))  # rates of a fast machine leave room for the rest
    with start(folder, *ENDLESS[:-1], 60, "-k", 2, stderr=follower) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 4096):
                shown += piece
        except OSError:
            pass  # Linux ends a terminal with an error.
        process.communicate(timeout=TIMEOUT)
    os.close(leader)
    assert process.returncode == 0
    text = shown.decode()
    assert "log-likelihood -" in text
    assert "left" in text


def test_first_signal_can_wait_and_the_second_does_not(capfd):
    with Interruption() as interruption:
        interruption.deferred = True
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal_number == signal.SIGINT
        assert capfd.readouterr().err == "ending after this pass; the same again ends at once\n"
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_signal_with_nothing_to_keep_is_raised_at_once():
    with Interruption(), pytest.raises(Interrupted) as caught:
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.signal_number == signal.SIGTERM


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("trace", "tolerance", "expected"),
    [
        ([0.0, 1.0], 1e-3, None),  # too early to tell
        ([0.0, 1.0, 1.5], 1e-3, 9),  # gains are halved: 0.5 · 2^-9 is the first below 1e-3
        ([0.0, 1.0, 1.0], 1e-3, 0),
        ([0.0, 1.0, 3.0], 1e-3, 97),  # no end in sight but the number of passes
        ([0.0, 1.0, 1.5], 0.0, 97),
    ],
)
def test_estimate_of_passes_left(trace, tolerance, expected):
    assert passes_left(trace, tolerance, max_passes=100) == expected


@posix_only
def test_the_bar_is_not_full_before_the_pass_that_measures_the_result():
    progress = FitProgress(tolerance=1.0, max_passes=3, n_starts=2, quiet=True)
    for log_likelihood in (-3.0, -2.5, -2.4):
        progress.add_pass(0, log_likelihood)
    (task,) = progress._bar.tasks
    assert (task.completed, task.total, task.finished) == (3, 4, False)


def test_interrupted_while_modules_are_loaded():
    code = (
        "import sys, fastgmm.cli\n"
        "def interrupt(): raise KeyboardInterrupt\n"
        "fastgmm.cli._run = interrupt\n"
        "fastgmm.cli.main()"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert process.returncode == 130
    assert process.stderr.split(b"\n") == [b"interrupted: nothing was saved", b""]


def test_interrupted_while_a_compiled_module_is_loaded(monkeypatch, capsys):
    def load(_files):
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("it failed to import")

    monkeypatch.setattr("fastgmm.cli.information.look_at", load)
    assert run(["info", "rows.csv"]) == 130
    assert capsys.readouterr().err == "interrupted: nothing was saved\n"
