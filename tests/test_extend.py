"""What others build on: a prior, a source and passes block by block."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import fastgmm
from fastgmm import GaussianMixture, extend


def rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) + np.repeat([[0.0, 0.0], [8.0, 3.0]], n // 2, axis=0)


def test_the_seam_is_an_attribute_of_the_package():
    assert fastgmm.extend is extend
    for name in ("CovarianceStructure", "Source", "Prior", "block_statistics", "merge"):
        assert name in extend.__all__
    assert all(hasattr(extend, name) for name in extend.__all__)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["full", "diag", "EVE"])
def test_em_of_blocks_is_em_of_all_rows(kind, weighted):
    X = rows()
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(X)) if weighted else None
    structure = extend.structure(kind)
    start = GaussianMixture(2, covariance_type=kind, max_iter=1, tol=0.0, random_state=0)
    with pytest.warns(ConvergenceWarning):
        start.fit(X, sample_weight=weights)
    parameters = structure.from_covariances(start.weights_, start.means_, start.covariances_)
    none = extend.Regularization.none(2)
    for _ in range(50):
        blocks = [slice(0, 100), slice(100, 130), slice(130, 400)]
        parts = [
            extend.block_statistics(
                parameters, extend.Rows(X[each], None if weights is None else weights[each])
            )
            for each in blocks
        ]
        total = extend.merge(*parts)
        parameters = structure.solve(total, none, parameters)
    whole = GaussianMixture(
        2, covariance_type=kind, reg_covar=0.0, tol=1e-12, max_iter=500, random_state=0
    ).fit(X, sample_weight=weights)
    order = np.argsort(parameters.means[:, 0]), np.argsort(whole.means_[:, 0])
    assert_allclose(parameters.means[order[0]], whole.means_[order[1]], rtol=1e-5, atol=1e-5)
    assert total.mean_log_likelihood == pytest.approx(whole.score(X, sample_weight=weights))


def test_blocks_are_arrays_too():
    X = rows()
    parameters = extend.structure("full").from_covariances(
        np.array([0.5, 0.5]), X[[0, -1]], np.repeat(np.eye(2)[None], 2, axis=0)
    )
    one = extend.block_statistics(parameters, X.astype(np.float32))
    other = extend.block_statistics(parameters, extend.Rows(X, np.ones(len(X))), n_jobs=1)
    assert_allclose(one.counts, other.counts, rtol=1e-5)
    twice = extend.merge(other, other)
    assert_array_equal(twice.counts, 2.0 * other.counts)
    assert extend.merge(one) is one


def two_components(X):
    return extend.MixtureParameters.from_covariances(
        np.array([0.5, 0.5]), X[[0, -1]], np.repeat(np.eye(2)[None], 2, axis=0)
    )


def assert_same_statistics(one, other, **tolerance):
    for name in ("counts", "first", "second", "log_likelihood", "weight"):
        assert_allclose(getattr(one, name), getattr(other, name), **tolerance)


def test_what_is_missing_in_a_block_is_integrated_out():
    X = rows()
    X[::7, 0] = np.nan
    X[3::7, 1] = np.nan
    parameters = two_components(rows())
    parts = [
        extend.block_statistics(parameters, X[each]) for each in (slice(0, 90), slice(90, 400))
    ]
    found = extend.merge(*parts)
    assert_same_statistics(found, extend.block_statistics(parameters, X), rtol=1e-10)
    here = np.isfinite(X[:, 0]) & np.isnan(X[:, 1])
    joint = 0.5 * np.exp(-0.5 * (X[here][:, :1] - parameters.means[:, 0]) ** 2) / np.sqrt(2 * np.pi)
    alone = extend.block_statistics(parameters, X[here])
    assert_allclose(alone.log_likelihood, np.log(joint.sum(axis=1)).sum())
    assert_allclose(alone.counts, (joint / joint.sum(axis=1, keepdims=True)).sum(axis=0))


def test_a_block_without_rows_adds_nothing():
    X = rows()
    for parameters in (
        two_components(X),
        extend.structure("diag").from_covariances(
            np.array([0.5, 0.5]), X[[0, -1]], np.ones((2, 2))
        ),
    ):
        whole = extend.block_statistics(parameters, X)
        none = extend.block_statistics(parameters, X[:0])
        assert_same_statistics(extend.merge(none, whole, none), whole, rtol=0)


def test_values_of_the_seam_can_be_sent():
    X = rows()
    parameters = two_components(X)
    sent = pickle.loads(pickle.dumps(parameters))
    here = extend.block_statistics(parameters, X, n_jobs=2)
    there = pickle.loads(pickle.dumps(extend.block_statistics(sent, X, n_jobs=1)))
    assert_same_statistics(here, there, rtol=0)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.ones((3, 1)), "the block has 1 features, and the mixture 2"),
        (np.ones(3), r"the block holds an array of shape \(3,\), which is not a table"),
        ([["a", "b"]], "the block holds 'a' of type str in row 0, column 0"),
        (np.array([[1.0, np.inf]]), "the block: the value in column 'x1' in row 0"),
        (extend.Rows(np.ones((2, 2)), np.array([1.0, -1.0])), "the block: the weight .*row 1"),
        (extend.Rows(np.ones((2, 2)), np.array([np.nan, 1.0])), "the block: the weight .*row 0"),
    ],
)
def test_what_is_wrong_with_a_block(block, message):
    with pytest.raises(ValueError, match=message):
        extend.block_statistics(two_components(rows()), block)


class Anchored(extend.Prior):
    """Means are normal about known places, with the precision of some rows of their component."""

    def __init__(self, places, n_rows):
        self.places, self.n_rows = np.array(places), n_rows

    def solve(self, statistics, structure, before=None):
        free = structure.solve(statistics, extend.Regularization.none(2), before)
        share = self.n_rows / (self.n_rows + statistics.counts)[:, None]
        offsets = self.places - free.means
        means = free.means + share * offsets
        covariances = statistics.covariances() + (share * offsets)[:, :, None] * offsets[:, None, :]
        return extend.MixtureParameters.from_covariances(free.weights, means, covariances)

    def log_density(self, parameters, structure):  # noqa: ARG002
        offsets = np.einsum("kij,kj->ki", parameters.whiteners, parameters.means - self.places)
        return -0.5 * self.n_rows * float((offsets**2).sum())


def test_a_prior_of_ones_own(tmp_path):
    X = rows()
    places = [[1.0, 0.0], [9.0, 3.0]]
    prior = Anchored(places, 200.0)
    given = {"means_init": places, "priors": prior, "tol": 1e-10, "max_iter": 1000}
    mixture = GaussianMixture(2, **given).fit(X)
    free = GaussianMixture(2, means_init=places, tol=1e-10, max_iter=1000).fit(X)
    assert_allclose(mixture.means_, (free.means_ + places) / 2.0, atol=0.05)
    assert np.all(np.diff(mixture.trace_) >= -1e-12)
    assert mixture.get_params()["priors"] == Anchored(places, 200.0)
    assert "Anchored(" in repr(mixture)
    with pytest.raises(TypeError, match=r"(?s)cannot save Anchored\(.*pickle"):
        mixture.save(tmp_path / "model.fgm")


class Numbers(extend.Source):
    """Rows that are made when they are asked for."""

    feature_names = None
    dtype = np.dtype(np.float64)
    replayable = True
    has_weights = False
    n_features = 2

    def __init__(self, n_blocks):
        self.n_blocks = n_blocks

    @property
    def n_samples(self):
        return 1024 * self.n_blocks

    @property
    def total_weight(self):
        return float(self.n_samples)

    def blocks(self):
        for number in range(self.n_blocks):
            yield extend.Rows(rows(1024, seed=number), None)

    def fingerprint(self):
        return {"numbers": self.n_blocks}


def test_a_source_of_ones_own():
    source = Numbers(5)
    X = np.concatenate([block.X for block in source.blocks()])
    one = GaussianMixture(2, random_state=0).fit(source)
    other = GaussianMixture(2, random_state=0).fit(X)
    assert_array_equal(one.means_, other.means_)
    assert_array_equal(one.predict(source), other.predict(X))


class FewSteps(extend.StoppingRule):
    """A number of iterations is enough."""

    def __init__(self, n_steps):
        self.n_steps = n_steps

    def has_converged(self, values):
        return len(values) > self.n_steps


def test_a_stopping_rule_of_ones_own(tmp_path):
    X = rows()
    path = tmp_path / "run.fgm"
    given = {"random_state": 0, "checkpoint": path, "resume": True}
    mixture = GaussianMixture(2, tol=FewSteps(3), **given).fit(X)
    assert mixture.converged_
    again = GaussianMixture(2, tol=FewSteps(3), **given).fit(X)
    assert_array_equal(again.means_, mixture.means_)
    with pytest.raises(ValueError, match=r"(?s)other parameters.*tol"):
        GaussianMixture(2, tol=FewSteps(4), **given).fit(X)
