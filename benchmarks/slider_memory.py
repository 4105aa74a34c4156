"""What a thousand moves of the Bits slider leave behind, in the kernel and in the browser, in a real JupyterLab.

    python benchmarks/slider_memory.py [--moves 1000] [--layer features.2] [--json FILE]

VGG-16 with random weights, as in slider_latency.py. The first moves fill what the lab keeps (predictions, frames, compiled code of the
page), so growth counts from then on. The kernel's memory is the resident set of its process; the browser's is the page's JavaScript heap
with its array buffers, after two collections.
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

from playwright.sync_api import CDPSession, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser.jupyterlab_server import jupyterlab, write_notebook

START_MS = 120_000
WARMUP = 200
CANVAS = "canvas[role=img][data-frame]"
MEGA = 1e6


def walk(page: Page, moves: int) -> None:
    """Move Bits to and fro, each move once the last one is drawn."""
    slider = page.get_by_label("Bits", exact=True)
    slider.focus()
    step = 1
    for _ in range(moves):
        bits = int(slider.input_value())
        if not 1 <= bits + step <= 8:
            step = -step
        before = page.locator(CANVAS).first.get_attribute("data-frame")
        page.keyboard.press("ArrowRight" if step > 0 else "ArrowLeft")
        page.wait_for_function(
            f"before => document.querySelector('{CANVAS}').dataset.frame !== before", arg=before, timeout=START_MS
        )


def browser_bytes(session: CDPSession) -> float:
    """Heap and array buffers in use, garbage excluded."""
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"] + usage.get("backingStorageSize", 0))


def kernel_bytes(process: int) -> float:
    """Resident set of a process."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError(f"process {process} has no resident set")


def settled(page: Page) -> None:
    """Wait until times are measured, after which nothing is computed any more."""
    expect(page.locator(".seerlab-panel")).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=1000)
    parser.add_argument("--layer", default="features.2")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    code = f'import os\nimport seerlab as sl\nprint("kernel", os.getpid())\nlab = sl.Lab("vgg16 (random weights)", layer={arguments.layer!r})\nlab'
    chromium = os.environ.get("SEERLAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as folder:
        notebooks = Path(folder, "notebooks")
        notebooks.mkdir()
        write_notebook(notebooks / "lab.ipynb", code)
        with jupyterlab(notebooks, Path(folder, "jupyter")) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            session = page.context.new_cdp_session(page)
            page.goto(f"{address}/lab/tree/lab.ipynb?reset", timeout=START_MS)
            expect(page.get_by_role("button", name=re.compile(r"\| Idle"))).to_be_visible(timeout=START_MS)
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            output = page.locator(".jp-OutputArea-output", has_text=re.compile(r"kernel \d+")).first
            process = int(output.inner_text(timeout=START_MS).split()[1])
            page.wait_for_function(
                f"() => Number(document.querySelector('{CANVAS}')?.dataset.frame) > 0", timeout=START_MS
            )
            settled(page)
            figures = []
            for moves in (WARMUP, arguments.moves):
                walk(page, moves)
                settled(page)
                figures.append((kernel_bytes(process), browser_bytes(session)))
            browser.close()
    (kernel, heap), (kernel_after, heap_after) = figures
    result = {
        "layer": f"vgg16 {arguments.layer}",
        "moves": arguments.moves,
        "kernel_mb": round(kernel / MEGA, 1),
        "kernel_growth_mb": round((kernel_after - kernel) / MEGA, 1),
        "browser_mb": round(heap / MEGA, 1),
        "browser_growth_mb": round((heap_after - heap) / MEGA, 1),
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
