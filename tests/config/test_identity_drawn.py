"""Identity over drawn configurations: every component, every field from its own type and constraints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import hypothesis
from compositions import changed, leaves
from hypothesis import given
from hypothesis import strategies as st

from memcap.config.fields import schema_fields
from memcap.config.identity import run_id
from memcap.config.run_config import PARTS, RunConfig
from memcap.config.schema import CLASSES, COMPONENTS
from memcap.errors import BadInput


def value_of(field: dataclasses.Field[Any], hint: Any) -> st.SearchStrategy[Any]:
    bounds, text = field.metadata["bounds"], str(hint)
    if field.name == "formula":
        return st.sampled_from(["x", "x*sin(3*x)", "max(x, 0.1*x)", "x ** 2"])
    if field.metadata["choices"]:
        strategy: st.SearchStrategy[Any] = st.sampled_from(field.metadata["choices"])
    elif "bool" in text:
        strategy = st.booleans()
    elif "tuple" in text:
        strategy = st.lists(st.text(max_size=5), max_size=3)
    elif "str" in text:
        strategy = st.text(max_size=10)
    elif "int" in text:
        strategy = st.integers(bounds.get("at_least", 0), min(bounds.get("at_most", 2**40), 2**63 - 1))
    else:
        low, high = bounds.get("above", bounds.get("at_least")), bounds.get("below", bounds.get("at_most"))
        strategy = st.floats(
            low,
            high,
            exclude_min="above" in bounds,
            exclude_max="below" in bounds,
            allow_nan=False,
            allow_infinity=False,
        )
    return st.none() | strategy if "None" in text else strategy


@st.composite
def configurations(draw: st.DrawFn) -> RunConfig:
    kinds = {group: draw(st.sampled_from(sorted(known))) for group, known in COMPONENTS.items()}
    # What parts ask of each other is met here, so that few draws are thrown away.
    if kinds["model"] == "autoencoder":
        kinds["data"] = "sparse_features"
    if COMPONENTS["data"][kinds["data"]].targets != CLASSES:
        kinds["objective"] = "squared_error"
    schemas: dict[str, Any] = dict(PARTS) | {group: COMPONENTS[group][kind] for group, kind in kinds.items()}
    values: dict[str, Any] = {group: {"kind": kind} for group, kind in kinds.items()}
    for group, schema in schemas.items():
        fields = [(f, hint) for f, hint in schema_fields(schema) if f.name != "_target_"]
        values.setdefault(group, {}).update({f.name: draw(value_of(f, hint)) for f, hint in fields})
    data, schedule, hardware, measure = (values[g] for g in ("data", "schedule", "hardware", "measure"))
    if data["num_samples"] is None:
        data["batch_size"] = data["batch_size"] or 1
    elif data["batch_size"] is not None:
        data["batch_size"] = min(data["batch_size"], data["num_samples"])
    schedule["warmup_steps"] %= values["budget"]["steps"] + 1
    measure["num_eigenvalues"] = min(measure["num_eigenvalues"], measure["lanczos_iterations"])
    if schemas["data"].targets != CLASSES:
        values["budget"]["stop"] = draw(st.sampled_from(["none", "plateau"]))
    if hardware["dtype"] == "float64" or hardware["device"] == "mps":
        hardware["autocast"] = "none"
    if schemas["optimizer"].searches:
        data["num_samples"], data["batch_size"] = data["num_samples"] or 1, None
        values["schedule"] = {"kind": "constant", "warmup_steps": 0}
        values["optimizer"]["clip_norm"] = None
        hardware["autocast"] = "none"
    for field, hint in schema_fields(RunConfig):
        if field.name not in values:
            values[field.name] = draw(value_of(field, hint))
    return checked(lambda: RunConfig.from_dict(values))


def checked(build: Callable[[], RunConfig]) -> RunConfig:
    """What is built, or a draw that does not count where parts do not fit each other."""
    try:
        return build()
    except BadInput:
        hypothesis.reject()


@given(config=configurations())
def test_a_configuration_is_its_dict(config: RunConfig) -> None:
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert run_id(again) == run_id(config)


@given(config=configurations(), data=st.data())
def test_distinct_values_are_distinct_ids(config: RunConfig, data: st.DataObject) -> None:
    leaf = data.draw(st.sampled_from(list(leaves(config, "counts"))))
    value = data.draw(value_of(leaf.field, leaf.hint))
    other = checked(lambda: changed(config, leaf.key, value))
    unused = bool({leaf.key, leaf.key.partition(".")[0]} & set(config.inert_keys()))
    assert (run_id(other) == run_id(config)) == (other == config or unused)
