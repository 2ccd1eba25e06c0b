"""python -m memcap.status: where each run is, from the records alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from background_sweeps import command, fail_run, finish_run, list_study, submission
from checkpoint_cases import cells as stopped_cells
from checkpoint_cases import train_until
from status_cases import Page, cells_of

from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.status import main
from memcap.submission.study_status import study_status


def test_every_state_is_counted(tmp_path: Path, page: Page, owner: Owner) -> None:
    cells = cells_of(6)
    study = list_study(Path("outputs"), cells)
    finish_run(study, cells[0])
    finish_run(study, cells[1], "diverged")
    fail_run(study, cells[2], RuntimeError("too\nbad"))
    for cell in cells[3:5]:
        folder = RunFolder(study.outputs, cell.run_id)
        folder.start(cell.config.to_dict())
        folder.append({"train/step": 0})
        folder.append({"train/step": 50})
    lock = FolderLock(RunFolder(study.outputs, cells[4].run_id).path, owner)
    assert lock.acquire()
    try:
        text = page()
    finally:
        lock.release()
    assert text.startswith(
        "study s: 6 runs: 1 finished, 1 diverged, 1 failed, 1 running, 1 interrupted, 1 not started\n"
    )
    # 250 of the 500 steps of the runs that have not failed.
    assert " 50%  250 of 500 member-steps" in text
    assert "  seed=2: RuntimeError: too bad\n" in text
    assert f"traceback: {RunFolder(study.outputs, cells[2].run_id).path / 'failure.json'}\n" in text
    assert "goes on with" not in text  # the command that trains one of them will come to the others
    assert study_status(study).counts["interrupted"] == 2
    assert "next:   python -m memcap.resume study=s " in page("study=s")


def test_a_result_that_is_gone_is_not_finished(page: Page) -> None:
    (cell,) = cells_of(1)
    study = list_study(Path("outputs"), [cell])
    finish_run(study, cell)
    assert study_status(study).counts == {"finished": 1}
    (RunFolder(study.outputs, cell.run_id).path / "result.json").unlink()
    assert study_status(study).counts == {"not started": 1}


@pytest.mark.parametrize("left", [0, 1, 40])
def test_a_result_that_is_cut_is_not_finished(page: Page, left: int) -> None:
    cells = cells_of(2)
    study = list_study(Path("outputs"), cells)
    for cell in cells:
        finish_run(study, cell)
    path = RunFolder(study.outputs, cells[0].run_id).path / "result.json"
    path.write_bytes(path.read_bytes()[:left])
    assert study_status(study).counts == {"finished": 1, "not started": 1}


def test_a_run_without_its_line_in_the_index_is_found(page: Page) -> None:
    (cell,) = cells_of(1)
    study = list_study(Path("outputs"), [cell])
    finish_run(study, cell, "diverged")
    (study.path / "index.jsonl").unlink()
    assert study_status(study).counts == {"diverged": 1}


def test_a_failure_names_the_log_of_the_task_that_it_happened_in(page: Page) -> None:
    cells = cells_of(1)
    study = list_study(Path("outputs"), cells)
    folder = submission(study, [cells], "local", [{"job_id": "17"}])
    fail_run(study, cells[0], ValueError("no"))
    said = {"state": "failed", "job": "17", "host": "n1", "pid": 5}
    folder.write_state(0, {**said, "started": time.time() - 9, "updated": time.time()})
    assert f"         log: {folder.logs}/17_0_log.out\n" in page()
    folder.write_state(0, {**said, "started": time.time() - 900, "updated": time.time() - 800})
    assert "log: " not in page()


def test_only_ten_failures_are_named(page: Page) -> None:
    cells = cells_of(13)
    study = list_study(Path("outputs"), cells)
    for cell in cells:
        fail_run(study, cell, ValueError("no"))
    text = page("study=s")
    assert text.count("ValueError: no") == 10
    assert "  ... and 3 more\n" in text
    assert "only=failed" in text


def test_a_task_that_could_not_begin_says_why(page: Page) -> None:
    cells = cells_of(2)
    study = list_study(Path("outputs"), cells)
    folder = submission(study, [cells], "local", [{"job_id": "17"}])
    folder.write_state(0, {"state": "failed", "error": "hardware.device=cuda: there is none", "job": "17"})
    text = page()
    assert "  1.0    it failed: hardware.device=cuda: there is none; runs left: 2\n" in text
    assert f"log: {folder.logs}/17_0_log.out\n" in text


def test_what_is_saved_of_a_run_counts_before_and_while_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm_says: Callable[[str, str], None]
) -> None:
    sweep = stopped_cells(tmp_path)
    assert train_until(40, sweep, monkeypatch) is None
    study = StudyFolder(tmp_path / "outputs", "s")

    def steps() -> tuple[int, int | None]:
        status = study_status(study)
        return status.steps_done, status.steps_total

    assert steps() == (120, 180)
    folder = submission(study, [sweep], "slurm", [{"job_id": "17", "tasks": [0]}])
    slurm_says("17_0|PENDING|s-0001\n", "")
    assert study_status(study).counts == {"queued": 3}
    assert steps() == (120, 180)
    slurm_says("17_0|RUNNING|s-0001\n", "")
    assert steps() == (120, 180)  # it has not said a word
    said = {"state": "running", "host": "n1", "pid": 5, "started": time.time(), "updated": time.time()}
    folder.write_state(0, {**said, "steps_done": 0, "steps_total": 180})
    assert steps() == (120, 180)  # it has not yet gone on
    folder.write_state(0, {**said, "steps_done": 30, "steps_total": 60})
    assert steps() == (150, 180)
    assert study_status(study).shares == {"1.0": pytest.approx(150 / 180)}


def test_json_says_the_same(page: Page) -> None:
    cells = cells_of(2)
    study = list_study(Path("outputs"), cells)
    finish_run(study, cells[0])
    said = json.loads(page("study=s", "--json"))
    assert said["counts"] == {"finished": 1, "not started": 1}
    assert said["runs"] == {cells[0].run_id: "finished", cells[1].run_id: "not started"}
    assert (said["steps_done"], said["steps_total"], said["live"]) == (100, 200, False)


def test_several_studies_are_listed(page: Page) -> None:
    for name in ("a", "b"):
        list_study(Path("outputs"), cells_of(2), name)
    text = page()
    assert [line.split()[:2] for line in text.splitlines()[1:3]] == [["a", "2"], ["b", "2"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study=ss"], "study must be s in "),
        (["studdy=s"], "did you mean study?"),
        (["--wach"], "did you mean --watch?"),
        (["s"], "'s' is not understood"),
        (["paths.outputs=nowhere"], "has no studies"),
        (["--watch", "--json"], "do not go together"),
    ],
)
def test_what_is_not_understood_is_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    list_study(Path("outputs"), cells_of(1))
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_watching_ends_with_the_study(page: Page, owner: Owner) -> None:
    cells = cells_of(1)
    study = list_study(Path("outputs"), cells)
    lock = FolderLock(RunFolder(study.outputs, cells[0].run_id).path, owner)
    RunFolder(study.outputs, cells[0].run_id).start(cells[0].config.to_dict())
    assert lock.acquire()
    watching = subprocess.Popen(
        [sys.executable, "-m", "memcap.status", "study=s", "--watch"], stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    assert "1 running" in watching.stdout.readline()
    finish_run(study, cells[0])
    lock.release()
    printed, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0
    assert "1 run: 1 finished" in printed


def test_ctrl_c_ends_the_watching_as_it_ends_any_command(page: Page, owner: Owner) -> None:
    cells = cells_of(1)
    study = list_study(Path("outputs"), cells)
    RunFolder(study.outputs, cells[0].run_id).start(cells[0].config.to_dict())
    lock = FolderLock(RunFolder(study.outputs, cells[0].run_id).path, owner)
    assert lock.acquire()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "memcap.status", "study=s", "--watch"]
    watching = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
    assert "1 running" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=30)
    lock.release()
    assert (watching.returncode, errors) == (130, "memcap: the study goes on\n")


def test_help_is_a_page(tmp_path: Path) -> None:
    ran = command("status", tmp_path, "--help")
    assert ran.returncode == 0
    assert "--watch" in ran.stdout


@pytest.mark.slow
def test_ten_thousand_runs_are_read_in_three_seconds(tmp_path: Path) -> None:
    (cell,) = cells_of(1)
    values, outputs = cell.config.to_dict(), tmp_path / "outputs"
    ids = [f"{number:04x}{number:08x}" for number in range(10_000)]
    lines = [{"run_id": run_id, "overrides": [f"seed={n}"]} for n, run_id in enumerate(ids)]
    study = StudyFolder(outputs, "s")
    study.open(["seed"], lines, "python -m x")
    frozen = [json.dumps({"base": values})]
    frozen += [json.dumps({**line, "changes": {"seed": n}}) for n, line in enumerate(lines)]
    (study.path / "cells.jsonl").write_text("\n".join(frozen) + "\n")
    rows = []
    for number, run_id in enumerate(ids):
        path = RunFolder(outputs, run_id).path
        path.mkdir(parents=True)
        if number % 10 == 9:
            record = {"run_id": run_id, "error": "ValueError: no", "failures": 1}
            (path / "failure.json").write_text(json.dumps(record))
            continue
        result = {"run_id": run_id, "status": "finished", "steps": 100, "config": values, "summary": {}}
        (path / "result.json").write_text(json.dumps(result))
        if number % 2:  # the others are not in the index: their results are read
            rows.append(json.dumps({"run_id": run_id, "status": "finished", "steps": 100}))
    (study.path / "index.jsonl").write_text("\n".join(rows) + "\n")
    started = time.process_time()  # neighbours on this machine do not count
    status = study_status(study)
    spent = time.process_time() - started
    assert status.counts == {"finished": 9000, "failed": 1000}
    assert spent < 3, f"{spent:.2f} s"
