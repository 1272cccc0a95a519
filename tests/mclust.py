"""What R's mclust makes of five data sets, as stored in tests/reference."""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "reference"
DATA_SETS = ("faithful", "iris", "diabetes", "banknote", "thyroid")


def results(name):
    """Return what mclust found: see tests/reference/README.md."""
    return json.loads((FOLDER / f"mclust_{name}.json").read_text())


def rows(name):
    """Return the numbers of a data set."""
    lines = [line.split(",") for line in (FOLDER / f"{name}.csv").read_text().splitlines()]
    columns = [j for j in range(len(lines[0])) if _is_number(lines[1][j])]
    return np.array([[float(line[j]) for j in columns] for line in lines[1:]])


def partitions(name):
    """Return the clusters of mclust's hierarchical start, shape (9, n_samples)."""
    found = np.array(results(name)["hierarchical"]["VVV"]) - 1
    return found if len(found) == 9 else found.T


def bic_table(name):
    """Return mclust's BIC, the higher the better, shape (9, 14); nan where it has none."""
    table = results(name)["bic"]
    return np.array([[np.nan if value is None else float(value) for value in row] for row in table])


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
