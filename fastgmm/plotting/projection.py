"""Projection of a mixture, and rows, onto some of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.mixture.marginals import marginal
from fastgmm.mixture.parameters import MixtureParameters

FloatArray = npt.NDArray[np.float64]
Columns = Sequence[int | str]

_LARGEST_DRAWN = 1e100


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A mixture seen in some of its columns, and rows in the same ones.

    Attributes
    ----------
    parameters : MixtureParameters
        The marginal mixture of the columns. Of a mixture with noise these are the Gaussian
        components, with weights that sum to less than 1.
    names : tuple of str
        Names of the columns.
    rows : ndarray of shape (n_rows, n_columns) or None
        The rows, if any are drawn.
    labels : ndarray of int of shape (n_rows,) or None
        The component of each row, found from all columns; -1 for noise.
    uncertainties : ndarray of shape (n_rows,) or None
        How probable it is that a row comes from another component than its label says.
    """

    parameters: MixtureParameters
    names: tuple[str, ...]
    rows: FloatArray | None = None
    labels: npt.NDArray[np.int64] | None = None
    uncertainties: FloatArray | None = None

    def of(self, columns: Sequence[int]) -> Projection:
        """Return the projection to some of these columns.

        Parameters
        ----------
        columns : sequence of int
            Their numbers here.

        Returns
        -------
        Projection
            The projection.
        """
        kept = np.asarray(columns, dtype=np.intp)
        return Projection(
            marginal(self.parameters, kept),
            tuple(self.names[column] for column in kept),
            None if self.rows is None else self.rows[:, kept],
            self.labels,
            self.uncertainties,
        )


def project(
    estimator: Any,
    X: Any,
    columns: Columns | None,
    *,
    at_most: int,
    with_uncertainties: bool = False,
) -> Projection:
    """Return the projection of a fitted estimator to draw."""
    from fastgmm.data.column_names import default_names
    from fastgmm.estimators.shared.attributes import check_gaussian, components_from_attributes
    from fastgmm.estimators.shared.validation import check_source

    mixture = fitted_mixture(estimator)
    check_gaussian(mixture, "a plot of components")
    parameters = components_from_attributes(mixture)
    names = tuple(getattr(mixture, "feature_names_in_", default_names(parameters.n_features)))
    chosen = _column_numbers(columns, names, at_most)
    drawn = Projection(parameters, names).of(chosen)
    _check_size(drawn.parameters.means, drawn.names)
    if X is None:
        return drawn
    source = check_source(mixture, X)
    labels = mixture.predict(source)
    uncertainties = None
    if with_uncertainties:
        uncertainties = np.concatenate(
            [1.0 - block.max(axis=1) for block in mixture.predict_proba_blocks(source)]
        ).astype(np.float64)
    rows = np.concatenate([block.X[:, chosen].astype(np.float64) for block in source.blocks()])
    _check_size(rows, drawn.names)
    return Projection(drawn.parameters, drawn.names, rows, labels, uncertainties)


def _check_size(values: FloatArray, names: Sequence[str]) -> None:
    """Raise if values are so large that matplotlib cannot lay out an axis for them."""
    for name, largest in zip(names, np.nanmax(np.abs(values), axis=0, initial=0.0), strict=True):
        if largest > _LARGEST_DRAWN:
            raise ValueError(
                f"cannot draw column {name!r}, whose values reach {largest:g}: divide the data by "
                "a constant, and fit again"
            )


def fitted_mixture(estimator: Any) -> Any:
    """Return the fitted mixture that an estimator is or holds."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    for name in ("mixture_", "best_estimator_"):
        estimator = getattr(estimator, name, estimator)
    if not hasattr(estimator, "means_") or not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"there is no mixture to draw in a {type(estimator).__name__}: give a fitted mixture, "
            "outlier detector or MixtureSearch"
        )
    return estimator


def _column_numbers(columns: Columns | None, names: tuple[str, ...], at_most: int) -> list[int]:
    """Return the numbers of the columns to draw."""
    if columns is None:
        return list(range(min(len(names), at_most)))
    given = [columns] if isinstance(columns, str | int) else list(columns)
    numbers: list[int] = []
    for column in given:
        if column in names:
            numbers.append(names.index(str(column)))
        elif not isinstance(column, str) and -len(names) <= column < len(names):
            numbers.append(int(column) % len(names))
        else:
            raise ValueError(
                f"there is no column {column!r} to draw: the mixture has {len(names)} columns, "
                f"{', '.join(names[:20])}{', …' * (len(names) > 20)}"
            )
    if not 1 <= len(numbers) <= at_most or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"columns must name 1 to {min(at_most, len(names))} different columns; got {columns!r}"
        )
    return numbers
