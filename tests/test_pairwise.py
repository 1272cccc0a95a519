"""The tests' own choice of cases: every pair of values occurs."""

from itertools import combinations

import pytest

from tests.pairwise import pairwise_cases

VALUES = [
    (range(3), "ab"),
    (range(2), "ab", [None, 1.5], [int, float]),
    (range(39), *(["no", "yes"],) * 6),
    (range(5), "abcd", range(10, 13), "xy"),
]


def pairs(case):
    return set(combinations(enumerate(case), 2))


@pytest.mark.parametrize("values", VALUES)
def test_every_pair_occurs_in_few_cases(values):
    cases = pairwise_cases(*values)
    found = set().union(*map(pairs, cases))
    for (i, ours), (j, theirs) in combinations(enumerate(values), 2):
        assert all(((i, a), (j, b)) in found for a in ours for b in theirs)
    largest, second = sorted(map(len, values))[-2:]
    assert largest * second <= len(cases) <= 1.3 * largest * second + 2
    assert pairwise_cases(*values) == cases


def test_only_allowed_cases_occur():
    cases = pairwise_cases("abc", "xy", [1, 2], allowed=lambda a, x, _: a != "c" or x == "y")
    found = set().union(*map(pairs, cases))
    assert ((0, "c"), (1, "x")) not in found
    assert {((0, "c"), (2, 1)), ((0, "c"), (2, 2)), ((0, "b"), (1, "x"))} <= found
