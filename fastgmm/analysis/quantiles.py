"""Exact weighted quantiles of values that need not fit in memory.

The values are iterated over several times. Each time, those in an interval that is known to hold
the quantile are kept if they are few; if not, the interval is narrowed to one of 65,536 parts of
it. The parts are equal in the order of the floating-point numbers, taken as integers, so that no
more than five passes are needed whatever the values are. One pass is enough for a million values,
and two or three for any number that is found in practice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.mixture.statistics import FloatArray

#: Values that follow each other, and their weights, if they have any.
WeightedValues = tuple[npt.NDArray[Any], FloatArray | None]

MOST_KEPT = 2**20
"""So many values are kept at once."""

_PART_BITS = 16
_KEY_BITS = 64
_ROUNDING = 1e-10
"""Sums of weights that agree to this are taken for equal."""


def quantile_cut(
    values: Callable[[], Iterable[WeightedValues]],
    share: float,
    *,
    most_kept: int = MOST_KEPT,
    observe: Callable[[FloatArray, FloatArray], None] | None = None,
) -> float:
    """Return what has a share of the values below it.

    It lies halfway between the last value that is below and the first that is not. Where values
    are equal, or weights do not add up to the share, less than the share is below, never more.
    """

    def find(first: int, last: int) -> Interval:
        nonlocal observe
        seen, observe = observe, None
        return go_through(values(), first, last, most_kept=most_kept, observe=seen)

    return cut_by_passes(find, share)


def cut_by_passes(find: Callable[[int, int], Interval], share: float) -> float:
    """Return what has a share of the values below it, by passes that find what is in intervals."""
    first, last = 0, 2**_KEY_BITS - 1
    target: float | None = None
    while True:
        found = find(first, last)
        if target is None:
            if not found.weight > 0.0:
                raise ValueError("there are no values of positive weight to take a quantile of")
            target = share * found.weight * (1.0 + _ROUNDING)
        if found.kept is not None:
            return _cut_among(*found.kept, found.weight_below, found.largest_below, target)
        if first == last:
            return float(halfway(found.largest_below, _value_of(first)))
        sums = found.weight_below + np.cumsum(found.masses)
        # Never an empty part, even if the sums of this pass and the last differ by rounding.
        part = min(int(np.searchsorted(sums, target, side="right")), _last_filled(found.masses))
        shift = _shift(first, last)
        first += part << shift
        last = first + (1 << shift) - 1


def sorted_cut(values: FloatArray, weights: FloatArray, share: float) -> float:
    """Return what has a share of the values below it, as `quantile_cut`."""
    target = share * float(weights.sum()) * (1.0 + _ROUNDING)
    return _cut_among(values, weights, 0.0, -math.inf, target)


def halfway(low: npt.ArrayLike, high: npt.ArrayLike) -> FloatArray:
    """Return numbers above the first and at most the second, halfway if there is one."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        middle = low + (high - low) / 2.0
    return np.where((low < middle) & (middle <= high), middle, high)


class Interval(NamedTuple):
    """What a pass found of an interval of keys."""

    weight_below: float  # weight of the values below the interval, and the largest of them
    largest_below: float
    weight: float  # weight of those in it
    # the values in it, in ascending order, and their weights; None if they are too many
    kept: tuple[FloatArray, FloatArray] | None
    masses: FloatArray  # weight in each part of the interval, if they are


def both_intervals(
    one: Interval, other: Interval, *, first: int, last: int, most_kept: int = MOST_KEPT
) -> Interval:
    """Return what two passes over other values found of the same interval together."""
    kept = [each.kept for each in (one, other) if each.kept is not None]
    below = one.weight_below + other.weight_below, max(one.largest_below, other.largest_below)
    weight = one.weight + other.weight
    few = all(each.kept is not None or not each.weight for each in (one, other))
    if few and sum(len(values) for values, _ in kept) <= most_kept:
        return Interval(*below, weight, _in_order(kept), one.masses)
    masses = one.masses + other.masses
    for values, weights in kept:
        masses += _masses(_keys_of(values), weights, first, _shift(first, last), len(masses))
    return Interval(*below, weight, None, masses)


def go_through(
    pieces: Iterable[WeightedValues],
    first: int,
    last: int,
    *,
    most_kept: int = MOST_KEPT,
    observe: Callable[[FloatArray, FloatArray], None] | None = None,
) -> Interval:
    """Make a pass."""
    shift = _shift(first, last)
    masses = np.zeros(((last - first) >> shift) + 1)
    weight_below, largest_below, weight = 0.0, -math.inf, 0.0
    # Equal values are all known already, however many they are.
    kept: list[tuple[FloatArray, FloatArray]] | None = [] if first < last else None
    n_kept = 0
    for piece in pieces:
        values, weights = _weighty(*piece)
        if observe is not None:
            observe(values, weights)
        keys = _keys_of(values)
        if first > 0:
            below = keys < np.uint64(first)
            weight_below += float(weights[below].sum())
            largest_below = values[below].max(initial=largest_below)
        if last < 2**_KEY_BITS - 1:
            inside = (keys >= np.uint64(first)) & (keys <= np.uint64(last))
            values, weights, keys = values[inside], weights[inside], keys[inside]
        weight += float(weights.sum())
        n_kept += len(values)
        if kept is None:
            masses += _masses(keys, weights, first, shift, len(masses))
            continue
        kept.append((values, weights))
        if n_kept > most_kept:
            for each, its_weights in kept:
                masses += _masses(_keys_of(each), its_weights, first, shift, len(masses))
            kept = None
    return Interval(weight_below, float(largest_below), weight, _in_order(kept), masses)


def _masses(
    keys: npt.NDArray[np.uint64], weights: FloatArray, first: int, shift: int, n_parts: int
) -> FloatArray:
    """Return the weight in each part of an interval."""
    parts = (keys - np.uint64(first)) >> np.uint64(shift)
    return np.bincount(parts.astype(np.int64), weights, n_parts).astype(np.float64, copy=False)


def _in_order(
    kept: list[tuple[FloatArray, FloatArray]] | None,
) -> tuple[FloatArray, FloatArray] | None:
    """Return values and weights in ascending order of the values."""
    if not kept:
        return None
    values, weights = (np.concatenate(each) for each in zip(*kept, strict=True))
    order = np.argsort(values)
    return values[order], weights[order]


def _cut_among(
    values: FloatArray,
    weights: FloatArray,
    weight_below: float,
    largest_below: float,
    target: float,
) -> float:
    """Return the cut among sorted values, beside which others are known to be smaller."""
    sums = weight_below + np.cumsum(weights)
    upper = values[min(int(np.searchsorted(sums, target, side="right")), len(values) - 1)]
    n_lower = int(np.searchsorted(values, upper))
    lower = values[n_lower - 1] if n_lower else largest_below
    return float(halfway(lower, upper))


def _weighty(values: npt.NDArray[Any], weights: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Return the values that have weight, in double precision, and their weights."""
    exact = np.asarray(values, dtype=np.float64)
    if weights is None:
        return exact, np.ones(len(exact))
    present = weights > 0.0
    return exact[present], weights[present]


def _shift(first: int, last: int) -> int:
    """Return how many low bits of the keys of an interval do not count for its parts."""
    return max(0, (last - first).bit_length() - _PART_BITS)


def _last_filled(masses: FloatArray) -> int:
    return int(np.flatnonzero(masses)[-1])


_SIGN = np.uint64(2 ** (_KEY_BITS - 1))


def _keys_of(values: FloatArray) -> npt.NDArray[np.uint64]:
    """Return integers in the order of the values: their bits, those of negative ones inverted."""
    bits = (values + 0.0).view(np.uint64)  # there are two zeros, and their sum is the positive one
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value_of(key: int) -> float:
    """Return the value that has a key."""
    bits = np.uint64(key)
    return float((bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float64))
