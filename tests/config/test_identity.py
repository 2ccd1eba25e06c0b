"""What a run's id depends on, and that the ids of everything in conf/ stay as they are.

The golden file is written anew by ``python tests/config/test_identity.py``. An id that moves means that no
finished run is found again, so do it only where the numbers moved as well, and say so in the changelog.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from memcap.config.fields import REQUIRED, counts
from memcap.config.identity import identity_payload, population_key, run_id
from memcap.config.run_config import RunConfig
from memcap.config.schema import COMPONENTS, LinearConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the golden file's command; pytest has it already
from compositions import CONF, changed, composed_config, composed_values, leaves

GOLDEN = Path(__file__).with_name("golden_ids.json")
GROUPS = (*COMPONENTS, "budget", "hardware", "measure", "tracking")
FEATURES = ("data=sparse_features", "objective=squared_error")
COMPANIONS = {"data=sparse_features": FEATURES[1:], "model=autoencoder": FEATURES}
VALUES = (
    "seed=1",
    "seed=9223372036854775807",
    "data.num_samples=1000",
    "data.batch_size=32",
    "model.width=8",
    "model.depth=3",
    "model.output_dim=4",
    "model.bias=true",
    "model.initialization_scale=0.1",
    "optimizer.learning_rate=0.003",
    "optimizer.learning_rate=1",
    "optimizer.clip_norm=1",
    "schedule.warmup_steps=100",
    "budget.steps=1e4",
    "budget.stop=either",
    "hardware.dtype=float64",
)


def golden_overrides() -> list[tuple[str, ...]]:
    """Every preset, every option of every group, and a handful of values."""
    options = [
        f"{group}={path.relative_to(CONF / group).with_suffix('')}"
        for group in ("experiment", *GROUPS)
        for path in sorted((CONF / group).rglob("*.yaml"))
    ]
    chosen = [(option, *COMPANIONS.get(option, ())) for option in options]
    return [(), *chosen, *((value,) for value in VALUES)]


def current_ids() -> dict[str, str]:
    return {" ".join(overrides): run_id(composed_config(*overrides)) for overrides in golden_overrides()}


def another(value: Any, field: dataclasses.Field[Any]) -> Any:
    """A different value that the field accepts."""
    if field.name == "formula":
        return "x**3"
    if field.name == "stop":
        return "plateau"  # the one that every data set allows
    if field.metadata["choices"]:
        return next(choice for choice in field.metadata["choices"] if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return [*value, "more"]
    if isinstance(value, str):
        return value + "x"
    if value is None:
        return 3
    if isinstance(value, int):
        return value + 1
    return value / 2 if value else 0.25


BASES = {
    "mlp": ("activation=sin", "schedule=wsd", "data.batch_size=7"),
    "formula": ("activation=formula", "optimizer=sgd", "schedule=cosine", "objective=squared_error"),
    "linear": ("model=linear", "optimizer=adamw"),
    "autoencoder": (
        "data=sparse_features",
        "data.batch_size=3",
        "model=autoencoder",
        "objective=squared_error",
    ),
}


def keys(identity: str) -> list[tuple[str, str]]:
    return [(base, leaf.key) for base, o in BASES.items() for leaf in leaves(composed_config(*o), identity)]


def other_value(base: str, key: str, identity: str) -> tuple[RunConfig, RunConfig]:
    """A configuration, and the same with another value of one key."""
    config = composed_config(*BASES[base])
    leaf = next(leaf for leaf in leaves(config, identity) if leaf.key == key)
    return config, changed(config, key, another(leaf.value, leaf.field))


@pytest.mark.parametrize(("base", "key"), keys("counts"))
def test_another_value_of_what_counts_is_another_id(base: str, key: str) -> None:
    config, other = other_value(base, key, "counts")
    inert = {key, key.partition(".")[0]} & set(config.inert_keys())
    assert (run_id(other) == run_id(config)) == bool(inert)


@pytest.mark.parametrize(
    ("without", "within", "key"),
    [
        ((), ("model.depth=2",), "model.residual"),
        ((), ("budget.stop=memorized",), "budget.loss_tolerance"),
        (("budget.stop=memorized",), ("budget.stop=plateau",), "budget.plateau_checks"),
        (("budget.stop=plateau",), ("budget.stop=either",), "budget.loss_tolerance"),
        (("objective=squared_error",), BASES["autoencoder"], "objective.use_importance"),
        ((*BASES["autoencoder"], "data.num_samples=9"), BASES["autoencoder"], "data.evaluation_samples"),
        (("model=linear", "activation=sin"), ("activation=sin",), "activation.frequency"),
    ],
)
def test_a_key_counts_where_something_reads_it(
    without: tuple[str, ...], within: tuple[str, ...], key: str
) -> None:
    for overrides, is_read in ((without, False), (within, True)):
        config = composed_config(*overrides)
        leaf = next(leaf for leaf in leaves(config, "counts") if leaf.key == key)
        other = changed(config, key, another(leaf.value, leaf.field))
        assert (run_id(other) != run_id(config)) == is_read


@pytest.mark.parametrize(("base", "key"), keys("ignored"))
def test_another_value_of_what_is_ignored_is_the_same_id(base: str, key: str) -> None:
    config, other = other_value(base, key, "ignored")
    assert other != config
    assert run_id(other) == run_id(config)


def test_the_walk_over_values_sees_all_of_them() -> None:
    config = composed_config()
    seen = {leaf.key for identity in ("counts", "ignored") for leaf in leaves(config, identity)}
    plain = config.to_dict()
    groups = {
        f"{g}.{k}" for g, inner in plain.items() if isinstance(inner, dict) for k in inner if k != "kind"
    }
    assert seen == groups | {k for k, inner in plain.items() if not isinstance(inner, dict)}
    assert {"seed", "model.width", "tracking.mode", "force", "hardware.threads", "hardware.dtype"} <= seen


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (("optimizer.learning_rate=1",), ("optimizer.learning_rate=1.0",)),
        (("budget.steps=1e4",), ("budget.steps=10000",)),
        (("optimizer.weight_decay=-0.0",), ("optimizer.weight_decay=0",)),
        (("optimizer.learning_rate=1e-2",), ("optimizer.learning_rate=0.01",)),
        (("model.output_dim=null",), ("model.output_dim=10",)),
        (("data.input_dim=7",), ("data.input_dim=7", "model.output_dim=7")),
        (
            ("activation=formula", "activation.formula='x*sin(3*x)'"),
            ("activation=formula", "activation.formula=' x * sin( 3.0*x )'"),
        ),
        (("model=linear",), ("model=linear", "activation=tanh")),
        (("model=linear",), ("model=linear", "activation=formula")),
        ((), ("budget=fixed", "hardware=cuda", "measure=light", "tracking=disabled")),
        ((), ("study=a", "force=true", "paths.outputs=elsewhere", "records.weights=none")),
    ],
)
def test_two_spellings_of_one_run(one: tuple[str, ...], same: tuple[str, ...]) -> None:
    assert run_id(composed_config(*one)) == run_id(composed_config(*same))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("activation=relu",), ("activation=tanh",)),
        (("optimizer=adam", "optimizer.weight_decay=0.01"), ("optimizer=adamw",)),
        (("model.output_dim=null", "data.input_dim=7"), ("model.output_dim=10", "data.input_dim=7")),
        (("data.batch_size=null",), ("data.batch_size=300",)),
        (("model.bias=true",), ("model.bias=false",)),
        (("hardware.dtype=float32",), ("hardware.dtype=float64",)),
        (("seed=9007199254740992",), ("seed=9007199254740993",)),  # no float stands between them
    ],
)
def test_two_runs(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert run_id(composed_config(*one)) != run_id(composed_config(*other))


def test_an_id_is_twelve_hex_digits_of_plain_values() -> None:
    config = composed_config()
    assert re.fullmatch(r"[0-9a-f]{12}", run_id(config))
    payload = identity_payload(config)
    assert json.loads(json.dumps(payload)) == payload
    assert payload["model"] | {"kind": "mlp", "version": 1} == payload["model"]
    assert payload["hardware"] == {"dtype": "float32"}
    assert not {"study", "paths", "tracking", "measure", "_target_"} & set(str(payload).split("'"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearWithGain(LinearConfig):
    """A linear model to which a later version added a field."""

    gain: float = counts(absent_value=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearWithNeed(LinearConfig):
    need: float = counts()


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewerLinear(LinearConfig):
    version = 2


def with_model(config: RunConfig, schema: Any, **more: Any) -> RunConfig:
    values = {f.name: getattr(config.model, f.name) for f in dataclasses.fields(config.model)}
    return dataclasses.replace(config, model=schema(**values, **more))


def test_a_field_added_later_leaves_old_ids() -> None:
    config = composed_config("model=linear")
    old = run_id(config)
    assert run_id(with_model(config, LinearWithGain, gain=1.0)) == old
    assert run_id(with_model(config, LinearWithGain, gain=2.0)) != old
    assert run_id(with_model(config, LinearWithNeed, need=1.0)) != old
    metadata = {f.name: f.metadata for f in dataclasses.fields(LinearWithNeed)}
    assert metadata["need"]["absent_value"] is REQUIRED


def test_a_new_version_of_a_component_is_another_run() -> None:
    config = composed_config("model=linear")
    assert run_id(with_model(config, NewerLinear)) != run_id(config)


def test_the_import_path_of_a_target_is_not_in_the_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import dataclasses\nfrom memcap.config.fields import counts\n"
        "from memcap.config.schema import ActivationConfig\nclass Bent:\n"
        "    @dataclasses.dataclass(frozen=True, kw_only=True)\n    class Config(ActivationConfig):\n"
        "        kind = 'bent'\n        angle: float = counts()\n"
    )
    ids, keys = [], []
    for name in ("moved_here", "moved_there"):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        values = composed_values(f"allow_targets=[{name}]")
        values["activation"] = {"_target_": f"{name}.Bent", "angle": 1}
        config = RunConfig.from_dict(values)
        assert config.activation._target_ == f"{name}.Bent"
        ids.append(run_id(config))
        keys.append(population_key(config))
        assert run_id(changed(config, "activation.angle", 2)) != ids[-1]
    assert ids[0] == ids[1]
    assert keys[0] != keys[1]  # but code from two places does not train together
    assert ids[0] != run_id(composed_config())


def test_the_golden_ids_stand() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert current_ids() == golden, "ids moved or are new; see the first lines of this file"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(current_ids(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {len(current_ids())} ids to {GOLDEN}")
