"""Streams of random numbers: reproducible to the bit, and independent of each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memcap.random import restarted, seed_of_weights, stream

SEEDS = st.integers(0, 2**63 - 1)
PURPOSES = st.text(max_size=20)
COUNTERS = st.integers(0, 2**63)


def raw(seed: int, purpose: str, counter: int = 0, size: int = 4) -> list[int]:
    numbers = stream(seed, purpose, counter).bit_generator.random_raw(size)
    return [int(number) for number in numbers]


@given(seed=SEEDS, purpose=PURPOSES, counter=COUNTERS)
def test_equal_keys_are_equal_numbers(seed: int, purpose: str, counter: int) -> None:
    assert raw(seed, purpose, counter) == raw(seed, purpose, counter)


@given(seed=SEEDS, purpose=PURPOSES, counter=COUNTERS, other=st.tuples(SEEDS, PURPOSES, COUNTERS))
def test_another_seed_purpose_or_counter_is_another_stream(
    seed: int, purpose: str, counter: int, other: tuple[int, str, int]
) -> None:
    own = raw(seed, purpose, counter)
    for key in ((other[0], purpose, counter), (seed, other[1], counter), (seed, purpose, other[2])):
        assert (raw(*key) == own) == (key == (seed, purpose, counter))


def test_a_number_in_the_purpose_is_no_seed() -> None:
    keys = [(1, "1/a"), (11, "a"), (1, "/1/a"), (11, "/a"), (0, "a"), (0, "a/0"), (1, "11/a")]
    assert len({tuple(raw(*key)) for key in keys}) == len(keys)


def test_drawing_from_one_stream_leaves_the_others() -> None:
    expected = raw(5, "b")
    first, second = stream(5, "a"), stream(5, "b")
    first.standard_normal(1000)
    assert [int(number) for number in second.bit_generator.random_raw(4)] == expected


def test_neighbouring_counters_do_not_overlap() -> None:
    blocks = [set(raw(3, "fresh", counter, size=20_000)) for counter in range(4)]
    assert len(set.union(*blocks)) == sum(map(len, blocks)) == 80_000


@pytest.mark.parametrize("counter", [0, 1, 10**6])
def test_a_restarted_stream_is_the_one_made_anew(counter: int) -> None:
    generator = stream(3, "fresh", 7)
    for _ in range(2):
        generator.random(5)  # ends within a block of four words
        generator.integers(10, size=3, dtype=np.uint32)  # and keeps half a word
        again, anew = restarted(generator, counter), stream(3, "fresh", counter)
        assert (
            again.integers(10, size=3, dtype=np.uint32).tolist()
            == anew.integers(10, size=3, dtype=np.uint32).tolist()
        )
        assert again.random(9).tolist() == anew.random(9).tolist()


# The numbers that every run starts from. Where NumPy changes a distribution, finished runs are no longer comparable
# with new ones: raise the version of the components whose numbers moved.
def test_the_first_numbers_stand() -> None:
    assert raw(0, "", size=2) == [655751343755607679, 18250465729365116575]
    assert raw(2**63 - 1, "fresh/values", 10**6, size=2) == [9229128019864217839, 8153536712190953200]
    expected = [-0.952185846741003, -0.39921927636419696, 0.44371756541721663]
    assert stream(0, "data/inputs").standard_normal(3).tolist() == expected
    assert stream(0, "data/labels").integers(10, size=8).tolist() == [0, 5, 2, 4, 1, 2, 0, 0]
    expected = [-0.6753825858244216, 0.6020239870077575, -0.5777117556986153]
    assert stream(7, "weights/hidden1").uniform(-1, 1, 3).tolist() == expected
    assert stream(7, "weights/hidden1").random(2).tolist() == [0.16230870708778922, 0.8010119935038787]
    assert stream(3, "order", 5).permutation(8).tolist() == [7, 1, 0, 2, 6, 3, 5, 4]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "data/inputs", 0), (0, "null/inputs", 0)),
        ((0, "data/inputs", 0), (1, "data/inputs", 0)),
        ((0, "fresh/values", 0), (0, "fresh/values", 1)),
        ((0, "fresh/values", 0), (0, "fresh/active", 0)),
    ],
)
def test_streams_are_uncorrelated(one: tuple[int, str, int], other: tuple[int, str, int]) -> None:
    size = 20_000
    correlation = stats.pearsonr(stream(*one).standard_normal(size), stream(*other).standard_normal(size))
    assert abs(correlation.statistic) < 4 / np.sqrt(size)


def test_first_numbers_of_many_streams_are_uniform() -> None:
    first = [stream(seed, "order", epoch).random() for seed in range(40) for epoch in range(40)]
    assert stats.kstest(first, "uniform").pvalue > 1e-3


def test_restarts_have_seeds_of_their_own_for_their_weights() -> None:
    assert [seed_of_weights(seed, 0) for seed in (0, 7, 2**63 - 1)] == [0, 7, 2**63 - 1]
    found = {seed_of_weights(seed, restart) for seed in range(40) for restart in range(40)}
    assert len(found) == 1600
    assert all(0 <= seed < 2**63 for seed in found)
    assert (
        seed_of_weights(3, 1) == 4203839291438546134
    )  # or finished runs would have other weights than their ids say
