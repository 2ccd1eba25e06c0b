"""Run folders that no study lists: what a deleted study leaves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from memcap.errors import BadInput
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.study.overview import studies_of
from memcap.study.run_states import held


def unlisted_runs(outputs: Path) -> list[RunFolder]:
    """Runs that neither a study nor an archived one lists, and that no living process has.

    Raises BadInput where the list of a study cannot be read: its runs would look like nobody's.
    """
    listed = listed_ids(outputs)
    found = sorted(path.name for path in outputs.glob("runs/??/*") if _is_run(path))
    return [RunFolder(outputs, name) for name in found if name not in listed and not held(outputs, name)]


def listed_ids(outputs: Path) -> set[str]:
    """The ids of all studies' runs, archived ones included; BadInput where one of the lists cannot be read."""
    studies = [*studies_of(outputs), *studies_of(outputs, archived=True)]
    for folder in (outputs, outputs / "archive"):
        known = {study.path for study in studies}
        for path in sorted((folder / "studies").glob("*")):
            if path.is_dir() and path not in known:
                raise BadInput(f"{path} has no study.json, so its runs are not known; move it away first")
    return {str(cell["run_id"]) for study in studies for cell in study.read()["cells"]}


def remove_runs(outputs: Path, runs: Iterable[RunFolder]) -> list[str]:
    """Removes those that are still nobody's, and returns their ids; a run that somebody takes meanwhile stays."""
    listed: set[str] = listed_ids(outputs)
    with Owner(outputs) as owner:
        nobodys = (run for run in runs if run.run_id not in listed)
        return [run.run_id for run in nobodys if _remove(run, FolderLock(run.path, owner))]


def _remove(run: RunFolder, lock: FolderLock) -> bool:
    """Removes the run unless it is gone or somebody has it."""
    if not run.path.exists() or not lock.acquire():
        return False
    try:
        # Readers see a run that is whole or none: its result goes first.
        (run.path / "result.json").unlink(missing_ok=True)
        shutil.rmtree(run.path)
    finally:
        lock.release()
    with suppress(OSError):
        run.path.parent.rmdir()
    return True


def _is_run(path: Path) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{12}", path.name)) and path.parent.name == path.name[:2]
