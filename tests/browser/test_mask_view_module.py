"""The mask view's module in a bare page: a fake model, real pixels, real keys."""

import base64
import re
import zlib

import numpy as np
import pytest
from playwright.sync_api import Error, expect

from seerlab.engine.mask_code import blocks, deflated
from seerlab.widgets.mask_view import MaskView
from tests.browser import bench as bare_page

pytestmark = pytest.mark.browser

SHAPE = (4, 6, 5)  # (K, P, Q): rows that do not start on a whole byte
CLASSES = {"skipped": 0, "wasted": 1, "false_skips": 2, "kept": 3}
LIGHT = {
    "skipped": (0xE3, 0xE6, 0xEA),
    "wasted": (0x56, 0xB4, 0xE9),
    "false_skips": (0xD5, 0x5E, 0x00),
    "kept": (0x00, 0x72, 0xB2),
}
DARK = {
    "skipped": (0x30, 0x35, 0x3D),
    "wasted": (0x66, 0xBD, 0xF0),
    "false_skips": (0xFF, 0x7A, 0x1F),
    "kept": (0x0F, 0x7A, 0xBF),
}


def masks(shape=SHAPE, seed=0):
    generator = np.random.default_rng(seed)
    return generator.random(shape) < 0.5, generator.random(shape) < 0.5


def frame(predicted, truth, *, seq=1, layer=1, bits=4, with_truth=True, name="features.3", busy=False):
    parts = {
        "kept": predicted & truth,
        "skipped": ~predicted & ~truth,
        "false_skips": truth & ~predicted,
        "wasted": predicted & ~truth,
    }
    return {
        "kind": "frame", "seq": seq, "layer": layer, "heading": name, "shape": list(predicted.shape), "bits": bits, "margin": 0,
        "counts": {key: int(part.sum()) for key, part in parts.items()},
        "channels": {key: part.sum((1, 2)).tolist() for key, part in parts.items()},
        "truth": with_truth, "against_truth": bool(seq % 2), "busy": busy,
    }  # fmt: skip


class Bench(bare_page.Bench):
    def show(self, predicted, truth, **changes):
        content = frame(predicted, truth, **changes)
        told = blocks(predicted) ^ blocks(truth) if content["against_truth"] else blocks(predicted)
        self.send(content, [deflated(told), deflated(blocks(truth))] if content["truth"] else [deflated(told)])

    def wait_for_classes(self, names, palette=LIGHT, where="#first"):
        """Until just the named classes are on the canvas."""
        present = [palette[name] for name in palette if name in names]
        self.wait_for_colours(present, [palette[name] for name in palette if name not in names], where)

    def reply(self, inputs=None, weights=None, codes=None, weight_codes=None, **changes):
        """Answer the newest probe, with every product if it asks for them."""
        probe = self.sent("probe")[-1]
        answer = {
            **probe, "bits": 4, "margin": 0, "low_bit_sum": -1037, "low_bit_value": -0.0312, "threshold": 0, "sum": 0.04213,
            "predicted": False, "true": True, "predicted_word": "skipped, not above the threshold", "true_word": "needed",
            "verdict": "false skip", "rectified": True, "low_bit_bias": 7, "bias": 0.05, "low_bit_shortcut": None, "shortcut": None,
            "scale_input": 6.5, "scale_weight": 31.0, "windows": [], **changes,
        }  # fmt: skip
        arrays = []
        if probe["terms"]:
            inputs = np.arange(8.0).reshape(2, 2, 2) if inputs is None else inputs
            weights = np.full_like(inputs, -0.25) if weights is None else weights
            codes = inputs * 3 if codes is None else codes
            weight_codes = np.full_like(inputs, -2) if weight_codes is None else weight_codes
            kinds = zip((inputs, weights, codes, weight_codes), ("f4", "f4", "i2", "i1"), strict=True)
            arrays = [np.asarray(array).astype(kind).tobytes() for array, kind in kinds]
            inside = np.ones(inputs.shape[1:], int).tolist()
            answer["terms"] = {"first": 0, "unit": 1, "inside": inside, **changes.get("terms", {})}
        else:
            del answer["terms"]
        self.send(answer, arrays)
        return probe

    def zoom_to_pixel(self, channel=0, place=(1, 1)):
        for name, value in (("channel", channel), ("zoom", "pixel"), ("probe", list(place))):
            self.set(name, value)
        self.wait_for_level("pixel")


@pytest.fixture
def open_bench(page):
    state = {"bits": 4, "margin": 0, "channel": -1, "mode": "difference", "zoom": "mosaic", "probe": [], "outward": ""}
    yield from bare_page.benches(page, MaskView, state, Bench, motion=False)


@pytest.fixture
def bench(open_bench):
    """A light page on which one frame is drawn."""
    bench = open_bench()
    bench.show(*masks())
    bench.wait_for_frame(1)
    return bench


def test_new_view_asks_for_a_frame_and_has_drawn_none(open_bench):
    bench = open_bench()
    assert bench.sent("ready") == [{"kind": "ready"}]
    assert bench.canvas.get_attribute("data-frame") == "0"
    assert bench.canvas.get_attribute("role") == "img"
    assert bench.canvas.get_attribute("tabindex") == "0"


def test_each_frame_is_counted_and_confirmed(bench):
    predicted, truth = masks()
    bench.show(~predicted, truth, seq=2, bits=3, with_truth=False)
    bench.wait_for_frame(2)
    drawn = bench.sent("drawn")
    assert [message["seq"] for message in drawn] == [1, 2]
    assert all(message["ms"] > 0 for message in drawn)
    assert "3 bits" in bench.canvas.get_attribute("aria-label")


def test_frame_older_than_the_drawn_one_is_not_drawn(bench):
    predicted, truth = masks()
    bench.show(~predicted, truth, seq=9, bits=3, with_truth=False)
    bench.wait_for_frame(2)
    bench.show(predicted, truth, seq=8, bits=2, with_truth=False)
    bench.show(predicted, truth, seq=10, bits=1, with_truth=False)
    bench.wait_for_frame(3)
    assert [message["seq"] for message in bench.sent("drawn")] == [1, 9, 10]


def test_frame_passed_by_is_not_shown_to_a_reader_who_stands_still(bench):
    predicted, truth = masks()
    bench.show(~predicted, truth, seq=2, bits=3, with_truth=False, busy=True)
    bench.page.wait_for_function(
        "model.sent.some((m) => m.kind === 'drawn' && m.seq === 2)"
    )  # the kernel need not wait for it
    assert bench.frames() == 1
    assert "4 bits" in bench.label()
    bench.show(predicted, truth, seq=3, bits=2, with_truth=False)
    bench.wait_for_frame(2)
    assert "2 bits" in bench.label()


def test_frame_passed_by_is_shown_to_a_reader_who_moves_on(bench):
    predicted, truth = masks()
    bench.page.evaluate("window.wait = setInterval(() => model.set('bits', 1 + (model.get('bits') % 8)), 10)")
    bench.show(~predicted, truth, seq=2, bits=3, with_truth=False, busy=True)
    bench.wait_for_frame(2)
    bench.page.evaluate("clearInterval(wait)")
    assert "3 bits" in bench.label()


def test_newest_frame_takes_the_place_of_one_that_is_held(bench):
    predicted, truth = masks()
    bench.page.evaluate("window.setTimeout = () => 0")  # so that nothing but the newer frame can end the holding
    bench.show(~predicted, truth, seq=2, bits=3, with_truth=False, busy=True)
    bench.show(predicted, truth, seq=3, bits=2, with_truth=False)
    bench.wait_for_frame(2)
    assert [message["seq"] for message in bench.sent("drawn")] == [1, 3]
    bench.set("bits", 7)
    bench.settle()
    assert bench.frames() == 2


def test_frame_of_a_layer_whose_truth_is_missing_is_asked_for_again(bench):
    predicted, truth = masks()
    bench.show(predicted, truth, seq=2, layer=2, with_truth=False)
    assert len(bench.sent("ready")) == 2
    bench.show(predicted, truth, seq=3, layer=2, name="features.6")
    bench.wait_for_frame(2)
    assert "features.6" in bench.canvas.get_attribute("aria-label")


def random_bytes(size, common):
    """Bytes of which a share is 0, 1 or 2: what masks look like, and what cannot be shortened at all."""
    generator = np.random.default_rng(size)
    found = generator.integers(0, 256, size)
    return np.where(generator.random(size) < common, generator.integers(0, 3, size), found).astype(np.uint8)


@pytest.mark.parametrize("common", [0, 0.5, 0.9, 1])
@pytest.mark.parametrize("size", [0, 1, 3, 200, 70_001])
def test_shortened_bytes_are_read_as_they_were(bench, size, common):
    data = random_bytes(size, common)
    found = bench.page.evaluate(
        "([packed, size]) => btoa(Array.from(module.inflated(Uint8Array.from(atob(packed), (c) => c.charCodeAt(0)), size), (v) => String.fromCharCode(v)).join(''))",
        [base64.b64encode(deflated(data)).decode(), size],
    )
    assert base64.b64decode(found) == data.tobytes()


def test_bytes_shortened_in_another_way_are_refused(bench):
    packed = zlib.compress(bytes(1000), 9)[2:-4]  # repetitions
    with pytest.raises(Error, match=r"not packed by mask_code"):
        bench.page.evaluate("(packed) => void module.inflated(Uint8Array.from(packed), 1000)", list(packed))


@pytest.mark.parametrize("against_truth", [False, True])
def test_classes_of_all_outputs_are_unpacked_from_blocks(bench, against_truth):
    generator = np.random.default_rng(1)
    for shape in ((1, 1, 1), (2, 2, 4), (3, 5, 7), (2, 9, 31)):
        predicted, truth = generator.random((2, *shape)) < 0.5
        told = blocks(predicted) ^ blocks(truth) if against_truth else blocks(predicted)
        found = bench.page.evaluate(
            """([t, truth, against, shape]) => { const map = module.classify(t, truth, against, shape);
            return { ...map, cells: Array.from(map.cells) }; }""",
            [told.reshape(-1).tolist(), blocks(truth).reshape(-1).tolist(), against_truth, shape],
        )
        cells = np.array(found["cells"]).reshape(shape[0], -1, found["stride"])
        assert np.array_equal(cells[:, : shape[1], : shape[2]], predicted + 2 * truth)


@pytest.mark.parametrize("shape", [(1, 1, 1), (64, 224, 224), (64, 32, 32), (2048, 7, 7), (3, 1, 900), (5, 900, 1)])
def test_mosaic_fits_its_box_and_wastes_no_room(bench, shape):
    k = shape[0]
    found = bench.page.evaluate("(shape) => module.mosaicLayout(...shape, 700, 480, 3, 4)", shape)
    assert found["columns"] * found["rows"] >= k
    assert (found["rows"] - 1) * found["columns"] < k
    assert found["x"] + found["columns"] * found["stepX"] - 3 <= 700
    assert found["y"] + found["rows"] * found["stepY"] <= 480 + 3 + found["rows"]  # a dot of rounding per row
    assert found["w"] >= 1
    assert found["h"] >= 1


def test_difference_shows_each_output_in_the_colour_of_its_class(bench):
    predicted, truth = masks()
    bench.set("channel", 1)
    bench.wait_for_level("channel")  # so few outputs are large at once
    pixels = bench.pixels()
    rows, columns = pixels[..., 3].any(1).nonzero()[0], pixels[..., 3].any(0).nonzero()[0]
    top, left, size = rows[0], columns[0], (rows[-1] + 1 - rows[0]) // SHAPE[1]
    kinds = list(LIGHT)
    for r in range(SHAPE[1]):
        for c in range(SHAPE[2]):
            colour = pixels[top + r * size + 6, left + c * size + size // 2, :3]  # beside the cues
            assert tuple(colour) == LIGHT[kinds[predicted[1, r, c] + 2 * truth[1, r, c]]], (r, c)


def test_second_cue_beside_colour_marks_false_skips_and_wasted_outputs(bench):
    bench.set("channel", 0)
    bench.wait_for_level("channel")
    shape = (1, 2, 2)
    predicted, truth = np.array([[[1, 0], [1, 0]]], bool), np.array([[[1, 0], [0, 1]]], bool)
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    pixels = bench.pixels()
    rows, columns = pixels[..., 3].any(1).nonzero()[0], pixels[..., 3].any(0).nonzero()[0]
    size = (rows[-1] + 1 - rows[0]) // shape[1]
    dark = {}
    for name, (r, c) in {"kept": (0, 0), "skipped": (0, 1), "wasted": (1, 0), "false_skips": (1, 1)}.items():
        top, left = rows[0] + r * size, columns[0] + c * size
        inner = pixels[top + 4 : top + size - 4, left + 4 : left + size - 4, :3].astype(int)
        dark[name] = int((inner.max(-1) < 60).sum())
    assert dark["kept"] == dark["skipped"] == 0
    assert 0 < dark["wasted"] < dark["false_skips"]  # a stroke, and a cross


@pytest.mark.parametrize(("mode", "which"), [("Predicted", 0), ("True", 1)])
def test_single_mask_shows_kept_and_skipped_alone(bench, mode, which):
    mask = masks()[which]
    bench.page.get_by_role("radio", name=mode, exact=True).check()
    assert bench.get("mode") == mode.lower()
    bench.wait_for_classes({"kept", "skipped"})
    counts = bench.colour_counts(LIGHT)
    assert counts["kept"] / (counts["kept"] + counts["skipped"]) == pytest.approx(mask.mean(), abs=0.02)
    label = bench.canvas.get_attribute("aria-label")
    assert f"{int(mask.sum())} kept, {int((~mask).sum())} skipped" in label
    assert "wasted" not in label
    assert bench.canvas.get_attribute("data-frame") == "1"
    bench.page.get_by_role("radio", name="Difference", exact=True).check()
    bench.wait_for_classes(set(LIGHT))


def test_label_and_legend_state_the_counts_in_words(bench):
    predicted, truth = masks((3, 60, 50), seed=2)
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    kept, missed = int((predicted & truth).sum()), int((truth & ~predicted).sum())
    skipped, wasted = int((~predicted & ~truth).sum()), int((predicted & ~truth).sum())
    assert bench.canvas.get_attribute("aria-label") == (
        f"Layer features.3, 3 channels of 60 x 50, 4 bits: {kept:,} kept, {skipped:,} skipped, {missed:,} false skips, {wasted:,} wasted"
    )
    row = bench.page.get_by_role("row", name="false skips")
    assert f"{missed:,}" in row.inner_text()
    assert f"{100 * missed / predicted.size:.1f} %" in row.inner_text()


def test_one_false_skip_is_one_in_words_too(bench):
    predicted, truth = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    truth[0, 2, 2] = True
    bench.show(predicted, truth)
    expect(bench.page.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("119 skipped, 1 false skip, 0 wasted")
    )
    expect(bench.page.locator("#first .read")).to_contain_text("29 skipped, 1 false skip, 0 wasted")


def test_false_skips_below_a_tile_do_not_run_into_the_next_tiles_number(bench):
    bench.page.evaluate(bare_page.RECORD_TEXTS)
    bench.show(np.zeros((6, 40, 40), bool), np.ones((6, 40, 40), bool), seq=1)
    bench.page.wait_for_function("() => window.texts.some(({ text }) => text === '\u27151,600')")
    texts = bench.page.evaluate("() => window.texts")
    counts = [put for put in texts if put["text"].startswith("\u2715")]
    follow = [
        number["left"] - put["right"]
        for put in counts
        for number in texts
        if number["y"] == put["y"] and number["left"] > put["right"] and number["text"].isdigit()
    ]
    assert follow
    assert min(follow) >= 6  # two spaces of 11 px: without them the gap of the tiles, 3 px


def test_lone_false_skip_does_not_vanish_where_outputs_share_a_dot(bench):
    predicted, truth = np.zeros((2, 1, 1600, 1600), bool)
    truth[0, 800, 800] = True
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    pixels = bench.pixels().astype(int)
    spot = (pixels[..., 3] > 0) & (pixels[..., 0] - pixels[..., 2] > 40)  # reddish, where the page is bluish grey
    assert spot.any()


def test_keys_lead_from_the_mosaic_to_single_outputs_and_back(bench):
    bench.canvas.focus()
    for name in ("ArrowRight", "Enter"):
        bench.page.keyboard.press(name)
    assert bench.get("channel") == 1
    predicted, truth = masks((4, 100, 100))
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    bench.wait_for_level("channel")
    bench.page.keyboard.press("ArrowDown")
    assert bench.get("probe") == [50, 50]
    bench.page.keyboard.press("ArrowDown")
    bench.page.keyboard.press("ArrowRight")
    assert bench.get("probe") == [51, 51]
    bench.page.keyboard.press("Enter")
    bench.wait_for_level("pixel")
    bench.page.keyboard.press("Escape")
    bench.wait_for_level("channel")
    bench.page.keyboard.press("Escape")
    bench.wait_for_level("mosaic")
    assert bench.get("channel") == -1


def test_plus_zooms_in_and_minus_zooms_out(bench):
    predicted, truth = masks((4, 100, 100))
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    bench.canvas.focus()
    bench.page.keyboard.press("+")
    bench.wait_for_level("channel")
    for _ in range(6):
        bench.page.keyboard.press("=")
        bench.page.evaluate("new Promise(requestAnimationFrame)")
    bench.wait_for_level("pixel")
    for _ in range(12):
        bench.page.keyboard.press("-")
        bench.page.evaluate("new Promise(requestAnimationFrame)")
    bench.wait_for_level("mosaic")


def test_arrow_keys_keep_the_probed_output_in_sight(bench):
    predicted, truth = masks((4, 100, 100))
    bench.set("channel", 0)
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    bench.canvas.focus()
    bench.page.keyboard.press("Enter")
    bench.wait_for_level("pixel")
    for _ in range(30):
        bench.page.keyboard.press("ArrowRight")
    bench.page.evaluate("new Promise(requestAnimationFrame)")
    assert bench.get("probe") == [50, 80]
    pixels = bench.pixels()[..., :3]
    ring = (pixels == 255).all(-1) & (np.roll(pixels, 4, 1) == 0).all(-1)
    assert ring.any()


def test_edge_of_the_map_stops_the_probe(bench):
    bench.zoom_to_pixel(place=(0, 0))
    bench.canvas.focus()
    bench.page.keyboard.press("ArrowUp")
    bench.page.keyboard.press("ArrowLeft")
    assert bench.get("probe") == [0, 0]


def test_plain_keys_do_not_reach_the_notebook_but_shortcuts_do(bench):
    bench.page.evaluate("window.leaked = []; document.addEventListener('keydown', (e) => leaked.push(e.key))")
    bench.canvas.focus()
    for name in ("d", "Enter", "ArrowDown", "Control+s"):
        bench.page.keyboard.press(name)
    assert bench.page.evaluate("leaked") == ["Control", "s"]


def test_click_opens_a_channel_and_the_breadcrumb_leads_back(bench):
    box = bench.canvas.bounding_box()
    bench.canvas.click(position={"x": box["width"] / 2 - 60, "y": box["height"] / 2 - 60})
    assert (bench.get("channel"), bench.get("zoom")) == (0, "channel")
    bench.wait_for_level("channel")
    bench.button("features.3").click()
    assert (bench.get("channel"), bench.get("zoom")) == (-1, "mosaic")
    bench.wait_for_level("mosaic")
    bench.button("Zoom in").click()
    assert bench.get("channel") == 0
    bench.button("Zoom out").click()
    assert bench.get("channel") == -1


def test_breadcrumb_names_every_level_and_leads_to_each(bench):
    bench.set("outward", "Network")
    bench.zoom_to_pixel(2, (3, 4))
    crumbs = bench.page.get_by_role("navigation", name="Where you are")
    assert crumbs.get_by_role("button").all_inner_texts() == ["Network", "features.3", "channel 2"]
    assert crumbs.locator("[aria-current=location]").inner_text() == "row 3, column 4"
    bench.button("channel 2").click()
    bench.wait_for_level("channel")
    assert (bench.get("channel"), bench.get("zoom")) == (2, "channel")
    bench.button("features.3").click()
    bench.wait_for_level("mosaic")


def test_reader_leaves_the_layer_only_where_there_is_something_outside(bench):
    bench.canvas.focus()
    bench.page.keyboard.press("Escape")
    assert bench.sent("leave") == []
    assert bench.button("Zoom out").is_disabled()
    bench.set("outward", "Network")
    bench.settle()
    for number, leave in enumerate(
        (lambda: bench.page.keyboard.press("Escape"), bench.button("Network").click, bench.button("Zoom out").click), 1
    ):
        bench.canvas.focus()
        leave()
        assert len(bench.sent("leave")) == number


def test_reader_who_leaves_and_stays_sees_the_layer_again(open_bench):
    bench = open_bench(motion=True)
    bench.show(*masks())
    bench.wait_for_frame(1)
    bench.set("outward", "Network")
    bench.canvas.focus()
    bench.page.keyboard.press("Escape")
    bench.page.wait_for_function("document.querySelector('#first canvas').dataset.moving")
    bench.page.wait_for_function("!document.querySelector('#first canvas').dataset.moving")
    bench.wait_for_classes(set(LIGHT))


def test_double_click_goes_from_a_channel_to_its_outputs(bench):
    predicted, truth = masks((1, 100, 100))
    bench.set("channel", 0)
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    bench.wait_for_level("channel")
    bench.canvas.dblclick()
    bench.wait_for_level("pixel")


def test_wheel_zooms_only_a_focused_picture(bench):
    predicted, truth = masks((1, 100, 100))
    bench.set("channel", 0)
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    bench.wait_for_level("channel")
    bench.page.evaluate(
        """window.taken = []; document.addEventListener("wheel", (e) => taken.push(e.defaultPrevented), { passive: false })"""
    )
    bench.canvas.hover()
    bench.page.mouse.wheel(0, -100)
    bench.page.wait_for_function("taken.length === 1")
    bench.canvas.focus()
    bench.page.mouse.wheel(0, -100)
    bench.page.wait_for_function("taken.length === 2")
    assert bench.page.evaluate("taken") == [False, True]


def test_hovering_asks_for_the_sums_and_shows_the_reply(bench):
    bench.set("channel", 2)
    bench.wait_for_level("channel")
    bench.canvas.hover()
    probe = bench.reply()
    assert (probe["channel"], probe["terms"]) == (2, False)
    assert 0 <= probe["row"] < SHAPE[1]
    bench.wait_for_text(".read", "False skip".lower())
    text = bench.text(".read")
    for part in (f"row {probe['row']}, column {probe['column']}", "\u22121,037", "0.04213", "not above the threshold"):
        assert part in text
    assert bench.page.locator("#first .read").get_attribute("aria-live") == "polite"
    assert bench.get("probe") == []  # hovering pins nothing


def test_only_one_probe_is_under_way_and_then_the_newest(bench):
    bench.set("channel", 0)
    bench.wait_for_level("channel")
    bench.set("probe", [0, 0])
    for place in ([1, 0], [2, 0], [3, 1]):
        bench.set("probe", place)
    assert [(p["row"], p["column"]) for p in bench.sent("probe")] == [(0, 0)]
    bench.reply()
    assert [(p["row"], p["column"]) for p in bench.sent("probe")] == [(0, 0), (3, 1)]


def test_lost_reply_does_not_block_the_next_probe(bench):
    bench.set("channel", 0)
    bench.wait_for_level("channel")
    bench.set("probe", [0, 0])
    bench.set("probe", [1, 1])
    bench.page.wait_for_function("model.sent.filter((m) => m.kind === 'probe').length === 2")


def test_new_frame_asks_for_the_probed_sums_again(bench):
    bench.set("channel", 0)
    bench.wait_for_level("channel")
    bench.set("probe", [2, 2])
    bench.reply()
    bench.show(*masks(), seq=2, bits=3, with_truth=False)
    bench.wait_for_frame(2)
    assert len(bench.sent("probe")) == 2


def cells(bench, selector):
    """Text of each cell of a table, row by row."""
    return bench.page.evaluate(
        """(selector) => [...document.querySelector(`#first ${selector}`).rows].map((row) => [...row.cells].map((cell) => cell.innerText))""",
        selector,
    )


def test_single_output_shows_window_weights_products_and_sums(bench):
    bench.zoom_to_pixel(1, (2, 3))
    probe = bench.reply()
    assert (probe["channel"], probe["row"], probe["column"], probe["terms"]) == (1, 2, 3, True)
    bench.wait_for_text(".pixel", "False skip".lower())
    # Inputs 0 to 7 in two channels of 2 x 2, codes three times as large, weights -1/4 and -2.
    assert cells(bench, ".terms .window") == [["12\n4.00", "15\n5.00"], ["18\n6.00", "21\n7.00"]]
    assert cells(bench, ".terms .weight") == [["\u22122\n\u22120.25"] * 2] * 2
    assert cells(bench, ".terms .product") == [
        ["\u221224\n\u22121.00", "\u221230\n\u22121.25"],
        ["\u221236\n\u22121.50", "\u221242\n\u22121.75"],
    ]
    sums = [text.split("\n") for text in bench.page.locator("#first .terms td.sum").all_inner_texts()]
    assert [pair[0] for pair in sums] == ["\u2212132", "\u221236", "\u2212168"]  # channel 1, channel 0, both
    lines = {row[0]: row[1:] for row in cells(bench, ".ladder")}
    assert lines["8 products"] == ["\u2212168", "\u22127.000"]
    assert lines["Bias"] == ["7", "0.05000"]
    assert lines["Sum"] == ["\u22121,037", "0.04213"]
    assert lines["Computed if above"] == ["0", "0"]
    assert lines["So it is"] == ["\u2717 skipped", "\u2713 needed"]
    assert "threshold" in bench.page.locator("#first .axis").get_attribute("aria-label")


def test_wide_window_lists_the_largest_channels_and_adds_up_the_others(bench):
    generator = np.random.default_rng(0)
    inputs, weights = generator.random((512, 3, 3)).astype("f4"), generator.normal(size=(512, 3, 3)).astype("f4")
    codes, weight_codes = np.round(inputs * 15), np.round(weights * 2).clip(-7, 7)
    bench.zoom_to_pixel()
    bench.reply(inputs, weights, codes, weight_codes)
    bench.wait_for_text(".terms", "512 input channels")
    whole = (codes * weight_codes).sum((1, 2))

    def listed():
        texts = bench.page.locator("#first .terms td.sum b").all_inner_texts()
        return [int(text.replace(",", "").replace("\u2212", "-")) for text in texts]

    *channels, others, total = listed()
    assert len(channels) == 8
    assert sum(channels) + others == total == int(whole.sum())
    bench.button("Show more").click()
    *channels, others, total = listed()
    assert len(channels) == 32
    assert sum(channels) + others == total == int(whole.sum())
    in_units = np.maximum(abs(whole / (6.5 * 31)), abs((inputs.astype(float) * weights).sum((1, 2))))
    order = np.argsort(-in_units, kind="stable")
    assert channels == whole[order[:32]].astype(int).tolist()


def test_padding_in_a_window_is_marked(bench):
    bench.zoom_to_pixel(0, (0, 0))
    bench.reply(terms={"inside": [[0, 0], [0, 1]]})
    bench.wait_for_text(".pixel", "Products")
    assert cells(bench, ".terms .window")[0] == ["\u00b7", "\u00b7"]


def test_pooling_window_says_which_output_wins_in_each(bench):
    bench.zoom_to_pixel(0, (1, 1))
    window = {
        "rows": [0, 1], "columns": [0, 1], "low_bit_sums": [[5, -3], [0, 4]], "sums": [[0.25, -1.5], [0.125, 0.5]],
        "predicted_largest": [0, 0], "true_largest": [1, 1],
    }  # fmt: skip
    bench.reply(windows=[window])
    bench.wait_for_text(".pool", "they differ")
    assert cells(bench, ".pool") == [["\u25a0 5\n0.2500", "\u22123\n\u22121.500"], ["0\n0.1250", "4\n\u25cf 0.5000"]]
    assert bench.page.locator("#first .pool td.here").inner_text() == "4\n\u25cf 0.5000"


def test_arrow_keys_move_the_single_output_and_escape_leads_out(bench):
    bench.zoom_to_pixel(1, (2, 2))
    bench.reply()
    bench.canvas.focus()
    for name, place in (("ArrowRight", [2, 3]), ("ArrowDown", [3, 3]), ("ArrowUp", [2, 3])):
        bench.page.keyboard.press(name)
        assert bench.get("probe") == place
    bench.page.keyboard.press("PageDown")
    assert (bench.get("channel"), bench.get("zoom")) == (2, "pixel")
    expect(bench.canvas).to_have_attribute("aria-label", re.compile("output in row 2, column 3"))
    bench.page.keyboard.press("Escape")
    bench.wait_for_level("channel")
    bench.page.keyboard.press("Escape")
    bench.wait_for_level("mosaic")


def test_arithmetic_out_of_sight_cannot_be_reached_by_keyboard(bench):
    assert bench.page.evaluate("document.querySelector('#first .pixel').inert")
    bench.zoom_to_pixel()
    bench.settle()
    assert not bench.page.evaluate("document.querySelector('#first .pixel').inert")


def test_picture_moves_from_one_zoom_to_the_next(open_bench):
    bench = open_bench(motion=True)
    bench.show(*masks((16, 40, 40)))
    bench.wait_for_frame(1)
    bench.page.evaluate(
        """window.steps = []; const canvas = document.querySelector("#first canvas");
        new MutationObserver(() => steps.push(canvas.dataset.moving || "")).observe(canvas, { attributeFilter: ["data-moving"] });
        void model.set("channel", 3)"""
    )
    bench.page.wait_for_function("steps.length === 2")
    assert bench.page.evaluate("steps") == ["true", ""]
    bench.wait_for_level("channel")
    end = bench.pixels()
    bench.page.emulate_media(reduced_motion="reduce")
    bench.set("channel", -1)
    bench.wait_for_level("mosaic")
    bench.set("channel", 3)
    bench.wait_for_level("channel")
    assert np.array_equal(bench.pixels(), end)
    assert bench.page.evaluate("steps.length") == 2  # who asks for less movement sees none


def test_frame_that_comes_while_the_picture_moves_is_drawn_at_once(open_bench):
    bench = open_bench(motion=True)
    bench.show(*masks((16, 40, 40)))
    bench.wait_for_frame(1)
    bench.page.evaluate("void model.set('channel', 3)")
    bench.page.wait_for_function("document.querySelector('#first canvas').dataset.moving")
    bench.show(*masks((16, 40, 40), seed=5), seq=2, bits=3, with_truth=False)
    bench.wait_for_frame(2)
    assert bench.canvas.get_attribute("data-moving") is None


def test_small_outputs_in_error_are_hatched_and_crossed_too(bench):
    predicted, truth = np.zeros((2, 1, 150, 150), bool)
    truth[0, :, :75] = True
    predicted[0, :, 75:] = True
    bench.show(predicted, truth, seq=2, layer=2)
    bench.wait_for_frame(2)
    pixels = bench.pixels()
    counts = {name: (pixels[..., :3] == np.array(colour)).all(-1).sum() for name, colour in LIGHT.items()}
    visible = (pixels[..., 3] > 0).sum() / 2
    assert 0.4 < counts["false_skips"] / visible < 0.75  # the rest of each half is pattern
    assert 0.7 < counts["wasted"] / visible < 0.9


def test_error_is_an_alert_and_goes_away(bench):
    bench.set("error", "bits=9 is not possible: choose a whole number from 1 to 8")
    alert = bench.page.get_by_role("alert")
    assert alert.inner_text() == "bits=9 is not possible: choose a whole number from 1 to 8"
    height = bench.page.locator("#first .seer-mask").bounding_box()["height"]
    bench.set("error", "")
    assert not alert.is_visible()
    assert bench.page.locator("#first .seer-mask").bounding_box()["height"] == height


def test_long_computation_shows_that_it_is_busy_until_the_frame_comes(bench):
    bench.page.evaluate("model.emit('msg:custom', { kind: 'busy' }, [])")
    bench.wait_for_text(".busy", "computing")
    bench.show(*masks(), seq=2, bits=3, with_truth=False)
    bench.wait_for_frame(2)
    assert bench.page.locator("#first .busy").inner_text() == ""


def test_failed_computation_ends_the_busy_sign(bench):
    bench.page.evaluate("model.emit('msg:custom', { kind: 'busy' }, [])")
    bench.wait_for_text(".busy", "computing")
    bench.page.evaluate("model.emit('msg:custom', { kind: 'idle' }, [])")
    assert bench.page.locator("#first .busy").inner_text() == ""


def test_picture_follows_the_preferred_colour_scheme(open_bench):
    bench = open_bench("dark")
    bench.show(*masks())
    bench.wait_for_frame(1)
    bench.wait_for_classes(set(DARK), DARK)
    assert bench.colour_counts(LIGHT)["kept"] == 0
    bench.page.emulate_media(color_scheme="light")
    bench.wait_for_classes(set(LIGHT), LIGHT)


def test_picture_follows_the_theme_of_jupyterlab(bench):
    bench.page.evaluate(
        """document.body.style.setProperty("--jp-layout-color0", "#111"); document.body.dataset.jpThemeLight = "false" """
    )
    bench.wait_for_classes(set(DARK), DARK)
    bench.page.evaluate(
        """document.body.style.setProperty("--jp-layout-color0", "white"); document.body.dataset.jpThemeLight = "true" """
    )
    bench.wait_for_classes(set(LIGHT), LIGHT)
    assert bench.canvas.get_attribute("data-frame") == "1"


def test_two_views_of_one_model_show_the_same_mode_and_zoom_by_themselves(bench):
    bench.page.evaluate("void module.default.render({ model, el: document.querySelector('#second') })")
    assert len(bench.sent("ready")) == 2
    bench.show(*masks(), seq=2)
    bench.wait_for_frame(2)
    bench.wait_for_frame(1, "#second")
    bench.page.locator("#second").get_by_role("radio", name="True", exact=True).check()
    for where in ("#first", "#second"):
        bench.wait_for_classes({"kept", "skipped"}, where=where)
    assert bench.page.locator("#first").get_by_role("radio", name="True", exact=True).is_checked()


def test_view_that_gets_its_place_on_the_page_later_draws_then(open_bench):
    bench = open_bench()
    bench.page.evaluate(
        """window.later = document.createElement("div"); void module.default.render({ model, el: later });"""
    )
    bench.show(*masks())
    bench.wait_for_frame(1)
    bench.page.evaluate("document.querySelector('#second').append(later)")
    bench.wait_for_frame(1, "#second")
    bench.wait_for_classes(set(LIGHT), where="#second")


def test_view_out_of_sight_confirms_nothing_until_it_is_seen(open_bench):
    bench = open_bench()
    bench.page.evaluate("document.querySelector('#first').style.display = 'none'")
    bench.show(*masks())
    bench.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert bench.sent("drawn") == []
    bench.page.evaluate("document.querySelector('#first').style.display = ''")
    bench.wait_for_frame(1)
    assert len(bench.sent("drawn")) == 1


@pytest.mark.parametrize("width", [420, 800, 1800])
def test_picture_and_legend_fit_the_width(open_bench, width):
    bench = open_bench(width=width)
    bench.show(*masks((64, 32, 32)))
    bench.wait_for_frame(1)
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= width
    assert bench.page.locator("#first .legend").bounding_box()["width"] <= width
    before = bench.canvas.bounding_box()
    bench.set("channel", 3)
    bench.wait_for_text(".title", "channel 3")
    assert bench.canvas.bounding_box() == before  # nothing jumps


def test_cleanup_takes_everything_off_the_page_and_the_model(bench):
    bench.page.evaluate("stop()")
    assert bench.page.evaluate("model.listeners()") == 0
    assert bench.page.locator("#first *").count() == 0
    bench.page.evaluate("model.emit('msg:custom', { kind: 'busy' }, []); model.set('mode', 'true')")
