"""hydra/launcher=slurm where nothing goes wrong: arrays of tasks, and jobs of a task that knows nothing of memcap."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import hydra_plugins.memcap as plugin
import pytest
from hydra.core.singleton import Singleton
from hydra.test_utils.launcher_common_tests import LauncherTestSuite
from hydra.version import VersionBase
from slurm_cluster import SlurmCluster, wait_until
from slurm_sweeps import PATIENCE_S, SlurmSweep

from memcap.cancel import main as cancel
from memcap.command_line import register_plugins
from memcap.records.study_folder import StudyFolder
from memcap.submission.study_status import study_status

pytestmark = pytest.mark.slow


def test_tasks_of_two_arrays_give_the_bits_of_one_process(cluster: SlurmCluster, tmp_path: Path) -> None:
    small = ("tracking=disabled", "budget.steps=2000,3000", "seed=0,1")
    alone = SlurmSweep(tmp_path / "alone", cluster, (*small, "hydra/launcher=memcap"))
    status, printed = alone.here()
    assert status == 0, printed
    sweep = SlurmSweep(tmp_path / "tasks", cluster, small)
    status, printed = sweep.here("launcher.target_minutes=1e-6", "launcher.max_array_size=3")
    assert status == 0, printed
    assert "4 finished" in printed
    assert sweep.records() == alone.records()
    (submission,) = sweep.submissions
    jobs = submission.read_submission()["jobs"]
    assert [len(job["tasks"]) for job in jobs] == [3, 1]
    for job in jobs:
        cluster.wait_for_account(job["job_id"], ["COMPLETED"] * len(job["tasks"]), PATIENCE_S)
    status, printed = sweep.here()
    assert status == 0
    assert "4 skipped" in printed
    assert len(sweep.submissions) == 1


def test_what_goes_on_after_ctrl_c_is_said_to_go_on(cluster: SlurmCluster, tmp_path: Path) -> None:
    sweep = SlurmSweep(tmp_path, cluster)
    waiting = sweep.start("launcher.target_minutes=1e-6", "launcher.at_once=1", "budget.steps=3000000")
    wait_until(lambda: bool(sweep.submissions) and bool(sweep.state()), PATIENCE_S, sweep.log)
    waiting.send_signal(signal.SIGINT)
    printed, errors = waiting.communicate(timeout=PATIENCE_S)
    try:
        assert waiting.returncode == 130, errors
        assert "interrupted" not in printed
        assert re.search(r"^1 running, 1 queued in |^2 queued in ", printed, re.M), printed
        assert f"next:   python -m memcap.status study=s paths.outputs={sweep.outputs} " in printed
        assert study_status(StudyFolder(sweep.outputs, "s")).live
    finally:
        cancel(["study=s", f"paths.outputs={sweep.outputs}"])


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a process that was not started by memcap finds the launchers, and names no version_base of Hydra's."""
    register_plugins()
    folder = str(Path(plugin.__path__[0]).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])))
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)


@pytest.mark.usefixtures("ordinary")
@pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("slurm", [])])
class TestOrdinaryTask:
    """The cases of Hydra's suite that differ here; hydra/launcher=local, the same code, takes it whole."""

    get_task_function = LauncherTestSuite.get_task_function
    test_two_jobs = LauncherTestSuite.test_sweep_2_jobs
    test_a_custom_resolver = LauncherTestSuite.test_sweep_with_custom_resolver
