"""python -m memcap.dashboard entity=NAME project=NAME: a W&B workspace with memcap's sections, made or updated."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

from memcap.errors import BadInput, nearest
from memcap.study_command import run_command

USAGE: Final = """python -m memcap.dashboard [entity=NAME] [project=NAME] [report=true] [dry_run=true]

Makes the saved view "memcap" of a W&B project, with the sections Capacity, Training, Sharpness, Gradients, Studies.
A second call updates it: these sections are made anew, those that others have added stay.

  entity=NAME     the W&B user or team (default: WANDB_ENTITY, else the key's own)
  project=NAME    the W&B project (default: WANDB_PROJECT, else memcap)
  report=true     the report "memcap capacity" instead: comparisons and runs on a page; from "Notes" on it is yours
  dry_run=true    print its JSON; asks no server"""
SWITCHES: Final = ("report", "dry_run")
KEYS: Final = ("entity", "project", *SWITCHES)
TIMEOUT_S: Final = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input or no server (said in one line), 130 interrupted."""
    return run_command(dashboard, arguments, USAGE)


def dashboard(words: Sequence[str]) -> int:
    """Makes or updates the workspace or the report, or prints it."""
    chosen = parse(words)
    is_report = chosen.get("report") == "true"
    entity, project = chosen.get("entity") or os.environ.get("WANDB_ENTITY"), chosen["project"]
    if chosen.get("dry_run") == "true":
        from memcap.records import wandb_dashboard, wandb_report

        page = (
            wandb_report.report(entity or "", project, asks_server=False)
            if is_report
            else wandb_dashboard.dashboard(entity or "", project)
        )
        print(wandb_dashboard.as_json(page))
    else:
        save(entity, project, is_report)
    return 0


def save(entity: str | None, project: str, is_report: bool = False) -> None:
    """Makes or updates the view or the report and prints its address. Raises ``BadInput``; bounded by 40 s."""
    from memcap.records import wandb_client, wandb_probe
    from memcap.records.wandb_client import one_line

    credentials = wandb_probe.find_credentials()
    if credentials is None:
        raise BadInput(
            "dashboard: no W&B credentials; run `wandb login`, set WANDB_API_KEY, or use dry_run=true"
        )
    answer = wandb_probe.ask(credentials, entity, project)
    if answer.refusal or answer.trouble:
        said = (answer.refusal or answer.trouble or "").replace("tracking.", "")
        raise BadInput(f"dashboard: {said}; nothing was changed")
    if answer.entity is None:
        raise BadInput("dashboard: the server names no default entity for this API key; give entity=NAME")
    try:
        saved = _bounded(answer.entity, project, is_report)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"dashboard: the server did not take it: {one_line(error)}; try again") from None
    finally:
        wandb_client.end_service()
    verb = "updated" if saved["updated"] else "made"
    print(f"{verb}: {saved['url']}")


def parse(words: Sequence[str]) -> dict[str, str]:
    """``key=value`` words as a dict; raises ``BadInput`` for what is not understood."""
    chosen = {"project": os.environ.get("WANDB_PROJECT") or "memcap"}
    for word in words:
        key, _, value = word.partition("=")
        if key not in KEYS or not value:
            expected = ", ".join(f"{name}=VALUE" for name in KEYS)
            raise BadInput(f"dashboard: got {word}, expected {expected}{nearest(key, KEYS)}")
        if key in SWITCHES and value.lower() not in ("true", "false"):
            raise BadInput(f"dashboard: {key} must be true or false, got {value}")
        chosen[key] = value.lower() if key in SWITCHES else value
    return chosen


def _bounded(entity: str, project: str, is_report: bool) -> dict[str, Any]:
    """Save in a thread: the library tries a server in trouble for minutes."""
    from memcap.records.wandb_dashboard import save_dashboard
    from memcap.records.wandb_report import save_report

    found: dict[str, Any] = {}

    def work() -> None:
        try:
            found.update((save_report if is_report else save_dashboard)(entity, project))
        except Exception as error:
            found["error"] = error

    thread = threading.Thread(target=work, name="memcap-dashboard", daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    if "error" in found:
        raise found["error"]
    if not found:
        raise TimeoutError(f"no answer within {TIMEOUT_S:.0f} s")
    return found


if __name__ == "__main__":
    sys.exit(main())
