"""A fitted model and the rows to use it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastgmm.cli.options import FOR_A_FIT, FitReading, Reading, split_columns
from fastgmm.cli.output import STANDARD_OUTPUT, Outputs, print_result
from fastgmm.data.column_names import default_names, name_list, shown_name

if TYPE_CHECKING:
    import typer
    from numpy.typing import NDArray

    from fastgmm.data.options import MissingPolicy
    from fastgmm.data.source import Source
    from fastgmm.estimators.gaussian_mixture import GaussianMixture

Names = tuple[str, ...] | None
"""Names of columns, if they have any."""

_KINDS = {
    "classify": ("GaussianMixtureClassifier", "classifiers"),
    "detect": ("GaussianMixtureOutlierDetector", "outlier detectors"),
    "regress": ("GaussianMixtureRegressor", "regressors"),
}
"""The commands for models that are no mixtures: a model's class, and what it is called."""


class LoadedModel(NamedTuple):
    """A fitted model, which is given rows without names, and the names of its columns."""

    model: Any
    feature_names: Names


def load_any(path: Path) -> Any:
    """Load a fitted model of any kind."""
    from fastgmm.io import model_file

    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if model_file.load(path).model_class == "Checkpoint":
        raise ValueError(
            f"{str(path)!r} holds a checkpoint, and no model: continue its fit with  fastgmm fit "
            "--checkpoint … --resume -o"
        )
    # Loaded only now, so that errors are raised at once.
    from fastgmm import load

    return load(path)


def load_mixture(path: Path, **parameters: Any) -> LoadedModel:
    """Load a fitted mixture."""
    mixture = load_any(path)
    kind = type(mixture).__name__
    if not hasattr(mixture, "weights_"):
        use = "open it in Python with fastgmm.load"
        for command, (name, _) in _KINDS.items():
            use = f"use it with  fastgmm {command}" if kind == name else use
        raise ValueError(f"{str(path)!r} holds a {kind}, and this command uses mixtures: {use}")
    from fastgmm.estimators.shared.validation import missing_options  # loaded with the model

    if parameters.get("missing") == "model" and "model" not in missing_options(mixture):
        raise ValueError(
            f"{str(path)!r} holds a {kind}, which does not take rows that lack values: remove "
            "them, or fill them in"
        )
    return _without_names(mixture.set_params(**parameters))


def load_for(command: str, path: Path, **parameters: Any) -> LoadedModel:
    """Load a model of the kind that a command uses."""
    name, plural = _KINDS[command]
    model = load_any(path)
    if type(model).__name__ != name:
        raise ValueError(
            f"{str(path)!r} holds a {type(model).__name__}, and {command} uses {plural}: fit one "
            f"with  fastgmm {command} -k"
        )
    parts = [model.mixture_, model] if command == "detect" else [model]
    for each in parts:
        loaded = _without_names(each.set_params(**parameters))
    return loaded


def _without_names(model: Any) -> LoadedModel:
    """Return a model that has no names of columns any more, and the names."""
    names = names_of(model)
    vars(model).pop("feature_names_in_", None)
    return LoadedModel(model, names)


def names_of(model: Any) -> Names:
    """Return the names of the columns that a model was fitted to, if they had any."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(map(str, names))


def as_modeled(missing: MissingPolicy | None) -> dict[str, Any]:
    """Return the parameter of an estimator of rows that are opened with a policy."""
    return {} if missing is None else {"missing": "model" if missing == "model" else "error"}


def check_fit_or_model(
    context: typer.Context, model: Path | None, kind: str, for_a_fit: Sequence[str]
) -> bool:
    """Return whether a model is to be fitted, once the options fit together."""
    fits = context.params["n_components"] is not None
    if not fits and model is None:
        raise ValueError(f"give -k to fit a {kind}, or --model for an existing one")
    if fits and model is not None:
        raise ValueError(
            f"--model is a {kind} to use, and -k fits a new one: give one of them; to save what is "
            "fitted, give --output NAME.fgm"
        )
    given = () if fits else given_options(context)
    for name in (*for_a_fit, *FOR_A_FIT):
        if name in given:
            raise ValueError(f"--{name.replace('_', '-')} is for a fit: give -k, too")
    return fits


def given_options(context: typer.Context) -> set[str]:
    """Return the names of the parameters that do not have their defaults."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, found in sources.items() if found and found.name != "DEFAULT"}


def open_rows(
    paths: list[str],
    model: LoadedModel,
    reading: Reading,
    *,
    label_column: str | None = None,
    missing: MissingPolicy | None = None,
) -> Source:
    """Open the rows that a model is to be used on."""
    look_at(paths)
    from fastgmm.data.opening import open_data  # which takes a while

    if missing is None:
        missing = "model" if model.model.missing == "model" else "error"
    n_features, names = model.model.n_features_in_, model.feature_names
    opened = partial(
        open_data,
        paths,
        label_column=label_column,
        memory_budget=reading.memory,
        missing=missing,
        **reading.csv(),
    )
    source = opened(columns_if_named=names)
    without_names = source.feature_names is None and source.replayable
    if names and without_names and n_features < source.n_features:
        if_called_so = set(names) <= set(features_of(source))  # x0 and so on
        source = opened(columns=names) if if_called_so else source
    if label_column is not None:
        check_labels_can_be_read(source)
    if source.n_features != n_features:
        raise ValueError(
            f"{', '.join(map(repr, paths))}: there are {source.n_features} columns, and the model "
            f"was fitted to {n_features}"
        )
    return source


def open_for_fit(
    data: list[str],
    reading: FitReading,
    *,
    label_column: str | None = None,
    without: Sequence[str] = (),
    **others: Any,
) -> Source:
    """Open the rows that a model is to be fitted to, without columns that are no features."""
    if reading.columns is not None and reading.exclude is not None:
        raise ValueError("--columns names the columns to use, and --exclude others: give one")
    look_at(data)
    from fastgmm.data.opening import open_data

    source = open_data(
        data,
        columns=split_columns(reading.columns),
        exclude=[*without, *(split_columns(reading.exclude) or ())] or None,
        weight_column=reading.weight_column,
        label_column=label_column,
        memory_budget=reading.memory,
        **others,
        **reading.csv(),
    )
    if label_column is not None:
        check_labels_can_be_read(source)
    return source


def look_at(data: Sequence[str]) -> None:
    """Raise if a file that is named is not there, or is none of data, before anything is loaded."""
    from fastgmm.data.remote import is_url

    named = [name for name in data if name != "-" and not is_url(name)]
    for name in named:
        if not set("*?[:") & set(name) and not Path(name).exists():
            raise FileNotFoundError(f"there is no file {name!r}")
    if named and not any(Path(name).exists() and not Path(name).is_file() for name in named):
        from fastgmm.data.file_listing import find_files  # which takes a while

        find_files(named)


def features_of(rows: Source) -> tuple[str, ...]:
    """Return the names of the columns that are used, ``x0`` and so on if they have none."""
    return rows.feature_names or default_names(rows.n_features)


def data_pairs(n_samples: int | None, rows: Source) -> dict[str, object]:
    """Return the data, and which columns are used and which are not, as a summary prints them."""
    # A finished fit that is resumed need not look at the rows.
    counted = "" if n_samples is None else f"{n_samples} rows, "
    unused = [f"{shown_name(name)} ({why})" for name, why in rows.unused_columns.items()]
    return {
        "data": f"{counted}{rows.n_features} columns",
        "columns": name_list(features_of(rows), quoted=False),
        **({"left out": name_list(unused, quoted=False)} if unused else {}),
    }


def data_document(data: list[str], n_samples: int | None, rows: Source) -> dict[str, Any]:
    """Return the same for JSON, with all names; without, if the columns have none of their own."""
    named = {"columns": rows.feature_names, "unused_columns": dict(rows.unused_columns)}
    return {
        "data": data,
        "n_samples": n_samples,
        "n_features": rows.n_features,
        **({} if rows.feature_names is None else named),
    }


def print_fitted(
    as_json: bool,
    data: list[str],
    rows: Source,
    outputs: Outputs,
    *results: Mapping[str, object],
    n_samples: int | None = None,
) -> None:
    """Print a result, given for JSON and as text, between its data and the files it is in.

    Nothing is printed where a table has standard output for itself.
    """
    if outputs.table == STANDARD_OUTPUT:
        return
    count = rows.n_samples if n_samples is None else n_samples
    document, pairs = results
    files = {"output": outputs.table, "model": outputs.model}
    print_result(
        as_json,
        {**data_document(data, count, rows), **document, **files},
        {**data_pairs(count, rows), **pairs, **files},
    )


def check_labels_can_be_read(rows: Source) -> None:
    """Make sure that rows can be read for their labels and then once more."""
    if not rows.replayable:
        raise ValueError(
            "--label-column reads the data once for the labels alone: give files, not a stream"
        )


def replayable(source: Source, memory: str) -> Source:
    """Return rows that can be iterated over as often as batch EM needs."""
    if source.replayable:
        return source
    from fastgmm.data.options import ReadingOptions, bytes_of_memory
    from fastgmm.data.sources.spool import SpooledSource

    return SpooledSource(
        source,
        ReadingOptions(
            memory_budget=bytes_of_memory(memory),
            missing="model" if source.incomplete else "error",
        ),
    )


def component_columns(values: NDArray[Any], has_noise: bool) -> dict[str, NDArray[Any]]:
    """Return the columns of an array with one column for each component, under their names."""
    import numpy as np

    n_components = values.shape[1] - has_noise
    names = [f"component_{k}" for k in range(n_components)] + ["noise"] * has_noise
    return {name: np.ascontiguousarray(values[:, k]) for k, name in enumerate(names)}


def noise_of(mixture: GaussianMixture) -> dict[str, float]:
    """Return the weight of a mixture's noise and its volume's logarithm; nothing without noise."""
    attributes = vars(mixture)
    if "noise_weight_" not in attributes:
        return {}
    return {name: attributes[f"{name}_"] for name in ("noise_weight", "noise_log_volume")}


def objective_name(mixture: GaussianMixture) -> str:
    """Return what `lower_bound_` is called: with priors, their logarithm is part of it."""
    if type(mixture).__name__ == "BayesianGaussianMixture":
        return "lower bound"
    return "log-likelihood" if getattr(mixture, "priors", None) is None else "log-posterior"


def objective_value(mixture: GaussianMixture) -> str:
    """Return `lower_bound_` with its unit: a variational bound is one of all rows."""
    a_row = "" if objective_name(mixture) == "lower bound" else " a row"
    return f"{mixture.lower_bound_:.6f} nats{a_row}"
