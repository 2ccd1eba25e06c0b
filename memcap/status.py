"""python -m memcap.status study=NAME: how far a study is, what runs where, and what failed.

From any machine that sees the outputs. Without study= and with one study, that one; with several, their list.

  study=NAME         the study
  paths.outputs=DIR  where it lies (outputs)
  --watch            again every 2 s until all has ended; Ctrl-C ends the watching, not the training
  --json             the same as JSON, with the state of every run
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Final

from memcap.errors import BadInput, Interrupted
from memcap.records.sparkline import blocks_for
from memcap.records.study_folder import StudyFolder
from memcap.study_command import Words, run_command, study_names, words_of

USAGE: Final = "python -m memcap.status [study=NAME] [--watch] [--json] [paths.outputs=DIR]"
WATCH_EVERY_S: Final = 2.0
WIDEST: Final = 120
PIPED_WIDTH: Final = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 shown, 2 no such study (said in one line), 130 watched until Ctrl-C."""
    return run_command(show, arguments, f"usage: {USAGE}\n\n{__doc__}")


def show(arguments: Sequence[str]) -> int:
    """Prints the page of the study, once or again and again."""
    words = words_of(arguments, USAGE, keys=("study",), flags=("--watch", "--json"))
    if "study" not in words.values and len(study_names(words.outputs)) > 1:
        _list(words)
        return 0
    study = words.study()
    if {"--watch", "--json"} <= words.flags:
        raise BadInput("--watch and --json do not go together: --json says once what is")
    if "--json" in words.flags:
        from memcap.records import atomic
        from memcap.submission.study_status import study_status

        print(atomic.strict_json(study_status(study).to_dict(), indent=1))
    elif "--watch" in words.flags:
        watch(study)
    else:
        print(*page(study)[0], sep="\n")
    return 0


def page(study: StudyFolder, encoding: str | None = None) -> tuple[list[str], bool]:
    """The lines, and whether anything is still under way."""
    from memcap.submission.status_page import status_lines
    from memcap.submission.study_status import study_status

    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, WIDEST) if terminal else PIPED_WIDTH
    status = study_status(study)
    blocks = blocks_for(encoding or getattr(sys.stdout, "encoding", None))
    return status_lines(status, width, blocks), status.live


def watch(study: StudyFolder) -> None:
    """In place on a terminal; elsewhere the page again whenever it has changed. Raises Interrupted on Ctrl-C."""
    try:
        if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            _watch_terminal(study)
        else:
            _watch_lines(study)
    except KeyboardInterrupt:
        raise Interrupted("the study goes on") from None


def _watch_terminal(study: StudyFolder) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    lines, live = page(study, console.encoding)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as view:
        while True:
            view.update(Text("\n".join(lines)), refresh=True)
            if not live:
                return
            time.sleep(WATCH_EVERY_S)
            lines, live = page(study, console.encoding)


def _watch_lines(study: StudyFolder) -> None:
    before: list[str] = []
    while True:
        lines, live = page(study)
        if lines != before:
            print(*lines, sep="\n", end="\n\n" if live else "\n", flush=True)
        if not live:
            return
        before = lines
        time.sleep(WATCH_EVERY_S)


def _list(words: Words) -> None:
    from memcap.study.overview import overview_lines

    print(*overview_lines(words.outputs), sep="\n")
    print("\nnext:   python -m memcap.status study=NAME")


if __name__ == "__main__":
    sys.exit(main())
