"""The client's own file of a run, read in two independent ways, and torn ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from wandb_cases import row, tracker
from wandb_files import read_wandb_file as read_independently

from memcap.records.wandb_file import has_run, read_wandb_file

NUM_ROWS = 400  # some blocks of 32 KiB


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("file")
    mirror = tracker(folder, tags=("a", "b"), notes="why", entity="team")
    run = mirror.start("abc", {"model": {"width": 3}, "seed": 1}, "a name")
    for k in range(NUM_ROWS):
        run.log(row(k))
    run.finish({"memory/bits": 5.0, "status": "finished"}, 0)
    mirror.close()
    (path,) = folder.glob("wandb/offline-run-*/run-abc.wandb")
    return path


def test_a_file_says_what_the_run_was_given(file: Path) -> None:
    found, other = read_wandb_file(file), read_independently(file)
    assert file.stat().st_size > 2 * 32 * 1024
    assert found.run_id == "abc"
    assert found.settings == {
        "project": "memcap", "entity": "team", "group": "widths", "job_type": "train", "name": "a name",
        "notes": "why", "tags": ("a", "b"),
    }  # fmt: skip
    assert found.config == other.config == {"model": {"width": 3}, "seed": 1}
    assert found.rows == other.history == [row(k) for k in range(NUM_ROWS)]
    assert found.summary == other.summary
    assert (found.summary["memory/bits"], found.exit_code) == (5.0, 0)


def test_a_torn_file_has_the_rows_before_the_tear(file: Path, tmp_path: Path) -> None:
    data, torn = file.read_bytes(), tmp_path / "torn.wandb"
    numbers = []
    for size in (7, 8, 20, 32 * 1024 - 1, 32 * 1024 + 3, len(data) * 2 // 3, len(data) - 1):
        torn.write_bytes(data[:size])
        found = read_wandb_file(torn)
        assert found.rows == [row(k) for k in range(len(found.rows))]
        assert found.exit_code is None or size == len(data) - 1
        assert has_run(torn) == (size > 1000)
        numbers.append(len(found.rows))
    assert numbers == sorted(numbers)
    assert 0 < numbers[3] < numbers[-1]


def test_another_file_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "other.wandb"
    path.write_bytes(b"something else that is long enough")
    assert not has_run(path)
