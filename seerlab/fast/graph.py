"""Convolutions in a traced graph, what follows each, and the graph with prepared convolutions in their place.

A `Chain` is a convolution with the BatchNorm, the addition of a shortcut and the clamp that follow it, as long as one node alone reads the
value in between. A prepared convolution does all of a chain's work in one call. It takes the place of the chain's last node, where the
shortcut is known; whether something between the two changes the chain's input in place is watched on the example.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from seerlab.kernels.max_pool import max_pool2d, output_shape, readable
from seerlab.layers import BatchNorm

from .geometry import Geometry, geometry_of
from .method import Epilogue
from .prepared import PreparedConv2d
from .tracing import Traced, peculiarity

Shapes = Mapping[str, tuple[int, ...]]

CONVOLUTIONS = {F.conv2d, torch.conv2d}
ADDITIONS = {operator.add, operator.iadd, torch.add}
ADD_METHODS = {"add", "add_"}
CONCATENATIONS = {torch.cat, torch.concat, torch.concatenate}
RELUS = {F.relu, F.relu_, torch.relu, torch.relu_}
CLAMPS = {torch.clamp, torch.clip, F.hardtanh, F.hardtanh_, torch.clamp_min, torch.clamp_}
NOTHING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity)
DROPOUTS = {F.dropout, F.dropout2d, F.alpha_dropout}
CHANNELWISE = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ReLU, nn.ReLU6)
CHANNELWISE_FUNCTIONS = RELUS | {F.max_pool2d, torch.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.relu6}
VERSIONLESS = -1
CPU = torch.device("cpu")
MAX_SHAPES = 64  # of inputs that a layer remembers


@dataclass(eq=False)
class Chain:
    """A convolution and what follows it, as nodes of a graph.

    Attributes
    ----------
    name : str
        Dotted name of the convolution in the whole model; ``name_1`` for the second call of a shared module.
    nodes : list of fx.Node
        From the convolution to the last node whose work is done with it.
    weight, bias : Tensor
        With BatchNorm folded in, in float32; the convolution's own where there is none.
    geometry : Geometry
    steps : list of str
        Names of what follows: "batch_norm", "add", "relu", "relu6", "clamp", "max_pool".
    addend : fx.Node or None
    lower, upper : float
    pool : bool
        Whether a 2x2 max-pool of stride 2 comes last.
    """

    name: str
    nodes: list[fx.Node]
    weight: Tensor
    bias: Tensor
    geometry: Geometry
    steps: list[str] = field(default_factory=list)
    addend: fx.Node | None = None
    lower: float = -math.inf
    upper: float = math.inf
    pool: bool = False

    @property
    def x(self) -> fx.Node:
        """The node that makes the convolution's input."""
        conv = self.nodes[0]
        source: fx.Node = conv.args[0] if conv.args else conv.kwargs["input"]  # type: ignore[assignment]
        return source


class Case(NamedTuple):
    """A chain's tensors on an example.

    Attributes
    ----------
    x, addend, output : Tensor
        As the model has them; `addend` may be None.
    plain : callable
        Computes `output` again, with the model's own modules.
    obstacle : str or None
        Why the chain may not run as one.
    """

    x: Tensor
    addend: Tensor | None
    output: Tensor
    plain: Callable[[], Tensor]
    obstacle: str | None


class Fused(nn.Module):
    """A prepared convolution as a node of a graph, with the 2x2 max-pool that may follow it.

    What the prepared convolution checks at every call is checked once for each shape of the input: small layers take no longer than that.
    """

    def __init__(self, name: str, conv: PreparedConv2d, pool: bool = False) -> None:
        super().__init__()
        self.name = name
        self.conv = conv
        self.pool = pool
        self._shapes: dict[tuple[int, ...], tuple[int, ...] | None] = {}
        self.eval()

    def forward(self, x: Tensor, addend: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Convolve, add the shortcut, clamp, pool."""
        conv = self.conv
        packed = conv.packed
        key = x.shape
        shape = self._shapes[key] if key in self._shapes else self._checked(key)
        plain = shape is not None and x.dtype is torch.float32 and x.device == CPU
        if (
            plain
            and (addend is None or addend.shape == shape)
            and (out is None or (not self.pool and out.shape == shape))
        ):
            if not self.pool:
                return packed.run(x, Epilogue(conv.lower, conv.upper, addend, out))
            if packed.pools:
                return packed.run(x, Epilogue(conv.lower, conv.upper, addend, pool=True))
        if not self.pool:
            return conv(x, addend, out)
        return max_pool2d(conv(x, addend), 2, out=out)

    def _checked(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Shape of the convolution for an input that needs no attention of its own."""
        result: tuple[int, ...] | None = self.conv.geometry.output_shape(shape)
        if not math.prod(result or ()) or not math.prod(shape) or self.conv.geometry.extra != (0, 0):
            result = None
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes = {}
        self._shapes[shape] = result
        return result

    def canvas(self, x: Tensor, channels: int) -> Tensor:
        """Uninitialised tensor for this convolution's output and those of others beside it, `channels` in all."""
        images, _, height, width = self._shapes.get(x.shape) or self.conv.geometry.output_shape(x.shape)
        if self.pool:
            height, width = height // 2, width // 2
        return torch.empty((images, channels, height, width), memory_format=torch.channels_last)

    def extra_repr(self) -> str:
        """Name the layer and how it is computed."""
        return f"{self.name}: {self.conv.method}"


class MaxPool(nn.Module):
    """A max-pool as a node of a graph: without torch's indices, where neighbouring channels are neighbours in memory."""

    def __init__(
        self,
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        ceil_mode: bool,
    ) -> None:
        super().__init__()
        self.settings = (kernel_size, stride, padding, dilation, ceil_mode)
        self.eval()

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Pool, into `out` if it is given."""
        if x.dtype is torch.float32 and x.device == CPU and x.dim() == 4 and (out is not None or readable(x)):
            return max_pool2d(x, *self.settings, out=out)
        if out is not None:
            raise TypeError(f"maps of {x.dtype} where the example had {out.dtype}")
        return F.max_pool2d(x, *self.settings)

    @property
    def halves(self) -> bool:
        """Whether windows are 2x2 with stride 2, and what is left over is dropped."""
        return self.settings == ((2, 2), (2, 2), (0, 0), (1, 1), False)

    def canvas(self, x: Tensor, channels: int) -> Tensor:
        """Uninitialised tensor for this pool's output and those of others beside it, `channels` in all."""
        images, _, height, width = output_shape(tuple(x.shape), *self.settings)
        return torch.empty((images, channels, height, width), memory_format=torch.channels_last)

    def extra_repr(self) -> str:
        """The settings, as torch writes them."""
        kernel_size, stride, padding, dilation, ceil_mode = self.settings
        return f"{kernel_size=}, {stride=}, {padding=}, {dilation=}, {ceil_mode=}"


def simplify(graph: fx.Graph, parts: fx.GraphModule) -> None:
    """Leave out what does nothing in evaluation mode, and ask for no particular strides where values are only regrouped."""
    for node in list(graph.nodes):
        if node.op == "call_module":
            part = parts.get_submodule(node.target)
            idle = type(part) in NOTHING and peculiarity(part) is None and len(node.args) == 1
        elif node.op == "call_function" and node.target in DROPOUTS:
            idle = _argument(node, 2, "training", True) is False and bool(node.args)
        else:
            idle = False
            if node.op == "call_method" and node.target == "view" and not _is_cast(node):
                node.target = "reshape"  # the same values, also where channels lie side by side
        if idle:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _is_cast(node: fx.Node) -> bool:
    return bool(node.kwargs) or any(isinstance(arg, torch.dtype) for arg in node.args)


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


class _ShapeRun(fx.Interpreter):
    def __init__(self, parts: fx.GraphModule, graph: fx.Graph) -> None:
        super().__init__(parts, graph=graph)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.dtype == torch.float32:
            self.shapes[n.name] = tuple(result.shape)
        return result


def shapes_of(traced: Traced, inputs: tuple[Tensor, ...]) -> tuple[dict[str, tuple[int, ...]], Any]:
    """Shape of every float32 tensor in a run of a graph, by node name, and the outputs."""
    run = _ShapeRun(traced.module, traced.module.graph)
    outputs = run.run(*inputs)
    return run.shapes, outputs


def find_chains(traced: Traced, shapes: Shapes, prefix: str = "") -> tuple[list[Chain], dict[str, str]]:
    """Chains of a graph in the order they run, and the convolutions that are none, with the reason."""
    chains: list[Chain] = []
    others: dict[str, str] = {}
    taken: set[str] = set()
    for node in traced.module.graph.nodes:
        found = _convolution(traced, node, shapes)
        if found is None:
            continue
        base, chain = found
        base = ".".join(part for part in (prefix, base) if part) or node.name
        name, count = base, 0
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        if isinstance(chain, str):
            others[name] = chain
        else:
            chain.name = name
            chains.append(chain)
    used: set[fx.Node] = set()
    for chain in reversed(chains):  # of two convolutions that are added up the later one does it
        _extend(chain, traced, shapes, used)
    return chains, others


def heirs_of(traced: Traced, chains: list[Chain]) -> dict[str, str]:
    """For each chain whose output channels may come in any order: the one chain that reads them, whose weights then follow that order.

    Between the two there may be poolings and activations, which treat each channel alike.
    """
    starts = {chain.nodes[0]: chain for chain in chains}
    heirs = {}
    for chain in chains:
        node = chain.nodes[-1]
        while chain.addend is None and len(node.users) == 1:
            previous, (node,) = node, node.users
            heir = starts.get(node)
            if heir is not None and heir.x is previous and heir.geometry.groups == 1:
                heirs[chain.name] = heir.name
            if heir is not None or not _channelwise(traced, node, previous):
                break
    return heirs


def _channelwise(traced: Traced, node: fx.Node, x: fx.Node) -> bool:
    if node.op == "call_module":
        part = traced.module.get_submodule(str(node.target))
        plain = type(part) in CHANNELWISE and peculiarity(part) is None
        return plain and not getattr(part, "return_indices", False) and node.args == (x,)
    function = node.op == "call_function" and node.target in CHANNELWISE_FUNCTIONS
    return function and node.args[:1] == (x,) and not _argument(node, 6, "return_indices", False)


def has_convolutions(traced: Traced) -> bool:
    """Whether a graph convolves at all, itself or in a part that it holds as one node."""
    if any(isinstance(part, nn.Conv2d) for part in traced.module.modules()):
        return True
    return any(node.op == "call_function" and node.target in CONVOLUTIONS for node in traced.module.graph.nodes)


def _convolution(traced: Traced, node: fx.Node, shapes: Shapes) -> tuple[str, Chain | str] | None:
    """Name and chain of a node that is a convolution, or why it cannot be treated; None for any other node."""
    if node.op == "call_module":
        part = traced.module.get_submodule(str(node.target))
        if not isinstance(part, nn.Conv2d):
            return None
        name = str(node.target)
        reason = peculiarity(part)
        if reason is None and (
            type(part).forward is not nn.Conv2d.forward or type(part)._conv_forward is not nn.Conv2d._conv_forward
        ):
            reason = f"{type(part).__name__} computes something else than nn.Conv2d"
        if reason is None and part.padding_mode != "zeros":
            reason = f"its padding is of the mode {part.padding_mode!r}"
        if reason is not None:
            return name, reason
        weight: Tensor | None = part.weight
        bias: Tensor | None = part.bias
        settings = (part.stride, part.padding, part.dilation, part.groups)
    elif node.op == "call_function" and node.target in CONVOLUTIONS:
        weight, bias = (_constant(traced, _argument(node, i, key, None)) for i, key in ((1, "weight"), (2, "bias")))
        source = _argument(node, 1, "weight", None)
        name = str(source.target).removesuffix(".weight").removesuffix("weight") if isinstance(source, fx.Node) else ""
        name = name if weight is not None else node.name
        if weight is None or (bias is None and _argument(node, 2, "bias", None) is not None):
            return name, "its weights are computed while the model runs"
        settings = tuple(
            _argument(node, i, key, default)
            for i, key, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1), (6, "groups", 1))
        )
    else:
        return None
    source = _argument(node, 0, "input", None)
    if not isinstance(source, fx.Node) or len(shapes.get(source.name, ())) != 4:
        return name, "its input is no batch of float32 maps"
    if weight is None or weight.dtype != torch.float32 or len(node.args) + len(node.kwargs) > 7:
        return name, "its weights are not float32"
    try:
        geometry = geometry_of(weight.shape, *settings)
    except (TypeError, ValueError) as error:  # sizes that are computed while the model runs
        return name, str(error).splitlines()[0]
    weight = weight.detach()
    bias = torch.zeros(len(weight)) if bias is None else bias.detach()
    return name, Chain(name, [node], weight, bias, geometry)


def _constant(traced: Traced, node: Any) -> Tensor | None:
    """Parameter or buffer that a node reads."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = traced.module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, Tensor) else None


def _extend(chain: Chain, traced: Traced, shapes: Shapes, used: set[fx.Node]) -> None:
    """Take in what follows a convolution, in the order that a prepared one computes it."""
    while len(chain.nodes[-1].users) == 1:
        end = chain.nodes[-1]
        (node,) = end.users
        if node not in used and _pools(traced, node, end):
            chain.pool = True
            chain.steps.append("max_pool")
            chain.nodes.append(node)
            used.add(node)
            return
        if node in used or shapes.get(node.name) != shapes.get(end.name):
            return
        bounds = _bounds(traced, node) if chain.lower == -math.inf and chain.upper == math.inf else None
        if chain.steps == [] and (norm := _norm(traced, node)) is not None:
            chain.weight, chain.bias = norm(chain.weight, chain.bias).folded()
            chain.steps.append("batch_norm")
        elif chain.steps in ([], ["batch_norm"]) and (addend := _addend(node, end, shapes)) is not None:
            chain.addend = addend
            chain.steps.append("add")
        elif bounds is not None:
            chain.lower, chain.upper = bounds
            chain.steps.append({(0.0, math.inf): "relu", (0.0, 6.0): "relu6"}.get(bounds, "clamp"))
        else:
            return
        chain.nodes.append(node)
        used.add(node)


def _pools(traced: Traced, node: fx.Node, end: fx.Node) -> bool:
    """Whether a node is a max-pool of 2x2 with stride 2 that drops what is left over."""
    pool = _max_pool(traced, node)
    return pool is not None and _argument(node, 0, "input", None) is end and pool.halves


def _max_pool(traced: Traced, node: fx.Node) -> MaxPool | None:
    """The max-pool of a node that hands out no indices and whose settings are constants."""
    if node.op == "call_module":
        part = traced.module.get_submodule(str(node.target))
        if type(part) is not nn.MaxPool2d or peculiarity(part) is not None or part.return_indices or node.kwargs:
            return None
        settings = (part.kernel_size, part.stride, part.padding, part.dilation, part.ceil_mode)
    elif node.op == "call_function" and node.target in (F.max_pool2d, torch.max_pool2d):
        names = (("kernel_size", 0), ("stride", None), ("padding", 0), ("dilation", 1), ("ceil_mode", False))
        settings = tuple(_argument(node, 1 + i, name, default) for i, (name, default) in enumerate(names))
        if _argument(node, 6, "return_indices", False) is not False:
            return None
    else:
        return None
    *sizes, ceil_mode = settings
    kernel, stride, padding, dilation = (_pair(size) for size in sizes)
    stride = kernel if sizes[1] is None or stride == () else stride
    if not all(len(pair or ()) == 2 for pair in (kernel, stride, padding, dilation)) or not isinstance(ceil_mode, bool):
        return None
    return MaxPool(kernel, stride, padding, dilation, ceil_mode)  # type: ignore[arg-type]


def _pair(value: Any) -> tuple[Any, ...] | None:
    """One or two integers as a pair; None for what is computed while the model runs."""
    items = (value,) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else (None,)
    if not all(isinstance(item, int) for item in items):
        return None
    return items * 2 if len(items) == 1 else items


def _norm(traced: Traced, node: fx.Node) -> Callable[[Tensor, Tensor], BatchNorm] | None:
    if node.op != "call_module":
        return None
    part = traced.module.get_submodule(str(node.target))
    if (
        not isinstance(part, nn.BatchNorm2d)
        or type(part).forward is not nn.BatchNorm2d.forward
        or peculiarity(part) is not None
        or part.running_mean is None
        or part.running_var is None
    ):
        return None
    mean, variance = part.running_mean, part.running_var
    gamma = torch.ones_like(mean) if part.weight is None else part.weight.detach()
    beta = torch.zeros_like(mean) if part.bias is None else part.bias.detach()
    return lambda weight, bias: BatchNorm(weight, bias, gamma, beta, mean, variance, part.eps)


def _addend(node: fx.Node, end: fx.Node, shapes: Shapes) -> fx.Node | None:
    """The other summand, if the node adds two maps of one shape and changes none but ours."""
    function = node.op == "call_function" and node.target in ADDITIONS
    method = node.op == "call_method" and node.target in ADD_METHODS
    if not (function or method) or len(node.args) != 2 or node.kwargs:
        return None
    first, second = node.args
    other = second if first is end else first
    if not isinstance(other, fx.Node) or other is end or other.op == "get_attr":
        return None
    if node.target in (operator.iadd, "add_") and first is not end:
        return None
    shape = shapes.get(end.name, ())
    return other if len(shape) == 4 and shapes.get(other.name) == shape else None


def _bounds(traced: Traced, node: fx.Node) -> tuple[float, float] | None:
    """Limits of a node that clamps by constants."""
    low, high = -math.inf, math.inf
    if node.op == "call_module":
        part = traced.module.get_submodule(str(node.target))
        if peculiarity(part) is not None:
            return None
        if type(part) is nn.ReLU:
            return 0.0, high
        if isinstance(part, nn.Hardtanh) and type(part) in (nn.ReLU6, nn.Hardtanh):
            return float(part.min_val), float(part.max_val)
        return None
    target = node.target
    if node.op == "call_method" and target in ("relu", "relu_"):
        return 0.0, high
    if node.op == "call_method" and target in ("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"):
        unstated: tuple[Any, Any] = (None, None)
    elif node.op != "call_function":
        return None
    elif target in RELUS:
        return 0.0, high
    elif target is F.relu6:
        return 0.0, 6.0
    elif target in CLAMPS:
        unstated = (-1.0, 1.0) if target in (F.hardtanh, F.hardtanh_) else (None, None)
    else:
        return None
    names = ("min_val", "max_val") if target in (F.hardtanh, F.hardtanh_) else ("min", "max")
    limits = [_argument(node, 1 + i, names[i], unstated[i]) for i in (0, 1)]
    if not all(limit is None or isinstance(limit, int | float) for limit in limits):
        return None
    lower, upper = (
        (float(limits[0]) if limits[0] is not None else low),
        (float(limits[1]) if limits[1] is not None else high),
    )
    return (lower, upper) if lower <= upper else None


class _ChainRun(fx.Interpreter):
    """Run a graph plainly and show each chain when its last node has run."""

    def __init__(self, traced: Traced, chains: list[Chain], visit: Callable[[Chain, Case], None]) -> None:
        super().__init__(traced.module)
        self._of = {node: chain for chain in chains for node in chain.nodes}
        self._visit = visit
        self._versions: dict[Chain, int] = {}
        self._outside: dict[Chain, dict[fx.Node, Any]] = {}

    def run_node(self, n: fx.Node) -> Any:
        chain = self._of.get(n)
        if chain is None:
            return super().run_node(n)
        outside = self._outside.setdefault(chain, {})
        outside |= {node: self.env[node] for node in n.all_input_nodes if node not in chain.nodes}
        if n is chain.nodes[0]:
            self._versions[chain] = _version(outside[chain.x])
        result = super().run_node(n)
        if n is chain.nodes[-1]:
            del self._outside[chain]
            x = outside[chain.x]
            changed = _version(x) != self._versions.pop(chain)
            obstacle = "its input is changed in place before its output is finished" if changed else None
            addend = None if chain.addend is None else outside[chain.addend]
            plain = self._replay(chain, outside)
            # The value may be changed in place by what comes next; and a chain's own in-place steps may return their input.
            self._visit(chain, Case(x, addend, result, plain, obstacle))
        return result

    def _replay(self, chain: Chain, outside: Mapping[fx.Node, Any]) -> Callable[[], Tensor]:
        def plain() -> Tensor:
            values = dict(outside)
            for node in chain.nodes:
                args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = getattr(self, node.op)(node.target, args, kwargs)
            result: Tensor = values[chain.nodes[-1]]
            return result

        return plain


def _version(tensor: Tensor) -> int:
    return VERSIONLESS if tensor.is_inference() else tensor._version


def visit_chains(
    traced: Traced, inputs: tuple[Tensor, ...], chains: list[Chain], visit: Callable[[Chain, Case], None]
) -> None:
    """Run a graph and hand every chain to `visit` with its tensors, one after the other, so that only what is in use is kept."""
    _ChainRun(traced, chains, visit).run(*inputs)


def rewrite(
    traced: Traced,
    chains: list[Chain],
    convs: Mapping[str, PreparedConv2d],
    shapes: Shapes,
    parts: Mapping[str, nn.Module],
    *,
    restore: bool,
) -> fx.GraphModule:
    """The graph with prepared convolutions in place of chains.

    Parameters
    ----------
    convs : mapping of str to PreparedConv2d
        By the chains' names; chains without one stay as they are.
    shapes : mapping
        From `shapes_of`.
    parts : mapping of str to nn.Module
        What takes the place of modules that the graph holds as one node.
    restore : bool
        Whether four-dimensional outputs are handed out with rows contiguous.
    """
    graph = fx.Graph()
    mapped: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(traced.module.graph, mapped)
    source = traced.module.graph.output_node()
    graph.output(fx.node.map_arg(source.args[0], mapped.__getitem__))
    fast = fx.GraphModule(traced.module, graph)
    fused: dict[fx.Node, int] = {}
    taken = {node for chain in chains if chain.name in convs for node in chain.nodes}
    for number, chain in enumerate(chains):
        if chain.name not in convs:
            _keep(graph, mapped[chain.nodes[0]], chain.geometry)
            continue
        fast.add_submodule(f"fused_{number}", Fused(chain.name, convs[chain.name], chain.pool))
        end = mapped[chain.nodes[-1]]
        args = [chain.x] if chain.addend is None else [chain.x, chain.addend]
        with graph.inserting_after(end):
            node = graph.call_module(f"fused_{number}", tuple(mapped[arg] for arg in args))
        end.replace_all_uses_with(node)
        for old in reversed(chain.nodes):
            graph.erase_node(mapped[old])
            mapped[old] = node
        fused[node] = chain.geometry.out_channels
    for number, old in enumerate(traced.module.graph.nodes):
        pool = None if old in taken or len(shapes.get(old.name, ())) != 4 else _max_pool(traced, old)
        if pool is None:
            continue
        fast.add_submodule(f"pool_{number}", pool)
        end = mapped[old]
        with graph.inserting_after(end):
            node = graph.call_module(f"pool_{number}", (mapped[_argument(old, 0, "input", None)],))
        end.replace_all_uses_with(node)
        graph.erase_node(end)
        mapped[old] = node
        fused[node] = shapes[old.name][1]
    for old in traced.module.graph.nodes:
        if old.op == "call_function" and old.target in CONCATENATIONS:
            _join(graph, mapped[old], [shapes.get(node.name, ()) for node in old.all_input_nodes], fused)
    for path in traced.opaque:
        for node in graph.find_nodes(op="call_module", target=path):
            _hand_over_rows(graph, node)
    for path, part in parts.items():
        fast.set_submodule(path, part)
    if restore:
        _hand_over_rows(graph, graph.output_node())
    graph.lint()
    fast.delete_all_unused_submodules()
    fast.recompile()
    return fast


def _keep(graph: fx.Graph, conv: fx.Node, geometry: Geometry) -> None:
    """Give a convolution of torch rows where its channels_last kernel is not to be trusted."""
    if geometry.kernel_in_padding:
        _hand_over_rows(graph, conv)


def _hand_over_rows(graph: fx.Graph, node: fx.Node) -> None:
    def convert(value: fx.Node) -> fx.Node:
        return graph.call_function(rows, (value,))

    with graph.inserting_before(node):
        node.args = fx.node.map_arg(node.args, convert)
        node.kwargs = fx.node.map_arg(node.kwargs, convert)


def rows(value: Any) -> Any:
    """A tensor of four dimensions with contiguous rows; anything else as it is."""
    return value.contiguous() if isinstance(value, Tensor) and value.dim() == 4 else value


def _join(graph: fx.Graph, node: fx.Node, shapes: list[tuple[int, ...]], fused: Mapping[fx.Node, int]) -> None:
    """Let convolutions whose outputs are only concatenated over channels write them side by side."""
    tensors = _argument(node, 0, "tensors", None)
    if not isinstance(tensors, list | tuple) or _argument(node, 1, "dim", _argument(node, 1, "axis", 0)) not in (1, -3):
        return
    if len(set(tensors)) != len(tensors) or len(shapes) != len(tensors) or any(len(shape) != 4 for shape in shapes):
        return
    writers = [tensor for tensor in tensors if tensor in fused and set(tensor.users) == {node}]
    widths = [shape[1] for shape in shapes]
    if not writers or 2 * sum(fused[writer] for writer in writers) < sum(widths):
        return
    first = min(writers, key=list(graph.nodes).index)
    with graph.inserting_before(first):
        parts = graph.call_function(_canvas, (graph.get_attr(str(first.target)), first.args[0], widths))
    copies = []
    for place, tensor in enumerate(tensors, 1):
        if tensor in writers:
            with graph.inserting_before(tensor):
                tensor.kwargs = {"out": graph.call_function(operator.getitem, (parts, place))}
        else:
            copies.append((place, tensor))
    with graph.inserting_before(node):
        joined = graph.call_function(_fill, (parts, copies, *writers))
    node.replace_all_uses_with(joined)
    graph.erase_node(node)


def _canvas(fused: Fused | MaxPool, x: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
    """Where a concatenation goes, and the slice of each of its parts."""
    canvas = fused.canvas(x, sum(widths))
    return canvas, *canvas.split_with_sizes(widths, 1)


def _fill(parts: tuple[Tensor, ...], copies: Sequence[tuple[int, Tensor]], *_written: Tensor) -> Tensor:
    """Copy what was not written in its place, and hand over the whole."""
    for place, part in copies:
        if part.shape[1] != parts[place].shape[1]:
            raise ValueError(f"{part.shape[1]} channels where the example had {parts[place].shape[1]}")
        parts[place].copy_(part)
    return parts[0]


def fused_in(module: nn.Module) -> Iterator[Fused]:
    """All prepared convolutions inside a module."""
    for part in module.modules():
        if isinstance(part, Fused):
            yield part
