"""One run trained once more, alone, and compared with its record: packed against solo."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from memcap.compare.alarms import Alarm
from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.study.rerun import rerun_overrides

RELATIVE = 1e-6
METRICS = ("memory/bits", "train/loss_nats", "train/loss_mse")
TIME_LIMIT_S = 3600.0


def verify(frame: pd.DataFrame, seed: int = 0) -> tuple[str, list[Alarm]]:
    """Trains a random run of the table alone, in a process and a folder of its own: one line, an alarm if it differs.

    Compared are its final bits and loss, to a relative 1e-6: a member of a population is trained as it would be alone.
    The record stays untouched. Takes as long as that training, an hour at most. Runs with parts of one's own and frames
    without records raise BadInput.
    """
    run_id = random.Random(seed).choice(sorted(frame["run_id"]))
    result = RunFolder(Path(frame.attrs.get("outputs", "outputs")), run_id).read_result()
    if result is None:
        raise BadInput(f"verify: run {run_id} has no record in {frame.attrs.get('outputs', 'outputs')}")
    if any(isinstance(part, dict) and part.get("_target_") for part in result["config"].values()):
        raise BadInput(
            f"verify: run {run_id} has a part of your own; train it again by the line of memcap.show {run_id}"
        )
    again = _trained_alone(run_id, result)
    pairs = [(name, result["summary"].get(name), again["summary"].get(name)) for name in METRICS]
    compared = [(name, a, b) for name, a, b in pairs if a is not None or b is not None]
    differing = [(name, a, b) for name, a, b in compared if not _close(a, b)]
    engines = (result["provenance"].get("engine"), again["provenance"].get("engine"))
    if not differing and result["status"] == again["status"]:
        what = ", ".join(f"{name} {value:.6g}" for name, value, _ in compared if value is not None)
        return f"run {run_id} trained alone gives its record again ({what})", []
    name, before, after = (differing or compared)[0]
    by = f" (engines {engines[0]} and {engines[1]})" if engines[0] != engines[1] else ""
    message = f"run {run_id} trained alone does not give its record: {name} {after}, recorded {before}{by}"
    return message, [Alarm("not_reproduced", message, (run_id,))]


def _trained_alone(run_id: str, result: dict) -> dict:
    engine = result["provenance"].get("engine")
    with tempfile.TemporaryDirectory(prefix="memcap-verify-") as folder:
        config = {**result["config"], "study": "verify"}
        words = [
            w for w in rerun_overrides(config, folder) if not w.startswith(("tracking", "hardware.engine="))
        ]
        if engine in ("fused", "batched"):
            words.append(f"hardware.engine={engine}")
        command = [sys.executable, "-m", "memcap.train", *words, "tracking=disabled"]
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        again = RunFolder(Path(folder), run_id).read_result()
        if again is None:
            lines = ran.stderr.strip().splitlines()
            raise BadInput(
                f"verify: run {run_id} could not be trained again: {lines[-1] if lines else 'no result'}"
            )
        return json.loads(json.dumps(again))


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b), 1e-9)
