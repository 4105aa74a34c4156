"""`accelerate`: the fastest way for each convolution of a model by time, and the model that runs so.

Nothing is taken on trust. Every way of computing a layer is checked against the layer's own output on the example before it is timed, the
whole network is checked and timed after that, and what deviates or is no faster stays as the model has it, with the reason in the plan.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from seerlab import operators
from seerlab.evaluation import LabelledImages, evaluate
from seerlab.fast import METHODS, PreparedConv2d
from seerlab.fast.graph import Case, Chain, Fused, fused_in, heirs_of, visit_chains
from seerlab.fast.network import PLAN_COLUMNS, FastNetwork, Layout, Recipe, find_regions, in_order, lay_out, prepare
from seerlab.fast.tracing import copied, recorded_calls
from seerlab.layers import as_inputs
from seerlab.measure import Timing, checkpoint, interleaved, progress_bar

TOLERANCE = 1e-4  # largest deviation of an exact way, relative to the largest value
REPEATABLE = 1e-6  # two runs of one deterministic model agree at least so well
ROUND_MS = 50.0  # work per way and layer while timing: many repeats of small layers, few of large ones
PLAN_MS = 1500.0  # and per way over all layers, so that networks of a hundred layers take seconds as well
REPEATS = (3, 15)
HOPELESS = 1.5  # a way that takes this many times as long as the best one in the first round is not timed further
LEAST_FLOATS, MOST_FLOATS = (
    2**20,
    12 * 2**20,
)  # 4 MB: more than second-level caches hold; 48 MB: than most third-level ones
NETWORK_REPEATS = 5
NOTABLE = 0.95  # an approximate way must take less than this share of the best exact one's time
PLAIN = "torch"
CANDIDATES = (PLAIN, "torch_channels_last", "onednn", "direct", "winograd", "input_sparse", "seernet", "hybrid")
MODEL = "model"  # in a plan: computed by the model's own module


@dataclass
class _Approximate:
    """A way to compute a layer that predicts what it may leave out."""

    method: str
    conv: PreparedConv2d
    ms: float = math.nan
    computed: float = 1.0
    order: list[int] | None = None  # of the output channels, if another than the model's


@dataclass
class _Choice:
    """What was found for one layer."""

    chain: Chain
    method: str = MODEL
    why: str = ""
    conv: PreparedConv2d | None = None
    before: float = math.nan
    times: dict[str, float] = field(default_factory=dict)
    error: float = 0.0
    density: float = math.nan
    computed: float = 1.0
    ways: dict[str, tuple[PreparedConv2d, float]] = field(default_factory=dict)  # all exact ones: conv and error
    approximate: _Approximate | None = None
    heir: str | None = None  # the layer that alone reads this one's output

    @property
    def after(self) -> float:
        """Time in ms of the way chosen."""
        return self.times.get(self.method, self.before)

    def predict(self) -> None:
        """Take the approximate way."""
        assert self.approximate is not None
        exact, ms = self.method, self.after
        self.method, self.conv, self.computed = (
            self.approximate.method,
            self.approximate.conv,
            self.approximate.computed,
        )
        self.times[self.method] = self.approximate.ms
        self.why = (
            f"computes {self.computed:.0%} of the outputs in {self.approximate.ms:.3g} ms, {exact} all in {ms:.3g} ms"
        )
        if self.conv.settings:
            self.why += "; predicts by Winograd F(4x4) in 8 bits, not in SeerNet's 4"

    def demote(self, reason: str) -> None:
        """Take the next most accurate way, or none."""
        self.ways.pop(self.method, None)
        if self.ways:
            self.method = min(self.ways, key=lambda name: self.ways[name][1])
            self.conv, self.error = self.ways[self.method]
        else:
            self.method, self.conv, self.error = MODEL, None, 0.0
        self.why = f"{reason}; {self.why}"


def accelerate(
    model: nn.Module,
    example: Any,
    calibration: Any = None,
    max_drop: float = 0.0,
    *,
    methods: Iterable[str] | None = None,
    progress: bool = True,
) -> FastNetwork:
    """Make a faster module with the same call, by measuring on an example.

    Parameters
    ----------
    model : nn.Module
        Any model in evaluation mode, float32, on the CPU. It is left unchanged. What cannot be accelerated stays as it is.
    example : Tensor or ndarray, or a tuple of them
        Input of the kind the module will get, (N, C, H, W); a tuple is passed as several arguments. Other sizes and numbers of pictures
        work as well; the choice was made for this one, and for as many threads as torch has now.
    calibration : LabelledImages, or pair (images, labels), optional
        Needed with `max_drop`; not the images that accuracy is reported on later.
    max_drop : float
        0: only ways that compute the same but for rounding, within 1e-4 of the largest value. Above: the share of calibration images
        (0.01 is one point) that top-1 accuracy may lose to ways that predict which outputs are zero and leave those out.
    methods : iterable of str, optional
        Only these, by name in `seerlab.fast.METHODS`; all that are made for speed when not given. Without "winograd", results are as close
        to torch's as a direct convolution's.
    progress : bool
        Show a bar.

    Returns
    -------
    FastNetwork
        An ``nn.Module``; ``.plan`` is a table of the layers, ``.summary()`` the figures of the whole. Later changes of the model's
        parameters do not reach the packed weights.

    Raises
    ------
    TypeError
        If `model` is no module or `example` holds no tensor.
    ValueError
        If the model is in training mode, is not float32 on the CPU, or refuses the example; for unknown methods; for a `max_drop` out of
        range or without calibration images.
    """
    start = time.perf_counter()
    operators.refuse_unfit(model, scripted=True)
    inputs = as_inputs(example)
    names = _checked_methods(methods)
    data = _checked_budget(calibration, max_drop)
    with operators.plain_mode():
        planner = _Planner(model, inputs, names, progress)
        network = planner.plan(data, max_drop)
    network.figures["seconds"] = time.perf_counter() - start
    return network


def _checked_methods(methods: Iterable[str] | None) -> list[str]:
    if methods is None:
        return [name for name in CANDIDATES if name in METHODS]
    chosen = [methods] if isinstance(methods, str) else list(methods)
    unknown = [name for name in chosen if name not in METHODS]
    if unknown or not chosen:
        raise ValueError(f"methods={chosen}: choose from {', '.join(map(repr, METHODS))}")
    return chosen


def _checked_budget(calibration: Any, max_drop: float) -> LabelledImages | None:
    if not 0 <= max_drop < 1:
        raise ValueError(f"max_drop={max_drop!r}: give a share of the images from 0 to below 1; 0.01 is one point")
    if max_drop == 0:
        return None
    if isinstance(calibration, LabelledImages):
        return calibration
    if not isinstance(calibration, tuple | list) or len(calibration) != 2:
        raise ValueError(
            f"max_drop={max_drop} lets accuracy fall, which has to be watched: give calibration=(images, labels), "
            "preprocessed as the example; or max_drop=0 for exact ways only"
        )
    return LabelledImages(*calibration)


class _Planner:
    """One call of `accelerate`."""

    def __init__(self, model: nn.Module, inputs: tuple[Any, ...], names: list[str], progress: bool) -> None:
        self.original = model
        self.model = model
        self.inputs = inputs
        self.names = names
        self.budget = False
        self.elsewhere = torch.zeros(0)
        self.round_ms = ROUND_MS
        self.progress = progress
        self.choices: dict[str, _Choice] = {}
        self.others: dict[str, str] = {}
        self.order = [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)]

    def fresh(self) -> tuple[Any, ...]:
        """The example once more, for a model that changes its input."""
        return tuple(x.clone() for x in self.inputs)

    def plan(self, data: LabelledImages | None, max_drop: float) -> FastNetwork:
        """Choose, check and time."""
        self.budget = data is not None
        try:
            self.model = copied(self.original)
        except Exception as error:  # noqa: BLE001  # the attributes of any class may refuse to be copied
            operators.run_model(self.original, self.fresh())
            return self.unchanged(f"the model cannot be copied ({_words(error)})")
        reference = _kept(operators.run_model(self.model, self.fresh()))
        if _deviation(operators.run_model(self.model, self.fresh()), reference) > REPEATABLE:
            return self.unchanged("two runs of the model on the same input differ")
        try:
            recipe = self.choose()
        except Exception as error:  # noqa: BLE001  # an odd model is no reason to fail: it runs as it is
            return self.unchanged(f"planning met {_words(error)}")
        if not recipe.methods:
            return self.unchanged("no convolution that can be prepared")
        network = self.verified(recipe, reference)
        if isinstance(network, str):
            return self.unchanged(network)
        if data is not None:
            self.spend(network, data, max_drop)
        return self.timed(network)

    def unchanged(self, reason: str, **figures: float | int) -> FastNetwork:
        """The model as it is."""
        return FastNetwork(self.model, Recipe(), self.table(reason), figures)

    def choose(self) -> Recipe:
        """Find regions and layers, and time the ways to compute each layer on the example."""
        recipe = Recipe()
        recipe.regions, reasons = find_regions(self.model, self.fresh())
        paths = {region.path for region in recipe.regions}
        with recorded_calls(self.model, paths.__contains__) as calls:
            self.model(*self.fresh())
        layouts: list[tuple[Layout, tuple[Tensor, ...]]] = []
        for region in recipe.regions:
            inputs = self.fresh() if region.path == "" else calls[region.path].inputs
            layout = lay_out(self.model, region, tuple(x.clone() for x in inputs))
            layouts.append((layout, inputs))
            self.others |= layout.others
        known = {chain.name for layout, _ in layouts for chain in layout.chains} | set(self.others)
        for name in self.order:
            if name not in known:
                above = [path for path in reasons if not path or f"{name}.".startswith(f"{path}.")]
                self.others[name] = (
                    "not run on the example" if name not in calls
                    else reasons[max(above, key=len)] if above else "the code around it calls it in a way of its own"
                )  # fmt: skip
        self.elsewhere = torch.zeros(self.cache_floats())
        self.round_ms = min(ROUND_MS, PLAN_MS / max(sum(len(layout.chains) for layout, _ in layouts), 1))
        total = sum(len(layout.chains) for layout, _ in layouts)
        with progress_bar(total, "accelerate", "layer", shown=self.progress, leave=False) as bar:
            for layout, inputs in layouts:
                heirs = heirs_of(layout.traced, layout.chains)

                def visit(chain: Chain, case: Case, heirs: dict[str, str] = heirs) -> None:
                    self.choices[chain.name] = choice = _Choice(chain, heir=heirs.get(chain.name))
                    checkpoint()
                    self.examine(choice, case)
                    bar.update()

                visit_chains(layout.traced, inputs, layout.chains, visit)
        recipe.methods = {name: choice.method for name, choice in self.choices.items() if choice.conv is not None}
        return recipe

    def examine(self, choice: _Choice, case: Case) -> None:
        """Check and time the ways to compute one layer."""
        choice.density = float((case.x != 0).float().mean())
        if case.obstacle is not None:
            choice.why = case.obstacle
            return
        chain = choice.chain
        # Between accelerated layers maps are channels_last; what the caller hands over is as it is.
        x = case.x if chain.x.op == "placeholder" else case.x.contiguous(memory_format=torch.channels_last)
        addend = None if case.addend is None else case.addend.contiguous(memory_format=torch.channels_last)
        expected = case.output.clone()
        failed = []
        exact = [name for name in self.names if METHODS[name].exact]
        able = [name for name in exact if METHODS[name].refusal(chain.geometry) is None]
        # torch's plain way hands on rows that the next layer has to regroup: only where there is no other.
        for name in [name for name in able if name != PLAIN] or able:
            try:
                conv = prepare(chain, name)
                error = _deviation(Fused(name, conv, chain.pool)(x, addend), expected)
            except Exception as problem:  # noqa: BLE001  # a way that fails is not taken
                failed.append(f"{name}: {_words(problem)}")
                continue
            if error <= TOLERANCE:
                choice.ways[name] = conv, error
            else:
                failed.append(f"{name}: deviates by {error:.1e}")
        runs: dict[str, Callable[[], object]] = {MODEL: case.plain}
        runs |= {name: _run(Fused(name, conv, chain.pool), x, addend) for name, (conv, _) in choice.ways.items()}
        guesses = self.guesses(choice, x)
        runs |= {name: _run(Fused(name, way.conv, chain.pool), x, addend) for name, way in guesses.items()}
        times = _times(runs, self.elsewhere, self.round_ms)
        choice.before = times.pop(MODEL)
        if guesses:
            name = min(guesses, key=lambda name: times[name])
            choice.approximate = way = guesses[name]
            way.ms, way.computed = times[name], _computed_share(way.conv, x, addend)
            times = {way: ms for way, ms in times.items() if way not in guesses}
        choice.times = times
        if not times:
            choice.why = "; ".join(failed) or "no method treats it"
            return
        choice.method = min(times, key=lambda name: times[name])
        choice.conv, choice.error = choice.ways[choice.method]
        ranked = sorted(times, key=lambda name: times[name])
        choice.why = f"fastest of {', '.join(f'{name} {times[name]:.3g}' for name in ranked)} ms"
        if failed:
            choice.why += f" ({'; '.join(failed)})"

    def cache_floats(self) -> int:
        """How much to write elsewhere before a call, so that its weights lie where they do in the whole network."""
        weights = sum(tensor.numel() for tensor in self.model.parameters())
        return min(LEAST_FLOATS + 2 * weights, MOST_FLOATS)

    def guesses(self, choice: _Choice, x: Tensor) -> dict[str, _Approximate]:
        """The approximate ways that treat a layer, if there is a budget for them, fitted to the layer's input on the example."""
        chain = choice.chain
        if not self.budget or chain.lower != 0.0:
            return {}
        ways = {}
        for name in self.names:
            method = METHODS[name]
            if method.exact or method.masked or method.refusal(chain.geometry) is not None:
                continue
            if method.fit is None:
                ways[name] = _Approximate(name, prepare(chain, name))
                continue
            conv, order = prepare(chain, name, {"example": x, "pool": chain.pool}), None
            if name == "hybrid":
                # A shortcut comes in the model's order, and its sum goes to several readers.
                if chain.addend is not None or conv.settings["dense"] in (0, chain.geometry.out_channels):
                    continue
                if choice.heir is not None:
                    order = conv.settings["order"]
                    options = {"settings": {**conv.settings, "order": None}}
                    conv = prepare(in_order(chain, order, None), name, options)
            ways[name] = _Approximate(name, conv, order=order)
        return ways

    def verified(self, recipe: Recipe, reference: Any) -> FastNetwork | str:
        """The network, once its output is right; or why it is not to be had."""
        reason = ""
        other = tuple(x.flip(-1) * 0.5 if x.is_floating_point() and x.dim() else x for x in self.inputs)
        while recipe.methods:
            convs = {name: c.conv for name, c in self.choices.items() if c.conv is not None}
            for recipe.restore in (False, True):
                try:
                    network = FastNetwork(self.model, recipe, self.table(), {}, convs)
                    error = _deviation(_fast(network)(*self.fresh()), reference)
                except Exception as problem:  # noqa: BLE001  # the model's own code around the layers
                    error, reason = math.inf, f"the network without its own modules fails: {_words(problem)}"
                else:
                    reason = f"the network's output deviates by {error:.1e}"
                    if error <= TOLERANCE and not self.follows(network, other):
                        return "its graph on another picture computes something else"
                    if error <= TOLERANCE:
                        network.figures["max_error"] = error
                        return network
                if recipe.regions[0].path == "" and len(recipe.regions) == 1:
                    break
            worst = max(convs, key=lambda name: self.choices[name].error)
            if math.isinf(error) or self.choices[worst].error == 0:
                return reason
            choice = self.choices[worst]
            choice.demote(f"{choice.method} deviated by {choice.error:.1e} and the whole network by {error:.1e}")
            recipe.methods = {name: c.method for name, c in self.choices.items() if c.conv is not None}
        return reason

    def follows(self, network: FastNetwork, inputs: tuple[Any, ...]) -> bool:
        """Whether the network is right on another input as well; an input the model itself refuses says nothing."""
        try:
            expected = _kept(self.model(*(x.clone() for x in inputs)))
        except Exception:  # noqa: BLE001
            return True
        try:
            return _deviation(_fast(network)(*(x.clone() for x in inputs)), expected) <= 10 * TOLERANCE
        except Exception:  # noqa: BLE001  # the model's own answer is given then
            return True

    def spend(self, network: FastNetwork, data: LabelledImages, max_drop: float) -> None:
        """Let layers predict where it saves time, as long as the accuracy on the calibration images allows.

        All of them at once if that is within the budget; else one after the other, the largest saving first, each kept if the network as
        a whole stays within it.
        """
        places: dict[str, list[Fused]] = {}
        for fused in fused_in(_fast(network)):
            places.setdefault(fused.name, []).append(fused)
        savings = {
            name: choice.after - choice.approximate.ms
            for name, choice in self.choices.items()
            if choice.approximate is not None and name in places and choice.approximate.ms < NOTABLE * choice.after
            if choice.approximate.order is None or choice.heir in places
        }
        packed: dict[tuple[str, bool], PreparedConv2d] = {}
        readers = {choice.heir: name for name, choice in self.choices.items() if choice.heir is not None}
        taken: set[str] = set()

        def conv_of(name: str) -> PreparedConv2d:
            """A layer's convolution, in the order in which the layer before it hands over its channels."""
            choice, before = self.choices[name], self.choices.get(readers.get(name, ""))
            way = choice.approximate if name in taken else None
            conv = choice.conv if way is None else way.conv
            assert conv is not None
            order = before.approximate.order if before and before.approximate and readers[name] in taken else None
            if order is None:
                return conv
            key = name, way is not None
            if key not in packed:
                chain = in_order(choice.chain, None if way is None else way.order, order)
                packed[key] = prepare(chain, conv.method, _options(conv))
            return packed[key]

        order = sorted(savings, key=lambda name: -savings[name])
        dense = evaluate(network, data).top1
        network.figures |= {"images": len(data), "top1_before": dense, "top1_after": dense}

        def place(names: Iterable[str], *, predicted: bool) -> None:
            (taken.update if predicted else taken.difference_update)(names)
            changed = {layer for name in names for layer in (name, self.choices[name].heir) if layer is not None}
            for layer in changed & set(places):
                for fused in places[layer]:
                    fused.conv = conv_of(layer)

        def within() -> bool:
            top1 = evaluate(network, data).top1
            good = top1 >= dense - max_drop - 1e-9
            if good:
                network.figures["top1_after"] = top1
            return good

        kept: list[str] = []
        for trial in [order, *([name] for name in order if len(order) > 1)] if order else []:
            place(trial, predicted=True)
            if within():
                kept += trial
                if len(trial) == len(order):
                    break
            else:
                place(trial, predicted=False)
                for name in trial if len(trial) == 1 else ():
                    self.choices[name].why += "; predicting it lost more accuracy than was allowed"
        for name in kept:
            choice = self.choices[name]
            choice.predict()
            assert choice.conv is not None
            assert choice.approximate is not None
            network.recipe.options[name] = _options(choice.conv)
            if choice.approximate.order is not None:
                network.recipe.orders[name] = choice.approximate.order
        network.recipe.methods = {name: c.method for name, c in self.choices.items() if c.conv is not None}
        if kept:
            network.figures["max_error"] = _deviation(_fast(network)(*self.fresh()), _kept(self.model(*self.fresh())))

    def timed(self, network: FastNetwork) -> FastNetwork:
        """The network with its times, or the model as it is if that is as fast."""
        model, inputs = self.model, self.inputs
        runs: dict[str, Callable[[], object]] = {
            "before": lambda: model(*inputs),
            "after": lambda: _fast(network)(*inputs),
        }
        times = interleaved(runs, repeats=NETWORK_REPEATS, warmup=1)
        before, after = times["before"].median_ms, times["after"].median_ms
        figures = {"ms_before": before, "threads": times["before"].threads}
        if after >= before:
            reason = f"the whole network takes {after:.3g} ms with prepared convolutions and {before:.3g} ms without"
            return self.unchanged(reason, ms_after=before, speedup=1.0, **figures)
        network.figures |= figures | {"ms_after": after, "speedup": before / after}
        network.plan = self.table()
        return network

    def table(self, reason: str = "") -> pd.DataFrame:
        """The plan; with a reason, one in which nothing is accelerated."""
        rows = []
        names = [*self.order, *(name for name in (*self.choices, *self.others) if name not in self.order)]
        for name in names:
            choice = self.choices.get(name)
            if choice is None:
                rows.append((name, MODEL, self.others.get(name) or reason, *[math.nan] * 4, 1.0, ""))
                continue
            method, after, why = choice.method, choice.after, choice.why
            if reason:
                method, after, why = MODEL, choice.before, f"{reason}; {why}".removesuffix("; ")
            speedup = choice.before / after
            fused = " ".join(choice.chain.steps) if method != MODEL else ""
            rows.append((name, method, why, choice.before, after, speedup, choice.density, choice.computed, fused))
        return pd.DataFrame(rows, columns=list(PLAN_COLUMNS))


def _fast(network: FastNetwork) -> nn.Module:
    """The network without the model that answers where it cannot."""
    assert network.body is not None
    return network.body


def _run(conv: Fused, x: Tensor, addend: Tensor | None) -> Callable[[], Tensor]:
    return lambda: conv(x, addend)


def _options(conv: PreparedConv2d) -> dict[str, Any]:
    """What `prepare` needs to make a convolution again without an example."""
    return {"settings": conv.settings} if conv.settings else {}


def _computed_share(conv: PreparedConv2d, x: Tensor, addend: Tensor | None) -> float:
    """Share of the outputs that are not left out; predicted ones that come out as 0 count as left out."""
    found = (conv(x, addend) != 0).float().mean((0, 2, 3))
    if "order" in conv.settings:
        found = found if conv.settings["order"] is None else found[torch.tensor(conv.settings["order"])]
        found[: conv.settings["dense"]] = 1.0
    return float(found.mean())


def _times(runs: dict[str, Callable[[], object]], elsewhere: Tensor, round_ms: float) -> dict[str, float]:
    """Median times in ms: one round of all, then more of those that can still win, and of the model's own.

    In a network the other layers have pushed a layer's weights out of the caches: before every call `elsewhere` is written.
    """
    cold: dict[str, Callable[[], object]] = {}
    for name, run in runs.items():
        cold |= {f"before {name}": lambda: elsewhere.add_(1.0), name: run}
    first = interleaved(cold, repeats=1, warmup=0)
    best = min(first[name].median_ms for name in runs)
    left = [name for name in runs if name == MODEL or first[name].median_ms <= HOPELESS * best]
    low, high = REPEATS
    between = min(first[f"before {name}"].median_ms for name in runs)
    repeats = min(max(round(round_ms / (best + between)), low), high)
    again = {key: cold[key] for name in left for key in (f"before {name}", name)}
    timings: dict[str, Timing] = first | interleaved(again, repeats=repeats, warmup=0)
    return {name: timings[name].median_ms for name in runs}


def _kept(outputs: Any) -> list[Tensor]:
    """Copies of all tensors in a model's output."""
    return [leaf.detach().clone() for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _deviation(outputs: Any, reference: Any) -> float:
    """Largest difference, relative to the largest finite value of each tensor; infinite where the outputs are of another kind."""
    ours = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    theirs = [leaf for leaf in tree_leaves(reference) if isinstance(leaf, Tensor)]
    if len(ours) != len(theirs):
        return math.inf
    return max((_difference(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)


def _difference(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    if not b.numel():
        return 0.0
    if not b.is_floating_point():
        return 0.0 if torch.equal(a, b) else math.inf
    scale = float(b.abs().nan_to_num(0.0, 0.0, 0.0).max())
    gap = (a - b).abs()
    if bool(torch.isfinite(b).all()):
        worst = float(gap.max())
    else:
        special = ~torch.isfinite(b)
        if not torch.equal(a[special].nan_to_num(1.0, 2.0, 3.0), b[special].nan_to_num(1.0, 2.0, 3.0)):
            return math.inf
        worst = float(gap[~special].max()) if not bool(special.all()) else 0.0
    if math.isnan(worst):
        return math.inf
    return 0.0 if worst == 0 else worst / scale if scale else math.inf


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
