"""Sparse-result and pruned products: every implementation and instruction set against a dense product in float64."""

import contextlib
import dataclasses
import math
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from seerlab.kernels import srmm as module
from seerlab.kernels.simd import LEVELS, available_levels, use_level
from seerlab.kernels.srmm import Selection, pack_pruned, pack_rows, pixel_rows, pruned_product, srmm

UNIT = 2.0**-24  # rounding of one float32 operation, relative

PATHS = ("reference", *LEVELS)


def on_path(name, function):
    """`function` by its reference, or compiled for one instruction set."""
    if name != "reference" and name not in available_levels():
        pytest.skip(f"no {name} on this machine or in this build")

    def run(*args, **kwargs):
        with contextlib.nullcontext() if name == "reference" else use_level(name):
            return function(*args, implementation="reference" if name == "reference" else "compiled", **kwargs)

    return run


@pytest.fixture(params=PATHS)
def select(request):
    return on_path(request.param, srmm)


@pytest.fixture(params=PATHS)
def predict(request):
    return on_path(request.param, pruned_product)


@dataclasses.dataclass
class Case:
    """One product, the results wanted of it, and what a dense float64 product says."""

    weight: Tensor
    at: Tensor
    mask: Tensor
    bias: Tensor
    addend: Tensor | None = None

    def dense(self):
        y = self.at.double() @ self.weight.double().T + self.bias.double()
        return y if self.addend is None else y + self.addend.double()

    def tolerance(self):
        """Bound of the rounding error: one rounding per product and per addition, of sums of absolute values."""
        size = self.at.double().abs() @ self.weight.double().abs().T + self.bias.double().abs()
        if self.addend is not None:
            size += self.addend.double().abs()
        return (2 * self.weight.shape[1] + 2) * UNIT * size

    def assert_direct_float(self, y):
        """Direct float family: selected results within the rounding bound, all others exactly 0."""
        assert y.shape == self.mask.shape
        assert y.dtype == torch.float32
        assert (y[~self.mask] == 0).all()
        error = (y.double() - self.dense()).abs()[self.mask]
        assert (error <= self.tolerance()[self.mask]).all()


def make_case(m=24, k=40, n=36, density=0.4, seed=0, addend=False, layout="rows"):
    generator = torch.Generator().manual_seed(seed)
    weight, at = torch.randn(m, k, generator=generator), torch.randn(n, k, generator=generator)
    bias = torch.randn(m, generator=generator)
    if density == "one":
        mask = torch.zeros(n, m, dtype=torch.bool)
        if n:
            mask.view(-1)[int(torch.randint(n * m, (), generator=generator))] = True
    else:
        mask = torch.rand(n, m, generator=generator) < density
    shortcut = torch.randn(n, m, generator=generator) if addend else None
    if layout == "columns":
        at, mask = at.T.contiguous().T, mask.T.contiguous().T
        shortcut = None if shortcut is None else shortcut.T.contiguous().T
    elif layout == "sliced":
        at = torch.randn(2 * n, 3 * k, generator=generator)[::2, ::3]
        weight = torch.randn(2 * m, k + 3, generator=generator)[1::2, 3:]
    elif layout == "expanded":
        at = torch.randn(1, k, generator=generator).expand(n, k)
        bias = torch.randn(1, generator=generator).expand(m)
    return Case(weight, at, mask, bias, shortcut)


DENSITIES = (0.0, "one", 0.03, 0.3, 0.8, 1.0)
# around the changes of path: one pixel, few rows, one tile or several, vectors with a tail, one piece or several
cases = st.builds(
    make_case,
    m=st.sampled_from((1, 2, 7, 8, 17, 65, 130)),
    k=st.sampled_from((1, 7, 8, 15, 16, 17, 33, 96, 97, 255, 256, 400, 1000)),
    n=st.sampled_from((1, 2, 3, 28, 29, 63, 64, 65, 150)),
    density=st.sampled_from(DENSITIES),
    seed=st.integers(0, 2**16),
    addend=st.booleans(),
    layout=st.sampled_from(("rows", "columns", "sliced", "expanded")),
)


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases)
def test_selected_results_are_those_of_a_dense_product_and_others_are_zero(name, case):
    case.assert_direct_float(on_path(name, srmm)(case.weight, case.at, case.mask, case.bias, addend=case.addend))


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases)
def test_a_pruned_product_is_a_dense_product_with_zeros(name, case):
    kept = torch.rand(case.weight.shape) < (0.2 if case.mask.float().mean() < 0.5 else 0.9)
    packed = pack_pruned(case.weight, kept)
    y = on_path(name, pruned_product)(packed, case.at, case.bias)
    pruned = dataclasses.replace(case, weight=case.weight * kept, mask=torch.ones_like(case.mask), addend=None)
    pruned.assert_direct_float(y)


@pytest.mark.parametrize("wanted", range(1, 28))
@pytest.mark.parametrize("n", [1, 40])
def test_any_number_of_wanted_partners_in_a_tile_is_right(select, wanted, n):
    # 1 to 12 at a time, balanced groups above; by pixel and by channel
    case = make_case(m=40, k=48, n=n, density=0.0)
    for row in case.mask if n == 1 else case.mask.T:
        row[torch.randperm(40, generator=torch.Generator().manual_seed(wanted))[:wanted]] = True
    case.assert_direct_float(select(case.weight, case.at, case.mask, case.bias))


def test_integers_come_out_exactly(select):
    generator = torch.Generator().manual_seed(0)
    weight, at = (torch.randint(-8, 9, size, generator=generator).float() for size in ((50, 300), (70, 300)))
    mask = torch.rand(70, 50, generator=generator) < 0.3
    assert torch.equal(select(weight, at, mask), torch.where(mask, at @ weight.T, 0.0))


def test_predictor_results_as_addend_and_the_other_weights_give_the_dense_results(select, predict):
    """Reuse: what the predictor has added up is not computed again."""
    case = make_case(m=33, k=200, n=90, density=0.3)
    kept = torch.rand(case.weight.shape) < 0.2
    predicted = predict(pack_pruned(case.weight, kept), case.at, case.bias)
    case.assert_direct_float(select(case.weight * ~kept, case.at, case.mask, addend=predicted))


def test_a_lowered_map_times_the_weights_is_a_convolution(select):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 5, 9, 8, generator=generator), torch.randn(7, 5, 3, 2, generator=generator)
    geometry = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    expected = torch.nn.functional.conv2d(x.double(), weight.double(), **geometry)
    at = pixel_rows(x, (3, 2), **geometry)
    y = select(weight.flatten(1), at, torch.ones(at.shape[0], 7, dtype=torch.bool))
    torch.testing.assert_close(
        y.view(2, *expected.shape[2:], 7).permute(0, 3, 1, 2).double(), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0)])
def test_no_pixels_or_no_input_is_no_error_where_there_are_weights(select, predict, shape):
    pixels, channels = shape
    if channels:
        at, weight = torch.zeros(pixels, 6), torch.ones(channels, 6)
        assert select(weight, at, torch.zeros(shape, dtype=torch.bool)).shape == shape
        assert predict(pack_pruned(weight), at).shape == shape
    else:
        with pytest.raises(ValueError, match="both axes of"):
            pack_rows(torch.zeros(channels, 6))


def test_an_empty_selection_gives_zeros_and_not_the_bias(select):
    case = make_case(density=0.0, addend=True)
    y = select(case.weight, case.at, case.mask, case.bias + 10, addend=case.addend)
    assert torch.equal(y, torch.zeros_like(y))


def test_what_is_not_selected_is_never_seen(select):
    case = make_case(m=20, n=50, density=0.3, addend=True)
    case.mask[7] = False
    case.mask[:, 3] = False
    case.at[7], case.weight[3], case.bias[3] = math.nan, math.inf, math.nan
    case.addend[~case.mask] = math.nan
    assert torch.isfinite(select(case.weight, case.at, case.mask, case.bias, addend=case.addend)).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [1, 30])
def test_values_that_are_not_finite_reach_exactly_the_results_that_use_them(select, value, n):
    case = make_case(m=9, k=19, n=n, density=1.0)
    case.at[0, 18] = value  # in the last, incomplete vector
    y = select(case.weight, case.at, case.mask, case.bias)
    assert not torch.isfinite(y[0]).any()
    assert torch.isfinite(y[1:]).all()


def test_inputs_of_pruned_weights_alone_are_not_read_by_the_list():
    weight = torch.tensor([[0.0, 2.0], [0.0, 3.0]])
    at = torch.tensor([[math.inf, 1.0]])
    y = pruned_product(pack_pruned(weight), at, implementation="compiled")
    assert torch.equal(y, torch.tensor([[2.0, 3.0]]))
    assert pruned_product(pack_pruned(weight), at, implementation="reference").isnan().all()


def test_a_kept_weight_of_zero_counts_as_a_slot():
    kept = torch.tensor([[True, False], [True, True]])
    packed = pack_pruned(torch.tensor([[0.0, 5.0], [1.0, 2.0]]), kept)
    assert packed.slots == 3
    assert packed.share == 0.75
    assert torch.equal(packed.weight, torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    assert pack_pruned(torch.tensor([[0.0, 5.0], [1.0, 2.0]])).slots == 3


def test_a_predictor_that_keeps_nothing_predicts_the_bias(predict):
    bias = torch.randn(5)
    y = predict(pack_pruned(torch.randn(5, 12), torch.zeros(5, 12, dtype=torch.bool)), torch.randn(7, 12), bias)
    assert torch.equal(y, bias.expand(7, 5))


def test_a_prediction_lies_channel_after_channel(predict):
    assert predict(pack_pruned(torch.randn(5, 12)), torch.randn(7, 12)).T.is_contiguous()


def test_automatic_choice_lists_few_weights_and_multiplies_many_densely():
    at = torch.randn(70, 300)
    for share, implementation in ((0.1, "compiled"), (0.9, "reference")):
        packed = pack_pruned(torch.randn(40, 300), torch.rand(40, 300) < share)
        assert (packed.share <= module.SPARSE_SHARE) == (implementation == "compiled")
        assert torch.equal(pruned_product(packed, at), pruned_product(packed, at, implementation=implementation))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(0, 9), m=st.integers(1, 9), density=st.sampled_from((0.0, 0.3, 1.0)))
def test_a_selection_lists_ascending_channels_and_gives_its_mask_back(n, m, density):
    mask = torch.rand(n, m) < density
    selection = Selection.from_mask(mask)
    assert torch.equal(selection.mask(), mask)
    assert selection.pointers[-1] == mask.sum()
    for pixel in range(n):
        channels = selection.channels[selection.pointers[pixel] : selection.pointers[pixel + 1]]
        assert channels.tolist() == mask[pixel].nonzero().flatten().tolist()


def test_a_selection_may_stand_for_its_mask(select):
    case = make_case()
    expected = select(case.weight, case.at, case.mask, case.bias)
    assert torch.equal(select(case.weight, case.at, Selection.from_mask(case.mask), case.bias), expected)


@pytest.mark.parametrize(
    ("pointers", "channels", "message"),
    [
        ([0, 2, 1], [0], "must ascend from 0 to its 1 listed channels"),
        ([1, 1], [0], "must ascend from 0"),
        ([0, 2], [0], "must ascend from 0"),
        ([0, 1], [3], "lists channels 3 to 3; they must lie in 0 to 2"),
        ([0, 1], [-1], "lists channels -1 to -1"),
    ],
)
def test_a_selection_that_contradicts_itself_is_refused(pointers, channels, message):
    selection = Selection(torch.tensor(pointers), torch.tensor(channels, dtype=torch.int32), 3)
    with pytest.raises(ValueError, match=message):
        selection.mask()


@pytest.mark.parametrize("name", LEVELS)
def test_the_number_of_threads_does_not_change_a_bit(name):
    case = make_case(m=130, k=300, n=500)
    packed = pack_pruned(case.weight, torch.rand(case.weight.shape) < 0.2)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            results.append(
                (
                    on_path(name, srmm)(case.weight, case.at, case.mask, case.bias),
                    on_path(name, pruned_product)(packed, case.at, case.bias),
                )
            )
    finally:
        torch.set_num_threads(before)
    case.assert_direct_float(results[0][0])
    for y, predicted in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(predicted, results[0][1])


def test_calls_from_several_threads_do_not_disturb_each_other(select):
    all_cases = [make_case(seed=i, m=60, k=200, n=80) for i in range(4)]
    results = {}

    def work(i):
        case = all_cases[i]
        results[i] = [select(case.weight, case.at, case.mask, case.bias) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, case in enumerate(all_cases):
        for y in results[i]:
            case.assert_direct_float(y)


def test_packed_weights_are_a_copy(select, predict):
    case = make_case()
    rows, pruned = pack_rows(case.weight), pack_pruned(case.weight)
    before = select(rows, case.at, case.mask), predict(pruned, case.at)
    case.weight.zero_()
    assert torch.equal(select(rows, case.at, case.mask), before[0])
    assert torch.equal(predict(pruned, case.at), before[1])


def test_tensors_that_require_gradients_are_accepted_and_give_none(select, predict):
    case = make_case(addend=True)
    for operand in (case.weight, case.at, case.bias, case.addend):
        operand.requires_grad_()
    assert not select(case.weight, case.at, case.mask, case.bias, addend=case.addend).requires_grad
    assert not predict(pack_pruned(case.weight), case.at, case.bias).requires_grad


ERRORS = {
    "a double input": ({"at": torch.zeros(9, 6).double()}, TypeError, "at has dtype torch.float64"),
    "an array": ({"at": torch.zeros(9, 6).numpy()}, TypeError, "at is ndarray; give a torch.Tensor"),
    "a mask of numbers": ({"selected": torch.zeros(9, 4)}, TypeError, "selected has dtype torch.float32"),
    "a vector": ({"at": torch.zeros(6)}, ValueError, r"at has shape \(6,\); it needs 2 axes"),
    "rows that do not fit": (
        {"at": torch.zeros(9, 5)},
        ValueError,
        r"at has shape \(9, 5\) and weight \(4, 6\): each row of at needs 6 numbers",
    ),
    "a short bias": ({"bias": torch.zeros(3)}, ValueError, r"bias has shape \(3,\) and weight \(4, 6\)"),
    "a mask turned round": (
        {"selected": torch.zeros(4, 9, dtype=torch.bool)},
        ValueError,
        r"selected has shape \(4, 9\) and the product is \(9, 4\)",
    ),
    "an addend of another shape": (
        {"addend": torch.zeros(4)},
        ValueError,
        r"addend has shape \(4,\) and the product is \(9, 4\)",
    ),
    "weights for the other product": (
        {"weight": pack_pruned(torch.ones(4, 6))},
        TypeError,
        "weight is PrunedRows; give a torch.Tensor",
    ),
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("implementation", ["reference", "compiled"])
def test_a_call_that_cannot_work_says_why(implementation, what):
    changed, error, message = ERRORS[what]
    arguments = {
        "weight": torch.zeros(4, 6),
        "at": torch.zeros(9, 6),
        "selected": torch.zeros(9, 4, dtype=torch.bool),
        "bias": torch.zeros(4),
    }
    with pytest.raises(error, match=message):
        srmm(**{**arguments, **changed}, implementation=implementation)


def test_an_unknown_implementation_is_refused_with_the_choices():
    case = make_case()
    message = "unknown implementation 'fast'; choose one of 'auto', 'reference', 'compiled'"
    with pytest.raises(ValueError, match=message):
        srmm(case.weight, case.at, case.mask, implementation="fast")
    with pytest.raises(ValueError, match=message):
        pruned_product(pack_pruned(case.weight), case.at, implementation="fast")


def test_unpacked_weights_and_wrong_shapes_are_refused_by_the_predictor():
    with pytest.raises(TypeError, match="weights is Tensor; give the result of pack_pruned"):
        pruned_product(torch.zeros(4, 6), torch.zeros(9, 6))
    with pytest.raises(ValueError, match=r"kept has shape \(4, 5\) and weight \(4, 6\)"):
        pack_pruned(torch.zeros(4, 6), torch.zeros(4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"at has shape \(9, 5\) and weight \(4, 6\)"):
        pruned_product(pack_pruned(torch.zeros(4, 6)), torch.zeros(9, 5))
    with pytest.raises(ValueError, match="x has shape"):
        pixel_rows(torch.zeros(3, 4, 4), (3, 3))
