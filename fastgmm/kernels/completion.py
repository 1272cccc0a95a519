"""What is missing in a row, given what is observed: its conditional mean and covariance.

Symbols: D features of which m are missing (set M) and the rest observed (set O), component k with
covariance Σ and precision Λ = Σ⁻¹.

About the component's mean, the conditional mean of the missing values is (Bishop, PRML, eqs. 2.73,
2.75, 2.81, 2.82)

    −Λ_MM⁻¹ Λ_MO x_O = Σ_MO Σ_OO⁻¹ x_O,

their conditional covariance Λ_MM⁻¹ = Σ_MM − Σ_MO Σ_OO⁻¹ Σ_OM.  The smaller of the two matrices is
factorised.  The row completed by that mean has the same squared distance from the component's mean
as what is observed has under the marginal distribution; so the log-density of what is observed is
that of the completed row plus a term that depends on the pattern only,

    ½ m log 2π − ½ log det Λ_MM.
"""

from __future__ import annotations

import math

from fastgmm.kernels.compilation import kernel

_LOG_TWO_PI = math.log(2.0 * math.pi)
_LARGEST_PRODUCT = 1e100
_SMALLEST_PIVOT = 2.0**-52


@kernel(fastmath={"reassoc", "contract"})
def dot(left, l_at, right, r_at, n):
    """Return the sum of n products.  ``reassoc`` lets it be kept in vector lanes."""
    total = 0.0
    for i in range(n):
        total += left[l_at + i] * right[r_at + i]
    return total


@kernel()
def factorise(matrices, at, D, chosen, c_at, n, factor):
    """Write the Cholesky factor of chosen rows and columns of a matrix, and return log det.

    Parameters
    ----------
    matrices, at : ndarray, int
        Positive definite D × D matrices, row by row, and where the one to use starts.
    D : int
        Their order.
    chosen, c_at, n : ndarray of int64, int, int
        The n rows and columns, from place ``c_at`` on.
    factor : ndarray of shape (D * D,)
        Receives the lower factor, n numbers a row; its diagonal is inverted.

    Returns
    -------
    float
        The logarithm of the determinant of what was factorised.
    """
    log_determinant, product = 0.0, 1.0
    for i in range(n):
        row = at + chosen[c_at + i] * D
        for j in range(i):
            value = matrices[row + chosen[c_at + j]] - dot(factor, i * n, factor, j * n, j)
            factor[i * n + j] = value * factor[j * n + j]
        whole = matrices[row + chosen[c_at + i]]
        # Rounding can leave nothing, or less, of a pivot where features nearly depend on others.
        pivot = max(whole - dot(factor, i * n, factor, i * n, i), _SMALLEST_PIVOT * whole)
        factor[i * n + i] = 1.0 / math.sqrt(pivot)
        product *= pivot
        if not 1.0 / _LARGEST_PRODUCT < product < _LARGEST_PRODUCT:
            log_determinant += math.log(product)
            product = 1.0
    return log_determinant + math.log(product)


@kernel()
def solve_lower(factor, n, values):
    """Replace n values b by those that solve L y = b."""
    for i in range(n):
        values[i] = (values[i] - dot(factor, i * n, values, 0, i)) * factor[i * n + i]


@kernel()
def solve_upper(factor, n, values):
    """Replace n values b by those that solve Lᵀ y = b."""
    for i in range(n - 1, -1, -1):
        value = values[i] * factor[i * n + i]
        values[i] = value
        for j in range(i):
            values[j] -= factor[i * n + j] * value


@kernel()
def prepare(
    precisions, covariances, log_normalisers, k, D, missing, observed, at, m, factor
):  # fmt: skip
    """Factorise the smaller matrix of a pattern under component k.

    Parameters
    ----------
    precisions, covariances : ndarray of shape (K * D * D,)
        Λ and Σ of every component, row by row.
    log_normalisers : ndarray of shape (K,)
        Log-density of each component at its mean.
    k, D : int
        The component, and the number of features.
    missing, observed : ndarray of int64
        The m features in M and the D − m in O, from place ``at`` on.
    at, m : int
        See there.
    factor : ndarray of shape (D * D,)
        Receives the factor.

    Returns
    -------
    float
        What is added to the log-density of a completed row.
    """
    o = D - m
    if m <= o:
        determinant = factorise(precisions, k * D * D, D, missing, at, m, factor)
        return 0.5 * (m * _LOG_TWO_PI - determinant)
    determinant = factorise(covariances, k * D * D, D, observed, at, o, factor)
    return -0.5 * (o * _LOG_TWO_PI + determinant) - log_normalisers[k]


@kernel()
def complete(
    precisions, covariances, k, D, missing, observed, at, m, factor, offsets, work, completed
):  # fmt: skip
    """Write the conditional mean of what is missing in a row.

    Parameters
    ----------
    precisions, covariances, k, D, missing, observed, at, m
        As for ``prepare``.
    factor : ndarray of shape (D * D,)
        What ``prepare`` wrote.
    offsets : ndarray of shape (D,)
        The row less the component's mean; 0 where it is missing.
    work : ndarray of shape (D,)
        Scratch.
    completed : ndarray of shape (D,)
        Receives the m conditional means, less the component's mean.
    """
    o = D - m
    first = k * D * D
    if m <= o:
        for i in range(m):
            completed[i] = -dot(precisions, first + missing[at + i] * D, offsets, 0, D)
        solve_lower(factor, m, completed)
        solve_upper(factor, m, completed)
        return
    for j in range(o):
        work[j] = offsets[observed[at + j]]
    solve_lower(factor, o, work)
    solve_upper(factor, o, work)
    for i in range(m):
        row = first + missing[at + i] * D
        total = 0.0
        for j in range(o):
            total += covariances[row + observed[at + j]] * work[j]
        completed[i] = total


@kernel()
def conditional_covariance(
    covariances, k, D, missing, observed, at, m, factor, work, covariance
):  # fmt: skip
    """Write the conditional covariance of what is missing under component k.

    Parameters
    ----------
    covariances, k, D, missing, observed, at, m, factor
        As for ``complete``.
    work : ndarray of shape (D * D,)
        Scratch.
    covariance : ndarray of shape (D * D,)
        Receives the covariance, m numbers a row; only its lower triangle is written.
    """
    o = D - m
    if m <= o:
        # the columns of L⁻¹, as rows
        for i in range(m):
            for j in range(m):
                work[i * m + j] = 1.0 if i == j else 0.0
            solve_lower(factor, m, work[i * m : (i + 1) * m])
        for i in range(m):
            for j in range(i + 1):
                covariance[i * m + j] = dot(work, i * m + i, work, j * m + i, m - i)
        return
    for i in range(m):
        row = k * D * D + missing[at + i] * D
        for j in range(o):
            work[i * o + j] = covariances[row + observed[at + j]]
        solve_lower(factor, o, work[i * o : (i + 1) * o])
        for j in range(i + 1):
            value = covariances[row + missing[at + j]] - dot(work, i * o, work, j * o, o)
            covariance[i * m + j] = value
