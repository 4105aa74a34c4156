"""The lab's page Work in a real JupyterLab: jobs started, watched, cancelled, failing, kept."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.jupyterlab_server import write_notebook
from tests.browser.lab_page import START_MS, STEP_MS, canvas_of, run_all, wait_label, wait_next_frame

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

LAB = "import seerlab as sl\nlab = sl.Lab()\nlab"
# Every value that the progress bar of a job shows, with the line beside it.
RECORD = """
() => {
  window.seerlabSeen = [];
  new MutationObserver(() => {
    for (const row of document.querySelectorAll('.seer-work li[data-state=running]'))
      window.seerlabSeen.push([row.querySelector('progress').getAttribute('value'), row.querySelector('.line').textContent]);
  }).observe(document.querySelector('.seer-work ol'), { subtree: true, childList: true, attributes: true, characterData: true });
}
"""


@pytest.fixture
def lab(page: Page, server, folder, errors, request):
    """A page with a lab turned to its page Work."""
    name = f"{request.node.originalname}.ipynb"
    write_notebook(folder / name, LAB)
    run_all(page, server, name)
    turn(page, "Work")
    expect(work_of(page)).to_be_visible(timeout=START_MS)
    return page


def turn(page: Page, title: str) -> None:
    page.get_by_role("tab", name=title, exact=True).click(timeout=START_MS)


def work_of(page: Page) -> Locator:
    return page.locator(".seer-work")


def choose_kind(page: Page, label: str) -> None:
    work_of(page).get_by_role("radio", name=label, exact=True).check()


def start(page: Page) -> None:
    work_of(page).get_by_role("button", name="Start", exact=True).click()


def job(page: Page, title: str) -> Locator:
    return work_of(page).get_by_role("listitem").filter(has=page.locator("b", has_text=title))


def wait_state(page: Page, title: str, state: str) -> None:
    expect(job(page, title)).to_have_attribute("data-state", state, timeout=START_MS)


def test_progress_is_seen_and_the_result_is_kept_after_turning_pages(lab: Page):
    lab.evaluate(RECORD)
    work_of(lab).get_by_label("At most", exact=True).fill("6")
    start(lab)
    wait_state(lab, "Accuracy, SeerNet, 4 bits", "done")
    seen = lab.evaluate("() => window.seerlabSeen")
    assert any(value is not None and 0 < float(value) < 1 for value, _ in seen)
    assert any(re.search(r"\d of 6 images", line) for _, line in seen)
    result = work_of(lab).locator(".result")
    expect(result).to_contain_text("the same first class as dense")
    expect(result.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"SeerNet, 4 bits: \d+\.\d %"))
    text = result.inner_text()
    turn(lab, "Predict")
    wait_label(lab, "4 bits")
    turn(lab, "Work")
    expect(result).to_be_visible()
    assert result.inner_text() == text


def test_the_form_follows_the_labs_bits_and_layer(lab: Page):
    lab.get_by_role("slider", name="Bits", exact=True).focus()
    lab.keyboard.press("ArrowLeft")
    expect(work_of(lab).get_by_label("Bits, new job", exact=True).first).to_have_value("3", timeout=STEP_MS)


def test_a_running_job_is_cancelled_with_the_keyboard_and_the_knobs_stay_live(lab: Page):
    choose_kind(lab, "Sweep")
    work_of(lab).get_by_label("Layers, new job", exact=True).select_option("all")
    work_of(lab).get_by_label("Bits, new job", exact=True).fill("8, 7, 6, 5, 4, 3, 2, 1")
    start(lab)
    wait_state(lab, "Sweep", "running")
    turn(lab, "Predict")
    wait_next_frame(lab, 0)
    before = int(canvas_of(lab).get_attribute("data-frame") or 0)
    lab.get_by_role("slider", name="Bits", exact=True).focus()
    lab.keyboard.press("ArrowLeft")
    wait_next_frame(lab, before)
    wait_label(lab, "3 bits")
    turn(lab, "Work")
    expect(job(lab, "Sweep")).to_have_attribute("data-state", "running")
    cancel = job(lab, "Sweep").get_by_role("button", name=re.compile("^Cancel: Sweep"))
    cancel.focus()
    lab.keyboard.press("Enter")
    wait_state(lab, "Sweep", "cancelled")
    expect(job(lab, "Sweep").get_by_role("button", name=re.compile("^Remove: Sweep"))).to_be_focused()
    lab.keyboard.press("Enter")
    expect(job(lab, "Sweep")).to_have_count(0)
    expect(work_of(lab).get_by_role("button", name="Start", exact=True)).to_be_focused()


def test_an_error_in_a_job_is_told_and_the_next_job_runs(lab: Page):
    choose_kind(lab, "Sweep")
    work_of(lab).get_by_label("Networks, new job", exact=True).fill("nonsense_net")
    work_of(lab).get_by_label("Pictures", exact=True).select_option("photographs of the package")
    start(lab)
    wait_state(lab, "Sweep", "failed")
    expect(job(lab, "Sweep")).to_contain_text("labelled pictures")
    choose_kind(lab, "Formats")
    work_of(lab).get_by_label("Repeats, new job", exact=True).fill("1")
    start(lab)
    wait_state(lab, "Formats", "done")
    expect(work_of(lab).get_by_role("row", name=re.compile("^features.3 3x3"))).to_be_visible()


def test_what_will_not_do_is_said_beside_the_form_and_goes_when_it_is_mended(lab: Page):
    alert = work_of(lab).get_by_role("alert")
    bits = work_of(lab).get_by_label("Bits, new job", exact=True).first
    bits.fill("12")
    start(lab)
    expect(alert).to_contain_text("give a whole number from 1 to 8", timeout=STEP_MS)
    work_of(lab).get_by_label("Folder", exact=True).fill("/nowhere")
    work_of(lab).get_by_role("button", name="Add", exact=True).click()
    expect(alert).to_contain_text("is no folder", timeout=STEP_MS)
    bits.fill("2")
    work_of(lab).get_by_label("At most", exact=True).fill("1")
    start(lab)
    expect(alert).to_be_empty(timeout=STEP_MS)
    wait_state(lab, "2 bits", "done")


def test_a_folder_with_labels_gives_top_1_and_a_csv_file(lab: Page, folder: Path):
    from PIL import Image

    for name, colour in (("cat", "red"), ("ship", "blue")):
        (folder / "labelled" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), colour).save(folder / "labelled" / name / "x.png")
    work_of(lab).get_by_label("Folder", exact=True).fill("labelled")
    lab.keyboard.press("Enter")
    expect(work_of(lab).get_by_label("Pictures", exact=True)).to_have_value("labelled", timeout=STEP_MS)
    start(lab)
    wait_state(lab, "Accuracy", "done")
    expect(work_of(lab).locator(".sentence")).to_contain_text("top-1")
    with lab.expect_download() as download:
        work_of(lab).get_by_role("button", name="Download CSV", exact=True).click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))
    assert [row["model"] for row in rows] == ["dense", "SeerNet, 4 bits"]
    assert [row["images"] for row in rows] == ["2", "2"]


def test_two_labs_keep_their_jobs_apart(page: Page, server, folder, errors):
    write_notebook(folder / "two.ipynb", LAB, "second = sl.Lab(bits=2)\nsecond")
    run_all(page, server, "two.ipynb")
    labs = page.locator(".seerlab-lab")
    for i in range(2):
        labs.nth(i).get_by_role("tab", name="Work", exact=True).click(timeout=START_MS)
        labs.nth(i).get_by_label("At most", exact=True).fill("2")
    for i in range(2):
        labs.nth(i).get_by_role("button", name="Start", exact=True).click()
    for i, bits in enumerate((4, 2)):
        rows = labs.nth(i).locator(".seer-work li[data-job]")
        expect(rows).to_have_count(1)
        expect(rows).to_have_attribute("data-state", "done", timeout=START_MS)
        expect(rows).to_contain_text(f"SeerNet, {bits} bits")
        expect(labs.nth(i).locator(".result h3")).to_contain_text(f"{bits} bits")


def test_it_is_a_widget_of_its_own(page: Page, server, folder, errors):
    code = (
        "import torch, seerlab as sl\n"
        "model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), "
        "torch.nn.Flatten()).eval()\n"
        "work = sl.WorkView(model, torch.rand(6, 3, 12, 12), [0, 1, 2, 3, 4, 0])\nwork"
    )
    write_notebook(folder / "work.ipynb", code)
    run_all(page, server, "work.ipynb")
    expect(work_of(page)).to_be_visible(timeout=START_MS)
    expect(work_of(page).get_by_label("Folder", exact=True)).to_be_hidden()
    start(page)
    wait_state(page, "Accuracy", "done")
    expect(work_of(page).locator(".sentence")).to_contain_text("top-1")
