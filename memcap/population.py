"""Members of a sweep that train together: stacked parameters, data and per-member values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcap.batch import Batch, on_device, stacked
from memcap.config.fields import per_member_fields
from memcap.config.run_config import RunConfig
from memcap.data import Dataset, Samples, build_dataset
from memcap.data.order import batch_indices
from memcap.models import build_activation, build_model
from memcap.models.model import flatten, unflatten
from memcap.objectives import Scores, build_objective
from memcap.optimizers import build_optimizer, learning_rate_factor
from memcap.optimizers.optimizer import KnowsStability, Searching
from memcap.random import seed_of_weights

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Population:
    """M runs of one static shape at one step; members may differ in every per-member value.

    Members never touch each other: losses are summed over members, padding is masked, and everything random
    comes from a member's own streams. Losing members (``keep``) changes nothing for those that stay.
    """

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        first = configs[0]
        self.configs = list(configs)
        self.device = torch.device(first.hardware.device)
        self.dtype = DTYPES[first.hardware.dtype]
        self.step = 0
        self.model = build_model(first)
        self.objective = build_objective(first)
        self.optimizer = build_optimizer(first)
        # Asked once: before Python 3.12, asking costs more than the answer's use.
        self.stability = self.optimizer if isinstance(self.optimizer, KnowsStability) else None
        datasets = [build_dataset(config) for config in configs]
        self.datasets: list[Dataset] = datasets
        training = [dataset.training() for dataset in datasets]
        # N of each, on the host: no step asks a GPU.
        self.sample_counts = [len(samples) for samples in training]
        self.training_set = self._stack(training)
        self.evaluation_sets = self._evaluation_sets() if first.measure.evaluation else {}
        self.importance_MF = self._importance()
        initial = [
            flatten(self.model.initialize(c.model, seed_of_weights(c.seed, c.restart))) for c in configs
        ]
        self.parameters_MP = self._tensor(np.stack(initial))
        # None where it is not known, as of a finished run of which only the weights were kept.
        self.state: dict[str, Tensor] | None = {
            name: self.parameters_MP.new_zeros(len(configs), *shape)
            for name, shape in self._state_shapes().items()
        }
        self.values = self._optimizer_values()
        self.activation_values = {
            name: self._tensor(np.array([getattr(c.activation, name) for c in configs], dtype=float))[
                :, None, None
            ]
            for name in per_member_fields(type(first.activation))
        }
        self.activate = build_activation(first, self.activation_values)

    def __len__(self) -> int:
        return len(self.configs)

    def keep(self, members: Sequence[int]) -> Population:
        """The population of some of its members, in this order, in the state they have."""
        index = torch.as_tensor(list(members), dtype=torch.int64)
        on_device = index.to(self.device)
        kept = object.__new__(Population)
        kept.__dict__.update(self.__dict__)
        kept.configs = [self.configs[i] for i in members]
        kept.sample_counts = [self.sample_counts[i] for i in members]
        kept.datasets = [self.datasets[i] for i in members]
        kept.training_set = self.training_set.keep(on_device)
        kept.evaluation_sets = {name: batch.keep(on_device) for name, batch in self.evaluation_sets.items()}
        kept.importance_MF = None if self.importance_MF is None else self.importance_MF[on_device]
        kept.parameters_MP = self.parameters_MP[on_device]
        if self.state is not None:
            kept.state = {name: tensor[on_device] for name, tensor in self.state.items()}
        kept.values = {name: tensor[index] for name, tensor in self.values.items()}
        kept.activation_values = {name: v[on_device] for name, v in self.activation_values.items()}
        kept.activate = build_activation(kept.configs[0], kept.activation_values)
        return kept

    def saved(self) -> dict[str, Any]:
        """What of it does not follow from the configurations: tensors on the host, and plain numbers.

        The lengths of its batches are among it: they are those of members that may have left.
        """
        assert self.state is not None
        sets = {"training": self.training_set, **self.evaluation_sets}
        return {
            "step": self.step,
            "parameters_MP": self.parameters_MP.cpu(),
            "state": {name: tensor.cpu() for name, tensor in self.state.items()},
            "slots": {name: [batch.num_slots, batch.mask_MN is not None] for name, batch in sets.items()},
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Takes over what ``saved`` gave for the same members; raises ValueError where it is of another shape."""
        assert self.state is not None
        mine = {"": self.parameters_MP, **self.state}
        theirs = {"": saved["parameters_MP"], **saved["state"]}
        if {n: (t.shape, t.dtype) for n, t in mine.items()} != {
            n: (t.shape, t.dtype) for n, t in theirs.items()
        }:
            raise ValueError("its parameters or its optimizer's state have another shape")
        for name, tensor in mine.items():
            tensor.copy_(theirs[name])
        self.step = int(saved["step"])
        slots = {name: (int(number), bool(masked)) for name, (number, masked) in saved["slots"].items()}
        self.training_set = self.training_set.as_saved(*slots["training"])
        self.evaluation_sets = {n: batch.as_saved(*slots[n]) for n, batch in self.evaluation_sets.items()}

    def outputs(self, parameters_MP: Tensor, batch: Batch) -> Tensor:
        """Outputs [M, N, V] at these parameters."""
        named = unflatten(parameters_MP, self.model.shapes)
        return self.model.forward(named, batch.inputs_MND, self.activate)

    def losses(self, parameters_MP: Tensor, batch: Batch) -> Tensor:
        """Mean loss of each member [M]; differentiable."""
        return self.mean_losses(self.outputs(parameters_MP, batch), batch)

    def mean_losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean loss of each member [M] of outputs [M, N, V]; differentiable."""
        loss_MN = self.objective.losses(outputs, batch.targets, self.importance_MF)
        if batch.mask_MN is not None:
            loss_MN = loss_MN * batch.mask_MN
        return loss_MN.sum(1) / batch.counts_M

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Scores of each sample at the current parameters; padded places hold copies of real samples."""
        outputs = self.outputs(self.parameters_MP, batch)
        scores = self.objective.scores(outputs, batch.targets, self.importance_MF)
        if self.device.type == "mps":  # it has no float64, in which bits are summed
            return Scores(*(None if score is None else score.cpu() for score in scores))  # type: ignore[arg-type]
        return scores

    def with_parameters(self, parameters_MP: Tensor) -> Population:
        """The same members with other weights, in the same order; no optimizer state belongs to these."""
        other = object.__new__(Population)
        other.__dict__.update(self.__dict__)
        other.parameters_MP, other.state = parameters_MP, None
        return other

    def preconditioner(self) -> Tensor | None:
        """The positive diagonal D_MP by whose inverse the optimizer scales its steps; None where it has none, or
        no state yet."""
        if self.stability is None or self.state is None:
            return None
        return self.stability.preconditioner(self.state, self.step, self.values)

    def l2_penalty(self) -> Tensor | None:
        """λ of the L2 term that the optimizer adds to the loss, float64 [M]; None where no member has one."""
        if self.stability is None:
            return None
        penalty_M = self.stability.l2_penalty(self.values)
        return penalty_M if bool((penalty_M != 0).any()) else None

    def stability_threshold(self) -> Tensor | None:
        """The largest stable eigenvalue of D⁻¹H at the last learning rate, float64 [M]; None if unknown.

        H is the Hessian of the loss with the L2 term, D the preconditioner (1 where there is none).
        """
        if self.stability is None:
            return None
        return self.stability.stability_threshold(self.last_learning_rates(), self.values)

    def last_learning_rates(self) -> Tensor:
        """The learning rate of the last step (before any: of the first), float64 [M], on the host."""
        return self.learning_rates(max(self.step - 1, 0), 1)[0]

    def learning_rates(self, first_step: int, num_steps: int) -> Tensor:
        """Learning rate of K steps with the schedule applied, float64 [K, M], on the host."""
        schedules = [config.schedule for config in self.configs]
        values = {
            f"{name}_M": np.array([getattr(s, name) for s in schedules])
            for name in ("warmup_steps", "floor", "decay_fraction")
            if hasattr(schedules[0], name)
        }
        factor_KM = learning_rate_factor(
            schedules[0].kind,
            np.arange(first_step, first_step + num_steps),
            total_steps=self.configs[0].budget.steps,
            **values,
        )
        return torch.from_numpy(factor_KM) * self.values["learning_rate"]

    def optimizer_scalars(self, first_step: int, num_steps: int) -> dict[str, Tensor]:
        """What the optimizer needs of each of K steps, float64 [K, M, 1] by name, on the host.

        Their last bits depend on both numbers and on M: torch and NumPy round powers and cosines differently in
        the vectorized part of an array and in what is left over.
        """
        rates_KM = self.learning_rates(first_step, num_steps)
        assert not isinstance(self.optimizer, Searching)
        return self.optimizer.coefficients(rates_KM, first_step, self.values)

    def batches(self, first_step: int, num_steps: int) -> Iterator[Batch] | None:
        """The mini-batches of K steps, or None where every step takes the whole training set.

        Each is made when it is asked for: those of many steps and members together would be gigabytes.
        """
        data = self.configs[0].data
        if data.num_samples is None:
            steps = range(first_step, first_step + num_steps)
            return (self._stack([d.fresh(step) for d in self.datasets]) for step in steps)
        if data.batch_size is None:
            return None
        return self._mini_batches(first_step, num_steps, data.batch_size)

    def _mini_batches(self, first_step: int, num_steps: int, size: int) -> Iterator[Batch]:
        indices_MKB = np.stack(
            [
                batch_indices(c.seed, first_step, num_steps, count, size)
                for c, count in zip(self.configs, self.sample_counts, strict=True)
            ]
        )
        indices = on_device(torch.from_numpy(indices_MKB), self.device)
        rows_M1 = torch.arange(len(self), device=self.device)[:, None]
        counts_M = torch.full((len(self),), float(size), dtype=self.dtype, device=self.device)
        full = self.training_set
        for index_MB in indices.unbind(1):
            yield Batch(full.inputs_MND[rows_M1, index_MB], full.targets[rows_M1, index_MB], counts_M, None)

    def exposures(self) -> Tensor | None:
        """How often each sample has been trained on, on average, [M]; None where every batch is fresh."""
        data = self.configs[0].data
        if data.num_samples is None:
            return None
        counts_M = self.training_set.counts_M.cpu().double()
        return self.step * (counts_M if data.batch_size is None else data.batch_size) / counts_M

    def member_parameters(self, member: int) -> dict[str, np.ndarray]:
        """The weights of one member by name, in its dtype, on the host."""
        named = unflatten(self.parameters_MP[member : member + 1], self.model.shapes)
        return {name: tensor[0].cpu().numpy().copy() for name, tensor in named.items()}

    def _tensor(self, array: np.ndarray) -> Tensor:
        dtype = self.dtype if array.dtype.kind == "f" else torch.int64
        return on_device(torch.from_numpy(np.ascontiguousarray(array)).to(dtype), self.device)

    def _stack(self, sets: Sequence[Samples]) -> Batch:
        return stacked(sets, self.device, self.dtype)

    def _evaluation_sets(self) -> dict[str, Batch]:
        sets = [dataset.evaluation() for dataset in self.datasets]
        return {name: self._stack([s[name] for s in sets]) for name in sets[0]}

    def _importance(self) -> Tensor | None:
        if self.datasets[0].importance_F is None:
            return None
        return self._tensor(np.stack([np.asarray(dataset.importance_F) for dataset in self.datasets]))

    def _state_shapes(self) -> dict[str, tuple[int, ...]]:
        num_parameters = self.parameters_MP.shape[1]
        if isinstance(self.optimizer, Searching):
            return self.optimizer.state_shapes(num_parameters)
        return dict.fromkeys(self.optimizer.state_names, (num_parameters,))

    def _optimizer_values(self) -> dict[str, Tensor]:
        """Hyperparameters of each member, float64 [M], on the host; no clipping is a norm of infinity."""
        values = {}
        for name in ("learning_rate", "clip_norm", *self.optimizer.hyperparameters):
            column = [getattr(config.optimizer, name) for config in self.configs]
            values[name] = torch.tensor([np.inf if v is None else v for v in column], dtype=torch.float64)
        return values
