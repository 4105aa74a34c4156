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
# # 5 · What a coarser grain costs
#
# **About 20 minutes. You will**
# * prune the same weights one by one, in rows, in whole kernels and in whole filters,
# * count what each way takes to store, index bits and fillers included,
# * compare grains where they do equal harm instead of where they are equally sparse, and find out where "about two times fewer memory references" may come from.
#
# The question is that of *Exploring the Regularity of Sparse Structure in Convolutional Neural Networks* (Mao et al., arXiv 1705.08922, 2017). Its abstract says that coarse grains
# reach about the sparsity of single weights without loss of accuracy, compress better at one accuracy because indices are saved, and need about half the memory references on the
# accelerator SCNN. Definitions are as commonly recalled; what is removed first, how places are stored and how references are counted is our reading.

# %%
try:
    import seerlab as sl
except ImportError as error:
    raise SystemExit(
        f"seerlab is not ready in this kernel ({error}). Close this, run `make lab` in its folder and open the notebook again."
    ) from error

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from IPython.display import Markdown, display


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


# %% [markdown]
# ## 5.1 Four ways to take half away
# A layer small enough to see whole: two filters, each with two kernels of 3×3. A **grain** is what is kept or removed together: one weight (*fine*), one row of a kernel (*vector*), one kernel, one filter.
# The **salience** of a grain is the sum of the magnitudes of its weights; grains with the smallest go (our reading; of equals the first goes).
#
# > **By hand:** the first kernel has the rows (-5, -3, -1), (-2, 0, 2), (1, 3, 5). What are their saliences? If one of the three must go, which? (The first line printed below has the answer.)

# %%
k, c, r, s = np.ogrid[:2, :2, :3, :3]
weight = torch.from_numpy((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5).float()
print("salience of the three rows of each kernel:")
for saliences in sl.regularity.prune(weight, "vector", 0.5).salience.reshape(4, 3).int().tolist():
    print("  ", *saliences)
print("\nhalf pruned (x: kept; nine in a group are a kernel, row by row):")
GRANULARITIES = ("fine", "vector", "kernel", "filter")
masks = {name: sl.regularity.prune(weight, name, 0.5) for name in GRANULARITIES}
for name, mask in masks.items():
    print(f"{name:7}", " ".join("".join("x" if kept else "." for kept in kernel) for kernel in mask.mask.reshape(4, 9)),
          f"  keeps {mask.summary()['kept_magnitude']:.0%} of the magnitude")  # fmt: skip

# %% [markdown]
# The same number of weights stays in every line. The coarser the grain, the less of the magnitude: a strong weight among weak ones goes down with them. And **grains are kept, not non-zeros**: a 0 inside a kept row is stored, indexed and multiplied.
#
# ## 5.2 What an index costs
# A sparse weight needs its place stored with it, but one place does for a whole grain. **Density** is the share of the weights that is kept. With 8 bits for a weight and 4 bits for a place (two numbers that are recalled, not confirmed), a layer of density *d* in grains of *g* weights takes
#
# $$d\left(1 + \frac{4}{8g}\right)$$
#
# of the dense layer's bits (our model). That is the *nominal* size.
#
# > **Predict:** at half the weights, how much of the dense size do single weights take? Rows of three? Kernels?

# %%
dense_bits = 8 * weight.numel()
for name, mask in masks.items():
    bits = sl.regularity.storage(mask).nominal_bits
    print(
        f"{name:7} {mask.kept_grains:2} grains of {mask.grain_size:2} weights: {bits} bits, {bits / dense_bits:.0%} of the dense layer"
    )

# %% [markdown]
# A place is stored as a **gap**: how many grains were left out since the one before. 4 bits count to 15. In a longer run a **filler** is stored: an entry with a gap of 15 and a value of 0. It stands for the sixteenth of the run, at the full price of an entry, and counting starts again behind it.
#
# > **Predict:** of 40 single weights the numbers 0, 20, 21 and 39 are kept. How many entries does the stream have?

# %%
forty = torch.zeros(1, 40)
forty[0, [0, 20, 21, 39]] = 7
encoded = sl.regularity.encode(forty, forty != 0, "fine")
for gap, zero in encoded.table:
    print(f"skip {gap:2}, then", "a filler" if zero else "a weight")

# %% [markdown]
# **Exercise.** Write `stream_bits(kept)` for single weights. `kept` is a sequence of flags (a tensor with one axis), True for each weight that is kept. Each of those is stored as a gap, counted from the entry before or from the start (4 bits), and a value (8 bits), with fillers as above.
# Nothing is stored behind the last kept weight. Return the number of bits.


# %% exercise="stream_bits"
def stream_bits(kept):
    """Bits of the stream, fillers included."""
    ### BEGIN SOLUTION
    bits, last = 0, -1
    for place in kept.nonzero().flatten().tolist():
        gap = place - last - 1
        bits += 12 * (gap // 16) + 12
        last = place
    return bits
    ### END SOLUTION


# %% check="stream_bits"
verdict = sl.exercises.stream_bits.check(stream_bits)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 5.3 A real layer
# Walk over the grains with the arrow keys, change **Granularity** and **Sparsity** (the share that is removed). "Output off by" is the distance between the layer's output on a real picture and the dense layer's, as a share of the latter's length.
#
# > **Predict:** at 50 %, going from *fine* to *filter*: how many times as large does "output off by" become? Then find the sparsity at which rows do as much harm as single weights do at 50 %.

# %%
net = sl.load("vgg9_cifar10")
layers = sl.conv_layers(net.model, net.preprocess(sl.sample_images()["cat"], size=112))
view = sl.GranularityView(layers["features.7"])
view

# %% jupyter={"source_hidden": true}
seen = layers["features.7"]


def off_by(granularity, sparsity):
    """Distance of the pruned layer's output from the dense one, as a share of the latter's length."""
    pruned = sl.regularity.prune(seen.weight, granularity, sparsity).apply(seen.weight)
    sums = torch.nn.functional.conv2d(seen.input, pruned, seen.bias, seen.stride, seen.padding)
    return float((seen.finish(sums) - seen.output).norm() / seen.output.norm())


harm = {name: off_by(name, 0.5) for name in GRANULARITIES}
alike = next(s for s in np.arange(0.5, 0, -0.01) if off_by("vector", s) <= harm["fine"])
say(
    f"At 50 % the output is off by {', '.join(f'{share:.0%} ({name})' for name, share in harm.items())}: {harm['filter'] / harm['fine']:.1f} times as much from *fine* to *filter*, {harm['vector'] / harm['fine']:.1f} times from *fine* to *vector*. Rows do as little harm as "
    f"single weights only at about {alike:.0%} sparsity: at equal harm fewer weights can go in coarse grains."
)

# %% [markdown]
# ## 5.4 A whole network, without a label
# Accuracy needs labelled pictures, and a fair comparison needs retraining after pruning; both take longer than a notebook has. What can be measured here: crops of the photographs, at the network's own 32×32, and how often the pruned network **gives the same answer as
# the dense one**. That is *agreement*, not accuracy, and nothing is retrained, so do not set these curves beside a paper's. The order of the curves is the point.
#
# > **Predict:** all layers but the first at density 70 %. For which share of the crops does the network still answer the same, pruned weight by weight? In whole kernels? In whole filters?

# %%
CROPS = 120
generator = np.random.default_rng(0)
photographs = list(sl.sample_images().values())
crops = []
for number in range(CROPS):
    photograph = photographs[number % len(photographs)]
    side = int(generator.integers(96, min(photograph.shape[:2]) + 1))
    top, left = (int(generator.integers(0, size - side + 1)) for size in photograph.shape[:2])
    crops.append(net.preprocess(np.ascontiguousarray(photograph[top : top + side, left : left + side]), size=32))
crops = torch.cat(crops)
with torch.inference_mode():
    answers = net.model(crops).argmax(1)

pruned_layers = [name for name in layers if name != "features.0"]  # the first is the most sensitive: it stays


def answer(density, granularity):
    """Answers of the network, pruned alike in every layer but the first."""
    pruned = sl.regularity.apply(net.model, dict.fromkeys(pruned_layers, density), granularity)
    if (
        granularity == "filter"
    ):  # its map goes with it: BatchNorm, the next module, would else make a constant of the zeros
        for name, mask in pruned.masks.items():
            gone = ~mask.mask.flatten(1).any(1)
            norm = pruned.model.get_submodule(f"features.{int(name.split('.')[1]) + 1}")
            norm.running_mean[gone], norm.bias.data[gone] = 0, 0
    with torch.inference_mode():
        return pruned.model(crops).argmax(1)


DENSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
given = {name: {d: answer(d, name) for d in DENSITIES} for name in GRANULARITIES}
curves = {name: [(one == answers).double().mean().item() for one in row.values()] for name, row in given.items()}
STYLE = {"fine": ("#0072B2", "solid", "circle"), "vector": ("#009E73", "dash", "square"),
         "kernel": ("#D55E00", "dashdot", "diamond"), "filter": ("#777777", "dot", "x")}  # fmt: skip
chart = go.Figure()
for name, curve in curves.items():
    colour, dash, symbol = STYLE[name]
    chart.add_scatter(x=DENSITIES, y=curve, name=name, mode="lines+markers",
                      line={"color": colour, "dash": dash}, marker={"symbol": symbol, "size": 9})  # fmt: skip
chart.update_layout(
    title=f"Same answer as the dense network, {CROPS} unlabelled crops, no retraining",
    xaxis_title="density: share of weights kept", xaxis_tickformat=".0%", yaxis_title="agreement (not accuracy)", yaxis_tickformat=".0%",
    height=360, template="plotly_white",
)  # fmt: skip
chart

# %% jupyter={"source_hidden": true}
at = {name: dict(zip(DENSITIES, curve, strict=True)) for name, curve in curves.items()}
ordered = sum(at["fine"][d] >= at["vector"][d] >= at["kernel"][d] >= at["filter"][d] for d in DENSITIES[:-1])
commonest = given["filter"][0.5].bincount().max().item() / CROPS
say(
    f"At density 70 % the answer stays on {at['fine'][0.7]:.0%} of the crops (single weights), {at['vector'][0.7]:.0%} (rows), {at['kernel'][0.7]:.0%} (kernels) and {at['filter'][0.7]:.0%} (filters). At {ordered} of the {len(DENSITIES) - 1} densities below 100 % the four "
    f"stand in this order. Filters suffer soonest: with one in twenty removed the answer stays on {at['filter'][0.95]:.0%}; the next layer loses a whole input map. Where a curve wanders at the bottom nothing is left to agree: with half of the filters gone the network answers "
    f"{commonest:.0%} of the crops alike. Retraining would win back part of the loss; how much for each grain, only a measurement with labels can say."
)

# %% [markdown]
# ## 5.5 Compare at one agreement
# Comparing grains at one density flatters the coarse ones. Ask instead: at which density does each still agree on so many crops, and what does it take to store *that*?
#
# **Exercise.** Write `density_at(densities, agreement, level)`: two lists of the same length, the points of a curve from the smallest density to the largest, with straight lines between them. Return the smallest density from which on the curve stays at or above the level (all of the curve may;
# a measured one may also dip below it again). The last point never lies below the level.


# %% exercise="density_at"
def density_at(densities, agreement, level):
    """Density needed for a level."""
    ### BEGIN SOLUTION
    for i in range(len(densities) - 1, 0, -1):
        low, high = agreement[i - 1], agreement[i]
        if low < level:
            return densities[i - 1] + (densities[i] - densities[i - 1]) * (level - low) / (high - low)
    return densities[0]
    ### END SOLUTION


# %% check="density_at"
verdict = sl.exercises.density_at.check(density_at)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %%
LEVEL = 0.9
needed = {}
if verdict:
    sizes = {"fine": 1, "vector": 3, "kernel": 9, "filter": 9 * 96}  # weights in a grain; filters differ, about
    rows = []
    for name, curve in curves.items():
        d = needed[name] = float(density_at(DENSITIES, curve, LEVEL))
        stored = sl.regularity.nominal_ratio(d, sizes[name])
        rows.append(
            {
                "granularity": name,
                "density needed": d,
                "stored (nominal, of dense)": stored,
                "index bits alone": stored - d,
            }
        )
    display(pd.DataFrame(rows).style.format("{:.0%}", subset=list(rows[0])[1:]).hide())
else:
    print("This table waits for your density_at.")

# %% [markdown]
# Above a density of two thirds an index on every weight costs *more* than the weights it saves (set the formula of 5.2 to 1). Without retraining little can be pruned, so coarse grains win the storage here although they keep more weights: the abstract's argument in its extreme form. At the lower densities
# that retraining reaches, less is spent on indices, and who wins depends on the network (1×1 kernels have no rows to share an index).
#
# ## 5.6 "About two times fewer references"
# On SCNN (Parashar et al., ISCA 2017; as reported in a reading note) every non-zero activation meets every kept weight of its channel, and each product is added to its output in a buffer. A **reference** is one such addition (our reading). If a whole row of a kernel is kept, its products for one output can be
# summed first, and the buffer is touched once: rows save references exactly where several of their activations are not zero. (In SCNN's own order of loops this takes a small buffer more; whole filters would take another order, and are left out.)
#
# The **activation density** *a* is the share of a layer's inputs that is not zero. Were zeros independent, a row of three would take
#
# $$\frac{1 - (1 - a)^3}{3a}$$
#
# of the references of single weights (our derivation); a 3×3 kernel likewise with nine.
#
# > **Predict:** from which activation density on do rows halve the references? Real maps have their non-zeros in clumps: do they lie above or below the formula?

# %%
chart = go.Figure()
a = np.linspace(0.02, 1, 99)
rows = []
for name, real in layers.items():
    prepared = sl.scnn.prepare(real.input, real.kernel_size, real.stride, real.padding)
    counted = {
        g: prepared.count(sl.regularity.prune(real.weight, g, 0.5), filter_rule="kernel")
        for g in ("fine", "vector", "kernel")
    }
    single = counted["fine"]
    rows.append({"layer": name, "activation density": single.activation_density,
                 **{g: counted[g].references / single.references for g in ("vector", "kernel")}})  # fmt: skip
ratios = pd.DataFrame(rows)
for name in ("vector", "kernel"):
    colour, dash, symbol = STYLE[name]
    chart.add_scatter(
        x=a,
        y=[sl.scnn.analytic_ratio(name, v) for v in a],
        name=f"{name}, independent zeros",
        line={"color": colour, "dash": dash},
    )
    chart.add_scatter(x=ratios["activation density"], y=ratios[name], mode="markers", name=f"{name}, real maps",
                      marker={"color": colour, "symbol": symbol, "size": 10}, text=ratios["layer"])  # fmt: skip
chart.add_hline(y=0.5, line={"color": "#555555", "width": 1}, annotation_text="half")
chart.update_layout(
    title="References against single weights, at equal weight density (50 %)", xaxis_title="activation density", xaxis_tickformat=".0%",
    yaxis_title="references / those of single weights", height=360, template="plotly_white",
)  # fmt: skip
chart

# %% jupyter={"source_hidden": true}
halves = {name: next(v for v in a if sl.scnn.analytic_ratio(name, v) <= 0.5) for name in ("vector", "kernel")}
inner = ratios[1:]  # the first layer reads a photograph, which has no zeros
fewer = {name: (1 / inner[name].max(), 1 / inner[name].min()) for name in halves}
below = sum(
    row[name] < sl.scnn.analytic_ratio(name, row["activation density"])
    for row in inner.to_dict("records")
    for name in halves
)
say(
    f"Independent zeros: rows halve the references only from a density of about {halves['vector']:.0%} on, kernels from {halves['kernel']:.0%}. Of the {2 * len(inner)} points of the layers behind the first {below} lie *below* their curve, because non-zeros stand together. There rows take {fewer['vector'][0]:.1f} to "
    f'{fewer["vector"][1]:.1f} times fewer references than single weights, kernels {fewer["kernel"][0]:.1f} to {fewer["kernel"][1]:.1f} times: on these maps "about two times" is what rows give. All this is at equal weight *density*.'
)

# %% [markdown]
# Where grains agree equally often coarser ones keep more weights, each of which makes references. The same count at the densities of 5.5:

# %%
if needed:
    rows = {"at equal density": dict.fromkeys(STYLE, needed["fine"]), f"at an agreement of {LEVEL:.0%}": needed}
    totals = {case: dict.fromkeys(("fine", "vector", "kernel"), 0) for case in rows}
    for name in pruned_layers:
        real = layers[name]
        prepared = sl.scnn.prepare(real.input, real.kernel_size, real.stride, real.padding)
        for case, density in rows.items():
            for g in totals[case]:
                mask = sl.regularity.prune(real.weight, g, 1 - density[g])
                totals[case][g] += prepared.count(mask, filter_rule="kernel").references
    fewer = pd.DataFrame(totals).T
    fewer = pd.DataFrame({f"{g}: times fewer": fewer["fine"] / fewer[g] for g in ("vector", "kernel")})
    display(fewer.style.format("{:.2f}"))
else:
    print("This table waits for your density_at.")

# %% [markdown]
# A factor without its grain, its activation density and what was held equal says little.
#
# ## 5.7 Further questions
# * A 5×5 kernel as one grain: what share of the dense bits does an index cost? Would 2 bits for the index be better, with more fillers?
# * Nothing here is a time. What does a CPU without sparse hardware gain from a density of one half, weight by weight? In whole filters?
# * A bitmap stores one bit per grain instead of an index. Below which density does the index win?
# * `sl.regularity.prune(weight, "2:4", 0.5)` keeps two of every four. Where would its curve lie in 5.4?
