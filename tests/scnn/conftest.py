"""The worked example: two filters of two channels, one map of two channels."""

import numpy as np
import pytest


@pytest.fixture
def weight():
    """W[k,c,r,s] = ((7k + 5c + 3r + 2s) mod 11) - 5, shape (2, 2, 3, 3)."""
    k, c, r, s = np.ogrid[:2, :2, :3, :3]
    return (7 * k + 5 * c + 3 * r + 2 * s) % 11 - 5


@pytest.fixture
def activations():
    """X[c,y,x] = max(0, ((3c + 5y + 7x) mod 9) - 4), shape (2, 4, 4)."""
    c, y, x = np.ogrid[:2, :4, :4]
    return np.maximum(0, (3 * c + 5 * y + 7 * x) % 9 - 4)
