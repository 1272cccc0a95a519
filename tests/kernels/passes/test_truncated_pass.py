"""Passes over cells with components of their own, against passes over all components."""

import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import accumulator, truncated
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.e_step.truncated import Truncation
from fastgmm.kernels.passes.truncated_pass import CELL_ROWS, Links, choose_members
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
def test_cells_with_all_components_have_the_statistics_of_all(
    diagonal, dtype, weighted, monkeypatch
):
    monkeypatch.setattr(truncated, "_NEGLIGIBLE", 0.0)
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
    labels = np.empty(len(X), np.int64)
    for c, label in enumerate(cells.whose):
        rows = cells.order[cells.starts[c] : cells.starts[c + 1]]
        size = cells.sizes[label]
        own = joint[np.ix_(rows, cells.members[label, :size])]
        labels[rows] = cells.members[label, own.argmax(axis=1)]
        density = np.logaddexp.reduce(own, axis=1)
        total += density.sum()
        masses = np.exp(own - density[:, None]).sum(axis=0)
        np.testing.assert_allclose(cells.masses[c, :size], masses, atol=1e-10)
    assert found.log_likelihood == pytest.approx(total, rel=1e-12)
    (next_cells,) = truncation.proposed
    in_order = np.repeat(next_cells.whose, np.diff(next_cells.starts))
    seen = labels[next_cells.order] != in_order  # all components were evaluated at these
    assert seen.mean() < 0.05
    np.testing.assert_array_equal(in_order[seen], joint.argmax(axis=1)[next_cells.order][seen])


def test_cells_are_passed_over_in_parts(monkeypatch):
    X, weights, mixture = problem(1000, 3, 70, diagonal=False)
    ran = []
    real = accumulator.run_slots

    def run_slots(kernel, task, **given):
        if hasattr(task, "whose"):
            ran.append(len(task.whose))
        return real(kernel, task, **given)

    monkeypatch.setattr(accumulator, "run_slots", run_slots)
    found = []
    for at_once in (10**9, 10**5):
        monkeypatch.setattr(accumulator, "OPERATIONS_AT_ONCE", at_once)
        source = ArraySource(X, weights)
        found.append(Truncation().statistics(source, mixture, moments=True, n_jobs=1))
    np.testing.assert_allclose(found[0].second, found[1].second, atol=1e-10)
    assert found[0].log_likelihood == pytest.approx(found[1].log_likelihood, rel=1e-13)
    assert len(ran) > 2
    assert sum(ran) == 2 * ran[0]


def links(matrix):
    components, others = np.nonzero(matrix)
    starts = np.searchsorted(components, np.arange(len(matrix) + 1))
    return Links(starts, others, matrix[components, others])


def chosen(shares, moves, seen, n_most, n_tried, turn):
    """Return the members that are chosen after those with shares of a label."""
    sizes = (shares > 0.0).sum(axis=1)
    members = np.argsort(-shares, axis=1, kind="stable")[:, :n_most]
    out, n_out = np.zeros_like(members), np.zeros_like(sizes)
    choose_members(
        members, np.minimum(sizes, n_most), np.take_along_axis(shares, members, axis=1),
        links(moves), links(seen), n_tried, turn, out, n_out,
    )  # fmt: skip
    return [list(each[:n]) for each, n in zip(out, n_out, strict=True)]


def test_members_are_the_heaviest_and_some_that_these_have():
    rng = np.random.default_rng(0)
    K, n_most, n_tried = 30, 8, 3
    shares = np.where(rng.random((K, K)) < 0.2, rng.random((K, K)), 0.0)
    lightest = -np.sort(-shares, axis=1)[:, n_most - 1, None]
    shares[shares < lightest] = 0.0
    moves = np.diag(rng.random(K)) + np.where(rng.random((K, K)) < 0.1, rng.random((K, K)), 0.0)
    moves[4] = 0.0
    seen = np.where(rng.random((K, K)) < 0.1, rng.random((K, K)), 0.0)
    amounts = moves @ shares + seen
    tried = []
    for turn in range(40):
        found = chosen(shares, moves, seen, n_most, n_tried, turn)
        assert found[4] == []  # no row has this label
        for k in set(range(K)) - {4}:
            known = np.flatnonzero(amounts[k])
            kept = known[np.argsort(-amounts[k, known], kind="stable")][: n_most - n_tried]
            own = [other for other in found[k] if other in known]
            assert own[: len(kept)] == list(kept)
            assert len(set(found[k])) == len(found[k]) <= n_most
            others = [other for other in found[k] if other not in kept]
            near = np.flatnonzero(shares[kept[:n_tried]].any(axis=0))
            new = set(others) - set(known) - {k}
            assert new <= set(near)
            assert len(new) >= min(n_tried, len(set(near) - set(known) - {k}))
            tried.append(tuple(others))
    assert len(set(tried[:: K - 1])) > 1  # others in each turn


def test_a_label_without_a_past_has_its_own_component():
    nothing = np.zeros((3, 3))
    assert chosen(nothing, np.eye(3), nothing, 2, 1, 0) == [[0], [1], [2]]
