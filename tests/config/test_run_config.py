"""A run's configuration from plain values: what is refused and in which words, and what survives a copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from memcap.config.run_config import RunConfig
from memcap.errors import BadInput

Compose = Callable[..., RunConfig]
Values = Callable[..., dict[str, Any]]

KEYS = (
    "seed, restart, study, force, fail_fast, max_attempts, allow_targets, data, model, activation, objective,"
    " optimizer, schedule, budget, hardware, measure, tracking, paths, records, checkpoint, compare"
)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.width=0", "model.width must be a whole number ≥ 1, got 0"),
        ("model.width=-3", "model.width must be a whole number ≥ 1, got -3"),
        ("model.width=2.5", "model.width must be a whole number ≥ 1, got 2.5"),
        ("model.width=wide", 'model.width must be a whole number ≥ 1, got "wide"'),
        ("model.width=null", "model.width must be a whole number ≥ 1, got null"),
        ("model.width=true", "model.width must be a whole number ≥ 1, got true"),
        ("model.depth=-1", "model.depth must be a whole number ≥ 1, got -1"),
        ("model.depth=0", "model.depth must be a whole number ≥ 1, got 0"),
        ("model.output_dim=0", "model.output_dim must be a whole number ≥ 1 or null, got 0"),
        ("model.bias=1", "model.bias must be true or false, got 1"),
        (
            "model.initialization=guassian",
            'model.initialization must be one of uniform, gaussian, xavier, got "guassian" (did you mean gaussian?)',
        ),
        ("data.num_samples=0", "data.num_samples must be a whole number ≥ 1, got 0"),
        ("data.num_samples=null", "data.num_samples must be a whole number ≥ 1, got null"),
        ("data.num_classes=1", "data.num_classes must be a whole number ≥ 2, got 1"),
        ("optimizer.learning_rate=0", "optimizer.learning_rate must be a number > 0, got 0"),
        ("optimizer.learning_rate=-0.1", "optimizer.learning_rate must be a number > 0, got -0.1"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate must be a number > 0, got nan"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate must be a number > 0, got inf"),
        ("optimizer.learning_rate=abc", 'optimizer.learning_rate must be a number > 0, got "abc"'),
        ("optimizer.beta2=1", "optimizer.beta2 must be a number ≥ 0 and < 1, got 1"),
        ("optimizer.clip_norm=0", "optimizer.clip_norm must be a number > 0 or null, got 0"),
        ("seed=-1", "seed must be a whole number ≥ 0 and ≤ 9.22337e+18, got -1"),
        (
            "seed=9223372036854775808",
            "seed must be a whole number ≥ 0 and ≤ 9.22337e+18, got 9223372036854775808 (too large)",
        ),
        ("budget.steps=0", "budget.steps must be a whole number ≥ 1, got 0"),
        (
            "budget.stop=memorised",
            "budget.stop must be one of none, memorized, plateau, either, got "
            '"memorised" (did you mean memorized?)',
        ),
        (
            "hardware.dtype=float16",
            'hardware.dtype must be one of float32, float64, got "float16" (did you mean float64?)',
        ),
        (
            "tracking.mode=sometimes",
            'tracking.mode must be one of auto, online, offline, disabled, got "sometimes"',
        ),
        ("tracking.tags=one", 'tracking.tags must be a list of text, got "one"'),
        (
            "schedule.kind=foo",
            "schedule.kind must be one of constant, cosine, warmup_stable_decay, got 'foo'",
        ),
        (
            "model.kind=mpl",
            "model.kind must be one of linear, mlp, autoencoder, got 'mpl' (did you mean mlp?)",
        ),
        (
            "data.batch_size=301",
            "data.batch_size must be ≤ data.num_samples = 300 (or null for the full batch), got 301",
        ),
        (
            "+model.widht=8",
            "model.widht is not a key of model=mlp (did you mean width?); keys: initialization, "
            "initialization_scale, width, depth, output_dim, bias, residual",
        ),
        ("+optimzer.learning_rate=1", f"optimzer is not a key (did you mean optimizer?); keys: {KEYS}"),
        ("+stduy=a", f"stduy is not a key (did you mean study?); keys: {KEYS}"),
        (
            "+budget.kind=fixed",
            "budget.kind is not a key; keys: steps, stop, check_every, loss_tolerance, plateau_checks,"
            " plateau_improvement",
        ),
        ("~budget.steps", "budget.steps is missing; every value stands in YAML or on the command line"),
        ("~seed", "seed is missing; every value stands in YAML or on the command line"),
        ("~model", "model must be a group of keys with a kind, got None"),
    ],
)
def test_bad_values_are_one_clear_line(override: str, message: str, run_config: Compose) -> None:
    with pytest.raises(BadInput) as refused:
        run_config(override)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data=sparse_features"],
            "objective=cross_entropy needs classes as targets, but data=sparse_features has features;"
            " use objective=squared_error",
        ),
        (
            ["model=autoencoder", "objective=squared_error"],
            "model=autoencoder needs data=sparse_features, got data=random_labels",
        ),
        (
            ["data=sparse_features", "objective=squared_error", "data.batch_size=null"],
            "data.batch_size must be a whole number ≥ 1 when data.num_samples is null, got null",
        ),
        (
            ["data=sparse_features", "objective=squared_error", "data.num_samples=255"],
            "data.batch_size must be ≤ data.num_samples = 255 (or null for the full batch), got 256",
        ),
    ],
)
def test_parts_that_do_not_fit_each_other(overrides: list[str], message: str, run_config: Compose) -> None:
    with pytest.raises(BadInput) as refused:
        run_config(*overrides)
    assert str(refused.value) == message


def test_what_fits_exactly_is_taken(run_config: Compose) -> None:
    assert run_config("data.batch_size=300").data.batch_size == 300
    assert run_config("objective=squared_error").objective.kind == "squared_error"
    narrow = ["model.width=1", "model.output_dim=1", "data.num_samples=1", "data.num_classes=2"]
    assert run_config(*narrow).num_parameters == 10 + 1 + 2


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model=linear", "optimizer=sgd", "schedule=wsd", "budget=until_memorized"),
        ("data=sparse_features", "model=autoencoder", "objective=squared_error", "measure=light"),
        (
            "activation=formula",
            "activation.formula='x * sin(3*x)'",
            "tracking.tags=[a,b]",
            "data.batch_size=7",
        ),
    ],
)
def test_a_configuration_survives_json(overrides: tuple[str, ...], run_config: Compose) -> None:
    config = run_config(*overrides)
    plain = config.to_dict()
    again = RunConfig.from_dict(json.loads(json.dumps(plain)))
    assert again == config
    assert again.to_dict() == plain


def test_keys_of_the_sweeper_are_not_of_a_run(run_values: Values) -> None:
    values = run_values()
    assert {"zip", "cells"} <= set(values)
    given = {**values, "zip": "a,b", "cells": "cells.csv", "hydra": {"run": {}}}
    assert RunConfig.from_dict(given) == RunConfig.from_dict(values)


def test_derived_values_are_filled_in(run_config: Compose) -> None:
    assert run_config("data.input_dim=7").model.output_dim == 7  # type: ignore[attr-defined]
