"""What is said about values and weights that cannot be used."""

import numpy as np
import pytest

from fastgmm.data.errors import DataError
from fastgmm.data.sources.batch import Batch, checked

NAMES = ("a", "b")


def columns(matrix):
    return [matrix[:, j] for j in range(matrix.shape[1])]


def test_sound_rows_are_not_copied():
    batch = Batch(np.ones((3, 2)), np.arange(3.0), "here", 0)
    assert checked(batch, NAMES, "error") is batch


def test_sums_that_overflow_are_looked_at_closely():
    batch = Batch(np.full((3, 2), 1e308), None, "here", 0)
    assert checked(batch, NAMES, "error") is batch


@pytest.mark.parametrize("layout", [np.asarray, columns])
def test_the_first_row_is_named_whatever_its_column(layout):
    X = np.zeros((5, 2))
    X[3, 0] = X[1, 1] = np.nan
    batch = Batch(layout(X), None, "'a file'", 10)
    with pytest.raises(
        DataError, match="'a file': the value in column 'b' in row 11, counted from 0, is missing"
    ):
        checked(batch, NAMES, "error")


@pytest.mark.parametrize("layout", [np.asarray, columns])
def test_rows_are_dropped_with_their_weights(layout):
    X = np.arange(10.0).reshape(5, 2)
    X[3, 0] = np.nan
    weights = np.array([1.0, np.nan, 3.0, 4.0, 5.0])
    kept = checked(Batch(layout(X), weights, "here", 0), NAMES, "drop")
    np.testing.assert_array_equal(kept.column(1), [1, 5, 9])
    np.testing.assert_array_equal(kept.weights, [1, 3, 5])
    assert kept.n_rows == 3
    assert [kept.row_number(i) for i in range(3)] == [0, 2, 4]
    assert checked(kept, NAMES, "error") is kept


@pytest.mark.parametrize("layout", [np.asarray, columns])
def test_values_to_be_modeled_may_be_missing_but_not_weights_nor_infinite(layout):
    X = np.arange(10.0).reshape(5, 2)
    X[3, 0] = np.nan
    batch = Batch(layout(X), np.ones(5), "here", 0)
    assert checked(batch, NAMES, "model") is batch
    weights = np.array([1.0, 1.0, np.nan, 1.0, 1.0])
    with pytest.raises(DataError, match="the weight in row 2, counted from 0, is missing"):
        checked(batch._replace(weights=weights), NAMES, "model")
    X[1, 1] = np.inf
    with pytest.raises(DataError, match="column 'b' in row 1, counted from 0, is inf"):
        checked(Batch(layout(X), None, "here", 0), NAMES, "model")


def test_rows_keep_their_numbers_through_filters():
    batch = Batch(np.array([[1.0, 2.0], [np.inf, 1.0]]), None, "here", 100, np.array([5, 9]))
    with pytest.raises(
        DataError, match="column 'a' in row 109, counted from 0, is inf: remove such rows or repl"
    ):
        checked(batch, NAMES, "drop")


def test_integers_are_never_missing():
    batch = Batch([np.arange(3), np.array([0.0, np.nan, 1.0])], None, "here", 0)
    assert checked(batch, NAMES, "drop").n_rows == 2


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_negative_weights(dtype):
    batch = Batch(np.ones((3, 2)), np.array([1, 2, -3], dtype), "here", 0)
    with pytest.raises(
        DataError, match="the weight in row 2, counted from 0, is -3: weights must be at least 0"
    ):
        checked(batch, NAMES, "drop")
