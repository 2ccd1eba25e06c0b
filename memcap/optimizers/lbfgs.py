"""Limited-memory BFGS with a line search of each member's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from memcap.optimizers.optimizer import Evaluate

SUFFICIENT_DECREASE, CURVATURE = 1e-4, 0.9  # the two Wolfe conditions, as in Nocedal and Wright 2006, p. 62
MOST_TRIALS = 25  # of a line search: halving from 1 to 6e-8
SCALARS = ("loss", "slope", "length", "lower", "upper", "trials", "is_known", "num_pairs")

State = dict[str, Tensor]


@dataclass(frozen=True)
class Lbfgs:
    r"""L-BFGS (Liu and Nocedal 1989) with the weak Wolfe line search of Lewis and Overton 2013; one evaluation a step.

    .. math:: d = -H_k g, \qquad f(\theta + td) \le f(\theta) + 10^{-4}\, t\, g^\top d, \qquad
        g(\theta + td)^\top d \ge 0.9\, g^\top d

    f is the member's mean loss over all samples with λ/2 ‖θ‖², H_k the inverse Hessian that the last ``history`` pairs
    (s, y) of steps and gradient changes define (Byrd, Nocedal and Schnabel 1994, theorem 2.2; H_0 = (sᵀy / yᵀy) I of
    the last pair). A trial t that fails the first condition is too long, one that fails only the second too short; t is
    halved in between, or doubled. So minima at kinks (ReLU) are approached as well. A trial may raise f by four
    roundings of it, or float32 would end at the first plateau.

    A step is one evaluation of loss and gradient, at one trial for each member: where it is accepted the parameters
    move, where it is not they stay and the next step tries another t. The first trial of a fresh history has the
    length ``learning_rate`` in parameters, all others t = 1; so has one along -g, where rounding turns d uphill. After
    25 trials the longest that lowered f enough is taken; where there is none the history is forgotten. A loss or
    gradient that is not finite is too long a trial.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("weight_decay",)

    history: int = 20

    def state_shapes(self, num_parameters: int) -> dict[str, tuple[int, ...]]:
        """g and d at the parameters; s and y [history, P], the newest at (num_pairs - 1) mod history, and their
        products s·y and y·y'; the search's f, gᵀd, t, largest t that was too short, smallest that was too long (0:
        none yet), and number of trials."""
        vector, pairs, products = (num_parameters,), (self.history, num_parameters), (self.history,) * 2
        shapes = {"gradient": vector, "direction": vector, "steps": pairs, "changes": pairs}
        shapes |= {"step_changes": products, "change_changes": products}
        return {**shapes, **dict.fromkeys(SCALARS, ())}

    @torch.no_grad()
    def step(
        self, parameters_MP: Tensor, state: State, values: dict[str, Tensor], evaluate: Evaluate
    ) -> None:
        """One trial of every member, in place."""
        trial_MP = parameters_MP + state["length"][:, None] * state["direction"]
        loss_M, gradient_MP = _penalized(evaluate, trial_MP, values["weight_decay"])
        finite_M = loss_M.isfinite() & gradient_MP.isfinite().all(1)
        falls_M, flat_M = _wolfe(state, loss_M, gradient_MP)
        first_M = (state["is_known"] == 0) & finite_M
        state["trials"] += 1
        ends_M = state["trials"] >= MOST_TRIALS
        accepted_M = first_M | (finite_M & falls_M & (flat_M | ends_M))
        fails_M = ~accepted_M & ends_M & (state["is_known"] != 0)
        _remember(state, accepted_M & ~first_M, trial_MP - parameters_MP, gradient_MP - state["gradient"])
        _forget(state, fails_M)
        too_long_M = ~(finite_M & falls_M)
        _keep(state["upper"], too_long_M, state["length"])
        _keep(state["lower"], ~too_long_M, state["length"])
        _keep(parameters_MP, accepted_M, trial_MP)
        _keep(state["gradient"], accepted_M, gradient_MP)
        _keep(state["loss"], accepted_M, loss_M)
        _keep(state["is_known"], accepted_M, torch.ones_like(loss_M))
        _next_trial(state, accepted_M | fails_M, values["learning_rate"].to(loss_M))


def _penalized(evaluate: Evaluate, trial_MP: Tensor, decay_M: Tensor) -> tuple[Tensor, Tensor]:
    """f and its gradient."""
    loss_M, gradient_MP = evaluate(trial_MP)
    decay_M = decay_M.to(loss_M)
    return loss_M + decay_M / 2 * trial_MP.square().sum(1), gradient_MP + decay_M[:, None] * trial_MP


def _wolfe(state: State, loss_M: Tensor, gradient_MP: Tensor) -> tuple[Tensor, Tensor]:
    """Which trials lower f enough, and at which f has become flat enough."""
    slack_M = 4 * torch.finfo(loss_M.dtype).eps * state["loss"].abs()
    highest_M = state["loss"] + SUFFICIENT_DECREASE * state["length"] * state["slope"] + slack_M
    slope_M = (gradient_MP * state["direction"]).sum(1)
    return loss_M <= highest_M, slope_M >= CURVATURE * state["slope"]


def _remember(state: State, accepted_M: Tensor, steps_MP: Tensor, changes_MP: Tensor) -> None:
    """Enters the pair of an accepted step, where f is convex along it; else H would not be positive.

    In place of the oldest; products with the new y only, 4 h P operations.
    """
    product_M = (steps_MP * changes_MP).sum(1)
    norms_M = torch.linalg.vector_norm(steps_MP, dim=1) * torch.linalg.vector_norm(changes_MP, dim=1)
    convex_M = accepted_M & (product_M > torch.finfo(product_M.dtype).eps * norms_M)
    members = convex_M.nonzero()[:, 0]
    places = (state["num_pairs"][members] % state["steps"].shape[1]).long()
    state["steps"][members, places] = steps_MP[members]
    state["changes"][members, places] = changes_MP[members]
    state["num_pairs"][members] += 1
    step_changes_Mh = _along(state["steps"], changes_MP)[members]
    change_changes_Mh = _along(state["changes"], changes_MP)[members]
    state["step_changes"][members, :, places] = step_changes_Mh
    state["change_changes"][members, :, places] = change_changes_Mh
    state["change_changes"][members, places] = change_changes_Mh


def _forget(state: State, fails_M: Tensor) -> None:
    members = fails_M.nonzero()[:, 0]
    for name in ("steps", "changes", "step_changes", "change_changes", "num_pairs"):
        state[name][members] = 0


def _next_trial(state: State, is_new_M: Tensor, first_length_M: Tensor) -> None:
    """t of the next trial, on a new direction or between the bounds of the old one."""
    gradient_MP = state["gradient"]
    new_MP = -_inverse_hessian_times(gradient_MP, state)
    # Rounding may turn a direction uphill where the pairs are nearly parallel.
    is_steepest_M = ~((gradient_MP * new_MP).sum(1) < 0)
    new_MP = torch.where(is_steepest_M[:, None], -gradient_MP, new_MP)
    _keep(state["direction"], is_new_M, new_MP)
    _keep(state["slope"], is_new_M, (gradient_MP * new_MP).sum(1))
    for name in ("lower", "upper", "trials"):
        _keep(state[name], is_new_M, torch.zeros_like(state[name]))
    middle_M = (state["lower"] + state["upper"]) / 2
    length_M = torch.where(state["upper"] > 0, middle_M, 2 * state["length"])
    last_M = (state["trials"] == MOST_TRIALS - 1) & (state["lower"] > 0)
    length_M = torch.where(last_M, state["lower"], length_M)
    norm_M = torch.linalg.vector_norm(new_MP, dim=1).clamp(min=torch.finfo(new_MP.dtype).tiny)
    start_M = torch.where(is_steepest_M | (state["num_pairs"] == 0), first_length_M / norm_M, 1.0)
    state["length"].copy_(torch.where(is_new_M, start_M, length_M))


def _inverse_hessian_times(gradient_MP: Tensor, state: State) -> Tensor:
    r"""H g, [M, P], by the compact form: with S and Y the pairs, oldest first, R = triu(S Yᵀ), D = diag(S Yᵀ), γ of the
    last pair and a = R⁻¹ S g

    .. math:: H g = \gamma g + S^\top R^{-\top} \left((D + \gamma Y Y^\top) a - \gamma Y g\right) - \gamma Y^\top a

    A place without a pair has zeros in S and Y, and 1 on R's diagonal: it adds nothing. Members are solved on their
    own; 8 h P + 2 h² operations.
    """
    steps_MhP, changes_MhP = state["steps"], state["changes"]
    order_Mh, back_Mh = _order(state)
    products_Mhh = _reordered(state["step_changes"], order_Mh).triu()
    gram_Mhh = _reordered(state["change_changes"], order_Mh)
    diagonal_Mh = products_Mhh.diagonal(dim1=1, dim2=2)
    triangle_Mhh = products_Mhh + torch.diag_embed((diagonal_Mh == 0).to(products_Mhh))
    last_M, square_M = diagonal_Mh[:, -1], gram_Mhh[:, -1, -1]
    gamma_M11 = torch.where(square_M > 0, last_M / square_M, 1.0)[:, None, None]
    along_Mh = _along(steps_MhP, gradient_MP).gather(1, order_Mh)
    a_Mh1 = torch.linalg.solve_triangular(triangle_Mhh, along_Mh[:, :, None], upper=True)
    pull_Mh1 = gram_Mhh @ a_Mh1 - _along(changes_MhP, gradient_MP).gather(1, order_Mh)[:, :, None]
    right_Mh1 = diagonal_Mh[:, :, None] * a_Mh1 + gamma_M11 * pull_Mh1
    b_Mh1 = torch.linalg.solve_triangular(triangle_Mhh.mT, right_Mh1, upper=False)
    of_steps_MP = (steps_MhP * b_Mh1.gather(1, back_Mh[:, :, None])).sum(1)
    of_changes_MP = (changes_MhP * a_Mh1.gather(1, back_Mh[:, :, None])).sum(1)
    return gamma_M11[:, :, 0] * (gradient_MP - of_changes_MP) + of_steps_MP


def _along(pairs_MhP: Tensor, vector_MP: Tensor) -> Tensor:
    """Products of each of the vectors with one, [M, h]; not bmm, which takes ten times as long for a vector."""
    return (pairs_MhP * vector_MP[:, None]).sum(2)


def _order(state: State) -> tuple[Tensor, Tensor]:
    """Places of the pairs from the oldest to the newest, [M, h], and the rank of each place."""
    size = state["steps"].shape[1]
    ranks_h = torch.arange(size, device=state["steps"].device)
    oldest_M1 = state["num_pairs"].long()[:, None] % size
    return (oldest_M1 + ranks_h) % size, (ranks_h - oldest_M1) % size


def _reordered(matrix_Mhh: Tensor, order_Mh: Tensor) -> Tensor:
    rows = order_Mh[:, :, None].expand_as(matrix_Mhh)
    return matrix_Mhh.gather(1, rows).gather(2, order_Mh[:, None, :].expand_as(matrix_Mhh))


def _keep(old: Tensor, chosen_M: Tensor, new: Tensor) -> None:
    """Puts the new values of the chosen members in place; what others would get may be NaN."""
    old.copy_(torch.where(chosen_M.view(-1, *(1,) * (old.dim() - 1)), new, old))
