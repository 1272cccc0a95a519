"""Why rows have a low density: each feature given the others, and the nearest ordinary row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from fastgmm.analysis.density_levels import level_of_features, whole_row_scores
from fastgmm.analysis.modes import Ascent, find_modes, precision_matrices
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_density
from fastgmm.mixture.marginals import marginal
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_NUMBERS_AT_ONCE = 2**21
"""Rows times components times features."""
_ASCENTS = 50
"""Steps of an ascent in one dimension, which doubles digits where components are apart."""
_BISECTIONS = 60
_STEPS = 200
_LARGEST_PULL = 1e12
_SMALLEST_PULL = 1e-12


@dataclass(frozen=True, eq=False)
class Explanations:
    """Why rows are ordinary or not.

    A row that lacks values is explained by the distribution of the features that it has. Its
    log-density is given as that which whole rows are as seldom below, as outlier detectors score.

    Attributes
    ----------
    log_densities : ndarray of shape (n_samples,)
        Log-densities of the rows, in nats.
    threshold : float
        The log-density below which a row is an outlier.
    surprises : ndarray of shape (n_samples, n_features)
        How surprising the value of each feature is given the others, in nats: by how much the
        log-density would rise if the feature alone had its expected value. At least 0, and the same
        in all units of the features. 0 for missing values.
    expected : ndarray of shape (n_samples, n_features)
        The most probable value of each feature given the others.
    components : ndarray of int64 of shape (n_samples,)
        The nearest component: that of the highest responsibility.
    distances : ndarray of shape (n_samples,)
        Mahalanobis distance from its mean.
    changes : ndarray of shape (n_samples, n_features)
        The smallest change that brings the row's log-density to the threshold, 0 for ordinary rows
        and for missing values.
        Changes are measured in standard deviations of the features under the mixture. Where the
        density has several modes, it is the smallest of those found on the ways to each of them.
    """

    log_densities: FloatArray
    threshold: float
    surprises: FloatArray
    expected: FloatArray
    components: npt.NDArray[np.int64]
    distances: FloatArray
    changes: FloatArray

    @property
    def is_outlier(self) -> npt.NDArray[np.bool_]:
        """Whether each row is below the threshold, shape (n_samples,)."""
        return self.log_densities < self.threshold

    @property
    def shares(self) -> FloatArray:
        """Each feature's share of the surprises of a row, which sum to 1, or are 0 if they are."""
        totals = self.surprises.sum(axis=1, keepdims=True)
        return self.surprises / np.where(totals > 0.0, totals, 1.0)


def explained(
    blocks: Iterable[npt.NDArray[np.floating]],
    parameters: MixtureParameters,
    threshold: float,
    *,
    n_jobs: int | None = None,
) -> Explanations:
    """Return why rows, which come in blocks, are ordinary or not."""
    step = max(1, _NUMBERS_AT_ONCE // (parameters.n_components * parameters.n_features))
    parts = [
        _explained_by_pattern(
            block[first : first + step].astype(np.float64), parameters, threshold, n_jobs
        )
        for block in blocks
        for first in range(0, len(block), step)
    ]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    return Explanations(threshold=threshold, **arrays)


_ARRAYS = [each.name for each in fields(Explanations) if each.name != "threshold"]


def _explained_by_pattern(
    X: FloatArray, parameters: MixtureParameters, threshold: float, n_jobs: int | None
) -> Explanations:
    """Return why rows are ordinary or not, each by its observed features."""
    missing = np.isnan(X)
    if not missing.any():
        return _explained_together(X, parameters, threshold, n_jobs)
    found = Explanations(
        log_densities=np.zeros(len(X)),
        threshold=threshold,
        surprises=np.zeros_like(X),
        expected=np.empty_like(X),
        components=np.full(len(X), parameters.log_weights.argmax(), dtype=np.int64),
        distances=np.zeros(len(X)),
        changes=np.zeros_like(X),
    )
    patterns, of_row = np.unique(missing, axis=0, return_inverse=True)
    for p, pattern in enumerate(patterns):
        rows, observed = np.flatnonzero(of_row.ravel() == p), np.flatnonzero(~pattern)
        for j in np.flatnonzero(pattern):  # given the observed ones, from wherever it may be
            both = np.append(observed, j)
            start = X[rows[:, None], both]
            start[:, -1] = parameters.weights @ parameters.means[:, j]
            steps = _expected(start, _Slopes.at(start, marginal(parameters, both)))[0]
            found.expected[rows, j] = steps[:, -1]
        if not len(observed):
            continue
        whole = len(observed) == X.shape[1]
        level = threshold if whole else level_of_features(parameters, observed, threshold)
        own = _explained_together(
            X[rows[:, None], observed], marginal(parameters, observed), level, n_jobs
        )
        for name in _ARRAYS:
            values, array = getattr(own, name), getattr(found, name)
            array[(rows[:, None], observed) if values.ndim == 2 else rows] = values
    found.log_densities[:] = whole_row_scores(parameters, X, found.log_densities)
    return found


class _Slopes(NamedTuple):
    """Log-densities of the components at rows, weights included, and how they change."""

    joint: FloatArray  # (M, K)
    slopes: FloatArray  # (M, K, D): P_k (x - μ_k)
    precisions: FloatArray  # (K, D): the diagonals of P_k
    squares: FloatArray  # (M, K): squared Mahalanobis distances

    @classmethod
    def at(cls, X: FloatArray, parameters: MixtureParameters) -> _Slopes:
        """Return them at some rows."""
        offsets = X[:, None, :] - parameters.means
        whiteners = parameters.whiteners
        if parameters.is_diagonal:
            white = offsets * whiteners
            slopes, precisions = white * whiteners, whiteners * whiteners
        else:
            white = np.einsum("kij,mkj->mki", whiteners, offsets)
            slopes = np.einsum("kij,mki->mkj", whiteners, white)
            precisions = np.einsum("kij,kij->kj", whiteners, whiteners)
        squares = (white * white).sum(axis=2)
        joint = parameters.log_weights + parameters.log_normalizers - 0.5 * squares
        return cls(joint, slopes, precisions, squares)


def _explained_together(
    X: FloatArray,
    parameters: MixtureParameters,
    threshold: float,
    n_jobs: int | None,
) -> Explanations:
    """Return why so many rows as fit in memory are ordinary or not."""
    at = _Slopes.at(X, parameters)
    log_densities = logsumexp(at.joint, axis=1)
    components = at.joint.argmax(axis=1)
    expected, best = _expected(X, at)
    changes = np.zeros_like(X)
    low = np.flatnonzero(log_densities < threshold)
    if len(low):
        changes[low] = _smallest_changes(X[low], parameters, threshold, n_jobs)
    return Explanations(
        log_densities=log_densities,
        threshold=threshold,
        surprises=np.maximum(best - log_densities[:, None], 0.0),  # below by rounding only
        expected=expected,
        components=components,
        distances=np.sqrt(at.squares[np.arange(len(X)), components]),
        changes=changes,
    )


def _expected(X: FloatArray, at: _Slopes) -> tuple[FloatArray, FloatArray]:
    """Return the most probable value of each feature given the others, and the log-density there.

    With the others as they are, component k is the normal density of x_j with the mean
    x_j - (P_k (x - μ_k))_j / P_kjj and the variance 1 / P_kjj (Bishop, PRML, eq. 2.75), times what
    does not depend on x_j. The highest point of their sum is found by the fixed-point iteration
    from the best of their means.
    """
    shifts = -at.slopes / at.precisions  # (M, K, D): of the means from x_j
    heights = at.joint[:, :, None] + 0.5 * at.slopes * at.slopes / at.precisions

    def terms(steps: FloatArray) -> FloatArray:
        return heights - 0.5 * at.precisions * (steps[:, None, :] - shifts) ** 2

    best = logsumexp(at.joint, axis=1)[:, None] * np.ones_like(X)
    steps = np.zeros_like(X)
    for k in range(at.joint.shape[1]):
        found = logsumexp(terms(shifts[:, k]), axis=1)
        better = found > best
        steps, best = np.where(better, shifts[:, k], steps), np.where(better, found, best)
    for _ in range(_ASCENTS):
        logs = terms(steps)
        pulls = np.exp(logs - logs.max(axis=1, keepdims=True)) * at.precisions
        steps = (pulls * shifts).sum(axis=1) / pulls.sum(axis=1)
    return X + steps, np.maximum(logsumexp(terms(steps), axis=1), best)


def _smallest_changes(
    X: FloatArray, parameters: MixtureParameters, threshold: float, n_jobs: int | None
) -> FloatArray:
    """Return the smallest changes of rows that bring their log-density up to a threshold.

    At the nearest row z of the level, (z - x) / s² is λ times the gradient of the log-density, with
    s the features' standard deviations. For a given λ, z is the maximum of the log-density minus
    |(z - x) / s|² / 2 λ, which is found by the iteration that finds modes, with one precision more;
    the larger λ, the higher it is, so that bisection finds the level.
    """
    weights = parameters.weights / parameters.weights.sum()
    middle = weights @ parameters.means
    covariances = parameters.covariances()
    own = covariances if parameters.is_diagonal else np.einsum("kii->ki", covariances)
    deviations = np.sqrt(weights @ (own + (parameters.means - middle) ** 2))
    precisions = precision_matrices(parameters)
    modes, _ = find_modes(parameters, n_jobs=n_jobs)
    best, least = np.zeros_like(X), np.full(len(X), np.inf)
    for place, height in zip(modes.locations, modes.log_densities, strict=True):
        if height < threshold and np.isfinite(least).all():
            break  # this hill and all others, which are lower, do not reach the threshold
        top = np.broadcast_to(place, X.shape)
        nearest = _toward(X, top, threshold, (parameters, precisions, deviations), n_jobs)
        lengths = (((nearest - X) / deviations) ** 2).sum(axis=1)
        shorter = lengths < least
        best[shorter], least[shorter] = (nearest - X)[shorter], lengths[shorter]
    return best


def _toward(
    X: FloatArray,
    top: FloatArray,
    threshold: float,
    mixture: tuple[MixtureParameters, FloatArray, FloatArray],
    n_jobs: int | None,
) -> FloatArray:
    """Return the nearest rows above a threshold on the way from a mode to rows below it."""
    parameters, feasible = mixture[0], top
    low = np.full(len(X), np.log(_SMALLEST_PULL))
    high = np.full(len(X), np.log(_LARGEST_PULL))
    for _ in range(_BISECTIONS):
        pull = 0.5 * (low + high)
        tried = _pulled(X, feasible, np.exp(pull), mixture, n_jobs)
        enough = log_density(ArraySource(tried), parameters, n_jobs=n_jobs) >= threshold
        feasible = np.where(enough[:, None], tried, feasible)
        low, high = np.where(enough, low, pull), np.where(enough, pull, high)
    return feasible


def _pulled(
    X: FloatArray,
    start: FloatArray,
    pull: FloatArray,
    mixture: tuple[MixtureParameters, FloatArray, FloatArray],
    n_jobs: int | None,
) -> FloatArray:
    """Return where log-density and nearness to the rows X balance, reached from a start."""
    parameters, precisions, deviations = mixture
    found = start.copy()
    on_way = np.arange(len(X))
    holds = 1.0 / (pull[:, None] * deviations**2)
    for _ in range(_STEPS):
        Z, hold = found[on_way], holds[on_way]
        ascent = Ascent.at(Z, parameters, precisions, n_jobs)
        gradients = ascent.gradients + hold * (X[on_way] - Z)
        curvatures = ascent.pulls + hold[:, :, None] * np.eye(X.shape[1])
        steps = np.linalg.solve(curvatures, gradients[:, :, None])[:, :, 0]
        found[on_way] += steps
        moving = (np.abs(steps) > 1e-10 * (deviations + np.abs(Z))).any(axis=1)
        on_way = on_way[moving]
        if not len(on_way):
            break
    return found
