"""Algorithm 1: never below its floor, never costlier than dense, and the same result however it is computed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seerlab import spl
from seerlab.evaluation import LabelledImages, evaluate
from seerlab.spl.algorithm import least_right
from tests.test_layers import Block

from .conftest import settle_norms

GRID = (0.9, 0.6, 0.3)


class Tiny(nn.Module):
    """A picture layer, a pooled layer, a residual block, two branches, a linear head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.pooled = nn.Conv2d(6, 8, 3, padding=1)
        self.block = Block(8, 8)
        self.left, self.right = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 5, 3, padding=1)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.pooled(F.relu(self.stem(x), inplace=True)), inplace=True), 3, 2)
        x = self.block(x)
        x = torch.cat([F.relu(self.left(x)), F.relu(self.right(x), inplace=True)], 1)
        return self.head(x.mean((2, 3)))


NAMES = ["pooled", "block.conv1", "block.conv2", "left", "right"]


def pictures():
    return torch.randn(45, 3, 12, 12) + torch.randn(45, 3, 1, 1)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(1)
    return settle_norms(Tiny(), pictures())


@pytest.fixture(scope="module")
def data(tiny):
    """Noise with the network's own answers as classes, but for some: dense it is not always right."""
    torch.manual_seed(2)
    images = pictures()
    labels = tiny(images).argmax(1)
    labels[::9] = (labels[::9] + 1) % 4
    return LabelledImages(images, labels)


def find(tiny, data, order="LOS", max_drop=0.1, **options):
    return spl.search(
        tiny,
        data.images,
        data.labels,
        order,
        max_drop,
        **({"grid": GRID, "batch_size": 20, "progress": False} | options),
    )


@pytest.mark.parametrize("order", spl.ORDERS)
@pytest.mark.parametrize("budget", ["cumulative", "greedy", "per_layer"])
def test_never_below_the_floor_and_never_costlier_than_dense(tiny, data, order, budget):
    found = find(tiny, data, order, budget=budget)
    assert sorted(found.visited) == sorted(NAMES)
    assert found.searched.top1 >= found.dense.top1 - 0.1 - 1e-9
    assert 0 <= found.reduction < 1
    kept = found.table[found.table.chosen]
    assert dict(zip(kept.layer, kept.prune_ratio, strict=True)) == found.ratios
    assert bool((kept.accuracy >= kept.floor - 1e-9).all())
    assert bool((kept.cost < 1).all())


@pytest.mark.parametrize("order", spl.ORDERS)
def test_the_network_it_describes_has_the_figures_it_reports(tiny, data, order):
    found = find(tiny, data, order)
    network = found.apply(tiny, data.images[:1], "reference")
    network.collect = True
    accuracy = evaluate(network, data)
    assert accuracy.top1 == found.searched.top1
    assert accuracy.cross_entropy == pytest.approx(found.searched.cross_entropy)
    assert network.summary()["reduction"] == pytest.approx(found.reduction)


def plainly(tiny, data, order_of_visits, max_drop):
    """The algorithm as it stands in the docstring, with whole networks and no short cuts."""
    dense = evaluate(tiny, data).top1
    ratios = {}
    for i, name in enumerate(order_of_visits, start=1):
        floor = dense - max_drop * i / len(order_of_visits)
        best, best_cost = None, math.inf
        for ratio in GRID:
            network = spl.apply(tiny, data.images[:1], {**ratios, name: ratio}, implementation="reference")
            network.collect = True
            accuracy = evaluate(network, data)
            work = network.works[name]
            if accuracy.top1 >= floor - 1e-9 and work.macs < min(best_cost, work.dense_macs):
                best, best_cost = ratio, work.macs
        if best is not None:
            ratios[name] = best
    return {name: ratios[name] for name in NAMES if name in ratios}


@pytest.mark.parametrize("order", ["LOS", "RLOS"])
@pytest.mark.parametrize("max_drop", [0.05, 0.2])
def test_the_short_cuts_change_nothing(tiny, data, order, max_drop):
    found = find(tiny, data, order, max_drop)
    assert found.ratios == plainly(tiny, data, found.visited, max_drop)


@pytest.mark.parametrize("cache_bytes", [0, 30_000, 150_000])
def test_little_memory_gives_the_same_result(tiny, data, cache_bytes):
    whole, little = find(tiny, data), find(tiny, data, cache_bytes=cache_bytes)
    assert little.ratios == whole.ratios
    assert little.table.equals(whole.table)


@pytest.mark.parametrize("options", [{"exact": "reuse"}, {"pooled": "maximum"}, {"threshold": -0.1}, {"scope": "row"}])
def test_options_reach_the_layers(tiny, data, options):
    found = find(tiny, data, max_drop=0.3, **options)
    network = found.apply(tiny, data.images[:1], "reference")
    assert all(p.settings == spl.Settings(p.settings.prune_ratio, **options) for p in network.predictors.values())
    assert evaluate(network, data).top1 == found.searched.top1


def test_orders_visit_as_their_names_say(tiny, data):
    assert list(find(tiny, data, "LOS").visited) == NAMES
    assert list(find(tiny, data, "RLOS").visited) == NAMES[::-1]
    macs = find(tiny, data).macs.convolutions
    by_work = list(find(tiny, data, "FDOS").visited)
    assert [macs[name] for name in by_work] == sorted((macs[name] for name in NAMES), reverse=True)
    found = find(tiny, data, "SAOS")
    by_loss = [
        (found.susceptibility[name].drop, found.susceptibility[name].cross_entropy_rise) for name in found.visited
    ]
    assert by_loss == sorted(by_loss)
    alone = evaluate(spl.apply(tiny, data.images[:1], {"left": 0.9}, implementation="reference"), data)
    assert found.susceptibility["left"].drop == pytest.approx(found.dense.top1 - alone.top1)


def test_ties_in_susceptibility_go_to_cross_entropy_and_then_to_work():
    s = spl.Susceptibility
    known = {"a": s(0.1, 0.0), "b": s(0.0, 0.5), "c": s(0.0, 0.2), "d": s(0.0, 0.2)}
    macs = {"a": 1, "b": 1, "c": 5, "d": 9}
    assert spl.visiting_order("SAOS", list(known), macs, known) == ["d", "c", "b", "a"]
    assert spl.visiting_order("FDOS", list(known), macs) == ["d", "c", "a", "b"]


def test_a_susceptibility_given_is_not_measured_again(tiny, data):
    first = find(tiny, data, "SAOS")
    again = find(tiny, data, "SAOS", susceptibility=first.susceptibility)
    assert again.visited == first.visited
    assert again.evaluations == first.evaluations - len(NAMES)


@pytest.mark.parametrize("ranking", ["mean", "per_mac"])
def test_other_rankings_still_visit_every_layer(tiny, data, ranking):
    assert sorted(find(tiny, data, "SAOS", ranking=ranking).visited) == sorted(NAMES)


def test_the_first_feasible_ratio_ends_the_scan(tiny, data):
    table = find(tiny, data, max_drop=1.0, mode="first").table
    assert table.groupby("layer").chosen.sum().max() == 1
    for _, rows in table.groupby("layer"):
        assert not bool(rows.verdict.eq("kept so far").iloc[:-1].any())


def test_bisection_only_improves_and_refines_to_a_hundredth(tiny, data):
    coarse, fine = find(tiny, data, layers=["pooled"]), find(tiny, data, layers=["pooled"], bisect=True)
    assert fine.reduction >= coarse.reduction
    assert len(fine.table) > len(coarse.table)
    assert fine.searched.top1 >= fine.dense.top1 - 0.1 - 1e-9


def test_no_budget_at_all_loses_nothing(tiny, data):
    found = find(tiny, data, max_drop=0.0)
    assert found.searched.top1 >= found.dense.top1


def test_test_images_are_reported_and_change_nothing(tiny, data):
    calibration, test = data.part(0, 25), data.part(25)
    alone = find(tiny, calibration)
    found = find(tiny, calibration, test_images=test.images, test_labels=test.labels)
    assert found.ratios == alone.ratios
    assert found.test_dense.top1 == evaluate(tiny, test).top1
    network = found.apply(tiny, data.images[:1], "reference")
    network.collect = True
    assert found.test_searched.top1 == evaluate(network, test).top1
    assert found.test_reduction == pytest.approx(network.summary()["reduction"])
    assert found.summary()["test_top1_low"] < found.test_searched.top1 < found.summary()["test_top1_high"] + 1e-12
    assert alone.test_searched is None
    assert "test_top1" not in alone.summary()


def test_nothing_to_gain_leaves_the_network_dense(tiny, data):
    found = find(tiny, data, grid=(0.05,))  # a ratio below every layer's density
    assert found.ratios == {}
    assert found.reduction == 0.0
    with pytest.raises(ValueError, match="predicts no layer"):
        found.apply(tiny, data.images[:1])


def test_a_floor_asks_for_whole_right_answers():
    assert least_right(0.9, 10) == 9
    assert least_right(0.1 + 0.2, 10) == 3  # 0.30000000000000004
    assert least_right(0.91, 10) == 10
    assert least_right(-0.5, 10) == 0


def test_a_model_that_looks_at_values_is_refused(data):
    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(4, 4, 3), nn.Linear(4, 4)

        def forward(self, x):
            y = F.relu(self.conv(x))
            return self.head((y * 2 if float(y.mean()) > 0.5 else y).mean((2, 3)))

    with pytest.raises(ValueError, match="looks at computed values while it runs"):
        find(Looking().eval(), LabelledImages(torch.randn(6, 4, 9, 9), torch.zeros(6)))


class Turning(nn.Module):
    """Weights that depend on the pictures of the batch."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))

    def forward(self, x):
        return F.relu(F.conv2d(x, self.weight * x.mean())).mean((2, 3))


@pytest.mark.parametrize("order", ["LOS", "SAOS"])
def test_a_layer_whose_weights_depend_on_the_picture_is_named(order):
    data = LabelledImages(torch.randn(6, 4, 9, 9), torch.zeros(6))
    with pytest.raises(ValueError, match="layer 'conv2d' runs otherwise on these images"):
        find(Turning().eval(), data, order=order)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "SOAS"}, "unknown order 'SOAS'; choose one of 'LOS', 'RLOS', 'FDOS', 'SAOS'"),
        ({"budget": "all"}, "unknown budget 'all'; choose one of 'cumulative', 'greedy', 'per_layer'"),
        ({"mode": "last"}, "unknown mode 'last'"),
        ({"measure": "top3"}, "unknown measure 'top3'"),
        ({"max_drop": -0.01}, "max_drop must be a share from 0 to 1, got -0.01"),
        ({"max_drop": math.nan}, "max_drop must be a share from 0 to 1, got nan"),
        ({"grid": ()}, "the grid is empty"),
        ({"grid": (0.5, 1.0)}, "prune_ratio must be"),
        ({"test_images": torch.zeros(1, 3, 12, 12)}, "give test_images and test_labels together"),
        ({"layers": ["stem"]}, "no layer of Tiny can be predicted"),
        ({"batch_size": 0}, "the batch size must be a whole number, 1 or more, got 0"),
        ({"order": "SAOS", "susceptibility": {}}, "SAOS needs the susceptibility of every layer, and there is none of"),
    ],
)
def test_bad_requests_get_one_clear_sentence(tiny, data, arguments, message):
    with pytest.raises(ValueError, match=message):
        find(tiny, data, **arguments)


def test_unfit_images_and_labels_are_refused(tiny, data):
    with pytest.raises(ValueError, match="there are no images"):
        spl.search(tiny, data.images[:0], data.labels[:0])
    with pytest.raises(ValueError, match="label 4 is out of range"):
        spl.search(tiny, data.images, data.labels.clone().fill_(4), progress=False)
    with pytest.raises(TypeError, match="unknown option 'bits'"):
        find(tiny, data, bits=4)
