"""Sizes at equal ratios, rounded to whole numbers, within bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from memcap.search.lattice import Lattice


@pytest.mark.parametrize(
    ("tolerance", "per_octave"), [(0.05, 16), (0.045, 16), (0.04, 32), (0.5, 2), (1.0, 1), (2**0.25 - 1, 4)]
)
def test_neighbours_differ_by_the_tolerance_at_most(tolerance: float, per_octave: int) -> None:
    lattice = Lattice(1e6, tolerance, 1, 10**9)
    assert lattice.per_octave == per_octave
    sizes = lattice.sizes(-2 * per_octave, 2 * per_octave)
    assert all(b / a <= 1 + tolerance + 1e-5 for a, b in pairwise(sizes))


def test_small_sizes_are_every_whole_number_once() -> None:
    lattice = Lattice(8.0, 0.05, 1, 100)
    assert lattice.between(1, 12) == list(range(1, 13))


def test_nothing_lies_beyond_the_bounds() -> None:
    lattice = Lattice(100.0, 0.05, 30, 500)
    assert lattice.size(-1000) == 30
    assert lattice.size(10**6) == 500
    assert lattice.sizes(-100, 100, 16) == [30, 50, 100, 200, 400, 500]


def test_levels_are_nested() -> None:
    lattice = Lattice(73.0, 0.05, 1, 10**6)
    for stride in (16, 8, 4, 2):
        assert set(lattice.between(20, 700, stride)) <= set(lattice.between(20, 700, stride // 2))


def test_a_position_is_the_inverse_of_a_size() -> None:
    lattice = Lattice(1e5, 0.05, 1, 10**9)
    assert [round(lattice.position(lattice.size(i))) for i in range(-40, 40)] == list(range(-40, 40))
