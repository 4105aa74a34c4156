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
# # 5 · What a coarser grain costs
#
# **About 20 minutes. You will**
# * prune the same weights one by one, in rows, in whole kernels and in whole filters, by hand,
# * count what each way takes to store, index bits included, and how often each touches a sparse accelerator's output buffer,
# * find out where "about two times fewer memory references" comes from, and where it does not.
#
# The question is that of *Exploring the Regularity of Sparse Structure in Convolutional Neural Networks* (Mao et al., arXiv 1705.08922, 2017). Its abstract says that coarse grains
# reach about the sparsity of single weights without loss of accuracy, compress better at one accuracy because indices are saved, and need about half the memory references on the
# accelerator SCNN. Definitions are as commonly recalled; the criterion, the encoder and the reference counter are our reading. Run each cell with
# <kbd>Shift</kbd>+<kbd>Enter</kbd>.

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
from IPython.display import display

# %% [markdown]
# ## 5.1 Four ways to take half away
# A layer small enough to see whole: two filters, each with two kernels of 3×3. A **grain** is what is kept or removed together.
#
# | name | grain | weights in it, here |
# |---|---|---|
# | fine | one weight | 1 |
# | vector | one row of a kernel | 3 |
# | kernel | one kernel (a filter's slice for one input channel) | 9 |
# | filter | one filter | 18 |

# %%
k, c, r, s = np.ogrid[:2, :2, :3, :3]
weight = torch.from_numpy((7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5).float()
for number, filter_ in enumerate(weight):
    print(f"filter {number}: channel 0, channel 1")
    for left, right in zip(*filter_.int().tolist(), strict=True):
        print("   " + "".join(f"{v:4}" for v in left) + "   |" + "".join(f"{v:4}" for v in right))

# %% [markdown]
# Which grains go? Those with the smallest **salience**, the sum of their magnitudes (our reading; of equals the first goes).
#
# > **By hand:** the first kernel has the rows (-5, -3, -1), (-2, 0, 2), (1, 3, 5). What are their saliences? If one of the three must go, which?

# %%
vector = sl.regularity.prune(weight, granularity="vector", sparsity=0.5)
print("salience of each row:\n", vector.salience.int().numpy().reshape(4, 3))
print("kept:\n", vector.kept.int().numpy().reshape(4, 3))

# %% [markdown]
# 9, 4 and 9: the middle row goes. In fact the first of the 9s goes too: the other kernels have rows of 11 and 12, and they all compete for six places.
#
# Note the 0 in the middle row of the first kernel. Were that row kept, the 0 would be kept with it: stored, indexed, multiplied. **Grains are kept, not non-zeros.**

# %%
GRANULARITIES = ("fine", "vector", "kernel", "filter")
masks = {name: sl.regularity.prune(weight, name, 0.5) for name in GRANULARITIES}
for name, mask in masks.items():
    print(f"{name:7}", " ".join("".join("x" if kept else "." for kept in kernel) for kernel in mask.mask.reshape(4, 9)),
          f"  keeps {mask.summary()['kept_magnitude']:.0%} of the magnitude")  # fmt: skip

# %% [markdown]
# 18 of 36 weights stay in every line. The coarser the grain, the less of the magnitude: a strong weight among weak ones goes down with them, a weak one among strong
# ones survives. That is the cost, before any network has run.

# %% [markdown]
# ## 5.2 What an index costs
# A sparse weight needs its place stored with it. Take 8 bits for a weight and 4 bits for a place ("how many grains were skipped since the last one"). These two numbers are recalled,
# not confirmed; a table we recall from the paper fits them.
#
# > **By hand:** 18 single weights, each with its own index: 18 · (8 + 4) bits. And six rows of three weights, one index to a row? All 36 weights without any index take 288 bits.

# %%
for name, mask in masks.items():
    n, g = mask.kept_grains, mask.grain_size
    bits = n * (8 * g + 4)
    assert bits == sl.regularity.storage(mask).nominal_bits
    print(f"{name:7} {n:2} grains · ({g:2} · 8 + 4) = {bits} bits, {bits / 288:.1%} of the dense layer")

# %% [markdown]
# Half of the weights, but three quarters of the bits if they are pruned one by one; 58 % in rows; 53 % in kernels. In general it is density · (1 + 4 / (8·g)): **1.5 · d** for single weights, 1.17 · d for rows
# of three, 1.06 · d for 3×3 kernels.
#
# A 4-bit index counts to 15. After a longer run of pruned grains one must store a **filler**: a grain of zeros that stands for nothing but its place, at the full price of a grain.
#
# > **Predict:** of 40 single weights the numbers 0, 20, 21 and 39 are kept. How many entries does the stream have?

# %%
forty = torch.zeros(1, 40)
forty[0, [0, 20, 21, 39]] = 7
encoded = sl.regularity.encode(forty, forty != 0, "fine")
for gap, zero in encoded.table:
    print(f"skip {gap:2}, then", "a filler" if zero else "a weight")
print(f"{encoded.bits} bits with fillers (nominal: 48), in {encoded.nbytes} bytes: {encoded.data.hex()}")
assert torch.allclose(encoded.decode()[0], forty)

# %% [markdown]
# Six. From here on *nominal* means without fillers, and *encoded* with them. Our encoder writes exactly these bits, and reads them back.

# %% [markdown]
# ## 5.3 How often is the output buffer touched?
# On SCNN (Parashar et al., ISCA 2017; as reported in a reading note) every non-zero activation of a channel meets every kept weight of it; each product belongs to some output and is added to it in a buffer. A
# buffer access costs more energy than an addition, so it pays to add up first what belongs together. **Here the grain decides:** if a whole row of a kernel is kept, its products for one output can be summed
# before the buffer is touched once.
#
# > **By hand:** one kept row of three weights lies over the activations (3, 0, 4). How many products are there? How often is the buffer touched if every product goes by itself, how
# > often if the row adds up first? And over (0, 0, 4)? Over (0, 0, 0)?

# %%
row = torch.ones(1, 1, 1, 3, dtype=torch.bool)
for activations in ((3, 0, 4), (0, 0, 4), (0, 0, 0)):
    x = torch.tensor(activations).float().view(1, 1, 1, 3)
    counted = sl.scnn.count_references(row, x, padding=0)
    print(activations, f"one by one: {counted.fine}, by rows: {counted.vector}")

# %% [markdown]
# The gain is in the first line only: **rows save references exactly where several of their activations are not zero.** On a very sparse map there is nothing to merge.
#
# Now the two filters on a map of two channels, 4×4, 14 of 32 values not zero:

# %%
c, y, x = np.ogrid[:2, :4, :4]
picture = torch.from_numpy(np.maximum(0, (3 * c + 5 * y + 7 * x) % 9 - 4)).float()
layer = sl.ConvLayer("worked example", weight, torch.tensor([1.0, -2.0]), picture[None], padding=1)
rows = []
for name, mask in {"nothing pruned": torch.ones(2, 2, 3, 3, dtype=torch.bool), **masks}.items():
    counted = sl.scnn.count_references(mask, picture, stride=1, padding=1)
    rows.append({"pruned": name, **counted.by_rule, "products formed": counted.products, "steps": counted.steps,
                 "multipliers busy": counted.utilisation})  # fmt: skip
pd.DataFrame(rows).style.format("{:.0%}", subset="multipliers busy").hide()

# %% [markdown]
# Columns: what is added up before the buffer is touched (nothing, a row, a kernel, all channels). Read the diagonal: 90 references for single weights, 66 for rows, 32 for kernels, 16 for filters.
#
# Three honest remarks:
# * A row can only merge if it is kept *as a row*. But look at the line "fine": even scattered weights merge a little (75 by rows), wherever two of a row happened to stay.
# * The last column of rules adds over all input channels. SCNN's order of loops cannot do that (the channels come one after another, outermost); another machine can.
# * Merging over rows and kernels in SCNN's order needs a small row buffer beside the multipliers. The counter says what merging would save, not what that buffer costs.
#
# *Products formed* exceed the references of single weights: SCNN also forms those that fall off the edge of the map, and discards them.

# %%
sl.GranularityView(layer)

# %% [markdown]
# Walk over the grains with the arrow keys, change **Granularity** and **Sparsity**. On a real layer:

# %%
net = sl.load("vgg9_cifar10")
layers = sl.conv_layers(net.model, net.preprocess(sl.sample_images()["cat"]))
view = sl.GranularityView(layers["features.7"])
view

# %% [markdown]
# > **Try:** at 50 %, go from *fine* to *filter* and watch "output off by". Then find the sparsity at which rows do as much harm as single weights do at 50 %.

# %% [markdown]
# ## 5.4 A whole network, without a label
# Accuracy needs labelled pictures, and a fair comparison needs retraining after pruning; both take longer than a notebook has. What we can measure here, live: crops of the photographs that come with
# seerlab, at the network's own 32×32, and how often the pruned network **gives the same answer as the dense one**. That is agreement, *not accuracy*, and without retraining: the curves below fall far earlier
# than those of a paper would. The order of the curves is the point.

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

pruned_layers = [
    name for name in layers if name != "features.0"
]  # the first convolution is the most sensitive: it stays


def agreement(density, granularity):
    """Share of the crops on which the network, pruned alike in every layer but the first, answers as the dense one does."""
    network = sl.regularity.apply(net.model, dict.fromkeys(pruned_layers, density), granularity)
    with torch.inference_mode():
        return float((network.model(crops).argmax(1) == answers).float().mean())


# %% [markdown]
# > **Predict:** all layers but the first at density 70 %. On how many of 100 crops does the network still answer the same, pruned weight by weight? In whole kernels? In whole filters?

# %%
DENSITIES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
curves = pd.DataFrame(
    [{"granularity": name, "density": d, "agreement": agreement(d, name)} for name in GRANULARITIES for d in DENSITIES]
)
STYLE = {"fine": ("#0072B2", "solid", "circle"), "vector": ("#009E73", "dash", "square"),
         "kernel": ("#D55E00", "dashdot", "diamond"), "filter": ("#777777", "dot", "x")}  # fmt: skip
chart = go.Figure()
for name, curve in curves.groupby("granularity", sort=False):
    colour, dash, symbol = STYLE[name]
    chart.add_scatter(x=curve["density"], y=curve["agreement"], name=name, mode="lines+markers",
                      line={"color": colour, "dash": dash}, marker={"symbol": symbol, "size": 9})  # fmt: skip
chart.update_layout(
    title=f"Same answer as the dense network, {CROPS} unlabelled crops, no retraining",
    xaxis_title="density: share of weights kept", xaxis_tickformat=".0%", yaxis_title="agreement (not accuracy)", yaxis_tickformat=".0%",
    height=380, template="plotly_white",
)  # fmt: skip
chart

# %% [markdown]
# Finer is better at every density, as expected. Rows lie between single weights and kernels, and filters fall at once: a missing filter is a missing input channel for
# the next layer. (Retraining moves all four curves far to the left; how far each, only a measurement with labels can say.)

# %% [markdown]
# ## 5.5 Fewer bits *at the same agreement*
# Comparing grains at one density flatters the coarse ones. Ask instead: at which density does each granularity still agree on 90 %, and what does it take to store that?

# %%
LEVEL = 0.9


def density_at(curve, level):
    """Smallest density from which on the piecewise-linear curve stays at or above the level."""
    d, a = curve.sort_values("density")[["density", "agreement"]].to_numpy().T
    for i in range(len(d) - 1, 0, -1):
        if a[i - 1] < level:
            return d[i] if a[i] == a[i - 1] else d[i - 1] + (d[i] - d[i - 1]) * (level - a[i - 1]) / (a[i] - a[i - 1])
    return d[0]


sizes = {"fine": 1, "vector": 3, "kernel": 9, "filter": 9 * 96}  # weights in a grain; filters differ, about
needed = {name: density_at(curve, LEVEL) for name, curve in curves.groupby("granularity", sort=False)}
pd.DataFrame(
    [{"granularity": name, "density needed": d, "stored (nominal, of dense)": sl.regularity.nominal_ratio(d, sizes[name]),
      "index bits alone": sl.regularity.nominal_ratio(d, sizes[name]) - d} for name, d in needed.items()]
).style.format("{:.0%}", subset=["density needed", "stored (nominal, of dense)", "index bits alone"]).hide()  # fmt: skip

# %% [markdown]
# Without retraining little can be pruned, and then an index on every weight costs *more* than the weights it saves: single weights end above 100 %, larger than the dense layer, while rows or kernels come
# out smaller although they keep more weights. That is the abstract's storage argument in its extreme form. At the low densities that retraining reaches, single weights catch up; who wins depends on the network (layers of 1×1 kernels
# have no rows to share an index).

# %% [markdown]
# ## 5.6 "About two times fewer references"
# Were zeros of a map independent of one another, a row of three at activation density *a* would take (1 - (1 - a)³) / (3a) of the references of single weights, a 3×3 kernel (1 - (1 - a)⁹) / (9a).
#
# > **Predict:** from which activation density on do rows halve the references?

# %%
a = np.linspace(0.02, 1, 99)
chart = go.Figure()
for name in ("vector", "kernel"):
    colour, dash, symbol = STYLE[name]
    chart.add_scatter(
        x=a,
        y=[sl.scnn.analytic_ratio(name, v) for v in a],
        name=f"{name}, expected",
        line={"color": colour, "dash": dash},
    )
rows = []
for name, real in layers.items():
    prepared = sl.scnn.prepare(real.input, real.kernel_size, real.stride, real.padding)
    counted = {
        g: prepared.count(sl.regularity.prune(real.weight, g, 0.5), filter_rule="kernel")
        for g in ("fine", "vector", "kernel")
    }
    single = counted["fine"]
    rows.append({"layer": name, "activation density": single.activation_density,
                 **{f"{g}, measured": counted[g].references / single.references for g in ("vector", "kernel")},
                 **{f"{g}, expected": sl.scnn.analytic_ratio(g, single.activation_density) for g in ("vector", "kernel")}})  # fmt: skip
ratios = pd.DataFrame(rows)
for name in ("vector", "kernel"):
    colour, dash, symbol = STYLE[name]
    chart.add_scatter(x=ratios["activation density"], y=ratios[f"{name}, measured"], mode="markers", name=f"{name}, real maps",
                      marker={"color": colour, "symbol": symbol, "size": 10}, text=ratios["layer"])  # fmt: skip
chart.add_hline(y=0.5, line={"color": "#555555", "width": 1}, annotation_text="half")
chart.update_layout(
    title="References against single weights, at equal weight density (50 %)", xaxis_title="activation density", xaxis_tickformat=".0%",
    yaxis_title="references / those of single weights", height=380, template="plotly_white",
)  # fmt: skip
display(ratios.style.format("{:.2f}").format("{}", subset="layer").format("{:.0%}", subset="activation density").hide())
chart

# %% [markdown]
# Independent zeros: rows halve the references only from a density of 63 % on; kernels already below 20 %. Real maps lie *below* the curves: their non-zeros stand together, so several meet one
# row. (The first layer's input is a photograph without zeros: a third and a ninth, exactly but for the edges.)
#
# So is it "about two times"? It depends on three things that a headline does not carry:
#
# | at | rows | kernels |
# |---|---|---|
# | equal density, independent zeros, a = 30 % | 1.4 times fewer | 2.8 times |
# | equal density, real maps of this network | see `vector, measured` above: 1 / ratio | likewise |
# | equal *accuracy*, VGG-16 densities recalled from the paper, **not confirmed** | 1.2 to 1.3 times | about 1.7 times |
#
# On this network the rows do halve the references, more or less: its non-zeros are clustered, and denser than 30 % in half of the layers. The last line is smaller because a coarser grain must keep more weights for the same accuracy. We recall a table of the paper with about 30 to 35 % of the references saved for rows on VGG-16 (recalled, not
# confirmed), which is what independent zeros give at an activation density near 30 %. "Two times" is nobody's error; it is a figure at one end of a range.

# %%
best, worst = 1 / ratios["vector, measured"].min(), 1 / ratios["vector, measured"][1:].max()
extra = needed["vector"] / needed["fine"]
print(f"rows, this network, equal density: {worst:.1f} to {best:.1f} times fewer references")
print(
    f"rows at equal agreement ({LEVEL:.0%}) keep {extra:.2f} times the weights: {worst / extra:.1f} to {best / extra:.1f} times fewer"
)

# %% [markdown]
# ## 5.7 Exercises
# **One.** A 5×5 kernel as one grain, 8 bits to a weight, 4 bits to an index. At density 0.3: what share of the dense bits does the layer take (nominal)?
#
# **Two.** One kept 3×3 kernel lies over activations of which the top row is (1, 0, 2), the middle row (0, 0, 0), the bottom row (3, 4, 5). How many references to the buffer are there for this one output: weight by weight, row by row, as a
# kernel?

# %%
my_share = None  # your answer to one, for example 0.42
my_references = None  # your answer to two, for example (3, 2, 1)


# %%
def check_my_share(answer):
    if answer is None:
        return "One: not yet. Set my_share in the cell above, then run this one again."
    right = sl.regularity.nominal_ratio(0.3, grain_size=25)
    if not isinstance(answer, int | float):
        return f"One: not yet. {answer!r} is not a number."
    if abs(answer - right) < 5e-4:
        return f"One: right, {right:.3f}."
    if abs(answer - 0.45) < 5e-4:
        return "One: not yet. That is one index per weight; a kernel of 25 weights shares one."
    return (
        "One: not yet. Density times (weights and index of a grain) over (weights of a grain): (25 · 8 + 4) / (25 · 8)."
    )


def check_my_references(answer):
    if answer is None:
        return "Two: not yet. Set my_references in the cell above, then run this one again."
    x = torch.tensor([[1.0, 0, 2], [0, 0, 0], [3, 4, 5]])[None, None]
    counted = sl.scnn.count_references(torch.ones(1, 1, 3, 3, dtype=torch.bool), x, padding=0)
    right = (counted.fine, counted.vector, counted.kernel)
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        return f"Two: not yet. {answer!r} is not three numbers; write them like (3, 2, 1)."
    if tuple(answer) == right:
        return f"Two: right, {right}."
    if answer[0] != right[0]:
        return "Two: not yet. Weight by weight: one reference for every activation that is not zero."
    if answer[1] != right[1]:
        return "Two: not yet. Row by row: a row of zeros makes no product, so no reference."
    return "Two: not yet. As a kernel: everything is added up before the buffer is touched."


print(check_my_share(my_share))
print(check_my_references(my_references))

# %% [markdown]
# <details><summary>Answers, and why</summary>
#
# ```python
# my_share = 0.3 * (25 * 8 + 4) / (25 * 8)  # 0.306: the index is nearly free
# my_references = (5, 2, 1)
# ```
# Five activations are not zero; the middle row has none, so two rows make a sum; the kernel makes one.
# </details>

# %% [markdown]
# ## 5.8 What to take away
# * A sparse weight pays for its place. Single weights pay most; a shared index is what a coarser grain buys.
# * Compare at equal accuracy, not at equal density: a coarser grain must keep more weights.
# * References saved by merging depend on the *activations*. Ask at which density, on which maps, and for which order of loops.
# * Nothing here is a time. A CPU without sparse hardware runs a dense convolution of the pruned weights in exactly the dense time, zeros and all.
