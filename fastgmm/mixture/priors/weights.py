"""Priors of a mixture's weights, and the posteriors that follow from counts.

Each is one class. A posterior is an array of concentrations whose last axis is that of the
components; what the other axis holds, if there is one, is the class's own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import betaln, digamma, gammaln

from fastgmm.mixture.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class WeightPrior(ABC):
    """A prior of the weights under which counts lead to a posterior of the same kind."""

    name: ClassVar[str]
    concentration: float
    """Above 0. The smaller, the fewer components have weight beforehand."""

    @abstractmethod
    def posterior(self, counts: FloatArray) -> FloatArray:
        """Return the concentrations after each component was seen as often as `counts` say."""

    @abstractmethod
    def counts(self, concentrations: FloatArray) -> FloatArray:
        """Return the counts that a posterior came from, shape (n_components,)."""

    @abstractmethod
    def weights(self, concentrations: FloatArray) -> FloatArray:
        """Return the expected weights under a posterior, shape (n_components,)."""

    @abstractmethod
    def log_weights(self, concentrations: FloatArray) -> FloatArray:
        """Return the expected logarithms of the weights, shape (n_components,), in nats."""

    @abstractmethod
    def divergence(self, concentrations: FloatArray) -> float:
        """Return the Kullback–Leibler divergence of a posterior from the prior, in nats.

        It lacks a constant, the logarithm of the integral that normalizes the prior.
        """


class DirichletDistribution(WeightPrior):
    """The same concentration α₀ for each component (Bishop, PRML, section 10.2).

    Concentrations are those of a Dirichlet distribution, α_k = α₀ + N_k.
    """

    __slots__ = ()
    name = "dirichlet_distribution"

    def posterior(self, counts: FloatArray) -> FloatArray:
        """Return the concentrations after counts, shape (n_components,)."""
        return self.concentration + counts

    def counts(self, concentrations: FloatArray) -> FloatArray:
        """Return the counts that a posterior came from."""
        return concentrations - self.concentration

    def weights(self, concentrations: FloatArray) -> FloatArray:
        """Return the expected weights."""
        weights: FloatArray = concentrations / concentrations.sum()
        return weights

    def log_weights(self, concentrations: FloatArray) -> FloatArray:
        """Return the expected logarithms of the weights (PRML, equation 10.66)."""
        logarithms: FloatArray = digamma(concentrations) - digamma(concentrations.sum())
        return logarithms

    def divergence(self, concentrations: FloatArray) -> float:
        """Return the divergence from the prior, without a constant."""
        expected = self.counts(concentrations) @ self.log_weights(concentrations)
        log_partition = gammaln(concentrations).sum() - gammaln(concentrations.sum())
        return float(expected - log_partition)


class DirichletProcess(WeightPrior):
    """A stick of length 1, of which each component in turn breaks off a share.

    The truncated stick-breaking form of Blei and Jordan (2006, "Variational inference for
    Dirichlet process mixtures", Bayesian Analysis 1), with γ the concentration: the share v_k that
    component k breaks off what is left is distributed as Beta(1, γ) beforehand. Concentrations
    have two rows, the parameters a_k = 1 + N_k and b_k = γ + Σ_{j>k} N_j of its posterior.

    As in scikit-learn, the last component does not take all that is left, and expected weights
    are scaled so that they sum to 1.
    """

    __slots__ = ()
    name = "dirichlet_process"

    def posterior(self, counts: FloatArray) -> FloatArray:
        """Return the concentrations after counts, shape (2, n_components)."""
        later = np.append(np.cumsum(counts[:0:-1])[::-1], 0.0)
        return np.stack([1.0 + counts, self.concentration + later])

    def counts(self, concentrations: FloatArray) -> FloatArray:
        """Return the counts that a posterior came from."""
        counts: FloatArray = concentrations[0] - 1.0
        return counts

    def weights(self, concentrations: FloatArray) -> FloatArray:
        """Return the expected weights, scaled to a sum of 1."""
        broken, left = concentrations / concentrations.sum(axis=0)
        weights: FloatArray = broken * np.append(1.0, np.cumprod(left[:-1]))
        weights /= weights.sum()
        return weights

    def log_weights(self, concentrations: FloatArray) -> FloatArray:
        """Return the expected logarithms of the weights."""
        log_broken, log_left = self._log_shares(concentrations)
        logarithms: FloatArray = log_broken + np.append(0.0, np.cumsum(log_left[:-1]))
        return logarithms

    def divergence(self, concentrations: FloatArray) -> float:
        """Return the divergence from the prior, without a constant."""
        prior = np.array([[1.0], [self.concentration]])
        expected = ((concentrations - prior) * self._log_shares(concentrations)).sum()
        return float(expected - betaln(*concentrations).sum())

    @staticmethod
    def _log_shares(concentrations: FloatArray) -> FloatArray:
        """Return the expected log v_k and log(1 - v_k), shape (2, n_components)."""
        logarithms: FloatArray = digamma(concentrations) - digamma(concentrations.sum(axis=0))
        return logarithms


_PRIORS: dict[str, type[WeightPrior]] = {
    each.name: each for each in (DirichletProcess, DirichletDistribution)
}

WEIGHT_PRIOR_NAMES = tuple(_PRIORS)


def weight_prior(name: str, concentration: float) -> WeightPrior:
    """Return the prior of a name."""
    try:
        return _PRIORS[name](concentration)
    except KeyError:
        raise ValueError(
            f"weight_concentration_prior_type must be one of {', '.join(WEIGHT_PRIOR_NAMES)}; "
            f"got {name!r}"
        ) from None
