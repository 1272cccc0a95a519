r"""
Tracking drift in a stream
==========================

A greenhouse has two regimes, night and day, each with its own temperature and humidity. A sensor
reports both every minute. Over a year both regimes drift with the seasons, first up and then down
again; the readings are not labeled by regime.

``partial_fit`` learns readings as they arrive. By default all past readings keep some weight, which
is appropriate for a stationary stream. With ``forgetting`` below 1 old readings are forgotten, and
the mixture tracks the drift.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastgmm import GaussianMixture

# %%
# The stream consists of one batch of readings for each day of the year. The true means are not
# known to the mixtures.

READINGS_A_DAY = 24 * 60
SPREAD = np.array([1.2, 4.0])  # °C, % relative humidity


def true_means(day):
    """Return the means of night and day, in °C and %."""
    warmth = np.sin(np.pi * day / 365) ** 2
    night, noon = np.array([12.0, 85.0]), np.array([20.0, 60.0])
    return np.stack([night, noon]) + warmth * np.array([10.0, -15.0])


def readings(seed=0):
    """Yield the readings of each day, in no particular order."""
    random = np.random.default_rng(seed)
    for day in range(366):
        kinds = random.integers(2, size=READINGS_A_DAY)
        noise = random.normal(size=(READINGS_A_DAY, 2)) * SPREAD
        yield day, true_means(day)[kinds] + noise


# %%
# Two mixtures learn the stream. Time is measured in units of rows, one unit being the number of
# rows from which a mixture was initialized: here the first day. With ``step_exponent=1`` all
# readings count equally, as in a batch fit of all readings so far. With ``forgetting=0.8`` a day
# counts at most 0.8 times the next, so that the mixture remembers about :math:`1 / (1 - 0.8) = 5`
# days. Each day is scored before it is learned, which measures how well each mixture predicts it.

mixtures = {
    "forgetting=0.8": GaussianMixture(2, random_state=0, step_exponent=1.0, forgetting=0.8),
    "no forgetting": GaussianMixture(2, random_state=0, step_exponent=1.0),
}
days, truth = [], []
means = {name: [] for name in mixtures}
scores = {name: [] for name in mixtures}
for day, rows in readings():
    if day:
        days.append(day)
        truth.append(true_means(day))
        for name, mixture in mixtures.items():
            scores[name].append(mixture.score(rows))
    for mixture in mixtures.values():
        mixture.partial_fit(rows)
    if day:
        for name, mixture in mixtures.items():
            means[name].append(mixture.means_[np.argsort(mixture.means_[:, 0])])
truth = np.array(truth)

for name, mixture in mixtures.items():
    away = np.abs(np.array(means[name])[:, :, 0] - truth[:, :, 0])
    print(
        f"{name:15} {mixture.n_samples_seen_} readings; "
        f"largest error of the means {away.max():.1f} °C; "
        f"mean score {np.mean(scores[name]):.2f} nats per reading"
    )
assert np.mean(scores["forgetting=0.8"]) > np.mean(scores["no forgetting"]) + 0.5

# %%
# The true and the learned temperatures of the two regimes, and how well each day was predicted.

colors = {"forgetting=0.8": "C0", "no forgetting": "C1"}
figure, (temperature, foresight) = plt.subplots(
    2, 1, figsize=(8.0, 6.4), sharex=True, height_ratios=[3, 2], layout="constrained"
)
for kind, label in ((0, "true mean of each regime"), (1, None)):
    temperature.plot(days, truth[:, kind, 0], color="0.75", linewidth=7, label=label)
for name, color in colors.items():
    learned = np.array(means[name])[:, :, 0]
    temperature.plot(days, learned[:, 0], color=color, label=name)
    temperature.plot(days, learned[:, 1], color=color)
    foresight.plot(days, scores[name], color=color)
temperature.set(ylabel="Temperature of the means (°C)", title="Effect of forgetting")
figure.legend(*temperature.get_legend_handles_labels(), loc="outside lower center", ncols=3)
foresight.set(xlabel="Day of the year", ylabel="Log-likelihood of the next day\n(nats per reading)")
foresight.margins(x=0.01)
plt.show()
