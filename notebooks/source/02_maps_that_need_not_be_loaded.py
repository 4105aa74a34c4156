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
# # 2 · Maps that need not be loaded
#
# **About 20 minutes. You will**
# * tell zero *values* from zero *maps*, and see how far apart the two counts are,
# * write the rule that prunes a map, and let a network drop whole maps while it runs,
# * find out in which layers the maps are nearly all of the traffic.
#
# The idea is *Dynamic Runtime Feature Map Pruning* (Liang, Wang, Shi and Glossner, arXiv 1812.09922, 2018): a map that is zero, or within a small epsilon of it, need not be loaded by the next layer; found at run time,
# without retraining. The exact rules follow the authors' code.

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
from IPython.display import Markdown, display


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


net = sl.load("vgg9_cifar10")
photographs = sl.sample_images()
x = net.preprocess(photographs["cat"])

# %% [markdown]
# ## 2.1 The rule
# A map $M$ of a layer's output is **pruned** if *all* its values lie within epsilon of zero,
#
# $$\max_{i,j} |M_{ij}| \le \epsilon .$$
#
# Then all of it counts as zero and it need not be loaded. One value outside, and the whole map stays, its small values too. (This is version 1 of the authors' rule; 2.5 has the other.) Four maps by hand:

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
# > **Predict:** what share of the values lies in prunable maps at epsilon 0? At 0.125? At 0.25?

# %%
rows = []
for epsilon in (0, 0.125, 0.25, 0.5):
    result = sl.drfmp.prune(maps, epsilon)
    rows.append({"epsilon": epsilon, "pruned maps": result.maps[0].nonzero()[:, 0].tolist(), **result.summary()})
names = {"within_share": "values within epsilon", "reduced_share": "values in pruned maps"}
by_hand = pd.DataFrame(rows).rename(columns=names)[["epsilon", "pruned maps", *names.values()]]
by_hand.style.format("{:.0%}", subset=list(names.values())).format("{:g}", subset="epsilon").hide()

# %% [markdown]
# The last column answers the question (maps are numbered from 0). Map 2 shows why it lags behind: at epsilon 0.125 it is kept, small values and all, for its last value.
#
# ## 2.2 Exercise: the rule
# Write `prunable(maps, epsilon)` for maps (N, C, H, W): True (N, C) for every map whose values all lie within epsilon of zero, epsilon included.


# %% exercise="prunable"
def prunable(maps, epsilon):
    """Which maps need not be loaded."""
    ### BEGIN SOLUTION
    return maps.abs().amax(dim=(2, 3)) <= epsilon
    ### END SOLUTION


# %% check="prunable"
verdict = sl.exercises.prunable.check(prunable)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 2.3 A real network
# `sl.drfmp.apply` gives back a network with the same call that prunes as it runs and counts, at the output of each convolution behind its BatchNorm and ReLU.
#
# > **Predict:** more than half of all values are zero here. How many of the *maps* will be zero everywhere? A third? A tenth?

# %%
with torch.inference_mode():
    dense = net.model(x)
network = sl.drfmp.apply(net.model, x, epsilon=0)
pruned = network(x)
print(f"largest change of the network's answer: {(pruned - dense).abs().max():.1e}")

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

# %% jupyter={"source_hidden": true}
figures = network.summary()
say(
    f"{figures['within_share']:.0%} of the {figures['scope']} are zero, {figures['reduced_share']:.2%} lie in zero maps ({figures['pruned_maps']} of {figures['maps']} maps). **Many zero values do not make zero "
    "maps.** A filter that answers to nothing in a whole photograph is rare; the few there are sit in the deepest layers, whose maps are small. The answer of the network is unchanged but for rounding: what is left out is zero, and "
    "only the order changes in which the rest is added."
)

# %% [markdown]
# ## 2.4 Turn epsilon up
# Each cell of the view is a map. Move **Epsilon**: maps that fall within it fade. The network really runs with those maps gone, so layers behind see the change.
#
# > **Predict:** at which epsilon does the network stop saying "cat"?

# %%
view = sl.EpsilonView(net.model, x, categories=net.categories)
view

# %%
rows = []
with torch.inference_mode():
    for epsilon in (0, 0.5, 1.0, 1.25, 1.5, 2.0):
        network.epsilon = epsilon
        network.reset_counts()
        answer = network(x).softmax(1)[0]
        rows.append({"epsilon": epsilon, "answer": net.categories[answer.argmax()], "confidence": answer.max().item(),
                     "pruned maps": network.summary()["pruned_maps"]})  # fmt: skip
turned_up = pd.DataFrame(rows)
turned_up.style.format("{:.0%}", subset="confidence").format("{:g}", subset="epsilon").hide()

# %% jupyter={"source_hidden": true}
kept = turned_up[turned_up["answer"] == turned_up["answer"][0]]
surest = turned_up.loc[turned_up["confidence"].idxmax()]
say(
    f"The answer is still *{surest['answer']}* at epsilon {kept['epsilon'].max():g}, with {kept['pruned maps'].max()} of {figures['maps']} maps gone, and the network is surest at epsilon {surest['epsilon']:g}. "
    "Being sure is not being right, and one picture can mislead."
)

# %% [markdown]
# So the same over all sample photographs. (Most of them show nothing that a CIFAR-10 network knows, so we ask only whether each answer *stays what it was*; and they are reduced, for speed.)

# %%
batch = torch.cat([net.preprocess(photograph, size=96) for photograph in photographs.values()])
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
display(table.style.format("{:.1%}", subset=list(shown.values())[2:]).format("{:g}", subset="epsilon").hide())

chart = go.Figure()
for column, colour, dash in [
    ("within_share", "#999999", "dash"),
    ("reduced_share", "#0072B2", "solid"),
    ("saved_weight_share", "#D55E00", "dot"),
]:
    chart.add_scatter(x=sweep["epsilon"], y=sweep[column], name=shown[column], line={"color": colour, "dash": dash})
chart.update_layout(
    title=f"vgg9_cifar10, {len(batch)} photographs", xaxis_title="epsilon", yaxis_title="share", yaxis_tickformat=".0%", height=320,
    template="plotly_white",
)  # fmt: skip
chart

# %% jupyter={"source_hidden": true}
one, last = sweep[sweep["epsilon"] == 1.0].iloc[0], sweep.iloc[-1]
say(
    f"What epsilon buys comes late: at epsilon 1 {one['within_share']:.0%} of the values are within epsilon and only {one['reduced_share']:.1%} lie in pruned maps. Up to {last['epsilon']:g} that rises to {last['reduced_share']:.0%}, "
    f"and {len(batch) - last['answers kept']:.0f} of {len(batch)} answers change. Weights saved is our extra line, not the authors': a map that is not loaded needs none of the weights it would be multiplied with. "
    "These are loads that need not happen, **counted**. The authors claim no gain in time, and neither do we."
)

# %% [markdown]
# ## 2.5 Two rules
# The authors changed the rule between 2018 and 2021. **v1**: at the *output* of a convolution, all values within epsilon. **v2**: at its *input*, *more than 99 %* within epsilon.
#
# > **Predict:** v1 at epsilon 0 loses nothing. Does v2?

# %%
later = sl.drfmp.apply(net.model, x, epsilon=0, mode="v2")
answer = later(x)
second = later.summary()
print(
    f"v1: {figures['pruned_maps']} of {figures['maps']} maps ({figures['scope']}); v2: {second['pruned_maps']} of {second['maps']} ({second['scope']})"
)
print(f"largest change of the network's answer under v2: {(answer - dense).abs().max():.4f}")

# %% [markdown]
# Under v2 a map with a few bright spots, under one in a hundred of its values, goes with them; so the answer changes. The two counts are not of the same maps, and cannot be compared: always ask *which maps were counted*. seerlab
# names them in every summary (`scope`).
#
# **Exercise.** Write `least_count(values)`: the fewest values within epsilon that prune a map of so many values under v2. (Mind the words "more than".)


# %% exercise="least_count"
def least_count(values):
    """How many values must be small."""
    ### BEGIN SOLUTION
    return 99 * values // 100 + 1
    ### END SOLUTION


# %% check="least_count"
verdict = sl.exercises.least_count.check(least_count)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 2.6 Who pays for maps, and who for weights?
# What would a saved map be worth? Write `input_share(channels, height, width, filters, kernel, groups)`: of all the values a convolution reads, input maps and weights (no bias), each once, the share that are maps. Kernels have
# `kernel` × `kernel` weights for each map that they see, and a filter sees `channels / groups` maps.
#
# > **Predict:** a depth-wise layer (`groups = channels = filters`) filters each of 512 maps of 14×14 by its own 3×3 kernel. Which share is maps? And in an ordinary convolution from the same maps to 512 others?


# %% exercise="input_share"
def input_share(channels, height, width, filters, kernel, groups):
    """Maps among all that is read."""
    ### BEGIN SOLUTION
    maps = channels * height * width
    return maps / (maps + filters * (channels // groups) * kernel**2)
    ### END SOLUTION


# %% check="input_share"
verdict = sl.exercises.input_share.check(input_share)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %%
if verdict:
    for kind, groups in (("depth-wise", 512), ("ordinary", 1)):
        print(f"{kind}: {float(input_share(512, 14, 14, 512, 3, groups)):.1%} of what the layer reads are maps")
else:
    print("This cell waits for your input_share.")

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
# Convolutions only, each tensor once, one picture (this split is ours). ResNet-18 reads far more weights than maps; in MobileNet V2 it is the other way round, and in its depth-wise layers nearly everything is maps. That is the point of the
# paper's abstract: with depth-wise and point-wise convolutions it is the maps that cost.
#
# ## 2.7 Networks with nothing to drop
# A leaky ReLU multiplies negative values by 0.1 instead of 0.
#
# > **Predict:** how many exact zeros does a leaky network have?

# %%
torch.manual_seed(0)
leaky = sl.load("tinynet", weights=None)  # random weights
seen = sl.drfmp.traffic(leaky.model, leaky.preprocess(photographs["cat"])).summary()
print(
    f"tinynet (leaky ReLU, random weights): {seen['zero_output_share']:.2%} zero values, {seen['zero_output_map_share']:.2%} zero maps"
)

# %% [markdown]
# A sum would have to come out as exactly zero. In the authors' logs too their leaky networks, TinyNet and ResNet-50, have no zero values.
#
# ## 2.8 Further questions
# * A pruned map in a *depth-wise* layer is the only input of its output map. What comes out, zero? (`sl.drfmp.conv2d(maps, weight, bias, flags, padding=1, groups=...)`)
# * More epsilon never prunes less of a *fixed* tensor. End to end it can. How?
# * Are the zero maps of the cat zero on the other photographs too? If so, one could cut them out once and for all, and nothing need be found at run time.
# * Hardware that cannot hold a whole map judges tiles of it, and prunes the map if all its tiles may go: `sl.drfmp.apply(net.model, x, tile=8)`. Why does that change nothing under v1? And under v2?
