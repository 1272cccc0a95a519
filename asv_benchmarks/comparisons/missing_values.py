"""A pass over rows that lack values against one over whole rows.

This program times passes of EM at the same mixture over the same
rows: whole; with a share of their values missing in a few patterns; and with as many missing
anywhere, so that rows of many features have a pattern each. Passes take turns, so that what
disturbs the machine meets all of them. The promise is about the few patterns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgmm.bench.grid import Case
from fastgmm.bench.memory import peak_memory
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.bench.targets import Target
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.missing.imputation import impute_blocks
from fastgmm.mixture.parameters import MixtureParameters

LARGEST_RATIO = 3.0

FloatArray = npt.NDArray[np.float64]


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


def few_patterns(X: FloatArray, share: float, n_patterns: int, seed: int = 0) -> FloatArray:
    """Return rows with values missing in some patterns.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The rows.
    share : float
        About the share of the values to leave out.
    n_patterns : int
        Number of patterns, all different, one of which is that of whole rows. The others are as
        if each value was missing with a probability of `share`, and occur equally often.
    seed : int
        Seed of the patterns.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        A copy with NaN for what is missing.
    """
    random = np.random.default_rng(seed)
    n_features = X.shape[1]
    patterns: dict[bytes, npt.NDArray[np.bool_]] = {}
    while len(patterns) < min(n_patterns, 2**n_features - 1) - 1:
        pattern: npt.NDArray[np.bool_] = np.less(random.random(n_features), share)
        if pattern.any() and not pattern.all():
            patterns[pattern.tobytes()] = pattern
    incomplete = np.array(list(patterns.values()))
    chosen = incomplete[random.integers(len(incomplete), size=len(X))]
    some_whole = 1.0 - 1.0 / n_patterns
    lacking = random.random(len(X)) < min(share / incomplete.mean(), some_whole)
    return np.where(chosen & lacking[:, None], np.nan, X)


def scattered(X: FloatArray, share: float, seed: int = 0) -> FloatArray:
    """Return rows with values missing anywhere.

    Parameters
    ----------
    X, share, seed
        As for `few_patterns`.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        A copy with NaN for what is missing.
    """
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


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
        0, or 1 if the promise was missed.
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
    print(f"{'missing':<18}{'values':>8}{'patterns':>10}{'pass/s':>9}{'ratio':>7}{'memory':>10}")
    for each in timings:
        memory = "" if each.n_bytes is None else f"{each.n_bytes / 1e6:.0f} MB"
        print(
            f"{each.name:<18}{each.share:>8.1%}{each.n_patterns:>10,}{each.seconds:>9.4f}"
            f"{each.ratio:>7.2f}{memory:>10}"
        )
    print(f"filling in what is missing in any pattern: {imputing:.3f} s")
    target = Target(
        f"{timings[1].name} against whole rows", LARGEST_RATIO, "x", False, timings[1].ratio
    )
    verdict = "met" if target.met else "MISSED"
    print(
        f"{target.subject}: {target.measured:.3g} {target.unit}, at most {target.limit:g}: "
        f"{verdict}"
    )
    return int(not target.met)


if __name__ == "__main__":
    sys.exit(main())
