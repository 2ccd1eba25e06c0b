"""How a board measures: the run that all activations share, the rates and seeds, and the study that keeps its runs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from memcap.config.fields import build, ignored
from memcap.config.identity import digest, identity_payload
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput
from memcap.hydra_session import HydraSession
from memcap.leaderboard.entry import GROUP, Entry, entry_of, formula_entry
from memcap.records import atomic
from memcap.records.study_folder import StudyFolder
from memcap.search.options import FRESH_OFFSET

SCHEMA: Final = 1
PRESET: Final = "leaderboard"
RATE: Final = "optimizer.learning_rate"
SAMPLES: Final = "data.num_samples"
FOLDER, FILE, CANDIDATES = "leaderboard", "protocol.json", "candidates"
# What the board itself decides, by the first word of a key, and what to say in its place.
DECIDED: Final = {
    GROUP: "give a formula by itself, as in 'x*sin(3*x)'",
    RATE: "each activation has its own; leaderboard.learning_rates=[0.01,0.1] are the ones to choose from",
    "experiment": "the board is a preset itself",
    "zip": "leave it out",
    "cells": "leave it out",
}
IN_ROUNDS: Final = {
    "wait": True,
    "dry_run": False,
}  # launcher.*, as composed: a round needs what the round before gave


def board_session(config_dir: str | os.PathLike[str] | None = None) -> HydraSession:
    """Composes what a board shares; several values of a key are several boards."""
    return HydraSession(config_dir, several="a leaderboard has one protocol")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaderboardOptions:
    """``leaderboard.*`` on the command line; the comments in conf/leaderboard say more."""

    learning_rates: tuple[str, ...] = ignored()
    extra_rates: int = ignored(at_least=0)
    seeds: int = ignored(at_least=2)
    fresh_seeds: int = ignored(at_least=2)

    def rates(self) -> list[float]:
        """``learning_rates`` as numbers, ascending."""
        try:
            rates = sorted({float(text) for text in self.learning_rates})
        except ValueError:
            rates = []
        if not rates or rates[0] <= 0 or rates[-1] == float("inf"):
            got = ",".join(self.learning_rates)
            raise BadInput(f"leaderboard.learning_rates must be a list of numbers above 0, got [{got}]")
        return rates


@dataclasses.dataclass(frozen=True)
class Protocol:
    """``words``: overrides of all runs; each has a seed of its own. ``config``: one of them. ``entries``: what the
    configuration ranks."""

    words: tuple[str, ...]
    config: RunConfig
    options: LeaderboardOptions
    entries: tuple[Entry, ...]

    @property
    def choosing(self) -> range:
        """The seeds that choose the rates."""
        return range(self.config.seed, self.config.seed + self.options.seeds)

    @property
    def fresh(self) -> range:
        """The seeds that measure at the chosen rate; none of them chooses."""
        first = self.config.seed + FRESH_OFFSET
        return range(first, first + self.options.fresh_seeds)

    @property
    def fixed(self) -> dict[str, Any]:
        """All that decides what a run of the board gives, but its activation, rate and seed: plain values."""
        payload = identity_payload(self.config)
        payload.pop(GROUP, None)
        payload.pop("seed")
        payload["optimizer"].pop("learning_rate")
        payload["leaderboard"] = {
            "learning_rates": self.options.rates(),
            "extra_rates": self.options.extra_rates,
            "choosing": list(self.choosing),
            "fresh": list(self.fresh),
        }
        plain: dict[str, Any] = json.loads(json.dumps(payload))
        return plain


def protocol_of(words: Sequence[str], session: HydraSession) -> Protocol:
    """The protocol of these overrides; raises BadInput with one line for what the board decides by itself."""
    _check_words(words)
    own = (f"experiment={PRESET}", *words)
    values = session.values(own)
    _check_launcher(values.get("launcher") or {})
    told = dict(values.get("leaderboard") or {})
    listed = told.pop("activations", None) or []
    options = build(LeaderboardOptions, told, "leaderboard")
    options.rates()
    if options.seeds > FRESH_OFFSET:
        raise BadInput(f"leaderboard.seeds must be at most {FRESH_OFFSET}, or they meet the fresh ones")
    config = RunConfig.from_dict(values)
    if (
        config.data.num_samples is None
        or config.data.targets != "classes"
        or not config.model.uses_activation
    ):
        raise BadInput(
            f"a leaderboard needs labels, a finite N and a model with an activation, got data={config.data.kind}"
            f" model={config.model.kind}; use data=random_labels model=mlp"
        )
    # Also where a size sweeps it: a board has one N.
    samples = (
        ()
        if any(word.startswith(f"{SAMPLES}=") for word in words)
        else (f"{SAMPLES}={config.data.num_samples}",)
    )
    entries = tuple(entry_of(entry) for entry in listed)
    of_runs = tuple(word for word in own if word.lstrip("+").partition("=")[0] != "seed")
    return Protocol((*of_runs, *samples), config, options, entries)


def _check_words(words: Sequence[str]) -> None:
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        for decided, instead in DECIDED.items():
            if decided == key or (decided == GROUP and key.startswith(f"{GROUP}.")):
                raise BadInput(f"{word}: a leaderboard decides on {decided} itself; {instead}")


def _check_launcher(options: Mapping[str, Any]) -> None:
    for name, needed in IN_ROUNDS.items():
        if (got := options.get(name, needed)) != needed:
            raise BadInput(
                f"launcher.{name} must be {str(needed).lower()} for a leaderboard, got {str(got).lower()}: a round"
                " needs what the round before gave; leave it out"
            )


def study_of(protocol: Protocol, session: HydraSession) -> StudyFolder:
    """``study=``, else ``leaderboard`` for the protocol as it stands in conf and a name with a digest for any other."""
    outputs = Path(protocol.config.paths.outputs)
    if protocol.config.study is not None:
        return StudyFolder(outputs, protocol.config.study)
    fixed = protocol.fixed
    is_default = fixed == protocol_of((), session).fixed
    return StudyFolder(outputs, PRESET if is_default else f"{PRESET}-{digest(fixed)[:6]}")


def claimed(study: StudyFolder, protocol: Protocol) -> list[Entry]:
    """The candidates that earlier calls added to the study. BadInput where it is a board with another protocol, or no
    board at all: its runs would mix with these."""
    folder = study.path / FOLDER
    record = atomic.read_json(folder / FILE)
    if record is None:
        if study.read()["cells"]:
            raise BadInput(
                f"study={study.name} has runs of something else; use another study= for the leaderboard"
            )
        return []
    before, now = _flat(record["fixed"]), _flat(protocol.fixed)
    for key in (*now, *before):
        if before.get(key) != now.get(key):
            raise BadInput(
                f"study={study.name}: got {key}={now.get(key)}, but it is a leaderboard with {before.get(key)}, whose"
                " runs these would mix with; leave study= out, or use another"
            )
    found = (atomic.read_json(path) for path in sorted((folder / CANDIDATES).glob("*.json")))
    return [formula_entry(entry["formula"], entry["name"], entry["why"]) for entry in found if entry]


@contextmanager
def claiming(study: StudyFolder, protocol: Protocol, candidates: Sequence[Entry]) -> Iterator[None]:
    """A study that is a board, with these candidates, from before the first run on; where that run is refused, nothing
    is left of it."""
    folder, cells = study.path / FOLDER, study.read()["cells"]
    paths = [*(_candidate_path(folder, entry) for entry in candidates), folder / CANDIDATES, folder / FILE]
    absent = [path for path in (*paths, folder, *folder.parents) if not path.exists()]
    claim(study, protocol, candidates)
    try:
        yield
    except BadInput:
        if study.read()["cells"] == cells:  # no run is listed that was not before
            for path in absent:
                with suppress(OSError):  # a folder that holds more by now
                    path.rmdir() if path.is_dir() else path.unlink()
        raise


def claim(study: StudyFolder, protocol: Protocol, candidates: Sequence[Entry]) -> None:
    """Writes the protocol and a file for each candidate, so that two calls at one time both keep theirs."""
    folder = study.path / FOLDER
    with suppress(OSError):  # a folder that cannot be written is refused in the words of every sweep
        (folder / CANDIDATES).mkdir(parents=True, exist_ok=True)
        if not (folder / FILE).exists():
            atomic.write_json(folder / FILE, {"schema": SCHEMA, "fixed": protocol.fixed})
        for entry in candidates:
            record = {"name": entry.name, "formula": entry.formula, "why": entry.why}
            atomic.write_json(_candidate_path(folder, entry), record)


def _candidate_path(folder: Path, entry: Entry) -> Path:
    return folder / CANDIDATES / f"{digest(entry.key)[:12]}.json"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
