"""python -m memcap.status of a sweep on Slurm: its words and those of the tasks, put together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from background_sweeps import finish_run, list_study, submission
from status_cases import Page, cells_of

from memcap.records.run_folder import RunFolder
from memcap.submission.study_status import study_status

# In the form of Slurm 22.05, of an array of five that belongs to submission 1 of study s:
# squeue -h -r -o '%i|%T|%j|%r', and sacct -X -n -P -o JobID,State,JobName.
SQUEUE = "17_3|PENDING|s-0001|Resources\n17_0|RUNNING|s-0001|None\n"
SACCT = (
    "17_0|RUNNING|s-0001\n17_1|OUT_OF_MEMORY|s-0001\n17_2|FAILED|s-0001\n17_[3]|PENDING|s-0001\n"
    "17_4|CANCELLED by 1000|s-0001\n17_1|COMPLETED|of-a-slurm-before\n"
)


def test_slurm_and_the_tasks_own_words_are_put_together(
    page: Page, slurm_says: Callable[[str, str], None]
) -> None:
    slurm_says(SQUEUE, SACCT)
    cells = cells_of(10)
    study = list_study(Path("outputs"), cells)
    pairs = [cells[start : start + 2] for start in range(0, 10, 2)]
    folder = submission(study, pairs, "slurm", [{"job_id": "17", "tasks": [0, 1, 2, 3, 4]}])
    started = {"state": "running", "host": "n1", "pid": 5, "started": time.time() - 10}
    done = {
        "updated": time.time(),
        "train_s": 10.0,
        "steps_done": 100,
        "steps_total": 200,
        "counts": {"finished": 1},
    }
    folder.write_state(0, {**started, **done, "job": "17_0"})
    folder.write_state(1, {**started, "updated": time.time() - 500, "job": "17_1"})
    finish_run(study, cells[0])
    RunFolder(study.outputs, cells[1].run_id).start(cells[1].config.to_dict())
    RunFolder(study.outputs, cells[2].run_id).start(cells[2].config.to_dict())
    os.utime(RunFolder(study.outputs, cells[2].run_id).path / "attempt.json", (1, 1))
    folder.logs.mkdir()
    (folder.logs / "17_2_0_log.out").write_text("srun: warning\n  ModuleNotFoundError: memcap\n\n")
    text = page("study=s")
    assert text.startswith(
        "study s: 10 runs: 1 finished, 1 running, 2 queued, 1 interrupted, 5 not started\n"
    )
    assert "  1.0    on n1, pid 5, job 17_0  1 of 2 runs  50%  0:00:10\n" in text
    assert "queued:  1 task: 1 PENDING (Resources)\n" in text
    assert "ended too early: 2 tasks\n" in text
    assert "  1.1    it died without a word (job 17_1, Slurm says OUT_OF_MEMORY); runs left: 2\n" in text
    assert (
        "it never began to train: are the outputs visible on the node? (job 17_2, Slurm says FAILED)" in text
    )
    assert "its last words: ModuleNotFoundError: memcap\n" in text
    assert f"log: {folder.logs}/17_2_0_log.out\n" in text
    assert " 10 member-steps/s  0:01:30 left\n" in text
    folder.write_state(0, {**started, **done, "job": "17_0", "train_s": 4.0})
    assert " member-steps/s" not in page("study=s")  # too early to say
    assert "memcap.resume study=s" in text
    assert "memcap.cancel study=s" in text


@pytest.mark.parametrize(
    ("word", "scheduler", "line"),
    [
        ("requeued", "COMPLETING", "queued:  1 task: 1 COMPLETING\n"),
        ("requeued", "PENDING", "queued:  1 task: 1 PENDING (BeginTime)\n"),
        ("requeued", "RUNNING", "  1.0    starting, job 17_0\n"),
        ("stopped", "COMPLETING", "  1.0    ending, job 17_0\n"),
        ("cancelled", "COMPLETING", "1 interrupted\n"),
    ],
)
def test_a_task_that_starts_again_has_nothing_to_do_with_its_last_words(
    word: str, scheduler: str, line: str, page: Page, slurm_says: Callable[[str, str], None]
) -> None:
    cells = cells_of(1)
    study = list_study(Path("outputs"), cells)
    folder = submission(study, [cells], "slurm", [{"job_id": "17", "tasks": [0]}])
    if word == "cancelled":
        folder.cancel()
        word = "stopped"
    said = {"state": word, "host": "n1", "pid": 5, "started": time.time() - 10, "updated": time.time()}
    folder.write_state(0, said)
    RunFolder(study.outputs, cells[0].run_id).start(cells[0].config.to_dict())
    slurm_says(f"17_0|{scheduler}|s-0001|BeginTime\n", "")
    assert line in page()


def test_a_slurm_that_cannot_be_asked_says_nothing_of_queued_tasks(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(1)
    study = list_study(Path("outputs"), cells)
    submission(study, [cells], "slurm", [{"job_id": "17", "tasks": [0]}])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert study_status(study).counts == {"queued": 1}
    for name, body in (("squeue", 'test -z "$4" || test "$2" = -n'), ("sacct", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    assert study_status(study).counts == {"not started": 1}  # it answers, and knows no such job
