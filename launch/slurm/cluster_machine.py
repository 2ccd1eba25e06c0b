"""What a cluster needs of its machine: root, packages, no other Slurm, and a folder of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_config import SIGNATURE
from daemons import ClusterError, UnsuitableMachine, alive, marks, processes

PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
}
INSTALL = "apt-get install -y --no-install-recommends " + " ".join(PACKAGES.values())
REAL_CONFIGURATIONS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/usr/local/etc/slurm.conf")
# Daemons live where only root's PATH looks.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
# Bytes that the kernel leaves for the name of a socket in the file system, 108 with the final zero.
LONGEST_SOCKET = 107


def program(name: str) -> str:
    """Where a program is; the package that lacks, if it is nowhere."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise UnsuitableMachine(f"{name} is not installed: apt-get update && {INSTALL}")
    return path


def check_root() -> None:
    if os.geteuid() != 0:
        raise UnsuitableMachine("slurmd starts jobs for users, so this needs root: sudo, or a container")


def check_machine() -> None:
    """UnsuitableMachine with one line if a cluster must not or cannot be here."""
    check_root()
    real = [*REAL_CONFIGURATIONS, os.environ.get("SLURM_CONF", "")]
    for path in map(Path, filter(None, real)):
        if path.exists() and not path.read_text(errors="replace").startswith(SIGNATURE):
            raise UnsuitableMachine(f"this machine has a Slurm of its own ({path}): use that one")
    for pid in processes():
        if (
            (name := command_name(pid)) in ("slurmctld", "slurmd", "slurmdbd")
            and alive(pid)
            and not marks(pid)[0]
        ):
            raise UnsuitableMachine(
                f"this machine runs a Slurm of its own ({name}, process {pid}): use that one"
            )
    for name in PACKAGES:
        program(name)


def command_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextmanager
def owned(state: Path) -> Iterator[None]:
    """The folder of a cluster, ours alone until the command is done."""
    mark = state / "local_cluster.lock"
    if len(longest := str(state / "mariadb" / "socket")) > LONGEST_SOCKET:
        raise ClusterError(
            f"{longest} is too long for a socket ({len(longest)} > {LONGEST_SOCKET}): a shorter --state"
        )
    # Daemons and the programs of jobs pass through it, whoever runs them.
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not mark.exists() and any(state.iterdir()):
        raise ClusterError(f"{state} holds other files: name an empty or a new folder with --state")
    with mark.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"another local_cluster works in {state}: try again when it is done") from None
        yield
