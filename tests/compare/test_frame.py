"""Runs of studies as a table, from real records and from broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from compositions import composed_config

from memcap import cells as training
from memcap.compare.alarms import alarms
from memcap.compare.capacity import capacity
from memcap.compare.frame import in_order, load_frame
from memcap.compare.verify import verify
from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.records import atomic
from memcap.study import load_study

SMALL = ("budget.steps=30", "budget.check_every=10", "measure=light", "measure.points=3", "tracking=disabled")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with a study of 2 widths × 3 N × 2 seeds, really trained, and a part of it under a second name."""
    outputs = tmp_path_factory.mktemp("compare") / "outputs"

    def cells(study: str, widths: tuple[int, ...]) -> list[Cell]:
        keys = [(w, n, s) for w in widths for n in (10, 20, 40) for s in (0, 1)]
        texts = [(f"model.width={w}", f"data.num_samples={n}", f"seed={s}") for w, n, s in keys]
        where = (f"paths.outputs={outputs}", f"study={study}")
        return [Cell.from_values(composed_config(*SMALL, *t, *where).to_dict(), t) for t in texts]

    axes = ["model.width", "data.num_samples", "seed"]
    training.train_cells(cells("both", (3, 6)), axes, "python -m memcap.train")
    training.train_cells(cells("narrow", (3,)), axes, "python -m memcap.train")
    return outputs


@pytest.fixture
def outputs(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(trained, tmp_path / "outputs"))


def test_a_row_per_run_with_what_load_study_has(trained: Path) -> None:
    frame = load_frame("both", trained)
    study = load_study("both", trained)
    assert frame["run_id"].tolist() == study["run_id"].tolist()
    for column in ("model.width", "data.num_samples", "seed", "memory/bits", "num_parameters"):
        assert frame[column].tolist() == study[column].tolist()
    assert frame.attrs["axes"] == ["model.width", "data.num_samples", "seed"]
    assert frame.attrs["unusable"] == []
    assert set(frame["provenance.engine"]) == {"fused"}
    assert not [name for name in frame if str(name).startswith(("tracking", "measure", "paths"))]
    for table in (capacity(frame), capacity(study)):
        assert table["model.width"].tolist() == [3, 6]


def test_studies_patterns_and_folders(trained: Path) -> None:
    both = load_frame(["both", "narrow"], trained)
    assert len(both) == 12  # a run of two studies is one row
    assert both.attrs["studies"] == ["both", "narrow"]
    assert len(load_frame("nar*", trained)) == 6
    folder = load_frame(outputs=trained)
    assert sorted(folder["run_id"]) == sorted(both["run_id"])
    pd.testing.assert_frame_equal(capacity(folder.sort_values("model.width")), capacity(both))


def test_broken_records_are_counted_and_the_rest_is_used(outputs: Path) -> None:
    frame = load_frame("both", outputs)
    torn, gone, failed, other = (outputs / "runs" / i[:2] / i for i in frame["run_id"][:4])
    (torn / "result.json").write_text((torn / "result.json").read_text()[:500])
    (gone / "result.json").unlink()
    (failed / "result.json").unlink()
    atomic.write_json(failed / "failure.json", {"error": "ValueError: no"})
    atomic.write_json(other / "result.json", {"run_id": other.name, "status": "finished", "config": 3})
    again = load_frame("both", outputs)
    assert len(again) == 8
    assert [text.split(";")[0] for text in again.attrs["unusable"]] == [
        "2 runs with a result.json that is torn or of another run",
        "1 run without a result yet",
        "1 run failed",
    ]


@pytest.mark.parametrize(
    ("study", "what"),
    [
        ("bth", "did you mean both"),
        ("nothing*", "matches none of the 3 studies"),
        ("empty", "no finished run"),
    ],
)
def test_what_cannot_be_compared_is_one_line(outputs: Path, study: str, what: str) -> None:
    empty = {"schema": 1, "name": "empty", "created": "now", "axes": [], "command": "", "cells": []}
    (outputs / "studies" / "empty").mkdir()
    atomic.write_json(outputs / "studies" / "empty" / "study.json", empty)
    with pytest.raises(BadInput, match=what) as error:
        load_frame(study, outputs)
    assert "\n" not in str(error.value)


def test_clean_records_raise_no_alarm_and_code_that_has_changed_does(outputs: Path) -> None:
    frame = load_frame("both", outputs)
    assert alarms(frame) == []
    run_id = frame["run_id"].iloc[0]
    path = outputs / "runs" / run_id[:2] / run_id / "result.json"
    result = atomic.read_json(path)
    result["config"]["objective"]["kind"] = "gone"
    atomic.write_json(path, result)
    found = [alarm for alarm in alarms(load_frame("both", outputs)) if alarm.kind == "other_code"]
    assert [alarm.run_ids for alarm in found] == [(run_id,)]


@pytest.mark.slow
def test_a_run_trained_alone_gives_its_record_again(outputs: Path) -> None:
    frame = load_frame("both", outputs)
    line, found = verify(frame, seed=1)
    assert found == []
    assert "gives its record again" in line
    run_id = line.split()[1]
    path = outputs / "runs" / run_id[:2] / run_id / "result.json"
    result = atomic.read_json(path)
    result["summary"]["memory/bits"] += 1
    atomic.write_json(path, result)
    line, (alarm,) = verify(frame, seed=1)
    assert alarm.kind == "not_reproduced"
    assert "memory/bits" in line
    assert atomic.read_json(path) == result


def test_runs_are_in_the_order_of_their_values_however_they_were_asked_for() -> None:
    table = pd.DataFrame({
        "model.width": [16, 8, 16, 8, 8],
        "activation.kind": ["silu", "silu", "relu", "relu", "silu"],
        "data.num_samples": [30, 30, 30, 10, 10],
        "run_id": list("abcde"),
    })  # fmt: skip
    axes = ["model.width", "activation", "data.num_samples", "gone"]
    assert "".join(in_order(table, axes)["run_id"]) == "ebdac"
    assert "".join(in_order(table, axes, by_chance=True)["run_id"]) == "debca"
    assert "".join(in_order(table, [])["run_id"]) == "abcde"
