"""At the end of a build: every link from page to page leads somewhere.

Links to other sites are for ``make linkcheck``, which needs a network.
"""

import re
from pathlib import Path
from urllib.parse import unquote

from sphinx.errors import ExtensionError

_TARGET = re.compile(r'\s(?:id|name)="([^"]+)"')
_LINK = re.compile(r'\s(?:href|src)="([^"]*)"')


def broken_links(folder):
    """Return the links in a folder of pages to files or places in them that do not exist."""
    files = (path for path in sorted(Path(folder).rglob("*.html")) if "_static" not in path.parts)
    pages = {path: path.read_text("utf-8") for path in files}
    targets = {path: {"", "top", *_TARGET.findall(text)} for path, text in pages.items()}
    broken = []
    for page, text in pages.items():
        for link in {*_LINK.findall(text)}:
            if re.match(r"[a-z]+:|//", link):
                continue
            name, _, place = unquote(link).partition("#")
            path = (page.parent / name.partition("?")[0]).resolve() if name else page
            if not path.exists() or (path in targets and place not in targets[path]):
                broken.append(f"{page.relative_to(folder)}: {link}")
    return broken


def check(app, exception):
    """Raise if a link of the pages that were built is broken."""
    if exception is None and app.builder.name == "html":
        broken = broken_links(Path(app.outdir).resolve())
        if broken:
            raise ExtensionError("links lead nowhere: " + "; ".join(broken))


def setup(app):
    """Register the check, after everything else that is done at the end."""
    app.connect("build-finished", check, priority=900)
    return {"parallel_read_safe": True}
