"""Passes over cells with components of their own, against passes over all components."""

import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.e_step.truncated import Truncation, nearest_neighbors
from fastgmm.kernels.passes.truncated_pass import CELL_ROWS
from fastgmm.mixture.parameters import MixtureParameters
from tests import oracle

TOLERANCE = {np.float64: 1e-11, np.float32: 2e-4}


def problem(n_samples, n_features, n_components, diagonal, dtype=np.float64):
    rng = np.random.default_rng(n_components)
    means = 3.0 * rng.normal(size=(n_components, n_features))
    factors = np.tril(0.3 * rng.normal(size=(n_components, n_features, n_features)))
    factors += np.eye(n_features)
    covariances = factors @ factors.transpose(0, 2, 1)
    if diagonal:
        covariances = np.einsum("kii->ki", covariances).copy()
    weights = rng.dirichlet(np.full(n_components, 5.0))
    mixture = MixtureParameters.from_covariances(weights, means, covariances)
    rows = means[rng.integers(n_components, size=n_samples)] + rng.normal(
        size=(n_samples, n_features)
    )
    return rows.astype(dtype), rng.random(n_samples), mixture


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_cells_with_all_components_have_the_statistics_of_all(diagonal, dtype, weighted):
    X, weights, mixture = problem(300, 5, 7, diagonal, dtype)
    source = ArraySource(X, weights if weighted else None)
    truncation = Truncation()
    found = truncation.statistics(source, mixture, moments=True, n_jobs=2)
    expected = mixture_statistics(source, mixture).about(found.reference)
    for name in ("counts", "first", "second", "log_likelihood", "weight"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE[dtype] * scale, err_msg=name)
    alone = truncation.statistics(source, mixture, moments=False, n_jobs=1)
    assert alone.log_likelihood == pytest.approx(found.log_likelihood, rel=TOLERANCE[dtype])


@pytest.mark.parametrize("diagonal", [False, True])
def test_rows_are_in_cells_once_with_what_is_near(diagonal):
    X, _, mixture = problem(3000, 2, 90, diagonal)
    truncation = Truncation()
    truncation.statistics(ArraySource(X), mixture, moments=True, n_jobs=1)
    (cells,) = truncation.cells
    np.testing.assert_array_equal(np.sort(cells.order), np.arange(len(X)))
    sizes = np.diff(cells.starts)
    assert sizes.min() > 0
    assert sizes.max() <= CELL_ROWS
    assert sizes.sum() == len(X)
    assert cells.masses.sum() == pytest.approx(len(X))


@pytest.mark.parametrize("diagonal", [False, True])
def test_masses_are_those_of_the_components_of_a_cell(diagonal):
    X, _, mixture = problem(1000, 3, 70, diagonal)
    truncation = Truncation()
    found = truncation.statistics(ArraySource(X), mixture, moments=True, n_jobs=1)
    (cells,) = truncation.cells
    covariances = mixture.covariances()
    if diagonal:
        covariances = covariances[:, :, None] * np.eye(3)
    joint = oracle.joint_log_density(X, mixture.weights, mixture.means, covariances)
    total = 0.0
    for c, size in enumerate(cells.sizes):
        rows = cells.order[cells.starts[c] : cells.starts[c + 1]]
        own = joint[np.ix_(rows, cells.members[c, :size])]
        density = np.logaddexp.reduce(own, axis=1)
        total += density.sum()
        masses = np.exp(own - density[:, None]).sum(axis=0)
        np.testing.assert_allclose(cells.masses[c, :size], masses, atol=1e-10)
    assert found.log_likelihood == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("diagonal", [False, True])
def test_neighbors_have_the_least_divergence(diagonal):
    _, _, mixture = problem(10, 3, 60, diagonal)
    covariances = mixture.covariances()
    if diagonal:
        covariances = covariances[:, :, None] * np.eye(3)
    precisions = np.linalg.inv(covariances)
    between = mixture.means[:, None] - mixture.means
    # [k, l]: of component k from component l
    divergences = 0.5 * (
        np.einsum("kij,lji->kl", covariances, precisions)
        + np.einsum("kli,lij,klj->kl", between, precisions, between)
        - 3
        - np.linalg.slogdet(covariances)[1][:, None]
        + np.linalg.slogdet(covariances)[1]
    )
    least = np.minimum(divergences, divergences.T)
    found = nearest_neighbors(mixture)
    np.testing.assert_array_equal(found[:, 0], np.arange(60))
    np.testing.assert_allclose(
        np.take_along_axis(least, found, axis=1),
        np.sort(least, axis=1)[:, : found.shape[1]],
        atol=1e-9,
    )
