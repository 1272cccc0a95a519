"""The command line, ``fastgmm``."""

from __future__ import annotations

import sys

from fastgmm.cli.interruption import NOTHING_SAVED


def main() -> None:
    """Run the command line on the process's arguments, and exit."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        # Only while modules are loaded: later a handler of our own receives Ctrl-C.
        print(NOTHING_SAVED, file=sys.stderr)
        sys.exit(130)


def _run() -> int:
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        print(
            f"error: the command line needs {error.name}: "
            'install it with  pip install "fastgmm[cli]"',
            file=sys.stderr,
        )
        return 2
    from fastgmm.cli.application import run

    return run(sys.argv[1:])
