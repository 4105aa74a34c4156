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
# # 3 · Maps that need not be loaded
#
# **About 15 minutes. You will**
# * tell zero *values* from zero *maps*, and see how far apart the two counts are,
# * let a network drop whole feature maps while it runs, and watch what a small epsilon adds and when the answer breaks,
# * work out in which layers the maps are nearly all of the traffic, and in which networks there is nothing to drop.
#
# The idea is *Dynamic Runtime Feature Map Pruning* (Liang, Wang, Shi and Glossner, arXiv 1812.09922, 2018): a map that is entirely zero, or within a small epsilon
# of it, need not be loaded by the next layer; found at run time, for the picture at hand, without retraining. The exact rules follow the authors' code. Everything
# below runs on photographs and a trained network that come with seerlab. Run each cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>.

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
from torch.nn import functional as F

# %% [markdown]
# ## 3.1 Four maps by hand
# Four channels of 3×3.

# %%
maps = torch.tensor(
    [
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0.125, 0], [-0.125, 0, 0], [0, 0, 0.125]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0.25]],
        [[0.5, -0.25, 0], [0, 0.5, 0.125], [0.25, 0, 0]],
    ]
)[None]  # (1, 4, 3, 3)
print(f"{(maps == 0).float().mean():.0%} of the values are zero")

# %% [markdown]
# A map is **pruned** if *all* its values lie within epsilon of zero, |x| ≤ epsilon: then all of it becomes zero and it need not be loaded. One value outside, and the whole map stays, its
# small values too.
#
# > **Predict:** about three quarters of the values are zero. What share of the values lies in prunable maps at epsilon 0? At 0.125? At 0.25?

# %%
rows = []
for epsilon in (0, 0.125, 0.25, 0.5):
    result = sl.drfmp.prune(maps, epsilon)
    rows.append({"epsilon": epsilon, "pruned maps": result.maps[0].nonzero()[:, 0].tolist(), **result.summary()})
by_hand = pd.DataFrame(rows)[["epsilon", "pruned maps", "within_share", "reduced_share"]]
by_hand.style.format("{:.0%}", subset=["within_share", "reduced_share"]).format("{:g}", subset="epsilon").hide()

# %% [markdown]
# `within_share` counts values, `reduced_share` values in whole pruned maps. The third map shows the difference: eight of its nine values are zero, and at epsilon 0.125 it is kept for the ninth.

# %% [markdown]
# ## 3.2 A real network
# `vgg9_cifar10` on a photograph. `sl.drfmp.apply` gives back a network with the same call that prunes as it runs and counts, at the output of each convolution behind its BatchNorm and ReLU.
#
# > **Predict:** notebook 1 found that a ReLU leaves many zeros; here more than half of all outputs are. How many of the 928 *maps* will be zero everywhere? A third? A tenth?

# %%
net = sl.load("vgg9_cifar10")
x = net.preprocess(sl.sample_images()["cat"])
with torch.inference_mode():
    dense = net.model(x)

network = sl.drfmp.apply(net.model, x, epsilon=0)
pruned = network(x)
print("largest change of an output:", (pruned - dense).abs().max().item())

rows = []
for name, count in network.counts.items():
    rows.append(
        {
            "layer": name,
            "maps": count.maps,
            "zero maps": count.pruned_maps,
            "zero values": count.within / count.values,
            "values in zero maps": count.reduced / count.values,
        }
    )
pd.DataFrame(rows).style.format("{:.1%}", subset=["zero values", "values in zero maps"]).hide()

# %%
figures = network.summary()
print(
    f"{figures['within_share']:.0%} of the {figures['scope']} are zero, {figures['reduced_share']:.2%} lie in zero maps ({figures['pruned_maps']} of {figures['maps']} maps)."
)

# %% [markdown]
# **Many zero values do not make zero maps.** A filter that answers to nothing in a whole photograph is rare; the few there are sit in the deepest layers, whose maps are small. The answer is
# unchanged, as it must be: leaving out zeros changes a sum by nothing but the order in which it is added.
#
# (The paper speaks of zero-valued *parameters*. In the authors' code and logs these are values of feature maps, not weights; only so does it make sense that networks without ReLU have none. Our reading.)

# %% [markdown]
# ## 3.3 Turn epsilon up
# Each cell of the view is a map. Move **Epsilon**: maps that fall within it fade. The network really runs with those maps gone, so layers behind see the change. **Mode** v2 is the authors' later
# rule; more on it below.
#
# > **Predict:** at which epsilon does the network stop saying "cat"?

# %%
view = sl.EpsilonView(net.model, x, categories=net.categories)
view

# %% [markdown]
# One picture can mislead, so the same over all seven sample photographs. (Most of them show nothing that a CIFAR-10 network knows, so we ask only whether each answer *stays what it was*.)

# %%
photographs = sl.sample_images()
batch = torch.cat([net.preprocess(photograph) for photograph in photographs.values()])
with torch.inference_mode():
    answers = net.model(batch).argmax(1)

network.skip = False  # multiply the zeros too: the same result, and faster for several pictures at once
rows = []
for epsilon in (0, 0.5, 1.0, 1.5, 2.0):
    network.epsilon = epsilon
    network.reset_counts()
    same = (network(batch).argmax(1) == answers).sum().item()
    rows.append({"epsilon": epsilon, "answers kept": same, **network.summary()})
sweep = pd.DataFrame(rows)
shown = {
    "epsilon": "epsilon",
    "answers kept": f"answers kept, of {len(batch)}",
    "within_share": "values within epsilon",
    "reduced_share": "output values in pruned maps",
    "saved_input_share": "conv inputs saved",
    "saved_weight_share": "weights saved",
}
table = sweep[list(shown)].rename(columns=shown)
table.style.format("{:.1%}", subset=list(shown.values())[2:]).format("{:g}", subset="epsilon").hide()

# %%
chart = go.Figure()
for column, colour, dash in [
    ("within_share", "#999999", "dash"),
    ("reduced_share", "#0072B2", "solid"),
    ("saved_weight_share", "#D55E00", "dot"),
]:
    chart.add_scatter(x=sweep["epsilon"], y=sweep[column], name=shown[column], line={"color": colour, "dash": dash})
chart.update_layout(
    title="vgg9_cifar10, seven photographs", xaxis_title="epsilon", yaxis_title="share", yaxis_tickformat=".0%", height=340,
    template="plotly_white",
)  # fmt: skip
chart

# %% [markdown]
# There is room for epsilon, but what it buys comes late: at 1.0 over nine tenths of the values are within epsilon and only about 2 % lie in pruned maps. Past that the savings rise steeply, and so
# do the wrong answers.
#
# * **"weights saved"** is our extra line, not the authors': a map that is not loaded needs none of the weights it would be multiplied with. Pruned maps are small ones in deep layers, where the
#   weights are many: here that line is the larger one.
# * For a *fixed* tensor more epsilon never prunes less. End to end it can: a pruned map may have held down a later one, which then comes alive.
# * These are loads that need not happen, **counted**. The authors claim no gain in time, and neither do we.

# %% [markdown]
# ## 3.4 Who pays for maps, and who for weights?
# What would a saved map be worth? Each convolution reads its input maps and its weights and writes its output maps. `sl.drfmp.traffic` counts all three.
#
# > **Predict:** a depth-wise layer filters each of 32 maps of 112×112 by its own 3×3 kernel. What share of what it *reads* is maps?

# %%
picture = torch.randn(1, 3, 224, 224)  # the shapes matter here, not the values
rows = []
for name in ("mobilenet_v2", "squeezenet1_1", "resnet18", "tinynet"):
    moved = sl.drfmp.traffic(sl.load(name, weights=None).model, picture).summary()
    rows.append({"network": name, "million weights": moved["weights"] / 1e6, "million input values": moved["input_values"] / 1e6,
                 "input share": moved["input_share"], "in depth-wise layers": moved["depthwise_input_share"] or None})  # fmt: skip
split = pd.DataFrame(rows)
split.style.format("{:.1f}", subset=["million weights", "million input values"]).format(
    "{:.1%}", na_rep="none there", subset=["input share", "in depth-wise layers"]
).hide()

# %% [markdown]
# "Input share" is maps / (maps + weights), convolutions only, each tensor once, one picture (this split is ours). ResNet-18 reads far more weights than maps. In MobileNet V2 it is the other way round,
# and in its depth-wise layers nearly everything is maps. That is the paper's point: with depth-wise and point-wise convolutions it is the maps that cost.

# %% [markdown]
# ## 3.5 A dropped map in a depth-wise layer
# In an ordinary convolution a zero input map adds nothing to any output. In a depth-wise layer it is the *only* input of its output map.
#
# > **Predict:** what comes out of a depth-wise layer for a pruned map? Zero?

# %%
weight, bias = torch.randn(2, 1, 3, 3), torch.tensor([0.7, -0.2])
two_maps = torch.rand(1, 2, 5, 5)
flags = torch.tensor([[True, False]])  # the first map is pruned
y = sl.drfmp.conv2d(two_maps, weight, bias, flags, padding=1, groups=2)
print(y[0, 0])
zeroed = two_maps * ~flags[..., None, None]
torch.testing.assert_close(y, F.conv2d(zeroed, weight, bias, padding=1, groups=2))

# %% [markdown]
# A constant, the bias (0.7), not zero; with a BatchNorm behind it, its shift. The whole map can be filled in without computing. But it is alive again: pruning does not propagate through a depth-wise layer unless
# the bias is negative and a ReLU follows.

# %% [markdown]
# ## 3.6 Networks with nothing to drop
# A leaky ReLU multiplies negative values by 0.1 instead of 0, and a linear layer has no activation at all.
#
# > **Predict:** how many exact zeros does a leaky network have?

# %%
torch.manual_seed(0)
leaky = sl.load("tinynet", weights=None)  # random weights
photograph = leaky.preprocess(photographs["cat"])
seen = sl.drfmp.traffic(leaky.model, photograph).summary()
print(
    f"tinynet (leaky ReLU, random weights): {seen['zero_output_share']:.2%} zero values, {seen['zero_output_map_share']:.2%} zero maps"
)

# %% [markdown]
# None, and so at epsilon 0 nothing to drop, whatever the weights: a sum would have to come out as exactly zero. In the authors' logs too their leaky networks, TinyNet and ResNet-50, have 0 zero values. There only an epsilon
# above 0 can help, and it takes values that are not nothing.

# %% [markdown]
# ## 3.7 Two rules
# The authors changed the rule between 2018 and 2021. **v1**: at the *output* of a convolution, all values within epsilon. **v2**: at its *input*, *more than 99 %* within epsilon.
#
# > **Predict:** v1 at epsilon 0 loses nothing. Does v2?

# %%
later = sl.drfmp.apply(net.model, x, epsilon=0, mode="v2")
answer = later(x)
figures = later.summary()
print(
    f"v2 at epsilon 0: {figures['pruned_maps']} of {figures['maps']} maps pruned ({figures['scope']}), {figures['reduced_share']:.1%} of the values"
)
print(f"largest change of an output: {(answer - dense).abs().max():.4f}")

# %% [markdown]
# It drops several times as many, and the outputs change: a map with a few bright spots, under 1 % of its values, is dropped with them. Always ask *which maps were counted*, too: v1 counts outputs, v2
# inputs, and the figures of the one are not those of the other. seerlab names the denominator in every summary (`scope`).

# %% [markdown]
# ## 3.8 Beside what was published
# The abstract says that 10 % of the feature-map execution can go without loss of accuracy, and that an epsilon above 0 saves a further 5 % of the feature-map loading for 1 % top-1. In the authors' logs figures like
# these occur for **MobileNetV2 only** (our reading). The logs are of one picture; ours below of seven photographs; networks and weights differ.

# %%
network.epsilon = 0
network.reset_counts()
network(batch)
here = network.summary()
published = [
    ("MobileNetV2", "the authors' logs, one picture", 0.388, 0.0781),
    ("AlexNet", "the authors' logs, one picture", 0.616, 0.0377),
    ("SqueezeNet 1.1", "the authors' logs, one picture", 0.538, 0.0031),
    ("VGG16", "the authors' logs, one picture", 0.459, 0.0019),
    ("ResNet-50, TinyNet (leaky)", "the authors' logs, one picture", 0.0, 0.0),
    ("vgg9_cifar10", f"measured here, {len(batch)} photographs", here["within_share"], here["reduced_share"]),
]
columns = ["network", "source", "zero values", "values in zero maps"]
pd.DataFrame(published, columns=columns).style.format("{:.2%}", subset=columns[2:]).hide()

# %% [markdown]
# More trained networks were measured for the table in `benchmarks/README.md` (mode v1, conv outputs; zeros over 20 pictures, accuracy over 300 pictures of an ImageNet sample, for this network over 2000 test images of CIFAR-10 at
# 32×32):
#
# * **The 10 %** come near in two small depth-wise networks: 9.9 % of the values in zero maps in MobileNet v1 0.25, 6.8 % in FD-MobileNet 0.25; elsewhere 0.8 to 4.4 %. But nearly all of those maps (9.8 and 6.4 %) are zero
#   in **every one** of the 20 pictures. Such a channel can be cut out once and for all; nothing needs to be found at run time.
# * **The further 5 % for 1 % top-1** come out once: FD-MobileNet gains 5.7 points at epsilon 0.2 and loses 0.3 points of top-1 (nearly all of it comes at epsilon 0.01 already). For less than one point MobileNet v1 gains 1.8,
#   SqueezeNet 1.1 3.0 and this network 2.8. One step of epsilon further the others lose four to
#   twenty-nine points (MobileNet v1 was not tried further).

# %% [markdown]
# ## 3.9 Exercises
# **First.** Under v2 a map is pruned when *more than* 99 % of its values lie within epsilon. A map of 28×28 has 784 values. At least how many of them must? Work it out, then set `my_count`.

# %%
my_count = None  # your answer


# %%
def check_my_count(answer):
    if answer is None:
        return "Not yet: set my_count in the cell above, then run this one again."
    least = sl.drfmp.least_count(28 * 28, "v2")
    if answer == least:
        return f"Right: {least}. {784 - least} values may be as large as they like."
    if answer == 776:
        return "Close: 776 is 98.98 %, which is not yet more than 99 %."
    return "Not yet: what is 99 % of 784, and what is the next whole number above it?"


print(check_my_count(my_count))

# %% [markdown]
# **Second.** A layer reads 32 maps of 112×112. What is the input share, maps / (maps + weights), (a) if it is depth-wise, 3×3, and (b) if it is an ordinary 3×3 convolution to 64 maps? Set `my_shares` to the two numbers, between 0
# and 1.

# %%
my_shares = None  # your answer, (depth-wise, ordinary)


# %%
def check_my_shares(answer):
    if answer is None:
        return "Not yet: set my_shares in the cell above, then run this one again."
    try:
        given = [float(share) for share in answer]
    except (TypeError, ValueError):
        return f"Not yet: {answer!r} is not a pair of numbers; write it like (0.9, 0.5)."
    if len(given) != 2:
        return "Not yet: give two numbers, (depth-wise, ordinary)."
    right = []
    for out, groups in ((32, 32), (64, 1)):
        layer = torch.nn.Conv2d(32, out, 3, padding=1, groups=groups).eval()
        right.append(sl.drfmp.traffic(layer, torch.zeros(1, 32, 112, 112)).summary()["input_share"])
    wrong = [
        name
        for name, mine, theirs in zip(("depth-wise", "ordinary"), given, right, strict=True)
        if abs(mine - theirs) > 0.0005
    ]
    if wrong:
        return f"Not yet: {' and '.join(wrong)}. How many kernels of nine weights does each layer have?"
    return f"Right: {right[0]:.2%} and {right[1]:.2%}. On a map of 7x7 they would be {49 / (49 + 9):.0%} and {49 / (49 + 64 * 9):.0%}: try why."


print(check_my_shares(my_shares))

# %% [markdown]
# **Third.** For the photograph `x` of the cat, mode v1: what is the smallest epsilon, in steps of 0.1, at which **more than 2 % of the output values** lie in pruned maps? (`network.epsilon`, `network.reset_counts()`, `network(x)`
# and `network.summary()["reduced_share"]`.) And does the network still see a cat there?

# %%
my_epsilon = None  # your answer


# %%
def check_my_epsilon(answer):
    if answer is None:
        return "Not yet: set my_epsilon in the cell above, then run this one again."
    if not isinstance(answer, int | float) or not 0 <= answer <= 2:
        return f"{answer!r} is not an epsilon to try here; choose one from 0 to 2."

    def share(epsilon):
        network.epsilon = epsilon
        network.reset_counts()
        said = net.categories[network(x).argmax()]
        return network.summary()["reduced_share"], said

    own, said = share(answer)
    if own <= 0.02:
        return f"Not yet: at {answer:g} it is {own:.2%}."
    before, _ = share(max(0.0, round(answer - 0.1, 10)))
    if before > 0.02:
        return f"At {answer:g} it is {own:.2%}, more than 2 %, but a step less gives {before:.2%}: go lower."
    return f"Right: {own:.2%} at {answer:g}, and the network says {said}."


print(check_my_epsilon(my_epsilon))

# %% [markdown]
# <details><summary>Answers, and why</summary>
#
# ```python
# my_count = 777  # 0.99 * 784 = 776.16
# my_shares = (32 * 112**2 / (32 * 112**2 + 32 * 9), 32 * 112**2 / (32 * 112**2 + 64 * 32 * 9))
#
# for step in range(21):
#     network.epsilon = step / 10
#     network.reset_counts()
#     network(x)
#     if network.summary()["reduced_share"] > 0.02:
#         break
# my_epsilon = network.epsilon
# ```
# A 3×3 depth-wise layer has nine weights a map, whatever the map's size: maps win until they are as small as the kernel.
# </details>

# %% [markdown]
# ## 3.10 What to take away
# * Zero values are many, zero maps few. Count the unit that you can really skip.
# * Ask for the denominator: outputs or inputs, values or maps, with or without pools, and beside what else the layer loads.
# * A rule that fits one network (depth-wise, narrow, with dead channels) need not fit another. Measure on yours: `sl.drfmp.sweep(model, images, labels, epsilons)`.
