"""Kullback-Leibler divergences: closed between Gaussians, estimated and bounded between mixtures.

For mixtures f = Σ π_a f_a and g = Σ ω_b g_b there is no closed form. What stands in for it here is
described by Hershey and Olsen (2007), "Approximating the Kullback Leibler divergence between
Gaussian mixture models", ICASSP; the matchings are by Goldberger, Gordon and Greenspan (2003),
ICCV, and Do (2003), IEEE Signal Processing Letters 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import entr, logsumexp

from fastgmm.analysis.bootstrap import DrawnSource
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_density, responsibilities
from fastgmm.mixture.parameters import MixtureParameters, invert_triangles
from fastgmm.mixture.statistics import FloatArray

_MOST_STEPS = 10_000
_TOLERANCE = 1e-12


class MonteCarloEstimate(NamedTuple):
    """A number that was estimated from draws.

    Attributes
    ----------
    value : float
        The estimate, in nats.
    standard_error : float
        Its standard deviation, itself estimated.
    """

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class DivergenceApproximations:
    """What stands in for the Kullback-Leibler divergence of two mixtures, in nats.

    Two are upper bounds: the divergence is at most the smaller of them. The other two are
    approximations, which may be above or below it.

    Attributes
    ----------
    variational_upper_bound : float
        A bound: the smallest one that any shares of each component of one mixture in each of the
        other give (Hershey and Olsen, 2007). At most `matched_upper_bound`, and at most the
        convexity bound Σ π_a ω_b KL(f_a, g_b).
    matched_upper_bound : float
        A bound: the best of those that give each component of the first mixture one of the second
        for itself (Do, 2003). Infinite if the second has fewer components.
    variational_approximation : float
        No bound (Hershey and Olsen, 2007). Exact for equal mixtures, and the closest to draws as
        a rule.
    matched_approximation : float
        No bound: each component of the first has the nearest one of the second (Goldberger,
        Gordon and Greenspan, 2003). Good where the components of each mixture are well apart.
    """

    variational_upper_bound: float
    matched_upper_bound: float
    variational_approximation: float
    matched_approximation: float


def gaussian_divergences(p: MixtureParameters, q: MixtureParameters) -> FloatArray:
    """Return the divergence of each component of one mixture from each of another."""
    divergences = np.empty((p.n_components, q.n_components))
    factors = covariance_factors(p, diagonal=p.is_diagonal and q.is_diagonal)
    for b in range(q.n_components):
        whitener = q.whiteners[b]
        offsets = p.means - q.means[b]
        if factors.ndim == 2:
            traces = ((whitener * factors) ** 2).sum(axis=1)
            squares = ((whitener * offsets) ** 2).sum(axis=1)
        else:
            if q.is_diagonal:
                whitener = np.diag(whitener)
            traces = ((whitener @ factors) ** 2).sum(axis=(1, 2))
            squares = ((offsets @ whitener.T) ** 2).sum(axis=1)
        normalizers = p.log_normalizers - q.log_normalizers[b]
        divergences[:, b] = normalizers + 0.5 * (traces + squares - p.n_features)
    return np.maximum(divergences, 0.0)  # below by rounding only


def covariance_factors(parameters: MixtureParameters, *, diagonal: bool) -> FloatArray:
    """Return lower triangular factors of the covariances, or standard deviations if `diagonal`."""
    if not parameters.is_diagonal:
        return invert_triangles(parameters.whiteners)
    deviations: FloatArray = 1.0 / parameters.whiteners
    return deviations if diagonal else deviations[:, :, None] * np.eye(parameters.n_features)


def estimated_divergence(
    p: MixtureParameters,
    q: MixtureParameters,
    *,
    n_draws: int,
    seed: int,
    n_jobs: int | None = None,
) -> MonteCarloEstimate:
    """Return the Kullback-Leibler divergence of two mixtures from draws of the first."""

    def ratios(rows: ArraySource) -> FloatArray:
        found: FloatArray = log_density(rows, p, n_jobs=n_jobs)
        found -= log_density(rows, q, n_jobs=n_jobs)
        return found

    return _mean_over_draws(p, ratios, n_draws, seed)


def estimated_entropy(
    p: MixtureParameters, *, n_draws: int, seed: int, n_jobs: int | None = None
) -> MonteCarloEstimate:
    """Return the differential entropy of a mixture, of which only one term needs draws.

    Of a row X and its component Z it is H(X | Z) + H(Z) - H(Z | X): the mean entropy of the
    components and the entropy of the weights are closed, and the last, the mean entropy of the
    responsibilities, is 0 where components are far apart and at most log K.
    """
    p = _with_weight(p)
    own = 0.5 * p.n_features - p.log_normalizers
    closed = float(p.weights @ own + entr(p.weights).sum())

    def uncertainty(rows: ArraySource) -> FloatArray:
        found: FloatArray = entr(responsibilities(rows, p, n_jobs=n_jobs)).sum(axis=1)
        return found

    unknown = _mean_over_draws(p, uncertainty, n_draws, seed)
    return MonteCarloEstimate(closed - unknown.value, unknown.standard_error)


def _mean_over_draws(
    p: MixtureParameters, value: Callable[[ArraySource], FloatArray], n_draws: int, seed: int
) -> MonteCarloEstimate:
    """Return the mean of a value of each row over draws of a mixture."""
    total = squares = shift = 0.0
    drawn = 0
    for X, _ in DrawnSource(p, n_draws, np.float64, seed, 1).blocks():
        values = value(ArraySource(X))
        if not drawn:
            shift = float(values.mean())
        total += float((values - shift).sum())
        squares += float(((values - shift) ** 2).sum())
        drawn += len(X)
    offset = total / drawn
    variance = max(squares / drawn - offset**2, 0.0) * drawn / (drawn - 1)
    return MonteCarloEstimate(shift + offset, float(np.sqrt(variance / drawn)))


def approximated_divergence(p: MixtureParameters, q: MixtureParameters) -> DivergenceApproximations:
    """Return bounds and approximations of the Kullback-Leibler divergence of two mixtures."""
    p, q = _with_weight(p), _with_weight(q)
    across = gaussian_divergences(p, q)
    weights, logs, others = p.weights, p.log_weights, q.log_weights
    within = logsumexp(logs - gaussian_divergences(p, p), axis=1)
    nearest = across - others
    matched = float("inf")
    if p.n_components <= q.n_components:
        costs = weights[:, None] * (logs[:, None] + nearest)
        matched = float(costs[linear_sum_assignment(costs)].sum())
    return DivergenceApproximations(
        variational_upper_bound=_variational_bound(weights, logs, others, across),
        matched_upper_bound=matched,
        variational_approximation=float(weights @ (within - logsumexp(others - across, axis=1))),
        matched_approximation=float(weights @ (logs + nearest.min(axis=1))),
    )


def _variational_bound(
    weights: FloatArray, logs: FloatArray, others: FloatArray, divergences: FloatArray
) -> float:
    """Return the variational upper bound, by turns over its two sets of shares.

    Both sets sum to the weights of one mixture, φ over b to π_a and ψ over a to ω_b. The bound is
    the divergence of φ from ψ plus Σ φ_ab KL(f_a, g_b), and falls with each turn. Here ψ_ab is
    ω_b φ_ab / Σ_a φ_ab, and the best φ for it makes the bound Σ_a π_a (log π_a - log Σ_b ψ_ab
    exp(-KL(f_a, g_b))).
    """
    log_shares = logs[:, None] + others
    bound = np.inf
    for _ in range(_MOST_STEPS):
        log_parts = others + log_shares - logsumexp(log_shares, axis=0)
        joint = log_parts - divergences
        sums = logsumexp(joint, axis=1)
        log_shares = logs[:, None] + joint - sums[:, None]
        before, bound = bound, float(weights @ (logs - sums))
        if before - bound <= _TOLERANCE * max(1.0, abs(bound)):
            break
    return bound


def _with_weight(parameters: MixtureParameters) -> MixtureParameters:
    """Return a mixture without components of weight 0, with weights that sum to 1."""
    kept = parameters.of(np.isfinite(parameters.log_weights))
    return replace(kept, log_weights=kept.log_weights - logsumexp(kept.log_weights))
