"""EM over the rows of NumPy files in Ray: ``python em_with_ray.py FILE...``."""

import sys

import numpy as np
import ray

from fastgmm import GaussianMixture
from fastgmm.extend import Regularization, block_statistics, merge, structure


@ray.remote
def load(path):
    """Return the rows of a file, which stay in the store of the machine that read it."""
    return np.load(path)


@ray.remote
def e_step(parameters, block):
    """Return the statistics of a block; Ray runs it where the block is."""
    return block_statistics(parameters, block, n_jobs=1)


ray.init(include_dashboard=False)
add = ray.remote(merge)
blocks = [load.remote(path) for path in sys.argv[1:]]
start = GaussianMixture(2, random_state=0).fit(np.load(sys.argv[1], mmap_mode="r")[:1000])
full = structure("full")
parameters = full.from_covariances(start.weights_, start.means_, start.covariances_)

for _ in range(20):
    shared = ray.put(parameters)
    parts = [e_step.remote(shared, block) for block in blocks]
    while len(parts) > 1:  # a tree, so that no machine receives all of them
        parts = [add.remote(*parts[i : i + 8]) for i in range(0, len(parts), 8)]
    none = Regularization.none(parameters.n_features)
    parameters = full.solve(ray.get(parts[0]), none, parameters)

np.savetxt(sys.stdout, parameters.means)
