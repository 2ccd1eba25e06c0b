"""Launchers that submit: cells of a memcap sweep in packed tasks, any other task as one job per override."""

# No "from __future__ import annotations" here: see launcher.py.

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.types import TaskFunction
from hydra_plugins.memcap.launcher import MemcapLauncher, _job_return
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from memcap.submission.options import LauncherOptions

OWN_SWEEPERS = (
    "MemcapSweeper",
    "BasicSweeper",
)  # they launch all cells at once and ask nothing of the values


@dataclass
class SlurmLauncherConf:
    """``options``: the keys of conf/launcher, which the command line sets as ``launcher.KEY=VALUE``."""

    _target_: str = "hydra_plugins.memcap.submitters.SlurmLauncher"
    options: Any = "${oc.select:launcher,null}"


@dataclass
class LocalLauncherConf:
    """``options``: the keys of conf/launcher, which the command line sets as ``launcher.KEY=VALUE``."""

    _target_: str = "hydra_plugins.memcap.submitters.LocalLauncher"
    options: Any = "${oc.select:launcher,null}"


def store_config() -> None:
    """Makes ``hydra/launcher=slurm`` and ``hydra/launcher=local`` options; importing this module does it."""
    store = ConfigStore.instance()
    for name, node in (("slurm", SlurmLauncherConf), ("local", LocalLauncherConf)):
        store.store(group="hydra/launcher", name=name, node=node, provider="memcap")


store_config()


class SubmittingLauncher(MemcapLauncher):
    """Checks and freezes all cells of a batch, packs those that are not finished into tasks, and submits them."""

    kind: ClassVar[str]

    def __init__(self, options: Any = None) -> None:
        super().__init__()
        values: Any = (
            OmegaConf.to_container(options, resolve=True) if OmegaConf.is_config(options) else options
        )
        self.values: dict[str, Any] = values or _defaults()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One JobReturn per override, in order; without ``launcher.wait`` a run that others train has no value yet."""
        from memcap.submission.options import LauncherOptions

        options = LauncherOptions.from_dict(self.values)
        submit_cells = getattr(self.task_function, "submit_cells", None)
        if submit_cells is None:
            return self._submit_jobs(job_overrides, initial_job_idx, options)
        self.check_sweeper(options)
        if self._prepared is None:
            self._prepared = self._compose(job_overrides)
        (cells, axes), self._prepared = self._prepared, None
        outcomes = submit_cells(cells, axes, self.kind, options)
        return [_job_return(*pair) for pair in zip(job_overrides, outcomes, strict=True)]

    def check_sweeper(self, options: "LauncherOptions") -> None:
        """Raises BadInput where a sweeper that goes by the values would get none."""
        from memcap.errors import BadInput

        assert self.config is not None
        sweeper = str(self.config.hydra.sweeper.get("_target_")).rpartition(".")[2]
        if not (options.wait or options.dry_run) and sweeper not in OWN_SWEEPERS:
            typed = self.config.hydra.runtime.choices.get("hydra/sweeper") or sweeper
            raise BadInput(
                f"launcher.wait=false gives hydra/sweeper={typed} no values to go by; use launcher.wait=true"
            )

    def _submit_jobs(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int, options: "LauncherOptions"
    ) -> Sequence[JobReturn]:
        """Any other task: a job per override, and their returns when all have ended."""
        assert self.config is not None
        assert self.hydra_context is not None
        setup_globals()
        sweep_dir = Path(str(self.config.hydra.sweep.dir))
        sweep_dir.mkdir(parents=True, exist_ok=True)
        jobs = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            lst = " ".join(filter_overrides(overrides))
            print(f"\t#{number} : {lst}")
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id, config.hydra.job.num = f"job_id_for_{number}", number
            jobs.append((config, self.hydra_context, self.task_function, Singleton.get_state()))
        executor = self._executor(sweep_dir / ".submitit", options)
        submitted = [executor.submit(_run_one, *job) for job in jobs]
        while self.kind == "local" and not all(job.done() for job in submitted):
            time.sleep(0.05)  # submitit itself looks once a second
        return [job.result() for job in submitted]

    @abstractmethod
    def _executor(self, folder: Path, options: "LauncherOptions") -> Any:
        """submitit's executor, for the jobs of another task."""


class SlurmLauncher(SubmittingLauncher):
    """``hydra/launcher=slurm``: tasks of arrays on a cluster, by submitit."""

    kind = "slurm"

    def _executor(self, folder: Path, options: "LauncherOptions") -> Any:
        import submitit

        from memcap.submission.slurm import check_slurm, parameters

        check_slurm()
        executor = submitit.SlurmExecutor(folder=folder, python=options.python)
        executor.update_parameters(**parameters(options, "hydra", 60))
        return executor


class LocalLauncher(SubmittingLauncher):
    """``hydra/launcher=local``: worker processes on this machine, by submitit."""

    kind = "local"

    def _executor(self, folder: Path, options: "LauncherOptions") -> Any:
        import submitit

        executor = submitit.LocalExecutor(folder=folder, python=options.python)
        executor.update_parameters(timeout_min=24 * 60)
        return executor


def _run_one(config: DictConfig, context: Any, task: TaskFunction, state: dict[Any, Any]) -> JobReturn:
    """One job of a task that knows nothing of memcap, in a process of its own; its failure is the job's."""
    Singleton.set_state(state)
    job = run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    if job.status is JobStatus.FAILED:
        _ = job.return_value  # raises it, so that the scheduler says FAILED too
    return job


def _defaults() -> dict[str, Any]:
    """The values of conf/launcher/default.yaml, for an application that has no such group."""
    from memcap.study.options import conf_folder

    loaded = OmegaConf.to_container(OmegaConf.load(conf_folder() / "launcher" / "default.yaml"))
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items()}
