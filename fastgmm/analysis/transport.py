"""Optimal transport between Gaussians, and between mixtures of them.

The 2-Wasserstein distance of two Gaussians has a closed form. The distance of two mixtures is taken
over plans that move Gaussians to Gaussians, which makes it a small linear program: an upper bound
of the 2-Wasserstein distance, and a distance itself (Delon and Desolneux, 2020, "A Wasserstein-type
distance in the space of Gaussian mixture models", SIAM Journal on Imaging Sciences 13).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, kron, vstack

from fastgmm.analysis.divergences import covariance_factors
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_LARGEST_DISTANCE = 1e150


class MixtureTransport(NamedTuple):
    """How one mixture is moved to another at the least cost.

    Attributes
    ----------
    distance : float
        The distance, in the units of the features.
    plan : ndarray of shape (n_components, n_other_components)
        The weight that is moved from each component of the first to each of the second. The sums
        of rows and columns are the weights of the two.
    """

    distance: float
    plan: FloatArray


def squared_distances(p: MixtureParameters, q: MixtureParameters) -> FloatArray:
    """Return the squared 2-Wasserstein distances between the components of two mixtures.

    The closed form |μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a^½ Σ_b Σ_a^½)^½) is the least |L_a - L_b Q|²
    over orthogonal Q, for factors L Lᵀ = Σ. With U S Vᵀ = L_bᵀ L_a it is Q = U Vᵀ: no difference of
    large numbers is left, and equal components have a distance of rounding.
    """
    offsets = p.means[:, None] - q.means
    if np.abs(offsets).max() > _LARGEST_DISTANCE:
        raise ValueError(
            f"components lie {np.abs(offsets).max():g} apart, and the squares of such distances "
            "overflow: divide the data by a constant, and fit again"
        )
    squares: FloatArray = (offsets**2).sum(axis=2)
    both_diagonal = p.is_diagonal and q.is_diagonal
    ours, theirs = (covariance_factors(each, diagonal=both_diagonal) for each in (p, q))
    if both_diagonal:
        squares += ((ours[:, None] - theirs) ** 2).sum(axis=2)
        return squares
    for b, factor in enumerate(theirs):
        left, _, right = np.linalg.svd(factor.T @ ours)
        squares[:, b] += ((ours - factor @ (left @ right)) ** 2).sum(axis=(1, 2))
    return squares


def transport(p: MixtureParameters, q: MixtureParameters) -> MixtureTransport:
    """Return the cheapest plan from one mixture to another (Delon and Desolneux, 2020)."""
    costs = squared_distances(p, q)
    K, L = costs.shape
    supply, demand = (each.weights / each.weights.sum() for each in (p, q))
    sums = vstack(
        [
            kron(eye_array(K), csr_array(np.ones((1, L)))),
            kron(csr_array(np.ones((1, K))), eye_array(L)),
        ]
    )
    unit = costs.max() or 1.0  # the solver's tolerances are absolute
    found = linprog(
        costs.ravel() / unit,
        A_eq=sums.tocsr(),
        b_eq=np.concatenate([supply, demand]),
        method="highs",
    )
    if not found.success:
        raise RuntimeError(f"the linear program of the transport was not solved: {found.message}")
    plan: FloatArray = np.maximum(found.x, 0.0).reshape(K, L)
    return MixtureTransport(float(np.sqrt((plan * costs).sum())), plan)
