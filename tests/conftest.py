"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from seerlab.kernels import simd


@pytest.fixture
def data_file():
    """Path of a file in the folder that SEERLAB_DATA names; the test is skipped, with the file's name, where there is none."""

    def find(name: str) -> Path:
        folder = os.environ.get("SEERLAB_DATA")
        path = Path(folder or "", name)
        if not folder or not path.exists():
            pytest.skip(f"needs {name} in the folder that SEERLAB_DATA names")
        return path

    return find


@pytest.fixture(params=simd.LEVELS)
def level(request):
    """Each instruction set in turn, forced."""
    if request.param not in simd.available_levels():
        pytest.skip(f"this machine has no {request.param}")
    with simd.use_level(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def fixed_seed():
    """Random tensors are the same in every run and in every order of tests."""
    torch.manual_seed(0)
