"""`BayesianGaussianMixture`: the estimator that takes the place of scikit-learn's."""

from __future__ import annotations

from dataclasses import replace
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
from fastgmm.data.sources.wrapped import observed_rows
from fastgmm.docstrings import documented
from fastgmm.em.degeneracy import Degeneracy
from fastgmm.em.e_step.passes import source_moments
from fastgmm.em.initialization.methods import InitializationInfo, InitMethod
from fastgmm.em.loop import FitInfo, Listeners, Starts, fit_best
from fastgmm.em.models.variational import VariationalProblem, initial_posterior
from fastgmm.em.online.steps import OnlineState
from fastgmm.em.online.variational import (
    VariationalOnlineState,
    begin_from_posterior,
    begin_variational_online,
    variational_online_step,
)
from fastgmm.em.stopping import StoppingRule, stopping_rule
from fastgmm.estimators.shared.attributes import (
    attributes_from_info,
    attributes_from_parameters,
    check_attribute_shape,
    check_same_form,
    parameters_from_attributes,
)
from fastgmm.estimators.shared.callbacks import CallbackSupportMixin
from fastgmm.estimators.shared.conversion import ScikitLearnConversion
from fastgmm.estimators.shared.evaluation import Imputation
from fastgmm.estimators.shared.fit_checkpoints import VariationalCheckpoint
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.online import OnlineLearning
from fastgmm.estimators.shared.progress import FitProgress, end_fit
from fastgmm.estimators.shared.starts import (
    check_enough_rows,
    check_warm_shape,
    continues,
    draw_none,
    scanned_rows,
)
from fastgmm.estimators.shared.validation import (
    Missing,
    check_replayable,
    check_source,
    check_symmetric,
    check_values,
    constraints_of,
    require_squares,
    validated_fit,
)
from fastgmm.io.states import check_posterior
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import (
    GivenPrior,
    VariationalPosterior,
    VariationalPrior,
)
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES, weight_prior
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
    init_params : {"kmeans", "k-means++", "afk-mc2", "random", "random_from_data"}, \
            default="kmeans"
        Method of initialization: clusters of k-means, rows chosen by k-means++ seeding or by an
        approximation of it that takes less time for many components, random responsibilities, or
        rows chosen at random. On large data the initialization uses a random subsample.
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
        Factors of the precisions, as for :class:`GaussianMixture`.
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
    lower_bound_ : float
        Lower bound of the log-evidence after the last iteration, in nats, up to the same constant
        as scikit-learn's.
    converged_, n_iter_, lower_bounds_, trace_, fit_info_
        As for :class:`GaussianMixture`.
    n_samples_seen_ : int
        Number of rows that `partial_fit` has processed since the last `fit`. After it, `n_iter_` is
        the number of its batches, `n_steps_`; `lower_bound_` is that of as many rows as the
        posterior stands for if all were like the recent ones; and `lower_bounds_`, `trace_` and
        `fit_info_` are missing.

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

    weight_concentration_: tuple[FloatingArray, FloatingArray] | FloatingArray
    mean_precision_: FloatingArray
    degrees_of_freedom_: FloatingArray | float
    weight_concentration_prior_: float
    mean_precision_prior_: float
    mean_prior_: FloatingArray
    degrees_of_freedom_prior_: float
    covariance_prior_: FloatingArray | float

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

    def _fit(self, X: Rows, y: Any, sample_weight: Weights) -> Source:
        """Fit the mixture, set the attributes, and return the checked rows."""
        watch = Stopwatch()
        given = check_source(self, X, sample_weight, reset=True, ensure_min_samples=2)
        check_replayable(self, given)
        source = observed_rows(given)
        check_enough_rows(source, self.n_components)
        kind = self._structure_asked()
        kind.check_features(source.n_features)
        going_on = continues(self)
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
        end_fit(self, progress, fitted, info, "Variational Bayes")
        return given

    def _posterior(self) -> VariationalPosterior:
        """Return the posterior that the attributes describe."""
        kind = self._structure()
        mixture = parameters_from_attributes(self, kind)
        K, D = mixture.n_components, mixture.n_features
        rows = (2, K) if isinstance(self.weight_concentration_, tuple) else (K,)
        concentrations = _positive(self, "weight_concentration_", rows)
        weights = weight_prior(
            "dirichlet_distribution" if concentrations.ndim == 1 else "dirichlet_process",
            float(self.weight_concentration_prior_),
        )
        degrees = _positive(self, "degrees_of_freedom_", () if kind.is_tied else (K,))
        shape = () if kind.is_spherical else (D,) if kind.is_diagonal else (D, D)
        scatter = np.asarray(self.covariance_prior_, dtype=np.float64)
        check_attribute_shape("covariance_prior_", scatter, shape)
        mean = np.asarray(self.mean_prior_, dtype=np.float64)
        check_attribute_shape("mean_prior_", mean, (D,))
        prior = VariationalPrior(
            weights=weights,
            mean=mean,
            mean_precision=float(self.mean_precision_prior_),
            scatter=np.full(D, float(scatter)) if kind.is_spherical else scatter,
            degrees_of_freedom=float(self.degrees_of_freedom_prior_),
        )
        return VariationalPosterior(
            prior=prior,
            concentrations=concentrations,
            means=mixture.means,
            mean_precisions=_positive(self, "mean_precision_", (K,)),
            whiteners=mixture.whiteners,
            degrees_of_freedom=np.broadcast_to(degrees, K),
        )

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


def check_prior(
    estimator: BayesianGaussianMixture, structure: CovarianceStructure, n_features: int
) -> GivenPrior:
    """Return the prior that an estimator's parameters give, checked."""
    mean, scatter = estimator.mean_prior, estimator.covariance_prior
    degrees = estimator.degrees_of_freedom_prior
    if degrees is not None and degrees <= n_features - 1:
        raise ValueError(
            f"The parameter 'degrees_of_freedom_prior' should be greater than {n_features - 1}, "
            f"but got {degrees:.3f}."
        )
    concentration = estimator.weight_concentration_prior
    if concentration is not None and not 1e-300 <= concentration <= 1e300:
        raise ValueError(
            "The parameter 'weight_concentration_prior' should be from 1e-300 to 1e300, beyond "
            f"which sums of logarithms overflow, but got {concentration:g}"
        )
    if mean is not None:
        mean = check_values(mean, (n_features,), "mean_prior")
        require_squares(mean, "mean_prior")
    return GivenPrior(
        weights=weight_prior(
            estimator.weight_concentration_prior_type,
            1.0 / estimator.n_components if concentration is None else float(concentration),
        ),
        mean=mean,
        mean_precision=_float_or_none(estimator.mean_precision_prior),
        scatter=None if scatter is None else _check_scatter(scatter, structure, n_features),
        degrees_of_freedom=_float_or_none(degrees),
    )


def attributes_from_posterior(
    posterior: VariationalPosterior, structure: CovarianceStructure
) -> dict[str, Any]:
    """Return the fitted attributes of a posterior and its prior by name."""
    prior = posterior.prior
    concentrations = np.array(posterior.concentrations)
    degrees = posterior.degrees_of_freedom
    return {
        **attributes_from_parameters(posterior.mean_parameters(), structure),
        "weight_concentration_": (
            concentrations if concentrations.ndim == 1 else tuple(concentrations)
        ),
        "mean_precision_": np.array(posterior.mean_precisions),
        "degrees_of_freedom_": (float(degrees[0]) if structure.is_tied else np.array(degrees)),
        "weight_concentration_prior_": prior.weights.concentration,
        "mean_precision_prior_": prior.mean_precision,
        "mean_prior_": np.array(prior.mean),
        "degrees_of_freedom_prior_": prior.degrees_of_freedom,
        "covariance_prior_": (
            float(prior.scatter[0]) if structure.is_spherical else np.array(prior.scatter)
        ),
    }


def _positive(estimator: BayesianGaussianMixture, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return an attribute that holds positive numbers."""
    values = np.asarray(getattr(estimator, name), dtype=np.float64)
    check_attribute_shape(name, values, shape)
    if not (values > 0.0).all():
        raise ValueError(f"{name} should be positive, but got min value {values.min():.6g}")
    return values


def _check_scatter(scatter: Any, structure: CovarianceStructure, n_features: int) -> FloatArray:
    """Return a covariance prior of the structure's shape, for all features."""
    shape = (n_features,) * (0 if structure.is_spherical else 1 if structure.is_diagonal else 2)
    if shape and np.ndim(scatter) == 0:
        raise TypeError(
            f"The parameter 'covariance_prior' should have the shape of {shape} for "
            f"covariance_type={structure.name!r}, but got a number"
        )
    checked = check_values(scatter, shape, "covariance_prior")
    if structure.is_diagonal:
        if checked.min() <= 0.0:
            raise ValueError(
                "The parameter 'covariance_prior' should be positive for covariance_type="
                f"{structure.name!r}, but got min value {checked.min():.6g}"
            )
        return np.broadcast_to(checked, n_features).copy()
    check_symmetric(checked, "covariance_prior")
    if np.linalg.eigvalsh(checked)[0] <= 0.0:
        raise ValueError(
            "The parameter 'covariance_prior' should be a symmetric, positive-definite matrix, "
            f"but its smallest eigenvalue is {np.linalg.eigvalsh(checked)[0]:.6g}"
        )
    return checked


def _float_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)


def drawn_posteriors(
    estimator: BayesianGaussianMixture,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: VariationalCheckpoint,
) -> tuple[VariationalProblem, Starts[VariationalPosterior]]:
    """Return the problem and its `n_init` starts, after a first look at the data."""
    given = check_prior(estimator, structure, source.n_features)
    resumed, regularization = checkpoint.resumed, checkpoint.regularization
    n_components, n_init, n_jobs = estimator.n_components, estimator.n_init, estimator.n_jobs
    if resumed is not None and regularization is not None and resumed.start >= n_init - 1:
        problem = VariationalProblem(source, structure, regularization, n_jobs)
        return problem, Starts(draw_none, n_init)
    scanned, rows, settings = scanned_rows(
        estimator, source, checkpoint, diagonal=structure.is_diagonal
    )
    problem = VariationalProblem(source, structure, scanned.regularization, n_jobs)
    prior = given.completed(scanned.moments, structure, scanned.regularization)

    def draw(_number: int) -> tuple[VariationalPosterior, InitializationInfo]:
        return initial_posterior(rows, n_components, prior, problem, settings)

    return problem, Starts(draw, n_init)


def warm_posterior(
    estimator: BayesianGaussianMixture,
    source: Source,
    structure: CovarianceStructure,
    checkpoint: VariationalCheckpoint,
) -> tuple[VariationalProblem, Starts[VariationalPosterior]]:
    """Return the problem, and the posterior of the fit before under this one's prior."""
    check_same_form(estimator)
    given = check_prior(estimator, structure, source.n_features)
    posterior: VariationalPosterior = estimator._posterior()
    check_warm_shape(posterior.means, estimator.n_components, source.n_features)
    prior, regularization = checkpoint.prior, checkpoint.regularization
    if prior is None or regularization is None:
        moments = source_moments(source, diagonal=structure.is_diagonal, n_jobs=estimator.n_jobs)
        regularization = Regularization.from_variances(
            estimator.reg_covar,
            estimator.reg_covar_scale,
            moments.means()[0],
            moments.variances()[0],
        )
        prior = given.completed(moments, structure, regularization)
    concentrations = posterior.concentrations
    if prior.weights.name != posterior.prior.weights.name:
        counts = posterior.prior.weights.counts(concentrations)
        concentrations = prior.weights.posterior(np.maximum(counts, 0.0))
    start = replace(posterior, prior=prior, concentrations=concentrations)
    problem = VariationalProblem(source, structure, regularization, estimator.n_jobs)
    return problem, Starts(lambda _number: (start, None), previous=float(estimator.lower_bound_))
