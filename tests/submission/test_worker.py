"""What a task tells and takes, without a scheduler."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memcap.errors import BadInput
from memcap.records.progress import Progress
from memcap.submission import worker
from memcap.submission.folder import DONE, RUNNING, SubmissionFolder
from memcap.submission.local import visible_gpu
from memcap.submission.worker import GPUS_GIVEN, TaskReport


@pytest.fixture
def folder(tmp_path: Path) -> SubmissionFolder:
    found = SubmissionFolder.create(tmp_path)
    (found.path / "tasks").mkdir()
    return found


def test_numbers_of_submissions_are_never_used_twice(tmp_path: Path) -> None:
    first, second = SubmissionFolder.create(tmp_path), SubmissionFolder.create(tmp_path)
    assert (first.number, second.number) == (1, 2)
    first.path.rmdir()
    assert SubmissionFolder.create(tmp_path).number == 3


def test_a_task_is_claimed_once(folder: SubmissionFolder) -> None:
    assert folder.claim(0)
    assert not SubmissionFolder(folder.path).claim(0)
    assert folder.claim(1)


def test_a_report_tells_where_it_runs_and_how_far_it_is(folder: SubmissionFolder) -> None:
    told = TaskReport(folder, 3)
    said = folder.read_state(3)
    assert said is not None
    assert (said["state"], said["pid"], said["starts"]) == (RUNNING, os.getpid(), 1)
    progress = Progress(100, 2, quiet=True)
    progress.advance(40)
    progress.count("finished")
    told.watch(lambda: progress)
    told.end(DONE)
    said = folder.read_state(3)
    assert said is not None
    assert (said["state"], said["steps_done"], said["counts"]) == (DONE, 40, {"finished": 1})
    assert TaskReport(folder, 3).record["starts"] == 2


def test_starts_that_train_nothing_are_counted_and_one_that_trains_is_forgiven(
    folder: SubmissionFolder,
) -> None:
    def start(steps: int) -> int:
        told = TaskReport(folder, 0)
        progress = Progress(100, 1, quiet=True)
        progress.advance(steps)
        told.watch(lambda: progress)
        found = told.starts_in_vain()
        told.end("requeued")
        return found

    assert [start(0), start(0), start(7), start(0)] == [1, 2, 0, 1]


@pytest.mark.parametrize(
    ("slot", "gpus", "inherited", "expected"),
    [
        (0, None, None, "all"),
        (1, None, "2,3", "2,3"),
        (0, None, "", ""),
        (1, 2, None, "1"),
        (2, 2, None, "0"),
        (1, 2, "2,3", "3"),
        (0, 1, "GPU-aa,GPU-bb", "GPU-aa"),
    ],
)
def test_workers_see_gpus_that_the_submitter_saw(
    slot: int, gpus: int | None, inherited: str | None, expected: str
) -> None:
    assert visible_gpu(slot, gpus, inherited) == expected


def test_more_gpus_than_there_are_to_see_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"launcher\.gpus=2, but CUDA_VISIBLE_DEVICES=5 shows 1"):
        visible_gpu(0, 2, "5")


@pytest.mark.parametrize(("given", "expected"), [("all", None), ("3", "3"), ("", "")])
def test_what_submitit_has_hidden_is_seen_again(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv(GPUS_GIVEN, given)
    worker._see_the_gpus_given()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == expected


def test_a_local_worker_inside_an_allocation_is_no_task_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURM_JOB_ID": "777",
        "SLURM_ARRAY_JOB_ID": "770",
        "SLURM_ARRAY_TASK_ID": "7",
        "SUBMITIT_EXECUTOR": "local",
        "SUBMITIT_LOCAL_JOB_ID": "4321",
    }.items():
        monkeypatch.setenv(name, value)
    assert worker._job() == "4321"
    assert not worker._requeue()
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    assert worker._job() == "770_7"
