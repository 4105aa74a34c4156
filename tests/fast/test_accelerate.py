"""`sl.accelerate` on small models of every odd kind: it never fails, and computes what the model computes."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import seerlab as sl
from seerlab.fast.network import FastNetwork


def seeded(model: nn.Module) -> nn.Module:
    """Random weights and BatchNorm statistics that are no identity."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            if module.affine:
                module.weight.data.copy_(torch.randn(module.num_features, generator=generator))
                module.bias.data.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
    return model.eval()


def picture(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*(shape or (1, 3, 20, 22)), generator=torch.Generator().manual_seed(seed))


def agree(ours, theirs) -> None:
    scale = float(theirs.detach().abs().max()) or 1.0
    assert ours.shape == theirs.shape
    assert not ours.requires_grad
    assert float((ours - theirs.detach()).abs().max()) <= 1e-4 * scale


@pytest.fixture(autouse=True)
def never_slower(monkeypatch):
    """Small models gain nothing; what they compute is tested all the same."""
    from seerlab.engine import accelerate

    real = accelerate.interleaved

    def flattering(callables, **options):
        times = real(callables, **{**options, "repeats": 1})
        if set(callables) == {"before", "after"}:
            times["after"] = times["before"].__class__(0.5 * times["before"].median_ms, 0.0, 0.0, 1, 1)
        return times

    monkeypatch.setattr(accelerate, "interleaved", flattering)


def accelerated(model: nn.Module, x, **options) -> FastNetwork:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    structure = repr(model)
    fast = sl.accelerate(model, x, progress=False, **options)
    assert repr(model) == structure
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules() if not hasattr(module, "hooked_on_purpose"))
    inputs = x if isinstance(x, tuple) else (x,)
    inputs = tuple(torch.as_tensor(item) for item in inputs)
    with torch.no_grad():
        expected = model(*(item.clone() for item in inputs))
    got = fast(*(item.clone() for item in inputs))
    for ours, theirs in zip(
        torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(expected), strict=True
    ):
        agree(ours, theirs)
    assert fast.fallbacks == 0
    return fast


def conv(c: int, k: int, size: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(c, k, size, padding=options.pop("padding", size // 2), **options)


class Residual(nn.Module):
    def __init__(self, inplace: bool = False, project: bool = False) -> None:
        super().__init__()
        self.stem = conv(3, 16)
        self.conv1, self.bn1 = conv(16, 16, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = conv(16, 16, bias=False), nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=inplace)
        self.project = nn.Sequential(conv(16, 16, 1), nn.BatchNorm2d(16)) if project else None

    def forward(self, x):
        x = self.relu(self.stem(x))
        shortcut = x if self.project is None else self.project(x)
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += shortcut
        return self.relu(y)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("project", [False, True])
def test_a_residual_block_runs_as_fused_convolutions(inplace, project):
    fast = accelerated(seeded(Residual(inplace, project)), picture())
    plan = fast.plan.set_index("layer")
    assert plan.loc["conv1", "fused"] == "batch_norm relu"
    assert plan.loc["conv2", "fused"] == "batch_norm add relu"
    if project:
        assert plan.loc["project.0", "fused"] == "batch_norm"
    kinds = {type(module).__name__ for module in fast.body.modules()}
    assert not kinds & {"BatchNorm2d", "Conv2d", "ReLU"}


class Fire(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.one, self.three = conv(3, 8, 1), conv(8, 16, 1), conv(8, 24, 3)
        self.drop = nn.Dropout()

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return self.drop(torch.cat([F.relu(self.one(x)), F.relu(self.three(x)), F.max_pool2d(x, 3, 1, 1)], 1))


def test_concatenated_branches_are_written_side_by_side():
    fast = accelerated(seeded(Fire()), picture(2, 3, 13, 11))
    code = fast.body.body.code
    assert "torch.cat" not in code
    assert code.count("out = getitem") == 3  # two convolutions and the max-pool
    assert not any(isinstance(module, nn.Dropout) for module in fast.body.modules())
    for shape in ((1, 3, 9, 9), (3, 3, 16, 5)):
        agree(fast(picture(*shape)), Fire.forward(fast.model, picture(*shape)))


class EveryPool(nn.Module):
    """Max-pools of every kind: beside convolutions, after them, of what is no map, with indices, of a changed map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = conv(3, 8), conv(8, 8, stride=2), conv(16, 8, 1)
        self.pool, self.overlap = nn.MaxPool2d(2), nn.MaxPool2d([3, 3], 2, 1)
        self.indexed = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x):
        x = self.pool(x)
        x = F.relu(self.stem(x))
        x = torch.cat([self.overlap(x), self.one(x)[:, :, :, :]], 1)
        x = self.two(x)
        y = F.max_pool2d(x, kernel_size=(1, 2), stride=1, padding=(0, 1), dilation=1)
        y.relu_()
        z, _ = self.indexed(y)
        flat = F.max_pool2d(z[0], 2)
        return y, torch.max_pool2d(z, 2), flat, F.max_pool2d(x.double(), 3)


def test_max_pools_run_without_indices():
    fast = accelerated(seeded(EveryPool()), picture(2, 3, 28, 32))
    kinds = [type(module).__name__ for module in fast.body.modules()]
    assert kinds.count("MaxPool") == 4  # not the one with indices, of three axes, or of float64
    assert kinds.count("MaxPool2d") == 1
    for shape in ((1, 3, 32, 28), (3, 3, 40, 36)):
        for ours, theirs in zip(fast(picture(*shape)), fast.model(picture(*shape)), strict=True):
            agree(ours, theirs)
    assert fast.fallbacks == 0


def test_max_pools_after_convolutions_that_cannot_pool_and_side_by_side():
    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.down = conv(3, 8), conv(8, 12, stride=2)
            self.first, self.second = nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2)

        def forward(self, x):
            x = F.relu(self.stem(x))
            x = torch.cat([self.first(x), F.relu(self.down(x)), F.max_pool2d(x, 2, ceil_mode=True)], 1)
            return self.second(F.relu(x))

    fast = accelerated(seeded(Side()), picture(2, 3, 16, 20))
    assert fast.body.body.code.count("out = getitem") == 3
    pooled = seeded(nn.Sequential(conv(3, 8, stride=2), nn.ReLU(), nn.MaxPool2d(2), conv(8, 8), nn.MaxPool2d(3, 1)))
    fast = accelerated(pooled, picture(1, 3, 29, 30))
    assert list(fast.plan["fused"]) == ["relu max_pool", ""]
    assert fast(picture(1, 3, 29, 30).double().float()).shape == (1, 8, 5, 5)


def test_max_pools_propagate_nan():
    fast = accelerated(seeded(nn.Sequential(conv(3, 8, stride=2), nn.MaxPool2d(3, 2, 1))), picture(1, 3, 20, 20))
    x = picture(1, 3, 20, 20)
    x[0, 1, 9, 9] = float("nan")
    assert torch.equal(fast(x).isnan(), fast.model(x).isnan())


class Activations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([conv(3, 8), *(conv(8, 8) for _ in range(7))])
        self.relu6, self.tanh, self.leaky, self.silu = nn.ReLU6(), nn.Hardtanh(-0.5, 0.75), nn.LeakyReLU(), nn.SiLU()

    def forward(self, x):
        c = self.convs
        x = self.silu(c[3](self.leaky(c[2](self.tanh(c[1](self.relu6(c[0](x))))))))
        x = torch.relu_(c[4](x))
        x = c[5](x).clamp(min=0.1)
        x = torch.clamp(c[6](x), max=0.5)
        return F.hardtanh(c[7](x))


def test_every_clamp_is_fused_and_other_activations_stay():
    fast = accelerated(seeded(Activations()), picture())
    assert list(fast.plan["fused"]) == ["relu6", "clamp", "", "", "relu", "clamp", "clamp", "clamp"]


class Odd(nn.Module):
    """Depthwise, dilated, strided, grouped, "same" padding, other padding modes, more padding than kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv(3, 8, stride=2)
        self.depthwise = conv(8, 8, groups=8)
        self.dilated = nn.Conv2d(8, 12, 3, padding=2, dilation=2)
        self.grouped = conv(12, 12, groups=3)
        self.same = nn.Conv2d(12, 8, 4, padding="same")
        self.reflect = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.wide = nn.Conv2d(8, 8, 1, padding=2)
        self.row = nn.Conv2d(8, 8, (1, 5), padding=(0, 2))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)

    def forward(self, x):
        for part in self.children():
            x = part(x).relu()
        return x


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_odd_convolutions_are_prepared_or_stay_with_a_reason():
    fast = accelerated(seeded(Odd()), picture())
    plan = fast.plan.set_index("layer")
    assert plan.loc["reflect", "method"] == "model"
    assert "reflect" in plan.loc["reflect", "why"]
    assert (plan.drop("reflect")["method"] != "model").all()


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv(3, 8), conv(8, 8)
        self.alias = self.body

    def forward(self, x):
        x = self.body(self.stem(x)).relu()
        return self.alias(self.body(x)) + x


def test_a_module_called_several_times():
    fast = accelerated(seeded(Shared()), picture())
    assert list(fast.plan["layer"]) == ["stem", "body", "body_1", "body_2"]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 3, 3, 3) * 0.2)
        self.bias = nn.Parameter(torch.randn(8))
        self.second = nn.Parameter(torch.randn(8, 8, 3, 3) * 0.1)
        self.scale = nn.Parameter(torch.ones(8, 1, 1, 1))

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.weight, self.bias, padding=1))
        x = F.conv2d(x, self.second * self.scale, stride=2)
        return x.view(x.size(0), -1)


def test_functional_convolutions_and_computed_weights():
    fast = accelerated(seeded(Functional()), picture(2, 3, 12, 12))
    plan = fast.plan
    assert plan["method"].ne("model").tolist() == [True, False]
    assert "computed while the model runs" in plan["why"][1]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU())
        self.b = nn.Sequential(conv(3, 8, 5), nn.ReLU())
        self.head = nn.Linear(8 * 16, 5)

    def forward(self, x):
        if x.mean() > 0:
            x = self.a(x)
        else:
            x = self.b(x)
        x = F.adaptive_avg_pool2d(x, 4)
        return self.head(x.view(len(x), -1))


def test_control_flow_that_depends_on_the_data():
    model = seeded(Branching())
    fast = accelerated(model, picture().abs())
    plan = fast.plan.set_index("layer")
    assert plan.loc["a.0", "method"] != "model"
    assert plan.loc["b.0", "why"] == "not run on the example"
    agree(fast(-picture().abs()), model(-picture().abs()))
    assert fast.fallbacks == 0


class ViewInside(nn.Module):
    """Code that cannot be traced and asks for contiguous rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 8)

    def forward(self, x):
        if float(x.sum()) > 1e9:
            return x
        y = self.conv(x)
        return y.view(y.shape[0], -1)


def test_untraceable_code_gets_the_layout_it_expects():
    fast = accelerated(seeded(ViewInside()), picture())
    assert fast.recipe.restore
    assert fast.plan["method"][0] != "model"


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 3)
        self.odd = Branching()

    def forward(self, x):
        return self.odd(self.stem(x).relu())


def test_an_untraceable_part_inside_a_traced_network():
    fast = accelerated(seeded(Nested()), picture())
    plan = fast.plan.set_index("layer")
    assert plan.loc["stem", "method"] != "model"
    assert {plan.loc["odd.a.0", "method"], plan.loc["odd.b.0", "method"]} >= {"model"}
    assert (plan["method"] != "model").sum() == 2


class Mutating(nn.Module):
    """Values read again after they were changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two, self.three = conv(3, 8), conv(8, 8), conv(8, 8), conv(8, 8)

    def forward(self, x):
        x = self.stem(x)
        y = self.one(x)
        x.relu_()  # after its convolution has read it
        y = y + x
        z = self.two(y)
        z.relu_()
        w = self.three(z)
        x += w  # changes the shortcut
        return x, y * z


def test_in_place_changes_between_readers():
    accelerated(seeded(Mutating()), picture())


class Caching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 8)
        self.calls = 0
        self.seen = None

    def forward(self, x):
        self.calls += 1
        self.seen = self.conv(x)
        return {"features": self.seen, "logits": [self.seen.mean((2, 3))]}


def test_outputs_in_a_dict_and_a_model_that_remembers():
    model = seeded(Caching())
    accelerated(model, picture())
    assert isinstance(model.seen, torch.Tensor)
    assert model.calls == 1  # by the test itself


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = conv(3, 8), conv(3, 8, 1)

    def forward(self, x, y, scale=None, *, flip=False):
        z = self.conv(x) + self.other(y)
        z = z if scale is None else z * scale
        return z.flip(-1) if flip else z


def test_several_inputs_and_arguments_the_example_leaves_out():
    model = seeded(TwoInputs())
    x = picture(seed=1), picture(seed=2)
    fast = accelerated(model, x)
    assert (fast.plan["method"] != "model").all()
    agree(fast(*x, flip=True), model(*x, flip=True))
    agree(fast(*x, torch.tensor(2.0)), model(*x, torch.tensor(2.0)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
def test_hooked_parametrized_and_scripted_parts():
    model = seeded(nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), conv(8, 8), conv(8, 8)))
    model[2].hooked_on_purpose = True
    seen = []
    model[2].register_forward_hook(lambda _m, _i, output: seen.append(output.shape) or output * 2)
    nn.utils.parametrizations.weight_norm(model[4])
    model[5] = torch.jit.script(model[5])
    model.eval()
    fast = accelerated(model, picture())
    plan = fast.plan.set_index("layer")
    assert plan.loc["0", "method"] != "model"
    assert plan.loc["2", "why"] == "it has a forward hook"
    assert plan.loc["4", "method"] != "model"
    assert seen


def test_whole_models_that_stay_as_they_are():
    noisy = nn.Sequential(conv(3, 8))
    noisy.forward = lambda x: x + torch.rand(1)  # type: ignore[method-assign]
    fast = sl.accelerate(noisy.eval(), picture(), progress=False)
    assert "differ" in fast.plan["why"][0]
    fast = accelerated(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval(), picture(1, 3, 2, 2))
    assert fast.plan.empty
    model = nn.Sequential(conv(3, 4)).eval()
    model.lock = threading.Lock()  # cannot be copied
    fast = sl.accelerate(model, picture(), progress=False)
    assert "copied" in fast.plan["why"][0]
    agree(fast(picture()), model(picture()))


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(
            conv(3, 8), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), conv(8, 8), nn.ReLU(), nn.MaxPool2d(2), conv(8, 16),
            nn.BatchNorm2d(16, affine=False), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2), nn.Flatten(),
        )  # fmt: skip

    def forward(self, x):
        return self.stack(x)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pools_batches_and_layouts_of_the_input(batch, memory_format):
    model = seeded(Pools())
    fast = accelerated(model, picture(batch, 3, 31, 29).contiguous(memory_format=memory_format))
    for n, h, w in ((1, 31, 29), (2, 24, 40), (4, 33, 33)):
        agree(fast(picture(n, 3, h, w)), model(picture(n, 3, h, w)))
    assert fast.fallbacks == 0


class Offset(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 8)

    def forward(self, x, offset):
        return F.relu(self.conv(x) + offset)


def test_what_the_fast_way_cannot_take_the_model_computes():
    model = seeded(Offset())
    fast = accelerated(model, (picture(), picture(1, 8, 20, 22)))
    inputs = (
        picture(2, 3, 20, 22),
        picture(1, 8, 20, 22),
    )  # one offset for all pictures, which the example could not show
    with pytest.warns(RuntimeWarning, match="accelerate again"):
        got = fast(*inputs)
    agree(got, model(*inputs))
    assert fast.fallbacks == 1
    agree(fast(*inputs), model(*inputs))  # without another warning
    with pytest.raises(RuntimeError, match="channels"):
        fast(picture(1, 4, 8, 8), picture())


def test_arrays_and_gradients():
    model = seeded(nn.Sequential(conv(3, 8), nn.ReLU()))
    fast = sl.accelerate(model, picture().numpy().astype(np.float64), progress=False)
    assert not fast(picture().requires_grad_()).requires_grad
    assert fast.train() is fast
    assert not fast.training


def test_unfit_arguments_are_refused_by_name():
    model = nn.Sequential(conv(3, 4))
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        sl.accelerate(model, picture(), progress=False)
    model.eval()
    with pytest.raises(ValueError, match="calibration"):
        sl.accelerate(model, picture(), max_drop=0.01, progress=False)
    with pytest.raises(ValueError, match="from 0 to below 1"):
        sl.accelerate(model, picture(), max_drop=1.5, progress=False)
    with pytest.raises(ValueError, match="choose from"):
        sl.accelerate(model, picture(), methods=["fastest"], progress=False)
    with pytest.raises(ValueError, match="does not take an input"):
        sl.accelerate(model, picture(1, 5, 8, 8), progress=False)
    with pytest.raises(TypeError, match="Module"):
        sl.accelerate(3, picture(), progress=False)
    with pytest.raises(TypeError, match="tensor"):
        sl.accelerate(model, "cat", progress=False)


def test_the_choice_can_be_restricted():
    fast = accelerated(seeded(Pools()), picture(), methods=["torch_channels_last"])
    assert set(fast.plan["method"]) == {"torch_channels_last"}


def test_save_and_load(tmp_path):
    model = seeded(Residual(project=True))
    fast = accelerated(model, picture())
    fast.save(tmp_path / "fast.pt")
    other = seeded(Residual(project=True))
    weights = copy.deepcopy(other.state_dict())
    loaded = sl.fast.load(tmp_path / "fast.pt", other)
    assert all(torch.equal(weights[key], value) for key, value in other.state_dict().items())
    assert torch.equal(loaded(picture()), fast(picture()))
    assert loaded.plan.equals(fast.plan)
    assert loaded.summary() == fast.summary()
    assert loaded.recipe == fast.recipe
    other.load_state_dict(fast.state_dict())
    agree(loaded(picture()), other(picture()))


def test_wrong_files_name_what_to_do(tmp_path):
    fast = accelerated(seeded(Residual()), picture())
    fast.save(tmp_path / "fast.pt")
    with pytest.raises(FileNotFoundError):
        sl.fast.load(tmp_path / "none.pt", Residual())
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(ValueError, match="not readable"):
        sl.fast.load(tmp_path / "text.pt", Residual())
    torch.save(Residual().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="load_state_dict"):
        sl.fast.load(tmp_path / "weights.pt", Residual())
    with pytest.raises(ValueError, match="do not fit this Fire"):
        sl.fast.load(tmp_path / "fast.pt", Fire())
    with pytest.raises(TypeError, match="Module"):
        sl.fast.load(tmp_path / "fast.pt", "Residual")
    with pytest.raises(TypeError, match=r"seerlab\.fast\.load"):
        fast.load_state_dict({})


def test_changed_parameters_do_not_reach_packed_weights_and_are_not_saved(tmp_path):
    model = seeded(nn.Sequential(conv(3, 8), nn.ReLU()))
    fast = accelerated(model, picture())
    before = fast(picture())
    with torch.no_grad():
        model[0].weight += 1
    assert torch.equal(fast(picture()), before)
    with pytest.raises(ValueError, match="accelerate it again"):
        fast.save(tmp_path / "stale.pt")


def test_copies_and_pickles():
    fast = accelerated(seeded(Residual()), picture())
    for again in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(again(picture()), fast(picture()))


def test_figures():
    model = seeded(Residual())
    fast = accelerated(model, picture())
    figures = fast.summary()
    assert figures["layers"] == figures["prepared_layers"] == 3
    assert figures["packed_bytes"] == fast.nbytes > 0
    assert figures["memory_ratio"] == pytest.approx(1 + fast.nbytes / figures["model_bytes"])
    assert figures["max_error"] <= 1e-4
    assert list(fast.plan.columns) == [
        "layer", "method", "why", "ms_before", "ms_after", "speedup", "density", "computed", "fused",
    ]  # fmt: skip
    assert "3 of 3 convolutions prepared" in repr(fast)
    assert list(fast.parameters()) == []


def test_several_networks_in_several_threads():
    models = [seeded(Residual(project=bool(i % 2))) for i in range(3)]
    networks = [accelerated(model, picture()) for model in models]
    pictures = [picture(1 + i % 2, 3, 20 + i, 21, seed=i) for i in range(6)]
    with torch.no_grad():
        expected = [[model(x) for x in pictures] for model in models]
    errors = []

    def work(first: int) -> None:
        try:
            with warnings.catch_warnings():
                for turn in range(12):
                    i, j = (first + turn) % 3, (first * 5 + turn) % 6
                    agree(networks[i](pictures[j]), expected[i][j])
        except BaseException as error:  # noqa: BLE001  # shown by the test itself
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    again = sl.accelerate(models[0], pictures[0], progress=False)  # tracing meanwhile disturbs nobody
    for thread in threads:
        thread.join()
    assert not errors
    agree(again(pictures[0]), expected[0][0])
