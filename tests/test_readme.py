"""What the README and the page on parts of one's own tell to type works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from train_command import train_in

ROOT = Path(__file__).parents[1]
README, EXTENDING = (ROOT / "README.md").read_text(), (ROOT / "docs" / "EXTENDING.md").read_text()
SMALL = ["budget.steps=20", "measure.points=3", "tracking=disabled"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", EXTENDING, re.DOTALL)


def commands(containing: str) -> list[str]:
    lines = re.findall(r"^    (python -m memcap\.train .*)$", README + EXTENDING, re.MULTILINE)
    return [line for line in lines if containing in line]


@pytest.fixture
def own_parts(tmp_path: Path) -> Path:
    (tmp_path / "my_parts.py").write_text("\n".join(blocks("python")))
    for block in blocks("yaml"):
        path = tmp_path / block.split("\n", maxsplit=1)[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command, comments=True)
    return subprocess.run(
        [sys.executable, *words[1:], *SMALL], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", commands("--config-dir"))
def test_parts_of_ones_own_are_options_like_the_built_in_ones(command: str, own_parts: Path) -> None:
    done = run(command, own_parts)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished") == 3  # two rows and the line that counts them
    assert "2 finished" in done.stdout
    again = run(command, own_parts)
    assert "2 skipped" in again.stdout


def test_there_is_one_part_of_each_kind() -> None:
    assert len(commands("--config-dir")) == len(blocks("python")) == len(blocks("yaml")) == 3


@pytest.mark.parametrize(
    "command", [c for c in commands("memcap.train -m") + commands("activation=formula") if "my_conf" not in c]
)
def test_the_other_commands_are_understood(command: str, tmp_path: Path) -> None:
    """Checked as far as the validation of every cell: training them takes minutes."""
    python, module, name, *words = shlex.split(command, comments=True)
    assert (python, module, name) == ("python", "-m", "memcap.train")
    done = train_in(tmp_path, *words, "paths.outputs=/dev/null/nowhere", *SMALL)
    assert done.returncode == 2
    assert "paths.outputs must be a folder" in done.printed
