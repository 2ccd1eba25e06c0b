"""Small populations for tests: configurations straight from the YAML files, and a plain network to compare with."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from memcap.config.run_config import RunConfig
from memcap.engines import BatchedEngine
from memcap.measures.observation import Row
from memcap.population import Population
from memcap.training import MemberResult, train_population

# Threads gain nothing at these sizes, and where processors are shared they wait for each other: 20 times slower.
torch.set_num_threads(1)

CONF = Path(__file__).parents[1] / "conf"

# Sizes at which a step takes a fraction of a millisecond; laid over the YAML of the chosen kind.
SMALL: dict[str, dict[str, Any]] = {
    "random_labels": {"num_samples": 14, "input_dim": 4, "num_classes": 3},
    "sparse_features": {
        "num_features": 5,
        "active_probability": 0.4,
        "batch_size": 8,
        "evaluation_samples": 16,
    },
    "mlp": {"width": 5},
    "autoencoder": {"width": 2},
    "fixed": {"steps": 20, "check_every": 5},
    "until_memorized": {"steps": 400, "check_every": 10},
    "cpu": {"dtype": "float64"},
    "full": {"points": 5},
    "light": {"points": 5},
    "everything": {
        "points": 5,
        "num_eigenvalues": 2,
        "trace_probes": 3,
        "spectrum_probes": 2,
        "spectrum_steps": 6,
    },
}
PLAIN_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu2": lambda x: F.relu(x) ** 2,
    "relu3": lambda x: F.relu(x) ** 3,
    "relu4": lambda x: F.relu(x) ** 4,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


def small_config(*overrides: str) -> RunConfig:
    """A small float64 run; overrides as a user types them, ``model=linear`` before ``model.bias=true``."""
    choices = tuple(o for o in overrides if "." not in o.split("=")[0] and _is_group(o.split("=")[0]))
    values = copy.deepcopy(_base(choices))
    for override in overrides:
        if override not in choices:
            _set(values, override)
    return RunConfig.from_dict(values)


def small_population(common: Sequence[str], members: Sequence[Sequence[str]]) -> Population:
    """A population whose members share some overrides and have others of their own."""
    return Population([small_config(*common, *own) for own in members])


@functools.cache
def _base(choices: tuple[str, ...]) -> dict[str, Any]:
    train = yaml.safe_load((CONF / "train.yaml").read_text())
    groups = {k: v for part in train["defaults"] if isinstance(part, dict) for k, v in part.items()}
    groups = {k: v for k, v in groups.items() if v is not None and _is_group(k)}
    groups |= {"tracking": "disabled"} | dict(choice.split("=") for choice in choices)
    values = {k: v for k, v in train.items() if k not in ("defaults", "hydra")}
    for group, choice in groups.items():
        values[group] = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text()) | SMALL.get(choice, {})
    return values


def _is_group(name: str) -> bool:
    return (CONF / name).is_dir()


def _set(values: dict[str, Any], override: str) -> None:
    path, _, text = override.partition("=")
    *parts, name = path.split(".")
    for part in parts:
        values = values[part]
    if name not in values:
        raise KeyError(override)
    # YAML 1.1 reads 1e-3 as text, Hydra as a number.
    value = yaml.safe_load(text)
    try:
        values[name] = float(value) if isinstance(value, str) else value
    except ValueError:
        values[name] = value


class Recorder:
    """A listener that remembers everything."""

    def __init__(self) -> None:
        self.rows: dict[int, list[Row]] = {}
        self.ends: dict[int, MemberResult] = {}
        self.trained = 0
        self.skipped = 0

    def on_row(self, member: int, row: Row) -> None:
        assert member not in self.ends, "a row after the end"
        self.rows.setdefault(member, []).append(row)

    def on_end(self, member: int, result: MemberResult) -> None:
        assert member not in self.ends, "a second end"
        self.ends[member] = result

    def on_advance(self, member_steps: int, skipped: int) -> None:
        self.trained += member_steps
        self.skipped += skipped


def train(configs: Sequence[RunConfig]) -> Recorder:
    """Trains a population to its end."""
    recorder = Recorder()
    train_population(configs, BatchedEngine(), recorder)
    return recorder


def leaves(population: Population, member: int) -> dict[str, Tensor]:
    """The weights of one member as leaves of a graph of their own, float64."""
    return {
        name: torch.from_numpy(values).double().requires_grad_()
        for name, values in population.member_parameters(member).items()
    }


def plain_outputs(config: RunConfig, weights: Mapping[str, Tensor], inputs_ND: Tensor) -> Tensor:
    """Outputs [N, V] of one network, layer by layer as in torch.nn.Linear, without a member axis."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"].T, weights.get(f"{name}.bias"))

    activate = _plain_activation(config.activation)
    model: Any = config.model
    if model.kind == "linear":
        return linear("linear", inputs_ND)
    if model.kind == "autoencoder":
        encoder_FW = weights["encoder.weight"]
        decoder_WF = weights.get("decoder.weight", encoder_FW.T)
        return activate(F.linear(inputs_ND @ encoder_FW, decoder_WF.T, weights.get("decoder.bias")))
    hidden = activate(linear("hidden1", inputs_ND))
    for layer in range(2, model.depth + 1):
        activated = activate(linear(f"hidden{layer}", hidden))
        hidden = hidden + activated if model.residual else activated
    return linear("head", linear("output", hidden))


def plain_loss(
    config: RunConfig, weights: Mapping[str, Tensor], inputs_ND: Tensor, targets: Tensor
) -> Tensor:
    """Mean loss of one network, as torch.nn.functional has it."""
    outputs = plain_outputs(config, weights, inputs_ND)
    if config.objective.kind == "cross_entropy":
        return F.cross_entropy(outputs, targets)
    if not targets.is_floating_point():
        return F.mse_loss(outputs, F.one_hot(targets, outputs.shape[1]).to(outputs))
    data: Any = config.data
    objective: Any = config.objective
    importance_F = (data.importance_decay if objective.use_importance else 1.0) ** torch.arange(
        targets.shape[1], dtype=torch.float64
    )
    return (importance_F * (outputs - targets) ** 2).mean()


def training_tensors(population: Population, member: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of one member's training set, from its own data set."""
    samples = population.datasets[member].training()
    return torch.from_numpy(samples.inputs_ND), torch.from_numpy(samples.targets_N)


def flat_gradient(weights: Mapping[str, Tensor]) -> Tensor:
    """The gradients that ``backward`` left, as a vector of P."""
    return torch.cat(
        [w.new_zeros(w.numel()) if w.grad is None else w.grad.flatten() for w in weights.values()]
    )


def flat(weights: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([w.detach().flatten() for w in weights.values()])


def _plain_activation(activation: Any) -> Callable[[Tensor], Tensor]:
    if activation.kind == "sin":
        return lambda x: torch.sin(activation.frequency * x)
    return PLAIN_ACTIVATIONS[activation.kind]
