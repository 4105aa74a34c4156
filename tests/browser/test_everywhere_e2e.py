"""The lab in Jupyter Notebook 7, and as a page of its own that Voila serves; JupyterLab has its own file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.jupyterlab_server import notebook7, voila, write_notebook
from tests.browser.lab_page import START_MS, STEP_MS, canvas_of, frame, pixels, wait_label, wait_next_frame

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

APP = Path(__file__).parents[2] / "notebooks" / "app" / "lab.ipynb"


def open_in_notebook(page: Page, folder: Path, private: Path):
    """Run a notebook in Notebook 7, from its menu."""
    write_notebook(folder / "lab.ipynb", "import seerlab as sl\nlab = sl.Lab()\nlab")
    with notebook7(folder, private) as address:
        page.goto(f"{address}/notebooks/lab.ipynb", timeout=START_MS)
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_attached(timeout=START_MS)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        yield page


def open_in_voila(page: Page, folder: Path, private: Path):
    """Open the page that `make app` serves."""
    shutil.copyfile(APP, folder / "app.ipynb")
    with voila(folder / "app.ipynb", private) as address:
        page.goto(address, timeout=START_MS)
        yield page


@pytest.fixture(params=[open_in_notebook, open_in_voila], ids=["notebook7", "voila"])
def lab(request, page: Page, folder, tmp_path, errors):
    """A page with a lab that has drawn its first frame."""
    page.set_viewport_size({"width": 1400, "height": 1000})
    for opened in request.param(page, folder, tmp_path):
        expect(canvas_of(opened)).to_be_visible(timeout=START_MS)
        wait_next_frame(opened, 0)
        yield opened


def test_sliders_pages_and_numbers_work_by_keyboard(lab: Page):
    bits = lab.get_by_role("slider", name="Bits", exact=True)
    before, label, picture = frame(lab), wait_label(lab, "4 bits"), pixels(lab)
    bits.focus()
    lab.keyboard.press("ArrowLeft")
    wait_next_frame(lab, before)
    after = wait_label(lab, "3 bits")
    assert re.findall(r"[\d,]+ false", label) != re.findall(r"[\d,]+ false", after)
    assert pixels(lab) != picture
    lab.keyboard.press("ArrowRight")
    assert wait_label(lab, "4 bits") == label
    expect(lab.locator(".seerlab-panel")).to_contain_text(re.compile(r"\d ms"), timeout=START_MS)
    expect(lab.locator(".seerlab-charts .bars path").first).to_be_attached(timeout=START_MS)
    lab.get_by_role("tab", name="Epsilon", exact=True).click()
    maps = lab.locator(".seer-eps canvas[data-frame]")
    expect(maps).not_to_have_attribute("data-frame", "0", timeout=START_MS)
    label = maps.get_attribute("aria-label")
    lab.get_by_role("slider", name="Epsilon", exact=True).focus()
    for _ in range(20):
        lab.keyboard.press("ArrowRight")
    expect(maps).not_to_have_attribute("aria-label", label, timeout=STEP_MS)
    expect(maps).to_have_attribute("data-run", "true", timeout=STEP_MS)
