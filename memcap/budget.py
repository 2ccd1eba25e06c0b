"""When a member's training ends: at the budget, when there is nothing left to gain, or when it has diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from memcap.measures.first_order import sample_scores
from memcap.measures.memory import mean_losses
from memcap.population import Population

DIVERGED_FACTOR = 10.0  # a loss this many times the initial one ...
DIVERGED_CHECKS = 3  # ... at this many checks in a row has diverged
REMEMBERED = ("initial_M", "best_M", "since_best_M", "high_M")


class Ending(NamedTuple):
    """Why a member stops: ``status`` finished or diverged, ``reason`` budget, memorized, plateau, diverged."""

    status: str
    reason: str


class BudgetMonitor:
    """Looks at the losses at step 0, at multiples of ``budget.check_every`` and at the end.

    Measurement points play no part: when a run ends belongs to its identity, what is measured does not.
    """

    def __init__(self, population: Population) -> None:
        self.budget = population.configs[0].budget
        self.initial_M, _ = self._look(population)
        self.best_M = self.initial_M.clone()
        self.since_best_M = torch.zeros(len(population), dtype=torch.int64)
        self.high_M = torch.zeros(len(population), dtype=torch.int64)

    def keep(self, members: Sequence[int]) -> None:
        """Forgets all but these members."""
        index = list(members)
        for name in REMEMBERED:
            setattr(self, name, getattr(self, name)[index])

    def saved(self) -> dict[str, torch.Tensor]:
        """What it remembers, [M] each."""
        return {name: getattr(self, name) for name in REMEMBERED}

    def restore(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Takes over what ``saved`` gave for the same members."""
        for name in REMEMBERED:
            getattr(self, name).copy_(saved[name])

    def check(self, population: Population) -> list[Ending | None]:
        """For each member, how it ends here, or None."""
        loss_M, all_correct_M = self._look(population)
        is_high_M = loss_M > DIVERGED_FACTOR * self.initial_M
        self.high_M = torch.where(is_high_M, self.high_M + 1, 0)
        better_M = loss_M < self.best_M * (1 - self.budget.plateau_improvement)
        self.best_M = torch.where(better_M, loss_M, self.best_M)
        self.since_best_M = torch.where(better_M, 0, self.since_best_M + 1)
        diverged_M = ~loss_M.isfinite() | (self.high_M >= DIVERGED_CHECKS)
        memorized_M = all_correct_M & (loss_M < self.budget.loss_tolerance)
        plateau_M = self.since_best_M >= self.budget.plateau_checks
        at_end = population.step >= self.budget.steps
        flags = zip(diverged_M.tolist(), memorized_M.tolist(), plateau_M.tolist(), strict=True)
        return [self._ending(diverged, memorized, plateau, at_end) for diverged, memorized, plateau in flags]

    def _ending(self, diverged: bool, memorized: bool, plateau: bool, at_end: bool) -> Ending | None:
        if diverged:
            return Ending("diverged", "diverged")
        if memorized and self.budget.stop in ("memorized", "either"):
            return Ending("finished", "memorized")
        if plateau and self.budget.stop in ("plateau", "either"):
            return Ending("finished", "plateau")
        return Ending("finished", "budget") if at_end else None

    def _look(self, population: Population) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss [M] and whether every sample is right (true where nothing is right or wrong)."""
        batch = population.training_set
        scores = sample_scores(population, batch)
        loss_M = mean_losses(scores.loss_MN, batch)
        if scores.correct_MN is None:
            return loss_M, torch.ones(len(population), dtype=torch.bool)
        return loss_M, (scores.correct_MN | ~batch.full_mask(scores.correct_MN)).all(1).cpu()
