"""Max-pool: every implementation and instruction set against torch's, which it must equal."""

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch.nn.functional import max_pool2d as expected_of

from seerlab.kernels.max_pool import max_pool2d
from seerlab.kernels.simd import LEVELS, available_levels, use_level

INF, NAN = float("inf"), float("nan")


@pytest.fixture(params=("reference", *LEVELS))
def path(request):
    """Keyword arguments of the reference, or of the compiled kernel with one instruction set forced."""
    if request.param == "reference":
        yield {"implementation": "reference"}
        return
    if request.param not in available_levels():
        pytest.skip(f"no {request.param} on this machine or in this build")
    with use_level(request.param):
        yield {"implementation": "compiled"}


def random_map(*shape, seed=0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


def same(ours, theirs):
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


SETTINGS = [
    (2, None, 0, 1, False),
    (3, 2, 1, 1, False),
    (3, 2, 0, 1, True),
    (3, 2, 1, 1, True),
    (3, 1, 1, 1, False),
    ((2, 5), (1, 3), (1, 2), (3, 1), True),
    ((1, 1), 2, 0, 1, False),
    (5, 1, 2, 1, False),
    (2, 4, 1, 3, True),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("channels", [1, 7, 16, 33, 83])
def test_equals_torch(path, setting, channels):
    for n, height, width in ((1, 13, 13), (2, 9, 16), (3, 7, 8)):
        x = random_map(n, channels, height, width)
        y = max_pool2d(x, *setting, **path)
        same(y, expected_of(x, *setting))
        assert y.is_contiguous(memory_format=torch.channels_last)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_settings(level, data):  # the level is forced by the fixture
    def pair(low, high):
        return data.draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    kernel, stride, dilation = pair(1, 4), pair(1, 4), pair(1, 3)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    size = pair(1, 9)
    assume(all(s + 2 * p >= e for s, p, e in zip(size, padding, extent, strict=True)))
    ceil_mode = data.draw(st.booleans())
    x = random_map(data.draw(st.integers(1, 2)), data.draw(st.integers(1, 20)), *size)
    same(max_pool2d(x, kernel, stride, padding, dilation, ceil_mode),
         expected_of(x.contiguous(), kernel, stride, padding, dilation, ceil_mode))  # fmt: skip


@pytest.mark.parametrize("channels", [3, 16, 70])
def test_nan_and_infinity(path, channels):
    generator = torch.Generator().manual_seed(2)
    x = random_map(2, channels, 11, 12)
    special = torch.randint(0, 12, x.shape, generator=generator)
    for value, code in ((NAN, 0), (INF, 1), (-INF, 2), (-0.0, 3)):
        x[special == code] = value
    for setting in SETTINGS[:6]:
        same(max_pool2d(x, *setting, **path), expected_of(x.contiguous(), *setting))
    x.fill_(-INF)
    assert (max_pool2d(x, 3, 2, 1, **path) == -INF).all()


def test_every_place_of_a_nan_counts(path):
    for place in range(9):
        x = random_map(1, 20, 3, 3)
        x[:, :, place // 3, place % 3] = NAN
        assert max_pool2d(x, 3, **path).isnan().all()


def test_windows_without_an_element_are_minus_infinity(path):
    x = random_map(1, 5, 2, 2)
    y = max_pool2d(x, 2, 1, 1, 3, **path)
    same(y, expected_of(x, 2, 1, 1, 3))
    assert (y == -INF).any()


@pytest.mark.parametrize("layout", ["rows", "slice", "strided", "transposed", "expanded"])
def test_layouts_of_the_input(path, layout):
    if layout == "rows":
        x = random_map(2, 19, 8, 9).contiguous()
    elif layout == "slice":
        x = random_map(2, 40, 8, 9)[:, 5:24]
    elif layout == "strided":
        x = random_map(2, 19, 16, 27)[:, :, ::2, ::3]
    elif layout == "transposed":
        x = random_map(2, 19, 9, 8).transpose(2, 3)
    else:
        x = random_map(1, 19, 1, 9).expand(2, 19, 8, 9)
    before = x.clone()
    same(max_pool2d(x, 3, 2, 1, **path), expected_of(before, 3, 2, 1))
    assert torch.equal(x, before)


def test_output_beside_others(path):
    x = random_map(2, 21, 9, 9)
    wide = torch.full((2, 40, 5, 5), 7.0).contiguous(memory_format=torch.channels_last)
    out = wide[:, 4:25]
    assert max_pool2d(x, 3, 2, 1, out=out, **path) is out
    same(out, expected_of(x, 3, 2, 1))
    assert (wide[:, :4] == 7).all()
    assert (wide[:, 25:] == 7).all()


def test_nothing_outside_is_read_or_written(level):
    memory = torch.full((3, 6, 6, 21), NAN)
    memory[1] = torch.randn(6, 6, 21)
    x = memory.permute(0, 3, 1, 2)[1:2]
    written = torch.full((3, 3, 3, 21), 7.0)
    max_pool2d(x, 3, 2, 1, out=written.permute(0, 3, 1, 2)[1:2])
    same(written[1], expected_of(x, 3, 2, 1)[0].permute(1, 2, 0))
    assert (written[0] == 7).all()
    assert (written[2] == 7).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads(level, threads):
    x = random_map(2, 64, 37, 41)
    same(max_pool2d(x, 3, 2, 1, threads=threads), expected_of(x, 3, 2, 1))


def test_empty_batch_and_gradient(path):
    assert max_pool2d(torch.zeros(0, 3, 8, 8), 2, **path).shape == (0, 3, 4, 4)
    x = random_map(1, 3, 8, 8).requires_grad_()
    assert not max_pool2d(x, 2, **path).requires_grad


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((0,), {}, "kernel_size=0"),
        ((2, 0), {}, "stride=0"),
        ((2, 2, -1), {}, "padding=-1"),
        ((2, 2, 2), {}, "at most half"),
        ((2, 2, 0, 0), {}, "dilation=0"),
        (((2, 2, 2),), {}, "two, vertical and horizontal"),
        ((2.5,), {}, "kernel_size=2.5"),
        ((9,), {}, "pad more"),
        ((2,), {"out": torch.zeros(1, 3, 3, 4)}, r"out has shape \(1, 3, 3, 4\)"),
        ((2,), {"out": torch.zeros(1, 3, 4, 4)}, "neighbouring channels"),
        ((2,), {"implementation": "fast"}, "implementation"),
    ],
)
def test_refusals(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        max_pool2d(random_map(1, 3, 8, 8), *arguments, **keywords)


def test_refuses_other_inputs():
    with pytest.raises(TypeError, match="float64"):
        max_pool2d(torch.zeros(1, 3, 8, 8, dtype=torch.float64), 2)
    with pytest.raises(ValueError, match="4 axes"):
        max_pool2d(torch.zeros(3, 8, 8), 2)
    with pytest.raises(ValueError, match="only the batch"):
        max_pool2d(torch.zeros(1, 0, 8, 8), 2)
