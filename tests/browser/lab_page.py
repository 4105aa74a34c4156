"""A page of JupyterLab with a lab on it: how to get there, and what to wait for."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

START_MS = 120_000  # a kernel that imports torch on a busy machine
STEP_MS = 30_000


def run_all(page: Page, server: str, name: str) -> None:
    """Open a notebook and run it from the menu, after ending the kernels of earlier tests."""
    for session in page.request.get(f"{server}/api/sessions").json():
        page.request.delete(f"{server}/api/sessions/{session['id']}")
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.goto(f"{server}/lab/tree/{name}?reset", timeout=START_MS)
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=START_MS)
    # A cell run before the kernel is there would open a dialogue that asks for one.
    expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def canvas_of(page: Page):
    return page.locator(".seer-mask canvas[role=img][data-frame]")


def frame(page: Page) -> int:
    return int(canvas_of(page).get_attribute("data-frame") or 0)


def wait_next_frame(page: Page, before: int) -> None:
    page.wait_for_function(
        "before => Number(document.querySelector('.seer-mask canvas[role=img][data-frame]').dataset.frame) > before",
        arg=before,
        timeout=STEP_MS,
    )


def wait_label(page: Page, text: str) -> str:
    """Wait until the canvas names `text`; return its whole label."""
    expect(canvas_of(page)).to_have_attribute("aria-label", re.compile(text), timeout=STEP_MS)
    return canvas_of(page).get_attribute("aria-label") or ""


def pixels(page: Page) -> int:
    """One number for the canvas's picture, read back pixel by pixel."""
    return page.evaluate(
        """() => {
          const canvas = document.querySelector('.seer-mask canvas[role=img][data-frame]');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          let hash = 0;
          for (const value of data) hash = (Math.imul(hash, 31) + value) | 0;
          return hash;
        }"""
    )
