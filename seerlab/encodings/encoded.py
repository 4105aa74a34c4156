"""An encoded map: its arrays, sizes, decoding and convolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seerlab.kernels import encodings as compiled
from seerlab.kernels.encodings import Index
from seerlab.kernels.implementation import wants_reference

from . import cpo, cps, cscc, im2col, mec, zvc
from .accounting import (
    CHANNELWISE,
    Counts,
    count,
    entropy_bytes,
    nbytes,
    ratio,
    units,
)
from .geometry import Geometry
from .weights import PackedWeights, float_array, pack_weights

Floats = NDArray[np.float32]
Array = NDArray[np.generic]
Arrays = Mapping[str, Array]
LOWERINGS = {"im2col": im2col, "mec": mec}


@dataclass(frozen=True)
class Options:
    """Choices of `encode` that change what is stored; see there."""

    skip_zero_channels: bool = True
    trim: bool = False
    cps: str = "tagged"


@dataclass(frozen=True, eq=False)
class Encoded:
    """A map, or a batch of maps, stored for one convolution. Made by `encode`.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    geometry : Geometry
        The raw map and the convolution it is encoded for.
    options : Options
    images : tuple of mapping
        The arrays of each image by name: ``lowered`` (im2col, MEC); ``mask``, ``values`` (ZVC); ``live``, ``ptr``, ``IN``, ``DA``
        (the others), read-only.
    nonzeros : tuple of int
        Non-zeros of each raw image.
    batched : bool
        Whether the map had four axes.
    """

    method: str
    geometry: Geometry
    options: Options
    images: tuple[Arrays, ...]
    nonzeros: tuple[int, ...]
    batched: bool

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Encoded:
        """One image of the batch, as an encoded map (C, H, W)."""
        return replace(self, images=(self.images[number],), nonzeros=(self.nonzeros[number],), batched=False)

    def __iter__(self) -> Iterator[Encoded]:
        return (self[number] for number in range(len(self)))

    @property
    def arrays(self) -> Arrays:
        """What is stored of the only image, by name.

        im2col
            ``lowered`` (Oh*Ow, Kh*Kw*C) float32.
        MEC
            ``lowered`` (Ow, Ih*Kw*C) float32.
        CSCC, CPO, CPS
            ``live``, the bitmap of stored channels; ``ptr`` int32 (live channels, pointer types, Ow + 1), trimmed (live channels,
            3 + (types - 1) * (Ow + 1)); ``IN`` and ``DA``, the indices and float32 values of all of them, one channel after another.
        ZVC
            ``mask`` uint32 and ``values`` float32.

        Raises
        ------
        ValueError
            For a batch of any other size than one.
        """
        if len(self.images) != 1:
            raise ValueError(f"this is a batch of {len(self.images)} images; take one of them, as in encoded[0].arrays")
        return self.images[0]

    @property
    def channels(self) -> tuple[dict[str, Any] | None, ...]:
        """``ptr`` (one array per pointer type), ``IN`` and ``DA`` of each channel of the only image; None where nothing is stored.

        Raises
        ------
        ValueError
            For a batch, or a method that does not store channel by channel.
        """
        if self.method not in CHANNELWISE:
            raise ValueError(f"{self.method} does not store channel by channel; choose one of {', '.join(CHANNELWISE)}")
        arrays = self.arrays
        entries = self.geometry.out[1] + 1
        found: list[dict[str, Any] | None] = [None] * self.geometry.channels
        for channel, row, index, values in self._stored_channels(arrays):
            pointers = arrays["ptr"][row]
            if pointers.ndim == 1:  # trimmed
                ptr = (pointers[:3], *pointers[3:].reshape(-1, entries))
            else:
                ptr = tuple(pointers)
            found[channel] = {"ptr": ptr, "IN": index, "DA": values}
        return tuple(found)

    @property
    def units(self) -> int:
        """Stored numbers, counted in the arrays, of all images; the live-channel bitmap is not among them."""
        return sum(array.size for arrays in self.images for name, array in arrays.items() if name != "live")

    @cached_property
    def units_shared(self) -> int:
        """Stored numbers if all channels could share one set of pointers: the authors' formula, never built."""
        return sum(self._units(counts, shared=True) for counts in self.counts)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for arrays in self.images for array in arrays.values())

    @cached_property
    def counts(self) -> tuple[Counts, ...]:
        """What the size formulas need to know of each image, counted in the decoded map."""
        decoded = self.decode().reshape(-1, *self.geometry.shape).numpy()
        return tuple(
            replace(count(image, self.geometry), nonzeros=nonzeros)
            for image, nonzeros in zip(decoded, self.nonzeros, strict=True)
        )

    def decode(self) -> Tensor:
        """Restore the map.

        Returns
        -------
        Tensor, shape (C, H, W) or (N, C, H, W), float32
            Equal to the encoded map; -0.0 comes back as 0.0, and so does everything that no window needs and the format leaves out:
            unused columns, for im2col unused rows too. ZVC stores the whole raw map.

        Raises
        ------
        ValueError
            If the arrays contradict each other.
        """
        images = np.empty((len(self), *self.geometry.shape), np.float32)
        for image, arrays in zip(images, self.images, strict=True):
            image[:] = self._decode(arrays)
        return torch.from_numpy(images if self.batched else images[0])

    def conv2d(self, weight: Any, bias: Any = None, *, groups: int = 1, implementation: str = "auto") -> Tensor:
        """Convolve the map as it is stored.

        Parameters
        ----------
        weight : Tensor or array, shape (K, C/g, R, S), float32, or PackedWeights
            From `pack_weights`, which spares the layout in every call; `groups` is then theirs.
        bias : Tensor or array, shape (K,), float32, optional
        groups : int
            Number of groups g.
        implementation : {"auto", "reference", "compiled"}
            "auto" is "compiled". "reference" is the plain NumPy loop of the method's module. im2col and MEC are torch's matrix
            product in both.

        Returns
        -------
        Tensor, shape (K, P, Q) or (N, K, P, Q), float32
            Equal to the dense convolution but for the order of the additions; exactly equal on small integers. Zeros are not
            multiplied: where a weight is infinite or NaN the dense convolution has NaN and this one may not. The filters lie
            innermost in memory (channels_last).

        Raises
        ------
        TypeError
            For a wrong kind or element type.
        ValueError
            For shapes that do not fit, an unknown `implementation`, or arrays that contradict each other.
        """
        reference = wants_reference(implementation)
        if not isinstance(weight, PackedWeights):
            weight = pack_weights(weight, groups)
        self._check_weight(weight)
        filters = weight.weight.shape[0]
        if bias is not None:
            bias = float_array("bias", bias)
            if bias.shape != (filters,):
                raise ValueError(
                    f"bias has shape {bias.shape} and weight {weight.weight.shape}; give one bias per filter"
                )
        # torch aligns to cache lines and NumPy does not: up to a quarter of the time
        out = torch.zeros(len(self), *self.geometry.out, filters).numpy()
        if bias is not None:
            out += bias
        for sums, arrays in zip(out, self.images, strict=True):
            if self.method in LOWERINGS:
                lowered = torch.from_numpy(_floats(arrays["lowered"]))
                LOWERINGS[self.method].convolve(lowered, self.geometry, weight.matrices, torch.from_numpy(sums))
            elif reference:
                self._convolve_reference(arrays, weight.by_channel, weight.groups, sums)
            else:
                self._convolve_compiled(arrays, weight.by_channel, weight.groups, sums)
        result = torch.from_numpy(out).permute(0, 3, 1, 2)
        return result if self.batched else result[0]

    def summary(self) -> dict[str, float | int | str | None]:
        """Named figures.

        Returns
        -------
        dict
            ``method``; ``images``; ``channels``, ``live_channels`` (with a non-zero that is stored); ``elements``, ``nonzeros``,
            ``density`` (over the raw map), ``density_padded``; ``units`` (counted in the arrays), ``units_formula``, ``units_shared``,
            ``units_trimmed`` (None where trimming is not possible); ``units_im2col``; ``bytes``, ``bytes_im2col``, ``bytes_raw``,
            ``bytes_entropy`` (least for independent places); and the four ratios, averages over the images: ``cr_elements`` and
            ``cr_bytes`` against im2col, ``raw_elements`` and ``raw_bytes`` against the raw map. The ratios against im2col contain
            im2col's own copies, about Kh*Kw at stride 1. Sizes and counts are sums over the images.
        """
        g, n = self.geometry, len(self)
        elements, nonzeros = n * g.elements, sum(self.nonzeros)
        padded = n * g.channels * g.padded[0] * g.padded[1]
        lowered = units("im2col", g, Counts(0, 0, 0, 0, (0, 0, 0, 0)))
        trimmable = self.method in ("cpo", "cps") and g.trimmable

        def mean(numerator: float, sizes: list[int]) -> float:
            return sum(ratio(numerator, size) for size in sizes) / n if n else float("nan")

        stored_units = [image.units for image in self]
        stored_bytes = [image.nbytes for image in self]
        return {
            "method": self.method,
            "images": n,
            "channels": g.channels,
            "live_channels": sum(counts.live for counts in self.counts),
            "elements": elements,
            "nonzeros": nonzeros,
            "density": nonzeros / elements if n else float("nan"),
            "density_padded": nonzeros / padded if n else float("nan"),
            "units": self.units,
            "units_formula": sum(self._units(counts) for counts in self.counts),
            "units_shared": self.units_shared,
            "units_trimmed": sum(self._units(counts, trim=True) for counts in self.counts) if trimmable else None,
            "units_im2col": n * lowered,
            "bytes": self.nbytes,
            "bytes_formula": sum(self._nbytes(counts) for counts in self.counts),
            "bytes_im2col": 4 * n * lowered,
            "bytes_raw": 4 * elements,
            "bytes_entropy": sum(entropy_bytes(g.elements, nonzeros) for nonzeros in self.nonzeros),
            "cr_elements": mean(lowered, stored_units),
            "cr_bytes": mean(4 * lowered, stored_bytes),
            "raw_elements": mean(g.elements, stored_units),
            "raw_bytes": mean(4 * g.elements, stored_bytes),
        }

    def __repr__(self) -> str:
        s = self.summary()
        ratios = f"{s['cr_bytes']:.2f}x smaller than im2col, {s['raw_bytes']:.2f}x than the raw map, in bytes"
        return (
            f"Encoded({self.method!r}, {len(self)} x {self.geometry.shape}, density {s['density']:.1%} of the raw map: "
            f"{s['units']} numbers, {s['bytes']} bytes; {ratios})"
        )

    def _units(self, counts: Counts, *, shared: bool = False, trim: bool | None = None) -> int:
        o = self.options
        return units(
            self.method,
            self.geometry,
            counts,
            shared=shared,
            skip_zero_channels=o.skip_zero_channels,
            trim=o.trim if trim is None else trim,
            cps=o.cps,
        )

    def _nbytes(self, counts: Counts) -> int:
        o = self.options
        return nbytes(
            self.method, self.geometry, counts, skip_zero_channels=o.skip_zero_channels, trim=o.trim, cps=o.cps
        )

    def _live(self, arrays: Arrays) -> NDArray[np.bool_]:
        """Return which channels are stored."""
        return np.unpackbits(
            np.asarray(arrays["live"], np.uint8), count=self.geometry.channels, bitorder="little"
        ).astype(bool)

    def _pointers(self, arrays: Arrays) -> cpo.Pointers:
        """Return all pointers, (live channels, types, Ow + 1), also if they are stored trimmed."""
        ptr = np.asarray(arrays["ptr"], np.int32)
        return cpo.untrim(ptr, self.geometry) if ptr.ndim == 2 else ptr

    def _stored_channels(self, arrays: Arrays) -> Iterator[tuple[int, int, Array, Floats]]:
        """Walk the stored channels: channel, its row in ``ptr``, its part of ``IN`` and of ``DA``."""
        index, values = arrays["IN"], _floats(arrays["DA"])
        ptr = self._pointers(arrays)
        ends = np.concatenate([[0], ptr[:, :, -1].sum(axis=1).cumsum()])
        entries = cps.entry_ends(index, self.options.cps) if self.method == "cps" else np.arange(len(index) + 1)
        if ends[-1] != len(values) or len(entries) != len(values) + 1:
            raise ValueError(
                f"the pointers count {ends[-1]} elements, the index {len(entries) - 1} and there are {len(values)} values: "
                "the arrays contradict each other"
            )
        for row, channel in enumerate(np.flatnonzero(self._live(arrays)).tolist()):
            start, stop = ends[row], ends[row + 1]
            yield channel, row, index[entries[start] : entries[stop]], values[start:stop]

    def _decode(self, arrays: Arrays) -> Floats:
        g = self.geometry
        if self.method in LOWERINGS:
            raw: Floats = LOWERINGS[self.method].decode(_floats(arrays["lowered"]), g)
            return raw
        if self.method == "zvc":
            return zvc.decode(np.asarray(arrays["mask"], np.uint32), _floats(arrays["values"]), g)
        padded = np.zeros((g.channels, *g.padded), np.float32)
        ptr = self._pointers(arrays)
        for channel, row, index, values in self._stored_channels(arrays):
            if self.method == "cscc":
                padded[channel] = cscc.decode_channel(ptr[row], index, values, g)
            else:
                places = cps.to_cpo(ptr[row], index, g, self.options.cps) if self.method == "cps" else index
                padded[channel] = cpo.decode_channel(ptr[row], places, values, g)
        return g.crop(padded)

    def _convolve_reference(self, arrays: Arrays, weights: Floats, groups: int, out: Floats) -> None:
        g = self.geometry
        if self.method == "zvc":
            zvc.convolve(np.asarray(arrays["mask"], np.uint32), _floats(arrays["values"]), g, weights, groups, out)
            return
        ptr = self._pointers(arrays)
        filters = weights.shape[3]
        for channel, row, index, values in self._stored_channels(arrays):
            group = channel // (g.channels // groups)
            part = out[:, :, group * filters : (group + 1) * filters]
            if self.method == "cps":
                cps.convolve(ptr[row], index, values, g, weights[channel], part, self.options.cps)
            else:
                convolve = cscc.convolve_channel if self.method == "cscc" else cpo.convolve_channel
                convolve(ptr[row], index, values, g, weights[channel], part)

    def _convolve_compiled(self, arrays: Arrays, weights: Floats, groups: int, out: Floats) -> None:
        g = self.geometry
        if self.method == "zvc":
            compiled.convolve_zvc(dict(arrays), g.shape, g.corner, g.window, g.dilation, weights, groups, out)
            return
        form = cps.FORMS[self.options.cps] if self.method == "cps" else Index.WINDOW
        full = {**arrays, "ptr": self._pointers(arrays)}
        compiled.convolve_strips(full, self._live(arrays), g.window, form, self.method != "cscc", weights, groups, out)

    def _check_weight(self, packed: PackedWeights) -> None:
        g, shape = self.geometry, packed.weight.shape
        if shape[2:] != g.kernel_size:
            raise ValueError(
                f"weight has shape {shape} and the map is encoded for a kernel of {g.kernel_size}; give (K, C/groups, "
                f"{g.kernel_size[0]}, {g.kernel_size[1]})"
            )
        if shape[1] * packed.groups != g.channels:
            raise ValueError(
                f"a weight of shape {shape} with groups={packed.groups} needs {shape[1] * packed.groups} input channels, and the map "
                f"has {g.channels}"
            )


def _floats(array: Array) -> Floats:
    floats: Floats = np.asarray(array, np.float32)
    return floats
