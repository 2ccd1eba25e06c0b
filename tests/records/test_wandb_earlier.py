"""A training that continues is one offline W&B run with every row once, whatever ended the attempt before."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from continued_runs import (
    CELL,
    OFFLINE,
    STEPS,
    history,
    result,
    run_folder,
    steps,
    train_on,
    train_to_stop,
)
from wandb_cases import tracker, train_here
from wandb_files import offline_runs

from memcap.records import atomic
from memcap.records.wandb_earlier import EarlierRun, earlier_run, note_opened, note_run
from memcap.records.wandb_ids import note_id, shown_name, used_ids


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
