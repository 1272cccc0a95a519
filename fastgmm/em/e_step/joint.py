"""EM of several mixtures on the same rows, whose passes go through the rows together.

Rows that are decoded from files cost as much as the pass over them, or more: a reading serves all
mixtures that have not converged. Each is fitted as by `fit_em`, and comes to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastgmm.data.source import Source
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import statistics_of_several
from fastgmm.em.loop import climb
from fastgmm.em.models.mixture import Ascent, AscentState, StopReason
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import CovarianceStructure


@dataclass(frozen=True, slots=True, eq=False)
class JointStart:
    """Where one of the mixtures begins.

    Attributes
    ----------
    parameters : MixtureParameters
        The mixture.
    structure : CovarianceStructure
        The structure of its covariances.
    tol : float
        Smallest change of the mean log-likelihood, in nats, that is worth another iteration.
    """

    parameters: MixtureParameters
    structure: CovarianceStructure
    tol: float


@dataclass(frozen=True, slots=True, eq=False)
class JointFit:
    """What one of the mixtures came to.

    Attributes
    ----------
    parameters : MixtureParameters
        The fitted mixture; the last one there was if the fit failed.
    log_likelihood : float
        Mean log-likelihood, in nats; nan if the fit failed.
    n_iter : int
        Number of M-steps.
    converged : bool
        Whether the log-likelihood converged before `max_iter`.
    failure : str or None
        Why the fit failed, or what is degenerate about the mixture.
    """

    parameters: MixtureParameters
    log_likelihood: float
    n_iter: int
    converged: bool
    failure: str | None = None


def fit_jointly(
    source: Source,
    starts: Sequence[JointStart],
    regularization: Regularization,
    *,
    max_iter: int,
    n_jobs: int | None = None,
    observe: Callable[[int, JointFit], None] | None = None,
) -> list[JointFit]:
    """Fit mixtures by EM, each from one start."""
    climbs = [
        _Climb(
            Ascent(source, AscentState.at(each.parameters), each.structure, regularization, n_jobs),
            each.tol,
            max_iter,
        )
        for each in starts
    ]
    found: dict[int, JointFit] = {}
    with one_blas_thread():
        while len(found) < len(climbs):
            live = [number for number in range(len(climbs)) if number not in found]
            mixtures = [climbs[number].ascent.parameters for number in live]
            for number, statistics in zip(
                live, statistics_of_several(source, mixtures, n_jobs=n_jobs), strict=True
            ):
                climbs[number].ascent.foresee(statistics)
                ended = climbs[number].go_on()
                if ended is not None:
                    found[number] = ended
                    if observe is not None:
                        observe(number, ended)
    return [found[number] for number in range(len(climbs))]


@dataclass(slots=True)
class _Climb:
    """One of the fits, between two passes."""

    ascent: Ascent
    tol: float
    max_iter: int
    reason: StopReason | None = None
    """Why no more steps are to be taken, once only the last parameters are to be measured."""

    def go_on(self) -> JointFit | None:
        """Take what the pass found, and return the fit if that was the last."""
        try:
            return self._ended() if self._climbed() else None
        except (IllDefinedCovarianceError, ValueError) as error:
            return JointFit(
                self.ascent.parameters, math.nan, self.ascent.n_steps, False, str(error)
            )

    def _climbed(self) -> bool:
        """Take a step, or measure where the steps led; say whether nothing more is to be done."""
        ascent = self.ascent
        if self.reason is None and ascent.n_steps < self.max_iter:
            reason = climb(ascent, self.tol, ascent.n_steps + 1, -math.inf, None, None, 0)
            self.reason = None if reason == "max_iter" else reason
            return self.reason == "rounding"
        self.reason = self.reason or "max_iter"
        if not ascent.finish():
            self.reason = "rounding"
        return True

    def _ended(self) -> JointFit:
        degeneracies = self.ascent.degeneracies()
        return JointFit(
            self.ascent.parameters,
            self.ascent.trace[-1],
            len(self.ascent.trace) - 1,
            self.reason in ("tolerance", "rounding"),
            degeneracies[0].description if degeneracies else None,
        )
