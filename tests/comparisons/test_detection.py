"""The benchmark of outlier detection, with few repetitions."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import average_precision_score
from sklearn.mixture import GaussianMixture

from comparisons import detection
from comparisons.detection import OWN, PEERS, TASKS, Figures, Task, compare, splits, targets

BENIGN = Task("benign", True, {"covariance_type": "diag"}, 0.05)
ALL = Task("all", False, {"covariance_type": "diag"}, 0.37)


def test_benign_rows_are_fitted_and_others_judged():
    halves = list(splits(BENIGN, 2))
    for split in halves:
        assert (len(split.fitted), len(split.judged)) == (178, 391)
        assert split.is_outlier.sum() == 212
        np.testing.assert_allclose(split.fitted.mean(axis=0), 0.0, atol=1e-12)
    assert not np.array_equal(halves[0].fitted, halves[1].fitted)


def test_all_rows_are_fitted_and_judged():
    (split,) = splits(ALL, 1)
    assert split.fitted.shape == (569, 30)
    np.testing.assert_array_equal(split.fitted, split.judged)


@pytest.mark.parametrize("task", [BENIGN, ALL], ids=["benign", "all"])
def test_figures_are_those_of_the_detectors(task):
    found = compare(task, 1)
    assert set(found) == {OWN, *PEERS}
    # With one component, both mixtures are the same.
    assert found[OWN].average_precision == pytest.approx(found[PEERS[0]].average_precision)
    assert found[OWN].seconds > 0.0
    (split,) = splits(task, 1)
    scores = GaussianMixture(**task.parameters).fit(split.fitted).score_samples(split.judged)
    assert found[PEERS[0]].average_precision == average_precision_score(split.is_outlier, -scores)
    called = scores < np.quantile(
        GaussianMixture(**task.parameters).fit(split.fitted).score_samples(split.fitted),
        task.contamination,
    )
    assert found[PEERS[0]].recall == np.mean(called[split.is_outlier])


def test_tasks_are_about_the_data_that_they_say():
    assert load_breast_cancer().target_names[0] == "malignant"
    assert {task.labeled for task in TASKS} == {True, False}


def test_targets_compare_with_each_peer():
    figures = {name: Figures(0.5, 0.5, 0.5, 0.5, 1.0) for name in (OWN, *PEERS)}
    assert [target.met for target in targets(BENIGN, figures)] == [True, True]
    figures[PEERS[1]] = Figures(0.51, 0.5, 0.5, 0.5, 1.0)
    assert [target.met for target in targets(BENIGN, figures)] == [True, False]


@pytest.mark.parametrize("average_precision", [0.0, 1.0])
def test_the_command_prints_and_says_whether_targets_are_met(
    capsys, monkeypatch, average_precision
):
    own = Figures(average_precision, 0.5, 0.25, 0.125, 1.5)
    peers = dict.fromkeys(PEERS, Figures(0.5, 0.5, 0.5, 0.5, 1.0))
    monkeypatch.setattr(detection, "TASKS", (BENIGN,))
    monkeypatch.setattr(detection, "compare", lambda task, repetitions: {OWN: own, **peers})  # noqa: ARG005
    assert detection.main(["--repetitions", "3"]) == int(average_precision == 0.0)
    text = capsys.readouterr().out
    assert "benign, threshold at the 5% quantile" in text
    assert "0.1250" in text
    for peer in PEERS:
        assert f"average precision, benign, against {peer}" in text
