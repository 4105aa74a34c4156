"""Offline choice of an encoding per layer: what is computed, what is picked, what is said about it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seerlab.encodings import encode
from seerlab.engine import selection
from seerlab.engine.selection import CHOICES, DEFAULT, LayerChoice, Selection, Size, _runs, select
from seerlab.layers import ConvLayer
from seerlab.measure import Timing


class Mixed(nn.Module):
    """Strided, grouped, depth-wise, pointwise and dilated convolutions."""

    def __init__(self):
        super().__init__()
        self.strided = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 12, (1, 3), padding=(0, 1), groups=2)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.pointwise = nn.Conv2d(12, 6, 1)
        self.dilated = nn.Conv2d(6, 4, 3, dilation=2)

    def forward(self, x):
        for layer in self.children():
            x = torch.relu(layer(x))
        return x


@pytest.fixture
def model():
    return Mixed().eval()


@pytest.fixture
def picture():
    return torch.randn(1, 3, 20, 16)


@pytest.fixture
def scripted(monkeypatch):
    """Replace the clock: medians by method (and way), the same on every layer."""

    def use(**medians):
        def measure(callables, repeats, warmup, threads):
            found = {}
            for name in callables:
                method, way = name.split(", ")
                value = medians.get(way.replace(" ", "_"), medians[method])
                found[name] = Timing(value, value - 0.5, value + 0.5, repeats, threads)
            return found

        monkeypatch.setattr(selection, "interleaved", measure)

    return use


def integer_layer(groups, kernel, stride, dilation=(1, 1)):
    x = torch.randint(-3, 4, (1, 8, 13, 11)).float().clamp_min(0)
    weight = torch.randint(-3, 4, (12, 8 // groups, *kernel)).float()
    return ConvLayer("layer", weight, torch.arange(12.0), x, stride, (1, 2), dilation, groups)


@pytest.mark.parametrize("method", CHOICES)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), (1, 1)), ((3, 3), (2, 1)), ((1, 5), (1, 2))])
def test_every_timed_way_computes_the_dense_convolution(method, groups, kernel, stride):
    layer = integer_layer(groups, kernel, stride)
    maps = [layer.input, layer.input.flip(3)]
    for run in _runs(layer, maps, method).values():
        for found, x in zip(run(), maps, strict=True):
            assert torch.equal(found, layer.convolve(x))


def test_im2col_and_dense_of_a_dilated_layer_compute_it():
    layer = integer_layer(2, (3, 3), (1, 1), (2, 1))
    for method in ("im2col", "dense"):
        for run in _runs(layer, [layer.input], method).values():
            assert torch.equal(run()[0], layer.convolve(layer.input))


def test_layers_without_overlap_or_with_dilation_are_left_out_with_a_reason(model, picture):
    chosen = select(model, picture, repeats=1)
    assert [choice.layer for choice in chosen.rows] == ["strided", "grouped", "depthwise"]
    assert chosen.table()["layer"].tolist() == ["strided", "grouped", "depthwise"]
    assert set(chosen.left_out) == {"pointwise", "dilated"}
    assert "pointwise" in chosen.left_out["pointwise"]
    assert "dilation (2, 2)" in chosen.left_out["dilated"]
    for choice in chosen.layers:
        assert set(choice.times) == (set(DEFAULT) if choice.left_out is None else {"im2col", "dense"})


def test_density_and_sizes_are_those_of_the_encoded_calibration_maps(model):
    pictures = torch.randn(3, 3, 20, 16)
    with torch.no_grad():
        maps = torch.relu(model.strided(pictures))
    choice = select(model, pictures, methods=(*DEFAULT, "zvc"), repeats=1).rows[1]
    assert choice.density == torch.count_nonzero(maps).item() / maps.numel()
    assert choice.macs == 3 * 12 * 4 * 3 * 10 * 8
    for method in ("im2col", "mec", "cscc", "cpo", "cps", "zvc"):
        figures = encode(maps, (1, 3), 1, (0, 1), method).summary()
        size = choice.sizes[method]
        assert (size.units, size.nbytes) == (figures["units"], figures["bytes"])
        for ratio in ("cr_elements", "cr_bytes", "raw_elements", "raw_bytes"):
            assert getattr(size, ratio) == pytest.approx(figures[ratio])
    assert choice.sizes["dense"] == Size(maps.numel(), 4 * maps.numel(), 3.0, 3.0, 1.0, 1.0)


def test_a_batch_and_a_list_of_its_pictures_give_the_same_sizes(model):
    pictures = torch.randn(2, 3, 20, 16)
    batch = select(model, pictures, repeats=1)
    listed = select(model, list(pictures.split(1)), repeats=1)
    assert batch.images == listed.images == 2
    assert [c.sizes for c in batch.layers] == [c.sizes for c in listed.layers]


def test_calibration_pictures_may_differ_in_size(model):
    pictures = [torch.randn(1, 3, 20, 16), torch.randn(1, 3, 24, 28)]
    both = select(model, pictures, repeats=1)
    alone = [select(model, picture, repeats=1) for picture in pictures]
    for choice, first, second in zip(both.layers, *(each.layers for each in alone), strict=True):
        assert choice.elements == first.elements + second.elements
        assert choice.macs == first.macs + second.macs
        assert choice.sizes["im2col"].nbytes == first.sizes["im2col"].nbytes + second.sizes["im2col"].nbytes


def test_the_fastest_method_is_picked_and_the_published_set_has_its_own_pick(model, picture, scripted):
    scripted(im2col=10, cpo=9, cps=8, mec=7, cscc=12, dense=2)
    chosen = select(model, picture)
    assert set(chosen.table()["picked"]) == {"dense"}
    assert set(chosen.table()["picked_published"]) == {"cps"}
    figures = chosen.summary()
    assert figures["left_im2col_share"] == figures["published_left_im2col_share"] == 1
    assert figures["im2col_ms"] == 50
    assert figures["dense_ms"] == figures["ms"] == 10
    assert figures["published_ms"] == 3 * 8 + 2 * 10  # the layers left out keep im2col
    assert figures["published_saving_im2col"] == pytest.approx(1 - 44 / 50)
    assert figures["published_saving_dense"] == pytest.approx(1 - 44 / 10)
    assert figures["published_largest_saving"] == pytest.approx(0.2)


def test_im2col_is_kept_where_nothing_published_is_faster(model, picture, scripted):
    scripted(im2col=5, cpo=9, cps=8, mec=4, cscc=12, dense=6)
    chosen = select(model, picture)
    figures = chosen.summary()
    assert set(chosen.table()["picked"]) == {"mec"}
    assert figures["published_left_im2col_share"] == 0
    assert figures["published_saving_im2col"] == 0
    assert figures["published_cr_elements"] == figures["published_cr_bytes"] == 1


def test_the_faster_of_two_ways_stands_for_im2col_and_dense(model, picture, scripted):
    scripted(im2col=9, dense=6, unfold=4, channels_last=3)
    choice = select(model, picture, methods=("im2col", "dense")).rows[0]
    assert choice.ways == {"im2col": "unfold", "dense": "channels_last"}
    assert {m: t.median_ms for m, t in choice.times.items()} == {"im2col": 4, "dense": 3}


def test_times_are_per_image(model, scripted):
    scripted(im2col=12, cpo=6)
    choice = select(model, torch.randn(4, 3, 20, 16), methods=("im2col", "cpo")).rows[0]
    assert (choice.times["im2col"].median_ms, choice.times["cpo"].median_ms) == (3, 1.5)


def test_overlapping_quartiles_are_not_counted_as_distinct(model, picture, scripted):
    scripted(im2col=10, cpo=9.5, cps=20)
    figures = select(model, picture, methods=("im2col", "cpo", "cps")).summary()
    assert figures["published_left_im2col_share"] == 1
    assert figures["published_left_im2col_distinct_share"] == 0


def test_ratios_of_the_network_are_ratios_of_sums():
    def choice(name, cpo_units, reason=None):
        sizes = {"im2col": Size(900, 3600, 1, 1, 0.1, 0.1), "cpo": Size(cpo_units, 3 * cpo_units, 0, 0, 0, 0)}
        times = {method: Timing(ms, ms, ms, 1, 1) for method, ms in (("im2col", 2.0), ("cpo", 1.0))}
        if reason:
            sizes.pop("cpo"), times.pop("cpo")
        return LayerChoice(name, (3, 3), (1, 1), 1, (1, 10, 10), 100, 50, 7, reason, times, {}, sizes)

    chosen = Selection((choice("a", 100), choice("b", 200), choice("c", 0, "why")), ("im2col", "cpo"), 1, 1, 1)
    figures = chosen.summary()
    assert figures["cr_elements"] == 1800 / 300
    assert figures["cr_bytes"] == 7200 / 900
    assert figures["network_cr_bytes"] == 10800 / (900 + 3600)
    assert figures["raw_elements"] == 200 / 300
    assert figures["left_out_macs_share"] == pytest.approx(1 / 3)
    assert "dense_ms" not in figures


def test_the_model_is_left_unchanged_and_so_are_torchs_threads(model, picture):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    threads = torch.get_num_threads()
    assert select(model, picture, repeats=1, threads=2).rows[0].times["cpo"].threads == 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"methods": ("im2col", "winograd")}, "unknown method 'winograd'"),
        ({"methods": ("cpo", "cps")}, "add 'im2col'"),
        ({"methods": ("im2col", "im2col")}, "every name once"),
        ({"repeats": 0}, "repeats=0"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_impossible_requests_are_refused_by_name(model, picture, keywords, words):
    with pytest.raises(ValueError, match=words):
        select(model, picture, **keywords)


def test_a_single_string_is_no_list_of_methods(model, picture):
    with pytest.raises(TypeError, match="several names"):
        select(model, picture, methods="im2col")


@pytest.mark.parametrize("inputs", [[], torch.zeros(0, 3, 20, 16)])
def test_no_calibration_picture_is_refused(model, inputs):
    with pytest.raises(ValueError, match="at least one"):
        select(model, inputs)


def test_a_model_with_nothing_to_choose_is_refused():
    with pytest.raises(ValueError, match="pointwise or dilated"):
        select(nn.Sequential(nn.Conv2d(3, 4, 1)).eval(), torch.randn(1, 3, 8, 8))


def test_inputs_that_take_different_paths_are_refused():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.a(x) if x.shape[3] > 10 else self.b(x)

    with pytest.raises(ValueError, match="input 1 than on input 0"):
        select(Forked().eval(), [torch.randn(1, 3, 12, 12), torch.randn(1, 3, 9, 9)])
