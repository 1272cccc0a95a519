"""
Plotting a mixture
==================

The iris data contain four measurements of each of 150 flowers of three species. A mixture of three
Gaussians is fitted without the species. The displays of :mod:`fastgmm.plotting` show its
components, density and uncertainty.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

from fastgmm import GaussianMixture
from fastgmm.plotting import DensityDisplay, EllipsesDisplay, PairsDisplay, UncertaintyDisplay

iris = load_iris(as_frame=True)
mixture = GaussianMixture(3, n_init=5, random_state=0).fit(iris.data)
clusters = mixture.predict(iris.data)

# %%
# All pairs of measurements: each panel shows the flowers, in the color of their most likely
# component, and the ellipses that contain a half and 95 % of each component. The ellipses are those
# of the marginal of the mixture in two columns, the curves on the diagonal those of the marginal in
# one.

PairsDisplay.from_estimator(mixture, iris.data)

# %%
# A single pair of columns. Flowers that are not of the most frequent species in their component are
# marked with a ring.

petals = ["petal length (cm)", "petal width (cm)"]
display = EllipsesDisplay.from_estimator(mixture, iris.data, columns=petals)
main_species = np.array([np.bincount(iris.target[clusters == k]).argmax() for k in range(3)])
other = iris.data[main_species[clusters] != iris.target]
display.ax_.scatter(*other[petals].to_numpy().T, s=70, facecolors="none", edgecolors="black")
print(f"{len(other)} of {len(iris.data)} flowers are not of the main species of their component")

# %%
# Flowers that could also come from another component: the area of each marker is proportional to
# the probability of this.

UncertaintyDisplay.from_estimator(mixture, iris.data, columns=petals)

# %%
# The density: over one column, with the contribution of each component, and over two columns.

figure, (one, two) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
DensityDisplay.from_estimator(mixture, iris.data, columns=petals[:1], ax=one)
DensityDisplay.from_estimator(mixture, iris.data, columns=petals, ax=two)
