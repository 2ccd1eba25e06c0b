"""python -m memcap.dashboard entity=NAME project=NAME: a W&B workspace with memcap's sections, made or updated."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

from memcap.errors import BadInput, nearest
from memcap.study_command import run_command

USAGE: Final = """python -m memcap.dashboard [entity=NAME] [project=NAME] [dry_run=true]

Makes the saved view "memcap" of a W&B project, with the sections Capacity, Training, Sharpness, Gradients, Studies.
A second call updates it: these sections are made anew, those that others have added stay.

  entity=NAME     the W&B user or team (default: WANDB_ENTITY, else the key's own)
  project=NAME    the W&B project (default: WANDB_PROJECT, else memcap)
  dry_run=true    print its JSON; asks no server"""
KEYS: Final = ("entity", "project", "dry_run")
TIMEOUT_S: Final = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input or no server (said in one line), 130 interrupted."""
    return run_command(dashboard, arguments, USAGE)


def dashboard(words: Sequence[str]) -> int:
    """Makes or updates the workspace, or prints it."""
    chosen = parse(words)
    entity, project = chosen.get("entity") or os.environ.get("WANDB_ENTITY"), chosen["project"]
    if chosen.get("dry_run") == "true":
        from memcap.records import wandb_dashboard

        print(wandb_dashboard.as_json(wandb_dashboard.dashboard(entity or "", project)))
    else:
        save(entity, project)
    return 0


def save(entity: str | None, project: str) -> None:
    """Makes or updates the view on the server and prints its address. Raises ``BadInput``; bounded by 40 s."""
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
        saved = _bounded(answer.entity, project)
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
        if key == "dry_run" and value.lower() not in ("true", "false"):
            raise BadInput(f"dashboard: dry_run must be true or false, got {value}")
        chosen[key] = value.lower() if key == "dry_run" else value
    return chosen


def _bounded(entity: str, project: str) -> dict[str, Any]:
    """Save in a thread: the library tries a server in trouble for minutes."""
    from memcap.records.wandb_dashboard import save_dashboard

    found: dict[str, Any] = {}

    def work() -> None:
        try:
            found.update(save_dashboard(entity, project))
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
