"""Passes at many mixtures in one call: for data so small that calls would cost more than passes.

Each mixture has its own slot, which runs the whole pass at it. Symbols are those of
``mixture_pass``; M mixtures of K components each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.mixture_pass import MOMENTS, PassTask, mixture_slot


class StackedTask(NamedTuple):
    """All that the passes read and write.

    Parameters
    ----------
    X : ndarray of shape (sets of rows, N, D)
        Rows, of any strides.
    weights : ndarray of shape (sets of weights, N) or (sets of weights, 0)
        Weights of the rows; none for ones.
    rows_of, weights_of : ndarray of shape (M,)
        Which rows and which weights each mixture is fitted to.
    lanes : int
        Lanes of a tile, T.
    diagonal : bool
        Whether the whiteners are vectors.
    constants : ndarray of shape (M, K)
        Log-weights plus log-normalizers, less the offsets.
    offsets : ndarray of shape (M,)
        The largest of those sums.
    whiteners : ndarray of shape (M, K * packed length) or (M, K * D)
        Packed lower triangles, or inverse standard deviations.
    references : ndarray of shape (M, K * D)
        The means, which the moments are taken about.
    nothing : ndarray of shape (K * D,)
        Zeros.
    counts, first, second, likelihood : ndarray of shape (M, 1, ...)
        The sums of each mixture's pass, as those of one slot in ``PassTask``.
    log_density, labels, responsibilities : ndarray
        Empty.
    """

    X: np.ndarray
    weights: np.ndarray
    rows_of: np.ndarray
    weights_of: np.ndarray
    lanes: int
    diagonal: bool
    constants: np.ndarray
    offsets: np.ndarray
    whiteners: np.ndarray
    references: np.ndarray
    nothing: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray
    likelihood: np.ndarray
    log_density: np.ndarray
    labels: np.ndarray
    responsibilities: np.ndarray


@kernel()
def stacked_slot(task, mixture):
    """Run the whole pass at one of the mixtures."""
    D = task.X.shape[2]
    own = PassTask(
        task.X[task.rows_of[mixture]],
        task.weights[task.weights_of[mixture]],
        np.int64(0),
        task.lanes,
        task.diagonal,
        np.int64(MOMENTS),
        np.int64(1),
        task.constants[mixture],
        task.offsets[mixture],
        task.whiteners[mixture],
        task.nothing,
        task.nothing[:D],
        task.nothing[:D],
        task.references[mixture],
        task.nothing,
        False,
        False,
        task.counts[mixture],
        task.first[mixture],
        task.second[mixture],
        task.likelihood[mixture],
        task.log_density,
        task.labels,
        task.responsibilities,
    )
    mixture_slot(own, np.int64(0))
