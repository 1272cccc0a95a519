"""The command line as users meet it: a process with arguments, two streams and a status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "fastgmm"]


def fastgmm(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def succeed(*arguments: object, cwd: Path | None = None) -> str:
    """Run a command that must succeed, and return its standard output."""
    process = fastgmm(*arguments, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return process.stdout


def refuse(*arguments: object, cwd: Path | None = None) -> str:
    """Run a command that must refuse its input, and return the one sentence that says why."""
    process = fastgmm(*arguments, cwd=cwd)
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    lines = process.stderr.splitlines()
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("error: ")
    return lines[0]
