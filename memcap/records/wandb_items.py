"""Which W&B runs a study has, and where the client's files of them are."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.records.wandb_copy import names_of, wandb_id_of
from memcap.records.wandb_file import has_run, read_wandb_file
from memcap.records.wandb_ids import FILE, used_ids

_STILL_WRITTEN_S: Final = 60.0  # a living client writes the run's record within its first second


@dataclasses.dataclass(frozen=True)
class Item:
    """One W&B run of the study; ``file`` is the client's, of a run that has no run folder."""

    run_id: str
    wandb_id: str
    name: str
    project: str | None
    entity: str | None
    file: Path | None = None


def items_of(study: StudyFolder) -> list[Item]:
    """The W&B runs of the study's runs, in its order, then those of whole commands (``tracking.per=study``).

    A run without a W&B run of its own is left out. Costs 1 ms a run.
    """
    found = []
    for run_id, name in names_of(study.read()["cells"]).items():
        folder = RunFolder(study.outputs, run_id)
        result = folder.read_result()
        wandb_id = wandb_id_of(folder, result)
        if wandb_id is not None:
            config = (result or {}).get("config") or folder.read_config()
            tracking = config.get("tracking") or {}
            where = {"project": tracking.get("project"), "entity": tracking.get("entity")}
            found.append(Item(run_id, wandb_id, name or run_id, **where))
    return [*found, *_items_of_commands(study)]


def wandb_folders(study: StudyFolder, item: Item) -> list[Path]:
    """Where the client's files of a run may be, that of its latest attempt last."""
    folder = RunFolder(study.outputs, item.run_id).path if item.file is None else study.path
    here = (study.path / "wandb").resolve()
    return [here, *(path for path in _noted(folder) if path != here)]


def trained_as(
    study: StudyFolder, item: Item, known: dict[str, dict[str, str]]
) -> tuple[str, dict[str, str]]:
    """The study that trained a run, which may be another one, and the names of its cells by run id.

    ``known`` keeps the names of the studies that were read, by study.
    """
    folder = RunFolder(study.outputs, item.run_id)
    noted, studies = _noted(folder.path), (folder.read_result() or {}).get("studies") or [study.name]
    trained = noted[-1].parent.name if noted else str(studies[0])
    for name in (trained, study.name):
        with suppress(BadInput):
            if name not in known:
                known[name] = names_of(StudyFolder(study.outputs, name).read()["cells"])
            if item.run_id in known[name]:
                return name, known[name]
    return study.name, {}


@functools.cache
def offline_files(folder: Path) -> dict[str, list[Path]]:
    """The client's files of offline runs in a folder, by id in W&B; listed once, since a listing takes its time."""
    found: dict[str, list[Path]] = {}
    for path in folder.glob("offline-run-*"):
        if match := re.fullmatch(r"offline-run-\d{8}_\d{6}-(.+)", path.name):
            found.setdefault(match[1], []).append(path / f"run-{match[1]}.wandb")
    return {wandb_id: [path for path in paths if path.exists()] for wandb_id, paths in found.items()}


def drop_files_without_a_run(folder: Path) -> int:
    """Delete the client's folders whose file says of no run; `wandb sync` would upload none of the others."""
    dropped = 0
    for file in folder.glob("offline-run-*/run-*.wandb"):
        with suppress(OSError):
            old = time.time() - file.stat().st_mtime > _STILL_WRITTEN_S
            if old and not file.with_name(f"{file.name}.synced").exists() and not has_run(file):
                shutil.rmtree(file.parent)
                dropped += 1
    return dropped


def _noted(folder: Path) -> list[Path]:
    """The folders that ``wandb.json`` in this folder names."""
    note = atomic.read_json(folder / FILE)
    if not isinstance(note, dict):
        return []
    return [
        Path(path).resolve() for path in note.get("folders", [note["folder"]] if "folder" in note else [])
    ]


def _items_of_commands(study: StudyFolder) -> Iterator[Item]:
    folders = dict.fromkeys([(study.path / "wandb").resolve(), *_noted(study.path)])
    for wandb_id in used_ids(study.path):
        for file in sorted(
            file for f in folders for file in f.glob(f"*run-*-{wandb_id}/run-{wandb_id}.wandb")
        ):
            found = read_wandb_file(file)
            if found.run_id is not None:
                where = {"project": found.settings["project"], "entity": found.settings["entity"]}
                yield Item(study.name, wandb_id, f"study {study.name}", **where, file=file)
