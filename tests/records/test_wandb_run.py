"""The mirror of runs in W&B, with the real client writing offline files: what is written and read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wandb_cases import clean, run_script
from wandb_files import OfflineRun, offline_runs, read_wandb_file
from wandb_run_cases import CONFIG, plain, row, tracker

from memcap.records.wandb_client import prepare


def test_three_interleaved_runs_read_back_whole(tmp_path: Path, warnings: list[str]) -> None:
    mirror = tracker(tmp_path, warnings)
    runs = [mirror.start(f"abc{i}", CONFIG | {"seed": i}, f"model.width={i}") for i in range(3)]
    for k in range(400):  # more than one block of the file
        for i, run in enumerate(runs):
            run.log(row(i, k))
    runs[1].finish({"memory/bits": 1.5, "train/loss_nats": float("nan"), "status": "diverged"}, 0)
    runs[0].finish({"memory/bits": 0.5, "status": "finished"}, 0)
    runs[0].log({"train/step": 9999})  # after its end: ignored
    runs[0].finish({"status": "twice"}, 7)
    runs[2].finish({"status": "failed"}, 1)
    mirror.close()
    found = offline_runs(tmp_path)
    assert sorted(found) == ["abc0", "abc1", "abc2"]
    for i in range(3):
        read = found[f"abc{i}"]
        assert (read.group, read.job_type, read.project, read.entity) == ("widths", "train", "memcap", "lab")
        assert (read.name, read.notes, read.tags) == (f"model.width={i}", "why", ("x",))
        assert read.config == CONFIG | {"seed": i}
        assert read.history == [plain(row(i, k)) for k in range(400)]
        assert read.step_metrics == {"*": "train/step"}
    assert [found[f"abc{i}"].exit_code for i in range(3)] == [0, 0, 1]
    assert found["abc0"].summary == plain(row(0, 399)) | {"memory/bits": 0.5, "status": "finished"}
    assert found["abc1"].summary["train/loss_nats"] is None
    assert found["abc2"].summary["status"] == "failed"
    assert warnings == []


def test_the_reader_agrees_with_the_clients_own_tool(tmp_path: Path, warnings: list[str]) -> None:
    mirror = tracker(tmp_path, warnings)
    run = mirror.start("abc", CONFIG, "name")
    for k in range(300):
        run.log(row(0, k))
    run.finish({"memory/bits": 2.0}, 3)
    mirror.close()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-abc.wandb")
    assert file.stat().st_size > 2 * 32 * 1024, "records must cross the blocks of the file"
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file.parent)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=clean(tmp_path), cwd=tmp_path
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]

    def own(values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if not key.startswith("_")}

    expected = OfflineRun()
    for record in records:
        if record["type"] == "run":
            expected.run_id, expected.group = record["run"]["run_id"], record["run"]["run_group"]
            expected.config = own(record["run"]["config"]["update"])
        elif record["type"] == "history":
            expected.history.append(own(record["history"]["item"]))
        elif record["type"] == "summary":
            expected.summary |= own(record["summary"]["update"])
        elif record["type"] == "exit":
            expected.exit_code = record["exit"]["exit_code"]
    found = read_wandb_file(file)
    for field in ("run_id", "group", "config", "history", "summary", "exit_code"):
        assert getattr(found, field) == getattr(expected, field), field
    assert len(found.history) == 300


def test_a_torn_file_reads_up_to_the_tear(tmp_path: Path, warnings: list[str]) -> None:
    mirror = tracker(tmp_path, warnings)
    run = mirror.start("abc", CONFIG, "name")
    for k in range(50):
        run.log(row(0, k))
    run.finish({}, 0)
    mirror.close()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-abc.wandb")
    file.write_bytes(file.read_bytes()[:-4000])
    torn = read_wandb_file(file)
    assert torn.run_id == "abc"
    assert torn.exit_code is None
    assert torn.history == [plain(row(0, k)) for k in range(len(torn.history))]
    assert 0 < len(torn.history) < 50


def test_more_runs_than_may_be_open(tmp_path: Path, warnings: list[str]) -> None:
    mirror = tracker(tmp_path, warnings, max_live=2)
    runs = [mirror.start(f"abc{i}", CONFIG, "") for i in range(5)]
    for k in range(3):
        for i, run in enumerate(runs):
            run.log(row(i, k))
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2
    for run in runs:
        run.finish({"status": "finished"}, 0)
    mirror.close()
    found = offline_runs(tmp_path)
    assert {name: len(run.history) for name, run in found.items()} == {f"abc{i}": 3 for i in range(5)}
    assert {run.exit_code for run in found.values()} == {0}
    assert warnings == []


def test_close_ends_what_is_open_with_the_code_given(tmp_path: Path, warnings: list[str]) -> None:
    mirror = tracker(tmp_path, warnings, max_live=2)
    runs = [mirror.start(f"abc{i}", CONFIG, "") for i in range(3)]
    for run in runs:
        run.log(row(0, 0))
    runs[0].finish({}, 0)
    mirror.close(130)
    found = offline_runs(tmp_path)
    assert {name: run.exit_code for name, run in found.items()} == {"abc0": 0, "abc1": 130}
    assert found["abc1"].history == [plain(row(0, 0))]


def test_a_run_that_begins_anew_takes_the_place_of_the_abandoned_one(
    tmp_path: Path, warnings: list[str]
) -> None:
    mirror = tracker(tmp_path, warnings)
    for attempt in range(2):
        run = mirror.start("abc", CONFIG, "")
        for k in range(2 + attempt):
            run.log(row(0, k))
    run.finish({}, 0)
    mirror.close()
    assert len(offline_runs(tmp_path)["abc"].history) == 3
    assert warnings == []


def test_disabled_writes_nothing_and_does_not_import_the_client(tmp_path: Path) -> None:
    script = """
    mirror = tracker(folder / "study", "disabled")
    run = mirror.start("abc", {}, "")
    run.log(row(0))
    run.finish({}, 0)
    mirror.close()
    assert "wandb" not in sys.modules
    """
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("variable", ["disabled", "auto"])
def test_all_files_lie_in_the_folder_and_the_environment_does_not_change_the_mode(
    tmp_path: Path, variable: str
) -> None:
    script = """
    mirror = tracker(folder / "study", project="p", charts="tables")
    run = mirror.start("abc", {}, "")
    run.log(row(0))
    import wandb
    run.finish({}, 0, charts=lambda: {"charts/t": wandb.Table(columns=["a"], data=[[1]])})
    mirror.close()
    """
    (tmp_path / "temporary").mkdir()
    done = run_script(
        script, tmp_path, WANDB_MODE=variable, WANDB_DIR=str(tmp_path / "elsewhere"), WANDB_RUN_ID="other",
        TMPDIR=str(tmp_path / "temporary"), WANDB_PROJECT="other", WANDB_RUN_GROUP="other", WANDB_SWEEP_ID="s",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    run = offline_runs(tmp_path / "study")["abc"]
    assert (run.project, run.group, run.exit_code) == ("p", "widths", 0)
    assert [item["train/step"] for item in run.history] == [0, 0]
    stray = [
        path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "study" not in path.parents
    ]
    assert stray == []


@pytest.mark.parametrize(("mode", "left"), [("dryrun", "offline"), ("offline", "offline"), ("auto", None)])
def test_the_next_study_of_the_process_finds_the_same_mode(
    mode: str, left: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"WANDB_MODE": mode}
    monkeypatch.setattr(os, "environ", environment)
    prepare(tmp_path)
    assert environment.get("WANDB_MODE") == left
