"""Storing sparse maps: CPO's arrays, CPS's shorter index, and a bit for every element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seerlab.encodings import cps as _cps
from seerlab.encodings import encode as _encode

from .checking import Case, Exercise, Mistake, seeded

Numbers = dict[str, Any]


def _sparse(*shape: int, seed: int, density: float = 0.5) -> Tensor:
    """Whole numbers 1, 2, ... in reading order with some left out, so that a value tells where it came from."""
    kept = torch.rand(shape, generator=seeded(seed)) < density
    return torch.where(kept, torch.arange(1, kept.numel() + 1).reshape(shape), 0).float()


def _cpo_cases() -> list[Case]:
    return [
        Case({"picture": torch.tensor([[1.0, 0.0, 2.0, 3.0], [0.0, 4.0, 5.0, 0.0], [6.0, 7.0, 0.0, 8.0]]), "kernel": 2}),
        Case({"picture": _sparse(4, 6, seed=1), "kernel": 3}),
        Case({"picture": _sparse(7, 9, seed=2, density=0.3), "kernel": 5}),
        Case({"picture": _sparse(4, 5, seed=7, density=0.7), "kernel": 4}, "two strips: three columns share strip and type"),
        Case({"picture": torch.zeros(3, 5), "kernel": 3}, "an empty map"),
    ]  # fmt: skip


def _cpo(
    picture: Tensor,
    kernel: int,
    *,
    transposed: bool = False,
    every_strip: bool = False,
    last_strip: bool = False,
    by_row: bool = False,
    from_left: bool = False,
    wide: bool = False,
    by_three: bool = False,
    totals: bool = True,
) -> Numbers:
    """CPO's arrays of one channel, stride 1, no padding; keywords are what learners do instead."""
    height, width = picture.shape
    strips = width - kernel + 1
    entries: list[tuple[tuple[int, ...], int, float]] = []
    counts = np.zeros((kernel, strips + 1), int)
    for column in range(width):
        first, last = max(0, column - kernel + 1), min(strips - 1, column)
        kind = last - first
        for strip in range(first, last + 1) if every_strip else [last if last_strip else first]:
            for row in torch.nonzero(picture[:, column]).ravel().tolist():
                local = column if from_left else column - strip
                pitch = width if wide else 3 if by_three else kernel
                index = local * height + row if transposed else row * pitch + local
                place = (kind, strip, row, column) if by_row else (kind, strip, column, row)
                entries.append((place, index, float(picture[row, column])))
                counts[kind, strip + 1] += 1
    entries.sort(key=lambda entry: entry[0])
    pointers = counts.cumsum(1) if totals else counts
    return {"ptr": pointers, "IN": [e[1] for e in entries], "DA": [e[2] for e in entries]}


def _right_cpo(picture: Tensor, kernel: int) -> Numbers:
    stored = _encode(picture[None], kernel_size=kernel, padding=0, method="cpo", skip_zero_channels=False).channels[0]
    assert stored is not None
    return {name: np.asarray(stored[name]) for name in ("ptr", "IN", "DA")}


def _one_total(picture: Tensor, kernel: int) -> Numbers:
    """Pointers that run on through the types."""
    right = _cpo(picture, kernel)
    ends = np.concatenate([[0], right["ptr"][:-1, -1].cumsum()])
    return {**right, "ptr": right["ptr"] + ends[:, None]}


def _types_from_one(picture: Tensor, kernel: int) -> Numbers:
    right = _cpo(picture, kernel)
    return {**right, "ptr": np.concatenate([np.zeros_like(right["ptr"][:1]), right["ptr"][:-1]])}


def _no_zero_in_front(picture: Tensor, kernel: int) -> Numbers:
    right = _cpo(picture, kernel)
    return {**right, "ptr": right["ptr"][:, 1:]}


def _types_by_edge(picture: Tensor, kernel: int) -> Numbers:
    """Types by the distance from the edges alone: strips may be fewer than that."""
    width = picture.shape[1]
    strips = width - kernel + 1
    entries = []
    for column in range(width):
        strip, kind = max(0, column - kernel + 1), min(column, kernel - 1, width - 1 - column)
        entries += [
            (kind, strip, column, row, row * kernel + column - strip, float(picture[row, column]))
            for row in torch.nonzero(picture[:, column]).ravel().tolist()
        ]
    entries.sort()
    pointers = [
        [sum(e[0] == kind and e[1] < strip for e in entries) for strip in range(strips + 1)] for kind in range(kernel)
    ]
    return {"ptr": np.asarray(pointers), "IN": [e[4] for e in entries], "DA": [e[5] for e in entries]}


def _row_order(picture: Tensor, kernel: int) -> Numbers:
    """Within a type and strip there is one column only, unless strips are few; reading order is the whole map's."""
    right = _cpo(picture, kernel)
    rows, columns = torch.nonzero(picture, as_tuple=True)
    first = (columns - kernel + 1).clamp(min=0)
    return {
        "ptr": right["ptr"],
        "IN": rows * kernel + columns - first,
        "DA": picture[rows, columns],
    }


CPO = Exercise(
    "cpo",
    "cpo(picture, kernel): one channel (H, W), a square kernel, stride 1, no padding. Return ptr, IN, DA. A column that lies in t + 1 "
    "strips is stored once, under type t, in the first strip that has it; strips are kernel columns wide and there are W - kernel + 1. "
    "Stored by type, then strip, then column, then row. IN is row * kernel + column counted from the strip's left edge; ptr has a row "
    "per type (kernel of them) of W - kernel + 2 running totals that start at 0.",
    _cpo_cases,
    _right_cpo,
    [
        Mistake(
            "transposed index",
            "IN counts row by row: row * kernel + column, not column * height + row.",
            lambda picture, kernel: _cpo(picture, kernel, transposed=True),
        ),
        Mistake(
            "stored in every strip",
            "That is CSCC. CPO stores a column once; its type says how often it is replayed.",
            lambda picture, kernel: _cpo(picture, kernel, every_strip=True),
        ),
        Mistake(
            "filed under the last strip",
            "A column is stored in the first strip that has it and replayed to the right.",
            lambda picture, kernel: _cpo(picture, kernel, last_strip=True),
        ),
        Mistake(
            "columns counted from the map's edge",
            "Within IN a column counts from the left edge of its strip.",
            lambda picture, kernel: _cpo(picture, kernel, from_left=True),
        ),
        Mistake(
            "counts instead of running totals",
            "A pointer says where a strip begins: add up.",
            lambda picture, kernel: _cpo(picture, kernel, totals=False),
        ),
        Mistake(
            "counted by the map's width",
            "IN is a place in the strip, which is `kernel` columns wide: row * kernel + column.",
            lambda picture, kernel: _cpo(picture, kernel, from_left=True, wide=True),
        ),
        Mistake(
            "counted by the map's width, from the strip's edge",
            "A strip is `kernel` columns wide: row * kernel + column.",
            lambda picture, kernel: _cpo(picture, kernel, wide=True),
        ),
        Mistake(
            "3 for every kernel",
            "The strip was 3 wide in the example; it is as wide as the kernel.",
            lambda picture, kernel: _cpo(picture, kernel, by_three=True),
        ),
        Mistake(
            "no 0 in front",
            "The first strip begins at 0: a row of ptr has one number more than there are strips.",
            _no_zero_in_front,
        ),
        Mistake(
            "row by row within a strip",
            "Down one column, then down the next: several may share strip and type.",
            lambda picture, kernel: _cpo(picture, kernel, by_row=True),
        ),
        Mistake(
            "more strips than there are",
            "A type counts strips: in a narrow map a column cannot lie in more than there are.",
            _types_by_edge,
        ),
        Mistake("totals run on through the types", "Every type's pointers start at 0 again.", _one_total),
        Mistake("types counted from 1", "A column in one strip only has type 0.", _types_from_one),
        Mistake("stored in reading order", "By type, then strip, then down the column.", _row_order),
    ],
    parts=("ptr", "IN", "DA"),
)


def _shorten_cases() -> list[Case]:
    return [
        Case({"rows": [0, 1, 2, 3], "column": 1, "height": 5}, "a full group"),
        Case({"rows": [1, 6], "column": 0, "height": 8}, "one in each group"),
        Case({"rows": [0, 1, 3, 4, 5], "column": 3, "height": 6}),
        Case({"rows": [2, 3, 4, 5, 8, 10, 11], "column": 7, "height": 12}, "neighbours on both sides of a border"),
        Case({"rows": [], "column": 2, "height": 9}, "an empty column"),
        Case({"rows": [1, 2, 3, 5, 6, 7, 8], "column": 5, "height": 9}, "the last group is cut off by the edge"),
    ]


def _short(
    rows: Sequence[int],
    column: int,
    height: int,
    *,
    start: Any = lambda column, height, top: ~(column * height + top),
    bit: Any = lambda offset: 1 << offset,
    patterns: Sequence[int] = (3, 4),
    swapped: bool = False,
    place: Any = lambda column, height, row: column * height + row,
) -> list[int]:
    index: list[int] = []
    for top in range(0, height, 4):
        inside = [row for row in rows if top <= row < top + 4]
        if len(inside) in patterns:
            pair = [start(column, height, top), sum(bit(row - top) for row in inside)]
            index += pair[::-1] if swapped else pair
        else:
            index += [place(column, height, row) for row in inside]
    return index


def _unaligned(rows: Sequence[int], column: int, height: int) -> list[int]:
    """Groups that begin at the first non-zero not yet stored."""
    index: list[int] = []
    left = list(rows)
    while left:
        top = left[0]
        inside = [row for row in left if row < top + 4]
        left = left[len(inside) :]
        if len(inside) >= 3:
            index += [~(column * height + top), sum(1 << row - top for row in inside)]
        else:
            index += [column * height + row for row in inside]
    return index


def _first_of_group(rows: Sequence[int], column: int, height: int) -> list[int]:
    index: list[int] = []
    for top in range(0, height, 4):
        inside = [row for row in rows if top <= row < top + 4]
        if len(inside) >= 3:
            index += [~(column * height + inside[0]), sum(1 << row - top for row in inside)]
        else:
            index += [column * height + row for row in inside]
    return index


def _four_values(rows: Sequence[int], column: int, height: int) -> list[int]:
    index: list[int] = []
    for start in range(0, len(rows), 4):
        inside = rows[start : start + 4]
        if len(inside) >= 3:
            index += [~(column * height + inside[0]), sum(1 << row - inside[0] for row in inside)]
        else:
            index += [column * height + row for row in inside]
    return index


SHORTEN = Exercise(
    "shorten",
    "shorten(rows, column, height): the rows of a column's non-zeros, rising; the column; the map's height. Return CPS's index of it, a "
    "list: groups of four rows begin at 0, 4, 8, ...; one or two non-zeros of a group are listed as column * height + row; three or four "
    "become two numbers, the complement ~(column * height + top row of the group) and the set, in which 1, 2, 4, 8 stand for the four rows "
    "from the top.",
    _shorten_cases,
    lambda rows, column, height: _cps.tag([column * height + row for row in rows], height),
    [
        Mistake(
            "prefix without a mark",
            "A reader could not tell it from a plain place: store the complement.",
            lambda rows, column, height: _short(rows, column, height, start=lambda c, h, top: c * h + top),
        ),
        Mistake(
            "negative instead of complement",
            "-0 is 0 and carries no mark. The complement ~n is -n - 1.",
            lambda rows, column, height: _short(rows, column, height, start=lambda c, h, top: -(c * h + top)),
        ),
        Mistake(
            "groups begin at the first non-zero",
            "Groups are aligned: they begin at rows 0, 4, 8, ...",
            _unaligned,
        ),
        Mistake(
            "place of the first non-zero",
            "The prefix is the place of the group's top row, whether that is a zero or not.",
            _first_of_group,
        ),
        Mistake(
            "four non-zeros instead of four rows",
            "A group is four neighbouring rows, and may hold fewer than four non-zeros.",
            _four_values,
        ),
        Mistake(
            "set read from the other end",
            "1 stands for the top row of the group, 8 for its last.",
            lambda rows, column, height: _short(rows, column, height, bit=lambda offset: 8 >> offset),
        ),
        Mistake(
            "pairs made into sets",
            "Two non-zeros take two numbers either way; only three or four are worth a set.",
            lambda rows, column, height: _short(rows, column, height, patterns=(2, 3, 4)),
        ),
        Mistake(
            "single non-zeros made into sets",
            "One or two are listed by place.",
            lambda rows, column, height: _short(rows, column, height, patterns=(1, 2, 3, 4)),
        ),
        Mistake(
            "only full groups shortened",
            "Three of four are worth a set as well.",
            lambda rows, column, height: _short(rows, column, height, patterns=(4,)),
        ),
        Mistake(
            "set before the prefix",
            "The marked prefix comes first: it announces the set.",
            lambda rows, column, height: _short(rows, column, height, swapped=True),
        ),
        Mistake(
            "the group's row without its column",
            "The prefix is a place in the whole map.",
            lambda rows, column, height: _short(rows, column, height, start=lambda c, h, top: ~top),
        ),
        Mistake(
            "every non-zero listed",
            "Groups with three or four become two numbers.",
            lambda rows, column, height: _short(rows, column, height, patterns=()),
        ),
    ],
)


def _zvc_cases() -> list[Case]:
    signed = _sparse(2, 4, 5, seed=4) * torch.where(torch.rand(2, 4, 5, generator=seeded(5)) < 0.5, -1, 1)
    return [
        Case({"image": torch.tensor([[[0.0, 3.0, 0.0], [0.5, 0.0, 7.0]]])}, "fewer than 32 elements"),
        Case({"image": _sparse(1, 4, 8, seed=3)}, "exactly 32 elements"),
        Case({"image": signed}, "two channels, values of both signs"),
        Case({"image": _sparse(3, 7, 5, seed=6, density=0.2)}),
    ]


def _zvc(flat: NDArray[Any], used: NDArray[Any], *, most_first: bool = False) -> Numbers:
    """Words of 32 bits: `used` of `flat`."""
    bits = np.zeros(-(-used.size // 32) * 32, dtype=np.int64)
    bits[: used.size] = used
    weights = 1 << np.arange(32)
    return {"words": bits.reshape(-1, 32) @ (weights[::-1] if most_first else weights), "values": flat[flat != 0]}


def _flat(image: Tensor) -> NDArray[Any]:
    return image.numpy().ravel()


def _right_zvc(image: Tensor) -> Numbers:
    return _zvc(_flat(image), _flat(image) != 0)


def _cut_zvc(image: Tensor) -> Numbers:
    right = _right_zvc(image)
    return {**right, "words": right["words"][: image.numel() // 32]}


def _by_channel(image: Tensor) -> Numbers:
    words = [_zvc(_flat(channel), _flat(channel) != 0)["words"] for channel in image]
    return {"words": np.concatenate(words), "values": _right_zvc(image)["values"]}


def _columns_first(image: Tensor) -> Numbers:
    turned = image.mT.contiguous()
    return _right_zvc(turned)


ZVC = Exercise(
    "zvc",
    "zvc(image): a map (C, H, W). Return words and values. Elements are numbered in the order channel, row, column; bit b of word w (bit "
    "0 is worth 1, bit 31 the most) is 1 if element 32 w + b is not zero; the last word is filled up with 0 bits. values are the "
    "non-zeros in the same order.",
    _zvc_cases,
    _right_zvc,
    [
        Mistake(
            "bits from the other end of the word",
            "Bit 0, worth 1, is for the first element of a word.",
            lambda image: _zvc(_flat(image), _flat(image) != 0, most_first=True),
        ),
        Mistake(
            "zeros marked instead of non-zeros",
            "A bit of 1 says that there is a value.",
            lambda image: _zvc(_flat(image), _flat(image) == 0),
        ),
        Mistake("negative values overlooked", "Anything but 0 is kept.", lambda image: _zvc(_flat(image), _flat(image) > 0)),
        Mistake(
            "a word with a sign",
            "Bit 31 is worth 2^31, like any other: in 32 bits with a sign it turns negative. Use 64.",
            lambda image: {**_right_zvc(image), "words": (_right_zvc(image)["words"] + 2**31) % 2**32 - 2**31},
        ),
        Mistake("last word missing", "Elements beyond the last full word need a word too.", _cut_zvc),
        Mistake("a new word for each channel", "Elements are numbered through all channels.", _by_channel),
        Mistake("column by column", "Channel, row, column: transposed index?", _columns_first),
        Mistake(
            "zeros among the values",
            "Only the non-zeros are stored.",
            lambda image: {**_right_zvc(image), "values": _flat(image)},
        ),
    ],
    parts=("words", "values"),
)  # fmt: skip
