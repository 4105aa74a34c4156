"""Pages that lie elsewhere in the repository, gathered before each build: notebooks, benchmarks, kernel notes, command line, verdicts.

They are copied under ``docs/generated``, which git ignores; a copy that would not change is left alone, so that a second build is
short. Links to files that have no page here become plain text.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import verdicts
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent.parent
GENERATED = ROOT / "docs" / "generated"
COMMANDS = ([], ["lab"], ["doctor"], ["bench"], *(["bench", k] for k in ("layers", "network", "encodings", "roofline")))

LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\((?!https?:|#)([^()\s]+)\)")


def markdown_pages() -> dict[str, Path]:
    """Return the gathered pages' places under ``docs/generated`` and where each comes from."""
    pages = {f"benchmarks/{path.stem.lower()}.md": path for path in sorted((ROOT / "benchmarks").glob("*.md"))}
    pages |= {f"kernels/{path.parent.name}.md": path for path in sorted((ROOT / "ext").glob("*/README.md"))}
    return pages | {"readme.md": ROOT / "README.md"}  # no page: the explanation includes its tables


def notebook_pages() -> dict[str, Path]:
    """Return the places of the course's notebooks under ``docs/generated`` and where each comes from."""
    return {f"notebooks/{path.name}": path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def pictures() -> dict[str, Path]:
    """Return the places of the benchmarks' pictures under ``docs/generated`` and where each comes from."""
    return {f"benchmarks/{path.name}": path for path in sorted((ROOT / "benchmarks").glob("*.png"))}


def without_dead_links(text: str, source: Path, pages: dict[str, Path]) -> str:
    """Keep links to gathered pages and pictures; of the others keep the text."""
    homes = {path.resolve(): Path(place) for place, path in pages.items()}
    here = homes[source.resolve()].parent

    def replaced(link: re.Match[str]) -> str:
        name, _, anchor = link[2].partition("#")
        target = (source.parent / name).resolve()
        if target not in homes:
            return link[1]
        return f"[{link[1]}]({os.path.relpath(homes[target], here)}{'#' + anchor if anchor else ''})"

    return LINK.sub(replaced, text)


def write(place: str, text: str) -> None:
    """Write a gathered page unless it is there already with the same text."""
    target = GENERATED / place
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def gather(_app: Sphinx) -> None:
    """Bring ``docs/generated`` up to date."""
    texts, notebooks = markdown_pages(), notebook_pages()
    pages = texts | notebooks
    wanted = {GENERATED / place for place in (*pages, *pictures(), "command_line.txt", "verdicts.md")}
    for old in GENERATED.rglob("*"):
        if old.is_file() and old not in wanted:
            old.unlink()
    for place, path in texts.items():
        write(place, without_dead_links(path.read_text(encoding="utf-8"), path, pages))
    for place, path in notebooks.items():
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = without_dead_links(cell.source, path, pages)
        write(place, nbformat.writes(notebook) + "\n")
    for place, path in pictures().items():
        (GENERATED / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, GENERATED / place)
    write("command_line.txt", command_line())
    write("verdicts.md", verdicts.page())


def command_line() -> str:
    """Return what ``--help`` says for every command."""
    texts = []
    for words in COMMANDS:
        shown = subprocess.run(
            [sys.executable, "-c", "import seerlab.cli; seerlab.cli.main()", *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "100"},
        )
        texts.append(f"$ {' '.join(['seerlab', *words, '--help'])}\n{shown.stdout}")
    return "\n".join(texts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Gather before sphinx looks for pages."""
    app.connect("builder-inited", gather)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
