import os
from dataclasses import replace
from typing import ClassVar

import pytest

from fastgmm.bench.grid import Case
from fastgmm.bench.machine import Machine, Peak
from harness import measurement
from harness.competitors import OneDAL
from harness.measurement import Figures, Row, measure_case
from harness.worker import WorkerError

CASE = Case("pass", "full", 1_000, 2, 3, n_passes=2)


class ScriptedChild:
    """Plays the competitor that it is asked to prepare, from a table of what each answers."""

    scripts: ClassVar[dict] = {}

    def __init__(self, environment):
        self.environment = environment
        self.log = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, action, **values):
        if action == "prepare":
            self.script = self.scripts[values["competitor"]]
        answer = self.script.get(action)
        if isinstance(answer, Exception):
            raise answer
        return answer


def script(result=-2.0, repeats=((1.0, 0.0), (0.5, 0.0), (0.8, 0.0)), **changes):
    return {
        "prepare": {"memory": 10, "memory_method": "counted", "arithmetic": ["fingers"]},
        "measure": {"repeats": [list(repeat) for repeat in repeats]},
        "judge": {"result": result},
        **changes,
    }


def measure(monkeypatch, case=CASE, **scripts):
    names = {"fastgmm": "fastgmm", "sklearn": "scikit-learn", "onedal": "oneDAL"}
    monkeypatch.setattr(OneDAL, "is_installed", classmethod(lambda _: "onedal" in scripts))
    monkeypatch.setattr(
        ScriptedChild, "scripts", {names[name]: value for name, value in scripts.items()}
    )
    return measure_case(
        case,
        ["scikit-learn", "oneDAL"],
        environment={},
        rounds=2,
        seconds=0.0,
        make_worker=ScriptedChild,
    )


def test_best_and_median_of_all_rounds(monkeypatch):
    row = measure(monkeypatch, fastgmm=script(), sklearn=script(repeats=[(5.0, 0.0)]))
    assert row.own == Figures(
        seconds=0.25,
        median_seconds=0.4,
        n_repeats=6,
        memory=10,
        memory_method="counted",
        result=-2.0,
        arithmetic=("fingers",),
    )
    assert row.ratio("scikit-learn") == 10.0
    assert row.flops_per_second == CASE.flops / 0.25


def test_what_is_done_once_is_taken_away(monkeypatch):
    repeats = [(5.0, 3.5), (6.0, 3.0), (9.0, 4.0)]
    row = measure(monkeypatch, fastgmm=script(), sklearn=script(), onedal=script(repeats=repeats))
    assert row.figures["oneDAL"].seconds == (5.0 - 3.0) / 2
    assert row.figures["oneDAL"].median_seconds == (6.0 - 3.5) / 2


def test_time_lost_in_noise_is_not_a_time(monkeypatch):
    row = measure(monkeypatch, fastgmm=script(), sklearn=script(repeats=[(1.0, 1.5)]))
    assert row.figures["scikit-learn"].seconds is None
    assert row.figures["scikit-learn"].note.startswith("not timed: a call with more passes")


def test_missing_peer_says_what_to_install(monkeypatch):
    row = measure(monkeypatch, fastgmm=script(), sklearn=script())
    assert row.figures["oneDAL"] == Figures(note="not installed: pip install scikit-learn-intelex")
    assert row.ratio("oneDAL") is None


@pytest.mark.parametrize("step", ["prepare", "measure", "judge"])
def test_failed_peer_leaves_a_note_and_no_ratio(monkeypatch, step):
    failing = script(**{step: WorkerError("it broke")})
    row = measure(monkeypatch, fastgmm=script(), sklearn=failing)
    assert row.figures["scikit-learn"].note == "failed: it broke"
    assert row.ratio("scikit-learn") is None
    assert row.own.note == ""


def test_failure_of_fastgmm_is_kept_too(monkeypatch):
    row = measure(monkeypatch, fastgmm=script(prepare=WorkerError("it broke")), sklearn=script())
    assert row.own.note == "failed: it broke"
    assert row.ratio("scikit-learn") is None


@pytest.mark.parametrize("result", [-2.0001, float("nan"), float("inf")])
def test_different_results_are_said_and_not_compared(monkeypatch, result):
    row = measure(monkeypatch, fastgmm=script(), sklearn=script(result=result))
    assert "results differ" in row.figures["scikit-learn"].note
    assert "against -2 of fastgmm" in row.figures["scikit-learn"].note
    assert row.figures["scikit-learn"].seconds is not None
    assert row.ratio("scikit-learn") is None


def test_float32_has_its_own_tolerance(monkeypatch):
    case = replace(CASE, dtype="float32")
    row = measure(monkeypatch, case, fastgmm=script(), sklearn=script(result=-2.0001))
    assert row.figures["scikit-learn"].note == ""


def test_tasks_that_a_peer_does_not_have(monkeypatch):
    row = measure(monkeypatch, replace(CASE, task="scoring"), fastgmm=script(), sklearn=script())
    assert set(row.figures) == {"fastgmm", "scikit-learn"}


def test_a_fit_is_measured_for_its_memory_alone(monkeypatch):
    row = measure(monkeypatch, replace(CASE, task="fit"), fastgmm=script())
    assert row.own.seconds is None
    assert row.own.memory == 10
    assert row.flops_per_second is None


def test_share_of_peak_is_that_of_the_type_of_the_data():
    peaks = {"float64": Peak(1, 1e6, 512), "float32": Peak(1, 2e6, 512)}
    machine = Machine("p", "s", 1, 0.0, peaks, (), {}, "omp")
    row = Row(replace(CASE, dtype="float32"), {"fastgmm": Figures(seconds=CASE.flops / 1e6)})
    assert row.share_of_peak(machine) == pytest.approx(0.5)


def test_json_has_case_figures_and_ratio(monkeypatch):
    document = measure(monkeypatch, fastgmm=script(), sklearn=script()).to_dict()
    assert document["id"] == CASE.identifier
    assert Case(**document["case"]) == CASE
    assert document["flops_per_pass"] == CASE.flops
    assert document["competitors"]["scikit-learn"]["ratio"] == 1.0
    assert document["competitors"]["fastgmm"]["seconds"] == 0.25


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_real_competitors_in_subprocesses_of_their_own(dtype):
    case = replace(CASE, n_samples=20_000, dtype=dtype)
    row = measure_case(
        case, ["scikit-learn", "oneDAL"], environment=os.environ, rounds=1, seconds=0.0
    )
    for name, figures in row.figures.items():
        if not measurement.COMPETITORS[name].is_installed():
            continue
        # A single repeat on a busy machine may measure no time, but the results must agree.
        assert figures.note == "" or figures.note.startswith("not timed")
        assert figures.result == pytest.approx(row.own.result, rel=1e-4)
        assert figures.arithmetic
    assert row.own.seconds > 0
    assert row.figures["scikit-learn"].seconds > 0
