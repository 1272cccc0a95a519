"""Lines of the tables that the comparisons print as figures come in."""

from __future__ import annotations


def print_line(first: str, *cells: str, width: int = 18) -> None:
    """Print a line of a table at once: the first cell to the left, the others to the right."""
    print(first.ljust(26) + "".join(cell.rjust(width) for cell in cells), flush=True)


def megabytes(n_bytes: int | None) -> str:
    """Write a number of bytes in MB."""
    if n_bytes is None:
        return "–"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 10e6 else f"{n_bytes / 1e6:.0f} MB"
