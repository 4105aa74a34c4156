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
# # 3 · Storing a map once, and convolving it as it lies
#
# **About 20 minutes. You will**
# * count how often the usual way to convolve copies each number of a map,
# * write two formats that store a sparse map: a bit for every element, and CPO,
# * see on a real network which format saves bytes, which saves time, and which saves only against a straw man.
#
# CPO and CPS are from *High Performance Convolution Using Sparsity and Patterns for Inference in Deep Convolutional Neural Networks* (arXiv 2104.08314, 2021). The two ideas are in its abstract: store each overlapped non-zero
# once, and compress neighbouring index positions. Arrays and size formulas follow the authors' public code; the body of the paper was not consulted, so no section can be named.

# %%
try:
    import seerlab as sl
except ImportError as error:
    raise SystemExit(
        f"seerlab is not ready in this kernel ({error}). Close this, run `make lab` in its folder and open the notebook again."
    ) from error

import pandas as pd
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


# %% [markdown]
# ## 3.1 A map of 25 numbers
# One channel, 5×5; one 3×3 filter, stride 1, no padding. The usual way to compute this fast is **im2col**: write the nine numbers under the filter as one row, for each of the outputs, and do one matrix product.
#
# > **Predict:** the map has 25 numbers. How many does im2col write? How often does it write the one in the middle?

# %%
picture = torch.tensor(
    [
        [0.0, 1, 0, 2, 0],
        [3, 4, 5, 6, 0],
        [0, 7, 0, 8, 0],
        [9, 10, 11, 0, 12],
        [0, 0, 13, 14, 15],
    ]
)
kernel = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
dense = F.conv2d(picture[None, None], kernel[None, None])[0, 0]

lowered = torch.stack([picture[y : y + 3, x : x + 3].reshape(9) for y in range(3) for x in range(3)])
copies = F.fold(torch.ones(1, 9, 9), output_size=5, kernel_size=3)[0, 0]
print(lowered.int().numpy(), "\n\ncopies of each number:\n", copies.int().numpy())
assert torch.equal((lowered @ kernel.reshape(9)).reshape(3, 3), dense)

# %% jupyter={"source_hidden": true}
say(
    f"{lowered.numel()} numbers for {picture.numel()}, {int((lowered == 0).sum())} of them zero; the middle one {int(copies.max())} times. In a large map nearly every number is written nine times. That is im2col's own redundancy and has "
    'nothing to do with zeros: keep it in mind whenever you read "N times smaller than im2col".'
)

# %% [markdown]
# ## 3.2 A bit for every element
# **ZVC** (zero-value compression, from cDMA, arXiv 1705.01626; the layout is ours) stores a bit per element, "zero or not", and the non-zeros, *nnz* of them, in 4 bytes each:
#
# $$\text{bytes} = 4\left\lceil \tfrac{CHW}{32} \right\rceil + 4\,nnz .$$
#
# **Exercise.** Write `zvc(image)` for a map (C, H, W), which returns `words, values`. Elements are numbered by channel, row, column. Bit *b* of word *w*, which is worth $2^b$, is 1 if element 32 *w* + *b* is not zero; the last word is filled up with
# zeros. (Words are whole numbers from 0 to $2^{32} - 1$.)


# %% exercise="zvc"
def zvc(image):
    """Words of 32 bits, and the values that are not zero."""
    ### BEGIN SOLUTION
    flat = image.flatten()
    bits = F.pad((flat != 0).long(), (0, -flat.numel() % 32)).reshape(-1, 32)
    return (bits << torch.arange(32)).sum(1), flat[flat != 0]
    ### END SOLUTION


# %% check="zvc"
verdict = sl.exercises.zvc.check(zvc)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 3.3 CPO: store it once, replay it
# All windows of one *output column* lie in the same full-height **strip**, here three columns wide. Most columns of the map lie in several strips. CPO stores a column that lies in *t* + 1 strips **once**, in the first strip that has it, under **pointer
# type** *t*:
#
# | column | 0 | 1 | 2 | 3 | 4 |
# |---|---|---|---|---|---|
# | lies in strips | 0 | 0, 1 | 0, 1, 2 | 1, 2 | 2 |
# | type *t* | 0 | 1 | 2 | 1 | 0 |
# | stored in strip | 0 | 0 | 0 | 1 | 2 |
#
# Of each non-zero it keeps the value, `DA`, and the place, `IN` = row · 3 + column *counted from the strip's left edge* (3: the strip's width). They follow each other by type, then strip. `ptr[t][s]` counts the values of type *t* in
# the strips before *s*, from 0; the last number counts all of that type. Compare with the table:

# %%
stored = sl.encodings.encode(picture[None], kernel_size=3, padding=0, method="cpo")
arrays = stored.channels[0]
done = 0
for t, ptr in enumerate(arrays["ptr"]):
    part = slice(done, done + ptr[-1])
    done += ptr[-1]
    print(
        f"type {t}: ptr {ptr.tolist()}, IN {arrays['IN'][part].tolist()}, DA {arrays['DA'][part].astype(int).tolist()}"
    )

# %% [markdown]
# Now convolve without unpacking. Take type 2, strip 0, `IN` = 5, `DA` = 5: row 1 and column 2 of the strip, as 5 = 1 · 3 + 2. **By hand:**
#
# * vertically a number in row 1 is seen by output row 1 (through filter row 0) and output row 0 (through filter row 1);
# * in strip 0 it meets filter column 2; type 2 says *replay it twice more*: one strip to the right it meets filter column 1, then 0.
#
# Six outputs from one stored number. Step through the entries with the arrow keys; the view marks the outputs each one feeds. Choose another format to see its arrays.

# %%
worked = sl.ConvLayer("worked example", kernel[None, None], torch.zeros(1), picture[None, None])
view = sl.EncodingView(worked, method="cpo")
view.entry = 12  # counted from 0: the 5
view

# %% [markdown]
# > **Predict:** which outputs does the value 14 feed, and how many? Then step to it.
#
# **Exercise.** Write `cpo(picture, kernel)` for one channel (H, W) and a kernel of `kernel` × `kernel`, stride 1, no padding. Return `ptr, IN, DA`, stored by type, then strip, then column, then row; `ptr` has a row per type, 0 to `kernel` − 1, and one number more
# than there are strips (W − `kernel` + 1). In a narrow map several columns may share strip and type, and types may be empty.


# %% exercise="cpo"
def cpo(picture, kernel):
    """Pointers, places and values."""
    ### BEGIN SOLUTION
    height, width = picture.shape
    strips = width - kernel + 1
    ptr, places, values = [], [], []
    for kind in range(kernel):
        ptr.append([0])
        for strip in range(strips):
            count = 0
            for column in range(strip, strip + kernel):
                first, last = max(0, column - kernel + 1), min(strips - 1, column)
                if first == strip and last - first == kind:
                    for row in range(height):
                        if picture[row, column] != 0:
                            places.append(row * kernel + column - strip)
                            values.append(float(picture[row, column]))
                            count += 1
            ptr[-1].append(ptr[-1][-1] + count)
    return ptr, places, values
    ### END SOLUTION


# %% check="cpo"
verdict = sl.exercises.cpo.check(cpo)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 3.4 All formats side by side
# CPS shortens CPO's `IN`: three or four non-zeros in a group of four rows share an index (3.7). MEC (Cho and Brand, ICML 2017) copies along one direction only, CSCC (Fan et al., IEEE Access 2019) drops MEC's zeros.
#
# > **Predict:** which of the formats are smaller than the 25 numbers themselves?

# %%
rows = []
for method in sl.encodings.METHODS:
    encoded = sl.encodings.encode(picture[None], kernel_size=3, padding=0, method=method)
    assert torch.equal(encoded.conv2d(kernel[None, None])[0], dense)  # all of them, exactly
    figures = encoded.summary()
    rows.append({"format": method, "numbers": encoded.units, "bytes": encoded.nbytes, "vs im2col (bytes)": figures["cr_bytes"],
                 "vs the map itself (bytes)": figures["raw_bytes"]})  # fmt: skip
formats = pd.DataFrame(rows).set_index("format")
formats.style.format(precision=2)

# %% jupyter={"source_hidden": true}
raw = 4 * picture.numel()
say(
    f'Read the last two columns together ("vs": how many times smaller). Of all formats only {", ".join(formats.index[formats["bytes"] < raw])} takes fewer than the {raw} bytes of the 25 numbers. CPO and CPS beat im2col and are **larger than '
    f"the map they store**. A map this small is unfair: {formats.loc['cpo', 'numbers'] - 2 * len(arrays['DA'])} of CPO's {formats.loc['cpo', 'numbers']} numbers are pointers. So:"
)

# %% [markdown]
# ## 3.5 Real maps
# `vgg9_cifar10` on a photograph. Behind a ReLU many inputs are exact zeros.

# %%
net = sl.load("vgg9_cifar10")
x = net.preprocess(sl.sample_images()["cat"])
layers = sl.conv_layers(net.model, x)
density = (layers["features.7"].input != 0).float().mean().item()
say(
    f"> **Predict:** {density:.0%} of the input of `features.7` is not zero. How many times smaller than the raw map can a format be that keeps each non-zero in 32 bits? And CPO, which adds a 16-bit place to each?"
)

# %%
STORED = ("mec", "cscc", "cpo", "cps", "zvc")
rows = []
for name, layer in layers.items():
    for method in STORED:
        encoded = sl.encodings.encode(layer.input[0], layer.kernel_size, layer.stride, layer.padding, method)
        rows.append({"layer": name, "map": " × ".join(map(str, layer.input.shape[1:])), **encoded.summary()})
sizes = pd.DataFrame(rows)
by_layer = sizes.drop_duplicates("layer").set_index("layer")


def side_by_side(column):
    """One row per layer, one column per format."""
    return by_layer[["map", "density"]].join(sizes.pivot(index="layer", columns="method", values=column)[list(STORED)])


against_raw = side_by_side("raw_bytes").assign(bound=by_layer["bytes_raw"] / by_layer["bytes_entropy"])
against_im2col = side_by_side("cr_bytes")
print("times smaller than the raw map, in bytes; below 1 it is larger")
display(against_raw.style.format(precision=2).format("{:.0%}", subset="density"))
print("the same, against im2col")
against_im2col.style.format(precision=1).format("{:.0%}", subset="density")

# %% jupyter={"source_hidden": true}
ratio = (against_im2col[list(STORED)] / against_raw[list(STORED)]).to_numpy()
one = against_raw.loc["features.7"]
deep = against_im2col["cps"].idxmax()
say(
    f'The second table is the first times {ratio.min():.1f} to {ratio.max():.1f}, in every cell: **about nine of any "N times smaller than im2col" is im2col\'s own redundancy**, where all kernels are 3×3 at stride 1. CPS at '
    f"{against_im2col['cps'][deep]:.0f} times (`{deep}`) is {against_raw['cps'][deep]:.1f} times smaller than the map that was there to begin with.\n\n"
    f"Your prediction: at a density of {one['density']:.0%} (`features.7`) values alone allow {1 / one['density']:.1f} times; CPO pays one and a half values for each and reaches {one['cpo']:.1f}. `bound` is what the values and the entropy of a bit per element need; "
    f"ZVC is within {(1 - against_raw['zvc'] / against_raw['bound']).max():.0%} of it. MEC does not look at zeros, and CSCC stores each value about three times: both are larger than the raw map here "
    f"(at best {against_raw[['mec', 'cscc']].max().max():.2f})."
)

# %% [markdown]
# > **Try:** the input of a deeper layer. Which type has nearly all the values, and where are the others? Open a channel with <kbd>Enter</kbd> and step through it.

# %%
sl.EncodingView(layers["features.14"], method="cps")

# %% [markdown]
# Only the columns at the edges lie in fewer than three strips: in a large map the highest type holds nearly everything.
#
# ## 3.6 And time?
# Each format is charged with encoding *and* convolving, all filters, beside torch's dense convolution; interleaved in one process, **one thread**, weights packed before.
#
# > **Predict:** in `features.14` most multiplications are with zero (its density is in the table). How much faster than dense will CPO be?

# %%
from seerlab.kernels.simd import level
from seerlab.measure import interleaved

TIMED = ("im2col", "mec", "cpo", "cps")


def timings(layer, repeats=5):
    """Median ms of encoding and convolving in each format, and of torch's dense convolution."""
    packed = sl.encodings.pack_weights(layer.weight)
    geometry = (layer.kernel_size, layer.stride, layer.padding)

    def run(method):
        return lambda: sl.encodings.encode(layer.input, *geometry, method).conv2d(packed, layer.bias)

    def dense():
        return F.conv2d(layer.input, layer.weight, layer.bias, layer.stride, layer.padding)

    measured = interleaved({"dense": dense, **{method: run(method) for method in TIMED}}, repeats=repeats, threads=1)
    return {name: timing.median_ms for name, timing in measured.items()}


times = pd.DataFrame({name: timings(layers[name]) for name in ("features.10", "features.14", "features.24")}).T
times.insert(0, "density", by_layer["density"])
print(f"ms, one thread, {level()} kernels, medians of interleaved runs")
display(times.style.format("{:.1f}").format("{:.0%}", subset="density"))
for name, row in times.iterrows():
    best = min(("cpo", "cps"), key=lambda method: row[method])
    ratio, saved = row["dense"] / row[best], 1 - row[best] / row["im2col"]
    verdict = f"{ratio:.2f} times as fast as dense" if ratio > 1 else f"slower, {1 / ratio:.2f} times the dense time"
    against = f"{saved:.0%} saved" if saved >= 0 else f"{-saved:.0%} more"
    print(f"{name}: the better of CPO and CPS ({best}) is {verdict}; against im2col {against}")

# %% [markdown]
# One reason: a dense kernel keeps a block of outputs in registers while many inputs pass; replaying one stored element reads and writes each of its outputs, for all filters. The zeros
# saved must first pay for that. Small and fast are two questions.
#
# ## 3.7 If there is time: CPS's index
# CPS walks each column in groups of four rows that begin at 0, 4, 8, …  One or two non-zeros in a group are listed by place, column · H + row. Three or four become two numbers: the place of the group's top row, marked by its complement `~place`, and a *set* in
# which 1, 2, 4, 8 stand for the four rows from the top. (The mark is our reading: without it the list could not be read back.) Write `shorten(rows, column, height)`: the index of one column, a list, from the rising rows of its non-zeros.


# %% exercise="shorten"
def shorten(rows, column, height):
    """CPS's index of one column."""
    ### BEGIN SOLUTION
    index = []
    for top in range(0, height, 4):
        group = [row for row in rows if top <= row < top + 4]
        if len(group) > 2:
            index += [~(column * height + top), sum(1 << row - top for row in group)]
        else:
            index += [column * height + row for row in group]
    return index
    ### END SOLUTION


# %% check="shorten"
verdict = sl.exercises.shorten.check(shorten)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# ## 3.8 Further questions
# * For `features.3` CPS is *larger* than CPO. How many bits does a place in a padded map of 226×226 need, if one of 16 is the mark?
# * `epsilon` in the view sets small values to zero as well. From which epsilon on is CPO smaller than ZVC? (Is it ever?)
# * Below which density does CPO pay in bytes? Derive it from 32 bits for a value and 16 for a place.
# * Why is the abstract's "up to 26 times" plausible for a layer with a 5×5 kernel?
