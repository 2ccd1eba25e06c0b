"""A study under another name, or out of the way in ``outputs/archive/studies``; its runs stay where they are."""

from __future__ import annotations

import os
from pathlib import Path

from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.frozen_cells import rename_frozen
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.study.overview import ARCHIVE


def rename(study: StudyFolder, new: str) -> StudyFolder:
    """Gives a study another name, also in the records of its finished runs; costs two syncs a run.

    Raises BadInput for a name that is taken or none. The folder is renamed first, in one step: whatever dies then, the
    study is whole under its new name, and only what runs note of it may be old.
    """
    target = StudyFolder(study.outputs, new)
    record = study.read()
    _move(study, target)
    atomic.write_json(target.path / "study.json", {**record, "name": new})
    rename_frozen(target.path / "cells.jsonl", new)
    for cell in record["cells"]:
        RunFolder(study.outputs, cell["run_id"]).rename_study(study.name, new)
    return target


def archive(study: StudyFolder) -> StudyFolder:
    """Moves it below ``outputs/archive``, where no command finds it; memcap.studies prune still counts it."""
    target = StudyFolder(study.outputs / ARCHIVE, study.name)
    _move(study, target)
    return target


def unarchive(outputs: Path, name: str) -> StudyFolder:
    """Brings it back. Raises BadInput where there is none, or its name has been taken since."""
    target = StudyFolder(outputs, name)
    _move(StudyFolder.existing(outputs / ARCHIVE, name), target)
    return target


def is_archived(outputs: Path, name: str) -> bool:
    """Whether a study of this name is in the archive, and none where it was."""
    here, there = StudyFolder(outputs, name), StudyFolder(outputs / ARCHIVE, name)
    return not (here.path / "study.json").exists() and (there.path / "study.json").exists()


def _move(study: StudyFolder, target: StudyFolder) -> None:
    if target.path.exists():
        raise BadInput(f"{target.path} is there already; rename one of the two, or choose another name")
    try:
        target.path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(study.path, target.path)
        atomic.sync(target.path.parent)
    except OSError as error:
        raise BadInput(f"{study.path} cannot be moved to {target.path}: {error.strerror}") from None
