"""`GaussianMixtureOutlierDetector`: rows where a mixture's density is low."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis.density_levels import density_level
from fastgmm.analysis.explanations import Explanations
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import observed_rows
from fastgmm.docstrings import documented
from fastgmm.em.missing.incomplete import pieces
from fastgmm.em.online.recent_scores import RecentScores
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.operating_point import (
    OperatingPoint,
    Target,
    check_point,
    choose_point,
    outlier_labels,
    point_at,
)
from fastgmm.estimators.shared.evaluation import BlockwiseResults, explained_rows
from fastgmm.estimators.shared.interfaces import FloatingArray, Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.estimators.shared.mixture_owner import MixtureOwner
from fastgmm.estimators.shared.score_thresholds import (
    ROWS_AT_ONCE,
    learn_scored,
    row_scores,
    scored,
    scores_by_label,
    training_cut,
)
from fastgmm.estimators.shared.validation import (
    Missing,
    UnchangedOnFailure,
    check_source,
    constraints_of,
    missing_policy,
    validated_partial_fit,
)
from fastgmm.io.states import Size, State, from_state, require, to_state, typed
from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure

AUTOMATIC_SHARE = 0.05
"""The share of its own rows that a mixture calls outliers with ``contamination="auto"``."""


@documented()
class GaussianMixtureOutlierDetector(BlockwiseResults, MixtureOwner, OutlierMixin, BaseEstimator):
    """Outlier detection by the density of a Gaussian mixture.

    A row is an outlier if its log-density under the mixture is below a threshold, `offset_`. This
    is a share of the training rows, a level of the mixture itself, or chosen from labeled rows
    by `choose_threshold`.

    Parameters
    ----------
    n_components : int, default=1
        Number of components of the mixture.
    covariance_type : str or CovarianceStructure, default="full"
        Type of the covariance parameters; see `GaussianMixture`.
    contamination : "auto" or float, default="auto"
        Proportion of outliers among the training rows, above 0 and at most 0.5: this proportion of
        their weight is below `offset_`. "auto" takes the level below which the mixture has at most
        a twentieth of its own probability, whatever the training rows are.
    tol, reg_covar, max_iter, n_init, random_state, n_jobs
        As for `GaussianMixture`.
    missing : {"error", "drop", "model"}, default="error"
        How to handle missing values; see `GaussianMixture`. With "model", the score of a row that
        lacks values is the log-density that whole rows are as seldom below as what is observed of
        it is below its own.
    forgetting : float, default=1.0
        Below 1, the rows of each unit that `partial_fit` learns count at most this many times those
        of the next, for the mixture and the threshold alike, so that both track a drifting stream.

    Attributes
    ----------
    mixture_ : GaussianMixture
        The fitted mixture.
    offset_ : float
        The threshold, in nats.
    operating_point_ : OperatingPoint
        Performance of the threshold on the labeled rows that it was chosen from, and the curves of
        all other thresholds; only after `choose_threshold`.
    n_iter_ : int
        Number of iterations of the mixture, as its own `n_iter_`.

    See Also
    --------
    GaussianMixture : The density itself, and more parameters for it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixtureOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> detector = GaussianMixtureOutlierDetector(contamination=0.02).fit(X)
    >>> int((detector.predict(X) == -1).sum())
    4
    >>> detector.predict([[0.0, 0.0], [8.0, 8.0]])
    array([ 1, -1])
    """

    mixture_: GaussianMixture
    offset_: float
    operating_point_: OperatingPoint
    n_features_in_: int

    _recent: RecentScores | None = None
    """Distribution of the scores of recent rows, which `partial_fit` continues from."""

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType | CovarianceStructure = "full",
        contamination: Literal["auto"] | float = "auto",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        missing: Missing = "error",
        forgetting: float = 1.0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.contamination = contamination
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.missing = missing
        self.forgetting = forgetting

    _parameter_constraints = constraints_of(
        __init__,
        contamination=[StrOptions({"auto"}), Interval(Real, 0.0, 0.5, closed="right")],
    )

    def fit_predict(
        self, X: Rows, y: Any = None, sample_weight: Weights = None
    ) -> npt.NDArray[np.int64]:
        """Fit the detector to rows and predict which of them are outliers.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The same as ``fit(X).predict(X)``.
        """
        return self.fit(X, y, sample_weight=sample_weight).predict(X)

    @validated_partial_fit
    def partial_fit(
        self,
        X: Rows,
        y: Any = None,  # noqa: ARG002 - taken so that the detector can be part of a pipeline
        sample_weight: Weights = None,
    ) -> Self:
        """Update the mixture with further rows, and the threshold with it.

        The mixture is updated as by `GaussianMixture.partial_fit`, which waits for enough rows to
        initialize it. With ``contamination="auto"`` the threshold is always that of the mixture.
        With a number, each batch is scored before it is learned, and the distribution of the scores
        is blended with those of the past by the steps of the mixture itself, so that both remember
        the same rows: `offset_` is its quantile. A threshold that was chosen by `choose_threshold`
        stays as it is.

        Raises
        ------
        ValueError
            If the rows or the weights are invalid, or not those of the mixture so far; what was
            learned before the batch stays.
        IllDefinedCovarianceError
            If a component collapses and `reg_covar` is 0.

        Warns
        -----
        DegenerateComponentWarning
            If a component lost all its points or its spread.
        """
        learned = False
        with UnchangedOnFailure(self) as unchanged:
            source = check_source(self, X, sample_weight, reset=not hasattr(self, "mixture_"))
            if not hasattr(self, "mixture_"):
                self.mixture_ = GaussianMixture()
            self.mixture_.set_params(**self._mixture_parameters())
            try:
                for rows in self.mixture_._batches(observed_rows(source)):
                    batch = ArraySource(
                        rows.X, rows.weights, source.feature_names, incomplete=rows.incomplete
                    )
                    if isinstance(self.contamination, str):
                        self.mixture_.partial_fit(batch)
                    else:
                        self._recent = learn_scored(
                            self.mixture_, batch, self._recent, self.contamination
                        )
                    learned = True
            finally:
                if learned:
                    self._follow()
                    unchanged.renew()
        return self

    @lazy_on_collections
    def score_samples(self, X: Rows) -> FloatingArray:
        """Return the log-density of each row: the lower, the more of an outlier.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities in nats, in the dtype of the rows.
        """
        source = self._checked(X)
        if source.incomplete:
            return np.concatenate(list(self._score_blocks(source)))
        return self.mixture_.score_samples(source)

    @lazy_on_collections
    def decision_function(self, X: Rows) -> FloatArray:
        """Return the log-density of each row minus the threshold.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            ``score_samples(X) - offset_``, negative for outliers.
        """
        return self._decisions(self.score_samples(X))

    @lazy_on_collections
    def predict(self, X: Rows) -> npt.NDArray[np.int64]:
        """Predict which rows are outliers.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            -1 for outliers, 1 for others.
        """
        return _labels(self.decision_function(X))

    def decision_function_blocks(self, X: Rows) -> Iterator[FloatArray]:
        """Yield what `decision_function` returns, block by block, as the rows are read.

        Yields
        ------
        ndarray of float64 of shape (n_rows,)
            How far above the threshold the next rows are.
        """
        return self._result_blocks("decision_function", X)

    def explain(self, X: Rows) -> Explanations:
        """Explain why rows are outliers or not.

        Returns
        -------
        Explanations
            For each row: how surprising each feature is given the others, the nearest component,
            and the smallest change that brings it to the threshold, `offset_`.

        Raises
        ------
        ValueError
            If rows lack values and `missing` is "error".
        """
        check_is_fitted(self)
        source = check_source(self, X, missing=missing_policy(self, each_row=True))
        return explained_rows(self, source, self.mixture_._parameters(), float(self.offset_))

    def choose_threshold(
        self,
        X: Rows,
        y: ArrayLike,
        target: Target = "f1",
        value: float | None = None,
        *,
        sample_weight: Weights = None,
    ) -> OperatingPoint:
        """Set the threshold to the one that does best what is wanted on labeled rows.

        The rows need not be, and better are not, those that the mixture was fitted to.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            -1 for outliers and 1 for inliers, or True (1) for outliers and False (0) for inliers.
            Of a Dask collection, an array or series of Dask's: its scores are summed up where the
            rows lie, rounded until 100,000 different ones at most are left for each label.
        target : {"f1", "precision", "false_positive_rate"}, default="f1"
            What is wanted: the highest F1 score for outliers; the highest recall with at least a
            precision of `value`; or the highest recall with at most a false positive rate of
            `value`. Of several thresholds that do it equally well, it is the one that calls the
            fewest rows outliers.
        value : float, default=None
            The precision or the rate, from 0 to 1; not for "f1".

        Returns
        -------
        OperatingPoint
            What the threshold does to the rows, and the curves of all others: also in
            `operating_point_`.

        Raises
        ------
        ValueError
            If the labels, the target or the value are not possible, or no threshold has the
            precision.
        """
        labeled = self._labeled(X, y, sample_weight)
        self.operating_point_ = choose_point(*labeled, target=target, value=value)
        self.offset_ = self.operating_point_.offset
        return self.operating_point_

    def operating_point(
        self, X: Rows, y: ArrayLike, *, sample_weight: Weights = None
    ) -> OperatingPoint:
        """Return what the threshold does to labeled rows, and the curves of all others.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            As for `choose_threshold`.

        Returns
        -------
        OperatingPoint
            What it does.

        Raises
        ------
        ValueError
            If the labels are not possible.
        """
        labeled = self._labeled(X, y, sample_weight)
        return point_at(float(self.offset_), *labeled)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "offset_")

    def _to_state(self) -> State:
        values, arrays = super()._to_state()
        values["offset"] = float(self.offset_)
        if (point := vars(self).get("operating_point_")) is not None:
            own = to_state(point, "operating_point")
            values["operating_point"] = own.values
            arrays |= own.arrays
        if self._recent is not None:
            arrays |= to_state(self._recent, "recent").arrays
        return State(values, arrays)

    @classmethod
    def _from_state(cls, state: State) -> Self:
        arrays = dict(state.arrays)
        own: dict[str, State] = {}
        for prefix in ("recent", "operating_point"):
            names = [name for name in arrays if name.startswith(prefix)]
            taken = {name: arrays.pop(name) for name in names}
            shapes = {each.shape for each in taken.values()}
            listed = f"the arrays {', '.join(sorted(names))}"
            require(len(shapes) <= 1, f"{listed} are of one length; they differ in shape")
            sound = all(len(shape) == 1 and shape[0] > 0 for shape in shapes)
            require(sound, f"{listed} are lists of numbers")
            own[prefix] = State(state.values.get(prefix, {}), taken)
        detector = super()._from_state(State(state.values, arrays))
        detector.offset_ = typed(state.values["offset"], float, "offset")
        K, D = detector.mixture_.means_.shape
        size = Size(K, D, detector.mixture_._structure().is_diagonal)
        detector._recent = None
        if own["recent"].arrays:
            recent = from_state(RecentScores, "recent", own["recent"], size)
            require(bool((np.diff(recent.values) >= 0.0).all()), "recent_values ascend")
            require(abs(recent.masses.sum() - 1.0) < 1e-6, "recent_masses sum to 1")
            detector._recent = recent
        if "operating_point" in state.values:
            point = from_state(OperatingPoint, "operating_point", own["operating_point"], size)
            check_point(point)
            detector.operating_point_ = point
        return detector

    def _take(self, mixture: GaussianMixture, source: Source) -> None:
        recent = None
        if isinstance(self.contamination, str):
            offset = density_level(mixture._parameters(), AUTOMATIC_SHARE)
        else:
            offset, recent = training_cut(mixture, source, self.contamination)
        self.__dict__.pop("operating_point_", None)
        self.mixture_, self.offset_, self._recent = mixture, offset, recent

    def _follow(self) -> None:
        """Set the threshold by what the mixture has learned, unless it was chosen."""
        if hasattr(self.mixture_, "means_") and not hasattr(self, "operating_point_"):
            if isinstance(self.contamination, str):
                self.offset_ = density_level(self.mixture_._parameters(), AUTOMATIC_SHARE)
            elif self._recent is not None:
                self.offset_ = self._recent.cut(self.contamination)

    def _checked(self, X: Rows, sample_weight: Weights = None, *, each_row: bool = True) -> Source:
        """Return checked rows."""
        check_is_fitted(self, "mixture_")
        return check_source(self, X, sample_weight, missing=missing_policy(self, each_row=each_row))

    def _score_blocks(self, source: Source) -> Iterator[FloatingArray]:
        """Yield the scores of rows."""
        if not source.incomplete:
            return self.mixture_.score_samples_blocks(source)
        return (row_scores(self.mixture_, rows) for rows in pieces(source, ROWS_AT_ONCE))

    def _result_blocks(self, method: str, X: Rows) -> Iterator[npt.NDArray[Any]]:
        scores = self._score_blocks(self._checked(X))
        if method == "score_samples":
            return scores
        decisions = map(self._decisions, scores)
        return map(_labels, decisions) if method == "predict" else decisions

    def _decisions(self, scores: FloatingArray) -> FloatArray:
        # In double precision: the threshold lies between numbers of the scores' precision.
        return np.subtract(scores, self.offset_, dtype=np.float64)

    def _labeled(
        self, X: Rows, y: ArrayLike, sample_weight: Weights
    ) -> tuple[npt.NDArray[np.bool_], FloatArray, FloatArray | None]:
        """Return which rows are outliers, their scores and their weights."""
        source = self._checked(X, sample_weight, each_row=False)
        if source.partition_sizes is not None:
            found = scores_by_label(self.mixture_, source, y)
            labels = np.repeat(list(found), [len(scores) for scores, _ in found.values()])
            scores, weights = map(np.concatenate, zip(*found.values(), strict=True))
            return outlier_labels(labels, len(scores)), scores, weights
        # The weights of a block may be overwritten once the next one is asked for.
        pieces = [
            (scores, None if weights is None else weights.copy())
            for scores, weights in scored(self.mixture_, source)
        ]
        scores = np.concatenate([each for each, _ in pieces]).astype(np.float64)
        masses = [weights for _, weights in pieces if weights is not None]
        left_out = source.left_out
        labels = outlier_labels(y, len(scores) if left_out is None else len(left_out))
        if left_out is not None:
            labels = labels[~left_out]
        return labels, scores, np.concatenate(masses) if masses else None


def _labels(decisions: FloatArray) -> npt.NDArray[np.int64]:
    return np.where(decisions < 0.0, -1, 1)
