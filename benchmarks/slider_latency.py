"""From key press to drawn frame, in a real JupyterLab: how long the Bits slider takes on a large layer.

    python benchmarks/slider_latency.py [--moves 50] [--layer features.2] [--json FILE]

VGG-16 with random weights on a photograph: features.0 and features.2 have 64 x 224 x 224 outputs. A headless Chromium presses an
arrow key on Bits and waits for the canvas to say that it has drawn the next frame (its ``data-frame``). Kernel, server and browser
share this machine; the next key follows when the frame is there. Masks seen lately are kept by the lab, so moves to new masks and
moves back to known ones are measured apart.
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
WARMUP = 14  # twice through all bits: first draws compile the page's code, first predictions at each number of bits pack the weights
CANVAS = "canvas[role=img][data-frame]"
# All clocks are in the page: the test driver's own round trips are not in the figures. A move's phases: until the page has sent the new
# value (`asked`), until the frame's message is there (`answered`: server, kernel, transport), until it is drawn (`drawn`: decoding too).
LISTEN = """
() => {
  window.seerlabWire = { sent: 0, got: 0, bytes: 0 };
  const Plain = window.WebSocket;
  const send = Plain.prototype.send;
  Plain.prototype.send = function (data) {
    window.seerlabWire.sent ||= performance.now();
    return send.call(this, data);
  };
  const size = (data) => data.byteLength ?? data.size ?? data.length;
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        window.seerlabWire.bytes += size(data);
        if (size(data) > 8192) window.seerlabWire.got = performance.now();
      });
    }
  };
}
"""
ARM = """
() => {
  const canvas = document.querySelector('canvas[role=img][data-frame]');
  const before = Number(canvas.dataset.frame);
  window.seerlabMove = new Promise(resolve => {
    let start = 0;
    const wire = window.seerlabWire;
    document.addEventListener('keydown', () => {
      start = performance.now();
      Object.assign(wire, { sent: 0, got: 0, bytes: 0 });
    }, { capture: true, once: true });
    const watch = new MutationObserver(() => {
      if (Number(canvas.dataset.frame) <= before) return;
      watch.disconnect();
      const end = performance.now();
      resolve({ total: end - start, asked: wire.sent - start, answered: wire.got - wire.sent, drawn: end - wire.got, bytes: wire.bytes });
    });
    watch.observe(canvas, { attributes: true, attributeFilter: ['data-frame'] });
  });
}
"""


def timed_press(page: Page, key: str) -> dict[str, float]:
    """Press a key on the focused control and wait for the next drawn frame; return milliseconds by phase, and bytes received."""
    page.evaluate(ARM)
    page.keyboard.press(key)
    return page.evaluate("() => window.seerlabMove")


def walk(page: Page, moves: int, each_new: bool) -> list[dict[str, float]]:
    """Move Bits to and fro between 8 and 2; return the phases of each move.

    With `each_new`, one step of Margin (not timed) comes before every walk from end to end, so that no mask is known already.
    """
    bits_slider, margin_slider = (page.get_by_label(name, exact=True) for name in ("Bits", "Margin"))
    bits, step, times = int(bits_slider.input_value()), -1, []
    bits_slider.focus()
    while bits > 2:  # to an end, and every number of bits packed once
        timed_press(page, "ArrowLeft")
        bits -= 1
    step = 1
    while len(times) < moves:
        if not 2 <= bits + step <= 8:
            step = -step
            if each_new:
                margin_slider.focus()
                timed_press(page, "ArrowRight")
                bits_slider.focus()
        times.append(timed_press(page, "ArrowRight" if step > 0 else "ArrowLeft"))
        bits += step
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
            page.add_init_script(f"({LISTEN})()")
            page.goto(f"{address}/lab/tree/lab.ipynb?reset", timeout=START_MS)
            expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            page.wait_for_function(
                f"() => Number(document.querySelector('{CANVAS}')?.dataset.frame) > 0", timeout=START_MS
            )
            # The first measurement of times is over: later ones give way to the slider.
            expect(page.locator(".seerlab-panel")).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)
            walk(page, WARMUP, each_new=False)
            times = {
                "each mask new": walk(page, arguments.moves, each_new=True),
                "masks computed before": walk(page, arguments.moves, each_new=False),
            }
            browser.close()
    result = {"layer": f"vgg16 {arguments.layer}, 64 x 224 x 224 outputs", "threads": torch.get_num_threads()}
    for name, moves in times.items():
        values = [move["total"] for move in moves]
        median, high = np.percentile(values, (50, 95))
        result[name] = {
            "moves": len(values),
            "median_ms": round(float(median), 1),
            "p95_ms": round(float(high), 1),
            "worst_ms": round(max(values), 1),
            "median_phases_ms": {
                phase: round(float(np.median([move[phase] for move in moves])), 1)
                for phase in ("asked", "answered", "drawn")
            },
            "mean_kilobytes": round(float(np.mean([move["bytes"] for move in moves])) / 1e3, 1),
            "largest_kilobytes": round(max(move["bytes"] for move in moves) / 1e3, 1),
        }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
