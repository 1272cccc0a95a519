"""Rows with errors as a source: what is refused, and where errors come from."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import fastgmm
from fastgmm import open_data
from fastgmm.data.errors import DataError, MissingValueError
from fastgmm.data.sources.measured import MeasuredRows

X = np.arange(12.0).reshape(4, 3) ** 1.5
VARIANCES = np.linspace(0.0, 1.0, 12).reshape(4, 3)
COVARIANCES = VARIANCES[:, :, None] * np.eye(3)


def with_value(array, place, value):
    changed = np.array(array)
    changed[place] = value
    return changed


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("errors") / "rows.csv"
    frame = pd.DataFrame(X, columns=list("abc"))
    frame[["ea", "eb", "ec"]] = np.sqrt(VARIANCES)
    frame["w"] = 1.0
    frame.to_csv(path, index=False)
    return path


def test_a_file_has_the_rows_and_errors_of_an_array(path):
    source = open_data(path, columns=["a", "b"], error_columns=["ea", "eb"], weight_column="w")
    assert isinstance(source, MeasuredRows)
    assert source.feature_names == ("a", "b")
    assert source.n_features == 2
    ((rows, weights),) = source.blocks()
    assert_array_equal(rows, X[:, :2])
    assert_array_equal(weights, 1.0)
    ((wide, _),) = source.annotated_blocks()
    np.testing.assert_allclose(
        np.einsum("nii->ni", source.covariances(wide)), VARIANCES[:, :2], atol=1e-15
    )


@pytest.mark.parametrize(
    ("given", "covariance"),
    [
        (VARIANCES, COVARIANCES),
        (COVARIANCES, COVARIANCES),
        (VARIANCES[1], COVARIANCES[1]),
        (VARIANCES[1:2], COVARIANCES[1]),
        (COVARIANCES[1], COVARIANCES[1]),
        (COVARIANCES[1:2], COVARIANCES[1]),
        (VARIANCES.tolist(), COVARIANCES),
    ],
)
def test_shapes_of_errors(given, covariance):
    source = open_data(X, error_covariance=given)
    ((wide, _),) = source.annotated_blocks()
    assert_array_equal(source.covariances(wide), np.broadcast_to(covariance, (4, 3, 3)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (VARIANCES[:3], r"shape \(4, 3\) or \(4, 3, 3\).*got \(3, 3\)|row"),
        (VARIANCES[:, :2], r"shape \(4, 3\) or \(4, 3, 3\).*got \(4, 2\)"),
        (1.0, r"got \(\)"),
        (with_value(VARIANCES, (2, 1), -0.5), "-0.5 in row 2, counted from 0: variances must be"),
        (with_value(VARIANCES, (3, 0), np.nan), "nan in row 3"),
        (with_value(VARIANCES, (3, 0), np.inf), "inf in row 3"),
        (with_value(COVARIANCES, (1, 0, 1), 9.0), "row 1.*symmetric and positive semidefinite"),
        (
            with_value(with_value(COVARIANCES, (2, 0, 1), 9.0), (2, 1, 0), 9.0),
            "row 2.*symmetric and positive semidefinite",
        ),
        (with_value(COVARIANCES, (2, 1, 1), -1.0), "-1 in row 2.*variances must be"),
        (-VARIANCES[1], "row 0.*variances must be"),
    ],
)
def test_impossible_errors_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        open_data(X, error_covariance=given)


def test_errors_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="error_covariance must be an array of numbers"):
        open_data(X, error_covariance=[["a"] * 3] * 4)


def test_as_many_rows_as_features_are_ambiguous():
    with pytest.raises(ValueError, match=r"one covariance for all: give an array of shape"):
        open_data(X[:3], error_covariance=np.eye(3))
    assert open_data(X[:3], error_covariance=np.eye(3)[None]).common.shape == (3, 3)


def test_what_belongs_to_a_missing_value_is_not_looked_at():
    holes = with_value(X, (1, 2), np.nan)
    source = open_data(holes, error_covariance=with_value(VARIANCES, (1, 2), -1.0), missing="model")
    ((wide, _),) = source.annotated_blocks()
    assert source.covariances(wide)[1, 2, 2] == 0.0
    dropped = open_data(holes, error_covariance=VARIANCES, missing="drop")
    ((wide, _),) = dropped.annotated_blocks()
    assert_array_equal(dropped.covariances(wide), COVARIANCES[[0, 2, 3]])


def test_columns_of_errors_are_checked(path, tmp_path):
    for names in (["ea"], ["ea", "eb", "ec"]):
        with pytest.raises(ValueError, match="a column for each of columns"):
            open_data(path, columns=["a", "b"], error_columns=names)
    with pytest.raises(ValueError, match="a column for each of columns"):
        open_data(path, error_columns=["ea"])
    with pytest.raises(ValueError, match="give one"):
        open_data(path, columns=["a"], error_columns=["ea"], error_covariance=[1.0])
    with pytest.raises(ValueError, match="take their errors from columns: name them"):
        open_data(path, columns=["a", "b"], error_covariance=VARIANCES[:, :2])
    frame = pd.read_csv(path)
    frame.loc[2, "eb"] = -1.0
    frame.to_csv(tmp_path / "negative.csv", index=False)
    source = open_data(tmp_path / "negative.csv", columns=["a", "b"], error_columns=["ea", "eb"])
    with pytest.raises(DataError, match="error column 'eb' holds -1 in row 2, counted from 0"):
        list(source.annotated_blocks())
    frame.loc[2, "eb"] = np.nan
    frame.to_csv(tmp_path / "lacking.csv", index=False)
    source = open_data(tmp_path / "lacking.csv", columns=["a", "b"], error_columns=["ea", "eb"])
    with pytest.raises(MissingValueError, match="'eb'"):
        list(source.annotated_blocks())


def test_errors_are_given_once():
    source = open_data(X, error_covariance=VARIANCES)
    with pytest.raises(ValueError, match="X brings errors of its own"):
        fastgmm.GaussianMixture().fit(source, error_covariance=VARIANCES)
