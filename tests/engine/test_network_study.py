import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import seerlab as sl
from seerlab.engine.network_study import BITS, MOST_BLOCKS, PRUNE_RATIO, NetworkStudy, block_names
from seerlab.engine.network_times import NOTABLE, WayTimes, estimated_choice, measured_choice
from seerlab.measure import Interrupted, Timing


class Branched(nn.Module):
    """Two branches that read one map, a shortcut, a layer that nothing follows, and one dead channel."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.ModuleDict({"left": nn.Conv2d(6, 8, 1), "right": nn.Conv2d(6, 8, 3, padding=1)})
        self.shortcut = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Conv2d(16, 4, 1)
        with torch.no_grad():
            self.stem.weight[0] = 0
            self.stem.bias[0] = -1
            self.shortcut.bias.fill_(0.5)  # no map that the last layer reads is zero

    def forward(self, x):
        x = self.stem(x).relu()
        x = torch.cat([self.block["left"](x).relu(), self.block["right"](x).relu()], 1)
        x = (self.shortcut(x) + x).relu()
        return self.last(x)


@pytest.fixture(scope="module")
def study():
    torch.manual_seed(3)
    return NetworkStudy.of(Branched().eval(), torch.randn(2, 3, 10, 9))


def plan(study, name):
    return next(plan for plan in study.plans if plan.name == name)


def test_layers_come_in_the_order_they_ran_with_their_work_and_bytes(study):
    assert [plan.name for plan in study.plans] == ["stem", "block.left", "block.right", "shortcut", "last"]
    stem = plan(study, "stem")
    assert stem.macs == 2 * 6 * 10 * 9 * 3 * 3 * 3
    assert (stem.input_bytes, stem.weight_bytes, stem.output_bytes) == (4 * 2 * 3 * 90, 4 * 6 * 27, 4 * 2 * 6 * 90)
    assert stem.traffic_bytes == stem.input_bytes + stem.weight_bytes + stem.output_bytes


def test_branches_share_the_map_they_read_and_shortcuts_are_marked(study):
    branches = {p.name: p.branch for p in study.plans}
    assert branches["block.left"] == branches["block.right"]
    assert len(set(branches.values())) == 4
    assert [p.name for p in study.plans if p.adds] == ["shortcut"]


@pytest.mark.parametrize("name", ["stem", "block.left", "block.right", "shortcut"])
def test_record_of_a_layer_is_that_of_the_methods_themselves(study, name):
    record, layer = study.record(name), study.layers[name]
    assert record.sparsity == pytest.approx(float((layer.pre_activation <= 0).float().mean()), abs=1e-6)
    for quality, prediction in (
        (record.seernet, sl.seernet.predict(layer, BITS)),
        (record.spl, sl.spl.predict(layer, PRUNE_RATIO, implementation="reference")),
    ):
        outputs = prediction.truth.numel()
        assert quality.false_negative_share == prediction.false_negatives / outputs
        assert quality.false_positive_share == prediction.false_positives / outputs
        assert quality.mask_accuracy == pytest.approx(float((prediction.mask == prediction.truth).float().mean()))
        assert quality.predicted_sparsity == pytest.approx(1 - float(prediction.mask.float().mean()))


def test_zero_maps_are_those_without_a_single_value(study):
    stem, left = study.record("stem"), study.record("block.left")
    dead = int((study.layers["stem"].output == 0).all((2, 3)).sum())
    assert dead >= 2  # one dead channel in each of two pictures
    assert (stem.zero_output_maps, stem.output_maps) == (dead, 12)
    assert (left.zero_input_maps, left.input_maps) == (dead, 12)
    assert left.zero_input_share == dead / 12
    assert stem.zero_input_maps == 0


def test_layer_that_no_method_treats_says_why_for_each(study):
    record = study.record("last")
    assert (record.sparsity, record.seernet, record.spl) == (None, None, None)
    assert set(record.refusals) == {"seernet", "spl"}
    assert record.estimate.way == "dense"
    for word in ("SeerNet: ", "SPL: ", "DRFMP: no input map is zero"):
        assert word in record.estimate.reason


def test_a_layer_is_worked_out_once(study):
    assert study.record("stem") is study.record("stem")
    assert study.known("stem") is study.record("stem")


def test_studying_keeps_no_dense_sums(study):
    fresh = NetworkStudy(study.layers)
    before = set(vars(fresh.layers["block.left"]))
    fresh.record("block.left")
    assert set(vars(fresh.layers["block.left"])) == before


def test_figures_cover_what_is_known_by_now(study):
    fresh = NetworkStudy(study.layers, "small")
    assert fresh.figures()["known_layers"] == 0
    assert fresh.figures()["seernet_false_negative_share"] is None
    records = {p.name: fresh.record(p.name) for p in fresh.plans}
    figures = fresh.figures()
    total = sum(p.macs for p in fresh.plans)
    idle = sum((records[p.name].sparsity or 0) * p.macs for p in fresh.plans)
    assert (figures["network"], figures["layers"], figures["known_layers"], figures["measured_layers"]) == (
        "small",
        5,
        5,
        0,
    )
    assert figures["macs"] == total
    assert figures["macs_not_needed_share"] == pytest.approx(idle / total)
    assert figures["zero_input_bytes"] == round(
        sum(p.input_bytes * records[p.name].zero_input_share for p in fresh.plans)
    )
    assert sum(figures[f"best_{way}"] for way in ("dense", "seernet", "spl", "drfmp")) == 5


def test_table_has_a_row_per_layer_and_gaps_where_nothing_is_known(study):
    fresh = NetworkStudy(study.layers)
    fresh.record("stem")
    table = fresh.to_frame()
    assert table["name"].tolist() == list(fresh.layers)
    assert table["sparsity"].notna().tolist() == [True, False, False, False, False]
    assert not table["best_is_measured"].any()


def test_measured_times_replace_the_estimate_and_are_kept(study):
    fresh = NetworkStudy(study.layers)
    fresh.record("block.left")
    assert not fresh.choice("block.left").measured
    times = fresh.measure("block.left")
    assert set(times.times) == {"dense_nchw", "dense_channels_last", "seernet", "spl", "drfmp"}
    assert fresh.measure("block.left") is times
    assert fresh.choice("block.left").measured
    assert fresh.figures()["measured_layers"] == 1
    assert set(fresh.measure("last").times) == {"dense_nchw", "dense_channels_last"}


def test_measuring_can_be_stopped_and_keeps_nothing(study):
    fresh = NetworkStudy(study.layers)
    with pytest.raises(Interrupted):
        fresh.measure("stem", stop=lambda: True)
    assert fresh.times("stem") is None


def timing(median, spread=0.1):
    return Timing(median, median - spread, median + spread, 5, 2)


@pytest.mark.parametrize(
    ("others", "way", "words"),
    [
        ({"seernet": 5.0, "spl": 9.0}, "seernet", "SeerNet is 1.60 times as fast as the best dense"),
        ({"seernet": 7.95}, "dense", "the quartiles overlap"),
        ({"seernet": 8.15}, "dense", "the quartiles overlap"),
        ({"seernet": 16.0, "drfmp": 12.0}, "dense", "the fastest method, DRFMP, takes 1.50 times as long"),
        ({}, "dense", "no method treats this layer"),
    ],
)
def test_a_method_wins_only_where_its_quartiles_are_below_the_best_dense(others, way, words):
    dense = {"dense_nchw": timing(10.0), "dense_channels_last": timing(8.0)}
    choice = measured_choice(WayTimes("conv", dense | {name: timing(ms) for name, ms in others.items()}))
    assert (choice.way, choice.measured) == (way, True)
    assert words in choice.reason
    assert "measured, 2 threads" in choice.reason
    assert choice.ratios == {"dense": 1.0, **{name: ms / 8 for name, ms in others.items()}}


@given(
    seernet=st.none() | st.floats(0, 1),
    spl=st.none() | st.floats(0, 1),
    zero=st.floats(0, 1),
)
def test_estimates_recommend_the_least_work_and_never_hide_that_they_are_estimates(seernet, spl, zero):
    choice = estimated_choice(
        seernet_kept=seernet, spl_kept=spl, bits=4, prune_ratio=0.8, zero_input_share=zero,
        refusals={name: "no ReLU" for name, kept in (("seernet", seernet), ("spl", spl)) if kept is None},
    )  # fmt: skip
    works = {"dense": 1.0}
    works |= {} if seernet is None else {"seernet": 0.125 + seernet}
    works |= {} if spl is None else {"spl": 1 - 0.8 + spl}
    works |= {"drfmp": 1 - zero} if zero else {}
    assert choice.ratios == works
    assert not choice.measured
    assert choice.way == "dense" if min(works.values()) > 1 - NOTABLE else works[choice.way] == min(works.values())
    assert "estimate" in choice.reason or "no method treats" in choice.reason


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join), min_size=1, max_size=60))
def test_blocks_are_prefixes_that_make_few_runs(names):
    blocks = block_names(names)
    assert len(blocks) == len(names)
    assert all(block == "" or name.startswith(f"{block}.") for name, block in zip(names, blocks, strict=True))
    runs = sum(one != other for one, other in zip(blocks, [None, *blocks], strict=False))
    assert runs <= MOST_BLOCKS + 1  # and one for layers of the model itself, which stand first


@pytest.mark.parametrize(
    ("names", "blocks"),
    [
        (["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1"], ["", "layer1.0", "layer1.0", "layer1.1"]),
        (["features.0", "features.3"], ["features", "features"]),
        (["inception3a.branch1.conv", "inception3a.branch2.0.conv"], ["inception3a.branch1", "inception3a.branch2.0"]),
    ],
)
def test_blocks_of_known_kinds_of_networks(names, blocks):
    assert block_names(names) == blocks


def test_inputs_and_names_that_cannot_be_are_refused(study):
    with pytest.raises(ValueError, match=r"stm.*stem"):
        study.record("stm")
    with pytest.raises(ValueError, match="no convolution"):
        NetworkStudy({})
    bad = torch.randn(1, 3, 10, 9)
    bad[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="1 NaN or infinite value"):
        NetworkStudy.of(Branched().eval(), bad)
    with pytest.raises(ValueError, match="at least one picture"):
        NetworkStudy.of(Branched().eval(), torch.empty(0, 3, 10, 9))
