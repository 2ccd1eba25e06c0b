"""python -m memcap.leaderboard: which activation stores most bits, each at its own best learning rate."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from memcap.cells import command_line
from memcap.errors import BadInput
from memcap.leaderboard.board import Asked, rank
from memcap.study_command import run_command

USAGE = """python -m memcap.leaderboard                              trains what is missing, prints the ranking
       python -m memcap.leaderboard 'FORMULA' [name=NAME]     adds a candidate, as in 'x*sin(3*x)'

  name=NAME why=TEXT            what the candidate is called, and why it is tried
  only=relu,silu                ranks these, and the candidate
  study=NAME                    the study that keeps the runs (leaderboard; of another protocol: a name of its own)
  leaderboard.seeds=6 leaderboard.fresh_seeds=8 leaderboard.extra_rates=2
  leaderboard.learning_rates=[0.001,0.003,0.01,0.03,0.1]
                                the protocol (docs/LEADERBOARD.md)
  any other KEY=VALUE           as for memcap.train: model.width=40, size=smoke, tracking=disabled, hydra/launcher=local

A finished run is never trained twice; after Ctrl-C the same line goes on."""
_FLAG = re.compile(r"--.*|-[A-Za-wyz]")  # not a formula, such as -x or -abs(x)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 ranked, also where activations diverged; 1 a run failed; 2 bad input; 130 after Ctrl-C."""
    return run_command(command, arguments, f"{__doc__}\n\nusage: {USAGE}")


def command(arguments: Sequence[str]) -> int:
    """Ranks, prints the table, writes the files, prints where they are."""
    from memcap.leaderboard.protocol import board_session

    asked = parse(arguments)
    board = rank(asked, board_session(), command_line())

    from memcap.leaderboard.told import print_places, print_ranking, write_ranking

    if board.table["bits"].isna().all():
        print("memcap: no activation has a run with a result", file=sys.stderr)
        return 1
    print_ranking(board.table, board.protocol)
    try:
        paths = write_ranking(board.table, board.study)
    except OSError as error:
        raise BadInput(f"{board.study.path} cannot be written: {error}") from None
    print_places(board.table, paths, board.study, asked.words)
    if board.num_failed:
        print(f"memcap: {board.num_failed} runs failed; the same line tries them again", file=sys.stderr)
    return int(board.num_failed > 0)


def parse(words: Sequence[str]) -> Asked:
    """The words of the command line; those that are not the board's own are overrides."""
    own: dict[str, str] = {}
    formulas, overrides = [], []
    for word in words:
        key, equals, value = word.partition("=")
        if _FLAG.fullmatch(word):
            raise BadInput(f"{word} is no option here; python -m memcap.leaderboard --help lists the keys")
        if not equals:
            formulas.append(word)
        elif key in ("name", "why", "only"):
            if not value or key in own:
                raise BadInput(f"{key}= needs one value, got {word}")
            own[key] = value
        else:
            overrides.append(word)
    only = tuple(part.strip() for part in own.get("only", "").split(",") if part.strip())
    return Asked(tuple(formulas), own.get("name"), own.get("why", ""), only, tuple(overrides))


if __name__ == "__main__":
    sys.exit(main())
