"""The launcher: cells of a memcap sweep train together, any other task runs one job per override."""

# No "from __future__ import annotations" here: Hydra executes plugin modules before it enters them in
# sys.modules, where dataclasses look up annotations that are text.

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from hydra_plugins.memcap.composition import CellComposer

    from memcap.config.cell import Cell


@dataclass
class MemcapLauncherConf:
    """No options: how cells are packed is a matter of ``hardware``."""

    _target_: str = "hydra_plugins.memcap.launcher.MemcapLauncher"


def store_config() -> None:
    """Makes ``hydra/launcher=memcap`` an option; importing this module does it."""
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name="memcap", node=MemcapLauncherConf, provider="memcap")


store_config()


class MemcapLauncher(Launcher):
    """Hands all cells of a batch to the task's ``train_cells`` at once, in this process.

    ``train_cells(cells, axes)`` returns one outcome per cell, in order, with ``status`` (finished, diverged,
    skipped, failed or interrupted), ``value`` and ``error``. A task function without that attribute is launched
    as Hydra's basic launcher does it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None
        self._prepared: tuple[list[Cell], list[str]] | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def prepare(self, cells: "list[Cell]", axes: list[str]) -> None:
        """Takes the checked cells of the next batch from memcap's sweeper, so that they are not composed again."""
        self._prepared = (cells, axes)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One JobReturn per override, in order: COMPLETED with the value, or FAILED with the error."""
        train_cells = getattr(self.task_function, "train_cells", None)
        if train_cells is None:
            return self._launch_jobs(job_overrides, initial_job_idx)
        from memcap.command_line import check_launcher_options

        assert self.config is not None
        hydra = self.config.hydra
        check_launcher_options(hydra.runtime.choices.get("hydra/launcher"), hydra.overrides.task)
        if self._prepared is None:
            self._prepared = self._compose(job_overrides)
        (cells, axes), self._prepared = self._prepared, None
        assert len(cells) == len(job_overrides)
        outcomes = train_cells(cells, axes)
        return [_job_return(*pair) for pair in zip(job_overrides, outcomes, strict=True)]

    def _launch_jobs(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher

        basic = BasicLauncher()
        assert self.hydra_context is not None
        assert self.task_function is not None
        assert self.config is not None
        basic.setup(hydra_context=self.hydra_context, task_function=self.task_function, config=self.config)
        return basic.launch(job_overrides, initial_job_idx)

    def _compose(self, job_overrides: Sequence[Sequence[str]]) -> "tuple[list[Cell], list[str]]":
        """The cells of a sweeper that knows nothing of cells, and the keys that it sets."""
        from hydra_plugins.memcap.composition import CellComposer

        from memcap.config.cell import Cell
        from memcap.errors import BadInput

        assert self.hydra_context is not None
        assert self.config is not None
        composer = CellComposer(self.hydra_context.config_loader, self.config)
        fixed = _fixed(self.config)
        cells = []
        for number, overrides in enumerate(job_overrides, start=1):
            values = composer.compose(overrides)
            for name in ("zip", "cells"):
                if values.get(name) is not None:
                    raise BadInput(
                        f"{name}={values[name]} needs hydra/sweeper=memcap; other sweepers ignore it"
                    )
            own = [text for text in overrides if text not in fixed]
            cells.append(Cell.from_values(values, own, number if len(job_overrides) > 1 else None))
        axes = sorted({composer.parse(text).key for cell in cells for text in cell.overrides})
        return with_study(cells, axes, job_overrides, composer, fixed), axes


def with_study(
    cells: "list[Cell]",
    axes: list[str],
    job_overrides: Sequence[Sequence[str]],
    composer: "CellComposer",
    fixed: Iterable[str],
) -> "list[Cell]":
    """The cells, with the study's default name where ``study`` is null; the first cell decides on it."""
    from memcap.config.identity import study_name

    if not cells or cells[0].config.study is not None:
        return cells
    preset = None if "experiment" in axes else composer.choices(job_overrides[0]).get("experiment")
    name = study_name(cells[0].config, preset, axes, fixed)
    return [
        replace(cell, config=replace(cell.config, study=name)) if cell.config.study is None else cell
        for cell in cells
    ]


def _fixed(config: DictConfig) -> set[str]:
    """What the command line sets to one value, as the sweepers write it for every cell."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    fixed = [override for override in parsed if not override.is_sweep_override()]
    texts = {f"{override.get_key_element()}={override.get_value_element_as_str()}" for override in fixed}
    return texts | {override.input_line or "" for override in fixed}


def _job_return(overrides: Sequence[str], outcome: Any) -> JobReturn:
    from memcap.command_line import RunFailed

    # cfg stays None: a DictConfig costs 38 KB, times the cells of a sweep, and the run folder has it.
    result = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
    if outcome.status in ("finished", "diverged", "skipped", "submitted", "planned"):
        result.return_value = outcome.value
    else:
        result.status = JobStatus.FAILED
        result.return_value = RunFailed(outcome.error or outcome.status)
    return result
