"""hardware.autocast=bfloat16: steps are computed in it, weights and measures are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from population_cases import small_config, small_population, train

from memcap.config.fused_support import takes
from memcap.config.identity import identity_payload, run_id
from memcap.engines import BatchedEngine, build_engine
from memcap.engines.batched import gradients
from memcap.finished_cells import _config as measured_config
from memcap.measures.observation import Observer

FLOAT32 = ("hardware.dtype=float32",)
BFLOAT16 = (*FLOAT32, "hardware.autocast=bfloat16")
SPARSE = ("data=sparse_features", "model=autoencoder", "objective=squared_error")
CASES = {
    "mlp": ("model.bias=true", "model.depth=2", "activation=formula", "activation.formula=x*sin(3*x)"),
    "mini": ("data.batch_size=5", "optimizer=sgd", "optimizer.clip_norm=0.5"),
    "sparse": SPARSE,
}
MEMBERS = (("seed=0",), ("seed=1",), ("seed=2",))


def test_it_counts_in_the_id_and_its_absence_does_not() -> None:
    plain, cast = small_config(*FLOAT32), small_config(*BFLOAT16)
    assert run_id(plain) != run_id(cast)
    assert identity_payload(plain)["hardware"] == {"dtype": "float32"}
    assert identity_payload(cast)["hardware"] == {"dtype": "float32", "autocast": "bfloat16"}


def test_the_fused_engine_leaves_it_to_the_batched_one() -> None:
    assert takes(small_config(*FLOAT32))
    config = small_config(*BFLOAT16)
    assert not takes(config)
    assert isinstance(build_engine([config]), BatchedEngine)


def test_a_finished_run_keeps_its_id_where_it_is_measured_without() -> None:
    config = small_config(*BFLOAT16)
    here = dataclasses.replace(config.hardware, autocast="none")
    assert run_id(measured_config(config, config.measure, here, Path("outputs"))) == run_id(config)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_rounded_and_kept_in_float32(case: str) -> None:
    population = small_population((*CASES[case], *BFLOAT16), MEMBERS)
    population.parameters_MP += 0.01  # a bias of zero would sit on the kink of a relu
    batch = population.training_set
    exact_MP, cast_MP = gradients(population, batch), gradients(population, batch, torch.bfloat16)
    assert cast_MP.dtype == torch.float32
    error_M = (cast_MP - exact_MP).norm(dim=1) / exact_MP.norm(dim=1)
    assert bool((error_M > 1e-5).all())  # far above the rounding of float32
    assert bool((error_M < 0.1).all())  # some units of bfloat16's rounding, 0.004


@pytest.mark.parametrize("case", CASES)
def test_weights_state_and_every_measure_stay_float32(case: str) -> None:
    cast = small_population((*CASES[case], *BFLOAT16), MEMBERS)
    BatchedEngine().advance(cast, 7)
    assert cast.parameters_MP.dtype == torch.float32
    assert cast.state is not None
    assert {state_MP.dtype for state_MP in cast.state.values()} == {torch.float32}
    plain = small_population((*CASES[case], *FLOAT32, "hardware.engine=batched"), MEMBERS)
    untrained_MP = plain.parameters_MP.clone()
    plain.parameters_MP, plain.state, plain.step = cast.parameters_MP, cast.state, cast.step
    assert not torch.equal(plain.parameters_MP, untrained_MP)
    # The same weights give the same numbers to the bit, so no measure has seen bfloat16.
    rows = [Observer(population).observe(population) for population in (plain, cast)]
    for one, other in zip(*rows, strict=True):
        assert {k: repr(v) for k, v in one.items()} == {k: repr(v) for k, v in other.items()}


@pytest.mark.parametrize("num_steps", [(30,), (1, 12, 17)])
def test_where_a_training_is_cut_changes_no_bit(num_steps: tuple[int, ...]) -> None:
    whole, cut = (small_population(("budget.steps=30", *BFLOAT16), MEMBERS) for _ in range(2))
    BatchedEngine().advance(whole, 30)
    for steps in num_steps:
        BatchedEngine().advance(cut, steps)
    assert torch.equal(whole.parameters_MP, cut.parameters_MP)


def test_bits_are_close_to_those_of_float32() -> None:
    common = ("budget.steps=400", "budget.check_every=400", "model.width=8", "data.num_samples=30")
    bits = []
    for precision in (FLOAT32, BFLOAT16):
        common_precision = (*common, "measure=light", "hardware.engine=batched", *precision)
        ends = train([small_config(*common_precision, *own) for own in MEMBERS]).ends
        bits.append([ends[member].row["memory/bits"] for member in range(3)])
    assert bits[0] != bits[1]
    assert bits[1] == pytest.approx(bits[0], rel=0.05)
    assert min(bits[1]) > 15  # of 30 log2 3 = 47.5: something was memorized
