"""The real client in online mode: which server and account it is for, and who is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_cases import row, run_script, tracker, train
from wandb_files import offline_runs
from wandb_server import KEY, Server

from memcap.errors import BadInput
from memcap.records import wandb_client

NOWHERE = "http://127.0.0.1:9"


def plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith("_")}


def test_concurrent_runs_arrive_whole(server: Server, tmp_path: Path) -> None:
    done = run_script(
        """
        mirror = tracker(folder, "auto", max_live=8, tags=("a", "b"), notes="why", job_type="probe")
        runs = [mirror.start(f"id{i}", {"seed": i}, f"name {i}") for i in range(20)]
        for k in range(5):
            for run in runs:
                run.log(row(k))
        for i, run in enumerate(runs):
            run.finish({"memory/bits": 100.0 + i, "status": "finished"}, 0 if i else 1)
        mirror.close()
        assert mirror.mode == "online"
        print(runs[3].record["url"])
        """,
        tmp_path,
        server.url,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{server.url}/someone/memcap/runs/id3\n", "")
    assert sorted(server.runs) == sorted(f"id{i}" for i in range(20))
    for i in range(20):
        run = server.runs[f"id{i}"]
        assert (run["group"], run["name"], run["job_type"]) == ("widths", f"name {i}", "probe")
        assert (run["tags"], run["notes"]) == (["a", "b"], "why")
        assert run["config"]["seed"] == {"value": i}
        assert [plain(sent) for sent in run["rows"]] == [row(k) for k in range(5)]
        assert run["summary"]["memory/bits"] == 100.0 + i
        assert run["exit"] == (0 if i else 1)


@pytest.fixture
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """This process as one that has the server's address and a key for it."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb_client.end_service()  # its settings are read when it starts
    yield server
    wandb_client.end_service()


@pytest.mark.parametrize("trouble", ["absent", "hang", "drop", 403, 500])
def test_auto_goes_offline_where_no_server_answers(
    trouble: Any, here: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "absent":
        monkeypatch.setenv("WANDB_BASE_URL", NOWHERE)
    else:
        here.trouble = trouble
    warnings: list[str] = []
    started = time.monotonic()
    mirror = tracker(tmp_path / "study", "auto", warnings.append)
    assert time.monotonic() - started < 9  # 5 of them for the server
    runs = [mirror.start(f"id{i}", {"seed": i}, f"name {i}") for i in range(3)]
    for k in range(4):
        for run in runs:
            run.log(row(k))
    for run in runs:
        run.finish({"memory/bits": 1.0}, 0)
    mirror.close()
    assert len(warnings) == 1
    assert warnings[0].startswith("W&B: going on offline: ")
    found = offline_runs(tmp_path / "study")
    assert {name: len(run.history) for name, run in found.items()} == {"id0": 4, "id1": 4, "id2": 4}
    assert not list(tmp_path.glob("study/wandb/run-*")), "`wandb sync` would upload an empty run"


def test_online_without_a_server_is_refused_at_once(tmp_path: Path) -> None:
    done = train(tmp_path, "tracking.mode=online", url=NOWHERE)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"memcap: tracking.mode=online: {NOWHERE} cannot be reached")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    ("values", "environment", "said"),
    [
        ({"mode": "online"}, {"WANDB_API_KEY": ""}, "tracking.mode=online needs W&B credentials, got none"),
        ({"entity": "nobody"}, {}, "tracking.entity=nobody is no user or team that W&B knows"),
        ({"project": "a/b"}, {}, "project name 'a/b'"),
        ({}, {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "nonsense"}, "WANDB_BASE_URL must be an address like"),
        ({}, {"WANDB_API_KEY": "short"}, "API key must have 40+ characters, has 5"),
        ({}, {"WANDB_API_KEY": "!" * 40}, "API key may only contain"),
    ],
)
def test_what_w_and_b_refuses_is_bad_input(
    values: dict[str, Any],
    environment: dict[str, str],
    said: str,
    here: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here.refused_entities = {"nobody"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as refused:
        tracker(tmp_path / "study", **({"mode": "auto"} | values))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    assert here.runs == {}


@pytest.mark.parametrize("where", ["nowhere", "environment", "netrc"])
def test_auto_is_online_with_credentials_only(
    here: Server, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = here.url.removeprefix("http://")
    (tmp_path / "netrc").write_text(f"machine {host} login user password {KEY}\n")
    monkeypatch.setenv("WANDB_API_KEY", KEY if where == "environment" else "")
    if where != "netrc":
        monkeypatch.setenv("NETRC", str(tmp_path / "absent"))
    warnings: list[str] = []
    mirror = tracker(tmp_path, "auto", warnings.append)
    assert mirror.mode == ("offline" if where == "nowhere" else "online")
    assert warnings == []
    mirror.close()


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_first_run_that_is_refused_leaves_nothing(mode: str, server: Server, tmp_path: Path) -> None:
    server.max_runs = 0
    done = train(tmp_path, f"tracking.mode={mode}", url=server.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "the W&B server takes no run into project memcap of someone" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
