"""Brings one W&B run to the server: what it lacks is sent, nothing twice, and then it is asked what it has.

Before anything is sent the server says how many rows it has. The client opens the run after those, and the server is
asked once more: a killed client may still have been sending. Only if the number is the same are the others sent. What
`finish` returns, or `wandb sync` exits with, says nothing about the rows, so the server is asked at the end too.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from memcap.records.wandb_client import one_line, open_run, refused_rows
from memcap.records.wandb_copy import Differs, WandbCopy
from memcap.records.wandb_probe import Credentials, RunThere, run_there

FINISH_TIMEOUT_S: Final = 60.0
_OPEN_TRIES: Final = 5  # while a killed client is still sending
_OPEN_PAUSE_S: Final = 1.0
_ASK_AGAIN_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)  # W&B counts rows some moments after it has taken them


@dataclasses.dataclass(frozen=True)
class Brought:
    """What became of one W&B run: rows that were sent now, rows there (None: not known), and in a word the state.

    ``state``: ``sent`` or ``there`` (verified), ``would send``, ``unverified``, ``differs``, ``deleted there``,
    ``busy``, ``failed``; ``reason`` is one line about the others.
    """

    state: str
    num_sent: int = 0
    num_there: int | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Place:
    """A project on a server, and the folder for the client's files meanwhile."""

    credentials: Credentials
    entity: str
    project: str
    folder: Path

    def ask(self, wandb_id: str) -> RunThere:
        """What is there of a run; raises ``ConnectionError``."""
        return run_there(self.credentials, self.entity, self.project, wandb_id)


def bring(copy: WandbCopy, place: Place, *, dry_run: bool = False, before: Callable[[], None]) -> Brought:
    """Send what the server lacks of a run, and verify it. Takes 0.4 s online, and 0.01 s where it lacks nothing.

    ``before`` is called when something is going to be sent. Raises nothing that the server or the client does.
    """
    try:
        there = place.ask(copy.wandb_id)
        missing = copy.missing(there)
        if copy.is_whole(there):
            return Brought("there", 0, there.num_rows)
        if dry_run:
            return Brought("would send", len(missing), there.num_rows)
        before()
        return _send(copy, place, there)
    except Differs as error:
        return Brought("differs", reason=f"{error}; it was left as it is")
    except Exception as error:
        if "deleted" in str(error):
            return Brought("deleted there", reason="somebody deleted it on the server; it was left out")
        return Brought("failed", reason=one_line(error))


def _send(copy: WandbCopy, place: Place, there: RunThere) -> Brought:
    client, there = _open(copy, place, there)
    if client is None:
        return Brought("busy", 0, there.num_rows, "another process is sending it; try again later")
    files, missing, reason = Path(client.dir).parent, copy.missing(there), ""
    try:
        for row in missing:
            client.log(dict(row))
        client.summary.update(dict(copy.summary))
        client.finish(exit_code=copy.exit_code)
    except TimeoutError:
        reason = f"the server did not take it within {FINISH_TIMEOUT_S:.0f} s"
    refused = refused_rows(files)
    shutil.rmtree(files, ignore_errors=True)
    return _verified(copy, place, len(missing), f"the server refuses rows ({refused})" if refused else reason)


def _open(copy: WandbCopy, place: Place, there: RunThere) -> tuple[Any, RunThere]:
    """The client's run, opened after the rows that are there; None where they become more meanwhile."""
    for _ in range(_OPEN_TRIES):
        copy.missing(there)  # raises where they differ, before anything is opened
        client = open_run(
            place.folder,
            "online",
            run_id=copy.wandb_id,
            config=copy.config,
            axis=copy.axis,
            goes_on=True,
            finish_timeout_s=FINISH_TIMEOUT_S,
            **{**copy.settings, "project": place.project, "entity": place.entity},
        )
        files, is_sure = Path(client.dir).parent, False
        try:
            is_sure = place.ask(copy.wandb_id).num_rows == there.num_rows
        finally:
            if not is_sure:  # threads of a run that is left open would fail aloud
                with suppress(Exception):
                    client.finish(exit_code=1)
                shutil.rmtree(files, ignore_errors=True)
        if is_sure:
            return client, there
        time.sleep(_OPEN_PAUSE_S)
        there = place.ask(copy.wandb_id)
    return None, there


def _verified(copy: WandbCopy, place: Place, num_sent: int, trouble: str) -> Brought:
    there: RunThere | None = None
    for pause_s in _ASK_AGAIN_S:
        time.sleep(pause_s)
        try:
            there = place.ask(copy.wandb_id)
            if copy.is_whole(there):
                return Brought("sent", num_sent, there.num_rows)
        except Differs as error:
            return Brought("differs", num_sent, None, str(error))
        except ConnectionError as error:
            return Brought("unverified", num_sent, None, trouble or one_line(error))
        if trouble:
            break
    assert there is not None
    short = f"the server has {there.num_rows} of {len(copy.lines())} rows"
    if copy.has_end(there) is False and there.num_rows >= len(copy.rows):
        short = "the server does not tell the end of the run"
    return Brought("unverified", num_sent, there.num_rows, trouble or short)
