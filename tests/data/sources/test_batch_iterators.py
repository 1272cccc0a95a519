"""Batches that a program makes."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fastgmm.data.errors import DataError
from fastgmm.data.opening import open_data
from tests.written_data import all_rows, batches, blocks_of, rows


def opened(*given, **options):
    return open_data(lambda: iter(given), **options)


def test_pairs_of_rows_and_weights():
    X = rows(3000)
    weights = np.arange(3000.0)
    with pytest.raises(DataError, match=r"batch 1 has 777 rows, but weights of shape \(777, 1\)"):
        open_data(zip(batches(X), batches(weights[:, None]), strict=True))
    pairs = [(X[:1000], weights[:1000]), (X[1000:], weights[1000:].tolist())]
    source = opened(*pairs)
    assert source.has_weights
    blocks = blocks_of(source)
    np.testing.assert_array_equal(np.concatenate([X for X, _ in blocks]), X)
    np.testing.assert_array_equal(np.concatenate([w for _, w in blocks]), weights)


def test_pairs_of_frames_and_weights():
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    source = opened((frame, [1.0, 3.0]))
    assert source.feature_names == ("a",)
    assert source.total_weight == 4.0


def test_the_first_batch_is_not_lost():
    X = rows(3000)
    np.testing.assert_array_equal(all_rows(open_data(batches(X))), X)


def test_generators_are_closed_behind_the_first_look():
    closed = []

    def make():
        try:
            yield rows(10)
            yield rows(10)
        finally:
            closed.append(1)

    source = open_data(make)
    assert closed == [1]
    all_rows(source)
    assert closed == [1, 1]


def test_lists_of_batches_are_iterated():
    np.testing.assert_array_equal(all_rows(open_data(lambda: [rows(5)])), rows(5))


def test_integers_and_halves_become_double_precision():
    assert opened(np.ones((2, 2), np.int32), np.ones((2, 2), np.float16)).dtype == np.float64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), r"the iterator of batches has no rows: there is no batch"),
        ((np.ones(3),), r"batch 1 holds an array of shape \(3,\), which is not a table"),
        ((np.ones((2, 2), complex),), "batch 1 holds values of type complex128"),
        (([[1.0], [1.0, 2.0]],), "batch 1 is no array: "),
        (([["a"]],), "batch 1 holds 'a' of type str in row 0"),
        ((np.ones((2, 2)), np.ones((2, 3))), "batch 2 has 3 columns, but the first has 2"),
        (
            (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]})),
            "batch 2 has the columns 'b', but the first has 'a'",
        ),
        (
            (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [1.0], "b": [1.0]})),
            "batch 2 has the columns 'a', 'b', but the first has 'a'",
        ),
        (
            (np.ones((2, 1)), pd.DataFrame({"b": [1.0]})),
            "batch 2 has the columns 'b', but the first has without names",
        ),
        (
            (np.ones((2, 1)), (np.ones((2, 1)), np.ones(2))),
            "batch 2 has weights, but the first has no weights",
        ),
        (
            ((np.ones((2, 1)), np.ones(2)), np.ones((2, 1))),
            "batch 2 has no weights, but the first has weights",
        ),
        (
            (np.ones((2, 1), np.float32), np.ones((2, 1))),
            "batch 2 holds float64, but the first float32: make all the same",
        ),
        (((np.ones((2, 1)),),), "batch 1 is a tuple of 1: give the rows, or the rows and their"),
        ((pa.table({"s": ["x"]}),), r"batch 1 holds other things .* 's' \(String\)"),
        (
            (np.ones((2, 2)), np.array([[1.0, 2.0], [1.0, np.nan]])),
            "batch 2: the value in column 'x1' in row 1, counted from 0, is missing",
        ),
    ],
)
def test_batches_that_cannot_be(given, message):
    with pytest.raises(DataError, match=message):
        all_rows(opened(*given))


def test_pairs_and_a_weight_column():
    with pytest.raises(DataError, match="but no weight_column beside them"):
        opened((np.ones((2, 2)), np.ones(2)), weight_column="x0")


def test_functions_must_return_iterators():
    with pytest.raises(TypeError, match="returned 3 of type int"):
        open_data(lambda: 3)


def test_functions_that_return_the_same_iterator():
    iterator = iter([rows(10), rows(10)])
    source = open_data(lambda: iterator)
    assert len(all_rows(source)) == 10  # the first was looked at
    with pytest.raises(DataError, match="has no rows"):
        all_rows(source)


def test_errors_of_the_program_come_through():
    def make():
        yield rows(10)
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        all_rows(open_data(make))
