"""Jumps of sharpness over N: found where they are, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from comparison_cases import synthetic_frame

from memcap.compare.jamming import find_jump, jamming

SIZES = np.repeat(np.arange(20, 220, 20), 4).astype(float)
SEEDS = np.tile(np.arange(4), 10)


def noisy(level_N: np.ndarray, draw: int, spread: float = 0.3) -> np.ndarray:
    return np.exp(level_N + spread * np.random.default_rng(draw).standard_normal(len(level_N)))


@pytest.mark.parametrize("place", [50, 110, 170])
def test_a_step_is_found_where_it_is(place: int) -> None:
    covered = []
    for draw in range(20):
        jump = find_jump(SIZES, SEEDS, noisy(np.where(place < SIZES, 2.0, 0.0), draw))
        assert jump is not None
        assert jump.found
        assert jump.num_samples == pytest.approx(place, abs=20)
        assert jump.factor == pytest.approx(np.exp(2), rel=0.5)
        covered.append(jump.low <= place <= jump.high)
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize("slope", [0.0, 1.5])
def test_nothing_there_is_none(slope: float) -> None:
    """Neither noise nor a sharpness that grows steadily is a jump: at most a few in a hundred."""
    found = [find_jump(SIZES, SEEDS, noisy(slope * np.log(SIZES), draw)) for draw in range(100)]
    assert sum(jump is not None and jump.found for jump in found) <= 4


def test_units_of_sharpness_and_order_do_not_matter() -> None:
    values = noisy(np.where(SIZES > 90, 2.0, 0.0), 0)
    order = np.random.default_rng(1).permutation(len(values))
    first, second = (
        find_jump(SIZES, SEEDS, values),
        find_jump(SIZES[order], SEEDS[order], 1e6 * values[order]),
    )
    assert first is not None
    assert second is not None
    assert (first.num_samples, first.factor) == pytest.approx((second.num_samples, second.factor))


def test_too_few_sizes_and_one_seed() -> None:
    assert find_jump(np.array([1.0, 2, 3]), np.zeros(3), np.ones(3)) is None
    one = SEEDS == 0
    jump = find_jump(SIZES[one], SEEDS[one], noisy(np.where(SIZES > 90, 4.0, 0.0), 0, 0.05)[one])
    assert jump is not None
    assert jump.num_samples == 90
    assert np.isnan(jump.low)


def test_the_table_has_capacity_and_the_exact_answer_beside_it() -> None:
    frame = synthetic_frame(
        sizes=range(20, 220, 20), bits=lambda w, size, s, r: 100 - abs(size - 80) + s,
        sharpness=lambda w, size, s, r: (1 + 0.1 * s) * (10 if size > 100 else 1),
        **{"data.input_dim": 30, "model.bias": False},
    )  # fmt: skip
    frame["model.kind"], frame["data.num_classes"] = "linear", 2
    (row,) = jamming(frame).to_dict("records")
    assert row["jump"] is True
    assert (row["jump_num_samples"], row["best_num_samples"], row["exact_num_samples"]) == (110, 80, 60)
    assert row["jump_factor"] == pytest.approx(10)
