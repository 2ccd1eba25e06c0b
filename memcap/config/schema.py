"""Every key of a run: types and constraints here, values in conf/*.yaml, and no value in both.

A component is a dataclass with a stable ``kind`` and an integer ``version`` (raised when its numbers change);
``implementation`` names the class that does the work, imported only when a run starts. Data sets and models have
files of their own and are entered here.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from memcap.config.component import Component
from memcap.config.data_schema import (
    CLASSES,
    FEATURES,
    DataConfig,
    RandomLabelsConfig,
    SparseFeaturesConfig,
)
from memcap.config.fields import counts, ignored
from memcap.config.model_schema import (
    PLAIN_ACTIVATIONS,
    ActivationConfig,
    AutoencoderConfig,
    FormulaActivationConfig,
    LinearConfig,
    MlpConfig,
    ModelConfig,
    SinActivationConfig,
    plain_activation,
)
from memcap.errors import BadInput


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Component):
    accepts: ClassVar[tuple[str, ...]] = (CLASSES, FEATURES)
    # Whether adding a number to all outputs of a sample changes nothing.
    shift_invariant: ClassVar[bool] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig(ObjectiveConfig):
    kind = "cross_entropy"
    implementation = "memcap.objectives.cross_entropy:CrossEntropy"
    accepts = (CLASSES,)
    shift_invariant = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquaredErrorConfig(ObjectiveConfig):
    kind = "squared_error"
    implementation = "memcap.objectives.squared_error:SquaredError"
    use_importance: bool = counts()


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Component):
    # Whether its steps depend on the loss that they find (``memcap.config.searching`` says what that asks for).
    searches: ClassVar[bool] = False

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
class LbfgsConfig(OptimizerConfig):
    kind = "lbfgs"
    searches = True
    history: int = counts(at_least=1)


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

    def inert(self) -> tuple[str, ...]:
        """Keys of the ways to stop that are off."""
        memorized = ("loss_tolerance",) if self.stop in ("none", "plateau") else ()
        plateau = ("plateau_checks", "plateau_improvement") if self.stop in ("none", "memorized") else ()
        return memorized + plateau


@dataclasses.dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    device: str = ignored(choices=("cpu", "cuda", "mps"))
    engine: str = ignored(choices=("auto", "batched", "fused"))
    dtype: str = counts(choices=("float32", "float64"))
    autocast: str = counts(choices=("none", "bfloat16"), absent_value="none")
    threads: int | None = ignored(at_least=1)
    memory_gib: float | None = ignored(above=0)
    max_members: int = ignored(at_least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    mode: str = ignored(choices=("auto", "online", "offline", "disabled"))
    per: str = ignored(choices=("run", "study"))
    project: str = ignored()
    entity: str | None = ignored()
    group: str | None = ignored()
    job_type: str = ignored()
    tags: tuple[str, ...] = ignored()
    notes: str | None = ignored()
    folder: str | None = ignored()
    charts: str = ignored(choices=("none", "tables", "images"))
    max_live: int = ignored(at_least=0)
    max_runs: int = ignored(at_least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathsConfig:
    outputs: str = ignored()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsConfig:
    weights: str = ignored(choices=("none", "final"))
    weights_up_to: int = ignored(at_least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    minutes: float | None = ignored(above=0)
    keep: bool = ignored()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What ``memcap.compare`` draws of a study without being asked: a preset's figure."""

    y: str | None = ignored()
    x: str | None = ignored()
    hue: str | None = ignored()
    facet: str | None = ignored()


def _by_kind(*classes: type[Any]) -> dict[str, type[Any]]:
    return {cls.kind: cls for cls in classes}


COMPONENTS: dict[str, dict[str, type[Any]]] = {
    "data": _by_kind(RandomLabelsConfig, SparseFeaturesConfig),
    "model": _by_kind(LinearConfig, MlpConfig, AutoencoderConfig),
    "activation": _by_kind(
        *map(plain_activation, PLAIN_ACTIVATIONS), SinActivationConfig, FormulaActivationConfig
    ),
    "objective": _by_kind(CrossEntropyConfig, SquaredErrorConfig),
    "optimizer": _by_kind(SgdConfig, AdamConfig, AdamWConfig, LbfgsConfig),
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


def check_hardware(hardware: HardwareConfig) -> None:
    """Precisions that do not go together: raises BadInput with the way out."""
    if hardware.autocast == "none":
        return
    if hardware.dtype != "float32":
        raise BadInput(
            f"hardware.autocast={hardware.autocast} needs hardware.dtype=float32, got {hardware.dtype}; use"
            " hardware.autocast=none"
        )
    if hardware.device == "mps":
        raise BadInput(
            f"hardware.autocast={hardware.autocast} needs hardware.device=cpu or cuda, got mps; use"
            " hardware.autocast=none"
        )


def check_budget(budget: BudgetConfig, schedule: ScheduleConfig, data: DataConfig) -> None:
    """Ways to end that cannot be: raises BadInput with the way out."""
    if budget.stop in ("memorized", "either") and data.targets != CLASSES:
        raise BadInput(
            f"budget.stop={budget.stop} needs labels, which are right or wrong, but data={data.kind} has"
            f" {data.targets}; use budget.stop=none or plateau"
        )
    if schedule.warmup_steps > budget.steps:
        raise BadInput(
            f"schedule.warmup_steps must be ≤ budget.steps = {budget.steps}, or the rate never arrives, got"
            f" {schedule.warmup_steps}"
        )


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
