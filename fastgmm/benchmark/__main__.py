"""The benchmark as a command: ``python -m fastgmm.benchmark``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from fastgmm.benchmark.children import ChildError
from fastgmm.benchmark.contestants import PEERS
from fastgmm.benchmark.run import run_benchmark


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    status : int
        0; 1 if fastgmm itself failed somewhere or a promise was missed; 2 after an error in the
        arguments.
    """
    parser = argparse.ArgumentParser(prog="python -m fastgmm.benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, under two minutes")
    parser.add_argument(
        "--rows",
        default="",
        metavar="A,B,...",
        help="run only the rows whose names have one of these parts: pass, scoring, k-means, fit, "
        "startup, diag, 1Mx8, float32, full/float32, ...",
    )
    parser.add_argument(
        "--peers",
        default=",".join(PEERS),
        metavar="A,B",
        help="peers to compare with, or none (default: %(default)s)",
    )
    parser.add_argument("--check-bars", action="store_true", help="print promised and measured")
    parser.add_argument("--json", metavar="PATH", help="write all figures to this file")
    options = parser.parse_args(arguments)
    peers = [] if options.peers == "none" else options.peers.split(",")
    try:
        result = run_benchmark(
            quick=options.quick,
            rows=[part for part in options.rows.split(",") if part],
            peers=peers,
            check_bars=options.check_bars,
            json_path=options.json,
        )
    except (ChildError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for failure in result.failures:
        print(f"error: {failure}", file=sys.stderr)
    return int(bool(result.failures) or any(bar.met is False for bar in result.bars))


if __name__ == "__main__":
    # Whoever ends a long run gets the rows measured so far, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
