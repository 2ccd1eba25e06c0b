"""Which runs go on from a checkpoint, and how far they are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from memcap.checkpoint import Checkpoint, CheckpointRefused, checkpoint_path, circumstances
from memcap.config.cell import Cell
from memcap.config.run_config import RunConfig
from memcap.engines import BatchedEngine, Engine, build_engine
from memcap.engines.threads import all_threads, set_threads
from memcap.grouping import packs
from memcap.records.run_folder import RunFolder
from memcap.training import Training, fingerprint

ABANDONED_S = 3600.0  # a temporary file this old was left by a process that was killed while it wrote


class Resumption:
    """Runs that go on together from one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, cells: Sequence[Cell]) -> None:
        """Restores them; raises CheckpointRefused, or whatever a population of other data stumbles over."""
        self.checkpoint = checkpoint
        place = {run_id: i for i, run_id in enumerate(checkpoint.run_ids)}
        self.cells = sorted(cells, key=lambda cell: place[cell.run_id])
        members = [place[cell.run_id] for cell in self.cells]
        configs = [cell.config for cell in self.cells]
        self.engine = _engine_of(checkpoint, configs)
        training = Training.restored(configs, checkpoint.training_of(members))
        for i, member in enumerate(members):
            if fingerprint(training.population, i) != checkpoint.fingerprints[member]:
                raise CheckpointRefused("its data are drawn differently now")
        self._rows = {run_id: checkpoint.rows[i] for run_id, i in place.items()}
        self._training: Training | None = training

    def rows(self, run_id: str) -> int:
        """Lines of the run's history that belong to the checkpoint."""
        return self._rows[run_id]

    def is_of(self, folder: RunFolder) -> bool:
        """Whether the run, which is locked by now, still is where the checkpoint says."""
        if not folder.has_rows(self.rows(folder.run_id)):
            return False
        return self.checkpoint.token in _tokens(folder)

    def take(self, cells: Sequence[Cell]) -> tuple[Training, Engine]:
        """Hands the training of these of the runs over, once, with torch's threads set as they were."""
        assert self._training is not None
        training, self._training = self._training, None
        if len(cells) < len(self.cells):
            wanted = {cell.run_id for cell in cells}
            training.keep([i for i, cell in enumerate(self.cells) if cell.run_id in wanted])
            training.places = list(range(len(cells)))
        set_threads([cell.config for cell in cells])
        if cells[0].config.hardware.threads is None:
            torch.set_num_threads(min(self.checkpoint.num_threads, all_threads()))
        runs = "1 run goes on" if len(cells) == 1 else f"{len(cells)} runs go on"
        print(f"memcap: {runs} from step {training.population.step}", file=sys.stderr)
        return training, self.engine


def resumptions(cells: Sequence[Cell], outputs: Path) -> Iterator[Resumption]:
    """Packs of those runs that a checkpoint fits, restored one after the other; one line for each that is refused."""
    if not (outputs / "checkpoints").is_dir():
        return
    by_token: dict[str, list[Cell]] = {}
    for cell in cells:
        if (token := _usable_token(cell, outputs)) is not None:
            by_token.setdefault(token, []).append(cell)
    for token, named in by_token.items():
        path = checkpoint_path(outputs, token)
        try:
            checkpoint = Checkpoint.read(path)
            fitting = _fitting(checkpoint, named)
        except CheckpointRefused as error:
            _say_refused(path, len(named), error)
            continue
        for pack in packs(fitting):
            try:
                resumption = Resumption(checkpoint, pack)
            except Exception as error:  # bytes that were read can still be of anything
                _say_refused(path, len(pack), error)
                continue
            yield resumption
            del resumption  # its population may be as large as memory
    if by_token:
        remove_orphans(outputs)


def remove_orphans(outputs: Path) -> None:
    """Removes checkpoints that no unfinished run names any more, and what killed processes left half written."""
    for path in (outputs / "checkpoints").glob("*.pt"):
        with suppress(CheckpointRefused, OSError):
            checkpoint = Checkpoint.read(path, verify=False)
            folders = [RunFolder(outputs, run_id) for run_id in checkpoint.run_ids]
            if not checkpoint.keep and not any(path.stem in _tokens(folder) for folder in folders):
                path.unlink()
    for path in (outputs / "checkpoints").glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


def _tokens(folder: RunFolder) -> list[str]:
    """The checkpoints that the run's unfinished attempt names."""
    return [str(token) for token in (folder.unfinished() or {}).get("checkpoints", [])]


def _usable_token(cell: Cell, outputs: Path) -> str | None:
    """The checkpoint of the run's unfinished attempt, where there is one and the user does not want it anew.

    ``force=true`` begins anew what was not begun by force: it would not be forced otherwise, and a forced sweep that
    was interrupted goes on like any other.
    """
    folder = RunFolder(outputs, cell.run_id)
    if cell.config.force and not (folder.unfinished() or {}).get("forced", False):
        return None
    return next((token for token in _tokens(folder) if checkpoint_path(outputs, token).exists()), None)


def _fitting(checkpoint: Checkpoint, cells: Sequence[Cell]) -> list[Cell]:
    """Those of the runs that are in it, under the same circumstances, in its order; raises where there is none."""
    known = dict(zip(checkpoint.run_ids, checkpoint.circumstances, strict=True))
    inside = [cell for cell in cells if cell.run_id in known]
    if not inside:
        raise CheckpointRefused("it is of other runs")
    fitting = [cell for cell in inside if known[cell.run_id] == circumstances(cell.config)]
    if not fitting:
        raise CheckpointRefused("measures, device or code of your own have changed since")
    place = {run_id: i for i, run_id in enumerate(checkpoint.run_ids)}
    return sorted(fitting, key=lambda cell: place[cell.run_id])


def _engine_of(checkpoint: Checkpoint, configs: Sequence[RunConfig]) -> Engine:
    """The engine that trained so far, which ``hardware.engine`` must allow."""
    if configs[0].hardware.engine == "auto" and checkpoint.engine == BatchedEngine.name:
        return BatchedEngine()
    engine = build_engine(configs)
    if engine.name != checkpoint.engine:
        raise CheckpointRefused(f"the {checkpoint.engine} engine trained it, not the {engine.name} one")
    return engine


def _say_refused(path: Path, number: int, error: Exception) -> None:
    runs = "1 run starts" if number == 1 else f"{number} runs start"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    print(f"memcap: {runs} anew: {path} is not used: {reason}", file=sys.stderr)
