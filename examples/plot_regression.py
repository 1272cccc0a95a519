"""
More than a line through the points
===================================

A regression returns one number for what follows from the inputs. A mixture of inputs and targets
has the whole distribution: where it has two branches, the mixture has them, too. Here the length of
an iris's petal is predicted from its sepal, for flowers of three species that nobody tells apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_score

from fastgmm import GaussianMixtureRegressor

# %%
# A line explains four fifths of the variance of the petals' lengths. Two components explain half of
# what is left, on flowers that neither was fitted to. A single component is the line itself.

sepals, petals = load_iris().data[:, :2], load_iris().data[:, 2]
folds = KFold(10, shuffle=True, random_state=0)
line = cross_val_score(LinearRegression(), sepals, petals, cv=folds).mean()
for n_components in (1, 2):
    regressor = GaussianMixtureRegressor(n_components, n_init=5, random_state=0)
    score = cross_val_score(regressor, sepals, petals, cv=folds).mean()
    print(f"{n_components} components: R² {score:.2f}, least squares {line:.2f}")
assert score > line + 0.05

# %%
# From the length of the sepal alone, a petal may be short or long, and hardly anything in between:
# the expected length is one that next to no flower has. Quantiles and draws know better. What is
# missing of the inputs is left out, with ``missing="model"``, so that one fit answers both
# questions.

regressor = GaussianMixtureRegressor(2, missing="model", n_init=5, random_state=0)
regressor.fit(sepals, petals)
length_only, with_width = [5.5, np.nan], [5.5, 2.5]
for name, flower in (("length 5.5 cm", length_only), ("length 5.5 cm, width 2.5 cm", with_width)):
    mean, deviation = regressor.predict([flower], return_std=True)
    low, high = regressor.predict_quantiles([flower], [0.05, 0.95])[0]
    print(f"sepal {name}: {mean[0]:.1f} ± {deviation[0]:.1f} cm, 90% in {low:.1f} to {high:.1f} cm")

# %%
# The picture shows the density of the petal's length given the sepal's, column by column, and what
# the width of the sepal adds for one length.

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
left.set_title("Two branches, and a mean between them")
left.legend(loc="lower right")

for flower, label in ((length_only, "width not known"), (with_width, "width 2.5 cm")):
    rows = np.repeat([flower], len(heights), axis=0)
    right.plot(heights, np.exp(regressor.log_density(rows, heights)), label=label)
right.set(xlabel="Length of the petal (cm)", ylabel="Density", ylim=(0.0, None))
right.set_title("A sepal 5.5 cm long")
right.legend()
plt.show()
