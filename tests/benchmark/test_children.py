import os
import sys

import pytest

from fastgmm.benchmark.children import Child, ChildError
from fastgmm.benchmark.grid import Case


def child_running(script):
    return Child(os.environ, (sys.executable, "-c", script))


def test_real_worker_reports_errors_and_results():
    case = Case("pass", "diag", 300, 2, 2)
    with Child(os.environ) as child:
        with pytest.raises(ChildError, match="KeyError: 'nobody'"):
            child.ask("prepare", contestant="nobody", case=case.to_dict())
        child.ask("prepare", contestant="scikit-learn", case=case.to_dict())
        assert child.ask("judge")["result"] < 0


def test_what_a_library_prints_does_not_disturb_the_answers():
    script = (
        "import os, sys, fastgmm.benchmark.worker as w\n"
        "serve = w.serve\n"
        "def noisy(requests, answers):\n"
        "    print('chatter', flush=True)\n"
        "    os.system('echo more chatter')\n"
        "    serve(requests, answers)\n"
        "w.serve = noisy\n"
        "w.main()\n"
    )
    with child_running(script) as child, pytest.raises(ChildError, match="prepare must be"):
        child.ask("judge")


def test_death_is_reported_with_code_and_last_words():
    script = "import os, sys; sys.stderr.write('out of cheese\\n'); sys.stderr.flush(); os._exit(7)"
    with (
        child_running(script) as child,
        pytest.raises(ChildError, match=r"ended with code 7 during prepare: out of cheese"),
    ):
        child.ask("prepare")


def test_silent_death_is_reported_too():
    with (
        child_running("import os; input(); os._exit(1)") as child,
        pytest.raises(ChildError, match=r"ended with code 1 during judge: it wrote nothing"),
    ):
        child.ask("judge")


def test_an_interrupted_parent_does_not_wait():
    with (
        pytest.raises(KeyboardInterrupt),
        child_running("import time; time.sleep(600)"),
    ):
        raise KeyboardInterrupt
