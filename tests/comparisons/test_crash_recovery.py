"""Fits that are killed at random moments and resumed."""

import os
import subprocess
import sys

import pytest

from comparisons import crash_recovery

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")


def test_killed_fits_end_as_if_left_alone():
    done = subprocess.run(
        [sys.executable, crash_recovery.__file__, "--kills", "8", "--seed", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["batch", "online"]
    for line in lines:
        assert int(line.split()[1]) >= 4
        assert "0 with another result, 0 rows lost or counted twice" in line
