"""Bars of text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcap.records.sparkline import ASCII, BLOCKS, blocks_for, sparkline, thinned


def test_the_least_is_lowest_and_the_largest_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BLOCKS
    assert sparkline([1, 10, 100], logarithmic=True) == "▁▅█"
    assert sparkline([1, 10, 100]) == "▁▁█"
    assert sparkline([-1, 10, 100], logarithmic=True) == "▁▁█"  # no logarithm of what is not positive


def test_what_is_no_number_leaves_a_gap() -> None:
    assert sparkline([0.0, None, math.nan, math.inf, 1.0]) == "▁   █"
    assert sparkline([None, math.nan]) == "  "
    assert sparkline([]) == ""


def test_equal_values_are_flat() -> None:
    assert sparkline([3.0, 3.0, 3.0]) == "▁▁▁"


def test_a_long_row_keeps_its_newest_value() -> None:
    assert thinned(list(range(10)), 4) == [1, 4, 6, 9]
    assert thinned([1, 2], 4) == [1, 2]


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=80), st.integers(1, 40), st.booleans())
def test_any_row_has_its_width(values: list[float | None], width: int, logarithmic: bool) -> None:
    drawn = sparkline(values, width, logarithmic=logarithmic)
    assert len(drawn) == min(len(values), width)
    assert set(drawn) <= set(BLOCKS + " ")


@pytest.mark.parametrize(
    ("encoding", "blocks"), [("utf-8", BLOCKS), ("ascii", ASCII), (None, ASCII), ("?", ASCII)]
)
def test_a_terminal_that_cannot_show_blocks_gets_ascii(encoding: str | None, blocks: str) -> None:
    assert blocks_for(encoding) == blocks
    assert len(ASCII) == len(BLOCKS)
