"""The epsilon view's module in a bare page: messages of a real view, played by hand, real pixels, real keys."""

import numpy as np
import pytest
import torch

from seerlab.drfmp.rule import Rule
from seerlab.engine.epsilon_maps import slider_epsilon
from seerlab.widgets.epsilon_view import EpsilonView
from tests.browser import bench as bare_page
from tests.engine.test_epsilon_study import make_model, make_pictures
from tests.widgets.played import Played

pytestmark = pytest.mark.browser

STAGE = "#first .stage"
LIGHT = {"zero": (0xD5, 0xD8, 0xDD), "added": (0xFB, 0xE3, 0xB8)}
DARK = {"zero": (0x3C, 0x42, 0x4B)}
NEAR = 24  # of 255: a faded map still shines through
ZERO_MAP = [0, 1]  # of `make_model`


class PlayedView(Played, EpsilonView):
    pass


class Bench(bare_page.Bench):
    """The page, and a real view in Python whose messages are carried over by hand."""

    def __init__(self, page):
        super().__init__(page)
        self.canvas = page.locator(f"{STAGE} canvas")
        self.slider = page.get_by_label("Epsilon", exact=True)
        self.carried = 0
        self.view = PlayedView(make_model(), make_pictures(), categories=("cat", "dog", "bird", "frog"))
        self.view.settle()
        self.view.say(kind="ready")

    def frames(self, where=STAGE):
        return super().frames(where)

    def pixels(self, where=STAGE):
        return super().pixels(where)

    def near(self, colour):
        """Dots of the maps that are almost of a colour."""
        return int((abs(self.pixels()[..., :3].astype(int) - colour).max(-1) < NEAR).sum())

    def carry(self):
        """Bring what the Python view has sent, and confirm it there once it is drawn."""
        new, self.carried = self.view.sent[self.carried :], len(self.view.sent)
        drawn = len(self.sent("drawn"))
        for content, buffers in new:
            self.send(content, buffers)
        if any(content["kind"] == "frame" for content, _ in new):
            # First looks are drawn too; only what the kernel sent is confirmed.
            self.page.wait_for_function("(n) => model.sent.filter((m) => m.kind === 'drawn').length > n", arg=drawn)
            self.view.say(**self.sent("drawn")[-1])

    def follow(self):
        """Give the Python view the traits of the page, and bring the frame that results."""
        for name in ("mode", "picture", "selected", "epsilon"):
            setattr(self.view, name, self.get(name))
        self.view.settle()
        self.carry()

    def move(self, epsilon):
        self.view.epsilon = epsilon
        self.set("epsilon", epsilon)
        self.view.settle()
        self.carry()

    def wait_until_faded(self):
        self.page.wait_for_function(f"document.querySelector('{STAGE} canvas').dataset.fading === 'false'")

    def place(self, layer, column):
        """Place on the page of a map in the first line of a layer: where its row is, and how wide its maps are."""
        box = self.canvas.bounding_box()
        row = box["height"] / 3
        return box["x"], box["y"] + (layer + 0.5) * row, column, row


@pytest.fixture
def open_bench(page):
    opened = []

    class Kept(Bench):
        def __init__(self, page):
            super().__init__(page)
            opened.append(self)

    state = {"epsilon": 0.0, "mode": "v1", "picture": 0, "selected": [], "title": "made"}
    yield from bare_page.benches(page, EpsilonView, state, Kept, width=1100)
    for bench in opened:
        bench.view.close()


@pytest.fixture
def bench(open_bench):
    """A light page on which the first frame is drawn."""
    bench = open_bench()
    bench.carry()
    return bench


def test_the_tally_of_a_narrow_row_keeps_its_number(bench):
    bench.page.evaluate(bare_page.RECORD_TEXTS)
    bench.page.set_viewport_size({"width": 340, "height": 900})
    bench.page.wait_for_function("() => window.texts.some(({ text }) => /\\d of \\d+$/.test(text))")
    texts = [put["text"] for put in bench.page.evaluate("() => window.texts")]
    assert not [text for text in texts if text.endswith("pruned") and not text[0].isdigit()]


def test_ready_is_asked_and_the_drawn_frame_confirmed(bench):
    assert len(bench.sent("ready")) == 1
    assert [m["seq"] for m in bench.sent("drawn")] == [1]
    assert bench.frames() == 1


def test_controls_have_names_of_their_own(bench):
    assert bench.page.get_by_role("slider", name="Epsilon", exact=True).count() == 1
    assert bench.page.get_by_label("Epsilon").count() == 1
    assert bench.page.get_by_label("Mode", exact=True).count() == 1
    assert bench.page.get_by_label("Picture", exact=True).input_value() == "0"


def test_slider_sends_the_epsilon_of_its_position(bench):
    end = bench.view._lab_study.base(0, "v1").epsilon_max
    bench.slider.focus()
    for key, position in (("End", 1.0), ("Home", 0.0), ("ArrowRight", 1 / 200), ("PageUp", 21 / 200)):
        bench.slider.press(key)
        bench.page.wait_for_function("(v) => model.get('epsilon') === v", arg=slider_epsilon(position, end))


def test_counts_on_the_page_are_those_of_the_run(bench):
    bench.slider.focus()
    for key in ("PageUp", "PageUp", "PageUp", "End"):
        before = bench.get("epsilon")
        bench.slider.press(key)
        bench.page.wait_for_function("(v) => model.get('epsilon') !== v", arg=before)
        bench.follow()
        figures = bench.view.figures
        assert figures["epsilon"] == bench.get("epsilon")
        assert bench.text(".count .big") == f"{figures['pruned_maps']} of {figures['maps']}"
        assert f"{figures['zero_maps']} zero anyway + {figures['added_maps']} by ε" in bench.text(".count")
        assert bench.text(".loads .big").startswith(f"{100 * figures['reduced_share']:.1f} %")
        legend = bench.page.locator(".legend td:last-child").all_inner_texts()
        kept = figures["maps"] - figures["pruned_maps"] - figures["revived_maps"]
        assert legend == [str(kept), *(str(figures[f"{name}_maps"]) for name in ("added", "zero", "revived"))]
        assert f"{figures['pruned_maps']} of {figures['maps']} maps pruned" in bench.label()
    assert figures["pruned_maps"] > 9


def test_table_tells_every_layer(bench):
    bench.move(1.0)
    bench.page.locator("summary").click()
    rows = [row.split("\t") for row in bench.page.locator(".table tbody").inner_text().splitlines()]
    outcome = bench.view._lab_study.run(0, "v1", 1.0)
    base = bench.view._lab_study.base(0, "v1")
    for row, place, start in zip(rows, base.places, base.offsets, strict=False):
        inside = slice(start, start + place.maps)
        zero, pruned = base.zero[inside], outcome.pruned[inside]
        assert row[:5] == [place.name, *(str(n) for n in (place.maps, (zero & pruned).sum(), (pruned & ~zero).sum(), (zero & ~pruned).sum()))]  # fmt: skip


def test_maps_within_epsilon_fade(bench):
    bench.wait_until_faded()
    before = bench.near(LIGHT["added"])
    bench.move(1.0)
    bench.wait_until_faded()
    faded = bench.near(LIGHT["added"])
    assert before == 0
    assert faded > 1000
    bench.move(0.0)
    bench.wait_until_faded()
    assert bench.near(LIGHT["added"]) == 0


def test_fading_takes_time_unless_the_reader_wants_no_motion(open_bench):
    bench = open_bench()
    watch = """(where) => { const c = document.querySelector(where + " canvas"); window.fadings = 0;
      new MutationObserver((all) => { for (const m of all) fadings += c.dataset.fading === "true"; }).observe(c, { attributes: true, attributeFilter: ["data-fading"] }); }"""
    bench.carry()
    bench.page.evaluate(watch, STAGE)
    bench.move(1.0)
    bench.wait_until_faded()
    assert bench.page.evaluate("fadings") > 0
    bench.page.emulate_media(reduced_motion="reduce")
    bench.page.evaluate("fadings = 0")
    bench.move(0.0)
    assert bench.page.evaluate("fadings") == 0
    assert bench.near(LIGHT["added"]) == 0


def test_map_that_is_zero_anyway_has_a_colour_of_its_own(bench):
    assert bench.colour_counts(LIGHT, STAGE)["zero"] > 500


def test_dark_page_has_dark_colours(open_bench):
    bench = open_bench("dark")
    bench.carry()
    assert bench.colour_counts(DARK, STAGE)["zero"] > 500
    assert bench.colour_counts(LIGHT, STAGE) == {"zero": 0, "added": 0}
    assert "Brighter" in bench.text(".help")


def test_theme_can_change_while_the_view_is_open(bench):
    bench.page.emulate_media(color_scheme="dark")
    bench.wait_for_colours([DARK["zero"]], [LIGHT["zero"]], STAGE)


def test_arrow_keys_and_enter_open_a_map_and_escape_closes_it(bench):
    bench.canvas.focus()
    for key in ("ArrowRight", "PageDown", "ArrowRight", "ArrowRight", "Enter"):
        bench.canvas.press(key)
    assert bench.get("selected") == [1, 2]
    bench.follow()
    shown = bench.view.frames()[-1][0]["map"]
    assert bench.page.locator(".open").is_visible()
    bench.wait_for_text(".read", f"{shown['within']} of 144 values within ±0")
    assert "2, map 2: " in bench.label()
    bench.canvas.press("ArrowLeft")
    assert bench.get("selected") == [1, 1]
    bench.canvas.press("Escape")
    assert bench.get("selected") == []
    bench.follow()
    assert not bench.page.locator(".open").is_visible()


def test_arrows_go_from_layer_to_layer_and_stop_at_the_ends(bench):
    bench.canvas.focus()
    for key in ("ArrowUp", "ArrowLeft", *["ArrowDown"] * 9, "PageDown", "Enter"):
        bench.canvas.press(key)
    assert bench.get("selected")[0] == 2


def test_click_opens_the_map_under_the_pointer(bench):
    zero = np.argwhere((bench.pixels()[..., :3] == LIGHT["zero"]).all(-1) & (np.arange(bench.pixels().shape[1]) < 700))
    row, column = zero[len(zero) // 2]
    bench.canvas.click(position={"x": int(column), "y": int(row)})
    assert bench.get("selected") == ZERO_MAP
    bench.follow()
    bench.canvas.blur()
    bench.page.mouse.move(5, 5)
    bench.wait_for_text(".read", "144 of 144")
    assert "All must be: pruned" in bench.text(".read")


def test_pointing_at_a_map_tells_its_layers_traffic(bench):
    bench.canvas.hover(position={"x": 150, "y": 60})
    bench.wait_for_text(".read", "Its input maps not loaded")


def test_number_box_sets_epsilon_and_what_is_impossible_shows_as_an_alert(bench):
    box = bench.page.get_by_label("Exact value")
    box.fill("0.75")
    box.press("Enter")
    assert bench.get("epsilon") == 0.75
    bench.follow()
    assert bench.view.figures["epsilon"] == 0.75
    box.fill("-1")
    box.press("Enter")
    bench.view.epsilon = bench.get("epsilon")
    bench.set("error", bench.view.error)
    assert "epsilon=-1" in bench.page.get_by_role("alert").inner_text()


def test_mode_and_picture_are_chosen_from_lists(bench):
    bench.page.get_by_label("Mode").select_option("v2")
    bench.follow()
    assert "maps judged at their inputs" in bench.text(".title")
    assert "even at ε 0" in bench.text(".count")
    bench.page.get_by_label("Picture").select_option("1")
    bench.follow()
    assert (bench.view.figures["mode"], bench.view.figures["picture"]) == ("v2", 1)
    assert bench.page.get_by_label("Picture").input_value() == "1"


def test_frame_whose_maps_are_not_known_is_asked_for_again(open_bench):
    bench = open_bench()
    content, buffers = bench.view.sent[0]
    bench.send({key: value for key, value in content.items() if key != "base"}, buffers[-1:])
    assert len(bench.sent("ready")) == 2
    assert bench.frames() == 0


def test_changed_class_is_marked(bench):
    content, buffers = bench.view.frames()[-1]
    assert "✓ same class" in bench.text(".answer")
    figures = {**content["figures"], "class_changed": True}
    after = {"name": "<b>frog", "probability": 0.5, "index": 3}
    bench.send({**content, "seq": 9, "figures": figures, "after": after}, buffers)
    bench.wait_for_text(".answer", "✗ class changed")
    bench.wait_for_text(".answer", "<b>frog")  # as text, not as a mark


def test_sentences_of_the_run_are_shown(bench):
    content, buffers = bench.view.frames()[-1]
    bench.send({**content, "seq": 9, "notes": ["Not monotone in 2: 0 maps here, 1 at epsilon 0."]}, buffers)
    bench.wait_for_text(".notes", "Not monotone in 2")


def test_curve_follows_and_is_told_in_words(bench):
    curve = bench.page.locator("canvas.curve")
    assert curve.get_attribute("aria-label") == "Curve over the slider, not computed yet"
    bench.view.settle(measured=True)
    bench.carry()
    bench.page.wait_for_function(
        "document.querySelector('canvas.curve').getAttribute('aria-label').startsWith('Share of values in pruned maps: ')"
    )


def test_accuracy_is_shown_for_the_epsilon_it_was_measured_at(bench):
    message = {"kind": "accuracy", "layer": 1, "picture": 0, "mode": "v1", "epsilon": 0.0}
    assert not bench.page.locator(".accuracy").is_visible()
    bench.send({**message, "pending": True})
    bench.wait_for_text(".accuracy", "measuring")
    ends = {f"top1_{name}{end}": 0.5 for name in ("before", "after") for end in ("_low", "_high")}
    bench.send({**message, "accuracy_images": 200, "top1_before": 0.9, "top1_after": 0.85, **ends})
    bench.wait_for_text(".accuracy", "85.0 %")
    assert "200 images" in bench.text(".accuracy")
    bench.move(0.5)
    bench.wait_for_text(".accuracy", "measured when nothing moves")


def test_narrow_page_keeps_every_part(open_bench):
    bench = open_bench(width=480)
    bench.carry()
    assert bench.page.locator(".narrow").count() == 1
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= 480
    assert bench.near(LIGHT["zero"]) > 50


def test_view_leaves_nothing_behind(bench):
    bench.page.evaluate("stop()")
    assert bench.page.evaluate("model.listeners()") == 0
    assert bench.page.locator("#first > *").count() == 0


def data(bench, name):
    return bench.canvas.get_attribute(f"data-{name}")


def test_first_look_shows_the_maps_within_epsilon_before_any_run(bench):
    base = bench.view._lab_study.base(0, "v1")
    for epsilon in (base.epsilon_max / 3, base.epsilon_max):
        before = bench.frames()
        bench.set("epsilon", epsilon)
        bench.wait_for_frame(before + 1, STAGE)
        assert (data(bench, "run"), float(data(bench, "epsilon"))) == ("false", epsilon)
        within = int((base.sizes <= np.float32(epsilon)).sum())
        assert f"{within} of 18 maps pruned" in bench.label()
        assert "first look" in bench.label()
        assert bench.text(".count .big") == f"{within} of 18"
    bench.wait_for_text(".answer", "running the network")
    assert "First look" in bench.text(".notes")
    bench.move(epsilon)
    assert (data(bench, "run"), float(data(bench, "epsilon"))) == ("true", epsilon)
    assert "First look" not in bench.text(".notes")
    assert bench.text(".count .big") == f"{bench.view.figures['pruned_maps']} of 18"


@pytest.mark.parametrize("mode", ["v1", "v2"])
def test_first_look_follows_the_rule_of_the_kernel(bench, mode):
    sizes = np.array(
        [0, 1e-6, 0.1, np.nextafter(np.float32(0.1), 1, dtype=np.float32), 0.100001, 3, np.inf], np.float32
    )
    for epsilon in (0.0, 1e-6, 0.1, 0.099999, 1e9):
        rule = Rule(epsilon, mode)
        expected = rule.within(torch.from_numpy(sizes)).tolist()
        found = bench.page.evaluate(
            "([sizes, epsilon, mode]) => sizes.map((s) => module.within(Math.fround(s ?? Infinity), epsilon, mode))",
            [[None if np.isinf(s) else float(s) for s in sizes], epsilon, mode],
        )
        assert found == expected


def test_a_run_at_an_epsilon_that_was_left_is_not_shown(bench):
    bench.view.epsilon = 0.4
    bench.view.settle()
    bench.set("epsilon", 0.9)
    bench.carry()
    assert (data(bench, "run"), data(bench, "epsilon")) == ("false", "0.9")
    assert "0.9" in bench.label()


def test_a_slider_that_is_let_go_goes_back_to_a_run_that_is_there(bench):
    label = bench.label()
    bench.set("epsilon", 0.5)
    bench.set("epsilon", 0.0)
    bench.page.wait_for_function(f"document.querySelector('{STAGE} canvas').dataset.run === 'true'")
    bench.settle()
    assert bench.label() == label
