import base64
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import seerlab as sl
from seerlab import encodings
from seerlab.engine.encoding_study import EncodingStudy
from seerlab.layers import ConvLayer
from seerlab.widgets.encoding_view import METHOD_NAMES, EncodingView, figures_html
from tests.widgets.played import Played, hold_worker


def make_layer(name="features.3", c=4, size=9, seed=0, kernel=3, **geometry):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, c, size, size, generator=generator).relu()
    weight = torch.randn(6, c, kernel, kernel, generator=generator)
    return ConvLayer(name, weight, torch.zeros(6), x, **{"padding": 1, **geometry})


class PlayedView(Played, EncodingView):
    """An encoding view whose browser is played by the test."""


@pytest.fixture
def layer():
    return make_layer()


@pytest.fixture
def view(layer):
    view = PlayedView(layer)
    view.settle()
    yield view
    view.close()


def test_view_is_public_and_knows_every_method():
    assert sl.EncodingView is EncodingView
    assert tuple(METHOD_NAMES) == encodings.METHODS


def test_nothing_is_sent_before_a_view_is_ready(view):
    view.epsilon = 0.5
    view.settle()
    assert view.sent == []


def test_all_channels_are_sent_as_one_bit_per_element(view, layer):
    view.say(kind="ready")
    [(frame, buffers)] = view.frames()
    assert [len(buffer) for buffer in buffers] == [-(-4 * 9 * 9 // 8)]
    bits = np.unpackbits(np.frombuffer(buffers[0], np.uint8), count=4 * 9 * 9).reshape(4, 9, 9)
    assert np.array_equal(bits, (layer.input[0] != 0).numpy())
    assert (frame["seq"], frame["shape"], frame["padded"], frame["outputs"]) == (1, [4, 9, 9], [11, 11], [9, 9])
    assert frame["channel"] == -1
    assert frame["nonzeros"] == int(layer.input.count_nonzero())
    assert sum(frame["counts"]) == frame["nonzeros"]


def test_open_channel_is_sent_with_its_values_and_the_encoders_arrays_alone(view, layer):
    view.say(kind="ready")
    view.channel, view.method = 2, "cps"
    view.settle()
    view.say(kind="drawn", seq=2, ms=1.0)
    frame, buffers = view.frames()[-1]
    assert np.array_equal(np.frombuffer(buffers[0], np.float32).reshape(9, 9), layer.input[0, 2].numpy())
    arrays = encodings.encode(layer.input[0, 2:3], 3, 1, 1, "cps").arrays
    for (name, length, dtype), buffer in zip(frame["sizes"], buffers[1:], strict=True):
        assert np.array_equal(np.frombuffer(buffer, dtype), arrays[name].ravel())
        assert length == arrays[name].size
    assert frame["weights"] == layer.weight[0, 2].tolist()


def test_only_channel_is_open_from_the_start():
    view = EncodingView(make_layer(c=1))
    assert view.channel == 0
    view.close()


def test_bytes_follow_the_frame_and_times_follow_when_nothing_moves(view):
    view.say(kind="ready")
    view.settle(measured=True)
    [figures], [times] = view.of_kind("figures"), view.of_kind("times")
    assert "Bytes of the whole input" in figures["html"]
    assert "CPO</b>: encode" in times["html"]
    assert "thread" in times["html"]
    assert view.times["method"] == "cpo"
    assert view.times["time_threads"] == torch.get_num_threads()


def test_view_that_appears_later_gets_bytes_and_times_again(view):
    view.say(kind="ready")
    view.settle(measured=True)
    before = len(view.sent)
    view.say(kind="ready")
    assert [content["kind"] for content, _ in view.sent[before:]] == ["frame", "figures", "times"]


def test_nothing_is_measured_without_a_view(view):
    view.compute("cps")
    view.settle(measured=True)
    assert view.times == {}
    assert view._lab_clock.statistics.submitted == 0


def test_measurement_makes_way_for_a_moving_slider(view, monkeypatch):
    asked = []
    original = EncodingStudy.times

    def times(study, epsilon, method, **options):
        if not asked:
            view.epsilon = 0.25
            view.settle()
        asked.append(epsilon)
        return original(study, epsilon, method, **options)

    monkeypatch.setattr(EncodingStudy, "times", times)
    view.say(kind="ready")
    view.settle(measured=True)
    assert asked == [0.0, 0.25]
    assert [content["epsilon"] for content in view.of_kind("times")] == [0.25]
    assert view.error == ""


def test_at_most_two_frames_are_unconfirmed_and_behind_them_only_the_newest_waits(view):
    view.say(kind="ready")
    for epsilon in (0.1, 0.2, 0.3, 0.4):
        view.epsilon = epsilon
        view.settle()
    assert [frame["epsilon"] for frame, _ in view.frames()] == [0.0, 0.1]
    view.say(kind="drawn", seq=1, ms=5.0)
    assert [frame["epsilon"] for frame, _ in view.frames()] == [0.0, 0.1, 0.4]
    stats = view.get_stats()
    assert (stats["frames_sent"], stats["frames_confirmed"], stats["frames_dropped"], stats["frames_underway"]) == (
        3,
        1,
        2,
        2,
    )
    assert stats["draw_ms"] == 5.0


def test_latest_slider_value_wins(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.epsilon = 0.1
    assert started.wait(60)
    for epsilon in (0.2, 0.3, 0.4):
        view.epsilon = epsilon
    gate.set()
    view.settle()
    view.say(kind="drawn", seq=2, ms=1.0)
    assert [frame["epsilon"] for frame, _ in view.frames()] == [0.0, 0.1, 0.4]
    assert view.get_stats()["dropped"] == 2
    assert view.figures["epsilon"] == 0.4


def test_slider_call_backs_of_another_thread_end_with_the_last_value(view):
    view.say(kind="ready")

    def drag():
        for epsilon in (0.1, 0.2, 0.3):
            view.epsilon = epsilon

    thread = threading.Thread(target=drag)
    thread.start()
    thread.join()
    view.settle()
    assert view.figures["epsilon"] == 0.3


def test_frame_of_a_layer_that_was_replaced_meanwhile_is_not_shown(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.epsilon = 0.1
    assert started.wait(60)
    view.show(make_layer("features.6", seed=1))
    gate.set()
    view.settle()
    assert [frame["name"] for frame, _ in view.frames()] == ["features.3", "features.6"]


def test_change_of_layer_keeps_the_method_and_starts_with_its_own_epsilon(view):
    view.method, view.epsilon, view.channel = "cscc", 0.5, 3
    view.entry = 7
    other = make_layer("features.6", c=2)
    view.show(other, "second")
    view.settle()
    assert view.layer is other
    assert (view.method, view.epsilon, view.channel, view.entry, view.title) == ("cscc", 0.0, -1, 0, "second")
    assert view.figures["layer"] == "features.6"
    assert view.error == ""


@pytest.mark.parametrize(("trait", "value", "entry"), [("channel", 1, 0), ("method", "cscc", 0), ("epsilon", 0.2, 5)])
def test_replay_starts_again_where_its_entries_are_others(view, trait, value, entry):
    view.channel = 0
    view.entry = 5
    setattr(view, trait, value)
    assert view.entry == entry


def test_compute_needs_no_view(layer):
    view = EncodingView(layer)
    figures = view.compute("zvc", epsilon=0.5)
    assert (view.method, view.epsilon, view.figures) == ("zvc", 0.5, figures)
    kept = torch.where(layer.input[0].abs() <= 0.5, 0, layer.input[0])
    assert figures["zvc_bytes"] == encodings.encode(kept, 3, 1, 1, "zvc").nbytes
    view.close()


def test_compute_raises_what_the_worker_met(view, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(EncodingStudy, "counts", fail)
        with pytest.raises(MemoryError, match="no room"):
            view.compute(epsilon=0.3)
        assert view.error == "MemoryError: no room"
    assert view.compute(epsilon=0.3)["epsilon"] == 0.3
    assert view.error == ""


@pytest.mark.parametrize(
    ("trait", "value", "text"),
    [
        ("method", "csr", "unknown method 'csr'"),
        ("epsilon", -0.5, "epsilon=-0.5"),
        ("channel", 4, "channel=4"),
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
    view.epsilon = 0.3
    view.settle()
    assert (view.error, view.figures["epsilon"]) == ("", 0.3)


def test_method_that_is_not_defined_for_a_dilated_layer_becomes_text_with_a_remedy():
    view = PlayedView(make_layer(dilation=2))
    view.settle()
    assert view.method == "zvc"
    view.method = "cpo"
    assert view.error == "cpo is not defined for dilation (2, 2), layer 'features.3': choose im2col or zvc"
    view.method = "im2col"
    view.settle()
    assert view.error == ""
    assert "not defined for a dilated kernel" in figures_html(view.figures, "zvc")
    view.close()


def test_input_that_is_not_finite_becomes_text_and_the_picture_stays(view, layer):
    bad = make_layer("features.9")
    bad.input[0, 0, 0, 0] = float("nan")
    view.show(bad)
    assert "1 NaN or infinite values" in view.error
    assert view.layer is layer


@pytest.mark.parametrize("arguments", [{"method": "csr"}, {"epsilon": -1}, {"channel": 4}, {"epsilon": float("nan")}])
def test_constructor_raises_for_values_out_of_range(layer, arguments):
    with pytest.raises(ValueError, match="choose"):
        EncodingView(layer, **arguments)


def test_unknown_keyword_is_refused_with_the_valid_ones(layer):
    with pytest.raises(
        TypeError, match=r"EncodingView\(\) does not take 'eps'; did you mean 'epsilon'\? \(it takes .*'channel'"
    ):
        EncodingView(layer, eps=0.1)


def test_pointwise_layer_is_said_to_have_no_overlap():
    view = PlayedView(make_layer(kernel=1, padding=0))
    view.settle()
    view.say(kind="ready")
    assert "no overlap" in view.frames()[0][0]["legend"]
    view.close()


def test_bars_print_bytes_both_ratios_and_the_break_even_of_every_format(view):
    figures = view.compute()
    html = figures_html(figures, "cps")
    for name, label in METHOD_NAMES.items():
        [row] = [part for part in html.split("<tr") if f">{label}</th>" in part]
        assert f"{figures[f'{name}_raw_ratio']:.2f}×" in row
        ratio = figures[f"{name}_im2col_ratio"]
        assert (f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.1f}×") in row
        assert ('class="now"' in row) == (name == "cps")
    assert "zeros spread evenly" in html
    assert "raw map" in html


def test_closed_view_stops_its_threads_and_ignores_late_messages(layer):
    view = PlayedView(layer)
    view.say(kind="ready")
    view.settle(measured=True)
    threads = [view._lab_frames._thread, view._lab_clock._thread]
    view.close()
    view.close()
    assert view.closed
    assert not any(thread.is_alive() for thread in threads)
    sent = len(view.sent)
    view.epsilon = 0.5
    view.say(kind="ready")
    assert len(view.sent) == sent
    assert view.to_png() == b""
    with pytest.raises(RuntimeError, match="closed"):
        view.compute()


def test_view_can_be_closed_while_it_waits_for_rest(layer):
    view = PlayedView(layer)
    view.settle()
    view.say(kind="ready")
    clock = view._lab_clock._thread
    view.close()
    assert not clock.is_alive()
    assert view.of_kind("times") == []


@pytest.mark.parametrize(("channels", "size"), [(1, 5), (64, 40), (3, 300), (300, 3)])
def test_still_picture_stands_beside_the_widget(channels, size):
    view = EncodingView(make_layer(c=channels, size=size))
    data, _ = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    assert picture.width == 720
    blue = np.asarray(picture).astype(int)
    assert ((blue[..., 2] - blue[..., 0]) > 60).any()  # the classes of overlap
    view.close()


def test_module_is_small_enough_to_be_repeated_in_every_state():
    assert len(str(EncodingView._esm).encode()) < 46_000
