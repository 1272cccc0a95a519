"""What is said once for many docstrings stands in each of them."""

import inspect
import re
from typing import Self

import pytest
from sklearn.utils.metaestimators import available_if

import fastgmm
import fastgmm.plotting
from fastgmm.docstrings import documented, entries_of

SHARED = entries_of("X : array-like\n    The rows.\n**more : dict\n    Others.")


def described(function):
    """Return the names in the section of parameters of a docstring."""
    text = inspect.getdoc(function).partition("Parameters\n----------\n")[2]
    return list(entries_of(re.split(r"\n\n\w[\w ]*\n-{3}", text)[0]))


def test_entries_are_found_by_each_of_their_names():
    entries = entries_of(
        """
        a, b : int
            Two.

            - a list
        **c
            Others.
        """
    )
    assert list(entries) == ["a", "b", "c"]
    assert entries["a"] == entries["b"] == "a, b : int\n    Two.\n\n    - a list"


def test_parameters_are_added_in_the_order_of_the_signature():
    @documented(shared=SHARED)
    def function(X, k, **more):
        """Do something.

        Parameters
        ----------
        k : int
            How many.

        Raises
        ------
        ValueError
            If not.
        """

    assert function.__doc__ == (
        "Do something.\n\nParameters\n----------\nX : array-like\n    The rows.\nk : int\n"
        "    How many.\n**more : dict\n    Others.\n\nRaises\n------\nValueError\n    If not."
    )


def test_a_description_of_its_own_stays():
    @documented(shared=SHARED)
    def function(X):
        """Do something.

        Parameters
        ----------
        X : list
            Other rows.
        """

    assert "Other rows." in function.__doc__
    assert "The rows." not in function.__doc__


@documented("k : int\n    How many.", shared=SHARED, returned="The same.")
class Example:
    """An example.

    Parameters
    ----------
    name : str
        Its name.
    """

    def __init__(self, name, k):
        self.name, self.k = name, k

    @classmethod
    def made(cls, k) -> "Self":
        """Make one."""

    @available_if(lambda _: True)
    def perhaps(self, X, k):
        """Do it."""

    def other(self, X) -> "Self":
        """Return another.

        Returns
        -------
        Example
            Another.
        """

    def _private(self, X):
        """Do nothing."""


def test_a_class_and_its_public_methods_are_completed():
    assert described(Example) == ["name", "k"]
    assert described(Example.made) == ["k"]
    assert Example.made.__doc__.endswith("Returns\n-------\nself\n    The same.")
    assert described(Example.perhaps) == ["X", "k"]
    assert Example.other.__doc__.endswith("Returns\n-------\nExample\n    Another.")
    assert Example._private.__doc__ == "Do nothing."


def test_records_describe_their_attributes():
    @documented("k : int\n    How many.")
    class Record:
        """A record.

        Attributes
        ----------
        k : int
            Its own.
        """

        def __init__(self, k):
            self.k = k

    assert "How many." not in Record.__doc__


def test_nothing_is_added_where_docstrings_are_removed():
    def function(X):
        pass

    assert documented()(function).__doc__ is None


CLASSES = [
    getattr(module, name)
    for module in (fastgmm, fastgmm.plotting)
    for name in module.__all__
    if hasattr(getattr(module, name), "get_params") or name.endswith("Display")
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_parameter_of_a_method_is_described(kind):
    methods = [
        method
        for name, method in inspect.getmembers(kind, callable)
        if name[0] != "_" and method.__module__.startswith("fastgmm")
    ]
    assert methods
    for function in (kind, *methods):
        names = [name for name in inspect.signature(function).parameters if name != "self"]
        assert described(function) == names, function.__qualname__
