import os

import pytest

from comparisons import startup
from comparisons.startup import (
    Startup,
    StartupError,
    first_fit_seconds,
    import_seconds,
    measure_startup,
)


def test_import_is_timed_in_a_fresh_process():
    seconds = import_seconds(["import email", "import json"], os.environ, n_repeats=2)
    assert len(seconds) == 2
    assert all(0 < each < 60 for each in seconds)


def test_failure_is_an_error_with_the_last_words():
    with pytest.raises(StartupError, match=r"code 1: .*No module named 'no_such_module'"):
        import_seconds(["import no_such_module"], os.environ, n_repeats=1)


def test_silent_failure():
    with pytest.raises(StartupError, match="code 3: it wrote nothing"):
        import_seconds(["import os; os._exit(3)"], os.environ, n_repeats=1)


def test_cold_and_warm_share_an_empty_cache_of_their_own(monkeypatch):
    # The first fit itself is left out: this shows only what surrounds it.
    script = (
        "import os, pathlib\n"
        "mark = pathlib.Path(os.environ['NUMBA_CACHE_DIR']) / 'compiled'\n"
        "print(1.0 if mark.exists() else 9.0)\n"
        "mark.touch()\n"
    )
    monkeypatch.setattr(startup, "_FIRST_FIT", script)
    assert first_fit_seconds(os.environ, n_repeats=2) == (9.0, 1.0)


def test_all_figures_together(monkeypatch):
    imports = {
        "import sklearn.mixture": 1.0,
        "import fastgmm": 0.1,
        "from fastgmm import GaussianMixture": 1.2,
    }
    monkeypatch.setattr(
        startup,
        "import_seconds",
        lambda statements, _, n_repeats: [imports[each] / n_repeats for each in statements],
    )
    monkeypatch.setattr(startup, "first_fit_seconds", lambda _, n_repeats: (5.0, n_repeats))
    monkeypatch.setattr(startup, "command_seconds", lambda *_, n_repeats: 0.5 / n_repeats)
    measured = measure_startup({}, n_repeats=1)
    assert measured == Startup(1.0, 0.1, 1.2, 5.0, 1, 0.5)
    targets = {target.subject: target for target in measured.targets()}
    assert targets["first fit in a process, empty numba cache"].met
    assert not targets["first fit in a process, filled numba cache"].met
    beyond = targets["import of the estimator, beyond that of sklearn.mixture"]
    assert beyond.measured == pytest.approx(0.2)


def test_a_command_is_timed_as_a_whole_process():
    assert 0 < startup.command_seconds("predict - -m bad.fgm", os.environ, n_repeats=1) < 60


def test_first_fit_script_runs(monkeypatch):
    small = startup._FIRST_FIT.replace("20_000", "200")
    monkeypatch.setattr(startup, "_FIRST_FIT", small)
    assert startup._run(startup._FIRST_FIT, os.environ) > 0


@pytest.mark.parametrize(("cold", "status"), [(5.0, 0), (7.0, 1)])
def test_program_prints_figures_and_targets(monkeypatch, capsys, cold, status):
    found = Startup(1.0, 0.0123, 1.2, cold, 0.3, 0.2)
    monkeypatch.setattr(startup, "measure_startup", lambda *_, **__: found)
    assert startup.main([]) == status
    out = capsys.readouterr().out
    assert "12.3 ms" in out
    assert ("missed" in out) == status


def test_program_says_why_it_failed(monkeypatch, capsys):
    def fail(*_, **__):
        raise StartupError("code 1: no disk [left]")

    monkeypatch.setattr(startup, "measure_startup", fail)
    assert startup.main([]) == 1
    assert "error: code 1: no disk [left]" in capsys.readouterr().err
