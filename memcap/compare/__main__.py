"""python -m memcap.compare study=NAME: the capacity of each configuration, fits, alarms, from records only."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence

from memcap.errors import BadInput, nearest
from memcap.study_command import run_command

USAGE = """python -m memcap.compare study=NAME[,NAME2]     studies by name or pattern ('width*')
       python -m memcap.compare folder=DIR             all runs of an outputs folder

  y=bits|bits_clamped|samples|METRIC    what capacity is counted in (what the study's preset says, else bits)
  x=KEY hue=KEY facet=KEY               which compared keys go where (the preset's, else found from what varies)
  nuisance=KEY[,KEY2]                   chosen like N (optimizer.learning_rate); nuisance= for none
  selection_seeds=0,1,2                 seeds that choose; the others measure (without: both halves in turn)
  verify=1                              trains one random run again, alone, and compares
  paths.outputs=DIR                     where the studies are (outputs)"""

KEYS = ("study", "folder", "y", "x", "hue", "facet", "nuisance", "selection_seeds", "verify", "paths.outputs")


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the command line asks for."""

    study: tuple[str, ...] = ()
    folder: str | None = None
    y: str | None = None
    x: str | None = None
    hue: str | None = None
    facet: str | None = None
    nuisance: tuple[str, ...] | None = None
    selection_seeds: tuple[int, ...] | None = None
    verify: bool = False
    outputs: str = "outputs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 compared, also with alarms; 2 nothing that can be compared (said in one line)."""

    def command(words: Sequence[str]) -> int:
        run(parse(words))
        return 0

    return run_command(command, arguments, f"{__doc__}\n\nusage: {USAGE}")


def run(chosen: Choices) -> None:
    """Compares, prints the numbers, writes the files, prints where they are."""
    from memcap.compare.comparison import compare, comparison_folder, write
    from memcap.compare.frame import load_frame
    from memcap.compare.study_choices import completed
    from memcap.compare.terminal import print_numbers, print_places

    outputs = chosen.folder or chosen.outputs
    frame = load_frame(chosen.study, outputs)
    comparison = compare(
        frame,
        **completed(dataclasses.asdict(chosen), frame),
        nuisance=chosen.nuisance,
        selection_seeds=chosen.selection_seeds,
    )
    verified = None
    if chosen.verify:
        from memcap.compare.verify import verify

        verified, found = verify(frame, seed=int.from_bytes(os.urandom(4), "big"))
        comparison = dataclasses.replace(comparison, alarms=[*comparison.alarms, *found])
    print_numbers(comparison, verified)
    folder = comparison_folder(frame, outputs)
    try:
        write(comparison, folder)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error}") from None
    print_places(comparison, folder)


def parse(words: Sequence[str]) -> Choices:
    """``key=value`` words; BadInput for one that is not understood."""
    given = _words(words)
    study = tuple(_list(given.get("study", "")))
    if bool(study) == ("folder" in given):
        raise BadInput(
            "give study=NAME[,NAME2] or folder=DIR; python -m memcap.compare --help lists the keys"
        )
    if given.get("verify", "0") not in ("0", "1", "true", "false"):
        raise BadInput(f"verify must be 1 or 0, got {given['verify']}")
    return Choices(
        study=study,
        folder=given.get("folder"),
        y=given.get("y"),
        x=given.get("x"),
        hue=given.get("hue"),
        facet=given.get("facet"),
        nuisance=tuple(_list(given["nuisance"])) if "nuisance" in given else None,
        selection_seeds=_seeds(given["selection_seeds"]) if "selection_seeds" in given else None,
        verify=given.get("verify", "0") in ("1", "true"),
        outputs=given.get("paths.outputs", "outputs"),
    )


def _words(words: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in KEYS or not equals:
            hint = nearest(key, KEYS)
            raise BadInput(f"{word} is not understood{hint}; python -m memcap.compare --help lists the keys")
        if key in given:
            raise BadInput(f"{key} is given twice; give {key}={given[key]},{value} or one of the two")
        given[key] = value
    return given


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.strip("[]").split(",") if part.strip()]


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _list(text))
    except ValueError:
        raise BadInput(f"selection_seeds must be whole numbers like 0,1,2, got {text}") from None


if __name__ == "__main__":
    sys.exit(main())
