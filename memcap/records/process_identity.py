"""Which process holds something, said so that another process can tell whether it still lives."""

from __future__ import annotations

import functools
import os
import shlex
import socket
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_DEAD_STATES: Final = ("Z", "X", "x")  # of /proc: ended, and perhaps never waited for


def this_process() -> dict[str, Any]:
    """Host, process id and what tells it from a later process of the same id; command and Slurm job for people."""
    return {
        "host": socket.gethostname(),
        "machine": machine(),
        "pid": os.getpid(),
        "start_ticks": _state_and_start_ticks(os.getpid())[1],
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "command": shlex.join(sys.orig_argv),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether this process (see ``this_process``) has certainly ended; False wherever that cannot be told from here."""
    pid = process.get("pid")
    if os.name != "posix" or process.get("machine") != machine() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)  # and not a look into /proc, which can hide the processes of other users
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # somebody else's process
    state, start_ticks = _state_and_start_ticks(pid)
    reused = None not in (start_ticks, process.get("start_ticks")) and start_ticks != process["start_ticks"]
    return state in _DEAD_STATES or reused


@functools.cache
def machine() -> str:
    """Names where process ids mean the same: one boot of one computer and, in containers, one name space of them."""
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{host}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return f"{host}/{uuid.getnode():012x}"


def _state_and_start_ticks(pid: int) -> tuple[str | None, int | None]:
    """The process's state, and when it started in clock ticks since the boot; None where the system does not say."""
    try:
        # The second field, the name, is in parentheses and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return None, None
