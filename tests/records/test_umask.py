"""What a sweep leaves behind has the modes that the umask gives, so that a team can go on with each other's runs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from train_command import train_in

GROUP = 54321
WORDS = (
    *("-m", "study=s", "data.num_samples=8", "model.width=3"),
    *("measure=light", "measure.points=3", "hardware.threads=1"),
)
SWEEP = ("-m", "memcap.train", *WORDS)


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
    more = (tracking, "seed=0,1", "budget.steps=20")
    if tracking == "tracking=disabled":
        before = os.umask(umask)
        try:
            assert train_in(tmp_path, *WORDS, *more).returncode == 0
        finally:
            os.umask(before)
    else:  # W&B's service has the umask of the process that started it
        command = [sys.executable, *SWEEP, *more]
        subprocess.run(command, cwd=tmp_path, umask=umask, check=True, capture_output=True, timeout=120)
    found = modes(tmp_path / "outputs")
    assert any(name.endswith("result.json") for name in found)
    wrong = {
        name: oct(mode)
        for name, (mode, is_folder) in found.items()
        if mode != (0o777 if is_folder else 0o666) & ~umask
    }
    assert wrong == {}


@pytest.fixture
def team() -> Iterator[Path]:
    """A folder that belongs to a group, as all below will; pytest's own lie where only one user may look."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 0, GROUP)
        os.chmod(folder, 0o2775)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs to be two users")
def test_one_user_goes_on_with_the_sweep_of_another(team: Path) -> None:
    """The first one's sweep is killed in the middle."""
    line = (
        *SWEEP,
        "seed=0,1,2,3",
        "tracking.mode=offline",
        "hardware.max_members=2",
        "hardware.engine=batched",
        "budget.steps=800",
    )
    killed = as_user(54322, team, *line)
    results = "outputs/runs/*/*/result.json"
    wait_for(lambda: len(list(team.glob(results))) == 2, killed)
    wait_for(lambda: len(list(team.glob("outputs/runs/*/*/.lock"))) == 2, killed)
    killed.kill()
    killed.communicate()
    before = list(team.glob(results))
    assert len(before) == 2
    second = as_user(54323, team, *line)
    printed, errors = second.communicate(timeout=200)
    assert second.returncode == 0, errors
    assert "2 finished, 2 skipped" in printed
    assert "W&B" not in errors
    assert not list(team.glob("outputs/runs/*/*/.lock"))
    owners = {path.stat().st_uid for path in team.glob(results)}
    assert owners == {54322, 54323}
    assert {path.stat().st_gid for path in (team / "outputs").rglob("*")} == {GROUP}


def as_user(user: int, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Python as this user, who may read everything (the interpreter can lie in root's home), and write as any user."""
    home = folder / f"home{user}"
    home.mkdir()
    os.chown(home, user, GROUP)
    reads = "+dac_read_search"
    who = (
        f"--reuid={user}",
        f"--regid={GROUP}",
        "--clear-groups",
        f"--inh-caps={reads}",
        f"--ambient-caps={reads}",
    )
    return subprocess.Popen(
        ["setpriv", *who, sys.executable, *arguments],
        cwd=folder,
        umask=0o002,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "USER": f"u{user}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
