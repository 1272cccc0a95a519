"""
Regression with conditional densities
=====================================

A regression model predicts a single value from the inputs. A mixture of inputs and targets models
the whole conditional distribution, including distributions with two branches. In this example the
petal length of iris flowers is predicted from the sepal measurements, without knowledge of the
three species.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_score

from fastgmm import GaussianMixtureRegressor

# %%
# Linear regression explains four fifths of the variance of the petal length. Two components explain
# half of the remainder, on held-out flowers. A single component is equivalent to linear regression.

sepals, petals = load_iris().data[:, :2], load_iris().data[:, 2]
folds = KFold(10, shuffle=True, random_state=0)
line = cross_val_score(LinearRegression(), sepals, petals, cv=folds).mean()
for n_components in (1, 2):
    regressor = GaussianMixtureRegressor(n_components, n_init=5, random_state=0)
    score = cross_val_score(regressor, sepals, petals, cv=folds).mean()
    print(f"{n_components} components: R² {score:.2f}, least squares {line:.2f}")
assert score > line + 0.05

# %%
# Given the sepal length alone, a petal may be short or long, but rarely in between: hardly any
# flower has the expected length. Quantiles and draws are more informative. With
# ``missing="model"``, missing inputs are integrated out, so that one fit can be used with and
# without the sepal width.

regressor = GaussianMixtureRegressor(2, missing="model", n_init=5, random_state=0)
regressor.fit(sepals, petals)
length_only, with_width = [5.5, np.nan], [5.5, 2.5]
for name, flower in (("length 5.5 cm", length_only), ("length 5.5 cm, width 2.5 cm", with_width)):
    mean, deviation = regressor.predict([flower], return_std=True)
    low, high = regressor.predict_quantiles([flower], [0.05, 0.95])[0]
    print(f"sepal {name}: {mean[0]:.1f} ± {deviation[0]:.1f} cm, 90% in {low:.1f} to {high:.1f} cm")

# %%
# The figure shows the density of the petal length given the sepal length, column by column, and the
# effect of the sepal width for one length.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.4), layout="constrained")
lengths, heights = np.linspace(4.2, 8.0, 300), np.linspace(0.5, 7.5, 300)
x, y = np.meshgrid(lengths, heights)
inputs = np.column_stack([x.ravel(), np.full(x.size, np.nan)])
density = np.exp(regressor.log_density(inputs, y.ravel())).reshape(x.shape)
left.pcolormesh(lengths, heights, np.sqrt(density), cmap="Blues", rasterized=True)
left.plot(sepals[:, 0], petals, ".", color="black", markersize=4, label="flowers")
straight = LinearRegression().fit(sepals[:, :1], petals)
left.plot(lengths, straight.predict(lengths[:, None]), color="C1", label="least squares")
alone = np.column_stack([lengths, np.full(len(lengths), np.nan)])
left.plot(lengths, regressor.predict(alone), "--", color="C3", label="mean of the mixture")
left.set(xlabel="Length of the sepal (cm)", ylabel="Length of the petal (cm)", ylim=(0.5, 7.5))
left.set_title("Two branches and their mean")
left.legend(loc="lower right")

for flower, label in ((length_only, "width unknown"), (with_width, "width 2.5 cm")):
    rows = np.repeat([flower], len(heights), axis=0)
    right.plot(heights, np.exp(regressor.log_density(rows, heights)), label=label)
right.set(xlabel="Length of the petal (cm)", ylabel="Density", ylim=(0.0, None))
right.set_title("Sepal length 5.5 cm")
right.legend()
plt.show()
