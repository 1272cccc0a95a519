"""EM of classes with a mixture each, beside the same in a few lines of NumPy."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.models.class_em import ClassProblem, fit_class_em
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests import oracle

NONE = Regularization.none(2)
CLASS_OF = np.array([0, 0, 1])
"""Two components of the first class, one of the second."""


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, -1], [40, 30, 60])
    centers = np.array([[0.0, 0.0], [3.0, 0.0], [1.0, 3.0]])
    X = centers[rng.integers(0, 3, len(codes))] + rng.normal(size=(len(codes), 2))
    weights = rng.random(len(codes)) + 0.5
    start = [
        MixtureParameters.from_covariances(
            np.array([0.5, 0.5]), centers[:2], np.repeat(np.eye(2)[None], 2, axis=0)
        ),
        MixtureParameters.from_covariances(np.ones(1), centers[2:], np.eye(2)[None]),
    ]
    return X, codes, weights, start


def naive(X, codes, weights, start, factors, priors, tied, n_iter):
    """Return weights, means, covariances and the trace of EM."""
    means = np.vstack([each.means for each in start])
    covariances = np.repeat(np.eye(2)[None], 3, axis=0)
    w = (
        np.array([0.25, 0.25, 0.5])
        if priors is None
        else np.array([0.5, 0.5, 1.0]) * np.repeat(priors, [2, 1])
    )
    counted = weights * np.where(codes >= 0, factors[codes], 1.0)
    allowed = (codes[:, None] == CLASS_OF) | (codes[:, None] < 0)
    trace = []
    for _ in range(n_iter):
        logs = np.stack(
            [multivariate_normal(m, c).logpdf(X) for m, c in zip(means, covariances, strict=True)],
            axis=1,
        )
        joint = np.where(allowed, logs + np.log(w), -np.inf)
        trace.append(counted @ logsumexp(joint, axis=1) / counted.sum())
        r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)) * counted[:, None]
        counts = r.sum(axis=0)
        means = (r.T @ X) / counts[:, None]
        covariances = np.stack(
            [((X - m).T * r[:, k]) @ (X - m) / counts[k] for k, m in enumerate(means)]
        )
        if tied:
            covariances[:] = np.tensordot(counts, covariances, axes=1) / counts.sum()
        of_class = np.array([counts[:2].sum(), counts[2]])
        shares = of_class / of_class.sum() if priors is None else priors
        w = counts / of_class[CLASS_OF] * shares[CLASS_OF]
    return w, means, covariances, trace


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("priors", [None, np.array([0.3, 0.7])])
def test_iterations_are_those_of_the_formulas(problem, tied, priors):
    X, codes, weights, start = problem
    factors = np.array([2.0, 1.0])
    labeled = [ArraySource(X[codes == c], weights[codes == c]) for c in range(2)]
    unlabeled = ArraySource(X[codes < 0], weights[codes < 0])
    kinds = (structure("EEE"),) if tied else (structure("VVV"),) * 2
    classes = ClassProblem(labeled, unlabeled, (2, 1), kinds, factors, priors, NONE)
    begun = np.array([0.5, 0.5]) if priors is None else priors
    fit = fit_class_em(classes, start, begun, SmallChange(0.0), 5)
    w, means, covariances, trace = naive(X, codes, weights, start, factors, priors, tied, 6)
    np.testing.assert_allclose(fit.info.trace, trace, rtol=1e-12)
    assert not fit.info.converged
    # The sixth value of the trace is that of the parameters after five steps.
    w, means, covariances, _ = naive(X, codes, weights, start, factors, priors, tied, 5)
    np.testing.assert_allclose(np.vstack([each.means for each in fit.mixtures]), means, rtol=1e-10)
    found = np.concatenate([each.covariances() for each in fit.mixtures])
    np.testing.assert_allclose(found, covariances, rtol=1e-10, atol=1e-12)
    joint = np.concatenate(
        [each.weights * prior for each, prior in zip(fit.mixtures, fit.priors, strict=True)]
    )
    np.testing.assert_allclose(joint, w, rtol=1e-10)
    assert fit.log_likelihood == pytest.approx(fit.info.trace[-1] * classes.weight)


def test_structures_of_both_forms_rise_to_the_end(problem):
    X, codes, weights, start = problem
    labeled = [ArraySource(X[codes == c], weights[codes == c]) for c in range(2)]
    unlabeled = ArraySource(X[codes < 0], weights[codes < 0])
    kinds = structure("VEI"), structure("VVV")
    classes = ClassProblem(labeled, unlabeled, (2, 1), kinds, np.ones(2), None, NONE)
    diagonal = MixtureParameters.from_covariances(start[0].weights, start[0].means, np.ones((2, 2)))
    begun = [diagonal, start[1]]
    fit = fit_class_em(classes, begun, np.array([0.5, 0.5]), SmallChange(1e-9), 1000)
    assert fit.info.converged
    assert (np.diff(fit.info.trace) > -1e-12).all()
    shapes = np.einsum("kii->ki", fit.mixtures[0].covariances())
    assert shapes[0] / shapes[0].sum() == pytest.approx(shapes[1] / shapes[1].sum(), rel=1e-6)
    assert fit.mixtures[0].covariances()[:, 0, 1] == pytest.approx(0.0)


@pytest.mark.parametrize("common", [False, True])
def test_a_fall_that_the_regularization_causes_is_avoided_and_no_convergence(common):
    """The narrow group grows by less than the regularization from one step to the next."""
    rng = np.random.default_rng(0)
    X = np.concatenate([1e-3 * rng.normal(size=200), rng.normal(size=200)])[:, None]
    labeled = [ArraySource(X), ArraySource(X[200:] + 20.0)]
    start = [
        MixtureParameters.from_covariances(
            np.array([0.5, 0.5]), np.zeros((2, 1)), np.array([[[1e-4]], [[1.0]]])
        ),
        MixtureParameters.from_covariances(np.ones(1), np.array([[20.0]]), np.ones((1, 1, 1))),
    ]
    regularization = Regularization(np.array([1e-4]), np.array([False]))
    kinds = (structure("VVV"),) * (1 if common else 2)
    classes = ClassProblem(labeled, None, (2, 1), kinds, np.ones(2), None, regularization)
    fit = fit_class_em(classes, start, np.array([2.0, 1.0]) / 3.0, SmallChange(0.0), 100)
    assert len(fit.info.trace) == 101
    assert np.diff(fit.info.trace).min() >= -1e-10
    assert not fit.info.converged
    # of plain EM, in which the regularized step is always taken, the log-likelihood falls
    weights, means = np.array([1.0, 1.0]) / 2.0, np.zeros((2, 1))
    covariances = np.array([[[1e-4]], [[1.0]]])
    plain = oracle.em(X, weights, means, covariances, "VVV", 100, regularization.amounts)[1]
    assert np.diff(plain).min() < -1e-8


def test_rows_that_are_far_from_everything_are_reported(problem):
    X, codes, _, start = problem
    labeled = [ArraySource(X[codes == c]) for c in range(2)]
    far = ArraySource(np.array([[1e300, 0.0]]))
    kinds = (structure("VVV"),) * 2
    classes = ClassProblem(labeled, far, (2, 1), kinds, np.ones(2), None, NONE)
    far_away = pytest.raises(ValueError, match="impossibly far from every class")
    with np.errstate(over="ignore", invalid="ignore"), far_away:
        fit_class_em(classes, start, np.array([0.5, 0.5]), SmallChange(1e-3), 10)
