# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4 · Predicting with fewer weights
#
# **About 15 minutes. You will**
# * let a layer's own largest weights say which of its outputs matter,
# * count by hand what that costs, and find out why it often saves nothing,
# * put it beside the four bits of the first notebook,
# * spend an accuracy budget over a whole network, in four orders.
#
# The idea is *SPL*, sparse prediction layers (Yao, Huang, Shen and Ming, IEEE Access 2020). Only its abstract was consulted: the paper's are the
# pruned weights as predictor, precise values only where it points, the names of the four orders and that an algorithm searches layer by layer. Every
# rule below is our reading of that abstract.

# %%
try:
    import seerlab as sl
except ImportError as error:
    raise SystemExit(
        f"seerlab is not ready in this kernel ({error}). Close this, run `make lab` in its folder and open the notebook again."
    ) from error

import pandas as pd
import plotly.graph_objects as go
import torch

from seerlab.layers import RELU

# %% [markdown]
# ## 4.1 A layer small enough for a pencil
# Two input maps of 4×4 values, two filters of 3×3: each output is a sum of 18 products, so that the layer takes 2 · 18 · 16 = 576 multiply-adds.
# A ReLU follows.

# %%
k, c, r, s = torch.meshgrid(*(torch.arange(n) for n in (2, 2, 3, 3)), indexing="ij")
weight = ((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5).float()
c, y, x = torch.meshgrid(torch.arange(2), torch.arange(4), torch.arange(4), indexing="ij")
picture = ((3 * c + 5 * y + 7 * x) % 9 - 4).clamp(min=0).float()[None]
small = sl.ConvLayer("by hand", weight, torch.tensor([1.0, -2.0]), picture, padding=1, steps=(RELU,))

print("filter 0\n", weight[0].int().numpy())
print("\noutput of channel 0, after the ReLU\n", small.output[0, 0].int().numpy())

# %% [markdown]
# Now leave out **half of the weights, the smallest**. Ties go by position, and the bias stays. What is left predicts: where its sum is positive, the
# exact sum is computed with all weights; everywhere else the output is 0.
#
# > **Before you run the next cell:** of the 32 outputs 14 are positive. How many will the half layer point to, and how many of the 14 will it miss?

# %%
half = sl.spl.predict(small, prune_ratio=0.5)
kept = half.predictor.weights.kept
print("kept weights of filter 0\n", kept[0].int().numpy())
print("\npredicted sums, channel 0\n", half.estimate[0, 0].int().numpy())
print("\nS, the outputs to compute, channel 0\n", half.mask[0, 0].int().numpy())
print(
    f"\ncomputed {int(half.mask.sum())} of {half.mask.numel()}, missed {half.false_negatives}, for nothing {half.false_positives}"
)

# %% [markdown]
# One output is missed: it should have been 1. Whatever is computed is exact, so that the result can only be too small:

# %%
print((small.output - half.output).int().numpy()[0, 1])

# %% [markdown]
# ## 4.2 What it costs, by hand
# Let *p* be the share of the weights that is left out, and *d* the share of the outputs that is computed.
#
# * The predictor takes (1 − *p*) of the layer: 0.5 · 576 = **288** multiply-adds.
# * The exact sums take *d* of it: 17 of 32 outputs, 17 · 18 = **306**.
#
# Together 594, more than the 576 of the layer as it was. In general the saving is 1 − (1 − *p*) − *d* = ***p* − *d***, here 0.5 − 17/32 = −0.031. Half
# of the weights is too much: a predictor pays only if it is *much* smaller than the share of outputs it lets us skip.
#
# There is a way out. The predictor's products are part of the exact sum: keep its result and add only the products it left out (**reuse**). Then
# the exact stage costs about *p* · *d*, and the saving is *p* · (1 − *d*), which is never negative.

# %%
rows = []
for exact in ("recompute", "reuse"):
    work = sl.spl.predict(small, 0.5, exact=exact).work
    rows.append({"exact stage": exact, "predictor": work.predictor_macs, "exact": work.exact_macs,
                 "together": work.macs, "saving": work.reduction})  # fmt: skip
pd.DataFrame(rows).style.format({"saving": "{:.1%}"}).hide()

# %% [markdown]
# That is the count. In *time* reuse is worth less: the products left out lie scattered, and a processor reads 16 neighbouring numbers as fast as one.

# %% [markdown]
# ## 4.3 A trained layer
# `features.7` of the small VGG on the cat of the first notebook; a ReLU follows.
#
# > **Predict:** up to which prune ratio does the mask stay usable? And from which one on is anything saved?

# %%
net = sl.load("vgg9_cifar10")
x = net.preprocess(sl.sample_images()["cat"])
layers = sl.conv_layers(net.model, x)
layer = layers["features.7"]

rows = []
for ratio in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
    figures = sl.spl.predict(layer, ratio).summary()
    rows.append({"left out, p": ratio, "computed, d": figures["density"], "missed": figures["false_negative_share"],
                 "recall": figures["recall"], "output error": figures["output_error"], "saving, p − d": figures["reduction"]})  # fmt: skip
by_ratio = pd.DataFrame(rows)
by_ratio.style.format("{:.1%}").hide()

# %% [markdown]
# About three fifths of this layer's outputs are needed, so that nothing is saved below *p* ≈ 0.6, however good the mask. Behind a max-pool at most one output
# of four is needed, and it is easier. Look at `features.10`, where a 2×2 max-pool follows:

# %%
pooled = sl.spl.predict(layers["features.10"], 0.8).summary()
print(
    f"computed {pooled['density']:.1%}, saving {pooled['reduction']:.1%}, the right place of a window in {pooled['argmax_hit_rate']:.1%} of the cases"
)

# %% [markdown]
# ## 4.4 Few weights or few bits?
# Both predictors miss some outputs, and both cost something. The chart puts one against the other for this layer: down is fewer misses, left is
# cheaper. Multiply-adds with *b* bits count *b*/32 in it, **a convention of ours**; *Measured time* replaces it by this machine's answer, which includes
# everything a prediction needs. Move the two sliders; the curves fill in by themselves.
#
# > **Predict:** which curve lies lower, and does the order change between *Work* and *Measured time*?

# %%
view = sl.PredictorView(layer, bits=4, prune_ratio=0.8)
view

# %%
points = view.points()  # all of both curves, as a table
print(view.figures["sentence"])

# %% [markdown]
# ## 4.5 A product of which few results are wanted
# The abstract names the second step SRMM, a matrix product with a sparse *result*, and calls its speed in line with expectations, without a figure. Ours computes
# scattered results by meeting each weight vector with several wanted pixels. If the kernel is good, its time follows the density *d*.

# %%
from seerlab.kernels.srmm import pack_rows, srmm
from seerlab.measure import interleaved

generator = torch.Generator().manual_seed(0)
pixels = torch.randn(196, 1152, generator=generator)  # one row for each output pixel of a 14×14 map
weights = torch.randn(128, 1152, generator=generator)
packed, bias = pack_rows(weights), torch.zeros(128)
calls = {"BLAS, dense": lambda: torch.addmm(bias, pixels, weights.T)}
for d in (0.1, 0.25, 0.5, 1.0):
    wanted = (torch.rand(128, 196, generator=generator) < d).T
    calls[f"d = {d:g}"] = lambda wanted=wanted: srmm(packed, pixels, wanted, bias)
times = interleaved(calls, repeats=15)
full = times["d = 1"].median_ms
table = pd.DataFrame(
    [
        {"product": name, "ms": t.median_ms, "share of d = 1": t.median_ms / full, "threads": t.threads}
        for name, t in times.items()
    ]
)
table.style.format({"ms": "{:.2f}", "share of d = 1": "{:.2f}"}).hide()

# %% [markdown]
# Near *d* = 0.1 some of the gain is lost: few results share a weight. And at *d* = 1 BLAS is faster, as it shares pixels *and* weights; a speed-up of 1/*d* over one's
# own dense kernel is not one over the best. Lowering the map and predicting come on top.

# %% [markdown]
# ## 4.6 Spending an accuracy budget
# How much to leave out may differ from layer to layer. The search visits the layers one after the other, tries ratios from large to small, and keeps the one that costs least
# while the accuracy stays above a floor; "no prediction" is always among the choices. The order of the visits matters, because the first layers visited spend the
# budget first:
#
# | order | visits |
# |---|---|
# | LOS | from the input to the output |
# | RLOS | from the output to the input |
# | FDOS | the most expensive layer first |
# | SAOS | the least susceptible layer first: the one that alone costs least accuracy |
#
# We have no labelled images here. Instead the network's **own dense answers** on small crops of the sample photographs serve as labels, so that "accuracy"
# below is *agreement with the dense network*. A tenth of it may be lost. 28 crops choose and 28 others judge: enough to see the procedure, far too few for a
# claim, as the intervals from … to … say.

# %%
crops = torch.Generator().manual_seed(0)


def some_crops(count):
    """`count` random 32×32 crops of each photograph, some of them mirrored."""
    found = []
    for photograph in sl.sample_images().values():
        reduced = torch.nn.functional.interpolate(net.preprocess(photograph), size=(48, 48), mode="area")
        for _ in range(count):
            top, left = torch.randint(17, (2,), generator=crops).tolist()
            crop = reduced[..., top : top + 32, left : left + 32]
            found.append(crop.flip(3) if torch.rand((), generator=crops) < 0.5 else crop)
    return torch.cat(found)


chosen_with, judged_with = some_crops(4), some_crops(4)
with torch.inference_mode():
    answers, other_answers = (net.model(images).argmax(1) for images in (chosen_with, judged_with))

# %%
results, susceptibility = {}, None
for order in ("SAOS", "LOS", "RLOS", "FDOS"):
    results[order] = sl.spl.search(
        net.model, chosen_with, answers, order=order, max_drop=0.1, grid=(0.9, 0.8, 0.65, 0.5),
        test_images=judged_with, test_labels=other_answers, progress=False,
    )  # fmt: skip
rows = []
for order, result in results.items():
    figures = result.summary()
    rows.append({"order": order, "multiply-adds saved": figures["reduction"], "agreement (chosen with)": figures["top1"],
                 "agreement (others)": figures["test_top1"], "from": figures["test_top1_low"], "to": figures["test_top1_high"],
                 "layers predicted": f"{figures['predicted_layers']} of {figures['layers']}", "evaluations": figures["evaluations"]})  # fmt: skip
shares = ["multiply-adds saved", "agreement (chosen with)", "agreement (others)", "from", "to"]
pd.DataFrame(rows).style.format("{:.0%}", subset=shares).hide()

# %%
chart = go.Figure()
symbols = {"SAOS": "circle", "LOS": "square", "RLOS": "diamond", "FDOS": "cross"}
colours = {"SAOS": "#0072B2", "LOS": "#D55E00", "RLOS": "#009E73", "FDOS": "#CC79A7"}
names = [name for name in layers if name in set(results["LOS"].visited)]
for order, result in results.items():
    ratios = [result.ratios.get(name, 0.0) for name in names]
    chart.add_scatter(x=names, y=ratios, name=order, mode="lines+markers",
                      line={"color": colours[order]}, marker={"symbol": symbols[order], "size": 11})  # fmt: skip
chart.update_layout(
    title="Prune ratio that each order found (0: the layer stays dense)", xaxis_title="layer", yaxis_title="left out, p",
    yaxis_range=[-0.05, 1], height=340, template="plotly_white",
)  # fmt: skip
chart

# %% [markdown]
# Layers before a max-pool take large ratios, as *d* is small there. The search saw only the crops it chose with: on others the agreement is lower, which is why a
# figure to quote comes from images that chose nothing.
#
# The paper reports FLOP reductions of 68.3 % (AlexNet), 58.6 % (VGG-16) and 59.5 % (ResNet-50) at less
# than 1 % accuracy loss on ImageNet: larger networks, real labels, the body of the paper not consulted by us. Where your numbers fall short of that, the network, the
# pictures, the grid and our reading all differ.

# %% [markdown]
# ## 4.7 Exercises
# **1.** A predictor leaves out *p* = 0.8 of the weights, with **recompute**. Up to which density *d* does it save anything? (No code needed: 4.2.)

# %%
my_density = None  # your answer


# %%
def check_my_density(answer):
    if answer is None:
        return "Not yet: set my_density in the cell above, then run this one again."
    if not isinstance(answer, int | float) or not 0 <= answer <= 1:
        return f"{answer!r} is no density: give a share from 0 to 1."
    saving = 0.8 - answer
    if abs(saving) < 1e-9:
        return "Right: the saving is p - d, and that is 0 at d = 0.8. A real predictor computes more than is needed, so the mask must be sparser still."
    return f"With d = {answer:g} the saving is 0.8 - {answer:g} = {saving:+.2f}; look for the density at which it is 0. (The predictor costs 1 - p, not p.)"


print(check_my_density(my_density))

# %% [markdown]
# **2.** Which is the **largest** prune ratio, in steps of 0.05, at which `features.10` misses fewer than 2 % of its outputs?
# (`sl.spl.predict(layer, ratio).summary()`, or the chart: `sl.PredictorView(layers["features.10"]).points()`.)

# %%
my_ratio = None  # your answer


# %%
def check_my_ratio(answer):
    if answer is None:
        return "Not yet: set my_ratio in the cell above, then run this one again."
    steps = [round(0.05 * step, 2) for step in range(20)]
    if answer not in steps:
        return f"{answer!r} is no step of 0.05 below 1."
    missed = {ratio: sl.spl.predict(layers["features.10"], ratio).summary()["false_negative_share"] for ratio in steps}
    if missed[answer] >= 0.02:
        return f"At {answer:g} it misses {missed[answer]:.2%}: too many. Leave out fewer weights."
    best = max(ratio for ratio in steps if missed[ratio] < 0.02)
    if answer < best:
        return f"{answer:g} misses {missed[answer]:.2%}, but a larger ratio would do: look at false_negative_share, not at the recall."
    return f"Right: {answer:g} misses {missed[answer]:.2%}."


print(check_my_ratio(my_ratio))

# %% [markdown]
# <details><summary>Answers, and why</summary>
#
# ```python
# my_density = 0.8
# steps = [round(0.05 * step, 2) for step in range(20)]
# missed = {r: sl.spl.predict(layers["features.10"], r).summary()["false_negative_share"] for r in steps}
# my_ratio = max(r for r in steps if missed[r] < 0.02)
# ```
# The first: the saving is 1 − (1 − p) − d = p − d. The second: behind a max-pool a miss is mostly a *wrong place* in the window, whose value is nearly as large as
# the right one.
# </details>
