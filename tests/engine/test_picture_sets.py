"""Folders of pictures: labels from a file, from subfolders, or none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from seerlab.engine.picture_sets import folder_pictures, given_pictures

CATEGORIES = ("cat", "polar bear", "ship")


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def test_a_label_file_names_classes_by_number_or_category(tmp_path):
    for name in ("b.png", "a.png"):
        picture(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\nb.png,Polar_Bear\na.png,2\n")
    found = folder_pictures(tmp_path, CATEGORIES)
    assert [file.name for file in found.images] == ["b.png", "a.png"]
    assert found.labels.tolist() == [1, 2]
    assert "labels.csv" in found.origin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,what\n", "has the columns picture, what; it needs one of file"),
        ("file,label\n", "names no pictures"),
        ("file,label\nmissing.png,1\n", "names 1 pictures that are not in .*'missing.png'"),
        ("file,label\na.png,dog\n", "'dog', which is neither a number nor a category"),
    ],
)
def test_a_label_file_that_cannot_be_understood_says_what_it_needs(tmp_path, text, message):
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        folder_pictures(tmp_path, CATEGORIES)


def test_subfolders_are_classes_by_category_or_number(tmp_path):
    picture(tmp_path / "ship" / "x.jpg")
    picture(tmp_path / "0" / "y.png")
    found = folder_pictures(tmp_path, CATEGORIES)
    assert [(file.name, int(label)) for file, label in zip(found.images, found.labels, strict=True)] == [
        ("y.png", 0),
        ("x.jpg", 2),
    ]


def test_as_many_subfolders_as_categories_are_classes_in_order(tmp_path):
    for name in ("n03", "n01", "n02"):
        picture(tmp_path / name / "x.png")
    found = folder_pictures(tmp_path, CATEGORIES)
    assert found.labels.tolist() == [0, 1, 2]
    assert "in order" in found.origin
    with pytest.raises(ValueError, match="'n01', which is neither"):
        folder_pictures(tmp_path, CATEGORIES[:2])


def test_plain_pictures_have_no_labels(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = folder_pictures(tmp_path)
    assert (len(found), found.labels, found.origin) == (1, None, "no labels")


@pytest.mark.parametrize("name", ["", "nowhere", "empty"])
def test_a_folder_without_pictures_is_refused_with_a_remedy(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"give (the path|a folder)"):
        folder_pictures(name and tmp_path / name)


def test_a_part_is_spread_evenly_and_labels_go_with_it():
    whole = given_pictures(torch.arange(10.0).reshape(10, 1, 1, 1), range(10))
    part = whole.spread(4)
    assert part.labels.tolist() == part.images.flatten().tolist() == [0, 3, 6, 9]
    assert whole.spread(20) is whole
    assert given_pictures(list(np.zeros((5, 2, 2, 3), np.uint8))).spread(2).images[1].shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("images", "labels", "error"), [("a.png", None, TypeError), ([], None, ValueError), ([1, 2], [1], ValueError)]
)
def test_pictures_that_cannot_be_counted_or_do_not_match_are_refused(images, labels, error):
    with pytest.raises(error, match="give"):
        given_pictures(images, labels)
