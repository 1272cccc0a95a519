"""Clusters on this machine, which listen on the loopback interface only."""

from distributed import LocalCluster


def local_cluster(n_workers, *, threads_per_worker=1, processes=True):
    """Return a cluster that is stopped where its context ends."""
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        processes=processes,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    )
