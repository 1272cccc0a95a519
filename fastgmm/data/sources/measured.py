"""Rows whose values have errors of known covariance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import DataError
from fastgmm.data.source import FloatArray, Source
from fastgmm.data.sources.annotated import AnnotatedRows
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.array_like import unmasked
from fastgmm.kernels.passes.error_pass import COVARIANCES, DEVIATIONS, VARIANCES

_CHECKED_ROWS = 2**16

_ROUNDING = 1e-9
"""How far below 0 an eigenvalue of a correlation matrix may be and still count as rounding."""


class MeasuredRows(AnnotatedRows):
    """Rows that are values plus errors, of which each row's covariance, or that of all, is known.

    Attributes
    ----------
    rows : Source
        The rows, each followed by numbers that say its errors; without these for a `common`
        covariance.
    form : int or None
        What these are: `DEVIATIONS`, `VARIANCES` or `COVARIANCES`; None for a `common` one.
    common : ndarray of shape (n_features, n_features) or (n_features,) or None
        The covariance, or the variances, of the errors of all rows.
    """

    def __init__(
        self,
        rows: Source,
        n_features: int,
        form: int | None = None,
        common: FloatArray | None = None,
    ) -> None:
        super().__init__(rows, n_features, form=form, common=common)
        self.form, self.common = form, common

    def covariances(self, X: npt.NDArray[Any]) -> FloatArray:
        """Return the covariances of the errors of some rows of a block, 0 where values lack."""
        n, D = len(X), self.n_features
        errors = X[:, D:].astype(np.float64)
        found = np.zeros((n, D, D))
        if self.common is not None:
            found[:] = self.common if self.common.ndim == 2 else np.diag(self.common)
        elif self.form == COVARIANCES:
            i, j = np.tril_indices(D)
            found[:, i, j] = found[:, j, i] = errors
        else:
            np.einsum("nii->ni", found)[:] = errors**2 if self.form == DEVIATIONS else errors
        lacking = np.isnan(X[:, :D])
        found[lacking[:, :, None] | lacking[:, None, :]] = 0.0
        return found

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""
        common = None if self.common is None else self.common.tolist()
        return {
            "kind": "measured rows",
            "form": self.form,
            "common": common,
            "of": self.rows.fingerprint(),
        }

    def _check(self, X: npt.NDArray[Any], n_before: int) -> None:
        """Raise if a standard deviation is none, and say which."""
        if self.form != DEVIATIONS:
            return
        D = self.n_features
        wrong = ~((X[:, D:] >= 0.0) & (X[:, D:] < np.inf)) & ~np.isnan(X[:, :D])
        if wrong.any():
            row, j = map(int, np.argwhere(wrong)[0])
            name = f"error column {self.annotation_names[j]!r}"
            raise DataError(
                f"{name} holds {X[row, D + j]:g} in row {n_before + row}, counted from 0: standard "
                "deviations must be finite and at least 0"
            )


def with_error_covariance(source: Source, error_covariance: npt.ArrayLike) -> MeasuredRows:
    """Return rows that are measured with errors of given covariances, one for all or for each."""
    if isinstance(source, MeasuredRows):
        raise ValueError("X brings errors of its own: give no error_covariance beside them")
    if isinstance(source, AnnotatedRows):
        raise ValueError("censored and error_covariance do not go together: leave out one of them")
    given = numbers_of("error_covariance", error_covariance)
    D = source.n_features
    if given.shape in ((D,), (1, D), (1, D, D)):
        given = given.reshape(given.shape[given.ndim - 1 :] if given.ndim < 3 else (D, D))
        return _with_common(source, given)
    if not isinstance(source, ArraySource) and given.shape != (D, D):
        raise ValueError(
            "rows that are not in memory take their errors from columns: name them, as in "
            "open_data(path, columns=['x'], error_columns=['x_error'])"
        )
    left_out = source.left_out
    n_rows = source.n_samples if left_out is None else len(left_out)
    if given.shape == (D, D) and n_rows == D:
        raise ValueError(
            f"error_covariance of shape {given.shape} may be variances of each of the {D} rows or "
            f"one covariance for all: give an array of shape {(D, D, D)} or {(1, D, D)}"
        )
    if given.shape == (D, D):
        return _with_common(source, given)
    if given.shape not in ((n_rows, D), (n_rows, D, D)):
        raise ValueError(
            f"error_covariance must have shape {(n_rows, D)} or {(n_rows, D, D)}, variances or "
            f"covariances of the errors of each row, or {(D,)} or {(D, D)} for all rows; got "
            f"{given.shape}"
        )
    assert isinstance(source, ArraySource)  # as checked above
    if left_out is not None:
        given = given[~left_out]
    missing = np.isnan(source.X)
    _check_errors(given, missing, left_out)
    form = VARIANCES
    if given.ndim == 3:
        form = COVARIANCES
        lower = np.tril_indices(D)
        given = given[:, lower[0], lower[1]]
        missing = missing[:, lower[0]] | missing[:, lower[1]]
    given = np.where(missing, np.nan, given)  # so that nothing of an empty row is a number
    found = MeasuredRows(source.widened(given), D, form)
    found.feature_names = source.feature_names
    return found


def _with_common(source: Source, covariance: FloatArray) -> MeasuredRows:
    """Return rows whose errors have one covariance."""
    D = source.n_features
    _check_errors(covariance[None], np.zeros((1, D), bool), None)
    return MeasuredRows(source, D, common=covariance.astype(np.float64))


def numbers_of(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return what was given beside rows as an array, of single precision if it is one."""
    given = unmasked(values)
    single = getattr(getattr(given, "dtype", None), "char", None) == "f"
    try:
        return np.asarray(given, dtype=np.float32 if single else np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers: {error}") from error


def _check_errors(
    given: FloatArray,
    missing: npt.NDArray[np.bool_],
    left_out: npt.NDArray[np.bool_] | None,
) -> None:
    """Raise if variances are negative or covariances not positive semidefinite, and say where.

    What belongs to a missing value is not looked at.
    """
    for first in range(0, len(given), _CHECKED_ROWS):
        here = slice(first, first + _CHECKED_ROWS)
        some, lacking = given[here].astype(np.float64), missing[here]
        variances = some if some.ndim == 2 else np.einsum("nii->ni", some)
        wrong = ~((variances >= 0.0) & (variances < np.inf)) & ~lacking
        what = "variances must be finite and at least 0"
        rows = wrong.any(axis=1)
        if some.ndim == 3 and not rows.any():
            rows = _indefinite(some, lacking)
            what = "covariances must be symmetric and positive semidefinite"
        if rows.any():
            row = int(rows.argmax())
            number = (
                row + first if left_out is None else int(np.flatnonzero(~left_out)[row + first])
            )
            held = f"{variances[row][wrong[row]][0]:g}" if wrong.any() else str(some[row].tolist())
            raise ValueError(
                f"error_covariance holds {held} in row {number}, counted from 0: {what}"
            )


def _indefinite(covariances: FloatArray, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which of some matrices are no covariances."""
    D = covariances.shape[1]
    both = ~missing[:, :, None] & ~missing[:, None, :]
    found = np.where(both, covariances, 0.0)
    deviations = np.sqrt(np.einsum("nii->ni", found))
    units = np.where(deviations > 0.0, deviations, 1.0)
    correlations = found / units[:, :, None] / units[:, None, :]
    mirrored = correlations.swapaxes(1, 2)
    asymmetric = ~(np.abs(correlations - mirrored) <= _ROUNDING).reshape(-1, D * D).all(axis=1)
    if asymmetric.any():
        return np.asarray(asymmetric)
    # Where a variance is 0, a covariance that is not makes the factorization fail.
    try:
        np.linalg.cholesky(correlations + _ROUNDING * np.eye(D))
    except np.linalg.LinAlgError:
        wrong: npt.NDArray[np.bool_] = np.linalg.eigvalsh(correlations)[:, 0] < -_ROUNDING
        return wrong
    return np.zeros(len(found), bool)
