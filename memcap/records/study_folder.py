"""The folder of one study, ``outputs/studies/<name>/``: a growing list of run ids that are compared.

``study.json``   {schema, name, created, axes, command, compare, cells: [{run_id, overrides}]}
``index.jsonl``  a row per finished run, so that comparing 10,000 runs opens one file; it can be rebuilt

Studies may overlap: a run belongs to no study, its folder is the truth, and the index a copy of it.

Both files are rewritten under the study's lock. Lines are appended to the index without it: a lock for each of 10,000
runs costs more than the line. A line can therefore get lost, when somebody tidies in the same instant or appends from
another machine over NFS; whoever appended it sees to it when it tidies (``tidy_index``).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from memcap.errors import BadInput, nearest
from memcap.records import atomic
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder

SCHEMA: Final = 1
LOCK_PAUSE_S: Final = 0.01  # between looks at a lock that another process has
_NAME: Final = re.compile(r"[A-Za-z0-9_=,+-][A-Za-z0-9._=,+-]{0,119}")


class StudyFolder:
    """Reads and writes the list of a study's runs. Raises ``BadInput`` for a name that is no folder name."""

    def __init__(self, outputs: Path, name: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            shown = name if len(str(name)) <= 60 else f"{str(name)[:60]}... ({len(str(name))} characters)"
            raise BadInput(
                f"study must be 1 to 120 letters, digits or any of . _ - = , + and not start with a dot,"
                f" got {shown!r}; choose another name, for example study=width-sweep"
            )
        self.outputs = Path(outputs)
        self.name = name
        self.path = self.outputs / "studies" / name
        self._appended: dict[str, dict[str, Any]] = {}  # latest rows, by run id

    @classmethod
    def existing(cls, outputs: Path, name: str) -> StudyFolder:
        """The folder of a study that is there; BadInput that names the nearest where it is not."""
        folder = cls(outputs, name)
        if not (folder.path / "study.json").exists():
            known = sorted(path.parent.name for path in folder.path.parent.glob("*/study.json"))
            near = nearest(name, known)
            names = f"one of the {len(known)}" if len(known) > 10 else ", ".join(known) or "(none yet)"
            raise BadInput(f"study must be {names} in {folder.path.parent}, got {name}{near}")
        return folder

    def open(
        self,
        axes: Iterable[str],
        cells: Iterable[Mapping[str, Any]],
        command: str,
        compare: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Add the cells ``{run_id, overrides}`` of a sweep and return the whole study.

        A run id that is listed already keeps its place and its overrides; ``axes`` (swept fields) are united
        in order; ``command`` and ``compare`` (what should be drawn of it) are the latest that were given. Sweeps that
        open one study at the same time wait for each other.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._locked():
            before = self.read()
            known = {cell["run_id"]: cell for cell in before["cells"]}
            for cell in cells:
                known.setdefault(
                    cell["run_id"], {"run_id": cell["run_id"], "overrides": list(cell["overrides"])}
                )
            study = {
                "schema": SCHEMA,
                "name": self.name,
                "created": before["created"] or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "axes": list(dict.fromkeys([*before["axes"], *axes])),
                "command": command,
                "compare": dict(compare or before.get("compare") or {}),
                "cells": list(known.values()),
            }
            atomic.write_json(self.path / "study.json", study)
        return study

    def read(self) -> dict[str, Any]:
        """The content of ``study.json``; a study without cells where there is none.

        Raises ``BadInput`` for a file that is there and cannot be read: to go on would forget its runs.
        """
        path = self.path / "study.json"
        if not path.exists():
            return {
                "schema": SCHEMA, "name": self.name, "created": None, "axes": [], "command": "", "cells": []
            }  # fmt: skip
        study = atomic.read_json(path)
        if not isinstance(study, dict) or not {"axes", "cells", "created"} <= set(study):
            raise BadInput(f"study={self.name}: {path} is not a study's JSON; restore it or move it away")
        return study

    # -- index ----------------------------------------------------------------------------------------

    def append_index(self, row: Mapping[str, Any]) -> None:
        """Add the row of a run that has just finished (see ``index_row``); call ``tidy_index`` after the last one."""
        self._appended[row["run_id"]] = dict(row)
        atomic.append_line(self.path / "index.jsonl", row, mend=True)

    def tidy_index(self) -> None:
        """Leaves one line for each run: its latest. Lines of runs that were trained or measured again go, and lines
        that were appended here and are not there are taken from the runs' folders."""
        path = self.path / "index.jsonl"
        if not path.exists() and not self._appended:
            return
        with self._locked():
            # Lines and not rows: of 100,000 runs these take 200 MB, and rows more than a GB.
            lines = {row["run_id"]: line for row, line in self._index()}
            found = path.read_bytes() if path.exists() else b""
            for run_id, row in self._appended.items():
                lost = lines.get(run_id) != atomic.strict_json(row).encode()
                result = RunFolder(self.outputs, run_id).read_result() if lost else None
                if result is not None:  # as it is now: somebody else may have trained the run once more
                    lines[run_id] = atomic.strict_json(index_row(result, row["overrides"])).encode()
            tidy = b"".join(line + b"\n" for line in lines.values())
            if found != tidy:
                atomic.write_bytes(path, tidy)
            self._appended.clear()

    def read_index(self) -> dict[str, dict[str, Any]]:
        """The latest row of each run id, in the order of their first rows; torn lines are left out."""
        return {row["run_id"]: row for row, _ in self._index()}

    def indexed_ids(self) -> set[str]:
        """The ids of the runs in the index."""
        return {row["run_id"] for row, _ in self._index()}

    def _index(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Each row with its line, in the file's order; torn lines are left out."""
        with suppress(FileNotFoundError), open(self.path / "index.jsonl", "rb") as file:
            for line in file:
                with suppress(ValueError):
                    row = json.loads(line)
                    if isinstance(row, dict) and "run_id" in row:
                        yield row, line.rstrip(b"\n")

    def rebuild_index(self) -> dict[str, dict[str, Any]]:
        """Write the index anew from the run folders, in the study's order, and return it."""
        rows = {}
        for cell in self.read()["cells"]:
            result = RunFolder(self.outputs, cell["run_id"]).read_result()
            if result is not None:
                rows[cell["run_id"]] = index_row(result, cell["overrides"])
        lines = [atomic.strict_json(row) + "\n" for row in rows.values()]
        self.path.mkdir(parents=True, exist_ok=True)
        atomic.write_text(self.path / "index.jsonl", "".join(lines))
        return rows

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the study's lock; who has it has it for an instant, or is dead."""
        with Owner(self.outputs) as owner:
            lock = FolderLock(self.path, owner)
            while not lock.acquire():
                time.sleep(LOCK_PAUSE_S)
            try:
                yield
            finally:
                lock.release()


def index_row(result: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """One row of ``index.jsonl``: the run's id, fate and overrides, and its flat summary beside them."""
    return {
        "run_id": result["run_id"],
        "status": result["status"],
        "stop_reason": result["stop_reason"],
        "steps": result["steps"],
        "overrides": list(overrides),
        **result["summary"],
    }
