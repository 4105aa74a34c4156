"""Photographs that come with other packages."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from seerlab.networks import pictures, sample_images


def test_sample_images_are_real_colour_photographs(monkeypatch):
    def refuse(*_):
        raise AssertionError("a sample image asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    samples = sample_images()
    assert set(samples) == set(pictures.PHOTOGRAPHS)
    for name, pixels in samples.items():
        assert pixels.dtype == np.uint8, name
        assert pixels.ndim == 3, name
        assert pixels.shape[2] == 3, name
        assert min(pixels.shape[:2]) >= 224, name
        assert pixels.std() > 20, name
        assert np.abs(pixels[:, :, 0].astype(int) - pixels[:, :, 2]).mean() > 1, name


def test_changing_a_sample_image_leaves_the_next_call_alone():
    first = sample_images()["cat"]
    first[:] = 0
    assert sample_images()["cat"].any()


def test_photographs_of_a_missing_package_are_left_out(monkeypatch):
    monkeypatch.setitem(pictures.PHOTOGRAPHS, "cat", ("no_such_package", "cat.png"))
    monkeypatch.setitem(pictures.PHOTOGRAPHS, "flower", ("sklearn", "no_such_file.jpg"))
    assert set(sample_images()) == set(pictures.PHOTOGRAPHS) - {"cat", "flower"}


def test_absence_of_all_photographs_is_an_error(monkeypatch):
    monkeypatch.setattr(pictures, "PHOTOGRAPHS", {"cat": ("no_such_package", "cat.png")})
    with pytest.raises(FileNotFoundError, match="scikit-image nor scikit-learn"):
        sample_images()
