"""Learners' functions for zeros, quantiser, mask and winners: three right ones and at least five wrong ones each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import seerlab as sl


def limit_of(bits, signed):
    return 2 ** (bits - 1) - 1 if signed else 2**bits - 1


def quantise_torch(values, bits, signed):
    largest = values.abs().max()
    return torch.round(values / largest * limit_of(bits, signed)).int() if largest > 0 else torch.zeros_like(values)


def quantise_numpy(values, bits, signed):
    values = np.asarray(values)
    scale = limit_of(bits, signed) / (np.abs(values).max() or 1)
    return np.rint(values * scale).astype(np.int16)


def quantise_loop(values, bits, signed):
    flat = values.flatten().tolist()
    largest = max(abs(v) for v in flat)
    codes = [round(v * limit_of(bits, signed) / largest) if largest else 0 for v in flat]
    return torch.tensor(codes).reshape(values.shape)


def quantise_by(rounding=torch.round, limit=limit_of, size=lambda values: values.abs().max()):
    return lambda values, bits, signed: rounding(values * limit(bits, signed) / size(values).clamp(min=1e-20))


def threshold(norm, bias):
    spread = torch.sqrt(norm["variance"] + norm["eps"])
    return norm["mean"] - bias - norm["shift"] * spread / norm["gain"]


def needed_folded(sums, scale_x, scale_w, bias, norm):
    gain = norm["gain"] / torch.sqrt(norm["variance"] + norm["eps"])
    folded = norm["shift"] + (bias - norm["mean"]) * gain
    return sums / scale_x / scale_w[:, None, None] * gain[:, None, None] + folded[:, None, None] > 0


def needed_threshold(sums, scale_x, scale_w, bias, norm):
    t = (threshold(norm, bias) * scale_x * scale_w)[:, None, None]
    return torch.where(norm["gain"][:, None, None] > 0, sums > t, sums < t)


def needed_layer(sums, scale_x, scale_w, bias, norm):
    exact = sums.numpy() / (scale_x * scale_w.numpy())[:, None, None] + bias.numpy()[:, None, None]
    y = F.batch_norm(
        torch.from_numpy(exact)[None].float(),
        norm["mean"],
        norm["variance"],
        norm["gain"],
        norm["shift"],
        eps=norm["eps"],
    )
    return (F.relu(y)[0] != 0).numpy().astype(np.uint8)


def needed_by(use_eps=True, root=True, bias_factor=1.0, scaled=True, at_least=False, norm_at_all=True):
    def function(sums, scale_x, scale_w, bias, norm):
        value = sums / (scale_x * scale_w[:, None, None]) if scaled else sums
        value = value + bias_factor * bias[:, None, None]
        if norm_at_all:
            spread = norm["variance"] + (norm["eps"] if use_eps else 0)
            spread = spread.sqrt() if root else spread
            value = (value - norm["mean"][:, None, None]) / spread[:, None, None]
            value = value * norm["gain"][:, None, None] + norm["shift"][:, None, None]
        return value >= 0 if at_least else value > 0

    return function


def winners_torch(sums):
    largest, places = F.max_pool2d(sums[None], 2, return_indices=True)
    mask = torch.zeros(sums.shape[0], sums.shape[1] * sums.shape[2], dtype=torch.bool)
    mask.scatter_(1, places[0].flatten(1), (largest[0] > 0).flatten(1))
    return mask.view(sums.shape)


def winners_numpy(sums):
    s = np.asarray(sums)
    k, p, q = s.shape
    windows = s.reshape(k, p // 2, 2, q // 2, 2).transpose(0, 1, 3, 2, 4).reshape(k, p // 2, q // 2, 4)
    hot = np.eye(4, dtype=bool)[windows.argmax(-1)] & (windows.max(-1, keepdims=True) > 0)
    return hot.reshape(k, p // 2, q // 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(k, p, q)


def winners_loop(sums, first=None, rectified=True, ties=False, at_least=False):
    k, p, q = sums.shape
    mask = [[[False] * q for _ in range(p)] for _ in range(k)]
    first = first or [(0, 0), (0, 1), (1, 0), (1, 1)]
    for c in range(k):
        for y in range(0, p, 2):
            for x in range(0, q, 2):
                values = [float(sums[c, y + i, x + j]) for i, j in first]
                best = max(values)
                if rectified and (best < 0 or (best == 0 and not at_least)):
                    continue
                for (i, j), value in zip(first, values, strict=True):
                    if value == best:
                        mask[c][y + i][x + j] = True
                        if not ties:
                            break
    return mask


def loop(**changed):
    return lambda sums: winners_loop(sums, **changed)


RIGHT = {
    "discarded_share": [
        lambda sums: (torch.relu(sums) == 0).float().mean(),
        lambda sums: 1 - np.count_nonzero(np.asarray(sums) > 0) / np.asarray(sums).size,
        lambda sums: sum(v <= 0 for v in sums.flatten().tolist()) / sums.numel(),
    ],
    "quantise": [quantise_torch, quantise_numpy, quantise_loop],
    "needed": [needed_folded, needed_threshold, needed_layer],
    "winners": [winners_torch, winners_numpy, winners_loop],
}
WRONG = {
    "discarded_share": [
        (lambda sums: (torch.relu(sums) > 0).float().mean(), "kept instead of discarded"),
        (lambda sums: (sums < 0).float().mean(), "< instead of <="),
        (lambda sums: (sums == 0).float().mean().item(), "zeros counted before the ReLU"),
        (lambda sums: 100 * float((torch.relu(sums) == 0).float().mean()), "per cent instead of a share"),
        (lambda sums: int((torch.relu(sums) == 0).sum()), "a count instead of a share"),
        (lambda sums: (sums[0] <= 0).float().mean(), "only the first picture"),
        (lambda sums: 0.5, None),
    ],
    "quantise": [
        (quantise_by(torch.floor), "floor instead of round"),
        (quantise_by(lambda x: x.int()), "cut off towards zero instead of rounded"),
        (quantise_by(limit=lambda bits, signed: 2 ** (bits - signed)), "one code too many"),
        (quantise_by(limit=lambda bits, signed: 2 ** (bits - 1) - 1), "a bit spent on a sign that is not there"),
        (quantise_by(limit=lambda bits, signed: 2**bits - 1), "no bit left for the sign"),
        (quantise_by(size=lambda values: values.max()), "largest value instead of largest size"),
        (lambda values, bits, signed: torch.round(values * limit_of(bits, signed) / values.abs().max()), "zero divided by zero"),
        (quantise_by(lambda x: x), "not rounded"),
        (
            lambda values, bits, signed: (
                quantise_torch(values, bits, signed) * values.abs().max() / limit_of(bits, signed)
            ),
            "scaled back",
        ),
        (quantise_by(size=lambda values: values.abs().mean()), None),
    ],
    "needed": [
        (needed_by(norm_at_all=False), "the BatchNorm is not folded in"),
        (lambda sums, *rest: sums > 0, "the bare sign of the sums"),
        (needed_by(at_least=True), ">= instead of >"),
        (
            lambda sums, sx, sw, bias, norm: sums > (threshold(norm, bias) * sx * sw)[:, None, None],
            "a negative gain is overlooked",
        ),
        (needed_by(use_eps=False), "eps is left out"),
        (needed_by(root=False), "divided by the variance"),
        (needed_by(bias_factor=0), "the bias is left out"),
        (
            lambda sums, sx, sw, bias, norm: needed_folded(sums + bias[:, None, None], sx, sw, 0 * bias, norm),
            "the bias is left out",
        ),
        (
            lambda sums, sx, sw, bias, norm: needed_folded(
                sums, sx, sw, bias, {**norm, "variance": (norm["variance"].sqrt() + norm["eps"]) ** 2, "eps": 0}
            ),
            "eps beside the root",
        ),
        (needed_by(scaled=False), "sums of codes taken for sums of values"),
        (needed_by(bias_factor=-1), None),
    ],
    "winners": [
        (loop(ties=True), "all of several equal maxima"),
        (loop(first=[(0, 0), (1, 0), (0, 1), (1, 1)]), "windows read column by column"),
        (loop(rectified=False), "a winner below zero is kept"),
        (loop(at_least=True), ">= instead of >"),
        (loop(first=[(1, 1), (1, 0), (0, 1), (0, 0)]), "the last of several equal maxima"),
        (lambda sums: sums > 0, "the max-pool is ignored"),
        (lambda sums: F.max_pool2d(sums[None], 2)[0] > 0, "one mark per window"),
        (lambda sums: sums == sums.amax((1, 2), keepdim=True), None),
    ],
}  # fmt: skip


def pairs(table):
    return [pytest.param(name, one, id=f"{name}-{i}") for name, found in table.items() for i, one in enumerate(found)]


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
