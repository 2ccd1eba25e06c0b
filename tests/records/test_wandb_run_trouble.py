"""The mirror of runs in W&B, offline: folders and rows that cannot be written, interrupts and kills."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from wandb_cases import clean, tracking
from wandb_files import offline_runs
from wandb_run_cases import CONFIG, plain, row, tracker

from memcap.errors import BadInput
from memcap.records.wandb_tracker import WandbTracker


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, warnings: list[str]) -> None:
    blocked = tmp_path / "study"
    blocked.write_text("a file stands where the folder should be")
    with pytest.raises(BadInput, match=r"cannot be written, where W&B's files go: .*tracking\.folder"):
        tracker(blocked, warnings)
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_a_folder_that_goes_away_is_one_warning(tmp_path: Path, warnings: list[str]) -> None:
    mirror = tracker(tmp_path / "study", warnings)
    for path in sorted((tmp_path / "study").rglob("*"), reverse=True):
        path.rmdir()
    (tmp_path / "study").rmdir()
    (tmp_path / "study").write_text("a file stands where the folder should be")
    for i in range(3):
        run = mirror.start(f"abc{i}", CONFIG, "")
        run.log(row(0, 0))
        run.finish({}, 0)
    mirror.close()
    assert len(warnings) == 1
    assert warnings[0].startswith("W&B: a run could not be opened: ")
    assert "\n" not in warnings[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"project": "a/b"}, "project name 'a/b'"),
        ({"project": "p" * 129}, "exceeded 128 characters"),
        ({"tags": ("x" * 65,)}, "64 characters"),
    ],
)
def test_what_the_client_refuses_is_said_in_one_line(
    values: dict[str, Any], said: str, tmp_path: Path, warnings: list[str]
) -> None:
    with pytest.raises(BadInput) as refused:
        tracker(tmp_path / "study", warnings, **values)
    assert str(refused.value).startswith("tracking: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_warning_that_nobody_reads_ends_no_training(tmp_path: Path) -> None:
    said: list[str] = []

    def warn(line: str) -> None:
        said.append(line)
        raise BrokenPipeError(32, "Broken pipe")

    mirror = WandbTracker(tracking(), "widths", tmp_path, warn=warn)
    run = mirror.start("abc", CONFIG, "name")
    run.log({3: "a key that is no string"})  # type: ignore[dict-item]
    run.finish({}, 0)
    mirror.close()
    assert len(said) == 1


def test_rows_that_the_client_refuses_are_one_warning(tmp_path: Path, warnings: list[str]) -> None:
    mirror = tracker(tmp_path, warnings)
    run = mirror.start("abc", CONFIG, "")
    for k in range(3):
        run.log({3: "a key that is no string"})  # type: ignore[dict-item]
        run.log(row(0, k))
    run.finish({"status": "finished"}, 0)
    mirror.close()
    assert len(warnings) == 1
    assert offline_runs(tmp_path)["abc"].history == [plain(row(0, k)) for k in range(3)]


def test_ctrl_c_in_the_terminal_keeps_the_rows(tmp_path: Path) -> None:
    """SIGINT reaches the whole process group; the client's service must live to write the end of the runs."""
    script = f"""
    import time
    from wandb_cases import tracker as new
    tracker = new({str(tmp_path)!r})
    runs = [tracker.start(f"abc{{i}}", {{}}, "") for i in range(2)]
    for run in runs:
        run.log({{"train/step": 0}})
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        tracker.close(130)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env=clean(tmp_path), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, 2)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")
    found = offline_runs(tmp_path)
    assert {name: (run.exit_code, len(run.history)) for name, run in found.items()} == {
        "abc0": (130, 1), "abc1": (130, 1)
    }  # fmt: skip


def test_a_client_whose_service_is_killed_does_not_end_the_training(tmp_path: Path) -> None:
    script = f"""
    import os, signal, subprocess, sys
    from wandb_cases import tracker as new
    tracker = new({str(tmp_path)!r})
    runs = [tracker.start(f"abc{{i}}", {{}}, "") for i in range(2)]
    listed = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True).stdout
    fields = [line.split(maxsplit=2) for line in listed.splitlines()]
    (service,) = [int(pid) for pid, parent, name in fields if parent == str(os.getpid()) and "wandb" in name]
    os.kill(service, signal.SIGKILL)
    os.waitpid(service, 0)
    runs.append(tracker.start("late", {{}}, ""))
    for run in runs:
        run.log({{"train/step": 0}})
        run.finish({{}}, 0)
    tracker.close()
    print("trained")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=clean(tmp_path), cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "trained\n")
    warnings = done.stderr.splitlines()
    assert 1 <= len(warnings) <= 3
    assert all(line.startswith("W&B: ") for line in warnings), done.stderr


def test_kill_9_loses_the_rows_of_the_last_second_only(tmp_path: Path) -> None:
    script = f"""
    import os, signal, time
    from wandb_cases import tracker as new
    run = new({str(tmp_path)!r}).start("abc", {{}}, "")
    for k in range(5):
        run.log({{"train/step": k}})
    time.sleep(2.5)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=clean(tmp_path), timeout=60)
    run = offline_runs(tmp_path)["abc"]
    assert [row["train/step"] for row in run.history] == [0, 1, 2, 3, 4]
    assert run.exit_code is None
