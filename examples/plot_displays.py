"""
Pictures of a mixture
=====================

Fisher's irises: 150 flowers of three species, four measurements of each. A mixture of three
Gaussians never sees the species. Its pictures show what it found, and how sure it is.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

from fastgmm import GaussianMixture
from fastgmm.plotting import DensityDisplay, EllipsesDisplay, PairDisplay, UncertaintyDisplay

iris = load_iris(as_frame=True)
mixture = GaussianMixture(3, n_init=5, random_state=0).fit(iris.data)
clusters = mixture.predict(iris.data)

# %%
# All pairs of measurements: in each panel the flowers, in the color of the component they most
# likely come from, and the ellipses that hold a half and 95 % of each component. The ellipses are
# those of the mixture's marginal in two columns, the curves on the diagonal those in one.

PairDisplay.from_estimator(mixture, iris.data)

# %%
# A plane may be chosen. The flowers that are not of the species that most of their component are
# of have a ring.

petals = ["petal length (cm)", "petal width (cm)"]
display = EllipsesDisplay.from_estimator(mixture, iris.data, columns=petals)
main_species = np.array([np.bincount(iris.target[clusters == k]).argmax() for k in range(3)])
other = iris.data[main_species[clusters] != iris.target]
display.ax_.scatter(*other[petals].to_numpy().T, s=70, facecolors="none", edgecolors="black")
print(f"{len(other)} of {len(iris.data)} flowers are not with the others of their species")

# %%
# Where are those that could as well come from another component? Areas are in proportion to the
# probability that a flower does.

UncertaintyDisplay.from_estimator(mixture, iris.data, columns=petals)

# %%
# The density itself: over one column, with what each component adds to it, and over two.

figure, (one, two) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
DensityDisplay.from_estimator(mixture, iris.data, columns=petals[:1], ax=one)
DensityDisplay.from_estimator(mixture, iris.data, columns=petals, ax=two)
