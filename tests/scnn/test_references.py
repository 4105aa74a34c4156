"""Counters against the worked example, against loops, and against what must hold for every mask."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab import scnn
from seerlab.scnn.multipliers import placeholders
from seerlab.scnn.rules import TABLE_TAPS

IMPLEMENTATIONS = ("patterns", "loops")
FINE = (0, 7, 8, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 24, 27, 32, 34, 35)
# grain size, kept grains, granularity; references fine, vector, kernel, filter; products, steps, utilisation
GOLDEN = {
    "dense": (36, (0,), "fine", (178, 130, 64, 32), 252, 20, 0.7875),
    "fine": (1, FINE, "fine", (90, 75, 52, 31), 126, 10, 0.7875),
    "vector": (3, (2, 4, 5, 6, 7, 11), "vector", (90, 66, 51, 32), 126, 12, 0.65625),
    "kernel": (9, (1, 2), "kernel", (89, 65, 32, 32), 126, 12, 0.65625),
    "filter": (18, (1,), "filter", (89, 65, 32, 16), 126, 12, 0.65625),
}


def mask_of(size, kept, shape=(2, 2, 3, 3)):
    grains = np.zeros(np.prod(shape) // size, bool)
    grains[list(kept)] = True
    return grains.repeat(size).reshape(shape)


def random_problem(seed, k, c, kernel, size, groups=1, images=1, activation_density=0.5, weight_density=0.4):
    generator = np.random.default_rng(seed)
    mask = generator.random((k, c // groups, *kernel)) < weight_density
    x = generator.random((images, c, *size)) * (generator.random((images, c, *size)) < activation_density)
    return mask, x


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", GOLDEN)
def test_worked_example_has_the_given_counters(name, implementation, activations):
    size, kept, granularity, references, products, steps, utilisation = GOLDEN[name]
    found = scnn.count_references(
        torch.from_numpy(mask_of(size, kept)),
        torch.from_numpy(activations),
        granularity=granularity,
        implementation=implementation,
    )
    assert (found.fine, found.vector, found.kernel, found.filter) == references
    assert (found.products, found.steps, found.utilisation) == (products, steps, utilisation)
    assert found.references == references[("fine", "vector", "kernel", "filter").index(granularity)]
    assert found.nonzero_activations == 14
    assert found.index_reads == len(kept) * (36 if name == "dense" else 1)
    assert found.weight_reads == 4 * steps
    assert found.summary()["references"] == found.references


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("kernel", "geometry"),
    [
        ((1, 1), {"padding": 0}),
        ((1, 1), {"padding": 0, "stride": 2}),
        ((3, 3), {"padding": 1}),
        ((3, 3), {"padding": 0}),
        ((3, 3), {"padding": (2, 0), "stride": (2, 3)}),
        ((3, 3), {"padding": 2, "dilation": 2}),
        ((3, 3), {"padding": 1, "groups": 2}),
        ((3, 3), {"padding": 1, "groups": 4}),
        ((2, 5), {"padding": (1, 2), "dilation": (2, 1)}),
        ((5, 5), {"padding": 2, "groups": 2, "images": 2}),
        ((7, 7), {"padding": 3, "stride": 2}),
        ((1, 13), {"padding": (0, 6)}),
        ((11, 11), {"padding": 2, "stride": 4}),
        ((3, 3), {"padding": 1, "channels": 36, "activation_density": 0.02}),
    ],
)
def test_counters_equal_explicit_products(kernel, geometry, implementation):
    """Every product is made here, one by one, from its definition."""
    geometry = dict(geometry)
    groups, images, channels = geometry.pop("groups", 1), geometry.pop("images", 1), geometry.pop("channels", 4)
    density = geometry.pop("activation_density", 0.5)
    mask, x = random_problem(3, 4, channels, kernel, (12, 13), groups, images, density)
    found = scnn.count_references(mask, x, granularity="fine", groups=groups, implementation=implementation, **geometry)
    (sy, sx), (py, px), (dy, dx) = (
        (v, v) if isinstance(v := geometry.get(key, default), int) else v
        for key, default in (("stride", 1), ("padding", 1), ("dilation", 1))
    )
    p = (12 + 2 * py - dy * (kernel[0] - 1) - 1) // sy + 1
    q = (13 + 2 * px - dx * (kernel[1] - 1) - 1) // sx + 1
    merged = {"fine": set(), "vector": set(), "kernel": set(), "filter": set()}
    for n, k, c, r, s in np.argwhere(np.broadcast_to(mask, (images, *mask.shape))):
        channel = k // (4 // groups) * mask.shape[1] + c
        for oy in range(p):
            for ox in range(q):
                iy, ix = oy * sy + r * dy - py, ox * sx + s * dx - px
                if 0 <= iy < 12 and 0 <= ix < 13 and x[n, channel, iy, ix] != 0:
                    merged["fine"].add((n, k, oy, ox, c, r, s))
                    merged["vector"].add((n, k, oy, ox, c, r))
                    merged["kernel"].add((n, k, oy, ox, c))
                    merged["filter"].add((n, k, oy, ox))
    assert found.by_rule == {rule: len(places) for rule, places in merged.items()}
    assert found.macs == images * p * q * mask.size


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.sampled_from((1, 2, 4)),
    axis=st.sampled_from(("row", "column")),
    density=st.sampled_from((0.0, 0.1, 0.5, 1.0)),
)
def test_patterns_and_loops_agree_and_coarser_rules_never_cost_more(
    seed, kernel, size, stride, padding, groups, axis, density
):
    mask, x = random_problem(seed, 4, 4, kernel, size, groups, activation_density=density)
    fast, slow = (
        scnn.count_references(mask, x, stride, padding, groups=groups, axis=axis, implementation=name)
        for name in IMPLEMENTATIONS
    )
    assert fast == slow
    assert fast.fine >= fast.vector >= fast.kernel >= fast.filter >= 0
    if stride == (1, 1):
        assert fast.products >= fast.fine


def test_kernels_on_both_sides_of_the_table_limit_are_covered():
    assert 3 * 3 <= TABLE_TAPS < 5 * 5
    assert 11 <= TABLE_TAPS < 13


def test_column_vectors_are_row_vectors_of_the_turned_problem():
    mask, x = random_problem(1, 3, 2, (3, 2), (7, 6))
    column = scnn.count_references(mask, x, (1, 2), (1, 0), axis="column")
    row = scnn.count_references(mask.swapaxes(2, 3), x.swapaxes(2, 3), (2, 1), (0, 1))
    assert column.by_rule == row.by_rule
    assert column.index_reads == row.index_reads


def test_pointwise_kernels_have_nothing_to_merge():
    mask, x = random_problem(2, 8, 6, (1, 1), (5, 5))
    found = scnn.count_references(mask, x, padding=0)
    assert found.fine == found.vector == found.kernel > found.filter


def test_full_map_without_padding_gives_exactly_one_reference_per_grain():
    mask = mask_of(9, (0, 2, 3))
    found = scnn.count_references(mask, np.ones((2, 6, 7)), padding=0)
    assert found.fine == 3 * found.vector == 9 * found.kernel


def test_two_accesses_double_the_references_and_nothing_else(activations):
    once, twice = (scnn.count_references(mask_of(3, (2, 4, 5)), activations, accesses=n) for n in (1, 2))
    assert twice.by_rule == {rule: 2 * count for rule, count in once.by_rule.items()}
    assert (twice.products, twice.steps) == (once.products, once.steps)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_conservative_filter_rule_counts_kernels_and_is_named(activations, implementation):
    mask = mask_of(18, (1,))
    flagged, safe = (
        scnn.count_references(mask, activations, granularity="filter", filter_rule=rule, implementation=implementation)
        for rule in ("channel-innermost", "kernel")
    )
    assert (flagged.references, safe.references, safe.kernel) == (16, 32, 32)
    assert flagged.summary()["filter_rule"] == "channel-innermost"


def test_random_map_lies_a_little_above_the_analytic_ratios():
    """Independent zeros at density .35 on 64 x 64, 3 x 3, padding 1, all weights kept: the edges raise the ratio."""
    x = torch.rand(32, 64, 64, generator=torch.Generator().manual_seed(0)) < 0.35
    found = scnn.count_references(torch.ones(8, 32, 3, 3, dtype=torch.bool), x)
    a = found.activation_density
    # One reference per row (kernel) that meets anything; at the edge of the map it has only two taps inside.
    inside = {3: 62 / 64, 2: 2 / 64}
    taps = sum(n * share for n, share in inside.items())
    row = sum(share * (1 - (1 - a) ** n) for n, share in inside.items()) / (taps * a)
    kernel = sum(v * w * (1 - (1 - a) ** (n * m)) for n, v in inside.items() for m, w in inside.items()) / (
        taps * taps * a
    )
    assert found.vector / found.fine == pytest.approx(row, abs=1e-3)
    assert found.kernel / found.fine == pytest.approx(kernel, abs=1e-3)
    assert scnn.analytic_ratio("vector", a) < row
    assert scnn.analytic_ratio("kernel", a) < kernel
    # A single map of that size, such as the one these figures come from, scatters by about .006 around it.
    assert found.vector / found.fine == pytest.approx(0.699, abs=6e-3)
    assert found.kernel / found.fine == pytest.approx(0.321, abs=6e-3)
    assert scnn.analytic_ratio("vector", 0.35) == pytest.approx(0.691, abs=5e-4)
    assert scnn.analytic_ratio("kernel", 0.35) == pytest.approx(0.311, abs=5e-4)


@pytest.mark.parametrize(
    ("density", "vector", "kernel", "kernel5"),
    [(0.1, 0.903, 0.681, 0.371), (0.2, 0.813, 0.481, 0.199), (0.3, 0.730, 0.355, 0.133), (0.4, 0.653, 0.275, 0.100),
     (0.5, 0.583, 0.222, 0.080), (0.634, 0.500, 0.175, 0.063), (1, 0.333, 0.111, 0.040)],
)  # fmt: skip
def test_analytic_ratios_are_those_derived(density, vector, kernel, kernel5):
    assert scnn.analytic_ratio("vector", density) == pytest.approx(vector, abs=6e-4)
    assert scnn.analytic_ratio("kernel", density) == pytest.approx(kernel, abs=6e-4)
    assert scnn.analytic_ratio("kernel", density, 5) == pytest.approx(kernel5, abs=6e-4)
    assert scnn.analytic_ratio("fine", density) == 1
    assert scnn.analytic_ratio("kernel", 0) == 1


def test_steps_equal_loops_over_tiles_and_groups_of_channels():
    mask, x = random_problem(5, 6, 4, (3, 3), (10, 11), groups=2, images=2)
    found = scnn.count_references(
        mask, x, groups=2, tiles=(3, 2), output_channels=2, activation_vector=3, weight_vector=5
    )
    steps = products = reads = 0
    for image in x:
        for c in range(4):
            filters = range(3 * (c // 2), 3 * (c // 2) + 3)
            for first in range(0, 3, 2):
                weights = sum(int(mask[k, c % 2].sum()) for k in filters[first : first + 2])
                for y in range(0, 10, 4):
                    for z in range(0, 11, 6):
                        active = int((image[c, y : y + 4, z : z + 6] != 0).sum())
                        steps += -(-active // 3) * -(-weights // 5)
                        reads += -(-active // 3)
                        products += active * weights
    assert (found.steps, found.products, found.activation_reads) == (steps, products, reads)
    assert found.weight_reads == 5 * steps
    assert found.utilisation == products / (15 * steps)


def test_one_tile_and_one_group_need_the_fewest_steps():
    mask, x = random_problem(6, 16, 3, (3, 3), (16, 16))
    whole = scnn.count_references(mask, x)
    cut = scnn.count_references(mask, x, tiles=8, output_channels=4)
    assert whole.products == cut.products
    assert whole.steps < cut.steps
    assert whole.utilisation > cut.utilisation


def test_placeholders_bridge_every_run_longer_than_fifteen():
    kept = np.zeros(40, bool)
    kept[[0, 20, 21, 39]] = True
    assert placeholders(kept) == 2
    for run, expected in ((15, 0), (16, 1), (31, 1), (32, 2)):
        flags = np.zeros(run + 4, bool)
        flags[run] = True
        assert placeholders(flags) == expected  # what follows the last kept weight costs nothing


def test_prepared_map_answers_every_mask_like_a_fresh_count():
    prepared = None
    for seed in range(3):
        mask, _ = random_problem(seed, 4, 3, (3, 3), (8, 8))
        _, x = random_problem(9, 4, 3, (3, 3), (8, 8))
        prepared = prepared or scnn.prepare(x, 3)
        assert prepared.count(mask) == scnn.count_references(mask, x)


def test_result_of_pruning_brings_its_granularity(activations):
    @dataclasses.dataclass
    class Pruned:
        mask: torch.Tensor
        granularity: str

    pruned = Pruned(torch.from_numpy(mask_of(9, (1, 2))), "kernel")
    assert scnn.count_references(pruned, activations).references == 32
    assert scnn.count_references(pruned, activations, granularity="fine").references == 89
    assert scnn.count_references(pruned.mask, activations).granularity == "vector"
    assert scnn.count_references(dataclasses.replace(pruned, granularity="2:4"), activations).references == 89
    assert scnn.count_references(dataclasses.replace(pruned, granularity="block"), activations).references == 32


def test_pointwise_mask_may_be_a_matrix():
    mask, x = random_problem(4, 5, 3, (1, 1), (4, 4))
    assert scnn.count_references(mask[:, :, 0, 0], x, padding=0) == scnn.count_references(mask, x, padding=0)


def test_signed_zeros_are_zero_and_nan_is_not():
    x = np.array([[[-0.0, float("nan")]]])
    assert scnn.count_references(np.ones((1, 1, 1, 1), bool), x, padding=0).fine == 1


def test_empty_masks_and_maps_count_nothing():
    for mask, x in ((np.zeros((2, 2, 3, 3), bool), np.ones((2, 4, 4))), (mask_of(36, (0,)), np.zeros((2, 4, 4)))):
        found = scnn.count_references(mask, x)
        assert set(found.by_rule.values()) == {0}
        assert (found.products, found.utilisation) == (0, 0)
        assert found.summary()["reference_ratio"] == 1


def test_energy_says_that_its_prices_are_not_confirmed(activations):
    found = scnn.count_references(mask_of(9, (1, 2)), activations, granularity="kernel")
    estimate = scnn.energy(found)
    assert estimate.arithmetic_pj == pytest.approx(126 * 4.6)
    assert estimate.buffers_pj == pytest.approx(5 * (found.weight_reads + 4 * found.activation_reads + 32))
    assert estimate.memory_pj == pytest.approx(640 * (18 + 14))
    assert estimate.summary()["total_pj"] == pytest.approx(estimate.total_pj)
    assert "not confirmed" in estimate.summary()["prices"]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"granularity": "row"}, ValueError, "unknown granularity 'row'; choose one of 'fine', 'vector'"),
        ({"axis": "diagonal"}, ValueError, "unknown axis 'diagonal'; choose one of 'row', 'column'"),
        ({"accesses": 3}, ValueError, "unknown accesses 3; choose one of 1, 2"),
        ({"filter_rule": "best"}, ValueError, "unknown filter_rule 'best'"),
        ({"implementation": "gpu"}, ValueError, "unknown implementation 'gpu'; choose one of 'auto'"),
        ({"stride": 0}, ValueError, "stride=0; give an integer of at least 1"),
        ({"padding": "same"}, ValueError, "padding='same'"),
        ({"tiles": (0, 2)}, ValueError, "tiles="),
        ({"output_channels": 0}, ValueError, "output_channels=0"),
        ({"groups": 3}, ValueError, "does not fit a map of 2 channels"),
        ({"weight_mask": np.ones((2, 2, 3, 3))}, TypeError, "bool.*counts even where its value is zero"),
        ({"weight_mask": "vector"}, TypeError, "bool"),
        ({"weight_mask": np.ones((2, 2, 3), bool)}, ValueError, "no convolution's"),
        ({"weight_mask": np.ones((2, 3, 3, 3), bool)}, ValueError, r"\(2, 3, 3, 3\) does not fit"),
        ({"weight_mask": np.ones((2, 2, 9, 9), bool)}, ValueError, "larger than the padded map"),
        ({"x": np.ones(4)}, ValueError, r"shape \(4,\)"),
        ({"x": [1, 2]}, TypeError, "tensor or array, got list"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_sentence(activations, arguments, error, text):
    given = {"weight_mask": np.ones((2, 2, 3, 3), bool), "x": activations, **arguments}
    with pytest.raises(error, match=text):
        scnn.count_references(given.pop("weight_mask"), given.pop("x"), **given)


def test_analytic_ratio_refuses_what_has_none():
    with pytest.raises(ValueError, match="between 0 and 1"):
        scnn.analytic_ratio("vector", 1.5)
    with pytest.raises(ValueError, match="'filter' has no analytic ratio"):
        scnn.analytic_ratio("filter", 0.5)
