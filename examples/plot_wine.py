"""
Model selection with BIC
========================

The wine data contain 13 measurements of each of 178 wines from three cultivars of one region in
Italy. This example selects the number of components and the covariance structure of a mixture,
without using the cultivars. The Bayesian information criterion (BIC) balances the fit to the data
against the number of parameters. The lowest value is the best.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from fastgmm import GaussianMixture

wine = load_wine()
measurements = StandardScaler().fit_transform(wine.data)

# %%
# One mixture is fitted for each number of components and each covariance structure, as the best of
# a few initializations. A full covariance for each component is not considered: with 13 features it
# has 91 parameters, and 178 rows are too few to estimate several of these. With this tolerance
# every fit converges.

structures = ("tied", "diag", "spherical", "tied_diag", "tied_spherical")
numbers = range(1, 7)
mixtures = {
    (structure, number): GaussianMixture(
        number, covariance_type=structure, n_init=5, tol=1e-6, max_iter=1000, random_state=0
    ).fit(measurements)
    for structure in structures
    for number in numbers
}
criterion = {which: mixture.bic(measurements) for which, mixture in mixtures.items()}
best = min(criterion, key=criterion.get)
print(f"lowest BIC {criterion[best]:.1f}: {best[1]} components, {best[0]}")

# %%
# BIC against the number of components. The lowest value is circled.

figure, curves = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
for structure in structures:
    values = [criterion[structure, number] for number in numbers]
    curves.plot(numbers, values, marker="o", markersize=4, label=structure)
curves.plot(best[1], criterion[best], "o", markersize=13, fillstyle="none", color="black")
curves.set(xlabel="Components", ylabel="BIC", title="BIC of thirty mixtures of the wines")
curves.legend(frameon=False)

# %%
# The clusters of the selected mixture in the plane of the first two principal components, compared
# with the cultivars, which were not used in the fit.

mixture = mixtures[best]
clusters = mixture.predict(measurements)
agreement = adjusted_rand_score(wine.target, clusters)
print(f"adjusted Rand index with the cultivars: {agreement:.3f}")

figure, plane = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
projected = PCA(2).fit_transform(measurements)
for cultivar, marker in enumerate("os^"):
    chosen = wine.target == cultivar
    plane.scatter(
        *projected[chosen].T,
        c=clusters[chosen],
        marker=marker,
        vmin=0,
        vmax=9,
        cmap="tab10",
        s=26,
        alpha=0.85,
    )
    plane.plot([], [], marker, color="gray", label=f"cultivar {cultivar}")
plane.set(
    xlabel="First principal component",
    ylabel="Second principal component",
    title=f"Color: component; adjusted Rand index {agreement:.2f}",
)
plane.legend(frameon=False)

# %%
# The certainty of each assignment is the responsibility of its component.

certainty = mixture.predict_proba(measurements).max(axis=1)
print(f"{(certainty > 0.99).sum()} of {len(certainty)} wines belong to one component by over 99 %")

plt.show()
