"""Measurement points: both ends, strictly increasing, evenly spaced on a log axis."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memcap.errors import BadInput
from memcap.measures.points import measurement_steps


def test_powers_of_ten_are_hit_exactly() -> None:
    assert measurement_steps(10_000, 5) == [0, 1, 10, 100, 1000, 10_000]


@pytest.mark.parametrize(
    ("total_steps", "num_points", "expected"),
    [
        (0, 7, [0]),
        (1, 7, [0, 1]),
        (3, 50, [0, 1, 2, 3]),
        (500, 1, [0, 500]),
        (500, 2, [0, 1, 500]),
        (10**18 + 1, 2, [0, 1, 10**18 + 1]),
    ],
)
def test_small_and_extreme_cases(total_steps: int, num_points: int, expected: list[int]) -> None:
    assert measurement_steps(total_steps, num_points) == expected


@settings(deadline=None)
@given(total_steps=st.integers(1, 10**7), num_points=st.integers(1, 300))
def test_steps_increase_from_0_to_the_total_and_are_not_too_many(total_steps: int, num_points: int) -> None:
    steps = measurement_steps(total_steps, num_points)
    assert (steps[0], steps[-1]) == (0, total_steps)
    assert all(a < b for a, b in itertools.pairwise(steps))
    assert len(steps) <= num_points + 1
    assert all(type(step) is int for step in steps)


def test_ratios_of_large_steps_are_even() -> None:
    steps = measurement_steps(10**6, 31)
    ratios = [b / a for a, b in itertools.pairwise(steps) if a >= 1000]
    assert max(ratios) / min(ratios) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(("total_steps", "num_points"), [(-1, 5), (10, 0)])
def test_impossible_numbers_are_refused(total_steps: int, num_points: int) -> None:
    with pytest.raises(BadInput, match=r"must be >= \d, got"):
        measurement_steps(total_steps, num_points)


def test_points_need_no_torch() -> None:
    code = "import sys, memcap.measures.points; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
