"""What ends the build of the gallery: warnings, empty axes, and objects printed as addresses."""

import re
import warnings
from contextlib import ExitStack
from typing import Any

import matplotlib.pyplot as plt
from sphinx.errors import ExtensionError
from sphinx_gallery.scrapers import matplotlib_scraper

_while_it_runs = ExitStack()
_OBJECT = re.compile(r"<[^<>\n]* at 0x[0-9a-fA-F]+>")


def raise_warnings(gallery_conf: dict[str, Any], path: str | None, when: str) -> None:
    """Change the filters of warnings before an example runs, and restore them afterwards."""
    del gallery_conf, path
    _while_it_runs.close()
    if when == "before":
        _while_it_runs.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        # There is no display.
        warnings.filterwarnings("ignore", message=r".*is non-interactive, and thus cannot be shown")


def save_figures(
    block: tuple[str, str, int], block_vars: dict[str, Any], gallery_conf: dict[str, Any]
) -> str:
    """Save the figures of a block of an example, as sphinx-gallery does; no axes may be empty."""
    for number in plt.get_fignums():
        for ax in plt.figure(number).axes:
            if ax.axison and not ax.has_data():
                raise ExtensionError(
                    f"{block_vars['src_file']}, line {block[2]}: a figure has empty axes; a figure "
                    "is published at the end of the block that makes it, so draw all of it there"
                )
    return str(matplotlib_scraper(block, block_vars, gallery_conf))


def refuse_objects(app: Any, docname: str, source: list[str]) -> None:
    """Raise if the page of an example shows an object as Python represents it by default."""
    del app
    if docname.startswith("gallery/") and (found := _OBJECT.search(source[0])):
        raise ExtensionError(f"{docname} shows an object: {found.group()}")


def setup(app: Any) -> dict[str, bool]:
    """Register the check of the pages."""
    app.connect("source-read", refuse_objects)
    return {"parallel_read_safe": True}
