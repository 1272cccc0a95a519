"""Whole fits of small mixtures by EM, many of them in one call.

For data so few that a pass takes less time than a call from Python: every fit, of a candidate of
a search or of a resample, has a slot, which runs its EM from first to last, each E-step by the pass
of ``mixture_pass``. Symbols are those of that module; C fits to S sets of rows.

EM is accelerated in its sufficient statistics, which are the same for every structure: from the
statistics of three successive iterations, those that they approach are extrapolated (SQUAREM, step
S3 of Varadhan and Roland, 2008, Scandinavian Journal of Statistics 35). As they advise, a step may
lower the log-likelihood a little, of which the highest is what counts. Convergence is judged by the
gain that is still to come: where steps shrink by a factor of λ, gains do by a = λ², and those to
come are a/(1 - a) of the last one (Aitken's extrapolation, as in McNicholas et al., 2010,
Computational Statistics and Data Analysis 54); an extrapolation of length L was one of steps that
shrink by 1 - 1/L. Gains may shrink before they grow: three tenths of the tolerance may be to come.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import borrowed, call_slot, inner_kernel, slot_kernel, task_at
from fastgmm.kernels.microkernels.moments import lane_sum
from fastgmm.kernels.microkernels.simd import BLOCK
from fastgmm.kernels.mixture_pass import (
    GIVEN_LABELS,
    MOMENTS,
    PassTask,
)
from fastgmm.kernels.moments import block_place, diagonal_place
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.structure_m_steps import (
    IDENTITY,
    Effort,
    Memory,
    invert_triangle,
    m_step,
    memory_of,
)
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch

# How a fit ended.
CONVERGED, MAX_ITER, EMPTY, SINGULAR, FALLEN = 0, 1, 2, 3, 4

_LANES = ROWS * BLOCK.n_bytes // 8
"""Lanes of a tile are a multiple of this: those of the widest block of registers."""
_MOST_LANES = 320
_LOG_TWO_PI = math.log(2.0 * math.pi)

_PLAIN_ITERATIONS = 5
"""Iterations of EM before the first extrapolation: what the start was matters that long."""
_LONGEST_STEP = 4.0
"""Length of the first extrapolation, in steps of EM; those that succeed make it longer."""
_LARGEST_FALL = 3e-3
"""By so much an extrapolation may lower the highest log-likelihood l, beside 1 + abs(l)."""
_SHARE_TO_COME = 0.3
"""The gain that may be to come, as a share of the tolerance."""
_NEGLIGIBLE_GAIN = 1e-3
"""A gain of this share of the tolerance is the last, whatever seems to come."""
_LEAST_GAIN = 0.03
"""What an M-step may leave to be gained by the next one, as a share of the tolerance."""
_ROUNDING = 1e-12


class SmallFits(NamedTuple):
    """All that the fits read and write.

    Parameters
    ----------
    run_pass : int
        What ``call_slot`` runs a pass by (``mixture_pass.pass_address``).
    X : ndarray of shape (S, N, D)
        Sets of rows.
    weights : ndarray of shape (S, N)
        Weights of the rows.
    rows_of : ndarray of shape (C,)
        Which rows each mixture is fitted to.
    labels : ndarray of shape (C, N)
        Cluster of each row where a fit begins; -1 for rows that do not count in the first M-step.
    given : ndarray of bool of shape (C,)
        Fits that begin from the mixture that is where theirs will be found instead.
    n_components : ndarray of shape (C,)
        K of each mixture.
    letters : ndarray of shape (C, 3)
        Volume, shape and orientation of each, as ``structure_m_steps`` numbers them.
    amounts : ndarray of shape (D,)
        Added to the variances of features in each M-step.
    tol, mean_tol : float
        A fit ends when the log-likelihood l is to rise by less than tol * (1 + abs(l)), or when an
        iteration changes it by less than mean_tol for each unit of weight.
    max_iter : int
        Most iterations.
    smallest : float
        As in ``Effort``.
    smallest_share : float
        A component with no more of the weight has no points.
    rounding : float
        A fall of the mean log-likelihood by this times 1 + its size is none.
    farthest_shared : float
        Means that are no farther from that of all rows, in standard deviations of their components,
        share it as the point that moments are taken about.
    mixture_weights : ndarray of shape (C, K_max)
        What is found: the weights,
    means : ndarray of shape (C, K_max, D)
        means,
    whiteners : ndarray of shape (C, K_max, D, D)
        inverse Cholesky factors of the covariances,
    log_likelihood, entropy : ndarray of shape (C,)
        log-likelihood and entropy of the responsibilities, in nats,
    n_iter, status : ndarray of shape (C,)
        the number of iterations, and how the fit ended.
    """

    run_pass: int
    X: np.ndarray
    weights: np.ndarray
    rows_of: np.ndarray
    labels: np.ndarray
    given: np.ndarray
    n_components: np.ndarray
    letters: np.ndarray
    amounts: np.ndarray
    tol: float
    mean_tol: float
    max_iter: int
    smallest: float
    smallest_share: float
    rounding: float
    farthest_shared: float
    mixture_weights: np.ndarray
    means: np.ndarray
    whiteners: np.ndarray
    log_likelihood: np.ndarray
    entropy: np.ndarray
    n_iter: np.ndarray
    status: np.ndarray


class Moments(NamedTuple):
    """What an M-step is taken from.

    Parameters
    ----------
    counts : ndarray of shape (K,)
        Sums of the responsibilities.
    means : ndarray of shape (K, D)
        Means of the components.
    scatter : ndarray of shape (K, D, D)
        Scatter matrices about them; where the structure is diagonal, only their diagonals.
    """

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray


class Mixture(NamedTuple):
    """What an M-step leads to: the logarithms of the weights, and what ``m_step`` fills."""

    log_weights: np.ndarray
    means: np.ndarray
    whiteners: np.ndarray
    log_determinants: np.ndarray


@inner_kernel()
def _empty_moments(K, D):
    return Moments(np.empty(K), np.empty((K, D)), np.empty((K, D, D)))


@inner_kernel()
def _empty_mixture(K, D):
    return Mixture(np.empty(K), np.empty((K, D)), np.zeros((K, D, D)), np.empty(K))


@inner_kernel()
def _lanes_of_tiles(N):
    """Return the lanes that cut few rows into tiles with the fewest lanes left over."""
    if N > BLOCK_ROWS:
        return BLOCK_ROWS // 4  # tiles must not reach beyond their block
    n_tiles = (N + _MOST_LANES - 1) // _MOST_LANES
    return ((N + n_tiles - 1) // n_tiles + _LANES - 1) // _LANES * _LANES


@inner_kernel()
def _pass_over(X, weights, K, diagonal, mode, labels):
    """Return the task of a pass over all rows, about the mean of each component, in one slot."""
    N, D = X.shape
    T = _lanes_of_tiles(N)
    n_panels = (D + ROWS - 1) // ROWS
    if diagonal:
        packed = D
        first = (K + ROWS - 1) // ROWS * ROWS * ((2 * D + ROWS - 1) // ROWS * ROWS)
        second = 0
    else:
        packed = 0
        for i in range(0, D, ROWS):
            rows = min(ROWS, D - i)
            packed += (i + rows) * rows
        first = K * D
        second = K * ROWS * ROWS * (n_panels * (n_panels + 1) // 2)
    nothing = np.zeros(K * D)
    return PassTask(
        X,
        weights,
        np.int64(0),
        np.int64(T),
        diagonal,
        np.int64(mode),
        np.int64(1),
        np.zeros(K),
        0.0,
        np.zeros(K * packed),
        nothing,
        nothing[:D],
        nothing[:D],
        np.zeros(K * D),
        nothing,
        False,
        False,
        np.inf,
        labels[:0],
        np.zeros((1, K)),
        np.zeros((1, first)),
        np.zeros((1, second)),
        aligned_scratch(T, nothing).reshape((1, T)),
        nothing[:0],
        labels,
        np.empty((0, 0)),
    )


@inner_kernel()
def _about_center(task, shifts):
    """Return the task of the same pass about the mean of all rows."""
    return PassTask(*task[:10], shifts, *task[11:15], True, *task[16:])


@inner_kernel()
def _run_pass(address, task):
    """Run a pass; return the log-likelihood."""
    likelihood = task.likelihood[0]
    task.counts[:] = 0.0
    task.first[:] = 0.0
    task.second[:] = 0.0
    likelihood[:] = 0.0
    call_slot(address, task, np.int64(0))
    return lane_sum(likelihood, 0, task.lanes)


@inner_kernel()
def _load_mixture(mixture, diagonal, task, farthest_shared):
    """Lay a mixture out as a pass reads it; say whether one about the center loses no digits."""
    log_weights, means, whiteners, log_determinants = mixture
    K, D = means.shape
    constants, packed, references = task.constants, task.whiteners, task.references
    shifts, near = task.shifts, True
    at = 0
    for k in range(K):
        constants[k] = log_weights[k] - 0.5 * (log_determinants[k] + D * _LOG_TWO_PI)
        for i in range(D):
            references[k * D + i] = means[k, i]
            shift = distance = 0.0
            for j in range(i if diagonal else 0, i + 1):
                product = whiteners[k, i, j] * means[k, j]
                shift -= product
                distance += abs(product)
            shifts[k * D + i] = shift
            near = near and distance <= farthest_shared
        if diagonal:
            for j in range(D):
                packed[k * D + j] = whiteners[k, j, j]
        else:
            for first in range(0, D, ROWS):
                last = min(first + ROWS, D)
                for column in range(last):
                    for i in range(first, last):
                        packed[at] = whiteners[k, i, column]
                        at += 1
    return near


@inner_kernel()
def _take_moments(task, diagonal, offset, moments):
    """Fill moments from the sums of a pass."""
    counts, means, scatter = moments
    K, D = means.shape
    first, second = task.first[0], task.second[0]
    references, counted = task.references, task.counts[0]
    n_columns = (2 * D + ROWS - 1) // ROWS * ROWS
    size = second.shape[0] // K
    for k in range(K):
        count = counted[k]
        counts[k] = count
        if not count > 0.0:
            continue
        for j in range(D):
            offset[j] = first[diagonal_place(k, j, n_columns) if diagonal else k * D + j]
            means[k, j] = offset[j] / count
            if not task.shared:
                means[k, j] += references[k * D + j]
        for i in range(D):
            if diagonal:
                square = first[diagonal_place(k, D + i, n_columns)]
                scatter[k, i, i] = square - offset[i] * offset[i] / count
                continue
            for j in range(i + 1):
                product = second[k * size + block_place(i, j)]
                scatter[k, i, j] = product - offset[i] * offset[j] / count
                scatter[k, j, i] = scatter[k, i, j]


@inner_kernel()
def _expected_log_density(mixture, moments, offset):
    """Return the sum over rows of the expected log-density with the component, in nats."""
    log_weights, means, whiteners, log_determinants = mixture
    K, D = means.shape
    total = 0.0
    for k in range(K):
        count, scatter, white = moments.counts[k], moments.scatter[k], whiteners[k]
        for j in range(D):
            offset[j] = moments.means[k, j] - means[k, j]
        squares = 0.0
        for i in range(D):
            shift = 0.0
            for j in range(i + 1):
                if white[i, j] == 0.0:  # where the structure is diagonal, scatter has nothing there
                    continue
                shift += white[i, j] * offset[j]
                product = 0.5 * white[i, j] * scatter[j, j]
                for m in range(j):
                    if white[i, m] != 0.0:
                        product += white[i, m] * scatter[j, m]
                squares += 2.0 * white[i, j] * product
            squares += count * shift * shift
        constant = log_weights[k] - 0.5 * (log_determinants[k] + D * _LOG_TWO_PI)
        total += count * constant - 0.5 * squares
    return total


@inner_kernel()
def _centered(X, weights, center):
    """Return rows about their mean, which is filled."""
    N, D = X.shape
    moved = np.empty((D, N)).T  # columns of adjacent entries are the fastest to load
    total = weights.sum()
    for j in range(D):
        center[j] = 0.0
        for n in range(N):
            center[j] += weights[n] * X[n, j]
        center[j] /= total
        for n in range(N):
            moved[n, j] = X[n, j] - center[j]
    return moved


@inner_kernel()
def _feature_scales(X, weights, scales):
    """Fill the inverse standard deviations of features about 0, or ones where they are 0."""
    N, D = X.shape
    total = weights.sum()
    for j in range(D):
        square = 0.0
        for n in range(N):
            square += weights[n] * X[n, j] * X[n, j]
        scales[j] = math.sqrt(total / square) if square > 0.0 else 1.0


@inner_kernel()
def _lay_out(moments, scales, diagonal, vector):
    """Lay statistics about 0 side by side, features in their standard deviations."""
    counts, means, scatter = moments
    K, D = means.shape
    at = 0
    for k in range(K):
        count = counts[k]
        vector[at] = count
        at += 1
        for i in range(D):
            vector[at] = count * means[k, i] * scales[i]
            at += 1
            for j in range(i if diagonal else 0, i + 1):
                second = scatter[k, i, j] + count * means[k, i] * means[k, j]
                vector[at] = second * scales[i] * scales[j]
                at += 1


@inner_kernel()
def _read_back(vector, scales, diagonal, smallest_count, moments):
    """Fill moments from where they lie side by side; say whether they can be of any rows."""
    counts, means, scatter = moments
    K, D = means.shape
    at = 0
    for k in range(K):
        count = vector[at]
        at += 1
        if not count > smallest_count:
            return False
        counts[k] = count
        for i in range(D):
            means[k, i] = vector[at] / (scales[i] * count)
            at += 1
            for j in range(i if diagonal else 0, i + 1):
                second = vector[at] / (scales[i] * scales[j])
                scatter[k, i, j] = second - count * means[k, i] * means[k, j]
                scatter[k, j, i] = scatter[k, i, j]
                at += 1
            if not scatter[k, i, i] > 0.0:
                return False
    return True


@inner_kernel()
def _distance(first, second):
    """Return the Euclidean distance of two vectors."""
    total = 0.0
    for i in range(first.shape[0]):
        total += (second[i] - first[i]) ** 2
    return math.sqrt(total)


@inner_kernel()
def _extrapolate(vectors, longest, out):
    """Fill what three vectors approach, and return the length of the step to it, in steps of EM."""
    zero, one, two = vectors[0], vectors[1], vectors[2]
    square = bend = 0.0
    for i in range(out.shape[0]):
        step = one[i] - zero[i]
        square += step * step
        bend += (two[i] - one[i] - step) ** 2
    length = longest
    if square < longest * longest * bend:
        length = math.sqrt(square / bend)
    if length <= 1.0:
        return 1.0
    for i in range(out.shape[0]):
        step = one[i] - zero[i]
        change = two[i] - one[i] - step
        out[i] = zero[i] + 2.0 * length * step + length * length * change
    return length


@inner_kernel()
def _copy_memory(origin, target):
    """Copy what an M-step begins from."""
    target.exponents[:] = origin.exponents
    target.axes[:] = origin.axes
    target.vectors[:] = origin.vectors


@inner_kernel()
def _begin_given(weights, whiteners, amounts, sum_of_weights, moments):
    """Fill the moments of a mixture, but its means; its weights may not sum to 1 exactly."""
    counts, scatter = moments.counts, moments.scatter
    K, D = scatter.shape[:2]
    total = weights[:K].sum()
    factor = np.empty((D, D))
    for k in range(K):
        counts[k] = sum_of_weights * weights[k] / total
        factor[:] = whiteners[k]
        invert_triangle(factor)
        for i in range(D):
            for j in range(i + 1):
                covariance = 0.0
                for m in range(j + 1):
                    covariance += factor[i, m] * factor[j, m]
                scatter[k, i, j] = scatter[k, j, i] = counts[k] * covariance
            scatter[k, i, i] -= counts[k] * amounts[i]


@inner_kernel()
def _weigh(moments, amounts, sum_of_weights, smallest_count, mixture, shares, covariances):
    """Fill what an M-step is given and, of the mixture, all but what it finds.

    Return whether every component has points.
    """
    counts, means, scatter = moments
    K, D = means.shape
    log_weights = mixture.log_weights
    mixture.means[:] = means
    sum_of_counts = counts.sum()
    for k in range(K):
        if not counts[k] > smallest_count:
            return False
        log_weights[k] = math.log(counts[k] / sum_of_weights)
        shares[k] = counts[k] / sum_of_counts
        for i in range(D):
            for j in range(D):
                covariances[k, i, j] = scatter[k, i, j] / counts[k]
            covariances[k, i, i] += amounts[i]
    return True


class Work(NamedTuple):
    """What a fit works on.

    Parameters
    ----------
    X, weights : ndarray of shape (N, D) and (N,)
        Rows about their mean, and their weights.
    center : ndarray of shape (D,)
        That mean.
    about_means, about_center : PassTask
        The pass, about the mean of each component and about that of all rows.
    moments, new : Moments
        Those of the next M-step, and those of the last pass.
    mixture, best : Mixture
        The last one, and the most likely one.
    shares, covariances : ndarray of shape (K,) and (K, D, D)
        What an M-step is given.
    memory, kept_memory : Memory
        What it continues from, now and where the extrapolation began.
    vectors, target : ndarray of shape (3, L) and (L,)
        Statistics of successive iterations side by side, and what they approach.
    offset, scales : ndarray of shape (D,)
        Scratch, and inverse standard deviations of the features.
    """

    X: np.ndarray
    weights: np.ndarray
    center: np.ndarray
    about_means: PassTask
    about_center: PassTask
    moments: Moments
    new: Moments
    mixture: Mixture
    best: Mixture
    shares: np.ndarray
    covariances: np.ndarray
    memory: Memory
    kept_memory: Memory
    vectors: np.ndarray
    target: np.ndarray
    offset: np.ndarray
    scales: np.ndarray


@slot_kernel()
def small_fit_slot(address, slot):
    """Run the fit of a slot."""
    task = task_at(address)
    D = task.X.shape[2]
    center, scales, weights = np.empty(D), np.empty(D), task.weights[task.rows_of[slot]]
    X = _centered(task.X[task.rows_of[slot]], weights, center)
    _feature_scales(X, weights, scales)
    K, diagonal = task.n_components[slot], task.letters[slot, 2] == IDENTITY
    size = K * (1 + 2 * D) if diagonal else K * (1 + D + D * (D + 1) // 2)
    about_means = _pass_over(X, weights, K, diagonal, MOMENTS, task.labels[0, :0])
    work = Work(
        X, weights, center, about_means, _about_center(about_means, np.empty(K * D)),
        _empty_moments(K, D), _empty_moments(K, D),
        _empty_mixture(K, D), _empty_mixture(K, D),
        np.empty(K), np.empty((K, D, D)), memory_of(K, D), memory_of(K, D),
        np.empty((3, size)), np.empty(size), np.empty(D), scales,
    )  # fmt: skip
    _fit(task, slot, work)


@inner_kernel()
def _fit(task, slot, work):
    """Run EM from first to last; who calls this keeps what is borrowed here."""
    task = borrowed(task)
    (
        X, weights, center, about_means, about_center, moments, new, mixture, best, shares,
        covariances, memory, kept_memory, vectors, target, offset, scales,
    ) = borrowed(work)  # fmt: skip
    letters, max_iter, address = task.letters[slot], task.max_iter, task.run_pass
    K, diagonal, e_step = len(shares), letters[2] == IDENTITY, about_means
    sum_of_weights = weights.sum()
    smallest_count = task.smallest_share * sum_of_weights
    task.log_likelihood[slot] = np.nan
    if task.given[slot]:
        moments.means[:] = task.means[slot, :K] - center
        start, given = task.mixture_weights[slot], task.whiteners[slot]
        _begin_given(start, given, task.amounts, sum_of_weights, moments)
    else:
        labelled = _pass_over(X, weights, K, diagonal, GIVEN_LABELS, task.labels[slot])
        _run_pass(address, labelled)
        _take_moments(labelled, diagonal, offset, moments)
    status = MAX_ITER
    highest = before = -np.inf
    gain, longest, length = np.inf, _LONGEST_STEP, 1.0
    n_vectors = 0  # statistics of successive iterations
    trial = False  # whether the statistics are extrapolated
    for iteration in range(max_iter + 1):
        if not _weigh(
            moments, task.amounts, sum_of_weights, smallest_count, mixture, shares, covariances
        ):
            status = EMPTY
            break
        level = abs(before) / sum_of_weights if iteration > 0 else 0.0
        tol = task.tol * (1.0 / sum_of_weights + level) + task.mean_tol
        least_gain = max(_LEAST_GAIN * tol, _ROUNDING)
        effort = Effort(iteration == 0, least_gain, task.smallest)
        found = np.nan
        if m_step(
            letters, covariances, shares, memory, mixture.whiteners, mixture.log_determinants,
            effort,
        ):  # fmt: skip
            near = _load_mixture(mixture, diagonal, about_center, task.farthest_shared)
            e_step = about_center if near else about_means
            found = _run_pass(address, e_step)
        if trial:
            trial = False
            if not found >= highest - _LARGEST_FALL * (1.0 + abs(highest)):
                # Back to where the extrapolation began.
                longest = max(_LONGEST_STEP, longest / 4.0)
                _copy_memory(kept_memory, memory)
                _read_back(vectors[2], scales, diagonal, 0.0, moments)
                vectors[0] = vectors[2]
                n_vectors = 1
                continue
            n_vectors = 0
        elif found < before - task.rounding * (sum_of_weights + abs(before)):
            status = FALLEN
            break
        if not math.isfinite(found):
            status = SINGULAR
            break
        task.n_iter[slot] = iteration
        if found >= highest:
            highest = found
            mixture, best = best, mixture
        gain_before, gain, before = gain, found - before, found
        _take_moments(e_step, diagonal, offset, new)
        if n_vectors == 3:
            vectors[0] = vectors[1]
            vectors[1] = vectors[2]
            n_vectors = 2
        _lay_out(new, scales, diagonal, vectors[n_vectors])
        n_vectors += 1
        scale = 1.0 + abs(found)
        negligible = max(_NEGLIGIBLE_GAIN * task.tol, _ROUNDING) * scale
        negligible = max(negligible, task.mean_tol * sum_of_weights)
        converged = n_vectors > 1 and abs(gain) <= negligible
        if n_vectors == 3 and not converged:
            ratio = _distance(vectors[1], vectors[2])
            ratio /= max(_distance(vectors[0], vectors[1]), 1e-300)
            ratio = max(ratio, 1.0 - 1.0 / length)
            share = max(ratio * ratio, gain / gain_before if gain_before > 0.0 else 1.0)
            allowed = _SHARE_TO_COME * task.tol * scale
            converged = gain > 0.0 and share < 1.0 and gain * share <= allowed * (1.0 - share)
        if converged:
            if found >= highest - task.rounding * (sum_of_weights + abs(highest)):
                status = CONVERGED
            break
        if n_vectors == 3 and _PLAIN_ITERATIONS <= iteration <= max_iter - 2:
            new_length = _extrapolate(vectors, longest, target)
            trial = new_length > 1.0 and _read_back(
                target, scales, diagonal, smallest_count, moments
            )
            if trial:
                length = new_length
                _copy_memory(memory, kept_memory)
            if trial and length == longest:
                longest *= 4.0
            elif new_length > 1.0 and not trial:
                longest = max(_LONGEST_STEP, longest / 4.0)
        if not trial:
            moments, new = new, moments
    else:
        new = moments
    task.status[slot] = status
    if status in (EMPTY, SINGULAR):
        return
    if before < highest or status == FALLEN:
        _load_mixture(best, diagonal, about_center, task.farthest_shared)
        _run_pass(address, about_means)
        _take_moments(about_means, diagonal, offset, new)
    task.log_likelihood[slot] = highest
    for k in range(K):
        task.mixture_weights[slot, k] = math.exp(best.log_weights[k])
        task.means[slot, k] = best.means[k] + center
        task.whiteners[slot, k] = best.whiteners[k]
    # The log-density of a row with its component is less than that of the row by the entropy.
    task.entropy[slot] = max(highest - _expected_log_density(best, new, offset), 0.0)
