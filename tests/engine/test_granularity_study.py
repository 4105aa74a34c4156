import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from seerlab import scnn
from seerlab.engine.granularity_accuracy import Curve, Measured, accuracy_source
from seerlab.engine.granularity_study import GRANULARITIES, GranularityStudy, Overtaken, check_setting
from seerlab.evaluation import LabelledImages, evaluate
from seerlab.layers import RELU, ConvLayer
from seerlab.measure import Interrupted
from seerlab.regularity.granularity import prune
from seerlab.regularity.storage import storage


def worked_example():
    k, c, r, s = np.ogrid[:2, :2, :3, :3]
    weight = torch.from_numpy((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5).float()
    c, y, x = np.ogrid[:2, :4, :4]
    activations = torch.from_numpy(np.maximum(0, (3 * c + 5 * y + 7 * x) % 9 - 4)).float()
    return ConvLayer("worked example", weight, torch.tensor([1.0, -2.0]), activations[None], padding=1, steps=(RELU,))


@pytest.fixture
def study():
    return GranularityStudy(worked_example())


def test_worked_example_has_the_given_references_and_bits(study):
    figures = study.figures("vector", 0.5)
    for name, references, ratio in (
        ("fine", (90, 75, 52, 31), 0.75),
        ("vector", (90, 66, 51, 32), 0.5833),
        ("kernel", (89, 65, 32, 32), 0.5278),
        ("filter", (89, 65, 32, 16), 0.5139),
    ):
        assert tuple(figures[f"{name}: references_{rule}"] for rule in scnn.RULES) == references
        assert figures[f"{name}: nominal_ratio"] == figures[f"{name}: encoded_ratio"] == pytest.approx(ratio, abs=5e-5)
    assert (figures["references"], figures["kept_grains"], figures["utilisation"]) == (66, 6, 0.65625)
    assert figures["activation_density"] == 14 / 32


def test_output_error_is_that_of_the_pruned_layer(study):
    layer = study.layer
    pruned = prune(layer.weight, "kernel", 0.5).apply(layer.weight)
    wrong = torch.relu(torch.nn.functional.conv2d(layer.input, pruned, layer.bias, padding=1)) - layer.output
    assert study.output_error("kernel", 0.5) == pytest.approx(float(wrong.norm() / layer.output.norm()))
    assert study.output_error("fine", 0.0) == 0


def test_output_error_counts_the_shortcut_and_the_first_picture_alone():
    from seerlab.layers import Residual

    layer = worked_example()
    x = torch.cat([layer.input, 100 * layer.input])
    shortcut = torch.full((2, 2, 4, 4), 7.0)
    residual = ConvLayer("sum", layer.weight, layer.bias, x, padding=1, steps=(Residual(shortcut), RELU))
    pruned = prune(layer.weight, "filter", 0.5).apply(layer.weight)
    sums = torch.nn.functional.conv2d(layer.input, pruned, layer.bias, padding=1) + 7
    wrong = torch.relu(sums) - residual.output[:1]
    found = GranularityStudy(residual).output_error("filter", 0.5)
    assert found == pytest.approx(float(wrong.norm() / residual.output[:1].norm()))


def test_weight_alone_has_storage_and_magnitude_but_no_references():
    weight = torch.randn(8, 8, 3, 3)
    figures = GranularityStudy(weight).figures("kernel", 0.75)
    assert figures["nominal_ratio"] == storage(prune(weight, "kernel", 0.75)).ratio()
    assert figures["references"] is figures["output_error"] is figures["activation_density"] is None
    assert figures["layer"] == "weight"


def test_finer_grains_keep_more_magnitude_at_the_same_sparsity():
    figures = GranularityStudy(torch.randn(16, 16, 3, 3)).figures("fine", 0.5)
    kept = [figures[f"{name}: kept_magnitude"] for name in ("fine", "vector", "kernel", "filter")]
    assert kept == sorted(kept, reverse=True)
    assert figures["2:4: density"] == 0.5


def test_two_of_four_does_not_depend_on_the_sparsity(study):
    assert study.one("2:4", 0.1) is study.one("2:4", 0.9)


def test_chosen_granularity_comes_first_and_work_is_given_up_when_overtaken(study):
    answers = iter([False, True])
    with pytest.raises(Overtaken):
        study.figures("filter", 0.25, lambda: next(answers))
    assert {"filter: density"} <= set(study.figures("filter", 0.25, count=1))
    assert "fine: density" not in study.figures("filter", 0.25, count=1)
    assert "fine: density" in study.figures("filter", 0.25)


def test_grain_is_told_with_its_rank_and_weights(study):
    grain = study.grain("vector", 0.5, 2)
    assert (grain.salience, grain.kept, grain.weights, grain.size) == (9, True, (1, 3, 5), 3)
    assert grain.rank == 5  # saliences 9 4 9 6 12 9 11 11 5 6 5 11
    with pytest.raises(ValueError, match="there is no grain 12: choose 0 to 11"):
        study.grain("vector", 0.5, 12)


def test_fully_connected_weights_are_pointwise_kernels():
    study = GranularityStudy(torch.randn(6, 4))
    assert study.shape == (6, 4, 1, 1)
    figures = study.figures("vector", 0.5)
    assert figures["fine: nominal_ratio"] == figures["vector: nominal_ratio"]


def test_grouped_strided_and_dilated_layers_are_counted_as_they_are():
    x = torch.randn(1, 8, 9, 9).relu()
    layer = ConvLayer("odd", torch.randn(4, 2, 3, 3), torch.zeros(4), x, stride=2, padding=2, dilation=2, groups=4)
    mask = prune(layer.weight, "vector", 0.5)
    expected = scnn.count_references(mask, x[0], 2, 2, dilation=2, groups=4, implementation="loops")
    assert GranularityStudy(layer).references("vector", 0.5) == expected


@pytest.mark.parametrize(
    ("subject", "error", "text"),
    [
        ("weight", TypeError, "expected a weight"),
        (torch.ones(3), ValueError, r"shape \(3,\) has no kernels"),
        (torch.full((1, 1, 3, 3), math.nan), ValueError, "NaN or infinite"),
        (torch.ones(0, 1, 3, 3), ValueError, "has no kernels"),
    ],
)
def test_what_is_no_weight_is_refused(subject, error, text):
    with pytest.raises(error, match=text):
        GranularityStudy(subject)


@pytest.mark.parametrize(("setting", "text"), [(("row", 0.5), "unknown granularity 'row'; choose one of 'fine'"), (("fine", 1.5), "sparsity=1.5"), (("fine", math.nan), "sparsity=nan"), (("fine", True), "sparsity=True")])  # fmt: skip
def test_setting_that_no_mask_has_is_refused(setting, text):
    with pytest.raises(ValueError, match=text):
        check_setting(*setting)


# --- accuracy ---


def classifier():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()


def labelled(count=60):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 2, 6, 6, generator=generator)
    return LabelledImages(images, classifier()(images).argmax(1).detach())


def test_measured_accuracy_is_that_of_the_model_with_the_layer_pruned():
    model, data = classifier(), labelled()
    before = model[0].weight.detach().clone()
    source = Measured(model, data, "0")
    mask = prune(model[0].weight, "filter", 0.5)
    expected = classifier()
    with torch.no_grad():
        expected[0].weight.mul_(mask.mask)
    assert source.top1(mask, lambda: False) == evaluate(expected, data).top1 < 1
    assert source.top1(prune(model[0].weight, "fine", 0.0), lambda: False) == 1  # labels are the model's own answers
    assert torch.equal(model[0].weight, before)
    assert "60 images" in source.words


def test_measuring_stops_between_batches():
    source = Measured(classifier(), labelled(), "0")
    with pytest.raises(Interrupted):
        source.top1(prune(classifier()[0].weight, "fine", 0.5), lambda: True)


def test_curve_is_linear_between_its_points_and_unknown_beyond():
    points = pd.DataFrame(
        {"granularity": ["fine", "fine", "vector"], "density": [0.2, 0.6, 0.5], "top1": [0.5, 0.9, 0.7]}
    )
    source, weight = Curve(points), torch.randn(10, 10, 1, 1)
    assert source.top1(prune(weight, "fine", 0.6), lambda: False) == pytest.approx(0.7)
    assert source.top1(prune(weight, "fine", 0.9), lambda: False) is None
    assert source.top1(prune(weight, "kernel", 0.5), lambda: False) is None


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (pd.DataFrame({"density": [0.5], "top1": [0.9]}), ValueError, "lacks 'granularity'"),
        (pd.DataFrame({"granularity": ["fine"], "density": [50], "top1": [0.9]}), ValueError, "between 0 and 1"),
        (0.9, TypeError, "accuracy must be a table"),
        ((classifier(), labelled(), "9"), ValueError, "no layer '9'"),
        ((classifier(), labelled(), "4"), ValueError, "name the layer that is shown"),
    ],
)
def test_accuracy_of_another_kind_is_refused(given, error, text):
    with pytest.raises(error, match=text):
        accuracy_source(given, (4, 2, 3, 3))


def test_accuracy_is_made_of_images_and_labels_or_of_nothing():
    data = labelled()
    source = accuracy_source((classifier(), (data.images, data.labels), "0"), (4, 2, 3, 3))
    assert isinstance(source, Measured)
    assert accuracy_source(None, (4, 2, 3, 3)) is None
    assert set(GRANULARITIES) == {"fine", "vector", "kernel", "filter", "2:4", "block"}
