"""The worker process of one competitor, and the conversation with it.

``python -m harness.worker`` takes one JSON object a line from standard input and answers each with
one on standard output. Between requests it waits, so that the competitors of a case can take turns
on an idle machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from fastgmm.bench.grid import Case
from fastgmm.bench.machine import measure_machine
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.versions import blas_kernels
from harness.competitors import COMPETITORS, Competitor
from harness.memory import peak_memory
from harness.throughput import measure_throughput

_LAST_LINES = 5

# Enough rows for several blocks, so that everything compiles and starts its threads, and few
# enough to leave no large allocation behind.
WARM_UP_ROWS = 4_000


class WorkerError(Exception):
    """A worker process reported an error or ended before it answered."""


class WorkerProcess:
    """A worker process and the conversation with it."""

    def __init__(
        self, environment: Mapping[str, str], command: tuple[str, ...] | None = None
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            command or (sys.executable, "-m", "harness.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_with_programs(environment),
            text=True,
            encoding="utf-8",
        )

    def ask(self, action: str, **values: Any) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"action": action, **values}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise WorkerError(f"the process ended with code {code} during {action}:{self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _tail(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").splitlines()
        return " " + (" | ".join(lines[-_LAST_LINES:]) or "it wrote nothing")

    def __enter__(self) -> WorkerProcess:
        """Return the worker itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process: a worker ends by itself when there are no more requests."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if error is not None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._stderr.close()


def _with_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which the modules beside this one can be imported."""
    folders = [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


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
        """Measure the machine, in a process whose environment lets BLAS do its best."""
        seconds = request["seconds"]
        return {
            "machine": asdict(measure_machine(seconds=seconds)),
            "throughput": measure_throughput(seconds=seconds).to_dict(),
        }

    def prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make the data, warm up, and run one pass while watching the memory."""
        case = Case(**request["case"])
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
