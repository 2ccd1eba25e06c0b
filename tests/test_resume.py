"""python -m memcap.resume: what is not finished is trained, and nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from background_sweeps import (
    command,
    fail_run,
    finish_run,
    kill_workers,
    kill_workers_in_a_run,
    list_study,
    results,
    start_sweep,
    until,
    workers_of,
)
from compositions import composed_config

from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.resume import cells_to_resume, how
from memcap.resume import main as resume
from memcap.study_command import Words
from memcap.submission.folder import SubmissionFolder
from memcap.submission.study_status import study_status

SHORT = ("tracking=disabled", "study=s", "budget.steps=20", "budget.check_every=10", "measure.points=2")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep of four runs in four tasks, whose only worker was killed once the first of them had ended."""
    folder = tmp_path_factory.mktemp("killed")
    start_sweep(folder, "budget.steps=30000", "seed=0,1,2,3", "optimizer.learning_rate=0.001")
    until(lambda: results(folder))
    kill_workers_in_a_run(folder)
    return folder


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    """The same, to go on with."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return tmp_path


def cells_of(number: int, *words: str) -> list[Cell]:
    configs = [composed_config(*SHORT, f"seed={seed}", *words) for seed in range(number)]
    return [Cell.from_values(c.to_dict(), [f"seed={seed}"]) for seed, c in enumerate(configs)]


@pytest.mark.slow
def test_a_killed_worker_is_seen_and_its_runs_go_on(interrupted: Path) -> None:
    study = StudyFolder(interrupted / "outputs", "s")
    before = results(interrupted)
    said = command("status", interrupted, "study=s").stdout
    assert "it died without a word: no process " in said
    assert "memcap.resume study=s" in said
    done = command("resume", interrupted, "study=s", "launcher.wait=true")
    assert done.returncode == 0, done.stderr
    assert f"{4 - len(before)} finished" in done.stdout
    assert study_status(study).counts == {"finished": 4}
    first, second = SubmissionFolder.all_of(study.path)
    assert {r for task in second.read_tasks() for r in task["runs"]}.isdisjoint(p.parent.name for p in before)
    assert second.read_submission()["options"]["workers"] == 1
    assert (
        second.read_submission()["command"] == first.read_submission()["command"] == study.read()["command"]
    )
    for path in before:
        result = RunFolder(study.outputs, path.parent.name).read_result()
        assert result is not None
        assert result["attempts"] == 1
    again = command("resume", interrupted, "study=s")
    assert again.returncode == 0
    assert again.stdout == "nothing to resume: of 4 runs 4 done, 0 under way\n"


@pytest.mark.slow
def test_what_is_under_way_is_not_submitted_twice(tmp_path: Path) -> None:
    start_sweep(tmp_path, "budget.steps=100000000", "seed=0,1,2,3")
    try:
        done = command("resume", tmp_path, "study=s")
        assert done.returncode == 0, done.stderr
        assert "left to who has them: 4 runs" in done.stderr
        assert "nothing to resume: of 4 runs 0 done, 4 under way\n" in done.stdout
        assert len(list(tmp_path.glob("outputs/studies/s/submissions/*"))) == 1
    finally:
        kill_workers(tmp_path)
    assert workers_of(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "trained"), [(["only=failed"], {0}), (["only=interrupted"], {2}), ([], {0, 2})]
)
def test_a_run_that_has_failed_too_often_is_tried_once_more(
    words: list[str],
    trained: set[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = cells_of(3)
    study = list_study(Path("outputs"), cells)
    fail_run(study, cells[0], RuntimeError("the node was sick"), failures=cells[0].config.max_attempts + 3)
    finish_run(study, cells[1])
    assert resume(["study=s", *words]) == 0
    states = study_status(study).states
    assert {k for k in (0, 2) if states[cells[k].run_id] == "finished"} == trained
    assert study.read()["command"] == "python -m x"
    assert study.read()["axes"] == ["seed"]
    assert len(study.read_index()) == 1 + len(trained)
    result = RunFolder(study.outputs, cells[0].run_id).read_result()
    assert (result is not None) == (0 in trained)


def test_cells_that_several_commands_have_left_go_on_together(tmp_path: Path) -> None:
    cells = cells_of(1) + cells_of(2, "max_attempts=7", "paths.outputs=elsewhere", "tracking=wandb")[1:]
    study = list_study(tmp_path / "moved", cells)
    found = cells_to_resume(study, [cell.run_id for cell in cells], tmp_path / "moved")
    assert [cell.run_id for cell in found] == [cell.run_id for cell in cells]
    assert {cell.config.paths.outputs for cell in found} == {str(tmp_path / "moved")}
    assert {cell.config.max_attempts for cell in found} == {7}
    assert {cell.config.tracking.mode for cell in found} == {cells[1].config.tracking.mode}


def test_options_are_the_last_ones_with_what_is_changed_now(killed: Path) -> None:
    study = killed / "outputs" / "studies" / "s"
    launcher, options = how(Words({}, frozenset(), ()), study)
    assert (launcher, options["workers"], options["wait"]) == ("local", 1, False)
    values = {
        "hydra/launcher": "slurm",
        "launcher.workers": "null",
        "launcher.environment.A": "b",
        "launcher.setup": "[x, y]",
    }
    launcher, options = how(Words(values, frozenset(), ()), study)
    assert (launcher, options["workers"], options["wait"]) == ("slurm", None, False)
    assert (options["environment"], options["setup"]) == ({"A": "b"}, ["x", "y"])


def test_a_study_that_was_never_submitted_has_the_usual_options(tmp_path: Path) -> None:
    assert how(Words({}, frozenset(), ()), tmp_path)[0] == "memcap"
    values = {"hydra/launcher": "local", "launcher.wait": "false"}
    launcher, options = how(Words(values, frozenset(), ()), tmp_path)
    assert (launcher, options["wait"], options["retries"]) == ("local", False, 1)


def test_a_study_without_its_cells_names_its_command(tmp_path: Path) -> None:
    cells = cells_of(1)
    study = list_study(tmp_path, cells)
    (study.path / "cells.jsonl").unlink()
    with pytest.raises(BadInput, match="go on with its command: python -m x"):
        cells_to_resume(study, [cells[0].run_id], tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["only=failled"], "did you mean failed?"),
        (["hydra/launcher=slrm"], "did you mean slurm?"),
        (["launcher.worker=2", "hydra/launcher=local"], "launcher.worker"),
        (["launcher.workers=two", "hydra/launcher=local"], "launcher.workers"),
        (["launcher.workers=two", "hydra/launcher=local", "only=failed"], "launcher.workers"),
        (["launcher.wait=false"], "launcher.wait is for launchers that submit"),
        (["seed=3"], "seed is not a key of this command"),
        (["study=t"], "study must be s in "),
    ],
)
def test_what_cannot_be_used_is_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    list_study(Path("outputs"), cells_of(1))
    assert resume(words if any("study=" in word for word in words) else ["study=s", *words]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.glob("outputs/runs"))
