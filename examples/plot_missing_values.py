"""
Imputing missing values
=======================

The iris data contain four measurements of each of 150 flowers. In this example a fifth of the
measurements is removed. A mixture is fitted to the remaining values and imputes the missing ones,
which can then be compared with the true values.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.metrics import adjusted_rand_score

from fastgmm import GaussianMixture

iris = load_iris()
X = iris.data


def lose(share, seed):
    """Return the flowers with a share of the measurements missing, and which."""
    is_missing = np.random.default_rng(seed).random(X.shape) < share
    return np.where(is_missing, np.nan, X), is_missing


holes, is_missing = lose(0.2, 0)
whole = ~is_missing.any(axis=1)
print(
    f"{is_missing.sum()} of {X.size} values are missing, "
    f"{whole.sum()} of {len(X)} rows are complete"
)

# %%
# With ``missing="model"`` each row contributes the density of its observed values.

mixture = GaussianMixture(3, missing="model", n_init=5, random_state=0).fit(holes)
filled = mixture.impute(holes)
draws = mixture.impute(holes, n_draws=20)
agreement = adjusted_rand_score(iris.target, mixture.predict(holes))
print(f"adjusted Rand index of the components with the species: {agreement:.2f}")

# %%
# Flowers whose petal width is missing but whose petal length is observed. The conditional mean of
# the width follows the groups of the flowers; draws show its uncertainty.

figure, plane = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
length, width = 2, 3
known = ~is_missing[:, [length, width]].any(axis=1)
lost = is_missing[:, width] & ~is_missing[:, length]
plane.scatter(*X[known][:, [length, width]].T, s=14, color="lightgray", label="observed")
plane.scatter(
    np.broadcast_to(X[lost, length], (20, lost.sum())),
    draws[:, lost, width],
    s=5,
    alpha=0.35,
    color="tab:blue",
    label="draws",
)
plane.vlines(X[lost, length], X[lost, width], filled[lost, width], color="tab:red", linewidth=0.8)
plane.scatter(X[lost, length], X[lost, width], s=26, marker="x", color="black", label="truth")
plane.scatter(X[lost, length], filled[lost, width], s=22, color="tab:red", label="mean")
plane.set(xlabel="Petal length in cm", ylabel="Petal width in cm", title="Imputed petal widths")
plane.legend(frameon=False)

# %%
# Imputation error in standard deviations of each measurement, for increasing fractions of missing
# values, averaged over five random choices of the missing values. The other two imputers are those
# of scikit-learn.

scale = X.std(axis=0)


def error(filled, is_missing):
    """Return the root mean square error of the values that were missing."""
    return np.sqrt(np.mean(((filled - X) / scale)[is_missing] ** 2))


shares = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
errors = {"column means": [], "5 nearest neighbors": [], "mixture": []}
for share in shares:
    found = {name: [] for name in errors}
    for seed in range(5):
        holes, is_missing = lose(share, seed)
        fitted = GaussianMixture(3, missing="model", priors="mclust", random_state=0).fit(holes)
        guesses = (
            SimpleImputer().fit_transform(holes),
            KNNImputer(n_neighbors=5).fit_transform(holes / scale) * scale,
            fitted.impute(holes),
        )
        for name, guess in zip(errors, guesses, strict=True):
            found[name].append(error(guess, is_missing))
    for name, each in found.items():
        errors[name].append(np.mean(each))
figure, curve = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
for name, each in errors.items():
    curve.plot(shares, each, marker="o", markersize=4, label=name)
    print(f"{name}: error of {each[2]:.2f} standard deviations with a fifth missing")
curve.set(
    xlabel="Share of values missing",
    ylabel="Error in standard deviations",
    ylim=(0, None),
    title="Imputation error",
)
curve.legend(frameon=False)

plt.show()
