"""When members end, and that measuring them plays no part in it."""

from __future__ import annotations

import math

import pytest
import torch
from population_cases import Recorder, small_config, small_population, train

from memcap.budget import BudgetMonitor, Ending

# Eight samples in a network of 60 parameters: memorized in about a hundred steps.
EASY = (
    "budget=until_memorized",
    "measure=light",
    "model.width=8",
    "data.num_samples=8",
    "optimizer.learning_rate=0.05",
)
# Too many samples for a linear map of 12 parameters: the loss stays, whatever the learning rate.
HARD = ("model=linear", "measure=light", "data.num_samples=40", "budget.steps=60", "budget.check_every=10")
HUGE = ("optimizer=sgd", "optimizer.learning_rate=10000.0")


def final_weights(recorder: Recorder, member: int) -> torch.Tensor:
    return torch.cat(
        [torch.from_numpy(w).flatten() for w in recorder.ends[member].arrays["weights"].values()]
    )


@pytest.mark.parametrize("stop", ["memorized", "either"])
def test_ends_when_everything_is_memorized(stop: str) -> None:
    configs = [small_config(*EASY, f"budget.stop={stop}", f"seed={s}") for s in range(3)]
    recorder = train(configs)
    for member in range(3):
        end = recorder.ends[member]
        assert end.ending == Ending("finished", "memorized")
        assert end.steps % 10 == 0
        assert 0 < end.steps < 400
        assert end.row["memory/memorized_samples"] == 8
        assert end.row["train/loss_nats"] < 0.01
        earlier = train(
            [small_config(*EASY, "budget.stop=none", f"budget.steps={end.steps - 10}", f"seed={member}")]
        )
        row = earlier.ends[0].row
        assert row["train/loss_nats"] >= 0.01 or row["memory/memorized_samples"] < 8
    assert len({recorder.ends[m].steps for m in range(3)}) > 1


def test_a_low_loss_with_one_wrong_sample_is_not_memorized() -> None:
    # The loss of the linear map stays above ln 2 / 40, and a tolerance above it leaves the last word to accuracy.
    recorder = train([small_config(*HARD, "budget.stop=memorized", "budget.loss_tolerance=100.0")])
    end = recorder.ends[0]
    assert end.ending.reason == "budget"
    assert end.row["train/loss_nats"] < 100
    assert end.row["memory/memorized_samples"] < 40


@pytest.mark.parametrize("stop", ["none", "plateau"])
def test_runs_to_the_end_unless_asked_to_stop_when_memorized(stop: str) -> None:
    end = train([small_config(*EASY, f"budget.stop={stop}", "budget.steps=200")]).ends[0]
    assert (end.ending, end.steps) == (Ending("finished", "budget"), 200)
    assert end.row["memory/memorized_samples"] == 8


@pytest.mark.parametrize("stop", ["plateau", "either"])
@pytest.mark.parametrize("checks", [1, 4])
def test_plateau_ends_after_so_many_checks_without_improvement(stop: str, checks: int) -> None:
    still = ("optimizer=sgd", "optimizer.learning_rate=1e-12")
    common = (*HARD, f"budget.stop={stop}", f"budget.plateau_checks={checks}")
    end = train([small_config(*common, *still)]).ends[0]
    assert (end.ending, end.steps) == (Ending("finished", "plateau"), 10 * checks)


def test_improvement_less_than_asked_for_is_a_plateau() -> None:
    common = (*HARD, "budget.stop=plateau", "budget.plateau_checks=1", "optimizer.learning_rate=0.003")
    assert train([small_config(*common, "budget.plateau_improvement=0.0")]).ends[0].ending.reason == "budget"
    recorder = train([small_config(*common, "budget.plateau_improvement=0.5")])
    assert (recorder.ends[0].ending.reason, recorder.ends[0].steps) == ("plateau", 10)


def test_each_member_ends_for_its_own_reason() -> None:
    # Under one budget: one memorizes, one stands still, one diverges.
    common = (*EASY, "budget.stop=either", "budget.plateau_checks=12", "budget.steps=390")
    rates = ("optimizer.learning_rate=0.05", "optimizer.learning_rate=1e-12", "optimizer.learning_rate=1e300")
    recorder = train([small_config(*common, rate) for rate in rates])
    reasons = [recorder.ends[m].ending.reason for m in range(3)]
    assert reasons == ["memorized", "plateau", "diverged"]
    assert recorder.ends[1].steps == 120
    assert recorder.ends[2].steps == 10
    assert recorder.trained == sum(end.steps for end in recorder.ends.values())
    assert recorder.trained + recorder.skipped == 3 * 390


@pytest.mark.parametrize(("rate", "steps"), [("1e300", 10), ("10000.0", 30)], ids=["infinite", "high"])
def test_divergence_is_one_member_only(rate: str, steps: int) -> None:
    common = (
        *HARD,
        "optimizer=sgd",
        "objective=squared_error" if rate == "1e300" else "objective=cross_entropy",
    )
    members = [("seed=0",), ("seed=1", f"optimizer.learning_rate={rate}"), ("seed=2", "data.num_samples=25")]
    configs = [small_config(*common, *own) for own in members]
    recorder = train(configs)
    bad = recorder.ends[1]
    assert (bad.ending, bad.steps) == (Ending("diverged", "diverged"), steps)
    for member in (0, 2):
        alone = train([configs[member]])
        end = recorder.ends[member]
        assert (end.ending, end.steps) == (Ending("finished", "budget"), 60)
        torch.testing.assert_close(
            final_weights(recorder, member), final_weights(alone, 0), rtol=1e-9, atol=1e-12
        )
        assert [row.keys() for row in recorder.rows[member]] == [row.keys() for row in alone.rows[0]]


def test_high_loss_diverges_at_the_third_check_in_a_row_only() -> None:
    population = small_population(HARD, (("seed=0",), ("seed=1",)))
    monitor = BudgetMonitor(population)
    calm_MP = population.parameters_MP.clone()
    # The loss of a linear map grows with its logits: find what is just above ten times the initial one.
    wild_MP = 1000 * calm_MP
    population.parameters_MP = wild_MP
    assert (10 * monitor.initial_M < BudgetMonitor(population).initial_M).all()

    def check(first: torch.Tensor, second: torch.Tensor) -> list[str | None]:
        population.parameters_MP = torch.stack([first[0], second[1]])
        return [ending and ending.reason for ending in monitor.check(population)]

    assert check(wild_MP, calm_MP) == [None, None]
    assert check(wild_MP, wild_MP) == [None, None]
    assert check(calm_MP, wild_MP) == [None, None]
    assert check(wild_MP, wild_MP) == [None, "diverged"]
    assert check(wild_MP, calm_MP) == [None, None]
    assert check(wild_MP, calm_MP) == ["diverged", None]


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_ten_times_the_initial_loss_is_the_border(factor: float) -> None:
    population = small_population(HARD, (("seed=0",),))
    monitor = BudgetMonitor(population)
    monitor.initial_M = monitor.initial_M / 10 / factor
    endings = [monitor.check(population)[0] for _ in range(3)]
    assert endings[-1] == (Ending("diverged", "diverged") if factor > 1 else None)


def test_monitor_keeps_the_counts_of_those_that_stay() -> None:
    population = small_population(HARD, (("seed=0",), ("seed=1",), ("seed=2",)))
    monitor = BudgetMonitor(population)
    population.parameters_MP[2] *= 1000
    assert monitor.check(population) == [None] * 3
    assert monitor.check(population) == [None] * 3
    monitor.keep([2, 0])
    endings = monitor.check(population.keep([2, 0]))
    assert endings == [Ending("diverged", "diverged"), None]


def test_nan_from_the_start_diverges_at_the_first_check() -> None:
    recorder = train([small_config(*HARD, "model.initialization_scale=1e308"), small_config(*HARD)])
    assert [recorder.ends[m].ending.status for m in (0, 1)] == ["diverged", "finished"]
    assert recorder.ends[0].steps == 10
    assert not math.isfinite(recorder.ends[0].row["train/loss_nats"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stop", ["none", "memorized", "plateau"])
@pytest.mark.parametrize("num_members", [1, 3])
def test_measuring_more_changes_no_bit_of_the_weights(dtype: str, stop: str, num_members: int) -> None:
    common = (
        *EASY,
        f"budget.stop={stop}",
        f"hardware.dtype={dtype}",
        "budget.steps=150",
        "budget.check_every=50",
    )
    own = [(f"seed={m}", f"data.num_samples={8 - m}") for m in range(num_members)]
    recorders = [
        train([small_config(*common, *o, *measure) for o in own])
        for measure in (("measure.points=3",), ("measure=full", "measure.points=24"))
    ]
    assert len(recorders[0].rows[0]) < len(recorders[1].rows[0])
    for member in range(num_members):
        ends = [recorder.ends[member] for recorder in recorders]
        assert ends[0].ending == ends[1].ending
        assert ends[0].steps == ends[1].steps
        assert torch.equal(final_weights(recorders[0], member), final_weights(recorders[1], member))


def test_check_every_beyond_the_budget_still_checks_at_the_end() -> None:
    end = train([small_config(*HARD, "budget.check_every=1000", *HUGE)]).ends[0]
    assert (end.ending, end.steps) == (Ending("finished", "budget"), 60)
    end = train([small_config(*HARD, "budget.check_every=1000", "objective=squared_error", *HUGE)]).ends[0]
    assert (end.ending, end.steps) == (Ending("diverged", "diverged"), 60)
