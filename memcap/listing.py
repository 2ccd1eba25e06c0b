"""Enters the cells of a sweep in their study: who is compared, and how each was configured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from memcap.errors import BadInput
from memcap.ledger import Ledger
from memcap.records.frozen_cells import add_frozen
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import index_row

ENDED = ("skipped", "finished", "diverged")


def list_cells(ledger: Ledger, axes: Sequence[str], command: str) -> None:
    """Enters the cells in the study, and in its index those that another study has finished already.

    The configurations are kept beside the list, so that what is not finished can be trained without the command.
    """
    listed = [{"run_id": o.cell.run_id, "overrides": list(o.cell.overrides)} for o in ledger.outcomes]
    drawn = dataclasses.asdict(ledger.outcomes[0].cell.config.compare)
    try:
        ledger.study.open(
            axes, listed, command, {key: word for key, word in drawn.items() if word is not None}
        )
        add_frozen(ledger.study.path / "cells.jsonl", [outcome.cell for outcome in ledger.outcomes])
    except OSError as error:
        raise BadInput(f"paths.outputs={ledger.outputs} cannot be written: {error}") from None
    index_finished(ledger)


def index_finished(ledger: Ledger) -> None:
    """Enters in the study's index the runs that others have finished."""
    indexed = ledger.study.indexed_ids()
    for outcome in ledger.outcomes:
        folder = RunFolder(ledger.outputs, outcome.cell.run_id)
        if outcome.status not in ENDED or folder.run_id in indexed:
            continue
        folder.add_study(ledger.study.name)
        result = folder.read_result()
        assert result is not None
        ledger.study.append_index(index_row(result, outcome.cell.overrides))
