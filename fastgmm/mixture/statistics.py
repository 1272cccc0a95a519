"""Sufficient statistics of a Gaussian mixture: what one pass over the data leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

EMPTY_SHARE = 1e-15
"""A component with no more than this share of the total weight holds no points.

The passes drop responsibilities below e^-40, so counts smaller than this are not trustworthy,
and what they could add to the log-likelihood is below its rounding.
"""

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class SufficientStatistics:
    """Weighted moments of the responsibilities, about one reference point per component.

    The statistics of two sets of rows add up to those of both sets together. Moments are taken
    about a point near each component and never about the origin, so that data far from the
    origin keep all their digits.

    Attributes
    ----------
    reference : ndarray of shape (n_components, n_features)
        The points c_k that the moments are taken about.
    counts : ndarray of shape (n_components,)
        Sums of w r, with w the weight of a row and r its responsibility.
    first : ndarray of shape (n_components, n_features)
        Sums of w r (x - c).
    second : ndarray of shape (n_components, n_features, n_features), (n_components, n_features) \
            or (n_components, n_features, 1 + n_factors)
        Sums of w r (x - c)(x - c)^T: the full symmetric matrix, or its diagonal alone; of factor
        analyzers, its diagonal, followed by its product with Ψ^-1/2 U (`factor_axes`).
    log_likelihood : float
        Sum of w log p(x), in nats; nan where the responsibilities did not come from a mixture.
    weight : float
        Sum of w.
    """

    reference: FloatArray
    counts: FloatArray
    first: FloatArray
    second: FloatArray
    log_likelihood: float
    weight: float

    @classmethod
    def without_moments(cls, log_likelihood: float, weight: float) -> SufficientStatistics:
        """Return what a pass finds that takes no moments: the log-likelihood alone."""
        none = np.empty((0, 0))
        return cls(none, np.empty(0), none, none, log_likelihood, weight)

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.first.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.first.shape[1])

    @property
    def is_diagonal(self) -> bool:
        """Whether only the diagonals of the second moments are held."""
        return self.second.ndim == 2

    @property
    def location_counts(self) -> FloatArray:
        """What the means are of: the counts, unless moments have weights beside those of rows."""
        return self.counts

    @property
    def mean_log_likelihood(self) -> float:
        """Log-likelihood for each unit of weight, in nats."""
        return self.log_likelihood / self.weight

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        """Return the statistics of both sets of rows together.

        Where the references differ, each component keeps that of the side which counts more.
        """
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        if self.second.shape != other.second.shape:
            raise ValueError(
                "statistics of different shapes do not add up: second moments of shape "
                f"{self.second.shape} and {other.second.shape}; collect both with the same "
                "number of components and the same covariance structure"
            )
        left, right = self, other
        if not np.array_equal(left.reference, right.reference):
            heavier_left = (left.counts >= right.counts)[:, None]
            reference = np.where(heavier_left, left.reference, right.reference)
            left, right = left.about(reference), right.about(reference)
        return SufficientStatistics(
            reference=left.reference,
            counts=left.counts + right.counts,
            first=left.first + right.first,
            second=left.second + right.second,
            log_likelihood=left.log_likelihood + right.log_likelihood,
            weight=left.weight + right.weight,
        )

    def of(self, components: npt.NDArray[Any] | slice) -> SufficientStatistics:
        """Return the statistics of some of the components; log-likelihood and weight stay.

        Parameters
        ----------
        components : ndarray of int or bool, or slice
            Which of them.

        Returns
        -------
        SufficientStatistics
            Theirs.
        """
        return replace(
            self,
            reference=self.reference[components],
            counts=self.counts[components],
            first=self.first[components],
            second=self.second[components],
        )

    @classmethod
    def from_covariances(
        cls, counts: FloatArray, means: FloatArray, covariances: FloatArray
    ) -> SufficientStatistics:
        """Return the statistics of components whose points are spread in a given way.

        Parameters
        ----------
        counts : ndarray of shape (n_components,)
            How much weight the points of each have, which adds up to that of all rows.
        means : ndarray of shape (n_components, n_features)
            Their means, which become the references.
        covariances : ndarray of shape (n_components, n_features, n_features) or \
                (n_components, n_features)
            Their covariances, or variances.

        Returns
        -------
        SufficientStatistics
            The statistics, with no log-likelihood.
        """
        axes = (slice(None),) + (None,) * (covariances.ndim - 1)
        return cls(
            reference=means,
            counts=counts,
            first=np.zeros_like(means),
            second=counts[axes] * covariances,
            log_likelihood=math.nan,
            weight=float(counts.sum()),
        )

    def scaled(self, factor: float) -> SufficientStatistics:
        """Return the statistics of the same rows with every weight multiplied by `factor`."""
        return replace(
            self,
            counts=self.counts * factor,
            first=self.first * factor,
            second=self.second * factor,
            log_likelihood=self.log_likelihood * factor,
            weight=self.weight * factor,
        )

    def blended(self, other: SufficientStatistics, step: float) -> SufficientStatistics:
        """Return (1 - step) times these statistics plus `step` times the other."""
        return self.scaled(1.0 - step) + other.scaled(step)

    def about(self, reference: FloatArray) -> SufficientStatistics:
        """Return the same statistics with the moments taken about another reference.

        Parameters
        ----------
        reference : ndarray of shape (n_components, n_features)
            The new reference points.

        Returns
        -------
        SufficientStatistics
            Equal to what the pass would have given about `reference`, up to rounding.
        """
        shift = self.reference - reference
        moved = self.counts[:, None] * shift
        if self.is_diagonal:
            second = self.second + shift * (2.0 * self.first + moved)
        else:
            half = self.first + 0.5 * moved
            cross = half[:, :, None] * shift[:, None, :]
            second = self.second + cross + cross.transpose(0, 2, 1)
        return replace(self, reference=reference, first=self.first + moved, second=second)

    def empty(self) -> npt.NDArray[np.bool_]:
        """Return which components hold no points, shape (n_components,)."""
        return self.counts <= EMPTY_SHARE * self.weight

    def weights(self) -> FloatArray:
        """Return each component's share of the counts, exactly 0 for empty ones."""
        counts = np.where(self.empty(), 0.0, self.counts)
        total = counts.sum()
        shares: FloatArray = counts / (total if total > 0.0 else 1.0)
        return shares

    def offsets(self) -> FloatArray:
        """Return mean minus reference, shape (n_components, n_features); 0 for empty ones."""
        return self.first / self._divisors()[:, None]

    def means(self) -> FloatArray:
        """Return the means, shape (n_components, n_features); the reference for empty ones."""
        return self.reference + self.offsets()

    def covariances(self) -> FloatArray:
        """Return the covariance of each component about its mean, without regularization.

        Exactly symmetric if the second moments are, with a diagonal that is never negative. A
        variance that is within the rounding of the moments is exactly zero, and so are
        its covariances.

        Returns
        -------
        ndarray of shape (n_components, n_features, n_features) or (n_components, n_features)
            Matrices or, for diagonal statistics, variances. Empty components have the pooled
            covariance of all others.
        """
        divisors = self._divisors()
        offsets = self.first / divisors[:, None]
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused when solved
            if self.is_diagonal:
                covariances = self.second / divisors[:, None]
                variances = covariances
                raw_variances = variances.copy()
                covariances -= offsets * offsets
            else:
                covariances = self.second / divisors[:, None, None]
                variances = np.einsum("kii->ki", covariances)
                raw_variances = variances.copy()
                covariances -= offsets[:, :, None] * offsets[:, None, :]
            resolution = 4.0 * _EPSILON * (self.reference + offsets)
            noise = np.maximum(8.0 * _EPSILON * raw_variances, resolution * resolution)
        vanished = variances <= noise
        if vanished.any():
            if self.is_diagonal:
                covariances[vanished] = 0.0
            else:
                covariances[vanished[:, :, None] | vanished[:, None, :]] = 0.0
        empty = self.empty()
        if empty.any():
            covariances[empty] = pool(covariances, np.where(empty, 0.0, self.counts))
        return covariances

    def variances(self) -> FloatArray:
        """Return the diagonals of `covariances`, shape (n_components, n_features)."""
        covariances = self.covariances()
        return covariances if self.is_diagonal else np.einsum("kii->ki", covariances)

    def _divisors(self) -> FloatArray:
        """Return the counts, with infinity for empty components so that quotients vanish."""
        return np.where(self.empty(), np.inf, self.counts)


def holds_factors(spread: FloatArray, n_features: int) -> bool:
    """Say whether whiteners or second moments are those of factor analyzers."""
    return spread.ndim == 3 and spread.shape[2] < n_features


def pool(covariances: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the mean of covariances weighted by counts."""
    total = counts.sum()
    shares = counts / (total if total > 0.0 else 1.0)
    pooled: FloatArray = np.tensordot(shares, covariances, axes=1)
    return pooled
