"""Rows with limits as a source: what is refused, and where starts are found from."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import fastgmm
from fastgmm import open_data
from fastgmm.data.errors import DataError
from fastgmm.data.sources.limited import LimitedRows

X = np.arange(12.0).reshape(4, 3) ** 1.5
FLAGS = np.array([[0, 0, -1], [0, 1, 0], [0, 0, 0], [-1, 0, 1]])


def with_value(array, place, value):
    changed = np.array(array, dtype=np.float64)
    changed[place] = value
    return changed


@pytest.fixture(scope="module")
def frame():
    frame = pd.DataFrame(X, columns=list("abc"))
    frame[["la", "lb", "lc"]] = FLAGS
    return frame


def test_a_file_has_the_rows_and_limits_of_an_array(frame, tmp_path):
    frame.to_csv(tmp_path / "rows.csv", index=False)
    source = open_data(
        tmp_path / "rows.csv", columns=list("abc"), censored_columns=["la", "lb", "lc"]
    )
    assert isinstance(source, LimitedRows)
    assert source.feature_names == ("a", "b", "c")
    other = open_data(X, censored=FLAGS)
    for one, two in (
        (source.annotated_blocks(), other.annotated_blocks()),
        (source.blocks(), other.blocks()),
    ):
        assert_array_equal(next(one).X, next(two).X)


def test_starts_lie_beyond_the_limits():
    rows = np.random.default_rng(0).normal(size=(3000, 2))
    flags = np.where(rows < -0.5, -1, np.where(rows > 1.0, 1, 0))
    source = open_data(np.clip(rows, -0.5, 1.0), censored=flags)
    start = np.concatenate([X for X, _ in source.blocks()])
    assert_array_equal(start[flags == 0], rows[flags == 0])
    assert (start[flags < 0] < -0.5).all()
    assert (start[flags > 0] > 1.0).all()
    assert len(np.unique(start[flags != 0])) == np.count_nonzero(flags)
    assert_array_equal(start, np.concatenate([X for X, _ in source.blocks()]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (FLAGS[:3], r"must have the shape of X, \(4, 3\).*got \(3, 3\)"),
        (1, r"got \(\)"),
        (with_value(FLAGS, (2, 1), 2), "holds 2 in row 2, counted from 0, column 'x1'.*at most"),
        (with_value(FLAGS, (3, 0), np.nan), "holds nan in row 3"),
    ],
)
def test_impossible_flags_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        open_data(X, censored=given)


def test_flags_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="censored must be an array of numbers"):
        open_data(X, censored=[["low"] * 3] * 4)


def test_a_column_without_a_measured_value_is_refused():
    flags = with_value(FLAGS, np.s_[:, 1], -1)
    source = open_data(pd.DataFrame(X, columns=list("abc")), censored=flags)
    with pytest.raises(ValueError, match="all values of column 'b' are censored or missing"):
        fastgmm.GaussianMixture().fit(source)


def test_what_belongs_to_a_missing_value_is_not_looked_at():
    holes = with_value(X, (1, 2), np.nan)
    flags = with_value(FLAGS, (1, 2), 7)
    source = open_data(holes, censored=flags, missing="model")
    assert np.isnan(next(source.annotated_blocks()).X[1, 5])
    dropped = open_data(holes, censored=flags, missing="drop")
    assert_array_equal(next(dropped.annotated_blocks()).X[:, 3:], FLAGS[[0, 2, 3]])


def test_columns_of_flags_are_checked(frame, tmp_path):
    columns = {"columns": ["a", "b"], "censored_columns": ["la", "lb"]}
    with pytest.raises(ValueError, match="a column for each of columns"):
        open_data(frame, columns=["a", "b"], censored_columns=["la"])
    with pytest.raises(ValueError, match="both say the same of values: give one"):
        open_data(frame, **columns, censored=FLAGS[:, :2])
    for errors in ({"error_columns": ["lc", "c"]}, {"error_covariance": [1.0, 1.0]}):
        with pytest.raises(ValueError, match="errors and censored values do not go together"):
            open_data(frame, **columns, **errors)
    path = tmp_path / "wrong.csv"
    frame.assign(lb=[0, 1, 3, 0]).to_csv(path, index=False)
    with pytest.raises(DataError, match="column 'lb' holds 3 in row 2, counted from 0"):
        list(open_data(path, **columns).annotated_blocks())
    with pytest.raises(ValueError, match="take what is censored from columns: name them"):
        open_data(path, columns=["a", "b"], censored=FLAGS[:, :2])


def test_limits_are_given_once():
    source = open_data(X, censored=FLAGS)
    mixture = fastgmm.GaussianMixture()
    with pytest.raises(ValueError, match="X brings limits of its own"):
        mixture.fit(source, censored=FLAGS)
    with pytest.raises(ValueError, match="do not go together"):
        mixture.fit(source, error_covariance=np.ones(3))
    with pytest.raises(ValueError, match="do not go together"):
        mixture.fit(X, error_covariance=np.ones(3), censored=FLAGS)
