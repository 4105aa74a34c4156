"""Accuracy and savings over epsilon are those of the pruned network on the same images."""

from __future__ import annotations

import pytest
import torch

from seerlab.drfmp import apply, sweep
from tests.drfmp.test_network import Forked


@pytest.fixture
def labelled():
    return torch.randn(7, 3, 12, 12), torch.randint(0, 5, (7,))


def test_each_row_is_the_pruned_network_on_all_images(labelled):
    model, (images, labels) = Forked().eval(), labelled
    frame = sweep(model, images, labels, [0.0, 0.5, 50.0], batch_size=3, progress=False)
    assert frame["epsilon"].tolist() == [0.0, 0.5, 50.0]
    for row in frame.to_dict("records"):
        network = apply(model, images, row["epsilon"])
        right = network(images).argmax(1) == labels
        assert row["top1"] == pytest.approx(right.float().mean().item())
        assert row["top1_low"] <= row["top1"] <= row["top1_high"]
        assert row["reduced_share"] == pytest.approx(network.summary()["reduced_share"])
        assert row["saved_input_values"] == network.summary()["saved_input_values"]
        assert (row["images"], row["scope"], row["mode"]) == (7, "convolution outputs", "v1")
    assert frame["top1_drop"][0] == 0
    assert frame["reduced_share"][2] == 1
    assert frame["top1_dense"].nunique() == 1
    assert (frame["top1_dense"] - frame["top1"]).tolist() == frame["top1_drop"].tolist()


def test_options_reach_the_rule(labelled):
    model = Forked().eval()
    frame = sweep(model, *labelled, [0.1], "v2", fraction=0.5, skip=True, progress=False)
    network = apply(model, labelled[0], 0.1, "v2", fraction=0.5)
    network(labelled[0])
    assert frame["scope"][0] == "convolution inputs"
    assert frame["pruned_maps"][0] == network.summary()["pruned_maps"]


@pytest.mark.parametrize(
    ("epsilons", "options", "error", "message"),
    [
        ([], {}, ValueError, "there is no epsilon to try"),
        ([0.1, -1], {}, ValueError, "epsilon=-1 must be a finite number"),
        ([0.1], {"bits": 4}, TypeError, "unknown option 'bits'"),
    ],
)
def test_bad_requests_get_one_clear_sentence(labelled, epsilons, options, error, message):
    with pytest.raises(error, match=message):
        sweep(Forked().eval(), *labelled, epsilons, progress=False, **options)
