"""What the commands around a study share: their words ``key=value`` and flags, and how they end."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote

from memcap.errors import BadInput, Interrupted, nearest
from memcap.records.study_folder import StudyFolder
from memcap.study.moving import ARCHIVE, is_archived


@dataclasses.dataclass(frozen=True)
class Words:
    """A command line, taken apart: ``values`` of ``key=value``, ``flags``, and what is neither."""

    values: Mapping[str, str]
    flags: frozenset[str]
    others: tuple[str, ...]

    @property
    def outputs(self) -> Path:
        """``paths.outputs``, as every other command takes it."""
        return Path(self.values.get("paths.outputs", "outputs"))

    def study(self) -> StudyFolder:
        """The study that is named; without a name the only one that there is. Raises BadInput for any other."""
        if (name := self.values.get("study")) is not None:
            return existing_study(self.outputs, name)
        known = study_names(self.outputs)
        if not known:
            raise BadInput(f"{self.outputs} has no studies; say where they are with paths.outputs=DIR")
        if len(known) > 1:
            fix = "say which with study=NAME; python -m memcap.studies lists them"
            raise BadInput(f"{self.outputs} has {len(known)} studies: {fix}")
        return StudyFolder(self.outputs, known[0])


def existing_study(outputs: Path, name: str) -> StudyFolder:
    """The study of this name; BadInput that says what to type where it is archived, or not there at all."""
    if is_archived(outputs, name):
        where = "" if str(outputs) == "outputs" else f" paths.outputs={quote(str(outputs))}"
        fix = f"python -m memcap.studies unarchive {quote(name)}{where} brings it back"
        raise BadInput(f"study {name} is archived in {outputs / ARCHIVE}; {fix}")
    return StudyFolder.existing(outputs, name)


def study_names(outputs: Path) -> list[str]:
    """The names of all studies, archived ones aside."""
    return sorted(path.parent.name for path in (outputs / "studies").glob("*/study.json"))


def words_of(
    arguments: Sequence[str], usage: str, keys: Sequence[str] = (), flags: Sequence[str] = (), others: int = 0
) -> Words:
    """Takes a command line apart; raises BadInput for a key, a flag or a word that the command does not have.

    A key that ends with a dot stands for all keys that begin so.
    """
    keys = ("paths.outputs", *keys)
    values: dict[str, str] = {}
    given: list[str] = []
    rest: list[str] = []
    for word in arguments:
        key, has_value, value = word.partition("=")
        if word.startswith("-"):
            if word not in flags:
                raise BadInput(f"{word} is no option here{nearest(word, flags)}; usage: {usage}")
            given.append(word)
        elif has_value and _known(key, keys):
            if not value:
                raise BadInput(f"{key}= needs a value; usage: {usage}")
            values[key] = value
        elif has_value and (others == 0 or nearest(key, keys)):
            raise BadInput(f"{key} is not a key of this command{nearest(key, keys)}; usage: {usage}")
        elif len(rest) < others:
            rest.append(word)
        else:
            raise BadInput(f"{word!r} is not understood; usage: {usage}")
    return Words(values, frozenset(given), tuple(rest))


def run_command(command: Callable[[Sequence[str]], int], arguments: Sequence[str] | None, page: str) -> int:
    """Calls a command and returns its exit status: 2 for bad input and 130 after Ctrl-C, each said in one line.

    ``page``: what ``--help`` prints.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without ━ gets a question mark
        if {"-h", "--help"} & set(words):
            print(page)
            return 0
        status = command(words)
        sys.stdout.flush()
        return status
    except BadInput as error:
        print(f"memcap: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted) as error:
        print(f"memcap: {error if str(error) else 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # | head
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _known(key: str, keys: Sequence[str]) -> bool:
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in keys)
