"""The bar on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from memcap.records import progress as module
from memcap.records.progress import Progress, si


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (999, "999"), (1234, "1.23k"), (5.6e6, "5.6M"), (7e9, "7G"), (1e13, "1e+04G")],
)
def test_si(value: float, text: str) -> None:
    assert si(value) == text


def test_counts_stand_in_a_fixed_order() -> None:
    progress = Progress(10, 6, quiet=True)
    for status in ("failed", "skipped", "finished", "finished", "diverged"):
        progress.count(status)
    assert progress.summary() == "2 finished, 1 skipped, 1 diverged, 1 failed"


def test_members_that_end_early_shorten_the_total() -> None:
    progress = Progress(100, 2, quiet=True)
    progress.advance(30)
    progress.advance(0, skipped=40)
    assert (progress.done, progress.total) == (30, 60)
    progress.advance(-30, -40)  # a population that is trained again
    assert (progress.done, progress.total) == (0, 100)


def test_without_a_terminal_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.0)
    with Progress(100, 4) as progress:
        progress.advance(25)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("memcap: 25%, ")
    assert "member-steps/s" in printed.err
    assert "0 finished of 4" in printed.err


def test_on_a_terminal_a_bar_with_rate_eta_and_counts() -> None:
    code = (
        "import time\n"
        "from memcap.records.progress import Progress\n"
        "with Progress(100, 3) as progress:\n"
        "    for _ in range(5):\n"
        "        progress.advance(10); time.sleep(0.1)\n"
        "    progress.count('diverged')\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, stdout=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # how Linux says that the other side is closed
            break
        if not block:
            break
        seen += block
    os.close(ours)
    assert process.wait() == 0
    text = seen.decode()
    assert "50%" in text
    assert "member-steps/s" in text
    assert "0:00:0" in text
    assert "1 diverged of 3" in text
