"""The worker process of one competitor: ``python -m fastgmm.bench.worker``.

It takes one JSON object a line from standard input and answers each with one on standard output.
Between requests it waits, so that the competitors of a case can take turns on an idle machine.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import IO, Any

from fastgmm.bench.competitors import COMPETITORS, Competitor
from fastgmm.bench.grid import Case
from fastgmm.bench.machine import measure_machine
from fastgmm.bench.memory import peak_memory
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.versions import blas_kernels

# Enough rows for several blocks, so that everything compiles and starts its threads, and few
# enough to leave no large allocation behind.
WARM_UP_ROWS = 4_000


class Worker:
    """Carries out the requests for one competitor and one case."""

    def __init__(self) -> None:
        self._competitor: Competitor | None = None
        # Whether the last call led to the result of as many passes as the case says.
        self._has_result = False

    @property
    def competitor(self) -> Competitor:
        """The competitor that `prepare` made."""
        if self._competitor is None:
            raise RuntimeError("prepare must be the first request")
        return self._competitor

    def machine(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Measure the machine."""
        cleared = tuple(request["overrides_cleared"])
        return asdict(measure_machine(seconds=request["seconds"], overrides_cleared=cleared))

    def prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make the data, warm up, and run one pass while watching the memory."""
        case = Case.from_dict(request["case"])
        kind = COMPETITORS[request["competitor"]]
        if not kind.keeps_memory:
            rows = min(case.n_samples, WARM_UP_ROWS)
            kind(replace(case, n_samples=rows), make_problem(case, n_samples=rows)).run(2)
        self._competitor = competitor = kind(case, make_problem(case))
        n_passes = case.n_passes if case.task == "fit" else 1
        peak = peak_memory(lambda: competitor.run(n_passes))
        self._has_result = n_passes == case.n_passes
        return {
            "memory": peak.n_bytes,
            "memory_method": peak.method,
            "arithmetic": [*competitor.description(), *blas_kernels()],
        }

    def measure(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Repeat the passes for some time, once at least."""
        repeats: list[tuple[float, float]] = []
        end = time.perf_counter() + request["seconds"]
        while not repeats or time.perf_counter() < end:
            repeats.append(self.competitor.repeat())
        self._has_result = not self.competitor.calls_whole_fits
        return {"repeats": repeats}

    def judge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Judge what as many passes as the case says lead to."""
        del request
        if not self._has_result:
            self.competitor.run(self.competitor.case.n_passes)
        return {"result": self.competitor.result()}


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more; what goes wrong is an answer too."""
    worker = Worker()
    actions: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
        "machine": worker.machine,
        "prepare": worker.prepare,
        "measure": worker.measure,
        "judge": worker.judge,
    }
    for line in requests:
        request = json.loads(line)
        try:
            answer = actions[request["action"]](request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Keep standard output for answers: what a library prints goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
