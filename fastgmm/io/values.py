"""Values that come back from JSON: what they should be, or an error that says which is not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def typed(value: Any, kind: Any, name: str) -> Any:
    """Return a value from JSON as what an annotation says it is."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (needed,) = [part for part in parts if part is not NoneType]
        return None if value is None else typed(value, needed, name)
    if origin is Literal and isinstance(value, str) and value in parts:
        return value
    if origin is tuple and isinstance(value, list):
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
        if len(kinds) == len(value):
            return tuple(typed(each, kinds[i], f"{name}[{i}]") for i, each in enumerate(value))
    if is_dataclass(kind) and isinstance(value, dict):
        return kind(**typed_members(value, get_type_hints(kind), name))  # type: ignore[operator]
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind is int and type(value) is int and abs(value) < 2**63:
        return value
    plain = origin or kind
    if kind is object or (plain in (bool, str, list, dict) and type(value) is plain):
        return value
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    raise ValueError(f"{name} is {shown}, not {getattr(kind, '__name__', kind)}")


def typed_members(value: Any, kinds: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the members of a dict from JSON, each as what its annotation says."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, not dict")
    unknown = sorted(set(value) - set(kinds))
    if unknown:
        raise ValueError(f"{name} has an unknown member {unknown[0]!r}")
    missing = [
        each for each in kinds if each not in value and NoneType not in get_args(kinds[each])
    ]
    if missing:
        raise ValueError(f"'{name}.{missing[0]}' is missing")
    return {
        member: typed(value.get(member), kind, f"{name}.{member}") for member, kind in kinds.items()
    }


def require(condition: bool, what: str) -> None:
    """Raise ValueError unless a condition holds."""
    if not condition:
        raise ValueError(f"it does not hold that {what}")
