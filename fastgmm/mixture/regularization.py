"""What is added to the diagonal of a covariance so that it stays positive definite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastgmm.mixture.statistics import FloatArray

REGULARIZATION_SCALES = ("auto", "absolute", "relative")

ORDINARY_VARIANCE = 0.01
"""From this variance of a feature on, "auto" adds what scikit-learn adds."""

SMALLEST_VARIANCE = 1e-301
"""Of a feature; components may be narrower by some orders of magnitude."""


class IllDefinedCovarianceError(ValueError):
    """A covariance is singular and no regularization was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Regularization:
    """Amounts added to the variances of each feature in every M-step.

    Attributes
    ----------
    amounts : ndarray of shape (n_features,)
        Added to the diagonal of each covariance, in the squared unit of the feature.
    constant : ndarray of bool of shape (n_features,)
        Features with a single value in all of the data.
    """

    amounts: FloatArray
    constant: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @property
    def is_zero(self) -> bool:
        """Whether nothing is added, so that a singular covariance is an error."""
        return not self.amounts.any()

    @classmethod
    def none(cls, n_features: int) -> Regularization:
        """Return a regularization that adds nothing."""
        return cls(np.zeros(n_features), np.zeros(n_features, dtype=bool))

    @classmethod
    def from_variances(
        cls, reg_covar: float, scale: str, means: FloatArray, variances: FloatArray
    ) -> Regularization:
        """Return the amounts that suit features of the given means and variances.

        Positive amounts are at least the square of the last digits that the data can have.

        Parameters
        ----------
        reg_covar : float
            The regularization, at least 0; 0 adds nothing under every scale.
        scale : {"auto", "absolute", "relative"}
            "absolute" adds `reg_covar`, as scikit-learn does. "relative" adds `reg_covar` times
            the variance of the feature. "auto" adds ``reg_covar * min(1, variance / 0.01)``:
            the same as "absolute" for features of ordinary size, and shrinking with features
            that vary less. A constant feature has no scale, so `reg_covar` itself is added.
        means : ndarray of shape (n_features,)
            Mean of each feature over all rows.
        variances : ndarray of shape (n_features,)
            Variance of each feature over all rows.

        Returns
        -------
        Regularization
            The amounts.

        Raises
        ------
        ValueError
            If `scale` is not one of the three, or the variance of a feature is so small that those
            of components would have no inverse in float64.
        """
        digits = 8.0 * np.finfo(np.float64).eps
        constant = variances <= (digits * means) ** 2
        # Whether values this small vary is lost with their squares.
        lost = (variances == 0.0) & (means != 0.0) & (np.abs(means) < math.sqrt(SMALLEST_VARIANCE))
        tiny = ~constant & (variances < SMALLEST_VARIANCE) | lost
        if tiny.any():
            j = int(tiny.argmax())
            raise ValueError(
                f"the values of feature {j} are too small: their variance, {variances[j]:g}, is "
                f"below {SMALLEST_VARIANCE:g}, and inverses of variances overflow; multiply the "
                "feature by a constant"
            )
        if scale == "absolute":
            factors = np.ones_like(variances)
        elif scale == "relative":
            factors = variances
        elif scale == "auto":
            factors = np.minimum(variances, ORDINARY_VARIANCE) / ORDINARY_VARIANCE
        else:
            raise ValueError(
                f"reg_covar_scale must be one of {', '.join(REGULARIZATION_SCALES)}; got {scale!r}"
            )
        amounts = reg_covar * np.where(constant, 1.0, factors)
        if reg_covar > 0.0:
            # No component can be narrower than the last digits of its mean.
            amounts = np.maximum(amounts, (digits * (np.abs(means) + np.sqrt(variances))) ** 2)
        return cls(amounts, constant)
