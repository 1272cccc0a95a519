"""EM over the rows of NumPy files under MPI: ``mpiexec -n 2 python em_with_mpi.py FILE...``."""

import sys

import numpy as np
from mpi4py import MPI

from fastgmm import GaussianMixture
from fastgmm.extend import Regularization, block_statistics, merge, structure

ranks = MPI.COMM_WORLD
full = structure("full")
if ranks.rank == 0:
    start = GaussianMixture(2, random_state=0).fit(np.load(sys.argv[1], mmap_mode="r")[:1000])
    parameters = full.from_covariances(start.weights_, start.means_, start.covariances_)
else:
    parameters = None
parameters = ranks.bcast(parameters)
own = np.array_split(sys.argv[1:], ranks.size)[ranks.rank]  # one file at least
X = np.concatenate([np.load(path) for path in own])

for _ in range(20):
    statistics = ranks.allreduce(block_statistics(parameters, X, n_jobs=1), op=merge)
    # Every rank has the same statistics and comes to the same parameters.
    parameters = full.solve(statistics, Regularization.none(X.shape[1]), parameters)

if ranks.rank == 0:
    np.savetxt(sys.stdout, parameters.means)
