"""ONNX Runtime as a competitor: a single convolution, or a whole network."""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NEEDED = ("onnx", "onnxruntime")
OPSET = 17


def missing() -> str | None:
    """Why ONNX Runtime cannot be measured; None if it can."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return f"ONNX Runtime is left out: {' and '.join(absent)} not installed (pip install 'seerlab[onnx]')"
    return None


def convolution(
    weight: Tensor, bias: Tensor, x: Tensor, *, stride: tuple[int, int], padding: tuple[int, int], threads: int
) -> Callable[[], Any]:
    """A call that convolves `x` and applies a ReLU in ONNX Runtime; its result is an array (N, K, P, Q)."""
    from onnx import TensorProto, helper, numpy_helper

    pads = [padding[0], padding[1], padding[0], padding[1]]
    nodes = [
        helper.make_node("Conv", ["x", "weight", "bias"], ["sums"], pads=pads, strides=list(stride)),
        helper.make_node("Relu", ["sums"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight.numpy(), "weight"), numpy_helper.from_array(bias.numpy(), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    return _session(model.SerializeToString(), x, threads)


def network(model: nn.Module, x: Tensor, threads: int) -> Callable[[], Any]:
    """A call that runs a model on `x` in ONNX Runtime.

    Raises
    ------
    Exception
        Whatever torch's exporter raises for a model that it does not understand.
    """
    target = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(model, (x,), target, opset_version=OPSET, dynamo=False)  # type: ignore[arg-type]  # of this exporter, files too
    return _session(target.getvalue(), x, threads)


def _session(content: bytes, x: Tensor, threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.ascontiguousarray(x.numpy())}
    return lambda: session.run(None, feed)[0]
