"""What a sweep leaves behind has the modes that the umask gives, so that a team can go on with each other's runs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = (
    *(
        "-m",
        "memcap.train",
        "-m",
        "seed=0,1",
        "study=s",
        "data.num_samples=8",
        "model.width=3",
        "budget.steps=20",
    ),
    *("measure=light", "measure.points=3", "hardware.threads=1"),
)


def modes(outputs: Path) -> dict[str, tuple[int, bool]]:
    """Mode and whether it is a folder, of all files and folders."""
    found = {}
    for path in [outputs, *outputs.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            found[str(path.relative_to(outputs))] = (stat.S_IMODE(mode), stat.S_ISDIR(mode))
    return found


@pytest.mark.parametrize("umask", [0o002, 0o077])
@pytest.mark.parametrize("tracking", ["tracking=disabled", "tracking.mode=offline"])
def test_files_and_folders_follow_the_umask(umask: int, tracking: str, tmp_path: Path) -> None:
    command = [sys.executable, *SWEEP, tracking]
    subprocess.run(command, cwd=tmp_path, umask=umask, check=True, capture_output=True, timeout=120)
    found = modes(tmp_path / "outputs")
    assert any(name.endswith("result.json") for name in found)
    wrong = {
        name: oct(mode)
        for name, (mode, is_folder) in found.items()
        if mode != (0o777 if is_folder else 0o666) & ~umask
    }
    assert wrong == {}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs two users"
)
def test_one_user_goes_on_with_the_sweep_of_another(tmp_path: Path) -> None:
    """Two users of one group, a folder with the group's bit; the first one's sweep was killed in the middle."""
    group, first, second = 54321, 54322, 54323
    tmp_path.chmod(0o2775)
    os.chown(tmp_path, 0, group)
