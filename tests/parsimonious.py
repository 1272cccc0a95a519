"""Problems for the fourteen covariance structures, and what mclust makes of them.

The values are in `tests/reference/parsimonious_structures.json`; the script beside it has the same
formulas for rows, responsibilities and labels.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import ndtri

REFERENCE = Path(__file__).parent / "reference"

MODELS = (
    *("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE"),
    *("VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"),
)
"""mclust's names of the structures for any number of features."""


@cache
def reference_values():
    """Return all values of mclust's, as they are in the file."""
    return json.loads((REFERENCE / "parsimonious_structures.json").read_text())


def rows(problem, n_components):
    """Return the rows of a problem, and the labels that a fit begins with."""
    if problem.startswith("synthetic_"):
        return _synthetic(n_components, int(problem.removeprefix("synthetic_")))
    table = np.genfromtxt(REFERENCE / f"{problem}.csv", delimiter=",", dtype=str)
    features = table[0] != "class"
    X = np.ascontiguousarray(table[1:, features].astype(np.float64))
    ranks = np.argsort(np.argsort(X[:, 0], kind="stable"), kind="stable")
    return X, n_components * ranks // len(X)


def responsibilities(labels, n_components):
    i = np.arange(1, len(labels) + 1)[:, None]
    k = np.arange(1, n_components + 1)
    shares = 0.3 * (i * k * np.sqrt(3.0) % 1.0) + (labels[:, None] == k - 1)
    return shares / shares.sum(axis=1, keepdims=True)


def _synthetic(n_components, n_features):
    component = np.repeat(np.arange(1, n_components + 1), 20 * np.arange(1, n_components + 1))
    i = np.arange(1, len(component) + 1)
    primes = np.array([2, 3, 5, 7, 11, 13, 17])[:n_features]
    e = ndtri((0.5 + i[:, None] * np.sqrt(primes)) % 1.0)
    j = np.arange(1, n_features + 1)
    width = (1.0 + 0.5 * component[:, None]) * (1.0 + (j + component[:, None]) % 3)
    signs = np.where(j * component[:, None] % 2 == 0, 1.0, -1.0)
    X = width * (e + 0.5 * np.roll(e, -1, axis=1)) + 6.0 * component[:, None] * signs
    return X, component - 1
