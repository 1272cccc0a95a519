"""The help of all commands, and what is loaded before anything is found wrong."""

import shlex
import subprocess
import sys

import pytest
import typer

import fastgmm
from fastgmm.cli.application import COMMANDS, application
from tests.cli_process import in_here, refuse, succeed

HEAVY = {"numba", "scipy", "sklearn"}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns(command, tmp_path):
    text = succeed(*command.split(), "-h", cwd=tmp_path)
    assert text == succeed(*command.split(), "--help", cwd=tmp_path)
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Fitting a mixture")[2]  # summaries are whole
    assert not command or "<bool>" not in text  # flags have no value


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_of_options_that_exist(command, tmp_path):
    assert "Example: fastgmm fit" in succeed("--help", cwd=tmp_path)
    text = succeed(command, "--help", cwd=tmp_path)
    example = text.partition("Example:")[2].partition("╭")[0]
    program, name, *words = shlex.split(example)
    assert (program, name) == ("fastgmm", command)
    group = typer.main.get_command(application())
    group.commands[name].make_context(name, words)  # raises for an option that does not exist


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_version(command, tmp_path):
    text = f"fastgmm {fastgmm.__version__}\n"
    assert succeed(*command.split(), "-V", cwd=tmp_path) == text
    assert succeed(*command.split(), "--version", cwd=tmp_path) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["fit", "--help"],
        ["fit", "nope.csv", "-k", "2"],
        ["fit", "data.csv", "-k", "two"],
        ["fit", "data.csv", "--wrong"],
        ["detect", "nope.csv", "-k", "2"],
        ["select", "nope.csv"],
        ["predict", "data.csv", "-m", "bad.fgm"],
        ["predict", "data.csv", "-m", "nope.fgm"],
        ["info", "nope.csv"],
        ["info", "bad.fgm"],
        ["impute", "data.csv", "-m", "bad.fgm"],
        ["classify", "nope.csv", "-k", "1", "--label-column", "y"],
        ["regress", "nope.csv", "-k", "1", "--target-columns", "y"],
        ["plot", "-m", "bad.fgm", "-o", "x.svg"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_known_before_large_libraries_are_loaded(tmp_path, arguments):
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "bad.fgm").write_bytes(b"no model")
    script = (
        "import sys; from fastgmm.cli.application import run; run(sys.argv[1:]); "
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert not HEAVY & loaded
    assert "numpy" not in loaded or "matplotlib" in loaded


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "fit data.csv -k two",
            "Invalid value for '--n-components' / '-k': it must be a valid int",
        ),
        ("fit data.csv -k 0", "it must be greater than or equal to 1"),
        ("fit data.csv -k 2 --priors x", "Invalid value for '--priors': 'x' is not one of"),
    ],
)
def test_errors_are_in_words_of_ours(tmp_path, arguments, words):
    message = refuse(*arguments.split(), cwd=tmp_path)
    assert words in message
    assert "Input should" not in message
    assert "parse" not in message
    assert "Value error" not in message


def test_json_lines_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    outcome = in_here("fit", "rows.jsonl", "-k", 1, cwd=tmp_path)
    assert outcome.returncode == 2
    assert "is JSON: read it with pandas and write it as CSV" in outcome.stderr
