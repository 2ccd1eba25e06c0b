"""The default name of a study: it finds its own study again, and a wider sweep joins it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from memcap.config.identity import study_name
from memcap.config.run_config import RunConfig

Compose = Callable[..., RunConfig]


def test_a_name_says_what_was_swept_and_ends_in_a_hash(run_config: Compose) -> None:
    config = run_config()
    assert re.fullmatch(r"mlp-width-num_samples-[0-9a-f]{6}", study_name(config, None, AXES))
    assert re.fullmatch(
        r"bits_vs_samples-width-num_samples-[0-9a-f]{6}", study_name(config, "bits_vs_samples", AXES)
    )
    assert re.fullmatch(r"mlp-[0-9a-f]{6}", study_name(config, None, []))
    assert "/" not in study_name(config, "mine/first", [])


AXES = ["model.width", "data.num_samples"]


@pytest.mark.parametrize(
    ("axes", "first", "wider"),
    [
        (AXES, ["model.width=8", "data.num_samples=50"], ["model.width=2", "data.num_samples=20"]),
        (["seed"], ["seed=0"], ["seed=7"]),
        (["optimizer.learning_rate"], ["optimizer.learning_rate=1"], ["optimizer.learning_rate=0.1"]),
        # The output dimension follows the input dimension, so it is swept with it.
        (["data.input_dim"], ["data.input_dim=20"], ["data.input_dim=5"]),
        (["model"], ["model=mlp"], ["model=linear"]),
        (["model", "seed"], ["model=linear", "seed=1"], ["model=mlp", "seed=0"]),
        (["activation"], ["activation=relu"], ["activation=sin"]),
        (["optimizer"], ["optimizer=sgd"], ["optimizer=adam"]),
        (
            ["activation.frequency"],
            ["activation=sin", "activation.frequency=1"],
            ["activation=sin", "activation.frequency=3"],
        ),
        (["hardware.threads"], ["hardware.threads=1"], ["hardware.threads=2"]),
    ],
)
def test_a_sweep_over_the_same_axes_has_the_same_name(
    axes: list[str], first: list[str], wider: list[str], run_config: Compose
) -> None:
    assert study_name(run_config(*first), None, axes) == study_name(run_config(*wider), None, axes)


@pytest.mark.parametrize(
    "fixed",
    [
        "seed=1",
        "model.depth=2",
        "optimizer=sgd",
        "budget.steps=10",
        "model.output_dim=4",
        "hardware.dtype=float64",
    ],
)
def test_another_fixed_value_is_another_study(fixed: str, run_config: Compose) -> None:
    assert study_name(run_config(fixed), None, AXES) != study_name(run_config(), None, AXES)


@pytest.mark.parametrize(
    "ignored", ["measure=light", "tracking=disabled", "force=true", "hardware.threads=1"]
)
def test_what_cannot_change_the_numbers_is_the_same_study(ignored: str, run_config: Compose) -> None:
    assert study_name(run_config(ignored), None, AXES) == study_name(run_config(), None, AXES)


def test_axes_count_also_where_nothing_else_differs(run_config: Compose) -> None:
    config = run_config()
    names = {study_name(config, "same", axes) for axes in ([], ["seed"], ["model.width"], AXES)}
    assert len({name.rsplit("-", 1)[-1] for name in names}) == 4


def test_a_long_sweep_has_a_name_that_a_file_system_takes(run_config: Compose) -> None:
    config = run_config()
    axes = [f"measure.{name}" for name in config.to_dict()["measure"]] * 4
    name = study_name(config, None, axes)
    assert len(name) <= 107
    assert name != study_name(config, None, [*axes, "seed"])
