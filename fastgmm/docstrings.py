"""Docstrings that describe only what is their own: what many of them share is added to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import cleandoc, isfunction, signature
from textwrap import dedent
from typing import Any, TypeVar

_Thing = TypeVar("_Thing")

_SECTION = re.compile(r"\n\n(?=[A-Z][a-z]+(?: [A-Z][a-z]+)?\n-{3,}\n)")


def entries_of(text: str) -> dict[str, str]:
    """Return the entries of a section of numpydoc by the names that they describe."""
    entries = re.split(r"\n(?=\S)", dedent(text).strip())
    return {
        name.lstrip("*"): entry
        for entry in filter(None, entries)
        for name in entry.splitlines()[0].partition(" :")[0].split(", ")
    }


_SHARED = entries_of(
    """
    X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
        The rows. Files are read block by block, and never loaded into memory as a whole.
    y : Ignored
        Not used, present for API consistency by convention.
    sample_weight : array-like of shape (n_samples,) or str, default=None
        Weights of the rows, at least 0, or the name of the column of `X` that holds them. A weight
        of w counts as w copies of the row.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness. Pass an int for reproducible results.
    n_jobs : int, default=None
        Number of threads; None and -1 mean all, -2 all but one. Results are bitwise identical for
        any number of threads.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` is a table with column names.
    """
)


def documented(
    own: str = "", *, shared: Mapping[str, str] = _SHARED, returned: str = "The estimator itself."
) -> Callable[[_Thing], _Thing]:
    """Complete the docstring of a function, or those of a class and its public methods.

    Parameters that a docstring leaves out are described as in `own`, or else as in `shared`, and
    so are attributes of a class. What a method returns that is of type `Self` is described as in
    `returned`.
    """
    entries = {**shared, **entries_of(own)}

    def decorate(thing: _Thing) -> _Thing:
        members = vars(thing).values() if isinstance(thing, type) else ()
        for member in (thing, *members):
            # What `available_if` and `classmethod` wrap.
            function: Any = getattr(member, "fn", getattr(member, "__func__", member))
            if (isfunction(function) or member is thing) and function.__name__[0] != "_":
                function.__doc__ = _completed(function, entries, returned)
        return thing

    return decorate


def _completed(function: Any, entries: Mapping[str, str], returned: str) -> str | None:
    """Return a docstring with the entries that it lacks, in the order of the signature."""
    if function.__doc__ is None:  # as under python -OO
        return None
    summary, *others = _SECTION.split(cleandoc(function.__doc__))
    sections = {each.partition("\n")[0]: each.split("\n", 2)[2] for each in others}
    if isinstance(function, type) and "Parameters" not in sections:
        return cleandoc(function.__doc__)  # a record, which describes its attributes
    described = {**entries, **entries_of(sections.pop("Parameters", ""))}
    if "Attributes" in sections:
        own = entries_of(sections["Attributes"])
        added = [entries[name] for name in entries if name[-1] == "_" and name not in own]
        sections["Attributes"] = "\n".join([sections["Attributes"], *added])
    names = signature(function).parameters
    found = dict.fromkeys(described[name] for name in names if name in described)
    first = {"Parameters": "\n".join(found)} if found else {}
    if getattr(function, "__annotations__", {}).get("return") == "Self":
        first["Returns"] = sections.pop("Returns", f"self\n    {returned}")
    sections = {**first, **sections}
    return "\n\n".join(
        [summary, *(f"{name}\n{'-' * len(name)}\n{text}" for name, text in sections.items())]
    )
