"""What docs/API.md shows runs as it stands there, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from memcap.study import Run

PAGE = (Path(__file__).parents[1] / "docs" / "API.md").read_text(encoding="utf-8")


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/API.md", "exec"), names)
    assert len(names["runs"]) == 48
    assert names["table"]["model.width"].tolist() == [4, 8, 16]
    assert names["laws"]["chosen"].sum() <= 3  # one for each count of parameters
    pattern = r"<Run (\w+) finished: bits ([0-9.]+), loss ([0-9.]+)>"
    shown, printed = re.search(pattern, PAGE), re.search(pattern, capsys.readouterr().out)
    assert shown is not None
    assert printed is not None
    assert printed[1] == shown[1]
    # Another machine's last digits are others.
    assert [float(text) for text in printed.groups()[1:]] == pytest.approx(
        [float(text) for text in shown.groups()[1:]], rel=1e-2
    )


def test_every_name_of_the_table_is_there() -> None:
    names = set(re.findall(r"`run\.(\w+)", PAGE))
    assert names >= {"model", "data", "weights", "history", "command"}
    assert [name for name in sorted(names) if not hasattr(Run, name)] == []
