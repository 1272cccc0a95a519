import io

import pytest
from rich.console import Console

from harness.targets import Target, report_targets


def test_targets_beside_what_was_measured():
    targets = [
        Target("speed", 2.0, "x", True, 3.0),
        Target("share", 70.0, "%", True, 69.0),
        Target("memory", 100.0, "MB", False, None),
        Target("start", 0.6, "s", False, 0.31),
        Target("gap", 0.1, "%", False, 0.0253),
    ]
    console = Console(file=io.StringIO(), width=150)
    report_targets(targets, console)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["speed", "≥", "2.0×", "3.0×", "met"] in lines
    assert ["share", "≥", "70", "%", "69", "%", "missed"] in lines
    assert ["memory", "≤", "100", "MB", "–", "not", "measured"] in lines
    assert ["start", "≤", "0.60", "s", "0.31", "s", "met"] in lines
    assert ["gap", "≤", "0.100", "%", "0.025", "%", "met"] in lines


@pytest.mark.parametrize(("measured", "status"), [(3.0, 0), (None, 0), (1.0, 1), (float("nan"), 1)])
def test_a_missed_target_is_a_failure(measured, status):
    assert report_targets([Target("speed", 2.0, "x", True, measured)]) == status


def test_json_has_the_verdict():
    assert Target("speed", 2.0, "x", True, 3.0).to_dict() == {
        "subject": "speed",
        "limit": 2.0,
        "unit": "x",
        "at_least": True,
        "measured": 3.0,
        "met": True,
    }
