"""One W&B run for a study, its table, and the charts of runs, read back from the client's own files."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb_cases
from wandb_cases import train, train_here
from wandb_files import OfflineRun, offline_runs
from wandb_server import Server, running_server

from memcap.pack_recorder import PackRecorder
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.wandb_charts import charts
from memcap.records.wandb_ids import used_ids
from memcap.training import MemberResult

SWEEP = ("study=s", "tracking.per=study", "-m", "model.width=3,4", "seed=0,1")


def table(folder: Path, row: dict[str, Any], key: str) -> dict[str, Any]:
    """The content of a table that was logged: ``columns`` and ``data``."""
    (file,) = folder.glob(f"wandb/*run-*/files/{row[f'{key}.path']}")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert row[f"{key}.nrows"] == len(content["data"])
    return content


def results(folder: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(path.read_bytes()) for path in folder.glob("outputs/runs/*/*/result.json")]
    return {record["run_id"]: record for record in records}


def test_a_study_is_one_run_with_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "outputs" / "studies" / "s"
    assert train_here(monkeypatch, tmp_path, *SWEEP, "tracking.mode=offline", "tracking.max_runs=1") == 0
    ((wandb_id, run),) = offline_runs(study).items()
    assert (run.name, run.group, run.exit_code) == ("s", "s", 0)
    assert run.config["data"]["num_samples"] == 8
    assert "width" not in run.config["model"]
    assert "seed" not in run.config
    assert run.config["swept"] == ["seed", "model.width"]
    assert run.step_metrics == {"*": "study/ended"}
    content = table(study, run.history[-1], "study/cells")
    assert content["columns"][:3] == ["run_id", "seed", "model.width"]
    records = results(tmp_path)
    cells = {values[0]: dict(zip(content["columns"], values, strict=True)) for values in content["data"]}
    assert sorted(cells) == sorted(records)
    for run_id, cell in cells.items():
        record = records[run_id]
        assert cell["model.width"] == record["config"]["model"]["width"]
        assert cell["memory/bits"] == record["summary"]["memory/bits"]
        assert (cell["status"], cell["num_samples"]) == ("finished", 8)
        assert record["provenance"]["wandb"]["id"] == wandb_id
    assert run.summary["finished"] == 4
    assert run.summary["bits_best"] == max(cell["memory/bits"] for cell in cells.values())
    assert used_ids(study) == [wandb_id]


def test_every_command_that_trains_makes_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "outputs" / "studies" / "s"
    offline = ("tracking.mode=offline", "tracking.per=study", "study=s", "-m")
    assert train_here(monkeypatch, tmp_path, *offline, "seed=0,1") == 0
    assert train_here(monkeypatch, tmp_path, *offline, "seed=0,1") == 0  # nothing to train: no run
    assert train_here(monkeypatch, tmp_path, *offline, "seed=0,1,2") == 0
    runs = offline_runs(study)
    assert sorted(runs) == sorted(used_ids(study))
    assert len(runs) == 2
    second = runs[used_ids(study)[1]]
    assert (second.summary["finished"], second.summary["skipped"]) == (1, 2)
    content = table(study, second.history[-1], "study/cells")
    assert len(content["data"]) == 3, "with what was finished before"


def test_a_sweep_that_continues_has_every_cell_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "outputs" / "studies" / "s"
    one_by_one = (*SWEEP, "tracking.mode=offline", "hardware.max_members=1")
    with monkeypatch.context() as patch:
        on_end = PackRecorder.on_end

        def stopped(self: PackRecorder, member: int, result: MemberResult) -> None:
            on_end(self, member, result)
            if len(results(tmp_path)) == 2:
                raise KeyboardInterrupt

        patch.setattr(PackRecorder, "on_end", stopped)
        assert train_here(patch, tmp_path, *one_by_one) == 130
    with monkeypatch.context() as patch:
        start = PackRecorder.start

        def continued(self: PackRecorder) -> None:
            self.rows_before = {cell.run_id: [{"train/step": 0}] for cell in self.pack}
            start(self)

        patch.setattr(PackRecorder, "start", continued)
        assert train_here(patch, tmp_path, *one_by_one) == 0
    runs = offline_runs(study)
    first, second = (runs[wandb_id] for wandb_id in used_ids(study))
    assert (first.exit_code, second.exit_code) == (130, 0)
    for run, number in ((first, 2), (second, 4)):
        content = table(study, run.history[-1], "study/cells")
        ids = [row[0] for row in content["data"]]
        assert len(ids) == len(set(ids)) == number
        ended = [row["study/ended"] for row in run.history]
        assert ended == sorted(ended)
    assert sorted(ids) == sorted(results(tmp_path))


def test_a_run_that_another_process_finishes_is_a_row_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train_here(monkeypatch, tmp_path, "tracking=disabled", "study=theirs", "seed=1") == 0
    (path,) = tmp_path.glob("outputs/runs/*/*/result.json")
    path.rename(tmp_path / "result.json")
    owner = Owner(tmp_path / "outputs")
    lock = FolderLock(path.parent, owner)
    assert lock.acquire()

    def finish() -> None:
        (tmp_path / "result.json").rename(path)
        lock.release()

    theirs = threading.Timer(2.0, finish)
    theirs.start()
    study = tmp_path / "outputs" / "studies" / "s"
    offline = ("tracking.mode=offline", "tracking.per=study", "study=s", "-m", "seed=0,1")
    assert train_here(monkeypatch, tmp_path, *offline) == 0
    theirs.join()
    owner.close()
    (run,) = offline_runs(study).values()
    assert (run.summary["finished"], run.summary["skipped"], run.exit_code) == (1, 1, 0)
    content = table(study, run.history[-1], "study/cells")
    bits = content["columns"].index("memory/bits")
    assert [row[bits] for row in content["data"] if row[0] == path.parent.name] == [
        results(tmp_path)[path.parent.name]["summary"]["memory/bits"]
    ]


def test_without_bits_there_are_no_best_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "outputs" / "studies" / "s"
    preset = ("experiment=sparse_autoencoder", "data.num_samples=20", "data.batch_size=null", "study=s")
    monkeypatch.setattr(wandb_cases, "SMALL", ("budget.steps=20", "measure.points=3", "measure=light"))
    assert train_here(monkeypatch, tmp_path, *preset, "tracking.mode=offline", "tracking.per=study") == 0
    (run,) = offline_runs(study).values()
    assert run.summary["finished"] == 1
    assert run.summary["bits_best"] is None


@pytest.fixture
def server() -> Any:
    with running_server() as server:
        yield server


def test_a_study_goes_online(server: Server, tmp_path: Path) -> None:
    done = train(tmp_path, *SWEEP, url=server.url)
    assert done.returncode == 0
    ((wandb_id, run),) = server.runs.items()
    assert run["exit"] == 0
    assert run["summary"]["finished"] == 4
    assert run["rows"][-1]["study/cells"]["nrows"] == 4
    assert f"W&B:    {server.url}/someone/memcap/runs/{wandb_id}\n" in done.stdout


# -- charts -------------------------------------------------------------------------------------------


def chart_row(folder: Path) -> tuple[Path, OfflineRun, dict[str, Any]]:
    study = folder / "outputs" / "studies" / "s"
    (run,) = offline_runs(study).values()
    return study, run, run.history[-1]


def test_tables_hold_the_samples_and_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("tracking.mode=offline", "tracking.charts=tables", "measure.samples=true", "study=s")
    assert train_here(monkeypatch, tmp_path, *chosen) == 0
    study, run, row = chart_row(tmp_path)
    samples = table(study, row, "charts/samples")
    (folder,) = tmp_path.glob("outputs/runs/*/*")
    with np.load(folder / "samples.npz") as kept:
        assert samples["columns"] == ["sample", *kept.files]
        columns = dict(zip(samples["columns"], zip(*samples["data"], strict=True), strict=True))
        for name in kept.files:
            np.testing.assert_array_equal(np.array(columns[name]), kept[name])
    weights = {line[0]: line[1:] for line in table(study, row, "charts/weights")["data"]}
    with np.load(folder / "weights.npz") as kept:
        assert {name: values[0] for name, values in weights.items()} == {n: kept[n].size for n in kept.files}
        for name in kept.files:
            mean, std, largest = kept[name].mean(), kept[name].std(), np.abs(kept[name]).max()
            np.testing.assert_allclose(weights[name][1:], [mean, std, largest], rtol=1e-6)
    assert row["train/step"] == run.history[-2]["train/step"] == 20
    assert run.summary["status"] == "finished"


def test_images_are_small_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("tracking.mode=offline", "tracking.charts=images", "measure.samples=true", "study=s")
    assert train_here(monkeypatch, tmp_path, *chosen) == 0
    study, _, row = chart_row(tmp_path)
    for name in ("charts/samples", "charts/weights"):
        (file,) = study.glob(f"wandb/offline-run-*/files/{row[f'{name}.path']}")
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size < 50_000


def test_charts_of_what_is_not_finite_and_of_nothing() -> None:
    arrays = {
        "samples": {"final_loss": np.array([np.nan, 1.0, np.inf])},
        "weights": {"w": np.full((2, 2), np.nan)},
    }
    assert charts("none", arrays) == {}
    assert charts("tables", {"samples": {}, "weights": {}}) == {}
    assert list(charts("images", arrays)) == ["charts/samples", "charts/weights"]
    assert (
        len(charts("tables", {"samples": {"final_loss": np.zeros(10_001)}})["charts/samples"].data) == 10_000
    )
