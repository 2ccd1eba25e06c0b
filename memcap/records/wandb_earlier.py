"""The W&B run that an attempt continues: whether it can go on under its id, and which files it replaces.

A row that W&B has twice is worse than a second run, so an id goes on only where it is known what W&B has under it:
online the server says it, offline it is nothing as long as nobody has uploaded the files.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from memcap.records import atomic
from memcap.records.wandb_ids import FILE, note_id, used_ids


@dataclasses.dataclass(frozen=True)
class EarlierRun:
    """What the attempts before have left in W&B under the last id.

    ``files``: the folders of the client, ``offline-run-*`` and ``run-*``, that nobody has uploaded.
    """

    wandb_id: str
    on_server: bool  # may be: a server took rows, or the files are gone and may have been uploaded
    files: tuple[Path, ...]

    def can_go_on(self, mode: str) -> bool:
        """Whether an attempt in this mode (``online``, ``offline``) repeats no row under the same id.

        `wandb sync` appends to what the server has, whatever the rows are, and an offline attempt cannot ask.
        """
        return mode == "online" or not self.on_server

    def remove_files(self, opened: Path) -> list[Path]:
        """Delete what the run in ``opened`` replaces, since its rows are in there; returns what could not be."""
        for path in self.files:
            if path != opened:
                shutil.rmtree(path, ignore_errors=True)
        return [path for path in self.files if path != opened and path.exists()]


def earlier_run(run_folder: Path, wandb_folder: Path) -> EarlierRun | None:
    """What ``wandb.json`` in ``run_folder`` and the files tell; None where no attempt had a W&B run.

    ``wandb_folder``: where the client's files go now, and went where the note does not say it.
    """
    note = _note(run_folder)
    if not note:
        return None
    wandb_id, folders = str(note["id"]), [Path(folder) for folder in _folders(note)]
    left = _files_of(wandb_id, dict.fromkeys([*folders, wandb_folder]))
    offline = [path for path in left if path.name.startswith("offline-")]
    synced = [path for path in offline if next(path.glob("*.synced"), None)]
    gone = not offline and note.get("opened", True)
    return EarlierRun(
        wandb_id,
        on_server=note.get("mode") != "offline" or bool(synced) or gone,
        files=tuple(path for path in left if path not in synced),
    )


def reserve_id(run_folder: Path, wandb_id: str, used: list[str], earlier: EarlierRun | None) -> list[str]:
    """Write down that this id may be taken from now on, before a run is opened; returns all ids taken.

    What is known of the ``earlier`` run stays in the note until it is known what becomes of it.
    """
    ids = list(dict.fromkeys([*used, wandb_id]))
    note_id(run_folder, _note(run_folder) if earlier is not None else {"id": wandb_id}, ids)
    return ids


def note_run(
    run_folder: Path, record: Mapping[str, Any], ids: list[str], wandb_folder: Path, has_files: bool
) -> None:
    """Write down what is needed to continue a run that was begun: what is known of it, and where its files are.

    ``has_files``: a run that waits for others to end leaves none when it is killed, so nobody can upload them.
    """
    before = _note(run_folder, record["id"])
    opened = (
        has_files
        or record["mode"] != "offline"
        or (before.get("mode") == "offline" and before.get("opened", True))
    )
    folders = dict.fromkeys([*_folders(before), str(wandb_folder)])
    note_id(run_folder, {**record, "opened": opened, "folders": list(folders)}, ids)


def note_opened(run_folder: Path) -> None:
    """Write down that a run which waited was opened after all."""
    note = _note(run_folder)
    if note.get("opened") is False:
        note_id(run_folder, {**note, "opened": True}, used_ids(run_folder))


def _note(run_folder: Path, wandb_id: str | None = None) -> dict[str, Any]:
    """What is noted of the last run; empty where it has not this id."""
    note = atomic.read_json(run_folder / FILE)
    if not isinstance(note, dict) or "id" not in note or wandb_id not in (None, note["id"]):
        return {}
    return note


def _folders(note: Mapping[str, Any]) -> list[str]:
    """The folders that hold files of the run: an attempt in another study has its own."""
    return [str(folder) for folder in note.get("folders", [note["folder"]] if "folder" in note else [])]


def _files_of(wandb_id: str, folders: Iterable[Path]) -> list[Path]:
    """The client's folders of this id, offline and online ones, oldest first."""
    pattern = re.compile(rf"(offline-)?run-\d{{8}}_\d{{6}}-{re.escape(wandb_id)}")
    found = (path for folder in folders for path in folder.glob(f"*run-*-{wandb_id}"))
    return sorted(
        (path for path in found if pattern.fullmatch(path.name)),
        key=lambda path: path.name[-len(wandb_id) - 16 :],
    )
