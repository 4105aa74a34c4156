"""A model as graphs: of the whole where it can be traced, else of the largest parts that can.

``torch.fx`` runs a model's own Python code with stand-ins for tensors. Code that looks at values or at sizes as plain numbers cannot be run
so; the module whose code it is then stays as it is, a single node of the graph around it, and its own parts are traced apart. Modules
whose call does more than their class says (hooks, a ``forward`` of the object's own) are left whole as well.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from torch import Tensor, fx, jit, nn

from seerlab.operators import of_this_thread

HOOKS = ("_forward_hooks", "_forward_pre_hooks")
MAX_OPAQUE = 200  # modules set aside in one graph before it is given up

_tracing = threading.Lock()  # torch.fx patches nn.Module itself while it traces: one at a time


def copied(model: nn.Module) -> nn.Module:
    """Copy of a model's modules that shares all parameters and buffers with it."""
    memo = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    result: nn.Module = copy.deepcopy(model, memo)
    return result


def peculiarity(module: nn.Module) -> str | None:
    """What a call of the module does beyond the ``forward`` of its class; None for an ordinary one."""
    if isinstance(module, jit.ScriptModule):
        return "it is TorchScript"
    if any(getattr(module, hooks, None) for hooks in HOOKS):
        return "it has a forward hook"
    if "forward" in vars(module) or "__call__" in vars(module):
        return "this object has a forward of its own"
    if type(module).__call__ is not nn.Module.__call__:
        return "its class replaces __call__"
    return None


@dataclass
class Calls:
    """How a module was called in one run of the model."""

    count: int = 0
    arity: int = 0  # tensors handed over
    plain: bool = True  # every call with that many tensors and nothing else
    inputs: tuple[Tensor, ...] = ()  # copies of the first call's, where they were asked for

    def add(self, args: tuple[Any, ...], kwargs: dict[str, Any], keep: bool) -> None:
        """Note one more call."""
        if not self.count:
            self.arity = len(args)
        self.plain &= not kwargs and len(args) == self.arity > 0 and all(isinstance(arg, Tensor) for arg in args)
        if keep and self.plain and not self.count:
            self.inputs = tuple(arg.clone() for arg in args)
        self.count += 1


@contextmanager
def recorded_calls(model: nn.Module, keep: Callable[[str], bool]) -> Iterator[dict[str, Calls]]:
    """Note the calls of every module run inside the ``with`` block; the inputs of those that `keep` names are copied."""
    calls: dict[str, Calls] = {}
    handles = []

    def hook(name: str) -> Callable[..., None]:
        kept = keep(name)

        def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.setdefault(name, Calls()).add(args, kwargs, kept)

        return note

    try:
        for name, module in model.named_modules():
            if not isinstance(module, jit.ScriptModule):
                handles.append(module.register_forward_pre_hook(of_this_thread(hook(name)), with_kwargs=True))
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class _Tracer(fx.Tracer):
    """Trace a module of which some parts are nodes, and remember in which part the tracing failed."""

    def __init__(self, arity: int, opaque: set[nn.Module]) -> None:
        super().__init__()
        self._arity = arity
        self._opaque = opaque
        self._thread = threading.get_ident()
        self.failed: nn.Module | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m in self._opaque or peculiarity(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:  # a model that another thread runs meanwhile
            return forward(*args, **kwargs)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or m
            raise

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_args_for_root(
        self,
        root_fn: Any,
        is_module: bool,  # noqa: ARG002
        concrete_args: Any = None,  # noqa: ARG002
    ) -> tuple[Any, list[Any]]:
        # The arguments that the call leaves out keep their defaults, and branches on them are those of the call.
        inputs = [self.create_proxy("placeholder", f"input_{i}", (), {}) for i in range(self._arity)]
        return root_fn, [self.root, *inputs]


@dataclass
class Traced:
    """Graph of a module.

    Attributes
    ----------
    module : fx.GraphModule
        With the module's own parts, which it shares.
    opaque : dict of str to str
        Parts that the graph holds as one node though they hold modules themselves: path within the module, and why.
    """

    module: fx.GraphModule
    opaque: dict[str, str] = field(default_factory=dict)


def trace(module: nn.Module, arity: int) -> Traced | str:
    """Graph of a module called with `arity` tensors, or why there is none.

    The module may be changed by it, as by any call of its code: give a copy.
    """
    reason = peculiarity(module)
    if reason is not None:
        return reason
    opaque: dict[nn.Module, str] = {}
    paths = {part: path for path, part in module.named_modules()}
    while len(opaque) <= MAX_OPAQUE:
        tracer = _Tracer(arity, set(opaque))
        try:
            with _tracing:
                graph = tracer.trace(module)
            traced = fx.GraphModule(tracer.root, graph)
        except Exception as error:  # noqa: BLE001  # any error of the model's code, which met a stand-in
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            part = tracer.failed
            if part is None or part is module or part in opaque or part not in paths:
                return f"its code cannot be traced ({text})"
            opaque[part] = f"its code cannot be traced ({text})"
            continue
        return Traced(traced, _opaque_parts(traced, opaque))
    return f"more than {MAX_OPAQUE} of its parts cannot be traced"


def _opaque_parts(traced: fx.GraphModule, reasons: dict[nn.Module, str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            part = traced.get_submodule(node.target)
            reason = reasons.get(part) or peculiarity(part)
            if reason is not None:
                parts[node.target] = reason
    return parts
