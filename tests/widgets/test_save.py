"""Pages without a kernel: what is recorded, and what is refused. That they work is shown in the browser tests."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest
import torch

import seerlab as sl
from seerlab.engine.timing import layer_timings
from seerlab.widgets import save, saved_page
from seerlab.widgets.lab import Lab
from seerlab.widgets.predict_page import FOLD
from seerlab.widgets.recording import Blobs, clean
from tests.widgets.test_lab import Small
from tests.widgets.test_mask_view import make_layer


def read(file):
    """What is recorded in a page, and its blobs."""
    html = file.read_text(encoding="utf-8")
    recording = re.search(r'id="recording">([^<]*)<', html)[1]
    blobs = [
        gzip.decompress(base64.b64decode(text)) if packed else base64.b64decode(text)
        for packed, text in re.findall(r'data-blob="\d+"( data-packed)?>([^<]*)<', html)
    ]
    return json.loads(gzip.decompress(base64.b64decode(recording))), blobs


@pytest.fixture
def view():
    view = sl.MaskView(make_layer(), bits=3, margin=2)
    yield view
    view.close()


@pytest.fixture
def lab():
    lab = Lab(Small().eval(), torch.rand(1, 3, 16, 16), bits=5)
    yield lab
    lab.close()


def test_every_setting_has_the_frame_of_the_live_view(view, tmp_path):
    file = view.save(tmp_path / "view.html", bits=[1, 3], margin=[0, 2], progress=False)
    recorded, blobs = read(file)
    [part] = recorded["views"]
    assert (part["module"], part["axes"]) == ("MaskView", {"bits": [3, 1], "margin": [2, 0]})
    assert (part["state"]["bits"], part["state"]["margin"]) == (3, 2)
    assert len(part["plays"]) == 4
    for i, bits in enumerate([3, 1]):
        for j, margin in enumerate([2, 0]):
            [(content, numbers)] = part["plays"][f"{i}/{j}"]
            figures = view.compute(bits=bits, margin=margin)
            assert (content["bits"], content["margin"]) == (bits, margin)
            assert content["counts"]["false_skips"] == figures["false_negatives"]
            assert all(blobs[number] for number in numbers)
            assert content["truth"]  # each can be the first that is looked at


def test_the_users_own_view_is_left_alone(view, tmp_path):
    changes = []
    view.observe(changes.append, ["bits", "margin", "figures", "error"])
    view.to_png()  # settled
    changes.clear()
    view.save(tmp_path / "view.html", bits=[1, 8], margin=[0], progress=False)
    assert changes == []
    assert (view.bits, view.margin, view.closed) == (3, 2, False)


def test_a_page_fetches_nothing(view, tmp_path):
    html = view.save(tmp_path / "view.html", bits=[3], margin=[0], progress=False).read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href|url)\s*[=(]""", markup) == []
    addresses = set(re.findall(r"https?://[\w.]+", html)) - {"http://www.w3.org"}  # the name of SVG's elements
    assert addresses == set()


def test_lab_has_every_page_of_the_layer_and_its_numbers(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(save, "layer_timings", lambda *args: layer_timings(*args, repeats=1))
    file = lab.save(tmp_path / "lab.html", margins=[3], progress=False)
    recorded, _ = read(file)
    parts = {part["title"]: part for part in recorded["views"]}
    assert list(parts) == ["Predict", FOLD, "Epsilon", "Encode", "Granularity", "Network"]
    assert [part["under"] for part in parts.values()] == ["", "Predict", "", "", "", ""]
    assert {name: values[:2] for name, values in parts["Predict"]["axes"].items()} == {"bits": [5, 1], "margin": [0, 3]}
    assert set(parts["Predict"]["panel"]) == set(parts["Predict"]["plays"])
    measured = parts["Predict"]["panel"]["1/0"]  # 1 bit at the margin of the lab
    assert f"{lab.view.compute(bits=1, margin=0)['false_negatives']:,}" in measured
    assert " ms" in measured
    assert " ms" not in parts["Predict"]["panel"]["1/1"]
    assert recorded["controls"]["layer_options"] == [["second", "second (6 × 16 × 16)"]]
    assert recorded["controls"]["uploads"] is False


def test_a_recorded_curve_is_complete(lab, tmp_path):
    recorded, _ = read(lab.save(tmp_path / "lab.html", margins=[], times=False, progress=False))
    maps, predictors = (next(p for p in recorded["views"] if p["title"] == t) for t in ("Epsilon", FOLD))
    curve = next(content for content, _ in maps["plays"]["0/0/0/0"] if content["kind"] == "curve")
    of_the_mode = [int(key.split("/")[-1]) for key in maps["plays"] if key.startswith("0/0/0/")]
    assert [point[0] for point in curve["points"]] == sorted(maps["axes"]["epsilon"][number] for number in of_the_mode)
    assert all(content["finished"] for content, _ in predictors["plays"]["0/0/0"] if content["kind"] == "curves")


@pytest.mark.parametrize("name", ["folder", "lab.png", "lab", "missing/lab.html"])
def test_a_place_that_is_no_page_is_refused_before_anything_is_computed(view, tmp_path, name):
    (tmp_path / "folder").mkdir()
    words = {"folder": "is a folder", "missing/lab.html": "no folder"}.get(name, r"\.html or \.htm")
    with pytest.raises(ValueError, match=words):
        view.save(tmp_path / name, progress=False)


def test_what_cannot_be_recorded_is_refused(view, tmp_path):
    with pytest.raises(TypeError, match=r"'bit'.*did you mean 'bits'"):
        view.save(tmp_path / "view.html", bit=[1])
    with pytest.raises(ValueError, match="9"):
        view.save(tmp_path / "view.html", bits=[9], progress=False)
    with pytest.raises(ValueError, match="at least one"):
        view.save(tmp_path / "view.html", bits=[], progress=False)
    with pytest.raises(TypeError, match="name of a file"):
        view.save(3)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_leaves_the_former_one(view, tmp_path, monkeypatch):
    file = tmp_path / "view.html"
    file.write_text("former")
    monkeypatch.setattr(saved_page, "FOR_ALL", "not a mode")  # fails after writing, before the page is moved
    with pytest.raises(TypeError):
        view.save(file, bits=[3], margin=[0], progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["view.html"]
    assert file.read_text() == "former"


def test_bytes_are_kept_once_and_shorter_if_they_can_be():
    blobs = Blobs()
    long, noise = bytes(1000), bytes(range(10))
    assert [blobs.add(long), blobs.add(noise), blobs.add(long)] == [0, 1, 0]
    (first, packed), (second, raw) = blobs
    assert packed
    assert not raw
    assert gzip.decompress(base64.b64decode(first)) == long
    assert base64.b64decode(second) == noise


def test_numbers_that_json_does_not_have_are_null():
    assert clean({"a": [float("nan"), 1.5, (float("inf"),)], 2: "x"}) == {"a": [None, 1.5, [None]], "2": "x"}
