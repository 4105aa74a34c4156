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
# # 1 · What a ReLU throws away, and whether four bits can know it
#
# **About 15 minutes. You will**
# * count how much of a network's work ends as zeros,
# * predict those zeros with a copy of the layer that uses 4 bits instead of 32,
# * see where the copy errs, what an error costs, and what a right guess is worth in milliseconds.
#
# The idea is *SeerNet* (Cao et al., CVPR 2019). Everything below runs on a real photograph and a real trained network that come with
# seerlab; nothing is downloaded. Run each cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>.

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
from IPython.display import display
from PIL import Image

# %% [markdown]
# ## 1.1 A network and a picture
# `vgg9_cifar10` is a small VGG: eight 3×3 convolutions, each with BatchNorm and ReLU, a max-pool after every second one.

# %%
net = sl.load("vgg9_cifar10")
photograph = sl.sample_images()["cat"]
x = net.preprocess(photograph)  # (1, 3, 224, 224)

display(Image.fromarray(photograph))
with torch.inference_mode():
    shares = net.model(x).softmax(1)[0]
print(f"The network says: {net.categories[shares.argmax()]} ({shares.max():.0%})")

# %% [markdown]
# ## 1.2 Predict first
# Each output of a convolution is a sum of hundreds of products. The ReLU behind it replaces every negative sum by 0, and a max-pool keeps one
# value of four.
#
# > **Before you run the next cell:** what share of all those sums do you think is thrown away, in the first layer and in a deep one? Write two numbers down.

# %%
layers = sl.conv_layers(net.model, x)
rows = []
for name, layer in layers.items():
    truth = sl.seernet.predict(layer).truth  # True where the output is needed
    rows.append(
        {
            "layer": name,
            "followed by": " + ".join(layer.followed_by),
            "outputs": truth.numel(),
            "thrown away": 1 - truth.float().mean().item(),
            "million multiply-adds": layer.macs / 1e6,
        }
    )
table = pd.DataFrame(rows)
table.style.format({"thrown away": "{:.0%}", "outputs": "{:,}", "million multiply-adds": "{:.0f}"}).hide()

# %%
wasted = (table["thrown away"] * table["million multiply-adds"]).sum() / table["million multiply-adds"].sum()
print(f"Of all multiply-adds of this network on this picture, {wasted:.0%} go into sums that are then discarded.")

# %% [markdown]
# Was it more than you wrote down? The ReLU alone discards anything from a quarter to three quarters here; where a 2×2 max-pool follows, at least
# 75 % must go, whatever the picture.
#
# The catch: *which* sums are discarded depends on the picture. To skip them one would have to know them beforehand.

# %% [markdown]
# ## 1.3 A sign needs few bits
# To know whether a sum is positive one does not need the sum. Take a layer small enough to work out by hand: one 3×3 picture, one 2×2 filter.
# SeerNet rounds picture and filter to small integers and adds those up. (Scales and rounding are our reading of the paper.)

# %%
picture = torch.tensor([[1.0, 0.5, 0.0], [0.2, 0.0, 0.9], [0.7, 0.3, 0.1]])
weights = torch.tensor([[0.8, -0.6], [-0.4, 0.3]])
bias = 0.05

scale_x = 15 / picture.max()  # 4 bits without a sign: 0 to 15
scale_w = 7 / weights.abs().max()  # 4 bits with a sign: -7 to 7
picture_codes = (picture * scale_x).round()
weight_codes = (weights * scale_w).round()
bias_code = (bias * scale_x * scale_w).round()

exact = torch.nn.functional.conv2d(picture[None, None], weights[None, None])[0, 0] + bias
low_bit = torch.nn.functional.conv2d(picture_codes[None, None], weight_codes[None, None])[0, 0] + bias_code
print("exact sums\n", exact.numpy().round(2), "\n4-bit sums\n", low_bit.int().numpy())

# %% [markdown]
# Three of the four signs agree. The fourth, 0.02, is so small that its copy comes out as 0 and would be skipped: a **false skip** (a false
# negative). The opposite error, computing a sum that the ReLU then discards, costs time but no accuracy.

# %% [markdown]
# ## 1.4 The same on a photograph
# `sl.MaskView` shows all channels of a layer. Blue was kept rightly, grey skipped rightly; the two errors have colours of their own and a
# hatch. Move **bits** below and watch; press <kbd>Enter</kbd> on a channel and the arrow keys to ask one output for its two sums.
#
# > **Predict:** at how many bits will you start to see the errors by eye?

# %%
layer = layers["features.7"]
view = sl.MaskView(layer, bits=4)
view

# %%
rows = []
for bits in range(1, 9):
    figures = sl.seernet.predict(layer, bits=bits).summary()
    rows.append({"bits": bits, "false skips": figures["false_negative_share"], "computed for nothing": figures["false_positive_share"],
                 "output error": figures["output_error"]})  # fmt: skip
by_bits = pd.DataFrame(rows)
by_bits.style.format("{:.2%}", subset=["false skips", "computed for nothing", "output error"]).hide()

# %%
chart = go.Figure()
for column, colour, dash in [("false skips", "#D55E00", "solid"), ("computed for nothing", "#56B4E9", "dash")]:
    chart.add_scatter(x=by_bits["bits"], y=by_bits[column], name=column, line={"color": colour, "dash": dash})
chart.update_layout(
    title=f"Errors of the mask of {layer.name}, one photograph", xaxis_title="bits", yaxis_title="share of all outputs",
    yaxis_tickformat=".0%", height=320, template="plotly_white",
)  # fmt: skip
chart

# %% [markdown]
# Three things to take away. From 3 bits on the errors fall by about half with each bit. At 4 bits the mask is right for more than 97 % of the outputs of
# this layer; the mean mask accuracy of the paper over its networks is 96.5 %, as reported in a reading note of the paper (networks, pictures and scales
# differ from ours). And one bit beats two: our one-bit form has only the *weights* in one bit and leaves the picture in full precision.

# %% [markdown]
# ## 1.5 What an error costs
# Whatever the mask says, a *computed* output is exact: the low-bit sums only decide, they never become values. So the result can only be too small.

# %%
dense = layer.output
predicted = sl.seernet.forward(layer, bits=4)
print("never larger than the dense output:", bool((predicted <= dense + 1e-4).all()))
print(f"relative error of the layer's output: {(predicted - dense).norm() / dense.norm():.2%}")

# %% [markdown]
# Now every layer at once. `sl.seernet.apply` gives back a network with the same call; its first layer, which reads the picture itself, stays dense.

# %%
rows = []
with torch.inference_mode():
    for bits in (8, 6, 5, 4, 3, 2):
        answer = sl.seernet.apply(net.model, x, bits=bits)(x).softmax(1)[0]
        rows.append({"bits": bits, "answer": net.categories[answer.argmax()], "confidence": answer.max().item()})
pd.DataFrame(rows).style.format({"confidence": "{:.0%}"}).hide()

# %% [markdown]
# One picture proves nothing. Over all 10 000 test images of CIFAR-10 the README has the table.

# %% [markdown]
# ## 1.6 What a right guess is worth
# The prediction is a whole convolution too, only in small integers. It pays if it is cheap and if enough is skipped. We measure both, beside torch's
# dense convolution, interleaved in one process; weight packing is done once and not included.

# %%
from seerlab.engine.timing import layer_timings

rows = []
for name in ("features.7", "features.10"):
    times = layer_timings(layers[name], bits=4)
    rows.append({"layer": name, **{label: times.times[key].median_ms for key, label in times.LABELS.items()}})
    print(f"{name}: {times.sentence}")
print(f"{times.threads} threads, medians of {times.times['seernet'].repeats} interleaved runs, in ms")
pd.DataFrame(rows).style.format("{:.1f}", subset=[c for c in rows[0] if c != "layer"]).hide()

# %% [markdown]
# Compare the two layers: half of the outputs skipped is hardly enough to pay for the prediction; behind a max-pool, where nine of ten can go, it is another
# matter. When sparse is slower, seerlab says so.

# %% [markdown]
# ## 1.7 Exercise
# How many bits does `features.14` need so that **fewer than 1 % of its outputs are false skips**? Set `my_bits` to the smallest number that is
# enough. (`sl.seernet.predict(layer, bits=...)` and its `summary()` are all you need.)

# %%
my_bits = None  # your answer


# %%
def check_my_bits(answer):
    if answer is None:
        return "Not yet: set my_bits in the cell above, then run this one again."
    if answer not in range(1, 9):
        return f"{answer!r} is not a number of bits seerlab can use; choose 1 to 8."
    share = [sl.seernet.predict(layers["features.14"], bits=b).summary()["false_negative_share"] for b in range(1, 9)]
    if share[answer - 1] >= 0.01:
        return f"At {answer} bits {share[answer - 1]:.2%} are false skips: still too many. One bit more halves them, roughly."
    if any(s < 0.01 for s in share[: answer - 1]):
        return f"{answer} bits are enough, but not the fewest: look at false_negative_share, not at prediction_error, which adds the harmless errors."
    return f"Right: {answer} bits give {share[answer - 1]:.2%} false skips."


print(check_my_bits(my_bits))

# %% [markdown]
# <details><summary>An answer, and why</summary>
#
# ```python
# shares = {b: sl.seernet.predict(layers["features.14"], bits=b).summary()["false_negative_share"] for b in range(1, 9)}
# my_bits = min(b for b, share in shares.items() if share < 0.01)
# ```
# The paper recommends 4 bits for whole networks, as reported in a reading note: a few false skips per hundred outputs are mostly small
# values, and the next layers forgive them.
# </details>

# %% [markdown]
# ## 1.8 The whole lab
# Every network, layer and photograph, with the figures beside the picture. Your own: `sl.Lab(model, x)`.

# %%
lab = sl.Lab(net)
lab
