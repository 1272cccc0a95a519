"""Filling in does not depend on how rows are stored, or on the number of threads."""

import numpy as np
import pytest

from fastgmm.data.opening import open_data
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.missing import imputation
from fastgmm.em.missing.imputation import impute_blocks
from tests.incomplete_rows import mixture, parameters_of, rows_of


@pytest.mark.parametrize("n_draws", [None, 3])
def test_arrays_files_and_threads_give_the_same_bits(n_draws, tmp_path, monkeypatch):
    monkeypatch.setattr(imputation, "_PIECE_BYTES", 1)  # pieces of 1024 rows
    truth = mixture(4, 3)
    parameters = parameters_of(*truth)
    X = rows_of(truth, 3000, 0.2)
    np.save(tmp_path / "rows.npy", np.asfortranarray(X))
    file = open_data(tmp_path / "rows.npy", missing="model", block_rows=2048)
    found = [
        np.concatenate(
            list(impute_blocks(source, parameters, n_draws=n_draws, seed=2, n_jobs=n_jobs)),
            axis=-2,
        )
        for source, n_jobs in ((ArraySource(X, incomplete=True), 1), (file, 2))
    ]
    assert not np.isnan(found[0]).any()
    np.testing.assert_array_equal(found[0], found[1])
    other = np.concatenate(list(impute_blocks(file, parameters, n_draws=n_draws, seed=3)), axis=-2)
    assert np.array_equal(other, found[0]) == (n_draws is None)


def test_rows_are_not_written_into():
    X = np.array([[1.0, np.nan], [3.0, 4.0]])
    kept = X.copy()
    parameters = parameters_of(*mixture(2, 1))
    (found,) = impute_blocks(ArraySource(X, incomplete=True), parameters)
    np.testing.assert_array_equal(X, kept)
    np.testing.assert_array_equal(found[1], X[1])
    (found,) = impute_blocks(ArraySource(X[1:]), parameters)
    found[:] = 0.0
    np.testing.assert_array_equal(X, kept)
