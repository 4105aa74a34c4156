"""The predictor view's module in a bare page: a fake model, real pixels, real keys."""

import pytest

from seerlab.widgets.predictor_view import PredictorView
from tests.browser import bench as bare_page

pytestmark = pytest.mark.browser

LIGHT = {"seernet": (0x00, 0x72, 0xB2), "spl": (0xD5, 0x5E, 0x00)}
DARK = {"seernet": (0x66, 0xBD, 0xF0), "spl": (0xFF, 0x8A, 0x3D)}


def point(method, setting, misses, work, *, time=None):
    return {
        "method": method, "setting": setting, "false_negatives": int(1000 * misses), "false_positives": 20,
        "false_negative_share": misses, "false_positive_share": 0.02, "recall": 0.9, "density": 0.5, "predictor_work": work,
        "exact_work": 0.5, "total_work": work + 0.5, "reduction": 0.5 - work, "predict_ms": time, "dense_ms": time and 10.0,
        "work": work, "time": time and time / 10,
    }  # fmt: skip


def curves(*, time=None):
    """Few bits and few weights, as far as they are known."""
    return {
        "seernet": [point("seernet", b, 0.2 / 2**b, b / 32, time=time and time * b) for b in (1, 2, 4, 8)],
        "spl": [point("spl", p, 0.05 * p, 1 - p, time=time) for p in (0.05, 0.5, 0.8, 0.95)],
    }


def content(*, bits=4, prune_ratio=0.8, cost="work", points=None, finished=True, reasons=None):
    points = curves() if points is None else points
    settings = {"seernet": bits, "spl": prune_ratio}
    return {
        "layer": 1, "bits": bits, "prune_ratio": prune_ratio, "cost": cost, "points": points, "finished": finished,
        "sentence": "SeerNet dominates <here>.", "level": 0.04, "compared": {"seernet": 4, "spl": 0.8}, "heading": "features.7",
        "shape": [96, 16, 16], "reasons": reasons or {}, "busy": False,
        "chosen": {m: p for m, known in points.items() for p in known if p["setting"] == settings[m]},
    }  # fmt: skip


class Bench(bare_page.Bench):
    def show(self, seq, **changes):
        before = self.frames()
        self.send({"kind": "frame", "seq": seq, **content(**changes)})
        self.wait_for_frame(before + 1)

    def slider(self, name):
        return self.page.locator("#first").get_by_role("slider", name=name, exact=True)

    def wait_for_trait(self, name, value):
        self.page.wait_for_function("([n, v]) => model.get(n) === v", arg=[name, value])

    def marks(self, method, palette=LIGHT):
        """Dots of a method's colour."""
        return self.colour_counts(palette)[method]


@pytest.fixture
def open_bench(page):
    state = {"bits": 4, "prune_ratio": 0.8, "cost": "work"}
    yield from bare_page.benches(page, PredictorView, state, Bench)


@pytest.fixture
def bench(open_bench):
    """A light page on which one frame is drawn."""
    bench = open_bench()
    bench.show(1)
    return bench


def test_frame_is_drawn_in_both_colours_and_confirmed(bench):
    assert bench.sent("ready") == [{"kind": "ready"}]
    assert bench.sent("drawn")[0]["seq"] == 1
    assert bench.marks("seernet") > 300
    assert bench.marks("spl") > 300


def test_dark_page_gets_its_own_colours(open_bench):
    bench = open_bench("dark")
    bench.show(1)
    counts = bench.colour_counts(DARK)
    assert min(counts.values()) > 300
    assert not bench.has(LIGHT["seernet"])


def test_figures_and_sentence_stand_beside_the_chart_as_text(bench):
    assert bench.text(".sentence") == "SeerNet dominates <here>."
    table = bench.text(".figures")
    assert "false negatives" in table
    assert "1.3 %" in table  # SeerNet: 0.2 / 2^4
    assert "4.0 %" in table  # SPL: 0.05 * 0.8
    assert "70.0 %" in table  # predictor + exact
    assert bench.text(".title").startswith("features.7")


def test_label_says_what_is_chosen_and_how_much_is_known(bench):
    label = bench.label()
    assert "layer features.7" in label
    assert "SeerNet with 4 bits misses 1.3 %" in label
    assert "SPL with prune ratio 0.8 misses 4.0 %" in label
    assert "4 points of SeerNet and 4 points of SPL" in label
    assert "more to come" not in label


def test_curves_that_arrive_later_are_drawn_without_a_new_frame(open_bench):
    bench = open_bench()
    few = {m: [p for p in known if p["setting"] in (4, 0.8)] for m, known in curves().items()}
    bench.show(1, points=few, finished=False)
    assert "Curves are filling in" in bench.text(".sentence")
    assert "more to come" in bench.label()
    before = bench.marks("spl")
    bench.send({"kind": "curves", **content()})
    bench.page.wait_for_function("!document.querySelector('#first .sentence').textContent.includes('filling')")
    assert bench.marks("spl") > before
    assert bench.frames() == 1


def test_curves_of_another_layer_or_setting_leave_the_sentence_alone(bench):
    bench.send({"kind": "curves", **content(), "layer": 2, "points": {"seernet": [], "spl": []}})
    bench.send({"kind": "curves", **content(), "bits": 7, "sentence": "of another setting"})
    bench.settle()
    assert bench.text(".sentence") == "SeerNet dominates <here>."
    assert "4 points of SPL" in bench.label()


def test_sliders_have_their_names_and_move_by_keyboard(bench):
    bench.slider("Bits").press("ArrowRight")
    bench.wait_for_trait("bits", 5)
    bench.slider("Prune ratio").press("ArrowLeft")
    bench.wait_for_trait("prune_ratio", 0.75)
    assert bench.slider("Prune ratio").get_attribute("aria-valuetext") == "prune ratio 0.75"


def test_arrow_keys_on_the_chart_move_both_settings_within_their_range(bench):
    bench.canvas.focus()
    bench.page.keyboard.press("ArrowUp")
    bench.wait_for_trait("bits", 5)
    bench.page.keyboard.press("ArrowRight")
    bench.wait_for_trait("prune_ratio", 0.85)
    for _ in range(9):
        bench.page.keyboard.press("ArrowDown")
    bench.wait_for_trait("bits", 1)
    for _ in range(9):
        bench.page.keyboard.press("ArrowRight")
    bench.wait_for_trait("prune_ratio", 0.95)


def test_traits_set_elsewhere_move_the_sliders(bench):
    bench.set("bits", 7)
    bench.set("prune_ratio", 0.35)
    assert bench.slider("Bits").input_value() == "7"
    assert bench.slider("Prune ratio").input_value() == "0.35"
    assert "0.35" in bench.text("label[data-method=spl]")


def test_a_click_on_a_point_chooses_it(bench):
    pixels = bench.pixels()
    rows, columns = (pixels[..., :3] == LIGHT["spl"]).all(-1).nonzero()
    lowest = rows.argmax()  # the smallest prune ratio misses least
    dots = bench.page.evaluate("window.devicePixelRatio")
    bench.canvas.click(position={"x": columns[lowest] / dots, "y": (rows[lowest] - 3) / dots})
    bench.wait_for_trait("prune_ratio", 0.05)


def test_pointing_at_a_point_shows_its_figures(bench):
    before = (bench.pixels()[..., :3] == (0x21, 0x21, 0x21)).all(-1).sum()
    rows, columns = (bench.pixels()[..., :3] == LIGHT["spl"]).all(-1).nonzero()
    lowest = rows.argmax()
    dots = bench.page.evaluate("window.devicePixelRatio")
    bench.canvas.hover(position={"x": columns[lowest] / dots, "y": (rows[lowest] - 3) / dots})
    bench.settle()
    assert (bench.pixels()[..., :3] == (0x21, 0x21, 0x21)).all(-1).sum() > before + 5000


def test_measured_time_is_asked_for_by_a_radio_button_and_drawn(bench):
    bench.page.get_by_role("radio", name="Measured time", exact=True).check()
    assert bench.get("cost") == "time"
    bench.show(2, cost="time", points=curves(time=2.0))
    assert bench.marks("seernet") > 300
    assert "8.00 ms" in bench.text(".figures")
    assert "SPL\u2019s time is the better of two" in bench.text(".notes")


def test_points_without_a_time_are_left_out_and_nothing_breaks(bench):
    half = curves(time=2.0)
    half["seernet"] = curves()["seernet"]
    bench.show(2, cost="time", points=half)
    assert bench.marks("seernet") == 0
    assert bench.marks("spl") > 300


def test_points_that_miss_nothing_stand_on_a_line_of_their_own(bench):
    points = curves()
    points["seernet"][-1] = point("seernet", 8, 0.0, 0.25)
    bench.show(2, points=points)
    assert bench.marks("seernet") > 300


def test_a_method_that_cannot_treat_the_layer_says_why_and_its_slider_rests(bench):
    bench.show(2, points={"spl": curves()["spl"]}, reasons={"seernet": "silu follows"})
    assert "SeerNet cannot treat this layer: silu follows." in bench.text(".notes")
    assert bench.slider("Bits").is_disabled()
    assert bench.slider("Prune ratio").is_enabled()
    assert bench.marks("seernet") == 0


def test_narrow_page_puts_the_figures_below_the_chart(open_bench):
    bench = open_bench(width=420)
    bench.show(1)
    chart, table = bench.canvas.bounding_box(), bench.page.locator("#first .figures").bounding_box()
    assert table["y"] >= chart["y"] + chart["height"]
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= 420


def test_errors_are_an_alert_and_go_again(bench):
    bench.set("error", "bits=9 is not possible")
    assert bench.page.get_by_role("alert").inner_text() == "bits=9 is not possible"
    bench.set("error", "")
    assert not bench.page.get_by_role("alert").is_visible()


def test_a_view_that_is_taken_away_leaves_nothing_behind(bench):
    bench.slider("Bits").press("ArrowRight")
    bench.page.evaluate("stop()")
    assert bench.page.evaluate("model.listeners()") == 0
    assert bench.page.locator("#first .seer").count() == 0
