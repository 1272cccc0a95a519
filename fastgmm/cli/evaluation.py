"""The commands ``predict``, ``score`` and ``sample``: using a fitted mixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastgmm.cli import options
from fastgmm.cli.models import (
    as_modeled,
    component_columns,
    load_mixture,
    noise_of,
    open_rows,
)
from fastgmm.cli.output import (
    STANDARD_OUTPUT,
    check_no_rows_dropped,
    check_output,
    print_result,
    print_written,
    write_columns,
)
from fastgmm.data.column_names import default_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DRAWN_AT_ONCE = 2**17
"""Rows that are drawn before they are written."""


def predict(
    data: options.Data,
    model: options.ModelFile,
    output: options.TableOutput = None,
    keep_columns: Annotated[
        str | None,
        options.option(
            "Columns of the data to write as well, before the component; all keeps all of them.",
            metavar="all|A,B,…",
        ),
    ] = None,
    proba: Annotated[
        bool,
        options.flag("Write the responsibilities of the components instead.", "--proba"),
    ] = False,
    missing: Annotated[
        Literal["error", "model"] | None,
        options.option(
            "Rows with missing values: raise an error, or use their observed values; by default "
            "as in the fit.",
            "--missing",
            panel=options.DATA,
        ),
    ] = None,
    n_jobs: options.NJobs = None,
    quiet: options.Quiet = False,
    *,
    reading: options.Reading,
) -> None:
    """Predict the component of each row; -1 is noise.

    Example: fastgmm predict data.csv -m model.fgm --keep-columns all -o labeled.csv
    """
    check_output(output, data)
    stored = load_mixture(model, n_jobs=n_jobs, **({} if missing is None else {"missing": missing}))
    mixture, rows = stored.model, open_rows(data, stored, reading)
    from fastgmm.cli.fit_with_progress import reading_progress
    from fastgmm.cli.passthrough import carried_columns, names_to_keep

    kept = carried_columns(rows, output, names_to_keep(rows, keep_columns))
    if "component" in kept.names and not proba:
        raise ValueError("there is a column 'component' already: keep others, or rename it")
    counts: dict[str, int] = {}

    def columns() -> Iterator[Mapping[str, Any]]:
        blocks = mixture.predict_proba_blocks(rows) if proba else mixture.predict_blocks(rows)
        for block in blocks:
            labels = block.argmax(axis=1) if proba else block
            _count(labels, counts)
            found = (
                component_columns(block, bool(noise_of(mixture))) if proba else {"component": block}
            )
            yield {**kept.take(len(block)), **found}

    with reading_progress(rows, quiet, output):
        write_columns(output, columns(), index=kept.index)
    found = ", ".join(f"{name} {counts[name]}" for name in sorted(counts, key=int))
    print_written(output, f"{sum(counts.values())} rows; components: {found}")


def _count(labels: NDArray[Any], counts: dict[str, int]) -> None:
    """Count labels of rows."""
    import numpy as np

    for name, count in zip(*np.unique(labels, return_counts=True), strict=True):
        counts[str(name)] = counts.get(str(name), 0) + int(count)


def score(
    data: options.Data,
    model: options.ModelFile,
    output: options.TableOutput = None,
    missing: options.MissingOrAsInFit = None,
    samples: Annotated[
        bool, options.flag("Write the log-likelihood of each row instead.", "--samples")
    ] = False,
    as_json: options.Json = False,
    n_jobs: options.NJobs = None,
    quiet: options.Quiet = False,
    *,
    reading: options.Reading,
) -> None:
    """Evaluate a model on rows: mean log-likelihood in nats, BIC and AIC.

    Example: fastgmm score held_out.parquet -m model.fgm
    """
    if samples and as_json:
        raise ValueError("--samples writes a table, and --json an object: choose one of them")
    if output is not None and not samples:
        raise ValueError("--output is for the table that --samples writes")
    if samples:
        check_no_rows_dropped(missing, "--samples")
    check_output(output, data)
    stored = load_mixture(model, n_jobs=n_jobs, **as_modeled(missing))
    mixture, rows = stored.model, open_rows(data, stored, reading, missing=missing)
    from fastgmm.cli.fit_with_progress import reading_progress

    if samples:
        densities = mixture.score_samples_blocks(rows)
        with reading_progress(rows, quiet, output):
            write_columns(output, ({"log_likelihood": block} for block in densities))
        print_written(output, f"{rows.n_samples} rows")
        return
    with reading_progress(rows, quiet, STANDARD_OUTPUT):
        found = mixture._scores(rows)
    mean = found.log_likelihood / found.weight
    # A mixture that was not fitted by its likelihood has none of its criteria.
    criteria = {"bic": found.bic, "aic": found.aic} if hasattr(mixture, "bic") else {}
    document = {"n_samples": rows.n_samples, "log_likelihood": mean, **criteria}
    shown = {name.upper(): f"{value:.2f}" for name, value in criteria.items()}
    pairs = {"rows": rows.n_samples, "log-likelihood": f"{mean:.6f} nats a row", **shown}
    print_result(as_json, document, pairs)


def sample(
    model: options.ModelFile,
    n_samples: Annotated[
        int,
        options.shown("Number of rows to draw.", "--n-samples", "-n", panel=options.MODEL, min=1),
    ] = 1,
    output: options.TableOutput = None,
    labels: Annotated[
        bool, options.flag("Add a column with the component of each row.", "--labels")
    ] = False,
    random_state: options.RandomState = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw random rows from a mixture.

    Example: fastgmm sample -m model.fgm -n 1000 --seed 0 -o drawn.csv
    """
    check_output(output)
    stored = load_mixture(model)
    import numpy as np

    from fastgmm.cli.fit_with_progress import PassProgress

    # One generator for all, which an int would begin anew with each block.
    mixture = stored.model.set_params(random_state=np.random.RandomState(random_state))
    names = stored.feature_names or default_names(mixture.n_features_in_)
    with PassProgress("drawing", quiet=quiet or output in (None, STANDARD_OUTPUT)) as progress:

        def blocks() -> Iterator[Mapping[str, Any]]:
            for first in range(0, n_samples, _DRAWN_AT_ONCE):
                rows, components = mixture.sample(min(_DRAWN_AT_ONCE, n_samples - first))
                progress.add_rows(first + len(rows), expected=n_samples, bytes_per_row=0)
                columns = {name: rows[:, j] for j, name in enumerate(names)}
                yield {**columns, "component": components} if labels else columns

        write_columns(output, blocks())
    print_written(output, f"{n_samples} rows of {len(mixture.weights_)} components")
