"""Variational Bayes once more, as plainly as NumPy can say it.

The formulas are those of Bishop, *Pattern Recognition and Machine Learning*, section 10.2, term by
term, with SciPy's entropies. Everything is a matrix here, whatever the structure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma
from scipy.stats import beta, dirichlet, wishart

from tests import oracle


@dataclass
class Prior:
    kind: str
    concentration: float
    mean: np.ndarray
    mean_precision: float
    scatter: np.ndarray
    degrees: float


@dataclass
class Posterior:
    concentrations: np.ndarray
    means: np.ndarray
    mean_precisions: np.ndarray
    scales: np.ndarray
    degrees: np.ndarray


def solve(X, responsibilities, prior, structure, amounts=0.0, sample_weight=None):
    """Return the posterior under responsibilities (equations 10.51 to 10.63)."""
    D = X.shape[1]
    shares = responsibilities
    if sample_weight is not None:
        shares = shares * np.asarray(sample_weight)[:, None]
    counts = shares.sum(axis=0)
    divisors = np.where(counts > 0.0, counts, 1.0)
    means = X[0] + shares.T @ (X - X[0]) / divisors[:, None]
    mean_precisions = prior.mean_precision + counts
    scatters = np.empty((len(counts), D, D))
    for k, count in enumerate(counts):
        offsets = X - means[k]
        from_prior = means[k] - prior.mean
        scatters[k] = (
            prior.scatter
            + offsets.T @ (shares[:, k, None] * offsets)
            + count * np.diag(np.broadcast_to(amounts, D))
            + prior.mean_precision * count / mean_precisions[k] * np.outer(from_prior, from_prior)
        )
    degrees = prior.degrees + counts
    if structure.startswith("tied"):
        scatters[:] = scatters.mean(axis=0)
        degrees[:] = degrees.mean()
    if structure.endswith("diag"):
        scatters = np.array([np.diag(np.diag(each)) for each in scatters])
    if structure.endswith("spherical"):
        scatters = np.array([np.eye(D) * np.diag(each).mean() for each in scatters])
    if prior.kind == "dirichlet_distribution":
        concentrations = prior.concentration + counts
    else:
        later = [counts[k + 1 :].sum() for k in range(len(counts))]
        concentrations = np.array([1.0 + counts, prior.concentration + np.array(later)])
    return Posterior(
        concentrations,
        (prior.mean_precision * prior.mean + counts[:, None] * means) / mean_precisions[:, None],
        mean_precisions,
        np.linalg.inv(scatters),
        degrees,
    )


def log_shares(posterior):
    """Return the expected log v and log(1 - v) of the sticks."""
    a, b = posterior.concentrations
    return digamma(a) - digamma(a + b), digamma(b) - digamma(a + b)


def log_weights(posterior):
    if posterior.concentrations.ndim == 1:
        total = posterior.concentrations.sum()
        return digamma(posterior.concentrations) - digamma(total)
    broken, left = log_shares(posterior)
    return np.array([broken[k] + left[:k].sum() for k in range(len(broken))])


def log_determinants(posterior):
    """Return the expected log-determinants of the precisions (equation 10.65)."""
    D = posterior.means.shape[1]
    halves = [digamma(0.5 * (posterior.degrees - i)) for i in range(D)]
    return sum(halves) + D * np.log(2.0) + np.linalg.slogdet(posterior.scales)[1]


def log_joint(X, posterior):
    """Return the expected log of weight times density, shape (N, K) (equation 10.46)."""
    D = X.shape[1]
    joint = np.empty((len(X), len(posterior.means)))
    for k, mean in enumerate(posterior.means):
        offsets = X - mean
        squares = posterior.degrees[k] * ((offsets @ posterior.scales[k]) * offsets).sum(axis=1)
        joint[:, k] = -0.5 * (squares + D / posterior.mean_precisions[k])
    joint += log_weights(posterior) + 0.5 * log_determinants(posterior)
    return joint - 0.5 * D * np.log(2.0 * np.pi)


def responsibilities(X, posterior):
    joint = log_joint(X, posterior)
    shares = np.exp(joint - joint.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def lower_bound(X, responsibilities, posterior, prior, amounts=0.0, sample_weight=None):
    """Return the lower bound of the log-evidence, with every constant (equations 10.71 to 10.77).

    Each row may be known only up to a Gaussian with variances `amounts`.
    """
    D = X.shape[1]
    weights = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
    logarithms = np.log(np.where(responsibilities > 0.0, responsibilities, 1.0))
    shares = responsibilities * weights[:, None]
    noise = np.diag(np.broadcast_to(amounts, D))
    total = (shares * (log_joint(X, posterior) - logarithms)).sum()
    determinants = log_determinants(posterior)
    for k, mean in enumerate(posterior.means):
        scale, degrees = posterior.scales[k], posterior.degrees[k]
        precision = posterior.mean_precisions[k]
        total -= 0.5 * shares[:, k].sum() * degrees * np.trace(scale @ noise)
        offset = mean - prior.mean
        total += 0.5 * (
            D * np.log(prior.mean_precision / (2.0 * np.pi))
            + determinants[k]
            - D * prior.mean_precision / precision
            - prior.mean_precision * degrees * offset @ scale @ offset
        )
        # the prior's logarithm is linear in the precision and in its log-determinant
        at_identity = wishart.logpdf(np.eye(D), prior.degrees, np.linalg.inv(prior.scatter))
        total += at_identity + 0.5 * np.trace(prior.scatter)
        total += 0.5 * (prior.degrees - D - 1.0) * determinants[k]
        total -= 0.5 * degrees * np.trace(prior.scatter @ scale)
        total += 0.5 * (D - determinants[k] - D * np.log(precision / (2.0 * np.pi)))
        total += wishart.entropy(degrees, scale)
    concentrations = posterior.concentrations
    if prior.kind == "dirichlet_distribution":
        K = len(concentrations)
        flat = np.full(K, 1.0 / K)
        prior_at_flat = dirichlet.logpdf(flat, np.full(K, prior.concentration))
        slope = prior.concentration - 1.0
        total += prior_at_flat + slope * (log_weights(posterior) - np.log(flat)).sum()
        total += dirichlet.entropy(concentrations)
    else:
        _, left = log_shares(posterior)
        total += (np.log(prior.concentration) + (prior.concentration - 1.0) * left).sum()
        total += beta.entropy(*concentrations).sum()
    return total


def fit(X, shares, prior, structure, n_iter, amounts=0.0, sample_weight=None):
    """Return the posterior after some iterations from responsibilities, and each lower bound."""
    posterior = solve(X, shares, prior, structure, amounts, sample_weight)
    trace = []
    for _ in range(n_iter):
        shares = responsibilities(X, posterior)
        posterior = solve(X, shares, prior, structure, amounts, sample_weight)
        trace.append(lower_bound(X, shares, posterior, prior, amounts, sample_weight))
    return posterior, trace


def precisions(posterior):
    """Return the expected precision matrices."""
    return posterior.degrees[:, None, None] * posterior.scales


def prior_of(X, structure, kind, n_components, sample_weight=None):
    """Return the prior that is the default for rows."""
    weights = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
    mean, covariance = oracle_moments(X, weights)
    covariance = covariance * weights.sum() / (weights.sum() - 1.0)
    if structure.endswith("diag"):
        covariance = np.diag(np.diag(covariance))
    if structure.endswith("spherical"):
        covariance = np.eye(len(mean)) * np.diag(covariance).mean()
    return Prior(kind, 1.0 / n_components, mean, 1.0, covariance, float(len(mean)))


def oracle_moments(X, weights):
    _, means, covariances = oracle.m_step(X, np.ones((len(X), 1)), "full", 0.0, weights)
    return means[0], covariances[0]
