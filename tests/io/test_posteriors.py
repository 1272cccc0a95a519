"""Posteriors decomposed into values and arrays, and put together again."""

import json
from dataclasses import fields

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm.io.arrays import Size
from fastgmm.io.posteriors import plain_posterior, posterior_from_plain
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES, weight_prior

SIZE = Size(3, 2, is_diagonal=False)


@pytest.mark.parametrize("weights", WEIGHT_PRIOR_NAMES)
def test_a_posterior_comes_back_with_its_prior(weights):
    random = np.random.default_rng(0)
    prior = VariationalPrior(
        weight_prior(weights, 1.0 / 3.0), random.normal(size=2), 0.1, np.eye(2) / 3.0, 2.5
    )
    posterior = VariationalPosterior(
        prior,
        prior.weights.posterior(random.uniform(size=3)),
        random.normal(size=(3, 2)),
        random.uniform(size=3),
        np.broadcast_to(np.eye(2), (3, 2, 2)),
        np.broadcast_to(7.5, 3),
    )
    values, arrays = plain_posterior(posterior, "best")
    assert all(name.startswith("best_") for name in arrays)
    assert all(array.flags.c_contiguous for array in arrays.values())
    again = posterior_from_plain(
        "best", json.loads(json.dumps(values)), {**arrays, "other": np.zeros(1)}, SIZE
    )
    for one, other in ((again, posterior), (again.prior, prior)):
        for each in fields(one):
            if isinstance(getattr(one, each.name), np.ndarray):
                assert_array_equal(getattr(one, each.name), getattr(other, each.name))
    assert again.prior.weights == prior.weights
    assert again.prior.mean_precision == prior.mean_precision
    assert again.prior.degrees_of_freedom == prior.degrees_of_freedom


def test_a_missing_array_is_named():
    with pytest.raises(KeyError, match="best_prior_mean"):
        posterior_from_plain(
            "best",
            {
                "weights": "dirichlet_process",
                "concentration": 1.0,
                "mean_precision": 1.0,
                "degrees_of_freedom": 2.0,
            },
            {},
            SIZE,
        )
