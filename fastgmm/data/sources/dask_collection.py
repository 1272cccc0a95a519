"""Rows in the partitions of a Dask array or data frame: work goes to where they lie."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from itertools import chain
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import ClusterError, DataError
from fastgmm.data.formats.table_file import check_matrix
from fastgmm.data.options import MissingPolicy
from fastgmm.data.selection import SelectedColumns, Selection
from fastgmm.data.source import FloatArray, Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.array_like import as_matrix
from fastgmm.data.sources.batch import check_total_weight
from fastgmm.data.sources.frames import checked_rows, frame_columns, is_frame, matrix_of
from fastgmm.data.sources.rechunking import recut
from fastgmm.kernels.threads import effective_threads
from fastgmm.kernels.tiles import BLOCK_ROWS

_Found = TypeVar("_Found")

_ORIGIN = "the collection"

_MERGED_AT_ONCE = 16
"""What so many partitions that follow each other found is merged in one task."""

_TOLD_EACH = 4
"""Tasks that are so few each carry what is to be done, which saves them from waiting for it."""

_ROWS_AT_ONCE = 64 * BLOCK_ROWS

_sound: WeakValueDictionary[int, npt.NDArray[Any]] = WeakValueDictionary()
"""Partitions in this process's memory, by their `id`, that have been checked, which would take as
long as a pass of k-means.
"""


def is_collection(data: Any) -> bool:
    """Say whether something is Dask's: an array or a data frame, or what `DaskSource` refuses."""
    base = sys.modules.get("dask.base")
    return base is not None and bool(base.is_dask_collection(data))


def is_array_collection(data: Any) -> bool:
    """Say whether something is an array of Dask's."""
    array = sys.modules.get("dask.array")
    return array is not None and isinstance(data, array.Array)


def _is_frame(data: Any, kind: str = "DataFrame") -> bool:
    frames = sys.modules.get("dask.dataframe")
    return frames is not None and isinstance(data, getattr(frames, kind))


def is_dask_values(data: Any) -> bool:
    """Say whether something is an array or a series of Dask's, which holds what there is by row."""
    return is_array_collection(data) or _is_frame(data, "Series")


def token_of(*collections: Any) -> str:
    """Return what distinguishes the graphs of collections from others."""
    from dask.base import tokenize

    token: str = tokenize(*collections)
    return token


@dataclass(frozen=True, slots=True, eq=False)
class _Opening:
    """How the rows of a partition are read."""

    selection: Selection
    missing: MissingPolicy
    n_features: int
    names: tuple[str, ...] | None  # of the features, if they have any
    dtype: np.dtype[Any]
    changes: tuple[Callable[[Any], Any], ...] = ()  # what becomes of the rows, in this order

    def source(self, number: int, block: Any, beside: Mapping[str, Any]) -> ArraySource:
        """Return the rows of a partition, perhaps none."""
        origin = f"partition {number} of {_ORIGIN}"
        found, X = _selected(origin, block, self.selection)
        if X.shape[1] != self.n_features:
            raise DataError(
                f"{origin} has {X.shape[1]} features, and {_ORIGIN} says that there are "
                f"{self.n_features}: make all partitions equally wide"
            )
        if found.names != self.names:
            raise DataError(
                f"{origin} has the features {found.names}, and {_ORIGIN} says {self.names}: give "
                "all partitions the same columns in the same order"
            )
        if X.dtype.itemsize > self.dtype.itemsize:
            raise DataError(
                f"{origin} holds {X.dtype}, and {_ORIGIN} says {self.dtype}: convert it, as "
                f"X.astype({self.dtype.name!r}) does if its meta is right"
            )
        if "sample_weight" in beside:
            weights = _by_row("sample_weight", beside["sample_weight"], len(X), origin)
            try:
                found = found._replace(weights=weights.astype(np.float64))
            except (TypeError, ValueError) as error:
                raise DataError(f"{origin}: the weights are no numbers: {error}") from error
        rows = X.astype(self.dtype, copy=False)
        sound = found.weights is None and _sound.get(id(block)) is block
        source = checked_rows(origin, rows, found, self.missing, sound=sound)
        whole = isinstance(block, np.ndarray) and X.shape == block.shape
        if whole and source.left_out is None and not source.incomplete:
            _sound[id(block)] = block
        if "chosen" in beside:
            chosen = _by_row("chosen", beside["chosen"], len(X), origin)
            source = _where(source, chosen if source.left_out is None else chosen[~source.left_out])
        source.partition = number
        for change in self.changes:
            source = change(source)
            source.partition = number
        return source


def _where(source: ArraySource, kept: npt.NDArray[np.bool_]) -> ArraySource:
    """Return the marked rows, which know which of all that were given are not among them."""
    found = source.where(kept)
    if source.left_out is not None:
        found.left_out = source.left_out.copy()
        found.left_out[~source.left_out] = ~kept
    return found


def _selected(
    origin: str, block: Any, selection: Selection
) -> tuple[SelectedColumns, npt.NDArray[Any]]:
    """Return what is wanted of a block, and its features."""
    if not isinstance(block, np.ndarray) and is_frame(block):
        found = frame_columns(block, origin, selection)
        return found, matrix_of(found)
    found = selection.of_matrix(origin, as_matrix(origin, block))
    return found, np.asarray(found.values, found.dtype)


def _by_row(name: str, values: Any, n_rows: int, origin: str) -> npt.NDArray[Any]:
    """Return what there is for each row of a partition."""
    found = np.asarray(values)
    if len(found) != n_rows:
        raise DataError(
            f"{origin} has {n_rows} rows, but {name} has {len(found)} there: both must be "
            "partitioned alike"
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """What is done with each partition."""

    opening: _Opening
    beside: tuple[str, ...]  # the names of what lies beside the rows
    work: Callable[..., Any]
    n_jobs: int  # threads of a task that has all cores of its machine
    version: str  # the version of the package that asks

    def threads(self) -> int:
        """Return the number of threads of a task: Dask's times these are no more than cores."""
        try:
            from distributed import get_worker

            n_tasks = get_worker().state.nthreads
        except (ImportError, ValueError):  # Dask's local scheduler
            return self.n_jobs
        cores = effective_threads(-1)
        wanted = self.n_jobs if self.n_jobs > 0 else cores + 1 + self.n_jobs
        return max(1, min(wanted, cores // n_tasks))


def _run(
    job: _Job,
    number: int,
    block: Any,
    beside: Sequence[Any],
    names: Sequence[str],
    values: Sequence[Any],
) -> Any:
    """Do the work on one partition; None where it has no rows."""
    _check_version(job.version)
    source = job.opening.source(number, block, dict(zip(job.beside, beside, strict=True)))
    kept = None if source.left_out is None else ~source.left_out
    n_rows = source.n_samples if kept is None else len(kept)
    origin = f"partition {number} of {_ORIGIN}"
    by_row = {}
    for name, each in zip(names, values, strict=True):
        found = _by_row(name, each, n_rows, origin)
        by_row[name] = found if kept is None else found[kept]
    if not source.n_samples:
        return None
    return job.work(source, n_jobs=job.threads(), **by_row)


def _run_group(
    job: _Job,
    numbers: Sequence[int],
    blocks: Sequence[Any],
    beside: Sequence[Sequence[Any]],
    names: Sequence[str],
    values: Sequence[Sequence[Any]],
) -> dict[int, Any]:
    """Do the work on some partitions, one after the other."""
    each = zip(numbers, blocks, beside, values, strict=True)
    return {i: _run(job, i, block, around, names, own) for i, block, around, own in each}


def _check_version(asking: str) -> None:
    """Raise if this is another version of the package than the one that asks for work."""
    from fastgmm import __version__

    if __version__ != asking:
        from distributed import get_worker

        worker = get_worker()
        raise ClusterError(
            f"worker {worker.name} at {worker.address} has fastgmm {__version__}, and the client "
            f"has {asking}, whose results may differ: install the same version everywhere"
        )


def _merged(merge: Callable[[Any, Any], Any], found: list[Any]) -> Any:
    """Return what several partitions came to, in their order."""
    present = [each for each in found if each is not None]
    return reduce(merge, present) if present else None


def _merged_groups(merge: Callable[[Any, Any], Any], groups: list[dict[int, Any]]) -> Any:
    """Return what partitions that follow each other came to, whoever worked on them."""
    found = {number: each for group in groups for number, each in group.items()}
    return _merged(merge, [found[number] for number in sorted(found)])


def _groups(get: Any, graph: Mapping[Any, Any], blocks: Sequence[Any]) -> list[list[list[int]]]:
    """Return the numbers of partitions, in runs, of each of which some are worked on in one task.

    These lie on the same worker, and are no fewer groups than it has threads: a task costs the
    scheduler the same however much it does, and no row moves.
    """
    futures = [_stored(graph, key) for key in blocks]
    kept = [each for each in futures if each is not None]
    client = getattr(get, "__self__", None)
    places = client.who_has(kept) if client is not None and kept else {}
    n_threads = client.nthreads() if client is not None and kept else {}
    runs = []
    for first in range(0, len(blocks), _MERGED_AT_ONCE):
        here: dict[Any, list[int]] = {}
        for i in range(first, min(first + _MERGED_AT_ONCE, len(blocks))):
            owners = sorted(places.get(getattr(futures[i], "key", None), ()))
            here.setdefault(owners[0] if owners else i, []).append(i)
        run = []
        for owner, numbers in here.items():
            n_groups = min(len(numbers), n_threads.get(owner, 1))
            run += [part.tolist() for part in np.array_split(numbers, n_groups)]
        runs.append(run)
    return runs


def _stored(graph: Mapping[Any, Any], key: Any) -> Any:
    """Return the future of a partition that is persisted; None of another."""
    found: Any = graph.get(key)
    while hasattr(found, "target"):  # an alias
        found = graph.get(found.target)
    return found if hasattr(found, "client") else None


class _Scan(NamedTuple):
    """What is found when all rows are looked at for the first time."""

    numbers: tuple[int, ...]  # of the partitions that have rows
    sizes: tuple[int, ...]  # how many rows these have
    present: tuple[int, ...]  # how many of them have weight
    weight: float
    largest_weight: float
    first: FloatArray  # the first rows that have weight
    incomplete: bool

    def plus(self, other: _Scan) -> _Scan:
        """Return what is found in both sets of rows."""
        weight = self.weight + other.weight
        first = np.concatenate([self.first, other.first])[:BLOCK_ROWS]
        return _Scan(
            self.numbers + other.numbers,
            self.sizes + other.sizes,
            self.present + other.present,
            weight,
            max(self.largest_weight, other.largest_weight),
            first,
            self.incomplete or other.incomplete,
        )


def _scan_partition(source: Source, *, n_jobs: int | None) -> _Scan:  # noqa: ARG001 - no kernel runs
    """Look at the rows of a partition."""
    assert isinstance(source, ArraySource)
    assert source.partition is not None
    weights = source.weights
    present = source.n_samples if weights is None else int(np.count_nonzero(weights))
    return _Scan(
        (source.partition,),
        (source.n_samples,),
        (present,),
        source.total_weight,
        1.0 if weights is None else float(weights.max()),
        source.some_rows(BLOCK_ROWS)[:present],
        source.incomplete,
    )


def _rows(source: Source, *, n_jobs: int | None) -> Rows:  # noqa: ARG001 - no kernel runs
    """Return the rows of a partition themselves."""
    assert isinstance(source, ArraySource)
    return Rows(source.X, source.weights)


class DaskSource(Source):
    """Rows in the partitions of a Dask array or data frame.

    Every pass runs one task for each partition, which may run anywhere, and merges what the tasks
    found in a tree over the partitions' order: the result depends on how the rows are partitioned,
    to the bit, and not on who works on them. What lies in the workers' memory, as
    ``collection.persist()`` has it, is worked on there; all else is read again in every pass.
    """

    replayable = True

    def __init__(
        self,
        collection: Any,
        selection: Selection,
        missing: MissingPolicy,
        client: Any = None,
    ) -> None:
        self.check(collection)
        if is_array_collection(collection):
            collection = collection.rechunk({1: -1})
            empty: Any = np.empty((0, collection.shape[1]), collection.dtype)
        else:
            empty = collection._meta
        found, X = _selected(_ORIGIN, empty, selection)
        self.collection = collection
        self.n_features = X.shape[1]
        self.feature_names = found.names
        self.unused_columns = found.unused
        self.dtype = np.dtype(np.float32 if X.dtype.char == "f" else np.float64)
        self._client = client
        self._beside: dict[str, Any] = {}
        self._graphs_by_row: dict[str, tuple[dict[Any, Any], list[Any]]] = {}
        self._opening = _Opening(
            selection, missing, self.n_features, self.feature_names, self.dtype
        )

    @staticmethod
    def check(collection: Any) -> None:
        """Raise unless a collection is a table."""
        if not (is_array_collection(collection) or _is_frame(collection)):
            raise TypeError(
                f"X is a {type(collection).__name__} of Dask's, which is no table: give a Dask "
                "array or data frame, as dask.array.from_delayed and dask.dataframe.from_delayed "
                "make"
            )
        if is_array_collection(collection):
            check_matrix(_ORIGIN, collection.shape, collection.dtype)
            if math.isnan(collection.shape[1]):
                raise DataError(
                    f"{_ORIGIN} has an unknown number of columns: let X.compute_chunk_sizes() "
                    "find it"
                )

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return sum(self._scanned.sizes)

    @property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        return self._scanned.weight

    @property
    def largest_weight(self) -> float:
        """The largest of the weights."""
        return self._scanned.largest_weight

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights."""
        return "sample_weight" in self._beside or self._opening.selection.weight_column is not None

    @property
    def incomplete(self) -> bool:  # type: ignore[override]  # found when asked for
        """Whether rows lack values."""
        return self._opening.missing == "model" and self._scanned.incomplete

    @property
    def partition_sizes(self) -> npt.NDArray[np.int64]:  # type: ignore[override]  # found, too
        """How many rows that have weight each partition has."""
        sizes = np.zeros(self.n_partitions, np.int64)
        sizes[list(self._scanned.numbers)] = self._scanned.present
        return sizes

    @property
    def n_partitions(self) -> int:
        """Number of partitions, some of which may be empty."""
        return int(self.collection.npartitions)

    def features(self) -> Any:
        """Return the collection of the features alone."""
        names = self.feature_names
        selection = self._opening.selection
        if is_array_collection(self.collection):
            if not (selection.columns or selection.apart):
                return self.collection
            chosen = selection.of_matrix(_ORIGIN, np.arange(self.collection.shape[1])[None]).values
            return self.collection[:, np.asarray(chosen)[0].tolist()]
        return self.collection if names is None else self.collection[list(names)]

    def labels(self) -> Any:
        """Return the labels of the rows, an array or series of Dask's; None if there are none."""
        name = self._opening.selection.label_column
        if name is None or not is_array_collection(self.collection):
            return None if name is None else self.collection[name]
        of_labels = Selection((name,))
        found = of_labels.of_matrix(_ORIGIN, np.arange(self.collection.shape[1])[None]).values
        return self.collection[:, int(np.asarray(found)[0, 0])]

    def mapped(self, name: str, values: Any, change: Callable[[Any], Any], dtype: Any) -> Any:
        """Return what becomes of what there is for each row, partition by partition."""
        values = self.aligned(name, values)
        if is_array_collection(values):
            return values.map_blocks(change, dtype=dtype, meta=np.empty(0, dtype))
        return values.map_partitions(_in_series, change, meta=(None, dtype))

    def weighted(self, weights: Any) -> DaskSource:
        """Return the same rows with weights, a Dask array or series."""
        if self.has_weights:
            raise ValueError("X brings weights of its own: give no sample_weight beside them")
        other = self._copy()
        other._beside = {**self._beside, "sample_weight": self.aligned("sample_weight", weights)}
        return other

    def chosen(self, kept: Any) -> DaskSource:
        """Return some of the rows, of which an array or series of Dask's says which."""
        assert "chosen" not in self._beside  # rows of a class are not parted again
        other = self._copy()
        other._beside = {**self._beside, "chosen": self.aligned("chosen", kept)}
        return other

    def changed(self, change: Callable[[Any], Source]) -> DaskSource:
        """Return what becomes of the rows of each partition."""
        other = self._copy()
        other._opening = replace(self._opening, changes=(*self._opening.changes, change))
        return other

    def aligned(self, name: str, values: Any) -> Any:
        """Return what there is for each row, partitioned as the rows are."""
        if is_array_collection(values) and values.ndim == 1:
            if is_array_collection(self.collection):
                rows = self.collection.chunks[0]
                if values.chunks[0] != rows and not any(
                    map(math.isnan, (*values.chunks[0], *rows))
                ):
                    if sum(values.chunks[0]) != sum(rows):
                        raise ValueError(
                            f"{name} should have one value for each of the {sum(rows)} rows, but "
                            f"got {sum(values.chunks[0])}"
                        )
                    values = values.rechunk((rows,))
        elif not _is_frame(values, "Series"):
            raise TypeError(
                f"{name} of a Dask collection must be a Dask array or series, partitioned alike, "
                f"or the name of a column, so that it lies beside the rows; got "
                f"{type(values).__name__}"
            )
        if values.npartitions != self.n_partitions:
            raise ValueError(
                f"{name} has {values.npartitions} partitions, and X has {self.n_partitions}: both "
                "must be partitioned alike"
            )
        return values

    def fold(
        self,
        work: Callable[..., _Found],
        merge: Callable[[_Found, _Found], _Found],
    ) -> Callable[..., _Found]:
        """Return what does some work on the partitions: a task for each, and a tree of merges."""
        return partial(self._fold, work, merge)

    def _fold(
        self,
        work: Callable[..., _Found],
        merge: Callable[[_Found, _Found], _Found],
        *,
        n_jobs: int | None = None,
        **by_row: Any,
    ) -> _Found:
        """Return what work on the partitions finds, merged in a tree over their order."""
        get, n_threads = self._scheduler(n_jobs)
        try:
            groups = _groups(get, *self._parts[:2])
            graph, keys = self._graph_of_pass(self._job(work, n_threads), merge, groups, by_row)
            parts = get(graph, keys)
        except Exception as error:
            status = getattr(getattr(get, "__self__", None), "status", "running")
            if not isinstance(error, CancelledError) and status == "running":
                raise
            raise ClusterError(
                f"the Dask scheduler has closed, or was asked to stop ({error}): connect to one, "
                "and fit again; a fit with a checkpoint continues from it with resume=True"
            ) from error
        # The last of the merges is made here: that spares the wire and the scheduler a task.
        found: _Found | None = (_merged if len(groups) > 1 else _merged_groups)(merge, parts)
        if found is None:
            raise DataError(f"{_ORIGIN} has no rows")
        return found

    def _graph_of_pass(
        self,
        job: _Job,
        merge: Callable[[Any, Any], Any],
        groups: list[list[list[int]]],
        by_row: Mapping[str, Any],
    ) -> tuple[Any, list[Any]]:
        """Return the tasks of a pass, and the keys of what is to be merged when they have ended."""
        from dask.highlevelgraph import HighLevelGraph

        graph, blocks, beside = self._parts
        graph = dict(graph)
        columns = []
        for each, values in by_row.items():
            token = getattr(values, "_name", "")  # which what is not Dask's has not
            if token not in self._graphs_by_row:
                self._graphs_by_row[token] = _graph_of(self.aligned(each, values))
            own, keys = self._graphs_by_row[token]
            graph.update(own)
            columns.append(keys)
        of: Any = getattr(job.work, "func", job.work)
        name = f"fastgmm-{of.__name__.strip('_')}-{uuid4().hex}"
        told: Any = job
        if sum(map(len, groups)) > _TOLD_EACH:
            told = f"{name}-job"
            graph[told] = job
        for some in chain.from_iterable(groups):
            here = [blocks[i] for i in some]
            around = [[each[i] for each in beside] for i in some]
            values = [[each[i] for each in columns] for i in some]
            graph[name, some[0]] = (_run_group, told, some, here, around, list(by_row), values)
        runs = [[(name, some[0]) for some in run] for run in groups]
        level: list[Any] = runs[0]
        if len(runs) > 1:
            level = [(f"{name}-merged", 0, i) for i in range(len(runs))]
            graph.update(zip(level, ((_merged_groups, merge, run) for run in runs), strict=True))
        depth = 0
        while len(level) > _MERGED_AT_ONCE:
            depth += 1
            parts = [level[j : j + _MERGED_AT_ONCE] for j in range(0, len(level), _MERGED_AT_ONCE)]
            level = [(f"{name}-merged", depth, i) for i in range(len(parts))]
            tasks = ((_merged, merge, part) for part in parts)
            graph.update(zip(level, tasks, strict=True))
        # The client would hash all tasks of a dict.
        return HighLevelGraph({name: graph}, {name: set()}), level

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows, of one partition after the other."""
        yield from recut(self._partitions(), _ROWS_AT_ONCE)

    def some_rows(self, count: int) -> FloatArray:
        """Return the first rows that have weight, to learn where the data are and how wide."""
        assert count <= BLOCK_ROWS
        return self._scanned.first[:count]

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows.

        Equal graphs have equal ones. What the tasks read may differ all the same.
        """
        return {
            "kind": "Dask collection",
            "token": token_of(self.collection, self._beside),
            "partitions": self.n_partitions,
            "features": self.n_features,
            "dtype": self.dtype.name,
            "weights": self.has_weights,
            "missing": self._opening.missing,
        }

    @cached_property
    def _scanned(self) -> _Scan:
        found = self._fold(_scan_partition, _Scan.plus)
        if self.has_weights:
            check_total_weight(_ORIGIN, found.weight)
        return found

    def _copy(self) -> DaskSource:
        other = object.__new__(DaskSource)
        other.__dict__.update(self.__dict__)
        for name in ("_scanned", "_parts"):
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def _parts(self) -> tuple[dict[Any, Any], list[Any], list[list[Any]]]:
        """The graph of the rows and what lies beside them, and the keys of both."""
        graph, blocks = _graph_of(self.collection)
        beside = []
        for each in self._beside.values():
            own, keys = _graph_of(each)
            graph.update(own)
            beside.append(keys)
        return graph, blocks, beside

    def _partitions(self) -> Iterator[Rows]:
        """Yield the rows of one partition after the other."""
        from dask.optimization import cull

        graph, blocks, beside = self._parts
        get, _ = self._scheduler(1)
        name = f"fastgmm-rows-{uuid4().hex}"
        job = self._job(_rows, 1)
        for i in range(self.n_partitions):
            here = [each[i] for each in beside]
            task: Any = (_run, f"{name}-job", i, blocks[i], here, [], [])
            own = {**graph, f"{name}-job": job, (name, i): task}
            rows: Rows | None = get(cull(own, (name, i))[0], (name, i))
            if rows is not None:
                yield rows

    def _job(self, work: Callable[..., Any], n_jobs: int) -> _Job:
        from fastgmm import __version__

        return _Job(self._opening, tuple(self._beside), work, n_jobs, __version__)

    def _scheduler(self, n_jobs: int | None) -> tuple[Callable[[Any, Any], Any], int]:
        """Return what computes a key of a graph, and how many threads a task may have."""
        from dask import threaded
        from dask.base import get_scheduler
        from dask.local import get_sync

        get = get_scheduler() if self._client is None else self._client.get
        if get is None or get is threaded.get:
            return partial(threaded.get, num_workers=effective_threads(n_jobs)), 1
        if get is get_sync:
            return get, effective_threads(n_jobs)
        return get, n_jobs or 1


def _graph_of(collection: Any) -> tuple[dict[Any, Any], list[Any]]:
    """Return the graph of a collection and the keys of its partitions, in their order."""
    if not is_array_collection(collection):
        collection = collection.optimize()
        return dict(collection.__dask_graph__()), _flat(collection.__dask_keys__())
    keys = collection.__dask_keys__()
    graph = dict(collection.__dask_optimize__(collection.__dask_graph__(), keys))
    if "distributed" in sys.modules:
        from distributed.client import futures_of

        # What is persisted already, which the optimization leaves out.
        graph = {**{each.key: each for each in futures_of(collection)}, **graph}
    return graph, _flat(keys)


def _in_series(values: Any, change: Callable[[Any], Any]) -> Any:
    """Return what becomes of a series of pandas."""
    return type(values)(change(values), values.index)


def _flat(keys: Any) -> list[Any]:
    """Return the keys of partitions in their order."""
    if isinstance(keys, list):
        return [key for each in keys for key in _flat(each)]
    return [keys]
