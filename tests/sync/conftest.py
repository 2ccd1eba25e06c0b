"""``memcap.sync`` in this process, for a study of offline runs and a server of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sync_cases import CELLS, SWEEP, Sync
from wandb_cases import train_here
from wandb_server import KEY, Server, running_server

from memcap.records import wandb_client
from memcap.sync import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four offline runs; its tests work on copies."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        assert train_here(patch, folder, *CELLS, *SWEEP) == 0
    return folder


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    for note in tmp_path.glob("outputs/runs/*/*/wandb.json"):  # it says where the files are
        note.write_text(
            note.read_text(encoding="utf-8").replace(str(trained), str(tmp_path)), encoding="utf-8"
        )
    return tmp_path / "outputs" / "studies" / "s"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server
        wandb_client.end_service()


@pytest.fixture
def sync(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """``sync("verify=true")``: the command for the study ``s``, with that server and a key for it."""

    def synced(*arguments: str, **environment: str) -> int:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            monkeypatch.delenv(name)
        variables = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "NETRC": str(tmp_path / "netrc")}
        for name, value in (variables | environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        wandb_client.end_service()  # its settings are read when it starts
        return main(["study=s", *arguments])

    return synced
