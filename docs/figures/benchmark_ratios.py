"""How many times as long as fastgmm the peers take, over the number of features."""

import matplotlib.pyplot as plt
from benchmark_tables import PEERS, load_results, passes
from matplotlib.ticker import FuncFormatter

_, rows = load_results()
fig, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for number, name in enumerate(PEERS):
    for dtype, style in (("float64", "-"), ("float32", "--")):
        compared = [row for row in passes(rows, dtype) if row["competitors"][name]["ratio"]]
        ax.plot(
            [row["case"]["n_features"] for row in compared],
            [row["competitors"][name]["ratio"] for row in compared],
            style,
            color=f"C{number + 1}",
            marker="s^"[number],
            label=f"{name}, {dtype}",
        )
ax.axhline(1.0, color="C0")
ax.annotate(
    "fastgmm", (512, 1.0), xytext=(0, 4), textcoords="offset points", color="C0", ha="right"
)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="features",
    ylabel="time of a pass / that of fastgmm",
    title="The same passes by other libraries",
)
ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
ax.grid(which="both", alpha=0.25)
ax.legend()
