"""python -m memcap.show RUN_ID: what is recorded of one run, and the line that trains it again."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Sequence

from memcap.errors import BadInput
from memcap.records.sparkline import blocks_for

USAGE = "python -m memcap.show RUN_ID [--all] [--json] [paths.outputs=DIR]"
WIDEST = 120
PIPED_WIDTH = 80


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 shown, 2 no such run (said in one line)."""
    try:
        chosen = parse(sys.argv[1:] if arguments is None else arguments)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without ± gets a question mark
        show(chosen)
        sys.stdout.flush()
    except BadInput as error:
        print(f"memcap: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # | head
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def show(chosen: argparse.Namespace) -> None:
    """Prints the page of the run, or its result as JSON."""
    from memcap.records import atomic
    from memcap.study.find_run import find_run
    from memcap.study.run_page import run_page

    folder = find_run(chosen.run_id, chosen.outputs)
    if chosen.json:
        record = folder.read_result() or folder.read_failure()
        if record is None:
            raise BadInput(f"run {folder.run_id} is {folder.state()}, it has no result yet")
        print(atomic.strict_json(record, indent=1))
        return
    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, WIDEST) if terminal else PIPED_WIDTH
    titles = terminal and not os.environ.get("NO_COLOR")
    for line in run_page(
        folder, everything=chosen.all, width=width, blocks=blocks_for(getattr(sys.stdout, "encoding", None))
    ):
        print(f"\033[1m{line}\033[0m" if titles and line and not line.startswith(" ") else line)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """``paths.outputs=DIR`` is taken as every other command takes it; raises BadInput for what is not understood."""
    parser = argparse.ArgumentParser(usage=USAGE, description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "run_id", metavar="RUN_ID", help="a run id, its first 4 digits or more, or its folder"
    )
    parser.add_argument("--all", action="store_true", help="every key of the configuration")
    parser.add_argument(
        "--json", action="store_true", help="the record as it is: result.json, or failure.json"
    )
    parser.add_argument("--outputs", metavar="DIR", default="outputs", help="the same as paths.outputs=DIR")
    parser.error = _refuse  # type: ignore[method-assign, assignment]
    words = [
        f"--outputs={word.partition('=')[2]}" if word.startswith("paths.outputs=") else word
        for word in arguments
    ]
    return parser.parse_args(words)


def _refuse(message: str) -> None:
    raise BadInput(f"{message}; usage: {USAGE}")


if __name__ == "__main__":
    sys.exit(main())
