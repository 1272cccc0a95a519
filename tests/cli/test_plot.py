"""The command ``plot``."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from PIL import Image
from pyarrow import parquet

from fastgmm import GaussianMixture, GaussianMixtureClassifier, GaussianMixtureOutlierDetector
from tests.cli_process import in_process, refuse, succeed

ROWS = np.concatenate([np.random.default_rng(0).normal(k, 0.5 + k / 4, (40, 3)) for k in range(2)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    np.save(folder / "rows.npy", ROWS)
    table = {name: ROWS[:, j] for j, name in enumerate("abc")}
    # Another order, and one column more.
    parquet.write_table(
        pa.table({"z": ROWS[:, 0], "c": ROWS[:, 2], "b": ROWS[:, 1], "a": ROWS[:, 0]}),
        folder / "rows.parquet",
    )
    mixture = GaussianMixture(2, random_state=0).fit(pa.table(table))
    mixture.save(folder / "named.fgm")
    GaussianMixture(2, random_state=0).fit(ROWS).save(folder / "model.fgm")
    GaussianMixture(2, random_state=0).fit(ROWS[:, :1]).save(folder / "single.fgm")
    GaussianMixtureOutlierDetector(2, random_state=0).fit(ROWS).save(folder / "detector.fgm")
    GaussianMixture(2, random_state=0).partial_fit(ROWS).save(folder / "online.fgm")
    classifier = GaussianMixtureClassifier(1).fit(ROWS, np.repeat([0, 1], 40))
    classifier.save(folder / "classifier.fgm")
    (folder / "none.fgm").write_bytes(b"no model")
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Figures that were saved, in their order, and what they were saved with."""
    saved = []

    def note(figure, file, **options):
        saved.append((figure, options))
        return savefig(figure, file, **options)

    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", note)
    yield saved
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("arguments", "kind", "columns"),
    [
        ("-m model.fgm rows.npy", "ellipses", ["x0", "x1"]),
        ("-m model.fgm", "ellipses", ["x0", "x1"]),
        ("-m model.fgm --columns x2", "density", ["x2"]),
        ("-m single.fgm", "density", ["x0"]),
        ("-m named.fgm rows.parquet --columns c,a", "ellipses", ["c", "a"]),
        ("-m named.fgm rows.parquet --kind density", "density", ["a", "b"]),
        ("-m named.fgm rows.parquet --kind pairs", "pairs", ["a", "b", "c"]),
        ("-m named.fgm rows.parquet --kind uncertainty", "uncertainty", ["a", "b"]),
        ("-m detector.fgm rows.npy", "ellipses", ["x0", "x1"]),
        ("-m model.fgm --kind convergence", "convergence", None),
    ],
)
def test_each_kind_is_drawn(folder, drawn, arguments, kind, columns):
    shown = succeed("plot", *arguments.split(), "-o", "a.png", "--json", cwd=folder)
    document = json.loads(shown)
    assert (document["kind"], document["columns"]) == (kind, columns)
    with Image.open(folder / "a.png") as opened:
        assert opened.format == "PNG"
    ((figure, options),) = drawn
    assert options == {"format": "png", "dpi": 150}
    ax = figure.axes[0]
    if kind == "ellipses":
        assert [ax.get_xlabel(), ax.get_ylabel()] == columns
        assert len(ax.patches) == 4
    if kind == "ellipses" and "rows" in arguments:
        points = np.concatenate([each.get_offsets() for each in ax.collections])
        order = ["abc".find(name) if name in "abc" else int(name[1]) for name in columns]
        np.testing.assert_allclose(np.sort(points, axis=0), np.sort(ROWS[:, order], axis=0))
    if kind == "convergence":
        assert ax.get_xlabel() == "Iteration"


def test_style_size_and_format(folder, drawn):
    options = "--style dark_background --dpi 40 -o a.pdf"
    text = succeed("plot", "-m", "model.fgm", *options.split(), cwd=folder)
    assert text.splitlines() == ["kind    ellipses", "output  a.pdf"]
    assert (folder / "a.pdf").read_bytes().startswith(b"%PDF")
    assert drawn[0][0].get_facecolor()[:3] == (0.0, 0.0, 0.0)
    assert drawn[0][1] == {"format": "pdf", "dpi": 40}


def test_in_a_process_of_its_own(folder):
    succeed("plot", "rows.npy", "-m", "model.fgm", "-o", "b.svg", cwd=folder, run=in_process)
    assert "<svg" in (folder / "b.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("-m missing.fgm -o a.png", "there is no file 'missing.fgm'"),
        ("-m none.fgm -o a.png", "none.fgm"),
        ("-m classifier.fgm -o a.png", "there is no mixture to draw in a GaussianMixtureClass"),
        ("-m model.fgm -o a.txt", "cannot write 'a.txt': its name must end in one of"),
        ("-m model.fgm -o no/a.png", "there is no folder 'no'"),
        ("-m model.fgm", "Missing option '--output' / '-o'"),
        ("-m model.fgm missing.npy -o a.png", "there is no file 'missing.npy'"),
        ("-m single.fgm rows.npy -o a.png", "there are 3 columns, and the model was fitted to 1"),
        ("-m model.fgm -o a.png --columns x9", "no column 'x9' to draw: the mixture has 3 columns"),
        ("-m model.fgm -o a.png --columns x0,x1,x2", "columns must name 1 to 2 different columns"),
        ("-m model.fgm -o a.png --kind pie", "'pie' is not one of 'ellipses', 'density', 'pairs'"),
        (
            "-m model.fgm -o a.png --kind uncertainty",
            "draws rows: name their files",
        ),
        ("-m model.fgm rows.npy -o a.png --kind convergence", "draws the fit: give neither data"),
        ("-m online.fgm -o a.png --kind convergence", "'online.fgm' has no trace to draw"),
        ("-m single.fgm -o a.png --kind ellipses", "DensityDisplay draws a single column"),
        ("-m model.fgm -o a.png --style loud", "one of matplotlib's styles; got 'loud'"),
        ("-m model.fgm -o a.png --dpi 1", "Invalid value for '--dpi'"),
    ],
)
def test_refused(folder, arguments, words):
    assert words in refuse("plot", *arguments.split(), cwd=folder)


def test_missing_matplotlib_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    message = refuse("plot", "-m", "model.fgm", "-o", "a.png", cwd=folder)
    assert "drawing needs matplotlib" in message
