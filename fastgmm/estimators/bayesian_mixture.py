"""`BayesianGaussianMixture`: the estimator that takes the place of scikit-learn's."""

from __future__ import annotations

from functools import partial
from numbers import Real
from os import PathLike
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils._param_validation import Interval, StrOptions

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.observed_rows import observed_rows
from fastgmm.docstrings import documented
from fastgmm.em.degeneracy import Degeneracy
from fastgmm.em.initialization.methods import InitMethod
from fastgmm.em.loop import FitInfo, Listeners, fit_best
from fastgmm.em.online.steps import OnlineState
from fastgmm.em.online.variational import (
    VariationalOnlineState,
    begin_from_posterior,
    begin_variational_online,
    variational_online_step,
)
from fastgmm.em.stopping import StoppingRule, stopping_rule
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.attributes import attributes_from_info
from fastgmm.estimators.shared.callbacks import CallbackSupportMixin
from fastgmm.estimators.shared.conversion import ScikitLearnConversion
from fastgmm.estimators.shared.evaluation import Imputation
from fastgmm.estimators.shared.fit_checkpoints import VariationalCheckpoint
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.online import OnlineLearning
from fastgmm.estimators.shared.progress import FitProgress, warn_of_fit
from fastgmm.estimators.shared.starts import check_enough_rows
from fastgmm.estimators.shared.validation import (
    Missing,
    check_replayable,
    check_source,
    constraints_of,
    validated_fit,
)
from fastgmm.estimators.shared.variational import (
    attributes_from_posterior,
    check_prior,
    drawn_posteriors,
    posterior_from_attributes,
    warm_posterior,
)
from fastgmm.io.states import check_posterior
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure


@documented()
class BayesianGaussianMixture(
    ScikitLearnConversion,
    OnlineLearning,
    Imputation,
    CallbackSupportMixin,
    DensityMixin,
    BaseEstimator,
):
    """Gaussian mixture fitted by variational Bayes.

    A drop-in replacement for :class:`sklearn.mixture.BayesianGaussianMixture`, with the same
    parameters, fitted attributes and methods, and additional ones. A row of weight w is equivalent
    to w copies of the row.

    Components that the data do not support end up with weights close to zero, the more so the
    smaller `weight_concentration_prior` is, so that `n_components` is only an upper bound.

    Parameters
    ----------
    n_components : int, default=1
        Maximum number of components.
    covariance_type : str, default="full"
        Type of the covariance parameters; see :class:`GaussianMixture`.
    tol : float or StoppingRule, default=1e-3
        Convergence threshold. The fit stops when the lower bound, which is a sum over the rows,
        changes by less than this, in nats, or as a rule of your own says
        (:class:`fastgmm.extend.StoppingRule`).
    reg_covar : float, default=1e-6
        Added to the variances of each component's rows; see `reg_covar_scale`.
    max_iter : int, default=100
        Maximum number of iterations. With 0, the initialization itself is the result.
    n_init : int, default=1
        Number of initializations; the result with the highest lower bound is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default="kmeans"
        Method of initialization: clusters of k-means, rows chosen by k-means++ seeding, random
        responsibilities, or rows chosen at random. On large data the initialization uses a random
        subsample.
    weight_concentration_prior_type : {"dirichlet_process", "dirichlet_distribution"}, \
            default="dirichlet_process"
        Prior of the weights: the stick-breaking representation of a Dirichlet process, or a
        symmetric Dirichlet distribution.
    weight_concentration_prior : float, default=None
        Concentration of the prior, above 0; None for ``1 / n_components``. The smaller, the fewer
        components have weight.
    mean_precision_prior : float, default=None
        Number of rows that the prior mean counts as, for each component; None for 1.
    mean_prior : array-like of shape (n_features,), default=None
        Prior mean of the components; None for the mean of `X`.
    degrees_of_freedom_prior : float, default=None
        Number of rows that the prior covariance counts as, for each component; above ``n_features -
        1``; None for `n_features`.
    covariance_prior : float or array-like, default=None
        As much scatter as `degrees_of_freedom_prior` rows of a component would have; None for the
        covariance of `X`. It has the shape of `covariances_`, without the axis of the
        components.
    random_state, warm_start, verbose, verbose_interval, labels_init, n_jobs, reg_covar_scale
        As for :class:`GaussianMixture`.
    missing : {"error", "drop", "model"}, default="error"
        How to handle missing values; see :class:`GaussianMixture`. "model" takes what is missing
        of a row for hidden, as its component is, which the lower bound takes into account.
    checkpoint, checkpoint_interval, resume
        As for :class:`GaussianMixture`.
    step_exponent, step_offset, averaging, forgetting
        As for :class:`GaussianMixture`. With `forgetting`, the posterior is as certain as the rows
        that still count make it.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Expected weights.
    means_ : ndarray of shape (n_components, n_features)
        Expected means.
    covariances_ : ndarray
        Inverses of the expected precisions, of a shape that depends on `covariance_type`; see
        :class:`GaussianMixture`.
    precisions_ : ndarray
        Expected precisions, in the same shape.
    precisions_cholesky_ : ndarray
        Upper triangular U with U U^T the precision, or square roots of the precisions where
        these are diagonal, in the same shape.
    weight_concentration_ : tuple of two ndarrays, or ndarray, of shape (n_components,)
        Posterior of the weights: for each component the two parameters of the beta distribution
        of its share of the stick or, for "dirichlet_distribution", the concentration.
    mean_precision_ : ndarray of shape (n_components,)
        Ratio of the precision of each mean to the precision of its component.
    degrees_of_freedom_ : ndarray of shape (n_components,), or float for tied covariances
        Degrees of freedom of the Wishart distributions of the precisions.
    weight_concentration_prior_, mean_precision_prior_, degrees_of_freedom_prior_ : float
        The prior, as given or by default.
    mean_prior_ : ndarray of shape (n_features,)
        Mean of the prior.
    covariance_prior_ : float or ndarray
        Covariance of the prior; regularized if the covariance of the rows is singular.
    converged_ : bool
        Whether the fit converged before `max_iter`.
    n_iter_ : int
        Number of iterations of the best initialization.
    lower_bound_ : float
        Lower bound of the log-evidence after the last iteration, in nats, up to the same constant
        as scikit-learn's.
    lower_bounds_ : list of float
        `lower_bound_` after each of the `n_iter_` iterations.
    trace_ : ndarray of shape (`n_iter_` + 1,)
        `lower_bounds_`, preceded by the value at the initialization. Up to rounding, it never
        decreases.
    fit_info_ : FitInfo
        Information on the fit: passes over the data, seconds, threads and the reason it stopped.
    n_samples_seen_ : int
        Number of rows that `partial_fit` has processed since the last `fit`. After it, `n_iter_` is
        the number of its batches, `n_steps_`; `lower_bound_` is that of as many rows as the
        posterior stands for if all were like the recent ones; and `lower_bounds_`, `trace_` and
        `fit_info_` are missing.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` is a table with column names.

    See Also
    --------
    GaussianMixture : Maximum likelihood estimation.

    Notes
    -----
    An iteration is a pass over the data and a solve, as in EM, by the same compiled code. Rows
    are evaluated under expected logarithms of weights and densities, as in scikit-learn:
    `score_samples` is no normalized density.

    Attributes and all sums are float64, also for float32 data.

    References
    ----------
    Bishop (2006), *Pattern Recognition and Machine Learning*, section 10.2. Blei and Jordan
    (2006), "Variational inference for Dirichlet process mixtures", Bayesian Analysis 1. Hoffman,
    Blei, Wang and Paisley (2013), "Stochastic variational inference", Journal of Machine Learning
    Research 14.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import BayesianGaussianMixture
    >>> random = np.random.default_rng(0)
    >>> X = np.concatenate([random.normal(size=(200, 2)), random.normal(size=(100, 2)) + 9])
    >>> mixture = BayesianGaussianMixture(
    ...     n_components=6, weight_concentration_prior=1e-3, max_iter=500, random_state=0
    ... ).fit(X)
    >>> np.sort(mixture.weights_.round(1))[::-1]
    array([0.7, 0.3, 0. , 0. , 0. , 0. ])
    """

    weights_: FloatingArray
    means_: FloatingArray
    covariances_: FloatingArray
    precisions_: FloatingArray
    precisions_cholesky_: FloatingArray
    weight_concentration_: tuple[FloatingArray, FloatingArray] | FloatingArray
    mean_precision_: FloatingArray
    degrees_of_freedom_: FloatingArray | float
    weight_concentration_prior_: float
    mean_precision_prior_: float
    mean_prior_: FloatingArray
    degrees_of_freedom_prior_: float
    covariance_prior_: FloatingArray | float
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    trace_: FloatArray
    fit_info_: FitInfo

    _objective: ClassVar[str] = "lower bound"
    _state_class: ClassVar[type[OnlineState]] = VariationalOnlineState
    _describing: ClassVar[tuple[str, ...]] = (
        "weight_concentration_",
        "mean_precision_",
        "means_",
        "degrees_of_freedom_",
        "precisions_cholesky_",
        "weight_concentration_prior_",
        "mean_precision_prior_",
        "mean_prior_",
        "degrees_of_freedom_prior_",
        "covariance_prior_",
    )
    _theirs: ClassVar[str] = "BayesianGaussianMixture"

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str | CovarianceStructure = "full",
        tol: float | StoppingRule = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitMethod = "kmeans",
        weight_concentration_prior_type: Literal[
            "dirichlet_process", "dirichlet_distribution"
        ] = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: ArrayLike | None = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: ArrayLike | float | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        labels_init: ArrayLike | None = None,
        n_jobs: int | None = None,
        reg_covar_scale: Literal["auto", "absolute", "relative"] = "auto",
        missing: Missing = "error",
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
        step_exponent: float = 0.6,
        step_offset: float = 1.0,
        averaging: bool = False,
        forgetting: float = 1.0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.labels_init = labels_init
        self.n_jobs = n_jobs
        self.reg_covar_scale = reg_covar_scale
        self.missing = missing
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume
        self.step_exponent = step_exponent
        self.step_offset = step_offset
        self.averaging = averaging
        self.forgetting = forgetting

    _parameter_constraints = constraints_of(
        __init__,
        weight_concentration_prior_type=[StrOptions(set(WEIGHT_PRIOR_NAMES))],
        weight_concentration_prior=[Interval(Real, 0.0, None, closed="neither"), None],
        mean_precision_prior=[Interval(Real, 0.0, None, closed="neither"), None],
        mean_prior=["array-like", None],
        degrees_of_freedom_prior=[Interval(Real, 0.0, None, closed="neither"), None],
        covariance_prior=["array-like", Interval(Real, 0.0, None, closed="neither"), None],
    )

    @validated_fit
    def fit(self, X: Rows, y: Any = None, sample_weight: Weights = None) -> Self:
        """Fit the mixture to rows.

        Parameters
        ----------
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights of the rows, at least 0, or the name of the column of `X` that holds them. A
            weight of w counts as w copies of the row: the larger the weights, the more certain
            the posterior.

        Raises
        ------
        ValueError
            If the rows, the weights, the prior or the labels are not possible.
        IllDefinedCovarianceError
            If the covariance of the rows is to be the prior, but is singular, and `reg_covar`
            is 0.

        Warns
        -----
        ConvergenceWarning
            If the fit has not converged after `max_iter` iterations.
        """
        self._fit(X, y, sample_weight)
        return self

    @staticmethod
    def _gaussian_mixture() -> type[GaussianMixture]:
        return GaussianMixture

    def _fit(self, X: Rows, y: Any, sample_weight: Weights) -> Source:
        """Fit the mixture, set the attributes, and return the checked rows."""
        watch = Stopwatch()
        given = check_source(self, X, sample_weight, reset=True, ensure_min_samples=2)
        check_replayable(self, given)
        source = observed_rows(given)
        check_enough_rows(source, self.n_components)
        kind = self._structure_asked()
        kind.check_features(source.n_features)
        going_on = self.warm_start and hasattr(self, "converged_")
        attributes = partial(attributes_from_posterior, structure=kind)
        progress = FitProgress(
            self, 1 if going_on else self.n_init, given, y, sample_weight, attributes
        )
        with VariationalCheckpoint(self, source) as checkpoint:
            begin = warm_posterior if going_on else drawn_posteriors
            problem, starts = begin(self, source, kind, checkpoint)
            posterior, info = fit_best(
                problem,
                starts,
                stopping_rule(self.tol),
                self.max_iter,
                Listeners(
                    progress.begin, progress.iterate, checkpoint.observer(problem.regularization)
                ),
                checkpoint.resumed,
            )
        fitted = {**attributes(posterior), **attributes_from_info(info, watch)}
        self._forget_online()
        self.__dict__.update(fitted)
        progress.finish(fitted)
        # The caller of fit is three frames up: this one, fit and its decorator lie between.
        warn_of_fit(
            info,
            algorithm="Variational Bayes",
            objective=self._objective,
            max_iter=self.max_iter,
            tol=self.tol,
            stacklevel=4,
        )
        return given

    def _posterior(self) -> VariationalPosterior:
        return posterior_from_attributes(self, self._structure())

    def _check_saved(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        super()._check_saved(arrays)
        check_posterior(self._posterior(), "posterior")

    def _parameters(self) -> MixtureParameters:
        return self._posterior().expected_parameters()

    def _learn(self, state: OnlineState, batch: ArraySource) -> OnlineState:
        assert isinstance(state, VariationalOnlineState)
        after, _ = variational_online_step(
            state,
            batch,
            self._schedule(),
            self._structure_asked(),
            averaging=self.averaging,
            n_jobs=self.n_jobs,
        )
        return after

    def _degeneracies(self, state: OnlineState) -> tuple[Degeneracy, ...]:  # noqa: ARG002
        return ()  # a component without points has the prior

    def _state_from_mixture(self, batch: ArraySource) -> OnlineState:
        return begin_from_posterior(
            self._posterior(),
            self._structure_asked(),
            batch,
            reg_covar=self.reg_covar,
            scale=self.reg_covar_scale,
            n_jobs=self.n_jobs,
        )

    def _start_from(
        self,
        rows: ArraySource,
        unit: float | None,  # noqa: ARG002 - the first rows are one
    ) -> tuple[OnlineState, FitInfo]:
        kind = self._structure_asked()
        given = check_prior(self, kind, rows.n_features)

        def prior_for(
            moments: SufficientStatistics, regularization: Regularization
        ) -> VariationalPrior:
            return given.completed(moments, kind, regularization)

        return begin_variational_online(
            rows, self.n_components, kind, prior_for, self._start_settings()
        )

    def _online_attributes(self, state: OnlineState) -> dict[str, Any]:
        assert isinstance(state, VariationalOnlineState)
        kind = self._structure_asked()
        return {
            **attributes_from_posterior(state.estimated_posterior(kind), kind),
            "lower_bound_": state.lower_bound(),
        }
