"""Rows in pieces of another size than the blocks that they come in."""

from itertools import pairwise

import numpy as np
import pytest

from fastgmm.data.errors import DataError
from fastgmm.data.source import Rows
from fastgmm.data.sources.rechunking import joined, recut


def test_pieces_do_not_depend_on_the_blocks_that_rows_come_in():
    X = np.arange(100.0).reshape(50, 2)
    for sizes in ([50], [7, 43], [20, 20, 10]):
        ends = np.cumsum([0, *sizes])
        room = np.empty_like(X)

        def blocks(ends=ends, room=room):
            for first, last in pairwise(ends):
                room[: last - first] = X[first:last]  # each block is overwritten by the next
                yield Rows(room[: last - first], room[: last - first, 0])

        pieces = [joined([each]) for each in recut(blocks(), 20)]
        assert [len(each.X) for each in pieces] == [20, 20, 10]
        np.testing.assert_array_equal(np.concatenate([each.X for each in pieces]), X)
        np.testing.assert_array_equal(np.concatenate([each.weights for each in pieces]), X[:, 0])


def test_rows_that_end_before_those_to_leave_out_are_reported():
    blocks = [Rows(np.zeros((30, 2)), None), Rows(np.zeros((20, 2)), None)]
    assert [len(rows.X) for rows in recut(blocks, 40, skipped=5)] == [40, 5]
    assert list(recut(blocks, 40, skipped=50)) == []
    with pytest.raises(DataError, match="end 10 rows before the place that the fit had come to"):
        list(recut(blocks, 40, skipped=60))
