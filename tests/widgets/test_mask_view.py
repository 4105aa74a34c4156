import base64
import io
import threading
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from seerlab import seernet
from seerlab.engine.mask_code import blocks
from seerlab.engine.study import LayerStudy
from seerlab.layers import RELU, Activation, ConvLayer, MaxPool
from seerlab.widgets.mask_view import MaskView
from tests.widgets.played import Played, hold_worker


def make_layer(name="features.3", k=6, size=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 4, size, size, generator=generator).relu()
    weight, bias = torch.randn(k, 4, 3, 3, generator=generator), torch.randn(k, generator=generator)
    return ConvLayer(name, weight, bias, x, padding=1, steps=(RELU,))


class PlayedView(Played, MaskView):
    """A mask view whose browser is played by the test."""


@pytest.fixture
def layer():
    return make_layer()


@pytest.fixture
def view(layer):
    view = PlayedView(layer)
    view.settle()
    yield view
    view.close()


def test_nothing_is_sent_before_a_view_is_ready(view):
    view.bits = 3
    view.settle()
    assert view.sent == []


def test_ready_view_gets_the_latest_frame_with_the_truth(view, layer):
    view.say(kind="ready")
    [(frame, buffers)] = view.sent
    prediction = seernet.predict(layer, 4)
    told, truth = (np.frombuffer(zlib.decompress(packed, -zlib.MAX_WBITS), np.uint8) for packed in buffers)
    assert np.array_equal(truth, blocks(prediction.truth[0].numpy()).reshape(-1))
    mask = told ^ truth if frame["against_truth"] else told
    assert np.array_equal(mask, blocks(prediction.mask[0].numpy()).reshape(-1))
    assert (frame["kind"], frame["seq"], frame["heading"], frame["shape"]) == ("frame", 1, "features.3", [6, 9, 9])
    assert (frame["bits"], frame["margin"], frame["truth"], frame["busy"]) == (4, 0, True, False)
    assert frame["counts"] == view.counts
    assert frame["counts"]["false_skips"] == prediction.false_negatives
    assert frame["counts"]["wasted"] == prediction.false_positives
    assert sum(frame["channels"]["false_skips"]) == prediction.false_negatives


def test_change_of_bits_sends_the_predicted_mask_alone(view):
    view.say(kind="ready")
    view.bits = 3
    view.settle()
    frame, buffers = view.sent[-1]
    assert (frame["bits"], frame["truth"], len(buffers)) == (3, False, 1)
    assert len(zlib.decompress(buffers[0], -zlib.MAX_WBITS)) == 6 * 5 * 3  # blocks of 2 x 4 outputs


def test_change_of_layer_sends_its_truth_and_keeps_bits_and_margin(view):
    view.bits, view.margin = 3, 2
    view.channel, view.probe = 5, [1, 1]
    view.settle()
    view.say(kind="ready")
    other = make_layer("features.6", k=3, seed=1)
    view.show(other)
    view.settle()
    frame, buffers = view.sent[-1]
    assert (frame["heading"], frame["bits"], frame["margin"], frame["truth"], len(buffers)) == (
        "features.6",
        3,
        2,
        True,
        2,
    )
    assert view.layer is other
    assert view.figures["layer"] == "features.6"
    assert (view.channel, view.probe) == (-1, [])  # channel 5 does not exist there


def test_at_most_two_frames_are_unconfirmed_and_behind_them_only_the_newest_waits(view):
    view.say(kind="ready")
    for bits in (1, 2, 3, 5, 6):
        view.bits = bits
        view.settle()
    assert [frame["bits"] for frame in view.of_kind("frame")] == [4, 1]
    view.say(kind="drawn", seq=1, ms=5.0)
    assert [frame["bits"] for frame in view.of_kind("frame")] == [4, 1, 6]
    stats = view.get_stats()
    assert (stats["frames_sent"], stats["frames_confirmed"], stats["frames_dropped"], stats["frames_underway"]) == (
        3,
        1,
        3,
        2,
    )
    assert stats["draw_ms"] == 5.0


def test_confirmation_of_a_newer_frame_stands_for_the_older_ones(view):
    view.say(kind="ready")
    view.bits = 3
    view.settle()
    view.say(kind="drawn", seq=2, ms=1.0)
    stats = view.get_stats()
    assert (stats["frames_confirmed"], stats["frames_underway"]) == (2, 0)
    view.say(kind="drawn", seq=1, ms=1.0)  # late, from another view
    assert view.get_stats()["frames_confirmed"] == 2


def test_view_that_never_confirms_does_not_block_the_next_one(view):
    view.say(kind="ready")
    for bits in (1, 2, 3):
        view.bits = bits
        view.settle()
    assert len(view.of_kind("frame")) == 2
    view.say(kind="ready")
    frame, buffers = view.sent[-1]
    assert (frame["bits"], frame["truth"], len(buffers)) == (3, True, 2)


def test_latest_slider_value_wins(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.bits = 1
    assert started.wait(60)
    for bits in (2, 3, 5, 6, 7):
        view.bits = bits
    gate.set()
    view.settle()
    assert [frame["bits"] for frame in view.of_kind("frame")] == [4, 1]
    view.say(kind="drawn", seq=2, ms=1.0)
    assert view.of_kind("frame")[-1]["bits"] == 7
    assert view.get_stats()["dropped"] == 4
    assert view.figures["bits"] == 7


def test_views_are_told_that_a_frame_is_being_computed(view):
    view.say(kind="ready")
    view.bits = 3
    assert view.of_kind("busy") == [{"kind": "busy"}]


def test_slider_call_backs_of_another_thread_end_with_the_last_value(view):
    view.say(kind="ready")

    def drag():
        for bits in (1, 2, 3, 5, 6, 7, 8):
            view.bits = bits

    thread = threading.Thread(target=drag)
    thread.start()
    thread.join()
    view.settle()
    assert view.figures["bits"] == 8
    assert view.counts["false_skips"] == view.figures["false_negatives"]


def test_frame_of_a_layer_that_was_replaced_meanwhile_is_not_shown(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.bits = 3
    assert started.wait(60)
    view.show(make_layer("features.6", seed=1))
    gate.set()
    view.settle()
    assert [frame["heading"] for frame in view.of_kind("frame")] == ["features.3", "features.6"]


def test_figures_can_be_observed(view):
    seen = []
    view.observe(lambda change: seen.append((change.new["bits"], change.new["mask_bytes"])), names="figures")
    view.bits = 2
    view.settle()
    assert seen == [(2, -(-6 * 9 * 9 // 8))]


def test_compute_needs_no_view(layer):
    view = MaskView(layer)
    figures = view.compute(3, margin=2)
    expected = seernet.predict(layer, 3, margin=2).summary()
    assert {name: figures[name] for name in expected} == expected
    assert (view.bits, view.margin, view.figures) == (3, 2, figures)
    assert view.compute() == figures
    view.close()


@pytest.mark.parametrize("bits", [0, 9])
def test_compute_raises_for_bits_out_of_range(view, bits):
    with pytest.raises(ValueError, match="choose a whole number from 1 to 8"):
        view.compute(bits)
    assert view.bits == 4


def test_compute_raises_what_the_worker_met(view, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(LayerStudy, "counts", fail)
        with pytest.raises(MemoryError, match="no room"):
            view.compute(3)
        assert view.error == "MemoryError: no room"
    assert view.compute(3)["bits"] == 3
    assert view.error == ""


@pytest.mark.parametrize(
    ("trait", "value", "text"),
    [
        ("bits", 0, "bits=0"),
        ("bits", 9, "bits=9"),
        ("margin", -1, "margin=-1"),
        ("channel", 6, "channel=6"),
        ("channel", -2, "channel=-2"),
    ],
)
def test_value_out_of_range_becomes_text_and_the_view_lives_on(view, trait, value, text):
    view.say(kind="ready")
    good = getattr(view, trait)
    setattr(view, trait, value)
    assert text in view.error
    assert "choose" in view.error
    setattr(view, trait, good)
    assert view.error == ""
    view.bits = 3
    view.settle()
    assert (view.error, view.figures["bits"]) == ("", 3)


@pytest.mark.parametrize(
    ("steps", "value", "text"),
    [
        ((RELU,), float("nan"), "NaN"),
        ((Activation("silu", F.silu),), 0.0, "silu follows"),
        ((), 0.0, "needs a ReLU or a max-pool"),
    ],
)
def test_layer_that_cannot_be_shown_becomes_text_and_the_picture_stays(view, layer, steps, value, text):
    bad = make_layer("features.9")
    bad.input[0, 0, 0, 0] = value
    bad = ConvLayer(bad.name, bad.weight, bad.bias, bad.input, padding=1, steps=steps)
    before = view.counts
    view.show(bad)
    view.settle()
    assert text in view.error
    assert view.layer is layer
    assert view.counts == before
    view.show(layer)
    view.settle()
    assert view.error == ""


@pytest.mark.parametrize(
    "arguments",
    [
        {"bits": 9},
        {"bits": 0},
        {"margin": -1},
        {"channel": 6},
        {"mode": "both"},
        {"zoom": "in"},
        {"probe": (9, 0)},
        {"probe": (1,)},
    ],
)
def test_constructor_raises_for_values_out_of_range(layer, arguments):
    with pytest.raises(ValueError, match="choose"):
        MaskView(layer, **arguments)


def test_constructor_raises_for_input_that_is_not_finite(layer):
    layer.input[0, 1, 2, 3] = float("nan")
    with pytest.raises(ValueError, match="1 NaN or infinite values"):
        MaskView(layer)


def test_unknown_keyword_is_refused_with_the_valid_ones(layer):
    with pytest.raises(
        TypeError, match=r"MaskView\(\) does not take 'bit'; did you mean 'bits'\? \(it takes .*'margin'"
    ):
        MaskView(layer, bit=4)


def test_probe_is_answered_with_its_label_and_sums(view, layer):
    view.say(kind="probe", id="a-1", channel=2, row=3, column=4)
    view.settle()
    [answer] = view.of_kind("probe")
    expected = seernet.predict(layer, 4)
    assert answer["id"] == "a-1"
    assert answer["low_bit_sum"] == int(expected.low_bit_sums[0, 2, 3, 4])
    assert answer["sum"] == float(layer.pre_activation[0, 2, 3, 4])


def test_probe_beside_the_layer_is_answered_without_sums_and_is_no_error(view):
    view.say(kind="probe", id="a-1", channel=2, row=99, column=4)
    view.settle()
    assert view.of_kind("probe") == [{"kind": "probe", "id": "a-1"}]
    assert view.error == ""


def test_probe_for_a_single_output_brings_every_product(view, layer):
    view.say(kind="probe", id="a-1", channel=2, row=0, column=4, terms=True)
    view.settle()
    [(answer, buffers)] = view.sent
    terms = LayerStudy(layer).terms(4, 2, 0, 4)
    kinds = zip(buffers, ("f4", "f4", "i2", "i1"), strict=True)
    inputs, weights, codes, weight_codes = (np.frombuffer(buffer, kind).reshape(4, 3, 3) for buffer, kind in kinds)
    assert np.array_equal(inputs, terms.inputs)
    assert np.array_equal(weights, layer.weight[2].numpy())
    assert int((codes.astype(int) * weight_codes).sum()) + answer["low_bit_bias"] == answer["low_bit_sum"]
    assert answer["terms"] == {"first": 0, "unit": 1.0, "inside": [[0] * 3, [1] * 3, [1] * 3]}


def test_one_bit_input_has_no_codes(view):
    view.say(kind="ready")
    view.bits = 1
    view.settle()
    view.say(kind="probe", id="a-1", channel=2, row=0, column=4, terms=True)
    view.settle()
    answer, buffers = view.sent[-1]
    assert answer["terms"]["unit"] > 0
    assert [len(buffer) for buffer in buffers] == [144, 144, 0, 36]


def test_zoom_and_channel_follow_each_other(view):
    states = []
    for name, value in [
        ("channel", 3),
        ("zoom", "pixel"),
        ("zoom", "channel"),
        ("zoom", "mosaic"),
        ("zoom", "pixel"),
        ("channel", -1),
    ]:
        setattr(view, name, value)
        states.append((view.zoom, view.channel, view.probe))
    middle = [4, 4]
    assert states == [
        ("channel", 3, []), ("pixel", 3, middle), ("channel", 3, middle), ("mosaic", -1, middle), ("pixel", 0, middle), ("mosaic", -1, middle),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ({}, ("mosaic", -1, [])),
        ({"channel": 2}, ("channel", 2, [])),
        ({"channel": 2, "probe": (1, 3)}, ("pixel", 2, [1, 3])),
        ({"channel": 2, "probe": (1, 3), "zoom": "channel"}, ("channel", 2, [1, 3])),
        ({"zoom": "pixel"}, ("pixel", 0, [4, 4])),
    ],
)
def test_view_opens_at_the_level_asked_for(layer, arguments, state):
    view = MaskView(layer, **arguments)
    assert (view.zoom, view.channel, view.probe) == state
    view.close()


def test_another_layer_is_not_entered_down_to_the_output(view):
    view.zoom = "pixel"
    view.show(make_layer("features.6", k=3, seed=1))
    assert (view.zoom, view.channel, view.probe) == ("channel", 0, [])


def test_leaving_outwards_is_told_only_where_there_is_something_outside(view):
    left = []
    view.on_leave(lambda: left.append(1))
    view.say(kind="leave")
    assert left == []
    view.outward = "Network"
    view.say(kind="leave")
    assert left == [1]


def test_slider_that_moves_finds_its_next_frame_made(view, monkeypatch):
    view.say(kind="ready")
    asked = []
    original = LayerStudy.counts
    monkeypatch.setattr(LayerStudy, "counts", lambda study, *rest: asked.append(rest[:2]) or original(study, *rest))
    view.bits = 5
    view.settle()
    assert asked == [(5, 0), (6, 0)]  # on the way up; what lies below is known
    view.say(kind="drawn", seq=2, ms=1.0)
    view.bits = 6
    view.settle()
    assert asked == [(5, 0), (6, 0), (7, 0)]
    assert view.of_kind("frame")[-1]["bits"] == 6


def test_slider_at_rest_finds_the_frames_beside_made(layer, monkeypatch):
    asked = []
    original = LayerStudy.counts
    monkeypatch.setattr(LayerStudy, "counts", lambda study, *rest: asked.append(rest[:2]) or original(study, *rest))
    view = PlayedView(layer, bits=8)
    view.settle()
    assert asked == [(8, 0)]  # nobody looks yet
    view.say(kind="ready")
    view.margin = 1
    view.settle()
    assert asked == [(8, 0), (8, 1), (8, 2), (7, 1)]  # nine bits are not possible
    view.close()


def test_frames_of_a_layer_that_was_left_are_forgotten(view):
    view.say(kind="ready")
    for bits in (1, 2, 3):
        view.bits = bits
        view.settle()
    view.show(make_layer("features.6", seed=1))
    view.settle()
    assert {setting.number for setting in view._lab_made} == {2}


def test_closed_view_stops_its_threads_and_ignores_late_messages(layer):
    view = PlayedView(layer)
    view.settle()
    view.say(kind="probe", id="a-1", channel=0, row=0, column=0)
    view.settle()
    threads = [view._lab_frames._thread, view._lab_probes._thread]
    view.close()
    view.close()
    assert view.closed
    assert not any(thread.is_alive() for thread in threads)
    view.bits = 3
    view.say(kind="ready")
    assert view.of_kind("frame") == []
    assert view.to_png() == b""
    with pytest.raises(RuntimeError, match="closed"):
        view.compute()


def test_view_can_be_closed_by_an_observer_of_its_figures(view):
    view.observe(lambda _: view.close(), names="figures")
    view.bits = 3
    view._lab_frames._thread.join(60)
    assert not view._lab_frames._thread.is_alive()


def test_still_picture_stands_beside_the_widget(layer):
    view = MaskView(layer)
    data, _ = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    assert {(0, 114, 178), (227, 230, 234)} <= colours  # kept and skipped
    view.close()


@pytest.mark.parametrize("size", [9, 300])
@pytest.mark.parametrize("zoom", ["channel", "pixel"])
def test_still_picture_shows_what_the_level_of_zoom_shows(zoom, size):
    layer = make_layer(size=size)
    view = MaskView(layer, channel=2, probe=(3, 4), zoom=zoom, bits=2)
    mosaic = MaskView(layer, bits=2)
    picture = Image.open(io.BytesIO(view.to_png())).convert("RGB")
    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    assert {(0, 114, 178), (227, 230, 234), (213, 94, 0), (86, 180, 233)} <= colours  # all four classes of this channel
    assert picture.width == 720
    assert view.to_png() != mosaic.to_png()
    view.close()
    mosaic.close()


@pytest.mark.parametrize(("k", "size"), [(1, 1), (3, 300), (300, 3), (64, 40)])
def test_still_picture_of_any_shape_shows_the_false_skips(k, size):
    layer = make_layer(k=k, size=size)
    view = MaskView(layer)
    view.compute(2)
    picture = np.asarray(Image.open(io.BytesIO(view.to_png())).convert("RGB")).astype(int)
    assert picture.shape[1] <= 720
    mosaic = picture[27:-40]
    reddish = (mosaic[..., 0] > 150) & (mosaic[..., 2] < 100)
    assert reddish.any() == (view.counts["false_skips"] > 0)
    view.close()


def test_pooled_layer_shows_only_the_winners_of_its_windows():
    plain = make_layer(size=8)
    layer = ConvLayer(
        plain.name, plain.weight, plain.bias, plain.input, padding=1, steps=(RELU, MaxPool((2, 2), (2, 2)))
    )
    view = MaskView(layer)
    figures = view.compute()
    assert figures["sparsity"] >= 0.75
    assert view.counts["kept"] + view.counts["false_skips"] <= 6 * 16
    view.close()


def test_module_is_small_enough_to_be_repeated_in_every_state():
    assert len(str(MaskView._esm).encode()) < 65_000
