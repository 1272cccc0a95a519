"""What is fitted by EM: a mixture with a structure, and perhaps a prior, noise or known labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from fastgmm.data.source import Source
from fastgmm.em.degeneracy import Degeneracy, find_degeneracies, hold_covariances
from fastgmm.em.e_step.passes import log_likelihood, mixture_statistics
from fastgmm.em.e_step.truncated import Truncation
from fastgmm.mixture.noise import UniformNoise, statistics_without_noise, without_noise
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.prior import Prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, FrozenStructure

ROUNDING = {4: 1e-6, 8: 1e-10}
"""By the bytes of a data value: how much less an objective may be after a step than before it and
still count as equal, relative to its unit plus its size.
"""


@dataclass(frozen=True, slots=True, eq=False)
class EMProblem:
    """A mixture to be fitted to rows by maximum likelihood or, with a prior, MAP."""

    source: Source  # the rows
    structure: CovarianceStructure  # the structure of the covariances, and what is frozen
    regularization: Regularization  # amounts added to the variances; a prior takes their place
    prior: Prior | None = None  # the prior under which the most probable parameters are found
    noise: UniformNoise | None = None  # the noise that is the last component, if there is any
    known: Any = None
    """(n_samples,): the component of each row, as the source holds it; -1 where it is not known."""
    n_jobs: int | None = None  # number of threads of a pass
    truncation: Truncation | None = None  # the components of cells, if these have some each
    careful: bool = False
    """Whether covariances that would lower the likelihood are left as they were."""

    looks_ahead: ClassVar[bool] = False
    resolution: ClassVar[float] = 0.0

    def e_step(
        self, parameters: MixtureParameters, *, moments: bool = True
    ) -> SufficientStatistics:
        """Make a pass at the parameters; one without moments takes less time."""
        if self.truncation is not None:
            return self.truncation.statistics(
                self.source, parameters, moments=moments, n_jobs=self.n_jobs
            )
        if moments:
            return mixture_statistics(
                self.source,
                parameters,
                known=self.known,
                pooled=self.structure.needs_pooled_only,
                n_jobs=self.n_jobs,
            )
        total = log_likelihood(self.source, parameters, known=self.known, n_jobs=self.n_jobs)
        return SufficientStatistics.without_moments(total, self.source.total_weight)

    def m_step(
        self, statistics: SufficientStatistics, before: MixtureParameters
    ) -> MixtureParameters:
        """Return the parameters that maximize the expected log-likelihood and log-prior."""
        if self.noise is None:
            return self._solve(statistics, before)
        others, share = statistics_without_noise(statistics)
        gaussians = without_noise(before)
        if others.empty().all():
            return self.noise.added(gaussians, 1.0)
        return self.noise.added(self._solve(others, gaussians), share)

    def objective(self, statistics: SufficientStatistics, parameters: MixtureParameters) -> float:
        """Return what EM makes rise: log-likelihood and log-prior, a row, in nats."""
        if not math.isfinite(statistics.log_likelihood):
            raise ValueError(
                f"the log-likelihood is {statistics.log_likelihood}: some rows are impossibly far "
                "from every component; give initial parameters on the scale of the data"
            )
        log_prior = 0.0
        if self.prior is not None:
            log_prior = self.prior.log_density(self.gaussians(parameters), self.structure)
        return (statistics.log_likelihood + log_prior) / statistics.weight

    def rounding(self, value: float) -> float:
        """Return how much less than a value of the objective counts as equal."""
        return ROUNDING[self.source.dtype.itemsize] * (1.0 + abs(value))

    def starting_rows(self, rows: Source) -> Source:
        """Return rows with the weights that they have where a start is found from them."""
        return rows

    @property
    def may_extrapolate(self) -> bool:
        """Whether statistics of passes lead beyond an M-step: they are sums of the same kind.

        Moments of factor analyzers are about directions that change with each step.
        """
        return self.noise is None and self.structure.n_factors is None

    def with_care(self) -> Self:
        """Return the problem whose M-step is one of generalized EM, which cannot fall."""
        return replace(self, careful=True)

    def gaussians(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return a mixture without the noise, if it has any."""
        return parameters if self.noise is None else without_noise(parameters)

    def continued(self, fitted: MixtureParameters) -> MixtureParameters:
        """Return where a fit continues from the mixture that an earlier one found."""
        found = self.structure.nearest(self.gaussians(fitted))
        return found if self.noise is None else self.noise.added(found, float(fitted.weights[-1]))

    def degeneracies(self, parameters: MixtureParameters) -> tuple[Degeneracy, ...]:
        """Return the components that a step left degenerate."""
        gaussians = self.gaussians(parameters)
        none = Regularization.none(gaussians.n_features)
        added = self.regularization if self.prior is None else none
        return find_degeneracies(gaussians, self.structure, added)

    def _solve(
        self, statistics: SufficientStatistics, before: MixtureParameters
    ) -> MixtureParameters:
        """Take the M-step of the components that are Gaussian."""
        frozen = self.structure if isinstance(self.structure, FrozenStructure) else None
        if frozen is not None:
            statistics = frozen.about_frozen_means(statistics, before)
        if self.prior is not None:
            solved = self.prior.solve(statistics, self.structure, before)
            if frozen is not None:
                solved = frozen.restored(solved, before)
        else:
            solved = self.structure.solve(statistics, self.regularization, before)
            empty = statistics.empty()
            if empty.any():
                # The passes choose the reference, which is where the solve leaves such a component.
                means = np.where(empty[:, None], before.means, solved.means)
                solved = replace(solved, means=means)
        if self.careful:
            return hold_covariances(self.structure, statistics, before, solved)
        return solved
