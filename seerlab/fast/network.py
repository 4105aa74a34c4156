"""A model with prepared convolutions in place of its own: built from a recipe, which a planner writes and a file keeps."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .graph import Chain, find_chains, fused_in, has_convolutions, heirs_of, rewrite, shapes_of, simplify
from .prepared import PreparedConv2d, prepare_conv2d
from .tracing import Traced, copied, recorded_calls, trace

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "seerlab.fast network"
VERSION = 1
PLAN_COLUMNS = ("layer", "method", "why", "ms_before", "ms_after", "speedup", "density", "computed", "fused")


@dataclass
class Region:
    """A part of a model that is run as one graph.

    Attributes
    ----------
    path : str
        Of the module in the model; empty for the model itself.
    arity : int
        Number of tensors it is called with.
    shapes : dict of str to tuple of int
        What its float32 tensors were shaped like on the example, by the graph's names.
    """

    path: str
    arity: int
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass
class Recipe:
    """All that is needed to build a `FastNetwork` again without measuring: plain numbers and names.

    Attributes
    ----------
    regions : list of Region
    methods : dict of str to str
        Method per layer; a layer without one stays as the model has it.
    options : dict of str to dict
        What a layer's method needs besides.
    orders : dict of str to list of int
        Layers whose output channels are computed in another order than the model's; the layer that reads them has its weights ordered
        alike.
    restore : bool
        Whether regions hand out maps with contiguous rows, for code around them that asks for it.
    """

    regions: list[Region] = field(default_factory=list)
    methods: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, list[int]] = field(default_factory=dict)
    restore: bool = True

    def state(self) -> dict[str, Any]:
        """As plain dicts, lists and numbers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Recipe:
        """From what `state` gave."""
        regions = [Region(**region) for region in state["regions"]]
        orders = dict(state.get("orders", {}))
        return cls(regions, dict(state["methods"]), dict(state["options"]), orders, bool(state["restore"]))


class RegionModule(nn.Module):
    """A graph in the place of a module: called in any other way than on the example, the module itself runs."""

    def __init__(self, original: nn.Module, body: nn.Module, arity: int) -> None:
        super().__init__()
        self.body = body
        self.__dict__["_original"] = original
        self._arity = arity
        self.eval()

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the graph."""
        if keywords or len(inputs) != self._arity or not all(isinstance(x, Tensor) for x in inputs):
            return self.__dict__["_original"](*inputs, **keywords)
        return self.body(*inputs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:  # code around it may ask for the module's own parameters and settings
            return getattr(self.__dict__["_original"], name)


def find_regions(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[list[Region], dict[str, str]]:
    """The largest parts of a model that can be traced and that its run on an example calls with tensors alone.

    Returns
    -------
    regions : list of Region
        Outer ones before those inside modules that they hold as one node.
    reasons : dict of str to str
        Modules that cannot be traced, and why.
    """
    with recorded_calls(model, lambda _name: False) as calls:
        model(*inputs)
    regions: list[Region] = []
    reasons: dict[str, str] = {}

    def visit(module: nn.Module, path: str) -> None:
        call = calls.get(path)
        if path == "" or (call is not None and call.plain):
            arity = len(inputs) if path == "" else call.arity if call is not None else 0
            traced = trace(module, arity)
            if isinstance(traced, Traced):
                if has_convolutions(traced):
                    regions.append(Region(path, arity))
                    for inner in traced.opaque:
                        visit_parts(module.get_submodule(inner), f"{path}.{inner}" if path else inner)
                return
            reasons[path] = traced
        visit_parts(module, path)

    def visit_parts(module: nn.Module, path: str) -> None:
        for name, part in module.named_children():
            visit(part, f"{path}.{name}" if path else name)

    visit(model, "")
    return regions, reasons


@dataclass
class Layout:
    """A region ready to be planned or built."""

    region: Region
    traced: Traced
    chains: list[Chain]
    others: dict[str, str]


def lay_out(model: nn.Module, region: Region, inputs: tuple[Tensor, ...] | None = None) -> Layout:
    """Trace a region and find its chains; with `inputs`, note the shapes first.

    Raises
    ------
    ValueError
        If the region cannot be traced, as in a model other than the one that the recipe was made with.
    """
    module = model.get_submodule(region.path)
    traced = trace(module, region.arity)
    if not isinstance(traced, Traced):
        raise ValueError(f"the part {region.path or 'model'!r} cannot be traced: {traced}")
    simplify(traced.module.graph, traced.module)
    traced.module.recompile()
    if inputs is not None:
        region.shapes, _ = shapes_of(traced, inputs)
    return Layout(region, traced, *find_chains(traced, region.shapes, region.path))


def prepare(chain: Chain, method: str, options: Mapping[str, Any] | None = None) -> PreparedConv2d:
    """Pack a chain's weights for a method."""
    g = chain.geometry
    padding: Any = g.padding if g.extra == (0, 0) else "same"
    return prepare_conv2d(
        chain.weight, chain.bias, g.stride, padding, g.dilation, g.groups, method, (chain.lower, chain.upper),
        **(options or {}),
    )  # fmt: skip


def in_order(chain: Chain, outputs: Sequence[int] | None, inputs: Sequence[int] | None) -> Chain:
    """A chain with its output and input channels in the order given."""
    weight, bias = chain.weight, chain.bias
    if outputs is not None:
        weight, bias = weight[torch.tensor(outputs)], bias[torch.tensor(outputs)]
    if inputs is not None:
        weight = weight[:, torch.tensor(inputs)]
    return replace(chain, weight=weight, bias=bias)


def build(model: nn.Module, recipe: Recipe, convs: Mapping[str, PreparedConv2d] | None = None) -> nn.Module:
    """A copy of the model, sharing its parameters, with the recipe's regions and convolutions.

    Parameters
    ----------
    convs : mapping, optional
        Prepared convolutions by layer; those that are missing are packed.
    """
    ready = dict(convs or {})
    body = copied(model)
    for region in reversed(recipe.regions):  # inner ones first
        layout = lay_out(model, region)
        heirs = heirs_of(layout.traced, layout.chains) if recipe.orders else {}
        inputs = {heirs[name]: order for name, order in recipe.orders.items() if name in heirs}
        for chain in layout.chains:
            method = recipe.methods.get(chain.name)
            order = recipe.orders.get(chain.name)
            if order is not None and heirs.get(chain.name) not in recipe.methods:
                raise ValueError(
                    f"the channels of {chain.name} cannot be reordered: no prepared layer alone reads them"
                )
            if method is not None and chain.name not in ready:
                sorted_chain = in_order(chain, order, inputs.get(chain.name))
                ready[chain.name] = prepare(sorted_chain, method, recipe.options.get(chain.name))
        inner = {
            path: body.get_submodule(f"{region.path}.{path}" if region.path else path) for path in layout.traced.opaque
        }
        graph = rewrite(
            layout.traced, layout.chains, {name: ready[name] for name in recipe.methods if name in ready},
            region.shapes, inner, restore=recipe.restore or region.path == "",
        )  # fmt: skip
        original = model.get_submodule(region.path)
        replaced = RegionModule(original, graph, region.arity)
        if region.path == "":
            return replaced
        _replace(body, body.get_submodule(region.path), replaced)
    return body


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another, under all names that it has."""
    for module in list(model.modules()):
        for name, part in list(module._modules.items()):
            if part is old:
                module._modules[name] = new


class FastNetwork(nn.Module):
    """A model that runs on prepared convolutions, with the same call. Made by `seerlab.accelerate` and `load`.

    The weights of the layers in the plan are packed copies: what is done to the model's parameters later does not reach them. All
    other layers share theirs with the model. There are no gradients, and the module is always in evaluation mode. An input that the
    fast way cannot take (another element type, keywords, a branch that the example did not take) is computed by the model itself, with
    one warning.

    Attributes
    ----------
    model : nn.Module
        The model itself, in a copy that shares its parameters.
    recipe : Recipe
    plan : DataFrame
        One row per convolution, in the order of the model: ``layer``, ``method`` ("model" for one that stays as it is), ``why``,
        ``ms_before`` and ``ms_after`` (medians on the example, with what is computed together with the layer), ``speedup``,
        ``density`` (share of the layer's input that is not zero), ``computed`` (share of the outputs that are computed), ``fused``
        (what the one call does besides the convolution).
    figures : dict
        Of the whole network: see `summary`.
    fallbacks : int
        Calls that the model itself had to answer.
    """

    model: nn.Module
    body: nn.Module | None

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        plan: pd.DataFrame,
        figures: Mapping[str, Any],
        convs: Mapping[str, PreparedConv2d] | None = None,
    ) -> None:
        super().__init__()
        # Not registered: the parameters belong to the model, and must not be listed or moved twice.
        self.__dict__["model"] = model
        self.__dict__["body"] = build(model, recipe, convs) if recipe.methods else None
        self.recipe = recipe
        self.plan = plan
        self.figures = dict(figures)
        self.fallbacks = 0
        self._made_with = self._versions()
        super().train(False)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Run like the model, without gradients."""
        body = self.body
        with torch.no_grad():
            if body is None:
                return self.model(*inputs, **keywords)
            try:
                return body(*inputs, **keywords)
            except Exception as error:  # noqa: BLE001  # whatever it is, the model's own answer or error is the right one
                outputs = self.model(*inputs, **keywords)
                self._note(error)
                return outputs

    def _versions(self) -> list[int]:
        return [-1 if t.is_inference() else t._version for t in (*self.model.parameters(), *self.model.buffers())]

    def _note(self, error: Exception) -> None:
        self.fallbacks += 1
        if self.fallbacks == 1:
            text = str(error).strip().splitlines() or [""]
            warnings.warn(
                f"an input that the accelerated network cannot take was computed by the model itself "
                f"({type(error).__name__}: {text[0]}); accelerate again with an example of this kind",
                RuntimeWarning,
                stacklevel=4,
            )

    @property
    def convolutions(self) -> dict[str, PreparedConv2d]:
        """The prepared convolutions, by layer."""
        body = self.body
        return {} if body is None else {fused.name: fused.conv for fused in fused_in(body)}

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights: what the module takes in memory beside the model that it was made of."""
        return sum(conv.nbytes for conv in self.convolutions.values())

    def summary(self) -> dict[str, float | int]:
        """Named figures.

        Returns
        -------
        dict
            ``layers``, ``prepared_layers``, ``ms_before`` and ``ms_after`` (whole network, medians on the example), ``speedup``,
            ``threads``, ``max_error`` (of the example's output, relative to its largest value), ``seconds`` (that planning took);
            ``model_bytes`` (parameters and buffers), ``packed_bytes``, ``memory_ratio`` (both together over the model alone); after
            a plan with a budget ``top1_before``, ``top1_after`` and ``images``.
        """
        model_bytes = sum(t.numel() * t.element_size() for t in (*self.model.parameters(), *self.model.buffers()))
        packed = self.nbytes
        return {
            "layers": len(self.plan),
            "prepared_layers": len(self.recipe.methods),
            **self.figures,
            "model_bytes": model_bytes,
            "packed_bytes": packed,
            "memory_ratio": (model_bytes + packed) / model_bytes if model_bytes else 1.0,
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Write plan and weights to a file, for `seerlab.fast.load`.

        Raises
        ------
        ValueError
            If the model's parameters have changed since it was accelerated: the file would hold other weights than are in use.
        """
        if self._versions() != self._made_with:
            raise ValueError(
                "the model's parameters have changed since it was accelerated: accelerate it again, then save"
            )
        state = {
            "format": FORMAT,
            "version": VERSION,
            "network": type(self.model).__name__,
            "weights": self.model.state_dict(),
            "recipe": self.recipe.state(),
            "plan": self.plan.to_dict("records"),
            "figures": self.figures,
        }
        torch.save(state, path)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own state, which also fits the model."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *_args: Any, **_kwargs: Any) -> Any:
        """Refuse.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            "the weights of an accelerated network are packed: load them into the model and accelerate it again, "
            "or use seerlab.fast.load for a file that save() wrote"
        )

    def train(self, mode: bool = True) -> FastNetwork:  # noqa: ARG002
        """Stay in evaluation mode, whatever is asked of a network around this one."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FastNetwork, (self.model, self.recipe, self.plan, self.figures)

    def __repr__(self) -> str:
        return f"FastNetwork({self.describe()})"

    def describe(self) -> str:
        """What the network is made of, and what it is worth, in a few words."""
        counts = Counter(self.recipe.methods.values())
        ways = ", ".join(f"{count} {method}" for method, count in counts.most_common()) or "as it was"
        figures = self.summary()
        text = f"{type(self.model).__name__}: {len(self.recipe.methods)} of {len(self.plan)} convolutions prepared ({ways})"
        if "ms_before" in figures:
            threads = figures["threads"]
            text += (
                f"; {figures['ms_before']:.2f} -> {figures['ms_after']:.2f} ms, {figures['speedup']:.2f} times as fast, "
                f"{threads} thread{'s' * (threads != 1)}"
            )
        return f"{text}; packed weights {figures['packed_bytes'] / 1e6:.1f} MB beside the model's {figures['model_bytes'] / 1e6:.1f} MB"


def load(path: str | PathLike[str], model: nn.Module) -> FastNetwork:
    """Read what `FastNetwork.save` wrote.

    Parameters
    ----------
    path : str or path
    model : nn.Module
        Of the same architecture, with any weights: a copy of it receives those of the file. It is left unchanged.

    Returns
    -------
    FastNetwork
        With the methods of the file: nothing is measured.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file was not written by `FastNetwork.save`, or does not fit the model.
    TypeError
        If `model` is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected the torch.nn.Module that the file was made of, got {type(model).__name__}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not readable as a file of FastNetwork.save(): {_first_line(error)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by FastNetwork.save(); plain weights belong into the model: "
            "model.load_state_dict(...), then seerlab.accelerate(model, example)"
        )
    if state["version"] != VERSION:
        raise ValueError(
            f"{path} has version {state['version']} of this format and this seerlab reads version {VERSION}: "
            "accelerate the model again and save it anew"
        )
    own = copy.deepcopy(model).eval()
    try:
        own.load_state_dict(state["weights"])
    except RuntimeError as error:
        raise ValueError(
            f"{path} holds the weights of a {state['network']}, which do not fit this {type(model).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    import pandas as pd

    plan = pd.DataFrame(state["plan"], columns=list(PLAN_COLUMNS))
    recipe = Recipe.from_state(state["recipe"])
    try:
        network = FastNetwork(own, recipe, plan, state["figures"])
    except (AttributeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} does not fit this {type(model).__name__}: {_first_line(error)}") from error
    missing = set(recipe.methods) - set(network.convolutions)
    if missing:
        raise ValueError(
            f"{path} does not fit this {type(model).__name__}: it has no layers {', '.join(sorted(missing)[:3])}"
        )
    return network


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
