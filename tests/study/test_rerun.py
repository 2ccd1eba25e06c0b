"""The line that trains a run again leads to the same run, whatever composed it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compositions import CONF, changed, composed_config, leaves
from hypothesis import given, settings
from hypothesis import strategies as st

from memcap.command_line import quote_arguments
from memcap.config.identity import run_id
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput
from memcap.study.options import conf_folder, read_options, same
from memcap.study.recorded_config import completed, recorded_config
from memcap.study.rerun import rerun_line, rerun_overrides

GROUPS = ["data", "model", "activation", "optimizer", "schedule", "budget", "hardware", "measure", "tracking"]
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
PRESETS = [
    f"experiment={path.relative_to(CONF / 'experiment').with_suffix('')}"
    for path in sorted((CONF / "experiment").rglob("*.yaml"))
]
FEATURES = ("data=sparse_features", "model=autoencoder", "objective=squared_error")


def recorded(config: RunConfig) -> dict[str, Any]:
    """The configuration as a record has it."""
    values: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return values


def composed_again(line: str) -> RunConfig:
    """What Hydra makes of the line."""
    python, dash_m, module, *words = shlex.split(line)
    assert (python, dash_m, module, words[-1]) == ("python", "-m", "memcap.train", "force=true")
    return composed_config(*quote_arguments(words))


def the_same_run(config: RunConfig) -> None:
    again = composed_again(rerun_line(recorded(config)))
    assert run_id(again) == run_id(config)
    assert again.force
    for part in (
        "data",
        "model",
        "optimizer",
        "budget",
        "hardware",
        "measure",
        "tracking",
        "records",
        "study",
    ):
        assert getattr(again, part) == getattr(config, part)


def test_a_run_of_all_defaults_needs_no_override() -> None:
    assert rerun_overrides(recorded(composed_config())) == []


def test_options_are_named_and_derived_values_left_out() -> None:
    config = composed_config("optimizer=sgd", "model.width=8", "data.input_dim=7")
    assert rerun_overrides(recorded(config)) == ["data.input_dim=7", "model.width=8", "optimizer=sgd"]


@pytest.mark.parametrize("overrides", [(o,) for o in [*OPTIONS, *PRESETS]], ids=lambda texts: texts[0])
def test_every_option_and_preset(overrides: tuple[str, ...]) -> None:
    try:
        config = composed_config(*overrides)
    except BadInput:
        config = composed_config(*FEATURES, *overrides)
    the_same_run(config)


@pytest.mark.parametrize(
    "overrides",
    [
        ("activation=formula", "activation.formula='x*sin(3*x) + max(x,0)'"),
        ("study='-odd,name+'", "tracking.tags=[a,'b c','null','1']", 'tracking.notes="it is"'),
        (r"tracking.notes='a \'quoted\' \\ $x {y} # z'", "tracking.entity='true'"),
        ("optimizer.learning_rate=1e-300", "seed=9007199254740993", "optimizer.epsilon=1e-8"),
        ("model.output_dim=10", "data.batch_size=7", "optimizer.clip_norm=0.1"),
        ("hardware.threads=2", "hardware.dtype=float64", "records.weights=none", "measure=light"),
        ("budget=until_memorized", "budget.steps=5000", "budget.stop=plateau"),
    ],
)
def test_values_survive_yaml_shell_and_grammar(overrides: tuple[str, ...]) -> None:
    the_same_run(composed_config(*overrides))


NUMBERS = {int: st.integers(1, 10**6), float: st.floats(1e-6, 0.9), bool: st.booleans()}


@settings(max_examples=60)
@given(st.data())
def test_drawn_configurations(data: st.DataObject) -> None:
    """A few values of a drawn base are changed, as far as the schema takes them."""
    bases = [("optimizer=adamw", "schedule=wsd"), ("activation=sin",), FEATURES, ("model=linear",)]
    config = composed_config(*data.draw(st.sampled_from(bases)))
    known = [leaf for identity in ("counts", "ignored") for leaf in leaves(config, identity)]
    keys = [leaf for leaf in known if type(leaf.value) in NUMBERS and leaf.key not in ("force", "fail_fast")]
    for leaf in data.draw(st.lists(st.sampled_from(keys), max_size=4)):
        try:
            config = changed(config, leaf.key, data.draw(NUMBERS[type(leaf.value)]))
        except BadInput:
            continue
    the_same_run(config)


def test_a_part_of_ones_own_is_named_by_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from dataclasses import dataclass\n"
        "from memcap.config.fields import counts\n"
        "from memcap.config.schema import ModelConfig\n"
        "class Own:\n"
        "    @dataclass(frozen=True, kw_only=True)\n"
        "    class Config(ModelConfig):\n"
        "        kind = 'own'\n"
        "        neurons: int = counts(at_least=1)\n"
        "        def num_parameters(self, data): return 1\n"
        "        def activations_per_sample(self, data): return 1\n"
    )
    (tmp_path / "own_of_rerun.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    values = recorded(composed_config("allow_targets=[own_of_rerun]"))
    values["model"] = {
        "_target_": "own_of_rerun.Own", "neurons": 3, "initialization": "uniform", "initialization_scale": 2.0
    }  # fmt: skip
    the_same_run(RunConfig.from_dict(values))


def test_another_place_for_outputs_is_said() -> None:
    assert rerun_overrides(recorded(composed_config()), "/data/x y") == ["paths.outputs='/data/x y'"]


def test_a_record_without_todays_keys_is_completed(run_config: Callable[..., RunConfig]) -> None:
    config = run_config("model.width=9", "measure=light")
    values = recorded(config)
    del values["tracking"]["max_live"], values["measure"]["points"], values["records"], values["max_attempts"]
    assert recorded_config(values) == config
    assert completed(values, read_options(conf_folder()))["records"]["weights"] == "final"
    the_same_run(recorded_config(values))


@pytest.mark.parametrize(
    ("stated", "value", "equal"),
    [
        (1, 1.0, True), (1, True, False), ("1e-8", 1e-8, True), ("a", "a", True), (None, None, True),
        (None, 0, False), ("x", 1, False), ([], (), True), (False, False, True),
    ],
)  # fmt: skip
def test_what_is_the_same(stated: Any, value: Any, equal: bool) -> None:
    assert same(stated, value) == equal
