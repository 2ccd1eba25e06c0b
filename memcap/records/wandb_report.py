"""The report page of a W&B project: its comparisons, and under them the charts of all runs.

One page by the title ``memcap capacity``, found again by it, so that a second call updates it. Everything from the
heading "Notes" on is the team's: it stays as it is, the blocks above are made anew. Where somebody has deleted that
heading, what follows the charts is the team's, and the heading comes back above it.
"""

from __future__ import annotations

from typing import Any, Final

from memcap.records.wandb_dashboard import capacity_panels, comparison_panels, library

TITLE: Final = "memcap capacity"
NOTES: Final = "Notes"
RUNS: Final = "All runs"
_ABOUT: Final = (
    "Capacities are maxima over N, measured on other seeds than those that chose, with 95 % intervals; laws over"
    " parameters are chosen by AIC. The tables are those of `python -m memcap.compare study=NAME tracking.mode=online`."
)


def report(entity: str, project: str, *, asks_server: bool = True) -> Any:
    """The page, whose ``save()`` makes it; without asking its run sets are those of the project that it stands in."""
    _, panels = library()
    place = {"entity": entity, "project": project} if asks_server else {}
    comparisons = panels.Runset(name="comparisons", filters="JobType = 'compare'", **place)
    runs = panels.Runset(name="runs", filters="JobType != 'compare'", **place)
    blocks = [
        panels.P(_ABOUT),
        panels.H2("Comparisons"),
        panels.PanelGrid(runsets=[comparisons], panels=comparison_panels(panels)),
        panels.H2(RUNS),
        panels.PanelGrid(runsets=[runs], panels=capacity_panels(panels)),
        panels.H2(NOTES),
        panels.P("What stands here is kept when the page is updated."),
    ]
    return panels.Report(entity=entity, project=project, title=TITLE, blocks=blocks, width="fluid")


def save_report(entity: str, project: str) -> dict[str, Any]:
    """Makes the page on the server, or updates it: its ``url``, and whether it was ``updated``."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))  # what it does is said by the caller
    _, panels = library()
    made = report(entity, project)
    found = [page for page in wandb.Api().reports(f"{entity}/{project}") if page.display_name == TITLE]
    if found:
        before = panels.Report.from_url(found[0].url)
        before.blocks = [*made.blocks[: _heading(panels, made, NOTES)], *_of_the_team(panels, made, before)]
        before.width = made.width  # which is not read back
        made = before
    made.save()
    return {"url": made.url, "updated": bool(found)}


def _of_the_team(panels: Any, made: Any, before: Any) -> list[Any]:
    """The blocks that an update keeps, with the heading above them; all of a page whose own headings are gone."""
    notes = _heading(panels, before, NOTES)
    if notes is not None:
        return list(before.blocks[notes:])
    begin = 0
    if (runs := _heading(panels, before, RUNS)) is not None:
        grids = (
            n for n, block in enumerate(before.blocks) if n > runs and isinstance(block, panels.PanelGrid)
        )
        begin = next(grids, runs) + 1
    return [*made.blocks[_heading(panels, made, NOTES) :], *before.blocks[begin:]]


def _heading(panels: Any, page: Any, words: str) -> int | None:
    """The number of the block that is this heading; None where there is none."""
    numbers = (
        n for n, b in enumerate(page.blocks) if isinstance(b, panels.H2) and b.text in (words, [words])
    )
    return next(numbers, None)
