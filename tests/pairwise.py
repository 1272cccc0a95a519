"""Cases in which every pair of values of two parameters occurs, though not every combination."""

from heapq import heapify, heappop, heappush
from itertools import combinations, product

import pytest


def pairwise_cases(*values, allowed=lambda *_: True):
    """Return tuples of one value a parameter that hold every pair which an allowed one holds.

    The next case is always one with the most pairs that are still missing.
    """
    cases = [case for case in product(*values) if allowed(*case)]
    pairs = [set(combinations(enumerate(case), 2)) for case in cases]
    missing = set().union(*pairs)
    most = [(-len(each), number) for number, each in enumerate(pairs)]  # upper bounds of new pairs
    heapify(most)
    chosen = []
    while missing:
        bound, number = heappop(most)
        new = pairs[number] & missing
        if len(new) < -bound:
            heappush(most, (-len(new), number))
            continue
        chosen.append(cases[number])
        missing -= new
    return chosen


def parametrize_pairwise(allowed=lambda *_: True, **values):
    """Parametrize a test by cases in which every pair of values of two parameters occurs."""
    cases = pairwise_cases(*values.values(), allowed=allowed)
    return pytest.mark.parametrize(tuple(values), cases)
