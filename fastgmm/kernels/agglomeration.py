"""Model-based agglomeration: merge, step by step, the two groups whose union costs least.

N groups of D features. Of a group with total weight n, scatter matrix W about its mean and
S = W/n, the criterion of Fraley (1998, SIAM J. Sci. Comput. 20:270-281) is a sum of

* tr(W) for ``EQUAL_SPHERES``, which is Ward's;
* n log(tr(S) + a/n) for ``SPHERES``;
* n log(det(S) + tr(S) + a/n) for ``ELLIPSOIDS``;

and for one ellipsoid shared by all groups the criterion is det(S) + tr(S) with S of all of them
together. The traces, and a > 0, keep it finite where a matrix is singular, as that of one row is.

A group is a slot of the arrays; when two merge, the last one moves into the freed slot, so that
slots stay dense. Of pairs that cost the same the last one merges, in the order of the larger slot,
then of the smaller: the order decides where rows repeat or lie on a grid, and this one reproduces
mclust's partitions.

Costs of pairs are a packed lower triangle: row b holds the pairs of slot b with slots a < b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, kernel

EQUAL_SPHERES = 1
SPHERES = 2
ELLIPSOIDS = 4

ROUNDING = 2.0**-52
# Less than half a unit in the last place of what it would be added to.
NEGLIGIBLE = 2.0**-54


class Groups(NamedTuple):
    """The groups that are left, one for each slot.

    Parameters
    ----------
    names : ndarray of shape (N,), int64
        The least number among the groups that have been merged into this one.
    counts : ndarray of shape (N,)
        Weight.
    sizes : ndarray of shape (N,), int64
        Number of groups that have been merged into this one, which is more than the rank of W.
    means : ndarray of shape (N, D)
        Mean.
    traces : ndarray of shape (N,)
        Trace of W.
    terms : ndarray of shape (N,)
        What the group adds to the criterion.
    scatters : ndarray of shape (N, D·(D+1)/2), or (N, 0) unless for ``ELLIPSOIDS``
        W, its lower triangle row by row.
    """

    names: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray
    means: np.ndarray
    traces: np.ndarray
    terms: np.ndarray
    scatters: np.ndarray


class Criterion(NamedTuple):
    """What grows least when two groups merge: ``kind`` and ``ridge`` as in `merge_cheapest`.

    Beside them is space for the difference of two means, and for a factor of Cholesky.
    """

    kind: int
    ridge: float
    offset: np.ndarray
    matrix: np.ndarray


@inner_kernel()
def union_determinant(scatters, a, b, count, share, offset, matrix):
    """Return det(S) of the union of two groups, 0 where rounding cannot tell it from that.

    ``count`` is n_a + n_b, ``share`` n_a n_b / (n_a + n_b), and ``offset`` the difference of the
    means: so many times its outer product is what W of the union has besides the W of both.
    """
    D = offset.shape[0]
    determinant = 1.0
    p = 0
    for j in range(D):  # the factor of Cholesky, row by row
        for k in range(j + 1):
            value = (scatters[a, p] + scatters[b, p] + share * offset[j] * offset[k]) / count
            p += 1
            variance = value
            for i in range(k):
                value -= matrix[j, i] * matrix[k, i]
            if k < j:
                matrix[j, k] = value / matrix[k, k]
            elif value <= 4.0 * D * ROUNDING * variance:
                return 0.0
            else:
                determinant *= value
                matrix[j, j] = np.sqrt(value)
    return determinant


@inner_kernel()
def union_costs(groups, a, first, last, criterion, costs, terms):
    """Fill by how much the criterion grows when group a merges with each of slots first to last.

    Into ``terms`` goes what the unions would add to the criterion. Slot a itself gets what has no
    meaning.
    """
    kind, ridge, offset, matrix = criterion
    # Members of tuples are taken once: each time counts a reference.
    counts, sizes, means, scatters = groups.counts, groups.sizes, groups.means, groups.scatters
    traces, old_terms = groups.traces, groups.terms
    D = offset.shape[0]
    for b in range(first, last):
        distance = 0.0
        for j in range(D):
            difference = means[b, j] - means[a, j]
            offset[j] = difference
            distance += difference * difference
        count = counts[a] + counts[b]
        share = counts[a] * counts[b] / count
        if kind == EQUAL_SPHERES:
            costs[b] = share * distance
            continue
        trace = traces[a] + traces[b] + share * distance
        spread = (trace + ridge) / count
        # With fewer points than would span all features the determinant is 0. By the inequality
        # of arithmetic and geometric means it is at most the mean variance to the power of D.
        if (
            kind == ELLIPSOIDS
            and sizes[a] + sizes[b] > D
            and (trace / count / D) ** D > NEGLIGIBLE * spread
        ):
            spread += union_determinant(scatters, a, b, count, share, offset, matrix)
        terms[b] = count * np.log(spread)
        costs[b] = terms[b] - (old_terms[a] + old_terms[b])


@inner_kernel()
def merge_into(groups, a, b, term):
    """Make group a the union of a and b."""
    counts, means, scatters = groups.counts, groups.means, groups.scatters
    D = means.shape[1]
    count = counts[a] + counts[b]
    share = counts[a] * counts[b] / count
    distance = 0.0
    for j in range(D):
        distance += (means[b, j] - means[a, j]) ** 2
    if scatters.shape[1] > 0:
        p = 0
        for j in range(D):
            for k in range(j + 1):
                product = (means[b, j] - means[a, j]) * (means[b, k] - means[a, k])
                scatters[a, p] += scatters[b, p] + share * product
                p += 1
    for j in range(D):
        means[a, j] += counts[b] / count * (means[b, j] - means[a, j])
    groups.traces[a] += groups.traces[b] + share * distance
    groups.sizes[a] += groups.sizes[b]
    groups.terms[a] = term
    groups.names[a] = min(groups.names[a], groups.names[b])
    counts[a] = count


@inner_kernel()
def move(groups, source, target):
    """Put a group into another's slot."""
    groups.names[target] = groups.names[source]
    groups.counts[target] = groups.counts[source]
    groups.sizes[target] = groups.sizes[source]
    groups.traces[target] = groups.traces[source]
    groups.terms[target] = groups.terms[source]
    means, scatters = groups.means, groups.scatters
    for j in range(means.shape[1]):  # assigning rows takes numba seconds to compile
        means[target, j] = means[source, j]
    for p in range(scatters.shape[1]):
        scatters[target, p] = scatters[source, p]


@kernel()
def search_row(costs, b, lowest, partner, certain):
    """Find the cheapest pair in a row of the triangle."""
    start = b * (b - 1) // 2
    least, where = np.inf, 0
    for a in range(b):
        if costs[start + a] <= least:
            least, where = costs[start + a], a
    lowest[b] = least
    partner[b] = where
    certain[b] = True


@inner_kernel()
def set_cost(costs, b, a, cost, lowest, partner, certain):
    """Write the cost of a pair, and keep what is known of its row true."""
    costs[b * (b - 1) // 2 + a] = cost
    if cost < lowest[b] or (cost == lowest[b] and a >= partner[b]):
        lowest[b] = cost
        if certain[b]:
            partner[b] = a
    elif partner[b] == a:
        certain[b] = False


@kernel()
def merge_cheapest(groups, kind, ridge, costs, pairs):
    """Merge the groups until one is left.

    The cheapest pair of a row of ``costs`` is searched for again only when it may be the cheapest
    of all: until then ``lowest`` of a row that is not ``certain`` is a bound from below.

    Parameters
    ----------
    groups : Groups
        The groups, each of rows that are equal: W = 0. Overwritten.
    kind : int
        ``EQUAL_SPHERES``, ``SPHERES`` or ``ELLIPSOIDS``.
    ridge : float
        a of the criterion, above 0.
    costs : ndarray of shape (N·(N-1)/2,)
        Space for the costs of all pairs.
    pairs : ndarray of shape (N-1, 2), int64
        Receives the names of the two groups merged in each step, the smaller one first.
    """
    N, D = groups.means.shape
    criterion = Criterion(kind, ridge, np.empty(D), np.empty((D, D)))
    lowest = np.full(N, np.inf)
    partner = np.zeros(N, np.int64)
    certain = np.ones(N, np.bool_)
    if kind != EQUAL_SPHERES:
        for b in range(N):
            groups.terms[b] = groups.counts[b] * np.log(ridge / groups.counts[b])
    column = np.empty(N)
    terms = np.zeros(N)
    for b in range(1, N):
        union_costs(groups, b, 0, b, criterion, costs[b * (b - 1) // 2 :], terms)
        search_row(costs, b, lowest, partner, certain)
    for step in range(N - 1):
        last = N - 1 - step
        b = 0
        while b == 0 or not certain[b]:
            if b > 0:
                search_row(costs, b, lowest, partner, certain)
            least = np.inf
            for row in range(1, last + 1):
                if lowest[row] <= least:
                    least, b = lowest[row], row
        a = partner[b]
        pairs[step, 0] = min(groups.names[a], groups.names[b])
        pairs[step, 1] = max(groups.names[a], groups.names[b])
        union_costs(groups, a, b, b + 1, criterion, column, terms)
        merge_into(groups, a, b, terms[b])
        if b < last:
            move(groups, last, b)
            moved = last * (last - 1) // 2
            start = b * (b - 1) // 2
            for i in range(b):
                costs[start + i] = costs[moved + i]
            lowest[b] = lowest[last]
            partner[b] = partner[last]
            certain[b] = certain[last] and partner[last] < b
            for i in range(b + 1, last):
                set_cost(costs, i, b, costs[moved + i], lowest, partner, certain)
        union_costs(groups, a, 0, last, criterion, column, terms)
        start = a * (a - 1) // 2
        for i in range(a):
            costs[start + i] = column[i]
        search_row(costs, a, lowest, partner, certain)
        for i in range(a + 1, last):
            set_cost(costs, i, a, column[i], lowest, partner, certain)


@inner_kernel()
def common_metric(scatter, count, metric):
    """Fill the matrix whose squared lengths are what outer products add to det(S) + tr(S).

    det(S + u uᵀ) - det(S) = uᵀ adj(S) u, and the adjugate of a symmetric matrix has its
    eigenvectors, with the products of the other eigenvalues as eigenvalues.
    """
    values, vectors = np.linalg.eigh(scatter / count)
    D = values.shape[0]
    for i in range(D):
        product = 1.0
        for j in range(D):
            if j != i:
                product *= max(values[j], 0.0)
        for j in range(D):
            metric[i, j] = np.sqrt(1.0 + product) * vectors[j, i]


@kernel()
def merge_in_common_ellipsoid(groups, pairs):
    """Merge the groups until one is left, by the criterion of one covariance for all of them.

    Each merge changes what every other one would cost, so all pairs are compared each time;
    costs go by the distances of the means in a metric that changes with each merge.

    Parameters
    ----------
    groups : Groups
        The groups, each of rows that are equal: W = 0. Overwritten.
    pairs : ndarray of shape (N-1, 2), int64
        Receives the names of the two groups merged in each step, the smaller one first.
    """
    N, D = groups.means.shape
    counts = groups.counts
    total = counts.sum()
    scatter = np.zeros((D, D))
    metric = np.empty((D, D))
    points = np.empty((D, N))
    squares = np.empty(N)
    for step in range(N - 1):
        last = N - 1 - step
        common_metric(scatter, total, metric)
        for i in range(D):
            for row in range(last + 1):
                value = 0.0
                for j in range(D):
                    value += metric[i, j] * groups.means[row, j]
                points[i, row] = value
        least, merged_a, merged_b = np.inf, 0, 0
        for b in range(1, last + 1):
            for a in range(b):
                squares[a] = 0.0
            for i in range(D):
                coordinates = points[i]
                here = coordinates[b]
                for a in range(b):
                    difference = coordinates[a] - here
                    squares[a] += difference * difference
            count = counts[b]
            for a in range(b):
                cost = squares[a] * (counts[a] * count / (counts[a] + count))
                if cost <= least:
                    least, merged_a, merged_b = cost, a, b
        a, b = merged_a, merged_b
        share = counts[a] * counts[b] / (counts[a] + counts[b])
        for j in range(D):
            for k in range(D):
                product = (groups.means[b, j] - groups.means[a, j]) * (
                    groups.means[b, k] - groups.means[a, k]
                )
                scatter[j, k] += share * product
        pairs[step, 0] = min(groups.names[a], groups.names[b])
        pairs[step, 1] = max(groups.names[a], groups.names[b])
        merge_into(groups, a, b, 0.0)
        if b < last:
            move(groups, last, b)
