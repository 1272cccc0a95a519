"""``fastgmm detect``: what it fits, uses, writes, prints and refuses."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from sklearn.datasets import load_breast_cancer

import fastgmm
from tests.cli_process import in_here, refuse, succeed

NAMES = ["radius", "texture", "smoothness"]
FIT = ("-k", 2, "--seed", 0, "-q")


def tumors():
    """Return three measurements of each tumor, and 1 for the malignant."""
    X, is_benign = load_breast_cancer(return_X_y=True)
    return np.log(X[:, [0, 1, 4]]), 1 - is_benign


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tumors in files, and a detector of the benign ones."""
    folder = tmp_path_factory.mktemp("detect")
    X, malignant = tumors()
    columns = {name: X[:, j] for j, name in enumerate(NAMES)}
    parquet.write_table(pa.table({"malignant": malignant, **columns}), folder / "tumors.parquet")
    healthy = {name: values[malignant == 0] for name, values in columns.items()}
    parquet.write_table(pa.table(healthy), folder / "benign.parquet")
    np.save(folder / "rows.npy", X)
    np.save(folder / "wide.npy", np.hstack([X, X]))
    holes = X.copy()
    holes[7, 1] = np.nan
    np.save(folder / "holes.npy", holes)
    csv.write_csv(pa.table({"grade": ["low", "high"], "a": [1.0, 2.0]}), folder / "words.csv")
    numbers = pa.table({"grade": [0.0, 1.0, 2.0], "a": [1.0, 2.0, 5.0]})
    parquet.write_table(numbers, folder / "grades.parquet")
    fastgmm.GaussianMixture(2, random_state=0).fit(X).save(folder / "mixture.fgm")
    succeed("detect", "benign.parquet", *FIT, "-o", "detector.fgm", cwd=folder)
    return folder


def detector(**parameters):
    return fastgmm.GaussianMixtureOutlierDetector(2, random_state=0, **parameters)


@pytest.mark.parametrize("output", ["found.csv", "found.npy", "found.parquet"])
def test_a_fit_is_that_of_the_estimator(folder, output):
    options = ("--contamination", 0.05, "-o", output, "-o", "fitted.fgm")
    text = succeed("detect", "rows.npy", *FIT, *options, cwd=folder)
    X, _ = tumors()
    expected = detector(contamination=0.05).fit(X)
    path = folder / output
    found = {
        ".csv": lambda: np.loadtxt(path, skiprows=1, delimiter=","),
        ".npy": lambda: np.load(path),
        ".parquet": lambda: parquet.read_table(path).to_pandas().to_numpy(),
    }[path.suffix]()
    np.testing.assert_array_equal(found[:, 0], expected.score_samples(X))
    np.testing.assert_array_equal(found[:, 1] == 1, expected.predict(X) == -1)
    assert "569 rows, 3 columns" in text
    assert f"log-density {expected.offset_:.6f}" in text
    assert "28 rows, 4.92%" in text
    assert fastgmm.load(folder / "fitted.fgm").offset_ == expected.offset_


def test_a_detector_is_used_on_columns_of_its_names(folder):
    # The table has another column before those of the detector.
    document = json.loads(
        succeed("detect", "tumors.parquet", "-m", "detector.fgm", "--json", cwd=folder)
    )
    X, malignant = tumors()
    expected = detector().fit(X[malignant == 0])
    assert document["threshold"] == expected.offset_
    assert document["n_outliers"] == np.sum(expected.predict(X) == -1)
    assert document["contamination"] == "auto"
    assert document["operating_point"] is None


def test_reasons_are_added_to_the_table(folder):
    options = ("-m", "detector.fgm", "--explain", "-o", "reasons.parquet", "-q")
    succeed("detect", "tumors.parquet", *options, cwd=folder)
    X, _ = tumors()
    found = parquet.read_table(folder / "reasons.parquet").to_pandas()
    expected = fastgmm.load(folder / "detector.fgm").explain(pd.DataFrame(X, columns=NAMES))
    np.testing.assert_array_equal(found["component"], expected.components)
    for j, name in enumerate(NAMES):
        np.testing.assert_allclose(found[f"surprise_{name}"], expected.surprises[:, j], rtol=1e-9)
        np.testing.assert_allclose(found[f"change_{name}"], expected.changes[:, j], atol=1e-9)
    np.testing.assert_array_equal(found["is_outlier"] == 1, expected.is_outlier)


def test_rows_that_lack_values_are_explained_once_fitted(folder):
    X = rows_with_holes(folder)
    options = ("-k", 2, "--seed", 0, "--missing", "model", "--explain", "-o", "reasons.csv", "-q")
    outcome = in_here("detect", "named.csv", *options, cwd=folder)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    found = pd.read_csv(folder / "reasons.csv")
    detector = fastgmm.GaussianMixtureOutlierDetector(2, missing="model", random_state=0).fit(X)
    expected = detector.explain(X)
    np.testing.assert_array_equal(found["is_outlier"] == 1, expected.is_outlier)
    for j, name in enumerate(NAMES):
        np.testing.assert_allclose(found[f"surprise_{name}"], expected.surprises[:, j], rtol=1e-6)


def rows_with_holes(folder):
    X = tumors()[0].copy()
    X[7, 1] = X[20, 0] = np.nan
    table = pd.DataFrame(X, columns=NAMES)
    table.to_csv(folder / "named.csv", index=False)
    return table


def test_a_table_goes_to_standard_output(folder):
    text = succeed("detect", "rows.npy", "-m", "detector.fgm", "-o", "-", cwd=folder)
    lines = text.splitlines()
    assert lines[0] == "log_density,is_outlier"
    assert len(lines) == 570


def test_rows_of_a_stream_are_scored(folder, monkeypatch):
    table = parquet.read_table(folder / "tumors.parquet")
    written = io.BytesIO()
    csv.write_csv(table, written)
    arguments = ("-m", "detector.fgm", "--json")
    expected = json.loads(succeed("detect", "tumors.parquet", *arguments, cwd=folder))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written.getvalue())))
    found = json.loads(succeed("detect", "-", *arguments, cwd=folder))
    assert found["n_outliers"] == expected["n_outliers"]


@pytest.mark.parametrize(
    ("options", "target", "value"),
    [
        (("--f1",), "f1", None),
        (("--target-precision", 0.9), "precision", 0.9),
        (("--target-fpr", 0.05), "false_positive_rate", 0.05),
    ],
)
def test_a_threshold_is_chosen_by_labels(folder, options, target, value):
    labeled = ("--label-column", "malignant", *options)
    X, malignant = tumors()
    expected = detector().fit(X[malignant == 0])
    point = expected.choose_threshold(X, malignant, target, value)
    arguments = ("detect", "tumors.parquet", "-m", "detector.fgm", *labeled)
    document = json.loads(succeed(*arguments, "--json", cwd=folder))
    assert document["threshold"] == point.offset
    shown = document["operating_point"]
    assert shown == {name: getattr(point, name) for name in shown}
    assert {"precision", "recall", "false_positive_rate", "f1", "roc_auc"} <= set(shown)
    text = succeed(*arguments, cwd=folder)
    assert f"recall             {point.recall:.4f}" in text


def test_a_fit_with_a_threshold_by_labels_keeps_it(folder):
    options = ("--label-column", "malignant", "--f1", "-o", "chosen.fgm")
    text = succeed("detect", "tumors.parquet", *FIT, *options, cwd=folder)
    X, malignant = tumors()
    expected = detector().fit(X)
    point = expected.choose_threshold(X, malignant)
    loaded = fastgmm.load(folder / "chosen.fgm")
    assert loaded.offset_ == point.offset
    assert list(loaded.feature_names_in_) == NAMES
    assert f"F1 score           {point.f1:.4f}" in text


def test_a_model_takes_a_new_threshold_only_when_asked_to(folder):
    path = folder / "moved.fgm"
    path.write_bytes((folder / "detector.fgm").read_bytes())
    before = fastgmm.load(path).offset_
    arguments = ("detect", "tumors.parquet", "-m", "moved.fgm", "--label-column", "malignant")
    text = succeed(*arguments, cwd=folder)
    assert f"log-density {before:.6f}" in text
    succeed(*arguments, "--f1", cwd=folder)
    assert fastgmm.load(path).offset_ == before
    succeed(*arguments, "--f1", "-o", "moved.fgm", cwd=folder)
    loaded = fastgmm.load(path)
    assert loaded.offset_ == loaded.operating_point_.offset != before
    assert list(loaded.feature_names_in_) == NAMES


def test_warnings_of_the_fit_are_reported(folder):
    outcome = in_here("detect", "rows.npy", *FIT, "--max-iter", 1, cwd=folder)
    assert outcome.stderr.startswith("warning: ")
    assert "--max-iter 1" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("rows.npy", "give -k to fit a detector, or --model for an existing one"),
        ("rows.npy -m none.fgm", "there is no file 'none.fgm'"),
        ("rows.npy -m mixture.fgm", "holds a GaussianMixture, and detect uses outlier detectors"),
        ("wide.npy -m detector.fgm", "there are 6 columns, and the model was fitted to 3"),
        ("holes.npy -m detector.fgm", "column 'x1' in row 7, counted from 0, is missing"),
        ("holes.npy -k 2", "column 'x1' in row 7, counted from 0, is missing"),
        ("rows.npy -m detector.fgm --contamination 0.1", "--contamination is for a fit: give -k"),
        ("rows.npy -m detector.fgm --n-init 3", "--n-init is for a fit: give -k"),
        ("rows.npy -k 2 --contamination 0.6", "above 0, at most 0.5; got '0.6'"),
        ("rows.npy -k 2 --contamination some", "must be auto or a number above 0"),
        ("rows.npy -k 2 --f1", "--f1 chooses a threshold by labels"),
        ("tumors.parquet -k 2 --label-column y", "has no column 'y'"),
        ("words.csv -k 1 --label-column grade", "the labels in column 'grade' of 'words.csv'"),
        ("grades.parquet -k 1 --label-column grade", "y should hold -1 for outliers and 1 for"),
        (
            "tumors.parquet -k 2 --label-column malignant --f1 --target-fpr 0.1",
            "--f1 and --target-fpr each choose the threshold",
        ),
        (
            "tumors.parquet -k 2 --label-column malignant --target-fpr 2",
            "Invalid value for '--target-fpr'",
        ),
        ("rows.npy -k 2 -m detector.fgm", "--model is a detector to use, and -k fits a new one"),
        ("rows.npy -m detector.fgm -o new.fgm", "there is no new model for 'new.fgm'"),
        ("rows.npy -k 2 -o detector.npz", "must end in one of .npy, .csv, .parquet"),
        ("rows.npy -k 2 -o found.txt", "must end in one of .npy, .csv, .parquet"),
        ("rows.npy -k 2 -o rows.npy", "'rows.npy' holds the data that are read"),
        ("rows.npy -k 2 -o - --json", "--output - and --json both write to standard output"),
    ],
)
def test_refused(folder, arguments, words):
    assert words in refuse("detect", *arguments.split(), cwd=folder)


@pytest.mark.parametrize("command", ["predict rows.npy", "score rows.npy", "impute rows.npy"])
def test_commands_for_mixtures_say_where_a_detector_belongs(folder, command):
    message = refuse(*command.split(), "-m", "detector.fgm", cwd=folder)
    assert "'detector.fgm' holds a GaussianMixtureOutlierDetector" in message
    assert "use it with  fastgmm detect" in message


def test_labels_in_a_stream_are_refused(folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,0\n2,1\n")))
    message = refuse("detect", "-", "-k", 1, "--label-column", "b", cwd=folder)
    assert "--label-column reads the data once for the labels alone: give files" in message


def test_a_failed_run_leaves_the_old_results(folder):
    results = [folder / "kept.csv", folder / "kept.fgm"]
    options = ("-o", "kept.csv", "-o", "kept.fgm")
    succeed("detect", "rows.npy", *FIT, *options, cwd=folder)
    before = [path.read_bytes() for path in results]
    # What is missing is found by the fit, or while the table is being written.
    np.save(folder / "late.npy", np.vstack([np.zeros((3000, 3)), np.full((1, 3), np.nan)]))
    for arguments in (
        ("holes.npy", *FIT, *options),
        ("late.npy", "-m", "kept.fgm", "-o", "kept.csv"),
    ):
        assert "is missing" in refuse("detect", *arguments, cwd=folder)
        assert [path.read_bytes() for path in results] == before
    assert not list(folder.glob(".*"))
