"""Rows of arrays that come in blocks, as those of files do."""

from fastgmm.data.source import Rows, Source, sum_of_weights
from fastgmm.kernels.tiles import BLOCK_ROWS


class BlockSource(Source):
    """Rows that are not known to be in memory, in blocks of two times the least size."""

    feature_names = None
    replayable = True

    def __init__(self, X, weights=None):
        self.X, self.weights = X, weights
        self.n_features, self.dtype = X.shape[1], X.dtype

    @property
    def n_samples(self):
        return len(self.X)

    @property
    def total_weight(self):
        return float(len(self.X)) if self.weights is None else sum_of_weights(self.weights)

    @property
    def has_weights(self):
        return self.weights is not None

    def fingerprint(self):
        return {"kind": "blocks"}

    def blocks(self):
        for first in range(0, len(self.X), 2 * BLOCK_ROWS):
            here = slice(first, first + 2 * BLOCK_ROWS)
            yield Rows(self.X[here].copy(), None if self.weights is None else self.weights[here])
