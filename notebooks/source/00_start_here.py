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
# # 0 · Start here: where a network's work goes
#
# **About 10 minutes. You will**
# * see how these notebooks work, and try a check of your own code,
# * count how much of a network's work ends as zeros,
# * meet the questions that the other notebooks answer.
#
# Everything runs on a small trained network and photographs that come with seerlab; nothing is downloaded. Run each cell with
# <kbd>Shift</kbd>+<kbd>Enter</kbd>. A question in a box comes *before* the cell that answers it: write your answer down first. It is the
# difference between the two that you will remember.

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
from PIL import Image


def say(text):
    """Show a text with figures that were computed here."""
    display(Markdown(text))


# %% [markdown]
# ## 0.1 A network and a picture
# `vgg9_cifar10` is a small VGG: eight 3×3 convolutions, each with a BatchNorm and a ReLU, and a max-pool after every second one.

# %%
net = sl.load("vgg9_cifar10")
photograph = sl.sample_images()["cat"]
x = net.preprocess(photograph)  # (1, 3, 224, 224)
with torch.inference_mode():
    shares = net.model(x).softmax(1)[0]

display(Image.fromarray(photograph))
say(f"The network says **{net.categories[shares.argmax()]}** ({shares.max():.0%}).")

# %% [markdown]
# ## 0.2 What becomes of the sums
# Each output of a convolution is a sum of hundreds of products, $s = b + \sum_i w_i x_i$. Behind it stands a ReLU, $y = \max(0, s)$: every sum that is not positive
# becomes 0. (The BatchNorm between the two is folded into $w$ and $b$ here; notebook 01 takes it apart.) Where a 2×2 max-pool follows, only the largest of four is passed on.
#
# > **Before you run the next cell:** what share of all those sums is thrown away, in the first layer and in a deep one? Write two numbers down.

# %%
layers = sl.conv_layers(net.model, x)  # every convolution, with the input it got and what follows it
rows = []
for name, layer in layers.items():
    needed = sl.seernet.predict(layer).truth  # True where the output matters to what follows
    rows.append(
        {
            "layer": name,
            "followed by": " + ".join(layer.followed_by),
            "outputs": needed.numel(),
            "thrown away": 1 - needed.float().mean().item(),
            "million multiply-adds": layer.macs / 1e6,
        }
    )
table = pd.DataFrame(rows)
table.style.format({"thrown away": "{:.0%}", "outputs": "{:,}", "million multiply-adds": "{:.0f}"}).hide()

# %% jupyter={"source_hidden": true}
pooled = table["followed by"].str.contains("max_pool")
wasted = (table["thrown away"] * table["million multiply-adds"]).sum() / table["million multiply-adds"].sum()
relu, pool = table[~pooled]["thrown away"], table[pooled]["thrown away"]
say(
    f"Was it more than you wrote down? Behind a ReLU alone {relu.min():.0%} to {relu.max():.0%} of the sums go; behind a 2×2 max-pool {pool.min():.0%} "
    f"to {pool.max():.0%}, and three of four must go there whatever the picture. Of all multiply-adds of this network on this picture, **{wasted:.0%} go into "
    "sums that are then thrown away.**"
)

# %% [markdown]
# The catch: *which* sums go depends on the picture. To skip them one has to know them beforehand, more cheaply than by computing them. That is what this course is
# about.
#
# ## 0.3 The whole network at a glance
# One column for each layer, wider the more work it is; blue is the share of its outputs that what follows needs. Choose what else may fill the columns; click one, or walk with the arrow keys and press <kbd>Enter</kbd>, to
# open the layer below. (If you see a still picture instead, no kernel is live: run the notebook.)
#
# > **Try:** how blue is the widest column? Open the last one: how many channels can you find of which nothing is needed?

# %%
view = sl.NetworkView(net, photograph)
view

# %% jupyter={"source_hidden": true}
widest = table.loc[table["million multiply-adds"].idxmax()]
unused = int((~needed.flatten(2).any(2)).sum())  # `needed` is still that of the last layer
say(
    f"The widest, `{widest['layer']}`, is blue for {1 - widest['thrown away']:.0%} of its outputs: the most work, and hardly any of it needed. In the last layer {unused} of "
    f"{needed.shape[1]} channels are not needed anywhere in this photograph; the others are needed here and there, and *where* is the question."
)

# %% [markdown]
# ## 0.4 Your turn: an exercise that checks itself
# Write `discarded_share(sums)`: given the sums of a convolution *before* the ReLU, a tensor (N, K, P, Q) of N pictures with K channels of P rows and Q columns, return the share of them, 0 to 1, that are zero *behind* it. Replace the last
# two lines; then run the check below. It calls your function on tensors you have not seen, and says in words what is wrong. Torch, NumPy or plain loops: any right answer will do.


# %% exercise="discarded_share"
def discarded_share(sums):
    """The share of the sums that a ReLU makes zero."""
    ### BEGIN SOLUTION
    return (sums <= 0).float().mean().item()
    ### END SOLUTION


# %% check="discarded_share"
verdict = sl.exercises.discarded_share.check(discarded_share)
print(verdict)
### BEGIN HIDDEN TESTS
assert verdict, verdict
### END HIDDEN TESTS

# %% [markdown]
# > **Stuck?** What does $\max(0, s)$ give for a sum of exactly 0? Try also a wrong answer on purpose, `sums < 0` for example: the check tells you on which numbers it fails.
#
# With a right function the next cell counts for you; until then it says so and the notebook goes on.

# %%
if verdict:
    for name in ("features.0", "features.7"):
        print(f"{name}: {float(discarded_share(layers[name].pre_activation)):.1%} of the sums are zero behind the ReLU")
    print("Both stand in the table of 0.2: a ReLU alone follows them.")
else:
    print("This cell waits for your discarded_share.")

# %% [markdown]
# ## 0.5 Where to go
# | notebook | question | system |
# |---|---|---|
# | 01 | Which outputs will be zero? Do four bits know? | SeerNet |
# | 02 | Which whole maps need not be loaded? | DRFMP |
# | 03 | How small can a sparse map be stored, and convolved as it lies? | CPO, CPS |
# | 04 | Do fewer weights predict as well as fewer bits? How to spend an accuracy budget? | SPL |
# | 05 | What does a coarser grain of sparse weights cost and save? | Regularity, SCNN |
# | 06 | Why does leaving out four fifths of the work not make it five times faster? | the hardware |
# | 07 | What does all that mean for *your* network? | `sl.accelerate` |
# | 08 | What did the papers report, and what comes out here? | all five |
#
# The first two are worth taking in order; 06 explains most surprises; 07 is the one to take home.
#
# ## 0.6 Further questions
# * Another picture: `sl.sample_images()` has seven. Does the share change? Which layers change most?
# * Would a network with a leaky ReLU, $y = \max(0.1\,s, s)$, have zeros at all? (Notebook 02 has one.)
# * The first layer, which reads the photograph itself, throws away least. Why might that be so?
