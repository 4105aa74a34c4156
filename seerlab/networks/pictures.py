"""Photographs to try a network on, without any download: they lie inside scikit-image and scikit-learn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

# name -> (package, file inside it). Read as files: scikit-image's own readers may look in a cache or on the network.
PHOTOGRAPHS = {
    "cat": ("skimage", "data/chelsea.png"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}


def sample_images() -> dict[str, npt.NDArray[np.uint8]]:
    """Return real colour photographs that come with scikit-image and scikit-learn.

    Returns
    -------
    dict of str to numpy.ndarray, shape (H, W, 3), uint8
        New arrays at each call. A photograph that a stripped-down package lacks is left out.

    Raises
    ------
    FileNotFoundError
        When neither package has any of them.
    """
    return {name: read_photograph(path) for name, path in photograph_files().items()}


def photograph_files() -> dict[str, Path]:
    """Where the photographs lie, by name.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    places = {name: _package_folder(package) / file for name, (package, file) in PHOTOGRAPHS.items()}
    found = {name: path for name, path in places.items() if path.is_file()}
    if not found:
        raise FileNotFoundError(
            "no sample photographs: neither scikit-image nor scikit-learn is installed with its pictures"
        )
    return found


def read_photograph(path: Path) -> npt.NDArray[np.uint8]:
    """Read a file as an array (H, W, 3)."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def _package_folder(package: str) -> Path:
    """Return where a package is installed, without the second that importing it takes; else a folder that is not."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return Path("not installed", package)
    return Path(spec.submodule_search_locations[0])
