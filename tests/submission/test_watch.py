"""What a waiting command knows of the tasks of a submission."""

from __future__ import annotations

from pathlib import Path

import pytest
from compositions import composed_config

from memcap.config.cell import Cell
from memcap.submission.folder import DONE, REQUEUED, RUNNING, SubmissionFolder
from memcap.submission.plan import PlannedTask
from memcap.submission.submit import Submitted
from memcap.submission.watch import Watch
from memcap.submission.worker import TaskReport


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Three tasks of a run of 100 steps each; nothing is submitted."""
    folder = SubmissionFolder.create(tmp_path)
    (folder.path / "tasks").mkdir()
    configs = [composed_config(f"seed={seed}", "budget.steps=100") for seed in range(3)]
    tasks = [PlannedTask((Cell.from_values(config.to_dict()),), 1.0) for config in configs]
    return Watch(Submitted(folder, tasks, [], [], {}, {}))


def test_tasks_are_counted_as_they_run_wait_and_end(watch: Watch) -> None:
    assert watch.tasks_text() == "0 tasks running, 3 queued"
    for task, state in enumerate((RUNNING, RUNNING, DONE)):
        watch.submitted.folder.write_state(task, {"state": state})
    watch.slurm_states = {1: "PENDING"}  # a node died, and the task starts again
    watch.look()
    assert watch.tasks_text() == "1 task running, 1 queued"
    watch.over = {0, 1, 2}
    assert watch.tasks_text() == ""


def test_progress_of_a_task_that_starts_again_does_not_go_backward(watch: Watch) -> None:
    folder = watch.submitted.folder
    assert watch.steps() == (0, 300)
    folder.write_state(0, {"state": REQUEUED, "steps_done": 60, "steps_total": 100})
    watch.look()
    assert watch.steps() == (60, 300)
    again = TaskReport(folder, 0)
    again.end(RUNNING)  # it has said nothing of its progress yet
    watch.look()
    assert watch.steps()[0] == 60
    folder.write_state(
        0, {**again.record, "steps_done": 30, "steps_total": 40}
    )  # it has gone on from step 60
    watch.look()
    assert watch.steps() == (90, 300)
