"""Whether a study that was disturbed left what the same study leaves that was not, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from memcap.records import atomic
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder

# Of a result: when, where and in how many attempts a run was trained. All else belongs to the run.
CIRCUMSTANCES: Final = ("provenance", "attempts", "studies")
LEFT_BEHIND: Final = ("owners/*", "checkpoints/*", "**/.lock*", "**/.*.tmp")


def differences(reference: Path, outputs: Path, study: str) -> list[str]:
    """A line for everything in ``outputs`` that is not as in ``reference``; both are folders of outputs."""
    return [
        *_study_differences(reference, outputs, study),
        *(f"not in the undisturbed study: {name}" for name in _names(outputs) - _names(reference)),
        *(f"missing: {name}" for name in _names(reference) - _names(outputs)),
        *(line for name in _names(reference) & _names(outputs) for line in _run(reference, outputs, name)),
        *left_behind(outputs),
    ]


def left_behind(outputs: Path) -> list[str]:
    """Files that nobody needs once a study has ended: locks, heartbeats, checkpoints, halves of files."""
    found = {path for pattern in LEFT_BEHIND for path in outputs.glob(pattern)}
    return [f"left behind: {path.relative_to(outputs)}" for path in sorted(found)]


def resumed(outputs: Path) -> int:
    """How many runs went on from a checkpoint."""
    results = [RunFolder(outputs, name).read_result() or {} for name in _names(outputs)]
    return sum("resumed_from_steps" in result.get("provenance", {}) for result in results)


def attempts(outputs: Path) -> int:
    """Of all runs together."""
    return sum(RunFolder(outputs, name).attempts() for name in _names(outputs))


def _study_differences(reference: Path, outputs: Path, study: str) -> Iterator[str]:
    there, here = StudyFolder(reference, study), StudyFolder(outputs, study)
    for key in ("name", "axes", "cells"):
        if there.read()[key] != here.read()[key]:
            yield f"study.json has other {key}"
    if there.read_index() != here.read_index():
        yield "index.jsonl has other rows"
    lines = (here.path / "index.jsonl").read_bytes().splitlines()
    if len(lines) != len(here.read()["cells"]):
        yield f"index.jsonl has {len(lines)} lines for {len(here.read()['cells'])} cells"


def _run(reference: Path, outputs: Path, name: str) -> Iterator[str]:
    there, here = RunFolder(reference, name), RunFolder(outputs, name)
    if _result(there) != _result(here) or _result(here) is None:
        yield f"{name}: another result.json"
    for kept in ("history.jsonl", "config.yaml"):
        if _bytes(there.path / kept) != _bytes(here.path / kept):
            yield f"{name}: another {kept}"
    files = {path.name for path in there.path.iterdir()}
    if other := files ^ {path.name for path in here.path.iterdir()}:
        yield f"{name}: files that only one of both has: {', '.join(sorted(other))}"
    for file in sorted(files):
        if file.endswith(".npz") and _arrays(there, file[:-4]) != _arrays(here, file[:-4]):
            yield f"{name}: another {file}"


def _result(folder: RunFolder) -> dict[str, Any] | None:
    result = atomic.read_json(folder.path / "result.json")
    return None if result is None else {k: v for k, v in result.items() if k not in CIRCUMSTANCES}


def _arrays(folder: RunFolder, name: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    if not folder.has_arrays(name):
        return {}
    return {key: (str(a.dtype), a.shape, a.tobytes()) for key, a in folder.read_arrays(name).items()}


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _names(outputs: Path) -> set[str]:
    return {path.name for path in outputs.glob("runs/*/*")}
