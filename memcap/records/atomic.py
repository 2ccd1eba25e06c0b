"""Files that are either whole or absent, and lines that are appended in one piece.

A file is written under a ``.<name>.<random>.tmp`` beside its destination, flushed, synced and renamed over it;
then the folder is synced, so that the new name survives a power cut too. A killed process can leave the
temporary file, never half of the real one. When the disk is full, the temporary file is removed and the
``OSError`` goes to the caller.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

Survives = Literal["kill", "folder sync", "power cut"]


@contextmanager
def replacing(path: Path, *, survives: Survives = "power cut") -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path`` when the block ends without an error.

    ``survives`` says what the new file must outlive. Each sync costs from 0.2 ms (a fast disk) to 10 ms (a
    network): ``"kill"`` does none; ``"folder sync"`` syncs the data and leaves the name to the next write
    into this folder, so that of several files only the last pays for it; ``"power cut"`` syncs both.
    """
    # Not the process id: on two machines, or in two containers, it can be the same.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        # open() and not tempfile: the mode follows the umask, and colleagues can read the file.
        with open(temporary, "wb") as file:
            yield file
            if survives != "kill":
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if survives == "power cut":
        sync(path.parent)


def sync(path: Path) -> None:
    """Make what stands at ``path`` (a file's data, a folder's names) survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, *, survives: Survives = "power cut") -> None:
    """Replace the content of ``path`` atomically."""
    with replacing(path, survives=survives) as file:
        file.write(data)


def write_text(path: Path, text: str, *, survives: Survives = "power cut") -> None:
    """Replace the content of ``path`` atomically, as UTF-8."""
    write_bytes(path, text.encode(), survives=survives)


def write_json(path: Path, value: Any, *, survives: Survives = "power cut") -> None:
    """Replace the content of ``path`` atomically by strict, indented JSON (non-finite floats become null)."""
    write_text(path, strict_json(value, indent=1) + "\n", survives=survives)


def append_line(path: Path, row: Mapping[str, Any], *, mend: bool = False) -> None:
    """Append one JSON object as one line, with one ``write``; the file is open only meanwhile.

    Thousands of runs are live at once, so none of them holds a descriptor. ``mend=True`` starts a new line
    first where a killed writer left a torn one, so that the torn line does not swallow this one.
    """
    line = strict_json(row).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        if mend and (size := os.fstat(descriptor).st_size) and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) != len(line):
            raise OSError(f"{path}: the disk took only a part of a line; is it full?")
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where it is missing, unreadable or torn."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def strict_json(value: Any, indent: int | None = None) -> str:
    """JSON that every reader takes: NaN and ±inf become null, numpy scalars and arrays plain values."""
    separators = (",", ": ") if indent else (",", ":")
    try:
        # Nearly every row is finite and plain; walking it first would cost more than writing it.
        return json.dumps(value, allow_nan=False, indent=indent, separators=separators)
    except (TypeError, ValueError):
        return json.dumps(_plain(value), allow_nan=False, indent=indent, separators=separators)


def _plain(value: Any) -> Any:
    """The same value out of dict, list, str, int, finite float, bool and None only."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
