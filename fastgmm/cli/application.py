"""The command-line application: all commands and their error handling."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO, get_args

import typer

from fastgmm.cli import options
from fastgmm.cli.interruption import NOTHING_SAVED, Interrupted, Interruption
from fastgmm.data.errors import DamagedDataError, MissingValueError

COMMANDS = {
    "fit": "fitting",
    "select": "model_choice",
    "predict": "evaluation",
    "score": "evaluation",
    "impute": "imputation",
    "sample": "evaluation",
    "plot": "plotting",
    "info": "information",
    "export": "information",
    "detect": "detection",
    "classify": "classification",
    "regress": "regression",
    "segment": "segmentation",
    "warmup": "machine",
    "bench": "machine",
}
"""The module of each command, which is the function of that name."""

_PANELS = {
    "fit": "Fitting a mixture",
    "predict": "Using a mixture",
    "detect": "Outliers, classes, targets and images",
    "warmup": "This machine",
}
"""The first command of each panel of the help."""


_NAMED_BOTH_WAYS = re.compile(r"\b\w+(=\w+|=\[?'[^']*'\]?|=,)? ?\((--[^()]+)\)")
"""A parameter of Python with the option beside it, as in ``decimal=',' (--decimal ,)``."""

_IN_PYTHON = {
    r"^The '(\w+)' parameter of \w+ must be (.*)\. Got (.*) instead\.": r"\1 must be \2; got \3",
    r" or an instance of '[\w.]+'": "",
    r"^X has (\d+) features, but \w+ is expecting (\d+) .*": (
        r"there are \1 columns, and the model was fitted to \2"
    ),
    r"^X has\b": "the table has",
    "give the data frame": "write it as CSV",
}
"""What is said otherwise where there is no Python."""

_LEAVE_OUT = "leave them out with --exclude, or by naming the columns to use"


def _take_options(_version: options.Version = False, _help: options.Help = False) -> None:
    """Take the options that stand before the command's name."""


def application() -> typer.Typer:
    """Return the application with all commands."""
    built = typer.Typer(
        name="fastgmm",
        help="Fit Gaussian mixtures to tables and images, and use them.\n\n"
        "Example: fastgmm fit table.parquet -k 8 -o model.fgm",
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": []},  # `options.Help` in its place
    )
    built.callback()(_take_options)
    panel = ""
    for name in COMMANDS:
        panel = _PANELS.get(name, panel)
        built.command(name, rich_help_panel=panel)(_command(name))
    return built


def _command(name: str) -> Callable[..., Any]:
    module = importlib.import_module(f"fastgmm.cli.{COMMANDS[name]}")
    return options.with_groups(getattr(module, name))


def run(arguments: Sequence[str]) -> int:
    """Run a command."""
    if sys.stderr is None:  # closed
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # as long as the process
    warnings.showwarning = partial(_show_warning, arguments[0] if arguments else "")
    command = typer.main.get_command(application())
    with Interruption() as interruption:
        try:
            status = command.main(
                args=list(arguments) or ["--help"],
                prog_name="fastgmm",
                standalone_mode=False,
                obj=interruption,
            )
            return status if isinstance(status, int) else 0
        except Interrupted as signaled:
            return _end(NOTHING_SAVED, 128 + signaled.signal_number)
        except typer.TyperException as error:
            return _end(f"error: {_own_words(error.format_message())}", 2)
        except MissingValueError as error:
            return _end(f"error: {error.place} is missing: {_remedies(arguments[0])}", 2)
        except DamagedDataError as error:
            skip = ", or leave such parts out with --on-error skip"
            can_skip = "'skip'" in _choices(arguments[0], "on_error")
            place = _in_options(arguments[0], str(error.place))
            return _end(f"error: {place}: repair the file{skip if can_skip else ''}", 2)
        except (ImportError, MemoryError, OSError, ValueError) as error:
            if isinstance(error, ImportError) and interruption.signal_number is not None:
                # A compiled module takes what is raised while it is loaded for its own failure.
                return _end(NOTHING_SAVED, 128 + interruption.signal_number)
            return _end(f"error: {_in_options(arguments[0], _sentence(error))}", 2)


def _choices(name: str, option: str) -> str:
    """Return the type of a command's option, which says what it may be; "None" if it has none."""
    found = inspect.signature(_command(name)).parameters.get(option)
    return "None" if found is None else str(get_args(found.annotation)[0])


def _remedies(name: str) -> str:
    """Return what to do where values are missing, by the choices that a command has."""
    choices = _choices(name, "missing")
    found = ["remove such rows", "fill them in"]
    if "'drop'" in choices:
        found.append("leave them out with --missing drop")
    if "'model'" in choices:
        found.append("use the observed values with --missing model")
    return f"{', '.join(found[:-1])}, or {found[-1]}"


def _own_words(message: str) -> str:
    """Return what is wrong with an argument, without the words of the library that checks them."""
    message = re.sub(r", unable to parse .*", "", message)
    return message.replace("Value error, ", "").replace("Input should be", "it must be")


def _end(message: str, status: int) -> int:
    """Print why a command ended, and return its status."""
    print(message, file=sys.stderr)
    return status


def _sentence(error: BaseException) -> str:
    """Return the first line of what an error says."""
    if isinstance(error, MemoryError):
        if type(error) is MemoryError and str(error):  # raised by this package, with advice
            return f"not enough memory: {error}"
        detail = f" ({error})" if str(error) else ""
        return f"not enough memory{detail}: use fewer columns, components or rows at a time"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename!r}: {error.strerror}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _in_options(name: str, text: str) -> str:
    """Return a text that names options of a command, not parameters of Python."""
    if name not in COMMANDS:
        return text
    text = _NAMED_BOTH_WAYS.sub(r"\2", text)
    for pattern, said in _IN_PYTHON.items():
        text = re.sub(pattern, said, text)
    if _choices(name, "exclude") == "None":
        text = text.replace(_LEAVE_OUT, "make them numbers")
    for option in ("reg_covar", "max_iter", "n_init", "init_params", "random_state", "tol", "rows"):
        if _choices(name, option) != "None":
            spelled = "seed" if option == "random_state" else option.replace("_", "-")
            text = re.sub(rf"\b{option}=", f"--{spelled} ", text)
            if option != "rows":  # which is a word, too
                text = re.sub(rf"(?<!-)\b{option}\b", f"--{spelled}", text)
    return text


def _show_warning(
    command: str,
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Print a warning without its location in the source code."""
    text = _in_options(command, " ".join(str(message).split()))
    print(f"warning: {text}", file=file or sys.stderr)
