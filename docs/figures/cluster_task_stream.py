"""What two workers do in a fit on a cluster, task by task."""

import json

import matplotlib.pyplot as plt
from benchmark_tables import FOLDER

stream = json.loads((FOLDER.parent / "cluster_scaling.json").read_text("utf-8"))["stream"]
kinds = {"compute": "partitions", "merge": "merging", "transfer": "transfer", "other": "other"}
colors = dict(zip(kinds, ("C0", "C2", "C3", "0.6"), strict=True))
fig, ax = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
for each in stream:
    kind = each["action"] if each["action"] in kinds else "other"
    extent = each["start"], each["stop"] - each["start"]
    ax.broken_barh([extent], (each["worker"] - 0.4, 0.8), color=colors[kind], edgecolor="white")
ax.set(yticks=[0, 1], yticklabels=["worker 0", "worker 1"], xlabel="seconds")
ax.set_title("A fit of five iterations on two workers")
ax.legend(
    [plt.Rectangle((0, 0), 1, 1, color=color) for color in colors.values()],
    kinds.values(),
    ncols=len(kinds),
    loc="upper center",
    bbox_to_anchor=(0.5, -0.3),
)
