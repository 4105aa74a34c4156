"""`encode`: choose a method, check the options, and make the arrays of each image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seerlab.kernels import encodings as compiled
from seerlab.kernels.encodings import Index
from seerlab.kernels.implementation import wants_reference

from . import cpo, cps, cscc, zvc
from .accounting import CHANNELWISE, METHODS, index_dtype
from .encoded import LOWERINGS, Array, Encoded, Floats, Options
from .geometry import Geometry, geometry_of
from .weights import float_array

DILATED = ("im2col", "zvc")  # the sources define the others for dilation 1 only


def encode(
    x: Any,
    kernel_size: Any = 3,
    stride: Any = 1,
    padding: Any = 1,
    method: str = "cps",
    *,
    dilation: Any = 1,
    skip_zero_channels: bool = True,
    trim: bool = False,
    cps: str = "tagged",
    implementation: str = "auto",
) -> Encoded:
    """Store a map so that it can be convolved as it lies.

    Parameters
    ----------
    x : Tensor or array, shape (C, H, W) or (N, C, H, W), float32
        NaN and infinity are non-zeros; -0.0 is zero. Nothing is rounded and nothing small is dropped.
    kernel_size, stride : int or pair of int
        Of the convolution, vertical and horizontal.
    padding : int, pair, four integers (top, bottom, left, right) or "same"
        "same" is TensorFlow's: the larger half at the bottom and right.
    method : {"im2col", "mec", "cscc", "cpo", "cps", "zvc"}
    dilation : int or pair of int
        More than 1 for im2col and ZVC only: the sources of the others do not define it.
    skip_zero_channels : bool
        Store nothing for a channel without non-zeros (CSCC, CPO, CPS).
    trim : bool
        Cut the pointers of type 0 to three entries (CPO, CPS at horizontal stride 1); changes nothing where that is not possible.
    cps : {"tagged", "local", "packed"}
        Form of the index of CPS: with marked prefixes; with columns counted inside a strip (our option); one word per group of four
        rows (our extension, not the paper).
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is the plain NumPy code of the method's module; both give the same arrays.

    Returns
    -------
    Encoded

    Raises
    ------
    TypeError
        For a wrong kind or element type.
    ValueError
        For an unknown method or option, an option that the method does not have, numbers out of range, a kernel larger than the
        padded map, or a map too large for the index.

    Notes
    -----
    CPO and CPS: arXiv 2104.08314. This follows the authors' public code; the body of the paper was not consulted. Strides above 1,
    the mark that makes CPS readable, and the layout of several channels are ours.

    Examples
    --------
    >>> import torch
    >>> from seerlab.encodings import encode
    >>> x = torch.tensor([[[0.0, 1, 0, 2, 0], [3, 4, 5, 6, 0], [0, 7, 0, 8, 0], [9, 10, 11, 0, 12], [0, 0, 13, 14, 15]]])
    >>> encode(x, kernel_size=3, padding=0, method="cps").arrays["IN"].tolist()
    [1, 3, 23, 24, -6, 15, -16, 7, 19, 11, 13, 14]
    """
    reference = wants_reference(implementation)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, METHODS))}")
    options = Options(bool(skip_zero_channels), bool(trim), cps)
    x = float_array("x", x)
    if x.ndim not in (3, 4):
        raise ValueError(f"x has shape {x.shape}; give (C, H, W) or (N, C, H, W)")
    geometry = geometry_of(x.shape[-3:], kernel_size, stride, padding, dilation)
    _check_options(method, geometry, options)
    encoder = _reference_arrays if reference else _compiled_arrays
    batch = x[None] if x.ndim == 3 else x
    images = []
    nonzeros = []
    for image in batch:
        arrays, count = encoder(np.ascontiguousarray(image), geometry, method, options)
        if method not in LOWERINGS:  # torch takes writable arrays only
            for array in arrays.values():
                array.flags.writeable = False  # the arrays of one encoding depend on each other
        images.append(arrays)
        nonzeros.append(count)
    return Encoded(method, geometry, options, tuple(images), tuple(nonzeros), x.ndim == 4)


def _check_options(method: str, geometry: Geometry, options: Options) -> None:
    if geometry.dilation != (1, 1) and method not in DILATED:
        raise ValueError(
            f"dilation={geometry.dilation}: {method} is defined for dilation 1 only; choose one of {', '.join(map(repr, DILATED))}"
        )
    if options.cps not in cps.FORMS:
        raise ValueError(f"unknown form cps={options.cps!r}; choose one of {', '.join(map(repr, cps.FORMS))}")
    if options.cps != "tagged" and method != "cps":
        raise ValueError(f"cps={options.cps!r} is a form of method 'cps', not of {method!r}; leave it out")
    if options.trim and method not in ("cpo", "cps"):
        raise ValueError(f"trim=True cuts pointers of 'cpo' and 'cps'; {method!r} has none to cut")
    if options.trim and geometry.stride[1] != 1:
        raise ValueError(
            f"trim=True needs a horizontal stride of 1, and it is {geometry.stride[1]}: columns that one strip sees then occur in "
            "the middle as well; leave it out"
        )
    if method in CHANNELWISE:
        index_dtype(method, geometry, options.cps)  # refuses maps that are too large before anything is allocated


def _reference_arrays(image: Floats, geometry: Geometry, method: str, options: Options) -> tuple[dict[str, Array], int]:
    """Return the arrays of one image and its number of non-zeros, by the plain NumPy code."""
    nonzeros = int(np.count_nonzero(image))
    if method in LOWERINGS:
        return {"lowered": LOWERINGS[method].encode(image, geometry)}, nonzeros
    if method == "zvc":
        return zvc.encode(image), nonzeros
    live = np.zeros(geometry.channels, bool)
    pointers: list[Any] = []
    index: list[int] = []
    values: list[float] = []
    for number, channel in enumerate(geometry.pad(image)):
        ptr: Any
        if method == "cps":
            ptr, places, numbers = cps.encode_channel(channel, geometry, options.cps)
        elif method == "cpo":
            ptr, places, numbers = cpo.encode_channel(channel, geometry)
        else:
            flat, places, numbers = cscc.encode_channel(channel, geometry)
            ptr = [flat]
        if numbers or not options.skip_zero_channels:
            live[number] = True
            pointers.append(ptr)
            index += places
            values += numbers
    types = 1 if method == "cscc" else geometry.types
    arrays: dict[str, Array] = {
        "ptr": np.array(pointers, np.int32).reshape(-1, types, geometry.out[1] + 1),
        "IN": np.array(index, index_dtype(method, geometry, options.cps)),
        "DA": np.array(values, np.float32),
    }
    return _finished(arrays, live, geometry, options), nonzeros


def _compiled_arrays(image: Floats, geometry: Geometry, method: str, options: Options) -> tuple[dict[str, Array], int]:
    """Return the arrays of one image and its number of non-zeros, by the compiled code (torch for im2col and MEC)."""
    per_column = compiled.count_columns(image)  # (C, W)
    nonzeros = int(per_column.sum())
    if method in LOWERINGS:
        return {"lowered": LOWERINGS[method].encode_fast(image, geometry)}, nonzeros
    if method == "zvc":
        return compiled.encode_zvc(image, nonzeros), nonzeros
    strips = geometry.strips_per_column
    if method == "cscc":
        per_channel = per_column @ strips
    else:
        per_channel = per_column[:, strips > 0].sum(axis=1)
    live = per_channel > 0 if options.skip_zero_channels else np.ones(geometry.channels, bool)
    dtype = index_dtype(method, geometry, options.cps)
    stored = int(per_channel.sum())
    if method == "cscc":
        arrays = compiled.encode_cscc(image, geometry.corner, geometry.window, live, stored, dtype)
    else:
        form = cps.FORMS[options.cps] if method == "cps" else Index.WINDOW
        step = 1 if method == "cpo" else geometry.padded[0]
        columns = geometry.kernel_columns(step, absolute=method == "cps" and options.cps != "local")
        arrays = compiled.encode_columns(
            image, geometry.corner, geometry.window, columns, form, geometry.types, live, stored, dtype
        )
    return _finished(arrays, live, geometry, options), nonzeros


def _finished(
    arrays: dict[str, Array], live: NDArray[np.bool_], geometry: Geometry, options: Options
) -> dict[str, Array]:
    """Add the bitmap of stored channels, and trim."""
    if options.trim and geometry.trimmable:
        arrays["ptr"] = cpo.trim(np.asarray(arrays["ptr"], np.int32))
    return {"live": np.packbits(live, bitorder="little"), **arrays}
