"""Outlier detection on scikit-learn's breast cancer data.

This program takes the malignant tumors for outliers. Two kinds of
tasks: in the first, detectors are fitted to half of the benign rows, and judged on the other half
and all malignant rows, for several random halves. In the second, they are fitted to all rows
without their labels, and judged on the same rows, for several random starts. Features are scaled to
unit variance on the rows that are fitted.

`GaussianMixtureOutlierDetector` stands beside scikit-learn's ``GaussianMixture`` of the same
parameters and ``IsolationForest``. All call outliers what is below the same quantile of the scores
of the rows that they were fitted to.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from fastgmm.estimators.operating_point import point_at
from fastgmm.estimators.outlier_detector import GaussianMixtureOutlierDetector
from harness.lines import print_line
from harness.targets import Target, report_targets

OWN = "fastgmm"
PEERS = ("scikit-learn's mixture", "IsolationForest")


@dataclass(frozen=True, slots=True)
class Task:
    """What detectors are fitted to and judged on.

    Attributes
    ----------
    name : str
        What tables call it.
    labeled : bool
        Whether only benign rows are fitted, and others judged.
    parameters : dict
        Parameters of both mixtures.
    contamination : float
        The quantile of the fitted rows' scores that is the threshold.
    """

    name: str
    labeled: bool
    parameters: dict[str, Any]
    contamination: float


TASKS = (
    Task("benign rows fitted, K=1 diag", True, {"covariance_type": "diag"}, 0.05),
    Task(
        "benign rows fitted, K=3 diag",
        True,
        {"n_components": 3, "covariance_type": "diag", "n_init": 10},
        0.05,
    ),
    Task("all rows fitted, K=2 full", False, {"n_components": 2, "n_init": 10}, 0.37),
)


class Figures(NamedTuple):
    """How well a detector did, on average over the repetitions.

    Attributes
    ----------
    average_precision, roc_auc : float
        Areas under the precision-recall curve and the receiver operating characteristic.
    precision, recall : float
        Those of the threshold.
    seconds : float
        Time of a fit.
    """

    average_precision: float
    roc_auc: float
    precision: float
    recall: float
    seconds: float


class Split(NamedTuple):
    """Rows to fit and rows to judge.

    Attributes
    ----------
    fitted, judged : ndarray of shape (n_rows, n_features)
        The rows, scaled.
    is_outlier : ndarray of bool
        Which of those judged are malignant.
    """

    fitted: npt.NDArray[np.float64]
    judged: npt.NDArray[np.float64]
    is_outlier: npt.NDArray[np.bool_]


def splits(task: Task, repetitions: int) -> Iterator[Split]:
    """Yield the rows of each repetition.

    Parameters
    ----------
    task : Task
        Says which rows are fitted and which are judged.
    repetitions : int
        How many there are.

    Yields
    ------
    Split
        The rows.
    """
    X, labels = load_breast_cancer(return_X_y=True)
    is_outlier = labels == 0
    for seed in range(repetitions):
        fitted = judged = np.arange(len(X))
        if task.labeled:
            fitted, others = train_test_split(
                np.flatnonzero(~is_outlier), test_size=0.5, random_state=seed
            )
            judged = np.concatenate([others, np.flatnonzero(is_outlier)])
        scaler = StandardScaler().fit(X[fitted])
        yield Split(scaler.transform(X[fitted]), scaler.transform(X[judged]), is_outlier[judged])


def compare(task: Task, repetitions: int = 10) -> dict[str, Figures]:
    """Let all detectors do a task.

    Parameters
    ----------
    task : Task
        The task.
    repetitions : int
        How often, each time with another half of the benign rows or other starts.

    Returns
    -------
    dict of str to Figures
        The figures of each.
    """
    found: dict[str, list[Figures]] = {name: [] for name in (OWN, *PEERS)}
    for seed, split in enumerate(splits(task, repetitions)):
        for name, detector in _detectors(task, seed).items():
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of starts that did not converge
                detector.fit(split.fitted)
            seconds = time.perf_counter() - began
            offset = getattr(detector, "offset_", None)
            if offset is None:
                offset = np.quantile(detector.score_samples(split.fitted), task.contamination)
            point = point_at(float(offset), split.is_outlier, detector.score_samples(split.judged))
            found[name].append(
                Figures(
                    point.average_precision, point.roc_auc, point.precision, point.recall, seconds
                )
            )
    return {name: Figures(*np.mean(each, axis=0).tolist()) for name, each in found.items()}


def _detectors(task: Task, seed: int) -> dict[str, Any]:
    """Return the detectors, not fitted yet."""
    share = task.contamination
    return {
        OWN: GaussianMixtureOutlierDetector(
            contamination=share, random_state=seed, **task.parameters
        ),
        PEERS[0]: GaussianMixture(random_state=seed, **task.parameters),
        PEERS[1]: IsolationForest(contamination=share, random_state=seed),
    }


def targets(task: Task, found: dict[str, Figures]) -> list[Target]:
    """Return the targets, no lower an average precision than that of each peer.

    Parameters
    ----------
    task : Task
        The task.
    found : dict of str to Figures
        What `compare` returned.

    Returns
    -------
    list of Target
        One for each peer. Figures are compared to five digits.
    """

    def percent(name: str) -> float:
        return round(100.0 * found[name].average_precision, 3)

    return [
        Target(
            f"average precision, {task.name}, against {peer}",
            percent(peer),
            "%",
            True,
            percent(OWN),
        )
        for peer in PEERS
    ]


def main(arguments: list[str] | None = None) -> int:
    """Compare and print.

    Parameters
    ----------
    arguments : list of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0, or 1 if a target was missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--repetitions", type=int, default=10, help="of each task (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    _compile()
    checked: list[Target] = []
    header = ("", "average precision", "area of ROC", "precision", "recall", "seconds of a fit")
    for task in TASKS:
        found = compare(task, options.repetitions)
        print(f"{task.name}, threshold at the {task.contamination:.0%} quantile")
        print_line(*header)
        for name, figures in found.items():
            print_line(f"  {name}", *(f"{value:.4f}" for value in figures))
        checked += targets(task, found)
    return report_targets(checked)


def _compile() -> None:
    """Let the compiled passes be there before anything is timed."""
    for covariance_type in ("diag", "full"):
        X = np.random.default_rng(0).normal(size=(64, 30))
        detector = GaussianMixtureOutlierDetector(
            covariance_type=covariance_type, contamination=0.1
        )
        detector.fit(X).predict(X)


if __name__ == "__main__":
    sys.exit(main())
