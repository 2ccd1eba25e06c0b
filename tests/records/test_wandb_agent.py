"""`wandb agent`, the real process, drives memcap.train through the sweep file that we ship."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb_cases import ROOT, clean
from wandb_server import running_server

SMALL = ["data.num_samples=8", "budget.steps=20", "measure.points=3", "measure=light"]


def proposal(run_id: str, **values: Any) -> dict[str, Any]:
    args = {key.replace("__", "."): {"value": value} for key, value in values.items()}
    return {"type": "run", "run_id": run_id, "program": "memcap.train", "args": args}


@pytest.mark.slow
def test_an_agent_drives_memcap(tmp_path: Path) -> None:
    sweep = yaml.safe_load((ROOT / "launch" / "wandb" / "sweep.yaml").read_text(encoding="utf-8"))
    assert sweep["metric"]["name"] == "memory/bits"
    sweep["command"][-1:-1] = SMALL
    # `${env} ${interpreter}` is `/usr/bin/env python`: the one of this environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with running_server() as server:
        server.sweep_yaml = yaml.safe_dump(sweep)
        first = {"model__width": 3, "optimizer__learning_rate": 0.01}
        server.commands = [proposal("aaaa1111", **first), proposal("bbbb2222", **first)]
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "agent", "--count", "2", "someone/memcap/sweep123"],
            cwd=tmp_path, env=clean(tmp_path, server.url, PATH=path), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        # The second proposal is the first one again: nothing is trained, and its run is filled from the record.
        assert sorted(server.runs) == ["aaaa1111", "bbbb2222"], done.stdout + done.stderr
        assert "1 finished" in done.stdout
        assert "1 skipped" in done.stdout
        (path_of_result,) = tmp_path.glob("outputs/runs/*/*/result.json")
        result = json.loads(path_of_result.read_text(encoding="utf-8"))
        assert result["provenance"]["wandb"]["id"] == "aaaa1111"
        assert result["studies"] == ["wandb-sweep"]
        for run in server.runs.values():
            assert (run["sweep"], run["exit"], run["group"]) == ("sweep123", 0, "wandb-sweep")
            assert run["summary"]["memory/bits"] == result["summary"]["memory/bits"]
            assert run["config"]["model"]["value"]["width"] == 3
            assert [row["train/step"] for row in run["rows"]] == [
                row["train/step"] for row in server.runs["aaaa1111"]["rows"]
            ]
            assert len(run["rows"]) >= 3
        assert not list(tmp_path.glob("wandb/run-*")), "W&B's files go to the study's folder"
