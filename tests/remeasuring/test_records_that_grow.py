"""Records that get more measures: asked for again, interrupted, changed or moved in the meantime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measure_cases import OUTPUTS, Command, results

from memcap import remeasuring
from memcap.records.folder_lock import FolderLock
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder


def test_each_number_of_eigenvalues_is_measured_once(
    trained: Command, measured: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("study=s", "measure=full")
    for number, said in ((1, "0 measured"), (3, "1 measured"), (2, "0 measured"), (4, "1 measured")):
        for again in (False, True):
            capsys.readouterr()
            assert measured("study=s", f"measure.num_eigenvalues={number}") == 0
            assert ("0 measured" if again else said) in capsys.readouterr().out
    ((_, result),) = results().items()
    assert "sharpness/eigenvalue_4" in result["summary"]
    assert result["measured_at_end"] == ["num_eigenvalues"]
    assert result["config"]["measure"]["num_eigenvalues"] == 1


def test_training_again_loses_nothing_that_was_measured_at_the_end(
    trained: Command, measured: Command
) -> None:
    trained("study=s", "measure=light")
    measured("study=s", "measure=everything")
    before = results()
    assert trained("study=s", "measure=light", "measure.points=6") == 0
    for run_id, result in results().items():
        assert result["attempts"] == 2
        assert result["summary"].keys() >= before[run_id]["summary"].keys()
        assert "measured_at_end" not in result
        assert {row["train/step"] for row in RunFolder(OUTPUTS, run_id).read_history()} >= {0, 1, 60}
        assert "sharpness/eigenvalue_5" in RunFolder(OUTPUTS, run_id).read_history()[0]


def test_studies_hear_of_what_was_measured_before_an_interruption(
    trained: Command, measured: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("-m", "model.width=3,4", "study=s", "measure=light")
    packs = iter([remeasuring._observed, KeyboardInterrupt])

    def stopped_at_the_second(pack: Any) -> Any:
        observed: Any = next(packs)
        if observed is KeyboardInterrupt:
            raise KeyboardInterrupt
        return observed(pack)

    monkeypatch.setattr(remeasuring, "_observed", stopped_at_the_second)
    assert measured("study=s") == 130
    index = StudyFolder(OUTPUTS, "s").read_index()
    whole = {run_id: "rounding/int8/bits" in result["summary"] for run_id, result in results().items()}
    assert sorted(whole.values()) == [False, True]
    assert {run_id: "rounding/int8/bits" in row for run_id, row in index.items()} == whole


def test_a_run_is_read_when_it_is_locked(
    trained: Command, measured: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever trains it again between the list and the lock must not find the older record in its place."""
    trained("study=s", "measure=light")

    class SlowLock(FolderLock):
        def acquire(self) -> bool:
            path = self.path.parent / "result.json"
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "attempts": 7, "studies": ["s", "t"]}))
            return super().acquire()

    monkeypatch.setattr(remeasuring, "FolderLock", SlowLock)
    assert measured("study=s") == 0
    ((_, result),) = results().items()
    assert (result["attempts"], result["studies"]) == (7, ["s", "t"])
    assert "rounding/int8/bits" in result["summary"]


def test_a_run_that_changed_its_length_in_the_meantime_is_skipped(
    trained: Command, measured: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("study=s", "measure=light")

    class SlowLock(FolderLock):
        def acquire(self) -> bool:
            path = self.path.parent / "result.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "steps": 30}))
            return super().acquire()

    monkeypatch.setattr(remeasuring, "FolderLock", SlowLock)
    assert measured("study=s") == 1
    assert "it was trained again in the meantime" in capsys.readouterr().out


def test_arrays_of_a_record_stay_and_the_density_says_how_it_was_made(
    trained: Command, measured: Command
) -> None:
    trained("study=s", "measure=light")
    measured("study=s", "measure.spectrum=true", "measure.spectrum_probes=3", "measure.spectrum_steps=5")
    ((run_id, result),) = results().items()
    before = RunFolder(OUTPUTS, run_id).read_arrays("spectrum")["nodes"]
    assert before.shape == (15,)
    said = {key: result["config"]["measure"][key] for key in ("spectrum_probes", "spectrum_steps")}
    assert said == {"spectrum_probes": 3, "spectrum_steps": 5}
    assert measured("study=s", "measure.spectrum=true", "measure.spectrum_probes=2", "force=true") == 0
    np.testing.assert_array_equal(RunFolder(OUTPUTS, run_id).read_arrays("spectrum")["nodes"], before)
    assert results()[run_id]["config"] == result["config"]


def test_four_digits_of_an_id_name_a_run(trained: Command, measured: Command) -> None:
    trained("-m", "seed=0,1", "study=s", "measure=light")
    first, second = sorted(results())
    assert measured(f"run={second[:4]}") == 0
    assert {run_id: "rounding/int8/bits" in result["summary"] for run_id, result in results().items()} == {
        first: False,
        second: True,
    }


def test_records_that_were_moved_are_measured_where_they_are(trained: Command, measured: Command) -> None:
    """Where they were made need not exist, or be a place to write to."""
    trained("study=s", "measure=light")
    Path("file").write_text("")
    for path in OUTPUTS.glob("runs/*/*/result.json"):
        record = json.loads(path.read_text())
        record["config"]["paths"]["outputs"] = "file/outputs"
        path.write_text(json.dumps(record))
    assert measured("study=s") == 0


def test_a_part_that_is_gone_skips_its_run_only(
    trained: Command, measured: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("-m", "seed=0,1", "study=s", "measure=light")
    first, second = sorted(results())
    path = RunFolder(OUTPUTS, first).path / "result.json"
    record = json.loads(path.read_text())
    record["config"]["activation"] = {"_target_": "gone_part.Gone"}
    record["config"]["allow_targets"] = ["gone_part"]
    path.write_text(json.dumps(record))
    capsys.readouterr()
    assert measured("study=s") == 1
    out = capsys.readouterr().out
    assert "1 measured" in out
    assert f"skipped: run {first}" in out
    assert "gone_part" in out
    assert "rounding/int8/bits" in results()[second]["summary"]
