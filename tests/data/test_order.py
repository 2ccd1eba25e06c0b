"""The order of mini-batches: whole epochs, any split into blocks, and nothing shared between members but the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memcap.data.order import FEW, batch_indices

SEEDS = st.integers(0, 2**63 - 1)


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    num_samples = draw(st.integers(1, 40))
    return num_samples, draw(st.integers(1, num_samples))


@given(seed=SEEDS, size=sizes(), epochs=st.integers(1, 4))
def test_every_epoch_visits_every_sample_once(seed: int, size: tuple[int, int], epochs: int) -> None:
    num_samples, batch_size = size
    num_steps = -(-epochs * num_samples // batch_size)
    indices_KB = batch_indices(seed, 0, num_steps, num_samples, batch_size)
    assert indices_KB.shape == (num_steps, batch_size)
    assert indices_KB.dtype == np.int64
    row = indices_KB.ravel()[: epochs * num_samples].reshape(epochs, num_samples)
    np.testing.assert_array_equal(np.sort(row, axis=1), np.tile(np.arange(num_samples), (epochs, 1)))


@given(
    seed=SEEDS,
    size=sizes(),
    first=st.integers(0, 300),
    blocks=st.lists(st.integers(1, 30), min_size=1, max_size=5),
)
def test_any_split_into_blocks_is_the_same_order(
    seed: int, size: tuple[int, int], first: int, blocks: list[int]
) -> None:
    whole = batch_indices(seed, first, sum(blocks), *size)
    starts = first + np.concatenate([[0], np.cumsum(blocks)[:-1]])
    parts = [
        batch_indices(seed, int(start), block, *size) for start, block in zip(starts, blocks, strict=True)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@given(seed=SEEDS, size=sizes(), step=st.integers(0, 10**12))
def test_any_step_can_be_asked_for_without_those_before_it(
    seed: int, size: tuple[int, int], step: int
) -> None:
    alone = batch_indices(seed, step, 1, *size)
    np.testing.assert_array_equal(alone, batch_indices(seed, step, 3, *size)[:1])


def test_members_are_independent() -> None:
    alone = batch_indices(1, 0, 50, 20, 6)
    for seed in range(200):  # whatever is asked for in between
        batch_indices(seed, 3, 5, 20 + seed, 4)
    np.testing.assert_array_equal(batch_indices(1, 0, 50, 20, 6), alone)
    others = [batch_indices(seed, 0, 50, 20, 6) for seed in range(2, 8)]
    assert all(np.any(other != alone) for other in others)


def test_the_batch_size_cuts_the_same_row() -> None:
    row = batch_indices(4, 0, 60, 12, 1).ravel()
    for batch_size in (2, 3, 5, 12):
        np.testing.assert_array_equal(batch_indices(4, 0, 60 // batch_size, 12, batch_size).ravel(), row)


def test_what_is_handed_out_can_be_changed() -> None:
    """Orders are remembered; a caller that writes into its batch must not change them."""
    expected = batch_indices(5, 0, 1, 8, 8).copy()
    batch_indices(5, 0, 1, 8, 8)[:] = -1
    np.testing.assert_array_equal(batch_indices(5, 0, 1, 8, 8), expected)


@pytest.mark.parametrize("num_samples", [FEW, FEW + 1, 3 * FEW])
def test_long_orders_are_as_good_as_short_ones(num_samples: int) -> None:
    batch_size = num_samples // 3
    row = batch_indices(6, 0, 7, num_samples, batch_size).ravel()[: 2 * num_samples].reshape(2, num_samples)
    np.testing.assert_array_equal(np.sort(row, axis=1), np.tile(np.arange(num_samples), (2, 1)))
    np.testing.assert_array_equal(
        batch_indices(6, 0, 7, num_samples, batch_size).ravel()[:num_samples], row[0]
    )


def test_orders_are_uniform() -> None:
    """Each of the 24 orders of four samples, over seeds and over epochs."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(40):
        for order in batch_indices(seed, 0, 60, 4, 4):
            counts[tuple(order)] = counts.get(tuple(order), 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_the_first_orders_stand() -> None:
    # Runs with mini-batches start from these; where they move, so does every such run.
    np.testing.assert_array_equal(batch_indices(3, 5, 1, 8, 8), [[7, 1, 0, 2, 6, 3, 5, 4]])
