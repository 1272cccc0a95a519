"""How Sphinx builds the documentation."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "fastgmm"
author = "fastgmm developers"
copyright = "fastgmm developers"
version = release = metadata.version("fastgmm")

extensions = [
    "command_output",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.py", "sg_execution_times.rst"]

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Parameters that are documented exist, in this order, and what is returned is said.
numpydoc_validation_checks = {"PR02", "PR03", "PR10", "RT03", "YD01"}

html_theme = "pydata_sphinx_theme"
html_title = "fastgmm"
html_static_path = ["_static"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"cli": [], "benchmarks": [], "getting_started": []}
html_show_sourcelink = False

# This is where the examples are tested: an error or a warning in one of them ends the build.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib", "gallery_warnings.raise_warnings"),
    "reset_modules_order": "both",
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}
