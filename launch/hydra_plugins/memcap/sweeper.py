"""The sweeper: products, lists in step and tables of cells, all checked before the first one starts."""

# No "from __future__ import annotations" here: see launcher.py.

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from hydra_plugins.memcap.axes import Axis
    from hydra_plugins.memcap.composition import CellComposer

    from memcap.config.cell import Cell


@dataclass
class MemcapSweeperConf:
    """``params``: the sweep of a preset, ``{key: values}`` as on the command line (``model.width: 8,16,32``)."""

    _target_: str = "hydra_plugins.memcap.sweeper.MemcapSweeper"
    params: dict[str, Any] | None = None


def store_config() -> None:
    """Makes ``hydra/sweeper=memcap`` an option; importing this module does it."""
    store = ConfigStore.instance()
    store.store(group="hydra/sweeper", name="memcap", node=MemcapSweeperConf, provider="memcap")


store_config()


class MemcapSweeper(Sweeper):
    """Expands the arguments of ``-m`` into cells and launches them in one batch.

    Lists, ``choice()``, ``range()`` and ``glob()`` make a product, the last axis fastest, as in Hydra's basic
    sweeper. ``zip='a,b;c,d'`` lets axes advance together; ``cells=FILE.csv`` is an axis whose steps are the rows.
    With any launcher, every cell of a memcap task is composed and checked before the first one starts.
    """

    def __init__(self, params: "DictConfig | dict[str, Any] | None" = None) -> None:
        super().__init__()
        self.params = params or {}
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launches all cells; returns their JobReturns in order, as the one batch they are.

        Raises BadInput before anything starts. A cell that fails is data where memcap's launcher packs; other
        launchers get Hydra's behaviour: the first failure is raised when all jobs are done.
        """
        from hydra_plugins.memcap.composition import CellComposer
        from hydra_plugins.memcap.launcher import MemcapLauncher

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        axes = self._axes(arguments)
        steps = list(product(*(axis.steps for axis in axes)))
        batch = [[text for step in cell for text in step] for cell in steps]
        composer = CellComposer(self.hydra_context.config_loader, self.config)
        packs = isinstance(self.launcher, MemcapLauncher) and hasattr(self.task_function, "train_cells")
        if hasattr(self.task_function, "train_cells"):
            own = [
                [t for step, axis in zip(cell, axes, strict=True) if axis.swept for t in step]
                for cell in steps
            ]
            cells, keys = self._check(composer, axes, batch, own)
            if isinstance(self.launcher, MemcapLauncher):
                self.launcher.prepare(cells, keys)
        else:
            for _ in composer.compose_all(batch):  # as Hydra's validate_batch_is_legal
                pass
        returns = self.launcher.launch(batch, initial_job_idx=0)
        for job in () if packs else returns:
            _ = job.return_value  # raises the failure of a job
        return [returns]

    def _axes(self, arguments: list[str]) -> "list[Axis]":
        from hydra_plugins.memcap.axes import read_axes

        assert self.hydra_context is not None
        assert self.config is not None
        params = {str(key): value for key, value in self.params.items()}
        config = self.config
        # From the composed configuration, where a preset may have set them too.
        zip_keys, table = (str(OmegaConf.select(config, key) or "") for key in ("zip", "cells"))
        return read_axes(arguments, params, self.hydra_context.config_loader, zip_keys=zip_keys, table=table)

    def _check(
        self, composer: "CellComposer", axes: "list[Axis]", batch: list[list[str]], own: list[list[str]]
    ) -> "tuple[list[Cell], list[str]]":
        """All cells, checked, and the swept keys; adds the study's name to ``batch`` where ``study`` is null.

        With the name among its overrides, every launcher's jobs agree on the study.
        """
        from hydra_plugins.memcap.launcher import with_study

        from memcap.config.cell import Cell
        from memcap.errors import BadInput

        cells = []
        for number, (overrides, swept) in enumerate(zip(batch, own, strict=True), start=1):
            try:
                values = composer.compose(overrides)
            except BadInput as error:
                if len(batch) == 1:
                    raise
                raise BadInput(f'{error} (cell {number}: "{" ".join(swept)}")') from None
            cells.append(Cell.from_values(values, swept, number if len(batch) > 1 else None))
        self._check_choices(composer, axes)
        keys = [key.lstrip("+") for axis in axes if axis.swept for key in axis.keys]
        fixed = [text for axis in axes if not axis.swept for text in axis.steps[0]]
        named = with_study(cells, keys, batch, composer, fixed)
        for overrides, before, after in zip(batch, cells, named, strict=True):
            if before.config.study is None and after.config.study is not None:
                overrides.append(f"study={after.config.study}")
        return named, keys

    def _check_choices(self, composer: "CellComposer", axes: "list[Axis]") -> None:
        """What composing a cell cannot notice: a preset whose own sweep is lost, a column that no row fills."""
        from memcap.errors import BadInput, nearest

        for choice in composer.foreign_sweeps():
            raise BadInput(
                f"{choice} brings a sweep of its own (hydra.sweeper.params), which would be lost in this one; run"
                " such presets one by one"
            )
        for choice in composer.foreign_launchers():
            raise BadInput(
                f"{choice} brings a launcher of its own, which would be lost in this sweep; run such presets one by one"
            )
        known = composer.known_keys()
        for axis in axes:
            for key in axis.keys:
                bare = key.lstrip("+~").partition("@")[0]
                if len(axis.keys) > 1 and key == bare and bare not in known and not composer.is_group(bare):
                    raise BadInput(f"{key}, a column of the table, is not a key{nearest(key, known)}")
