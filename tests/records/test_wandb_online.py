"""The real client in online mode, against a server on the loopback that answers like W&B's."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from wandb_files import offline_runs, read_wandb_file

MEMCAP = Path(__file__).resolve().parents[2]


class Server(ThreadingHTTPServer):
    """Takes runs and keeps what it was sent: rows, summaries and exit codes by run id."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.mutex = threading.Lock()
        self.refuse_after: int | None = None
        self.hangs = threading.Event()
        self.hang_after_rows = False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed leaves its requests: nothing to print into the output of later tests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        return json.loads(data) if data.startswith(b"{") else data

    def answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_PUT(self) -> None:
        self.body()
        self.answer({})

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        body = self.body()
        if self.server.hangs.is_set():
            time.sleep(60)
        if self.path == "/graphql":
            self.graphql(body["query"], body.get("variables") or {})
        elif stream := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", self.path):
            self.file_stream(stream.group(3), body)
        else:
            self.answer({}, 404)

    def graphql(self, query: str, variables: dict[str, Any]) -> None:
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        data: dict[str, Any] = {}
        if name and name.group(1) == "Viewer":
            data = {
                "viewer": {
                    "id": "1",
                    "entity": "someone",
                    "username": "someone",
                    "flags": "{}",
                    "teams": {"edges": []},
                }
            }
        elif name and name.group(1) == "UpsertBucket":
            run_id = variables["name"]
            with self.server.mutex:
                if self.server.refuse_after is not None and len(self.server.runs) >= self.server.refuse_after:
                    return self.answer({"errors": [{"message": "the server is closed"}]}, 400)
                run = self.server.runs.setdefault(run_id, {"rows": [], "summary": {}, "exit": None})
                run["group"] = variables.get("groupName") or run.get("group")
                run["config"] = json.loads(variables.get("config") or "{}")
            project = {"name": variables.get("project"), "entity": {"name": "someone"}}
            bucket = {
                "id": run_id,
                "name": run_id,
                "displayName": variables.get("displayName"),
                "sweepName": None,
                "historyLineCount": 0,
                "config": "{}",
                "project": project,
            }
            data = {"upsertBucket": {"bucket": bucket, "inserted": True}}
        elif name and name.group(1) == "CreateRunFiles":
            files = [
                {"name": file, "uploadUrl": f"{self.server.url}/put/{file}"} for file in variables["files"]
            ]
            data = {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        elif name and name.group(1) == "RunResumeStatus":
            data = {"model": None}
        elif name and name.group(1) == "ServerFeaturesQuery":
            data = {"serverInfo": {"features": []}}
        return self.answer({"data": data})

    def file_stream(self, run_id: str, body: dict[str, Any]) -> None:
        with self.server.mutex:
            run = self.server.runs[run_id]
            for name, file in (body.get("files") or {}).items():
                lines = (
                    [json.loads(line) for line in file["content"]]
                    if name.endswith((".jsonl", ".json"))
                    else []
                )
                if name == "wandb-history.jsonl":
                    run["rows"][file["offset"] :] = lines
                elif name == "wandb-summary.json":
                    run["summary"] = lines[-1]
            if body.get("complete"):
                run["exit"] = body.get("exitcode")
        self.answer({})
        if self.server.hang_after_rows:
            self.server.hangs.set()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def run_script(folder: Path, script: str, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the lines as a process of their own, in an empty home: the client reads its environment once."""
    home = folder / "home"
    home.mkdir()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    clean |= {
        "HOME": str(home),
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": "k" * 40,
        "NETRC": str(home / "netrc"),
    }
    start = f"""
import time
from pathlib import Path
from memcap.records.wandb_run import WandbTracker
folder = Path({str(folder)!r})
def row(k):
    return {{"train/step": 10 * k, "train/loss_nats": 1 / (k + 1)}}
"""
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(script)],
        cwd=home, env=clean | {"PYTHONPATH": str(MEMCAP)} | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith("_")}


def test_concurrent_runs_arrive_whole(server: Server, tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        tracker = WandbTracker("auto", "memcap", None, "widths", folder, max_live=8)
        runs = [tracker.start(f"id{i}", {"seed": i}, f"name {i}") for i in range(20)]
        for k in range(5):
            for run in runs:
                run.log(row(k))
        for i, run in enumerate(runs):
            run.finish({"memory/bits": 100.0 + i, "status": "finished"}, 0 if i else 1)
        tracker.close()
        assert tracker.mode == "online"
        """,
        server.url,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(server.runs) == sorted(f"id{i}" for i in range(20))
    for i in range(20):
        run = server.runs[f"id{i}"]
        assert run["group"] == "widths"
        assert run["config"]["seed"] == {"value": i}
        assert [plain(row) for row in run["rows"]] == [
            {"train/step": 10 * k, "train/loss_nats": 1 / (k + 1)} for k in range(5)
        ]
        assert run["summary"]["memory/bits"] == 100.0 + i
        assert run["exit"] == (0 if i else 1)


IMPATIENT = """
from memcap.records import wandb_client
wandb_client._LEAN["init_timeout"] = 2.0
"""
THREE_RUNS = """
runs = [tracker.start(f"id{i}", {"seed": i}, f"name {i}") for i in range(3)]
for k in range(4):
    for run in runs:
        run.log(row(k))
for run in runs:
    run.finish({"memory/bits": 1.0}, 0)
tracker.close()
"""


def test_auto_goes_offline_when_no_server_answers(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        IMPATIENT + 'tracker = WandbTracker("auto", "memcap", None, "widths", folder)' + THREE_RUNS,
        "http://127.0.0.1:9",
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) == 1
    assert "going on offline" in done.stderr
    runs = offline_runs(tmp_path)
    assert sorted(runs) == ["id0", "id1", "id2"]
    assert [len(run.history) for run in runs.values()] == [4, 4, 4]
    assert not list(tmp_path.glob("wandb/run-*")), (
        "`wandb sync` would upload an empty run from the failed attempt"
    )


def test_online_says_that_no_server_answers(tmp_path: Path) -> None:
    script = """
    from memcap.errors import BadInput
    tracker = WandbTracker("online", "memcap", None, "widths", folder)
    try:
        tracker.start("id0", {}, "name")
    except BadInput as error:
        print(error)
    """
    done = run_script(tmp_path, IMPATIENT + textwrap.dedent(script), "http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert "tracking.mode=online: the W&B server did not take run id0" in done.stdout


def test_runs_that_the_server_stops_taking_are_mirrored_offline(server: Server, tmp_path: Path) -> None:
    server.refuse_after = 3
    script = """
    tracker = WandbTracker("auto", "memcap", None, "widths", folder)
    runs = [tracker.start(f"id{i}", {"seed": i}, f"name {i}") for i in range(8)]
    for k in range(4):
        for run in runs:
            run.log(row(k))
    for run in runs[:7]:
        run.finish({"memory/bits": 1.0}, 0)
    tracker.close(130)
    print(tracker.mode)
    """
    done = run_script(tmp_path, IMPATIENT + textwrap.dedent(script), server.url)
    assert (done.returncode, done.stdout) == (0, "offline\n")
    assert len(done.stderr.splitlines()) == 1
    offline = offline_runs(tmp_path)
    assert len(server.runs) == 3
    # Every run once, on one side or the other; only one that had not ended may be missing.
    assert set(server.runs) | set(offline) >= {f"id{i}" for i in range(7)}
    assert not set(server.runs) & set(offline)
    rows = [run["rows"] for run in server.runs.values()] + [run.history for run in offline.values()]
    assert {len(some) for some in rows} == {4}
    assert len(list(tmp_path.glob("wandb/run-*"))) == 3, "folders of refused runs are gone"


@pytest.mark.parametrize("where", ["nowhere", "environment", "netrc"])
def test_auto_is_online_with_credentials_only(server: Server, tmp_path: Path, where: str) -> None:
    (tmp_path / "netrc").write_text(
        f"machine {server.url.removeprefix('http://')} login user password {'k' * 40}\n"
    )
    environment = {
        "WANDB_API_KEY": "k" * 40 if where == "environment" else "",
        "NETRC": str(tmp_path / ("netrc" if where == "netrc" else "absent")),
    }
    script = 'print(WandbTracker("auto", "memcap", None, "widths", folder).mode)'
    done = run_script(tmp_path, script, server.url, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("offline\n" if where == "nowhere" else "online\n")


def test_online_without_credentials_does_not_ask(server: Server, tmp_path: Path) -> None:
    script = """
    from memcap.errors import BadInput
    try:
        WandbTracker("online", "memcap", None, "widths", folder)
    except BadInput as error:
        print(error)
    """
    done = run_script(tmp_path, script, server.url, WANDB_API_KEY="")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"needs W&B credentials, got none for {server.url}" in done.stdout


@pytest.mark.slow
def test_a_server_that_hangs_holds_up_the_end_for_seconds_only(server: Server, tmp_path: Path) -> None:
    server.hang_after_rows = True
    script = """
    tracker = WandbTracker("online", "memcap", None, "widths", folder)
    runs = [tracker.start(f"id{i}", {"seed": i}, f"name {i}") for i in range(20)]
    for run in runs[1:]:
        run.opening.result()  # all are open before the server falls silent
    for k in range(4):
        for run in runs:
            run.log(row(k))
    start = time.monotonic()
    for run in runs:
        run.finish({"memory/bits": 1.0}, 0)
    finished = time.monotonic()
    tracker.close()
    print(round(finished - start, 1), round(time.monotonic() - start, 1))
    """
    start = time.monotonic()
    done = run_script(tmp_path, script, server.url)
    assert (done.returncode, done.stderr) == (0, "")
    finish_s, close_s = map(float, done.stdout.split())
    assert finish_s < 1, "the training waited for the server"
    assert close_s < 40
    assert time.monotonic() - start < 60
    files = sorted(tmp_path.glob("wandb/run-*/run-*.wandb"))
    assert [len(read_wandb_file(path).history) for path in files] == [4] * 20
