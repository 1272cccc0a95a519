"""
Semi-supervised mixtures
========================

Labels are expensive, rows are not. If a few rows are labeled, a mixture can be fitted to all: the
labeled rows belong to their components, and the others take part with their responsibilities. The
example identifies the cultivars of the wines included in scikit-learn from few labels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from fastgmm import GaussianMixture, GaussianMixtureClassifier
from fastgmm.plotting import EllipsesDisplay

wine = load_wine()
X = StandardScaler().fit_transform(wine.data)
cultivar = wine.target

# %%
# In the plane of the first two principal components, five wines of each cultivar are labeled; -1
# means unlabeled. Components are numbered as the labels are.

plane = PCA(2).fit_transform(X)
random = np.random.default_rng(0)


def label(n_labels):
    """Return the cultivars of some wines of each, and -1 for the others."""
    y = np.full(len(X), -1)
    for each in range(3):
        chosen = random.choice(np.flatnonzero(cultivar == each), n_labels, replace=False)
        y[chosen] = each
    return y


y = label(5)
mixture = GaussianMixture(3, semi_supervised=True, random_state=0).fit(plane, y)
share = np.mean(mixture.predict(plane) == cultivar)
print(f"{np.sum(y >= 0)} labels: {share:.1%} of the wines are in the component of their cultivar")

display = EllipsesDisplay.from_estimator(mixture, plane)
ax = display.ax_
ax.scatter(*plane[y >= 0].T, s=70, facecolors="none", edgecolors="black", label="labeled")
ax.set(
    xlabel="First principal component",
    ylabel="Second principal component",
    title="A mixture of wines, fifteen of which are labeled",
)
plt.show()

# %%
# With all thirteen measurements: the accuracy of a classifier on the wines without labels, if it is
# fitted to the labeled ones alone and to all of them, for a few random choices of the labels.

settings = {
    "labeled wines only": {"semi_supervised": False},
    "all wines": {"semi_supervised": True},
}
numbers = (2, 3, 5, 8, 12, 20)
accuracies = {name: [] for name in settings}
for n_labels in numbers:
    found = {name: [] for name in settings}
    for _ in range(10):
        y = label(n_labels)
        known = y >= 0
        for name, setting in settings.items():
            rows = known | setting["semi_supervised"]
            classifier = GaussianMixtureClassifier(
                covariance_type="EEI", reg_covar=1e-3, **setting
            ).fit(X[rows], y[rows])
            found[name].append(classifier.score(X[~known], cultivar[~known]))
    for name, each in found.items():
        accuracies[name].append((np.mean(each), np.min(each), np.max(each)))

figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for name, each in accuracies.items():
    mean, low, high = np.transpose(each)
    ax.plot(numbers, mean, marker="o", markersize=4, label=name)
    ax.fill_between(numbers, low, high, alpha=0.2)
    print(
        f"{name}: {mean[0]:.1%} with {numbers[0]} labels of each, {mean[-1]:.1%} with {numbers[-1]}"
    )
ax.set(
    xlabel="Labeled wines of each cultivar",
    ylabel="Accuracy on the others",
    title="What unlabeled wines add (mean and range of ten choices)",
    xticks=numbers,
)
ax.legend(loc="lower right")
plt.show()
