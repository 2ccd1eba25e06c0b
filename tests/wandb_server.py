"""A stand-in for the W&B server on the loopback: the real client runs online against it, whole or in trouble.

It answers the requests of wandb 0.31 (a run's start, its stream of rows, its files, a sweep's agent) and keeps what
it was sent. ``trouble`` breaks it, from the start, while it runs, or after some requests, and None heals it.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

KEY = "k" * 40
HANG_S = 60.0
Trouble = Literal["hang", "drop", 403, 500] | None


class Server(ThreadingHTTPServer):
    """Takes runs and keeps what it was sent: rows, summaries and exit codes by run id.

    ``trouble``: what every request meets from now on (``hang``: no answer; ``drop``: the connection is cut; or an
    HTTP status). ``trouble_after``: after how many requests with rows it begins (None: at once).
    ``refused_entities`` are unknown to it, the ids ``deleted`` are not given again. ``commands`` are handed to the
    agent of a sweep one by one.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.mutex = threading.Lock()
        self.trouble: Trouble = None
        self.trouble_after: int | None = None
        self.num_streams = 0
        self.max_runs: int | None = None
        self.refused_entities: set[str] = set()
        self.deleted: set[str] = set()
        self.delay_s = 0.0
        self.sweep_yaml = ""
        self.commands: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.views: dict[str, dict[str, Any]] = {}  # saved views of projects, by name
        self.reports: dict[str, dict[str, Any]] = {}  # by id
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed leaves its requests: nothing to print into the output of later tests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that answers while the block lasts."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def resume_status(run_id: str, run: dict[str, Any]) -> dict[str, Any]:
    """A run as ``RunResumeStatus`` describes it: lists and mappings are JSON in a string."""
    return {
        "id": run_id,
        "name": run_id,
        "displayName": run["name"],
        "summaryMetrics": json.dumps(run["summary"]),
        "historyLineCount": len(run["rows"]),
        "eventsLineCount": len(run["events"]),
        "logLineCount": 0,
        "historyTail": json.dumps([json.dumps(row) for row in run["rows"][-1:]]),
        "eventsTail": json.dumps([json.dumps(event) for event in run["events"][-1:]]),
        "config": json.dumps(run["config"]),
        "tags": run["tags"],
        "notes": run["notes"],
        "state": {None: "running", 0: "finished"}.get(run["exit"], "failed"),
        # Without the client's telemetry a run counts as one that has not begun.
        "wandbConfig": json.dumps({"t": run["config"]["_wandb"]["value"]["t"]}),
    }


def stored_run(run_id: str, run: dict[str, Any]) -> dict[str, Any]:
    """A run as the public API has it."""
    created = datetime.fromtimestamp(run["created"], timezone.utc).isoformat()
    fields = dict.fromkeys(
        ("sweepName", "commit", "heartbeatAt", "description", "systemMetrics", "historyKeys")
    )
    return fields | {
        **{key: value for key, value in resume_status(run_id, run).items() if "Tail" not in key},
        "id": run_id, "projectId": "1", "group": run["group"], "jobType": run["job_type"], "createdAt": created,
        "readOnly": False, "systemMetrics": "{}", "user": {"name": "someone", "username": "someone"},
    }  # fmt: skip


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

    def in_trouble(self) -> bool:
        """Meets the request with the server's trouble, if it has one."""
        time.sleep(self.server.delay_s)
        after = self.server.trouble_after
        if self.server.trouble is None or (after is not None and self.server.num_streams < after):
            return False
        if self.server.trouble == "hang":
            self.server.closing.wait(HANG_S)
        if isinstance(self.server.trouble, int):
            self.answer({"errors": [{"message": "the server is in trouble"}]}, self.server.trouble)
        else:
            self.close_connection = True
        return True

    def do_PUT(self) -> None:
        self.body()
        if not self.in_trouble():
            self.answer({})

    def do_GET(self) -> None:
        if not self.in_trouble():
            self.answer({})

    def do_POST(self) -> None:
        body = self.body()
        if self.in_trouble():
            return
        if self.path == "/graphql":
            self.graphql(body["query"], body.get("variables") or {})
        elif stream := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", self.path):
            self.file_stream(stream.group(3), body)
        else:
            self.answer({}, 404)

    def graphql(self, query: str, variables: dict[str, Any]) -> None:
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found.group(1) if found else ""
        self.server.requests.append(name)
        method = getattr(self, f"answer_{name}", None)
        data = method(variables) if method else {}
        if data is not None:
            self.answer({"data": data})

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
                    # Rows are numbered, and what is sent for a number again takes its place.
                    run["rows"][file["offset"] : file["offset"] + len(lines)] = lines
                elif name == "wandb-events.jsonl":
                    run["events"][file["offset"] : file["offset"] + len(lines)] = lines
                elif name == "wandb-summary.json":
                    run["summary"] = lines[-1]
            if body.get("complete"):
                run["exit"] = body.get("exitcode")
            self.server.num_streams += 1
        self.answer({})

    # -- what each request asks for, by its name ------------------------------------------------------

    def answer_Viewer(self, variables: dict[str, Any]) -> dict[str, Any]:
        viewer = {
            "id": "1", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}
        }  # fmt: skip
        return {"viewer": viewer}

    def answer_MemcapAccess(self, variables: dict[str, Any]) -> dict[str, Any]:
        entity = variables.get("entity")
        known = None if entity in self.server.refused_entities else {"name": entity, "readOnly": False}
        return self.answer_Viewer(variables) | {"entity": known}

    def answer_UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        run_id = variables.get("name") or variables.get("id")
        entity = variables.get("entity") or "someone"
        with self.server.mutex:
            full = self.server.max_runs is not None and len(self.server.runs) >= self.server.max_runs
            if run_id not in self.server.runs and (full or entity in self.server.refused_entities):
                self.answer({"errors": [{"message": "the server is closed"}]}, 403)
                return None
            if run_id in self.server.deleted:
                said = f"run {run_id} was previously created and deleted; try a new run name"
                self.answer({"errors": [{"message": said}]}, 409)
                return None
            inserted = run_id not in self.server.runs
            new = {"rows": [], "events": [], "summary": {}, "exit": None, "config": {}}
            run = self.server.runs.setdefault(run_id, new)
            for key, field in (
                ("group", "groupName"), ("name", "displayName"), ("job_type", "jobType"), ("sweep", "sweep"),
                ("project", "project"), ("tags", "tags"), ("notes", "notes"), ("entity", "entity"),
            ):  # fmt: skip
                run[key] = variables.get(field) or run.get(key)
            run["config"] |= json.loads(variables.get("config") or "{}")
            run.setdefault("created", time.time())
        bucket = {
            "id": run_id,
            "name": run_id,
            "displayName": variables.get("displayName"),
            "sweepName": variables.get("sweep"),
            "historyLineCount": len(run["rows"]),
            "config": json.dumps(run["config"]),
            "project": {"name": variables.get("project") or "memcap", "entity": {"name": entity}},
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def answer_CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": file, "uploadUrl": f"{self.server.url}/put/{file}"} for file in variables["files"]]
        return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}

    # -- tables, which the client uploads as artifacts too ---------------------------------------------

    def answer_ArtifactType(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def answer_CreateArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        # As if it had this content already, so that nothing is uploaded.
        artifact = {"id": "1", "state": "COMMITTED", "artifactSequence": {"id": "1", "latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    # -- runs that go on --------------------------------------------------------------------------------

    def answer_RunResumeStatus(self, variables: dict[str, Any]) -> dict[str, Any]:
        """What the server has of a run; a client goes on after the last of these rows."""
        with self.server.mutex:
            run = self.server.runs.get(variables["name"])
            bucket = None if run is None else resume_status(variables["name"], run)
        name = {"id": "1", "name": variables.get("project"), "entity": {"id": "1", "name": "someone"}}
        return {"model": {**name, "bucket": bucket}}

    def answer_MemcapLastRow(self, variables: dict[str, Any]) -> dict[str, Any]:
        return self.answer_RunResumeStatus({**variables, "name": variables["run"]})

    def answer_MemcapRun(self, variables: dict[str, Any]) -> dict[str, Any]:
        return self.answer_MemcapLastRow(variables)

    def answer_ServerFeaturesQuery(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    # -- the public API ---------------------------------------------------------------------------------

    def answer_GetDefaultEntity(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "1", "entity": "someone"}}

    def answer_Runs(self, variables: dict[str, Any]) -> dict[str, Any]:
        """A page of a project's runs, oldest first; ``filters`` as ``{"group": {"$in": [...]}}``."""
        groups = json.loads(variables.get("filters") or "{}").get("group", {}).get("$in")
        with self.server.mutex:
            place = (variables["entity"], variables["project"])
            there = {
                run_id: run
                for run_id, run in self.server.runs.items()
                if (run["entity"] or "someone", run["project"] or "memcap") == place
            }
            chosen = sorted(
                ((i, run) for i, run in there.items() if groups is None or run["group"] in groups),
                key=lambda item: item[1]["created"],
            )
            begin = int(variables.get("cursor") or 0)
            end = begin + int(variables["perPage"])
            edges = [
                {"node": stored_run(run_id, run), "cursor": str(begin + number)}
                for number, (run_id, run) in enumerate(chosen[begin:end], start=1)
            ]
        if not there:
            return {"project": None}
        page = {"endCursor": str(end), "hasNextPage": end < len(chosen)}
        runs = {"edges": edges, "pageInfo": page}
        return {"project": {"internalId": "1", "runCount": len(chosen), "readOnly": False, "runs": runs}}

    # -- saved views of a project -----------------------------------------------------------------------

    def answer_View(self, variables: dict[str, Any]) -> dict[str, Any]:
        view = self.server.views.get(variables["viewName"])
        return {"project": {"allViews": {"edges": [] if view is None else [{"node": view}]}}}

    def answer_UpsertView2(self, variables: dict[str, Any]) -> dict[str, Any]:
        """A view without an id is a new one, whatever its name."""
        inserted = not variables.get("id")
        view_id = variables.get("id") or f"view{len(self.server.views)}"
        name = variables["name"] + ("-again" if inserted and variables["name"] in self.server.views else "")
        self.server.views[name] = {
            "id": view_id, "name": name, "displayName": variables["displayName"], "spec": variables["spec"]
        }  # fmt: skip
        return {"upsertView": {"view": {"id": view_id, "name": name}, "inserted": inserted}}

    # -- reports ----------------------------------------------------------------------------------------

    def answer_ProjectInternalId(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"internalId": "UHJvamVjdDox"}}

    def answer_GetProjects(self, variables: dict[str, Any]) -> dict[str, Any]:
        page = {"endCursor": None, "hasNextPage": False}
        node = {
            "id": "1",
            "name": "p",
            "entityName": "someone",
            "createdAt": "2026-01-01T00:00:00Z",
            "isBenchmark": False,
            "user": None,
        }
        return {"models": {"edges": [{"node": node, "cursor": "1"}], "pageInfo": page}}

    def answer_ProjectViews(self, variables: dict[str, Any]) -> dict[str, Any]:
        edges = [{"node": report, "cursor": report["id"]} for report in self.server.reports.values()]
        page = {"endCursor": None, "hasNextPage": False}
        return {"project": {"allViews": {"edges": edges, "pageInfo": page}}}

    def answer_SpecificReport(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"view": self.server.reports[variables["reportId"]]}

    def answer_upsertView(self, variables: dict[str, Any]) -> dict[str, Any]:
        """A report without an id is a new one."""
        number = len(self.server.reports)
        view_id = variables.get("id") or base64.b64encode(f"View:{number}".encode()).decode()
        project = {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]}
        at = "2026-01-01T00:00:00Z"
        self.server.reports[view_id] = report = {
            "id": view_id, "type": variables["type"], "name": variables["name"], "spec": variables["spec"],
            "displayName": variables["displayName"], "description": variables["description"] or "",
            "project": project, "createdAt": at, "updatedAt": at, "user": {"username": "someone"},
        }  # fmt: skip
        return {"upsertView": {"view": report, "inserted": not variables.get("id")}}

    # -- sweeps ---------------------------------------------------------------------------------------

    def answer_SweepWithRuns(self, variables: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "1", "name": variables["sweep"], "state": "RUNNING", "config": self.server.sweep_yaml}
        return {"project": {"sweep": sweep | {"runs": {"edges": []}}}}

    def answer_CreateAgent(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "agent"}}}

    def answer_Heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        commands: list[dict[str, Any]] = []
        if not json.loads(variables["runState"]):  # nothing runs: the next one, or the end
            commands = [self.server.commands.pop(0)] if self.server.commands else [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}
