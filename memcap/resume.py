"""python -m memcap.resume study=NAME: trains what is not finished of a study, without its first command line.

Runs that are queued or running elsewhere are left to who has them. The launcher and its options are those of the last
submission; a study that was never submitted is trained here. Failed runs are tried once more each, whatever
max_attempts says: to ask for them by hand is reason enough.

  study=NAME            the study
  only=failed           only runs that failed; only=interrupted: all but those
  hydra/launcher=NAME   local, slurm, or memcap (train here)
  launcher.KEY=VALUE    another value for an option of the launcher, as on the first command line
  paths.outputs=DIR     where the study lies (outputs)
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memcap.errors import BadInput, nearest
from memcap.records.progress import counted
from memcap.study_command import Words, run_command, words_of

if TYPE_CHECKING:
    from memcap.config.cell import Cell
    from memcap.outcome import CellOutcome
    from memcap.records.study_folder import StudyFolder
    from memcap.submission.options import LauncherOptions

USAGE: Final = (
    "python -m memcap.resume study=NAME [only=failed|interrupted] [hydra/launcher=local|slurm|memcap]"
    " [launcher.KEY=VALUE ...] [paths.outputs=DIR]"
)
LAUNCHERS: Final = ("local", "slurm", "memcap")
ONLY: Final = {
    "failed": ("failed",),
    "interrupted": ("interrupted", "not started"),
    "all": ("failed", "interrupted", "not started"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a run failed, 2 bad input, 130 interrupted."""
    return run_command(resume, arguments, f"usage: {USAGE}\n\n{__doc__}")


def resume(arguments: Sequence[str]) -> int:
    """Submits or trains what is left, and says what is not touched."""
    from memcap.submission.options import LauncherOptions
    from memcap.submission.study_status import study_status

    words = words_of(arguments, USAGE, keys=("study", "only", "hydra/launcher", "launcher."))
    only = words.values.get("only", "all")
    if only not in ONLY:
        raise BadInput(f"only must be failed or interrupted, got {only}{nearest(only, ONLY)}")
    study = words.study()
    launcher, values = how(words, study.path)
    options = LauncherOptions.from_dict(values)  # also where nothing is left to do
    states = study_status(study).states
    chosen = [run_id for run_id, state in states.items() if state in ONLY[only]]
    _say_what_is_left_alone(states, len(chosen))
    if not chosen:
        return 0
    cells = cells_to_resume(study, chosen, words.outputs)
    outcomes = _train(cells, study, launcher, options)
    return int(any(outcome.status == "failed" for outcome in outcomes))


def how(words: Words, study: Path) -> tuple[str, dict[str, Any]]:
    """The launcher and the plain values of its options: the last submission's, with what the command line changes."""
    from memcap.submission.folder import SubmissionFolder

    before = [folder.read_submission() for folder in SubmissionFolder.all_of(study)]
    last: dict[str, Any] = next((record for record in reversed(before) if record), {})
    launcher = words.values.get("hydra/launcher", last.get("launcher", "memcap"))
    if launcher not in LAUNCHERS:
        raise BadInput(
            f"hydra/launcher must be {', '.join(LAUNCHERS)}, got {launcher}{nearest(launcher, LAUNCHERS)}"
        )
    options = dict(last.get("options") or _defaults())
    given = {key: text for key, text in words.values.items() if key.startswith("launcher.")}
    if given and launcher == "memcap":
        raise BadInput(
            f"{next(iter(given))} is for launchers that submit, and this study is trained here; add"
            " hydra/launcher=local or hydra/launcher=slurm"
        )
    for key, text in given.items():
        _set(options, key.removeprefix("launcher."), text)
    return launcher, options


def cells_to_resume(study: StudyFolder, chosen: Sequence[str], outputs: Path) -> list[Cell]:
    """The frozen cells with these ids, in one study and below these outputs, wherever they were frozen.

    A study's cells may come of several commands; of what a sweep can have only one of, the last cell's is taken, and
    as many attempts as the runs that have failed most often need for one more.
    """
    from memcap.records.frozen_cells import read_frozen
    from memcap.records.run_folder import RunFolder

    path = study.path / "cells.jsonl"
    if not path.exists():
        raise BadInput(
            f"study={study.name} was made before its cells were kept; go on with its command:"
            f" {study.read().get('command') or '(unknown)'}"
        )
    cells = read_frozen(path, chosen)
    if missing := set(chosen) - {cell.run_id for cell in cells}:
        raise BadInput(
            f"{path} lacks {len(missing)} of {counted(len(chosen), 'run')} to resume; give the sweep's command again"
        )
    last = cells[-1].config
    failures = max(RunFolder(outputs, run_id).failures() for run_id in chosen)
    shared: dict[str, Any] = {
        "study": study.name,
        "force": False,
        "fail_fast": last.fail_fast,
        "max_attempts": max(last.max_attempts, failures + 1),
        "tracking": last.tracking,
        "paths": dataclasses.replace(last.paths, outputs=str(outputs)),
    }
    return [dataclasses.replace(c, config=dataclasses.replace(c.config, **shared)) for c in cells]


def _train(
    cells: Sequence[Cell], study: StudyFolder, launcher: str, options: LauncherOptions
) -> list[CellOutcome]:
    record = study.read()
    axes, command = record["axes"], record["command"]
    if launcher == "memcap":
        from memcap.cells import train_cells

        return train_cells(cells, axes, command)
    from memcap.submission.submit import submit_cells

    return submit_cells(cells, axes, launcher, options, command)


def _say_what_is_left_alone(states: Mapping[str, str], chosen: int) -> None:
    counts = Counter(states.values())
    busy = counts["running"] + counts["queued"]
    if busy:
        print(f"memcap: left to who has them: {counted(busy, 'run')} running or queued", file=sys.stderr)
    if not chosen:
        done = counts["finished"] + counts["diverged"]
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        print(f"nothing to resume: of {counted(len(states), 'run')} {done} done, {busy} under way{failed}")


def _set(options: dict[str, Any], key: str, text: str) -> None:
    """Sets ``KEY`` or ``KEY.NAME`` from the text of a command line; what is there is checked later."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadInput(f"launcher.{key}={text} is no value; quote it") from None
    name, _, part = key.partition(".")
    if part:
        options[name] = {**(options.get(name) or {}), part: value}
    else:
        options[name] = value


def _defaults() -> dict[str, Any]:
    """The values of conf/launcher/default.yaml, for a study that was never submitted."""
    import yaml

    from memcap.study.options import conf_folder

    text = (conf_folder() / "launcher" / "default.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


if __name__ == "__main__":
    sys.exit(main())
