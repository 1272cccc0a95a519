"""The figures that the package promises, each beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fastgmm.bench.competitors import OneDAL, ScikitLearn
from fastgmm.bench.grid import FULL_GRID, MEMORY_CASE, Case
from fastgmm.bench.machine import Machine
from fastgmm.bench.measurement import Row
from fastgmm.bench.startup import Startup


@dataclass(frozen=True, slots=True)
class Target:
    """A promise and the figure that keeps or breaks it.

    Attributes
    ----------
    subject : str
        What is promised, and for which case.
    limit : float
        The figure promised.
    unit : str
        ``"x"`` for ratios, ``"%"`` for shares, ``"s"`` or ``"MB"``; empty for plain numbers.
    at_least : bool
        Whether more is better.
    measured : float or None
        The figure measured; None if the case was not run, or its figures are not comparable.
    """

    subject: str
    limit: float
    unit: str
    at_least: bool
    measured: float | None

    @property
    def met(self) -> bool | None:
        """Whether the promise is kept; None if nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict for JSON."""
        return {**asdict(self), "met": self.met}


# By the size (rows, features, components): least ratio to the peer for a float64 pass.
SCIKIT_LEARN_RATIOS = {
    (1_000_000, 2, 8): 60.0,
    (1_000_000, 8, 16): 60.0,
    (500_000, 16, 32): 40.0,
    (200_000, 32, 64): 23.0,
    (100_000, 64, 32): 12.0,
}
ONEDAL_RATIOS = {
    (1_000_000, 2, 8): 1.8,
    (2_000_000, 3, 8): 2.3,
    (1_000_000, 8, 16): 4.0,
    (500_000, 16, 32): 4.5,
    (200_000, 32, 64): 5.0,
    (100_000, 64, 32): 4.0,
}
DIAGONAL_SIZE = (1_000_000, 16, 64)
SCORING_SIZE = (1_000_000, 8, 16)
FLOAT32_GAIN = 1.7


def least_share_of_peak(n_features: int) -> float | None:
    """Return the share of the multiply-add peak, in percent, promised for a float64 pass."""
    for at_least, share in ((32, 70.0), (16, 50.0), (8, 30.0)):
        if n_features >= at_least:
            return share
    return None


def least_float32_ratio(n_features: int) -> float | None:
    """Return the ratio to oneDAL promised for a float32 pass."""
    if n_features <= 3:
        return 1.3
    return 2.0 if n_features >= 8 else None


def check_targets(
    rows: Sequence[Row], machine: Machine | None, startup: Startup | None
) -> tuple[Target, ...]:
    """Put every promise beside its measured figure."""
    by_identifier = {row.case.identifier: row for row in rows}
    passes = [case for case in FULL_GRID if case.task == "pass" and case.overlap == "overlapping"]
    full64 = [case for case in passes if case.structure == "full" and case.dtype == "float64"]
    return (
        *_shares_of_peak(full64, by_identifier, machine),
        *_ratios(full64, by_identifier),
        *_float32(full64, by_identifier),
        *_memory_and_scoring(by_identifier),
        *_startup(startup),
    )


def _label(case: Case) -> str:
    return f"{case.n_samples:,}×{case.n_features}, K={case.n_components}"


def _shares_of_peak(
    cases: Sequence[Case], rows: Mapping[str, Row], machine: Machine | None
) -> list[Target]:
    targets = []
    for case in cases:
        limit = least_share_of_peak(case.n_features)
        if limit is None:
            continue
        row = rows.get(case.identifier)
        share = row.share_of_peak(machine) if row and machine else None
        percent = None if share is None else 100 * share
        targets.append(Target(f"share of FMA peak, {_label(case)}", limit, "%", True, percent))
    return targets


def _ratio(subject: str, limit: float, case: Case, peer: str, rows: Mapping[str, Row]) -> Target:
    row = rows.get(case.identifier)
    return Target(subject, limit, "x", True, row.ratio(peer) if row else None)


def _ratios(cases: Sequence[Case], rows: Mapping[str, Row]) -> list[Target]:
    targets = []
    for peer, limits in (
        (ScikitLearn.name, SCIKIT_LEARN_RATIOS),
        (OneDAL.name, ONEDAL_RATIOS),
    ):
        for case in cases:
            limit = limits.get((case.n_samples, case.n_features, case.n_components))
            if limit is not None:
                targets.append(_ratio(f"against {peer}, {_label(case)}", limit, case, peer, rows))
    diagonal = Case("pass", "diag", *DIAGONAL_SIZE)
    for peer, limit in ((OneDAL.name, 2.5), (ScikitLearn.name, 10.0)):
        subject = f"diagonal against {peer}, {_label(diagonal)}"
        targets.append(_ratio(subject, limit, diagonal, peer, rows))
    return targets


def _float32(cases: Sequence[Case], rows: Mapping[str, Row]) -> list[Target]:
    against_onedal, against_float64 = [], []
    for case64 in cases:
        case32 = replace(case64, dtype="float32")
        size = (case64.n_samples, case64.n_features, case64.n_components)
        limit = least_float32_ratio(case64.n_features)
        if limit is not None and size in ONEDAL_RATIOS:
            subject = f"float32 against {OneDAL.name}, {_label(case32)}"
            against_onedal.append(_ratio(subject, limit, case32, OneDAL.name, rows))
        row64, row32 = rows.get(case64.identifier), rows.get(case32.identifier)
        gain = None
        if row64 and row32 and row64.own.seconds and row32.own.seconds:
            gain = row64.own.seconds / row32.own.seconds
        subject = f"float32 against float64, {_label(case64)}"
        against_float64.append(Target(subject, FLOAT32_GAIN, "x", True, gain))
    return [*against_onedal, *against_float64]


def _memory_and_scoring(rows: Mapping[str, Row]) -> list[Target]:
    row = rows.get(MEMORY_CASE.identifier)
    memory = row.own.memory if row else None
    scoring = Case("scoring", "full", *SCORING_SIZE)
    return [
        Target(
            f"memory above the data, fit of {_label(MEMORY_CASE)}",
            100.0,
            "MB",
            False,
            None if memory is None else memory / 1e6,
        ),
        _ratio(
            f"scoring against {ScikitLearn.name}, {_label(scoring)}",
            40.0,
            scoring,
            ScikitLearn.name,
            rows,
        ),
    ]


def _startup(startup: Startup | None) -> list[Target]:
    extra = (
        startup.import_estimator - startup.import_sklearn_mixture if startup is not None else None
    )
    return [
        Target(
            "first fit in a process, empty numba cache",
            12.0,
            "s",
            False,
            startup.first_fit_cold if startup else None,
        ),
        Target(
            "first fit in a process, filled numba cache",
            0.6,
            "s",
            False,
            startup.first_fit_warm if startup else None,
        ),
        Target("import of the estimator, beyond that of sklearn.mixture", 0.3, "s", False, extra),
    ]
