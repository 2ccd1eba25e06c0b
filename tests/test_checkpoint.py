"""A sweep that is stopped anywhere goes on from there, and leaves what an uninterrupted one leaves, bit for bit."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from checkpoint_cases import MEMBERS, cells, checkpoints, provenance, records, steps, train_until

from memcap.cells import train_cells
from memcap.checkpoint import Checkpoint
from memcap.config.cell import Cell
from memcap.records.run_folder import RunFolder

FUSED = {
    "full batch, float32": ("hardware.dtype=float32",),
    "mini-batches, float64": ("hardware.dtype=float64", "data.batch_size=5", "optimizer=sgd", "schedule=cosine"),
    "early ends": (
        *("budget.stop=either", "budget.check_every=7", "budget.steps=200", "optimizer.learning_rate=0.05"),
        *("model.width=12", "schedule=wsd"),
    ),
    "everything measured": (
        *("measure=everything", "measure.points=5", "measure.spectrum=false", "budget.steps=40"),
        *("optimizer=adamw", "activation=tanh"),
    ),
}  # fmt: skip
BATCHED = {
    "autoencoder, fresh samples": (
        *("data=sparse_features", "model=autoencoder", "objective=squared_error", "data.num_samples=null"),
        *("data.num_features=5", "data.batch_size=8", "data.evaluation_samples=16"),
    ),
    "early end of the longest": (
        *("hardware.engine=batched", "hardware.dtype=float64", "measure=light", "data.input_dim=20"),
        *("model.width=8", "data.num_classes=10", "budget.stop=either", "budget.check_every=7"),
    ),
    "line_search": ("optimizer=lbfgs", "hardware.dtype=float32"),
    "float32": ("hardware.engine=batched", "hardware.dtype=float32", "data.batch_size=5"),
}
# What the population of each is made of, where not of three members with samples of their own.
OWN_MEMBERS = {
    "autoencoder, fresh samples": tuple((f"seed={seed}",) for seed in range(3)),
    "early end of the longest": (
        ("seed=0", "data.num_samples=30", "optimizer.learning_rate=0.001"),
        ("seed=1", "data.num_samples=40", "optimizer.learning_rate=0.001"),
        ("seed=2", "data.num_samples=41", "optimizer.learning_rate=0.1"),
    ),
}


def of_case(case: str, folder: Path) -> list[Cell]:
    overrides = {**FUSED, **BATCHED}[case]
    return cells(folder, *overrides, members=OWN_MEMBERS.get(case, MEMBERS))


@pytest.mark.parametrize("case", [*FUSED, *BATCHED])
def test_stopped_at_random_steps_it_leaves_the_same_bits(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = of_case(case, tmp_path / "undisturbed")
    assert {outcome.status for outcome in train_cells(undisturbed)} == {"finished"}
    expected, engine = records(undisturbed), provenance(undisturbed[0])["engine"]
    assert engine == ("fused" if case in FUSED else "batched")
    last = max(steps(cell) for cell in undisturbed)
    if case == "early end of the longest":
        assert steps(undisturbed[-1]) <= last / 2
    moments = random.Random(case)
    for number in range(5):
        folder = tmp_path / str(number)
        sweep = of_case(case, folder)
        step = moments.randrange(last - 1)
        assert train_until(step, sweep, monkeypatch) is None
        assert len(checkpoints(folder)) == 1
        capsys.readouterr()
        assert {outcome.status for outcome in train_cells(sweep)} <= {"finished", "skipped"}
        assert f"from step {step}\n" in capsys.readouterr().err
        assert records(sweep) == expected
        assert checkpoints(folder) == []


def test_it_goes_on_more_than_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed, sweep = cells(tmp_path / "undisturbed"), cells(tmp_path)
    train_cells(undisturbed)
    for step in (5, 5, 23, 40):
        assert train_until(step, sweep, monkeypatch) is None
        assert len(checkpoints(tmp_path)) == 1
    train_cells(sweep)
    assert records(sweep) == records(undisturbed)
    found = provenance(sweep[1])
    assert found["resumed_from_steps"] == [5, 5, 23, 40]
    assert found["attempts"] == 5
    assert "resumed_from_steps" not in provenance(undisturbed[1])


def test_a_run_alone_goes_on_from_the_checkpoint_of_its_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batched = ("hardware.engine=batched", "hardware.dtype=float64", "measure=light")
    undisturbed, sweep = cells(tmp_path / "undisturbed", *batched), cells(tmp_path, *batched)
    train_cells(undisturbed)
    assert train_until(30, sweep, monkeypatch) is None
    (alone,) = train_cells(sweep[:1])
    expected = RunFolder(tmp_path / "undisturbed" / "outputs", sweep[0].run_id).read_result()
    assert expected is not None
    assert alone.summary == pytest.approx(expected["summary"], rel=1e-9, abs=1e-12)
    assert provenance(sweep[0])["resumed_from_steps"] == [30]
    assert len(checkpoints(tmp_path)) == 1  # the others go on from it
    train_cells(sweep)
    for cell in sweep[1:]:
        found = RunFolder(tmp_path / "outputs", cell.run_id).read_history()
        wanted = RunFolder(tmp_path / "undisturbed" / "outputs", cell.run_id).read_history()
        for row, reference in zip(found, wanted, strict=True):
            assert row == pytest.approx(reference, rel=1e-9, abs=1e-12)
        assert provenance(cell)["resumed_from_steps"] == [30]


def test_packs_that_are_cut_otherwise_go_on_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed, sweep = cells(tmp_path / "undisturbed", "measure=light"), cells(tmp_path, "measure=light")
    train_cells(undisturbed)
    assert train_until(30, sweep, monkeypatch) is None
    assert train_until(45, cells(tmp_path, "measure=light", "hardware.max_members=2"), monkeypatch) is None
    train_cells(sweep)
    assert [provenance(cell)["resumed_from_steps"] for cell in sweep] == [[30, 45], [30, 45], [30]]
    weights = [{run_id: run["arrays"] for run_id, run in records(of).items()} for of in (sweep, undisturbed)]
    assert weights[0] == weights[1]  # the fused engine's, whatever the pack
    assert checkpoints(tmp_path) == []


def test_a_forced_attempt_goes_on_beside_the_finished_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, forced = cells(tmp_path), cells(tmp_path, "force=true")
    train_cells(sweep)
    expected = records(sweep)
    assert train_until(30, forced, monkeypatch) is None
    assert records(sweep) == expected
    assert {outcome.status for outcome in train_cells(sweep)} == {"skipped"}
    train_cells(forced)
    assert records(sweep) == expected
    assert provenance(sweep[0])["resumed_from_steps"] == [30]
    assert provenance(sweep[0])["attempts"] == 3
    assert train_until(30, cells(tmp_path, "seed=5", members=((),)), monkeypatch) is None
    train_cells(anew := cells(tmp_path, "seed=5", "force=true", members=((),)))
    assert "resumed_from_steps" not in provenance(anew[0])


def test_what_it_costs_in_time_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = cells(tmp_path)
    assert train_until(30, sweep, monkeypatch) is None
    noted = json.loads((RunFolder(tmp_path / "outputs", sweep[0].run_id).path / "attempt.json").read_text())
    (path,) = checkpoints(tmp_path)
    assert noted["checkpoints"][0] == path.stem
    before_s = Checkpoint.read(path).wall_time_s
    train_cells(sweep)
    assert provenance(sweep[0])["wall_time_s"] > before_s > 0


def test_it_is_kept_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = cells(tmp_path, "checkpoint.keep=true")
    assert train_until(30, sweep, monkeypatch) is None
    kept = checkpoints(tmp_path)
    train_cells(sweep)
    assert train_until(10, cells(tmp_path, members=(("seed=7",),)), monkeypatch) is None
    train_cells(cells(tmp_path, members=(("seed=7",),)))
    assert checkpoints(tmp_path) == kept


def test_a_short_sweep_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoint, "write", lambda *_: pytest.fail("a checkpoint was written"))
    train_cells(cells(tmp_path))
    assert not (tmp_path / "outputs" / "checkpoints").exists()
