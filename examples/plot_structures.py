"""
BIC over fourteen covariance structures
=======================================

A covariance consists of a volume, a shape and an orientation. Each of them may be the same for all
components or not, which gives fourteen structures, known by the names of R's mclust: the first
letter is for the volume, the second for the shape, the third for the orientation, with E for equal,
V for varying and I for the identity. ``MixtureSearch`` fits all of them with one to nine
components, and keeps the mixture with the lowest Bayesian information criterion (BIC).

The data are measurements of 145 persons, of whom some have diabetes (Reaven and Miller, 1979):
:download:`diabetes.csv <../../tests/reference/diabetes.csv>`.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from fastgmm import GaussianMixture, MixtureSearch
from fastgmm.plotting import CriterionDisplay, EllipsesDisplay

table = pd.read_csv("../tests/reference/diabetes.csv")
diagnosis = table.pop("class")

# %%
# The search. The diagnoses are not used, and agree well with the components of the best mixture.

search = MixtureSearch().fit(table)
best = search.best_params_
agreement = adjusted_rand_score(diagnosis, search.predict(table))
structure, number = best["covariance_type"], best["n_components"]
print(f"{structure} with {number} components, BIC {search.best_score_:.1f}")
print(f"adjusted Rand index with the diagnoses: {agreement:.2f}")
ranking = search.results_frame().sort_values("bic")
print(
    ranking[["covariance_type", "n_components", "n_parameters", "bic"]].head(5).round(1).to_string()
)

# %%
# All 126 mixtures. A line ends where the likelihood of its structure has no maximum.

CriterionDisplay.from_estimator(search)
plt.show()

# %%
# What the structures look like: three components of each, in the plane of two of the measurements,
# standardized. Ellipses contain half and 95 % of a component.

pair = table[["insulin", "sspg"]]
pair = (pair - pair.mean()) / pair.std()
names = dict.fromkeys(search.results_["covariance_type"])
figure, axes = plt.subplots(3, 5, figsize=(12, 7.6), layout="constrained")
for ax, name in zip(axes.ravel(), names, strict=False):
    mixture = GaussianMixture(
        3, covariance_type=name, init_params="hierarchical", tol=1e-5, max_iter=2000
    ).fit(pair)
    EllipsesDisplay.from_estimator(mixture, pair, ax=ax)
    ax.get_legend().remove()
    ax.set(title=f"{name}, BIC {mixture.bic(pair):.0f}", xlabel="", ylabel="")
    ax.set(xlim=(-2.2, 3.8), ylim=(-2.6, 4.4), aspect="equal", xticks=[], yticks=[])
axes[-1, -1].axis("off")
figure.supxlabel("Area under the curve of insulin")
figure.supylabel("Steady-state plasma glucose")
plt.show()
