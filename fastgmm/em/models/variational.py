"""Variational Bayes of a mixture: its E-step, its M-step, and where it starts.

A step is one pass over the data and one solve, as in EM. The lower bound is that of the posterior
after the solve under the responsibilities of the pass before it, which the statistics of that pass
suffice for: no further pass has to measure it. Neither half of the step can lower it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from fastgmm.data.source import Source
from fastgmm.em.degeneracy import Degeneracy
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.initialization.methods import (
    InitializationInfo,
    InitSettings,
    initial_statistics,
)
from fastgmm.em.problem import ROUNDING
from fastgmm.mixture.priors.variational import (
    VariationalPosterior,
    VariationalPrior,
    responsibility_entropy,
)
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure


class VariationalStatistics(NamedTuple):
    """What a pass finds."""

    moments: SufficientStatistics  # the statistics of the responsibilities
    entropy: float  # their entropy, in nats


@dataclass(frozen=True, slots=True, eq=False)
class VariationalProblem:
    """A mixture to be fitted to rows by variational Bayes; the posterior holds its prior.

    Responsibilities are those of scikit-learn, which take rows as known exactly, although the
    regularization does not. The steps may therefore lower the bound by about as much as the
    regularization. With care, responsibilities are the best for the bound.
    """

    source: Source  # the rows
    structure: CovarianceStructure  # the structure of the covariances
    regularization: Regularization  # amounts added to the variances
    n_jobs: int | None = None  # number of threads of a pass
    careful: bool = False  # whether rows are as uncertain as the regularization has it

    looks_ahead: ClassVar[bool] = True

    @property
    def resolution(self) -> float:
        """The bound is a sum over the rows, and known no better than their densities are."""
        return float(np.finfo(self.source.dtype).eps) * self.source.total_weight

    def with_care(self) -> VariationalProblem:
        """Return the problem whose steps cannot lower the bound."""
        return replace(self, careful=True)

    def e_step(
        self,
        posterior: VariationalPosterior,
        *,
        moments: bool = True,  # noqa: ARG002 - the bound needs them
    ) -> VariationalStatistics:
        """Make a pass at a posterior."""
        amounts = self.regularization.amounts if self.careful else None
        parameters = posterior.expected_parameters(amounts)
        pooled = self.structure.needs_pooled_only
        found = mixture_statistics(self.source, parameters, pooled=pooled, n_jobs=self.n_jobs)
        _require_finite(found.log_likelihood)
        entropy = responsibility_entropy(parameters, found, incomplete=self.source.incomplete)
        return VariationalStatistics(found, entropy)

    def m_step(
        self, statistics: VariationalStatistics, before: VariationalPosterior
    ) -> VariationalPosterior:
        """Return the posterior of the means, precisions and weights."""
        return VariationalPosterior.solve(
            before.prior, statistics.moments, self.structure, self.regularization, before
        )

    def objective(
        self, statistics: VariationalStatistics, posterior: VariationalPosterior
    ) -> float:
        """Return the lower bound of a posterior under the responsibilities of a pass, in nats."""
        amounts = self.regularization.amounts
        bound = posterior.lower_bound(statistics.moments, statistics.entropy, amounts)
        _require_finite(bound)
        return bound

    def rounding(self, value: float) -> float:
        """Return how much less than a lower bound counts as equal."""
        unit = self.source.total_weight
        return ROUNDING[self.source.dtype.itemsize] * (unit + abs(value))

    def degeneracies(
        self,
        posterior: VariationalPosterior,  # noqa: ARG002 - none of them is
    ) -> tuple[Degeneracy, ...]:
        """Return nothing: the prior keeps every component as it is without points."""
        return ()


def initial_posterior(
    source: Source,
    n_components: int,
    prior: VariationalPrior,
    problem: VariationalProblem,
    settings: InitSettings,
) -> tuple[VariationalPosterior, InitializationInfo]:
    """Return a posterior to start from, found from the rows of a source or a sample of them."""
    structure = problem.structure
    settings = settings.drawn_from(problem.source, n_components)
    statistics, info = initial_statistics(
        source, n_components, settings, diagonal=structure.is_diagonal
    )
    if settings.subsampled:
        statistics = statistics.scaled(problem.source.total_weight / statistics.weight)
    return VariationalPosterior.solve(prior, statistics, structure, problem.regularization), info


def _require_finite(bound: float) -> None:
    """Raise unless a lower bound is a finite number."""
    if not math.isfinite(bound):
        raise ValueError(
            f"the lower bound is {bound}: some rows are impossibly far from every component, or "
            "the data are too large or too small for their squares; give a mean_prior and a "
            "covariance_prior on the scale of the data, or scale the data"
        )
