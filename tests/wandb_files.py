"""Reads the offline ``.wandb`` file of a run, for tests: what W&B would show of it.

The file is a LevelDB log: blocks of 32 KiB, a file header of 7 bytes (``:W&B``, 0xBEE1, version), and chunks of
``checksum (4 bytes), length (2), type (1)``, where type 1 is a whole record and 2, 3, 4 are its first, middle and
last parts. A record is a protobuf message ``Record``. None of this is documented for users, therefore wandb is
pinned, and one test compares with ``wandb leet inspect``.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclasses.dataclass
class OfflineRun:
    """What one ``.wandb`` file says. ``run_id`` is None in a file without a run record."""

    run_id: str | None = None
    group: str = ""
    project: str = ""
    entity: str = ""
    job_type: str = ""
    name: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    step_metrics: dict[str, str] = dataclasses.field(default_factory=dict)
    exit_code: int | None = None


def offline_runs(folder: Path) -> dict[str, OfflineRun]:
    """The offline runs below ``folder/wandb`` by id; fails where one id has two files."""
    runs: dict[str, OfflineRun] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        run = read_wandb_file(path)
        if run.run_id is not None:
            assert run.run_id not in runs, f"two files of run {run.run_id} below {folder}"
            runs[run.run_id] = run
    return runs


def read_wandb_file(path: Path) -> OfflineRun:
    """One file; history rows and summary without the client's own keys, which begin with an underscore."""
    from wandb.proto import wandb_internal_pb2

    run = OfflineRun()
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        record.ParseFromString(data)
        _apply(run, record)
    return run


def _apply(run: OfflineRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        for field, source in (
            ("run_id", "run_id"), ("group", "run_group"), ("project", "project"), ("entity", "entity"),
            ("job_type", "job_type"), ("name", "display_name"), ("notes", "notes"),
        ):  # fmt: skip
            setattr(run, field, getattr(record.run, source))
        run.tags = tuple(record.run.tags)
        run.config |= _items(record.run.config.update)
    elif kind == "config":
        run.config |= _items(record.config.update)
    elif kind == "history":
        run.history.append(_items(record.history.item))
    elif kind == "summary":
        run.summary |= _items(record.summary.update)
    elif kind == "metric" and record.metric.step_metric:
        run.step_metrics[record.metric.glob_name or record.metric.name] = record.metric.step_metric
    elif kind == "exit":
        run.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    values = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
    return {key: value for key, value in values.items() if not key.startswith("_")}


def _records(data: bytes) -> Iterator[bytes]:
    """The records of the log; a torn one at the end is left out."""
    assert data[:4] == b":W&B", "not a .wandb file"
    position, parts = 7, b""
    while position + 7 <= len(data):
        left_in_block = BLOCK - position % BLOCK
        if left_in_block < 7:  # too short for a chunk's header: padding
            position += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        chunk = data[position + 7 : position + 7 + length]
        if len(chunk) < length or kind == 0:
            return
        position += 7 + length
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            yield parts
