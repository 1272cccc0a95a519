"""What mixtures fitted by their likelihood have in common, whether by batch or by online EM."""

from __future__ import annotations

from typing import Self

from sklearn.base import BaseEstimator, DensityMixin

from fastgmm.docstrings import documented
from fastgmm.em.loop import FitInfo
from fastgmm.estimators.shared.callbacks import CallbackSupportMixin
from fastgmm.estimators.shared.conversion import ScikitLearnConversion
from fastgmm.estimators.shared.evaluation import Imputation, InformationCriteria
from fastgmm.estimators.shared.interfaces import FloatingArray, Labels, Rows, Weights
from fastgmm.estimators.shared.online import OnlineLearning
from fastgmm.estimators.shared.validation import validated_fit
from fastgmm.mixture.statistics import FloatArray


@documented()
class LikelihoodMixture(
    ScikitLearnConversion,
    OnlineLearning,
    Imputation,
    InformationCriteria,
    CallbackSupportMixin,
    DensityMixin,
    BaseEstimator,
):
    """A mixture that is fitted by its likelihood."""

    weights_: FloatingArray
    means_: FloatingArray
    covariances_: FloatingArray
    precisions_: FloatingArray
    precisions_cholesky_: FloatingArray
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    trace_: FloatArray
    fit_info_: FitInfo

    @validated_fit
    def fit(self, X: Rows, y: Labels = None, sample_weight: Weights = None) -> Self:
        """Fit the mixture to rows.

        Parameters
        ----------
        y : array-like of int of shape (n_samples,) or str, default=None
            With `semi_supervised`, the component of each row, counted from 0, and -1 or NaN where
            it is not known; or the name of the column of `X` that holds them. Ignored otherwise.

        Raises
        ------
        ValueError
            If the rows, the weights, the labels or the initial values are invalid, or if a
            component collapses and `reg_covar` is 0. Where `weights_init`, `means_init` and
            `precisions_init` are all given, or the fit is a warm start, a collapse ends the fit at
            the parameters before it instead.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged after `max_iter` iterations, or was stopped by a collapse.
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        self._fit(X, y, sample_weight)
        return self
