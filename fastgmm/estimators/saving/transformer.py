"""Transformers to and from model files."""

from __future__ import annotations

from os import PathLike, fspath

from fastgmm.estimators.saving.owner_storage import plain_owner, restored_owner
from fastgmm.estimators.transformer import GaussianMixtureTransformer
from fastgmm.io import model_file as persistence
from fastgmm.io.model_file import StoredModel


def save_transformer(transformer: GaussianMixtureTransformer, path: str | PathLike[str]) -> None:
    """Write a fitted transformer to a model file, whole or not at all."""
    values, arrays = plain_owner(transformer)
    persistence.save(fspath(path), GaussianMixtureTransformer.__name__, values, arrays)


def restored_transformer(stored: StoredModel) -> GaussianMixtureTransformer:
    """Return the transformer that a file holds, after checking that its parts belong together."""
    return restored_owner(GaussianMixtureTransformer, stored, dict(stored.arrays))
