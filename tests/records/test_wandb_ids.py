"""No two attempts of a run leave W&B runs of one id, whatever ended the first."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wandb_cases import SMALL, clean, train_here
from wandb_files import offline_runs

from memcap.records.wandb_ids import forget_ids, next_id, note_id, used_ids

OFFLINE = ("tracking.mode=offline", "study=s")


def result(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("outputs/runs/*/*/result.json")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


@pytest.mark.parametrize(
    ("used", "attempt", "expected"),
    [
        ([], 1, "abc"),
        ([], 4, "abc"),  # three attempts without W&B
        (["abc"], 2, "abc-2"),
        (["abc"], 3, "abc-3"),  # the second attempt had no W&B run
        (["abc", "abc-2"], 2, "abc-3"),  # a count of attempts that was lost
        (["agents-own"], 2, "abc"),
    ],
)
def test_an_id_is_used_once(used: list[str], attempt: int, expected: str) -> None:
    assert next_id("abc", attempt, used) == expected


def test_used_ids_are_kept_in_order(tmp_path: Path) -> None:
    assert used_ids(tmp_path) == []
    for wandb_id in ("abc", "abc", "abc-2"):  # noted before a run is opened, and after
        note_id(tmp_path, {"id": wandb_id, "mode": "offline"}, used_ids(tmp_path))
    assert used_ids(tmp_path) == ["abc", "abc-2"]
    (tmp_path / "wandb.json").write_text("torn")
    assert used_ids(tmp_path) == []
    forget_ids(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_forced_attempt_has_its_own_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ([], ["force=true"]):
        assert train_here(monkeypatch, tmp_path, *OFFLINE, *arguments) == 0
    record = result(tmp_path)
    runs = offline_runs(tmp_path / "outputs/studies/s")  # fails where one id has two files
    assert sorted(runs) == [record["run_id"], f"{record['run_id']}-2"]
    assert record["provenance"]["wandb"] == {
        "id": f"{record['run_id']}-2", "mode": "offline", "project": "memcap", "entity": None,
        "folder": str(tmp_path / "outputs/studies/s/wandb"),
    }  # fmt: skip
    assert runs[f"{record['run_id']}-2"].name.endswith("(attempt 2)")
    assert {len(run.history) for run in runs.values()} == {4}


def test_an_attempt_after_one_without_w_and_b_keeps_the_runs_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train_here(monkeypatch, tmp_path, "study=s", "tracking=disabled") == 0
    assert "wandb" not in result(tmp_path)["provenance"]
    assert train_here(monkeypatch, tmp_path, *OFFLINE, "force=true") == 0
    assert list(offline_runs(tmp_path / "outputs/studies/s")) == [result(tmp_path)["run_id"]]


KILLED = """
import os, signal, sys, time
from memcap.pack_recorder import PackRecorder
from memcap.train import main
on_row = PackRecorder.on_row
def killed_at_step_10(self, member, row):
    on_row(self, member, row)
    if row["train/step"] >= 10:
        time.sleep(2.5)
        os.kill(os.getpid(), signal.SIGKILL)
PackRecorder.on_row = killed_at_step_10
main()
"""


INTERRUPTED = """
import os, signal, sys
import wandb
from memcap.train import main
init = wandb.init
def interrupted(*arguments, **more):
    run = init(*arguments, **more)
    os.kill(os.getpid(), signal.SIGINT)
    return run
wandb.init = interrupted
sys.exit(main())
"""


def test_ctrl_c_while_a_run_is_opened_leaves_its_id_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *SMALL, *OFFLINE],
        cwd=tmp_path,
        env=clean(tmp_path),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, "memcap: interrupted\n")
    assert list(tmp_path.rglob("*run-*")) == []
    assert list(tmp_path.rglob("wandb.json")) == []
    assert train_here(monkeypatch, tmp_path, *OFFLINE) == 0
    assert list(offline_runs(tmp_path / "outputs/studies/s")) == [result(tmp_path)["run_id"]]
    assert result(tmp_path)["provenance"]["wandb"]["id"] == result(tmp_path)["run_id"]


def test_a_killed_attempt_keeps_its_id_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows stay in W&B under the run's id; the retry is another W&B run, and nothing is there twice."""
    arguments = [*SMALL, *OFFLINE, "measure.points=20"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], cwd=tmp_path, env=clean(tmp_path), capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    (history,) = tmp_path.glob("outputs/runs/*/*/history.jsonl")
    before = [json.loads(line)["train/step"] for line in history.read_text(encoding="utf-8").splitlines()]
    run_id = history.parent.name
    torn = offline_runs(tmp_path / "outputs/studies/s")[run_id]
    assert [row["train/step"] for row in torn.history] == before
    assert torn.exit_code is None
    assert train_here(monkeypatch, tmp_path, *OFFLINE, "measure.points=20") == 0
    runs = offline_runs(tmp_path / "outputs/studies/s")
    assert sorted(runs) == [run_id, f"{run_id}-2"]
    assert result(tmp_path)["provenance"]["wandb"]["id"] == f"{run_id}-2"
    assert len(runs[f"{run_id}-2"].history) > len(before)
    assert runs[f"{run_id}-2"].exit_code == 0
