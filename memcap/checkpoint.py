"""Checkpoints: one file from which the runs of a pack go on in the middle of their training.

``outputs/checkpoints/<token>.pt`` holds tensors, numbers, text, lists and dicts only, so reading one executes nothing.
The ``attempt.json`` of each run names the token. A file is written whole or not at all (``memcap.records.atomic``).
"""

from __future__ import annotations

import dataclasses
import secrets
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from memcap import __version__
from memcap.config.cell import Cell
from memcap.config.identity import digest
from memcap.config.implementation import own_sources
from memcap.config.run_config import RunConfig
from memcap.records import atomic
from memcap.training import Training, fingerprint

SCHEMA: Final = 1
PER_RUN: Final = ("run_ids", "rows", "fingerprints", "circumstances")


class CheckpointRefused(Exception):
    """This file cannot be gone on from; the message says why, in a few words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What is known of M runs at one step, in the order of the members."""

    token: str
    run_ids: list[str]
    rows: list[int]  # lines of each run's history.jsonl
    fingerprints: list[str]  # of each run's data
    circumstances: list[str]
    engine: str
    num_threads: int  # torch's, which sums in another order with another number
    wall_time_s: float  # of all attempts so far
    resumed_from_steps: list[int]
    keep: bool
    training: dict[str, Any]  # Training.saved: the first axis of each tensor is that of the members

    @property
    def step(self) -> int:
        return int(self.training["population"]["step"])

    def write(self, path: Path) -> None:
        """Puts the file in place; raises OSError or, out of torch's archive, RuntimeError when the disk is full."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        with atomic.replacing(path) as file:
            torch.save({"schema": SCHEMA, "memcap": __version__, **fields}, file)

    @classmethod
    def read(cls, path: Path, *, verify: bool = True) -> Checkpoint:
        """The content of a file; raises CheckpointRefused. ``verify=False`` reads only what is looked at."""
        content = _content(path, verify)
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise CheckpointRefused("it is no checkpoint, or one of another schema")
        if content.get("memcap") != __version__:
            raise CheckpointRefused(f"it is of memcap {content.get('memcap')}, this is {__version__}")
        fields = {field.name for field in dataclasses.fields(cls)}
        if content.keys() != fields | {"schema", "memcap"}:
            raise CheckpointRefused("it lacks what a checkpoint has")
        checkpoint = cls(**{name: content[name] for name in fields})
        lengths = {len(value) for name in PER_RUN if isinstance(value := content[name], list)}
        if checkpoint.token != path.stem or lengths != {len(checkpoint.run_ids)}:
            raise CheckpointRefused("it contradicts itself")
        return checkpoint

    def training_of(self, members: Sequence[int]) -> dict[str, Any]:
        """What was saved of some of the members, in this order."""
        index = torch.tensor(list(members))

        def chosen(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: chosen(inner) for name, inner in value.items()}
            return value[index] if isinstance(value, torch.Tensor) else value

        return dict(chosen(self.training))


def _content(path: Path, verify: bool) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            if verify and archive.testzip() is not None:  # torch does not compare checksums
                raise CheckpointRefused("its checksum is wrong")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=not verify)
    except CheckpointRefused:
        raise
    except Exception as error:  # whatever zip, pickle and torch find wrong with bytes that may be anything
        raise CheckpointRefused(f"it is torn, or no checkpoint ({type(error).__name__})") from None


def circumstances(config: RunConfig) -> str:
    """A digest of what is not in the run's id and still has to be the same for a training to go on."""
    measure = dataclasses.asdict(config.measure)
    return digest([measure, dataclasses.asdict(config.budget), config.hardware.device, own_sources(config)])


def checkpoint_path(outputs: Path, token: str) -> Path:
    return outputs / "checkpoints" / f"{token}.pt"


class PackCheckpoint:
    """The checkpoint of a pack that trains: when it is due, what it says, and when it goes away."""

    def __init__(self, cells: Sequence[Cell], outputs: Path, begun: Checkpoint | None = None) -> None:
        self.config = cells[0].config.checkpoint
        self.outputs, self.begun = outputs, begun
        self.token = secrets.token_hex(6)
        self.rows: dict[str, int] = {}  # of the runs that have begun, so far
        self.resumed_from_steps = [*begun.resumed_from_steps, begun.step] if begun else []
        self._fingerprints: dict[str, str] = {}
        self._started = self._last_look = time.monotonic()
        self._has_failed = False

    @property
    def tokens(self) -> list[str]:
        """Where a run of this pack goes on from, the first that is there."""
        return [self.token, *([self.begun.token] if self.begun else [])]

    @property
    def wall_time_s(self) -> float:
        """Since the runs were begun, in all attempts that have led here."""
        return time.monotonic() - self._started + (self.begun.wall_time_s if self.begun else 0.0)

    @property
    def is_due(self) -> bool:
        minutes = self.config.minutes
        return minutes is not None and time.monotonic() - self._last_look >= 60 * minutes

    def save(self, cells: Sequence[Cell], training: Training, engine: str) -> bool:
        """Writes the members that are left, whose cells these are; a disk that is full costs one line, no run."""
        try:
            self._checkpoint(cells, training, engine).write(checkpoint_path(self.outputs, self.token))
        except (OSError, RuntimeError) as error:
            if not self._has_failed:
                said = " ".join(str(error).split())[:200]
                print(f"memcap: no checkpoint: it could not be written: {said}", file=sys.stderr)
            self._has_failed = True
            return False
        finally:
            self._last_look = time.monotonic()
        self._remove_begun()
        return True

    def remove(self) -> None:
        """Takes the files away that nobody needs any more, since the runs of the pack have ended."""
        if not self.config.keep:
            _unlink(checkpoint_path(self.outputs, self.token))
            self._remove_begun()

    def _remove_begun(self) -> None:
        """What this pack went on from, unless it holds other runs as well."""
        if self.begun is not None and self.rows.keys() >= set(self.begun.run_ids):
            _unlink(checkpoint_path(self.outputs, self.begun.token))

    def _checkpoint(self, cells: Sequence[Cell], training: Training, engine: str) -> Checkpoint:
        for member, cell in enumerate(cells):
            if cell.run_id not in self._fingerprints:
                self._fingerprints[cell.run_id] = fingerprint(training.population, member)
        return Checkpoint(
            token=self.token,
            run_ids=[cell.run_id for cell in cells],
            rows=[self.rows[cell.run_id] for cell in cells],
            fingerprints=[self._fingerprints[cell.run_id] for cell in cells],
            circumstances=[circumstances(cell.config) for cell in cells],
            engine=engine,
            num_threads=torch.get_num_threads(),
            wall_time_s=self.wall_time_s,
            resumed_from_steps=self.resumed_from_steps,
            keep=self.config.keep,
            training=training.saved(),
        )


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        print(f"memcap: {path} could not be removed: {error}", file=sys.stderr)
