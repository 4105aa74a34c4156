"""Bits of pruned weights: the worked example, the stream against its formulas, and what a damaged stream does."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab.regularity.grains import grains_of
from seerlab.regularity.granularity import prune
from seerlab.regularity.storage import expected_fillers, nominal_ratio, storage, total
from seerlab.regularity.stream import decode, encode

GRANULARITIES = ("fine", "vector", "kernel", "filter", "block", "2:4")


def worked_example():
    """W[k,c,r,s] = ((7k + 5c + 3r + 2s) mod 11) - 5, shape (2, 2, 3, 3)."""
    k, c, r, s = np.ogrid[:2, :2, :3, :3]
    return torch.from_numpy((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5)


def mask_of_grains(shape, granularity, kept):
    cut = grains_of(shape, granularity)
    flags = torch.zeros(math.prod(cut.grid), dtype=torch.bool)
    flags[list(kept)] = True
    return cut.spread(flags.view(cut.grid))


@pytest.mark.parametrize(
    ("granularity", "kept", "bits", "ratio"),
    [
        ("fine", (0, 7, 8, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 24, 27, 32, 34, 35), 216, 0.75),
        ("vector", (2, 4, 5, 6, 7, 11), 168, 0.5833),
        ("kernel", (1, 2), 152, 0.5278),
        ("filter", (1,), 148, 0.5139),
    ],
)
def test_worked_example_has_the_given_bits_and_no_filler(granularity, kept, bits, ratio):
    figures = storage(mask_of_grains((2, 2, 3, 3), granularity, kept), granularity)
    assert (figures.kept_grains, figures.fillers) == (len(kept), 0)
    assert figures.nominal_bits == figures.encoded_bits == bits
    assert figures.ratio() == pytest.approx(ratio, abs=5e-5)
    assert figures.dense_bits == 288
    assert figures.compression() == pytest.approx(4 / figures.ratio())


def test_dense_layer_stores_no_index_in_the_dense_column():
    figures = storage(torch.ones(2, 2, 3, 3, dtype=torch.bool), "fine")
    assert (figures.dense_bits, figures.ratio("dense"), figures.compression("dense")) == (288, 1, 4)


@pytest.mark.parametrize(
    ("kept", "entries"),
    [
        ((0, 20, 21, 39), [(0, False), (15, True), (3, False), (0, False), (15, True), (1, False)]),
        ((0,), [(0, False)]),
        ((15,), [(15, False)]),
        ((16,), [(15, True), (0, False)]),
        ((), []),
    ],
)
def test_entries_and_fillers_are_those_of_the_rule(kept, entries):
    weight, mask = torch.ones(40, 1, 1, 1, dtype=torch.int64), mask_of_grains((40, 1, 1, 1), "fine", kept)
    encoded = encode(weight, mask, "fine")
    figures = storage(mask, "fine")
    assert encoded.table == entries
    assert encoded.bits == figures.encoded_bits == 12 * len(entries)
    assert figures.nominal_bits == 12 * len(kept)
    assert encoded.nbytes == math.ceil(12 * len(entries) / 8)


def test_stream_is_packed_most_significant_bit_first():
    weight = torch.tensor([[5, 0, -1, 0]])
    encoded = encode(weight, weight != 0, "fine")
    assert encoded.data.hex() == "005" + "1ff"  # (0, 5), (1, -1) in 4 and 8 bits


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)),
    granularity=st.sampled_from(GRANULARITIES),
    sparsity=st.sampled_from((0.0, 0.3, 0.8, 0.97, 1.0)),
    weight_bits=st.integers(2, 32),
    index_bits=st.integers(1, 6),
)
def test_stream_gives_back_every_weight_and_encodes_again_alike(
    seed, shape, granularity, sparsity, weight_bits, index_bits
):
    generator = np.random.default_rng(seed)
    top = 2 ** (weight_bits - 1)
    weight = torch.from_numpy(generator.integers(-top, top, shape))
    weight[torch.from_numpy(generator.random(shape) < 0.1)] = 0  # kept zeros are stored
    pruned = prune(weight, granularity, sparsity)
    options = {"weight_bits": weight_bits, "index_bits": index_bits}
    encoded = encode(weight, pruned, **options)
    found, mask = encoded.decode()
    assert torch.equal(found, weight * pruned.mask)
    assert found.dtype == weight.dtype
    assert not (mask & ~pruned.mask).any()
    assert not weight[pruned.mask & ~mask].any()  # what looks like a filler holds only zeros
    again = encode(found, pruned.cut.spread(pruned.cut.flags(mask)), granularity, **options)
    assert again.data == encoded.data
    figures = storage(pruned, **options)
    assert encoded.bits == figures.encoded_bits
    assert encoded.entries == figures.kept_grains + figures.fillers
    assert all(gap < 2**index_bits for gap, _ in encoded.table)
    assert figures.nominal_bits <= figures.encoded_bits


def test_mask_comes_back_where_no_kept_grain_is_all_zero():
    weight = torch.randint(1, 100, (16, 8, 3, 3))
    for granularity in GRANULARITIES:
        pruned = prune(weight, granularity, 0.9)
        assert torch.equal(encode(weight, pruned).decode()[1], pruned.mask)


def test_float_weights_come_back_bit_for_bit_at_32_bits():
    weight = torch.randn(6, 5, 3, 3)
    weight[0, 0, 0, 0] = -0.0
    pruned = prune(weight, "filter", 0.5)
    kept = torch.where(pruned.mask, weight, 0.0)
    found = decode(encode(weight, pruned, weight_bits=32))
    assert torch.equal(found.view(torch.int32), kept.view(torch.int32))


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_float_weights_come_back_within_half_a_step_at_fewer_bits(bits):
    weight = torch.randn(6, 5, 3, 3)
    encoded = encode(weight, prune(weight, "vector", 0.3), weight_bits=bits)
    found, mask = encoded.decode()
    assert encoded.scale == pytest.approx(float(weight.abs().max()) / (2 ** (bits - 1) - 1))
    assert (found - weight)[mask].abs().max() <= 0.5 * encoded.scale * (1 + 1e-5)
    assert not found[~mask].any()


def test_long_stream_is_packed_in_parts_like_a_short_one():
    weight = torch.randint(-128, 128, (64, 64, 7, 7))
    pruned = prune(weight, "fine", 0.05)
    encoded = encode(weight, pruned, index_bits=3)
    assert encoded.bits > 1 << 21
    assert torch.equal(decode(encoded), weight * pruned.mask)


def test_zero_sparsity_stores_all_and_full_sparsity_nothing():
    weight = torch.randn(8, 4, 3, 3)
    for granularity in ("fine", "vector", "kernel", "filter", "block"):
        everything, nothing = (storage(prune(weight, granularity, s)) for s in (0.0, 1.0))
        assert everything.kept_weights == everything.weights == 288
        assert nothing.nominal_bits == nothing.encoded_bits == nothing.kept_weights == 0
        assert nothing.compression() == math.inf


@pytest.mark.parametrize(("granularity", "size"), [("fine", 1), ("vector", 3), ("kernel", 9), ("filter", 144)])
def test_nominal_bits_follow_the_formula(granularity, size):
    figures = storage(prune(torch.randn(32, 16, 3, 3), granularity, 0.75))
    density = figures.kept_weights / figures.weights
    assert figures.ratio() == pytest.approx(nominal_ratio(density, size))
    assert nominal_ratio(1, size) == pytest.approx(1 + 0.5 / size)


def test_filler_costs_a_whole_grain_and_trailing_pruned_grains_nothing():
    kept = (0, 33)  # 32 pruned between them: two fillers
    for granularity, size in (("fine", 1), ("kernel", 9)):
        shape = (1, 60, *((1, 1) if size == 1 else (3, 3)))
        figures = storage(mask_of_grains(shape, granularity, kept), granularity)
        assert figures.fillers == 2
        assert figures.encoded_bits - figures.nominal_bits == 2 * (8 * size + 4)


def test_expected_fillers_are_met_by_independent_zeros():
    mask = torch.rand(400, 100, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.1
    figures = storage(mask, "fine")
    assert figures.fillers / figures.kept_grains == pytest.approx(expected_fillers(0.1), rel=0.03)
    assert expected_fillers(1) == 0


def test_other_codes_follow_their_formulas():
    pruned = prune(torch.randn(10, 6, 3, 3), "vector", 0.5)  # 180 rows, 18 to a filter
    figures = storage(pruned)
    assert figures.bitmask_bits == 180 + 90 * 3 * 8
    assert figures.csr_bits == 90 * (3 * 8 + 5) + 32 * 11
    assert figures.pattern_bits is None
    filters = storage(prune(torch.randn(10, 6, 3, 3), "filter", 0.5))
    assert filters.csr_bits == 5 * 54 * 8 + 32 * 11  # one grain to a filter needs no address


@pytest.mark.parametrize(("bits", "ratio"), [(16, 0.5625), (8, 0.625)])
def test_two_of_four_takes_two_bits_per_kept_weight(bits, ratio):
    figures = storage(prune(torch.randn(8, 16, 3, 3), "2:4"), weight_bits=bits)
    assert figures.ratio("pattern") == ratio
    ragged = storage(prune(torch.randn(8, 6, 3, 3), "2:4"), weight_bits=bits)
    assert ragged.pattern_bits == 8 * 9 * 2 * 2 * (bits + 2)  # the second group of four is filled up


def test_blocks_cut_off_by_the_edge_are_filled_up_in_the_stream():
    weight = torch.randint(1, 100, (5, 6, 3, 3))
    pruned = prune(weight, "block", 0.0)
    figures, encoded = storage(pruned), encode(weight, pruned)
    assert figures.nominal_bits == 270 * 8 + 4 * 4
    assert encoded.bits == figures.encoded_bits == 4 * (16 * 9 * 8 + 4)
    assert torch.equal(decode(encoded), weight)


def test_layers_add_up():
    parts = [storage(prune(torch.randn(k, 4, 3, 3), "2:4")) for k in (4, 8)]
    both = total(parts)
    for field in dataclasses.fields(both):
        values = [getattr(part, field.name) for part in parts]
        found = getattr(both, field.name)
        assert found == (values[0] if field.name in ("granularity", "weight_bits", "index_bits") else sum(values))
    with pytest.raises(ValueError, match="do not add up"):
        total([parts[0], storage(prune(torch.randn(4, 4, 3, 3), "fine"))])
    with pytest.raises(ValueError, match="0 layers"):
        total([])


def test_summary_names_every_code_and_its_two_ratios():
    figures = storage(prune(torch.randn(4, 4, 3, 3), "vector", 0.5))
    summary = figures.summary()
    for code in ("dense", "nominal", "encoded", "bitmask", "csr"):
        assert summary[f"{code}_bits"] == figures.bits[code]
        assert summary[f"{code}_compression"] == pytest.approx(4 / summary[f"{code}_ratio"])
    assert "pattern_bits" not in summary
    with pytest.raises(ValueError, match="unknown code 'zip'; choose one of 'dense', 'nominal'"):
        figures.ratio("zip")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda e: {"data": e.data[:-1]}, "9 bytes, not 8"),
        (lambda e: {"data": e.data + b"\0"}, "9 bytes, not 10"),
        (lambda e: {"entries": e.entries + 2}, "12 bytes, not 9"),
        (lambda e: {"data": b"\xff" + e.data[1:]}, "grain 54 of 40"),
        (lambda e: {"data": e.data[:-2] + b"\x00\x01", "entries": 5}, "8 bytes, not 9"),
    ],
)
def test_damaged_stream_is_refused(damage, text):
    mask = mask_of_grains((40, 1, 1, 1), "fine", (0, 20, 21, 39))
    encoded = encode(torch.ones(40, 1, 1, 1, dtype=torch.int64), mask, "fine")
    with pytest.raises(ValueError, match=f"the stream is corrupt: .*{text}"):
        dataclasses.replace(encoded, **damage(encoded)).decode()


def test_bits_behind_the_last_entry_are_refused():
    encoded = encode(torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool), "fine")  # 36 bits in 5 bytes
    assert encoded.data[-1] == 0xF0
    with pytest.raises(ValueError, match="behind its last entry"):
        dataclasses.replace(encoded, data=encoded.data[:-1] + b"\xf1").decode()


WHOLE = torch.ones(2, 2, 3, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"mask": WHOLE}, ValueError, "name the granularity"),
        ({"mask": WHOLE, "granularity": "row"}, ValueError, "unknown granularity 'row'; choose one of 'fine'"),
        ({"mask": WHOLE.float(), "granularity": "fine"}, TypeError, "bool"),
        ({"mask": "fine"}, TypeError, "got str"),
        ({"mask": WHOLE[0], "granularity": "fine"}, ValueError, r"shape \(2, 3, 3\)"),
        ({"mask": torch.eye(4, dtype=torch.bool).view(2, 2, 2, 2), "granularity": "kernel"}, ValueError, "parts of grains"),
        ({"mask": WHOLE, "granularity": "fine", "weight_bits": 0}, ValueError, "weight_bits=0; choose"),
        ({"mask": WHOLE, "granularity": "fine", "index_bits": 40}, ValueError, "index_bits=40; choose"),
        ({"mask": prune(torch.ones(2, 2, 3, 3), "fine"), "granularity": "vector"}, ValueError, "made at granularity 'fine'"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_in_one_sentence(arguments, error, text):
    with pytest.raises(error, match=text):
        storage(**arguments)


@pytest.mark.parametrize(
    ("weight", "options", "error", "text"),
    [
        (torch.full((2, 2, 3, 3), 128), {}, ValueError, "from 128 to 128 do not fit weight_bits=8, which holds -128 to 127"),
        (torch.ones(2, 2, 3, 3).double(), {}, TypeError, r"weight.float\(\)"),
        (torch.full((2, 2, 3, 3), math.nan), {}, ValueError, "NaN or infinite"),
        (torch.ones(2, 2, 3, 3), {"weight_bits": 1}, ValueError, "at least 2"),
        (torch.ones(2, 2, 3), {}, ValueError, r"shape \(2, 2, 3\) do not fit"),
        ("weights", {}, ValueError, "shape str do not fit"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_a_stream_are_refused(weight, options, error, text):
    with pytest.raises(error, match=text):
        encode(weight, WHOLE, "fine", **options)


def test_formulas_refuse_what_is_no_density():
    with pytest.raises(ValueError, match="between 0 and 1"):
        nominal_ratio(1.2)
    with pytest.raises(ValueError, match="above 0"):
        expected_fillers(0)
