import io
import json
import os
import sys
from dataclasses import asdict

import pytest

from fastgmm.bench.grid import Case
from harness.worker import WorkerError, WorkerProcess, serve

CASE = Case("pass", "diag", 500, 2, 2, n_passes=2)


def converse(*requests):
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_whole_conversation():
    prepared, measured, judged = converse(
        {"action": "prepare", "competitor": "fastgmm", "case": asdict(CASE)},
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
        {"action": "prepare", "competitor": "nobody", "case": asdict(CASE)},
        {"action": "prepare", "competitor": "fastgmm", "case": asdict(CASE)},
    )
    assert first == {"error": "RuntimeError: prepare must be the first request"}
    assert second == {"error": "KeyError: 'nobody'"}
    assert "error" not in third
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("competitor", ["fastgmm", "scikit-learn"])
def test_judge_does_as_many_passes_as_the_case_says(competitor):
    request = {"action": "prepare", "competitor": competitor, "case": asdict(CASE)}
    once = converse(request, {"action": "judge"})[-1]
    after_measuring = converse(
        request, {"action": "measure", "seconds": 0.0}, {"action": "judge"}, {"action": "judge"}
    )[-1]
    assert after_measuring == once


def worker_running(script):
    return WorkerProcess(os.environ, (sys.executable, "-c", script))


def test_real_worker_reports_errors_and_results():
    case = Case("pass", "diag", 300, 2, 2)
    with WorkerProcess(os.environ) as worker:
        with pytest.raises(WorkerError, match="KeyError: 'nobody'"):
            worker.ask("prepare", competitor="nobody", case=asdict(case))
        worker.ask("prepare", competitor="scikit-learn", case=asdict(case))
        assert worker.ask("judge")["result"] < 0


def test_what_a_library_prints_does_not_disturb_the_answers():
    script = (
        "import os, sys, harness.worker as w\n"
        "serve = w.serve\n"
        "def noisy(requests, answers):\n"
        "    print('chatter', flush=True)\n"
        "    os.system('echo more chatter')\n"
        "    serve(requests, answers)\n"
        "w.serve = noisy\n"
        "w.main()\n"
    )
    with worker_running(script) as worker, pytest.raises(WorkerError, match="prepare must be"):
        worker.ask("judge")


def test_death_is_reported_with_code_and_last_words():
    script = "import os, sys; sys.stderr.write('out of cheese\\n'); sys.stderr.flush(); os._exit(7)"
    with (
        worker_running(script) as worker,
        pytest.raises(WorkerError, match=r"ended with code 7 during prepare: out of cheese"),
    ):
        worker.ask("prepare")


def test_silent_death_is_reported_too():
    with (
        worker_running("import os; input(); os._exit(1)") as worker,
        pytest.raises(WorkerError, match=r"ended with code 1 during judge: it wrote nothing"),
    ):
        worker.ask("judge")


def test_an_interrupted_parent_does_not_wait():
    with (
        pytest.raises(KeyboardInterrupt),
        worker_running("import time; time.sleep(600)"),
    ):
        raise KeyboardInterrupt
