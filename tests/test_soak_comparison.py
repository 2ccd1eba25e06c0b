"""The comparison that the soak ends with: equal records are equal, and one that was changed anywhere is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from soak_comparison import differences

STUDY = "compared"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    sweep = ["study=compared", "seed=0,1", "budget.steps=20", "measure=light", "measure.samples=true"]
    command = [sys.executable, "-m", "memcap.train", "-m", *sweep, "tracking=disabled"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "outputs"


@pytest.fixture
def copy(reference: Path, tmp_path: Path) -> Path:
    shutil.copytree(reference, tmp_path / "outputs")
    return tmp_path / "outputs"


def a_run(outputs: Path) -> Path:
    return min(outputs.glob("runs/*/*"))


def change_json(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def last_bit_of_an_array(outputs: Path, name: str) -> None:
    path = a_run(outputs) / name
    with np.load(path) as arrays:
        content = dict(arrays)
    key = next(key for key, array in content.items() if array.dtype.kind == "f")
    content[key].view(np.uint8).reshape(-1)[0] ^= 1
    np.savez(path, **content)


def last_digit_of_a_row(outputs: Path) -> None:
    path = a_run(outputs) / "history.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["train/loss_nats"] = float(np.nextafter(rows[-1]["train/loss_nats"], 9))
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def row_too_many(outputs: Path) -> None:
    path = a_run(outputs) / "history.jsonl"
    path.write_bytes(path.read_bytes() + b"{}\n")


def double_line_of_the_index(outputs: Path) -> None:
    path = outputs / "studies" / STUDY / "index.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])


def write(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")


CHANGES: dict[str, Callable[[Path], object]] = {
    "result": lambda o: change_json(a_run(o) / "result.json", lambda r: r.update(steps=21)),
    "summary": lambda o: change_json(
        a_run(o) / "result.json",
        lambda r: r["summary"].update({"memory/bits": float(np.nextafter(r["summary"]["memory/bits"], 0))}),
    ),
    "torn result": lambda o: (a_run(o) / "result.json").write_text("{"),
    "row": last_digit_of_a_row,
    "row too many": row_too_many,
    "weights": lambda o: last_bit_of_an_array(o, "weights.npz"),
    "samples": lambda o: last_bit_of_an_array(o, "samples.npz"),
    "no weights": lambda o: (a_run(o) / "weights.npz").unlink(),
    "missing run": lambda o: shutil.rmtree(a_run(o)),
    "stray run": lambda o: shutil.copytree(a_run(o), o / "runs" / "00" / "000000000000"),
    "cell": lambda o: change_json(o / "studies" / STUDY / "study.json", lambda s: s["cells"].pop()),
    "index": double_line_of_the_index,
    "lock": lambda o: write(a_run(o) / ".lock"),
    "owner": lambda o: write(o / "owners" / "0.json"),
    "checkpoint": lambda o: write(o / "checkpoints" / "0.pt"),
    "half of a file": lambda o: write(a_run(o) / ".result.json.00.tmp"),
    "failure": lambda o: write(a_run(o) / "failure.json"),
}


def test_a_copy_is_equal(reference: Path, copy: Path) -> None:
    assert differences(reference, copy, STUDY) == []


def test_circumstances_may_differ(reference: Path, copy: Path) -> None:
    change_json(a_run(copy) / "result.json", lambda r: r.update(attempts=7, provenance={}))
    assert differences(reference, copy, STUDY) == []


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found(reference: Path, copy: Path, name: str) -> None:
    CHANGES[name](copy)
    assert differences(reference, copy, STUDY)
