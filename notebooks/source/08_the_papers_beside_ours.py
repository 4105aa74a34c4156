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
# **About 15 minutes. You will**
# * read what five papers report, and where each figure was found,
# * set beside it what comes out here, with the conditions that differ,
# * learn how sure a counted accuracy is.
#
# Published figures are quoted, with their source; everything in a column *here* is computed in this notebook, on one small network (`vgg9_cifar10`) and the sample photographs. Networks, pictures and machines differ from the papers': the table shows **what kind of quantity each claim is**, not who is
# right. Larger networks and all test images are in `benchmarks/README.md` of the source.

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
# > **Predict:** the paper's mask accuracy is a mean over layers of ImageNet networks. Will a small CIFAR-10 network's mask be better or worse?

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
pd.DataFrame(report[-3:])[["claim", "published", "here"]].style.hide()

# %% [markdown]
# ## 8.2 How sure is an accuracy?
# "Mean drop 0.35 % on CIFAR-10" (reading note of SeerNet). To see a drop that small one needs many pictures. With *p* = right / *n* and *z* = 1.96, Wilson's 95 % interval of the share (Wilson, 1927) is
#
# $$\frac{p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}} .$$
#
# > **Predict:** 20 of 20 pictures are right. What is the lower end?
#
# **Exercise.** Write `interval(right, images)`: the lower and the upper end.


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
        print(f"88 % right of {images:6}: {low:.1%} to {high:.1%}, half as wide as {(high - low) / 2:.2%}")
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
    display(scores.style.format("{:.1%}", subset=["top1", "top1_low", "top1_high", "agreement"]).hide())
else:
    print("No labelled pictures here: set SEERLAB_DATA to compare accuracies.")

# %% [markdown]
# ## 8.3 DRFMP
# > **Predict:** the abstract speaks of a tenth of the feature-map execution. Which share of the values lies in zero maps here?

# %%
batch = torch.cat([net.preprocess(photograph, size=96) for photograph in photographs.values()])
pruned = sl.drfmp.apply(net.model, batch[:1], epsilon=0)
pruned.skip = False
pruned(batch)
here = pruned.summary()
condition = f"{net.name}, {len(batch)} photographs at 96×96, epsilon 0, rule v1"
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
# In the authors' logs figures like the abstract's occur for MobileNetV2 only (our reading): narrow networks with channels that are dead on every picture.
#
# ## 8.4 CPO and CPS
# The abstract's figures are *up to*: maxima over layers, against im2col.
#
# > **Predict:** which of these carries over to a comparison with torch's dense convolution, which lowers nothing?

# %%
sizes, encoded = {}, {}
for name, layer in layers.items():
    if name != "features.0":
        stored = sl.encodings.encode(layer.input[0], layer.kernel_size, layer.stride, layer.padding, "cps")
        sizes[name] = stored.summary()
best = max(sizes, key=lambda name: sizes[name]["cr_elements"])
beside(
    "CPO, CPS",
    "stored numbers against im2col, one layer",
    "up to 26 times fewer",
    "abstract",
    f"up to {sizes[best]['cr_elements']:.0f} times ({best})",
)
beside(
    "CPO, CPS",
    "the same layer against the raw map, bytes",
    "not in the abstract",
    "",
    f"{sizes[best]['raw_bytes']:.1f} times",
)

layer = layers[best]
packed = sl.encodings.pack_weights(layer.weight)
geometry = (layer.kernel_size, layer.stride, layer.padding)
calls = {
    method: lambda method=method: sl.encodings.encode(layer.input, *geometry, method).conv2d(packed, layer.bias)
    for method in ("im2col", "cpo", "cps")
}
calls["dense"] = lambda: torch.nn.functional.conv2d(layer.input, layer.weight, layer.bias, layer.stride, layer.padding)
ms = {name: timing.median_ms for name, timing in interleaved(calls, repeats=7, threads=1).items()}
fastest = min(ms["cpo"], ms["cps"])


def saved(against):
    """Share of the time that is saved, in words."""
    share = 1 - fastest / ms[against]
    return f"{share:.0%} saved" if share >= 0 else f"{-share:.0%} more"


condition = f"{CONDITIONS}, {best}, one thread"
beside("CPO, CPS", "time against im2col, one layer", "up to 63 % saved", "abstract", saved("im2col"), condition)
beside("CPO, CPS", "time against torch's dense convolution", "not in the abstract", "", saved("dense"), condition)
pd.DataFrame(report[-4:])[["claim", "published", "here"]].style.hide()

# %% [markdown]
# ## 8.5 SPL
# The paper's reductions of multiply-adds are at less than 1 % loss of accuracy on ImageNet. Without labels, the network's own dense answers on crops are the labels, so that "accuracy" is agreement; a loss of a tenth is allowed, on few crops.

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
condition = f"{net.name}, agreement on {len(crops)} unlabelled crops may fall by a tenth, order FDOS"
for network, share in (("AlexNet", "68.3 %"), ("VGG-16", "58.6 %"), ("ResNet-50", "59.5 %")):
    beside(
        "SPL",
        f"multiply-adds saved, {network}",
        share,
        "abstract, ImageNet, loss below 1 %",
        f"{figures['reduction']:.0%}",
        condition,
    )

# %% [markdown]
# ## 8.6 Regularity
# > **Predict:** the abstract says about two times fewer memory references for coarse grains. For rows or for kernels? At which activation density?

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

# %% [markdown]
# ## 8.7 The table

# %%
pd.set_option("display.max_colwidth", None)
pd.DataFrame(report).style.hide()

# %% [markdown]
# Ask of every line: smaller or faster *than what*? A mean or a maximum? Over which pictures? With the cost of predicting or encoding included? At equal density or at equal accuracy? Most of the distance between two columns lies in these
# questions.
#
# ## 8.8 Further questions
# * Which claims would change most with a larger network? Try `sl.load("squeezenet1_1")` in the first cell (it downloads once, or reads `SEERLAB_DATA`).
# * Which of the claims is about *time*? What stands beside it as the baseline?
# * How many labelled pictures would you need to tell a drop of half a point from none?
