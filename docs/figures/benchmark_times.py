"""Seconds a pass over the arithmetic in it, of each library, and the least that it can take."""

import matplotlib.pyplot as plt
from benchmark_tables import PEERS, load_results, passes

machine, rows = load_results()
shown = passes(rows, "float64")
operations = [row["flops_per_pass"] / 1e9 for row in shown]
ends = [min(operations), max(operations)]
peak = machine["peaks"]["float64"]["all_threads"] / 1e9
fig, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for name, marker in zip(("fastgmm", *PEERS), "os^", strict=True):
    seconds = [row["competitors"][name]["seconds"] for row in shown]
    ax.plot(operations, seconds, marker, label=name)
ax.plot(ends, [each / peak for each in ends], "k:", label="peak of the machine")
ax.set(
    xscale="log",
    yscale="log",
    xlabel="billions of operations in a pass, from 2 to 512 features",
    ylabel="seconds a pass",
    title="A pass of EM, full covariances, float64",
)
ax.grid(which="both", alpha=0.25)
ax.legend()
