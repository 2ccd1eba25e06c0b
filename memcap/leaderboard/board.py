"""A leaderboard from what is asked for to its table: what is missing is trained, the rest is read."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from memcap.api import Overrides, as_overrides, torch_threads_restored
from memcap.cells import wait_passively
from memcap.errors import BadInput, nearest
from memcap.hydra_session import HydraSession
from memcap.leaderboard.entry import Entry, formula_entry
from memcap.leaderboard.protocol import (
    Protocol,
    board_session,
    claimed,
    claiming,
    protocol_of,
    study_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from memcap.records.study_folder import StudyFolder


@dataclasses.dataclass(frozen=True)
class Asked:
    """Formulas to add, the name and the reason of a single one, which entries to rank (none: all), overrides."""

    formulas: tuple[str, ...] = ()
    name: str | None = None
    why: str = ""
    only: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Board:
    """What a call has ranked: its table (see ``ranking``), under which protocol, in which study, and how many runs
    failed."""

    table: pd.DataFrame
    protocol: Protocol
    study: StudyFolder
    num_failed: int


def rank_activations(
    formulas: str | Sequence[str] = (),
    overrides: Overrides = (),
    *,
    name: str | None = None,
    why: str = "",
    only: Sequence[str] = (),
    config_dir: str | os.PathLike[str] | None = None,
    **keys: Any,
) -> pd.DataFrame:
    """The leaderboard of activations with these candidates, as ``python -m memcap.leaderboard`` prints it.

    ``rank_activations("x*sin(3*x)", name="wave", only=["relu"])``. What is finished is not trained again. Columns:
    ``memcap.leaderboard.ranking.ranking``; ``attrs`` has the ``study`` and ``outputs``. Overrides as for ``sweep``.
    Raises BadInput, one line, before anything is written.
    """
    given = (formulas,) if isinstance(formulas, str) else tuple(formulas)
    words = tuple(as_overrides(overrides, keys, several=False))
    board = rank(
        Asked(given, name, why, tuple(only), words), board_session(config_dir), "memcap.rank_activations()"
    )
    board.table.attrs |= {"study": board.study.name, "outputs": str(board.study.outputs)}
    return board.table


def rank(asked: Asked, session: HydraSession, command: str) -> Board:
    """Adds the candidates to the board, trains what is missing and ranks; ``command``: how to ask for it again."""
    added = _candidates(asked)
    protocol = protocol_of(asked.words, session)
    study = study_of(protocol, session)
    before = _once(protocol.entries, claimed(study, protocol))
    new, names = _joined(before, added)
    entries = _chosen([*before, *new], asked.only, names)

    from memcap.leaderboard.ranking import ranking
    from memcap.leaderboard.rounds import train_lacking

    with claiming(study, protocol, new), torch_threads_restored():
        trained = train_lacking(protocol, entries, study, session, command)
    table = ranking(trained.frame, entries, protocol, names, trained.asked)
    return Board(table, protocol, study, trained.num_failed)


def _candidates(asked: Asked) -> list[Entry]:
    if asked.name is not None and len(asked.formulas) != 1:
        raise BadInput(
            f"name={asked.name} is for one formula, got {len(asked.formulas)}; give them one by one"
        )
    return [formula_entry(formula, asked.name, asked.why) for formula in asked.formulas]


def _once(shipped: Sequence[Entry], candidates: Sequence[Entry]) -> list[Entry]:
    """Those of the configuration, then the candidates of earlier calls that are not among them by now; one whose name
    is another's by now is called by its formula."""
    entries, names = list(shipped), {entry.name for entry in shipped}
    for entry in candidates:
        if _there(entry, entries) is None:
            entries.append(dataclasses.replace(entry, name=entry.text) if entry.name in names else entry)
            names.add(entries[-1].name)
    return entries


def _there(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    """The one of these that is the same function."""
    wait_passively()  # before torch is imported
    from memcap.leaderboard.same_function import same_function

    return same_function(entry, entries)


def _joined(before: Sequence[Entry], added: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The candidates that are new, and the names under which all that were given stand on the board."""
    by_name = {entry.name: entry for entry in before}
    new: list[Entry] = []
    names = []
    for entry in added:
        there = _there(entry, [*before, *new])
        if there is None and entry.name in by_name:
            other = by_name[entry.name]
            raise BadInput(
                f"name={entry.name} is {other.text} on this board, got {entry.text}; give another name="
            )
        if there is None:
            by_name[entry.name] = entry
            new.append(entry)
        elif there.name != entry.name:
            print(f"memcap: {entry.text} is on the board already, as {there.name}", file=sys.stderr)
        names.append((there or entry).name)
    return new, names


def _chosen(entries: Sequence[Entry], only: Sequence[str], added: Sequence[str]) -> list[Entry]:
    """Those that are to be ranked: all, or ``only`` these and what is added."""
    known = [entry.name for entry in entries]
    for name in only:
        if name not in known:
            raise BadInput(
                f"only={name} is not on the board{nearest(name, known)}; it has {', '.join(known)}"
            )
    return [entry for entry in entries if not only or entry.name in (*only, *added)]
