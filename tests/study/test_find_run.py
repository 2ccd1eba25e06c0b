"""From what a person types to a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from memcap.errors import BadInput
from memcap.study.find_run import find_run

IDS = ("a25fab0743ae", "a25fab99ffff", "b1b2c3d4e5f6")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for run_id in IDS:
        (tmp_path / "runs" / run_id[:2] / run_id).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("text", ["b1b2", "B1B2C3", "b1b2c3d4e5f6", " b1b2 "])
def test_a_unique_prefix_is_enough(text: str, outputs: Path) -> None:
    assert find_run(text, outputs).run_id == IDS[2]


def test_a_folder_is_understood_wherever_it_lies(outputs: Path) -> None:
    folder = outputs / "runs" / "b1" / IDS[2]
    (folder / "result.json").touch()
    for path in (folder, str(folder), f"{folder}/", folder / "result.json"):
        found = find_run(path, "elsewhere")
        assert (found.run_id, found.path) == (IDS[2], folder)


def test_a_folder_is_understood_from_the_outputs(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(outputs)
    assert find_run(f"runs/b1/{IDS[2]}").path == Path("runs") / "b1" / IDS[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a25f", r"2 runs in .*runs begin with a25f: a25fab0743ae, a25fab99ffff; add a digit"),
        ("b1b", r"the first 4 may do, got 'b1b'"),
        ("../..", r"got '../..'"),
        ("*a25", r"got '\*a25'"),
        ("b1b3c3", r"no run in .*runs begins with b1b3c3 \(did you mean b1b2c3d4e5f6\?\)"),
        ("c1b2c3", r"did you mean b1b2c3d4e5f6"),
        ("00000000", r"begins with 00000000; .*index.jsonl has the ids of a study"),
    ],
)
def test_what_names_no_run(text: str, message: str, outputs: Path) -> None:
    with pytest.raises(BadInput, match=message):
        find_run(text, outputs)


def test_a_place_without_runs_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no runs: say where they are with paths.outputs=DIR"):
        find_run("a25f", tmp_path)
