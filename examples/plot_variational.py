"""
Variational Bayes and the number of components
==============================================

Maximum likelihood uses all components of a mixture. In variational Bayes the weights have a prior:
with a small concentration, components that explain little end up with almost no weight, and the
number of components need only be large enough. In this example mixtures of twelve components are
fitted to four groups of rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse

from fastgmm import BayesianGaussianMixture, GaussianMixture

random = np.random.default_rng(7)
groups = [
    # rows, mean, a square root of the covariance
    (450, (0.0, 0.0), [[1.6, 0.0], [1.2, 0.4]]),
    (300, (-4.0, 3.5), [[0.7, 0.0], [-0.5, 1.0]]),
    (200, (4.5, -2.5), [[0.4, 0.0], [0.0, 1.5]]),
    (100, (4.0, 4.0), [[0.5, 0.0], [0.0, 0.5]]),
]
rows = np.concatenate(
    [mean + random.normal(size=(n_rows, 2)) @ np.transpose(root) for n_rows, mean, root in groups]
)

# %%
# The same rows are fitted by maximum likelihood, and by variational Bayes with a small
# concentration, each with a few initializations, of which the best is kept.

settings = {"n_components": 12, "n_init": 3, "max_iter": 1000, "random_state": 0}
likelihood = GaussianMixture(tol=1e-6, **settings).fit(rows)
bayes = BayesianGaussianMixture(weight_concentration_prior=1e-3, **settings).fit(rows)
for name, mixture in (("maximum likelihood", likelihood), ("variational Bayes", bayes)):
    weights = np.sort(mixture.weights_)[::-1]
    print(f"{name}: {(weights > 0.01).sum()} components, weights {weights[:6].round(3)} ...")
print(f"true weights: {np.array([group[0] for group in groups]) / len(rows)}")

# %%
# Ellipses contain half the rows of a component; components with less weight are fainter.


def draw(axes, mixture, title):
    """Draw rows and components."""
    axes.plot(*rows.T, ".", color="0.6", markersize=2.5, zorder=0)
    for weight, mean, covariance in zip(
        mixture.weights_, mixture.means_, mixture.covariances_, strict=True
    ):
        variances, directions = np.linalg.eigh(covariance)
        ellipse = Ellipse(
            mean,
            *2.0 * np.sqrt(2.0 * np.log(2.0) * variances),
            angle=np.degrees(np.arctan2(directions[1, 0], directions[0, 0])),
            facecolor="tab:red",
            alpha=min(1.0, weight / 0.1) * 0.55,
        )
        axes.add_patch(ellipse)
    axes.set(title=title, aspect="equal", xticks=[], yticks=[])


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
draw(left, likelihood, f"Maximum likelihood, {settings['n_components']} components")
draw(right, bayes, f"Variational Bayes, {settings['n_components']} components")

# %%
# The weights for different concentrations. Above 1 the prior favors weight on all components; the
# default is one over the number of components.

concentrations = np.geomspace(1e-3, 1e3, 7)
weights = np.array(
    [
        np.sort(
            BayesianGaussianMixture(
                weight_concentration_prior_type="dirichlet_distribution",
                weight_concentration_prior=concentration,
                **settings,
            )
            .fit(rows)
            .weights_
        )[::-1]
        for concentration in concentrations
    ]
)
figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
bottom = np.zeros(len(concentrations))
for each in weights.T:
    ax.bar(np.arange(len(concentrations)), each, bottom=bottom, edgecolor="white", linewidth=0.7)
    bottom += each
ax.set(
    title="Weights by concentration, largest first",
    xlabel="weight_concentration_prior",
    ylabel="Weight",
    xticks=np.arange(len(concentrations)),
    xticklabels=[f"{each:g}" for each in concentrations],
)

plt.show()
