"""The command ``info``: what is in a file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.models import MODEL_SUFFIX, load_any, names_of, noise_of, objective_name
from fastgmm.cli.output import print_columns, print_json, print_pairs, write
from fastgmm.data.column_names import default_names, shown_name

if TYPE_CHECKING:
    from fastgmm.data.summary import ColumnSummary

_MOST_MEANS = 8
"""Beyond so many features, means do not fit on a line, and only JSON has them."""

_LEARNED = {
    "threshold": "offset_",
    "classes": "classes_",
    "class_prior": "class_prior_",
    "structure_shares": "structure_shares_",
    "temperature": "temperature_",
    "reject_below": "reject_below_",
    "target_columns": "target_columns_",
}
"""What detectors, classifiers and regressors have learned besides mixtures."""


def info(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="A model file, or files or folders of data.", show_default=False
        ),
    ],
    as_json: options.Json = False,
    *,
    csv: options.CsvReading,
) -> None:
    """Describe a model, or the columns of a table in one pass over it."""
    if len(files) == 1 and files[0].endswith(MODEL_SUFFIX):
        options.refuse_csv_options(csv, f"{files[0]!r} is a model")
        path = Path(files[0])
        model = load_any(path)
        describe = _describe_mixture if hasattr(model, "weights_") else _describe_owner
        describe(path, model, as_json)
    else:
        from fastgmm.data.options import csv_options
        from fastgmm.data.summary import summarize_columns  # which takes a while

        _describe_table(files, *summarize_columns(files, csv_options(**csv)), as_json)


def _mixture_document(mixture: Any) -> dict[str, Any]:
    """Return the JSON document of a mixture."""
    of_likelihood = objective_name(mixture).replace("-", "_")
    fit = {
        of_likelihood if hasattr(mixture, "bic") else "lower_bound": "lower_bound_",
        "n_iter": "n_iter_",
        "converged": "converged_",
    }
    return {
        "type": type(mixture).__name__,
        "n_components": len(mixture.weights_),
        "n_features": mixture.n_features_in_,
        "covariance_type": mixture.covariance_type,
        **{name: getattr(mixture, attribute, None) for name, attribute in fit.items()},
        "feature_names": names_of(mixture),
        "weights": mixture.weights_,
        **noise_of(mixture),
        "means": mixture.means_,
        "covariances": mixture.covariances_,
    }


def _describe_mixture(path: Path, mixture: Any, as_json: bool) -> None:
    if as_json:
        print_json({"file": path, **_mixture_document(mixture)})
        return
    ended = {}
    if hasattr(mixture, "lower_bound_"):  # mixtures that were made from others have none
        end = "converged" if mixture.converged_ else "not converged"
        ended = (
            {objective_name(mixture): f"{mixture.lower_bound_:.6f} nats a row"}
            if hasattr(mixture, "bic")
            else {"lower bound": f"{mixture.lower_bound_:.6f} nats"}
        )
        ended["end"] = f"{end} after {mixture.n_iter_} iterations"
    print_pairs(
        {
            "file": path,
            "model": f"{type(mixture).__name__}, {mixture.covariance_type}",
            "components": len(mixture.weights_),
            "features": mixture.n_features_in_,
            **ended,
        }
    )
    write(["\n"])
    _print_components(mixture)


def _print_components(mixture: Any) -> None:
    titles = names_of(mixture) or default_names(mixture.n_features_in_)
    shown = titles if len(titles) <= _MOST_MEANS else ()
    noise = noise_of(mixture)
    print_columns(
        [
            ("component", "weight", *(f"mean {shown_name(title)}" for title in shown)),
            *(
                (str(k), f"{weight:.4f}", *(f"{value:.6g}" for value in mean[: len(shown)]))
                for k, (weight, mean) in enumerate(
                    zip(mixture.weights_, mixture.means_, strict=True)
                )
            ),
            *([("noise", f"{noise['noise_weight']:.4f}", *[""] * len(shown))] if noise else []),
        ]
    )


def _describe_owner(path: Path, model: Any, as_json: bool) -> None:
    """Describe a model that consists of one mixture, or of one for each class."""
    kind, classes = type(model).__name__, getattr(model, "classes_", None)
    mixtures = model.mixtures_ if classes is not None else [model.mixture_]
    learned = {
        name: getattr(model, attribute)
        for name, attribute in _LEARNED.items()
        if hasattr(model, attribute)
    }
    if as_json:
        print_json(
            {
                "file": path,
                "type": kind,
                "n_features": model.n_features_in_,
                "feature_names": names_of(model),
                **learned,
                "mixtures": [_mixture_document(mixture) for mixture in mixtures],
            }
        )
        return
    pairs: dict[str, Any] = {"file": path, "model": kind, "features": model.n_features_in_}
    if "threshold" in learned:
        pairs["threshold"] = f"log-density {learned['threshold']:.6f}"
    if classes is not None:
        pairs["classes"] = ", ".join(
            f"{name} ({prior:.1%})" for name, prior in zip(classes, model.class_prior_, strict=True)
        )
    print_pairs(pairs)
    for i, mixture in enumerate(mixtures):
        what = "mixture" if classes is None else f"class {classes[i]}"
        write([f"\n{what}, {mixture.covariance_type}\n"])
        _print_components(mixture)


def _describe_table(
    files: list[str], n_samples: int, columns: tuple[ColumnSummary, ...], as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "files": files,
                "n_samples": n_samples,
                "columns": [
                    {field.name: getattr(column, field.name) for field in fields(column)}
                    for column in columns
                ],
            }
        )
        return
    print_pairs({"file": ", ".join(files), "rows": n_samples, "columns": len(columns)})
    write(["\n"])
    print_columns(
        [
            ("column", "type", "missing", "minimum", "mean", "maximum"),
            *(
                (
                    shown_name(column.name),
                    column.type,
                    str(column.n_missing),
                    _number(column.minimum),
                    _number(column.mean),
                    _number(column.maximum),
                )
                for column in columns
            ),
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
