"""The worked examples of the specification, to the last number: arrays, units, ratios, bytes and convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seerlab.encodings import METHODS, encode
from seerlab.encodings.accounting import COUNTED, count, units
from seerlab.encodings.geometry import geometry_of

FIRST = torch.tensor([[[0.0, 1, 0, 2, 0], [3, 4, 5, 6, 0], [0, 7, 0, 8, 0], [9, 10, 11, 0, 12], [0, 0, 13, 14, 15]]])
SECOND = torch.tensor([[[0.0, 1, 0, 2], [3, 4, 0, 0], [0, 5, 0, 6]]])
THIRD = torch.tensor(
    [
        [
            [1.0, 0, 0, 2, 0, 3, 0, 0, 0, 4, 9],
            [0, 5, 0, 6, 0, 0, 7, 0, 0, 0, 0],
            [0, 8, 0, 0, 0, 1, 0, 0, 2, 0, 0],
            [3, 0, 0, 4, 0, 5, 0, 0, 6, 0, 7],
            [0, 9, 0, 8, 2, 0, 0, 0, 0, 1, 0],
            [0, 3, 0, 0, 4, 5, 0, 0, 0, 0, 6],
        ]
    ]
)
# map, kernel, stride, output
EXAMPLES = {
    1: (FIRST, [[1, 2, 3], [4, 5, 6], [7, 8, 9]], 1, [[120, 205, 118], [303, 266, 242], [283, 356, 470]]),
    2: (SECOND, [[1, 2, 3, 4]], 1, [[10], [11], [34]]),
    3: (THIRD, [[1, 2, 3, 4], [5, 6, 7, 8]], 3, [[87, 97, 51], [137, 71, 26]]),
}


def encoded(example, method, implementation, **options):
    x, kernel, stride, _ = EXAMPLES[example]
    return encode(x, (len(kernel), len(kernel[0])), stride, 0, method, implementation=implementation, **options)


def lists(e):
    return {name: array.tolist() for name, array in e.arrays.items() if name != "live"}


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("method", METHODS)
def test_examples_convolve_to_the_given_outputs(example, method, implementation):
    _, kernel, _, expected = EXAMPLES[example]
    weight = torch.tensor([[kernel]], dtype=torch.float32)
    y = encoded(example, method, implementation).conv2d(weight, implementation=implementation)
    assert y.tolist() == [expected]


def test_first_example_im2col_and_mec(implementation):
    rows = """0 1 0 3 4 5 0 7 0|1 0 2 4 5 6 7 0 8|0 2 0 5 6 0 0 8 0|3 4 5 0 7 0 9 10 11|4 5 6 7 0 8 10 11 0|5 6 0 0 8 0 11 0 12
    |0 7 0 9 10 11 0 0 13|7 0 8 10 11 0 0 13 14|0 8 0 11 0 12 13 14 15"""
    expected = [[int(n) for n in row.split()] for row in rows.split("|")]
    assert lists(encoded(1, "im2col", implementation)) == {"lowered": expected}
    assert lists(encoded(1, "mec", implementation)) == {
        "lowered": [
            [0, 1, 0, 3, 4, 5, 0, 7, 0, 9, 10, 11, 0, 0, 13],
            [1, 0, 2, 4, 5, 6, 7, 0, 8, 10, 11, 0, 0, 13, 14],
            [0, 2, 0, 5, 6, 0, 0, 8, 0, 11, 0, 12, 13, 14, 15],
        ]
    }


def test_first_example_cscc(implementation):
    assert lists(encoded(1, "cscc", implementation)) == {
        "ptr": [[[0, 9, 20, 29]]],
        "IN": [1, 3, 4, 5, 7, 9, 10, 11, 14, 0, 2, 3, 4, 5, 6, 8, 9, 10, 13, 14, 1, 3, 4, 7, 9, 11, 12, 13, 14],
        "DA": [1, 3, 4, 5, 7, 9, 10, 11, 13, 1, 2, 4, 5, 6, 7, 8, 10, 11, 13, 14, 2, 5, 6, 8, 11, 12, 13, 14, 15],
    }


def test_first_example_cpo_and_the_forms_of_cps(implementation):
    common = {
        "ptr": [[[0, 2, 2, 4], [0, 4, 8, 8], [0, 3, 3, 3]]],
        "DA": [3, 9, 12, 15, 1, 4, 7, 10, 2, 6, 8, 14, 5, 11, 13],
    }
    assert lists(encoded(1, "cpo", implementation)) == {
        **common,
        "IN": [3, 9, 11, 14, 1, 4, 7, 10, 2, 5, 8, 14, 5, 11, 14],
    }
    tagged = [1, 3, 23, 24, -6, 15, -16, 7, 19, 11, 13, 14]
    assert lists(encoded(1, "cps", implementation)) == {**common, "IN": tagged}
    local = [1, 3, 13, 14, ~5, 15, ~10, 7, 14, 11, 13, 14]
    assert lists(encoded(1, "cps", implementation, cps="local")) == {**common, "IN": local}
    packed = [0 << 4 | 10, 20 << 4 | 8, 24 << 4 | 1, 5 << 4 | 15, 15 << 4 | 7, 19 << 4 | 1, 10 << 4 | 10, 14 << 4 | 1]
    assert lists(encoded(1, "cps", implementation, cps="packed")) == {**common, "IN": packed}


@pytest.mark.parametrize("method", ["cpo", "cps"])
def test_first_example_trimmed(method, implementation):
    e = encoded(1, method, implementation, trim=True)
    assert e.arrays["ptr"].tolist() == [[0, 2, 4, 0, 4, 8, 8, 0, 3, 3, 3]]
    assert [p.tolist() for p in e.channels[0]["ptr"]] == [[0, 2, 4], [0, 4, 8, 8], [0, 3, 3, 3]]
    assert e.units == {"cpo": 41, "cps": 38}[method]
    assert e.conv2d(torch.arange(1.0, 10).view(1, 1, 3, 3), implementation=implementation).tolist() == [EXAMPLES[1][3]]


def test_first_example_zvc(implementation):
    assert lists(encoded(1, "zvc", implementation)) == {"mask": [0x01CBA9EA], "values": list(range(1, 16))}


def test_first_example_element_types(implementation):
    types = {name: array.dtype for name, array in encoded(1, "cps", implementation).arrays.items()}
    assert types == {"live": np.uint8, "ptr": np.int32, "IN": np.int16, "DA": np.float32}
    assert encoded(1, "cpo", implementation).arrays["IN"].dtype == np.uint16
    assert encoded(1, "zvc", implementation).arrays["mask"].dtype == np.uint32


@pytest.mark.parametrize(
    ("method", "sizes"),
    {
        "im2col": (81, 324, 1, 0.31),
        "mec": (45, 180, 1.80, 0.56),
        "cscc": (62, 191, 1.31, 0.40),
        "cpo": (42, 139, 1.93, 0.60),
        "cps": (39, 133, 2.08, 0.64),
        "zvc": (16, 64, 5.06, 1.56),
    }.items(),
)
def test_first_example_table(method, sizes, implementation):
    s = encoded(1, method, implementation).summary()
    assert (s["units"], s["bytes"], round(s["cr_elements"], 2), round(s["raw_elements"], 2)) == sizes
    assert (s["units_formula"], s["bytes_formula"]) == sizes[:2]
    assert s["units_trimmed"] == {"cpo": 41, "cps": 38}.get(method)
    assert s["cr_bytes"] == 324 / sizes[1]
    assert s["raw_bytes"] == 100 / sizes[1]
    assert (s["density"], s["nonzeros"], s["elements"]) == (0.6, 15, 25)


def test_first_example_with_an_empty_second_channel(implementation):
    two = torch.cat([FIRST, torch.zeros_like(FIRST)])
    got = {method: encode(two, 3, 1, 0, method, implementation=implementation) for method in METHODS}
    assert (got["im2col"].units, got["mec"].units, got["cpo"].units) == (162, 90, 42)
    assert got["cpo"].units_shared == 42
    assert got["cpo"].channels[1] is None
    assert got["cpo"].arrays["live"].tolist() == [1]
    kept = encode(two, 3, 1, 0, "cpo", skip_zero_channels=False, implementation=implementation)
    assert kept.units == 54
    assert kept.arrays["live"].tolist() == [3]
    assert [p.tolist() for p in kept.channels[1]["ptr"]] == [[0, 0, 0, 0]] * 3
    assert kept.channels[1]["IN"].size == kept.channels[1]["DA"].size == 0


def test_second_example_with_fewer_strips_than_pointer_types(implementation):
    pointers = [[[0, 6], [0, 0], [0, 0], [0, 0]]]
    values = [3, 1, 4, 5, 2, 6]
    assert lists(encoded(2, "cscc", implementation)) == {
        "ptr": [[[0, 6]]],
        "IN": [1, 3, 4, 5, 9, 11],
        "DA": [1, 2, 3, 4, 5, 6],
    }
    assert lists(encoded(2, "cpo", implementation)) == {"ptr": pointers, "IN": [4, 1, 5, 9, 3, 11], "DA": values}
    assert lists(encoded(2, "cps", implementation)) == {"ptr": pointers, "IN": [1, -4, 7, 9, 11], "DA": values}
    assert encoded(2, "zvc", implementation).arrays["mask"].tolist() == [0xA3A]
    got = {method: encoded(2, method, implementation).units for method in METHODS}
    assert got == {"im2col": 12, "mec": 12, "cscc": 14, "cpo": 20, "cps": 19, "zvc": 7}
    assert encoded(2, "cps", implementation, trim=True).units == 19
    assert encoded(2, "cps", implementation).summary()["units_trimmed"] is None


def test_third_example_with_gaps_and_trailing_columns(implementation):
    assert lists(encoded(3, "im2col", implementation)) == {
        "lowered": [
            [1, 0, 0, 2, 0, 5, 0, 6],
            [2, 0, 3, 0, 6, 0, 0, 7],
            [0, 0, 0, 4, 7, 0, 0, 0],
            [3, 0, 0, 4, 0, 9, 0, 8],
            [4, 0, 5, 0, 8, 2, 0, 0],
            [0, 0, 6, 0, 0, 0, 0, 1],
        ]
    }
    assert lists(encoded(3, "cscc", implementation)) == {
        "ptr": [[[0, 10, 21, 26]]],
        "IN": [0, 3, 5, 7, 9, 12, 15, 17, 19, 21, 0, 2, 4, 7, 10, 12, 14, 16, 17, 21, 22, 3, 4, 10, 14, 19],
        "DA": [1, 2, 5, 6, 8, 3, 4, 9, 8, 3, 2, 3, 6, 7, 1, 4, 5, 8, 2, 4, 5, 4, 7, 2, 6, 1],
    }
    common = {
        "ptr": [[[0, 6, 12, 16], [0, 4, 5, 5]]],
        "DA": [1, 3, 5, 8, 9, 3, 2, 4, 3, 1, 5, 5, 2, 6, 4, 1, 2, 6, 4, 8, 7],
    }
    assert lists(encoded(3, "cpo", implementation)) == {
        **common,
        "IN": [0, 12, 5, 9, 17, 21, 17, 21, 2, 10, 14, 22, 10, 14, 3, 19, 3, 7, 15, 19, 7],
    }
    assert lists(encoded(3, "cps", implementation)) == {
        **common,
        "IN": [0, 3, 7, 8, 10, 11, 28, 29, -31, 13, 35, 50, 51, 54, 58, -19, 11, 22, 37],
    }
    assert encoded(3, "zvc", implementation).arrays["mask"].tolist() == [0x48825629, 0x1921AA52, 0x2]
    got = {method: encoded(3, method, implementation) for method in METHODS}
    assert {m: e.units for m, e in got.items()} == {
        "im2col": 48, "mec": 72, "cscc": 56, "cpo": 50, "cps": 48, "zvc": 27,
    }  # fmt: skip
    assert {m: e.nbytes for m, e in got.items()} == {
        "im2col": 192, "mec": 288, "cscc": 173, "cpo": 159, "cps": 155, "zvc": 108,
    }  # fmt: skip


def test_third_example_restores_every_stored_element_and_no_other(implementation):
    unused_column = THIRD.clone()
    unused_column[..., 10] = 0
    for method in ("mec", "cscc", "cpo", "cps"):
        assert torch.equal(encoded(3, method, implementation).decode(), unused_column)
    assert torch.equal(encoded(3, "zvc", implementation).decode(), THIRD)
    unused_row = unused_column.clone()
    unused_row[:, [2, 5]] = 0
    assert torch.equal(encoded(3, "im2col", implementation).decode(), unused_row)


@pytest.mark.parametrize(
    ("width", "kernel", "stride", "out", "types", "columns"),
    [
        (8, 3, 1, 6, 3, "0/0 0/1 0/2 1/2 2/2 3/2 4/1 5/0"),
        (9, 3, 2, 4, 2, "0/0 0/0 0/1 1/0 1/1 2/0 2/1 3/0 3/0"),
        (10, 3, 2, 4, 2, "0/0 0/0 0/1 1/0 1/1 2/0 2/1 3/0 3/0 -"),
        (11, 5, 2, 4, 3, "0/0 0/0 0/1 0/1 0/2 1/1 1/2 2/1 2/1 3/0 3/0"),
        (9, 5, 3, 2, 2, "0/0 0/0 0/0 0/1 0/1 1/0 1/0 1/0 -"),
        (11, 3, 3, 3, 1, "0/0 0/0 0/0 1/0 1/0 1/0 2/0 2/0 2/0 - -"),
        (10, 2, 3, 3, 1, "0/0 0/0 - 1/0 1/0 - 2/0 2/0 - -"),
        (5, 4, 1, 2, 4, "0/0 0/1 0/1 0/1 1/0"),
        (4, 4, 1, 1, 4, "0/0 0/0 0/0 0/0"),
    ],
)
def test_column_maps(width, kernel, stride, out, types, columns):
    g = geometry_of((1, 4, width), (1, kernel), stride)
    first, kind = g.columns
    assert (g.out[1], g.types) == (out, types)
    assert " ".join("-" if t < 0 else f"{s}/{t}" for s, t in zip(first, kind, strict=True)) == columns


@pytest.mark.parametrize(
    ("size", "im2col", "cscc", "cpo"), [(8, 324, 295, 145), (17, 2025, 1546, 613), (50, 20736, 14449, 5101)]
)
def test_all_ones_maps(size, im2col, cscc, cpo, implementation):
    ones = torch.ones(1, size, size)
    assert encode(ones, 3, 1, 0, "im2col", implementation=implementation).units == im2col
    assert encode(ones, 3, 1, 0, "cscc", implementation=implementation).units == cscc
    assert encode(ones, 3, 1, 0, "cpo", trim=True, implementation=implementation).units == cpo


def test_formulas_count_every_method_without_encoding():
    g = geometry_of((1, 5, 5), 3)
    counts = count(FIRST.numpy(), g)
    assert counts.groups == (4, 2, 1, 1)
    assert {m: units(m, g, counts) for m in COUNTED} == {
        "im2col": 81, "mec": 45, "cscc": 62, "cpo": 42, "cps": 39, "zvc": 16, "coordinates": 45,
    }  # fmt: skip
    with pytest.raises(ValueError, match="unknown method 'coo'; choose one of 'im2col'"):
        units("coo", g, counts)
