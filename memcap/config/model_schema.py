"""Keys of the models and their activations."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

from memcap.config.component import Component
from memcap.config.data_schema import DataConfig
from memcap.config.fields import counts
from memcap.config.formula import parse_formula

INITIALIZATIONS = ("uniform", "gaussian", "xavier")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Component, abc.ABC):
    """A network; ``uses_activation`` False keeps the activation out of the run's identity."""

    uses_activation: ClassVar[bool] = True
    initialization: str = counts(choices=INITIALIZATIONS)
    initialization_scale: float = counts(at_least=0, per_member=True)

    def resolved(self, data: DataConfig) -> ModelConfig:
        """The same with derived values filled in, so that a default and its value have one id."""
        return self

    def derived_keys(self, data: DataConfig) -> tuple[str, ...]:
        """Fields with the value that ``resolved`` takes from the data: they move when the data does."""
        return ()

    @abc.abstractmethod
    def num_parameters(self, data: DataConfig) -> int:
        """All trainable parameters."""

    @abc.abstractmethod
    def activations_per_sample(self, data: DataConfig) -> int:
        """Floats that a forward pass keeps for each sample, for the memory bound."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearConfig(ModelConfig):
    kind = "linear"
    implementation = "memcap.models.linear:Linear"
    uses_activation = False
    bias: bool = counts()

    def num_parameters(self, data: DataConfig) -> int:
        return (data.num_inputs + self.bias) * data.num_outputs

    def activations_per_sample(self, data: DataConfig) -> int:
        return data.num_inputs + data.num_outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class MlpConfig(ModelConfig):
    kind = "mlp"
    implementation = "memcap.models.mlp:Mlp"
    width: int = counts(at_least=1)
    depth: int = counts(at_least=1)
    output_dim: int | None = counts(at_least=1)
    bias: bool = counts()
    residual: bool = counts()

    def resolved(self, data: DataConfig) -> ModelConfig:
        return dataclasses.replace(self, output_dim=self.output_dim or data.num_inputs)

    def derived_keys(self, data: DataConfig) -> tuple[str, ...]:
        return ("output_dim",) if self.output_dim == data.num_inputs else ()

    def layer_dims(self, data: DataConfig) -> list[int]:
        """D, W, ..., W, output_dim, V."""
        return [
            data.num_inputs,
            *[self.width] * self.depth,
            self.output_dim or data.num_inputs,
            data.num_outputs,
        ]

    def num_parameters(self, data: DataConfig) -> int:
        # Not from layer_dims: a depth of a billion has to be refused before it becomes a list.
        output_dim = self.output_dim or data.num_inputs
        hidden = (data.num_inputs + self.bias) + (self.depth - 1) * (self.width + self.bias)
        output = (self.width + self.bias) * output_dim + (output_dim + self.bias) * data.num_outputs
        return hidden * self.width + output

    def activations_per_sample(self, data: DataConfig) -> int:
        return data.num_inputs + 2 * self.width * self.depth + (self.output_dim or 0) + data.num_outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(ModelConfig):
    kind = "autoencoder"
    implementation = "memcap.models.autoencoder:Autoencoder"
    width: int = counts(at_least=1)
    tied: bool = counts()
    bias: bool = counts()

    def num_parameters(self, data: DataConfig) -> int:
        matrices = 1 if self.tied else 2
        return data.num_inputs * (self.width * matrices + self.bias)

    def activations_per_sample(self, data: DataConfig) -> int:
        return 3 * data.num_inputs + self.width


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivationConfig(Component):
    """An elementwise function; the built-in ones are told apart by their ``kind``."""


PLAIN_ACTIVATIONS = ("relu", "relu2", "relu3", "relu4", "silu", "gelu", "tanh", "identity")


def plain_activation(name: str) -> type[ActivationConfig]:
    namespace = {"kind": name, "__doc__": f"The activation {name}.", "__module__": __name__}
    title = name.title() + "ActivationConfig"
    return dataclasses.dataclass(frozen=True, kw_only=True)(type(title, (ActivationConfig,), namespace))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinActivationConfig(ActivationConfig):
    kind = "sin"
    frequency: float = counts(per_member=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormulaActivationConfig(ActivationConfig):
    kind = "formula"
    formula: str = counts()

    def __post_init__(self) -> None:
        # The canonical spelling, so that spaces do not make another run.
        object.__setattr__(self, "formula", parse_formula(self.formula).canonical)
