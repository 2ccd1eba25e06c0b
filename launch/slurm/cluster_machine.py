"""What a cluster needs of its machine: packages, no other Slurm, and a folder of its own."""

from __future__ import annotations

import fcntl
import os
import pwd
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


def check_machine() -> None:
    """UnsuitableMachine with one line if a cluster must not or cannot be here."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise UnsuitableMachine(f"user id {os.geteuid()} has no name here: add it to /etc/passwd") from None
    for path in map(Path, filter(None, [*REAL_CONFIGURATIONS, os.environ.get("SLURM_CONF")])):
        if path.exists() and not is_ours(path):
            raise UnsuitableMachine(f"this machine has a Slurm of its own ({path}): use that one")
    for pid in processes():
        words = command(pid)
        if words and Path(words[0]).name in ("slurmctld", "slurmd") and alive(pid) and not marks(pid)[0]:
            # Somebody else's, whose environment cannot be read.
            configuration = words[words.index("-f") + 1] if "-f" in words[:-1] else ""
            if not is_ours(Path(configuration)):
                raise UnsuitableMachine(
                    f"this machine runs a Slurm of its own ({words[0]}, process {pid}): use that one"
                )
    for name in PACKAGES:
        program(name)


def is_ours(slurm_conf: Path) -> bool:
    """Whether local_cluster wrote it, for whatever user."""
    try:
        return slurm_conf.read_text(errors="replace").startswith(SIGNATURE)
    except OSError:
        return False


def command(pid: int) -> list[str]:
    """A process's words; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def check_owner(state: Path) -> None:
    """Daemons do what the files there say, so nobody else may have put them there, as all can do below /tmp."""
    if state.exists() and (owner := state.stat().st_uid) != os.geteuid():
        raise ClusterError(f"{state} belongs to user id {owner}: name a folder of your own with --state")


@contextmanager
def owned(state: Path) -> Iterator[None]:
    """The folder of a cluster, ours alone until the command is done."""
    mark, longest = state / "local_cluster.lock", str(state / "mariadb" / "socket")
    if len(longest) > LONGEST_SOCKET:
        raise ClusterError(
            f"{longest} is too long for a socket ({len(longest)} > {LONGEST_SOCKET}): a shorter --state"
        )
    # Daemons and the programs of jobs pass through it, whoever runs them.
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    check_owner(state)
    if not mark.exists() and any(state.iterdir()):
        raise ClusterError(f"{state} holds other files: name an empty or a new folder with --state")
    with mark.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"another local_cluster works in {state}: try again when it is done") from None
        yield
