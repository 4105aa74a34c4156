"""Masks of whole grains: the worked example, the rules of count and ties, and every granularity against a slow loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab.regularity import Grains, global_masks, grains_of, prune

RANKED = ("fine", "vector", "kernel", "filter", "block")


def worked_example():
    k, c, r, s = torch.meshgrid(*map(torch.arange, (2, 2, 3, 3)), indexing="ij")
    return ((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5).float()


@pytest.mark.parametrize(
    ("granularity", "kept", "saliences"),
    [
        ("fine", [0, 7, 8, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 24, 27, 32, 34, 35], None),
        ("vector", [2, 4, 5, 6, 7, 11], [9, 4, 9, 6, 12, 9, 11, 11, 5, 6, 5, 11]),
        ("kernel", [1, 2], [22, 27, 27, 22]),
        ("filter", [1], [49, 49]),
    ],
)
def test_the_worked_example_keeps_these_grains(granularity, kept, saliences):
    weight = worked_example()
    assert int((weight != 0).sum()) == 33
    mask = prune(weight, granularity, 0.5)
    assert mask.kept.flatten().nonzero().flatten().tolist() == kept
    assert mask.salience.flatten().tolist() == (saliences or weight.abs().flatten().tolist())
    assert mask.kept_weights == 18
    assert mask.summary()["density"] == 0.5


def loops(weight, granularity, axis="row", block=(4, 4)):
    """Index sets of the grains, in C order, by looping."""
    k, c, *kernel = weight.shape
    r, s = kernel or (1, 1)
    cells = list(itertools.product(range(k), range(c), range(r), range(s)))
    names = {
        "fine": lambda i: i,
        "vector": (lambda i: i[:3]) if axis == "row" else (lambda i: (i[0], i[1], i[3])),
        "kernel": lambda i: i[:2],
        "filter": lambda i: i[:1],
        "block": lambda i: (i[0] // block[0], i[1] // block[1]),
    }
    grains = {}
    for cell in cells:
        grains.setdefault(names[granularity](cell), []).append(cell)
    return [grains[name] for name in sorted(grains)]


def by_loops(weight, granularity, sparsity, axis="row", block=(4, 4)):
    """The mask, grain by grain."""
    values = weight.view(*weight.shape, 1, 1) if weight.dim() == 2 else weight
    grains = loops(weight, granularity, axis, block)
    sizes = {len(grain) for grain in grains}
    sums = [math.fsum(abs(float(values[i])) for i in grain) for grain in grains]
    if len(sizes) > 1:  # cut-off blocks compare by their mean
        sums = [total / len(grain) for total, grain in zip(sums, grains, strict=True)]
    order = sorted(range(len(grains)), key=lambda n: (sums[n], n))
    mask = torch.ones_like(values, dtype=torch.bool)
    for n in order[: math.floor(sparsity * len(grains) + 0.5)]:
        for cell in grains[n]:
            mask[cell] = False
    return mask.view(weight.shape)


shapes = st.tuples(*[st.integers(1, 6)] * 2, *[st.integers(1, 4)] * 2)
sparsities = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))


@settings(deadline=None, max_examples=60)
@given(shapes, st.sampled_from(RANKED), sparsities, st.integers(0, 10**6), st.sampled_from(["row", "column"]))
def test_a_mask_equals_the_loop(shape, granularity, sparsity, seed, axis):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.integers(-3, 4, shape).astype(np.float32))  # many ties, exact sums
    options = {"axis": axis} if granularity == "vector" else {"block": (2, 3)} if granularity == "block" else {}
    mask = prune(weight, granularity, sparsity, **options)
    assert torch.equal(mask.mask, by_loops(weight, granularity, sparsity, **options))
    assert mask.grains == len(loops(weight, granularity, **options))
    assert mask.kept_grains == mask.grains - math.floor(sparsity * mask.grains + 0.5)
    assert mask.kept_weights == int(mask.mask.sum())
    assert torch.equal(mask.cut.flags(mask.mask), mask.kept)  # whole grains


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(1, 4), st.integers(0, 3), st.integers(0, 10**6))
def test_n_of_m_keeps_the_largest_of_every_group_along_the_input_channels(shape, n, more, seed):
    m = n + more
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.integers(-3, 4, shape).astype(np.float32))
    mask = prune(weight, f"{n}:{m}").mask
    for k, r, s in itertools.product(range(shape[0]), range(shape[2]), range(shape[3])):
        for start in range(0, shape[1], m):
            group = range(start, min(start + m, shape[1]))
            order = sorted(group, key=lambda c: (abs(float(weight[k, c, r, s])), c))
            expected = set(order[max(0, len(order) - n) :])
            assert {c for c in group if mask[k, c, r, s]} == expected


@pytest.mark.parametrize("granularity", ["fine", "filter", "block", "2:4"])
def test_a_fully_connected_weight_is_pruned_as_its_one_by_one_convolution(granularity):
    weight = torch.randn(6, 10)
    flat = prune(weight, granularity, 0.4)
    assert torch.equal(flat.mask, prune(weight[:, :, None, None], granularity, 0.4).mask[:, :, 0, 0])
    assert flat.cut.shape == (6, 10)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 8), st.integers(1, 8), sparsities)
def test_vectors_and_kernels_of_one_by_one_weights_are_single_weights(k, c, sparsity):
    weight = torch.randn(k, c, 1, 1)
    fine = prune(weight, "fine", sparsity).mask
    for granularity, axis in [("vector", "row"), ("vector", "column"), ("kernel", "row")]:
        assert torch.equal(prune(weight, granularity, sparsity, axis=axis).mask, fine)


@pytest.mark.parametrize("granularity", RANKED)
def test_sparsity_zero_keeps_all_and_one_keeps_none(granularity):
    weight = torch.randn(5, 6, 3, 3)
    assert bool(prune(weight, granularity, 0).mask.all())
    assert not bool(prune(weight, granularity, 1).mask.any())


def test_half_a_grain_rounds_up():
    weight = torch.arange(1.0, 6.0).view(5, 1, 1, 1)
    assert prune(weight, "fine", 0.5).kept_grains == 2  # 2.5 of 5 go: 3
    assert prune(weight, "fine", 0.3).kept_grains == 3  # 1.5 go: 2


def test_a_kept_grain_keeps_its_zeros():
    weight = torch.tensor([[0.0, 5.0, 0.0], [1.0, 1.0, 1.0]]).view(1, 1, 2, 3)
    assert prune(weight, "vector", 0.5).mask.flatten().tolist() == [True, True, True, False, False, False]


def test_the_weight_stays_as_it_was_and_apply_gives_a_copy():
    weight = torch.nn.Parameter(torch.randn(4, 4, 3, 3))
    before = weight.detach().clone()
    mask = prune(weight, "kernel", 0.5)
    pruned = mask.apply(weight)
    assert torch.equal(weight.detach(), before)
    assert not pruned.requires_grad
    assert torch.equal(pruned, before * mask.mask)


def test_arrays_and_other_memory_orders_give_the_same_mask():
    weight = torch.randn(6, 5, 3, 3)
    expected = prune(weight, "vector", 0.5).mask
    assert torch.equal(prune(weight.numpy(), "vector", 0.5).mask, expected)
    assert torch.equal(prune(weight.contiguous(memory_format=torch.channels_last), "vector", 0.5).mask, expected)


@settings(deadline=None, max_examples=60)
@given(shapes, st.sampled_from(RANKED), st.lists(st.floats(0, 1), min_size=2, max_size=4), st.integers(0, 10**6))
def test_masks_within_earlier_ones_are_nested_and_reach_their_count(shape, granularity, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-1, 2, shape, generator=generator).float()
    last = None
    for sparsity in sorted(steps):
        mask = prune(weight, granularity, sparsity, within=last)
        assert mask.kept_grains == mask.grains - math.floor(sparsity * mask.grains + 0.5)
        if last is not None:
            assert not bool((mask.mask & ~last.mask).any())
        # Retraining may turn everything upside down, and leave kept weights at zero.
        weight = torch.randint(-1, 2, shape, generator=generator).float() * mask.mask
        last = mask


def test_a_lower_sparsity_within_an_earlier_mask_brings_nothing_back():
    weight = torch.randn(8, 4, 3, 3)
    sparse = prune(weight, "kernel", 0.75)
    assert torch.equal(prune(torch.randn(8, 4, 3, 3), "kernel", 0.25, within=sparse).mask, sparse.mask)


def test_n_of_m_goes_on_within_a_looser_pattern():
    weight = torch.randn(4, 8, 3, 3)
    loose = prune(weight, "3:4")
    tight = prune(torch.randn(4, 8, 3, 3), "2:4", within=loose)
    assert not bool((tight.mask & ~loose.mask).any())
    assert tight.density == 0.5


def test_a_global_ranking_divides_the_salience_by_the_grain():
    weights = {"large": torch.full((2, 2, 3, 3), 1.0), "small": torch.full((2, 2, 1, 1), 2.0)}
    masks = global_masks(weights, "kernel", 0.5)  # sums 9 and 2, means 1 and 2
    assert masks["large"].kept_grains == 0
    assert masks["small"].kept_grains == 4


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(RANKED), sparsities, st.integers(0, 10**6))
def test_global_masks_equal_one_sorted_list(granularity, sparsity, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randint(-4, 5, shape, generator=generator).float()
        for name, shape in {"a": (3, 2, 3, 3), "b": (5, 4, 1, 1), "c": (4, 6, 2, 3)}.items()
    }
    masks = global_masks(weights, granularity, sparsity)
    ranked = sorted(
        (sum(abs(float(weight[i])) for i in grain) / len(grain), layer, number)
        for layer, weight in weights.items()
        for number, grain in enumerate(loops(weight, granularity))
    )
    gone = {(layer, number) for _, layer, number in ranked[: math.floor(sparsity * len(ranked) + 0.5)]}
    for name, mask in masks.items():
        removed = {(name, n) for n in (~mask.kept).flatten().nonzero().flatten().tolist()}
        assert removed == {one for one in gone if one[0] == name}


def test_one_layer_ranked_globally_is_one_layer_ranked_alone():
    weight = torch.randn(6, 6, 3, 3)
    for granularity in RANKED:
        assert torch.equal(
            global_masks({"only": weight}, granularity, 0.6)["only"].mask, prune(weight, granularity, 0.6).mask
        )


def test_summary_and_sizes_name_what_is_kept():
    mask = prune(worked_example(), "vector", 0.5)
    assert mask.summary() == {
        "granularity": "vector",
        "weights": 36,
        "kept_weights": 18,
        "density": 0.5,
        "sparsity": 0.5,
        "grains": 12,
        "kept_grains": 6,
        "grain_size": 3,
        "kept_magnitude": (9 + 12 + 9 + 11 + 11 + 11) / 98,
    }
    sizes = {name: grains_of((8, 6, 3, 5), name).size for name in (*RANKED, "2:4")}
    assert sizes == {"fine": 1, "vector": 5, "kernel": 15, "filter": 90, "block": 240, "2:4": 1}
    assert grains_of((8, 6, 3, 5), "vector", axis="column").size == 3
    assert prune(torch.zeros(2, 2, 3, 3), "fine", 0.5).summary()["kept_magnitude"] == 1.0


@pytest.mark.parametrize("sparsity", [-0.01, 1.01, math.nan, math.inf, None, "half", True])
def test_a_sparsity_that_is_no_share_is_refused(sparsity):
    with pytest.raises(ValueError, match="must be a number from 0 to 1"):
        prune(torch.ones(2, 2, 3, 3), "fine", sparsity)


@pytest.mark.parametrize(
    ("granularity", "options", "message"),
    [
        ("row", {}, "unknown granularity 'row'; choose one of 'fine', 'vector', 'kernel', 'filter', 'block' or N:M"),
        (2, {}, "unknown granularity 2"),
        ("4:2", {}, "keeps 4 of 2 weights; choose N from 1 to M"),
        ("0:4", {}, "choose N from 1 to M"),
        ("0:0", {}, "choose N from 1 to M"),
        ("vector", {"axis": "depth"}, "unknown axis 'depth'; choose 'row' or 'column'"),
        ("kernel", {"axis": "column"}, "does not go with granularity 'kernel'"),
        ("kernel", {"block": (2, 2)}, "does not go with granularity 'kernel'"),
        ("block", {"block": (0, 2)}, "two positive whole numbers"),
        ("block", {"block": 4}, "two positive whole numbers"),
        ("block", {"block": (2, 2, 2)}, "two positive whole numbers"),
    ],
)
def test_a_wrong_name_or_size_is_answered_with_the_choices(granularity, options, message):
    with pytest.raises(ValueError, match=message):
        prune(torch.ones(2, 2, 3, 3), granularity, 0.5, **options)


def test_weights_without_a_rank_or_a_shape_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        prune(torch.tensor([[1.0, math.nan]]), "fine")
    with pytest.raises(ValueError, match="cannot be pruned"):
        prune(torch.ones(3), "fine")
    with pytest.raises(ValueError, match="cannot be pruned"):
        prune(torch.ones(0, 3, 3, 3), "fine")
    with pytest.raises(TypeError, match="tensor or an array of numbers, got dict"):
        prune({}, "fine")
    for granularity in ("vector", "kernel"):
        with pytest.raises(ValueError, match="has no kernels to cut"):
            prune(torch.ones(4, 4), granularity)


def test_an_earlier_mask_of_another_kind_is_refused():
    weight = torch.randn(4, 8, 3, 3)
    for earlier, later in [("vector", "fine"), ("2:4", "2:8"), ("fine", "2:4")]:
        with pytest.raises(ValueError, match="go on with the same granularity"):
            prune(weight, later, within=prune(weight, earlier))


def test_global_masks_refuse_patterns_and_nothing():
    with pytest.raises(ValueError, match="prune the layers one by one"):
        global_masks({"a": torch.ones(2, 4, 1, 1)}, "2:4")
    with pytest.raises(ValueError, match="at least one layer"):
        global_masks({})


def test_flags_refuse_a_mask_with_parts_of_grains():
    cut = Grains("vector", (1, 1, 2, 3))
    with pytest.raises(ValueError, match="parts of grains"):
        cut.flags(torch.tensor([True, False, True, True, True, True]).view(1, 1, 2, 3))
    with pytest.raises(ValueError, match="they must be equal"):
        cut.flags(torch.ones(1, 1, 3, 3))
