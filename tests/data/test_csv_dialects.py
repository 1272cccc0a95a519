"""CSV as others write it: dialects, headers, row indices, encodings, compression, other files."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fastgmm import GaussianMixture, MixtureSearch
from fastgmm.data.errors import DataError, DataWarning, SkippedDataWarning
from fastgmm.data.label_columns import class_labels
from fastgmm.data.opening import open_data
from fastgmm.data.options import csv_options
from tests.written_data import all_rows, rows, write_arrow, write_npy, write_parquet


def write(path, content, encoding="utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def two_clusters(n_samples=1000):
    X = np.random.default_rng(0).normal(size=(n_samples, 2))
    X[::2] += 20.0
    return X


@pytest.mark.parametrize(
    ("text", "options", "names", "expected"),
    [
        ("2020_01,2020_02\n1,2\n", {}, ("2020_01", "2020_02"), [[1, 2]]),
        ("0x1,0x2\n1,2\n", {}, ("0x1", "0x2"), [[1, 2]]),
        ("400.0,402.5\n1,2\n", {"header": True}, ("400.0", "402.5"), [[1, 2]]),
        ("1,2\n3,4\n", {"header": False}, None, [[1, 2], [3, 4]]),
        ("0,1\n2,3.5\n", {"header": False}, None, [[0, 1], [2, 3.5]]),
        ("a,b\r1,2\n3,4\n", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ("a,b\r1,2\r3,4\r", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ("a,b\r\n1,2\r\n3,4", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ("a;b\n1,5;2\n", {"decimal": ","}, ("a", "b"), [[1.5, 2]]),
        ("1,5\n2,5\n", {"decimal": ","}, None, [[1.5], [2.5]]),
        ('a,b\n"1,5","2e1"\n', {"decimal": ","}, ("a", "b"), [[1.5, 20]]),
        ('a,b\n"1,5",2\n', {"decimal": ",", "delimiter": ","}, ("a", "b"), [[1.5, 2]]),
        ("a,b\n?,2\n3,-\n", {"na_values": ["?", "-"]}, ("a", "b"), [[np.nan, 2], [3, np.nan]]),
        ("a,b\nNone,2\n3,<NA>\n", {}, ("a", "b"), [[np.nan, 2], [3, np.nan]]),
        ("1.5 2\n3 4\n", {}, None, [[1.5, 2], [3, 4]]),
        ("a b\n 1   2 \n\t3\t4\n", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ('"a a" b\n1 2\n', {}, ("a a", "b"), [[1, 2]]),
        ("a\n1 2\n3 4\n", {"delimiter": " ", "header": False, "na_values": "a"}, None, None),
        ("a^b\n1^2\n", {"delimiter": "^"}, ("a", "b"), [[1, 2]]),
        ("a\tb\n1\t2\n", {"delimiter": "\\t"}, ("a", "b"), [[1, 2]]),
        ("a\tb\n\t2\n1\t\n", {}, ("a", "b"), [[np.nan, 2], [1, np.nan]]),
        ('# x "\na,b # c\n#\n1,2#3\n', {"comment": "#"}, ("a", "b"), [[1, 2]]),
        ('a,b\n"1",2\n', {"comment": "#"}, ("a", "b"), [[1, 2]]),
        ("a,b,\n1,2\n3,4\n", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ("a,b,\n1,2,\n3,4,\n", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ("a,b\n1,2,\n3,4,\n", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ('"a\nb",c\n1,2\n', {}, ("a\nb", "c"), [[1, 2]]),
        ('"a\r\nb",c\r\n1,2\r\n', {}, ("a\r\nb", "c"), [[1, 2]]),
        ("sep=;\na;b\n1;2\n", {}, ("a", "b"), [[1, 2]]),
        ("sep=^\r\na^b\r\n1^2\r\n", {}, ("a", "b"), [[1, 2]]),
        ("a,b\n1 , 2\n \n\t\n3,4 \n", {}, ("a", "b"), [[1, 2], [3, 4]]),
        ("a\n1\n   \n2\n", {}, ("a",), [[1], [2]]),
        ("a,b\n+1.5,1E5\n1.,.5\n", {}, ("a", "b"), [[1.5, 1e5], [1, 0.5]]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_is_read(tmp_path, text, options, names, expected, encoding):
    path = write(tmp_path / "a.csv", text, encoding)
    if expected is None:
        with pytest.raises(DataError, match="Expected 1 columns, got 2"):
            all_rows(open_data(path, missing="model", **options))
        return
    source = open_data(path, missing="model", **options)
    assert source.feature_names == names
    np.testing.assert_array_equal(all_rows(source), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a;b\n1,5;2\n3,5;4\n", r"'a' \(string, as '1,5' in line 2\).*decimal=','.*--decimal ,"),
        ('a,b\n1,"1,234"\n', r"'1,234' in line 2.*decimal=','.*separators of thousands"),
        ("a,b\n1,2\n3,1_000\n", r"'b' \(string, as '1_000' in line 3\).*separators of thousands"),
        (
            "a,b\n1,2\n\n3,?\n",
            r"'b' \(string, as '\?' in line 4\).*na_values=\['\?'\].*--na-values",
        ),
        ("a,b\n1,2\n3,-\n5,6\n", r"as '-' in line 3\).*na_values=\['-'\]"),
        ("a,b\n1,2\n3,4x\n", r"'b' \(string, as '4x' in line 3\)"),
        ('a,b\n"1\n",2\n3,4x\n', r"'b' \(string, as '4x' in line 4\)"),
        ("a,b\n0x10,2\n", r"line 2 of '.*a\.csv', column 'a': '0x10' is no number"),
        ("a^b\n1^2\n3^4\n", r"'1\^2' in line 2\).*delimiter='\^'"),
        ("# by me\na,b\n1,2\n", r"begins with '#'.*comment='#' \(--comment '#'\)"),
        ("# 1\n# 2\n1\n", r"begins with '#'.*comment='#'"),
        ("a,b\n1,2\n# x\n", r"line 3 of .*Expected 2 columns, got 1: # x: .*comment='#'"),
        ("a,b\n1,2 # x\n3,4\n", r"'2 # x' in line 2\).*comment='#'"),
        (
            "title\n1,2\n3,4\n",
            r"line 2 of .*Expected 1 columns, got 2: 1,2: .*is a title, .*remove",
        ),
        ("my, title\na,b,c,d\n1,2,3,4\n", r"line 2 of .*got 4: a,b,c,d: .*title, .*remove"),
        ("a,b\n1,2\n3,4,5\n", r"line 3 of .*Expected 2 columns, got 3: 3,4,5"),
        ('a,b\n1,2\n"3,4\n', r'line 3 of .*got 1: "3,4: a quotation mark in it is not closed'),
        ("a,b\n0.5,2,3\n0.5,4,5\n", r"line 2 of .*Expected 2 columns, got 3"),
    ],
)
def test_what_is_not_is_named_with_the_option_that_reads_it(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        all_rows(open_data(write(tmp_path / "a.csv", text)))


@pytest.mark.parametrize("before", [1, 60_000])
def test_lines_are_counted_as_they_stand_in_the_file(tmp_path, before):
    text = "a,b\r\n" + '# x\r\n\r\n"1",2\r\n1,"2"\r\n' * before + "#\r\n1,y\r\n"
    path = write(tmp_path / "a.csv", text)
    place = f"'y' in line {4 * before + 3}" if before == 1 else f"line {4 * before + 3} of .*'y' is"
    with pytest.raises(DataError, match=place):
        all_rows(open_data(path, comment="#"))


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("400.0,402.5,405.0\n0.3,0.1,0.2\n0.1,0.5,0.3\n", "evenly spaced"),
        ("2019,2021\n0.3,0.1\n0.1,0.5\n", "integers"),
        ("400.1,407.5\n0.3,0.1\n0.1,0.5\n0.4,0.2\n", "far from those below"),
        ("1.,2.1,3.3,5.2,9.,11.\n3,1,9,2,4,5\n1,5,2,8,3,2\n", "ascend"),
    ],
)
def test_a_header_of_numbers_is_suspected(tmp_path, text, evidence):
    path = write(tmp_path / "a.csv", text)
    with pytest.warns(DataWarning, match=rf"may be a header.*{evidence}.*header=True \(--header\)"):
        n_rows = len(all_rows(open_data(path)))
    assert len(all_rows(open_data(path, header=False))) == n_rows
    assert len(all_rows(open_data(path, header=True))) == n_rows - 1


@pytest.mark.parametrize("first", ["?,2", "$1.50,2", "5%,2", "-,?"])
def test_data_that_look_like_a_header_are_suspected(tmp_path, first):
    path = write(tmp_path / "a.csv", f"{first}\n3,4\n5,6\n")
    with pytest.warns(DataWarning, match=r"read as a header, but may be data.*--no-header"):
        assert len(all_rows(open_data(path))) == 2
    assert len(all_rows(open_data(path, header=True))) == 2


@pytest.mark.parametrize("header", ["country,2019,2020", "25%,50%,75%", "2020-01,2020-02,2020-03"])
def test_names_like_numbers_are_no_suspects(tmp_path, header):
    path = write(tmp_path / "a.csv", f"{header}\n3,4,5\n5,6,7\n")
    assert len(all_rows(open_data(path))) == 2


def test_rows_of_numbers_are_no_suspects(tmp_path):
    for seed in range(30):
        X = np.random.default_rng(seed).normal(size=(50, 1 + seed % 5))
        pd.DataFrame(X).to_csv(tmp_path / "a.csv", header=False, index=False)
        assert len(all_rows(open_data(tmp_path / "a.csv"))) == 50


@pytest.mark.parametrize(
    "option",
    [
        {"header": None},
        {"header": 0},
        {"na_values": [1]},
        {"decimal": ";"},
        {"delimiter": ""},
        {"delimiter": "ab"},
        {"delimiter": "1"},
        {"comment": " "},
        {"comment": '"'},
        {"delimiter": "."},
        {"comment": ";", "delimiter": ";"},
        {"encoding": "klingon"},
        {"encoding": "hex"},
    ],
)
def test_options_that_cannot_be(option):
    with pytest.raises(ValueError, match=f"{next(reversed(option))}"):
        open_data("nowhere.csv", **option)


def test_options_are_for_csv_alone(tmp_path):
    X = rows(10)
    for data in (X, pd.DataFrame(X), iter([X]), write_parquet(tmp_path / "x.parquet", X)):
        with pytest.raises(ValueError, match="not CSV, which 'decimal' is for"):
            open_data(data, decimal=",")


def _indexed(folder, kind):
    X = two_clusters().round(4)  # which pandas reads exactly
    frame = pd.DataFrame(X, columns=["a", "b"])
    path = folder / "a.csv"
    if kind == "pandas":
        frame.to_csv(path)
    elif kind == "round trip":
        frame.to_csv(path)
        pd.read_csv(path).to_csv(path, index=False)
    elif kind == "two round trips":
        frame.to_csv(path)
        pd.read_csv(path).to_csv(path)
    elif kind == "from 1":
        frame.set_axis(range(1, len(X) + 1)).to_csv(path)
    elif kind == "shuffled":
        frame.sample(frac=1, random_state=0).to_csv(path)
        X = frame.sample(frac=1, random_state=0).to_numpy()
    elif kind == "floats that count":
        frame.set_axis(np.arange(float(len(X)))).to_csv(path)
    elif kind == "text":
        frame.set_axis([f"row {i}" for i in range(len(X))]).to_csv(path)
    elif kind == "dates":
        frame.set_axis(pd.date_range("2020-01-01", periods=len(X))).to_csv(path)
    elif kind == "several levels":
        levels = [(i // 2, "xy"[i % 2]) for i in range(len(X))]
        frame.set_axis(pd.MultiIndex.from_tuples(levels)).to_csv(path)
    elif kind == "write.csv":
        lines = [f'"{i + 1}",{a!r},{b!r}\n' for i, (a, b) in enumerate(X.tolist())]
        path.write_text('"","a","b"\n' + "".join(lines))
    elif kind == "write.table":
        lines = [f'"{i + 1}" {a!r} {b!r}\n' for i, (a, b) in enumerate(X.tolist())]
        path.write_text('"a" "b"\n' + "".join(lines))
    elif kind == "write.table with names":
        lines = [f'"row {i}"\t{a!r}\t{b!r}\n' for i, (a, b) in enumerate(X.tolist())]
        path.write_text('"a"\t"b"\n' + "".join(lines))
    return path, X


@pytest.mark.parametrize(
    "kind",
    [
        "pandas",
        "round trip",
        "two round trips",
        "from 1",
        "shuffled",
        "floats that count",
        "text",
        "dates",
        "several levels",
        "write.csv",
        "write.table",
        "write.table with names",
    ],
)
def test_row_index_is_no_feature(tmp_path, kind):
    path, X = _indexed(tmp_path, kind)
    with pytest.warns(DataWarning, match=r"first column of '.*a\.csv', '.*', is left out"):
        source = open_data(path)
    assert source.feature_names == ("a", "b")
    assert set(source.unused_columns.values()) == {"row index"}
    np.testing.assert_array_equal(all_rows(source), X)


def test_row_index_is_no_feature_of_fits(tmp_path):
    path, _ = _indexed(tmp_path, "pandas")
    with pytest.warns(DataWarning, match="left out"):
        mixture = GaussianMixture(2, random_state=0).fit(path)
    labels = mixture.predict(path)
    assert len(np.unique(labels[::2])) == len(np.unique(labels[1::2])) == 1
    assert labels[0] != labels[1]
    with pytest.warns(DataWarning, match="left out"):
        search = MixtureSearch([1, 2, 3, 4], structures=["EII", "VVV"], random_state=0).fit(path)
    assert search.best_params_["n_components"] == 2


@pytest.mark.parametrize(("kind", "name"), [("pandas", ""), ("round trip", "Unnamed: 0")])
def test_row_index_is_a_feature_if_it_is_asked_for(tmp_path, kind, name):
    path, X = _indexed(tmp_path, kind)
    found = all_rows(open_data(path, columns=["b", name]))
    np.testing.assert_array_equal(found, np.column_stack([X[:, 1], np.arange(len(X))]))


def test_row_index_of_several_files(tmp_path):
    X = two_clusters()
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame[:400].to_csv(tmp_path / "1.csv")
    frame[400:].to_csv(tmp_path / "2.csv")  # it counts on
    frame[:100].to_csv(tmp_path / "3.csv")  # and anew
    with pytest.warns(DataWarning, match="and so in 2 other files"):
        source = open_data(tmp_path)
    np.testing.assert_array_equal(all_rows(source), np.concatenate([X, X[:100]]))


def test_values_without_a_name_are_features(tmp_path):
    path = write(tmp_path / "a.csv", ",b\n0.5,2\n0.7,3\n")
    with pytest.warns(DataWarning, match=r"first column of .*, '', has no name.*--columns"):
        source = open_data(path)
    np.testing.assert_array_equal(all_rows(source), [[0.5, 2], [0.7, 3]])
    np.testing.assert_array_equal(all_rows(open_data(path, columns=["", "b"])), all_rows(source))


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("My table\na,b\n1,2\n3,4\n", "line 1, 'My table',"),
        ("\nMy table\nof 2020\n\na,b\n1,2\n3,4\n", "line 2, 'My table',"),
        ("My table,\na,b\n1,2\n3,4\n", "line 1, 'My table,',"),
        ("2020\na;b\n1;2\n3;4\n", "line 1, '2020',"),
        ("Table 1 of 2\na\tb\n1\t2\n3\t4\n", "line 1, 'Table 1 of 2',"),
    ],
)
def test_a_title_above_the_header_is_left_out_with_a_warning(tmp_path, text, title):
    path = write(tmp_path / "a.csv", text)
    with pytest.warns(DataWarning, match=rf"{title} of .* is left out, as a title"):
        source = open_data(path)
    assert source.feature_names == ("a", "b")
    np.testing.assert_array_equal(all_rows(source), [[1, 2], [3, 4]])
    more = text.splitlines(keepends=True)[-1]
    place = f"line {text.count(chr(10)) + 31} of .*got 1: 5"
    with pytest.raises(DataError, match=place):  # as it is in the file
        all_rows(open_data(write(path, text + 30 * more + "5\n"), columns=["a", "b"]))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a\n1\n2\n", ("a",)),
        ("x\n1,0.5\n2,0.7\n", ("", "x")),  # names of rows, as R writes them
        ("a,\n1,2\n3,4\n", ("a", "")),
        ("label,\nx,1\ny,2\n", ("label", "")),
    ],
)
def test_what_is_no_title(tmp_path, text, names):
    path = write(tmp_path / "a.csv", text)
    assert open_data(path, columns=[names[-1]]).files[0].columns[0].name == names[0]


def test_the_first_line_is_a_header_where_the_user_says_so(tmp_path):
    path = write(tmp_path / "a.csv", "My table\na,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"line 2 of .*Expected 1 columns, got 2: a,b"):
        all_rows(open_data(path, header=True))


@pytest.mark.parametrize(
    ("line", "mark"),
    [("# made by, me", "#"), ("%made by, me", "%"), ("; by, me", ";"), ("// by, me", "/")],
)
@pytest.mark.parametrize("before", [0, 3, 1000, 150_000])
def test_comments_with_as_many_commas_as_there_are_columns(tmp_path, line, mark, before):
    text = "a,b\n" + "1.25,2.5\n" * before + f"{line}\n" + "1.25,2.5\n" * 3
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(DataError, match=rf"comment='{mark}' \(--comment '{mark}'\)"):
        all_rows(open_data(path))
    assert len(all_rows(open_data(path, comment=mark))) == before + 3


def test_a_comment_above_the_header_with_as_many_commas(tmp_path):
    path = write(tmp_path / "a.csv", "# made by, me\na,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"first line begins with '#'.*comment='#'"):
        open_data(path)
    assert open_data(path, comment="#").feature_names == ("a", "b")
    assert open_data(write(path, "# a,b\n1,2\n3,4\n")).feature_names == ("# a", "b")


@pytest.mark.parametrize("cell", ["#DIV/0!", "#VALUE!", "#REF!", "#N/A!", "?", "-", "."])
def test_what_spreadsheets_write_for_missing_values(tmp_path, cell):
    path = write(tmp_path / "a.csv", "a,b\n" + f"1,{cell}\n" * 30 + "1,2\n")
    with pytest.raises(DataError, match=rf"na_values=\['{re.escape(cell)}'\]"):
        open_data(path)
    assert len(all_rows(open_data(path, na_values=cell, missing="model"))) == 31


def test_units_below_the_header_and_headers_that_are_said_to_be_none(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\nm,kg\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"line 2 is text above numbers: .*units, remove it"):
        open_data(path)
    path = write(path, "a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"leave header=False \(--no-header\) out"):
        open_data(path, header=False)


@pytest.mark.parametrize(("before", "place"), [(9, "line 11"), (400_000, "line 400002 of")])
@pytest.mark.parametrize("cell", ["\0", "1.\0", "\0" * 3])
def test_a_nul_byte_is_named_with_its_line(tmp_path, before, place, cell):
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * before + f"1,{cell}\n" + "1,2\n")
    with pytest.raises(DataError, match=rf"{place} .*NUL byte"):
        all_rows(open_data(path))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_named(tmp_path, encoding):
    path = write(tmp_path / "a.csv", "a,b\n1,2\n3,4\n", encoding)
    with pytest.raises(DataError, match=f"UTF-16 .*encoding='{encoding}'"):
        open_data(path)
    assert len(all_rows(open_data(path, encoding=encoding))) == 2


def test_rows_that_cannot_be_seen_are_spelled_out(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n1,2\n\x1a")
    with pytest.raises(DataError, match=r"line 3 .*got 1: '\\x1a'"):
        all_rows(open_data(path))


def test_quoted_line_ends_in_rows_where_another_delimiter_is_tried(tmp_path):
    path = write(tmp_path / "a.csv", 'a,b,c\n1,2,"x\ny"\n3,4,"z"\n')
    assert len(all_rows(open_data(path, columns=["a", "b"]))) == 2


def test_a_count_in_a_file_without_header_is_suspected(tmp_path):
    path = write(tmp_path / "a.csv", "1,0.5\n2,0.7\n3,0.1\n")
    with pytest.warns(DataWarning, match=r"counts the rows: .* leave it out with columns=\['x1'\]"):
        assert all_rows(open_data(path)).shape == (3, 2)


def test_encodings(tmp_path):
    path = write(tmp_path / "a.csv", "Größe,b\n1,2\n", "latin-1")
    with pytest.raises(DataError, match=r"byte 0xf6 is not UTF-8.*encoding='latin-1'"):
        open_data(path)
    assert open_data(path, encoding="latin-1").feature_names == ("Größe", "b")
    path = write(tmp_path / "a.csv", "a,b\n1,x\n2,ö\n", "latin-1")
    with pytest.raises(DataError, match=r"line 3 of '.*a\.csv': the byte 0xf6 is not UTF-8"):
        all_rows(open_data(path, columns=["a"]))
    source = open_data(path, columns=["a"], encoding="latin-1")
    assert class_labels(source, "b").tolist() == ["x", "ö"]
    path = write(tmp_path / "a.csv", "a,b\n1,2\n", "utf-16-le")
    with pytest.raises(DataError, match=r"UTF-16 without a byte order mark.*encoding='utf-16-le'"):
        open_data(path)
    np.testing.assert_array_equal(all_rows(open_data(path, encoding="utf-16-le")), [[1, 2]])


def test_text_in_utf_16_is_known_by_its_mark(tmp_path):
    X = rows(50_000)
    pd.DataFrame(X).to_csv(tmp_path / "a.txt", index=False, header=False, encoding="utf-16")
    np.testing.assert_array_equal(all_rows(open_data(tmp_path / "a.txt")), X)


COMPRESSED = {
    "a.csv.gz": gzip.compress,
    "a.csv.bz2": bz2.compress,
    "a.csv.xz": lzma.compress,
    "a.csv.zst": lambda text: pa.compress(text, "zstd", asbytes=True),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_files(tmp_path, name):
    X = rows(20_000)
    text = pd.DataFrame(X, columns=["a", "b", "c"]).to_csv(index=False).encode()
    compressed = COMPRESSED[name](text[:-300_000]) + COMPRESSED[name](text[-300_000:])
    path = write(tmp_path / name, compressed)
    np.testing.assert_array_equal(all_rows(open_data(path)), X)
    np.testing.assert_array_equal(all_rows(open_data(tmp_path)), X)  # by the name in a folder
    np.testing.assert_array_equal(all_rows(open_data(io.BytesIO(compressed))), X)
    write(path, COMPRESSED[name](text)[:-50_000])
    with pytest.raises(DataError, match=rf"{name}', from line \d+ on: "):
        all_rows(open_data(path))
    with pytest.warns(SkippedDataWarning, match="from line"):
        found = all_rows(open_data(path, on_error="skip"))
    np.testing.assert_array_equal(found, X[: len(found)])
    assert len(found) > 5000


def test_zip_archives(tmp_path):
    X = rows(3000)
    pd.DataFrame(X).to_csv(tmp_path / "a.csv.zip", index=False, header=False)
    np.testing.assert_array_equal(all_rows(open_data(tmp_path / "a.csv.zip")), X)
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.csv", "a,b\n1,2\n")
        archive.writestr("d/e.csv", "a,b\n3,4\n5,x\n")
        archive.writestr("__MACOSX/c.csv", b"\0\1")
    with pytest.raises(DataError, match=r"holds 2 files, 'c\.csv', 'd/e\.csv'.*'b\.zip::c\.csv'"):
        open_data(path)
    np.testing.assert_array_equal(all_rows(open_data(f"{path}::c.csv")), [[1, 2]])
    with pytest.raises(DataError, match=r"b\.zip::d/e\.csv' holds other .*'x' in line 3"):
        open_data(f"{path}::d/e.csv")
    with pytest.raises(DataError, match=r"holds no file 'f\.csv', but 'c\.csv', 'd/e\.csv'"):
        open_data(f"{path}::f.csv")
    with pytest.raises(DataError, match="zip archive, which cannot be read from beginning"):
        open_data(io.BytesIO(path.read_bytes()))
    write(path, path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"b\.zip' as a zip archive.*damaged or cut short"):
        open_data(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_other_compressed_files(tmp_path, order):
    X = np.asarray(rows(5000), order=order)
    content = write_npy(tmp_path / "x.npy", X).read_bytes()
    for name, compress in COMPRESSED.items():
        path = write(tmp_path / name.replace("csv", "npy"), compress(content))
        np.testing.assert_array_equal(all_rows(open_data(path)), X)
        write(path, compress(content)[:-5000])
        with pytest.raises(DataError, match=path.name):
            all_rows(open_data(path))
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.writestr("x.npy", content)
        archive.writestr("read.me", "nothing")
    np.testing.assert_array_equal(all_rows(open_data(f"{tmp_path / 'both.zip'}::x.npy")), X)
    stream = write_arrow(tmp_path / "x.arrows", X).read_bytes()
    path = write(tmp_path / "x.arrows.bz2", bz2.compress(stream))
    np.testing.assert_array_equal(all_rows(open_data(path)), X)


def test_a_compressed_file_that_claims_more_than_it_holds(tmp_path):
    header = write_npy(tmp_path / "x.npy", np.zeros((1, 9))).read_bytes()[:128]
    huge = header.replace(b"(1, 9), }        ", b"(99999999, 9), } ")
    path = write(tmp_path / "x.npy.gz", gzip.compress(huge + bytes(72)))
    with pytest.raises(DataError, match="cut short or damaged: it should hold 99999999 rows"):
        open_data(path)


def test_compressed_files_that_must_be_extracted(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", rows(10))
    write(tmp_path / "x.parquet.gz", gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"compressed file of the kind Parquet: extract it first"):
        open_data(tmp_path / "x.parquet.gz")


def test_files_with_very_many_columns(tmp_path):
    X = np.random.default_rng(0).normal(size=(3, 6000))
    frame = pd.DataFrame(X).add_prefix("c")
    frame.insert(3000, "kind", ["u", None, "v"])
    frame.to_csv(tmp_path / "a.csv", index=False)
    names = [name for name in frame if name != "kind"]
    source = open_data(tmp_path / "a.csv", columns=names)
    np.testing.assert_array_equal(all_rows(source), X)
    assert class_labels(source, "kind").tolist() == ["u", None, "v"]
    source = open_data(tmp_path / "a.csv", columns=names[:5], filter=[("c0", ">", X[0, 0] - 1e-9)])
    np.testing.assert_array_equal(all_rows(source), X[X[:, 0] >= X[0, 0]][:, :5])
    text = (tmp_path / "a.csv").read_text()
    with pytest.raises(DataError, match=r"'kind' \(string, as 'u' in line 2\)"):
        open_data(tmp_path / "a.csv")
    cell = str(X[2, 4321])
    path = write(tmp_path / "b.csv", text.replace(",kind", ",k").replace(cell, "x"))
    with pytest.raises(DataError, match=r"'c4321' \(string, as 'x' in line 4\)"):
        open_data(path, columns=names)
    many = text + text.partition("\n")[2] * 30 + text.partition("\n")[2].replace(cell, "x")
    with pytest.raises(DataError, match=r"line 97 of '.*', column 'c4321': 'x' is no number"):
        all_rows(open_data(write(path, many), columns=names))
    with pytest.raises(DataError, match=r"line 5 of '.*': Expected 6001 columns, got 2"):
        all_rows(open_data(write(path, text + "1,2\n"), columns=names))


FOREIGN = {
    "page": (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page"),
    "lower": (b"<html>\n", "an HTML page"),
    "xml": (b'<?xml version="1.0"?>\n<a/>', "XML"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
    "fits": (b"SIMPLE  =                    T / conforms", "a FITS file: .*astropy"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old Excel workbook: .*read_excel"),
    "pickle": (pickle.dumps(np.zeros(3)), "a pickle"),
    "json": (json.dumps([{"a": 1}]).encode(), "JSON: .*read_json"),
    "lines": (b'{"a": 1}\n{"a": 2}\n', "JSON: .*lines=True"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
    "rds": (gzip.compress(b"X\n\0\0\0\3\0\4"), "a file of R's"),
    "sqlite": (b"SQLite format 3\0" + bytes(99), "an SQLite database"),
    "tar": (b"a.csv".ljust(257, b"\0") + b"ustar\0" + bytes(200), "a tar archive"),
}


@pytest.mark.parametrize("suffix", [".csv", ".dat"])
@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_called_what_they_are(tmp_path, name, suffix):
    content, message = FOREIGN[name]
    with pytest.raises(DataError, match=f"is {message}"):
        open_data(write(tmp_path / f"a{suffix}", content))
    with pytest.raises(DataError, match=f"is {message}"):
        open_data(io.BytesIO(content))


def test_an_excel_workbook_is_called_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.csv", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(DataError, match=r"is an Excel workbook: .*read_excel, or save it as CSV"):
        open_data(tmp_path / "a.csv")


def test_headers_like_other_files(tmp_path):
    path = write(tmp_path / "a.csv", "[V],{A}\n1,2\n")
    assert open_data(path).feature_names == ("[V]", "{A}")


def test_given_options_are_named():
    assert csv_options("infer", None, ".", None, None, None).given() == []
    assert csv_options(True, "?", ".", None, None, "latin-1").given() == [
        "header",
        "na_values",
        "encoding",
    ]


def test_an_index_whose_numbers_repeat_is_one_too(tmp_path):
    rows = pd.DataFrame({"a": [0.5, 1.5, 3.0], "b": [1.0, 2.5, 0.0]})
    pd.concat([rows, rows]).to_csv(tmp_path / "twice.csv")
    with pytest.warns(DataWarning, match="the first column .* is left out"):
        assert open_data(tmp_path / "twice.csv").feature_names == ("a", "b")
