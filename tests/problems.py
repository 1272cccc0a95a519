"""Data sets that make a mixture fit hard in one way each.

Each problem is a pytest id: ``@pytest.mark.parametrize("problem", PROBLEMS, ids=str)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Problem:
    """A data set and what is known about it.

    Attributes
    ----------
    name : str
        The id.
    X : ndarray of shape (n_samples, n_features)
        The rows.
    n_components : int
        Number of components to fit.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the rows.
    labels : ndarray of shape (n_samples,) or None
        Where components are so far apart that every responsibility is 0 or 1 to rounding: which
        one. The fit is then that of the groups, exactly.
    degenerate : bool
        Whether some component ends up without points, or in some direction with less spread
        than the square root of scikit-learn's default `reg_covar`.
    """

    name: str
    X: np.ndarray = field(repr=False)
    n_components: int
    sample_weight: np.ndarray | None = field(default=None, repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)
    degenerate: bool = False

    def __str__(self) -> str:
        return self.name


def _groups(n_features=3, n_components=3, separation=100.0, sizes=(60, 90, 120), seed=0):
    """Return rows in groups of unit variance along the diagonal, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_components), sizes[:n_components])
    X = rng.normal(size=(len(labels), n_features)) + separation * labels[:, None]
    order = rng.permutation(len(labels))
    return X[order], labels[order]


def _separated():
    X, labels = _groups()
    return Problem("separated", X, 3, labels=labels)


def _overlapping():
    X, _ = _groups(separation=1.5)
    return Problem("overlapping", X, 3)


def _anisotropic():
    rng = np.random.default_rng(1)
    X, _ = _groups(separation=4.0)
    return Problem("anisotropic", X @ rng.normal(size=(3, 3)) * [1.0, 30.0, 0.1], 3)


def _collapsed():
    rng = np.random.default_rng(2)
    X = np.vstack(
        [rng.normal(size=(80, 2)), np.column_stack([np.full(40, 9.0), rng.normal(size=40)])]
    )
    return Problem("collapsed", X, 2, degenerate=True)


def _moved(name, offset, factor):
    X, labels = _groups()
    return Problem(name, X * factor + offset, 3, labels=labels)


def _duplicate_rows():
    distinct = np.array([[0.0, 0.0], [4.0, 1.0], [8.0, -3.0]])
    return Problem("duplicate_rows", np.repeat(distinct, 20, axis=0), 5, degenerate=True)


def _near_singular():
    X, _ = _groups(separation=5.0)
    rng = np.random.default_rng(3)
    X[:, 2] = X[:, 0] + X[:, 1] + 1e-5 * rng.normal(size=len(X))
    return Problem("near_singular", X, 3, degenerate=True)


def _one_point_component():
    rng = np.random.default_rng(4)
    X = np.vstack([rng.normal(size=(100, 2)), [[60.0, -60.0]]])
    return Problem("one_point_component", X, 2, degenerate=True)


def _single_component():
    X, _ = _groups(separation=2.0)
    return Problem("single_component", X, 1, labels=np.zeros(len(X), dtype=np.int64))


def _single_feature():
    X, labels = _groups(n_features=1)
    return Problem("single_feature", X, 3, labels=labels)


def _constant_feature():
    X, labels = _groups(n_features=2)
    return Problem("constant_feature", np.column_stack([X, np.full(len(X), 7.3)]), 3, labels=labels)


def _wide():
    X, labels = _groups(n_features=20, n_components=2, sizes=(6, 9))
    return Problem("wide", X, 2, labels=labels, degenerate=True)


def _single_precision():
    X, labels = _groups(separation=50.0)
    return Problem("single_precision_offset_1e4", (X + 1e4).astype(np.float32), 3, labels=labels)


def _weighted():
    X, _ = _groups(separation=3.0)
    weights = np.random.default_rng(5).integers(0, 4, size=len(X)).astype(np.float64)
    return Problem("weighted", X, 3, sample_weight=weights)


_MAKERS: tuple[Callable[[], Problem], ...] = (
    _separated,
    _overlapping,
    _anisotropic,
    _collapsed,
    lambda: _moved("shifted_1e8", 1e8, 1.0),
    lambda: _moved("tiny_scale_1e-4", 0.0, 1e-4),
    lambda: _moved("tiny_scale_1e-150", 0.0, 1e-150),
    lambda: _moved("huge_scale_1e150", 0.0, 1e150),
    _duplicate_rows,
    _near_singular,
    _one_point_component,
    _single_component,
    _single_feature,
    _constant_feature,
    _wide,
    _single_precision,
    _weighted,
)

PROBLEMS: tuple[Problem, ...] = tuple(maker() for maker in _MAKERS)


def problem(name: str) -> Problem:
    """Return the problem of a name."""
    return next(each for each in PROBLEMS if each.name == name)
