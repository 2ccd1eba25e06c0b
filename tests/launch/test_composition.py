"""Composing by copy equals composing by Hydra, whatever the overrides are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra_plugins.memcap.composition import CellComposer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from memcap.errors import BadInput

CONF = Path(__file__).resolve().parents[2] / "conf"
PRESETS = sorted(
    str(path.relative_to(CONF / "experiment").with_suffix(""))
    for path in (CONF / "experiment").rglob("*.yaml")
)


def composed_by_hydra(loader: Any, master: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """What Hydra's own launcher hands to a task: run_job deletes the hydra node before anything is resolved."""
    config = loader.load_sweep_config(master, list(overrides))
    HydraConfig.instance().set_config(config)
    with read_write(config), open_dict(config):
        del config["hydra"]
    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return values


@pytest.fixture
def composers(application: Callable[..., Any]) -> Callable[..., tuple[CellComposer, Callable[..., Any]]]:
    def build(*arguments: Any, master: Sequence[str] = ()) -> tuple[CellComposer, Callable[..., Any]]:
        app = application(*arguments)
        config = app.master(*master)
        loader = app.hydra.config_loader
        return CellComposer(loader, config), lambda *overrides: composed_by_hydra(loader, config, overrides)

    return build


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_composes_as_hydra_composes_it(preset: str, composers: Callable[..., Any]) -> None:
    composer, reference = composers()
    for overrides in (
        [],
        ["seed=7"],
        ["model=linear", "seed=7"],
        ["optimizer.learning_rate=1e-3", "model.bias=true"],
    ):
        cell = [f"experiment={preset}", *overrides]
        assert composer.compose(cell) == reference(*cell)


OVERRIDES = [
    *(
        "model=linear",
        "model=mlp",
        "activation=sin",
        "optimizer=sgd",
        "data=sparse_features",
        "experiment=linear",
    ),
    *("experiment=null", "seed=3", "seed=${model.width}", "seed=1e3", "study=a", "study=null", "study='a b'"),
    *(
        "study=w${seed}",
        "study='\\${x}'",
        "model.width=8",
        "model.width=null",
        "model.width=[1,2]",
        "model.width=x",
    ),
    *("optimizer.momentum=0.5", "optimizer.learning_rate=.1", "tracking.tags=[a,[b]]", "tracking.tags.0=c"),
    *(
        "+extra=1",
        "++extra=2",
        "+extra.deep=1",
        "extra=3",
        "++seed=5",
        "+model.extra={a:1}",
        "model.extra.a=2",
    ),
    *(
        "~model.width",
        "~seed",
        "paths={outputs:b}",
        "paths.outputs=c",
        "paths=3",
        "model={width:5}",
        "seed.x=1",
    ),
    *("activation.frequency=2.5", "study=${hydra:job.name}", "study=${hydra.job.name}", "study=", "seed=???"),
]


@pytest.fixture
def composer_and_reference(composers: Callable[..., Any]) -> Any:
    return composers()


# One composer for all examples: what it remembers of other cells must not matter.
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overrides=st.lists(st.sampled_from(OVERRIDES), max_size=5))
def test_any_overrides_in_any_order_compose_as_hydra_composes_them(
    overrides: list[str], composer_and_reference: Any
) -> None:
    composer, reference = composer_and_reference
    try:
        expected = reference(*overrides)
    except Exception:
        with pytest.raises((BadInput, ValueError)):
            composer.compose(overrides)
    else:
        assert composer.compose(overrides) == expected


def test_later_values_win_over_whole_nodes_and_the_other_way_round(composers: Callable[..., Any]) -> None:
    composer, reference = composers()
    for cell in itertools.permutations(["paths={outputs:a}", "paths.outputs=b", "++paths.outputs=c"]):
        assert composer.compose(cell) == reference(*cell)


def test_values_are_not_shared_between_cells(composers: Callable[..., Any]) -> None:
    composer, _ = composers()
    first = composer.compose(["tracking.tags=[a]"])
    first["tracking"]["tags"].append("b")
    first["model"]["width"] = 99
    second = composer.compose(["tracking.tags=[a]"])
    assert second["tracking"]["tags"] == ["a"]
    assert second["model"]["width"] == 16


def test_hydra_composes_once_for_each_choice_of_groups(composers: Callable[..., Any]) -> None:
    composer, _ = composers()
    loader = CountingLoader(composer.config_loader)
    composer = CellComposer(loader, composer.master_config)  # type: ignore[arg-type]
    cells = ([f"model={model}", f"seed={seed}"] for seed in range(200) for model in ("mlp", "linear"))
    seeds = [values["seed"] for values in composer.compose_all(cells)]
    assert seeds == [seed for seed in range(200) for _ in range(2)]
    assert loader.compositions == 2


class CountingLoader:
    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.compositions = 0

    def load_sweep_config(self, *arguments: Any) -> Any:
        self.compositions += 1
        return self.loader.load_sweep_config(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def test_cells_are_composed_one_at_a_time(composers: Callable[..., Any]) -> None:
    composer, _ = composers()
    endless = ([f"seed={seed}"] for seed in itertools.count())
    assert [values["seed"] for values in itertools.islice(composer.compose_all(endless), 3)] == [0, 1, 2]


def test_now_is_the_same_for_all_cells(composers: Callable[..., Any]) -> None:
    composer, _ = composers(master=["study=${now:%f}"])
    name = composer.master_config.study  # resolved, and so remembered, before the first cell
    assert [composer.compose(["study=${now:%f}", f"seed={seed}"])["study"] for seed in range(3)] == [name] * 3


@dataclasses.dataclass
class TypedModel:
    width: float = 1.0


def test_typed_nodes_convert_as_in_hydra(tmp_path: Path, composers: Callable[..., Any]) -> None:
    ConfigStore.instance().store(group="typed_model", name="schema", node=TypedModel)
    (tmp_path / "app.yaml").write_text("defaults: [{typed_model: schema}, _self_]\nseed: 0\n")
    composer, reference = composers(tmp_path, "app")
    values = composer.compose(["typed_model.width=3"])
    assert values == reference("typed_model.width=3")
    assert isinstance(values["typed_model"]["width"], float)
    with pytest.raises(BadInput, match=r"typed_model\.width=x: Value 'x'"):
        composer.compose(["typed_model.width=x"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=linear", "model.width=3"],
            "model.width is not a key of model=linear, but of mlp, autoencoder",
        ),
        (["model.widht=3"], r"model.widht is not a key of model=mlp \(did you mean model.width\?\)"),
        (
            ["model=mpl"],
            r"model has no option mpl \(did you mean model=mlp\?\); options: autoencoder, linear, mlp",
        ),
        (["seed=???"], r"seed has no value \(it is \?\?\?\); add seed=VALUE"),
        (["study=${nowhere}"], "study: Interpolation key 'nowhere' not found"),
        (["seed=1,2("], r"seed=1,2\( cannot be read"),
    ],
)
def test_a_mistake_is_one_line(overrides: list[str], message: str, composers: Callable[..., Any]) -> None:
    composer, _ = composers()
    with pytest.raises(BadInput, match=message) as error:
        composer.compose(overrides)
    assert "\n" not in str(error.value)


def test_choices_of_a_cell(composers: Callable[..., Any]) -> None:
    composer, _ = composers()
    choices = composer.choices(["experiment=linear", "seed=3"])
    assert (choices["experiment"], choices["model"]) == ("linear", "linear")
    assert composer.is_group("model")
    assert not composer.is_group("model.width")
    assert not composer.is_group("seed")
