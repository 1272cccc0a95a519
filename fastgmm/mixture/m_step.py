"""The M-step of a whole mixture: its structure's solve, with a prior and uniform noise if asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fastgmm.mixture.noise import UniformNoise, statistics_without_noise, without_noise
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import Prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """What a mixture has beside its components and their structure.

    Attributes
    ----------
    prior : Prior or None
        The prior under which the most probable parameters are found; None for those of maximum
        likelihood.
    noise : UniformNoise or None
        The noise that is the last component, if there is any.
    """

    prior: Prior | None = None
    noise: UniformNoise | None = None

    def gaussians(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return a mixture without the noise, if it has any."""
        return parameters if self.noise is None else without_noise(parameters)

    def log_prior(self, parameters: MixtureParameters, structure: CovarianceStructure) -> float:
        """Return the logarithm of the prior's density, in nats and up to a constant; 0 without."""
        if self.prior is None:
            return 0.0
        return self.prior.log_density(self.gaussians(parameters), structure)


NO_TERMS = ModelTerms()


def m_step(
    statistics: SufficientStatistics,
    before: MixtureParameters,
    structure: CovarianceStructure,
    regularization: Regularization,
    terms: ModelTerms = NO_TERMS,
) -> MixtureParameters:
    """Return the parameters that maximize the expected log-likelihood plus that of the prior."""
    if terms.noise is not None:
        others, share = statistics_without_noise(statistics)
        gaussians = without_noise(before)
        if others.empty().all():
            return terms.noise.added(gaussians, 1.0)
        without = replace(terms, noise=None)
        solved = m_step(others, gaussians, structure, regularization, without)
        return terms.noise.added(solved, share)
    if terms.prior is not None:
        return terms.prior.solve(statistics, structure, before)
    solved = structure.solve(statistics, regularization, before)
    empty = statistics.empty()
    if empty.any():
        # The passes choose the reference, which is where the solve leaves such a component.
        means = np.where(empty[:, None], before.means, solved.means)
        solved = replace(solved, means=means)
    return solved
