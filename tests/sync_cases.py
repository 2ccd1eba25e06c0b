"""A study of four offline runs, and what a server and the run folders have of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wandb_server import Server

CELLS = ("study=s", "measure.points=20", "hardware.engine=batched", "tracking.mode=offline")
SWEEP = ("-m", "seed=0,1,2,3")
Sync = Callable[..., int]


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
