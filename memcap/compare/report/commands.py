"""How the runs behind a point are trained again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memcap.compare.axes import REPLICATE, RESTART
from memcap.compare.matching import row_keys
from memcap.config.override_text import value_text
from memcap.records.run_folder import RunFolder
from memcap.study.rerun import rerun_overrides

MOST_LINES = 1200  # a millisecond of work each
TRAIN = ("python", "-m", "memcap.train")


class Commands:
    """Command lines for runs of a table, from their records; each record is read once.

    Beyond ``MOST_LINES`` records, and for a run whose record is gone, it is ``python -m memcap.show RUN_ID``, which
    prints the one that trains it; empty for a run of W&B (``source=``) that has no record here.
    """

    def __init__(self, frame: pd.DataFrame, nuisance: Sequence[str]) -> None:
        self.frame = frame
        self.outputs = str(frame.attrs.get("outputs", "outputs"))
        self.varying = (*nuisance, REPLICATE)
        self.restarts = ",".join(
            map(str, frame.attrs.get("restarts", ()))
        )  # all of them, not the best of each seed
        self._run_ids = [str(run_id) for run_id in frame["run_id"]]
        self._place = [] if self.outputs == "outputs" else [f"paths.outputs={self.outputs}"]
        self._overrides: dict[int, list[str] | None] = {}

    def of_run(self, row: int) -> str:
        """The line that trains one run again."""
        overrides = self._read(row)
        if overrides is None:
            return self._show(row)
        return shlex.join([*TRAIN, *overrides, "force=true"])

    def of_runs(self, rows: Sequence[int], best: Sequence[int] = ()) -> str:
        """One sweep over the seeds and nuisance values of these runs, which agree in all other keys.

        A sweep trains each seed at each value. Where some of these runs never were, as in a search, it is the sweep
        of those at the best nuisance values (``best``); where these are no product either, one of them is shown.
        """
        if not self._are_a_product(rows):
            if not self._are_a_product(best):
                return self._show([*best, *rows][0])
            rows = best
        if len(rows) == 1 and not self.restarts:
            return self.of_run(rows[0])
        overrides = self._read(rows[0])
        if overrides is None:
            return self._show(rows[0])
        words = [
            word
            for word in overrides
            if _key(word) not in (*self.varying, *([RESTART] if self.restarts else ()))
        ]
        runs = self.frame.iloc[list(rows)]
        values = [f"{key}={','.join(_distinct(runs[key]))}" for key in self.varying if key in runs]
        values += [f"{RESTART}={self.restarts}"] if self.restarts else []
        return shlex.join([*TRAIN, "-m", *words, *values, "force=true"])

    def _read(self, row: int) -> list[str] | None:
        if row not in self._overrides:
            if len(self._overrides) >= MOST_LINES:
                return None
            self._overrides[row] = self._of_record(self._run_ids[row])
        return self._overrides[row]

    def _of_record(self, run_id: str) -> list[str] | None:
        try:
            result = RunFolder(Path(self.outputs), run_id).read_result()
            return None if result is None else rerun_overrides(result["config"], self.outputs)
        except (OSError, ValueError, KeyError, TypeError):  # a record that went while this was read
            return None

    def _are_a_product(self, rows: Sequence[int]) -> bool:
        runs = self.frame.iloc[list(rows)]
        names = [key for key in self.varying if key in runs]
        values = row_keys(runs, names)
        return bool(rows) and len(set(values)) == math.prod(
            len(set(of_key)) for of_key in zip(*values, strict=True)
        )

    def _show(self, row: int) -> str:
        if "source" in self.frame.attrs:
            return ""
        return shlex.join(["python", "-m", "memcap.show", self._run_ids[row], *self._place])


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _distinct(column: pd.Series) -> list[str]:
    values: list[Any] = sorted(column.drop_duplicates().tolist(), key=lambda value: (str(type(value)), value))
    return [value_text(None if value != value else value) for value in values]
