"""python -m memcap.sync where the server, the words or the process are in trouble: nothing twice, nothing lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sync_cases import Sync, histories, rows_there
from wandb_cases import clean
from wandb_server import Server

from memcap.records import wandb_upload


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
