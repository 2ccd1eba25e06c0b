"""The folder of one run: attempts, rows, results and failures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from run_folder_cases import ARRAYS, CONFIG, RUN_ID, record, run_script

from memcap.records.run_folder import RunFolder
from memcap.records.run_record import failure_record


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, RUN_ID)


def test_a_run_from_start_to_finish(folder: RunFolder, tmp_path: Path) -> None:
    assert folder.path == tmp_path / "runs" / "3f" / RUN_ID
    assert (folder.state(), folder.attempts()) == ("absent", 0)
    assert not folder.path.exists(), "looking creates nothing"
    assert folder.start(CONFIG) == 1
    assert (folder.state(), folder.attempts()) == ("started", 1)
    folder.append({"train/step": 0, "train/loss_nats": 2.5})
    folder.append({"train/step": 10, "train/loss_nats": float("inf")})
    folder.finish(record(), ARRAYS)

    again = RunFolder(tmp_path, RUN_ID)
    assert (again.state(), again.attempts()) == ("finished", 1)
    assert again.read_result() == {
        "schema": 1, "run_id": RUN_ID, "status": "finished", "stop_reason": "budget", "steps": 1000, "attempts": 1,
        "config": CONFIG, "summary": {"memory/bits": 123.5, "train/loss_nats": None},
        "provenance": {"device": "cpu"}, "studies": ["widths"],
    }  # fmt: skip
    assert again.read_history() == [
        {"train/step": 0, "train/loss_nats": 2.5}, {"train/step": 10, "train/loss_nats": None}
    ]  # fmt: skip
    for name, group in ARRAYS.items():
        read = again.read_arrays(name)
        assert list(read) == list(group)
        assert all(
            read[key].dtype == array.dtype and (read[key] == array).all() for key, array in group.items()
        )
    assert yaml.safe_load((folder.path / "config.yaml").read_text()) == CONFIG
    assert sorted(os.listdir(folder.path)) == [
        "config.yaml", "history.jsonl", "result.json", "samples.npz", "weights.npz"
    ]  # fmt: skip


def test_each_row_is_one_line_on_disk_at_once(folder: RunFolder) -> None:
    folder.start(CONFIG)
    for step in range(3):
        folder.append({"train/step": step, "label": "two\nlines"})
        lines = (folder.path / "history.jsonl").read_text().splitlines()
        assert [json.loads(line)["train/step"] for line in lines] == list(range(step + 1))


def test_config_has_no_anchors_where_fields_share_a_list(folder: RunFolder) -> None:
    shared = [32, 32]
    folder.start({"b": shared, "a": shared})
    assert (folder.path / "config.yaml").read_text() == "b:\n- 32\n- 32\na:\n- 32\n- 32\n"


def test_diverged_is_done_too(folder: RunFolder) -> None:
    folder.start(CONFIG)
    folder.finish(record(status="diverged", stop_reason="non-finite loss"))
    assert folder.state() == "diverged"
    with pytest.raises(FileNotFoundError):
        folder.read_arrays("weights")
    with pytest.raises(ValueError, match="finished or diverged"):
        record(status="failed")


@pytest.mark.parametrize(
    "content", ['{"schema": 1, "run_', "", "[]", '{"run_id": "another", "status": "finished"}',
                '{"run_id": "3fa91b02c4d7", "status": "running"}'],
)  # fmt: skip
def test_a_result_that_is_torn_or_not_of_this_run_is_not_done(folder: RunFolder, content: str) -> None:
    folder.start(CONFIG)
    (folder.path / "result.json").write_text(content)
    assert (folder.state(), folder.read_result()) == ("started", None)
    assert folder.start(CONFIG) == 2
    assert not (folder.path / "result.json").exists()


def test_a_torn_last_line_of_the_history_is_left_out(folder: RunFolder) -> None:
    folder.start(CONFIG)
    folder.append({"train/step": 0})
    with open(folder.path / "history.jsonl", "a") as file:
        file.write('{"train/step": 1')
    assert folder.read_history() == [{"train/step": 0}]
    with open(folder.path / "history.jsonl", "a") as file:
        file.write('\n{"train/step": 2}\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        folder.read_history()


def test_a_failure_is_recorded_and_gone_when_the_next_attempt_starts(folder: RunFolder) -> None:
    folder.start(CONFIG)
    folder.append({"train/step": 0})
    try:
        raise RuntimeError("out of\n  memory")
    except RuntimeError as error:
        folder.fail(failure_record(run_id=RUN_ID, error=error, attempts=1, config=CONFIG))
    failure = folder.read_failure()
    assert failure is not None
    assert folder.state() == "failed"
    assert failure["error"] == "RuntimeError: out of memory"
    assert failure["traceback"].startswith("Traceback")
    assert "test_run_folder.py" in failure["traceback"]
    assert (failure["status"], failure["attempts"], failure["config"]) == ("failed", 1, CONFIG)
    assert folder.start(CONFIG) == 2
    assert (folder.state(), folder.read_failure(), folder.read_history()) == ("started", None, [])
    folder.finish(record(2))
    assert (folder.state(), folder.attempts()) == ("finished", 2)


def test_attempts_survive_kill_9(folder: RunFolder, tmp_path: Path) -> None:
    script = f"""
    import os, signal
    from pathlib import Path
    from memcap.records.run_folder import RunFolder
    folder = RunFolder(Path({str(tmp_path)!r}), {RUN_ID!r})
    folder.start({{}})
    folder.append({{"train/step": 0}})
    os.kill(os.getpid(), signal.SIGKILL)
    """
    for attempt in (1, 2):
        assert run_script(script).returncode == -9
        assert (folder.state(), folder.attempts()) == ("started", attempt)
        assert folder.read_history() == [{"train/step": 0}]
    assert folder.start(CONFIG) == 3


def test_a_full_disk_fails_this_run_only(folder: RunFolder, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file size exist on Unix only")
    folder.start(CONFIG)
    folder.append({"train/step": 0})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # writing beyond fails, as on a full disk
    try:
        with pytest.raises(OSError):
            folder.finish(record(), {"weights": {"w": np.zeros(10_000)}})
        assert folder.state() == "started"
        other = RunFolder(tmp_path, "77aa")
        other.start(CONFIG)
        other.finish(record(run_id="77aa"))
        assert other.state() == "finished"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(os.listdir(folder.path)) == ["attempt.json", "config.yaml", "history.jsonl"]


def test_arrays_of_objects_are_refused(folder: RunFolder) -> None:
    folder.start(CONFIG)
    with pytest.raises(TypeError, match=r"odd\.npz"):
        folder.finish(record(), {"odd": {"a": np.array([{}])}})
    assert folder.state() == "started"


def test_a_study_is_added_once(folder: RunFolder) -> None:
    folder.add_study("early")
    assert folder.state() == "absent"
    folder.start(CONFIG)
    folder.finish(record())
    written = (folder.path / "result.json").stat().st_mtime_ns
    folder.add_study("widths")
    assert (folder.path / "result.json").stat().st_mtime_ns == written, "nothing to say, nothing written"
    folder.add_study("depths")
    result = folder.read_result()
    assert result is not None
    assert result["studies"] == ["widths", "depths"]
    assert {**result, "studies": ["widths"]} == {
        **record(),
        "summary": {"memory/bits": 123.5, "train/loss_nats": None},
    }
