"""What the tests of the W&B mirror share: tracking configurations, and processes with a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb_server import KEY

from memcap.config.schema import TrackingConfig
from memcap.records.wandb_tracker import WandbTracker

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("data.num_samples=8", "model.width=3", "budget.steps=20", "measure.points=3", "measure=light")


def tracking(mode: str = "offline", **changes: Any) -> TrackingConfig:
    """conf/tracking/wandb.yaml in this mode, with changes."""
    values = yaml.safe_load((ROOT / "conf" / "tracking" / "wandb.yaml").read_text(encoding="utf-8"))
    values |= {"mode": mode} | changes
    return TrackingConfig(**values | {"tags": tuple(values["tags"])})


def tracker(
    folder: Path, mode: str = "offline", warn: Callable[[str], None] | None = None, **changes: Any
) -> WandbTracker:
    """A tracker of the study ``widths``."""
    agent_run_id = changes.pop("agent_run_id", None)
    return WandbTracker(tracking(mode, **changes), "widths", folder, agent_run_id=agent_run_id, warn=warn)


def row(k: int, run: int = 0) -> dict[str, Any]:
    """The k-th row of a history."""
    return {"train/step": 10 * k, "train/loss_nats": 0.1 * run + 1 / (k + 1)}


def clean(home: Path, url: str | None = None, **more: str) -> dict[str, str]:
    """The environment without anything of W&B's; with ``url``, that server and a key for it."""
    share_kernels(home)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "XDG_"))}
    environment |= {"HOME": str(home), "NETRC": str(home / "netrc")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "launch"), str(ROOT / "tests")])
    if url is not None:
        environment |= {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY}
    return environment | more


def share_kernels(home: Path) -> None:
    """What was compiled on this machine is in this home too, as if it had trained before: ten seconds a process."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    kernels, link = (Path(cache) / "memcap" / "kernels" for cache in (caches, home / ".cache"))
    kernels.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(kernels)


def run_script(
    script: str, folder: Path, url: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run lines as a process of their own, in an empty home: the client reads its environment once.

    The client leaves its temporary folders to the interpreter's end, which is a warning of its own making.
    """
    strict = ["-W", "error", "-W", "ignore:Implicitly cleaning up:ResourceWarning"]
    home = folder / "home"
    home.mkdir(exist_ok=True)
    start = f"""
import os, sys, time
from pathlib import Path
from wandb_cases import row, tracker
folder = Path({str(folder)!r})
"""
    return subprocess.run(
        [sys.executable, *strict, "-c", start + textwrap.dedent(script)],
        cwd=home, env=clean(home, url, **environment), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def train(
    folder: Path, *arguments: str, url: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``python -m memcap.train`` on cells of a few milliseconds, in ``folder``."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "memcap.train", *SMALL, *arguments],
        cwd=folder, env=clean(home, url, **environment), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def train_here(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str, **environment: str) -> int:
    """The same in this process, without a server: a second of imports less."""
    from memcap.train import main

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["memcap.train", *SMALL, *arguments])
    return main()
