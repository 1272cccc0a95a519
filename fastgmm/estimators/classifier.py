"""`GaussianMixtureClassifier`: classes with a mixture each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from copy import copy
from functools import partial
from numbers import Integral, Real
from operator import add
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis.density_levels import density_level, whole_row_scores
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.dask_collection import DaskSource
from fastgmm.data.sources.wrapped import choose_rows
from fastgmm.docstrings import documented
from fastgmm.em.missing.completed_rows import lacks_values
from fastgmm.em.missing.incomplete import pieces
from fastgmm.em.models.class_mixtures import (
    ROWS_AT_ONCE,
    class_log_densities,
    class_statistics,
    labeled_pieces,
    log_joint_of_classes,
    log_posteriors,
)
from fastgmm.estimators.classification.class_fits import (
    ClassFitting,
    ClassModel,
    FittedClasses,
    class_model,
)
from fastgmm.estimators.classification.class_labels import (
    ClassLabels,
    LabeledRows,
    check_labeled,
    class_factors,
    class_totals,
)
from fastgmm.estimators.classification.saving import SavedClasses
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.evaluation import BlockwiseProbabilities
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.estimators.shared.score_thresholds import score_cut
from fastgmm.estimators.shared.validation import (
    Missing,
    UnchangedOnFailure,
    available_where,
    check_replayable,
    check_source,
    check_values,
    constraints_of,
    missing_policy,
    validated_fit,
)
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, name_or_instance

_OTHER_MODEL = (
    "partial_fit cannot continue from classes of another kind than n_components, covariance_type "
    "and common_structure now ask for: use fit, or a new estimator"
)


_LOG_TEMPERATURES = (-5.0, 7.0)
"""Natural logarithms of the temperatures that `calibrate` searches between."""


class _Densities(NamedTuple):
    """Rows, the mixtures of all classes, and the log-density of each row under each."""

    rows: ArraySource
    mixtures: list[MixtureParameters]
    log_densities: FloatArray


def _can_learn(classifier: Any) -> bool:
    """Say whether the parameters ask for nothing that takes all rows at once."""
    for name, wanted in (("semi_supervised", True), ("class_weight", "balanced")):
        if getattr(classifier, name) == wanted:
            raise AttributeError(
                f"partial_fit knows no {name}={wanted!r}, which takes all rows at once: use fit"
            )
    return True


@documented(
    """
    y : array-like of shape (n_samples,) or str
        The classes of the rows, or the name of the column of `X` that holds them, which in
        iterators has to hold numbers.
    """
)
class GaussianMixtureClassifier(
    BlockwiseProbabilities, SavedClasses, ClassifierMixin, BaseEstimator
):
    """Classification by a Gaussian mixture for each class.

    A row's class is that of the highest prior times density. With one component for each class
    this is the Gaussian Bayes classifier: linear discriminant analysis where the classes have the
    same covariance ("tied"), quadratic where each has its own ("full"), Gaussian naive Bayes with
    "diag", and what lies between them, as in mclust's EDDA. With more components it is mixture
    discriminant analysis, as in mclust's MclustDA. Covariances are of maximum likelihood.

    Parameters
    ----------
    n_components : int, iterable of int, or dict, default=1
        Number of components per class; several to choose from by BIC, separately for each class; or
        a dict of these by class.
    covariance_type : str, CovarianceStructure or iterable of these, default="all"
        Type of the covariance parameters, as for :class:`GaussianMixture`; or several to choose
        from. "all" are the fourteen parsimonious structures, or "E" and "V" for a single feature.
    common_structure : "auto" or bool, default="auto"
        Whether a structure is that of the components of all classes together, so that what is
        equal in it is equal across the classes; or of those of each class by itself. "auto" is
        True if all classes have one component.
    selection : {"average", "bic"}, default="average"
        What to do with several structures of one component for each class: "average" takes an
        average of the densities of all, by how probable each makes the classes of rows held out in
        cross-validation; "bic" takes the one of the lowest BIC, as mclust does. BIC it is in all
        other cases, too: of mixtures, in `partial_fit`, and with rows of unknown class.
    priors : array-like of shape (n_classes,), default=None
        Prior probabilities of the classes; None for the proportions of their rows.
    class_weight : dict or "balanced", default=None
        Factors for the weights of the rows of each class: a dict by class, or "balanced" to give
        all classes the same weight.
    semi_supervised : bool, default=False
        Whether rows of the class -1, or none, are rows of unknown class to learn from, by EM.
        Otherwise -1 is a class like others.
    reject_below : float, default=None
        Above 0 and below 1, to reject rows that no class explains: at most this share of the rows
        of each class that were fitted has a density, in the class, below the level `reject_below_`.
        A row that is below it in all classes is rejected.
    reject_label : object, default=None
        What `predict` returns for rows that are rejected. None is -1, or "rejected" where classes
        are text.
    tol : float, default=1e-3
        Convergence threshold. EM stops when the mean log-likelihood per row changes by less than
        this, in nats.
    reg_covar : float, default=1e-6
        Non-negative regularization added to the variances, as for :class:`GaussianMixture`.
    max_iter : int, default=100
        Maximum number of EM iterations.
    n_init : int, default=1
        Number of initializations of mixtures that are not chosen from several.
    missing : {"error", "drop", "model"}, default="error"
        How to handle missing values of rows; see :class:`GaussianMixture`. With "model", what is
        missing is integrated out, and rows that lack values are rejected where what is observed of
        them is improbable. If rows of the fit lack values, one of several structures is chosen by
        BIC.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, in ascending order.
    class_prior_ : ndarray of shape (n_classes,)
        Their prior probabilities.
    mixtures_ : list of GaussianMixture
        The mixture of each class.
    structure_shares_ : dict of str to float
        The structures that all classes have together, and how much each counts in the average;
        empty if the structures are those of the classes by themselves.
    reject_below_ : ndarray of shape (n_classes,)
        With `reject_below`, the log-density of each class below which it explains no row, in nats.
        May be written to.
    reject_label_ : object
        With `reject_below`, what stands for rejected rows.
    temperature_ : float
        What `calibrate` set; 1 before.
    n_iter_ : int
        Number of iterations of EM, of the class that took the most; 1 where there is nothing to
        iterate.

    See Also
    --------
    GaussianMixture : A mixture without classes.
    MixtureSearch : Model selection, as used for the mixture of a class.

    Notes
    -----
    scikit-learn's :class:`~sklearn.discriminant_analysis.LinearDiscriminantAnalysis` has the same
    covariance with ``solver="lsqr"`` and "eigen"; with "svd" it divides by the number of rows less
    that of classes. :class:`~sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis` divides
    by the number of rows of the class less one.

    References
    ----------
    Bensmail and Celeux (1996), "Regularized Gaussian discriminant analysis through eigenvalue
    decomposition", JASA 91. Fraley and Raftery (2002), "Model-based clustering, discriminant
    analysis, and density estimation", JASA 97.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from fastgmm import GaussianMixtureClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> classifier = GaussianMixtureClassifier(selection="bic").fit(X, y)
    >>> classifier.structure_shares_
    {'VVE': 1.0}
    >>> classifier.predict_proba(X[:1]).round(3)
    array([[1., 0., 0.]])
    """

    classes_: npt.NDArray[Any]
    class_prior_: FloatArray
    mixtures_: list[GaussianMixture]
    reject_below_: FloatArray
    reject_label_: Any
    temperature_: float
    structure_shares_: dict[str, float]
    n_iter_: int
    n_features_in_: int

    _statistics: SufficientStatistics | None = None
    """Sufficient statistics of one component per class, which `partial_fit` continues from."""
    _learners: list[GaussianMixture] | None = None
    """The mixtures that `partial_fit` teaches, begun or not."""
    _weights: FloatArray | None = None
    """Weight of the rows of each class so far."""

    def __init__(
        self,
        n_components: int | Iterable[int] | dict[Any, int | Iterable[int]] = 1,
        *,
        covariance_type: Literal["all"]
        | CovarianceType
        | CovarianceStructure
        | Iterable[str | CovarianceStructure] = "all",
        common_structure: Literal["auto"] | bool = "auto",
        selection: Literal["average", "bic"] = "average",
        priors: ArrayLike | None = None,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        semi_supervised: bool = False,
        reject_below: float | None = None,
        reject_label: Any = None,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        missing: Missing = "error",
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.common_structure = common_structure
        self.selection = selection
        self.priors = priors
        self.class_weight = class_weight
        self.semi_supervised = semi_supervised
        self.reject_below = reject_below
        self.reject_label = reject_label
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.missing = missing

    _parameter_constraints = constraints_of(
        __init__,
        n_components=[Interval(Integral, 1, None, closed="left"), HasMethods("__iter__"), dict],
        covariance_type=[str, CovarianceStructure, HasMethods("__iter__")],
        common_structure=[StrOptions({"auto"}), "boolean"],
        selection=[StrOptions({"average", "bic"})],
        priors=["array-like", None],
        class_weight=[StrOptions({"balanced"}), dict, None],
        semi_supervised=["boolean"],
        reject_below=[Interval(Real, 0.0, 1.0, closed="neither"), None],
        reject_label=[object],
    )

    @validated_fit
    def fit(self, X: Rows, y: ClassLabels, sample_weight: Weights = None) -> Self:
        """Fit the mixtures of all classes to rows.

        Raises
        ------
        ValueError
            If the rows, the classes or the weights are not possible, or if a covariance is
            singular and `reg_covar` is 0.

        Warns
        -----
        ConvergenceWarning
            If EM, of a mixture or of all classes together, has not converged after `max_iter`
            iterations.
        DegenerateComponentWarning
            If a component of a mixture lost all its points or its spread.
        """
        rows = check_labeled(
            self, X, y, sample_weight, reset=True, semi_supervised=self.semi_supervised
        ).observed()
        check_replayable(self, rows.source)
        model = class_model(self, rows.classes, rows.source.n_features)
        priors = self._priors(len(rows.classes))
        label = self._reject_label(rows.classes)
        factors = class_factors(self.class_weight, rows)
        random_state = check_random_state(self.random_state)
        fitted = ClassFitting.of(self, model, factors, priors).fit(rows, random_state)
        self.classes_ = rows.classes
        self._keep(fitted)
        self._learners = None
        self._weights = None
        if fitted.statistics is None:
            self._weights = class_totals(rows) * factors
        if self.reject_below is not None:
            self.reject_label_ = label
            self.reject_below_ = self._training_levels(rows, self.reject_below)
        if not fitted.converged and self.max_iter > 0:
            warnings.warn(
                f"EM of the classes did not converge: after {self.n_iter_} iterations "
                f"(max_iter={self.max_iter}) the mean log-likelihood still changed by "
                f"tol={self.tol:g} or more. Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=3,  # the caller of fit, between which and this is its decorator
            )
        return self

    @available_where(_can_learn)
    @validated_fit
    def partial_fit(
        self,
        X: Rows,
        y: ClassLabels,
        classes: ArrayLike | None = None,
        sample_weight: Weights = None,
    ) -> Self:
        """Learn rows in addition to those before.

        One component for each class is the same as if all rows had been fitted at once, with the
        structure of the lowest BIC if there are several. Mixtures learn the rows of their classes
        as `GaussianMixture.partial_fit` does; the classifier is not fitted until each of them has
        rows enough to begin with. Levels to reject rows below are those of the mixtures
        themselves: at most a share `reject_below` of the probability of each class is below.

        Parameters
        ----------
        classes : array-like of shape (n_classes,), default=None
            All classes there will be; needed in the first call.

        Raises
        ------
        ValueError
            If the rows, the classes or the weights are not possible, or the parameters ask for
            what takes all rows at once.
        """
        first = _check_partial_fit_first_call(self, classes)
        rows = check_labeled(
            self, X, y, sample_weight, reset=first, classes=self.classes_
        ).observed()
        model = class_model(self, self.classes_, rows.source.n_features)
        priors = self._priors(len(self.classes_))
        label = self._reject_label(self.classes_)
        factors = class_factors(self.class_weight, rows)
        if model.common and model.is_single:
            self._learn_statistics(rows, model, factors, priors)
        else:
            self._learn_mixtures(rows, model, factors, priors)
        if self.reject_below is not None and hasattr(self, "mixtures_"):
            self.reject_label_ = label
            self.reject_below_ = np.array(
                [_model_level(mixture, self.reject_below) for mixture in self.mixtures_]
            )
        return self

    @lazy_on_collections
    def predict(self, X: Rows) -> npt.NDArray[Any]:
        """Return the most probable class of each row.

        Returns
        -------
        ndarray of shape (n_samples,)
            One of `classes_`; with `reject_below`, `reject_label_` for rows that no class explains.
        """
        return self._results("predict", X)

    @lazy_on_collections
    def predict_proba(self, X: Rows) -> FloatArray:
        """Return the posterior probability of each class for each row.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Probabilities that sum to 1 for each row, in the order of `classes_`.
        """
        return self._results("predict_proba", X)

    @lazy_on_collections
    def predict_log_proba(self, X: Rows) -> FloatArray:
        """Return the logarithm of the posterior probability of each class for each row.

        Worked out as such: where the probability itself is too small for a float64 the logarithm
        is still exact.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            In nats.
        """
        return self._results("predict_log_proba", X)

    @lazy_on_collections
    def decision_function(self, X: Rows) -> FloatArray:
        """Return what the posterior probabilities are the softmax of.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes) or (n_samples,)
            Logarithm of prior times density for each class, divided by `temperature_`. With two
            classes, that of the second less that of the first, as in scikit-learn.
        """
        return self._results("decision_function", X)

    @lazy_on_collections
    def score_samples(self, X: Rows) -> FloatArray:
        """Return the log-density of each row, of whatever class.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            Logarithm of the sum over the classes of prior times density, in nats.
        """
        return self._results("score_samples", X)

    @lazy_on_collections
    def rejected(self, X: Rows) -> npt.NDArray[np.bool_]:
        """Predict which rows are explained by no class.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            Whether the log-density under the mixture of every class is below its `reject_below_`.

        Raises
        ------
        AttributeError
            If the classifier was fitted with ``reject_below=None``.
        """
        check_is_fitted(self)
        if not hasattr(self, "reject_below_"):
            raise AttributeError(
                f"{type(self).__name__} was fitted with reject_below=None and explains every row: "
                "give the share of each class's rows that may be rejected, and fit again"
            )
        return self._results("rejected", X)

    def score(self, X: Rows, y: ClassLabels, sample_weight: Weights = None) -> float:
        """Return the share of rows whose class is predicted right.

        Returns
        -------
        float
            The accuracy.
        """
        check_is_fitted(self)
        rows = check_labeled(self, X, y, sample_weight, reset=False)
        work = partial(_right_and_all, classifier=self, classes=rows.classes)
        right, total = rows.source.fold(work, add)(n_jobs=self.n_jobs, codes=rows.codes)
        return float(right / total)

    def calibrate(self, X: Rows, y: ClassLabels, sample_weight: Weights = None) -> Self:
        """Set the temperature to that under which rows are the most probable to have their classes.

        The rows should not be those that the classifier was fitted to. A `temperature_` T divides
        the logarithms of prior times density (Guo, Pleiss, Sun and Weinberger, 2017, "On
        calibration of modern neural networks", ICML): above 1 where densities that are not quite
        right make the classifier overconfident. Predictions stay as they are.

        Raises
        ------
        ValueError
            If a row has a class that the classifier does not know.
        """
        check_is_fitted(self)
        rows = check_labeled(self, X, y, sample_weight, reset=False, classes=self.classes_)
        log_loss: Callable[[float], float]
        if isinstance(rows.source, DaskSource):

            def log_loss(log_temperature: float) -> float:
                work = partial(_log_loss_of, classifier=self, log_temperature=log_temperature)
                return float(rows.source.fold(work, add)(n_jobs=self.n_jobs, codes=rows.codes))

        else:
            log_loss = partial(_log_loss, *_relative_joints(self, rows.source, rows.codes))
        found = minimize_scalar(log_loss, bounds=_LOG_TEMPERATURES, method="bounded")
        self.temperature_ = float(np.exp(found.x))
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mixtures_")

    def _keep(self, fitted: FittedClasses) -> None:
        """Set the attributes that describe the classes."""
        self.mixtures_ = fitted.mixtures
        self.class_prior_ = fitted.priors
        self.structure_shares_ = fitted.shares
        self.n_iter_ = max(1, fitted.n_iter)
        self._statistics = fitted.statistics
        self.temperature_ = 1.0
        for name in ("reject_below_", "reject_label_"):
            self.__dict__.pop(name, None)

    def _priors(self, n_classes: int) -> FloatArray | None:
        """Return the priors that were given, checked."""
        if self.priors is None:
            return None
        priors = check_values(self.priors, (n_classes,), "priors")
        if priors.min() < 0.0 or abs(priors.sum() - 1.0) > 1e-8:
            raise ValueError(
                "priors must be non-negative and sum to 1, but got a smallest one of "
                f"{priors.min():.6g} and a sum of {priors.sum():.8g}"
            )
        return priors

    def _reject_label(self, classes: npt.NDArray[Any]) -> Any:
        """Return what stands for rejected rows."""
        if self.reject_below is None:
            return None
        text = all(isinstance(each, str) for each in classes.tolist())
        label = self.reject_label
        if label is None:
            label = "rejected" if text else -1
        if label in classes.tolist():
            raise ValueError(
                f"reject_label is {label!r}, and so is one of the classes: give another"
            )
        if text != isinstance(label, str):
            raise ValueError(
                f"reject_label must be {'text' if text else 'a number'}, as the classes are; got "
                f"{label!r}"
            )
        return label

    def _training_levels(self, rows: LabeledRows, share: float) -> FloatArray:
        """Return for each class what has a share of the log-densities of its own rows below it."""
        levels = np.full(len(self.classes_), -np.inf)
        totals = class_totals(rows)
        for c, mixture in enumerate(self.mixtures_):
            if totals[c] > 0.0 and self.class_prior_[c] > 0.0:
                own = choose_rows(rows.source, rows.codes == c)
                levels[c] = score_cut(mixture, own, share)
        return levels

    def _learn_statistics(
        self, rows: LabeledRows, model: ClassModel, factors: FloatArray, priors: FloatArray | None
    ) -> None:
        """Learn rows of classes that have one component each."""
        if self._statistics is None and hasattr(self, "mixtures_"):
            raise ValueError(_OTHER_MODEL)
        if lacks_values(rows.source):
            raise ValueError(
                "partial_fit of one component for each class adds up sums of whole rows, and some "
                "rows of X lack values: use fit, or common_structure=False"
            )
        new = class_statistics(
            rows.source, rows.codes, factors, diagonal=model.is_diagonal, n_jobs=self.n_jobs
        )
        total = new
        if self._statistics is not None:
            if self._statistics.is_diagonal != new.is_diagonal:
                raise ValueError(_OTHER_MODEL)
            total = self._statistics + new
            total = total.about(total.means())
        if total.weight > 0.0:
            self._keep(ClassFitting.of(self, model, factors, priors).solved(total))

    def _learn_mixtures(
        self, rows: LabeledRows, model: ClassModel, factors: FloatArray, priors: FloatArray | None
    ) -> None:
        """Learn rows of classes that have mixtures."""
        several = len(model.kinds) > 1 or any(len(each) > 1 for each in model.numbers)
        if model.common or several:
            asked = "share a structure" if model.common else "choose among several"
            raise ValueError(
                f"partial_fit cannot let mixtures {asked}: give one covariance_type, one "
                "n_components for each class and common_structure=False, or use fit"
            )
        if self._statistics is not None:
            raise ValueError(_OTHER_MODEL)
        if self._learners is None:
            self._learners = list(getattr(self, "mixtures_", ())) or [
                GaussianMixture() for _ in self.classes_
            ]
        seeds = check_random_state(self.random_state).randint(
            np.iinfo(np.int32).max, size=len(self.classes_)
        )
        sizes = rows.sizes()
        with ExitStack() as stack:
            for c, (learner, numbers) in enumerate(zip(self._learners, model.numbers, strict=True)):
                stack.enter_context(UnchangedOnFailure(learner))
                learner.set_params(
                    n_components=numbers[0],
                    covariance_type=name_or_instance(model.kinds[0]),
                    reg_covar=self.reg_covar,
                    missing=self.missing,
                    n_init=self.n_init,
                    n_jobs=self.n_jobs,
                    random_state=int(seeds[c]),
                )
                if sizes[c]:
                    learner.partial_fit(choose_rows(rows.source, rows.codes == c))
        before = np.zeros(len(self.classes_)) if self._weights is None else self._weights
        self._weights = before + class_totals(rows) * factors
        if all(hasattr(learner, "means_") for learner in self._learners):
            found = self._weights / self._weights.sum() if priors is None else priors
            n_iter = max(learner.n_iter_ for learner in self._learners)
            self._keep(FittedClasses(self._learners, found, {}, n_iter))

    def _mixtures(self) -> list[MixtureParameters]:
        return [mixture._parameters() for mixture in self.mixtures_]

    def _results(self, method: str, X: Rows) -> npt.NDArray[Any]:
        """Return what there is for each row."""
        return np.concatenate(list(self._result_blocks(method, X)))

    def _result_blocks(self, method: str, X: Rows) -> Iterator[npt.NDArray[Any]]:
        evaluations: dict[str, Callable[[_Densities], npt.NDArray[Any]]] = {
            "predict": self._classes,
            "predict_proba": lambda found: np.exp(self._log_posteriors(found)),
            "predict_log_proba": self._log_posteriors,
            "decision_function": self._decisions,
            "score_samples": self._log_density,
            "rejected": self._unexplained,
        }
        evaluate = evaluations[method]
        check_is_fitted(self)
        source: Source = check_source(self, X, missing=missing_policy(self, each_row=True))
        mixtures = self._mixtures()
        return (evaluate(self._densities(some, mixtures)) for some in pieces(source, ROWS_AT_ONCE))

    def _densities(
        self, rows: ArraySource, mixtures: list[MixtureParameters] | None = None
    ) -> _Densities:
        """Return the log-density of each row under each class, and where it is from."""
        mixtures = mixtures or self._mixtures()
        return _Densities(rows, mixtures, class_log_densities(rows, mixtures, n_jobs=self.n_jobs))

    def _log_joint(self, found: _Densities) -> FloatArray:
        """Return the logarithms of prior times density, from which posteriors follow."""
        return log_joint_of_classes(*found, self._log_priors(), n_jobs=self.n_jobs)

    def _log_priors(self) -> FloatArray:
        with np.errstate(divide="ignore"):  # a prior of 0 is allowed
            log_priors: FloatArray = np.log(self.class_prior_)
        return log_priors

    def _log_posteriors(self, found: _Densities) -> FloatArray:
        return log_posteriors(self._log_joint(found) / self.temperature_)

    def _log_density(self, found: _Densities) -> FloatArray:
        joint = found.log_densities + self._log_priors()
        density: FloatArray = np.logaddexp.reduce(joint, axis=1)
        return density

    def _decisions(self, found: _Densities) -> FloatArray:
        decisions = self._log_joint(found) / self.temperature_
        return decisions[:, 1] - decisions[:, 0] if decisions.shape[1] == 2 else decisions

    def _unexplained(self, found: _Densities) -> npt.NDArray[np.bool_]:
        scores = found.log_densities
        if found.rows.incomplete:
            each = zip(found.mixtures, scores.T, strict=True)
            scores = np.column_stack(
                [
                    whole_row_scores(mixture, found.rows.X, own) if mixture.weights.any() else own
                    for mixture, own in each
                ]
            )
        return np.asarray((scores < self.reject_below_).all(axis=1))

    def _classes(self, found: _Densities) -> npt.NDArray[Any]:
        best: npt.NDArray[Any] = self.classes_[self._log_joint(found).argmax(axis=1)]
        if not hasattr(self, "reject_below_"):
            return best
        label = np.asarray(self.reject_label_)
        dtype = np.result_type(best, label) if best.dtype.kind != "O" else best.dtype
        classes: npt.NDArray[Any] = best.astype(dtype)
        classes[self._unexplained(found)] = self.reject_label_
        return classes


def _right_and_all(
    source: Source,
    *,
    classifier: GaussianMixtureClassifier,
    classes: npt.NDArray[Any],
    n_jobs: int | None,
    codes: npt.NDArray[np.int64],
) -> FloatArray:
    """Return the weight of the rows whose class is predicted right, and that of all."""
    judge = copy(classifier)
    judge.n_jobs = n_jobs
    found = np.zeros(2)
    for some, own in labeled_pieces(source, codes):
        right = judge._classes(judge._densities(some)) == classes[own]
        weights = np.ones(len(own)) if some.weights is None else some.weights
        found += weights[right].sum(), weights.sum()
    return found


def _relative_joints(
    classifier: GaussianMixtureClassifier, source: Source, codes: npt.NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Return prior times density over that of the right class, as logarithms, and the weights."""
    joints, weights = [], []
    for some, own in labeled_pieces(source, codes):
        joint = classifier._log_joint(classifier._densities(some))
        with np.errstate(invalid="ignore"):  # impossible rows are left out below
            joints.append(joint - joint[np.arange(len(own)), own][:, None])
        weights.append(np.ones(len(own)) if some.weights is None else some.weights.copy())
    relative, weight = np.concatenate(joints), np.concatenate(weights)
    possible = np.isfinite(relative).any(axis=1) & (weight > 0.0)
    return relative[possible], weight[possible]


def _log_loss(relative: FloatArray, weight: FloatArray, log_temperature: float) -> float:
    """Return the negative log-probability of the right classes under a temperature."""
    scaled = relative * np.exp(-log_temperature)
    return float(weight @ np.logaddexp.reduce(scaled, axis=1))


def _log_loss_of(
    source: Source,
    *,
    classifier: GaussianMixtureClassifier,
    log_temperature: float,
    n_jobs: int | None,
    codes: npt.NDArray[np.int64],
) -> float:
    """Return the same for rows in partitions, whose densities are not kept."""
    judge = copy(classifier)
    judge.n_jobs = n_jobs
    return _log_loss(*_relative_joints(judge, source, codes), log_temperature)


def _model_level(mixture: GaussianMixture, share: float) -> float:
    """Return the level that a share of a mixture's own probability is below."""
    parameters = mixture._parameters()
    return density_level(parameters, share) if parameters.weights.any() else -np.inf
