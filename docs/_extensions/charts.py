"""Charts of executed notebooks, as Plotly writes them for pages that are read without a network."""

from __future__ import annotations

import os
import re

from docutils import nodes
from sphinx.application import Sphinx

# Plotly would load this for formulas in a chart's texts, of which there are none.
FORMULAS = re.compile(r'<script src="https://[^"]*/mathjax/[^"]*"></script>')


def without_formulas(_app: Sphinx, doctree: nodes.document, _name: str) -> None:
    """Take out the script that comes from elsewhere."""
    for output in list(doctree.findall(nodes.raw)):
        text = output.astext()
        if FORMULAS.search(text):
            output.replace_self(nodes.raw("", FORMULAS.sub("", text), format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the notebooks' kernels write whole charts, and clean them."""
    os.environ["PLOTLY_RENDERER"] = "notebook"
    app.connect("doctree-resolved", without_formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
