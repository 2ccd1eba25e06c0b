"""One row of metrics for every member of a population, at the step where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcap.measures.curvature import Curvature
from memcap.measures.end_of_run import Arrays, end_of_run, per_member
from memcap.measures.first_order import FirstOrder, first_order, sample_scores
from memcap.measures.gradient_columns import conflict_columns, norm_columns, update_columns
from memcap.measures.matrices import matrix_columns
from memcap.measures.memory import evaluation_columns, training_columns
from memcap.objectives import Scores
from memcap.population import Population

Row = dict[str, float | int]
Columns = dict[str, Tensor]


class Observer:
    """Takes the measures that a population's configuration asks for; keeps what one leaves for the next.

    That is the best bits so far, the first losses of the samples, and Lanczos' last vectors. Nothing here
    changes the population, and a member's row does not depend on its neighbours.
    """

    def __init__(self, population: Population) -> None:
        self.measure = population.configs[0].measure
        self.best_bits_M = torch.full((len(population),), -torch.inf, dtype=torch.float64)
        self.curvature = Curvature(self.measure)
        self.initial_losses: list[np.ndarray] | None = None

    def keep(self, members: Sequence[int]) -> Observer:
        """The observer of the members that stay."""
        kept = object.__new__(Observer)
        kept.measure = self.measure
        kept.best_bits_M = self.best_bits_M[list(members)]
        kept.curvature = self.curvature.keep(members)
        kept.initial_losses = (
            None if self.initial_losses is None else [self.initial_losses[i] for i in members]
        )
        return kept

    def saved(self) -> dict[str, Any]:
        """What it keeps from one measurement for the next: tensors and plain numbers."""
        saved: dict[str, Any] = {"best_bits_M": self.best_bits_M, "vectors": self.curvature.saved()}
        if self.initial_losses is not None:
            losses = [torch.from_numpy(loss_N) for loss_N in self.initial_losses]
            saved["initial_loss_MN"] = torch.nn.utils.rnn.pad_sequence(losses, batch_first=True)
        return saved

    def restore(self, saved: Mapping[str, Any], population: Population) -> None:
        """Takes over what ``saved`` gave for the same members; raises ValueError where it is of another shape."""
        self.best_bits_M.copy_(saved["best_bits_M"])
        self.curvature.restore(saved["vectors"], population)
        if "initial_loss_MN" in saved:
            self.initial_losses = per_member(saved["initial_loss_MN"], population.training_set)

    def observe(self, population: Population) -> list[Row]:
        """Metrics by name for each member; a metric that its objective or optimizer does not have is absent."""
        found, preconditioner_MP = self._first_order(population)
        scores = found.scores
        if population.step == 0:
            self.note_start(population, scores)
        columns = training_columns(population, scores)
        if "memory/bits" in columns:
            self.best_bits_M = torch.fmax(self.best_bits_M, columns["memory/bits"])
            columns["memory/bits_best"] = torch.where(self.best_bits_M.isinf(), torch.nan, self.best_bits_M)
        if self.measure.evaluation:
            for name, batch in population.evaluation_sets.items():
                columns |= evaluation_columns(population, name, batch)
        columns |= self._gradient_columns(population, found, preconditioner_MP)
        if self.measure.sharpness or self.measure.trace:
            columns |= self.curvature.columns(population)
        if self.measure.weights:
            columns |= matrix_columns(population.parameters_MP, population.model.shapes)
        return rows_of(columns, len(population))

    def note_start(self, population: Population, scores: Scores | None = None) -> None:
        """Keeps the losses that the samples have before training; ``scores`` where they are known already."""
        if self.measure.samples:
            scores = scores or sample_scores(population, population.training_set)
            self.initial_losses = per_member(scores.loss_MN, population.training_set)

    def end(self, population: Population) -> tuple[list[Row], list[Arrays]]:
        """What is measured once, when members end: their part of the summary, and the arrays to keep."""
        columns, arrays = end_of_run(population, self.measure, self.initial_losses)
        return rows_of(columns, len(population)), arrays

    def _first_order(self, population: Population) -> tuple[FirstOrder, Tensor | None]:
        """What the row takes of the training set, in one pass, and the preconditioner where it takes one."""
        measure = self.measure
        preconditioner_MP = population.preconditioner() if measure.gradients or measure.conflict else None
        found = first_order(
            population,
            population.training_set,
            gradient=measure.gradients or measure.updates,
            norms=measure.conflict and population.training_set.num_slots <= measure.max_samples,
            preconditioner_MP=preconditioner_MP,
        )
        return found, preconditioner_MP

    def _gradient_columns(
        self, population: Population, found: FirstOrder, preconditioner_MP: Tensor | None
    ) -> Columns:
        measure, columns = self.measure, Columns()
        if found.gradients_MP is not None and measure.gradients:
            columns |= norm_columns(population, found.gradients_MP, preconditioner_MP)
        if measure.conflict:
            batch, of_batch = population.training_set, found
            if found.squared_MN is None:  # the gradients of so many samples are not taken one by one
                batch = batch.first(measure.max_samples)
                of_batch = first_order(population, batch, norms=True, preconditioner_MP=preconditioner_MP)
            columns |= conflict_columns(batch, of_batch, preconditioner_MP)
        if found.gradients_MP is not None and measure.updates and population.state is not None:
            columns |= update_columns(population, found.gradients_MP)
        return columns


def rows_of(columns: Columns, num_members: int) -> list[Row]:
    """Columns [M] by name as one row of plain numbers for each member."""
    host = {name: np.asarray(column.cpu()).tolist() for name, column in columns.items()}
    return [{name: column[i] for name, column in host.items()} for i in range(num_members)]
