"""Workers of this machine as the system knows them, so that a number that another process has now is not mistaken."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

WORKER: Final = "submitit.core._submit"  # trains; its parent, submitit's controller, ends with it
CONTROLLER: Final = "submitit.local._local"


class Workers(NamedTuple):
    """Process ids of one submission on this machine."""

    workers: tuple[int, ...] = ()
    controllers: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.workers or self.controllers)


def workers_here() -> dict[Path, Workers]:
    """Those of every submission, by the folder of its logs, which stands at the end of their command lines."""
    found: dict[Path, Workers] = {}
    for pid, arguments in _processes():
        for place, module in enumerate((WORKER, CONTROLLER)):
            if arguments[-3:-1] == ["-m", module] and "python" in arguments[0]:
                folder = Path(arguments[-1]).resolve()
                ids = list(found.get(folder, Workers()))
                ids[place] = (*ids[place], pid)
                found[folder] = Workers(*ids)
    return found


def _processes() -> list[tuple[int, list[str]]]:
    """Process id and arguments of all that mention submitit."""
    if not Path("/proc/self/cmdline").exists():
        return _listed_by_ps()
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):  # it has ended, or is another user's
                line = (path / "cmdline").read_bytes()
                if b"submitit." in line:
                    words = line.rstrip(b"\0").decode(errors="replace").split("\0")
                    found.append((int(path.name), words))
    return found


def _listed_by_ps() -> list[tuple[int, list[str]]]:
    """The same where there is no /proc; a folder with blanks in its name is put together again."""
    try:
        done = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in done.stdout.splitlines():
        pid, _, text = line.strip().partition(" ")
        for module in (WORKER, CONTROLLER):
            start, found_it, folder = text.partition(f" -m {module} ")
            if found_it:
                found.append((int(pid), [*start.split(), "-m", module, folder.strip()]))
    return found
