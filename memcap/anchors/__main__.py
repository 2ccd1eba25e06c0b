"""python -m memcap.anchors: known answers, measured again, each with tolerance and source; exit 1 if one fails."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from memcap.anchors.anchor import Anchor
from memcap.anchors.trainings import Trainings
from memcap.errors import BadInput
from memcap.study_command import run_command, words_of

USAGE = """python -m memcap.anchors [only=NAME[,NAME2]]

  only=perceptron,definitions,linear_model,optimum,optimizer,engines,slope
                a part of them (all take about a minute on two cores)

Nothing is read from or written to outputs."""


def groups() -> dict[str, Callable[[Trainings], Iterator[Anchor]]]:
    """The anchors by what they are about, cheap ones first."""
    from memcap.anchors import exact, peers

    return {
        "definitions": exact.definitions,
        "linear_model": exact.linear_model,
        "optimizer": peers.optimizer,
        "engines": peers.engines,
        "perceptron": exact.perceptron,
        "optimum": exact.optimum,
        "slope": peers.slope,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all hold; 1 one does not; 2 bad input; 130 after Ctrl-C."""
    return run_command(command, arguments, f"{__doc__}\n\nusage: {USAGE}")


def command(arguments: Sequence[str]) -> int:
    """Measures, prints a line each as it is known, and counts."""
    words = words_of(arguments, USAGE.partition("\n")[0], ("only",))
    known = groups()
    chosen = words.values.get("only", ",".join(known)).split(",")
    if unknown := [name for name in chosen if name not in known]:
        raise BadInput(f"only={unknown[0]} is none of {', '.join(known)}")
    started = time.monotonic()
    print(f"{'':4}  {'anchor':<66} {'measured':>12}  {'known':<22} source", flush=True)
    anchors = []
    for anchor in measured(chosen):
        anchors.append(anchor)
        print(line(anchor), flush=True)
    failed = [anchor for anchor in anchors if not anchor.passed]
    verdict = (
        f"{len(anchors)} anchors hold" if not failed else f"{len(failed)} of {len(anchors)} anchors FAIL"
    )
    print(f"\n{verdict}, {time.monotonic() - started:.0f} s")
    return int(bool(failed))


def measured(names: Sequence[str]) -> Iterator[Anchor]:
    """The anchors of these groups, one after another; their trainings lie in a temporary folder."""
    known = groups()
    with tempfile.TemporaryDirectory(prefix="memcap-anchors-") as folder:
        trained = Trainings(Path(folder))
        for name in names:
            yield from known[name](trained)


def line(anchor: Anchor) -> str:
    """PASS or FAIL, what was measured, what is known and from where."""
    verdict = "PASS" if anchor.passed else "FAIL"
    return f"{verdict}  {anchor.name:<66} {anchor.value:>12.6g}  {anchor.expected:<22} {anchor.source}"


if __name__ == "__main__":
    sys.exit(main())
