r"""
k-means as the limit of EM
==========================

k-means assigns each row to the nearest center. A mixture of components with the same weight and the
same fixed covariance :math:`\sigma^2 I` assigns it to all centers, in proportion to
:math:`\exp(-\lVert x - \mu_k \rVert^2 / 2 \sigma^2)`. As :math:`\sigma` goes to zero, the
responsibilities become 0 or 1, and the means of EM become the centers of k-means (Bishop, *Pattern
Recognition and Machine Learning*, section 9.3.2).
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from sklearn.datasets import load_iris

from fastgmm import GaussianMixture, KMeans
from fastgmm.extend import CovarianceStructure

X = load_iris().data[:, 2:]  # length and width of the petals

# %%
# A covariance that is known rather than fitted is a structure of its own, of a few lines; see
# :doc:`/extending/structure`. Its letters say that it is diagonal, so that ``whiten`` returns the
# inverse standard deviations.


class FixedSphere(CovarianceStructure):
    """The same known variance for all features and components."""

    letters = "VVI"

    def __init__(self, sigma):
        self.sigma = sigma

    def whiten(self, spread):
        """Return the inverse standard deviations."""
        return np.full_like(spread.covariances, 1.0 / self.sigma)

    def n_covariance_parameters(self, n_components, n_features):  # noqa: ARG002
        """Return the number of free parameters: none."""
        return 0


# %%
# Both start from the same centers. The distance of the means of EM from the centers of k-means
# goes to zero with :math:`\sigma`.

start = X[[10, 60, 110]]
kmeans = KMeans(3, init=start, n_init=1).fit(X)
sigmas = np.geomspace(2.0, 0.05, 30)


def fit(sigma):
    """Fit components of a fixed size."""
    return GaussianMixture(
        3,
        covariance_type=FixedSphere(sigma),
        weights_init=np.full(3, 1 / 3),
        means_init=start,
        precisions_init=np.full((3, 2), sigma**-2.0),
        reg_covar=0.0,
        tol=1e-9,
        max_iter=5000,
    ).fit(X)


mixtures = [fit(sigma) for sigma in sigmas]
distances = [np.abs(each.means_ - kmeans.cluster_centers_).max() for each in mixtures]
for sigma, distance in list(zip(sigmas, distances, strict=True))[::10]:
    print(f"sigma {sigma:.2f} cm: the means are within {distance:.4f} cm of the centers")
assert distances[-1] < 0.02

# %%
# The plane of the petals, in the colors of the components, mixed by their responsibilities. Circles
# are at one :math:`\sigma`; where it is large, the components share all flowers, and some coincide.

colors = np.array([to_rgb(name) for name in ("#1f77b4", "#ff7f0e", "#2ca02c")])
x, y = np.meshgrid(np.linspace(0.6, 7.3, 200), np.linspace(-0.2, 2.9, 120))
plane = np.column_stack([x.ravel(), y.ravel()])
figure, axes = plt.subplots(2, 2, figsize=(9, 5.4), sharex=True, sharey=True, layout="constrained")
circle = np.stack([np.cos(np.linspace(0, 2 * np.pi, 100)), np.sin(np.linspace(0, 2 * np.pi, 100))])
panels = [(fit(sigma), rf"EM, $\sigma$ = {sigma} cm") for sigma in (0.8, 0.4, 0.1)]
for ax, (mixture, title) in zip(axes.ravel(), [*panels, (kmeans, "k-means")], strict=True):
    if mixture is kmeans:
        shares, centers = np.eye(3)[kmeans.predict(plane)], kmeans.cluster_centers_
    else:
        shares, centers = mixture.predict_proba(plane), mixture.means_
        sigma = mixture.covariance_type.sigma
        for center in centers:
            ax.plot(*(center[:, None] + sigma * circle), color="black", linewidth=0.9)
    ax.imshow(
        (0.55 * shares @ colors + 0.45).reshape(*x.shape, 3),
        extent=(0.6, 7.3, -0.2, 2.9),
        origin="lower",
        aspect="auto",
    )
    ax.plot(*X.T, ".", color="black", markersize=3, alpha=0.6)
    ax.plot(*centers.T, "P", color="white", markeredgecolor="black", markersize=9)
    ax.set(title=title, ylim=(-0.2, 2.9))
figure.supxlabel("Petal length (cm)")
figure.supylabel("Petal width (cm)")
plt.show()

# %%
# How far the means are from the centers of k-means.

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
ax.plot(sigmas, distances, marker="o", markersize=4)
ax.set(
    xscale="log",
    xlabel=r"$\sigma$ (cm)",
    ylabel="Largest distance of a mean (cm)",
    title="Means of EM and centers of k-means",
)
ax.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2], labels=["0.05", "0.1", "0.2", "0.5", "1", "2"])
plt.show()
