"""Starts where the components of some rows are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import labeled_statistics, mixture_statistics
from fastgmm.em.initialization.labels import KnownRows, LabeledComponents
from fastgmm.mixture.parameters import MixtureParameters

CENTERS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 100.0], [10.0, 100.0]])


def groups(seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=400)
    return CENTERS[truth] + rng.normal(size=(400, 2)) * [1.0, 10.0], truth


def of(X, labels, diagonal=False):
    known = KnownRows(ArraySource(X), labels)
    random_state = np.random.RandomState(0)
    return LabeledComponents.of(known, 4, diagonal=diagonal, random_state=random_state)


@pytest.mark.parametrize("diagonal", [False, True])
def test_components_take_the_places_nearest_to_their_rows(diagonal):
    X, truth = groups()
    found = labeled_statistics(ArraySource(X), truth, 4, diagonal=diagonal)
    labels = np.full(400, -1)
    # component 1 is labeled where the third group is, component 2 where the first is
    of_third, of_first = np.flatnonzero(truth == 2)[:50], np.flatnonzero(truth == 0)[:1]
    labels[of_third], labels[of_first] = 1, 2

    start = of(X, labels, diagonal).leading(found)

    means = start.means()
    assert_allclose(means[1], X[of_third].mean(axis=0))
    assert_allclose(means[2], X[of_first[0]])
    assert_allclose(means[[0, 3]], found.means()[[1, 3]])
    assert_allclose(start.counts, found.counts[[1, 2, 0, 3]])
    spread = np.cov(X[of_third].T, bias=True)
    expected = found.covariances()[[1, 2, 0, 3]]
    expected[1] = np.diag(spread) if diagonal else spread
    assert_allclose(start.covariances(), expected)


def test_matches_are_the_best_all_together():
    X, truth = groups()
    found = labeled_statistics(ArraySource(X), truth, 4, diagonal=True)
    labels = np.full(400, -1)
    # two components labeled in the same group: one of them takes the next place
    labels[np.flatnonzero(truth == 0)[:2]] = [0, 1]

    start = of(X, labels, diagonal=True).leading(found)

    assert_allclose(np.sort(start.counts[:2]), np.sort(found.counts[:2]))
    order = np.argsort(start.counts[:2]), np.argsort(found.counts[:2])
    assert_allclose(start.covariances()[order[0]], found.covariances()[order[1]])
    assert_allclose(start.means()[2:], found.means()[2:])


def test_labels_suffice_where_every_component_has_a_spread():
    X, truth = groups()
    assert of(X, truth).suffice
    few = np.where(truth == 3, -1, truth)
    assert not of(X, few).suffice
    few[np.flatnonzero(truth == 3)[:2]] = 3
    assert not of(X, few).suffice
    assert of(X, few, diagonal=True).suffice


def test_rows_that_lack_values_are_filled_in():
    X, truth = groups()
    gaps = X.copy()
    gaps[::3, 1] = np.nan
    known = KnownRows(ArraySource(gaps, incomplete=True), truth)
    labeled = LabeledComponents.of(known, 4, diagonal=False, random_state=np.random.RandomState(0))
    assert np.isfinite(labeled.statistics.second).all()
    assert_array_equal(labeled.sizes, np.bincount(truth))
    assert_allclose(labeled.statistics.means()[:, 0], of(X, truth).statistics.means()[:, 0])


def test_more_rows_than_labels_are_refused():
    X, truth = groups()
    parameters = MixtureParameters.from_covariances(
        np.full(4, 0.25), CENTERS, np.repeat(np.diag([1.0, 100.0])[None], 4, axis=0)
    )
    with pytest.raises(ValueError, match="more rows than labels"):
        mixture_statistics(ArraySource(X), parameters, known=truth[:-1])
