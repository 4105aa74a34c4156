"""The granularity view's module in a bare page: a fake model, messages of the real view, real pixels and keys."""

import itertools
import math

import numpy as np
import pytest
import torch

from seerlab.layers import RELU, ConvLayer
from seerlab.regularity.grains import grains_of
from seerlab.regularity.granularity import prune
from seerlab.widgets.granularity_view import GranularityView
from tests.browser import bench as bare_page
from tests.widgets.played import Played

pytestmark = pytest.mark.browser

STRONGEST = {"light": ((0x00, 0x5C, 0x9E), (0xBE, 0x4A, 0x00)), "dark": ((0x63, 0xB8, 0xFF), (0xFF, 0x9A, 0x52))}
GRANULARITIES = ("fine", "vector", "kernel", "filter", "2:4", "block")
# Kernel rows of the worked example that stay at half: filter, channel, row.
KEPT_ROWS = {(0, 0, 2), (0, 1, 1), (0, 1, 2), (1, 0, 0), (1, 0, 1), (1, 1, 2)}


class PlayedView(Played, GranularityView):
    pass


def worked_example():
    k, c, r, s = np.ogrid[:2, :2, :3, :3]
    weight = torch.from_numpy((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5).float()
    c, y, x = np.ogrid[:2, :4, :4]
    activations = torch.from_numpy(np.maximum(0, (3 * c + 5 * y + 7 * x) % 9 - 4)).float()
    return ConvLayer("worked example", weight, torch.tensor([1.0, -2.0]), activations[None], padding=1, steps=(RELU,))


class Bench(bare_page.Bench):
    seq = 0

    def show(self, subject, granularity="vector", sparsity=0.5, *, layer=1, wait=True):
        """Bring what the kernel would send of a weight, and answer what the view asks about it."""
        view = PlayedView(subject, granularity=granularity, sparsity=sparsity)
        view.settle()
        view.say(kind="ready")
        self.set("granularity", granularity)
        self.set("sparsity", sparsity)
        before = self.frames()
        for content, buffers in view.sent:
            self.seq += content["kind"] == "frame"
            self.send({**content, "layer": layer, **({"seq": self.seq} if content["kind"] == "frame" else {})}, buffers)
        if wait:
            self.wait_for_frame(before + 1)
        self.view = view

    def answer(self):
        """Answer the newest question as the kernel would; its number."""
        question = self.sent("probe")[-1]
        told = len(self.view.sent)
        self.view.say(**question)
        self.view.settle()
        for content, buffers in self.view.sent[told:]:
            self.send(content, buffers)
        self.settle()
        return question["number"]

    def press(self, *keys):
        self.canvas.focus()
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def grain(self):
        """Number of the grain that is told about."""
        return int(self.text(".read b").removeprefix("Grain ").replace(",", ""))

    def last_strong(self):
        """Row and column, in dots, of the last of the weights in one of the two strongest colours."""
        found = self.pixels()[..., :3]
        strong = np.any([(found == np.array(colour)).all(-1) for colour in STRONGEST["light"]], axis=0)
        rows, columns = strong.nonzero()
        return rows.max(), columns.max()


@pytest.fixture
def open_bench(page):
    yield from bare_page.benches(page, GranularityView, {"granularity": "vector", "sparsity": 0.5}, Bench)


@pytest.fixture
def bench(open_bench):
    """A light page on which the worked example is drawn."""
    bench = open_bench()
    bench.show(worked_example())
    return bench


def test_grain_of_every_weight_and_weights_of_every_grain_are_those_of_the_kernel(open_bench):
    bench = open_bench()
    for granularity, shape in itertools.product(
        GRANULARITIES, [(6, 4, 3, 3), (5, 7, 2, 3), (4, 4, 1, 1), (9, 6, 5, 5)]
    ):
        cut = grains_of(shape, granularity)
        owner = cut.spread(torch.arange(math.prod(cut.grid)).view(cut.grid)).numpy()
        view = PlayedView(torch.randn(shape), granularity=granularity)
        view.settle()
        view.say(kind="ready")
        grain = view.frames()[0][0]["grain"]
        view.close()
        found, boxes = bench.page.evaluate(
            """([shape, grain, count]) => { const out = []; const [K, C, R, S] = shape;
            for (let k = 0; k < K; k++) for (let c = 0; c < C; c++) for (let r = 0; r < R; r++) for (let s = 0; s < S; s++) out.push(module.grainAt(shape, grain, k, c, r, s));
            return [out, Array.from({ length: count }, (_, n) => module.grainBox(shape, grain, n))]; }""",
            [shape, grain, math.prod(cut.grid)],
        )
        assert found == owner.ravel().tolist()
        for number, (k, c, r, s, nk, nc, nr, ns) in enumerate(boxes):
            inside = owner[k : k + nk, c : c + nc, r : r + nr, s : s + ns]
            assert (inside == number).all()
            assert inside.size == (owner == number).sum()


def test_kept_weights_are_coloured_by_sign_and_pruned_ones_recede(bench):
    pixels = bench.pixels()[..., :3].astype(int)
    blue, orange = ((pixels == np.array(colour)).all(-1).sum() for colour in STRONGEST["light"])
    # Of the kept weights three are 5 and two are -5, of 18 that remain; all cells are of one size.
    assert blue > 0
    assert orange > 0
    bench.show(worked_example(), "filter", 1.0)
    pixels = bench.pixels()[..., :3].astype(int)
    for colour in STRONGEST["light"]:
        assert not (pixels == np.array(colour)).all(-1).any()


def test_more_sparsity_leaves_less_colour(open_bench):
    bench = open_bench()
    weight = torch.randn(12, 12, 3, 3)
    amounts = []
    for sparsity in (0.1, 0.5, 0.9):
        bench.show(weight, "kernel", sparsity)
        pixels = bench.pixels()[..., :3].astype(int)
        amounts.append(int((np.ptp(pixels, axis=-1) > 60).sum()))
    assert amounts[0] > 1.3 * amounts[1] > 1.3 * 1.3 * amounts[2] > 0


def test_label_tells_the_weight_the_mask_and_the_grain(bench):
    bench.answer()
    label = bench.label()
    assert "Weights of worked example, 2 filters of 2 kernels, 3 × 3; vector, 6 of 12 grains kept" in label
    assert "grain 0: filter 0, channel 0, row 0; pruned; salience 9" in label


def test_arrow_keys_walk_from_grain_to_grain(bench):
    seen = []
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft", "Home"):
        bench.press(key)
        seen.append(bench.grain())
    # Rows of a kernel are numbers 0, 1, 2; then the kernel of the next filter (6 further), the next channel (3 further).
    assert seen == [1, 2, 6, 9, 5, 2, 2, 0]


def test_single_weights_are_walked_one_by_one_across_kernels(open_bench):
    bench = open_bench()
    bench.show(worked_example(), "fine")
    bench.press(*["ArrowRight"] * 4)
    assert bench.grain() == 9 + 1  # second column of the next kernel
    bench.press("ArrowDown")
    assert bench.grain() == 9 + 3 + 1


@pytest.fixture
def patient(open_bench):
    """The same in a page whose clock stands still: no answer is ever late, however busy the machine."""
    bench = open_bench()
    bench.page.evaluate("performance.now = () => 0")
    bench.show(worked_example())
    return bench


def test_answer_shows_salience_and_weights_of_the_grain(patient):
    bench = patient
    bench.press("ArrowDown", "ArrowDown")
    assert bench.answer() == 0  # asked about before the keys
    assert bench.answer() == 2
    text = bench.text(".read")
    assert "Grain 2 of 12" in text
    assert "kept" in text
    assert "filter 0, channel 0, row 2" in text
    assert text.split()[-3:] == ["1", "3", "5"]


def test_only_one_question_is_under_way_and_then_the_newest(patient):
    bench = patient
    bench.press("ArrowDown", "ArrowDown", "ArrowDown")
    assert [question["number"] for question in bench.sent("probe")] == [0]
    bench.answer()
    bench.settle()
    assert [question["number"] for question in bench.sent("probe")] == [0, 6]


def test_lost_answer_does_not_block_the_next_question(patient):
    patient.press("ArrowDown")
    assert [question["number"] for question in patient.sent("probe")] == [0]
    patient.page.evaluate("performance.now = () => 1e6")
    patient.press("ArrowDown")
    assert [question["number"] for question in patient.sent("probe")] == [0, 2]


def test_pointer_tells_the_grain_below_it(bench):
    bottom, right = bench.last_strong()
    dots = bench.page.evaluate("window.devicePixelRatio")
    bench.canvas.hover(position={"x": (right - 2) / dots, "y": (bottom - 2) / dots})
    bench.settle()
    assert bench.grain() == 11  # the last row has the -5 at its end
    assert "kept" in bench.text(".read")


def test_zoom_keeps_the_grain_in_sight_and_escape_shows_the_whole_weight(open_bench):
    bench = open_bench()
    bench.show(torch.randn(96, 64, 3, 3))
    whole = "filters 0–95 of 96, channels 0–63 of 64"
    assert bench.text(".place") != whole
    bench.press("Escape")
    assert bench.text(".place") == whole
    assert bench.button("Whole weight").is_disabled()
    for _ in range(6):
        bench.press("+")
    assert bench.text(".place").startswith("filters 0–")
    bench.press(*["ArrowDown"] * 3 * 40)
    assert bench.grain() == 40 * 64 * 3
    first, last = bench.text(".place").split(" of ")[0].removeprefix("filters ").split("–")
    assert int(first) <= 40 <= int(last)
    bench.button("Zoom out").click()
    bench.settle()
    bench.button("Whole weight").click()
    bench.settle()
    assert bench.text(".place") == whole


def test_pages_turn_to_other_filters_and_dragging_moves_the_picture(open_bench):
    bench = open_bench()
    bench.show(torch.randn(200, 64, 3, 3))
    bench.press("PageDown")
    place = bench.text(".place")
    assert not place.startswith("filters 0")
    bench.press("PageUp")
    box = bench.canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    bench.page.mouse.move(x, y)
    bench.page.mouse.down()
    bench.page.mouse.move(x, y - 100, steps=4)
    bench.page.mouse.up()
    bench.settle()
    assert not bench.text(".place").startswith("filters 0–")


def test_weight_too_large_for_a_dot_each_is_drawn_as_means(open_bench):
    bench = open_bench()
    bench.show(torch.randn(512, 300, 3, 3), "filter")
    bench.press("Escape")
    assert bench.text(".place").startswith("filters 0–511 of 512, channels 0–299 of 300")
    pixels = bench.pixels()
    assert (pixels[..., 3] > 0).mean() > 0.2


def test_controls_carry_their_names_and_set_their_traits(bench):
    bench.page.get_by_label("Granularity", exact=True).select_option("2:4")
    assert bench.get("granularity") == "2:4"
    bench.page.get_by_label("Sparsity", exact=True).focus()
    bench.page.keyboard.press("End")
    bench.page.wait_for_function("model.get('sparsity') === 1")
    bench.page.keyboard.press("Home")
    bench.page.wait_for_function("model.get('sparsity') === 0")


def test_sparsity_rests_where_the_pattern_fixes_it(open_bench):
    bench = open_bench()
    bench.show(torch.randn(8, 8, 3, 3), "2:4", 0.9)
    assert bench.page.get_by_label("Sparsity", exact=True).is_disabled()
    assert bench.text("output") == "fixed: 50 %"
    bench.show(torch.randn(8, 8, 3, 3), "fine", 0.9)
    assert bench.page.get_by_label("Sparsity", exact=True).is_enabled()
    assert bench.text("output") == "90 %"


def test_sparsity_sends_the_last_value_of_a_drag(bench):
    values = bench.page.evaluate(
        """() => { const slider = document.querySelector("#first input"); const seen = [];
        model.on("change:sparsity", () => seen.push(model.get("sparsity")));
        for (let v = 1; v <= 9; v++) { slider.value = v / 10; slider.dispatchEvent(new Event("input", { bubbles: true })); }
        slider.dispatchEvent(new Event("change", { bubbles: true }));
        return seen; }"""
    )
    assert values == [0.1, 0.9]


def test_tables_and_the_sentence_are_pale_while_another_sparsity_is_on_screen(bench):
    assert "73.3 %" in bench.text(".figures")  # 66 references of 90
    assert "Kernel rows" in bench.text(".cost")
    assert bench.page.locator("#first .figures").get_attribute("class") == "figures"
    view = PlayedView(worked_example(), sparsity=0.25)
    view.settle()
    view.say(kind="ready")
    content, buffers = view.frames()[0]
    bench.send({**content, "seq": 99}, buffers)
    bench.wait_for_frame(2)
    assert "old" in bench.page.locator("#first .figures").get_attribute("class")


def test_frame_of_a_layer_whose_weights_are_missing_is_asked_for_again(bench):
    content, buffers = bench.view.frames()[0]
    before = len(bench.sent("ready"))
    bench.send({**content, "seq": 50, "layer": 9, "weights": False}, buffers[:1])
    assert len(bench.sent("ready")) == before + 1
    assert bench.frames() == 1


def test_values_are_written_into_large_cells(open_bench):
    bench = open_bench()
    bench.show(worked_example(), "fine", 0.0)
    pixels = bench.pixels()[..., :3].astype(int)
    white = (pixels == 255).all(-1)
    blue = (pixels == np.array(STRONGEST["light"][0])).all(-1)
    rows, columns = blue.nonzero()
    inside = white[rows.min() : rows.max(), columns.min() : columns.max()]
    assert inside.any()  # digits on the strong colours


def test_error_is_an_alert_and_goes_away(bench):
    bench.set("error", "unknown granularity 'row'; choose one of 'fine', 'vector'")
    alert = bench.page.get_by_role("alert")
    assert alert.inner_text().startswith("unknown granularity")
    bench.set("error", "")
    assert not alert.is_visible()


def test_plain_keys_do_not_reach_the_notebook_but_shortcuts_do(bench):
    bench.page.evaluate("window.leaked = []; document.addEventListener('keydown', (e) => leaked.push(e.key))")
    bench.press("d", "Enter", "ArrowDown", "Control+s")
    assert bench.page.evaluate("leaked") == ["Control", "s"]


def test_picture_follows_the_theme_of_the_page(bench):
    bench.wait_for_colours(STRONGEST["light"], STRONGEST["dark"])
    bench.page.emulate_media(color_scheme="dark")
    bench.wait_for_colours(STRONGEST["dark"], STRONGEST["light"])


def test_two_views_of_one_model_each_draw_their_own(bench):
    bench.page.evaluate("void module.default.render({ model, el: document.querySelector('#second') })")
    assert len(bench.sent("ready")) == 2
    bench.show(worked_example(), "kernel")
    bench.wait_for_frame(1, "#second")
    for where in ("#first", "#second"):
        assert bench.page.locator(f"{where} select").input_value() == "kernel"


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
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 32, 8, 8, generator=generator).relu()
    layer = ConvLayer("features.24", torch.randn(32, 32, 3, 3, generator=generator), torch.zeros(32), x, padding=1)
    bench.show(layer)
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= width
    canvas = bench.canvas.bounding_box()
    bench.show(layer, "filter", 0.95)
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= width
    assert bench.canvas.bounding_box() == canvas


def test_cleanup_takes_everything_off_the_page_and_the_model(bench):
    bench.page.evaluate("stop()")
    assert bench.page.evaluate("model.listeners()") == 0
    assert bench.page.locator("#first *").count() == 0
    bench.page.evaluate("model.emit('msg:custom', { kind: 'busy' }, []); model.set('granularity', 'fine')")


def test_kept_rows_of_the_worked_example_are_told_as_kept(bench):
    kept = prune(worked_example().weight, "vector", 0.5).kept
    assert {tuple(place) for place in kept.nonzero().tolist()} == KEPT_ROWS
    states = []
    for _ in range(3):
        states.append("kept" in bench.text(".read p:first-child"))
        bench.press("ArrowDown")
    assert states == [(0, 0, row) in KEPT_ROWS for row in range(3)]
