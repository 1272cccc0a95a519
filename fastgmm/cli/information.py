"""The commands ``info`` and ``export``: what is in a file, and a model for other runtimes."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.models import (
    load_any,
    look_at,
    names_of,
    noise_of,
    objective_name,
    objective_value,
)
from fastgmm.cli.output import (
    MODEL_SUFFIX,
    kind_in,
    print_columns,
    print_json,
    print_pairs,
    print_result,
    write,
)
from fastgmm.data.column_names import default_names, name_list, shown_name
from fastgmm.io.model_file import HEADER

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
            metavar="FILE", help="A model file, or files or folders of data.", show_default=False
        ),
    ],
    as_json: options.Json = False,
    *,
    reading: options.Csv,
) -> None:
    """Describe a model, or the columns of a table in one pass over it.

    Example: fastgmm info model.fgm
    """
    if len(files) == 1 and _is_model(files[0]):
        reading.refuse_csv(f"{files[0]!r} is a model")
        path = Path(files[0])
        if kind_in(path) == "a checkpoint":
            _describe_checkpoint(path, as_json)
            return
        model = load_any(path)
        if hasattr(model, "weights_"):
            _describe_mixture(path, model, as_json)
        elif hasattr(model, "groups"):
            _describe_groups(path, model, as_json)
        else:
            _describe_owner(path, model, as_json)
    else:
        look_at(files)
        from fastgmm.data.options import csv_options
        from fastgmm.data.summary import summarize_columns  # which takes a while

        _describe_table(files, *summarize_columns(files, csv_options(**reading.csv())), as_json)


def _is_model(name: str) -> bool:
    """Say whether a file is a model or, under any name, a checkpoint."""
    if name.endswith(MODEL_SUFFIX) or not zipfile.is_zipfile(name):
        return name.endswith(MODEL_SUFFIX)
    with zipfile.ZipFile(name) as archive:
        return HEADER in archive.namelist()


def _describe_checkpoint(path: Path, as_json: bool) -> None:
    """Describe the fit that a checkpoint is of, and how far it is."""
    from fastgmm.io.model_file import load

    stored = load(path)
    fit, state = stored.values["made_of"], stored.values["state"]
    current = state.get("current") or {}
    known = state.get("candidates")
    document = {
        "file": path,
        "type": "Checkpoint",
        "of": fit["class"],
        "fastgmm": stored.library_version,
        "parameters": fit["parameters"],
        "data": fit["data"],
        "start": state.get("start"),
        "n_passes": state.get("n_passes", 0) + current.get("n_passes", 0),
        "trace": current.get("trace", []),
        "n_candidates": None if known is None else len(known),
    }
    names = [each["name"] for each in fit["data"].get("files", [])]
    trace = document["trace"]
    pairs = {
        "file": path,
        "checkpoint of": f"{fit['class']}, by fastgmm {stored.library_version}",
        "data": name_list(names, quoted=False) if names else fit["data"].get("kind"),
        "initialization": None if known is not None else document["start"],
        "passes": None if known is not None else document["n_passes"],
        "objective": f"{trace[-1]:.6f}" if trace else None,
        "candidates": document["n_candidates"],
    }
    print_result(as_json, document, pairs)


def _mixture_document(mixture: Any) -> dict[str, Any]:
    """Return the JSON document of a mixture."""
    fit = {
        objective_name(mixture).replace("-", "_").replace(" ", "_"): "lower_bound_",
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
        ended = {objective_name(mixture): objective_value(mixture)}
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
    if "target_columns" in learned:
        names = names_of(mixtures[0]) or default_names(len(mixtures[0].means_[0]))
        pairs["targets"] = ", ".join(names[i] for i in learned["target_columns"])
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


def _describe_groups(path: Path, mixtures: Any, as_json: bool) -> None:
    """Describe mixtures of groups of rows."""
    template = mixtures.template
    arrays = ("sizes", "log_likelihoods", "n_iter", "converged", "weights", "means", "covariances")
    document = {
        "file": path,
        "type": type(mixtures).__name__,
        "n_components": template.n_components,
        "n_features": template.n_features_in_,
        "covariance_type": template.covariance_type,
        "feature_names": names_of(template),
        "groups": mixtures.groups,
        **{name: getattr(mixtures, name) for name in arrays},
    }
    pairs = {
        "file": path,
        "model": f"{document['type']}, {template.covariance_type}",
        "groups": f"{len(mixtures)}: {name_list(list(map(str, mixtures.groups)), quoted=False)}",
        "components": f"{template.n_components} a group",
        "features": template.n_features_in_,
        "log-likelihood": f"{mixtures.log_likelihoods.sum():.6f} nats",
        "end": f"{mixtures.converged.sum()} converged",
    }
    print_result(as_json, document, pairs)


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


def export(
    model: options.ModelFile,
    onnx: Annotated[
        Path, options.option("File to write the ONNX graph to.", "--onnx", metavar="FILE.onnx")
    ],
    as_json: options.Json = False,
) -> None:
    """Export a mixture, a classifier or a detector to ONNX.

    Example: fastgmm export -m model.fgm --onnx model.onnx
    """
    from fastgmm.io.atomic_file import atomic_file, check_destination

    if onnx.suffix != ".onnx":
        raise ValueError(f"cannot write {str(onnx)!r}: its name must end in .onnx")
    check_destination(onnx)
    loaded = load_any(model)
    if hasattr(loaded, "groups"):
        raise ValueError(
            f"{str(model)!r} holds mixtures of {len(loaded)} groups: export the mixture of one, "
            "saved in Python as in  fastgmm.load(…).mixture(group).save(…)"
        )
    # Loaded only now, so that errors are raised at once.
    import numpy as np

    from fastgmm.extras import import_from_extra
    from fastgmm.onnx import register_converters

    register_converters()
    skl2onnx = import_from_extra(
        "skl2onnx", package="skl2onnx", extra="onnx", purpose="the export to ONNX"
    )
    graph = skl2onnx.to_onnx(loaded, np.zeros((1, loaded.n_features_in_)))
    with atomic_file(onnx) as file:
        file.write(graph.SerializeToString())
    names = [each.name for each in graph.graph.output]
    document = {"model": model, "onnx": onnx, "outputs": names}
    pairs = {"onnx": onnx, "input": f"{loaded.n_features_in_} columns", "outputs": ", ".join(names)}
    print_result(as_json, document, pairs)
