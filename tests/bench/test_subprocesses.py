import os
import sys

import pytest

from fastgmm.bench.grid import Case
from fastgmm.bench.subprocesses import WorkerError, WorkerProcess


def worker_running(script):
    return WorkerProcess(os.environ, (sys.executable, "-c", script))


def test_real_worker_reports_errors_and_results():
    case = Case("pass", "diag", 300, 2, 2)
    with WorkerProcess(os.environ) as worker:
        with pytest.raises(WorkerError, match="KeyError: 'nobody'"):
            worker.ask("prepare", competitor="nobody", case=case.to_dict())
        worker.ask("prepare", competitor="scikit-learn", case=case.to_dict())
        assert worker.ask("judge")["result"] < 0


def test_what_a_library_prints_does_not_disturb_the_answers():
    script = (
        "import os, sys, fastgmm.bench.worker as w\n"
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
