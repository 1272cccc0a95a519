"""The command ``impute``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastgmm.cli import options
from fastgmm.cli.models import load_mixture, open_rows
from fastgmm.cli.output import check_output, print_written, write_columns
from fastgmm.data.column_names import default_names
from fastgmm.data.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastgmm.data.passthrough_columns import CarriedColumns
    from fastgmm.data.source import Source


def impute(
    data: options.Data,
    model: options.ModelFile,
    output: options.TableOutput = None,
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
    quiet: options.Quiet = False,
    *,
    reading: options.Reading,
) -> None:
    """Impute missing values; columns that the model does not use are kept unchanged.

    In columns of integers, what is imputed is rounded to integers.

    Example: fastgmm impute lacking.csv -m model.fgm -o filled.csv
    """
    check_output(output, data)
    stored = load_mixture(model, missing="model", n_jobs=n_jobs, random_state=random_state)
    rows = open_rows(data, stored, reading)
    # Loaded only now, so that errors are raised at once.
    from fastgmm.cli.fit_with_progress import reading_progress
    from fastgmm.cli.passthrough import carried_columns, suffix_of

    names = rows.feature_names or stored.feature_names or default_names(rows.n_features)
    carried = carried_columns(rows, output)
    if (draws or 1) > 1 and _DRAW in (*names, *carried.names):
        raise ValueError(f"there is a column {_DRAW!r} already, which is to count the draws")
    integers = _Integers(rows, suffix_of(output))
    n_rows = 0

    def filled() -> Iterator[Mapping[str, Any]]:
        nonlocal n_rows
        for block in stored.model.impute_blocks(rows, draws):
            n_rows += block.shape[-2]
            yield _filled(block, names, carried, integers)

    with reading_progress(rows, quiet, output):
        write_columns(output, filled(), index=carried.index)
    print_written(output, f"{n_rows} rows{f', {draws} draws of each' if (draws or 1) > 1 else ''}")


_DRAW = "draw"
_EXACT = 2**53 - 1
"""The largest integer that float64 tells from its neighbors."""


class _Integers:
    """Features that hold integers, which they do after gaps are filled."""

    def __init__(self, rows: Source, suffix: str) -> None:
        from fastgmm.data.sources.file_source import FileSource

        self._types = rows.integer_types() if isinstance(rows, FileSource) else {}
        self.whole = rows.whole_features(self._types) if isinstance(rows, FileSource) else set()
        self._as_text = suffix == ".csv"

    def written(self, j: int, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Return a feature's values as they are to be written."""
        import numpy as np

        from fastgmm.data.sources.exactness import is_long_integer, reaches_rounding

        dtype = self._types.get(j)
        if is_long_integer(dtype) and reaches_rounding(values):
            raise DataError(
                f"column {name!r} holds integers of 2**53 and more, which float64 rounds: it can "
                "be no feature of a model; fit one without it, and it is passed through"
            )
        if dtype is not None and j in self.whole:
            limits = np.iinfo(np.int64 if dtype.kind == "b" else dtype)
            low, high = (0, 1) if dtype.kind == "b" else (limits.min, limits.max)
            return np.clip(np.round(values), max(low, -_EXACT), min(high, _EXACT)).astype(dtype)
        if dtype is None or not self._as_text:
            return values
        # What can be read only once may hold other numbers further on.
        texts = values.astype(object)
        whole = values == np.round(values)
        texts[whole] = values[whole].astype(np.int64)
        return texts


def _filled(
    block: NDArray[Any], names: Sequence[str], carried: CarriedColumns, integers: _Integers
) -> dict[str, NDArray[Any]]:
    """Return the columns of rows that were filled in, once or several times, and all others."""
    import numpy as np

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
