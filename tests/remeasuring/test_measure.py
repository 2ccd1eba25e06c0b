"""Finished runs get end-of-run measures from their kept weights; nothing is trained and nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measure_cases import OUTPUTS, Command, results

from memcap import study_run
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder


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
    with Owner(OUTPUTS) as owner:
        assert FolderLock(RunFolder(OUTPUTS, min(results())).path, owner).acquire()
        assert measured("study=s") == 1
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
