"""What a network does while it runs: its operators, one by one, each convolution under the name of its module.

A model is watched below the level of Python modules, where PyTorch dispatches operators: a module, a function of ``torch.nn.functional``
and a tensor method all end there as the same few operators, so nothing about the model's source has to be understood and control
flow that depends on the data is no obstacle. Module hooks only supply the names. `seerlab.layers` records with this; methods that
run a whole network replace with it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

BATCH_NORMS = {
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
}
ADDITIONS = {aten.add, aten.add_}
MAX_POOLS = {aten.max_pool2d_with_indices, aten.max_pool2d}
PASS_THROUGH = {aten.clone, aten.detach, aten.alias}  # the same values under another tensor

# Activations by operator; the in-place form has the same name with an underscore.
ACTIVATIONS = {
    aten.relu: "relu",
    aten.hardtanh: "hardtanh",
    aten.clamp: "clamp",
    aten.clamp_min: "clamp",
    aten.threshold: "threshold",
    aten.leaky_relu: "leaky_relu",
    aten._prelu_kernel: "prelu",
    aten.elu: "elu",
    aten.silu: "silu",
    aten.gelu: "gelu",
    aten.mish: "mish",
    aten.hardswish: "hardswish",
    aten.hardsigmoid: "hardsigmoid",
    aten.sigmoid: "sigmoid",
    aten.tanh: "tanh",
    aten.softplus: "softplus",
}


def functional(packet: Any) -> Any:
    """Out-of-place form of an operator: ``relu_`` gives ``relu``."""
    name = packet.__name__
    plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    return getattr(aten, plain, packet)


def is_convolution(packet: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether an operator call is a 2-D convolution (not a transposed one)."""
    return packet is aten.convolution and args[0].dim() == 4 and not args[6]


def of_this_thread(hook: Callable[..., None]) -> Callable[..., None]:
    """Let a hook of a module see the calls of the present thread alone: hooks are the module's, and others may run the model meanwhile."""
    owner = threading.get_ident()

    def called(*args: Any, **kwargs: Any) -> None:
        if threading.get_ident() == owner:
            hook(*args, **kwargs)

    return called


class CallNames:
    """Names for the convolutions of one run: the dotted module name, then ``name_1``, ``name_2`` when a module is called again.

    A convolution that no module owns takes the module it runs in and the function's name: ``block.conv2d``.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._stack: list[tuple[str, nn.Module]] = []
        self._calls: Counter[str] = Counter()
        self._taken = {name for name, _ in model.named_modules()}

    @contextlib.contextmanager
    def hooked(self) -> Iterator[None]:
        """Keep hooks on every module of the model inside a ``with`` block; they are removed whatever happens."""
        handles = []
        try:
            for name, module in self._model.named_modules():
                handles.append(module.register_forward_pre_hook(of_this_thread(self._enter(name))))
                handles.append(module.register_forward_hook(of_this_thread(self._leave), always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, _inputs: Any) -> None:
            self._stack.append((name, module))

        return hook

    def _leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._stack.pop()

    def next(self) -> str:
        """Name of the convolution that is running now."""
        path, module = self._stack[-1] if self._stack else ("", self._model)
        owned = isinstance(module, nn.Conv2d) and path
        base = path if owned else f"{path}.conv2d".lstrip(".")
        while True:
            count = self._calls[base]
            self._calls[base] += 1
            name = f"{base}_{count}" if count else base
            if name not in self._taken or (owned and not count):
                return name


class OperatorMode(TorchDispatchMode):
    """Hand every operator of the ``with`` block to `on_call`, which runs it or something in its place."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave torch's compiler alone: to keep it out, torch would load all of it first, which takes a second.

        Nothing here is ever compiled. Older versions of torch do not ask.
        """
        return False

    def on_call(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator. `packet` is it without its overload, `func` with it."""
        raise NotImplementedError

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.on_call(func.overloadpacket, func, args, kwargs or {})


@contextlib.contextmanager
def plain_mode() -> Iterator[None]:
    """No gradients, and not inference mode, under which composite operators would arrive whole instead of in parts."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def refuse_unfit(model: nn.Module, *, scripted: bool = False) -> None:
    """Raise for a model whose run would not show what it computes in use.

    Parameters
    ----------
    scripted : bool
        Whether TorchScript is all right.

    Raises
    ------
    TypeError
        If `model` is not an ``nn.Module``, or it or a part of it is TorchScript.
    ValueError
        If a module is in training mode, or a parameter is not float32 on the CPU.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}; pass net.model of a loaded network")
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and not scripted:
            raise TypeError(
                f"module {name or type(model).__name__!r} is TorchScript, whose operators cannot be watched as they run; "
                "pass the Python module that it was made from"
            )
    training = [name or type(model).__name__ for name, module in model.named_modules() if module.training]
    if training:
        more = f" and {len(training) - 1} more" if len(training) > 1 else ""
        raise ValueError(
            f"the model is in training mode (module {training[0]!r}{more}): "
            "BatchNorm and dropout would act otherwise than in use; call model.eval() first"
        )
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            raise ValueError(
                f"parameter {name!r} is {parameter.dtype} on {parameter.device}; "
                "seerlab works in float32 on the CPU: call model.float().cpu() first"
            )


def run_model(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Call the model, turning its refusal of the input into one clear sentence."""
    try:
        return model(*inputs)
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs if isinstance(x, Tensor))
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the model does not take an input of shape {shapes}: {reason}") from error
