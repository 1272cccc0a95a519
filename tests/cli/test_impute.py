"""``fastgmm impute``: what is filled in, what is carried along, and what is refused."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.datasets import load_iris

import fastgmm
from fastgmm.data.table_output import write_table
from tests.cli_process import in_here, refuse, succeed

NAMES = ["a", "b", "c", "d"]


def holes():
    X = load_iris().data
    return np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Flowers with holes, other columns between their measurements, and a mixture of these."""
    folder = tmp_path_factory.mktemp("impute")
    frame = pd.DataFrame(holes(), columns=NAMES)
    fastgmm.GaussianMixture(3, missing="model", random_state=0).fit(frame).save(
        folder / "model.fgm"
    )
    frame.insert(1, "kind", ["setosa, wild", None, 'the "other"'] * 50)
    frame.insert(0, "number", np.arange(150) + 2**60)
    frame["day"] = pd.to_datetime("2020-01-01")
    frame.to_parquet(folder / "rows.parquet", index=False, row_group_size=40)
    frame.drop(columns=["number", "day"]).to_csv(folder / "rows.csv", index=False)
    frame.drop(columns=["kind", "day"]).assign(number=range(150)).to_parquet(
        folder / "numbers.parquet"
    )
    np.save(folder / "rows.npy", holes())
    for name in ("draw", "kind"):
        frame[[*NAMES, "kind"]].rename(columns={"kind": name}).to_parquet(folder / f"{name}.pq")
    (folder / "rows").mkdir()
    for number in range(3):
        part = frame.iloc[50 * number : 50 * number + 50]
        part.to_parquet(folder / "rows" / f"{number}.parquet", index=False)
    return folder


def expected(**parameters):
    mixture = fastgmm.GaussianMixture(3, missing="model", random_state=0).fit(holes())
    return mixture.impute(holes(), **parameters)


@pytest.mark.parametrize("data", ["rows.parquet", "rows"])
def test_other_columns_stay_as_they_are_where_they_are(folder, data):
    succeed("impute", data, "-m", "model.fgm", "-o", "filled.parquet", cwd=folder)
    before = pd.read_parquet(folder / "rows.parquet")
    after = pd.read_parquet(folder / "filled.parquet")
    assert list(after) == ["number", "a", "kind", "b", "c", "d", "day"]
    for name in ("number", "kind", "day"):
        pd.testing.assert_series_equal(after[name], before[name])
    np.testing.assert_array_equal(after[NAMES].astype(float), expected())


def test_csv_to_csv(folder):
    succeed("impute", "rows.csv", "-m", "model.fgm", "-o", "filled.csv", cwd=folder)
    after = pd.read_csv(folder / "filled.csv", dtype=str)
    assert list(after) == ["a", "kind", "b", "c", "d"]
    pd.testing.assert_series_equal(after["kind"], pd.read_csv(folder / "rows.csv")["kind"])
    np.testing.assert_array_equal(after[NAMES].astype(float), expected())


def test_from_csv_to_csv_other_columns_keep_every_digit(folder):
    before = pd.read_csv(folder / "rows.csv")
    texts = [str(2**60 + i) if i % 2 else f"00{i}.50" for i in range(150)]
    before.assign(id=texts, none="").to_csv(folder / "ids.csv", index=False)
    printed = succeed("impute", "ids.csv", "-m", "model.fgm", cwd=folder)
    after = pd.read_csv(io.StringIO(printed), dtype=str, keep_default_na=False)
    assert list(after["id"]) == texts
    assert list(after["kind"])[:3] == ["setosa, wild", "", 'the "other"']
    assert set(after["none"]) == {""}
    succeed("impute", "ids.csv", "-m", "model.fgm", "-o", "ids.parquet", cwd=folder)
    assert pd.read_parquet(folder / "ids.parquet")["id"].dtype == float


def filled(folder, name, suffix):
    """Return what comes of a table with the model's columns, filled in."""
    succeed("impute", name, "-m", "model.fgm", "-o", f"filled{suffix}", cwd=folder)
    return folder / f"filled{suffix}"


TEXTS = {
    "count": ([str(i) for i in range(150)], pa.int64()),
    "gaps": (["", *map(str, range(149))], pa.int64()),
    "large": ([str(2**60 + i) for i in range(150)], pa.int64()),
    "unsigned": ([str(2**63 + i) for i in range(150)], pa.uint64()),
    "longer": ([str(10**20 + i) for i in range(150)], pa.string()),
    "numbers at last": ([*map(str, range(149)), "0.5"], pa.float64()),
    "text at last": ([*map(str, range(149)), "x"], pa.string()),
    "day": (["2020-02-29"] * 150, pa.date32()),
    "time": (["2020-02-29 23:59:59"] * 150, pa.timestamp("ms")),
    "fraction": ([*["2020-02-29 23:59:59"] * 149, "2020-02-29 23:59:59.25"], pa.timestamp("ns")),
    "day at first": ([*["2020-02-29"] * 149, "2020-02-29 12:00:00"], pa.timestamp("ms")),
    "time with zone": (["2020-02-29T23:59:59Z"] * 150, pa.timestamp("ms", "UTC")),
    "time of day": (["23:59:59"] * 150, pa.string()),
    "flag": (["true", "false"] * 75, pa.bool_()),
    "signs": (["+5", "-5", " 5"] * 50, pa.int64()),
    "hexadecimal": (["0x10"] * 150, pa.string()),
    "keys": (["007a"] * 150, pa.string()),
    "nothing": ([""] * 150, pa.null()),
}


@pytest.mark.parametrize("split", [False, True], ids=["file", "folder"])
def test_from_csv_to_parquet_columns_have_the_types_of_their_text(folder, tmp_path, split):
    frame = pd.read_csv(folder / "rows.csv")[NAMES].assign(
        **{name: texts for name, (texts, _) in TEXTS.items()}
    )
    data = tmp_path / "data"
    data.mkdir()
    for number, rows in enumerate([frame[:100], frame[100:]] if split else [frame]):
        rows.to_csv(data / f"{number}.csv", index=False)
    table = parquet.read_table(filled(folder, data, ".parquet"))
    for name, (texts, kind) in TEXTS.items():
        assert table.schema.field(name).type == kind, name
        cells = pd.Series(texts).replace("", None).dropna()
        if pa.types.is_integer(kind):
            integers = [each for each in table[name].to_pylist() if each is not None]
            assert integers == [int(cell) for cell in cells]
        elif pa.types.is_string(kind):
            assert table[name].to_pylist() == texts
    assert table["fraction"][149].as_py() == pd.Timestamp("2020-02-29 23:59:59.25")
    assert table["numbers at last"][149].as_py() == 0.5


def test_types_of_text_follow_the_options_of_csv(tmp_path):
    frame = pd.DataFrame({"x": [1.5, 2.5], "n": ["?", "7"], "y": ["0,5", "?"], "z": ["1.234", ""]})
    frame.to_csv(tmp_path / "rows.csv", index=False, sep=";", decimal=",")
    source = fastgmm.open_data(
        tmp_path / "rows.csv", columns=["x"], na_values="?", decimal=",", delimiter=";"
    )
    carried = source.carry(form="typed")
    (block,) = source.blocks()
    np.testing.assert_array_equal(block.X[:, 0], [1.5, 2.5])
    found = carried.take(2)
    assert found["n"].to_pylist() == [None, 7]
    assert found["y"].to_pylist() == [0.5, None]
    assert found["z"].to_pylist() == ["1.234", ""]


def test_the_nameless_first_column_of_csv_is_the_index_of_parquet(folder):
    frame = pd.read_csv(folder / "rows.csv").set_index(np.arange(150) + 7)
    frame.to_csv(folder / "counted.csv")
    outcome = in_here("impute", "counted.csv", "-m", "model.fgm", "-o", "c.parquet", cwd=folder)
    assert outcome.returncode == 0
    after = pd.read_parquet(folder / "c.parquet")
    assert after.index.equals(frame.index)
    assert after.index.name is None


def test_from_a_stream_to_parquet_types_are_those_of_the_beginning(folder, monkeypatch):
    def imputed(last):
        frame = pd.read_csv(folder / "rows.csv").assign(n=[str(2**60)] * 149 + [last])
        frame = pd.concat([frame.assign(n=str(2**60))] * 200 + [frame])
        text = frame.to_csv(index=False).encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        return ("impute", "-", "-m", "model.fgm", "-o", "stream.parquet")

    succeed(*imputed("7"), cwd=folder)
    assert parquet.read_table(folder / "stream.parquet")["n"][-1].as_py() == 7
    assert "column 'n' begins as int64 and continues otherwise" in refuse(*imputed("x"), cwd=folder)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Rows with features of integers, one of which has gaps, and a mixture of them."""
    folder = tmp_path_factory.mktemp("integers")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "whole": rng.integers(100, size=200),
            "gaps": pd.array(rng.integers(2**40, size=200), dtype="Int64"),
            "flag": rng.integers(2, size=200) > 0,
            "x": rng.normal(size=200),
        }
    )
    frame.loc[::5, "gaps"] = pd.NA
    frame.to_parquet(folder / "rows.parquet", index=False)
    frame.to_csv(folder / "rows.csv", index=False)
    fastgmm.GaussianMixture(1, missing="model", reg_covar=1e-3).fit(frame.astype(float)).save(
        folder / "model.fgm"
    )
    return folder, frame


@pytest.mark.parametrize("data", ["rows.parquet", "rows.csv"])
def test_features_of_integers_stay_integers(counted, data):
    folder, frame = counted
    observed = frame["gaps"].notna()
    table = parquet.read_table(filled(folder, data, ".parquet"))
    assert table.schema.field("whole").type == pa.int64()
    assert table.schema.field("flag").type == pa.bool_()
    assert table.schema.field("gaps").type == pa.int64()
    after = table.to_pandas()
    pd.testing.assert_frame_equal(after.drop(columns="gaps"), frame.drop(columns="gaps"))
    np.testing.assert_array_equal(after["gaps"][observed], frame["gaps"][observed])
    texts = pd.read_csv(filled(folder, data, ".csv"), dtype=str)
    assert texts["whole"].tolist() == frame["whole"].astype(str).tolist()
    assert texts["gaps"][observed].tolist() == frame["gaps"][observed].astype(str).tolist()
    imputed = fastgmm.load(folder / "model.fgm").impute(frame.astype(float))
    assert texts["gaps"].astype(int).tolist() == np.round(imputed[:, 1]).astype(int).tolist()
    np.testing.assert_array_equal(
        np.load(filled(folder, data, ".npy"))[:, :2][observed],
        frame.loc[observed, ["whole", "gaps"]].astype(float),
    )


def test_integers_that_float64_rounds_are_refused(counted):
    folder, frame = counted
    large = frame.assign(whole=frame["whole"] + 2**60)
    large.to_parquet(folder / "large.parquet", index=False)
    large.to_csv(folder / "large.csv", index=False)
    frame.assign(key=large["whole"]).to_parquet(folder / "key.parquet", index=False)
    for data in ("large.parquet", "large.csv"):
        for suffix in (".csv", ".parquet", ".npy"):
            arguments = ("impute", data, "-m", "model.fgm", "-o", f"refused{suffix}")
            outcome = in_here(*arguments, cwd=folder)
            assert outcome.returncode == 2
            message = outcome.stderr.splitlines()[-1]
            assert "error: column 'whole' holds integers of 2**53 and more" in message
    message = refuse("impute", "key.parquet", "-m", "model.fgm", "-o", "refused.npy", cwd=folder)
    assert "column 'key' holds integers of 2**53 and more, which an array of float64" in message
    assert "rounds: write .csv or .parquet" in message
    assert not list(folder.glob("refused*"))


@pytest.mark.parametrize("names", [[None], ["id"], ["id", None]], ids=str)
def test_the_row_index_stays_one(folder, names):
    frame = pd.read_parquet(folder / "rows.parquet")
    levels = [[f"row {i}" for i in range(150)], pd.date_range("2020", periods=150, tz="UTC")]
    index = dict(zip(map(str, names), levels, strict=False))
    frame = frame.assign(**index).set_index(list(index)).rename_axis(index=names)
    frame.to_parquet(folder / "indexed.parquet")
    after = pd.read_parquet(filled(folder, "indexed.parquet", ".parquet"))
    assert list(after) == list(frame)
    assert after.index.equals(frame.index)
    assert after.index.names == names
    assert fastgmm.open_data(folder / "filled.parquet", columns=NAMES).unused_columns


def test_times_of_numpy_are_written_as_times(tmp_path):
    times = np.array(["2020-02-29T23:59:59", "NaT"], dtype="M8[ns]")
    spans = np.array([5, 7], dtype="m8[s]")
    write_table(tmp_path / "t.csv", {"t": times, "s": spans, "b": np.array([b"x", b"y"])})
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == ["t,s,b", "2020-02-29T23:59:59.000000000,5 seconds,x", ",7 seconds,y"]


def test_a_stream_to_standard_output(folder, monkeypatch):
    text = (folder / "rows.csv").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    printed = succeed("impute", "-", "-m", "model.fgm", cwd=folder)
    succeed("impute", "rows.csv", "-m", "model.fgm", "-o", "filled.csv", cwd=folder)
    assert printed == (folder / "filled.csv").read_text()


def test_numbers_can_be_carried_to_an_array(folder):
    succeed("impute", "numbers.parquet", "-m", "model.fgm", "-o", "filled.npy", cwd=folder)
    after = np.load(folder / "filled.npy")
    np.testing.assert_array_equal(after[:, 0], np.arange(150))
    np.testing.assert_array_equal(after[:, 1:], expected())


def test_columns_without_names(folder):
    succeed("impute", "rows.npy", "-m", "model.fgm", "-o", "filled.parquet", cwd=folder)
    after = pd.read_parquet(folder / "filled.parquet")
    assert list(after) == NAMES
    np.testing.assert_array_equal(after, expected())


def test_draws(folder):
    options = ("-m", "model.fgm", "-o", "drawn.parquet", "--seed", 3)
    succeed("impute", "rows.parquet", *options, "--draws", 1, cwd=folder)
    once = pd.read_parquet(folder / "drawn.parquet")
    assert "draw" not in once
    assert len(once) == 150
    assert not once[NAMES].isna().any().any()
    assert not np.array_equal(once[NAMES], expected())
    succeed("impute", "rows.parquet", *options, "--draws", 4, cwd=folder)
    drawn = pd.read_parquet(folder / "drawn.parquet")
    assert list(drawn)[-1] == "draw"
    assert drawn["draw"].tolist() == [0, 1, 2, 3] * 150
    before = pd.read_parquet(folder / "rows.parquet")
    assert drawn["number"].tolist() == np.repeat(before["number"], 4).tolist()
    assert drawn["kind"].tolist() == np.repeat(before["kind"], 4).tolist()
    mixture = fastgmm.load(folder / "model.fgm").set_params(random_state=3)
    found = drawn[NAMES].to_numpy().reshape(150, 4, 4)
    np.testing.assert_array_equal(
        found.transpose(1, 0, 2), mixture.impute(pd.DataFrame(holes(), columns=NAMES), 4)
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("none.parquet -m model.fgm", "there is no file 'none.parquet'"),
        ("rows.parquet -m model.fgm --draws 0", "Invalid value for '--draws'"),
        ("draw.pq -m model.fgm --draws 2", "there is a column 'draw' already"),
        (
            "kind.pq -m model.fgm -o filled.npy",
            "other things than real numbers in the columns 'kind' (",
        ),
        ("kind.pq -m model.fgm -o filled.npy", "or write .csv or .parquet"),
        ("rows.csv -m model.fgm -o rows.csv", "'rows.csv' holds the data that are read"),
        ("rows.parquet -m model.fgm -o filled.txt", "must end in one of"),
    ],
)
def test_refused(folder, arguments, words):
    assert words in refuse("impute", *arguments.split(), cwd=folder)


def test_a_failed_run_leaves_the_old_result(folder):
    (folder / "kept.csv").write_text("old\n")
    X = np.zeros((3000, 4))
    X[-1, 1] = np.inf
    np.save(folder / "infinite.npy", X)
    message = refuse("impute", "infinite.npy", "-m", "model.fgm", "-o", "kept.csv", cwd=folder)
    assert "infinite" in message
    assert (folder / "kept.csv").read_text() == "old\n"
    assert not list(folder.glob(".*"))
