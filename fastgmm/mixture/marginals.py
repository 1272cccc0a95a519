"""A mixture seen from some of its features: their marginal, and the others given them.

For a Gaussian with covariance Σ whose features are parted into O and M, the features in O have the
covariance Σ_OO; given their values x_O, those in M have the mean ``μ_M + B (x_O - μ_O)`` with B =
Σ_MO Σ_OO⁻¹, and the covariance Σ_MM - B Σ_OM (Bishop, PRML, eqs. 2.81, 2.82 and 2.98).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fastgmm.mixture.parameters import MixtureParameters, invert_triangles
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """A mixture parted into features O and M: the marginal of O, and M given O."""

    observed: npt.NDArray[np.intp]  # (n_observed,): the features in O and in M, in their order
    others: npt.NDArray[np.intp]  # (n_observed,): the features in O and in M, in their order
    marginal: MixtureParameters  # the mixture of the features in O alone
    means: FloatArray  # (n_components, n_others): means of the features in M
    coefficients: FloatArray | None
    """(n_components, n_others, n_observed): B of each component; None for diagonal covariances,
    where it is 0.
    """
    factors: FloatArray
    """(n_components, n_others, n_others) or (n_components, n_others): lower triangular Cholesky
    factors of the conditional covariances of M, or its standard deviations where covariances are
    diagonal.
    """

    @property
    def covariances(self) -> FloatArray:
        """Conditional covariances of M, or variances, in the shape of `factors`."""
        if self.coefficients is None:
            return self.factors * self.factors
        return self.factors @ self.factors.transpose(0, 2, 1)


def marginal(parameters: MixtureParameters, features: npt.NDArray[np.intp]) -> MixtureParameters:
    """Return the mixture of some of the features alone."""
    if parameters.is_diagonal:
        whiteners: FloatArray = parameters.whiteners[:, features]
    else:
        factors = _triangles(invert_triangles(parameters.whiteners)[:, features])
        whiteners = invert_triangles(factors)
    return parameters.with_shape(parameters.means[:, features], whiteners)


def conditioned(
    parameters: MixtureParameters,
    is_given: npt.NDArray[np.bool_],
    values: FloatArray,
    responsibilities: FloatArray,
) -> MixtureParameters:
    """Return the mixture of the other features where some have given values."""
    parts = partition(parameters, is_given)
    if parts.coefficients is None:
        means, whiteners = parts.means, 1.0 / parts.factors
    else:
        offsets = values - parts.marginal.means
        means = parts.means + _applied(parts.coefficients, offsets)
        whiteners = invert_triangles(parts.factors)
    return MixtureParameters.from_whiteners(responsibilities, means, whiteners)


def partition(parameters: MixtureParameters, is_observed: npt.NDArray[np.bool_]) -> Partition:
    """Part a mixture into the features that are observed and the others.

    Everything comes from one orthogonal triangularization of each component's Cholesky factor, its
    rows in another order, so that no covariance is ever formed or factorized anew.
    """
    observed, others = np.flatnonzero(is_observed), np.flatnonzero(~is_observed)
    n_observed = len(observed)
    if parameters.is_diagonal:
        whiteners: FloatArray = parameters.whiteners[:, observed]
        factors: FloatArray = 1.0 / parameters.whiteners[:, others]
        coefficients = None
    else:
        order = np.concatenate([observed, others])
        lower = _triangles(invert_triangles(parameters.whiteners)[:, order])
        whiteners = invert_triangles(np.ascontiguousarray(lower[:, :n_observed, :n_observed]))
        coefficients = lower[:, n_observed:, :n_observed] @ whiteners
        factors = np.ascontiguousarray(lower[:, n_observed:, n_observed:])
    return Partition(
        observed,
        others,
        parameters.with_shape(parameters.means[:, observed], whiteners),
        parameters.means[:, others],
        coefficients,
        factors,
    )


def completed_statistics(
    statistics: SufficientStatistics, parts: Partition
) -> SufficientStatistics:
    """Return the expected statistics of all features from those of the observed ones.

    What is missing counts with its conditional moments under the mixture: first moments are
    those of rows completed by conditional means, and second moments have the conditional
    covariance added (Ghahramani and Jordan, 1994, "Supervised learning from incomplete data via
    an EM approach", NIPS 6, section 3).
    """
    observed, others, B = parts.observed, parts.others, parts.coefficients
    shape = (statistics.n_components, len(observed) + len(others))
    reference, first = np.empty(shape), np.zeros(shape)
    reference[:, observed] = statistics.reference
    first[:, observed] = statistics.first
    covariances = parts.covariances
    if B is None:
        reference[:, others] = parts.means
        second = np.empty(shape)
        second[:, observed] = statistics.second
        second[:, others] = statistics.counts[:, None] * covariances
    else:
        offsets = statistics.reference - parts.marginal.means
        # about what the reference itself is completed by, completing is linear
        reference[:, others] = parts.means + _applied(B, offsets)
        first[:, others] = _applied(B, statistics.first)
        crossed = B @ statistics.second
        second = np.empty((*shape, shape[1]))
        rows, columns = observed[:, None], others[:, None]
        second[:, rows, observed] = statistics.second
        second[:, columns, observed] = crossed
        second[:, rows, others] = crossed.transpose(0, 2, 1)
        expected = crossed @ B.transpose(0, 2, 1)
        expected += statistics.counts[:, None, None] * covariances
        second[:, columns, others] = 0.5 * (expected + expected.transpose(0, 2, 1))
    return replace(statistics, reference=reference, first=first, second=second)


def _triangles(factors: FloatArray) -> FloatArray:
    """Return the lower triangular L with L Lᵀ = F Fᵀ, for each F of shape (n, at least n)."""
    R: FloatArray = np.asarray(np.linalg.qr(factors.transpose(0, 2, 1), mode="r"))
    R *= np.where(np.einsum("kii->ki", R) < 0.0, -1.0, 1.0)[:, :, None]
    return R.transpose(0, 2, 1)


def _applied(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Return each component's matrix times its vector."""
    applied: FloatArray = (matrices @ vectors[:, :, None])[:, :, 0]
    return applied
