"""The bar on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections import Counter

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


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_reader_that_goes_away_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(sys, "stderr", Gone())
    with Progress(100, 4) as progress:
        progress.begin(2)
        progress.advance(50)
    assert progress.done == 50


def test_nothing_is_foretold_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.0)
    with Progress(100, 4) as progress:
        progress.begin(2)
        progress.advance(50)
    before, after = capsys.readouterr().err.splitlines()
    assert before == "memcap: 0%, 0 member-steps/s, 0 finished of 4"
    assert " s left, 0 finished of 4" in after


def test_nothing_is_foretold_from_the_first_steps_or_from_a_time_in_a_queue() -> None:
    progress = Progress(1000, 4, quiet=True)
    progress.advance(10)
    assert progress.left_s() is None
    progress.began -= 10
    assert progress.left_s() == pytest.approx(990, rel=0.01)
    waiting = Progress(1000, 4, quiet=True)
    waiting.began -= 3600
    waiting.tell(0, 1000, Counter())
    waiting.began -= 10
    waiting.tell(10, 1000, Counter())
    assert waiting.left_s() == pytest.approx(990, rel=0.01)


def test_the_rate_is_that_of_the_training() -> None:
    with Progress(100, 1, quiet=True) as progress:
        progress.advance(100)
    rate = progress.rate_per_s()
    time.sleep(0.05)
    assert progress.rate_per_s() == rate


def on_a_terminal(code: str, columns: int = 120) -> str:
    """All that a program writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
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
    assert process.wait() == 0, seen.decode()
    return seen.decode()


TRAINING = """
import sys, time
from memcap.records.progress import Progress
with Progress(100, 3) as progress:
    progress.begin(2)
    for step in range(5):
        for member in range(2):
            progress.show(member, {"train/step": step, "memory/bits": 10.0 * step + member, "train/loss_nats": 2.0})
        progress.advance(10); time.sleep(0.2)
        print("a warning", file=sys.stderr) if step == 2 else None
    progress.count('diverged')
"""


def test_on_a_terminal_a_bar_with_rate_eta_and_counts_and_a_curve() -> None:
    text = on_a_terminal(TRAINING)
    assert "50%" in text
    assert "member-steps/s" in text
    assert "0:00:0" in text
    assert "1 diverged of 3" in text
    assert "median 40.5, best 41.0  loss 2  step 4, 2 runs at once" in text
    assert "bits ▁▃▅▇█ " in text
    assert text.count("a warning") == 1


@pytest.mark.parametrize("columns", [30, 60])
def test_a_narrow_terminal_gets_lines_that_fit(columns: int) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_a_terminal(TRAINING, columns))
    assert "1 diverged of 3" in text
    assert "best 41.0" in text
    assert max(len(line.strip("\r")) for line in re.split(r"[\r\n]+", text)) <= columns


def test_in_a_log_file_there_is_no_view() -> None:
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "a warning\n")
