"""Where factor analyzers start: principal components of the rows of each component."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.utils.extmath import randomized_svd

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import FactorStructure, structure
from fastgmm.mixture.structures.factors import principal_loadings

_ROWS_BYTES = 2**26
"""What rows may take that are read from a file for their principal components."""


def factor_start(
    kind: FactorStructure,
    rows: Source,
    statistics: SufficientStatistics,
    regularization: Regularization,
    noise_shares: FloatArray | None,
    n_jobs: int | None,
) -> MixtureParameters:
    """Return factor analyzers of given weights, means and variances.

    Loadings are those of principal components of the correlations or, with shares of the noise in
    the variances, the best for that noise (Lawley and Maxwell, 1971, section 4.2).
    Rows belong to the component that is the most probable as if covariances were diagonal. One
    with hardly more rows than factors has the principal components of all rows about their means.
    """
    diagonal = structure("diag").solve(statistics, regularization)
    source = rows
    if not isinstance(source, ArraySource):
        source = ArraySource(rows.some_rows(_ROWS_BYTES // (8 * rows.n_features)))
    labels = passes.labels(source, diagonal, n_jobs=n_jobs)
    roots = 1.0 if source.weights is None else np.sqrt(source.weights)[:, None]
    centered = (source.X - diagonal.means[labels]) * roots
    n_components, variances = diagonal.n_components, diagonal.covariances()
    sizes = np.bincount(labels, minlength=n_components)
    few = sizes < kind.n_factors + 2
    loadings = np.empty((*variances.shape, kind.n_factors))
    if few.any() or kind.has_common_loadings:
        pooled = diagonal.weights @ variances
        noise = None
        if noise_shares is not None:
            noise = diagonal.weights @ (noise_shares * variances)
        loadings[:] = _loadings(centered, pooled, noise, kind.n_factors)
    if not kind.has_common_loadings:
        for k in np.flatnonzero(~few):
            noise = None if noise_shares is None else noise_shares[k] * variances[k]
            loadings[k] = _loadings(centered[labels == k], variances[k], noise, kind.n_factors)
    whiteners = kind.start(variances, loadings, diagonal.weights, regularization)
    return kind.assemble(diagonal.weights, diagonal.means, whiteners)


def _loadings(
    centered: npt.NDArray[np.float64],
    variances: FloatArray,
    noise: FloatArray | None,
    n_factors: int,
) -> FloatArray:
    """Return the loadings of the first principal components in units of the noise, if given."""
    deviations = np.sqrt(variances if noise is None else noise)
    scaled = centered / deviations
    n_found = min(n_factors, len(scaled))
    _, roots, axes = randomized_svd(scaled, n_found, n_iter=2, random_state=0)
    total = (scaled * scaled).sum() or 1.0
    values, vectors = np.zeros(n_factors), np.zeros((len(variances), n_factors))
    trace = (variances / (deviations * deviations)).sum()
    values[: len(roots)] = roots * roots * (trace / total)
    vectors[:, : len(roots)] = axes.T
    left = None if noise is None else 1.0
    found = principal_loadings(values[None], vectors[None], n_factors, left)[0]
    loadings: FloatArray = deviations[:, None] * found
    return loadings
