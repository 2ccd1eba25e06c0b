"""A training that continues is one W&B run with every row once, whatever ended the attempt before, and wherever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_cases import SMALL, clean, tracker, train_here
from wandb_files import offline_runs
from wandb_server import KEY, Handler, Server, running_server

from memcap.measures.observation import Row
from memcap.pack_recorder import PackRecorder
from memcap.records import atomic, wandb_client
from memcap.records.wandb_earlier import EarlierRun, earlier_run, note_opened, note_run
from memcap.records.wandb_ids import note_id, shown_name, used_ids
from memcap.records.wandb_tracker import WandbTracker

OFFLINE = "tracking.mode=offline"
ONLINE = "tracking.mode=online"
CELL = ("study=s", "measure.points=20", "hardware.engine=batched")  # nothing to compile in an empty home
STEPS = [0, 1, 2, 3, 4, 5]  # of the rows before the stop
CHECKPOINT = 4  # rows


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    wandb_client.end_service()  # its settings are read when it starts
    with running_server() as server:
        yield server
        wandb_client.end_service()


def online(server: Server, folder: Path) -> dict[str, str]:
    """The environment in which this server is used, and gets rows each second, not every 15 seconds."""
    return {
        "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "NETRC": str(folder / "netrc"),
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
    }  # fmt: skip


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ctrl-C comes after the row of this step."""
    on_row = PackRecorder.on_row

    def stopped(self: PackRecorder, member: int, row: Row) -> None:
        on_row(self, member, row)
        if row["train/step"] >= step:
            raise KeyboardInterrupt

    monkeypatch.setattr(PackRecorder, "on_row", stopped)


def go_on(monkeypatch: pytest.MonkeyPatch, num_rows: int) -> None:
    """The next training continues from a checkpoint with so many rows of the history."""
    start, on_row = PackRecorder.start, PackRecorder.on_row

    def continued(self: PackRecorder) -> None:
        for cell, folder in zip(self.pack, self.folders, strict=True):
            self.rows_before[cell.run_id] = folder.read_history()[:num_rows]
        start(self)

    def after_the_checkpoint(self: PackRecorder, member: int, row: Row) -> None:
        before = self.rows_before[self.pack[member].run_id]
        if row["train/step"] <= before[-1]["train/step"]:
            self.folders[member].append(row)  # a continued history.jsonl has it already
        else:
            on_row(self, member, row)

    monkeypatch.setattr(PackRecorder, "start", continued)
    monkeypatch.setattr(PackRecorder, "on_row", after_the_checkpoint)


def train_to_stop(folder: Path, *arguments: str, step: int = STEPS[-1], **environment: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step)
        assert train_here(patch, folder, *CELL, *arguments, **environment) == 130


def train_on(
    folder: Path, *arguments: str, stop: int | None = None, num_rows: int = CHECKPOINT, **environment: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if stop is not None:
            stop_at(patch, stop)
        go_on(patch, num_rows)
        expected = 0 if stop is None else 130
        assert train_here(patch, folder, *CELL, *arguments, **environment) == expected


def run_folder(folder: Path) -> Path:
    (path,) = folder.glob("outputs/runs/*/*/history.jsonl")
    return path.parent


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (run_folder(folder) / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def steps(rows: list[dict[str, Any]]) -> list[int]:
    return [row["train/step"] for row in rows]


def without_own(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the client's own keys."""
    return [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]


def result(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run_folder(folder) / "result.json").read_text(encoding="utf-8"))
    return record


# -- files before, files now --------------------------------------------------------------------------


def test_an_offline_run_goes_on_in_its_place(tmp_path: Path) -> None:
    train_to_stop(tmp_path, OFFLINE)
    study, run_id = tmp_path / "outputs/studies/s", run_folder(tmp_path).name
    assert steps(offline_runs(study)[run_id].history) == STEPS
    train_on(tmp_path, OFFLINE, stop=9)
    assert steps(offline_runs(study)[run_id].history) == list(range(10))
    train_on(tmp_path, OFFLINE)
    ((wandb_id, run),) = offline_runs(study).items()  # fails where one id has two files
    assert (wandb_id, run.exit_code) == (run_id, 0)
    assert "attempt" not in run.name
    assert run.history == history(tmp_path)
    assert len(run.history) == 15
    assert run.summary["status"] == "finished"
    assert result(tmp_path)["provenance"]["wandb"]["id"] == run_id


def test_an_offline_run_goes_on_in_another_study(tmp_path: Path) -> None:
    train_to_stop(tmp_path, OFFLINE)
    train_on(tmp_path, OFFLINE, "study=other")
    assert offline_runs(tmp_path / "outputs/studies/s") == {}
    (run,) = offline_runs(tmp_path / "outputs/studies/other").values()
    assert run.history == history(tmp_path)
    assert run.group == "other"


def test_what_was_uploaded_is_left_alone(tmp_path: Path) -> None:
    """`wandb sync` of a second file of the id would append all its rows."""
    train_to_stop(tmp_path, OFFLINE)
    study, run_id = tmp_path / "outputs/studies/s", run_folder(tmp_path).name
    (file,) = study.glob("wandb/offline-run-*/run-*.wandb")
    file.with_name(f"{file.name}.synced").touch()
    train_on(tmp_path, OFFLINE)
    runs = offline_runs(study)
    assert sorted(runs) == [run_id, f"{run_id}-2"]
    assert steps(runs[run_id].history) == STEPS
    assert runs[f"{run_id}-2"].history == history(tmp_path)
    assert runs[f"{run_id}-2"].name.endswith("(attempt 2)")


def test_what_is_gone_may_have_been_uploaded(tmp_path: Path) -> None:
    train_to_stop(tmp_path, OFFLINE)
    study, run_id = tmp_path / "outputs/studies/s", run_folder(tmp_path).name
    shutil.rmtree(study / "wandb")
    train_on(tmp_path, OFFLINE)
    ((wandb_id, run),) = offline_runs(study).items()
    assert wandb_id == f"{run_id}-2"
    assert run.history == history(tmp_path)


def test_a_run_that_waited_for_others_keeps_its_id(tmp_path: Path) -> None:
    """Beyond max_live nothing is written before a run ends, so nothing was uploaded either."""
    sweep = (OFFLINE, "tracking.max_live=1", "-m", "seed=0,1")
    train_to_stop(tmp_path, *sweep)
    study = tmp_path / "outputs/studies/s"
    assert len(offline_runs(study)) == 1
    train_on(tmp_path, *sweep)
    runs = offline_runs(study)
    assert sorted(runs) == sorted(path.parent.name for path in tmp_path.glob("outputs/runs/*/*/result.json"))
    for run_id, run in runs.items():
        lines = (tmp_path / "outputs/runs" / run_id[:2] / run_id / "history.jsonl").read_text().splitlines()
        assert run.history == [json.loads(line) for line in lines]


def test_a_kill_between_the_new_file_and_the_old_one_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_to_stop(tmp_path, OFFLINE)
    study = tmp_path / "outputs/studies/s"
    time.sleep(1.1)  # the client names its folders by the second
    with monkeypatch.context() as patch:
        patch.setattr(EarlierRun, "remove_files", lambda self, opened: [])
        train_on(tmp_path, OFFLINE, stop=8)
    assert len(list(study.glob("wandb/offline-run-*"))) == 2
    train_on(tmp_path, OFFLINE)
    (run,) = offline_runs(study).values()
    assert run.history == history(tmp_path)


def test_an_attempt_that_starts_anew_has_an_id_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_to_stop(tmp_path, OFFLINE)
    run_id = run_folder(tmp_path).name
    assert train_here(monkeypatch, tmp_path, *CELL, OFFLINE) == 0
    runs = offline_runs(tmp_path / "outputs/studies/s")
    assert {name: len(run.history) for name, run in runs.items()} == {
        run_id: len(STEPS), f"{run_id}-2": len(history(tmp_path))
    }  # fmt: skip


def test_what_was_not_finite_is_so_again(tmp_path: Path) -> None:
    mirror = tracker(tmp_path)
    run = mirror.start("abc", {}, "", rows_before=[{"train/step": 0, "memory/bits": None}])
    run.log({"train/step": 1, "memory/bits": float("nan")})
    run.finish({}, 0)
    mirror.close()
    first, second = offline_runs(tmp_path)["abc"].history
    assert type(first["memory/bits"]) is type(second["memory/bits"])


# -- a server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_rows", [1, CHECKPOINT, len(STEPS)])
def test_an_online_run_goes_on_after_the_rows_of_the_server(
    num_rows: int, server: Server, tmp_path: Path
) -> None:
    """The server has rows after the checkpoint: they are measured again, and not sent again."""
    train_to_stop(tmp_path, ONLINE, **online(server, tmp_path))
    run_id = run_folder(tmp_path).name
    assert steps(server.runs[run_id]["rows"]) == STEPS
    train_on(tmp_path, ONLINE, num_rows=num_rows, **online(server, tmp_path))
    assert list(server.runs) == [run_id]
    run = server.runs[run_id]
    assert without_own(run["rows"]) == history(tmp_path)
    assert [row["_step"] for row in run["rows"]] == list(range(len(run["rows"])))  # numbered through
    assert (run["exit"], run["summary"]["status"]) == (0, "finished")
    assert "attempt" not in run["name"]
    record = result(tmp_path)["provenance"]["wandb"]
    assert record["url"].endswith(f"/runs/{run_id}")
    assert len(list(tmp_path.glob("outputs/studies/s/wandb/run-*"))) == 1


def test_rows_that_the_server_lacks_come_from_the_history(server: Server, tmp_path: Path) -> None:
    train_to_stop(tmp_path, ONLINE, **online(server, tmp_path))
    (run,) = server.runs.values()
    del run["rows"][2:]  # the killed client had sent two rows
    train_on(tmp_path, ONLINE, **online(server, tmp_path))
    assert without_own(run["rows"]) == history(tmp_path)


def test_a_server_that_forgot_the_run_gets_all_of_it(server: Server, tmp_path: Path) -> None:
    train_to_stop(tmp_path, ONLINE, **online(server, tmp_path))
    server.runs.clear()
    train_on(tmp_path, ONLINE, **online(server, tmp_path))
    ((run_id, run),) = server.runs.items()
    assert run_id == run_folder(tmp_path).name
    assert without_own(run["rows"]) == history(tmp_path)


def test_a_run_that_was_deleted_on_the_server_is_followed_by_a_whole_one(
    server: Server, tmp_path: Path
) -> None:
    train_to_stop(tmp_path, ONLINE, **online(server, tmp_path))
    run_id = run_folder(tmp_path).name
    server.runs.clear()
    server.deleted = {run_id}
    train_on(tmp_path, ONLINE, **online(server, tmp_path))
    assert list(server.runs) == [f"{run_id}-2"]
    assert without_own(server.runs[f"{run_id}-2"]["rows"]) == history(tmp_path)
    assert result(tmp_path)["provenance"]["wandb"]["id"] == f"{run_id}-2"


def test_a_server_that_does_not_tell_its_rows_gets_a_whole_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_to_stop(tmp_path, ONLINE, **online(server, tmp_path))
    run_id = run_folder(tmp_path).name
    monkeypatch.setattr(Handler, "answer_MemcapLastRow", lambda self, variables: {})
    train_on(tmp_path, ONLINE, **online(server, tmp_path))
    assert sorted(server.runs) == [run_id, f"{run_id}-2"]
    assert steps(server.runs[run_id]["rows"]) == STEPS
    assert without_own(server.runs[f"{run_id}-2"]["rows"]) == history(tmp_path)


def test_offline_before_and_online_now_is_one_run_on_the_server(server: Server, tmp_path: Path) -> None:
    train_to_stop(tmp_path, OFFLINE)
    train_on(tmp_path, ONLINE, **online(server, tmp_path))
    ((run_id, run),) = server.runs.items()
    assert run_id == run_folder(tmp_path).name
    assert without_own(run["rows"]) == history(tmp_path)
    assert offline_runs(tmp_path / "outputs/studies/s") == {}, "`wandb sync` would append its rows"


def wandb_sync(server: Server, folder: Path) -> None:
    folders = [str(path) for path in folder.glob("outputs/studies/s/wandb/offline-run-*")]
    subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *folders], cwd=folder, env=clean(folder, server.url),
        check=True, capture_output=True,
    )  # fmt: skip


def test_uploaded_before_and_online_now_is_one_run_on_the_server(server: Server, tmp_path: Path) -> None:
    train_to_stop(tmp_path, OFFLINE)
    wandb_sync(server, tmp_path)
    ((run_id, run),) = server.runs.items()
    assert steps(run["rows"]) == STEPS
    train_on(tmp_path, ONLINE, **online(server, tmp_path))
    assert list(server.runs) == [run_id]
    assert without_own(run["rows"]) == history(tmp_path)


def test_online_before_and_offline_now_is_a_whole_run_of_its_own(server: Server, tmp_path: Path) -> None:
    train_to_stop(tmp_path, ONLINE, **online(server, tmp_path))
    run_id, study = run_folder(tmp_path).name, tmp_path / "outputs/studies/s"
    train_on(tmp_path, OFFLINE, stop=9)
    assert steps(server.runs[run_id]["rows"]) == STEPS
    assert steps(offline_runs(study)[f"{run_id}-2"].history) == list(range(10))
    train_on(tmp_path, OFFLINE)
    ((wandb_id, run),) = offline_runs(study).items()
    assert wandb_id == f"{run_id}-2"
    assert run.history == history(tmp_path)
    assert result(tmp_path)["provenance"]["wandb"]["id"] == wandb_id


def test_a_server_that_takes_no_run_any_more_leaves_a_whole_offline_run(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first run is opened; that of the second cell, which the server knows, is not."""
    sweep = ("tracking.mode=auto", "-m", "seed=0,1")
    train_to_stop(tmp_path, *sweep, **online(server, tmp_path))
    first, second = server.runs
    with pytest.MonkeyPatch.context() as patch:
        open_client = WandbTracker.open_client

        def refused(self: WandbTracker, run: Any) -> Any:
            if run.key == second and self.mode == "online":
                raise RuntimeError("the server is closed")
            return open_client(self, run)

        patch.setattr(WandbTracker, "open_client", refused)
        train_on(tmp_path, *sweep, **online(server, tmp_path))
    assert "going on offline" in capsys.readouterr().err
    ((wandb_id, run),) = offline_runs(tmp_path / "outputs/studies/s").items()
    assert wandb_id == f"{second}-2"
    lines = (tmp_path / "outputs/runs" / second[:2] / second / "history.jsonl").read_text().splitlines()
    assert run.history == [json.loads(line) for line in lines]
    assert steps(server.runs[second]["rows"]) == STEPS[:-1], "the stop came at the row of the first"
    assert len(server.runs[first]["rows"]) == len(lines)
    assert used_ids(tmp_path / "outputs/runs" / second[:2] / second) == [second, wandb_id]


# -- kill -9 ------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys, time
from memcap.pack_recorder import PackRecorder
from memcap.train import main
on_row = PackRecorder.on_row
def killed(self, member, row):
    on_row(self, member, row)
    if row["train/step"] >= 5:
        time.sleep(float(os.environ["PAUSE_S"]))
        os.kill(os.getpid(), signal.SIGKILL)
PackRecorder.on_row = killed
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "pause_s"),
    [
        pytest.param("offline", 0.0, marks=pytest.mark.long),
        ("offline", 1.5),
        pytest.param("online", 0.0, marks=pytest.mark.long),
        ("online", 3.0),
    ],
)
def test_after_kill_9_nothing_is_missing_and_nothing_is_there_twice(
    mode: str, pause_s: float, server: Server, tmp_path: Path
) -> None:
    """With a pause the rows have gone out; without one the client's service outlives the kill for a moment."""
    environment = online(server, tmp_path) if mode == "online" else {}
    arguments = (f"tracking.mode={mode}",)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *SMALL, *CELL, *arguments], cwd=tmp_path,
        env=clean(tmp_path, PAUSE_S=str(pause_s), **environment), capture_output=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert steps(history(tmp_path)) == STEPS
    run_id = run_folder(tmp_path).name
    if pause_s and mode == "online":
        assert steps(server.runs[run_id]["rows"]) == STEPS
    train_on(tmp_path, *arguments, **environment)
    runs = offline_runs(tmp_path / "outputs/studies/s")
    if mode == "online":
        assert runs == {}
        assert list(server.runs) == [run_id]
        assert without_own(server.runs[run_id]["rows"]) == history(tmp_path)
    else:
        assert list(runs) == [run_id]
        assert runs[run_id].history == history(tmp_path)


def test_wandb_sync_uploads_a_continued_run_once(server: Server, tmp_path: Path) -> None:
    train_to_stop(tmp_path, OFFLINE)
    train_on(tmp_path, OFFLINE)
    wandb_sync(server, tmp_path)
    (run,) = server.runs.values()
    assert without_own(run["rows"]) == history(tmp_path)
    assert run["exit"] == 0


# -- notes --------------------------------------------------------------------------------------------


def test_an_id_with_a_number_is_named_after_its_attempt() -> None:
    assert shown_name("seed=1", "abc", "abc") == "seed=1"
    assert shown_name("seed=1", "abc", "abc-3") == "seed=1 (attempt 3)"
    assert shown_name("seed=1", "abc", "agents-own") == "seed=1"


def test_a_run_that_had_files_may_have_been_uploaded(tmp_path: Path) -> None:
    """Also where an attempt went on with it, and was killed before it wrote any."""
    wandb, record = tmp_path / "wandb", {"id": "abc", "mode": "offline"}
    for has_files, on_server in [(False, False), (True, True), (False, True)]:
        note_run(tmp_path, record, ["abc"], wandb, has_files)
        assert earlier_run(tmp_path, wandb) == EarlierRun("abc", on_server, ())
    note_run(tmp_path, record | {"id": "abc-2"}, ["abc", "abc-2"], wandb, has_files=False)
    assert earlier_run(tmp_path, wandb) == EarlierRun("abc-2", False, ())
    note_opened(tmp_path)  # its failure was mirrored
    assert earlier_run(tmp_path, wandb) == EarlierRun("abc-2", True, ())
    assert used_ids(tmp_path) == ["abc", "abc-2"]


def test_what_the_note_of_a_run_tells(tmp_path: Path) -> None:
    wandb = tmp_path / "wandb"
    assert earlier_run(tmp_path, wandb) is None
    note_id(tmp_path, {"id": "abc"}, [])  # killed before the run was opened: nothing is known of it
    assert earlier_run(tmp_path, wandb) == EarlierRun("abc", True, ())
    for name in (
        "offline-run-20260101_000000-abc",
        "run-20260102_000000-abc",
        "offline-run-20260101_000000-xabc",
    ):
        (wandb / name).mkdir(parents=True)
    note_id(tmp_path, {"id": "abc", "mode": "offline"}, [])
    found = earlier_run(tmp_path, wandb)
    assert found is not None
    assert [path.name for path in found.files] == [
        "offline-run-20260101_000000-abc", "run-20260102_000000-abc"
    ]  # fmt: skip
    assert found.can_go_on("offline")
    assert found.can_go_on("online")
    assert found.remove_files(found.files[1]) == []
    assert sorted(os.listdir(wandb)) == ["offline-run-20260101_000000-xabc", "run-20260102_000000-abc"]
    atomic.write_text(tmp_path / "wandb.json", "torn")
    assert earlier_run(tmp_path, wandb) is None
    assert used_ids(tmp_path) == []
