"""What is said about a file's columns."""

import numpy as np
import pytest

from fastgmm.data.summary import ColumnSummary, summarise_columns


def test_columns_of_a_csv_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,kind,empty\n1,x,\n,y,\n4,,\n")
    assert summarise_columns(path) == (
        3,
        (
            ColumnSummary("a", "int64", 1, 1.0, 4.0, 2.5),
            ColumnSummary("kind", "string", 0),
            ColumnSummary("empty", "null", 3),
        ),
    )


def test_columns_of_an_array(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.nan], [2.0, np.nan], [6.0, np.nan]]))
    assert summarise_columns(tmp_path / "a.npy") == (
        3,
        (ColumnSummary("x0", "float64", 0, 1.0, 6.0, 3.0), ColumnSummary("x1", "float64", 3)),
    )


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        summarise_columns(tmp_path / "a.csv")
