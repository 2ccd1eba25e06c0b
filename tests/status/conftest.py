"""``memcap.status`` in this process, with a Slurm that says what it is told to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from status_cases import Page

from memcap.records.owner import Owner
from memcap.status import main


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Page:
    """Prints the page of outputs in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def show(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    return show


@pytest.fixture
def slurm_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Commands squeue and sacct that print what the real ones printed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def say(squeue: str, sacct: str) -> None:
        for name, text in (("squeue", squeue), ("sacct", sacct)):
            (folder / f"{name}.txt").write_text(text)
            script = folder / name
            script.write_text(f'#!/bin/sh\ncat "{folder}/{name}.txt"\n')
            script.chmod(0o755)

    return say


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner(Path("outputs")) as found:
        yield found
