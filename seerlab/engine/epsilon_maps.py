"""The maps of a network for one picture: thumbnails of all of them, and the epsilon that each would be pruned at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from seerlab.drfmp.rule import Judgement, least_count
from seerlab.operators import plain_mode

# At the right end of the slider so many of the values would be pruned, were the maps those of the network without pruning: few
# classifiers give the same answer by then.
SCALE_SHARE = 0.5
SCALE_DIGITS = 2  # the end of the slider is rounded up to these, to be read aloud
THUMBNAIL = 32  # dots on the longer side of a map at most: sharper than a map on screen ever is
THUMBNAIL_DOTS = 1 << 20  # of all maps together: what travels once per picture stays about a megabyte
SMALLEST_THUMBNAIL = 4
PHOTO = 128  # dots on the longer side of the picture
GREY, COLOUR = 1, 3  # channels of an input that can be shown as a picture


@dataclass(frozen=True)
class LayerPlace:
    """Maps judged at one convolution.

    Attributes
    ----------
    name : str
        Dotted name of the convolution.
    maps, height, width : int
    rows, columns : int
        Dots of a map's thumbnail.
    """

    name: str
    maps: int
    height: int
    width: int
    rows: int
    columns: int

    @property
    def area(self) -> int:
        """Values of one map."""
        return self.height * self.width


@dataclass(frozen=True, eq=False)
class Base:
    """The maps of one picture as the rule finds them at epsilon 0.

    Attributes
    ----------
    places : tuple of LayerPlace
        In the order of execution; the arrays below run over all their maps, M in number.
    zero : ndarray, shape (M,), bool
        Maps that are pruned without any epsilon.
    sizes : ndarray, shape (M,), float32
        Smallest epsilon that would prune each map, were it not changed by what is pruned before it.
    zero_values : int
        Values that are exactly zero, in pruned maps or not.
    thumbnails : bytes
        A byte per dot, map by map: the square root of the largest absolute value there, over that of the layer, times 255.
    epsilon_max : float
        A sensible end for a slider.
    """

    places: tuple[LayerPlace, ...]
    zero: NDArray[np.bool_]
    sizes: NDArray[np.float32]
    zero_values: int
    thumbnails: bytes
    epsilon_max: float

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Number of the first map of each place, and of all maps at the end."""
        return np.cumsum([0] + [place.maps for place in self.places])

    @property
    def values(self) -> int:
        """Values of all maps."""
        return sum(place.maps * place.area for place in self.places)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of one layer's maps."""

    place: LayerPlace
    zero: NDArray[np.bool_]
    sizes: NDArray[np.float32]
    zero_values: int
    thumbnails: bytes


class MapsSeen:
    """Collects a `Base` from the maps that a run at epsilon 0 lends, layer by layer.

    Parameters
    ----------
    maps : int
        In all layers together; the more, the smaller their thumbnails.
    mode : {"v1", "v2"}
    """

    def __init__(self, maps: int, mode: str) -> None:
        self._mode = mode
        self._side = max(SMALLEST_THUMBNAIL, min(THUMBNAIL, math.isqrt(THUMBNAIL_DOTS // max(maps, 1))))
        self._seen: dict[str, _Seen] = {}

    def look(self, name: str, maps: Tensor, judgement: Judgement) -> None:
        """Take note of the maps (1, C, H, W) of one layer."""
        absolute = maps[0].abs()
        count, height, width = absolute.shape
        scale = min(1.0, self._side / max(height, width))
        rows, columns = (max(1, round(edge * scale)) for edge in (height, width))
        # The largest value in each dot: one large value is enough to keep a map.
        small = torch.nan_to_num(F.adaptive_max_pool2d(absolute, (rows, columns)), nan=0.0, posinf=0.0)
        dots = (255 * (small / (small.max() or 1.0)).sqrt()).round().to(torch.uint8)
        self._seen[name] = _Seen(
            LayerPlace(name, count, height, width, rows, columns),
            judgement.flags[0].numpy().copy(),
            _sizes(absolute, self._mode).numpy(),
            int((absolute == 0).sum()),
            dots.numpy().tobytes(),
        )

    def base(self, order: list[str]) -> Base:
        """All that was seen, with the layers in the given order."""
        seen = [self._seen[name] for name in order]
        places = tuple(layer.place for layer in seen)
        sizes = np.concatenate([layer.sizes for layer in seen])
        areas = np.repeat([place.area for place in places], [place.maps for place in places])
        return Base(
            places,
            np.concatenate([layer.zero for layer in seen]),
            sizes,
            sum(layer.zero_values for layer in seen),
            b"".join(layer.thumbnails for layer in seen),
            _scale_end(sizes, areas),
        )


def slider_epsilon(position: float, end: float) -> float:
    """Epsilon at a slider's position 0..1: its square, for finer steps near 0, rounded as a hand would write it."""
    return float(f"{end * position**2:.3g}")


def photo(x: Tensor) -> NDArray[np.uint8] | None:
    """A network's input (C, H, W) as a picture (rows, columns, 3), stretched to the full range; None without one or three channels."""
    if x.shape[0] not in (GREY, COLOUR):
        return None
    with plain_mode():
        scale = min(1.0, PHOTO / max(x.shape[1:]))
        size = [max(1, round(side * scale)) for side in x.shape[1:]]
        small = F.interpolate(x[None], size, mode="bilinear", align_corners=False, antialias=scale < 1)[0]
        low, high = float(small.min()), float(small.max())
        grey = (small - low) * (255 / ((high - low) or 1.0))
        image: NDArray[np.uint8] = grey.round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).numpy().copy()
    return image


def _sizes(absolute: Tensor, mode: str) -> Tensor:
    """Smallest epsilon that prunes each map (C, H, W) of absolute values; infinite for one with too many NaNs."""
    ordered = torch.nan_to_num(absolute.flatten(1), nan=math.inf, posinf=math.inf)
    area = ordered.shape[1]
    least = least_count(area, mode)
    return ordered.amax(1) if least == area else ordered.kthvalue(least, 1).values


def _scale_end(sizes: NDArray[np.float32], areas: NDArray[np.int64]) -> float:
    """Epsilon within which maps with `SCALE_SHARE` of all values lie, rounded up; 1 where there is none above 0."""
    order = sizes.argsort()
    reached = int(np.searchsorted(np.cumsum(areas[order]), SCALE_SHARE * areas.sum()))
    end = float(sizes[order][min(reached, len(order) - 1)])
    if not 0 < end < math.inf:
        finite = sizes[np.isfinite(sizes)]
        end = float(finite.max()) if finite.size else 0.0
    if end == 0:
        return 1.0
    unit = 10.0 ** (math.floor(math.log10(end)) + 1 - SCALE_DIGITS)
    return float(f"{math.ceil(end / unit) * unit:.{SCALE_DIGITS}g}")
