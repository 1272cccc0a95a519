"""`MessageLengthGaussianMixture`: a mixture that finds its number of components."""

from __future__ import annotations

import copy
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from fastgmm.data.source import Source
from fastgmm.docstrings import documented
from fastgmm.em.degeneracy import find_degeneracies, warn_of_degeneracies
from fastgmm.em.initialization.data_scan import scan_data
from fastgmm.em.models.message_length import (
    MessageLengthFit,
    MessageProblem,
    fit_message_length,
    wide_start,
)
from fastgmm.em.problem import EMProblem
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.attributes import attributes_from_parameters
from fastgmm.estimators.shared.evaluation import InformationCriteria
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.starts import check_enough_rows
from fastgmm.estimators.shared.validation import (
    check_replayable,
    check_source,
    check_weight_scale,
    constraints_of,
    validated_fit,
)
from fastgmm.io.states import require
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure, name_or_instance

_OF_THE_MIXTURE = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
    "converged_",
    "n_iter_",
    "lower_bound_",
    "n_features_in_",
    "feature_names_in_",
)


@documented()
class MessageLengthGaussianMixture(InformationCriteria, DensityMixin, BaseEstimator):
    """Gaussian mixture that selects its number of components by minimum message length.

    A single fit starts with too many components, annihilates those that the rows do not support,
    and continues down to the minimum number; the mixture with the shortest message length for the
    rows is kept (Figueiredo and Jain, 2002). It takes one fit, not one for each number of
    components.

    Parameters
    ----------
    max_components : int, default=25
        Initial number of components, many more than are expected; limited to the number of rows.
    min_components : int, default=1
        Minimum number of components.
    covariance_type : str or CovarianceStructure, default="full"
        Type of the covariance parameters; see `GaussianMixture`.
    tol : float, default=3e-4
        Convergence threshold. The fit converges at a number of components when the message length
        per row changes by less than this, in nats.
    reg_covar : float, default=1e-6
        Non-negative regularization added to the diagonals of the covariances; see
        `reg_covar_scale`.
    max_iter : int, default=500
        Maximum number of iterations for each number of components.
    n_init : int, default=1
        Number of initializations; the result with the shortest message is kept.
    random_state : int, RandomState instance or None, default=None
        Chooses the rows at which components begin, and the sample of large data; also the source
        of the randomness of `sample`.
    reg_covar_scale : {"auto", "absolute", "relative"}, default="auto"
        As for `GaussianMixture`.
    missing : {"error", "drop"}, default="error"
        Whether rows that lack a value are an error, or left out of fits and scores.

    Attributes
    ----------
    n_components_ : int
        Number of components.
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : ndarray
        As for `GaussianMixture`.
    message_length_ : float
        Length of the message about the rows, in nats.
    trace_ : ndarray of shape (n_rests, 2)
        The decreasing numbers of components at which the fit converged, and the message lengths
        there; if the data were subsampled, those on all rows. Numbers that were skipped are
        missing.
    lower_bound_ : float
        Mean log-likelihood per row under the mixture, in nats.
    converged_ : bool
        Whether the fit converged to the mixture that was kept before `max_iter`.
    n_iter_ : int
        Total number of iterations, of the best initialization.

    See Also
    --------
    GaussianMixture : A given number of components, by maximum likelihood.
    BayesianGaussianMixture : Shrinks the weights of superfluous components toward zero.

    Notes
    -----
    The message has the parameters of each component with the precision that its rows pay for, and
    then the rows in a code made for the mixture. With N parameters of each of K components, weights
    π_k and n rows its length is N/2 Σ log(n π_k) + K/2 log n - log L, which is eq. 15 of the paper
    without the constants of the best lattices. What all components share, such as a common
    covariance, is encoded once, with the precision that all rows pay for. The M-step takes N/2 from
    the number of rows of each component (eq. 17), and a component that is left with none is gone.

    Of a component with fewer rows than parameters the equation says nothing: such rows may lie so
    near a line or a point that the message can be made as short as one likes. A mixture with one of
    those is kept only if the fit converged to no other; this is not part of the paper.

    Components are updated one after the other, as in the paper, on rows in memory: all of them, or
    a sample of large data, in which each row stands for many. EM then continues with passes over
    all rows, each of which updates all components and removes at most one, between the number that
    the sample would favor by itself and the number that it favors for all rows.

    A weight of w means w copies of the row, and the number of rows says what components cost:
    weights that are no numbers of copies, such as ones that sum to 1, find too few.

    References
    ----------
    Figueiredo and Jain (2002), "Unsupervised learning of finite mixture models", IEEE Transactions
    on Pattern Analysis and Machine Intelligence 24, pages 381-396.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import MessageLengthGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(center, 0.5, (200, 2)) for center in (0, 3, 6)])
    >>> mixture = MessageLengthGaussianMixture(random_state=0).fit(X)
    >>> mixture.n_components_
    3
    >>> np.sort(mixture.means_[:, 0]).round() + 0.0
    array([0., 3., 6.])
    """

    covariance_type: CovarianceType | CovarianceStructure
    n_components_: int
    message_length_: float
    trace_: FloatArray

    def __init__(
        self,
        max_components: int = 25,
        *,
        min_components: int = 1,
        covariance_type: CovarianceType | CovarianceStructure = "full",
        tol: float = 3e-4,
        reg_covar: float = 1e-6,
        max_iter: int = 500,
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        reg_covar_scale: Literal["auto", "absolute", "relative"] = "auto",
        missing: Literal["error", "drop"] = "error",
    ) -> None:
        self.max_components = max_components
        self.min_components = min_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.reg_covar_scale = reg_covar_scale
        self.missing = missing

    _parameter_constraints = constraints_of(
        __init__,
        tol=[Interval(Real, 0.0, None, closed="left")],
        max_components=[Interval(Integral, 1, None, closed="left")],
        min_components=[Interval(Integral, 1, None, closed="left")],
        max_iter=[Interval(Integral, 1, None, closed="left")],
        missing=[StrOptions({"error", "drop"})],
    )

    @validated_fit
    def fit(
        self,
        X: Rows,
        y: Any = None,
        sample_weight: Weights = None,
    ) -> Self:
        """Fit the mixture to rows, with as many components as these take.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows. Of more than 25,000, or of files, a sample is drawn and held in memory, from
            which passes over all rows go on; files are read again in each of these, and never
            held as a whole.

        Raises
        ------
        ValueError
            If the rows or the weights are invalid, if `min_components` is more than
            `max_components` or the rows, or if a component collapses and `reg_covar` is 0.

        Warns
        -----
        ConvergenceWarning
            If the fit has not converged to the mixture that is kept after `max_iter` iterations.
        DegenerateComponentWarning
            If a component lost its spread.
        """
        self._fit(X, y, sample_weight)
        return self

    _trace_axes: ClassVar[int] = 2
    """Beside the message lengths are the numbers of components."""

    def to_gaussian_mixture(self) -> GaussianMixture:
        """Return the same mixture as an estimator of a given number of components.

        That can go on from here by maximum likelihood, learn more rows, and be resampled.

        Returns
        -------
        GaussianMixture
            With copies of the fitted attributes; `trace_` and `fit_info_` are missing, because
            they are about another kind of fit.

        Raises
        ------
        NotFittedError
            If the mixture is not fitted.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "means_")
        mixture = GaussianMixture(
            self.n_components_,
            covariance_type=name_or_instance(self._structure()),
            reg_covar=self.reg_covar,
            random_state=copy.deepcopy(self.random_state),
            n_jobs=self.n_jobs,
            reg_covar_scale=self.reg_covar_scale,
        )
        state = {name: vars(self)[name] for name in _OF_THE_MIXTURE if name in vars(self)}
        mixture.__dict__.update(copy.deepcopy(state))
        mixture.lower_bounds_ = [self.lower_bound_]
        return mixture

    def _fit(self, X: Rows, y: Any, sample_weight: Weights) -> Source:  # noqa: ARG002
        """Fit the mixture, set the attributes, and return the checked rows."""
        if self.min_components > self.max_components:
            raise ValueError(
                f"min_components={self.min_components} should be no more than "
                f"max_components={self.max_components}"
            )
        source = check_source(self, X, sample_weight, reset=True, ensure_min_samples=2)
        check_replayable(self, source)
        check_weight_scale(source)
        check_enough_rows(source, self.min_components)
        kind = self._structure_asked()
        kind.check_features(source.n_features)
        random_state = check_random_state(self.random_state)
        scanned = scan_data(
            source,
            self.max_components,
            self.reg_covar,
            self.reg_covar_scale,
            seed=int(random_state.randint(np.iinfo(np.int32).max)),
            n_jobs=self.n_jobs,
        )
        check_enough_rows(source, self.min_components)
        fits = []
        rows = source if scanned.subsampled else scanned.sample
        em = EMProblem(rows, kind, scanned.regularization, n_jobs=self.n_jobs)
        problem = MessageProblem(em, self.min_components)
        for _ in range(self.n_init):
            start = wide_start(
                scanned.sample,
                min(self.max_components, scanned.sample.n_samples),
                kind,
                scanned.regularization,
                random_state,
            )
            fits.append(fit_message_length(scanned.sample, start, problem, self.tol, self.max_iter))
        fit = min(fits, key=lambda each: each.best.message_length)
        self._keep(fit, source)
        degeneracies = find_degeneracies(fit.best.parameters, kind, scanned.regularization)
        # The caller of fit is three frames up: this one, fit and its decorator lie between.
        warn_of_degeneracies(degeneracies, stacklevel=4)
        if not fit.best.converged:
            warnings.warn(
                f"the fit did not converge: after max_iter={self.max_iter} iterations with "
                f"{self.n_components_} components the message for each row still changed by "
                f"tol={self.tol:g} or more. Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return source

    def _check_saved(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        super()._check_saved(arrays)
        kept = (self.n_components_, self.message_length_)
        require(self.n_components_ == len(self.means_), "n_components_ are those of means_")
        found = any(np.array_equal(each, kept) for each in arrays["trace_"])
        require(found, "trace_ has n_components_ and message_length_")

    def _keep(self, fit: MessageLengthFit, source: Source) -> None:
        """Set the fitted attributes."""
        best = fit.best
        fitted = {
            **attributes_from_parameters(best.parameters, self._structure_asked()),
            "n_components_": best.parameters.n_components,
            "message_length_": best.message_length,
            "trace_": np.array(
                [(each.parameters.n_components, each.message_length) for each in fit.candidates]
            ),
            "lower_bound_": best.log_likelihood / source.total_weight,
            "converged_": best.converged,
            "n_iter_": fit.n_sweeps + fit.n_passes,
        }
        self.__dict__.update(fitted)
