"""The schema against itself and against conf/: every value stands in YAML, every constraint in a dataclass."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from memcap.config.fields import counts, schema_fields
from memcap.config.implementation import implementation
from memcap.config.run_config import PARTS, RunConfig, TopLevel
from memcap.config.schema import BASE_CLASSES, COMPONENTS, Component

CONF = Path(__file__).parents[2] / "conf"
GROUPS = (*COMPONENTS, "budget", "hardware", "measure", "tracking")
# But for those that only choose others (hardware=slurm_cpu: a launcher, and hardware=cpu).
OPTIONS = [
    path
    for group in GROUPS
    for path in sorted((CONF / group).glob("*.yaml"))
    if not path.read_text().startswith("# @package _global_")
]
# Keys of train.yaml that Hydra or the sweeper reads, not the schema.
NOT_OF_A_RUN = {"defaults", "hydra", "zip", "cells", "size", "sizes"}
# Keys whose name says it all.
SELF_EXPLANATORY = {"kind"}

# What cannot change the numbers; everything else counts. A key moves here only for a reason.
IGNORED = {
    "study",
    "force",
    "fail_fast",
    "max_attempts",
    "allow_targets",
    "hardware.device",
    "hardware.engine",
    "hardware.threads",
    "hardware.memory_gib",
    "hardware.max_members",
    "measure",
    "tracking",
    "paths",
    "records",
    "checkpoint",
    "compare",
}


def schemas() -> list[Any]:
    """Every dataclass of the schema: the run, its parts, all components and their bases."""
    components = [schema for kinds in COMPONENTS.values() for schema in kinds.values()]
    return [RunConfig, TopLevel, Component, *BASE_CLASSES.values(), *PARTS.values(), *components]


def undeclared(schema: Any) -> list[str]:
    return [
        f.name for f in dataclasses.fields(schema) if f.metadata.get("identity") not in ("counts", "ignored")
    ]


def subclasses(schema: type) -> Iterator[type]:
    for subclass in schema.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def options(path: Path) -> dict[str, Any]:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def schema_of(path: Path) -> Any:
    group = path.parent.name
    return COMPONENTS[group][options(path)["kind"]] if group in COMPONENTS else PARTS[group]


def keys(schema: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(schema)} - {"_target_"}


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("schema", schemas(), ids=lambda schema: schema.__name__)
def test_every_field_declares_its_identity(schema: Any) -> None:
    assert undeclared(schema) == []


def test_a_forgotten_declaration_is_found() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Forgetful:
        remembered: int = counts()
        forgotten: int

    assert undeclared(Forgetful) == ["forgotten"]


def test_no_dataclass_of_the_package_is_left_out() -> None:
    defined = {c for c in subclasses(Component) if c.__module__.startswith("memcap.")}
    assert defined <= set(schemas())
    parts = {f.name for f, hint in schema_fields(RunConfig) if dataclasses.is_dataclass(hint)}
    assert parts == {*COMPONENTS, *PARTS}


def test_what_is_ignored_is_written_down() -> None:
    ignored = {f.name for f in dataclasses.fields(RunConfig) if f.metadata["identity"] == "ignored"}
    groups = [(group, schema) for group, kinds in COMPONENTS.items() for schema in kinds.values()]
    groups += [(name, schema) for name, schema in PARTS.items() if name not in ignored]
    for group, schema in groups:
        for field in dataclasses.fields(schema):
            if field.metadata["identity"] == "ignored" and field.name != "_target_":
                ignored.add(f"{group}.{field.name}")
    assert ignored == IGNORED


@pytest.mark.parametrize("schema", schemas(), ids=lambda schema: schema.__name__)
def test_a_dataclass_holds_no_values(schema: Any) -> None:
    missing = dataclasses.MISSING
    with_default = {
        f.name
        for f in dataclasses.fields(schema)
        if f.default is not missing or f.default_factory is not missing
    }
    assert with_default <= {"_target_"}


@pytest.mark.parametrize("path", OPTIONS, ids=label)
def test_keys_of_an_option_are_those_of_its_schema(path: Path) -> None:
    assert set(options(path)) - {"kind"} == keys(schema_of(path))


def test_every_kind_has_an_option_and_every_group_a_folder() -> None:
    for group, kinds in COMPONENTS.items():
        assert {options(path)["kind"] for path in OPTIONS if path.parent.name == group} == set(kinds)
        assert all(kind == schema.kind for kind, schema in kinds.items())
    folders = {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*GROUPS, "experiment", "size", "hydra", "launcher", "leaderboard"}


def test_keys_outside_groups_are_those_of_the_schema() -> None:
    values = options(CONF / "train.yaml")
    assert set(values) - NOT_OF_A_RUN == keys(TopLevel) | {"paths", "records", "checkpoint", "compare"}
    assert set(values["paths"]) == keys(PARTS["paths"])
    assert set(values["records"]) == keys(PARTS["records"])
    assert set(values["checkpoint"]) == keys(PARTS["checkpoint"])
    assert set(values["compare"]) == keys(PARTS["compare"])


def uncommented(path: Path) -> list[str]:
    """Keys with a value on a line without a comment, where the first line does not speak of them either."""
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines:
        match = re.match(r"\s*(\w+):\s*[^\s#]", line)
        if match and not re.search(r"\s#\s+\S", line):
            spoken_of = match[1].replace("_", " ") in first.lower()
            if match[1] not in SELF_EXPLANATORY and not spoken_of:
                found.append(match[1])
    return found


@pytest.mark.parametrize("path", OPTIONS, ids=label)
def test_every_value_has_a_comment_of_one_line(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert uncommented(path) == []


def test_values_outside_groups_have_comments(tmp_path: Path) -> None:
    text = (CONF / "train.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"  # without the part that Hydra reads
    own.write_text("# own\n" + text[text.index("seed:") : text.index("hydra:\n")], encoding="utf-8")
    assert {"seed", "outputs", "weights_up_to"} <= set(re.findall(r"(\w+):", own.read_text(encoding="utf-8")))
    assert uncommented(own) == []


def test_a_missing_comment_is_found(tmp_path: Path) -> None:
    path = tmp_path / "option.yaml"
    path.write_text("# Speaks of the decay rate\nkind: a\ndecay_rate: 1\nbare: 2\ncommented: 3 # why\n")
    assert uncommented(path) == ["bare"]


@pytest.mark.parametrize("path", sorted((CONF / "experiment").rglob("*.yaml")), ids=label)
def test_presets_say_what_they_are(path: Path) -> None:
    package, title = path.read_text(encoding="utf-8").splitlines()[:2]
    assert package == "# @package _global_"
    assert title.startswith("# ")


@pytest.mark.parametrize(
    ("group", "kind"),
    [(g, k) for g in ("data", "model", "objective") for k in COMPONENTS[g]],
)
def test_every_kind_names_a_class_that_exists(group: str, kind: str) -> None:
    schema = COMPONENTS[group][kind]
    found = implementation(schema)
    assert f"{found.__module__}:{found.__qualname__}" == schema.implementation
