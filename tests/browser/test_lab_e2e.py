"""The lab in a real JupyterLab: cells run from the menu, controls moved with the keyboard, waits only for what the lab itself says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.jupyterlab_server import write_notebook
from tests.browser.lab_page import START_MS, STEP_MS, canvas_of, frame, pixels, run_all, wait_label, wait_next_frame

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def lab(page: Page, server, folder, errors, request):
    """A page with a lab that has drawn its first frame, in a notebook and a kernel of its own."""
    name = f"{request.node.originalname}.ipynb"
    write_notebook(folder / name, "import seerlab as sl\nlab = sl.Lab()\nlab")
    run_all(page, server, name)
    expect(canvas_of(page)).to_be_visible(timeout=START_MS)
    wait_next_frame(page, 0)
    return page


def test_bits_moved_with_the_keyboard_change_picture_and_counts(lab: Page):
    bits = lab.get_by_role("slider", name="Bits", exact=True)
    before, label, picture = frame(lab), wait_label(lab, "4 bits"), pixels(lab)
    bits.focus()
    lab.keyboard.press("ArrowLeft")
    wait_next_frame(lab, before)
    label_after = wait_label(lab, "3 bits")
    assert re.findall(r"[\d,]+ false", label) != re.findall(r"[\d,]+ false", label_after)
    assert pixels(lab) != picture
    lab.keyboard.press("ArrowRight")
    assert wait_label(lab, "4 bits") == label


SLOWED = """
import time
import seerlab as sl
from seerlab.engine.study import LayerStudy

whole = LayerStudy.counts

def slowly(*given):
    time.sleep(0.3)
    return whole(*given)

LayerStudy.counts = slowly
lab = sl.Lab()
lab
"""


def test_no_passed_picture_is_shown_after_the_last_move_of_a_slow_kernel(page: Page, server, folder, errors):
    write_notebook(folder / "slowed.ipynb", SLOWED)
    run_all(page, server, "slowed.ipynb")
    expect(canvas_of(page)).to_be_visible(timeout=START_MS)
    wait_next_frame(page, 0)
    page.evaluate(
        """() => {
          const canvas = document.querySelector('.seer-mask canvas[role=img][data-frame]');
          window.pictures = [];
          document.addEventListener('keydown', () => (pictures.length = 0), { capture: true });
          new MutationObserver(() => pictures.push(canvas.getAttribute('aria-label'))).observe(canvas, { attributeFilter: ['data-frame'] });
        }"""
    )
    page.get_by_role("slider", name="Bits", exact=True).focus()
    for key in (
        "ArrowLeft",
        "ArrowLeft",
        "ArrowRight",
        "ArrowLeft",
        "ArrowRight",
        "ArrowRight",
        "ArrowRight",
        "ArrowRight",
    ):
        page.keyboard.press(key)
    wait_label(page, "6 bits")
    # The panel beside the picture is filled last: nothing is computed any more then.
    expect(page.locator(".seerlab-panel").get_by_role("row", name=re.compile("SeerNet in all.* ms"))).to_be_visible(
        timeout=START_MS
    )
    pictures = page.evaluate("() => pictures")
    assert len(pictures) == 1
    assert "6 bits" in pictures[0]


def test_every_control_has_its_name_once(lab: Page):
    for name in ("Network", "Layer", "Image", "Bits", "Margin", "Channel", "Upload picture"):
        expect(lab.get_by_label(name, exact=True)).to_have_count(1)


def test_layer_and_image_are_chosen_from_their_lists(lab: Page):
    label = wait_label(lab, "features.3")
    lab.get_by_label("Layer", exact=True).select_option("features.14")
    wait_label(lab, r"features\.14.*128 channels")
    lab.get_by_label("Layer", exact=True).select_option("features.3")
    expect(canvas_of(lab)).to_have_attribute("aria-label", label, timeout=STEP_MS)
    lab.get_by_label("Image", exact=True).select_option("coffee")
    expect(canvas_of(lab)).not_to_have_attribute("aria-label", label, timeout=STEP_MS)


def test_times_and_charts_appear_after_rest(lab: Page):
    panel = lab.locator(".seerlab-panel")
    expect(panel.get_by_role("row", name=re.compile("SeerNet in all.* ms"))).to_be_visible(timeout=START_MS)
    expect(panel).to_contain_text("thread")
    expect(lab.locator(".seerlab-charts .js-plotly-plot")).to_be_visible(timeout=START_MS)
    expect(lab.locator(".seerlab-charts .bars path").first).to_be_attached(timeout=START_MS)


CHART_WIDTHS = """() => ['.seerlab-charts', '.seerlab-charts .main-svg']
  .map((part) => Math.round(document.querySelector(part)?.getBoundingClientRect().width ?? -1))"""


def test_charts_made_while_another_page_is_open_take_their_width_when_they_are_seen(page: Page, server, folder, errors):
    write_notebook(
        folder / "charts.ipynb",
        'import seerlab as sl\nlab = sl.Lab(page="Network")\nlab',
        "assert lab.wait_settled(100)",
    )
    run_all(page, server, "charts.ipynb")
    expect(page.locator(".seerlab-charts .js-plotly-plot .main-svg").first).to_be_attached(timeout=START_MS)
    page.get_by_role("tab", name="Predict", exact=True).click()
    page.wait_for_function(
        f"() => {{ const [box, chart] = ({CHART_WIDTHS})(); return box > 750 && box === chart; }}", timeout=STEP_MS
    )
    page.get_by_role("tab", name="Epsilon", exact=True).click()
    page.set_viewport_size({"width": 1000, "height": 1000})
    page.get_by_role("tab", name="Predict", exact=True).click()
    page.wait_for_function(
        f"() => {{ const [box, chart] = ({CHART_WIDTHS})(); return box < 750 && box > 0 && box === chart; }}",
        timeout=STEP_MS,
    )


def test_a_channel_typed_is_shown_large_and_emptied_is_the_mosaic_again(lab: Page):
    label = wait_label(lab, "64 channels of 224")
    lab.get_by_label("Channel", exact=True).fill("5")
    wait_label(lab, "channel 5 of 64")
    lab.get_by_label("Channel", exact=True).fill("")
    expect(canvas_of(lab)).to_have_attribute("aria-label", label, timeout=STEP_MS)


def test_an_uploaded_picture_joins_the_list_and_is_shown(lab: Page, tmp_path):
    from PIL import Image

    file = tmp_path / "green.png"
    Image.new("RGB", (64, 48), (20, 200, 40)).save(file)
    label = wait_label(lab, "features.3")
    lab.get_by_label("Upload picture", exact=True).set_input_files(file)
    expect(lab.get_by_label("Image", exact=True)).to_have_value("green.png", timeout=STEP_MS)
    expect(canvas_of(lab)).not_to_have_attribute("aria-label", label, timeout=STEP_MS)


def test_a_file_that_is_no_picture_is_reported_in_the_widget(lab: Page, tmp_path):
    file = tmp_path / "notes.png"
    file.write_text("not a picture")
    lab.get_by_label("Upload picture", exact=True).set_input_files(file)
    expect(lab.get_by_role("alert").filter(has_text="notes.png")).to_be_visible(timeout=STEP_MS)
    expect(lab.get_by_label("Image", exact=True)).not_to_have_value("notes.png")


def test_the_canvas_is_walked_with_plain_keys_inside_the_notebook(lab: Page):
    canvas = canvas_of(lab)
    canvas.focus()
    lab.keyboard.press("ArrowRight")
    lab.keyboard.press("Enter")
    wait_label(lab, "channel 1 of 64")
    lab.keyboard.press("ArrowDown")
    expect(lab.locator(".seer-mask .read")).to_contain_text("Full-precision sum", timeout=STEP_MS)
    lab.keyboard.press("Escape")
    wait_label(lab, ", 64 channels of 224")
    expect(lab.locator(".jp-Notebook .jp-Cell")).to_have_count(1)  # no key became a command of the notebook


def test_a_reloaded_page_shows_the_live_lab_again(lab: Page):
    label = wait_label(lab, "4 bits")
    lab.get_by_role("menuitem", name="File", exact=True).click()
    with lab.expect_response(lambda response: response.request.method == "PUT" and "/api/contents/" in response.url):
        lab.get_by_role("menuitem", name=re.compile("^Save Notebook(?! As)")).click()
    lab.reload(timeout=START_MS)
    expect(canvas_of(lab)).to_have_attribute("aria-label", label, timeout=START_MS)
    lab.get_by_role("slider", name="Bits", exact=True).focus()
    lab.keyboard.press("ArrowLeft")
    wait_label(lab, "3 bits")


def test_the_encode_page_shows_the_layers_input_and_follows_the_layer(lab: Page):
    lab.get_by_role("tab", name="Encode", exact=True).click()
    canvas = lab.locator(".seer-enc canvas[role=img]")
    expect(canvas).to_have_attribute("aria-label", re.compile(r"features\.3.*32 channels of 224"), timeout=START_MS)
    lab.get_by_label("Method", exact=True).select_option("cps")
    canvas.focus()
    lab.keyboard.press("Enter")
    expect(canvas).to_have_attribute("aria-label", re.compile("channel 0"), timeout=STEP_MS)
    lab.get_by_role("button", name="Next", exact=True).click()
    expect(lab.get_by_text(re.compile("entry 2 of"))).to_be_visible(timeout=STEP_MS)
    lab.get_by_label("Layer", exact=True).select_option("features.14")
    expect(canvas).to_have_attribute("aria-label", re.compile(r"features\.14.*96 channels"), timeout=STEP_MS)
    lab.get_by_role("tab", name="Predict", exact=True).click()
    wait_label(lab, r"features\.14.*128 channels")


@pytest.mark.parametrize("title", ["Epsilon", "Granularity"])
def test_a_page_draws_what_it_shows_when_it_is_turned_to(lab: Page, title: str):
    lab.get_by_role("tab", name=title, exact=True).click()
    page = lab.locator(".widget-tab-contents > :not(.lm-mod-hidden)")
    canvas = page.locator("canvas[data-frame]")
    expect(canvas).not_to_have_attribute("data-frame", "0", timeout=START_MS)
    expect(canvas).to_have_attribute("aria-label", re.compile(r"\w{3}"), timeout=STEP_MS)
    assert canvas.bounding_box()["width"] > page.bounding_box()["width"] / 3


def test_the_chart_of_predictors_opens_below_the_mask_by_keyboard(lab: Page):
    fold = lab.get_by_role("button", name=re.compile("SPL beside SeerNet"))
    expect(fold).to_have_attribute("aria-expanded", "false")
    fold.focus()
    lab.keyboard.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "true", timeout=STEP_MS)
    chart = lab.locator(".seer-pred canvas[data-frame], .seer canvas[data-frame]:not(.seer-mask canvas)").first
    expect(chart).not_to_have_attribute("data-frame", "0", timeout=START_MS)
    fold.focus()
    lab.keyboard.press("Enter")
    expect(chart).to_be_hidden(timeout=STEP_MS)


def test_the_tabs_are_turned_by_keyboard(lab: Page):
    lab.get_by_role("tab", name="Predict", exact=True).focus()
    lab.keyboard.press("ArrowRight")
    lab.keyboard.press("Enter")
    expect(lab.get_by_role("tab", name="Epsilon", exact=True)).to_have_attribute(
        "aria-selected", "true", timeout=STEP_MS
    )
    canvas = lab.locator(".widget-tab-contents > :not(.lm-mod-hidden) canvas[data-frame]")
    expect(canvas).not_to_have_attribute("data-frame", "0", timeout=START_MS)


@pytest.mark.parametrize(("kind", "begin"), [("PNG", b"\x89PNG"), ("SVG", b"<svg"), ("CSV", b"figure,value")])
def test_view_and_figures_are_saved_by_a_button(lab: Page, kind: str, begin: bytes):
    with lab.expect_download(timeout=START_MS) as download:
        lab.get_by_role("group", name="Export").get_by_text(kind, exact=True).click()
    assert download.value.suggested_filename == f"seerlab_vgg9-cifar10_features.3_predict.{kind.lower()}"
    assert Path(download.value.path()).read_bytes().startswith(begin)


def test_code_is_copied_or_shown_where_there_is_no_clipboard(lab: Page):
    lab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copy = lab.get_by_role("button", name="Copy as code", exact=True)
    copy.click()
    expect(lab.get_by_text("Code copied", exact=True)).to_be_visible(timeout=STEP_MS)
    assert 'sl.Lab("vgg9_cifar10"' in lab.evaluate("() => navigator.clipboard.readText()")
    lab.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    copy.click()
    shown = lab.get_by_label("Code of this lab", exact=True)
    expect(shown).to_be_focused(timeout=STEP_MS)
    assert 'layer="features.3"' in lab.evaluate("() => getSelection().toString() || document.activeElement.value")


HEIGHTS = "panel => [...panel.children].map(section => section.getBoundingClientRect().height)"


def test_top_one_is_worked_out_on_request_and_the_button_keeps_its_place(lab: Page):
    panel = lab.locator(".seerlab-figures")
    expect(panel).to_contain_text("SeerNet:", timeout=START_MS)
    height = panel.evaluate(HEIGHTS)
    panel.get_by_role("button", name="work out", exact=True).click()
    expect(panel.get_by_role("row", name=re.compile("same class.* of 7"))).to_be_visible(timeout=START_MS)
    assert panel.evaluate(HEIGHTS) == height


def test_nothing_jumps_while_bits_move(lab: Page):
    panel = lab.locator(".seerlab-figures")
    expect(panel).to_contain_text(re.compile("Sparse|winner"), timeout=START_MS)
    boxes = lab.locator(
        ".seerlab-controls, .seer-mask canvas, .seerlab-figures, .seerlab-figures section, .seerlab-fold"
    )
    before = boxes.evaluate_all(
        "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })"
    )
    lab.get_by_role("slider", name="Bits", exact=True).focus()
    for bits in (3, 2, 1):
        lab.keyboard.press("ArrowLeft")
        wait_label(lab, f"{bits} bit")
        after = boxes.evaluate_all(
            "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })"
        )
        assert after == before


def test_two_labs_side_by_side_are_their_own(page: Page, server, folder, errors):
    cells = (
        "import seerlab as sl, ipywidgets\na, b = sl.Lab(), sl.Lab(bits=7, page='Encode')\nipywidgets.HBox([a, b])",
        "import threading\nt = threading.Thread(target=setattr, args=(a, 'bits', 2)); t.start(); t.join(); print(a.bits, b.bits)",
    )
    write_notebook(folder / "two.ipynb", *cells)
    run_all(page, server, "two.ipynb")
    expect(page.locator(".seerlab-lab")).to_have_count(2, timeout=START_MS)
    # By their place, not their role: the notebook hides what the cell run last has pushed out of sight.
    bits = page.locator(".seerlab-field-bits input")
    expect(bits.first).to_have_value("2", timeout=START_MS)
    expect(bits.nth(1)).to_have_value("7")
    page.locator(".seerlab-lab").first.scroll_into_view_if_needed(timeout=STEP_MS)
    wait_label(page.locator(".seerlab-lab").first, "2 bits")
    expect(page.locator(".seer-enc canvas[role=img]")).to_have_attribute(
        "aria-label", re.compile(r"features\.3"), timeout=START_MS
    )


def strip_of(page: Page):
    return page.locator(".seer-net canvas[role=img]")


def wait_strip(page: Page, text: str) -> None:
    """Wait until the strip of layers names `text`."""
    expect(strip_of(page)).to_have_attribute("aria-label", re.compile(text), timeout=START_MS)


def test_a_layer_opened_on_the_network_page_is_shown_on_the_predict_page(lab: Page):
    lab.get_by_role("tab", name="Network", exact=True).click()
    wait_strip(lab, r"Network vgg9_cifar10.*: 8 layers, .*Layer 2 of 8: features\.3")
    strip_of(lab).focus()
    lab.keyboard.press("End")
    lab.keyboard.press("ArrowLeft")
    wait_strip(lab, r"Layer 7 of 8: features\.21")
    lab.keyboard.press("Enter")
    expect(canvas_of(lab)).to_have_attribute("aria-label", re.compile(r"features\.21"), timeout=START_MS)
    expect(canvas_of(lab)).to_be_visible(timeout=STEP_MS)
    expect(lab.get_by_label("Layer", exact=True)).to_have_value("features.21")
    lab.get_by_label("Layer", exact=True).select_option("features.14")
    lab.get_by_role("tab", name="Network", exact=True).click()
    wait_strip(lab, r"Layer 5 of 8: features\.14")


def test_zooming_out_of_the_layer_turns_to_the_network_page_and_back_in(lab: Page):
    canvas_of(lab).focus()
    lab.keyboard.press("Enter")
    wait_label(lab, "channel 0 of 64")
    lab.keyboard.press("Enter")
    expect(lab.get_by_role("region", name="Arithmetic of one output")).to_contain_text("products", timeout=STEP_MS)
    for text in ("channel 0 of 64", ", 64 channels of 224"):
        lab.keyboard.press("Escape")
        wait_label(lab, text)
    lab.keyboard.press("Escape")
    wait_strip(lab, r"Layer 2 of 8: features\.3")
    strip_of(lab).focus()
    lab.keyboard.press("Enter")
    expect(canvas_of(lab)).to_be_visible(timeout=STEP_MS)


def test_a_click_on_the_network_view_opens_the_layer_below_it(page: Page, server, folder, errors):
    write_notebook(folder / "network.ipynb", "import seerlab as sl\nsl.NetworkView(sl.load('vgg9_cifar10'))")
    run_all(page, server, "network.ipynb")
    wait_strip(page, ": 8 layers, ")
    expect(canvas_of(page)).to_have_count(0)
    page.get_by_label("Measure", exact=True).select_option("predictability")
    wait_strip(page, "Measure: Predictability")
    room = strip_of(page).bounding_box()
    assert room is not None
    for place in (0.3, 0.6):
        position = {"x": place * room["width"], "y": 100}
        strip_of(page).hover(position=position)
        name = page.locator(".seer-net .read b").inner_text()
        strip_of(page).click(position=position)
        expect(canvas_of(page)).to_have_attribute(
            "aria-label", re.compile(rf"Layer {re.escape(name)},"), timeout=START_MS
        )
    expect(canvas_of(page)).to_have_count(1)  # one layer at a time


@pytest.mark.parametrize(("number", "canvas"), [("00", ".seer-net canvas"), ("01", ".seer-mask canvas")])
def test_the_first_guided_notebooks_run_and_draw(page: Page, server, folder, errors, number, canvas):
    (notebook,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    (folder / notebook.name).write_bytes(notebook.read_bytes())
    run_all(page, server, notebook.name)
    drawn = f"{canvas}[role=img][data-frame]"
    expect(page.locator(drawn).first).to_be_attached(timeout=START_MS)
    page.wait_for_function(
        "drawn => Number(document.querySelector(drawn).dataset.frame) > 0", arg=drawn, timeout=START_MS
    )
    # Nothing is written yet, and nothing is stopped by that.
    expect(page.get_by_text(re.compile("^Not yet:")).first).to_be_visible(timeout=START_MS)
