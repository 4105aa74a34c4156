"""From key press to drawn frame, in a real JupyterLab: how long the Epsilon slider takes over every feature map of a ResNet-50.

    python benchmarks/epsilon_latency.py [--moves 50] [--network resnet50] [--json FILE]

Random weights on a photograph of 224 x 224. A headless Chromium presses an arrow key on Epsilon and waits for the canvas to say that it
has drawn the next frame (its ``data-frame``): the first look, at all maps of the network as it is, which needs no run. Moves follow one
another at once, or each waits until the run of the one before is shown (``data-run``) and the curve is being computed, which the next
key interrupts. The time to the run is given beside it. Kernel, server and browser share this machine.
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

START_MS = 240_000
WARMUP = 10
FROM_END = 60  # steps of the slider at either end, at which little changes
CANVAS = ".seer-eps canvas[role=img][data-frame]"
CODE = """import seerlab as sl
net = sl.load("{network}", weights=None)
sl.EpsilonView(net, sl.sample_images()["cat"])"""
# Both clocks are in the page, from the key event to the attribute: the test driver's own round trips are not in the figure.
ARM = f"""
() => {{
  const canvas = document.querySelector('{CANVAS}');
  const before = Number(canvas.dataset.frame);
  window.seerlabMove = new Promise(resolve => {{
    let [start, drawn] = [0, 0];
    document.addEventListener('keydown', () => {{ start = performance.now(); }}, {{ capture: true, once: true }});
    const watch = new MutationObserver(() => {{
      if (!drawn && Number(canvas.dataset.frame) > before) drawn = performance.now() - start;
      if (drawn && !window.seerlabWaits) resolve([drawn, 0]);
      else if (drawn && canvas.dataset.run === 'true') resolve([drawn, performance.now() - start]);
      else return;
      watch.disconnect();
    }});
    watch.observe(canvas, {{ attributes: true }});
  }});
}}
"""


def walk(page: Page, moves: int, to_the_run: bool) -> np.ndarray:
    """Move Epsilon to and fro; return milliseconds to the first look and to the run, (moves, 2)."""
    slider = page.get_by_role("slider", name="Epsilon", exact=True)
    slider.focus()
    page.evaluate("(waits) => { window.seerlabWaits = waits; }", to_the_run)
    times, step = [], 1
    place, most = int(slider.input_value()), int(slider.get_attribute("max"))
    for _ in range(moves):
        if place >= most - FROM_END:
            step = -1
        elif place <= FROM_END:
            step = 1
        page.evaluate(ARM)
        page.keyboard.press("ArrowRight" if step > 0 else "ArrowLeft")
        times.append(page.evaluate("() => window.seerlabMove"))
        place += step
    return np.array(times)


def summary(times: np.ndarray) -> dict[str, float]:
    median, high = np.percentile(times, (50, 95))
    return {
        "moves": len(times),
        "median_ms": round(float(median), 1),
        "p95_ms": round(float(high), 1),
        "worst_ms": round(float(times.max()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=50)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chromium = os.environ.get("SEERLAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as folder:
        notebooks, private = Path(folder, "notebooks"), Path(folder, "jupyter")
        notebooks.mkdir()
        write_notebook(notebooks / "epsilon.ipynb", CODE.format(network=arguments.network))
        with jupyterlab(notebooks, private) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.goto(f"{address}/lab/tree/epsilon.ipynb?reset", timeout=START_MS)
            expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            expect(page.locator(CANVAS)).to_have_attribute("data-run", "true", timeout=START_MS)
            slider = page.get_by_role("slider", name="Epsilon", exact=True)
            slider.focus()
            for _ in range(FROM_END // 10):
                page.keyboard.press("PageUp")
            walk(page, WARMUP, to_the_run=False)
            at_once = walk(page, arguments.moves, to_the_run=False)
            rested = walk(page, arguments.moves, to_the_run=True)
            maps = re.search(r"of ([\d,]+) maps", page.locator(CANVAS).get_attribute("aria-label"))
            browser.close()
    result = {
        "network": f"{arguments.network}, random weights, 224 x 224",
        "maps": maps and maps[1],
        "threads": torch.get_num_threads(),
        "moves one after another, to the first look": summary(at_once[:, 0]),
        "each after a run, to the first look": summary(rested[:, 0]),
        "each after a run, to the run": summary(rested[:, 1]),
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
