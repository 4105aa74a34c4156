"""One layer: the worked example to the last integer, and the laws that hold for every layer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import seerlab as sl
from seerlab.layers import RELU, RELU6, Activation, ConvLayer, MaxPool, Residual

from .conftest import every_implementation

POOL = MaxPool((2, 2), (2, 2))


@pytest.mark.parametrize(
    ("bits", "options", "sums", "false_negatives"),
    [
        (8, {"input_range": "signed", "weight_scale": "tensor"}, [[9457, 14608, 311, -11630], [-12090, -10944, 1632, 4426]], []),
        (4, {"input_range": "signed", "weight_scale": "tensor"}, [[28, 49, -4, -32], [-36, -36, 6, 13]], [(0, 0, 1, 0)]),
        (3, {"input_range": "signed", "weight_scale": "tensor"}, [[4, 10, 1, -7], [-6, -7, 0, 4]], [(0, 1, 1, 0)]),
        (4, {}, [[60, 105, 0, -73], [-89, -85, 10, 31]], [(0, 0, 1, 0)]),
    ],
)  # fmt: skip
def test_the_worked_example_to_the_last_integer(worked_example, implementation, bits, options, sums, false_negatives):
    layer = worked_example()
    prediction = sl.seernet.predict(layer, bits, implementation=implementation, **options)
    assert prediction.low_bit_sums.flatten(2)[0].tolist() == sums
    assert prediction.truth.flatten(2)[0].tolist() == [[True, True, True, False], [False, False, True, True]]
    assert [tuple(place) for place in (prediction.truth & ~prediction.mask).nonzero().tolist()] == false_negatives
    assert prediction.false_negatives == len(false_negatives)
    assert prediction.false_positives == 0


def test_the_worked_example_with_a_max_pool(worked_example, implementation):
    for steps in ((RELU, POOL), (POOL, RELU)):
        layer = worked_example(*steps)
        prediction = sl.seernet.predict(layer, 4, implementation=implementation)
        assert [tuple(place) for place in prediction.mask.nonzero().tolist()] == [(0, 0, 0, 1), (0, 1, 1, 1)]
        y = sl.seernet.forward(layer, 4, implementation=implementation)
        torch.testing.assert_close(y.flatten(), torch.tensor([0.72, 0.22]))
        torch.testing.assert_close(y, layer.output)


@st.composite
def layers(draw):
    """Layers of every kind SeerNet treats, small."""
    groups = draw(st.sampled_from([1, 1, 2]))
    c, k = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 9))
    r, s = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride, padding, dilation = draw(st.integers(1, 2)), draw(st.integers(0, 1)), draw(st.integers(1, 2))
    h, w = draw(st.integers(9, 13)), draw(st.integers(9, 13))  # the largest pool below fits
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    x = torch.randn(draw(st.integers(1, 2)), c, h, w, generator=generator)
    if draw(st.booleans()):
        x = x.relu()
    weight = torch.randn(k, c // groups, r, s, generator=generator)
    bias = torch.randn(k, generator=generator)
    bare = ConvLayer("drawn", weight, bias, x, (stride,) * 2, (padding,) * 2, (dilation,) * 2, groups)
    follow = draw(st.sampled_from(["relu", "relu6", "pool", "relu pool", "pool relu", "add relu", "add relu pool"]))
    pool = draw(st.sampled_from([POOL, MaxPool((3, 3), (2, 2), (1, 1), ceil_mode=True), MaxPool((3, 2), (1, 2))]))
    shortcut = Residual(torch.randn(bare.output_shape, generator=generator))
    named = {"relu": RELU, "relu6": RELU6, "pool": pool, "add": shortcut}
    return ConvLayer(
        "drawn",
        weight,
        bias,
        x,
        bare.stride,
        bare.padding,
        bare.dilation,
        groups,
        tuple(named[f] for f in follow.split()),
    )


@settings(max_examples=60, deadline=None)
@given(layer=layers(), bits=st.integers(1, 8), margin=st.sampled_from([0, 0, 3]))
def test_all_implementations_give_the_same_mask(layer, bits, margin):
    reference = sl.seernet.predict(layer, bits, margin=margin, implementation="reference")
    for keyword, forced in every_implementation():
        with forced:
            assert torch.equal(
                sl.seernet.predict(layer, bits, margin=margin, implementation=keyword).mask, reference.mask
            )


@settings(max_examples=60, deadline=None)
@given(layer=layers(), bits=st.integers(2, 8))
def test_the_result_is_exact_or_too_small(layer, bits):
    dense = layer.output
    for keyword, forced in every_implementation():
        with forced:
            prediction = sl.seernet.predict(layer, bits, implementation=keyword)
            y = sl.seernet.forward(layer, bits, implementation=keyword)
        assert y.shape == dense.shape
        assert bool((y <= dense + 1e-4).all())
        if layer.activation is not None:
            assert bool((y >= 0).all())
        if layer.pool is None:
            exact = dense.masked_fill(~prediction.mask, 0.0)
            torch.testing.assert_close(y, exact, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(layer=layers(), bits=st.integers(1, 8))
def test_the_fused_kernel_and_the_sums_tell_the_same_mask(layer, bits):
    from seerlab.masks import mask_of

    prediction = sl.seernet.predict(layer, bits)
    expected = mask_of(prediction.low_bit_sums, rectified=layer.activation is not None, pool=layer.pool)
    assert torch.equal(prediction.mask, expected)


@settings(max_examples=30, deadline=None)
@given(layer=layers(), bits=st.integers(2, 8))
def test_a_power_of_two_per_channel_or_on_the_input_leaves_the_mask_alone(layer, bits):
    if layer.residual is not None:
        return
    mask = sl.seernet.predict(layer, bits).mask
    factor = 2.0 ** torch.randint(-3, 4, (layer.out_channels,))
    rest = (layer.stride, layer.padding, layer.dilation, layer.groups, layer.steps)
    per_channel = ConvLayer("scaled", layer.weight * factor.view(-1, 1, 1, 1), layer.bias * factor, layer.input, *rest)
    assert torch.equal(sl.seernet.predict(per_channel, bits).mask, mask)
    louder = ConvLayer("louder", layer.weight, layer.bias * 4, layer.input * 4, *rest)
    assert torch.equal(sl.seernet.predict(louder, bits).mask, mask)


@settings(max_examples=25, deadline=None)
@given(layer=layers(), bits=st.integers(2, 8), margin=st.integers(1, 40))
def test_a_margin_only_adds_to_the_mask(layer, bits, margin):
    plain, wider = sl.seernet.predict(layer, bits), sl.seernet.predict(layer, bits, margin=margin)
    assert bool((wider.mask | ~plain.mask).all())
    assert wider.false_negatives <= plain.false_negatives


def test_another_margin_on_prepared_weights_is_the_margin_given_at_once():
    layer = trained_like()
    prepared = sl.seernet.prepare(layer, 4)
    assert torch.equal(prepared.with_margin(20).mask(layer.input), sl.seernet.predict(layer, 4, margin=20).mask)
    assert torch.equal(prepared.mask(layer.input), sl.seernet.predict(layer, 4).mask)
    with pytest.raises(ValueError, match="margin must be"):
        prepared.with_margin(-1)


@settings(max_examples=25, deadline=None)
@given(layer=layers())
def test_each_picture_is_predicted_as_if_alone(layer):
    together = sl.seernet.predict(layer, 4).mask
    for n in range(len(layer.input)):
        steps = tuple(Residual(s.shortcut[n : n + 1]) if isinstance(s, Residual) else s for s in layer.steps)
        alone = ConvLayer(
            "alone", layer.weight, layer.bias, layer.input[n : n + 1], layer.stride, layer.padding, layer.dilation, layer.groups, steps
        )  # fmt: skip
        assert torch.equal(sl.seernet.predict(alone, 4).mask, together[n : n + 1])


def trained_like(k=32, c=32, size=20, seed=0):
    """A layer with the statistics of a trained one: rectified input, weights of He size, biases that balance."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, c, size, size, generator=generator).relu()
    weight = torch.randn(k, c, 3, 3, generator=generator) * math.sqrt(2 / (9 * c))
    return ConvLayer("like", weight, torch.zeros(k), x, padding=1, steps=(RELU,))


def test_errors_shrink_as_bits_grow():
    layer = trained_like()
    errors = [sl.seernet.predict(layer, bits).summary()["prediction_error"] for bits in (2, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 < errors[0]


def test_rounding_down_destroys_a_four_bit_mask():
    layer = trained_like()
    floored = sl.seernet.predict(layer, 4, rounding="floor").summary()["prediction_error"]
    assert floored > 3 * sl.seernet.predict(layer, 4).summary()["prediction_error"]


def test_scales_per_channel_beat_one_for_the_tensor():
    layer = trained_like()
    gains = torch.logspace(-1, 1, layer.out_channels).view(-1, 1, 1, 1)
    uneven = ConvLayer("uneven", layer.weight * gains, layer.bias, layer.input, padding=1, steps=(RELU,))
    one, each = (sl.seernet.predict(uneven, 4, weight_scale=scale) for scale in ("tensor", "channel"))
    assert each.summary()["prediction_error"] < one.summary()["prediction_error"]


@pytest.mark.parametrize("options", [{"fused": False}, {"fused": False, "requantise": True}])
def test_unfused_settings_agree_with_the_formula(options):
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()).eval()
    nn.init.normal_(model[1].weight)
    nn.init.normal_(model[1].running_mean)
    layer = sl.conv_layers(model, torch.rand(1, 3, 9, 9))["0"]
    norm = layer.batch_norm
    s_w, s_x = 7 / norm.weight.abs().max(), 15 / layer.input.max()
    products = nn.functional.conv2d((layer.input * s_x).round().double(), (norm.weight * s_w).round().double())
    if options.get("requantise"):
        s_a = 7 / products.abs().max()
        products = (products * s_a).round() / s_a
    plain = products / (s_x * s_w) + norm.bias.double().view(1, -1, 1, 1)
    gain = norm.gamma.double() / (norm.variance.double() + norm.eps).sqrt()
    sums = (plain - norm.mean.double().view(1, -1, 1, 1)) * gain.view(1, -1, 1, 1) + norm.beta.double().view(
        1, -1, 1, 1
    )
    prediction = sl.seernet.predict(layer, 4, **options)
    torch.testing.assert_close(prediction.low_bit_sums.double(), sums, rtol=1e-4, atol=1e-4)
    assert torch.equal(prediction.mask, prediction.low_bit_sums > 0)


def test_one_bit_keeps_signs_and_mean_sizes(worked_example):
    prediction = sl.seernet.predict(worked_example(), 1)
    alpha = torch.tensor([0.525, 0.375]).view(2, 1, 1, 1)
    signs = torch.tensor([[1.0, -1, -1, 1], [-1, 1, 1, -1]]).view(2, 1, 2, 2)
    expected = nn.functional.conv2d(worked_example().input, alpha * signs, torch.tensor([0.05, -0.1]))
    torch.testing.assert_close(prediction.low_bit_sums, expected)


def test_an_input_of_zeros_leaves_the_decision_to_the_bias():
    layer = ConvLayer("dark", torch.ones(2, 1, 1, 1), torch.tensor([2.0, -2.0]), torch.zeros(1, 1, 3, 3), steps=(RELU,))
    prediction = sl.seernet.predict(layer, 4)
    assert bool(prediction.mask[:, 0].all())
    assert not bool(prediction.mask[:, 1].any())


def test_a_dense_residual_layer_predicts_nothing():
    layer = trained_like()
    shortcut = Residual(torch.randn(layer.output_shape))
    layer = ConvLayer("sum", layer.weight, layer.bias, layer.input, padding=1, steps=(shortcut, RELU))
    assert sl.seernet.predict(layer, 4, residual="dense").summary()["predicted_sparsity"] == 0.0
    assert sl.seernet.predict(layer, 4).summary()["prediction_error"] < 0.1


def test_relu6_is_applied_to_the_values_and_not_to_the_decision():
    base = trained_like()
    layer = ConvLayer("clipped", base.weight * 20, base.bias, base.input, padding=1, steps=(RELU6, POOL))
    y = sl.seernet.forward(layer, 8)
    assert float(y.max()) == 6.0
    plain = ConvLayer("plain", base.weight * 20, base.bias, base.input, padding=1, steps=(RELU, POOL))
    assert torch.equal(sl.seernet.predict(layer, 8).mask, sl.seernet.predict(plain, 8).mask)


def test_a_calibrated_maximum_replaces_the_pictures_own():
    layer = trained_like()
    own = float(layer.input.max())
    assert torch.equal(sl.seernet.predict(layer, 4, input_maximum=own).mask, sl.seernet.predict(layer, 4).mask)
    assert not torch.equal(sl.seernet.predict(layer, 4, input_maximum=3 * own).mask, sl.seernet.predict(layer, 4).mask)


def test_the_summary_counts_what_the_masks_show():
    prediction = sl.seernet.predict(trained_like(), 3)
    s, mask, truth = prediction.summary(), prediction.mask, prediction.truth
    assert s["outputs"] == mask.numel()
    assert s["sparsity"] == pytest.approx(1 - truth.float().mean().item(), abs=1e-6)
    assert s["predicted_sparsity"] == pytest.approx(1 - mask.float().mean().item(), abs=1e-6)
    assert s["false_negatives"] == int((truth & ~mask).sum()) > 0
    assert s["false_positives"] == int((mask & ~truth).sum()) > 0
    assert s["mask_accuracy"] == pytest.approx((mask == truth).float().mean().item(), abs=1e-6)
    assert s["recall"] == pytest.approx((mask & truth).sum().item() / truth.sum().item())
    y, dense = sl.seernet.forward(prediction.layer, 3), prediction.layer.output
    assert s["output_error"] == pytest.approx(((y - dense).norm() / dense.norm()).item(), rel=1e-3)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "nothing that discards outputs follows"),
        ((Activation("leaky_relu", nn.functional.leaky_relu),), "leaky_relu follows, which keeps negative outputs"),
        ((Activation("leaky_relu", nn.functional.leaky_relu), POOL), "leaky_relu follows"),
    ],
)
def test_layers_it_cannot_treat_are_refused_with_the_reason(worked_example, steps, reason):
    layer = worked_example()
    layer = ConvLayer("other", layer.weight, layer.bias, layer.input, steps=steps)
    assert reason in sl.seernet.refusal(layer)
    for function in (sl.seernet.predict, sl.seernet.forward, sl.seernet.prepare):
        with pytest.raises(ValueError, match=f"layer 'other': {reason}"):
            function(layer)


def test_an_infinite_layer_input_is_refused():
    layer = trained_like()
    layer.input[0, 0, 0, 0] = math.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        sl.seernet.predict(layer)


def test_the_users_tensors_stay_as_they_were():
    layer = trained_like()
    copies = [t.clone() for t in (layer.weight, layer.bias, layer.input)]
    sl.seernet.forward(layer)
    assert all(torch.equal(a, b) for a, b in zip(copies, (layer.weight, layer.bias, layer.input), strict=True))
