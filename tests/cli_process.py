"""The command line: in a process of its own, as users meet it, or here, which is quicker."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings
from pathlib import Path

from fastgmm.cli.application import run

COMMAND = [sys.executable, "-m", "fastgmm"]

TIMEOUT = 600
"""Seconds after which a process is taken to hang: far more than it needs on a busy machine."""

Outcome = subprocess.CompletedProcess[str]


def in_process(*arguments: object, cwd: Path) -> Outcome:
    """Run a command in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT,
        check=False,
    )


def in_here(*arguments: object, cwd: Path) -> Outcome:
    """Run a command in this process."""
    words = [str(argument) for argument in arguments]
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        status = run(words)
    return subprocess.CompletedProcess(words, status, stdout.getvalue(), stderr.getvalue())


def succeed(*arguments: object, cwd: Path, run=in_here) -> str:
    """Run a command that must succeed, and return its standard output."""
    outcome = run(*arguments, cwd=cwd)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def refuse(*arguments: object, cwd: Path, run=in_here) -> str:
    """Run a command that must refuse its input, and return the one sentence that says why."""
    outcome = run(*arguments, cwd=cwd)
    assert outcome.returncode == 2, outcome.stderr
    assert outcome.stdout == ""
    # A line on reading is for what takes seconds, as all does on a busy machine.
    lines = [each for each in outcome.stderr.splitlines() if not each.startswith("reading: ")]
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("error: ")
    return lines[0]
