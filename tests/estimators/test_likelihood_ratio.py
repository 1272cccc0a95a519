"""The sequence of tests, against mclust's where both find the same optimum, and its level."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastgmm import GaussianMixture, KMeans, bootstrap_likelihood_ratio_test

REFERENCE = Path(__file__).parents[1] / "reference"
BOOTSTRAP = json.loads((REFERENCE / "bootstrap.json").read_text("utf-8"))


def features(name):
    table = np.genfromtxt(REFERENCE / f"{name}.csv", delimiter=",", skip_header=1)
    return table[:, : {"faithful": 2, "iris": 4}[name]]


@pytest.mark.parametrize(("name", "covariance_type"), [("faithful", "full"), ("iris", "diag")])
def test_the_first_ratio_is_that_of_mclust(name, covariance_type):
    """Beyond it, mclust's only start leads to lower optima in one of the data sets."""
    mixture = GaussianMixture(covariance_type=covariance_type, init_params="k-means++")
    found = bootstrap_likelihood_ratio_test(
        mixture, features(name), max_components=2, n_resamples=39, random_state=0
    )
    expected = BOOTSTRAP[f"ratio_{name}"]
    assert_allclose(found.statistics, expected["statistics"][:1], rtol=1e-5)
    assert_array_equal(found.n_components, [1])
    assert_array_equal(found.p_values, [1 / 40])
    assert found.selected == 2
    assert found.distributions.shape == (1, 39)


def test_further_ratios_are_those_of_mclust_or_larger():
    found = bootstrap_likelihood_ratio_test(
        GaussianMixture(covariance_type="diag", n_init=3),
        features("iris"),
        max_components=4,
        n_resamples=19,
        random_state=0,
    )
    totals = np.cumsum(found.statistics)
    theirs = np.cumsum(BOOTSTRAP["ratio_iris"]["statistics"][:3])
    assert_allclose(totals[:2], theirs[:2], rtol=1e-4)
    assert totals[2] >= theirs[2]
    assert (found.p_values == 1 / 20).all()


def test_drawn_ratios_are_distributed_as_those_of_mclust():
    """In the body of the distribution, where mclust's only start finds the optimum, too."""
    found = bootstrap_likelihood_ratio_test(
        GaussianMixture(covariance_type="diag", init_params="k-means++"),
        features("iris"),
        max_components=2,
        n_resamples=150,
        random_state=1,
    )
    deciles = BOOTSTRAP["ratio_iris"]["deciles"][0]
    # A decile of 150 numbers is known to some 4 % of the rank.
    ranks = np.array([(found.distributions[0] < each).mean() for each in deciles])
    assert np.abs(ranks - np.arange(0.1, 0.95, 0.1)).max() < 0.16


def test_p_values_are_uniform_under_the_hypothesis():
    mixture = GaussianMixture(covariance_type="tied_spherical", init_params="random_from_data")
    n_resamples = 9
    p_values = np.array(
        [
            bootstrap_likelihood_ratio_test(
                mixture,
                np.random.default_rng(seed).normal(size=(40, 1)),
                max_components=2,
                n_resamples=n_resamples,
                tol=1e-3,
                random_state=seed,
            ).p_values[0]
            for seed in range(60)
        ]
    )
    ranks = np.round(p_values * (n_resamples + 1)).astype(int)
    assert ranks.min() >= 1
    assert ranks.max() <= n_resamples + 1
    # The mean of 60 uniform numbers is known to 0.29 / sqrt(60) = 0.037.
    assert 0.55 - 4 * 0.037 < p_values.mean() < 0.55 + 4 * 0.037
    assert (p_values <= 0.2).mean() < 0.2 + 4 * np.sqrt(0.2 * 0.8 / 60)


def test_it_ends_where_nothing_is_rejected():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(60, 1)), rng.normal(10.0, 1.0, size=(60, 1))])
    mixture = GaussianMixture(covariance_type="tied_spherical")
    found = bootstrap_likelihood_ratio_test(
        mixture, X, max_components=5, n_resamples=39, random_state=0
    )
    assert_array_equal(found.n_components, [1, 2])
    assert found.p_values[0] == 1 / 40
    assert found.p_values[1] > found.level == 0.05
    assert found.selected == 2
    assert found.statistics[0] > 100.0
    assert not hasattr(mixture, "n_features_in_")
    from_two = bootstrap_likelihood_ratio_test(
        GaussianMixture(2, covariance_type="tied_spherical"), X, n_resamples=9, random_state=0
    )
    assert_array_equal(from_two.n_components[:1], [2])
    assert from_two.statistics[0] == pytest.approx(found.statistics[1], abs=1e-2)


def test_weights_are_numbers_of_copies():
    X = features("faithful")
    copies = np.random.default_rng(0).integers(0, 3, size=len(X))
    weighted, repeated = (
        bootstrap_likelihood_ratio_test(
            GaussianMixture(init_params="k-means++"), rows, weights, max_components=2,
            n_resamples=2, random_state=0,
        )
        for rows, weights in [(X, copies), (X.repeat(copies, axis=0), None)]
    )  # fmt: skip
    assert_allclose(weighted.statistics, repeated.statistics, rtol=1e-4)
    assert_allclose(weighted.distributions, repeated.distributions, rtol=1e-4)


def test_the_seed_decides():
    X = features("faithful")[:80]
    one, same, other = (
        bootstrap_likelihood_ratio_test(
            GaussianMixture(), X, max_components=2, n_resamples=3, random_state=seed, n_jobs=n_jobs
        ).distributions
        for seed, n_jobs in [(0, 1), (0, 2), (1, 1)]
    )
    assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_mixtures_of_the_rows_that_did_not_converge_are_reported():
    X = features("faithful")[:80]
    with pytest.warns(ConvergenceWarning, match=r"of 1 against 2 comp.*max_iter=1 ") as caught:
        bootstrap_likelihood_ratio_test(
            GaussianMixture(), X, max_components=2, n_resamples=2, max_iter=1, random_state=0
        )
    assert caught[0].filename == __file__


def test_a_collapse_without_regularization_is_reported():
    X = np.repeat([[0.0], [1.0], [1.5]], 5, axis=0)
    mixture = GaussianMixture(reg_covar=0.0, random_state=0)
    with pytest.raises(ValueError, match=r"of 1 or 2 components collapsed.*use reg_covar > 0"):
        bootstrap_likelihood_ratio_test(mixture, X, n_resamples=2, random_state=0)


def test_arguments_are_checked():
    X = features("faithful")
    with pytest.raises(ValueError, match="max_components=3 must be more than the n_components=3"):
        bootstrap_likelihood_ratio_test(GaussianMixture(3), X, max_components=3)
    with pytest.raises(ValueError, match=r"'mixture' parameter .* must be an instance of"):
        bootstrap_likelihood_ratio_test(KMeans(2), X)
    with pytest.raises(ValueError, match="'level' parameter"):
        bootstrap_likelihood_ratio_test(GaussianMixture(), X, level=5)


@pytest.mark.parametrize(
    "more", [{"noise_volume": 3.0}, {"priors": "mclust"}, {"semi_supervised": True}]
)
def test_what_is_more_than_maximum_likelihood_is_refused(more):
    with pytest.raises(
        ValueError, match=f"by maximum likelihood .*this one has {next(iter(more))}"
    ):
        bootstrap_likelihood_ratio_test(GaussianMixture(**more), features("faithful"))


def test_rows_that_lack_values_are_left_out_or_refused():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0.0, 1.0, (60, 2)), rng.normal(6.0, 1.0, (40, 2))])
    holes = np.where(rng.random(X.shape) < 0.1, np.nan, X)
    dropping = GaussianMixture(missing="drop")
    options = {"max_components": 2, "n_resamples": 19, "random_state": 0}
    found = bootstrap_likelihood_ratio_test(dropping, holes, **options)
    complete = holes[~np.isnan(holes).any(axis=1)]
    expected = bootstrap_likelihood_ratio_test(GaussianMixture(), complete, **options)
    assert_array_equal(found.distributions, expected.distributions)
    with pytest.raises(ValueError, match=r"draws whole rows .*: use a mixture with missing='drop'"):
        bootstrap_likelihood_ratio_test(GaussianMixture(missing="model"), holes, **options)
