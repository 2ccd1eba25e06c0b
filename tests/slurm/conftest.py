"""One cluster for all tests of a session; without Slurm they are skipped, or fail where that is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from requirements import give_up, mark_below
from slurm_cluster import SlurmCluster

HERE = Path(__file__).parent
# The folder of a session, with the process that owns it. Sockets have short names: pytest's own folders are too deep.
PREFIX = "memcap-slurm-test-"
UNSUITABLE_MACHINE = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_below(HERE, "slurm", items)


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """Three nodes that live as long as the session. With ``MEMCAP_REQUIRE=slurm`` it fails where it would skip."""
    take_down_orphans()
    found = SlurmCluster(Path(tempfile.gettempdir()) / f"{PREFIX}{os.getpid()}")
    try:
        ran = found.up()
        if ran.returncode == UNSUITABLE_MACHINE:
            give_up("slurm", ran.stderr.strip())
        if ran.returncode:
            pytest.fail(ran.stderr.strip(), pytrace=False)
        yield found
    finally:
        found.local_cluster("down")


@pytest.fixture(autouse=True)
def slurm_environment(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests start finds the cluster, and believes in no job around it."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)


def take_down_orphans() -> None:
    """Clusters of sessions that were killed."""
    for state in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = state.name.removeprefix(PREFIX)
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            SlurmCluster(state).local_cluster("down")
