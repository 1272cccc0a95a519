"""What is missing in rows, given what is observed: conditional means and covariances.

Symbols: D features, T lanes of a tile, each a row of which m features are missing (set M) and o
observed (set O); component k with covariance Σ and precision Λ = Σ⁻¹.

About the component's mean, the conditional mean of the missing values is (Bishop, PRML, eqs. 2.73,
2.75, 2.81, 2.82)

    −Λ_MM⁻¹ Λ_MO x_O = Σ_MO Σ_OO⁻¹ x_O,

their conditional covariance Λ_MM⁻¹ = Σ_MM − Σ_MO Σ_OO⁻¹ Σ_OM.  A row completed by that mean has the
same squared distance from the component's mean as what is observed has under the marginal
distribution; so the log-density of what is observed is that of the completed row plus

    ½ m log 2π − ½ log det Λ_MM = −½ o log 2π − ½ log det Σ_OO − (log-density at the mean).

In each tile the smaller of the two matrices is factorized, of all lanes at once, padded to the
same order with ones on the diagonal: rows of like numbers of missing values should follow each
other.  Matrices of lanes are laid out as in ``lane_microkernels``; of factors, the diagonal is
inverted.  Rows of features are padded with zeros to P, a multiple of ``VECTOR``.
"""

from __future__ import annotations

import math

from fastgmm.kernels.compilation import inner_kernel
from fastgmm.kernels.microkernels.lanes import offsets_of_row, row_product, subtract_products
from fastgmm.kernels.microkernels.vector_math import log

_LOG_TWO_PI = math.log(2.0 * math.pi)

_SMALLEST_PIVOT = 2.0**-52
"""Rounding can leave nothing, or less, of a pivot where features nearly depend on each other."""


@inner_kernel()
def load_matrices(matrices, first, P, chosen, counts, order, D, T, lower):
    """Write chosen rows and columns of a matrix for each lane, ones on the diagonal beyond.

    Parameters
    ----------
    matrices, first, P : ndarray, int, int
        Symmetric matrices, the first row of the one to use, and how far from one to the next.
    chosen, counts : ndarray of int64 of shape (T * D,) and (T,)
        Which rows and columns each lane chooses, and how many.
    order : int
        Order of the matrices to write, the largest of the counts.
    D, T : int
        Numbers of features and of lanes.
    lower : ndarray of shape (D * D * T,)
        Receives their lower triangles.
    """
    for lane in range(T):
        n = counts[lane]
        for i in range(order):
            place = i * order * T + lane
            if i < n:
                row = (first + chosen[lane * D + i]) * P
                for j in range(i + 1):
                    lower[place + j * T] = matrices[row + chosen[lane * D + j]]
            else:
                for j in range(i):
                    lower[place + j * T] = 0.0
                lower[place + i * T] = 1.0


@inner_kernel()
def factorize(lower, order, T, ones, pivots, log_determinants):
    """Replace the lower triangles of all lanes by their Cholesky factors.

    Parameters
    ----------
    lower : ndarray of shape (D * D * T,)
        Positive definite matrices.
    order, T : int
        Their order, and the number of lanes.
    ones, pivots : ndarray of shape (T,)
        Ones, and scratch.
    log_determinants : ndarray of shape (T,)
        Receives the logarithms of their determinants.
    """
    row_step = order * T
    # a row of lanes for each entry: where lanes begin must be known not to be negative for a loop
    # over them to be vectorized
    entries = lower.reshape(len(lower) // T, T)
    for lane in range(T):
        log_determinants[lane] = 0.0
    for i in range(order):
        row = i * row_step
        for j in range(i):
            column = j * row_step
            subtract_products(
                lower, row, T, lower, column, T, j, T, lower, column + j * T, lower, row + j * T
            )
        for lane in range(T):
            pivots[lane] = entries[i * order + i, lane]
        subtract_products(lower, row, T, lower, row, T, i, T, ones, 0, pivots, 0)
        for lane in range(T):
            pivot = max(pivots[lane], _SMALLEST_PIVOT * entries[i * order + i, lane])
            log_determinants[lane] += log(pivot)
            entries[i * order + i, lane] = 1.0 / math.sqrt(pivot)


@inner_kernel()
def solve_lower(factors, order, T, values, at, begin):
    """Replace b, from place ``at`` on, by the solution of L y = b in all lanes.

    What comes before number ``begin`` is zero, and not looked at.
    """
    start = at + begin * T
    for i in range(begin, order):
        row = i * order * T
        subtract_products(
            factors, row + begin * T, T, values, start, T, i - begin, T, factors, row + i * T,
            values, at + i * T,
        )  # fmt: skip


@inner_kernel()
def solve_upper(factors, order, T, values, at):
    """Replace b, from place ``at`` on, by the solution of Lᵀ y = b in all lanes."""
    row_step = order * T
    for i in range(order - 1, -1, -1):
        diagonal = i * row_step + i * T
        subtract_products(
            factors, diagonal + row_step, row_step, values, at + (i + 1) * T, T, order - 1 - i, T,
            factors, diagonal, values, at + i * T,
        )  # fmt: skip


@inner_kernel()
def by_missing(most_missing, most_observed):
    """Say whether the matrix to factorize is that of the missing features."""
    return most_missing <= most_observed


@inner_kernel()
def complete_lanes(
    precisions, covariances, log_normalizer, centers, k, D, T, rows, present, missing, observed,
    n_missing, n_observed, most_missing, most_observed, factors, values, offsets, ones, pivots,
    terms,
):  # fmt: skip
    """Write the conditional means of what is missing in the rows of a tile.

    Parameters
    ----------
    precisions, covariances : ndarray of shape (K * D * P,)
        Λ and Σ of every component, one after the other.
    log_normalizer : float
        Log-density of component k at its mean.
    centers : ndarray of shape (K * P,)
        The means.
    k, D, T : int
        The component, and the numbers of features and of lanes.
    rows, present : ndarray of shape (T * P,)
        Values, 0 where missing; and 1 where there is one, else 0.
    missing, observed : ndarray of int64 of shape (T * D,)
        The features in M and in O of each row.
    n_missing, n_observed : ndarray of int64 of shape (T,)
        m and o; both 0 in lanes without a row.
    most_missing, most_observed : int
        The largest of them.
    factors : ndarray of shape (D * D * T,)
        Receives the factors.
    values : ndarray of shape (D * T,)
        Receives the conditional means less the component's mean.
    offsets, ones, pivots : ndarray of shape (P,) and (T,)
        Scratch, and ones.
    terms : ndarray of shape (T,)
        Receives what is to be added to the log-densities of the completed rows.
    """
    P = len(offsets)
    first = k * D
    if by_missing(most_missing, most_observed):
        order = most_missing
        load_matrices(precisions, first, P, missing, n_missing, order, D, T, factors)
        factorize(factors, order, T, ones, pivots, terms)
        for lane in range(T):
            m = n_missing[lane]
            offsets_of_row(rows, present, lane * P, centers, k * P, P, offsets)
            for i in range(m):
                row = (first + missing[lane * D + i]) * P
                values[i * T + lane] = -row_product(precisions, row, offsets, P)
            for i in range(m, order):
                values[i * T + lane] = 0.0
            terms[lane] = 0.5 * (m * _LOG_TWO_PI - terms[lane])
        solve_lower(factors, order, T, values, 0, 0)
        solve_upper(factors, order, T, values, 0)
        return
    order = most_observed
    load_matrices(covariances, first, P, observed, n_observed, order, D, T, factors)
    factorize(factors, order, T, ones, pivots, terms)
    for lane in range(T):
        o = n_observed[lane]
        for i in range(o):
            j = observed[lane * D + i]
            values[i * T + lane] = rows[lane * P + j] - centers[k * P + j]
        for i in range(o, order):
            values[i * T + lane] = 0.0
        terms[lane] = -0.5 * (o * _LOG_TWO_PI + terms[lane]) - log_normalizer
    solve_lower(factors, order, T, values, 0, 0)
    solve_upper(factors, order, T, values, 0)
    for lane in range(T):
        offsets[:] = 0.0
        for i in range(n_observed[lane]):
            offsets[observed[lane * D + i]] = values[i * T + lane]
        for i in range(n_missing[lane]):
            row = (first + missing[lane * D + i]) * P
            values[i * T + lane] = row_product(covariances, row, offsets, P)


@inner_kernel()
def covariance_lanes(
    precisions, covariances, k, D, P, T, missing, observed, n_missing, n_observed, most_missing,
    most_observed, factors, solved, conditional, ones, pivots, signs, unused,
):  # fmt: skip
    """Write the conditional covariances of what is missing in the rows of a tile.

    Parameters
    ----------
    precisions, covariances, k, D, T, missing, observed, n_missing, n_observed, most_missing, \
            most_observed, ones, pivots
        As for ``complete_lanes``.
    P : int
        Length of a padded row.
    factors, solved : ndarray of shape (D * D * T,)
        Scratch.
    conditional : ndarray of shape (D * D * T,)
        Receives the lower triangles.
    signs, unused : ndarray of shape (T,)
        Scratch.
    """
    first = k * D
    order = most_missing
    # of the matrix of the missing features alone, the inverse is what is sought
    inverting = by_missing(most_missing, most_observed)
    inner = order if inverting else most_observed
    if inverting:
        load_matrices(precisions, first, P, missing, n_missing, inner, D, T, factors)
        for i in range(order):
            for lane in range(T):
                solved[(i * inner + i) * T + lane] = 1.0
            for place in range((i * inner + i + 1) * T, (i + 1) * inner * T):
                solved[place] = 0.0
            for place in range(i * order * T, (i * order + i + 1) * T):
                conditional[place] = 0.0
    else:
        load_matrices(covariances, first, P, observed, n_observed, inner, D, T, factors)
        load_matrices(covariances, first, P, missing, n_missing, order, D, T, conditional)
        for lane in range(T):
            m, o = n_missing[lane], n_observed[lane]
            for i in range(order):
                for j in range(inner):
                    place = (i * inner + j) * T + lane
                    if i < m and j < o:
                        row = (first + missing[lane * D + i]) * P
                        solved[place] = covariances[row + observed[lane * D + j]]
                    else:
                        solved[place] = 0.0
    factorize(factors, inner, T, ones, pivots, unused)
    signs[:] = -1.0 if inverting else 1.0
    for i in range(order):
        begin = i if inverting else 0
        row = i * inner * T
        solve_lower(factors, inner, T, solved, row, begin)
        for j in range(i + 1):
            subtract_products(
                solved, row + begin * T, T, solved, (j * inner + begin) * T, T, inner - begin, T,
                signs, 0, conditional, (i * order + j) * T,
            )  # fmt: skip
