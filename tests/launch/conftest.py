"""A Hydra application over conf/ whose task only writes down what it is called with."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra_plugins.memcap as plugin
import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, OmegaConf

from memcap.command_line import register_plugins

CONF = Path(__file__).resolve().parents[2] / "conf"


@dataclasses.dataclass
class RecordingTask:
    """A task function like memcap's: alone it gets a configuration, from memcap's launcher all cells at once."""

    configs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    batches: list[tuple[list[Any], list[str]]] = dataclasses.field(default_factory=list)
    outcomes: dict[int, SimpleNamespace] = dataclasses.field(default_factory=dict)  # by seed

    def __call__(self, config: DictConfig) -> float:
        values: Any = OmegaConf.to_container(config, resolve=True)
        self.configs.append(values)
        return float(values["seed"])

    def train_cells(self, cells: Sequence[Any], axes: Sequence[str]) -> list[SimpleNamespace]:
        self.batches.append((list(cells), list(axes)))
        seeds = [cell.config.seed for cell in cells]
        done = [SimpleNamespace(status="finished", value=float(seed), error=None) for seed in seeds]
        return [self.outcomes.get(seed, outcome) for seed, outcome in zip(seeds, done, strict=True)]

    @property
    def cells(self) -> list[Any]:
        (batch,) = self.batches
        return batch[0]

    @property
    def axes(self) -> list[str]:
        (batch,) = self.batches
        return batch[1]

    @property
    def overrides(self) -> list[tuple[str, ...]]:
        return [cell.overrides for cell in self.cells]


@dataclasses.dataclass
class Application:
    """What hydra.main does, for overrides in place of a command line."""

    hydra: Hydra
    config_name: str
    task: RecordingTask = dataclasses.field(default_factory=RecordingTask)

    def multirun(self, *overrides: str) -> list[Sequence[JobReturn]]:
        arguments = [*overrides, "hydra.mode=MULTIRUN"]
        returns: list[Sequence[JobReturn]] = self.hydra.multirun(
            self.config_name, self.task, arguments, with_log_configuration=False
        )
        return returns

    def master(self, *overrides: str) -> DictConfig:
        """The configuration that a sweeper starts from."""
        return self.hydra.compose_config(self.config_name, list(overrides), RunMode.MULTIRUN)


@pytest.fixture
def application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hydra_restore_singletons: None
) -> Iterator[Callable[..., Application]]:
    """Starts an application over conf/ (or another folder of configurations) in an empty directory."""
    monkeypatch.chdir(tmp_path)
    setbase("1.3")
    register_plugins()

    def start(folder: Path = CONF, config_name: str = "train") -> Application:
        GlobalHydra.instance().clear()
        return Application(
            Hydra.create_main_hydra2("train", create_config_search_path(str(folder))), config_name
        )

    yield start
    GlobalHydra.instance().clear()


@pytest.fixture
def app(application: Callable[..., Any]) -> Any:
    return application()


@pytest.fixture
def discoverable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the processes that Hydra's suite or a launcher starts, which do not go through memcap's entry point."""
    register_plugins()
    folder = str(Path(plugin.__path__[0]).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])))


@pytest.fixture
def no_version_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's suite expects the defaults of a process that named no version_base; memcap.train names one."""
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)
