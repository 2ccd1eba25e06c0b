"""Which cells train together: every cell once, equal shapes, and bounds on memory and number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcap.config.cell import Cell
from memcap.config.identity import population_key
from memcap.config.memory import member_bytes
from memcap.grouping import packs

Values = Callable[..., dict[str, Any]]


def cells(values: dict[str, Any], changes: Sequence[dict[str, Any]]) -> list[Cell]:
    """One cell for each set of changes, given by dotted keys."""
    made = []
    for change in changes:
        own = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
        for key, value in change.items():
            group, _, name = key.rpartition(".")
            (own[group] if group else own)[name] = value
        made.append(Cell.from_values(own, [f"{key}={value}" for key, value in change.items()]))
    return made


@given(
    sweep=st.lists(
        st.fixed_dictionaries(
            {
                "seed": st.integers(0, 5),
                "model.width": st.sampled_from([4, 8]),
                "data.num_samples": st.integers(1, 50),
                "optimizer.learning_rate": st.sampled_from([0.1, 0.01]),
            }
        ),
        max_size=30,
    ),
    max_members=st.integers(1, 10),
)
def test_every_cell_is_in_one_pack_of_its_kind(
    sweep: list[dict[str, Any]], max_members: int, run_values: Values
) -> None:
    values = run_values(f"hardware.max_members={max_members}")
    made = cells(values, sweep)
    packed = list(packs(made))
    assert Counter(cell.run_id for pack in packed for cell in pack) == Counter(cell.run_id for cell in made)
    for pack in packed:
        assert 1 <= len(pack) <= max_members
        assert len({population_key(cell.config) for cell in pack}) == 1
        sizes = [cell.config.data.num_samples for cell in pack]
        assert sizes == sorted(sizes)  # type: ignore[type-var]
    # No more packs than it takes.
    of_kind = Counter(population_key(cell.config) for cell in made)
    assert len(packed) == sum(-(-count // max_members) for count in of_kind.values())


PER_MEMBER = [
    ("seed", 9),
    ("restart", 2),
    ("data.num_samples", 20),
    ("model.initialization_scale", 0.5),
    ("optimizer.learning_rate", 0.5),
    ("optimizer.weight_decay", 0.5),
    ("optimizer.clip_norm", 1.0),
    ("optimizer.beta1", 0.5),
    ("schedule.warmup_steps", 10),
    ("study", "other"),
]
STATIC = [
    ("model.width", 17),
    ("model.bias", True),
    ("data.input_dim", 11),
    ("data.batch_size", 8),
    ("budget.steps", 10),
    ("hardware.dtype", "float64"),
    ("hardware.autocast", "bfloat16"),
    ("hardware.threads", 1),
    ("measure.points", 3),
    ("measure.sharpness", False),
]


@pytest.mark.parametrize(("key", "value"), PER_MEMBER)
def test_members_may_differ_in_this(key: str, value: Any, run_values: Values) -> None:
    made = cells(run_values(), [{}, {key: value}])
    assert len(list(packs(made))) == 1


@pytest.mark.parametrize(("key", "value"), STATIC)
def test_members_may_not_differ_in_that(key: str, value: Any, run_values: Values) -> None:
    made = cells(run_values(), [{}, {key: value}])
    assert len(list(packs(made))) == 2


def test_other_parts_are_other_populations(run_values: Values) -> None:
    choices = [
        (),
        ("activation=tanh",),
        ("optimizer=sgd",),
        ("schedule=cosine",),
        ("objective=squared_error",),
    ]
    made = [Cell.from_values(run_values(*choice)) for choice in choices]
    assert [len(pack) for pack in packs(made)] == [1] * 5


def test_a_finite_and_an_endless_set_do_not_train_together(run_values: Values) -> None:
    values = run_values("data=sparse_features", "objective=squared_error")
    assert len(list(packs(cells(values, [{}, {"data.num_samples": 1000}])))) == 2


def test_groups_come_in_the_order_of_the_sweep(run_values: Values) -> None:
    widths = [8, 4, 8, 16, 4]
    made = cells(run_values(), [{"model.width": w, "seed": i} for i, w in enumerate(widths)])
    packed = [[cell.config.to_dict()["model"]["width"] for cell in pack] for pack in packs(made)]
    assert packed == [[8, 8], [4, 4], [16]]


def test_memory_bounds_a_pack(run_values: Values) -> None:
    values = run_values()
    (largest,) = cells(values, [{"data.num_samples": 40}])
    values["hardware"]["memory_gib"] = 3.5 * member_bytes(largest.config) / 2**30
    made = cells(values, [{"seed": seed, "data.num_samples": 40} for seed in range(8)])
    assert [len(pack) for pack in packs(made)] == [3, 3, 2]


def test_small_members_are_counted_as_large_as_padding_makes_them(run_values: Values) -> None:
    values = run_values("measure=light")
    small, large = cells(values, [{"data.num_samples": 10}, {"data.num_samples": 10_000}])
    limit = 1.5 * member_bytes(large.config)
    assert member_bytes(small.config) + member_bytes(large.config) < limit
    values["hardware"]["memory_gib"] = limit / 2**30
    made = cells(values, [{"data.num_samples": 10_000}, {"data.num_samples": 10}])
    assert [[cell.config.data.num_samples for cell in pack] for pack in packs(made)] == [[10], [10_000]]


def test_a_cell_that_is_too_large_alone_still_has_a_pack(run_values: Values) -> None:
    made = cells(run_values("hardware.memory_gib=1e-9"), [{"seed": seed} for seed in range(3)])
    assert [len(pack) for pack in packs(made)] == [1, 1, 1]


def test_nothing_to_train_is_no_pack() -> None:
    assert list(packs([])) == []
