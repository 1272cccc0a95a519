"""``fastgmm classify``: what it fits, uses, writes, prints and refuses."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import fastgmm
from tests.cli_process import refuse, succeed

NAMES = ["a", "b", "c", "d"]
FIT = ("--label-column", "kind", "-k", 1, "--structures", "VVV,EEE", "--seed", 0, "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Flowers of named and of numbered species, and a classifier of the named."""
    folder = tmp_path_factory.mktemp("classify")
    iris = load_iris()
    frame = pd.DataFrame(iris.data, columns=NAMES)
    frame.insert(2, "kind", iris.target_names[iris.target])
    frame.to_parquet(folder / "named.parquet", index=False)
    frame.to_csv(folder / "named.csv", index=False)
    frame.assign(kind=iris.target).to_csv(folder / "numbered.csv", index=False)
    frame.assign(kind=frame["kind"].where(np.arange(150) % 3 == 0)).to_parquet(
        folder / "some.parquet"
    )
    frame.assign(kind=np.where(np.arange(150) % 3 == 0, iris.target, np.nan)).to_csv(
        folder / "some.csv", index=False
    )
    np.save(folder / "rows.npy", iris.data)
    holes = iris.data.copy()
    holes[7, 1] = np.nan
    pd.DataFrame(holes, columns=NAMES).assign(kind=iris.target).to_csv(
        folder / "holes.csv", index=False
    )
    fastgmm.GaussianMixture(2, random_state=0).fit(iris.data).save(folder / "mixture.fgm")
    succeed("classify", "named.parquet", *FIT, "-o", "kinds.fgm", cwd=folder)
    return folder


def classifier(y, **parameters):
    given = {"covariance_type": ["VVV", "EEE"], "random_state": 0, **parameters}
    return fastgmm.GaussianMixtureClassifier(**given).fit(load_iris().data, y)


@pytest.mark.parametrize("data", ["named.parquet", "named.csv"])
@pytest.mark.parametrize("output", ["found.csv", "found.parquet"])
def test_a_fit_of_classes_with_names(folder, data, output):
    iris = load_iris()
    text = succeed("classify", data, *FIT, "-o", output, "-o", "new.fgm", cwd=folder)
    expected = classifier(iris.target_names[iris.target])
    read = pd.read_csv if output.endswith("csv") else pd.read_parquet
    predicted = expected.predict(iris.data)
    assert read(folder / output)["class"].tolist() == predicted.tolist()
    right = np.mean(predicted == iris.target_names[iris.target])
    assert "150 rows, 4 columns" in " ".join(text.split())
    assert "setosa, versicolor, virginica" in " ".join(text.split())
    assert f"training accuracy {right:.4f}" in " ".join(text.split())
    assert "components 1, 1, 1" in " ".join(text.split())
    loaded = fastgmm.load(folder / "new.fgm")
    assert list(loaded.feature_names_in_) == NAMES
    np.testing.assert_array_equal(loaded.predict(pd.DataFrame(iris.data, columns=NAMES)), predicted)


def test_a_fit_of_classes_with_numbers(folder):
    document = json.loads(
        succeed("classify", "numbered.csv", *FIT, "-o", "found.npy", "--json", cwd=folder)
    )
    assert document["classes"] == [0, 1, 2]
    assert document["structures"] == pytest.approx(classifier(load_iris().target).structure_shares_)
    found = np.load(folder / "found.npy")
    np.testing.assert_array_equal(found, classifier(load_iris().target).predict(load_iris().data))


def test_the_number_of_components_is_chosen(folder):
    options = ("--label-column", "kind", "-k", "1:2", "--structures", "EII,VVI", "-q", "--json")
    document = json.loads(succeed("classify", "numbered.csv", *options, cwd=folder))
    given = {"n_components": [1, 2], "covariance_type": ["EII", "VVI"], "random_state": None}
    expected = classifier(load_iris().target, **given)
    assert document["n_components"] == [each.n_components for each in expected.mixtures_]
    assert document["structures"] == [each.covariance_type for each in expected.mixtures_]


def test_a_classifier_is_used(folder):
    iris = load_iris()
    expected = classifier(iris.target_names[iris.target])
    text = succeed("classify", "rows.npy", "-m", "kinds.fgm", "-o", "-", cwd=folder)
    assert text.split() == ["class", *expected.predict(iris.data)]
    text = succeed("classify", "rows.npy", "-m", "kinds.fgm", "--proba", "-o", "-", cwd=folder)
    lines = text.splitlines()
    assert lines[0] == "class_setosa,class_versicolor,class_virginica"
    shares = [list(map(float, line.split(","))) for line in lines[1:]]
    np.testing.assert_allclose(shares, expected.predict_proba(iris.data), atol=1e-12)
    arguments = ("named.csv", "-m", "kinds.fgm", "--label-column", "kind", "--json")
    document = json.loads(succeed("classify", *arguments, cwd=folder))
    right = np.mean(expected.predict(iris.data) == iris.target_names[iris.target])
    assert document["accuracy"] == right


def test_rows_of_a_stream_are_classified(folder, monkeypatch):
    text = (folder / "named.csv").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    found = succeed("classify", "-", "-m", "kinds.fgm", "-o", "-", cwd=folder)
    expected = succeed("classify", "rows.npy", "-m", "kinds.fgm", "-o", "-", cwd=folder)
    assert found == expected


@pytest.mark.parametrize("data", ["some.parquet", "some.csv"])
def test_rows_of_unknown_class_are_learned(folder, data):
    iris = load_iris()
    known = np.arange(150) % 3 == 0
    arguments = (data, *FIT, "--semi-supervised", "--json")
    if data == "some.parquet":
        arguments = (*arguments, "--columns", "a,b,c,d")
        y = np.where(known, iris.target_names[iris.target], "-1")
    else:
        y = np.where(known, iris.target, -1)
    expected = classifier(y, semi_supervised=True)
    document = json.loads(succeed("classify", *arguments, cwd=folder))
    assert document["classes"] == expected.classes_.tolist()
    assert document["class_prior"] == pytest.approx(expected.class_prior_.tolist())
    predicted = expected.predict(iris.data)
    assert document["accuracy"] == np.mean(predicted[known] == y[known])


def test_rows_that_no_class_explains_are_rejected(folder):
    options = ("--reject-below", 0.05, "-o", "strict.fgm", "--json")
    document = json.loads(succeed("classify", "named.csv", *FIT, *options, cwd=folder))
    assert 0 < document["predicted"]["rejected"] < 15
    assert sum(document["predicted"].values()) == 150


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("rows.npy", "give -k to fit a classifier, or --model for an existing one"),
        ("rows.npy -k 1", "a fit needs the classes of rows: name their column, --label-column"),
        ("named.csv -k 0 --label-column kind", "must be numbers from 1 on"),
        ("named.csv -k 1 --label-column kin", "has no column 'kin': its columns are"),
        ("named.csv -k 1 --label-column a --columns a,b", "a column 'a' among the features"),
        ("named.csv -k 1 --label-column kind --structures flat", "--structures must be all, or"),
        ("some.csv -k 1 --label-column kind", "Input y contains NaN or nothing, first in row 1"),
        (
            "holes.csv -k 1 --label-column kind",
            "line 9 of 'holes.csv': the value in column 'b' is ",
        ),
        ("named.csv -m none.fgm", "there is no file 'none.fgm'"),
        ("rows.npy -m mixture.fgm", "holds a GaussianMixture, and classify uses classifiers"),
        ("rows.npy -m kinds.fgm --tol 0.1", "--tol is for a fit: give -k, too"),
        ("numbered.csv -m kinds.fgm --label-column kind", "no row has one of the classifier's cl"),
        ("rows.npy -m kinds.fgm -o found.npy", ".npy files cannot hold classes that are text"),
        ("rows.npy -m kinds.fgm --proba", "--proba is for the table that --output names"),
        ("rows.npy -m kinds.fgm -o rows.npy", "'rows.npy' holds the data that are read"),
        ("rows.npy -m kinds.fgm -o - --json", "--output - and --json both write"),
        (
            "named.csv -k 1 --label-column kind -o new.npz",
            "must end in one of .npy, .csv, .parquet",
        ),
    ],
)
def test_refused(folder, arguments, words):
    assert words in refuse("classify", *arguments.split(), "-q", cwd=folder)


def test_labels_in_a_stream_are_refused(folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,kind\n1,x\n2,y\n")))
    message = refuse("classify", "-", "-k", 1, "--label-column", "kind", cwd=folder)
    assert "--label-column reads the data once for the labels alone: give files" in message


def test_commands_for_mixtures_say_where_a_classifier_belongs(folder):
    message = refuse("predict", "rows.npy", "-m", "kinds.fgm", cwd=folder)
    assert "'kinds.fgm' holds a GaussianMixtureClassifier" in message
    assert "use it with  fastgmm classify" in message


def test_a_failed_run_leaves_the_old_results(folder):
    results = [folder / "kept.csv", folder / "kept.fgm"]
    options = ("-o", "kept.csv", "-o", "kept.fgm")
    succeed("classify", "named.csv", *FIT, *options, cwd=folder)
    before = [path.read_bytes() for path in results]
    refuse("classify", "holes.csv", *FIT, *options, cwd=folder)
    assert [path.read_bytes() for path in results] == before
    assert not list(folder.glob(".*"))
