"""`GaussianMixture`: the estimator that takes the place of scikit-learn's."""

from __future__ import annotations

import math
import warnings
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import Tags, check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis.hypervolume import log_hypervolume
from fastgmm.data.label_columns import given_labels
from fastgmm.data.source import Source
from fastgmm.data.sources.annotated import AnnotatedRows
from fastgmm.data.sources.array_like import unmasked
from fastgmm.data.sources.dask_collection import DaskSource
from fastgmm.data.sources.wrapped import observed_rows, scaled_weights
from fastgmm.docstrings import documented
from fastgmm.em.acceleration import Squarem
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import factor_scores, source_moments
from fastgmm.em.e_step.truncated import FEWEST_COMPONENTS, Truncation
from fastgmm.em.initialization.methods import InitMethod
from fastgmm.em.loop import Listeners, fit_best
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import StoppingRule, stopping_rule
from fastgmm.estimators.shared.annotated import (
    ANNOTATIONS,
    AnnotatedEvaluation,
    with_annotations,
)
from fastgmm.estimators.shared.attributes import (
    COVARIANCE_ATTRIBUTES,
    FACTOR_ATTRIBUTES,
    NOISE_ATTRIBUTES,
    attributes_from_info,
    attributes_from_parameters,
)
from fastgmm.estimators.shared.callbacks import CallbackSupportMixin
from fastgmm.estimators.shared.conversion import ScikitLearnConversion
from fastgmm.estimators.shared.evaluation import (
    Imputation,
    InformationCriteria,
    MixtureEvaluation,
)
from fastgmm.estimators.shared.fit_checkpoints import EMCheckpoint
from fastgmm.estimators.shared.interfaces import FloatingArray, Labels, Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.estimators.shared.online import OnlineLearning
from fastgmm.estimators.shared.progress import FitProgress, end_fit
from fastgmm.estimators.shared.starts import check_enough_rows, continues, starts_of
from fastgmm.estimators.shared.validation import (
    Missing,
    check_complete,
    check_not_annotated,
    check_replayable,
    check_source,
    check_weight_scale,
    constraints_of,
    validated_fit,
)
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.mixture.covariance_types import CovarianceType, FactorType
from fastgmm.mixture.noise import UniformNoise, without_noise
from fastgmm.mixture.priors.conjugate import PRIORS_NAMES, ConjugatePriors
from fastgmm.mixture.priors.prior import Prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import (
    FACTOR_NAMES,
    STRUCTURE_NAMES,
    CovarianceStructure,
    FactorStructure,
    factor_structure,
    structure,
)


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


@documented(ANNOTATIONS)
class GaussianMixture(AnnotatedEvaluation, LikelihoodMixture):
    """Gaussian mixture fitted by expectation-maximization.

    A drop-in replacement for :class:`sklearn.mixture.GaussianMixture`, with the same parameters,
    fitted attributes and methods, and additional ones. A row of weight w is equivalent to w copies
    of the row.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : str, default="full"
        Type of the covariance parameters. With "full", each component has its own general
        covariance matrix; with "tied", all components share one. "diag" and "tied_diag" are the
        same for diagonal matrices, "spherical" and "tied_spherical" for multiples of the identity.
        mclust's fourteen three-letter names, "E" and "V" are accepted as well; see Notes. With
        "factors", each component is a factor analyzer of `n_factors` factors: loadings Λ times
        their transpose, plus a diagonal Ψ. "UUU", the same, to "CCC" are McNicholas and Murphy's
        (2008) names: loadings, noise of the components and noise of the features are constrained to
        be equal ("C") or not ("U").
    tol : float or StoppingRule, default=1e-3
        Convergence threshold. EM stops when the mean log-likelihood per row changes by less than
        this, in nats, or as a rule of your own says (:class:`fastgmm.extend.StoppingRule`).
    reg_covar : float, default=1e-6
        Non-negative regularization added to the diagonals of the covariances, which keeps them
        positive definite; see `reg_covar_scale`. Of factor analyzers, the least variance of the
        noise.
    max_iter : int, default=100
        Maximum number of EM iterations. With 0, the initialization itself is the result.
    n_init : int, default=1
        Number of initializations; the result with the highest log-likelihood is kept.
    init_params : {"kmeans", "k-means++", "afk-mc2", "random", "random_from_data", \
            "hierarchical"}, default="kmeans"
        Method of initialization: clusters of k-means, rows chosen by k-means++ seeding or by an
        approximation of it that takes less time for many components, random responsibilities, rows
        chosen at random, or clusters of model-based hierarchical agglomeration, as in mclust. On
        large data the initialization uses a random subsample, of
        2000 rows for agglomeration; up to 2000 rows, all initializations by agglomeration are the
        same.
    weights_init : array-like of shape (n_components,), default=None
        Initial weights.
    means_init : array-like of shape (n_components, n_features), default=None
        Initial means.
    precisions_init : array-like or float, default=None
        Initial precisions, in the shape of `precisions_`.
    labels_init : array-like of int of shape (n_samples,), default=None
        Initial components of the rows of `X`, used instead of `init_params`; -1 for rows without
        one.
    n_candidates : "auto" or int, default="auto"
        Number of starts that are compared for each of the `n_init`, if the initialization uses a
        random subsample and no parameter is given. Each is fitted to half of the subsample for up
        to 60 iterations; the one with the highest likelihood is fitted to the whole subsample, and
        then to all rows. "auto" compares 8, fewer where three lead to the same likelihood or where
        they would take longer than a fit, and up to 16 where they converge at once. With 1, EM
        begins at the first one, as it does on small data.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the initialization and of `sample`. Pass an int for reproducible
        results.
    warm_start : bool, default=False
        If True, the result of the last fit is used as the initialization of the next call of `fit`.
    verbose : int, default=0
        1 prints initializations and iterations, 2 also times and changes of the log-likelihood.
    verbose_interval : int, default=10
        Number of iterations between two lines.
    reg_covar_scale : {"auto", "absolute", "relative"}, default="auto"
        Scale of `reg_covar`. "absolute" adds the value itself, as scikit-learn does. "relative"
        multiplies it by the variance of the feature. "auto" is "absolute" for features with a
        variance of at least 0.01 and decreases in proportion to the variance below that, so that
        the regularization does not dominate data on a small scale.
    missing : {"error", "drop", "model"}, default="error"
        How to handle missing values: NaN in arrays, null in tables. "error" raises an error.
        "drop" leaves out rows that lack a value, in fits and scores; where each row has a result,
        they are an error. "model" integrates missing values out, in the fit and in all methods.
        This is exact if values are missing at random, which may depend on the observed values. The
        initialization uses rows imputed under a single Gaussian.
    checkpoint : str or path, default=None
        File that `fit` saves its state to, so that an interrupted fit can be resumed.
    checkpoint_interval : float, default=60.0
        Seconds between checkpoints, which are written between passes. With 0, one is written after
        every pass.
    resume : bool, default=False
        Whether `fit` resumes from the checkpoint, if the file exists. The result is bitwise
        identical to that of an uninterrupted fit.
    priors : None, "mclust", ConjugatePriors or Prior, default=None
        Prior distributions of means, covariances and weights, under which `fit` computes the
        maximum a posteriori estimate instead of maximum likelihood. "mclust" is
        ``ConjugatePriors()``, the weak priors proposed by Fraley and Raftery (2007) and used in
        mclust. They keep covariances positive definite, so that `reg_covar` is not added.
    noise_volume : None, "auto" or float, default=None
        If not None, a uniform noise component is added for rows that belong to no other component.
        The value is the hypervolume of the region of the noise; "auto" takes that of the smaller of
        two boxes around the rows, along the features or along the principal axes.
    semi_supervised : bool, default=False
        Whether `fit` takes the known components of rows as `y`. These rows keep their components.
        Labeled components are initialized from their rows, and the others by `init_params`.
        Otherwise `y` is ignored, as it always is by all other methods.
    step_exponent : float, default=0.6
        Exponent α of the step size (t + t₀)^-α by which `partial_fit` updates the mixture at the
        t-th unit of rows; a unit is as many rows as the mixture was initialized from. Above 0.5 and
        at most 1; with 1, all rows always count equally.
    step_offset : float, default=1.0
        Offset t₀ of the step size; it dampens the first steps, which are the largest.
    averaging : bool, default=False
        Whether `partial_fit` averages the statistics over past steps (Polyak-Ruppert averaging),
        which reduces their fluctuation.
    forgetting : float, default=1.0
        Below 1, the rows of each unit count at most this many times those of the next, so that
        `partial_fit` tracks a drifting stream.
    frozen : dict, default=None
        Parameters that fits leave at their initial values: for some of "weights", "means" and
        "covariances", True, or a list of the numbers of components. The initial values are those of
        `weights_init`, `means_init` and `precisions_init`, or, with `warm_start` and in
        `partial_fit`, those of the fitted mixture. The other parameters are estimated given these,
        and only they count in `bic`, `aic` and `icl`.
    e_step : {"dense", "truncated"}, default="dense"
        With "truncated", for hundreds of components and more, an iteration considers some dozens of
        components for each row instead of all, those near to it, and takes about as long for any
        number of components. It maximizes a lower bound of the log-likelihood then, which is what
        `lower_bound_` and `trace_` hold; all other methods are exact. Each of the `n_init` starts
        is that of ten iterations of k-means; from thousands of components on,
        ``init_params="afk-mc2"`` takes less time.
    n_factors : int, default=None
        Number of factors q of factor analyzers of D features, with (D - q)² ≥ D + q.
    acceleration : {"squarem"}, default=None
        With "squarem", sufficient statistics are extrapolated after every two iterations, as far as
        that raises the log-likelihood (Varadhan and Roland, 2008), which takes several times fewer
        iterations where EM converges slowly. An iteration is judged by what it led to.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Weights.
    means_ : ndarray of shape (n_components, n_features)
        Means.
    covariances_ : ndarray
        Covariances, of a shape that depends on `covariance_type`::

            (n_components, n_features, n_features)  for "full", VVV and all not named here,
                                                    "factors" among them
            (n_features, n_features)                for "tied", EEE
            (n_components, n_features)              for "diag", VVI, VEI, EVI
            (n_components,)                         for "spherical", VII, V
            (n_features,)                           for "tied_diag", EEI
            ()                                      for "tied_spherical", EII, E

    precisions_ : ndarray
        Inverses of the covariances, in the same shape.
    precisions_cholesky_ : ndarray
        Upper triangular U with U U^T the precision, or square roots of the precisions where
        these are diagonal, in the same shape.
    factor_loadings_ : ndarray of shape (n_components, n_features, n_factors)
        Loadings of factor analyzers, in the order of what their factors explain. `covariances_`,
        `precisions_` and `precisions_cholesky_` are computed from these when they are read.
    noise_variances_ : ndarray of shape (n_components, n_features)
        Variances of the noise of factor analyzers.
    converged_ : bool
        Whether EM converged before `max_iter`.
    n_iter_ : int
        Number of iterations of the best initialization.
    lower_bound_ : float
        Mean log-likelihood per row under the fitted mixture, in nats. With `priors`, the logarithm
        of the prior's density, up to a constant, is part of it, divided by the number of rows; and
        with `semi_supervised`, the known components are taken into account.
    lower_bounds_ : list of float
        `lower_bound_` after each of the `n_iter_` iterations.
    trace_ : ndarray of shape (`n_iter_` + 1,)
        `lower_bounds_`, preceded by the value at the initialization. Up to rounding, it never
        decreases.
    fit_info_ : FitInfo
        Information on the fit: passes over the data, seconds, threads and the reason it stopped.
    noise_weight_ : float
        Weight of the noise component, if there is one; `weights_` then sum to 1 minus this weight.
    noise_log_volume_ : float
        Natural logarithm of the hypervolume of the noise component.
    noise_volume_ : float
        The hypervolume itself; infinite or 0 where it overflows or underflows float64.
    n_samples_seen_ : int
        Number of rows that `partial_fit` has processed since the last `fit`. After it, `n_iter_` is
        the number of its batches, `n_steps_`; `lower_bound_` is the mean log-likelihood of the
        recent rows, each under the mixture before it was processed; and `lower_bounds_`, `trace_`
        and `fit_info_` are missing.

    See Also
    --------
    MiniBatchGaussianMixture : Online EM on batches, in a single pass over the rows.
    KMeans : The limit of equal spherical covariances that go to zero.

    Notes
    -----
    Attributes and all sums are float64, also for float32 data. The methods read the attributes on
    each call, so that a mixture can also be constructed manually from `weights_`, `means_` and
    `precisions_cholesky_` (and, for `sample`, `covariances_`).

    Callbacks set with `set_callbacks` receive one task for each initialization and each iteration.

    The three-letter names are those of mclust (Banfield and Raftery, 1993; Celeux and Govaert,
    1995). A covariance is decomposed as Σ_k = λ_k D_k A_k D_k^T: its volume λ_k, its shape A_k,
    diagonal and of determinant 1, and its orientation D_k, orthogonal. For K components and D
    features::

        name  also                volume   shape   orientation  parameters of the covariances
        EII   "tied_spherical"    equal    sphere               1
        VII   "spherical"         varying  sphere               K
        EEI   "tied_diag"         equal    equal   axes         D
        VEI                       varying  equal   axes         D + K - 1
        EVI                       equal    varying axes         K D - K + 1
        VVI   "diag"              varying  varying axes         K D
        EEE   "tied"              equal    equal   equal        D (D + 1) / 2
        VEE                       varying  equal   equal        D (D + 1) / 2 + K - 1
        EVE                       equal    varying equal        D (D + 1) / 2 + (K - 1) (D - 1)
        VVE                       varying  varying equal        D (D + 1) / 2 + (K - 1) D
        EEV                       equal    equal   varying      K D (D + 1) / 2 - (K - 1) D
        VEV                       varying  equal   varying      K D (D + 1) / 2 - (K - 1) (D - 1)
        EVV                       equal    varying varying      K D (D + 1) / 2 - (K - 1)
        VVV   "full"              varying  varying varying      K D (D + 1) / 2

    "E" and "V" are EII and VII for data with a single feature.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> X = np.array([[0, 2], [1, 4], [2, 0], [9, 2], [10, 4], [11, 0]])
    >>> mixture = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> np.sort(mixture.means_, axis=0)
    array([[ 1.,  2.],
           [10.,  2.]])
    >>> first, second = mixture.predict([[0, 0], [12, 3]])
    >>> bool(first == second)
    False
    """

    noise_weight_: float
    noise_log_volume_: float

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType | FactorType | CovarianceStructure = "full",
        tol: float | StoppingRule = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitMethod = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | float | None = None,
        labels_init: ArrayLike | None = None,
        n_candidates: int | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_jobs: int | None = None,
        reg_covar_scale: Literal["auto", "absolute", "relative"] = "auto",
        missing: Missing = "error",
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
        priors: Literal["mclust"] | ConjugatePriors | Prior | None = None,
        noise_volume: Literal["auto"] | float | None = None,
        semi_supervised: bool = False,
        step_exponent: float = 0.6,
        step_offset: float = 1.0,
        averaging: bool = False,
        forgetting: float = 1.0,
        frozen: dict[str, Any] | None = None,
        e_step: Literal["dense", "truncated"] = "dense",
        n_factors: int | None = None,
        acceleration: Literal["squarem"] | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.labels_init = labels_init
        self.n_candidates = n_candidates
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_jobs = n_jobs
        self.reg_covar_scale = reg_covar_scale
        self.missing = missing
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume
        self.priors = priors
        self.noise_volume = noise_volume
        self.semi_supervised = semi_supervised
        self.step_exponent = step_exponent
        self.step_offset = step_offset
        self.averaging = averaging
        self.forgetting = forgetting
        self.frozen = frozen
        self.e_step = e_step
        self.n_factors = n_factors
        self.acceleration = acceleration

    _parameter_constraints = constraints_of(
        __init__,
        covariance_type=[StrOptions({*STRUCTURE_NAMES, *FACTOR_NAMES}), CovarianceStructure],
        n_factors=[Interval(Integral, 1, None, closed="left"), None],
        priors=[StrOptions(set(PRIORS_NAMES)), ConjugatePriors, Prior, None],
        noise_volume=[StrOptions({"auto"}), Interval(Real, 0.0, None, closed="neither"), None],
        semi_supervised=["boolean"],
        n_candidates=[StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        e_step=[StrOptions({"dense", "truncated"})],
        acceleration=[StrOptions({"squarem"}), None],
    )

    @property
    def noise_volume_(self) -> float:
        """Hypervolume of the noise component."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.noise_log_volume_))

    @lazy_on_collections
    def factor_scores(self, X: Rows) -> FloatingArray:
        """Return the factors of each row: their expected values, given the row.

        Of the component that is the most probable for the row. Over all rows of a component, each
        factor has a mean of 0 and a variance of no more than 1.

        Returns
        -------
        ndarray of shape (n_samples, n_factors)
            Λ^T (Λ Λ^T + Ψ)^-1 (x - μ) for each row, in the dtype of the rows.

        Raises
        ------
        ValueError
            If the mixture is not one of factor analyzers, or the rows lack values.

        Notes
        -----
        McLachlan and Peel (2000), Finite Mixture Models, eq. 8.7.

        Examples
        --------
        >>> import numpy as np
        >>> from fastgmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(200, 1)) * np.arange(1, 6) + rng.normal(size=(200, 5))
        >>> mixture = GaussianMixture(covariance_type="factors", n_factors=1).fit(X)
        >>> mixture.factor_scores(X).shape
        (200, 1)
        """
        check_is_fitted(self, "means_")
        if not isinstance(self._structure(), FactorStructure):
            raise ValueError(
                "factor_scores is for mixtures of factor analyzers, and this one has "
                f"covariance_type={self._structure().name!r}: fit one with "
                "covariance_type='factors'"
            )
        source, parameters = self._evaluated(X, missing="error")
        if hasattr(self, "noise_weight_"):
            parameters = without_noise(parameters)
        return self._evaluate(factor_scores, source, parameters)

    def _structure_asked(self) -> CovarianceStructure:
        kind = self.covariance_type
        if isinstance(kind, str) and kind in FACTOR_NAMES:
            return factor_structure(kind, self.n_factors)
        if self.n_factors is not None:
            raise ValueError(
                f"n_factors={self.n_factors} is for covariance_type='factors' and its variants, "
                f"and covariance_type is {kind!r}: use 'factors', or n_factors=None"
            )
        return structure(kind)

    @validated_fit
    def fit(
        self,
        X: Rows,
        y: Labels = None,
        sample_weight: Weights = None,
        error_covariance: ArrayLike | None = None,
        censored: ArrayLike | None = None,
    ) -> Self:
        """Fit the mixture to rows, or to what rows would be without measurement errors or limits.

        With errors this is extreme deconvolution (Bovy, Hogg and Roweis, 2011): the mixture is that
        of the true values, of which each row is one plus a Gaussian error of known covariance. The
        initialization is found from the rows as they are. Of censored values the probability of
        what they may be enters the likelihood (Lee and Scott, 2012); the initialization draws them
        from beyond their limits.

        Parameters
        ----------
        y : array-like of int of shape (n_samples,) or str, default=None
            With `semi_supervised`, the component of each row, counted from 0, and -1 or NaN where
            it is not known; or the name of the column of `X` that holds them. Ignored otherwise.

        Raises
        ------
        ValueError
            If the rows, the weights, the labels, the errors, the limits or the initial values are
            invalid, or if a component collapses and `reg_covar` is 0. Where `weights_init`,
            `means_init` and `precisions_init` are all given, or the fit is a warm start, a collapse
            ends the fit at the parameters before it instead.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged after `max_iter` iterations, or was stopped by a collapse.
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        self._fit(X, y, sample_weight, error_covariance, censored)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = getattr(self, "semi_supervised", False)
        return tags

    def _fit(
        self,
        X: Rows,
        y: Labels,
        sample_weight: Weights,
        error_covariance: ArrayLike | None = None,
        censored: ArrayLike | None = None,
    ) -> Source:
        """Fit the mixture, set the attributes, and return the checked rows."""
        watch = Stopwatch()
        given = check_source(
            self,
            X,
            sample_weight,
            reset=True,
            ensure_min_samples=2,
            label_column=_label_column(self, y),
            annotated=True,
        )
        given = with_annotations(given, error_covariance, censored)
        check_replayable(self, given)
        source = observed_rows(given)
        if self.priors is None:
            source = scaled_weights(source)
        else:  # which weigh as much as some rows
            check_weight_scale(source)
        if self.noise_volume is not None:
            check_complete(source)
            check_not_annotated(source, "noise_volume")
        check_enough_rows(source, self.n_components)
        kind = self._structure_asked()
        kind.check_features(source.n_features)
        if kind.n_factors is not None:
            check_not_annotated(source, "n_factors")
        known = _known_components(self, source, y)
        with EMCheckpoint(self, source, known) as checkpoint:
            frozen = self._structure_to_fit()
            prior, noise = prior_and_noise(self, source, frozen)
            unknown = Regularization.none(source.n_features)
            problem = EMProblem(
                source, frozen, unknown, prior, noise, known, self.n_jobs, _truncation(self, source)
            )
            if self.acceleration is not None and not problem.may_extrapolate:
                other = "n_factors" if noise is None else "noise_volume"
                raise ValueError(
                    f"acceleration='squarem' does not go together with {other}: use None"
                )
            attributes = partial(attributes_from_parameters, structure=kind, noise=noise)
            n_starts = 1 if continues(self) else self.n_init
            progress = FitProgress(self, n_starts, given, y, sample_weight, attributes)
            problem, starts = starts_of(self, problem, checkpoint)
            parameters, info = fit_best(
                problem,
                starts,
                stopping_rule(self.tol),
                self.max_iter,
                Listeners(
                    progress.begin, progress.iterate, checkpoint.observer(problem.regularization)
                ),
                checkpoint.resumed,
                Squarem if self.acceleration is not None else None,
            )
        fitted = {**attributes(parameters), **attributes_from_info(info, watch)}
        self._forget_online()
        for name in (*NOISE_ATTRIBUTES, *FACTOR_ATTRIBUTES, *COVARIANCE_ATTRIBUTES):
            self.__dict__.pop(name, None)
        end_fit(self, progress, fitted, info, "EM")
        return given


MixtureEvaluation._gaussian_mixture = GaussianMixture


def _truncation(estimator: GaussianMixture, source: Source) -> Truncation | None:
    """Return what keeps the components of cells, if there are enough to leave some out."""
    if estimator.e_step == "dense":
        return None
    given = {
        "noise_volume": estimator.noise_volume is not None,
        "acceleration": estimator.acceleration is not None,
        "semi_supervised": estimator.semi_supervised,
        "n_factors": estimator.n_factors is not None,
        "checkpoint": estimator.checkpoint is not None,
        "missing values": source.incomplete,
        "errors and limits of values": isinstance(source, AnnotatedRows),
        "a Dask collection": isinstance(source, DaskSource),
    }
    if unsuited := [what for what, present in given.items() if present]:
        raise ValueError(
            f"e_step='truncated' does not go together with {unsuited[0]}: use e_step='dense'"
        )
    if estimator.n_components < FEWEST_COMPONENTS:
        warnings.warn(
            f"e_step='truncated' saves time from {FEWEST_COMPONENTS} components on: the fit with "
            f"n_components={estimator.n_components} is dense",
            UserWarning,
            # The caller of fit is four frames up: this one, _fit, fit and its decorator.
            stacklevel=5,
        )
        return None
    return Truncation()


def _label_column(estimator: GaussianMixture, y: Any) -> str | None:
    """Return the column that holds labels, if `y` names one."""
    if not isinstance(y, str):
        return None
    if not estimator.semi_supervised:
        raise ValueError(
            f"y={y!r} names a column of labels, which {type(estimator).__name__} takes only with "
            "semi_supervised=True; without, the column would be a feature like the others"
        )
    return y


def _known_components(estimator: GaussianMixture, source: Source, y: Any) -> Any:
    """Return the components that rows are known to come from, or None if none is."""
    if not estimator.semi_supervised:
        if _holds_unknown(y):
            warnings.warn(
                "y holds -1, as components of rows do where they are not known, and is ignored: "
                "use semi_supervised=True for a fit in which rows keep the component that y says",
                UserWarning,
                # The caller of fit is four frames up: this one, _fit, fit and its decorator.
                stacklevel=5,
            )
        return None
    labels = y
    if y is None or isinstance(y, str):
        labels = source.labels()
    elif not isinstance(source, DaskSource):
        labels = _numbers(y)
    if labels is None:
        raise ValueError(
            f"{type(estimator).__name__} with semi_supervised=True requires y to be passed, but "
            "the target y is None: give the component of each row, or -1 where it is not known"
        )
    if isinstance(source, DaskSource):
        work = partial(_wrong_component, n_components=estimator.n_components)
        if wrong := source.fold(work, _first)(y=labels):
            raise ValueError(wrong)
        return source.mapped("y", labels, _component_numbers, np.int64)
    if source.n_samples is None:
        _ = source.total_weight  # which reads the rows
    left_out = None if y is None or isinstance(y, str) else source.left_out
    n_rows = source.n_samples if left_out is None else len(left_out)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"y should have one component for each of the {n_rows} rows, -1 where it is not "
            f"known, but got an array of shape {labels.shape}"
        )
    if message := _wrong_label(labels, estimator.n_components):
        raise ValueError(message)
    numbers = _component_numbers(labels)
    return numbers if left_out is None else numbers[~left_out]


def _wrong_label(labels: npt.NDArray[np.float64], n_components: int) -> str:
    """Return what to say of labels that are no numbers of components; nothing if all are."""
    labels = np.where(np.isnan(labels), -1.0, labels)
    wrong = (labels != np.floor(labels)) | (labels < -1) | (labels >= n_components)
    if not wrong.any():
        return ""
    i = int(wrong.argmax())
    return (
        f"y should hold integers from 0 to n_components - 1 = {n_components - 1}, or -1 for rows "
        f"of unknown component, but got {labels[i]:g} in row {i}, counted from 0"
    )


def _wrong_component(
    source: Source,
    *,
    n_components: int,
    n_jobs: int | None,  # noqa: ARG001 - no kernel runs
    y: npt.NDArray[Any],
) -> str:
    """Return what is wrong with the labels of a partition."""
    wrong = _wrong_label(_numbers(y), n_components)
    return f"partition {source.partition} of the collection: {wrong}" if wrong else ""


def _first(one: str, other: str) -> str:
    """Return the first of two messages."""
    return one or other


def _component_numbers(labels: Any) -> npt.NDArray[np.int64]:
    """Return labels as integers, -1 where there is none."""
    labels = np.asarray(labels, dtype=np.float64)
    return np.where(np.isnan(labels), -1.0, labels).astype(np.int64)


def _numbers(y: Any) -> npt.NDArray[np.float64]:
    values, _ = given_labels(y)
    try:
        with config_context(array_api_dispatch=False):
            checked: npt.NDArray[np.float64] = check_array(
                values,
                dtype=np.float64,
                ensure_2d=False,
                allow_nd=True,
                ensure_all_finite="allow-nan",
                ensure_min_samples=0,
                input_name="y",
            )
    except ValueError as error:
        raise ValueError(
            "y should hold the numbers of components, from 0 on, or -1 where they are not known "
            f"(names of classes are for GaussianMixtureClassifier): {error}"
        ) from error
    return checked


def _holds_unknown(y: Any) -> bool:
    """Say whether something is an array, or a list, of integers with -1 among them."""
    if isinstance(y, list | tuple):
        return all(isinstance(each, Integral) for each in y) and -1 in y
    if not hasattr(y, "__array__"):
        return False
    values = np.asarray(unmasked(y))
    return values.dtype.kind == "i" and bool((values == -1).any())


def prior_and_noise(
    estimator: Any, source: Source, structure: CovarianceStructure
) -> tuple[Prior | None, UniformNoise | None]:
    """Return the prior and the noise of a mixture of some data.

    What follows from the data follows from all of them, and is the same to the bit whenever it is
    worked out again.
    """
    priors, volume = estimator.priors, estimator.noise_volume
    if priors is not None and structure.n_factors is not None:
        raise ValueError(
            f"priors and covariance_type={structure.name!r} do not go together: factor analyzers "
            "are fitted by maximum likelihood; use another covariance_type, or priors=None"
        )
    if priors is None and volume is None:
        return None, None
    noise = None if volume is None or volume == "auto" else UniformNoise(math.log(volume))
    if priors is None and noise is not None:
        return None, noise
    prior = None
    with one_blas_thread():
        moments = source_moments(
            source, diagonal=structure.is_diagonal and volume != "auto", n_jobs=estimator.n_jobs
        )
        mean, covariance = moments.means()[0], moments.covariances()[0]
        if priors is not None:
            given: ConjugatePriors | Prior
            given = ConjugatePriors() if isinstance(priors, str) else priors
            total = source.total_weight
            # Divided by the weight less one row, but never by less than half the weight.
            unbiased = covariance * (total / max(total - 1.0, total / 2.0))
            prior = given.for_data(structure, estimator.n_components, mean, unbiased)
        if volume == "auto":
            noise = UniformNoise(log_hypervolume(source, mean, covariance))
    return prior, noise
