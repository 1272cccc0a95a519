"""The figure of the first steps."""

from sklearn.datasets import load_iris

from fastgmm import GaussianMixture
from fastgmm.plotting import EllipsesDisplay

X = load_iris().data
mixture = GaussianMixture(n_components=3, random_state=0).fit(X)
EllipsesDisplay.from_estimator(mixture, X, columns=[2, 3])
