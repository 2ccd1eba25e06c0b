"""python -m memcap.sync of runs that have not ended, failed or train, of charts, and of studies as one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sync_cases import CELLS, SWEEP, Sync, histories, rows_there, statuses
from wandb_cases import train_here
from wandb_files import offline_runs
from wandb_server import Server

from memcap.pack_recorder import PackRecorder
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.wandb_earlier import earlier_run


def stopped_training(folder: Path, error: BaseException) -> None:
    """A training that meets this error after the row of step 5."""
    on_row = PackRecorder.on_row

    def stop(self: PackRecorder, member: int, row: Any) -> None:
        on_row(self, member, row)
        if row["train/step"] >= 5:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PackRecorder, "on_row", stop)
        assert train_here(patch, folder, *CELLS) == (130 if isinstance(error, KeyboardInterrupt) else 1)


def test_a_run_that_has_not_ended_waits_for_its_end(
    server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_training(tmp_path, KeyboardInterrupt())
    capsys.readouterr()
    assert sync() == 0
    assert statuses(capsys.readouterr().out) == ["not ended"]
    assert server.runs == {}
    assert sync("unfinished=true") == 0
    assert rows_there(server) == histories(tmp_path)
    (run_id,) = server.runs
    earlier = earlier_run(RunFolder(tmp_path / "outputs", run_id).path, tmp_path / "outputs/studies/s/wandb")
    assert earlier is not None
    assert not earlier.can_go_on("offline"), "`wandb sync` would append its rows"


def test_a_failed_run_is_sent_as_one(server: Server, sync: Sync, tmp_path: Path) -> None:
    stopped_training(tmp_path, ValueError("broken"))
    assert sync() == 0
    ((_, run),) = server.runs.items()
    assert (run["summary"]["status"], run["exit"]) == ("failed", 1)
    assert rows_there(server) == histories(tmp_path)


def test_a_run_that_trains_is_left_alone(
    study: Path, server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, *_ = histories(tmp_path)
    with Owner(tmp_path / "outputs") as owner:
        lock = FolderLock(RunFolder(tmp_path / "outputs", run_id).path, owner)
        assert lock.acquire()
        assert sync() == 0
        lock.release()
    assert sorted(statuses(capsys.readouterr().out)) == ["sent", "sent", "sent", "training"]
    assert run_id not in server.runs


def test_charts_come_after_the_rows(server: Server, sync: Sync, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert train_here(patch, tmp_path, *CELLS, "tracking.charts=tables", "measure.samples=true") == 0
    assert sync() == 0
    ((run_id, rows),) = rows_there(server).items()
    *before, last = rows
    assert before == histories(tmp_path)[run_id]
    assert last["train/step"] == before[-1]["train/step"]
    assert last["charts/samples"]["nrows"] == 8
    (tmp_path / "outputs/studies/s/wandb_synced.jsonl").unlink()
    assert sync() == 0
    assert len(rows_there(server)[run_id]) == len(rows)


def test_the_one_run_of_a_study_is_sent_from_its_file(server: Server, sync: Sync, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert train_here(patch, tmp_path, *CELLS, "tracking.per=study", *SWEEP) == 0
    ((wandb_id, offline),) = offline_runs(tmp_path / "outputs/studies/s").items()
    assert sync() == 0
    ((run_id, run),) = server.runs.items()
    assert run_id == wandb_id
    assert [row["study/ended"] for row in run["rows"]] == [row["study/ended"] for row in offline.history]
    assert run["rows"][-1]["study/cells"]["nrows"] == 4
    assert (run["name"], run["group"], run["exit"], run["summary"]["finished"]) == ("s", "s", 0, 4)
    del run["rows"][1:]
    assert sync("verify=true") == 0
    assert len(run["rows"]) == len(offline.history)
