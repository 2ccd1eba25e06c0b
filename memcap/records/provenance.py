"""Where numbers come from: the code, the packages, the machine and the time behind one run."""

from __future__ import annotations

import functools
import os
import platform
import socket
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from memcap import __version__

PACKAGES: Final = ("torch", "numpy", "hydra-core", "omegaconf", "wandb")
_GIT_TIMEOUT_S: Final = 5.0


def provenance(
    device: str, engine: str, threads: int, wall_time_s: float, data_fingerprint: str | None
) -> dict[str, Any]:
    """The ``provenance`` of a result.

    ``git_commit`` and ``git_dirty`` are null unless memcap runs from its own git checkout. What cannot change
    within a process is found once, so a run pays 0.01 ms.
    """
    return {
        **_process(),
        "device": device,
        "engine": engine,
        "threads": threads,
        "wall_time_s": wall_time_s,
        "data_fingerprint": data_fingerprint,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@functools.cache
def _process() -> dict[str, Any]:
    commit, dirty = git_state(Path(__file__).resolve().parents[2])
    return {
        "memcap": __version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
    }


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """The commit of the checkout at ``root``, and whether its code or presets differ from that commit.

    Both are None where ``root`` is not the top of a git checkout that tracks memcap: an installed copy, also one
    in a virtual environment that lies inside somebody's repository. Files that git does not know yet count as
    a difference. Never raises; a git that hangs is given up after 5 s.
    """
    tracked = _git(root, "ls-files", "--", "memcap/__init__.py")
    top = _git(root, "rev-parse", "--show-toplevel")
    if not tracked or not top or Path(top).resolve() != root.resolve():
        return None, None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", "memcap", "conf", "launch", "pyproject.toml")
    return commit or None, None if not commit or changes is None else changes != ""


def _git(root: Path, *arguments: str) -> str | None:
    # GIT_DIR and its kin point elsewhere when memcap is started by a git hook.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_GIT_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    # Read from the installed metadata: to import torch for its version would cost 1.6 s.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
