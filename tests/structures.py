"""The covariance structures as parameters of tests."""

import pytest

from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from tests import oracle

ANY_FEATURES = [name for name in STRUCTURE_NAMES if not structure(name).needs_single_feature]
"""All names but those for a single feature."""

DISTINCT = [
    *("full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"),
    *("VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV"),
]
"""One name of each structure."""

every_name = pytest.mark.parametrize("name", ANY_FEATURES)
every_structure = pytest.mark.parametrize("name", DISTINCT)


def covariances_of(name, parameters):
    """Return the covariance matrix of each component of a mixture of a structure."""
    shape = parameters.n_components, parameters.n_features
    return oracle.covariance_matrices(name, structure(name).covariances(parameters), *shape)
