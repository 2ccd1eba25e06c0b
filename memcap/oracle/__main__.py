"""python -m memcap.oracle study=NAME: what linear models could have stored, exactly, beside what training stored."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from shlex import quote

import pandas as pd

from memcap.errors import BadInput
from memcap.oracle.problem import LinearProblem
from memcap.records.progress import LINE_EVERY_S
from memcap.study_command import Words, run_command, words_of

USAGE = """python -m memcap.oracle study=NAME
       python -m memcap.oracle data.input_dim=10,20 [data.num_classes=40] [seed=0,1,2,3]

  study=NAME                    linear runs of this study: the optimum on their very samples, and the gap
  data.input_dim=, data.num_classes=, model.bias=, seed=
                                problems without a study: the largest N that is separable
  data.num_samples=50,100       for these N also the bits of the exact optimum
  force=true                    also where that takes more than ten minutes
  programs=0                    no linear programs: Newton's method proves its answers alone (faster at large D V)
  paths.outputs=DIR             where studies are, and where tables are written (outputs)"""
KEYS = (
    "study",
    "data.input_dim",
    "data.num_classes",
    "data.num_samples",
    "model.bias",
    "seed",
    "programs",
    "force",
)
SEEDS = (0, 1, 2, 3, 4, 5)  # the fewest whose interval of the median reaches 95 %
OF_PROBLEMS = ("data.input_dim", "data.num_classes", "data.num_samples", "model.bias", "seed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 answered; 2 bad input, said in one line; 130 after Ctrl-C."""
    return run_command(command, arguments, f"{__doc__}\n\nusage: {USAGE}")


def command(arguments: Sequence[str]) -> int:
    """Answers for a study or for problems."""
    words = words_of(arguments, USAGE.partition("\n")[0], KEYS)
    if words.values.get("programs", "1") not in ("0", "1"):
        raise BadInput(f"programs must be 1 or 0, got {words.values['programs']}")
    if words.values.get("force", "false").lower() not in ("true", "false"):
        raise BadInput(f"force must be true or false, got {words.values['force']}")
    if "study" in words.values:
        if given := [key for key in OF_PROBLEMS if key in words.values]:
            raise BadInput(f"{given[0]}: a study has its problems already; leave it out, or leave out study=")
        of_study(words)
    else:
        of_problems(words)
    return 0


def of_study(words: Words) -> None:
    """The gap of each linear run, and the separable N of each of its problems and seeds."""
    from memcap.compare.comparison import comparison_folder
    from memcap.compare.frame import load_frame
    from memcap.oracle.cost import check_time
    from memcap.oracle.linear_runs import optimality_gaps, questions
    from memcap.oracle.report import medians, print_gaps, print_medians, thresholds, write_table

    frame = load_frame(words.values["study"], words.outputs)
    if len(frame.attrs["studies"]) != 1:
        raise BadInput(
            f"study={words.values['study']} names {len(frame.attrs['studies'])} studies; ask for one at a time"
        )
    folder = comparison_folder(frame, words.outputs).parent / "oracle"
    asked = questions(frame)
    check_time(asked, **_limits(words))
    with progress("exact optima") as said:
        gaps = optimality_gaps(frame, said=said)
    write_table(folder / "gaps.csv", gaps)
    with progress("separability") as said:
        found = thresholds(list(asked), linear_programs=_limits(words)["programs"], said=said)
    write_table(folder / "thresholds.csv", found)
    print_gaps(gaps, frame)
    print()
    print_medians(medians(found))
    print(f"files:    {quote(str(folder))}  (gaps.csv, thresholds.csv)")
    print(
        f"next:     python -m memcap.compare study={quote(words.values['study'])}   # with the optimum as a series"
    )


def of_problems(words: Words) -> None:
    """The separable N of problems that need no run, and where N are given the bits of the optimum."""
    from memcap.oracle.cost import check_time
    from memcap.oracle.linear_runs import exact_answers
    from memcap.oracle.report import medians, print_medians, thresholds, write_table

    if "data.input_dim" not in words.values:
        raise BadInput(
            "give study=NAME or data.input_dim=10,20; python -m memcap.oracle --help lists the keys"
        )
    dims, classes = _numbers(words, "data.input_dim", 1), _numbers(words, "data.num_classes", 2, "10")
    bias = words.values.get("model.bias", "false").lower()
    if bias not in ("true", "false"):
        raise BadInput(f"model.bias must be true or false, got {bias}")
    seeds = _numbers(words, "seed", 0, ",".join(map(str, SEEDS)))
    problems = [LinearProblem(d, v, s, bias == "true") for d, v, s in itertools.product(dims, classes, seeds)]
    sizes = _numbers(words, "data.num_samples", 1) if "data.num_samples" in words.values else []
    check_time(dict.fromkeys(problems, sizes), **_limits(words))
    folder = words.outputs / "oracle"
    with progress("separability") as said:
        found = thresholds(problems, linear_programs=_limits(words)["programs"], said=said)
    write_table(folder / "thresholds.csv", found)
    rows = []
    with progress("exact optima") as said:
        for number, (problem, size) in enumerate(itertools.product(problems, sizes)):
            said(number, len(problems) * len(sizes), f"{problem.name}, N = {size}")
            rows.append(
                {
                    "data.input_dim": problem.input_dim,
                    "data.num_classes": problem.num_classes,
                    "model.bias": problem.bias,
                    "data.num_samples": size,
                    "seed": problem.seed,
                    **exact_answers(problem, size),
                }
            )
    if rows:
        write_table(folder / "optimum.csv", pd.DataFrame(rows))
    print_medians(medians(found))
    if rows:
        print()
        _print_bits(pd.DataFrame(rows))
    print(f"files:    {quote(str(folder))}  (thresholds.csv{', optimum.csv' if rows else ''})")


def _limits(words: Words) -> dict[str, bool]:
    """Whether linear programs are asked for, and whether a long time is."""
    return {
        "programs": words.values.get("programs", "1") == "1",
        "force": words.values.get("force", "false").lower() == "true",
    }


def _print_bits(table: pd.DataFrame) -> None:
    from memcap.records.table import Column, print_columns

    keys = ["data.input_dim", "data.num_classes", "data.num_samples"]
    decided = table.assign(separable=table["separable"].astype(float))  # NaN among booleans is not a number
    found = decided.groupby(keys, sort=False).agg(
        bits=("optimum_bits", "mean"),
        memorized=("optimum_memorized", "mean"),
        separable=("separable", "mean"),
    )
    print_columns(
        "exact optimum",
        [f"D = {d}, V = {v}, N = {n}" for d, v, n in found.index],
        [
            Column("bits", [f"{value:.1f}" for value in found["bits"]]),
            Column("memorized", [f"{value:.1f}" for value in found["memorized"]]),
            Column("separable", [f"{value:.0%}" for value in found["separable"]]),
        ],
    )


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr, or without a terminal a line every 30 s, however long one answer takes.

    What it yields is told (done, total, where): where names what is being answered, "" where nothing is.
    """
    from rich.console import Console
    from rich.progress import Progress

    terminal, ended, state = sys.stderr.isatty(), threading.Event(), [what]

    def say_lines() -> None:
        while not ended.wait(LINE_EVERY_S):
            print(f"memcap: {state[0]}", file=sys.stderr, flush=True)

    # A thread of its own: solvers release the lock of the interpreter, and one linear program may take minutes.
    lines = threading.Thread(target=say_lines, daemon=True)
    with Progress(console=Console(stderr=True), transient=True, disable=not terminal) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int, where: str) -> None:
            state[0] = f"{what}: {done} of {total}{'; ' * bool(where)}{where}"
            bar.update(task, completed=done, total=total, description=f"{what} {where}".strip())

        if not terminal:
            lines.start()
        try:
            yield tell
        finally:
            ended.set()
            if not terminal:
                lines.join()


def _numbers(words: Words, key: str, at_least: int, default: str | None = None) -> list[int]:
    text = words.values.get(key, default or "")
    try:
        numbers = [int(part) for part in text.strip("[]").split(",")]
    except ValueError:
        raise BadInput(f"{key} must be whole numbers like 10,20, got {text}") from None
    if min(numbers) < at_least:
        raise BadInput(f"{key} must be at least {at_least}, got {min(numbers)}")
    return list(dict.fromkeys(numbers))


if __name__ == "__main__":
    sys.exit(main())
