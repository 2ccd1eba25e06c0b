"""The commands of ``local_cluster``."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cluster_config import ClusterConfig
from cluster_daemons import daemons, prepare, slurm, wait_for_nodes
from cluster_machine import INSTALL, check_machine, check_owner, owned
from daemons import ClusterError, Daemon, UnsuitableMachine, family, send, stop, wait_for_end

DESCRIPTION = """\
A real Slurm on this machine: munge, MariaDB, slurmdbd, slurmctld and a few slurmd, without systemd, up in seconds.
Debian or Ubuntu. All daemons and jobs run as you, without root (as root, they serve all users). Everything lies in
one folder; nothing else is written, and `down` deletes the folder.
"""
EXAMPLES = f"""\
packages (this alone needs root):
  apt-get update && {INSTALL}

a first job:
  launch/slurm/local_cluster up
  eval "$(launch/slurm/local_cluster env)"      # SLURM_CONF, by which sbatch and its kin find the cluster
  sbatch --wrap hostname && squeue
  launch/slurm/local_cluster down

partitions:
  main (default); urgent, whose jobs take the place of jobs in requeue (these start again) and in cancel (these end)

faults:
  launch/slurm/local_cluster node down n2       # as when a machine loses power: slurmd, its jobs and all die
  launch/slurm/local_cluster node up n2
  launch/slurm/local_cluster restart slurmctld  # or slurmdbd, mariadbd, munged, n1: jobs go on
  scontrol requeue JOB; scancel JOB

Each node claims 2 CPUs and 4000 MB, whatever the machine has. A requeued job starts again after some 7 s;
KillWait (from SIGTERM to SIGKILL) is 5 s. Logs: DIR/*.log. Exit status: 0 done, 1 not done (for `status`: a daemon is
missing), 2 no such command, 3 this machine cannot have a cluster; one line says why.
"""


def default_state() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"memcap-slurm-{os.getuid()}"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        "local_cluster",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        found = commands.add_parser(run.__name__, help=about)
        found.set_defaults(run=run)
        found.add_argument(
            "--state", type=Path, default=default_state(), metavar="DIR", help="its folder (%(default)s)"
        )
        return found

    add = command(up, "start what does not run yet").add_argument
    add("--nodes", type=int, default=3, metavar="N", help="nodes n1 ... nN (%(default)s)")
    add("--max-array-size", type=int, default=1001, metavar="N", help="MaxArraySize (%(default)s)")
    add = command(down, "end everything and delete the folder").add_argument
    add("--keep", action="store_true", help="keep the folder: the next `up` knows the old jobs")
    command(status, "which daemons run, and what Slurm says of its nodes")
    command(env, 'lines for eval "$(local_cluster env)"')
    add = command(node, "let a node die, or bring it back").add_argument
    add("what", choices=["down", "up"])
    add("name", metavar="NODE", help="n1, n2, ...")
    add("--unnoticed", action="store_true", help="down: let slurmctld find out, after some 30 s")
    add = command(restart, "end one daemon and start it again").add_argument
    add("name", metavar="DAEMON", help="slurmctld, slurmdbd, mariadbd, munged, n1, ...")
    return top


def main() -> int:
    options = parser().parse_args()
    options.state = options.state.resolve()
    try:
        return options.run(options)
    except ClusterError as error:
        print(f"local_cluster: {error}", file=sys.stderr)
        return 3 if isinstance(error, UnsuitableMachine) else 1
    except KeyboardInterrupt:
        return 130  # the same command goes on from here, `down` clears up


def up(options: argparse.Namespace) -> int:
    started = time.monotonic()
    check_machine()
    if options.nodes < 1:
        raise ClusterError(f"--nodes must be at least 1, got {options.nodes}")
    with owned(options.state):
        config = ClusterConfig.read(options.state)
        if config is None:
            config = ClusterConfig(options.state, options.nodes, options.max_array_size)
            config.write()
        elif (config.num_nodes, config.max_array_size) != (options.nodes, options.max_array_size):
            raise ClusterError(
                f"{options.state} holds a cluster with --nodes {config.num_nodes} --max-array-size "
                f"{config.max_array_size}: take these, another --state, or `local_cluster down` first"
            )
        prepare(config)
        for daemon in daemons(config).values():
            daemon.start()
        wait_for_nodes(config)
    state = "" if options.state == default_state() else f" --state {shlex.quote(str(options.state))}"
    print(
        f'{config.num_nodes} nodes up in {time.monotonic() - started:.1f} s; next: eval "$({sys.argv[0]} env{state})"'
    )
    return 0


def down(options: argparse.Namespace) -> int:
    if not options.state.is_dir():
        end_all(options.state)  # a folder can be deleted under them
        return 0
    with owned(options.state):
        # What is kept is written first, by slurmctld before the database goes; what is deleted need not be.
        for name in ("slurmctld", "slurmdbd", "mariadbd") if options.keep else ():
            stop(Daemon(options.state, name).pid())
        end_all(options.state)
        for path in options.state.glob("*.pid"):
            path.unlink()
        if not options.keep:
            shutil.rmtree(options.state)
    return 0


def end_all(state: Path) -> None:
    """SIGKILL to all processes of a cluster, its jobs included."""
    everything = family(state)
    send(everything, signal.SIGKILL)
    if left := wait_for_end(everything, 10):
        raise ClusterError(f"processes {left} do not end after SIGKILL")


def status(options: argparse.Namespace) -> int:
    config = required(options.state)
    found = {daemon.name: daemon.pid() for daemon in daemons(config).values()}
    for name, pid in found.items():
        print(f"{name:10} {pid or 'does not run'}")
    if None in found.values():
        return 1
    print(slurm(config, "sinfo", "--format=%10P %6t %N"), end="")
    return 0


def env(options: argparse.Namespace) -> int:
    print(f"export SLURM_CONF={shlex.quote(str(required(options.state).slurm_conf))}")
    return 0


def required(state: Path) -> ClusterConfig:
    """The configuration of a cluster that is there."""
    check_owner(state)
    config = ClusterConfig.read(state)
    if config is None:
        raise ClusterError(
            f"no cluster in {state}: `local_cluster up` makes one, --state names another folder"
        )
    return config


def node(options: argparse.Namespace) -> int:
    config = required(options.state)
    if options.name not in config.nodes:
        raise ClusterError(f"no node {options.name}, there are {', '.join(config.nodes)}")
    if options.what == "down":
        dying = family(options.state, options.name)
        send(dying, signal.SIGKILL)
        wait_for_end(dying, 10)
        if not options.unnoticed:
            slurm(
                config, "scontrol", "update", f"NodeName={options.name}", "State=DOWN", "Reason=local_cluster"
            )
    else:
        daemons(config)[options.name].start()
        wait_for_nodes(config, [options.name])
    return 0


def restart(options: argparse.Namespace) -> int:
    config = required(options.state)
    known = daemons(config)
    if options.name not in known:
        raise ClusterError(f"no daemon {options.name}, there are {', '.join(known)}")
    daemon = known[options.name]
    stop(daemon.pid())
    daemon.start()
    if options.name == "slurmctld":  # until they have registered again
        wait_for_nodes(config)
    elif options.name in config.nodes:
        wait_for_nodes(config, [options.name])
    return 0
