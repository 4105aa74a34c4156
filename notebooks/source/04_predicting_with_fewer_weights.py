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
# # 4 · Predicting with fewer weights, and spending an accuracy budget
#
# **About 20 minutes. You will**
# * let a layer's own largest weights say which of its outputs matter, and count by hand what that costs,
# * put it beside the four bits of notebook 01,
# * write the search that spends an accuracy budget over the layers of a network.
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
import torch
from IPython.display import Markdown, display

from seerlab.layers import RELU


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


# %% [markdown]
# ## 4.1 A layer small enough for a pencil
# Two input maps of 4×4 values, two filters of 3×3, padding 1, a ReLU behind. Leave out **half of the layer's weights, the smallest** by absolute value (of equal ones the first go); the bias stays. What is left predicts: where its sum is positive, the
# exact sum is computed with all weights; everywhere else the output is 0.
#
# > **Before you run the next cell:** how many of the 32 outputs will the half layer point to? How many of the positive ones will it miss?

# %%
k, c, r, s = torch.meshgrid(*(torch.arange(n) for n in (2, 2, 3, 3)), indexing="ij")
weight = ((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5).float()
c, y, x = torch.meshgrid(torch.arange(2), torch.arange(4), torch.arange(4), indexing="ij")
picture = ((3 * c + 5 * y + 7 * x) % 9 - 4).clamp(min=0).float()[None]
small = sl.ConvLayer("by hand", weight, torch.tensor([1.0, -2.0]), picture, padding=1, steps=(RELU,))

half = sl.spl.predict(small, prune_ratio=0.5)
print("picture\n", picture[0].int().numpy())
print("filter 0\n", weight[0].int().numpy(), "\nkept of it\n", half.predictor.weights.kept[0].int().numpy())
print("\nexact outputs, with the ReLU\n", small.output[0].int().numpy(), "\npointed to\n", half.mask[0].int().numpy())

# %% jupyter={"source_hidden": true}
missed = small.output[half.truth & ~half.mask]
say(
    f"The half layer points to **{int(half.mask.sum())} of {half.mask.numel()}** outputs. Of the {int(half.truth.sum())} positive ones it misses {half.false_negatives}, with the value {missed.max():.0f} (the largest output is "
    f"{small.output.max():.0f}), and {half.false_positives} are computed for nothing."
)

# %% [markdown]
# ## 4.2 Exercise: the predictor
# Write `predict(picture, weight, bias, prune_ratio)`: a picture (C, H, W), weights (K, C, 3, 3), a bias (K,). Of *all* n weights of the layer together leave out the ⌊`prune_ratio`·n + ½⌋ smallest by absolute value; convolve with the rest (padding 1, bias included); return True
# (K, H, W) where the sum is above 0.


# %% exercise="predict"
def predict(picture, weight, bias, prune_ratio):
    """Outputs that the largest weights point to."""
    ### BEGIN SOLUTION
    gone = int(prune_ratio * weight.numel() + 0.5)
    kept = weight.clone().flatten()
    kept[weight.abs().flatten().argsort(stable=True)[:gone]] = 0
    return torch.nn.functional.conv2d(picture[None], kept.reshape(weight.shape), bias, padding=1)[0] > 0
    ### END SOLUTION


# %% check="predict"
verdict = sl.exercises.predict.check(predict)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 4.3 What it costs
# Let *p* be the share of the weights that is left out, and *d* the share of the outputs that is computed. The predictor takes 1 − *p* of the layer's multiply-adds, the exact sums *d* of them, so that the saving is
#
# $$1 - (1 - p) - d = p - d .$$
#
# > **By hand:** *p* = 0.5 in 4.1, and *d* stands there in bold. Is anything saved?
#
# So far each exact sum is computed anew (*recompute*). There is a way out: the predictor's products are part of the exact sum, so keep its result and add only the products it left out (**reuse**). Then the saving is about
# *p* (1 − *d*), which is never negative.

# %%
rows = []
for exact in ("recompute", "reuse"):
    work = sl.spl.predict(small, 0.5, exact=exact).work
    rows.append({"exact stage": exact, "predictor": work.predictor_macs, "exact": work.exact_macs,
                 "together": work.macs, "saving": work.reduction})  # fmt: skip
pd.DataFrame(rows).style.format({"saving": "{:.1%}"}).hide()

# %% [markdown]
# The first line is *p* − *d*: a loss. That is the count of multiply-adds. In *time* reuse is worth less: the products left out lie scattered, and a processor reads 16 neighbouring numbers as fast as one.
#
# ## 4.4 A trained layer: few weights or few bits?
# > **Predict:** up to which prune ratio does the predictor of `features.7` find at least 95 % of the outputs that are needed? And from which one on is anything saved?

# %%
net = sl.load("vgg9_cifar10")
x = net.preprocess(sl.sample_images()["cat"], size=112)
layers = sl.conv_layers(net.model, x)
layer = layers["features.7"]

rows = []
for ratio in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
    figures = sl.spl.predict(layer, ratio).summary()
    rows.append({"left out, p": ratio, "computed, d": figures["density"], "missed, of all": figures["false_negative_share"],
                 "found, of the needed": figures["recall"], "output error": figures["output_error"],
                 "saving, p − d": figures["reduction"]})  # fmt: skip
by_ratio = pd.DataFrame(rows)
by_ratio.style.format("{:.1%}", subset=by_ratio.columns[1:].tolist()).format("{:g}", subset="left out, p").hide()

# %% jupyter={"source_hidden": true}
needed = sl.spl.predict(layer, 0.5).truth.float().mean().item()
pooled = sl.spl.predict(layers["features.10"], 0.8).summary()
found_95 = by_ratio[by_ratio["found, of the needed"] >= 0.95]["left out, p"].max()
saving = by_ratio[by_ratio["saving, p − d"] > 0]["left out, p"].min()
say(
    f"Of the ratios tried the predictor finds 95 % up to *p* = {found_95:g}, and saves from *p* = {saving:g} on: no overlap. {needed:.0%} of this layer's outputs are needed, so that below about *p* = {needed:.2f} nothing can be saved, however "
    "good the mask. (*Output error*: the size of the difference in the layer's output, as a share of the output's own size.) Behind a 2×2 max-pool at most one output of four is needed, and more can be saved: `features.10` at *p* = 0.8 "
    f"computes {pooled['density']:.0%}, saves {pooled['reduction']:.0%}, and finds the place of the largest sum in {pooled['argmax_hit_rate']:.0%} of the windows."
)

# %% [markdown]
# The chart puts the four bits of notebook 01 beside the fewer weights: one curve for each way to predict, down is fewer misses, left is cheaper (both scales are logarithmic). Multiply-adds with *b* bits count *b*/32 in it, **a
# convention of ours**; *Measured time* replaces it by this machine's answer, which includes everything a prediction needs. Move the two sliders; the curves fill in by themselves.
#
# > **Predict:** how many weights must stay for as few misses as four bits have? Then choose *Measured time*: does the order change?

# %%
view = sl.PredictorView(layer, bits=4, prune_ratio=0.8)
view

# %% jupyter={"source_hidden": true}
points = view.points()
bits = points[points["method"] == "seernet"].set_index("setting").loc[4]
weights = points[points["method"] == "spl"].set_index("setting")
as_good = weights[weights["false_negative_share"] <= bits["false_negative_share"]]
say(
    f"Four bits miss {bits['false_negative_share']:.1%} of the outputs for {bits['predictor_work']:.1%} of the work, in our convention. For as few misses {1 - as_good.index.max():.0%} of the weights must stay, and that is the share of the work. By "
    "count few bits are the cheaper predictor of this layer; what *Measured time* says is true of your machine only."
)

# %% [markdown]
# ## 4.5 Which layer first?
# Every layer that is predicted may cost the network some accuracy, and how much to leave out may differ from layer to layer. Say how much accuracy may be lost in all, the *budget*. A search visits the layers one after the other, and
# those visited first spend the budget first. The abstract names four orders (what they mean in detail is our reading):
#
# | order | visits |
# |---|---|
# | LOS | from the input to the output |
# | RLOS | from the output to the input |
# | FDOS | the most expensive layer first |
# | SAOS | the least susceptible layer first: the one that alone costs least accuracy |
#
# **Exercise.** SAOS needs a *sensitivity scan*. Write `visiting_order(layers, accuracy)`: names of layers, and a function: `accuracy(names)`, given a list of names, is the accuracy with those layers predicted and all others exact. Measure each layer alone; return the names, the layer that
# costs least first, of equal ones the earlier.


# %% exercise="visiting_order"
def visiting_order(layers, accuracy):
    """Least susceptible first."""
    ### BEGIN SOLUTION
    return sorted(layers, key=lambda name: -accuracy([name]))
    ### END SOLUTION


# %% check="visiting_order"
verdict = sl.exercises.visiting_order.check(visiting_order)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# **Exercise.** Now spend. Write `spend(order, grid, accuracy, floor)`: visit the layers in this order; give each the largest ratio of `grid` with which the accuracy is at least the floor. Here `accuracy(ratios)` takes a dict of
# layers and ratios: what was chosen so far, and this layer's. A layer for which no ratio does is left out of the dict. Return the dict.


# %% exercise="spend"
def spend(order, grid, accuracy, floor):
    """A prune ratio for each layer that can have one."""
    ### BEGIN SOLUTION
    chosen = {}
    for name in order:
        for ratio in sorted(grid, reverse=True):
            if accuracy({**chosen, name: ratio}) >= floor:
                chosen[name] = ratio
                break
    return chosen
    ### END SOLUTION


# %% check="spend"
verdict = sl.exercises.spend.check(spend)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 4.6 The search on a network
# We have no labelled images here. Instead the network's **own dense answers** on small crops of the sample photographs serve as labels, so that "accuracy"
# below is *agreement with the dense network*. A tenth of it may be lost. `sl.spl.search` differs from your `spend` in two ways: the budget is released in steps (behind the *i*-th of *n* layers at most *i*/*n* of it may be spent), and of
# the ratios that keep to it the one with the least work is taken, which need not be the largest. Some crops choose and others judge: enough to see the procedure, far too few for a claim, as the 95 % intervals
# in *from* and *to* say.
#
# > **Predict:** which order saves most? And is the agreement on the other crops above or below that on the crops chosen with?

# %%
generator = torch.Generator().manual_seed(0)


def some_crops(count):
    """`count` random 32×32 crops of each photograph, some of them mirrored."""
    found = []
    for photograph in sl.sample_images().values():
        reduced = torch.nn.functional.interpolate(net.preprocess(photograph), size=(48, 48), mode="area")
        for _ in range(count):
            top, left = torch.randint(17, (2,), generator=generator).tolist()
            crop = reduced[..., top : top + 32, left : left + 32]
            found.append(crop.flip(3) if torch.rand((), generator=generator) < 0.5 else crop)
    return torch.cat(found)


chosen_with, judged_with = some_crops(4), some_crops(4)
with torch.inference_mode():
    answers, other_answers = (net.model(images).argmax(1) for images in (chosen_with, judged_with))

rows, found = [], {}
for order in ("SAOS", "LOS", "RLOS", "FDOS"):
    found[order] = sl.spl.search(
        net.model, chosen_with, answers, order=order, max_drop=0.1, grid=(0.9, 0.8, 0.65, 0.5),
        test_images=judged_with, test_labels=other_answers, progress=False,
    )  # fmt: skip
    figures = found[order].summary()
    rows.append({"order": order, "multiply-adds saved": figures["reduction"], "agreement (chosen with)": figures["top1"],
                 "agreement (others)": figures["test_top1"], "from": figures["test_top1_low"], "to": figures["test_top1_high"],
                 "layers predicted": f"{figures['predicted_layers']} of {figures['layers']}", "evaluations": figures["evaluations"]})  # fmt: skip
shares = ["multiply-adds saved", "agreement (chosen with)", "agreement (others)", "from", "to"]
orders = pd.DataFrame(rows).set_index("order")
display(orders.style.format("{:.0%}", subset=shares))
ratios = pd.DataFrame({order: result.ratios for order, result in found.items()}).reindex(
    [name for name in layers if name in found["LOS"].visited]
)
ratios.fillna(0).style.format("{:.2f}").set_caption("prune ratio that each order found; 0: the layer stays dense")

# %% jupyter={"source_hidden": true}
saved, chosen_agreement, other_agreement = (orders[name] for name in shares[:3])
before_pool = [layers[name].pool is not None for name in ratios.index]
say(
    f"{saved.idxmax()} saves most here, {saved.max():.0%} against {saved.min():.0%} with {saved.idxmin()}. On the crops chosen with, the agreement is {chosen_agreement.min():.0%} to "
    f"{chosen_agreement.max():.0%}; on the others, {other_agreement.min():.0%} to {other_agreement.max():.0%}, lower in {int((other_agreement < chosen_agreement).sum())} of {len(orders)} orders: the ratios were fitted to the crops that the search saw. "
    f"A figure to quote comes from images that chose nothing, and from more of them: these intervals span {(orders['to'] - orders['from']).min():.0%} to {(orders['to'] - orders['from']).max():.0%} and rank no order. Layers before a max-pool take larger ratios on average ({ratios.fillna(0)[before_pool].to_numpy().mean():.2f} against "
    f"{ratios.fillna(0)[[not pooled for pooled in before_pool]].to_numpy().mean():.2f}), as *d* is small there."
)

# %% [markdown]
# The paper's own figures, on ImageNet, stand in notebook 08.
#
# ## 4.7 Further questions
# * Up to which density does a predictor with *p* = 0.8 save anything? (4.3 has the formula.)
# * What is the largest prune ratio at which `features.10` misses fewer than two in a hundred of its outputs? (`sl.PredictorView(layers["features.10"]).points()`)
# * LOS begins at the input. Which layers are left with what remains of the budget, and how much work do they have? (`found["LOS"].table` has every ratio that was tried.)
# * The smallest weights are left out over the *whole layer*. What changes if each filter loses the same share? (`scope="row"`)
