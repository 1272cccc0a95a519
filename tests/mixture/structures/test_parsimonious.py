"""The names of structures."""

from typing import get_args

from fastgmm.mixture.covariance_types import CovarianceType
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from tests.parsimonious import MODELS
from tests.structures import DISTINCT


def test_the_names_that_users_may_give_are_those_of_structures():
    assert get_args(CovarianceType) == STRUCTURE_NAMES
    assert [structure(name).name for name in STRUCTURE_NAMES] == list(STRUCTURE_NAMES)


def test_mclusts_names_say_what_is_equal_and_what_varies():
    assert {structure(name).letters for name in MODELS} == set(MODELS)
    assert [structure(name).letters for name in MODELS] == list(MODELS)
    assert sorted(structure(name).letters for name in DISTINCT) == sorted(MODELS)


def test_what_the_letters_tell():
    kind = {name: structure(name) for name in MODELS}
    assert [name for name in MODELS if kind[name].is_tied] == ["EII", "EEI", "EEE"]
    assert [name for name in MODELS if kind[name].is_spherical] == ["EII", "VII"]
    diagonal = ["EII", "VII", "EEI", "VEI", "EVI", "VVI"]
    assert [name for name in MODELS if kind[name].is_diagonal] == diagonal
    assert [name for name in MODELS if not kind[name].is_coupled] == ["VII", "VVI", "VVV"]
