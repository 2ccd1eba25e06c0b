"""python -m memcap.sync with the real client: each row is on the server once, after any trouble and repeat."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_cases import clean, train_here
from wandb_files import offline_runs
from wandb_server import KEY, Server, running_server

from memcap.pack_recorder import PackRecorder
from memcap.records import wandb_client, wandb_upload
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.wandb_earlier import earlier_run
from memcap.records.wandb_probe import RunThere, run_there
from memcap.sync import main

CELLS = ("study=s", "measure.points=20", "hardware.engine=batched", "tracking.mode=offline")
SWEEP = ("-m", "seed=0,1,2,3")
Sync = Callable[..., int]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four offline runs; its tests work on copies."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        assert train_here(patch, folder, *CELLS, *SWEEP) == 0
    return folder


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    for note in tmp_path.glob("outputs/runs/*/*/wandb.json"):  # it says where the files are
        note.write_text(
            note.read_text(encoding="utf-8").replace(str(trained), str(tmp_path)), encoding="utf-8"
        )
    return tmp_path / "outputs" / "studies" / "s"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server
        wandb_client.end_service()


@pytest.fixture
def sync(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """``sync("verify=true")``: the command for the study ``s``, with that server and a key for it."""

    def synced(*arguments: str, **environment: str) -> int:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            monkeypatch.delenv(name)
        variables = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "NETRC": str(tmp_path / "netrc")}
        for name, value in (variables | environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        wandb_client.end_service()  # its settings are read when it starts
        return main(["study=s", *arguments])

    return synced


def histories(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.parent.name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in folder.glob("outputs/runs/*/*/history.jsonl")
    }


def rows_there(server: Server) -> dict[str, list[dict[str, Any]]]:
    """The rows of all runs without the client's own keys."""
    return {
        run_id: [{k: v for k, v in row.items() if not k.startswith("_")} for row in run["rows"]]
        for run_id, run in server.runs.items()
    }


def statuses(output: str) -> list[str]:
    """The last column of the table."""
    lines = output.split("\n\n")[0].splitlines()[1:]
    return [line[line.rindex("  ", 0, len(line.rstrip())) :].strip() for line in lines]


# -- a server that is well ------------------------------------------------------------------------------


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


# -- trouble --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [500, 403, "drop", "hang"])
@pytest.mark.parametrize("after", [1, 5])
def test_a_server_that_fails_in_the_middle_gets_the_rest_later(
    trouble: Any, after: int, study: Path, server: Server, sync: Sync, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(wandb_upload, "FINISH_TIMEOUT_S", 3.0)
    server.trouble, server.trouble_after = trouble, after
    assert sync() == 1
    _, *rest = capsys.readouterr().out.split("\n\n")
    told = [line for line in rest[0].splitlines() if line.startswith("stopped: ")]
    assert len(told) == 1
    assert server.url in told[0]
    assert len(rest[0].splitlines()) == 2, "how many, and that line"
    server.trouble = None
    assert sync() == 0
    assert rows_there(server) == histories(tmp_path)


def test_a_run_that_the_server_refuses_does_not_keep_the_others(
    study: Path, server: Server, sync: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deleted, *_ = histories(tmp_path)
    server.deleted = {deleted}
    assert sync() == 0
    out = capsys.readouterr().out
    assert f"{deleted}: somebody deleted it on the server; it was left out" in out
    assert rows_there(server) == {k: v for k, v in histories(tmp_path).items() if k != deleted}


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ((), {"WANDB_API_KEY": ""}, "no W&B credentials"),
        ((), {"WANDB_BASE_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        (("entity=nobody",), {}, "entity=nobody is no user or team"),
        (("study=t",), {}, "study must be s in"),
        (("projet=x",), {}, "did you mean project?"),
        (("dry_run=1",), {}, "dry_run must be true or false, got 1"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], environment: dict[str, str], said: str, study: Path, server: Server, sync: Sync,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server.refused_entities = {"nobody"}
    assert sync(*arguments, **environment) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err
    assert server.runs == {}


def start(folder: Path, server: Server) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "memcap.sync", "study=s"]
    return subprocess.Popen(
        command, cwd=folder, env=clean(folder, server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_streams(server: Server, number: int, process: subprocess.Popen[bytes]) -> None:
    while server.num_streams < number and process.poll() is None:
        time.sleep(0.005)


@pytest.mark.slow
def test_kills_and_repeats(study: Path, server: Server, sync: Sync, tmp_path: Path) -> None:
    server.delay_s = 0.05
    for number in (1, 3, 6):
        process = start(tmp_path, server)
        wait_for_streams(server, number, process)
        process.kill()
        process.communicate()
    assert sync() == 0
    assert rows_there(server) == histories(tmp_path)
    assert [run["exit"] for run in server.runs.values()] == [0] * 4


@pytest.mark.slow
def test_ctrl_c_ends_it_with_a_table(study: Path, server: Server, sync: Sync, tmp_path: Path) -> None:
    server.delay_s = 0.3
    process = start(tmp_path, server)
    wait_for_streams(server, 1, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "memcap: interrupted; the same command goes on"
    server.delay_s = 0.0
    assert sync() == 0
    assert rows_there(server) == histories(tmp_path)


# -- runs of other kinds --------------------------------------------------------------------------------


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
