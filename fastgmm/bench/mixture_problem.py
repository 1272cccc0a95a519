"""Generated data and the start of the passes.

The data is drawn from a Gaussian mixture whose overlap does not change with the number of
features: whatever skips components that are far away gains nothing on the overlapping kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.bench.grid import SEPARATIONS, Case

_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class MixtureProblem:
    """Data and start parameters."""

    X: NDArray[Any]  # (N, D): C-contiguous rows in the type of the case
    weights: NDArray[np.float64]  # (K,): equal weights
    means: NDArray[np.float64]
    """(K, D): the true means, displaced by a third of a standard deviation."""
    covariances: NDArray[np.float64]  # (K, D, D): the covariance common to all components


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
