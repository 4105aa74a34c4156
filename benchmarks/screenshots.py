"""Pictures of the lab for README and documentation, taken in a real JupyterLab: light and dark, each page, and one output.

python benchmarks/screenshots.py docs
python benchmarks/screenshots.py FOLDER --width 800    # how it looks on a small screen
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser.jupyterlab_server import end_kernels, jupyterlab, write_notebook

START_MS = 120_000
CODE = 'import seerlab as sl\nlab = sl.Lab(layer="features.7", bits=3, epsilon=0.6, encode_channel=3)\nlab'
CANVAS = "canvas[role=img][data-frame]"
HEIGHT = 2300  # a cell taller than the notebook would be cut by the status bar
# Tab of the lab: name of the file, and what the page says when all of it is there.
PAGES = {
    "Epsilon": ("epsilon", r"^(?!.*the curve follows).*Loads saved"),
    "Encode": ("encoding", "bytes"),
    "Granularity": ("weights", "dense bits"),
    "Network": ("network", r"(?<!of )\b8 layers"),
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def open_lab(page: Page, address: str) -> None:
    """Run the notebook and wait until picture, times and charts are there."""
    page.goto(f"{address}/lab/tree/lab.ipynb?reset", timeout=START_MS)
    expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)
    page.get_by_role("tab", name=re.compile("^File Browser")).click()  # the open side bar closes
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(f"() => Number(document.querySelector('{CANVAS}')?.dataset.frame) > 0", timeout=START_MS)
    expect(page.locator(".seerlab-panel")).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)
    expect(page.locator(".seerlab-charts .bars path").first).to_be_attached(timeout=START_MS)
    # The first times were taken while the page was loading. A step to and fro has them taken again.
    figures = page.locator(".seerlab-panel")
    page.get_by_role("slider", name="Bits", exact=True).focus()
    for key in ("ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        expect(figures).not_to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)
        expect(figures).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)


def show_one_output(page: Page) -> None:
    """Go to a channel and from there to one of its outputs, by keyboard."""
    page.locator(CANVAS).focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    while page.locator(CANVAS).get_attribute("data-level") != "pixel":
        page.keyboard.press("+")
    expect(page.locator(".seer-mask .pixel .terms")).to_be_visible(timeout=START_MS)


def open_predictors(page: Page, folder: Path, name: str) -> None:
    """Open the chart of predictors below the mask, picture it alone, and close it."""
    fold = page.get_by_role("button", name=re.compile("SPL beside SeerNet"))
    fold.click()
    chart = page.locator(".seerlab-predict .seer").last
    expect(chart).to_contain_text(re.compile(r"^(?!.*filling in).*SeerNet", re.DOTALL), timeout=START_MS)
    chart.screenshot(path=folder / f"predictors_{name}.png")
    fold.click()


def turn_to(page: Page, title: str, complete: str) -> None:
    """Open a page of the lab and wait until everything on it is computed and drawn."""
    page.get_by_role("tab", name=title, exact=True).click()
    shown = page.locator(".jp-OutputArea .widget-tab-contents > :not(.lm-mod-hidden)")
    expect(shown.locator("canvas[data-frame]")).not_to_have_attribute("data-frame", "0", timeout=START_MS)
    expect(shown).to_contain_text(re.compile(complete, re.DOTALL), timeout=START_MS)
    expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)


def do_work(page: Page) -> None:
    """Turn to the page of long work, and have the accuracy of the setting worked out."""
    page.get_by_role("tab", name="Work", exact=True).click()
    work = page.locator(".seer-work")
    work.get_by_role("button", name="Start", exact=True).click(timeout=START_MS)
    expect(work.locator("li[data-job]").first).to_have_attribute("data-state", "done", timeout=START_MS)
    expect(work.locator(".result").get_by_role("img")).to_be_visible(timeout=START_MS)


def save(page: Page, file: Path) -> None:
    """Save the notebook's cell in 256 colours, which these pictures do not exceed visibly."""
    page.locator(".jp-Cell").first.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        file, optimize=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=1560)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("SEERLAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    for name, theme in THEMES.items():
        with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
            notebooks = Path(scratch, "notebooks")
            notebooks.mkdir()
            write_notebook(notebooks / "lab.ipynb", CODE)
            with jupyterlab(notebooks, Path(scratch, "jupyter"), theme) as address:
                browser = playwright.chromium.launch(executable_path=chromium, args=flags)
                page = browser.new_page(viewport={"width": arguments.width, "height": HEIGHT})
                open_lab(page, address)
                save(page, arguments.folder / f"lab_{name}.png")
                show_one_output(page)
                save(page, arguments.folder / f"output_{name}.png")
                open_predictors(page, arguments.folder, name)
                for title, (file, complete) in PAGES.items():
                    turn_to(page, title, complete)
                    save(page, arguments.folder / f"{file}_{name}.png")
                do_work(page)
                save(page, arguments.folder / f"work_{name}.png")
                browser.close()
                end_kernels(address)


if __name__ == "__main__":
    main()
