"""A study with its runs as one ``.tar.gz``: ``studies/<name>/`` and ``runs/<2 hex>/<run_id>/`` as outputs has them.

What a file brings is looked at before any of it is believed: regular files and folders only, below these two places.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.folder_lock import FolderLock
from memcap.records.frozen_cells import add_frozen, frozen_ids, read_frozen
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import DONE
from memcap.records.study_folder import StudyFolder

_RUN: Final = re.compile(r"runs/([0-9a-f]{2})/(\1[0-9a-f]{10})(/[^/]+)*")
_STUDY: Final = re.compile(r"studies/([^/]+)(/[^/]+)*")
# gzip's own errors and those of members that stand in each other's place.
_TORN: Final = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile),
    *(FileExistsError, NotADirectoryError, IsADirectoryError),
)


@dataclasses.dataclass
class Brought:
    """What an import did: the study, how many runs are new, which were here already, which were left out."""

    study: StudyFolder
    new: int = 0
    kept: int = 0
    busy: int = 0
    joined: bool = False


def export_study(study: StudyFolder, path: Path) -> tuple[int, int]:
    """Writes the file and returns how many runs are in it, and how many are not, since they have not ended.

    Submissions stay here: they speak of this machine's jobs. Raises BadInput for a file that is there already.
    """
    if not path.name.endswith((".tar.gz", ".tgz")):
        raise BadInput(f"the file must end in .tar.gz, got {path}")
    if path.exists():
        raise BadInput(f"{path} is there already; choose another name")
    cells = study.read()["cells"]
    runs = [RunFolder(study.outputs, cell["run_id"]) for cell in cells]
    ended = [run for run in runs if run.state() in (*DONE, "failed")]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
            for folder in (study.path, *(run.path for run in ended)):
                for one in _files(folder):
                    tar.add(one, one.relative_to(study.outputs).as_posix(), recursive=False, filter=_nobodys)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error}") from None
    return len(ended), len(runs) - len(ended)


def import_study(outputs: Path, path: Path) -> Brought:
    """Brings in a study and its runs. A finished run that is here stays as it is; a study of this name is joined.

    Raises BadInput for a file that is torn or not an export, after which nothing has changed.
    """
    waiting, existed = outputs / f".import.{os.getpid()}", outputs.exists()
    try:
        waiting.mkdir(parents=True)
        name = _unpack(path, waiting)
        brought = Brought(StudyFolder(outputs, name))
        arrived = StudyFolder(waiting, name)
        if not (arrived.path / "study.json").exists():
            raise BadInput(f"{path} has no {arrived.path.relative_to(waiting)}/study.json; is it an export?")
        arrived.read()
        os.sync()  # once for all files, before any of them is a record
        with Owner(outputs) as owner:
            for folder in sorted(waiting.glob("runs/??/*")):
                _bring_run(RunFolder(waiting, folder.name), RunFolder(outputs, folder.name), brought, owner)
        _bring_study(arrived, brought)
    except OSError as error:
        raise BadInput(f"{path} cannot be imported: {error}") from None
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # it is not empty: something was brought
                outputs.rmdir()
    return brought


def _files(folder: Path) -> Iterator[Path]:
    """Regular files of a record; no locks, temporary files, unfinished attempts, links or submissions."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_symlink() or not path.is_file() or parts[0] in ("submissions", "attempt", "attempt.json"):
            continue
        if not parts[-1].startswith("."):
            yield path


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who exported is nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _unpack(path: Path, folder: Path) -> str:
    """Writes the members below ``folder`` and returns the name of the study; BadInput for what has no place there."""
    names = set()
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    names.add(_checked(member, path))
                    source = tar.extractfile(member)
                    if source is not None:
                        target = folder / member.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        with source, open(target, "xb") as file:
                            shutil.copyfileobj(source, file)
            while stream.read(2**20):  # to its checksum, which tar does not look at
                pass
    except FileNotFoundError:
        raise BadInput(f"{path} is not there") from None
    except _TORN as error:
        raise BadInput(f"{path} is torn or no export of memcap: {error}; nothing was imported") from None
    names.discard(None)
    if len(names) != 1:
        raise BadInput(f"{path} must hold one study, got {len(names)}; is it an export of memcap.studies?")
    return str(names.pop())


def _checked(member: tarfile.TarInfo, path: Path) -> str | None:
    """The study that a member belongs to, None for a run's; BadInput for anything else."""
    if not (member.isfile() or member.isdir()):
        raise BadInput(f"{path} holds {member.name!r}, which is neither a file nor a folder")
    found = _STUDY.fullmatch(member.name)
    if ".." in member.name.split("/") or not (found or _RUN.fullmatch(member.name)):
        raise BadInput(f"{path} holds {member.name!r}, which has no place in the outputs")
    return found[1] if found else None


def _bring_run(arrived: RunFolder, here: RunFolder, brought: Brought, owner: Owner) -> None:
    """Moves the files of a run that has ended, its result last, where no better record is."""
    state = arrived.state()
    if state not in (*DONE, "failed"):
        return
    if here.read_result() is not None or (state == "failed" and here.state() != "absent"):
        brought.kept += 1
        here.add_study(brought.study.name)
        return
    lock = FolderLock(here.path, owner)
    if not lock.acquire():
        brought.busy += 1
        return
    try:
        here.path.mkdir(parents=True, exist_ok=True)
        for old in here.path.iterdir():  # of an attempt that failed or was interrupted
            if old.is_dir():
                shutil.rmtree(old)
            elif not old.name.startswith("."):
                old.unlink()
        last = ("failure.json", "result.json")
        for file in sorted(arrived.path.iterdir(), key=lambda path: path.name in last):
            os.replace(file, here.path / file.name)
        atomic.sync(here.path)
    finally:
        lock.release()
    brought.new += 1


def _bring_study(arrived: StudyFolder, brought: Brought) -> None:
    """A new study is moved as a whole; one that is here gets the cells that it lacks, and keeps its own files."""
    study = brought.study
    if not study.path.exists():
        study.path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(arrived.path, study.path)
    else:
        brought.joined = True
        record = arrived.read()
        own = study.read()
        command, drawn = (own.get(key) or record.get(key) for key in ("command", "compare"))
        study.open(record["axes"], record["cells"], command or "", drawn)
        try:
            known = set(frozen_ids(study.path / "cells.jsonl"))
            path = arrived.path / "cells.jsonl"
            fresh = [run_id for run_id in frozen_ids(path) if run_id not in known]
            add_frozen(study.path / "cells.jsonl", read_frozen(path, fresh) if fresh else [])
        except BadInput:  # of another version: its runs are here, going on needs its command
            pass
    study.rebuild_index()
