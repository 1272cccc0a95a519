"""Fits of data that are not in memory: the same bits as from the array, whatever holds them."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from pyarrow import parquet

import fastgmm
from fastgmm import DataError, GaussianMixture, SkippedDataWarning
from fastgmm.em.initialization import data_scan
from tests.written_data import FORMS, NAMES, ONCE, arrow_table, batches, rows, write_parquet

ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_", "trace_")


def mixture(**parameters):
    return GaussianMixture(**{"n_components": 2, "random_state": 5, "tol": 1e-5, **parameters})


@pytest.fixture
def small_sample(monkeypatch):
    """Let starts be found from a sample of the rows."""
    monkeypatch.setattr(data_scan, "SMALLEST_SAMPLE", 300)
    monkeypatch.setattr(data_scan, "ROWS_PER_PARAMETER", 1)


@pytest.mark.usefixtures("small_sample")
@pytest.mark.parametrize("name", [name for name in FORMS if name not in ONCE])
def test_a_fit_is_the_same_from_every_form(tmp_path, name):
    X = rows(4500)
    expected = mixture().fit(X)
    assert expected.fit_info_.initialization.subsampled
    found = mixture().fit(FORMS[name](tmp_path, X))
    for attribute in ATTRIBUTES:
        assert_array_equal(getattr(found, attribute), getattr(expected, attribute))
    assert found.fit_info_.initialization == expected.fit_info_.initialization


@pytest.mark.parametrize("form", ["array in column order", "pandas", "Parquet", "npy"])
@pytest.mark.parametrize("method", ["kmeans", "random", "random_from_data", "labels"])
def test_the_layout_of_few_rows_does_not_matter(tmp_path, form, method):
    X = rows(3500)
    how = {"labels_init": np.arange(3500) % 2} if method == "labels" else {"init_params": method}
    expected = mixture(**how).fit(X)
    found = mixture(**how).fit(FORMS[form](tmp_path, X))
    for attribute in ATTRIBUTES:
        assert_array_equal(getattr(found, attribute), getattr(expected, attribute))


@pytest.mark.usefixtures("small_sample")
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "tied_spherical"])
@pytest.mark.parametrize("block_rows", [1, 3000, None])
def test_the_size_of_blocks_does_not_matter(tmp_path, covariance_type, block_rows):
    X = rows(4500, np.float32)
    path = write_parquet(tmp_path / "x.parquet", X)
    expected = mixture(covariance_type=covariance_type).fit(X)
    source = fastgmm.open_data(path, block_rows=block_rows, memory_budget=100_000)
    found = mixture(covariance_type=covariance_type).fit(source)
    for attribute in ATTRIBUTES:
        assert_array_equal(getattr(found, attribute), getattr(expected, attribute))
        assert getattr(found, attribute).dtype == np.float64


@pytest.mark.usefixtures("small_sample")
@pytest.mark.parametrize("n_components", [1, 3])
def test_weights_from_a_column_are_those_of_the_array(tmp_path, n_components):
    X = rows(4500)
    weights = np.random.default_rng(0).integers(0, 4, len(X)) / 2.0
    table = arrow_table(X).append_column("w", pa.array(weights))
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=999)
    expected = mixture(n_components=n_components, n_init=2).fit(X, sample_weight=weights)
    found = mixture(n_components=n_components, n_init=2).fit(
        tmp_path / "x.parquet", sample_weight="w"
    )
    framed = mixture(n_components=n_components, n_init=2).fit(table.to_pandas(), sample_weight="w")
    for attribute in ATTRIBUTES:
        assert_array_equal(getattr(found, attribute), getattr(expected, attribute))
        assert_array_equal(getattr(framed, attribute), getattr(expected, attribute))
    assert list(found.feature_names_in_) == list(framed.feature_names_in_) == list(NAMES)
    score = expected.score(X, sample_weight=weights)
    assert found.score(tmp_path / "x.parquet", sample_weight="w") == score


def test_labels_to_start_from_go_with_files(tmp_path):
    X = rows(3000)
    labels = (X[:, 0] > 2.0).astype(int)
    found = mixture(labels_init=labels).fit(write_parquet(tmp_path / "x.parquet", X))
    assert_array_equal(found.means_, mixture(labels_init=labels).fit(X).means_)


@pytest.mark.parametrize("form", ["Parquet", "CSV", "function", "iterator", "Arrow reader"])
def test_predictions_and_scores_of_rows_in_files(tmp_path, form):
    X = rows(3500)
    fitted = mixture().fit(X)

    def data():
        return FORMS[form](tmp_path, X)

    assert_array_equal(fitted.predict(data()), fitted.predict(X))
    assert_array_equal(fitted.predict_proba(data()), fitted.predict_proba(X))
    assert_array_equal(fitted.score_samples(data()), fitted.score_samples(X))
    assert fitted.score(data()) == fitted.score(X)
    assert fitted.bic(data()) == fitted.bic(X)
    assert fitted.aic(data()) == fitted.aic(X)
    assert fitted.entropy(data()) == pytest.approx(fitted.entropy(X), rel=1e-12)


@pytest.mark.parametrize("form", ["array", "Parquet folder"])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
def test_results_come_in_blocks(tmp_path, monkeypatch, form, method):
    monkeypatch.setattr("fastgmm.estimators.shared.evaluation._LARGEST_OUTPUT", 16_000)
    X = rows(4500)
    fitted = mixture().fit(X)
    found = list(getattr(fitted, f"{method}_blocks")(FORMS[form](tmp_path, X)))
    assert max(map(len, found)) <= 1000
    assert_array_equal(np.concatenate(found), getattr(fitted, method)(X))


def test_fit_predict_reads_files_again(tmp_path):
    X = rows(2500)
    path = write_parquet(tmp_path / "x.parquet", X)
    assert_array_equal(mixture().fit_predict(path), mixture().fit_predict(X))


def test_columns_are_found_by_name(tmp_path):
    X = rows(2500)
    fitted = mixture().fit(write_parquet(tmp_path / "x.parquet", X))
    other = arrow_table(X).select(["c", "a", "b"]).append_column("more", pa.array(["t"] * len(X)))
    parquet.write_table(other, tmp_path / "other.parquet")
    expected = fitted.predict(arrow_table(X))
    assert_array_equal(fitted.predict(tmp_path / "other.parquet"), expected)
    with pytest.raises(ValueError, match="has no column 'a'"):
        fitted.predict(pa_file(tmp_path, arrow_table(X).rename_columns(["d", "e", "f"])))


def pa_file(folder, table):
    parquet.write_table(table, folder / "renamed.parquet")
    return folder / "renamed.parquet"


def test_a_source_with_other_columns_is_refused(tmp_path):
    X = rows(2500)
    path = write_parquet(tmp_path / "x.parquet", X)
    fitted = mixture().fit(path)
    source = fastgmm.open_data(path, columns=["b", "a", "c"])
    with pytest.raises(ValueError, match=r"columns of X are 'b', 'a', 'c', but .* fitted to 'a'"):
        fitted.predict(source)
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixture is expecting 3"):
        fitted.predict(fastgmm.open_data(path, columns=["a", "b"]))


def test_an_iterator_cannot_be_read_twice():
    with pytest.raises(ValueError, match=r"iterator can be iterated over only once: give a func"):
        mixture().fit(batches(rows()))


def test_weights_of_a_file_are_a_column(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", rows())
    with pytest.raises(ValueError, match="take their weights from a column: name it"):
        mixture().fit(path, sample_weight=np.ones(5000))


def test_too_few_rows_are_reported(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", rows(3))
    with pytest.raises(ValueError, match="n_components = 4, n_samples = 3"):
        mixture(n_components=4).fit(path)


@pytest.mark.parametrize("frame", ["pandas", "polars", "Arrow table"])
def test_missing_values_and_text_in_frames_are_reported_by_name(tmp_path, frame):
    X = rows(50)
    X[7, 1] = np.nan
    with pytest.raises(DataError, match=r"column 'b' in row 7, counted from 0, is missing"):
        mixture().fit(FORMS[frame](tmp_path, X))
    text = arrow_table(rows(50)).append_column("kind", pa.array(["x"] * 50))
    table = {"pandas": text.to_pandas, "Arrow table": lambda: text}.get(frame)
    if table is not None:
        with pytest.raises(DataError, match=r"other things than .*numbers in the columns 'kind'"):
            mixture().fit(table())


def test_damaged_row_groups_are_left_out_and_reported(tmp_path):
    X = rows(3000)
    path = write_parquet(tmp_path / "x.parquet", X, row_group_size=1000, compression="zstd")
    column = parquet.ParquetFile(path).metadata.row_group(1).column(1)
    content = bytearray(path.read_bytes())
    first = column.dictionary_page_offset or column.data_page_offset
    content[first : first + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"x\.parquet', row group 1 \(rows 1000 to 1999, counted from 0\)"
    ):
        mixture().fit(path)
    with pytest.warns(
        SkippedDataWarning, match=r"row group 1 \(rows 1000 to 1999, counted from 0\)"
    ) as caught:
        found = mixture().fit(fastgmm.open_data(path, on_error="skip", memory_budget=10_000))
    assert len(caught) == 1
    kept = np.concatenate([X[:1000], X[2000:]])
    assert_array_equal(found.means_, mixture().fit(kept).means_)


def test_a_file_that_changes_between_passes_ends_the_fit(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", rows())
    checkpoint = tmp_path / "run.fgm"

    class Change:
        def setup(self, **_): ...
        def teardown(self, **_): ...
        def on_fit_task_begin(self, *_): ...
        def on_fit_task_end(self, _estimator, context, **_):
            if context.task_name == "iteration" and context.task_id == 1:
                write_parquet(path, rows(seed=1))

    model = mixture(checkpoint=checkpoint, checkpoint_interval=0.0, tol=0.0)
    model.set_callbacks(Change())
    with pytest.raises(DataError, match=r"x\.parquet' changed since it was opened"):
        model.fit(path)
    assert checkpoint.exists()
    write_parquet(path, rows())
    with pytest.raises(ValueError, match="is of a fit with other data"):
        mixture(checkpoint=checkpoint, resume=True, tol=0.0).fit(path)
