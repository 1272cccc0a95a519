"""Rows that are measured with errors, wherever a mixture evaluates rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from fastgmm.data.sources.dask_collection import DaskSource, is_collection
from fastgmm.data.sources.measured import MeasuredRows, with_error_covariance
from fastgmm.docstrings import documented
from fastgmm.em.measurement_errors.denoising import denoised_blocks
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.validation import check_source, missing_policy
from fastgmm.mixture.statistics import FloatArray

ERRORS = """
error_covariance : array-like, default=None
    Covariances of the measurement errors of the rows; None where there are none, or where
    :func:`~fastgmm.open_data` has read them with `X`, as from ``error_columns``. These are squares
    of standard errors, not the standard errors themselves::

        (n_samples, n_features)              variances of each row's errors
        (n_samples, n_features, n_features)  covariances of each row's errors
        (n_features,)                        variances, the same for all rows
        (n_features, n_features)             one covariance for all rows

    What belongs to a missing value is not used.
"""
"""What methods that take errors have besides, as numpydoc describes parameters."""


@documented(ERRORS)
class MeasurementErrors(MixtureEvaluation):
    """Evaluation of rows that are true values, of which the mixture is, plus errors."""

    _models_errors: ClassVar[bool] = True

    def predict(self, X: Rows, error_covariance: ArrayLike | None = None) -> npt.NDArray[np.int64]:
        """Return the most probable component of each row.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The component of the highest responsibility; -1 for noise.
        """
        return super().predict(self._with_errors(X, error_covariance))

    def predict_proba(self, X: Rows, error_covariance: ArrayLike | None = None) -> FloatingArray:
        """Return the responsibility of each component for each row.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Probabilities that sum to 1 for each row, in the dtype of the rows. A mixture with
            noise has one column more, the last, for the noise.
        """
        return super().predict_proba(self._with_errors(X, error_covariance))

    def score_samples(self, X: Rows, error_covariance: ArrayLike | None = None) -> FloatingArray:
        """Return the log-density of each row.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities in nats, in the dtype of the rows: with errors, under the mixture of which
            each covariance is that of the component plus that of the row's errors.
        """
        return super().score_samples(self._with_errors(X, error_covariance))

    def score(
        self,
        X: Rows,
        y: Any = None,
        sample_weight: Weights = None,
        error_covariance: ArrayLike | None = None,
    ) -> float:
        """Return the mean log-density of the rows.

        Returns
        -------
        float
            Log-likelihood for each unit of weight, in nats.
        """
        return super().score(self._with_errors(X, error_covariance), y, sample_weight)

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
            self._with_errors(X, error_covariance), missing="model", measured=True
        )
        if not isinstance(source, MeasuredRows):
            raise ValueError(
                "denoise is for rows with measurement errors: give error_covariance, or open the "
                "rows with open_data(..., error_columns=...)"
            )
        blocks = list(denoised_blocks(source, parameters, n_jobs=self.n_jobs))
        means, covariances = (np.concatenate(each) for each in zip(*blocks, strict=True))
        return means, covariances

    def _with_errors(self, X: Rows, error_covariance: ArrayLike | None) -> Rows:
        """Return rows with their errors, if there are any."""
        if error_covariance is None:
            return X
        if is_collection(X) or isinstance(X, DaskSource):
            raise ValueError(
                "rows of a Dask collection are evaluated without errors: compute them first, or "
                "evaluate each partition with its errors"
            )
        policy = missing_policy(self, each_row=True)
        return with_error_covariance(check_source(self, X, missing=policy), error_covariance)
