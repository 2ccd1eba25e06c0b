"""Stacking, padding and losing members."""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import pytest
import torch
from population_cases import leaves, plain_loss, small_config, small_population, training_tensors

from memcap.data.order import batch_indices
from memcap.engines import BatchedEngine
from memcap.engines.batched import gradients
from memcap.measures.observation import Observer
from memcap.population import Population

RAGGED = (
    ("seed=3", "data.num_samples=5"),
    ("seed=1", "data.num_samples=14"),
    ("seed=2", "data.num_samples=9"),
)
SPARSE = ("data=sparse_features", "model=autoencoder", "objective=squared_error")


def tensors(population: Population) -> dict[str, torch.Tensor]:
    """Everything of a population that has a member axis, by name."""
    found = {"parameters": population.parameters_MP, "counts": population.training_set.counts_M}
    found |= {f"state/{name}": value for name, value in population.state.items()}
    found |= {f"values/{name}": value for name, value in population.values.items()}
    found |= {f"activation/{name}": value for name, value in population.activation_values.items()}
    sets = {"train": population.training_set, **population.evaluation_sets}
    for name, batch in sets.items():
        found |= {f"{name}/inputs": batch.inputs_MND, f"{name}/targets": batch.targets}
        found[f"{name}/mask"] = batch.full_mask(batch.inputs_MND)
    if population.importance_MF is not None:
        found["importance"] = population.importance_MF
    return found


def test_padding_repeats_real_samples_and_is_masked() -> None:
    population = small_population(("model=linear",), RAGGED)
    batch = population.training_set
    assert batch.inputs_MND.shape == (3, 14, 4)
    assert batch.counts_M.tolist() == [5, 14, 9]
    assert batch.full_mask(batch.inputs_MND).sum(1).tolist() == [5, 14, 9]
    for member, count in enumerate((5, 14, 9)):
        inputs_ND, targets_N = training_tensors(population, member)
        places = np.arange(14) % count
        assert torch.equal(batch.inputs_MND[member], inputs_ND[places])
        assert torch.equal(batch.targets[member], targets_N[places])
        assert batch.full_mask(batch.inputs_MND)[member].tolist() == [n < count for n in range(14)]


def test_equal_sizes_need_no_mask() -> None:
    population = small_population(("model=linear",), (("seed=0",), ("seed=1",)))
    assert population.training_set.mask_MN is None
    assert population.training_set.full_mask(population.parameters_MP).all()


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
def test_loss_is_the_mean_over_ones_own_samples(objective: str) -> None:
    population = small_population((f"objective={objective}",), RAGGED)
    loss_M = population.losses(population.parameters_MP, population.training_set)
    for member, config in enumerate(population.configs):
        expected = plain_loss(config, leaves(population, member), *training_tensors(population, member))
        assert loss_M[member].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(
    "formula", ["sqrt(abs(x))", "log1p(abs(x))", "x/(x*x+0.01)", "abs(x)**0.3", "1/x", "sqrt(abs(x))*exp(x)"]
)
def test_padding_is_never_nan(formula: str) -> None:
    common = ("activation=formula", f"activation.formula={formula}", "optimizer.learning_rate=0.001")
    population = small_population(common, RAGGED)
    BatchedEngine().advance(population, 3)
    assert population.losses(population.parameters_MP, population.training_set).isfinite().all()
    assert gradients(population, population.training_set).isfinite().all()
    for row in Observer(population).observe(population):
        assert np.isfinite(list(row.values())).all(), row


def test_members_start_from_their_own_streams_alone_or_not() -> None:
    population = small_population((), RAGGED)
    for member, config in enumerate(population.configs):
        alone = Population([config])
        assert torch.equal(population.parameters_MP[member], alone.parameters_MP[0])
        count = config.data.num_samples
        assert torch.equal(
            population.training_set.inputs_MND[member, :count], alone.training_set.inputs_MND[0]
        )
        assert torch.equal(population.training_set.targets[member, :count], alone.training_set.targets[0])
    assert len(set(population.parameters_MP[:, 0].tolist())) == 3


def test_fewer_samples_are_a_prefix_of_more() -> None:
    population = small_population((), (("data.num_samples=6",), ("data.num_samples=14",)))
    assert torch.equal(population.training_set.inputs_MND[0, :6], population.training_set.inputs_MND[1, :6])
    assert torch.equal(population.training_set.targets[0, :6], population.training_set.targets[1, :6])
    assert torch.equal(population.parameters_MP[0], population.parameters_MP[1])


@pytest.mark.parametrize("members", [[0, 2], [2, 0], [1], [0, 1, 2]])
@pytest.mark.parametrize(
    "common",
    [("activation=sin",), (*SPARSE, "data.num_samples=9"), (*SPARSE, "activation=tanh"), ("model=linear",)],
    ids=["sin", "finite features", "fresh features", "linear"],
)
def test_kept_members_are_bitwise_what_they_were(common: tuple[str, ...], members: list[int]) -> None:
    own = [("seed=3",), ("seed=1", "optimizer.clip_norm=0.5"), ("seed=2", "optimizer.weight_decay=0.1")]
    if "activation=sin" in common:
        own = [(*o, f"activation.frequency={f}", *r) for o, f, r in zip(own, (1, 2, 3), RAGGED, strict=True)]
    if "data=sparse_features" in common:
        own = [(*o, f"data.importance_decay={d}") for o, d in zip(own, (0.9, 0.5, 0.7), strict=True)]
    population = small_population(common, own)
    BatchedEngine().advance(population, 4)
    before = {name: value.clone() for name, value in tensors(population).items()}
    kept = population.keep(members)
    assert (len(kept), kept.step) == (len(members), 4)
    assert kept.configs == [population.configs[i] for i in members]
    assert kept.sample_counts == kept.training_set.counts_M.tolist()
    assert {n: v.tolist() for n, v in tensors(kept).items()} == {
        n: v[members].tolist() for n, v in before.items()
    }
    BatchedEngine().advance(kept, 3)
    BatchedEngine().advance(population, 3)
    torch.testing.assert_close(
        kept.parameters_MP, population.parameters_MP[members], rtol=1e-10, atol=1e-14, msg=str(common)
    )


@pytest.mark.parametrize("members", [[0, 2], [2], [0]])
@pytest.mark.parametrize(
    "common",
    [
        ("model=linear",),
        ("data.input_dim=1",),
        ("objective=squared_error",),
        (*SPARSE, "data.batch_size=null"),
    ],
    ids=["labels", "one input", "one-hot", "features"],
)
def test_what_is_restored_lies_in_memory_as_it_did(common: tuple[str, ...], members: list[int]) -> None:
    """The longest member has ended: a product's last bits depend on its operands' strides, not on values alone."""
    uninterrupted = small_population(common, RAGGED).keep(members)
    restored = Population(uninterrupted.configs)
    restored.restore(uninterrupted.saved())
    sets = {"": uninterrupted.training_set, **uninterrupted.evaluation_sets}
    for name, batch in {"": restored.training_set, **restored.evaluation_sets}.items():
        expected = sets[name]
        assert batch.inputs_MND.stride() == expected.inputs_MND.stride()
        assert batch.targets.stride() == expected.targets.stride()
        assert torch.equal(batch.inputs_MND, expected.inputs_MND)
        assert torch.equal(batch.targets, expected.targets)
        mask_MN = batch.full_mask(batch.inputs_MND)
        assert torch.equal(mask_MN, expected.full_mask(batch.inputs_MND))


def test_training_the_kept_leaves_the_others_where_they_were() -> None:
    population = small_population((), RAGGED)
    before = {name: value.clone() for name, value in tensors(population).items()}
    BatchedEngine().advance(population.keep([0, 1]), 3)
    assert population.step == 0
    for name, value in tensors(population).items():
        assert torch.equal(value, before[name]), name


def test_learning_rates_follow_the_schedule_of_each_member() -> None:
    population = small_population(
        ("schedule=wsd", "budget.steps=20", "optimizer.learning_rate=0.5"),
        (
            ("schedule.warmup_steps=4",),
            ("optimizer.learning_rate=2",),
            ("schedule.decay_fraction=0", "seed=1"),
            ("schedule.floor=0.5",),
        ),
    )
    rates_KM = population.learning_rates(0, 20)
    assert rates_KM.dtype == torch.float64
    assert rates_KM[:5, 0].tolist() == [0.125, 0.25, 0.375, 0.5, 0.5]
    # decay_fraction 0.2 of 20 steps: 1, then 3/4, 1/2, 1/4, 0.
    assert rates_KM[15:, 1].tolist() == pytest.approx([2, 1.5, 1, 0.5, 0])
    assert rates_KM[:, 2].tolist() == [0.5] * 20
    assert rates_KM[-1, 3].item() == pytest.approx(0.25)


def test_mini_batches_are_the_samples_of_the_order() -> None:
    population = small_population(("data.batch_size=4",), RAGGED)
    batches = population.batches(2, 3)
    assert batches is not None
    for step, batch in enumerate(batches):
        assert batch.inputs_MND.shape == (3, 4, 4)
        assert (batch.mask_MN, batch.counts_M.tolist()) == (None, [4, 4, 4])
        for member, config in enumerate(population.configs):
            inputs_ND, targets_N = training_tensors(population, member)
            index_B = batch_indices(config.seed, 2, 3, config.data.num_measured, 4)[step]
            assert torch.equal(batch.inputs_MND[member], inputs_ND[index_B])
            assert torch.equal(batch.targets[member], targets_N[index_B])


def test_full_batch_has_no_batches() -> None:
    assert small_population((), RAGGED).batches(0, 5) is None


def test_fresh_batches_differ_by_step_and_member() -> None:
    population = small_population(SPARSE, (("seed=0",), ("seed=1",)))
    batches = list(population.batches(5, 3) or ())
    assert [batch.inputs_MND.shape for batch in batches] == [(2, 8, 5)] * 3
    assert all(torch.equal(batch.inputs_MND, batch.targets) for batch in batches)
    inputs = [batch.inputs_MND[m] for batch in batches for m in range(2)]
    inputs += list(population.training_set.inputs_MND[:, :8])
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(inputs, 2))
    again = list(population.batches(6, 1) or ())
    assert torch.equal(again[0].inputs_MND, batches[1].inputs_MND)


@pytest.mark.parametrize("common", [SPARSE, ("data.batch_size=4",)], ids=["fresh", "mini"])
def test_batches_are_made_one_at_a_time(common: tuple[str, ...]) -> None:
    # Those of 256 steps of thousands of members would be many gigabytes.
    population = small_population(common, (("seed=0",), ("seed=1",)))
    batches = population.batches(0, 256)
    assert batches is not None
    first = weakref.ref(next(batches).inputs_MND)
    next(batches)
    assert first() is None


def test_exposures_count_how_often_a_sample_was_seen() -> None:
    full = small_population((), RAGGED)
    mini = small_population(("data.batch_size=4",), RAGGED)
    for population in (full, mini):
        BatchedEngine().advance(population, 7)
    exposures = [population.exposures() for population in (full, mini)]
    assert exposures[0] is not None
    assert exposures[1] is not None
    assert exposures[0].tolist() == [7, 7, 7]
    assert exposures[1].tolist() == pytest.approx([28 / 5, 28 / 14, 28 / 9])
    assert small_population(SPARSE, (("seed=0",),)).exposures() is None


def test_initial_weights_and_scale_are_those_of_each_member() -> None:
    scales = (("model.initialization_scale=1",), ("model.initialization_scale=3",))
    population = small_population(("model.bias=true",), scales)
    torch.testing.assert_close(
        population.parameters_MP[1], 3 * population.parameters_MP[0], rtol=1e-14, atol=0
    )


def test_weights_of_a_member_come_by_name_and_are_its_own_copy() -> None:
    population = small_population(("model.bias=true", "hardware.dtype=float32"), RAGGED)
    weights = population.member_parameters(2)
    assert {name: array.shape for name, array in weights.items()} == population.model.shapes
    assert {array.dtype for array in weights.values()} == {np.dtype("float32")}
    flat_P = np.concatenate([array.ravel() for array in weights.values()])
    assert flat_P.tolist() == population.parameters_MP[2].tolist()
    weights["head.bias"][:] = 7
    assert not (population.parameters_MP == 7).any()


def test_number_of_parameters_is_what_the_configuration_says() -> None:
    for overrides in (("model=linear",), ("model=mlp", "model.bias=true", "model.depth=2"), SPARSE):
        config = small_config(*overrides)
        population = Population([config])
        assert population.parameters_MP.shape == (1, config.num_parameters)
        assert population.model.num_parameters == config.num_parameters


@pytest.mark.parametrize("count", [1, 5, 7, 14, 100])
def test_the_first_samples_of_each_member(count: int) -> None:
    population = small_population(("model=linear",), RAGGED)
    batch = population.training_set.first(count)
    assert batch.counts_M.tolist() == [min(own, count) for own in (5, 14, 9)]
    assert batch.counts_M.dtype == population.training_set.counts_M.dtype
    assert (batch.mask_MN is None) == (count <= 5)
    assert batch.full_mask(batch.inputs_MND).sum(1).tolist() == batch.counts_M.tolist()
    loss_M = population.losses(population.parameters_MP, batch)
    for member, config in enumerate(population.configs):
        inputs_ND, targets_N = training_tensors(population, member)
        assert torch.equal(batch.inputs_MND[member, :5], inputs_ND[: min(5, count)])
        expected = plain_loss(config, leaves(population, member), inputs_ND[:count], targets_N[:count])
        assert loss_M[member].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("common", [("data.batch_size=4",), (*SPARSE, "data.num_samples=null")])
def test_a_restart_has_other_weights_and_nothing_else(common: tuple[str, ...]) -> None:
    population = small_population(common, [("seed=5",), ("seed=5", "restart=1"), ("seed=5", "restart=2")])
    for one, other in itertools.combinations(range(3), 2):
        assert (population.parameters_MP[one] != population.parameters_MP[other]).any()
        for step in range(2):
            batch = next(population.batches(step, 1))
            assert torch.equal(batch.inputs_MND[one], batch.inputs_MND[other])
        assert torch.equal(population.training_set.targets[one], population.training_set.targets[other])
    plain = small_population(common, [("seed=5",)])
    assert torch.equal(plain.parameters_MP[0], population.parameters_MP[0])
