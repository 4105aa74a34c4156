"""Long work without a browser: what is started, what is shown, what is refused, what is freed."""

from __future__ import annotations

import gc
import io
import json
import threading
import weakref

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import seerlab as sl
from seerlab.engine import jobs as jobs_module
from seerlab.engine import work_kinds
from seerlab.engine.rest import READER
from seerlab.widgets.lab import Lab
from seerlab.widgets.work_view import WorkView

PATIENCE_S = 120


class Held(nn.Module):
    """A classifier that can be kept waiting."""

    gate = threading.Event()

    def __init__(self, classes=4):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Linear(6, classes)

    def forward(self, x):
        assert Held.gate.wait(PATIENCE_S)
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


@pytest.fixture(autouse=True)
def open_gate(monkeypatch):
    Held.gate.set()
    monkeypatch.setattr(jobs_module, "REST_S", 0.01)
    yield
    Held.gate.set()


@pytest.fixture
def model():
    return Held().eval()


@pytest.fixture
def images():
    return torch.rand(7, 3, 10, 10)


@pytest.fixture
def work(model, images):
    view = WorkView(model, images, [0, 1, 2, 3, 0, 1, 2])
    yield view
    view.close()


def done(job):
    assert job.wait(PATIENCE_S)
    assert job.state == "done", job.error
    return job.result


def say(view, **content):
    view._lab_receive(view, content, [])


def test_the_view_is_public():
    assert sl.WorkView is WorkView


def test_accuracy_is_that_of_the_library(work, model, images):
    report = done(work.start("accuracy", bits=2))
    two = sl.seernet.apply(model, images[:1], bits=2)
    expected = sl.accuracy({"dense": model, "SeerNet, 2 bits": two}, images, [0, 1, 2, 3, 0, 1, 2], progress=False)
    pd.testing.assert_frame_equal(
        report.table[["model", "images", "top1", "agreement"]], expected[["model", "images", "top1", "agreement"]]
    )
    assert f"{100 * expected.top1[1]:.1f} %" in report.sentence
    assert [label for label, _ in report.chart.rows] == ["dense", "SeerNet, 2 bits"]


def test_bits_and_margin_are_those_of_the_view_when_not_given(work):
    work.bits, work.margin = 6, 3
    assert work.start("accuracy").title == "Accuracy, SeerNet, 6 bits, margin 3"


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({"method": "spl", "prune_ratio": 0.5}, "SPL, prune ratio 0.5"),
        ({"method": "drfmp", "epsilon": 0.2, "mode": "v2"}, "DRFMP, epsilon 0.2, v2"),
    ],
)
def test_every_method_can_be_asked_for_its_accuracy(work, values, title):
    report = done(work.start("accuracy", **values))
    assert report.table.model.tolist() == ["dense", title]


def test_without_labels_the_dense_network_is_the_yardstick_and_it_is_said(model, images):
    with_none = WorkView(model, images)
    report = done(with_none.start("accuracy", bits=1))
    dense, one = model(images).argmax(1), sl.seernet.apply(model, images[:1], bits=1)(images).argmax(1)
    assert report.table.agreement[0] == pytest.approx(float((dense == one).float().mean()))
    assert "top1" not in report.table
    assert any("Without labels" in note for note in report.notes)
    with_none.close()


def test_a_sweep_has_rows_of_networks_and_layers_and_goes_on_in_its_file(work, tmp_path):
    file = tmp_path / "sweep.jsonl"
    values = {"bits": "4, 2", "epsilon": [0.1], "layers": "all", "file": str(file)}
    report = done(work.start("sweep", count=5, **values))
    whole = report.table[report.table.layer == "network"]
    assert whole.method.tolist() == ["dense", "seernet", "seernet", "drfmp"]
    assert set(report.table.layer) == {"network", "first", "second"}
    lines = file.read_text().splitlines()
    again = done(work.start("sweep", count=5, **values))
    assert file.read_text().splitlines() == lines
    pd.testing.assert_frame_equal(again.table, report.table)


def test_selection_names_the_fastest_format_of_each_layer(work):
    report = done(work.start("selection", repeats=1))
    assert report.table.layer.tolist() == ["first", "second"]
    assert "dense" in report.sentence
    assert all(len(marks) == 3 for _, marks in report.chart.rows)


def test_acceleration_shows_its_plan_and_hands_over_the_network(work, model, images):
    report = done(work.start("acceleration"))
    assert {"method", "why"} <= set(report.table)
    torch.testing.assert_close(report.product(images), model(images), rtol=1e-3, atol=1e-4)


def test_acceleration_within_a_budget_says_on_which_pictures(work):
    report = done(work.start("acceleration", max_drop=50, count=4))
    assert any("falls by no more than 50 points" in note for note in report.notes)
    assert any("4 pictures" in note for note in report.notes)


def test_the_model_is_left_as_it_was(work, model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for kind in ("accuracy", "selection", "acceleration"):
        done(work.start(kind, count=2))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_list_shows_progress_and_the_first_result_shows_by_itself(work):
    seen = []
    work.observe(lambda change: seen.extend(change.new), "jobs")
    job = work.start("accuracy")
    done(job)
    assert {row["state"] for row in seen} == {"waiting", "running", "done"}
    assert any(row["total"] == 7 and row["unit"] == "image" for row in seen)
    assert work.shown == job.number
    assert work.result["sentence"] == job.result.sentence
    assert len(work.result["rows"]) == 2


def test_another_result_does_not_push_the_one_that_is_read_away(work):
    first, second = work.start("accuracy"), work.start("accuracy", bits=2)
    done(second)
    assert work.shown == first.number
    work.shown = second.number
    assert "2 bits" in work.result["heading"]


def test_cells_are_plain_values(work):
    done(work.start("sweep", bits="4", epsilon="0.1", layers="all", count=2))
    json.dumps(work.result, allow_nan=False)
    assert [
        work.result["rows"][0][i] for i, (name, _) in enumerate(work.result["columns"]) if name in ("Bits", "Epsilon")
    ] == [None, None]


def test_a_failing_job_says_why_and_the_next_one_runs(work, monkeypatch):
    job = work.start("sweep", networks="nonsense_net")
    good = work.start("accuracy")
    done(good)
    assert job.state == "failed"
    assert "nonsense_net" in work.jobs[0]["error"]
    assert work.shown == good.number


def test_a_running_job_is_cancelled_by_the_button(work):
    Held.gate.clear()
    job = work.start("accuracy")
    say(work, kind="cancel", job=job.number)
    Held.gate.set()
    assert job.wait(PATIENCE_S)
    assert job.state == "cancelled"
    assert work.jobs[0]["state"] == "cancelled"
    assert work.result == {}


def test_the_knobs_come_first(work):
    READER.begin()
    try:
        job = work.start("accuracy")
        held = threading.Event()
        work.observe(lambda change: held.set() if change.new[0]["held"] else None, "jobs")
        assert held.wait(PATIENCE_S) or work.jobs[0]["held"]
        assert not job.ended
    finally:
        READER.end()
    done(job)


def test_a_timed_job_that_stood_still_says_so(work):
    job = work.start("selection", repeats=1)
    done(job)
    job.held_times = 2
    work.shown = 0
    work.shown = job.number
    assert any("stood still 2 times" in note for note in work.result["notes"])


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("acuracy", {}, "unknown kind of work 'acuracy'; did you mean 'accuracy'"),
        ("accuracy", {"bits": 9}, "Bits 9: give a whole number from 1 to 8"),
        ("accuracy", {"method": "magic"}, "Method 'magic': choose one of 'seernet', 'spl', 'drfmp'"),
        ("sweep", {"bits": ""}, "a sweep needs values"),
        ("sweep", {"bits": "4, x"}, "bits: 'x' is no number"),
        ("sweep", {"bits": "12"}, "bits=12: give whole numbers from 1 to 8"),
        ("accuracy", {"pictures": "holiday"}, "unknown pictures 'holiday'"),
        ("accuracy", {"count": 0}, "count=0: give a whole number"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_runs(work, kind, values, message):
    with pytest.raises(ValueError, match=message):
        work.start(kind, **values)
    assert work.jobs == []


def test_unknown_fields_and_keywords_name_the_nearest(work, model, images):
    with pytest.raises(TypeError, match="did you mean 'repeats'"):
        work.start("selection", repeat=3)
    with pytest.raises(TypeError, match="did you mean 'labels'"):
        WorkView(model, images, label=[1])
    with pytest.raises(TypeError, match="labels but no images"):
        WorkView("vgg9_cifar10", labels=[1])
    with pytest.raises(TypeError, match="own model needs input tensors"):
        WorkView(model)


def test_a_wish_that_cannot_be_met_shows_in_the_view_and_the_next_one_clears_it(work):
    say(work, kind="start", work="accuracy", values={"bits": None}, pictures="given", count=None)
    assert work.error == "Bits None: give a whole number from 1 to 8"
    say(work, kind="folder", path="/nowhere/at/all")
    assert "is no folder" in work.error
    say(work, kind="cancel", job=10**9)
    assert "there is no job" in work.error
    say(work, kind="start", work="accuracy", values={"bits": 3}, pictures="given", count=2)
    assert work.error == ""
    assert work.jobs[0]["title"] == "Accuracy, SeerNet, 3 bits"


def test_the_table_is_handed_over_as_csv(work):
    sent = []
    work.send = lambda content, buffers=None: sent.append(content)
    job = work.start("accuracy")
    report = done(job)
    say(work, kind="csv", job=job.number)
    (content,) = sent
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(content["text"])), report.table, check_dtype=False)
    assert content["name"].endswith(".csv")
    assert work.to_csv() == content["text"]


def test_removing_a_job_takes_its_result_away(work):
    job = work.start("accuracy")
    done(job)
    say(work, kind="remove", job=job.number)
    assert (work.jobs, work.shown, work.result) == ([], 0, {})


def test_a_network_takes_folders_and_keeps_them_when_another_follows(tmp_path):
    for name in ("cat", "ship"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), "red" if name == "cat" else "blue").save(tmp_path / "set" / name / "x.png")
    work = WorkView(sl.load("vgg9_cifar10", weights=None))
    assert work.folders
    assert work.add_folder(str(tmp_path / "set")) == "set"
    assert work.pictures == "set"
    report = done(work.start("accuracy"))
    assert report.table.images.tolist() == [2, 2]
    assert any("Random weights" in note for note in report.notes)
    work.follow(work.subject)
    assert work.pictures == "set"
    work.close()


def test_a_broken_picture_fails_the_job_by_name(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    work = WorkView(sl.load("vgg9_cifar10", weights=None))
    job = work.start("accuracy", pictures=work.add_folder(str(tmp_path)))
    assert job.wait(PATIENCE_S)
    assert (job.state, "broken.png" in job.error) == ("failed", True)
    work.close()


def test_a_closed_view_cancels_its_jobs_and_frees_the_model(images):
    Held.gate.clear()
    model = Held().eval()
    gone = weakref.ref(model)
    work = WorkView(model, images)
    running, waiting = work.start("accuracy"), work.start("accuracy")
    work.close()
    work.close()
    assert waiting.state == "cancelled"
    Held.gate.set()
    assert running.wait(PATIENCE_S)
    assert running.state == "cancelled"
    with pytest.raises(RuntimeError, match="closed"):
        work.start("accuracy")
    del model
    thread = jobs_module._thread
    if thread is not None:
        thread.join(PATIENCE_S)
    gc.collect()
    assert gone() is None


def test_kinds_and_fields_have_names_of_their_own():
    for kind in work_kinds.KINDS.values():
        assert len({field.name for field in kind.fields}) == len(kind.fields)
        for field in kind.fields:
            assert field.checked(field.default) == field.default


class Shallow(Held):
    """Without a gate, for the lab."""


@pytest.fixture
def lab():
    lab = Lab(Shallow().eval(), torch.rand(2, 3, 16, 16))
    yield lab
    lab.close()


def page_of(lab):
    return next(page for page in lab._lab_more if page.title == "Work")


def turn(lab, title):
    lab._lab_pages.selected_index = list(lab._lab_pages.titles).index(title)


def test_the_labs_page_begins_with_what_the_lab_shows_and_follows_it(lab):
    assert page_of(lab).view is None
    turn(lab, "Work")
    work = page_of(lab).view
    assert work.pictures == "the input shown"
    lab.bits, lab.margin = 2, 7
    assert (work.bits, work.margin) == (2, 7)
    assert lab.wait_settled(PATIENCE_S)
    lab.layer = "second"
    assert lab.wait_settled(PATIENCE_S)
    assert work.subject.layer == "second"
    assert work.start("accuracy").title == "Accuracy, SeerNet, 2 bits, margin 7"


def test_a_result_is_kept_while_other_pages_are_looked_at(lab):
    assert lab.wait_settled(PATIENCE_S)
    turn(lab, "Work")
    work = page_of(lab).view
    job = work.start("accuracy")
    turn(lab, "Encode")
    report = done(job)
    turn(lab, "Work")
    assert page_of(lab).view is work
    assert work.result["sentence"] == report.sentence


def test_closing_the_lab_cancels_its_jobs(lab):
    assert lab.wait_settled(PATIENCE_S)
    turn(lab, "Work")
    work = page_of(lab).view
    Held.gate.clear()
    job = work.start("accuracy")
    lab.close()
    Held.gate.set()
    assert job.wait(PATIENCE_S)
    assert job.state == "cancelled"
    assert work.closed
