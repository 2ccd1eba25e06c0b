"""The page itself: ``report.html`` beside the tables of a comparison, one file that needs no network."""

from __future__ import annotations

from pathlib import Path

from memcap import __version__
from memcap.compare.comparison import Comparison
from memcap.compare.report import embedding, headline
from memcap.compare.report.drawing import Drawing
from memcap.compare.report.embedding import text
from memcap.compare.report.sections import Section, sections
from memcap.compare.stale import PAGE
from memcap.records import atomic


def write_report(comparison: Comparison, folder: Path) -> Path:
    """Writes ``report.html`` into the folder, whole or not at all, and returns its path."""
    atomic.write_text(folder / PAGE, report_html(comparison), survives="kill")
    return folder / PAGE


def report_html(comparison: Comparison) -> str:
    """The report as one HTML document: figures, tables, the charting library (4.8 MB) and the data (about 1 kB a run).

    Records, names and formulas enter as escaped text or as JSON that a script reads; a content security policy lets
    only the page's own scripts run, and nothing be loaded. Raises BadInput where plotly is not installed.
    """
    drawing = Drawing(comparison)
    found = sections(drawing)
    data = embedding.script_json(_data(drawing, found))
    scripts = [
        embedding.inline_script(source)
        for source in (
            embedding.plotly_script(),
            embedding.own_file("table.js"),
            embedding.own_file("report.js"),
        )
    ]
    name = text(headline.title(comparison))
    links = "".join(f'<a href="#{section.name}">{text(section.title)}</a>' for section in found)
    body = "".join(section.html() for section in found)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(embedding.content_policy(scripts))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{name} · memcap</title><style>{embedding.own_file('report.css')}</style></head>\n"
        f'<body><header><h1>{name}</h1><p class="note">How many bits these networks memorize'
        f' · memcap {text(__version__)}</p><nav aria-label="sections">{links}</nav></header>\n'
        f'<main>{headline.alarm_list(comparison)}<section id="summary" aria-label="summary">'
        f"{headline.headline(comparison)}</section>{body}</main>\n"
        '<div id="tip" role="tooltip" hidden></div><div id="toast" role="status" aria-live="polite"></div>\n'
        f'<script type="application/json" id="data">{data}</script>\n{"".join(scripts)}</body></html>\n'
    )


def _data(drawing: Drawing, found: list[Section]) -> dict[str, object]:
    """What the scripts draw: figures and tables by section, runs with their commands, groups of runs."""
    run_ids = drawing.frame["run_id"].tolist()
    return {
        "figures": {section.name: [_drawn(figure) for figure in section.figures] for section in found},
        "tables": {section.name: section.table for section in found if section.table is not None},
        "runs": {"id": run_ids, "command": [drawing.commands.of_run(row) for row in range(len(run_ids))],
                 "configuration": drawing.configuration_R.tolist()},
        "configurations": drawing.names,
        "groups": drawing.groups,
    }  # fmt: skip


def _drawn(figure: dict[str, object]) -> dict[str, object]:
    return {"data": figure["data"], "layout": figure["layout"]}
