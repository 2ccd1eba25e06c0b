"""Hydra inside of a program: composed and swept as on the command line, and afterwards as if nothing had been."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memcap.command_line import config_path, explain, quote_arguments, register_plugins
from memcap.config.cell import Cell
from memcap.environment import tracking_overrides
from memcap.errors import BadInput
from memcap.train import composed_cell, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra._internal.hydra import Hydra
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from memcap.outcome import CellOutcome


class SweepTask:
    """What Hydra calls: all cells at once with memcap's launcher, one configuration after another with any other."""

    def __init__(self, train_all: Callable[[Sequence[Cell], Sequence[str]], list[CellOutcome]]) -> None:
        self.train_cells = train_all

    def __call__(self, config: DictConfig) -> float | None:
        value: float | None = train.__wrapped__(config)
        return value


class HydraSession:
    """Composes with memcap's configurations, and ``config_dir``'s, from overrides as the command line has them.

    ``several``: what the message says where one run is asked for and a key has several values.
    """

    def __init__(
        self,
        config_dir: str | os.PathLike[str] | None = None,
        *,
        several: str = "memcap.sweep trains them all",
    ) -> None:
        self.config_dir, self.several = config_dir, several

    def cell(self, overrides: Sequence[str]) -> Cell:
        """The cell of one run; raises BadInput with one line."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        with self._hydra() as hydra:
            config = hydra.compose_config("train", self._arguments(overrides), RunMode.RUN)
            HydraConfig.instance().set_config(config)
            for name in ("zip", "cells"):
                if OmegaConf.select(config, name) is not None:
                    raise BadInput(f"{name}={config[name]} makes several runs; {self.several}")
            return composed_cell(
                OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            )

    def values(self, overrides: Sequence[str]) -> dict[str, Any]:
        """What is composed for one run, with the groups that no run reads, such as ``leaderboard``, as plain values."""
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        with self._hydra() as hydra:
            config = hydra.compose_config("train", self._arguments(overrides), RunMode.RUN)
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            values: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
        return values

    def sweep(self, overrides: Sequence[str], task: SweepTask) -> list[JobReturn]:
        """What Hydra's ``-m`` does with the task; raises BadInput before the first cell starts."""
        with self._hydra() as hydra:
            arguments = [*self._arguments(overrides), "hydra.mode=MULTIRUN"]
            (returns,) = hydra.multirun("train", task, arguments, with_log_configuration=False)
            return list(returns)

    def _arguments(self, overrides: Sequence[str]) -> list[str]:
        return quote_arguments(tracking_overrides(list(overrides), os.environ))

    @contextlib.contextmanager
    def _hydra(self) -> Iterator[Hydra]:
        """Hydra over conf/; its errors become one line."""
        from hydra._internal.hydra import Hydra
        from hydra._internal.utils import create_config_search_path
        from hydra.version import setbase

        message = ""
        with own_singletons():
            try:
                setbase("1.3")
                register_plugins()
                search_path = create_config_search_path(config_path())
                if self.config_dir is not None:
                    folder = Path(self.config_dir).absolute()
                    if not folder.is_dir():
                        raise BadInput(f"config_dir must be a folder, got {self.config_dir}")
                    search_path.prepend("command-line", f"file://{folder}", anchor="schema")
                yield Hydra.create_main_hydra2("train", search_path)
            except Exception as error:
                explained = explain(error)
                if explained is None:
                    raise
                message = str(explained).replace("add -m to train them all", self.several)
        if message:
            raise BadInput(message) from None  # without the frames of Hydra


@contextlib.contextmanager
def own_singletons() -> Iterator[None]:
    """Hydra's state of the process (which application runs, with what configuration) is another one meanwhile.

    So that this works inside of a Hydra application. Registries (of plugins, of configurations) are kept: to fill
    them takes long, and they belong to the process.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobRuntime
    from hydra.version import VersionBase

    of_application = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
    instances: dict[Any, Any] = Singleton._instances
    before = {cls: instances.pop(cls) for cls in of_application if cls in instances}
    try:
        yield
    finally:
        for cls in of_application:
            instances.pop(cls, None)
        instances.update(before)
