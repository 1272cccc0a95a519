"""What users give as arrays: masks, and what is no table of numbers."""

import numpy as np
import pytest

from fastgmm import DataError, GaussianMixture, KMeans, open_data
from fastgmm.data.sources.array_like import unmasked

nan = np.nan


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.ma.array([1.0, 2.0], mask=[True, False]), [nan, 2.0]),
        (np.ma.array([1, 2], mask=[True, False]), [nan, 2.0]),
        (np.ma.array([True, False], mask=[True, False]), [nan, 0.0]),
        ([1, np.ma.masked], [1.0, nan]),
        ([[1, 2], (np.ma.masked, 4)], [[1.0, 2.0], [nan, 4.0]]),
        ([np.ma.array([1, 2], mask=[0, 1]), [3, 4]], [[1.0, nan], [3.0, 4.0]]),
    ],
)
def test_what_is_masked_is_missing(given, expected):
    np.testing.assert_array_equal(np.asarray(unmasked(given)), expected)


def test_masks_keep_the_precision_and_the_data():
    single = np.ma.array(np.ones((3, 2), np.float32), mask=np.eye(3, 2))
    assert unmasked(single).dtype == np.float32
    assert np.isfinite(single.data).all()
    assert unmasked(np.ma.array(["a", "b"], mask=[0, 1])).tolist() == ["a", None]
    dates = np.ma.array(np.array(["2020-01-01"] * 2, "M8[D]"), mask=[0, 1])
    np.testing.assert_array_equal(np.isnat(unmasked(dates)), [False, True])


def test_without_anything_masked_the_data_are_not_copied():
    X = np.ones((3, 2))
    for mask in (np.ma.nomask, np.zeros((3, 2), bool)):
        assert np.shares_memory(unmasked(np.ma.array(X, mask=mask)), X)
    assert unmasked(X) is X


def structured():
    return np.array([(1.0, 2.0), (3.0, 4.0)], dtype=[("a", float), ("b", float)])


NO_TABLES = [
    ({"a": [1.0, 2.0]}, TypeError, r"is a dict: give a data frame, as pandas\.DataFrame"),
    (structured(), TypeError, r"is a structured array with the fields a, b: give a data frame, as"),
    (structured().view(np.recarray), TypeError, "is a structured array with the fields a, b: "),
    (np.array([["a"], ["1"]]), ValueError, "holds 'a' of type str in row 0, column 0, counted"),
    (np.array([[1.0], ["b"]], object), ValueError, "holds 'b' of type str in row 1, column 0, c"),
    ([[1.0], [{}]], TypeError, r"holds \{\} of type dict in row 1, column 0, counted from 0"),
    ([[1.0, 2.0], [3.0]], ValueError, "is no array: .*inhomogeneous"),
    ({1, 2}, TypeError, "is of type set: give an array of numbers"),
    (object(), TypeError, "is of type object: give an array of numbers"),
    (b"a", (TypeError, ValueError), "is of type bytes: give an array of numbers"),
    (None, (TypeError, ValueError), "is None: give an array of numbers"),
]


@pytest.mark.parametrize(("given", "error", "message"), NO_TABLES)
def test_what_is_no_table_of_numbers(given, error, message):
    for estimator in (GaussianMixture(), KMeans(1)):
        with pytest.raises(error, match=f"^X {message}"):
            estimator.fit(given)
    errors = (*error, DataError) if isinstance(error, tuple) else (error, DataError)
    with pytest.raises(errors, match=f"^the array {message}"):
        open_data(given)
    with pytest.raises(DataError, match=f"batch 1 {message}"):
        open_data(iter([given]))


@pytest.mark.parametrize("call", [lambda: 3, int, lambda: None])
def test_functions_that_return_no_batches(call):
    for use in (open_data, GaussianMixture().fit):
        with pytest.raises(TypeError, match="should return an iterator of batches returned"):
            use(call)


def test_objects_and_texts_that_are_numbers():
    for given in (np.array([["1", "2"], ["3", "4.5"]]), np.array([[1, 2], [3, 4.5]], object)):
        assert open_data(given).rows(np.array([1])).tolist() == [[3.0, 4.5]]


def test_parameters_are_reported_by_name():
    X = np.arange(8.0).reshape(4, 2)
    with pytest.raises(ValueError, match="means_init holds 'a' of type str in row 0, column 1"):
        GaussianMixture(2, means_init=[[1.0, "a"], [2.0, 3.0]]).fit(X)
    with pytest.raises(ValueError, match="init holds 'a' of type str in row 0, column 1"):
        KMeans(2, init=[[1.0, "a"], [2.0, 3.0]]).fit(X)
