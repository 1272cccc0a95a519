"""The directive ``command-output``: runs a command while the documentation is built.

What a page shows is thus what the command prints. Commands run one after the other in one folder,
which holds the tables that `_make_tables` writes; the first that fails ends the build.
"""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from docutils import nodes
from docutils.parsers.rst import Directive
from sklearn.datasets import load_iris
from sphinx.errors import ExtensionError

_folder = tempfile.TemporaryDirectory(prefix="fastgmm-docs-")


class CommandOutput(Directive):
    """``.. command-output:: fastgmm ...`` shows the command and what it prints.

    ``cat FILE | fastgmm ...`` gives it a file as its standard input.
    """

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """Return the literal block."""
        command = self.arguments[0]
        feeding, _, fed = command.rpartition(" | ")
        program, *arguments = shlex.split(fed)
        feeder, *names = shlex.split(feeding) or ("cat",)
        if program != "fastgmm" or feeder != "cat":
            raise ExtensionError(f"command-output runs fastgmm only; got {command!r}")
        process = subprocess.run(
            [sys.executable, "-m", "fastgmm", *arguments],
            cwd=_folder.name,
            input="".join(Path(_folder.name, name).read_text("utf-8") for name in names),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if process.returncode != 0:
            raise ExtensionError(f"{command!r} failed: {process.stderr}")
        text = f"$ {command}\n{process.stdout.rstrip()}"
        block = nodes.literal_block(text, text)
        block["language"] = "console"
        return [block]


def _make_tables(folder):
    iris = load_iris(as_frame=True).frame
    iris.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]
    iris["species"] = load_iris().target_names[iris["species"]]
    iris.to_csv(folder / "iris.csv", index=False)
    iris.drop(columns="species").to_csv(folder / "flowers.csv", index=False)
    is_lost = np.random.default_rng(0).random((150, 4)) < 0.2
    lacking = iris.copy()
    lacking[lacking.columns[:4]] = iris[iris.columns[:4]].mask(is_lost)
    lacking.to_csv(folder / "lacking.csv", index=False)
    (folder / "flowers").mkdir()
    for number in range(3):
        part = iris.drop(columns="species").iloc[number::3]
        part.to_parquet(folder / "flowers" / f"part-{number}.parquet", index=False)


def setup(app):
    """Register the directive."""
    _make_tables(Path(_folder.name))
    app.add_directive("command-output", CommandOutput)
    app.connect("build-finished", lambda *_: _folder.cleanup())
    return {"parallel_read_safe": False}
