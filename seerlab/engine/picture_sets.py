"""Sets of pictures for long work: a folder of one's own, pictures that were handed over, or the photographs of the package.

A folder holds its labels in a ``labels.csv`` or in the names of its subfolders; without either its pictures have none.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LABEL_FILE = "labels.csv"
FILE_COLUMNS = ("file", "filename", "image", "path")
CLASS_COLUMNS = ("class_index", "label", "class", "category")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures and, if they are known, the class of each.

    Attributes
    ----------
    name : str
    images : sequence of pictures, or Tensor or array (N, C, H, W) of floats
    labels : Tensor of int64, or None
    origin : str
        Where the labels come from, in words; or that there are none.
    """

    name: str
    images: Any
    labels: Tensor | None
    origin: str

    def __len__(self) -> int:
        return len(self.images)

    def spread(self, count: int | None) -> PictureSet:
        """At most `count` of them, evenly spaced: the first ones of a sorted folder would be of one class."""
        if count is None or count >= len(self):
            return self
        places = np.linspace(0, len(self) - 1, count).round().astype(int)
        if isinstance(self.images, Sequence):
            images: Any = [self.images[place] for place in places]
        else:
            images = self.images[places]
        labels = None if self.labels is None else self.labels[torch.from_numpy(places)]
        return PictureSet(self.name, images, labels, self.origin)


def given_pictures(images: Any, labels: Any = None, name: str = "given") -> PictureSet:
    """Pictures that were handed over.

    Raises
    ------
    TypeError
        If they cannot be counted.
    ValueError
        If there are none, or another number of labels.
    """
    if isinstance(images, str | Path) or not hasattr(images, "__len__"):
        raise TypeError(f"images is a {type(images).__name__}: give a batch (N, C, H, W), or a list of pictures")
    if not len(images):
        raise ValueError("there are no images: give at least one")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(images)} images and {len(labels)} labels do not belong together: give one for each")
    numbers = None if labels is None else torch.as_tensor(labels).to(torch.int64)
    return PictureSet(name, images, numbers, "no labels" if labels is None else "labels as given")


def folder_pictures(folder: str | Path, categories: Sequence[str] = ()) -> PictureSet:
    """Pictures of a folder, with their labels if it says them.

    Parameters
    ----------
    folder : path
        With a ``labels.csv``, whose columns ``file`` and ``class_index`` (or ``label``: a number, or a category's name) name pictures and
        classes; or with a subfolder for each class, called by its number or category, or as many of them as there are categories, in
        order; else its pictures have no labels.
    categories : sequence of str
        Names of the network's classes.

    Raises
    ------
    ValueError
        If it is no folder, holds no pictures, or says labels that cannot be understood.
    """
    path = Path(folder).expanduser()
    if not str(folder).strip() or not path.is_dir():
        raise ValueError(
            f"{str(folder)!r} is no folder on the machine of the kernel; give the path of one with pictures"
        )
    if (path / LABEL_FILE).is_file():
        return _listed(path, categories)
    folders = sorted(part for part in path.iterdir() if part.is_dir() and _pictures_in(part))
    if folders:
        return _in_subfolders(path, folders, categories)
    files = _pictures_in(path)
    if not files:
        raise ValueError(
            f"{str(path)!r} holds no pictures; give a folder with {LABEL_FILE}, with a subfolder for each class, or of plain "
            f"pictures ({', '.join(ENDINGS)})"
        )
    return PictureSet(path.name, files, None, "no labels")


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)


def _listed(path: Path, categories: Sequence[str]) -> PictureSet:
    with (path / LABEL_FILE).open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        columns = {name.strip().lower(): name for name in rows.fieldnames or ()}
        found = [
            next((columns[name] for name in names if name in columns), None) for names in (FILE_COLUMNS, CLASS_COLUMNS)
        ]
        file_column, class_column = found
        if file_column is None or class_column is None:
            raise ValueError(
                f"{LABEL_FILE} has the columns {', '.join(columns) or 'none'}; it needs one of {', '.join(FILE_COLUMNS)} and one of "
                f"{', '.join(CLASS_COLUMNS)}"
            )
        pairs = [(path / row[file_column].strip(), row[class_column].strip()) for row in rows]
    if not pairs:
        raise ValueError(f"{LABEL_FILE} in {str(path)!r} names no pictures")
    missing = [file.name for file, _ in pairs if not file.is_file()]
    if missing:
        raise ValueError(
            f"{LABEL_FILE} names {len(missing)} pictures that are not in {str(path)!r}: {missing[0]!r}, for one"
        )
    numbers = _numbers(list(dict.fromkeys(name for _, name in pairs)), categories, LABEL_FILE)
    labels = torch.tensor([numbers[name] for _, name in pairs])
    return PictureSet(path.name, [file for file, _ in pairs], labels, f"labels from {LABEL_FILE}")


def _in_subfolders(path: Path, folders: Sequence[Path], categories: Sequence[str]) -> PictureSet:
    names = [folder.name for folder in folders]
    origin = "labels from the subfolders"
    try:
        numbers = _numbers(names, categories, "a subfolder")
    except ValueError:
        if len(names) != len(categories):
            raise
        numbers, origin = {name: place for place, name in enumerate(names)}, f"{origin}, in order"
    pairs = [(file, numbers[folder.name]) for folder in folders for file in _pictures_in(folder)]
    return PictureSet(path.name, [file for file, _ in pairs], torch.tensor([label for _, label in pairs]), origin)


def _numbers(names: Sequence[str], categories: Sequence[str], where: str) -> dict[str, int]:
    """Class of each name: its number, or the place of the category of that name."""
    known = {_plain(category): place for place, category in enumerate(categories)}
    numbers = {}
    for name in names:
        if name.isdecimal() and _plain(name) not in known:
            numbers[name] = int(name)
        elif _plain(name) in known:
            numbers[name] = known[_plain(name)]
        else:
            near = difflib.get_close_matches(_plain(name), known, n=3) or list(known)[:3]
            meant = f"; categories are {', '.join(map(repr, near))} …" if near else ""
            raise ValueError(
                f"{where} names the class {name!r}, which is neither a number nor a category of this network{meant}"
            )
    return numbers


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
