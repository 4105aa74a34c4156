import itertools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seerlab.engine import epsilon_maps
from seerlab.engine.epsilon_maps import slider_epsilon
from seerlab.engine.epsilon_study import CURVE_POINTS, FEWEST_POINTS, EpsilonStudy, probabilities
from seerlab.evaluation import LabelledImages, evaluate
from seerlab.measure import Interrupted

JUDGED = {"v1": (1, 4, 6), "v2": (0, 2, 6)}  # modules of `make_model` behind which, or before which, maps are judged
CONVOLUTIONS = ["0", "2", "6"]


def make_model(seed=0, leaky=False):
    torch.manual_seed(seed)
    activation = nn.LeakyReLU(0.1) if leaky else nn.ReLU()
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        activation,
        nn.Conv2d(5, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        activation,
        nn.MaxPool2d(2),
        nn.Conv2d(6, 7, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(7, 4),
    ).eval()
    with torch.no_grad():
        if not leaky:
            model[0].bias[1] = -50.0  # a map that is zero whatever the picture
        model[2].weight[2] *= 0.02
    return model


def make_pictures(count=2, size=12, seed=1):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def brute_force(model, x, mode, epsilon):
    """Pruned maps and values within epsilon of all layers, and the scores; one module and one map after another."""
    flags, within = [], []

    def judge(maps):
        for k, plane in enumerate(maps[0]):
            size = plane.abs()
            limit = torch.tensor(epsilon)
            inside = int((size <= limit).sum() if mode == "v1" else (size - limit < 1e-6).sum())
            pruned = inside == plane.numel() if mode == "v1" else 100 * inside > 99 * plane.numel()
            flags.append(bool(pruned))
            within.append(inside)
            if pruned:
                maps[0, k] = 0

    with torch.no_grad():
        for i, module in enumerate(model):
            if mode == "v2" and i in JUDGED["v2"]:
                x = x.clone()
                judge(x)
            x = module(x)
            if mode == "v1" and i in JUDGED["v1"]:
                judge(x)
    return flags, within, x[0]


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def study(model):
    return EpsilonStudy(model, make_pictures(), ("cat", "dog", "bird", "frog"))


@settings(max_examples=40, deadline=None)
@given(epsilon=st.floats(0, 3, width=32), mode=st.sampled_from(["v1", "v2"]), picture=st.integers(0, 1))
def test_run_is_that_of_the_rule_applied_map_by_map(epsilon, mode, picture):
    model = make_model()
    x = make_pictures()
    outcome = EpsilonStudy(model, x).run(picture, mode, epsilon)
    flags, within, scores = brute_force(model, x[picture : picture + 1].clone(), mode, epsilon)
    assert outcome.pruned.tolist() == flags
    assert outcome.within.tolist() == within
    assert outcome.verdict.probability == pytest.approx(float(scores.softmax(0).max()), abs=1e-6)
    assert outcome.figures["pruned_maps"] == sum(flags)


def test_without_epsilon_the_answer_is_the_models_own(study, model):
    own = model(make_pictures()[1:2])[0].detach().double().softmax(0)
    verdict = study.run(1, "v1", 0.0).verdict
    assert (verdict.index, verdict.probability) == (int(own.argmax()), float(own.max()))
    assert verdict == study.before(1)
    assert verdict.name == ("cat", "dog", "bird", "frog")[verdict.index]


def test_layers_are_named_in_the_order_of_execution(study):
    for mode, maps in (("v1", [5, 6, 7]), ("v2", [3, 5, 6])):
        places = study.base(0, mode).places
        assert [place.name for place in places] == CONVOLUTIONS
        assert [place.maps for place in places] == maps == list(study.maps[mode])


class Crossed(nn.Module):
    """The second convolution's activation runs before the first one's."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        a, b = self.first(x), self.second(x)
        b = b.relu()
        return torch.cat([a.relu(), b], 1).mean((2, 3))


def test_layers_that_are_judged_out_of_order_keep_their_own_maps():
    torch.manual_seed(0)
    model = Crossed().eval()
    with torch.no_grad():
        model.first.bias[1] = -50.0
    study = EpsilonStudy(model, make_pictures(1))
    base = study.base(0, "v1")
    assert [(place.name, place.maps) for place in base.places] == [("first", 2), ("second", 4)]
    assert base.zero.tolist() == [False, True, False, False, False, False]
    assert study.run(0, "v1", 0.0).pruned.tolist() == base.zero.tolist()


@pytest.mark.parametrize("mode", ["v1", "v2"])
def test_size_of_a_map_is_the_smallest_epsilon_that_prunes_it(study, mode):
    base = study.base(0, mode)
    for k in range(base.places[0].maps):  # nothing before the first layer is pruned
        size = base.sizes[k]
        assert study.run(0, mode, float(size)).pruned[k]
        if size > 0:
            below = float(size) * 0.999 - 2e-6  # beyond the slack of v2
            assert below < 0 or not study.run(0, mode, below).pruned[k]


def test_thumbnails_show_the_largest_value_of_each_dot(study, model):
    base = study.base(0, "v1")
    maps = model[:2](make_pictures()[:1])[0].detach()
    place = base.places[0]
    assert (place.rows, place.columns) == (12, 12)  # small maps are shown as they are
    expected = (255 * (maps / maps.max()).sqrt()).round().numpy().astype(np.uint8)
    shown = np.frombuffer(base.thumbnails, np.uint8)[: 5 * 144].reshape(5, 12, 12)
    assert np.array_equal(shown, expected)
    assert len(base.thumbnails) == sum(p.maps * p.rows * p.columns for p in base.places)


def test_many_maps_get_smaller_thumbnails(study, model, monkeypatch):
    monkeypatch.setattr(epsilon_maps, "THUMBNAIL_DOTS", 18 * 25)
    base = EpsilonStudy(model, make_pictures()).base(0, "v1")
    maps = model[:2](make_pictures()[:1])[0].detach()
    assert [(p.rows, p.columns) for p in base.places] == [(5, 5), (5, 5), (5, 5)]
    assert np.frombuffer(base.thumbnails, np.uint8)[: 5 * 25].max() == 255
    assert np.flatnonzero(np.frombuffer(base.thumbnails, np.uint8)[25:50]).size == 0  # map 1 is zero
    assert bool((maps[1] == 0).all())


@pytest.mark.parametrize("selected", [(0, 2), (1, 0), (2, 6)])
def test_values_of_a_selected_map_are_those_the_rule_judged(study, selected):
    outcome = study.run(0, "v1", 0.4, selected)
    base = study.base(0, "v1")
    k = int(base.offsets[selected[0]]) + selected[1]
    place = base.places[selected[0]]
    assert outcome.values.shape == (place.height, place.width)
    assert int((np.abs(outcome.values) <= np.float32(0.4)).sum()) == outcome.within[k]
    assert (outcome.within[k] >= study.least(place, "v1")) == outcome.pruned[k]


def test_figures_tell_the_kinds_of_pruned_maps_apart(study):
    for epsilon in (0.0, 0.3, 1.0, 2.5):
        outcome = study.run(0, "v1", epsilon)
        figures, zero = study.figures(outcome), study.base(0, "v1").zero
        assert figures["zero_maps"] + figures["added_maps"] == figures["pruned_maps"] == int(outcome.pruned.sum())
        assert figures["zero_maps"] + figures["revived_maps"] == int(zero.sum())
        areas = np.repeat([p.area for p in study.base(0, "v1").places], [p.maps for p in study.base(0, "v1").places])
        assert figures["reduced_values"] == int(areas[outcome.pruned].sum())
        assert figures["reduced_bytes"] == 4 * figures["reduced_values"]
        assert figures["saved_input_bytes"] == 4 * int(outcome.saved_inputs.sum())
        assert figures["saved_weight_bytes"] == 4 * int(outcome.saved_weights.sum())
        assert figures["class_changed"] == (figures["class_before"] != figures["class_after"])


def held_down():
    """The first layer's map, 0.5 all over, keeps the second layer's at zero; pruned, it lets that one rise to 1."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        for module, weight, bias in ((model[0], 0.0, 0.5), (model[2], -4.0, 1.0)):
            module.weight.fill_(weight)
            module.bias.fill_(bias)
    return EpsilonStudy(model.eval(), torch.ones(1, 1, 4, 4))


def test_map_that_comes_back_is_told():
    study = held_down()
    assert study.run(0, "v1", 0.0).pruned.tolist() == [False, True]
    outcome = study.run(0, "v1", 0.6)
    assert outcome.pruned.tolist() == [True, False]
    assert study.figures(outcome)["revived_maps"] == 1
    notes = study.notes(outcome)
    assert notes[0].startswith("1 map pruned at epsilon 0, but not in this run")
    assert notes[1] == "Not monotone in 2: 0 maps here, 1 at epsilon 0."


def test_fall_of_the_total_is_told_with_the_smaller_epsilon():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 3, 1), nn.ReLU()).eval()
    with torch.no_grad():
        for module, weight, bias in ((model[0], 0.0, 0.5), (model[2], -4.0, 1.0)):
            module.weight.fill_(weight)
            module.bias.fill_(bias)
    study = EpsilonStudy(model, torch.ones(1, 1, 4, 4))
    study.explore(0, "v1", 0.25)
    notes = study.notes(study.run(0, "v1", 0.6))
    assert "Not monotone: 25.0 % of the values are in pruned maps, but 75.0 % at epsilon 0.25." in notes[1]
    assert study.notes(study.run(0, "v1", 0.1)) == []


def test_leaky_network_says_why_nothing_can_be_pruned():
    study = EpsilonStudy(make_model(leaky=True), make_pictures())
    [note] = study.notes(study.run(0, "v1", 0.0))
    assert "not one value is exactly zero, as with leaky or linear activations" in note


def test_zero_values_without_zero_maps_are_told_apart_from_none():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).eval()
    study = EpsilonStudy(model, make_pictures())
    base = study.base(0, "v1")
    [note] = study.notes(study.run(0, "v1", 0.0))
    assert f"{100 * base.zero_values / base.values:.1f} % of the values are zero, but no map is zero all over" in note
    [note] = study.notes(study.run(0, "v1", float(base.sizes.min()) / 2))
    assert note.startswith("Nothing is pruned: no map lies within epsilon; the first map would be pruned at")


def test_curve_holds_every_run_by_epsilon(model):
    study = EpsilonStudy(model, make_pictures())
    for epsilon in (0.5, 0.0, 1.0):
        study.explore(0, "v1", epsilon)
    study.run(1, "v1", 0.7)  # another picture
    curve = study.curve(0, "v1")
    assert [point.epsilon for point in curve] == [0.0, 0.5, 1.0]
    outcome = study.run(0, "v1", 1.0)
    assert curve[2].share == outcome.figures["reduced_share"]
    assert curve[2].same_class == (outcome.verdict.index == study.before(0).index)
    assert curve[2].probability == outcome.verdict.kept_probability


def test_grid_goes_over_the_slider_coarse_steps_first(study):
    end = study.base(0, "v1").epsilon_max
    grid = study.grid(0, "v1")
    assert len(grid) == CURVE_POINTS
    assert (sorted(grid)[0], sorted(grid)[-1]) == (0.0, end)
    assert set(grid[:3]) == {0.0, slider_epsilon(0.5, end), end}


def test_slow_network_gets_a_coarser_grid(model):
    study = EpsilonStudy(model, make_pictures())
    study.base(0, "v1")
    study._run_s = 100.0
    assert len(study.grid(0, "v1")) == FEWEST_POINTS


@given(end=st.floats(1e-6, 1e6), steps=st.lists(st.integers(0, 200), min_size=2))
def test_slider_never_goes_back(end, steps):
    epsilons = [slider_epsilon(step / 200, end) for step in sorted(steps)]
    assert all(a <= b for a, b in itertools.pairwise(epsilons))
    assert slider_epsilon(0.0, end) == 0.0


def test_end_of_the_slider_holds_half_of_the_values_in_two_digits(study):
    for mode in ("v1", "v2"):
        base = study.base(0, mode)
        areas = np.repeat([p.area for p in base.places], [p.maps for p in base.places])
        assert areas[base.sizes <= base.epsilon_max].sum() >= base.values / 2
        assert base.epsilon_max == float(f"{base.epsilon_max:.2g}")


def test_network_whose_maps_are_all_zero_still_has_a_slider():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).eval()
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
    study = EpsilonStudy(model, make_pictures())
    assert study.base(0, "v1").epsilon_max == 1.0
    assert study.notes(study.run(0, "v1", 0.0)) == []


def test_a_run_that_is_given_up_leaves_nothing_behind(model):
    study, asked = EpsilonStudy(model, make_pictures()), []

    def stop():
        asked.append(True)
        return len(asked) == 2  # at the second layer

    with pytest.raises(Interrupted):
        study.run(0, "v1", 0.3, stop=stop)
    with pytest.raises(Interrupted):
        study.explore(0, "v1", 0.4, lambda: True)
    assert study.curve(0, "v1") == []
    fresh = EpsilonStudy(model, make_pictures())
    assert study.run(0, "v1", 0.3).figures == fresh.run(0, "v1", 0.3).figures


def test_network_without_scores_has_no_verdict():
    study = EpsilonStudy(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).eval(), make_pictures())
    figures = study.figures(study.run(0, "v1", 0.5))
    assert study.before(0) is None
    assert (figures["class_before"], figures["class_after"], figures["class_changed"]) == (None, None, None)


def test_probabilities_are_not_normalised_twice():
    row = torch.tensor([[0.2, 0.5, 0.3]])
    assert probabilities(row) == pytest.approx([0.2, 0.5, 0.3])
    assert probabilities(row + 1) == pytest.approx((row + 1)[0].softmax(0).numpy())
    assert probabilities(torch.tensor([[1.0, float("nan")]])) is None
    assert probabilities(torch.ones(2, 3)) is None


class Fickle(nn.Module):
    """Runs its second convolution only where the first leaves something."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        y = self.first(x).relu()
        return self.second(y) if bool(y.any()) else y


def test_model_whose_layers_depend_on_its_values_is_refused_in_words():
    study = EpsilonStudy(Fickle().eval(), make_pictures())
    with pytest.raises(ValueError, match="runs other convolutions than at 0"):
        study.run(0, "v1", 1000.0)


# --- accuracy ---


@pytest.fixture
def labelled(model):
    return LabelledImages(make_pictures(10, seed=5), torch.arange(10) % 4)


@pytest.mark.parametrize("mode", ["v1", "v2"])
def test_accuracy_is_that_of_the_pruned_network(model, labelled, mode):
    study = EpsilonStudy(model, make_pictures(), (), labelled)
    figures = study.accuracy(mode, 0.8)
    answers = [
        int(brute_force(model, image[None].clone(), mode, 0.8)[2].argmax()) == int(label)
        for image, label in zip(labelled.images, labelled.labels, strict=True)
    ]
    assert figures["top1_after"] == pytest.approx(sum(answers) / 10)
    own = evaluate(model, labelled)
    assert (figures["top1_before"], figures["accuracy_images"]) == (own.top1, 10)
    assert (figures["top1_before_low"], figures["top1_before_high"]) == own.top1_interval
    assert study.figures(study.run(0, mode, 0.8))["top1_after"] == figures["top1_after"]


def test_measuring_accuracy_gives_up_when_told(model, labelled):
    study = EpsilonStudy(model, make_pictures(), (), labelled)
    with pytest.raises(Interrupted):
        study.accuracy("v1", 0.5, stop=lambda: True)
    assert study.accuracy("v1", 0.5)["accuracy_images"] == 10


def test_accuracy_without_labelled_images_says_what_to_give(study):
    with pytest.raises(ValueError, match="give images and labels"):
        study.accuracy("v1", 0.0)


# --- what is refused, and the rest ---


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ((-0.1, "v1", 0), "epsilon=-0.1"),
        ((float("nan"), "v1", 0), "epsilon=nan"),
        ((float("inf"), "v1", 0), "epsilon=inf"),
        ((0.1, "v3", 0), "'v1', 'v2'"),
        ((0.1, "v1", 2), "picture=2 does not exist: choose 0 to 1"),
        ((0.1, "v1", -1), "picture=-1"),
        ((0.1, "v1", 0, (0, 5)), r"selected=\[0, 5\] does not exist"),
        ((0.1, "v1", 0, (3, 0)), r"selected=\[3, 0\]"),
        ((0.1, "v1", 0, (1,)), r"selected=\[1\]"),
    ],
)
def test_impossible_setting_is_refused_in_words(study, setting, message):
    with pytest.raises(ValueError, match=message):
        study.check(*setting)


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (make_pictures()[0], ValueError, "add the batch dimension"),
        (make_pictures(0), ValueError, "at least one picture"),
        ([[1.0]], TypeError, "x must be a tensor or an array"),
        (torch.full((1, 3, 8, 8), float("nan")), ValueError, "NaN"),
        (torch.zeros(1, 5, 8, 8), ValueError, "does not take an input"),
    ],
)
def test_input_that_is_no_batch_of_pictures_is_refused(model, x, kind, message):
    with pytest.raises(kind, match=message):
        EpsilonStudy(model, x)


def test_array_is_as_good_as_a_tensor_and_stays_unchanged(model):
    x = make_pictures().numpy()
    before = x.copy()
    outcome = EpsilonStudy(model, x).run(0, "v1", 0.5)
    assert np.array_equal(x, before)
    assert outcome.pruned.tolist() == brute_force(model, make_pictures()[:1], "v1", 0.5)[0]


def test_picture_is_shown_in_full_range_and_small(study, model):
    photo = study.photo(0)
    assert (photo.shape, photo.dtype) == ((12, 12, 3), np.uint8)
    assert (photo.min(), photo.max()) == (0, 255)
    assert EpsilonStudy(model, torch.rand(1, 3, 300, 150)).photo(0).shape == (128, 64, 3)
    two = nn.Sequential(nn.Conv2d(2, 2, 1)).eval()
    assert EpsilonStudy(two, torch.rand(1, 2, 4, 4)).photo(0) is None


def test_runs_of_several_threads_do_not_disturb_one_another(model):
    study = EpsilonStudy(model, make_pictures())
    epsilons = [0.0, 0.3, 0.6, 0.9]
    found = {}

    def run(epsilon):
        found[epsilon] = [study.run(p, "v1", epsilon).pruned.tolist() for p in (0, 1, 0, 1)]

    threads = [threading.Thread(target=run, args=(epsilon,)) for epsilon in epsilons]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for epsilon in epsilons:
        expected = [brute_force(model, make_pictures()[p : p + 1].clone(), "v1", epsilon)[0] for p in (0, 1)]
        assert found[epsilon] == expected * 2
