"""python -m memcap.sync with the real client: each row is on the server once, however often it is called."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sync_cases import Sync, histories, rows_there, statuses
from wandb_cases import clean
from wandb_files import offline_runs
from wandb_server import Server

from memcap.records import wandb_upload
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.wandb_probe import RunThere, run_there


def test_all_rows_arrive_once_however_often_it_is_called(
    study: Path, server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offline = offline_runs(study)
    assert sync("dry_run=true") == 0
    assert server.runs == {}
    assert statuses(capsys.readouterr().out) == ["would send"] * 4
    assert sync(WANDB_MODE="offline") == 0  # as on a node without a network
    assert statuses(capsys.readouterr().out) == ["sent"] * 4
    assert rows_there(server) == histories(tmp_path)
    for run_id, run in server.runs.items():
        before = offline[run_id]
        assert (run["name"], run["group"], run["job_type"]) == (before.name, before.group, before.job_type)
        assert {k: v["value"] for k, v in run["config"].items() if k != "_wandb"} == before.config
        assert {k: v for k, v in run["summary"].items() if not k.startswith("_")} == before.summary
        assert run["exit"] == before.exit_code == 0
    server.requests.clear()
    assert sync() == 0
    assert "MemcapRun" not in server.requests, "what was seen there is not asked for again"
    assert sync("verify=true") == 0
    assert server.requests.count("MemcapRun") == 4
    (study / "wandb_synced.jsonl").unlink()
    assert sync() == 0
    assert "UpsertBucket" not in server.requests
    assert statuses(capsys.readouterr().out.split("verify=true asks again\n")[-1]) == ["there"] * 4
    assert rows_there(server) == histories(tmp_path)
    assert not (study / "wandb" / "sync").exists()
    assert len(list(study.glob("wandb/offline-run-*/*.synced"))) == 4, "`wandb sync` skips them"


def test_what_was_seen_there_and_is_gone_is_found_on_request(
    study: Path, server: Server, sync: Sync, tmp_path: Path
) -> None:
    assert sync() == 0
    server.runs.clear()
    assert sync() == 0
    assert server.runs == {}
    assert sync("verify=true") == 0
    assert rows_there(server) == histories(tmp_path)


def test_a_run_that_the_server_has_in_part_is_completed(
    study: Path, server: Server, sync: Sync, tmp_path: Path
) -> None:
    files = [str(path) for path in study.glob("wandb/offline-run-*")]
    subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *files], cwd=tmp_path, env=clean(tmp_path, server.url),
        check=True, capture_output=True,
    )  # fmt: skip
    first, second, third, fourth = server.runs.values()
    del first["rows"][5:]
    del second["rows"][1:]
    second["exit"], second["summary"] = None, {}
    third["exit"] = None
    fourth["rows"].clear()
    assert sync() == 0
    assert rows_there(server) == histories(tmp_path)
    assert [run["exit"] for run in server.runs.values()] == [0] * 4


def test_rows_that_arrive_while_it_looks_are_not_sent_again(
    study: Path, server: Server, sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of a call that was killed is still sending: the server knows fewer rows than a moment later."""
    assert sync() == 0
    for run in server.runs.values():
        del run["rows"][8:]
        run["exit"] = None
    asked: list[str] = []

    def early(credentials: Any, entity: str, project: str, wandb_id: str) -> RunThere:
        there = run_there(credentials, entity, project, wandb_id)
        asked.append(wandb_id)
        if asked.count(wandb_id) > 1:
            return there
        return dataclasses.replace(there, num_rows=5, last_row=server.runs[wandb_id]["rows"][4])

    monkeypatch.setattr(wandb_upload, "run_there", early)
    assert sync("verify=true") == 0
    assert rows_there(server) == histories(tmp_path)
    assert [run["exit"] for run in server.runs.values()] == [0] * 4


def test_rows_that_are_there_twice_are_told_and_left_alone(
    study: Path, server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync() == 0
    first, second, *_ = server.runs.values()
    first["rows"] *= 2
    second["rows"][7:] = second["rows"][8:]
    before = rows_there(server)
    capsys.readouterr()
    assert sync("verify=true") == 1
    out = capsys.readouterr().out
    assert sorted(statuses(out)) == ["differs", "differs", "there", "there"]
    assert "the server has 30 rows, the record 15" in out
    assert rows_there(server) == before


def test_fragments_are_one_run_and_a_record_less_file_goes(
    study: Path, server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fragment = next(study.glob("wandb/offline-run-*"))
    run_id = fragment.name.rsplit("-", 1)[-1]
    shutil.copytree(fragment, fragment.with_name(f"offline-run-20200101_000000-{run_id}"))
    for name, age_s in (("old", 100.0), ("new", 0.0)):
        empty = study / "wandb" / f"offline-run-20200101_000000-{name}" / f"run-{name}.wandb"
        empty.parent.mkdir()
        empty.write_bytes(b":W&B\xe1\xbe\x00")
        os.utime(empty, (time.time() - age_s,) * 2)
    assert sync() == 0
    assert rows_there(server) == histories(tmp_path)
    assert "1 empty files" in capsys.readouterr().out
    assert [path.name for path in study.glob("wandb/*-20200101_000000-???")] == [
        "offline-run-20200101_000000-new"
    ]


def test_a_project_and_an_entity_can_be_given(study: Path, server: Server, sync: Sync) -> None:
    assert sync("project=other", "entity=team") == 0
    assert {(run["project"], run["entity"]) for run in server.runs.values()} == {("other", "team")}


def test_a_mark_goes_where_the_server_is_seen_to_lack_something(
    study: Path, server: Server, sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync() == 0
    next(iter(server.runs.values()))["rows"][-1]["train/step"] = 999
    assert sync() == 0
    assert sync("verify=true") == 1
    capsys.readouterr()
    assert sync() == 1
    assert sorted(statuses(capsys.readouterr().out)) == ["differs", "there", "there", "there"]


def test_one_process_at_a_time(
    study: Path, server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Owner(tmp_path / "outputs") as owner:
        lock = FolderLock(study / "wandb" / "sync", owner)
        assert lock.acquire()
        assert sync() == 2
        lock.release()
    assert "study=s is being synced by another process" in capsys.readouterr().err
    assert server.runs == {}


def test_a_record_that_cannot_be_read_does_not_keep_the_others(
    study: Path, server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = next(tmp_path.glob("outputs/runs/*/*/history.jsonl"))
    torn.write_bytes(torn.read_bytes().replace(b"{", b"", 1))
    whole = {path.parent.name for path in tmp_path.glob("outputs/runs/*/*/history.jsonl")} - {
        torn.parent.name
    }
    assert sync() == 1
    assert f"{torn.parent.name}: its record cannot be read" in capsys.readouterr().out
    assert set(server.runs) == whole
