import threading

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seerlab import seernet
from seerlab.engine.study import CLASSES, LayerStudy
from seerlab.layers import RELU, Activation, ConvLayer, MaxPool, Residual


def make_layer(
    *, n=2, c=4, k=6, h=9, w=7, steps=(RELU,), groups=1, kernel=3, stride=1, padding=1, dilation=1, signed=False
):
    x = torch.randn(n, c, h, w)
    return ConvLayer(
        "features.3", torch.randn(k, c // groups, kernel, kernel), torch.randn(k), x if signed else x.relu(),
        stride=stride, padding=padding, dilation=dilation, groups=groups, steps=steps,
    )  # fmt: skip


def residual_layer():
    plain = make_layer()
    return ConvLayer(
        plain.name,
        plain.weight,
        plain.bias,
        plain.input,
        padding=1,
        steps=(Residual(torch.randn(plain.output_shape)), RELU),
    )


LAYERS = {
    "plain": make_layer,
    "signed input": lambda: make_layer(signed=True),
    "groups": lambda: make_layer(groups=2),
    "stride, dilation": lambda: make_layer(stride=2, dilation=2, padding=2),
    "1x1": lambda: make_layer(kernel=1, padding=0),
    "pool": lambda: make_layer(steps=(RELU, MaxPool((2, 2), (2, 2))), h=8, w=8),
    "pool alone, overlapping": lambda: make_layer(steps=(MaxPool((3, 3), (2, 2), (1, 1)),)),
    "pool, ceil mode": lambda: make_layer(steps=(RELU, MaxPool((2, 2), (2, 2), ceil_mode=True))),
    "pool, dilated": lambda: make_layer(steps=(RELU, MaxPool((2, 2), (1, 1), dilation=(2, 2)))),
    "shortcut": residual_layer,
}


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_masks_and_counts_are_those_of_seernet(layer, bits):
    study = LayerStudy(layer)
    expected = seernet.predict(layer, bits, margin=2)
    assert torch.equal(study.prediction(bits, 2).mask, expected.mask)
    assert torch.equal(study.truth, expected.truth)
    for image in range(layer.output_shape[0]):
        mask, truth = expected.mask[image], expected.truth[image]
        counts = study.counts(bits, 2, image)
        by_hand = {
            "kept": mask & truth,
            "skipped": ~mask & ~truth,
            "false_skips": truth & ~mask,
            "wasted": mask & ~truth,
        }
        for name in CLASSES:
            assert counts.per_channel()[name] == by_hand[name].sum((1, 2)).tolist(), name
        assert sum(counts.total().values()) == mask.numel()


def test_masks_of_one_picture_are_those_of_the_batch(layer):
    study = LayerStudy(layer)
    assert np.array_equal(study.mask(3, 0, 1), study.prediction(3).mask[1].numpy())
    assert np.array_equal(study.truth_of(1), study.truth[1].numpy())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_probed_sums_are_those_that_decided(layer, bits):
    study = LayerStudy(layer)
    prediction = study.prediction(bits, 1)
    _, k, p, q = layer.output_shape
    for place in [(0, 0, 0, 0), (1, k - 1, p - 1, q - 1), (0, k // 2, p // 2, q // 2)]:
        image, *rest = place
        found = study.probe(bits, 1, *rest, image=image)
        if bits == 1:
            assert found["low_bit_sum"] == pytest.approx(float(prediction.low_bit_sums[place]), abs=1e-4)
        else:
            assert found["low_bit_sum"] == int(prediction.low_bit_sums[place])
        assert found["sum"] == float(layer.pre_activation[place])
        assert (found["predicted"], found["true"]) == (bool(prediction.mask[place]), bool(prediction.truth[place]))
        assert found["threshold"] == -1


def test_low_bit_sum_in_real_units_comes_close_to_the_full_sum_with_many_bits():
    study = LayerStudy(make_layer())
    found = study.probe(8, 0, 3, 4, 4)
    assert found["low_bit_value"] == pytest.approx(found["sum"], abs=0.2)
    assert found["low_bit_value"] == found["low_bit_sum"] / (found["scale_input"] * found["scale_weight"])


def test_verdicts_name_the_four_classes():
    study = LayerStudy(make_layer(n=1, k=16))
    prediction = study.prediction(2)
    mask, truth = prediction.mask[0], prediction.truth[0]
    cases = {"kept": mask & truth, "skipped": ~mask & ~truth, "false skip": truth & ~mask, "wasted": mask & ~truth}
    for verdict, where in cases.items():
        found = study.probe(2, 0, *where.nonzero()[0].tolist())
        assert found["verdict"] == verdict
        assert found["predicted_word"].startswith("computed" if found["predicted"] else "skipped")
        assert found["true_word"].startswith("needed" if found["true"] else "not needed")


def test_probe_names_the_pooling_windows_and_their_largest_output():
    layer = make_layer(steps=(RELU, MaxPool((2, 2), (2, 2))), h=8, w=8)
    study = LayerStudy(layer)
    found = study.probe(4, 0, 1, 5, 2)
    [window] = found["windows"]
    assert (window["rows"], window["columns"]) == ([4, 5], [2, 3])
    _, places = F.max_pool2d(layer.pre_activation[0, 1][None, None], 2, return_indices=True)
    assert window["true_largest"] == list(divmod(int(places[0, 0, 2, 1]), 8))
    sums = study.prediction(4).low_bit_sums[0, 1]
    _, places = F.max_pool2d(sums[None, None].double(), 2, return_indices=True)
    assert window["predicted_largest"] == list(divmod(int(places[0, 0, 2, 1]), 8))


def test_output_of_an_overlapping_pool_belongs_to_every_window_that_holds_it():
    study = LayerStudy(make_layer(steps=(RELU, MaxPool((3, 3), (2, 2)))))
    assert len(study.probe(4, 0, 0, 2, 2)["windows"]) == 4
    assert len(study.probe(4, 0, 0, 1, 1)["windows"]) == 1
    assert study.probe(4, 0, 0, 2, 3)["windows"][0]["columns"] == [2, 3, 4]


def test_output_dropped_by_a_larger_neighbour_says_so():
    layer = make_layer(steps=(RELU, MaxPool((2, 2), (2, 2))), h=8, w=8)
    study = LayerStudy(layer)
    place = ((layer.pre_activation > 0) & ~study.truth).nonzero()[0].tolist()
    assert study.probe(8, 0, *place[1:], image=place[0])["true_word"] == "not needed, not the largest of its window"


def test_figures_hold_the_summary_and_the_bytes_of_what_would_be_stored(layer):
    study = LayerStudy(layer)
    figures = study.figures(4, 1)
    prediction = seernet.predict(layer, 4, margin=1)
    for name, value in prediction.summary().items():
        assert figures[name] == value, name
    outputs = prediction.mask.numel()
    assert figures["dense_bytes"] == 4 * outputs
    assert figures["mask_bytes"] == -(-outputs // 8)
    assert figures["kept_bytes"] == 4 * int(prediction.mask.sum())
    assert figures["bytes_ratio"] == (figures["mask_bytes"] + figures["kept_bytes"]) / figures["dense_bytes"]


def test_weights_are_packed_once_per_number_of_bits(monkeypatch):
    calls = []
    prepare = seernet.prepare
    monkeypatch.setattr(seernet, "prepare", lambda layer, bits: calls.append(bits) or prepare(layer, bits))
    study = LayerStudy(make_layer())
    for bits, margin in [(4, 0), (4, 3), (3, 0), (4, 0), (3, 5)]:
        study.prediction(bits, margin)
    assert calls == [4, 3]


def test_wider_margin_keeps_more():
    study = LayerStudy(make_layer())
    narrow, wide = study.prediction(3, 0).mask, study.prediction(3, 20).mask
    assert bool((narrow & ~wide).sum() == 0)
    assert int(wide.sum()) > int(narrow.sum())


def test_only_the_latest_predictions_are_kept():
    study = LayerStudy(make_layer())
    first = study.prediction(4, 0)
    assert study.prediction(4, 0) is first
    for margin in range(1, 9):
        study.prediction(4, margin)
    assert study.prediction(4, 8) is study.prediction(4, 8)
    again = study.prediction(4, 0)
    assert again is not first
    assert torch.equal(again.mask, first.mask)


@pytest.mark.parametrize("bits", [0, 9, 4.0, True])
def test_bits_out_of_range_are_refused_with_the_choices(bits):
    with pytest.raises(ValueError, match=r"bits=.* choose a whole number from 1 to 8"):
        LayerStudy(make_layer()).prediction(bits)


@pytest.mark.parametrize("margin", [-1, 0.5, 2**29 + 1])
def test_impossible_margins_are_refused(margin):
    with pytest.raises(ValueError, match=r"margin=.* from 0 to 536870912"):
        LayerStudy(make_layer()).prediction(4, margin)


def test_place_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"channel 6 does not exist in layer 'features\.3': choose 0 to 5"):
        LayerStudy(make_layer()).probe(4, 0, 6, 0, 0)


def test_layer_that_keeps_negative_outputs_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"features\.3' is not predicted: silu follows"):
        LayerStudy(make_layer(steps=(Activation("silu", F.silu),)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_input_that_is_not_finite_is_refused(value):
    layer = make_layer()
    layer.input[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match="holds 1 NaN or infinite values"):
        LayerStudy(layer)


def test_empty_batch_is_refused():
    with pytest.raises(ValueError, match="has no outputs"):
        LayerStudy(make_layer(n=0))


def test_several_threads_see_the_same_masks():
    study = LayerStudy(make_layer())
    expected = {bits: seernet.predict(study.layer, bits).mask for bits in range(2, 9)}
    wrong = []

    def ask():
        for bits in (8, 2, 5, 3, 7, 4, 6):
            with torch.inference_mode():
                if not torch.equal(study.prediction(bits).mask, expected[bits]) or study.figures(bits)["bits"] != bits:
                    wrong.append(bits)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
