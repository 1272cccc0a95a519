"""The M-steps of the fourteen covariance structures for one small mixture, compiled.

What `fastgmm.mixture.structures` says with NumPy for mixtures of any size, said again for those so
small that a call of NumPy takes longer than the arithmetic. Symbols: K components, D features; n_k
counts, W_k scatter matrices about the means, λ_k volumes, A_k shapes, D_k orientations.

Each function fills ``covariances`` (K, D, D) and returns whether the likelihood has a maximum. The
formulas are those of Celeux and Govaert (1995), "Gaussian parsimonious clustering models", Pattern
Recognition 28, section 3. Where they iterate, they begin where the step before ended, and so never
lower the likelihood.
"""

from __future__ import annotations

import math

import numpy as np

from fastgmm.kernels.compilation import kernel

EQUAL, VARYING, IDENTITY = 0, 1, 2

_SWEEPS = 60
_LATER_SWEEPS = 2
_ROUNDING = 1e-13
_INNER_ITERATIONS = 100
_INNER_TOLERANCE = 1e-10
_ROTATION_TOLERANCE = 1e-12
_SMALLEST = 1e-300


@kernel()
def eigen(matrix, vectors, D):
    """Turn a symmetric matrix into its eigenvalues on the diagonal, descending.

    By cyclic Jacobi rotations, which find small eigenvalues of graded matrices to all digits, and
    soon where the matrix is nearly diagonal. The vectors are rotated along with it.
    """
    for _ in range(_SWEEPS):
        rotated = False
        for p in range(D - 1):
            for q in range(p + 1, D):
                off = matrix[p, q]
                if abs(off) <= _ROUNDING * math.sqrt(abs(matrix[p, p] * matrix[q, q])) + _SMALLEST:
                    continue
                rotated = True
                theta = 0.5 * (matrix[q, q] - matrix[p, p]) / off
                t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
                if theta < 0.0:
                    t = -t
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for i in range(D):
                    a, b = matrix[i, p], matrix[i, q]
                    matrix[i, p] = c * a - s * b
                    matrix[i, q] = s * a + c * b
                for i in range(D):
                    a, b = matrix[p, i], matrix[q, i]
                    matrix[p, i] = c * a - s * b
                    matrix[q, i] = s * a + c * b
                    a, b = vectors[i, p], vectors[i, q]
                    vectors[i, p] = c * a - s * b
                    vectors[i, q] = s * a + c * b
        if not rotated:
            break
    for i in range(D - 1):
        largest = i
        for j in range(i + 1, D):
            if matrix[j, j] > matrix[largest, largest]:
                largest = j
        if largest != i:
            matrix[i, i], matrix[largest, largest] = matrix[largest, largest], matrix[i, i]
            for j in range(D):
                vectors[j, i], vectors[j, largest] = vectors[j, largest], vectors[j, i]


@kernel()
def invert_cholesky(matrix, whitener, D, smallest):
    """Fill the inverse of the lower Cholesky factor; return log|matrix|, or nan if singular.

    Singular is a matrix of which, scaled to unit diagonal, a pivot is no more than ``smallest``.
    """
    log_determinant = 0.0
    for i in range(D):
        if not matrix[i, i] > 0.0:
            return np.nan
        for j in range(i + 1):
            total = matrix[i, j]
            for m in range(j):
                total -= whitener[i, m] * whitener[j, m]
            if j < i:
                whitener[i, j] = total / whitener[j, j]
            else:
                if not total > smallest * matrix[i, i]:
                    return np.nan
                whitener[i, i] = math.sqrt(total)
                log_determinant += math.log(total)
    for i in range(D):
        whitener[i, i] = 1.0 / whitener[i, i]
        for j in range(i):
            total = 0.0
            for m in range(j, i):
                total += whitener[i, m] * whitener[m, j]
            whitener[i, j] = -total * whitener[i, i]
        for j in range(i + 1, D):
            whitener[i, j] = 0.0
    return log_determinant


@kernel()
def _normalize(shape, D):
    """Scale positive numbers to a product of 1; return their geometric mean, 0 if one is 0."""
    total = 0.0
    for j in range(D):
        if not shape[j] > _SMALLEST:
            return 0.0
        total += math.log(shape[j])
    mean = math.exp(total / D)
    for j in range(D):
        shape[j] /= mean
    return mean


@kernel()
def _diagonal_volumes(diagonals, counts, shape, volumes, K, D):
    """Find volumes of each component and the shape of all, for axes that are settled (VEI, VEV).

    ``diagonals`` are those of D_k^T W_k D_k, shape (K, D).
    """
    before = -np.inf
    for _ in range(_INNER_ITERATIONS):
        for k in range(K):
            total = 0.0
            for j in range(D):
                total += diagonals[k, j] / shape[j]
            volumes[k] = total / (D * counts[k])
            if not volumes[k] > _SMALLEST:
                return False
        for j in range(D):
            total = 0.0
            for k in range(K):
                total += diagonals[k, j] / volumes[k]
            shape[j] = total
        if _normalize(shape, D) == 0.0:
            return False
        # what is minimized, with the shape at its best: the sum of n_k D log λ_k, and tr W/(λA)
        objective = 0.0
        for k in range(K):
            total = 0.0
            for j in range(D):
                total += diagonals[k, j] / shape[j]
            objective -= counts[k] * D * math.log(volumes[k]) + total / volumes[k]
        if objective - before <= _INNER_TOLERANCE * (1.0 + abs(objective)):
            break
        before = objective
    for k in range(K):  # the volumes that belong to the last shape
        total = 0.0
        for j in range(D):
            total += diagonals[k, j] / shape[j]
        volumes[k] = total / (D * counts[k])
    return True


@kernel()
def diagonal_m_step(volume, shape_letter, scatter, counts, memory, covariances, K, D):
    """EII, VII, EEI, VEI, EVI and VVI: the covariances are diagonal."""
    total_count = counts[:K].sum()
    for k in range(K):
        for i in range(D):
            for j in range(D):
                covariances[k, i, j] = 0.0
    if shape_letter == IDENTITY:
        pooled = 0.0
        for k in range(K):
            for j in range(D):
                pooled += scatter[k, j, j]
        for k in range(K):
            if volume == EQUAL:
                variance = pooled / (total_count * D)
            else:
                variance = 0.0
                for j in range(D):
                    variance += scatter[k, j, j]
                variance /= counts[k] * D
            for j in range(D):
                covariances[k, j, j] = variance
        return True
    if shape_letter == EQUAL and volume == EQUAL:
        for j in range(D):
            pooled = 0.0
            for k in range(K):
                pooled += scatter[k, j, j]
            for k in range(K):
                covariances[k, j, j] = pooled / total_count
        return True
    if shape_letter == VARYING and volume == VARYING:
        for k in range(K):
            for j in range(D):
                covariances[k, j, j] = scatter[k, j, j] / counts[k]
        return True
    diagonals = memory.diagonals
    for k in range(K):
        for j in range(D):
            diagonals[k, j] = scatter[k, j, j]
    return _axes_settled(volume, diagonals, counts, memory, covariances, K, D, False)


@kernel()
def _axes_settled(volume, diagonals, counts, memory, covariances, K, D, rotated):
    """Fill covariances of which one of volume and shape is common, the axes being settled.

    With varying volume (V E) and with equal volume (E V).
    """
    shape, volumes = memory.shape, memory.volumes
    if volume == VARYING:
        if not _diagonal_volumes(diagonals, counts, shape, volumes, K, D):
            return False
        for k in range(K):
            for j in range(D):
                diagonals[k, j] = volumes[k] * shape[j]
    else:
        common = 0.0
        for k in range(K):
            mean = _normalize(diagonals[k], D)
            if mean == 0.0:
                return False
            common += mean
        common /= counts[:K].sum()
        for k in range(K):
            for j in range(D):
                diagonals[k, j] *= common
    if not rotated:
        for k in range(K):
            for j in range(D):
                covariances[k, j, j] = diagonals[k, j]
    return True


@kernel()
def _turned(values, vectors, out, D):
    """Fill out = V diag(values) V^T."""
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(D):
                total += vectors[i, m] * values[m] * vectors[j, m]
            out[i, j] = total
            out[j, i] = total


@kernel()
def _turn(matrix, axes, half, out, D):
    """Fill out = V^T M V; ``half`` is overwritten."""
    for i in range(D):
        for j in range(D):
            total = 0.0
            for m in range(D):
                total += matrix[i, m] * axes[m, j]
            half[i, j] = total
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(D):
                total += axes[m, i] * half[m, j]
            out[i, j] = total
            out[j, i] = total


@kernel()
def _own_orientations(volume, scatter, counts, memory, covariances, K, D):
    """EEV and VEV: each component has axes of its own, and all the same shape."""
    diagonals, vectors = memory.diagonals, memory.vectors
    for k in range(K):
        matrix = memory.turned[k]
        _turn(scatter[k], vectors[k], memory.pooled, matrix, D)
        eigen(matrix, vectors[k], D)
        for j in range(D):
            diagonals[k, j] = max(matrix[j, j], 0.0)
    if volume == VARYING:
        if not _axes_settled(volume, diagonals, counts, memory, covariances, K, D, True):
            return False
    else:
        shape = memory.shape
        for j in range(D):
            shape[j] = 0.0
            for k in range(K):
                shape[j] += diagonals[k, j]
        common = _normalize(shape, D) / counts[:K].sum()
        if common == 0.0:
            return False
        for k in range(K):
            for j in range(D):
                diagonals[k, j] = common * shape[j]
    for k in range(K):
        _turned(diagonals[k], vectors[k], covariances[k], D)
    return True


@kernel()
def _common_orientation(volume, scatter, counts, memory, covariances, K, D, sweeps):
    """EVE and VVE: all components have the same axes, and shapes of their own.

    The sum over k of tr(D A_k^-1 D^T W_k) falls with every plane rotation of two axes to the
    eigenvectors of the sum over k of (1/a_kp - 1/a_kq) W_k in their plane (after Flury and
    Gautschi, 1986, SIAM Journal on Scientific and Statistical Computing 7), between which the
    shapes are brought up to date. A few sweeps over all planes are enough for the likelihood to
    rise, where they begin from the axes of the step before.
    """
    diagonals, axes, turned = memory.diagonals, memory.axes, memory.turned
    for k in range(K):
        _turn(scatter[k], axes, memory.pooled, turned[k], D)
    for _ in range(sweeps):
        for k in range(K):
            for j in range(D):
                diagonals[k, j] = max(turned[k, j, j], 0.0)
            if volume == VARYING:
                for j in range(D):
                    diagonals[k, j] /= counts[k]
                    if not diagonals[k, j] > _SMALLEST:
                        return False
            elif _normalize(diagonals[k], D) == 0.0:
                return False
        moved = 0.0
        for p in range(D - 1):
            for q in range(p + 1, D):
                a = b = d = 0.0
                for k in range(K):
                    factor = 1.0 / diagonals[k, p] - 1.0 / diagonals[k, q]
                    a += factor * turned[k, p, p]
                    b += factor * turned[k, p, q]
                    d += factor * turned[k, q, q]
                # the smaller eigenvalue of [[a, b], [b, d]] is for axis p
                angle = 0.5 * math.atan2(-2.0 * b, d - a)
                if abs(angle) <= _ROTATION_TOLERANCE:
                    continue
                c, s = math.cos(angle), math.sin(angle)
                moved = max(moved, min(abs(s), abs(c)))
                for i in range(D):
                    x, y = axes[i, p], axes[i, q]
                    axes[i, p] = c * x + s * y
                    axes[i, q] = -s * x + c * y
                for k in range(K):
                    matrix = turned[k]
                    for i in range(D):
                        x, y = matrix[i, p], matrix[i, q]
                        matrix[i, p] = c * x + s * y
                        matrix[i, q] = -s * x + c * y
                    for i in range(D):
                        x, y = matrix[p, i], matrix[q, i]
                        matrix[p, i] = c * x + s * y
                        matrix[q, i] = -s * x + c * y
        if moved <= 1e-7:
            break
    for k in range(K):
        for j in range(D):
            diagonals[k, j] = max(turned[k, j, j], 0.0)
            if volume == VARYING:
                diagonals[k, j] /= counts[k]
    if volume == EQUAL and not _axes_settled(
        volume, diagonals, counts, memory, covariances, K, D, True
    ):
        return False
    for k in range(K):
        _turned(diagonals[k], axes, covariances[k], D)
    return True


@kernel()
def _equal_shape_and_orientation(scatter, counts, memory, covariances, K, D, smallest):
    """VEE: volumes of their own, all else in common."""
    volumes, pooled, whitener = memory.volumes, memory.pooled, memory.whitener
    before = -np.inf
    for _ in range(_INNER_ITERATIONS):
        for i in range(D):
            for j in range(i + 1):
                total = 0.0
                for k in range(K):
                    total += scatter[k, i, j] / volumes[k]
                pooled[i, j] = total
                pooled[j, i] = total
        log_determinant = invert_cholesky(pooled, whitener, D, smallest)
        if math.isnan(log_determinant):
            return False
        mean = math.exp(log_determinant / D)
        objective = 0.0
        for k in range(K):
            trace = 0.0
            for i in range(D):
                for j in range(i + 1):
                    inverse = 0.0
                    for m in range(i, D):
                        inverse += whitener[m, i] * whitener[m, j]
                    trace += (1.0 if i == j else 2.0) * inverse * scatter[k, i, j]
            volumes[k] = trace * mean / (D * counts[k])
            if not volumes[k] > _SMALLEST:
                return False
            objective -= counts[k] * D * math.log(volumes[k])
        for k in range(K):
            for i in range(D):
                for j in range(D):
                    covariances[k, i, j] = volumes[k] * pooled[i, j] / mean
        if objective - before <= _INNER_TOLERANCE * (1.0 + abs(objective)):
            break
        before = objective
    return True


@kernel()
def full_m_step(
    volume, shape, orientation, scatter, counts, memory, covariances, K, D, smallest, first
):
    """EEE, VEE, EVE, VVE, EEV, VEV, EVV and VVV."""
    total_count = counts[:K].sum()
    if orientation == VARYING and shape == VARYING:
        common = 0.0
        for k in range(K):
            factor = counts[k]
            if volume == EQUAL:
                log_determinant = invert_cholesky(scatter[k], memory.whitener, D, smallest)
                if math.isnan(log_determinant):
                    return False
                factor = math.exp(log_determinant / D)
                common += factor
            for i in range(D):
                for j in range(D):
                    covariances[k, i, j] = scatter[k, i, j] / factor
        if volume == EQUAL:
            for k in range(K):
                for i in range(D):
                    for j in range(D):
                        covariances[k, i, j] *= common / total_count
        return True
    if orientation == VARYING:
        return _own_orientations(volume, scatter, counts, memory, covariances, K, D)
    if shape == VARYING:
        sweeps = _SWEEPS if first else _LATER_SWEEPS
        return _common_orientation(volume, scatter, counts, memory, covariances, K, D, sweeps)
    if volume == VARYING:
        return _equal_shape_and_orientation(scatter, counts, memory, covariances, K, D, smallest)
    for i in range(D):
        for j in range(D):
            pooled = 0.0
            for k in range(K):
                pooled += scatter[k, i, j]
            for k in range(K):
                covariances[k, i, j] = pooled / total_count
    return True
