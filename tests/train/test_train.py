"""The entry point end to end: one command, its records and its study, and the same command again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from train_cases import SMALL, Main, results

from memcap.measures.points import measurement_steps
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.study import load_study


def test_one_run_leaves_a_whole_record_and_nothing_else(main: Main, tmp_path: Path) -> None:
    assert main() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"owners", "runs", "studies"}
    assert list((tmp_path / "outputs" / "owners").iterdir()) == []
    (result,) = results(tmp_path)
    assert set(result) == {
        *("schema", "run_id", "status", "stop_reason", "steps", "attempts"),
        *("config", "summary", "provenance", "studies"),
    }
    assert (result["status"], result["stop_reason"], result["steps"]) == ("finished", "budget", 60)
    folder = RunFolder(tmp_path / "outputs", str(result["run_id"]))
    assert {p.name for p in folder.path.iterdir()} == {
        *("config.yaml", "history.jsonl", "samples.npz", "weights.npz", "result.json")
    }
    assert yaml.safe_load((folder.path / "config.yaml").read_text()) == result["config"]
    history = folder.read_history()
    assert [row["train/step"] for row in history] == measurement_steps(60, 4)
    summary = result["summary"]
    assert isinstance(summary, dict)
    assert summary.items() >= history[-1].items()
    samples = folder.read_arrays("samples")
    assert {name: values.shape for name, values in samples.items()} == {
        "initial_loss": (20,),
        "final_loss": (20,),
        "correct": (20,),
        "margin": (20,),
        "alignment": (20,),
    }
    assert samples["final_loss"].mean() == pytest.approx(summary["train/loss_nats"], rel=1e-6)
    assert sum(w.size for w in folder.read_arrays("weights").values()) == summary["num_parameters"]


def test_cells_of_one_shape_train_in_one_population(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = [
        "-m",
        "seed=0,1",
        "optimizer.learning_rate=0.01,0.02",
        "data.num_samples=20,30",
        "model.width=4,5",
    ]
    assert main(*sweep) == 0
    found = results(tmp_path)
    assert len(found) == 16
    assert {r["provenance"]["population"] for r in found} == {8}  # type: ignore[index]
    printed = capsys.readouterr().out
    assert "16 finished" in printed
    rows = [line.split("  ")[0] for line in printed.splitlines() if line.rstrip().endswith("finished")]
    assert len(rows) == 16
    assert [row.split()[0] for row in rows] == ["data.num_samples=20"] * 8 + ["data.num_samples=30"] * 8
    assert [row.split()[-1] for row in rows[:2]] == [
        "optimizer.learning_rate=0.01",
        "optimizer.learning_rate=0.02",
    ]
    table = load_study(found[0]["studies"][0])  # type: ignore[index]
    assert len(table) == 16
    assert set(table["model.width"]) == {4, 5}


def test_studies_share_runs_and_the_same_command_finds_its_study(main: Main, tmp_path: Path) -> None:
    assert main("-m", "seed=0,1") == 0
    assert main("-m", "seed=0,1") == 0
    assert len(list((tmp_path / "outputs/studies").iterdir())) == 1
    assert main("-m", "seed=1,2", "study=other") == 0
    assert len(results(tmp_path)) == 3
    shared = [result for result in results(tmp_path) if len(result["studies"]) == 2]  # type: ignore[arg-type]
    assert len(shared) == 1
    assert [cell["overrides"] for cell in StudyFolder(tmp_path / "outputs", "other").read()["cells"]] == [
        ["seed=1"],
        ["seed=2"],
    ]
    # A wider sweep over the same axis joins the study of the narrower one.
    assert main("-m", "seed=0,1,2,3") == 0
    assert len(list((tmp_path / "outputs/studies").iterdir())) == 2


def test_what_is_fixed_within_a_swept_group_tells_studies_apart(main: Main, tmp_path: Path) -> None:
    for rate in ("0.1", "0.01"):
        assert main("-m", "optimizer=adam,sgd", f"optimizer.learning_rate={rate}") == 0
    assert len(list((tmp_path / "outputs/studies").iterdir())) == 2


def test_one_run_of_a_preset_is_named_after_it(main: Main, tmp_path: Path) -> None:
    assert main("experiment=bits_vs_samples") == 0
    (study,) = (tmp_path / "outputs/studies").iterdir()
    assert study.name.startswith("bits_vs_samples-")


def test_means_over_seeds_close_a_sweep_with_seeds(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("-m", "seed=0,1,2", "model.width=4,5") == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("mean over seeds"))
    means = [line.split()[:2] for line in lines[start + 1 : start + 3]]
    assert means == [["model.width=4", "3"], ["model.width=5", "3"]]


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    small = " ".join(["tracking=disabled", *SMALL])
    line = f"set -o pipefail; {sys.executable} -m memcap.train -m seed=0,1 {small} | true"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(results(tmp_path)) == 2


def test_force_makes_a_new_attempt(main: Main, tmp_path: Path) -> None:
    assert main() == 0
    (before,) = results(tmp_path)
    assert main("force=true") == 0
    (after,) = results(tmp_path)
    assert (before["attempts"], after["attempts"]) == (1, 2)
    assert before["summary"] == after["summary"]  # same seed, same bits


def test_a_finished_run_is_trained_again_for_measures_that_it_lacks(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("measure=light") == 0
    (before,) = results(tmp_path)
    capsys.readouterr()
    assert main() == 0
    expected = "since they lack measure.conflict, measure.evaluation, measure.sharpness"
    assert expected in capsys.readouterr().err
    (after,) = results(tmp_path)
    assert (before["attempts"], after["attempts"]) == (1, 2)
    assert "sharpness/top_eigenvalue" in after["summary"]  # type: ignore[operator]
    assert before["summary"].items() <= after["summary"].items()  # type: ignore[attr-defined]
    assert main("measure=light", "measure.points=3") == 0  # it has all that and more
    assert "1 skipped" in capsys.readouterr().out


def test_a_diverged_run_is_a_result(main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = "optimizer.learning_rate=0.01,1e30"
    assert main("-m", rates, "activation=relu4", "optimizer=sgd", "budget.check_every=10") == 0
    assert sorted(str(result["status"]) for result in results(tmp_path)) == ["diverged", "finished"]
    assert "1 finished, 1 diverged" in capsys.readouterr().out
    assert main("-m", rates, "activation=relu4", "optimizer=sgd", "budget.check_every=10") == 0
    assert "2 skipped" in capsys.readouterr().out
