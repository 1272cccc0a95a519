"""Classification of irises and wines, and of a million rows.

This program cross-validates classifiers on the iris and the wine
data of scikit-learn: stratified folds, drawn anew in each repetition, and the same for all.
`GaussianMixtureClassifier` with default parameters, and with mixtures chosen by BIC, stands beside
the discriminant analyzes and the naive Bayes of scikit-learn, and both kinds of R's ``MclustDA``.
The target is that the defaults err no more often than either discriminant analysis and
``MclustDA``. Targets of R are missing where it, or mclust, is not installed: ``apt-get install
r-cran-mclust``.

Then, times of a fit and of probabilities for a million rows, with the same structure as
scikit-learn's.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB

from fastgmm.estimators.classifier import GaussianMixtureClassifier
from harness.lines import print_line
from harness.targets import Target, report_targets

OWN = "fastgmm"
LDA, QDA, NAIVE_BAYES = "LDA", "QDA", "GaussianNB"
MCLUST, EDDA = "MclustDA", "MclustDA, EDDA"
N_FOLDS = 10
DATA_SETS: dict[str, Callable[..., Any]] = {"iris": load_iris, "wine": load_wine}

COMPETITORS: dict[str, Callable[[], Any]] = {
    OWN: GaussianMixtureClassifier,
    "fastgmm, EDDA by BIC": lambda: GaussianMixtureClassifier(selection="bic"),
    "fastgmm, mixtures": lambda: GaussianMixtureClassifier(range(1, 6), random_state=0),
    LDA: LinearDiscriminantAnalysis,
    QDA: QuadraticDiscriminantAnalysis,
    NAIVE_BAYES: GaussianNB,
}

_LEAST_PROBABILITY = 1e-15
"""What counts for less in a log loss."""

_R = """
suppressMessages(library(mclust))
arguments <- commandArgs(trailingOnly = TRUE)
rows <- as.matrix(read.table(arguments[1]))
folds <- as.matrix(read.table(arguments[2]))
X <- rows[, -1]
y <- rows[, 1]
for (kind in c("MclustDA", "EDDA")) {
  for (repetition in seq_len(ncol(folds))) {
    for (fold in unique(folds[, repetition])) {
      held <- folds[, repetition] == fold
      began <- proc.time()[["elapsed"]]
      model <- MclustDA(X[!held, ], y[!held], modelType = kind, verbose = FALSE)
      seconds <- proc.time()[["elapsed"]] - began
      found <- predict(model, X[held, ])
      right <- found$z[cbind(seq_len(sum(held)), match(y[held], sort(unique(y))))]
      wrong <- sum(as.character(found$classification) != as.character(y[held]))
      cat(kind, wrong, -sum(log(pmax(right, 1e-15))), seconds, "\\n")
    }
  }
}
"""


class Figures(NamedTuple):
    """How well a classifier did, over all folds and repetitions.

    Attributes
    ----------
    error : float
        Share of the rows whose class was predicted wrongly, in percent.
    log_loss : float
        Mean of minus the logarithm of the probability of the class that is right, in nats.
    seconds : float
        Mean time of a fit.
    """

    error: float
    log_loss: float
    seconds: float


class Times(NamedTuple):
    """Shortest times, in seconds.

    Attributes
    ----------
    fit, predict : float
        Of a fit, and of the probabilities of all rows.
    """

    fit: float
    predict: float


def fold_numbers(y: npt.NDArray[np.int64], repetitions: int) -> npt.NDArray[np.int64]:
    """Return the fold that each row is held out in.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Classes.
    repetitions : int
        How many times all rows are held out.

    Returns
    -------
    ndarray of shape (n_samples, repetitions)
        Numbers from 0.
    """
    numbers = np.empty((len(y), repetitions), dtype=np.int64)
    for repetition in range(repetitions):
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=repetition)
        for fold, (_, held) in enumerate(folds.split(y, y)):
            numbers[held, repetition] = fold
    return numbers


def cross_validated(
    make: Callable[[], Any],
    X: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
) -> Figures:
    """Return the figures of a classifier.

    Parameters
    ----------
    make : callable
        Returns the classifier, not fitted yet.
    X : ndarray of shape (n_samples, n_features)
        The rows.
    y : ndarray of shape (n_samples,)
        Their classes, counted from 0.
    folds : ndarray of shape (n_samples, repetitions)
        What `fold_numbers` returned.

    Returns
    -------
    Figures
        The figures.
    """
    wrong, loss, seconds = 0, 0.0, []
    for numbers in folds.T:
        for fold in range(N_FOLDS):
            held = numbers == fold
            began = time.perf_counter()
            classifier = make().fit(X[~held], y[~held])
            seconds.append(time.perf_counter() - began)
            probabilities = classifier.predict_proba(X[held])
            wrong += int(np.sum(probabilities.argmax(axis=1) != y[held]))
            right = probabilities[np.arange(held.sum()), y[held]]
            loss -= float(np.log(np.maximum(right, _LEAST_PROBABILITY)).sum())
    return Figures(100.0 * wrong / folds.size, loss / folds.size, float(np.mean(seconds)))


def cross_validated_by_r(
    X: npt.NDArray[np.float64], y: npt.NDArray[np.int64], folds: npt.NDArray[np.int64]
) -> dict[str, Figures]:
    """Return the figures of both kinds of mclust's classifiers.

    Parameters
    ----------
    X, y, folds
        As for `cross_validated`.

    Returns
    -------
    dict of str to Figures
        By name; empty if R or mclust is not installed.

    Raises
    ------
    RuntimeError
        If mclust is there, and fails.
    """
    if shutil.which("Rscript") is None:
        return {}
    probe = subprocess.run(
        ["Rscript", "-e", "suppressMessages(library(mclust))"], capture_output=True, check=False
    )
    if probe.returncode != 0:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        rows, numbers = Path(folder, "rows"), Path(folder, "folds")
        np.savetxt(rows, np.column_stack([y, X]))
        np.savetxt(numbers, folds, fmt="%d")
        done = subprocess.run(
            ["Rscript", "-e", _R, str(rows), str(numbers)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"MclustDA failed: {done.stderr.strip()}")
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {}
    for name, kind in ((MCLUST, "MclustDA"), (EDDA, "EDDA")):
        values = np.array([line[1:] for line in lines if line[0] == kind], dtype=np.float64)
        wrong, loss, _ = values.sum(axis=0) / folds.size
        found[name] = Figures(100.0 * float(wrong), float(loss), float(values[:, 2].mean()))
    return found


def compare(name: str, repetitions: int) -> dict[str, Figures]:
    """Let all classifiers do a data set.

    Parameters
    ----------
    name : str
        One of `DATA_SETS`.
    repetitions : int
        How many times all rows are held out.

    Returns
    -------
    dict of str to Figures
        The figures of each.
    """
    X, y = DATA_SETS[name](return_X_y=True)
    folds = fold_numbers(y, repetitions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mixtures that did not converge
        found = {each: cross_validated(make, X, y, folds) for each, make in COMPETITORS.items()}
    return found | cross_validated_by_r(X, y, folds)


def targets(name: str, found: dict[str, Figures]) -> list[Target]:
    """Return the targets: no larger an error than that of each peer.

    Parameters
    ----------
    name : str
        The data set.
    found : dict of str to Figures
        What `compare` returned.

    Returns
    -------
    list of Target
        One for each peer; not measured for those that are not there.
    """
    own = found[OWN].error
    return [
        Target(
            f"cross-validated error, {name}, against {peer}",
            found[peer].error if peer in found else 0.0,
            "%",
            False,
            own if peer in found else None,
        )
        for peer in (LDA, QDA, MCLUST)
    ]


def timed(rows: int, n_features: int = 10, n_classes: int = 3, rounds: int = 3) -> dict[str, Times]:
    """Return times on many rows.

    Parameters
    ----------
    rows, n_features, n_classes : int
        Size of the data.
    rounds : int
        How often each is timed.

    Returns
    -------
    dict of str to Times
        The shortest times of each.
    """
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, rows)
    X = rng.normal(size=(rows, n_features)) + rng.normal(size=(n_classes, n_features))[y]
    competitors: dict[str, Callable[[], Any]] = {
        f"{OWN}, full": lambda: GaussianMixtureClassifier(covariance_type="full"),
        QDA: QuadraticDiscriminantAnalysis,
        f"{OWN}, diag": lambda: GaussianMixtureClassifier(covariance_type="diag"),
        NAIVE_BAYES: GaussianNB,
        f"{OWN}, defaults": GaussianMixtureClassifier,
    }
    found = {}
    for name, make in competitors.items():
        make().fit(X[:1000], y[:1000]).predict_proba(X[:1000])  # compiled before it is timed
        fits, predictions = [], []
        for _ in range(rounds):
            began = time.perf_counter()
            classifier = make().fit(X, y)
            fits.append(time.perf_counter() - began)
            began = time.perf_counter()
            classifier.predict_proba(X)
            predictions.append(time.perf_counter() - began)
        found[name] = Times(min(fits), min(predictions))
    return found


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
        "--repetitions", type=int, default=5, help="of all folds (default: %(default)s)"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="that are timed (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    checked: list[Target] = []
    for name in DATA_SETS:
        found = compare(name, options.repetitions)
        print(f"{name}, {options.repetitions} times {N_FOLDS} folds")
        print_line("", "error", "log loss", "seconds of a fit")
        for each, figures in found.items():
            error, loss, seconds = figures
            print_line(f"  {each}", f"{error:.3f}%", f"{loss:.4f}", f"{seconds:.4f}")
        if MCLUST not in found:
            print("  MclustDA: R or its package mclust is not installed")
        checked += targets(name, found)
    print(f"{options.rows} rows, 10 features, 3 classes")
    print_line("", "seconds of a fit", "of probabilities")
    for each, times in timed(options.rows).items():
        print_line(f"  {each}", f"{times.fit:.3f}", f"{times.predict:.3f}")
    return report_targets(checked)


if __name__ == "__main__":
    sys.exit(main())
