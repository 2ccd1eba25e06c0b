"""launch/slurm/local_cluster: jobs, faults and preemption as on a real cluster, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import SCRIPT, SlurmCluster, wait_until

SLEEP = "exec sleep 300"


@pytest.fixture
def job(cluster: SlurmCluster) -> Iterator[list[str]]:
    """Jobs that are over when the test is; the test fills the list."""
    jobs: list[str] = []
    yield jobs
    if jobs:
        cluster.run("scancel", *jobs)
        wait_until(lambda: cluster.run("squeue", "--noheader") == "", 20, lambda: cluster.run("squeue"))


def node_states(cluster: SlurmCluster) -> list[str]:
    return cluster.run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %T").splitlines()


def test_up_takes_seconds_and_nodes_are_idle(cluster: SlurmCluster) -> None:
    assert cluster.up_seconds < 30
    assert node_states(cluster) == ["n1 idle", "n2 idle", "n3 idle"]
    status = cluster.local_cluster("status")
    assert status.returncode == 0
    assert "does not run" not in status.stdout


def test_up_again_changes_nothing(cluster: SlurmCluster) -> None:
    before = processes_of(cluster.state)
    assert cluster.local_cluster("up").returncode == 0
    assert processes_of(cluster.state) == before
    other = cluster.local_cluster("up", "--nodes", "2")
    assert other.returncode == 1
    assert "--nodes 3 --max-array-size 1001" in other.stderr


def test_jobs_end_as_their_programs_do(cluster: SlurmCluster) -> None:
    good, bad, array = cluster.submit("true"), cluster.submit("exit 3"), cluster.submit("true", "--array=0-4")
    cluster.wait_for_account(good, ["COMPLETED"])
    cluster.wait_for_account(bad, ["FAILED"])
    cluster.wait_for_account(array, ["COMPLETED"] * 5)


def test_a_requeued_job_starts_again_soon(cluster: SlurmCluster, job: list[str]) -> None:
    job.append(cluster.submit(SLEEP))
    cluster.wait_for(job[0], "RUNNING")
    cluster.run("scontrol", "requeue", job[0])
    assert cluster.state_of(job[0]) != "RUNNING"
    cluster.wait_for(job[0], "RUNNING", timeout_s=15)
    assert cluster.field_of(job[0], "Restarts") == "1"


def test_a_job_outlives_its_node(cluster: SlurmCluster, job: list[str]) -> None:
    job.append(cluster.submit(SLEEP, "--nodelist=n2"))
    cluster.wait_for(job[0], "RUNNING")
    assert cluster.local_cluster("node", "down", "n2").returncode == 0
    assert cluster.local_cluster("status").returncode == 1
    assert {"n2 down", "n2 down*"} & set(node_states(cluster))
    cluster.wait_for(job[0], "PENDING")
    assert cluster.local_cluster("node", "up", "n2").returncode == 0
    assert "n2 idle" in node_states(cluster)
    cluster.wait_for(job[0], "RUNNING", timeout_s=15)
    assert cluster.field_of(job[0], "Restarts") == "1"


def test_a_job_goes_on_while_slurmctld_restarts(cluster: SlurmCluster, job: list[str]) -> None:
    job.append(cluster.submit(SLEEP))
    cluster.wait_for(job[0], "RUNNING")
    started = cluster.field_of(job[0], "StartTime")
    restarted = cluster.local_cluster("restart", "slurmctld")
    assert restarted.returncode == 0, restarted.stderr
    assert cluster.state_of(job[0]) == "RUNNING"
    assert cluster.field_of(job[0], "StartTime") == started
    assert cluster.field_of(job[0], "Restarts") == "0"


def test_urgent_jobs_take_the_place_of_others(cluster: SlurmCluster, job: list[str]) -> None:
    """In one partition the job that makes room starts again, in the other it is over, and in main it stays."""
    low = {
        partition: cluster.submit(
            SLEEP, f"--partition={partition}", f"--nodelist={node}", "--cpus-per-task=2"
        )
        for partition, node in (("main", "n1"), ("requeue", "n2"), ("cancel", "n3"))
    }
    job.extend(low.values())
    for each in low.values():
        cluster.wait_for(each, "RUNNING")
    urgent = [
        cluster.submit("sleep 1", "--partition=urgent", f"--nodelist={node}", "--cpus-per-task=2")
        for node in ("n2", "n3")
    ]
    for each in urgent:
        cluster.wait_for(each, "COMPLETED")
    cluster.wait_for_account(low["cancel"], ["PREEMPTED"])
    cluster.wait_for(low["requeue"], "RUNNING", timeout_s=15)
    assert cluster.field_of(low["requeue"], "Restarts") == "1"
    assert cluster.state_of(low["main"]) == "RUNNING"
    assert cluster.field_of(low["main"], "Restarts") == "0"


def test_it_survives_kill_and_leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    own = SlurmCluster(tmp_path_factory.mktemp("own") / "c")
    try:
        made = own.up("--nodes", "1", "--max-array-size", "5000")
        assert made.returncode == 0, made.stderr
        assert "MaxArraySize            = 5000" in own.run("scontrol", "show", "config")
        done = own.submit("true")
        own.wait_for_account(done, ["COMPLETED"])
        own.submit(SLEEP)
        for pid in processes_of(own.state):
            os.kill(pid, signal.SIGKILL)
        again = own.up("--nodes", "1", "--max-array-size", "5000")
        assert again.returncode == 0, again.stderr
        assert own.accounted(done) == ["COMPLETED"]
        ports = own.ports
        assert all(map(listens, ports))
        for _ in range(2):
            assert own.local_cluster("down").returncode == 0
            assert processes_of(own.state) == []
            assert not any(map(listens, ports))
            assert not own.state.exists()
    finally:
        own.local_cluster("down")


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, command: str) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    ran = subprocess.run(
        [sys.executable, SCRIPT, command, "--state", tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert (
        ran.stderr
        == f"local_cluster: {tmp_path} holds other files: name an empty or a new folder with --state\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_machine_with_a_slurm_of_its_own_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "slurm.conf"
    real.write_text("ClusterName=real\n")
    monkeypatch.setenv("SLURM_CONF", str(real))
    ran = subprocess.run(
        [sys.executable, SCRIPT, "up", "--state", tmp_path / "c"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 3
    assert ran.stderr == f"local_cluster: this machine has a Slurm of its own ({real}): use that one\n"
    assert not (tmp_path / "c").exists()


def test_what_the_machine_lacks_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import cluster_machine
    import daemons

    monkeypatch.setattr(cluster_machine, "SEARCH_PATH", "/nowhere")
    with pytest.raises(
        daemons.UnsuitableMachine, match=r"munged is not installed: apt-get update && apt-get install"
    ):
        cluster_machine.program("munged")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(daemons.UnsuitableMachine, match="user id 54321 has no name here"):
        cluster_machine.check_machine()
    with pytest.raises(daemons.ClusterError, match="belongs to user id"):
        cluster_machine.check_owner(tmp_path)


def processes_of(state: Path) -> list[int]:
    """Living processes with the folder in their environment or on their command line, but for this one."""
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        try:
            words = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if os.fsencode(state) in words:
            found.append(int(path.name))
    return sorted(found)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
