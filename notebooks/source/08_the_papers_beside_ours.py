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
# # 8 · The papers' tables beside ours
#
# **About 20 minutes. You will**
# * read what five papers report, and where each figure was found,
# * set beside it what comes out here, with the conditions that differ,
# * learn how sure a counted accuracy is.
#
# Published figures are quoted, with their source: the *abstract*, a *reading note* (somebody else's notes of the paper) or the *authors' logs* (of their public code). Everything in a column *here* is computed in this notebook, on one small network (`vgg9_cifar10`) and the sample photographs. Networks, pictures and machines differ from the papers': the table shows **what kind of quantity each claim is**, not who is
# right. Each system has a notebook of its own, 01 to 05; a sentence says here what is needed. Larger networks and all test images are in `benchmarks/README.md` of the source.

# %%
try:
    import seerlab as sl
except ImportError as error:
    raise SystemExit(
        f"seerlab is not ready in this kernel ({error}). Close this, run `make lab` in its folder and open the notebook again."
    ) from error

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from PIL import Image

from seerlab.engine.timing import layer_timings
from seerlab.measure import interleaved


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


net = sl.load("vgg9_cifar10")
photographs = sl.sample_images()
layers = sl.conv_layers(net.model, net.preprocess(photographs["cat"], size=112))
CONDITIONS = f"{net.name}, one photograph at 112×112"
report = []


def beside(system, claim, published, source, here, condition=CONDITIONS):
    """One line of the table at the end."""
    report.append(
        {
            "system": system,
            "claim": claim,
            "published": published,
            "source": source,
            "here": here,
            "conditions here": condition,
        }
    )


# %% [markdown]
# ## 8.1 SeerNet
# A copy of each layer in 4 bits predicts which outputs the ReLU or the max-pool will keep: the **mask**. Its accuracy is the share of the outputs for which it is right. Only the marked outputs are then computed.
#
# > **Predict:** as reported in a reading note, masks are right for 96.5 % of the outputs on the mean. In a small network for CIFAR-10: better or worse? Which layers will be the hardest?

# %%
view = sl.NetworkView(net, net.preprocess(photographs["cat"], size=112), measure="predictability")
view

# %%
found = {name: sl.seernet.predict(layer, bits=4).summary() for name, layer in layers.items()}
relu = [f["sparsity"] for name, f in found.items() if "max_pool" not in layers[name].followed_by]
pool = [f["sparsity"] for name, f in found.items() if "max_pool" in layers[name].followed_by]
accuracy = [f["mask_accuracy"] for f in found.values()]
beside("SeerNet", "mean mask accuracy, 4 bits", "96.5 %", "reading note", f"{np.mean(accuracy):.1%}")
beside("SeerNet", "outputs not needed, ReLU", "40 to 80 %", "reading note", f"{min(relu):.0%} to {max(relu):.0%}")
beside(
    "SeerNet",
    "outputs not needed, ReLU and max-pool",
    "above 80 %",
    "reading note",
    f"{min(pool):.0%} to {max(pool):.0%}",
)
timed = [layer_timings(layer, repeats=3, threads=1) for name, layer in layers.items() if name != "features.0"]
seernet_ms = sum(one.times["seernet"].median_ms for one in timed)
against_torch = sum(one.times["dense_nchw"].median_ms for one in timed) / seernet_ms
against_best = sum(one.times[one.best_dense].median_ms for one in timed) / seernet_ms
condition = f"{CONDITIONS}, all convolutions but the first, one thread"
for baseline, times in (("torch's dense convolution", against_torch), ("the best dense way", against_best)):
    beside("SeerNet", f"speed-up on a CPU, end to end; here against {baseline}", "22.2 to 40.1 %", "reading note",
           f"{times:.2f} times the speed", condition)  # fmt: skip
pd.DataFrame(report[-5:])[["claim", "published", "here"]].style.hide()

# %% jupyter={"source_hidden": true}
worst = min(found, key=lambda name: found[name]["mask_accuracy"])
say(
    f"The worst mask is that of `{worst}`, right for {found[worst]['mask_accuracy']:.1%}; the mean is {np.mean(accuracy):.1%}. And outputs that are not needed are not yet time saved: SeerNet runs at {against_torch:.2f} times the speed of torch's dense convolution, and at "
    f"{against_best:.2f} times that of the best dense way. Which baseline the published figure has is not known to us."
)

# %% [markdown]
# ## 8.2 How sure is an accuracy?
# "Mean drop 0.35 % on CIFAR-10" (reading note of SeerNet). To see a drop that small one needs many pictures. Of *n* pictures a share *p* = right / *n* is classified rightly. With *z* = 1.96, Wilson's 95 % interval for the share of *all* such pictures (Wilson, 1927) is
#
# $$\frac{p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}} .$$
#
# > **Predict:** 20 of 20 pictures are right. What is the lower end?
#
# **Exercise.** Write `interval(right, images)`: return the lower and the upper end, as shares from 0 to 1.


# %% exercise="interval"
def interval(right, images):
    """Wilson's interval of a share."""
    ### BEGIN SOLUTION
    p, z = right / images, 1.959964
    below = 1 + z**2 / images
    middle = (p + z**2 / (2 * images)) / below
    half = z * (p * (1 - p) / images + z**2 / (4 * images**2)) ** 0.5 / below
    return middle - half, middle + half
    ### END SOLUTION


# %% check="interval"
verdict = sl.exercises.interval.check(interval)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %%
if verdict:
    for images in (20, 100, 1000, 10000, 100000):
        low, high = interval(round(0.88 * images), images)
        print(f"88 % right of {images:6}: {low:6.1%} to {high:6.1%}, {50 * (high - low):5.2f} points to either side")
else:
    print("This table waits for your interval.")

# %% [markdown]
# Two networks judged on the *same* pictures are compared better by the pictures on which they differ; the interval of each alone is still what a single quoted accuracy is worth.
#
# Labelled pictures do not come with seerlab. Where `SEERLAB_DATA` names a folder with `cifar10/test.webp`, the next cell uses the first 500; elsewhere it says so.

# %%
IMAGES, SIDE, PER_ROW = 500, 32, 100
mosaic = Path(os.environ.get("SEERLAB_DATA", "")) / "cifar10" / "test.webp"
if mosaic.is_file():
    sheet = np.asarray(Image.open(mosaic).convert("RGB"))
    tiles = sheet.reshape(-1, SIDE, PER_ROW, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
    labels = np.arange(len(tiles)) % 10  # the classes take turns
    chosen = np.random.default_rng(0).permutation(len(tiles))[:IMAGES]
    four = sl.seernet.apply(net.model, net.preprocess(tiles[0]), bits=4)
    scores = sl.accuracy({"dense": net, "4 bits": four}, list(tiles[chosen]), labels[chosen], progress=False)
    drop = scores["top1"][0] - scores["top1"][1]
    beside(
        "SeerNet",
        "CIFAR-10, mean drop of top-1",
        "0.35 points",
        "reading note",
        f"{100 * drop:+.2f} points",
        f"{net.name}, {IMAGES} test images: too few for so small a drop",
    )
    shares = ["top1", "top1_low", "top1_high", "top5", "agreement"]
    display(scores.style.format(precision=3).format("{:.1%}", subset=shares).hide())
else:
    print("No labelled pictures here: set SEERLAB_DATA to compare accuracies.")

# %% [markdown]
# ## 8.3 DRFMP
# A map (one channel of a layer's output) that is zero everywhere need not be loaded by the next layer.
#
# > **Predict:** the abstract says that a tenth of the feature-map execution can go without loss. Which share of all values lies in zero maps here? And which share of the values is zero at all?

# %%
batch = torch.cat([net.preprocess(photograph, size=96) for photograph in photographs.values()])
pruned = sl.drfmp.apply(net.model, batch[:1], epsilon=0)
pruned.skip = False
pruned(batch)
here = pruned.summary()
condition = f"{net.name}, {len(batch)} photographs at 96×96, maps that are zero throughout (epsilon 0)"
beside(
    "DRFMP",
    "feature-map execution that can go without loss",
    "10 %",
    "abstract",
    f"{here['reduced_share']:.2%}",
    condition,
)
logs = [
    ("MobileNetV2", 0.388, 0.0781),
    ("AlexNet", 0.616, 0.0377),
    ("SqueezeNet 1.1", 0.538, 0.0031),
    ("VGG16", 0.459, 0.0019),
    ("ResNet-50, TinyNet (leaky)", 0.0, 0.0),
]
rows = [
    {"network": n, "where": "authors' logs, one picture", "zero values": z, "values in zero maps": m}
    for n, z, m in logs
]
rows.append(
    {
        "network": net.name,
        "where": "here",
        "zero values": here["within_share"],
        "values in zero maps": here["reduced_share"],
    }
)
pd.DataFrame(rows).style.format("{:.2%}", subset=["zero values", "values in zero maps"]).hide()

# %% [markdown]
# Zeros are many, zero *maps* few: a map with a single value left saves nothing. In the authors' logs figures like the abstract's occur for MobileNetV2 only (our reading), and a leaky activation leaves no zeros at all.
#
# ## 8.4 CPO and CPS
# Sparse maps are stored in a form that is convolved as it lies. The baseline is **im2col**, which copies the window of every output into a matrix, so that a 3×3 kernel stores each value about nine times. The abstract's figures are *up to*: 26 times and 63 % are maxima over layers, for a network it states up to 10 times and up to 9 %.
#
# > **Predict:** which of these carries over to a comparison with the raw map, or with torch's dense convolution?

# %%
sizes, ms = {}, {}
for name, layer in layers.items():
    if name == "features.0":  # it reads a photograph, which has no zeros
        continue
    geometry = (layer.kernel_size, layer.stride, layer.padding)
    sizes[name] = sl.encodings.encode(layer.input[0], *geometry, "cps").summary()
    packed = sl.encodings.pack_weights(layer.weight)
    calls = {
        method: lambda method=method, layer=layer, geometry=geometry, packed=packed: sl.encodings.encode(
            layer.input, *geometry, method
        ).conv2d(packed, layer.bias)
        for method in ("im2col", "cpo", "cps")
    }
    calls["dense"] = lambda layer=layer: layer.convolve(layer.input)
    ms[name] = {way: timing.median_ms for way, timing in interleaved(calls, repeats=3, warmup=1, threads=1).items()}
sizes, ms = pd.DataFrame.from_dict(sizes, orient="index"), pd.DataFrame.from_dict(ms, orient="index")
one_layer = (ms[["cpo", "cps"]].min(axis=1) / ms["im2col"]).min()
network_ms = ms[["im2col", "cpo", "cps"]].min(axis=1).sum()


def saved(share):
    """Share of the time that is saved, in words."""
    return f"{1 - share:.0%} saved" if share <= 1 else f"{share - 1:.0%} more"


condition = f"{CONDITIONS}, layers 2 to {len(layers)}"
timing = f"{condition}, one thread, encoding included"
best = sizes["cr_elements"].idxmax()
beside("CPO, CPS", "stored numbers against im2col, one layer", "up to 26 times fewer", "abstract",
       f"up to {sizes['cr_elements'].max():.0f} times (CPS, {best})", condition)  # fmt: skip
beside("CPO, CPS", "the same over the network", "up to 10 times fewer", "abstract",
       f"{sizes['units_im2col'].sum() / sizes['units'].sum():.0f} times", condition)  # fmt: skip
beside("CPO, CPS", "bytes against the raw map, the best layer", "not in the abstract", "",
       f"{sizes['raw_bytes'].max():.1f} times fewer", condition)  # fmt: skip
beside(
    "CPO, CPS", "time against im2col, one layer", "up to 63 % saved", "abstract", f"up to {saved(one_layer)}", timing
)
beside("CPO, CPS", "time of the network, the fastest of the three in each layer", "up to 9 % saved", "abstract",
       saved(network_ms / ms["im2col"].sum()), timing)  # fmt: skip
beside("CPO, CPS", "the same against torch's dense convolution", "not in the abstract", "",
       saved(network_ms / ms["dense"].sum()), timing)  # fmt: skip
pd.DataFrame(report[-6:])[["claim", "published", "here"]].style.hide()

# %% jupyter={"source_hidden": true}
say(
    f"Against im2col CPS stores {sizes['cr_elements'].min():.1f} to {sizes['cr_elements'].max():.1f} times fewer numbers, against the raw map {sizes['raw_bytes'].min():.1f} to {sizes['raw_bytes'].max():.1f} times fewer bytes: "
    f"im2col's own copies are most of the first factor. In time im2col is beaten in {int((ms[['cpo', 'cps']].min(axis=1) < ms['im2col']).sum())} of {len(ms)} layers, torch's dense convolution in "
    f"{int((ms[['cpo', 'cps']].min(axis=1) < ms['dense']).sum())}."
)

# %% [markdown]
# ## 8.5 SPL
# Each layer is predicted with its largest weights alone; a search chooses how many, as long as the accuracy holds. The paper's reductions of multiply-adds are at less than 1 % loss of accuracy on ImageNet. Without labels, the network's own dense answers on crops are the labels, so that "accuracy"
# is agreement; a loss of a tenth is allowed, on few crops. The search below is our reading of the abstract.
#
# > **Predict:** with a budget ten times as large, on a network a good deal smaller: is more saved than in the paper, or less?

# %%
generator = torch.Generator().manual_seed(0)
crops = []
for photograph in photographs.values():
    reduced = torch.nn.functional.interpolate(net.preprocess(photograph), size=(48, 48), mode="area")
    for _ in range(4):
        top, left = torch.randint(17, (2,), generator=generator).tolist()
        crops.append(reduced[..., top : top + 32, left : left + 32])
crops = torch.cat(crops)
with torch.inference_mode():
    answers = net.model(crops).argmax(1)
search = sl.spl.search(
    net.model, crops, answers, order="FDOS", max_drop=0.1, grid=(0.9, 0.8, 0.65, 0.5), progress=False
)
figures = search.summary()
condition = f"{net.name}, agreement on {len(crops)} unlabelled crops may fall by a tenth, the costliest layers first"
for network, share in (("AlexNet", "68.3 %"), ("VGG-16", "58.6 %"), ("ResNet-50", "59.5 %")):
    beside(
        "SPL",
        f"multiply-adds saved, {network}",
        share,
        "abstract, ImageNet, loss below 1 %",
        f"{figures['reduction']:.0%}",
        condition,
    )
display(pd.DataFrame(report[-3:])[["claim", "published", "here"]].style.hide())
say(
    f"The predicted network agrees on {figures['top1']:.0%} of the crops. A layer saves what its predictor leaves out, less what must be computed after all; three different networks stand beside one here, so no line can confirm or refute its neighbour."
)

# %% [markdown]
# ## 8.6 Regularity
# Weights are pruned one by one, in rows or in kernels. A product that finds its output already summed with its neighbours need not touch memory: a reference is saved. (The counter is our reading.)
#
# > **Predict:** the abstract says about two times fewer memory references for coarse grains. For rows or for kernels?

# %%
references = {"vector": [], "kernel": []}
for layer in list(layers.values())[1:]:
    prepared = sl.scnn.prepare(layer.input, layer.kernel_size, layer.stride, layer.padding)
    counted = {
        g: prepared.count(sl.regularity.prune(layer.weight, g, 0.5)).references for g in ("fine", "vector", "kernel")
    }
    for grain, found in references.items():
        found.append(counted["fine"] / counted[grain])
for grain, found in references.items():
    beside("Regularity", f"fewer references, {grain} against single weights", "about 2 times (coarse grains)", "abstract",
           f"{min(found):.1f} to {max(found):.1f} times", f"{CONDITIONS}, every layer but the first, at equal weight density")  # fmt: skip

display(pd.DataFrame(report[-2:])[["claim", "published", "here"]].style.hide())

# %% [markdown]
# Both factors are at equal density; where grains do equal harm coarser ones keep more weights, and the factors shrink (notebook 05).
#
# ## 8.7 The table

# %%
pd.set_option("display.max_colwidth", None)
pd.DataFrame(report).style.hide()

# %% [markdown]
# Ask of every line: smaller or faster *than what*? A mean or a maximum? Over which pictures? With the cost of predicting or encoding included? At equal density or at equal accuracy? Most of the distance between two columns lies in these
# questions.
#
# ## 8.8 Further questions
# * Which claims change most with the picture or its size? Change `"cat"` or 112 in the first cell.
# * Which of the claims is about *time*? What stands beside it as the baseline?
# * How many labelled pictures would you need to tell a drop of half a point from none?
