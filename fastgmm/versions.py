"""What a report of a problem should say about the machine and what is installed on it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")

_PACKAGES = (
    "fastgmm",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "llvmlite",
    "narwhals",
    "pandas",
    "polars",
    "pyarrow",
    "h5py",
    "zarr",
    "dask",
    "matplotlib",
    "pillow",
    "typer",
    "daal",
)


def show_versions() -> None:
    """Print what a report of a problem should hold: versions, processor, threads and BLAS.

    Examples
    --------
    >>> import fastgmm
    >>> fastgmm.show_versions()  # doctest: +ELLIPSIS
    python: ...
    """
    import numba

    from fastgmm.kernels.threads import effective_threads

    lines = {
        **package_versions(),
        "system": platform.platform(),
        "processor": processor_name(),
        "threads": effective_threads(None),
        "threading layer": numba.threading_layer(),  # type: ignore[attr-defined]
        "BLAS": ", ".join(blas_kernels()) or "none loaded",
    }
    for name, value in lines.items():
        print(f"{name}: {value}")


def processor_name() -> str:
    """Return the processor's name as the operating system gives it."""
    try:
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def blas_kernels() -> tuple[str, ...]:
    """Name the BLAS libraries loaded in this process and the kernels that they chose."""
    from threadpoolctl import threadpool_info

    names = {
        f"{library['internal_api']} {library.get('version') or '?'} "
        f"{library.get('architecture') or 'kernels unknown'}"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return tuple(sorted(names))


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, where installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
