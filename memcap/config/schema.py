"""Every key of a run: types and constraints here, values in conf/*.yaml, and no value in both.

A component is a dataclass with a stable ``kind`` and an integer ``version`` (raised when its numbers change);
``implementation`` names the class that does the work, imported only when a run starts.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from memcap.config.fields import counts, ignored
from memcap.config.formula import parse_formula
from memcap.errors import BadInput

CLASSES, FEATURES = "classes", "features"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Component:
    """What every exchangeable part has; a part of one's own names its class in ``_target_``."""

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    implementation: ClassVar[str] = ""
    _target_: str | None = ignored(default=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Component):
    """A data set; ``num_samples`` None means a fresh batch every step."""

    targets: ClassVar[str] = CLASSES
    num_samples: int | None = counts(at_least=1, per_member=True)
    batch_size: int | None = counts(at_least=1)

    @property
    def num_inputs(self) -> int:
        raise NotImplementedError

    @property
    def num_outputs(self) -> int:
        raise NotImplementedError

    @property
    def num_measured(self) -> int:
        """Samples that a loss is measured on."""
        assert self.num_samples is not None
        return self.num_samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomLabelsConfig(DataConfig):
    kind = "random_labels"
    implementation = "memcap.data.random_labels:RandomLabels"
    num_samples: int = counts(at_least=1, per_member=True)
    input_dim: int = counts(at_least=1)
    num_classes: int = counts(at_least=2)

    @property
    def num_inputs(self) -> int:
        return self.input_dim

    @property
    def num_outputs(self) -> int:
        return self.num_classes


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseFeaturesConfig(DataConfig):
    kind = "sparse_features"
    implementation = "memcap.data.sparse_features:SparseFeatures"
    targets = FEATURES
    num_features: int = counts(at_least=1)
    active_probability: float = counts(above=0, at_most=1, per_member=True)
    importance_decay: float = counts(above=0, at_most=1, per_member=True)
    evaluation_samples: int = ignored(at_least=1)

    @property
    def num_inputs(self) -> int:
        return self.num_features

    @property
    def num_outputs(self) -> int:
        return self.num_features

    @property
    def num_measured(self) -> int:
        return self.num_samples or self.evaluation_samples


INITIALIZATIONS = ("uniform", "gaussian", "xavier")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Component):
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

    def num_parameters(self, data: DataConfig) -> int:
        """All trainable parameters."""
        raise NotImplementedError

    def activations_per_sample(self, data: DataConfig) -> int:
        """Floats that a forward pass keeps for each sample, for the memory bound."""
        raise NotImplementedError


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


def _plain_activation(name: str) -> type[ActivationConfig]:
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Component):
    accepts: ClassVar[tuple[str, ...]] = (CLASSES, FEATURES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig(ObjectiveConfig):
    kind = "cross_entropy"
    implementation = "memcap.objectives.cross_entropy:CrossEntropy"
    accepts = (CLASSES,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquaredErrorConfig(ObjectiveConfig):
    kind = "squared_error"
    implementation = "memcap.objectives.squared_error:SquaredError"
    use_importance: bool = counts()


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Component):
    learning_rate: float = counts(above=0, per_member=True)
    weight_decay: float = counts(at_least=0, per_member=True)
    clip_norm: float | None = counts(above=0, per_member=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SgdConfig(OptimizerConfig):
    kind = "sgd"
    momentum: float = counts(at_least=0, below=1, per_member=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamConfig(OptimizerConfig):
    kind = "adam"
    beta1: float = counts(at_least=0, below=1, per_member=True)
    beta2: float = counts(at_least=0, below=1, per_member=True)
    epsilon: float = counts(above=0, per_member=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamWConfig(AdamConfig):
    kind = "adamw"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Component):
    warmup_steps: int = counts(at_least=0, per_member=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConstantConfig(ScheduleConfig):
    kind = "constant"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineConfig(ScheduleConfig):
    kind = "cosine"
    floor: float = counts(at_least=0, at_most=1, per_member=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmupStableDecayConfig(ScheduleConfig):
    kind = "warmup_stable_decay"
    decay_fraction: float = counts(at_least=0, at_most=1, per_member=True)
    floor: float = counts(at_least=0, at_most=1, per_member=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    steps: int = counts(at_least=1)
    stop: str = counts(choices=("none", "memorized", "plateau", "either"))
    check_every: int = counts(at_least=1)
    loss_tolerance: float = counts(above=0)
    plateau_checks: int = counts(at_least=1)
    plateau_improvement: float = counts(at_least=0, below=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    device: str = ignored(choices=("cpu", "cuda", "mps"))
    engine: str = ignored(choices=("auto", "batched"))
    dtype: str = counts(choices=("float32", "float64"))
    threads: int | None = ignored(at_least=1)
    memory_gib: float | None = ignored(above=0)
    max_members: int = ignored(at_least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    points: int = ignored(at_least=1)
    gradients: bool = ignored()
    sharpness: bool = ignored()
    lanczos_iterations: int = ignored(at_least=1)
    lanczos_tolerance: float = ignored(above=0)
    evaluation: bool = ignored()
    samples: bool = ignored()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    mode: str = ignored(choices=("auto", "online", "offline", "disabled"))
    project: str = ignored()
    entity: str | None = ignored()
    tags: tuple[str, ...] = ignored()
    notes: str | None = ignored()
    max_live: int = ignored(at_least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathsConfig:
    outputs: str = ignored()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsConfig:
    weights: str = ignored(choices=("none", "final"))
    weights_up_to: int = ignored(at_least=0)


PLAIN_ACTIVATIONS = ("relu", "relu2", "relu3", "relu4", "silu", "gelu", "tanh", "identity")


def _by_kind(*classes: type[Any]) -> dict[str, type[Any]]:
    return {cls.kind: cls for cls in classes}


COMPONENTS: dict[str, dict[str, type[Any]]] = {
    "data": _by_kind(RandomLabelsConfig, SparseFeaturesConfig),
    "model": _by_kind(LinearConfig, MlpConfig, AutoencoderConfig),
    "activation": _by_kind(
        *map(_plain_activation, PLAIN_ACTIVATIONS), SinActivationConfig, FormulaActivationConfig
    ),
    "objective": _by_kind(CrossEntropyConfig, SquaredErrorConfig),
    "optimizer": _by_kind(SgdConfig, AdamConfig, AdamWConfig),
    "schedule": _by_kind(ConstantConfig, CosineConfig, WarmupStableDecayConfig),
}
BASE_CLASSES: dict[str, type[Any]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "activation": ActivationConfig,
    "objective": ObjectiveConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
}


def check_together(data: DataConfig, model: ModelConfig, objective: ObjectiveConfig) -> None:
    """Parts that do not fit each other: raises BadInput with the way out."""
    if data.targets not in objective.accepts:
        fix = "squared_error" if data.targets == FEATURES else "cross_entropy"
        raise BadInput(
            f"objective={objective.kind} needs {' or '.join(objective.accepts)} as targets, but data={data.kind}"
            f" has {data.targets}; use objective={fix}"
        )
    if isinstance(model, AutoencoderConfig) and data.targets != FEATURES:
        raise BadInput(f"model=autoencoder needs data=sparse_features, got data={data.kind}")
    if data.num_samples is None and data.batch_size is None:
        raise BadInput("data.batch_size must be a whole number ≥ 1 when data.num_samples is null, got null")
    if data.num_samples is not None and data.batch_size is not None and data.batch_size > data.num_samples:
        raise BadInput(
            f"data.batch_size must be ≤ data.num_samples = {data.num_samples} (or null for the full batch),"
            f" got {data.batch_size}"
        )
