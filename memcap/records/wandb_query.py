"""Reads the runs of a W&B project by the client's public API (``wandb.Api``), in a time that is bounded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from memcap.errors import BadInput
from memcap.records import wandb_client, wandb_probe
from memcap.records.wandb_client import one_line

RUNS_PER_REQUEST: Final = 200
REQUEST_TIMEOUT_S: Final = 20
STALL_S: Final = 45.0  # without one more page; the client itself tries a server in trouble for minutes
_OWN_FOLDERS: Final = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A W&B run as the server has it: nested ``config``, flat ``summary`` where NaN and ±inf are None."""

    wandb_id: str
    name: str
    group: str
    job_type: str
    state: str
    created: str
    config: dict[str, Any]
    summary: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StoredProject:
    """The runs of a project, oldest first."""

    entity: str
    project: str
    runs: list[StoredRun]


def read_project(entity: str | None, project: str, groups: Sequence[str] = ()) -> StoredProject:
    """All runs of a project, or those of some groups; ``entity`` None is the account's default one.

    Raises ``BadInput`` with one line where there are no credentials, no server within 5 s, no more answers for 45 s,
    or no such project for this key. One request for 200 runs; histories are not read.
    """
    where = f"source=wandb:{entity}/{project}" if entity else f"source=wandb:{project}"
    with _service_of_its_own():
        credentials = wandb_probe.find_credentials()
        if credentials is None:
            raise BadInput(f"{where} needs W&B credentials, got none; run `wandb login` or set WANDB_API_KEY")
        answer = wandb_probe.ask(credentials, None, project)
        if answer.trouble:
            raise BadInput(f"{where}: {answer.trouble}; check the network and the credentials")
        if not (entity := entity or answer.entity):
            raise BadInput(
                f"{where}: the server names no default entity for this API key; say wandb:ENTITY/{project}"
            )
        filters = {"group": {"$in": list(groups)}} if groups else {}
        return StoredProject(
            entity, project, _bounded(where, credentials.api_key, f"{entity}/{project}", filters)
        )


def _bounded(where: str, api_key: str | None, path: str, filters: dict[str, Any]) -> list[StoredRun]:
    """Reads in a thread that is left behind when the server stalls."""
    runs: list[StoredRun] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            for run in _pages(api_key, path, filters):
                runs.append(_stored(run))  # noqa: PERF401  (the number of runs is watched meanwhile)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="memcap-wandb-read", daemon=True)
    thread.start()
    known, since = 0, time.monotonic()
    while thread.is_alive():
        thread.join(0.05)
        if len(runs) > known:
            known, since = len(runs), time.monotonic()
        elif time.monotonic() - since > STALL_S:
            raise BadInput(f"{where}: the server has sent nothing for {STALL_S:.0f} s; try again later")
    if errors:
        raise _told(where, errors[0]) from None
    return runs


def _pages(api_key: str | None, path: str, filters: dict[str, Any]) -> Iterator[Any]:
    import wandb

    api = wandb.Api(api_key=api_key, timeout=REQUEST_TIMEOUT_S)
    yield from api.runs(path, filters=filters, per_page=RUNS_PER_REQUEST, lazy=False)


def _stored(run: Any) -> StoredRun:
    attributes = run._attrs
    return StoredRun(
        wandb_id=run.id,
        name=str(run.name or ""),
        group=str(attributes.get("group") or ""),
        job_type=str(attributes.get("jobType") or ""),
        state=str(run.state),
        created=str(attributes.get("createdAt") or ""),
        config=dict(run.config),
        summary={key: _number(value) for key, value in run.summary_metrics.items()},
    )


def _number(value: Any) -> Any:
    """W&B stores what is not finite as text; records have null."""
    return None if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") else value


def _told(where: str, error: Exception) -> BadInput:
    text = one_line(error)
    if "Could not find project" in text:
        text = "W&B has no such project, or this API key may not read it"
    return BadInput(f"{where}: {text}; check the names and the API key")


@contextlib.contextmanager
def _service_of_its_own() -> Iterator[None]:
    """The client's files (a folder per run that is read, its log) go to a temporary folder, and its service ends."""
    before = {name: os.environ.get(name) for name in (*_OWN_FOLDERS, "WANDB_ERROR_REPORTING")}
    with tempfile.TemporaryDirectory(prefix="memcap-wandb-", ignore_cleanup_errors=True) as folder:
        os.environ.update(dict.fromkeys(_OWN_FOLDERS, folder))
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        try:
            yield
        finally:
            wandb_client.end_service()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
