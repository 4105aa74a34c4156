"""What `encode` accepts and refuses, and what an encoding does with special values, damage, batches and instruction sets."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from seerlab.encodings import METHODS, encode, pack_weights
from seerlab.encodings.accounting import entropy_bytes, index_dtype
from seerlab.encodings.cps import untag
from seerlab.encodings.geometry import geometry_of

from .conftest import dense

STRIPWISE = ("cscc", "cpo", "cps")
FORMS = ("tagged", "local", "packed")


def sparse(*shape, density=0.4):
    values = torch.randint(1, 9, shape).float()
    return values * (torch.rand(shape) < density)


@pytest.mark.parametrize("method", METHODS)
def test_special_values_are_kept_and_minus_zero_is_zero(method, implementation):
    x = torch.zeros(1, 5, 6)
    x[0, 1, 1:5] = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0])
    x[0, 4, 5] = 1e-45  # the smallest float there is: nothing small is dropped
    e = encode(x, 3, 1, 1, method, implementation=implementation)
    got = e.decode()
    assert torch.equal(got.nan_to_num(7, 8, 9), x.nan_to_num(7, 8, 9))
    assert e.summary()["nonzeros"] == 4
    if method not in ("im2col", "mec"):
        assert not torch.signbit(got[0, 1, 4])


@pytest.mark.parametrize("method", METHODS)
def test_an_all_zero_map_gives_the_bias(method, implementation):
    e = encode(torch.zeros(2, 3, 4, 5), 3, 1, 1, method, implementation=implementation)
    y = e.conv2d(torch.ones(2, 3, 3, 3), torch.tensor([1.5, -2.0]), implementation=implementation)
    assert torch.equal(y, torch.tensor([1.5, -2.0]).view(1, 2, 1, 1).expand(2, 2, 4, 5))
    assert not e.decode().any()
    s = e.summary()
    assert s["units"] == s["units_formula"]
    assert s["units_shared"] >= s["units"]


@pytest.mark.parametrize("method", STRIPWISE)
def test_zero_channels_cost_nothing_unless_they_are_kept(method, implementation):
    x = sparse(9, 4, 5)
    x[[0, 4, 8]] = 0
    e = encode(x, 3, 1, 1, method, implementation=implementation)
    assert [c is None for c in e.channels] == [c in (0, 4, 8) for c in range(9)]
    assert e.arrays["live"].tolist() == [0b11101110, 0]
    everything = encode(x, 3, 1, 1, method, skip_zero_channels=False, implementation=implementation)
    assert all(c is not None for c in everything.channels)
    assert torch.equal(e.decode(), everything.decode())
    assert everything.units - e.units == 3 * sum(p.size for p in everything.channels[0]["ptr"])


@pytest.mark.parametrize("form", FORMS)
def test_channels_of_cps_are_cut_where_their_elements_end(form, implementation):
    x = sparse(5, 11, 7, density=0.6)
    e = encode(x, 3, 1, 1, "cps", cps=form, implementation=implementation)
    for number, channel in enumerate(e.channels):
        alone = encode(x[number : number + 1], 3, 1, 1, "cps", cps=form, implementation=implementation).arrays
        assert np.array_equal(channel["IN"], alone["IN"])
        assert np.array_equal(channel["DA"], alone["DA"])
        assert np.array_equal(np.stack(channel["ptr"]), alone["ptr"][0])


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_images(method):
    x = sparse(3, 4, 6, 5)
    weight = torch.randint(-3, 4, (2, 4, 3, 3)).float()
    e = encode(x, 3, 2, 1, method)
    assert (len(e), e.units, e.nbytes) == (3, sum(i.units for i in e), sum(i.nbytes for i in e))
    for number, image in enumerate(e):
        alone = encode(x[number], 3, 2, 1, method)
        assert all(np.array_equal(image.arrays[name], alone.arrays[name]) for name in alone.arrays)
        assert torch.equal(e.conv2d(weight)[number], alone.conv2d(weight))
    ratios = [image.summary()["cr_bytes"] for image in e]
    assert e.summary()["cr_bytes"] == pytest.approx(sum(ratios) / 3)
    with pytest.raises(ValueError, match="a batch of 3 images; take one of them"):
        e.arrays  # noqa: B018
    empty = encode(x[:0], 3, 2, 1, method)
    assert empty.decode().shape == (0, 4, 6, 5)
    assert empty.conv2d(weight).shape == (0, 2, 3, 3)
    assert empty.units == empty.nbytes == empty.summary()["units_formula"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_instruction_set_gives_the_same_bits(method, level):
    x = torch.randn(2, 6, 13, 11) * (torch.rand(2, 6, 13, 11) < 0.4)
    weight, bias = torch.randn(600, 3, 3, 3), torch.randn(600)
    e = encode(x, 3, 1, 1, method)
    y = e.conv2d(weight, bias, groups=2)
    assert torch.equal(y, e.conv2d(weight, bias, groups=2, implementation="reference")) or method in ("im2col", "mec")
    products = dense(x.abs(), weight.abs(), bias.abs(), padding=(1, 1, 1, 1), groups=2)
    assert ((y - dense(x, weight, bias, padding=(1, 1, 1, 1), groups=2)).abs() <= 2 * 28 * 2.0**-24 * products).all()


@pytest.mark.parametrize("method", METHODS)
def test_layouts_arrays_and_gradients_change_nothing(method):
    x = sparse(2, 4, 6, 5)
    weight = torch.randint(-3, 4, (2, 4, 3, 3)).float()
    expected = encode(x, 3, 1, 1, method).conv2d(weight)
    strided = torch.zeros(2, 4, 6, 10)[..., ::2].copy_(x)
    for same in (x.to(memory_format=torch.channels_last), strided, x.clone().requires_grad_(), x.numpy()):
        y = encode(same, 3, 1, 1, method).conv2d(weight.clone().requires_grad_(), groups=1)
        assert torch.equal(y, expected)
        assert not y.requires_grad
    assert torch.equal(encode(x, 3, 1, 1, method).conv2d(pack_weights(weight)), expected)


@pytest.mark.parametrize("method", METHODS)
def test_encodings_survive_pickling_and_later_changes_of_the_map(method):
    x = sparse(3, 6, 5)
    e = encode(x, 3, 1, 1, method)
    before = x.clone()
    x.fill_(5)
    assert torch.equal(e.decode(), before)
    assert torch.equal(pickle.loads(pickle.dumps(e)).decode(), before)


def test_the_representation_names_both_baselines():
    text = repr(encode(sparse(3, 6, 5), method="cpo"))
    assert "smaller than im2col" in text
    assert "than the raw map" in text


def test_same_padding_is_that_of_the_authors_logs():
    assert geometry_of((1, 147, 147), 3, 1, "same").padding == (1, 1, 1, 1)
    assert geometry_of((1, 8, 7), 3, 2, "same").padding == (0, 1, 1, 1)
    assert geometry_of((1, 8, 7), 3, 2, "same").out == (4, 4)
    assert geometry_of((1, 5, 5), 1, 3, "same").padding == (0, 0, 0, 0)
    assert geometry_of((1, 9, 9), (2, 4), 1, "same", 2).padding == (1, 1, 3, 3)
    assert geometry_of((1, 9, 9), 3, 1, (1, 2)).padding == (1, 1, 2, 2)
    assert geometry_of((1, 9, 9), 3, 1, (1, 2, 3, 4)).padding == (1, 2, 3, 4)


def test_indices_widen_where_positions_no_longer_fit():
    def dtype(method, height, width, kernel, form="tagged"):
        return index_dtype(method, geometry_of((1, height, width), kernel), form)

    assert dtype("cpo", 2**14, 4, (1, 4)) == dtype("cscc", 2**14, 4, (1, 4)) == np.uint16
    assert dtype("cpo", 2**14 + 1, 4, (1, 4)) == np.uint32
    assert dtype("cps", 2**8, 2**7, 3) == np.int16
    assert dtype("cps", 2**8, 2**7 + 1, 3) == np.int32
    assert dtype("cps", 2**8, 2**7 + 1, 3, "local") == np.int16
    assert dtype("cps", 2**6, 2**6, 3, "packed") == np.uint16
    assert dtype("cps", 2**6, 2**6 + 1, 3, "packed") == np.uint32


@pytest.mark.parametrize(
    ("method", "form", "shape", "kernel"),
    [
        ("cpo", "tagged", (1, 22000, 7), (1, 3)),
        ("cscc", "tagged", (1, 22000, 7), (1, 3)),
        ("cps", "tagged", (2, 193, 181), (3, 3)),
        ("cps", "local", (1, 11000, 5), (1, 3)),
        ("cps", "packed", (2, 70, 65), (3, 3)),
    ],
)
def test_wide_indices_give_the_same_map_and_convolution(method, form, shape, kernel, implementation):
    x = sparse(*shape, density=0.02)
    x[:, -1, -1] = 3  # the last position
    e = encode(x, kernel, 1, 0, method, cps=form, implementation=implementation)
    assert e.arrays["IN"].itemsize == 4
    assert torch.equal(e.decode(), x)
    weight = torch.randint(-3, 4, (2, shape[0], *kernel)).float()
    assert torch.equal(e.conv2d(weight, implementation=implementation), dense(x, weight))


@pytest.mark.parametrize("method", STRIPWISE)
def test_maps_too_large_for_any_index_are_refused_before_they_are_read(method):
    x = np.broadcast_to(np.float32(0), (1, 70000, 70000))
    with pytest.raises(ValueError, match=f"70000 x 70000 is too large for {method}"):
        encode(x, 3, 1, 0, method)


def test_the_entropy_bound():
    assert entropy_bytes(100, 0) == 0
    assert entropy_bytes(100, 100) == 400
    assert entropy_bytes(100, 50) == 200 + 100 / 8
    s = encode(sparse(8, 30, 30, density=0.3), method="zvc").summary()
    assert s["bytes_entropy"] < s["bytes"] < 1.05 * s["bytes_entropy"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"method": "csr"},
            ValueError,
            "unknown method 'csr'; choose one of 'im2col', 'mec', 'cscc', 'cpo', 'cps', 'zvc'",
        ),
        ({"cps": "plain"}, ValueError, "unknown form cps='plain'; choose one of 'tagged', 'local', 'packed'"),
        ({"method": "cpo", "cps": "local"}, ValueError, "a form of method 'cps', not of 'cpo'"),
        ({"method": "zvc", "trim": True}, ValueError, "'zvc' has none to cut"),
        ({"stride": 2, "trim": True}, ValueError, "needs a horizontal stride of 1, and it is 2"),
        ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
        ({"stride": 0}, ValueError, "stride=0; give one integer or two"),
        ({"kernel_size": (3, 0)}, ValueError, "kernel_size="),
        ({"kernel_size": (1, 2, 3)}, ValueError, "kernel_size="),
        ({"kernel_size": 2.5}, TypeError, "kernel_size=2.5; give integers"),
        ({"padding": -1}, ValueError, "padding=-1; give an integer"),
        ({"padding": (1, 2, 3)}, ValueError, "padding="),
        ({"padding": "valid"}, ValueError, "unknown padding 'valid'"),
        ({"kernel_size": 9}, ValueError, "the kernel covers 9 x 9 and the padded map is only 8 x 7"),
        ({"epsilon": 0.1}, TypeError, "epsilon"),
    ],
)
def test_wrong_options_are_refused_with_the_choices(options, error, message):
    with pytest.raises(error, match=message):
        encode(torch.ones(2, 6, 5), **options)


@pytest.mark.parametrize("method", ["mec", *STRIPWISE])
def test_dilation_is_refused_by_name_where_it_is_not_defined(method):
    with pytest.raises(ValueError, match=f"{method} is defined for dilation 1 only; choose one of 'im2col', 'zvc'"):
        encode(torch.ones(2, 6, 5), 2, 1, 0, method, dilation=2)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0]], TypeError, "x is list; give a float32"),
        (torch.ones(1, 3, 3, dtype=torch.float64), TypeError, "x has dtype torch.float64"),
        (np.ones((1, 3, 3)), TypeError, "x has dtype float64"),
        (torch.ones(3, 3), ValueError, "x has shape .3, 3.; give .C, H, W."),
        (torch.ones(0, 3, 3), ValueError, "every axis of .C, H, W. must have at least one"),
        (torch.ones(1, 3, 3, device="meta"), TypeError, "on device meta; move it to the CPU"),
    ],
)
def test_wrong_maps_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        encode(x)


@pytest.mark.parametrize(
    ("weight", "bias", "groups", "error", "message"),
    [
        (torch.ones(2, 4, 5, 5), None, 1, ValueError, "the map is encoded for a kernel of .3, 3."),
        (torch.ones(2, 3, 3, 3), None, 1, ValueError, "needs 3 input channels, and the map has 4"),
        (torch.ones(3, 2, 3, 3), None, 2, ValueError, "groups=2 does not divide the 3 output channels"),
        (torch.ones(2, 2, 3, 3), None, 0, ValueError, "groups=0 does not divide"),
        (torch.ones(0, 4, 3, 3), None, 1, ValueError, "at least one element"),
        (torch.ones(4, 3, 3), None, 1, ValueError, "give .K, C/groups, R, S."),
        (torch.ones(2, 4, 3, 3), torch.ones(3), 1, ValueError, "give one bias per filter"),
        (torch.ones(2, 4, 3, 3).double(), None, 1, TypeError, "weight has dtype torch.float64"),
        (torch.ones(2, 4, 3, 3), 1.0, 1, TypeError, "bias is float"),
    ],
)
def test_wrong_weights_are_refused(weight, bias, groups, error, message):
    with pytest.raises(error, match=message):
        encode(torch.ones(4, 5, 5)).conv2d(weight, bias, groups=groups)


def test_arrays_of_sparse_formats_are_read_only():
    e = encode(torch.ones(4, 5, 5))
    with pytest.raises(ValueError, match="read-only"):
        e.arrays["IN"][0] = 3
    with pytest.raises(ValueError, match="im2col does not store channel by channel"):
        encode(torch.ones(4, 5, 5), method="im2col").channels  # noqa: B018


@pytest.mark.parametrize(
    ("index", "form", "message"),
    [
        ([1, -6], "tagged", "a prefix whose set is missing"),
        ([-6, 3], "tagged", r"is the set 3; a set is one of \(7, 11, 13, 14, 15\)"),
        ([-6, -6, 7], "tagged", "is the set -6"),
        ([-6, 16], "tagged", "is the set 16"),
        ([99], "tagged", "a position outside the map of 6 x 7"),
        ([42], "tagged", "a position outside the map of 6 x 7"),
        ([~40, 7], "tagged", "a position outside the map of 6 x 7"),
        ([18], "local", "a position outside the map of 6 x 3"),
        ([0], "packed", "an empty set"),
        ([4 << 4 | 8], "packed", "a position outside the map of 6 x 7"),
        ([42 << 4 | 1], "packed", "a position outside the map of 6 x 7"),
    ],
)
def test_damaged_streams_are_refused(index, form, message):
    with pytest.raises(ValueError, match=message):
        untag(np.array(index), 6, 3 if form == "local" else 7, form)
    e = encode(torch.ones(1, 6, 7), 3, 1, 0, "cps", cps=form)
    damaged = np.array(index, e.arrays["IN"].dtype)
    broken = replace(e, images=({**e.arrays, "IN": damaged},))
    with pytest.raises(ValueError, match=r"damaged|contradict"):
        broken.decode()
    for implementation in ("reference", "compiled"):
        with pytest.raises(ValueError, match=r"damaged|contradict"):
            broken.conv2d(torch.ones(1, 1, 3, 3), implementation=implementation)


@pytest.mark.parametrize("method", [*STRIPWISE, "zvc"])
def test_arrays_that_contradict_each_other_are_refused_and_never_overrun(method):
    """The compiled loops are given arrays of which one is too short, too long, or full of large numbers."""
    weight = torch.ones(20, 3, 3, 3)
    e = encode(sparse(3, 8, 9, density=0.6), 3, 1, 1, method)
    for name in e.arrays:
        if name == "live":
            continue
        array = e.arrays[name]
        if array.ndim == 1:
            wrong = [array[:-1], np.concatenate([array, array[:1]]), array[:0]]
        else:
            wrong = [array[:, :, :-1], array + 5, array[:-1], array * 1000]
        if name in ("IN", "mask"):
            wrong.append(np.full_like(array, np.iinfo(array.dtype).max))
        for damaged in wrong:
            if name == "ptr" and np.array_equal(np.diff(damaged), np.diff(array)):
                continue  # the loops read differences only
            broken = replace(e, images=({**e.arrays, name: damaged},))
            with pytest.raises(ValueError, match=r"contradict|bitmap|ptr has shape"):
                broken.conv2d(weight)


@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_change_a_result(method):
    x, weight = torch.randn(2, 4, 9, 9).relu(), torch.randn(70, 4, 3, 3)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(encode(x, 3, 1, 1, method).conv2d(weight))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results) or method in ("im2col", "mec")  # a matrix product may add in another order
    assert torch.allclose(*results, rtol=0, atol=1e-4)
