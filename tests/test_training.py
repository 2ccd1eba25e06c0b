"""The life of a population: what its listener hears, and what is left of each member."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from population_cases import Recorder, small_config, train

from memcap.config.run_config import RunConfig
from memcap.data import build_dataset
from memcap.engines import build_engine
from memcap.measures.points import measurement_steps
from memcap.training import events

COMMON = ("budget.steps=60", "budget.check_every=20", "measure.points=6", "optimizer.learning_rate=0.03")
MEMBERS = (("seed=0",), ("seed=1", "data.num_samples=9"), ("seed=2", "data.num_samples=11"))
# Ends early, at different steps: samples are few and the network is wide.
EARLY = (
    "budget=until_memorized",
    "budget.steps=300",
    "measure.points=6",
    "model.width=8",
    "optimizer.learning_rate=0.05",
)
EARLY_SAMPLES = (6, 2, 20)  # the second ends first, at a measurement step


@pytest.fixture(scope="module")
def configs() -> list[RunConfig]:
    return [small_config(*COMMON, *own) for own in MEMBERS]


@pytest.fixture(scope="module")
def recorder(configs: list[RunConfig]) -> Recorder:
    return train(configs)


@pytest.fixture(scope="module")
def early() -> Recorder:
    return train([small_config(*EARLY, f"data.num_samples={n}", f"seed={n}") for n in EARLY_SAMPLES])


def numpy_log_probabilities(config: RunConfig, weights: dict[str, np.ndarray]) -> np.ndarray:
    """log softmax of a relu network without biases on its training set [N, V], in NumPy float64."""
    x = build_dataset(config).training().inputs_ND
    hidden = np.maximum(x @ weights["hidden1.weight"].astype(np.float64), 0)
    logits = hidden @ weights["output.weight"].astype(np.float64) @ weights["head.weight"].astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def numpy_losses(config: RunConfig, weights: dict[str, np.ndarray]) -> np.ndarray:
    labels = build_dataset(config).training().targets_N
    return -np.take_along_axis(numpy_log_probabilities(config, weights), labels[:, None], axis=1)[:, 0]


def test_rows_come_at_the_measurement_steps(recorder: Recorder) -> None:
    steps = measurement_steps(60, 6)
    assert steps[0] == 0
    for member in range(3):
        assert [row["train/step"] for row in recorder.rows[member]] == steps


def test_a_member_that_ends_early_has_one_row_more(early: Recorder) -> None:
    steps = measurement_steps(300, 6)
    ends = [early.ends[member].steps for member in range(3)]
    assert len(set(ends)) == 3
    assert max(ends) < 300
    for member, end in enumerate(ends):
        expected = sorted({step for step in steps if step <= end} | {end})
        assert [row["train/step"] for row in early.rows[member]] == expected
        last = early.rows[member][-1]
        assert repr({name: early.ends[member].row[name] for name in last}) == repr(last)


def test_every_member_ends_once_and_all_steps_are_accounted_for(recorder: Recorder, early: Recorder) -> None:
    # The recorder itself refuses a second end, and rows after the end.
    for listener, budget in ((recorder, 60), (early, 300)):
        assert sorted(listener.ends) == [0, 1, 2]
        assert listener.trained == sum(end.steps for end in listener.ends.values())
        assert listener.trained + listener.skipped == 3 * budget


@pytest.mark.parametrize("member", [0, 1, 2])
def test_final_row_is_that_of_the_kept_weights(
    configs: list[RunConfig], recorder: Recorder, member: int
) -> None:
    end = recorder.ends[member]
    loss_N = numpy_losses(configs[member], end.arrays["weights"])
    assert end.row["train/loss_nats"] == pytest.approx(loss_N.mean(), rel=1e-12)
    # The reference subtracts a label's logit from a sum of exponentials, which leaves 1e-16 of a small loss uncertain.
    np.testing.assert_allclose(end.arrays["samples"]["final_loss"], loss_N, rtol=1e-10, atol=1e-15)
    labels = build_dataset(configs[member]).training().targets_N
    correct_N = numpy_log_probabilities(configs[member], end.arrays["weights"]).argmax(1) == labels
    assert end.arrays["samples"]["correct"].tolist() == correct_N.tolist()
    assert end.row["memory/memorized_samples"] == correct_N.sum()
    assert end.row["memory/accuracy"] == pytest.approx(correct_N.mean())


def test_float32_rows_are_those_of_the_kept_weights_too() -> None:
    config = small_config(*COMMON, "hardware.dtype=float32", "measure=light")
    end = train([config]).ends[0]
    assert all(array.dtype == np.float32 for array in end.arrays["weights"].values())
    assert end.row["train/loss_nats"] == pytest.approx(
        numpy_losses(config, end.arrays["weights"]).mean(), rel=1e-5
    )


def test_early_ends_keep_the_weights_of_their_last_step(early: Recorder) -> None:
    for member, n in enumerate(EARLY_SAMPLES):
        config = small_config(*EARLY, f"data.num_samples={n}", f"seed={n}")
        end = early.ends[member]
        assert end.row["train/loss_nats"] == pytest.approx(
            numpy_losses(config, end.arrays["weights"]).mean(), rel=1e-10
        )
        assert len(end.arrays["samples"]["initial_loss"]) == n


def test_bits_are_what_the_labels_cost_less(configs: list[RunConfig], recorder: Recorder) -> None:
    for member, config in enumerate(configs):
        count = config.data.num_measured
        best = -math.inf
        for row in recorder.rows[member]:
            bits = (math.log(3) - row["train/loss_nats"]) * count / math.log(2)
            best = max(best, bits)
            assert row["memory/bits"] == pytest.approx(bits, rel=1e-12, abs=1e-12)
            assert row["memory/bits_best"] == pytest.approx(best, rel=1e-12, abs=1e-12)
            assert row["memory/bits_per_parameter"] == pytest.approx(bits / config.num_parameters, rel=1e-12)
            assert row["memory/bits"] <= count * math.log2(3)
        assert recorder.rows[member][-1]["memory/bits"] > recorder.rows[member][0]["memory/bits"] + 1


def test_best_bits_outlive_a_fall() -> None:
    # Gradient descent far beyond stability: the bits go up and down, and end as NaN.
    config = small_config(
        "optimizer=sgd", "optimizer.learning_rate=8.0", "budget.steps=60", "measure.points=30"
    )
    rows = train([config]).rows[0]
    bits = [row["memory/bits"] for row in rows]
    assert [row["memory/bits_best"] for row in rows] == list(np.fmax.accumulate(bits))
    assert math.isnan(bits[-1])
    assert any(later < earlier for earlier, later in itertools.pairwise(bits))


def test_samples_hold_the_first_and_last_loss_of_each(configs: list[RunConfig], recorder: Recorder) -> None:
    for member, config in enumerate(configs):
        samples = recorder.ends[member].arrays["samples"]
        assert set(samples) == {"initial_loss", "final_loss", "correct", "margin", "alignment"}
        assert {len(array) for array in samples.values()} == {config.data.num_samples}
        first = recorder.rows[member][0]["train/loss_nats"]
        assert samples["initial_loss"].mean() == pytest.approx(first, rel=1e-12)
        assert samples["final_loss"].mean() < samples["initial_loss"].mean()


def test_weights_have_the_shapes_of_the_model(recorder: Recorder) -> None:
    expected = {"hidden1.weight": (4, 5), "output.weight": (5, 4), "head.weight": (4, 3)}
    for end in recorder.ends.values():
        assert {name: array.shape for name, array in end.arrays["weights"].items()} == expected


@pytest.mark.parametrize("overrides", [("records.weights=none",), ("records.weights_up_to=51",)])
def test_weights_that_nobody_wants_are_not_kept(overrides: tuple[str, ...]) -> None:
    common = (*COMMON, "measure=light", "budget.steps=2")
    assert "weights" not in train([small_config(*common, *overrides)]).ends[0].arrays
    assert "weights" in train([small_config(*common, "records.weights_up_to=52")]).ends[0].arrays


def test_light_measures_leave_out_what_they_leave_out() -> None:
    end = train([small_config(*COMMON, "measure=light")]).ends[0]
    assert "samples" not in end.arrays
    assert not [name for name in end.row if name.startswith(("eval/", "sharpness/"))]
    assert "gradients/norm/hidden1" in end.row


def test_fingerprint_is_that_of_the_training_set(configs: list[RunConfig], recorder: Recorder) -> None:
    samples = build_dataset(configs[1]).training()
    content = samples.inputs_ND.tobytes() + samples.targets_N.tobytes()
    assert recorder.ends[1].data_fingerprint == hashlib.sha256(content).hexdigest()[:16]
    assert len({end.data_fingerprint for end in recorder.ends.values()}) == 3
    assert train([configs[1]]).ends[0].data_fingerprint == recorder.ends[1].data_fingerprint


def test_the_same_runs_twice_give_the_same_bits(configs: list[RunConfig], recorder: Recorder) -> None:
    again = train(configs)
    for member in range(3):
        assert repr(again.rows[member]) == repr(recorder.rows[member])  # NaN is equal to NaN
        first, second = recorder.ends[member], again.ends[member]
        for name, array in first.arrays["weights"].items():
            assert array.tobytes() == second.arrays["weights"][name].tobytes()


@pytest.mark.parametrize("member", [0, 1, 2])
def test_a_run_of_a_population_is_the_run_alone(
    configs: list[RunConfig], recorder: Recorder, member: int
) -> None:
    alone = train([configs[member]])
    for found, expected in zip(recorder.rows[member], alone.rows[0], strict=True):
        assert found.keys() == expected.keys()
        for name in found:
            if not name.startswith("sharpness/"):
                assert found[name] == pytest.approx(expected[name], rel=1e-8, abs=1e-9, nan_ok=True), name
    for name, array in alone.ends[0].arrays["weights"].items():
        np.testing.assert_allclose(
            recorder.ends[member].arrays["weights"][name], array, rtol=1e-9, atol=1e-12
        )


def test_squared_error_has_no_bits() -> None:
    end = train([small_config(*COMMON, "objective=squared_error")]).ends[0]
    assert not [name for name in end.row if "bits" in name or "nats" in name]
    assert {"train/loss_mse", "eval/null/loss_mse", "eval/test/loss_mse", "memory/accuracy"} <= set(end.row)


def test_learning_rate_in_a_row_is_that_of_the_step_before() -> None:
    common = ("schedule=cosine", "budget.steps=9", "measure=light", "measure.points=4")
    rows = train([small_config(*common, "optimizer.learning_rate=0.5")]).rows[0]
    expected = [0.25 * (1 + math.cos(math.pi * max(row["train/step"] - 1, 0) / 8)) for row in rows]
    assert [row["train/learning_rate"] for row in rows] == pytest.approx(expected, abs=1e-12)
    assert rows[-1]["train/learning_rate"] == 0


def test_exposures_count_epochs(recorder: Recorder) -> None:
    assert [row["train/exposures"] for row in recorder.rows[1]] == measurement_steps(60, 6)
    mini = small_config(*COMMON, "measure=light", "data.batch_size=7")
    assert train([mini]).ends[0].row["train/exposures"] == 60 * 7 / 14


def test_auto_is_the_engine_that_trains_the_run() -> None:
    sparse = ("data=sparse_features", "model=autoencoder", "objective=squared_error")
    assert build_engine([small_config()]).name == "fused"
    assert build_engine([small_config("hardware.engine=batched")]).name == "batched"
    assert build_engine([small_config(*sparse)]).name == "batched"


@given(steps=st.integers(1, 300), every=st.integers(1, 400), points=st.integers(1, 30))
def test_events_are_the_measured_and_the_checked_steps_in_order(steps: int, every: int, points: int) -> None:
    budget = dataclasses.replace(small_config().budget, steps=steps, check_every=every)
    measured = set(measurement_steps(steps, points))
    checked = {*range(every, steps, every), steps}
    assert list(events(measured, budget)) == [(s, s in checked) for s in sorted(measured | checked)]


def test_a_long_budget_takes_no_memory() -> None:
    budget = dataclasses.replace(small_config().budget, steps=10**15, check_every=1)
    assert list(itertools.islice(events({0, 1, 10**15}, budget), 3)) == [(0, False), (1, True), (2, True)]
