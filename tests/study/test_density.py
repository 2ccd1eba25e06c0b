"""A kept spectrum as a curve."""

from __future__ import annotations

import numpy as np
import pytest

import memcap
from memcap.errors import BadInput


def test_it_integrates_to_one_and_peaks_at_the_heavy_node() -> None:
    grid, density = memcap.spectral_density(np.array([-1.0, 0.0, 9.0]), np.array([0.1, 0.8, 0.1]))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-4)
    assert grid[density.argmax()] == pytest.approx(0, abs=0.05)
    mean = np.trapezoid(grid * density, grid)
    assert mean == pytest.approx(0.8, abs=1e-3)


def test_the_width_is_the_users() -> None:
    nodes, weights = np.array([2.0]), np.array([1.0])
    for width in (0.1, 3.0):
        grid, density = memcap.spectral_density(nodes, weights, width=width, num_points=4001)
        assert density.max() == pytest.approx(1 / (width * np.sqrt(2 * np.pi)), rel=1e-4)
        assert np.trapezoid((grid - 2) ** 2 * density, grid) == pytest.approx(width**2, rel=2e-3)
    with pytest.raises(BadInput, match="width > 0"):
        memcap.spectral_density(nodes, weights, width=0.0)
