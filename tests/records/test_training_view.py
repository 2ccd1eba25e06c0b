"""The lines that a person sees while a sweep trains."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcap.records.sparkline import ASCII, BLOCKS
from memcap.records.training_view import PackView, clock, filled, view_lines


def pack(rows: list[list[float | None]], metric: str = "memory/bits", **more: Any) -> PackView:
    """A pack of runs; ``rows`` has a list of the runs' values for each measured step."""
    view = PackView(len(rows[0]))
    for step, values in enumerate(rows):
        for member, value in enumerate(values):
            if value is not None:
                view.add(member, {"train/step": 10 * step, metric: value, **more})
    return view


def lines(view: PackView, width: int, **changed: Any) -> list[str]:
    given: dict[str, Any] = {
        "share": 0.45, "elapsed_s": 12.7, "left_s": 15.0, "rate": "213k member-steps/s", "counts": "3 finished of 36"
    }  # fmt: skip
    return view_lines(view, width=width, **{**given, **changed})


def test_everything_has_its_place_where_there_is_room() -> None:
    view = pack([[0.0, 1.0, 5.0], [10.0, 20.0, 90.0]], **{"train/loss_nats": 1.25})
    assert lines(view, 120) == [
        "memcap ━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌  45% 0:00:12, 0:00:15 left  213k member-steps/s  3 finished of 36",
        "bits ▁█ median 20.0, best 90.0  loss 1.25  step 10, 3 runs at once",
    ]


def test_narrow_terminals_fold() -> None:
    view = pack([[0.0, 1.0, 5.0], [10.0, 20.0, 90.0]], **{"train/loss_nats": 1.25})
    assert lines(view, 50) == [
        "memcap ━━━━━╌╌╌╌╌╌╌  45% 0:00:12, 0:00:15 left",
        "3 finished of 36  213k member-steps/s",
        "bits ▁█ median 20.0, best 90.0  loss 1.25",
    ]
    assert lines(view, 24) == ["3 finished of 36", "median 20.0, best 90.0"]


@given(st.integers(1, 200), st.floats(0, 1), st.integers(0, 40), st.integers(1, 5))
def test_three_lines_at_most_and_none_too_wide(width: int, share: float, steps: int, members: int) -> None:
    view = pack([[float(step * member) for member in range(members)] for step in range(steps + 1)])
    shown = lines(view, width, share=share)
    assert len(shown) <= 3
    assert all(len(line) <= width for line in shown)


def test_a_run_that_ended_still_counts() -> None:
    view = pack([[1.0, 2.0, 3.0], [None, 20.0, None], [None, 30.0, None]])
    assert view.medians == [2.0, 3.0]
    assert view.median("memory/bits") == 3.0


def test_what_is_not_finite_is_left_out() -> None:
    view = pack([[1.0, float("nan")], [float("inf"), float("nan")]])
    assert view.values("memory/bits") == []
    assert view.line(80, BLOCKS) == ""
    assert lines(PackView(0), 120)[1:] == []


def test_without_bits_the_loss_is_drawn_and_the_least_is_best() -> None:
    view = pack([[4.0, 2.0], [0.04, 0.02]], "train/loss_mse")
    assert view.line(80, BLOCKS) == "loss █▁ median 0.03, best 0.02  step 10, 2 runs at once"


def test_one_run_alone_has_no_median() -> None:
    assert pack([[1.0], [2.0]]).line(80, BLOCKS) == "bits ▁█ 2.0  step 10"


def test_a_row_changes_what_was_drawn() -> None:
    view = pack([[1.0]])
    assert "1.0" in view.line(80, BLOCKS)
    view.add(0, {"train/step": 10, "memory/bits": 7.0})
    assert "7.0" in view.line(80, BLOCKS)
    assert len(view.line(12, BLOCKS)) <= 12


def test_a_terminal_without_blocks() -> None:
    shown = lines(pack([[1.0], [2.0]]), 100, blocks=ASCII)
    assert all(line.isascii() for line in shown)
    assert filled(0.5, 4, ASCII) == "##--"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (83.9, "0:01:23"), (90061, "25:01:01"), (float("inf"), "-:--:--"), (-1, "0:00:00")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
