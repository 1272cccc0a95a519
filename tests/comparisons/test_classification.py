"""The benchmark of classification, with few repetitions."""

import subprocess

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from comparisons import classification
from comparisons.classification import (
    DATA_SETS,
    LDA,
    MCLUST,
    N_FOLDS,
    OWN,
    QDA,
    Figures,
    Times,
    cross_validated,
    cross_validated_by_r,
    fold_numbers,
    targets,
    timed,
)


@pytest.fixture
def iris():
    return DATA_SETS["iris"](return_X_y=True)


def test_folds_are_stratified_and_drawn_anew(iris):
    _, y = iris
    folds = fold_numbers(y, 2)
    assert folds.shape == (150, 2)
    assert not np.array_equal(folds[:, 0], folds[:, 1])
    for fold in range(N_FOLDS):
        assert np.bincount(y[folds[:, 0] == fold]).tolist() == [5, 5, 5]


def test_figures_are_those_of_scikit_learn(iris):
    X, y = iris
    folds = fold_numbers(y, 1)
    found = cross_validated(LinearDiscriminantAnalysis, X, y, folds)
    probabilities = cross_val_predict(
        LinearDiscriminantAnalysis(), X, y, cv=PredefinedSplit(folds[:, 0]), method="predict_proba"
    )
    assert found.error == pytest.approx(100.0 * np.mean(probabilities.argmax(axis=1) != y))
    assert found.log_loss == pytest.approx(log_loss(y, probabilities))
    assert found.seconds > 0.0


def test_what_r_prints_becomes_figures(iris, monkeypatch):
    X, y = iris
    printed = "MclustDA 1 3.0 0.5\nMclustDA 2 6.0 1.5\nEDDA 3 1.5 0.25\n"
    monkeypatch.setattr(classification.shutil, "which", lambda name: name)

    def run(command, **options):
        del options
        return subprocess.CompletedProcess(command, 0, stdout=printed, stderr="")

    monkeypatch.setattr(classification.subprocess, "run", run)
    found = cross_validated_by_r(X, y, fold_numbers(y, 1))
    assert found == {
        MCLUST: Figures(2.0, pytest.approx(0.06), 1.0),
        classification.EDDA: Figures(2.0, pytest.approx(0.01), 0.25),
    }


def test_without_r_there_are_no_figures_of_it(iris, monkeypatch):
    X, y = iris
    monkeypatch.setattr(classification.shutil, "which", lambda name: None)  # noqa: ARG005
    assert cross_validated_by_r(X, y, fold_numbers(y, 1)) == {}
    figures = dict.fromkeys((OWN, LDA, QDA), Figures(2.0, 0.1, 1.0))
    assert [target.met for target in targets("iris", figures)] == [True, True, None]


def test_targets_compare_with_each_peer():
    figures = dict.fromkeys((OWN, LDA, QDA, MCLUST), Figures(2.0, 0.1, 1.0))
    figures[QDA] = Figures(1.9, 0.2, 1.0)
    assert [target.met for target in targets("wine", figures)] == [True, False, True]


def test_times_are_of_all_competitors():
    found = timed(2000, 3, 2, rounds=1)
    assert len(found) == 5
    assert all(times.fit > 0.0 and times.predict > 0.0 for times in found.values())


@pytest.mark.parametrize("error", [1.0, 3.0])
def test_the_command_prints_and_says_whether_targets_are_met(capsys, monkeypatch, error):
    figures = dict.fromkeys((LDA, QDA), Figures(2.0, 0.125, 1.5)) | {OWN: Figures(error, 0.25, 1.0)}
    monkeypatch.setattr(classification, "compare", lambda name, repetitions: figures)  # noqa: ARG005
    monkeypatch.setattr(classification, "timed", lambda rows: {OWN: Times(1.0, float(rows))})
    assert classification.main(["--rows", "7"]) == int(error > 2.0)
    text = capsys.readouterr().out
    assert "iris, 5 times 10 folds" in text
    assert "0.1250" in text
    assert "R or its package mclust is not installed" in text
    assert "7.000" in text
    assert "cross-validated error, wine, against LDA" in text
