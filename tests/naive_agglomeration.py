"""Model-based agglomeration in plain NumPy: every pair is tried at every step."""

from itertools import combinations

import numpy as np


def scatter(X, rows, weights):
    shares = weights[rows] / weights[rows].sum()
    offsets = X[rows] - shares @ X[rows]
    return (offsets.T * weights[rows]) @ offsets


def merges(X, structure, weights=None):
    """Return the pairs of clusters that merge, each named by its least row.

    The criteria are those of Fraley (1998, SIAM J. Sci. Comput. 20:270-281), with both of her
    constants equal to 1.
    """
    n, n_features = X.shape
    weights = np.ones(n) if weights is None else weights
    total = weights.sum()
    ridge = np.trace(scatter(X, np.arange(n), weights)) / total / n_features

    def term(rows):
        count, within = weights[rows].sum(), scatter(X, rows, weights)
        covariance = within / count
        spread = np.trace(covariance) + ridge / count
        if structure == "EII":
            return np.trace(within)
        if structure == "VII":
            return count * np.log(spread)
        return count * np.log(spread + np.linalg.det(covariance))

    def cost(pair):
        a, b = pair
        if structure != "EEE":
            return term(clusters[a] + clusters[b]) - terms[a] - terms[b]
        others = sum(scatters) - scatters[a] - scatters[b]
        covariance = (others + scatter(X, clusters[a] + clusters[b], weights)) / total
        return np.linalg.det(covariance) + np.trace(covariance)

    clusters = [[row] for row in range(n)]
    pairs = []
    while len(clusters) > 1:
        scatters = [scatter(X, rows, weights) for rows in clusters]
        terms = [term(rows) for rows in clusters]
        a, b = min(combinations(range(len(clusters)), 2), key=cost)
        pairs.append(sorted((min(clusters[a]), min(clusters[b]))))
        clusters[a] = clusters[a] + clusters[b]
        del clusters[b]
    return np.array(pairs)
