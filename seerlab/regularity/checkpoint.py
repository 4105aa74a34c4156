"""A run's state on disk: written whole or not at all, and never taken for another run's."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Fingerprint of named tensors: equal for equal names, shapes and bits."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def save(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a state; a kill while writing leaves the earlier file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    torch.save({"identity": identity, "state": state}, unfinished)
    unfinished.replace(path)


def load(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Read the state that `save` wrote for the same run.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or that of another run (naming what differs).
    """
    try:
        held = torch.load(path, weights_only=True)
        written, state = held["identity"], held["state"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is no checkpoint of a run; delete it or name another file") from error
    different = [
        f"{key} was {written.get(key)!r} and is {value!r}"
        for key, value in identity.items()
        if written.get(key) != value
    ]
    if different:
        raise ValueError(f"{path} belongs to another run: {'; '.join(different)}; delete it or name another file")
    return dict(state)
