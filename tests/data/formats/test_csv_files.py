"""CSV: how it is written, what is no number, and where it is damaged."""

import gzip

import numpy as np
import pytest

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.formats.csv_dialect import CsvForm
from fastgmm.data.opening import open_data
from fastgmm.data.options import CsvOptions
from tests.written_data import all_rows, rows, write_csv


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "delimiter", "names", "has_header"),
    [
        ("a,b\n1,2\n", ",", ("a", "b"), True),
        ("1,2\n3,4\n", ",", ("x0", "x1"), False),
        ("1,nan\n3,4\n", ",", ("x0", "x1"), False),
        ("1,,3\n1,2,3\n", ",", ("x0", "x1", "x2"), False),
        ("a;b\n1,5;2\n", ";", ("a", "b"), True),
        ("a\tb\n1\t2\n", "\t", ("a", "b"), True),
        ("1|2\n3|4", "|", ("x0", "x1"), False),
        ('"a;b",c\n1,2\n', ",", ("a;b", "c"), True),
        ('"a,b",c\n1,2\n', ",", ("a,b", "c"), True),
        ("\n\na,b\n1,2\n", ",", ("a", "b"), True),
        ("a\n1\n", ",", ("a",), True),
        (",a\n0,1\n", ",", ("", "a"), True),
        ("a,b", ",", ("a", "b"), True),
        ("NA,1\n2,3\n", ",", ("x0", "x1"), False),
        ("0,1\n2,3.5\n", ",", ("0", "1"), True),
        (",0,1\n0,2,3e5\n", ",", ("", "0", "1"), True),
        ("0,1\n2,3\n", ",", ("x0", "x1"), False),
        ("0,1.5\n2,3.5\n", ",", ("x0", "x1"), False),
        ("0,1\n", ",", ("x0", "x1"), False),
        ("0\n0.1\n", ",", ("x0",), False),
        ('a, b, "c, d"\n1, 2, 3\n', ",", ("a", "b", "c, d"), True),
    ],
)
def test_form(text, delimiter, names, has_header):
    form = CsvForm.of(text.encode(), CsvOptions())
    assert (form.delimiter, form.names, form.has_header) == (delimiter, names, has_header)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("\ufeffa,b\r\n1,2\r\n", [[1, 2]]),
        ("\ufeff1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a,b\n\n1,2\n\n3,4\n\n", [[1, 2], [3, 4]]),
        ("a,b\ntrue,1\nfalse,2\n", [[1, 1], [0, 2]]),
        ('a,b\n"1","2"\n', [[1, 2]]),
    ],
)
def test_texts(tmp_path, text, expected):
    np.testing.assert_array_equal(all_rows(open_data(write(tmp_path / "a.csv", text))), expected)


@pytest.mark.parametrize("header", [True, False])
def test_long_lines(tmp_path, header):
    X = np.random.default_rng(0).normal(size=(3, 20_000))
    names = ",".join(f"column_{j}" for j in range(20_000)) + "\n"
    text = "".join(",".join(map(repr, row)) + "\n" for row in X.tolist())
    source = open_data(write(tmp_path / "a.csv", header * names + text))
    np.testing.assert_array_equal(all_rows(source), X)
    assert (source.feature_names or [None])[-1] == ("column_19999" if header else None)


def test_rows_may_have_line_ends_in_quotes(tmp_path):
    X = np.arange(100_000.0)
    text = "".join(f'"one ""x""\n2,3\n{i}",{i}\n' for i in range(len(X)))
    source = open_data(write(tmp_path / "a.csv", "text,a\n" + text), columns=["a"])
    np.testing.assert_array_equal(all_rows(source)[:, 0], X)


def test_quotation_marks_without_a_pair(tmp_path):
    n_rows = 300_000
    lines = [f'{i},5" pipe\n' if i % 70_000 == 1 else f"{i},x\n" for i in range(n_rows)]
    source = open_data(write(tmp_path / "a.csv", "a,b\n" + "".join(lines)), columns=["a"])
    np.testing.assert_array_equal(all_rows(source)[:, 0], np.arange(n_rows))


def test_later_rows_may_be_of_other_types(tmp_path):
    text = "a\n" + "1\n" * 600_000 + "1.5\n"
    found = all_rows(open_data(write(tmp_path / "a.csv", text)))
    assert found[-1, 0] == 1.5
    assert len(found) == 600_001


def test_columns_of_text_are_named(tmp_path):
    path = write(tmp_path / "a.csv", "a,kind,day\n1,x,2020-01-01\n")
    with pytest.raises(
        DataError,
        match=r"'kind' \(string, as 'x' in line 2\), 'day' \(date32\[day\], as '2020-01-01' in ",
    ):
        open_data(path)
    np.testing.assert_array_equal(all_rows(open_data(path, columns=["a"])), [[1]])


def test_repeated_names(tmp_path):
    with pytest.raises(DataError, match=r"several columns of the name 'a'"):
        open_data(write(tmp_path / "a.csv", "a,a\n1,2\n"))


@pytest.mark.parametrize("missing", ["", "NA", "nan", "null", "None", "<NA>", "#N/A"])
def test_missing_values(tmp_path, missing):
    path = write(tmp_path / "a.csv", f"a,b\n1,2\n3,{missing}\n5,6\n")
    with pytest.raises(
        DataError, match=r"line 3 of '.*a\.csv': the value in column 'b' is missing"
    ):
        all_rows(open_data(path))
    np.testing.assert_array_equal(all_rows(open_data(path, missing="drop")), [[1, 2], [5, 6]])


@pytest.mark.parametrize("before", [3, 400_000])
@pytest.mark.parametrize("header", ["a,b\n", ""])
def test_wrong_cells_are_placed(tmp_path, before, header):
    text = header + "1,2\n" * before + "3,x\n" + "1,2\n" * 3
    name = "b" if header else "x1"
    path = write(tmp_path / "a.csv", text)
    if before == 3:  # seen when the file is opened
        with pytest.raises(
            DataError, match=rf"'{name}' \(string, as 'x' in line {4 + bool(header)}\)"
        ):
            open_data(path)
        return
    with pytest.raises(
        DataError,
        match=rf"line {before + 1 + bool(header)} of '.*a\.csv', column '{name}': 'x' is no "
        r"number: if 'x' stands for a missing value, give na_values=\['x'\]",
    ):
        all_rows(open_data(path))


@pytest.mark.parametrize("before", [3, 400_000])
def test_wrong_numbers_of_fields_are_placed(tmp_path, before):
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * before + "3\n1,2\n1,2,3\n4,5\n")
    with pytest.raises(
        DataError, match=rf"line {before + 2} of '.*a\.csv': Expected 2 columns, got 1: 3: repair"
    ):
        all_rows(open_data(path))
    source = open_data(path, on_error="skip")
    with pytest.warns(
        SkippedDataWarning,
        match=rf"a\.csv', 2 rows: a number of fields other than 2, first in line {before + 2}",
    ):
        found = all_rows(source)
    np.testing.assert_array_equal(found[-2:], [[1, 2], [4, 5]])
    assert len(found) == before + 2


def test_wrong_cell_ends_a_file_of_which_the_rest_is_left_out(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 1_000_000 + "3,x\n")
    source = open_data(path, on_error="skip")
    with pytest.warns(
        SkippedDataWarning, match=r"from line \d+ on: line 1000002 of .*, column 'b'"
    ):
        found = all_rows(source)
    assert 100_000 < len(found) < 1_000_001
    assert len(all_rows(source)) == len(found)


def test_compressed_file_cut_short_is_used_up_to_there(tmp_path):
    X = rows(30_000)
    path = write_csv(tmp_path / "a.csv.gz", X)
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(DataError, match=r"a\.csv\.gz', from line \d+ on: Compressed file ended"):
        all_rows(open_data(path))
    source = open_data(path, on_error="skip")
    with pytest.warns(SkippedDataWarning):
        found = all_rows(source)
    assert 20_000 < len(found) < 30_000
    np.testing.assert_array_equal(found, X[: len(found)])


def test_gzip_is_known_by_its_content(tmp_path):
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    np.testing.assert_array_equal(all_rows(open_data(tmp_path / "a.csv")), [[1, 2]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"cannot read '.*a\.csv' as CSV: it is empty"),
        (b"\n\n", "it is empty"),
        (b"a,b\n\x00\x01", "line 2 holds a NUL byte: it is damaged, or no text"),
        (gzip.compress(b"a\n1\n", mtime=0)[:11], "it is empty"),
    ],
)
def test_no_csv(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path / "a.csv")


def test_names_without_rows(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv' has no rows"):
        all_rows(open_data(write(tmp_path / "a.csv", "a,b\n")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n" * 600_000 + "1" * 2**24, "there is a line of more than 2097152 bytes"),
        ("1," * 2**21, "its first line has more than 8388608 bytes"),
    ],
)
def test_lines_without_end(tmp_path, monkeypatch, text, message):
    for module in ("csv_files", "csv_text"):
        monkeypatch.setattr(f"fastgmm.data.formats.{module}.LONGEST_LINE", 2**21)
    path = write(tmp_path / "a.csv", text * (1 + 2 * text.startswith("1,1")))
    with pytest.raises(DataError, match=message):
        all_rows(open_data(path))
