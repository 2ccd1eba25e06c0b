"""python -m memcap.compare study=NAME: the capacity of each configuration, fits, alarms, from records only."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from memcap.compare.choices import USAGE, Choices, parse
from memcap.errors import BadInput
from memcap.study_command import run_command

if TYPE_CHECKING:
    from memcap.compare.comparison import Comparison


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 compared, also with alarms; 2 nothing that can be compared (said in one line)."""

    def command(words: Sequence[str]) -> int:
        run(parse(words))
        return 0

    return run_command(command, arguments, f"{__doc__}\n\nusage: {USAGE}")


def run(chosen: Choices) -> None:
    """Compares, prints the numbers, writes the files, prints where they are."""
    from memcap.compare.comparison import compare, comparison_folder
    from memcap.compare.frame import load_frame
    from memcap.compare.stale import remove_stale
    from memcap.compare.study_choices import completed
    from memcap.compare.terminal import print_numbers, print_places

    outputs = chosen.folder or chosen.outputs
    frame = load_frame(chosen.study, outputs, chosen.source)
    comparison = compare(
        frame,
        **completed(dataclasses.asdict(chosen), frame),
        nuisance=chosen.nuisance,
        selection_seeds=chosen.selection_seeds,
    )
    folder, tracked = comparison_folder(frame, outputs), None
    if chosen.mode != "disabled":
        from memcap.compare.tracked import TrackedComparison

        tracked = TrackedComparison(comparison, folder, chosen.mode, chosen.project, chosen.entity)
    verified = None
    if chosen.verify:
        from memcap.compare.verify import verify

        verified, found = verify(frame, seed=int.from_bytes(os.urandom(4), "big"))
        comparison = dataclasses.replace(comparison, alarms=[*comparison.alarms, *found])
    print_numbers(comparison, verified)
    try:
        removed = remove_stale(folder, figures=not chosen.figures, page=not chosen.report)
        files, figures, report = write_all(comparison, folder, chosen)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error}") from None
    print_places(comparison, folder, files, figures)
    if removed:
        print(f"removed:  {', '.join(removed)} of an earlier comparison")
    if tracked is not None and (place := tracked.log(comparison, files)):
        print(f"W&B:      {place}")
    if report is not None:
        print(f"report:   {quote(str(report))}")


def write_all(
    comparison: Comparison, folder: Path, chosen: Choices
) -> tuple[list[Path], list[str], Path | None]:
    """Tables, figures and the report: all files, the figures' names, the report's path."""
    from memcap.compare.comparison import write
    from memcap.compare.stale import KINDS

    files = write(comparison, folder)
    figures: list[str] = []
    report = None
    if chosen.figures:
        from memcap.plot.files import write_figures

        figures = write_figures(comparison, folder)
        files += [folder / f"{name}.{kind}" for name in figures for kind in KINDS]
    if chosen.report:
        from memcap.compare.report.page import write_report

        report = write_report(comparison, folder)
        files.append(report)
    return files, figures, report


if __name__ == "__main__":
    sys.exit(main())
