"""Commands on rows that lack values: what they offer, and that they advise nothing else."""

import json

import numpy as np
import pandas as pd
import pytest

import fastgmm
from fastgmm import BayesianGaussianMixture, GaussianMixture, GaussianMixtureClassifier
from tests.cli_process import refuse, succeed

PLACE = "the value in column 'x1' in row 7, counted from 0, is missing: remove such rows, "


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("missing")
    X = np.random.default_rng(0).normal(size=(200, 2)) + 5.0 * (np.arange(200) % 2)[:, None]
    np.save(folder / "whole.npy", X)
    GaussianMixture(2, random_state=0).fit(X).save(folder / "model.fgm")
    BayesianGaussianMixture(2, tol=0.1, random_state=0).fit(X).save(folder / "bayes.fgm")
    holes = X.copy()
    holes[7, 1] = np.nan
    np.save(folder / "holes.npy", holes)
    frame = pd.DataFrame(holes, columns=["x0", "x1"])
    frame.assign(kind=np.arange(200) % 2).to_parquet(folder / "holes.parquet")
    table = pd.DataFrame(X, columns=["x0", "x1"])
    kinds = GaussianMixtureClassifier(covariance_type="VVV").fit(table, np.arange(200) % 2)
    kinds.save(folder / "classifier.fgm")
    fastgmm.GaussianMixtureOutlierDetector(2, random_state=0).fit(X).save(folder / "detector.fgm")
    fastgmm.MessageLengthGaussianMixture(3, random_state=0).fit(X).save(folder / "length.fgm")
    return folder


DROP = "leave them out with --missing drop"
MODEL = "use the observed values with --missing model"


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ("fit holes.npy -k 2", f"fill them in, {DROP}, or {MODEL}"),
        ("select holes.npy -k 2", f"fill them in, {DROP}, or {MODEL}"),
        ("predict holes.npy -m model.fgm", f"fill them in, or {MODEL}"),
        ("score holes.npy -m model.fgm", f"fill them in, {DROP}, or {MODEL}"),
        ("detect holes.npy -k 2", f"fill them in, {DROP}, or {MODEL}"),
        ("detect holes.npy -m detector.fgm", f"fill them in, {DROP}, or {MODEL}"),
        ("classify holes.parquet -m classifier.fgm", f"fill them in, {DROP}, or {MODEL}"),
        ("plot holes.npy -m model.fgm -o x.png", f"fill them in, {DROP}, or {MODEL}"),
    ],
)
def test_advice_is_what_there_is(folder, arguments, advice):
    found = refuse(*arguments.split(), cwd=folder)
    assert f"{PLACE}{advice}\n" in f"{found.strip()}\n"


def test_rows_are_left_out(folder):
    for arguments in (
        "score holes.npy -m model.fgm",
        "detect holes.npy -k 2",
        "detect holes.npy -m detector.fgm",
        "classify holes.parquet -m classifier.fgm --label-column kind",
        "classify holes.parquet -k 1 --label-column kind",
    ):
        shown = json.loads(succeed(*arguments.split(), "--missing", "drop", "--json", cwd=folder))
        assert shown["n_samples"] == 199
    succeed(
        *["plot", "holes.npy", "-m", "model.fgm", "-o", "x.png", "--missing", "drop"], cwd=folder
    )
    for arguments, option in (
        ("score holes.npy -m model.fgm --samples", "--samples"),
        ("detect holes.npy -m detector.fgm -o -", "--output"),
        ("classify holes.parquet -m classifier.fgm -o -", "--output"),
    ):
        found = refuse(*arguments.split(), "--missing", "drop", cwd=folder)
        assert f"--missing drop leaves rows out, and {option} writes a line for each row" in found


def test_rows_are_judged_by_what_is_there(folder):
    mixture = fastgmm.load(folder / "model.fgm").set_params(missing="model")
    X = np.load(folder / "holes.npy")
    options = ("holes.npy", "-m", "model.fgm", "--missing", "model")
    labels = succeed("predict", *options, cwd=folder).split()
    assert labels == ["component", *map(str, mixture.predict(X))]
    scores = succeed("score", *options, "--samples", cwd=folder).split()
    np.testing.assert_allclose([float(each) for each in scores[1:]], mixture.score_samples(X))
    mean = json.loads(succeed("score", *options, "--json", cwd=folder))["log_likelihood"]
    assert mean == pytest.approx(mixture.score(X))
    labels = succeed("predict", "holes.npy", "-m", "bayes.fgm", "--missing", "model", cwd=folder)
    bayes = fastgmm.load(folder / "bayes.fgm").set_params(missing="model")
    assert labels.split() == ["component", *map(str, bayes.predict(X))]
    found = refuse("predict", "holes.npy", "-m", "length.fgm", "--missing", "model", cwd=folder)
    assert "MessageLengthGaussianMixture, which does not take rows that lack values" in found


def test_models_of_what_is_there(folder):
    X = np.load(folder / "holes.npy")
    for arguments, name in (
        ("detect holes.npy -k 2 --seed 0", "d.fgm"),
        ("classify holes.parquet -k 1 --label-column kind", "c.fgm"),
        ("select holes.npy -k 1:2 --structures VVV", "s.fgm"),
    ):
        options = ("--missing", "model", "--json", "-o", name)
        assert json.loads(succeed(*arguments.split(), *options, cwd=folder))["n_samples"] == 200
        assert fastgmm.load(folder / name).missing == "model"
    # What was fitted to rows that lack values takes them again.
    shown = json.loads(succeed("detect", "holes.npy", "-m", "d.fgm", "--json", cwd=folder))
    outliers = int((fastgmm.load(folder / "d.fgm").predict(X) == -1).sum())
    assert (shown["n_samples"], shown["n_outliers"]) == (200, outliers)
    options = ("--label-column", "kind", "--json")
    shown = json.loads(succeed("classify", "holes.parquet", "-m", "c.fgm", *options, cwd=folder))
    assert shown["n_samples"] == 200
    assert len(succeed("predict", "holes.npy", "-m", "s.fgm", cwd=folder).split()) == 201
    for kind in ("ellipses", "pairs", "uncertainty"):
        options = ("-o", "x.png", "--kind", kind, "--missing", "model")
        succeed("plot", "holes.npy", "-m", "model.fgm", *options, cwd=folder)
