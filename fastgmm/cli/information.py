"""The command ``info``: what is in a file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastgmm.cli import options
from fastgmm.cli.models import MODEL_SUFFIX, LoadedModel, load_model, noise_of, objective_name
from fastgmm.cli.output import print_columns, print_json, print_pairs, write
from fastgmm.data.column_names import default_names

if TYPE_CHECKING:
    from fastgmm.data.summary import ColumnSummary

_MOST_MEANS = 8
"""Beyond so many features, means do not fit on a line, and only JSON has them."""


def info(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="A model, or data in files or folders.", show_default=False
        ),
    ],
    as_json: options.Json = False,
) -> None:
    """Describe a model, or the columns of data in one pass over them."""
    if len(files) == 1 and files[0].endswith(MODEL_SUFFIX):
        path = Path(files[0])
        _describe_model(path, load_model(path), as_json)
    else:
        from fastgmm.data.summary import summarise_columns  # which takes a while

        _describe_table(files, *summarise_columns(files), as_json)


def _describe_model(path: Path, stored: LoadedModel, as_json: bool) -> None:
    model, names = stored.mixture, stored.feature_names
    by_likelihood = hasattr(model, "bic")
    objective, noise = objective_name(model), noise_of(model)
    if as_json:
        fit = {
            objective.replace("-", "_") if by_likelihood else "lower_bound": "lower_bound_",
            "n_iter": "n_iter_",
            "converged": "converged_",
        }
        print_json(
            {
                "file": path,
                "type": type(model).__name__,
                "n_components": len(model.weights_),
                "n_features": model.n_features_in_,
                "covariance_type": model.covariance_type,
                **{name: getattr(model, attribute, None) for name, attribute in fit.items()},
                "feature_names": names,
                "weights": model.weights_,
                **noise,
                "means": model.means_,
                "covariances": model.covariances_,
            }
        )
        return
    told = {}
    if hasattr(model, "lower_bound_"):  # mixtures that were made from others have none
        end = "converged" if model.converged_ else "not converged"
        told = (
            {objective: f"{model.lower_bound_:.6f} nats a row"}
            if by_likelihood
            else {"lower bound": f"{model.lower_bound_:.6f} nats"}
        )
        told["end"] = f"{end} after {model.n_iter_} iterations"
    print_pairs(
        {
            "file": path,
            "model": f"{type(model).__name__}, {model.covariance_type}",
            "components": len(model.weights_),
            "features": model.n_features_in_,
            **told,
        }
    )
    titles = names or default_names(model.n_features_in_)
    shown = titles if len(titles) <= _MOST_MEANS else ()
    write(["\n"])
    print_columns(
        [
            ("component", "weight", *(f"mean {title}" for title in shown)),
            *(
                (str(k), f"{weight:.4f}", *(f"{value:.6g}" for value in mean[: len(shown)]))
                for k, (weight, mean) in enumerate(zip(model.weights_, model.means_, strict=True))
            ),
            *([("noise", f"{noise['noise_weight']:.4f}", *[""] * len(shown))] if noise else []),
        ]
    )


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
                    column.name,
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
