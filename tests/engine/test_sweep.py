"""`sweep`: what is in the table, that anybody may compute it, that it survives being killed, and what is refused."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seerlab import drfmp, seernet, spl
from seerlab.engine import sweep_methods, sweep_tasks
from seerlab.engine.accuracy import accuracy
from seerlab.engine.sweep import SweepError, sweep
from seerlab.layers import conv_layers
from seerlab.measure import thread_count

COUNT = 24


class Small(nn.Module):
    """A convolution with a pool, one with BatchNorm and a shortcut, and one that nothing follows."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.first(x)), 2)
        x = torch.relu(self.norm(self.second(x)) + x)
        return self.last(x).mean((2, 3))


def small(seed=0):
    torch.manual_seed(seed)
    return Small().eval()


@pytest.fixture(autouse=True)
def one_thread():
    """The last digits of sums depend on the number of threads, and tables are compared to the last digit."""
    with thread_count(1):
        yield


@pytest.fixture
def images():
    return torch.randn(COUNT, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    return torch.arange(COUNT) % 5


GRID = {"bits": (8, 3), "prune_ratio": (0.5,), "epsilon": (0, 0.3)}


def table_of(networks, images, labels, **options):
    return sweep(networks, images, labels, **{"progress": False, "batch_size": 10, "threads": 1, **options})


def same(table, expected):
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


class Counting(Executor):
    """Computes on the spot, and fails to from some call on."""

    def __init__(self, limit=math.inf):
        self.limit, self.calls = limit, 0

    def submit(self, function, /, *arguments):
        self.calls += 1
        future = Future()
        if self.calls > self.limit:
            future.set_exception(MemoryError("no room"))
            return future
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001  # handed on, as executors do
            future.set_exception(error)
        return future


# What is in the table


def test_there_is_a_row_for_each_network_layer_method_and_setting(images, labels):
    table = table_of({"a": small(0), "b": small(1)}, images, labels, **GRID)
    places = ["first", "second", "last", "network"]
    for name in "ab":
        own = table[table.network == name]
        assert own.iloc[0][["layer", "method"]].tolist() == ["network", "dense"]
        expected = [
            (layer, method, value)
            for method, key in (("seernet", "bits"), ("spl", "prune_ratio"), ("drfmp", "epsilon"))
            for value in GRID[key]
            for layer in places
        ]
        found = own.iloc[1:]
        values = found["bits"].astype("float64").fillna(found["prune_ratio"]).fillna(found["epsilon"])
        assert list(zip(found["layer"], found["method"], values, strict=True)) == expected
    assert table.columns[:8].tolist() == [
        "network", "layer", "method", "bits", "margin", "prune_ratio", "epsilon", "mode",
    ]  # fmt: skip
    assert table.dtypes[["bits", "epsilon", "images", "top1", "false_negatives", "refused"]].tolist() == [
        "Int64", "float64", "Int64", "float64", "Int64", "str",
    ]  # fmt: skip


def row_of(table, **values):
    for name, value in values.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0].dropna().to_dict()


def holds(row, figures):
    own = {"layer", *sweep_methods.SETTINGS}
    assert {name: row[name] for name in figures if name not in own} == {
        name: value for name, value in figures.items() if name not in own
    }


def test_rows_of_layers_hold_what_the_method_says_of_the_first_images(images, labels):
    model = small()
    table = table_of(model, images, labels, layer_images=6, accuracy=False, **GRID)
    layers = conv_layers(model, images[:6])
    assert set(table["images"].dropna()) == {6}
    holds(row_of(table, layer="second", bits=3), seernet.predict(layers["second"], bits=3).summary())
    holds(row_of(table, layer="first", prune_ratio=0.5), spl.predict(layers["first"], 0.5).summary())
    output = torch.relu(layers["first"].pre_activation)  # before its pool
    holds(row_of(table, layer="first", epsilon=0.3), drfmp.prune(output, 0.3).summary())


def test_rows_of_networks_hold_accuracy_and_what_the_network_says_of_itself(images, labels):
    model = small()
    table = table_of(model, images, labels, layers=(), margin=(0, 2), **GRID)
    assert set(table.layer) == {"network"}
    networks = {
        "dense": model,
        "seernet": seernet.apply(model, images[:1], bits=3, margin=2),
        "spl": spl.apply(model, images[:1], 0.5),
        "drfmp": drfmp.apply(model, images[:1], 0.3, skip=False),
    }
    expected = accuracy(networks, images, labels, batch_size=10, progress=False).set_index("model")
    picked = {"dense": {}, "seernet": {"bits": 3, "margin": 2}, "spl": {}, "drfmp": {"epsilon": 0.3}}
    for name, setting in picked.items():
        row = row_of(table, method=name, **setting)
        holds(row, expected.loc[name].drop("agreement").to_dict())
        assert row["top1_drop"] == expected.loc["dense", "top1"] - expected.loc[name, "top1"]
    holds(row_of(table, method="drfmp", epsilon=0.3), {"pruned_maps": networks["drfmp"].summary()["pruned_maps"]})


def test_layers_and_whole_network_judge_the_same_maps_in_both_modes(images, labels):
    table = table_of(small(), images, labels, epsilon=0, mode=("v1", "v2"), layer_images=COUNT)
    for mode in ("v1", "v2"):
        rows = table[table["mode"] == mode]
        layers, whole = rows[rows.layer != "network"], row_of(rows, layer="network")
        for name in ("maps", "pruned_maps", "values", "within_values"):
            assert layers[name].sum() == whole[name]


def test_a_layer_or_network_that_a_method_cannot_treat_says_why(images, labels):
    torch.manual_seed(0)
    leaky = nn.Sequential(nn.Conv2d(3, 5, 3), nn.LeakyReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    table = table_of({"small": small(), "leaky": leaky}, images, labels, bits=4)
    refused = table.dropna(subset="refused")
    assert list(zip(refused.network, refused.layer, strict=True)) == [
        ("small", "last"), ("leaky", "0"), ("leaky", "network"),
    ]  # fmt: skip
    assert refused.refused.iloc[0] == seernet.refusal(conv_layers(small(), images[:1])["last"])
    assert "leaky_relu follows" in refused.refused.iloc[1]
    assert "no layer of Sequential can be predicted" in refused.refused.iloc[2]
    assert refused["top1"].isna().all()


def test_layers_can_be_chosen_for_all_networks_or_for_each(images, labels):
    networks = {"a": small(0), "b": small(1)}
    table = table_of(networks, images, labels, bits=4, layers="second", accuracy=False)
    assert table[["network", "layer"]].to_numpy().tolist() == [["a", "second"], ["b", "second"]]
    table = table_of(networks, images, labels, bits=4, layers={"b": ["last", "first"]}, accuracy=False)
    assert table[["network", "layer"]].to_numpy().tolist() == [["b", "last"], ["b", "first"]]


def test_without_accuracy_no_labels_are_needed(images):
    table = sweep(small(), images, bits=4, accuracy=False, progress=False)
    assert "network" not in set(table.layer)
    assert "top1" not in table


def test_pictures_and_networks_by_name_or_with_a_file_give_the_same_rows(images, labels, tmp_path):
    from safetensors.torch import save_file

    from seerlab.networks import load

    net = load("vgg9_cifar10")
    file = tmp_path / "copy.safetensors"
    save_file(net.model.state_dict(), file)
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8))
    options = {"layers": ["features.3"], "bits": 4}
    table = table_of(
        {"name": "vgg9_cifar10", "file": ("vgg9_cifar10", file), "object": net}, iter(pictures), [0, 1, 2, 3], **options
    )
    inputs = torch.cat([net.preprocess(picture) for picture in pictures])
    expected = table_of({"name": net.model}, inputs, [0, 1, 2, 3], **options)
    for name in ("name", "file", "object"):
        same(table[table.network == name].assign(network="name").reset_index(drop=True), expected)
    with ThreadPoolExecutor(1) as pool:
        assert table_of(["vgg9_cifar10"], pictures, [0, 1, 2, 3], executor=pool, **options).network[0] == "vgg9_cifar10"


# Anybody may compute it


def test_threads_processes_and_any_executor_give_the_table_of_this_thread(images, labels):
    networks = {"a": small(0), "b": small(1), "name": "vgg9_cifar10"}
    options = {**GRID, "layers": {"a": ["second", "last"], "name": ["features.3"]}}
    images = torch.nn.functional.interpolate(images, 16)
    expected = table_of(networks, images, labels, **options)
    before = torch.get_num_threads()
    with ThreadPoolExecutor(3) as pool:
        same(table_of(networks, images, labels, executor=pool, **options), expected)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        same(table_of(networks, images, labels, executor=pool, **options), expected)
    same(table_of(networks, images, labels, executor=Counting(), **options), expected)
    assert torch.get_num_threads() == before


def test_threads_made_after_a_sweep_have_torchs_number_again(images, labels):
    with thread_count(2), ThreadPoolExecutor(2) as pool:
        table_of(small(), images, labels, executor=pool, bits=4, threads=1)
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 2


def test_a_dask_cluster_gives_the_table_of_this_thread(images, labels):
    distributed = pytest.importorskip("distributed")
    networks = {"a": small(0), "b": small(1), "name": "vgg9_cifar10"}
    options = {**GRID, "layers": {"a": ["second", "last"], "name": ["features.3"]}}
    images = torch.nn.functional.interpolate(images, 16)
    expected = table_of(networks, images, labels, **options)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        same(table_of(networks, images, labels, executor=client, **options), expected)


def test_tasks_of_one_network_run_side_by_side_in_threads(images, labels):
    """Layer names come from hooks on the modules: threads that shared a module would find each other's names."""
    options = {"bits": (2, 3, 4, 5, 6, 7, 8), "margin": (0, 1, 2, 3), "layers": ()}
    expected = table_of(small(), images, labels, **options)
    with ThreadPoolExecutor(4) as pool:
        same(table_of(small(), images, labels, executor=pool, **options), expected)


def test_the_default_number_of_threads_divides_the_cores_among_the_workers(images, labels, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: range(8))
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    with ThreadPoolExecutor(2) as pool:
        table_of(small(), images, labels, executor=pool, bits=4, threads=None)
    assert used.count(4) == len(used) - 1
    assert used[-1] == torch.get_num_threads()  # at the end, for threads to come
    used.clear()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    table_of(small(), images, labels, executor=Counting(), bits=4, threads=None)
    assert set(used) == {1, 8}


def test_a_worker_that_finds_other_weights_under_the_name_says_so(images, labels):
    task = sweep_tasks.Task("n", None, "dense", (), 10, 4, "digest", "data")
    parcel = sweep_tasks.Parcel("digest", sweep_tasks.ByName("vgg9_cifar10", "default"))
    with pytest.raises(ValueError, match="is another network on this worker"):
        sweep_tasks.run_task(task, parcel, parcel)


def test_a_worker_with_another_version_says_so():
    task = sweep_tasks.Task("n", None, "dense", (), 10, 4, "digest", "data", version="0.0.1")
    with pytest.raises(ValueError, match=r"the sweep was started with 0\.0\.1: install the same version"):
        sweep_tasks.run_task(task, None, None)


@pytest.mark.parametrize("installed", [True, False])
def test_networks_go_through_files_with_and_without_cloudpickle(tmp_path, monkeypatch, images, installed):
    model = small()
    if installed:
        pytest.importorskip("cloudpickle")

        class Own(nn.Sequential):
            """Of a function, as of a notebook: plain pickle cannot take it."""

        model = Own(model).eval()
    else:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    opened = sweep_tasks.Parcel("digest", model).stored(tmp_path).open()
    with torch.no_grad():
        assert torch.equal(opened(images), model(images))


# It survives being killed


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sweep.jsonl"


def test_a_finished_file_is_read_and_nothing_is_computed(images, labels, file):
    expected = table_of(small(), images, labels, path=file, **GRID)
    same(expected, table_of(small(), images, labels, **GRID))
    counting = Counting()
    same(table_of(small(), images, labels, path=file, executor=counting, **GRID), expected)
    assert counting.calls == 0


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_is_completed_without_debris(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("cut") / "sweep.jsonl"
    images = torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    options = {"bits": (8, 3), "epsilon": 0.3, "path": file}
    expected = table_of(small(), images, [0, 1, 2, 3, 4, 0], **options)
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    same(table_of(small(), images, [0, 1, 2, 3, 4, 0], **options), expected)
    assert sorted(file.read_bytes().splitlines()) == sorted(whole.splitlines())
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_killed_process_loses_no_finished_row(images, labels, tmp_path, file):
    """The process computes five tasks, writes them, and waits for a sixth that never ends; then it is killed."""
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent("""
            import sys
            from concurrent.futures import Executor, Future
            import torch
            from seerlab.engine.sweep import sweep
            from tests.engine.test_sweep import COUNT, GRID, small

            class Stuck(Executor):
                calls = 0
                def submit(self, function, /, *arguments):
                    self.calls += 1
                    future = Future()
                    if self.calls <= 5:
                        future.set_result(function(*arguments))
                    return future

            images = torch.randn(COUNT, 3, 12, 12, generator=torch.Generator().manual_seed(1))
            sweep(small(), images, torch.arange(COUNT) % 5, path=sys.argv[1], executor=Stuck(),
                  batch_size=10, threads=1, progress=False, **GRID)
        """)
    )
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, str(script), str(file)], env={**os.environ, "PYTHONPATH": root}, cwd=tmp_path
    )
    written = 0
    while written < 6:  # the header and five rows
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            written = file.read_bytes().count(b"\n") if file.exists() else 0
        else:
            pytest.fail(f"the process ended by itself, with status {process.returncode}")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with file.open("ab") as half:
        half.write(b'{"key": "half a li')
    expected = table_of(small(), images, labels, **GRID)
    counting = Counting()
    same(table_of(small(), images, labels, path=file, executor=counting, **GRID), expected)
    assert counting.calls == expected.refused.isna().sum() - 5


def test_a_grown_grid_computes_only_what_is_new(images, labels, file):
    table_of({"a": small(0)}, images, labels, bits=(8, 3), path=file)
    counting = Counting()
    networks = {"renamed": small(0), "b": small(1)}
    table = table_of(networks, images, labels, bits=(8, 5), path=file, executor=counting)
    same(table, table_of(networks, images, labels, bits=(8, 5)))
    assert counting.calls == 3 + 7  # the first network at five bits, and all of the second, whose last layer is refused


def test_changed_weights_are_another_network(images, labels, file):
    model = small()
    before = table_of(model, images, labels, bits=4, path=file)
    with torch.no_grad():
        model.first.weight[0, 0, 0, 0] += 1
    after = table_of(model, images, labels, bits=4, path=file)
    assert not after.equals(before)
    same(after, table_of(model, images, labels, bits=4))


@pytest.mark.parametrize("change", ["stride", "slope", "buffer"])
def test_the_digest_sees_what_is_no_parameter(change):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.1))
    model.transform_input = False
    before = sweep_tasks.network_digest(model)
    assert sweep_tasks.network_digest(model.eval()) == before
    if change == "stride":
        model[0].stride = (2, 2)
    elif change == "slope":
        model.transform_input = True
    else:
        model[1].running_mean += 1
    assert sweep_tasks.network_digest(model) != before


def test_failed_tasks_are_named_at_the_end_and_tried_again(images, labels, file):
    with pytest.raises(SweepError) as caught:
        table_of(small(), images, labels, path=file, executor=Counting(limit=3), **GRID)
    total = table_of(small(), images, labels, **GRID).refused.isna().sum()
    assert len(caught.value.failures) == total - 3
    assert str(caught.value).startswith(
        f"{total - 3} tasks failed (Small, whole network, seernet, bits=8, margin=0: MemoryError: no room; "
    )
    assert f"and {total - 6} more" in str(caught.value)
    assert "sweep.jsonl: run again" in str(caught.value)
    counting = Counting()
    same(
        table_of(small(), images, labels, path=file, executor=counting, **GRID),
        table_of(small(), images, labels, **GRID),
    )
    assert counting.calls == total - 3


def test_failed_tasks_can_be_recorded_in_the_table(images, labels):
    table = table_of(small(), images, labels, bits=(8, 3), executor=Counting(limit=4), on_error="record")
    failed = table.dropna(subset="error")
    assert set(failed.error) == {"MemoryError: no room"}
    assert failed[["top1", "recall"]].isna().all(axis=None)
    rest = table[table.error.isna()].drop(columns="error")
    whole = table_of(small(), images, labels, bits=(8, 3))
    pd.testing.assert_frame_equal(rest, whole.loc[rest.index], check_exact=True)


def test_a_task_that_fails_in_a_worker_is_told_with_its_cause(images, labels, monkeypatch):
    def broken(_layer, _values):
        raise ZeroDivisionError("for the test")

    method = sweep_methods.METHODS["seernet"]
    monkeypatch.setattr(sweep_tasks, "METHODS", {"seernet": sweep_methods.Method(**{**vars(method), "study": broken})})
    with pytest.raises(
        SweepError, match=r"2 tasks failed \(Small, layer first, seernet, bits=4, margin=0: Zero"
    ) as caught:
        table_of(small(), images, labels, bits=4)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_dead_worker_process_is_told_in_words(images, labels, file):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        victim = pool.submit(os.getpid).result()
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="a worker process died"):
            table_of(small(), images, labels, bits=4, path=file, executor=pool)
    same(table_of(small(), images, labels, bits=4, path=file), table_of(small(), images, labels, bits=4))


# What is refused, before anything runs


def spoiled(content, how):
    lines = content.splitlines(keepends=True)
    if how == "garbled":
        lines[2] = b"\x00\xff garbage\n"
    elif how == "digit":
        lines[2] = lines[2].replace(b'"images": ', b'"images": 1')
    elif how == "no entry":
        lines[2] = b"[1, 2]\n"
    return b"".join(lines)


@pytest.mark.parametrize("how", ["garbled", "digit", "no entry"])
def test_a_file_damaged_in_the_middle_is_refused_with_the_line(images, labels, file, how):
    table_of(small(), images, labels, bits=4, path=file)
    damaged = spoiled(file.read_bytes(), how)
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"line 3 of .*sweep.jsonl is damaged: delete that line and run again"):
        table_of(small(), images, labels, bits=4, path=file)
    assert file.read_bytes() == damaged
    file.write_bytes(b"".join(line for i, line in enumerate(damaged.splitlines(keepends=True)) if i != 2))
    same(table_of(small(), images, labels, bits=4, path=file), table_of(small(), images, labels, bits=4))


@pytest.mark.parametrize("content", [b"network,layer\na,b\n", b"notes", b"{}\n", b"[]\n"])
def test_a_file_that_is_no_sweeps_is_refused_and_left_as_it_is(images, labels, file, content):
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is no file of a sweep: choose another path"):
        table_of(small(), images, labels, bits=4, path=file)
    assert file.read_bytes() == content


def test_a_file_of_other_images_or_another_version_is_refused(images, labels, file):
    table_of(small(), images, labels, bits=4, path=file)
    with pytest.raises(ValueError, match=r"belongs to another sweep \(images .* instead of"):
        table_of(small(), images + 1, labels, bits=4, path=file)
    lines = file.read_text().splitlines(keepends=True)
    for key, value, message in (("seerlab", "0.0.1", "seerlab 0.0.1 instead of"), ("seerlab_sweep", 99, "format 99")):
        file.write_text("".join([json.dumps({**json.loads(lines[0]), key: value}) + "\n", *lines[1:]]))
        with pytest.raises(ValueError, match=message):
            table_of(small(), images, labels, bits=4, path=file)


def test_two_sweeps_do_not_write_one_file(images, labels, file):
    class Nested(Counting):
        def submit(self, function, /, *arguments):
            with pytest.raises(ValueError, match="another sweep is writing to"):
                table_of(small(), images, labels, bits=4, path=file)
            return super().submit(function, *arguments)

    table_of(small(), images, labels, bits=4, path=file, layers=(), executor=Nested())


def test_paths_that_cannot_be_are_refused(images, labels, tmp_path):
    with pytest.raises(ValueError, match=r"ends in .jsonl, not in '.parquet'"):
        table_of(small(), images, labels, bits=4, path=tmp_path / "sweep.parquet")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        table_of(small(), images, labels, bits=4, path=tmp_path / "none" / "sweep.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            r"nothing to sweep: give values for at least one of bits \(seernet\), prune_ratio \(spl\), epsilon \(drfmp\)",
        ),
        ({"bits": 9}, "bits=9: give whole numbers from 1 to 8"),
        ({"bits": (4, 0)}, "bits=0"),
        ({"bits": 4.5}, "bits=4.5"),
        ({"bits": True}, "bits=True"),
        ({"bits": ()}, "bits is empty"),
        ({"bits": 4, "margin": -1}, "margin=-1: give whole numbers 0 or more"),
        ({"prune_ratio": 1.0}, "prune_ratio=1.0: give numbers from 0 up to, but not, 1"),
        ({"prune_ratio": "half"}, "prune_ratio='half'"),
        ({"epsilon": -0.1}, "epsilon=-0.1: give numbers 0 or more, and finite"),
        ({"epsilon": math.nan}, "epsilon=nan"),
        ({"epsilon": math.inf}, "epsilon=inf"),
        ({"epsilon": 0, "mode": "v3"}, "unknown mode 'v3'; choose from 'v1', 'v2'"),
        (
            {"bits": 4, "mode": "v2"},
            "mode is a setting of 'drfmp', which is not swept: leave it out, or give epsilon too",
        ),
        ({"bits": 4, "methods": ["drfmp"]}, "method 'drfmp' needs values to try: give epsilon"),
        ({"bits": 4, "epsilon": 0, "methods": ["seernet"]}, "epsilon is a setting of 'drfmp'"),
        ({"bits": 4, "methods": ["seer"]}, "unknown method 'seer'; choose from 'seernet', 'spl', 'drfmp'"),
        ({"bits": 4, "methods": []}, "nothing to sweep"),
        ({"bits": 4, "layers": ["frist"]}, "has no convolution layer 'frist'; near names: 'first'"),
        ({"bits": 4, "layers": {"c": []}}, "layers are given for 'c', which is no network of this sweep: 'Small'"),
        ({"bits": 4, "layer_images": 0}, "layer_images=0"),
        ({"bits": 4, "threads": 0}, "threads=0"),
        ({"bits": 4, "batch_size": 1.5}, "batch_size=1.5"),
        ({"bits": 4, "on_error": "ignore"}, "unknown on_error 'ignore'; choose one of 'raise', 'record'"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_runs(images, labels, monkeypatch, options, message):
    monkeypatch.setattr("seerlab.engine.sweep.outcomes", None)
    with pytest.raises(ValueError, match=message):
        table_of(small(), images, labels, **options)


@pytest.mark.parametrize(
    ("networks", "change", "error", "message"),
    [
        ("vgg", {}, ValueError, "unknown network 'vgg'; did you mean"),
        ([], {}, ValueError, "there is no network"),
        ([small(), small()], {}, ValueError, "two networks are called 'Small': give a dict"),
        ({1: small()}, {}, TypeError, "name of a network is a int"),
        (3, {}, TypeError, "got int"),
        (small(), {"labels": [5] * COUNT}, ValueError, "label 5 is out of range"),
        (small(), {"labels": [-1] * COUNT}, ValueError, "0 or more"),
        (small(), {"labels": [0]}, ValueError, "do not belong together"),
        (small(), {"labels": None}, TypeError, "labels are missing"),
        (small(), {"images": torch.zeros(0, 3, 12, 12), "labels": []}, ValueError, "no images"),
        (small(), {"images": torch.full((COUNT, 3, 12, 12), math.nan)}, ValueError, "NaN"),
        (small(), {"executor": 4}, TypeError, "executor is a int: give None, an executor of concurrent.futures"),
    ],
)
def test_networks_and_data_that_do_not_fit_are_refused_before_anything_runs(
    images, labels, monkeypatch, networks, change, error, message
):
    monkeypatch.setattr("seerlab.engine.sweep.outcomes", None)
    given = {"images": images, "labels": labels, "bits": 4, **change}
    with pytest.raises(error, match=message):
        table_of(networks, **given)


def test_processes_that_fork_are_refused(images, labels):
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(ValueError, match=r'forks .*get_context\("spawn"\)'),
    ):
        table_of(small(), images, labels, bits=4, executor=pool)


def test_an_asynchronous_client_is_refused(images, labels):
    class Client:
        asynchronous = True

        def submit(self): ...
        def scatter(self): ...
        def get_executor(self): ...

    with pytest.raises(ValueError, match="the client is asynchronous"):
        table_of(small(), images, labels, bits=4, executor=Client())


def test_neither_dask_nor_cloudpickle_is_imported_with_the_module():
    code = "import sys, seerlab.engine.sweep; print([m for m in ('dask', 'distributed', 'cloudpickle') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_progress_bar_counts_the_tasks(images, labels, capsys, file):
    sweep(small(), images, labels, bits=4, path=file)
    assert "4/4" in capsys.readouterr().err
    sweep(small(), images, labels, bits=(4, 8), path=file)
    assert "7/7" in capsys.readouterr().err
