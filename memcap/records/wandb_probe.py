"""Whether the W&B server can be used: asked before a run is opened, since the client itself would try for minutes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
from contextlib import suppress
from typing import Any, Final

from memcap.errors import BadInput
from memcap.records.wandb_client import one_line

PROBE_TIMEOUT_S: Final = 5.0
_VIEWER: Final = "query Viewer { viewer { id entity username } }"
_ACCESS: Final = """query MemcapAccess($entity: String!, $project: String!) {
  entity(name: $entity) { available readOnly }
  project(entityName: $entity, name: $project) { readOnly }
}"""

_LAST_ROW: Final = """query MemcapLastRow($entity: String!, $project: String!, $run: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $run, missingOk: true) { historyLineCount historyTail wandbConfig(keys: ["t"]) }
  }
}"""

_RUN: Final = """query MemcapRun($entity: String!, $project: String!, $run: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $run, missingOk: true) {
      historyLineCount historyTail summaryMetrics state wandbConfig(keys: ["t"])
    }
  }
}"""


@dataclasses.dataclass(frozen=True)
class Credentials:
    """A server and the key for it; ``api_key`` is None where the client logs in by an identity token."""

    base_url: str
    api_key: str | None = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server said. ``trouble``: why it cannot be used now; ``refusal``: why it will not take these runs."""

    trouble: str | None = None
    refusal: str | None = None
    entity: str | None = None


@dataclasses.dataclass(frozen=True)
class RunThere:
    """What the server has of a run; of one that it does not know, or that has not begun, it has nothing.

    ``state`` is ``running``, ``finished``, ``failed``, ``crashed``, ``killed``, or None where it does not tell.
    """

    num_rows: int = 0
    last_row: dict[str, Any] = dataclasses.field(default_factory=dict)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    state: str | None = None


def find_credentials() -> Credentials | None:
    """The credentials that the client would find (WANDB_API_KEY, netrc), without asking; None where there are none.

    Raises BadInput where they are malformed: 40 or more letters, digits and underscores, with or without a prefix.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    try:
        if (url := os.environ.get("WANDB_BASE_URL")) and not re.match(r"https?://[^/\s]+", url):
            raise ValueError(f"WANDB_BASE_URL must be an address like https://api.wandb.ai, got {url}")
        base_url = str(wandb.setup(wandb.Settings(silent=True)).settings.base_url)
        # wandb.login(prompt=False) answers False whenever WANDB_MODE=offline, and rewrites the settings file.
        found = wbauth.authenticate_session(
            host=base_url, source="memcap", prompt=False, update_session=False
        )
    except Exception as error:
        raise BadInput(
            f"W&B credentials: {one_line(error).rstrip('.')}; run `wandb login`, set WANDB_API_KEY, or use"
            " tracking.mode=offline"
        ) from None
    return None if found is None else Credentials(base_url, getattr(found, "api_key", None))


def app_url() -> str:
    """Where the pages of runs are, for the server in use."""
    import wandb

    return str(wandb.setup().settings.app_url).rstrip("/")


def ask(
    credentials: Credentials, entity: str | None, project: str, timeout_s: float = PROBE_TIMEOUT_S
) -> Answer:
    """Ask the server who we are and whether we may write to this project; bounded in all, names and proxies included.

    An entity or project is refused only where the answer is clear: what a server does not tell is seen when the
    first run is opened.
    """
    answers: list[Answer] = []
    thread = threading.Thread(
        target=lambda: answers.append(_ask(credentials, entity, project, timeout_s)),
        name="memcap-wandb-probe",
        daemon=True,
    )
    thread.start()
    thread.join(timeout_s)
    return (
        answers[0] if answers else Answer(f"no answer from {credentials.base_url} within {timeout_s:.0f} s")
    )


def last_row(
    credentials: Credentials, entity: str, project: str, run_id: str, timeout_s: float = PROBE_TIMEOUT_S
) -> dict[str, Any] | None:
    """The last row of the history that the server has of a run; None where it has none, or not the run.

    The client's own ``starting_step`` does not tell: it follows the summary, which the server gets before the rows.
    Raises ``ConnectionError`` where the server does not answer so that it can be understood.
    """
    variables = {"entity": entity, "project": project, "run": run_id}
    try:
        _, data = _query(credentials, _LAST_ROW, variables, timeout_s)
        bucket = data["model"] and data["model"]["bucket"]
        # Without the client's telemetry it takes the run for one that has not begun, and writes its rows anew.
        if (
            not bucket
            or "t" not in json.loads(bucket["wandbConfig"] or "{}")
            or not bucket["historyLineCount"]
        ):
            return None
        row = json.loads(json.loads(bucket["historyTail"])[-1])
    except Exception as error:
        raise ConnectionError(f"no answer about the rows of run {run_id}: {one_line(error)}") from error
    return dict(row)


def run_there(
    credentials: Credentials, entity: str, project: str, run_id: str, timeout_s: float = PROBE_TIMEOUT_S
) -> RunThere:
    """How many rows the server has of a run, its last row, its summary and its state; one request.

    Raises ``ConnectionError`` where the server does not answer so that it can be understood.
    """
    variables = {"entity": entity, "project": project, "run": run_id}
    try:
        status, data = _query(credentials, _RUN, variables, timeout_s)
        if status != 200:
            raise ValueError(f"HTTP {status}")
        bucket = data["model"] and data["model"]["bucket"]
        if not bucket or "t" not in json.loads(bucket["wandbConfig"] or "{}"):
            return RunThere()
        tail = json.loads(bucket["historyTail"] or "[]")
        return RunThere(
            num_rows=int(bucket["historyLineCount"] or 0),
            last_row=dict(json.loads(tail[-1])) if tail else {},
            summary=dict(json.loads(bucket["summaryMetrics"] or "{}")),
            state=bucket.get("state"),
        )
    except Exception as error:
        raise ConnectionError(f"the server does not tell its rows: {one_line(error)}") from error


def _ask(credentials: Credentials, entity: str | None, project: str, timeout_s: float) -> Answer:
    url = credentials.base_url
    try:
        status, data = _query(credentials, _VIEWER, {}, timeout_s)
    except Exception as error:
        kind = type(error).__name__
        if "Timeout" in kind:
            return Answer(f"no answer from {url} within {timeout_s:.0f} s")
        return Answer(f"{url} cannot be reached ({kind})")
    if status in (401, 403):
        return Answer(f"{url} refuses the API key (HTTP {status})")
    if status != 200 and credentials.api_key is not None:
        return Answer(f"{url} answers HTTP {status}")
    viewer = data.get("viewer") or {}
    if not viewer and credentials.api_key is not None:
        return Answer(f"{url} does not know the API key")
    name = entity or viewer.get("entity")
    refusal = None
    if name:
        with suppress(Exception):  # an answer that is not understood refuses nothing
            _, access = _query(credentials, _ACCESS, {"entity": name, "project": project}, timeout_s)
            refusal = _refusal(access, entity, name, project)
    return Answer(refusal=refusal, entity=name)


def _refusal(access: dict[str, Any], entity: str | None, name: str, project: str) -> str | None:
    if "entity" not in access:
        return None
    known = access["entity"]
    if entity and (known is None or known.get("available") is True):
        return f"tracking.entity={entity} is no user or team that W&B knows"
    if entity and known.get("readOnly") is True:
        return f"tracking.entity={entity} may not be written to with this API key"
    if ((access.get("project") or {}).get("readOnly")) is True:
        return f"tracking.project={project} of {name} may not be written to with this API key"
    return None


def _query(
    credentials: Credentials, query: str, variables: dict[str, Any], timeout_s: float
) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the data of one GraphQL request, sent as the client sends it."""
    import requests
    import wandb

    settings = wandb.setup().settings
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy}
    response = requests.post(
        f"{credentials.base_url.rstrip('/')}/graphql",
        json={"query": query, "variables": variables},
        auth=("api", credentials.api_key) if credentials.api_key else None,
        timeout=timeout_s,
        proxies={name: url for name, url in proxies.items() if url} or None,
        verify=not settings.insecure_disable_ssl,
    )
    answer = response.json() if response.status_code == 200 else {}
    data = answer.get("data") if not answer.get("errors") else None
    return response.status_code, data if isinstance(data, dict) else {}
