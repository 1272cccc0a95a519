"""Imputation of missing values with a fitted mixture."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import cast

import numpy as np
from sklearn.utils import check_random_state

from fastgmm.em.missing import imputation
from fastgmm.estimators.shared.evaluation import FloatingArray, MixtureEvaluation, Rows


class Imputation(MixtureEvaluation):
    """Imputation of missing values, given the observed values of each row."""

    def impute(self, X: Rows, n_draws: int | None = None) -> FloatingArray:
        """Return the rows with missing values imputed.

        Given the observed values of a row, the missing values follow a mixture of Gaussians,
        whatever `missing` was when the mixture was fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows, NaN where a value is missing.
        n_draws : int, default=None
            Number of random draws of the missing values from that mixture, with `random_state`;
            None for its mean. Means are the best single guess of each value but vary less than the
            values do. Draws vary as much, and the differences between them show what is not known.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_draws, n_samples, n_features)
            The rows, in their dtype. What is observed stays as it is.

        Raises
        ------
        ValueError
            If the rows are not possible, or `n_draws` is less than 1.
        """
        blocks = list(self.impute_blocks(X, n_draws))
        return cast(FloatingArray, np.concatenate(blocks, axis=-2))

    def impute_blocks(self, X: Rows, n_draws: int | None = None) -> Iterator[FloatingArray]:
        """Yield what `impute` returns, block by block, for rows that do not fit in memory.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
            The rows. They are read once, while the blocks are consumed.
        n_draws : int, default=None
            As for `impute`.

        Yields
        ------
        ndarray of shape (n_rows, n_features) or (n_draws, n_rows, n_features)
            The next rows.
        """
        if n_draws is not None and (not isinstance(n_draws, Integral) or n_draws < 1):
            raise ValueError(f"n_draws must be None or a number from 1 on; got {n_draws!r}")
        source, parameters = self._evaluated(X, missing="model")
        return imputation.impute_blocks(
            source,
            parameters,
            n_draws=n_draws,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            n_jobs=self.n_jobs,
        )
