from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import result_record
from memcap.records.study_folder import StudyFolder, index_row


def cells(*numbers: int) -> list[dict[str, Any]]:
    return [{"run_id": f"id{i}", "overrides": (f"model.width={i}",)} for i in numbers]


def finished(outputs: Path, run_id: str, bits: float) -> dict[str, Any]:
    folder = RunFolder(outputs, run_id)
    attempts = folder.start({})
    result = result_record(
        run_id=run_id, status="finished", stop_reason="budget", steps=9, attempts=attempts, config={},
        summary={"num_parameters": 40, "memory/bits": bits}, provenance={},
    )  # fmt: skip
    folder.finish(result)
    return result


def test_a_study_grows_and_keeps_its_order(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path, "widths")
    assert study.read()["cells"] == []
    assert not study.path.exists(), "looking creates nothing"
    first = study.open(["model.width"], cells(2, 1), "memcap train -m model.width=2,1")
    again = StudyFolder(tmp_path, "widths").open(
        ["seed", "model.width"],
        [{"run_id": "id1", "overrides": ("seed=0",)}, *cells(3)],
        "memcap train -m seed=0",
    )
    assert (
        json.loads((tmp_path / "studies" / "widths" / "study.json").read_text())
        == again
        == {
            "schema": 1,
            "name": "widths",
            "created": first["created"],
            "axes": ["model.width", "seed"],
            "command": "memcap train -m seed=0",
            "compare": {},
            "cells": [
                {"run_id": "id2", "overrides": ["model.width=2"]},
                {"run_id": "id1", "overrides": ["model.width=1"]},
                {"run_id": "id3", "overrides": ["model.width=3"]},
            ],
        }
    )


def test_what_should_be_drawn_stays_until_another_sweep_says_otherwise(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path, "widths")
    study.open([], cells(1), "", {"y": "samples"})
    assert study.open([], cells(2), "")["compare"] == {"y": "samples"}
    assert study.open([], cells(3), "", {"x": "model.width"})["compare"] == {"x": "model.width"}


def test_sweeps_that_open_a_study_at_once_lose_no_cell(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_open_often, args=(tmp_path, start)) for start in (0, 1000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    found = {cell["run_id"] for cell in StudyFolder(tmp_path, "both").read()["cells"]}
    assert found == {f"id{start + i}" for start in (0, 1000) for i in range(100)}


def _open_often(outputs: Path, start: int) -> None:
    for i in range(100):
        StudyFolder(outputs, "both").open([], cells(start + i), "")


def test_the_index_takes_the_latest_row_of_a_run_and_forgives_torn_lines(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path, "widths")
    assert study.read_index() == {}
    study.open([], cells(1, 2), "")
    study.append_index({"run_id": "id1", "memory/bits": 1.0})
    study.append_index({"run_id": "id2", "memory/bits": float("nan")})
    with open(study.path / "index.jsonl", "a") as file:
        file.write('{"run_id": "id')  # a writer was killed here
    study.append_index({"run_id": "id1", "memory/bits": 3.0})
    assert list(study.read_index().items()) == [
        ("id1", {"run_id": "id1", "memory/bits": 3.0}),
        ("id2", {"run_id": "id2", "memory/bits": None}),
    ]


def test_the_index_can_be_rebuilt_from_the_run_folders(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path, "widths")
    study.open(["model.width"], cells(3, 1, 2), "")
    for number in (1, 3):
        study.append_index(
            index_row(finished(tmp_path, f"id{number}", float(number)), [f"model.width={number}"])
        )
    RunFolder(tmp_path, "id2").start({})
    before = study.read_index()
    (study.path / "index.jsonl").unlink()
    assert study.rebuild_index() == study.read_index() == before
    assert list(study.read_index()) == ["id3", "id1"], "in the study's order, without the unfinished run"
    assert study.read_index()["id3"] == {
        "run_id": "id3", "status": "finished", "stop_reason": "budget", "steps": 9, "overrides": ["model.width=3"],
        "num_parameters": 40, "memory/bits": 3.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["widths", "a.b_c-d=e,f+9", "-x", "x" * 120, "="])
def test_names_that_are_fine(tmp_path: Path, name: str) -> None:
    study = StudyFolder(tmp_path, name)
    study.open([], [], "")
    assert [path.name for path in (tmp_path / "studies").iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a b", "a\n", "ä", "x" * 121, "../../etc", "a*", None, 3]
)
def test_names_that_are_no_folder_names(tmp_path: Path, name: Any) -> None:
    with pytest.raises(BadInput, match=r"^study must be .* got ") as caught:
        StudyFolder(tmp_path, name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_study_is_not_forgotten(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path, "widths")
    study.open([], cells(1), "")
    (study.path / "study.json").write_text('{"cells": [')
    with pytest.raises(BadInput, match=r"study=widths: .*study\.json is not a study's JSON"):
        study.open([], cells(2), "")
    assert (study.path / "study.json").read_text() == '{"cells": ['


def test_a_line_that_was_lost_is_there_again_when_its_writer_tidies(tmp_path: Path) -> None:
    """Two machines append at the same place of the file, or one tidies while the other appends."""
    mine, theirs = StudyFolder(tmp_path, "both"), StudyFolder(tmp_path, "both")
    mine.open([], cells(1, 2, 3), "")
    for study, number in ((mine, 1), (theirs, 2), (mine, 3)):
        study.append_index(index_row(finished(tmp_path, f"id{number}", 1.0), [f"model.width={number}"]))
    whole = mine.read_index()
    path = mine.path / "index.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(second + first[:20] + third)
    assert list(mine.read_index()) == ["id2"]
    theirs.tidy_index()
    assert list(mine.read_index()) == ["id2"]
    mine.tidy_index()
    assert mine.read_index() == whole
    assert path.read_bytes().count(b"\n") == 3


def test_tidying_keeps_what_somebody_else_has_trained_since(tmp_path: Path) -> None:
    mine, theirs = StudyFolder(tmp_path, "both"), StudyFolder(tmp_path, "both")
    mine.open([], cells(1), "")
    mine.append_index(index_row(finished(tmp_path, "id1", 1.0), []))
    theirs.append_index(index_row(finished(tmp_path, "id1", 2.0), []))
    theirs.tidy_index()
    mine.tidy_index()
    assert mine.read_index()["id1"]["memory/bits"] == 2.0


def test_processes_that_append_and_tidy_at_once_lose_no_line(tmp_path: Path) -> None:
    StudyFolder(tmp_path, "both").open([], [], "")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_often, args=(tmp_path, start)) for start in (0, 1000, 2000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    found = StudyFolder(tmp_path, "both").read_index()
    assert found.keys() == {f"id{start + i}" for start in (0, 1000, 2000) for i in range(100)}


def _append_often(outputs: Path, start: int) -> None:
    study = StudyFolder(outputs, "both")
    for i in range(100):
        study.append_index(index_row(finished(outputs, f"id{start + i}", 1.0), []))
        if i % 10 == 9:
            study.tidy_index()
