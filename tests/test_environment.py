"""W&B's environment variables: below the command line, above YAML."""

from __future__ import annotations

import os
from typing import Any

import pytest
from compositions import composed_config
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from memcap.environment import MODES, agent_run_id, tracking_overrides
from memcap.errors import BadInput

ALL = {"WANDB_MODE": "offline", "WANDB_PROJECT": "bits", "WANDB_ENTITY": "lab"}
ADDED = ["tracking.project='bits'", "tracking.entity='lab'", "tracking.mode=offline"]


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, []),
        (["model.width=8"], {"HOME": "/", "WANDB_API_KEY": "x"}, ["model.width=8"]),
        ([], ALL, ADDED),
        (["-m", "seed=0,1"], ALL, ["-m", "seed=0,1", *ADDED]),
        (["tracking.mode=online"], ALL, ["tracking.mode=online", *ADDED[:2]]),
        (["tracking=disabled"], ALL, ["tracking=disabled", *ADDED[:2]]),
        (["tracking=wandb"], ALL, ["tracking=wandb", *ADDED]),
        (["tracking.project=a"], ALL, ["tracking.project=a", *ADDED[1:]]),
        (["++tracking.entity=a"], ALL, ["++tracking.entity=a", ADDED[0], ADDED[2]]),
        ([], {"WANDB_MODE": "", "WANDB_PROJECT": ""}, []),
        ([], {"WANDB_MODE": "dryrun"}, ["tracking.mode=offline"]),
        ([], {"WANDB_MODE": "disabled"}, ["tracking.mode=disabled"]),
        (
            [],
            {"WANDB_TAGS": "a, b c,", "WANDB_NOTES": "why"},
            ["tracking.notes='why'", "tracking.tags=['a','b c']"],
        ),
        (["tracking.tags=[z]"], {"WANDB_TAGS": "a"}, ["tracking.tags=[z]"]),
        ([], {"WANDB_JOB_TYPE": "probe"}, ["tracking.job_type='probe'"]),
        ([], {"WANDB_RUN_GROUP": "g", "WANDB_DIR": "/d"}, ["tracking.group='g'", "tracking.folder='/d'"]),
        # One run's name, id and resumption say nothing of a study's many runs.
        ([], {"WANDB_NAME": "n", "WANDB_RUN_ID": "i", "WANDB_RESUME": "allow"}, []),
        # What an agent sets to where it was started is not the user's wish.
        ([], {"WANDB_SWEEP_ID": "s", "WANDB_DIR": os.getcwd()}, []),
        ([], {"WANDB_SWEEP_ID": "s", "WANDB_DIR": "/d"}, ["tracking.folder='/d'"]),
    ],
)
def test_variables_speak_where_the_command_line_is_silent(
    arguments: list[str], environment: dict[str, str], expected: list[str]
) -> None:
    before = list(arguments)
    assert tracking_overrides(arguments, environment) == expected
    assert arguments == before


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        tracking_overrides([], {"WANDB_MODE": "sometimes"})
    assert (
        str(refused.value) == "WANDB_MODE must be one of online, offline, disabled, dryrun, got 'sometimes'"
    )
    assert tracking_overrides(["tracking=disabled"], {"WANDB_MODE": "sometimes"}) == ["tracking=disabled"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WANDB_RUN_ID": "abc"}, None),
        ({"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "abc"}, "abc"),
        ({"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": ""}, None),
    ],
)
def test_an_agent_is_known_by_its_sweep(environment: dict[str, str], expected: str | None) -> None:
    assert agent_run_id(environment) == expected


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_one_that_the_schema_takes(mode: str) -> None:
    (override,) = tracking_overrides([], {"WANDB_MODE": mode})
    assert composed_config(override).tracking.mode == MODES[mode]


@pytest.mark.parametrize(
    "value", ["my project", "it's", "a\\b", "\\'", "a\\", "a,b=[1]", "1", "null", "größe", "$x"]
)
def test_a_value_reaches_the_configuration_as_it_is(value: str) -> None:
    overrides = tracking_overrides([], {"WANDB_PROJECT": value, "WANDB_ENTITY": value})
    tracking: Any = composed_config(*overrides).tracking
    assert (tracking.project, tracking.entity) == (value, value)


@given(value=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_hydra_reads_any_value_as_it_is(value: str) -> None:
    (override,) = tracking_overrides([], {"WANDB_PROJECT": value})
    (parsed,) = OverridesParser.create().parse_overrides([override])
    assert (parsed.key_or_group, parsed.value()) == ("tracking.project", value)
