"""Values from JSON that are what they should be, and others."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from fastgmm.io.values import require, typed, typed_members


@dataclass
class Point:
    x: float
    label: str | None = None


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, bool, True),
        (3, int, 3),
        (3, float, 3.0),
        (0.5, float | None, 0.5),
        (None, float | None, None),
        ("a", Literal["a", "b"], "a"),
        (None, Literal["a", "b"] | None, None),
        ([1.0, 2], tuple[float, ...], (1.0, 2.0)),
        ([1, 2.0], tuple[int, float], (1, 2.0)),
        ([], tuple[str, ...], ()),
        ({"x": 1}, Point, Point(1.0)),
        ([{"x": 1.0, "label": "a"}], tuple[Point, ...], (Point(1.0, "a"),)),
        ({"a": 1}, dict[str, Any], {"a": 1}),
        ([1], object, [1]),
    ],
)
def test_a_value_of_its_type_comes_back(value, kind, expected):
    found = typed(value, kind, "value")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (1, bool, "value is 1, not bool"),
        (True, int, "value is True, not int"),
        (1.0, int, "value is 1.0, not int"),
        (True, float, "value is True, not float"),
        ("1", float, "value is '1', not float"),
        (float("nan"), float, "value is nan"),
        (10**400, float, "value is 1000"),
        (2**63, int, "value is 9223372036854775808, not int"),
        (None, float, "value is None, not float"),
        ("c", Literal["a", "b"], "value is 'c', not"),
        (["a"], Literal["a", "b"], "value is"),
        ("ab", tuple[str, ...], "value is 'ab', not"),
        ([1, "b"], tuple[int, ...], r"value\[1\] is 'b', not int"),
        ([1], tuple[int, float], r"value is \[1\], not"),
        ({}, Point, "'value.x' is missing"),
        ({"x": 1.0, "y": 2.0}, Point, "value has an unknown member 'y'"),
        ([], Point, r"value is \[\], not Point"),
        ("x" * 100, int, r"value is 'x+\.\.\., not int"),
    ],
)
def test_a_value_of_another_type_is_refused(value, kind, words):
    with pytest.raises(ValueError, match=words):
        typed(value, kind, "value")


def test_members_are_those_of_a_dict():
    with pytest.raises(ValueError, match="state is list, not dict"):
        typed_members([], {"a": int}, "state")
    assert typed_members({}, {"a": int | None}, "state") == {"a": None}


def test_what_does_not_hold_is_refused():
    require(True, "one is one")
    with pytest.raises(ValueError, match="it does not hold that one is two"):
        require(False, "one is two")
