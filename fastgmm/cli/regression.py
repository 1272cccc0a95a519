"""The command ``regress``: targets given other columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.models import (
    LoadedModel,
    as_modeled,
    check_fit_or_model,
    load_for,
    names_of,
    open_for_fit,
    open_rows,
    print_fitted,
    replayable,
)
from fastgmm.cli.output import outputs_of, write_if_asked
from fastgmm.data.column_names import default_names, name_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastgmm.data.source import Source
    from fastgmm.estimators.regressor import GaussianMixtureRegressor


def regress(
    context: typer.Context,
    data: options.Data,
    n_components: Annotated[
        int | None,
        options.option(
            "Number of components, to fit a regressor; without it, that in --model is used.",
            "--n-components",
            "-k",
            panel=options.MODEL,
            min=1,
        ),
    ] = None,
    target_columns: Annotated[
        str | None,
        options.option("Columns to predict from the others.", panel=options.DATA, metavar="A,B,…"),
    ] = None,
    model: Annotated[
        Path | None, options.model("Regressor to use, as an earlier regress wrote it.")
    ] = None,
    output: Annotated[
        list[Path] | None, options.outputs("the regressor", "the expected targets of each row")
    ] = None,
    covariance_type: options.CovarianceType = "full",
    missing: options.MissingOrAsInFit = None,
    *,
    em: options.Em,
    reading: options.FitReading,
    printing: options.Printing,
) -> None:
    """Predict columns from others, by a mixture of both.

    With -k a regressor is fitted; -m names one to use.

    Example: fastgmm regress data.csv -k 4 --target-columns price -o prices.fgm
    """
    fits = check_fit_or_model(context, model, "regressor", ("covariance_type",))
    kind = "a regressor" if fits else None
    outputs = outputs_of(output, data, kind=kind, printing=printing, missing=missing)
    targets = options.split_columns(target_columns)
    if model is not None:
        given = {} if em.n_jobs is None else {"n_jobs": em.n_jobs}
        used = load_for("regress", model, **given, **as_modeled(missing))
        regressor, joint = used.model, None
        if targets is not None:
            whole = LoadedModel(regressor.mixture_, names_of(regressor.mixture_))
            joint = open_rows(data, whole, reading, missing=missing)
            _name(joint)
    else:
        assert n_components is not None  # as was checked
        if targets is None:
            raise ValueError("a fit needs what is to be predicted: name it, --target-columns")
        if reading.columns is not None:
            columns = ",".join(dict.fromkeys([*reading.columns.split(","), *targets]))
            reading = replace(reading, columns=columns)
        source = open_for_fit(data, reading, missing=missing or "error")
        if outputs.table is not None and not source.replayable:
            raise ValueError("a table is of a second reading: give files, not a stream")
        _name(source)
        joint = replayable(source, reading.memory)
        # Loaded only now, so that errors are raised at once.
        from fastgmm import GaussianMixtureRegressor
        from fastgmm.cli.fit_with_progress import fit_with_progress

        regressor = GaussianMixtureRegressor(
            n_components, covariance_type=covariance_type, **vars(em), **as_modeled(missing)
        )
        fit_with_progress(regressor, joint, targets, quiet=printing.quiet)
        if outputs.model is not None:
            regressor.save(outputs.model)
        used = LoadedModel(regressor, names_of(regressor))
    score = None if joint is None else regressor.score(joint, targets)
    rows = joint
    if outputs.table is not None or rows is None:
        rows = open_rows(data, used, reading, missing=missing)
        names = regressor._targets.names or default_names(len(regressor.target_columns_))
        write_if_asked(outputs.table, _targets(regressor, rows, names))
    mixture = regressor.mixture_
    document = {
        "targets": regressor._targets.names,
        "n_components": mixture.n_components,
        "r2": score,
    }
    pairs = {
        "targets": None if targets is None else name_list(targets, quoted=False),
        "mixture": f"{mixture.n_components} components, {mixture.covariance_type}",
        "training R²" if fits else "R²": None if score is None else f"{score:.4f}",
    }
    shown = rows if joint is None else joint  # with the targets
    print_fitted(printing.as_json, data, shown, outputs, document, pairs)


def _name(rows: Source) -> None:
    """Name columns that have no name x0 and so on, as they are called where they are targets."""
    from fastgmm.data.sources.file_source import FileSource

    assert isinstance(rows, FileSource)  # as paths are opened
    rows.feature_names = rows.names[: rows.n_features]


def _targets(
    regressor: GaussianMixtureRegressor, rows: Source, names: Sequence[str]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the expected targets as a table, block by block."""
    for block in regressor.predict_blocks(rows):
        columns = block.reshape(len(block), -1).T
        yield dict(zip(names, columns, strict=True))
