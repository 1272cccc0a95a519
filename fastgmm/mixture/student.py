"""Mixtures of multivariate Student t-distributions: parameters, statistics, degrees of freedom.

A row of a component is Gaussian with covariance Σ/u, where u follows a gamma distribution of mean 1
and shape ν/2 (Peel and McLachlan, 2000, "Robust mixture modelling using the t distribution",
Statistics and Computing 10). Its location and scale are those of a Gaussian with weights u.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, poch, polygamma

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics

Dof = float | Literal["common", "separate"]
"""Degrees of freedom: given, or estimated for all components together or for each."""

DOF_BOUNDS = (0.1, 1000.0)
"""Between which degrees of freedom are estimated; from some hundreds on, a component is Gaussian.

Towards 0 the likelihood has no bound where values repeat (Fernandez and Steel, 1999, "Multivariate
Student-t regression models: pitfalls and inference", Biometrika 86).
"""

INITIAL_DOF = 10.0
"""Where estimates begin."""

_LONGEST = 1.0
"""The longest step of the logarithm of the degrees of freedom."""


@dataclass(frozen=True, slots=True, eq=False)
class StudentParameters(MixtureParameters):
    """Weights, locations, whiteners of the scale matrices, and degrees of freedom of a mixture.

    The log-density of a row under component k, weight included, is ``log_weights[k] +
    log_normalizers[k] - (dofs[k] + D) / 2 * log1p(|W_k (x - means[k])|^2 / dofs[k])``.
    """

    dofs: FloatArray  # (n_components,): degrees of freedom

    @classmethod
    def from_gaussians(cls, mixture: MixtureParameters, dofs: FloatArray) -> StudentParameters:
        """Return t-distributions with the means of Gaussians, and their covariances as scales."""
        log_weights, means, whiteners = mixture.log_weights, mixture.means, mixture.whiteners
        plain = MixtureParameters.from_log_weights(log_weights, means, whiteners)
        shifts = _log_normalizer_shifts(dofs, plain.n_features)
        normalizers = plain.log_normalizers + shifts
        return cls(log_weights, plain.means, plain.whiteners, normalizers, dofs)

    def gaussians(self) -> MixtureParameters:
        """Return Gaussians with these means, and these scales as covariances."""
        return MixtureParameters.from_log_weights(self.log_weights, self.means, self.whiteners)

    def with_shape(self, means: FloatArray, whiteners: FloatArray) -> StudentParameters:
        """Return components of these weights and tails, of other centers and whiteners."""
        plain = MixtureParameters.with_shape(self, means, whiteners)
        return StudentParameters.from_gaussians(plain, self.dofs)

    def with_true_normalizers(self) -> StudentParameters:
        """Return the same: nothing shifts these normalizers."""
        return self

    def of(self, components: npt.NDArray[Any] | slice) -> StudentParameters:
        """Return some of the components, in the order given, with the weights that they have."""
        some = MixtureParameters.of(self, components)
        return StudentParameters.from_gaussians(some, self.dofs[components])


@dataclass(frozen=True, slots=True, eq=False)
class StudentStatistics(SufficientStatistics):
    """Moments with the weights u = (ν + D) / (ν + δ) of rows beside their responsibilities r.

    `first` and `second` are sums of w r u (x - c) and w r u (x - c)(x - c)^T; `counts` are sums of
    w r, as the weights of the components are.
    """

    scaled_counts: FloatArray  # (n_components,): sums of w r u
    logarithms: FloatArray
    """(n_components,): sums of w r E[log u], which is log u + ψ(h) - log(h) with h = (ν + D) / 2 of
    a row of D observed features.
    """

    @classmethod
    def from_moments(
        cls, moments: SufficientStatistics, scaled_counts: FloatArray, logarithms: FloatArray
    ) -> StudentStatistics:
        """Return moments with the sums beside them."""
        own = {each.name: getattr(moments, each.name) for each in fields(SufficientStatistics)}
        return cls(**own, scaled_counts=scaled_counts, logarithms=logarithms)

    def __add__(self, other: SufficientStatistics) -> StudentStatistics:
        """Return the statistics of both sets of rows together."""
        if not isinstance(other, StudentStatistics):
            return NotImplemented
        return StudentStatistics.from_moments(
            SufficientStatistics.__add__(self, other),
            self.scaled_counts + other.scaled_counts,
            self.logarithms + other.logarithms,
        )

    @property
    def location_counts(self) -> FloatArray:
        """What the means are of: sums of w r u."""
        return self.scaled_counts

    def about(self, reference: FloatArray) -> StudentStatistics:
        """Return the same statistics with the moments taken about another reference."""
        moved = self._weighted().about(reference)
        return replace(self, reference=reference, first=moved.first, second=moved.second)

    def offsets(self) -> FloatArray:
        """Return mean minus reference, shape (n_components, n_features); 0 for empty ones."""
        return self._weighted().offsets()

    def covariances(self) -> FloatArray:
        """Return the scatter about each mean divided by the count: what scales follow from."""
        covariances = self._weighted().covariances()
        counted = np.where(self.empty(), 1.0, self.counts)
        shares = np.where(self.empty(), 1.0, self.scaled_counts) / counted
        covariances *= shares.reshape(-1, *(1,) * (covariances.ndim - 1))
        return covariances

    def _weighted(self) -> SufficientStatistics:
        """Return the moments as those of Gaussians whose counts are sums of w r u."""
        return SufficientStatistics(
            self.reference,
            self.scaled_counts,
            self.first,
            self.second,
            self.log_likelihood,
            self.weight,
        )

    def solve_dofs(self, dof: Dof, before: FloatArray, *, careful: bool) -> FloatArray:
        """Return the degrees of freedom that maximize the expected log-likelihood, or better ones.

        The former are the root of ``log(ν/2) - ψ(ν/2) + 1 + mean(E[log u] - u) = 0`` with the mean
        weighted by r, or the bound that it is beyond. Unless `careful`, the step there is made
        longer (`_lengthened`).
        """
        if not isinstance(dof, str):
            return np.full_like(before, dof)
        sums, counts = self.scaled_counts - self.logarithms, self.counts
        if dof == "common":
            sums, counts = (np.full_like(each, each.sum()) for each in (sums, counts))
        known = counts > 0.0
        excess = np.where(known, sums / np.where(known, counts, 1.0) - 1.0, np.nan)
        found = np.where(known, _inverse_excess(excess), before)
        return found if careful else _lengthened(before, found, self.n_features)


def expected_logarithms(dofs: FloatArray, n_features: int) -> FloatArray:
    """Return E[log u] - log((ν + D) / (ν + δ)) for rows of D features: ψ(h) - log(h)."""
    half = 0.5 * (dofs + n_features)
    return np.asarray(digamma(half) - np.log(half))


def _lengthened(before: FloatArray, after: FloatArray, n_features: int) -> FloatArray:
    """Return degrees of freedom as many times as far off as EM takes steps to get there, about.

    A step of EM is that of Newton's method times the share of the information about ν that rows
    have without u (Lange, Little and Taylor, 1989, "Robust statistical modeling using the t
    distribution", Journal of the American Statistical Association 84): for large ν
    next to nothing, so that EM would take thousands of steps.
    """
    D, half = n_features, 0.5 * before
    of_u = 0.25 * polygamma(1, half)
    complete = of_u - 0.5 / before
    lost = 0.25 * polygamma(1, half + 0.5 * D)
    spread = 0.5 * D * (before + D + 4.0) / (before * (before + D) * (before + D + 2.0))
    observed = np.maximum(of_u - lost - spread, 0.0)
    share = np.clip(observed / complete, 1e-3, 1.0)
    steps = np.clip(np.log(after / before) / share, -_LONGEST, _LONGEST)
    return np.asarray(np.clip(before * np.exp(steps), *DOF_BOUNDS))


def _inverse_excess(excess: FloatArray) -> FloatArray:
    """Return the ν within the bounds at which log(ν/2) - ψ(ν/2), which falls with ν, is nearest."""
    low, high = (np.full_like(excess, np.log(bound)) for bound in DOF_BOUNDS)
    for _ in range(60):  # halvings of the logarithm's range, down to the last bit
        middle = 0.5 * (low + high)
        half = 0.5 * np.exp(middle)
        above = np.log(half) - digamma(half) > excess
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(np.clip(np.exp(0.5 * (low + high)), *DOF_BOUNDS))


def _log_normalizer_shifts(dofs: FloatArray, n_features: int) -> FloatArray:
    """Return log Γ((ν + D)/2) - log Γ(ν/2) - D/2 log(ν/2), which goes to 0 as ν grows.

    As products, of which large ν lose no digits.
    """
    halves = 0.5 * dofs
    odd = n_features % 2
    factors = (0.5 * odd + np.arange(n_features // 2)) / halves[:, None]
    shifts: FloatArray = np.log1p(factors).sum(axis=1)
    shifts += odd * np.log(poch(halves, 0.5) / np.sqrt(halves))
    return shifts
