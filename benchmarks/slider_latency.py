"""From key press to drawn frame, in a real JupyterLab: how long the Bits slider takes on a large layer.

    python benchmarks/slider_latency.py [--moves 50] [--layer features.2] [--json FILE]

VGG-16 with random weights on a photograph: features.0 and features.2 have 64 x 224 x 224 outputs. A headless Chromium presses an
arrow key on Bits and waits for the canvas to say that it has drawn the next frame (its ``data-frame``). Kernel, server and browser
share this machine; the next key follows when the frame is there.
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
import torch
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser.jupyterlab_server import jupyterlab, write_notebook

START_MS = 120_000
WARMUP = 6  # first draws compile the page's code, first predictions at each number of bits pack the weights
CANVAS = "canvas[role=img][data-frame]"
# Both clocks are in the page, from the key event to the attribute: the test driver's own round trips are not in the figure.
ARM = """
() => {
  const canvas = document.querySelector('canvas[role=img][data-frame]');
  const before = Number(canvas.dataset.frame);
  window.seerlabMove = new Promise(resolve => {
    let start = 0;
    document.addEventListener('keydown', () => { start = performance.now(); }, { capture: true, once: true });
    const watch = new MutationObserver(() => {
      if (Number(canvas.dataset.frame) > before) { watch.disconnect(); resolve(performance.now() - start); }
    });
    watch.observe(canvas, { attributes: true, attributeFilter: ['data-frame'] });
  });
}
"""


def measure(page: Page, moves: int) -> list[float]:
    """Move Bits down and up between 8 and 2; return milliseconds per move."""
    slider = page.get_by_label("Bits", exact=True)
    slider.focus()
    bits, step, times = int(slider.input_value()), -1, []
    for move in range(WARMUP * 2 + moves):
        if not 2 <= bits + step <= 8:
            step = -step
        page.evaluate(ARM)
        page.keyboard.press("ArrowRight" if step > 0 else "ArrowLeft")
        elapsed = page.evaluate("() => window.seerlabMove")
        bits += step
        if move >= WARMUP * 2:
            times.append(elapsed)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=50)
    parser.add_argument("--layer", default="features.2")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    code = f'import seerlab as sl\nlab = sl.Lab("vgg16 (random weights)", layer={arguments.layer!r})\nlab'
    chromium = os.environ.get("SEERLAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as folder:
        notebooks, private = Path(folder, "notebooks"), Path(folder, "jupyter")
        notebooks.mkdir()
        write_notebook(notebooks / "lab.ipynb", code)
        with jupyterlab(notebooks, private) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.goto(f"{address}/lab/tree/lab.ipynb?reset", timeout=START_MS)
            expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            page.wait_for_function(
                f"() => Number(document.querySelector('{CANVAS}')?.dataset.frame) > 0", timeout=START_MS
            )
            # The first measurement of times is over: later ones give way to the slider.
            expect(page.locator(".seerlab-panel")).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)
            times = measure(page, arguments.moves)
            browser.close()
    median, high = np.percentile(times, (50, 95))
    result = {
        "layer": f"vgg16 {arguments.layer}, 64 x 224 x 224 outputs",
        "moves": len(times),
        "median_ms": round(float(median), 1),
        "p95_ms": round(float(high), 1),
        "worst_ms": round(max(times), 1),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
