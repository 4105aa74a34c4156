"""Learners' functions for epsilon pruning and the encoders: three right ones and at least five wrong ones each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import seerlab as sl
from tests.exercises.test_seernet import pairs


def share(maps, weights):
    return maps / (maps + weights)


def cpo_dict(picture, kernel):
    """By types, as the notebook's table has it."""
    picture = np.asarray(picture)
    height, width = picture.shape
    strips = width - kernel + 1
    ptr, places, values = [], [], []
    for kind in range(kernel):
        ptr.append([0])
        for strip in range(strips):
            for column in range(width):
                seen = [s for s in range(strips) if s <= column < s + kernel]
                if seen[0] == strip and len(seen) == kind + 1:
                    for row in range(height):
                        if picture[row, column] != 0:
                            places.append(row * kernel + column - strip)
                            values.append(picture[row, column])
            ptr[-1].append(len(values) - sum(p[-1] for p in ptr[:-1]))
    return {"ptr": np.array(ptr), "IN": np.array(places), "DA": np.array(values)}


def cpo_tuple(picture, kernel):
    stored = cpo_dict(picture, kernel)
    return torch.tensor(stored["ptr"]), stored["IN"].tolist(), torch.tensor(stored["DA"])


def cpo_sorted(picture, kernel, *, index=None, strip_of=min, copies=False, running=True, key=None):
    height, width = picture.shape
    strips = width - kernel + 1
    index = index or (lambda row, local, height: row * kernel + local)
    entries = []
    for row in range(height):
        for column in range(width):
            if picture[row, column] == 0:
                continue
            seen = range(max(0, column - kernel + 1), min(strips - 1, column) + 1)
            for strip in seen if copies else [strip_of(seen)]:
                entries.append((len(seen) - 1, strip, column, row))
    entries.sort(key=key)
    ptr = torch.zeros(kernel, strips + 1, dtype=torch.int32)
    for kind, strip, _, _ in entries:
        if running:
            ptr[kind, strip + 1 :] += 1
        else:
            ptr[kind, strip + 1] += 1
    return ptr, [index(row, column - strip, height) for _, strip, column, row in entries], [float(picture[r, c]) for _, _, c, r in entries]  # fmt: skip


def cpo_from_the_map(picture, kernel):
    """Places in the whole map, in CPO's order."""
    values = cpo_sorted(picture, kernel)[2]  # all different in the hidden cases
    return [int(torch.nonzero(picture.flatten() == value)[0]) for value in values], values


def cpo_by_edges(picture, kernel):
    """The type from the distance to the nearer edge, as if there were always enough strips."""
    width = picture.shape[1]
    found = sorted(
        (min(column, kernel - 1, width - 1 - column), max(0, column - kernel + 1), column, row)
        for row, column in torch.nonzero(picture).tolist()
    )
    ptr = np.zeros((kernel, width - kernel + 2), int)
    for kind, strip, _, _ in found:
        ptr[kind, strip + 1 :] += 1
    return (
        ptr,
        [row * kernel + column - strip for _, strip, column, row in found],
        [picture[row, column] for *_, column, row in found],
    )


def cpo_but(**changed):
    return lambda picture, kernel: cpo_sorted(picture, kernel, **changed)


def shorten_groups(rows, column, height, prefix=lambda place: ~place, worth=3, bit=lambda i: 2**i, turned=False):
    found = []
    for top in range(0, height, 4):
        group = [row for row in rows if row // 4 == top // 4]
        if len(group) >= worth:
            pair = [prefix(column * height + top), sum(bit(row % 4) for row in group)]
            found += pair[::-1] if turned else pair
        else:
            found += [column * height + row for row in group]
    return found


def shorten_walk(rows, column, height):
    index, i = [], 0
    while i < len(rows):
        top = rows[i] - rows[i] % 4
        j = i
        while j < len(rows) and rows[j] < top + 4:
            j += 1
        places = [column * height + row for row in rows[i:j]]
        index += places if j - i < 3 else [-(column * height + top) - 1, sum(1 << row - top for row in rows[i:j])]
        i = j
    return np.array(index)


def shorten_bitmap(rows, column, height):
    held = np.zeros(-(-height // 4) * 4, int)
    held[list(rows)] = 1
    index = []
    for group, bits in enumerate(held.reshape(-1, 4)):
        start = column * height + 4 * group
        index.extend([~start, bits @ [1, 2, 4, 8]] if bits.sum() > 2 else (start + np.flatnonzero(bits)).tolist())
    return tuple(index)


def short_from_the_first(rows, column, height):
    found = []
    for top in range(0, height, 4):
        group = [column * height + row for row in rows if row // 4 == top // 4]
        found += [~group[0], sum(2 ** (place - column * height - top) for place in group)] if len(group) > 2 else group
    return found


def short_by_four_values(rows, column, height):
    found = []
    for group in (rows[i : i + 4] for i in range(0, len(rows), 4)):
        places = [column * height + row for row in group]
        found += [~places[0], sum(2 ** (row - group[0]) for row in group)] if len(group) > 2 else places
    return found


def short_but(**changed):
    return lambda rows, column, height: shorten_groups(rows, column, height, **changed)


def zvc_numpy(image):
    flat = np.asarray(image).ravel()
    bits = np.zeros(-(-flat.size // 32) * 32, bool)
    bits[: flat.size] = flat != 0
    return np.packbits(bits, bitorder="little").view(np.uint32), flat[flat != 0]


def zvc_torch(image):
    flat = image.flatten()
    bits = torch.nn.functional.pad((flat != 0).long(), (0, -flat.numel() % 32)).view(-1, 32)
    return {"words": (bits << torch.arange(32)).sum(1), "values": flat[flat != 0]}


def zvc_loop(image, used=lambda v: v != 0, bit=lambda i: 1 << i % 32, kept=lambda v: v != 0):
    words, values = [], []
    for i, value in enumerate(image.flatten().tolist()):
        if i % 32 == 0:
            words.append(0)
        if used(value):
            words[-1] |= bit(i)
        if kept(value):
            values.append(value)
    return words, values


def zvc_but(**changed):
    return lambda image: zvc_loop(image, **changed)


RIGHT = {
    "prunable": [
        lambda maps, epsilon: maps.abs().amax((2, 3)) <= epsilon,
        lambda maps, epsilon: (np.abs(np.asarray(maps)) <= epsilon).all(axis=(2, 3)),
        lambda maps, epsilon: [[all(abs(v) <= epsilon for v in m.flatten().tolist()) for m in n] for n in maps],
    ],
    "least_count": [
        lambda values: 99 * values // 100 + 1,
        lambda values: next(n for n in range(values + 1) if 100 * n > 99 * values),
        lambda values: np.int64(math.floor(values * 99 / 100) + 1),
    ],
    "input_share": [
        lambda c, h, w, k, r, g: share(c * h * w, k * (c // g) * r * r),
        lambda c, h, w, k, r, g: share(torch.zeros(c, h, w).numel(), torch.nn.Conv2d(c, k, r, groups=g).weight.numel()),
        lambda c, h, w, k, r, g: np.float64(1 / (1 + k * c * r**2 / g / (c * h * w))),
    ],
    "cpo": [cpo_dict, cpo_tuple, cpo_sorted],
    "shorten": [shorten_groups, shorten_walk, shorten_bitmap],
    "zvc": [zvc_numpy, zvc_torch, zvc_loop],
}
WRONG = {
    "prunable": [
        (lambda maps, epsilon: maps.abs().amax((2, 3)) < epsilon, "< instead of <="),
        (lambda maps, epsilon: maps.amax((2, 3)) <= epsilon, "negative values overlooked"),
        (lambda maps, epsilon: maps.abs().amin((2, 3)) <= epsilon, "any value instead of all"),
        (lambda maps, epsilon: maps.abs().mean((2, 3)) <= epsilon, "the mean instead of every value"),
        (lambda maps, epsilon: maps.abs() <= epsilon, "values marked instead of maps"),
        (lambda maps, epsilon: maps.abs().amax((2, 3)) > epsilon, "kept instead of pruned"),
        (lambda maps, epsilon: maps.abs().amax((0, 2, 3)) <= epsilon, None),
    ],
    "least_count": [
        (lambda values: math.ceil(values * 99 / 100), "at least instead of more than"),
        (lambda values: int(values * 99 / 100), "rounded down"),
        (lambda values: round(values * 99 / 100), "rounded to the nearest"),
        (lambda values: values, "all values"),
        (lambda values: math.ceil(values * 99 / 100) + 1, "rounded up, then one more"),
        (lambda values: 0.99 * values, None),
    ],
    "input_share": [
        (lambda c, h, w, k, r, g: share(c * h * w, k * c * r * r), "groups overlooked"),
        (lambda c, h, w, k, r, g: share(c * h * w, c // g * r * r), "weights counted for one filter"),
        (lambda c, h, w, k, r, g: share(c * h * w, k * (c // g) * r), "kernel not squared"),
        (lambda c, h, w, k, r, g: share(k * h * w, k * (c // g) * r * r), "output maps instead of input maps"),
        (lambda c, h, w, k, r, g: share(k * (c // g) * r * r, c * h * w), "share of the weights"),
        (lambda c, h, w, k, r, g: share(h * w, k * (c // g) * r * r), None),
    ],
    "cpo": [
        (cpo_but(index=lambda row, local, height: local * height + row), "transposed index"),
        (cpo_but(copies=True), "stored in every strip"),
        (cpo_but(strip_of=max), "filed under the last strip"),
        (cpo_but(running=False), "counts instead of running totals"),
        (cpo_but(key=lambda entry: (*entry[:2], entry[3], entry[2])), "row by row within a strip"),
        (lambda picture, kernel: cpo_sorted(picture, kernel, index=lambda row, local, _: row * picture.shape[1] + local),
         "counted by the map's width, from the strip's edge"),
        (lambda picture, kernel: (cpo_sorted(picture, kernel)[0], *cpo_from_the_map(picture, kernel)), "counted by the map's width"),
        (cpo_but(index=lambda row, local, _: row * 3 + local), "3 for every kernel"),
        (lambda picture, kernel: (cpo_sorted(picture, kernel)[0][:, 1:], *cpo_sorted(picture, kernel)[1:]), "no 0 in front"),
        (cpo_by_edges, "more strips than there are"),
        (lambda picture, kernel: cpo_sorted(torch.nn.functional.pad(picture, (1, 1)), kernel), None),
        (cpo_but(key=lambda entry: (entry[1], entry[0], *entry[2:])), None),
    ],
    "shorten": [
        (short_but(prefix=lambda place: place), "prefix without a mark"),
        (short_but(prefix=lambda place: -place), "negative instead of complement"),
        (short_but(bit=lambda i: 2 ** (3 - i)), "set read from the other end"),
        (short_but(worth=2), "pairs made into sets"),
        (short_from_the_first, "place of the first non-zero"),
        (short_by_four_values, "four non-zeros instead of four rows"),
        (short_but(turned=True), "set before the prefix"),
        (short_but(worth=5), "every non-zero listed"),
        (lambda rows, column, height: shorten_groups(rows, column + 1, height), None),
    ],
    "zvc": [
        (zvc_but(bit=lambda i: 1 << 31 - i % 32), "bits from the other end of the word"),
        (zvc_but(used=lambda v: v == 0), "zeros marked instead of non-zeros"),
        (zvc_but(used=lambda v: v > 0), "negative values overlooked"),
        (zvc_but(kept=lambda v: True), "zeros among the values"),
        (lambda image: (zvc_torch(image)["words"].int(), zvc_torch(image)["values"]), "a word with a sign"),
        (lambda image: zvc_loop(image.mT), "column by column"),
        (lambda image: zvc_loop(image.flatten()[: image.numel() // 32 * 32])[:1] + zvc_loop(image)[1:], "last word missing"),
        (zvc_but(bit=lambda i: 1 << (i + 1) % 32), None),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "function"), pairs(RIGHT))
def test_a_right_function_is_accepted(name, function):
    verdict = getattr(sl.exercises, name).check(function)
    assert verdict, verdict.text


@pytest.mark.parametrize(("name", "wrong"), pairs(WRONG))
def test_a_wrong_function_is_rejected_and_its_mistake_named(name, wrong):
    function, mistake = wrong
    verdict = getattr(sl.exercises, name).check(function)
    assert verdict.state == "wrong"
    assert verdict.mistake == mistake, verdict.text
    assert "expected" in verdict.text


def test_a_map_with_its_padding_counted_twice_is_told_by_its_pointers():
    """An off-by-one padding: the picture was padded already."""
    verdict = sl.exercises.cpo.check(
        lambda picture, kernel: cpo_sorted(torch.nn.functional.pad(picture, (1, 1)), kernel)
    )
    assert "ptr: expected the shape (2, 4), got the shape (2, 6)" in verdict.text
