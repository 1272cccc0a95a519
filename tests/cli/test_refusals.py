"""The commands on bad input: status 2 and one sentence that says what, where and what to do."""

import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fastgmm import GaussianMixtureOutlierDetector
from fastgmm.cli.application import run
from tests.cli_process import in_process, refuse, succeed

ROWS = np.random.default_rng(0).standard_normal((50, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    np.save(folder / "data.npy", ROWS)
    np.save(folder / "wide.npy", np.hstack([ROWS, ROWS]))
    np.save(folder / "flat.npy", ROWS[:, 0])
    holes = ROWS.copy()
    holes[7, 1] = np.nan
    np.save(folder / "holes.npy", holes)
    (folder / "text.csv").write_text("a,b,kind\n1,2,x\n3,4,y\n")
    (folder / "words.csv").write_text("a,b\n1,x\n3,y\n")
    (folder / "commented.csv").write_text("a,b\n1,2\n# x\n3,4\n")
    (folder / "empty").mkdir()
    (folder / "pair").mkdir()
    for name in ("pair/1.npy", "pair/2.npy"):
        np.save(folder / name, ROWS)
    (folder / "folder.fgm").mkdir()
    (folder / "link.fgm").symlink_to("nowhere/model.fgm")
    (folder / "notes.txt").write_text("read me\n")
    (folder / "cut.parquet").write_bytes(b"PAR1 cut")
    (folder / "none.fgm").write_bytes(b"no model")
    (folder / "table.fgm").write_text("1,2\n3,4\n")
    (folder / "photo.png").write_bytes(b"no image")
    Image.fromarray(np.array([[0, 9, 0], [9, 0, 9]], np.uint8)).save(folder / "gray.png")
    Image.fromarray(np.zeros((2, 3, 4), np.uint8)).save(folder / "clear.png")
    GaussianMixtureOutlierDetector().fit(ROWS).save(folder / "detector.fgm")
    succeed("fit", "data.npy", "-k", 2, "-o", "model.fgm", "-q", cwd=folder)
    whole = (folder / "model.fgm").read_bytes()
    (folder / "cut.fgm").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fit missing.npy -k 2", "there is no file 'missing.npy'"),
        ("fit empty -k 2", "'empty'"),
        ("fit notes.txt -k 2", "'notes.txt'"),
        ("fit flat.npy -k 2", "shape (50,), which is not a table"),
        ("fit text.csv -k 2", "numbers in the columns 'kind' (string, as 'x' in line 2)"),
        ("fit text.csv -k 2 --columns a,c", "has no column 'c': its columns are 'a', 'b', 'kind'"),
        ("fit data.npy -k 2 --weight-column w", "has no column 'w'"),
        ("fit data.npy -k 2 --label-column y", "has no column 'y'"),
        ("fit text.csv -k 2 --label-column kind", "labels in column 'kind' of 'text.csv' are no n"),
        ("fit data.npy -k 2 --label-column x1", "y should hold integers from 0"),
        ("fit data.npy -k 2 --priors flat", "'flat' is not"),
        ("fit data.npy -k 2 --noise-volume big", "must be auto or a number above 0; got 'big'"),
        ("fit data.npy -k 2 --noise-volume=-1", "must be auto or a number above 0; got '-1'"),
        ("fit data.npy -k 2 --noise-volume inf", "must be auto or a number above 0; got 'inf'"),
        ("fit data.npy -k 2 --online --priors mclust", "--priors is not for --online"),
        ("fit data.npy -k 2 --online --noise-volume auto", "--noise-volume is not for --online"),
        ("fit data.npy -k 2 --online --label-column x1", "--label-column is not for --online"),
        ("fit holes.npy -k 2 --missing model --noise-volume auto", "do not go together"),
        (
            "fit holes.npy -k 2",
            "column 'x1' in row 7, counted from 0, is missing: remove such rows",
        ),
        ("fit commented.csv -k 1", "got 1: # x: if '#' begins a comment, give --comment '#': rep"),
        ("fit cut.parquet -k 2", "cannot read 'cut.parquet' as Parquet"),
        ("fit data.npy -k 51", "n_components = 51, n_samples = 50: choose fewer components"),
        ("fit data.npy -k 0", "Invalid value for '--n-components' / '-k'"),
        ("fit data.npy", "give the number of components, -k"),
        ("fit data.npy -k 2 --tol=-1", "Invalid value for '--tol'"),
        ("fit data.npy -k 2 --n-jobs 0", "'--n-jobs': it must be greater than or equal to 1"),
        (
            "fit data.npy -k 2 --tol inf",
            "error: --tol must be a float in the range [0.0, inf); got inf",
        ),
        (
            "regress text.csv -k 1 --exclude kind --target-columns c",
            "error: the table has no column 'c'",
        ),
        ("fit data.npy -k 2 --covariance-type round", "'round' is not one of 'full', 'tied'"),
        ("fit data.npy -k 2 --speed 9", "No such option: --speed"),
        ("fit data.npy -k 2 --resume", "name its file with --checkpoint"),
        ("fit data.npy -k 2 --epochs 2", "--epochs and --batch-size are for --online"),
        ("fit data.npy -k 2 --memory lots", "'lots' is no amount of memory: give a number"),
        ("fit data.npy -k 2 --checkpoint no/run.fgm", "there is no folder 'no'"),
        ("fit data.npy -k 2 --checkpoint model.fgm", "already: resume from it with --resume, "),
        ("fit data.npy -k 2 --checkpoint empty", "cannot write 'empty': it is a folder"),
        ("fit data.npy -k 2 --checkpoint a.fgm -o ./a.fgm", "are both 'a.fgm': give the model"),
        ("fit table.fgm -k 2 -o table.fgm", "'table.fgm' holds the data that are read"),
        ("fit data.npy -k 2 -o folder.fgm", "cannot write 'folder.fgm': it is a folder"),
        ("fit data.npy -k 2 -o link.fgm", "cannot write 'link.fgm': there is no folder '"),
        ("fit - data.npy -k 2", "standard input (-) can only be read alone"),
        ("predict *.npy -m model.fgm -o data.npy", "'data.npy' holds the data that are read"),
        ("predict pair -m model.fgm -o pair/1.npy", "'pair/1.npy' holds the data that are read"),
        ("segment photo.png -k 2 -o photo.png", "'photo.png' holds the data that are read"),
        ("fit data.npy -k 2 -o model.npz", "a model's name must end in .fgm"),
        ("fit data.npy -k 2 -o nowhere/model.fgm", "there is no folder 'nowhere'"),
        ("predict data.npy -m missing.fgm", "there is no file 'missing.fgm'"),
        ("predict data.npy -m none.fgm", "'none.fgm' is not a fastgmm model: it does not begin"),
        ("predict data.npy -m cut.fgm", "'cut.fgm' is damaged or incomplete"),
        ("predict data.npy -m detector.fgm", "'detector.fgm' holds a GaussianMixtureOutlierDet"),
        ("predict words.csv -m model.fgm", "(string, as 'x' in line 2): make them numbers"),
        ("predict wide.npy -m model.fgm", "there are 4 columns, and the model was fitted to 2"),
        (
            "predict holes.npy -m model.fgm",
            "column 'x1' in row 7, counted from 0, is missing: remove such rows",
        ),
        ("predict data.npy -m model.fgm -o labels.txt", "must end in one of .npy, .csv, .parquet"),
        ("score data.npy -m model.fgm --samples --json", "choose one of them"),
        ("score data.npy -m model.fgm -o scores.csv", "--output is for the table that --samples"),
        ("sample -m model.fgm -n 0", "Invalid value for '--n-samples' / '-n'"),
        ("info missing.csv", "there is no file 'missing.csv'"),
        ("info none.fgm", "none.fgm"),
        ("segment missing.png -k 2 -o out.png", "there is no file 'missing.png'"),
        ("segment photo.png -k 2 -o out.png", "cannot read 'photo.png' as an image"),
        ("segment photo.png -k 2 -o out.xyz", "must end in that of an image format, as .png"),
        ("segment gray.png -k 2 -o a.png --palette a.jpg", "an indexed image's name must end in"),
        ("segment gray.png -k 257 -o a.png --palette b.png", "a palette holds 256 colors"),
        ("segment gray.png -k 2 -o a.png --palette ./a.png", "two results are to be"),
        ("segment gray.png -k 2 -o a.png --side-by-side gray.png", "holds the data that are read"),
        ("segment gray.png -k 2 -o a.png --side-by-side no/b.png", "there is no folder 'no'"),
        ("segment gray.png -k 2 -o a.png --color-space hsv", "'hsv' is not one of 'rgb', 'lab'"),
        ("segment gray.png -k 2 -o a.png --spatial-weight=-1", "Invalid value for '--spatial-w"),
        ("segment gray.png -k 9 -o a.png", "'gray.png' has 6 pixels, too few for 9 components"),
        ("segment gray.png -k 3 -o a.png", "the image has 2 distinct colors, too few for n_co"),
        (
            "segment clear.png -k 2 -o a.jpg",
            "transparent pixels, which JPEG does not support: write",
        ),
        ("bench --rows 3Mx4", "error: --rows '3Mx4' matches no row of the benchmark"),
        ("nothing", "No such command 'nothing'"),
    ],
)
def test_refused(folder, arguments, words):
    assert words in refuse(*arguments.split(), cwd=folder)


@pytest.mark.parametrize(
    "arguments",
    ["fit missing.npy -k 2", "fit holes.npy -k 2", "fit --speed", "predict data.npy -m none.fgm"],
)
def test_refused_in_a_process_of_its_own(folder, arguments):
    refuse(*arguments.split(), cwd=folder, run=in_process)


def test_labels_in_a_stream_are_refused(folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,0\n2,1\n")))
    message = refuse("fit", "-", "-k", 2, "--label-column", "b", cwd=folder)
    assert "--label-column reads the data once for the labels alone: give files" in message


def test_failed_run_leaves_the_old_result(folder):
    before = (folder / "model.fgm").read_bytes()
    refuse("fit", "holes.npy", "-k", 2, "-o", "model.fgm", cwd=folder)
    assert (folder / "model.fgm").read_bytes() == before
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_missing_package_names_the_extra(package):
    code = f"import sys; sys.modules['{package}'] = None; import fastgmm.cli; fastgmm.cli.main()"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert process.stderr == (
        f'error: the command line needs {package}: install it with  pip install "fastgmm[cli]"\n'
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory: use fewer columns, components or rows at a time"),
        (MemoryError("x.npy: 9 GB"), "not enough memory: x.npy: 9 GB"),
        (
            type("ArrayMemoryError", (MemoryError,), {})("an array of 9 GB"),
            "not enough memory (an array of 9 GB): use fewer columns, components or rows",
        ),
    ],
)
def test_memory_that_is_used_up(error, message, monkeypatch, capsys):
    def fail(**_):
        raise error

    monkeypatch.setattr("typer.main.get_command", lambda _: SimpleNamespace(main=fail))
    assert run(["fit"]) == 2
    assert message in capsys.readouterr().err
