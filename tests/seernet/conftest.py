"""Every implementation in turn: the plain reference, and the compiled kernels at each instruction set."""

from __future__ import annotations

import contextlib

import pytest
import torch

from seerlab.kernels import simd
from seerlab.layers import RELU, ConvLayer


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
    for name in simd.available_levels():
        yield "compiled", simd.use_level(name)


@pytest.fixture
def worked_example():
    """One input channel, two 2x2 filters, no padding, ReLU."""

    def build(*steps):
        return ConvLayer(
            "example",
            weight=torch.tensor([[[[0.8, -0.6], [-0.4, 0.3]]], [[[-0.7, 0.2], [0.5, -0.1]]]]),
            bias=torch.tensor([0.05, -0.1]),
            input=torch.tensor([[[[1.0, 0.5, 0.0], [0.2, 0.0, 0.9], [0.7, 0.3, 0.1]]]]),
            steps=steps or (RELU,),
        )

    return build
