"""Frozen cells come back as they were, whatever became of YAML, and refuse to be other runs than they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compositions import composed_values

from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.records.frozen_cells import add_frozen, changed, changes, frozen_ids, read_frozen, write_frozen

MIXED = (
    ("model.width=8",),
    ("model=linear", "seed=3"),
    ("activation=formula", "activation.formula='x*sin(x)'"),
    ("data=sparse_features", "model=autoencoder", "objective=squared_error"),
    ("optimizer=sgd", "optimizer.clip_norm=1.5", "tracking.tags=[a,b]"),
    ("measure=everything", "schedule=cosine"),
)


def cells(*choices: tuple[str, ...]) -> list[Cell]:
    return [Cell.from_values(composed_values(*overrides), overrides) for overrides in choices]


def test_cells_of_every_kind_come_back_equal(tmp_path: Path) -> None:
    written = cells(*MIXED)
    write_frozen(tmp_path / "cells.jsonl", written)
    assert read_frozen(tmp_path / "cells.jsonl") == written
    assert frozen_ids(tmp_path / "cells.jsonl") == [cell.run_id for cell in written]
    some = {written[1].run_id, written[4].run_id}
    assert read_frozen(tmp_path / "cells.jsonl", some) == [written[1], written[4]]


def test_lines_that_another_program_has_written_are_found_by_their_ids_too(tmp_path: Path) -> None:
    path, written = tmp_path / "cells.jsonl", cells(*MIXED)
    write_frozen(path, written)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(dict(reversed(row.items()))) + "\n" for row in rows))
    assert read_frozen(path, {written[2].run_id}) == [written[2]]


def test_a_line_holds_only_what_differs(tmp_path: Path) -> None:
    write_frozen(tmp_path / "cells.jsonl", cells(("seed=1",), ("seed=2", "model.width=9")))
    *_, last = (tmp_path / "cells.jsonl").read_text().splitlines()
    assert json.loads(last)["changes"] == {"seed": 2, "model.width": 9}


def test_changes_lead_from_one_configuration_to_any_other() -> None:
    values = [cell.config.to_dict() for cell in cells(*MIXED)]
    for base in values:
        for other in values:
            assert changed(base, changes(base, other)) == other


def test_adding_keeps_others_and_takes_the_newer_configuration(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    first, second = cells(("seed=1",), ("seed=2",))
    (newer,) = cells(("seed=1", "measure=light"))
    assert newer.run_id == first.run_id
    add_frozen(path, [first])
    add_frozen(path, [second])
    assert read_frozen(path) == [first, second]
    before = path.stat()
    add_frozen(path, [second])
    assert path.stat().st_ino == before.st_ino, "nothing new, and yet the file was replaced"
    add_frozen(path, [newer])
    assert read_frozen(path) == [newer, second]


def test_a_torn_file_is_one_line_and_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    (cell,) = cells(("seed=1",))
    write_frozen(path, [cell])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInput, match=r"cannot be read as the cells of a sweep") as caught:
        read_frozen(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="cannot be read"):
        read_frozen(tmp_path / "none.jsonl")
    add_frozen(path, [cell])
    assert read_frozen(path) == [cell]


def test_a_cell_that_would_be_another_run_now_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    (cell,) = cells(("seed=1",))
    write_frozen(path, [cell])
    path.write_text(path.read_text().replace(cell.run_id, "0123456789ab"))
    with pytest.raises(BadInput, match=f"run 0123456789ab would be {cell.run_id} with this version"):
        read_frozen(path)
