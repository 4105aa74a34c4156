"""Every implementation in turn, and the worked example."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import strategies as st

from seerlab.kernels import simd
from seerlab.layers import RELU, RELU6, Activation, ConvLayer, MaxPool, Residual

POOL = MaxPool((2, 2), (2, 2))
LEAKY = Activation("leaky_relu", torch.nn.functional.leaky_relu)


@pytest.fixture(params=["reference", *simd.LEVELS])
def implementation(request):
    """Value for the keyword of that name, with the instruction set forced for the test."""
    if request.param == "reference":
        yield "reference"
        return
    if request.param not in simd.available_levels():
        pytest.skip(f"this machine has no {request.param}")
    with simd.use_level(request.param):
        yield "compiled"


def every_implementation():
    """(keyword, context) pairs for use inside one property test."""
    yield "reference", contextlib.nullcontext()
    yield "auto", contextlib.nullcontext()
    for name in simd.available_levels():
        yield "compiled", simd.use_level(name)


@pytest.fixture
def worked_example():
    """Two input channels of 4x4, two 3x3 filters, padding 1, small integers."""

    def build(*steps):
        k, c, r, s = torch.meshgrid(*(torch.arange(n) for n in (2, 2, 3, 3)), indexing="ij")
        weight = (7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5
        c, y, x = torch.meshgrid(*(torch.arange(n) for n in (2, 4, 4)), indexing="ij")
        picture = ((3 * c + 5 * y + 7 * x) % 9 - 4).clamp(min=0)
        return ConvLayer(
            "example",
            weight.float(),
            torch.tensor([1.0, -2.0]),
            picture[None].float(),
            padding=1,
            steps=steps or (RELU,),
        )

    return build


@st.composite
def layers(draw, whole=False):
    """Layers of every kind that can be predicted, small; of small whole numbers, whose sums are exact, if asked for."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depthwise = groups == 3 and draw(st.booleans())
    c = groups * (1 if depthwise else draw(st.integers(1, 5)))
    k = groups * (1 if depthwise else draw(st.integers(1, 7)))
    r, s = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride, padding, dilation = (
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        (draw(st.integers(0, 2)), draw(st.integers(0, 1))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
    )
    h, w = draw(st.integers(9, 13)), draw(st.integers(9, 13))  # the largest pool below fits
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))

    def numbers(*shape):
        values = torch.randn(shape, generator=generator)
        return (values * 3).round() if whole else values

    x = numbers(draw(st.integers(1, 2)), c, h, w)
    if draw(st.booleans()):
        x = x.relu()
    if draw(st.booleans()):
        x = x.to(memory_format=torch.channels_last)
    weight, bias = numbers(k, c // groups, r, s), numbers(k)
    bare = ConvLayer("drawn", weight, bias, x, stride, padding, dilation, groups)
    follow = draw(
        st.sampled_from(
            ["relu", "relu6", "pool", "relu pool", "pool relu", "add relu", "add relu pool", "add pool", "leaky pool"]
        )
    )
    pool = draw(
        st.sampled_from(
            [POOL, MaxPool((3, 3), (2, 2), (1, 1), ceil_mode=True), MaxPool((3, 3), (2, 2)), MaxPool((3, 2), (1, 2))]
        )
    )
    named = {"relu": RELU, "relu6": RELU6, "pool": pool, "add": Residual(numbers(*bare.output_shape)), "leaky": LEAKY}
    steps = tuple(named[f] for f in follow.split())
    return ConvLayer("drawn", weight, bias, x, stride, padding, dilation, groups, steps)


def settle_norms(model, x):
    """Give every BatchNorm the statistics of its input and gains of either sign, and the scores of a linear head no favourite.

    Signs then matter, as in a trained network: with the statistics left to chance whole maps are always on or off.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
        model.eval()
        model.head.bias -= model(x).mean(0)
    return model
