"""Whether recorded runs would have the same ids today: their components' versions are part of an id."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from memcap.config.identity import run_id
from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.study.recorded_config import recorded_config

MOST_CHECKED = 200
KINDS = ("data", "model", "activation", "objective", "optimizer", "schedule")


def runs_of_other_code(frame: pd.DataFrame) -> list[str]:
    """Ids of the runs whose configuration is another id in today's code.

    Versions belong to kinds of components and to a commit, so one run of each combination of these stands for the
    others; where the checkout had changes of its own, or there was none, every run is looked at, up to 200 in all.
    Parts of one's own are not looked at: they need not be importable here.
    """
    kinds = [f"{group}.kind" for group in KINDS if f"{group}.kind" in frame]
    origin = ["provenance.memcap", "provenance.git_commit"]
    own = frame[[c for c in frame if str(c).endswith("._target_")]].notna().any(axis=1)
    clean = frame["provenance.git_dirty"].map(lambda dirty: dirty is False or dirty == 0).astype(bool)
    other: list[str] = []
    checked = 0
    for _, runs in frame[~own].groupby([*kinds, *origin], dropna=False, sort=False):
        certain = clean[runs.index]
        alike = runs[certain]
        if len(alike) and checked < MOST_CHECKED:
            checked += 1
            if _has_changed(frame, alike["run_id"].iloc[0]):
                other += alike["run_id"].tolist()
        for one in runs["run_id"][~certain]:
            if checked < MOST_CHECKED:
                checked += 1
                other += [one] if _has_changed(frame, one) else []
    return other


def _has_changed(frame: pd.DataFrame, recorded_id: str) -> bool:
    result = RunFolder(Path(frame.attrs["outputs"]), recorded_id).read_result()
    if result is None:
        return False
    try:
        return run_id(recorded_config(result["config"])) != recorded_id
    except BadInput:
        return True
