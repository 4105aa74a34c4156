"""Settings of the documentation: ``make docs``. Its pages are Markdown; the reference comes from the docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import seerlab

project = "seerlab"
author = "the seerlab authors"
copyright = author  # noqa: A001  # the name that sphinx asks for
version = release = seerlab.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "charts",
    "gathered",
    "mathml",
    "plain_names",
]
exclude_patterns = ["_build", "_extensions", "generated/readme.md", "**.ipynb_checkpoints"]
nitpicky = True

# Notebooks are shown as they are; `make docs EXECUTE=1` runs them first. Where a view has a still picture, the page shows that:
# a page has no kernel, and what makes a view live would come from a content delivery network.
nb_execution_mode = "off"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "image/png", 0)]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

default_role = "autolink"  # a name in single backticks is a link where it is known, and a name where it is not
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have types, shapes and units
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "seerlab"
html_static_path = ["_static"]
html_css_files = ["seerlab.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": True,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
