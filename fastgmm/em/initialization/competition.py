"""The best of several starts, found on a sample of the rows before all of them are passed over.

EM ends in the local maximum that its start leads to, and one start is as likely as another to lead
to a poor one. Where only a sample is needed to see that, many starts cost less than one fit, and
the best of them, fitted to the sample, leaves few iterations for all rows.
"""

from __future__ import annotations

from dataclasses import replace

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization.methods import (
    InitializationInfo,
    InitSettings,
    initialize,
)
from fastgmm.em.initialization.random_rows import random_rows
from fastgmm.em.loop import Fit, FitInfo, StartState, run
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import stopping_rule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError

USUAL_CANDIDATES, MOST_CANDIDATES = 8, 16
ROUND_ITERATIONS = 60
_MOST_ITERATIONS = USUAL_CANDIDATES * ROUND_ITERATIONS
_FEW_ITERATIONS = 2 * ROUND_ITERATIONS
"""More than the usual number is compared while all together take no more than this."""

_FIT_ITERATIONS = 50
"""Iterations of a fit from a start that has not been chosen, about."""

_TOLERANCE = 1e-3


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
    If it is not said how many, there are eight, or as many as take so many iterations together, and
    more if they converge at once.
    """
    seed = settings.random_state.randint(2**31 - 1)
    half = replace(problem, source=random_rows(sample, -(-sample.n_samples // 2), seed))
    whole = replace(problem, source=sample)
    iterations = min(max_iter, ROUND_ITERATIONS)
    best: tuple[bool, float] | None = None
    tried = spent = 0
    while tried < (n_candidates or MOST_CANDIDATES):
        limit = n_iterations if tried < USUAL_CANDIDATES else min(n_iterations, _FEW_ITERATIONS)
        if n_candidates is None and spent >= limit:
            break
        tried += 1
        start, info = initialize(half, half.source, n_components, settings)
        fitted = _fit(half, start, iterations)
        if fitted is None:
            continue
        spent += fitted[1].n_passes
        rank = not fitted[1].degeneracies, fitted[1].trace[-1]
        if best is None or rank > best:
            best, chosen = rank, fitted[0]
    refined = None if best is None else _fit(whole, chosen, max_iter)
    if refined is None:
        # Without regularization, a few rows may be too few where all of them suffice.
        return initialize(problem, sample, n_components, settings)
    return refined[0], replace(info, n_rows=sample.n_samples, n_candidates=tried)


def _fit(
    problem: EMProblem, start: MixtureParameters, max_iter: int
) -> tuple[MixtureParameters, FitInfo] | None:
    """Return the fitted mixture, or None if a covariance becomes singular."""
    steps = Fit(problem, StartState(start), stopping_rule(_TOLERANCE), max_iter).steps()
    try:
        return run([steps])[0]
    except IllDefinedCovarianceError:
        return None
