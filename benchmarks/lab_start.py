"""How soon the lab shows its first picture, in a real JupyterLab, and how soon another layer.

    python benchmarks/lab_start.py [--repeats 7] [--json FILE]

A headless Chromium runs cells with ``sl.Lab()`` and waits for the canvas to say that it has drawn (its ``data-frame``). The kernel has
run ``import torch`` before; with "first" seerlab was imported but no lab made, with "later" a lab was made and closed before. Times run from
the key that runs the cell to the drawn frame, both taken by the page's clock. Layers are changed by keyboard in the list of layers, along
the network, and counted to the frame that shows the new one. Importing is timed in the same kernel. Kernel, server and browser share this
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser.jupyterlab_server import jupyterlab, write_notebook

START_MS = 120_000
CANVAS = "canvas[role=img][data-frame]"
IMPORT = "import torch, time\nbegan = time.perf_counter()\nimport seerlab as sl\nprint(f'IMPORT {1e3 * (time.perf_counter() - began):.1f} ms')\nsl.Lab"
# From the key event to the first attribute of a canvas in the output that says a frame was drawn.
ARM = """
selector => {
  window.seerlabMove = new Promise(resolve => {
    let start = 0;
    document.addEventListener('keydown', () => { start = performance.now(); }, { capture: true, once: true });
    const drawn = () => [...document.querySelectorAll(selector)].some(c => Number(c.dataset.frame) > 0);
    const watch = new MutationObserver(() => {
      if (start && drawn()) { watch.disconnect(); resolve(performance.now() - start); }
    });
    watch.observe(document.body, { attributes: true, attributeFilter: ['data-frame'], subtree: true, childList: true });
  });
}
"""
# From the key event in the list of layers to a frame under the name of the layer chosen.
ARM_LAYER = """
() => {
  const canvas = document.querySelector('.seer-mask canvas[role=img][data-frame]');
  const select = document.querySelector('.seerlab-field-layer select');
  window.seerlabMove = new Promise(resolve => {
    let start = 0;
    document.addEventListener('keydown', () => { start = performance.now(); }, { capture: true, once: true });
    const watch = new MutationObserver(() => {
      if (start && canvas.getAttribute('aria-label').includes(`Layer ${select.value},`) ||
          canvas.getAttribute('aria-label').includes(`${select.value} of `)) {
        watch.disconnect();
        resolve(performance.now() - start);
      }
    });
    watch.observe(canvas, { attributes: true });
  });
}
"""


def run_cell(page: Page, number: int) -> None:
    """Run a cell by keyboard and leave the focus in it."""
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(number).click()
    page.keyboard.press("Control+Enter")


def idle(page: Page) -> None:
    expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)


def start_once(page: Page, address: str, later: bool) -> tuple[float, float]:
    """Milliseconds from running the cell to the first frame, and of the import, in a kernel of its own."""
    for session in page.request.get(f"{address}/api/sessions").json():
        page.request.delete(f"{address}/api/sessions/{session['id']}")
    page.goto(f"{address}/lab/tree/lab.ipynb?reset", timeout=START_MS)
    idle(page)
    page.locator(".jp-Notebook .jp-CodeCell").nth(1).wait_for(timeout=START_MS)
    run_cell(page, 0)
    output = page.locator(".jp-Notebook .jp-CodeCell").nth(0).locator(".jp-OutputArea")
    expect(output).to_contain_text("IMPORT", timeout=START_MS)
    imported = float(re.search(r"IMPORT ([\d.]+) ms", output.inner_text())[1])
    idle(page)
    if later:
        run_cell(page, 2)
        expect(page.locator(".jp-Notebook .jp-CodeCell").nth(2).locator(".jp-OutputArea")).to_contain_text(
            "READY", timeout=START_MS
        )
        idle(page)
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).click()
    page.evaluate(ARM, CANVAS)
    page.keyboard.press("Control+Enter")
    return page.evaluate("() => window.seerlabMove"), imported


def layer_changes(page: Page, moves: int) -> list[float]:
    """Milliseconds from the key in the list of layers to the new layer's first frame."""
    select = page.get_by_label("Layer", exact=True)
    expect(page.locator(".seerlab-panel")).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)
    names = select.locator("option").evaluate_all("options => options.map(option => option.value)")
    at, step, times = names.index(select.input_value()), 1, []
    while len(times) < moves:
        if not 0 <= at + step < len(names):
            step = -step
        select.focus()
        page.evaluate(ARM_LAYER)
        page.keyboard.press("ArrowDown" if step > 0 else "ArrowUp")
        times.append(page.evaluate("() => window.seerlabMove"))
        at += step
        print(f"{names[at]}: {times[-1]:.0f} ms", file=sys.stderr)
    return times


def spread(values: list[float]) -> dict[str, float]:
    median, high = np.percentile(values, (50, 95))
    return {
        "repeats": len(values),
        "median_ms": round(float(median), 1),
        "p95_ms": round(float(high), 1),
        "worst_ms": round(max(values), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--moves", type=int, default=50)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chromium = os.environ.get("SEERLAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        notebooks, private = Path(folder, "notebooks"), Path(folder, "jupyter")
        notebooks.mkdir()
        warm = "before = sl.Lab()\nbefore.wait_settled()\nbefore.close()\nprint('READY')"
        write_notebook(notebooks / "lab.ipynb", IMPORT, "lab = sl.Lab()\nlab", warm)
        with jupyterlab(notebooks, private) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            imports: list[float] = []
            for name, later in (("first lab of a kernel", False), ("later lab of a kernel", True)):
                times = []
                for _ in range(arguments.repeats):
                    shown, imported = start_once(page, address, later)
                    print(f"{name}: {shown:.0f} ms", file=sys.stderr)
                    times.append(shown)
                    imports.append(imported)
                result[name] = spread(times)
            result["import seerlab"] = spread(imports)
            result["layer change, vgg9"] = spread(layer_changes(page, arguments.moves))
            browser.close()
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
