"""Finished runs get end-of-run measures from their kept weights; nothing is trained and nothing is overwritten."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memcap import measure, remeasuring, study_run, train
from memcap.records.run_folder import RunFolder
from memcap.records.run_lock import RunLock
from memcap.records.study_folder import StudyFolder

SMALL = ("data.num_samples=20", "budget.steps=60", "measure.points=4", "model.width=4", "tracking=disabled")
Command = Callable[..., int]
OUTPUTS = Path("outputs")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Trains in an empty directory, which is the working directory then."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["memcap.train", *SMALL, *arguments])
        return train.main()

    return call


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["memcap.measure", *arguments])
        return measure.main()

    return call


def results() -> dict[str, dict[str, Any]]:
    found = (json.loads(path.read_text()) for path in sorted(OUTPUTS.glob("runs/*/*/result.json")))
    return {result["run_id"]: result for result in found}


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(study_run, "train_population", refuse)


def test_what_is_added_is_what_training_with_all_measures_gives(
    trained: Command, measured: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = (
        "-m",
        "seed=0,1",
        "model.width=3,4",
        "data.num_samples=9,20",
        "hardware.dtype=float64",
        "study=s",
    )
    assert trained(*sweep, "measure=light") == 0
    light = results()
    assert measured("study=s", "measure=everything") == 0
    added = results()
    assert trained(*sweep, "measure=everything", "paths.outputs=other") == 0
    everything = {
        run_id: json.loads((Path("other/runs") / run_id[:2] / run_id / "result.json").read_text())
        for run_id in added
    }
    for run_id, record in added.items():
        assert record["summary"].items() >= light[run_id]["summary"].items()
        whole = everything[run_id]["summary"]
        # What the optimizer's state is needed for is not made up from weights.
        known = {name for name in whole if "precondition" not in name and not name.startswith("updates/")}
        known |= light[run_id]["summary"].keys()
        assert set(record["summary"]) == known
        for name in known - {name for name in known if name.endswith("residual")}:
            tolerance = 1e-3 if name.startswith("sharpness/") else 1e-9
            assert record["summary"][name] == pytest.approx(
                whole[name], rel=tolerance, abs=1e-9, nan_ok=True
            ), name
        here, there = (RunFolder(Path(folder), run_id) for folder in ("outputs", "other"))
        for name in ("samples", "spectrum"):
            for key, values in there.read_arrays(name).items():
                np.testing.assert_allclose(here.read_arrays(name)[key], values, rtol=1e-7, atol=1e-9)
        assert here.read_history() == RunFolder(OUTPUTS, run_id).read_history()
        assert set(record["measured_at_end"]) == {
            "evaluation",
            "conflict",
            "num_eigenvalues",
            "sharpness",
            "trace",
            "updates",
            "weights",
        }
        assert record["provenance"]["measured"][0]["parts"]


def test_training_asks_for_end_measures_without_training(
    trained: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("-m", "seed=0,1", "study=s")
    assert trained(*sweep, "measure.rounding=false", "measure.samples=false") == 0
    no_training(monkeypatch)
    capsys.readouterr()
    assert trained(*sweep) == 0
    assert "measured from their weights: 2" in capsys.readouterr().err
    for run_id, result in results().items():
        assert result["summary"]["rounding/int8/bits"] >= 0
        assert {"initial_loss", "final_loss", "margin"} <= RunFolder(OUTPUTS, run_id).read_arrays(
            "samples"
        ).keys()
        assert StudyFolder(OUTPUTS, "s").read_index()[run_id]["rounding/int8/bits"] >= 0
    assert trained(*sweep) == 0
    assert "measured" not in capsys.readouterr().err


def test_without_weights_training_starts_again(trained: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained("records.weights=none", "measure.rounding=false") == 0
    assert trained() == 0
    assert "trained again, since they lack measure.rounding" in capsys.readouterr().err
    ((_, result),) = results().items()
    assert result["attempts"] == 2


def test_a_second_time_there_is_nothing_to_do(
    trained: Command, measured: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("-m", "seed=0,1", "study=s", "measure=light")
    assert measured("study=s") == 0
    before = {path: path.stat().st_mtime_ns for path in OUTPUTS.rglob("result.json")}
    capsys.readouterr()
    assert measured("study=s") == 0
    assert "0 measured, 2 had it all" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in OUTPUTS.rglob("result.json")} == before
    assert measured("study=s", "force=true") == 0
    assert "2 measured" in capsys.readouterr().out


def torn(folder: RunFolder) -> str:
    path = folder.path / "weights.npz"
    path.write_bytes(path.read_bytes()[:200])
    return "weights.npz is torn"


def empty(folder: RunFolder) -> str:
    (folder.path / "weights.npz").write_bytes(b"")
    return "weights.npz is torn"


def missing(folder: RunFolder) -> str:
    (folder.path / "weights.npz").unlink()
    return "its weights were not kept"


def of_another_shape(folder: RunFolder) -> str:
    weights = folder.read_arrays("weights")
    np.savez(folder.path / "weights.npz", **{name: array[:1] for name, array in weights.items()})
    return "other shapes"


def of_another_version(folder: RunFolder) -> str:
    weights = folder.read_arrays("weights")
    np.savez(folder.path / "weights.npz", **{name: array + 0.1 for name, array in weights.items()})
    return "do not give the loss that is recorded"


def with_weights_that_are_no_numbers(folder: RunFolder) -> str:
    weights = folder.read_arrays("weights")
    np.savez(folder.path / "weights.npz", **{name: array * np.nan for name, array in weights.items()})
    return "do not give the loss that is recorded"


def with_other_data(folder: RunFolder) -> str:
    result = folder.read_result() or {}
    result["provenance"]["data_fingerprint"] = "0" * 16
    (folder.path / "result.json").write_text(json.dumps(result))
    return "its data are drawn differently now"


@pytest.mark.parametrize(
    "damage",
    [
        torn,
        empty,
        missing,
        of_another_shape,
        of_another_version,
        with_weights_that_are_no_numbers,
        with_other_data,
    ],
)
def test_a_run_that_cannot_be_measured_is_skipped_and_counted(
    trained: Command,
    measured: Command,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[RunFolder], str],
) -> None:
    trained("-m", "seed=0,1,2", "study=s", "measure=light")
    first, second, third = sorted(results())
    said = damage(RunFolder(OUTPUTS, second))
    before = (RunFolder(OUTPUTS, second).path / "result.json").read_bytes()
    capsys.readouterr()
    assert measured("study=s") == 1
    out = capsys.readouterr().out
    assert "2 measured" in out
    (line,) = [line for line in out.splitlines() if line.startswith("skipped:")]
    assert second in line
    assert said in line
    assert (RunFolder(OUTPUTS, second).path / "result.json").read_bytes() == before
    for run_id in (first, third):
        assert "rounding/int8/bits" in results()[run_id]["summary"]


def test_a_run_that_somebody_works_on_is_left_alone(
    trained: Command, measured: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("-m", "seed=0,1", "study=s", "measure=light")
    lock = RunLock(RunFolder(OUTPUTS, min(results())).path)
    assert lock.acquire()
    try:
        assert measured("study=s") == 1
    finally:
        lock.release()
    assert "another process is working on it" in capsys.readouterr().out


def test_diverged_runs_are_measured_too(trained: Command, measured: Command) -> None:
    trained("-m", "optimizer=sgd", "optimizer.learning_rate=0.1,1e12", "study=s", "measure=light")
    assert {result["status"] for result in results().values()} == {"finished", "diverged"}
    assert measured("study=s") == 0
    for result in results().values():
        assert (result["summary"]["rounding/bf16/bits"] is None) == (result["status"] == "diverged")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "study=NAME"),
        (("study=s", "run=abc"), "study=NAME"),
        (("study=t",), "study must be s"),
        (("run=12e456789012",), "no run in outputs/runs begins with 12e456789012"),
        (("run=0012",), "begins with 0012"),
        (
            ("study=s", "measure.num_eigenvalues=49"),
            "measure.num_eigenvalues must be ≤ measure.lanczos_iterations",
        ),
        (("study=s", "measure=ful"), "did you mean measure=full"),
        (("study=s", "measure.roundin=true"), "measure.rounding"),
        (("study=s", "-m"), "takes no -m"),
        (("study=s", "hardware.memory_gib=1e-9"), "hardware.memory_gib"),
    ],
)
def test_bad_input_is_one_line(
    trained: Command,
    measured: Command,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    trained("study=s", "measure=light")
    before = results()
    capsys.readouterr()
    assert measured(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert results() == before


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

    class SlowLock(RunLock):
        def acquire(self) -> bool:
            path = self.path.parent / "result.json"
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "attempts": 7, "studies": ["s", "t"]}))
            return super().acquire()

    monkeypatch.setattr(remeasuring, "RunLock", SlowLock)
    assert measured("study=s") == 0
    ((_, result),) = results().items()
    assert (result["attempts"], result["studies"]) == (7, ["s", "t"])
    assert "rounding/int8/bits" in result["summary"]


def test_a_run_that_changed_its_length_in_the_meantime_is_skipped(
    trained: Command, measured: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("study=s", "measure=light")

    class SlowLock(RunLock):
        def acquire(self) -> bool:
            path = self.path.parent / "result.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "steps": 30}))
            return super().acquire()

    monkeypatch.setattr(remeasuring, "RunLock", SlowLock)
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
