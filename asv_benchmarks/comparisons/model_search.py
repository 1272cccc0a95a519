"""A search over all structures and sizes.

On the five data sets of mclust's documentation. In one run: the time of R's `Mclust` and of
`MixtureSearch`, what each chooses, and the log-likelihood that mclust's own E-step finds for the
mixture that `MixtureSearch` chose. Needs R with mclust: ``apt-get install r-cran-mclust``.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from fastgmm import GaussianMixture, MixtureSearch
from fastgmm.bench.report import make_console
from harness.targets import Target, report_targets

DATA_SETS = ("faithful", "iris", "diabetes", "banknote", "thyroid")
LEAST_RATIO = 20.0
LARGEST_DIFFERENCE = 0.01

_FIT = """
suppressMessages(library(mclust))
arguments <- commandArgs(trailingOnly = TRUE)
for (name in arguments[-(1:2)]) {
  data(list = name)
  rows <- get(name)
  rows <- rows[sapply(rows, is.numeric)]
  write.table(rows, file.path(arguments[1], name), row.names = FALSE, col.names = FALSE)
  seconds <- Inf
  for (i in seq_len(as.integer(arguments[2]))) {
    seconds <- min(seconds, system.time(fit <- Mclust(rows, G = 1:9, verbose = FALSE))[["elapsed"]])
  }
  cat(name, seconds, fit$modelName, fit$G, sprintf("%.10f", fit$bic), "\\n")
}
"""

_CONFIRM = """
suppressMessages(library(mclust))
arguments <- commandArgs(trailingOnly = TRUE)
for (name in arguments[-1]) {
  rows <- as.matrix(read.table(file.path(arguments[1], name)))
  read <- function(what) scan(file.path(arguments[1], paste0(name, ".", what)), quiet = TRUE)
  weights <- read("weights")
  d <- ncol(rows); k <- length(weights)
  sigma <- array(read("covariances"), c(d, d, k))
  factors <- array(apply(sigma, 3, chol), dim(sigma))
  variance <- list(modelName = "VVV", d = d, G = k, sigma = sigma, cholsigma = factors)
  parameters <- list(pro = weights, mean = matrix(read("means"), d, k), variance = variance)
  found <- estep(data = rows, modelName = "VVV", parameters = parameters)
  cat(name, sprintf("%.10f", found$loglik), "\\n")
}
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a search chose.

    Attributes
    ----------
    model : str
        Structure and number of components.
    bic : float
        BIC, as mclust signs it: higher is better.
    seconds : float
        Shortest time of the search.
    """

    model: str
    bic: float
    seconds: float


def run_mclust(folder: Path, rounds: int) -> dict[str, Chosen]:
    """Search with mclust, and leave the data sets in a folder.

    Parameters
    ----------
    folder : Path
        Where to write the rows.
    rounds : int
        How often each search is timed.

    Returns
    -------
    dict of str to Chosen
        By data set.

    Raises
    ------
    RuntimeError
        If R or mclust is missing.
    """
    found = {}
    for line in _run_r(_FIT, [str(folder), str(rounds), *DATA_SETS]):
        name, seconds, model, size, bic = line.split()
        found[name] = Chosen(f"{model}, {size}", float(bic), float(seconds))
    return found


def confirm(folder: Path, mixtures: dict[str, GaussianMixture]) -> dict[str, float]:
    """Return the log-likelihood that mclust's E-step finds for mixtures.

    Parameters
    ----------
    folder : Path
        Where the rows are.
    mixtures : dict of str to GaussianMixture
        Fitted mixtures, by data set.

    Returns
    -------
    dict of str to float
        In nats.
    """
    for name, mixture in mixtures.items():
        precisions = mixture._parameters().precisions()
        if precisions.ndim == 2:
            precisions = np.array([np.diag(each) for each in precisions])
        written = {
            "weights": mixture.weights_,
            "means": mixture.means_,
            "covariances": np.linalg.inv(precisions),
        }
        for what, values in written.items():
            np.savetxt(folder / f"{name}.{what}", values.reshape(-1), fmt="%.17g")
    lines = _run_r(_CONFIRM, [str(folder), *mixtures])
    return {line.split()[0]: float(line.split()[1]) for line in lines}


def _run_r(script: str, arguments: Sequence[str]) -> list[str]:
    if shutil.which("Rscript") is None:
        raise RuntimeError("this benchmark needs R with mclust: apt-get install r-cran-mclust")
    command = ["Rscript", "-e", script, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"R failed, perhaps for want of mclust: {ended.stderr.strip()}")
    return ended.stdout.splitlines()


def search(X: np.ndarray, rounds: int) -> tuple[GaussianMixture, Chosen]:
    """Search once to compile, and then for the time.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows.
    rounds : int
        How often the search is timed.

    Returns
    -------
    mixture : GaussianMixture
        The best mixture.
    chosen : Chosen
        What it is, and how long the search took.
    """
    found = MixtureSearch(random_state=0).fit(X)
    seconds = math.inf
    for _ in range(rounds):
        began = time.perf_counter()
        found = MixtureSearch(random_state=0).fit(X)
        seconds = min(seconds, time.perf_counter() - began)
    mixture = found.best_estimator_
    model = f"{mixture.covariance_type}, {mixture.n_components}"
    return mixture, Chosen(model, -found.best_score_, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0, or 1 if a target was missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    table = Table("data", "mclust", "BIC", "s", "fastgmm", "BIC", "confirmed", "s", "ratio")
    targets = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = run_mclust(folder, options.rounds)
        rows = {each: np.loadtxt(folder / each) for each in DATA_SETS}
        found = {each: search(X, options.rounds) for each, X in rows.items()}
        confirmed = confirm(folder, {each: mixture for each, (mixture, _) in found.items()})
    for each in DATA_SETS:
        peer, (mixture, own) = peers[each], found[each]
        # mclust's figure for the same parameters, and so for the same BIC
        n_parameters = mixture._n_parameters()
        bic = 2.0 * confirmed[each] - n_parameters * math.log(len(rows[each]))
        table.add_row(
            each,
            peer.model,
            f"{peer.bic:.3f}",
            f"{peer.seconds:.3f}",
            own.model,
            f"{own.bic:.3f}",
            f"{bic:.3f}",
            f"{own.seconds:.4f}",
            f"{peer.seconds / own.seconds:.1f}",
        )
        behind = peer.bic - bic
        targets.append(
            Target(f"BIC behind mclust's, {each}", LARGEST_DIFFERENCE, "", False, behind)
        )
    ratio = sum(each.seconds for each in peers.values()) / sum(
        own.seconds for _, own in found.values()
    )
    targets.append(Target("whole searches, mclust / fastgmm", LEAST_RATIO, "x", True, ratio))
    make_console().print(table)
    return report_targets(targets)


if __name__ == "__main__":
    sys.exit(main())
