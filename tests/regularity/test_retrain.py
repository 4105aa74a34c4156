"""Pruning and retraining in turns: nested masks, frozen zeros, stopping and going on, the best state kept."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from seerlab.evaluation import evaluate
from seerlab.regularity import prune_and_retrain
from seerlab.regularity import retrain as retrain_module
from seerlab.regularity.training import Settings, Trainer

DENSITIES = {"0": 0.6, "4": 0.3, "9": 0.5}
QUICK = {"steps": 3, "epochs": 1, "final_epochs": 2, "learning_rate": 0.05, "batch_size": 32, "progress": False}


def noisy(images, generator):
    """Augmentation that draws from the generator it is given."""
    return images + 0.1 * torch.randn(images.shape, generator=generator)


def same_state(first, second):
    a, b = first.state_dict(), second.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("granularity", ["fine", "vector", "kernel", "filter", "2:4", "block"])
def test_retraining_recovers_what_pruning_cost(small_net, pictures, granularity):
    training, validation = pictures
    before = copy.deepcopy(small_net)
    found = prune_and_retrain(
        small_net, training, validation, DENSITIES, granularity, **(QUICK | {"epochs": 3, "final_epochs": 3})
    )
    assert same_state(small_net, before)
    curve = found.curve
    assert curve["phase"].tolist() == ["dense", "step", "step", "step", "final"]
    assert curve["density"].is_monotonic_decreasing
    assert curve["cross_entropy"].iloc[-1] < curve["cross_entropy"].iloc[0]
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[1]
    assert curve["top1"].iloc[-1] > 0.6  # four classes
    assert curve["density"].iloc[-1] == found.summary()["density"]
    assert evaluate(found.model, validation).top1 == curve["top1"].iloc[-1] == found.summary()["top1"]
    for name, mask in found.masks.items():
        weight = found.model.get_submodule(name).weight
        assert bool((weight[~mask.mask] == 0).all())
        assert bool((weight[mask.mask] != 0).any())


def test_the_masks_of_a_run_are_nested_and_follow_the_schedule(small_net, pictures):
    seen = []

    def record(model, masks):
        for name, mask in masks.items():
            assert bool((model.get_submodule(name).weight[~mask.mask] == 0).all())
        seen.append({name: mask.mask for name, mask in masks.items()})
        return {"layers_masked": len(masks)}

    found = prune_and_retrain(small_net, *pictures, 0.4, "vector", measure=record, schedule="cubic", **QUICK)
    assert found.curve["layers_masked"].tolist() == [0, 2, 2, 2, 2]
    steps = seen[1:4]
    for earlier, later in itertools.pairwise(steps):
        for name in earlier:
            assert not bool((later[name] & ~earlier[name]).any())
            assert later[name].sum() < earlier[name].sum()
    for t, masks in enumerate(steps, start=1):
        expected = 1 - 0.6 * (1 - (1 - t / 3) ** 3)
        assert masks["4"].float().mean() == pytest.approx(expected, abs=0.5 / (16 * 8 * 3))


def test_a_pattern_comes_down_step_by_step(small_net, pictures):
    found = prune_and_retrain(small_net, *pictures, {"4": 1.0}, "1:4", **QUICK)
    assert found.curve["density"].tolist() == [1.0, 0.75, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decay": "linear", "precision": "bfloat16", "channels_last": True},
    ],
)
@pytest.mark.parametrize("stop", [2, 9, 14])
def test_a_run_that_was_stopped_goes_on_to_the_same_end_bit_for_bit(small_net, pictures, tmp_path, options, stop):
    training, validation = pictures  # 120 images: 4 batches an epoch, 20 in the run
    arguments = (small_net, training, validation, DENSITIES, "kernel")
    options = {"augment": noisy, "report": validation} | QUICK | options
    whole = prune_and_retrain(*arguments, **options)

    batches = itertools.count(1)

    def killed(images, generator):
        if next(batches) == stop:
            raise KeyboardInterrupt
        return noisy(images, generator)

    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        prune_and_retrain(*arguments, checkpoint=file, **(options | {"augment": killed}))
    assert file.exists() == (stop > 4)  # after the first epoch

    trained = itertools.count()

    def counted(images, generator):
        next(trained)
        return noisy(images, generator)

    torch.manual_seed(12345)  # another process has another state
    resumed = prune_and_retrain(*arguments, checkpoint=file, **(options | {"augment": counted}))
    assert next(trained) == 20 - (stop - 1) // 4 * 4
    assert same_state(resumed.model, whole.model)
    assert resumed.curve.equals(whole.curve)
    assert resumed.best_epoch == whole.best_epoch
    assert all(torch.equal(resumed.masks[name].mask, whole.masks[name].mask) for name in DENSITIES)

    again = prune_and_retrain(
        *arguments, checkpoint=file, **(options | {"augment": killed})
    )  # finished: nothing to train
    assert same_state(again.model, whole.model)
    assert again.curve.equals(whole.curve)


def test_a_checkpoint_of_another_run_or_no_checkpoint_is_refused(small_net, pictures, tmp_path):
    file = tmp_path / "run.pt"
    prune_and_retrain(small_net, *pictures, 0.5, "fine", checkpoint=file, **QUICK)
    with pytest.raises(ValueError, match=r"belongs to another run: seed was 0 and is 1; delete it"):
        prune_and_retrain(small_net, *pictures, 0.5, "fine", checkpoint=file, seed=1, **QUICK)
    with torch.no_grad():
        small_net[0].weight[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="belongs to another run: initial weights was"):
        prune_and_retrain(small_net, *pictures, 0.5, "fine", checkpoint=file, **QUICK)
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="is no checkpoint"):
        prune_and_retrain(small_net, *pictures, 0.5, "fine", checkpoint=file, **QUICK)


def test_the_seed_decides_the_result(small_net, pictures):
    first, again, other = (
        prune_and_retrain(small_net, *pictures, 0.5, "fine", augment=noisy, seed=seed, **QUICK).model
        for seed in (0, 0, 1)
    )
    assert same_state(first, again)
    assert not same_state(first, other)


def test_the_global_generator_is_left_as_it_was(small_net, pictures):
    state = torch.get_rng_state()
    prune_and_retrain(small_net, *pictures, 0.5, "fine", **QUICK)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_state_that_is_best_on_the_validation_images_is_kept(small_net, pictures, monkeypatch):
    training, validation = pictures
    scores = iter([0.2, 0.3, 0.4, 0.5, 0.9, 0.7, 0.9])  # dense; pruned, step; final epochs 1 and 2 and 3; the row
    real = retrain_module.evaluate
    states = []

    def scripted(model, data):
        states.append(copy.deepcopy(model.state_dict()))
        figures = real(model, data).summary()
        top1 = next(scores)

        class Scripted:
            def summary(self):
                return figures | {"top1": top1}

        Scripted.top1 = top1
        return Scripted()

    monkeypatch.setattr(retrain_module, "evaluate", scripted)
    found = prune_and_retrain(
        small_net, training, validation, 0.5, "fine", **(QUICK | {"steps": 1, "epochs": 1, "final_epochs": 3})
    )
    assert found.best_epoch == 2
    assert all(torch.equal(value, states[4][name]) for name, value in found.model.state_dict().items())


def test_of_equal_states_the_earlier_is_kept(pictures):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)).eval()
    found = prune_and_retrain(model, *pictures, 0.5, "fine", **(QUICK | {"learning_rate": 0.0}))
    assert found.best_epoch == 0


def test_one_shot_without_any_epoch_is_pruning_alone(small_net, pictures):
    found = prune_and_retrain(small_net, *pictures, 0.5, "fine", steps=1, epochs=0, final_epochs=0, progress=False)
    for name, mask in found.masks.items():
        assert torch.equal(found.model.get_submodule(name).weight, mask.apply(small_net.get_submodule(name).weight))
    assert found.curve["top1"].iloc[1] == found.curve["top1_pruned"].iloc[1]


def test_removed_weights_stay_zero_whatever_the_optimiser_remembers():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    data = [(torch.randn(8, 3, 2, 2), torch.arange(8) % 3)]
    trainer = Trainer(model, data, Settings(learning_rate=0.1, weight_decay=0.1), None, nn.functional.cross_entropy)
    trainer.run_epoch([], phase=0, epoch=0, planned=1)  # fills the momentum
    zero = torch.rand(3, 12) < 0.5
    with torch.no_grad():
        model[1].weight.masked_fill_(zero, 0.0)
    frozen = [(model[1].weight, zero)]
    trainer.forget(frozen)
    momentum = trainer.optimizer.state[model[1].weight]["momentum_buffer"]
    assert bool((momentum[zero] == 0).all())
    assert bool((momentum[~zero] != 0).all())
    before = model[1].weight.detach().clone()
    trainer.run_epoch(frozen, phase=0, epoch=1, planned=2)
    assert bool((model[1].weight[zero] == 0).all())
    assert bool((model[1].weight[~zero] != before[~zero]).all())


def test_one_step_of_training_equals_plain_gradient_descent_under_a_mask():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False)).eval()
    images, labels = torch.randn(8, 3, 2, 2), torch.arange(8) % 3
    zero = torch.rand(3, 12) < 0.5
    with torch.no_grad():
        model[1].weight.masked_fill_(zero, 0.0)
    weight = model[1].weight.detach().clone().requires_grad_()
    loss = nn.functional.cross_entropy(images.flatten(1) @ weight.T, labels)
    loss.backward()
    expected = weight.detach() - 0.1 * (weight.grad + 0.01 * weight.detach()) * ~zero
    trainer = Trainer(
        model, [(images, labels)], Settings(learning_rate=0.1, weight_decay=0.01), None, nn.functional.cross_entropy
    )
    value = trainer.run_epoch([(model[1].weight, zero)], phase=0, epoch=0, planned=1)
    assert value == pytest.approx(float(loss.detach()))
    torch.testing.assert_close(model[1].weight.detach(), expected)


def test_a_linear_decay_ends_near_zero_and_starts_again_with_each_step():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    data = [(torch.randn(2, 3, 2, 2), torch.tensor([0, 1]))] * 4
    rates = []

    def loss(scores, labels):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        return nn.functional.cross_entropy(scores, labels)

    trainer = Trainer(model, data, Settings(learning_rate=0.8, decay="linear"), None, loss)
    for epoch in range(2):
        trainer.run_epoch([], phase=0, epoch=epoch, planned=2)
    trainer.run_epoch([], phase=1, epoch=0, planned=1)
    assert rates == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.8, 0.6, 0.4, 0.2])


def test_batches_of_ones_own_train_as_well(small_net, pictures):
    training, validation = pictures
    batches = list(training.batches(30))
    found = prune_and_retrain(small_net, batches, validation, 0.5, "vector", decay="linear", **QUICK)
    assert found.curve["cross_entropy"].iloc[-1] < found.curve["cross_entropy"].iloc[0]


def test_a_weight_that_is_not_trained_stays_pruned_and_fixed(small_net, pictures):
    small_net[0].weight.requires_grad_(False)
    found = prune_and_retrain(small_net, *pictures, {"0": 0.5, "4": 0.5}, "fine", **QUICK)
    assert torch.equal(found.model[0].weight, found.masks["0"].apply(small_net[0].weight))
    assert not found.model[0].weight.requires_grad


def test_the_progress_bar_counts_epochs(small_net, pictures, capsys):
    prune_and_retrain(small_net, *pictures, 0.5, "fine", **(QUICK | {"progress": True}))
    assert "5/5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"step": 3}, TypeError, "unknown option 'step'; choose among axis, block, steps"),
        ({"steps": 0}, ValueError, "steps=0 must be a whole number, 1 or more"),
        ({"epochs": 1.5}, ValueError, r"epochs=1\.5 must be a whole number, 0 or more"),
        ({"schedule": "square"}, ValueError, "unknown schedule 'square'"),
        ({"decay": "cosine"}, ValueError, "unknown decay 'cosine'; choose one of 'constant', 'linear'"),
        ({"precision": "float16"}, ValueError, "unknown precision 'float16'; choose one of 'float32', 'bfloat16'"),
        ({"learning_rate": -1}, ValueError, "learning_rate=-1 must be a number of at least 0"),
        ({"learning_rate": "fast"}, ValueError, "learning_rate='fast' must be a number"),
        ({"learning_rate": True}, ValueError, "learning_rate=True must be a number"),
        ({"seed": 1.5}, ValueError, r"seed=1\.5 must be a whole number"),
        ({"seed": 2**62}, ValueError, "must be a whole number between"),
        ({"channels_last": "no"}, ValueError, "channels_last='no' must be True or False"),
        ({"report": ()}, TypeError, "report is of type tuple; give LabelledImages"),
        ({"momentum": 1.0}, ValueError, "below 1.0"),
        ({"weight_decay": float("nan")}, ValueError, "weight_decay=nan"),
        ({"block": (2, 2)}, ValueError, "does not go with granularity 'vector'"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(small_net, pictures, options, kind, message):
    with pytest.raises(kind, match=message):
        prune_and_retrain(small_net, *pictures, 0.5, **options)


def test_data_that_cannot_be_run_through_again_are_refused(small_net, pictures):
    training, validation = pictures
    with pytest.raises(TypeError, match="of type generator can be run through only once"):
        prune_and_retrain(small_net, training.batches(10), validation, 0.5, progress=False)
    with pytest.raises(TypeError, match="of type int can be"):
        prune_and_retrain(small_net, 7, validation, 0.5, progress=False)
    with pytest.raises(ValueError, match="hold no batch"):
        prune_and_retrain(small_net, [], validation, 0.5, progress=False)

    class Endless:
        def __iter__(self):
            return iter(training.batches(10))

    with pytest.raises(TypeError, match="needs the number of batches"):
        prune_and_retrain(small_net, Endless(), validation, 0.5, decay="linear", progress=False)


def test_a_loss_that_explodes_is_named_and_the_model_is_left_alone(small_net, pictures):
    before = copy.deepcopy(small_net)
    with pytest.raises(
        ValueError, match=r"the training loss is (nan|-?inf) in step 1, epoch 1; choose a lower learning_rate"
    ):
        prune_and_retrain(small_net, *pictures, 0.5, loss=lambda s, t: s.sum() * float("inf"), **QUICK)
    assert same_state(small_net, before)


def test_a_model_in_training_mode_is_refused(small_net, pictures):
    with pytest.raises(ValueError, match="training mode"):
        prune_and_retrain(small_net.train(), *pictures, 0.5, **QUICK)
