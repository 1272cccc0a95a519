"""Rows whose values have errors or are limits, wherever a mixture evaluates rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from fastgmm.data.source import Source
from fastgmm.data.sources.dask_collection import DaskSource, is_collection
from fastgmm.data.sources.limited import LimitedRows, with_limits
from fastgmm.data.sources.measured import MeasuredRows, with_error_covariance
from fastgmm.docstrings import documented
from fastgmm.em.measurement_errors.denoising import denoised_blocks
from fastgmm.em.missing.limited import expected_blocks
from fastgmm.estimators.shared.evaluation import DRAWS, Imputation
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.validation import check_source, missing_policy
from fastgmm.mixture.statistics import FloatArray

ANNOTATIONS = """
error_covariance : array-like, default=None
    Covariances of the measurement errors of the rows; None where there are none, or where
    :func:`~fastgmm.open_data` has read them with `X`, as from ``error_columns``. These are squares
    of standard errors, not the standard errors themselves::

        (n_samples, n_features)              variances of each row's errors
        (n_samples, n_features, n_features)  covariances of each row's errors
        (n_features,)                        variances, the same for all rows
        (n_features, n_features)             one covariance for all rows

    What belongs to a missing value is not used.
censored : array-like of shape (n_samples, n_features), default=None
    Which values are limits: -1 where the true value is at most the value in `X`, 1 where it is at
    least that, and 0 where it is measured. None where all are, or where
    :func:`~fastgmm.open_data` has read the flags with `X`, as from ``censored_columns``.
"""
"""What methods that take errors and limits have besides, as numpydoc describes parameters."""


@documented(ANNOTATIONS + DRAWS)
class AnnotatedEvaluation(Imputation):
    """Evaluation of rows of which some values are not simply known.

    Rows may be true values, of which the mixture is, plus errors; or some values may be limits.
    """

    _takes_annotations: ClassVar[bool] = True

    def predict(
        self,
        X: Rows,
        error_covariance: ArrayLike | None = None,
        censored: ArrayLike | None = None,
    ) -> npt.NDArray[np.int64]:
        """Return the most probable component of each row.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The component of the highest responsibility; -1 for noise.
        """
        return super().predict(self._annotated(X, error_covariance, censored))

    def predict_proba(
        self,
        X: Rows,
        error_covariance: ArrayLike | None = None,
        censored: ArrayLike | None = None,
    ) -> FloatingArray:
        """Return the responsibility of each component for each row.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Probabilities that sum to 1 for each row, in the dtype of the rows. A mixture with
            noise has one column more, the last, for the noise.
        """
        return super().predict_proba(self._annotated(X, error_covariance, censored))

    def score_samples(
        self,
        X: Rows,
        error_covariance: ArrayLike | None = None,
        censored: ArrayLike | None = None,
    ) -> FloatingArray:
        """Return the log-density of each row.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities in nats, in the dtype of the rows: with errors, under the mixture of which
            each covariance is that of the component plus that of the row's errors; with limits,
            of the density of what is measured times the probability of the rest given that.
        """
        return super().score_samples(self._annotated(X, error_covariance, censored))

    def score(
        self,
        X: Rows,
        y: Any = None,
        sample_weight: Weights = None,
        error_covariance: ArrayLike | None = None,
        censored: ArrayLike | None = None,
    ) -> float:
        """Return the mean log-density of the rows.

        Returns
        -------
        float
            Log-likelihood for each unit of weight, in nats.
        """
        return super().score(self._annotated(X, error_covariance, censored), y, sample_weight)

    def denoise(
        self, X: Rows, error_covariance: ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return what the true values of rows are, given the rows, their errors and the mixture.

        Given a row, its true values follow a mixture of Gaussians, of which these are the mean and
        the covariance (Bovy, Hogg and Roweis, 2011, eq. 10). Missing values are estimated, too.

        Returns
        -------
        means : ndarray of float64 of shape (n_samples, n_features)
            The expected true values.
        covariances : ndarray of float64 of shape (n_samples, n_features, n_features)
            Their covariances.

        Raises
        ------
        ValueError
            If the rows are not possible, or have no errors.
        """
        source, parameters = self._evaluated(
            self._annotated(X, error_covariance), missing="model", annotated=True
        )
        if not isinstance(source, MeasuredRows):
            raise ValueError(
                "denoise is for rows with measurement errors: give error_covariance, or open the "
                "rows with open_data(..., error_columns=...)"
            )
        blocks = list(denoised_blocks(source, parameters, n_jobs=self.n_jobs))
        means, covariances = (np.concatenate(each) for each in zip(*blocks, strict=True))
        return means, covariances

    def impute(
        self, X: Rows, n_draws: int | None = None, censored: ArrayLike | None = None
    ) -> FloatingArray:
        """Return the rows with missing values, and those that are limits, imputed.

        Given what is known of a row, the other values follow a mixture of Gaussians, cut off at the
        limits, whatever `missing` was when the mixture was fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows, NaN where a value is missing.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_draws, n_samples, n_features)
            The rows, in their dtype. What is observed stays as it is.

        Raises
        ------
        ValueError
            If the rows are not possible, `n_draws` is less than 1, or there are limits and it is
            not None.
        """
        rows = self._annotated(X, None, censored)
        if not isinstance(rows, LimitedRows):
            return super().impute(rows, n_draws)
        if n_draws is not None:
            raise ValueError("censored values are imputed by means: leave n_draws out")
        source, parameters = self._evaluated(rows, missing="model", annotated=True)
        assert isinstance(source, LimitedRows)
        return np.concatenate(list(expected_blocks(source, parameters, n_jobs=self.n_jobs)))

    def _annotated(
        self, X: Rows, error_covariance: ArrayLike | None, censored: ArrayLike | None = None
    ) -> Rows:
        """Return rows with their errors or limits, if there are any."""
        if error_covariance is None and censored is None:
            return X
        if is_collection(X) or isinstance(X, DaskSource):
            raise ValueError(
                "rows of a Dask collection are evaluated without errors and limits: compute them "
                "first, or evaluate each partition with its own"
            )
        policy = missing_policy(self, each_row=True)
        source = check_source(self, X, missing=policy, annotated=True)
        return with_annotations(source, error_covariance, censored)


def with_annotations(
    source: Source, error_covariance: ArrayLike | None, censored: ArrayLike | None
) -> Source:
    """Return rows with what is known of their values."""
    if error_covariance is not None:
        source = with_error_covariance(source, error_covariance)
    return source if censored is None else with_limits(source, censored)
