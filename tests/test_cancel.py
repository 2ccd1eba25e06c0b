"""python -m memcap.cancel: what trains in the background ends, and nothing else."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from background_sweeps import (
    BACKGROUND,
    command,
    know_costs,
    list_study,
    start_sweep,
    submission,
    until,
    workers_of,
)
from compositions import composed_config

from memcap.config.cell import Cell
from memcap.records.study_folder import StudyFolder
from memcap.submission.folder import RUNNING, STOPPED, SubmissionFolder
from memcap.submission.study_status import study_status

LONG = ("budget.steps=100000000", "seed=0,1,2,3,4,5")


@pytest.mark.slow
def test_workers_end_and_none_of_their_tasks_is_begun_again(tmp_path: Path) -> None:
    start_sweep(tmp_path, *LONG)
    study = StudyFolder(tmp_path / "outputs", "s")
    (folder,) = SubmissionFolder.all_of(study.path)
    until(lambda: (folder.read_state(0) or {}).get("state") == RUNNING)
    assert study_status(study).live
    done = command("cancel", tmp_path, "study=s")
    assert done.returncode == 0, done.stderr
    assert "workers stopped on " in done.stdout
    assert "runs not finished: 6\nnext:   python -m memcap.resume study=s\n" in done.stdout
    assert workers_of(tmp_path) == []
    status = study_status(study)
    assert not status.live
    assert {task.state for task in status.tasks} == {STOPPED}
    again = command("cancel", tmp_path, "study=s")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "study s: nothing to cancel, none of its tasks is queued or running\n"


@pytest.mark.slow
def test_who_waits_for_them_tries_nothing_again(tmp_path: Path) -> None:
    know_costs(tmp_path / "outputs")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "memcap.train", "-m", *BACKGROUND, *LONG, "launcher.retries=5"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    study = StudyFolder(tmp_path / "outputs", "s")
    until(lambda: any(study.path.glob("submissions/0001/tasks/*.json")))
    assert command("cancel", tmp_path, "study=s").returncode == 0
    printed, errors = waiting.communicate(timeout=60)
    assert "6 interrupted" in printed, errors
    assert len(SubmissionFolder.all_of(study.path)) == 1


def test_a_process_that_has_a_workers_number_now_lives_on(tmp_path: Path) -> None:
    config = composed_config("study=s")
    cell = Cell.from_values(config.to_dict())
    study = list_study(tmp_path / "outputs", [cell])
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        folder = submission(study, [[cell]], "local", [{"job_id": str(innocent.pid)}])
        said = {"state": RUNNING, "host": socket.gethostname(), "pid": innocent.pid}
        folder.write_state(0, {**said, "started": time.time(), "updated": time.time()})
        assert not study_status(study).live
        done = command("cancel", tmp_path, "study=s")
        assert "nothing to cancel" in done.stdout
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("refused", [False, True])
def test_slurm_is_asked_to_cancel_what_is_not_over(
    refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [Cell.from_values(composed_config("study=s", f"seed={seed}").to_dict()) for seed in range(3)]
    study = list_study(tmp_path / "outputs", cells)
    jobs = [{"job_id": "17", "tasks": [0, 1]}, {"job_id": "19", "tasks": [2]}]
    submission(study, [[cell] for cell in cells], "slurm", jobs)
    scripts = {
        "squeue": "echo '17_1|PENDING|s-0001'",
        "sacct": "printf '17_0|COMPLETED|s-0001\\n17_[1]|PENDING|s-0001\\n19_0|FAILED|s-0001\\n'",
        "scancel": f'echo "$@" >> {tmp_path}/asked'
        + ("; echo scancel: error: Access denied >&2; exit 1" if refused else ""),
    }
    for name, body in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    done = command("cancel", tmp_path, "study=s")
    assert (tmp_path / "asked").read_text() == "17\n"
    assert done.returncode == int(refused)
    assert ("Access denied" in done.stderr) == refused
    assert ("Slurm jobs cancelled: 17\n" in done.stdout) != refused
