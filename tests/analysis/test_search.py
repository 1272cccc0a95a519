"""Searches over many rows: what is previewed on a sample, reported, and done about failures."""

import numpy as np
import pytest

from fastgmm.analysis.search import CandidateFits, SearchedRows, SearchPlan, fit_candidates
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization.partitions import partitions
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests import mclust, oracle
from tests.em.batch_fits import fit_em
from tests.em.block_source import BlockSource

NONE = Regularization.none(2)
GRID = tuple((structure(name), k) for k in (1, 2, 3) for name in ("EII", "VVV"))


def rows(n_samples=6000):
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [5.0, 1.0]])
    return centers[rng.integers(2, size=n_samples)] + rng.normal(size=(n_samples, 2))


def search(X, sample, preview, observe=None):
    clusters = partitions(sample, [1, 2, 3], "hierarchical", random_state=None)
    plan = SearchPlan(GRID, NONE, tol=1e-5, max_iter=2000)
    return fit_candidates(SearchedRows(BlockSource(X), sample, preview), clusters, plan, observe)


def test_candidates_converge_on_a_sample_before_they_see_all_rows():
    X = rows()
    sample, preview = ArraySource(X[:300]), ArraySource(X[:1500])
    seen = []
    previewed = search(X, sample, preview, observe=seen.append)
    straight = search(X, sample, None)
    assert len(seen) == len(GRID)
    assert [each.log_likelihood for each in previewed] == pytest.approx(
        [each.log_likelihood for each in straight], rel=1e-5
    )
    for each in previewed:
        assert each.converged
        mixture = each.mixture()
        truth = mixture.weights, mixture.means, mixture.covariances()
        if each.structure.is_spherical:
            truth = (*truth[:2], np.array([np.diag(variances) for variances in truth[2]]))
        expected = oracle.log_density(X, *truth).sum()
        assert each.log_likelihood == pytest.approx(expected, rel=1e-10)
        shares = oracle.responsibilities(X, *truth)
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum()
        assert each.icl == pytest.approx(each.bic + 2.0 * entropy, rel=1e-8)


def test_what_fails_on_a_sample_begins_on_all_rows():
    """A covariance of the sample is singular, and of all rows not."""
    X = rows()
    preview = ArraySource(np.repeat([[0.0, 0.0], [5.0, 1.0], [2.0, 2.0]], 50, axis=0))
    sample = ArraySource(X[:300])
    found, straight = search(X, sample, preview), search(X, sample, None)
    for kind, k in ((0, 1), (3, 2)):
        assert found[kind].failure is None
        assert found[kind].n_components == k
    assert found[3].n_iter == straight[3].n_iter
    # By accelerated passes, where there is a preview.
    assert found[3].log_likelihood == pytest.approx(straight[3].log_likelihood, rel=1e-6)


def test_a_search_by_passes_ends_near_the_maxima():
    X = rows(2000)
    whole = ArraySource(X)
    candidates = search(X, whole, None)
    for each in candidates:
        again, info = fit_em(whole, each.mixture(), each.structure, NONE, tol=1e-12, max_iter=2000)
        assert 2000 * info.trace[-1] - each.log_likelihood < 0.1
        if each.n_components < 3:
            np.testing.assert_allclose(each.mixture().means, again.means, atol=0.02)


def crossed(seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(250, 2)) * each for each in ([1.0, 9.0], [9.0, 1.0])])


def is_special_case(one, of):
    return one.name != of.name and all(
        "IEV".index(own) <= "IEV".index(other)
        for own, other in zip(one.letters, of.letters, strict=True)
    )


@pytest.mark.parametrize("name", [*mclust.DATA_SETS, "crossed 0", "crossed 3"])
def test_candidates_are_at_their_maxima_and_no_simpler_mixture_is_more_likely(name):
    X = crossed(int(name[-1])) if name.startswith("crossed") else mclust.rows(name)
    source, names = ArraySource(X), mclust.results("iris")["models"]
    clusters = partitions(source, range(1, 10), "hierarchical", random_state=None)
    grid = tuple((structure(each), k) for k in range(1, 10) for each in names)
    plan = SearchPlan(grid, Regularization.none(X.shape[1]), tol=1e-5, max_iter=1000)
    found = fit_candidates(SearchedRows(source, source), clusters, plan)
    sound = [each for each in found if each.mixture is not None]
    assert len(sound) >= 114
    for each in sound:
        simpler = [
            other.log_likelihood
            for other in sound
            if (
                other.n_components == each.n_components
                and is_special_case(other.structure, each.structure)
            )
            or (
                other.n_components == each.n_components - 1
                and other.structure.name == each.structure.name
            )
        ]
        slack = plan.tol * (1.0 + abs(each.log_likelihood))
        assert each.log_likelihood >= max(simpler, default=-np.inf) - slack
    # Followed to the last digit, at most two go on from a saddle point: 4 to 26 of each table did
    # when fits ended at the tolerance itself, and at the first small gain 10 to 42.
    fits = CandidateFits(source, SearchPlan(grid, plan.regularization, 1e-5, 20_000), found)
    fits.improve(fits.own_starts(range(len(found))), 1e-10)
    gains = [
        new.log_likelihood - old.log_likelihood
        for new, old in zip(fits.found, found, strict=True)
        if old.mixture is not None
    ]
    assert sum(gain > 0.5 for gain in gains) <= 2
