"""Cells that somebody has already: a command that does not wait hands over only the others."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from memcap.config.cell import Cell
from memcap.records.progress import counted
from memcap.records.study_folder import StudyFolder
from memcap.submission.study_status import LIVE, study_status


def not_under_way(cells: Sequence[Cell], study: StudyFolder) -> list[Cell]:
    """The cells that no submission of the study has queued and nobody trains; the others are counted in one line.

    Forced cells are wanted once more in any case.
    """
    if not cells or cells[0].config.force or not (study.path / "study.json").exists():
        return list(cells)
    status = study_status(study)
    holder = {
        run_id: f"in submission {int(task.name.partition('.')[0]):04d}"
        for task in status.tasks
        if task.live
        for run_id in task.runs
    }
    taken = [cell for cell in cells if status.states.get(cell.run_id) in LIVE]
    words = Counter((status.states[c.run_id], holder.get(c.run_id, "elsewhere")) for c in taken)
    if words:
        told = "; ".join(
            f"{counted(number, 'cell')} {'is' if number == 1 else 'are'} {state} {where}"
            for (state, where), number in words.items()
        )
        print(f"memcap: not submitted again: {told}", file=sys.stderr)
    ids = {cell.run_id for cell in taken}
    return [cell for cell in cells if cell.run_id not in ids]
