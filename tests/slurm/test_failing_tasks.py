"""Tasks that fail, cannot begin or are killed: what is said of them, and what the same command does next."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster
from slurm_sweeps import PATIENCE_S, SlurmSweep

pytestmark = pytest.mark.slow

FAILING = """
import dataclasses
from memcap.config.schema import RandomLabelsConfig
from memcap.data.random_labels import RandomLabels


class Failing(RandomLabels):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(RandomLabelsConfig):
        kind = "failing"

    def training(self):
        if self.seed == 1:
            raise ArithmeticError("no labels for this seed")
        return super().training()
"""


def test_runs_that_fail_and_a_disk_that_is_full_cost_their_own_runs(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm says FAILED of their task, the waiting command says 1."""
    (tmp_path / "failing_part.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    part = ("+data._target_=failing_part.Failing", "~data.kind", "allow_targets=[failing_part]")
    where = f"launcher.environment={{PYTHONPATH: {tmp_path}}}"
    sweep = SlurmSweep(tmp_path, cluster, (*part, where, "tracking=disabled", "budget.steps=200,300"))
    status, printed = sweep.here("launcher.extra={hold: true}", "launcher.wait=false")
    assert status == 0, printed
    full = sweep.runs[0]
    full.path.mkdir(parents=True)
    (full.path / "history.jsonl").symlink_to("/dev/full")
    job = sweep.submissions[0].read_submission()["jobs"][0]["job_id"]
    cluster.run("scontrol", "release", job)
    cluster.wait_for_account(job, ["FAILED"], PATIENCE_S)
    assert [run.read_result() is not None for run in sweep.runs] == [False, False, True, False]
    assert "No space left on device" in str(full.read_failure())
    assert "no labels for this seed" in str(sweep.runs[1].read_failure())
    assert sweep.state()["error"] == "3 runs failed"
    (full.path / "history.jsonl").unlink()
    status, printed = sweep.here()
    assert status == 1
    assert "2 failed" in printed
    assert "ArithmeticError: no labels for this seed" in printed


def test_a_task_that_cannot_begin_is_given_up_in_one_line(cluster: SlurmCluster, tmp_path: Path) -> None:
    """Outputs that the node does not see, then a Python that it lacks; nothing of it stands in the way later."""
    sweep = SlurmSweep(tmp_path, cluster, ("tracking=disabled", "budget.steps=200,300"))
    job = sweep.submit("launcher.extra={hold: true}")
    sweep.outputs.rename(tmp_path / "elsewhere")
    cluster.run("scontrol", "release", job)
    cluster.wait_for(job, "FAILED", PATIENCE_S)
    (tmp_path / "elsewhere").rename(sweep.outputs)
    assert sweep.state() == {}
    status, printed = sweep.here("launcher.python=/nowhere/python")
    assert status == 1
    assert "its task ended before it began (Slurm says FAILED)" in printed
    assert len(sweep.submissions) == 3, "once more, and no more"
    status, printed = sweep.here()
    assert status == 0, printed
    assert "4 finished" in printed


def test_a_task_without_enough_memory_is_told_from_its_log(cluster: SlurmCluster, tmp_path: Path) -> None:
    """PyTorch alone takes more: Slurm kills the process, twice, and no run is blamed on record."""
    sweep = SlurmSweep(tmp_path, cluster, ("tracking=disabled", "budget.steps=200,300"))
    status, printed = sweep.here("launcher.memory_gib=0.1")
    assert status == 1
    assert "4 failed" in printed
    assert "the process that trained it died every time (Slurm says " in printed
    assert len(sweep.submissions) == 2
    assert "exceeded memory limit" in sweep.log()
    status, printed = sweep.here()
    assert status == 0, printed
    assert "4 finished" in printed
