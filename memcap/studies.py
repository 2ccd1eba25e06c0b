"""python -m memcap.studies: the list of studies, and what can be done with a study as a whole.

(nothing)            the list: cells, runs that are done, that failed, the last change
rename OLD NEW       another name; runs and tables go with it
archive NAME         out of the way, to archive/studies; its runs stay
unarchive NAME       back again
export NAME FILE     the study with the runs that have ended, as one .tar.gz
import FILE          brings them in; a finished run that is here is never replaced
prune                runs that no study lists: says what would go; --yes removes them

--size               with the list: what each takes on disk
--archived           the list of what is archived
paths.outputs=DIR    where the studies lie (outputs)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Final

from memcap.errors import BadInput, nearest
from memcap.records.progress import counted
from memcap.records.study_folder import StudyFolder
from memcap.study_command import Words, existing_study, run_command, words_of

USAGE: Final = (
    "python -m memcap.studies [rename OLD NEW | archive NAME | unarchive NAME | export NAME FILE | import FILE | prune]"
    " [--size] [--archived] [--yes] [paths.outputs=DIR]"
)
MOST_NAMED: Final = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input (said in one line, nothing was changed)."""
    return run_command(studies, arguments, f"usage: {USAGE}\n\n{__doc__}")


def studies(arguments: Sequence[str]) -> int:
    """Does what the first word says; without one, lists."""
    words = words_of(arguments, USAGE, flags=("--size", "--archived", "--yes"), others=3)
    if not words.others:
        from memcap.study.overview import overview_lines

        flags = words.flags
        lines = overview_lines(words.outputs, archived="--archived" in flags, size="--size" in flags)
        print(*lines, sep="\n")
        return 0
    verb, *names = words.others
    if verb not in VERBS:
        raise BadInput(f"{verb} is nothing to do with a study{nearest(verb, VERBS)}; usage: {USAGE}")
    number, act = VERBS[verb]
    if len(names) != number:
        raise BadInput(f"{verb} takes {number} names, got {len(names)}; usage: {USAGE}")
    act(words, *names)
    return 0


def _rename(words: Words, old: str, new: str) -> None:
    from memcap.study.moving import rename

    study = _quiet(words, old)
    target = rename(study, new)
    print(f"study {old} is {new} now: {quote(str(target.path))}")


def _archive(words: Words, name: str) -> None:
    from memcap.study.moving import archive

    target = archive(_quiet(words, name))
    print(f"study {name} is archived: {quote(str(target.path))}; its runs stay")
    print(f"next:   python -m memcap.studies unarchive {quote(name)}   # brings it back")


def _unarchive(words: Words, name: str) -> None:
    from memcap.study.moving import unarchive

    print(f"study {name} is back: {quote(str(unarchive(words.outputs, name).path))}")


def _export(words: Words, name: str, file: str) -> None:
    from memcap.study.overview import bytes_text
    from memcap.study.packed import export_study

    inside, left_out = export_study(existing_study(words.outputs, name), Path(file))
    more = f"; not in it, since they have not ended: {left_out}" if left_out else ""
    print(
        f"{quote(file)}: study {name} with {counted(inside, 'run')}, {bytes_text(Path(file).stat().st_size)}{more}"
    )


def _import(words: Words, file: str) -> None:
    from memcap.study.packed import import_study

    brought = import_study(words.outputs, Path(file))
    joined = ", which was here and has their cells now" if brought.joined else ""
    print(f"study {brought.study.name}: {counted(brought.new, 'run')} imported{joined}")
    if brought.kept:
        print(f"kept as they are, since they were here: {brought.kept}")
    if brought.busy:
        print(f"left out, since a process trains them here: {brought.busy}; import again later")
    print(f"study:  {quote(str(brought.study.path))}")


def _prune(words: Words) -> None:
    from memcap.study.overview import bytes_text, folder_bytes
    from memcap.study.unlisted import remove_runs, unlisted_runs

    runs = unlisted_runs(words.outputs)
    total = bytes_text(sum(folder_bytes(run.path) for run in runs))
    if not runs:
        print(f"every run in {words.outputs} is listed by a study")
    elif "--yes" in words.flags:
        removed = remove_runs(words.outputs, runs)
        print(f"{counted(len(removed), 'run')} removed, {total}")
    else:
        print(f"{counted(len(runs), 'run')} that no study lists, {total}:")
        for run in runs[:MOST_NAMED]:
            print(f"  {run.path}  {run.state()}")
        if len(runs) > MOST_NAMED:
            print(f"  ... and {len(runs) - MOST_NAMED} more")
        print("nothing was removed; add --yes to remove them")


def _quiet(words: Words, name: str) -> StudyFolder:
    """The study, if nothing trains it."""
    from memcap.submission.study_status import study_status

    study = existing_study(words.outputs, name)
    counts = study_status(study).counts
    if busy := counts.get("running", 0) + counts.get("queued", 0):
        raise BadInput(
            f"study {name} has {counted(busy, 'run')} running or queued; wait, or python -m memcap.cancel study={name}"
        )
    return study


# How many names each takes, and what it does.
VERBS: Final[Mapping[str, tuple[int, Callable[..., None]]]] = {
    "rename": (2, _rename),
    "archive": (1, _archive),
    "unarchive": (1, _unarchive),
    "export": (2, _export),
    "import": (1, _import),
    "prune": (0, _prune),
}


if __name__ == "__main__":
    sys.exit(main())
