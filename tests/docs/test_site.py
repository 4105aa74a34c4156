"""The documentation site as it is built: no warning, no dead link, nothing from elsewhere, and a page for everything public."""

from __future__ import annotations

import importlib
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

import seerlab as sl

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = ("drfmp", "encodings", "fast", "regularity", "scnn", "seernet", "spl")


class Page(HTMLParser):
    """What a page loads, links to and offers as a target."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.targets, self.pictures = [], [], {""}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        at = dict(attributes)
        self.targets.update(at[key] for key in ("id", "name") if at.get(key))
        if tag == "a" and at.get("href"):
            self.links.append(at["href"])
        if tag == "link" and at.get("rel") in ("stylesheet", "preload") and at.get("href"):
            self.loads.append(at["href"])
        if tag in ("script", "img", "iframe") and at.get("src"):
            self.loads.append(at["src"])
        if tag == "img":
            self.pictures.append((at.get("src"), at.get("alt")))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages, made as `make docs EXECUTE=1` makes them: a notebook that fails fails here."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-W", "--keep-going", "-n",
         "-D", "nb_execution_mode=force", "-d", str(folder / "doctrees"), str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    # What the theme keeps under _static are its own templates.
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts}


def test_links_inside_the_site_lead_somewhere(site, pages):
    dead = []
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                dead.append(f"{path.relative_to(site)}: {link}")
            elif target in pages and unquote(parts.fragment) not in pages[target].targets:
                dead.append(f"{path.relative_to(site)}: {link} has no such place")
    assert not dead, "\n".join(dead)


def test_nothing_is_loaded_from_elsewhere(pages):
    foreign = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    assert not foreign, "classrooms may be offline"


def test_every_public_name_is_in_the_reference(site):
    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, name: name)
    known = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    wanted = {f"seerlab.{name}" for name in sl.__all__ if not name.startswith("__")}
    for module in MODULES:
        wanted |= {f"seerlab.{module}.{name}" for name in importlib.import_module(f"seerlab.{module}").__all__}
    # `METHODS` and the like are plain values without a docstring of their own.
    wanted = {name for name in wanted if not name.rpartition(".")[2].isupper()}
    missing = {name for name in wanted - known if not known & other_names(name)}
    assert not missing


def other_names(name):
    """Where else an object of the package may stand: one that is offered at the top is described with the others of its module."""
    module, _, own = name.rpartition(".")
    found = getattr(importlib.import_module(module), own)
    home = getattr(found, "__module__", "")
    return {f"{home.rpartition('.')[0]}.{own}", f"{home}.{own}", getattr(found, "__name__", "")}


def test_the_first_page_says_what_it_is_for_and_shows_it(site, pages):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "before they are computed" in text
    pictures = [(source, words) for source, words in pages[site / "index.html"].pictures if "lab_" in source]
    assert len(pictures) == 2, "one for light pages, one for dark ones"
    assert all(words for _, words in pictures)


@pytest.mark.parametrize(("folder", "pattern", "place"), [
    ("notebooks", "*.ipynb", "notebooks/{name}.html"),
    ("benchmarks", "*.md", "benchmarks/{name}.html"),
    ("ext", "*/README.md", "kernels/{parent}.html"),
])  # fmt: skip
def test_what_lies_elsewhere_in_the_repository_has_a_page(site, folder, pattern, place):
    sources = [path for path in (ROOT / folder).glob(pattern) if ".ipynb_checkpoints" not in path.parts]
    assert sources
    for path in sources:
        name = path.relative_to(ROOT / folder).with_suffix("").as_posix()
        name = name.lower() if folder == "benchmarks" else name
        assert (site / "generated" / place.format(name=name, parent=path.parent.name)).is_file()


def test_charts_of_executed_notebooks_are_in_the_pages(site):
    text = (site / "generated" / "notebooks" / "06_what_the_hardware_does.html").read_text(encoding="utf-8")
    assert "Plotly.newPlot(" in text


def test_formulas_are_in_the_pages_themselves(site):
    text = (site / "explanation" / "seernet.html").read_text(encoding="utf-8")
    assert "<math" in text
    assert "\\frac" not in text
