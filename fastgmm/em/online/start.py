"""What online EM begins with: the first rows, or a mixture that came from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import regularization_for
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.initialization.data_scan import LARGEST_SAMPLE_BYTES, sample_size
from fastgmm.em.initialization.methods import (
    NOTHING_GIVEN,
    GivenStart,
    InitializationInfo,
    InitMethod,
    InitSettings,
    initialize,
)
from fastgmm.em.initialization.random_rows import random_rows
from fastgmm.em.loop import FitInfo, Starts, fit_best
from fastgmm.em.online.steps import OnlineState, count_present, require_finite
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

ROWS_PER_PARAMETER = 10
"""So many rows for each mean and weight are enough to begin with."""

_START_ROWS_PER_PARAMETER = 20
TRIAL_ITERATIONS = 5
START_ITERATIONS = 25
_START_TOL = 1e-4


def rows_to_begin(n_components: int, n_features: int) -> int:
    """Return how many rows online EM waits for before it begins.

    Ten for each mean and weight.
    """
    return ROWS_PER_PARAMETER * n_components * (n_features + 1)


def rows_of_start(
    n_components: int, n_features: int, structure: CovarianceStructure, itemsize: int
) -> int:
    """Return how many rows at most the start is fitted to.

    As many as suit initialization, or twenty for each free parameter if those are more, but not
    above 64 MiB: on fewer, EM fits the noise of its sample, which the first steps must undo.
    """
    wanted = _START_ROWS_PER_PARAMETER * structure.n_parameters(n_components, n_features)
    affordable = LARGEST_SAMPLE_BYTES // (n_features * itemsize)
    return max(min(wanted, affordable), sample_size(n_components, n_features, itemsize))


@dataclass(frozen=True, slots=True, eq=False)
class OnlineStart:
    """How the first rows are fitted."""

    reg_covar: float  # non-negative regularization
    scale: str  # what it is relative to
    random_state: np.random.RandomState  # what rows are drawn with
    method: InitMethod  # how starts are found
    n_init: int = 1  # number of starts
    n_jobs: int | None = None  # number of threads

    def samples(
        self, rows: ArraySource, n_components: int, structure: CovarianceStructure
    ) -> tuple[ArraySource, ArraySource]:
        """Return the rows that the start is fitted to, and those that starts are tried on."""
        itemsize, n_features = rows.dtype.itemsize, rows.n_features
        most = rows_of_start(n_components, n_features, structure, itemsize)
        larger = sampled(rows, most, self.random_state)
        size = sample_size(n_components, n_features, itemsize)
        return larger, sampled(larger, size, self.random_state)

    def of_starts(self, *, subsampled: bool) -> InitSettings:
        """Return how each start is found."""
        return InitSettings(
            self.random_state, self.method, subsampled=subsampled, n_jobs=self.n_jobs
        )


def begin_online(
    rows: ArraySource,
    n_components: int,
    structure: CovarianceStructure,
    settings: OnlineStart,
    given: GivenStart = NOTHING_GIVEN,
    unit: float | None = None,
) -> tuple[OnlineState, FitInfo]:
    """Fit a mixture to the first rows by batch EM, and return the state after them.

    Several starts are tried with a few iterations each on a sample, and the best is continued (as
    Biernacki, Celeux and Govaert, 2003, recommend). It need not converge: the steps that follow
    take it further at a lower price.
    """
    n_jobs = settings.n_jobs
    larger, smaller = settings.samples(rows, n_components, structure)
    regularization = regularization_for(larger, settings.reg_covar, settings.scale, n_jobs=n_jobs)
    on_smaller = EMProblem(smaller, structure, regularization, n_jobs=n_jobs)
    how = settings.of_starts(subsampled=smaller is not rows)

    def draw(_number: int) -> tuple[MixtureParameters, InitializationInfo]:
        return initialize(on_smaller, smaller, n_components, how, given)

    rule = SmallChange(_START_TOL)
    trial, _ = fit_best(on_smaller, Starts(draw, settings.n_init), rule, TRIAL_ITERATIONS)
    parameters, info = fit_best(
        replace(on_smaller, source=larger), Starts.at(trial), rule, START_ITERATIONS
    )
    statistics = mean_statistics(rows, parameters, n_jobs=n_jobs)
    weight = rows.total_weight
    unit = weight if unit is None else unit
    state = OnlineState(
        statistics=statistics,
        averaged=None,
        parameters=structure.solve(statistics, regularization, parameters),
        regularization=regularization,
        unit=unit,
        time=max(1.0, weight / unit),
        weight=weight,
        n_rows=count_present(rows),
        n_steps=0,
    )
    return state, info


def begin_from_mixture(
    parameters: MixtureParameters,
    batch: ArraySource,
    *,
    reg_covar: float,
    scale: str,
    n_jobs: int | None = None,
) -> OnlineState:
    """Return a state that continues from a mixture, whatever it came from.

    The mixture counts as one unit of time: as many rows as the first batch has, or as would be
    needed to begin without a mixture, if those are more.
    """
    weights, means, covariances = parameters.weights, parameters.means, parameters.covariances()
    regularization = mixture_regularization(parameters, reg_covar, scale)
    diagonals = covariances if parameters.is_diagonal else np.einsum("kii->ki", covariances)
    # The M-step adds the regularization again.
    diagonals -= np.minimum(regularization.amounts, diagonals)
    counts = weights.reshape(-1, *[1] * (covariances.ndim - 1))
    weight = batch.total_weight
    found = mixture_statistics(batch, parameters, n_jobs=n_jobs)
    require_finite(found)
    wanted = rows_to_begin(parameters.n_components, parameters.n_features)
    return OnlineState(
        statistics=SufficientStatistics(
            reference=means,
            counts=weights,
            first=np.zeros_like(means),
            second=counts * covariances,
            log_likelihood=found.mean_log_likelihood,
            weight=1.0,
        ),
        averaged=None,
        parameters=parameters,
        regularization=regularization,
        unit=weight * max(1.0, wanted / batch.n_samples),
        time=1.0,
        weight=0.0,
        n_rows=0,
        n_steps=0,
    )


def mean_statistics(
    rows: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> SufficientStatistics:
    """Return the statistics of rows scaled to a weight of 1, about their own means."""
    found = mixture_statistics(rows, parameters, n_jobs=n_jobs)
    require_finite(found)
    scaled = found.scaled(1.0 / found.weight)
    # The passes choose the reference, which is where empty components would be put.
    empty = scaled.empty()[:, None]
    return scaled.about(np.where(empty, parameters.means, scaled.means()))


def mixture_regularization(
    parameters: MixtureParameters, reg_covar: float, scale: str
) -> Regularization:
    """Return the regularization that suits rows of a mixture."""
    weights, means = parameters.weights, parameters.means
    middle = weights @ means
    offsets = means - middle
    covariances = parameters.covariances()
    diagonals = covariances if parameters.is_diagonal else np.einsum("kii->ki", covariances)
    variances = weights @ (diagonals + offsets * offsets)
    return Regularization.from_variances(reg_covar, scale, middle, variances)


def sampled(rows: ArraySource, size: int, random_state: np.random.RandomState) -> ArraySource:
    """Return the rows of positive weight, or a random sample of them if they are many."""
    n_present = count_present(rows)
    if n_present <= size and n_present == rows.n_samples:
        return rows
    return random_rows(rows, size, random_state.randint(np.iinfo(np.int32).max))
