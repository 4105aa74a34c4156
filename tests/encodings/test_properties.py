"""Laws that hold for every map: round trip, convolution, sizes. Comparisons are exact: all sums are small integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seerlab.encodings import METHODS
from seerlab.encodings.cps import FORMS, tag, untag

from .conftest import random_case

CASES = 2000  # random maps per method: all kinds of geometry, about twenty of each combination of kernel and stride
CHUNKS = 4
STRIPWISE = ("cscc", "cpo", "cps")


def cases(method, chunk):
    seed = METHODS.index(method) * CHUNKS + chunk
    random = np.random.default_rng(seed)
    return (random_case(random, dilated=method in ("im2col", "zvc")) for _ in range(CASES // CHUNKS))


def kept(case, method):
    """The map as `method` restores it: elements that it does not store are zero."""
    g = case.encode("zvc").geometry
    x = case.x.clone()
    if method == "zvc":
        return x
    used = np.zeros(g.padded, bool)
    for y in range(g.out[0]):
        for left in range(g.out[1]):
            rows = slice(y * g.stride[0], y * g.stride[0] + (g.kernel_size[0] - 1) * g.dilation[0] + 1, g.dilation[0])
            columns = slice(
                left * g.stride[1], left * g.stride[1] + (g.kernel_size[1] - 1) * g.dilation[1] + 1, g.dilation[1]
            )
            used[rows if method == "im2col" else slice(None), columns] = True
    top, left = g.corner
    x[..., ~torch.from_numpy(used[top : top + g.height, left : left + g.width])] = 0
    return x


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("method", METHODS)
def test_random_maps_decode_convolve_and_count_right(method, chunk):
    for case in cases(method, chunk):
        e = case.encode(method)
        plain = case.encode(method, "reference")
        for arrays, expected in zip(e.images, plain.images, strict=True):
            assert arrays.keys() == expected.keys()
            for name, array in arrays.items():
                assert array.dtype == expected[name].dtype
                assert np.array_equal(array, expected[name]), name
        assert e.nonzeros == plain.nonzeros
        assert torch.equal(e.decode(), kept(case, method)), case
        y = e.conv2d(case.weight, case.bias, groups=case.groups)
        assert torch.equal(y, case.dense()), case
        s = e.summary()
        assert s["units"] == s["units_formula"]
        assert s["bytes"] == s["bytes_formula"] == sum(a.nbytes for arrays in e.images for a in arrays.values())
        assert s["nonzeros"] == case.x.count_nonzero()


@pytest.mark.parametrize("method", METHODS)
def test_reference_convolutions_equal_the_dense_one(method):
    random = np.random.default_rng(99)
    for _ in range(250):
        case = random_case(random, dilated=method in ("im2col", "zvc"))
        y = case.encode(method).conv2d(case.weight, case.bias, groups=case.groups, implementation="reference")
        assert torch.equal(y, case.dense()), case


def test_sizes_of_cpo_and_cps_stay_within_their_bounds():
    random = np.random.default_rng(7)
    for _ in range(1000):
        case = random_case(random)
        cscc, cpo, cps = (case.encode(method, trim=False, cps="tagged") for method in STRIPWISE)
        assert cps.units <= cpo.units <= 4 / 3 * cps.units
        assert case.encode("cps", trim=False, cps="packed").units <= cps.units
        if case.kernel_size[1] <= case.stride[1]:
            assert cpo.units == cscc.units
        for a, b in zip(cpo.images, cps.images, strict=True):
            assert np.array_equal(a["DA"], b["DA"])
            assert np.array_equal(a["ptr"], b["ptr"])
            assert (np.diff(a["ptr"], axis=2) >= 0).all()
            assert (a["ptr"][:, :, 0] == 0).all()
            assert a["ptr"][:, :, -1].sum() == len(a["DA"]) == len(a["IN"])


def test_cpo_and_cscc_share_their_arrays_for_kernels_one_column_wide():
    random = np.random.default_rng(3)
    seen = 0
    while seen < 50:
        case = random_case(random)
        if case.kernel_size[1] > 1:
            continue
        seen += 1
        for a, b in zip(case.encode("cpo", trim=False).images, case.encode("cscc").images, strict=True):
            assert all(np.array_equal(a[name], b[name]) for name in a)


def test_trimming_changes_pointers_and_nothing_else():
    random = np.random.default_rng(11)
    shorter = 0
    for _ in range(300):
        case = random_case(random)
        if case.stride[1] > 1:
            continue
        full, cut = case.encode("cpo", trim=False), case.encode("cpo", trim=True)
        g = full.geometry
        live = sum(len(arrays["ptr"]) for arrays in full.images)
        saved = live * (g.out[1] - 2) if g.trimmable else 0
        assert full.units - cut.units == saved
        shorter += saved > 0
        assert torch.equal(full.decode(), cut.decode())
        assert torch.equal(full.conv2d(case.weight, groups=case.groups), cut.conv2d(case.weight, groups=case.groups))
    assert shorter > 20


@st.composite
def ascending_positions(draw):
    height, columns = draw(st.integers(1, 19)), draw(st.integers(1, 6))
    positions = draw(st.sets(st.integers(0, height * columns - 1), max_size=60))
    return height, columns, sorted(positions)


@pytest.mark.parametrize("form", FORMS)
@given(drawn=ascending_positions())
@hypothesis_settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_tag_and_untag_are_inverse(form, drawn):
    height, columns, positions = drawn
    index = tag(positions, height, form)
    assert untag(np.array(index, np.int64), height, columns, form).tolist() == positions
    assert tag(untag(np.array(index, np.int64), height, columns, form).tolist(), height, form) == index
    assert len(index) <= len(positions)


@pytest.mark.parametrize("rows", [[4, 5, 6, 8, 11], [4, 7, 8, 9, 11]])
def test_streams_that_would_be_the_same_without_the_mark_differ(rows):
    index = tag(rows, 16)
    assert [~n if n < 0 else n for n in index] == [4, 7, 8, 11]  # what an unmarked stream would hold for both
    assert untag(np.array(index), 16, 1).tolist() == rows
