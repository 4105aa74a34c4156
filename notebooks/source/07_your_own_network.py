# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7 · Your own network
#
# **About 15 minutes. You will**
# * bring any `torch.nn.Module` and an input, and see it layer by layer: how sparse, how predictable, and why a layer cannot be treated,
# * get a faster module with the same call, and a plan that says why,
# * check the gain yourself.

# %%
try:
    import seerlab as sl
except ImportError as error:
    raise SystemExit(
        f"seerlab is not ready in this kernel ({error}). Close this, run `make lab` in its folder and open the notebook again."
    ) from error

import pandas as pd
import torch
from IPython.display import Markdown, display
from torch import nn

from seerlab.measure import interleaved


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


# %% [markdown]
# ## 7.1 The network
# The network below has a bit of everything: a stem with a stride, a depth-wise layer, a shortcut, a leaky ReLU. Its weights are random, so its zeros mean nothing; the procedure is the same. Go through the notebook with it once. Then **put your own here**: `model`, a module in evaluation mode, float32,
# on the CPU, and `x`, an input of the size you will use. (Of torchvision: `torchvision.models.resnet18(weights="DEFAULT").eval()`; of seerlab: `sl.load("vgg9_cifar10").model`.)


# %%
class Own(nn.Module):
    """A small network with a bit of everything."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.depthwise = nn.Sequential(
            nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False), nn.BatchNorm2d(32), nn.ReLU6()
        )
        self.first = nn.Sequential(nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.second = nn.Sequential(nn.Conv2d(64, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64))
        self.leaky = nn.Sequential(nn.Conv2d(64, 96, 3, 1, 1), nn.LeakyReLU(0.1))
        self.head = nn.Linear(96, 10)

    def forward(self, x):
        """From pictures to ten scores."""
        x = self.first(self.depthwise(self.stem(x)))
        x = torch.relu(self.second(x) + x)  # a shortcut
        return self.head(self.leaky(x).mean((2, 3)))


torch.manual_seed(0)
model = Own().eval()
net = sl.load("vgg9_cifar10")  # lends its preprocessing here; 7.3 uses its trained weights
x = net.preprocess(sl.sample_images()["flower"])  # (1, 3, 224, 224), mean and spread as usual

# %% [markdown]
# SeerNet, one of the ways to predict, computes each layer once more in 4 bits and marks the outputs that will be zero behind the ReLU or lose in a max-pool: *not needed* is their true share, *false skips* the share that is left out although it was needed.
#
# > **Predict:** in which of these five convolutions can outputs be predicted to be zero, and in which not? Why not?

# %%
rows = []
for name, layer in sl.conv_layers(model, x).items():
    row = {"layer": name, "weight": " × ".join(map(str, layer.weight.shape)), "followed by": " + ".join(layer.followed_by) or "nothing",
           "million multiply-adds": layer.macs / 1e6, "zero outputs": (layer.output == 0).float().mean().item()}  # fmt: skip
    try:
        found = sl.seernet.predict(layer, bits=4).summary()
        row |= {
            "not needed": found["sparsity"],
            "false skips": found["false_negative_share"],
            "not treated because": "",
        }
    except ValueError as reason:
        row["not treated because"] = str(reason)
    rows.append(row)
pd.DataFrame(rows).style.format("{:.0%}", subset=["zero outputs", "not needed"], na_rep="").format(
    "{:.1%}", subset=["false skips"], na_rep=""
).format("{:.1f}", subset=["million multiply-adds"]).hide()

# %% [markdown]
# A layer that cannot be treated says why: a leaky ReLU makes no zeros. Everything else about it, its input and its weights, can still be looked at. In `first.0` far more is *not needed* than is zero in the end: *zero outputs* are counted behind the max-pool, *not needed* before it, where of each window one value at most is wanted.
#
# ## 7.2 The same, live
# Columns: *sparsity*, *predictability*, *traffic*, *time*. Open a layer with <kbd>Enter</kbd>. The whole lab for a model is `sl.Lab(model, x)`.

# %%
view = sl.NetworkView(model, x)
view

# %% [markdown]
# ## 7.3 A faster module
# `sl.accelerate` times every way of computing each layer that is exact but for rounding, checks each against the layer's own output, and builds a module with the same call. Take the trained network now, as its zeros are real:
#
# > **Predict:** how many times faster will the whole network be, without any change of its answers?

# %%
picture = net.preprocess(sl.sample_images()["cat"])
fast = sl.accelerate(net.model, picture, progress=False)

with torch.inference_mode():
    change = (fast(picture) - net.model(picture)).abs().max().item()
print(f"largest change of a score: {change:.1e}")
plan = fast.plan
plan.style.format(precision=2, na_rep="").hide()

# %% jupyter={"source_hidden": true}
skips = plan["method"] == "input_sparse"
gain = (plan["ms_before"] - plan["ms_after"]).fillna(0)
say(
    f'Read the plan line by line: what was chosen, the time before and after, and **why**; "model" means that the layer stays as the model has it, *density* is the share of its inputs that is not zero. Of {len(plan)} layers {skips.sum()} skip zero inputs: that is '
    f"{gain[skips].sum() / gain.sum():.0%} of the time saved. The rest is gained by dense methods (`winograd` needs fewer multiplications). None predicts: without a budget only what is exact is tried. A prediction has to beat *this* plan, not the model as it came."
)

# %% [markdown]
# With a budget, `sl.accelerate(model, example, calibration=(images, labels), max_drop=0.01)` may also use ways that predict and leave out, as long as top-1 on the calibration images falls by no more than that. Give labelled images that you will not quote the accuracy of.
#
# ## 7.4 What becomes of the whole?
# A layer that takes $t_i$ and becomes $f_i$ times faster takes $t_i / f_i$ afterwards (below 1, $f_i$ means slower). The whole takes $\sum t_i / f_i$: what is not made faster soon decides (Amdahl's law).
#
# > **Predict:** one layer takes half of the time and becomes 4 times faster. And the network?
#
# **Exercise.** Write `network_speedup(layer_ms, factors)`, a list of times and a list of factors: how many times faster does the whole become?


# %% exercise="network_speedup"
def network_speedup(layer_ms, factors):
    """Old time over new time."""
    ### BEGIN SOLUTION
    return sum(layer_ms) / sum(ms / factor for ms, factor in zip(layer_ms, factors, strict=True))
    ### END SOLUTION


# %% check="network_speedup"
verdict = sl.exercises.network_speedup.check(network_speedup)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %%
calls = {"before": lambda: net.model(picture), "after": lambda: fast(picture)}
with torch.inference_mode():
    timed = interleaved(calls, repeats=7)
before, after = timed["before"], timed["after"]
print(
    f"before {before.median_ms:.1f} ms, after {after.median_ms:.1f} ms, {before.threads} threads: {before.median_ms / after.median_ms:.2f} times as fast"
)
if verdict:
    known = plan.dropna(subset=["ms_before", "ms_after"])
    together = network_speedup(known["ms_before"].tolist(), (known["ms_before"] / known["ms_after"]).tolist())
    print(f"from the plan, convolutions alone: {together:.2f} times")
else:
    print("The comparison with the plan waits for your network_speedup.")

# %% [markdown]
# The two need not agree: layers were timed one by one, and pools, linear layers and the hand-over between layers are in the first figure only. Believe the whole; use the parts to find out why.
#
# ## 7.5 Take it home
# `fast` is a module like any other. `fast.save(path)` keeps the plan, `sl.fast.load(path, model)` builds the same module again without measuring; `fast.summary()` has all figures. Speed costs memory here: the weights are kept once more in each method's own order; `memory_ratio` says how many times the model's bytes that makes.

# %%
figures = fast.summary()
pd.Series({name: f"{figure:,.4g}" for name, figure in figures.items()}, name="value").to_frame()

# %% [markdown]
# ## 7.6 Further questions
# * Your own network in 7.1: which layer costs most, which is sparsest? Are they the same?
# * `sl.accelerate(..., methods=["torch", "direct"])`: what is lost without the other ways?
# * Give an example of another size. Does the plan change? Why is a plan made for one size?
# * `torch.set_num_threads(1)` before accelerating: does another way win?
