"""The comparison of fits to groups, with few of them."""

import pytest

from comparisons import groups


def test_both_fit_the_same_groups():
    rows = groups.drawn_groups(6)
    own, theirs = groups.together(rows, 6), groups.one_by_one(rows, 6)
    assert own.log_likelihood == pytest.approx(theirs.log_likelihood, abs=0.1)
    assert own.seconds > 0.0


def test_the_loop_is_timed_on_some(capsys):
    assert groups.main(["--groups", "4", "--timed", "2"]) in (0, 1)
    text = capsys.readouterr().out
    assert "timed on 2 groups" in text
    assert "scikit-learn's loop" in text
