"""The command-line application: all commands and their error handling."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO, get_type_hints

import typer

from fastgmm.cli import (
    classification,
    detection,
    evaluation,
    fitting,
    information,
    machine,
    model_choice,
    plotting,
    segmentation,
)
from fastgmm.cli.interruption import Interrupted, Interruption
from fastgmm.cli.options import reading_csv
from fastgmm.cli.output import write
from fastgmm.data.errors import MissingValueError

application = typer.Typer(
    name="fastgmm",
    help="Fit Gaussian mixtures to tables and images, and use them.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
application.command("fit")(reading_csv(fitting.fit))
application.command("select")(reading_csv(model_choice.select))
application.command("predict")(reading_csv(evaluation.predict))
application.command("score")(reading_csv(evaluation.score))
application.command("impute")(reading_csv(evaluation.impute))
application.command("detect")(reading_csv(detection.detect))
application.command("classify")(reading_csv(classification.classify))
application.command("sample")(evaluation.sample)
application.command("info")(reading_csv(information.info))
application.command("plot")(reading_csv(plotting.plot))
application.command("segment")(segmentation.segment)
application.command("warmup")(machine.warmup)
application.command("bench")(machine.bench)


def _print_version(asked: bool) -> None:
    if asked:
        import fastgmm

        write([f"fastgmm {fastgmm.__version__}\n"])
        raise typer.Exit


@application.callback()
def _take_options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command's name."""


def run(arguments: Sequence[str]) -> int:
    """Run a command."""
    if sys.stderr is None:  # closed
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # as long as the process
    warnings.showwarning = _show_warning
    command = typer.main.get_command(application)
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
            return _tell("interrupted: nothing was saved", 128 + signaled.signal_number)
        except typer.TyperException as error:
            return _tell(f"error: {error.format_message()}", 2)
        except MissingValueError as error:
            return _tell(f"error: {error.place} is missing: {_remedies(arguments[0])}", 2)
        except (ImportError, MemoryError, OSError, ValueError) as error:
            return _tell(f"error: {_sentence(error)}", 2)


def _remedies(name: str) -> str:
    """Return what to do where values are missing, by the choices that a command has."""
    commands: dict[str | None, Any] = {
        each.name: each.callback for each in application.registered_commands
    }
    choices = str(get_type_hints(commands[name]).get("missing"))
    found = ["remove such rows", "fill them in"]
    if "'drop'" in choices:
        found.append("leave them out with --missing drop")
    if "'model'" in choices:
        found.append("use the observed values with --missing model")
    return f"{', '.join(found[:-1])}, or {found[-1]}"


def _tell(message: str, status: int) -> int:
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


def _show_warning(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Print a warning without its location in the source code."""
    print(f"warning: {' '.join(str(message).split())}", file=file or sys.stderr)
