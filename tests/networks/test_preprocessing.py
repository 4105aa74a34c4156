"""Pictures of any kind become the tensor that a network was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seerlab.networks import registry
from seerlab.networks.preprocessing import Preprocessing

PLAIN = Preprocessing(resize=8, crop=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_picture_of_the_right_size_is_only_normalised():
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    preprocessing = Preprocessing(resize=224, crop=224)
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    got = preprocessing(pixels)
    assert got.shape == (1, 3, 224, 224)
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    np.testing.assert_allclose(got[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_centre_of_the_scaled_picture_is_kept():
    pixels = np.zeros((256, 400, 3), np.uint8)
    pixels[16:240, 88:312] = 255
    got = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))(pixels)
    assert got.shape == (1, 3, 224, 224)
    assert (got == 1).all()


def test_every_kind_of_the_same_picture_gives_the_same_tensor(picture, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    expected = PLAIN(picture)
    alpha = np.dstack([picture, np.full(picture.shape[:2], 7, np.uint8)])
    channels_first = torch.from_numpy(picture).permute(2, 0, 1)
    fortran = np.asfortranarray(picture)
    same = [alpha, fortran, Image.fromarray(picture), Image.fromarray(alpha), channels_first, path, str(path)]
    for image in same:
        assert torch.equal(PLAIN(image), expected)


def test_floating_point_pictures_agree_with_eight_bit_ones(picture):
    expected = PLAIN(picture)
    values = picture.astype(np.float32) / 255
    tensor = torch.from_numpy(values).permute(2, 0, 1)
    for image in (values, values.astype(np.float64), tensor, tensor.double(), tensor.clone().requires_grad_()):
        assert torch.allclose(PLAIN(image), expected, atol=1 / 255)  # eight bits round once per direction
    assert torch.allclose(PLAIN(tensor.bfloat16()), expected, atol=0.01)


def test_grey_pictures_fill_all_three_channels(picture):
    grey = picture[:, :, 0]
    expected = PLAIN(np.dstack([grey] * 3))
    tensor = torch.from_numpy(grey.copy())
    for image in (grey, grey[:, :, None], Image.fromarray(grey), tensor, tensor[None]):
        assert torch.equal(PLAIN(image), expected)


def test_scaling_averages_what_falls_together(picture):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    got = PLAIN(stripes)[0, :, 1:-1, 1:-1]
    assert (got - 0.5).abs().max() < 0.02


def test_orientation_noted_by_the_camera_is_followed(picture, tmp_path):
    path = tmp_path / "sideways.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter to show
    Image.fromarray(picture).save(path, exif=exif)
    assert torch.equal(PLAIN(path), PLAIN(np.ascontiguousarray(np.rot90(picture, -1))))


def test_vgg9_keeps_small_pictures_small_and_enlarges_others(picture):
    preprocessing = registry.REGISTRY["vgg9_cifar10"].preprocessing
    assert preprocessing(np.zeros((32, 32, 3), np.uint8)).shape == (1, 3, 32, 32)
    assert preprocessing(picture).shape == (1, 3, 32, 32)
    assert preprocessing(np.zeros((33, 40, 3), np.uint8)).shape == (1, 3, 224, 224)
    assert preprocessing(np.zeros((300, 400, 3), np.uint8)).shape == (1, 3, 224, 224)
    assert preprocessing(np.zeros((300, 400, 3), np.uint8), size=32).shape == (1, 3, 32, 32)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), size=st.none() | st.integers(1, 40))
def test_result_is_square_and_in_range_whatever_the_picture(height, width, size):
    pixels = np.full((height, width, 3), 51, np.uint8)
    preprocessing = Preprocessing(resize=12, crop=10, mean=(0, 0, 0), std=(1, 1, 1))
    if max(height, width) > 64 * min(height, width):
        with pytest.raises(ValueError, match="more than 64 times the other"):
            preprocessing(pixels, size)
    else:
        side = size or 10
        assert torch.equal(preprocessing(pixels, size), torch.full((1, 3, side, side), 51 / 255))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4, 3), np.nan), "NaN or infinity in 48 of 48"),
        (torch.tensor([1.0, float("inf")]).expand(3, 4, 2), "NaN or infinity in 12 of 24"),
        (np.full((4, 4, 3), 255.0), "span 255 to 255: floating point pictures go from 0 to 1"),
        (np.full((4, 4, 3), -0.5), "floating point pictures go from 0 to 1"),
        (np.zeros((4, 4, 3), np.int64), "dtype int64"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "dtype int32"),
        (np.zeros((4, 4, 3), bool), "dtype bool"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)"),
        (torch.zeros(8, 8, 3), r"permute\(2, 0, 1\)"),
        (torch.zeros(1, 3, 8, 8), r"shape \(1, 3, 8, 8\): give one picture"),
        (np.zeros((8,), np.uint8), "give one picture"),
        (np.zeros((0, 8, 3), np.uint8), "empty"),
        (torch.zeros(3, 8, 0), "empty"),
        (np.zeros((1, 65, 3), np.uint8), "more than 64 times the other"),
        (Image.new("I;16", (4, 4)), "mode 'I;16', which is not 8-bit"),
        (Image.new("F", (4, 4)), "mode 'F', which is not 8-bit"),
    ],
)
def test_pictures_that_mean_nothing_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        PLAIN(image)


@pytest.mark.parametrize("image", [None, [[0, 1], [2, 3]], 3, b"bytes"])
def test_other_kinds_of_objects_are_refused(image):
    with pytest.raises(TypeError, match=type(image).__name__):
        PLAIN(image)


def test_files_that_are_missing_or_no_pictures_are_named(tmp_path, picture):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        PLAIN(tmp_path / "nowhere.png")
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    with pytest.raises(ValueError, match=r"text.png is not a picture"):
        PLAIN(text)
    whole = tmp_path / "whole.png"
    Image.fromarray(picture).save(whole)
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(whole.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"truncated.png is not a picture"):
        PLAIN(truncated)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)])
def test_sizes_that_mean_nothing_are_refused(picture, size, error):
    with pytest.raises(error, match="size"):
        PLAIN(picture, size)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"'nearest'; choose one of bilinear, bicubic"):
        Preprocessing(interpolation="nearest")
    with pytest.raises(ValueError, match=r"resize=10 is smaller than crop=20"):
        Preprocessing(resize=10, crop=20)
