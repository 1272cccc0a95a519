"""``fastgmm impute``: what is filled in, what is carried along, and what is refused."""

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import fastgmm
from tests.cli_process import refuse, succeed

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
    np.testing.assert_array_equal(after[NAMES], expected())


def test_csv_to_csv(folder):
    succeed("impute", "rows.csv", "-m", "model.fgm", "-o", "filled.csv", cwd=folder)
    after = pd.read_csv(folder / "filled.csv")
    assert list(after) == ["a", "kind", "b", "c", "d"]
    pd.testing.assert_series_equal(after["kind"], pd.read_csv(folder / "rows.csv")["kind"])
    np.testing.assert_array_equal(after[NAMES], expected())


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
    options = ("-m", "model.fgm", "-o", "drawn.parquet", "--random-state", 3)
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
    told = refuse("impute", "infinite.npy", "-m", "model.fgm", "-o", "kept.csv", cwd=folder)
    assert "infinite" in told
    assert (folder / "kept.csv").read_text() == "old\n"
    assert not list(folder.glob(".*"))
