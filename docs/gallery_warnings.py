"""A warning in an example of the gallery is an error."""

import warnings
from contextlib import ExitStack
from typing import Any

_while_it_runs = ExitStack()


def raise_warnings(gallery_conf: dict[str, Any], path: str | None, when: str) -> None:
    """Change the filters of warnings before an example runs, and restore them afterwards."""
    del gallery_conf, path
    _while_it_runs.close()
    if when == "before":
        _while_it_runs.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        # There is no display.
        warnings.filterwarnings("ignore", message=r".*is non-interactive, and thus cannot be shown")
