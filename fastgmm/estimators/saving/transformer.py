"""Transformers to and from model files."""

from __future__ import annotations

from os import PathLike, fspath

from fastgmm.estimators.saving.owner_storage import plain_owner, restored_owner
from fastgmm.estimators.transformer import GaussianMixtureTransformer
from fastgmm.io import model_file as persistence
from fastgmm.io.model_file import StoredModel


def save_transformer(transformer: GaussianMixtureTransformer, path: str | PathLike[str]) -> None:
    """Write a fitted transformer to a model file, whole or not at all.

    Parameters
    ----------
    transformer : GaussianMixtureTransformer
        The transformer. A `random_state` that is a generator is written as None.
    path : str or path
        Where to write.

    Raises
    ------
    NotFittedError
        If the transformer is not fitted.
    OSError
        If the file cannot be written.
    """
    values, arrays = plain_owner(transformer)
    persistence.save(fspath(path), GaussianMixtureTransformer.__name__, values, arrays)


def restored_transformer(stored: StoredModel) -> GaussianMixtureTransformer:
    """Return the transformer that a file holds, after checking that its parts belong together.

    Parameters
    ----------
    stored : StoredModel
        What the file holds.

    Returns
    -------
    GaussianMixtureTransformer
        The transformer.

    Raises
    ------
    KeyError, TypeError or ValueError
        If they do not.
    """
    return restored_owner(GaussianMixtureTransformer, stored, dict(stored.arrays))
