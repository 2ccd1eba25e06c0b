"""Which W&B runs of a study the server was seen to have whole: ``wandb_synced.jsonl`` in the study's folder.

A line per run, appended when the server has told that it has all rows and the end. A run whose record has changed
since is asked about again, and so is any run on request: a mark saves a question, it proves nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from memcap.records import atomic

FILE: Final = "wandb_synced.jsonl"


class Marks:
    """The marks of one study: keys say which run was where, and what its record was like."""

    def __init__(self, study: Path) -> None:
        self.path = study / FILE
        self._rows: dict[str, int] = {}
        with suppress(OSError):
            for line in self.path.read_bytes().splitlines():
                with suppress(ValueError, KeyError, TypeError):  # torn by a kill
                    mark = json.loads(line)
                    self._enter(str(mark["key"]), mark["rows"])

    def num_rows(self, key: str) -> int | None:
        """How many rows the server had; None where the run has no mark, or its record has changed."""
        return self._rows.get(key)

    def set(self, key: str, run_id: str, num_rows: int | None) -> None:
        """Mark a run that was seen whole, or with None one that was seen not to be. Raises ``OSError``."""
        if self._rows.get(key) != num_rows:
            self._enter(key, num_rows)
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            row = {"run_id": run_id, "rows": num_rows, "time": when, "key": key}
            atomic.append_line(self.path, row, mend=True)

    def _enter(self, key: str, num_rows: int | None) -> None:
        if num_rows is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = int(num_rows)


def mark_key(server: str, entity: str, project: str, wandb_id: str, record: Mapping[str, Any]) -> str:
    """One text for a run at a place and the state of its record."""
    return json.dumps([server, entity, project, wandb_id, *record.values()])


def record_state(*files: Path) -> dict[str, Any]:
    """Sizes and times of last change of the files of a record; None for a file that is not there."""
    state: dict[str, Any] = {}
    for path in files:
        try:
            found = os.stat(path)
            state[path.name] = [found.st_size, found.st_mtime_ns]
        except OSError:
            state[path.name] = None
    return state
