"""The network view's module in a bare page: a fake model, real frames of the kernel, real pixels and keys."""

import numpy as np
import pytest
import torch
from torch import nn

from seerlab.engine.network_study import NetworkStudy
from seerlab.widgets.network_strip import NetworkStrip
from tests.browser import bench as bare_page
from tests.widgets.played import Played

pytestmark = pytest.mark.browser

LIGHT = {
    "needed": (0x00, 0x72, 0xB2),
    "idle": (0xDF, 0xE4, 0xEA),
    "missed": (0xD5, 0x5E, 0x00),
    "other": (0xE6, 0x9F, 0x00),
}
DARK = {
    "needed": (0x2A, 0x8F, 0xD0),
    "idle": (0x39, 0x40, 0x4A),
    "missed": (0xFF, 0x7A, 0x1F),
    "other": (0xF0, 0xB4, 0x29),
}
GUTTER, HEAD, FOOT = 58, 32, 98  # CSS pixels beside, above and below the columns


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.fire = nn.ModuleDict(
            {"squeeze": nn.Conv2d(8, 4, 1), "wide": nn.Conv2d(4, 8, 1), "far": nn.Conv2d(4, 8, 3, padding=1)}
        )
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x):
        x = self.fire["squeeze"](self.stem(x).relu()).relu()
        x = torch.cat([self.fire["wide"](x).relu(), self.fire["far"](x).relu()], 1)
        return self.last(x)


class PlayedStrip(Played, NetworkStrip):
    """A strip whose messages are kept for the page."""


def content(study, **setting):
    """What the kernel sends of a network once everything is known."""
    strip = PlayedStrip(study, **setting)
    strip.settle()
    strip.say(kind="ready")
    strip.close()
    return strip.frames()[-1][0]


@pytest.fixture(scope="module")
def frame():
    torch.manual_seed(5)
    study = NetworkStudy.of(Small().eval(), torch.randn(1, 3, 24, 24), "<i>Small</i>")
    return content(study)


class Bench(bare_page.Bench):
    """A page that shows frames of a network."""

    def show(self, frame, **changes):
        before = self.frames()
        self.send({**frame, **changes})
        self.wait_for_frame(before + 1)

    def columns(self, frame):
        """Left edge and width of each column, in CSS pixels."""
        room = self.canvas.bounding_box()["width"] - GUTTER - 4
        macs = [layer["macs"] for layer in frame["layers"]]
        places = self.page.evaluate("([macs, room]) => module.columns(macs, room)", [macs, room])
        return [(GUTTER + x, width) for x, width in places]

    def middle(self, frame, name, y=100):
        index = [layer["name"] for layer in frame["layers"]].index(name)
        x, width = self.columns(frame)[index]
        return {"x": x + width / 2, "y": y}


@pytest.fixture
def open_bench(page):
    yield from bare_page.benches(page, NetworkStrip, {"measure": "sparsity", "selected": ""}, Bench)


@pytest.fixture
def bench(open_bench, frame):
    bench = open_bench()
    bench.show(frame)
    return bench


def test_new_view_asks_for_a_frame_and_confirms_what_it_drew(bench):
    assert bench.sent("ready") == [{"kind": "ready"}]
    assert [message["seq"] for message in bench.sent("drawn")] == [1]


@pytest.mark.parametrize("count", [1, 3, 57, 120, 900])
def test_columns_fill_the_room_and_are_wider_the_more_work_a_layer_is(bench, count):
    generator = np.random.default_rng(count)
    macs = generator.integers(1, 10**9, count).tolist()
    places = np.array(bench.page.evaluate("([macs, room]) => module.columns(macs, room)", [macs, 1000]))
    left, width = places.T
    assert np.allclose(left[1:], (left + width)[:-1])
    assert left[0] == 0
    assert (left + width)[-1] == pytest.approx(1000)
    order = np.argsort(macs)
    assert (np.diff(width[order]) >= -1e-9).all()
    assert width.min() >= min(4, 1000 / count) - 1e-9


@pytest.mark.parametrize(("value", "above"), [(0.01, 0.01), (0.013, 0.02), (0.3, 0.5), (1, 1), (7e6, 1e7)])
def test_scales_end_at_round_numbers(bench, value, above):
    assert bench.page.evaluate("(v) => module.niceAbove(v)", value) == pytest.approx(above)


@pytest.mark.parametrize(("scheme", "palette"), [("light", LIGHT), ("dark", DARK)])
def test_column_is_filled_by_the_share_of_outputs_that_are_needed(open_bench, frame, scheme, palette):
    bench = open_bench(scheme)
    bench.show(frame)
    pixels = bench.pixels()[..., :3]
    middle = round(bench.middle(frame, "fire.far")["x"])
    strip = pixels[HEAD:-FOOT, middle]
    needed, idle, missed = ((strip == np.array(palette[name])).all(-1).sum() for name in ("needed", "idle", "missed"))
    layer = next(layer for layer in frame["layers"] if layer["name"] == "fire.far")
    assert needed + idle + missed == len(strip)
    assert needed + missed == round((1 - layer["sparsity"]) * len(strip))
    assert missed == max(2, round(layer["seernet"][0] * len(strip)))  # seen wherever there is one false negative
    assert layer["seernet"][0] > 0


def test_each_measure_draws_its_own_and_says_its_name(bench, frame):
    pictures = {}
    for measure in ("sparsity", "predictability", "traffic", "time"):
        bench.set("measure", measure)
        bench.settle()
        pictures[measure] = bench.pixels().tobytes()
        assert f"Measure: {measure.capitalize()}" in bench.label()
    assert len(set(pictures.values())) == 4


def test_measure_is_chosen_by_its_accessible_name(bench):
    bench.page.get_by_label("Measure", exact=True).select_option(label="Traffic")
    assert bench.get("measure") == "traffic"
    bench.settle()
    assert "weights" in bench.text(".legend")


def test_arrow_keys_move_over_the_layers_and_enter_opens(bench):
    bench.canvas.focus()
    assert "Layer 1 of 5: stem" in bench.label()
    for pressed, name in (
        ("ArrowRight", "fire.squeeze"), ("End", "last"), ("ArrowRight", "last"), ("PageUp", "fire.squeeze"), ("PageUp", "stem"),
        ("PageDown", "fire.squeeze"), ("ArrowRight", "fire.wide"), ("ArrowLeft", "fire.squeeze"), ("Home", "stem"),
    ):  # fmt: skip
        bench.page.keyboard.press(pressed)
        bench.settle()
        assert f": {name}, " in bench.label()
        assert bench.text(".read b") == name
    bench.page.keyboard.press("End")
    bench.page.keyboard.press("Enter")
    assert bench.sent("open") == [{"kind": "open", "layer": "last"}]


def test_click_opens_the_layer_under_it(bench, frame):
    bench.canvas.click(position=bench.middle(frame, "fire.far"))
    assert bench.sent("open") == [{"kind": "open", "layer": "fire.far"}]
    bench.canvas.click(position={"x": 10, "y": 100})  # beside the columns
    assert len(bench.sent("open")) == 1


def test_pointing_at_a_column_reads_it_out_and_leaving_returns(bench, frame):
    bench.canvas.hover(position=bench.middle(frame, "fire.wide"))
    bench.wait_for_text(".read", "fire.wide")
    bench.page.mouse.move(2, 2)
    bench.wait_for_text(".read", "stem")


def test_selected_layer_is_marked_and_becomes_the_keyboards(bench):
    before = bench.pixels()
    bench.set("selected", "fire.wide")
    bench.settle()
    assert "fire.wide" in bench.label()
    assert (bench.pixels() != before).any()


def test_readout_says_what_is_needed_dropped_moved_and_best(bench, frame):
    bench.set("selected", "fire.far")
    bench.settle()
    layer = next(layer for layer in frame["layers"] if layer["name"] == "fire.far")
    text = bench.text(".read")
    assert layer["choice"]["reason"] in text
    assert f"{100 * (1 - layer['sparsity']):.1f} %" in text
    assert "0 of 4" in text or "of 4" in text
    bench.set("selected", "last")
    bench.settle()
    assert layer["refusals"] == {}
    assert "all: nothing discards them" in bench.text(".read")


def test_layer_that_is_not_worked_out_yet_is_a_dashed_frame(open_bench, frame):
    bench = open_bench()
    unknown = {"known": False, "choice": None, "sparsity": None, "seernet": None, "spl": None, "refusals": {}}
    bench.show(frame, layers=[{**layer, **unknown} for layer in frame["layers"]])
    assert bench.colour_counts(LIGHT)["needed"] == 0
    assert "0 of 5 layers" in bench.text(".facts")
    assert "not worked out yet" in bench.label()
    bench.show(frame, seq=2)
    assert bench.colour_counts(LIGHT)["needed"] > 0
    assert "5 layers" in bench.text(".facts")


def test_measured_times_fill_their_badges_and_an_estimate_is_a_frame(bench, frame):
    bench.set("measure", "time")
    bench.settle()
    hollow = bench.colour_counts(LIGHT)["needed"]
    choice = {
        "way": "seernet",
        "measured": True,
        "ratios": {"dense": 1, "seernet": 0.5},
        "reason": "SeerNet is twice as fast.",
    }
    bench.show(frame, seq=2, measured=5, layers=[{**layer, "choice": choice} for layer in frame["layers"]])
    assert bench.colour_counts(LIGHT)["needed"] > 4 * hollow
    assert "SeerNet is twice as fast." in bench.text(".read")


def test_table_holds_a_row_per_layer_once_it_is_opened(bench):
    assert bench.page.locator("#first .rows tr").count() == 0
    bench.page.get_by_text("All layers as a table").click()
    bench.page.wait_for_function("document.querySelectorAll('#first .rows tr').length === 6")
    assert bench.page.locator("#first .rows tbody th").all_inner_texts() == [
        "stem",
        "fire.squeeze",
        "fire.wide",
        "fire.far",
        "last",
    ]


def test_names_are_text_and_not_markup(bench):
    assert bench.text(".title") == "<i>Small</i>"
    assert bench.page.locator("#first .title i").count() == 0


def test_error_is_an_alert_and_the_strip_stays(bench):
    bench.set("error", "no layer 'x'; choose 'stem'")
    assert bench.page.locator("#first").get_by_role("alert").inner_text() == "no layer 'x'; choose 'stem'"
    bench.set("error", "")
    assert bench.page.locator("#first [role=alert]").is_hidden()


def test_120_layers_can_be_told_apart_and_reached(open_bench, frame):
    bench = open_bench()
    layers = [
        {**frame["layers"][i % 5], "name": f"block{i // 10}.{i}", "block": f"block{i // 10}", "branch": i}
        for i in range(120)
    ]
    bench.show(frame, layers=layers)
    widths = [width for _, width in bench.columns({"layers": layers})]
    assert min(widths) >= 3
    bench.canvas.click(position=bench.middle({"layers": layers}, "block11.118"))
    assert bench.sent("open")[0]["layer"] == "block11.118"


def test_another_network_starts_at_its_first_layer(bench, frame):
    bench.canvas.focus()
    bench.page.keyboard.press("End")
    bench.show(frame, seq=2, layer=2, layers=frame["layers"][:2])
    assert "Layer 1 of 2" in bench.label()


def test_removed_view_leaves_no_listener(bench):
    bench.page.evaluate("stop()")
    assert bench.page.evaluate("model.listeners()") == 0
    assert bench.page.locator("#first canvas").count() == 0
