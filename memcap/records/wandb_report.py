"""The report page of a W&B project: its comparisons, and under them the charts of all runs.

One page by the title ``memcap capacity``, found again by it, so that a second call updates it. Everything from the
heading "Notes" on is the team's: it stays as it is, the blocks above are made anew.
"""

from __future__ import annotations

from typing import Any, Final

from memcap.records.wandb_dashboard import capacity_panels, comparison_panels, library

TITLE: Final = "memcap capacity"
NOTES: Final = "Notes"
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
        panels.H2("All runs"),
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
        before.blocks = [*made.blocks[: _notes(panels, made)], *before.blocks[_notes(panels, before) :]]
        before.width = made.width  # which is not read back
        made = before
    made.save()
    return {"url": made.url, "updated": bool(found)}


def _notes(panels: Any, page: Any) -> int:
    """The number of the block where the team's notes begin; beyond the last one where there are none."""
    headings = [
        number
        for number, block in enumerate(page.blocks)
        if isinstance(block, panels.H2) and (block.text == NOTES or block.text == [NOTES])
    ]
    return headings[0] if headings else len(page.blocks)
