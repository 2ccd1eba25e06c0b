"""Checkpoint files that cannot be used are refused with one line, and their runs start anew."""

from __future__ import annotations

import os
import pickle
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_cases import cells, checkpoints, provenance, records, train_until

from memcap import checkpoint as module
from memcap.cells import train_cells
from memcap.checkpoint import Checkpoint, CheckpointRefused
from memcap.config.cell import Cell
from memcap.records.run_folder import RunFolder
from memcap.resumption import remove_orphans

LIGHT = ("measure=light",)


class Bomb:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Cell], Path]:
    """A sweep that was stopped at step 30, and its checkpoint."""
    sweep = cells(tmp_path, *LIGHT)
    assert train_until(30, sweep, monkeypatch) is None
    (path,) = checkpoints(tmp_path)
    return sweep, path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    sweep = cells(tmp_path_factory.mktemp("undisturbed"), *LIGHT)
    train_cells(sweep)
    return records(sweep)


def rewritten(**changed: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        torch.save({**content, **changed}, path)

    return change


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(Checkpoint.read(path).training["population"]["parameters_MP"].numpy().tobytes())
    content[at] ^= 1
    path.write_bytes(content)


def explode(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    torch.save({**content, "engine": Bomb(path.with_name("exploded"))}, path)


def other_parameters(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["training"]["population"]["parameters_MP"] = torch.zeros(3, 2)
    torch.save(content, path)


UNUSABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "torn": (lambda path: os.truncate(path, path.stat().st_size // 2), "it is torn"),
    "empty": (lambda path: path.write_bytes(b""), "it is torn"),
    "a flipped bit": (flip_a_bit, "its checksum is wrong"),
    "a bomb": (explode, "it is torn, or no checkpoint (UnpicklingError)"),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb(path.with_name("exploded")))), "it is torn"),
    "another schema": (rewritten(schema=0), "another schema"),
    "another version": (rewritten(memcap="0.0.1"), "it is of memcap 0.0.1"),
    "other runs": (rewritten(run_ids=["a", "b", "c"]), "it is of other runs"),
    "other data": (rewritten(fingerprints=["a", "b", "c"]), "its data are drawn differently now"),
    "too little": (rewritten(rows=[1]), "it contradicts itself"),
    "more": (rewritten(more=1), "it lacks what a checkpoint has"),
    "another engine": (rewritten(engine="other"), "the other engine trained it, not the fused one"),
    "other shapes": (other_parameters, "have another shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_cannot_be_used_is_refused_and_the_runs_start_anew(
    case: str, stopped: tuple[list[Cell], Path], expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep, path), (spoil, reason) = stopped, UNUSABLE[case]
    spoil(path)
    capsys.readouterr()
    assert {outcome.status for outcome in train_cells(sweep)} == {"finished"}
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "anew" in line]
    assert line.startswith(f"memcap: 3 runs start anew: {path} is not used: ")
    assert reason in line
    assert records(sweep) == expected
    assert "resumed_from_steps" not in provenance(sweep[0])
    assert not path.with_name("exploded").exists()


def test_the_bomb_would_explode(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("overrides", [("measure.points=7",), ("hardware.engine=batched",)])
def test_other_circumstances_start_anew(
    overrides: tuple[str, ...], stopped: tuple[list[Cell], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = stopped
    sweep = cells(path.parents[2], *LIGHT, *overrides)
    assert {outcome.status for outcome in train_cells(sweep)} == {"finished"}
    assert "3 runs start anew" in capsys.readouterr().err
    assert "resumed_from_steps" not in provenance(sweep[0])


def test_a_history_that_lost_rows_starts_its_run_anew(
    stopped: tuple[list[Cell], Path], expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, path = stopped
    os.truncate(RunFolder(path.parents[1], sweep[0].run_id).path / "history.jsonl", 10)
    train_cells(sweep)
    assert ["resumed_from_steps" in provenance(cell) for cell in sweep] == [False, True, True]
    assert (
        "memcap: 1 run starts anew: history.jsonl has fewer rows than the checkpoint\n"
        in capsys.readouterr().err
    )
    for run_id, run in records(sweep).items():
        assert run["arrays"] == expected[run_id]["arrays"]
        assert run["rows"].count("train/step") == expected[run_id]["rows"].count("train/step")


def test_rows_after_the_checkpoint_are_written_again(
    stopped: tuple[list[Cell], Path], expected: dict[str, Any]
) -> None:
    sweep, path = stopped
    for cell in sweep:
        with open(RunFolder(path.parents[1], cell.run_id).path / "history.jsonl", "ab") as file:
            file.write(b'{"train/step": 59}\n{"train/st')
    train_cells(sweep)
    assert records(sweep) == expected
    assert provenance(sweep[0])["resumed_from_steps"] == [30]


def test_a_run_that_failed_starts_anew(stopped: tuple[list[Cell], Path]) -> None:
    sweep, path = stopped
    RunFolder(path.parents[1], sweep[0].run_id).fail({"error": "disk", "failures": 1, "attempts": 1})
    train_cells(sweep)
    assert ["resumed_from_steps" in provenance(cell) for cell in sweep] == [False, True, True]


def test_a_full_disk_costs_a_line_and_no_run(
    tmp_path: Path,
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = Checkpoint.write

    def write(checkpoint: Checkpoint, path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # the system refuses what is larger
        try:
            real(checkpoint, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(Checkpoint, "write", write)
    sweep = cells(tmp_path, *LIGHT, "checkpoint.minutes=1e-9")
    assert {outcome.status for outcome in train_cells(sweep)} == {"finished"}
    assert records(sweep) == expected
    assert capsys.readouterr().err.count("memcap: no checkpoint: it could not be written: ") == 1
    assert checkpoints(tmp_path) == []


def test_they_are_written_on_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    real = Checkpoint.write

    def write(checkpoint: Checkpoint, path: Path) -> None:
        real(checkpoint, path)
        written.append(Checkpoint.read(path).step)

    monkeypatch.setattr(Checkpoint, "write", write)
    train_cells(cells(tmp_path, *LIGHT, "checkpoint.minutes=1e-9"))
    assert written[0] == 0
    assert written == sorted(set(written))
    assert checkpoints(tmp_path) == []
    written.clear()
    train_cells(cells(tmp_path, *LIGHT, "checkpoint.minutes=null", "force=true"))
    assert written == []


def test_orphans_go_and_others_stay(stopped: tuple[list[Cell], Path]) -> None:
    sweep, path = stopped
    orphan, kept = path.with_name("0123456789ab.pt"), path.with_name("0123456789ac.pt")
    content = torch.load(path, weights_only=True)
    torch.save({**content, "token": orphan.stem}, orphan)
    torch.save({**content, "token": kept.stem, "keep": True}, kept)
    (foreign := path.with_name("foreign.pt")).write_bytes(b"somebody's")
    (fresh := path.with_name(".fresh.pt.1.tmp")).write_bytes(b"half")
    (left := path.with_name(".left.pt.1.tmp")).write_bytes(b"half")
    os.utime(left, (time.time() - 1e5,) * 2)
    remove_orphans(path.parents[1])
    assert set(path.parent.iterdir()) == {path, kept, foreign, fresh}
    train_cells(sweep)
    assert set(path.parent.iterdir()) == {kept, foreign, fresh}


def test_nothing_but_plain_values_is_in_it(stopped: tuple[list[Cell], Path]) -> None:
    _, path = stopped

    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict):
            return set().union(*map(kinds, value), *map(kinds, value.values())) if value else set()
        return set().union(*map(kinds, value)) if isinstance(value, list) and value else {type(value)}

    assert kinds(torch.load(path, weights_only=True)) <= {torch.Tensor, str, int, float, bool, list}
    with pytest.raises(CheckpointRefused, match="torn"):
        Checkpoint.read(path.with_name("absent.pt"))
    assert module.SCHEMA == 1
