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
# # 6 · What the hardware does: why four fifths of zeros is not five times the speed
#
# **About 20 minutes. You will**
# * find out what this machine could do at best with each layer, and what it does,
# * measure at which share of computed outputs a sparse convolution begins to pay here,
# * see what is left of it in a whole network.
#
# The roofline model is that of Williams, Waterman and Patterson (*Communications of the ACM*, 2009). The times are this machine's: yours will differ, and so may your conclusions.

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

from seerlab.engine.bench_roofline import measured_roofs
from seerlab.engine.timing import layer_timings
from seerlab.kernels.simd import level
from seerlab.measure import interleaved


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


net = sl.load("vgg9_cifar10")
x = net.preprocess(sl.sample_images()["cat"])
layers = sl.conv_layers(net.model, x)
THREADS = torch.get_num_threads()
print(f"{THREADS} threads, {level()} kernels")

# %% [markdown]
# ## 6.1 The claim
# If a share *s* of the outputs is not needed, and skipping is free, the layer is $1 / (1 - s)$ times faster: 5 times at 80 %.
#
# > **Predict:** a 2×2 max-pool keeps one of four values, so a layer in front of one needs at most a quarter of its outputs. How many times faster will such a layer be, *everything included*? And the whole network?
#
# Write the two numbers down; they are what this notebook is about.
#
# ## 6.2 Two roofs
# A processor does at most so many operations a second, and its memory delivers at most so many bytes. A layer of MAC multiply-adds, two operations each, that moves $B$ bytes (input, weights and output, each once) takes at least
#
# $$t \ge \max\left(\frac{2\,\text{MAC}}{\text{peak}},\ \frac{B}{\text{bandwidth}}\right).$$
#
# **Exercise.** Write `roof_ms(macs, nbytes, gflops, gbytes)`: that time in milliseconds, with the roofs in 10⁹ operations and 10⁹ bytes per second.


# %% exercise="roof_ms"
def roof_ms(macs, nbytes, gflops, gbytes):
    """The shortest time of a layer, in ms."""
    ### BEGIN SOLUTION
    return max(2 * macs / (gflops * 1e6), nbytes / (gbytes * 1e6))
    ### END SOLUTION


# %% check="roof_ms"
verdict = sl.exercises.roof_ms.check(roof_ms)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# The roofs of this machine: a copy that no cache holds gives the bandwidth, a large matrix product the operations per second, or the fastest of the network's own layers if it does better.

# %%
rows = []
dense_calls = {}
for name, layer in layers.items():
    bytes_moved = 4 * (layer.input.numel() + layer.weight.numel() + layer.pre_activation.numel())
    conv = sl.prepare_conv2d(layer.weight, layer.bias, layer.stride, layer.padding, method="onednn")
    last = layer.input.contiguous(memory_format=torch.channels_last)
    dense_calls[name] = lambda conv=conv, last=last: conv(last)
    rows.append(
        {"layer": name, "macs": layer.macs, "nbytes": bytes_moved, "operations per byte": 2 * layer.macs / bytes_moved}
    )
dense = interleaved(dense_calls, repeats=5)
roofline = pd.DataFrame(rows)
roofline["ms"] = [dense[name].median_ms for name in roofline["layer"]]
roofline["GFLOP/s"] = 2e-6 * roofline["macs"] / roofline["ms"]
gflops, gbytes = measured_roofs()
gflops = max(gflops, roofline["GFLOP/s"].max())
ridge = gflops / gbytes
print(
    f"{gflops:.0f} GFLOP/s and {gbytes:.0f} GB/s. The two limits meet at {ridge:.0f} operations a byte, the ridge: with more, arithmetic limits a layer, with fewer, memory"
)

# %% [markdown]
# > **Predict:** are this network's layers limited by arithmetic or by memory? And if nine of ten multiplications were left out and all bytes still moved?

# %%
if verdict:
    roofline["ms at best"] = [roof_ms(row.macs, row.nbytes, gflops, gbytes) for row in roofline.itertuples()]
else:
    print("The column 'ms at best' waits for your roof_ms.")

chart = go.Figure()
chart.add_scatter(x=[1, ridge, 1000], y=[gbytes, gflops, gflops], mode="lines", name="roofs", line={"color": "#555555"})
chart.add_scatter(x=roofline["operations per byte"], y=roofline["GFLOP/s"], text=roofline["layer"], mode="markers", name="dense layers",
                  marker={"color": "#0072B2", "size": 9})  # fmt: skip
chart.update_layout(
    title=f"Layers of {net.name} under the roofs, {THREADS} threads", height=340, template="plotly_white",
    xaxis={"type": "log", "title": "operations per byte"}, yaxis={"type": "log", "title": "GFLOP/s"},
)  # fmt: skip
display(
    roofline.style.format("{:.2f}", subset=[c for c in roofline if "ms" in c])
    .format("{:.0f}", subset=["operations per byte", "GFLOP/s"])
    .hide()
)
chart

# %% jupyter={"source_hidden": true}
heavy = roofline[roofline["operations per byte"] > ridge]
say(
    f"{len(heavy)} of {len(roofline)} layers lie right of the ridge at {ridge:.0f} operations per byte: arithmetic limits them, and there leaving out work *can* save time. Leave out nine of ten multiplications while all bytes still move, and "
    f"the same layers have a tenth of the operations per byte: then {int((roofline['operations per byte'] / 10 > ridge).sum())} are still limited by arithmetic. **The sparser a layer, the nearer "
    "it comes to waiting for memory, where leaving out more work saves nothing.** That is one reason why the factor of the claim is not reached. The other stands in the table: the dense layers reach "
    f"{roofline['GFLOP/s'].min() / gflops:.0%} to {roofline['GFLOP/s'].max() / gflops:.0%} of the upper roof, and a kernel that leaves out work would have to do as well."
)

# %% [markdown]
# ## 6.3 The price of irregular work
# A dense kernel keeps a block of outputs in registers and reuses every loaded weight many times. If only some outputs are wanted, much of that reuse is gone. We compute a share *d* of the outputs of `features.10`, chosen at random, with a kernel that takes such a **mask**; and once those that SeerNet marks.
#
# > **Predict:** at *d* = 50 %, how much of the time of a full mask is left? Is a real mask faster or slower than a random one of the same density?

# %%
layer = layers["features.10"]
last = layer.input.contiguous(memory_format=torch.channels_last)
shape = layer.pre_activation.shape
generator = torch.Generator().manual_seed(0)
masked = sl.prepare_conv2d(layer.weight, layer.bias, layer.stride, layer.padding, method="masked")
calls = {"dense": dense_calls["features.10"]}
DENSITIES = (1.0, 0.75, 0.5, 0.25, 0.1)
for d in DENSITIES:
    mask = torch.rand(shape, generator=generator) < d
    calls[d] = lambda mask=mask: masked(last, mask=mask)
real = sl.seernet.predict(layer, bits=4).mask
real_d = real.float().mean().item()
alike = torch.rand(shape, generator=generator) < real_d
calls["real"] = lambda: masked(last, mask=real)
calls["random"] = lambda: masked(last, mask=alike)
times = {name: timing.median_ms for name, timing in interleaved(calls, repeats=5).items()}
table = pd.DataFrame(
    [
        {
            "computed, d": d,
            "ms": times[d],
            "of the full mask": times[d] / times[1.0],
            "of dense": times[d] / times["dense"],
        }
        for d in DENSITIES
    ]
)
table.style.format("{:.2f}").format("{:.0%}", subset=["computed, d", "of the full mask", "of dense"]).hide()

# %% jupyter={"source_hidden": true}
say(
    f"With every output wanted the masked kernel takes {times[1.0] / times['dense']:.1f} times the time of the dense one: that is what irregular work costs. At half of the outputs {times[0.5] / times[1.0]:.0%} of its own time is left, at a tenth {times[0.1] / times[1.0]:.0%}, "
    f"which is {times[0.1] / times['dense']:.0%} of the dense time. The real mask (d = {real_d:.0%}) takes {times['real']:.2f} ms, a random one of the same density {times['random']:.2f} ms."
)

# %% [markdown]
# ## 6.4 Break-even
# Predicting takes $t_p$ before anything is skipped. If the masked kernel takes $t_s$ for all outputs, take a share *d* of them to need $d \cdot t_s$ (a simplification: in the table above the time falls more slowly than *d*). Sparse pays while
#
# $$t_p + d \cdot t_s \le t_\text{dense} .$$
#
# **Exercise.** Write `break_even(dense_ms, prediction_ms, sparse_ms)`, the three times in the formula ($t_\text{dense}$, $t_p$, $t_s$): the largest *d*, from 0 to 1, at which it pays; 0 if it never does.


# %% exercise="break_even"
def break_even(dense_ms, prediction_ms, sparse_ms):
    """The largest share of computed outputs that pays."""
    ### BEGIN SOLUTION
    return min(1.0, max(0.0, (dense_ms - prediction_ms) / sparse_ms))
    ### END SOLUTION


# %% check="break_even"
verdict = sl.exercises.break_even.check(break_even)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# Three layers in front of a max-pool, predicted by SeerNet in 4 bits. The last column is your function's answer, with the $t_s$ that makes $d \cdot t_s$ the measured time: trust it near that *d* only. Sparse pays where *computed* lies below it.
#
# > **Predict:** for which of the three does it pay here? The network's maps become smaller and its channels more from one to the next.

# %%
rows = []
for name in ("features.3", "features.10", "features.17"):
    timed = layer_timings(layers[name], bits=4)
    predict_ms, masked_ms = timed.times["predict"].median_ms, timed.times["masked"].median_ms
    best = timed.times[timed.best_dense].median_ms
    d = 1 - timed.predicted_sparsity
    row = {"layer": name, "best dense, ms": best, "predicting, ms": predict_ms, "computing, ms": masked_ms, "in all, ms": timed.times["seernet"].median_ms,
           "claimed, times": 1 / d, "measured, times": timed.speed_up, "computed, d": d}  # fmt: skip
    if verdict:
        row["pays up to d"] = break_even(best, predict_ms, masked_ms / d)  # masked_ms is for a share d
    rows.append(row)
pays = pd.DataFrame(rows)
shares = [c for c in pays if c.startswith(("computed", "pays"))]
pays.style.format("{:.2f}", subset=pays.columns[1:].tolist()).format("{:.0%}", subset=shares).hide()

# %% jupyter={"source_hidden": true}
top = pays.loc[pays["claimed, times"].idxmax()]
paying = [f"`{row['layer']}`" for row in pays.to_dict("records") if row["measured, times"] > 1]
say(
    f"In these measurements predicting pays in {', '.join(paying) or 'none of the three'}. At `{top['layer']}` {1 - top['computed, d']:.0%} of the outputs are skipped. The claim of 6.1 says {top['claimed, times']:.1f} times; measured, with everything included, it is **{top['measured, times']:.2f} times** the speed of the best dense way. Predicting alone takes "
    f"{top['predicting, ms'] / top['best dense, ms']:.0%} of the dense time. A reading note of SeerNet reports end-to-end gains of 22.2 to 40.1 % on CPUs: a part, not a multiple."
)

# %% [markdown]
# ## 6.5 A live look
# Choose *time*: the columns are measured one after the other, every method in turn. Open a layer with <kbd>Enter</kbd> to see its mask.
#
# > **Predict:** which kind of method wins most often: dense, skipping zero inputs, or predicting? Does it agree with the table of 6.4?

# %%
view = sl.NetworkView(net, sl.sample_images()["cat"])
view

# %% [markdown]
# ## 6.6 And the network?
# Layers that gain nothing stay as they are, and so does what is not a convolution. With layer times $t_i$ and factors $f_i$ the network becomes $\sum t_i / \sum (t_i / f_i)$ times faster (Amdahl's law). Take the dense times of 6.2, and let the layers in front of a max-pool alone gain:

# %%
pooled = roofline["layer"].map(lambda name: "max_pool" in layers[name].followed_by)
layer_ms = roofline["ms"]
computed = pd.Series(1.0, index=layer_ms.index)
for i in roofline.index[pooled]:
    computed[i] = sl.seernet.predict(layers[roofline["layer"][i]]).truth.float().mean().item()
claimed = layer_ms.sum() / (layer_ms * computed).sum()
best = max(1.0, pays["measured, times"].max())
gained = layer_ms.sum() / (layer_ms[~pooled].sum() + layer_ms[pooled].sum() / best)
say(
    f"{pooled.sum()} of {len(layer_ms)} convolutions stand in front of a max-pool and take {layer_ms[pooled].sum() / layer_ms.sum():.0%} of the dense time. As claimed, all convolutions together would become {claimed:.2f} times faster. "
    f"With the best factor measured above, {best:.2f}, for each of them it is {gained:.2f} times, and the pools, the linear layer and the interpreter come on top. Compare this with your second number."
)

# %% [markdown]
# ## 6.7 Further questions
# * `torch.set_num_threads(1)`, then run again: which roof moved, and does sparse pay earlier or later?
# * Zeros among the *inputs* can be skipped as well, exactly and without a prediction. When would you expect that to win? (`method="input_sparse"` in `sl.prepare_conv2d`.)
# * Weights in 8 bits move a quarter of the bytes. Why does that help a layer left of the ridge more than one right of it?
# * The best *dense* method is not always the same. What would the table of 6.4 say against torch's default layout alone?
