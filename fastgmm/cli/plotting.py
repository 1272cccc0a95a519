"""The command ``plot``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fastgmm.cli import options
from fastgmm.cli.models import as_modeled, load_any, look_at, names_of
from fastgmm.cli.output import check_not_read, print_result
from fastgmm.extras import import_from_extra

if TYPE_CHECKING:
    from fastgmm.data.source import Source

Kind = Literal["ellipses", "density", "pairs", "uncertainty", "convergence"]


def plot(
    model: Annotated[Path, options.model("Model to draw, as fit, detect and others write it.")],
    output: Annotated[
        Path,
        options.option(
            "File to write the figure to: .png, .pdf, .svg and others.",
            "--output",
            "-o",
            metavar="FIGURE",
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA",
            help="Data to draw as well: files, folders or glob patterns.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        options.option("Kind of plot; by default ellipses, or density for a single column."),
    ] = None,
    columns: Annotated[
        str | None,
        options.option(
            "Columns to draw; the first ones by default. Columns without a name are called "
            "x0, x1, …",
            panel=options.DATA,
            metavar="A,B,…",
        ),
    ] = None,
    style: Annotated[
        str,
        options.shown(
            "Matplotlib style, such as dark_background.", panel=options.RESULT, metavar="NAME"
        ),
    ] = "default",
    dpi: Annotated[
        int, options.shown("Resolution in dots per inch.", panel=options.RESULT, min=20, max=2000)
    ] = 150,
    missing: options.MissingOrAsInFit = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    reading: options.Reading,
) -> None:
    """Plot a fitted mixture, with the data if given.

    Example: fastgmm plot data.csv -m model.fgm -o ellipses.png
    """
    data = data or []
    if not data:
        reading.refuse_csv("no data are given")
    image_format = _image_format(output)
    check_not_read(output, [str(model), *data])
    if kind == "uncertainty" and not data:
        raise ValueError("--kind uncertainty draws rows: name their files")
    if kind == "convergence" and (data or columns is not None):
        raise ValueError("--kind convergence draws the fit: give neither data nor --columns")
    if style != "default" and style not in _matplotlib("style").available:
        raise ValueError(f"--style must be one of matplotlib's styles; got {style!r}")
    look_at(data)
    estimator = load_any(model)
    from fastgmm.plotting.projection import fitted_mixture  # which takes a while

    mixture = fitted_mixture(estimator)
    if kind is None:
        single = mixture.means_.shape[1] == 1 or (columns is not None and "," not in columns)
        kind = "density" if single else "ellipses"
    if kind == "convergence" and not hasattr(mixture, "trace_"):
        raise ValueError(
            f"{str(model)!r} has no trace to draw: it was not left by a fit of all rows"
        )
    rows: Source | None = None
    if data:
        from fastgmm.data.opening import open_data

        mixture.set_params(**as_modeled(missing))
        rows = open_data(
            data,
            columns_if_named=names_of(estimator) or names_of(mixture),
            memory_budget=reading.memory,
            missing=missing or mixture.missing,
            **reading.csv(),
        )
    from fastgmm.cli.fit_with_progress import PassProgress, reading_progress
    from fastgmm.io.atomic_file import atomic_file

    showing = (
        PassProgress("drawing", quiet=quiet)
        if rows is None
        else reading_progress(rows, quiet, output)
    )
    with _matplotlib("style").context(style), showing:
        display = _draw(kind, estimator, mixture, rows, options.split_columns(columns))
        with atomic_file(output) as file:
            display.figure_.savefig(file, format=image_format, dpi=dpi)
        _matplotlib("pyplot").close(display.figure_)
    document = {
        "model": model,
        "data": data,
        "kind": kind,
        "columns": None if kind == "convergence" else display.projection.names,
        "output": output,
    }
    print_result(as_json, document, {"kind": kind, "output": output})


def _draw(
    kind: Kind, estimator: Any, mixture: Any, rows: Source | None, columns: Sequence[str] | None
) -> Any:
    """Return a display, drawn."""
    from fastgmm import plotting

    if kind == "convergence":
        return plotting.ConvergenceDisplay.from_estimator(mixture)
    displays: dict[str, Any] = {
        "ellipses": plotting.EllipsesDisplay,
        "density": plotting.DensityDisplay,
        "pairs": plotting.PairsDisplay,
        "uncertainty": plotting.UncertaintyDisplay,
    }
    return displays[kind].from_estimator(estimator, rows, columns=columns)


def _image_format(path: Path) -> str:
    """Return the format that a suffix stands for, or raise if there is none."""
    from fastgmm.io.atomic_file import check_destination

    canvas = _matplotlib("backends.backend_agg").FigureCanvasAgg
    suffix = path.suffix.lower().removeprefix(".")
    known: dict[str, str] = canvas.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(
            f"cannot write {str(path)!r}: its name must end in one of "
            f"{', '.join(f'.{name}' for name in sorted(known))}"
        )
    check_destination(path)
    return suffix


def _matplotlib(module: str) -> Any:
    """Return a module of matplotlib, set to draw into files and not on a screen."""
    matplotlib = import_from_extra(
        "matplotlib", package="matplotlib", extra="plot", purpose="drawing"
    )
    matplotlib.use("agg")
    return import_from_extra(
        f"matplotlib.{module}", package="matplotlib", extra="plot", purpose="drawing"
    )
