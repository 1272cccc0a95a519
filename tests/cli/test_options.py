"""Options that several commands share: what is written, what is read, which columns are used."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import fastgmm
from tests.cli_process import refuse, succeed

NAMES = ["a", "b", "c", "d"]


def run(folder, line):
    return succeed(*line.split(), cwd=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    frame = pd.DataFrame(load_iris().data, columns=NAMES)
    frame.to_csv(folder / "num.csv", index=False)
    frame.insert(0, "id", [f"row {i:03}" for i in range(150)])
    frame["kind"] = load_iris().target
    frame.to_csv(folder / "all.csv", index=False)
    frame.to_parquet(folder / "all.parquet")
    run(folder, "fit num.csv -k 3 --seed 0 -o best.fgm -q")
    run(folder, "detect num.csv -k 2 --seed 0 -o usual.fgm -q")
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("detect num.csv -k 2 -o best.fgm", "'best.fgm' holds a mixture, and would be replaced by"),
        (
            "detect num.csv -k 2 -o best.fgm",
            "an outlier detector: give another name, or --force",
        ),
        ("fit num.csv -k 2 -o usual.fgm", "'usual.fgm' holds an outlier detector"),
        ("select num.csv -k 1 -o usual.fgm", "'usual.fgm' holds an outlier detector"),
        ("fit num.csv -k 2 -o note.fgm", "'note.fgm' holds no model"),
        ("detect num.csv -k 2 -m best.fgm", "-k fits a new one: give one of them"),
        ("select num.csv -k 1 -o a.fgm -o b.fgm", "'a.fgm' and 'b.fgm': give one model at most"),
        ("fit all.csv -k 2 --columns a --exclude b", "--exclude others: give one"),
        ("fit all.csv -k 2 --exclude x", "has no column 'x'"),
        ("fit all.csv -k 2", "leave them out with --exclude, or by"),
        ("fit num.csv -k 2 --init-from best.fgm", "has 3 components, and -k is 2"),
        ("fit num.csv --init-from best.fgm --covariance-type diag", "is of covariance type 'full'"),
        ("fit num.csv -k 2 --bayesian --priors mclust", "--priors is not for --bayesian"),
        ("fit num.csv -k 2 --bayesian --frozen means", "--frozen is not for --bayesian"),
        ("fit num.csv -k 2 --online --n-factors 1", "--n-factors is not for --online"),
        ("fit num.csv -k 2 --n-factors 1", "give --covariance-type factors --n-factors 2, say"),
        ("fit num.csv -k 2 --covariance-type CCU", "both their type and their number of factors"),
        ("select num.csv --structures CCU", "must be all, or some of full, tied, "),
        ("select num.csv --structures CCU --n-factors 0", "--n-factors must be numbers from 1 on"),
        ("fit num.csv -k 2 --frozen means", "name its file with --init-from"),
        ("fit num.csv --init-from best.fgm --frozen mean", "--frozen takes weights, means and cov"),
        ("fit num.csv --init-from best.fgm --frozen means=3", "from 0 to 2, as in means=0; got 'm"),
        (
            "fit num.csv --init-from best.fgm --frozen means=0 --frozen means=1",
            "each once, alone or with components from 0 to 2, as in means=0; got 'means=1'",
        ),
        (
            "fit num.csv -k 2 --message-length --resume --checkpoint c",
            "is not for --message-length",
        ),
        ("regress num.csv -k 1", "name it, --target-columns"),
        ("regress num.csv -m best.fgm", "holds a GaussianMixture, and regress uses regressors"),
        ("predict num.csv -m best.fgm --keep-columns x", "has no column 'x'"),
    ],
)
def test_refused(folder, arguments, words):
    (folder / "note.fgm").write_text("of mine\n")
    before = {path.name: path.read_bytes() for path in folder.glob("*.fgm")}
    assert words in refuse(*arguments.split(), cwd=folder)
    assert before == {path.name: path.read_bytes() for path in folder.glob("*.fgm")}


@pytest.mark.parametrize("chosen", ["--columns x0,x2,x3", "--exclude x1"])
def test_columns_without_a_name_are_called_x0_and_so_on(folder, chosen):
    np.save(folder / "rows.npy", load_iris().data)
    run(folder, f"fit rows.npy -k 2 {chosen} --seed 0 -o some.fgm -q")
    run(folder, "predict rows.npy -m some.fgm -o labels.csv")
    text = run(folder, f"regress rows.npy -k 2 {chosen} --target-columns x2 -o widths.fgm -q")
    assert "targets      x2" in text
    assert "150 rows, 2 columns" in run(folder, "regress rows.npy -m widths.fgm -q")
    assert "R²" in run(folder, "regress rows.npy -m widths.fgm --target-columns x2 -q")


def test_force_replaces_a_model_of_another_kind(folder):
    (folder / "note.fgm").write_text("of mine\n")
    run(folder, "fit num.csv -k 2 -o note.fgm --force -q")
    assert fastgmm.load(folder / "note.fgm").n_components == 2
    run(folder, "fit num.csv -k 3 -o note.fgm -q")  # of the same kind
    assert fastgmm.load(folder / "note.fgm").n_components == 3


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_excluded_columns_are_no_features_and_are_named(folder, name):
    text = succeed("fit", name, "-k", 3, "--seed", 0, "--exclude", "id,kind", "-q", cwd=folder)
    assert "a, b, c, d" in text
    assert "id (excluded), kind (excluded)" in text
    with_labels = ("--label-column", "kind", "--exclude", "id", "--json", "-q")
    document = json.loads(succeed("fit", name, "-k", 3, *with_labels, cwd=folder))
    assert document["columns"] == NAMES
    assert document["unused_columns"] == {"id": "excluded", "kind": "labels"}


def test_exclude_of_open_data():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    source = fastgmm.open_data(frame, exclude=["b"])
    assert source.feature_names == ("a",)
    assert source.unused_columns == {"b": "excluded"}
    with pytest.raises(ValueError, match="columns names the columns to use, and exclude those"):
        fastgmm.open_data(frame, columns=["a"], exclude=["b"])


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_kept_beside_the_components(folder, name, suffix):
    output = f"labeled{suffix}"
    options = ("-m", "best.fgm", "--keep-columns", "all", "-o", output, "-q")
    text = succeed("predict", name, *options, cwd=folder)
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    found, before = read(folder / output), pd.read_csv(folder / "all.csv")
    expected = fastgmm.load(folder / "best.fgm").predict(before[NAMES])
    assert list(found) == ["id", *NAMES, "kind", "component"]
    pd.testing.assert_frame_equal(found[before.columns], before)
    np.testing.assert_array_equal(found["component"], expected)
    counts = ", ".join(f"{k} {n}" for k, n in enumerate(np.bincount(expected)))
    assert text == f"{output}: 150 rows; components: {counts}\n"
    some = ("-m", "best.fgm", "--keep-columns", "id", "--proba", "-o", output, "-q")
    succeed("predict", name, *some, cwd=folder)
    names = ["id", "component_0", "component_1", "component_2"]
    assert list(read(folder / output)) == names


def test_a_fit_begins_with_a_mixture_in_a_file(folder):
    text = succeed(
        *["fit", "num.csv", "--init-from", "best.fgm", "-o", "more.fgm", "-q"], cwd=folder
    )
    assert "3 components, full" in text
    before, after = (fastgmm.load(folder / f"{name}.fgm") for name in ("best", "more"))
    assert after.trace_[0] == pytest.approx(before.lower_bound_, abs=1e-9)
    assert after.n_iter_ < before.n_iter_


@pytest.mark.parametrize("schedule", [(), ("--online",)])
def test_parameters_of_the_mixture_in_a_file_are_kept(folder, schedule):
    frozen = ("--frozen", "weights", "--frozen", "means=0,2")
    succeed(
        *["fit", "num.csv", "--init-from", "best.fgm", *frozen, *schedule, "-o", "kept.fgm", "-q"],
        cwd=folder,
    )
    before, after = (fastgmm.load(folder / f"{name}.fgm") for name in ("best", "kept"))
    assert after.frozen == {"weights": True, "means": [0, 2]}
    np.testing.assert_allclose(after.weights_, before.weights_)
    same = (after.means_ == before.means_).all(axis=1)
    assert same.tolist() == [True, False, True]
    assert not np.array_equal(after.covariances_, before.covariances_)


def test_other_mixtures(folder):
    X = pd.read_csv(folder / "num.csv")
    text = succeed(
        *["fit", "num.csv", "-k", "5", "--bayesian", "--seed", "0", "-o", "vb.fgm", "-q"],
        cwd=folder,
    )
    own = fastgmm.BayesianGaussianMixture(5, random_state=0).fit(X)
    found = fastgmm.load(folder / "vb.fgm")
    np.testing.assert_array_equal(found.means_, own.means_)
    assert f"lower bound  {own.lower_bound_:.6f} nats\n" in text
    succeed(
        *["fit", "num.csv", "-k", "5", "--message-length", "--seed", "0", "-o", "ml.fgm", "-q"],
        cwd=folder,
    )
    own = fastgmm.MessageLengthGaussianMixture(5, random_state=0).fit(folder / "num.csv")
    np.testing.assert_array_equal(fastgmm.load(folder / "ml.fgm").means_, own.means_)


def test_regress(folder):
    X = pd.read_csv(folder / "num.csv")
    own = fastgmm.GaussianMixtureRegressor(2, random_state=0).fit(X, "d")
    options = ("--target-columns", "d", "--seed", 0, "-o", "reg.fgm", "-q")
    text = succeed("regress", "num.csv", "-k", 2, *options, cwd=folder)
    assert f"training R²  {own.score(X, 'd'):.4f}\n" in text
    run(folder, "regress num.csv -m reg.fgm -o d.csv -q")
    found = pd.read_csv(folder / "d.csv", dtype=str).astype(float)
    assert list(found) == ["d"]
    np.testing.assert_array_equal(found["d"], own.predict(X[["a", "b", "c"]]))
    checked = ("-m", "reg.fgm", "--target-columns", "d", "--json")
    document = json.loads(succeed("regress", "num.csv", *checked, cwd=folder))
    assert document["r2"] == own.score(X, "d")


def test_drawing_in_blocks_is_drawing_with_one_generator(folder, monkeypatch):
    monkeypatch.setattr("fastgmm.cli.evaluation._DRAWN_AT_ONCE", 40)
    text = succeed(
        *["sample", "-m", "best.fgm", "-n", "100", "--seed", "1", "-o", "drawn.csv", "-q"],
        cwd=folder,
    )
    assert text == "drawn.csv: 100 rows of 3 components\n"
    mixture = fastgmm.load(folder / "best.fgm").set_params(random_state=np.random.RandomState(1))
    expected = np.concatenate([mixture.sample(n)[0] for n in (40, 40, 20)])
    found = pd.read_csv(folder / "drawn.csv", dtype=str).astype(float)
    np.testing.assert_array_equal(found, expected)
