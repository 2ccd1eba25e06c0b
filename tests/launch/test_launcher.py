"""The launcher: Hydra's own suite for ordinary tasks, one call for the cells of a memcap task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra_plugins.memcap.launcher import MemcapLauncher

from memcap.command_line import RunFailed
from memcap.errors import BadInput

# Hydra's suite runs without a version_base.
pytestmark = [
    pytest.mark.usefixtures("discoverable"),
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory"),
]


def test_hydra_discovers_the_launcher() -> None:
    names = [launcher.__name__ for launcher in Plugins.instance().discover(Launcher)]
    assert MemcapLauncher.__name__ in names


@pytest.mark.usefixtures("no_version_base")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("memcap", [])])
class TestOrdinaryTask(LauncherTestSuite):
    """Hydra's suite, whose task functions know nothing of cells."""


@pytest.mark.usefixtures("no_version_base")
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=memcap", "hydra.job.chdir=true"])]
)
class TestOrdinaryApplication(IntegrationTestSuite):
    """Hydra's suite of small applications, each in a process of its own."""


@pytest.fixture
def app(application: Callable[..., Any]) -> Any:
    return application()


def test_all_cells_go_into_one_call_and_values_come_back_in_order(app: Any) -> None:
    (returns,) = app.multirun("seed=3,1,2")
    assert len(app.task.batches) == 1
    assert [job.return_value for job in returns] == [3.0, 1.0, 2.0]
    assert [next(iter(job.overrides)) for job in returns] == ["seed=3", "seed=1", "seed=2"]
    assert app.task.configs == []
    assert list(Path.cwd().iterdir()) == []  # no folder of Hydra's


@pytest.mark.parametrize("option", ["launcher.wait=false", "launcher=slurm_cpu", "+launcher.partitoin=x"])
def test_an_option_that_this_launcher_does_not_read_is_refused(app: Any, option: str) -> None:
    with pytest.raises(BadInput) as caught:
        app.multirun("seed=3,1", option)
    assert str(caught.value).startswith(
        f"{option} is read by hydra/launcher=local and hydra/launcher=slurm only"
    )
    assert app.task.batches == []


def test_a_failed_cell_does_not_cost_the_others_their_values(app: Any) -> None:
    app.task.outcomes = {
        0: SimpleNamespace(status="failed", value=None, error="boom"),
        1: SimpleNamespace(status="diverged", value=0.0, error=None),
        2: SimpleNamespace(status="skipped", value=7.0, error=None),
        3: SimpleNamespace(status="interrupted", value=None, error=None),
    }
    (returns,) = app.multirun("seed=range(5)")
    done = [JobStatus.FAILED, JobStatus.COMPLETED, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED]
    assert [job.status for job in returns] == done
    assert [job.return_value for job in returns if job.status is JobStatus.COMPLETED] == [0.0, 7.0, 4.0]
    with pytest.raises(RunFailed, match="boom"):
        _ = returns[0].return_value


def test_a_stock_sweeper_trains_together_under_one_study(app: Any) -> None:
    app.multirun("hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2", "seed=range(4)", "model.width=8")
    (first, axes), (second, more_axes) = app.task.batches
    assert axes == more_axes == ["seed"]
    assert [cell.overrides for cell in first + second] == [(f"seed={seed}",) for seed in range(4)]
    (study,) = {cell.config.study for cell in first + second}
    app.task.batches.clear()
    app.multirun("seed=0,1", "model.width=8")
    assert app.task.cells[0].config.study == study  # memcap's sweeper gives it the same name


def test_a_stock_sweeper_raises_the_failure_of_a_cell(app: Any) -> None:
    app.task.outcomes = {1: SimpleNamespace(status="failed", value=None, error="boom")}
    with pytest.raises(RunFailed, match="boom"):
        app.multirun("hydra/sweeper=basic", "seed=0,1")


def test_a_stock_sweeper_cannot_use_what_only_memcaps_knows(app: Any) -> None:
    with pytest.raises(BadInput, match=r"zip=seed,model\.width needs hydra/sweeper=memcap"):
        app.multirun("hydra/sweeper=basic", "seed=0,1", "model.width=8,16", "zip='seed,model.width'")
    assert app.task.batches == []


def test_a_bad_cell_of_a_stock_sweeper_is_named(app: Any) -> None:
    with pytest.raises(BadInput, match=r'seed must be .*, got -1 \(cell 2: "seed=-1"\)'):
        app.multirun("hydra/sweeper=basic", "seed=0,-1")
    assert app.task.batches == []
