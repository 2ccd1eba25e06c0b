"""python -m memcap.sync study=NAME: brings the offline W&B runs of a study to the server."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memcap.errors import BadInput, Interrupted, nearest
from memcap.study_command import run_command

if TYPE_CHECKING:
    from memcap.records.wandb_items import Item
    from memcap.records.wandb_sync import StudySync, Synced
    from memcap.records.wandb_upload import Brought

USAGE = """python -m memcap.sync study=NAME [key=value ...]

Sends what the W&B server lacks of a study's runs, each row once, and asks the server whether it is there.
It can be interrupted and repeated.

  study=NAME          the study, as in outputs/studies/NAME
  paths.outputs=DIR   where the runs are (outputs)
  entity=NAME         the W&B user or team (default: that of the training, else WANDB_ENTITY, else the key's own)
  project=NAME        the W&B project (default: that of the training)
  dry_run=true        only say what would be sent
  verify=true         ask the server also about runs that it was seen to have
  unfinished=true     send also runs that have not ended, as far as they are"""
TEXTS = ("study", "paths.outputs", "entity", "project")
SWITCHES = ("dry_run", "verify", "unfinished")
WELL = ("sent", "there", "would send", "not ended", "training", "deleted there")
LINE_EVERY_S = 30.0  # without a terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 the server has it all, 1 it may lack something, 2 bad input, 130 interrupted."""
    from memcap.interruption import heard

    def command(words: Sequence[str]) -> int:
        try:
            with heard():
                return sync(parse(words))
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted("interrupted; the same command goes on") from None

    return run_command(command, arguments, USAGE)


def sync(chosen: dict[str, str]) -> int:
    """Brings the study to the server and prints the table of its W&B runs."""
    from memcap.records.study_folder import StudyFolder
    from memcap.records.wandb_items import items_of
    from memcap.records.wandb_sync import StudySync

    study = StudyFolder.existing(Path(chosen.get("paths.outputs", "outputs")), chosen["study"])
    switches = {name: chosen.get(name) == "true" for name in SWITCHES}
    work = StudySync(study, chosen.get("entity"), chosen.get("project"), **switches)
    started = time.monotonic()
    items = items_of(study)
    if not items:
        raise BadInput(f"study={study.name} has no W&B run: its runs were trained with tracking=disabled")
    try:
        with progress(len(items)) as on_end:
            work.run(items, on_end)
    finally:
        if work.synced.results:
            report(work, items, time.monotonic() - started)
    return exit_status(work.synced, len(items))


def exit_status(synced: Synced, number: int) -> int:
    """1 where a run is not there, or not known to be."""
    well = [brought for brought in synced.results.values() if brought.state in WELL]
    return int(bool(synced.stopped) or len(well) < number)


def report(work: StudySync, items: Sequence[Item], wall_time_s: float) -> None:
    """The table by run, in counts what became of them, and one line about each kind of trouble."""
    from collections import Counter

    from memcap.records.table import MOST_ROWS, Column, print_columns
    from memcap.records.wandb_upload import Brought

    synced = work.synced
    results = {item: synced.results.get(item, Brought("not tried")) for item in items}
    shown = sorted(items, key=lambda item: (results[item].state in WELL, results[item].num_sent == 0))
    shown = list(items) if len(items) <= MOST_ROWS else shown[:MOST_ROWS]
    there = [results[item].num_there for item in shown]
    columns = [
        Column("run", [item.wandb_id for item in shown]),
        Column("rows sent", [str(results[item].num_sent) for item in shown]),
        Column("rows there", ["-" if number is None else str(number) for number in there]),
        Column("status", [results[item].state for item in shown]),
    ]
    styles = [None if results[item].state in WELL else "red" for item in shown]
    print_columns("cell", [item.name for item in shown], columns, styles)
    if len(items) > MOST_ROWS:
        print(f"... and {len(items) - MOST_ROWS:,} more runs")
    counts = Counter(brought.state for brought in results.values())
    rows = sum(brought.num_sent for brought in results.values())
    print(
        "\n"
        + ", ".join(f"{n} {state}" for state, n in counts.items())
        + f"; {rows:,} rows in {wall_time_s:.1f} s"
    )
    for line in remarks(work, results):
        print(line)


def remarks(work: StudySync, results: dict[Item, Brought]) -> Iterator[str]:
    """What the table does not say, one line each."""
    synced = work.synced
    by_reason: dict[str, list[str]] = {}
    for item, brought in results.items():
        # Where the server is in trouble, that is what happened to each of them.
        if brought.reason and not (synced.stopped and brought.state in ("failed", "unverified")):
            by_reason.setdefault(brought.reason, []).append(item.wandb_id)
    for reason, ids in by_reason.items():
        yield f"{ids[0]}{f' and {len(ids) - 1} more' if len(ids) > 1 else ''}: {reason}"
    if synced.stopped:
        yield f"stopped: {synced.stopped}; the same command goes on"
    if synced.num_marked:
        yield f"{synced.num_marked} were seen there by an earlier call; verify=true asks again"
    if any(brought.state == "not ended" for brought in results.values()):
        yield "runs that have not ended are sent when they have, or with unfinished=true"
    if synced.num_dropped:
        yield f"{synced.num_dropped} empty files of clients that were killed at their start were removed"


@contextlib.contextmanager
def progress(number: int) -> Iterator[Callable[[Item, Brought], None]]:
    """A bar with the time that is left, on a terminal; elsewhere a line now and then."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("sync", total=number)
            yield lambda item, brought: bar.advance(task)
        return
    started, state = time.monotonic(), {"done": 0, "said": 0.0}

    def tell(item: Item, brought: Brought) -> None:
        state["done"] += 1
        wall_s = time.monotonic() - started
        if wall_s - state["said"] > LINE_EVERY_S:
            state["said"] = wall_s
            left_s = wall_s / state["done"] * (number - state["done"])
            print(f"memcap: {state['done']:.0f} of {number} W&B runs, {left_s:.0f} s left", file=sys.stderr)

    yield tell


def parse(words: Sequence[str]) -> dict[str, str]:
    """``key=value`` words as a dict; raises ``BadInput`` for what is not understood."""
    chosen: dict[str, str] = {}
    known = (*TEXTS, *SWITCHES)
    for word in words:
        key, equals, value = word.partition("=")
        if key not in known or not equals:
            raise BadInput(
                f"sync: got {word}, expected {', '.join(f'{name}=' for name in known)}{nearest(key, known)}"
            )
        if key in SWITCHES and value.lower() not in ("true", "false"):
            raise BadInput(f"sync: {key} must be true or false, got {value}")
        chosen[key] = value.lower() if key in SWITCHES else value
    if not chosen.get("study"):
        raise BadInput("sync: study=NAME is needed: the study whose W&B runs are to be sent")
    return {key: value for key, value in chosen.items() if value}


if __name__ == "__main__":
    sys.exit(main())
