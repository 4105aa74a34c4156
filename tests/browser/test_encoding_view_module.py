"""The encoding view's module in a bare page: a fake model, real arrays of the kernel, real pixels and keys."""

import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seerlab import encodings
from seerlab.layers import ConvLayer
from seerlab.widgets.encoding_view import EncodingView
from tests.browser import bench as bare_page
from tests.widgets.played import Played

pytestmark = pytest.mark.browser

EXAMPLE = [[0, 1, 0, 2, 0], [3, 4, 5, 6, 0], [0, 7, 0, 8, 0], [9, 10, 11, 0, 12], [0, 0, 13, 14, 15]]
KERNEL = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
OUTPUT = [[120, 205, 118], [303, 266, 242], [283, 356, 470]]
# Types 0, 1, 2 of three; zeros.
LIGHT = [(0x7F, 0xCD, 0xBB), (0x1D, 0x91, 0xC0), (0x0C, 0x2C, 0x84), (0xEF, 0xF1, 0xF3)]
DARK = [(0x1D, 0x5C, 0x8F), (0x4F, 0xB3, 0xC8), (0xF2, 0xF7, 0xC0), (0x26, 0x2B, 0x32)]
TYPES = [0, 1, 2, 1, 0]
# Of the worked example: places in CPO's order.
CPO_PLACES = [(1, 0), (3, 0), (3, 4), (4, 4), (0, 1), (1, 1), (2, 1), (3, 1), (0, 3), (1, 3), (2, 3), (4, 3), (1, 2), (3, 2), (4, 2)]  # fmt: skip


def worked_example():
    weight = torch.tensor(KERNEL).float()[None, None]
    return ConvLayer("worked example", weight, torch.zeros(1), torch.tensor(EXAMPLE).float()[None, None])


def random_layer(c=3, size=7, kernel=(3, 3), density=0.5, seed=0, groups=1, **geometry):
    """Small integers, on which every order of additions gives the same sums."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-9, 10, (1, c, size, size + 1), generator=generator).float()
    x[torch.rand(x.shape, generator=generator) >= density] = 0
    weight = torch.randint(-4, 5, (2 * groups, c // groups, *kernel), generator=generator).float()
    return ConvLayer("conv", weight, torch.zeros(2 * groups), x, groups=groups, **geometry)


class PlayedView(Played, EncodingView):
    """A view whose messages are kept for the page."""


def kernel_messages(layer, *, times=False, **setting):
    """What the kernel sends of a layer: its frame and its figures, and when asked for its times."""
    view = PlayedView(layer, **setting)
    view.compute()
    view.say(kind="ready")
    view.settle(measured=times)
    view.close()
    return [message for message in view.sent if message[0]["kind"] != "busy"]


class Bench(bare_page.Bench):
    """A page with one model and its first view."""

    def __init__(self, page):
        super().__init__(page)
        self.sequence = 0
        self.layers = []  # names and shapes of the layers shown, for their numbers

    def show(self, layer, *, seq=None, wait=True, **setting):
        """Send a setting as the kernel would, and wait until it is drawn."""
        messages = kernel_messages(layer, **setting)
        self.sequence = seq or self.sequence + 1
        before = self.frames()
        self.set("method", messages[0][0]["method"])
        identity = (layer.name, tuple(layer.input.shape))
        self.layers += [] if identity in self.layers else [identity]
        number = 1 + self.layers.index(identity)
        for content, buffers in messages:
            self.send({**content, "seq": self.sequence, "layer": number}, buffers)
        if wait:
            self.wait_for_frame(before + 1)

    def go(self, entry):
        self.set("entry", entry)
        self.settle()

    def sums(self):
        """The terms added at the present entry."""
        return re.findall(r"O\[\d+\]\[\d+\] \+= \S+ x [^\s,]+", self.text(".read"))

    def current(self):
        """Highlighted numbers by row of the arrays."""
        rows = self.page.evaluate(
            """[...document.querySelectorAll("#first .arrays tr")].map((r) =>
            [r.cells[0].textContent, [...r.querySelectorAll("[aria-current]")].map((c) => c.textContent)])"""
        )
        return {name: cells for name, cells in rows if cells}

    def output(self):
        """Output so far, as it is read out."""
        label = self.canvas.get_attribute("aria-label")
        rows = label.partition("output so far: ")[2].replace("\u2212", "-").split(", ")
        return [[float(number) for number in row.split()] for row in rows]

    def wait_for_colour(self, colour):
        self.wait_for_colours([colour])

    def cells(self, palette=LIGHT):
        """Corner and size of the worked example's cells on the canvas, found by the colour of the columns of type 2."""
        pixels = self.pixels()[..., :3]
        rows, columns = (pixels == np.array(palette[2])).all(-1).nonzero()
        size = columns.max() - columns.min() + 1  # one column has this type
        return rows.max() + 1 - 5 * size, columns.min() - 2 * size, int(size)


@pytest.fixture
def open_bench(page):
    state = {"method": "cpo", "epsilon": 0, "channel": -1, "entry": 0, "title": ""}
    yield from bare_page.benches(page, EncodingView, state, Bench, width=1100)


@pytest.fixture
def bench(open_bench):
    """A light page that shows the worked example."""
    bench = open_bench()
    bench.show(worked_example())
    return bench


def example_terms(row, column, owner=None):
    """What an element of the worked example adds, by the double loop of the scatter convolution."""
    terms = []
    for tap_row in range(3):
        y = row - tap_row
        strips = [x for x in range(3) if 0 <= column - x < 3] if owner is None else [owner]
        terms += [
            f"O[{y}][{x}] += {EXAMPLE[row][column]} x {KERNEL[tap_row][column - x]}" for x in strips if 0 <= y < 3
        ]
    return terms


def test_new_view_asks_for_a_frame_and_has_drawn_none(open_bench):
    bench = open_bench()
    assert bench.sent("ready") == [{"kind": "ready"}]
    for name, value in {"data-frame": "0", "role": "img", "tabindex": "0"}.items():
        assert bench.canvas.get_attribute(name) == value


def test_each_frame_is_counted_and_confirmed(bench):
    bench.show(worked_example(), method="cps")
    drawn = bench.sent("drawn")
    assert [message["seq"] for message in drawn] == [1, 2]
    assert all(message["ms"] > 0 for message in drawn)


def test_frame_older_than_the_drawn_one_is_not_drawn(bench):
    bench.show(worked_example(), seq=9, method="cps")
    bench.show(worked_example(), seq=8, method="zvc", wait=False)
    bench.show(worked_example(), seq=10, method="cscc")
    assert [message["seq"] for message in bench.sent("drawn")] == [1, 9, 10]


def test_label_says_in_words_what_is_shown(bench):
    label = bench.canvas.get_attribute("aria-label")
    assert label.startswith("Layer worked example, channel 0, 1 channel of 5 × 5, kernel 3 × 3, stride 1, padding 0: ")
    assert "15 of 25 elements are not zero (density 60.0 %): 4 of type 0, 8 of type 1, 3 of type 2" in label
    assert "entry 1 of 15 of CPO" in label


@pytest.mark.parametrize(("scheme", "palette"), [("light", LIGHT), ("dark", DARK)])
def test_each_non_zero_has_the_colour_of_its_overlap_and_zeros_recede(open_bench, scheme, palette):
    bench = open_bench(scheme)
    bench.show(worked_example())
    bench.go(8)
    top, left, size = bench.cells(palette)
    pixels = bench.pixels()
    for row in range(5):
        for column in range(5):
            spot = pixels[top + row * size + size - 6, left + column * size + 6, :3]  # beside the texts
            expected = palette[TYPES[column]] if EXAMPLE[row][column] else palette[3]
            assert tuple(spot) == expected, (row, column)


def test_large_cells_carry_the_digit_of_their_type_beside_the_colour(bench):
    bench.go(8)
    top, left, size = bench.cells()
    pixels = bench.pixels()[..., :3].astype(int)
    for row in range(5):
        for column in range(5):
            corner = pixels[top + row * size + 7 : top + row * size + size // 3, left + column * size + size * 2 // 3 : left + (column + 1) * size - 6]  # fmt: skip
            fill = np.array(LIGHT[TYPES[column]] if EXAMPLE[row][column] else LIGHT[3])
            assert (abs(corner - fill).sum(-1) > 150).any() == bool(EXAMPLE[row][column]), (row, column)


def test_replay_of_the_worked_example_is_cpos_to_the_letter(bench):
    sums = np.zeros((3, 3))
    for entry, (row, column) in enumerate(CPO_PLACES):
        assert bench.get("entry") == entry
        assert bench.sums() == example_terms(row, column)
        assert f"type {TYPES[column]}, submatrix {max(0, column - 2)}" in bench.text(".read")
        for y in range(3):
            for x in range(3):
                if 0 <= row - y < 3 and 0 <= column - x < 3:
                    sums[y, x] += EXAMPLE[row][column] * KERNEL[row - y][column - x]
        assert bench.output() == sums.tolist()
        if entry < 14:
            bench.button("Next").click()
            bench.settle()
    assert bench.output() == OUTPUT
    assert bench.button("Next").is_disabled()


def test_arithmetic_of_the_element_worked_by_hand_is_shown(bench):
    bench.go(12)
    text = bench.text(".read")
    assert "5 at row 1, column 2: type 2, submatrix 0, IN = 5 = 1 · 3 + 2" in text
    assert bench.sums() == [
        "O[1][0] += 5 x 3", "O[1][1] += 5 x 2", "O[1][2] += 5 x 1",
        "O[0][0] += 5 x 6", "O[0][1] += 5 x 5", "O[0][2] += 5 x 4",
    ]  # fmt: skip
    assert bench.page.locator("#first .read").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("method", encodings.METHODS)
def test_replay_of_every_format_ends_with_the_convolution(open_bench, method):
    bench = open_bench()
    bench.show(worked_example(), method=method)
    bench.button("Last").click()
    bench.settle()
    assert bench.output() == OUTPUT
    bench.button("First").click()
    bench.settle()
    assert bench.get("entry") == 0
    assert np.sum(bench.output()) < 120


@pytest.mark.parametrize(
    ("method", "entry", "expected"),
    [
        ("cpo", 8, {"ptr[1]": ["4", "8"], "IN": ["2"], "DA": ["2"]}),
        ("cpo", 12, {"ptr[2]": ["0", "3"], "IN": ["5"], "DA": ["5"]}),
        ("cps", 5, {"ptr[1]": ["0", "4"], "IN": ["~5", "set15"], "DA": ["4"]}),
        ("cps", 9, {"ptr[1]": ["4", "8"], "IN": ["~15", "set7"], "DA": ["6"]}),
        ("cps", 11, {"ptr[1]": ["4", "8"], "IN": ["19"], "DA": ["14"]}),
        ("cscc", 9, {"ptr": ["9", "20"], "IN": ["0"], "DA": ["1"]}),
        ("zvc", 6, {"DA": ["7"]}),
        ("im2col", 9, {"DA": ["1"]}),
        ("mec", 3, {"DA": ["3"]}),
    ],
)
def test_place_in_the_arrays_is_highlighted(open_bench, method, entry, expected):
    bench = open_bench()
    bench.show(worked_example(), method=method)
    bench.go(entry)
    assert bench.current() == expected


def test_arrays_of_the_worked_example_are_shown_whole(open_bench):
    bench = open_bench(width=1300)
    bench.show(worked_example())
    rows = bench.page.evaluate(
        "[...document.querySelectorAll('#first .arrays tr')].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    assert rows[:3] == [["ptr[0]", "0", "2", "2", "4"], ["ptr[1]", "0", "4", "8", "8"], ["ptr[2]", "0", "3", "3", "3"]]
    assert rows[4] == ["IN", "3", "9", "11", "14", "1", "4", "7", "10", "2", "5", "8", "14", "5", "11", "14"]
    assert rows[5] == ["DA", "3", "9", "12", "15", "1", "4", "7", "10", "2", "6", "8", "14", "5", "11", "13"]


def test_mask_word_of_zvc_is_shown_with_its_bit(open_bench):
    bench = open_bench()
    bench.show(worked_example(), method="zvc")
    bench.go(6)
    assert "word 0 = 0x01cba9ea" in bench.text(".arrays")
    assert "bit 11 of mask word 0" in bench.text(".read")
    marked = bench.page.evaluate("[...document.querySelectorAll('#first .bits span')].map((s) => s.className)")
    assert marked.index("hot") == 11
    assert marked.count("hot") == 1


def test_formats_that_copy_an_element_feed_one_output_column_at_a_time(open_bench):
    bench = open_bench()
    bench.show(worked_example(), method="cscc")
    bench.go(3)
    assert bench.sums() == example_terms(1, 2, owner=0)
    bench.show(worked_example(), method="mec")
    bench.go(5)
    assert bench.sums() == example_terms(1, 2, owner=0)
    bench.show(worked_example(), method="im2col")
    bench.go(5)
    assert bench.sums() == ["O[0][0] += 5 x 6"]
    assert "for O[0][0] alone" in bench.text(".read")


@pytest.mark.parametrize("method", encodings.METHODS)
@pytest.mark.parametrize(
    "geometry",
    [
        {"padding": 1},
        {"stride": 2, "padding": 1},
        {"stride": (2, 3), "kernel": (3, 2)},
        {"kernel": (5, 4), "padding": (2, 1)},
        {"kernel": (1, 1)},
        {"kernel": (1, 7), "padding": (0, 3)},
        {"padding": 1, "groups": 3},
        {"dilation": 2, "padding": 2},
        {"dilation": (1, 2), "stride": (1, 2)},
    ],
)
def test_replay_of_random_maps_equals_the_dense_convolution(open_bench, method, geometry):
    layer = random_layer(**geometry)
    if method not in ("im2col", "zvc") and max(layer.dilation) > 1:
        with pytest.raises(ValueError, match="not defined for dilation"):
            kernel_messages(layer, method=method)
        return
    bench = open_bench()
    bench.show(layer, method=method, channel=1)
    content, buffers = next(m for m in kernel_messages(layer, method=method, channel=1) if m[0]["kind"] == "frame")
    found = bench.page.evaluate(
        """([f, buffers]) => {
          const kinds = { int16: Int16Array, int32: Int32Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
          const arrays = Object.fromEntries(f.sizes.map(([name, , type], i) =>
            [name, new kinds[type](Uint8Array.from(buffers[i + 1]).buffer)]));
          const stream = module.entries(f, arrays);
          return Array.from(module.replay(f, stream, new Float64Array(f.outputs[0] * f.outputs[1]), 0, stream.n - 1)); }""",
        [content, buffers],
    )
    step = layer.weight.shape[1]
    kernel = layer.weight[content["filter"], 1 % step][None, None]
    dense = F.conv2d(layer.input[:, 1:2], kernel, None, layer.stride, layer.padding, layer.dilation)
    assert found == dense.flatten().tolist()


def test_fed_outputs_and_the_taps_used_are_marked(bench):
    orange = np.array([0xE6, 0x9F, 0x00])
    areas = []
    for entry in (0, 12):  # types 0 and 2
        bench.go(entry)
        areas.append(int((bench.pixels()[..., :3] == orange).all(-1).sum()))
    assert areas[1] > 2.5 * areas[0] > 0


def test_keys_step_through_the_entries(bench):
    bench.canvas.focus()
    for name, expected in {
        "ArrowRight": 1,
        "ArrowDown": 2,
        "ArrowLeft": 1,
        "End": 14,
        "ArrowUp": 13,
        "Home": 0,
    }.items():
        bench.page.keyboard.press(name)
        assert bench.get("entry") == expected


def test_ends_of_the_replay_stop_it(bench):
    assert bench.button("Previous").is_disabled()
    assert bench.button("First").is_disabled()
    bench.canvas.focus()
    bench.page.keyboard.press("ArrowLeft")
    assert bench.get("entry") == 0
    bench.button("Last").click()
    bench.page.wait_for_function("model.get('entry') === 14")
    bench.canvas.focus()
    bench.page.keyboard.press("ArrowRight")
    assert bench.get("entry") == 14


def test_play_goes_to_the_end_by_itself_and_is_not_read_out(bench):
    bench.go(12)
    bench.button("Play").click()
    read = bench.page.locator("#first .read")
    assert read.get_attribute("aria-live") == "off"
    bench.page.wait_for_function("model.get('entry') === 14")
    bench.page.wait_for_function("document.querySelector('#first .read').getAttribute('aria-live') === 'polite'")
    assert bench.output() == OUTPUT


def test_space_plays_and_pauses(bench):
    bench.canvas.focus()
    bench.page.keyboard.press(" ")
    bench.page.wait_for_function("model.get('entry') > 0")
    assert "Pause" in bench.text(".steps")
    bench.page.keyboard.press(" ")
    bench.settle()
    assert "Pause" not in bench.text(".steps")


def test_plain_keys_do_not_reach_the_notebook_but_shortcuts_do(bench):
    bench.page.evaluate("window.leaked = []; document.addEventListener('keydown', (e) => leaked.push(e.key))")
    bench.canvas.focus()
    for name in ("d", "Enter", "ArrowDown", "Control+s"):
        bench.page.keyboard.press(name)
    assert bench.page.evaluate("leaked") == ["Control", "s"]


def test_click_on_an_element_goes_to_its_entry(bench):
    bench.go(8)
    top, left, size = bench.cells()
    dots = bench.page.evaluate("window.devicePixelRatio")
    bench.canvas.click(position={"x": (left + 2.5 * size) / dots, "y": (top + 3.5 * size) / dots})
    assert bench.get("entry") == CPO_PLACES.index((3, 2))


def test_keys_and_clicks_lead_from_the_mosaic_to_a_channel_and_back(open_bench):
    bench = open_bench()
    bench.show(random_layer())
    bench.wait_for_level("mosaic")
    assert "3 channels" in bench.canvas.get_attribute("aria-label")
    bench.canvas.focus()
    bench.page.keyboard.press("ArrowRight")
    bench.page.keyboard.press("Enter")
    assert bench.get("channel") == 1
    bench.show(random_layer(), channel=1)
    assert bench.canvas.get_attribute("data-level") == "entries"
    bench.page.keyboard.press("PageDown")
    assert bench.get("channel") == 2
    bench.page.keyboard.press("Escape")
    assert bench.get("channel") == -1
    bench.show(random_layer())
    bench.canvas.click()
    assert bench.get("channel") in (0, 1, 2)


def test_mosaic_shows_each_channel_in_the_colours_of_its_columns(open_bench):
    bench = open_bench()
    layer = random_layer(c=2, size=40)
    layer.input[0, 1] = 0
    bench.show(layer)
    pixels = bench.pixels()[..., :3]
    shares = [(pixels[:, half] == np.array(LIGHT[2])).all(-1).mean() for half in (slice(None, pixels.shape[1] // 2), slice(pixels.shape[1] // 2, None))]  # fmt: skip
    assert shares[0] > 0.1
    assert shares[1] == 0  # the second channel is all zero


def test_all_zero_channel_says_that_there_is_nothing_to_step_through(open_bench):
    bench = open_bench()
    layer = random_layer()
    layer.input[0, 1] = 0
    bench.show(layer, channel=1)
    assert bench.text(".count") == "no entries: the channel is all zero"
    assert bench.button("Play").is_disabled()
    bench.canvas.focus()
    bench.page.keyboard.press("ArrowRight")
    assert bench.text(".arrays") == ""


def test_controls_carry_their_names_and_set_their_traits(bench):
    bench.page.get_by_label("Method", exact=True).select_option("cps")
    assert bench.get("method") == "cps"
    bench.show(random_layer())
    bench.page.get_by_label("Channel", exact=True).select_option("2")
    assert bench.get("channel") == 2
    slider = bench.page.get_by_label("Epsilon", exact=True)
    slider.focus()
    bench.page.keyboard.press("End")
    bench.page.wait_for_function("model.get('epsilon') > 7")
    bench.page.keyboard.press("Home")
    bench.page.wait_for_function("model.get('epsilon') === 0")


def test_epsilon_sends_the_last_value_of_a_drag(bench):
    values = bench.page.evaluate(
        """() => { const slider = document.querySelector("#first input"); const seen = [];
        model.on("change:epsilon", () => seen.push(model.get("epsilon")));
        for (let v = 1; v <= 9; v++) { slider.value = v; slider.dispatchEvent(new Event("input", { bubbles: true })); }
        slider.dispatchEvent(new Event("change", { bubbles: true }));
        return seen; }"""
    )
    assert values == [1, 9]


def test_epsilon_takes_elements_off_the_map_and_out_of_the_arrays(bench):
    bench.show(worked_example(), epsilon=5.0)
    assert "10 of 25 elements" in bench.canvas.get_attribute("aria-label")
    assert "entry 1 of 10" in bench.text(".count")
    assert bench.text("output") == "5"


def test_bytes_and_times_are_shown_and_pale_while_another_epsilon_is_on_screen(bench):
    bench.show(worked_example(), times=True)
    assert "139 B" in bench.text(".figures")
    bench.page.wait_for_function("document.querySelector('#first .times').textContent.includes('encode')")
    assert bench.page.locator("#first .figures").get_attribute("class") == "figures"
    content, buffers = next(m for m in kernel_messages(worked_example(), epsilon=5.0) if m[0]["kind"] == "frame")
    bench.send({**content, "seq": 99}, buffers)
    bench.wait_for_frame(3)
    assert bench.page.locator("#first .figures").get_attribute("class") == "figures old"
    assert "Times are measured when nothing moves." in bench.text(".times")


def test_padding_is_hatched(open_bench):
    bench = open_bench()
    layer = worked_example()
    empty = torch.zeros(1, 1, 5, 5)
    strokes = []
    for padding in (0, 1):
        bench.show(ConvLayer(f"padding {padding}", layer.weight, layer.bias, empty, padding=padding))
        pixels = bench.pixels().astype(int)
        cells = (pixels[..., :3] == np.array(LIGHT[3])).all(-1)
        rows, columns = cells.nonzero()
        left = pixels[rows.min() : rows.max(), columns.min() : columns.min() + 30]  # within the first column of the map
        strokes.append(int((abs(left[..., :3] - np.array(LIGHT[3])).sum(-1) > 60).mean() * 100))
    assert strokes[1] > strokes[0] + 8  # per cent


def test_large_map_is_enlarged_until_digits_can_be_read_and_follows_the_entry(open_bench):
    bench = open_bench()
    bench.show(random_layer(c=1, size=120, padding=1), channel=0)
    bench.wait_for_level("channel")
    bench.button("Zoom in").click()
    bench.wait_for_level("entries")
    bench.canvas.focus()
    bench.page.keyboard.press("End")
    bench.settle()
    pixels = bench.pixels()[..., :3]
    ring = (pixels == 255).all(-1) & (np.roll(pixels, 3, 1) == 0).all(-1)
    assert ring.any()
    bench.page.keyboard.press("Escape")
    bench.wait_for_level("channel")


def test_error_is_an_alert_and_goes_away(bench):
    text = "cpo is not defined for dilation (2, 2), layer 'conv': choose im2col or zvc"
    bench.set("error", text)
    alert = bench.page.get_by_role("alert")
    assert alert.inner_text() == text
    bench.set("error", "")
    assert not alert.is_visible()


def test_long_computation_shows_that_it_is_busy_until_the_frame_comes(bench):
    bench.page.evaluate("model.emit('msg:custom', { kind: 'busy' }, [])")
    bench.page.wait_for_function("document.querySelector('#first .busy').textContent.includes('computing')")
    bench.show(worked_example(), method="cps")
    assert bench.text(".busy") == ""


def test_picture_follows_the_theme_of_the_page_and_of_jupyterlab(bench):
    assert bench.has(LIGHT[2])
    bench.page.emulate_media(color_scheme="dark")
    bench.wait_for_colour(DARK[2])
    assert not bench.has(LIGHT[2])
    bench.page.evaluate(
        """document.body.style.setProperty("--jp-layout-color0", "white"); document.body.dataset.jpThemeLight = "true" """
    )
    bench.wait_for_colour(LIGHT[2])
    assert bench.frames() == 1


def test_two_views_of_one_model_stand_at_the_same_entry(bench):
    bench.page.evaluate("void module.default.render({ model, el: document.querySelector('#second') })")
    assert len(bench.sent("ready")) == 2
    bench.show(worked_example(), method="cps")
    bench.wait_for_frame(1, "#second")
    bench.button("Last").click()
    for where in ("#first", "#second"):
        bench.page.wait_for_function(f"document.querySelector('{where} .count').textContent === 'entry 15 of 15'")


def test_view_out_of_sight_confirms_nothing_until_it_is_seen(open_bench):
    bench = open_bench()
    bench.page.evaluate("document.querySelector('#first').style.display = 'none'")
    bench.show(worked_example(), wait=False)
    bench.settle()
    assert bench.sent("drawn") == []
    bench.page.evaluate("document.querySelector('#first').style.display = ''")
    bench.wait_for_frame(1)
    assert len(bench.sent("drawn")) == 1


@pytest.mark.parametrize("width", [420, 800, 1000, 1800])
def test_everything_fits_the_width_and_nothing_jumps(open_bench, width):
    bench = open_bench(width=width)
    bench.show(random_layer(c=8, size=32, padding=1), times=True)
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= width
    canvas = bench.canvas.bounding_box()
    below = bench.page.locator("#first .help").bounding_box()["y"]
    bench.show(random_layer(c=8, size=32, padding=1), channel=3, times=True)
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= width
    assert bench.canvas.bounding_box() == canvas
    for entry in (1, 50, 400):
        bench.go(entry)
        assert bench.page.locator("#first .help").bounding_box()["y"] == pytest.approx(below, abs=1)


def test_cleanup_takes_everything_off_the_page_and_the_model(bench):
    bench.page.evaluate("stop()")
    assert bench.page.evaluate("model.listeners()") == 0
    assert bench.page.locator("#first *").count() == 0
    bench.page.evaluate("model.emit('msg:custom', { kind: 'busy' }, []); model.set('entry', 3)")
