"""The cases that are measured, and the arithmetic that each of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Task = Literal["pass", "scoring", "k-means", "fit"]
Structure = Literal["full", "diag"]

# Typical distance between two component means, in standard deviations.
SEPARATIONS = {"overlapping": 2.0, "separated": 12.0}
QUICK_DIVISOR = 20
QUICK_MIN_SAMPLES = 5_000


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the benchmark."""

    task: Task
    """An EM pass (E-step and M-step), the log-density of every row, a pass of Lloyd's algorithm, or
    a whole fit by the estimator.
    """
    structure: Structure  # covariance structure; k-means has none and says ``"diag"``
    n_samples: int  # the size: rows, columns and components
    n_features: int  # the size: rows, columns and components
    n_components: int  # the size: rows, columns and components
    dtype: str = "float64"  # type of the data
    overlap: str = "overlapping"
    """How far the components of the generated data lie apart, see `SEPARATIONS`."""
    n_passes: int = 3  # passes from the common start, the same for all

    @property
    def identifier(self) -> str:
        """Name of the case, by which it is selected and found again."""
        parts = [
            self.task,
            self.structure,
            f"{short_count(self.n_samples)}x{self.n_features}",
            f"K{self.n_components}",
            self.dtype,
        ]
        if self.task == "k-means":
            del parts[1]
        if self.overlap != "overlapping":
            parts.append(self.overlap)
        return "/".join(parts)

    @property
    def flops(self) -> int:
        """Useful floating-point operations of one pass; 0 of a whole fit, which is not counted.

        Full covariances: a triangular product and a symmetric rank-one update of D(D+1)
        operations each, for every row and component. Diagonal: two multiply-adds a feature for
        the quadratic form, two for the moments. k-means: one multiply-add a feature.
        Exponentials, logarithms and comparisons are not counted.
        """
        cells = self.n_samples * self.n_components
        D = self.n_features
        if self.task == "pass":
            return cells * (2 * D * (D + 1) if self.structure == "full" else 8 * D)
        if self.task == "scoring":
            return cells * (D * (D + 1) if self.structure == "full" else 4 * D)
        if self.task == "k-means":
            return cells * 2 * D
        return 0


def short_count(count: int) -> str:
    """Write a count of rows as it is spoken of: 2000000 as ``2M``, 500000 as ``500k``."""
    for factor, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= factor and count % factor == 0:
            return f"{count // factor}{letter}"
    return str(count)


FULL_SIZES = (
    (1_000_000, 2, 8),
    (2_000_000, 3, 8),
    (1_000_000, 8, 16),
    (500_000, 16, 32),
    (200_000, 32, 64),
    (100_000, 64, 32),
    (40_000, 128, 16),
    (10_000, 512, 4),
)

FULL_GRID: tuple[Case, ...] = (
    *(Case("pass", "full", *size) for size in FULL_SIZES),
    *(Case("pass", "full", *size, dtype="float32") for size in FULL_SIZES),
    Case("pass", "diag", 1_000_000, 16, 64),
    Case("pass", "diag", 1_000_000, 16, 64, dtype="float32"),
    Case("pass", "full", 1_000_000, 8, 16, overlap="separated"),
    Case("scoring", "full", 1_000_000, 8, 16),
    Case("k-means", "diag", 1_000_000, 8, 16),
)


def quick_grid(cases: Sequence[Case] = FULL_GRID) -> tuple[Case, ...]:
    """Return each kind of case on a twentieth of the rows; float32 and separation but once."""
    return tuple(
        replace(
            case,
            n_samples=max(case.n_samples // QUICK_DIVISOR, min(case.n_samples, QUICK_MIN_SAMPLES)),
        )
        for case in cases
        if case.dtype == "float64" or (case.structure == "full" and case.n_features == 8)
    )


def select(cases: Sequence[Case], words: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases whose identifier has every part of at least one of the words."""
    chosen: set[str] = set()
    for word in words:
        parts = word.split("/")
        matching = {
            case.identifier
            for case in cases
            if all(part in case.identifier.split("/") for part in parts)
        }
        if not matching:
            raise ValueError(
                f"rows={word!r} matches no row of the benchmark: name parts of "
                + ", ".join(case.identifier for case in cases)
            )
        chosen |= matching
    return tuple(case for case in cases if not words or case.identifier in chosen)
