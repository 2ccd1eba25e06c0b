"""The daemons of a cluster, in the order in which they need each other."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from cluster_config import ClusterConfig
from cluster_machine import program
from daemons import CLUSTER, ClusterError, Daemon

# Not synced: what a killed process has written the kernel keeps, and nobody needs this database after a power cut.
SMALL_DATABASE = (
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--skip-sync-frm",
)


def prepare(config: ClusterConfig) -> None:
    """Folders, a key for munge, and MariaDB's own tables, where they are not there yet."""
    state = config.state
    for name in ("slurmctld", *(f"slurmd-{node}" for node in config.nodes)):
        (state / name).mkdir(mode=0o755, exist_ok=True)
    key, database = state / "munge.key", state / "mariadb"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
    if not database.exists():
        draft = state / "mariadb.draft"  # an interrupted start leaves no half of a database
        shutil.rmtree(draft, ignore_errors=True)
        install = [program("mariadb-install-db"), "--no-defaults", *as_root(), f"--datadir={draft}"]
        made = subprocess.run(
            [
                *install,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                *SMALL_DATABASE,
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, CLUSTER: str(state)},  # `down` ends it too
        )
        if made.returncode:
            raise ClusterError(
                f"mariadb-install-db failed: {(made.stdout + made.stderr).strip().splitlines()[-1]}"
            )
        draft.rename(database)


def daemons(config: ClusterConfig) -> dict[str, Daemon]:
    """By name: munged, mariadbd, slurmdbd, slurmctld, n1 ..."""
    state, slurm_conf = config.state, {"SLURM_CONF": str(config.slurm_conf)}
    of_slurmdbd = {**slurm_conf, "MYSQL_UNIX_PORT": str(config.database_socket)}
    found = [
        Daemon(state, "munged", munged(config), lambda: answers(config.munge_socket)),
        Daemon(state, "mariadbd", mariadbd(config), lambda: answers(config.database_socket)),
        Daemon(
            state, "slurmdbd", [program("slurmdbd"), "-D"], lambda: listens(config.slurmdbd_port), of_slurmdbd
        ),
        Daemon(
            state,
            "slurmctld",
            [program("slurmctld"), "-D", "-f", str(config.slurm_conf)],
            lambda: "is UP" in slurm(config, "scontrol", "ping"),
            slurm_conf,
        ),
        *(
            Daemon(
                state,
                node,
                [program("slurmd"), "-D", "-f", str(config.slurm_conf), "-N", node],
                environment=slurm_conf,
            )
            for node in config.nodes
        ),
    ]
    return {daemon.name: daemon for daemon in found}


def munged(config: ClusterConfig) -> Sequence[str]:
    """With a key of its own: the package's, its user and its folders stay untouched."""
    state = config.state
    # Forced, since a folder below a private one (XDG_RUNTIME_DIR, pytest's) is refused otherwise.
    return [
        program("munged"),
        "--foreground",
        "--force",
        f"--key-file={state}/munge.key",
        f"--socket={config.munge_socket}",
        f"--pid-file={state}/own-munged.pid",
        f"--seed-file={state}/munge.seed",
        f"--log-file={state}/munge.log",
        "--num-threads=2",
    ]


def mariadbd(config: ClusterConfig) -> Sequence[str]:
    """No port; a socket in a folder that only its owner can enter. Small, but safe from kill -9."""
    state = config.state
    return [
        program("mariadbd"),
        "--no-defaults",
        *as_root(),
        f"--datadir={state}/mariadb",
        f"--socket={config.database_socket}",
        f"--pid-file={state}/own-mariadbd.pid",
        "--skip-networking",
        "--skip-name-resolve",
        "--innodb-lock-wait-timeout=900",
        "--innodb-fast-shutdown=2",
        *SMALL_DATABASE,
    ]


def as_root() -> list[str]:
    """MariaDB wants to be told that root is meant."""
    return ["--user=root"] if os.geteuid() == 0 else []


def answers(path: Path) -> bool:
    """Whether somebody accepts connections at a socket of the file system."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a port of the loopback address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def slurm(config: ClusterConfig, *command: str) -> str:
    """What one of Slurm's commands prints; empty while slurmctld does not answer."""
    environment = {"SLURM_CONF": str(config.slurm_conf), "PATH": "/usr/bin:/bin:/usr/local/bin"}
    return subprocess.run(
        [program(command[0]), *command[1:]], env=environment, capture_output=True, text=True, check=False
    ).stdout


def wait_for_nodes(config: ClusterConfig, names: Sequence[str] | None = None, timeout_s: float = 30) -> None:
    """Until slurmctld may start jobs on all of these nodes (on all)."""
    end, known = time.monotonic() + timeout_s, daemons(config)
    names = names or config.nodes
    while True:
        lines = slurm(
            config, "sinfo", "--noheader", "--Node", "--format=%N %T", "--partition=main"
        ).splitlines()
        states = dict(line.split() for line in lines)
        # idle, mixed, allocated ... without a mark: '*' means that the node does not answer.
        if all(
            re.fullmatch(r"idle|mixed|allocated|completing|planned|reserved", states.get(name, ""))
            for name in names
        ):
            return
        for name in names:
            known[name].check_lives()
        if time.monotonic() > end:
            raise ClusterError(f"nodes are {states} after {timeout_s:.0f} s, see {config.state}/*.log")
        time.sleep(0.05)
