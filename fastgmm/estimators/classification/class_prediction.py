"""Prediction of rows by a fitted classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from fastgmm.analysis.density_levels import whole_row_scores
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.missing.incomplete import pieces
from fastgmm.em.models.class_mixtures import (
    ROWS_AT_ONCE,
    class_log_densities,
    labeled_pieces,
    log_joint_of_classes,
    log_posteriors,
)
from fastgmm.estimators.classification.class_labels import ClassLabels, check_labeled
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.evaluation import BlockwiseProbabilities, Rows, Weights
from fastgmm.estimators.shared.validation import check_source
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_LOG_TEMPERATURES = (-5.0, 7.0)
"""Natural logarithms of the temperatures that `calibrate` searches between."""


class _Densities(NamedTuple):
    """Rows, the mixtures of all classes, and the log-density of each row under each."""

    rows: ArraySource
    mixtures: list[MixtureParameters]
    log_densities: FloatArray


class ClassPrediction(BlockwiseProbabilities):
    """The methods of a classifier that need nothing but its fitted attributes."""

    n_jobs: int | None
    reject_label_: Any
    classes_: npt.NDArray[Any]
    class_prior_: FloatArray
    mixtures_: list[GaussianMixture]
    reject_below_: FloatArray
    temperature_: float

    def predict(self, X: Rows) -> npt.NDArray[Any]:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            One of `classes_`; with `reject_below`, `reject_label_` for rows that no class explains.
        """
        return self._results("predict", X)

    def predict_proba(self, X: Rows) -> FloatArray:
        """Return the posterior probability of each class for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Probabilities that sum to 1 for each row, in the order of `classes_`.
        """
        return self._results("predict_proba", X)

    def predict_log_proba(self, X: Rows) -> FloatArray:
        """Return the logarithm of the posterior probability of each class for each row.

        Worked out as such: where the probability itself is too small for a float64 the logarithm
        is still exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            In nats.
        """
        return self._results("predict_log_proba", X)

    def decision_function(self, X: Rows) -> FloatArray:
        """Return what the posterior probabilities are the softmax of.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes) or (n_samples,)
            Logarithm of prior times density for each class, divided by `temperature_`. With two
            classes, that of the second less that of the first, as in scikit-learn.
        """
        return self._results("decision_function", X)

    def score_samples(self, X: Rows) -> FloatArray:
        """Return the log-density of each row, of whatever class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            Logarithm of the sum over the classes of prior times density, in nats.
        """
        return self._results("score_samples", X)

    def rejected(self, X: Rows) -> npt.NDArray[np.bool_]:
        """Predict which rows are explained by no class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.

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

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.
        y : array-like of shape (n_samples,) or str
            Their classes, or the name of the column of `X` that holds them.
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights of the rows, or the name of the column of `X` that holds them.

        Returns
        -------
        float
            The accuracy.
        """
        check_is_fitted(self)
        rows = check_labeled(self, X, y, sample_weight, reset=False)
        found = [
            (self._classes(self._densities(some)), some.weights)
            for some in pieces(rows.source, ROWS_AT_ONCE)
        ]
        weights = [each for _, each in found if each is not None]
        return float(
            accuracy_score(
                rows.classes[rows.codes],
                np.concatenate([each for each, _ in found]),
                sample_weight=np.concatenate(weights) if weights else None,
            )
        )

    def calibrate(self, X: Rows, y: ClassLabels, sample_weight: Weights = None) -> Self:
        """Set the temperature to that under which rows are the most probable to have their classes.

        The rows should not be those that the classifier was fitted to. A `temperature_` T divides
        the logarithms of prior times density (Guo, Pleiss, Sun and Weinberger, 2017, "On
        calibration of modern neural networks", ICML): above 1 where densities that are not quite
        right make the classifier overconfident. Predictions stay as they are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows.
        y : array-like of shape (n_samples,) or str
            Their classes, or the name of the column of `X` that holds them.
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights of the rows, or the name of the column of `X` that holds them.

        Returns
        -------
        GaussianMixtureClassifier
            The classifier itself.

        Raises
        ------
        ValueError
            If a row has a class that the classifier does not know.
        """
        check_is_fitted(self)
        rows = check_labeled(self, X, y, sample_weight, reset=False, classes=self.classes_)
        joints, weights = [], []
        for some, codes in labeled_pieces(rows.source, rows.codes):
            joint = self._log_joint(self._densities(some))
            # Relative to the class that is right, which is all that its probability depends on.
            with np.errstate(invalid="ignore"):  # impossible rows are left out below
                joints.append(joint - joint[np.arange(len(codes)), codes][:, None])
            weights.append(np.ones(len(codes)) if some.weights is None else some.weights.copy())
        relative, weight = np.concatenate(joints), np.concatenate(weights)
        possible = np.isfinite(relative).any(axis=1) & (weight > 0.0)
        relative, weight = relative[possible], weight[possible]

        def log_loss(log_temperature: float) -> float:
            scaled = relative * np.exp(-log_temperature)
            return float(weight @ np.logaddexp.reduce(scaled, axis=1))

        found = minimize_scalar(log_loss, bounds=_LOG_TEMPERATURES, method="bounded")
        self.temperature_ = float(np.exp(found.x))
        return self

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
        source: Source = check_source(self, X, each_row=True)
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
