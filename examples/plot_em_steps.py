"""
Expectation-maximization step by step
=====================================

Old Faithful is a geyser in Yellowstone National Park. The data are 272 eruptions: how long each
took, and how long the wait for the next one was. A mixture of two Gaussians is fitted to them,
starting far from the solution, and its state is shown after 0, 1, 2, 5 and 20 iterations, as in
figure 9.8 of Bishop, *Pattern Recognition and Machine Learning*.

The data: :download:`faithful.csv <../../tests/reference/faithful.csv>`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Ellipse
from sklearn.exceptions import ConvergenceWarning

from fastgmm import GaussianMixture

faithful = pd.read_csv("../tests/reference/faithful.csv")
X = ((faithful - faithful.mean()) / faithful.std()).to_numpy()

# %%
# The initialization is given: two circles in the wrong places. With ``tol=0`` a fit runs for
# ``max_iter`` iterations and warns that it has not converged, which is intended here.


def fit(max_iter):
    """Return the mixture after some iterations of EM."""
    mixture = GaussianMixture(
        2,
        weights_init=[0.5, 0.5],
        means_init=[[-1.5, 1.0], [1.5, -1.0]],
        precisions_init=[2.0 * np.eye(2)] * 2,
        tol=0.0,
        max_iter=max_iter,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(X)


mixtures = {iteration: fit(iteration) for iteration in (0, 1, 2, 5, 20)}
for iteration, mixture in mixtures.items():
    print(f"after {iteration:2} iterations: {mixture.score(X):.4f} nats per eruption")

# %%
# Eruptions are colored by their responsibilities under the mixture that is drawn: blue and red
# belong to one component, purple to both. Ellipses are at one standard deviation.

blend = LinearSegmentedColormap.from_list("components", ["#1f5fbf", "#8a3f9f", "#d03030"])


def draw(ax, mixture, title, color=None):
    """Draw a mixture over the eruptions."""
    ax.scatter(*X.T, s=9, alpha=0.6, color=color or blend(mixture.predict_proba(X)[:, 1]))
    parts = zip(mixture.means_, mixture.covariances_, ("#0b2f66", "#7a0f0f"), strict=True)
    for mean, covariance, edge in parts:
        variances, axes = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
        size = 2.0 * np.sqrt(variances[::-1])
        ax.add_patch(Ellipse(mean, *size, angle=angle, fill=False, edgecolor=edge, linewidth=2))
    ax.set(xlim=(-2.3, 2.3), ylim=(-2.6, 2.6), aspect="equal", title=title)
    ax.label_outer()


figure, axes = plt.subplots(2, 3, figsize=(9, 6.6), sharex=True, sharey=True, layout="constrained")
draw(axes[0, 0], mixtures[0], "Initialization", color="tab:green")
draw(axes[0, 1], mixtures[0], "First E-step")
for ax, iteration in zip(axes.ravel()[2:], (1, 2, 5, 20), strict=True):
    draw(ax, mixtures[iteration], f"{iteration} iteration" + "s" * (iteration > 1))
figure.supxlabel("Duration of the eruption (standardized)")
figure.supylabel("Wait for the next (standardized)")
plt.show()

# %%
# The log-likelihood never falls. It is in ``trace_``; the initialization, far below, is left out.

figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
trace = mixtures[20].trace_
ax.plot(range(1, 21), trace[1:], marker="o", markersize=4)
ax.set(
    xlabel="Iteration",
    ylabel="Log-likelihood\n(nats per eruption)",
    title="Convergence of EM on Old Faithful",
    xticks=[1, 5, 10, 15, 20],
)
plt.show()
