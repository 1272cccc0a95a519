"""
Classifying wines with rejection
================================

The wine data included in scikit-learn are chemical analyses of 178 wines from three cultivars. This
example classifies them with a Gaussian mixture for each class. The classifier also provides class
probabilities, and rejects wines that are unlike all of its training data.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from fastgmm import GaussianMixtureClassifier

# %%
# By default, the classifier has one component per class. Between a single covariance shared by all
# classes and one covariance per class there are many structures; their densities are averaged,
# weighted by the probability that each assigns to the classes of held-out wines.

data = load_wine()
classifier = GaussianMixtureClassifier().fit(data.data, data.target)
for name, share in sorted(classifier.structure_shares_.items(), key=lambda each: -each[1]):
    print(f"{name}: {share:.3f}")

# %%
# Ten-fold cross-validation compares its errors with those of linear discriminant analysis.

folds = StratifiedKFold(10, shuffle=True, random_state=1)
for model in (GaussianMixtureClassifier(), LinearDiscriminantAnalysis()):
    found = cross_val_predict(model, data.data, data.target, cv=folds)
    wrong = int(np.sum(found != data.target))
    print(f"{type(model).__name__}: {wrong} of {len(found)} wrong")
    assert wrong <= 3

# %%
# Next, the classifier is fitted to only two of the cultivars and two of the features, so that the
# result can be shown in a plane. With ``reject_below=0.01`` at most a hundredth of the training
# wines of each class are rejected; a wine below the thresholds of both classes gets the label -1.
# The third cultivar is unknown to the classifier, which would otherwise have to assign each of its
# wines to one of the two.

features = [data.feature_names.index(name) for name in ("flavanoids", "color_intensity")]
X = np.log(data.data[:, features])
known = data.target != 2
classifier = GaussianMixtureClassifier(selection="bic", reject_below=0.01)
classifier.fit(X[known], data.target[known])
rejected = classifier.rejected(X)
print(f"structure {next(iter(classifier.structure_shares_))}")
print(f"{rejected[known].mean():.0%} of the wines of known cultivars are rejected")
print(f"{rejected[~known].mean():.0%} of those of the unknown one are")
assert rejected[known].mean() <= 0.01
assert rejected[~known].mean() > 0.7

# %%
# The figure shows the probability of the first class where rows are not rejected.

figure, ax = plt.subplots(figsize=(7.2, 5.2), layout="constrained")
(left, bottom), (right, top) = X.min(axis=0) - 0.2, X.max(axis=0) + 0.2
x, y = np.meshgrid(np.linspace(left, right, 300), np.linspace(bottom, top, 300))
points = np.column_stack([x.ravel(), y.ravel()])
probability = classifier.predict_proba(points)[:, 0]
shown = np.where(classifier.rejected(points), np.nan, probability).reshape(x.shape)
mesh = ax.pcolormesh(np.exp(x), np.exp(y), shown, cmap="RdBu", vmin=0.0, vmax=1.0, alpha=0.6)
figure.colorbar(mesh, ax=ax, label="Probability of cultivar 1, where rows are not rejected")
for cultivar, marker in enumerate("os^"):
    rows = np.exp(X[data.target == cultivar])
    color = ("tab:blue", "tab:red", "black")[cultivar]
    label = f"cultivar {cultivar + 1}" + (", not in the training set" if cultivar == 2 else "")
    ax.plot(*rows.T, marker, color=color, markersize=4, label=label)
ax.set(xscale="log", yscale="log", xlabel="Flavanoids", ylabel="Color intensity")
for axis, ticks in ((ax.xaxis, [0.5, 1, 2, 3, 5]), (ax.yaxis, [1.5, 3, 5, 8, 12])):
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
ax.set_title("Wines outside the colored region are rejected")
ax.legend(loc="upper right")
plt.show()
