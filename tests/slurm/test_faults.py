"""What Slurm does to tasks: after each fault the sweep goes on, and ends with the records of an undisturbed one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import SlurmCluster, wait_until
from slurm_sweeps import PATIENCE_S, SAVED_ALWAYS, SlurmSweep
from wandb_files import offline_runs
from wandb_server import KEY, running_server

from memcap.submission import slurm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cluster: SlurmCluster) -> dict[str, Any]:
    """The records of the plain launcher, in one process."""
    sweep = SlurmSweep(tmp_path_factory.mktemp("undisturbed"), cluster)
    status, printed = sweep.here("hydra/launcher=memcap")
    assert status == 0, printed
    return sweep.records()


def requeued(sweep: SlurmSweep, job: str) -> None:
    """Waits until the job is queued again, and skips the pause after which it may start."""
    cluster = sweep.cluster
    wait_until(
        lambda: cluster.state_of(job) == "PENDING", PATIENCE_S, lambda: f"{job} {cluster.state_of(job)}"
    )
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now")


def time_limit(sweep: SlurmSweep, job: str) -> None:
    """What Slurm sends before a time limit: the task saves, and queues itself again."""
    sweep.cluster.run("scancel", "--signal=USR2", job)
    requeued(sweep, job)


def requeue(sweep: SlurmSweep, job: str) -> None:
    """An administrator's word; slurmctld restarts while the job is queued."""
    sweep.cluster.run("scontrol", "requeue", job)
    sweep.cluster.local_cluster("restart", "slurmctld")
    requeued(sweep, job)


def preemption(sweep: SlurmSweep, job: str) -> None:
    """A job of another partition takes its place."""
    cluster = sweep.cluster
    node = cluster.field_of(job, "NodeList")
    urgent = cluster.submit("true", "--partition=urgent", f"--nodelist={node}", "--exclusive")
    cluster.wait_for(urgent, "COMPLETED", PATIENCE_S)
    requeued(sweep, job)


def node_failure(sweep: SlurmSweep, job: str) -> None:
    """The machine loses power, and with it what was trained since the last checkpoint."""
    cluster = sweep.cluster
    node = cluster.field_of(job, "NodeList")
    assert cluster.local_cluster("node", "down", node).returncode == 0
    wait_until(
        lambda: cluster.state_of(job) == "PENDING", PATIENCE_S, lambda: f"{job} {cluster.state_of(job)}"
    )
    assert cluster.local_cluster("node", "up", node).returncode == 0

    # The pause before it starts again stays: a job that meets a node which has only just come back fails to launch,
    # and Slurm does not queue it again.


def test_one_sweep_goes_on_after_each_fault(
    cluster: SlurmCluster, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Offline in W&B: one run for each run, with each of its rows once."""
    sweep = SlurmSweep(
        tmp_path, cluster, (SAVED_ALWAYS, "tracking.mode=offline", "launcher.partition=requeue")
    )
    job = sweep.submit()
    steps: list[int] = []
    faults: list[Callable[[SlurmSweep, str], None]] = [time_limit, requeue, preemption, node_failure]
    finished = sweep.wait_for_middle()
    for number, fault in enumerate(faults, start=1):
        wait_until(lambda: max(sweep.saved, default=0) > max(steps, default=0), PATIENCE_S, sweep.log)
        fault(sweep, job)
        steps.append(max(sweep.saved))
        assert cluster.field_of(job, "Restarts") == str(number)
    sweep.wait_for_end()
    assert sweep.records() == undisturbed
    assert sweep.finished.items() >= finished.items(), "what was finished has been trained again"
    assert sweep.attempts() == [1, 1, 5, 5]
    assert sweep.resumed_from() == [[], [], steps, steps]
    cluster.wait_for_account(job, ["COMPLETED"])
    mirrored = offline_runs(sweep.outputs / "studies" / "s")
    assert mirrored.keys() == undisturbed.keys()
    for run in sweep.runs:
        assert mirrored[run.run_id].exit_code == 0
        recorded = [row["train/step"] for row in run.read_history()]
        assert [row["train/step"] for row in mirrored[run.run_id].history] == recorded


def test_a_task_that_is_queued_again_is_one_run_online(cluster: SlurmCluster, tmp_path: Path) -> None:
    with running_server() as server:
        variables = f"launcher.environment={{WANDB_BASE_URL: '{server.url}', WANDB_API_KEY: {KEY}}}"
        sweep = SlurmSweep(tmp_path, cluster, ("tracking.mode=online", variables))
        job = sweep.submit(SAVED_ALWAYS)
        sweep.wait_for_middle()
        time_limit(sweep, job)
        sweep.wait_for_end()
        cluster.wait_for_account(job, ["COMPLETED"], PATIENCE_S)
        assert server.runs.keys() == {run.run_id for run in sweep.runs}
        assert sweep.attempts() == [1, 1, 2, 2]
        for run in sweep.runs:
            steps = [row["train/step"] for row in server.runs[run.run_id]["rows"]]
            assert steps == [row["train/step"] for row in run.read_history()]


def test_a_waiting_command_tries_again_what_died(
    cluster: SlurmCluster, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """kill -9, then preemption by cancelling, then a slurmctld that restarts."""
    sweep = SlurmSweep(tmp_path, cluster, (SAVED_ALWAYS, "tracking=disabled", "launcher.partition=cancel"))
    command = sweep.start()
    finished = sweep.wait_for_middle()
    first, pid = sweep.state()["job"], sweep.state()["pid"]
    os.kill(pid, signal.SIGKILL)
    cluster.wait_for(first, "FAILED", PATIENCE_S)
    wait_until(lambda: "pid" in sweep.state() and len(sweep.submissions) == 2, PATIENCE_S, sweep.log)
    second = sweep.state()["job"]
    node = cluster.field_of(second, "NodeList")
    cluster.submit("true", "--partition=urgent", f"--nodelist={node}", "--exclusive")
    cluster.wait_for(second, "PREEMPTED", PATIENCE_S)
    cluster.local_cluster("restart", "slurmctld")
    printed, errors = command.communicate(timeout=2 * PATIENCE_S)
    assert command.returncode == 0, errors
    assert "4 finished" in printed
    assert sweep.records() == undisturbed
    assert sweep.finished.items() >= finished.items()
    assert errors.count("tasks ended before their runs") == 2, errors


def test_what_was_cancelled_goes_on_in_a_slurm_that_has_forgotten_everything(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Any]
) -> None:
    """The waiting command leaves what was cancelled; job ids begin at 1 again, and mean other jobs than before."""
    own = SlurmCluster(tmp_path_factory.mktemp("c") / "c")
    sweep = SlurmSweep(tmp_path_factory.mktemp("sweep"), own)
    try:
        assert own.up("--nodes", "1").returncode == 0
        for name, value in own.env.items():
            monkeypatch.setenv(name, value)
        command = sweep.start(SAVED_ALWAYS)
        finished = sweep.wait_for_middle()
        own.run("scancel", sweep.state()["job"])
        printed, errors = command.communicate(timeout=PATIENCE_S)
        assert command.returncode == 130, errors
        assert "2 finished, 2 interrupted" in printed
        assert "memcap: cancelled; runs not finished: 2; the same command goes on" in errors
        assert sweep.state()["state"] == "stopped"
        assert own.local_cluster("down").returncode == 0
        assert own.up("--nodes", "1").returncode == 0
        assert sweep.submit() == sweep.submissions[0].read_submission()["jobs"][0]["job_id"] == "1"
        old, new = sweep.submissions
        assert slurm.states(["1"], slurm.job_name(old)) == {}
        assert slurm.states(["1"], slurm.job_name(new)).keys() == {"1"}
        sweep.wait_for_end()
        assert sweep.records() == undisturbed
        assert sweep.finished.items() >= finished.items()
        own.wait_for_account("1", ["COMPLETED"], PATIENCE_S)
        assert "Traceback" not in sweep.log()
    finally:
        own.local_cluster("down")


def test_a_sweep_that_is_submitted_twice_is_trained_once(
    cluster: SlurmCluster, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """By a command that waits; one that does not leaves to Slurm what it has."""
    sweep = SlurmSweep(tmp_path, cluster)
    first = sweep.submit()
    status, printed = sweep.here("launcher.wait=false")
    assert status == 0, printed
    assert "in submission 0001" in printed
    assert len(sweep.submissions) == 1
    status, printed = sweep.here()
    assert status == 0, printed
    for job in (first, sweep.submissions[1].read_submission()["jobs"][0]["job_id"]):
        cluster.wait_for_account(job, ["COMPLETED"], PATIENCE_S)
    assert sweep.records() == undisturbed
    assert sweep.attempts() == [1, 1, 1, 1]


LEASE = """
from memcap.records.owner import Owner
Owner.__init__.__kwdefaults__.update(renew_s=0.5, expires_s=3.0)
"""


def test_what_a_frozen_task_has_is_taken_over_and_written_once(
    cluster: SlurmCluster, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """The lease of its locks is 3 s here, not 90."""
    (tmp_path / "sitecustomize.py").write_text(LEASE)
    environment = f"launcher.environment={{PYTHONPATH: {tmp_path}}}"
    sweep = SlurmSweep(tmp_path, cluster, (SAVED_ALWAYS, "tracking=disabled", environment))
    frozen = sweep.submit()
    finished = sweep.wait_for_middle()
    pid = sweep.state()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        status, printed = sweep.here()
        assert status == 0, printed
        written = sweep.finished
    finally:
        os.kill(pid, signal.SIGCONT)
    cluster.wait_for_account(frozen, ["COMPLETED"], PATIENCE_S)
    assert sweep.finished == written
    assert written.items() >= finished.items()
    assert sweep.records() == undisturbed
    assert sweep.attempts() == [1, 1, 2, 2]
