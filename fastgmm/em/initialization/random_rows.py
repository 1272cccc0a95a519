"""Random samples of rows in memory, and rows that are held out of what is learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource


def random_rows(
    source: ArraySource, size: int, seed: int, *, held_out_every: int | None = None
) -> ArraySource:
    """Return a random sample, without replacement, of the rows that have weight."""
    generator = np.random.default_rng(seed)
    if source.weights is None:
        n_held_out = 0 if held_out_every is None else source.n_samples // held_out_every
        n_learned = source.n_samples - n_held_out
        chosen = np.sort(generator.choice(n_learned, min(size, n_learned), replace=False))
        if held_out_every is not None:
            chosen += chosen // (held_out_every - 1)
        return ArraySource(source.rows(chosen), incomplete=source.incomplete)
    present = np.flatnonzero(source.weights)
    if held_out_every is not None:
        present = present[~is_held_out(present, held_out_every)]
    chosen = np.sort(generator.choice(present, min(size, len(present)), replace=False))
    return ArraySource(source.rows(chosen), source.weights[chosen], incomplete=source.incomplete)


def is_held_out(numbers: npt.NDArray[np.int64], every: int) -> npt.NDArray[np.bool_]:
    """Return which rows are held out, the last of each so many."""
    held_out: npt.NDArray[np.bool_] = numbers % every == every - 1
    return held_out
