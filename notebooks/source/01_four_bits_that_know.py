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
# # 1 · Can four bits know what a ReLU will throw away?
#
# **About 20 minutes. You will**
# * predict which outputs of a layer will be zero with a copy that uses 4 bits instead of 32,
# * write the two steps of it yourself: the quantiser, and the mask with the BatchNorm folded in,
# * see where the copy errs, what an error costs, and what a right guess is worth in milliseconds.
#
# The idea is *SeerNet* (Cao et al., CVPR 2019): quantise the layer to few bits, run it, keep the signs, and compute in full only where the sign says so. We know the
# paper through reading notes, not by its sections: scales and rounding below are our reading.

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
from torch.nn.functional import conv2d


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


net = sl.load("vgg9_cifar10")
x = net.preprocess(sl.sample_images()["cat"])
layers = sl.conv_layers(net.model, x)

# %% [markdown]
# ## 1.1 A sign needs few bits
# To know whether a sum is positive one does not need the sum. With $b$ bits, a picture that is nowhere negative is scaled to the codes $0 \ldots 2^b - 1$, the weights to
# $-(2^{b-1} - 1) \ldots 2^{b-1} - 1$, and both are rounded:
#
# $$x_q = \mathrm{round}(s_x\, x), \quad s_x = \frac{2^b - 1}{\max |x|}, \qquad w_q = \mathrm{round}(s_w\, w), \quad s_w = \frac{2^{b-1} - 1}{\max |w|}.$$
#
# The sum of the codes' products is about $s_x s_w$ times the exact sum, and a positive factor changes no sign. The bias joins it as the code $\mathrm{round}(s_x s_w \cdot \text{bias})$. Take a layer small enough to work out by hand.
#
# > **Predict:** four outputs. For how many will the sign of the 4-bit sum be right?

# %%
picture = torch.tensor([[1.0, 0.5, 0.0], [0.2, 0.0, 0.9], [0.7, 0.3, 0.1]])
weights = torch.tensor([[0.8, -0.6], [-0.4, 0.3]])
bias = 0.05

scale_x = 15 / picture.max()
scale_w = 7 / weights.abs().max()
picture_codes = (picture * scale_x).round()
weight_codes = (weights * scale_w).round()
bias_code = (bias * scale_x * scale_w).round()

exact = conv2d(picture[None, None], weights[None, None])[0, 0] + bias
low_bit = conv2d(picture_codes[None, None], weight_codes[None, None])[0, 0] + bias_code
print("exact sums\n", exact.numpy().round(2), "\n4-bit sums\n", low_bit.int().numpy())

# %% jupyter={"source_hidden": true}
agree = (exact > 0) == (low_bit > 0)
odd = exact[~agree][0].item()
say(
    f"{agree.sum()} of {agree.numel()} agree. The other, {odd:.2f}, is so small that its copy is not positive and would be skipped: a **false skip** (false negative). The opposite "
    "error, computing a sum that the ReLU then discards, costs time but no accuracy."
)

# %% [markdown]
# ## 1.2 Exercise: the quantiser
# Write `quantise(values, bits, signed)` after the formulas above: whole numbers in the shape of `values`, scaled by the largest *absolute* value; largest code $2^{b-1} - 1$ if `signed`, else $2^b - 1$. A tensor of zeros gives zeros.


# %% exercise="quantise"
def quantise(values, bits, signed):
    """Codes of a tensor."""
    ### BEGIN SOLUTION
    limit = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    largest = values.abs().max()
    return torch.round(values * (limit / largest)) if largest > 0 else torch.zeros_like(values)
    ### END SOLUTION


# %% check="quantise"
verdict = sl.exercises.quantise.check(quantise)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 1.3 From low-bit sums to a mask
# Between the convolution and the ReLU stands a BatchNorm: with gain $\gamma$, shift $\beta$, mean $\mu$, variance $\sigma^2$ of each channel the ReLU reads
#
# $$y = \gamma\,\frac{s - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta.$$
#
# The mask is $y > 0$, not $s > 0$. Folding the BatchNorm into weights and bias *before* quantising is SeerNet's way (as a reading note has it); here you have sums of raw weights and fold it into the comparison.
#
# Each filter may have a scale of its own, $s_w[k]$: it multiplies all sums of channel *k* alike and changes no sign. Small filters then use all codes too.
#
# > **Predict:** does the BatchNorm matter? For how many outputs of a trained layer will the bare sign, $s > 0$, be the right mask?
#
# Write `needed(sums, scale_x, scale_w, bias, norm)`: whole-number sums (K, P, Q), which are $s_x\, s_w[k]$ times the exact ones without their bias; the number `scale_x`; `scale_w` (K,); `bias` (K,) of the convolution, not scaled;
# `norm`, a dict with `gain`, `shift`, `mean`, `variance`, each (K,), and the number `eps`. Return True where $y > 0$. (A gain may be below zero.)


# %% exercise="needed"
def needed(sums, scale_x, scale_w, bias, norm):
    """Outputs that are positive behind the BatchNorm."""
    ### BEGIN SOLUTION
    value = sums / (scale_x * scale_w[:, None, None]) + bias[:, None, None]
    spread = torch.sqrt(norm["variance"] + norm["eps"])[:, None, None]
    return (
        norm["gain"][:, None, None] * (value - norm["mean"][:, None, None]) / spread + norm["shift"][:, None, None] > 0
    )
    ### END SOLUTION


# %% check="needed"
verdict = sl.exercises.needed.check(needed)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# Now your two functions predict a layer of the trained network, `features.7`, in 4 bits:

# %%
layer = layers["features.7"]
truth = sl.seernet.predict(layer).truth[0]  # where y > 0 in full precision
if verdict and sl.exercises.quantise.check(quantise):
    conv, batch_norm = net.model.features[7], net.model.features[8]
    raw = conv.weight.detach()  # this convolution has no bias
    norm = {"gain": batch_norm.weight.detach(), "shift": batch_norm.bias.detach(), "mean": batch_norm.running_mean,
            "variance": batch_norm.running_var, "eps": batch_norm.eps}  # fmt: skip
    codes = torch.as_tensor(quantise(layer.input[0], 4, False)).float()
    filters = torch.stack([torch.as_tensor(quantise(one, 4, True)).float() for one in raw])
    sums = conv2d(codes[None], filters, padding=1)[0]
    mask = needed(sums, 15 / layer.input.max(), 7 / raw.abs().amax((1, 2, 3)), torch.zeros(len(raw)), norm)
    right, bare = ((torch.as_tensor(one).bool() == truth).float().mean().item() for one in (mask, sums > 0))
    say(
        f"Your mask is right for **{right:.1%}** of {truth.numel():,} outputs, the bare sign of the same sums for {bare:.1%}. No gain is below zero in this layer "
        f"({int((norm['gain'] < 0).sum())} of {len(raw)}): it is mean and shift that move the place where the sign changes."
    )
else:
    print("This cell waits for your quantise and needed.")

# %% [markdown]
# ## 1.4 All channels, and all bits
# `sl.MaskView` shows all channels of a layer (its BatchNorm folded in before quantising). Blue was kept rightly, grey skipped rightly; the two errors have colours of their own and a
# hatch. Move **bits** below and watch; press <kbd>Enter</kbd> on a channel and the arrow keys to ask one output for its two sums.
#
# > **Predict:** at how many bits will you start to see the errors by eye?

# %%
view = sl.MaskView(layer, bits=4)
view

# %%
rows = []
for bits in range(1, 9):
    figures = sl.seernet.predict(layer, bits=bits).summary()
    rows.append({"bits": bits, "false skips": figures["false_negative_share"], "computed for nothing": figures["false_positive_share"],
                 "mask right": figures["mask_accuracy"], "output error": figures["output_error"]})  # fmt: skip
by_bits = pd.DataFrame(rows)
display(by_bits.style.format("{:.2%}", subset=by_bits.columns[1:].tolist()).hide())

chart = go.Figure()
for column, colour, dash in [("false skips", "#D55E00", "solid"), ("computed for nothing", "#56B4E9", "dash")]:
    chart.add_scatter(x=by_bits["bits"], y=by_bits[column], name=column, line={"color": colour, "dash": dash})
chart.update_layout(
    title=f"Errors of the mask of {layer.name}, one photograph", xaxis_title="bits", yaxis_title="share of all outputs",
    yaxis_tickformat=".0%", height=300, template="plotly_white",
)  # fmt: skip
chart

# %% jupyter={"source_hidden": true}
by = by_bits.set_index("bits")
wrong = 1 - by["mask right"]
further = (wrong.loc[4:8].to_numpy() / wrong.loc[3:7].to_numpy()).mean()
say(
    f"From 3 bits on each further bit leaves {further:.0%} of the errors, on average. (*Output error* is the size of the difference that false skips make in the layer's output, as a share of the output's own size.) At 4 bits the mask is right for {by['mask right'][4]:.1%} of the outputs of this "
    "layer; the paper's mean over its networks is 96.5 %, as a reading note reports it (other networks, pictures and scales). "
    f"One bit errs {'less' if wrong.loc[1] < wrong.loc[2] else 'more'} than two ({wrong.loc[1]:.1%} and {wrong.loc[2]:.1%} wrong), but it is another thing: our one-bit form has only the *weights* in one bit and leaves the picture in full precision."
)

# %% [markdown]
# ## 1.5 What an error costs
# The low-bit sums only decide; they never become values. Whatever is *computed* is exact, so that the result of one layer can only be too small. Now every layer at once: `sl.seernet.apply` gives back a network with the same call; its first layer,
# which reads the picture itself, stays dense.
#
# > **Predict:** at how many bits does the network stop saying "cat"?

# %%
dense, predicted = layer.output, sl.seernet.forward(layer, bits=4)
print("never larger than the dense output:", bool((predicted <= dense + 1e-4).all()))

rows = []
with torch.inference_mode():
    for bits in (8, 6, 5, 4, 3, 2):
        answer = sl.seernet.apply(net.model, x, bits=bits)(x).softmax(1)[0]
        rows.append({"bits": bits, "answer": net.categories[answer.argmax()], "confidence": answer.max().item()})
answers = pd.DataFrame(rows)
answers.style.format({"confidence": "{:.0%}"}).hide()

# %% jupyter={"source_hidden": true}
same = answers[answers["answer"] == answers["answer"][0]]
say(
    f"Down to {same['bits'].min()} bits the answer is still *{answers['answer'][0]}*, with {same['confidence'].iloc[-1]:.0%} instead of {same['confidence'].iloc[0]:.0%}: what is skipped wrongly is mostly small, as in 1.1 (see the output error in 1.4). "
    "One picture proves nothing; seerlab's README has the table over all test images of CIFAR-10."
)

# %% [markdown]
# ## 1.6 What a right guess is worth
# The prediction is a whole convolution too, only in small integers. It pays if it is cheap and if enough is skipped. Both are measured, in turns in one process, beside three dense convolutions (torch in two layouts, and our own by
# Winograd's algorithm) and one that leaves out inputs that are zero; weight packing is done once and not included.
#
# > **Predict:** behind `features.7` stands a ReLU alone, behind `features.10` a max-pool as well. In which does predicting pay?

# %%
from seerlab.engine.timing import layer_timings

rows = []
for name in ("features.7", "features.10"):
    times = layer_timings(layers[name], bits=4)
    rows.append(
        {
            "layer": name,
            **{label: times.times[key].median_ms for key, label in times.LABELS.items() if key in times.times},
        }
    )
    print(f"{name}: {times.sentence}")
print(f"{times.threads} threads, medians of {times.times['seernet'].repeats} interleaved runs, in ms")
pd.DataFrame(rows).style.format("{:.1f}", subset=[c for c in rows[0] if c != "layer"]).hide()

# %% [markdown]
# The prediction multiplies for every output, whatever the picture; what it saves grows with what may go, and that is more before a max-pool. When sparse is slower, seerlab says so. Notebook 06 takes this apart.
#
# ## 1.7 If there is time: the winners of a max-pool
# Write `winners(sums)` for sums (K, P, Q) with P and Q even, before a ReLU and a 2×2 max-pool of stride 2. Return True for the outputs that are needed: in each window the largest, the first in reading order if several are equal, and
# only if it is above 0. (Low-bit sums are whole numbers: ties are common.)


# %% exercise="winners"
def winners(sums):
    """One place for each window, or none."""
    ### BEGIN SOLUTION
    largest, places = torch.nn.functional.max_pool2d(sums[None], 2, return_indices=True)
    mask = torch.zeros(len(sums), sums[0].numel(), dtype=torch.bool)
    mask.scatter_(1, places[0].flatten(1), (largest[0] > 0).flatten(1))
    return mask.reshape(sums.shape)
    ### END SOLUTION


# %% check="winners"
verdict = sl.exercises.winners.check(winners)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 1.8 Further questions
# * `sl.seernet.predict(layer, bits=4, rounding="floor").summary()`: what does rounding down do to the false skips? Why do the two errors not grow alike?
# * `fused=False` quantises the raw weights, with one scale for the whole layer. Is it worse because of the BatchNorm or because of the one scale? (`weight_scale="tensor"` changes the second alone.)
# * The mask keeps sums above 0. `margin=5` keeps those above −5 as well: how many false skips does it buy back, and for how much extra work? (A margin is our extension.)
# * `sl.Lab(net)` has every layer, photograph and setting beside each other; `sl.Lab(model, x)` takes your own.
