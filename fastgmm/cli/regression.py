"""The command ``regress``: targets given other columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.models import (
    LoadedModel,
    as_modeled,
    check_fit_or_model,
    check_no_rows_dropped,
    check_only_for_a_fit,
    data_document,
    data_pairs,
    load_for,
    names_of,
    open_for_fit,
    open_rows,
    replayable,
)
from fastgmm.cli.output import STANDARD_OUTPUT, outputs_of, print_result, write_if_asked
from fastgmm.data.column_names import default_names, name_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastgmm.data.source import Source
    from fastgmm.estimators.regressor import GaussianMixtureRegressor

_FOR_A_FIT = (
    "covariance_type",
    "tol",
    "max_iter",
    "n_init",
    "reg_covar",
    "random_state",
    "columns",
    "exclude",
    "weight_column",
)
"""Parameters that only apply to a fit."""


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
    tol: options.Tolerance = 1e-3,
    max_iter: options.MaxIter = 100,
    n_init: options.NInit = 1,
    reg_covar: options.RegCovar = 1e-6,
    random_state: options.RandomState = None,
    columns: options.Columns = None,
    exclude: options.Exclude = None,
    weight_column: options.WeightColumn = None,
    memory: options.Memory = "1GB",
    missing: options.MissingOrAsInFit = None,
    n_jobs: options.NJobs = None,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    csv: options.CsvReading,
) -> None:
    """Predict columns from others, by a mixture of both.

    With -k a regressor is fitted; -m names one to use.

    Example: fastgmm regress data.csv -k 4 --target-columns price -o prices.fgm
    """
    check_fit_or_model(n_components, model, "regressor")
    outputs = outputs_of(
        output,
        data,
        kind=None if n_components is None else "a regressor",
        force=force,
        as_json=as_json,
    )
    if outputs.table is not None:
        check_no_rows_dropped(missing, "--output")
    targets = options.split_columns(target_columns)
    if n_components is None:
        assert model is not None  # as was checked
        check_only_for_a_fit(context, _FOR_A_FIT)
        given = {} if n_jobs is None else {"n_jobs": n_jobs}
        used = load_for("regress", model, **given, **as_modeled(missing))
        regressor, joint = used.model, None
        if targets is not None:
            whole = LoadedModel(regressor.mixture_, names_of(regressor.mixture_))
            joint = open_rows(data, whole, memory=memory, missing=missing, csv=csv)
    else:
        if targets is None:
            raise ValueError("a fit needs what is to be predicted: name it, --target-columns")
        if columns is not None:
            columns = ",".join(dict.fromkeys([*columns.split(","), *targets]))
        source = open_for_fit(
            data,
            columns,
            options.split_columns(exclude),
            weight_column=weight_column,
            memory=memory,
            missing=missing or "error",
            csv=csv,
        )
        if outputs.table is not None and not source.replayable:
            raise ValueError("a table is of a second reading: give files, not a stream")
        joint = replayable(source, memory)
        # Loaded only now, so that errors are raised at once.
        from fastgmm import GaussianMixtureRegressor
        from fastgmm.cli.fit_with_progress import fit_with_progress

        regressor = GaussianMixtureRegressor(
            n_components,
            covariance_type=covariance_type,
            tol=tol,
            reg_covar=reg_covar,
            max_iter=max_iter,
            n_init=n_init,
            random_state=random_state,
            n_jobs=n_jobs,
            **as_modeled(missing),
        )
        fit_with_progress(regressor, joint, targets, quiet=quiet)
        if outputs.model is not None:
            regressor.save(outputs.model)
        used = LoadedModel(regressor, names_of(regressor))
    score = None if joint is None else regressor.score(joint, targets)
    rows = joint
    if outputs.table is not None or rows is None:
        rows = open_rows(data, used, memory=memory, missing=missing, csv=csv)
        names = regressor._targets.names or default_names(len(regressor.target_columns_))
        write_if_asked(outputs.table, _targets(regressor, rows, names))
    if outputs.table == STANDARD_OUTPUT:
        return  # which the table has for itself
    document = {
        **data_document(data, rows.n_samples, rows),
        "targets": regressor._targets.names,
        "n_components": regressor.mixture_.n_components,
        "r2": score,
        "output": outputs.table,
        "model": outputs.model,
    }
    pairs = {
        **data_pairs(rows.n_samples, rows),
        "targets": None if targets is None else name_list(targets, quoted=False),
        "mixture": f"{regressor.mixture_.n_components} components, "
        f"{regressor.mixture_.covariance_type}",
        "R²" if n_components is None else "training R²": None if score is None else f"{score:.4f}",
        "output": outputs.table,
        "model": outputs.model,
    }
    print_result(as_json, document, pairs)


def _targets(
    regressor: GaussianMixtureRegressor, rows: Source, names: Sequence[str]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the expected targets as a table, block by block."""
    for block in regressor.predict_blocks(rows):
        columns = block.reshape(len(block), -1).T
        yield dict(zip(names, columns, strict=True))
