"""What checkpoints hold, as it is read without torch."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
from checkpoint_cases import MEMBERS, cells, checkpoints, train_until

from memcap.records.saved_steps import Saved, saved_steps


@pytest.mark.parametrize("engine", ["fused", "batched"])
def test_a_stopped_sweep_says_how_far_it_was_and_what_it_went_on_from(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = cells(tmp_path, f"hardware.engine={engine}")
    ids = [cell.run_id for cell in sweep]
    assert saved_steps(tmp_path / "outputs", ids) == {}
    assert train_until(20, sweep, monkeypatch) is None
    assert saved_steps(tmp_path / "outputs", [*ids, "0" * 12]) == dict.fromkeys(ids, Saved(20, 0))
    assert train_until(40, sweep, monkeypatch) is None
    assert saved_steps(tmp_path / "outputs", ids) == dict.fromkeys(ids, Saved(40, 20))
    assert train_until(100, sweep, monkeypatch) is not None
    assert saved_steps(tmp_path / "outputs", ids) == {}


def test_bytes_of_anything_hold_nothing_and_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = cells(tmp_path, members=MEMBERS[:1])
    assert train_until(20, sweep, monkeypatch) is None
    (path,) = checkpoints(tmp_path)
    whole = path.read_bytes()

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "evil"),)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"run_ids": [sweep[0].run_id], "step": Evil()}))
    assert saved_steps(tmp_path / "outputs", [sweep[0].run_id]) == {}
    assert not (tmp_path / "evil").exists()
    for torn in (whole[: len(whole) // 2], b"", whole[:100] + b"\0" * 200 + whole[300:]):
        path.write_bytes(torn)
        saved_steps(tmp_path / "outputs", [sweep[0].run_id])
