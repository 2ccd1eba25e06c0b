from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from memcap.records.run_folder import RunFolder
from memcap.records.run_record import failure_record, result_record

RUN_ID = "3fa91b02c4d7"
CONFIG: dict[str, Any] = {
    "seed": 0,
    "model": {"kind": "mlp", "width": 32},
    "optimizer": {"learning_rate": 1e-5},
}
ARRAYS: dict[str, dict[str, np.ndarray]] = {
    "samples": {"code_length_bits": np.arange(5.0)},
    "weights": {"layers.0.weight": np.ones((3, 2), np.float32), "layers.0.bias": np.zeros(3, np.float32)},
}


def record(attempts: int = 1, status: str = "finished", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "status": status,
        "stop_reason": "budget",
        "steps": 1000,
        "attempts": attempts,
        "config": CONFIG,
        "summary": {"memory/bits": 123.5, "train/loss_nats": float("nan")},
        "provenance": {"device": "cpu"},
        "studies": ["widths"],
    }
    return result_record(**(values | changes))


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


def test_a_forced_attempt_replaces_the_record_only_when_it_is_whole(
    folder: RunFolder, tmp_path: Path
) -> None:
    folder.start(CONFIG)
    folder.append({"train/step": 0, "attempt": 1})
    folder.finish(record(), ARRAYS | {"spectrum": {"eigenvalues": np.ones(2)}})
    before = folder.read_result()

    forced = RunFolder(tmp_path, RUN_ID)
    assert forced.start({**CONFIG, "force": True}) == 2
    forced.append({"train/step": 0, "attempt": 2})
    assert forced.read_result() == before
    assert forced.read_history() == [{"train/step": 0, "attempt": 1}]
    assert list(forced.read_arrays("spectrum")) == ["eigenvalues"]
    forced.finish(record(2, studies=["depths"]), {"weights": {"w": np.full(2, 7.0)}})

    assert (folder.state(), folder.attempts()) == ("finished", 2)
    assert folder.read_history() == [{"train/step": 0, "attempt": 2}]
    assert folder.read_arrays("weights")["w"].tolist() == [7.0, 7.0]
    assert yaml.safe_load((folder.path / "config.yaml").read_text())["force"] is True
    result = folder.read_result()
    assert result is not None
    assert result["studies"] == ["widths", "depths"], "the study that listed it before still does"
    assert sorted(os.listdir(folder.path)) == ["config.yaml", "history.jsonl", "result.json", "weights.npz"]


def test_a_forced_attempt_that_fails_leaves_the_record_as_it_was(folder: RunFolder, tmp_path: Path) -> None:
    folder.start(CONFIG)
    folder.append({"train/step": 0})
    folder.finish(record(), ARRAYS)
    names = sorted(os.listdir(folder.path))
    folder.start(CONFIG)
    folder.append({"train/step": 0, "attempt": 2})
    failure = failure_record(run_id=RUN_ID, error=ValueError(), attempts=2, config=CONFIG)
    RunFolder(tmp_path, RUN_ID).fail(failure)  # another object, as a caller has that only knows the id
    assert (folder.state(), folder.attempts()) == ("finished", 2)
    assert folder.read_history() == [{"train/step": 0}]
    assert sorted(os.listdir(folder.path)) == sorted([*names, "attempt.json", "failure.json"])
    assert failure["error"] == "ValueError"


def test_whenever_a_forced_attempt_is_killed_readers_see_one_attempt_whole(tmp_path: Path) -> None:
    """Kills a process before its n-th change to the file system, for every n; history, arrays, result must agree."""
    script = f"""
    import json, os, shutil, sys
    from pathlib import Path
    import numpy as np
    from memcap.records.run_folder import RunFolder
    from memcap.records.run_record import result_record

    CHANGES = ("open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
    left = None

    def hook(event, arguments):
        global left
        if left is None or event not in CHANGES or {str(tmp_path)!r} not in str(arguments[0]):
            return
        left -= 1
        if left < 0:
            os._exit(9)

    def attempt(folder):
        number = folder.start({{"attempt": 0}})
        folder.append({{"attempt": number}})
        result = result_record(
            run_id="ab12", status="finished", stop_reason="budget", steps=1, attempts=number, config={{}},
            summary={{"attempt": number}}, provenance={{}}, studies=[],
        )
        arrays = {{"weights": {{"w": np.full(3, number)}}}} | ({{"old": {{"o": np.ones(1)}}}} if number == 1 else {{}})
        folder.finish(result, arrays)

    def seen(folder):
        assert folder.state() == "finished", folder.state()
        number = folder.read_result()["summary"]["attempt"]
        assert folder.read_history() == [{{"attempt": number}}], (number, folder.read_history())
        assert folder.read_arrays("weights")["w"].tolist() == [number] * 3, number
        return number

    sys.addaudithook(hook)
    numbers, n = [], 0
    while True:
        outputs = Path({str(tmp_path)!r}) / str(n)
        attempt(RunFolder(outputs, "ab12"))
        if not (child := os.fork()):
            left = n
            attempt(RunFolder(outputs, "ab12"))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9), code
        numbers.append(seen(RunFolder(outputs, "ab12")))
        attempt(RunFolder(outputs, "ab12"))  # and the next one goes through, whatever was left
        assert seen(RunFolder(outputs, "ab12")) >= 2
        names = sorted(os.listdir(outputs / "runs" / "ab" / "ab12"))
        kept = [name for name in names if not name.endswith(".tmp")]
        assert kept == ["config.yaml", "history.jsonl", "result.json", "weights.npz"], names
        if code == 0:
            break
        n += 1
    print(json.dumps(numbers))
    """
    done = run_script(script)
    assert (done.returncode, done.stderr) == (0, "")
    numbers = json.loads(done.stdout)
    assert len(numbers) > 20, "fewer kills than there are changes"
    assert numbers == sorted(numbers), "once the new record is there, it stays"
    assert set(numbers) == {1, 2}


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


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
