"""Which rate an activation takes, and which runs are next: known answers, and what ``memcap.compare`` chooses."""

from __future__ import annotations

import pandas as pd
import pytest
from leaderboard_cases import RELU, SILU, WAVE, runs, small_protocol

from memcap.compare.capacity import capacity
from memcap.errors import BadInput
from memcap.leaderboard.choosing import Trial, best_rate, beyond, choose, runs_of
from memcap.leaderboard.entry import Entry, formula_entry

PROTOCOL = small_protocol()
GRID = [(rate, seed) for rate in (0.01, 0.03, 0.1) for seed in (0, 1)]


def peaked(rate: float, seed: int) -> float:
    """Most bits at 0.03."""
    return {0.01: 500.0, 0.03: 700.0, 0.1: 600.0}.get(rate, 100.0) + seed % 7


def rising(rate: float, seed: int) -> float:
    """More bits the larger the rate."""
    return 1000 * rate + seed % 7


def places(trials: tuple[Trial, ...]) -> list[tuple[float, int]]:
    return [(trial.rate, trial.seed) for trial in trials]


def test_all_rates_come_first_on_the_choosing_seeds() -> None:
    choice = choose(RELU, pd.DataFrame(), PROTOCOL)
    assert choice.best is None
    assert places(choice.lacking) == GRID
    some = choose(RELU, runs(RELU, GRID[1:4], peaked), PROTOCOL)
    assert places(some.lacking) == [GRID[0], *GRID[4:]]


def test_the_fresh_seeds_come_last_at_the_best_rate() -> None:
    found = runs(RELU, GRID, peaked)
    choice = choose(RELU, found, PROTOCOL)
    assert (choice.best, choice.rates) == (0.03, (0.01, 0.03, 0.1))
    assert places(choice.lacking) == [(0.03, 1000), (0.03, 1001), (0.03, 1002)]
    both = pd.concat([found, runs(RELU, places(choice.lacking), peaked)], ignore_index=True)
    assert choose(RELU, both, PROTOCOL).lacking == ()


def test_an_edge_that_is_the_best_is_gone_beyond_at_most_twice() -> None:
    known = list(GRID)
    for expected in (0.3, 1.0):
        choice = choose(RELU, runs(RELU, known, rising), PROTOCOL)
        assert places(choice.lacking) == [(expected, 0), (expected, 1)]
        known += places(choice.lacking)
    last = choose(RELU, runs(RELU, known, rising), PROTOCOL)
    assert last.rates == (0.01, 0.03, 0.1, 0.3, 1.0)
    assert places(last.lacking) == [(1.0, 1000), (1.0, 1001), (1.0, 1002)]


def test_what_diverges_everywhere_goes_to_smaller_rates_and_is_measured() -> None:
    known = list(GRID)
    for expected in (0.003, 0.001):
        choice = choose(WAVE, runs(WAVE, known, peaked, status=lambda *_: "diverged"), PROTOCOL)
        assert {trial.rate for trial in choice.lacking} == {expected}
        known += places(choice.lacking)
    last = choose(WAVE, runs(WAVE, known, peaked, status=lambda *_: "diverged"), PROTOCOL)
    assert {trial.seed for trial in last.lacking} == {1000, 1001, 1002}


def test_a_failed_run_is_not_asked_for_again_and_does_not_block() -> None:
    asked = {Trial(RELU, *GRID[0])}
    choice = choose(RELU, runs(RELU, GRID[1:], peaked), PROTOCOL, asked)
    assert choice.best == 0.03
    assert {trial.rate for trial in choice.lacking} == {0.03}


def test_fresh_seeds_and_other_rates_have_no_say() -> None:
    lucky = runs(RELU, [*GRID, (0.1, 1000), (0.1, 1001), (0.5, 0), (0.5, 1)], peaked)
    lucky.loc[lucky["seed"] >= 1000, "memory/bits"] = 1e4
    lucky.loc[lucky["optimizer.learning_rate"] == 0.5, "memory/bits"] = 1e4
    assert choose(RELU, lucky, PROTOCOL).best == 0.03


@pytest.mark.parametrize("law", [peaked, rising])
def test_the_rate_is_the_one_that_a_comparison_chooses(law: object) -> None:
    found = runs(RELU, [*GRID, (0.03, 1000), (0.1, 1000)], law)  # type: ignore[arg-type]
    (row,) = capacity(found, nuisance=("optimizer.learning_rate",), selection_seeds=(0, 1)).to_dict("records")
    assert best_rate(found, [0.01, 0.03, 0.1], (0, 1)) == row["best.optimizer.learning_rate"]


@pytest.mark.parametrize(
    ("rates", "below", "above"),
    [
        ([0.001, 0.003, 0.01, 0.03, 0.1], 0.0003, 0.3),
        ([0.0003, 0.001, 0.003], 0.0001, 0.01),
        ([0.01, 0.1], 0.001, 1.0),
        ([0.01, 0.02, 0.04], 0.005, 0.08),
        ([0.01], 0.00333333, 0.03),
    ],
)
def test_rates_go_on_in_their_steps(rates: list[float], below: float, above: float) -> None:
    assert (beyond(rates, above=False), beyond(rates, above=True)) == (below, above)


def test_runs_of_an_activation_are_told_apart_by_formula_and_frequency() -> None:
    other_wave = formula_entry("x*sin(4*x)")
    slow, fast = Entry("sin1", "sin", frequency=1.0), Entry("sin10", "sin", frequency=10.0)
    counts = {SILU: 6, WAVE: 2, other_wave: 1, slow: 3, fast: 5, RELU: 0}
    frame = pd.concat([runs(entry, GRID[:count], peaked) for entry, count in counts.items() if count])
    assert {entry: len(runs_of(frame, entry)) for entry in counts} == counts


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("leaderboard.learning_rates=[]", "must be a list of numbers above 0"),
        ("leaderboard.learning_rates=[0.1,0]", "must be a list of numbers above 0"),
        ("leaderboard.seeds=1", "leaderboard.seeds must be a whole number ≥ 2"),
        ("leaderboard.seeds=2000", "they meet the fresh ones"),
        ("activation=relu", "a leaderboard decides on activation itself"),
        ("optimizer.learning_rate=0.1", "leaderboard.learning_rates"),
        ("launcher.wait=false", "a round needs what the round before gave"),
        ("launcher.wait=False", "launcher.wait must be true for a leaderboard, got false"),
        ("++launcher.wait=FALSE", "launcher.wait must be true for a leaderboard, got false"),
        ("launcher.dry_run=True", "launcher.dry_run must be false for a leaderboard, got true"),
        ("model.width=10,20", "a leaderboard has one protocol"),
    ],
)
def test_what_the_board_decides_is_refused_in_one_line(word: str, said: str) -> None:
    with pytest.raises(BadInput, match=r"leaderboard|several values") as raised:
        small_protocol(word)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
