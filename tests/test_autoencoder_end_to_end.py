"""A toy model of superposition from its configuration to its kept weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from population_cases import Recorder, small_config, train

from memcap.config.run_config import RunConfig
from memcap.data import build_dataset

COMMON = (
    "data=sparse_features",
    "model=autoencoder",
    "objective=squared_error",
    "schedule=cosine",
    "budget.steps=400",
    "budget.check_every=100",
    "data.num_features=6",
    "data.active_probability=0.3",
    "data.importance_decay=0.5",
    "data.batch_size=64",
    "data.evaluation_samples=500",
    "model.width=3",
    "optimizer.learning_rate=0.03",
)


@pytest.fixture(scope="module")
def configs() -> list[RunConfig]:
    sparse = ("data.importance_decay=1.0", "data.active_probability=0.1")
    own = (("seed=0",), ("seed=1",), ("seed=2", *sparse))
    return [small_config(*COMMON, *o) for o in own]


@pytest.fixture(scope="module")
def recorder(configs: list[RunConfig]) -> Recorder:
    return train(configs)


def squared_errors(config: RunConfig, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Squared error of each sample and feature [N, F], without importance, of relu(x W Wᵀ + b) in NumPy."""
    dataset = build_dataset(config)
    x = (dataset.training() if name == "train" else dataset.evaluation()[name]).inputs_ND
    encoder = weights["encoder.weight"]
    return np.asarray((np.maximum(x @ encoder @ encoder.T + weights["decoder.bias"], 0) - x) ** 2)


def importance(config: RunConfig) -> np.ndarray:
    data: Any = config.data
    return np.asarray(data.importance_decay ** np.arange(6))


def zero_predictor_loss(config: RunConfig) -> float:
    """What a network pays that always answers 0."""
    return float((importance(config) * build_dataset(config).training().inputs_ND ** 2).mean())


def test_loss_falls_far_below_that_of_answering_zero(configs: list[RunConfig], recorder: Recorder) -> None:
    for member, config in enumerate(configs):
        losses = [row["train/loss_mse"] for row in recorder.rows[member]]
        assert losses[0] > 0.3 * zero_predictor_loss(config)
        assert losses[-1] < 0.15 * zero_predictor_loss(config)
        assert recorder.ends[member].row["eval/test/loss_mse"] < 0.15 * zero_predictor_loss(config)


def test_final_losses_are_those_of_the_kept_tied_weights(
    configs: list[RunConfig], recorder: Recorder
) -> None:
    for member, config in enumerate(configs):
        end = recorder.ends[member]
        assert {name: array.shape for name, array in end.arrays["weights"].items()} == {
            "encoder.weight": (6, 3),
            "decoder.bias": (6,),
        }
        loss_N = (importance(config) * squared_errors(config, end.arrays["weights"], "train")).mean(1)
        np.testing.assert_allclose(end.arrays["samples"]["final_loss"], loss_N, rtol=1e-9, atol=1e-15)
        assert end.row["train/loss_mse"] == pytest.approx(loss_N.mean(), rel=1e-10)
        test_loss = (importance(config) * squared_errors(config, end.arrays["weights"], "test")).mean()
        assert end.row["eval/test/loss_mse"] == pytest.approx(test_loss, rel=1e-10)


def represented(recorder: Recorder, member: int) -> np.ndarray:
    """Length of each feature's direction [F]: 1 represented, 0 left out."""
    return np.asarray(np.linalg.norm(recorder.ends[member].arrays["weights"]["encoder.weight"], axis=1))


def test_what_does_not_fit_is_the_least_important(recorder: Recorder) -> None:
    for member in (0, 1):
        norm_F = represented(recorder, member)
        assert norm_F[:4].min() > 0.9
        assert norm_F[4:].max() < 0.1


def test_sparse_features_of_equal_importance_share_the_dimensions(recorder: Recorder) -> None:
    # Superposition: six features in three dimensions, as antipodal pairs (Elhage et al. 2022).
    assert represented(recorder, 2).min() > 0.9


def test_importance_that_is_not_used_counts_for_nothing() -> None:
    few = ("budget.steps=30", "measure=light")
    plain = [
        small_config(*COMMON, *few, "objective.use_importance=false"),
        small_config(*COMMON, *few, "data.importance_decay=1.0"),
    ]
    ends = [train([config]).ends[0] for config in plain]
    assert np.array_equal(
        ends[0].arrays["weights"]["encoder.weight"], ends[1].arrays["weights"]["encoder.weight"]
    )
    weighted = train([small_config(*COMMON, *few)]).ends[0]
    assert not np.allclose(
        weighted.arrays["weights"]["encoder.weight"], ends[0].arrays["weights"]["encoder.weight"]
    )


def test_there_are_losses_and_no_bits(recorder: Recorder) -> None:
    for member in range(3):
        end = recorder.ends[member]
        assert end.ending == ("finished", "budget")
        assert not [name for name in end.row if name.startswith("memory/") or "bits" in name]
        assert "train/exposures" not in end.row
        assert {"sharpness/top_eigenvalue", "gradients/norm/encoder", "gradients/norm/decoder"} <= set(
            end.row
        )
        assert {name: array.shape for name, array in end.arrays["samples"].items()} == {
            "initial_loss": (500,),
            "final_loss": (500,),
        }


def test_three_samples_fit_into_three_dimensions_and_others_do_not() -> None:
    finite = ("data.num_samples=3", "data.batch_size=null", "model.tied=false", "activation=identity")
    row = train([small_config(*COMMON, *finite)]).ends[0].row
    assert row["train/exposures"] == 400
    assert row["train/loss_mse"] < 1e-3 * row["eval/test/loss_mse"]
