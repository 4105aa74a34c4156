"""From a picture of any kind and size to the tensor that a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

Picture: TypeAlias = "npt.NDArray[np.generic] | torch.Tensor | Image.Image | str | Path"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
LONGEST_RATIO = 64  # a picture thinner than this would grow beyond memory before the crop throws nearly all of it away
EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


@dataclass(frozen=True)
class Preprocessing:
    """Scale the short side, crop the centre, normalise: what a network's training did to its pictures.

    Attributes
    ----------
    resize : int
        Length of the short side after scaling, pixels.
    crop : int
        Side of the central square that is kept, pixels.
    mean, std : tuple of 3 float
        Of red, green and blue in 0..1, subtracted and divided by.
    interpolation : {"bilinear", "bicubic"}
        Of the scaling, always antialiased (Pillow's).
    small : int or None
        Pictures whose short side is at most this many pixels are scaled and cropped to it instead.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    small: int | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in RESAMPLING:
            raise ValueError(f"unknown interpolation {self.interpolation!r}; choose one of {', '.join(RESAMPLING)}")
        if self.resize < self.crop:
            raise ValueError(f"resize={self.resize} is smaller than crop={self.crop}: nothing could be cropped from it")

    def __call__(self, image: Picture, size: int | None = None) -> torch.Tensor:
        """Return the picture as a batch of one.

        Parameters
        ----------
        image : numpy.ndarray, torch.Tensor, PIL.Image.Image, str or pathlib.Path
            uint8 array (H, W, 3), (H, W, 4) or grey (H, W) or (H, W, 1); uint8 tensor (3, H, W), (4, H, W) or grey
            (1, H, W) or (H, W); both also floating point in 0..1; a Pillow picture; the path of a picture file. Alpha
            is dropped. The orientation that a camera noted in a file is followed.
        size : int, optional
            Side of the square to make, instead of `crop`; `resize` changes in proportion.

        Returns
        -------
        torch.Tensor, shape (1, 3, size, size), float32

        Raises
        ------
        ValueError
            For another shape, dtype or range, NaN or infinity, an empty or extremely thin picture, a file that holds no
            picture, a size below 1.
        TypeError
            For an `image` or a `size` of another kind.
        FileNotFoundError
            For a path where no file is.
        """
        planes = _planes(image)
        width, height = planes[0].size
        short, long = min(width, height), max(width, height)
        if short == 0:
            raise ValueError(f"the picture is empty: {height} x {width} pixels")
        if long > LONGEST_RATIO * short:
            raise ValueError(
                f"the picture has {height} x {width} pixels: one side is more than {LONGEST_RATIO} times the other; "
                "cut out the part of interest first"
            )
        resize, crop = self._sides(short, size)
        planes = [_crop(_scale(plane, resize, RESAMPLING[self.interpolation]), crop) for plane in planes]
        if len(planes) == 1:
            pixels = torch.from_numpy(np.array(planes[0])).permute(2, 0, 1).float() / 255  # (3, S, S)
        else:
            pixels = torch.stack([torch.from_numpy(np.array(plane)) for plane in planes])
        mean, std = torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)
        return ((pixels - mean) / std).unsqueeze(0).contiguous()

    def _sides(self, short: int, size: int | None) -> tuple[int, int]:
        """Return the short side to scale to and the side to crop, for a picture whose short side is `short`."""
        if size is None:
            if self.small is not None and short <= self.small:
                return self.small, self.small
            return self.resize, self.crop
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"size is a {type(size).__name__}: give a number of pixels as int, or None")
        if size < 1:
            raise ValueError(f"size={size}: give at least 1 pixel, or None for {self.crop}")
        return round(size * self.resize / self.crop), size


def _planes(image: Picture) -> list[Image.Image]:
    """Return the picture as one 8-bit RGB image, or as three float ones when its values are floating point."""
    if isinstance(image, str | Path):
        image = _open(Path(image))
    if isinstance(image, Image.Image):
        if image.mode not in EIGHT_BIT_MODES:
            raise ValueError(
                f"the picture has Pillow's mode {image.mode!r}, which is not 8-bit: scale it to 0..255 first"
            )
        return [ImageOps.exif_transpose(image).convert("RGB")]
    if isinstance(image, torch.Tensor):
        array = _channels_last(image.detach().cpu())
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise TypeError(
            f"a picture cannot be made from a {type(image).__name__}: give a numpy array (H, W, 3), a torch tensor "
            "(3, H, W), a Pillow image or the path of a file"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"the picture has shape {tuple(image.shape)}: give one picture, an array (H, W, 3), (H, W, 4) or (H, W), "
            "or a tensor (3, H, W)"
        )
    array = array[:, :, :3] if array.shape[2] > 1 else np.repeat(array, 3, axis=2)
    if 0 in array.shape:
        raise ValueError(f"the picture is empty: shape {tuple(image.shape)}")
    if array.dtype == np.uint8:
        return [Image.fromarray(np.ascontiguousarray(array))]
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"the picture has dtype {array.dtype}: give uint8 in 0..255 or floating point in 0..1")
    values = array.astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ValueError(f"the picture holds NaN or infinity in {bad} of {values.size} values: replace them first")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(f"the picture's values span {low:g} to {high:g}: floating point pictures go from 0 to 1")
    return [Image.fromarray(np.ascontiguousarray(values[:, :, channel])) for channel in range(3)]


def _open(path: Path) -> Image.Image:
    """Read a picture file completely."""
    if not path.is_file():
        raise FileNotFoundError(f"no picture file at {path}")
    try:
        with Image.open(path) as opened:
            opened.load()
            return opened
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # Pillow reports a damaged PNG as a SyntaxError
        raise ValueError(f"{path} is not a picture that Pillow can read: {error}") from error


def _channels_last(tensor: torch.Tensor) -> npt.NDArray[np.generic]:
    """Turn (C, H, W) into an (H, W, C) array; leave other shapes to the check that all arrays go through."""
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy has no bfloat16
    if tensor.ndim == 3:
        if tensor.shape[0] not in (1, 3, 4):
            raise ValueError(
                f"the tensor has shape {tuple(tensor.shape)}: give (3, H, W), for example by permute(2, 0, 1)"
            )
        tensor = tensor.permute(1, 2, 0)
    array: npt.NDArray[np.generic] = tensor.numpy()
    return array


def _scale(plane: Image.Image, short: int, resampling: Image.Resampling) -> Image.Image:
    """Scale the short side to `short`; the long side rounds down, as in torchvision's published evaluations."""
    width, height = plane.size
    if min(width, height) == short:
        return plane
    if width <= height:
        return plane.resize((short, int(short * height / width)), resampling)
    return plane.resize((int(short * width / height), short), resampling)


def _crop(plane: Image.Image, side: int) -> Image.Image:
    """Cut out the central square."""
    width, height = plane.size
    left, top = round((width - side) / 2), round((height - side) / 2)
    return plane.crop((left, top, left + side, top + side))
