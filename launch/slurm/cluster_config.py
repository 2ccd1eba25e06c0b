"""The configuration of a Slurm cluster that lives in one folder of one machine."""

from __future__ import annotations

import os
import pwd
import re
import socket
from dataclasses import dataclass
from pathlib import Path

# The first line of our slurm.conf, by which it is told from a real one.
SIGNATURE = (
    "# A cluster in one folder, made by launch/slurm/local_cluster; it goes with `local_cluster down`.\n"
)


@dataclass(frozen=True)
class ClusterConfig:
    """What can be chosen of a cluster, and where its files are."""

    state: Path
    num_nodes: int = 3
    max_array_size: int = 1001

    @property
    def nodes(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.num_nodes + 1)]

    @property
    def slurm_conf(self) -> Path:
        return self.state / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.state / "munge.socket"

    @property
    def database_socket(self) -> Path:
        return self.state / "mariadb" / "socket"

    @classmethod
    def read(cls, state: Path) -> ClusterConfig | None:
        """The cluster of a folder; None where there is none."""
        path = state / "slurm.conf"
        if not path.exists():
            return None
        text = path.read_text()
        (max_array_size,) = re.findall(r"^MaxArraySize=(\d+)", text, re.MULTILINE)
        return cls(state, len(re.findall(r"^NodeName=", text, re.MULTILINE)), int(max_array_size))

    @property
    def slurmdbd_port(self) -> int:
        (port,) = re.findall(r"^AccountingStoragePort=(\d+)", self.slurm_conf.read_text(), re.MULTILINE)
        return int(port)

    def write(self) -> None:
        """slurm.conf, and slurmdbd.conf, which Slurm wants to be its user's alone."""
        ports = free_ports(2 + self.num_nodes)
        slurmdbd_conf = self.state / "slurmdbd.conf"
        slurmdbd_conf.touch(mode=0o600)
        slurmdbd_conf.write_text(SLURMDBD.format(**self._names(ports)))
        lines = [NODE.format(node=node, port=port) for node, port in zip(self.nodes, ports[2:], strict=True)]
        text = SIGNATURE + SLURM.format(**self._names(ports)) + "".join(lines) + PARTITIONS
        # Written last and in one piece: a folder with slurm.conf is a folder that is complete.
        draft = self.slurm_conf.with_suffix(".draft")
        draft.write_text(text)
        draft.rename(self.slurm_conf)

    def _names(self, ports: list[int]) -> dict[str, object]:
        return {
            "state": self.state,
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "munge_socket": self.munge_socket,
            "slurmctld_port": ports[0],
            "slurmdbd_port": ports[1],
            "max_array_size": self.max_array_size,
            "max_job_count": max(10_000, 2 * self.max_array_size),
        }


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on: clusters in two folders do not meet."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


SLURM = """\
ClusterName=local
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={slurmctld_port}
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={state}/slurmctld
SlurmdSpoolDir={state}/slurmd-%n
SlurmctldPidFile={state}/own-slurmctld.pid
SlurmdPidFile={state}/own-%n.pid

# A requeued job may start when the credential of its first launch has expired: 120 s unless said otherwise.
AuthType=auth/munge
AuthInfo=socket={munge_socket},cred_expire=5
CommunicationParameters=NoCtldInAddrAny

# No cgroups, no binding to cores: nodes claim more than the machine has.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true

# Everything soon: jobs are looked at every second, a node that is gone is noticed in 20 to 40 s, not in minutes, and
# counts again when its slurmd is back.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=600
MaxArraySize={max_array_size}
MaxJobCount={max_job_count}

PreemptType=preempt/partition_prio
PreemptMode=REQUEUE

JobAcctGatherType=jobacct_gather/linux
# No cgroups: a job that takes more memory than it has asked for is noticed within a second or two.
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd_port}
AccountingStoragePass={munge_socket}

"""
NODE = "NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000\n"
PARTITIONS = """
PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE State=UP
PartitionName=main Default=YES PriorityTier=1 PreemptMode=OFF
# A job in urgent takes the place of jobs in these two: those in requeue start again later, those in cancel are over.
PartitionName=urgent PriorityTier=2 PreemptMode=OFF
PartitionName=requeue PriorityTier=1 PreemptMode=REQUEUE
PartitionName=cancel PriorityTier=1 PreemptMode=CANCEL
"""
SLURMDBD = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={slurmdbd_port}
SlurmUser={user}
PidFile={state}/own-slurmdbd.pid
AuthType=auth/munge
AuthInfo=socket={munge_socket}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
"""
