"""What the covariance structures have in common, found from the covariances of their components.

The solvers of their M-steps, on plain arrays: for single fits, where LAPACK factorizes covariances,
as for the many small mixtures of a search, which `m_step` takes from first to last. Symbols: K
components, D features; w_k shares of the points, S_k covariances of each component's; λ_k volumes,
A_k shapes, D_k orientations. The formulas are those of Celeux and Govaert (1995), "Gaussian
parsimonious clustering models", Pattern Recognition 28, section 3; where they iterate, so do
Newton's steps here, none of which is a rise of what is minimized.

**Varying volumes of one shape** (VEI, VEE, VEV). With λ_k = e^-u_k, the best C in λ_k C for given
volumes is ``sum_k w_k e^u_k S_k``, and what is left to minimize over u is

    log|sum_k w_k e^u_k S_k| - D sum_k w_k u_k,

which is convex: there is one optimum.

**One orientation** (EVE, VVE). With t_kj the j-th diagonal entry of T_k = D^T S_k D, the criterion
to minimize over the orthogonal D is

    sum_k w_k sum_j log t_kj                       if volumes vary (VVE; Flury, 1984), and
    D log sum_k w_k (prod_j t_kj)^(1/D)            if they are equal (EVE),

what remains of the expected log-likelihood once shapes and volumes are the best for D. Browne and
McNicholas (2014, "Estimating common principal components in high dimensions", Adv. Data Anal.
Classif. 8) descend by majorization, in a number of steps that grows with the ratio of the
variances. Here each step is one of Newton's over the skew-symmetric matrices X of D exp(X), by
conjugate gradients (Nocedal and Wright, *Numerical Optimization*, algorithm 7.1; Absil, Mahony and
Sepulchre, *Optimization Algorithms on Matrix Manifolds*).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from fastgmm.kernels.compilation import inner_kernel, kernel

EQUAL, VARYING, IDENTITY = 0, 1, 2
"""The letters of a structure, as numbers."""

SETTLED, NO_VARIANCE, NO_SHAPE = 0, 1, 2
"""How a search for volumes ended: there is no optimum if a component, the one that is named, has
no variance at all, or too many points in too few directions."""

_MOST_FEATURES_OF_LOOPS = 24
"""With more features, BLAS outruns loops."""

_SWEEPS = 60
_SMALLEST = 1e-300

# Volumes.
_MOST_STEPS = 200
_LAST_STEP, _ROUGH_LAST_STEP = 1e-7, 1e-2
"""A Newton step that changes no logarithm of a volume by more is the last; it squares the error."""

_NO_GAIN = 1e-20
"""A step that gains less, in nats a row, moves along what is flat but for rounding."""

_ROUNDING = 1e-13
"""So much more, beside its size, does not count as a rise of the criterion."""

_FLAT = 1e-14
"""Curvature that stands in for none, beside curvatures of up to 1."""

_LONGEST_STEP = 50.0
_MOST_HALVINGS = 30
_SUFFICIENT = 0.1
"""A step has to gain this share of what its slope promises, or is halved."""

_FARTHEST = 600.0
"""Logarithms of volumes that are farther apart are beyond float64."""

_UNSETTLED = 10.0
"""Relative size of a gradient, in last steps, that is more than what these leave."""

# Orientations.
_MOST_STEPS_OF_AXES, _ROUGH_STEPS = 50, 8
_MOST_STEPS_AGAIN, _ROUGH_STEPS_AGAIN = 10, 1
"""Where there is an orientation to begin from, the next M-step begins from the result."""

_CONVERGED = 1e-14
"""A step of Newton's that gains less, in nats a row, is the last; it squares what is missing."""

_AT_REST = 1e-28
"""What a step promises, in nats a row, that is not worth it."""

_VALUE_ROUNDING = 1e-14
_MOST_CONJUGATE_STEPS = 60
_ROUGHEST = 0.25
_LARGEST_ANGLE = 0.7
_MOST_HALVINGS_OF_ANGLES = 12
_SUFFICIENT_FALL = 1e-4
_LEAST_CURVATURE = 1e-3
_LEAST_VARIANCE = 1e-150
"""Beside a mean of 1; the square of one over it is within float64."""

_MOST_FEATURES_OF_TENSOR = 128
"""With more features, a tensor of three times so many dimensions takes too much memory."""

_FOLLOWED, _ROUGHLY_FOLLOWED = 4, 1
"""So many starts are followed to their optimum, of those that begin best."""


class Memory(NamedTuple):
    """What the M-step of a small mixture continues from in the next iteration.

    Parameters
    ----------
    exponents : ndarray of shape (K,)
        u_k of the volumes that vary.
    axes : ndarray of shape (D, D)
        Orientation that all components share, in columns.
    vectors : ndarray of shape (K, D, D)
        Principal axes of the components.
    variances, half, turned : ndarray of shape (K, D), (D, D) and (D, D)
        Scratch.
    """

    exponents: np.ndarray
    axes: np.ndarray
    vectors: np.ndarray
    variances: np.ndarray
    half: np.ndarray
    turned: np.ndarray


class View(NamedTuple):
    """What there is to know about an orientation.

    Parameters
    ----------
    turned : ndarray of shape (K, D, D)
        T_k.
    variances : ndarray of shape (K, D)
        t_kj.
    pulls : ndarray of shape (K,)
        By how much a relative change of a component's volume changes the criterion, π_k: w_k, or
        its share of the sum of the volumes.
    half : ndarray of shape (D, D)
        Scratch.
    """

    turned: np.ndarray
    variances: np.ndarray
    pulls: np.ndarray
    half: np.ndarray


class Effort(NamedTuple):
    """How far an M-step goes.

    Parameters
    ----------
    first : bool
        Whether there was no M-step before.
    least_gain : float
        What a step of a search for volumes or axes has to gain, in nats a row.
    smallest : float
        Pivots of a covariance scaled to unit diagonal that count as 0.
    """

    first: bool
    least_gain: float
    smallest: float


# -- small linear algebra --------------------------------------------------------------------------


@kernel()
def eigen(matrix, vectors, tolerance):
    """Turn a symmetric matrix into its eigenvalues on the diagonal, descending.

    By cyclic Jacobi rotations, which find small eigenvalues of graded matrices to all digits, and
    soon where the matrix is nearly diagonal: until correlations are within the tolerance. The
    vectors are rotated along with it.
    """
    D = matrix.shape[0]
    for _ in range(_SWEEPS):
        rotated = False
        for p in range(D - 1):
            for q in range(p + 1, D):
                off = matrix[p, q]
                if abs(off) <= tolerance * math.sqrt(abs(matrix[p, p] * matrix[q, q])) + _SMALLEST:
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


@inner_kernel()
def invert_triangle(matrix):
    """Turn a lower triangle into its inverse; what is above it is set to 0."""
    D = matrix.shape[0]
    for i in range(D):
        matrix[i, i] = 1.0 / matrix[i, i]
        for j in range(i):
            total = 0.0
            for m in range(j, i):
                total += matrix[i, m] * matrix[m, j]
            matrix[i, j] = -total * matrix[i, i]
        for j in range(i + 1, D):
            matrix[i, j] = 0.0


@kernel()
def invert_cholesky(matrix, whitener, smallest):
    """Fill the inverse of the lower Cholesky factor; return log|matrix|, or nan if singular.

    Singular is a matrix of which, scaled to unit diagonal, a pivot is no more than ``smallest``.
    """
    D = matrix.shape[0]
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
    invert_triangle(whitener)
    return log_determinant


@inner_kernel()
def _solve(A, B):
    """Turn B (n, m) into A^-1 B, where no pivot of A (n, n) vanishes; A is overwritten."""
    n, m = B.shape
    for p in range(n):
        for i in range(p + 1, n):
            factor = A[i, p] / A[p, p]
            if factor != 0.0:
                for j in range(p + 1, n):
                    A[i, j] -= factor * A[p, j]
                for j in range(m):
                    B[i, j] -= factor * B[p, j]
    for i in range(n - 1, -1, -1):
        for p in range(i + 1, n):
            factor = A[i, p]
            for j in range(m):
                B[i, j] -= factor * B[p, j]
        for j in range(m):
            B[i, j] /= A[i, i]


@inner_kernel()
def _multiply(A, B, out):
    """Fill out = A B, all of shape (D, D)."""
    D = A.shape[0]
    if D > _MOST_FEATURES_OF_LOOPS:
        np.dot(A, B, out)
        return
    for i in range(D):
        for j in range(D):
            total = 0.0
            for m in range(D):
                total += A[i, m] * B[m, j]
            out[i, j] = total


@inner_kernel()
def _product(A, B):
    """Return the sum of the products of entries."""
    total = 0.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            total += A[i, j] * B[i, j]
    return total


@inner_kernel()
def turn(matrix, axes, half, out):
    """Fill out = V^T M V, for a symmetric M; ``half`` is overwritten."""
    D = matrix.shape[0]
    _multiply(matrix, axes, half)
    if D > _MOST_FEATURES_OF_LOOPS:
        np.dot(axes.T, half, out)
        return
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(D):
                total += axes[m, i] * half[m, j]
            out[i, j] = total
            out[j, i] = total


@inner_kernel()
def _compose(variances, axes, out):
    """Fill out = V diag(variances) V^T."""
    D = len(variances)
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(D):
                total += axes[i, m] * variances[m] * axes[j, m]
            out[i, j] = total
            out[j, i] = total


# -- volumes ---------------------------------------------------------------------------------------


@register_jitable
def volume_factors(log_volumes, shares):
    """Return by what whiteners are multiplied so that all volumes become the mean one (E.V).

    That is the best one if the covariances are those of the components' points.
    """
    excess = log_volumes - log_volumes.max()
    return np.exp(0.5 * (excess - np.log(np.sum(shares * np.exp(excess)))))


@inner_kernel()
def _trace(matrix, white):
    """Return tr(W S W^T), for a symmetric S and a lower triangular W."""
    D = matrix.shape[0]
    trace = 0.0
    for i in range(D):
        for j in range(i + 1):
            total = 0.5 * matrix[j, j] * white[i, j]
            for m in range(j):
                total += matrix[j, m] * white[i, m]
            trace += 2.0 * white[i, j] * total
    return trace


@inner_kernel()
def _balance(moments, D, shares, exponents, white, traces):
    """Return log|C| of the common shape C = sum_k w_k e^u_k S_k, infinite beyond float64.

    Fill C^-1/2, its diagonal in the first row where ``moments`` are (K, D) variances and not (K,
    D * D) matrices, and the traces of the parts C^-1/2 (w_k e^u_k S_k) C^-1/2, which sum to the
    identity.
    """
    K, P = moments.shape
    lowest = highest = exponents[0]
    for k in range(K):
        lowest, highest = min(lowest, exponents[k]), max(highest, exponents[k])
    if not highest - lowest <= _FARTHEST:
        return np.inf
    shape = np.zeros(P)
    for k in range(K):
        traces[k] = shares[k] * math.exp(exponents[k])
        for j in range(P):
            shape[j] += traces[k] * moments[k, j]
    if P > D:
        log_determinant = invert_cholesky(shape.reshape((D, D)), white, 0.0)
        if math.isnan(log_determinant):
            return np.inf
        for k in range(K):
            traces[k] *= _trace(moments[k].reshape((D, D)), white)
        return log_determinant
    log_determinant = 0.0
    for j in range(D):
        if not shape[j] > 0.0:
            return np.inf
        log_determinant += math.log(shape[j])
        white[0, j] = 1.0 / math.sqrt(shape[j])
    for k in range(K):
        trace = 0.0
        for j in range(D):
            trace += moments[k, j] / shape[j]
        traces[k] *= trace
    return log_determinant


@inner_kernel()
def _parts(moments, D, shares, exponents, white, out):
    """Fill the parts of the components in their common shape, flattened (K, P)."""
    K, P = moments.shape
    half, part = np.empty((D, D)), np.empty((D, D))
    upper = np.ascontiguousarray(white.T)
    for k in range(K):
        factor = shares[k] * math.exp(exponents[k])
        if P > D:
            turn(moments[k].reshape((D, D)), upper, half, part)
            for i in range(D):
                for j in range(D):
                    out[k, i * D + j] = factor * part[i, j]
        else:
            for j in range(D):
                out[k, j] = factor * white[0, j] * moments[k, j] * white[0, j]


@inner_kernel()
def _overlaps(parts, out):
    """Fill out (K, K) with the products of the parts of components."""
    K, P = parts.shape
    if P > _MOST_FEATURES_OF_LOOPS**2:
        np.dot(parts, parts.T, out)
        return
    for k in range(K):
        for m in range(k + 1):
            total = 0.0
            for j in range(P):
                total += parts[k, j] * parts[m, j]
            out[k, m] = total
            out[m, k] = total


@inner_kernel()
def _center(exponents, shares):
    """Move exponents so that their weighted mean is 0, which changes nothing."""
    mean = 0.0
    for k in range(len(shares)):
        mean += shares[k] * exponents[k]
    exponents -= mean


@inner_kernel()
def _imbalance(traces, D, shares):
    """Return the largest entry of the gradient, relative to the component's share."""
    largest = 0.0
    for k in range(len(shares)):
        largest = max(largest, abs(traces[k] / (D * shares[k]) - 1.0))
    return largest


@inner_kernel()
def _settle_volumes(moments, D, shares, exponents, first, least_gain):
    """Find the best u of components with points, from those given or, at ``first``, from afar."""
    K, P = moments.shape
    white, traces = np.empty((D, D)), np.empty(K)
    new_white, new_traces = np.empty((D, D)), np.empty(K)
    parts, curvature, newton = np.empty((K, P)), np.empty((K, K)), np.empty((K, 1))
    rough = least_gain > 0.0
    last_step = _ROUGH_LAST_STEP if rough else _LAST_STEP
    if first:
        exponents[:] = 0.0
    _center(exponents, shares)
    value = _balance(moments, D, shares, exponents, white, traces)
    if not value < np.inf:
        exponents[:] = 0.0
        value = _balance(moments, D, shares, exponents, white, traces)
        if not value < np.inf:
            return False
    for step in range(-1, _MOST_STEPS):
        length, gain, longest = 1.0, 0.0, 0.0
        unsettled = _imbalance(traces, D, shares)
        if step < 0:
            if not first:
                continue
            # Celeux and Govaert's step, which lands near the optimum from however far away.
            for k in range(K):
                newton[k, 0] = -math.log(traces[k] / shares[k])
        elif rough and unsettled * unsettled <= 4.0 * least_gain:
            for k in range(K):  # the same step: so near, Newton's gains little more
                exponents[k] -= math.log(traces[k] / (D * shares[k]))
            break
        else:
            # The Hessian is diag(traces) - parts parts^T. It has no curvature along equal changes
            # of all u, which change nothing; what is added keeps the step from going there.
            _parts(moments, D, shares, exponents, white, parts)
            _overlaps(parts, curvature)
            for k in range(K):
                newton[k, 0] = (D * shares[k] - traces[k]) / math.sqrt(traces[k])
                for m in range(K):
                    scale = math.sqrt(traces[k]) * math.sqrt(traces[m])
                    curvature[k, m] = scale / D - curvature[k, m] / scale
                curvature[k, k] += 1.0 + _FLAT
            _solve(curvature, newton)
            for k in range(K):
                newton[k, 0] /= math.sqrt(traces[k])
                gain += (D * shares[k] - traces[k]) * newton[k, 0]
                longest = max(longest, abs(newton[k, 0]))
            if not longest > last_step:
                exponents += newton[:, 0]
                break
            if gain <= _NO_GAIN:
                break
            length = min(1.0, _LONGEST_STEP / longest)
        lower = False
        for _ in range(1 if step < 0 else _MOST_HALVINGS):
            trial = exponents + length * newton[:, 0]
            _center(trial, shares)
            found = _balance(moments, D, shares, trial, new_white, new_traces)
            fall = _SUFFICIENT * length * gain
            if found < np.inf and found <= value - fall + _ROUNDING * (1.0 + abs(found)):
                lower = True
                break
            length *= 0.5
        if lower:
            exponents[:] = trial
            value = found
            white, new_white = new_white, white
            traces, new_traces = new_traces, traces
        elif step >= 0:
            break
    # The gradient stays away from 0 where there is no optimum.
    return _imbalance(traces, D, shares) < _UNSETTLED * last_step


@kernel()
def common_shape(moments, D, shares, exponents, first, least_gain, shape):
    """Fill the common shape C of components, variances (D,) or a matrix (D * D,).

    Parameters
    ----------
    moments : ndarray of shape (K, D) or (K, D * D)
        S_k; in units in which the pooled covariance is near 1, if these are extreme.
    D : int
        Number of features.
    shares : ndarray of shape (K,)
        w_k; 0 for components without points.
    exponents : ndarray of shape (K,)
        u_k: what is found and, unless at ``first``, what that begins from.
    first : bool
        Whether nothing is known of them.
    least_gain : float
        What a step has to gain, in nats a row; above 0 where the next M-step continues from the
        result, and it is enough to come near.
    shape : ndarray of shape (D,) or (D * D,)
        What is found.

    Returns
    -------
    status, component : int
        How the search ended; where there is no optimum, for which component.
    """
    P = moments.shape[1]
    present = np.flatnonzero(shares > 0.0)
    for k in present:
        trace = 0.0
        for j in range(0, P, 1 if P == D else D + 1):
            trace += moments[k, j]
        if not trace > 0.0:
            return NO_VARIANCE, k
    own, own_shares, own_exponents = moments, shares, exponents
    if len(present) < len(shares):
        own, own_shares, own_exponents = moments[present], shares[present], exponents[present]
    settled = _settle_volumes(own, D, own_shares, own_exponents, first, least_gain)
    shape[:] = 0.0
    for i in range(len(present)):
        exponents[present[i]] = own_exponents[i]
        factor = own_shares[i] * math.exp(own_exponents[i])
        for j in range(P):
            shape[j] += factor * own[i, j]
    if not settled:
        return NO_SHAPE, present[np.argmax(own_exponents)]
    return SETTLED, 0


@kernel()
def balance_variances(variances, shares, exponents, first, least_gain):
    """Turn variances (K, D) into those of one shape, and a volume for each, that fit best (VE.).

    Arguments and result are those of ``common_shape``. No feature may be without variance.
    """
    K, D = variances.shape
    pooled, shape = np.zeros(D), np.empty(D)
    for k in range(K):
        for j in range(D):
            pooled[j] += shares[k] * variances[k, j]
    relative = variances / pooled
    status, component = common_shape(relative, D, shares, exponents, first, least_gain, shape)
    for k in range(K):
        volume = 0.0
        for j in range(D):
            volume += relative[k, j] / shape[j]
        for j in range(D):
            variances[k, j] = volume / D * (shape[j] * pooled[j])
    return status, component


# -- orientations ----------------------------------------------------------------------------------


@inner_kernel()
def _empty_view(K, D):
    """Return a view to be filled."""
    return View(np.empty((K, D, D)), np.empty((K, D)), np.empty(K), np.empty((D, D)))


@kernel()
def _look(covariances, shares, equal_volumes, axes, view):
    """Return the criterion at an orientation, and fill the view."""
    turned, variances, pulls, half = view
    K, D = variances.shape
    highest, mean = -np.inf, 0.0
    for k in range(K):
        turn(covariances[k], axes, half, turned[k])
        total = 0.0
        for j in range(D):
            # Or the rounding of axes that are not quite orthogonal to those of large variances.
            variances[k, j] = max(turned[k, j, j], _LEAST_VARIANCE)
            total += math.log(variances[k, j])
        pulls[k] = total / D
        highest = max(highest, pulls[k])
        mean += shares[k] * pulls[k]
    if not equal_volumes:
        pulls[:] = shares
        return D * mean
    sum_of_volumes = 0.0
    for k in range(K):
        pulls[k] = shares[k] * math.exp(pulls[k] - highest)
        sum_of_volumes += pulls[k]
    pulls /= sum_of_volumes
    return D * (highest + math.log(sum_of_volumes))


@kernel()
def _gradient(view):
    """Return what products with the Hessian begin with, the gradient and the Hessian's diagonal.

    With c_kj = π_k / t_kj, C_k = diag(c_k), the gradient is the skew-symmetric G = sum_k (T_k C_k
    - C_k T_k).
    """
    turned, variances, pulls, _ = view
    K, D = variances.shape
    linear, gradient, diagonal = np.zeros((D, D)), np.empty((D, D)), np.zeros((D, D))
    for k in range(K):
        for i in range(D):
            weight = pulls[k] / variances[k, i]
            for j in range(D):
                linear[i, j] += weight * turned[k, i, j]
                diagonal[i, j] += weight * variances[k, j]
    total = pulls.sum()
    for i in range(D):
        for j in range(i + 1):
            change = linear[j, i] - linear[i, j]
            gradient[i, j], gradient[j, i] = change, -change
            mean = 0.5 * (linear[i, j] + linear[j, i])
            linear[i, j] = linear[j, i] = mean
            # Where T_k are diagonal, the Hessian is too, with these entries.
            entry = diagonal[i, j] + diagonal[j, i] - 2.0 * total + _LEAST_CURVATURE
            diagonal[i, j] = diagonal[j, i] = entry
    return linear, gradient, diagonal


@kernel()
def _own_row_tensor(view):
    """Return what makes row i of a product with the Hessian from column i of X, for each i.

    Entry ijl is ``sum_k c_ki (T_kjl - 2 T_kij T_kil / t_ki)``. The components are summed up once,
    and no longer in each product. Empty where it would take too much memory.
    """
    turned, variances, pulls, _ = view
    K, D = variances.shape
    n_rows = D if D <= _MOST_FEATURES_OF_TENSOR else 0
    tensor = np.zeros((n_rows, D, D))
    for i in range(n_rows):
        for k in range(K):
            weight = pulls[k] / variances[k, i]
            twice = 2.0 * weight / variances[k, i]
            for j in range(D):
                factor = twice * turned[k, i, j]
                for m in range(D):
                    tensor[i, j, m] += weight * turned[k, j, m] - factor * turned[k, i, m]
    return tensor


@kernel()
def _hessian_times(X, view, equal_volumes, linear, tensor, out):
    """Fill the product of the Hessian and a skew-symmetric matrix.

    From the derivative of the gradient along X, T_k' = T_k X - X T_k, made symmetric as a bilinear
    form.
    """
    turned, variances, pulls, half = view
    K, D = variances.shape
    _multiply(linear, X, half)
    if tensor.shape[0] > 0:
        for i in range(D):
            for j in range(D):
                factor = X[j, i]
                for m in range(D):
                    half[i, m] += factor * tensor[i, j, m]
    else:
        product = np.empty((D, D))
        for k in range(K):
            _multiply(turned[k], X, product)
            for i in range(D):
                weight = pulls[k] / variances[k, i]
                twice = 2.0 * weight * product[i, i] / variances[k, i]
                for j in range(D):
                    half[i, j] += weight * product[j, i] - twice * turned[k, i, j]
    if equal_volumes:  # the volumes change, and with them the shares π_k
        changes = np.empty(K)
        for k in range(K):
            changes[k] = 0.0
            for i in range(D):
                total = 0.0
                for j in range(D):
                    total += turned[k, i, j] * X[j, i]
                changes[k] += 2.0 / D * total / variances[k, i]
        mean = np.sum(pulls * changes)
        for k in range(K):
            for i in range(D):
                factor = (changes[k] - mean) * pulls[k] / variances[k, i]
                for j in range(D):
                    half[i, j] += factor * turned[k, i, j]
    for i in range(D):
        for j in range(D):
            out[i, j] = half[j, i] - half[i, j]


@inner_kernel()
def _newton_direction(view, equal_volumes, at_rest, direction):
    """Fill Newton's step, or as far on the way there as the criterion bends up.

    Return the slope along it; 0 where there is nowhere to go.
    """
    D = direction.shape[0]
    linear, gradient, diagonal = _gradient(view)
    residual, conjugate = np.empty((D, D)), np.empty((D, D))
    image = np.empty((D, D))
    size = 0.0
    for i in range(D):
        for j in range(D):
            direction[i, j] = 0.0
            residual[i, j] = -gradient[i, j]
            conjugate[i, j] = residual[i, j] / diagonal[i, j]
            size += residual[i, j] * conjugate[i, j]
    first = size
    if not first > at_rest:
        return 0.0
    tensor = _own_row_tensor(view)
    enough = min(_ROUGHEST**2, first) * first
    for step in range(_MOST_CONJUGATE_STEPS):
        _hessian_times(conjugate, view, equal_volumes, linear, tensor, image)
        bend = _product(conjugate, image)
        if bend <= 0.0:
            if step == 0:
                direction[:] = conjugate
            break
        before, size = size, 0.0
        for i in range(D):
            for j in range(D):
                direction[i, j] += before / bend * conjugate[i, j]
                residual[i, j] -= before / bend * image[i, j]
                size += residual[i, j] * residual[i, j] / diagonal[i, j]
        if size <= enough:
            break
        for i in range(D):
            for j in range(D):
                conjugate[i, j] = residual[i, j] / diagonal[i, j] + size / before * conjugate[i, j]
    return _product(gradient, direction)


@inner_kernel()
def _descend(covariances, shares, equal_volumes, axes, found_variances, most_steps, at_rest):
    """Turn axes to the nearest optimum, or as far as that many steps lead.

    Fill the variances along them, and return the criterion.
    """
    K, D = covariances.shape[:2]
    view, new_view = _empty_view(K, D), _empty_view(K, D)
    direction, new_axes = np.empty((D, D)), np.empty((D, D))
    divisor, rotation = np.empty((D, D)), np.empty((D, D))
    value = _look(covariances, shares, equal_volumes, axes, view)
    for _ in range(most_steps):
        gain = -_newton_direction(view, equal_volumes, at_rest, direction)
        if gain == 0.0:
            break
        largest = 0.0
        for i in range(D):
            for j in range(i):
                largest = max(largest, abs(direction[i, j]))
        lower, length = False, min(1.0, _LARGEST_ANGLE / largest)
        for _ in range(_MOST_HALVINGS_OF_ANGLES):
            # Cayley's transform: orthogonal, and equal to exp(2 half) to the second order.
            for i in range(D):
                for j in range(D):
                    half = 0.5 * length * direction[i, j]
                    divisor[i, j] = (i == j) - half
                    rotation[i, j] = (i == j) + half
            _solve(divisor, rotation)
            _multiply(axes, rotation, new_axes)
            found = _look(covariances, shares, equal_volumes, new_axes, new_view)
            rounding = _VALUE_ROUNDING * (1.0 + abs(value))
            if found <= value - _SUFFICIENT_FALL * length * gain + rounding:
                lower = True
                break
            length *= 0.5
        if not lower:
            break
        value = found
        axes[:] = new_axes
        view, new_view = new_view, view
        if gain < _CONVERGED:
            break
    for k in range(K):
        for j in range(D):
            found_variances[k, j] = max(view.turned[k, j, j], 0.0)
    return value


@kernel()
def common_orientation(covariances, shares, equal_volumes, starts, axes, follow, least_gain):
    """Turn axes into the best orientation found for all components (.VE).

    Parameters
    ----------
    covariances : ndarray of shape (K, D, D)
        S_k.
    shares : ndarray of shape (K,)
        w_k, above 0.
    equal_volumes : bool
        Whether all components have the same volume.
    starts : ndarray of shape (n, D, D)
        Orientations to begin from; the best few are followed, if they are better than ``axes``.
    axes : ndarray of shape (D, D)
        What is found, in columns.
    follow : bool
        Whether ``axes`` are to begin from as well.
    least_gain : float
        What a step has to gain, in nats a row; above 0 where the next M-step continues from the
        result, and one step from there is enough.

    Returns
    -------
    ndarray of shape (K, D)
        Variances of the components along the axes.
    """
    K, D = covariances.shape[:2]
    variances = np.empty((K, D))
    size = 0.0
    for k in range(K):
        for j in range(D):
            size += covariances[k, j, j] / (K * D)
    scaled = covariances / size
    most_steps, again, followed = _MOST_STEPS_OF_AXES, _MOST_STEPS_AGAIN, _FOLLOWED
    if least_gain > 0.0:
        most_steps, again, followed = _ROUGH_STEPS, _ROUGH_STEPS_AGAIN, _ROUGHLY_FOLLOWED
    # Newton's step gains half of what the gradient in its own norm is.
    at_rest = max(_AT_REST, 2.0 * least_gain)
    if len(starts) == 0:
        _descend(scaled, shares, equal_volumes, axes, variances, again, at_rest)
        return variances * size
    view = _empty_view(K, D)
    values = np.empty(len(starts))
    for i in range(len(starts)):
        values[i] = _look(scaled, shares, equal_volumes, starts[i], view)
    best_axes, best_variances = axes.copy(), np.empty((K, D))
    candidate = np.empty((D, D))
    best = here = np.inf
    if follow:
        here = _look(scaled, shares, equal_volumes, axes, view)
        best = _descend(scaled, shares, equal_volumes, best_axes, best_variances, again, at_rest)
    for _ in range(min(followed, len(starts))):
        i = np.argmin(values)
        if not values[i] < here:
            break
        values[i] = np.inf
        candidate[:] = starts[i]
        value = _descend(scaled, shares, equal_volumes, candidate, variances, most_steps, at_rest)
        if value < best:
            best = value
            best_axes[:] = candidate
            best_variances[:] = variances
    axes[:] = best_axes
    return best_variances * size


# -- the M-step of a small mixture -----------------------------------------------------------------


@kernel()
def memory_of(K, D):
    """Return the memory of a mixture of which nothing is known."""
    vectors = np.zeros((K, D, D))
    for k in range(K):
        for j in range(D):
            vectors[k, j, j] = 1.0
    scratch = np.empty((K, D)), np.empty((D, D)), np.empty((D, D))
    return Memory(np.zeros(K), np.eye(D), vectors, *scratch)


@inner_kernel()
def _pool(covariances, shares, out):
    """Fill the mean of matrices (K, D, D)."""
    K, D = covariances.shape[:2]
    out[:] = 0.0
    for k in range(K):
        for i in range(D):
            for j in range(D):
                out[i, j] += shares[k] * covariances[k, i, j]


@inner_kernel()
def _settle_variances(volume, shape, variances, shares, memory, effort):
    """Turn variances along settled axes into those of the structure; say whether there are any.

    But for equal volumes of varying shapes (EV.), which ``m_step`` leaves for the end.
    """
    K, D = variances.shape
    if shape == VARYING:
        return True
    if shape == IDENTITY:
        for k in range(K):
            mean = 0.0
            for j in range(D):
                mean += variances[k, j] / D
            for j in range(D):
                variances[k, j] = mean
    if volume == VARYING and shape == EQUAL:
        for j in range(D):
            if not variances[:, j].max() > 0.0:
                return False
        status, _ = balance_variances(
            variances, shares, memory.exponents, effort.first, effort.least_gain
        )
        return status == SETTLED
    if volume == EQUAL:
        for j in range(D):
            pooled = 0.0
            for k in range(K):
                pooled += shares[k] * variances[k, j]
            for k in range(K):
                variances[k, j] = pooled
    return True


@inner_kernel()
def _starts_of_orientation(covariances, shares):
    """Return principal axes: of each component, and of their sums as they are and of one size."""
    K, D = covariances.shape[:2]
    starts, matrix = np.zeros((K + 2, D, D)), np.empty((D, D))
    sizes = np.empty(K)
    for k in range(K):
        sizes[k] = 0.0
        for j in range(D):
            sizes[k] += covariances[k, j, j]
    for i in range(K + 2):
        for j in range(D):
            starts[i, j, j] = 1.0
        if i < K:
            matrix[:] = covariances[i]
        else:
            _pool(covariances, shares if i == K else shares / sizes, matrix)
        eigen(matrix, starts[i], _ROUNDING)
    return starts


@inner_kernel()
def _varying_volumes(covariances, shares, memory, whiteners, log_determinants, effort):
    """VEE: volumes of their own, all else in common."""
    K, D = covariances.shape[:2]
    moments, shape = covariances.reshape((K, D * D)), np.empty(D * D)
    white = np.empty((D, D))
    status, _ = common_shape(
        moments, D, shares, memory.exponents, effort.first, effort.least_gain, shape
    )
    if status != SETTLED:
        return False
    log_determinant = invert_cholesky(shape.reshape((D, D)), white, effort.smallest)
    if math.isnan(log_determinant):
        return False
    for k in range(K):
        volume = _trace(covariances[k], white) / D
        for i in range(D):
            for j in range(D):
                whiteners[k, i, j] = white[i, j] / math.sqrt(volume)
        log_determinants[k] = log_determinant + D * math.log(volume)
    return True


@kernel()
def m_step(letters, covariances, shares, memory, whiteners, log_determinants, effort):
    """Take the M-step of a small mixture; say whether its likelihood has a maximum.

    Parameters
    ----------
    letters : ndarray of shape (3,)
        How volume, shape and orientation are: EQUAL, VARYING or IDENTITY.
    covariances : ndarray of shape (K, D, D)
        S_k, overwritten; where the structure is diagonal, only their diagonals count.
    shares : ndarray of shape (K,)
        w_k, above 0.
    memory : Memory
        What the M-step before came to, and this one continues from.
    whiteners : ndarray of shape (K, D, D)
        What is found: inverse Cholesky factors,
    log_determinants : ndarray of shape (K,)
        and logarithms of the covariances' determinants.
    effort : Effort
        How far to go.
    """
    volume, shape, orientation = letters
    K, D = covariances.shape[:2]
    if orientation == EQUAL and shape == EQUAL and volume == VARYING:
        return _varying_volumes(covariances, shares, memory, whiteners, log_determinants, effort)
    half, turned, variances = memory.half, memory.turned, memory.variances
    if orientation == EQUAL and shape == EQUAL:
        _pool(covariances, shares, turned)
        covariances[:] = turned
    elif orientation in (IDENTITY, EQUAL) or shape == EQUAL:
        if orientation == EQUAL:
            starts = np.empty((0, D, D))
            if effort.first:
                starts = _starts_of_orientation(covariances, shares)
            variances[:] = common_orientation(
                covariances, shares, volume == EQUAL, starts, memory.axes, not effort.first,
                effort.least_gain,
            )  # fmt: skip
        for k in range(K):
            if orientation == IDENTITY:
                for j in range(D):
                    variances[k, j] = covariances[k, j, j]
            elif orientation == VARYING:
                turn(covariances[k], memory.vectors[k], half, turned)
                # A squared correlation is about what turning it away gains, in nats a row.
                eigen(turned, memory.vectors[k], max(math.sqrt(effort.least_gain), _ROUNDING))
                for j in range(D):
                    variances[k, j] = max(turned[j, j], 0.0)
        if not _settle_variances(volume, shape, variances, shares, memory, effort):
            return False
        for k in range(K):
            if orientation == IDENTITY:
                log_determinants[k] = 0.0
                for j in range(D):
                    if not variances[k, j] > 0.0:
                        return False
                    whiteners[k, j, j] = 1.0 / math.sqrt(variances[k, j])
                    log_determinants[k] += math.log(variances[k, j])
            else:
                axes = memory.axes if orientation == EQUAL else memory.vectors[k]
                _compose(variances[k], axes, covariances[k])
    for k in range(K):
        if orientation != IDENTITY:
            log_determinants[k] = invert_cholesky(covariances[k], whiteners[k], effort.smallest)
        if math.isnan(log_determinants[k]):
            return False
    if volume == EQUAL and shape == VARYING:
        factors = volume_factors(log_determinants / D, shares)
        for k in range(K):
            whiteners[k] *= factors[k]
            log_determinants[k] -= 2.0 * D * math.log(factors[k])
    return True
