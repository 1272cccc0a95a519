"""EM over the rows of Parquet files in Spark: ``python em_with_spark.py FOLDER``."""

import pickle
import sys

import numpy as np
import pyarrow
from pyspark.sql import SparkSession

from fastgmm import GaussianMixture
from fastgmm.extend import Regularization, block_statistics, merge, structure

spark = SparkSession.builder.getOrCreate()
frame = spark.read.parquet(sys.argv[1])
start = GaussianMixture(2, random_state=0).fit(np.array(frame.limit(1000).collect()))
full = structure("full")
parameters = full.from_covariances(start.weights_, start.means_, start.covariances_)

for _ in range(20):
    shared = spark.sparkContext.broadcast(parameters)

    def e_step(batches, shared=shared):
        """Yield the statistics of the rows of a partition, if it has any."""
        blocks = (np.column_stack([x.to_numpy() for x in batch]) for batch in batches)
        parts = [block_statistics(shared.value, X, n_jobs=1) for X in blocks if len(X)]
        if parts:
            yield pyarrow.RecordBatch.from_pydict({"part": [pickle.dumps(merge(*parts))]})

    parts = frame.mapInArrow(e_step, "part binary").collect()  # in the order of the partitions
    statistics = merge(*(pickle.loads(row.part) for row in parts))
    parameters = full.solve(statistics, Regularization.none(len(frame.columns)), parameters)

np.savetxt(sys.stdout, parameters.means)
spark.stop()
