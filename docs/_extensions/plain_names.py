"""Names in single backticks that have no page of their own, such as parameters, stay plain instead of being broken links."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx


def keep_plain(_app: Sphinx, _env: Any, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    """Answer for the default role alone: a link that a page asks for by its kind must lead somewhere."""
    return content if node.get("reftype") == "obj" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Step in where a reference is not found."""
    app.connect("missing-reference", keep_plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
