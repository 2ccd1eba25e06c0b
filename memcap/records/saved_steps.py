"""How far checkpoints are, read without torch, which takes seconds to import."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from memcap.records import atomic
from memcap.records.run_folder import RunFolder


class Saved(NamedTuple):
    """The step that a run goes on from, and the step at which its latest attempt began (0: from its start)."""

    step: int
    begun: int


class _Skeleton(pickle.Unpickler):
    """Plain values as they are, None in place of each tensor; whatever the file names, nothing of it is called."""

    def persistent_load(self, pid: Any) -> None:
        return None

    def find_class(self, module: str, name: str) -> Any:
        return dict if (module, name) == ("collections", "OrderedDict") else _nothing


def _nothing(*arguments: Any) -> None:
    return None


def saved_steps(outputs: Path, run_ids: Iterable[str]) -> dict[str, Saved]:
    """Of those runs that were begun, have not ended and have a checkpoint, what it holds.

    A checkpoint that cannot be read holds nothing here; whether a training can go on from it, only that one sees.
    """
    folder = outputs / "checkpoints"
    known: dict[str, dict[str, Any]] = {}
    found: dict[str, Saved] = {}
    if not folder.is_dir():
        return found
    for run_id in run_ids:
        noted = atomic.read_json(RunFolder(outputs, run_id).path / "attempt.json")
        tokens = [str(token) for token in noted.get("checkpoints", [])] if isinstance(noted, dict) else []
        for token in tokens:
            if token not in known:
                known[token] = _read(folder / f"{token}.pt")
            if run_id in known[token].get("run_ids", []):
                step = known[token]["step"]
                # The first token is the attempt's own; the second is of the one that it goes on from.
                found[run_id] = Saved(step, known[token]["begun"] if token == tokens[0] else step)
                break
    return found


def _read(path: Path) -> dict[str, Any]:
    """``run_ids``, ``step`` and ``begun`` of a checkpoint (``memcap.checkpoint``); empty where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            content = _Skeleton(io.BytesIO(archive.read(name))).load()
        return {
            "run_ids": frozenset(content["run_ids"]),
            "step": int(content["training"]["population"]["step"]),
            "begun": int((content["resumed_from_steps"] or [0])[-1]),
        }
    except Exception:  # whatever zip and pickle find wrong with bytes that may be anything
        return {}
