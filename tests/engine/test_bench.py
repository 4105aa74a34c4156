"""``seerlab bench``: what its rows hold, and what it refuses. No times are asserted."""

from __future__ import annotations

import json

import pytest
import torch

from seerlab import cli
from seerlab.engine import bench, bench_layers, bench_network, bench_onnx, bench_roofline

TINY = bench.Layer("tiny", 8, 10, 16)
STRIDED = bench.Layer("strided", 8, 10, 16, (1, 5), 2)


@pytest.fixture(autouse=True)
def tiny_layers(monkeypatch):
    monkeypatch.setattr(bench, "LAYERS", {"tiny": TINY, "strided": STRIDED})
    monkeypatch.setattr(bench_layers, "LAYERS", bench.LAYERS)
    monkeypatch.setattr(bench_layers, "ENCODING_LAYERS", ("tiny",))
    monkeypatch.setattr(bench_roofline, "LAYERS", bench.LAYERS)


def test_every_layer_of_the_list_has_a_plausible_size():
    assert TINY.macs == 16 * 8 * 9 * 100
    assert STRIDED.macs == 16 * 8 * 5 * 25
    assert TINY.bytes == 4 * (800 + 16 * 8 * 9 + 1600)
    assert STRIDED.padding == (0, 2)


def test_layers_are_timed_beside_all_baselines(capsys, tmp_path):
    file = tmp_path / "deep" / "layers.json"
    words = ["bench", "layers", "--density", "0.2", "1", "--repeats", "2", "--threads", "1", "--json", str(file)]
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    assert "x torch_channels_last" in text
    content = json.loads(file.read_text())
    assert content["kind"] == "layers"
    assert content["machine"]["torch"] == torch.__version__
    assert content["machine"]["instructions"]
    rows = content["rows"]
    assert {(row["case"], row["density"]) for row in rows} == {
        ("tiny", 0.2),
        ("tiny", 1.0),
        ("strided", 0.2),
        ("strided", 1.0),
    }
    methods = {row["method"] for row in rows if row["case"] == "tiny"}
    assert methods == set(bench_layers.LAYER_METHODS) - ({"onnxruntime"} if bench_onnx.missing() else set())
    assert "winograd" not in {row["method"] for row in rows if row["case"] == "strided"}
    for row in rows:
        assert row["threads"] == 1
        assert row["repeats"] == 2
        assert 0 < row["low_ms"] <= row["ms"] <= row["high_ms"]
        assert row["error"] < (1.0 if row["method"] == "seernet" else bench_layers.TOLERANCE)
        assert row["speedup_torch"] > 0
        assert ("chosen" in row) == (row["method"] == "auto")
    assert all(row["speedup_torch"] == 1.0 for row in rows if row["method"] == "torch")


def test_chosen_layers_and_methods_only():
    report = bench_layers.bench_layers(["strided"], [0.5], ["onednn", "zvc"], threads=1, repeats=1)
    assert [row["method"] for row in report.rows] == ["onednn", "zvc"]
    assert all(row["speedup_torch"] is None for row in report.rows)
    assert "strided" in report.table()


def test_a_wrong_result_is_not_timed(monkeypatch):
    class Wrong:
        def __init__(self, *_layer, **_arguments):
            pass

        def __call__(self, _x):
            return torch.ones(1, 16, 10, 10)

    monkeypatch.setattr(bench_layers, "prepare_conv2d", Wrong)
    with pytest.raises(RuntimeError, match=r"onednn is wrong on tiny at density 0.5: error"):
        bench_layers.bench_layers(["tiny"], [0.5], ["onednn"], repeats=1)


def test_onnx_runtime_is_left_out_with_a_note_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(bench_onnx.importlib.util, "find_spec", lambda _name: None)
    report = bench_layers.bench_layers(["tiny"], [0.5], ["torch", "onnxruntime"], repeats=1)
    assert [row["method"] for row in report.rows] == ["torch"]
    assert report.notes == [
        "ONNX Runtime is left out: onnx and onnxruntime not installed (pip install 'seerlab[onnx]')"
    ]
    assert "note: ONNX Runtime is left out" in report.table()


def test_encodings_are_timed_and_weighed(capsys):
    assert cli.main(["bench", "encodings", "--density", "0.1", "--repeats", "1"]) == 0
    text = capsys.readouterr().out
    assert "vs_im2col" in text
    report = bench_layers.bench_encodings(densities=[0.1], repeats=1)
    rows = {row["method"]: row for row in report.rows}
    assert set(rows) == set(bench_layers.ENCODING_METHODS)
    assert rows["im2col"]["vs_im2col"] == 1.0
    assert rows["im2col"]["bytes"] == 4 * 100 * 72
    assert rows["zvc"]["vs_raw"] > 3
    assert "bytes" not in rows["torch"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_networks_are_timed_and_what_fails_is_noted(monkeypatch, capsys):
    def failing(*_arguments):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(bench_onnx, "network", failing)
    methods = ["torch", "torch_channels_last"] + ([] if bench_onnx.missing() else ["onnxruntime"])
    report = bench_network.bench_network(["vgg9_cifar10"], methods, repeats=1)
    assert [row["method"] for row in report.rows] == ["torch", "torch_channels_last"]
    assert all(row["error"] < 1e-4 for row in report.rows)
    if not bench_onnx.missing():
        assert report.notes[0].endswith("onnxruntime is left out: RuntimeError: no such operator")


@pytest.mark.skipif(bench_onnx.missing() is not None, reason=str(bench_onnx.missing()))
def test_onnx_runtime_computes_the_same_convolution():
    x, weight, bias = torch.randn(1, 3, 9, 7), torch.randn(5, 3, 3, 3), torch.randn(5)
    call = bench_onnx.convolution(weight, bias, x, stride=(2, 1), padding=(1, 0), threads=1)
    expected = torch.nn.functional.conv2d(x, weight, bias, (2, 1), (1, 0)).relu()
    assert torch.allclose(torch.from_numpy(call()), expected, atol=1e-4)


def test_the_roofline_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_roofline, "MATRIX", 64)
    monkeypatch.setattr(bench_roofline, "COPIED_BYTES", 4096)
    assert cli.main(["bench", "roofline", "--repeats", "1", "--output", str(tmp_path / "roof")]) == 0
    out = capsys.readouterr().out
    assert f"written {tmp_path / 'roof' / 'roofline.html'}" in out
    assert (tmp_path / "roof" / "roofline.png").exists() or "note: no PNG beside the HTML" in out
    assert "GFLOP" in (tmp_path / "roof" / "roofline.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["layers", "--layers", "huge"], "unknown layer 'huge'; choose from tiny, strided"),
        (["layers", "--methods", "fft"], "unknown method 'fft'; choose from torch, "),
        (["layers", "--density", "2"], "density 2.0 is no share"),
        (["layers", "--threads", "0"], "threads=0: give at least 1"),
        (["layers", "--repeats", "0", "--layers", "tiny", "--density", "0.5"], "repeats=0"),
        (["encodings", "--layers", "huge"], "unknown layer 'huge'"),
        (["network", "--network", "vgg99"], "unknown network 'vgg99'; choose from "),
        (["network", "--methods", "tensorrt"], "unknown method 'tensorrt'; choose from torch, "),
        (["roofline", "--density", "0.1", "0.2"], "a roofline shows one density"),
    ],
)
def test_unknown_names_and_numbers_are_refused(words, message, capsys):
    assert cli.main(["bench", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["fly"], ["layers", "--networks", "x"], ["network", "--density", "0.1"], []])
def test_unknown_options_are_refused(words, capsys):
    with pytest.raises(SystemExit) as status:
        cli.main(["bench", *words])
    assert status.value.code == 2
    assert "error" in capsys.readouterr().err


def test_calibrate_says_where_the_costs_are(monkeypatch, tmp_path, capsys):
    from seerlab.fast import calibration, costs

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(calibration, "TYPICAL", ((8, 8, 6, 6, (3, 3), 1, 1),))
    assert cli.main(["bench", "calibrate", "--threads", "1"]) == 0
    assert str(costs.cost_file()) in capsys.readouterr().out
    costs.forget_costs()
