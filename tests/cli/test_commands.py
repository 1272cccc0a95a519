"""The commands on good input: what they print and what they write."""

import json
import platform
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv, parquet
from sklearn.datasets import load_iris

import fastgmm
from fastgmm.cli import application
from fastgmm.data.formats.images import read_image, write_image
from tests.cli_process import in_here, in_process, refuse, succeed

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Iris in every format, and a model of it with the names of its columns."""
    folder = tmp_path_factory.mktemp("cli")
    iris = load_iris()
    numbers = {name: iris.data[:, j] for j, name in enumerate(COLUMNS)}
    parquet.write_table(pa.table(numbers), folder / "iris.parquet")
    named = {"species": [iris.target_names[label] for label in iris.target], **numbers}
    csv.write_csv(pa.table(named), folder / "iris.csv")
    np.save(folder / "iris.npy", iris.data)
    np.savez(folder / "iris.npz", X=iris.data, y=iris.target)
    fit(folder, "iris.parquet", "model.fgm")
    return folder


def model_and_rows(folder):
    """Return the model as the command line uses it: columns were found by name already."""
    model = fastgmm.load(folder / "model.fgm")
    del model.feature_names_in_
    return model, load_iris().data


def fit(folder, data, output, *options):
    return succeed("fit", data, "-k", 3, "-o", output, "--seed", 0, *options, cwd=folder)


def test_fit_says_what_it_did(folder):
    text = fit(folder, "iris.npy", "said.fgm")
    assert "150 rows, 4 columns" in text
    assert "3 components, full" in text
    assert "converged after" in text
    assert "nats a row" in text
    assert "said.fgm" in text


def test_fit_as_json(folder):
    document = json.loads(fit(folder, "iris.npy", "json.fgm", "--json"))
    expected = {
        "data": list,
        "n_samples": int,
        "n_features": int,
        "n_components": int,
        "covariance_type": str,
        "log_likelihood": float,
        "converged": bool,
        "interrupted": bool,
        "n_iter": int,
        "n_passes": int,
        "seconds": float,
        "trace": list,
        "weights": list,
        "output": str,
    }
    assert {name: type(value) for name, value in document.items()} == expected
    assert document["trace"][-1] == document["log_likelihood"]
    assert len(document["trace"]) == document["n_iter"] + 1


def test_fit_is_that_of_the_estimator(folder):
    fit(folder, "iris.npy", "same.fgm", "--covariance-type", "diag", "--n-init", 2, "--tol", 1e-5)
    model = fastgmm.GaussianMixture(
        3, covariance_type="diag", n_init=2, tol=1e-5, random_state=0
    ).fit(load_iris().data)
    loaded = fastgmm.load(folder / "same.fgm")
    np.testing.assert_array_equal(loaded.means_, model.means_)
    np.testing.assert_array_equal(loaded.covariances_, model.covariances_)


@pytest.mark.parametrize("data", ["iris.npz", "iris.parquet", "iris.csv"])
def test_fit_is_the_same_from_every_format(folder, data):
    options = ["--columns", ",".join(COLUMNS)] if data == "iris.csv" else []
    fit(folder, "iris.npy", "npy.fgm")
    fit(folder, data, "other.fgm", *options)
    first, second = (fastgmm.load(folder / name) for name in ("npy.fgm", "other.fgm"))
    np.testing.assert_array_equal(first.means_, second.means_)


def test_fit_takes_weights_from_a_column(folder):
    values = np.repeat(np.arange(12.0).reshape(6, 2) ** 2, [1, 2, 3, 1, 2, 3], axis=0)
    np.save(folder / "repeated.npy", values)
    counts = np.array([1, 2, 3, 1, 2, 3])
    unique = values[np.cumsum(counts) - 1]
    table = pa.table({"a": unique[:, 0], "b": unique[:, 1], "n": counts})
    parquet.write_table(table, folder / "weighted.parquet")
    options = ("-k", 1, "--json")
    repeated = json.loads(succeed("fit", "repeated.npy", *options, cwd=folder))
    weighted = json.loads(
        succeed("fit", "weighted.parquet", "--weight-column", "n", *options, cwd=folder)
    )
    assert weighted["log_likelihood"] == pytest.approx(repeated["log_likelihood"], rel=1e-12)


def test_fit_under_priors(folder):
    text = fit(folder, "iris.npy", "priors.fgm", "--priors", "mclust")
    assert "log-posterior" in text
    assert "log-likelihood" not in text
    document = json.loads(fit(folder, "iris.npy", "priors.fgm", "--priors", "mclust", "--json"))
    model = fastgmm.GaussianMixture(3, priors="mclust", random_state=0).fit(load_iris().data)
    assert document["log_posterior"] == model.lower_bound_
    described = succeed("info", "priors.fgm", cwd=folder)
    assert "log-posterior" in described


def test_fit_with_noise(folder):
    X = load_iris().data
    model = fastgmm.GaussianMixture(3, noise_volume="auto", random_state=0).fit(X)
    text = fit(folder, "iris.npy", "noise.fgm", "--noise-volume", "auto")
    assert f"weight {model.noise_weight_:.4f}" in text
    options = ("--noise-volume", 20, "--json")
    document = json.loads(fit(folder, "iris.npy", "noise_20.fgm", *options))
    assert document["noise_log_volume"] == pytest.approx(np.log(20.0))
    assert sum(document["weights"]) + document["noise_weight"] == pytest.approx(1.0)
    labels = succeed("predict", "iris.npy", "-m", "noise.fgm", cwd=folder).split()
    assert labels == ["component", *map(str, model.predict(X))]
    shares = succeed("predict", "iris.npy", "-m", "noise.fgm", "--proba", cwd=folder).splitlines()
    assert shares[0] == "component_0,component_1,component_2,noise"
    rows = [list(map(float, line.split(","))) for line in shares[1:]]
    np.testing.assert_allclose(rows, model.predict_proba(X))
    described = succeed("info", "noise.fgm", cwd=folder).splitlines()
    assert described[-1].split() == ["noise", f"{model.noise_weight_:.4f}"]
    document = json.loads(succeed("info", "noise.fgm", "--json", cwd=folder))
    assert document["noise_weight"] == model.noise_weight_


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_fit_takes_labels_from_a_column(folder, form):
    X, species = load_iris(return_X_y=True)
    known = np.arange(150) % 10 == 0
    kinds = pa.array(species, mask=~known)
    columns = {name: X[:, j] for j, name in enumerate(COLUMNS)}
    table = pa.table({"kind": kinds, **columns})
    name = f"labeled.{form}"
    csv.write_csv(table, folder / name) if form == "csv" else parquet.write_table(
        table, folder / name
    )
    fit(folder, name, "labeled.fgm", "--label-column", "kind")
    model = fastgmm.GaussianMixture(3, semi_supervised=True, random_state=0)
    model.fit(X, np.where(known, species, -1))
    loaded = fastgmm.load(folder / "labeled.fgm")
    np.testing.assert_array_equal(loaded.means_, model.means_)
    assert list(loaded.feature_names_in_) == COLUMNS
    labels = succeed("predict", name, "-m", "labeled.fgm", cwd=folder).split()
    assert labels == ["component", *map(str, model.predict(X))]


def test_fit_shows_lines_where_there_is_no_terminal(folder):
    process = in_process("fit", "iris.npy", "-k", 3, "--seed", 0, cwd=folder)
    # Lines about reading come first where the machine is busy.
    assert re.search("^pass 1: log-likelihood ", process.stderr, re.MULTILINE)


def test_quiet_fit_shows_nothing(folder):
    assert in_here("fit", "iris.npy", "-k", 3, "-q", cwd=folder).stderr == ""


def test_warnings_are_one_line_without_source_code(folder):
    process = in_here("fit", "iris.npy", "-k", 3, "--max-iter", 1, "-q", cwd=folder)
    assert process.returncode == 0
    assert process.stderr.startswith("warning: ")
    assert "--max-iter 1" in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("output", ["labels.csv", "labels.npy", "labels.parquet"])
def test_predict_to_a_file(folder, output):
    text = succeed("predict", "iris.parquet", "-m", "model.fgm", "-o", output, cwd=folder)
    model, rows = model_and_rows(folder)
    labels = model.predict(rows)
    path = folder / output
    written = {
        ".csv": lambda: np.loadtxt(path, skiprows=1),
        ".npy": lambda: np.load(path),
        ".parquet": lambda: parquet.read_table(path)["component"].to_numpy(),
    }[path.suffix]()
    np.testing.assert_array_equal(written, labels)
    counts = ", ".join(f"{k} {count}" for k, count in enumerate(np.bincount(labels)))
    assert text == f"{output}: 150 rows; components: {counts}\n"


def test_predict_to_standard_output(folder):
    lines = succeed(
        "predict", "iris.parquet", "-m", "model.fgm", cwd=folder, run=in_process
    ).splitlines()
    assert lines[0] == "component"
    assert len(lines) == 151


def test_predict_finds_the_columns_by_name(folder):
    # The CSV file has another column before those of the model, and it holds text.
    by_name = succeed("predict", "iris.csv", "-m", "model.fgm", cwd=folder)
    assert by_name == succeed("predict", "iris.parquet", "-m", "model.fgm", cwd=folder)


def test_predict_proba(folder):
    options = ("--proba", "-o", "proba.npy")
    succeed("predict", "iris.npy", "-m", "model.fgm", *options, cwd=folder)
    model, rows = model_and_rows(folder)
    expected = model.predict_proba(rows)
    np.testing.assert_array_equal(np.load(folder / "proba.npy"), expected)


def test_score(folder):
    text = succeed("score", "iris.npy", "-m", "model.fgm", cwd=folder, run=in_process)
    assert text.splitlines()[0] == "rows            150"
    document = json.loads(succeed("score", "iris.npy", "-m", "model.fgm", "--json", cwd=folder))
    model, data = model_and_rows(folder)
    assert document == {
        "n_samples": 150,
        "log_likelihood": model.score(data),
        "bic": model.bic(data),
        "aic": model.aic(data),
    }


def test_score_of_each_row(folder):
    options = ("--samples", "-o", "scores.npy")
    succeed("score", "iris.npy", "-m", "model.fgm", *options, cwd=folder)
    model, rows = model_and_rows(folder)
    expected = model.score_samples(rows)
    np.testing.assert_array_equal(np.load(folder / "scores.npy"), expected)


def test_sample(folder):
    options = ("-n", 5, "--seed", 3, "--labels")
    text = succeed("sample", "-m", "model.fgm", *options, cwd=folder, run=in_process)
    lines = text.splitlines()
    assert lines[0] == ",".join([*COLUMNS, "component"])
    model = fastgmm.load(folder / "model.fgm").set_params(random_state=3)
    rows, components = model.sample(5)
    written = np.array([[float(value) for value in line.split(",")] for line in lines[1:]])
    np.testing.assert_array_equal(written, np.column_stack([rows, components]))


def test_info_of_a_model(folder):
    text = succeed("info", "model.fgm", cwd=folder)
    assert "components      3\n" in text
    assert "mean petal_width" in text
    document = json.loads(succeed("info", "model.fgm", "--json", cwd=folder))
    assert document["feature_names"] == COLUMNS
    assert np.shape(document["covariances"]) == (3, 4, 4)


def test_a_variational_mixture_is_known_by_its_lower_bound(folder):
    X = load_iris().data
    mixture = fastgmm.BayesianGaussianMixture(3, random_state=0).fit(X)
    mixture.save(folder / "bayes.fgm")
    text = succeed("info", "bayes.fgm", cwd=folder)
    assert "BayesianGaussianMixture, full" in text
    assert f"lower bound  {mixture.lower_bound_:.6f} nats" in text
    document = json.loads(succeed("info", "bayes.fgm", "--json", cwd=folder))
    assert document["lower_bound"] == mixture.lower_bound_
    assert "log_likelihood" not in document
    scores = json.loads(succeed("score", "iris.npy", "-m", "bayes.fgm", "--json", cwd=folder))
    assert scores == {"n_samples": 150, "log_likelihood": pytest.approx(mixture.score(X))}
    labels = succeed("predict", "iris.npy", "-m", "bayes.fgm", cwd=folder).split()[1:]
    assert list(map(int, labels)) == mixture.predict(X).tolist()


def test_info_of_a_mixture_that_no_fit_made(folder):
    fastgmm.load(folder / "model.fgm").marginal(COLUMNS[:2]).save(folder / "marginal.fgm")
    text = succeed("info", "marginal.fgm", cwd=folder)
    assert "sepal_width" in text
    assert "converged" not in text
    document = json.loads(succeed("info", "marginal.fgm", "--json", cwd=folder))
    assert document["log_likelihood"] is document["n_iter"] is document["converged"] is None
    assert document["feature_names"] == COLUMNS[:2]


def test_info_of_what_is_made_of_mixtures(folder):
    iris = load_iris(as_frame=True)
    names = iris.target_names[iris.target]
    fastgmm.GaussianMixtureClassifier(covariance_type="VVE").fit(iris.data, names).save(
        folder / "classes.fgm"
    )
    text = succeed("info", "classes.fgm", cwd=folder)
    assert "classes   setosa (33.3%), versicolor (33.3%), virginica (33.3%)\n" in text
    assert "\nclass virginica, " in text
    assert "mean petal width (cm)" in text
    document = json.loads(succeed("info", "classes.fgm", "--json", cwd=folder))
    assert document["classes"] == list(iris.target_names)
    assert [each["n_components"] for each in document["mixtures"]] == [1, 1, 1]

    detector = fastgmm.GaussianMixtureOutlierDetector(2, random_state=0).fit(iris.data)
    detector.save(folder / "detector.fgm")
    text = succeed("info", "detector.fgm", cwd=folder)
    assert f"threshold  log-density {detector.offset_:.6f}\n" in text
    document = json.loads(succeed("info", "detector.fgm", "--json", cwd=folder))
    assert document["threshold"] == detector.offset_
    assert document["feature_names"] == iris.feature_names

    regressor = fastgmm.GaussianMixtureRegressor(2).fit(iris.data, "petal width (cm)")
    regressor.save(folder / "regressor.fgm")
    assert "targets   petal width (cm)\n" in succeed("info", "regressor.fgm", cwd=folder)

    fastgmm.fit_groups(iris.data, names, covariance_type="diag").save(folder / "groups.fgm")
    text = succeed("info", "groups.fgm", cwd=folder)
    assert "groups          3: setosa, versicolor, virginica\n" in text
    document = json.loads(succeed("info", "groups.fgm", "--json", cwd=folder))
    assert np.shape(document["covariances"]) == (3, 1, 4)
    message = refuse("export", "-m", "groups.fgm", "--onnx", "x.onnx", cwd=folder)
    assert "mixtures of 3 groups: export the mixture of one" in message


def test_info_of_a_checkpoint_under_any_name(folder):
    options = ("--max-iter", 2, "--tol", 0, "--checkpoint", "run.state", "-q")
    assert "by --tol 0 or more" in in_here("fit", "iris.npy", "-k", 2, *options, cwd=folder).stderr
    assert "checkpoint of   GaussianMixture" in succeed("info", "run.state", cwd=folder)


def test_info_of_a_table(folder):
    text = succeed("info", "iris.csv", cwd=folder, run=in_process)
    assert "rows     150" in text
    document = json.loads(succeed("info", "iris.csv", "--json", cwd=folder))
    assert document["columns"][0] == {
        "name": "species",
        "type": "string",
        "n_missing": 0,
        "minimum": None,
        "maximum": None,
        "mean": None,
    }
    assert document["columns"][1]["maximum"] == 7.9


def test_segment(folder):
    random = np.random.default_rng(0)
    dark, light = random.normal(50, 5, (20, 30, 3)), random.normal(200, 5, (20, 30, 3))
    pixels = np.clip(np.concatenate([dark, light]), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "in.png")
    options = ("-k", 2, "--seed", 0, "-o", "out.png", "-o", "colors.fgm", "--json")
    document = json.loads(succeed("segment", "in.png", *options, cwd=folder, run=in_process))
    assert (document["width"], document["height"]) == (30, 40)
    painted = np.asarray(Image.open(folder / "out.png"))
    assert painted.shape == pixels.shape
    for half, mean in ((painted[:20], dark.mean((0, 1))), (painted[20:], light.mean((0, 1)))):
        assert (half == half[0, 0]).all()
        np.testing.assert_allclose(half[0, 0], mean, atol=1.5)
    assert fastgmm.load(folder / "colors.fgm").n_components == 2


def test_segment_in_another_space_with_all_that_can_be_written(folder):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 40, (20, 30, 4), dtype=np.uint8)
    pixels[:, :15, :3] += 150
    pixels[..., 3] = 255
    pixels[:5, :, 3] = 0
    Image.fromarray(pixels).save(folder / "in.png")
    options = "-k 2 --seed 0 --color-space lab --spatial-weight 0.5 -o out.png"
    options += " --side-by-side both.png --palette palette.png"
    arguments = ("segment", "in.png", *options.split())
    document = json.loads(succeed(*arguments, "--json", cwd=folder))
    assert (document["color_space"], document["spatial_weight"]) == ("lab", 0.5)
    expected = fastgmm.segment_image(
        pixels, 2, color_space="lab", spatial_weight=0.5, random_state=0
    )
    for name, image in (("out.png", expected.image), ("both.png", expected.side_by_side())):
        with Image.open(folder / name) as opened:
            np.testing.assert_array_equal(np.asarray(opened), image)
    assert document["psnr"] == pytest.approx(expected.psnr())
    assert document["colors"] == expected.palette.tolist()
    assert document["palette_bytes"] == (folder / "palette.png").stat().st_size
    with Image.open(folder / "palette.png") as opened:
        np.testing.assert_array_equal(
            np.asarray(opened.convert("RGBA"))[5:], expected.image[5:], strict=True
        )
    text = succeed(*arguments, cwd=folder)
    assert f"psnr          {expected.psnr():.2f} dB" in text
    assert f"palette.png, {document['palette_bytes']:,} bytes" in text


@pytest.mark.parametrize(
    ("name", "output", "low", "high"),
    [
        ("in.tif", "out.tif", np.int32(-3000), np.int32(90000)),
        ("in.tif", "out.tif", np.float32(0.25), np.float32(0.75)),
        ("in.tif", "out.tif", np.float32(1e6), np.float32(1e6 + 4)),
        ("in.pgm", "out.png", np.uint16(300), np.uint16(40000)),
        ("in.png", "out.pgm", np.uint16(3), np.uint16(7)),
        ("in.png", "out.bmp", np.uint16(3000), np.uint16(40000)),
        ("in.tif", "out.png", np.int32(0), np.int32(4095)),
    ],
)
def test_segment_of_more_than_eight_bits(folder, name, output, low, high):
    levels = np.full((20, 30), low)
    levels[:, 10:] = high
    Image.fromarray(levels).save(folder / name)
    options = ("-k", 2, "--seed", 0, "-o", output, "--json", "--side-by-side", "both.png")
    if low < 0 or high > 65535:
        options = options[:-2]
    document = json.loads(succeed("segment", name, *options, cwd=folder))
    np.testing.assert_allclose(np.sort(np.ravel(document["colors"])), [low, high], rtol=1e-6)
    painted = read_image(folder / output)
    if output == "out.bmp":
        levels = np.rint(levels / 257).astype(np.uint8)
    assert painted.dtype == (np.uint16 if output == "out.png" else levels.dtype)
    np.testing.assert_allclose(painted, levels, rtol=1e-6)


def test_segment_of_levels_that_the_output_cannot_hold(folder):
    levels = np.repeat([-5, 3, 95], 200).reshape(20, 30)
    for dtype in (np.int32, np.float32):
        Image.fromarray(levels.astype(dtype)).save(folder / "in.tif")
        for name, white in (("out.png", 65535), ("out.bmp", 255)):
            options = ("-k", 3, "--seed", 0, "-o", name, "--side-by-side", "both.png")
            succeed("segment", "in.tif", *options, cwd=folder)
            expected = np.rint((levels + 5) * 0.01 * white)
            np.testing.assert_allclose(read_image(folder / name), expected, atol=1)
            both = np.rint((np.hstack([levels, levels]) + 5) * 655.35)
            np.testing.assert_allclose(read_image(folder / "both.png"), both, atol=1)
    colors = np.dstack([levels, 90 - levels, levels]).astype(np.float32)
    for dtype in (np.float32, np.int32):
        write_image(folder / "in.tif", colors.astype(dtype))
        options = ("-k", 3, "--seed", 0, "-o", "out.tif", "--covariance-type", "spherical")
        succeed("segment", "in.tif", *options, cwd=folder)
        np.testing.assert_allclose(read_image(folder / "out.tif"), colors, atol=1e-4)
        assert read_image(folder / "out.tif").dtype == dtype
    Image.fromarray(np.array([[np.nan, 9], [4, 3]], np.float32)).save(folder / "in.tif")
    process = in_here("segment", "in.tif", "-k", 2, "-o", "out.tif", cwd=folder)
    assert "'in.tif' has pixels that are no numbers or infinite" in process.stderr


def test_warmup(folder):
    assert "passes" in succeed("warmup", cwd=folder, run=in_process)


def test_version_and_help(tmp_path):
    version = succeed("--version", cwd=tmp_path, run=in_process)
    assert version == f"fastgmm {fastgmm.__version__}\n"
    text = succeed(cwd=tmp_path, run=in_process)
    for command in (
        "fit",
        "select",
        "predict",
        "score",
        "impute",
        "detect",
        "classify",
        "sample",
        "info",
        "plot",
        "segment",
        "warmup",
        "bench",
    ):
        assert f"\n│ {command} " in text


def test_bench_measures_what_is_asked_for(folder):
    options = ("--quick", "--rows", "k-means", "--json")
    document = json.loads(succeed("bench", *options, cwd=folder, run=in_process))
    assert document["machine"]
    assert document["rows"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86 processors")
def test_bench_compiles_for_processors_without_avx_512(folder):
    code = (
        "import sys\n"
        "from unittest.mock import MagicMock\n"
        "from fastgmm.cli.machine import bench\n"
        "sys.modules['fastgmm.bench.run'] = run = MagicMock()\n"
        "run.run_benchmark.return_value.to_dict.return_value = {}\n"
        "bench(cpu='avx2', as_json=True)\n"
        "from fastgmm.kernels.microkernels.simd import BLOCK\n"
        "print(BLOCK.n_bytes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "32"


COUNTING = """
from fastgmm.cli import options
from fastgmm.cli.models import open_for_fit
from fastgmm.cli.output import print_result


def count(
    data: options.Data,
    missing: options.MissingPolicy = "error",
    as_json: options.Json = False,
    *,
    reading: options.FitReading,
) -> None:
    \"\"\"Count the rows of tables.\"\"\"
    rows = open_for_fit(data, reading, missing=missing)
    n_rows = sum(len(block.X) for block in rows.blocks())
    print_result(as_json, {"n_samples": n_rows}, {"rows": n_rows})
"""


def test_a_command_is_one_file_and_one_line(tmp_path, monkeypatch):
    (tmp_path / "counting.py").write_text(COUNTING, encoding="utf-8")
    monkeypatch.setattr(fastgmm.cli, "__path__", [*fastgmm.cli.__path__, str(tmp_path)])
    monkeypatch.setitem(application.COMMANDS, "count", "counting")
    monkeypatch.setitem(sys.modules, "fastgmm.cli.counting", None)
    del sys.modules["fastgmm.cli.counting"]
    (tmp_path / "rows.csv").write_text("a;b\n1;2\n3;4\n", encoding="utf-8")
    (tmp_path / "holes.csv").write_text("a,b\n1,2\n,4\n5,6\n", encoding="utf-8")
    assert "\n│ count " in succeed(cwd=tmp_path)
    assert re.search("--delimiter +MARK", succeed("count", "--help", cwd=tmp_path))
    assert succeed("count", "rows.csv", "--delimiter", ";", cwd=tmp_path) == "rows  2\n"
    options = ("holes.csv", "--missing", "drop", "--json")
    assert json.loads(succeed("count", *options, cwd=tmp_path)) == {"n_samples": 2}
    message = refuse("count", "holes.csv", cwd=tmp_path)
    assert "leave them out with --missing drop, or use the observed values" in message
