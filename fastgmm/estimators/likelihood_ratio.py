"""Number of components by likelihood ratio tests."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from fastgmm.analysis.batched_fits import EMSettings
from fastgmm.analysis.likelihood_ratio import (
    StartSettings,
    best_fit,
    best_larger_fits,
    log_likelihood_ratio,
    ratio_distribution,
)
from fastgmm.docstrings import documented
from fastgmm.em.degeneracy import regularization_for
from fastgmm.estimators.bootstrap import RESAMPLING_CONSTRAINTS
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.validation import check_plain, check_source, validated_arguments
from fastgmm.mixture.statistics import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class LikelihoodRatioTests:
    """Tests of K components against K + 1, for one K after the other.

    Attributes
    ----------
    n_components : ndarray of int of shape (n_tests,)
        The number K of components under the hypothesis of each test.
    statistics : ndarray of shape (n_tests,)
        Twice the log-likelihood ratio of the rows, in nats.
    p_values : ndarray of shape (n_tests,)
        Share of the ratios, that of the rows among them, that are as large as that of the rows.
    distributions : ndarray of shape (n_tests, n_resamples)
        The ratios of rows drawn from the mixture of K components; nan where a component
        collapsed because `reg_covar` is 0.
    level : float
        A hypothesis is rejected where the p-value is no more than this.
    selected : int
        The smallest number of components that was not rejected, or `max_components` if all were.
    """

    n_components: npt.NDArray[np.int64]
    statistics: FloatArray
    p_values: FloatArray
    distributions: FloatArray
    level: float
    selected: int


@documented()
@validated_arguments(
    {
        **RESAMPLING_CONSTRAINTS,
        "max_components": [Interval(Integral, 2, None, closed="left")],
        "level": [Interval(Real, 0.0, 1.0, closed="neither")],
    }
)
def bootstrap_likelihood_ratio_test(
    mixture: GaussianMixture,
    X: Rows,
    sample_weight: Weights = None,
    *,
    max_components: int = 9,
    n_resamples: int = 999,
    level: float = 0.05,
    tol: float = 1e-4,
    max_iter: int = 1000,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
) -> LikelihoodRatioTests:
    """Test how many components there are, one number after the other.

    K components are tested against K + 1, from the number of `mixture` on, until a test does not
    reject. What a likelihood ratio means is found from rows drawn from the fitted mixture of K
    components (McLachlan, 1987). The mixture of K + 1 is, for the rows and for those drawn alike,
    the best that EM finds from the starts of `mixture` and from the mixture of K with each of its
    components cut in two.

    Parameters
    ----------
    mixture : GaussianMixture
        How mixtures are fitted: its structure, regularization, `init_params` and `n_init`. Its
        number of components is the first to be tested. It need not be fitted, and is not changed.
    sample_weight : array-like of shape (n_samples,) or str, default=None
        Weights of the rows, or the name of the column of `X` that holds them. A weight of w means
        w copies of the row: as many rows are drawn as there are in all.
    max_components : int, default=9
        The largest number of components that is fitted; the last test is of one less.
    n_resamples : int, default=999
        Number of samples that are drawn for a test. The smallest p-value is one over one more
        than this.
    level : float, default=0.05
        The level of each test.
    tol : float, default=1e-4
        A fit ends when the log-likelihood of all rows changes by less than this, in nats.
    max_iter : int, default=1000
        Maximum number of iterations of a fit.

    Returns
    -------
    LikelihoodRatioTests
        The tests.

    Raises
    ------
    ValueError
        If `mixture` has noise, priors or labels, if `max_components` is no more than its
        components, or if a component of a mixture fitted to the rows collapsed and `reg_covar`
        is 0.

    Warns
    -----
    ConvergenceWarning
        If EM of a mixture fitted to the rows has not converged after `max_iter` iterations.

    See Also
    --------
    bootstrap_parameters : Standard errors of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture, bootstrap_likelihood_ratio_test
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0.0, 1.0, (60, 1)), rng.normal(6.0, 1.0, (40, 1))])
    >>> tests = bootstrap_likelihood_ratio_test(
    ...     GaussianMixture(), X, n_resamples=99, random_state=0
    ... )
    >>> tests.selected
    2
    """
    check_plain(mixture, "bootstrap_likelihood_ratio_test")
    if mixture._structure().n_factors is not None:
        raise ValueError(
            "bootstrap_likelihood_ratio_test does not fit factor analyzers, and mixture has "
            f"covariance_type={mixture.covariance_type!r}: compare fits by bic"
        )
    first = mixture.n_components
    if max_components <= first:
        raise ValueError(
            f"max_components={max_components} must be more than the n_components={first} of "
            "mixture, which are tested first"
        )
    fitted_like = clone(mixture)
    source = check_source(fitted_like, X, sample_weight, reset=True, ensure_min_samples=2)
    if source.incomplete:
        raise ValueError(
            "bootstrap_likelihood_ratio_test draws whole rows to compare with, and rows of X lack "
            "values: use a mixture with missing='drop', or fill in what is missing"
        )
    regularization = regularization_for(
        source, mixture.reg_covar, mixture.reg_covar_scale, n_jobs=n_jobs
    )
    settings = EMSettings(
        fitted_like._structure(), regularization, tol / source.total_weight, max_iter, n_jobs
    )
    random = check_random_state(random_state)
    n_rows = round(source.total_weight)
    statistics, p_values, distributions = [], [], []
    unconverged: list[int] = []
    starts = StartSettings(mixture.init_params, mixture.n_init, _seed(random))
    null = best_fit(source, first, settings, starts)
    for n_components in range(first, max_components):
        (larger,) = best_larger_fits([source], [null.parameters()], settings, starts)
        ratio = log_likelihood_ratio(null, larger)
        if np.isnan(ratio):
            raise ValueError(
                f"a component of the mixture of {n_components} or {n_components + 1} components "
                "collapsed, so that there is no likelihood ratio: use reg_covar > 0 (it is 0) or "
                "a smaller max_components"
            )
        if not (null.converged and larger.converged):
            unconverged.append(n_components)
        starts = StartSettings(mixture.init_params, mixture.n_init, _seed(random))
        drawn = ratio_distribution(
            null.parameters(), n_rows, source.dtype, n_resamples, settings, starts
        )
        valid = drawn[~np.isnan(drawn)]
        statistics.append(ratio)
        p_values.append((1 + int((valid >= ratio).sum())) / (1 + len(valid)))
        distributions.append(drawn)
        if p_values[-1] > level:
            break
        null = larger
    if unconverged:
        tests = " and ".join(f"{number} against {number + 1}" for number in unconverged)
        warnings.warn(
            f"EM did not converge in the tests of {tests} components: after max_iter={max_iter} "
            "iterations the log-likelihood of the rows still changed by tol or more. Increase "
            "max_iter or tol.",
            ConvergenceWarning,
            stacklevel=3,  # the caller of this function, which has a decorator
        )
    tested = np.arange(first, first + len(statistics))
    rejected = p_values[-1] <= level
    return LikelihoodRatioTests(
        tested,
        np.array(statistics),
        np.array(p_values),
        np.array(distributions),
        level,
        selected=int(tested[-1]) + rejected,
    )


def _seed(random: np.random.RandomState) -> int:
    return int(random.randint(np.iinfo(np.int32).max))
