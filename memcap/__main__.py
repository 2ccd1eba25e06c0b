"""python -m memcap: what can be run."""

from __future__ import annotations

import contextlib
import os
import sys

COMMANDS = {
    "memcap.train": "train one run, or with -m a sweep; --help tells the groups, keys and examples",
    "memcap.measure": "add measures to finished runs from their weights, without training",
    "memcap.status": "how far a study is: what runs where, what failed and why; --watch, --json",
    "memcap.cancel": "stop what trains a study in the background",
    "memcap.resume": "train what is not finished of a study, without its first command line",
    "memcap.studies": "list, rename, archive, export and import studies; prune runs that none lists",
    "memcap.compare": "the capacity of each configuration of a study, fits, alarms",
    "memcap.oracle": "what linear models can store at all, exactly, beside what training stored",
    "memcap.anchors": "known answers, measured again: does this installation give them?",
    "memcap.sync": "send a study's offline W&B runs to the server, each row once",
    "memcap.dashboard": "make or update the W&B workspace of a project, with memcap's charts",
    "memcap.show": "what is recorded of one run, by its id, and the line that trains it again",
}


def main() -> int:
    """Lists the commands."""
    lines = [f"  python -m {name:<16} {meaning}" for name, meaning in COMMANDS.items()]
    try:
        print("memcap measures how many bits a neural network can memorize.\n", *lines, sep="\n")
        print("\nTry: python -m memcap.train -m model.width=8,16,32", flush=True)
    except BrokenPipeError:  # | head
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
