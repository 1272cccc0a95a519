"""A pass over rows that lack values against one over whole rows.

This program times passes of EM at the same mixture over the same
rows: whole; with a share of their values missing in a few patterns; and with as many missing
anywhere, so that rows of many features have a pattern each. Passes take turns, so that what
disturbs the machine meets all of them. The target is about the few patterns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.missing.imputation import impute_blocks
from fastgmm.mixture.parameters import MixtureParameters
from harness.lines import megabytes, print_line
from harness.memory import peak_memory
from harness.missing_patterns import few_patterns, scattered
from harness.targets import Target, report_targets

LARGEST_RATIO = 3.0


@dataclass(frozen=True, slots=True)
class Timing:
    """What a pass over some rows took.

    Attributes
    ----------
    name : str
        What is missing.
    share : float
        The share of the values that are missing.
    n_patterns : int
        Number of different patterns.
    seconds : float
        Shortest time of a pass.
    ratio : float
        How many times as long that is as over whole rows.
    n_bytes : int or None
        Memory that a pass takes beyond the rows; None where the system does not say.
    """

    name: str
    share: float
    n_patterns: int
    seconds: float
    ratio: float
    n_bytes: int | None


def compare(
    case: Case, *, share: float = 0.1, n_patterns: int = 20, rounds: int = 7
) -> tuple[list[Timing], float]:
    """Time passes over whole rows and over rows that lack values.

    Parameters
    ----------
    case : Case
        Size and kind of the mixture.
    share : float
        The share of the values that are missing.
    n_patterns : int
        Number of patterns, where they are few.
    rounds : int
        How often each pass is timed.

    Returns
    -------
    timings : list of Timing
        Those of whole rows, of few patterns and of any.
    imputing : float
        Seconds that it takes to fill in what is missing anywhere.
    """
    problem = make_problem(case)
    parameters = MixtureParameters.from_covariances(
        problem.weights, problem.means, problem.covariances
    )
    rows = {
        "nothing missing": problem.X,
        f"{n_patterns} patterns": few_patterns(problem.X, share, n_patterns),
        "any pattern": scattered(problem.X, share),
    }
    sources = {name: ArraySource(X, incomplete=X is not problem.X) for name, X in rows.items()}
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for source in sources.values():
        mixture_statistics(ArraySource(source.X[:4096], incomplete=source.incomplete), parameters)
    for _ in range(rounds):
        for name, source in sources.items():
            seconds[name].append(_timed(lambda s=source: mixture_statistics(s, parameters)))  # type: ignore[misc]
    whole = min(seconds["nothing missing"])
    timings = []
    for name, source in sources.items():
        lacking = np.isnan(source.X)
        timings.append(
            Timing(
                name,
                float(lacking.mean()),
                len(np.unique(np.packbits(lacking, axis=1), axis=0)),
                min(seconds[name]),
                min(seconds[name]) / whole,
                peak_memory(lambda s=source: mixture_statistics(s, parameters)).n_bytes,  # type: ignore[misc]
            )
        )
    anywhere = sources["any pattern"]
    for _ in impute_blocks(ArraySource(anywhere.X[:4096], incomplete=True), parameters):
        pass
    imputing = _timed(lambda: [None for _ in impute_blocks(anywhere, parameters)])
    return timings, imputing


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(arguments: list[str] | None = None) -> int:
    """Compare and print.

    Parameters
    ----------
    arguments : list of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0, or 1 if the target was missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default, what in (
        ("rows", 1_000_000, "rows"),
        ("features", 8, "features"),
        ("components", 16, "components"),
        ("patterns", 20, "patterns, where they are few"),
        ("rounds", 7, "timings of each pass"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, help=f"{what} (default: %(default)s)"
        )
    parser.add_argument(
        "--share", type=float, default=0.1, help="missing values (default: %(default)s)"
    )
    parser.add_argument(
        "--structure", default="full", choices=("full", "diag"), help="(default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    case = Case("pass", options.structure, options.rows, options.features, options.components)
    timings, imputing = compare(
        case, share=options.share, n_patterns=options.patterns, rounds=options.rounds
    )
    print(f"{case.n_samples:,} rows, D={case.n_features}, K={case.n_components}, {case.structure}")
    print_line("missing", "values", "patterns", "pass/s", "ratio", "memory", width=10)
    for each in timings:
        print_line(
            each.name,
            f"{each.share:.1%}",
            f"{each.n_patterns:,}",
            f"{each.seconds:.4f}",
            f"{each.ratio:.2f}",
            megabytes(each.n_bytes),
            width=10,
        )
    print(f"filling in what is missing in any pattern: {imputing:.3f} s")
    target = Target(
        f"{timings[1].name} against whole rows", LARGEST_RATIO, "x", False, timings[1].ratio
    )
    return report_targets([target])


if __name__ == "__main__":
    sys.exit(main())
