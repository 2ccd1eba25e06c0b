"""The list of all studies: how many runs each has, what has become of them, and when it last changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.study.run_states import run_states

ARCHIVE = "archive"  # a folder of outputs that has studies/ as outputs has


@dataclasses.dataclass(frozen=True)
class Overview:
    """One study. ``error`` where its list of runs cannot be read; ``changed`` in seconds since 1970."""

    name: str
    cells: int
    finished: int
    failed: int
    changed: float
    error: str | None = None
    bytes: int | None = None


def studies_of(outputs: Path, *, archived: bool = False) -> list[StudyFolder]:
    """All studies, by name."""
    root = outputs / ARCHIVE if archived else outputs
    return [StudyFolder(root, path.parent.name) for path in sorted((root / "studies").glob("*/study.json"))]


def overviews(outputs: Path, *, archived: bool = False, size: bool = False) -> Iterator[Overview]:
    """One for each study; ``size`` adds up its files and those of its runs, which takes a while."""
    for study in studies_of(outputs, archived=archived):
        files = [study.path / name for name in ("study.json", "index.jsonl")]
        changed = max(path.stat().st_mtime for path in files if path.exists())
        try:
            cells = [cell["run_id"] for cell in study.read()["cells"]]
        except BadInput as error:
            yield Overview(study.name, 0, 0, 0, changed, str(error))
            continue
        states = run_states(outputs, cells, study.read_index()).values()
        total = None
        if size:
            total = folder_bytes(study.path)
            total += sum(folder_bytes(RunFolder(outputs, run_id).path) for run_id in cells)
        yield Overview(
            study.name,
            len(cells),
            sum(state.ended for state in states),
            sum(state.state == "failed" for state in states),
            changed,
            bytes=total,
        )


def overview_lines(outputs: Path, *, archived: bool = False, size: bool = False) -> list[str]:
    """A table, the study that changed last at its end."""
    found = sorted(overviews(outputs, archived=archived, size=size), key=lambda one: one.changed)
    if not found:
        return [f"no {'archived ' * archived}studies in {outputs}"]
    width = max(len("study"), *(len(one.name) for one in found))
    titles = f"{'study':<{width}}  {'cells':>6}  {'done':>6}  {'failed':>6}  {'last change':<16}"
    lines = [titles + ("      size" if size else "")]
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.changed))
        line = f"{one.name:<{width}}  {one.cells:>6}  {one.finished:>6}  {one.failed:>6}  {when}"
        line += f"  {bytes_text(one.bytes):>8}" if one.bytes is not None else ""
        lines.append(line if one.error is None else f"{one.name:<{width}}  {one.error}")
    return lines


def folder_bytes(path: Path) -> int:
    """What the files of a folder hold; those that go meanwhile are left out."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.lstat().st_size if not file.is_dir() else 0
        except OSError:
            continue
    return total


def bytes_text(number: float) -> str:
    """'512 B', '3.4 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
