"""The sections of a report, in their order; one without anything to show is left out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from memcap.compare.report import capacity_figures, measure_figures, restart_figures, tables
from memcap.compare.report.drawing import MOST_PANELS, Drawing, Figure
from memcap.compare.report.embedding import text
from memcap.compare.report.tables import Table


@dataclasses.dataclass(frozen=True)
class Section:
    """``name`` is its anchor, ``note`` says what is drawn; figures first, the table below them."""

    name: str
    title: str
    note: str
    figures: tuple[Figure, ...] = ()
    table: Table | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.figures and self.table is None

    def html(self) -> str:
        """The section with places that the page's script fills."""
        numbered = enumerate(self.figures)
        grids = "".join(
            self._grid(list(row))
            for _, row in itertools.groupby(numbered, lambda figure: figure[1].get("row"))
        )
        table = f'<div class="table" data-table="{self.name}"></div>' if self.table is not None else ""
        note = f'<p class="note">{text(self.note)}</p>'
        return f'<section id="{self.name}"><h2>{text(self.title)}</h2>{note}{grids}{table}</section>'

    def _grid(self, figures: list[tuple[int, Figure]]) -> str:
        """Figures side by side: the panels of one measure, or measures of one panel."""
        places = "".join(
            f'<figure><figcaption>{text(figure["title"])}</figcaption><div class="plot"'
            f' data-figure="{self.name}.{number}" role="img" aria-label="{text(figure["title"] or self.title)}">'
            "</div></figure>"
            for number, figure in figures
        )
        return f'<div class="figures{" thirds" if len(figures) % 3 == 0 else ""}">{places}</div>'


def sections(drawing: Drawing) -> list[Section]:
    """All sections of this comparison that have something to show."""
    return [section for section in _all(drawing) if not section.empty]


def _all(drawing: Drawing) -> Iterator[Section]:
    unit = drawing.comparison.quantity.unit
    left_out = len(drawing.all_panels) - MOST_PANELS
    panels = f" {left_out} more panels are in curves.csv." if left_out > 0 else ""
    yield Section(
        "curves", "Capacity curves",
        f"Mean {unit} over seeds against N, at nuisance values that other seeds chose, with 95 % bootstrap bands. Small"
        " points are runs at the best nuisance values, stars the capacity with its 95 % interval; dashed: every sample"
        f" memorized.{panels}",
        tuple(capacity_figures.capacity_curves(drawing)),
    )  # fmt: skip
    yield Section(
        "parameters", "Capacity against parameters",
        "Capacities with 95 % intervals over seeds. The chosen law is thick, with the 95 % interval of the"
        " law; the others are thin (AIC; a law with fewer coefficients is kept within 2 of the best).",
        tuple(capacity_figures.capacity_against_parameters(drawing)), tables.fits_table(drawing),
    )  # fmt: skip
    yield Section(
        "restarts", "Restarts",
        "What the best of r trainings of one seed from other initial weights gives, in expectation, at the N and"
        " nuisance values of each capacity: means with 95 % intervals over the seeds that have r. The best is the one"
        " with the smallest final loss. The other N are in restarts.csv.",
        tuple(restart_figures.best_of_restarts(drawing)),
    )  # fmt: skip
    yield Section(
        "configurations", "Configurations", "One row for each; the first button copies the line that trains its runs at"
        " the best N.", (), tables.configurations_table(drawing),
    )  # fmt: skip
    yield Section(
        "training", "Training",
        "Runs at the best N of their configuration and at its neighbours on the grid, at the best nuisance values; a"
        " line is a run.", tuple(measure_figures.training(drawing)),
    )  # fmt: skip
    yield Section(
        "sharpness", "Sharpness",
        "Largest eigenvalue of the Hessian of the training loss at the end, raw and preconditioned as Adam sees it;"
        " lines are geometric means over seeds. Dotted: where the raw one jumps, with its 95 % interval. Dashed: the"
        " optimizer's threshold of stability, where the runs that are drawn have one learning rate.",
        tuple(measure_figures.sharpness(drawing)), tables.jamming_table(drawing),
    )  # fmt: skip
    yield Section(
        "gradients", "Gradients",
        "Per-sample gradients at the end of training: coherence falls to 0 at any stationary point, cancellation is the"
        " pull that remains while the sum vanishes. Lines are geometric means over seeds.",
        tuple(measure_figures.gradients(drawing)),
    )  # fmt: skip
    yield Section(
        "ledger", "Bits ledger", "The same runs under each convention, with 95 % intervals over seeds.",
        (), tables.ledger_table(drawing),
    )  # fmt: skip
    yield Section("runs", "Runs", "One row for each; its first button copies the line that trains it again.",
                  (), tables.runs_table(drawing))  # fmt: skip
