"""What a lab stands in a real JupyterLab: keyboard alone, errors, a kernel that dies, a neighbour, another thread."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.jupyterlab_server import write_notebook
from tests.browser.lab_page import START_MS, STEP_MS, canvas_of, run_all, wait_label, wait_next_frame

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

LAB = "import seerlab as sl\nlab = sl.Lab()\nlab"
PAGES = ("Predict", "Epsilon", "Encode", "Granularity", "Network", "Work")
# What can be operated and is on show. Of a group of radio buttons the keyboard reaches one, and moves on with the arrows.
CONTROLS = """
() => {
  const lab = document.querySelector('.seerlab-lab');
  const found = [];
  const groups = new Set();
  for (const part of lab.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')) {
    if (part.disabled || part.tabIndex < 0 || !part.checkVisibility({ visibilityProperty: true }) || !part.getClientRects().length) continue;
    if (part.type === 'radio' && groups.has(part.name)) continue;
    if (part.type === 'radio') groups.add(part.name);
    part.dataset.reach = part.type === 'radio' ? `radio ${part.name}` : `${found.length}`;
    if (part.type === 'radio') for (const one of lab.querySelectorAll('input[type=radio]')) if (one.name === part.name) one.dataset.reach = part.dataset.reach;
    const label = part.getAttribute('aria-label') || part.labels?.[0]?.textContent || part.getAttribute('title') || part.textContent;
    found.push([part.dataset.reach, part.tagName, (label || '').trim()]);
  }
  return found;
}
"""
FOCUSED = "() => document.activeElement?.dataset.reach ?? null"
UNNAMED_FIGURES = """
() => [...document.querySelectorAll('.seerlab-lab canvas, .seerlab-lab svg[role=img]')]
  .filter(figure => figure.checkVisibility() && figure.getClientRects().length && !figure.closest('.js-plotly-plot'))
  .filter(figure => (figure.getAttribute('aria-label') || '').length < 20).map(figure => figure.outerHTML.slice(0, 200))
"""


def open_lab(page: Page, server: str, folder, name: str, *cells: str) -> Page:
    write_notebook(folder / name, *cells)
    run_all(page, server, name)
    expect(canvas_of(page).first).to_be_visible(timeout=START_MS)
    return page


def shown_page(page: Page) -> Locator:
    return page.locator(".seerlab-lab .widget-tab-contents > :not(.lm-mod-hidden)")


def wait_drawn(page: Page, title: str) -> None:
    """Until the page's figure is there; the page Work has none before there is a result."""
    if title == "Work":
        expect(shown_page(page).get_by_role("button", name="Start", exact=True)).to_be_visible(timeout=START_MS)
        return
    canvas = shown_page(page).locator("canvas[data-frame]").first
    expect(canvas).not_to_have_attribute("data-frame", "0", timeout=START_MS)


def rest(page: Page) -> None:
    """Until the lab's own times are there: controls that come with them have come."""
    expect(page.locator(".seerlab-panel")).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)


def test_every_page_is_reached_and_used_with_the_keyboard_alone(page: Page, server, folder, errors):
    lab = open_lab(page, server, folder, "keyboard.ipynb", LAB)
    rest(lab)
    lab.get_by_role("tab", name=PAGES[0], exact=True).focus()
    for title in PAGES:
        tab = lab.get_by_role("tab", name=title, exact=True)
        if title != PAGES[0]:
            lab.keyboard.press("ArrowRight")
            expect(tab).to_be_focused(timeout=STEP_MS)
            lab.keyboard.press("Enter")
        expect(tab).to_have_attribute("aria-selected", "true", timeout=STEP_MS)
        wait_drawn(lab, title)
        wanted = lab.evaluate(CONTROLS)
        assert [kind for _, kind, label in wanted if not label] == [], title
        lab.get_by_label("Network", exact=True).focus()
        reached = {lab.evaluate(FOCUSED)}
        for _ in range(len(wanted) + 5):
            lab.keyboard.press("Tab")
            reached.add(lab.evaluate(FOCUSED))
        assert [entry for entry in wanted if entry[0] not in reached] == [], title
        assert lab.evaluate(UNNAMED_FIGURES) == [], title
        tab.focus()
    expect(lab.locator(".jp-Notebook .jp-Cell")).to_have_count(1)  # no key became a command of the notebook


def test_an_unknown_layer_and_a_bad_value_leave_the_lab_alive(page: Page, server, folder, errors):
    lab = open_lab(page, server, folder, "errors.ipynb", LAB, "lab.layer = 'features.nonsense'")
    shown = wait_label(lab, "4 bits")
    expect(lab.locator(".jp-OutputArea-output").last).to_contain_text(
        "unknown layer 'features.nonsense'", timeout=STEP_MS
    )
    expect(lab.get_by_label("Layer", exact=True)).to_have_value("features.3")
    alert = lab.locator(".seerlab-controls").get_by_role("alert")
    bits = lab.get_by_role("slider", name="Bits", exact=True)
    bits.focus()
    lab.keyboard.press("ArrowLeft")
    wait_label(lab, "3 bits")
    lab.keyboard.press("ArrowRight")
    assert wait_label(lab, "4 bits").split(",")[0] == shown.split(",")[0]
    expect(alert).to_have_count(0, timeout=STEP_MS)


def test_a_killed_kernel_leaves_the_last_picture_and_says_so_and_the_cell_runs_again(page: Page, server, folder):
    told = "import os, pathlib\npathlib.Path('kernel').write_text(str(os.getpid()))\n"
    lab = open_lab(page, server, folder, "killed.ipynb", told + LAB)
    wait_next_frame(lab, 0)
    wait_label(lab, "4 bits")
    gone = lab.locator(".seer-mask [role=alert]")
    os.kill(int((folder / "kernel").read_text()), signal.SIGKILL)
    lab.get_by_role("dialog").get_by_role("button", name="Ok").click(
        timeout=START_MS
    )  # JupyterLab's own: it starts another kernel
    expect(gone).to_contain_text("run the cell again", timeout=START_MS)
    expect(canvas_of(lab)).to_be_visible()
    assert int(canvas_of(lab).get_attribute("data-frame") or 0) > 0
    lab.get_by_role("menuitem", name="Run", exact=True).click()
    lab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(gone).to_be_empty(timeout=START_MS)
    wait_next_frame(lab, 0)
    lab.get_by_role("slider", name="Bits", exact=True).focus()
    lab.keyboard.press("ArrowLeft")
    wait_label(lab, "3 bits")


def test_two_labs_side_by_side_do_not_mix(page: Page, server, folder, errors):
    code = "import ipywidgets, seerlab as sl\nlabs = [sl.Lab(), sl.Lab(bits=6)]\nipywidgets.HBox(labs)"
    open_lab(page, server, folder, "two.ipynb", code)
    labs = page.locator(".seerlab-lab")
    expect(labs).to_have_count(2)
    left, right = (labs.nth(i).locator(".seer-mask canvas[role=img]") for i in range(2))
    expect(right).to_have_attribute("aria-label", re.compile("6 bits"), timeout=START_MS)
    labs.nth(0).get_by_role("slider", name="Bits", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    expect(left).to_have_attribute("aria-label", re.compile("3 bits"), timeout=STEP_MS)
    labs.nth(1).get_by_label("Layer", exact=True).select_option("features.14")
    expect(right).to_have_attribute("aria-label", re.compile(r"features\.14.*6 bits"), timeout=STEP_MS)
    expect(left).to_have_attribute("aria-label", re.compile(r"features\.3.*3 bits"))
    expect(labs.nth(0).get_by_label("Layer", exact=True)).to_have_value("features.3")
    expect(labs.nth(1).get_by_role("slider", name="Bits", exact=True)).to_have_value("6")


def test_a_trait_set_from_another_thread_updates_the_page(page: Page, server, folder, errors):
    other = (
        "import threading\n"
        "def turn():\n    for bits in (7, 1, 5, 2):\n        lab.bits = bits\n"
        "threads = [threading.Thread(target=turn) for _ in range(2)]\n"
        "for thread in threads:\n    thread.start()\n"
        "for thread in threads:\n    thread.join()\n"
    )
    lab = open_lab(page, server, folder, "thread.ipynb", LAB, other)
    wait_label(lab, "2 bits")
    expect(lab.get_by_role("slider", name="Bits", exact=True)).to_have_value("2", timeout=STEP_MS)
    expect(lab.locator(".seerlab-controls").get_by_role("alert")).to_have_count(0)


def test_a_lab_closed_while_it_computes_leaves_the_page_without_a_word_and_its_cell_runs_again(
    page: Page, server, folder, errors
):
    open_lab(page, server, folder, "closed.ipynb", LAB, "None")
    page.get_by_role("tab", name="Epsilon", exact=True).click()
    wait_drawn(page, "Epsilon")
    page.get_by_role("tab", name="Work", exact=True).click()
    shown_page(page).get_by_role("button", name="Start", exact=True).click(timeout=START_MS)
    page.get_by_role("slider", name="Bits", exact=True).focus()
    for key in ("ArrowLeft", "ArrowRight") * 6:
        page.keyboard.press(key)
    labs = page.locator(".seerlab-lab")
    for text, number in (("lab.close()", 0), (LAB, 1)):
        page.locator(".jp-Cell .jp-InputArea-editor").last.click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(text)
        page.keyboard.press("Control+Enter")
        expect(labs).to_have_count(number, timeout=START_MS)
    wait_label(page, "4 bits")
