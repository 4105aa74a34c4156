"""Saved pages, opened as files: no server, no kernel, the same picture as the live view."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from seerlab.widgets.lab import Lab
from seerlab.widgets.mask_view import MaskView
from tests.browser import bench as bare_page
from tests.widgets.played import Played
from tests.widgets.test_lab import Small
from tests.widgets.test_mask_view import make_layer

pytestmark = pytest.mark.browser

MARGIN = 20  # of the page beside the view, in CSS pixels
STATE = {"bits": 4, "margin": 0, "channel": -1, "mode": "difference", "probe": []}


class PlayedView(Played, MaskView):
    pass


@pytest.fixture(scope="module")
def layer():
    return make_layer(k=12, size=16)


@pytest.fixture(scope="module")
def page_of_a_view(layer, tmp_path_factory):
    view = MaskView(layer)
    yield view.save(tmp_path_factory.mktemp("page") / "view.html", margin=[0, 40], progress=False)
    view.close()


@pytest.fixture(scope="module")
def page_of_a_lab(tmp_path_factory):
    torch.manual_seed(3)
    lab = Lab(Small().eval(), torch.rand(1, 3, 16, 16))
    yield lab.save(tmp_path_factory.mktemp("page") / "lab.html", margins=[20], times=False, progress=False)
    lab.close()


@pytest.fixture
def opened(page: Page):
    """Open a file; nothing may be fetched but the file, and nothing may go wrong."""
    problems, fetched = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("request", lambda request: fetched.append(request.url))

    def opened(file, scheme="light", width=1000):
        page.set_viewport_size({"width": width + 2 * MARGIN, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.goto(file.as_uri())
        wait_drawn(page, 0)
        return page

    yield opened
    assert problems == []
    assert [url for url in fetched if not url.startswith(("file:", "data:", "blob:"))] == []


def wait_drawn(page, before):
    """Until the canvas in sight has drawn more frames than `before`."""
    page.wait_for_function(
        "(before) => [...document.querySelectorAll('canvas[data-frame]')].some((c) => c.offsetParent && c.dataset.frame > before)",
        arg=before,
    )


def frames(page):
    return int(page.locator("canvas[data-frame]:visible").get_attribute("data-frame"))


def press(page, key):
    """Press a key that must bring a new frame."""
    before = frames(page)
    page.keyboard.press(key)
    wait_drawn(page, before)


def pixels(page):
    return page.evaluate(
        """() => { const c = [...document.querySelectorAll("canvas[data-frame]")].find((c) => c.offsetParent);
        return [c.width, c.height, c.getContext("2d").getImageData(0, 0, c.width, c.height).data.join()]; }"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_at_each_setting_is_that_of_the_live_view(page_of_a_view, opened, page, context, layer, scheme):
    saved = opened(page_of_a_view, scheme)
    live = PlayedView(layer)
    live.say(kind="ready")
    pictures = []
    with context.new_page() as other:
        benches = bare_page.benches(other, MaskView, dict(STATE))
        bench = next(benches)(scheme)
        seen = set()
        for bits in (2, 8):
            live.bits = bits
            live.settle()
            live.say(kind="ready")
            bench.set("bits", bits)
            bench.send(*live.frames()[-1])
            bench.wait_for_frame(len(seen) + 1)
            before = frames(saved)
            saved.evaluate("(bits) => seerlab.views[0].set('bits', bits)", bits)
            saved.evaluate("() => seerlab.views[0].save_changes()")
            wait_drawn(saved, before)
            pictures.append((pixels(saved), pixels(other)))
            seen.add(pictures[-1][0][2])
        next(benches, None)
    live.close()
    for recorded, shown in pictures:
        assert recorded == shown
    assert len(seen) == 2


def test_sliders_of_a_lab_move_by_keyboard_and_numbers_follow(page_of_a_lab, opened):
    page = opened(page_of_a_lab)
    panel = page.locator(".seerlab-panel")
    before, picture = panel.inner_text(), pixels(page)
    page.get_by_label("Bits", exact=True).focus()
    press(page, "ArrowLeft")
    expect(page.locator("canvas[data-frame]:visible")).to_have_attribute("aria-label", re.compile("3 bits"))
    assert pixels(page) != picture
    assert panel.inner_text() != before
    press(page, "ArrowRight")
    assert pixels(page) == picture
    assert panel.inner_text() == before


def test_a_slider_goes_to_the_next_setting_that_was_recorded(page_of_a_lab, opened):
    page = opened(page_of_a_lab)
    margin = page.get_by_label("Margin", exact=True)
    margin.focus()
    press(page, "ArrowRight")
    expect(margin).to_have_value("20")
    page.keyboard.press("ArrowRight")  # there is no larger one
    expect(margin).to_have_value("20")
    press(page, "ArrowLeft")
    expect(margin).to_have_value("0")


def test_every_page_of_a_lab_draws_and_its_slider_works(page_of_a_lab, opened):
    page = opened(page_of_a_lab)
    tabs = page.get_by_role("tab").all_inner_texts()
    assert tabs == ["Predict", "Epsilon", "Encode", "Granularity", "Network"]
    page.get_by_role("tab", name="Predict", exact=True).focus()
    for title, slider in {"Epsilon": "Epsilon", "Encode": "Epsilon", "Granularity": "Sparsity"}.items():
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name=title, exact=True)).to_have_attribute("aria-selected", "true")
        wait_drawn(page, 0)
        label = page.locator("canvas[data-frame]:visible").get_attribute("aria-label")
        handle = page.get_by_role("tabpanel", name=title, exact=True).get_by_label(slider, exact=True)
        handle.focus()
        value = handle.input_value()
        for key in ("ArrowRight", "ArrowLeft"):
            press(page, key)
            assert handle.input_value() != value if key == "ArrowRight" else handle.input_value() == value
        expect(page.locator("canvas[data-frame]:visible")).to_have_attribute("aria-label", label)
        page.get_by_role("tab", name=title, exact=True).focus()
    page.keyboard.press("ArrowRight")
    wait_drawn(page, 0)
    page.locator("canvas[data-frame]:visible").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("header [role=status]")).to_contain_text("was not recorded")


def test_a_choice_that_was_not_recorded_is_taken_back_and_named(page_of_a_lab, opened):
    page = opened(page_of_a_lab)
    page.get_by_role("tab", name="Epsilon", exact=True).click()
    wait_drawn(page, 0)
    page.locator("canvas[data-frame]:visible").focus()
    page.keyboard.press("Enter")  # opens a map, whose values were not recorded
    expect(page.locator("header [role=status]")).to_contain_text("Not recorded: selected")
    press_mode = page.get_by_label("Mode", exact=True)
    press_mode.select_option("v2")
    expect(page.locator("header [role=status]")).to_have_text("")


def test_bits_are_the_same_in_the_chart_that_folds_out(page_of_a_lab, opened):
    page = opened(page_of_a_lab)
    page.get_by_label("Bits", exact=True).first.focus()
    press(page, "ArrowLeft")
    page.locator("summary", has_text="Few bits or few weights").click()
    chart = page.locator(".seer-pred")
    canvas = chart.locator("canvas[data-frame]")
    expect(canvas).not_to_have_attribute("data-frame", "0")
    expect(chart.get_by_label("Bits", exact=True)).to_have_value("3")
    label = canvas.get_attribute("aria-label")
    chart.get_by_label("Prune ratio", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    expect(canvas).not_to_have_attribute("aria-label", label)


@pytest.mark.parametrize("width", [800, 1800])
def test_nothing_is_wider_than_the_window(page_of_a_lab, opened, width):
    page = opened(page_of_a_lab, width=width - 2 * MARGIN)
    for title in page.get_by_role("tab").all_inner_texts():
        page.get_by_role("tab", name=title, exact=True).click()
        wait_drawn(page, 0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_code_and_picture_are_taken_away_and_the_rest_is_said(page_of_a_lab, opened):
    page = opened(page_of_a_lab)
    with page.expect_download() as picture:
        page.get_by_role("button", name="Save the view as PNG").click()
    assert picture.value.suggested_filename == "predict.png"
    with Image.open(picture.value.path()) as image:
        assert image.width == page.locator("canvas[data-frame]:visible").evaluate("(c) => c.width")
    page.get_by_role("button", name="Copy as code").click()
    expect(page.get_by_text(re.compile("Code (copied|selected)"))).to_be_visible()
    page.get_by_role("button", name="Save the figures as CSV").click()
    expect(page.locator("header [role=status]")).to_contain_text("CSV needs the notebook")
