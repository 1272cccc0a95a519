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
    "benchmark_tables",
    "cluster_report",
    "command_output",
    "gallery_checks",
    "internal_links",
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.py", "sg_execution_times.rst"]

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
# Parameters that are documented exist, in this order, and what is returned is said.
numpydoc_validation_checks = {"PR02", "PR03", "PR10", "RT03", "YD01"}

# Made at the end of a build.
linkcheck_ignore = [r"\.\./_static/cluster_report\.html"]

html_theme = "pydata_sphinx_theme"
html_title = "fastgmm"
html_static_path = ["_static"]
html_css_files = ["fastgmm.css"]
html_js_files = ["fastgmm.js"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "cli": [], "benchmarks": [], "getting_started": []}
html_show_sourcelink = False

# Prompts are not copied, nor is what a command prints.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

plot_formats = [("png", 160)]
plot_html_show_formats = False
plot_html_show_source_link = False

# This is where the examples are tested: an error or a warning in one of them ends the build.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "image_scrapers": "gallery_checks.save_figures",
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib", "gallery_checks.raise_warnings"),
    "reset_modules_order": "both",
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}
