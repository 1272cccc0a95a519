"""scikit-learn's own checks of estimators, with no failure expected."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastgmm import (
    BayesianGaussianMixture,
    ConjugatePriors,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    KMeans,
    MessageLengthGaussianMixture,
    MiniBatchGaussianMixture,
    StudentMixture,
)
from fastgmm.em.degeneracy import DegenerateComponentWarning


class EvenlySpread:
    """Centers that do not depend on the order, number of copies or weights of the rows.

    One check compares weighted with shuffled and repeated rows, which draws of rows cannot make
    equal: scikit-learn's own k-means is exempt from it.
    """

    def __call__(self, X, n_clusters, random_state):
        del random_state
        return np.repeat(np.linspace(0.0, 1.0, n_clusters)[:, None], X.shape[1], axis=1)

    def __repr__(self):
        return "EvenlySpread()"  # a test's name holds no address, which differs between processes


class LabeledMixture(GaussianMixture):
    """A semi-supervised mixture that takes classes it has no component for as not known.

    The checks give classes of their own choice as y.
    """

    def fit(self, X, y, sample_weight=None):
        if y is not None:
            classes = np.asarray(y)
            y = np.where(classes < self.n_components, classes, -1)
        return super().fit(X, y, sample_weight)


# Some checks fit more components or clusters than a handful of rows can fill.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings(
    f"ignore::{DegenerateComponentWarning.__module__}.{DegenerateComponentWarning.__name__}"
)
@parametrize_with_checks(
    [
        GaussianMixture(),
        GaussianMixture(covariance_type="tied_diag", init_params="random_from_data"),
        BayesianGaussianMixture(),
        BayesianGaussianMixture(
            covariance_type="tied_diag",
            weight_concentration_prior_type="dirichlet_distribution",
        ),
        GaussianMixture(covariance_type="diag", priors="mclust"),
        LabeledMixture(4, covariance_type="diag", semi_supervised=True),
        GaussianMixture(priors=ConjugatePriors(scale=1.0), noise_volume="auto"),
        GaussianMixture(missing="model"),
        MessageLengthGaussianMixture(),
        StudentMixture(),
        StudentMixture(covariance_type="tied_diag", dof="separate"),
        MessageLengthGaussianMixture(3, min_components=1, covariance_type="tied_diag"),
        MiniBatchGaussianMixture(),
        MiniBatchGaussianMixture(covariance_type="diag", batch_size=7, averaging=True),
        MiniBatchGaussianMixture(missing="model"),
        BayesianGaussianMixture(missing="model"),
        GaussianMixtureClassifier(missing="model"),
        GaussianMixtureOutlierDetector(missing="model"),
        GaussianMixtureClassifier(),
        GaussianMixtureClassifier(covariance_type="diag", common_structure=False),
        GaussianMixtureOutlierDetector(),
        GaussianMixtureOutlierDetector(contamination=0.1, covariance_type="diag"),
        GaussianMixtureRegressor(),
        GaussianMixtureRegressor(covariance_type="tied", missing="model"),
        GaussianMixtureTransformer(1),
        GaussianMixtureTransformer(1, output="log_densities", missing="model"),
        KMeans(n_clusters=1),
        KMeans(n_clusters=3, init=EvenlySpread()),
    ]
)
def test_scikit_learn_check(estimator, check):
    check(estimator)
