"""Online EM: statistics that each new batch of rows moves a little, and what they start from.

Stepwise EM of Cappé and Moulines (2009, "On-line expectation-maximization algorithm for latent data
models", J. R. Stat. Soc. B 71) and Liang and Klein (2009, "Online EM for unsupervised models",
NAACL): the sufficient statistics S of the rows so far are blended with those of each new batch, and
the M-step is taken from the blend. No batch, however small, is ever fitted by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.array import ArraySource
from fastgmm.inference.degeneracy import regularisation_for
from fastgmm.inference.em import FitInfo, fit_best, fit_em
from fastgmm.inference.initialisation import InitialisationInfo, InitMethod, initialise
from fastgmm.inference.passes import mixture_statistics
from fastgmm.inference.random_rows import random_rows
from fastgmm.inference.survey import LARGEST_SAMPLE_BYTES, sample_size
from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.plain_arrays import arrays_of, from_arrays
from fastgmm.model.regularisation import Regularisation
from fastgmm.model.statistics import FloatArray, SufficientStatistics
from fastgmm.model.structures import CovarianceStructure

ROWS_PER_PARAMETER = 10
"""So many rows for each mean and weight are enough to begin with."""

AVERAGING_POWER = 2
"""The average weights the statistics of time t by the t-th power of this."""

_MOST_PIECES = 2**16
"""A batch of more units than this is weighted by fewer, longer pieces."""

_START_ROWS_PER_PARAMETER = 20
_TRIAL_ITERATIONS = 5
_START_ITERATIONS = 25
_START_TOL = 1e-4


@dataclass(frozen=True, slots=True)
class StepSchedule:
    """How much a batch of rows counts against all rows before it.

    Time runs in units of rows: the t-th unit has the step size ``(t + offset)**-exponent``, but
    never less than ``1 - forgetting``. A batch of several units, or of part of one, counts as
    much as if its rows had come unit by unit, so that the size of the batches does not matter.

    Attributes
    ----------
    exponent : float
        Above 0.5 and at most 1, where all rows count alike for ever. The smaller, the sooner
        what was learnt under early, poor parameters is forgotten, and the more the result
        fluctuates.
    offset : float
        At least 0; delays the first steps, which are the largest.
    forgetting : float
        Above 0; below 1, the rows of one unit always count this many times those of the next,
        so that the mixture follows a stream that drifts. 1 forgets nothing on purpose.
    """

    exponent: float = 0.6
    offset: float = 1.0
    forgetting: float = 1.0

    def step(self, time: float, length: float) -> float:
        """Return the share that a batch gets in the blend.

        Parameters
        ----------
        time : float
            Units of rows before the batch, at least 1.
        length : float
            Units of rows in the batch.

        Returns
        -------
        float
            ``1 - prod(1 - size)`` over the units of the batch; a unit that it has only a part of
            enters with that part as an exponent.
        """
        end = time + length
        first, last = math.floor(time) + 1, math.ceil(end)
        if last - first < _MOST_PIECES:
            ends = np.minimum(np.arange(first, last + 1, dtype=np.float64), end)
        else:
            ends = np.linspace(time, end, _MOST_PIECES + 1)[1:]
        lengths = np.diff(ends, prepend=time)
        sizes = (np.ceil(ends) + self.offset) ** -self.exponent
        sizes = np.maximum(sizes, 1.0 - self.forgetting)
        with np.errstate(divide="ignore"):  # a step of 1 is allowed
            log_kept = (lengths * np.log1p(-sizes)).sum()
        return float(-np.expm1(log_kept))

    def averaging_step(self, time: float, length: float) -> float:
        """Return the share that the statistics after a batch get in their average.

        Parameters
        ----------
        time, length : float
            As for `step`.

        Returns
        -------
        float
            The share that leaves the statistics of time t weighted by ``t**AVERAGING_POWER``,
            but no less than forgetting demands.
        """
        kept = (time / (time + length)) ** (AVERAGING_POWER + 1)
        return float(1.0 - min(kept, self.forgetting**length))


@dataclass(frozen=True, slots=True, eq=False)
class OnlineState:
    """Where online EM stands between two batches; enough to go on from as if never left.

    Attributes
    ----------
    statistics : SufficientStatistics
        The blend, of weight 1 and about its own means, so that it stays well conditioned for
        ever. Its log-likelihood is that of recent rows, each under the parameters before it.
    averaged : SufficientStatistics or None
        The average over the past of such statistics; None without averaging.
    parameters : MixtureParameters
        The M-step of `statistics`, under which the next batch is looked at.
    regularisation : Regularisation
        Amounts added to the variances.
    unit : float
        Weight of the rows that make a unit of time.
    time : float
        Units so far.
    weight : float
        Weight of all rows so far.
    n_rows : int
        Number of those that have weight.
    n_steps : int
        Number of batches.
    """

    statistics: SufficientStatistics
    averaged: SufficientStatistics | None
    parameters: MixtureParameters
    regularisation: Regularisation
    unit: float
    time: float
    weight: float
    n_rows: int
    n_steps: int

    def estimate(self, structure: CovarianceStructure) -> MixtureParameters:
        """Return the fitted mixture: the M-step of the average, if there is one."""
        if self.averaged is None:
            return self.parameters
        return structure.solve(self.averaged, self.regularisation)

    def plain(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return the state as values that JSON knows and arrays, exactly.

        Returns
        -------
        values : dict
            The numbers.
        arrays : dict of str to ndarray
            The rest.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        arrays = arrays_of(self.parameters, "online") | arrays_of(self.regularisation, "online")
        for name in ("statistics", "averaged"):
            statistics: SufficientStatistics | None = getattr(self, name)
            values[name] = None
            if statistics is not None:
                values[name] = [statistics.log_likelihood, statistics.weight]
                arrays |= arrays_of(statistics, f"online_{name}")
        return values, arrays

    @classmethod
    def from_plain(
        cls, values: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> OnlineState:
        """Return the state that `plain` made plain.

        Parameters
        ----------
        values, arrays : mapping
            What `plain` returned; other entries are left alone.

        Returns
        -------
        OnlineState
            The state.
        """
        statistics: dict[str, SufficientStatistics | None] = {}
        for name in ("statistics", "averaged"):
            statistics[name] = None
            if values[name] is not None:
                log_likelihood, weight = map(float, values[name])
                statistics[name] = from_arrays(
                    SufficientStatistics,
                    f"online_{name}",
                    arrays,
                    log_likelihood=log_likelihood,
                    weight=weight,
                )
        blend = statistics["statistics"]
        assert blend is not None
        return cls(
            statistics=blend,
            averaged=statistics["averaged"],
            parameters=from_arrays(MixtureParameters, "online", arrays),
            regularisation=from_arrays(Regularisation, "online", arrays),
            unit=float(values["unit"]),
            time=float(values["time"]),
            weight=float(values["weight"]),
            n_rows=int(values["n_rows"]),
            n_steps=int(values["n_steps"]),
        )


_NUMBERS = ("unit", "time", "weight", "n_rows", "n_steps")


def rows_to_begin(n_components: int, n_features: int) -> int:
    """Return how many rows online EM waits for before it begins.

    Ten for each mean and weight.

    Parameters
    ----------
    n_components, n_features : int
        Size of the mixture.
    """
    return ROWS_PER_PARAMETER * n_components * (n_features + 1)


def rows_of_start(
    n_components: int, n_features: int, structure: CovarianceStructure, itemsize: int
) -> int:
    """Return how many rows at most the start is fitted to.

    As many as suit initialisation, or twenty for each free parameter if those are more, but not
    above 64 MiB: on fewer, EM fits the noise of its sample, which the first steps must undo.

    Parameters
    ----------
    n_components, n_features : int
        Size of the mixture.
    structure : CovarianceStructure
        The structure of the covariances.
    itemsize : int
        Bytes of one value.
    """
    wanted = _START_ROWS_PER_PARAMETER * structure.n_parameters(n_components, n_features)
    affordable = LARGEST_SAMPLE_BYTES // (n_features * itemsize)
    return max(min(wanted, affordable), sample_size(n_components, n_features, itemsize))


def begin_online(
    rows: ArraySource,
    n_components: int,
    structure: CovarianceStructure,
    *,
    reg_covar: float,
    scale: str,
    random_state: np.random.RandomState,
    unit: float | None = None,
    method: InitMethod = "k-means++",
    n_init: int = 1,
    weights: FloatArray | None = None,
    means: FloatArray | None = None,
    precisions: FloatArray | None = None,
    n_jobs: int | None = None,
) -> tuple[OnlineState, FitInfo]:
    """Fit a mixture to the first rows by batch EM, and return the state after them.

    Several starts are tried with a few iterations each on a sample, and the best goes on (as
    Biernacki, Celeux and Govaert, 2003, recommend). It need not converge: the steps that follow
    take it further at a lower price.

    Parameters
    ----------
    rows : ArraySource
        The first rows. EM runs on a random sample if they are more than `rows_of_start`.
    n_components : int
        Number of components.
    structure : CovarianceStructure
        The structure of the covariances.
    reg_covar, scale
        As for `Regularisation.from_variances`.
    random_state : RandomState
        Draws the samples and the starts.
    unit : float or None
        Weight of the rows that make a unit of time; None for that of `rows`. They count as one
        unit at least.
    method
        As for `initialise`.
    n_init : int
        Number of starts.
    weights, means, precisions
        As for `initialise`.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    state : OnlineState
        The state after all of `rows`.
    info : FitInfo
        How batch EM went.

    Raises
    ------
    ValueError
        If there are fewer rows of positive weight than components.
    IllDefinedCovarianceError
        If a component collapses and the regularisation is 0.
    """
    itemsize = rows.dtype.itemsize
    most = rows_of_start(n_components, rows.n_features, structure, itemsize)
    larger = _sampled(rows, most, random_state)
    smaller = _sampled(larger, sample_size(n_components, rows.n_features, itemsize), random_state)
    regularisation = regularisation_for(larger, reg_covar, scale, n_jobs=n_jobs)

    def draw_start(number: int) -> tuple[MixtureParameters, InitialisationInfo]:
        del number
        return initialise(
            smaller,
            n_components,
            structure,
            regularisation,
            random_state=random_state,
            method=method,
            weights=weights,
            means=means,
            precisions=precisions,
            subsampled=smaller is not rows,
            n_jobs=n_jobs,
        )

    trial, _ = fit_best(
        smaller,
        draw_start,
        n_init,
        structure,
        regularisation,
        tol=_START_TOL,
        max_iter=_TRIAL_ITERATIONS,
        n_jobs=n_jobs,
    )
    parameters, info = fit_em(
        larger,
        trial,
        structure,
        regularisation,
        tol=_START_TOL,
        max_iter=_START_ITERATIONS,
        n_jobs=n_jobs,
    )
    found = mixture_statistics(rows, parameters, n_jobs=n_jobs)
    _require_finite(found)
    scaled = found.scaled(1.0 / found.weight)
    # The passes choose the reference, which is where empty components would be put.
    empty = scaled.empty()[:, None]
    statistics = scaled.about(np.where(empty, parameters.means, scaled.means()))
    unit = found.weight if unit is None else unit
    state = OnlineState(
        statistics=statistics,
        averaged=None,
        parameters=structure.solve(statistics, regularisation),
        regularisation=regularisation,
        unit=unit,
        time=max(1.0, found.weight / unit),
        weight=found.weight,
        n_rows=_n_present(rows),
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
    """Return a state that goes on from a mixture, whatever it came from.

    The mixture counts as one unit of time: as many rows as the first batch has, or as would be
    needed to begin without a mixture, if those are more.

    Parameters
    ----------
    parameters : MixtureParameters
        The mixture.
    batch : ArraySource
        The first rows to be learnt after it. They are not learnt yet.
    reg_covar, scale
        As for `Regularisation.from_variances`; the variances are those of the mixture.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    OnlineState
        The state before the batch.
    """
    weights, means = parameters.weights, parameters.means
    middle = weights @ means
    offsets = means - middle
    covariances = parameters.covariances()
    diagonals = covariances if parameters.is_diagonal else np.einsum("kii->ki", covariances)
    variances = weights @ (diagonals + offsets * offsets)
    regularisation = Regularisation.from_variances(reg_covar, scale, middle, variances)
    # The M-step adds the regularisation again.
    diagonals -= np.minimum(regularisation.amounts, diagonals)
    counts = weights.reshape(-1, *[1] * (covariances.ndim - 1))
    weight = batch.total_weight
    found = mixture_statistics(batch, parameters, n_jobs=n_jobs)
    _require_finite(found)
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
        regularisation=regularisation,
        unit=weight * max(1.0, wanted / batch.n_samples),
        time=1.0,
        weight=0.0,
        n_rows=0,
        n_steps=0,
    )


def online_step(
    state: OnlineState,
    batch: ArraySource,
    schedule: StepSchedule,
    structure: CovarianceStructure,
    *,
    averaging: bool = False,
    n_jobs: int | None = None,
) -> tuple[OnlineState, float]:
    """Learn a batch of rows: one pass over them, one blend and one M-step.

    Parameters
    ----------
    state : OnlineState
        Where the fit stands.
    batch : ArraySource
        The rows.
    schedule : StepSchedule
        How much they count.
    structure : CovarianceStructure
        The structure of the covariances.
    averaging : bool
        Whether the statistics are averaged over time (Polyak and Ruppert). The recursion itself
        goes on with those that are not.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    state : OnlineState
        The state after the batch; the same as before if the batch has no weight.
    step : float
        The share that the batch got in the blend.

    Raises
    ------
    ValueError
        If the log-likelihood of the batch is not finite.
    IllDefinedCovarianceError
        If a component collapsed and the regularisation is 0.
    """
    weight = batch.total_weight
    if weight == 0.0:
        return state, 0.0
    found = mixture_statistics(batch, state.parameters, n_jobs=n_jobs)
    _require_finite(found)
    length = weight / state.unit
    step = schedule.step(state.time, length)
    blend = state.statistics.scaled(1.0 - step) + found.scaled(step / weight)
    statistics = blend.about(blend.means())
    averaged = None
    if averaging:
        share = schedule.averaging_step(state.time, length)
        average = (state.averaged or state.statistics).blended(statistics, share)
        averaged = average.about(average.means())
    after = replace(
        state,
        statistics=statistics,
        averaged=averaged,
        parameters=structure.solve(statistics, state.regularisation),
        time=state.time + length,
        weight=state.weight + weight,
        n_rows=state.n_rows + _n_present(batch),
        n_steps=state.n_steps + 1,
    )
    return after, step


def _n_present(rows: ArraySource) -> int:
    """Return the number of rows that have weight."""
    return rows.n_samples if rows.weights is None else int(np.count_nonzero(rows.weights))


def _sampled(rows: ArraySource, size: int, random_state: np.random.RandomState) -> ArraySource:
    """Return the rows of positive weight, or a random sample of them if they are many."""
    n_present = _n_present(rows)
    if n_present <= size and n_present == rows.n_samples:
        return rows
    return random_rows(rows, size, random_state.randint(np.iinfo(np.int32).max))


def _require_finite(statistics: SufficientStatistics) -> None:
    """Raise unless the log-likelihood and the moments of a batch are finite numbers."""
    if not (math.isfinite(statistics.log_likelihood) and np.isfinite(statistics.second).all()):
        raise ValueError(
            f"the log-likelihood of the batch is {statistics.log_likelihood}, or its moments "
            "overflow: some rows are impossibly far from every component, and nothing of the "
            "batch was learnt; leave such rows out"
        )
