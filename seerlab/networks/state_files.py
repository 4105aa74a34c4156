"""Read a network's weights from a file and put them into the network, or say in one sentence why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

SUFFIXES = (".safetensors", ".pth", ".pt")
NAMES_SHOWN = 4  # enough to recognise whose names they are


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a file of named tensors.

    Parameters
    ----------
    path : pathlib.Path
        ``.safetensors``, or ``.pth`` or ``.pt`` as ``torch.save(model.state_dict(), path)`` writes it. The latter is
        read with ``weights_only=True``: no code in it is run.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    ValueError
        For another suffix, a damaged or truncated file, or a file that holds anything but named tensors.
    FileNotFoundError
        Where no file is.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"cannot read weights from {path}: the name must end in one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise any kind of error
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} cannot be read as {path.suffix}, it is damaged, incomplete or of another kind ({cause}): "
            "get the file again, or pass another"
        ) from error
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{path} holds {_kind(state)}, not a state dict of named tensors")
    others = [str(key) for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ValueError(
            f"{path} is not a plain state dict: {_some(others)} are not tensors; save the model's state_dict() alone"
        )
    return dict(state)


def fill(model: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Copy named tensors into a network's parameters and buffers, as float32.

    BatchNorm's ``num_batches_tracked``, which evaluation never reads, may be missing. So may a whole auxiliary head,
    as in files saved by torchvision after it dropped it: the network then loses the head too.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    state : mapping of str to torch.Tensor
        float16, bfloat16, float32 or float64.
    source : str
        Where `state` comes from, for messages.

    Raises
    ------
    ValueError
        For missing or unexpected names, other shapes, or values that are not floating point.
    """
    for head in getattr(model, "auxiliary", ()):
        if not any(key.startswith(f"{head}.") for key in state):
            setattr(model, head, None)
    own = model.state_dict()
    counters = {key for key in own if key.endswith(".num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in counters]
    unexpected = [key for key in state if key not in own]
    if missing or unexpected:
        texts = [f"missing {_some(missing)}"] * bool(missing) + [f"unexpected {_some(unexpected)}"] * bool(unexpected)
        raise ValueError(f"{source} holds the weights of another network: {'; '.join(texts)}")
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if wrong:
        raise ValueError(
            f"{source} holds other shapes: {_some(wrong)}; for another number of classes pass their names as categories"
        )
    integers = [
        f"{key} {state[key].dtype}" for key in own if key not in counters and not state[key].is_floating_point()
    ]
    if integers:
        raise ValueError(f"{source} does not hold floating point weights: {_some(integers)}")
    for key, tensor in own.items():
        if key in state:
            tensor.copy_(state[key])
        else:
            tensor.zero_()


def rename_keys(state: Mapping[str, torch.Tensor], rename: Callable[[str], str] | None) -> dict[str, torch.Tensor]:
    """Return the tensors under the names of today."""
    return dict(state) if rename is None else {rename(key): value for key, value in state.items()}


def _some(names: Iterable[str]) -> str:
    """List the first few names and count the rest."""
    listed = list(names)
    text = ", ".join(listed[:NAMES_SHOWN])
    rest = len(listed) - NAMES_SHOWN
    return text if rest <= 0 else f"{text} and {rest} more"


def _kind(value: object) -> str:
    return "nothing" if isinstance(value, Mapping) else f"a {type(value).__name__}"
