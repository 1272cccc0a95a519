"""One epoch of online EM against batch EM.

For five problems: how near the mixture that a single time through the rows leaves is to the batch
optimum, and how long the epoch takes beside one pass of batch EM. The start is timed apart, since
batch EM needs one too. Two optima are reported: the one that batch EM reaches from the
epoch, which the target is about; and the best known, with that reached from the true parameters,
since which of several optima is near is a matter of the start.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import MixtureProblem, make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_likelihood, mixture_statistics
from fastgmm.em.loop import Starts, fit_best
from fastgmm.em.online.minibatch import MinibatchPlan, batch_rows, fit_minibatch
from fastgmm.em.online.start import OnlineStart, begin_online, rows_of_start
from fastgmm.em.online.steps import OnlineState, StepSchedule
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.estimators.minibatch import MiniBatchGaussianMixture
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.structures import structure
from harness.lines import print_line
from harness.targets import Target, report_targets

PROBLEMS = (
    Case("fit", "full", 10_000_000, 2, 8),
    Case("fit", "full", 10_000_000, 3, 8),
    Case("fit", "full", 10_000_000, 8, 16),
    Case("fit", "full", 10_000_000, 8, 16, overlap="separated"),
    Case("fit", "full", 10_000_000, 16, 32),
)
LARGEST_GAP = 0.1
LARGEST_RATIO = 1.3

_TOL = 1e-6
_MAX_ITER = 200

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one problem came to.

    Attributes
    ----------
    batch_size : int
        Rows of a batch.
    optimum, best : float
        Mean log-likelihood, in nats, of batch EM started from the epoch, and the best known.
    reached : float
        That of the mixture after one epoch.
    start_seconds, epoch_seconds, pass_seconds : float
        Shortest times of the start, of the epoch after it, and of one pass of batch EM.
    """

    batch_size: int
    optimum: float
    best: float
    reached: float
    start_seconds: float
    epoch_seconds: float
    pass_seconds: float

    @property
    def ratio(self) -> float:
        """How many times as long as a pass the epoch takes."""
        return self.epoch_seconds / self.pass_seconds

    def gap(self, optimum: float) -> float:
        """Return how far the epoch stays behind an optimum, in percent of its size."""
        return 100.0 * (optimum - self.reached) / abs(optimum)

    def targets(self, label: str) -> tuple[Target, Target]:
        """Return the targets beside what was measured."""
        return (
            Target(
                f"behind the batch optimum, {label}",
                LARGEST_GAP,
                "%",
                False,
                self.gap(self.optimum),
            ),
            Target(f"epoch against a pass, {label}", LARGEST_RATIO, "x", False, self.ratio),
        )


def compare(case: Case, *, rounds: int = 3, max_iter: int = _MAX_ITER) -> Comparison:
    """Fit one problem in one epoch, by the estimator's defaults, and by batch EM.

    Parameters
    ----------
    case : Case
        The problem.
    rounds : int
        How often epoch and pass are timed, in turns, so that what disturbs the machine meets
        both.
    max_iter : int
        Most iterations of batch EM.

    Returns
    -------
    Comparison
        The figures.
    """
    problem = make_problem(case)
    source = ArraySource(problem.X)
    kind = structure(case.structure)
    defaults = MiniBatchGaussianMixture()
    size = batch_rows(case.n_components, case.n_features, case.n_samples)
    most = rows_of_start(case.n_components, case.n_features, kind, source.dtype.itemsize)
    schedule = StepSchedule(defaults.step_exponent, defaults.step_offset, defaults.forgetting)
    plan = MinibatchPlan(size, sample_rows=most, schedule=schedule)
    start_seconds: list[float] = []

    def begin(sample: ArraySource) -> OnlineState:
        seconds, (state, _) = _timed(
            lambda: begin_online(
                sample,
                case.n_components,
                kind,
                OnlineStart(
                    defaults.reg_covar,
                    defaults.reg_covar_scale,
                    np.random.RandomState(0),
                    defaults.init_params,
                    defaults.n_init,
                ),
                unit=float(size),
            )
        )
        start_seconds.append(seconds)
        return state

    epochs, passes = [], []
    for _ in range(rounds):
        seconds, (state, _) = _timed(lambda: fit_minibatch(source, begin, plan, kind))
        epochs.append(seconds - start_seconds[-1])
        estimate = state.online.estimate(kind)
        seconds, _ = _timed(lambda estimate=estimate: mixture_statistics(source, estimate))  # type: ignore[misc]
        passes.append(seconds)
    regularization = state.online.regularization
    batch = EMProblem(source, kind, regularization)
    optima = [
        fit_best(batch, Starts.at(start), SmallChange(_TOL), max_iter)[1].trace[-1]
        for start in (estimate, _true_parameters(case, problem))
    ]
    return Comparison(
        batch_size=size,
        optimum=optima[0],
        best=max(optima),
        reached=log_likelihood(source, estimate) / case.n_samples,
        start_seconds=min(start_seconds),
        epoch_seconds=min(epochs),
        pass_seconds=min(passes),
    )


def _true_parameters(case: Case, problem: MixtureProblem) -> MixtureParameters:
    """Return parameters near those that the data were drawn from."""
    return MixtureParameters.from_covariances(
        np.full(case.n_components, 1.0 / case.n_components), problem.means, problem.covariances
    )


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


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
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="timings (default: %(default)s)")
    parser.add_argument(
        "--max-iter", type=int, default=_MAX_ITER, help="of batch EM (default: %(default)s)"
    )
    parser.add_argument(
        "--problems", default="12345", help="which of the five problems (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    print_line(
        "problem", "batch", "optimum", "one epoch", "nats", "behind", "best known",
        "start/s", "epoch/s", "pass/s", "ratio", width=12,
    )  # fmt: skip
    targets: list[Target] = []
    for digit in options.problems:
        problem = PROBLEMS[int(digit) - 1]
        case = Case(
            "fit",
            "full",
            options.rows,
            problem.n_features,
            problem.n_components,
            overlap=problem.overlap,
        )
        found = compare(case, rounds=options.rounds, max_iter=options.max_iter)
        label = f"D={case.n_features} K={case.n_components} {case.overlap}"
        print_line(
            label,
            f"{found.batch_size}",
            f"{found.optimum:.6f}",
            f"{found.reached:.6f}",
            f"{found.optimum - found.reached:.5f}",
            f"{found.gap(found.optimum):.4f} %",
            f"{found.gap(found.best):.4f} %",
            f"{found.start_seconds:.3f}",
            f"{found.epoch_seconds:.3f}",
            f"{found.pass_seconds:.3f}",
            f"{found.ratio:.2f}",
            width=12,
        )
        targets += found.targets(label)
    return report_targets(targets)


if __name__ == "__main__":
    sys.exit(main())
