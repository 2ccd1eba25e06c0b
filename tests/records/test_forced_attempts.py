"""A forced attempt on a finished run: readers see one attempt whole, whenever it is killed."""

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
