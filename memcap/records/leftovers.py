"""What killed processes leave in the folders of finished runs, and who takes it away.

A process that dies between the moment at which a run's result is there and the one at which its lock is given back
leaves ``.lock`` or ``attempt.json`` beside a whole record. Nobody trains the run again, so nobody would ever come upon
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import DONE


def remove_leftovers(outputs: Path, run_ids: Iterable[str], owner: Owner) -> None:
    """Removes them, under each run's lock; runs that are not finished or that somebody works on stay as they are.

    Costs one look into the folder of each run (10 µs on a local disk). What cannot be removed stays.
    """
    for run_id in run_ids:
        folder = RunFolder(outputs, run_id)
        with suppress(OSError):
            if any(_is_left_over(name) for name in os.listdir(folder.path)):
                _clean(folder, owner)


def _is_left_over(name: str) -> bool:
    return name == "attempt.json" or name.startswith(".lock")


def _clean(folder: RunFolder, owner: Owner) -> None:
    lock = FolderLock(folder.path, owner)
    if not lock.acquire():
        return
    try:
        if folder.state() not in DONE or folder.unfinished() is not None:
            return  # an attempt that was stopped, and that will be gone on with
        (folder.path / "attempt.json").unlink(missing_ok=True)
    finally:
        lock.release()
