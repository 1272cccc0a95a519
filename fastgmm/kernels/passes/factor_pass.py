"""The pass of mixtures of factor analyzers, at N K D q operations: no matrix of D × D is formed.

Symbols: N rows, D features, K components, q factors, T lanes of a tile, S accumulator slots; E and
P are D and q, rounded up to multiples of four by zeros.

With Σ = Λ Λᵀ + Ψ and the singular values s and left vectors U of Ψ^-1/2 Λ, a row has the factors
z = Uᵀ Ψ^-1/2 (x − μ), and about the mean it is at the distance

    (x − μ)ᵀ Σ^-1 (x − μ) = |Ψ^-1/2 (x − μ − Ψ^1/2 U z)|² + Σ_j z_j² / (1 + s_j²),

a sum of squares, which keeps its digits where the factors are far stronger than the noise. The
Woodbury identity, |Ψ^-1/2 (x − μ)|² less a part of |z|², does not.

A tile is handled as in ``mixture_pass``, in double precision, always about the components' own
means. Moments are sums of r (x − μ), of its squares, and of r (x − μ) zᵀ, and not those of all
pairs of features.
"""

from __future__ import annotations

from collections import namedtuple
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_kernel, task_at
from fastgmm.kernels.densities import reset_largest
from fastgmm.kernels.microkernels.densities import joint_log_density_diagonal
from fastgmm.kernels.microkernels.moments import add_diagonal_moments, add_products, lane_sum
from fastgmm.kernels.microkernels.tiles import add_matrix_product, subtract_reference
from fastgmm.kernels.mixture_pass import (
    MOMENTS,
    RESULT_MEMBERS,
    ROW_MEMBERS,
    finish_tile,
    whole_spans,
)
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch, load_tile, load_weights

_MOST_LANES, _FEWEST_LANES = 128, 32
_TILE_MEMORY = 512 * 1024
"""Bytes of a tile and of its rows about a mean, within the second-level cache."""


class FactorPassParameters(NamedTuple):
    """A mixture of factor analyzers as the kernel reads it.

    Parameters
    ----------
    constants : ndarray of shape (K,)
        Log-weights plus log-normalizers, less ``offset``.
    offset : float
        The largest of those sums.
    scales : ndarray of shape (K * (E + P),)
        One over the standard deviations of the noise, then 1 / √(1 + s²).
    projections, expansions : ndarray of shape (K * P * E,), ndarray of shape (K * E * P,)
        Uᵀ Ψ^-1/2 and −Ψ^1/2 U, in panels of four rows.
    references : ndarray of shape (K * E,)
        The means.
    zeros : ndarray of shape (E + P,)
        Zeros.
    n_features, n_factors : int
        D and q.
    """

    constants: np.ndarray
    offset: float
    scales: np.ndarray
    projections: np.ndarray
    expansions: np.ndarray
    references: np.ndarray
    zeros: np.ndarray
    n_features: int
    n_factors: int


FactorTask = namedtuple(
    "FactorTask", (*ROW_MEMBERS, *FactorPassParameters._fields, *RESULT_MEMBERS)
)
"""All that the pass reads and writes, as described in ``mixture_pass.PassTask``, but for

* ``first``, of shape (S, K * 8 * E): sums of r (x − μ) and of its squares, in the order of
  ``diagonal_place``, one component in each row of blocks;
* ``second``, of shape (S, K * P * E): sums of r z (x − μ)ᵀ, in the order of ``diagonal_place``.
"""


def factor_lanes(n_features: int) -> int:
    """Return T, the lanes of a tile, a power of two: fewer where there are many features."""
    lanes = _MOST_LANES
    while lanes > _FEWEST_LANES and 16 * lanes * n_features > _TILE_MEMORY:
        lanes //= 2
    return lanes


@inner_kernel()
def add_factor_moments(about, z, to, r, at, T, E, P, k, weighted, first, second):
    """Add a component's moments of rows about its mean, which have factors z."""
    add_diagonal_moments(about, T, E, r, at, first, k * 2 * E * ROWS)
    for j in range(P):
        row = j * T
        for lane in range(T):
            weighted[row + lane] = r[at + lane] * z[to + row + lane]
    for j in range(0, P, ROWS):
        add_products(weighted, j * T, about, E, T, second, (k * P + j) * E)


@slot_kernel()
def factor_slot(address, slot):
    """Pass over the blocks of one slot."""
    task = task_at(address)
    # Members of tuples and rows of arrays are taken once: each time counts a reference.
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    constants, offset, scales, zeros = task.constants, task.offset, task.scales, task.zeros
    projections, expansions = task.projections, task.expansions
    references = task.references
    counts, likelihood = task.counts[slot], task.likelihood[slot]
    first, second = task.first[slot], task.second[slot]
    log_density, labels, responsibilities = task.log_density, task.labels, task.responsibilities
    N = X.shape[0]
    K = constants.shape[0]
    E = references.shape[0] // K
    B = zeros.shape[0]
    P = B - E
    kept = K if mode == MOMENTS else 1  # the components whose factors are needed once more
    lanes = aligned_scratch((E + B + (kept + 1) * P + K + 3) * T, constants)
    tile, rest = lanes[: E * T], lanes[E * T :]
    about, rest = rest[: B * T], rest[B * T :]  # the rows about a mean, then their factors
    z, rest = rest[: kept * P * T], rest[kept * P * T :]
    weighted, rest = rest[: P * T], rest[P * T :]
    joint, rest = rest[: K * T], rest[K * T :]
    largest, total, factor = rest[:T], rest[T : 2 * T], rest[2 * T :]
    doubles, integers = np.empty(2 * T), np.empty(T + K, np.int64)
    tile_weights, density = doubles[:T], doubles[T:]
    best, active = integers[:T], integers[T:]
    low, center = np.zeros(K * E), zeros[: X.shape[1]]
    spans = whole_spans(K, T)
    tile[:] = 0.0
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_tile(X, row, n, center, center, tile, T)
            load_weights(weights, row, n, tile_weights, T)
            reset_largest(largest, T)
            for k in range(K):
                subtract_reference(tile, T, E, references, low, k * E, about)
                for i in range(E * T, B * T):
                    about[i] = 0.0
                add_matrix_product(projections, k * E * P, P, E, about, 0, T, about, E * T)
                if mode == MOMENTS:
                    for i in range(P * T):
                        z[k * P * T + i] = about[E * T + i]
                add_matrix_product(expansions, k * E * P, E, P, about, E * T, T, about, 0)
                joint_log_density_diagonal(
                    about, T, scales, k * B, zeros, 0, B, constants[k], joint, k * T, largest
                )
            if not finish_tile(
                row, n, T, K, mode, joint, largest, best, total, factor, offset, tile_weights,
                density, likelihood, spans, active, log_density, labels, responsibilities,
            ):  # fmt: skip
                continue
            for k in range(K):
                if active[k]:
                    counts[k] += lane_sum(joint, k * T, T)
                    subtract_reference(tile, T, E, references, low, k * E, about)
                    add_factor_moments(
                        about, z, k * P * T, joint, k * T, T, E, P, k, weighted, first, second
                    )
