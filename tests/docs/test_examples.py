"""The Python on the documentation's pages, run from top to bottom of each page."""

from __future__ import annotations

import re
from pathlib import Path

import ipywidgets
import pytest

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
BLOCK = re.compile(
    r"(?P<comment><!-- not run by the tests: [^\n]+ -->\n)?^```python\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
PAGES = [
    path.relative_to(DOCS).as_posix()
    for path in sorted(DOCS.rglob("*.md"))
    if path.relative_to(DOCS).parts[0] not in ("_build", "generated")
    and "```python" in path.read_text(encoding="utf-8")
]


def test_the_pages_with_examples_are_found():
    assert {"index.md", "tutorial.md", "howto/own_model.md", "howto/accelerate.md"} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / name).read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    try:
        for block in BLOCK.finditer(text):
            if block["comment"] is None:
                line = text.count("\n", 0, block.start("code"))
                # Empty lines in front: an error names the line of the page.
                exec(compile("\n" * line + block["code"], str(DOCS / name), "exec"), names)
    finally:
        for value in names.values():
            if isinstance(value, ipywidgets.Widget):
                value.close()
