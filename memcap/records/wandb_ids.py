"""Which id an attempt has in W&B: ``wandb.json`` in the folder of a run or a study keeps those that are used up.

Two runs with one id are merged by `wandb sync` and by the server, row by row, so an attempt that starts anew never
takes an id under which an earlier one may have left rows: killed ones included, since the id is written down before
the run is opened. An attempt that continues takes the id of the one before, where ``wandb_earlier`` allows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from memcap.records import atomic

FILE = "wandb.json"


def used_ids(folder: Path) -> list[str]:
    """The ids of all attempts that may have left a W&B run, in order."""
    record = atomic.read_json(folder / FILE)
    ids = record.get("ids", []) if isinstance(record, dict) else []
    return [str(wandb_id) for wandb_id in ids]


def next_id(run_id: str, attempt: int, used: list[str]) -> str:
    """``run_id`` as long as no attempt has used it, then ``<run_id>-<attempt>``."""
    if run_id not in used:
        return run_id
    while f"{run_id}-{attempt}" in used:
        attempt += 1
    return f"{run_id}-{attempt}"


def shown_name(name: str, run_id: str, wandb_id: str) -> str:
    """The name of a W&B run: that of the run, with the number of the attempt where the id has one."""
    number = wandb_id.removeprefix(f"{run_id}-")
    return f"{name} (attempt {number})" if number != wandb_id else name


def note_id(folder: Path, record: Mapping[str, Any], used: list[str]) -> None:
    """Write down that this id is taken, and what is known of its run. A lost note costs nothing but a free id."""
    with suppress(OSError):
        ids = list(dict.fromkeys([*used, record["id"]]))
        atomic.write_json(folder / FILE, {**record, "ids": ids}, survives="kill")


def forget_ids(folder: Path) -> None:
    """Take the note away: no W&B run was made after all."""
    with suppress(OSError):
        (folder / FILE).unlink()
