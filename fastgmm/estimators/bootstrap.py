"""Uncertainty of the parameters of a fitted mixture, by resampling."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from fastgmm.analysis.batched_fits import EMSettings
from fastgmm.analysis.bootstrap import BOOTSTRAP_KINDS, BootstrapKind, bootstrap
from fastgmm.docstrings import documented
from fastgmm.em.degeneracy import DegenerateComponentWarning, regularization_for
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.validation import (
    CONSTRAINTS,
    check_plain,
    validated_arguments,
)
from fastgmm.mixture.statistics import FloatArray

#: What the functions that resample allow, in the form scikit-learn's parameter validation takes.
RESAMPLING_CONSTRAINTS: dict[str, list[Any]] = {
    "mixture": [GaussianMixture],
    "n_resamples": [Interval(Integral, 2, None, closed="left")],
    "tol": [Interval(Real, 0.0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
    "n_jobs": CONSTRAINTS["n_jobs"],
}


@dataclass(frozen=True, slots=True, eq=False)
class ParameterUncertainty:
    """Uncertainty of one kind of parameters: weights, means or covariances.

    Attributes
    ----------
    estimate : ndarray of shape (...)
        The parameters of the mixture, in the shape of its attribute.
    standard_error : ndarray of shape (...)
        Standard error of each.
    low, high : ndarray of shape (...)
        Ends of the confidence interval of each.
    replicates : ndarray of shape (n_resamples, ...)
        The parameters fitted to each resample.
    """

    estimate: FloatArray
    standard_error: FloatArray
    low: FloatArray
    high: FloatArray
    replicates: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class MixtureBootstrap:
    """Uncertainty of the parameters of a mixture, estimated by `bootstrap_parameters`.

    Attributes
    ----------
    weights : ParameterUncertainty
        Of shape (n_components,).
    means : ParameterUncertainty
        Of shape (n_components, n_features).
    covariances : ParameterUncertainty
        Of the shape that `covariances_` has.
    kind : str
        Resampling method.
    confidence_level : float
        The level of the intervals.
    n_resamples : int
        Number of resamples that the estimates are based on.
    n_failed : int
        Number of resamples that were left out because a component collapsed; 0 unless
        `reg_covar` is.
    n_unconverged : int
        Number of resamples whose fit was stopped by `max_iter`.
    """

    weights: ParameterUncertainty
    means: ParameterUncertainty
    covariances: ParameterUncertainty
    kind: BootstrapKind
    confidence_level: float
    n_resamples: int
    n_failed: int
    n_unconverged: int


@documented()
@validated_arguments(
    {
        **RESAMPLING_CONSTRAINTS,
        "kind": [StrOptions(set(BOOTSTRAP_KINDS))],
        "confidence_level": [Interval(Real, 0.0, 1.0, closed="neither")],
    }
)
def bootstrap_parameters(
    mixture: GaussianMixture,
    X: Rows,
    sample_weight: Weights = None,
    *,
    n_resamples: int = 999,
    kind: BootstrapKind = "nonparametric",
    confidence_level: float = 0.95,
    tol: float = 1e-4,
    max_iter: int = 1000,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
) -> MixtureBootstrap:
    """Return standard errors and confidence intervals of a mixture's parameters.

    The mixture is refitted to many resamples of the rows. Each fit starts from the mixture itself,
    so that its components keep their numbers.

    Parameters
    ----------
    mixture : GaussianMixture
        A mixture that was fitted to the rows, best with a small `tol` of its own.
    X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
        The rows that it was fitted to. They are never copied: a row that is drawn three times is
        one of weight 3.
    sample_weight : array-like of shape (n_samples,) or str, default=None
        The weights that it was fitted with. A weight of w means w copies of the row, as many of
        which are drawn as there are in all.
    n_resamples : int, default=999
        Number of resamples. The jackknife has one for each row.
    kind : {"nonparametric", "weighted", "parametric", "jackknife"}, default="nonparametric"
        Resampling method:

        - "nonparametric": rows are drawn with replacement (Efron, 1979);
        - "weighted": each row has a random weight, and all sum to their number; this is the
          weighted likelihood bootstrap (Newton and Raftery, 1994), under which no component loses
          its last rows;
        - "parametric": rows are drawn from the mixture;
        - "jackknife": one row is left out.
    confidence_level : float, default=0.95
        Level of the intervals. Their ends are quantiles of the fitted values, or, for the
        jackknife, as many standard errors from the estimate as a normal distribution asks for.
    tol : float, default=1e-4
        A fit ends when the log-likelihood of all rows changes by less than this, in nats: errors
        of parameters are where it changes by about one half, however many rows there are. A fit
        that ends early stays near the mixture it started from, and errors come out too small.
    max_iter : int, default=1000
        Maximum number of iterations of a fit.

    Returns
    -------
    MixtureBootstrap
        Standard errors, intervals, and the fitted values.

    Raises
    ------
    ValueError
        If the mixture has noise, priors or labels, if the weights sum to less than 2, or if fewer
        than two fits are left because components collapsed.

    Warns
    -----
    ConvergenceWarning
        If a fit has not converged after `max_iter` iterations.
    DegenerateComponentWarning
        If resamples were left out because a component collapsed and `reg_covar` is 0.

    See Also
    --------
    bootstrap_likelihood_ratio_test : Tests of the number of components.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture, bootstrap_parameters
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> mixture = GaussianMixture().fit(X)
    >>> result = bootstrap_parameters(mixture, X, random_state=0)
    >>> print(f"{result.means.estimate[0, 0]:.2f} ± {result.means.standard_error[0, 0]:.2f}")
    2.93 ± 0.10
    >>> result.means.replicates.shape
    (999, 1, 1)
    """
    check_plain(mixture, "bootstrap_parameters")
    source, parameters = mixture._observed(X, sample_weight)
    if kind == "parametric" and source.incomplete:
        raise ValueError(
            "kind='parametric' draws whole rows, which tell more than rows that lack values, as "
            "those of X do: use kind='nonparametric' or 'weighted'"
        )
    structure = mixture._structure()
    regularization = regularization_for(
        source, mixture.reg_covar, mixture.reg_covar_scale, n_jobs=n_jobs
    )
    replicates = bootstrap(
        source,
        parameters,
        EMSettings(structure, regularization, tol / source.total_weight, max_iter, n_jobs),
        kind=kind,
        n_resamples=n_resamples,
        seed=int(check_random_state(random_state).randint(np.iinfo(np.int32).max)),
    )
    failed = np.array([fit.failure is not None for fit in replicates.fits])
    converged = np.array([fit.converged for fit in replicates.fits])
    _warn(failed, converged | failed, max_iter)
    multiplicities = replicates.multiplicities[~failed]
    found = [parameters, *(fit.parameters() for fit in replicates.fits if fit.failure is None)]
    weights, means, covariances = (
        _uncertainty(np.array(values), multiplicities, kind, confidence_level)
        for values in (
            # Their sum is 1 to the last digit, so that a single one has no error.
            [each.weights / each.weights.sum() for each in found],
            [each.means for each in found],
            [structure.covariances(each) for each in found],
        )
    )
    return MixtureBootstrap(
        weights,
        means,
        covariances,
        kind,
        confidence_level,
        n_resamples=int((~failed).sum()),
        n_failed=int(failed.sum()),
        n_unconverged=int((~(converged | failed)).sum()),
    )


def _uncertainty(
    values: FloatArray,
    multiplicities: FloatArray,
    kind: BootstrapKind,
    confidence_level: float,
) -> ParameterUncertainty:
    """Return the uncertainty of parameters from the estimate and the replicates, in this order."""
    estimate, replicates = values[0], values[1:]
    tail = 0.5 * (1.0 - confidence_level)
    if kind == "jackknife":
        n = multiplicities.sum()
        middle = np.average(replicates, axis=0, weights=multiplicities)
        squares = np.average((replicates - middle) ** 2, axis=0, weights=multiplicities)
        error = np.sqrt((n - 1.0) * squares)
        reach = norm.isf(tail) * error
        low, high = estimate - reach, estimate + reach
    else:
        scale = np.abs(replicates).max() or 1.0  # whose square may overflow
        error = scale * (replicates / scale).std(axis=0, ddof=1)
        low, high = np.quantile(replicates, [tail, 1.0 - tail], axis=0)
    return ParameterUncertainty(estimate, error, low, high, replicates)


def _warn(failed: np.ndarray, done: np.ndarray, max_iter: int) -> None:
    """Warn of what happened to some of the fits, if anything did."""
    if failed.sum() > len(failed) - 2:
        raise ValueError(
            f"a component collapsed in {failed.sum()} of {len(failed)} resamples, so that nothing "
            "can be said: use reg_covar > 0 (it is 0), fewer components, or kind='weighted'"
        )
    # The caller of the public function is four frames up, for that has a decorator.
    if failed.any():
        warnings.warn(
            f"{failed.sum()} of {len(failed)} resamples are left out, in which a component "
            "collapsed: use reg_covar > 0 (it is 0), fewer components, or kind='weighted'",
            DegenerateComponentWarning,
            stacklevel=4,
        )
    if not done.all():
        warnings.warn(
            f"EM did not converge in {(~done).sum()} of {len(done)} resamples: after "
            f"max_iter={max_iter} iterations the log-likelihood still changed by tol or "
            "more. Increase max_iter or tol.",
            ConvergenceWarning,
            stacklevel=4,
        )
