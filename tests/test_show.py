"""python -m memcap.show: the page of a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compositions import composed_config

from memcap import cells as training
from memcap.config.cell import Cell
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import failure_record
from memcap.show import main

SMALL = (
    "budget.steps=20",
    "budget.check_every=10",
    "measure.points=4",
    "tracking=disabled",
    "data.num_samples=20",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was really trained."""
    outputs = tmp_path_factory.mktemp("show") / "outputs"
    config = composed_config(*SMALL, f"paths.outputs={outputs}", "study=first", "optimizer=adamw")
    (outcome,) = training.train_cells([Cell.from_values(config.to_dict())])
    return RunFolder(outputs, outcome.cell.run_id)


def page(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_a_page_has_everything_that_is_recorded(
    trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page(capsys, trained.run_id[:6], f"paths.outputs={trained.path.parents[2]}")
    result = trained.read_result()
    assert result is not None
    assert text.startswith(f"run {trained.run_id}  finished (its budget was spent), 20 steps, 1 attempt\n")
    for name in result["summary"]:
        family, _, leaf = name.rpartition("/")
        assert f"\n  {family or 'counts'}\n" in text
        # The error of a value stands beside it.
        assert (f"\n    {leaf} " in text) != leaf.endswith("_standard_error")
    for name in ("result.json", "history.jsonl", "weights.npz", "samples.npz", "config.yaml"):
        assert name in text
    assert result["provenance"]["data_fingerprint"] in text
    assert "\nstudies\n  first\n" in text
    assert "adamw" in text
    assert "memory/bits " in text
    assert "plateau_checks" not in text  # a way to stop that is off counts in no id
    assert "max_members" not in text
    assert "python -m memcap.train data.num_samples=20 optimizer=adamw " in text


def test_all_keys_are_shown_when_asked_for(trained: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    text = page(capsys, str(trained.path), "--all")
    assert "plateau_checks=20" in text
    assert "max_members=64" in text


def test_lines_fit_80_columns_where_words_do(trained: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    text = page(capsys, str(trained.path), "--all")
    body = text.split("\nfiles\n")[0]
    assert [line for line in body.splitlines() if len(line) > 80] == []


def test_the_record_as_json(trained: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(page(capsys, str(trained.path), "--json")) == trained.read_result()


def test_a_failed_run_shows_its_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = composed_config(*SMALL)
    cell = Cell.from_values(config.to_dict())
    folder = RunFolder(tmp_path, cell.run_id)
    folder.start(config.to_dict())
    folder.append({"train/step": 0, "memory/bits": None})
    try:
        raise ArithmeticError("one line\nand another")
    except ArithmeticError as error:
        folder.fail(failure_record(run_id=cell.run_id, error=error, attempts=1, config=config.to_dict()))
    text = page(capsys, cell.run_id, "--outputs", str(tmp_path))
    assert "failed, measured up to step 0, 1 attempt" in text
    assert "ArithmeticError: one line and another" in text
    assert 'raise ArithmeticError("one line\\nand another")' in text
    assert f"all of it: {folder.path / 'failure.json'}" in text
    assert "metrics" not in text


def test_a_killed_run_shows_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = composed_config(*SMALL, "model.width=3")
    folder = RunFolder(tmp_path, Cell.from_values(config.to_dict()).run_id)
    folder.start(config.to_dict())
    text = page(capsys, str(folder.path))
    assert "started, not finished" in text
    assert "width=3" in text
    assert "model.width=3" in text.split("\nagain\n")[1]
    assert main([str(folder.path), "--json"]) == 2
    assert "has no result yet" in capsys.readouterr().err


def test_a_record_of_other_code_says_so(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path, trained.run_id)
    shutil.copytree(trained.path, folder.path)
    result = json.loads((folder.path / "result.json").read_text())
    result["config"]["model"]["width"] += 1
    (folder.path / "result.json").write_text(json.dumps(result))
    assert "# the code has changed since: today this line is the run" in page(capsys, str(folder.path))
    result["config"]["model"]["kind"] = "gone"
    (folder.path / "result.json").write_text(json.dumps(result))
    assert "# today's code does not take this configuration: model.kind" in page(capsys, str(folder.path))


def test_mappings_of_the_record_are_words_and_paths_are_whole(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path, trained.run_id)
    shutil.copytree(trained.path, folder.path)
    result = json.loads((folder.path / "result.json").read_text())
    where = "/data/" + "a-long-name-with-hyphens/" * 3 + "wandb"
    result["provenance"]["wandb"] = {"id": "abc", "mode": "offline", "entity": None, "folder": where}
    result["provenance"]["measured"] = [{"time": "t", "parts": ["spectrum", "trace"]}]
    (folder.path / "result.json").write_text(json.dumps(result))
    text = page(capsys, str(folder.path))
    assert f"id abc, mode offline, folder\n              {where}\n" in text
    assert "measured    time t, parts spectrum trace\n" in text


@pytest.mark.parametrize("arguments", [[], ["--nothing"], ["a25f", "b25f"], ["a25f"]])
def test_bad_input_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, f"paths.outputs={tmp_path}"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("memcap: ")
    assert printed.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(trained: RunFolder) -> None:
    command = f"{sys.executable} -m memcap.show {trained.path} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"run {trained.run_id}")
    assert done.stderr == ""


def test_a_terminal_without_blocks_gets_ascii(trained: RunFolder) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memcap.show", str(trained.path)],
        capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    (curve,) = [line for line in done.stdout.splitlines() if line.startswith(b"  memory/bits ")]
    assert b"@" in curve
    assert b"?" not in curve
