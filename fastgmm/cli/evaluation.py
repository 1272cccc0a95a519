"""The commands ``predict``, ``score``, ``impute`` and ``sample``: using a fitted model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from fastgmm.cli import options
from fastgmm.cli.models import (
    as_modeled,
    check_no_rows_dropped,
    component_columns,
    load_mixture,
    noise_of,
    open_rows,
)
from fastgmm.cli.output import (
    STANDARD_OUTPUT,
    check_output,
    print_result,
    write_columns,
)
from fastgmm.data.column_names import default_names
from fastgmm.data.errors import DataError
from fastgmm.data.sources.exactness import is_long_integer, reaches_rounding

if TYPE_CHECKING:
    from fastgmm.data.passthrough_columns import CarriedColumns, CarriedForm
    from fastgmm.data.source import Source


def predict(
    data: options.Data,
    model: options.ModelFile,
    output: options.TableOutput = None,
    memory: options.Memory = "1GB",
    missing: Annotated[
        Literal["error", "model"] | None,
        options.option(
            "Rows with missing values: raise an error, or use their observed values; by default "
            "as in the fit.",
            "--missing",
        ),
    ] = None,
    proba: Annotated[
        bool,
        typer.Option("--proba", help="Write the responsibilities of the components instead."),
    ] = False,
    n_jobs: options.NJobs = None,
    *,
    csv: options.CsvReading,
) -> None:
    """Predict the component of each row; -1 is noise."""
    check_output(output, data)
    stored = load_mixture(model, n_jobs=n_jobs, **({} if missing is None else {"missing": missing}))
    mixture, rows = stored.model, open_rows(data, stored, memory=memory, csv=csv)
    blocks = (
        (
            component_columns(block, bool(noise_of(mixture)))
            for block in mixture.predict_proba_blocks(rows)
        )
        if proba
        else ({"component": labels} for labels in mixture.predict_blocks(rows))
    )
    write_columns(output, blocks)


def score(
    data: options.Data,
    model: options.ModelFile,
    output: options.TableOutput = None,
    memory: options.Memory = "1GB",
    missing: options.MissingOrAsInFit = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Write the log-likelihood of each row instead.")
    ] = False,
    as_json: options.Json = False,
    n_jobs: options.NJobs = None,
    *,
    csv: options.CsvReading,
) -> None:
    """Evaluate a model on rows: mean log-likelihood in nats, BIC and AIC."""
    if samples and as_json:
        raise ValueError("--samples writes a table, and --json an object: choose one of them")
    if output is not None and not samples:
        raise ValueError("--output is for the table that --samples writes")
    if samples:
        check_no_rows_dropped(missing, "--samples")
    check_output(output, data)
    stored = load_mixture(model, n_jobs=n_jobs, **as_modeled(missing))
    mixture, rows = stored.model, open_rows(data, stored, memory=memory, csv=csv, missing=missing)
    if samples:
        densities = mixture.score_samples_blocks(rows)
        write_columns(output, ({"log_likelihood": block} for block in densities))
        return
    found = mixture._scores(rows)
    mean = found.log_likelihood / found.weight
    # A mixture that was not fitted by its likelihood has none of its criteria.
    criteria = {"bic": found.bic, "aic": found.aic} if hasattr(mixture, "bic") else {}
    document = {"n_samples": rows.n_samples, "log_likelihood": mean, **criteria}
    shown = {name.upper(): f"{value:.2f}" for name, value in criteria.items()}
    pairs = {"rows": rows.n_samples, "log-likelihood": f"{mean:.6f} nats a row", **shown}
    print_result(as_json, document, pairs)


def impute(
    data: options.Data,
    model: options.ModelFile,
    output: options.TableOutput = None,
    memory: options.Memory = "1GB",
    draws: Annotated[
        int | None,
        options.option(
            "Number of random draws of the missing values, instead of their expected value. "
            "From 2 on, each row is written once per draw, and a last column, draw, counts from 0.",
            min=1,
        ),
    ] = None,
    random_state: options.RandomState = None,
    n_jobs: options.NJobs = None,
    *,
    csv: options.CsvReading,
) -> None:
    """Impute missing values; columns that the model does not use are kept unchanged."""
    check_output(output, data)
    stored = load_mixture(model, missing="model", n_jobs=n_jobs, random_state=random_state)
    rows = open_rows(data, stored, memory=memory, csv=csv)
    names = rows.feature_names or stored.feature_names or default_names(rows.n_features)
    blocks = stored.model.impute_blocks(rows, draws)
    suffix = ".csv" if output in (None, STANDARD_OUTPUT) else output.suffix.lower()
    carried = _carried(rows, suffix)
    if (draws or 1) > 1 and _DRAW in (*names, *carried.names):
        raise ValueError(f"there is a column {_DRAW!r} already, which is to count the draws")
    integers = _Integers(rows, suffix)
    filled = (_filled(block, names, carried, integers) for block in blocks)
    write_columns(output, filled, index=carried.index)


_DRAW = "draw"


class _Integers:
    """Features that hold integers, which they do after gaps are filled, where a file can say so."""

    def __init__(self, rows: Source, suffix: str) -> None:
        from fastgmm.data.sources.file_source import FileSource

        self._types = rows.integer_types() if isinstance(rows, FileSource) else {}
        self._whole: set[int] = set()
        if isinstance(rows, FileSource) and suffix == ".parquet":
            self._whole = rows.whole_features(self._types)
        self._as_text = suffix == ".csv"

    def written(self, j: int, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Return a feature's values as they are to be written."""
        dtype = self._types.get(j)
        if is_long_integer(dtype) and reaches_rounding(values):
            raise DataError(
                f"column {name!r} holds integers of 2**53 and more, which float64 rounds: it can "
                "be no feature of a model; fit one without it, and it is passed through"
            )
        if dtype is None or j in self._whole:
            return values if dtype is None else values.astype(dtype)
        if not self._as_text or dtype.kind == "b":
            return values
        texts = values.astype(object)
        whole = values == np.round(values)
        texts[whole] = values[whole].astype(np.int64)
        return texts


def _carried(rows: Source, suffix: str) -> CarriedColumns:
    """Return the columns of files that are no features of the model."""
    from fastgmm.data.passthrough_columns import CarriedColumns
    from fastgmm.data.sources.file_source import FileSource

    if not isinstance(rows, FileSource):
        return CarriedColumns((), ())
    forms: dict[str, CarriedForm] = {".npy": "numbers", ".csv": "text", ".parquet": "typed"}
    try:
        return rows.carry(form=forms.get(suffix, "stored"))
    except DataError as error:
        if suffix != ".npy":
            raise
        raise DataError(f"{error}, or write .csv or .parquet") from error


def _filled(
    block: NDArray[Any], names: Sequence[str], carried: CarriedColumns, integers: _Integers
) -> dict[str, NDArray[Any]]:
    """Return the columns of rows that were filled in, once or several times, and all others."""
    n_rows, n_draws = block.shape[-2], 1 if block.ndim == 2 else len(block)
    others = carried.take(n_rows)
    if block.ndim == 3:
        block = np.moveaxis(block, 0, 1).reshape(n_rows * n_draws, -1)
    if n_draws > 1:
        again = np.repeat(np.arange(n_rows), n_draws)
        others = {name: column.take(again) for name, column in others.items()}
    features = {name: integers.written(j, name, block[:, j]) for j, name in enumerate(names)}
    found = {**features, **others}
    columns = {name: found[name] for name in (carried.order if others else names)}
    if n_draws > 1:
        columns[_DRAW] = np.tile(np.arange(n_draws), n_rows)
    return columns


def sample(
    model: options.ModelFile,
    n_samples: Annotated[
        int, typer.Option("--n-samples", "-n", min=1, help="Number of rows to draw.")
    ] = 1,
    output: options.TableOutput = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Add a column with the component of each row.")
    ] = False,
    random_state: options.RandomState = None,
) -> None:
    """Draw random rows from a model."""
    check_output(output)
    stored = load_mixture(model, random_state=random_state)
    rows, components = stored.model.sample(n_samples)
    names = stored.feature_names or default_names(rows.shape[1])
    columns: dict[str, NDArray[Any]] = {name: rows[:, j] for j, name in enumerate(names)}
    if labels:
        columns["component"] = components
    write_columns(output, [columns])
