"""The lock of a run that an owner on another machine holds."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from memcap.records.process_identity import this_process


def of_another(folder: Path, token: str = "0123456789abcdef", age_s: float = 0, **changes: Any) -> Path:
    """The file of an owner on another machine with this heartbeat, which holds ``run``; returns its lock."""
    (folder / "owners").mkdir(exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    path, lock = folder / "owners" / f"{token}.json", folder / "run" / ".lock"
    path.write_text(json.dumps({**this_process(), "host": "far", "machine": "far", "lease_s": 90, **changes}))
    os.utime(path, (time.time() - age_s,) * 2)
    lock.write_text(token)
    return lock
