"""Seconds a pass over the arithmetic in it, of each library."""

import matplotlib.pyplot as plt
from benchmark_tables import PEERS, load_results, passes

_, rows = load_results()
shown = passes(rows, "float64")
operations = [row["flops_per_pass"] / 1e9 for row in shown]
fig, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for name, marker in zip(("fastgmm", *PEERS), "os^", strict=True):
    order = sorted(range(len(shown)), key=operations.__getitem__)
    seconds = [shown[i]["competitors"][name]["seconds"] for i in order]
    ax.plot([operations[i] for i in order], seconds, marker=marker, label=name)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="billions of operations in a pass",
    ylabel="seconds a pass",
    title="A pass of EM, full covariances, float64",
)
ax.grid(which="both", alpha=0.25)
ax.legend()
