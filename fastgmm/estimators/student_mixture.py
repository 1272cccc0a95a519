"""`StudentMixture`: a mixture whose components have the tails of t-distributions."""

from __future__ import annotations

from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastgmm.data.source import Source
from fastgmm.data.sources.wrapped import observed_rows, scaled_weights
from fastgmm.docstrings import documented
from fastgmm.em.initialization.methods import InitMethod
from fastgmm.em.loop import Listeners, fit_best
from fastgmm.em.models.student import StudentProblem
from fastgmm.em.stopping import StoppingRule, stopping_rule
from fastgmm.estimators.gaussian_mixture import prior_and_noise
from fastgmm.estimators.shared.attributes import (
    attributes_from_info,
    attributes_from_parameters,
    check_attribute_shape,
    parameters_from_attributes,
)
from fastgmm.estimators.shared.callbacks import CallbackSupportMixin
from fastgmm.estimators.shared.evaluation import InformationCriteria
from fastgmm.estimators.shared.fit_checkpoints import EMCheckpoint
from fastgmm.estimators.shared.frozen import frozen_structure
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.progress import FitProgress, end_fit
from fastgmm.estimators.shared.starts import check_enough_rows, continues, starts_of
from fastgmm.estimators.shared.validation import (
    Missing,
    check_replayable,
    check_source,
    check_weight_scale,
    constraints_of,
    validated_fit,
)
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import PRIORS_NAMES, ConjugatePriors
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure
from fastgmm.mixture.student import DOF_BOUNDS, StudentParameters


@documented()
class StudentMixture(InformationCriteria, CallbackSupportMixin, DensityMixin, BaseEstimator):
    """Mixture of multivariate Student t-distributions, robust against outliers, fitted by EM.

    A component has the density of a Gaussian near its center and heavier tails, the heavier the
    fewer degrees of freedom it has. Rows far from all centers have little weight in the means and
    scale matrices, where they would draw those of a Gaussian mixture to them.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : str or CovarianceStructure, default="full"
        Structure of the scale matrices: all that :class:`GaussianMixture` has for covariances.
    dof : "common", "separate" or float, default="common"
        Degrees of freedom ν: estimated as one number for all components or as one for each; or a
        number, at least 0.1, that is not estimated. Estimates begin at 10 and stay between 0.1 and
        1000, where a component is as good as Gaussian.
    tol : float or StoppingRule, default=1e-4
        Convergence threshold of the mean log-likelihood per row, in nats, as for `GaussianMixture`.
        Degrees of freedom converge slowly, hence the smaller default.
    reg_covar : float, default=1e-6
        Non-negative regularization added to the diagonals of the scale matrices; see
        `reg_covar_scale`.
    max_iter : int, default=200
        Maximum number of EM iterations. With 0, the initialization itself is the result.
    n_init, init_params, weights_init, means_init, precisions_init, labels_init, n_candidates
        As for `GaussianMixture`. `precisions_init` holds inverses of the scale matrices.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the initialization and of `sample`. Pass an int for reproducible
        results.
    warm_start : bool, default=False
        If True, the result of the last fit is used as the initialization of the next call of `fit`.
    verbose, verbose_interval
        As for `GaussianMixture`.
    reg_covar_scale : {"auto", "absolute", "relative"}, default="auto"
        As for `GaussianMixture`.
    missing : {"error", "drop", "model"}, default="error"
        How to handle missing values, as for `GaussianMixture`. With "model" each pattern of missing
        values takes a pass of its own over its rows: few patterns are fast, thousands are slow.
    priors : None, "mclust" or ConjugatePriors, default=None
        Prior distributions of means, scale matrices and weights, under which `fit` computes the
        maximum a posteriori estimate; see `GaussianMixture`.
    checkpoint, checkpoint_interval, resume
        As for `GaussianMixture`.
    frozen : dict, default=None
        Parameters that fits leave at their initial values, as for `GaussianMixture`; "covariances"
        are the scale matrices. Degrees of freedom are kept by `dof`.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Weights.
    means_ : ndarray of shape (n_components, n_features)
        Centers: the means, where ν > 1.
    scales_ : ndarray
        Scale matrices Σ, in the shape that `covariances_` of a `GaussianMixture` has. They are not
        the covariances, which are ν / (ν - 2) times as large and infinite for ν of at most 2.
    precisions_ : ndarray
        Inverses of the scale matrices, in the same shape.
    precisions_cholesky_ : ndarray
        Upper triangular U with U U^T the inverse of the scale matrix, or square roots of inverses
        where these are diagonal, in the same shape.
    dofs_ : ndarray of shape (n_components,)
        Degrees of freedom of each component.
    converged_ : bool
        Whether EM converged before `max_iter`.
    n_iter_ : int
        Number of iterations of the best initialization.
    lower_bound_ : float
        Mean log-likelihood per row under the fitted mixture, in nats; with `priors`, plus the
        logarithm of the prior's density divided by the number of rows.
    lower_bounds_ : list of float
        `lower_bound_` after each of the `n_iter_` iterations.
    trace_ : ndarray of shape (`n_iter_` + 1,)
        `lower_bounds_`, preceded by the value at the initialization. Up to rounding, it never
        decreases.
    fit_info_ : FitInfo
        Information on the fit: passes over the data, seconds, threads and the reason it stopped.

    See Also
    --------
    GaussianMixture : Components without tails; `noise_volume` takes outliers as uniform noise.
    GaussianMixtureOutlierDetector : Which rows are outliers under a Gaussian mixture.

    Notes
    -----
    The E-step finds for each row and component the responsibility r and the weight
    u = (ν + D) / (ν + δ), with δ the squared Mahalanobis distance from the center. The M-step takes
    means Σ r u x / Σ r u, scales Σ r u (x - μ)(x - μ)^T / Σ r as the structure has them, and for ν
    the root of

        log(ν/2) - ψ(ν/2) + 1 + Σ r (log u - u) / Σ r + ψ(h) - log(h) = 0,  h = (ν_before + D) / 2,

    with ψ the digamma function (Peel and McLachlan, 2000). `bic`, `aic` and `icl` count ν where it
    is estimated. Methods of Gaussian mixtures that need Gaussian components (`marginal`,
    `condition`, `explain`) raise an error.

    References
    ----------
    Peel and McLachlan (2000), "Robust mixture modelling using the t distribution", Statistics and
    Computing 10, pages 339-348.

    Andrews and McNicholas (2012), "Model-based clustering, classification, and discriminant
    analysis via mixtures of multivariate t-distributions", Statistics and Computing 22, pages
    1021-1029.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import StudentMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(9, 1, (300, 2))])
    >>> X[:20] = rng.uniform(-50, 50, (20, 2))
    >>> mixture = StudentMixture(2, random_state=0).fit(X)
    >>> np.sort(mixture.means_, axis=0).round() + 0.0
    array([[0., 0.],
           [9., 9.]])
    >>> bool(mixture.dofs_[0] < 5)
    True
    """

    scales_: FloatingArray
    dofs_: FloatingArray
    lower_bounds_: list[float]
    trace_: FloatArray

    noise_volume: ClassVar[None] = None
    _spread_arrays: ClassVar[tuple[str, str]] = ("scales_", "precisions_")

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType | CovarianceStructure = "full",
        dof: float | Literal["common", "separate"] = "common",
        tol: float | StoppingRule = 1e-4,
        reg_covar: float = 1e-6,
        max_iter: int = 200,
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
        priors: Literal["mclust"] | ConjugatePriors | None = None,
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
        frozen: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.dof = dof
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
        self.priors = priors
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume
        self.frozen = frozen

    _parameter_constraints = constraints_of(
        __init__,
        dof=[
            StrOptions({"common", "separate"}),
            Interval(Real, DOF_BOUNDS[0], None, closed="left"),
        ],
        n_candidates=[StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        priors=[StrOptions(set(PRIORS_NAMES)), ConjugatePriors, None],
    )

    @validated_fit
    def fit(self, X: Rows, y: Any = None, sample_weight: Weights = None) -> Self:
        """Fit the mixture to rows.

        Raises
        ------
        ValueError
            If the rows, the weights or the initial values are invalid, or if a component collapses
            and `reg_covar` is 0.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged after `max_iter` iterations, or was stopped by a collapse.
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        self._fit(X, y, sample_weight)
        return self

    def _fit(self, X: Rows, y: Any, sample_weight: Weights) -> Source:
        """Fit the mixture, set the attributes, and return the checked rows."""
        watch = Stopwatch()
        given = check_source(self, X, sample_weight, reset=True, ensure_min_samples=2)
        check_replayable(self, given)
        source = observed_rows(given)
        if self.priors is None:
            source = scaled_weights(source)
        else:  # which weigh as much as some rows
            check_weight_scale(source)
        check_enough_rows(source, self.n_components)
        kind = self._structure_asked()
        kind.check_features(source.n_features)
        held = frozen_structure(self, kind)
        prior, _ = prior_and_noise(self, source, held)
        unknown = Regularization.none(source.n_features)
        problem = StudentProblem(source, held, unknown, prior, n_jobs=self.n_jobs, dof=self.dof)

        def attributes(parameters: MixtureParameters) -> dict[str, Any]:
            student = problem.student(parameters)
            found = attributes_from_parameters(student, kind)
            return {"scales_": found.pop("covariances_"), "dofs_": student.dofs.copy(), **found}

        with EMCheckpoint(self, source) as checkpoint:
            n_starts = 1 if continues(self) else self.n_init
            progress = FitProgress(self, n_starts, given, y, sample_weight, attributes)
            to_fit, starts = starts_of(self, problem, checkpoint)
            parameters, info = fit_best(
                to_fit,
                starts,
                stopping_rule(self.tol),
                self.max_iter,
                Listeners(
                    progress.begin, progress.iterate, checkpoint.observer(to_fit.regularization)
                ),
                checkpoint.resumed,
            )
        fitted = {**attributes(parameters), **attributes_from_info(info, watch)}
        end_fit(self, progress, fitted, info, "EM")
        return given

    def _parameters(self) -> StudentParameters:
        found = parameters_from_attributes(self, self._structure())
        dofs = np.asarray(self.dofs_, dtype=np.float64)
        check_attribute_shape("dofs_", dofs, found.means.shape[:1])
        if not ((dofs > 0.0) & (dofs < np.inf)).all():
            raise ValueError(f"dofs_ should be positive and finite, but got {dofs}")
        return StudentParameters.from_gaussians(found, dofs)

    def _n_parameters(self) -> int:
        estimated = {"common": 1, "separate": len(self.means_)}
        return super()._n_parameters() + (estimated[self.dof] if isinstance(self.dof, str) else 0)

    def _with_tails(
        self, offsets: FloatArray, k: int, random_state: np.random.RandomState
    ) -> FloatArray:
        dof = self.dofs_[k]
        squares = np.maximum(random_state.chisquare(dof, size=(len(offsets), 1)), 1e-200)
        found: FloatArray = offsets * np.sqrt(dof / squares)
        return found

    def _check_saved(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        check_is_fitted(self, "dofs_")
        super()._check_saved(arrays)
