"""The best of several starts, found on a sample of the rows before all of them are passed over.

EM ends in the local maximum that its start leads to, and one start is as likely as another to lead
to a poor one. Where only a sample is needed to see that, many starts cost less than one fit, and
the best of them, fitted to the sample, leaves few iterations for all rows.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.acceleration import Squarem
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.initialization.kmeans import KMeansSettings
from fastgmm.em.initialization.methods import (
    InitializationInfo,
    InitSettings,
    initialize,
)
from fastgmm.em.initialization.random_rows import random_rows
from fastgmm.em.loop import Fit, FitInfo, StartState, run
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import stopping_rule
from fastgmm.kernels.threads import effective_threads
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError

USUAL_CANDIDATES, MOST_CANDIDATES = 8, 16
ROUND_ITERATIONS = 60
_MOST_ITERATIONS = USUAL_CANDIDATES * ROUND_ITERATIONS
_FEW_ITERATIONS = 2 * ROUND_ITERATIONS
"""More than the usual number is compared while all together take no more than this."""

_AT_ONCE = 4
"""Starts that are fitted at the same time, before it is seen whether more are needed."""

_ENOUGH = 3
"""Starts that lead to the highest likelihood, which is hardly to be exceeded then."""

_FIT_ITERATIONS = 50
"""Iterations of a fit from a start that has not been chosen, about."""

_TOLERANCE = 1e-3

ROUGHLY = KMeansSettings(max_iter=10)
"""EM continues from there."""


def affordable_iterations(n_rows: int | None, n_sampled: int) -> int:
    """Return how many iterations on half of a sample take no longer than a fit to all rows.

    No more than eight starts need that converge slowly; 0 if two of them need more.
    """
    if n_rows is None:
        return _MOST_ITERATIONS  # they are read from files, or elsewhere
    affordable = 2 * _FIT_ITERATIONS * n_rows // n_sampled
    return min(_MOST_ITERATIONS, affordable) if affordable >= 2 * ROUND_ITERATIONS else 0


def best_start(
    problem: EMProblem,
    sample: ArraySource,
    n_components: int,
    settings: InitSettings,
    max_iter: int,
    *,
    n_candidates: int | None = None,
    n_iterations: int = _MOST_ITERATIONS,
) -> tuple[MixtureParameters, InitializationInfo]:
    """Return the best of several starts after a fit to the sample.

    Each is fitted to half of the sample first, and the one of the highest likelihood to all of it.
    If it is not said how many, there are eight, or as many as take so many iterations together,
    fewer if three of them lead to the highest likelihood, and more if they converge at once.
    """
    seed = settings.random_state.randint(2**31 - 1)
    half = replace(problem, source=random_rows(sample, -(-sample.n_samples // 2), seed))
    whole = replace(problem, source=sample)
    iterations = min(max_iter, ROUND_ITERATIONS)
    tried: list[Candidate] = []
    number = n_candidates or min(_AT_ONCE, max(1, n_iterations // ROUND_ITERATIONS))
    while number > 0:
        tried += _side_by_side(half, settings, iterations, n_components, number)
        number = 0 if n_candidates is not None else further_starts(tried, n_iterations)
    best = max(tried, key=lambda each: each.rank)
    refined = None if best.parameters is None else _fit(whole, best.parameters, max_iter)
    if refined is not None:
        info = replace(best.info, n_rows=sample.n_samples, n_candidates=len(tried))
        return refined[0], info
    # Without regularization, a few rows may be too few where all of them suffice.
    return initialize(problem, sample, n_components, settings)


class Candidate(NamedTuple):
    """What a start came to."""

    info: InitializationInfo
    parameters: MixtureParameters | None = None  # None if a covariance became singular
    rank: tuple[bool, float] = (False, -math.inf)  # whether it is sound, and its objective
    n_passes: int = 0


def _candidate(
    half: EMProblem, settings: InitSettings, max_iter: int, n_components: int, seed: int
) -> Candidate:
    """Draw a start and fit it to half of the sample."""
    drawn = replace(settings, random_state=np.random.RandomState(seed))
    start, info = initialize(half, half.source, n_components, drawn)
    fitted = _fit(half, start, max_iter)
    if fitted is None:
        return Candidate(info)
    parameters, ended = fitted
    return Candidate(info, parameters, (not ended.degeneracies, ended.trace[-1]), ended.n_passes)


def _side_by_side(
    half: EMProblem, settings: InitSettings, max_iter: int, n_components: int, number: int
) -> list[Candidate]:
    """Draw and fit some candidates: their passes are too short to be shared among threads."""
    seeds = settings.random_state.randint(2**31 - 1, size=number)
    n_threads = effective_threads(settings.n_jobs)
    n_jobs = max(1, n_threads // number)
    settings = replace(settings, kmeans=ROUGHLY, n_jobs=n_jobs)
    work = partial(_candidate, replace(half, n_jobs=n_jobs), settings, max_iter, n_components)
    # BLAS is held to one thread outside, too: its number is of the process, and they end by turns.
    with one_blas_thread(), ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(work, seeds))


def further_starts(tried: list[Candidate], n_iterations: int) -> int:
    """Return how many more starts are worth a try."""
    sound, highest = max(each.rank for each in tried)
    if sum(each.rank >= (sound, highest - _TOLERANCE) for each in tried) >= _ENOUGH:
        return 0
    spent, limit, most = sum(each.n_passes for each in tried), n_iterations, USUAL_CANDIDATES
    if len(tried) >= USUAL_CANDIDATES:
        limit, most = min(n_iterations, _FEW_ITERATIONS), MOST_CANDIDATES
    affordable = (limit - spent) * len(tried) // max(spent, 1)
    return max(0, min(_AT_ONCE, most - len(tried), affordable))


def _fit(
    problem: EMProblem, start: MixtureParameters, max_iter: int
) -> tuple[MixtureParameters, FitInfo] | None:
    """Return the fitted mixture, or None if a covariance becomes singular."""
    rule = stopping_rule(_TOLERANCE)
    acceleration = Squarem() if problem.may_extrapolate else None
    steps = Fit(problem, StartState(start), rule, max_iter, acceleration).steps()
    try:
        return run([steps])[0]
    except IllDefinedCovarianceError:
        return None
