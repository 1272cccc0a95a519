"""The row index of a data frame of pandas, which files and tables hold among the columns."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import dataset, feather, parquet
from sklearn.metrics import adjusted_rand_score

import fastgmm
from fastgmm.data.errors import DataError
from fastgmm.data.opening import open_data
from fastgmm.data.summary import summarize_columns
from tests.cli_process import succeed
from tests.written_data import ArrowCapsule, all_rows

GROUPS = np.repeat([0, 1], 150)


def frame(names=(None,), seed=0):
    """Return two groups of rows, under an index with so many levels of these names."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(300, 2)) + 8 * GROUPS[:, None]
    levels = [rng.permutation(300) * 10_000.0 for _ in names]
    index = (
        pd.MultiIndex.from_arrays(levels, names=names)
        if len(names) > 1
        else pd.Index(levels[0], name=names[0])
    )
    return pd.DataFrame(X, columns=["a", "b"], index=index)


INDICES = {
    "without a name": (None,),
    "with a name": ("id",),
    "of several levels": ("id", None),
    "with the name of a column": ("a",),
}

STORED = {
    (None,): {"__index_level_0__"},
    ("id",): {"id"},
    ("id", None): {"id", "__index_level_1__"},
    ("a",): {"__index_level_0__"},
}


def to_parquet(folder, rows):
    rows.to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def to_feather(folder, rows):
    feather.write_feather(pa.Table.from_pandas(rows), folder / "rows.feather")
    return folder / "rows.feather"


def to_arrow_stream(folder, rows):
    table = pa.Table.from_pandas(rows)
    with pa.ipc.new_stream(folder / "rows.arrows", table.schema) as writer:
        writer.write_table(table, 70)
    return folder / "rows.arrows"


def to_dataset(folder, rows):
    table = pa.Table.from_pandas(rows)
    dataset.write_dataset(
        table, folder / "rows", format="parquet", max_rows_per_file=70, max_rows_per_group=70
    )
    return folder / "rows"


FORMS = {
    "Parquet": to_parquet,
    "Parquet folder": to_dataset,
    "Feather": to_feather,
    "Arrow stream": to_arrow_stream,
    "Arrow table": lambda _, rows: pa.Table.from_pandas(rows),
    "Arrow batch": lambda _, rows: pa.Table.from_pandas(rows).combine_chunks().to_batches()[0],
    "Arrow capsule": lambda _, rows: ArrowCapsule(pa.Table.from_pandas(rows)),
    "batches": lambda _, rows: lambda: pa.Table.from_pandas(rows).to_batches(70),
}


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("form", FORMS)
def test_it_is_no_feature(tmp_path, form, index):
    names = INDICES[index]
    rows = frame(names)
    data = FORMS[form](tmp_path, rows)
    source = open_data(data)
    assert source.feature_names == ("a", "b")
    assert dict(source.unused_columns) == dict.fromkeys(STORED[names], "row index")
    np.testing.assert_array_equal(np.sort(all_rows(source), axis=0), np.sort(rows, axis=0))


def test_groups_are_found(tmp_path):
    path = to_parquet(tmp_path, frame())
    for data in (path, to_feather(tmp_path, frame()), pa.Table.from_pandas(frame(("id",)))):
        mixture = fastgmm.GaussianMixture(2, random_state=0).fit(data)
        assert mixture.feature_names_in_.tolist() == ["a", "b"]
        assert adjusted_rand_score(GROUPS, mixture.predict(data)) == 1.0
    search = fastgmm.MixtureSearch(range(1, 5), random_state=0).fit(path)
    assert search.best_params_["n_components"] == 2


@pytest.mark.parametrize(
    "estimator",
    [
        fastgmm.BayesianGaussianMixture(2),
        fastgmm.GaussianMixture(2),
        fastgmm.GaussianMixtureOutlierDetector(2),
        fastgmm.GaussianMixtureTransformer(2),
        fastgmm.KMeans(2),
        fastgmm.MessageLengthGaussianMixture(3),
        fastgmm.MiniBatchGaussianMixture(2),
        fastgmm.MixtureSearch([2]),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("form", ["Parquet", "Arrow table"])
def test_every_estimator_says_what_it_used(tmp_path, form, estimator):
    if form == "Parquet" and isinstance(estimator, fastgmm.KMeans):
        form = "Arrow batch"  # it takes rows that are in memory
    data = FORMS[form](tmp_path, frame(("id",)))
    fitted = estimator.set_params(random_state=0).fit(data)
    assert fitted.feature_names_in_.tolist() == ["a", "b"]


def test_it_is_used_if_it_is_asked_for(tmp_path):
    rows = frame(("id",))
    for data in (to_parquet(tmp_path, rows), pa.Table.from_pandas(rows)):
        found = all_rows(open_data(data, columns=["id", "b"]))
        np.testing.assert_array_equal(found, rows.reset_index()[["id", "b"]])
        source = open_data(data, weight_column="id")
        assert source.feature_names == ("a", "b")
        assert source.total_weight == rows.index.to_numpy().sum()
        assert dict(source.unused_columns) == {"id": "weights"}
        weighted = fastgmm.GaussianMixture(2, random_state=0).fit(data, sample_weight="id")
        whole = fastgmm.GaussianMixture(2, random_state=0).fit(rows, sample_weight=rows.index)
        np.testing.assert_array_equal(weighted.means_, whole.means_)
    labels = rows.set_index(pd.Index(GROUPS, name="group")).to_parquet
    labels(tmp_path / "labels.parquet")
    mixture = fastgmm.GaussianMixture(2, semi_supervised=True)
    mixture.fit(tmp_path / "labels.parquet", "group")
    np.testing.assert_array_equal(mixture.predict(tmp_path / "labels.parquet"), GROUPS)


def test_whoever_wrote_the_name_of_pandas_again(tmp_path):
    pl.read_parquet(to_parquet(tmp_path, frame())).write_parquet(tmp_path / "polars.parquet")
    for data in (tmp_path / "polars.parquet", pl.read_parquet(tmp_path / "polars.parquet")):
        mixture = fastgmm.GaussianMixture(2, random_state=0).fit(data)
        assert mixture.feature_names_in_.tolist() == ["a", "b"]


def test_parts_with_an_index_beside_parts_without(tmp_path):
    rows = frame().reset_index(drop=True)
    rows[:100].to_parquet(tmp_path / "0.parquet")  # a range needs no column
    rows[100:][::-1].to_parquet(tmp_path / "1.parquet")
    assert parquet.read_schema(tmp_path / "0.parquet").names == ["a", "b"]
    rows.sample(frac=0.5, random_state=0).to_parquet(tmp_path / "2.parquet")
    source = open_data(tmp_path)
    assert source.feature_names == ("a", "b")
    assert dict(source.unused_columns) == {"__index_level_0__": "row index"}
    assert [column.name for column in summarize_columns(tmp_path)[1]] == ["a", "b"]


def test_a_feature_in_one_file_and_the_index_in_another(tmp_path):
    frame(("id",)).to_parquet(tmp_path / "0.parquet")
    frame(("id",)).reset_index().to_parquet(tmp_path / "1.parquet")
    with pytest.raises(
        DataError, match=r"'id' is the row index in '.*0\.parquet' and a feature in '.*1\.parquet'"
    ):
        open_data(tmp_path)
    assert open_data(tmp_path, columns=["id", "a"]).feature_names == ("id", "a")


@pytest.mark.parametrize("metadata", [b"{", b"[1]", b'{"index_columns": 3}', b"\xff"])
def test_metadata_that_cannot_be_read(tmp_path, metadata):
    table = pa.table({"a": [1.0]}).replace_schema_metadata({b"pandas": metadata})
    parquet.write_table(table, tmp_path / "rows.parquet")
    for data in (tmp_path / "rows.parquet", table):
        with pytest.raises(DataError, match=r"'pandas' metadata, .* are damaged .*: write it"):
            open_data(data)


def test_commands_say_which_columns_they_use(tmp_path):
    rows = frame(("id",))
    rows.assign(group=GROUPS, kind="x").to_parquet(tmp_path / "rows.parquet")
    asked = ("rows.parquet", "--columns", "a,b")
    left_out = "id (row index)"
    for arguments in (
        ("fit", *asked, "-k", 2, "--quiet"),
        ("select", *asked, "-k", 2, "--quiet"),
        ("detect", *asked, "-k", 2, "--quiet", "-o", "outliers.fgm"),
        ("detect", "rows.parquet", "-m", "outliers.fgm"),
        ("classify", *asked, "-k", 1, "--label-column", "group", "-o", "classes.fgm", "--quiet"),
        ("classify", "rows.parquet", "-m", "classes.fgm"),
    ):
        printed = succeed(*arguments, cwd=tmp_path).splitlines()
        lines = {line.partition("  ")[0]: line for line in printed}
        assert lines["columns"].split() == ["columns", "a,", "b"]
        assert left_out in lines["left out"]
        assert "kind (not asked for)" in lines["left out"]
        document = json.loads(succeed(*arguments, "--json", cwd=tmp_path))
        assert document["columns"] == ["a", "b"]
        assert document["unused_columns"]["id"] == "row index"


@pytest.mark.parametrize("write", [to_parquet, to_feather])
@pytest.mark.parametrize("name", ["Unnamed: 0", ""])
def test_a_column_of_csv_that_was_the_index(tmp_path, write, name):
    data = frame().reset_index(drop=True)
    data.insert(0, name, np.arange(300))
    path = write(tmp_path, data)
    with pytest.warns(fastgmm.DataWarning, match=f"column '{name}' of .* may be a row index"):
        assert open_data(path).feature_names == (name, "a", "b")
    assert open_data(path, columns=["a", "b"]).n_features == 2


def test_the_command_prints_names_that_cannot_be_seen(tmp_path):
    rows = "".join(f"{a},{b}\n" for a, b in np.random.default_rng(0).normal(size=(50, 2)))
    (tmp_path / "a.csv").write_text("a,\n" + rows)
    assert "a, ''" in succeed("fit", "a.csv", "-k", 1, "-q", "-o", "m.fgm", cwd=tmp_path)
    assert "mean ''" in succeed("info", "m.fgm", cwd=tmp_path)
    (tmp_path / "a.csv").write_text('"a\nb",c\n' + rows)
    assert r"'a\nb'  " in succeed("info", "a.csv", cwd=tmp_path)
    assert r"'a\nb', c" in succeed("fit", "a.csv", "-k", 1, "-q", "-o", "m.fgm", cwd=tmp_path)
    (tmp_path / "a.csv").write_text("a,a\n" + rows)
    with pytest.raises(DataError, match="several columns of the name 'a': rename them"):
        open_data(tmp_path / "a.csv")
