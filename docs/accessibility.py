"""Look at pages of the documentation in a browser: wide and narrow, light and dark.

``make docs-accessibility`` runs axe-core on them, prints what it finds, and leaves screenshots in
``docs/_build/screenshots``. The status is 1 if a finding is serious or a page is wider than its
window. It needs ``pip install axe-playwright-python`` and Chromium.
"""

import shutil
import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

BUILD = Path(__file__).parent / "_build"
PAGES = (
    "index",
    "getting_started",
    "user_guide/mathematics",
    "gallery/plot_structures",
    "api/generated/fastgmm.GaussianMixture",
)
WIDTHS = (1400, 390)
MODES = ("light", "dark")


def findings(page, *, width):
    """Return what is seriously wrong on a page, each in a line."""
    found = []
    excess = page.evaluate("document.documentElement.scrollWidth") - width
    if excess > 0:
        found.append(f"wider than the window by {excess} pixels")
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            nodes = [node["html"][:120] for node in violation["nodes"]]
            found.append(f"{violation['id']}: {len(nodes)}, as {nodes[0]}")
    return found


def main(pages):
    """Look at all pages, and return the exit status."""
    (BUILD / "screenshots").mkdir(exist_ok=True)
    status = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for mode in MODES:
            for width in WIDTHS:
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=mode, offline=True
                )
                for name in pages:
                    page = context.new_page()
                    page.goto((BUILD / "html" / f"{name}.html").as_uri())
                    page.wait_for_function("!window.MathJax || MathJax.startup.promise")
                    page.screenshot(
                        path=BUILD / "screenshots" / f"{name.replace('/', '_')}_{width}_{mode}.png"
                    )
                    for finding in findings(page, width=width):
                        print(f"{name}, {width} pixels, {mode}: {finding}")
                        status = 1
                    page.close()
                context.close()
        browser.close()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or PAGES))
