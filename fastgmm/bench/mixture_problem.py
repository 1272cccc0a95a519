"""Generated data and the start that all competitors share.

The data is drawn from a Gaussian mixture whose overlap does not change with the number of
features: whatever skips components that are far away gains nothing on the overlapping kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.bench.grid import SEPARATIONS, Case

JUDGED_ROWS = 20_000
_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class MixtureProblem:
    """Data and start parameters.

    Attributes
    ----------
    X : ndarray of shape (N, D)
        C-contiguous rows in the type of the case.
    weights : ndarray of shape (K,)
        Equal weights.
    means : ndarray of shape (K, D)
        The true means, displaced by a third of a standard deviation.
    covariances : ndarray of shape (K, D, D), or (K, D) for the diagonal structure
        The covariance common to all components.
    """

    X: NDArray[Any]
    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]


def make_problem(case: Case, *, n_samples: int | None = None) -> MixtureProblem:
    """Draw the data of a case, the same in every process.

    Component k is ``m_k + (I + E_k) z B`` with standard normal z. The entries of m_k are normal
    with variance c²/(2D), so that two means are c standard deviations apart on average;
    those of E_k have variance 1/(4D²), so that the covariances too differ by the same amount for
    any D. B, common to all, makes the features correlated; its singular values go from 0.5 to 2.
    """
    rng = np.random.default_rng(20_250_101)
    N = case.n_samples if n_samples is None else n_samples
    D, K = case.n_features, case.n_components
    separation = SEPARATIONS[case.overlap]
    centers = rng.normal(scale=separation / np.sqrt(2 * D), size=(K, D))
    shapes = np.eye(D) + rng.normal(scale=0.5 / D, size=(K, D, D))
    mixing = np.geomspace(0.5, 2.0, D)[:, None] * np.linalg.qr(rng.normal(size=(D, D)))[0]

    X = np.empty((N, D), dtype=case.dtype)
    for start in range(0, N, _BLOCK):
        block = X[start : start + _BLOCK]
        labels = rng.integers(K, size=len(block))
        latent = rng.normal(size=block.shape)
        for k in range(K):
            rows = np.flatnonzero(labels == k)
            block[rows] = (centers[k] + latent[rows] @ shapes[k].T) @ mixing

    common = mixing.T @ mixing
    displaced = centers + rng.normal(scale=1 / 3, size=(K, D)) / np.sqrt(D)
    covariance = common if case.structure == "full" else np.diag(common)
    return MixtureProblem(
        X=X,
        weights=np.full(K, 1 / K),
        means=displaced @ mixing,
        covariances=np.repeat(covariance[None], K, axis=0),
    )


def judge_mixture(
    X: NDArray[Any],
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
) -> float:
    """Return the mean log-likelihood of the first rows, by plain NumPy in float64.

    All competitors are judged by this code, so that what they report about themselves plays no
    part.
    """
    rows = np.asarray(X[:JUDGED_ROWS], dtype=np.float64)
    K, D = means.shape
    joint = np.empty((len(rows), K))
    for k in range(K):
        deviations = rows - means[k]
        if covariances.ndim == 2:
            quadratic = (deviations**2 / covariances[k]).sum(axis=1)
            log_determinant = np.log(covariances[k]).sum()
        else:
            factor = np.linalg.cholesky(covariances[k])
            quadratic = (np.linalg.solve(factor, deviations.T) ** 2).sum(axis=0)
            log_determinant = 2 * np.log(np.diag(factor)).sum()
        joint[:, k] = np.log(weights[k]) - 0.5 * (
            D * np.log(2 * np.pi) + log_determinant + quadratic
        )
    largest = joint.max(axis=1)
    return float((largest + np.log(np.exp(joint - largest[:, None]).sum(axis=1))).mean())


def judge_centers(X: NDArray[Any], centers: NDArray[np.float64]) -> float:
    """Return the mean squared distance of the first rows to the nearest center, in float64."""
    rows = np.asarray(X[:JUDGED_ROWS], dtype=np.float64)
    nearest = np.full(len(rows), np.inf)
    for center in centers:
        np.minimum(nearest, ((rows - center) ** 2).sum(axis=1), out=nearest)
    return float(nearest.mean())
