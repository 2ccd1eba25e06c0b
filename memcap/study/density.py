"""The kept spectrum of a run as a smooth density, for figures."""

from __future__ import annotations

import numpy as np

WIDTHS_BEYOND = 4  # of the Gaussian, past the outermost nodes
SHARE_OF_RANGE = 0.01


def spectral_density(
    nodes: np.ndarray, weights: np.ndarray, *, width: float | None = None, num_points: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Places and the density of the Hessian's eigenvalues there, [G] each, from the arrays of ``spectrum.npz``.

    ``grid, density = memcap.spectral_density(**run.arrays("spectrum"))``. Each node becomes a normal distribution of
    standard deviation ``width``, in the units of the eigenvalues; by default a hundredth of their range. The density
    integrates to 1. Its height depends on the width: give the same one to curves that are compared. Raises BadInput
    for a width that is not above 0.
    """
    import torch

    from memcap.measures.spectrum import spectral_density as batched_density

    low, high = float(np.min(nodes)), float(np.max(nodes))
    width = width if width is not None else SHARE_OF_RANGE * ((high - low) or abs(high) or 1.0)
    grid = np.linspace(low - WIDTHS_BEYOND * width, high + WIDTHS_BEYOND * width, num_points)
    nodes_1K, weights_1K = (torch.from_numpy(np.asarray(v, dtype=np.float64))[None] for v in (nodes, weights))
    return grid, batched_density(nodes_1K, weights_1K, torch.from_numpy(grid), width)[0].numpy()
