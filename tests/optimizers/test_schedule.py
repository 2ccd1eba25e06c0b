"""Schedules against closed forms, at their ends and where their parts meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcap.errors import BadInput
from memcap.optimizers import SCHEDULE_KINDS, learning_rate_factor


def one(
    kind: str, total: int, warmup: float = 0, floor: float = 0.0, decay: float = 0.5, extra: int = 0
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The factors of one member at every step, and at ``extra`` steps after the last one."""
    factor_KM = learning_rate_factor(
        kind,
        np.arange(total + extra),
        total_steps=total,
        warmup_steps_M=np.array([warmup]),
        floor_M=np.array([floor]),
        decay_fraction_M=np.array([decay]),
    )
    assert factor_KM.shape == (total + extra, 1)
    assert factor_KM.dtype == np.float64
    return factor_KM[:, 0]


def test_constant_is_one_everywhere_and_needs_no_other_value() -> None:
    steps = np.arange(7)
    factor_KM = learning_rate_factor("constant", steps, total_steps=7, warmup_steps_M=np.zeros(2))
    np.testing.assert_array_equal(factor_KM, np.ones((7, 2)))


@pytest.mark.parametrize("kind", SCHEDULE_KINDS)
def test_warmup_rises_in_a_line_to_one(kind: str) -> None:
    factor = one(kind, 20, warmup=4, decay=0.25)
    np.testing.assert_array_equal(factor[:5], [0.25, 0.5, 0.75, 1.0, 1.0])


def test_cosine_closed_form() -> None:
    factor = one("cosine", 101, floor=0.1)
    expected = 0.1 + 0.9 * (1 + np.cos(np.pi * np.arange(101) / 100)) / 2
    np.testing.assert_allclose(factor, expected, rtol=1e-14)
    assert factor[0] == 1.0
    assert factor[50] == pytest.approx(0.55, rel=1e-14)
    assert factor[-1] == 0.1


def test_cosine_after_warmup_is_the_cosine_of_what_is_left() -> None:
    np.testing.assert_allclose(one("cosine", 60, 10, 0.2)[10:], one("cosine", 50, 0, 0.2), rtol=1e-13)


def test_warmup_stable_decay_closed_form() -> None:
    factor = one("warmup_stable_decay", 10, warmup=2, floor=0.2, decay=0.4)
    np.testing.assert_allclose(factor, [0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2], rtol=1e-14)
    assert factor[-1] == 0.2


def test_decay_of_a_fractional_number_of_steps_is_not_rounded() -> None:
    # n = 2.5 steps: 1 until 2.5 steps before the last one, then a line.
    factor = one("warmup_stable_decay", 10, decay=0.25)
    np.testing.assert_allclose(factor, [1, 1, 1, 1, 1, 1, 1, 0.8, 0.4, 0], rtol=1e-14, atol=0)


def test_decay_fraction_of_zero_and_one() -> None:
    np.testing.assert_array_equal(one("warmup_stable_decay", 5, decay=0.0), np.ones(5))
    np.testing.assert_allclose(one("warmup_stable_decay", 5, decay=1.0), [0.8, 0.6, 0.4, 0.2, 0], atol=1e-15)


def test_overlap_of_warmup_and_decay_shortens_the_decay() -> None:
    factor = one("warmup_stable_decay", 10, warmup=6, decay=0.9)
    np.testing.assert_allclose(factor[6:], [0.75, 0.5, 0.25, 0], atol=1e-15)
    assert factor[5] == 1.0


@pytest.mark.parametrize("kind", SCHEDULE_KINDS)
def test_a_warmup_as_long_as_the_training_or_longer(kind: str) -> None:
    np.testing.assert_allclose(one(kind, 4, warmup=4), [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(one(kind, 4, warmup=8, extra=2), [0.125, 0.25, 0.375, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("kind", ["cosine", "warmup_stable_decay"])
def test_a_training_of_one_step_has_the_floor(kind: str) -> None:
    np.testing.assert_array_equal(one(kind, 1, floor=0.3), [0.3])
    np.testing.assert_array_equal(one(kind, 4, warmup=3, floor=0.3)[-1:], [0.3])


@given(
    kind=st.sampled_from(SCHEDULE_KINDS),
    total=st.integers(1, 60),
    warmup=st.integers(0, 80),
    floor=st.floats(0, 1),
    decay=st.floats(0, 1),
)
def test_rises_to_one_falls_to_the_floor_and_stays(
    kind: str, total: int, warmup: int, floor: float, decay: float
) -> None:
    factor = one(kind, total, warmup, floor, decay, extra=3)
    up, down = factor[: min(warmup, total)], factor[warmup:total]
    np.testing.assert_array_equal(up, (np.arange(len(up)) + 1) / max(warmup, 1))
    assert np.all(np.diff(down) <= 1e-15)
    assert np.all((down >= floor - 1e-15) & (down <= 1))
    if kind != "constant" and warmup < total and (kind == "cosine" or decay * total > 0):
        assert factor[total - 1] == floor
    np.testing.assert_array_equal(factor[total:], factor[total - 1])


@pytest.mark.parametrize("kind", SCHEDULE_KINDS)
def test_members_and_steps_are_independent(kind: str) -> None:
    warmup, floor, decay = np.array([0, 5, 30]), np.array([0.0, 0.1, 1.0]), np.array([0.2, 0.0, 1.0])
    steps = np.array([19, 3, 0, 7])
    factor_KM = learning_rate_factor(
        kind, steps, total_steps=20, warmup_steps_M=warmup, floor_M=floor, decay_fraction_M=decay
    )
    for member in range(3):
        alone = one(kind, 20, warmup[member], floor[member], decay[member])
        np.testing.assert_array_equal(factor_KM[:, member], alone[steps])


def test_unknown_kind_and_missing_values() -> None:
    steps, warmup = np.arange(3), np.zeros(1)
    with pytest.raises(
        BadInput, match=r"schedule.kind must be one of .*, got 'cosin' \(did you mean cosine\?\)"
    ):
        learning_rate_factor("cosin", steps, total_steps=3, warmup_steps_M=warmup)
    with pytest.raises(ValueError, match="cosine needs floor_M"):
        learning_rate_factor("cosine", steps, total_steps=3, warmup_steps_M=warmup)
    with pytest.raises(ValueError, match="needs decay_fraction_M"):
        learning_rate_factor(
            "warmup_stable_decay", steps, total_steps=3, warmup_steps_M=warmup, floor_M=warmup
        )
