"""A training that continues is one W&B run on the server, with every row once, whatever it has of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from continued_runs import (
    CELL,
    CHECKPOINT,
    OFFLINE,
    ONLINE,
    STEPS,
    history,
    online,
    result,
    run_folder,
    steps,
    train_on,
    train_to_stop,
    without_own,
)
from wandb_cases import SMALL, clean
from wandb_files import offline_runs
from wandb_server import Handler, Server, running_server

from memcap.records import wandb_client
from memcap.records.wandb_ids import used_ids
from memcap.records.wandb_tracker import WandbTracker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    wandb_client.end_service()  # its settings are read when it starts
    with running_server() as server:
        yield server
        wandb_client.end_service()


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
