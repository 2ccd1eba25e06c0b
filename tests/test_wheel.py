"""The built wheel works away from the checkout: configurations and Hydra plugins travel inside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_wheel_in_an_empty_directory(tmp_path: Path) -> None:
    wheels, site, empty = tmp_path / "wheels", tmp_path / "site", tmp_path / "empty"
    source = tmp_path / "source"
    # A copy, since building leaves files beside the sources.
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, source], check=True)
    (wheel,) = wheels.glob("memcap-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}

    where = (
        "import memcap, memcap.conf, hydra_plugins.memcap.sweeper as sweeper\n"
        "from memcap.compare.report.embedding import own_file\n"
        "assert all(own_file(name) for name in ('report.js', 'table.js', 'report.css'))\n"
        "print(memcap.__file__, memcap.conf.__file__, sweeper.__file__)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", where], cwd=empty, env=environment, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(site)) for path in printed.stdout.split())

    sweep = [
        "-m",
        "memcap.train",
        "-m",
        "model.width=2,3",
        "budget.steps=20",
        "experiment=bits_vs_samples",
        "data.num_samples=10",
    ]
    done = subprocess.run(
        [sys.executable, *sweep], cwd=empty, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 finished" in done.stdout
    assert [path.name for path in empty.iterdir()] == ["outputs"]
