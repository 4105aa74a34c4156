"""Accuracy and savings over epsilon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn
from tqdm.auto import tqdm

from seerlab.evaluation import BATCH, LabelledImages, evaluate

from .network import apply
from .rule import as_epsilon

if TYPE_CHECKING:
    import pandas as pd


def sweep(
    model: nn.Module,
    images: Any,
    labels: Any,
    epsilons: Iterable[float],
    mode: str = "v1",
    *,
    batch_size: int = BATCH,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Run labelled images through the pruned network at several epsilons.

    Parameters
    ----------
    model : nn.Module
        A classifier in evaluation mode, float32, on the CPU.
    images : Tensor or array, shape (N, C, H, W)
        Preprocessed.
    labels : Tensor or array, shape (N,)
        Index of each image's class.
    epsilons : iterable of float
        At least one.
    mode : {"v1", "v2"}
    batch_size : int
    progress : bool
        Show a progress bar.
    **options
        ``scope``, ``fraction``, ``tile``, ``relative`` and ``skip`` of `apply`. `skip` is False unless given: the zeros of pruned maps
        are multiplied, which gives the same classes but for rounding and keeps batches whole.

    Returns
    -------
    pandas.DataFrame
        A row per epsilon, in the order given: ``epsilon``; of `Accuracy` the figures with the interval; ``top1_drop`` against the network
        as it is (``top1_dense``), in shares; and the figures of `DrfmpNetwork.summary`. Shares are between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        As `apply` and `evaluate`; also if there is no epsilon.
    """
    values = [as_epsilon(epsilon) for epsilon in epsilons]
    if not values:
        raise ValueError("there is no epsilon to try: give at least one, for example epsilons=[0, 0.1, 0.2]")
    data = LabelledImages(images, labels)
    network = apply(model, data.images[:1], values[0], mode, **{"skip": False, **options})
    rows = []
    with tqdm(total=(len(values) + 1) * len(data), unit="image", disable=not progress) as bar:
        dense = evaluate(model, data, batch_size=batch_size, on_batch=bar.update)
        for epsilon in values:
            network.epsilon = epsilon
            network.reset_counts()
            accuracy = evaluate(network, data, batch_size=batch_size, on_batch=bar.update)
            rows.append(
                {
                    "epsilon": epsilon,
                    **accuracy.summary(),
                    "top1_dense": dense.top1,
                    "top1_drop": dense.top1 - accuracy.top1,
                    **network.summary(),
                }
            )
    import pandas as pd

    return pd.DataFrame(rows)
