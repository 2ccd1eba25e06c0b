"""What ``sample_kernel`` is asked for and where its float64 lie, for those who call it without Numba."""

from __future__ import annotations

from typing import Final, NamedTuple

NUM_ARGUMENTS: Final = 22  # of ``sample_kernel.sample_pass``
# What a pass is asked for; each with all that stands above it.
LOSSES, GRADIENT, NORMS, WEIGHTED_NORMS = range(4)


class Squares(NamedTuple):
    """Places in the array of float64, whose first P are the weights w; see ``doubles_of``."""

    inputs: int
    outputs: int
    sums: int
    weighted_sums: int


def doubles_of(num_parameters: int, widest: int, block: int) -> int:
    """Elements of the array of float64: w [P], then a² and δ² of one layer, and two sums a sample."""
    return num_parameters + (2 * widest + 2) * block
