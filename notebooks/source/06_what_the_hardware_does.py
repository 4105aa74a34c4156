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
# > **Predict:** this network's layers behind a max-pool need at most a quarter of their outputs. How many times faster will such a layer be, *everything included*? And the whole network?
#
# Write the two numbers down; they are what this notebook is about.
#
# ## 6.2 Two roofs
# A processor does at most so many operations a second, and its memory delivers at most so many bytes. A layer with $2 \cdot \text{MAC}$ operations and $B$ bytes (input, weights and output, each once) takes at least
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
# The roofs of this machine, from a large matrix product and from a copy that no cache holds:

# %%
gflops, gbytes = measured_roofs()
print(
    f"{gflops:.0f} GFLOP/s and {gbytes:.0f} GB/s: a layer needs {gflops / gbytes:.0f} operations a byte to be limited by arithmetic"
)

# %% [markdown]
# > **Predict:** are this network's layers limited by arithmetic or by memory? And which would be if nine of ten multiplications were left out and all bytes still moved?

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
if verdict:
    roofline["ms at best"] = [roof_ms(row.macs, row.nbytes, gflops, gbytes) for row in roofline.itertuples()]
else:
    print("The column 'ms at best' waits for your roof_ms.")

chart = go.Figure()
ridge = gflops / gbytes
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
    "it comes to waiting for memory, where leaving out more work saves nothing.** That is one reason why the factor of the claim is not reached."
)

# %% [markdown]
# ## 6.3 The price of irregular work
# A dense kernel keeps a block of outputs in registers and reuses every loaded weight many times. If only some outputs are wanted, much of that reuse is gone. We compute `features.10` with random masks of several densities.
#
# > **Predict:** at a density of one half, how much of the time of a full mask is left?

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
    f"With every output wanted the masked kernel takes {times[1.0] / times['dense']:.1f} times the time of the dense one: that is what irregular work costs. At a tenth of the outputs {times[0.1] / times[1.0]:.0%} of its own time are left, "
    f"and {times[0.1] / times['dense']:.0%} of the dense time. These masks are random; real ones have patterns, which help a little."
)

# %% [markdown]
# ## 6.4 Break-even
# Predicting takes $t_p$ before anything is skipped, and then a share *d* of the outputs takes $d \cdot t_s$. Sparse pays while
#
# $$t_p + d \cdot t_s \le t_\text{dense} .$$
#
# **Exercise.** Write `break_even(dense_ms, prediction_ms, sparse_ms)`: the largest *d*, from 0 to 1, at which it does; 0 if it never does.


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
# > **Predict:** for which of these layers does predicting in 4 bits pay here?

# %%
rows = []
for name in ("features.3", "features.10", "features.17"):
    timed = layer_timings(layers[name], bits=4)
    predict_ms, masked_ms = timed.times["predict"].median_ms, timed.times["masked"].median_ms
    best = timed.times[timed.best_dense].median_ms
    d = 1 - timed.predicted_sparsity
    row = {"layer": name, "best dense, ms": best, "predicting, ms": predict_ms, "computing, ms": masked_ms, "in all, ms": timed.times["seernet"].median_ms,
           "computed, d": d, "claimed": 1 / d, "measured": timed.speed_up}  # fmt: skip
    if verdict:
        row["pays up to d"] = break_even(best, predict_ms, masked_ms / d)
    rows.append(row)
pays = pd.DataFrame(rows)
shares = [c for c in pays if c.startswith(("computed", "pays"))]
pays.style.format("{:.2f}", subset=pays.columns[1:].tolist()).format("{:.0%}", subset=shares).hide()

# %% jupyter={"source_hidden": true}
top = pays.loc[pays["claimed"].idxmax()]
say(
    f"At `{top['layer']}` {1 - top['computed, d']:.0%} of the outputs are skipped. The claim of 6.1 says {top['claimed']:.1f} times; measured, with everything included, it is **{top['measured']:.2f} times** the speed of the best dense way. Predicting alone takes "
    f"{top['predicting, ms'] / top['best dense, ms']:.0%} of the dense time. A reading note of SeerNet reports end-to-end gains of 22.2 to 40.1 % on CPUs: gains of a part, not of a multiple."
)

# %% [markdown]
# ## 6.5 A live look
# Which method is the fastest in which layer, here and now? Choose *time*: columns are measured one after the other. Open a layer to see its mask.

# %%
view = sl.NetworkView(net, sl.sample_images()["cat"])
view

# %% [markdown]
# ## 6.6 And the network?
# Layers that gain nothing stay as they are, and what is not a convolution stays as well. With layer times $t_i$ and factors $f_i$ the network becomes $\sum t_i / \sum (t_i / f_i)$ times faster (Amdahl's law). Take the dense times of 6.2, and let the layers behind a max-pool alone gain:

# %%
claimed, total = 0.0, roofline["ms"].sum()
for row in roofline.itertuples():
    needed = sl.seernet.predict(layers[row.layer]).truth.float().mean().item()
    claimed += row.ms * (needed if "max_pool" in layers[row.layer].followed_by else 1)
best = 1 + max(0.0, pays["measured"].max() - 1)
pooled = roofline["layer"].map(lambda name: "max_pool" in layers[name].followed_by)
real = roofline["ms"][~pooled].sum() + roofline["ms"][pooled].sum() / best
say(
    f"As claimed, those layers would make all convolutions together {total / claimed:.2f} times faster. With the best factor measured above, {best:.2f}, for each of them it is {total / real:.2f} times, and the pools, "
    "the linear layer and the interpreter come on top. Compare this with your second number."
)

# %% [markdown]
# ## 6.7 Further questions
# * `torch.set_num_threads(1)`, then run again: which roof moved, and does sparse pay earlier or later?
# * Zeros among the *inputs* can be skipped as well, exactly and without a prediction. When would you expect that to win? (`method="input_sparse"` in `sl.prepare_conv2d`.)
# * Weights in 8 bits move a quarter of the bytes. Why does that help a layer left of the ridge more than one right of it?
# * The best *dense* method is not always the same. What would the table of 6.4 say against torch's default layout alone?
