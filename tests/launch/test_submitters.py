"""The launchers that submit: Hydra's own suite for ordinary tasks, packed and frozen submissions for memcap's cells."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import LauncherTestSuite
from hydra_plugins.memcap.submitters import LocalLauncher, SlurmLauncher, _defaults
from omegaconf import open_dict

from memcap.errors import BadInput
from memcap.submission.options import LauncherOptions

pytestmark = [
    pytest.mark.usefixtures("discoverable"),
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory"),
]


def test_hydra_discovers_the_launchers() -> None:
    names = [launcher.__name__ for launcher in Plugins.instance().discover(Launcher)]
    assert {LocalLauncher.__name__, SlurmLauncher.__name__} <= set(names)


@pytest.mark.slow
@pytest.mark.usefixtures("no_version_base")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("local", [])])
class TestOrdinaryTask(LauncherTestSuite):
    """Hydra's suite, whose task functions know nothing of cells; each job is a process of its own."""


class SubmittingTask:
    """A task function like memcap's, that only writes down what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Any], list[str], str, LauncherOptions]] = []
        self.status = "finished"

    def __call__(self, config: Any) -> float:
        raise AssertionError("the cells are submitted, not run here")

    def train_cells(self, cells: Any, axes: Any) -> Any:
        raise AssertionError("the cells are submitted, not trained here")

    def submit_cells(self, cells: Any, axes: Any, launcher: str, options: LauncherOptions) -> Any:
        self.calls.append((list(cells), list(axes), launcher, options))
        return [SimpleNamespace(status=self.status, value=float(c.config.seed), error=None) for c in cells]


@pytest.fixture
def app(application: Callable[..., Any]) -> Any:
    made = application()
    made.task = SubmittingTask()
    return made


@pytest.mark.parametrize("launcher", ["slurm", "local"])
def test_all_cells_are_submitted_at_once_with_the_options_of_the_command_line(
    app: Any, launcher: str
) -> None:
    (returns,) = app.multirun(
        f"hydra/launcher={launcher}", "seed=3,1", "launcher.target_minutes=7", "launcher.partition=long"
    )
    ((cells, axes, name, options),) = app.task.calls
    assert [cell.config.seed for cell in cells] == [3, 1]
    assert axes == ["seed"]
    assert name == launcher
    assert (options.target_minutes, options.partition, options.retries) == (7.0, "long", 1)
    assert [(job.status, job.return_value) for job in returns] == [
        (JobStatus.COMPLETED, 3.0),
        (JobStatus.COMPLETED, 1.0),
    ]


def test_options_of_a_launcher_change_neither_the_runs_nor_the_study(app: Any) -> None:
    app.multirun("hydra/launcher=local", "seed=1,2")
    app.multirun("hydra/launcher=local", "seed=1,2", "launcher.workers=3", "launcher.setup=[module load x]")
    (first, _, _, _), (second, _, _, options) = app.task.calls
    assert [cell.run_id for cell in first] == [cell.run_id for cell in second]
    assert first[0].config.study == second[0].config.study
    assert options.setup == ("module load x",)


def test_options_with_keys_of_their_own(app: Any) -> None:
    app.multirun("hydra/launcher=slurm", "launcher.extra={nice: 100}", "launcher.environment={A: b}")
    ((_, _, _, options),) = app.task.calls
    assert (options.extra, options.environment) == ({"nice": "100"}, {"A": "b"})


def test_what_others_train_from_now_on_is_no_failure(app: Any) -> None:
    app.task.status = "submitted"
    (returns,) = app.multirun("hydra/launcher=slurm", "seed=1,2", "launcher.wait=false")
    assert all(job.status == JobStatus.COMPLETED for job in returns)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("launcher.target_minutes=0", "launcher.target_minutes must be a number > 0"),
        ("launcher.workers=two", "launcher.workers must be a whole number"),
        ("+launcher.partitoin=x", "launcher.partitoin is not a key (did you mean partition?)"),
        ("launcher.environment=7", "launcher.environment must be keys with values"),
    ],
)
def test_a_bad_option_is_one_line(app: Any, override: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        app.multirun("hydra/launcher=local", "seed=1,2", override)
    assert said in str(caught.value)
    assert not app.task.calls


def test_a_sweeper_that_goes_by_values_has_to_wait(app: Any) -> None:
    launcher = LocalLauncher({"wait": False, "dry_run": False})
    master = app.master("hydra/launcher=local")
    with open_dict(master):
        master.hydra.sweeper._target_ = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    launcher.setup(hydra_context=None, task_function=app.task, config=master)  # type: ignore[arg-type]
    options = LauncherOptions.from_dict({**_defaults(), "wait": False})
    with pytest.raises(BadInput, match=r"launcher\.wait=false gives hydra/sweeper=\w+ no values to go by"):
        launcher.check_sweeper(options)
    launcher.check_sweeper(LauncherOptions.from_dict(_defaults()))
