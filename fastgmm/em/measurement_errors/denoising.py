"""True values of rows that are measured with errors, given the rows and a mixture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastgmm.data.sources.measured import MeasuredRows
from fastgmm.em.e_step.passes import responsibilities
from fastgmm.em.missing.incomplete import annotated_pieces
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_PIECE_BYTES = 2**25
"""Bytes of what is held of some rows for each component."""


def denoised_blocks(
    source: MeasuredRows, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield the means and the covariances of the true values of the rows, block by block.

    These are of mixtures, whose components have the means b and the covariances B that are given
    in `kernels.passes.error_pass`.
    """
    covariances = parameters.covariances()
    K, D = parameters.means.shape
    if parameters.is_diagonal:
        covariances = covariances[:, :, None] * np.eye(D)
    for some in annotated_pieces(source, max(1, _PIECE_BYTES // (8 * max(K * D, 4 * D * D)))):
        shares = responsibilities(some, parameters, n_jobs=n_jobs).astype(np.float64)
        X, _ = next(some.annotated_blocks())
        errors = some.covariances(X)
        values = X[:, :D].astype(np.float64)
        present = (~np.isnan(values)).astype(np.float64)
        both = present[:, :, None] * present[:, None, :]
        absent = (1.0 - present)[:, :, None] * np.eye(D)
        means = np.empty((K, len(X), D))
        spreads = np.zeros((len(X), D, D))
        for k, (mean, covariance) in enumerate(zip(parameters.means, covariances, strict=True)):
            seen = present[:, :, None] * covariance
            gains = np.linalg.solve(both * covariance + errors + absent, seen)
            offsets = np.where(present > 0.0, values - mean, 0.0)
            means[k] = mean + np.einsum("nij,ni->nj", gains, offsets)
            spreads += shares[:, k, None, None] * (covariance - seen.swapaxes(1, 2) @ gains)
        found = np.einsum("nk,knj->nj", shares, means)
        apart = means - found
        spreads += np.einsum("nk,kni,knj->nij", shares, apart, apart, optimize=True)
        yield found, 0.5 * (spreads + spreads.swapaxes(1, 2))
