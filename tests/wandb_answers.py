"""What the stand-in for the W&B server answers to each request, by the request's name."""

from __future__ import annotations

import base64
import json
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_server import Server


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


class Answers(BaseHTTPRequestHandler):
    """``answer_NAME``: the data for the request NAME, or None where it has answered already, with an error."""

    server: Server

    def answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

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
