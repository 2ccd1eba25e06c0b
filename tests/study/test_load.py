"""Studies as tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import result_record
from memcap.records.study_folder import StudyFolder
from memcap.study import load_study


def write(outputs: Path, run_id: str, bits: float | None) -> None:
    folder = RunFolder(outputs, run_id)
    folder.start({})
    folder.finish(
        result_record(
            run_id=run_id,
            status="finished",
            stop_reason="budget",
            steps=10,
            attempts=1,
            config={"seed": 1, "model": {"kind": "mlp", "width": 8}, "tracking": {"tags": ["a", "b"]}},
            summary={"memory/bits": bits},
            provenance={},
        )
    )


def test_a_row_for_each_run_with_a_result(tmp_path: Path) -> None:
    ids = ["aa0000000001", "bb0000000002", "cc0000000003"]
    write(tmp_path, ids[0], 1.5)
    write(tmp_path, ids[2], None)
    StudyFolder(tmp_path, "s").open(["seed"], [{"run_id": i, "overrides": []} for i in ids], "")
    table = load_study("s", tmp_path)
    assert list(table["run_id"]) == [ids[0], ids[2]]
    assert list(table["model.width"]) == [8, 8]
    assert table["tracking.tags"].iloc[0] == ("a", "b")
    assert table["memory/bits"].iloc[0] == 1.5
    assert table["memory/bits"].isna().iloc[1]


def test_an_unknown_study_names_the_nearest(tmp_path: Path) -> None:
    StudyFolder(tmp_path, "widths").open([], [], "")
    with pytest.raises(BadInput, match=r"study must be widths in .*got width \(did you mean widths\?\)"):
        load_study("width", tmp_path)
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["widths"]
