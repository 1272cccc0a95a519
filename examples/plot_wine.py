"""
How many components, and of which shape
=======================================

178 wines from three cultivars of one region in Italy, with 13 measurements of each. Pretend that
the cultivars are not known: how many kinds of wine does the chemistry show? The Bayesian
information criterion weighs how well a mixture explains the data against how many parameters it
needs. The lowest value wins.
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
# One fit for each number of components and each structure of the covariances, the best of a few
# starts each. A full covariance for each component is left out: with 13 features it has 91
# parameters, and 178 rows cannot pay for several of those. With this tolerance each fit comes to
# rest.

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
# The criterion against the number of components.

figure, (curves, plane) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for structure in structures:
    values = [criterion[structure, number] for number in numbers]
    curves.plot(numbers, values, marker="o", markersize=4, label=structure)
curves.plot(best[1], criterion[best], "o", markersize=13, fillstyle="none", color="black")
curves.set(xlabel="Components", ylabel="BIC", title="The lowest is circled")
curves.legend(frameon=False)

# %%
# The clusters of the winner in the plane of the first two principal components, beside the
# cultivars that it never saw.

mixture = mixtures[best]
clusters = mixture.predict(measurements)
agreement = adjusted_rand_score(wine.target, clusters)
print(f"adjusted Rand index with the cultivars: {agreement:.3f}")

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
# How sure it is of each wine: the responsibility of its component.

certainty = mixture.predict_proba(measurements).max(axis=1)
print(f"{(certainty > 0.99).sum()} of {len(certainty)} wines belong to one component by 99 %")

plt.show()
