import io
import json

import pytest

from fastgmm.bench.grid import Case
from fastgmm.bench.worker import serve

CASE = Case("pass", "diag", 500, 2, 2, n_passes=2)


def converse(*requests):
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_whole_conversation():
    prepared, measured, judged = converse(
        {"action": "prepare", "competitor": "fastgmm", "case": CASE.to_dict()},
        {"action": "measure", "seconds": 0.0},
        {"action": "judge"},
    )
    assert prepared["memory_method"]
    assert isinstance(prepared["arithmetic"], list)
    assert len(measured["repeats"]) == 1
    assert measured["repeats"][0][0] > 0
    assert judged["result"] < 0


def test_errors_are_answers_and_the_conversation_continues(capsys):
    first, second, third = converse(
        {"action": "measure", "seconds": 0.0},
        {"action": "prepare", "competitor": "nobody", "case": CASE.to_dict()},
        {"action": "prepare", "competitor": "fastgmm", "case": CASE.to_dict()},
    )
    assert first == {"error": "RuntimeError: prepare must be the first request"}
    assert second == {"error": "KeyError: 'nobody'"}
    assert "error" not in third
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("competitor", ["fastgmm", "scikit-learn"])
def test_judge_does_as_many_passes_as_the_case_says(competitor):
    request = {"action": "prepare", "competitor": competitor, "case": CASE.to_dict()}
    once = converse(request, {"action": "judge"})[-1]
    after_measuring = converse(
        request, {"action": "measure", "seconds": 0.0}, {"action": "judge"}, {"action": "judge"}
    )[-1]
    assert after_measuring == once
